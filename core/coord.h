/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Regions that several processes or kernels have open.
 *
 * Everything that must be agreed upon is on media: who there is (instances),
 * who may change the branch table (one lease), and who uses a branch (a lease
 * each). A lease names its holder's instance; who holds one and has died loses
 * it to the next who wants it. Segments are claimed with compare-and-swap.
 *
 * Nobody looks at what another is changing: a branch is used by the holder of
 * its lease, or cannot be changed (main, sealed, or with live children). Only a
 * commit touches branches that others use: it asks everyone to stand still,
 * which means that no operation is under way and none begins, waits until all
 * that live do, and only then changes anything.
 *
 * In a region that is not shared all this costs one test of a flag.
 */
#ifndef DAXFS_COORD_H
#define DAXFS_COORD_H

#include "branch.h"

/*
 * Take table_lock, and in a shared region the table's lease; bring memory up to
 * date. EBUSY, EIO: neither is held. table_leave() also tells the front of
 * branches that others ended.
 */
int table_enter(struct daxfs_region *r);
void table_leave(struct daxfs_region *r);
/* The branch table has changed. */
void table_changed(struct daxfs_region *r);

/* Become an instance; *first: there is no other. Holds the table's lease. */
int coord_join(struct daxfs_region *r, bool *first);
/* The region is open: give the lease back. */
void coord_opened(struct daxfs_region *r);
/*
 * Before closing: take the table's lease, so that nobody opens the region until
 * coord_leave(). True: there is no other.
 */
bool coord_last(struct daxfs_region *r);
void coord_leave(struct daxfs_region *r);
/* A region that is opened by one alone: forget instances that have died. */
void coord_reset(struct daxfs_region *r);

/*
 * Until coord_go_on() all others stand still, on behalf of a commit of branch
 * `id`. EBUSY: one of them does not answer, and all go on. table_enter() held.
 */
int coord_stand_still(struct daxfs_region *r, u64 id);
void coord_go_on(struct daxfs_region *r);

/*
 * No operation is under way on any branch, and none begins: they wait. Until
 * branches_resume() in the same thread, which holds table_lock all the time.
 */
void branches_quiesce(struct daxfs_region *r);
void branches_resume(struct daxfs_region *r);

/*
 * A branch's lease and view, until as many branch_unuse() as branch_use().
 * EBUSY: another instance has it. In table_enter().
 */
int branch_use(struct daxfs_branch *b);
void branch_unuse(struct daxfs_branch *b);
/* Others thought that this instance had died: it must change nothing. */
bool coord_given_up(const struct daxfs_region *r);
/* Is there an instance of that number? */
bool coord_lives(const struct daxfs_region *r, u64 id);
/* EBUSY if an instance other than this one uses the branch. */
int branch_others(const struct daxfs_branch *b);

/* refresh.c */

/*
 * Make the view of a branch, and of its ancestors, which this instance uses or
 * nobody can change. It stays while the branch is used here, or a branch below
 * it has a view; that of main and of sealed branches for ever.
 */
int branch_load(struct daxfs_branch *b);
void branch_unload(struct daxfs_branch *b);
/* Bring the branches in memory up to date with the table. In table_enter(). */
int branches_refresh(struct daxfs_region *r);
/*
 * Free what belongs to no live branch, in table_enter(). Where the medium fails
 * r->scavenge asks for it again.
 */
void space_scavenge(struct daxfs_region *r);
/* Forget which segments the branch has. */
void space_forget(struct daxfs_branch *b);

#endif
