// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Segments and blocks. A segment belongs to one branch; which of a DATA
 * segment's blocks are in use is not on media but follows from the extents, so
 * a crash can leak nothing.
 */
#include "internal.h"

static u32 seg_of(const struct daxfs_region *r, u64 off)
{
	return (u32)((off - r->seg_data) / r->seg_size);
}

static u64 full_mask(const struct daxfs_region *r)
{
	return r->seg_blocks == 64 ? ~0ull : (1ull << r->seg_blocks) - 1;
}

/* ---- Lists of a branch's segments (its lock) ------------------------------- */

static void seg_list_add(struct daxfs_branch *b, u32 s, enum seg_list l)
{
	struct seg *seg = b->r->seg;

	seg[s].listed = l + 1u;
	seg[s].prev = NO_SEGMENT;
	seg[s].next = b->lists[l];
	if (seg[s].next != NO_SEGMENT)
		seg[seg[s].next].prev = s;
	b->lists[l] = s;
}

static void seg_list_del(struct daxfs_branch *b, u32 s)
{
	struct seg *seg = b->r->seg;

	if (seg[s].prev != NO_SEGMENT)
		seg[seg[s].prev].next = seg[s].next;
	else
		b->lists[seg[s].listed - 1] = seg[s].next;
	if (seg[s].next != NO_SEGMENT)
		seg[seg[s].next].prev = seg[s].prev;
	seg[s].listed = 0;
}

void seg_dirty(struct daxfs_branch *b, u32 s)
{
	struct seg *seg = &b->r->seg[s];

	if (!b->r->durable || seg->dirty)
		return;
	seg->dirty = true;
	seg->dirty_next = b->dirty;
	b->dirty = s;
	b->dirty_count++;
}

u32 seg_list_last(const struct daxfs_branch *b, enum seg_list l)
{
	u32 s = b->lists[l];

	while (s != NO_SEGMENT && b->r->seg[s].next != NO_SEGMENT)
		s = b->r->seg[s].next;
	return s;
}

/* ---- Free segments ----------------------------------------------------------- */

static bool is_free(const struct daxfs_region *r, u32 s)
{
	return r->seg_free[s / 64] >> (s % 64) & 1;
}

/* space_lock held. NO_SEGMENT when none is free. */
static u32 find_free(struct daxfs_region *r, u32 near)
{
	u32 words = (r->seg_count + 63) / 64, w = r->seg_hint / 64;

	if (near < r->seg_count && is_free(r, near))
		return near;
	for (u32 i = 0; i <= words; i++, w = w + 1 < words ? w + 1 : 0) {
		u64 bits = r->seg_free[w];

		if (!i)
			bits &= ~0ull << (r->seg_hint % 64);
		if (bits)
			return w * 64 + (u32)__builtin_ctzll(bits);
	}
	return NO_SEGMENT;
}

/* ---- Dead segments ------------------------------------------------------------ */

/*
 * Nobody's, but not free before the branch table that says so is durable. The
 * list is linked by `next`.
 */
u32 space_take_dead(struct daxfs_region *r)
{
	u32 list;

	port_lock(&r->space_lock);
	list = r->dead;
	r->dead = NO_SEGMENT;
	port_unlock(&r->space_lock);
	return list;
}

void space_put_dead(struct daxfs_region *r, u32 list)
{
	u32 last = list;

	if (list == NO_SEGMENT)
		return;
	while (r->seg[last].next != NO_SEGMENT)
		last = r->seg[last].next;
	port_lock(&r->space_lock);
	r->seg[last].next = r->dead;
	r->dead = list;
	port_unlock(&r->space_lock);
}

/*
 * Back to the free ones, first their memory, then themselves: others may take
 * them from the moment on in which they have no owner.
 */
static void make_free(struct daxfs_region *r, u32 s, u32 n, bool dead)
{
	for (u32 i = s; i < s + n; i++) {
		port_store(&r->segs[i].kind, 0);
		r->segs[i].order = 0;
	}
	/* a failure only keeps memory that will be reused */
	if (r->bk.discard)
		r->bk.discard(r->bk.priv, seg_offset(r, s),
			      (u64)n * r->seg_size);
	port_lock(&r->space_lock);
	for (u32 i = s; i < s + n; i++) {
		port_store(&r->seg[i].owner, NULL);
		r->seg_free[i / 64] |= 1ull << (i % 64);
		port_store(&r->segs[i].owner, 0);
	}
	r->free_segs += n;
	r->gave = true;
	if (dead)
		r->dead_segs -= n;
	port_unlock(&r->space_lock);
}

/*
 * A cache with large pages may have made dirty what lies beside a segment in
 * use. Nobody takes segments any more: give back what is free.
 */
void space_discard_free(struct daxfs_region *r)
{
	u32 first = 0, s;

	if (!r->bk.discard || !r->gave)
		return;
	for (s = 0; s <= r->seg_count; s++) {
		if (s < r->seg_count && is_free(r, s))
			continue;
		if (s > first)
			r->bk.discard(r->bk.priv, seg_offset(r, first),
				      (u64)(s - first) * r->seg_size);
		first = s + 1;
	}
}

/* Neighbours, newest first, go back in one piece. */
void space_free_dead(struct daxfs_region *r, u32 list)
{
	while (list != NO_SEGMENT) {
		u32 first = list, n = 1;

		while (r->seg[first].next != NO_SEGMENT &&
		       r->seg[first].next + 1 == first) {
			first = r->seg[first].next;
			n++;
		}
		list = r->seg[first].next;
		make_free(r, first, n, true);
	}
}

/* In a shared region only one instance may come to free it. */
static bool claim_to_free(struct daxfs_region *r, u32 s, u64 owner)
{
	return !r->shared ||
	       port_cas64(&r->segs[s].owner, cpu_to_le64(owner),
			  cpu_to_le64(SEG_FREEING | r->instance_id));
}

static void make_dead(struct daxfs_region *r, u32 s, u64 owner)
{
	struct seg *seg = &r->seg[s];

	port_store(&seg->owner, NULL);
	seg->listed = 0;
	seg->dirty = false;
	seg->freed[0] = seg->freed[1] = 0;
	if (!claim_to_free(r, s, owner))
		return;
	port_lock(&r->space_lock);
	seg->next = r->dead;
	r->dead = s;
	r->dead_segs++;
	port_unlock(&r->space_lock);
}

void space_kill(struct daxfs_region *r, u32 s, u64 owner)
{
	make_dead(r, s, owner);
}

void segment_give(struct daxfs_region *r, u32 s, u32 n)
{
	/* what was synced last may still need it */
	for (u32 i = s; r->opening && i < s + n; i++)
		make_dead(r, i, le64_to_cpu(r->segs[i].owner));
	if (!r->opening)
		make_free(r, s, n, false);
}

static int backing_reserve(const struct daxfs_region *r, u64 off, u64 len)
{
	return r->bk.reserve ? r->bk.reserve(r->bk.priv, off, len) : 0;
}

/* space_lock held. In a shared region the medium decides who gets it. */
static u32 take_free(struct daxfs_branch *b, u32 near)
{
	struct daxfs_region *r = b->r;
	u32 s;

	while ((s = find_free(r, near)) != NO_SEGMENT) {
		r->seg_free[s / 64] &= ~(1ull << (s % 64));
		r->free_segs--;
		if (!r->shared ||
		    port_cas64(&r->segs[s].owner, 0, cpu_to_le64(b->id)))
			break;
	}
	if (s == NO_SEGMENT)
		return s;
	r->seg_hint = s + 1 < r->seg_count ? s + 1 : 0;
	port_store(&r->seg[s].owner, b);
	r->seg[s].used = 0;
	r->seg[s].reserved = 0;
	return s;
}

/*
 * Take a free segment while more than `keep` are left. On media it is the
 * branch's but of no kind yet, which a crash turns back into free. Its first
 * `reserve` bytes have memory then.
 */
static u32 segment_take(struct daxfs_branch *b, u32 near, u32 keep, u64 reserve)
{
	struct daxfs_region *r = b->r;
	u32 s = NO_SEGMENT;

	/* others may have freed some */
	if (r->shared && r->free_segs <= keep)
		space_rescan(r);
	port_lock(&r->space_lock);
	if (r->free_segs > keep)
		s = take_free(b, near);
	port_unlock(&r->space_lock);
	if (s == NO_SEGMENT)
		return s;
	if (backing_reserve(r, seg_offset(r, s), reserve)) {
		segment_give(r, s, 1);
		return NO_SEGMENT;
	}
	port_store(&r->segs[s].owner, cpu_to_le64(b->id));
	return s;
}

/* ---- Blocks -------------------------------------------------------------------- */

static void count_blocks(struct daxfs_branch *b, s64 n)
{
	port_fetch_add(&b->blocks, (u64)n);
}

#define RESERVE_BLOCKS 4u /* at once; a segment has 64 at most */
#define RESERVE_BYTES (RESERVE_BLOCKS * BLOCK)

/*
 * Memory for blocks of segment s that are about to be used. Small files would
 * otherwise cost the host a whole segment.
 */
static bool reserve_run(const struct daxfs_region *r, u32 s, u32 i, u32 n)
{
	u32 first = i / RESERVE_BLOCKS, last = (i + n - 1) / RESERVE_BLOCKS;
	struct seg *seg = &r->seg[s];

	while (first <= last && seg->reserved >> first & 1)
		first++;
	while (first < last && seg->reserved >> last & 1)
		last--;
	if (first > last)
		return true;
	if (backing_reserve(r, seg_offset(r, s) + first * RESERVE_BYTES,
			    (last - first + 1) * RESERVE_BYTES))
		return false;
	for (; first <= last; first++)
		seg->reserved |= (u16)(1u << first);
	return true;
}

/* Take the free run that begins at block `i` of segment s; 0: no memory. */
static u32 take_run(struct daxfs_branch *b, u32 s, u32 i, u32 want, u64 *off)
{
	struct daxfs_region *r = b->r;
	struct seg *seg = &r->seg[s];
	u32 n = 0;

	while (n < want && i + n < r->seg_blocks && !(seg->used >> (i + n) & 1))
		n++;
	if (!reserve_run(r, s, i, n))
		return 0;
	for (u32 k = i; k < i + n; k++)
		seg->used |= 1ull << k;
	*off = seg_offset(r, s) + (u64)i * BLOCK;
	seg_dirty(b, s);
	if (seg->used == full_mask(r) && seg->listed == SEG_PARTIAL + 1) {
		seg_list_del(b, s);
		seg_list_add(b, s, SEG_FULL);
	}
	count_blocks(b, n);
	return n;
}

u32 space_kept(const struct daxfs_branch *b)
{
	return b->r->reserve + log_segments(b);
}

/*
 * A new data segment, next to `near` where that is free, with memory for its
 * first `want` blocks.
 */
static u32 new_data_segment(struct daxfs_branch *b, u32 near, u32 keep,
			    u32 want)
{
	struct daxfs_region *r = b->r;
	u32 blocks = want < r->seg_blocks ? want : r->seg_blocks;
	u32 n = (blocks + RESERVE_BLOCKS - 1) / RESERVE_BLOCKS;
	u32 s = segment_take(b, near, keep, n * RESERVE_BYTES);

	if (s == NO_SEGMENT)
		return s;
	r->seg[s].reserved = (u16)((1u << n) - 1);
	r->segs[s].order = 0;
	port_store(&r->segs[s].kind, cpu_to_le32(DAXFS_SEGMENT_DATA));
	seg_list_add(b, s, SEG_PARTIAL);
	return s;
}

u32 block_alloc(struct daxfs_branch *b, u32 want, u64 after, u64 *off)
{
	struct daxfs_region *r = b->r;
	u32 near = NO_SEGMENT, s, i;

	want = quota_blocks(b, want);
	if (!want)
		return 0;
	if (after >= r->seg_data && seg_of(r, after) < r->seg_count) {
		s = seg_of(r, after);
		i = (u32)((after - seg_offset(r, s)) / BLOCK);
		if (port_load(&r->seg[s].owner) == b && r->seg[s].listed &&
		    r->seg[s].listed != SEG_LOG + 1 &&
		    !(r->seg[s].used >> i & 1))
			return take_run(b, s, i, want, off);
		near = i ? s + 1 : s;
	}
	/* long runs start a segment; short ones fill those there are */
	s = want < r->seg_blocks ? b->lists[SEG_PARTIAL] : NO_SEGMENT;
	if (s == NO_SEGMENT)
		s = new_data_segment(b, near, space_kept(b), want);
	if (s == NO_SEGMENT)
		s = b->lists[SEG_PARTIAL];
	if (s == NO_SEGMENT)
		return 0;
	i = (u32)__builtin_ctzll(~r->seg[s].used);
	return take_run(b, s, i, want, off);
}

u32 block_alloc_run(struct daxfs_branch *b, u32 want, u64 *off)
{
	u32 s = NO_SEGMENT;

	if (quota_blocks(b, want) == want)
		s = new_data_segment(b, NO_SEGMENT, space_kept(b), want);
	return s == NO_SEGMENT ? 0 : take_run(b, s, 0, want, off);
}

void block_dirty(struct daxfs_branch *b, u64 off, u64 len)
{
	for (u32 s = seg_of(b->r, off); s <= seg_of(b->r, off + len - 1); s++)
		seg_dirty(b, s);
}

void block_free(struct daxfs_branch *b, u64 off, u64 len)
{
	struct daxfs_region *r = b->r;

	for (u64 end = off + len; off < end; off += BLOCK) {
		u32 s = seg_of(r, off);
		struct seg *seg = &r->seg[s];

		if (!seg->freed[b->phase]) {
			seg->freed_next[b->phase] = b->freed[b->phase];
			b->freed[b->phase] = s;
		}
		port_fetch_add(&b->freed_blocks, 1);
		seg->freed[b->phase] |= 1ull
					<< ((off - seg_offset(r, s)) / BLOCK);
		count_blocks(b, -1);
	}
}

static u64 count_bits(u64 bits)
{
	u64 n = 0;

	for (; bits; bits &= bits - 1)
		n++;
	return n;
}

void space_reclaim(struct daxfs_branch *b, u32 phase)
{
	struct daxfs_region *r = b->r;

	for (u32 s = b->freed[phase], next; s != NO_SEGMENT; s = next) {
		struct seg *seg = &r->seg[s];

		next = seg->freed_next[phase];
		port_fetch_sub(&b->freed_blocks, count_bits(seg->freed[phase]));
		seg->used &= ~seg->freed[phase];
		seg->freed[phase] = 0;
		if (seg->listed == SEG_FULL + 1) {
			seg_list_del(b, s);
			seg_list_add(b, s, SEG_PARTIAL);
		}
		if (!seg->used) {
			seg_list_del(b, s);
			segment_give(r, s, 1);
		}
	}
	b->freed[phase] = NO_SEGMENT;
}

int block_claim(struct daxfs_branch *b, u64 off, u64 len)
{
	struct daxfs_region *r = b->r;

	for (u64 end = off + len; off < end; off += BLOCK) {
		u32 s = seg_of(r, off);
		u64 bit = 1ull << ((off - seg_offset(r, s)) / BLOCK);

		if (r->seg[s].owner != b ||
		    r->seg[s].listed != SEG_PARTIAL + 1 ||
		    (r->seg[s].used & bit))
			return -EUCLEAN;
		r->seg[s].used |= bit;
		count_blocks(b, 1);
	}
	return 0;
}

/* ---- Blocks that are not counted ----------------------------------------------- */

#define RUN_SEARCH 16u /* segments that are looked through for a run */

/* Where `want` blocks in a row are free; seg_blocks: nowhere. */
static u32 find_run(const struct daxfs_region *r, u32 s, u32 want)
{
	u64 run = want < 64 ? (1ull << want) - 1 : ~0ull;
	u32 i = 0;

	while (i + want <= r->seg_blocks && (r->seg[s].used >> i & run))
		i++;
	return i + want <= r->seg_blocks ? i : r->seg_blocks;
}

int block_alloc_meta(struct daxfs_branch *b, u32 want, u64 *off)
{
	struct daxfs_region *r = b->r;
	u32 s = b->lists[SEG_PARTIAL], i = r->seg_blocks, n;

	for (n = 0; s != NO_SEGMENT && n < RUN_SEARCH; n++) {
		i = find_run(r, s, want);
		if (i < r->seg_blocks)
			break;
		s = r->seg[s].next;
	}
	if (i == r->seg_blocks) {
		s = new_data_segment(b, NO_SEGMENT, 0, want);
		i = 0;
	}
	if (s == NO_SEGMENT)
		return -ENOSPC;
	want = take_run(b, s, i, want, off);
	count_blocks(b, -(s64)want);
	return want ? 0 : -ENOSPC;
}

void block_free_meta(struct daxfs_branch *b, u64 off, u64 len)
{
	count_blocks(b, (s64)(len / BLOCK));
	block_free(b, off, len);
}

int block_claim_meta(struct daxfs_branch *b, u64 off, u64 len)
{
	u64 before = port_load(&b->blocks);
	int rc = block_claim(b, off, len);

	port_store(&b->blocks, before);
	return rc;
}

u64 block_owned(const struct daxfs_branch *b, u64 off, u64 len, bool *own)
{
	const struct daxfs_region *r = b->r;
	u64 done = 0;

	*own = false;
	if (off < r->seg_data || !r->segmented)
		return len;
	while (done < len) {
		u32 s = seg_of(r, off + done);
		bool mine = port_load(&r->seg[s].owner) == b;

		if (!done)
			*own = mine;
		else if (mine != *own)
			break;
		done = seg_offset(r, s) + r->seg_size - off;
	}
	return done < len ? done : len;
}

u64 space_order(struct daxfs_region *r)
{
	u64 order;

	if (r->shared)
		return port_add_le64(&r->sb->next_segment_order, 1);
	port_lock(&r->space_lock);
	order = r->next_order++;
	port_store(&r->sb->next_segment_order, cpu_to_le64(r->next_order));
	port_unlock(&r->space_lock);
	return order;
}

/* ---- Log segments ---------------------------------------------------------------- */

int segment_alloc_log(struct daxfs_branch *b, bool reserve, u32 *out)
{
	struct daxfs_region *r = b->r;
	struct daxfs_log_header *h;
	int rc = reserve ? 0 : quota_log(b);
	u64 order;
	u32 s;

	if (rc)
		return rc;
	s = segment_take(b, NO_SEGMENT, reserve ? 0 : space_kept(b),
			 r->seg_size);
	if (s == NO_SEGMENT)
		return -ENOSPC;
	order = space_order(r);
	h = at(r, seg_offset(r, s));
	memset(h, 0, sizeof(*h));
	h->magic = cpu_to_le32(DAXFS_LOG_MAGIC);
	h->owner = cpu_to_le64(b->id);
	h->order = cpu_to_le64(order);
	h->crc = cpu_to_le32(log_header_crc(h));
	h->tail = cpu_to_le64(sizeof(*h));
	r->segs[s].order = h->order;
	port_store(&r->segs[s].kind, cpu_to_le32(DAXFS_SEGMENT_LOG));
	seg_list_add(b, s, SEG_LOG);
	seg_dirty(b, s);
	port_fetch_add(&b->log_bytes, r->seg_size);
	*out = s;
	return 0;
}

void segment_free_logs(struct daxfs_branch *b, u64 start)
{
	struct daxfs_region *r = b->r;

	for (u32 s = b->lists[SEG_LOG], next; s != NO_SEGMENT; s = next) {
		next = r->seg[s].next;
		if (le64_to_cpu(r->segs[s].order) >= start)
			continue;
		segment_drop_log(b, s);
	}
}

void segment_drop_log(struct daxfs_branch *b, u32 s)
{
	seg_list_del(b, s);
	port_fetch_sub(&b->log_bytes, b->r->seg_size);
	if (!b->r->readonly)
		segment_give(b->r, s, 1);
}

/* ---- Whole branches --------------------------------------------------------------- */

void space_adopt(struct daxfs_branch *b, u32 s, u32 kind)
{
	struct daxfs_region *r = b->r;

	port_lock(&r->space_lock);
	r->seg[s].owner = b;
	r->seg[s].used = 0;
	r->seg[s].reserved = 0; /* it is not known how much has memory */
	if (is_free(r, s)) {
		r->seg_free[s / 64] &= ~(1ull << (s % 64));
		r->free_segs--;
	}
	port_unlock(&r->space_lock);
	if (kind == DAXFS_SEGMENT_LOG)
		b->log_bytes += r->seg_size;
	seg_list_add(b, s, kind == DAXFS_SEGMENT_LOG ? SEG_LOG : SEG_PARTIAL);
}

void space_trim(struct daxfs_branch *b, bool give)
{
	struct daxfs_region *r = b->r;
	u32 s, next;

	for (s = b->lists[SEG_PARTIAL]; s != NO_SEGMENT; s = next) {
		next = r->seg[s].next;
		if (r->seg[s].used == full_mask(r)) {
			seg_list_del(b, s);
			seg_list_add(b, s, SEG_FULL);
		} else if (!r->seg[s].used && give) {
			seg_list_del(b, s);
			segment_give(r, s, 1);
		}
	}
}

void space_release(struct daxfs_branch *b)
{
	struct daxfs_region *r = b->r;

	count_blocks(b, -(s64)b->blocks);
	port_store(&b->log_bytes, 0);
	for (u32 l = 0; l < SEG_LISTS; l++) {
		u32 s, next;

		/* back to front, so that neighbours stay newest first */
		for (s = seg_list_last(b, l); s != NO_SEGMENT; s = next) {
			next = r->seg[s].prev;
			make_dead(r, s, b->id);
		}
		b->lists[l] = NO_SEGMENT;
	}
	b->freed[0] = b->freed[1] = b->dirty = NO_SEGMENT;
	port_store(&b->freed_blocks, 0);
	b->dirty_count = 0;
	space_bury(r);
}

void space_bury(struct daxfs_region *r)
{
	if (!r->durable)
		space_free_dead(r, space_take_dead(r));
}

void space_move(struct daxfs_branch *to, struct daxfs_branch *from)
{
	struct daxfs_region *r = to->r;

	for (u32 l = 0; l < SEG_LISTS; l++) {
		for (u32 s = from->lists[l], next; s != NO_SEGMENT; s = next) {
			next = r->seg[s].next;
			port_store(&r->seg[s].owner, to);
			seg_list_add(to, s, l);
		}
		from->lists[l] = NO_SEGMENT;
	}
	port_fetch_add(&to->blocks, from->blocks);
	port_fetch_add(&to->log_bytes, from->log_bytes);
	port_store(&from->blocks, 0);
	port_store(&from->log_bytes, 0);
}

/* ---- Open -------------------------------------------------------------------------- */

/* What is stored to without asking: superblock, branch and segment table. */
static int reserve_tables(const struct daxfs_region *r)
{
	u64 table = le64_to_cpu(r->sb->branch_table_offset);
	int rc =
		backing_reserve(r, 0,
				table + r->slots *
						sizeof(struct daxfs_branch_entry));

	if (rc)
		return rc;
	return backing_reserve(r, offset_of(r, r->segs),
			       r->seg_count * sizeof(*r->segs));
}

int space_open(struct daxfs_region *r)
{
	u32 words = (r->seg_count + 63) / 64;
	int rc = r->bk.readonly ? 0 : reserve_tables(r);

	if (rc)
		return rc;
	r->seg = port_zalloc(r->seg_count * sizeof(*r->seg));
	r->seg_free = port_zalloc(words * sizeof(u64));
	if (!r->seg || !r->seg_free)
		return -ENOMEM;
	for (u32 s = 0; s < r->seg_count; s++)
		r->seg_free[s / 64] |= 1ull << (s % 64);
	r->free_segs = r->seg_count;
	r->dead = NO_SEGMENT;
	r->reserve = r->seg_count / 16 < 16 ? r->seg_count / 16 : 16;
	if (!r->reserve)
		r->reserve = 1;
	return 0;
}

void space_close(struct daxfs_region *r)
{
	port_free(r->seg);
	port_free(r->seg_free);
	r->seg = NULL;
	r->seg_free = NULL;
}
