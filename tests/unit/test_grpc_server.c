/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's socket: what it takes over, what it refuses, how it ends. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/common/util.h"
#include "driver/grpc/peer.h"
#include "driver/grpc/server.h"
#include "scratch.h"

struct fixture {
	char dir[64], path[96], none[96];
	pid_t pid;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	if (!scratch_dir(f->dir, sizeof(f->dir), "grpc"))
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/grpc.sock", f->dir);
	snprintf(f->none, sizeof(f->none), "%s/none", f->dir);
	*state = f;
	return 0;
}

static int stop(struct fixture *f, int sig)
{
	int status = -1;

	if (f->pid > 0) {
		kill(f->pid, sig);
		waitpid(f->pid, &status, 0);
	}
	f->pid = 0;
	return status;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int rc;

	stop(f, SIGKILL);
	unlink(f->path);
	rc = rmdir(f->dir); /* fails when something was left behind */
	free(f);
	return rc;
}

/* Run the server in a process of its own; its exit status is 0 or 1. */
static pid_t run(struct fixture *f)
{
	const struct grpc_server_options o = { .address = f->path,
					       .snapshotter = f->none,
					       .mode = 0640,
					       .stop_ms = 10000 };
	sigset_t set;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid)
		return pid;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	_exit(grpc_server_run(&o) ? 1 : 0);
}

static int dial(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void start(struct fixture *f)
{
	int i, fd = -1;

	f->pid = run(f);
	for (i = 0; i < 1000 && fd < 0; i++) {
		fd = dial(f->path);
		if (fd < 0)
			usleep(10000);
	}
	assert_true(fd >= 0);
	close(fd);
}

static void socket_while_it_serves(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int status;

	start(f);
	assert_int_equal(lstat(f->path, &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0640);
	status = stop(f, SIGTERM);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	/* It cannot remove files any more, but nobody answers there. */
	assert_int_equal(lstat(f->path, &st), 0);
	assert_int_equal(dial(f->path), -1);
	assert_int_equal(errno, ECONNREFUSED);
}

static void stale_socket_is_replaced(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	start(f);
	stop(f, SIGKILL);
	assert_int_equal(lstat(f->path, &st), 0);
	start(f);
	assert_int_equal(stop(f, SIGINT), 0);
}

static void used_socket_is_refused(void **state)
{
	struct fixture *f = *state;
	int status, fd;
	pid_t second;

	start(f);
	second = run(f);
	assert_int_equal(waitpid(second, &status, 0), second);
	assert_int_equal(WEXITSTATUS(status), 1);
	fd = dial(f->path); /* the first goes on */
	assert_true(fd >= 0);
	close(fd);
}

static void other_files_are_kept(void **state)
{
	struct fixture *f = *state;
	FILE *file = fopen(f->path, "w");
	struct stat st;
	pid_t pid;
	int status;

	assert_non_null(file);
	fclose(file);
	pid = run(f);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 1);
	assert_int_equal(lstat(f->path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
}

/* A successor's socket is not ours to remove. */
static void foreign_socket_is_kept(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	FILE *file;

	start(f);
	assert_int_equal(unlink(f->path), 0);
	file = fopen(f->path, "w");
	assert_non_null(file);
	fclose(file);
	assert_int_equal(stop(f, SIGTERM), 0);
	assert_int_equal(lstat(f->path, &st), 0);
}

static void reads_end(int fd)
{
	char buf[256];
	ssize_t n;

	do
		n = read(fd, buf, sizeof(buf));
	while (n > 0);
	assert_true(n == 0 || errno == ECONNRESET);
	close(fd);
}

static void add_peer(struct peers *p, int *end, int64_t now)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
				    fds),
			 0);
	peers_add(p, fds[0], now);
	*end = fds[1];
}

/* Who was silent the longest is asked first, and nobody too soon. */
static void idle_ones_make_room(void **state)
{
	struct grpc_budget budget = { .limit = 1 << 20 };
	struct peers p;
	int epoll = epoll_create1(EPOLL_CLOEXEC), ends[3];

	(void)state;
	peers_init(&p, epoll, NULL, &budget);
	add_peer(&p, &ends[0], 5000);
	add_peer(&p, &ends[1], 4000);
	add_peer(&p, &ends[2], 6000);
	assert_false(peers_make_room(&p, 4500));
	assert_true(peers_make_room(&p, 5500));
	reads_end(ends[1]);
	assert_false(peers_make_room(&p, 5600));
	assert_true(peers_make_room(&p, 9000));
	reads_end(ends[0]);
	assert_int_equal(p.count, 1);
	peers_close_all(&p);
	close(ends[2]);
	close(epoll);
}

static unsigned count_open(const int *fds, size_t n)
{
	struct pollfd p = { .events = POLLHUP };
	unsigned open = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		p.fd = fds[i];
		p.revents = 0;
		assert_true(poll(&p, 1, 0) >= 0);
		open += !(p.revents & POLLHUP);
	}
	return open;
}

/* Refused, or in the place of another; never more than that. */
static void too_many_connections(void **state)
{
	struct fixture *f = *state;
	int fds[2 * GRPC_CONNECTIONS_MAX], extra, i;

	start(f);
	for (i = 0; i < (int)ARRAY_SIZE(fds); i++) {
		fds[i] = dial(f->path);
		assert_true(fds[i] >= 0);
	}
	for (i = 0; i < 1000; i++) {
		if (count_open(fds, ARRAY_SIZE(fds)) == GRPC_CONNECTIONS_MAX)
			break;
		usleep(10000);
	}
	assert_true(i < 1000);
	for (i = 0; i < (int)ARRAY_SIZE(fds); i++)
		close(fds[i]);
	extra = dial(f->path);
	assert_true(extra >= 0);
	assert_int_equal(stop(f, SIGTERM), 0); /* idle peers do not delay it */
	reads_end(extra);
}

static void garbage_ends_its_connection(void **state)
{
	static const char text[] = "GET / HTTP/1.0\r\nHost: x\r\n\r\n";
	struct fixture *f = *state;
	int fd;

	start(f);
	fd = dial(f->path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	reads_end(fd);
	assert_int_equal(stop(f, SIGTERM), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(socket_while_it_serves), T(stale_socket_is_replaced),
		T(used_socket_is_refused), T(other_files_are_kept),
		T(foreign_socket_is_kept), T(too_many_connections),
		T(idle_ones_make_room),    T(garbage_ends_its_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
