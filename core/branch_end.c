// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* How branches end: delete and abort. Commit: commit.c. */
#include "coord.h"

void branch_end(struct daxfs_branch *b, struct ended *e)
{
	/* before the lock, which busy users would go on taking */
	port_store(&b->ended, 1);
	port_count(&b->r->counts.ended, 1);
	change_hold(b);
	port_write_lock(&b->lock);
	view_drop(&b->view);
	view_init(&b->view);
	ppool_drain(&b->pool);
	ppool_drain(&b->ipool);
	txn_free(b);
	space_release(b);
	b->gone = true;
	b->parent = NULL;
	port_write_unlock(&b->lock);
	change_release(b);
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
		branch_unref(b);
	}
}

void daxfs_region_on_end(struct daxfs_region *r, daxfs_ended_fn fn, void *arg)
{
	r->on_end_arg = arg;
	r->on_end = fn;
}

int branch_may_end(const struct daxfs_region *r, const struct daxfs_branch *b)
{
	if (!b)
		return -ENOENT;
	if (b->id == DAXFS_MAIN_ID)
		return -EPERM;
	if (r->readonly)
		return -EROFS;
	return b->children ? -EBUSY : branch_others(b);
}

/*
 * One branch without children goes. Its entry is freed first: segments of an
 * id that no live branch has are free, so nothing else need be atomic.
 */
static void drop_one(struct daxfs_region *r, struct daxfs_branch *b,
		     struct ended *e)
{
	struct daxfs_branch *parent = b->parent;
	bool loaded = b->loaded;
	u32 slot = b->slot;

	port_store(&branch_entry(b)->state, cpu_to_le32(DAXFS_BRANCH_ABORTED));
	/* to free segments there changes whose they are: see space_scavenge() */
	if (r->shared && r->durable && sync_entry(b)) {
		space_forget(b);
		r->scavenge = true;
	}
	branch_end(b, e);
	entry_free(r, slot);
	port_store(&parent->children, parent->children - 1);
	if (!r->shared)
		return;
	/* of a branch without a view here the segments are not known */
	if (loaded)
		parent->loaded_children--;
	else
		r->scavenge = true;
	if (r->scavenge)
		space_scavenge(r);
	branch_unload(parent);
}

/* It was there for its children only, and the last of them has ended. */
static bool unwanted(const struct daxfs_branch *b)
{
	return !b->children && b->state == DAXFS_BRANCH_ACTIVE &&
	       (b->flags & DAXFS_BRANCH_DROP) &&
	       !(b->flags & DAXFS_BRANCH_PERSISTENT);
}

static void drop(struct daxfs_region *r, struct daxfs_branch *b,
		 struct ended *e)
{
	struct daxfs_branch *parent;

	do {
		parent = b->parent;
		drop_one(r, b, e);
		b = parent;
	} while (unwanted(b) && !branch_others(b));
}

/* Others may be reading a sealed branch: nobody is, while all stand still. */
static int delete_sealed(struct daxfs_region *r, struct daxfs_branch *b,
			 struct ended *e)
{
	int rc = coord_stand_still(r, b->id);

	if (!rc)
		drop(r, b, e);
	coord_go_on(r);
	return rc;
}

int daxfs_branch_delete(struct daxfs_region *r, const char *name)
{
	struct ended e = { NULL };
	struct daxfs_branch *b;
	int rc = table_enter(r);

	if (rc)
		return rc;
	b = branch_find(r, name);
	rc = branch_may_end(r, b);
	if (!rc && b->state == DAXFS_BRANCH_SEALED)
		rc = delete_sealed(r, b, &e);
	else if (!rc)
		drop(r, b, &e);
	table_leave(r);
	ended_tell(r, &e);
	return rc;
}

int daxfs_branch_drop(struct daxfs_region *r, const char *name)
{
	struct ended e = { NULL };
	struct daxfs_branch *b;
	int rc = table_enter(r);

	if (rc)
		return rc;
	b = branch_find(r, name);
	rc = branch_may_end(r, b);
	if (!rc)
		drop(r, b, &e);
	else if (rc == -EBUSY && b->children)
		branch_set_flag(b, DAXFS_BRANCH_DROP, true);
	table_leave(r);
	ended_tell(r, &e);
	return rc;
}

/* Children first; whoever ended the last one may not have come further. */
void branches_drop_unwanted(struct daxfs_region *r)
{
	struct ended e = { NULL };
	struct daxfs_branch *b, *prev;

	if (r->readonly || table_enter(r))
		return;
	for (b = r->last; b; b = prev) {
		prev = b->prev;
		if (unwanted(b) && !branch_others(b))
			drop_one(r, b, &e);
	}
	table_leave(r);
	ended_tell(r, &e);
}

int daxfs_branch_keep(struct daxfs_region *r, const char *name)
{
	struct daxfs_branch *b;
	int rc = table_enter(r);

	if (rc)
		return rc;
	b = branch_find(r, name);
	if (!b)
		rc = -ENOENT;
	else if (r->readonly)
		rc = -EROFS;
	else if (b->flags & DAXFS_BRANCH_DROP)
		branch_set_flag(b, DAXFS_BRANCH_DROP, false);
	table_leave(r);
	return rc;
}

int daxfs_branch_abort(struct daxfs_region *r, const char *name)
{
	struct ended e = { NULL };
	struct daxfs_branch *b, *parent;
	int rc = table_enter(r);

	if (rc)
		return rc;
	b = branch_find(r, name);
	rc = branch_may_end(r, b);
	if (!rc && b->state == DAXFS_BRANCH_SEALED)
		rc = -EBUSY;
	for (; !rc; b = parent) {
		parent = b->parent;
		drop_one(r, b, &e);
		if (parent->id == DAXFS_MAIN_ID || parent->children ||
		    parent->state == DAXFS_BRANCH_SEALED)
			break;
	}
	table_leave(r);
	ended_tell(r, &e);
	return rc;
}
