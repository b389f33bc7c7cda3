// SPDX-License-Identifier: Apache-2.0
/* Logs, opening, and the table of all scenarios. */
#include "play.h"

/* ---- Logs ------------------------------------------------------------------------- */

/* A name whose making takes 4 KiB of log. */
static bool long_link(struct daxfs_branch *b, u32 i)
{
	char target[4001], name[16];
	struct daxfs_new in = { .mode = S_IFLNK | 0777, .target = target };
	struct daxfs_attr a;

	memset(target, 'a' + (int)(i % 26), 4000);
	target[4000] = '\0';
	snprintf(name, sizeof(name), "l%u", i % 5);
	return !daxfs_make(b, ROOT, name, strlen(name), &in, &a);
}

static bool drop_link(struct daxfs_branch *b, u32 i)
{
	char name[16];

	snprintf(name, sizeof(name), "l%u", i % 5);
	return !do_unlink(b, ROOT, name);
}

static void play_log(struct run *run, u64 seed)
{
	struct daxfs_branch *b;

	(void)seed;
	begin(run, false);
	b = branch(run, "b", "main");
	for (u32 i = 0; i < 70; i++) {
		if (i >= 5)
			STEP(run, drop_link(b, i));
		STEP(run, long_link(b, i));
		if (i % 9 == 8)
			STEP_FSYNC(run, "b", fsync_branch(b));
	}
	daxfs_branch_put(b);
	end(run);
}

static void play_compaction(struct run *run, u64 seed)
{
	struct daxfs_branch *b;

	(void)seed;
	begin_sized(run, 3 * MB, false);
	b = branch(run, "b", "main");
	STEP(run, make(b, ROOT, "f", S_IFREG | 0644));
	for (u32 i = 0; i < 300; i++) {
		if (i >= 5)
			STEP(run, drop_link(b, i));
		STEP(run, long_link(b, i));
		if (i % 10 == 7)
			STEP(run, put(b, "f", i * 16, 5000, (u8)i));
		if (i % 40 == 39)
			STEP_FSYNC(run, "b", fsync_branch(b));
	}
	daxfs_branch_put(b);
	end(run);
}

/* ---- Opening ---------------------------------------------------------------------- */

static void play_reopen(struct run *run, u64 seed)
{
	struct daxfs_branch *b;

	(void)seed;
	begin(run, true);
	b = branch(run, "b", "main");
	STEP(run, put(b, "file", 0, 9000, 1));
	STEP(run, unname(b, "hard1"));
	run_restart(run);
	assert_int_equal(daxfs_branch_get(run->r, "b", &b), 0);
	STEP(run, put(b, "file", 0, 9000, 2));
	STEP(run, make(b, ROOT, "x", S_IFREG | 0644));
	daxfs_branch_put(b);
	run_reboot(run);
	assert_int_equal(daxfs_branch_get(run->r, "b", &b), 0);
	STEP(run, put(b, "file", 4096, 9000, 3));
	STEP(run, make(b, ROOT, "y", S_IFREG | 0644));
	STEP(run, !do_unlink(b, ROOT, "x"));
	daxfs_branch_put(b);
	run_reboot(run);
	end(run);
}

static bool sync_memory(struct run *run)
{
	struct daxfs_backing bk =
		record_backing(run->mem, run->size, run->boot);
	struct daxfs_range all = { 0, run->size };

	return !bk.sync(bk.priv, &all, 1);
}

static void play_format(struct run *run, u64 seed)
{
	struct daxfs_format_params p = { .total_size = MB,
					 .branches = 8,
					 .segment_size = SEGMENT };
	struct daxfs_branch *b;

	(void)seed;
	run_start_bare(run, region_memory(MB), MB);
	STEP(run, !daxfs_region_format(run->mem, &p, NULL));
	STEP_SYNC(run, sync_memory(run));
	run_open(run);
	b = branch(run, "b", "main");
	STEP(run, make(b, ROOT, "f", S_IFREG | 0644));
	daxfs_branch_put(b);
	end(run);
}

/* A version 4 region gets segments with its first branch. */
static void play_upgrade(struct run *run, u64 seed)
{
	struct shape s = {
		.size = MB, .branches = 4, .base = true, .plain = true
	};
	struct daxfs_super *sb;
	struct daxfs_branch *b;

	(void)seed;
	sb = (struct daxfs_super *)region_memory(s.size);
	reg_format((u8 *)sb, &s);
	sb->super_crc = 0;
	sb->feature_incompat = 0;
	memset(&sb->segment_table_offset, 0, 32);
	sb->delta_alloc_offset = sb->delta_region_offset;
	run_start(run, (u8 *)sb, s.size);
	b = branch(run, "b", "main");
	STEP(run, put(b, "file", 0, 5000, 1));
	STEP_FSYNC(run, "b", fsync_branch(b));
	daxfs_branch_put(b);
	end(run);
}

const struct scenario scenarios[] = {
	{ "make", play_make, 0, 0 },
	{ "rename", play_rename, 0, 0 },
	{ "write", play_write, 0, 0 },
	{ "base", play_base, 0, 0 },
	{ "attributes", play_attributes, 0, 0 },
	{ "holes", play_holes, 0, 0 },
	{ "copies", play_copies, 0, 0 },
	{ "full", play_full, 0, 0 },
	{ "branches", play_branches, 0, 0 },
	{ "family", play_family, 0, 0 },
	{ "parent", play_parent, 0, 0 },
	{ "slots", play_slots, 0, 0 },
	{ "commit", play_commit, 0, 0 },
	{ "drop", play_drop, 0, 0 },
	{ "shared", play_shared, 0, 0 },
	{ "meta", play_meta, 0, 0 },
	{ "meta-commit", play_meta_commit, 0, 0 },
	{ "log", play_log, 0, 0 },
	{ "compaction", play_compaction, 0, 0 },
	{ "reopen", play_reopen, 0, 0 },
	{ "format", play_format, 0, 0 },
	{ "upgrade", play_upgrade, 0, 0 },
	{ "random", play_random, 3, 25 },
	{ "tree", play_random_branches, 4, 25 },
};
const u32 scenario_count = sizeof(scenarios) / sizeof(scenarios[0]);
