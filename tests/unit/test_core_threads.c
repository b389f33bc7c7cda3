// SPDX-License-Identifier: Apache-2.0
/*
 * Threads on one region: writers on their own branches, readers of a shared
 * one, and one that creates, seals and deletes. Of use mostly
 * with SAN=thread; without it the contents are checked all the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/mman.h>

#include "core/daxfs.h"

#define REGION (64u << 20)
#define ROUNDS 400

static struct daxfs_region *region;
static struct daxfs_message msg;

static struct daxfs_branch *get(const char *name)
{
	struct daxfs_branch *b;

	return daxfs_branch_get(region, name, &b) ? NULL : b;
}

static void *writer(void *arg)
{
	struct daxfs_branch *b = get(arg);
	struct daxfs_new n = { .mode = S_IFREG | 0644 };
	char data[9000], back[9000];
	struct daxfs_attr a;
	intptr_t bad = !b;

	for (int i = 0; i < ROUNDS && !bad; i++) {
		char name[16];
		size_t len = (size_t)snprintf(name, sizeof(name), "w%d", i % 9);
		u64 ino;

		memset(data, i, sizeof(data));
		if (i >= 9)
			bad |= daxfs_unlink(b, 1, name, len, &ino) ||
			       daxfs_evict(b, ino);
		bad |= daxfs_make(b, 1, name, len, &n, &a) != 0;
		bad |= daxfs_write(b, a.ino, data, sizeof(data), (u64)i, 0) !=
		       sizeof(data);
		bad |= daxfs_read(b, a.ino, back, sizeof(back), (u64)i) !=
		       sizeof(back);
		bad |= memcmp(data, back, sizeof(data)) != 0;
	}
	daxfs_branch_put(b);
	return (void *)bad;
}

static int count_entry(void *ctx, const struct daxfs_dirent *d)
{
	(void)d;
	++*(int *)ctx;
	return 0;
}

/* The sealed branch looks the same to everybody all the time. */
static void *reader(void *arg)
{
	struct daxfs_branch *b = get(arg);
	struct daxfs_attr a;
	char buf[16];
	intptr_t bad = !b;

	for (int i = 0; i < 4 * ROUNDS && !bad; i++) {
		int n = 0;

		bad |= daxfs_lookup(b, 1, "shared", 6, &a) != 0;
		bad |= daxfs_read(b, a.ino, buf, sizeof(buf), 0) != 5;
		bad |= daxfs_readdir(b, 1, 0, count_entry, &n) || n != 1;
	}
	daxfs_branch_put(b);
	return (void *)bad;
}

static void *brancher(void *arg)
{
	struct daxfs_new n = { .mode = S_IFREG | 0644 };
	intptr_t bad = 0;

	(void)arg;
	for (int i = 0; i < ROUNDS && !bad; i++) {
		struct daxfs_branch_info *list;
		struct daxfs_branch *b;
		struct daxfs_attr a;
		u32 count;

		bad |= daxfs_branch_create(region, "t", "base", 0) != 0;
		b = get("t");
		bad |= !b || daxfs_make(b, 1, "x", 1, &n, &a);
		if (i % 2)
			bad |= daxfs_branch_seal(region, "t") != 0;
		bad |= daxfs_branch_list(region, &list, &count) != 0;
		if (!bad)
			daxfs_free(list);
		bad |= daxfs_branch_delete(region, "t") != 0;
		bad |= daxfs_getattr(b, a.ino, &a) != -ESTALE;
		daxfs_branch_put(b);
	}
	return (void *)bad;
}

static void make_base(void)
{
	struct daxfs_new n = { .mode = S_IFREG | 0644 };
	struct daxfs_branch *b;
	struct daxfs_attr a;

	assert_int_equal(daxfs_branch_create(region, "base", "main", 0), 0);
	b = get("base");
	assert_int_equal(daxfs_make(b, 1, "shared", 6, &n, &a), 0);
	assert_int_equal(daxfs_write(b, a.ino, "hello", 5, 0, 0), 5);
	daxfs_branch_put(b);
	assert_int_equal(daxfs_branch_seal(region, "base"), 0);
	assert_int_equal(daxfs_branch_create(region, "a", "base", 0), 0);
	assert_int_equal(daxfs_branch_create(region, "b", "base", 0), 0);
}

static void test_threads(void **state)
{
	static const struct {
		void *(*fn)(void *arg);
		const char *arg;
	} jobs[] = {
		{ writer, "a" },    { writer, "b" },    { reader, "base" },
		{ reader, "base" }, { brancher, NULL },
	};
	struct daxfs_format_params p = { .total_size = REGION, .branches = 16 };
	struct daxfs_backing bk = { .size = REGION };
	pthread_t threads[5];
	struct daxfs_statfs before, after;
	struct daxfs_branch *main;

	(void)state;
	bk.base = mmap(NULL, REGION, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(bk.base, MAP_FAILED);
	assert_int_equal(daxfs_region_format(bk.base, &p, &msg), 0);
	assert_int_equal(daxfs_region_open(&bk, 0, &region, &msg), 0);
	main = get("main");
	assert_int_equal(daxfs_statfs(main, &before), 0);
	make_base();
	for (int i = 0; i < 5; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, jobs[i].fn,
						(void *)jobs[i].arg),
				 0);
	for (int i = 0; i < 5; i++) {
		void *bad;

		assert_int_equal(pthread_join(threads[i], &bad), 0);
		if (bad)
			fail_msg("thread %d failed", i);
	}
	assert_int_equal(daxfs_branch_delete(region, "a"), 0);
	assert_int_equal(daxfs_branch_delete(region, "b"), 0);
	assert_int_equal(daxfs_branch_delete(region, "base"), 0);
	assert_int_equal(daxfs_statfs(main, &after), 0);
	assert_int_equal(before.bfree, after.bfree);
	daxfs_branch_put(main);
	daxfs_region_close(region);
	munmap(bk.base, REGION);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
