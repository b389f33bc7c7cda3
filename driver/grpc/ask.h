/* SPDX-License-Identifier: Apache-2.0 */
/* Short questions to the snapshotter, on connections of their own. */
#ifndef DAXFS_GRPC_ASK_H
#define DAXFS_GRPC_ASK_H

#include <json-c/json.h>
#include <stddef.h>

#define GRPC_ASK_MS 2000

/* Why a question was not answered, for people. */
struct grpc_ask_failure {
	char text[640];
};

/*
 * Call `method` without parameters, GRPC_ASK_MS at most. *reply (may be NULL
 * when nobody wants it) is the caller's to put. 0 or -errno with *f filled in.
 */
int grpc_ask(const char *path, const char *method, json_object **reply,
	     struct grpc_ask_failure *f);

/* Does the snapshotter answer? */
int grpc_ask_alive(const char *path, struct grpc_ask_failure *f);

#endif
