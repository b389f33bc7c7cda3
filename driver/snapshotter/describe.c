/* SPDX-License-Identifier: Apache-2.0 */
#include "describe.h"

#include <pthread.h>

#include "../../include/daxfs_format.h"
#include "../common/log.h"
#include "../common/util.h"
#include "labels.h"

#define VERSION 1
#define DEPTH_MAX 8
#define LOCKS 64

static pthread_mutex_t locks[LOCKS] = { [0 ... LOCKS - 1] =
						PTHREAD_MUTEX_INITIALIZER };

static pthread_mutex_t *lock_of(const char *branch)
{
	unsigned h = 0;

	while (*branch)
		h = h * 31 + (unsigned char)*branch++;
	return &locks[h % LOCKS];
}

void describe_lock(const char *branch)
{
	pthread_mutex_lock(lock_of(branch));
}

void describe_unlock(const char *branch)
{
	pthread_mutex_unlock(lock_of(branch));
}

/* ---- Writing ------------------------------------------------------------- */

/* Consumes value, also when it is NULL: then false. */
static bool put(json_object *o, const char *key, json_object *value)
{
	if (value && json_object_object_add(o, key, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

static bool put_number(json_object *o, const char *key, int64_t n)
{
	return put(o, key, json_object_new_int64(n));
}

json_object *describe_begin(void)
{
	return json_object_new_array();
}

bool describe_add(json_object *list, const struct snapshot *snap)
{
	json_object *o = list ? json_object_new_object() : NULL;

	if (o && put_number(o, "id", snap->id) &&
	    put(o, "kind",
		json_object_new_string(snapshot_kind_name(snap->kind))) &&
	    put(o, "name", json_object_new_string(snap->name)) &&
	    (!snap->parent_id || put_number(o, "parent", snap->parent_id)) &&
	    put_number(o, "created", snap->created_ns) &&
	    put_number(o, "updated", snap->updated_ns) &&
	    put(o, "labels", json_object_get(snap->labels)) &&
	    json_object_array_add(list, o) == 0)
		return true;
	json_object_put(o);
	return false;
}

/* The text, borrowed from o. */
static const char *text_of(json_object *o)
{
	return json_object_to_json_string_ext(o,
					      JSON_C_TO_STRING_PLAIN |
						      JSON_C_TO_STRING_NOSLASHESCAPE);
}

static bool too_long(const char *text)
{
	return strlen(text) > DAXFS_BRANCH_META_MAX;
}

/* Rather names without labels, and some names, than nothing. */
static const char *shorten(json_object *doc, json_object *list)
{
	const char *text = text_of(doc);
	size_t n = json_object_array_length(list);

	for (size_t i = 0; i < n && text && too_long(text); i++) {
		json_object_object_del(json_object_array_get_idx(list, i),
				       "labels");
		text = text_of(doc);
	}
	while (text && too_long(text) &&
	       (n = json_object_array_length(list)) > 1) {
		json_object_array_del_idx(list, n - 1, 1);
		text = text_of(doc);
	}
	return text;
}

char *describe_end(json_object *list)
{
	json_object *doc = list ? json_object_new_object() : NULL;
	const char *text = NULL;
	char *out;

	if (!doc || !put_number(doc, "v", VERSION)) {
		json_object_put(list);
		list = NULL;
	}
	if (list && put(doc, "snapshots", list))
		text = shorten(doc, list);
	out = text ? strdup(text) : NULL;
	json_object_put(doc);
	return out;
}

char *describe_snapshot(const struct snapshot *snap)
{
	json_object *list = describe_begin();

	if (describe_add(list, snap))
		return describe_end(list);
	json_object_put(list);
	return NULL;
}

static int add_row(void *arg, const struct snapshot *snap)
{
	return describe_add(arg, snap) ? 0 : 1;
}

void describe_branch(struct store *store, struct pool *pool, const char *branch)
{
	json_object *list = describe_begin();
	cleanup_free char *text = NULL;
	struct failure f;
	int rc = -1;

	failure_no_memory(&f);
	describe_lock(branch);
	if (list)
		rc = store_walk_branch(store, branch, add_row, list, &f);
	if (rc == 0 && json_object_array_length(list)) {
		text = describe_end(steal_ptr(&list));
		rc = text ? pool_set_meta(pool, branch, text, &f) : -1;
	}
	describe_unlock(branch);
	json_object_put(list);
	if (rc != 0)
		log_event(LOG_WARN,
			  "the pool does not know a snapshot's labels or names "
			  "until the next start",
			  "branch", branch, "error", f.text, NULL);
}

/* ---- Reading ------------------------------------------------------------- */

static bool number_of(json_object *o, const char *key, bool required,
		      int64_t *out)
{
	json_object *v;

	*out = 0;
	if (!json_object_object_get_ex(o, key, &v))
		return !required;
	*out = json_object_get_int64(v);
	return json_object_is_type(v, json_type_int) && *out >= 0;
}

static bool kind_of(json_object *o, enum snapshot_kind *out)
{
	json_object *v;

	if (!json_object_object_get_ex(o, "kind", &v) ||
	    !json_object_is_type(v, json_type_string))
		return false;
	for (*out = KIND_VIEW; *out <= KIND_COMMITTED; ++*out)
		if (str_eq(json_object_get_string(v), snapshot_kind_name(*out)))
			return true;
	return false;
}

static bool name_of(json_object *o, char **out)
{
	json_object *v;
	const char *s;
	size_t len;

	if (!json_object_object_get_ex(o, "name", &v) ||
	    !json_object_is_type(v, json_type_string))
		return false;
	s = json_object_get_string(v);
	len = strlen(s);
	if (!len || len > STORE_NAME_MAX ||
	    len != (size_t)json_object_get_string_len(v))
		return false;
	*out = strdup(s);
	return *out;
}

static bool labels_of(json_object *o, json_object **out)
{
	json_object *v = NULL;
	struct failure f;

	if (json_object_object_get_ex(o, "labels", &v) &&
	    !json_object_is_type(v, json_type_object))
		return false;
	return labels_copy(v, out, &f) == 0;
}

/* Nothing of it is trusted: it comes from a file. */
static bool read_snapshot(json_object *o, struct snapshot *snap)
{
	memset(snap, 0, sizeof(*snap));
	snap->state = STATE_READY;
	return json_object_is_type(o, json_type_object) &&
	       number_of(o, "id", true, &snap->id) && snap->id &&
	       kind_of(o, &snap->kind) && name_of(o, &snap->name) &&
	       number_of(o, "parent", false, &snap->parent_id) &&
	       snap->parent_id < snap->id &&
	       number_of(o, "created", true, &snap->created_ns) &&
	       number_of(o, "updated", true, &snap->updated_ns) &&
	       labels_of(o, &snap->labels);
}

static json_object *parse(const char *text)
{
	struct json_tokener *t = json_tokener_new_ex(DEPTH_MAX);
	json_object *doc = NULL;

	if (t)
		doc = json_tokener_parse_ex(t, text, (int)strlen(text) + 1);
	if (t)
		json_tokener_free(t);
	return doc;
}

int describe_read(const char *text, describe_fn fn, void *arg)
{
	json_object *doc = parse(text), *v, *list;
	int rc = -1;

	if (doc && json_object_object_get_ex(doc, "v", &v) &&
	    json_object_get_int64(v) == VERSION &&
	    json_object_object_get_ex(doc, "snapshots", &list) &&
	    json_object_is_type(list, json_type_array) &&
	    json_object_array_length(list))
		rc = 0;
	for (size_t i = 0; rc == 0 && i < json_object_array_length(list); i++) {
		struct snapshot snap;

		if (read_snapshot(json_object_array_get_idx(list, i), &snap))
			rc = fn(arg, &snap);
		else
			rc = -1;
		snapshot_clear(&snap);
	}
	json_object_put(doc);
	return rc;
}
