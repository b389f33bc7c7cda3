// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Laying out a region. */
#include "internal.h"

#define MIN_SEGMENTS 8u

u64 daxfs_base_start(u32 branches)
{
	return block_ceil(DAXFS_BRANCH_TABLE_OFFSET +
			  (u64)branches * sizeof(struct daxfs_branch_entry));
}

/* Small segments waste little; large regions need fewer of them. */
u32 pick_segment_size(u64 total)
{
	if (total > 256ull << 30)
		return DAXFS_SEGMENT_MAX;
	if (total > 64ull << 30)
		return 2 * DAXFS_SEGMENT_MIN;
	return DAXFS_SEGMENT_MIN;
}

u32 segments_fit(u64 delta, u64 end, u32 size, u64 *data)
{
	u64 room = end > delta ? end - delta : 0;
	u64 n = room / (size + sizeof(struct daxfs_segment_entry));

	if (n > 0xfffffff0u)
		n = 0xfffffff0u;
	/* the table and the alignment of segment 0 may cost a few of them */
	for (; n >= MIN_SEGMENTS; n--) {
		*data = delta + n * sizeof(struct daxfs_segment_entry) + size -
			1;
		*data -= *data % size;
		if (*data + n * size <= end)
			return (u32)n;
	}
	return 0;
}

struct layout {
	u64 base, delta, data;
	u32 segment_size, segments;
};

static int plan(const struct daxfs_format_params *p, struct layout *l,
		struct daxfs_message *msg)
{
	l->base = daxfs_base_start(p->branches);
	l->delta = l->base + p->base_size;
	l->segment_size = p->segment_size ? p->segment_size
					  : pick_segment_size(p->total_size);
	if (!p->branches)
		return 0;
	l->segments = segments_fit(l->delta, p->total_size, l->segment_size,
				   &l->data);
	if (!l->segments) {
		message(msg,
			"size %llu is too small: base image and tables need at least %llu bytes",
			(unsigned long long)p->total_size,
			(unsigned long long)daxfs_min_size(p));
		return -EINVAL;
	}
	return 0;
}

u64 daxfs_min_size(const struct daxfs_format_params *p)
{
	u32 ss = p->segment_size ? p->segment_size : DAXFS_SEGMENT_MIN;
	u64 delta = daxfs_base_start(p->branches) + p->base_size;

	if (!p->branches)
		return delta;
	delta += (MIN_SEGMENTS + 2) * sizeof(struct daxfs_segment_entry);
	return (delta + ss - 1) / ss * ss + (MIN_SEGMENTS + 1) * (u64)ss;
}

static int check_params(const struct daxfs_format_params *p,
			struct daxfs_message *msg)
{
	u32 ss = p->segment_size;

	if (p->total_size % BLOCK || p->base_size % BLOCK ||
	    p->total_size < daxfs_base_start(p->branches) + p->base_size) {
		message(msg, "size %llu does not hold a base image of %llu",
			(unsigned long long)p->total_size,
			(unsigned long long)p->base_size);
		return -EINVAL;
	}
	if (p->branches > DAXFS_MAX_BRANCHES || p->branches == 1) {
		message(msg, "branch table of %u entries: must be 2 to %u",
			p->branches, DAXFS_MAX_BRANCHES);
		return -EINVAL;
	}
	if (ss && (ss < DAXFS_SEGMENT_MIN || ss > DAXFS_SEGMENT_MAX ||
		   (ss & (ss - 1)))) {
		message(msg, "segment size %u: must be 64K, 128K or 256K", ss);
		return -EINVAL;
	}
	return 0;
}

int daxfs_region_format(void *base, const struct daxfs_format_params *p,
			struct daxfs_message *msg)
{
	struct daxfs_super *sb = base;
	struct layout l = { 0 };
	int rc = check_params(p, msg);

	if (!rc)
		rc = plan(p, &l, msg);
	if (rc)
		return rc;
	memset(sb, 0, sizeof(*sb));
	sb->magic = cpu_to_le32(DAXFS_SUPER_MAGIC);
	sb->version = cpu_to_le32(DAXFS_VERSION);
	sb->block_size = cpu_to_le32(DAXFS_BLOCK_SIZE);
	sb->total_size = cpu_to_le64(p->total_size);
	if (p->base_size) {
		sb->base_offset = cpu_to_le64(l.base);
		sb->base_size = cpu_to_le64(p->base_size);
	}
	sb->next_branch_id = cpu_to_le64(DAXFS_MAIN_ID);
	sb->next_inode_id =
		cpu_to_le64(p->base_inodes ? p->base_inodes + 1 : 2);
	sb->feature_compat = cpu_to_le64(p->compat);
	memcpy(sb->uuid, p->uuid, sizeof(sb->uuid));
	sb->hash_seed[0] = cpu_to_le64(p->hash_seed[0]);
	sb->hash_seed[1] = cpu_to_le64(p->hash_seed[1]);
	if (p->branches) {
		sb->branch_table_offset =
			cpu_to_le64(DAXFS_BRANCH_TABLE_OFFSET);
		sb->branch_table_entries = cpu_to_le32(p->branches);
		sb->delta_region_offset = cpu_to_le64(l.delta);
		sb->delta_region_size = cpu_to_le64(p->total_size - l.delta);
		/* nothing is left for a version 4 bump allocator */
		sb->delta_alloc_offset = cpu_to_le64(p->total_size);
		sb->feature_incompat = cpu_to_le64(DAXFS_INCOMPAT_SEGMENTS);
		sb->segment_table_offset = cpu_to_le64(l.delta);
		sb->segment_data_offset = cpu_to_le64(l.data);
		sb->segment_count = cpu_to_le32(l.segments);
		sb->segment_size = cpu_to_le32(l.segment_size);
		sb->next_segment_order = cpu_to_le64(1);
		memset((u8 *)base + DAXFS_BRANCH_TABLE_OFFSET, 0,
		       p->branches * sizeof(struct daxfs_branch_entry));
	}
	sb->super_crc = cpu_to_le32(super_crc(sb));
	return 0;
}
