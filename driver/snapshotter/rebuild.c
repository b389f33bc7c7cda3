/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store is lost, but not the pool: its branches say which snapshots they
 * are (describe.h). All rows are made in one transaction, so a process that is
 * killed here leaves the work to the next one as it was.
 *
 * A branch that says nothing, as those of programs before there were
 * descriptions, gets no row: nobody knows its name. It stays, and is for an
 * operator to look into and to delete. Two that claim one name: the younger
 * one has it; the elder was removed, and not freed yet.
 */
#include <errno.h>
#include <stdio.h>

#include "../common/fault.h"
#include "../common/log.h"
#include "../common/util.h"
#include "describe.h"
#include "snapshotter.h"

#define UNKNOWN_LINES 100 /* named in the log */

struct rebuild {
	struct snapshot *v;
	size_t n, cap;
	const struct pool_branch *branch; /* that is being read */
	int64_t last_id, kept;
	unsigned unknown, conflicts, orphans;
	struct failure *f;
};

/* ---- Reading the pool ---------------------------------------------------- */

static int add_snapshot(void *arg, struct snapshot *snap)
{
	struct rebuild *r = arg;
	size_t cap = r->cap ? 2 * r->cap : 64;

	if (r->n == r->cap) {
		struct snapshot *more = reallocarray(r->v, cap, sizeof(*more));

		if (!more)
			return failure_no_memory(r->f) - 1;
		r->v = more;
		r->cap = cap;
	}
	snap->branch = strdup(r->branch->name);
	if (!snap->branch)
		return failure_no_memory(r->f) - 1;
	if (snap->kind == KIND_COMMITTED) {
		snap->size = r->branch->bytes;
		snap->inodes = r->branch->inodes;
	}
	if (snap->id > r->last_id)
		r->last_id = snap->id;
	r->v[r->n++] = *snap;
	memset(snap, 0, sizeof(*snap));
	return 0;
}

static int read_branch(void *arg, const struct pool_branch *b)
{
	int64_t id = snapshotter_branch_id(b->name);
	struct rebuild *r = arg;
	int rc;

	if (id < 0)
		return 0;
	if (id > r->last_id)
		r->last_id = id;
	r->branch = b;
	rc = b->meta ? describe_read(b->meta, add_snapshot, r) : -1;
	if (rc < -1)
		return -1;
	if (rc == 0)
		return 0;
	if (id > r->kept)
		r->kept = id;
	if (r->unknown++ < UNKNOWN_LINES)
		log_event(LOG_WARN,
			  "branch of an unknown snapshot stays: look into it "
			  "with daxfs-branch, and delete it",
			  "branch", b->name, "reason",
			  b->meta ? "its description cannot be read"
				  : "it has no description",
			  NULL);
	return 0;
}

/* ---- Making it consistent ------------------------------------------------ */

static int by_name(const void *a, const void *b)
{
	const struct snapshot *x = a, *y = b;
	int c = strcmp(x->name, y->name);

	return c ? c : (x->id > y->id) - (x->id < y->id);
}

static int by_id(const void *a, const void *b)
{
	const struct snapshot *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static void drop(struct rebuild *r, struct snapshot *snap,
		 enum snapshot_state state, const char *why)
{
	log_event(LOG_WARN, "snapshot in the pool is left out", "key",
		  snap->name, "branch", snap->branch, "reason", why, NULL);
	snap->state = state;
	snap->parent_id = 0;
	r->conflicts++;
}

/* No row can have it: its branch stays. */
static void leave(struct rebuild *r, struct snapshot *snap)
{
	int64_t id = snapshotter_branch_id(snap->branch);

	drop(r, snap, STATE_NONE, "another one has the id");
	if (id > r->kept)
		r->kept = id;
}

static void resolve_conflicts(struct rebuild *r)
{
	if (!r->n)
		return;
	qsort(r->v, r->n, sizeof(*r->v), by_name);
	for (size_t i = 0; i + 1 < r->n; i++)
		if (str_eq(r->v[i].name, r->v[i + 1].name))
			drop(r, &r->v[i], STATE_REMOVING,
			     "a younger one has the name");
	qsort(r->v, r->n, sizeof(*r->v), by_id);
	for (size_t i = 0; i + 1 < r->n; i++)
		if (r->v[i].id == r->v[i + 1].id)
			leave(r, &r->v[i]);
}

static bool may_be_parent(const struct rebuild *r, int64_t id)
{
	const struct snapshot key = { .id = id };
	const struct snapshot *p =
		bsearch(&key, r->v, r->n, sizeof(key), by_id);

	return p && p->state == STATE_READY && p->kind == KIND_COMMITTED;
}

static void check_parents(struct rebuild *r)
{
	for (size_t i = 0; i < r->n; i++) {
		struct snapshot *snap = &r->v[i];

		if (snap->state != STATE_READY || !snap->parent_id ||
		    may_be_parent(r, snap->parent_id))
			continue;
		log_event(LOG_WARN,
			  "snapshot comes back without its parent's name",
			  "key", snap->name, NULL);
		snap->parent_id = 0;
		r->orphans++;
	}
}

static size_t count_ready(const struct rebuild *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++)
		n += r->v[i].state == STATE_READY;
	return n;
}

int snapshotter_rebuild(struct snapshotter *s, struct failure *f)
{
	struct rebuild r = { .f = f };
	cleanup_free char *uuid = NULL;
	int rc = pool_walk_meta(s->pool, read_branch, &r, f);

	if (rc == 0)
		rc = pool_uuid(s->pool, &uuid, f);
	if (rc == 0 && r.last_id) {
		resolve_conflicts(&r);
		check_parents(&r);
		FAULT_POINT("rebuild.read");
		rc = store_fill(s->store, r.v, r.n, uuid, r.last_id, r.kept, f);
		FAULT_POINT("rebuild.filled");
	}
	if (rc == 0 && r.last_id)
		log_event(LOG_WARN, "metadata rebuilt from the pool",
			  "snapshots", log_fmt("%zu", count_ready(&r)),
			  "left_out", log_fmt("%u", r.conflicts),
			  "without_parent", log_fmt("%u", r.orphans),
			  "unknown_branches", log_fmt("%u", r.unknown), NULL);
	for (size_t i = 0; i < r.n; i++)
		snapshot_clear(&r.v[i]);
	free(r.v);
	return rc;
}
