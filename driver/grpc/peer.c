/* SPDX-License-Identifier: Apache-2.0 */
#include "peer.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "driver/common/log.h"
#include "driver/common/util.h"
#include "method.h"
#include "stats.h"

#define IN_SIZE (32u << 10)
#define OUT_SIZE (32u << 10)
#define ROUNDS 8     /* reads and writes before others have their turn */
#define IDLE_MS 1000 /* without a call: may be asked to leave */

struct peer {
	struct peer *prev, *next;
	struct peers *all;
	int fd; /* -1: dead */
	unsigned events;
	struct grpc_handler handler;
	struct grpc_conn *conn;
	bool touched;
	int64_t progress_ms; /* when the socket last took bytes */
	int64_t heard_ms;    /* when it last gave some */
	bool leaving;        /* was asked to */
	size_t out_start, out_len;
	uint8_t out[OUT_SIZE];
};

void peers_init(struct peers *p, int epoll, struct grpc_backend *backend,
		struct grpc_budget *budget)
{
	p->epoll = epoll;
	p->backend = backend;
	p->budget = budget;
	p->live = p->dead = NULL;
	p->count = 0;
}

/* ---- What the protocol asks for ------------------------------------------ */

static const void *find_method(void *arg, const char *path)
{
	(void)arg;
	return grpc_method_find(path);
}

static void start_call(void *arg, struct grpc_call *call)
{
	struct peer *peer = arg;

	grpc_backend_start(peer->all->backend, call, peer);
}

static void call_gone(void *arg, struct grpc_call *call)
{
	struct peer *peer = arg;

	grpc_backend_gone(peer->all->backend, call);
}

static void call_drained(void *arg, struct grpc_call *call, size_t n)
{
	struct peer *peer = arg;

	grpc_backend_drained(peer->all->backend, call, n);
}

static void call_began(void *arg)
{
	(void)arg;
	grpc_stats_call_began();
}

static void call_ended(void *arg, const void *method, enum grpc_status status,
		       uint64_t ns)
{
	const struct grpc_method *m = method;

	(void)arg;
	grpc_stats_call_ended(m ? m->path : NULL, status, ns);
}

/* ---- Sockets ------------------------------------------------------------- */

static void unlink_peer(struct peer *peer)
{
	struct peers *p = peer->all;

	if (peer->prev)
		peer->prev->next = peer->next;
	else
		p->live = peer->next;
	if (peer->next)
		peer->next->prev = peer->prev;
	p->count--;
}

static const char *reason(int rc)
{
	return rc == -EPROTO ? "the peer does not speak HTTP/2" : log_err(-rc);
}

/* Freed later: the events of this round may still name it. */
static void peer_close(struct peer *peer, const char *why)
{
	if (why)
		log_event(LOG_WARN, "connection dropped", "reason", why, NULL);
	close(steal_fd(&peer->fd)); /* leaves the epoll set, too */
	grpc_conn_free(steal_ptr(&peer->conn));
	unlink_peer(peer);
	grpc_stats_disconnected();
	peer->next = peer->all->dead;
	peer->all->dead = peer;
}

void peers_add(struct peers *p, int fd, int64_t now)
{
	struct peer *peer = calloc(1, sizeof(*peer));
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = peer };
	int rc = peer ? 0 : -ENOMEM;

	if (peer) {
		peer->all = p;
		peer->fd = fd;
		peer->events = EPOLLIN;
		peer->progress_ms = peer->heard_ms = now;
		peer->touched = true; /* our SETTINGS */
		peer->handler = (struct grpc_handler){
			.arg = peer,
			.find = find_method,
			.start = start_call,
			.gone = call_gone,
			.drained = call_drained,
			.began = call_began,
			.ended = call_ended,
		};
		rc = grpc_conn_new(&peer->handler, p->budget, now, &peer->conn);
	}
	if (rc == 0 && epoll_ctl(p->epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
		rc = -errno;
	if (rc < 0) {
		log_event(LOG_WARN, "cannot serve a connection", "error",
			  log_err(-rc), NULL);
		if (peer)
			grpc_conn_free(peer->conn);
		free(peer);
		close(fd);
		return;
	}
	peer->next = p->live;
	if (p->live)
		p->live->prev = peer;
	p->live = peer;
	p->count++;
	grpc_stats_connected();
}

/* While the client does not take our bytes we take none of its. */
static void update_events(struct peer *peer)
{
	unsigned want = peer->out_len ? EPOLLOUT : EPOLLIN;
	struct epoll_event ev = { .events = want, .data.ptr = peer };

	if (want == peer->events)
		return;
	if (epoll_ctl(peer->all->epoll, EPOLL_CTL_MOD, peer->fd, &ev) < 0)
		peer_close(peer, log_err(errno));
	else
		peer->events = want;
}

/* 1: all sent, 0: the socket is full, -errno. */
static int write_out(struct peer *peer, int64_t now)
{
	while (peer->out_len) {
		ssize_t n = send(peer->fd, peer->out + peer->out_start,
				 peer->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		peer->progress_ms = now;
		grpc_stats_sent((size_t)n);
		peer->out_start += (size_t)n;
		peer->out_len -= (size_t)n;
	}
	peer->out_start = 0;
	return 1;
}

static void peer_flush(struct peer *peer, int64_t now)
{
	int rc, rounds = ROUNDS;

	peer->touched = false;
	while ((rc = write_out(peer, now)) > 0) {
		ssize_t n;

		if (!rounds--) {
			peer->touched = true;
			break;
		}
		n = grpc_conn_send(peer->conn, now, peer->out, OUT_SIZE);
		if (n <= 0) {
			rc = (int)n;
			break;
		}
		peer->progress_ms = now;
		peer->out_len = (size_t)n;
	}
	if (rc < 0 && rc != -EPIPE && rc != -ECONNRESET)
		peer_close(peer, reason(rc));
	else if (rc < 0 || (!peer->out_len && grpc_conn_done(peer->conn)))
		peer_close(peer, NULL);
	else
		update_events(peer);
}

/* 0: nothing more for now; -errno: the connection is over. */
static int read_in(struct peer *peer, int64_t now)
{
	uint8_t buf[IN_SIZE];
	int rounds = ROUNDS, rc = 0;

	while (rc == 0 && rounds--) {
		ssize_t n = recv(peer->fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (n == 0)
			return -ECONNRESET;
		peer->heard_ms = now;
		grpc_stats_received((size_t)n);
		rc = grpc_conn_recv(peer->conn, now, buf, (size_t)n);
		if ((size_t)n < sizeof(buf))
			break;
	}
	return rc;
}

void peer_event(struct peer *peer, unsigned events, int64_t now)
{
	int rc = 0;

	if (peer->fd < 0)
		return;
	if (events & EPOLLIN)
		rc = read_in(peer, now);
	else if (events & (EPOLLERR | EPOLLHUP))
		rc = -ECONNRESET;
	if (rc == -ECONNRESET)
		peer_close(peer, NULL);
	else if (rc < 0)
		peer_close(peer, reason(rc));
	else
		peer->touched = true;
}

void peer_touched(void *arg)
{
	struct peer *peer = arg;

	peer->touched = true;
}

void peers_flush(struct peers *p, int64_t now)
{
	struct peer *peer, *next;

	for (peer = p->live; peer; peer = next) {
		next = peer->next;
		if (peer->touched)
			peer_flush(peer, now);
	}
}

int64_t peers_expire(struct peers *p, int64_t now)
{
	int64_t due = INT64_MAX, t;
	struct peer *peer, *next;

	for (peer = p->live; peer; peer = next) {
		next = peer->next;
		if (grpc_conn_due(peer->conn) <= now) {
			grpc_conn_expire(peer->conn, now);
			peer_flush(peer, now);
			if (peer->fd < 0)
				continue;
		}
		t = grpc_conn_due(peer->conn);
		due = t < due ? t : due;
		if (peer->out_len) {
			t = peer->progress_ms + GRPC_STALL_TIMEOUT_MS;
			if (t <= now) {
				peer_close(peer, "the client does not read");
				continue;
			}
			due = t < due ? t : due;
		}
		if (peer->touched)
			due = now;
	}
	return due;
}

static void ask_to_leave(struct peer *peer, int64_t now)
{
	peer->leaving = true;
	grpc_conn_shutdown(peer->conn, now);
	peer_flush(peer, now);
}

bool peers_make_room(struct peers *p, int64_t now)
{
	struct peer *peer, *quietest = NULL;

	for (peer = p->live; peer; peer = peer->next)
		if (!peer->leaving && grpc_conn_idle(peer->conn) &&
		    peer->heard_ms + IDLE_MS <= now &&
		    (!quietest || peer->heard_ms < quietest->heard_ms))
			quietest = peer;
	if (quietest)
		ask_to_leave(quietest, now);
	return quietest;
}

void peers_shutdown(struct peers *p, int64_t now)
{
	struct peer *peer, *next;

	for (peer = p->live; peer; peer = next) {
		next = peer->next;
		ask_to_leave(peer, now);
	}
}

void peers_reap(struct peers *p)
{
	while (p->dead) {
		struct peer *peer = p->dead;

		p->dead = peer->next;
		free(peer);
	}
}

void peers_close_all(struct peers *p)
{
	while (p->live)
		peer_close(p->live, NULL);
	peers_reap(p);
}
