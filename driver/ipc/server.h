/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serving half: one thread watches the sockets, workers run the methods.
 *
 * A connection is always in one hand. Its descriptor is armed for one event
 * (EPOLLONESHOT); when that comes the loop owns it, reads, and gives it to a
 * worker once a message is complete; the worker answers and arms it again.
 * So the calls of one connection stay in order, and nothing is read from a
 * client that has an answer to take first. Only the loop frees connections.
 */
#ifndef DAXFS_IPC_SERVER_H
#define DAXFS_IPC_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "internal.h"

struct conn {
	struct varlink_server *server;
	struct conn *prev, *next; /* all connections; the loop's */
	struct conn *queued;      /* next in the workers' queue */
	int fd;
	bool dead;         /* set by who has the connection in hand */
	atomic_bool loose; /* hands over memory as epoll does the connection */
	struct vbuf in, out;
	/* When the peer was last heard of in mid-message; 0: none is due. */
	_Atomic int64_t waiting_since;
};

struct varlink_server {
	struct varlink_service service;
	char *path;
	dev_t dev; /* of the socket, so that only our own is removed */
	ino_t ino; /* 0: none is */
	int listen_fd, epoll_fd, stop_fd;
	atomic_bool stop;
	struct conn *conns;
	unsigned n_conns;
	bool refusing; /* logged that connections are refused */

	pthread_mutex_t lock; /* the queue, and closing what is armed; leaf */
	pthread_cond_t wake;
	struct conn *head, **tail;
	bool drain; /* workers return */
	pthread_t *threads;
	unsigned n_threads;
};

/* ---- conn.c -------------------------------------------------------------- */

/* Take an accepted descriptor into the loop. 0 or -errno. */
int conn_new(struct varlink_server *s, int fd);
void conn_free(struct conn *c);

/* The loop's: something happened on an armed connection. */
void conn_event(struct conn *c, uint32_t events);

/* Send what can be sent without waiting. */
void conn_flush(struct conn *c);

/* The next connection with a call to run; NULL: the server ends. */
struct conn *queue_pop(struct varlink_server *s);
void conn_run(struct conn *c);

/* The loop's: close those whose peer stopped in the middle of a message. */
void conns_drop_stalled(struct varlink_server *s);

#endif
