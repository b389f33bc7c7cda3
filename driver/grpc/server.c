/* SPDX-License-Identifier: Apache-2.0 */
#include "server.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "backend.h"
#include "driver/common/activation.h"
#include "driver/common/log.h"
#include "driver/common/util.h"
#include "driver/ipc/internal.h"
#include "http.h"
#include "job.h"
#include "peer.h"
#include "stats.h"

#define EVENTS 32
#define ACCEPT_PAUSE_MS 1000 /* when descriptors or memory are out */

struct server {
	const struct grpc_server_options *o;
	struct grpc_budget budget;
	struct grpc_backend *backend;
	struct grpc_http *http; /* or NULL */
	int epoll, listener, signals;
	struct peers peers;
	int64_t accept_at;   /* not before; 0: any time */
	int64_t alive_at;    /* the watchdog waits for us then */
	int64_t watchdog_ms; /* 0: there is none */
	int64_t drain_until; /* 0: not ending */
	bool full;
};

static int watch(struct server *s, int fd, void *tag)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = tag };

	return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

static int fail(const char *what, const char *object, int err)
{
	log_event(LOG_ERROR, what, "socket", object, "error", log_err(err),
		  NULL);
	return -1;
}

static int open_listener(struct server *s)
{
	const char *path = s->o->address;
	char why[512];
	int rc = activation_socket(path, why, sizeof(why));

	if (rc < 0)
		return fail(why, path, -rc);
	if (rc > 0) { /* its path is not ours to remove */
		s->listener = rc;
		return 0;
	}
	rc = socket_listen(path, s->o->mode, (uid_t)-1);
	if (rc == -EADDRINUSE)
		return fail("another process serves this socket; stop it or "
			    "choose another --address",
			    path, EADDRINUSE);
	if (rc == -EEXIST)
		return fail("the address exists and is not a socket; remove it "
			    "or choose another --address",
			    path, EEXIST);
	if (rc < 0)
		return fail("cannot listen", path, -rc);
	s->listener = rc;
	return 0;
}

static int open_signals(struct server *s)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signals < 0 ? -errno : 0;
}

/* With the last sockets open the process is confined, and threads may start. */
static int open_http(struct server *s)
{
	cleanup_close int fd = -1;

	if (!str_empty(s->o->metrics)) {
		fd = grpc_http_listen(s->o->metrics);
		if (fd < 0)
			return -1;
	}
	if (s->o->confine && s->o->confine(s->o->arg))
		return -1;
	if (fd < 0)
		return 0;
	s->http = grpc_http_start(steal_fd(&fd), s->o->snapshotter);
	return s->http ? 0 : -1;
}

static int server_open(struct server *s)
{
	const struct grpc_backend_options b = { .path = s->o->snapshotter,
						.budget = &s->budget,
						.wait_ms = s->o->wait_ms,
						.slow_call_ms =
							s->o->slow_call_ms };
	int rc;

	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	rc = s->epoll < 0 ? -errno : open_signals(s);
	if (rc == 0)
		rc = grpc_backend_new(&b, &s->backend);
	if (rc == 0)
		rc = watch(s, s->signals, &s->signals);
	if (rc == 0)
		rc = watch(s, grpc_backend_fd(s->backend), s->backend);
	if (rc < 0)
		return fail("cannot start", s->o->address, -rc);
	peers_init(&s->peers, s->epoll, s->backend, &s->budget);
	if (open_listener(s) || open_http(s))
		return -1;
	rc = watch(s, s->listener, &s->listener);
	return rc < 0 ? fail("cannot watch", s->o->address, -rc) : 0;
}

/* Its file stays: a successor replaces a socket that nobody serves. */
static void close_listener(struct server *s)
{
	util_close_fd(&s->listener);
	s->listener = -1;
}

static void server_close(struct server *s)
{
	close_listener(s);
	grpc_http_stop(s->http);
	peers_close_all(&s->peers);
	grpc_backend_free(s->backend);
	util_close_fd(&s->signals);
	util_close_fd(&s->epoll);
}

/* Stop asking for connections for a while: accept would fail at once again. */
static void pause_accept(struct server *s, int err, int64_t now)
{
	struct epoll_event ev = { .data.ptr = &s->listener };

	log_event(LOG_WARN, "cannot accept a connection, pausing", "socket",
		  s->o->address, "error", log_err(err), NULL);
	if (epoll_ctl(s->epoll, EPOLL_CTL_MOD, s->listener, &ev) == 0)
		s->accept_at = now + ACCEPT_PAUSE_MS;
}

static void resume_accept(struct server *s, int64_t now)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &s->listener };

	if (!s->accept_at || s->accept_at > now || s->listener < 0)
		return;
	if (epoll_ctl(s->epoll, EPOLL_CTL_MOD, s->listener, &ev) == 0)
		s->accept_at = 0;
}

/* Idle connections make way for new ones. */
static bool has_room(struct server *s, int64_t now)
{
	return s->peers.count < GRPC_CONNECTIONS_MAX ||
	       (peers_make_room(&s->peers, now) &&
		s->peers.count <
			GRPC_CONNECTIONS_MAX + GRPC_CONNECTIONS_LEAVING);
}

static void accept_peer(struct server *s, int64_t now)
{
	/* cppcheck-suppress nullPointer */
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
		    errno == ENOBUFS)
			pause_accept(s, errno, now);
		return;
	}
	if (!has_room(s, now)) {
		if (!s->full)
			log_event(LOG_WARN,
				  "too many connections, refusing more",
				  "socket", s->o->address, NULL);
		s->full = true;
		grpc_stats_refused();
		close(fd);
		return;
	}
	s->full = false;
	peers_add(&s->peers, fd, now);
}

static void begin_drain(struct server *s, int64_t now)
{
	struct signalfd_siginfo info;

	if (read(s->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	log_event(LOG_INFO, "stopping", "signal",
		  info.ssi_signo == SIGTERM ? "TERM" : "INT", NULL);
	if (s->drain_until) { /* asked twice */
		s->drain_until = now;
		return;
	}
	activation_stopping();
	s->drain_until = now + s->o->stop_ms;
	close_listener(s);
	grpc_backend_leave(s->backend);
	peers_shutdown(&s->peers, now);
}

static int wait_ms(const struct server *s, int64_t due, int64_t now)
{
	if (s->accept_at && s->accept_at < due)
		due = s->accept_at;
	if (s->drain_until && s->drain_until < due)
		due = s->drain_until;
	if (s->watchdog_ms && s->alive_at < due)
		due = s->alive_at;
	if (due == INT64_MAX)
		return -1;
	if (due <= now)
		return 0;
	return due - now > 60000 ? 60000 : (int)(due - now);
}

/*
 * That the loop runs is all that a restart of this process could mend: workers
 * wait for the snapshotter, which has a watchdog of its own.
 */
static void say_alive(struct server *s, int64_t now)
{
	if (!s->watchdog_ms || s->alive_at > now)
		return;
	activation_alive();
	s->alive_at = now + s->watchdog_ms / 3;
}

static void handle(struct server *s, const struct epoll_event *ev, int64_t now)
{
	void *tag = ev->data.ptr;

	if (tag == &s->signals)
		begin_drain(s, now);
	else if (tag == s->backend)
		grpc_backend_process(s->backend, peer_touched);
	else if (tag != &s->listener)
		peer_event(tag, ev->events, now);
	else if (s->listener >= 0)
		accept_peer(s, now);
}

static int loop(struct server *s)
{
	struct epoll_event events[EVENTS];

	for (;;) {
		int64_t now = grpc_now_ms(), due;
		int i, n;

		say_alive(s, now);
		resume_accept(s, now);
		due = peers_expire(&s->peers, now);
		peers_reap(&s->peers);
		if (s->drain_until &&
		    (!s->peers.count || s->drain_until <= now))
			return 0;
		n = epoll_wait(s->epoll, events, EVENTS, wait_ms(s, due, now));
		if (n < 0 && errno != EINTR)
			return fail("cannot wait for events", s->o->address,
				    errno);
		now = grpc_now_ms();
		for (i = 0; i < n; i++)
			handle(s, &events[i], now);
		peers_flush(&s->peers, now);
	}
}

int grpc_server_run(const struct grpc_server_options *o)
{
	struct server s = {
		.o = o,
		.budget.limit = GRPC_REQUEST_BYTES_MAX,
		.epoll = -1,
		.listener = -1,
		.signals = -1,
	};
	int rc = server_open(&s);

	if (rc == 0) {
		log_event(LOG_INFO, "serving", "socket", o->address,
			  "snapshotter", o->snapshotter, NULL);
		s.watchdog_ms = activation_watchdog_ms();
		activation_ready("serving");
		rc = loop(&s);
	}
	server_close(&s);
	if (rc == 0)
		log_event(LOG_INFO, "stopped", NULL);
	return rc;
}
