/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a region must show after a crash.
 *
 * After a kill each branch is there, and shows what it did, as before or as
 * after the step in flight. After a loss of power it shows what was synced: no
 * state older than the last one that a step has promised to keep, and newer
 * ones only around steps that have synced something. One that was never synced
 * is missing or shows what its parent does. A commit is seen wholly or not at
 * all. Bytes that were overwritten in place are old or new, 8 at a time.
 */
#ifndef CRASH_CHECK_H
#define CRASH_CHECK_H

#include "run.h"

/* A place in a trace. */
struct cut {
	u32 event; /* so many have happened, */
	u64 part;  /* and of the next one the first bytes */
};

/* Which states of a run are meant. */
struct moment {
	u32 done;   /* steps that have returned */
	u32 hi;     /* the last state that may be seen: done, or done + 1 */
	u32 boot;   /* of the machine */
	bool power; /* stores that were not synced may be lost */
	/* before that another process took over, and synced what there was */
	bool adopted;
};

/* The boots that come after all of a run's. */
#define NEXT_BOOT 50u

/* With power lost it is NEXT_BOOT's. */
struct moment moment_of(const struct run *run, struct cut cut, bool power);

/* Which boot it is when state `s` may be seen. */
u32 boot_at(const struct run *run, u32 s);
/* No state before this one may be what main shows. */
u32 oldest_main(const struct run *run, struct moment m);

/* The branches that are there, and what they show. */
bool check_states(const struct run *run, struct moment m,
		  const struct snapshot *got, struct reason *why);

/* A region that is being laid out: it need not open. */
bool may_be_bare(const struct run *run, struct moment m);

/*
 * `mem` is what a crash has left: open it in m.boot, compare, use it, end all
 * branches and look for leaks. `thorough`: also close it half-way and open it
 * again.
 */
bool check_crash(struct run *run, struct moment m, u8 *mem, size_t size,
		 bool thorough, struct reason *why);

#endif
