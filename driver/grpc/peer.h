/* SPDX-License-Identifier: Apache-2.0 */
/* Connected clients: bytes between their sockets and conn.h. */
#ifndef DAXFS_GRPC_PEER_H
#define DAXFS_GRPC_PEER_H

#include "backend.h"
#include "conn.h"

struct peer;

struct peers {
	int epoll;
	struct grpc_backend *backend;
	struct grpc_budget *budget;
	struct peer *live, *dead;
	unsigned count; /* of the live */
};

/* All but `p` must outlive the peers. */
void peers_init(struct peers *p, int epoll, struct grpc_backend *backend,
		struct grpc_budget *budget);

/* Takes over a connected non-blocking socket; closes it on failure. */
void peers_add(struct peers *p, int fd, int64_t now);

/* A peer's epoll event; the peer is the event's data pointer. */
void peer_event(struct peer *peer, unsigned events, int64_t now);

/* Something for this peer (a struct peer) was queued. */
void peer_touched(void *peer);

/* Send what is queued for touched peers. */
void peers_flush(struct peers *p, int64_t now);

/* End what ran out of time. Returns when to call again, INT64_MAX: never. */
int64_t peers_expire(struct peers *p, int64_t now);

/*
 * Ask the one that has been silent and without calls the longest to leave;
 * clients of gRPC come back when they need us. False: none is idle.
 */
bool peers_make_room(struct peers *p, int64_t now);

void peers_shutdown(struct peers *p, int64_t now);
/* Free those closed since; events of theirs must not come any more. */
void peers_reap(struct peers *p);
void peers_close_all(struct peers *p);

#endif
