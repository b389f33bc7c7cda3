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

/*
 * A mount that is not yet known to anybody, with two references: the loop's
 * and the caller's. It owns the reference to `b`; NULL: that was put.
 */
struct mount *mount_new(struct server *srv, struct daxfs_branch *b);
/* The same for one that a server before us had, of a branch that has ended. */
struct mount *mount_new_ended(struct server *srv, const char *name);
void mount_free(struct mount *m);
/* Hand it to the loop and to the server's table. 0 or -errno. */
int mount_go_on(struct mount *m);
/* Note a place; NULL: no memory. */
struct mount_point *mount_add_point(struct mount *m, const char *path,
				    u64 mnt_id, unsigned flags);

/* "<region path>#<branch>", allocated; NULL: no memory. */
char *mount_source(const struct mount *m);

#endif
