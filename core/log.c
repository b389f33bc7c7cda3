// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A branch's log: a row of segments, appended to and replayed. */
#include "internal.h"

static struct daxfs_log_header *header(const struct daxfs_region *r, u32 s)
{
	return at(r, seg_offset(r, s));
}

bool log_has_room(const struct daxfs_branch *b, u32 size)
{
	return b->log.seg != NO_SEGMENT && b->log.tail + size <= b->r->seg_size;
}

int log_append(struct daxfs_branch *b, struct daxfs_txn *t, bool frees,
	       struct daxfs_txn **stored)
{
	struct daxfs_region *r = b->r;
	u32 size = le32_to_cpu(t->h.total_size);
	int rc;

	if (size > r->seg_size - sizeof(struct daxfs_log_header))
		return -EFBIG;
	if (!log_has_room(b, size)) {
		rc = segment_alloc_log(b, frees, &b->log.seg);
		if (rc)
			return rc;
		b->log.tail = sizeof(struct daxfs_log_header);
	}
	seg_dirty(b, b->log.seg);
	*stored = at(r, seg_offset(r, b->log.seg) + b->log.tail);
	memcpy(*stored, t, size);
	b->log.tail += size;
	port_store(&b->log_room, r->seg_size - b->log.tail);
	port_count(&r->counts.log_written, size);
	return 0;
}

/* One 8-byte store makes the entry part of the log. */
void log_publish(struct daxfs_branch *b)
{
	port_store(&header(b->r, b->log.seg)->tail, cpu_to_le64(b->log.tail));
}

/* Up to `tail`; *pos: where the first bad entry is. */
static int replay_segment(struct daxfs_branch *b, u32 s, u64 tail, u64 *pos,
			  struct daxfs_message *msg)
{
	int rc;

	for (*pos = sizeof(struct daxfs_log_header); *pos < tail;) {
		const struct daxfs_txn *t =
			at(b->r, seg_offset(b->r, s) + *pos);

		rc = check_txn(b->r, t, tail - *pos, msg);
		if (!rc)
			rc = view_reserve(b, t);
		if (rc)
			return rc;
		view_apply(b, t);
		*pos += le32_to_cpu(t->h.total_size);
	}
	return 0;
}

u32 log_newest(const struct daxfs_branch *b)
{
	const struct daxfs_region *r = b->r;
	u32 s = b->lists[SEG_LOG];

	while (s != NO_SEGMENT && le64_to_cpu(header(r, s)->tail) <=
					  sizeof(struct daxfs_log_header))
		s = r->seg[s].next;
	return s;
}

/*
 * After a loss of power: the newest segment that a sync has reached. What is
 * older was then synced to its end, what is newer not at all: it goes.
 */
static u32 last_synced(struct daxfs_branch *b)
{
	struct daxfs_region *r = b->r;
	u32 s = b->lists[SEG_LOG], next;

	for (; s != NO_SEGMENT; s = next) {
		next = r->seg[s].next;
		if (!check_log_header(r, s, NULL) &&
		    le64_to_cpu(header(r, s)->synced) >
			    sizeof(struct daxfs_log_header))
			break;
		segment_drop_log(b, s);
	}
	return s;
}

/* The log ends at `pos` of segment s. */
static void end_at(struct daxfs_branch *b, u32 s, u64 pos)
{
	b->log.seg = s;
	b->log.tail = (u32)pos;
	port_store(&b->log_room, b->r->seg_size - b->log.tail);
}

/* What is newer than segment s, or all with NO_SEGMENT, was never written. */
static void drop_newer(struct daxfs_branch *b, u32 s)
{
	while (b->lists[SEG_LOG] != s)
		segment_drop_log(b, b->lists[SEG_LOG]);
}

/* Check and apply one segment, which becomes the one to append to. */
static int replay_next(struct daxfs_branch *b, u32 s, bool synced, bool cut,
		       struct daxfs_message *msg)
{
	struct daxfs_region *r = b->r;
	u32 before = r->seg[s].next;
	u64 tail, pos;
	int rc = check_log_header(r, s, msg);

	if (rc == -EUCLEAN && cut) {
		drop_newer(b, before);
		return 1;
	}
	if (rc)
		return rc;
	tail = le64_to_cpu(synced ? header(r, s)->synced : header(r, s)->tail);
	rc = replay_segment(b, s, tail, &pos, msg);
	if (rc && !(rc == -EUCLEAN && cut))
		return rc;
	end_at(b, s, pos);
	if (rc)
		drop_newer(b, s);
	if (r->readonly || (!rc && !synced))
		return rc ? 1 : 0;
	if (le64_to_cpu(header(r, s)->synced) > pos)
		port_store(&header(r, s)->synced, cpu_to_le64(pos));
	log_publish(b);
	return rc ? 1 : 0;
}

int log_replay(struct daxfs_branch *b, bool cut, struct daxfs_message *msg)
{
	struct daxfs_region *r = b->r;
	u32 synced = NO_SEGMENT;
	int rc = 0;

	if (!r->segmented)
		return v4_replay(b, msg);
	if (r->recovery == RECOVER_POWER)
		synced = last_synced(b);
	b->replaying = true;
	/* the list is newest first; its other end is reached by prev */
	for (u32 s = seg_list_last(b, SEG_LOG); s != NO_SEGMENT && !rc;
	     s = r->seg[s].prev)
		rc = replay_next(b, s, s == synced, cut, msg);
	b->replaying = false;
	ppool_drain(&b->pool);
	ppool_drain(&b->ipool);
	return rc;
}
