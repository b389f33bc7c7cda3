/* SPDX-License-Identifier: Apache-2.0 */
#include "method.h"

#include "driver/common/util.h"
#include "translate.h"

#define SNAPSHOTS "/containerd.services.snapshots.v1.Snapshots/"
#define HEALTH "/grpc.health.v1.Health/"

static const struct grpc_method methods[] = {
	{
		.path = SNAPSHOTS "Prepare",
		.call = "io.daxfs.Snapshots.Prepare",
		.request = &grpc__prepare_request__descriptor,
		.to_json = grpc_prepare_to_json,
		.from_json = grpc_mounts_from_json,
		.repeat = GRPC_REPEAT_CREATE,
	},
	{
		.path = SNAPSHOTS "View",
		.call = "io.daxfs.Snapshots.View",
		.request = &grpc__prepare_request__descriptor,
		.to_json = grpc_prepare_to_json,
		.from_json = grpc_mounts_from_json,
		.repeat = GRPC_REPEAT_CREATE,
	},
	{
		.path = SNAPSHOTS "Mounts",
		.call = "io.daxfs.Snapshots.Mounts",
		.request = &grpc__key_request__descriptor,
		.to_json = grpc_key_to_json,
		.from_json = grpc_mounts_from_json,
	},
	{
		.path = SNAPSHOTS "Commit",
		.call = "io.daxfs.Snapshots.Commit",
		.request = &grpc__commit_request__descriptor,
		.to_json = grpc_commit_to_json,
		.from_json = grpc_empty_from_json,
		.repeat = GRPC_REPEAT_COMMIT,
	},
	{
		.path = SNAPSHOTS "Remove",
		.call = "io.daxfs.Snapshots.Remove",
		.request = &grpc__key_request__descriptor,
		.to_json = grpc_key_to_json,
		.from_json = grpc_empty_from_json,
		.repeat = GRPC_REPEAT_REMOVE,
	},
	{
		.path = SNAPSHOTS "Stat",
		.call = "io.daxfs.Snapshots.Stat",
		.request = &grpc__key_request__descriptor,
		.to_json = grpc_key_to_json,
		.from_json = grpc_info_from_json,
	},
	{
		.path = SNAPSHOTS "Update",
		.call = "io.daxfs.Snapshots.Update",
		.request = &grpc__update_request__descriptor,
		.to_json = grpc_update_to_json,
		.from_json = grpc_info_from_json,
	},
	{
		.path = SNAPSHOTS "List",
		.call = "io.daxfs.Snapshots.List",
		.request = &grpc__list_request__descriptor,
		.to_json = grpc_list_to_json,
		.from_json = grpc_infos_from_json,
		.stream = true,
	},
	{
		.path = SNAPSHOTS "Usage",
		.call = "io.daxfs.Snapshots.Usage",
		.request = &grpc__key_request__descriptor,
		.to_json = grpc_key_to_json,
		.from_json = grpc_usage_from_json,
	},
	{
		.path = SNAPSHOTS "Cleanup",
		.call = "io.daxfs.Snapshots.Cleanup",
		.request = &grpc__empty__descriptor,
		.to_json = grpc_empty_to_json,
		.from_json = grpc_empty_from_json,
	},
	{
		.path = HEALTH "Check",
		.request = &grpc__health_request__descriptor,
		.to_json = grpc_health_to_json,
		.from_json = grpc_health_from_json,
		.health = true,
	},
	{
		.path = HEALTH "Watch",
		.request = &grpc__health_request__descriptor,
		.to_json = grpc_health_to_json,
		.from_json = grpc_health_from_json,
		.stream = true,
		.health = true,
	},
};

const struct grpc_method *grpc_method_find(const char *path)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(methods); i++)
		if (str_eq(methods[i].path, path))
			return &methods[i];
	return NULL;
}

#define ARENA_MIN (256u << 10)
#define ARENA_MAX (64u << 20)

/*
 * What the messages behind `len` bytes may take: many times the bytes, for
 * small fields, yet not the fifty times that empty ones would.
 */
static size_t arena_limit(size_t len)
{
	size_t n = ARENA_MIN + 8 * len;

	return n < ARENA_MAX ? n : ARENA_MAX;
}

json_object *grpc_method_request(const struct grpc_method *m,
				 const uint8_t *body, size_t len,
				 struct grpc_result *r)
{
	static const uint8_t nothing;
	json_object *params = NULL;
	struct grpc_arena a;
	ProtobufCMessage *msg;

	grpc_arena_init(&a, arena_limit(len));
	msg = protobuf_c_message_unpack(m->request, &a.allocator, len,
					len ? body : &nothing);
	if (!msg && a.full)
		grpc_fail(r, GRPC_RESOURCE_EXHAUSTED,
			  "the request of %zu bytes needs too much memory",
			  len);
	else if (!msg)
		grpc_fail(r, GRPC_INTERNAL,
			  "the request is not a valid protobuf message");
	if (!msg)
		goto out;
	params = json_object_new_object();
	if (!params) {
		grpc_fail(r, GRPC_RESOURCE_EXHAUSTED, "no memory");
		goto out;
	}
	if (m->to_json(msg, params, r)) {
		json_object_put(params);
		params = NULL;
	}
out:
	grpc_arena_release(&a);
	return params;
}

struct grpc_message *grpc_method_response(const struct grpc_method *m,
					  json_object *reply,
					  struct grpc_result *r)
{
	struct grpc_message *out = NULL;
	struct grpc_arena a;
	ProtobufCMessage *msg;
	size_t n;

	grpc_arena_init(&a, ARENA_MAX);
	if (m->from_json(reply, &a, &msg, r))
		goto out;
	n = protobuf_c_message_get_packed_size(msg);
	if (n > GRPC_MESSAGE_MAX) {
		grpc_fail(r, GRPC_RESOURCE_EXHAUSTED,
			  "the response has %zu bytes, the limit is %u", n,
			  GRPC_MESSAGE_MAX);
		goto out;
	}
	out = grpc_message_new(n);
	if (out)
		protobuf_c_message_pack(msg, out->data + GRPC_PREFIX);
	else
		grpc_fail(r, GRPC_RESOURCE_EXHAUSTED, "no memory");
out:
	grpc_arena_release(&a);
	return out;
}
