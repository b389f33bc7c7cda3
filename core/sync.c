// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Durability on backings whose stores reach the medium in any order.
 *
 * What was synced is not destroyed before that which replaces it is synced too:
 * - of a branch's log counts, after a loss of power, what its segments' headers
 *   say is synced (log.c); they say it once entries and data are on the medium;
 * - blocks that a branch has freed are used again after its next sync; which
 *   those are is kept in two phases, so that a sync need not hold changes up;
 * - segments of ended branches are used again after settle().
 * On other backings nothing waits: region->durable is false.
 */
#include "branch.h"

/* One sync of one branch. */
struct plan {
	struct daxfs_branch *b;
	bool any;  /* false: there is nothing to do */
	u32 *segs; /* that were dirty, ascending */
	u32 seg_count;
	struct daxfs_range *ranges;
	u32 range_count;
	u32 seg, tail; /* what to mark: the newest of the log, or NO_SEGMENT */
	u32 phase;     /* of the blocks that this sync frees */
	bool stale;    /* a commit stopped the branch meanwhile */
};

static int backing_sync(struct daxfs_region *r, const struct daxfs_range *v,
			u32 count)
{
	u64 begin, end, bytes = 0;
	int rc;

	if (!r->durable || !count)
		return 0;
	for (u32 i = 0; i < count; i++)
		bytes += v[i].len;
	begin = port_now_ns();
	rc = r->bk.sync(r->bk.priv, v, count);
	end = port_now_ns();
	port_count(&r->counts.syncs, 1);
	port_count(&r->counts.sync_bytes, bytes);
	if (end > begin) /* the clock may have been set back */
		port_count(&r->counts.sync_ns, end - begin);
	return rc;
}

int sync_ranges(struct daxfs_region *r, const struct daxfs_range *v, u32 count)
{
	return backing_sync(r, v, count);
}

/* ---- Tables -------------------------------------------------------------------- */

static struct daxfs_range super_range(void)
{
	return (struct daxfs_range){ 0, BLOCK };
}

static struct daxfs_range entry_range(const struct daxfs_branch *b)
{
	const struct daxfs_branch_entry *e = branch_entry(b);

	return (struct daxfs_range){ offset_of(b->r, e), sizeof(*e) };
}

static struct daxfs_range segs_range(const struct daxfs_region *r, u32 first,
				     u32 last)
{
	return (struct daxfs_range){ offset_of(r, &r->segs[first]),
				     (last - first + 1ull) * sizeof(*r->segs) };
}

int sync_super(struct daxfs_region *r)
{
	struct daxfs_range v = super_range();

	return backing_sync(r, &v, 1);
}

int sync_entry(const struct daxfs_branch *b)
{
	struct daxfs_range v[2] = { super_range(), entry_range(b) };

	return backing_sync(b->r, v, 2);
}

static struct daxfs_range table_range(const struct daxfs_region *r)
{
	return (struct daxfs_range){ offset_of(r, r->table),
				     r->slots * sizeof(*r->table) };
}

int sync_tables(struct daxfs_region *r)
{
	struct daxfs_range v[3] = {
		super_range(),
		table_range(r),
		segs_range(r, 0, r->seg_count - 1),
	};

	return backing_sync(r, v, 3);
}

static u32 ended_slots(struct daxfs_region *r, u32 less)
{
	u32 n;

	port_lock(&r->space_lock);
	n = less < r->ended_slots ? r->ended_slots - less : 0;
	r->ended_slots = n;
	port_unlock(&r->space_lock);
	return n;
}

static bool table_dirty(const struct daxfs_region *r)
{
	return port_load(&r->table_changes) != port_load(&r->table_synced);
}

/* settle_lock held. */
static int settle_now(struct daxfs_region *r)
{
	u64 changes = port_load(&r->table_changes);
	u32 dead = space_take_dead(r), slots = ended_slots(r, 0);
	int rc = sync_tables(r);

	if (rc) {
		space_put_dead(r, dead);
		return rc;
	}
	port_store(&r->table_synced, changes);
	ended_slots(r, slots);
	space_free_dead(r, dead);
	return 0;
}

int settle(struct daxfs_region *r)
{
	int rc;

	port_lock(&r->settle_lock);
	rc = settle_now(r);
	port_unlock(&r->settle_lock);
	return rc;
}

/* The lock waits for another thread that has begun to. */
static int settle_changes(struct daxfs_region *r)
{
	int rc = 0;

	port_lock(&r->settle_lock);
	if (table_dirty(r))
		rc = settle_now(r);
	port_unlock(&r->settle_lock);
	return rc;
}

/* ---- A plan ---------------------------------------------------------------------- */

static void plan_free(struct plan *p)
{
	port_free(p->segs);
	port_free(p->ranges);
	p->segs = NULL;
	p->ranges = NULL;
}

static struct daxfs_log_header *log_header(const struct daxfs_region *r, u32 s)
{
	return at(r, seg_offset(r, s));
}

static int cmp_u32(const void *a, const void *b, port_sort_arg *arg)
{
	u32 x = *(const u32 *)a, y = *(const u32 *)b;

	(void)arg;
	return x < y ? -1 : x > y;
}

/* What is to be marked once all of it is on the medium. */
static void collect_mark(struct plan *p)
{
	const struct daxfs_log_header *h;

	p->seg = log_newest(p->b);
	if (p->seg == NO_SEGMENT)
		return;
	h = log_header(p->b->r, p->seg);
	p->tail = (u32)le64_to_cpu(h->tail);
	if (h->synced == h->tail)
		p->seg = NO_SEGMENT;
}

static struct daxfs_range mark_range(const struct daxfs_region *r, u32 seg)
{
	return (struct daxfs_range){ seg_offset(r, seg),
				     sizeof(struct daxfs_log_header) };
}

static void collect_dirty(struct plan *p)
{
	struct daxfs_branch *b = p->b;
	struct daxfs_region *r = b->r;

	for (u32 s = b->dirty; s != NO_SEGMENT; s = r->seg[s].dirty_next) {
		p->segs[p->seg_count++] = s;
		r->seg[s].dirty = false;
	}
	b->dirty = NO_SEGMENT;
	b->dirty_count = 0;
	port_sort(p->segs, p->seg_count, sizeof(*p->segs), cmp_u32, NULL);
}

static void plan_add(struct plan *p, struct daxfs_range v)
{
	struct daxfs_range *last =
		p->range_count ? &p->ranges[p->range_count - 1] : NULL;

	if (last && last->off + last->len == v.off)
		last->len += v.len;
	else
		p->ranges[p->range_count++] = v;
}

static void collect_ranges(struct plan *p)
{
	const struct daxfs_region *r = p->b->r;

	plan_add(p, super_range());
	/* a child that has ended must not come back on what was written since */
	plan_add(p, table_dirty(r) ? table_range(r) : entry_range(p->b));
	if (p->seg_count)
		plan_add(p,
			 segs_range(r, p->segs[0], p->segs[p->seg_count - 1]));
	for (u32 i = 0; i < p->seg_count; i++)
		plan_add(p, (struct daxfs_range){ seg_offset(r, p->segs[i]),
						  r->seg_size });
}

/* With change_lock held: all that is to become durable, and the next phase. */
static int plan_make(struct daxfs_branch *b, struct plan *p)
{
	u32 dirty = b->dirty_count;

	memset(p, 0, sizeof(*p));
	p->b = b;
	p->seg = NO_SEGMENT;
	p->phase = b->phase;
	if (!port_load(&b->unsynced))
		return 0;
	p->segs = port_alloc((dirty + 1ull) * sizeof(*p->segs));
	p->ranges = port_alloc((dirty + 3ull) * sizeof(*p->ranges));
	if (!p->segs || !p->ranges) {
		plan_free(p);
		return -ENOMEM;
	}
	p->any = true;
	collect_mark(p);
	collect_dirty(p);
	collect_ranges(p);
	b->phase ^= 1;
	port_store(&b->unsynced, SYNC_BEGUN);
	return 0;
}

/*
 * With change_lock held, once entries and data are durable. Then the mark is what
 * is to become durable.
 */
static void plan_mark(struct plan *p)
{
	p->range_count = 0;
	if (!p->any || p->seg == NO_SEGMENT)
		return;
	port_store(&log_header(p->b->r, p->seg)->synced, cpu_to_le64(p->tail));
	p->ranges[p->range_count++] = mark_range(p->b->r, p->seg);
}

/* With change_lock held: the end, good or bad, of a branch that still lives. */
static void plan_end(const struct plan *p, int rc)
{
	struct daxfs_branch *b = p->b;

	if (!p->any)
		return;
	if (!rc) {
		space_reclaim(b, p->phase);
		/* unless it was changed since */
		if (port_load(&b->unsynced) == SYNC_BEGUN)
			port_store(&b->unsynced, SYNC_DONE);
		return;
	}
	for (u32 i = 0; i < p->seg_count; i++)
		if (port_load(&b->r->seg[p->segs[i]].owner) == b)
			seg_dirty(b, p->segs[i]);
	port_store(&b->unsynced, SYNC_NEEDED);
}

void branch_unsynced(struct daxfs_branch *b)
{
	if (!b->r->durable)
		return;
	for (u32 l = 0; l < SEG_LISTS; l++)
		for (u32 s = b->lists[l]; s != NO_SEGMENT;
		     s = b->r->seg[s].next)
			seg_dirty(b, s);
	port_store(&b->unsynced, SYNC_NEEDED);
}

/* ---- Branches ---------------------------------------------------------------------- */

int branch_sync_held(struct daxfs_branch *b)
{
	struct plan p;
	int rc;

	if (!b->r->durable)
		return 0;
	rc = plan_make(b, &p);
	if (rc)
		return rc;
	rc = backing_sync(b->r, p.ranges, p.range_count);
	if (!rc) {
		plan_mark(&p);
		rc = backing_sync(b->r, p.ranges, p.range_count);
	}
	plan_end(&p, rc);
	plan_free(&p);
	return rc;
}

/* ---- Several at once ---------------------------------------------------------- */

#define BATCH 256u /* branches in one step: a flush costs more than a branch */

/* Make all ranges of the plans durable with one call. */
static int batch_flush(struct daxfs_region *r, const struct plan *p, u32 n)
{
	struct daxfs_range *v;
	u64 count = 0;
	int rc;

	if (n == 1)
		return backing_sync(r, p->ranges, p->range_count);
	for (u32 i = 0; i < n; i++)
		count += p[i].range_count;
	if (!count)
		return 0;
	v = port_alloc(count * sizeof(*v));
	if (!v)
		return -ENOMEM;
	count = 0;
	for (u32 i = 0; i < n; i++) {
		if (p[i].range_count)
			memcpy(v + count, p[i].ranges,
			       p[i].range_count * sizeof(*v));
		count += p[i].range_count;
	}
	rc = backing_sync(r, v, (u32)count);
	port_free(v);
	return rc;
}

/* What is to become durable; nothing of a branch that has ended. */
static int batch_begin(struct daxfs_branch *b, struct plan *p)
{
	int rc = 0;

	p->b = b;
	change_hold(b);
	p->stale = port_load(&b->r->quiet);
	if (!p->stale && !branch_readable(b))
		rc = plan_make(b, p);
	change_release(b);
	return rc;
}

static void batch_mark(struct plan *p)
{
	const struct daxfs_branch *b = p->b;

	change_hold(p->b);
	if (p->any && (port_load(&b->r->quiet) || branch_readable(b)))
		p->stale = true;
	if (p->stale)
		p->seg = NO_SEGMENT;
	plan_mark(p);
	change_release(p->b);
}

/*
 * A branch that a commit has stopped may yet live on: what was to be synced
 * still is, and its freed blocks stay where they are.
 */
static int batch_end(struct plan *p, int rc)
{
	change_hold(p->b);
	if (!rc && (p->stale || (p->any && branch_readable(p->b))))
		rc = -ESTALE;
	if (!p->b->gone)
		plan_end(p, rc);
	change_release(p->b);
	plan_free(p);
	return rc;
}

/*
 * Sync branches of which none is above another, for then the marks of the one
 * might reach the medium before the other's; with their sync_locks held.
 * Changes go on but for three short moments.
 */
static int batch_sync(struct daxfs_branch **v, u32 n, struct plan *p)
{
	struct daxfs_region *r = v[0]->r;
	u32 begun = 0;
	int rc = 0, end = 0, err;

	for (; begun < n && !rc; begun++)
		rc = batch_begin(v[begun], &p[begun]);
	if (!rc)
		rc = batch_flush(r, p, n);
	for (u32 i = 0; i < n && !rc; i++)
		batch_mark(&p[i]);
	if (!rc)
		rc = batch_flush(r, p, n);
	for (u32 i = 0; i < begun; i++) {
		err = batch_end(&p[i], rc);
		end = end ? end : err;
	}
	return rc ? rc : end;
}

/* ESTALE: one of them ended meanwhile, or was stopped; the others are synced. */
static int sync_some(struct daxfs_branch **v, u32 n)
{
	struct plan *p = port_zalloc(n * sizeof(*p));
	int rc;

	if (!p)
		return -ENOMEM;
	for (u32 i = 0; i < n; i++)
		port_lock(&v[i]->sync_lock);
	rc = batch_sync(v, n, p);
	for (u32 i = 0; i < n; i++)
		port_unlock(&v[i]->sync_lock);
	port_free(p);
	return rc;
}

static int sync_one(struct daxfs_branch *b)
{
	int rc;

	/* a commit may have stopped it that came to nothing */
	while ((rc = sync_some(&b, 1)) == -ESTALE && !branch_readable(b))
		wait_quiet(b->r);
	return rc ? rc : branch_readable(b);
}

/*
 * The ancestors that have something to sync, or are being synced by another
 * thread, nearest first, each with a reference. They live, and are frozen, as
 * long as the branch does.
 */
static int unsynced_ancestors(struct daxfs_branch *b,
			      struct daxfs_branch ***out, u32 *count)
{
	struct daxfs_branch **v;
	u32 n = 0;
	int rc;

	v = port_alloc((b->depth + 1ull) * sizeof(*v));
	if (!v)
		return -ENOMEM;
	change_hold(b);
	rc = branch_readable(b);
	for (struct daxfs_branch *p = rc ? NULL : b->parent; p; p = p->parent) {
		if (!port_load(&p->unsynced))
			continue;
		port_fetch_add(&p->refs, 1);
		v[n++] = p;
	}
	change_release(b);
	*out = v;
	*count = n;
	return rc;
}

int branch_sync(struct daxfs_branch *b)
{
	struct daxfs_branch **v = NULL;
	u32 n = 0;
	int rc;

	if (!b->r->durable)
		return branch_readable(b);
	rc = unsynced_ancestors(b, &v, &n);
	while (n--) {
		if (!rc)
			rc = sync_one(v[n]);
		branch_unref(v[n]);
	}
	port_free(v);
	return rc ? rc : sync_one(b);
}

/* All branches with something to sync, each with a reference. */
static int unsynced_branches(struct daxfs_region *r, struct daxfs_branch ***out,
			     u32 *count)
{
	struct daxfs_branch **v;
	u32 n = 0;

	port_lock(&r->table_lock);
	v = port_alloc(r->branches * sizeof(*v));
	for (struct daxfs_branch *b = r->first; v && b; b = b->next) {
		if (!port_load(&b->unsynced))
			continue;
		port_fetch_add(&b->refs, 1);
		v[n++] = b;
	}
	port_unlock(&r->table_lock);
	*out = v;
	*count = n;
	return v ? 0 : -ENOMEM;
}

/* And by id: whoever takes many sync_locks takes them in this order. */
static int cmp_depth(const void *a, const void *b, port_sort_arg *arg)
{
	const struct daxfs_branch *const *x = a, *const *y = b;

	(void)arg;
	if ((*x)->depth != (*y)->depth)
		return (*x)->depth < (*y)->depth ? -1 : 1;
	return (*x)->id < (*y)->id ? -1 : (*x)->id > (*y)->id;
}

int daxfs_region_sync(struct daxfs_region *r)
{
	struct daxfs_branch **v;
	u32 n;
	int rc;

	if (!r->durable || !r->segmented)
		return 0;
	rc = unsynced_branches(r, &v, &n);
	/* level by level, parents first */
	port_sort(v, n, sizeof(*v), cmp_depth, NULL);
	for (u32 i = 0, k; i < n && !rc; i += k) {
		for (k = 1;
		     i + k < n && k < BATCH && v[i + k]->depth == v[i]->depth;)
			k++;
		rc = sync_some(v + i, k);
		if (rc != -ESTALE)
			continue;
		/* once the commit is over, those again that live on */
		port_lock(&r->table_lock);
		port_unlock(&r->table_lock);
		rc = 0;
		k = 0;
	}
	for (u32 i = 0; i < n; i++)
		branch_unref(v[i]);
	port_free(v);
	return rc ? rc : settle_changes(r);
}

bool space_retry(struct daxfs_branch *b, s64 rc, bool *tried)
{
	struct daxfs_region *r = b->r;
	bool dead;

	if (rc != -ENOSPC || !r->durable || *tried)
		return false;
	*tried = true;
	port_lock(&r->space_lock);
	dead = r->dead != NO_SEGMENT;
	port_unlock(&r->space_lock);
	if (dead && settle(r))
		return false;
	return !branch_sync(b);
}

/* ---- Opening and closing --------------------------------------------------------------- */

int sync_killed(struct daxfs_region *r)
{
	struct daxfs_range all = { 0, le64_to_cpu(r->sb->total_size) };

	return r->recovery == RECOVER_KILLED ? backing_sync(r, &all, 1) : 0;
}

int sync_writer(struct daxfs_region *r)
{
	static const u8 none[sizeof(r->sb->boot)];

	if (!r->durable)
		return 0;
	memcpy(r->sb->boot, r->bk.boot, sizeof(r->sb->boot));
	if (!memcmp(r->sb->boot, none, sizeof(none)))
		r->sb->boot[0] = 0xff; /* not known, but not closed either */
	return sync_super(r);
}

/* All of the branch's log is on the medium: say so. */
static int mark_synced(struct daxfs_branch *b)
{
	struct daxfs_log_header *h;
	struct daxfs_range v;
	u32 s = log_newest(b);

	if (s == NO_SEGMENT)
		return 0;
	h = log_header(b->r, s);
	if (h->synced == h->tail)
		return 0;
	port_store(&h->synced, h->tail);
	v = mark_range(b->r, s);
	return backing_sync(b->r, &v, 1);
}

/*
 * From here on what is there counts, whatever it was that the region was opened
 * after. The mark of who writes comes last: until then it is all done again.
 */
int sync_opened(struct daxfs_region *r)
{
	struct daxfs_range all = { 0, le64_to_cpu(r->sb->total_size) };
	u32 dead;
	int rc = 0;

	r->opening = false;
	if (!r->durable) {
		memset(r->sb->boot, 0, sizeof(r->sb->boot));
		return 0;
	}
	if (r->recovery != RECOVER_NOTHING)
		rc = backing_sync(r, &all, 1);
	/* parents first: what a branch says is synced rests on theirs */
	for (struct daxfs_branch *b = r->first; b && !rc; b = b->next)
		if (!b->damaged)
			rc = mark_synced(b);
	dead = space_take_dead(r);
	if (!rc && (dead != NO_SEGMENT || r->recovery != RECOVER_NOTHING))
		rc = backing_sync(r, &all, 1);
	if (rc) {
		space_put_dead(r, dead);
		return rc;
	}
	space_free_dead(r, dead);
	return sync_writer(r);
}

int sync_closed(struct daxfs_region *r)
{
	int rc = daxfs_region_sync(r);

	if (rc || !r->durable || !r->segmented)
		return rc;
	memset(r->sb->boot, 0, sizeof(r->sb->boot));
	return sync_super(r);
}
