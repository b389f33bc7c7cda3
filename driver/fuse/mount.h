/* SPDX-License-Identifier: Apache-2.0 */
/* What mount.c and mount_place.c share. */
#ifndef DAXFS_FUSE_MOUNT_H
#define DAXFS_FUSE_MOUNT_H

#include "server.h"

/* Has the kernel destroyed the superblock? */
bool mount_is_dead(const struct mount *m);

/*
 * Wait, mount_lock held, until the main thread has ended a dead mount. -EBUSY:
 * that takes too long, or the server is ending.
 */
int mount_wait_gone(struct server *srv, u64 serial);

/* "<region path>#<branch>", allocated; NULL: no memory. */
char *mount_source(const struct mount *m);

#endif
