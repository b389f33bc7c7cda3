/* SPDX-License-Identifier: Apache-2.0 */
/* The gRPC protocol as a client sees it, connected by memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/common/util.h"
#include "grpc_client.h"

/* A handler that answers at once, with an error, or when it is told to. */
static const char echo[] = "/t.T/Echo", fails[] = "/t.T/Fail",
		  hold[] = "/t.T/Hold";

struct fixture {
	struct client c;
	struct grpc_handler handler;
	struct grpc_budget budget;
	struct grpc_call *held;
	unsigned started, gone;
	size_t drained;
	struct client_call call;
};

static const void *find(void *arg, const char *path)
{
	static const char *const paths[] = { echo, fails, hold };
	size_t i;

	(void)arg;
	for (i = 0; i < ARRAY_SIZE(paths); i++)
		if (str_eq(path, paths[i]))
			return paths[i];
	return NULL;
}

static void start(void *arg, struct grpc_call *call)
{
	struct fixture *f = arg;
	const char *method = grpc_call_method(call);
	struct grpc_message *m;
	struct grpc_result r;
	size_t len, charge;
	uint8_t *body;

	f->started++;
	if (method == hold) {
		f->held = call;
		return;
	}
	if (method == fails) {
		grpc_fail(&r, GRPC_NOT_FOUND, "no \"caf\u00e9\" at 100%%\n");
		grpc_call_finish(call, &r);
		return;
	}
	body = grpc_call_take_body(call, &len, &charge);
	m = grpc_message_new(len);
	assert_non_null(m);
	if (len)
		memcpy(m->data + GRPC_PREFIX, body, len);
	free(body);
	grpc_budget_release(&f->budget, charge);
	grpc_call_send(call, m);
	grpc_call_finish(call, NULL);
}

static void gone(void *arg, struct grpc_call *call)
{
	struct fixture *f = arg;

	assert_ptr_equal(call, f->held);
	f->held = NULL;
	f->gone++;
}

static void drained(void *arg, struct grpc_call *call, size_t n)
{
	struct fixture *f = arg;

	assert_ptr_equal(call, f->held);
	f->drained += n;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	f->handler = (struct grpc_handler){ .arg = f,
					    .find = find,
					    .start = start,
					    .gone = gone,
					    .drained = drained };
	f->budget.limit = 40u << 20;
	client_init(&f->c, &f->handler, &f->budget);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	client_release(&f->c);
	client_call_release(&f->call);
	assert_int_equal(f->budget.used, 0);
	free(f);
	return 0;
}

static void submit(struct fixture *f, const char *path, const uint8_t *body,
		   size_t len)
{
	const struct client_request r = { .path = path,
					  .body = body,
					  .body_len = len };

	client_submit(&f->c, &r, &f->call);
	client_pump(&f->c);
}

static const uint8_t small[] = { 0, 0, 0, 0, 3, 'a', 'b', 'c' };

static void assert_refused(struct fixture *f, const char *http,
			   enum grpc_status status, const char *text)
{
	assert_int_equal(f->c.rc, 0);
	assert_true(f->call.closed);
	assert_string_equal(f->call.http, http);
	assert_int_equal(atoi(f->call.status), status);
	assert_non_null(strstr(f->call.message, text));
	assert_int_equal(f->call.headers, 1);
	assert_int_equal(f->call.len, 0);
}

static void assert_echoed(struct fixture *f, const uint8_t *body, size_t len)
{
	assert_true(f->call.closed);
	assert_int_equal(f->call.error, NGHTTP2_NO_ERROR);
	assert_string_equal(f->call.http, "200");
	assert_string_equal(f->call.type, "application/grpc");
	assert_string_equal(f->call.status, "0");
	assert_string_equal(f->call.message, "");
	assert_int_equal(f->call.headers, 2);
	assert_int_equal(f->call.len, len);
	assert_memory_equal(f->call.data, body, len);
}

static void unary(void **state)
{
	struct fixture *f = *state;

	submit(f, echo, small, sizeof(small));
	assert_echoed(f, small, sizeof(small));
	assert_true(grpc_conn_idle(f->c.conn));
}

static void unary_byte_by_byte(void **state)
{
	struct fixture *f = *state;

	f->c.chunk = 1;
	submit(f, echo, small, sizeof(small));
	assert_echoed(f, small, sizeof(small));
}

static void unary_empty_message(void **state)
{
	static const uint8_t empty[] = { 0, 0, 0, 0, 0 };
	struct fixture *f = *state;

	submit(f, echo, empty, sizeof(empty));
	assert_echoed(f, empty, sizeof(empty));
}

static void unary_of_the_largest_size(void **state)
{
	struct fixture *f = *state;
	size_t len;
	uint8_t *m = client_message(GRPC_MESSAGE_MAX, 0x5a, &len);

	submit(f, echo, m, len);
	assert_echoed(f, m, len);
	free(m);
}

static void too_large_message(void **state)
{
	static const uint8_t head[] = { 0, 1, 0, 0, 1, 'x' };
	struct fixture *f = *state;

	submit(f, echo, head, sizeof(head));
	assert_refused(f, "200", GRPC_RESOURCE_EXHAUSTED, "16777217 bytes");
	assert_int_equal(f->started, 0);
}

/* The refusal comes though the client has not ended its request. */
static void too_large_message_while_open(void **state)
{
	static const uint8_t head[] = { 0, 0xff, 0xff, 0xff, 0xff };
	struct fixture *f = *state;
	const struct client_request r = { .path = echo,
					  .body = head,
					  .body_len = sizeof(head),
					  .keep_open = true };

	client_submit(&f->c, &r, &f->call);
	client_pump(&f->c);
	assert_refused(f, "200", GRPC_RESOURCE_EXHAUSTED, "4294967295 bytes");
	assert_true(grpc_conn_idle(f->c.conn));
}

static void too_much_at_once(void **state)
{
	struct fixture *f = *state;
	size_t len;
	uint8_t *m = client_message(100000, 1, &len);

	f->budget.limit = 50000;
	submit(f, echo, m, len);
	assert_refused(f, "200", GRPC_RESOURCE_EXHAUSTED, "too many large");
	free(m);
}

static void error_is_percent_encoded(void **state)
{
	struct fixture *f = *state;

	submit(f, fails, small, sizeof(small));
	assert_refused(f, "200", GRPC_NOT_FOUND,
		       "no \"caf%C3%A9\" at 100%25%0A");
}

static void unknown_method(void **state)
{
	struct fixture *f = *state;

	submit(f, "/t.T/None", small, sizeof(small));
	assert_refused(f, "200", GRPC_UNIMPLEMENTED, "/t.T/None");
}

static void unknown_long_method(void **state)
{
	struct fixture *f = *state;
	char path[5000];

	memset(path, 'y', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	submit(f, path, small, sizeof(small));
	assert_refused(f, "200", GRPC_UNIMPLEMENTED, "(cut)");
}

static void wrong_content_type(void **state)
{
	static const char *const types[] = { "", "text/plain",
					     "application/grpcx",
					     "application/grpc+json",
					     "application/grpc+protox" };
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		const struct client_request r = { .path = echo,
						  .content_type = types[i],
						  .body = small,
						  .body_len = sizeof(small) };

		client_submit(&f->c, &r, &f->call);
		client_pump(&f->c);
		assert_refused(f, "415", GRPC_INVALID_ARGUMENT, "content-type");
	}
	assert_int_equal(f->started, 0);
}

static void accepted_content_types(void **state)
{
	static const char *const types[] = { "application/grpc+proto",
					     "application/grpc; a=b",
					     "application/grpc+proto;a=b" };
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		const struct client_request r = { .path = echo,
						  .content_type = types[i],
						  .body = small,
						  .body_len = sizeof(small) };

		client_call_release(&f->call);
		client_submit(&f->c, &r, &f->call);
		client_pump(&f->c);
		assert_echoed(f, small, sizeof(small));
	}
}

static void get_is_refused(void **state)
{
	struct fixture *f = *state;
	const struct client_request r = { .path = echo, .method = "GET" };

	client_submit(&f->c, &r, &f->call);
	client_pump(&f->c);
	assert_refused(f, "405", GRPC_INTERNAL, "POST");
}

static void large_headers(void **state)
{
	struct fixture *f = *state;
	const struct client_request r = { .path = echo,
					  .padding = GRPC_HEADERS_MAX,
					  .body = small,
					  .body_len = sizeof(small) };

	client_submit(&f->c, &r, &f->call);
	client_pump(&f->c);
	assert_refused(f, "431", GRPC_RESOURCE_EXHAUSTED, "headers");
}

static void compressed_message(void **state)
{
	static const uint8_t m[] = { 1, 0, 0, 0, 1, 'z' };
	struct fixture *f = *state;

	submit(f, echo, m, sizeof(m));
	assert_refused(f, "200", GRPC_UNIMPLEMENTED, "compressed");
}

static void incomplete_messages(void **state)
{
	struct fixture *f = *state;
	size_t len;

	submit(f, echo, NULL, 0);
	assert_refused(f, "200", GRPC_INTERNAL, "no message");
	for (len = 1; len < sizeof(small); len++) {
		submit(f, echo, small, len);
		assert_refused(f, "200", GRPC_INTERNAL, "in the middle");
	}
	assert_int_equal(f->started, 0);
}

static void two_messages(void **state)
{
	static const uint8_t m[] = { 0, 0, 0, 0, 1, 'a', 0, 0, 0, 0, 1, 'b' };
	struct fixture *f = *state;

	submit(f, echo, m, sizeof(m));
	assert_refused(f, "200", GRPC_INTERNAL, "more than one");
}

static void send_batch(struct fixture *f, size_t len, uint8_t fill)
{
	struct grpc_message *m = grpc_message_new(len);

	assert_non_null(m);
	memset(m->data + GRPC_PREFIX, fill, len);
	grpc_call_send(f->held, m);
}

static void stream_in_batches(void **state)
{
	struct fixture *f = *state;
	size_t sizes[] = { 10, 0, 70000 }, total = 0, i;

	submit(f, hold, small, sizeof(small));
	assert_non_null(f->held);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		send_batch(f, sizes[i], (uint8_t)i);
		client_pump(&f->c);
		total += sizes[i] + GRPC_PREFIX;
		assert_int_equal(f->call.len, total); /* at once, not later */
		assert_int_equal(f->drained, total);
		assert_false(f->call.closed);
	}
	grpc_call_finish(f->held, NULL);
	client_pump(&f->c);
	assert_string_equal(f->call.status, "0");
	assert_int_equal(f->call.headers, 2);
	assert_true(f->call.closed);
	assert_int_equal(f->call.data[GRPC_PREFIX - 1], 10);
	assert_int_equal(f->call.data[total - 1], 2);
}

static void stream_that_fails_late(void **state)
{
	struct fixture *f = *state;
	struct grpc_result r;

	submit(f, hold, small, sizeof(small));
	send_batch(f, 10, 1);
	client_pump(&f->c);
	grpc_fail(&r, GRPC_UNAVAILABLE, "gone");
	grpc_call_finish(f->held, &r);
	client_pump(&f->c);
	assert_int_equal(f->call.len, 15);
	assert_string_equal(f->call.status, "14");
	assert_string_equal(f->call.message, "gone");
}

static void slow_client(void **state)
{
	struct fixture *f = *state;

	f->c.no_window = true;
	submit(f, hold, small, sizeof(small));
	send_batch(f, 1 << 20, 7);
	client_pump(&f->c);
	assert_int_equal(f->call.len, 65535); /* HTTP/2's first window */
	assert_int_equal(f->drained, 65535);
	f->c.now += GRPC_STALL_TIMEOUT_MS - 1;
	assert_int_equal(grpc_conn_expire(f->c.conn, f->c.now), f->c.now + 1);
	assert_int_equal(f->gone, 0);
	f->c.now++;
	grpc_conn_expire(f->c.conn, f->c.now);
	assert_int_equal(f->gone, 1);
	client_pump(&f->c);
	assert_true(f->call.closed);
	assert_int_equal(f->call.error, NGHTTP2_CANCEL);
	assert_true(grpc_conn_idle(f->c.conn));
}

static void set_window(struct fixture *f, uint32_t size)
{
	const nghttp2_settings_entry e = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
					   size };

	assert_int_equal(nghttp2_submit_settings(f->c.session, 0, &e, 1), 0);
	client_pump(&f->c);
}

/* A stream's window of one byte, which the client opens byte by byte. */
static void smallest_window(void **state)
{
	struct fixture *f = *state;

	set_window(f, 1);
	submit(f, hold, small, sizeof(small));
	send_batch(f, 500, 9);
	grpc_call_finish(f->held, NULL);
	client_pump(&f->c);
	assert_true(f->call.closed);
	assert_int_equal(f->call.len, 505);
	assert_string_equal(f->call.status, "0");
}

/* Windows that change while data wait for them. */
static void windows_change(void **state)
{
	struct fixture *f = *state;

	set_window(f, 0);
	submit(f, hold, small, sizeof(small));
	f->c.no_window = true;
	send_batch(f, 40000, 9);
	client_pump(&f->c);
	assert_int_equal(f->call.len, 0);
	assert_int_equal(f->call.headers, 1);
	set_window(f, 1000);
	assert_int_equal(f->call.len, 1000);
	set_window(f, 10); /* less than was used of it: below zero */
	set_window(f, 1500);
	assert_int_equal(f->call.len, 1500);
	nghttp2_submit_window_update(f->c.session, 0, f->call.stream, 500);
	client_pump(&f->c);
	assert_int_equal(f->call.len, 2000);
	set_window(f, 65535);
	assert_int_equal(f->call.len, 40005);
	grpc_call_finish(f->held, NULL);
	client_pump(&f->c);
	assert_string_equal(f->call.status, "0");
}

/* One call's closed window does not stop the connection's other calls. */
static void windows_of_others(void **state)
{
	struct fixture *f = *state;
	struct client_call first = { 0 };

	set_window(f, 100);
	f->c.no_window = true;
	submit(f, hold, small, sizeof(small));
	send_batch(f, 5000, 9);
	client_pump(&f->c);
	first = f->call;
	nghttp2_session_set_stream_user_data(f->c.session, first.stream,
					     &first);
	assert_int_equal(first.len, 100);
	submit(f, echo, small, sizeof(small));
	assert_echoed(f, small, sizeof(small));
	client_call_release(&first);
}

/* 1 MiB of request against our window. */
static void request_beyond_the_window(void **state)
{
	struct fixture *f = *state;
	size_t total;
	uint8_t *body = client_message(1 << 20, 'w', &total);

	f->c.chunk = 1000;
	submit(f, echo, body, total);
	assert_echoed(f, body, total);
	free(body);
}

static void cancelled_by_the_client(void **state)
{
	struct fixture *f = *state;

	submit(f, hold, small, sizeof(small));
	send_batch(f, 100, 1);
	nghttp2_submit_rst_stream(f->c.session, 0, f->call.stream,
				  NGHTTP2_CANCEL);
	client_pump(&f->c);
	assert_int_equal(f->gone, 1);
	assert_true(grpc_conn_idle(f->c.conn));
}

static void cancelled_in_the_request(void **state)
{
	struct fixture *f = *state;
	const struct client_request r = { .path = echo,
					  .body = small,
					  .body_len = sizeof(small) - 1,
					  .keep_open = true };

	client_submit(&f->c, &r, &f->call);
	client_pump(&f->c);
	assert_int_not_equal(f->budget.used, 0);
	nghttp2_submit_rst_stream(f->c.session, 0, f->call.stream,
				  NGHTTP2_CANCEL);
	client_pump(&f->c);
	assert_int_equal(f->budget.used, 0);
	assert_int_equal(f->started, 0);
}

static void connection_lost(void **state)
{
	struct fixture *f = *state;

	submit(f, hold, small, sizeof(small));
	grpc_conn_free(steal_ptr(&f->c.conn));
	assert_int_equal(f->gone, 1);
}

static void submit_timed(struct fixture *f, const char *timeout)
{
	const struct client_request r = { .path = hold,
					  .timeout = timeout,
					  .body = small,
					  .body_len = sizeof(small) };

	client_submit(&f->c, &r, &f->call);
	client_pump(&f->c);
}

static void deadline(void **state)
{
	struct fixture *f = *state;

	submit_timed(f, "250m");
	assert_int_equal(grpc_call_deadline(f->held), f->c.now + 250);
	assert_true(grpc_conn_due(f->c.conn) <= f->c.now + 250);
	f->c.now += 249;
	grpc_conn_expire(f->c.conn, f->c.now);
	assert_int_equal(f->gone, 0);
	f->c.now++;
	grpc_conn_expire(f->c.conn, f->c.now);
	client_pump(&f->c);
	assert_int_equal(f->gone, 1);
	assert_refused(f, "200", GRPC_DEADLINE_EXCEEDED, "deadline");
}

static void deadline_behind_data(void **state)
{
	struct fixture *f = *state;

	f->c.no_window = true;
	submit_timed(f, "1S");
	send_batch(f, 1 << 20, 7);
	client_pump(&f->c);
	f->c.now += 1000;
	grpc_conn_expire(f->c.conn, f->c.now);
	client_pump(&f->c);
	assert_int_equal(f->gone, 1);
	assert_true(f->call.closed);
	assert_int_equal(f->call.error, NGHTTP2_CANCEL);
}

static void bad_timeouts(void **state)
{
	static const char *const bad[] = { "",    "1",    "S",         "1x",
					   "-1S", "1.5S", "123456789S" };
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		submit_timed(f, bad[i]);
		assert_refused(f, "400", GRPC_INTERNAL, "grpc-timeout");
	}
}

static void request_that_never_ends(void **state)
{
	struct fixture *f = *state;
	const struct client_request r = {
		.path = echo, .body = small, .body_len = 3, .keep_open = true
	};

	client_submit(&f->c, &r, &f->call);
	client_pump(&f->c);
	f->c.now += GRPC_REQUEST_TIMEOUT_MS;
	grpc_conn_expire(f->c.conn, f->c.now);
	client_pump(&f->c);
	assert_refused(f, "200", GRPC_DEADLINE_EXCEEDED, "not complete");
}

static size_t record(uint8_t *buf, size_t size);

/* HEADERS without END_HEADERS, and the rest of them only after the time. */
static void headers_that_never_end(void **state)
{
	static const uint8_t rest[] = { 0, 0, 0, 9, 4, 0, 0, 0, 1 };
	struct fixture *f = *state;
	uint8_t bytes[2048];
	size_t settings = 24, headers = settings + 9, end;

	assert_true(record(bytes, sizeof(bytes)) > headers);
	assert_int_equal(bytes[headers + 3], NGHTTP2_HEADERS);
	assert_true(bytes[headers + 4] & NGHTTP2_FLAG_END_HEADERS);
	bytes[headers + 4] &= (uint8_t)~NGHTTP2_FLAG_END_HEADERS;
	end = headers + 9 + bytes[headers + 2];
	assert_int_equal(grpc_conn_recv(f->c.conn, f->c.now, bytes, end), 0);
	assert_false(grpc_conn_idle(f->c.conn));
	f->c.now += GRPC_REQUEST_TIMEOUT_MS;
	assert_true(grpc_conn_due(f->c.conn) <= f->c.now);
	grpc_conn_expire(f->c.conn, f->c.now);
	assert_int_equal(grpc_conn_recv(f->c.conn, f->c.now, rest,
					sizeof(rest)),
			 0);
	while (grpc_conn_send(f->c.conn, f->c.now, bytes, sizeof(bytes)) > 0)
		;
	assert_true(grpc_conn_idle(f->c.conn));
	assert_int_equal(f->started, 0);
}

static void client_that_says_nothing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(grpc_conn_due(f->c.conn),
			 f->c.now + GRPC_HELLO_TIMEOUT_MS);
	f->c.now += GRPC_HELLO_TIMEOUT_MS;
	grpc_conn_expire(f->c.conn, f->c.now);
	assert_true(grpc_conn_done(f->c.conn));
}

static void not_http2(void **state)
{
	static const char text[] = "GET / HTTP/1.1\r\n\r\n";
	struct fixture *f = *state;

	assert_int_equal(grpc_conn_recv(f->c.conn, 0, text, sizeof(text) - 1),
			 -EPROTO);
	assert_true(grpc_conn_done(f->c.conn));
}

static void oversized_frame(void **state)
{
	static const uint8_t frame[9] = { 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1 };
	struct fixture *f = *state;

	client_pump(&f->c);
	assert_int_equal(grpc_conn_recv(f->c.conn, 0, frame, sizeof(frame)), 0);
	client_pump(&f->c);
	assert_true(f->c.goaway);
	assert_true(grpc_conn_done(f->c.conn));
}

static void ping_is_answered(void **state)
{
	static const uint8_t ping[17] = { 0,   0,   8,   6,   0,   0,
					  0,   0,   0,   'p', 'i', 'n',
					  'g', 'p', 'o', 'n', 'g' };
	struct fixture *f = *state;
	uint8_t out[64];

	client_pump(&f->c);
	assert_int_equal(grpc_conn_recv(f->c.conn, f->c.now, ping,
					sizeof(ping)),
			 0);
	assert_int_equal(grpc_conn_send(f->c.conn, f->c.now, out, sizeof(out)),
			 sizeof(ping));
	assert_int_equal(out[3], 6);
	assert_int_equal(out[4], 1); /* ACK */
	assert_memory_equal(out + 9, ping + 9, 8);
}

/* More calls at once than we offered. */
static void too_many_streams(void **state)
{
	struct fixture *f = *state;
	struct client_call calls[GRPC_STREAMS_MAX];
	const struct client_request r = { .path = echo,
					  .body = small,
					  .body_len = 3, /* not all of it */
					  .keep_open = true };
	size_t i;

	client_pump(&f->c);
	for (i = 0; i < ARRAY_SIZE(calls); i++)
		client_submit(&f->c, &r, &calls[i]);
	client_pump(&f->c);
	for (i = 0; i < ARRAY_SIZE(calls); i++)
		assert_false(calls[i].closed);
	assert_int_equal(nghttp2_session_get_remote_settings(
				 f->c.session,
				 NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS),
			 GRPC_STREAMS_MAX);
	nghttp2_submit_rst_stream(f->c.session, 0, calls[0].stream,
				  NGHTTP2_CANCEL);
	submit(f, echo, small, sizeof(small)); /* there is room again */
	assert_echoed(f, small, sizeof(small));
}

static void ping_flood(void **state)
{
	static const uint8_t ping[17] = { 0, 0, 8, 6 };
	struct fixture *f = *state;
	int i, rc = 0;

	client_pump(&f->c);
	for (i = 0; i < 2000 && !rc; i++)
		rc = grpc_conn_recv(f->c.conn, 0, ping, sizeof(ping));
	assert_true(rc < 0 || grpc_conn_done(f->c.conn));
}

static void graceful_stop(void **state)
{
	struct fixture *f = *state;
	struct client_call late;
	const struct client_request r = { .path = echo,
					  .body = small,
					  .body_len = sizeof(small) };

	submit(f, hold, small, sizeof(small));
	grpc_conn_shutdown(f->c.conn, f->c.now);
	client_pump(&f->c);
	assert_true(f->c.goaway);
	assert_false(grpc_conn_done(f->c.conn));
	grpc_call_finish(f->held, NULL);
	client_pump(&f->c);
	assert_string_equal(f->call.status, "0");
	assert_true(grpc_conn_done(f->c.conn));
	if (nghttp2_session_check_request_allowed(f->c.session)) {
		client_submit(&f->c, &r, &late);
		client_pump(&f->c);
		client_call_release(&late);
	}
	assert_int_equal(f->started, 1);
}

/* A client that does not go is let go, but not in the middle of a call. */
static void asked_to_leave(void **state)
{
	struct fixture *f = *state;
	uint8_t out[4096];
	int64_t t;

	submit(f, hold, small, sizeof(small));
	t = f->c.now;
	grpc_conn_shutdown(f->c.conn, t);
	t += 10 * GRPC_LEAVE_TIMEOUT_MS;
	assert_true(grpc_conn_expire(f->c.conn, t) > t);
	assert_false(grpc_conn_done(f->c.conn));
	grpc_call_finish(f->held, NULL);
	/* what it sends is not read, so nothing comes back */
	while (grpc_conn_send(f->c.conn, t, out, sizeof(out)) > 0)
		;
	assert_true(grpc_conn_idle(f->c.conn));
	assert_int_equal(grpc_conn_expire(f->c.conn, t + 1),
			 t + GRPC_LEAVE_TIMEOUT_MS);
	assert_false(grpc_conn_done(f->c.conn));
	t += GRPC_LEAVE_TIMEOUT_MS;
	grpc_conn_expire(f->c.conn, t);
	assert_true(grpc_conn_done(f->c.conn));
}

static void stop_before_hello(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[256];

	grpc_conn_shutdown(f->c.conn, f->c.now);
	assert_true(grpc_conn_send(f->c.conn, 0, buf, sizeof(buf)) > 0);
	assert_true(grpc_conn_done(f->c.conn));
}

/* What a client sends for a few calls, to be damaged below. */
static size_t record(uint8_t *buf, size_t size)
{
	static struct fixture f;
	const struct client_request r = { .path = echo,
					  .timeout = "10S",
					  .body = small,
					  .body_len = sizeof(small) };
	struct client_call calls[3];
	const uint8_t *p;
	size_t n = 0, i;
	ssize_t len;

	client_init(&f.c, &f.handler, &f.budget);
	for (i = 0; i < ARRAY_SIZE(calls); i++)
		client_submit(&f.c, &r, &calls[i]);
	while ((len = nghttp2_session_mem_send(f.c.session, &p)) > 0) {
		assert_true(n + (size_t)len <= size);
		memcpy(buf + n, p, (size_t)len);
		n += (size_t)len;
	}
	client_release(&f.c);
	return n;
}

static void feed(struct fixture *f, const uint8_t *data, size_t len)
{
	struct grpc_conn *c;
	uint8_t out[4096];

	assert_int_equal(grpc_conn_new(&f->handler, &f->budget, 0, &c), 0);
	if (grpc_conn_recv(c, 0, data, len) == 0)
		while (grpc_conn_send(c, 0, out, sizeof(out)) > 0)
			;
	grpc_conn_expire(c, 70000);
	grpc_conn_free(c);
	assert_int_equal(f->budget.used, 0);
}

static void damaged_bytes(void **state)
{
	struct fixture *f = *state;
	uint8_t good[2048], bad[2048];
	size_t len = record(good, sizeof(good)), preface = 24;
	unsigned seed = 20261120, round;

	srandom(seed);
	print_message("seed %u\n", seed);
	feed(f, good, len);
	assert_int_equal(f->started, 3);
	for (round = 0; round < 20000; round++) {
		unsigned changes = 1 + (unsigned)random() % 6;
		size_t cut = len;

		memcpy(bad, good, len);
		while (changes--)
			bad[preface + (size_t)random() % (len - preface)] =
				(uint8_t)random();
		if (random() % 4 == 0)
			cut = preface + (size_t)random() % (len - preface);
		feed(f, bad, cut);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(unary),
		T(unary_byte_by_byte),
		T(unary_empty_message),
		T(unary_of_the_largest_size),
		T(too_large_message),
		T(too_large_message_while_open),
		T(too_much_at_once),
		T(error_is_percent_encoded),
		T(unknown_method),
		T(unknown_long_method),
		T(wrong_content_type),
		T(accepted_content_types),
		T(get_is_refused),
		T(large_headers),
		T(compressed_message),
		T(incomplete_messages),
		T(two_messages),
		T(stream_in_batches),
		T(stream_that_fails_late),
		T(slow_client),
		T(smallest_window),
		T(windows_change),
		T(windows_of_others),
		T(request_beyond_the_window),
		T(cancelled_by_the_client),
		T(cancelled_in_the_request),
		T(connection_lost),
		T(deadline),
		T(deadline_behind_data),
		T(bad_timeouts),
		T(request_that_never_ends),
		T(headers_that_never_end),
		T(client_that_says_nothing),
		T(not_http2),
		T(oversized_frame),
		T(ping_is_answered),
		T(too_many_streams),
		T(ping_flood),
		T(graceful_stop),
		T(asked_to_leave),
		T(stop_before_hello),
		T(damaged_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
