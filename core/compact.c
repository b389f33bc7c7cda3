// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Compaction of a branch's log: what differs from the parent is written once
 * more, then everything before it is dead.
 *
 * Records are states, so replaying the old log and any part of the new one
 * gives the same view: a crash or a full region half-way loses nothing. The
 * switch is the single store to the entry's log_start.
 */
#include "branch.h"
#include "view.h"

#define COMPACT_MIN 16u /* log segments before the first compaction */
#define BATCH 16384u    /* bytes of records in one transaction */

struct compaction {
	struct daxfs_branch *b;
	const struct view *own, *old; /* as they were; the parent's */
};

/* Commit the batch when it is long enough, or in any case. */
static int flush(struct daxfs_branch *b, bool all)
{
	int rc;

	if (!b->txn->records || (!all && b->txn->len < BATCH))
		return 0;
	b->txn->frees = true; /* it will give back more than it takes */
	rc = txn_append(b);
	return rc ? rc : txn_begin(b);
}

/* ---- Inodes ------------------------------------------------------------------ */

static int put_inode(void *arg, struct pkey k, const void *v)
{
	const struct compaction *c = arg;
	const struct dinode *in = v, *old = ptree_get(&c->old->inodes, k);

	if (old && !memcmp(old, in, sizeof(*in)))
		return 0;
	if (in->mode)
		txn_inode(c->b, k.hi, in);
	else
		txn_forget(c->b, k.hi);
	return flush(c->b, false);
}

static int put_no_inode(void *arg, struct pkey k, const void *v)
{
	const struct compaction *c = arg;

	(void)v;
	if (ptree_get(&c->own->inodes, k))
		return 0;
	txn_forget(c->b, k.hi);
	return flush(c->b, false);
}

/* ---- Names ------------------------------------------------------------------- */

static int put_dirent(void *arg, struct pkey k, const void *v)
{
	const struct compaction *c = arg;
	const struct dirent_val *d = v, *old = ptree_get(&c->old->dirents, k);

	if (old && !memcmp(old, d, sizeof(*d)))
		return 0;
	txn_dirent(c->b, k.hi, at(c->b->r, d->name), d->name_len, d->child,
		   d->mode);
	return flush(c->b, false);
}

static int put_no_dirent(void *arg, struct pkey k, const void *v)
{
	const struct compaction *c = arg;
	const struct dirent_val *old = v;
	struct dirent_val found;
	struct pkey key;

	if (dirent_find(c->b, k.hi, at(c->b->r, old->name), old->name_len, &key,
			&found))
		return 0;
	txn_dirent(c->b, k.hi, at(c->b->r, old->name), old->name_len, 0, 0);
	return flush(c->b, false);
}

/* ---- Extents ------------------------------------------------------------------ */

/*
 * Where the parent has an extent and the branch none. What the branch has stays
 * until put_extent() says it again: the log may end between the two.
 */
static int put_no_extent(void *arg, struct pkey k, const void *v)
{
	const struct compaction *c = arg;
	const struct dinode none = { 0 };
	const struct extent_val *old = v;
	u64 off = k.lo, end = k.lo + old->len;
	struct map m;
	int rc = 0;

	for (; !rc && off < end; off += m.len) {
		view_map(c->b, k.hi, &none, off, end, &m);
		if (m.extent)
			continue;
		txn_unmap(c->b, k.hi, off, m.len);
		rc = flush(c->b, false);
	}
	return rc;
}

static int put_extent(void *arg, struct pkey k, const void *v)
{
	const struct compaction *c = arg;
	const struct extent_val *e = v, *old = ptree_get(&c->old->extents, k);

	if (old && !memcmp(e, old, sizeof(*e)))
		return 0;
	txn_extent(c->b, k.hi, k.lo, e->len, e->media);
	return flush(c->b, false);
}

/* ---- Extended attributes --------------------------------------------------------- */

static int put_xattr(void *arg, struct pkey k, const void *v)
{
	const struct compaction *c = arg;
	const struct xattr_val *x = v, *old = ptree_get(&c->old->xattrs, k);
	const char *name = at(c->b->r, x->name);

	if (old && !memcmp(old, x, sizeof(*x)))
		return 0;
	if (x->flags & XATTR_GONE)
		txn_noxattr(c->b, k.hi, name, x->name_len);
	else
		txn_xattr(c->b, k.hi, name, x->name_len, at(c->b->r, x->value),
			  x->value_len, x->flags & XATTR_BLOCK ? x->value : 0);
	return flush(c->b, false);
}

static int put_no_xattr(void *arg, struct pkey k, const void *v)
{
	const struct compaction *c = arg;
	const struct xattr_val *old = v;
	struct xattr_val found;
	struct pkey key;

	if (xattr_find(c->b, k.hi, at(c->b->r, old->name), old->name_len, &key,
		       &found))
		return 0;
	txn_noxattr(c->b, k.hi, at(c->b->r, old->name), old->name_len);
	return flush(c->b, false);
}

/* ---- All of it --------------------------------------------------------------------- */

typedef int (*walk_fn)(void *arg, struct pkey k, const void *v);

/* What is gone, then what is. */
static int diff(struct compaction *c, const struct ptree *own,
		const struct ptree *old, walk_fn gone, walk_fn here)
{
	int rc = ptree_walk_unshared(old, own, gone, c);

	return rc ? rc : ptree_walk_unshared(own, old, here, c);
}

static int write_state(struct compaction *c)
{
	const struct view *o = c->own, *p = c->old;
	int rc = txn_begin(c->b);

	if (!rc)
		rc = diff(c, &o->inodes, &p->inodes, put_no_inode, put_inode);
	if (!rc)
		rc = diff(c, &o->dirents, &p->dirents, put_no_dirent,
			  put_dirent);
	if (!rc)
		rc = diff(c, &o->extents, &p->extents, put_no_extent,
			  put_extent);
	if (!rc)
		rc = diff(c, &o->xattrs, &p->xattrs, put_no_xattr, put_xattr);
	return rc ? rc : flush(c->b, true);
}

/* The new log is durable before the old one dies, and that before reuse. */
static int switch_logs(struct daxfs_branch *b, u64 start)
{
	int rc = branch_sync_held(b);

	if (rc)
		return rc;
	port_store(&branch_entry(b)->log_start, cpu_to_le64(start));
	rc = sync_entry(b);
	if (rc)
		return rc;
	/* readers may be looking at a name in the old log */
	port_write_lock(&b->lock);
	port_write_unlock(&b->lock);
	segment_free_logs(b, start);
	return 0;
}

static int compact(struct daxfs_branch *b)
{
	struct daxfs_region *r = b->r;
	struct compaction c = { .b = b };
	struct view own, none; /* below main there is only the base image */
	u64 start;
	int rc;

	/* a number of its own, which nothing older has and all newer exceed */
	start = space_order(r);
	view_init(&none);
	view_clone(&own, &b->view);
	c.own = &own;
	c.old = b->parent ? &b->parent->view : &none;
	b->log.seg = NO_SEGMENT;
	b->exempt = true;
	b->replaying = true; /* the blocks named again are not to be freed */
	rc = write_state(&c);
	b->replaying = false;
	b->exempt = false;
	view_drop(&own);
	return rc ? rc : switch_logs(b, start);
}

/*
 * Both logs must fit for a while. That they do is what space.c keeps segments
 * free for, but other branches may have taken them.
 */
static bool worth_it(struct daxfs_branch *b, u32 segs)
{
	struct daxfs_region *r = b->r;
	u32 spare;

	port_lock(&r->space_lock);
	spare = r->free_segs;
	port_unlock(&r->space_lock);
	if (spare < segs)
		return false;
	/* when space is nearly used up any growth is worth the work */
	return segs >= b->compact_at ||
	       ((spare <= r->reserve + segs || quota_log(b)) &&
		segs > b->compacted);
}

void log_compact(struct daxfs_branch *b)
{
	struct txn *saved = b->txn;
	u32 segs = log_segments(b);

	if (!b->compact_at)
		b->compact_at = COMPACT_MIN;
	/* a sync that is under way has noted the old log's segments */
	if (!worth_it(b, segs) || !port_trylock(&b->sync_lock))
		return;
	/* the caller's transaction waits */
	b->txn = NULL;
	/* on failure the old log goes on; try again when it has doubled */
	if (!compact(b))
		port_count(&b->r->counts.compactions, 1);
	port_unlock(&b->sync_lock);
	txn_free(b);
	b->txn = saved;
	segs = log_segments(b);
	/* a last segment that is mostly room is not what the log needs */
	b->compacted =
		segs && b->log.tail < b->r->seg_size / 2 ? segs - 1 : segs;
	b->compact_at = 2 * segs > COMPACT_MIN ? 2 * segs : COMPACT_MIN;
}
