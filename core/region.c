// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Opening and closing regions. */
#include "coord.h"

static int open_base(struct daxfs_region *r, bool full,
		     struct daxfs_message *msg)
{
	u64 compat = le64_to_cpu(r->sb->feature_compat);
	struct base *b = &r->base;
	int rc;

	b->count = 1;
	b->offset = le64_to_cpu(r->sb->base_offset);
	if (!b->offset)
		return 0;
	b->mem = r->mem + b->offset;
	b->size = le64_to_cpu(r->sb->base_size);
	b->attrs = compat & DAXFS_COMPAT_BASE_ATTRS;
	b->sorted = compat & DAXFS_COMPAT_SORTED_DIRS;
	rc = check_base(b, full, msg);
	if (!rc)
		rc = base_index(b, msg);
	return rc;
}

int region_use_segments(struct daxfs_region *r)
{
	const struct daxfs_super *sb = r->sb;

	r->segs = at(r, le64_to_cpu(sb->segment_table_offset));
	r->seg_count = le32_to_cpu(sb->segment_count);
	r->seg_size = le32_to_cpu(sb->segment_size);
	r->seg_blocks = r->seg_size / DAXFS_BLOCK_SIZE;
	r->seg_data = le64_to_cpu(sb->segment_data_offset);
	r->next_order = le64_to_cpu(sb->next_segment_order);
	return space_open(r);
}

static int open_delta(struct daxfs_region *r, struct daxfs_message *msg)
{
	const struct daxfs_super *sb = r->sb;
	int rc;

	r->slots = le32_to_cpu(sb->branch_table_entries);
	r->table = at(r, le64_to_cpu(sb->branch_table_offset));
	r->segmented =
		le64_to_cpu(sb->feature_incompat) & DAXFS_INCOMPAT_SEGMENTS;
	if (!r->segmented || !r->slots ||
	    (le64_to_cpu(sb->feature_ro_compat) & ~DAXFS_RO_COMPAT_KNOWN))
		r->readonly = true;
	if (!r->segmented)
		return r->slots ? check_branch_table(r, msg) : 0;
	if (sb->commit_branch && r->readonly) {
		message(msg,
			"region stopped in the middle of a commit: open it writable once to finish that");
		return -EROFS;
	}
	rc = region_use_segments(r);
	/* in a shared region: of one who died, for the table's lease is ours */
	if (!rc && sb->commit_branch)
		rc = commit_redo(r, msg);
	return rc ? rc : check_branch_table(r, msg);
}

static void free_region(struct daxfs_region *r)
{
	branch_close_all(r);
	space_close(r);
	base_release(&r->base);
	port_mutex_destroy(&r->table_lock);
	port_mutex_destroy(&r->gate);
	port_mutex_destroy(&r->settle_lock);
	port_mutex_destroy(&r->stats_lock);
	port_mutex_destroy(&r->space_lock);
	port_free(r);
}

static enum recovery recovery_of(const struct daxfs_region *r)
{
	static const u8 none[sizeof(r->sb->boot)];

	if (!memcmp(r->sb->boot, none, sizeof(none)))
		return RECOVER_NOTHING;
	if (memcmp(r->bk.boot, none, sizeof(none)) &&
	    !memcmp(r->sb->boot, r->bk.boot, sizeof(none)))
		return RECOVER_KILLED;
	return RECOVER_POWER;
}

/* Those of the tables may have been ahead; other instances go by these. */
static void store_counters(struct daxfs_region *r)
{
	port_store(&r->sb->next_inode_id, cpu_to_le64(r->next_inode));
	port_store(&r->sb->next_branch_id, cpu_to_le64(r->next_branch));
	port_store(&r->sb->next_segment_order, cpu_to_le64(r->next_order));
}

/* The first instance recovers what there is; each view is then made for its user. */
static int open_branches(struct daxfs_region *r, bool first,
			 struct daxfs_message *msg)
{
	int rc;

	if (!first) {
		rc = branch_open_main(r);
		if (!rc)
			rc = branches_refresh(r);
		return rc;
	}
	rc = branch_open_all(r, msg);
	r->inode_limit = r->next_inode;
	r->seen_commit = le64_to_cpu(r->sb->commit_sequence);
	if (!rc && !r->readonly) {
		if (!r->shared)
			coord_reset(r);
		store_counters(r);
		rc = sync_opened(r);
		if (rc)
			message(msg, "cannot sync the region");
	}
	if (!rc && r->shared)
		for (struct daxfs_branch *b = r->last; b; b = b->prev)
			branch_unload(b);
	return rc;
}

static int join(struct daxfs_region *r, u32 flags, bool *first,
		struct daxfs_message *msg)
{
	int rc;

	*first = true;
	if (!(flags & DAXFS_OPEN_SHARED))
		return 0;
	if (!(r->sb->feature_incompat & cpu_to_le64(DAXFS_INCOMPAT_SEGMENTS)) ||
	    (r->sb->feature_ro_compat & cpu_to_le64(~DAXFS_RO_COMPAT_KNOWN))) {
		message(msg, "this kind of region cannot be shared");
		return -EINVAL;
	}
	rc = coord_join(r, first);
	if (rc == -EUSERS)
		message(msg, "the region is open in %u places already",
			DAXFS_INSTANCES);
	else if (rc)
		message(msg, "the region cannot be shared now");
	return rc;
}

int daxfs_region_open(const struct daxfs_backing *backing, u32 flags,
		      struct daxfs_region **out, struct daxfs_message *msg)
{
	struct daxfs_region *r;
	bool first = true;
	int rc = check_super(backing, msg);

	*out = NULL;
	if (rc)
		return rc;
	r = port_zalloc(sizeof(*r));
	if (!r)
		return -ENOMEM;
	port_mutex_init(&r->table_lock);
	port_mutex_init(&r->gate);
	port_mutex_init(&r->settle_lock);
	port_mutex_init(&r->stats_lock);
	port_mutex_init(&r->space_lock);
	r->bk = *backing;
	r->mem = backing->base;
	r->sb = backing->base;
	r->readonly = backing->readonly;
	r->durable = backing->sync && !backing->readonly;
	r->recovery = recovery_of(r);
	r->repair = (flags & DAXFS_OPEN_REPAIR) && !backing->readonly;
	r->seed[0] = le64_to_cpu(r->sb->hash_seed[0]);
	r->seed[1] = le64_to_cpu(r->sb->hash_seed[1]);
	r->next_branch = le64_to_cpu(r->sb->next_branch_id);
	rc = open_base(r, flags & DAXFS_OPEN_VALIDATE, msg);
	r->next_inode = le64_to_cpu(r->sb->next_inode_id);
	if (r->next_inode <= r->base.count)
		r->next_inode = r->base.count + 1ull;
	if (r->next_branch <= DAXFS_MAIN_ID)
		r->next_branch = DAXFS_MAIN_ID + 1;
	if (!rc)
		rc = join(r, flags, &first, msg);
	r->opening = r->durable && first;
	if (!first)
		r->recovery = RECOVER_NOTHING; /* the first has done it */
	if (!rc && first) {
		rc = sync_killed(r);
		if (rc)
			message(msg, "cannot sync the region");
	}
	if (!rc)
		rc = open_delta(r, msg);
	if (!rc)
		rc = open_branches(r, first, msg);
	r->opening = false;
	if (rc == -ENOSPC)
		message(msg,
			"no space behind the region for its tables: free some where it lies");
	if (rc == -ENOMEM)
		message(msg, "not enough memory to open the region");
	if (r->shared && rc)
		coord_leave(r);
	if (rc) {
		free_region(r);
		return rc;
	}
	if (r->shared)
		coord_opened(r);
	r->recovery = RECOVER_NOTHING;
	if (first)
		branches_drop_unwanted(r);
	*out = r;
	return 0;
}

/* Where it fails the next open takes what was synced before. */
static void close_media(struct daxfs_region *r)
{
	bool last = true;

	if (!r->readonly)
		(void)daxfs_region_sync(r);
	if (r->shared)
		last = coord_last(r);
	if (last && !r->readonly) {
		if (r->segmented)
			space_discard_free(r);
		(void)sync_closed(r);
	}
	if (r->shared)
		coord_leave(r);
}

void daxfs_region_close(struct daxfs_region *r)
{
	if (!r)
		return;
	close_media(r);
	free_region(r);
}

void daxfs_region_info(struct daxfs_region *r, struct daxfs_region_info *out)
{
	const struct daxfs_super *sb = r->sb;

	memset(out, 0, sizeof(*out));
	out->total_size = le64_to_cpu(sb->total_size);
	out->base_offset = le64_to_cpu(sb->base_offset);
	out->base_size = le64_to_cpu(sb->base_size);
	out->base_inodes = r->base.mem ? r->base.count : 0;
	out->delta_offset = le64_to_cpu(sb->delta_region_offset);
	out->delta_size = le64_to_cpu(sb->delta_region_size);
	out->segments = r->seg_count;
	out->segment_size = r->seg_size;
	out->branch_slots = r->slots;
	out->compat = le64_to_cpu(sb->feature_compat);
	out->ro_compat = le64_to_cpu(sb->feature_ro_compat);
	out->incompat = le64_to_cpu(sb->feature_incompat);
	out->commit_sequence = le64_to_cpu(port_load(&sb->commit_sequence));
	out->next_inode = port_load(&r->next_inode);
	memcpy(out->uuid, sb->uuid, sizeof(out->uuid));
	port_lock(&r->table_lock);
	out->readonly = r->readonly && !region_can_upgrade(r);
	out->branches = r->branches;
	port_unlock(&r->table_lock);
	port_lock(&r->space_lock);
	out->segments_free = r->free_segs + r->dead_segs;
	port_unlock(&r->space_lock);
}
