/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Responses. What is built points into the reply, which lives until the
 * response is packed. A reply that is not as its interface says is Internal.
 */
#include "translate.h"

#include <stdbool.h>

#include "driver/common/util.h"

static int no_memory(struct grpc_result *r)
{
	return grpc_fail(r, GRPC_RESOURCE_EXHAUSTED,
			 "the response needs too much memory");
}

static int bad_reply(struct grpc_result *r, const char *what)
{
	return grpc_fail(r, GRPC_INTERNAL,
			 "the snapshotter's reply is malformed: %s", what);
}

static int get(json_object *o, const char *key, json_type type,
	       json_object **out, struct grpc_result *r)
{
	if (json_object_object_get_ex(o, key, out) &&
	    json_object_is_type(*out, type))
		return 0;
	return bad_reply(r, key);
}

static void text_of(json_object *v, ProtobufCBinaryData *out)
{
	out->data = (uint8_t *)json_object_get_string(v);
	out->len = (size_t)json_object_get_string_len(v);
}

static int get_text(json_object *o, const char *key, ProtobufCBinaryData *out,
		    struct grpc_result *r)
{
	json_object *v;

	if (get(o, key, json_type_string, &v, r))
		return -1;
	text_of(v, out);
	return 0;
}

/* Absent or null: left empty. */
static int get_optional_text(json_object *o, const char *key,
			     ProtobufCBinaryData *out, struct grpc_result *r)
{
	json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !v)
		return 0;
	return get_text(o, key, out, r);
}

static int get_texts(json_object *o, const char *key, struct grpc_arena *a,
		     size_t *n, ProtobufCBinaryData **out,
		     struct grpc_result *r)
{
	json_object *list, *v;
	size_t i;

	if (get(o, key, json_type_array, &list, r))
		return -1;
	*n = json_object_array_length(list);
	*out = grpc_arena_array(a, *n, sizeof(**out));
	if (!*out)
		return no_memory(r);
	for (i = 0; i < *n; i++) {
		v = json_object_array_get_idx(list, i);
		if (!json_object_is_type(v, json_type_string))
			return bad_reply(r, key);
		text_of(v, &(*out)[i]);
	}
	return 0;
}

/* Proleptic: times before 1970 keep a positive nanosecond part. */
static int get_time(json_object *o, const char *key, struct grpc_arena *a,
		    Grpc__Timestamp **out, struct grpc_result *r)
{
	static const int64_t second = 1000000000;
	Grpc__Timestamp *t;
	json_object *v;
	int64_t ns;

	if (get(o, key, json_type_int, &v, r))
		return -1;
	t = grpc_arena_alloc(a, sizeof(*t));
	if (!t)
		return no_memory(r);
	grpc__timestamp__init(t);
	ns = json_object_get_int64(v);
	t->seconds = ns / second;
	t->nanos = (int32_t)(ns % second);
	if (t->nanos < 0) {
		t->seconds--;
		t->nanos += (int32_t)second;
	}
	*out = t;
	return 0;
}

static int get_kind(json_object *o, int32_t *out, struct grpc_result *r)
{
	static const char *const kinds[] = { "", "view", "active",
					     "committed" };
	json_object *v;
	size_t i;

	if (get(o, "kind", json_type_string, &v, r))
		return -1;
	for (i = 1; i < ARRAY_SIZE(kinds); i++)
		if (str_eq(kinds[i], json_object_get_string(v))) {
			*out = (int32_t)i;
			return 0;
		}
	return bad_reply(r, "kind");
}

static int get_labels(json_object *o, struct grpc_arena *a, size_t *n,
		      Grpc__Label ***out, struct grpc_result *r)
{
	json_object *labels;
	Grpc__Label *l;
	size_t i = 0;

	if (get(o, "labels", json_type_object, &labels, r))
		return -1;
	*n = (size_t)json_object_object_length(labels);
	*out = grpc_arena_array(a, *n, sizeof(**out));
	l = grpc_arena_array(a, *n, sizeof(*l));
	if (!*out || !l)
		return no_memory(r);
	json_object_object_foreach(labels, key, val)
	{
		if (!json_object_is_type(val, json_type_string))
			return bad_reply(r, "labels");
		grpc__label__init(l);
		l->key.data = (uint8_t *)key;
		l->key.len = strlen(key);
		text_of(val, &l->value);
		(*out)[i++] = l++;
	}
	return 0;
}

static int get_info(json_object *o, struct grpc_arena *a, Grpc__Info **out,
		    struct grpc_result *r)
{
	Grpc__Info *info = grpc_arena_alloc(a, sizeof(*info));

	if (!info)
		return no_memory(r);
	grpc__info__init(info);
	*out = info;
	if (get_text(o, "name", &info->name, r) ||
	    get_optional_text(o, "parent", &info->parent, r) ||
	    get_kind(o, &info->kind, r) ||
	    get_time(o, "created_ns", a, &info->created_at, r) ||
	    get_time(o, "updated_ns", a, &info->updated_at, r))
		return -1;
	return get_labels(o, a, &info->n_labels, &info->labels, r);
}

static int get_mount(json_object *o, struct grpc_arena *a, Grpc__Mount **out,
		     struct grpc_result *r)
{
	Grpc__Mount *m = grpc_arena_alloc(a, sizeof(*m));

	if (!m)
		return no_memory(r);
	grpc__mount__init(m);
	*out = m;
	if (get_text(o, "type", &m->type, r) ||
	    get_text(o, "source", &m->source, r) ||
	    get_optional_text(o, "target", &m->target, r))
		return -1;
	return get_texts(o, "options", a, &m->n_options, &m->options, r);
}

GRPC_FROM_JSON(mounts)
{
	Grpc__MountsResponse *m = grpc_arena_alloc(a, sizeof(*m));
	json_object *list, *v;
	size_t i;

	if (!m)
		return no_memory(r);
	grpc__mounts_response__init(m);
	*out = &m->base;
	if (get(reply, "mounts", json_type_array, &list, r))
		return -1;
	m->n_mounts = json_object_array_length(list);
	m->mounts = grpc_arena_array(a, m->n_mounts, sizeof(*m->mounts));
	if (!m->mounts)
		return no_memory(r);
	for (i = 0; i < m->n_mounts; i++) {
		v = json_object_array_get_idx(list, i);
		if (!json_object_is_type(v, json_type_object))
			return bad_reply(r, "mounts");
		if (get_mount(v, a, &m->mounts[i], r))
			return -1;
	}
	return 0;
}

GRPC_FROM_JSON(info)
{
	Grpc__InfoResponse *m = grpc_arena_alloc(a, sizeof(*m));
	json_object *o;

	if (!m)
		return no_memory(r);
	grpc__info_response__init(m);
	*out = &m->base;
	if (get(reply, "info", json_type_object, &o, r))
		return -1;
	return get_info(o, a, &m->info, r);
}

GRPC_FROM_JSON(infos)
{
	Grpc__ListResponse *m = grpc_arena_alloc(a, sizeof(*m));
	json_object *list, *v;
	size_t i;

	if (!m)
		return no_memory(r);
	grpc__list_response__init(m);
	*out = &m->base;
	if (get(reply, "infos", json_type_array, &list, r))
		return -1;
	m->n_info = json_object_array_length(list);
	m->info = grpc_arena_array(a, m->n_info, sizeof(*m->info));
	if (!m->info)
		return no_memory(r);
	for (i = 0; i < m->n_info; i++) {
		v = json_object_array_get_idx(list, i);
		if (!json_object_is_type(v, json_type_object))
			return bad_reply(r, "infos");
		if (get_info(v, a, &m->info[i], r))
			return -1;
	}
	return 0;
}

GRPC_FROM_JSON(usage)
{
	Grpc__UsageResponse *m = grpc_arena_alloc(a, sizeof(*m));
	json_object *v;

	if (!m)
		return no_memory(r);
	grpc__usage_response__init(m);
	*out = &m->base;
	if (get(reply, "size", json_type_int, &v, r))
		return -1;
	m->size = json_object_get_int64(v);
	if (get(reply, "inodes", json_type_int, &v, r))
		return -1;
	m->inodes = json_object_get_int64(v);
	return 0;
}

GRPC_FROM_JSON(empty)
{
	Grpc__Empty *m = grpc_arena_alloc(a, sizeof(*m));

	(void)reply;
	if (!m)
		return no_memory(r);
	grpc__empty__init(m);
	*out = &m->base;
	return 0;
}

GRPC_FROM_JSON(health)
{
	Grpc__HealthResponse *m = grpc_arena_alloc(a, sizeof(*m));
	json_object *v;

	if (!m)
		return no_memory(r);
	grpc__health_response__init(m);
	*out = &m->base;
	if (get(reply, "status", json_type_int, &v, r))
		return -1;
	m->status = json_object_get_int(v);
	return 0;
}
