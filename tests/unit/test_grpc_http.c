/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics and /healthz, in front of a snapshotter with two methods. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/common/util.h"
#include "driver/grpc/http.h"
#include "driver/grpc/stats.h"
#include "driver/ipc/varlink.h"
#include "scratch.h"

static char *text; /* what GetMetrics says, NULL: an error */

static void get_metrics(struct varlink_call_ctx *ctx, json_object *params,
			void *arg)
{
	json_object *o = json_object_new_object();

	(void)params;
	(void)arg;
	if (!text) {
		json_object_put(o);
		varlink_fail(ctx, "Unavailable", 1, "not today");
		return;
	}
	json_object_object_add(o, "text", json_object_new_string(text));
	varlink_reply(ctx, o);
}

static const struct varlink_method methods[] = {
	{ "GetMetrics", get_metrics },
	{ 0 },
};
static const struct varlink_interface monitor = {
	.name = "io.daxfs.Monitor",
	.description = "interface io.daxfs.Monitor",
	.methods = methods,
};
static const struct varlink_interface *const interfaces[] = { &monitor };

struct fixture {
	char dir[64];
	char *path;
	struct varlink_server *server;
	pthread_t thread;
	struct sockaddr_in address;
	struct grpc_http *http;
};

static void *serve(void *server)
{
	varlink_server_run(server);
	return NULL;
}

static void start_server(struct fixture *f)
{
	const struct varlink_server_options o = { .vendor = "v",
						  .product = "p",
						  .version = "1",
						  .url = "u",
						  .workers = 1,
						  .allow_uid = (uid_t)-1 };

	assert_int_equal(varlink_server_new(f->path, interfaces, 1, &o,
					    &f->server),
			 0);
	assert_int_equal(pthread_create(&f->thread, NULL, serve, f->server), 0);
}

static void stop_server(struct fixture *f)
{
	if (!f->server)
		return;
	varlink_server_stop(f->server);
	pthread_join(f->thread, NULL);
	varlink_server_free(steal_ptr(&f->server));
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	socklen_t len = sizeof(f->address);
	int fd;

	if (!f || !scratch_dir(f->dir, sizeof(f->dir), "http"))
		return -1;
	f->path = str_printf("%s/s", f->dir);
	start_server(f);
	fd = grpc_http_listen("127.0.0.1:0");
	assert_true(fd >= 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&f->address, &len),
			 0);
	f->http = grpc_http_start(fd, f->path);
	assert_non_null(f->http);
	text = NULL;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	grpc_http_stop(f->http);
	stop_server(f);
	rmdir(f->dir);
	free(f->path);
	free(f);
	return 0;
}

static int dial(struct fixture *f)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&f->address,
				 sizeof(f->address)),
			 0);
	return fd;
}

static char *page; /* of the last request, with its headers */

static void request(struct fixture *f, const char *line)
{
	cleanup_close int fd = dial(f);
	size_t n = 0, cap = 8 << 20;
	ssize_t got;

	free(page);
	page = malloc(cap);
	assert_true(
		dprintf(fd,
			"%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			line) > 0);
	while ((got = read(fd, page + n, cap - 1 - n)) > 0)
		n += (size_t)got;
	assert_int_equal(got, 0);
	page[n] = '\0';
}

static void assert_page(struct fixture *f, const char *line, const char *status,
			const char *has)
{
	request(f, line);
	assert_memory_equal(page, status, strlen(status));
	if (!strstr(page, has))
		fail_msg("no \"%s\" in: %s", has, page);
}

#define OK "HTTP/1.1 200 "

static void with_the_snapshotters(void **state)
{
	struct fixture *f = *state;

	grpc_stats_call_began();
	grpc_stats_call_ended("/a.B/Prepare", GRPC_ALREADY_EXISTS, 1000);
	text = "daxfs_snapshotter_x 5";
	assert_page(f, "GET /metrics", OK, "\r\n\r\n# HELP daxfs_grpc_call");
	assert_non_null(strstr(page, "version=0.0.4"));
	assert_non_null(strstr(page, "\ndaxfs_grpc_call_seconds_count{method="
				     "\"Prepare\",code=\"AlreadyExists\"} "));
	assert_non_null(strstr(page, "\ndaxfs_grpc_calls 0\n"));
	assert_non_null(strstr(page, "\ndaxfs_up 1\ndaxfs_snapshotter_x 5\n"));
	assert_string_equal(strstr(page, "_x 5"), "_x 5\n");
}

static void without_the_snapshotter(void **state)
{
	struct fixture *f = *state;

	assert_page(f, "GET /metrics", OK, "\ndaxfs_up 0\n"); /* an error */
	stop_server(f);
	assert_page(f, "GET /metrics", OK, "\ndaxfs_up 0\n");
	start_server(f);
	text = "";
	assert_page(f, "GET /metrics", OK, "\ndaxfs_up 1\n");
}

static void much_text(void **state)
{
	struct fixture *f = *state;
	size_t n = 5 << 20;
	char *big = malloc(n + 1);

	memset(big, 'x', n);
	big[n] = '\0';
	text = big;
	assert_page(f, "GET /metrics", OK, "\ndaxfs_up 1\nxxx");
	assert_true(strlen(strstr(page, "\nxxx")) == n + 2);
	text = NULL;
	free(big);
}

static void health(void **state)
{
	struct fixture *f = *state;

	assert_page(f, "GET /healthz", OK, "\r\n\r\nok\n");
	stop_server(f);
	assert_page(f, "GET /healthz", "HTTP/1.1 503 ", "cannot reach");
	assert_non_null(strstr(page, f->path));
	start_server(f);
	assert_page(f, "GET /healthz", OK, "\r\n\r\nok\n");
}

static void other_requests(void **state)
{
	struct fixture *f = *state;

	assert_page(f, "GET /", "HTTP/1.1 404 ", "/metrics");
	assert_page(f, "GET /metrics/x", "HTTP/1.1 404 ", "");
	assert_page(f, "POST /metrics", "HTTP/1.1 405 ", "Allow: GET");
	assert_page(f, "HEAD /metrics", "HTTP/1.1 405 ", "");
	assert_page(f, "DELETE /healthz", "HTTP/1.1 405 ", "");
}

/* It is refused while it is still on its way, which may be cut then. */
static void large_request(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *line = malloc(90000);
	cleanup_close int fd = dial(f);
	char got[11] = "";

	memset(line, 'x', 90000);
	memcpy(line, "GET /", 5);
	send(fd, line, 90000, MSG_NOSIGNAL);
	shutdown(fd, SHUT_WR);
	if (recv(fd, got, 10, MSG_WAITALL) > 0)
		assert_string_equal(got, "HTTP/1.1 4");
	assert_page(f, "GET /healthz", OK, "ok");
}

/* More of them than connections that are served; each sends a little. */
static void slow_clients(void **state)
{
	struct fixture *f = *state;
	int fds[GRPC_HTTP_CONNECTIONS_MAX + 8];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = dial(f);
		assert_int_equal(write(fds[i], "GET /metr", i % 10),
				 (ssize_t)(i % 10));
	}
	assert_page(f, "GET /healthz", OK, "ok"); /* once their time is over */
	for (i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

static void addresses(void **state)
{
	static const char *const bad[] = {
		"",           "9768",        ":9768",       "127.0.0.1",
		"127.0.0.1:", "localhost:1", "::1:9768",    "[::1]",
		"[]:1",       "127.0.0.1:x", "1.2.3.4.5:1", "127.0.0.1:99999",
	};
	int first, second;
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	char again[64];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		if (grpc_http_listen(bad[i]) >= 0)
			fail_msg("accepted: %s", bad[i]);
	first = grpc_http_listen("127.0.0.1:0");
	assert_true(first >= 0);
	assert_int_equal(getsockname(first, (struct sockaddr *)&a, &len), 0);
	snprintf(again, sizeof(again), "127.0.0.1:%u", ntohs(a.sin_port));
	second = grpc_http_listen(again);
	assert_int_equal(second, -1);
	close(first);
	second = grpc_http_listen("[::1]:0");
	if (second >= 0) /* where there is IPv6 */
		close(second);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(with_the_snapshotters),
		T(without_the_snapshotter),
		T(much_text),
		T(health),
		T(other_requests),
		T(large_request),
		T(slow_clients),
		cmocka_unit_test(addresses),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);

	free(page);
	return rc;
}
