// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* How branches end: delete, abort, commit. */
#include "branch.h"

/* From here on every call on the branch answers ESTALE. table_lock held. */
static void end_branch(struct daxfs_branch *b, struct ended *e)
{
	/* before the lock, which busy users would go on taking */
	port_store(&b->ended, 1);
	port_write_lock(&b->lock);
	view_drop(&b->view);
	view_init(&b->view);
	ppool_drain(&b->pool);
	ppool_drain(&b->ipool);
	txn_free(b);
	space_release(b);
	b->parent = NULL;
	port_write_unlock(&b->lock);
	branch_remove(b);
	b->hash_next = e->first;
	e->first = b;
}

void ended_tell(struct daxfs_region *r, struct ended *e)
{
	while (e->first) {
		struct daxfs_branch *b = e->first;

		e->first = b->hash_next;
		if (r->on_end)
			r->on_end(r->on_end_arg, b);
		daxfs_branch_put(b);
	}
}

void daxfs_region_on_end(struct daxfs_region *r, daxfs_ended_fn fn, void *arg)
{
	r->on_end_arg = arg;
	r->on_end = fn;
}

static int may_drop(const struct daxfs_region *r, const struct daxfs_branch *b)
{
	if (!b)
		return -ENOENT;
	if (b->id == DAXFS_MAIN_ID)
		return -EPERM;
	if (r->readonly)
		return -EROFS;
	return b->children ? -EBUSY : 0;
}

/*
 * One branch without children goes. Its entry is freed first: segments of an
 * id that no live branch has are free, so nothing else need be atomic.
 */
static void drop(struct daxfs_region *r, struct daxfs_branch *b,
		 struct ended *e)
{
	struct daxfs_branch *parent = b->parent;
	u32 slot = b->slot;

	port_store(&branch_entry(b)->state, cpu_to_le32(DAXFS_BRANCH_ABORTED));
	end_branch(b, e);
	entry_free(r, slot);
	port_store(&parent->children, parent->children - 1);
}

int daxfs_branch_delete(struct daxfs_region *r, const char *name)
{
	struct ended e = { NULL };
	struct daxfs_branch *b;
	int rc;

	port_lock(&r->table_lock);
	b = branch_find(r, name);
	rc = may_drop(r, b);
	if (!rc)
		drop(r, b, &e);
	port_unlock(&r->table_lock);
	ended_tell(r, &e);
	return rc;
}

int daxfs_branch_abort(struct daxfs_region *r, const char *name)
{
	struct ended e = { NULL };
	struct daxfs_branch *b, *parent;
	int rc;

	port_lock(&r->table_lock);
	b = branch_find(r, name);
	rc = may_drop(r, b);
	for (; !rc; b = parent) {
		parent = b->parent;
		drop(r, b, &e);
		if (parent->id == DAXFS_MAIN_ID || parent->children ||
		    parent->state == DAXFS_BRANCH_SEALED)
			break;
	}
	port_unlock(&r->table_lock);
	ended_tell(r, &e);
	return rc;
}

/* ---- Commit ------------------------------------------------------------------------- */

static int may_commit(const struct daxfs_region *r,
		      const struct daxfs_branch *b, struct daxfs_message *msg)
{
	int rc = may_drop(r, b);

	if (rc == -EBUSY)
		message(msg,
			"branch '%s' has %u live branches below it: commit or end those first",
			b->name, b->children);
	if (rc)
		return rc;
	for (b = r->first; b; b = b->next)
		if (b->state == DAXFS_BRANCH_SEALED) {
			message(msg,
				"sealed branch '%s' would have to end: delete it first",
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

/*
 * The media's part. The store to commit_branch is the commit: whatever comes
 * after it is done again by commit_redo() when it was cut short. The chain's
 * entries stay until all segments are main's, the committed one's until last.
 */
static void commit_media(struct daxfs_region *r, struct daxfs_branch *leaf)
{
	struct daxfs_branch *b;

	/* a number that no commit got does no harm, one given twice would */
	port_store(&r->sb->commit_sequence,
		   cpu_to_le64(le64_to_cpu(r->sb->commit_sequence) + 1));
	port_store(&r->sb->commit_branch, cpu_to_le64(leaf->id));
	for (b = leaf; b != r->main; b = b->parent)
		own_segments(b, DAXFS_MAIN_ID);
	for (b = r->first; b; b = b->next)
		if (b != r->main && b != leaf)
			port_store(&branch_entry(b)->state,
				   cpu_to_le32(DAXFS_BRANCH_ABORTED));
	port_store(&branch_entry(leaf)->state,
		   cpu_to_le32(DAXFS_BRANCH_COMMITTED));
	port_store(&r->sb->last_committed_id, cpu_to_le64(leaf->id));
	port_store(&r->sb->commit_branch, 0);
}

static void end_entry(struct daxfs_branch *b, struct ended *e)
{
	u32 slot = b->slot;

	end_branch(b, e);
	entry_free(b->r, slot);
}

/*
 * Main takes over what the chain has; then everything else ends. Branches of
 * main look into its view, so they end before it is replaced.
 */
static void commit_memory(struct daxfs_region *r, struct daxfs_branch *leaf,
			  struct ended *e)
{
	struct daxfs_branch *b, *next;

	port_write_lock(&r->main->lock);
	for (b = leaf; b != r->main; b = b->parent) {
		space_move(r->main, b);
		r->main->inodes += b->inodes - b->forgotten;
	}
	port_write_unlock(&r->main->lock);
	for (b = r->first; b; b = next) {
		next = b->next;
		if (b != r->main && b != leaf)
			end_entry(b, e);
	}
	port_write_lock(&r->main->lock);
	port_write_lock(&leaf->lock);
	view_drop(&r->main->view);
	r->main->view = leaf->view;
	view_init(&leaf->view);
	port_store(&leaf->ended, 1);
	port_write_unlock(&leaf->lock);
	port_store(&r->main->children, 0);
	port_write_unlock(&r->main->lock);
	end_entry(leaf, e);
}

int daxfs_branch_commit(struct daxfs_region *r, const char *name,
			struct daxfs_message *msg)
{
	struct ended e = { NULL };
	struct daxfs_branch *b;
	int rc;

	port_lock(&r->table_lock);
	b = branch_find(r, name);
	rc = may_commit(r, b, msg);
	if (!rc) {
		/* writers of the branch are done before its log is final */
		port_store(&b->ended, 1);
		port_write_lock(&b->lock);
		b->state = DAXFS_BRANCH_COMMITTED;
		port_write_unlock(&b->lock);
		commit_media(r, b);
		commit_memory(r, b, &e);
	}
	port_unlock(&r->table_lock);
	ended_tell(r, &e);
	return rc;
}

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

static void redo_segments(struct daxfs_region *r, u64 id)
{
	for (u32 s = 0; s < r->seg_count; s++)
		if (le64_to_cpu(r->segs[s].owner) == id)
			port_store(&r->segs[s].owner,
				   cpu_to_le64(DAXFS_MAIN_ID));
}

int commit_redo(struct daxfs_region *r, struct daxfs_message *msg)
{
	u64 leaf = le64_to_cpu(r->sb->commit_branch), id = leaf;
	struct daxfs_branch_entry *e;

	if (leaf == DAXFS_MAIN_ID || !entry_by_id(r, leaf))
		return corrupt(msg, "superblock", "commit_branch",
			       "names no branch that could be committed", leaf);
	/* parents are older than their children, so this ends */
	while (id != DAXFS_MAIN_ID && (e = entry_by_id(r, id))) {
		redo_segments(r, id);
		if (le64_to_cpu(e->parent_id) >= id)
			break;
		id = le64_to_cpu(e->parent_id);
	}
	for (u32 i = 0; i < r->slots; i++)
		if (le64_to_cpu(r->table[i].id) != DAXFS_MAIN_ID)
			port_store(&r->table[i].state,
				   cpu_to_le32(DAXFS_BRANCH_FREE));
	port_store(&r->sb->active_branches, cpu_to_le32(1));
	port_store(&r->sb->last_committed_id, cpu_to_le64(leaf));
	port_store(&r->sb->commit_branch, 0);
	return 0;
}
