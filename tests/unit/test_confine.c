/* SPDX-License-Identifier: Apache-2.0 */
/* What a confined process can do no more: each case in a child of its own. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/common/confine.h"
#include "driver/common/util.h"

static const char *const nothing[] = { NULL };
static const struct confine_rule no_rules[] = { { NULL, 0, 0, 0, 0 } };

static struct confine plain(enum confine_denied denied)
{
	return (struct confine){ .uid = (uid_t)-1,
				 .calls = nothing,
				 .rules = no_rules,
				 .denied = denied };
}

static char output[4096]; /* of the last child */

/* The status of a child that confines itself and runs fn. */
static int run(const struct confine *c, int (*fn)(void))
{
	struct confine_error e;
	int fds[2], status;
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	fflush(NULL);
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		dup2(fds[1], 2);
		if (confine_apply(c, &e) == 0)
			_exit(fn());
		dprintf(2, "%s", e.text);
		_exit(99);
	}
	close(fds[1]);
	while (n < sizeof(output) - 1 &&
	       (got = read(fds[0], output + n, sizeof(output) - 1 - n)) > 0)
		n += (size_t)got;
	output[n] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 99)
		fail_msg("%s", output);
	return status;
}

static void assert_exit(int status, int want)
{
	if (!WIFEXITED(status))
		fail_msg("signal %d: %s", WTERMSIG(status), output);
	assert_int_equal(WEXITSTATUS(status), want);
}

static int open_file(void)
{
	int fd = open("/", O_RDONLY | O_CLOEXEC);

	return fd >= 0 ? 0 : errno;
}

static int open_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	return fd >= 0 ? 0 : errno;
}

static int start_process(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid > 0 ? 0 : errno;
}

/* A call that no table has. */
static int swap(void)
{
	return syscall(SYS_swapoff, "") < 0 ? errno : 0;
}

static void kill_ends_the_process(void **state)
{
	int (*const forbidden[])(void) = { open_file, open_socket,
					   start_process, swap };
	const struct confine c = plain(CONFINE_KILL);
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(forbidden); i++) {
		int status = run(&c, forbidden[i]);

		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGSYS);
		assert_non_null(strstr(output, "forbidden system call"));
	}
	run(&c, swap);
	assert_non_null(strstr(output, "number="));
}

static void enosys_is_an_error(void **state)
{
	const struct confine c = plain(CONFINE_ENOSYS);

	(void)state;
	assert_exit(run(&c, swap), ENOSYS);
	assert_exit(run(&c, open_file), ENOSYS);
}

static int other_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd >= 0 ? 0 : errno;
}

static void calls_and_rules(void **state)
{
	static const char *const calls[] = { "open", "openat", "no_such_call",
					     NULL };
	static const struct confine_rule rules[] = {
		{ "socket", 0, UINT64_MAX, AF_UNIX, 0 },
		{ "swapoff", 0, 0, 0, EUCLEAN },
		{ "no_such_call", 0, 0, 0, EPERM },
		{ NULL, 0, 0, 0, 0 },
	};
	struct confine c = plain(CONFINE_KILL);

	(void)state;
	c.calls = calls;
	c.rules = rules;
	assert_exit(run(&c, open_file), 0);
	assert_exit(run(&c, open_socket), 0);
	assert_exit(run(&c, swap), EUCLEAN);
	assert_true(WIFSIGNALED(run(&c, other_socket)));
}

/* ---- Threads ------------------------------------------------------------- */

static int gate[2];

static void *open_later(void *arg)
{
	char c;

	(void)arg;
	assert_int_equal(read(gate[0], &c, 1), 1);
	_exit(open_file());
}

/* One that runs already when the process is confined. */
static void threads_are_confined(void **state)
{
	const struct confine c = plain(CONFINE_ENOSYS);
	struct confine_error e;
	pthread_t thread;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(gate), 0);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		if (pthread_create(&thread, NULL, open_later, NULL) ||
		    confine_apply(&c, &e) || write(gate[1], "x", 1) != 1)
			_exit(99);
		for (;;)
			sleep(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_exit(status, ENOSYS);
	close(gate[0]);
	close(gate[1]);
}

/* ---- Users and capabilities ---------------------------------------------- */

static int who(void)
{
	gid_t groups[64];
	uid_t r, e, s;

	if (getresuid(&r, &e, &s) < 0)
		return errno;
	dprintf(2, "%u %u %u %u %d", r, e, s, getegid(), getgroups(64, groups));
	return setresuid(0, 0, 0) < 0 ? 0 : 1;
}

static void becomes_a_user(void **state)
{
	static const char *const calls[] = { "getresuid", "getgroups",
					     "setresuid", NULL };
	struct confine c = plain(CONFINE_KILL);

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(confine_find_user("no-such-user", &c.uid, &c.gid),
			 -ENOENT);
	assert_int_equal(confine_find_user("nobody", &c.uid, &c.gid), 0);
	c.calls = calls;
	assert_exit(run(&c, who), 0);
	assert_string_equal(output, "65534 65534 65534 65534 0");
}

static int show_caps(void)
{
	const cap_value_t all[] = { CAP_CHOWN, CAP_SYS_ADMIN, CAP_KILL };
	cap_flag_value_t v[2];
	cap_t have = cap_get_proc();
	size_t i;

	for (i = 0; i < ARRAY_SIZE(all); i++) {
		cap_get_flag(have, all[i], CAP_EFFECTIVE, &v[0]);
		cap_get_flag(have, all[i], CAP_PERMITTED, &v[1]);
		dprintf(2, "%d%d%d ", v[0], v[1], cap_get_bound(all[i]));
	}
	dprintf(2, "%d", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	cap_free(have);
	return 0;
}

static void keeps_some_capabilities(void **state)
{
	static const char *const calls[] = { "capget", "prctl", NULL };
	static const cap_value_t kept[] = { CAP_CHOWN, CAP_KILL };
	struct confine c = plain(CONFINE_KILL);

	(void)state;
	if (geteuid() != 0)
		skip();
	c.calls = calls;
	assert_exit(run(&c, show_caps), 0);
	assert_string_equal(output, "000 000 000 1");
	c.caps = kept;
	c.n_caps = ARRAY_SIZE(kept);
	assert_exit(run(&c, show_caps), 0);
	assert_string_equal(output, "111 000 111 1");
}

static int show_limits(void)
{
	struct rlimit files, core;

	getrlimit(RLIMIT_NOFILE, &files);
	getrlimit(RLIMIT_CORE, &core);
	dprintf(2, "%llu %llu %d", (unsigned long long)files.rlim_max,
		(unsigned long long)core.rlim_max,
		prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
	return 0;
}

static void limits(void **state)
{
	static const char *const calls[] = { "prctl", NULL };
	struct confine c = plain(CONFINE_KILL);

	(void)state;
	c.calls = calls;
	c.files = 77;
	c.secretive = true;
	assert_exit(run(&c, show_limits), 0);
	assert_string_equal(output, "77 0 0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kill_ends_the_process),
		cmocka_unit_test(enosys_is_an_error),
		cmocka_unit_test(calls_and_rules),
		cmocka_unit_test(threads_are_confined),
		cmocka_unit_test(becomes_a_user),
		cmocka_unit_test(keeps_some_capabilities),
		cmocka_unit_test(limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
