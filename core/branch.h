/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the files about branches share: branch*.c, commit.c. */
#ifndef DAXFS_BRANCH_H
#define DAXFS_BRANCH_H

#include "internal.h"

/* All of these need table_lock, or a region that nobody else knows yet. */

struct daxfs_branch *branch_find(const struct daxfs_region *r,
				 const char *name);
/* A handle that is not in any list; one reference, the region's. */
struct daxfs_branch *branch_new(struct daxfs_region *r, u64 id,
				const char *name);
void branch_free(struct daxfs_branch *b);
/* Into the list (which is in order of id) and the name table. */
void branch_insert(struct daxfs_branch *b);
void branch_remove(struct daxfs_branch *b);
/* Tie a new branch to its parent: depth, the parent's count; and its view. */
void branch_tie(struct daxfs_branch *b, struct daxfs_branch *parent);
void branch_attach(struct daxfs_branch *b, struct daxfs_branch *parent);
/* A reference of the engine's own. */
void branch_unref(struct daxfs_branch *b);
/* Find the segments of one branch, for log_replay(). */
int branch_adopt(struct daxfs_branch *b);

struct daxfs_branch_entry *branch_entry(const struct daxfs_branch *b);
void entry_write(struct daxfs_branch *b);
/* DAXFS_BRANCH_* */
void branch_set_flag(struct daxfs_branch *b, u32 flag, bool on);
void entry_free(struct daxfs_region *r, u32 slot);

/*
 * ---- meta.c -----------------------------------------------------------------
 * Metadata lies in blocks of the branch; its entry says where. It is written
 * first, and its blocks are `meta_next`; then one store names it.
 */

/*
 * Write. meta_lock held, or a branch that nobody knows yet. len 0: there will be
 * none. EINVAL, ENOSPC, EOPNOTSUPP (shared, and not ours to change).
 */
int meta_place(struct daxfs_branch *b, const void *bytes, size_t len);
/* Name it, with table_lock and change_lock held, after meta_feature(). */
void meta_name(struct daxfs_branch *b);
/* Make `len` bytes of it durable where they lie; the branch may end meanwhile. */
int meta_sync(const struct daxfs_branch *b, u64 off, size_t len);
/* Give up what was placed and not named, if the branch still lives. */
void meta_cancel(struct daxfs_branch *b);
/* Before the first in a region: older writers are to leave it alone. */
int meta_feature(struct daxfs_region *r);
/* At open: the entry's place of it, once it is known whose segments are whose. */
void meta_load(struct daxfs_branch *b, const struct daxfs_branch_entry *e);
/* Check it and mark its blocks as used. EUCLEAN. */
int meta_claim(struct daxfs_branch *b, struct daxfs_message *msg);
/* A commit has made all of b's segments main's: its metadata goes. */
void meta_commit(struct daxfs_branch *main, struct daxfs_branch *b);
/* Its length and checksum; zeros: none that can be read. */
void meta_info(const struct daxfs_branch *b, u32 *len, u32 *crc);

/* From here on every call on the branch answers ESTALE. */
void branch_end(struct daxfs_branch *b, struct ended *e);
/* At open: end those that waited for children whose end was cut short. */
void branches_drop_unwanted(struct daxfs_region *r);
/* ENOENT (NULL), EPERM (main), EROFS, EBUSY (children), or 0. */
int branch_may_end(const struct daxfs_region *r, const struct daxfs_branch *b);
void ended_tell(struct daxfs_region *r, struct ended *e);

#endif
