// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What log records do to a branch's trees. The same code runs when an operation
 * happens and when its entry is replayed; it cannot fail, since view_reserve()
 * has put the memory aside.
 */
#include "internal.h"
#include "view.h"

/* ---- Memory in advance ------------------------------------------------------- */

struct demand {
	u32 inodes, small;   /* sets and deletes that may copy whole paths */
	u32 extents, xattrs; /* deletes only */
};

static u32 items_in(const struct ptree *t, u64 hi, u64 lo, u64 end)
{
	struct pkey want = { hi, lo }, k;
	u32 n = 0;

	while (ptree_ge(t, want, &k) && k.hi == hi && k.lo < end) {
		n++;
		if (k.lo == ~0ull)
			break;
		want.lo = k.lo + 1;
	}
	return n;
}

static void demand_of(const struct daxfs_branch *b, const struct daxfs_rec *rec,
		      struct demand *d)
{
	const struct daxfs_rec_extent *e = (const void *)rec;
	u64 ino = le64_to_cpu(rec->ino), off;

	switch (le16_to_cpu(rec->type)) {
	case DAXFS_REC_INODE:
		d->inodes++;
		d->small++;
		break;
	case DAXFS_REC_FORGET:
		d->inodes++;
		d->small += 3;
		d->extents += items_in(&b->view.extents, ino, 0, ~0ull);
		d->xattrs += items_in(&b->view.xattrs, ino, 0, ~0ull);
		break;
	case DAXFS_REC_EXTENT:
	case DAXFS_REC_UNMAP:
		off = le64_to_cpu(e->offset);
		d->small += 3;
		d->extents += items_in(&b->view.extents, ino, off,
				       off + le64_to_cpu(e->len));
		break;
	default:
		d->small++;
	}
}

static u32 max_cost(const struct view *v, u32 changes)
{
	const struct ptree *t[] = { &v->dirents, &v->extents, &v->xattrs,
				    &v->orphans };
	u32 most = 0;

	for (u32 i = 0; i < 4; i++) {
		u32 c = ptree_cost(t[i], changes);

		if (c > most)
			most = c;
	}
	return most;
}

static int reserve(struct daxfs_branch *b, const struct demand *d)
{
	int rc = ppool_fill(&b->ipool, ptree_cost(&b->view.inodes, d->inodes));

	if (!rc)
		rc = ppool_fill(&b->pool,
				max_cost(&b->view, d->small) +
					ptree_delete_cost(&b->view.extents,
							  d->extents) +
					ptree_delete_cost(&b->view.xattrs,
							  d->xattrs));
	return rc;
}

int view_reserve(struct daxfs_branch *b, const struct daxfs_txn *t)
{
	const struct daxfs_rec *rec = NULL;
	struct demand d = { 0 };

	while ((rec = rec_next(t, rec)))
		demand_of(b, rec, &d);
	return reserve(b, &d);
}

int view_reserve_sets(struct daxfs_branch *b, u64 ino, u64 off, u64 end)
{
	struct demand d = { .inodes = 5, .small = 10 };

	if (off < end)
		d.extents = items_in(&b->view.extents, ino, off, end);
	return reserve(b, &d);
}

/* ---- Inodes --------------------------------------------------------------------- */

static struct daxfs_time time_of(__le64 sec, __le32 nsec)
{
	struct daxfs_time t = { (s64)le64_to_cpu(sec), le32_to_cpu(nsec) };

	return t;
}

static void inode_from_rec(const struct daxfs_rec_inode *rec, struct dinode *in)
{
	in->mode = le32_to_cpu(rec->mode);
	in->uid = le32_to_cpu(rec->uid);
	in->gid = le32_to_cpu(rec->gid);
	in->nlink = le32_to_cpu(rec->nlink);
	in->rdev = le32_to_cpu(rec->rdev);
	in->flags = le32_to_cpu(rec->flags);
	in->size = le64_to_cpu(rec->size);
	in->base_valid = le64_to_cpu(rec->base_valid);
	in->blocks = le64_to_cpu(rec->blocks);
	in->parent = le64_to_cpu(rec->parent);
	in->atime = time_of(rec->atime_sec, rec->atime_nsec);
	in->mtime = time_of(rec->mtime_sec, rec->mtime_nsec);
	in->ctime = time_of(rec->ctime_sec, rec->ctime_nsec);
	in->btime = time_of(rec->btime_sec, rec->btime_nsec);
}

static void set_orphan(struct daxfs_branch *b, u64 ino, bool orphan)
{
	struct pkey k = { ino, 0 };
	u64 zero = 0;

	if (orphan)
		ptree_set(&b->view.orphans, &b->pool, k, &zero);
	else if (b->view.orphans.root)
		ptree_del(&b->view.orphans, &b->pool, k);
}

/* Base data beyond what the base file has would be read from elsewhere. */
static void bound_base(const struct daxfs_branch *b, u64 ino, struct dinode *in)
{
	struct dinode orig;

	if (!in->base_valid)
		return;
	if (!S_ISREG(in->mode) || !in_base(&b->r->base, ino)) {
		in->base_valid = 0;
		return;
	}
	base_inode(&b->r->base, (u32)ino, &orig);
	if (in->base_valid > orig.base_valid)
		in->base_valid = orig.base_valid;
}

void view_set_inode(struct daxfs_branch *b, u64 ino, struct dinode *in)
{
	struct pkey k = { ino, 0 };

	bound_base(b, ino, in);
	if (!in_base(&b->r->base, ino) && !ptree_get(&b->view.inodes, k))
		b->inodes++;
	ptree_set(&b->view.inodes, &b->ipool, k, in);
	set_orphan(b, ino, in->nlink == 0);
	/* where there are others the medium has the number */
	if (ino >= port_load(&b->r->next_inode) &&
	    (!b->r->shared || b->r->recovery != RECOVER_NOTHING))
		port_store(&b->r->next_inode, ino + 1);
}

static void apply_inode(struct daxfs_branch *b,
			const struct daxfs_rec_inode *rec)
{
	struct dinode in;

	inode_from_rec(rec, &in);
	view_set_inode(b, le64_to_cpu(rec->r.ino), &in);
}

/* ---- Extents ---------------------------------------------------------------------- */

static void free_blocks(struct daxfs_branch *b, u64 media, u64 len)
{
	if (b->replaying)
		return;
	while (len) {
		bool own;
		u64 n = block_owned(b, media, len, &own);

		if (own)
			block_free(b, media, n);
		media += n;
		len -= n;
	}
}

/* Take [off, end) out of the extent {key, e}. */
static void extent_trim(struct daxfs_branch *b, struct pkey key,
			struct extent_val e, u64 off, u64 end)
{
	u64 first = key.lo, last = key.lo + e.len;
	u64 from = off > first ? off : first, to = end < last ? end : last;
	struct extent_val part;

	if (e.media && !b->moving)
		free_blocks(b, e.media + (from - first), to - from);
	if (from > first) {
		part.len = from - first;
		part.media = e.media;
		ptree_set(&b->view.extents, &b->pool, key, &part);
	} else {
		ptree_del(&b->view.extents, &b->pool, key);
	}
	if (to < last) {
		part.len = last - to;
		part.media = e.media ? e.media + (to - first) : 0;
		key.lo = to;
		ptree_set(&b->view.extents, &b->pool, key, &part);
	}
}

static void extent_cut(struct daxfs_branch *b, u64 ino, u64 off, u64 end)
{
	struct pkey want = { ino, off }, k;
	const struct extent_val *e = ptree_le(&b->view.extents, want, &k);

	if (e && k.hi == ino && off - k.lo < e->len)
		extent_trim(b, k, *e, off, end);
	while ((e = ptree_ge(&b->view.extents, want, &k)) && k.hi == ino &&
	       k.lo < end)
		extent_trim(b, k, *e, off, end);
}

static bool joins(const struct extent_val *a, const struct extent_val *b)
{
	return a->media ? a->media + a->len == b->media : !b->media;
}

static void extent_add(struct daxfs_branch *b, u64 ino, u64 off, u64 len,
		       u64 media)
{
	struct extent_val v = { len, media }, joined;
	struct pkey key = { ino, off }, k;
	const struct extent_val *e;

	e = off ? ptree_le(&b->view.extents, (struct pkey){ ino, off - 1 }, &k)
		: NULL;
	if (e && k.hi == ino && k.lo + e->len == off && joins(e, &v)) {
		v.media = e->media;
		v.len += e->len;
		key = k;
	}
	e = ptree_get(&b->view.extents, (struct pkey){ ino, off + len });
	if (e && joins(&v, e)) {
		joined = *e;
		ptree_del(&b->view.extents, &b->pool,
			  (struct pkey){ ino, off + len });
		v.len += joined.len;
	}
	ptree_set(&b->view.extents, &b->pool, key, &v);
}

void view_set_extent(struct daxfs_branch *b, u64 ino, u64 off, u64 len,
		     u64 media)
{
	extent_cut(b, ino, off, off + len);
	extent_add(b, ino, off, len, media);
}

void view_cut(struct daxfs_branch *b, u64 ino, u64 off, u64 end)
{
	extent_cut(b, ino, off, end);
}

static void apply_extent(struct daxfs_branch *b,
			 const struct daxfs_rec_extent *e, bool map)
{
	u64 ino = le64_to_cpu(e->r.ino), off = le64_to_cpu(e->offset);
	u64 len = le64_to_cpu(e->len);

	if (map)
		view_set_extent(b, ino, off, len, le64_to_cpu(e->media));
	else
		extent_cut(b, ino, off, off + len);
}

/* ---- Names ------------------------------------------------------------------------- */

void view_set_dirent(struct daxfs_branch *b, u64 dir, const char *name,
		     size_t len, u64 child, u32 mode)
{
	struct dirent_val v = { 0 }, old;
	struct pkey k;
	bool there = dirent_find(b, dir, name, len, &k, &old);

	v.child = child;
	v.name = offset_of(b->r, name);
	v.name_len = (u16)len;
	v.mode = mode & S_IFMT;
	if (v.child || (in_base(&b->r->base, dir) &&
			base_lookup(&b->r->base, (u32)dir, name, len)))
		ptree_set(&b->view.dirents, &b->pool, k, &v);
	else if (there)
		ptree_del(&b->view.dirents, &b->pool, k);
}

static void apply_dirent(struct daxfs_branch *b,
			 const struct daxfs_rec_dirent *d)
{
	view_set_dirent(b, le64_to_cpu(d->r.ino), (const char *)(d + 1),
			le16_to_cpu(d->name_len), le64_to_cpu(d->child),
			le32_to_cpu(d->mode));
}

/* ---- Extended attributes -------------------------------------------------------------- */

static void free_value(struct daxfs_branch *b, const struct xattr_val *v)
{
	if (v->flags & XATTR_BLOCK)
		free_blocks(b, v->value, block_ceil(v->value_len));
}

void view_set_target(struct daxfs_branch *b, u64 ino, const char *target,
		     size_t len)
{
	struct xattr_val v = { 0 }, old;
	struct pkey k;

	xattr_find(b, ino, "", 0, &k, &old);
	v.name = v.value = offset_of(b->r, target);
	v.value_len = (u32)len;
	ptree_set(&b->view.xattrs, &b->pool, k, &v);
}

static void apply_xattr(struct daxfs_branch *b, const struct daxfs_rec_xattr *x,
			bool set)
{
	u64 ino = le64_to_cpu(x->r.ino), media = le64_to_cpu(x->media);
	const char *name = (const char *)(x + 1);
	size_t len = le16_to_cpu(x->name_len);
	struct xattr_val v = { 0 }, old;
	struct pkey k;
	bool there = xattr_find(b, ino, name, len, &k, &old);

	if (there)
		free_value(b, &old);
	v.name = offset_of(b->r, name);
	v.name_len = (u16)len;
	v.value = media ? media : v.name + len;
	v.value_len = le32_to_cpu(x->value_len);
	if (set)
		v.flags = media ? XATTR_BLOCK : 0;
	else
		v.flags = XATTR_GONE;
	if (set || (in_base(&b->r->base, ino) &&
		    base_xattr_find(&b->r->base, (u32)ino, name, len)))
		ptree_set(&b->view.xattrs, &b->pool, k, &v);
	else if (there)
		ptree_del(&b->view.xattrs, &b->pool, k);
}

/* ---- Forget ------------------------------------------------------------------------------ */

static bool parent_has(const struct daxfs_branch *b, u64 ino)
{
	struct pkey k = { ino, 0 };

	return b->parent && ptree_get(&b->parent->view.inodes, k);
}

static void apply_forget(struct daxfs_branch *b, u64 ino)
{
	struct pkey k = { ino, 0 }, want = { ino, 0 }, found;
	struct dinode gone = { 0 };
	const struct xattr_val *v;

	extent_cut(b, ino, 0, ~0ull);
	while ((v = ptree_ge(&b->view.xattrs, want, &found)) &&
	       found.hi == ino) {
		free_value(b, v);
		ptree_del(&b->view.xattrs, &b->pool, found);
	}
	set_orphan(b, ino, false);
	if (in_base(&b->r->base, ino)) {
		ptree_set(&b->view.inodes, &b->ipool, k, &gone);
	} else if (ptree_del(&b->view.inodes, &b->ipool, k)) {
		if (parent_has(b, ino))
			b->forgotten++;
		else if (b->inodes)
			b->inodes--;
	}
}

void view_apply(struct daxfs_branch *b, const struct daxfs_txn *t)
{
	const struct daxfs_rec *rec = NULL;

	while ((rec = rec_next(t, rec))) {
		switch (le16_to_cpu(rec->type)) {
		case DAXFS_REC_INODE:
			apply_inode(b, (const void *)rec);
			break;
		case DAXFS_REC_FORGET:
			apply_forget(b, le64_to_cpu(rec->ino));
			break;
		case DAXFS_REC_DIRENT:
			apply_dirent(b, (const void *)rec);
			break;
		case DAXFS_REC_EXTENT:
			apply_extent(b, (const void *)rec, true);
			break;
		case DAXFS_REC_UNMAP:
			apply_extent(b, (const void *)rec, false);
			break;
		case DAXFS_REC_XATTR:
			apply_xattr(b, (const void *)rec, true);
			break;
		case DAXFS_REC_NOXATTR:
			apply_xattr(b, (const void *)rec, false);
			break;
		}
	}
}

/* ---- After replay --------------------------------------------------------------------------- */

struct claim {
	struct daxfs_branch *b;
	struct daxfs_message *msg;
};

static bool is_ancestor(const struct daxfs_branch *b,
			const struct daxfs_branch *a)
{
	while (b && b != a)
		b = b->parent;
	return b != NULL;
}

static int claim_range(struct claim *c, u64 ino, u64 media, u64 len)
{
	const struct daxfs_region *r = c->b->r;
	int rc = 0;
	char which[48];

	while (len && !rc) {
		u32 s = (u32)((media - r->seg_data) / r->seg_size);
		u64 n = seg_offset(r, s) + r->seg_size - media;

		if (n > len)
			n = len;
		if (r->seg[s].owner == c->b)
			rc = block_claim(c->b, media, n);
		else if (!r->seg[s].owner ||
			 !is_ancestor(c->b, r->seg[s].owner))
			rc = -EUCLEAN;
		if (rc) {
			port_snprintf(which, sizeof(which), "branch %s",
				      c->b->name);
			return corrupt(c->msg, "log", which,
				       "a file's blocks are not its own", ino);
		}
		media += n;
		len -= n;
	}
	return 0;
}

static int claim_extent(void *arg, struct pkey k, const void *v)
{
	const struct extent_val *e = v;

	return e->media ? claim_range(arg, k.hi, e->media, e->len) : 0;
}

static int claim_xattr(void *arg, struct pkey k, const void *v)
{
	const struct xattr_val *x = v;

	if (!(x->flags & XATTR_BLOCK))
		return 0;
	return claim_range(arg, k.hi, x->value, block_ceil(x->value_len));
}

int view_claim_blocks(struct daxfs_branch *b, struct daxfs_message *msg)
{
	struct view none, *old = b->parent ? &b->parent->view : &none;
	struct claim c = { b, msg };
	int rc;

	view_init(&none);
	rc = ptree_walk_unshared(&b->view.extents, &old->extents, claim_extent,
				 &c);
	if (!rc)
		rc = ptree_walk_unshared(&b->view.xattrs, &old->xattrs,
					 claim_xattr, &c);
	return rc;
}
