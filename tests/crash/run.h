/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recorded run of a scenario: the stores of its steps, and what the region
 * showed after each. State 0 is before the first step, state i+1 after step i.
 */
#ifndef CRASH_RUN_H
#define CRASH_RUN_H

#include "snapshot.h"
#include "trace.h"

/* What is durable for sure once a step has returned. */
enum scope {
	SYNCS_NOTHING,
	SYNCS_BRANCH, /* a branch and its ancestors */
	SYNCS_ALL,
};

struct step {
	char text[160];
	u32 begin, end; /* its marks in the trace */
	u32 scope;      /* enum scope */
	u32 commits;    /* a commit: it happens wholly or not at all */
	u32 has_sync;   /* it has synced something, whatever its scope */
	u32 boot;
	u64 branch; /* SYNCS_BRANCH: its id */
	u32 writes; /* a write: with a sync in it, it may be there in part */
	u32 reserved;
};

struct run {
	char name[32];
	struct trace trace;
	struct step *steps;
	u32 count;
	struct snapshot *states; /* count + 1 */
	u64 *spare; /* for check.c: by state, segments free in the end, plus 1 */

	/* while it is recorded */
	u8 *mem;
	size_t size;
	struct daxfs_region *r;
	u32 boot;
	u32 flags; /* to open it with; set before run_start() */
};

#define LARGEST_REGION (4ull << 20)

/* The boot that runs are recorded in. */
#define FIRST_BOOT 1u

/* For scenarios: open what lies in `mem`, take state 0 and record from now. */
void run_start(struct run *run, u8 *mem, size_t size);
/* The same where there is no region yet: state 0 is empty. */
void run_start_bare(struct run *run, u8 *mem, size_t size);
/* The first open of a region that has just been laid out. */
void run_open(struct run *run);
void run_stop(struct run *run);
void run_free(struct run *run);

void step_begin(struct run *run, const char *text);
/* `branch`: for SYNCS_BRANCH, its name. */
void step_end(struct run *run, bool ok, enum scope scope, const char *branch);

/*
 * One step: the expression, which must be true. _WRITE: it may need more than
 * one transaction to write to files, where space is short. _FSYNC: it syncs the branch of
 * that name, _SYNC: everything, _COMMIT: as a commit.
 */
#define STEP_AS(run, scope, branch, call)             \
	do {                                          \
		step_begin(run, #call);               \
		step_end(run, (call), scope, branch); \
	} while (0)
#define STEP(run, call) STEP_AS(run, SYNCS_NOTHING, NULL, call)
#define STEP_WRITE(run, call)                              \
	do {                                               \
		STEP(run, call);                           \
		(run)->steps[(run)->count - 1].writes = 1; \
	} while (0)
#define STEP_FSYNC(run, branch, call) STEP_AS(run, SYNCS_BRANCH, branch, call)
#define STEP_SYNC(run, call) STEP_AS(run, SYNCS_ALL, NULL, call)
#define STEP_COMMIT(run, call)                              \
	do {                                                \
		STEP_AS(run, SYNCS_ALL, NULL, call);        \
		(run)->steps[(run)->count - 1].commits = 1; \
	} while (0)

/* The process is killed and another one opens the region, which syncs it. */
void run_restart(struct run *run);
/* The region is closed and opened by the machine's next boot. */
void run_reboot(struct run *run);

/* To and from a file, for a checker that cannot record. False: errno. */
bool run_save(const struct run *run, FILE *f);
bool run_load(struct run *run, FILE *f);

/* With `seeds` there are that many of it, named NAME-1 and on. */
struct scenario {
	const char *name;
	void (*play)(struct run *run, u64 seed);
	u32 seeds, seeds_long; /* the second with LONG=1; 0: it takes none */
};

extern const struct scenario scenarios[];
extern const u32 scenario_count;

#endif
