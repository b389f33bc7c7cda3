/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Changing a file's blocks: what file.c, falloc.c and copy.c share. */
#ifndef DAXFS_WRITE_H
#define DAXFS_WRITE_H

#include "internal.h"

#define WRITE_RUNS 256u /* new runs of blocks in one transaction */

/*
 * One change of a file in progress; too large for a kernel's stack. The caller
 * holds b->change_lock. New blocks become the file's by write_commit().
 */
struct write {
	struct daxfs_branch *b;
	u64 ino;
	struct dinode *in;
	const u8 *buf; /* the bytes for off; NULL: zeros */
	u64 off, end;  /* still to be written */
	u64 near;      /* where the last run ended */
	u32 runs;      /* in this transaction */
	struct {
		u64 off, media;
		u32 blocks;
	} fresh[WRITE_RUNS];
};

/* EISDIR, EINVAL: no regular file. */
int check_file(const struct dinode *in);

/*
 * New blocks for the file's bytes from `first` on, at most up to `end` (both
 * aligned): *run_end says how far, *media where. Their bytes are the caller's
 * to set. Fails when not one block is to be had.
 */
int write_alloc(struct write *w, u64 first, u64 end, u64 *run_end, u64 *media);
/* Fill part of new blocks, at `media`, with what the file has in [off, end). */
void write_keep(const struct write *w, u64 off, u64 end, u64 media);
/*
 * Put the new blocks and w->in into the transaction and commit it. On failure
 * the blocks are free again.
 */
int write_commit(struct write *w);
/* Give up the new blocks of this transaction. */
void write_undo(struct write *w);

/*
 * Before w->in->size grows, in a transaction that is empty: a gap after the old
 * end reads as zeros.
 */
int write_grow(struct write *w);

/*
 * Write [w->off, w->end), in as many transactions as it takes, the first of
 * which has begun. w->off says how far that went, also after a failure.
 * flags: DAXFS_WRITE_KILLPRIV.
 */
int write_range(struct write *w, u32 flags);

/*
 * Make a hole of [off, end) and the file at least `size` long; likewise. ENOSPC
 * before anything has changed, except when even the space that is kept for
 * freeing was used up.
 */
int punch_range(struct write *w, u64 off, u64 end, u64 size, u32 flags);

#endif
