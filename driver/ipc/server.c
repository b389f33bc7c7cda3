/* SPDX-License-Identifier: Apache-2.0 */
#include "server.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../common/log.h"
#include "../common/util.h"

#define DEFAULT_CONNECTIONS 256
#define WORKERS_MAX 256
#define SCAN_SECONDS 5
#define FLUSH_MS 1000 /* at the end: to get the last answers out */

/* ---- The loop ------------------------------------------------------------ */

/* 0, or why the peer is refused. */
static const char *peer_refused(struct varlink_server *s, int fd)
{
	uid_t allowed = s->service.options.allow_uid;
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return log_fmt("no peer credentials: %s", log_err(errno));
	if (cred.uid == 0 || cred.uid == geteuid() ||
	    (allowed != (uid_t)-1 && cred.uid == allowed))
		return NULL;
	return log_fmt("user %u may not use this service", cred.uid);
}

static void accept_one(struct varlink_server *s)
{
	unsigned max = s->service.options.max_connections;
	cleanup_close int fd =
		accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	const char *why;
	int rc;

	if (fd < 0) {
		static const struct timespec pause = { .tv_nsec = 20000000 };

		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		log_event(LOG_ERROR, "cannot accept a connection", "socket",
			  s->path, "error", log_err(errno), NULL);
		nanosleep(&pause, NULL); /* out of descriptors or memory */
		return;
	}
	if (s->n_conns >= max) {
		if (!s->refusing)
			log_event(LOG_WARN, "too many connections: refused",
				  "socket", s->path, "limit",
				  log_fmt("%u", max), NULL);
		s->refusing = true;
		return;
	}
	s->refusing = false;
	why = peer_refused(s, fd);
	if (why) {
		log_event(LOG_WARN, "connection refused", "socket", s->path,
			  "reason", why, NULL);
		return;
	}
	rc = conn_new(s, fd);
	if (rc < 0)
		log_event(LOG_ERROR, "cannot serve a connection", "error",
			  log_err(rc), NULL);
	else
		steal_fd(&fd);
}

static void *worker(void *arg)
{
	struct varlink_server *s = arg;
	struct conn *c;

	while ((c = queue_pop(s)) != NULL)
		conn_run(c);
	return NULL;
}

static void run_queue_here(struct varlink_server *s)
{
	while (s->head && !atomic_load(&s->stop))
		conn_run(queue_pop(s));
}

static int serve(struct varlink_server *s)
{
	time_t scanned = time(NULL);
	struct epoll_event ev[32];

	while (!atomic_load(&s->stop)) {
		int n = epoll_wait(s->epoll_fd, ev, ARRAY_SIZE(ev),
				   s->conns ? SCAN_SECONDS * 1000 : -1);

		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < n; i++) {
			if (ev[i].data.ptr == s)
				accept_one(s);
			else if (ev[i].data.ptr)
				conn_event(ev[i].data.ptr, ev[i].events);
		}
		if (!s->n_threads)
			run_queue_here(s);
		if (labs(time(NULL) - scanned) >= SCAN_SECONDS) {
			conns_drop_stalled(s);
			scanned = time(NULL);
		}
	}
	return 0;
}

/* ---- Start and end ------------------------------------------------------- */

static void stop_workers(struct varlink_server *s)
{
	pthread_mutex_lock(&s->lock);
	s->drain = true;
	pthread_cond_broadcast(&s->wake);
	pthread_mutex_unlock(&s->lock);
	for (unsigned i = 0; i < s->n_threads; i++)
		pthread_join(s->threads[i], NULL);
	s->n_threads = 0;
}

/* Signals are for the thread that runs the loop. */
static int start_workers(struct varlink_server *s)
{
	unsigned n = s->service.options.workers;
	sigset_t all, old;
	int rc = 0;

	if (!n)
		return 0;
	s->threads = calloc(n, sizeof(*s->threads));
	if (!s->threads)
		return -ENOMEM;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (s->n_threads < n && rc == 0) {
		rc = -pthread_create(&s->threads[s->n_threads], NULL, worker,
				     s);
		if (rc == 0)
			s->n_threads++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc < 0)
		stop_workers(s);
	return rc;
}

/* The answers of the last calls, for clients that take them promptly. */
static void flush_all(struct varlink_server *s)
{
	static const struct timespec pause = { .tv_nsec = 10000000 };
	bool pending = true;

	for (int ms = 0; pending && ms < FLUSH_MS; ms += 10) {
		pending = false;
		for (struct conn *c = s->conns; c; c = c->next) {
			if (c->out.len && !c->dead)
				conn_flush(c);
			pending |= c->out.len && !c->dead;
		}
		if (pending)
			nanosleep(&pause, NULL);
	}
}

int varlink_server_run(struct varlink_server *s)
{
	int rc = start_workers(s);

	if (rc < 0)
		return rc;
	rc = serve(s);
	stop_workers(s);
	flush_all(s);
	while (s->conns)
		conn_free(s->conns);
	return rc;
}

void varlink_server_stop(struct varlink_server *s)
{
	int saved = errno;
	uint64_t one = 1;
	ssize_t n;

	atomic_store(&s->stop, true);
	n = write(s->stop_fd, &one, sizeof(one)); /* can only fail when full */
	(void)n;
	errno = saved;
}

void varlink_server_slow_calls(struct varlink_server *s, unsigned ms)
{
	atomic_store(&s->service.slow_call_ms, ms);
}

static int watch(struct varlink_server *s, int fd, void *ptr)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = ptr };

	return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

static int server_open(struct varlink_server *s, const char *path)
{
	const struct varlink_server_options *o = &s->service.options;
	struct stat st;
	int rc;

	s->path = strdup(path);
	if (!s->path)
		return -ENOMEM;
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->epoll_fd < 0 || s->stop_fd < 0)
		return -errno;
	s->listen_fd = o->listen_fd ? o->listen_fd
				    : socket_listen(path, o->socket_mode,
						    o->allow_uid);
	if (s->listen_fd < 0)
		return s->listen_fd;
	if (!o->listen_fd) {
		if (stat(path, &st) < 0)
			return -errno;
		s->dev = st.st_dev;
		s->ino = st.st_ino;
	}
	rc = watch(s, s->stop_fd, NULL);
	return rc ? rc : watch(s, s->listen_fd, s);
}

int varlink_server_new(const char *path,
		       const struct varlink_interface *const *interfaces,
		       unsigned n, const struct varlink_server_options *o,
		       struct varlink_server **out)
{
	struct varlink_server *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	s->service.interfaces = interfaces;
	s->service.n = n;
	s->service.options = *o;
	atomic_init(&s->service.slow_call_ms, o->slow_call_ms);
	if (!o->max_connections)
		s->service.options.max_connections = DEFAULT_CONNECTIONS;
	if (!o->socket_mode)
		s->service.options.socket_mode = 0600;
	if (o->workers > WORKERS_MAX)
		s->service.options.workers = WORKERS_MAX;
	s->listen_fd = s->epoll_fd = s->stop_fd = -1;
	s->tail = &s->head;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	rc = server_open(s, path);
	if (rc < 0) {
		varlink_server_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

void varlink_server_free(struct varlink_server *s)
{
	struct stat st;

	if (!s)
		return;
	while (s->conns)
		conn_free(s->conns);
	if (s->ino && stat(s->path, &st) == 0 && st.st_ino == s->ino &&
	    st.st_dev == s->dev)
		unlink(s->path);
	util_close_fd(&s->listen_fd);
	util_close_fd(&s->epoll_fd);
	util_close_fd(&s->stop_fd);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s->threads);
	free(s->path);
	free(s);
}
