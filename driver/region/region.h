/* SPDX-License-Identifier: Apache-2.0 */
/* A region's bytes as memory: today a file (tmpfs or any file system). */
#ifndef DAXFS_REGION_H
#define DAXFS_REGION_H

#include "../../core/daxfs.h"

struct region_file {
	char *path; /* absolute */
	int fd;
	struct daxfs_backing backing;
};

#define REGION_READONLY (1u << 0)
#define REGION_NOLOCK (1u << 1) /* inspection of a region in use: read-only */
#define REGION_SHARED (1u << 2) /* writable by several: DAXFS_OPEN_SHARED */

/*
 * Map an existing region. Takes an exclusive lock on the file (a common one
 * when read-only or shared) that lasts until region_file_close(): -EWOULDBLOCK when another
 * process has it. The size is the file's, a multiple of 4096 and at least one
 * page (-EINVAL). msg says what was wrong.
 */
int region_file_open(const char *path, unsigned flags, struct region_file *out,
		     struct daxfs_message *msg);

/*
 * The same with the open, locked file of a process that was here before; `fd`
 * is consumed. Its copies share the lock, so that nobody comes in between.
 */
int region_file_inherit(const char *path, int fd, struct region_file *out,
			struct daxfs_message *msg);

/*
 * Create a new sparse file of `size` bytes and map it, locked. It is made under
 * a temporary name beside `path`; region_file_publish() syncs and renames it
 * into place, closing without that removes it.
 */
int region_file_create(const char *path, u64 size, struct region_file *out,
		       struct daxfs_message *msg);
int region_file_publish(struct region_file *f, struct daxfs_message *msg);

void region_file_close(struct region_file *f); /* NULL, half-built: fine */

/*
 * Where the control socket of the process that serves this region is:
 * "<state>/fuse/<device>-<inode>.sock", allocated. `state` NULL: the
 * environment's DAXFS_STATE, else /run/daxfs. NULL with errno.
 */
char *region_control_path(const char *region_path, const char *state);

#endif
