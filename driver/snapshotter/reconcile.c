/* SPDX-License-Identifier: Apache-2.0 */
/*
 * At the start: the store says what should be, the pool and the mounts are made
 * to agree. What was under way when the last process ended is finished
 * (commits, removals) or undone (creations).
 */
#include <ctype.h>
#include <errno.h>

#include "../common/log.h"
#include "../common/util.h"
#include "snapshotter.h"

/* Our branches as the pool has them: the id that is their name, in order. */
struct branch_list {
	struct entry {
		int64_t id;
		bool sealed;
		bool known; /* a row has it */
	} * e;
	size_t n, cap;
};

struct work {
	struct snapshotter *s;
	struct branch_list branches;
	struct failure *f;
	unsigned finished, undone, remounted, remade, lost, orphans, folders;
};

/* "s-17" → 17; -1: a branch of somebody else. */
static int64_t branch_id(const char *name)
{
	char *end;
	long long id;

	if (strncmp(name, "s-", 2) != 0 || !isdigit((unsigned char)name[2]))
		return -1;
	errno = 0;
	id = strtoll(name + 2, &end, 10);
	return *end || errno || id <= 0 ? -1 : id;
}

static int by_id(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static int add_branch(void *arg, const struct pool_branch *b)
{
	struct work *w = arg;
	struct branch_list *l = &w->branches;
	int64_t id = branch_id(b->name);

	if (id < 0)
		return 0;
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct entry *e = reallocarray(l->e, cap, sizeof(*e));

		if (!e)
			return failure_no_memory(w->f);
		l->e = e;
		l->cap = cap;
	}
	l->e[l->n++] = (struct entry){ .id = id, .sealed = b->sealed };
	return 0;
}

static struct entry *find_branch(struct work *w, const char *name)
{
	struct entry key = { .id = branch_id(name) };

	if (!w->branches.n)
		return NULL;
	return bsearch(&key, w->branches.e, w->branches.n, sizeof(key), by_id);
}

/* ---- Rows ---------------------------------------------------------------- */

static int lost_branch(struct work *w, const struct snapshot *snap)
{
	cleanup_free char *mountpoint = pool_mountpoint(w->s->pool, snap->id);

	if (!mountpoint)
		return failure_no_memory(w->f);
	if (snap->kind != KIND_COMMITTED &&
	    pool_create(w->s->pool, snap->branch, snap->parent_branch,
			mountpoint, snap->kind == KIND_VIEW, w->f) == 0) {
		log_event(LOG_WARN,
			  "branch was lost: made anew from its parent", "key",
			  snap->name, "branch", snap->branch, NULL);
		w->remade++;
		return 0;
	}
	log_event(LOG_ERROR, "snapshot has no branch in the pool: remove it",
		  "key", snap->name, "kind", snapshot_kind_name(snap->kind),
		  "branch", snap->branch, NULL);
	w->lost++;
	return store_drop_chain(w->s->store, snap->id, w->f);
}

static int finish_commit(struct work *w, const struct snapshot *snap)
{
	int64_t size = 0, inodes = 0;
	struct failure *f = w->f;

	if (pool_seal(w->s->pool, snap->branch, f) < 0 ||
	    pool_usage(w->s->pool, snap->branch, &size, &inodes, f) < 0 ||
	    store_end_commit(w->s->store, snap->id, size, inodes, f) < 0)
		log_event(LOG_ERROR, "commit cannot be finished", "key",
			  snap->name, "error", f->text, NULL);
	else
		w->finished++;
	return 0;
}

/* Committed, but the pool forgot that: a power cut before the pool's sync. */
static int seal_again(struct work *w, const struct snapshot *snap)
{
	if (pool_seal(w->s->pool, snap->branch, w->f) < 0)
		log_event(LOG_ERROR, "committed snapshot cannot be sealed",
			  "name", snap->name, "error", w->f->text, NULL);
	return 0;
}

static int mount_again(struct work *w, const struct snapshot *snap)
{
	cleanup_free char *mountpoint = pool_mountpoint(w->s->pool, snap->id);
	int rc;

	if (!mountpoint)
		return failure_no_memory(w->f);
	rc = pool_mount(w->s->pool, snap->branch, mountpoint,
			snap->kind == KIND_VIEW, w->f);
	if (rc > 0)
		w->remounted++;
	else if (rc < 0) /* Mounts tries again when it is wanted */
		log_event(LOG_ERROR, "snapshot cannot be mounted", "key",
			  snap->name, "error", w->f->text, NULL);
	return 0;
}

static int fix_row(void *arg, const struct snapshot *snap)
{
	struct work *w = arg;
	struct entry *e = find_branch(w, snap->branch);

	if (e)
		e->known = true;
	switch (snap->state) {
	case STATE_REMOVING:
		return 0;
	case STATE_PREPARING:
		w->undone++;
		return store_abandon(w->s->store, snap->id, w->f);
	case STATE_COMMITTING:
		if (e)
			return finish_commit(w, snap);
		if (store_cancel_commit(w->s->store, snap->id, w->f) < 0)
			return -1;
		return lost_branch(w, snap);
	case STATE_READY:
		break;
	}
	if (!e)
		return lost_branch(w, snap);
	if (snap->kind != KIND_COMMITTED)
		return mount_again(w, snap);
	return e->sealed ? 0 : seal_again(w, snap);
}

/* ---- What no row knows --------------------------------------------------- */

static int drop_orphans(struct work *w)
{
	for (size_t i = w->branches.n; i-- > 0;) { /* children first */
		struct entry *e = &w->branches.e[i];
		cleanup_free char *name = NULL;
		int rc;

		if (e->known)
			continue;
		name = str_printf("s-%lld", (long long)e->id);
		if (!name)
			return failure_no_memory(w->f);
		rc = pool_delete(w->s->pool, name, w->f);
		if (rc == 0)
			w->orphans++;
		else
			log_event(LOG_WARN, "branch that no snapshot has stays",
				  "branch", name, "error",
				  rc > 0 ? "it has children" : w->f->text,
				  NULL);
	}
	return 0;
}

static int drop_folder(void *arg, const char *path, int64_t id)
{
	struct work *w = arg;
	int rc;

	if (id > 0) {
		rc = store_wants_mount(w->s->store, id, w->f);
		if (rc != 0)
			return rc < 0 ? -1 : 0;
	}
	if (pool_unmount(w->s->pool, path, w->f) == 0)
		w->folders++;
	else
		log_event(LOG_WARN, "mount point of no snapshot stays", "error",
			  w->f->text, NULL);
	return 0;
}

static void report(const struct work *w)
{
	if (w->finished || w->undone || w->remounted || w->remade || w->lost ||
	    w->orphans || w->folders)
		log_event(LOG_INFO, "state repaired", "commits_finished",
			  log_fmt("%u", w->finished), "creations_undone",
			  log_fmt("%u", w->undone), "remounted",
			  log_fmt("%u", w->remounted), "branches_remade",
			  log_fmt("%u", w->remade), "branches_lost",
			  log_fmt("%u", w->lost), "branches_dropped",
			  log_fmt("%u", w->orphans), "mountpoints_removed",
			  log_fmt("%u", w->folders), NULL);
}

int snapshotter_reconcile(struct snapshotter *s, struct failure *f)
{
	struct work w = { .s = s, .f = f };
	int rc = pool_walk(s->pool, add_branch, &w, f);

	if (rc == 0 && w.branches.n)
		qsort(w.branches.e, w.branches.n, sizeof(*w.branches.e), by_id);
	if (rc == 0)
		rc = store_walk(s->store, 0, false, fix_row, &w, f);
	if (rc == 0)
		rc = reaper_pass(s->store, s->pool, NULL, NULL, f);
	if (rc == 0)
		rc = drop_orphans(&w);
	if (rc == 0)
		rc = pool_walk_mountpoints(s->pool, drop_folder, &w, f);
	if (rc == 0)
		report(&w);
	free(w.branches.e);
	return rc;
}
