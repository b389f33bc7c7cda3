// SPDX-License-Identifier: Apache-2.0
/* The numbers that a region tells those who watch it. */
#include "core_util.h"

#include <pthread.h>
#include <unistd.h>

#define SIZE (8 * MB)

static struct daxfs_region_stats stats_of(struct reg *g)
{
	struct daxfs_region_stats s;

	daxfs_region_stats(g->r, &s);
	return s;
}

static void test_counts(void **state)
{
	const struct shape s = { .size = SIZE, .branches = 16, .base = true };
	struct daxfs_region_info info;
	struct daxfs_region_stats n;
	struct daxfs_branch *b;
	struct reg g;
	u64 ino;

	(void)state;
	reg_new(&g, &s);
	n = stats_of(&g);
	assert_int_equal(n.created + n.ended + n.seals + n.commits, 0);
	assert_int_equal(n.active, 1); /* main */
	assert_int_equal(n.branch_slots, 16);
	assert_int_equal(n.total_size, SIZE);
	daxfs_region_info(g.r, &info);
	assert_int_equal(n.segments, info.segments);
	assert_int_equal(n.segments_free, info.segments_free);

	b = new_branch(&g, "layer", "main");
	ino = make_file(b, ROOT, "f");
	assert_int_equal(daxfs_write(b, ino, "x", 1, 0, 0), 1);
	n = stats_of(&g);
	assert_int_equal(n.active, 2);
	assert_int_equal(n.data_bytes, 4096);
	assert_int_equal(n.log_bytes, info.segment_size);
	assert_true(n.log_used_bytes >= n.log_written);
	assert_true(n.log_written > 0 && n.log_used_bytes < n.log_bytes);
	daxfs_branch_put(b);

	assert_int_equal(daxfs_branch_seal(g.r, "layer"), 0);
	assert_int_equal(daxfs_branch_create(g.r, "a", "layer", 0), 0);
	assert_int_equal(daxfs_branch_create(g.r, "b", "layer", 0), 0);
	assert_int_equal(daxfs_branch_delete(g.r, "a"), 0);
	n = stats_of(&g);
	assert_int_equal(n.created, 3);
	assert_int_equal(n.ended, 1);
	assert_int_equal(n.seals, 1);
	assert_int_equal(n.sealed, 1);
	assert_int_equal(n.active, 2);

	/* counted from each open; what is there stays */
	reg_reopen(&g);
	n = stats_of(&g);
	assert_int_equal(n.created + n.ended + n.seals, 0);
	assert_int_equal(n.sealed, 1);
	assert_int_equal(n.log_bytes, info.segment_size);
	assert_true(n.log_used_bytes > 0);
	reg_free(&g);
}

static void test_log(void **state)
{
	const struct shape s = { .size = SIZE, .branches = 16 };
	struct daxfs_region_stats n, before;
	struct daxfs_message msg;
	struct daxfs_branch *b;
	struct reg g;
	char name[32];

	(void)state;
	reg_new(&g, &s);
	b = new_branch(&g, "b", "main");
	before = stats_of(&g);
	for (u32 i = 0; i < 20000; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		make_file(b, ROOT, name);
		assert_int_equal(do_unlink(b, ROOT, name), 0);
	}
	n = stats_of(&g);
	assert_true(n.compactions > 0);
	/* all that was written did not stay */
	assert_true(n.log_written > n.log_bytes);
	assert_true(n.log_used_bytes <= n.log_bytes);
	assert_int_equal(before.compactions, 0);
	daxfs_branch_put(b);
	assert_int_equal(daxfs_branch_commit(g.r, "b", &msg), 0);
	n = stats_of(&g);
	assert_int_equal(n.commits, 1);
	assert_int_equal(n.ended, 1);
	assert_int_equal(n.active, 1);
	reg_free(&g);
}

/* ---- Who is in the way ----------------------------------------------------- */

struct watched {
	struct reg g;
	struct daxfs_region_stats seen; /* in the middle of a sync */
	u64 syncs, bytes;
};

static int watch_sync(void *priv, const struct daxfs_range *v, u32 count)
{
	struct watched *w = priv;

	w->syncs++;
	for (u32 i = 0; i < count; i++)
		w->bytes += v[i].len;
	usleep(1000);
	if (w->g.r)
		daxfs_region_stats(w->g.r, &w->seen);
	return 0;
}

/*
 * A seal syncs with the branch table in its hands: who asks then is answered,
 * in part with what was.
 */
static void test_waits_for_nobody(void **state)
{
	const struct shape s = { .size = SIZE, .branches = 16 };
	struct watched w = { .syncs = 0 };
	struct daxfs_region_stats n;
	struct daxfs_backing bk;
	struct daxfs_branch *b;

	(void)state;
	mem_new(&w.g.mem, s.size);
	reg_format(w.g.mem.base, &s);
	bk = (struct daxfs_backing){ .base = w.g.mem.base,
				     .size = w.g.mem.size,
				     .sync = watch_sync,
				     .priv = &w };
	assert_int_equal(daxfs_region_open(&bk, 0, &w.g.r, &w.g.msg), 0);
	n = stats_of(&w.g);
	assert_int_equal(n.syncs, w.syncs);
	b = new_branch(&w.g, "b", "main");
	make_file(b, ROOT, "f");
	daxfs_branch_put(b);
	assert_int_equal(stats_of(&w.g).active, 2);
	assert_int_equal(daxfs_branch_seal(w.g.r, "b"), 0);
	n = stats_of(&w.g);
	assert_int_equal(n.sealed, 1);
	assert_int_equal(w.seen.sealed + w.seen.active, 2);
	assert_true(w.seen.syncs < n.syncs);
	assert_int_equal(n.syncs, w.syncs);
	assert_int_equal(n.sync_bytes, w.bytes);
	assert_true(n.sync_ns >= n.syncs * 1000000);
	reg_free(&w.g);
}

static void *change(void *arg)
{
	struct reg *g = arg;
	struct daxfs_branch *b = get_branch(g, "b");
	char name[32];

	for (u32 i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "f%u", i % 7);
		make_file(b, ROOT, name);
		assert_int_equal(do_unlink(b, ROOT, name), 0);
	}
	daxfs_branch_put(b);
	return NULL;
}

static void test_beside_changes(void **state)
{
	const struct shape s = { .size = SIZE, .branches = 16 };
	struct daxfs_region_stats n, last = { 0 };
	pthread_t t;
	struct reg g;

	(void)state;
	reg_new(&g, &s);
	assert_int_equal(daxfs_branch_create(g.r, "b", "main", 0), 0);
	assert_int_equal(pthread_create(&t, NULL, change, &g), 0);
	for (u32 i = 0; i < 1000; i++) {
		n = stats_of(&g);
		assert_true(n.log_written >= last.log_written);
		assert_true(n.log_used_bytes <= n.log_bytes);
		assert_true(n.segments_free <= n.segments);
		last = n;
	}
	pthread_join(t, NULL);
	reg_free(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_log),
		cmocka_unit_test(test_waits_for_nobody),
		cmocka_unit_test(test_beside_changes),
	};

	return cmocka_run_group_tests_name("core_stats", tests, NULL, NULL);
}
