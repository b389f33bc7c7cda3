/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter.h"

#include <errno.h>

#include "../common/log.h"
#include "../common/util.h"
#include "labels.h"

/* ---- Create -------------------------------------------------------------- */

/* 1: the chain is here already, which the failure says; 0: go on. */
static int adopt(struct snapshotter *s, const char *key, const char *parent,
		 json_object *labels, struct failure *f)
{
	const char *chain = labels_get(labels, LABEL_REF);
	int rc;

	if (str_empty(chain))
		return 0;
	rc = store_adopt_chain(s->store, chain, key, parent, labels, f);
	if (rc > 0)
		failure_set(f, FAILURE_ALREADY_EXISTS, EEXIST,
			    "snapshot '%.300s' is here already", chain);
	return rc;
}

static int make_branch(struct snapshotter *s, const struct snapshot *snap,
		       const char *mountpoint, struct failure *f)
{
	bool readonly = snap->kind == KIND_VIEW;
	int rc = pool_create(s->pool, snap->branch, snap->parent_branch,
			     mountpoint, readonly, f);

	if (rc == 0 || f->status != FAILURE_RESOURCE_EXHAUSTED)
		return rc;
	/* what was removed may not have been freed yet */
	reaper_wait(s->reaper);
	return pool_create(s->pool, snap->branch, snap->parent_branch,
			   mountpoint, readonly, f);
}

int snapshotter_create(struct snapshotter *s, enum snapshot_kind kind,
		       const char *key, const char *parent, json_object *labels,
		       struct snapshot_mount *out, struct failure *f)
{
	struct failure undo;
	struct snapshot snap;
	int rc;

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
	if (rc < 0) {
		/* of branches, not of snapshots */
		if (f->status == FAILURE_NOT_FOUND ||
		    f->status == FAILURE_ALREADY_EXISTS)
			f->status = FAILURE_UNKNOWN;
		free(steal_ptr(&out->source));
		if (store_abandon(s->store, snap.id, &undo) < 0)
			log_event(LOG_ERROR,
				  "snapshot left half-made until "
				  "the next start",
				  "key", key, "error", undo.text, NULL);
		reaper_kick(s->reaper);
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
		log_event(LOG_WARN, "lost mount remade", "key", key,
			  "mountpoint", out->source, NULL);
	/* the client's word for it is "snapshot", not "branch" */
	if (rc < 0 && f->status == FAILURE_NOT_FOUND)
		failure_set(f, FAILURE_UNKNOWN, EIO,
			    "snapshot '%.300s': its branch %s is not in the "
			    "pool",
			    key, snap.branch);
	if (rc < 0)
		free(steal_ptr(&out->source));
	snapshot_clear(&snap);
	return rc < 0 ? -1 : 0;
}

/* ---- Commit -------------------------------------------------------------- */

static int seal(struct snapshotter *s, const struct snapshot *snap,
		struct failure *f)
{
	int64_t size = 0, inodes = 0;
	int rc = pool_seal(s->pool, snap->branch, f);

	if (rc == 0)
		rc = pool_usage(s->pool, snap->branch, &size, &inodes, f);
	if (rc == 0 && s->sync_commit)
		rc = pool_sync(s->pool, f);
	if (rc == 0)
		rc = store_end_commit(s->store, snap->id, size, inodes, f);
	return rc;
}

int snapshotter_commit(struct snapshotter *s, const char *key, const char *name,
		       json_object *labels, struct failure *f)
{
	char *mountpoint;
	struct snapshot snap;
	struct failure other;
	int rc;

	if (store_begin_commit(s->store, key, name, labels, &snap, f) < 0)
		return -1;
	rc = seal(s, &snap, f);
	/* sealed or not, it can be committed again */
	if (rc < 0 && store_cancel_commit(s->store, snap.id, &other) < 0)
		log_event(LOG_ERROR,
			  "commit left unfinished until the next "
			  "start",
			  "key", key, "error", other.text, NULL);
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
	int rc = store_remove(s->store, key, f);

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
		if (rc < 0 && f->status == FAILURE_NOT_FOUND)
			f->status = FAILURE_UNKNOWN;
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
