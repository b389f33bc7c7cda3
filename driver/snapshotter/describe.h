/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the pool keeps beside a branch: the snapshots that have it, as the store
 * has them, so that a lost metadata.db can be made again (rebuild.c). A branch's
 * metadata is one JSON object:
 *
 *   {"v":1,"snapshots":[{"id":…,"kind":…,"name":…,"parent":…,"created":…,
 *    "updated":…,"labels":{…}}]}
 *
 * parent: the id of one, absent: none; times: nanoseconds since the epoch;
 * labels: absent where they did not fit.
 *
 * Locks: describe_lock() orders who describes one branch; nothing but the
 * store's and the pool's locks is taken within it.
 */
#ifndef DAXFS_DESCRIBE_H
#define DAXFS_DESCRIBE_H

#include "pool.h"
#include "store.h"

/* Of a branch with this one snapshot; allocated. NULL: out of memory. */
char *describe_snapshot(const struct snapshot *snap);

/* The same by steps: NULL and false where memory is out. */
json_object *describe_begin(void);
bool describe_add(json_object *list, const struct snapshot *snap);
char *describe_end(json_object *list); /* takes `list`, which may be NULL */

/* fn: nonzero ends it and is returned. `snap` has no branch. */
typedef int (*describe_fn)(void *arg, struct snapshot *snap);
/* -1: this is no description that we know; what was valid was shown. */
int describe_read(const char *text, describe_fn fn, void *arg);

/* Around changing rows of a branch, and its metadata, in one piece. */
void describe_lock(const char *branch);
void describe_unlock(const char *branch);

/*
 * Bring a branch's metadata up to date with its rows, of which one has changed.
 * A failure is logged: the next start finds the difference.
 */
void describe_branch(struct store *store, struct pool *pool,
		     const char *branch);

#endif
