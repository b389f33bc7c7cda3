/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots: rows of the store, each with a branch of the pool.
 *
 *   Prepare, View  row "preparing" → branch and mount → row "ready"
 *   Commit         row "committing" → branch sealed → row "ready", committed
 *   Remove         row "removing", without a name; the reaper takes the mount
 *                  and the branch away and then forgets the row
 *
 * A process that dies anywhere in between leaves a row that says what to finish
 * or to undo (snapshotter_reconcile). Snapshots adopted by snapshot.ref share
 * the branch of the one that they stand for; it goes with the last of them.
 *
 * Threads: any may call any of these. Two calls for one snapshot are ordered by
 * the row's state, which only one of them can change. No lock is held across a
 * call to the pool but the pool's own.
 */
#ifndef DAXFS_SNAPSHOTTER_H
#define DAXFS_SNAPSHOTTER_H

#include "pool.h"
#include "store.h"

struct reaper;

struct snapshotter {
	struct store *store;
	struct pool *pool;
	struct reaper *reaper;
	bool sync_commit; /* a layer is on disk before Commit answers */
};

/* What containerd mounts: a bind of *source, which the caller frees. */
struct snapshot_mount {
	char *source;
	bool readonly;
};

int snapshotter_create(struct snapshotter *s, enum snapshot_kind kind,
		       const char *key, const char *parent, json_object *labels,
		       struct snapshot_mount *out, struct failure *f);
int snapshotter_mounts(struct snapshotter *s, const char *key,
		       struct snapshot_mount *out, struct failure *f);
int snapshotter_commit(struct snapshotter *s, const char *key, const char *name,
		       json_object *labels, struct failure *f);
int snapshotter_remove(struct snapshotter *s, const char *key,
		       struct failure *f);
int snapshotter_usage(struct snapshotter *s, const char *key, int64_t *size,
		      int64_t *inodes, struct failure *f);

/* Wait until what was removed before the call is freed, as far as it can be. */
int snapshotter_cleanup(struct snapshotter *s, struct failure *f);

/*
 * Once, before serving: make rows, branches and mounts agree. Says in the log
 * what it did.
 */
int snapshotter_reconcile(struct snapshotter *s, struct failure *f);

/*
 * ---- reaper.c: what a call need not wait for, in a thread of its own --------
 * Frees what was removed, takes away mounts that are not needed any more.
 */

int reaper_start(struct store *store, struct pool *pool, struct reaper **out,
		 struct failure *f);
/* Does what is to do, for some seconds at most. NULL is fine. */
void reaper_stop(struct reaper *r);
void reaper_kick(struct reaper *r); /* there is something to free */
/* Take this mount away; `mountpoint` becomes the reaper's to free. */
void reaper_unmount(struct reaper *r, char *mountpoint);
void reaper_wait(struct reaper *r); /* until a pass that began after this */

/* One pass, in the caller's thread. *freed and *left may be NULL. */
int reaper_pass(struct store *store, struct pool *pool, unsigned *freed,
		unsigned *left, struct failure *f);

#endif
