/* SPDX-License-Identifier: Apache-2.0 */
#include "call.h"

#include <stdlib.h>
#include <string.h>

#include "driver/common/metrics.h"
#include "driver/common/util.h"

void grpc_call_due_at(struct grpc_call *call, int64_t when)
{
	if (when < call->conn->due)
		call->conn->due = when;
}

struct grpc_call *grpc_call_new(struct grpc_conn *c, int32_t stream)
{
	struct grpc_call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	call->conn = c;
	call->stream = stream;
	call->started_ms = c->now;
	call->deadline_ms = INT64_MAX;
	call->next = c->calls;
	if (c->calls)
		c->calls->prev = call;
	c->calls = call;
	grpc_call_due_at(call, call->started_ms + GRPC_REQUEST_TIMEOUT_MS);
	call->begun_ns = metrics_now();
	if (c->handler->began)
		c->handler->began(c->handler->arg);
	return call;
}

static void drop_messages(struct grpc_call *call)
{
	while (call->first) {
		struct grpc_message *m = call->first;

		call->first = m->next;
		free(m);
	}
	call->last = NULL;
	call->sent = 0;
}

void grpc_call_drop_body(struct grpc_call *call)
{
	free(call->body);
	call->body = NULL;
	grpc_budget_release(call->conn->budget, call->charge);
	call->charge = 0;
	call->body_cap = 0;
}

void grpc_call_answered(struct grpc_call *call)
{
	call->took_ns = metrics_now() - call->begun_ns;
}

static void count(const struct grpc_call *call)
{
	const struct grpc_handler *h = call->conn->handler;
	bool cut = call->cut || !call->took_ns;

	if (h->ended)
		h->ended(h->arg, call->method,
			 cut ? GRPC_CANCELLED : call->result.status,
			 call->took_ns ? call->took_ns
				       : metrics_now() - call->begun_ns);
}

void grpc_call_free(struct grpc_call *call)
{
	count(call);
	if (call->prev)
		call->prev->next = call->next;
	else
		call->conn->calls = call->next;
	if (call->next)
		call->next->prev = call->prev;
	drop_messages(call);
	grpc_call_drop_body(call);
	free(call);
}

void grpc_call_abandon(struct grpc_call *call)
{
	const struct grpc_handler *h = call->conn->handler;
	bool running = call->state == CALL_RUNNING;

	call->state = CALL_ENDED;
	if (running)
		h->gone(h->arg, call);
}

static void reset(struct grpc_call *call)
{
	grpc_call_abandon(call);
	if (nghttp2_submit_rst_stream(call->conn->session, NGHTTP2_FLAG_NONE,
				      call->stream, NGHTTP2_CANCEL))
		call->conn->fatal = -ENOMEM;
}

int64_t grpc_call_expire(struct grpc_call *call, int64_t now)
{
	static const struct grpc_result late = {
		GRPC_DEADLINE_EXCEEDED, "the call's deadline has passed"
	};
	int64_t due = INT64_MAX;

	if (call->first) {
		due = call->progress_ms + GRPC_STALL_TIMEOUT_MS;
		if (due <= now) {
			reset(call);
			return INT64_MAX;
		}
	}
	if (call->state == CALL_ENDED)
		return due;
	if (call->deadline_ms <= now) {
		if (call->first) { /* trailers would wait behind the data */
			reset(call);
			return INT64_MAX;
		}
		grpc_call_abandon(call);
		grpc_call_finish(call, &late);
		return INT64_MAX;
	}
	if (call->deadline_ms < due)
		due = call->deadline_ms;
	if (call->state != CALL_RUNNING) {
		int64_t end = call->started_ms + GRPC_REQUEST_TIMEOUT_MS;

		if (end <= now) {
			grpc_call_refuse(call, "200", GRPC_DEADLINE_EXCEEDED,
					 "the request was not complete after %d s",
					 GRPC_REQUEST_TIMEOUT_MS / 1000);
			return INT64_MAX;
		}
		if (end < due)
			due = end;
	}
	return due;
}

const void *grpc_call_method(const struct grpc_call *call)
{
	return call->method;
}

void *grpc_call_user(const struct grpc_call *call)
{
	return call->user;
}

void grpc_call_set_user(struct grpc_call *call, void *user)
{
	call->user = user;
}

int64_t grpc_call_deadline(const struct grpc_call *call)
{
	return call->deadline_ms;
}

uint8_t *grpc_call_take_body(struct grpc_call *call, size_t *len,
			     size_t *charge)
{
	*len = call->body_len;
	*charge = call->charge;
	call->charge = 0;
	call->body_cap = 0;
	return steal_ptr(&call->body);
}
