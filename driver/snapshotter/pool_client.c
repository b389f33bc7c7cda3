/* SPDX-License-Identifier: Apache-2.0 */
/* The region's file, its process, and calls to that. */
#include "pool_client.h"

#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "../common/fault.h"
#include "../common/log.h"
#include "../common/util.h"
#include "../region/region.h"
#include "run.h"

#define INTERFACE "io.daxfs.Branches"
#define CALL_MS 120000 /* a sync of much data to a slow disk takes long */
#define PAUSE_MS 10    /* doubled each time */

/* ---- The process --------------------------------------------------------- */

static void drop_idle(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	while (p->n_idle)
		varlink_close(p->idle[--p->n_idle]);
	pthread_mutex_unlock(&p->lock);
}

static char *number(uint64_t n)
{
	return str_printf("%llu", (unsigned long long)n);
}

static int start_fuse(struct pool *p, struct failure *f)
{
	cleanup_free char *sync = number(p->fuse.sync_interval);
	cleanup_free char *slow = number(p->fuse.slow_call_ms);
	cleanup_free char *size = number(p->fuse.log_size);
	const char *level = log_level_name(p->fuse.level);
	const char *format = log_format_name(p->fuse.format);
	char *argv[] = { (char *)"daxfs-fuse",
			 (char *)"--control-only",
			 p->region,
			 (char *)"--state",
			 p->state,
			 (char *)"--sync-interval",
			 sync,
			 (char *)"--slow-call",
			 slow,
			 (char *)"--log-level",
			 (char *)level,
			 (char *)"--log-format",
			 (char *)format,
			 (char *)"--log-file",
			 p->log_file,
			 (char *)"--log-size",
			 size,
			 NULL };
	char text[512];

	if (!sync || !slow || !size)
		return failure_no_memory(f);
	if (run_program(argv, p->start_timeout, text, sizeof(text)) < 0)
		return failure_set(f, FAILURE_UNAVAILABLE, EHOSTDOWN,
				   "the pool %s cannot be served: %s",
				   p->region, text);
	FAULT_POINT("pool.fuse-started");
	log_event(LOG_INFO, "daxfs-fuse started", "region", p->region, "log",
		  p->log_file, NULL);
	return 0;
}

static bool nobody_there(int rc)
{
	return rc == -ENOENT || rc == -ECONNREFUSED;
}

static int connect_pool(struct pool *p, struct varlink_client **out,
			struct failure *f)
{
	struct failure why = { .text = "" };
	int rc = varlink_connect(p->control, out);

	if (nobody_there(rc)) {
		pthread_mutex_lock(&p->start_lock);
		rc = varlink_connect(p->control, out);
		if (nobody_there(rc)) {
			int started = start_fuse(p, &why);

			/* another may have been quicker: the socket tells */
			rc = varlink_connect(p->control, out);
			if (rc < 0 && started < 0) {
				*f = why;
				pthread_mutex_unlock(&p->start_lock);
				return -1;
			}
		}
		pthread_mutex_unlock(&p->start_lock);
	}
	if (rc < 0)
		return failure_set(f, FAILURE_UNAVAILABLE, -rc,
				   "the pool's daxfs-fuse (%s): %s", p->control,
				   log_err(rc));
	return 0;
}

static int client_get(struct pool *p, struct varlink_client **out,
		      struct failure *f)
{
	*out = NULL;
	pthread_mutex_lock(&p->lock);
	if (p->n_idle)
		*out = p->idle[--p->n_idle];
	pthread_mutex_unlock(&p->lock);
	return *out ? 0 : connect_pool(p, out, f);
}

static void client_put(struct pool *p, struct varlink_client *c)
{
	pthread_mutex_lock(&p->lock);
	if (p->n_idle < POOL_IDLE) {
		p->idle[p->n_idle++] = c;
		c = NULL;
	}
	pthread_mutex_unlock(&p->lock);
	varlink_close(c);
}

/* ---- Calls --------------------------------------------------------------- */

/* The message names the branch or the mount point. */
static void call_failure(const struct varlink_error *e, struct failure *f)
{
	static const struct {
		const char *name;
		enum failure_status status;
	} map[] = {
		{ INTERFACE ".NotFound", FAILURE_NOT_FOUND },
		{ INTERFACE ".Exists", FAILURE_ALREADY_EXISTS },
		{ INTERFACE ".NoSpace", FAILURE_RESOURCE_EXHAUSTED },
	};
	enum failure_status status = FAILURE_UNKNOWN;

	for (unsigned i = 0; i < ARRAY_SIZE(map); i++)
		if (str_eq(e->name, map[i].name))
			status = map[i].status;
	if (e->err == EUCLEAN || e->err == EROFS) /* trying again is no use */
		status = FAILURE_PRECONDITION;
	if (e->err == EMFILE || e->err == ENFILE || e->err == ENOMEM)
		status = FAILURE_RESOURCE_EXHAUSTED;
	failure_set(f, status, e->err ? e->err : EIO, "pool: %s", e->message);
}

/* The process is gone, or going: the connection ended, or it says so. */
static bool peer_gone(int rc, const struct varlink_error *e)
{
	return rc == -ECONNRESET || rc == -EPIPE ||
	       (rc == -EREMOTEIO && e->err == ESHUTDOWN);
}

/* A process that dies with much mapped still answers connect(2) for a while. */
static void pause_before(int attempt)
{
	long ms = attempt > 1 ? PAUSE_MS << (attempt - 2) : 0;
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	if (ms)
		nanosleep(&t, NULL);
}

/* What becomes of the answers: one is kept, or each is shown. */
struct answers {
	json_object **reply;
	int (*fn)(void *arg, json_object *reply);
	void *arg;
	bool once;   /* the call is not repeated */
	bool any;    /* were shown: nor is it then */
	int stopped; /* what fn answered */
};

static int show_answer(void *arg, json_object *reply)
{
	struct answers *a = arg;

	a->any = true;
	a->stopped = a->fn(a->arg, reply);
	return a->stopped ? -ECANCELED : 0;
}

static int call_once(struct varlink_client *c, const char *method,
		     json_object *params, struct answers *a,
		     struct varlink_error *e)
{
	if (!a->fn)
		return varlink_call(c, method, params, CALL_MS, a->reply, e);
	return varlink_call_more(c, method, params, CALL_MS, show_answer, a, e);
}

/*
 * A connection that ends may have belonged to a process that is gone; the next
 * attempt starts another. Most calls may be repeated: see their callers.
 */
static int call_pool(struct pool *p, const char *method, json_object *params,
		     struct answers *a, struct failure *f)
{
	cleanup_free char *full = str_printf(INTERFACE ".%s", method);
	struct varlink_client *c;
	struct varlink_error e = { 0 };
	int rc = -ECONNRESET, err;

	if (!full || !params) {
		json_object_put(params);
		return failure_no_memory(f);
	}
	err = FAULT_ERRNO("pool.call");
	if (err) {
		json_object_put(params);
		return failure_set(f, FAILURE_UNAVAILABLE, err, "pool: fault");
	}
	for (int i = 0;
	     i < (a->once ? 1 : POOL_ATTEMPTS) && peer_gone(rc, &e) && !a->any;
	     i++) {
		pause_before(i);
		if (client_get(p, &c, f) < 0) {
			rc = -1;
			break;
		}
		rc = call_once(c, full, params, a, &e);
		if (a->stopped) { /* the rest of the answers comes too late */
			varlink_close(c);
			break;
		}
		if (rc == 0 || (rc == -EREMOTEIO && !peer_gone(rc, &e))) {
			client_put(p, c);
			if (rc < 0)
				call_failure(&e, f);
			break;
		}
		varlink_close(c);
		drop_idle(p);
		failure_set(f, FAILURE_UNAVAILABLE, -rc,
			    "the pool's daxfs-fuse: %s: %s", method, e.message);
	}
	json_object_put(params);
	FAULT_POINT("pool.answered");
	return rc < 0 ? -1 : 0;
}

int pool_call(struct pool *p, const char *method, json_object *params,
	      json_object **reply, struct failure *f)
{
	struct answers a = { .reply = reply };

	return call_pool(p, method, params, &a, f);
}

int pool_call_once(struct pool *p, const char *method, json_object *params,
		   json_object **reply, struct failure *f)
{
	struct answers a = { .reply = reply, .once = true };

	return call_pool(p, method, params, &a, f);
}

bool pool_call_lost(const struct failure *f)
{
	return f->status == FAILURE_UNAVAILABLE &&
	       (f->err == ECONNRESET || f->err == EPIPE || f->err == ESHUTDOWN);
}

int pool_call_more(struct pool *p, const char *method, json_object *params,
		   int (*fn)(void *arg, json_object *reply), void *arg,
		   struct failure *f)
{
	struct answers a = { .fn = fn, .arg = arg };
	int rc = call_pool(p, method, params, &a, f);

	return a.stopped ? a.stopped : rc;
}

/* ---- Start --------------------------------------------------------------- */

static int make_region(const struct pool_settings *s, struct failure *f)
{
	cleanup_free char *size = number(s->size);
	cleanup_free char *branches = number(s->branches);
	char *argv[] = { (char *)"mkdaxfs",    (char *)"-o", (char *)s->region,
			 (char *)"-s",         size,         (char *)"-w",
			 (char *)"--branches", branches,     NULL };
	char text[512];

	if (!size || !branches)
		return failure_no_memory(f);
	if (run_program(argv, s->start_timeout, text, sizeof(text)) < 0)
		return failure_set(f, FAILURE_UNKNOWN, EIO,
				   "the pool %s cannot be made: %s", s->region,
				   text);
	FAULT_POINT("pool.region-made");
	log_event(LOG_INFO, "pool made", "region", s->region, "size",
		  format_size(s->size), "branches", branches, NULL);
	return 0;
}

static int make_folder(const char *path, mode_t mode, struct failure *f)
{
	int rc = mkdir_parents(path, mode);

	/* whatever the umask */
	if (rc == 0 && chmod(path, mode) < 0)
		rc = -errno;
	if (rc < 0)
		return failure_set(f, FAILURE_UNKNOWN, -rc,
				   "cannot make the folder %s: %s", path,
				   log_err(rc));
	return 0;
}

static int prepare(struct pool *p, const struct pool_settings *s, bool create,
		   struct failure *f)
{
	cleanup_free char *sockets = str_printf("%s/fuse", s->state);
	struct varlink_client *c;

	p->region = strdup(s->region);
	p->state = strdup(s->state);
	p->mounts = str_printf("%s/mnt", s->state);
	p->start_timeout = s->start_timeout;
	p->fuse = s->fuse;
	p->log_file = str_empty(s->fuse.log_file)
			      ? str_printf("%s/fuse/pool.log", s->state)
			      : strdup(s->fuse.log_file);
	if (!sockets || !p->region || !p->state || !p->mounts || !p->log_file)
		return failure_no_memory(f);
	if (make_folder(sockets, 0700, f) < 0 ||
	    make_folder(p->mounts, 0700, f) < 0)
		return -1;
	if (access(p->region, F_OK) < 0) {
		if (errno != ENOENT || !create)
			return failure_set(f, FAILURE_UNKNOWN, errno,
					   "the pool %s: %s", p->region,
					   log_err(errno));
		if (make_region(s, f) < 0)
			return -1;
	}
	p->control = region_control_path(p->region, p->state);
	if (!p->control)
		return failure_set(f, FAILURE_UNKNOWN, errno, "the pool %s: %s",
				   p->region, log_err(errno));
	if (client_get(p, &c, f) < 0)
		return -1;
	client_put(p, c);
	return 0;
}

int pool_open(const struct pool_settings *settings, bool create,
	      struct pool **out, struct failure *f)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (!p)
		return failure_no_memory(f);
	pthread_mutex_init(&p->start_lock, NULL);
	pthread_mutex_init(&p->lock, NULL);
	pthread_mutex_init(&p->mount_lock, NULL);
	if (prepare(p, settings, create, f) < 0) {
		pool_close(p);
		return -1;
	}
	*out = p;
	return 0;
}

void pool_close(struct pool *p)
{
	if (!p)
		return;
	drop_idle(p);
	pthread_mutex_destroy(&p->mount_lock);
	pthread_mutex_destroy(&p->lock);
	pthread_mutex_destroy(&p->start_lock);
	free(p->region);
	free(p->state);
	free(p->mounts);
	free(p->control);
	free(p->log_file);
	free(p);
}
