/* SPDX-License-Identifier: Apache-2.0 */
#include "call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW (256u << 10) /* flow control, of a stream and a connection */

void grpc_budget_release(struct grpc_budget *b, size_t n)
{
	b->used -= n;
}

static struct grpc_call *find_call(nghttp2_session *session, int32_t stream)
{
	return nghttp2_session_get_stream_user_data(session, stream);
}

static int on_begin_headers(nghttp2_session *session,
			    const nghttp2_frame *frame, void *arg)
{
	struct grpc_conn *c = arg;
	struct grpc_call *call;

	if (frame->hd.type != NGHTTP2_HEADERS ||
	    frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	call = grpc_call_new(c, frame->hd.stream_id);
	if (!call)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (nghttp2_session_set_stream_user_data(session, call->stream, call)) {
		grpc_call_free(call);
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	}
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame,
		     const uint8_t *name, size_t name_len, const uint8_t *value,
		     size_t value_len, uint8_t flags, void *arg)
{
	struct grpc_call *call = find_call(session, frame->hd.stream_id);

	(void)flags;
	(void)arg;
	if (call)
		grpc_call_header(call, name, name_len, value, value_len);
	return 0;
}

static void on_ping_ack(struct grpc_conn *c)
{
	/* All streams opened before our shutdown notice arrived are known now. */
	if (c->draining &&
	    nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE,
				  nghttp2_session_get_last_proc_stream_id(
					  c->session),
				  NGHTTP2_NO_ERROR, NULL, 0))
		c->fatal = -ENOMEM;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame,
			 void *arg)
{
	struct grpc_conn *c = arg;
	struct grpc_call *call;

	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
	case NGHTTP2_DATA:
		call = find_call(session, frame->hd.stream_id);
		if (!call)
			break;
		if (frame->hd.type == NGHTTP2_HEADERS &&
		    frame->headers.cat == NGHTTP2_HCAT_REQUEST)
			grpc_call_headers_done(call);
		if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
			grpc_call_request_done(call);
		break;
	case NGHTTP2_SETTINGS:
		c->greeted = true;
		break;
	case NGHTTP2_PING:
		if (frame->hd.flags & NGHTTP2_FLAG_ACK)
			on_ping_ack(c);
		break;
	}
	return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags,
			 int32_t stream, const uint8_t *data, size_t len,
			 void *arg)
{
	struct grpc_call *call = find_call(session, stream);

	(void)flags;
	(void)arg;
	if (call)
		grpc_call_data(call, data, len);
	return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame,
			 void *arg)
{
	struct grpc_conn *c = arg;
	int32_t stream = frame->hd.stream_id;

	/* An answer before the request's end: ask the client not to go on. */
	if (frame->hd.type == NGHTTP2_HEADERS &&
	    (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
	    nghttp2_session_get_stream_remote_close(session, stream) == 0 &&
	    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream,
				      NGHTTP2_NO_ERROR))
		c->fatal = -ENOMEM;
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream,
			   uint32_t error, void *arg)
{
	struct grpc_call *call = find_call(session, stream);

	(void)arg;
	if (call) {
		call->cut = error != NGHTTP2_NO_ERROR;
		grpc_call_abandon(call);
		grpc_call_free(call);
	}
	return 0;
}

static int session_new(struct grpc_conn *c)
{
	nghttp2_session_callbacks *cb = NULL;
	nghttp2_option *opt = NULL;
	int rc = -ENOMEM;

	if (nghttp2_session_callbacks_new(&cb) || nghttp2_option_new(&opt))
		goto out;
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb,
								on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb,
								  on_data_chunk);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb,
							       on_stream_close);
	nghttp2_option_set_no_closed_streams(opt, 1);
	if (!nghttp2_session_server_new2(&c->session, cb, c, opt))
		rc = 0;
out:
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(opt);
	return rc;
}

static int submit_settings(struct grpc_conn *c)
{
	const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, GRPC_STREAMS_MAX },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, GRPC_HEADERS_MAX },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW },
		{ NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 },
	};

	if (nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings,
				    sizeof(settings) / sizeof(settings[0])) ||
	    nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE,
						  0, WINDOW))
		return -ENOMEM;
	return 0;
}

int grpc_conn_new(const struct grpc_handler *handler,
		  struct grpc_budget *budget, int64_t now_ms,
		  struct grpc_conn **out)
{
	struct grpc_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->handler = handler;
	c->budget = budget;
	c->born_ms = c->now = now_ms;
	c->due = now_ms + GRPC_HELLO_TIMEOUT_MS;
	if (session_new(c) || submit_settings(c)) {
		grpc_conn_free(c);
		return -ENOMEM;
	}
	*out = c;
	return 0;
}

void grpc_conn_free(struct grpc_conn *c)
{
	if (!c)
		return;
	while (c->calls) {
		struct grpc_call *call = c->calls;

		call->cut = true;
		grpc_call_abandon(call);
		grpc_call_free(call);
	}
	nghttp2_session_del(c->session);
	free(c);
}

int grpc_conn_recv(struct grpc_conn *c, int64_t now_ms, const void *data,
		   size_t len)
{
	const uint8_t *p = data;

	c->now = now_ms;
	while (len && !c->fatal) {
		ssize_t n = nghttp2_session_mem_recv(c->session, p, len);

		if (n < 0) {
			c->fatal = n == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
			break;
		}
		if (!n) /* it reads no more after its GOAWAY */
			break;
		p += n;
		len -= (size_t)n;
	}
	return c->fatal;
}

ssize_t grpc_conn_send(struct grpc_conn *c, int64_t now_ms, void *buf,
		       size_t size)
{
	size_t n = 0;

	c->now = now_ms;
	while (n < size && !c->fatal) {
		size_t part;

		if (!c->out_len) {
			ssize_t got =
				nghttp2_session_mem_send(c->session, &c->out);

			if (got < 0)
				c->fatal = got == NGHTTP2_ERR_NOMEM ? -ENOMEM
								    : -EPROTO;
			if (got <= 0)
				break;
			c->out_len = (size_t)got;
		}
		part = c->out_len < size - n ? c->out_len : size - n;
		memcpy((uint8_t *)buf + n, c->out, part);
		c->out += part;
		c->out_len -= part;
		n += part;
	}
	return c->fatal ? c->fatal : (ssize_t)n;
}

bool grpc_conn_done(const struct grpc_conn *c)
{
	return c->fatal ||
	       (!c->out_len && !nghttp2_session_want_read(c->session) &&
		!nghttp2_session_want_write(c->session));
}

bool grpc_conn_idle(const struct grpc_conn *c)
{
	return !c->calls;
}

/* A client that was asked to go has had its time since, or its last call. */
static void expire_idle(struct grpc_conn *c, int64_t now_ms)
{
	int64_t end = c->drain_ms + GRPC_LEAVE_TIMEOUT_MS;

	if (c->calls)
		c->drain_ms = end = now_ms;
	else if (end <= now_ms)
		c->fatal = -ETIMEDOUT;
	if (end < c->due)
		c->due = end > now_ms ? end : now_ms + GRPC_LEAVE_TIMEOUT_MS;
}

int64_t grpc_conn_expire(struct grpc_conn *c, int64_t now_ms)
{
	struct grpc_call *call;

	c->now = now_ms;
	c->due = INT64_MAX;
	if (!c->greeted) {
		c->due = c->born_ms + GRPC_HELLO_TIMEOUT_MS;
		if (c->due <= now_ms)
			c->fatal = -EPROTO;
	}
	if (c->draining)
		expire_idle(c, now_ms);
	for (call = c->calls; call; call = call->next) {
		int64_t t = grpc_call_expire(call, now_ms);

		if (t < c->due)
			c->due = t;
	}
	return c->due;
}

int64_t grpc_conn_due(const struct grpc_conn *c)
{
	return c->due;
}

void grpc_conn_shutdown(struct grpc_conn *c, int64_t now_ms)
{
	int rc;

	if (c->draining)
		return;
	c->draining = true;
	c->now = c->drain_ms = now_ms;
	if (c->due > now_ms + GRPC_LEAVE_TIMEOUT_MS)
		c->due = now_ms + GRPC_LEAVE_TIMEOUT_MS;
	if (!c->greeted) /* not a client yet: nothing to wait for */
		rc = nghttp2_session_terminate_session(c->session,
						       NGHTTP2_NO_ERROR);
	else
		rc = nghttp2_submit_shutdown_notice(c->session) ||
		     nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL);
	if (rc)
		c->fatal = -ENOMEM;
}
