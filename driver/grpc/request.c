/* SPDX-License-Identifier: Apache-2.0 */
/* A call's request: header fields, then one message, in pieces as they come. */
#include "call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/common/util.h"

#define BODY_MIN 1024u

static bool field_is(const uint8_t *name, size_t len, const char *want)
{
	return len == strlen(want) && !memcmp(name, want, len);
}

/* application/grpc, "+proto" after it or nothing, then parameters. */
static bool is_grpc_type(const uint8_t *v, size_t len)
{
	static const char type[] = "application/grpc", proto[] = "+proto";
	size_t n = sizeof(type) - 1, m = sizeof(proto) - 1;

	if (len < n || memcmp(v, type, n))
		return false;
	if (len >= n + m && !memcmp(v + n, proto, m))
		n += m;
	return len == n || v[n] == ';' || v[n] == ' ';
}

void grpc_call_header(struct grpc_call *call, const uint8_t *name,
		      size_t name_len, const uint8_t *value, size_t value_len)
{
	call->header_bytes += name_len + value_len + 32; /* RFC 9113, 6.5.2 */
	if (call->state != CALL_HEADERS ||
	    call->header_bytes > GRPC_HEADERS_MAX)
		return;
	if (field_is(name, name_len, ":method")) {
		call->is_post = field_is(value, value_len, "POST");
	} else if (field_is(name, name_len, ":path")) {
		call->path_len = value_len;
		if (call->path_len >= sizeof(call->path))
			call->path_len = sizeof(call->path) - 1;
		memcpy(call->path, value, call->path_len);
		call->path[call->path_len] = '\0';
	} else if (field_is(name, name_len, "content-type")) {
		call->is_grpc = is_grpc_type(value, value_len);
	} else if (field_is(name, name_len, "grpc-timeout")) {
		call->has_timeout = true;
		call->bad_timeout =
			grpc_timeout_parse((const char *)value, value_len,
					   &call->timeout_ms) != 0;
	}
}

void grpc_call_refuse(struct grpc_call *call, const char *http_status,
		      enum grpc_status status, const char *fmt, ...)
{
	va_list ap;

	call->state = CALL_ENDED;
	call->result.status = status;
	va_start(ap, fmt);
	vsnprintf(call->result.text, sizeof(call->result.text), fmt, ap);
	va_end(ap);
	grpc_call_answered(call);
	grpc_call_drop_body(call);
	grpc_call_submit_end(call, http_status);
}

static void refuse_path(struct grpc_call *call)
{
	grpc_call_refuse(call, "200", GRPC_UNIMPLEMENTED,
			 "unknown method \"%s\"%s", call->path,
			 call->path_len == sizeof(call->path) - 1 ? " (cut)"
								  : "");
}

void grpc_call_headers_done(struct grpc_call *call)
{
	const struct grpc_handler *h = call->conn->handler;

	if (call->state != CALL_HEADERS) /* they came too late */
		return;
	call->state = CALL_BODY;
	if (call->header_bytes > GRPC_HEADERS_MAX) {
		grpc_call_refuse(call, "431", GRPC_RESOURCE_EXHAUSTED,
				 "the request's headers take %zu bytes, the limit is %u",
				 call->header_bytes, GRPC_HEADERS_MAX);
		return;
	}
	if (!call->is_post) {
		grpc_call_refuse(call, "405", GRPC_INTERNAL,
				 "a gRPC call is a POST");
		return;
	}
	if (!call->is_grpc) {
		grpc_call_refuse(call, "415", GRPC_INVALID_ARGUMENT,
				 "the request's content-type is not application/grpc");
		return;
	}
	call->method = h->find(h->arg, call->path);
	if (!call->method) {
		refuse_path(call);
		return;
	}
	if (call->bad_timeout) {
		grpc_call_refuse(call, "400", GRPC_INTERNAL,
				 "malformed grpc-timeout");
		return;
	}
	if (call->has_timeout)
		call->deadline_ms = call->conn->now + call->timeout_ms;
	grpc_call_due_at(call, call->deadline_ms);
}

/* The five bytes before the message are there. */
static bool begin_message(struct grpc_call *call)
{
	const uint8_t *p = call->prefix;

	call->message_len = (size_t)p[1] << 24 | (size_t)p[2] << 16 |
			    (size_t)p[3] << 8 | p[4];
	if (p[0] != 0) {
		grpc_call_refuse(call, "200", GRPC_UNIMPLEMENTED,
				 "compressed messages are not supported");
		return false;
	}
	if (call->message_len > GRPC_MESSAGE_MAX) {
		grpc_call_refuse(call, "200", GRPC_RESOURCE_EXHAUSTED,
				 "the request message has %zu bytes, the limit is %u",
				 call->message_len, GRPC_MESSAGE_MAX);
		return false;
	}
	return true;
}

/* Memory is taken as bytes arrive: the length is only the peer's word. */
static bool grow_body(struct grpc_call *call, size_t need)
{
	struct grpc_budget *b = call->conn->budget;
	size_t cap = call->body_cap ? call->body_cap : BODY_MIN;
	uint8_t *p;

	if (need <= call->body_cap)
		return true;
	while (cap < need)
		cap *= 2;
	if (cap > call->message_len)
		cap = call->message_len;
	if (cap - call->body_cap > b->limit - b->used) {
		grpc_call_refuse(call, "200", GRPC_RESOURCE_EXHAUSTED,
				 "too many large requests at once, try again");
		return false;
	}
	p = realloc(call->body, cap);
	if (!p) {
		grpc_call_refuse(call, "200", GRPC_RESOURCE_EXHAUSTED,
				 "no memory for a request of %zu bytes",
				 call->message_len);
		return false;
	}
	b->used += cap - call->body_cap;
	call->charge += cap - call->body_cap;
	call->body = p;
	call->body_cap = cap;
	return true;
}

void grpc_call_data(struct grpc_call *call, const uint8_t *data, size_t len)
{
	while (len && call->state == CALL_BODY &&
	       call->prefix_len < GRPC_PREFIX) {
		call->prefix[call->prefix_len++] = *data++;
		len--;
		if (call->prefix_len == GRPC_PREFIX && !begin_message(call))
			return;
	}
	if (!len || call->state != CALL_BODY)
		return;
	if (len > call->message_len - call->body_len) {
		grpc_call_refuse(call, "200", GRPC_INTERNAL,
				 "the request has more than one message");
		return;
	}
	if (!grow_body(call, call->body_len + len))
		return;
	memcpy(call->body + call->body_len, data, len);
	call->body_len += len;
}

void grpc_call_request_done(struct grpc_call *call)
{
	const struct grpc_handler *h = call->conn->handler;

	if (call->state != CALL_BODY)
		return;
	if (!call->prefix_len) {
		grpc_call_refuse(call, "200", GRPC_INTERNAL,
				 "the request has no message");
		return;
	}
	if (call->prefix_len < GRPC_PREFIX ||
	    call->body_len < call->message_len) {
		grpc_call_refuse(call, "200", GRPC_INTERNAL,
				 "the request ends in the middle of its message");
		return;
	}
	call->state = CALL_RUNNING;
	h->start(h->arg, call);
}
