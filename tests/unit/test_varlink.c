/* SPDX-License-Identifier: Apache-2.0 */
/* The Varlink room over real sockets: calls, order, limits, bad peers. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/common/log.h"
#include "driver/common/util.h"
#include "driver/ipc/internal.h"
#include "scratch.h"

struct fixture {
	char dir[64], path[96];
	struct varlink_server *server;
	pthread_t thread;
};

/* ---- A service to call --------------------------------------------------- */

static void echo(struct varlink_call_ctx *ctx, json_object *params, void *arg)
{
	const char *text = "default";
	json_object *reply;

	(void)arg;
	if (!varlink_get_string(ctx, params, "text", false, &text))
		return;
	reply = json_object_new_object();
	json_object_object_add(reply, "text", json_object_new_string(text));
	varlink_reply(ctx, reply);
}

static void need(struct varlink_call_ctx *ctx, json_object *params, void *arg)
{
	json_object *list = NULL, *map = NULL;
	const char *name;
	uint64_t number = 7;
	bool flag = true;

	(void)arg;
	if (!varlink_get_string(ctx, params, "name", true, &name) ||
	    !varlink_get_bool(ctx, params, "flag", false, &flag) ||
	    !varlink_get_u64(ctx, params, "number", false, &number) ||
	    !varlink_get_array(ctx, params, "list", false, &list) ||
	    !varlink_get_object(ctx, params, "map", false, &map))
		return;
	varlink_reply(ctx, NULL);
}

static void fails(struct varlink_call_ctx *ctx, json_object *params, void *arg)
{
	(void)params;
	(void)arg;
	varlink_fail(ctx, "NotFound", ENOENT, "no thing called '%s'", "x");
}

static void wait_ms(struct varlink_call_ctx *ctx, json_object *params,
		    void *arg)
{
	const struct timespec t = { .tv_nsec = 300000000 };

	(void)params;
	(void)arg;
	nanosleep(&t, NULL);
	varlink_reply(ctx, NULL);
}

/* The id under which the method's lines would be logged. */
static void request(struct varlink_call_ctx *ctx, json_object *params,
		    void *arg)
{
	json_object *reply = json_object_new_object();

	(void)params;
	(void)arg;
	json_object_object_add(reply, "id",
			       json_object_new_string(log_request()));
	varlink_reply(ctx, reply);
}

static void many(struct varlink_call_ctx *ctx, json_object *params, void *arg)
{
	(void)params;
	(void)arg;
	for (int i = 0; i < 1000; i++) {
		json_object *o = json_object_new_object();

		json_object_object_add(o, "i", json_object_new_int(i));
		if (varlink_reply_more(ctx, o) < 0)
			break;
	}
	varlink_reply(ctx, NULL);
}

static char big_text[4u << 20];

static void flood(struct varlink_call_ctx *ctx, json_object *params, void *arg)
{
	int *sent = arg;

	(void)params;
	*sent = 0;
	for (int i = 0; i < 100; i++) {
		json_object *o = json_object_new_object();

		json_object_object_add(o, "t",
				       json_object_new_string_len(big_text,
								  sizeof(big_text)));
		if (varlink_reply_more(ctx, o) < 0)
			break;
		*sent = i + 1;
	}
	varlink_reply(ctx, NULL);
}

static void huge(struct varlink_call_ctx *ctx, json_object *params, void *arg)
{
	json_object *o = json_object_new_object();
	json_object *a = json_object_new_array();

	(void)params;
	(void)arg;
	for (int i = 0; i < 5; i++)
		json_object_array_add(a,
				      json_object_new_string_len(big_text,
								 sizeof(big_text)));
	json_object_object_add(o, "a", a);
	varlink_reply(ctx, o);
}

/* What a name on media may be. */
static void bytes(struct varlink_call_ctx *ctx, json_object *params, void *arg)
{
	json_object *o = json_object_new_object();

	(void)params;
	(void)arg;
	json_object_object_add(o, "text",
			       json_object_new_string("a\xff\xc3\xa9\xe2\x82"));
	varlink_reply(ctx, o);
}

static void forget(struct varlink_call_ctx *ctx, json_object *params, void *arg)
{
	(void)ctx;
	(void)params;
	(void)arg;
}

static int flood_sent;

static const struct varlink_method methods[] = {
	{ "Bytes", bytes }, { "Echo", echo },    { "Need", need },
	{ "Fail", fails },  { "Wait", wait_ms }, { "Request", request },
	{ "Many", many },   { "Flood", flood },  { "Forget", forget },
	{ "Huge", huge },   { NULL, NULL },
};

static const struct varlink_interface test_interface = { "io.test",
							 "interface io.test\n",
							 methods, &flood_sent };
static const struct varlink_interface *const interfaces[] = { &test_interface };

/* ---- Fixture ------------------------------------------------------------- */

static void *serve(void *arg)
{
	struct fixture *f = arg;

	return (void *)(intptr_t)varlink_server_run(f->server);
}

static void start(struct fixture *f, unsigned workers, unsigned connections)
{
	const struct varlink_server_options o = {
		.vendor = "v",
		.product = "p",
		.version = "1",
		.url = "u",
		.workers = workers,
		.max_connections = connections,
		.socket_mode = 0660,
		.allow_uid = (uid_t)-1,
	};

	assert_int_equal(varlink_server_new(f->path, interfaces, 1, &o,
					    &f->server),
			 0);
	assert_int_equal(pthread_create(&f->thread, NULL, serve, f), 0);
}

static void stop(struct fixture *f)
{
	void *rc;

	varlink_server_stop(f->server);
	assert_int_equal(pthread_join(f->thread, &rc), 0);
	assert_null(rc);
	varlink_server_free(f->server);
	f->server = NULL;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!scratch_dir(f->dir, sizeof(f->dir), "varlink"))
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/s.sock", f->dir);
	memset(big_text, 'x', sizeof(big_text));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int rc = rmdir(f->dir); /* fails when a socket was left */

	free(f);
	return rc;
}

static struct varlink_client *client(struct fixture *f)
{
	struct varlink_client *c;

	assert_int_equal(varlink_connect(f->path, &c), 0);
	return c;
}

static int raw(struct fixture *f)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = 10 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(sa.sun_path, f->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

/* Is the other end closed, without an answer before? */
static bool closed(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, 0);

	return n == 0 || (n < 0 && errno == ECONNRESET);
}

static void send_all(int fd, const void *p, size_t n)
{
	const char *s = p;

	while (n) {
		ssize_t k = send(fd, s, n, MSG_NOSIGNAL);

		if (k < 0)
			return; /* the server gave up on us: closed() sees it */
		s += k;
		n -= (size_t)k;
	}
}

/* One message into buf, as a string. */
static void read_message(int fd, char *buf, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		assert_int_equal(recv(fd, buf + i, 1, 0), 1);
		if (!buf[i])
			return;
	}
	fail_msg("no end of message");
}

static void assert_alive(struct fixture *f)
{
	struct varlink_client *c = client(f);
	json_object *reply;

	assert_int_equal(varlink_call(c, "io.test.Echo", NULL, 5000, &reply,
				      NULL),
			 0);
	json_object_put(reply);
	varlink_close(c);
}

static const char *get(json_object *o, const char *key)
{
	return json_object_get_string(json_object_object_get(o, key));
}

/* ---- Calls --------------------------------------------------------------- */

static void test_call(void **state)
{
	struct fixture *f = *state;
	struct varlink_client *c;
	struct varlink_error e;
	json_object *reply,
		*params = json_tokener_parse("{\"text\":\"h\\u00e9\\n\"}");
	struct stat st;

	start(f, 2, 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	c = client(f);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(varlink_call(c, "io.test.Echo", params, 5000,
					      &reply, &e),
				 0);
		assert_string_equal(get(reply, "text"), "h\xc3\xa9\n");
		json_object_put(reply);
	}
	assert_int_equal(varlink_call(c, "io.test.Bytes", NULL, 5000, &reply,
				      &e),
			 0);
	assert_string_equal(get(reply, "text"),
			    "a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd");
	json_object_put(reply);
	assert_int_equal(varlink_call(c, "io.test.Fail", NULL, 5000, &reply,
				      &e),
			 -EREMOTEIO);
	assert_string_equal(e.name, "io.test.NotFound");
	assert_string_equal(e.message, "no thing called 'x'");
	assert_int_equal(e.err, ENOENT);
	assert_int_equal(varlink_call(c, "io.test.Forget", NULL, 5000, &reply,
				      &e),
			 -EREMOTEIO);
	assert_string_equal(e.name, "io.test.Failed");
	assert_int_equal(varlink_call(c, "io.test.Huge", NULL, 20000, &reply,
				      &e),
			 -EREMOTEIO);
	assert_int_equal(e.err, EMSGSIZE);
	json_object_put(params);
	varlink_close(c);
	stop(f);
}

static void check_error(struct varlink_client *c, const char *method,
			const char *json, const char *error, const char *detail)
{
	json_object *params = json ? json_tokener_parse(json) : NULL, *reply;
	struct varlink_error e;

	assert_int_equal(varlink_call(c, method, params, 5000, &reply, &e),
			 -EREMOTEIO);
	assert_string_equal(e.name, error);
	assert_non_null(strstr(e.message, detail));
	json_object_put(params);
}

static void test_errors(void **state)
{
	struct fixture *f = *state;
	struct varlink_client *c;

	start(f, 1, 0);
	c = client(f);
	check_error(c, "io.test.None", NULL,
		    "org.varlink.service.MethodNotFound", "io.test.None");
	check_error(c, "io.none.Echo", NULL,
		    "org.varlink.service.InterfaceNotFound", "io.none");
	check_error(c, "io.test.Need", NULL,
		    "org.varlink.service.InvalidParameter", "name");
	check_error(c, "io.test.Need", "{\"name\":1}",
		    "org.varlink.service.InvalidParameter", "name");
	check_error(c, "io.test.Need", "{\"name\":null}",
		    "org.varlink.service.InvalidParameter", "name");
	check_error(c, "io.test.Need", "{\"name\":\"a\\u0000b\"}",
		    "org.varlink.service.InvalidParameter", "name");
	check_error(c, "io.test.Need", "{\"name\":\"a\",\"flag\":1}",
		    "org.varlink.service.InvalidParameter", "flag");
	check_error(c, "io.test.Need", "{\"name\":\"a\",\"number\":-1}",
		    "org.varlink.service.InvalidParameter", "number");
	check_error(c, "io.test.Need", "{\"name\":\"a\",\"number\":1.5}",
		    "org.varlink.service.InvalidParameter", "number");
	check_error(c, "io.test.Need", "{\"name\":\"a\",\"number\":\"1\"}",
		    "org.varlink.service.InvalidParameter", "number");
	check_error(c, "io.test.Need", "{\"name\":\"a\",\"list\":{}}",
		    "org.varlink.service.InvalidParameter", "list");
	check_error(c, "io.test.Need", "{\"name\":\"a\",\"map\":[]}",
		    "org.varlink.service.InvalidParameter", "map");
	check_error(c, "org.varlink.service.GetInterfaceDescription",
		    "{\"interface\":\"io.x\"}",
		    "org.varlink.service.InterfaceNotFound", "io.x");
	varlink_close(c);
	stop(f);
}

static void test_service(void **state)
{
	struct fixture *f = *state;
	struct varlink_client *c;
	json_object *reply, *params;

	start(f, 0, 0);
	c = client(f);
	assert_int_equal(varlink_call(c, "org.varlink.service.GetInfo", NULL,
				      5000, &reply, NULL),
			 0);
	assert_string_equal(get(reply, "product"), "p");
	assert_string_equal(get(reply, "interfaces"),
			    "[ \"org.varlink.service\", \"io.test\" ]");
	json_object_put(reply);
	params = json_tokener_parse("{\"interface\":\"io.test\"}");
	assert_int_equal(varlink_call(c,
				      "org.varlink.service.GetInterfaceDescription",
				      params, 5000, &reply, NULL),
			 0);
	assert_string_equal(get(reply, "description"), "interface io.test\n");
	json_object_put(reply);
	json_object_put(params);
	varlink_close(c);
	stop(f);
}

static int count(void *arg, json_object *params)
{
	int *n = arg;
	json_object *i;

	if (json_object_object_get_ex(params, "i", &i)) {
		assert_int_equal(json_object_get_int(i), *n);
		(*n)++;
	}
	return 0;
}

static int refuse(void *arg, json_object *params)
{
	(void)arg;
	(void)params;
	return -ECANCELED;
}

static void test_more(void **state)
{
	struct fixture *f = *state;
	struct varlink_client *c;
	json_object *reply;
	int n = 0;

	start(f, 2, 0);
	c = client(f);
	assert_int_equal(varlink_call_more(c, "io.test.Many", NULL, 5000, count,
					   &n, NULL),
			 0);
	assert_int_equal(n, 1000);
	/* without "more" there is just the end */
	assert_int_equal(varlink_call(c, "io.test.Many", NULL, 5000, &reply,
				      NULL),
			 0);
	json_object_put(reply);
	assert_int_equal(varlink_call_more(c, "io.test.Many", NULL, 5000,
					   refuse, &n, NULL),
			 -ECANCELED);
	assert_int_equal(varlink_call(c, "io.test.Echo", NULL, 5000, &reply,
				      NULL),
			 -ECANCELED);
	varlink_close(c);
	assert_alive(f);
	stop(f);
}

static void test_local(void **state)
{
	struct varlink_error e;
	json_object *reply, *params = json_tokener_parse("{\"text\":\"a\"}");

	(void)state;
	assert_int_equal(varlink_call_local(&test_interface, "Echo", params,
					    &reply, &e),
			 0);
	assert_string_equal(get(reply, "text"), "a");
	json_object_put(reply);
	assert_int_equal(varlink_call_local(&test_interface, "io.test.Many",
					    NULL, &reply, &e),
			 0);
	json_object_put(reply);
	assert_int_equal(varlink_call_local(&test_interface, "Fail", NULL,
					    &reply, &e),
			 -EREMOTEIO);
	assert_string_equal(e.name, "io.test.NotFound");
	assert_int_equal(varlink_call_local(&test_interface, "No", NULL, &reply,
					    &e),
			 -EREMOTEIO);
	assert_string_equal(e.name, "org.varlink.service.MethodNotFound");
	json_object_put(params);
}

/* ---- Order and parallelism ----------------------------------------------- */

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void test_order(void **state)
{
	static const char calls[] =
		"{\"method\":\"io.test.Wait\"}\0"
		"{\"method\":\"io.test.Echo\",\"parameters\":{\"text\":\"1\"}}\0"
		"{\"method\":\"io.test.Echo\",\"oneway\":true}\0"
		"{\"method\":\"io.test.Echo\",\"parameters\":{\"text\":\"2\"}}";
	struct fixture *f = *state;
	char buf[256];
	int fd;

	start(f, 4, 0);
	fd = raw(f);
	for (size_t i = 0; i < sizeof(calls); i++) /* in the smallest pieces */
		send_all(fd, calls + i, 1);
	read_message(fd, buf, sizeof(buf));
	assert_string_equal(buf, "{\"parameters\":{}}");
	read_message(fd, buf, sizeof(buf));
	assert_string_equal(buf, "{\"parameters\":{\"text\":\"1\"}}");
	read_message(fd, buf, sizeof(buf));
	assert_string_equal(buf, "{\"parameters\":{\"text\":\"2\"}}");
	close(fd);
	stop(f);
}

static void test_half_closed(void **state)
{
	static const char call[] = "{\"method\":\"io.test.Wait\"}";
	struct fixture *f = *state;
	char buf[64];
	int fd;

	start(f, 1, 0);
	fd = raw(f);
	send_all(fd, call, sizeof(call));
	shutdown(fd, SHUT_WR);
	read_message(fd, buf, sizeof(buf));
	assert_string_equal(buf, "{\"parameters\":{}}");
	assert_true(closed(fd));
	close(fd);
	stop(f);
}

static void test_parallel(void **state)
{
	static const char call[] = "{\"method\":\"io.test.Wait\"}";
	struct fixture *f = *state;
	int64_t begin = now_ms();
	char buf[64];
	int fd[4];

	start(f, 4, 0);
	for (int i = 0; i < 4; i++) {
		fd[i] = raw(f);
		send_all(fd[i], call, sizeof(call));
	}
	for (int i = 0; i < 4; i++) {
		read_message(fd[i], buf, sizeof(buf));
		close(fd[i]);
	}
	assert_in_range(now_ms() - begin, 290, 900); /* not 4 × 300 */
	stop(f);
}

/* A stop lets the running call answer. */
static void test_stop_running(void **state)
{
	static const char call[] = "{\"method\":\"io.test.Wait\"}";
	const struct timespec t = { .tv_nsec = 100000000 };
	struct fixture *f = *state;
	char buf[64];
	int fd;

	start(f, 1, 0);
	fd = raw(f);
	send_all(fd, call, sizeof(call));
	nanosleep(&t, NULL);
	stop(f);
	read_message(fd, buf, sizeof(buf));
	assert_string_equal(buf, "{\"parameters\":{}}");
	close(fd);
}

/* ---- Bad peers ----------------------------------------------------------- */

static void test_malformed(void **state)
{
	static const char *const bad[] = {
		"",
		"x",
		"[]",
		"{}",
		"null",
		"1",
		"{\"method\":1}",
		"{\"method\":\"nodot\"}",
		"{\"method\":\"io.test.Echo\"",
		"{\"method\":\"io.test.Echo\"} x",
		"{\"method\":\"io.test.Echo\"}{}",
		"{'method':'io.test.Echo'}",
		"{\"method\":\"io.test.Echo\",\"parameters\":[]}",
		"{\"method\":\"io.test.Echo\",\"more\":1}",
		"{\"method\":\"io.test.Echo\",\"parameters\":{\"text\":\"\xff\"}}",
	};
	struct fixture *f = *state;

	start(f, 2, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		int fd = raw(f);

		send_all(fd, bad[i], strlen(bad[i]) + 1);
		if (!closed(fd))
			fail_msg("accepted: %s", bad[i]);
		close(fd);
	}
	assert_alive(f);
	stop(f);
}

/* Calls with bytes changed, cut and doubled: answered or closed, no more. */
static void test_mutated(void **state)
{
	static const char good[] =
		"{\"method\":\"io.test.Need\",\"parameters\":{\"name\":\"n\","
		"\"list\":[1,{\"a\":null}],\"map\":{\"k\":1e3}},\"more\":true}";
	int rounds = getenv("LONG") ? 200000 : 5000;
	unsigned seed = (unsigned)time(NULL);
	struct fixture *f = *state;
	int fd;

	print_message("seed %u\n", seed);
	srand(seed);
	start(f, 2, 0);
	fd = raw(f);
	for (int i = 0; i < rounds; i++) {
		char msg[sizeof(good)], reply[4096];
		size_t len = sizeof(good);

		memcpy(msg, good, len);
		for (int n = rand() % 4; n >= 0; n--)
			msg[(size_t)rand() % len] =
				rand() % 2 ? (char)rand()
					   : good[(size_t)rand() % len];
		if (rand() % 4 == 0)
			len = 1 + (size_t)rand() % len;
		send_all(fd, msg, len);
		while (recv(fd, reply, sizeof(reply), MSG_DONTWAIT) > 0)
			;
		if (rand() % 2 == 0) {
			close(fd);
			fd = raw(f);
		}
	}
	close(fd);
	assert_alive(f);
	stop(f);
}

static void send_nested(int fd, unsigned depth)
{
	char buf[8192];
	int n = snprintf(buf, sizeof(buf),
			 "{\"method\":\"io.test.Echo\",\"parameters\":{\"x\":");

	/* the message and its parameters are two levels */
	for (unsigned i = 2; i < depth; i++)
		buf[n++] = '[';
	for (unsigned i = 2; i < depth; i++)
		buf[n++] = ']';
	memcpy(buf + n, "}}", 3);
	if (depth == 2)
		return;
	send_all(fd, buf, (size_t)n + 3);
}

static void test_nesting(void **state)
{
	struct fixture *f = *state;
	char buf[256];
	int fd;

	start(f, 1, 0);
	fd = raw(f);
	send_nested(fd, VARLINK_DEPTH_MAX - 2);
	read_message(fd, buf, sizeof(buf));
	assert_non_null(strstr(buf, "default"));
	send_nested(fd, VARLINK_DEPTH_MAX + 1);
	assert_true(closed(fd));
	close(fd);
	fd = raw(f);
	send_nested(fd, 3000);
	assert_true(closed(fd));
	close(fd);
	assert_alive(f);
	stop(f);
}

/* Small messages that would be large in memory; text counts for nothing. */
static void test_amplified(void **state)
{
	static const struct {
		const char *value;
		unsigned n;
		int rc;
	} cases[] = {
		{ "{}", VARLINK_CONTAINERS_MAX - 2, 0 },
		{ "{}", VARLINK_CONTAINERS_MAX, -EBADMSG },
		{ "[]", VARLINK_CONTAINERS_MAX, -EBADMSG },
		{ "1", VARLINK_VALUES_MAX, 0 },
		{ "1", VARLINK_VALUES_MAX + 2, -EBADMSG },
		{ "\"{\\\"{,{\"", VARLINK_CONTAINERS_MAX, 0 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vbuf b = { 0 };
		size_t len = strlen(cases[i].value);
		json_object *o = NULL;

		assert_int_equal(vbuf_append(&b, "{\"a\":[", 6, SIZE_MAX), 0);
		for (unsigned k = 0; k < cases[i].n; k++)
			if (vbuf_append(&b, cases[i].value, len, SIZE_MAX) ||
			    vbuf_append(&b, ",", k + 1 < cases[i].n, SIZE_MAX))
				fail();
		assert_int_equal(vbuf_append(&b, "]}", 2, SIZE_MAX), 0);
		assert_int_equal(message_parse(b.data, b.len, &o), cases[i].rc);
		json_object_put(o);
		vbuf_free(&b);
	}
}

static void test_oversize(void **state)
{
	struct fixture *f = *state;
	int fd;

	start(f, 1, 0);
	fd = raw(f);
	for (size_t n = 0; n <= VARLINK_MESSAGE_MAX; n += sizeof(big_text))
		send_all(fd, big_text, sizeof(big_text));
	send_all(fd, big_text, sizeof(big_text));
	assert_true(closed(fd));
	close(fd);
	assert_alive(f);
	stop(f);
}

/* A message of nearly the largest size is answered. */
static void test_large(void **state)
{
	static const char head[] =
		"{\"method\":\"io.test.Echo\",\"parameters\":{\"pad\":\"";
	struct fixture *f = *state;
	char buf[256];
	int fd;

	start(f, 1, 0);
	fd = raw(f);
	send_all(fd, head, sizeof(head) - 1);
	for (int i = 0; i < 3; i++)
		send_all(fd, big_text, sizeof(big_text));
	send_all(fd, "\"}}", 4);
	read_message(fd, buf, sizeof(buf));
	assert_non_null(strstr(buf, "default"));
	close(fd);
	stop(f);
}

/* Who never reads neither stops the others nor makes the server grow. */
static void test_slow_reader(void **state)
{
	static const char call[] =
		"{\"method\":\"io.test.Flood\",\"more\":true}";
	struct fixture *f = *state;
	int64_t begin = now_ms();
	int fd;

	start(f, 2, 0);
	fd = raw(f);
	send_all(fd, call, sizeof(call));
	for (int i = 0; i < 20; i++)
		assert_alive(f);
	assert_true(now_ms() - begin < 4000);
	stop(f); /* waits for the call to be given up */
	assert_in_range(flood_sent, 4, 9);
	close(fd);
}

static void test_gone_client(void **state)
{
	static const char call[] =
		"{\"method\":\"io.test.Flood\",\"more\":true}";
	struct fixture *f = *state;

	start(f, 1, 0);
	for (int i = 0; i < 5; i++) {
		int fd = raw(f);

		send_all(fd, call, sizeof(call));
		close(fd);
	}
	assert_alive(f);
	stop(f);
}

static void test_connections(void **state)
{
	struct fixture *f = *state;
	struct varlink_client *c[3];
	json_object *reply;

	start(f, 1, 2);
	for (int i = 0; i < 2; i++) {
		c[i] = client(f);
		assert_int_equal(varlink_call(c[i], "io.test.Echo", NULL, 5000,
					      &reply, NULL),
				 0);
		json_object_put(reply);
	}
	c[2] = client(f);
	assert_true(varlink_call(c[2], "io.test.Echo", NULL, 5000, &reply,
				 NULL) < 0);
	varlink_close(c[2]);
	varlink_close(c[0]);
	usleep(100000);
	assert_alive(f);
	varlink_close(c[1]);
	stop(f);
}

/* Another user is refused even where the file mode lets it in. */
static void test_peer(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	start(f, 1, 0);
	assert_int_equal(chmod(f->dir, 0755), 0);
	assert_int_equal(chmod(f->path, 0666), 0);
	pid = fork();
	if (pid == 0) {
		/* a folder above may be closed to others: go in before */
		strcpy(f->path, "s.sock");
		if (chdir(f->dir) < 0 || setresuid(65534, 65534, 65534) < 0)
			_exit(2);
		_exit(closed(raw(f)) ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_alive(f);
	stop(f);
}

/* ---- The socket's path --------------------------------------------------- */

static void test_address(void **state)
{
	const struct varlink_server_options o = { .allow_uid = (uid_t)-1 };
	struct fixture *f = *state;
	struct varlink_server *s;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	start(f, 0, 0);
	assert_int_equal(varlink_server_new(f->path, interfaces, 1, &o, &s),
			 -EADDRINUSE);
	assert_alive(f);
	stop(f);
	assert_int_equal(access(f->path, F_OK), -1);

	/* a stale one is replaced */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	strcpy(sa.sun_path, f->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd);
	start(f, 0, 0);
	assert_alive(f);
	stop(f);
}

static void test_long_path(void **state)
{
	struct fixture *f = *state;
	const struct varlink_server_options o = { .allow_uid = (uid_t)-1 };
	struct fixture far = { 0 };
	struct varlink_client *c;
	json_object *reply;
	char dir[256], path[300];

	snprintf(dir, sizeof(dir), "%s/%0150d", f->dir, 1);
	snprintf(path, sizeof(path), "%s/s", dir);
	assert_int_equal(mkdir(dir, 0755), 0);
	assert_int_equal(varlink_server_new(path, interfaces, 1, &o,
					    &far.server),
			 0);
	assert_int_equal(pthread_create(&far.thread, NULL, serve, &far), 0);
	assert_int_equal(varlink_connect(path, &c), 0);
	assert_int_equal(varlink_call(c, "io.test.Echo", NULL, 5000, &reply,
				      NULL),
			 0);
	json_object_put(reply);
	varlink_close(c);
	stop(&far);
	assert_int_equal(rmdir(dir), 0);
}

static void test_timeout(void **state)
{
	struct fixture *f = *state;
	struct varlink_client *c;
	struct varlink_error e;
	json_object *reply;

	assert_true(varlink_connect(f->path, &c) == -ENOENT);
	start(f, 1, 0);
	c = client(f);
	assert_int_equal(varlink_call(c, "io.test.Wait", NULL, 50, &reply, &e),
			 -ETIMEDOUT);
	assert_int_equal(e.err, ETIMEDOUT);
	assert_string_equal(e.name, "");
	/* a late reply must not answer the next call */
	assert_int_equal(varlink_call(c, "io.test.Echo", NULL, 5000, &reply,
				      &e),
			 -ETIMEDOUT);
	varlink_close(c);
	stop(f);
}

/* ---- Watching -------------------------------------------------------------- */

struct watch {
	pthread_mutex_t lock;
	char text[512];
	uint64_t longest;
};

static void watch_call(void *arg, const char *method, const char *error,
		       uint64_t ns)
{
	struct watch *w = arg;
	size_t n;

	pthread_mutex_lock(&w->lock);
	n = strlen(w->text);
	snprintf(w->text + n, sizeof(w->text) - n, "%s:%s ", method, error);
	if (ns > w->longest)
		w->longest = ns;
	pthread_mutex_unlock(&w->lock);
}

/* Who counts calls is told of each, but not of every name a peer thinks of. */
static void test_observe(void **state)
{
	static const char *const methods_called[] = {
		"io.test.Echo",  "io.test.Fail",
		"io.test.Need",  "io.test.Forget",
		"io.test.Huge",  "io.test.None",
		"io.none.Thing", "org.varlink.service.GetInfo",
		"io.test.Wait",
	};
	struct watch w = { .lock = PTHREAD_MUTEX_INITIALIZER };
	const struct varlink_server_options o = { .vendor = "v",
						  .product = "p",
						  .version = "1",
						  .url = "u",
						  .workers = 1,
						  .allow_uid = (uid_t)-1,
						  .observe = watch_call,
						  .observe_arg = &w };
	struct fixture *f = *state;
	struct varlink_client *c;

	assert_int_equal(varlink_server_new(f->path, interfaces, 1, &o,
					    &f->server),
			 0);
	assert_int_equal(pthread_create(&f->thread, NULL, serve, f), 0);
	c = client(f);
	for (size_t i = 0; i < ARRAY_SIZE(methods_called); i++) {
		json_object *reply = NULL;

		varlink_call(c, methods_called[i], NULL, 60000, &reply, NULL);
		json_object_put(reply);
	}
	varlink_close(c);
	stop(f);
	assert_string_equal(w.text,
			    "test.Echo: test.Fail:NotFound "
			    "test.Need:InvalidParameter test.Forget:Failed "
			    "test.Huge:Failed unknown:MethodNotFound "
			    "unknown:InterfaceNotFound service.GetInfo: "
			    "test.Wait: ");
	assert_true(w.longest >= 300000000);
}

/* Its caller frees it. */
static char *request_seen(struct fixture *f, const char *message)
{
	char text[512] = "";
	json_object *reply, *o;
	int fd = raw(f);
	char *id;

	send_all(fd, message, strlen(message) + 1);
	for (size_t n = 0; n == 0 || text[n - 1]; n++)
		assert_int_equal(recv(fd, text + n, 1, 0), 1);
	reply = json_tokener_parse(text);
	assert_true(json_object_object_get_ex(reply, "parameters", &o));
	assert_true(json_object_object_get_ex(o, "id", &o));
	id = strdup(json_object_get_string(o));
	json_object_put(reply);
	close(fd);
	return id;
}

/* Ids of a harmless form are taken over, else the call gets a new one. */
static void test_request(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = {
		"\"\"",
		"\"a b\"",
		"\"a\\nb\"",
		"\"a\\u0000b\"",
		"7",
		"null",
		"{}",
		"\"01234567890123456789012345678901234567890123456789"
		"012345678901234\"",
	};
	struct varlink_client *c;
	struct varlink_error e;
	json_object *reply, *o;
	char message[256];
	char *id, *last = NULL;

	start(f, 2, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(message, sizeof(message),
			 "{\"method\":\"io.test.Request\",\"request\":%s}",
			 bad[i]);
		id = request_seen(f, message);
		assert_true(strlen(id) > 8);
		assert_null(strchr(id, ' '));
		if (last)
			assert_string_not_equal(id, last);
		free(last);
		last = id;
	}
	free(last);
	c = client(f);
	assert_true(log_request_set("ours.1"));
	assert_int_equal(varlink_call(c, "io.test.Request", NULL, 5000, &reply,
				      &e),
			 0);
	log_request_set(NULL);
	json_object_object_get_ex(reply, "id", &o);
	assert_string_equal(json_object_get_string(o), "ours.1");
	json_object_put(reply);
	varlink_close(c);
	stop(f);
}

static int listening(const char *path, int type)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	strcpy(sa.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

/* A socket that others made, and keep. */
static void test_adopted(void **state)
{
	struct fixture *f = *state;
	struct varlink_server_options o = { .allow_uid = (uid_t)-1 };
	char other[160], alias[128];
	int fd = listening(f->path, SOCK_STREAM), wrong;

	snprintf(other, sizeof(other), "%s/other", f->dir);
	snprintf(alias, sizeof(alias), "%s/alias", f->dir);
	assert_int_equal(socket_adopt(fd, f->path), -ENOTSOCK);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(socket_adopt(fd, other), -ENOTSOCK);
	assert_int_equal(socket_adopt(STDIN_FILENO, f->path), -ENOTSOCK);
	wrong = listening(other, SOCK_DGRAM);
	assert_int_equal(socket_adopt(wrong, other), -ENOTSOCK);
	close(wrong);
	unlink(other);
	assert_int_equal(symlink(f->dir, alias), 0);
	snprintf(other, sizeof(other), "%s/s.sock", alias);
	assert_int_equal(socket_adopt(fd, other), 0);
	unlink(alias);

	/* it answers, and the path stays when the server ends */
	o.listen_fd = dup(fd);
	assert_int_equal(varlink_server_new(f->path, interfaces, 1, &o,
					    &f->server),
			 0);
	assert_int_equal(pthread_create(&f->thread, NULL, serve, f), 0);
	assert_alive(f);
	stop(f);
	assert_int_equal(access(f->path, F_OK), 0);
	close(fd);
	unlink(f->path);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_call),        T(test_errors),      T(test_service),
		T(test_more),        T(test_local),       T(test_order),
		T(test_half_closed), T(test_parallel),    T(test_stop_running),
		T(test_malformed),   T(test_mutated),     T(test_nesting),
		T(test_amplified),   T(test_oversize),    T(test_large),
		T(test_slow_reader), T(test_gone_client), T(test_connections),
		T(test_peer),        T(test_address),     T(test_long_path),
		T(test_timeout),     T(test_observe),     T(test_request),
		T(test_adopted),
	};

	log_init("test_varlink", LOG_ERROR, LOG_TEXT);
	return cmocka_run_group_tests_name("varlink", tests, NULL, NULL);
}
