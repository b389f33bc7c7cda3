/* SPDX-License-Identifier: Apache-2.0 */
/* Messages with a descriptor over SOCK_SEQPACKET sockets. */
#ifndef DAXFS_FDMSG_H
#define DAXFS_FDMSG_H

#include <stddef.h>
#include <sys/types.h>

/* Send one message; `fd` -1: without. Waits for room. 0 or -errno. */
int fdmsg_send(int sock, const void *data, size_t len, int fd);

/*
 * Wait for one message of up to `size` bytes. Its length, 0: the peer is gone;
 * -EMSGSIZE: it is longer; -errno. *fd is its descriptor (close-on-exec, the
 * caller's) or -1.
 */
ssize_t fdmsg_recv(int sock, void *data, size_t size, int *fd);

#endif
