/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to the snapshotter: calls run on worker threads, each with a Varlink
 * connection of its own; what they answer comes back to the thread that owns
 * the calls. All functions are for that thread only.
 */
#ifndef DAXFS_GRPC_BACKEND_H
#define DAXFS_GRPC_BACKEND_H

#include <stddef.h>

#include "conn.h"

#define GRPC_WORKERS_MAX 8u
#define GRPC_STREAM_WORKERS_MAX 4u  /* of them, for calls that stream */
#define GRPC_STREAM_WORKERS_EACH 2u /* of those, for one owner's */
/* A call without a deadline of its own. */
#define GRPC_CALL_TIMEOUT_MS (5 * 60 * 1000)
/* Response bytes that wait for one slow client before its worker does too. */
#define GRPC_QUEUE_MAX (4u << 20)

/* A call that the snapshotter ended without an answer is made so often. */
#define GRPC_ATTEMPTS_MAX 5

struct grpc_backend;

struct grpc_backend_options {
	const char *path; /* the snapshotter's socket */
	struct grpc_budget *budget;
	/* A call waits so long for a snapshotter that is away. */
	int64_t wait_ms;
	unsigned slow_call_ms; /* those are logged; 0: none */
};

/* What the options point at must outlive the backend. 0 or -errno. */
int grpc_backend_new(const struct grpc_backend_options *o,
		     struct grpc_backend **out);
/* Breaks off what still runs. No call may be left in it. */
void grpc_backend_free(struct grpc_backend *b);

/* Readable when there is something for grpc_backend_process(). */
int grpc_backend_fd(const struct grpc_backend *b);

/* Begin a call; `owner` is handed to touched() below. */
void grpc_backend_start(struct grpc_backend *b, struct grpc_call *call,
			void *owner);
/*
 * Nobody waits for the call any more. Its worker is free at once; what it has
 * sent to the snapshotter is done there all the same.
 */
void grpc_backend_gone(struct grpc_backend *b, struct grpc_call *call);
/* End the calls that go on for ever: watches, with Unavailable. */
void grpc_backend_leave(struct grpc_backend *b);
void grpc_backend_drained(struct grpc_backend *b, struct grpc_call *call,
			  size_t n);

/*
 * Pass finished replies to their calls; touched() hears which owners have
 * something to send. It must not end calls.
 */
void grpc_backend_process(struct grpc_backend *b, void (*touched)(void *owner));

#endif
