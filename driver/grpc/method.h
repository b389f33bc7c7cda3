/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The RPCs: which path is which call of the snapshotter, and how messages are
 * translated. A new RPC is a row in method.c and its two translators.
 */
#ifndef DAXFS_GRPC_METHOD_H
#define DAXFS_GRPC_METHOD_H

#include <json-c/json.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "conn.h"
#include "status.h"

/* What the answer to a call means when an earlier one to it was lost. */
enum grpc_repeat {
	GRPC_REPEAT_FREELY, /* done twice it has the effect of once */
	GRPC_REPEAT_CREATE, /* AlreadyExists: perhaps by us */
	GRPC_REPEAT_COMMIT, /* the same */
	GRPC_REPEAT_REMOVE, /* NotFound: it is away, as wanted */
};

struct grpc_method {
	const char *path; /* as in HTTP/2's :path */
	const char *call; /* the Varlink method; NULL: none */
	const ProtobufCMessageDescriptor *request;
	/* Add what `m` says to `params`. 0, or -1 with *r set. */
	int (*to_json)(const ProtobufCMessage *m, json_object *params,
		       struct grpc_result *r);
	/* Build the response in `a`; it may point into `reply`. As above. */
	int (*from_json)(json_object *reply, struct grpc_arena *a,
			 ProtobufCMessage **out, struct grpc_result *r);
	bool stream; /* a response message for each of many replies */
	bool health; /* answered by health.c */
	enum grpc_repeat repeat;
};

/* NULL: no such RPC. */
const struct grpc_method *grpc_method_find(const char *path);

/* The bytes of a request as Varlink parameters; NULL with *r set. */
json_object *grpc_method_request(const struct grpc_method *m,
				 const uint8_t *body, size_t len,
				 struct grpc_result *r);

/* Varlink parameters of a reply as response message; NULL with *r set. */
struct grpc_message *grpc_method_response(const struct grpc_method *m,
					  json_object *reply,
					  struct grpc_result *r);

#endif
