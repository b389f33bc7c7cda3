// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Copying between files: straight from region memory, through the write path.
 * Of holes only the place is copied.
 */
#include "write.h"

#define COPY_STEP (16u << 20) /* bytes of data before others may write */

struct copy {
	struct write w; /* to */
	u64 from_ino, from, to, len;
	struct dinode in, from_in;
	const struct dinode *source; /* one of the two */
};

static bool overlaps(const struct copy *c)
{
	return c->from_ino == c->w.ino && c->from < c->to + c->len &&
	       c->to < c->from + c->len;
}

/* Both inodes as they are now; c->len becomes what there is to copy. */
static int load(struct copy *c)
{
	struct daxfs_branch *b = c->w.b;
	int rc = txn_begin(b);

	if (!rc)
		rc = get_dinode(b, c->from_ino, &c->from_in);
	if (!rc)
		rc = check_file(&c->from_in);
	if (!rc)
		rc = get_dinode(b, c->w.ino, &c->in);
	if (!rc)
		rc = check_file(&c->in);
	if (rc)
		return rc;
	/* of one file both ends change together */
	c->source = c->from_ino == c->w.ino ? &c->in : &c->from_in;
	c->w.in = &c->in;
	if (c->from >= c->source->size)
		c->len = 0;
	else if (c->len > c->source->size - c->from)
		c->len = c->source->size - c->from;
	if (!c->len)
		return 0;
	if (c->to >= DAXFS_MAX_FILE_SIZE)
		return -EFBIG;
	if (c->len > DAXFS_MAX_FILE_SIZE - c->to)
		c->len = DAXFS_MAX_FILE_SIZE - c->to;
	return overlaps(c) ? -EINVAL : 0;
}

/* One run of the source. */
static int copy_run(struct copy *c, const struct map *m, u32 flags)
{
	struct write *w = &c->w;
	u64 done;
	int rc;

	w->off = c->to;
	w->end = c->to + m->len;
	if (m->media) {
		w->buf = at(w->b->r, m->media);
		rc = write_range(w, flags);
		done = w->off - c->to;
	} else {
		rc = punch_range(w, w->off, w->end, w->end, flags);
		done = rc ? 0 : m->len;
	}
	c->from += done;
	c->to += done;
	c->len -= done;
	return rc;
}

/*
 * The source's next run. A hole is all of it, so that no block of the target is
 * cleared in two halves where it could have become one.
 */
static void next_run(const struct copy *c, struct map *m)
{
	u64 end = c->from + c->len;
	struct map more;

	view_map(c->w.b, c->from_ino, c->source, c->from, end, m);
	while (!m->media && m->off + m->len < end) {
		view_map(c->w.b, c->from_ino, c->source, m->off + m->len, end,
			 &more);
		if (more.media)
			break;
		m->len += more.len;
	}
}

/* A part, with change_lock held. */
static int copy_part(struct copy *c, u32 flags)
{
	u64 room = COPY_STEP;
	int rc = load(c);
	struct map m;

	while (!rc && c->len && room) {
		next_run(c, &m);
		if (m.media && m.len > room)
			m.len = room;
		if (m.media)
			room -= m.len;
		rc = copy_run(c, &m, flags);
		if (!rc && c->len)
			rc = txn_begin(c->w.b);
	}
	return rc;
}

ssize_t daxfs_copy_range(struct daxfs_branch *b, u64 from, u64 from_off, u64 to,
			 u64 to_off, u64 len, u32 write_flags)
{
	bool tried = false;
	struct copy *c;
	u64 done;
	int rc;

	if (write_flags & ~DAXFS_WRITE_KILLPRIV)
		return -EINVAL;
	if (len > SSIZE_MAX)
		len = SSIZE_MAX;
	c = port_zalloc(sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->w.b = b;
	c->w.ino = to;
	c->from_ino = from;
	c->from = from_off;
	c->to = to_off;
	c->len = len;
	do {
		change_begin(b);
		rc = copy_part(c, write_flags);
		change_end(b);
	} while (rc ? space_retry(b, rc, &tried) : c->len);
	done = c->to - to_off;
	port_free(c);
	return done ? (ssize_t)done : rc;
}
