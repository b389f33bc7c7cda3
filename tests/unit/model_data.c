// SPDX-License-Identifier: Apache-2.0
/* Operations on files' bytes. */
#include "model.h"

#define WRITE_MAX (512 * KB)

static u8 bytes[WRITE_MAX], seen[BLK];

int model_file_error(const struct inode *i)
{
	if (!i)
		return -ENOENT;
	if (S_ISDIR(i->mode))
		return -EISDIR;
	return S_ISREG(i->mode) ? 0 : -EINVAL;
}

static void fill(const struct op *op)
{
	u64 s = op->salt;

	for (u64 n = 0; n < op->len; n += 8) {
		u64 word = rnd(&s);

		memcpy(bytes + n, &word, 8);
	}
}

/* ---- Size ---------------------------------------------------------------- */

/*
 * The rest of the last block is cleared, in a copy when others see it. Base
 * data ends anyhow.
 */
static void clear_tail(struct branch *b, struct inode *i, u64 size)
{
	static const u8 zeros[BLK];
	struct block *k = size % BLK ? model_block(i, size / BLK) : NULL;
	u64 rest = BLK - size % BLK, owner;

	if (!k || !k->c || !memcmp(k->c->bytes + size % BLK, zeros, rest))
		return;
	owner = k->owner;
	memset(model_block_own(b, i, k->n) + size % BLK, 0, rest);
	if (!owner)
		model_block(i, size / BLK)->owner = 0;
}

void model_resize(struct branch *b, struct inode *i, u64 size)
{
	if (size <= i->size) {
		model_blocks_drop(i, (size + BLK - 1) / BLK, ~0ull);
		clear_tail(b, i, size);
	}
	i->size = size;
	if (i->base_valid > size)
		i->base_valid = size;
}

void model_settle_size(struct branch *b, u64 ino)
{
	struct inode *i = model_own(b, ino);
	struct daxfs_attr a = { 0 };

	SAME("getattr", daxfs_getattr(b->h, ino, &a), 0);
	CHECK(a.size <= i->size, "shrinking made a file longer");
	if (a.size == i->size)
		return;
	model_resize(b, i, a.size);
	i->t[1] = a.mtime;
	i->t[2] = a.ctime;
	model_check_attr(b, i);
}

ssize_t op_truncate(struct branch *b, const struct op *op)
{
	const struct inode *f = model_find(b, op->ino);
	struct daxfs_attr a = { .size = op->off }, out;
	int want = model_writable(b), rc;
	struct inode *i;
	u64 old;

	if (!want)
		want = model_file_error(f);
	rc = daxfs_setattr(b->h, model_ino(f), DAXFS_SET_SIZE, &a, &out);
	if (!model_done(b, rc, want)) {
		if (!want)
			model_settle_size(b, f->ino);
		return rc;
	}
	SAME("size returned", out.size, op->off);
	i = model_own(b, f->ino);
	old = i->size;
	model_resize(b, i, op->off);
	model_changed(b, i, T_M | T_C);
	model_check_bytes(b, i, (old < i->size ? old : i->size) / BLK * BLK,
			  2 * BLK);
	return rc;
}

/* ---- Write --------------------------------------------------------------- */

/*
 * A write that ran out of space may have changed bytes of [off, off+len) in
 * place: each is the old or the new one.
 */
static void settle_bytes(struct branch *b, u64 ino, u64 off, u64 len)
{
	struct inode *i = model_own(b, ino);
	u64 end = off + len < i->size ? off + len : i->size;

	/* behind its end may now be what must not show when the file grows */
	i->unsure |= off + len > i->size;
	for (u64 at = off; at < end;) {
		u64 n = BLK - at % BLK;
		struct block *k = model_block(i, at / BLK);

		n = n < end - at ? n : end - at;
		SAME("read", daxfs_read(b->h, ino, seen, n, at), n);
		for (u64 j = 0; k && k->owner == b->id && j < n; j++) {
			u8 *p = model_block_own(b, i, at / BLK) + at % BLK + j;

			if (seen[j] == bytes[at + j - off])
				*p = seen[j];
		}
		at += n;
	}
	model_check_bytes(b, i, off, len);
}

static u64 write_at(const struct op *op, const struct inode *f)
{
	if (f && S_ISREG(f->mode) && (op->flags & DAXFS_WRITE_APPEND))
		return f->size;
	return op->off;
}

ssize_t op_write(struct branch *b, const struct op *op)
{
	const struct inode *f = model_find(b, op->ino);
	u64 off = write_at(op, f);
	int want = model_writable(b);
	struct inode *i;
	ssize_t n;

	fill(op);
	if (!want)
		want = model_file_error(f);
	n = daxfs_write(b->h, model_ino(f), bytes, op->len, op->off, op->flags);
	if (n <= 0) {
		model_done(b, n, want);
		if (!want)
			settle_bytes(b, f->ino, off, op->len);
		return n;
	}
	SAME("error foretold", 0, want);
	CHECK((u64)n <= op->len, "%zd bytes written", n);
	i = model_own(b, f->ino);
	model_write(b, i, off, bytes, (u64)n);
	if (op->flags & DAXFS_WRITE_KILLPRIV)
		model_kill_priv(i);
	model_changed(b, i, T_M | T_C);
	if ((u64)n < op->len) {
		model_no_space(b, 0);
		settle_bytes(b, f->ino, off, op->len);
	}
	model_check_bytes(b, i, off / BLK * BLK, (u64)n + 2 * BLK);
	return n;
}

ssize_t op_fsync(struct branch *b, const struct op *op)
{
	const struct inode *i = model_find(b, op->ino);
	int rc = daxfs_fsync(b->h, model_ino(i));

	SAME("fsync", rc, i ? 0 : -ENOENT);
	if (i)
		model_check_inode(b, i);
	return rc;
}

/* ---- Fallocate ----------------------------------------------------------- */

static int range_error(const struct branch *b, const struct inode *f,
		       const struct op *op)
{
	u32 mode = op->flags & ~DAXFS_FALLOC_KILLPRIV;
	bool moves = mode & (DAXFS_FALLOC_COLLAPSE | DAXFS_FALLOC_INSERT);

	if (mode == DAXFS_FALLOC_PUNCH ||
	    mode == (DAXFS_FALLOC_COLLAPSE | DAXFS_FALLOC_KEEP_SIZE))
		return -EOPNOTSUPP;
	if (moves && (op->off % BLK || op->len % BLK))
		return -EINVAL;
	if (model_writable(b))
		return model_writable(b);
	if (!f)
		return -ENOENT;
	if (S_ISDIR(f->mode))
		return -EISDIR;
	if (!S_ISREG(f->mode))
		return -ENODEV;
	if (mode == DAXFS_FALLOC_COLLAPSE)
		return op->off + op->len >= f->size ? -EINVAL : 0;
	return moves && op->off >= f->size ? -EINVAL : 0;
}

/* Blocks of the branch's own everywhere, with what the file has there. */
static void allocate(struct branch *b, struct inode *i, u64 off, u64 end)
{
	for (u64 n = off / BLK; n < (end + BLK - 1) / BLK; n++)
		if (model_block(i, n))
			model_block_own(b, i, n);
		else
			model_block_zero(b, i, n);
}

/* Bytes become zeros; blocks that are there stay. */
static void clear_bytes(struct branch *b, struct inode *i, u64 off, u64 end)
{
	for (; off < end; off = (off / BLK + 1) * BLK) {
		u64 n = BLK - off % BLK;

		n = n < end - off ? n : end - off;
		if (model_block(i, off / BLK))
			memset(model_block_own(b, i, off / BLK) + off % BLK, 0,
			       n);
	}
}

static void punch(struct branch *b, struct inode *i, u64 off, u64 end)
{
	u64 from = (off + BLK - 1) / BLK, to = end / BLK;

	if (from > to) {
		clear_bytes(b, i, off, end);
		return;
	}
	clear_bytes(b, i, off, from * BLK);
	model_blocks_drop(i, from, to);
	if (to * BLK < end)
		clear_bytes(b, i, to * BLK, end);
}

static void zero_range(struct branch *b, struct inode *i, u64 off, u64 end)
{
	u64 from = (off + BLK - 1) / BLK, to = end / BLK;

	allocate(b, i, off, end);
	clear_bytes(b, i, off, end);
	for (u64 n = from; n < to; n++)
		model_block_zero(b, i, n);
}

/* What lies at and after `from` moves to `to`; none of it is base data then. */
static void move_blocks(struct branch *b, struct inode *i, u64 from, u64 to)
{
	u64 low = from < to ? from : to;

	for (u32 k = model_block_at(i, from / BLK); k < i->nblocks; k++)
		i->blocks[k].owner = b->id;
	model_blocks_drop(i, low / BLK, from / BLK);
	model_blocks_move(i, from / BLK, (s64)(to / BLK) - (s64)(from / BLK));
	i->size = i->size - from + to;
	if (i->base_valid > low)
		i->base_valid = low;
}

static void fallocate_model(struct branch *b, struct inode *i,
			    const struct op *op)
{
	u64 off = op->off, end = op->off + op->len;

	if (op->flags & DAXFS_FALLOC_PUNCH) {
		punch(b, i, off, end);
	} else if (op->flags & DAXFS_FALLOC_COLLAPSE) {
		move_blocks(b, i, end, off);
	} else if (op->flags & DAXFS_FALLOC_INSERT) {
		move_blocks(b, i, off, end);
	} else {
		if (op->flags & DAXFS_FALLOC_ZERO)
			zero_range(b, i, off, end);
		else
			allocate(b, i, off, end);
		if (!(op->flags & DAXFS_FALLOC_KEEP_SIZE) && end > i->size)
			i->size = end;
	}
	if (op->flags & DAXFS_FALLOC_KILLPRIV)
		model_kill_priv(i);
}

ssize_t op_fallocate(struct branch *b, const struct op *op)
{
	const struct inode *f = model_find(b, op->ino);
	int want = range_error(b, f, op), rc;
	struct inode *i;

	rc = daxfs_fallocate(b->h, model_ino(f), op->flags, op->off, op->len);
	/* too many pieces to move in one transaction */
	if (!want && rc == -EFBIG && f->nblocks > 512)
		want = rc;
	if (!model_done(b, rc, want)) {
		if (!want)
			model_check_inode(b, f);
		return rc;
	}
	i = model_own(b, f->ino);
	fallocate_model(b, i, op);
	model_changed(b, i, T_M | T_C);
	model_check_bytes(b, i, op->off / BLK * BLK, op->len + 2 * BLK);
	return rc;
}

/* ---- Copy ---------------------------------------------------------------- */

static int copy_error(const struct branch *b, const struct inode *from,
		      const struct inode *to, const struct op *op, u64 *len)
{
	int want = model_writable(b);

	if (!want)
		want = model_file_error(from);
	if (!want)
		want = model_file_error(to);
	if (want)
		return want;
	*len = op->off < from->size ? from->size - op->off : 0;
	if (*len > op->len)
		*len = op->len;
	if (*len && from == to && op->off < op->to_off + *len &&
	    op->to_off < op->off + *len)
		return -EINVAL;
	return 0;
}

/* Where the hole at `off` ends, `end` at the latest; `off` if there is none. */
static u64 hole_end(const struct inode *i, u64 off, u64 end)
{
	u64 n = off / BLK;
	u32 k;

	if (model_block(i, n)) {
		if (off < model_data_end(i, n))
			return off;
		n++;
	}
	k = model_block_at(i, n);
	if (k < i->nblocks && i->blocks[k].n * BLK < end)
		return i->blocks[k].n * BLK;
	return end;
}

/* Holes stay holes; what is copied may change what is a hole, in one file. */
static void copy_model(struct branch *b, u64 from, struct inode *to,
		       const struct op *op, u64 len)
{
	u64 off = op->off, end = op->off + len;

	while (off < end) {
		const struct inode *f = model_see(b, from);
		u64 at = op->to_off + (off - op->off);
		u64 stop = hole_end(f, off, end);

		if (stop > off) {
			punch(b, to, at, at + (stop - off));
			if (to->size < at + (stop - off))
				to->size = at + (stop - off);
		} else {
			stop = model_data_end(f, off / BLK);
			stop = stop < end ? stop : end;
			model_write(b, to, at, bytes + (off - op->off),
				    stop - off);
		}
		off = stop;
	}
}

ssize_t op_copy(struct branch *b, const struct op *op)
{
	const struct inode *from = model_find(b, op->ino);
	const struct inode *to = model_find(b, op->dir);
	u64 len = 0;
	int want = copy_error(b, from, to, op, &len);
	struct inode *i;
	ssize_t n;

	if (!want)
		model_bytes(from, op->off, len, bytes);
	n = daxfs_copy_range(b->h, model_ino(from), op->off, model_ino(to),
			     op->to_off, op->len, op->flags);
	if (n <= 0) {
		model_done(b, n, want);
		CHECK(n || !len || want, "nothing was copied");
		if (!want && n)
			settle_bytes(b, to->ino, op->to_off, len);
		return n;
	}
	SAME("error foretold", 0, want);
	i = model_own(b, to->ino);
	copy_model(b, from->ino, i, op, (u64)n);
	if (op->flags & DAXFS_WRITE_KILLPRIV)
		model_kill_priv(i);
	model_changed(b, i, T_M | T_C);
	if ((u64)n < len) {
		model_no_space(b, 0);
		settle_bytes(b, i->ino, op->to_off, len);
	}
	model_check_bytes(b, i, op->to_off / BLK * BLK, len + 2 * BLK);
	return n;
}

/* ---- Seek ---------------------------------------------------------------- */

static s64 seek_model(const struct inode *i, u64 off, bool hole)
{
	u64 at = off, end;

	if (!hole) {
		at = hole_end(i, off, i->size);
		return at < i->size ? (s64)at : -ENXIO;
	}
	while (at < i->size && hole_end(i, at, i->size) == at) {
		end = model_data_end(i, at / BLK);
		at = end < i->size ? end : i->size;
	}
	return (s64)at;
}

ssize_t op_seek(struct branch *b, const struct op *op)
{
	const struct inode *f = model_find(b, op->ino);
	bool hole = op->salt % 2;
	s64 want = model_file_error(f);
	s64 at = daxfs_seek(b->h, model_ino(f), op->off, hole);

	if (!want && op->off >= f->size)
		want = -ENXIO;
	if (!want)
		want = seek_model(f, op->off, hole);
	SAME("seek", at, want);
	return at;
}
