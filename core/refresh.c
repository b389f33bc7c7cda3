// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Shared regions: bringing this instance's memory up to date with what others
 * did to the branch table and the segments, and views that come and go.
 */
#include "coord.h"

/* ---- Segments ------------------------------------------------------------------ */

void space_rescan(struct daxfs_region *r)
{
	u32 n = 0;

	port_lock(&r->space_lock);
	for (u32 s = 0; s < r->seg_count; s++) {
		u64 bit = 1ull << (s % 64);

		if (port_load(&r->segs[s].owner)) {
			r->seg_free[s / 64] &= ~bit;
		} else {
			r->seg_free[s / 64] |= bit;
			n++;
		}
	}
	r->free_segs = n;
	port_unlock(&r->space_lock);
}

void space_forget(struct daxfs_branch *b)
{
	struct daxfs_region *r = b->r;

	for (u32 l = 0; l < SEG_LISTS; l++) {
		for (u32 s = b->lists[l], next; s != NO_SEGMENT; s = next) {
			struct seg *seg = &r->seg[s];

			next = seg->next;
			port_store(&seg->owner, NULL);
			seg->listed = 0;
			seg->dirty = false;
			seg->freed[0] = seg->freed[1] = seg->used = 0;
		}
		b->lists[l] = NO_SEGMENT;
	}
	b->freed[0] = b->freed[1] = b->dirty = NO_SEGMENT;
	port_store(&b->freed_blocks, 0);
	b->dirty_count = 0;
	port_store(&b->blocks, 0);
	port_store(&b->log_bytes, 0);
}

static struct daxfs_branch *live_by_id(const struct daxfs_region *r, u64 id)
{
	struct daxfs_branch *b = r->first;

	while (b && b->id != id)
		b = b->next;
	return b;
}

void space_scavenge(struct daxfs_region *r)
{
	u64 last = 0;
	bool live = false;

	/* that their branches have ended is durable before they change hands */
	r->scavenge = sync_tables(r) != 0;
	if (r->scavenge)
		return;
	for (u32 s = 0; s < r->seg_count; s++) {
		u64 owner = le64_to_cpu(port_load(&r->segs[s].owner));

		/* most have the owner that the one before had */
		if (owner && owner != last) {
			live = owner & SEG_FREEING
				       ? coord_lives(r, owner & ~SEG_FREEING)
				       : live_by_id(r, owner) != NULL;
			last = owner;
		}
		if (owner && !live)
			space_kill(r, s, owner);
	}
	space_bury(r);
}

/* ---- Views ---------------------------------------------------------------------- */

static bool mine(const struct daxfs_branch *b)
{
	return b->users && b->id != DAXFS_MAIN_ID &&
	       b->state == DAXFS_BRANCH_ACTIVE;
}

static int load_one(struct daxfs_branch *b)
{
	int rc;

	b->loaded = true;
	if (b->parent) {
		b->parent->loaded_children++;
		view_clone(&b->view, &b->parent->view);
	}
	rc = branch_adopt(b);
	if (!rc)
		rc = log_replay(b, false, NULL);
	if (!rc)
		rc = view_claim_blocks(b, NULL);
	if (rc)
		return rc;
	/* where it is damaged only who asks for it is told */
	(void)meta_claim(b, NULL);
	space_trim(b, mine(b));
	/* who had it before may not have synced all */
	if (b->id != DAXFS_MAIN_ID)
		branch_unsynced(b);
	return 0;
}

static void unload_one(struct daxfs_branch *b)
{
	/* a sync of the whole region may have it in its hands */
	port_lock(&b->sync_lock);
	change_hold(b);
	port_write_lock(&b->lock);
	view_drop(&b->view);
	view_init(&b->view);
	port_write_unlock(&b->lock);
	ppool_drain(&b->pool);
	ppool_drain(&b->ipool);
	txn_free(b);
	space_forget(b);
	b->log.seg = NO_SEGMENT;
	b->log.tail = 0;
	b->meta_next = 0;
	b->inodes = b->forgotten = 0;
	b->compact_at = b->compacted = 0;
	b->loaded = false;
	change_release(b);
	port_unlock(&b->sync_lock);
	if (b->parent)
		b->parent->loaded_children--;
}

int branch_load(struct daxfs_branch *b)
{
	struct daxfs_branch *top;
	int rc = 0;

	while (!b->loaded && !rc) {
		for (top = b; top->parent && !top->parent->loaded;)
			top = top->parent;
		rc = load_one(top);
		if (rc)
			unload_one(top);
	}
	return rc;
}

static bool needed(const struct daxfs_branch *b)
{
	return b->users || b->loaded_children || b->id == DAXFS_MAIN_ID ||
	       b->state == DAXFS_BRANCH_SEALED;
}

void branch_unload(struct daxfs_branch *b)
{
	for (; b && b->loaded && !needed(b); b = b->parent)
		unload_one(b);
}

/* ---- The table ------------------------------------------------------------------- */

static bool entry_is(const struct daxfs_branch_entry *e, u64 id)
{
	u32 state = le32_to_cpu(port_load(&e->state));

	return le64_to_cpu(e->id) == id &&
	       (state == DAXFS_BRANCH_ACTIVE || state == DAXFS_BRANCH_SEALED);
}

/* Others ended it: on media all is done. */
static void end_here(struct daxfs_region *r, struct daxfs_branch *b)
{
	struct daxfs_branch *parent = b->parent;

	if (b->loaded && parent)
		parent->loaded_children--;
	port_store(&b->ended, 1);
	change_hold(b);
	space_forget(b);
	change_release(b);
	branch_end(b, &r->ended);
	if (parent)
		port_store(&parent->children, parent->children - 1);
	branch_unload(parent);
}

static void refresh_known(struct daxfs_branch *b)
{
	const struct daxfs_branch_entry *e = branch_entry(b);

	b->state = le32_to_cpu(e->state);
	b->flags = le32_to_cpu(e->flags);
	quota_load(b, e);
	meta_load(b, e);
}

static int cmp_slot_id(const void *a, const void *b, port_sort_arg *arg)
{
	const struct daxfs_branch_entry *const *x = a, *const *y = b;
	u64 p = le64_to_cpu((*x)->id), q = le64_to_cpu((*y)->id);

	(void)arg;
	return p < q ? -1 : p > q;
}

static int add_branch(struct daxfs_region *r,
		      const struct daxfs_branch_entry *e)
{
	struct daxfs_branch *b, *parent;

	parent = live_by_id(r, le64_to_cpu(e->parent_id));
	if (!parent || !branch_name_ok(e->name))
		return -EUCLEAN;
	b = branch_new(r, le64_to_cpu(e->id), e->name);
	if (!b)
		return -ENOMEM;
	b->slot = (u32)(e - r->table);
	b->ctime_ns = le64_to_cpu(e->ctime_ns);
	refresh_known(b);
	branch_tie(b, parent);
	branch_insert(b);
	return 0;
}

/* Entries that are live and not known yet, oldest first. */
static int add_new(struct daxfs_region *r)
{
	const struct daxfs_branch_entry **v;
	u32 n = 0;
	int rc = 0;

	v = port_alloc((r->slots + 1ull) * sizeof(*v));
	if (!v)
		return -ENOMEM;
	r->free_count = 0;
	for (u32 i = r->slots; i--;) {
		const struct daxfs_branch_entry *e = &r->table[i];
		u64 id = le64_to_cpu(e->id);

		if (!entry_is(e, id))
			r->free_slots[r->free_count++] = i;
		else if (id > (r->last ? r->last->id : 0))
			v[n++] = e;
	}
	/* others ended some of those branches, who knows how long ago */
	port_lock(&r->space_lock);
	r->ended_slots = r->durable ? r->free_count : 0;
	port_unlock(&r->space_lock);
	port_sort(v, n, sizeof(*v), cmp_slot_id, NULL);
	for (u32 i = 0; i < n && !rc; i++)
		rc = add_branch(r, v[i]);
	port_free(v);
	return rc;
}

/* A commit has made another main. */
static int reload_main(struct daxfs_region *r)
{
	struct daxfs_branch *b = r->main;
	int rc;

	change_hold(b);
	port_write_lock(&b->lock);
	view_drop(&b->view);
	view_init(&b->view);
	space_forget(b);
	b->log.seg = NO_SEGMENT;
	b->inodes = b->forgotten = 0;
	rc = load_one(b);
	/* else it is done again, by whoever comes next */
	b->damaged = rc != 0;
	if (!rc)
		r->seen_commit = le64_to_cpu(r->sb->commit_sequence);
	port_write_unlock(&b->lock);
	change_release(b);
	return rc;
}

int branches_refresh(struct daxfs_region *r)
{
	struct daxfs_branch *b, *prev;
	u64 generation = le64_to_cpu(port_load(
		&((struct daxfs_coord *)at(r, DAXFS_COORD_OFFSET))->generation));
	int rc;

	if (generation == r->seen && !r->scavenge)
		return 0;
	/* children before their parents */
	for (b = r->last; b; b = prev) {
		prev = b->prev;
		if (entry_is(branch_entry(b), b->id))
			refresh_known(b);
		else
			end_here(r, b);
	}
	if (le64_to_cpu(r->sb->next_branch_id) > r->next_branch)
		r->next_branch = le64_to_cpu(r->sb->next_branch_id);
	rc = add_new(r);
	if (!rc && r->seen_commit != le64_to_cpu(r->sb->commit_sequence))
		rc = reload_main(r);
	if (rc)
		return rc;
	if (r->scavenge)
		space_scavenge(r);
	space_rescan(r);
	port_store(&r->seen, generation);
	return 0;
}

/* ---- Standing still ---------------------------------------------------------------- */

void branches_quiesce(struct daxfs_region *r)
{
	if (r->quiet)
		return;
	port_lock(&r->gate);
	port_store(&r->quiet, true);
	/* whoever takes these locks from here on sees that */
	for (struct daxfs_branch *b = r->first; b; b = b->next) {
		change_hold(b);
		port_write_lock(&b->lock);
		port_write_unlock(&b->lock);
		change_release(b);
	}
}

void branches_resume(struct daxfs_region *r)
{
	if (!r->quiet)
		return;
	port_store(&r->quiet, false);
	port_unlock(&r->gate);
}
