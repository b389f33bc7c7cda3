/* SPDX-License-Identifier: Apache-2.0 */
#include "api.h"

#include <errno.h>

#include "../common/log.h"
#include "../common/util.h"
#include "io.daxfs.Snapshots.varlink.h"
#include "labels.h"

#define LIST_BATCH 100
#define LIST_BYTES_MAX (4u << 20) /* of a list in one reply, about */
#define FIELDS_MAX 1024

/* A name's byte may become \u00XX. */
_Static_assert(LIST_BATCH *(LABELS_BYTES + 2 * 6 * STORE_NAME_MAX + 256) <
		       VARLINK_MESSAGE_MAX,
	       "a batch fits into a message");

static void fail(struct varlink_call_ctx *ctx, const struct failure *f)
{
	/* the client's mistakes are the client's to log */
	enum log_level level =
		f->status == FAILURE_UNKNOWN ||
				f->status == FAILURE_UNAVAILABLE ||
				f->status == FAILURE_RESOURCE_EXHAUSTED
			? LOG_ERROR
			: LOG_DEBUG;

	log_event(level, "call failed", "status", failure_name(f->status),
		  "error", f->text, NULL);
	varlink_fail(ctx, failure_name(f->status), f->err, "%s", f->text);
}

static void fail_no_memory(struct varlink_call_ctx *ctx)
{
	struct failure f;

	failure_no_memory(&f);
	fail(ctx, &f);
}

/* Consumes value, also when it is NULL: then false. */
static bool add(json_object *o, const char *key, json_object *value)
{
	if (value && json_object_object_add(o, key, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

static bool add_string(json_object *o, const char *key, const char *value)
{
	return add(o, key, json_object_new_string(value));
}

/* Reply with one member; value NULL: out of memory. */
static void reply_with(struct varlink_call_ctx *ctx, const char *key,
		       json_object *value)
{
	json_object *reply = json_object_new_object();

	if (!reply) {
		json_object_put(value);
		fail_no_memory(ctx);
	} else if (!add(reply, key, value)) {
		json_object_put(reply);
		fail_no_memory(ctx);
	} else {
		varlink_reply(ctx, reply);
	}
}

/* ---- Mounts -------------------------------------------------------------- */

static json_object *mounts_json(const struct snapshot_mount *m)
{
	json_object *list = json_object_new_array();
	json_object *mount = json_object_new_object();
	json_object *options = json_object_new_array();

	if (list && mount && options &&
	    json_object_array_add(options, json_object_new_string("bind")) ==
		    0 &&
	    json_object_array_add(options,
				  json_object_new_string(
					  m->readonly ? "ro" : "rw")) == 0 &&
	    add_string(mount, "type", "bind") &&
	    add_string(mount, "source", m->source) &&
	    add_string(mount, "target", "") &&
	    add(mount, "options", json_object_get(options)) &&
	    json_object_array_add(list, json_object_get(mount)) == 0) {
		json_object_put(options);
		json_object_put(mount);
		return list;
	}
	json_object_put(options);
	json_object_put(mount);
	json_object_put(list);
	return NULL;
}

static void reply_mounts(struct varlink_call_ctx *ctx, struct snapshot_mount *m)
{
	reply_with(ctx, "mounts", mounts_json(m));
	free(m->source);
}

static void create(struct varlink_call_ctx *ctx, json_object *params,
		   struct snapshotter *s, enum snapshot_kind kind)
{
	const char *key, *parent = "";
	json_object *labels = NULL;
	struct snapshot_mount m;
	struct failure f;

	if (!varlink_get_string(ctx, params, "key", true, &key) ||
	    !varlink_get_string(ctx, params, "parent", false, &parent) ||
	    !varlink_get_object(ctx, params, "labels", false, &labels))
		return;
	if (snapshotter_create(s, kind, key, parent, labels, &m, &f) < 0)
		fail(ctx, &f);
	else
		reply_mounts(ctx, &m);
}

static void prepare(struct varlink_call_ctx *ctx, json_object *params,
		    void *arg)
{
	create(ctx, params, arg, KIND_ACTIVE);
}

static void view(struct varlink_call_ctx *ctx, json_object *params, void *arg)
{
	create(ctx, params, arg, KIND_VIEW);
}

static void mounts(struct varlink_call_ctx *ctx, json_object *params, void *arg)
{
	struct snapshot_mount m;
	struct failure f;
	const char *key;

	if (!varlink_get_string(ctx, params, "key", true, &key))
		return;
	if (snapshotter_mounts(arg, key, &m, &f) < 0)
		fail(ctx, &f);
	else
		reply_mounts(ctx, &m);
}

/* ---- Commit, Remove, Usage, Cleanup -------------------------------------- */

static void reply_done(struct varlink_call_ctx *ctx, int rc,
		       const struct failure *f)
{
	if (rc < 0)
		fail(ctx, f);
	else
		varlink_reply(ctx, NULL);
}

static void commit(struct varlink_call_ctx *ctx, json_object *params, void *arg)
{
	json_object *labels = NULL;
	const char *name, *key;
	struct failure f;

	if (!varlink_get_string(ctx, params, "name", true, &name) ||
	    !varlink_get_string(ctx, params, "key", true, &key) ||
	    !varlink_get_object(ctx, params, "labels", false, &labels))
		return;
	reply_done(ctx, snapshotter_commit(arg, key, name, labels, &f), &f);
}

static void remove_snapshot(struct varlink_call_ctx *ctx, json_object *params,
			    void *arg)
{
	struct failure f;
	const char *key;

	if (varlink_get_string(ctx, params, "key", true, &key))
		reply_done(ctx, snapshotter_remove(arg, key, &f), &f);
}

static void cleanup(struct varlink_call_ctx *ctx, json_object *params,
		    void *arg)
{
	struct failure f;

	(void)params;
	reply_done(ctx, snapshotter_cleanup(arg, &f), &f);
}

static void usage(struct varlink_call_ctx *ctx, json_object *params, void *arg)
{
	int64_t size, inodes;
	json_object *reply;
	struct failure f;
	const char *key;

	if (!varlink_get_string(ctx, params, "key", true, &key))
		return;
	if (snapshotter_usage(arg, key, &size, &inodes, &f) < 0) {
		fail(ctx, &f);
		return;
	}
	reply = json_object_new_object();
	if (reply && add(reply, "size", json_object_new_int64(size)) &&
	    add(reply, "inodes", json_object_new_int64(inodes))) {
		varlink_reply(ctx, reply);
		return;
	}
	json_object_put(reply);
	fail_no_memory(ctx);
}

/* ---- Infos --------------------------------------------------------------- */

/*
 * A lost snapshot says so by a label. An error would hide it and, as containerd
 * asks for each when it lists them, all others.
 */
static json_object *info_json(const struct snapshotter *s,
			      const struct snapshot *snap)
{
	json_object *o = json_object_new_object();

	if (snapshotter_is_lost(s, snap->id) &&
	    !add_string(snap->labels, LABEL_LOST, "not in the pool")) {
		json_object_put(o);
		return NULL;
	}
	if (o && add_string(o, "name", snap->name) &&
	    add_string(o, "parent", snap->parent) &&
	    add_string(o, "kind", snapshot_kind_name(snap->kind)) &&
	    add(o, "created_ns", json_object_new_int64(snap->created_ns)) &&
	    add(o, "updated_ns", json_object_new_int64(snap->updated_ns)) &&
	    add(o, "labels", json_object_get(snap->labels)) &&
	    (snap->kind != KIND_COMMITTED ||
	     (add(o, "size", json_object_new_int64(snap->size)) &&
	      add(o, "inodes", json_object_new_int64(snap->inodes)))))
		return o;
	json_object_put(o);
	return NULL;
}

static void reply_info(struct varlink_call_ctx *ctx,
		       const struct snapshotter *s, struct snapshot *snap)
{
	reply_with(ctx, "info", info_json(s, snap));
	snapshot_clear(snap);
}

static void stat_snapshot(struct varlink_call_ctx *ctx, json_object *params,
			  void *arg)
{
	struct snapshotter *s = arg;
	struct snapshot snap;
	struct failure f;
	const char *key;

	if (!varlink_get_string(ctx, params, "key", true, &key))
		return;
	if (store_get(s->store, key, &snap, &f) < 0)
		fail(ctx, &f);
	else
		reply_info(ctx, s, &snap);
}

/*
 * The strings of an array parameter, borrowed from it; *out is the caller's to
 * free. False: answered already.
 */
static bool get_strings(struct varlink_call_ctx *ctx, json_object *params,
			const char *key, const char ***out, unsigned *n)
{
	json_object *list = NULL;
	struct failure f;

	*out = NULL;
	*n = 0;
	if (!varlink_get_array(ctx, params, key, false, &list))
		return false;
	if (!list)
		return true;
	if (json_object_array_length(list) > FIELDS_MAX) {
		failure_set(&f, FAILURE_INVALID_ARGUMENT, E2BIG,
			    "more than %d %s", FIELDS_MAX, key);
		fail(ctx, &f);
		return false;
	}
	*out = calloc(json_object_array_length(list) + 1, sizeof(**out));
	if (!*out) {
		fail_no_memory(ctx);
		return false;
	}
	for (; *n < json_object_array_length(list); (*n)++) {
		json_object *o = json_object_array_get_idx(list, *n);
		const char *s = json_object_get_string(o);

		if (!json_object_is_type(o, json_type_string) ||
		    strlen(s) != (size_t)json_object_get_string_len(o)) {
			failure_set(&f, FAILURE_INVALID_ARGUMENT, EINVAL,
				    "%s[%u]: not a text without NUL", key, *n);
			fail(ctx, &f);
			return false;
		}
		(*out)[*n] = s;
	}
	return true;
}

static void update(struct varlink_call_ctx *ctx, json_object *params, void *arg)
{
	cleanup_free const char **fields = NULL;
	json_object *info, *labels = NULL;
	struct snapshotter *s = arg;
	struct snapshot snap;
	struct failure f;
	const char *name;
	unsigned n;

	if (!varlink_get_object(ctx, params, "info", true, &info) ||
	    !varlink_get_string(ctx, info, "name", true, &name) ||
	    !varlink_get_object(ctx, info, "labels", false, &labels) ||
	    !get_strings(ctx, params, "fields", &fields, &n))
		return;
	if (snapshotter_update(s, name, labels, fields, n, &snap, &f) < 0)
		fail(ctx, &f);
	else
		reply_info(ctx, s, &snap);
}

/* ---- List ---------------------------------------------------------------- */

struct listing {
	struct varlink_call_ctx *ctx;
	const struct snapshotter *s;
	json_object *batch; /* NULL: memory is out */
	size_t bytes;       /* in one reply, about */
	bool gone;          /* the client is */
	bool too_much;
};

/* {"infos": batch}; takes the batch. NULL: out of memory. */
static json_object *take_batch(struct listing *l)
{
	json_object *o = json_object_new_object();
	json_object *batch = l->batch;

	l->batch = NULL;
	if (o && batch && add(o, "infos", batch))
		return o;
	if (!o)
		json_object_put(batch);
	json_object_put(o);
	return NULL;
}

/* A list in one reply is all in memory before any of it is sent. */
static bool fits(struct listing *l, const struct snapshot *snap)
{
	const char *labels = labels_text(snap->labels);

	if (varlink_wants_more(l->ctx))
		return true;
	l->bytes += 128 + strlen(snap->name) + strlen(snap->parent) +
		    (labels ? strlen(labels) : 0);
	l->too_much = l->bytes > LIST_BYTES_MAX;
	return !l->too_much;
}

static int list_one(void *arg, const struct snapshot *snap)
{
	struct listing *l = arg;
	json_object *info, *full;

	if (!fits(l, snap))
		return 1;
	if (varlink_wants_more(l->ctx) &&
	    json_object_array_length(l->batch) >= LIST_BATCH) {
		full = take_batch(l);
		if (!full)
			return 1;
		if (varlink_reply_more(l->ctx, full) < 0) {
			l->gone = true;
			return 1;
		}
		l->batch = json_object_new_array();
		if (!l->batch)
			return 1;
	}
	info = info_json(l->s, snap);
	if (info && json_object_array_add(l->batch, info) == 0)
		return 0;
	json_object_put(info);
	json_object_put(steal_ptr(&l->batch));
	return 1;
}

static void list(struct varlink_call_ctx *ctx, json_object *params, void *arg)
{
	struct snapshotter *s = arg;
	struct listing l = { .ctx = ctx, .s = s };
	cleanup_free const char **texts = NULL;
	struct filter *filter;
	struct failure f;
	json_object *last;
	unsigned n;
	int rc;

	if (!get_strings(ctx, params, "filters", &texts, &n))
		return;
	if (filter_parse(texts, n, &filter, &f) < 0) {
		fail(ctx, &f);
		return;
	}
	l.batch = json_object_new_array();
	rc = l.batch ? store_list(s->store, filter, list_one, &l, &f) : 1;
	filter_free(filter);
	if (l.too_much)
		rc = failure_set(&f, FAILURE_RESOURCE_EXHAUSTED, EMSGSIZE,
				 "too many snapshots for one reply: call with "
				 "\"more\", or filter them");
	if (rc < 0) {
		json_object_put(l.batch);
		fail(ctx, &f);
		return;
	}
	last = l.gone ? json_object_new_object() : take_batch(&l);
	if (last)
		varlink_reply(ctx, last);
	else
		fail_no_memory(ctx);
}

static const struct varlink_method methods[] = {
	{ "Prepare", prepare },
	{ "View", view },
	{ "Mounts", mounts },
	{ "Commit", commit },
	{ "Remove", remove_snapshot },
	{ "Stat", stat_snapshot },
	{ "Update", update },
	{ "List", list },
	{ "Usage", usage },
	{ "Cleanup", cleanup },
	{ NULL, NULL },
};

void snapshots_interface(struct snapshotter *s, struct varlink_interface *out)
{
	*out = (struct varlink_interface){
		.name = "io.daxfs.Snapshots",
		.description = io_daxfs_Snapshots_varlink,
		.methods = methods,
		.arg = s,
	};
}
