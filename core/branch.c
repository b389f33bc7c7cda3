// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The branch table: finding, creating, sealing, listing. */
#include "coord.h"

int branch_readable(const struct daxfs_branch *b)
{
	if (port_load(&b->ended))
		return -ESTALE;
	return b->damaged ? -EUCLEAN : 0;
}

int branch_writable(const struct daxfs_branch *b)
{
	if (b->exempt)
		return 0;
	if (port_load(&b->ended))
		return -ESTALE;
	if (b->damaged)
		return -EUCLEAN;
	if (coord_given_up(b->r))
		return -EIO;
	if (b->r->readonly || b->id == DAXFS_MAIN_ID ||
	    b->state != DAXFS_BRANCH_ACTIVE || port_load(&b->children))
		return -EROFS;
	return 0;
}

int daxfs_branch_status(struct daxfs_branch *b)
{
	return branch_readable(b);
}

/* ---- Handles --------------------------------------------------------------------- */

static u32 bucket(const struct daxfs_region *r, const char *name)
{
	return (u32)(name_hash(r, name, strlen(name)) >> 8) &
	       (r->name_buckets - 1);
}

struct daxfs_branch *branch_find(const struct daxfs_region *r, const char *name)
{
	struct daxfs_branch *b = r->names[bucket(r, name)];

	while (b && strcmp(b->name, name) != 0)
		b = b->hash_next;
	return b;
}

struct daxfs_branch *branch_new(struct daxfs_region *r, u64 id,
				const char *name)
{
	struct daxfs_branch *b = port_zalloc(sizeof(*b));

	if (!b)
		return NULL;
	b->r = r;
	b->refs = 1;
	b->id = id;
	b->slot = NO_SLOT;
	b->state = DAXFS_BRANCH_ACTIVE;
	memcpy(b->name, name, strlen(name));
	port_mutex_init(&b->meta_lock);
	port_mutex_init(&b->sync_lock);
	port_mutex_init(&b->change_lock);
	port_rw_init(&b->lock);
	view_init(&b->view);
	b->log.seg = NO_SEGMENT;
	b->freed[0] = b->freed[1] = b->dirty = NO_SEGMENT;
	for (u32 l = 0; l < SEG_LISTS; l++)
		b->lists[l] = NO_SEGMENT;
	ppool_init(&b->pool, b->view.dirents.node_bytes);
	ppool_init(&b->ipool, b->view.inodes.node_bytes);
	return b;
}

void branch_free(struct daxfs_branch *b)
{
	view_drop(&b->view);
	ppool_drain(&b->pool);
	ppool_drain(&b->ipool);
	txn_free(b);
	port_free(b->problem);
	port_rw_destroy(&b->lock);
	port_mutex_destroy(&b->change_lock);
	port_mutex_destroy(&b->sync_lock);
	port_mutex_destroy(&b->meta_lock);
	port_free(b);
}

int daxfs_branch_get(struct daxfs_region *r, const char *name,
		     struct daxfs_branch **out)
{
	struct daxfs_branch *b;
	int rc = table_enter(r);

	*out = NULL;
	if (rc)
		return rc;
	b = branch_find(r, name);
	rc = b ? branch_use(b) : -ENOENT;
	if (!rc) {
		port_fetch_add(&b->refs, 1);
		*out = b;
	}
	table_leave(r);
	return rc;
}

struct daxfs_branch *daxfs_branch_ended(struct daxfs_region *r)
{
	struct daxfs_branch *b = branch_new(r, 0, "");

	if (!b)
		return NULL;
	b->ended = 1;
	b->gone = true;
	b->users = 1;
	return b;
}

void branch_unref(struct daxfs_branch *b)
{
	if (port_fetch_sub(&b->refs, 1) == 1)
		branch_free(b);
}

void daxfs_branch_put(struct daxfs_branch *b)
{
	if (!b)
		return;
	if (b->r->shared) {
		port_lock(&b->r->table_lock);
		branch_unuse(b);
		port_unlock(&b->r->table_lock);
	}
	branch_unref(b);
}

void branch_insert(struct daxfs_branch *b)
{
	struct daxfs_region *r = b->r;
	u32 i = bucket(r, b->name);

	b->hash_next = r->names[i];
	r->names[i] = b;
	b->prev = r->last;
	if (r->last)
		r->last->next = b;
	else
		r->first = b;
	r->last = b;
	r->branches++;
}

void branch_remove(struct daxfs_branch *b)
{
	struct daxfs_region *r = b->r;
	struct daxfs_branch **p = &r->names[bucket(r, b->name)];

	while (*p != b)
		p = &(*p)->hash_next;
	*p = b->hash_next;
	*(b->prev ? &b->prev->next : &r->first) = b->next;
	*(b->next ? &b->next->prev : &r->last) = b->prev;
	b->hash_next = b->next = b->prev = NULL;
	r->branches--;
}

void branch_tie(struct daxfs_branch *b, struct daxfs_branch *parent)
{
	port_store(&parent->children, parent->children + 1);
	b->parent = parent;
	b->depth = parent->depth + 1;
}

void branch_attach(struct daxfs_branch *b, struct daxfs_branch *parent)
{
	/* the lock waits for a change that is under way */
	change_begin(parent);
	branch_tie(b, parent);
	/* where there are others it is made for whoever uses the branch first */
	if (!b->r->shared)
		view_clone(&b->view, &parent->view);
	change_end(parent);
}

/* ---- Entries on media --------------------------------------------------------------- */

struct daxfs_branch_entry *branch_entry(const struct daxfs_branch *b)
{
	return &b->r->table[b->slot];
}

void entry_write(struct daxfs_branch *b)
{
	struct daxfs_branch_entry *e = branch_entry(b);
	u32 generation = le32_to_cpu(e->generation) + 1;

	memset(e, 0, sizeof(*e));
	e->id = cpu_to_le64(b->id);
	e->parent_id = cpu_to_le64(b->parent ? b->parent->id : 0);
	e->generation = cpu_to_le32(generation);
	e->flags = cpu_to_le32(b->flags);
	e->ctime_ns = cpu_to_le64(b->ctime_ns);
	quota_store(b, e);
	e->meta = cpu_to_le64(b->meta);
	memcpy(e->name, b->name, sizeof(e->name));
	e->entry_crc = cpu_to_le32(entry_crc(e));
	/* until this store the entry is free */
	port_store(&e->state, cpu_to_le32(b->state));
	port_store(&b->r->sb->active_branches, cpu_to_le32(b->r->branches + 1));
	table_changed(b->r);
	port_store(&b->unsynced, SYNC_NEEDED);
}

void entry_free(struct daxfs_region *r, u32 slot)
{
	port_store(&r->table[slot].state, cpu_to_le32(DAXFS_BRANCH_FREE));
	table_changed(r);
	port_store(&r->sb->active_branches, cpu_to_le32(r->branches));
	r->free_slots[r->free_count++] = slot;
	if (!r->durable)
		return;
	port_lock(&r->space_lock);
	r->ended_slots++;
	port_unlock(&r->space_lock);
}

/*
 * A free entry that is so on the medium too: what is written over one that is
 * not may turn up there as part of the branch that has ended.
 */
static int take_slot(struct daxfs_region *r, u32 *slot)
{
	u32 *v = r->free_slots, ended, i;
	int rc;

	port_lock(&r->space_lock);
	ended = r->ended_slots;
	port_unlock(&r->space_lock);
	if (ended >= r->free_count) {
		rc = settle(r);
		if (rc)
			return rc;
		ended = 0;
	}
	i = r->free_count - ended - 1;
	*slot = v[i];
	memmove(&v[i], &v[i + 1], ended * sizeof(*v));
	r->free_count--;
	return 0;
}

void branch_set_flag(struct daxfs_branch *b, u32 flag, bool on)
{
	b->flags = on ? b->flags | flag : b->flags & ~flag;
	port_store(&branch_entry(b)->flags, cpu_to_le32(b->flags));
	table_changed(b->r);
	port_store(&b->unsynced, true);
}

/* ---- Create, seal -------------------------------------------------------------------- */

static int check_branch_name(const char *name)
{
	size_t n = strnlen(name, DAXFS_BRANCH_NAME_MAX + 1);

	if (n > DAXFS_BRANCH_NAME_MAX)
		return -ENAMETOOLONG;
	/* a comma would end it in a list of mount options */
	return branch_name_ok(name) && !strchr(name, ',') ? 0 : -EINVAL;
}

/* What comes with a new branch, or with a seal. */
struct blob {
	const void *bytes; /* NULL: nothing */
	size_t len;
};

/* Nobody knows the branch: it is there with its metadata, or not at all. */
static int create_meta(struct daxfs_branch *b, const struct blob *m)
{
	struct daxfs_region *r = b->r;
	int rc = meta_feature(r);

	if (!rc)
		rc = meta_place(b, m->bytes, m->len);
	/* what has ended may have some */
	if (rc == -ENOSPC && r->durable && !settle(r))
		rc = meta_place(b, m->bytes, m->len);
	if (rc)
		return rc;
	b->meta = b->meta_next;
	b->meta_next = 0;
	/* whoever uses it first finds out what it owns */
	if (r->shared) {
		rc = meta_sync(b, b->meta, m->len);
		space_forget(b);
	}
	return rc;
}

static int create(struct daxfs_region *r, const char *name, const char *parent,
		  u32 flags, const struct blob *m)
{
	struct daxfs_branch *p = branch_find(r, parent), *b;
	u32 slot;
	int rc;

	if (!p)
		return -ENOENT;
	if (branch_find(r, name))
		return -EEXIST;
	if (p->damaged)
		return -EUCLEAN;
	if (p->depth + 1 > DAXFS_MAX_DEPTH)
		return -EMLINK;
	/* with live children it is frozen, whoever has it */
	if (!p->children && branch_others(p))
		return -EBUSY;
	if (!r->free_count)
		return -ENOSPC;
	b = branch_new(r, r->next_branch, name);
	if (!b)
		return -ENOMEM;
	rc = take_slot(r, &slot);
	if (rc) {
		branch_free(b);
		return rc;
	}
	r->next_branch++;
	port_store(&r->sb->next_branch_id, cpu_to_le64(r->next_branch));
	if (m->bytes)
		rc = create_meta(b, m);
	if (rc) {
		r->free_slots[r->free_count++] = slot;
		space_release(b);
		branch_free(b);
		return rc;
	}
	b->flags = flags & DAXFS_BRANCH_PERSISTENT;
	b->ctime_ns = port_now_ns();
	b->slot = slot;
	branch_attach(b, p);
	entry_write(b);
	branch_insert(b);
	port_count(&r->counts.created, 1);
	return 0;
}

int daxfs_branch_create_meta(struct daxfs_region *r, const char *name,
			     const char *parent, u32 flags, const void *bytes,
			     size_t len)
{
	const struct blob m = { bytes, len };
	int rc = check_branch_name(name);

	if (rc)
		return rc;
	rc = table_enter(r);
	if (rc)
		return rc;
	if (r->readonly)
		rc = region_upgrade(r);
	if (!rc)
		rc = create(r, name, parent, flags, &m);
	table_leave(r);
	return rc;
}

int daxfs_branch_create(struct daxfs_region *r, const char *name,
			const char *parent, u32 flags)
{
	return daxfs_branch_create_meta(r, name, parent, flags, NULL, 0);
}

/* Nobody changes it any more; on media it is sealed once all of it is there. */
static int seal_memory(struct daxfs_branch *b, bool meta)
{
	int rc;

	port_lock(&b->sync_lock);
	change_begin(b);
	rc = branch_sync_held(b);
	if (!rc) {
		if (meta)
			meta_name(b);
		b->state = DAXFS_BRANCH_SEALED;
		port_store(&branch_entry(b)->state,
			   cpu_to_le32(DAXFS_BRANCH_SEALED));
		table_changed(b->r);
		port_count(&b->r->counts.seals, 1);
		ppool_drain(&b->pool);
		ppool_drain(&b->ipool);
		txn_free(b);
	}
	change_end(b);
	port_unlock(&b->sync_lock);
	return rc;
}

static int seal(struct daxfs_region *r, struct daxfs_branch *b, bool meta)
{
	int rc = branch_readable(b);

	if (!rc && b->id == DAXFS_MAIN_ID)
		rc = -EPERM;
	if (!rc && r->readonly)
		rc = -EROFS;
	if (!rc && meta)
		rc = meta_feature(r);
	return rc ? rc : seal_memory(b, meta);
}

static int seal_branch(struct daxfs_region *r, struct daxfs_branch *b,
		       bool meta)
{
	/* most of it, while others may use the table */
	int rc = branch_sync(b);

	if (!rc)
		rc = table_enter(r);
	if (!rc) {
		rc = seal(r, b, meta);
		table_leave(r);
	}
	return rc ? rc : sync_entry(b);
}

int daxfs_branch_seal_meta(struct daxfs_region *r, const char *name,
			   const void *bytes, size_t len)
{
	struct daxfs_branch *b;
	int rc = daxfs_branch_get(r, name, &b);

	if (rc)
		return rc;
	if (!bytes) {
		rc = seal_branch(r, b, false);
		daxfs_branch_put(b);
		return rc;
	}
	port_lock(&b->meta_lock);
	/* the seal's sync is its own too */
	rc = meta_place(b, bytes, len);
	if (!rc)
		rc = seal_branch(r, b, true);
	meta_cancel(b);
	port_unlock(&b->meta_lock);
	daxfs_branch_put(b);
	return rc;
}

int daxfs_branch_seal(struct daxfs_region *r, const char *name)
{
	return daxfs_branch_seal_meta(r, name, NULL, 0);
}

int daxfs_branch_set_persistent(struct daxfs_region *r, const char *name,
				bool persistent)
{
	struct daxfs_branch *b;
	int rc = table_enter(r);

	if (rc)
		return rc;
	b = branch_find(r, name);
	if (!b) {
		rc = -ENOENT;
	} else if (r->readonly) {
		rc = -EROFS;
	} else if (b->slot != NO_SLOT) {
		/* without children it is not waited for, nor by the next open */
		if (persistent || !b->children)
			branch_set_flag(b, DAXFS_BRANCH_DROP, false);
		branch_set_flag(b, DAXFS_BRANCH_PERSISTENT, persistent);
	}
	table_leave(r);
	return rc;
}

/* ---- Information ----------------------------------------------------------------------- */

static void fill_info(struct daxfs_branch *b, struct daxfs_branch_info *out)
{
	memset(out, 0, sizeof(*out));
	out->id = b->id;
	memcpy(out->name, b->name, sizeof(out->name));
	if (b->parent) {
		out->parent_id = b->parent->id;
		memcpy(out->parent, b->parent->name, sizeof(out->parent));
	}
	out->persistent = b->flags & DAXFS_BRANCH_PERSISTENT;
	out->damaged = b->damaged;
	out->children = b->children;
	out->ctime_ns = b->ctime_ns;
	out->quota_bytes = b->quota_bytes;
	out->quota_inodes = b->quota_inodes;
	meta_info(b, &out->meta_len, &out->meta_crc);
	port_read_lock(&b->lock);
	out->state = b->state;
	out->bytes = branch_bytes(b);
	out->inodes = b->inodes;
	port_read_unlock(&b->lock);
}

int daxfs_branch_info(struct daxfs_branch *b, struct daxfs_branch_info *out)
{
	int rc;

	port_lock(&b->r->table_lock);
	rc = branch_readable(b);
	if (!rc)
		fill_info(b, out);
	port_unlock(&b->r->table_lock);
	return rc;
}

int daxfs_branch_problem(struct daxfs_region *r, const char *name,
			 struct daxfs_message *out, bool *repaired)
{
	struct daxfs_branch *b;
	int rc = table_enter(r);

	if (rc)
		return rc;
	b = branch_find(r, name);
	if (b && b->problem) {
		*out = *b->problem;
		*repaired = !b->damaged && !b->meta_lost;
	} else {
		rc = -ENOENT;
	}
	table_leave(r);
	return rc;
}

int daxfs_branch_list(struct daxfs_region *r, struct daxfs_branch_info **out,
		      u32 *count)
{
	return daxfs_branch_list_from(r, 0, ~0u, out, count);
}

int daxfs_branch_list_from(struct daxfs_region *r, u64 after, u32 max,
			   struct daxfs_branch_info **out, u32 *count)
{
	struct daxfs_branch_info *v;
	struct daxfs_branch *b;
	u32 n = 0;
	int rc = table_enter(r);

	*out = NULL;
	*count = 0;
	if (rc)
		return rc;
	if (max > r->branches)
		max = r->branches;
	v = port_alloc(max * sizeof(*v));
	for (b = r->first; b && b->id <= after; b = b->next)
		;
	for (; v && b && n < max; b = b->next)
		fill_info(b, &v[n++]);
	table_leave(r);
	*out = v;
	*count = n;
	return v ? 0 : -ENOMEM;
}

void daxfs_free(void *p)
{
	port_free(p);
}

int daxfs_usage(struct daxfs_branch *b, u64 *bytes, u64 *inodes)
{
	int rc;

	port_read_lock(&b->lock);
	rc = branch_readable(b);
	if (!rc) {
		*bytes = branch_bytes(b);
		*inodes = b->inodes;
	}
	port_read_unlock(&b->lock);
	return rc;
}

int daxfs_statfs(struct daxfs_branch *b, struct daxfs_statfs *out)
{
	struct daxfs_region *r = b->r;
	u64 spare, kept = 0;
	int rc;

	port_read_lock(&b->lock);
	rc = branch_readable(b);
	if (!rc && r->segmented)
		kept = space_kept(b);
	port_read_unlock(&b->lock);
	if (rc)
		return rc;
	port_lock(&r->space_lock);
	/* what waits for a sync is there when it is wanted */
	spare = (u64)r->free_segs + r->dead_segs;
	spare = spare > kept ? spare - kept : 0;
	out->blocks = (u64)r->seg_count * r->seg_blocks;
	out->bfree = spare * r->seg_blocks + port_load(&b->freed_blocks);
	port_unlock(&r->space_lock);
	if (!r->segmented)
		out->blocks = r->base.size / BLOCK;
	quota_statfs_blocks(b, out);
	/* an inode costs log space only */
	out->ffree = out->bfree * (BLOCK / 256);
	out->files = port_load(&r->next_inode) - 1 + out->ffree;
	quota_statfs_files(b, out);
	return 0;
}

void daxfs_branch_set_private(struct daxfs_branch *b, void *p)
{
	port_store(&b->priv, p);
}

void *daxfs_branch_private(struct daxfs_branch *b)
{
	return port_load(&b->priv);
}
