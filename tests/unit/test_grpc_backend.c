/* SPDX-License-Identifier: Apache-2.0 */
/* Calls from a gRPC client in memory to a Varlink server on a socket. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/common/util.h"
#include "driver/grpc/backend.h"
#include "driver/grpc/job.h"
#include "driver/grpc/method.h"
#include "driver/ipc/varlink.h"
#include "grpc_side.h"
#include "scratch.h"

/* ---- The other side: a snapshotter with few words ------------------------ */

static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static unsigned gate_waiting;
static bool gate_open;

/* "wait": until the gate opens. Other keys do not exist. */
static void serve_remove(struct varlink_call_ctx *ctx, json_object *params,
			 void *arg)
{
	const char *key;

	(void)arg;
	if (!varlink_get_string(ctx, params, "key", true, &key))
		return;
	if (!str_eq(key, "wait")) {
		varlink_fail(ctx, "NotFound", ENOENT, "snapshot %s: not found",
			     key);
		return;
	}
	pthread_mutex_lock(&gate_lock);
	gate_waiting++;
	pthread_cond_broadcast(&gate_moved);
	while (!gate_open)
		pthread_cond_wait(&gate_moved, &gate_lock);
	pthread_mutex_unlock(&gate_lock);
	varlink_reply(ctx, NULL);
}

static void serve_usage(struct varlink_call_ctx *ctx, json_object *params,
			void *arg)
{
	json_object *o = json_object_new_object();

	(void)params;
	(void)arg;
	json_object_object_add(o, "size", json_object_new_int64(4096));
	json_object_object_add(o, "inodes", json_object_new_int64(2));
	varlink_reply(ctx, o);
}

static json_object *batch(const char *name)
{
	json_object *list = json_object_new_array();
	json_object *info = json_object_new_object();
	json_object *o = json_object_new_object();

	json_object_object_add(info, "name", json_object_new_string(name));
	json_object_object_add(info, "kind", json_object_new_string("view"));
	json_object_object_add(info, "created_ns", json_object_new_int64(1));
	json_object_object_add(info, "updated_ns", json_object_new_int64(1));
	json_object_object_add(info, "labels", json_object_new_object());
	json_object_array_add(list, info);
	json_object_object_add(o, "infos", list);
	return o;
}

/* "filters" [] : two batches; ["flood"]: 64 of 256 KiB. */
static void serve_list(struct varlink_call_ctx *ctx, json_object *params,
		       void *arg)
{
	json_object *filters = NULL;
	char *big;
	int i;

	(void)arg;
	if (!varlink_get_array(ctx, params, "filters", false, &filters))
		return;
	if (!filters) {
		varlink_reply_more(ctx, batch("one"));
		varlink_reply(ctx, batch("two"));
		return;
	}
	big = malloc(256 * 1024 + 1);
	memset(big, 'n', 256 * 1024);
	big[256 * 1024] = '\0';
	for (i = 0; i < 64; i++)
		if (varlink_reply_more(ctx, batch(big)) < 0)
			break;
	free(big);
	varlink_reply(ctx, batch("last"));
}

static const struct varlink_method served[] = {
	{ "Remove", serve_remove },
	{ "Usage", serve_usage },
	{ "List", serve_list },
	{ 0 },
};
static const struct varlink_interface snapshots = {
	.name = "io.daxfs.Snapshots",
	.description = "interface io.daxfs.Snapshots",
	.methods = served,
};
static const struct varlink_interface *const interfaces[] = { &snapshots };

static void *serve(void *server)
{
	varlink_server_run(server);
	return NULL;
}

/* ---- Our side ------------------------------------------------------------ */

struct fixture {
	char dir[64];
	char *path;
	struct varlink_server *server;
	pthread_t thread;
	struct grpc_budget budget;
	struct grpc_backend *backend;
	struct side side, other;
};

static void open_backend(struct fixture *f, int64_t wait_ms)
{
	const struct grpc_backend_options o = { .path = f->path,
						.budget = &f->budget,
						.wait_ms = wait_ms };

	assert_int_equal(grpc_backend_new(&o, &f->backend), 0);
	side_init(&f->side, f->backend, &f->budget);
	side_init(&f->other, f->backend, &f->budget);
}

static void close_backend(struct fixture *f)
{
	side_release(&f->side);
	side_release(&f->other);
	grpc_backend_free(f->backend);
}

static void start_server(struct fixture *f)
{
	const struct varlink_server_options o = { .vendor = "v",
						  .product = "p",
						  .version = "1",
						  .url = "u",
						  .workers = 16,
						  .allow_uid = (uid_t)-1 };

	assert_int_equal(varlink_server_new(f->path, interfaces, 1, &o,
					    &f->server),
			 0);
	assert_int_equal(pthread_create(&f->thread, NULL, serve, f->server), 0);
}

static void open_gate(bool open)
{
	pthread_mutex_lock(&gate_lock);
	gate_open = open;
	if (!open)
		gate_waiting = 0;
	pthread_cond_broadcast(&gate_moved);
	pthread_mutex_unlock(&gate_lock);
}

static void wait_at_gate(unsigned n)
{
	pthread_mutex_lock(&gate_lock);
	while (gate_waiting < n)
		pthread_cond_wait(&gate_moved, &gate_lock);
	pthread_mutex_unlock(&gate_lock);
}

static void stop_server(struct fixture *f)
{
	if (!f->server)
		return;
	open_gate(true);
	varlink_server_stop(f->server);
	pthread_join(f->thread, NULL);
	varlink_server_free(steal_ptr(&f->server));
	open_gate(false);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	if (!scratch_dir(f->dir, sizeof(f->dir), "grpc"))
		return -1;
	f->path = str_printf("%s/s", f->dir);
	f->budget.limit = 64u << 20;
	open_gate(false);
	start_server(f);
	open_backend(f, 10000);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close_backend(f);
	stop_server(f);
	assert_int_equal(f->budget.used, 0);
	rmdir(f->dir);
	free(f->path);
	free(f);
	return 0;
}

static void finish(struct fixture *f, struct client_call *call)
{
	side_finish(&f->side, call);
}

static void submit(struct fixture *f, const char *path, const void *body,
		   size_t len, struct client_call *call)
{
	side_submit(&f->side, path, body, len, call);
}

static const uint8_t key_x[] = { 0, 0, 0, 0, 3, 0x12, 1, 'x' };
static const uint8_t key_wait[] = { 0,    0,   0,   0,   6,  0x12,
				    0x04, 'w', 'a', 'i', 't' };
static const uint8_t empty[] = { 0, 0, 0, 0, 0 };

static void assert_usage(struct fixture *f)
{
	static const uint8_t want[] = { 0,    0,    0,    0,    5,
					0x08, 0x80, 0x20, 0x10, 0x02 };
	struct client_call call;

	submit(f, S "Usage", key_x, sizeof(key_x), &call);
	finish(f, &call);
	assert_string_equal(call.message, "");
	assert_string_equal(call.status, "0");
	assert_int_equal(call.len, sizeof(want));
	assert_memory_equal(call.data, want, sizeof(want));
	client_call_release(&call);
}

static void assert_not_found(struct fixture *f)
{
	struct client_call call;

	submit(f, S "Remove", key_x, sizeof(key_x), &call);
	finish(f, &call);
	assert_string_equal(call.status, "5");
	assert_string_equal(call.message, "snapshot x: not found");
	client_call_release(&call);
}

static void answers(void **state)
{
	struct fixture *f = *state;

	assert_usage(f);
	assert_not_found(f);
	assert_usage(f);
}

static void unknown_to_the_snapshotter(void **state)
{
	struct fixture *f = *state;
	struct client_call call;

	submit(f, S "Cleanup", empty, sizeof(empty), &call);
	finish(f, &call);
	assert_string_equal(call.status, "12");
	client_call_release(&call);
}

static void list_in_batches(void **state)
{
	struct fixture *f = *state;
	struct client_call call;

	submit(f, S "List", empty, sizeof(empty), &call);
	finish(f, &call);
	assert_string_equal(call.status, "0");
	assert_int_equal(call.headers, 2);
	assert_memory_equal(call.data + 9, "one", 3);
	assert_int_equal(call.len % 2, 0);
	assert_memory_equal(call.data + call.len / 2 + 9, "two", 3);
	client_call_release(&call);
}

static void large_list(void **state)
{
	static const uint8_t body[] = { 0, 0,   0,   0,   7,   0x12,
					5, 'f', 'l', 'o', 'o', 'd' };
	struct fixture *f = *state;
	struct client_call call;

	submit(f, S "List", body, sizeof(body), &call);
	finish(f, &call);
	assert_string_equal(call.status, "0");
	assert_true(call.len > 64u * 256 * 1024);
	client_call_release(&call);
}

static void pump(void *owner)
{
	client_pump(&((struct side *)owner)->c);
}

/* Until the streams' workers wait for a client that does not read. */
static void fill_queues(struct fixture *f)
{
	struct pollfd p = { .fd = grpc_backend_fd(f->backend),
			    .events = POLLIN };

	while (poll(&p, 1, 500) == 1)
		grpc_backend_process(f->backend, pump);
}

/* One client's streams leave workers for the streams of others. */
static void large_list_never_read(void **state)
{
	static const uint8_t body[] = { 0, 0,   0,   0,   7,   0x12,
					5, 'f', 'l', 'o', 'o', 'd' };
	struct fixture *f = *state;
	struct client_call call[GRPC_STREAM_WORKERS_MAX + 2], list, usage;
	size_t i;

	f->side.c.no_window = true;
	for (i = 0; i < ARRAY_SIZE(call); i++)
		submit(f, S "List", body, sizeof(body), &call[i]);
	fill_queues(f);
	side_submit(&f->other, S "List", empty, sizeof(empty), &list);
	side_finish(&f->other, &list);
	assert_string_equal(list.status, "0");
	side_submit(&f->other, S "Usage", key_x, sizeof(key_x), &usage);
	side_finish(&f->other, &usage);
	assert_string_equal(usage.status, "0");
	client_call_release(&list);
	client_call_release(&usage);
	for (i = 0; i < ARRAY_SIZE(call); i++) {
		assert_false(call[i].closed);
		side_cancel(&f->side, &call[i]);
		client_call_release(&call[i]);
	}
}

/* Workers that wait for a client which does not read are let go. */
static void large_list_cancelled(void **state)
{
	static const uint8_t body[] = { 0, 0,   0,   0,   7,   0x12,
					5, 'f', 'l', 'o', 'o', 'd' };
	struct fixture *f = *state;
	struct client_call call[GRPC_STREAM_WORKERS_MAX + 2];
	size_t i;

	f->side.c.no_window = true;
	for (i = 0; i < ARRAY_SIZE(call); i++)
		submit(f, S "List", body, sizeof(body), &call[i]);
	fill_queues(f);
	for (i = 0; i < ARRAY_SIZE(call); i++) {
		assert_false(call[i].closed);
		side_cancel(&f->side, &call[i]);
	}
	for (i = 0; i < ARRAY_SIZE(call); i++)
		client_call_release(&call[i]);
}

static void many_at_once(void **state)
{
	struct fixture *f = *state;
	struct client_call call[60];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(call); i++)
		submit(f, S "Remove", key_wait, sizeof(key_wait), &call[i]);
	wait_at_gate(GRPC_WORKERS_MAX);
	open_gate(true);
	for (i = 0; i < ARRAY_SIZE(call); i++) {
		finish(f, &call[i]);
		assert_string_equal(call[i].status, "0");
		client_call_release(&call[i]);
	}
}

/*
 * The workers are free while what they have sent is still being done: the gate
 * stays shut.
 */
static void cancelled_while_running(void **state)
{
	struct fixture *f = *state;
	struct client_call call[GRPC_WORKERS_MAX + 4];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(call); i++)
		submit(f, S "Remove", key_wait, sizeof(key_wait), &call[i]);
	wait_at_gate(GRPC_WORKERS_MAX);
	for (i = ARRAY_SIZE(call); i--;) { /* queued ones first */
		side_cancel(&f->side, &call[i]);
		assert_true(call[i].closed);
	}
	assert_usage(f);
	assert_not_found(f);
	pthread_mutex_lock(&gate_lock);
	assert_int_equal(gate_waiting, GRPC_WORKERS_MAX); /* not the queued */
	pthread_mutex_unlock(&gate_lock);
	open_gate(true);
	assert_not_found(f);
}

static void deadline_while_running(void **state)
{
	struct fixture *f = *state;
	const struct client_request r = { .path = S "Remove",
					  .timeout = "50m",
					  .body = key_wait,
					  .body_len = sizeof(key_wait) };
	struct client_call call[GRPC_WORKERS_MAX];
	size_t i;

	f->side.c.now = grpc_now_ms();
	for (i = 0; i < ARRAY_SIZE(call); i++)
		client_submit(&f->side.c, &r, &call[i]);
	client_pump(&f->side.c);
	/* Whoever is first, the loop or the worker, says the same. */
	grpc_conn_expire(f->side.c.conn, f->side.c.now + 50);
	for (i = 0; i < ARRAY_SIZE(call); i++) {
		finish(f, &call[i]);
		assert_string_equal(call[i].status, "4");
		client_call_release(&call[i]);
	}
	assert_usage(f);
}

static void snapshotter_restarts(void **state)
{
	struct fixture *f = *state;
	int i;

	for (i = 0; i < 3; i++) {
		assert_usage(f);
		assert_not_found(f);
		stop_server(f);
		start_server(f);
	}
	assert_not_found(f); /* what must not be repeated works at once, too */
}

/* More calls than workers wait for it. */
static void snapshotter_comes_back(void **state)
{
	struct fixture *f = *state;
	struct client_call call[GRPC_WORKERS_MAX + 4];
	size_t i;

	assert_usage(f);
	stop_server(f);
	for (i = 0; i < ARRAY_SIZE(call); i++)
		submit(f, S "Remove", key_x, sizeof(key_x), &call[i]);
	usleep(100000); /* they try in vain */
	for (i = 0; i < ARRAY_SIZE(call); i++)
		assert_false(call[i].closed);
	start_server(f);
	for (i = 0; i < ARRAY_SIZE(call); i++) {
		finish(f, &call[i]);
		assert_string_equal(call[i].message, "snapshot x: not found");
		client_call_release(&call[i]);
	}
}

static void cancelled_while_waiting(void **state)
{
	struct fixture *f = *state;
	struct client_call call[GRPC_WORKERS_MAX];
	size_t i;

	close_backend(f);
	open_backend(f, 3600 * 1000);
	stop_server(f);
	for (i = 0; i < ARRAY_SIZE(call); i++)
		submit(f, S "Usage", key_wait, sizeof(key_wait), &call[i]);
	usleep(50000);
	for (i = 0; i < ARRAY_SIZE(call); i++)
		side_cancel(&f->side, &call[i]);
	start_server(f);
	assert_usage(f);
}

static void snapshotter_is_not_there(void **state)
{
	struct fixture *f = *state;
	struct client_call call;

	close_backend(f);
	open_backend(f, 50);
	stop_server(f);
	submit(f, S "Usage", key_x, sizeof(key_x), &call);
	finish(f, &call);
	assert_string_equal(call.status, "14");
	assert_non_null(strstr(call.message, f->path));
	assert_non_null(strstr(call.message, "is daxfs-snapshotter running?"));
	client_call_release(&call);
	start_server(f);
	assert_usage(f);
}

/* ---- Health -------------------------------------------------------------- */

static const uint8_t serving[] = { 0, 0, 0, 0, 2, 8, 1 };
static const uint8_t not_serving[] = { 0, 0, 0, 0, 2, 8, 2 };
static const uint8_t service_x[] = { 0, 0, 0, 0, 3, 0x0a, 1, 'x' };

static void assert_health(struct fixture *f, const uint8_t *want)
{
	struct client_call call;

	submit(f, H "Check", empty, sizeof(empty), &call);
	finish(f, &call);
	assert_string_equal(call.status, "0");
	assert_int_equal(call.len, sizeof(serving));
	assert_memory_equal(call.data, want, sizeof(serving));
	client_call_release(&call);
}

/* It says so at once, whatever waits for the snapshotter. */
static void health_check(void **state)
{
	struct fixture *f = *state;
	struct client_call call[GRPC_WORKERS_MAX + 1];
	size_t i;

	assert_health(f, serving);
	for (i = 0; i < ARRAY_SIZE(call); i++)
		submit(f, S "Remove", key_wait, sizeof(key_wait), &call[i]);
	assert_health(f, serving);
	open_gate(true);
	for (i = 0; i < ARRAY_SIZE(call); i++) {
		finish(f, &call[i]);
		client_call_release(&call[i]);
	}
	stop_server(f);
	submit(f, S "Usage", key_x, sizeof(key_x), &call[0]);
	assert_health(f, not_serving);
	start_server(f);
	assert_health(f, serving);
	finish(f, &call[0]);
	client_call_release(&call[0]);
}

static void health_of_services(void **state)
{
	static const char name[] = "containerd.services.snapshots.v1.Snapshots";
	uint8_t body[sizeof(name) + 6] = {
		0, 0, 0, 0, sizeof(name) + 1, 0x0a, sizeof(name) - 1
	};
	struct fixture *f = *state;
	struct client_call call;

	memcpy(body + 7, name, sizeof(name) - 1);
	submit(f, H "Check", body, sizeof(body), &call);
	finish(f, &call);
	assert_string_equal(call.status, "0");
	client_call_release(&call);
	submit(f, H "Check", service_x, sizeof(service_x), &call);
	finish(f, &call);
	assert_string_equal(call.status, "5");
	assert_string_equal(call.message, "unknown service");
	client_call_release(&call);
	submit(f, H "Check", serving, sizeof(serving) - 1, &call);
	finish(f, &call);
	assert_string_equal(call.status, "13"); /* no protobuf */
	client_call_release(&call);
}

static void health_watch(void **state)
{
	static const uint8_t unknown[] = { 0, 0, 0, 0, 2, 8, 3 };
	struct fixture *f = *state;
	struct client_call call, other;
	size_t n = sizeof(serving);

	submit(f, H "Watch", empty, sizeof(empty), &call);
	submit(f, H "Watch", service_x, sizeof(service_x), &other);
	side_await(&f->side, &call, n);
	side_await(&f->side, &other, n);
	stop_server(f);
	side_await(&f->side, &call, 2 * n);
	start_server(f);
	side_await(&f->side, &call, 3 * n);
	assert_false(call.closed);
	assert_false(other.closed);
	assert_int_equal(call.len, 3 * n);
	assert_memory_equal(call.data, serving, n);
	assert_memory_equal(call.data + n, not_serving, n);
	assert_memory_equal(call.data + 2 * n, serving, n);
	assert_int_equal(other.len, n);
	assert_memory_equal(other.data, unknown, n);
	side_cancel(&f->side, &call);
	client_call_release(&call);
	client_call_release(&other); /* left open for the teardown */
	assert_health(f, serving);
}

/* Watches do not keep a server that is to stop. */
static void health_watch_ends(void **state)
{
	struct fixture *f = *state;
	struct client_call call, late;

	submit(f, H "Watch", empty, sizeof(empty), &call);
	side_await(&f->side, &call, sizeof(serving));
	grpc_backend_leave(f->backend);
	finish(f, &call);
	assert_string_equal(call.status, "14");
	assert_string_equal(call.message, "the server is stopping");
	submit(f, H "Watch", empty, sizeof(empty), &late);
	finish(f, &late);
	assert_string_equal(late.status, "14");
	assert_health(f, serving);
	client_call_release(&call);
	client_call_release(&late);
}

static void malformed_request(void **state)
{
	static const uint8_t body[] = { 0, 0, 0, 0, 2, 0x12, 9 };
	struct fixture *f = *state;
	struct client_call call;

	submit(f, S "Stat", body, sizeof(body), &call);
	finish(f, &call);
	assert_string_equal(call.status, "13");
	client_call_release(&call);
}

static void stopped_with_calls_running(void **state)
{
	struct fixture *f = *state;
	struct client_call call;

	submit(f, S "Remove", key_wait, sizeof(key_wait), &call);
	wait_at_gate(1);
	/* teardown drops the connection, then the backend */
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(answers),
		T(unknown_to_the_snapshotter),
		T(list_in_batches),
		T(large_list),
		T(large_list_never_read),
		T(large_list_cancelled),
		T(many_at_once),
		T(cancelled_while_running),
		T(deadline_while_running),
		T(snapshotter_restarts),
		T(snapshotter_comes_back),
		T(cancelled_while_waiting),
		T(snapshotter_is_not_there),
		T(health_check),
		T(health_of_services),
		T(health_watch),
		T(health_watch_ends),
		T(malformed_request),
		T(stopped_with_calls_running),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
