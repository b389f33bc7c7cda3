// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Version 4 regions that have not been written yet get segments when their
 * first branch is created. After that version 4 tools no longer write to them
 * (their allocator finds no room) and older readers of ours refuse them.
 */
#include "branch.h"

bool region_can_upgrade(const struct daxfs_region *r)
{
	const struct daxfs_super *sb = r->sb;
	u64 delta = le64_to_cpu(sb->delta_region_offset), data;
	u64 end = delta + le64_to_cpu(sb->delta_region_size);

	/* others that have it open would not learn of it */
	if (r->bk.readonly || r->segmented || r->shared || r->slots < 2 ||
	    sb->super_crc || r->branches != 1)
		return false;
	if (r->main->slot != NO_SLOT && branch_entry(r->main)->log_size)
		return false;
	return segments_fit(delta, end, pick_segment_size(end), &data) != 0;
}

int region_upgrade(struct daxfs_region *r)
{
	struct daxfs_super *sb = r->sb;
	u64 delta = le64_to_cpu(sb->delta_region_offset), data;
	u64 end = delta + le64_to_cpu(sb->delta_region_size);
	u32 size = pick_segment_size(end), n;
	int rc;

	if (!region_can_upgrade(r))
		return -EROFS;
	n = segments_fit(delta, end, size, &data);
	sb->segment_table_offset = cpu_to_le64(delta);
	sb->segment_data_offset = cpu_to_le64(data);
	sb->segment_count = cpu_to_le32(n);
	sb->segment_size = cpu_to_le32(size);
	sb->next_segment_order = cpu_to_le64(1);
	/* this also finds memory for the table */
	rc = region_use_segments(r);
	if (rc)
		return rc;
	memset(r->segs, 0, n * sizeof(struct daxfs_segment_entry));
	sb->delta_alloc_offset = cpu_to_le64(end);
	/* main's entry is one of ours before the feature bit says so */
	if (r->main->slot == NO_SLOT)
		r->main->slot = r->free_slots[--r->free_count];
	r->main->flags |= DAXFS_BRANCH_PERSISTENT;
	entry_write(r->main);
	port_store(&sb->active_branches, cpu_to_le32(r->branches));
	rc = sync_writer(r);
	if (!rc)
		rc = sync_tables(r);
	if (rc)
		return rc;
	port_store(&sb->feature_incompat, cpu_to_le64(DAXFS_INCOMPAT_SEGMENTS));
	rc = sync_super(r);
	if (rc) {
		port_store(&sb->feature_incompat, 0);
		return rc;
	}
	r->segmented = true;
	r->readonly = false;
	return 0;
}
