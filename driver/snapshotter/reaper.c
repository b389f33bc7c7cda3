/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pass goes from the youngest removed row to the oldest, so that children go
 * before their parents. What cannot go yet stays a row and is tried again, now
 * and then and at each start.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "../common/log.h"
#include "../common/util.h"
#include "describe.h"
#include "snapshotter.h"

#define RETRY_SECONDS 5 /* at first, then longer each time */
#define RETRY_SECONDS_MAX 300
#define STOP_SECONDS 5 /* for what is still to do at the end */

struct unmount {
	struct unmount *next;
	char *mountpoint;
};

struct undo {
	struct undo *next;
	int64_t id;
	bool commit; /* of a commit, else of a creation */
};

struct reaper {
	struct store *store;
	struct pool *pool;
	pthread_t thread;
	pthread_mutex_t undo_lock; /* one settles at a time; outside all others */
	pthread_mutex_t lock;      /* the members below; leaf */
	pthread_cond_t wake, passed;
	uint64_t wanted, done; /* passes: asked for, finished */
	struct unmount *unmounts;
	struct undo *undos;
	unsigned retry; /* seconds, 0: nothing is left */
	time_t stop_at; /* end, at the latest then; 0: not asked to */
};

struct pass {
	struct store *store;
	struct pool *pool;
	const struct reaper *reaper; /* to stop early, or NULL */
	unsigned freed, left;
};

static time_t seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

/* The rest is for the next start. */
static bool overdue(const struct reaper *r)
{
	time_t at = __atomic_load_n(&r->stop_at, __ATOMIC_RELAXED);

	return at && seconds() >= at;
}

/* 0: all gone; 1: not yet; -1. */
static int free_snapshot(struct pass *p, const struct snapshot *snap,
			 struct failure *f)
{
	cleanup_free char *mountpoint = pool_mountpoint(p->pool, snap->id);
	int shared = store_branch_shared(p->store, snap->branch, snap->id, f);
	int rc = shared < 0 ? -1 : 0;

	if (!mountpoint)
		return failure_no_memory(f);
	if (rc == 0 && !shared) {
		/* Delete detaches mounts as well; this one is ours to remove */
		rc = pool_unmount(p->pool, mountpoint, f);
		if (rc == 0)
			rc = pool_delete(p->pool, snap->branch, f);
	}
	if (rc == 0)
		rc = store_forget(p->store, snap->id, f);
	if (rc == 0 && shared)
		describe_branch(p->store, p->pool, snap->branch);
	return rc;
}

static int visit(void *arg, const struct snapshot *snap)
{
	struct pass *p = arg;
	struct failure f;
	int rc;

	if (p->reaper && overdue(p->reaper))
		return 1;
	rc = free_snapshot(p, snap, &f);
	if (rc == 0) {
		p->freed++;
		return 0;
	}
	p->left++;
	if (rc < 0)
		log_event(LOG_WARN, "removed snapshot cannot be freed yet",
			  "branch", snap->branch, "error", f.text, NULL);
	/* nor can the others: each would try to start daxfs-fuse again */
	return rc < 0 && f.status == FAILURE_UNAVAILABLE;
}

static int run_pass(struct pass *p, struct failure *f)
{
	int rc = store_walk(p->store, STATE_REMOVING, true, visit, p, f);

	return rc < 0 ? -1 : 0;
}

int reaper_pass(struct store *store, struct pool *pool, unsigned *freed,
		unsigned *left, struct failure *f)
{
	struct pass p = { .store = store, .pool = pool };
	int rc = run_pass(&p, f);

	if (freed)
		*freed = p.freed;
	if (left)
		*left = p.left;
	return rc;
}

/* With the lock: until there is work; false: to end. */
static bool wait_for_work(struct reaper *r)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += r->retry;
	while (!r->stop_at && r->wanted == r->done) {
		if (!r->retry)
			pthread_cond_wait(&r->wake, &r->lock);
		else if (pthread_cond_timedwait(&r->wake, &r->lock, &until) ==
			 ETIMEDOUT)
			return true;
	}
	return r->wanted != r->done && !overdue(r);
}

/* Takes the list. */
static void unmount_all(struct reaper *r, struct unmount *list)
{
	struct failure f;

	while (list) {
		struct unmount *next = list->next;

		if (!overdue(r) &&
		    pool_unmount(r->pool, list->mountpoint, &f) < 0)
			log_event(LOG_WARN, "mount stays until the next start",
				  "error", f.text, NULL);
		free(list->mountpoint);
		free(list);
		list = next;
	}
}

static unsigned next_retry(unsigned last)
{
	if (!last)
		return RETRY_SECONDS;
	return last > RETRY_SECONDS_MAX / 2 ? RETRY_SECONDS_MAX : 2 * last;
}

/* ---- What could not be undone at once ------------------------------------ */

static int undo_one(struct reaper *r, const struct undo *u)
{
	struct failure f;
	int rc = u->commit ? store_cancel_commit(r->store, u->id, &f)
			   : store_abandon(r->store, u->id, &f);

	if (rc < 0)
		log_event(LOG_WARN, "cannot undo what failed yet", "error",
			  f.text, NULL);
	else
		log_event(LOG_INFO, "undone what had failed", "operation",
			  u->commit ? "commit" : "creation", NULL);
	return rc;
}

static bool has_undo(struct reaper *r)
{
	bool has;

	pthread_mutex_lock(&r->lock);
	has = r->undos;
	pthread_mutex_unlock(&r->lock);
	return has;
}

static struct undo *take_undo(struct reaper *r)
{
	struct undo *u;

	pthread_mutex_lock(&r->lock);
	u = r->undos;
	if (u)
		r->undos = u->next;
	pthread_mutex_unlock(&r->lock);
	return u;
}

static void put_undo(struct reaper *r, struct undo *u)
{
	pthread_mutex_lock(&r->lock);
	u->next = r->undos;
	r->undos = u;
	if (!r->retry)
		r->retry = RETRY_SECONDS;
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
}

void reaper_undo(struct reaper *r, int64_t id, bool commit)
{
	struct undo *u = malloc(sizeof(*u));

	if (!u)
		return; /* the next start undoes it */
	*u = (struct undo){ .id = id, .commit = commit };
	put_undo(r, u);
}

void reaper_settle(struct reaper *r)
{
	struct undo *u;

	if (!has_undo(r))
		return;
	pthread_mutex_lock(&r->undo_lock);
	while ((u = take_undo(r)) != NULL) {
		if (undo_one(r, u) < 0) {
			put_undo(r, u);
			break;
		}
		free(u);
	}
	pthread_mutex_unlock(&r->undo_lock);
}

/* ---- The thread ---------------------------------------------------------- */

static void *reap(void *arg)
{
	struct reaper *r = arg;

	pthread_mutex_lock(&r->lock);
	while (wait_for_work(r)) {
		struct pass p = { .store = r->store,
				  .pool = r->pool,
				  .reaper = r };
		struct unmount *list = steal_ptr(&r->unmounts);
		uint64_t target = r->wanted;
		struct failure f;
		int rc;

		pthread_mutex_unlock(&r->lock);
		reaper_settle(r);
		unmount_all(r, list);
		rc = run_pass(&p, &f);
		if (rc < 0)
			log_event(LOG_ERROR, "cannot free removed snapshots",
				  "error", f.text, NULL);
		else if (p.freed)
			log_event(LOG_DEBUG, "removed snapshots freed", "count",
				  log_fmt("%u", p.freed), NULL);
		pthread_mutex_lock(&r->lock);
		r->retry =
			rc < 0 || p.left || r->undos ? next_retry(r->retry) : 0;
		r->done = target;
		pthread_cond_broadcast(&r->passed);
	}
	r->done = r->wanted;
	pthread_cond_broadcast(&r->passed);
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

int reaper_start(struct store *store, struct pool *pool, struct reaper **out,
		 struct failure *f)
{
	struct reaper *r = calloc(1, sizeof(*r));
	pthread_condattr_t attr;
	sigset_t all, old;
	int rc;

	if (!r)
		return failure_no_memory(f);
	r->store = store;
	r->pool = pool;
	r->wanted = 1; /* what the last run left */
	pthread_mutex_init(&r->undo_lock, NULL);
	pthread_mutex_init(&r->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&r->wake, &attr);
	pthread_cond_init(&r->passed, NULL);
	pthread_condattr_destroy(&attr);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&r->thread, NULL, reap, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		free(r);
		return failure_set(f, FAILURE_UNKNOWN, rc,
				   "cannot start a thread: %s", log_err(rc));
	}
	*out = r;
	return 0;
}

void reaper_stop(struct reaper *r)
{
	struct undo *u;

	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	__atomic_store_n(&r->stop_at, seconds() + STOP_SECONDS,
			 __ATOMIC_RELAXED);
	pthread_cond_broadcast(&r->wake);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	unmount_all(r, r->unmounts);
	reaper_settle(r);
	while ((u = take_undo(r)) != NULL)
		free(u);
	pthread_mutex_destroy(&r->undo_lock);
	pthread_cond_destroy(&r->wake);
	pthread_cond_destroy(&r->passed);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

void reaper_kick(struct reaper *r)
{
	pthread_mutex_lock(&r->lock);
	r->wanted++;
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
}

void reaper_unmount(struct reaper *r, char *mountpoint)
{
	struct unmount *u = malloc(sizeof(*u));

	if (!u) { /* the next start takes it away */
		free(mountpoint);
		return;
	}
	u->mountpoint = mountpoint;
	pthread_mutex_lock(&r->lock);
	u->next = r->unmounts;
	r->unmounts = u;
	r->wanted++;
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
}

void reaper_wait(struct reaper *r)
{
	uint64_t mine;

	pthread_mutex_lock(&r->lock);
	mine = ++r->wanted;
	pthread_cond_signal(&r->wake);
	while (r->done < mine)
		pthread_cond_wait(&r->passed, &r->lock);
	pthread_mutex_unlock(&r->lock);
}
