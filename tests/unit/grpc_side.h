/* SPDX-License-Identifier: Apache-2.0 */
/* A gRPC client in memory in front of a real backend. */
#ifndef DAXFS_TEST_GRPC_SIDE_H
#define DAXFS_TEST_GRPC_SIDE_H

#include "driver/grpc/backend.h"
#include "grpc_client.h"

#define S "/containerd.services.snapshots.v1.Snapshots/"
#define H "/grpc.health.v1.Health/"

/* The end of one connection; its address is the owner of its calls. */
struct side {
	struct grpc_backend *backend;
	struct grpc_handler handler;
	struct client c;
};

void side_init(struct side *s, struct grpc_backend *b,
	       struct grpc_budget *budget);
void side_release(struct side *s);

/* Begin a call; nothing comes back before side_finish(). */
void side_submit(struct side *s, const char *path, const void *body, size_t len,
		 struct client_call *call);
/* Let calls go on until this one is closed; fails after twenty seconds. */
void side_finish(struct side *s, struct client_call *call);
/* The same, until the call has so many bytes of answer. */
void side_await(struct side *s, struct client_call *call, size_t len);
/* Reset by the client. */
void side_cancel(struct side *s, struct client_call *call);

#endif
