/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metadata of snapshots in SQLite.
 *
 * An operation that also changes the pool is two transactions around the
 * change: the first leaves a state that says what is under way, the second
 * ends it. A row in such a state is finished or undone at the next start.
 *
 * Durability: containerd's own database is synced, and a snapshot that it knows
 * must not be gone after a power cut. The first transaction goes to disk while
 * the pool works, and before the call is answered (store_wait_durable); the
 * second may be lost. So after another boot a row that says what was under way
 * may have been answered, and what it says is finished. Updates are synced, and
 * what undoes a first transaction. Removals are not: what comes back is removed
 * again. Syncing is wal.c's; calls at the same time share it.
 *
 * Locks: store->lock around every use of the writing connection, held for one
 * transaction only. Lists read on connections of their own (store->readers,
 * under readers_lock), so that a slow one delays nobody. Both locks are leaves.
 */
#ifndef DAXFS_STORE_H
#define DAXFS_STORE_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "failure.h"
#include "filter.h"

#define STORE_NAME_MAX 4096 /* bytes of a key or name */

enum snapshot_kind { KIND_VIEW = 1, KIND_ACTIVE = 2, KIND_COMMITTED = 3 };

enum snapshot_state {
	STATE_NONE = 0,
	STATE_PREPARING = 1, /* the branch may not be there yet */
	STATE_READY = 2,
	STATE_COMMITTING = 3, /* active, to become `pending` */
	STATE_REMOVING = 4, /* without a name; the branch may still be there */
};

struct snapshot {
	int64_t id;
	enum snapshot_kind kind;
	enum snapshot_state state;
	char *name;        /* NULL: removing */
	char *parent;      /* "": none */
	int64_t parent_id; /* 0: none */
	char *branch;
	char *parent_branch; /* NULL: none */
	json_object *labels; /* strings to strings */
	int64_t created_ns, updated_ns;
	int64_t size, inodes; /* of a committed one */
	uint64_t commit;      /* of one that was changed: the transaction */
};

struct store;

/* Now, for created and updated. */
int64_t now_ns(void);

/*
 * Open or create. The failure names the file and what to do; its err is EUCLEAN
 * where the file is damaged.
 */
int store_open(const char *path, struct store **out, struct failure *f);
void store_close(struct store *s); /* NULL is fine */

/*
 * The disk has failed to take what was written: no call that changes a snapshot
 * succeeds any more until the store is opened by another process, which is what
 * fn (any thread, with locks held) is to bring about.
 */
void store_on_failure(struct store *s, void (*fn)(void));

/* "view", "active", "committed". */
const char *snapshot_kind_name(enum snapshot_kind kind);
void snapshot_clear(struct snapshot *s); /* frees the members */

/* Small facts about the store itself; *value is allocated, NULL when unset. */
int store_get_meta(struct store *s, const char *key, char **value,
		   struct failure *f);
int store_set_meta(struct store *s, const char *key, const char *value,
		   struct failure *f);

/*
 * ---- store_rebuild.c ----
 * Rename a damaged store, with its log; *aside is its new name, allocated.
 */
int store_set_aside(const char *path, char **aside, struct failure *f);
/* The store is gone, but not its log, which must not get into a new one. */
bool store_left_log(const char *path);
/*
 * In one durable transaction: make rows of all of these that are ready, or are
 * to be removed, in order of id, of this pool. Ids continue after last_id. `kept` becomes the fact
 * STORE_KEPT: branches up to there that no row has are not ours to delete.
 */
#define STORE_KEPT "kept_branches"
int store_fill(struct store *s, const struct snapshot *rows, size_t n,
	       const char *pool, int64_t last_id, int64_t kept,
	       struct failure *f);

/* The highest id that was ever given, 0: none; -1. */
int64_t store_last_id(struct store *s, struct failure *f);

/*
 * NotFound: no such parent; InvalidArgument: the parent is not committed;
 * AlreadyExists. The row is then "preparing" and out->branch its new branch's
 * name. `labels` may be NULL and is not kept.
 */
int store_begin_create(struct store *s, enum snapshot_kind kind,
		       const char *key, const char *parent, json_object *labels,
		       struct snapshot *out, struct failure *f);
int store_end_create(struct store *s, int64_t id, struct failure *f);

/* Wait until what began with `snap` is on disk: before answering. */
int store_wait_durable(struct store *s, const struct snapshot *snap,
		       struct failure *f);

/*
 * snapshot.ref: is `chain` here already, as a committed snapshot whose parent
 * holds the same as `parent`? 1: yes, and a committed snapshot with these
 * labels and that parent was recorded; 2: it is so now, as `key`, and shares the
 * branch; 0: no.
 */
int store_adopt_chain(struct store *s, const char *chain, const char *key,
		      const char *parent, json_object *labels,
		      struct failure *f);

/* A snapshot without its branch answers for no chain. */
int store_drop_chain(struct store *s, int64_t id, struct failure *f);

/*
 * AlreadyExists: name; NotFound: key; FailedPrecondition: not active. The row
 * is then "committing" and keeps its key until store_end_commit(), which takes
 * the time of the commit: out->updated_ns.
 */
int store_begin_commit(struct store *s, const char *key, const char *name,
		       json_object *labels, struct snapshot *out,
		       struct failure *f);
int store_end_commit(struct store *s, int64_t id, int64_t time_ns, int64_t size,
		     int64_t inodes, struct failure *f);
/* 0 also when it is not being committed. */
int store_cancel_commit(struct store *s, int64_t id, struct failure *f);

/*
 * Takes the name away; the rest is for whoever frees the branch. NotFound;
 * FailedPrecondition with children.
 */
int store_remove(struct store *s, const char *key, struct failure *f);
/* The same for a row that was never ready. */
int store_abandon(struct store *s, int64_t id, struct failure *f);
/*
 * Forget a removed row. 0; 1: not yet, rows that name it as parent are still
 * to be freed.
 */
int store_forget(struct store *s, int64_t id, struct failure *f);
/* Is the branch used by another row than `id`? 1, 0 or -1. */
int store_branch_shared(struct store *s, const char *branch, int64_t id,
			struct failure *f);

/* A snapshot that is ready, or being committed. NotFound. */
int store_get(struct store *s, const char *key, struct snapshot *out,
	      struct failure *f);

/*
 * Change labels: `fields` are field mask paths, "labels" or "labels.KEY", none
 * means all labels. Answers the new state. NotFound; InvalidArgument: any other
 * field. For store_wait_durable().
 */
int store_update(struct store *s, const char *name, json_object *labels,
		 const char *const *fields, unsigned n, struct snapshot *out,
		 struct failure *f);

/* fn: nonzero ends the walk and is returned. `snap` is valid in the call. */
typedef int (*store_walk_fn)(void *arg, const struct snapshot *snap);

/* Visible snapshots that match, by name. One consistent view of the data. */
int store_list(struct store *s, struct filter *filter, store_walk_fn fn,
	       void *arg, struct failure *f);

/* Visible snapshots that have a branch, by id; fn must not call the store. */
int store_walk_branch(struct store *s, const char *branch, store_walk_fn fn,
		      void *arg, struct failure *f);

/*
 * All rows, or those in one state (0: any), by id, downwards if `descending`.
 * They are read first and visited then: fn may call the store.
 */
int store_walk(struct store *s, enum snapshot_state state, bool descending,
	       store_walk_fn fn, void *arg, struct failure *f);

/*
 * ---- store_monitor.c: on reading connections, beside all calls --------------
 */

struct store_counts {
	int64_t ready[KIND_COMMITTED + 1]; /* by kind */
	int64_t preparing, committing, removing;
};

int store_counts(struct store *s, struct store_counts *out, struct failure *f);

/* How many of these ids are snapshots that nobody has removed; -1. */
int64_t store_count_named(struct store *s, const int64_t *ids, size_t n,
			  struct failure *f);

/*
 * keys[i] becomes the key or name of a snapshot on branches[i], allocated, or
 * NULL where there is none. After a failure too the caller frees all `n`, which
 * begin as NULL.
 */
int store_find_keys(struct store *s, const char *const *branches, size_t n,
		    char **keys, struct failure *f);

#endif
