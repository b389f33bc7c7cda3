/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's loop: sockets, connections, timers, signals. */
#ifndef DAXFS_GRPC_SERVER_H
#define DAXFS_GRPC_SERVER_H

#include <stdint.h>

#define GRPC_CONNECTIONS_MAX 64u
#define GRPC_CONNECTIONS_LEAVING 16u       /* more, while idle ones leave */
#define GRPC_REQUEST_BYTES_MAX (64u << 20) /* held for all calls together */

struct grpc_server_options {
	const char *address;     /* the socket to serve on */
	const char *snapshotter; /* the socket to ask */
	unsigned mode;           /* of the former */
	int64_t wait_ms;         /* for a snapshotter that is away */
	int64_t stop_ms;         /* for running calls after SIGTERM */
	unsigned slow_call_ms;   /* those are logged; 0: none */
	const char *metrics;     /* the address to serve them on; "": none */
	/* Once all is open, before the first client is heard; 0, or -1. */
	int (*confine)(const char *arg);
	const char *arg;
};

/*
 * The socket is the service manager's, where it passes it (activation.h).
 * Serve until SIGTERM or SIGINT, which the caller has blocked in all threads.
 * 0, or -1 after having logged why not.
 */
int grpc_server_run(const struct grpc_server_options *o);

#endif
