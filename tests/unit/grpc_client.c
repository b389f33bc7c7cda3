/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc_client.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void copy(char *to, size_t size, const uint8_t *from, size_t len)
{
	assert(len < size);
	memcpy(to, from, len);
	to[len] = '\0';
}

static int on_header(nghttp2_session *s, const nghttp2_frame *frame,
		     const uint8_t *name, size_t name_len, const uint8_t *value,
		     size_t len, uint8_t flags, void *arg)
{
	struct client_call *call =
		nghttp2_session_get_stream_user_data(s, frame->hd.stream_id);

	(void)name_len;
	(void)flags;
	(void)arg;
	if (!call)
		return 0;
	if (!strcmp((const char *)name, ":status"))
		copy(call->http, sizeof(call->http), value, len);
	else if (!strcmp((const char *)name, "grpc-status"))
		copy(call->status, sizeof(call->status), value, len);
	else if (!strcmp((const char *)name, "grpc-message"))
		copy(call->message, sizeof(call->message), value, len);
	else if (!strcmp((const char *)name, "content-type"))
		copy(call->type, sizeof(call->type), value, len);
	return 0;
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *frame, void *arg)
{
	struct client *c = arg;
	struct client_call *call;

	if (frame->hd.type == NGHTTP2_GOAWAY)
		c->goaway = true;
	if (frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	call = nghttp2_session_get_stream_user_data(s, frame->hd.stream_id);
	if (call)
		call->headers++;
	return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t stream,
		   const uint8_t *data, size_t len, void *arg)
{
	struct client *c = arg;
	struct client_call *call =
		nghttp2_session_get_stream_user_data(s, stream);

	(void)flags;
	if (!c->no_window)
		nghttp2_session_consume(s, stream, len);
	if (!call)
		return 0;
	if (call->len + len > call->cap) {
		call->cap = 2 * (call->len + len);
		call->data = realloc(call->data, call->cap);
		assert(call->data);
	}
	memcpy(call->data + call->len, data, len);
	call->len += len;
	return 0;
}

static int on_close(nghttp2_session *s, int32_t stream, uint32_t error,
		    void *arg)
{
	struct client_call *call =
		nghttp2_session_get_stream_user_data(s, stream);

	(void)arg;
	if (call) {
		call->closed = true;
		call->error = error;
	}
	return 0;
}

void client_init(struct client *c, const struct grpc_handler *h,
		 struct grpc_budget *b)
{
	nghttp2_session_callbacks *cb;
	nghttp2_option *opt;

	memset(c, 0, sizeof(*c));
	c->now = 1000;
	assert(grpc_conn_new(h, b, c->now, &c->conn) == 0);
	assert(nghttp2_session_callbacks_new(&cb) == 0);
	assert(nghttp2_option_new(&opt) == 0);
	nghttp2_option_set_no_auto_window_update(opt, 1);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	assert(nghttp2_session_client_new2(&c->session, cb, c, opt) == 0);
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(opt);
	assert(nghttp2_submit_settings(c->session, 0, NULL, 0) == 0);
}

void client_release(struct client *c)
{
	grpc_conn_free(c->conn);
	nghttp2_session_del(c->session);
}

static ssize_t read_body(nghttp2_session *s, int32_t stream, uint8_t *buf,
			 size_t size, uint32_t *flags,
			 nghttp2_data_source *source, void *arg)
{
	struct client_call *call = source->ptr;
	size_t n = call->body_len - call->body_sent;

	(void)s;
	(void)stream;
	(void)arg;
	if (n > size)
		n = size;
	if (!n && call->keep_open)
		return NGHTTP2_ERR_DEFERRED;
	if (n)
		memcpy(buf, call->body + call->body_sent, n);
	call->body_sent += n;
	if (call->body_sent == call->body_len && !call->keep_open)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static nghttp2_nv field(const char *name, const char *value)
{
	return (nghttp2_nv){ (uint8_t *)name, (uint8_t *)value, strlen(name),
			     strlen(value), NGHTTP2_NV_FLAG_NONE };
}

void client_submit(struct client *c, const struct client_request *r,
		   struct client_call *out)
{
	nghttp2_data_provider data = { .source.ptr = out,
				       .read_callback = read_body };
	char *pad = NULL;
	nghttp2_nv nv[8];
	size_t n = 0;

	memset(out, 0, sizeof(*out));
	out->body = r->body;
	out->body_len = r->body_len;
	out->keep_open = r->keep_open;
	nv[n++] = field(":method", r->method ? r->method : "POST");
	nv[n++] = field(":scheme", "http");
	nv[n++] = field(":path", r->path);
	nv[n++] = field(":authority", "localhost");
	if (!r->content_type)
		nv[n++] = field("content-type", "application/grpc");
	else if (*r->content_type)
		nv[n++] = field("content-type", r->content_type);
	if (r->timeout)
		nv[n++] = field("grpc-timeout", r->timeout);
	if (r->padding) {
		pad = malloc(r->padding + 1);
		assert(pad);
		memset(pad, 'x', r->padding);
		pad[r->padding] = '\0';
		nv[n++] = field("x-padding", pad);
	}
	out->stream = nghttp2_submit_request(c->session, NULL, nv, n,
					     r->body_len || r->keep_open ? &data
									 : NULL,
					     out);
	assert(out->stream > 0);
	free(pad);
}

void client_call_release(struct client_call *call)
{
	free(call->data);
	call->data = NULL;
}

static size_t to_server(struct client *c)
{
	const uint8_t *p;
	ssize_t n = nghttp2_session_mem_send(c->session, &p);
	size_t done = 0;

	assert(n >= 0);
	while (done < (size_t)n && !c->rc) {
		size_t part = (size_t)n - done;

		if (c->chunk && part > c->chunk)
			part = c->chunk;
		c->rc = grpc_conn_recv(c->conn, c->now, p + done, part);
		done += part;
	}
	return (size_t)n;
}

static size_t to_client(struct client *c)
{
	uint8_t buf[8192];
	size_t size = c->chunk ? c->chunk : sizeof(buf);
	ssize_t n = grpc_conn_send(c->conn, c->now, buf, size);

	if (n <= 0)
		return 0;
	assert(nghttp2_session_mem_recv(c->session, buf, (size_t)n) == n);
	return (size_t)n;
}

void client_pump(struct client *c)
{
	size_t moved;

	do {
		moved = to_server(c);
		moved += to_client(c);
	} while (moved);
}

uint8_t *client_message(size_t len, uint8_t fill, size_t *total)
{
	struct grpc_message *m = grpc_message_new(len);
	uint8_t *out;

	assert(m);
	memset(m->data + GRPC_PREFIX, fill, len);
	out = malloc(m->len);
	assert(out);
	memcpy(out, m->data, m->len);
	*total = m->len;
	free(m);
	return out;
}
