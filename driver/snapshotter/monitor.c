/* SPDX-License-Identifier: Apache-2.0 */
#include "monitor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "../common/log.h"
#include "../common/util.h"
#include "io.daxfs.Monitor.varlink.h"

#ifndef DAXFS_VERSION_STRING
#define DAXFS_VERSION_STRING "unknown"
#endif

#define ASKERS 2        /* threads at once that wait for daxfs-fuse */
#define ASK_MS 1000     /* for its answer */
#define TURN_MS 500     /* for one of the others to be done */
#define WARN_PERCENT 90 /* of the region, or of its branches, in use */
#define FULL_PERCENT 98

void monitor_init(struct monitor *m, struct snapshotter *s, const char *root,
		  const char *state)
{
	pthread_condattr_t attr;
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	*m = (struct monitor){
		.s = s,
		.root = root,
		.state = state,
		.started_ns = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec,
		.started = metrics_now(),
	};
	pthread_mutex_init(&m->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&m->turn, &attr);
	pthread_condattr_destroy(&attr);
}

void monitor_destroy(struct monitor *m)
{
	if (!m->s)
		return;
	pthread_cond_destroy(&m->turn);
	pthread_mutex_destroy(&m->lock);
	m->s = NULL;
}

/* ---- Looking --------------------------------------------------------------- */

static bool turn_begin(struct monitor *m)
{
	uint64_t end = metrics_now() + TURN_MS * UINT64_C(1000000);
	struct timespec ts = { (time_t)(end / 1000000000),
			       (long)(end % 1000000000) };
	int err = 0;

	pthread_mutex_lock(&m->lock);
	while (m->asking >= ASKERS && !err)
		err = pthread_cond_timedwait(&m->turn, &m->lock, &ts);
	if (m->asking < ASKERS) {
		m->asking++;
		err = 0;
	}
	pthread_mutex_unlock(&m->lock);
	return !err;
}

static void turn_end(struct monitor *m)
{
	pthread_mutex_lock(&m->lock);
	m->asking--;
	pthread_cond_signal(&m->turn);
	pthread_mutex_unlock(&m->lock);
}

static void ask_pool(struct monitor *m, bool mounts, struct monitor_look *l)
{
	if (!turn_begin(m)) {
		failure_set(&l->why, FAILURE_UNAVAILABLE, EBUSY,
			    "others are waiting for an answer of daxfs-fuse");
		return;
	}
	if (pool_stats(m->s->pool, mounts, ASK_MS, &l->pool, &l->why) < 0)
		l->pool = NULL;
	turn_end(m);
}

int monitor_look(struct monitor *m, bool mounts, struct monitor_look *out,
		 struct failure *f)
{
	*out = (struct monitor_look){ .pool = NULL };
	if (store_counts(m->s->store, &out->counts, f) < 0)
		return -1;
	out->lost = store_count_named(m->s->store, m->s->lost, m->s->n_lost, f);
	if (out->lost < 0)
		return -1;
	ask_pool(m, mounts, out);
	return 0;
}

void monitor_look_clear(struct monitor_look *l)
{
	json_object_put(l->pool);
	l->pool = NULL;
}

/* ---- JSON ------------------------------------------------------------------ */

/* Consumes value, also when it is NULL: then false. */
static bool add(json_object *o, const char *key, json_object *value)
{
	if (value && json_object_object_add(o, key, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

static bool add_int(json_object *o, const char *key, int64_t n)
{
	return add(o, key, json_object_new_int64(n));
}

static bool add_string(json_object *o, const char *key, const char *s)
{
	return add(o, key, json_object_new_string(s));
}

struct number {
	const char *key;
	int64_t n;
};

static json_object *numbers(const struct number *v, size_t n)
{
	json_object *o = json_object_new_object();

	for (size_t i = 0; o && i < n; i++)
		if (!add_int(o, v[i].key, v[i].n)) {
			json_object_put(o);
			o = NULL;
		}
	return o;
}

static json_object *snapshots_json(const struct monitor_look *l)
{
	const struct store_counts *c = &l->counts;
	const struct number v[] = {
		{ "view", c->ready[KIND_VIEW] },
		{ "active", c->ready[KIND_ACTIVE] },
		{ "committed", c->ready[KIND_COMMITTED] },
		{ "preparing", c->preparing },
		{ "committing", c->committing },
		{ "removing", c->removing },
		{ "lost", l->lost },
	};

	return numbers(v, ARRAY_SIZE(v));
}

static json_object *start_json(const struct reconciled *r)
{
	const struct number v[] = {
		{ "snapshots", r->snapshots },
		{ "commits_undone", r->commits_undone },
		{ "creations_undone", r->creations_undone },
		{ "removals_to_finish", r->removals_to_finish },
		{ "branches_remade", r->branches_remade },
		{ "branches_dropped", r->branches_dropped },
		{ "mountpoints_removed", r->mountpoints_removed },
	};

	return numbers(v, ARRAY_SIZE(v));
}

/* A member of daxfs-fuse's answer, where there is one. */
static bool add_answer(json_object *o, const struct monitor_look *l,
		       const char *key)
{
	json_object *v;

	return !l->pool || !json_object_object_get_ex(l->pool, key, &v) ||
	       add(o, key, json_object_get(v));
}

/* ---- Health ---------------------------------------------------------------- */

struct verdict {
	json_object *problems, *warnings; /* NULL: no memory */
};

__attribute__((format(printf, 2, 3))) static void say(json_object **list,
						      const char *fmt, ...)
{
	json_object *o;
	char text[768];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	o = json_object_new_string(text);
	if (*list && o && json_object_array_add(*list, o) == 0)
		return;
	json_object_put(o);
	json_object_put(*list);
	*list = NULL;
}

/* `what` is nearly used up, or all but used up. */
static void judge_share(struct verdict *v, const char *what, int64_t used,
			int64_t all, const char *cure)
{
	int64_t percent =
		all > 0 ? (int64_t)((double)used * 100 / (double)all) : 0;

	if (percent >= WARN_PERCENT)
		say(percent >= FULL_PERCENT ? &v->problems : &v->warnings,
		    "%lld%% of the pool's %s are in use; %s",
		    (long long)percent, what, cure);
}

static void judge_pool(struct verdict *v, const struct monitor_look *l)
{
	json_object *s = NULL;
	int64_t damaged, branches;

	if (!l->pool) {
		say(&v->problems,
		    "daxfs-fuse, which serves the pool, does not answer: %s",
		    l->why.text);
		return;
	}
	json_object_object_get_ex(l->pool, "stats", &s);
	damaged = monitor_number(s, "branches_damaged");
	branches = monitor_number(s, "branches_active") +
		   monitor_number(s, "branches_sealed") + damaged;
	judge_share(v, "segments",
		    monitor_number(s, "segments") -
			    monitor_number(s, "segments_free"),
		    monitor_number(s, "segments"),
		    "remove images or snapshots that are not needed");
	judge_share(v, "branches", branches, monitor_number(s, "branch_slots"),
		    "remove snapshots that are not needed");
	if (damaged)
		say(&v->problems,
		    "%lld branch%s of the pool cannot be read: see daxfs-inspect validate",
		    (long long)damaged, damaged == 1 ? "" : "es");
}

static bool judge(struct verdict *v, const struct monitor_look *l)
{
	v->problems = json_object_new_array();
	v->warnings = json_object_new_array();
	if (l->lost)
		say(&v->problems,
		    "%lld snapshot%s when this process started: the pool does not have %s; remove %s",
		    (long long)l->lost,
		    l->lost == 1 ? " was lost" : "s were lost",
		    l->lost == 1 ? "its branch" : "their branches",
		    l->lost == 1 ? "it" : "them");
	judge_pool(v, l);
	if (v->problems && v->warnings)
		return true;
	json_object_put(v->problems);
	json_object_put(v->warnings);
	return false;
}

/* ---- Methods --------------------------------------------------------------- */

static void fail(struct varlink_call_ctx *ctx, const struct failure *f)
{
	log_event(LOG_ERROR, "call failed", "error", f->text, NULL);
	varlink_fail(ctx, "Failed", f->err, "%s", f->text);
}

/* reply NULL: out of memory. */
static void answer(struct varlink_call_ctx *ctx, json_object *reply)
{
	struct failure f;

	if (reply) {
		varlink_reply(ctx, reply);
		return;
	}
	failure_no_memory(&f);
	fail(ctx, &f);
}

static bool add_facts(const struct monitor *m, const struct monitor_look *l,
		      json_object *o)
{
	return add_string(o, "version", DAXFS_VERSION_STRING) &&
	       add_int(o, "pid", getpid()) &&
	       add_int(o, "started_ns", m->started_ns) &&
	       add_int(o, "uptime_ns", (int64_t)(metrics_now() - m->started)) &&
	       add_string(o, "root", m->root) &&
	       add_string(o, "state", m->state) &&
	       add_string(o, "pool", pool_region(m->s->pool)) &&
	       add(o, "serving", json_object_new_boolean(l->pool != NULL)) &&
	       (l->pool || add_string(o, "error", l->why.text)) &&
	       add_answer(o, l, "stats") && add_answer(o, l, "front") &&
	       add(o, "snapshots", snapshots_json(l)) &&
	       add(o, "start", start_json(&m->s->reconciled));
}

/* What the log said last that was an error. */
static bool add_last_error(json_object *o)
{
	char text[LOG_LAST_MAX];
	int64_t when = log_last_error(text);
	json_object *e;

	if (!when)
		return true;
	e = json_object_new_object();
	if (e && add_int(e, "time_ns", when) && add_string(e, "message", text))
		return add(o, "last_error", e);
	json_object_put(e);
	return false;
}

static bool add_verdict(const struct monitor_look *l, json_object *o)
{
	struct verdict v;
	bool healthy;

	if (!judge(&v, l))
		return false;
	healthy = json_object_array_length(v.problems) == 0;
	if (add(o, "problems", v.problems))
		return add(o, "warnings", v.warnings) &&
		       add(o, "healthy", json_object_new_boolean(healthy));
	json_object_put(v.warnings);
	return false;
}

static json_object *status_json(const struct monitor *m,
				const struct monitor_look *l)
{
	json_object *reply = json_object_new_object();
	json_object *o = json_object_new_object();

	if (reply && o && add_facts(m, l, o) && add_verdict(l, o) &&
	    add_last_error(o) && add(reply, "status", json_object_get(o))) {
		json_object_put(o);
		return reply;
	}
	json_object_put(o);
	json_object_put(reply);
	return NULL;
}

static void get_status(struct varlink_call_ctx *ctx, json_object *params,
		       void *arg)
{
	struct monitor_look l;
	struct failure f;

	(void)params;
	if (monitor_look(arg, false, &l, &f) < 0) {
		fail(ctx, &f);
		return;
	}
	answer(ctx, status_json(arg, &l));
	monitor_look_clear(&l);
}

static void get_metrics(struct varlink_call_ctx *ctx, json_object *params,
			void *arg)
{
	struct metrics_text t = { 0 };
	json_object *reply = NULL;
	struct monitor_look l;
	struct failure f;

	(void)params;
	if (monitor_look(arg, false, &l, &f) < 0) {
		fail(ctx, &f);
		return;
	}
	monitor_render(arg, &l, &t);
	monitor_look_clear(&l);
	if (!t.failed)
		reply = json_object_new_object();
	if (reply && !add_string(reply, "text", t.data)) {
		json_object_put(reply);
		reply = NULL;
	}
	free(t.data);
	answer(ctx, reply);
}

static const char *branch_of(json_object *mount)
{
	json_object *o;

	return json_object_object_get_ex(mount, "branch", &o)
		       ? json_object_get_string(o)
		       : "";
}

/* Say of each mount which snapshot it is. */
static int name_mounts(struct monitor *m, json_object *mounts,
		       struct failure *f)
{
	size_t n = json_object_array_length(mounts);
	cleanup_free const char **branches = calloc(n + 1, sizeof(*branches));
	cleanup_free char **keys = calloc(n + 1, sizeof(*keys));
	int rc;

	if (!branches || !keys)
		return failure_no_memory(f);
	for (size_t i = 0; i < n; i++)
		branches[i] = branch_of(json_object_array_get_idx(mounts, i));
	rc = store_find_keys(m->s->store, branches, n, keys, f);
	for (size_t i = 0; i < n; i++) {
		if (rc == 0 && keys[i] &&
		    !add_string(json_object_array_get_idx(mounts, i), "key",
				keys[i]))
			rc = failure_no_memory(f);
		free(keys[i]);
	}
	return rc;
}

static void get_activity(struct varlink_call_ctx *ctx, json_object *params,
			 void *arg)
{
	json_object *reply = NULL, *mounts;
	struct monitor *m = arg;
	struct monitor_look l;
	struct failure f;
	int rc;

	(void)params;
	rc = monitor_look(m, true, &l, &f);
	if (rc == 0 && l.pool &&
	    json_object_object_get_ex(l.pool, "mounts", &mounts) &&
	    json_object_is_type(mounts, json_type_array))
		rc = name_mounts(m, mounts, &f);
	if (rc < 0) {
		monitor_look_clear(&l);
		fail(ctx, &f);
		return;
	}
	reply = json_object_new_object();
	if (reply && !(add_int(reply, "time_ns", (int64_t)metrics_now()) &&
		       add(reply, "calls", monitor_calls()) &&
		       add(reply, "snapshots", snapshots_json(&l)) &&
		       add_answer(reply, &l, "stats") &&
		       add_answer(reply, &l, "front") &&
		       add_answer(reply, &l, "mounts"))) {
		json_object_put(reply);
		reply = NULL;
	}
	monitor_look_clear(&l);
	answer(ctx, reply);
}

void monitor_interface(struct monitor *m, struct varlink_interface *out)
{
	static const struct varlink_method methods[] = {
		{ "GetStatus", get_status },
		{ "GetActivity", get_activity },
		{ "GetMetrics", get_metrics },
		{ NULL, NULL },
	};

	*out = (struct varlink_interface){
		.name = "io.daxfs.Monitor",
		.description = io_daxfs_Monitor_varlink,
		.methods = methods,
		.arg = m,
	};
}
