/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots: rows of the store, each with a branch of the pool.
 *
 *   Prepare, View  row "preparing" → branch and mount → row "ready"
 *   Commit         row "committing" → branch sealed → row "ready", committed;
 *                  undone where it does not get there: the row is active again,
 *                  and can be committed again or removed
 *   Remove         row "removing", without a name; the reaper takes the mount
 *                  and the branch away and then forgets the row
 *
 * A process that dies anywhere in between leaves a row that says what to undo
 * or, of a removal, to finish (snapshotter_reconcile). A client whose call was
 * not answered takes it for not done, so undoing is what agrees with it.
 *
 * Snapshots adopted by snapshot.ref share the branch of the one that they stand
 * for; it goes with the last of them. A lost snapshot is one whose branch is not
 * in the pool: all that can be done with it is to list, relabel and remove it.
 *
 * Each branch has a description of its snapshots in the pool (describe.h), made
 * with it and sealed with it, so that it costs no call of its own; only changed
 * labels and adopted snapshots do.
 *
 * Threads: any may call any of these. Two calls for one snapshot are ordered by
 * the row's state, which only one of them can change. No lock is held across a
 * call to the pool but the pool's own, and describe_lock(), whose users write a
 * branch's metadata.
 */
#ifndef DAXFS_SNAPSHOTTER_H
#define DAXFS_SNAPSHOTTER_H

#include "pool.h"
#include "store.h"

struct reaper;

/* What the start found and did. */
struct reconciled {
	unsigned snapshots, commits_undone, creations_undone;
	unsigned removals_to_finish, branches_remade, branches_dropped;
	unsigned mountpoints_removed;
};

struct snapshotter {
	struct store *store;
	struct pool *pool;
	struct reaper *reaper;
	int64_t *lost; /* ids, ascending; fixed once the start has found them */
	size_t n_lost;
	struct reconciled reconciled; /* the same */
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
/* store_update(), and what labels mean takes effect. */
int snapshotter_update(struct snapshotter *s, const char *name,
		       json_object *labels, const char *const *fields,
		       unsigned n, struct snapshot *out, struct failure *f);
int snapshotter_usage(struct snapshotter *s, const char *key, int64_t *size,
		      int64_t *inodes, struct failure *f);

/* Wait until what was removed before the call is freed, as far as it can be. */
int snapshotter_cleanup(struct snapshotter *s, struct failure *f);

/*
 * Once, before serving: make rows, branches and mounts agree. Says in the log
 * what it did. Its work is the rows and branches read once, and what is odd; a
 * mount that is not there is made when it is asked for, and what was removed is
 * freed by the reaper. The failure's err is ESTALE, and nothing is changed, where
 * the pool has snapshots that are younger than the store: it is to be rebuilt.
 */
int snapshotter_reconcile(struct snapshotter *s, struct failure *f);

/* "s-17", a branch of ours → 17; -1: somebody else's. */
int64_t snapshotter_branch_id(const char *name);

/*
 * rebuild.c: the store is new, but the pool is not: make rows of what its
 * branches say of themselves. Says in the log what came back.
 */
int snapshotter_rebuild(struct snapshotter *s, struct failure *f);

/* Is the row's branch not in the pool? */
bool snapshotter_is_lost(const struct snapshotter *s, int64_t id);
void snapshotter_free_lost(struct snapshotter *s);

/* ---- quota.c: quotas by label -------------------------------------------- */

/* Give the snapshot's branch, which is new, the quota that its labels ask for. */
int quota_begin(struct snapshotter *s, const struct snapshot *snap,
		struct failure *f);

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
/*
 * The metadata could not be written to undo what failed: row `id` is still
 * "committing", or else "preparing" or ready though its client was told that it
 * is not. Tried again by passes, and by reaper_settle() before calls go on.
 */
void reaper_undo(struct reaper *r, int64_t id, bool commit);
void reaper_settle(struct reaper *r);

/* One pass, in the caller's thread. *freed and *left may be NULL. */
int reaper_pass(struct store *store, struct pool *pool, unsigned *freed,
		unsigned *left, struct failure *f);

#endif
