/* SPDX-License-Identifier: Apache-2.0 */
/* A call's response: messages as nghttp2 takes them, then the status. */
#include "call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/common/util.h"

#define FIELD(n, v)                                                          \
	((nghttp2_nv){ (uint8_t *)(n), (uint8_t *)(v), strlen(n), strlen(v), \
		       NGHTTP2_NV_FLAG_NONE })

/* grpc-status and, where there is something to say, grpc-message. */
struct end_fields {
	char status[12];
	char text[3 * sizeof(((struct grpc_result *)0)->text)];
};

static size_t fill_end(const struct grpc_call *call, struct end_fields *f,
		       nghttp2_nv *nv)
{
	snprintf(f->status, sizeof(f->status), "%d", (int)call->result.status);
	nv[0] = FIELD("grpc-status", f->status);
	if (!grpc_percent_encode(call->result.text, f->text, sizeof(f->text)))
		return 1;
	nv[1] = FIELD("grpc-message", f->text);
	return 2;
}

static int submit_trailers(struct grpc_call *call)
{
	struct end_fields f;
	nghttp2_nv nv[2];
	size_t n = fill_end(call, &f, nv);

	return nghttp2_submit_trailer(call->conn->session, call->stream, nv, n);
}

/* nghttp2 asks for up to `size` bytes of the response. */
static ssize_t read_messages(nghttp2_session *session, int32_t stream,
			     uint8_t *buf, size_t size, uint32_t *flags,
			     nghttp2_data_source *source, void *arg)
{
	struct grpc_call *call = source->ptr;
	struct grpc_conn *c = arg;
	size_t n = 0;

	(void)session;
	(void)stream;
	while (n < size && call->first) {
		struct grpc_message *m = call->first;
		size_t left = m->len - call->sent;
		size_t part = left < size - n ? left : size - n;

		memcpy(buf + n, m->data + call->sent, part);
		n += part;
		call->sent += part;
		if (call->sent < m->len)
			break;
		call->first = m->next;
		if (!call->first)
			call->last = NULL;
		call->sent = 0;
		free(m);
	}
	if (n) {
		call->progress_ms = c->now;
		if (call->state == CALL_RUNNING)
			c->handler->drained(c->handler->arg, call, n);
	}
	if (!call->first && call->state == CALL_ENDED) {
		*flags |=
			NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (submit_trailers(call))
			return NGHTTP2_ERR_CALLBACK_FAILURE;
	} else if (!n) {
		call->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	return (ssize_t)n;
}

static void submit_headers(struct grpc_call *call)
{
	nghttp2_data_provider data = {
		.source.ptr = call,
		.read_callback = read_messages,
	};
	const nghttp2_nv nv[] = {
		FIELD(":status", "200"),
		FIELD("content-type", "application/grpc"),
	};

	call->responded = true;
	if (nghttp2_submit_response(call->conn->session, call->stream, nv,
				    ARRAY_SIZE(nv), &data))
		call->conn->fatal = -ENOMEM;
}

void grpc_call_submit_end(struct grpc_call *call, const char *http_status)
{
	struct end_fields f;
	nghttp2_nv nv[5];
	size_t n = 0;

	nv[n++] = FIELD(":status", http_status);
	nv[n++] = FIELD("content-type", "application/grpc");
	if (call->result.status == GRPC_UNIMPLEMENTED)
		nv[n++] = FIELD("grpc-accept-encoding", "identity");
	n += fill_end(call, &f, nv + n);
	call->responded = true;
	if (nghttp2_submit_response(call->conn->session, call->stream, nv, n,
				    NULL))
		call->conn->fatal = -ENOMEM;
}

static void resume(struct grpc_call *call)
{
	if (!call->deferred)
		return;
	call->deferred = false;
	if (nghttp2_session_resume_data(call->conn->session, call->stream))
		call->conn->fatal = -ENOMEM;
}

struct grpc_message *grpc_message_new(size_t payload)
{
	struct grpc_message *m;

	if (payload > UINT32_MAX)
		return NULL;
	m = malloc(sizeof(*m) + GRPC_PREFIX + payload);
	if (!m)
		return NULL;
	m->next = NULL;
	m->len = GRPC_PREFIX + payload;
	m->data[0] = 0;
	m->data[1] = (uint8_t)(payload >> 24);
	m->data[2] = (uint8_t)(payload >> 16);
	m->data[3] = (uint8_t)(payload >> 8);
	m->data[4] = (uint8_t)payload;
	return m;
}

void grpc_call_send(struct grpc_call *call, struct grpc_message *m)
{
	if (!call->first) {
		call->first = m;
		call->progress_ms = call->conn->now;
		grpc_call_due_at(call,
				 call->progress_ms + GRPC_STALL_TIMEOUT_MS);
	} else {
		call->last->next = m;
	}
	call->last = m;
	if (!call->responded)
		submit_headers(call);
	else
		resume(call);
}

void grpc_call_finish(struct grpc_call *call, const struct grpc_result *r)
{
	call->state = CALL_ENDED;
	call->user = NULL;
	if (r)
		call->result = *r;
	grpc_call_answered(call);
	if (!call->responded)
		grpc_call_submit_end(call, "200");
	else
		resume(call);
}
