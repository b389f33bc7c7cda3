/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our keeper: it is told of each mount before anybody can see the mount, so
 * that whoever uses one has a server after us. Without a keeper everything
 * works; mounts then end with this process.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>

#include "../common/fdmsg.h"
#include "../common/log.h"
#include "../common/util.h"
#include "../keeper/keeper.h"
#include "server.h"

#define KEY_REGION 0 /* mounts have their serial numbers */
/* A keeper that dies at once, again and again, cannot be started. */
#define EARLY_MS 1000
#define EARLY_MAX 5

static int send_data(struct server *srv, enum keeper_kind kind, unsigned flags,
		     u64 key, const char *data, size_t len, int fd)
{
	cleanup_free struct keeper_message *m = malloc(sizeof(*m) + len);
	int rc = m ? 0 : -ENOMEM;

	if (len > KEEPER_DATA_MAX)
		rc = -E2BIG;
	if (!rc) {
		*m = (struct keeper_message){ .kind = kind,
					      .flags = flags,
					      .key = key };
		if (len)
			memcpy(m->data, data, len);
		pthread_mutex_lock(&srv->keep.lock);
		if (srv->keep.fd >= 0)
			rc = fdmsg_send(srv->keep.fd, m, sizeof(*m) + len, fd);
		pthread_mutex_unlock(&srv->keep.lock);
	}
	/* That it is gone the main thread sees, and starts another. */
	if (rc && rc != -EPIPE && rc != -ECONNRESET)
		log_event(LOG_ERROR, "the keeper cannot be told", "error",
			  log_err(-rc), NULL);
	return rc;
}

static int send_message(struct server *srv, enum keeper_kind kind,
			unsigned flags, u64 key, const char *text, int fd)
{
	return send_data(srv, kind, flags, key, text, text ? strlen(text) : 0,
			 fd);
}

static void send_program(struct server *srv, char **argv)
{
	cleanup_free char *data = NULL;
	size_t len = 0, i;

	for (i = 0; argv[i]; i++)
		len += strlen(argv[i]) + 1;
	data = malloc(len + 1);
	if (!data) {
		log_event(LOG_ERROR, "no memory to tell the keeper", NULL);
		return;
	}
	for (i = 0, len = 0; argv[i]; i++) {
		size_t n = strlen(argv[i]) + 1;

		memcpy(data + len, argv[i], n);
		len += n;
	}
	send_data(srv, KEEPER_PROGRAM, 0, 0, data, len, -1);
}

static void keep_region(struct server *srv)
{
	send_message(srv, KEEPER_PUT, KEEPER_AUX, KEY_REGION, NULL,
		     srv->file.fd);
}

/* In the child; only what is safe after fork in a threaded process. */
__attribute__((noreturn)) static void exec_keeper(const char *path, int sock,
						  char **argv)
{
	sigset_t none;

	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (sock == KEEPER_FD)
		sock = dup(sock);
	if (sock >= 0 && dup2(sock, KEEPER_FD) == KEEPER_FD) {
		close_range(KEEPER_FD + 1, ~0u, 0);
		if (path)
			execv(path, argv);
		else
			execvp(argv[0], argv);
	}
	_exit(127);
}

/* Its end of the pair, or -errno. It is no child of ours: nobody waits for it. */
static int start_keeper(const char *region)
{
	char *argv[] = { (char *)"daxfs-keeper", (char *)region, NULL };
	cleanup_free char *path = path_beside_us("daxfs-keeper");
	int pair[2], err = 0;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	/* when it ends it is not left a zombie */
	signal(SIGCHLD, SIG_IGN);
	pid = fork();
	if (pid == 0)
		exec_keeper(path, pair[1], argv);
	if (pid < 0)
		err = errno;
	close(pair[1]);
	if (err) {
		close(pair[0]);
		return -err;
	}
	return pair[0];
}

int keep_start(struct server *srv, char **argv)
{
	int fd = start_keeper(srv->file.path);

	if (fd < 0)
		return fd;
	keep_join(srv, fd, argv);
	keep_region(srv);
	return 0;
}

void keep_join(struct server *srv, int fd, char **argv)
{
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	pthread_mutex_lock(&srv->keep.lock);
	srv->keep.argv = argv;
	srv->keep.fd = fd;
	pthread_mutex_unlock(&srv->keep.lock);
	if (argv) /* else it goes on with what it was told before */
		send_program(srv, argv);
}

int keep_fd(struct server *srv)
{
	int fd;

	pthread_mutex_lock(&srv->keep.lock);
	fd = srv->keep.fd;
	pthread_mutex_unlock(&srv->keep.lock);
	return fd;
}

static void close_keeper(struct server *srv)
{
	pthread_mutex_lock(&srv->keep.lock);
	if (srv->keep.fd >= 0)
		close(steal_fd(&srv->keep.fd));
	pthread_mutex_unlock(&srv->keep.lock);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void keep_restart(struct server *srv)
{
	struct mount *m;
	int rc;

	close_keeper(srv);
	if (now_ms() - srv->keep.born_ms >= EARLY_MS)
		srv->keep.n_early = 0;
	else if (++srv->keep.n_early >= EARLY_MAX) {
		log_event(LOG_ERROR,
			  "the keeper dies at once: mounts will end with this process",
			  NULL);
		return;
	}
	log_event(LOG_WARN, "the keeper is gone, another one is started", NULL);
	pthread_mutex_lock(&srv->mount_lock);
	rc = keep_start(srv, srv->keep.argv);
	for (m = srv->mounts; m && !rc; m = m->next)
		keep_mount(m);
	pthread_mutex_unlock(&srv->mount_lock);
	srv->keep.born_ms = now_ms();
	if (rc)
		log_event(LOG_ERROR,
			  "no keeper: mounts will end with this process",
			  "error", log_err(-rc), NULL);
}

void keep_mount(struct mount *m)
{
	cleanup_free char *text = NULL;

	if (m->srv->stopping || keep_fd(m->srv) < 0)
		return;
	text = record_write(m);
	if (text)
		send_message(m->srv, KEEPER_PUT,
			     m->resumable ? KEEPER_RESUME : 0, m->serial, text,
			     m->fd);
	else
		log_event(LOG_ERROR, "no memory to keep a mount", "branch",
			  m->name, NULL);
}

static void drop_note(struct server *srv, u64 key)
{
	send_message(srv, KEEPER_DROP, 0, key, NULL, -1);
}

/* A note of an exchange that was answered is never asked for. */
static void forget_notes(struct server *srv, u64 serial)
{
	size_t i = 0;

	pthread_mutex_lock(&srv->keep.lock);
	while (i < srv->keep.n_notes) {
		u64 key = srv->keep.notes[i].key;

		if (srv->keep.notes[i].serial != serial) {
			i++;
			continue;
		}
		srv->keep.notes[i] = srv->keep.notes[--srv->keep.n_notes];
		pthread_mutex_unlock(&srv->keep.lock);
		drop_note(srv, key);
		pthread_mutex_lock(&srv->keep.lock);
		i = 0;
	}
	pthread_mutex_unlock(&srv->keep.lock);
}

void keep_forget(struct server *srv, u64 serial)
{
	forget_notes(srv, serial);
	send_message(srv, KEEPER_DROP, 0, serial, NULL, -1);
}

int keep_leave(struct server *srv)
{
	return send_message(srv, KEEPER_LEAVE, 0, 0, NULL, -1);
}

void keep_end(struct server *srv)
{
	close_keeper(srv);
	free(srv->keep.notes);
	srv->keep.notes = NULL;
	srv->keep.n_notes = 0;
	pthread_mutex_destroy(&srv->keep.lock);
}

/* ---- Notes --------------------------------------------------------------- */

void keep_note(struct server *srv, struct keep_note *n)
{
	cleanup_free char *text =
		str_printf("{\"mount\":%llu,\"unique\":%llu,\"a\":%llu,\"b\":%llu}",
			   (unsigned long long)n->serial,
			   (unsigned long long)n->unique,
			   (unsigned long long)n->a, (unsigned long long)n->b);

	n->key = 0;
	if (!text || keep_fd(srv) < 0)
		return;
	n->key = KEEP_NOTES |
		 __atomic_add_fetch(&srv->keep.next_note, 1, __ATOMIC_RELAXED);
	send_message(srv, KEEPER_PUT, KEEPER_AUX, n->key, text, -1);
}

void keep_note_done(struct server *srv, const struct keep_note *n)
{
	if (n->key)
		drop_note(srv, n->key);
}
