/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /metrics for Prometheus and /healthz for probes, over HTTP on a TCP address.
 * A thread of its own: who is slow here is slow for others here at most.
 */
#ifndef DAXFS_GRPC_HTTP_H
#define DAXFS_GRPC_HTTP_H

#define GRPC_HTTP_CONNECTIONS_MAX 32u
#define GRPC_HTTP_TIMEOUT_S 5u /* a client that neither sends nor takes */

struct grpc_http;

/*
 * A socket that listens on "127.0.0.1:9768" or "[::1]:9768"; numbers only. Other
 * hosts can reach an address that is not the loopback's: that is logged. The
 * descriptor, or -1 after having logged why not.
 */
int grpc_http_listen(const char *address);

/*
 * Serve on it. Takes the descriptor over, also on failure; `snapshotter` is the
 * socket to ask and must stay. NULL after having logged why not.
 */
struct grpc_http *grpc_http_start(int fd, const char *snapshotter);
void grpc_http_stop(struct grpc_http *h); /* NULL is fine */

#endif
