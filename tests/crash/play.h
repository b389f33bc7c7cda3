/* SPDX-License-Identifier: Apache-2.0 */
/* What scenarios are written with. Each fills in a run, see run.h. */
#ifndef CRASH_PLAY_H
#define CRASH_PLAY_H

#include "tests/unit/core_util.h"

#include "record.h"
#include "run.h"

#define SEGMENT 65536u

/* A new region, with or without a base image, is recorded from now on. */
void begin_sized(struct run *run, u64 size, bool base);
void begin(struct run *run, bool base);
/* The memory that it lies in; given back by end(). */
u8 *region_memory(u64 size);
void end(struct run *run);

/* A new branch that has been synced once; two steps. */
struct daxfs_branch *branch(struct run *run, const char *name,
			    const char *parent);

/* Operations with fewer words; true: done. Names are in the root. */
bool make(struct daxfs_branch *b, u64 dir, const char *name, u32 mode);
bool put(struct daxfs_branch *b, const char *name, u64 off, u64 len, u8 byte);
bool append(struct daxfs_branch *b, const char *name, u64 len, u8 byte);
bool cut_file(struct daxfs_branch *b, const char *name, u64 size);
bool unname(struct daxfs_branch *b, const char *name);
bool rename_root(struct daxfs_branch *b, const char *from, const char *to,
		 u32 flags);
bool fsync_branch(struct daxfs_branch *b);
bool set_xattr(struct daxfs_branch *b, u64 ino, const char *name, size_t len,
	       u8 byte);

/* files.c */
void play_make(struct run *run, u64 seed);
void play_rename(struct run *run, u64 seed);
void play_write(struct run *run, u64 seed);
void play_base(struct run *run, u64 seed);
void play_attributes(struct run *run, u64 seed);
void play_holes(struct run *run, u64 seed);
void play_copies(struct run *run, u64 seed);
void play_full(struct run *run, u64 seed);

/* branches.c */
void play_branches(struct run *run, u64 seed);
void play_commit(struct run *run, u64 seed);
void play_drop(struct run *run, u64 seed);
void play_family(struct run *run, u64 seed);
void play_parent(struct run *run, u64 seed);
void play_slots(struct run *run, u64 seed);
void play_shared(struct run *run, u64 seed);

/* meta.c */
void play_meta(struct run *run, u64 seed);
void play_meta_commit(struct run *run, u64 seed);

/* random.c */
void play_random(struct run *run, u64 seed);
void play_random_branches(struct run *run, u64 seed);

#endif
