/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests. Their bytes are from outside: every string is checked to be UTF-8
 * without NUL, as protobuf and JSON want it, before it goes on.
 */
#include "translate.h"

#include <stdbool.h>

#include "driver/common/util.h"

static int check_text(const char *what, const ProtobufCBinaryData *b,
		      struct grpc_result *r)
{
	const char *text = (const char *)b->data;
	size_t i = 0, n;

	while (i < b->len) {
		n = text[i] ? utf8_length(text + i, b->len - i) : 0;
		if (!n)
			return grpc_fail(r, GRPC_INVALID_ARGUMENT,
					 "%s: byte %zu is not valid UTF-8 text",
					 what, i);
		i += n;
	}
	return 0;
}

static int no_memory(struct grpc_result *r)
{
	return grpc_fail(r, GRPC_RESOURCE_EXHAUSTED, "no memory");
}

/* Consumes v, NULL standing for "no memory". */
static int add(json_object *o, const char *key, json_object *v,
	       struct grpc_result *r)
{
	if (v && json_object_object_add(o, key, v) == 0)
		return 0;
	json_object_put(v);
	return no_memory(r);
}

static json_object *new_text(const ProtobufCBinaryData *b)
{
	if (b->len > INT32_MAX)
		return NULL;
	return json_object_new_string_len(b->len ? (const char *)b->data : "",
					  (int)b->len);
}

static int add_text(json_object *o, const char *key,
		    const ProtobufCBinaryData *b, struct grpc_result *r)
{
	if (check_text(key, b, r))
		return -1;
	return add(o, key, new_text(b), r);
}

/* In protobuf an empty field and an absent one are the same. */
static int add_optional(json_object *o, const char *key,
			const ProtobufCBinaryData *b, struct grpc_result *r)
{
	return b->len ? add_text(o, key, b, r) : 0;
}

static int add_label(json_object *o, const Grpc__Label *l,
		     struct grpc_result *r)
{
	cleanup_free char *key = NULL;

	if (check_text("label name", &l->key, r) ||
	    check_text("label value", &l->value, r))
		return -1;
	key = strndup(l->key.len ? (const char *)l->key.data : "", l->key.len);
	if (!key)
		return no_memory(r);
	return add(o, key, new_text(&l->value), r);
}

static int add_labels(json_object *params, size_t n, Grpc__Label *const *labels,
		      struct grpc_result *r)
{
	json_object *o;
	size_t i;

	if (!n)
		return 0;
	o = json_object_new_object();
	if (add(params, "labels", o, r))
		return -1;
	for (i = 0; i < n; i++)
		if (add_label(o, labels[i], r))
			return -1;
	return 0;
}

static int add_texts(json_object *params, const char *key, size_t n,
		     const ProtobufCBinaryData *texts, struct grpc_result *r)
{
	json_object *list;
	size_t i;

	if (!n)
		return 0;
	list = json_object_new_array();
	if (add(params, key, list, r))
		return -1;
	for (i = 0; i < n; i++) {
		json_object *v;

		if (check_text(key, &texts[i], r))
			return -1;
		v = new_text(&texts[i]);
		if (!v || json_object_array_add(list, v) != 0) {
			json_object_put(v);
			return no_memory(r);
		}
	}
	return 0;
}

/* Go's zero time is outside of 64-bit nanoseconds; such times stay away. */
static int add_time(json_object *o, const char *key, const Grpc__Timestamp *t,
		    struct grpc_result *r)
{
	int64_t ns;

	if (!t ||
	    __builtin_mul_overflow(t->seconds, INT64_C(1000000000), &ns) ||
	    __builtin_add_overflow(ns, (int64_t)t->nanos, &ns))
		return 0;
	return add(o, key, json_object_new_int64(ns), r);
}

static int add_info(json_object *params, const Grpc__Info *in,
		    struct grpc_result *r)
{
	static const char *const kinds[] = { NULL, "view", "active",
					     "committed" };
	json_object *o = json_object_new_object();

	if (add(params, "info", o, r) || add_text(o, "name", &in->name, r) ||
	    add_optional(o, "parent", &in->parent, r) ||
	    add_time(o, "created_ns", in->created_at, r) ||
	    add_time(o, "updated_ns", in->updated_at, r) ||
	    add_labels(o, in->n_labels, in->labels, r))
		return -1;
	if (in->kind <= 0 || in->kind >= (int)ARRAY_SIZE(kinds))
		return 0;
	return add(o, "kind", json_object_new_string(kinds[in->kind]), r);
}

GRPC_TO_JSON(prepare)
{
	const Grpc__PrepareRequest *in = (const Grpc__PrepareRequest *)m;

	return add_text(params, "key", &in->key, r) ||
			       add_optional(params, "parent", &in->parent, r) ||
			       add_labels(params, in->n_labels, in->labels, r)
		       ? -1
		       : 0;
}

GRPC_TO_JSON(key)
{
	const Grpc__KeyRequest *in = (const Grpc__KeyRequest *)m;

	return add_text(params, "key", &in->key, r);
}

GRPC_TO_JSON(commit)
{
	const Grpc__CommitRequest *in = (const Grpc__CommitRequest *)m;

	if (add_text(params, "name", &in->name, r) ||
	    add_text(params, "key", &in->key, r))
		return -1;
	return add_labels(params, in->n_labels, in->labels, r);
}

GRPC_TO_JSON(update)
{
	const Grpc__UpdateRequest *in = (const Grpc__UpdateRequest *)m;
	const Grpc__FieldMask *mask = in->update_mask;

	if (!in->info)
		return grpc_fail(r, GRPC_INVALID_ARGUMENT,
				 "info: missing from the request");
	if (add_info(params, in->info, r))
		return -1;
	return mask ? add_texts(params, "fields", mask->n_paths, mask->paths, r)
		    : 0;
}

GRPC_TO_JSON(list)
{
	const Grpc__ListRequest *in = (const Grpc__ListRequest *)m;

	return add_texts(params, "filters", in->n_filters, in->filters, r);
}

GRPC_TO_JSON(empty)
{
	(void)m;
	(void)params;
	(void)r;
	return 0;
}

GRPC_TO_JSON(health)
{
	const Grpc__HealthRequest *in = (const Grpc__HealthRequest *)m;

	return add_text(params, "service", &in->service, r);
}
