/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter.h"

#include <errno.h>

#include "../common/log.h"
#include "../common/util.h"
#include "describe.h"
#include "labels.h"

/* ---- Failures ------------------------------------------------------------ */

/*
 * The pool speaks of branches; the client knows the snapshot. `what` is
 * "snapshot" or "parent snapshot".
 */
static int pool_failed(const char *what, const char *key, struct failure *f)
{
	const struct failure why = *f;

	if (why.status == FAILURE_NOT_FOUND)
		return failure_set(f, FAILURE_PRECONDITION, EIO,
				   "%s '%.300s' is lost: the pool does not have "
				   "its branch; remove it",
				   what, key);
	return failure_set(f,
			   why.status == FAILURE_ALREADY_EXISTS
				   ? FAILURE_UNKNOWN
				   : why.status,
			   why.err, "%s '%.300s': %.400s", what, key, why.text);
}

static int by_value(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

bool snapshotter_is_lost(const struct snapshotter *s, int64_t id)
{
	return s->n_lost &&
	       bsearch(&id, s->lost, s->n_lost, sizeof(id), by_value);
}

/* ---- Create -------------------------------------------------------------- */

static void describe_key(struct snapshotter *s, const char *key)
{
	struct snapshot snap;
	struct failure f;

	if (store_get(s->store, key, &snap, &f) < 0)
		return; /* it has gone again */
	describe_branch(s->store, s->pool, snap.branch);
	snapshot_clear(&snap);
}

/* 1: the chain is here already, which the failure says; 0: go on. */
static int adopt(struct snapshotter *s, const char *key, const char *parent,
		 json_object *labels, struct failure *f)
{
	const char *chain = labels_get(labels, LABEL_REF);
	int rc;

	if (str_empty(chain))
		return 0;
	rc = store_adopt_chain(s->store, chain, key, parent, labels, f);
	if (rc > 1)
		describe_key(s, key);
	if (rc > 0)
		failure_set(f, FAILURE_ALREADY_EXISTS, EEXIST,
			    "snapshot '%.300s' is here already", chain);
	return rc;
}

static int make_branch(struct snapshotter *s, const struct snapshot *snap,
		       const char *mountpoint, struct failure *f)
{
	cleanup_free char *meta = describe_snapshot(snap);
	bool readonly = snap->kind == KIND_VIEW;
	int rc;

	if (!meta)
		return failure_no_memory(f);
	rc = pool_create(s->pool, snap->branch, snap->parent_branch, mountpoint,
			 readonly, meta, f);

	if (rc < 0 && f->status == FAILURE_RESOURCE_EXHAUSTED) {
		/* what was removed may not have been freed yet */
		reaper_wait(s->reaper);
		rc = pool_create(s->pool, snap->branch, snap->parent_branch,
				 mountpoint, readonly, meta, f);
	}
	if (rc == 0)
		rc = quota_begin(s, snap, f);
	if (rc == 0)
		return 0;
	/* of a new branch only the parent can be missing */
	return f->status == FAILURE_NOT_FOUND
		       ? pool_failed("parent snapshot", snap->parent, f)
		       : pool_failed("snapshot", snap->name, f);
}

/* As if the call had not been. */
static void undo_create(struct snapshotter *s, int64_t id, const char *key)
{
	struct failure f;

	if (store_abandon(s->store, id, &f) < 0) {
		log_event(LOG_ERROR, "snapshot left half-made for now", "key",
			  key, "error", f.text, NULL);
		reaper_undo(s->reaper, id, false);
	}
	reaper_kick(s->reaper);
}

int snapshotter_create(struct snapshotter *s, enum snapshot_kind kind,
		       const char *key, const char *parent, json_object *labels,
		       struct snapshot_mount *out, struct failure *f)
{
	struct snapshot snap;
	int rc;

	reaper_settle(s->reaper);
	if (kind == KIND_ACTIVE && adopt(s, key, parent, labels, f) != 0)
		return -1;
	if (store_begin_create(s->store, kind, key, parent, labels, &snap, f) <
	    0)
		return -1;
	out->readonly = kind == KIND_VIEW;
	out->source = pool_mountpoint(s->pool, snap.id);
	rc = out->source ? make_branch(s, &snap, out->source, f)
			 : failure_no_memory(f);
	if (rc == 0)
		rc = store_end_create(s->store, snap.id, f);
	if (rc == 0)
		rc = store_wait_durable(s->store, &snap, f);
	if (rc < 0) {
		free(steal_ptr(&out->source));
		undo_create(s, snap.id, key);
	}
	snapshot_clear(&snap);
	return rc;
}

/* ---- Mounts -------------------------------------------------------------- */

int snapshotter_mounts(struct snapshotter *s, const char *key,
		       struct snapshot_mount *out, struct failure *f)
{
	struct snapshot snap;
	int rc = store_get(s->store, key, &snap, f);

	if (rc < 0)
		return rc;
	if (snap.kind == KIND_COMMITTED) {
		snapshot_clear(&snap);
		return failure_set(f, FAILURE_PRECONDITION, EINVAL,
				   "snapshot '%.300s' is committed: it has no "
				   "mounts",
				   key);
	}
	out->readonly = snap.kind == KIND_VIEW;
	out->source = pool_mountpoint(s->pool, snap.id);
	rc = out->source ? pool_mount(s->pool, snap.branch, out->source,
				      out->readonly, f)
			 : failure_no_memory(f);
	if (rc > 0)
		log_event(LOG_INFO, "mounted again", "key", key, "mountpoint",
			  out->source, NULL);
	snapshot_clear(&snap);
	if (rc >= 0)
		return 0;
	free(steal_ptr(&out->source));
	return pool_failed("snapshot", key, f);
}

/* ---- Commit -------------------------------------------------------------- */

/* What it will be described as. NULL: out of memory. */
static char *describe_committed(const struct snapshot *snap, const char *name,
				json_object *labels)
{
	struct snapshot as = *snap;
	struct failure f;
	char *text;

	as.kind = KIND_COMMITTED;
	as.name = (char *)name;
	as.created_ns = snap->updated_ns;
	if (labels_copy(labels, &as.labels, &f) < 0)
		return NULL;
	text = describe_snapshot(&as);
	json_object_put(as.labels);
	return text;
}

static int seal(struct snapshotter *s, const struct snapshot *snap,
		const char *name, json_object *labels, struct failure *f)
{
	cleanup_free char *meta = describe_committed(snap, name, labels);
	int64_t size = 0, inodes = 0;
	int rc;

	if (!meta)
		return failure_no_memory(f);
	rc = pool_seal(s->pool, snap->branch, meta, &size, &inodes, f);
	if (rc < 0)
		return pool_failed("snapshot", snap->name, f);
	/* the branch is on disk: sealing it took it there */
	rc = store_wait_durable(s->store, snap, f);
	return rc < 0 ? rc
		      : store_end_commit(s->store, snap->id, snap->updated_ns,
					 size, inodes, f);
}

int snapshotter_commit(struct snapshotter *s, const char *key, const char *name,
		       json_object *labels, struct failure *f)
{
	char *mountpoint;
	struct snapshot snap;
	struct failure other;
	int rc;

	reaper_settle(s->reaper);
	if (store_begin_commit(s->store, key, name, labels, &snap, f) < 0)
		return -1;
	describe_lock(snap.branch);
	rc = seal(s, &snap, name, labels, f);
	describe_unlock(snap.branch);
	/* sealed or not, it can be committed again */
	if (rc < 0 && store_cancel_commit(s->store, snap.id, &other) < 0) {
		log_event(LOG_ERROR, "commit left unfinished for now", "key",
			  key, "error", other.text, NULL);
		reaper_undo(s->reaper, snap.id, true);
	}
	if (rc < 0) /* it may have been sealed as what it is not */
		describe_branch(s->store, s->pool, snap.branch);
	mountpoint = rc == 0 ? pool_mountpoint(s->pool, snap.id) : NULL;
	if (mountpoint) /* else the next start takes it away */
		reaper_unmount(s->reaper, mountpoint);
	snapshot_clear(&snap);
	return rc;
}

/* ---- The rest ------------------------------------------------------------ */

int snapshotter_remove(struct snapshotter *s, const char *key,
		       struct failure *f)
{
	int rc;

	reaper_settle(s->reaper);
	rc = store_remove(s->store, key, f);
	if (rc == 0)
		reaper_kick(s->reaper);
	return rc;
}

int snapshotter_usage(struct snapshotter *s, const char *key, int64_t *size,
		      int64_t *inodes, struct failure *f)
{
	struct snapshot snap;
	int rc = store_get(s->store, key, &snap, f);

	if (rc < 0)
		return rc;
	if (snap.kind == KIND_COMMITTED) {
		*size = snap.size;
		*inodes = snap.inodes;
	} else {
		rc = pool_usage(s->pool, snap.branch, size, inodes, f);
		if (rc < 0)
			pool_failed("snapshot", key, f);
	}
	snapshot_clear(&snap);
	return rc;
}

int snapshotter_cleanup(struct snapshotter *s, struct failure *f)
{
	(void)f;
	reaper_wait(s->reaper);
	return 0;
}
