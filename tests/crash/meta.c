// SPDX-License-Identifier: Apache-2.0
/* Metadata of branches: always that of one moment, whole. */
#include "play.h"

/* `len` bytes of one kind; 0: none. */
static const void *bytes(u8 byte, u32 len)
{
	static u8 v[DAXFS_BRANCH_META_MAX];

	memset(v, byte, len);
	return v;
}

static bool set(struct run *run, const char *name, u8 byte, u32 len)
{
	return !daxfs_branch_set_meta(run->r, name, bytes(byte, len), len);
}

static bool create(struct run *run, const char *name, const char *parent,
		   u8 byte, u32 len)
{
	return !daxfs_branch_create_meta(run->r, name, parent, 0,
					 bytes(byte, len), len);
}

static bool seal(struct run *run, const char *name, u8 byte, u32 len)
{
	return !daxfs_branch_seal_meta(run->r, name, bytes(byte, len), len);
}

void play_meta(struct run *run, u64 seed)
{
	struct daxfs_branch *b, *c;

	(void)seed;
	begin(run, true);
	STEP(run, create(run, "a", "main", 1, 300));
	b = branch(run, "b", "main");
	STEP(run, put(b, "file", 0, 5000, 1));
	STEP(run, set(run, "b", 2, 200));
	STEP(run, set(run, "b", 3, 5000));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, set(run, "b", 4, 100));
	STEP(run, set(run, "b", 5, 100));
	STEP(run, put(b, "file", 0, 9000, 2));
	STEP(run, set(run, "b", 0, 0));
	STEP(run, set(run, "b", 6, 4064));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, set(run, "b", 7, 60));
	STEP_FSYNC(run, "b", seal(run, "b", 8, 9000));
	STEP(run, set(run, "b", 9, 90));
	STEP(run, create(run, "c", "b", 10, 70));
	STEP(run, set(run, "b", 11, 91));
	STEP_SYNC(run, !daxfs_region_sync(run->r));
	STEP(run, set(run, "c", 12, 71));
	STEP(run, set(run, "a", 13, 301));
	STEP(run, !daxfs_branch_delete(run->r, "a"));
	STEP(run, create(run, "a", "b", 14, 1));
	daxfs_branch_put(b);
	run_restart(run);
	assert_int_equal(daxfs_branch_get(run->r, "c", &c), 0);
	STEP(run, set(run, "c", 15, 72));
	STEP(run, put(c, "file", 0, 70000, 3));
	STEP_FSYNC(run, "c", fsync_branch(c));
	STEP(run, set(run, "c", 16, 73));
	daxfs_branch_put(c);
	run_reboot(run);
	STEP(run, set(run, "c", 17, 74));
	end(run);
}

/* What a merged chain had is main's no more, and its blocks are used again. */
void play_meta_commit(struct run *run, u64 seed)
{
	struct daxfs_branch *b;

	(void)seed;
	begin(run, true);
	for (u8 i = 1; i < 4; i++) {
		STEP(run, create(run, "sibling", "main", i, 500));
		STEP(run, create(run, "b", "main", i, 5000));
		STEP(run, create(run, "c", "b", i, 9));
		assert_int_equal(daxfs_branch_get(run->r, "c", &b), 0);
		STEP(run, put(b, "file", 0, 20000, i));
		STEP(run, set(run, "b", i, 6000));
		STEP_COMMIT(run, !daxfs_branch_commit(run->r, "c", NULL));
		daxfs_branch_put(b);
	}
	end(run);
}
