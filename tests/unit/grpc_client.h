/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP/2 client in memory, joined to a grpc_conn, for the gRPC tests. */
#ifndef DAXFS_TEST_GRPC_CLIENT_H
#define DAXFS_TEST_GRPC_CLIENT_H

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "driver/grpc/conn.h"

/* One request and what came back for it. */
struct client_call {
	int32_t stream;
	const uint8_t *body;
	size_t body_len, body_sent;
	bool keep_open; /* no END_STREAM after the body */

	char http[8];       /* :status */
	char status[8];     /* grpc-status */
	char message[4096]; /* grpc-message, as on the wire */
	char type[64];      /* content-type */
	unsigned headers;   /* HEADERS frames */
	uint8_t *data;
	size_t len, cap;
	bool closed;
	uint32_t error; /* HTTP/2's, once closed */
};

struct client {
	nghttp2_session *session;
	struct grpc_conn *conn;
	int64_t now;
	size_t chunk; /* bytes handed over at a time, 0: all */
	bool goaway;
	bool no_window; /* take data without giving the window back */
	int rc;         /* what grpc_conn_recv() said last */
};

struct client_request {
	const char *path;
	const char *method;       /* NULL: POST */
	const char *content_type; /* NULL: application/grpc, "": none */
	const char *timeout;      /* grpc-timeout, NULL: none */
	size_t padding;           /* bytes of one more header field */
	const uint8_t *body;
	size_t body_len;
	bool keep_open;
};

void client_init(struct client *c, const struct grpc_handler *h,
		 struct grpc_budget *b);
/* Frees the server's side, too. */
void client_release(struct client *c);

void client_submit(struct client *c, const struct client_request *r,
		   struct client_call *out);
void client_call_release(struct client_call *call);

/* Move bytes both ways until neither side has any. */
void client_pump(struct client *c);

/* A message of `len` bytes, each `fill`, with its prefix; to be freed. */
uint8_t *client_message(size_t len, uint8_t fill, size_t *total);

#endif
