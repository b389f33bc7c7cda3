/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls whose answer is lost with the snapshotter. The snapshotter here goes by
 * a script: what it is asked, and what it says or that it hangs up.
 */
#include <fcntl.h>
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
#include "driver/grpc/repeat.h"
#include "driver/ipc/internal.h"
#include "grpc_side.h"
#include "scratch.h"

struct line {
	const char *asked;  /* the method, without io.daxfs.Snapshots. */
	const char *answer; /* NULL: hang up */
};

#define FAIL(name)                                                    \
	"{\"error\":\"io.daxfs.Snapshots." name "\",\"parameters\":{" \
	"\"errno\":1,\"message\":\"said no\"}}"
#define DONE "{\"parameters\":{}}"
#define MOUNTS                                                        \
	"{\"parameters\":{\"mounts\":[{\"type\":\"bind\",\"source\":" \
	"\"/s\",\"options\":[\"rw\"]}]}}"
/* @ stands for a time after the call began, # for one before. */
#define INFO(kind, parent, time, labels)                             \
	"{\"parameters\":{\"info\":{\"name\":\"k\",\"kind\":\"" kind \
	"\",\"parent\":\"" parent "\",\"created_ns\":" time          \
	",\"updated_ns\":1,\"labels\":{" labels "}}}}"

struct fixture {
	char dir[64];
	char *path;
	int listener;
	pthread_t thread;
	const struct line *script;
	unsigned lines, at;
	char wrong[256]; /* what was asked against the script */
	struct grpc_budget budget;
	struct grpc_backend *backend;
	struct side side;
};

/* ---- The scripted snapshotter -------------------------------------------- */

static bool read_message(int fd, char *buf, size_t size)
{
	size_t n = 0;

	while (n < size && recv(fd, buf + n, 1, 0) == 1)
		if (!buf[n++])
			return true;
	return false;
}

static void check(struct fixture *f, const char *message, const char *asked)
{
	cleanup_free char *want =
		str_printf("{\"method\":\"io.daxfs.Snapshots.%s\",", asked);

	if (strncmp(message, want, strlen(want)) != 0 && !f->wrong[0])
		snprintf(f->wrong, sizeof(f->wrong), "%s, not %s", message,
			 asked);
}

static void say(int fd, const char *answer)
{
	int64_t now = grpc_repeat_clock();
	char buf[512], number[32];
	size_t n = 0;

	for (; *answer; answer++) {
		if (*answer != '@' && *answer != '#') {
			buf[n++] = *answer;
			continue;
		}
		snprintf(number, sizeof(number), "%lld",
			 (long long)(*answer == '@'
					     ? now
					     : now - 3600 * INT64_C(1000000000)));
		memcpy(buf + n, number, strlen(number));
		n += strlen(number);
	}
	buf[n++] = '\0';
	assert_int_equal(send(fd, buf, n, MSG_NOSIGNAL), n);
}

/* Until the listener is shut down. */
static void *play(void *arg)
{
	struct fixture *f = arg;
	char message[1024];
	int fd;

	while ((fd = accept(f->listener, NULL, NULL)) >= 0) {
		while (read_message(fd, message, sizeof(message))) {
			if (f->at == f->lines) {
				check(f, message, "nothing");
				break;
			}
			check(f, message, f->script[f->at].asked);
			if (!f->script[f->at].answer) {
				f->at++;
				break;
			}
			say(fd, f->script[f->at++].answer);
		}
		close(fd);
	}
	return NULL;
}

static void fixture_open(struct fixture *f)
{
	struct grpc_backend_options o = { .wait_ms = 5000,
					  .budget = &f->budget };

	assert_true(scratch_dir(f->dir, sizeof(f->dir), "grpc"));
	f->path = str_printf("%s/s", f->dir);
	f->listener = socket_listen(f->path, 0600, (uid_t)-1);
	assert_true(f->listener >= 0);
	assert_int_equal(fcntl(f->listener, F_SETFL, 0), 0); /* blocking */
	f->budget.limit = 1 << 20;
	o.path = f->path;
	assert_int_equal(grpc_backend_new(&o, &f->backend), 0);
	side_init(&f->side, f->backend, &f->budget);
	assert_int_equal(pthread_create(&f->thread, NULL, play, f), 0);
}

static void fixture_close(struct fixture *f)
{
	shutdown(f->listener, SHUT_RDWR);
	side_release(&f->side);
	grpc_backend_free(f->backend);
	pthread_join(f->thread, NULL);
	assert_int_equal(f->budget.used, 0);
	close(f->listener);
	unlink(f->path);
	rmdir(f->dir);
	free(f->path);
}

static const uint8_t key[] = { 0, 0, 0, 0, 3, 0x12, 1, 'k' };
/* key k, parent p, labels a=b and c= */
static const uint8_t prepare[] = { 0,    0,    0,    0,    22,   0x12, 1,
				   'k',  0x1a, 1,    'p',  0x22, 6,    0x0a,
				   1,    'a',  0x12, 1,    'b',  0x22, 6,
				   0x0a, 1,    'c',  0x12, 1,    'd' };
/* name n, key k */
static const uint8_t commit[] = { 0, 0, 0, 0, 6, 0x12, 1, 'n', 0x1a, 1, 'k' };

static void expect(const char *path, const uint8_t *body, size_t len,
		   const struct line *script, unsigned lines,
		   const char *status)
{
	struct fixture f = { .script = script, .lines = lines };
	struct client_call call;

	fixture_open(&f);
	side_submit(&f.side, path, body, len, &call);
	side_finish(&f.side, &call);
	fixture_close(&f);
	assert_string_equal(f.wrong, "");
	assert_int_equal(f.at, lines);
	assert_string_equal(call.status, status);
	if (str_eq(status, "6") || str_eq(status, "5"))
		assert_string_equal(call.message, "said no");
	client_call_release(&call);
}

#define EXPECT(path, body, status, ...)                                        \
	do {                                                                   \
		static const struct line script_[] = { __VA_ARGS__ };          \
		expect(path, body, sizeof(body), script_, ARRAY_SIZE(script_), \
		       status);                                                \
	} while (0)

/* ---- Tests --------------------------------------------------------------- */

static void nothing_lost(void **state)
{
	(void)state;
	EXPECT(S "Remove", key, "5", { "Remove", FAIL("NotFound") });
	EXPECT(S "Prepare", prepare, "6", { "Prepare", FAIL("AlreadyExists") });
	EXPECT(S "Commit", commit, "6", { "Commit", FAIL("AlreadyExists") });
}

static void remove_lost(void **state)
{
	(void)state;
	EXPECT(S "Remove", key, "0", { "Remove", NULL }, { "Remove", DONE });
	EXPECT(S "Remove", key, "0", { "Remove", NULL }, { "Remove", NULL },
	       { "Remove", FAIL("NotFound") });
	EXPECT(S "Remove", key, "9", { "Remove", NULL },
	       { "Remove", FAIL("FailedPrecondition") });
}

static void idempotent_lost(void **state)
{
	(void)state;
	EXPECT(S "Mounts", key, "0", { "Mounts", NULL }, { "Mounts", NULL },
	       { "Mounts", MOUNTS });
	EXPECT(S "Stat", key, "5", { "Stat", NULL },
	       { "Stat", FAIL("NotFound") });
}

#define LABELS "\"a\":\"b\",\"c\":\"d\""

static void prepare_lost(void **state)
{
	(void)state;
	EXPECT(S "Prepare", prepare, "0", { "Prepare", NULL },
	       { "Prepare", MOUNTS });
	EXPECT(S "Prepare", prepare, "0", { "Prepare", NULL },
	       { "Prepare", FAIL("AlreadyExists") },
	       { "Stat", INFO("active", "p", "@", LABELS ",\"more\":\"\"") },
	       { "Mounts", MOUNTS });
	EXPECT(S "View", prepare, "0", { "View", NULL },
	       { "View", FAIL("AlreadyExists") },
	       { "Stat", INFO("view", "p", "@", LABELS) },
	       { "Mounts", MOUNTS });
	/* once more lost while finding out */
	EXPECT(S "Prepare", prepare, "0", { "Prepare", NULL },
	       { "Prepare", FAIL("AlreadyExists") }, { "Stat", NULL },
	       { "Prepare", FAIL("AlreadyExists") },
	       { "Stat", INFO("active", "p", "@", LABELS) }, { "Mounts", NULL },
	       { "Prepare", FAIL("AlreadyExists") },
	       { "Stat", INFO("active", "p", "@", LABELS) },
	       { "Mounts", MOUNTS });
}

/* A snapshot of that name which another call has made. */
static void prepare_of_another(void **state)
{
	(void)state;
	EXPECT(S "Prepare", prepare, "6", { "Prepare", NULL },
	       { "Prepare", FAIL("AlreadyExists") },
	       { "Stat", INFO("active", "p", "#", LABELS) });
	EXPECT(S "Prepare", prepare, "6", { "Prepare", NULL },
	       { "Prepare", FAIL("AlreadyExists") },
	       { "Stat", INFO("view", "p", "@", LABELS) });
	EXPECT(S "Prepare", prepare, "6", { "Prepare", NULL },
	       { "Prepare", FAIL("AlreadyExists") },
	       { "Stat", INFO("active", "q", "@", LABELS) });
	EXPECT(S "Prepare", prepare, "6", { "Prepare", NULL },
	       { "Prepare", FAIL("AlreadyExists") },
	       { "Stat", INFO("active", "p", "@", "\"a\":\"b\"") });
	EXPECT(S "Prepare", prepare, "6", { "Prepare", NULL },
	       { "Prepare", FAIL("AlreadyExists") },
	       { "Stat", FAIL("NotFound") });
}

static void commit_lost(void **state)
{
	(void)state;
	EXPECT(S "Commit", commit, "0", { "Commit", NULL },
	       { "Commit", FAIL("AlreadyExists") },
	       { "Stat", INFO("committed", "p", "@", "") },
	       { "Stat", FAIL("NotFound") });
	EXPECT(S "Commit", commit, "0", { "Commit", NULL },
	       { "Commit", FAIL("NotFound") },
	       { "Stat", INFO("committed", "p", "@", "") },
	       { "Stat", FAIL("NotFound") });
}

static void commit_of_another(void **state)
{
	(void)state;
	EXPECT(S "Commit", commit, "6", { "Commit", NULL },
	       { "Commit", FAIL("AlreadyExists") },
	       { "Stat", INFO("committed", "p", "#", "") });
	EXPECT(S "Commit", commit, "6", { "Commit", NULL },
	       { "Commit", FAIL("AlreadyExists") },
	       { "Stat", INFO("committed", "p", "@", "") },
	       { "Stat", INFO("active", "p", "#", "") });
	EXPECT(S "Commit", commit, "5", { "Commit", NULL },
	       { "Commit", FAIL("NotFound") }, { "Stat", FAIL("NotFound") });
}

/* A call that always ends the snapshotter is not made for ever. */
static void always_lost(void **state)
{
	(void)state;
	_Static_assert(GRPC_ATTEMPTS_MAX == 5, "the lines below");
	EXPECT(S "Remove", key, "14", { "Remove", NULL }, { "Remove", NULL },
	       { "Remove", NULL }, { "Remove", NULL }, { "Remove", NULL });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_lost),
		cmocka_unit_test(remove_lost),
		cmocka_unit_test(idempotent_lost),
		cmocka_unit_test(prepare_lost),
		cmocka_unit_test(prepare_of_another),
		cmocka_unit_test(commit_lost),
		cmocka_unit_test(commit_of_another),
		cmocka_unit_test(always_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
