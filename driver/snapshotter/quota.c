/* SPDX-License-Identifier: Apache-2.0 */
/* Labels that limit what a snapshot's own files take. */
#include "describe.h"
#include "labels.h"
#include "snapshotter.h"

int quota_begin(struct snapshotter *s, const struct snapshot *snap,
		struct failure *f)
{
	struct quota q;

	if (labels_quota(snap->labels, &q, f) < 0)
		return -1;
	if (snap->kind != KIND_ACTIVE || (!q.bytes && !q.inodes))
		return 0;
	return pool_set_quota(s->pool, snap->branch, q.bytes, q.inodes, f);
}

/* A quota that is set by hand stays while the labels have none. */
static int change(struct snapshotter *s, const struct snapshot *snap,
		  const struct quota *was, struct failure *f)
{
	struct failure why;
	struct quota q;

	if (labels_quota(snap->labels, &q, f) < 0)
		return -1;
	if (snap->kind != KIND_ACTIVE ||
	    !(q.bytes || q.inodes || was->bytes || was->inodes) ||
	    pool_set_quota(s->pool, snap->branch, q.bytes, q.inodes, &why) == 0)
		return 0;
	return failure_set(f,
			   why.status == FAILURE_NOT_FOUND ? FAILURE_UNKNOWN
							   : why.status,
			   why.err,
			   "snapshot '%.300s': its labels are changed, but not "
			   "its quota: %.400s; set the label again",
			   snap->name, why.text);
}

int snapshotter_update(struct snapshotter *s, const char *name,
		       json_object *labels, const char *const *fields,
		       unsigned n, struct snapshot *out, struct failure *f)
{
	struct snapshot old;
	struct quota was;
	int rc;

	if (store_get(s->store, name, &old, f) < 0)
		return -1;
	rc = labels_quota(old.labels, &was, f);
	snapshot_clear(&old);
	if (rc < 0 || store_update(s->store, name, labels, fields, n, out, f))
		return -1;
	describe_branch(s->store, s->pool, out->branch);
	rc = change(s, out, &was, f);
	if (rc == 0)
		rc = store_wait_durable(s->store, out, f);
	if (rc < 0)
		snapshot_clear(out);
	return rc;
}
