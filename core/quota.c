// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Quotas: how much a branch may own. What counts is what daxfs_usage() says, so
 * each check is a subtraction; what children own is theirs.
 */
#include "coord.h"

static u64 bytes_left(const struct daxfs_branch *b)
{
	u64 limit = port_load(&b->quota_bytes), used = branch_bytes(b);

	if (!limit)
		return ~0ull;
	return used < limit ? limit - used : 0;
}

u32 quota_blocks(const struct daxfs_branch *b, u32 want)
{
	u64 left = bytes_left(b) / BLOCK;

	return left < want ? (u32)left : want;
}

int quota_log(const struct daxfs_branch *b)
{
	return bytes_left(b) < b->r->seg_size ? -EDQUOT : 0;
}

int quota_inode(const struct daxfs_branch *b)
{
	u64 limit = port_load(&b->quota_inodes);

	return limit && b->inodes >= limit ? -EDQUOT : 0;
}

int space_error(const struct daxfs_branch *b, u32 want)
{
	return quota_blocks(b, want) < want ? -EDQUOT : -ENOSPC;
}

void quota_load(struct daxfs_branch *b, const struct daxfs_branch_entry *e)
{
	/* version 4 has its log's size there */
	if (!b->r->segmented)
		return;
	port_store(&b->quota_bytes, le64_to_cpu(e->log_size));
	port_store(&b->quota_inodes, le64_to_cpu(e->log_capacity));
}

void quota_store(const struct daxfs_branch *b, struct daxfs_branch_entry *e)
{
	port_store(&e->log_size, cpu_to_le64(b->quota_bytes));
	port_store(&e->log_capacity, cpu_to_le64(b->quota_inodes));
}

void quota_statfs_blocks(const struct daxfs_branch *b, struct daxfs_statfs *st)
{
	u64 limit = port_load(&b->quota_bytes) / BLOCK;
	u64 left = bytes_left(b) / BLOCK;

	if (limit && limit < st->blocks)
		st->blocks = limit;
	if (left < st->bfree)
		st->bfree = left;
}

void quota_statfs_files(struct daxfs_branch *b, struct daxfs_statfs *st)
{
	u64 limit = port_load(&b->quota_inodes), left;

	if (!limit)
		return;
	port_read_lock(&b->lock);
	left = b->inodes < limit ? limit - b->inodes : 0;
	port_read_unlock(&b->lock);
	st->files = limit;
	if (left < st->ffree)
		st->ffree = left;
}

static int set_quota(struct daxfs_region *r, const char *name, u64 bytes,
		     u64 inodes)
{
	struct daxfs_branch *b = branch_find(r, name);
	u64 mask = r->seg_size - 1ull;

	if (!b)
		return -ENOENT;
	if (b->id == DAXFS_MAIN_ID)
		return -EPERM;
	if (r->readonly)
		return -EROFS;
	port_store(&b->quota_bytes, (bytes + mask) & ~mask);
	port_store(&b->quota_inodes, inodes);
	quota_store(b, branch_entry(b));
	table_changed(r);
	port_store(&b->unsynced, true);
	return 0;
}

int daxfs_branch_set_quota(struct daxfs_region *r, const char *name, u64 bytes,
			   u64 inodes)
{
	int rc;

	if (bytes > DAXFS_QUOTA_MAX || inodes > DAXFS_QUOTA_MAX)
		return -EINVAL;
	rc = table_enter(r);
	if (rc)
		return rc;
	rc = set_quota(r, name, bytes, inodes);
	table_leave(r);
	return rc;
}
