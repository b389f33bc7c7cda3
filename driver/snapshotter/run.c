/* SPDX-License-Identifier: Apache-2.0 */
#include "run.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

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

/* Keep the end of what comes, up to the end of the stream. */
static void read_tail(int fd, char *buf, size_t size)
{
	size_t len = 0;

	for (;;) {
		ssize_t n;

		if (len == size - 1) {
			memmove(buf, buf + size / 2, len - size / 2);
			len -= size / 2;
		}
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

int run_program(char *const argv[], char *text, size_t size)
{
	cleanup_free char *path = path_beside_us(argv[0]);
	cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	char output[OUTPUT_MAX] = "";
	int fds[2], status;
	pid_t pid;

	if (null < 0 || pipe2(fds, O_CLOEXEC) < 0) {
		snprintf(text, size, "%s: %s", argv[0], log_err(errno));
		return -1;
	}
	pid = fork();
	if (pid == 0)
		exec_child(path, argv, null, fds[1]);
	close(fds[1]);
	if (pid < 0) {
		snprintf(text, size, "%s: cannot fork: %s", argv[0],
			 log_err(errno));
		close(fds[0]);
		return -1;
	}
	read_tail(fds[0], output, sizeof(output));
	close(fds[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR) {
			snprintf(text, size, "%s: cannot wait: %s", argv[0],
				 log_err(errno));
			return -1;
		}
	return child_result(argv[0], status, output, text, size);
}
