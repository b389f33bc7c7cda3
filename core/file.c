// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Reading and writing file data. */
#include "internal.h"

#define WRITE_CHUNK (4u << 20) /* bytes that one transaction writes at most */
#define WRITE_RUNS 256u        /* and extents */

static int check_file(const struct dinode *in)
{
	if (S_ISDIR(in->mode))
		return -EISDIR;
	return S_ISREG(in->mode) ? 0 : -EINVAL;
}

#if defined(__SANITIZE_THREAD__)
#define UNSEEN                                \
	__attribute__((no_sanitize("thread"), \
		       optimize("no-tree-loop-distribute-patterns")))

UNSEEN void copy_data(void *to, const void *from, size_t n)
{
	volatile u8 *t = to;
	const volatile u8 *f = from;

	while (n--)
		*t++ = *f++;
}

UNSEEN void zero_data(void *to, size_t n)
{
	volatile u8 *t = to;

	while (n--)
		*t++ = 0;
}
#endif

static int begin_read_file(struct daxfs_branch *b, u64 ino, struct dinode *out)
{
	int rc = begin_read(b, ino, out);

	return rc ? rc : check_file(out);
}

/* ---- Read ------------------------------------------------------------------------ */

static u64 clamp_read(const struct dinode *in, u64 off, size_t len)
{
	if (off >= in->size)
		return 0;
	return len < in->size - off ? len : in->size - off;
}

static u32 collect(const struct daxfs_branch *b, u64 ino,
		   const struct dinode *in, u64 off, u64 len,
		   struct daxfs_piece *p, u32 max)
{
	u64 end = off + len;
	struct map m;
	u32 n = 0;

	for (; off < end && n < max; off += m.len, n++) {
		view_map(b, ino, in, off, end, &m);
		p[n].ptr = m.media ? at(b->r, m.media) : NULL;
		p[n].len = m.len;
	}
	return n;
}

ssize_t daxfs_read_pieces(struct daxfs_branch *b, u64 ino, size_t len, u64 off,
			  struct daxfs_piece *pieces, u32 max,
			  ssize_t (*fn)(void *ctx, const struct daxfs_piece *p,
					u32 count),
			  void *ctx)
{
	struct dinode in;
	ssize_t rc;

	rc = begin_read_file(b, ino, &in);
	if (!rc) {
		u64 n = clamp_read(&in, off, len);

		rc = fn(ctx, pieces, collect(b, ino, &in, off, n, pieces, max));
	}
	port_read_unlock(&b->lock);
	return rc;
}

ssize_t daxfs_read(struct daxfs_branch *b, u64 ino, void *buf, size_t len,
		   u64 off)
{
	struct dinode in;
	u64 n, end;
	ssize_t rc;
	struct map m;

	rc = begin_read_file(b, ino, &in);
	if (!rc) {
		n = clamp_read(&in, off, len);
		for (end = off + n; off < end; off += m.len) {
			view_map(b, ino, &in, off, end, &m);
			if (m.media)
				copy_data(buf, at(b->r, m.media), m.len);
			else
				memset(buf, 0, m.len);
			buf = (char *)buf + m.len;
		}
		rc = (ssize_t)n;
	}
	port_read_unlock(&b->lock);
	return rc;
}

/* ---- Write ------------------------------------------------------------------------- */

/* One write in progress. */
struct write {
	struct daxfs_branch *b;
	u64 ino;
	struct dinode *in;
	const u8 *buf; /* the bytes for off */
	u64 off, end;  /* still to be written */
	u64 near;      /* where the last run ended */
	u32 runs;      /* extents in this transaction */
	struct {
		u64 media;
		u32 blocks;
	} fresh[WRITE_RUNS];
};

static void put_bytes(struct write *w, u64 media, u64 n)
{
	copy_data(at(w->b->r, media), w->buf, n);
	w->buf += n;
	w->off += n;
}

/* Fill part of a new block with what the file has there now. */
static void copy_old(const struct write *w, u64 off, u64 end, u64 media)
{
	struct map m;

	for (; off < end; off += m.len, media += m.len) {
		view_map(w->b, w->ino, w->in, off, end, &m);
		if (m.media)
			copy_data(at(w->b->r, media), at(w->b->r, m.media),
				  m.len);
		else
			zero_data(at(w->b->r, media), m.len);
	}
}

/*
 * Write up to `end` into new blocks; the file's blocks there are holes or
 * others see them. Fails when not one block is to be had.
 */
static int write_new(struct write *w, u64 end)
{
	u64 first = block_floor(w->off), media, run_end;
	u32 want = (u32)((block_ceil(end) - first) / BLOCK);
	u32 got = block_alloc(w->b, want, w->near, &media);

	if (!got)
		return space_error(w->b, 1);
	w->fresh[w->runs].media = media;
	w->fresh[w->runs++].blocks = got;
	run_end = first + got * BLOCK;
	w->in->blocks +=
		got - view_mapped_blocks(w->b, w->ino, w->in, first, run_end);
	if (run_end < end)
		end = run_end;
	copy_old(w, first, w->off, media);
	copy_old(w, end, run_end, media + (end - first));
	txn_extent(w->b, w->ino, first, run_end - first, media);
	put_bytes(w, media + (w->off - first), end - w->off);
	w->near = media + got * BLOCK;
	return 0;
}

/* Write one run: in place where the blocks are the branch's own. */
static int write_run(struct write *w, u64 end)
{
	struct map m;
	bool own;
	u64 n;

	view_map(w->b, w->ino, w->in, w->off, end, &m);
	if (m.extent && m.media) {
		n = block_owned(w->b, m.media, m.len, &own);
		if (own) {
			put_bytes(w, m.media, n);
			w->near = m.media + n;
			return 0;
		}
		return write_new(w, w->off + n);
	}
	/* base data or a hole: up to the next extent */
	if (w->off + m.len < end && m.media && !m.extent) {
		/* the base may end within a block: then a hole follows */
		u64 stop = block_ceil(w->off + m.len);

		return write_new(w, stop < end ? stop : end);
	}
	return write_new(w, w->off + m.len);
}

static void undo_runs(struct write *w)
{
	while (w->runs--)
		block_free(w->b, w->fresh[w->runs].media,
			   w->fresh[w->runs].blocks * BLOCK);
	w->runs = 0;
}

/* A gap before what is written reads as zeros. */
static int grow(struct write *w)
{
	int rc = grow_prepare(w->b, w->ino, w->in);

	/* a copied tail block must be in the view before it is written to */
	if (!rc && w->b->txn->records) {
		rc = txn_commit(w->b);
		if (!rc)
			rc = txn_begin(w->b);
	}
	return rc;
}

/*
 * One transaction. Writes as much as goes; 0 with w->off advanced, or the error
 * when that was nothing.
 */
static int write_chunk(struct write *w, u32 flags)
{
	u64 start = w->off, stop = w->end;
	struct dinode before = *w->in;
	int rc = 0;

	if (stop - start > WRITE_CHUNK)
		stop = start + WRITE_CHUNK;
	w->runs = 0;
	if (start > w->in->size)
		rc = grow(w);
	while (!rc && w->off < stop && w->runs < WRITE_RUNS)
		rc = write_run(w, stop);
	if (w->off == start)
		return rc;
	if (w->off > w->in->size)
		w->in->size = w->off;
	w->in->mtime = w->in->ctime = txn_time(w->b);
	if (flags & DAXFS_WRITE_KILLPRIV)
		kill_priv(w->b, w->ino, w->in);
	txn_inode(w->b, w->ino, w->in);
	rc = txn_commit(w->b);
	if (!rc)
		return 0;
	undo_runs(w);
	*w->in = before;
	w->off = start;
	return rc;
}

/* Where the bytes before `off` lie, so that a file grows in one piece. */
static u64 end_of_previous(const struct write *w, u64 off)
{
	u64 end = block_floor(off);
	struct map m;

	if (!end)
		return 0;
	view_map(w->b, w->ino, w->in, end - BLOCK, end, &m);
	return m.extent && m.media ? m.media + BLOCK : 0;
}

static ssize_t write_locked(struct write *w, size_t len, u64 off, u32 flags)
{
	struct dinode in;
	u64 start;
	int rc = txn_begin(w->b);

	if (!rc)
		rc = get_dinode(w->b, w->ino, &in);
	if (!rc)
		rc = check_file(&in);
	if (rc)
		return rc;
	if (flags & DAXFS_WRITE_APPEND)
		off = in.size;
	if (off >= DAXFS_MAX_FILE_SIZE)
		return -EFBIG;
	if (len > DAXFS_MAX_FILE_SIZE - off)
		len = DAXFS_MAX_FILE_SIZE - off;
	w->in = &in;
	w->off = start = off;
	w->end = off + len;
	w->near = end_of_previous(w, off);
	while (w->off < w->end) {
		rc = write_chunk(w, flags);
		if (!rc && w->off < w->end)
			rc = txn_begin(w->b);
		if (rc)
			break;
	}
	return w->off > start ? (ssize_t)(w->off - start) : rc;
}

ssize_t daxfs_write(struct daxfs_branch *b, u64 ino, const void *buf,
		    size_t len, u64 off, u32 flags)
{
	struct write *w;
	ssize_t rc;

	if (len > SSIZE_MAX)
		return -EINVAL;
	/* too large for a kernel's stack */
	w = port_zalloc(sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->b = b;
	w->ino = ino;
	w->buf = buf;
	change_begin(b);
	rc = write_locked(w, len, off, flags);
	change_end(b);
	port_free(w);
	return rc;
}

int daxfs_fsync(struct daxfs_branch *b, u64 ino)
{
	struct dinode in;
	int rc;

	rc = begin_read(b, ino, &in);
	port_read_unlock(&b->lock);
	return rc ? rc : branch_sync(b);
}
