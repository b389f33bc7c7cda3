/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the front has served. Each worker counts for itself, in memory that
 * only it writes, so that counting costs a request a few plain stores.
 */
#ifndef DAXFS_FUSE_STATS_H
#define DAXFS_FUSE_STATS_H

#include <sys/uio.h>

#include "server.h"

/* Around the serving of a request by this thread. */
void stats_begin(struct mount *m, const void *request, size_t len);
void stats_end(void);
/* An answer of this thread's request, as it goes to the kernel. */
void stats_answer(const struct iovec *iov);

/* branches_mounter's `stats`. */
bool stats_json(struct server *srv, json_object *front, json_object **mounts);

#endif
