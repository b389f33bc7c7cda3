/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../common/log.h"
#include "server.h"

/* Answers that a client may leave unread before its call waits, then ends. */
#define OUT_MAX VARLINK_MESSAGE_MAX
#define OUT_WAIT_MS 5000
#define STALL_SECONDS 30 /* a client that stops in the middle of a message */

static int64_t now_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + 1; /* never 0 */
}

/* ---- Answering ----------------------------------------------------------- */

static void conn_kill(struct conn *c, const char *why)
{
	if (!c->dead && why)
		log_event(LOG_WARN, "connection closed", "socket",
			  c->server->path, "reason", why, NULL);
	c->dead = true;
	shutdown(c->fd, SHUT_RDWR);
}

void conn_flush(struct conn *c)
{
	size_t before = c->out.len;
	int rc = c->dead ? 0 : vbuf_send(&c->out, c->fd);

	if (rc < 0 && rc != -EAGAIN)
		conn_kill(c, NULL);
	else if (c->out.len == 0)
		atomic_store(&c->waiting_since, 0);
	else if (c->out.len < before || !atomic_load(&c->waiting_since))
		atomic_store(&c->waiting_since, now_seconds());
}

/*
 * Before one more answer. A client that takes them, but slower than they are
 * made, is waited for; one that takes none loses the connection.
 */
static bool conn_drain(struct conn *c)
{
	struct pollfd p = { .fd = c->fd, .events = POLLOUT };

	conn_flush(c);
	while (!c->dead && c->out.len > OUT_MAX) {
		size_t before = c->out.len;

		if (poll(&p, 1, OUT_WAIT_MS) < 0 && errno == EINTR)
			continue;
		conn_flush(c);
		if (c->out.len == before)
			conn_kill(c, "the client does not read its answers");
	}
	return !c->dead;
}

static int conn_send(void *arg, json_object *msg)
{
	struct conn *c = arg;
	int rc;

	if (c->dead)
		return -EPIPE;
	if (c->out.len && !conn_drain(c))
		return -EPIPE;
	rc = message_append(&c->out, msg, OUT_MAX + VARLINK_MESSAGE_MAX + 1);
	if (rc == -ENOMEM)
		conn_kill(c, "out of memory");
	if (rc < 0)
		return rc;
	conn_flush(c);
	return c->dead ? -EPIPE : 0;
}

/* Answer the first message in c->in. */
static void conn_answer(struct conn *c, size_t len)
{
	json_object *msg;
	int rc = message_parse(c->in.data + c->in.start, len, &msg);

	vbuf_consume(&c->in, len + 1);
	if (rc == 0) {
		rc = service_dispatch(&c->server->service, msg, conn_send, c);
		json_object_put(msg);
	}
	if (rc == -EBADMSG)
		conn_kill(c, "malformed message");
	else if (rc < 0)
		conn_kill(c, log_err(rc));
}

/*
 * Wait for the peer; the connection is the loop's from here on. It may be freed
 * before epoll_ctl() returns: the lock keeps the descriptor open until then.
 */
static void conn_arm(struct conn *c)
{
	struct epoll_event ev = { .data.ptr = c, .events = EPOLLONESHOT };
	struct varlink_server *s = c->server;
	int rc;

	/* after shutdown EPOLLHUP comes at once, and the loop frees it */
	ev.events |= c->out.len ? EPOLLOUT : EPOLLIN;
	atomic_store(&c->loose, true);
	pthread_mutex_lock(&s->lock);
	rc = epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, c->fd, &ev);
	pthread_mutex_unlock(&s->lock);
	if (rc < 0)
		log_event(LOG_ERROR, "cannot watch a connection", "error",
			  log_err(errno), NULL);
}

static void queue_push(struct varlink_server *s, struct conn *c)
{
	c->queued = NULL;
	pthread_mutex_lock(&s->lock);
	*s->tail = c;
	s->tail = &c->queued;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
}

/* NULL: the server ends. */
struct conn *queue_pop(struct varlink_server *s)
{
	struct conn *c = NULL;

	pthread_mutex_lock(&s->lock);
	while (!s->head && !s->drain)
		pthread_cond_wait(&s->wake, &s->lock);
	if (!s->drain) {
		c = s->head;
		s->head = c->queued;
		if (!s->head)
			s->tail = &s->head;
	}
	pthread_mutex_unlock(&s->lock);
	return c;
}

/*
 * Run what has arrived, one message a turn, so that a client that sends many
 * at once does not keep a worker from the others.
 */
void conn_run(struct conn *c)
{
	ssize_t len = vbuf_message(&c->in);

	if (len >= 0 && !c->dead)
		conn_answer(c, (size_t)len);
	if (!c->dead && !c->out.len && vbuf_message(&c->in) >= 0) {
		queue_push(c->server, c);
		return;
	}
	if (c->in.len && !c->out.len)
		atomic_store(&c->waiting_since, now_seconds());
	conn_arm(c);
}

/* ---- In the loop --------------------------------------------------------- */

void conn_free(struct conn *c)
{
	struct varlink_server *s = c->server;

	if (c->prev)
		c->prev->next = c->next;
	else
		s->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	s->n_conns--;
	pthread_mutex_lock(&s->lock);
	close(c->fd);
	pthread_mutex_unlock(&s->lock);
	vbuf_free(&c->in);
	vbuf_free(&c->out);
	free(c);
}

static void conn_read(struct conn *c)
{
	ssize_t n = vbuf_recv(&c->in, c->fd);

	if (n == -EAGAIN)
		return;
	if (n == -EMSGSIZE)
		conn_kill(c, log_fmt("message larger than %u bytes",
				     VARLINK_MESSAGE_MAX));
	else if (n < 0)
		conn_kill(c, n == -ECONNRESET ? NULL : log_err((int)n));
	else if (n == 0)
		conn_kill(c,
			  c->in.len ? "ends in the middle of a message" : NULL);
	else
		atomic_store(&c->waiting_since, now_seconds());
}

void conn_event(struct conn *c, uint32_t events)
{
	struct varlink_server *s = c->server;

	atomic_exchange(&c->loose, false);
	if (c->out.len && !c->dead)
		conn_flush(c);
	if (!c->dead && !c->out.len && vbuf_message(&c->in) < 0 &&
	    (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		conn_read(c);
	if (c->dead) {
		conn_free(c);
		return;
	}
	if (c->out.len || vbuf_message(&c->in) < 0) {
		conn_arm(c);
		return;
	}
	atomic_store(&c->waiting_since, 0);
	queue_push(s, c);
}

int conn_new(struct varlink_server *s, int fd)
{
	struct conn *c = calloc(1, sizeof(*c));
	struct epoll_event ev = { .events = EPOLLIN | EPOLLONESHOT };

	if (!c)
		return -ENOMEM;
	c->server = s;
	c->fd = fd;
	ev.data.ptr = c;
	if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		int rc = -errno;

		free(c);
		return rc;
	}
	c->next = s->conns;
	if (c->next)
		c->next->prev = c;
	s->conns = c;
	s->n_conns++;
	return 0;
}

/* shutdown(2) is safe whoever has the connection in hand: its user sees an end. */
void conns_drop_stalled(struct varlink_server *s)
{
	int64_t limit = now_seconds() - STALL_SECONDS;

	for (struct conn *c = s->conns; c; c = c->next) {
		int64_t since = atomic_load(&c->waiting_since);

		if (since && since < limit) {
			log_event(LOG_WARN, "stalled connection closed",
				  "socket", s->path, NULL);
			atomic_store(&c->waiting_since, 0);
			shutdown(c->fd, SHUT_RDWR);
		}
	}
}
