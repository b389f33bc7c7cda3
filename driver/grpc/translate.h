/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between protobuf and JSON, for the rows of method.c; the JSON is
 * that of driver/snapshotter/io.daxfs.Snapshots.varlink. Signatures and errors
 * as in method.h.
 */
#ifndef DAXFS_GRPC_TRANSLATE_H
#define DAXFS_GRPC_TRANSLATE_H

#include <json-c/json.h>

#include "arena.h"
#include "snapshots.pb-c.h"
#include "status.h"

#define GRPC_TO_JSON(name)                                   \
	int grpc_##name##_to_json(const ProtobufCMessage *m, \
				  json_object *params, struct grpc_result *r)
#define GRPC_FROM_JSON(name)                                                  \
	int grpc_##name##_from_json(json_object *reply, struct grpc_arena *a, \
				    ProtobufCMessage **out,                   \
				    struct grpc_result *r)

GRPC_TO_JSON(prepare);
GRPC_TO_JSON(key);
GRPC_TO_JSON(commit);
GRPC_TO_JSON(update);
GRPC_TO_JSON(list);
GRPC_TO_JSON(empty);
GRPC_TO_JSON(health);

GRPC_FROM_JSON(mounts);
GRPC_FROM_JSON(info);
GRPC_FROM_JSON(infos);
GRPC_FROM_JSON(usage);
GRPC_FROM_JSON(empty);
GRPC_FROM_JSON(health);

#endif
