// SPDX-License-Identifier: Apache-2.0
#include "play.h"

static struct mem region;

u8 *region_memory(u64 size)
{
	mem_new(&region, size);
	return region.base;
}

void begin_sized(struct run *run, u64 size, bool base)
{
	struct shape s = { .size = size,
			   .branches = 16,
			   .segment_size = SEGMENT,
			   .base = base };

	reg_format(region_memory(size), &s);
	run_start(run, region.base, size);
}

void begin(struct run *run, bool base)
{
	begin_sized(run, 1536 * KB, base);
}

void end(struct run *run)
{
	run_stop(run);
	mem_free(&region);
}

struct daxfs_branch *branch(struct run *run, const char *name,
			    const char *parent)
{
	struct daxfs_branch *b = NULL;

	STEP(run, !daxfs_branch_create(run->r, name, parent, 0));
	STEP_SYNC(run, !daxfs_region_sync(run->r));
	assert_int_equal(daxfs_branch_get(run->r, name, &b), 0);
	return b;
}

/* ---- Steps with fewer words ------------------------------------------------------ */

bool make(struct daxfs_branch *b, u64 dir, const char *name, u32 mode)
{
	return !make_any(b, dir, name, mode, NULL);
}

bool put(struct daxfs_branch *b, const char *name, u64 off, u64 len, u8 byte)
{
	u8 *buf = malloc(len);
	ssize_t n;

	assert_non_null(buf);
	for (u64 i = 0; i < len; i++)
		buf[i] = (u8)(byte + (off + i) / 8);
	n = daxfs_write(b, find_name(b, ROOT, name), buf, len, off, 0);
	free(buf);
	return n == (ssize_t)len;
}

bool append(struct daxfs_branch *b, const char *name, u64 len, u8 byte)
{
	u8 buf[16384];

	memset(buf, byte, sizeof(buf));
	return daxfs_write(b, find_name(b, ROOT, name), buf, len, 0,
			   DAXFS_WRITE_APPEND) == (ssize_t)len;
}

bool cut_file(struct daxfs_branch *b, const char *name, u64 size)
{
	return !do_truncate(b, find_name(b, ROOT, name), size);
}

bool unname(struct daxfs_branch *b, const char *name)
{
	return !daxfs_unlink(b, ROOT, name, strlen(name), NULL);
}

bool rename_root(struct daxfs_branch *b, const char *from, const char *to,
		 u32 flags)
{
	return !daxfs_rename(b, ROOT, from, strlen(from), ROOT, to, strlen(to),
			     flags, NULL);
}

bool fsync_branch(struct daxfs_branch *b)
{
	return !daxfs_fsync(b, ROOT);
}

bool set_xattr(struct daxfs_branch *b, u64 ino, const char *name, size_t len,
	       u8 byte)
{
	u8 value[12000];

	memset(value, byte, sizeof(value));
	return !daxfs_setxattr(b, ino, name, value, len, 0);
}

/* user::rwx user:7:r-- group::r-x mask::rwx other::--- */
