/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manager [-w MS] [-l SOCKET]... -- PROGRAM [ARG]...
 *
 * What a service manager does for one daemon: listens at the sockets and passes
 * them on (sd_listen_fds(3)), prints what it is told (sd_notify(3)), a line a
 * variable, and with -w asks to be told every MS that the daemon lives. SIGHUP
 * starts the daemon anew: SIGTERM, wait, start, with the same sockets. SIGTERM
 * is passed on; the end of the daemon is ours. Prints "started PID" and
 * "ended STATUS", 128 + n for signal n.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */
#define SOCKETS_MAX 4

static struct {
	const char *paths[SOCKETS_MAX];
	int sockets[SOCKETS_MAX];
	unsigned n;
	const char *watchdog_ms;
	char **argv;
	int notify;
	pid_t pid;
	bool again;
} m;

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "manager: %s: %s\n", what, strerror(errno));
	exit(99);
}

static int bound(const char *path, int type)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(sa.sun_path))
		die(path);
	strcpy(sa.sun_path, path);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		die(path);
	if (type == SOCK_STREAM && listen(fd, 128) < 0)
		die(path);
	return fd;
}

/* An abstract one: nothing is left of it. */
static int bind_notify(char *name, size_t size)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int n = snprintf(name, size, "@daxfs-test-manager-%d", getpid());

	if (fd < 0)
		die("socket");
	memcpy(sa.sun_path + 1, name + 1, (size_t)n - 1);
	if (bind(fd, (struct sockaddr *)&sa,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
			     (size_t)n)) < 0)
		die("bind");
	return fd;
}

static void set_number(const char *name, long long n)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", n);
	setenv(name, text, 1);
}

/* Sockets go to FIRST_FD and up; what lies there is moved away first. */
static void exec_daemon(void)
{
	int fds[SOCKETS_MAX];
	sigset_t none;

	for (unsigned i = 0; i < m.n; i++)
		fds[i] = fcntl(m.sockets[i], F_DUPFD_CLOEXEC,
			       FIRST_FD + SOCKETS_MAX);
	for (unsigned i = 0; i < m.n; i++)
		if (fds[i] < 0 || dup2(fds[i], FIRST_FD + (int)i) < 0)
			die("dup2");
	if (m.n) {
		set_number("LISTEN_FDS", m.n);
		set_number("LISTEN_PID", getpid());
	}
	if (m.watchdog_ms) {
		set_number("WATCHDOG_USEC", atoll(m.watchdog_ms) * 1000);
		set_number("WATCHDOG_PID", getpid());
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(m.argv[0], m.argv);
	die(m.argv[0]);
}

static void start(void)
{
	m.pid = fork();
	if (m.pid < 0)
		die("fork");
	if (m.pid == 0)
		exec_daemon();
	printf("started %d\n", m.pid);
}

/* False: it ended, and is not to be started again. */
static bool on_child(int *result)
{
	int status;

	if (waitpid(m.pid, &status, WNOHANG) != m.pid)
		return true;
	*result = WIFEXITED(status) ? WEXITSTATUS(status)
				    : 128 + WTERMSIG(status);
	printf("ended %d\n", *result);
	if (!m.again)
		return false;
	m.again = false;
	start();
	return true;
}

static void on_notify(void)
{
	char text[4096];
	ssize_t n = recv(m.notify, text, sizeof(text) - 1, MSG_DONTWAIT);

	if (n <= 0)
		return;
	text[n] = '\0';
	printf("%s%s", text, text[n - 1] == '\n' ? "" : "\n");
}

static int serve(int signals)
{
	struct signalfd_siginfo info;
	int result = 0;

	for (;;) {
		struct pollfd p[] = { { .fd = signals, .events = POLLIN },
				      { .fd = m.notify, .events = POLLIN } };

		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents)
			on_notify();
		else if (read(signals, &info, sizeof(info)) == sizeof(info)) {
			if (info.ssi_signo == SIGCHLD) {
				if (!on_child(&result))
					return result;
			} else {
				m.again = info.ssi_signo == SIGHUP;
				kill(m.pid, SIGTERM);
			}
		}
	}
}

int main(int argc, char **argv)
{
	char name[64];
	sigset_t set;
	int c, result;

	while ((c = getopt(argc, argv, "+w:l:")) != -1) {
		if (c == 'w')
			m.watchdog_ms = optarg;
		else if (c == 'l' && m.n < SOCKETS_MAX)
			m.paths[m.n++] = optarg;
		else
			return 99;
	}
	m.argv = argv + optind;
	if (!*m.argv)
		return 99;
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (unsigned i = 0; i < m.n; i++)
		m.sockets[i] = bound(m.paths[i], SOCK_STREAM);
	m.notify = bind_notify(name, sizeof(name));
	setenv("NOTIFY_SOCKET", name, 1);
	start();
	result = serve(signalfd(-1, &set, SFD_CLOEXEC));
	for (unsigned i = 0; i < m.n; i++)
		unlink(m.paths[i]);
	return result;
}
