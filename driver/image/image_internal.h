/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share: the scanned tree and the walk over it. */
#ifndef DAXFS_IMAGE_INTERNAL_H
#define DAXFS_IMAGE_INTERNAL_H

#include <sys/stat.h>

#include "../common/log.h"
#include "../common/util.h"
#include "image.h"

/* One inode to be; its number is its index + 1. */
struct image_inode {
	dev_t dev; /* where it was seen, and as what */
	ino_t ino;
	struct timespec mtime, ctime;
	u64 size; /* regular files and symlinks */
	u32 mode, uid, gid, rdev;
	u32 nlink;
	u32 first, count; /* directories: their entries */
	u32 xattr_len;
	u32 data_crc;
	u64 xattr_offset; /* in the xattr area */
	u64 data_offset;
	char *target; /* symlinks */
	void *xattrs; /* as on media */
	bool written; /* data copied: hard links are met more than once */
};

struct image_entry {
	char *name;
	u32 inode; /* index */
};

struct image {
	char *dir; /* as the caller named it, for messages */
	int fd;
	struct image_inode *inodes;
	struct image_entry *entries;
	u32 inode_count, inode_max;
	u32 entry_count, entry_max;
	u32 files, dirs;
	u64 data_bytes;
	u64 data_start, xattr_size, size;
	u8 uuid[16];
	u64 hash_seed[2];
};

/* Where the walk is: `fd` is the directory, `path` its name for messages. */
struct image_walk {
	struct image *im;
	int fd;
	struct {
		u32 dir;   /* inode index */
		u32 entry; /* that names it */
		u32 next;
	} * stack;
	u32 depth, max;
};

/*
 * Visit each directory once, parents first, entries in order. One descriptor
 * is open at a time, whatever the depth; each step checks that it arrived at
 * the directory that was scanned.
 */
int image_walk(struct image *im,
	       int (*enter)(struct image_walk *w, u32 dir, void *arg,
			    struct daxfs_message *msg),
	       void *arg, struct daxfs_message *msg);

/* "object: what: reason" for an entry of the current directory (NULL: itself) */
__attribute__((format(printf, 5, 6))) int
image_fail(struct image_walk *w, int err, struct daxfs_message *msg,
	   const char *name, const char *fmt, ...);

int image_fail_changed(struct image_walk *w, const char *name,
		       struct daxfs_message *msg);

/* The extended attributes of one file, sorted, as they stand on media. */
int image_read_xattrs(struct image_walk *w, const char *name,
		      struct image_inode *node, struct daxfs_message *msg);

/* Give everything its place. */
int image_layout(struct image *im, struct daxfs_message *msg);

/* uuid and hash seed from the finished image. */
void image_identify(struct image *im);

/* Writes in order, many small pieces as few large ones. */
struct image_out {
	int fd;
	u64 at; /* file offset of buf[0] */
	size_t used;
	char *buf; /* IMAGE_BUF bytes */
};
#define IMAGE_BUF (1u << 20)

int image_out_write(struct image_out *o, const void *p, size_t n);
int image_out_zero(struct image_out *o, u64 n);
int image_out_flush(struct image_out *o);
int image_pwrite(int fd, const void *p, size_t n, u64 off);

static inline u64 image_align(u64 n)
{
	return (n + DAXFS_BLOCK_SIZE - 1) & ~(u64)(DAXFS_BLOCK_SIZE - 1);
}

#endif
