/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daxfs-keeper: holds a daxfs-fuse's descriptors and starts its successor. See
 * keeper.h. It is started by daxfs-fuse, not by people, and ends with it.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

#include "driver/common/fdmsg.h"
#include "driver/common/log.h"
#include "driver/common/util.h"
#include "entries.h"

/* A server that dies at once, again and again, dies of what it is asked. */
#define EARLY_MS 200
#define EARLY_MAX 8
#define PAUSE_MS 25 /* longer each time */

struct keeper {
	int sock; /* to the server; -1: there is none */
	struct entries entries;
	bool leaving;                    /* the server said that it ends */
	char *words;                     /* as they came */
	char *args[KEEPER_ARGS_MAX + 1]; /* in words; [0] is the program */
	int64_t born_ms;                 /* the server, 0: before us */
	unsigned n_early; /* early deaths without another between */
	union {
		struct keeper_message m;
		char room[sizeof(struct keeper_message) + KEEPER_DATA_MAX];
	} buf;
};

static volatile sig_atomic_t told_to_end;

static void on_term(int sig)
{
	(void)sig;
	told_to_end = 1;
}

static void set_signal(int sig, void (*handler)(int), int flags)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = flags };

	sigaction(sig, &sa, NULL);
}

/* With the server it ends by itself; without one it starts no other. */
static void watch_signals(void)
{
	set_signal(SIGHUP, SIG_IGN, 0);
	set_signal(SIGINT, SIG_IGN, 0);
	set_signal(SIGPIPE, SIG_IGN, 0);
	set_signal(SIGUSR2, SIG_IGN, 0);
	set_signal(SIGCHLD, SIG_DFL, SA_NOCLDWAIT);
	set_signal(SIGTERM, on_term, SA_RESTART);
}

static void default_signals(void)
{
	static const int all[] = { SIGHUP,  SIGINT,  SIGPIPE,
				   SIGUSR2, SIGCHLD, SIGTERM };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		set_signal(all[i], SIG_DFL, 0);
}

/* ---- The server's messages ----------------------------------------------- */

/* Of its own, for the server's begins anew now and then. */
static void open_log(const char *format, const char *path, const char *size)
{
	int rc;

	log_init("daxfs-keeper", LOG_INFO,
		 str_eq(format, "json") ? LOG_JSON : LOG_TEXT);
	rc = *path ? log_to_file(path, strtoull(size, NULL, 10)) : 0;
	if (rc < 0)
		log_event(LOG_WARN, "cannot write to the log", "file", path,
			  "error", log_err(rc), NULL);
}

/* -EBADMSG: no program, too many arguments, or no NUL at the end. */
static int take_program(struct keeper *k, const char *data, size_t len)
{
	char *words = malloc(len + 1);
	char *log[3] = { NULL };
	size_t n = 0, at;

	if (!words)
		return -ENOMEM;
	memcpy(words, data, len);
	words[len] = '\0';
	free(k->words);
	k->words = words;
	for (at = 0; at < len; at += strlen(words + at) + 1, n++) {
		if (n == ARRAY_SIZE(log) + KEEPER_ARGS_MAX)
			break;
		if (n < ARRAY_SIZE(log))
			log[n] = words + at;
		else
			k->args[n - ARRAY_SIZE(log)] = words + at;
	}
	if (n <= ARRAY_SIZE(log) || at < len || words[len - 1]) {
		k->args[0] = NULL;
		return -EBADMSG;
	}
	k->args[n - ARRAY_SIZE(log)] = NULL;
	open_log(log[0], log[1], log[2]);
	return 0;
}

static void take_message(struct keeper *k, ssize_t n, int fd)
{
	const struct keeper_message *m = &k->buf.m;
	size_t len = (size_t)n - sizeof(*m);
	int rc = 0;

	if (m->kind == KEEPER_PUT) {
		rc = entries_put(&k->entries, m->key, m->flags, fd, m->data,
				 len);
		fd = -1;
	} else if (m->kind == KEEPER_DROP) {
		entries_drop(&k->entries, m->key);
	} else if (m->kind == KEEPER_LEAVE) {
		k->leaving = true;
	} else if (m->kind == KEEPER_PROGRAM) {
		rc = take_program(k, m->data, len);
	}
	util_close_fd(&fd);
	if (rc < 0)
		log_event(LOG_ERROR, "a mount will not outlive its server",
			  "error", log_err(-rc), NULL);
}

/* Until the server is gone. */
static void serve(struct keeper *k)
{
	for (;;) {
		ssize_t n;
		int fd;

		n = fdmsg_recv(k->sock, &k->buf, sizeof(k->buf), &fd);
		if (n >= (ssize_t)sizeof(k->buf.m)) {
			take_message(k, n, fd);
			continue;
		}
		util_close_fd(&fd);
		if (n > 0 || n == -EMSGSIZE)
			continue;
		if (n < 0 && n != -ECONNRESET)
			log_event(LOG_ERROR, "cannot hear the server", "error",
				  log_err((int)-n), NULL);
		break;
	}
	close(steal_fd(&k->sock));
}

/* ---- The next server ----------------------------------------------------- */

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

__attribute__((noreturn)) static void exec_server(struct keeper *k, int sock)
{
	default_signals();
	/* dup2() to itself would leave it close-on-exec */
	if (sock == KEEPER_FD)
		sock = dup(sock);
	if (sock >= 0 && dup2(sock, KEEPER_FD) == KEEPER_FD) {
		close_range(KEEPER_FD + 1, ~0u, 0);
		execv(k->args[0], k->args);
	}
	log_event(LOG_ERROR, "cannot start the server", "program", k->args[0],
		  "error", log_err(errno), NULL);
	_exit(127);
}

static int start_server(struct keeper *k)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		exec_server(k, pair[1]);
	close(pair[1]);
	if (pid < 0) {
		int err = errno;

		close(pair[0]);
		return -err;
	}
	k->sock = pair[0];
	k->born_ms = now_ms();
	log_event(LOG_INFO, "server started", "program", k->args[0], "pid",
		  log_fmt("%d", pid), "entries",
		  log_fmt("%u", k->entries.count), NULL);
	return 0;
}

static int hand_over(struct keeper *k)
{
	struct keeper_message *m = &k->buf.m;
	struct entry *i;
	int rc = 0;

	for (i = k->entries.first; i && rc == 0; i = i->next) {
		*m = (struct keeper_message){ .kind = KEEPER_PUT,
					      .flags = i->flags,
					      .key = i->key };
		memcpy(m->data, i->data, i->len);
		rc = fdmsg_send(k->sock, m, sizeof(*m) + i->len, i->fd);
	}
	*m = (struct keeper_message){ .kind = KEEPER_END };
	return rc ? rc : fdmsg_send(k->sock, m, sizeof(*m), -1);
}

/* Another death; false: there have been enough. */
static bool may_try_again(struct keeper *k)
{
	struct timespec pause = { 0 };

	if (now_ms() - k->born_ms >= EARLY_MS)
		k->n_early = 0;
	else if (++k->n_early > EARLY_MAX)
		return false;
	pause.tv_nsec = k->n_early * PAUSE_MS * 1000000l;
	nanosleep(&pause, NULL);
	return true;
}

/* False: there is to be none. */
static bool next_server(struct keeper *k)
{
	int rc;

	if (told_to_end || !k->args[0] || !entries_wanted(&k->entries))
		return false;
	if (k->leaving) {
		k->leaving = false;
	} else {
		log_event(LOG_WARN, "the server died", "program", k->args[0],
			  NULL);
		entries_close_lost(&k->entries);
		if (!may_try_again(k)) {
			log_event(LOG_ERROR,
				  "the server dies again and again: its mounts are given up",
				  NULL);
			return false;
		}
	}
	rc = start_server(k);
	if (rc < 0) {
		log_event(LOG_ERROR, "cannot start the server", "program",
			  k->args[0], "error", log_err(-rc), NULL);
		return false;
	}
	/* one that died meanwhile is noticed by serve() */
	rc = hand_over(k);
	if (rc < 0 && rc != -EPIPE && rc != -ECONNRESET)
		log_event(LOG_ERROR, "cannot hand the mounts over", "error",
			  log_err(-rc), NULL);
	return true;
}

int main(int argc, char **argv)
{
	static struct keeper k = { .sock = KEEPER_FD };
	int type = 0;
	socklen_t len = sizeof(type);

	(void)argv; /* the region, for people to see */
	if (argc != 2 ||
	    getsockopt(KEEPER_FD, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    type != SOCK_SEQPACKET) {
		fprintf(stderr,
			"daxfs-keeper is started by daxfs-fuse; it keeps mounts when that is restarted\n");
		return 2;
	}
	log_init("daxfs-keeper", LOG_INFO, LOG_TEXT);
	watch_signals();
	do
		serve(&k);
	while (next_server(&k));
	entries_free(&k.entries);
	free(k.words);
	return 0;
}
