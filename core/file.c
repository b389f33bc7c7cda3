// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Reading and writing file data. */
#include "write.h"

#define WRITE_CHUNK (4u << 20) /* bytes that one transaction writes at most */

int check_file(const struct dinode *in)
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

static void put_bytes(struct write *w, u64 media, u64 n)
{
	if (w->buf) {
		copy_data(at(w->b->r, media), w->buf, n);
		w->buf += n;
	} else {
		zero_data(at(w->b->r, media), n);
	}
	w->off += n;
}

void write_keep(const struct write *w, u64 off, u64 end, u64 media)
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

/* Note a run of new blocks; it may go on where the last one ended. */
static void add_run(struct write *w, u64 off, u64 media, u32 blocks)
{
	u32 n = w->runs;
	u64 last = n ? w->fresh[n - 1].blocks * BLOCK : 0;

	if (n && w->fresh[n - 1].off + last == off &&
	    w->fresh[n - 1].media + last == media) {
		w->fresh[n - 1].blocks += blocks;
		return;
	}
	w->fresh[n].off = off;
	w->fresh[n].media = media;
	w->fresh[n].blocks = blocks;
	w->runs++;
}

int write_alloc(struct write *w, u64 first, u64 end, u64 *run_end, u64 *media)
{
	u64 want = (end - first) / BLOCK;
	u32 got;

	if (want > w->b->r->seg_blocks)
		want = w->b->r->seg_blocks;
	got = block_alloc(w->b, (u32)want, w->near, media);
	if (!got)
		return space_error(w->b, 1);
	add_run(w, first, *media, got);
	*run_end = first + got * BLOCK;
	w->in->blocks +=
		got - view_mapped_blocks(w->b, w->ino, w->in, first, *run_end);
	w->near = *media + got * BLOCK;
	return 0;
}

/*
 * Write up to `end` into new blocks; the file's blocks there are holes or
 * others see them.
 */
static int write_new(struct write *w, u64 end)
{
	u64 first = block_floor(w->off), media, run_end;
	int rc = write_alloc(w, first, block_ceil(end), &run_end, &media);

	if (rc)
		return rc;
	if (run_end < end)
		end = run_end;
	write_keep(w, first, w->off, media);
	write_keep(w, end, run_end, media + (end - first));
	put_bytes(w, media + (w->off - first), end - w->off);
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
			block_dirty(w->b, m.media, n);
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

void write_undo(struct write *w)
{
	while (w->runs--)
		block_free(w->b, w->fresh[w->runs].media,
			   w->fresh[w->runs].blocks * BLOCK);
	w->runs = 0;
}

int write_commit(struct write *w)
{
	int rc;

	for (u32 i = 0; i < w->runs; i++)
		txn_extent(w->b, w->ino, w->fresh[i].off,
			   w->fresh[i].blocks * BLOCK, w->fresh[i].media);
	txn_inode(w->b, w->ino, w->in);
	rc = txn_commit(w->b);
	if (rc)
		write_undo(w);
	w->runs = 0;
	return rc;
}

int write_grow(struct write *w)
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
 * A write came to nothing that went to space set aside behind the file's end:
 * zeros are what shows there once the file grows.
 */
static void clear_set_aside(const struct write *w, u64 off)
{
	struct map m;
	bool own;

	if (off < w->in->size)
		off = w->in->size;
	for (; off < w->off; off += m.len) {
		view_map(w->b, w->ino, w->in, off, w->off, &m);
		if (!m.extent || !m.media)
			continue;
		m.len = block_owned(w->b, m.media, m.len, &own);
		if (own)
			zero_data(at(w->b->r, m.media), m.len);
	}
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
		rc = write_grow(w);
	while (!rc && w->off < stop && w->runs < WRITE_RUNS)
		rc = write_run(w, stop);
	if (w->off == start)
		return rc;
	if (w->off > w->in->size)
		w->in->size = w->off;
	w->in->mtime = w->in->ctime = txn_time(w->b);
	if (flags & DAXFS_WRITE_KILLPRIV)
		kill_priv(w->b, w->ino, w->in);
	rc = write_commit(w);
	if (rc) {
		*w->in = before;
		clear_set_aside(w, start);
		w->off = start;
	}
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

int write_range(struct write *w, u32 flags)
{
	int rc = 0;

	w->near = end_of_previous(w, w->off);
	while (!rc && w->off < w->end) {
		rc = write_chunk(w, flags);
		if (!rc && w->off < w->end)
			rc = txn_begin(w->b);
	}
	return rc;
}

/* *done: how much was written, also on failure. */
static int write_locked(struct write *w, size_t len, u64 off, u32 flags,
			size_t *done)
{
	struct dinode in;
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
	w->off = off;
	w->end = off + len;
	rc = write_range(w, flags);
	*done = w->off - off;
	return rc;
}

ssize_t daxfs_write(struct daxfs_branch *b, u64 ino, const void *buf,
		    size_t len, u64 off, u32 flags)
{
	bool tried = false;
	size_t done = 0, n;
	struct write *w;
	int rc;

	if (len > SSIZE_MAX)
		return -EINVAL;
	w = port_zalloc(sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->b = b;
	w->ino = ino;
	do {
		n = 0;
		w->buf = (const u8 *)buf + done;
		change_begin(b);
		rc = write_locked(w, len - done, off + done, flags, &n);
		change_end(b);
		done += n;
	} while (space_retry(b, rc, &tried));
	port_free(w);
	return done ? (ssize_t)done : rc;
}

/* ---- Holes and data ---------------------------------------------------------------- */

s64 daxfs_seek(struct daxfs_branch *b, u64 ino, u64 off, bool hole)
{
	struct dinode in;
	struct map m;
	s64 rc = begin_read_file(b, ino, &in);

	if (!rc && off >= in.size)
		rc = -ENXIO;
	if (!rc) {
		for (; off < in.size; off += m.len) {
			view_map(b, ino, &in, off, in.size, &m);
			if (!m.media == hole)
				break;
		}
		rc = off < in.size || hole ? (s64)off : -ENXIO;
	}
	port_read_unlock(&b->lock);
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
