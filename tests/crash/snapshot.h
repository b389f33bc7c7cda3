/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a region shows through the engine's interface: its branches, and each
 * one's files with names, attributes, contents and where these lie.
 */
#ifndef CRASH_SNAPSHOT_H
#define CRASH_SNAPSHOT_H

#include "core/daxfs.h"

/* Bytes of a file that lie together. */
struct place {
	u64 off, len; /* in the file */
	u64 media;    /* in the region; 0: a hole */
};

struct node {
	struct daxfs_attr attr;
	u32 meta, meta_len; /* names of a directory, target, attributes */
	u64 parent;         /* of a directory */
	u32 data;           /* a file's bytes, attr.size of them */
	u32 places, place_count;
};

/* A branch's files by ascending inode number. Offsets count in `bytes`. */
struct tree {
	u32 nodes, bytes_len;
	struct node *node;
	u8 *bytes;
};

struct branch_state {
	struct daxfs_branch_info info;
	struct tree tree;
	u32 borrowed; /* the tree's memory is an earlier snapshot's */
};

struct snapshot {
	u32 count;
	struct branch_state *branch; /* by ascending id */
};

struct reason {
	char text[2048];
};

/*
 * `mem` is the region's memory. False: the engine failed, see `why`. *out is
 * for snapshot_free() either way.
 */
bool snapshot_take(struct daxfs_region *r, const void *mem,
		   struct snapshot *out, struct reason *why);
void snapshot_free(struct snapshot *s);
/* Branches that show the same as in `before` share its memory from now on. */
void snapshot_share(struct snapshot *s, const struct snapshot *before);
/* NULL: it has no such branch. */
const struct branch_state *snapshot_branch(const struct snapshot *s, u64 id);

/* Whether `got` shows `want`: names, attributes and contents. */
bool tree_same(const struct tree *want, const struct tree *got,
	       struct reason *why);

/*
 * The same, but words of a file may have been overwritten in place since: an
 * aligned word may be what a later tree has in the same place of the region,
 * if it is still the same file's there.
 */
bool tree_same_but_newer(const struct tree *want, const struct tree *got,
			 const struct tree *const *later, u32 count,
			 struct reason *why);

/*
 * Something between `old` and `now`: of files that they both have any part of
 * the new bytes may be there, or of what `later` ones have there.
 */
bool tree_between(const struct tree *old, const struct tree *now,
		  const struct tree *got, const struct tree *const *later,
		  u32 count, struct reason *why);

/* Inodes of a branch that its parent does not have. */
u32 tree_own_inodes(const struct tree *t, const struct tree *parent);

__attribute__((format(printf, 2, 3))) bool because(struct reason *why,
						   const char *fmt, ...);

#endif
