// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Attributes and the end of inodes. */
#include "acl.h"

#define UNMAP_BATCH 256u /* extents that one transaction drops */

int get_dinode(const struct daxfs_branch *b, u64 ino, struct dinode *out)
{
	return view_inode(b, ino, out) ? 0 : -ENOENT;
}

int get_dir(const struct daxfs_branch *b, u64 ino, struct dinode *out)
{
	int rc = get_dinode(b, ino, out);

	if (!rc && !S_ISDIR(out->mode))
		rc = -ENOTDIR;
	return rc;
}

int begin_read(struct daxfs_branch *b, u64 ino, struct dinode *out)
{
	int rc;

	port_read_lock(&b->lock);
	while (port_load(&b->r->quiet)) {
		port_read_unlock(&b->lock);
		wait_quiet(b->r);
		port_read_lock(&b->lock);
	}
	rc = branch_readable(b);
	return rc ? rc : get_dinode(b, ino, out);
}

int begin_read_dir(struct daxfs_branch *b, u64 ino, struct dinode *out)
{
	int rc = begin_read(b, ino, out);

	return !rc && !S_ISDIR(out->mode) ? -ENOTDIR : rc;
}

void fill_attr(u64 ino, const struct dinode *in, struct daxfs_attr *out)
{
	out->ino = ino;
	out->mode = in->mode;
	out->uid = in->uid;
	out->gid = in->gid;
	out->nlink = in->nlink;
	out->rdev = in->rdev;
	out->size = in->size;
	out->blocks = in->blocks * (BLOCK / 512);
	out->atime = in->atime;
	out->mtime = in->mtime;
	out->ctime = in->ctime;
	out->btime = in->btime;
}

int daxfs_getattr(struct daxfs_branch *b, u64 ino, struct daxfs_attr *out)
{
	struct dinode in;
	int rc;

	rc = begin_read(b, ino, &in);
	if (!rc)
		fill_attr(ino, &in, out);
	port_read_unlock(&b->lock);
	return rc;
}

void kill_priv(struct daxfs_branch *b, u64 ino, struct dinode *in)
{
	static const char cap[] = "security.capability";
	struct xattr_ref ref;

	if (S_ISDIR(in->mode))
		return;
	in->mode &= ~(u32)S_ISUID;
	if (in->mode & S_IXGRP)
		in->mode &= ~(u32)S_ISGID;
	if (view_xattr(b, ino, cap, sizeof(cap) - 1, &ref))
		txn_noxattr(b, ino, cap, sizeof(cap) - 1);
}

/* ---- Size ------------------------------------------------------------------------ */

bool in_place_zero_ok(const struct daxfs_branch *b)
{
	return !b->r->durable;
}

static bool all_zero(const u8 *p, u32 n)
{
	while (n && !*p) {
		p++;
		n--;
	}
	return !n;
}

/*
 * The media of the extent block that holds `size` when there is something else
 * than zeros behind that; else 0.
 */
static u64 tail_block(const struct daxfs_branch *b, u64 ino,
		      const struct dinode *in, u64 size, bool *own)
{
	u32 head = (u32)(size & BLOCK_MASK);
	struct map m;

	if (!head)
		return 0;
	view_map(b, ino, in, block_floor(size), block_floor(size) + BLOCK, &m);
	if (!m.extent || !m.media ||
	    all_zero((u8 *)at(b->r, m.media) + head, (u32)BLOCK - head))
		return 0;
	block_owned(b, m.media, BLOCK, own);
	*own = *own && in_place_zero_ok(b);
	return m.media;
}

/* Replace a tail block by a new one, which is zero after `size`. */
static void copy_tail(struct daxfs_branch *b, u64 ino, u64 media, u64 size,
		      u64 new)
{
	u32 head = (u32)(size & BLOCK_MASK);

	copy_data(at(b->r, new), at(b->r, media), head);
	memset((u8 *)at(b->r, new) + head, 0, BLOCK - head);
	txn_extent(b, ino, block_floor(size), BLOCK, new);
}

static void zero_after(struct daxfs_branch *b, u64 media, u64 size)
{
	u32 head = (u32)(size & BLOCK_MASK);

	block_dirty(b, media, BLOCK);
	zero_data((u8 *)at(b->r, media) + head, BLOCK - head);
}

/*
 * Bytes after the end of a file in its last block are zero, so that growing
 * shows zeros. A shrinking file's own block is cleared once the new size is in
 * the log; a crash in between is made good here, before a file grows. Base data
 * needs nothing: base_valid ends it to the byte.
 */
int grow_prepare(struct daxfs_branch *b, u64 ino, const struct dinode *in)
{
	bool own;
	u64 media = tail_block(b, ino, in, in->size, &own), new;

	if (!media)
		return 0;
	if (own) {
		zero_after(b, media, in->size);
		return 0;
	}
	if (!block_alloc(b, 1, 0, &new))
		return space_error(b, 1);
	b->txn->fresh = new;
	copy_tail(b, ino, media, in->size, new);
	return 0;
}

/* One transaction: the blocks from `size` on go. */
static int shrink_once(struct daxfs_branch *b, u64 ino, struct dinode *in,
		       u64 size)
{
	u64 from = block_ceil(size), end = DAXFS_MAX_FILE_SIZE;

	b->txn->frees = true;
	if (from < end) {
		in->blocks -= view_mapped_blocks(b, ino, in, from, end);
		txn_unmap(b, ino, from, end - from);
	}
	/* extents may lie behind the file's end */
	if (in->size > size)
		in->size = size;
	if (in->base_valid > size)
		in->base_valid = size;
	txn_inode(b, ino, in);
	return txn_commit(b);
}

int shrink_file(struct daxfs_branch *b, u64 ino, struct dinode *in, u64 size)
{
	bool own = false;
	u64 media = tail_block(b, ino, in, size, &own), new = 0, floor;
	int rc;

	/* all that can lack space comes first: what follows only frees */
	if (media && !own && !block_alloc(b, 1, 0, &new))
		return space_error(b, 1);
	for (;;) {
		floor = view_unmap_floor(b, ino, size, UNMAP_BATCH);
		if (floor == size && new)
			copy_tail(b, ino, media, size, new);
		rc = shrink_once(b, ino, in, floor);
		if (rc || floor == size)
			break;
		rc = txn_begin(b);
		if (rc)
			break;
	}
	if (rc && new)
		block_free(b, new, BLOCK);
	else if (!rc && media && own)
		zero_after(b, media, size);
	return rc;
}

/* Space is set aside behind the end: what makes a file no longer drops it. */
static bool has_more(const struct daxfs_branch *b, u64 ino, u64 size)
{
	struct pkey want = { ino, ~0ull }, k;
	const struct extent_val *e = ptree_le(&b->view.extents, want, &k);

	return e && k.hi == ino && k.lo + e->len > block_ceil(size);
}

/* ---- Setattr ----------------------------------------------------------------------- */

static int check_size(const struct dinode *in, u64 size)
{
	if (S_ISDIR(in->mode))
		return -EISDIR;
	if (!S_ISREG(in->mode))
		return -EINVAL;
	return size > DAXFS_MAX_FILE_SIZE ? -EFBIG : 0;
}

static bool times_ok(u32 set, const struct daxfs_attr *a)
{
	return (!(set & DAXFS_SET_ATIME) || a->atime.nsec < 1000000000u) &&
	       (!(set & DAXFS_SET_MTIME) || a->mtime.nsec < 1000000000u) &&
	       (!(set & DAXFS_SET_CTIME) || a->ctime.nsec < 1000000000u);
}

static void set_times(const struct daxfs_branch *b, struct dinode *in, u32 set,
		      const struct daxfs_attr *a)
{
	struct daxfs_time now = txn_time(b);

	if (set & DAXFS_SET_ATIME)
		in->atime = a->atime;
	if (set & DAXFS_SET_ATIME_NOW)
		in->atime = now;
	if (set & DAXFS_SET_MTIME)
		in->mtime = a->mtime;
	else if (set & (DAXFS_SET_MTIME_NOW | DAXFS_SET_SIZE))
		in->mtime = now;
	in->ctime = set & DAXFS_SET_CTIME ? a->ctime : now;
}

static int setattr(struct daxfs_branch *b, u64 ino, u32 set,
		   const struct daxfs_attr *a, struct dinode *in)
{
	int rc = txn_begin(b);

	if (!rc)
		rc = get_dinode(b, ino, in);
	if (!rc && (set & DAXFS_SET_SIZE))
		rc = check_size(in, a->size);
	if (rc)
		return rc;
	if (set & DAXFS_SET_MODE)
		in->mode = (in->mode & S_IFMT) | (a->mode & 07777);
	if (set & DAXFS_SET_UID)
		in->uid = a->uid;
	if (set & DAXFS_SET_GID)
		in->gid = a->gid;
	if (set & DAXFS_SET_KILLPRIV)
		kill_priv(b, ino, in);
	if (set & DAXFS_SET_MODE)
		rc = acl_chmod(b, ino, in);
	if (rc)
		return rc;
	set_times(b, in, set, a);
	if ((set & DAXFS_SET_SIZE) &&
	    (a->size < in->size ||
	     (a->size == in->size && has_more(b, ino, a->size))))
		return shrink_file(b, ino, in, a->size);
	if ((set & DAXFS_SET_SIZE) && a->size > in->size) {
		rc = grow_prepare(b, ino, in);
		if (rc)
			return rc;
		in->size = a->size;
	}
	txn_inode(b, ino, in);
	return txn_commit(b);
}

int daxfs_setattr(struct daxfs_branch *b, u64 ino, u32 set,
		  const struct daxfs_attr *a, struct daxfs_attr *out)
{
	bool tried = false;
	struct dinode in;
	int rc;

	if (!times_ok(set, a))
		return -EINVAL;
	do {
		change_begin(b);
		rc = setattr(b, ino, set, a, &in);
		change_end(b);
	} while (space_retry(b, rc, &tried));
	if (!rc && out)
		fill_attr(ino, &in, out);
	return rc;
}

/* ---- Access time ---------------------------------------------------------------------- */

#define DAY 86400

static int time_cmp(struct daxfs_time a, struct daxfs_time b)
{
	if (a.sec != b.sec)
		return a.sec < b.sec ? -1 : 1;
	return a.nsec < b.nsec ? -1 : a.nsec > b.nsec;
}

static bool atime_is_old(const struct dinode *in, s64 now)
{
	return time_cmp(in->atime, in->mtime) <= 0 ||
	       time_cmp(in->atime, in->ctime) <= 0 ||
	       now - in->atime.sec >= DAY;
}

/* The inode is the base image's or an ancestor's as yet. */
static bool inherited(const struct daxfs_branch *b, u64 ino)
{
	struct pkey k = { ino, 0 };
	const struct dinode *in = ptree_get(&b->view.inodes, k), *old;

	if (!in)
		return true;
	old = b->parent ? ptree_get(&b->parent->view.inodes, k) : NULL;
	return old && !memcmp(in, old, sizeof(*in));
}

static int touch(struct daxfs_branch *b, u64 ino)
{
	struct dinode in;
	int rc = txn_begin(b);

	if (!rc)
		rc = get_dinode(b, ino, &in);
	if (rc)
		return rc;
	if (inherited(b, ino) || !atime_is_old(&in, txn_time(b).sec))
		return 0;
	in.atime = txn_time(b);
	txn_inode(b, ino, &in);
	return txn_commit(b);
}

int daxfs_touch(struct daxfs_branch *b, u64 ino)
{
	s64 now = (s64)(port_now_ns() / 1000000000u);
	struct dinode in;
	int rc = begin_read(b, ino, &in);

	port_read_unlock(&b->lock);
	if (rc || !atime_is_old(&in, now))
		return rc;
	change_begin(b);
	rc = touch(b, ino);
	change_end(b);
	/* a read does not fail because the time cannot be kept */
	return rc == -ESTALE || rc == -ENOENT ? rc : 0;
}

/* ---- Evict -------------------------------------------------------------------------- */

static int evict(struct daxfs_branch *b, u64 ino)
{
	struct dinode in;
	int rc = branch_readable(b);

	if (rc || get_dinode(b, ino, &in) || in.nlink)
		return 0; /* of an ended branch all is free already */
	rc = txn_begin(b);
	if (!rc && view_unmap_floor(b, ino, 0, UNMAP_BATCH))
		rc = shrink_file(b, ino, &in, 0);
	if (!rc)
		rc = txn_begin(b);
	if (rc)
		return rc;
	b->txn->frees = true;
	txn_forget(b, ino);
	return txn_commit(b);
}

int daxfs_evict(struct daxfs_branch *b, u64 ino)
{
	bool tried = false;
	int rc;

	do {
		change_begin(b);
		rc = evict(b, ino);
		change_end(b);
	} while (space_retry(b, rc, &tried));
	return rc;
}

int evict_orphans(struct daxfs_branch *b)
{
	struct pkey k = { 0, 0 };
	int rc = branch_writable(b);

	while (!rc && ptree_ge(&b->view.orphans, k, &k))
		rc = evict(b, k.hi);
	return rc;
}

int daxfs_evict_orphans(struct daxfs_branch *b)
{
	bool tried = false;
	int rc;

	do {
		change_begin(b);
		rc = evict_orphans(b);
		change_end(b);
	} while (space_retry(b, rc, &tried));
	return rc;
}
