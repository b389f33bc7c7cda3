/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of conn.h: one call, for conn.c, call.c, request.c and response.c only.
 */
#ifndef DAXFS_GRPC_CALL_H
#define DAXFS_GRPC_CALL_H

#include <nghttp2/nghttp2.h>

#include "conn.h"

#define GRPC_PATH_MAX 128u

struct grpc_conn {
	nghttp2_session *session;
	const struct grpc_handler *handler;
	struct grpc_budget *budget;
	struct grpc_call *calls;
	int64_t born_ms, now, due;
	int64_t drain_ms;   /* draining: since when without calls, at least */
	const uint8_t *out; /* nghttp2's, not sent yet */
	size_t out_len;
	int fatal;    /* -errno: the session cannot go on */
	bool greeted; /* the client's SETTINGS came */
	bool draining;
};

enum call_state {
	CALL_HEADERS, /* header fields arrive */
	CALL_BODY,    /* the request message arrives */
	CALL_RUNNING, /* with the handler */
	CALL_ENDED,   /* answered, or about to be reset */
};

struct grpc_call {
	struct grpc_call *prev, *next;
	struct grpc_conn *conn;
	int32_t stream;
	enum call_state state;
	const void *method;
	void *user;

	/* the request's header fields */
	char path[GRPC_PATH_MAX];
	size_t path_len, header_bytes;
	bool is_post, is_grpc, bad_timeout, has_timeout;
	int64_t timeout_ms, started_ms, deadline_ms;

	/* the request's message */
	uint8_t prefix[GRPC_PREFIX];
	size_t prefix_len;
	uint8_t *body;
	size_t body_len, body_cap, message_len, charge;

	/* the response */
	struct grpc_message *first, *last;
	size_t sent; /* of the first message */
	int64_t progress_ms;
	bool responded; /* response headers are submitted */
	bool deferred;  /* nghttp2 waits for more data */
	struct grpc_result result;

	uint64_t begun_ns, took_ns; /* by metrics_now(); took: to the answer */
	bool cut;                   /* the stream ended before its answer */
};

/* ---- call.c: life, time -------------------------------------------------- */

struct grpc_call *grpc_call_new(struct grpc_conn *c, int32_t stream);
void grpc_call_free(struct grpc_call *call);
/* What it ends with stands; the time is taken. */
void grpc_call_answered(struct grpc_call *call);
void grpc_call_drop_body(struct grpc_call *call);
/* grpc_call_expire() is wanted then. */
void grpc_call_due_at(struct grpc_call *call, int64_t when);
/* End what runs late. Returns when to look again. */
int64_t grpc_call_expire(struct grpc_call *call, int64_t now);
/* The handler hears that the call is gone. */
void grpc_call_abandon(struct grpc_call *call);

/* ---- request.c ----------------------------------------------------------- */

/* One field of the request's headers. */
void grpc_call_header(struct grpc_call *call, const uint8_t *name,
		      size_t name_len, const uint8_t *value, size_t value_len);
/* All header fields are there: check them, answer or go on to the body. */
void grpc_call_headers_done(struct grpc_call *call);
void grpc_call_data(struct grpc_call *call, const uint8_t *data, size_t len);
void grpc_call_request_done(struct grpc_call *call);
/* Answer before the handler has seen the call. */
__attribute__((format(printf, 4, 5))) void
grpc_call_refuse(struct grpc_call *call, const char *http_status,
		 enum grpc_status status, const char *fmt, ...);

/* ---- response.c ---------------------------------------------------------- */

/* The whole response is one header block ("trailers-only"). */
void grpc_call_submit_end(struct grpc_call *call, const char *http_status);

#endif
