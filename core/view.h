/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What view.c (looking up) and apply.c (changing) share. */
#ifndef DAXFS_VIEW_H
#define DAXFS_VIEW_H

#include "internal.h"

#define INODE_NODE 2048u

/*
 * The tree's item for a name. False: there is none, and *key is where it can
 * be put; its low byte is 0xff at most unless 256 names share one hash.
 */
bool dirent_find(const struct daxfs_branch *b, u64 dir, const char *name,
		 size_t len, struct pkey *key, struct dirent_val *out);
bool xattr_find(const struct daxfs_branch *b, u64 ino, const char *name,
		size_t len, struct pkey *key, struct xattr_val *out);

/*
 * Single changes, after view_reserve_sets(); names and targets lie in the
 * region. apply.c says what each does to the trees.
 */
void view_set_inode(struct daxfs_branch *b, u64 ino, struct dinode *in);
void view_set_dirent(struct daxfs_branch *b, u64 dir, const char *name,
		     size_t len, u64 child, u32 mode);
void view_set_extent(struct daxfs_branch *b, u64 ino, u64 off, u64 len,
		     u64 media);
void view_cut(struct daxfs_branch *b, u64 ino, u64 off, u64 end);
void view_set_target(struct daxfs_branch *b, u64 ino, const char *target,
		     size_t len);
/* Memory for five inodes, ten other items and a cut of [off, end). */
int view_reserve_sets(struct daxfs_branch *b, u64 ino, u64 off, u64 end);

#endif
