/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc_side.h"

#include <assert.h>
#include <poll.h>
#include <string.h>

#include "driver/grpc/method.h"

static const void *find(void *arg, const char *path)
{
	(void)arg;
	return grpc_method_find(path);
}

static void start(void *arg, struct grpc_call *call)
{
	struct side *s = arg;

	grpc_backend_start(s->backend, call, s);
}

static void gone(void *arg, struct grpc_call *call)
{
	struct side *s = arg;

	grpc_backend_gone(s->backend, call);
}

static void drained(void *arg, struct grpc_call *call, size_t n)
{
	struct side *s = arg;

	grpc_backend_drained(s->backend, call, n);
}

void side_init(struct side *s, struct grpc_backend *b,
	       struct grpc_budget *budget)
{
	memset(s, 0, sizeof(*s));
	s->backend = b;
	s->handler = (struct grpc_handler){ .arg = s,
					    .find = find,
					    .start = start,
					    .gone = gone,
					    .drained = drained };
	client_init(&s->c, &s->handler, budget);
}

void side_release(struct side *s)
{
	client_release(&s->c);
}

void side_submit(struct side *s, const char *path, const void *body, size_t len,
		 struct client_call *call)
{
	const struct client_request r = { .path = path,
					  .body = body,
					  .body_len = len };

	client_submit(&s->c, &r, call);
	client_pump(&s->c);
}

static void pump_owner(void *owner)
{
	struct side *s = owner;

	client_pump(&s->c);
}

static void one_turn(struct side *s)
{
	struct pollfd p = { .fd = grpc_backend_fd(s->backend),
			    .events = POLLIN };
	int n = poll(&p, 1, 20000);

	assert(n == 1);
	grpc_backend_process(s->backend, pump_owner);
	client_pump(&s->c);
}

void side_finish(struct side *s, struct client_call *call)
{
	client_pump(&s->c);
	while (!call->closed)
		one_turn(s);
}

void side_await(struct side *s, struct client_call *call, size_t len)
{
	client_pump(&s->c);
	while (!call->closed && call->len < len)
		one_turn(s);
}

void side_cancel(struct side *s, struct client_call *call)
{
	nghttp2_submit_rst_stream(s->c.session, 0, call->stream,
				  NGHTTP2_CANCEL);
	client_pump(&s->c);
}
