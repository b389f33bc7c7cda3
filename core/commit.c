// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Commit: a branch and its ancestors become main; all others end. */
#include "coord.h"
#include "view.h"

static int may_commit(const struct daxfs_region *r,
		      const struct daxfs_branch *b, struct daxfs_message *msg)
{
	int rc = branch_may_end(r, b);

	if (rc == -EBUSY)
		message(msg,
			"branch '%s' has %u live branches below it: commit or end those first",
			b->name, b->children);
	if (rc)
		return rc;
	for (b = r->first; b; b = b->next)
		if (b->state == DAXFS_BRANCH_SEALED) {
			message(msg,
				"sealed branch '%s' would have to end, and nothing but delete ends those",
				b->name);
			return -EBUSY;
		}
	return 0;
}

static void own_segments(struct daxfs_branch *b, u64 owner)
{
	struct daxfs_region *r = b->r;

	for (u32 l = 0; l < SEG_LISTS; l++)
		for (u32 s = b->lists[l]; s != NO_SEGMENT; s = r->seg[s].next)
			port_store(&r->segs[s].owner, cpu_to_le64(owner));
}

/* Every level's log and data are durable before main's log may name them. */
static int sync_chain(struct daxfs_region *r, struct daxfs_branch *leaf)
{
	int rc = 0;

	for (struct daxfs_branch *b = leaf; b != r->main && !rc;
	     b = b->parent) {
		port_lock(&b->sync_lock);
		change_hold(b);
		rc = branch_sync_held(b);
		if (!rc)
			space_reclaim(b, b->phase);
		change_release(b);
		port_unlock(&b->sync_lock);
	}
	return rc;
}

/* The commit itself: from this store on it has happened. */
static int name_committed(struct daxfs_region *r, u64 id)
{
	int rc;

	/* a number that no commit got does no harm, one given twice would */
	port_store(&r->sb->commit_sequence,
		   cpu_to_le64(le64_to_cpu(r->sb->commit_sequence) + 1));
	port_store(&r->sb->commit_branch, cpu_to_le64(id));
	rc = sync_super(r);
	if (rc) {
		port_store(&r->sb->commit_branch, 0);
		(void)sync_super(r);
	}
	return rc;
}

/*
 * The media's part after that; commit_redo() does it again when it was cut
 * short. The chain's entries stay until all segments are main's, the committed
 * one's until last.
 */
static int commit_media(struct daxfs_region *r, struct daxfs_branch *leaf)
{
	struct daxfs_branch *b;
	int rc;

	for (b = leaf; b != r->main; b = b->parent)
		own_segments(b, DAXFS_MAIN_ID);
	for (b = r->first; b; b = b->next)
		if (b != r->main && b != leaf)
			port_store(&branch_entry(b)->state,
				   cpu_to_le32(DAXFS_BRANCH_ABORTED));
	port_store(&branch_entry(leaf)->state,
		   cpu_to_le32(DAXFS_BRANCH_COMMITTED));
	port_store(&r->sb->last_committed_id, cpu_to_le64(leaf->id));
	rc = sync_tables(r);
	if (!rc) {
		port_store(&r->sb->commit_branch, 0);
		rc = sync_super(r);
	}
	/* branches made from here on would end with the redo */
	if (rc)
		r->readonly = true;
	return rc;
}

/* ---- What main no longer has ------------------------------------------------ */

struct drop_ctx {
	struct daxfs_branch *main, *leaf;
};

/* Blocks of an ancestor's extent that the new main does not read there. */
static int drop_extent(void *arg, struct pkey k, const void *v)
{
	const struct drop_ctx *c = arg;
	const struct dinode none = { 0 };
	const struct extent_val *e = v;
	u64 off = k.lo, end = k.lo + e->len;
	struct map m;

	for (; e->media && off < end; off += m.len) {
		u64 media = e->media + (off - k.lo);

		view_map(c->leaf, k.hi, &none, off, end, &m);
		if (m.media != media)
			block_free(c->main, media, m.len);
	}
	return 0;
}

static int drop_xattr(void *arg, struct pkey k, const void *v)
{
	const struct drop_ctx *c = arg;
	const struct xattr_val *x = v, *now;

	if (!(x->flags & XATTR_BLOCK))
		return 0;
	now = ptree_get(&c->leaf->view.xattrs, k);
	if (!now || now->value != x->value)
		block_free(c->main, x->value, block_ceil(x->value_len));
	return 0;
}

/*
 * Each level's blocks that the next has replaced: what lies below in the chain
 * has not been named again above, for a block never comes back once replaced.
 * All segments are main's by now.
 */
static void drop_replaced(struct daxfs_branch *main, struct daxfs_branch *leaf)
{
	struct drop_ctx c = { main, leaf };
	struct daxfs_branch *b;

	for (b = leaf; b != main; b = b->parent) {
		c.leaf = b;
		ptree_walk_unshared(&b->parent->view.extents, &b->view.extents,
				    drop_extent, &c);
		ptree_walk_unshared(&b->parent->view.xattrs, &b->view.xattrs,
				    drop_xattr, &c);
	}
}

/* ---- Commit ------------------------------------------------------------------ */

/*
 * Inodes without names could be freed by nobody once they are main's. This may
 * fail, and nobody is harmed then.
 */
static int close_leaf(struct daxfs_branch *leaf)
{
	int rc;

	change_hold(leaf);
	rc = evict_orphans(leaf);
	change_release(leaf);
	return rc;
}

/* Main takes over what the chain has; then everything else ends. */
static void commit_memory(struct daxfs_region *r, struct daxfs_branch *leaf,
			  struct ended *e)
{
	struct daxfs_branch *b, *next, *main = r->main;

	change_hold(main);
	port_write_lock(&main->lock);
	for (b = leaf; b != main; b = b->parent) {
		space_move(main, b);
		meta_commit(main, b);
		main->inodes += b->inodes - b->forgotten;
	}
	drop_replaced(main, leaf);
	if (!r->readonly)
		space_reclaim(main, main->phase);
	view_drop(&main->view);
	main->view = leaf->view;
	view_init(&leaf->view);
	main->loaded_children = 0;
	port_store(&main->children, 0);
	port_write_unlock(&main->lock);
	/* its log is all that was ever committed: only here it can shrink */
	if (!r->readonly)
		log_compact(main);
	change_release(main);
	for (b = r->first; b; b = next) {
		u32 slot = b->slot;

		next = b->next;
		if (b == main)
			continue;
		branch_end(b, e);
		entry_free(r, slot);
	}
}

static int commit(struct daxfs_region *r, struct daxfs_branch *leaf,
		  struct ended *e, struct daxfs_message *msg)
{
	int rc;

	branches_quiesce(r);
	rc = close_leaf(leaf);
	if (rc) {
		branches_resume(r);
		return rc;
	}
	rc = sync_chain(r, leaf);
	if (!rc)
		rc = coord_stand_still(r, leaf->id);
	if (!rc && coord_given_up(r))
		rc = -EIO;
	if (!rc)
		rc = name_committed(r, leaf->id);
	if (rc) {
		coord_go_on(r);
		branches_resume(r);
		message(msg,
			rc == -EBUSY
				? "another process that uses the region does not answer: branch '%s' was not committed"
				: "cannot make branch '%s' durable",
			leaf->name);
		return rc;
	}
	rc = commit_media(r, leaf);
	port_count(&r->counts.commits, 1);
	if (rc)
		message(msg,
			"committed, but the media did not take all of it: the region is read-only until it is opened again");
	commit_memory(r, leaf, e);
	/* of branches that others had the segments are not known */
	if (r->shared && !rc)
		space_scavenge(r);
	if (!rc && r->durable)
		(void)settle(r); /* else with the next sync */
	r->seen_commit = le64_to_cpu(r->sb->commit_sequence);
	coord_go_on(r);
	branches_resume(r);
	return rc;
}

int daxfs_branch_commit(struct daxfs_region *r, const char *name,
			struct daxfs_message *msg)
{
	struct ended e = { NULL };
	struct daxfs_branch *b;
	int rc = daxfs_branch_get(r, name, &b);

	if (rc)
		return rc;
	/* most of it, while others may use the table */
	rc = branch_sync(b);
	if (!rc)
		rc = table_enter(r);
	if (!rc) {
		rc = branch_readable(b);
		if (!rc)
			rc = may_commit(r, b, msg);
		if (!rc)
			rc = commit(r, b, &e, msg);
		table_leave(r);
	}
	ended_tell(r, &e);
	daxfs_branch_put(b);
	return rc;
}

/* ---- Redo -------------------------------------------------------------------- */

/* Whatever its state: an earlier redo may have been cut short as well. */
static struct daxfs_branch_entry *entry_by_id(const struct daxfs_region *r,
					      u64 id)
{
	for (u32 i = 0; i < r->slots; i++) {
		struct daxfs_branch_entry *e = &r->table[i];

		if (le64_to_cpu(e->id) == id &&
		    le32_to_cpu(e->entry_crc) == entry_crc(e))
			return e;
	}
	return NULL;
}

/*
 * A branch's segments become main's, but for those of its log that compaction
 * left behind: that these are free may not have reached the medium.
 */
static void redo_segments(struct daxfs_region *r,
			  const struct daxfs_branch_entry *b)
{
	for (u32 s = 0; s < r->seg_count; s++) {
		struct daxfs_segment_entry *e = &r->segs[s];
		bool dead = e->kind == cpu_to_le32(DAXFS_SEGMENT_LOG) &&
			    le64_to_cpu(e->order) < le64_to_cpu(b->log_start);

		if (e->owner == b->id)
			port_store(&e->owner,
				   dead ? 0 : cpu_to_le64(DAXFS_MAIN_ID));
	}
}

/* The parent of a branch in the chain; 0: the chain is broken there. */
static u64 parent_of(const struct daxfs_region *r, u64 id)
{
	const struct daxfs_branch_entry *e = entry_by_id(r, id);
	u64 parent = e ? le64_to_cpu(e->parent_id) : 0;

	/* parents are older than their children, so a walk up ends */
	return parent < id ? parent : 0;
}

int commit_redo(struct daxfs_region *r, struct daxfs_message *msg)
{
	u64 leaf = le64_to_cpu(r->sb->commit_branch), id = leaf;
	int rc;

	while (id && id != DAXFS_MAIN_ID)
		id = parent_of(r, id);
	if (leaf == DAXFS_MAIN_ID || !id)
		return corrupt(msg, "superblock", "commit_branch",
			       "names no branch that could be committed", leaf);
	for (id = leaf; id != DAXFS_MAIN_ID; id = parent_of(r, id))
		redo_segments(r, entry_by_id(r, id));
	for (u32 i = 0; i < r->slots; i++)
		if (le64_to_cpu(r->table[i].id) != DAXFS_MAIN_ID)
			port_store(&r->table[i].state,
				   cpu_to_le32(DAXFS_BRANCH_FREE));
	port_store(&r->sb->active_branches, cpu_to_le32(1));
	port_store(&r->sb->last_committed_id, cpu_to_le64(leaf));
	rc = sync_tables(r);
	if (rc) {
		message(msg,
			"cannot finish a commit: the region's medium fails");
		return rc;
	}
	port_store(&r->sb->commit_branch, 0);
	return sync_super(r);
}
