/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC over HTTP/2, server side, without a socket: bytes of one connection go
 * in and come out by memory, so that the protocol can be tested and fuzzed.
 * gRPC's framing is that of grpc/doc/PROTOCOL-HTTP2.md. One thread a connection.
 * Calls with one request message and any number of response messages.
 */
#ifndef DAXFS_GRPC_CONN_H
#define DAXFS_GRPC_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "status.h"

#define GRPC_MESSAGE_MAX (16u << 20)  /* a request message, as containerd's */
#define GRPC_STREAMS_MAX 128u         /* concurrent calls of a connection */
#define GRPC_HEADERS_MAX (16u << 10)  /* header list of a request */
#define GRPC_HELLO_TIMEOUT_MS 10000   /* from connecting to HTTP/2's preface */
#define GRPC_REQUEST_TIMEOUT_MS 60000 /* from its headers to its end */
#define GRPC_STALL_TIMEOUT_MS 30000   /* a client that takes nothing */
#define GRPC_LEAVE_TIMEOUT_MS 5000    /* one without calls, asked to go */

struct grpc_conn;
struct grpc_call;

/* Bytes held for requests, over all connections of a server. */
struct grpc_budget {
	size_t used, limit;
};

void grpc_budget_release(struct grpc_budget *b, size_t n);

struct grpc_handler {
	void *arg;
	/* The method behind a path; NULL: the call gets Unimplemented. */
	const void *(*find)(void *arg, const char *path);
	/*
	 * The request is complete. Answer with grpc_call_send() and
	 * grpc_call_finish(), now or later.
	 */
	void (*start)(void *arg, struct grpc_call *call);
	/*
	 * A started call ended before its answer (reset, deadline, connection
	 * lost). The call must not be touched after this returns.
	 */
	void (*gone)(void *arg, struct grpc_call *call);
	/*
	 * For counting; may be NULL. A call's headers begin, and its stream is
	 * closed: GRPC_CANCELLED when it was cut off. `method` as from find().
	 */
	void (*began)(void *arg);
	void (*ended)(void *arg, const void *method, enum grpc_status status,
		      uint64_t ns);
	/* `n` bytes of an unfinished call's messages left its queue. */
	void (*drained)(void *arg, struct grpc_call *call, size_t n);
};

/* `handler` and `budget` are kept and must outlive the connection. */
int grpc_conn_new(const struct grpc_handler *handler,
		  struct grpc_budget *budget, int64_t now_ms,
		  struct grpc_conn **out);
void grpc_conn_free(struct grpc_conn *c); /* unfinished calls are gone */

/*
 * Bytes from the peer. -EPROTO, -ENOMEM: drop the connection at once. Protocol
 * errors that HTTP/2 answers with GOAWAY return 0; grpc_conn_done() tells.
 * `now_ms` is any monotonic clock, the same one everywhere.
 */
int grpc_conn_recv(struct grpc_conn *c, int64_t now_ms, const void *data,
		   size_t len);

/* Up to `size` bytes for the peer; 0: nothing to send. Errors as above. */
ssize_t grpc_conn_send(struct grpc_conn *c, int64_t now_ms, void *buf,
		       size_t size);

/* Nothing will be read or written any more. */
bool grpc_conn_done(const struct grpc_conn *c);

/* No call is open. */
bool grpc_conn_idle(const struct grpc_conn *c);

/*
 * End what has run out of time. Returns when to call again at the latest,
 * INT64_MAX: nothing is timed.
 */
int64_t grpc_conn_expire(struct grpc_conn *c, int64_t now_ms);
/* As the last grpc_conn_expire() returned, lowered by calls that came since. */
int64_t grpc_conn_due(const struct grpc_conn *c);

/* Take no new calls; grpc_conn_done() once the running ones are answered. */
void grpc_conn_shutdown(struct grpc_conn *c, int64_t now_ms);

/* ---- Calls --------------------------------------------------------------- */

/* What find() returned; a pointer of the handler's, NULL at first. */
const void *grpc_call_method(const struct grpc_call *call);
void *grpc_call_user(const struct grpc_call *call);
void grpc_call_set_user(struct grpc_call *call, void *user);

/* When the client stops waiting, INT64_MAX: never. */
int64_t grpc_call_deadline(const struct grpc_call *call);

/*
 * Hand over the request's bytes (allocated, NULL when empty). *charge of the
 * budget comes along, to be given back with grpc_budget_release().
 */
uint8_t *grpc_call_take_body(struct grpc_call *call, size_t *len,
			     size_t *charge);

/* A response message; `data` is gRPC's 5-byte prefix and the payload. */
struct grpc_message {
	struct grpc_message *next;
	size_t len; /* of data */
	uint8_t data[];
};
#define GRPC_PREFIX 5u

/* Room for `payload` bytes at data + GRPC_PREFIX. NULL: no memory. */
struct grpc_message *grpc_message_new(size_t payload);

/* Queue a message, which the call now owns. */
void grpc_call_send(struct grpc_call *call, struct grpc_message *m);

/* End the call, which must not be touched after. NULL: GRPC_OK. */
void grpc_call_finish(struct grpc_call *call, const struct grpc_result *r);

#endif
