// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fallocate: blocks in advance, holes, and ranges that move. Allocated space is
 * blocks of zeros that the branch owns, for what is own is written in place and
 * so cannot lack space. That goes for copies of base and inherited data, too.
 */
#include "write.h"

#define HOLE_BATCH 256u /* extents that one transaction punches out */
#define MOVE_MAX 512u   /* extents that collapse and insert move */

/* What becomes of blocks in a range that are not the branch's own. */
enum fill {
	FILL_ALL,  /* all are made so, with what they hold */
	FILL_ZERO, /* all, with zeros in the range */
	FILL_DATA, /* all but holes, with what they hold */
};

struct falloc {
	struct write w;
	struct dinode in, before;
	struct ptree old; /* the branch's extents as they were */
	u32 mode;
	u64 off, end;
};

static u64 bound(u64 x, u64 low, u64 high)
{
	if (x < low)
		return low;
	return x < high ? x : high;
}

/* New blocks for [first, run_end): zeros in [off, end), else as it is. */
static void fill_blocks(const struct write *w, u64 first, u64 run_end,
			u64 media, u64 off, u64 end)
{
	u64 from = bound(off, first, run_end), to = bound(end, from, run_end);

	write_keep(w, first, from, media);
	zero_data(at(w->b->r, media + (from - first)), to - from);
	write_keep(w, to, run_end, media + (to - first));
}

/* ---- Allocating ---------------------------------------------------------- */

/* One run of the file from w->off on. */
static int fill_run(struct falloc *f, u64 end, enum fill how)
{
	struct write *w = &f->w;
	u64 first = w->off, media;
	bool own = false;
	struct map m;
	int rc;

	view_map(w->b, w->ino, w->in, first, end, &m);
	if (m.extent && m.media)
		m.len = block_owned(w->b, m.media, m.len, &own);
	if (own || (!m.media && how == FILL_DATA)) {
		w->off += m.len;
		return 0;
	}
	/* the base may end within a block */
	rc = write_alloc(w, first, block_ceil(first + m.len), &w->off, &media);
	if (rc)
		return rc;
	if (how == FILL_ZERO)
		fill_blocks(w, first, w->off, media, f->off, f->end);
	else
		write_keep(w, first, w->off, media);
	return 0;
}

/* What was there at `off` before, up to `end` at most. */
static void old_map(const struct falloc *f, u64 off, u64 end, struct map *m)
{
	struct pkey want = { f->w.ino, off }, k;
	const struct extent_val *e = ptree_le(&f->old, want, &k);

	m->off = off;
	m->media = 0;
	m->extent = e && k.hi == want.hi && off - k.lo < e->len;
	if (m->extent) {
		if (e->media)
			m->media = e->media + (off - k.lo);
		end = bound(k.lo + e->len, off, end);
	} else {
		e = ptree_ge(&f->old, want, &k);
		if (e && k.hi == want.hi)
			end = bound(k.lo, off, end);
	}
	m->len = end - off;
}

/* Commit in the midst of giving back. */
static int give_back_part(struct daxfs_branch *b)
{
	int rc;

	b->txn->frees = true;
	rc = txn_commit(b);
	return rc ? rc : txn_begin(b);
}

/*
 * Undo fill_range(), which got as far as `end`: where the branch's own blocks
 * were they are still. There is log space kept for this.
 */
static int give_back(struct falloc *f, u64 off, u64 end)
{
	struct daxfs_branch *b = f->w.b;
	int rc = txn_begin(b);
	struct map m;
	bool own;

	for (; !rc && off < end; off += m.len) {
		old_map(f, off, end, &m);
		own = false;
		if (m.media)
			m.len = block_owned(b, m.media, m.len, &own);
		if (own)
			continue;
		if (m.extent)
			txn_extent(b, f->w.ino, off, m.len, m.media);
		else
			txn_unmap(b, f->w.ino, off, m.len);
		if (b->txn->records == WRITE_RUNS)
			rc = give_back_part(b);
	}
	if (rc)
		return rc;
	f->in = f->before;
	b->txn->frees = true;
	txn_inode(b, f->w.ino, &f->in);
	return txn_commit(b);
}

/*
 * The blocks of [off, end), aligned, are the branch's own after. The last of
 * the transactions is left open. On failure nothing has changed.
 */
static int fill_range(struct falloc *f, u64 off, u64 end, enum fill how)
{
	struct write *w = &f->w;
	u64 done = off;
	int rc = 0;

	w->off = off;
	while (!rc && w->off < end) {
		if (w->runs == WRITE_RUNS) {
			rc = write_commit(w);
			if (rc)
				break;
			done = w->off;
			rc = txn_begin(w->b);
		}
		if (!rc)
			rc = fill_run(f, end, how);
	}
	if (!rc)
		return 0;
	write_undo(w);
	f->in = f->before;
	if (done > off)
		give_back(f, off, done);
	return rc;
}

/* What cannot be had is not worth filling the region for first. */
static int check_room(const struct falloc *f, u64 off, u64 end)
{
	const struct daxfs_branch *b = f->w.b;
	u64 room =
		(u64)b->r->seg_count * b->r->seg_blocks - port_load(&b->blocks);
	u64 need = (end - off) / BLOCK -
		   view_mapped_blocks(b, f->w.ino, &f->in, off, end);
	u32 want = need < ~0u ? (u32)need : ~0u;

	if (need > room || quota_blocks(b, want) < want)
		return space_error(b, want);
	return 0;
}

static void stamp(struct write *w, u32 mode)
{
	w->in->mtime = w->in->ctime = txn_time(w->b);
	if (mode & DAXFS_FALLOC_KILLPRIV)
		kill_priv(w->b, w->ino, w->in);
}

static int allocate(struct falloc *f, enum fill how)
{
	u64 first = block_floor(f->off), last = block_ceil(f->end);
	bool grows = !(f->mode & DAXFS_FALLOC_KEEP_SIZE) && f->end > f->in.size;
	int rc = check_room(f, first, last);

	if (!rc && grows)
		rc = write_grow(&f->w);
	if (!rc)
		rc = fill_range(f, first, last, how);
	if (rc)
		return rc;
	stamp(&f->w, f->mode);
	if (grows)
		f->in.size = f->end;
	rc = write_commit(&f->w);
	if (rc)
		give_back(f, first, last);
	return rc;
}

/* The blocks that were the branch's own before are still to be cleared. */
static int zero_range(struct falloc *f)
{
	int rc = allocate(f, FILL_ZERO);
	struct map m;
	bool own;

	for (u64 off = f->off; !rc && off < f->end; off += m.len) {
		old_map(f, off, f->end, &m);
		if (!m.media)
			continue;
		m.len = block_owned(f->w.b, m.media, m.len, &own);
		if (!own)
			continue;
		block_dirty(f->w.b, m.media, m.len);
		zero_data(at(f->w.b->r, m.media), m.len);
	}
	return rc;
}

/* ---- Holes --------------------------------------------------------------- */

/* Bytes of one of the branch's own blocks that are to be cleared. */
struct edge {
	u64 media, len;
};

/*
 * [off, end), within a block, becomes zeros: in a copy of the block, or later
 * in place when there is nothing left that can fail.
 */
static int punch_edge(struct write *w, u64 off, u64 end, struct edge *e)
{
	u64 first = block_floor(off), run_end, media;
	bool own = false;
	struct map m;
	int rc;

	e->len = 0;
	if (off >= end)
		return 0;
	view_map(w->b, w->ino, w->in, first, first + BLOCK, &m);
	if (!m.media)
		return 0;
	if (m.extent)
		block_owned(w->b, m.media, m.len, &own);
	if (own) {
		e->media = m.media + (off - first);
		e->len = end - off;
		return 0;
	}
	rc = write_alloc(w, first, first + BLOCK, &run_end, &media);
	if (!rc)
		fill_blocks(w, first, run_end, media, off, end);
	return rc;
}

static int punch_edges(struct write *w, u64 off, u64 end, struct edge e[2])
{
	u64 from = block_ceil(off), to = block_floor(end);
	int rc;

	e[1].len = 0;
	if (from > to)
		return punch_edge(w, off, end, &e[0]);
	rc = punch_edge(w, off, from, &e[0]);
	return rc ? rc : punch_edge(w, to, end, &e[1]);
}

static void clear_edges(const struct write *w, const struct edge e[2])
{
	for (u32 i = 0; i < 2; i++) {
		if (!e[i].len)
			continue;
		block_dirty(w->b, e[i].media, e[i].len);
		zero_data(at(w->b->r, e[i].media), e[i].len);
	}
}

/* Where to stop so that at most HOLE_BATCH extents go. */
static u64 punch_stop(const struct write *w, u64 off, u64 end)
{
	struct pkey want = { w->ino, off }, k;
	u32 n = 0;

	while (ptree_ge(&w->b->view.extents, want, &k) && k.hi == want.hi &&
	       k.lo < end) {
		if (n++ == HOLE_BATCH)
			return k.lo;
		want.lo = k.lo + 1;
	}
	return end;
}

/* Whole blocks, in the transaction. Above base data a hole is said to be one.
 */
static void punch_blocks(struct write *w, u64 off, u64 end)
{
	u64 base = bound(block_ceil(w->in->base_valid), off, end);

	w->in->blocks -= view_mapped_blocks(w->b, w->ino, w->in, off, end);
	if (off < base)
		txn_extent(w->b, w->ino, off, base - off, 0);
	if (base < end)
		txn_unmap(w->b, w->ino, base, end - base);
}

/* The first transaction, up to *stop. */
static int punch_first(struct write *w, u64 off, u64 end, u64 size, u32 flags,
		       u64 *stop)
{
	struct dinode before = *w->in;
	u64 from = block_ceil(off), to = block_floor(end);
	struct edge e[2];
	int rc = punch_edges(w, off, end, e);

	if (rc) {
		write_undo(w);
		*w->in = before;
		return rc;
	}
	*stop = to;
	if (from < to && view_mapped_blocks(w->b, w->ino, w->in, from, to)) {
		*stop = punch_stop(w, from, to);
		punch_blocks(w, from, *stop);
	}
	if (size > w->in->size)
		w->in->size = size;
	stamp(w, flags & DAXFS_WRITE_KILLPRIV ? DAXFS_FALLOC_KILLPRIV : 0);
	w->b->txn->frees = true;
	rc = write_commit(w);
	if (rc)
		*w->in = before;
	else
		clear_edges(w, e);
	return rc;
}

int punch_range(struct write *w, u64 off, u64 end, u64 size, u32 flags)
{
	u64 to = block_floor(end), stop = to;
	int rc = size > w->in->size ? write_grow(w) : 0;

	w->runs = 0;
	w->near = 0;
	if (!rc)
		rc = punch_first(w, off, end, size, flags, &stop);
	while (!rc && stop < to) {
		u64 from = stop;

		rc = txn_begin(w->b);
		if (rc)
			break;
		stop = punch_stop(w, from, to);
		punch_blocks(w, from, stop);
		w->b->txn->frees = true;
		rc = write_commit(w);
	}
	return rc;
}

/* ---- Ranges that move ---------------------------------------------------- */

/* The end of the file's last block, which may lie behind its end. */
static u64 blocks_end(const struct falloc *f)
{
	struct pkey want = { f->w.ino, ~0ull }, k;
	const struct extent_val *e = ptree_le(&f->old, want, &k);
	u64 end = block_ceil(f->in.size);

	if (e && k.hi == want.hi && k.lo + e->len > end)
		end = k.lo + e->len;
	return end;
}

/* Extents for what lies in [from, end), all own, elsewhere. */
static int put_moved(const struct write *w, u64 from, u64 end, u64 to)
{
	struct map m;
	u32 n = 0;

	for (u64 off = from; off < end; off += m.len) {
		view_map(w->b, w->ino, w->in, off, end, &m);
		if (m.media && n++ == MOVE_MAX)
			return -EFBIG;
		if (m.media)
			txn_extent(w->b, w->ino, off - from + to, m.len,
				   m.media);
	}
	return 0;
}

/* That an extent no longer names a block frees it not: another does. */
static int commit_moved(struct daxfs_branch *b)
{
	int rc;

	if (!log_has_room(b, b->txn->len))
		log_compact(b);
	b->moving = true;
	rc = txn_append(b);
	b->moving = false;
	return rc;
}

static void free_old(const struct falloc *f, u64 off, u64 end)
{
	struct map m;
	bool own;

	for (; off < end; off += m.len) {
		old_map(f, off, end, &m);
		if (!m.media)
			continue;
		m.len = block_owned(f->w.b, m.media, m.len, &own);
		if (own)
			block_free(f->w.b, m.media, m.len);
	}
}

/*
 * What lies in [from, end) moves to `to`, in one transaction; what lies between
 * goes, or there will be a hole. Extents can name own blocks alone, so of the
 * base's and the ancestors' there are copies by now.
 */
static int move(struct falloc *f, u64 from, u64 end, u64 to)
{
	struct write *w = &f->w;
	u64 low = from < to ? from : to;
	int rc;

	txn_unmap(w->b, w->ino, low, end - low);
	rc = put_moved(w, from, end, to);
	if (rc)
		return rc;
	f->in.blocks -= view_mapped_blocks(w->b, w->ino, w->in, low, from);
	if (f->in.base_valid > low)
		f->in.base_valid = low;
	f->in.size = f->in.size - from + to;
	stamp(w, f->mode);
	txn_inode(w->b, w->ino, w->in);
	rc = commit_moved(w->b);
	if (!rc)
		free_old(f, low, from);
	return rc;
}

static int shift(struct falloc *f, u64 from, u64 to)
{
	u64 end = blocks_end(f);
	int rc;

	if (to > from && end + (to - from) > DAXFS_MAX_FILE_SIZE)
		return -EFBIG;
	rc = fill_range(f, from, end, FILL_DATA);
	if (rc)
		return rc;
	if (f->w.runs) {
		rc = write_commit(&f->w);
		if (!rc)
			rc = txn_begin(f->w.b);
	}
	if (!rc)
		rc = move(f, from, end, to);
	if (rc)
		give_back(f, from, end);
	return rc;
}

/* ---- fallocate ----------------------------------------------------------- */

#define OPERATIONS                                                        \
	(DAXFS_FALLOC_PUNCH | DAXFS_FALLOC_ZERO | DAXFS_FALLOC_COLLAPSE | \
	 DAXFS_FALLOC_INSERT)

static int check_mode(u32 mode, u64 off, u64 len)
{
	mode &= ~DAXFS_FALLOC_KILLPRIV;
	if (!len)
		return -EINVAL;
	switch (mode) {
	case 0:
	case DAXFS_FALLOC_KEEP_SIZE:
	case DAXFS_FALLOC_PUNCH | DAXFS_FALLOC_KEEP_SIZE:
	case DAXFS_FALLOC_ZERO:
	case DAXFS_FALLOC_ZERO | DAXFS_FALLOC_KEEP_SIZE:
		break;
	case DAXFS_FALLOC_COLLAPSE:
	case DAXFS_FALLOC_INSERT:
		if ((off | len) & BLOCK_MASK)
			return -EINVAL;
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (off > DAXFS_MAX_FILE_SIZE || len > DAXFS_MAX_FILE_SIZE - off)
		return -EFBIG;
	return 0;
}

static int load(struct falloc *f)
{
	int rc = txn_begin(f->w.b);

	if (!rc)
		rc = get_dinode(f->w.b, f->w.ino, &f->in);
	if (rc)
		return rc;
	if (S_ISDIR(f->in.mode))
		return -EISDIR;
	if (!S_ISREG(f->in.mode))
		return -ENODEV;
	f->before = f->in;
	f->w.in = &f->in;
	return 0;
}

static int change(struct falloc *f)
{
	u32 kill = f->mode & DAXFS_FALLOC_KILLPRIV ? DAXFS_WRITE_KILLPRIV : 0;

	switch (f->mode & OPERATIONS) {
	case DAXFS_FALLOC_PUNCH:
		return punch_range(&f->w, f->off, f->end, 0, kill);
	case DAXFS_FALLOC_ZERO:
		return zero_range(f);
	case DAXFS_FALLOC_COLLAPSE:
		if (f->end >= f->in.size)
			return -EINVAL;
		return shift(f, f->end, f->off);
	case DAXFS_FALLOC_INSERT:
		if (f->off >= f->in.size)
			return -EINVAL;
		return shift(f, f->off, f->end);
	default:
		return allocate(f, FILL_ALL);
	}
}

static int fallocate(struct falloc *f)
{
	int rc = load(f);

	if (rc)
		return rc;
	ptree_clone(&f->old, &f->w.b->view.extents);
	rc = change(f);
	ptree_drop(&f->old);
	return rc;
}

int daxfs_fallocate(struct daxfs_branch *b, u64 ino, u32 mode, u64 off, u64 len)
{
	bool tried = false;
	struct falloc *f;
	int rc = check_mode(mode, off, len);

	if (rc)
		return rc;
	f = port_zalloc(sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->w.b = b;
	f->w.ino = ino;
	f->mode = mode;
	f->off = off;
	f->end = off + len;
	do {
		f->w.runs = 0;
		f->w.near = 0;
		change_begin(b);
		rc = fallocate(f);
		change_end(b);
	} while (space_retry(b, rc, &tried));
	port_free(f);
	return rc;
}
