/* SPDX-License-Identifier: Apache-2.0 */
#include "run.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#include "../common/log.h"
#include "../common/util.h"

#define OUTPUT_MAX 4096

/* In the child: only what is safe after fork in a threaded process. */
__attribute__((noreturn)) static void
exec_child(const char *path, char *const argv[], int null, int err)
{
	static const char missing[] = "the program was not found\n";
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;
	ssize_t n;

	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	sigaction(SIGTERM, &dfl, NULL);
	sigaction(SIGINT, &dfl, NULL);
	if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(err, 2) < 0)
		_exit(126);
	close_range(3, ~0u, 0);
	if (path)
		execv(path, argv);
	else
		execvp(argv[0], argv);
	n = write(2, missing, sizeof(missing) - 1);
	(void)n;
	_exit(127);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* False: there was nothing to read until the deadline. */
static bool wait_readable(int fd, int64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	for (;;) {
		int64_t left = deadline - now_ms();
		int n = poll(&p, 1, left > 0 ? (int)left : 0);

		if (n > 0 || (n < 0 && errno != EINTR))
			return true;
		if (n == 0 && left <= 0)
			return false;
	}
}

/* Keep the end of what comes; false: no end of the stream in time. */
static bool read_tail(int fd, int64_t deadline, char *buf, size_t size)
{
	bool in_time;
	size_t len = 0;

	for (;;) {
		ssize_t n;

		if (len == size - 1) {
			memmove(buf, buf + size / 2, len - size / 2);
			len -= size / 2;
		}
		in_time = wait_readable(fd, deadline);
		if (!in_time)
			break;
		n = read(fd, buf + len, size - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	while (len && buf[len - 1] == '\n')
		len--;
	buf[len] = '\0';
	return in_time;
}

static int child_result(const char *name, int status, const char *output,
			char *text, size_t size)
{
	const char *line = strrchr(output, '\n');

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	line = line ? line + 1 : output;
	if (strncmp(line, name, strlen(name)) == 0)
		snprintf(text, size, "%s", line); /* it says who it is */
	else if (*line)
		snprintf(text, size, "%s: %s", name, line);
	else if (WIFSIGNALED(status))
		snprintf(text, size, "%s: killed by signal %d", name,
			 WTERMSIG(status));
	else
		snprintf(text, size, "%s: exit status %d", name,
			 WEXITSTATUS(status));
	return -1;
}

/* Start it; the end of *err is its stderr. The pid, or -1 with `text`. */
static pid_t start_program(char *const argv[], int *err, char *text,
			   size_t size)
{
	cleanup_free char *path = path_beside_us(argv[0]);
	cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int fds[2];
	pid_t pid;

	if (null < 0 || pipe2(fds, O_CLOEXEC) < 0) {
		snprintf(text, size, "%s: %s", argv[0], log_err(errno));
		return -1;
	}
	pid = fork();
	if (pid == 0)
		exec_child(path, argv, null, fds[1]);
	if (pid < 0) {
		snprintf(text, size, "%s: cannot fork: %s", argv[0],
			 log_err(errno));
		close(fds[0]);
	}
	close(fds[1]);
	*err = fds[0];
	return pid;
}

/* It may not have made its session yet. */
static void kill_session(pid_t pid)
{
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
}

int run_program(char *const argv[], unsigned seconds, char *text, size_t size)
{
	int64_t deadline = now_ms() + (int64_t)seconds * 1000;
	char output[OUTPUT_MAX] = "";
	cleanup_close int err = -1;
	bool in_time;
	int status;
	pid_t pid = start_program(argv, &err, text, size);

	if (pid < 0)
		return -1;
	in_time = read_tail(err, deadline, output, sizeof(output));
	if (!in_time)
		kill_session(pid);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR) {
			snprintf(text, size, "%s: cannot wait: %s", argv[0],
				 log_err(errno));
			return -1;
		}
	if (in_time)
		return child_result(argv[0], status, output, text, size);
	snprintf(text, size, "%s: not done after %u s (start_timeout)%s%s",
		 argv[0], seconds, *output ? "; it said: " : "", output);
	return -1;
}
