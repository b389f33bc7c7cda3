// SPDX-License-Identifier: Apache-2.0
/* A region that is full: clean errors, and room again after removing. */
#include "core_util.h"

static struct reg g;
static u8 block[1 << 16];

static int setup(void **state)
{
	struct shape s = { .size = 4 * MB, .branches = 8 };

	(void)state;
	reg_new(&g, &s);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	reg_free(&g);
	return 0;
}

static void assert_same_attr(const struct daxfs_attr *x,
			     const struct daxfs_attr *y)
{
	assert_int_equal(x->mode, y->mode);
	assert_int_equal(x->nlink, y->nlink);
	assert_int_equal(x->size, y->size);
	assert_int_equal(x->blocks, y->blocks);
	assert_int_equal(x->mtime.sec, y->mtime.sec);
	assert_int_equal(x->mtime.nsec, y->mtime.nsec);
	assert_int_equal(x->ctime.sec, y->ctime.sec);
	assert_int_equal(x->ctime.nsec, y->ctime.nsec);
}

/* Write until it does not go on; returns the file's size. */
static u64 fill_file(struct daxfs_branch *b, u64 ino, size_t piece)
{
	u64 size = 0;
	ssize_t n;

	memset(block, 0x5a, sizeof(block));
	while ((n = daxfs_write(b, ino, block, piece, size, 0)) > 0) {
		size += (u64)n;
		assert_true(size < g.mem.size);
	}
	assert_int_equal(n, -ENOSPC);
	assert_int_equal(attr_of(b, ino).size, size);
	return size;
}

static void check_fill(struct daxfs_branch *b, u64 ino, u64 size)
{
	static u8 got[1 << 16];

	for (u64 off = 0; off < size; off += sizeof(got)) {
		ssize_t n = daxfs_read(b, ino, got, sizeof(got), off);

		assert_true(n > 0);
		for (ssize_t k = 0; k < n; k++)
			assert_int_equal(got[k], 0x5a);
	}
}

static void test_one_file(void **state)
{
	struct daxfs_branch *b = new_branch(&g, "b", "main");
	u64 ino = make_file(b, ROOT, "big"), size;
	struct daxfs_statfs st;

	(void)state;
	for (int round = 0; round < 3; round++) {
		size = fill_file(b, ino, sizeof(block));
		assert_true(size > 2 * MB);
		check_fill(b, ino, size);
		assert_int_equal(daxfs_statfs(b, &st), 0);
		assert_int_equal(st.bfree, 0);
		/* what is there can still be written, and read */
		assert_int_equal(daxfs_write(b, ino, block, 10, 5, 0), 10);
		assert_int_equal(do_truncate(b, ino, 4096), 0);
		assert_int_equal(daxfs_statfs(b, &st), 0);
		assert_true(st.bfree * 4096 > size - MB / 4);
	}
	assert_int_equal(do_unlink(b, ROOT, "big"), 0);
	daxfs_branch_put(b);
	reg_reopen(&g);
}

static void name_of(char name[16], u32 k)
{
	snprintf(name, 16, "f%u", k);
}

/* Files until none can be made; returns how many are there. */
static u32 fill_files(struct daxfs_branch *b, size_t bytes)
{
	char name[16];
	u64 ino;
	u32 n = 0;
	int rc;

	memset(block, 0x5a, sizeof(block));
	for (;; n++) {
		assert_true(n < 100000);
		name_of(name, n);
		rc = make_any(b, ROOT, name, S_IFREG | 0644, &ino);
		if (rc)
			break;
		if (bytes &&
		    daxfs_write(b, ino, block, bytes, 0, 0) != (ssize_t)bytes)
			return n + 1;
	}
	assert_int_equal(rc, -ENOSPC);
	assert_int_equal(find_name(b, ROOT, name), 0);
	return n;
}

static void remove_all(struct daxfs_branch *b, u32 n)
{
	char name[16];
	int rc;

	for (u32 k = 0; k < n; k++) {
		name_of(name, k);
		rc = do_unlink(b, ROOT, name);
		if (rc)
			fail_msg("unlink %u of %u: %d", k, n, rc);
	}
	assert_int_equal(attr_of(b, ROOT).size, 0);
}

static void many(size_t bytes)
{
	struct daxfs_branch *b = new_branch(&g, "b", "main");
	u32 first = 0, n;

	for (int round = 0; round < 4; round++) {
		n = fill_files(b, bytes);
		assert_true(n > 30);
		if (!round)
			first = n;
		/* what was removed does not eat the room up */
		assert_true(n > first / 2);
		remove_all(b, n);
	}
	daxfs_branch_put(b);
	reg_reopen(&g);
	b = get_branch(&g, "b");
	assert_int_equal(attr_of(b, ROOT).size, 0);
	daxfs_branch_put(b);
}

static void test_small_files(void **state)
{
	(void)state;
	many(4096);
}

static void test_larger_files(void **state)
{
	(void)state;
	many(50000);
}

/* Nothing but log: names alone fill the region. */
static void test_empty_files(void **state)
{
	(void)state;
	many(0);
}

/* Every kind of operation on a full region: ENOSPC or done, nothing else. */
static void test_all_fail_cleanly(void **state)
{
	struct daxfs_branch *b = new_branch(&g, "b", "main");
	struct daxfs_attr a, before;
	char name[16];
	u64 ino = make_file(b, ROOT, "big"), other = make_file(b, ROOT, "x");
	u64 size;
	int rc = 0;

	(void)state;
	assert_int_equal(daxfs_write(b, other, "hello", 5, 0, 0), 5);
	size = fill_file(b, ino, 4096);
	/* names take what room the log has left, then smaller things do */
	for (u32 k = 0; !rc; k++) {
		name_of(name, k);
		rc = make_any(b, ROOT, name, S_IFREG | 0644, NULL);
	}
	assert_int_equal(rc, -ENOSPC);
	for (u32 k = 0; k == 0 || !rc; k++) {
		name_of(name, k);
		rc = daxfs_setxattr(b, other, name, "", 0, 0);
	}
	assert_int_equal(rc, -ENOSPC);
	before = attr_of(b, other);
	assert_int_equal(make_any(b, ROOT, "n", S_IFREG | 0644, NULL), -ENOSPC);
	assert_int_equal(make_any(b, ROOT, "n", S_IFDIR | 0755, NULL), -ENOSPC);
	assert_int_equal(make_any(b, ROOT, "n", S_IFLNK | 0777, NULL), -ENOSPC);
	assert_int_equal(daxfs_link(b, other, ROOT, "n", 1, NULL), -ENOSPC);
	assert_int_equal(do_rename(b, ROOT, "x", ROOT, "y", 0), -ENOSPC);
	assert_int_equal(do_rename(b, ROOT, "x", ROOT, "big",
				   DAXFS_RENAME_EXCHANGE),
			 -ENOSPC);
	assert_int_equal(daxfs_setxattr(b, other, "user.a", "v", 1, 0),
			 -ENOSPC);
	assert_int_equal(daxfs_setxattr(b, other, "user.a", block, 60000, 0),
			 -ENOSPC);
	assert_int_equal(daxfs_write(b, other, "y", 1, 100000, 0), -ENOSPC);
	assert_int_equal(daxfs_getxattr(b, other, "user.a", NULL, 0), -ENODATA);
	a = attr_of(b, other);
	assert_same_attr(&a, &before);
	assert_int_equal(find_name(b, ROOT, "n"), 0);
	assert_int_equal(find_name(b, ROOT, "y"), 0);
	assert_int_equal(find_name(b, ROOT, "x"), other);
	check_fill(b, ino, size);
	daxfs_branch_put(b);
	reg_reopen(&g);
	b = get_branch(&g, "b");
	a = attr_of(b, other);
	assert_same_attr(&a, &before);
	assert_int_equal(do_unlink(b, ROOT, "big"), 0);
	assert_int_equal(daxfs_write(b, other, block, 60000, 0, 0), 60000);
	daxfs_branch_put(b);
}

/* What one branch has taken, another can have once the first is deleted. */
static void test_delete_branch_when_full(void **state)
{
	struct daxfs_branch *a = new_branch(&g, "a", "main");
	struct daxfs_branch *b = new_branch(&g, "b", "main");
	u64 ino = make_file(b, ROOT, "f"), before = reg_free_segments(&g);
	u64 big, small;

	(void)state;
	big = fill_file(a, make_file(a, ROOT, "f"), sizeof(block));
	small = fill_file(b, ino, 4096);
	assert_true(small < MB / 2);
	assert_int_equal(daxfs_branch_create(g.r, "c", "main", 0), 0);
	assert_int_equal(daxfs_branch_delete(g.r, "c"), 0);
	assert_int_equal(daxfs_branch_delete(g.r, "a"), 0);
	assert_true(reg_free_segments(&g) + small / 65536 + 3 > before);
	assert_true(fill_file(b, ino, sizeof(block)) > big - MB / 4);
	assert_int_equal(do_unlink(b, ROOT, "f"), 0);
	daxfs_branch_put(a);
	daxfs_branch_put(b);
}

/* Commit needs no room. */
static void test_commit_when_full(void **state)
{
	struct daxfs_branch *b = new_branch(&g, "b", "main"), *m;
	u64 ino = make_file(b, ROOT, "f"), size;

	(void)state;
	size = fill_file(b, ino, 4096);
	assert_int_equal(daxfs_branch_commit(g.r, "b", &g.msg), 0);
	daxfs_branch_put(b);
	for (int round = 0; round < 2; round++) {
		m = get_branch(&g, "main");
		assert_int_equal(find_name(m, ROOT, "f"), ino);
		assert_int_equal(attr_of(m, ino).size, size);
		check_fill(m, ino, size);
		daxfs_branch_put(m);
		reg_reopen(&g);
	}
}

/* Overwriting the same blocks takes log only, and that is compacted. */
static void test_endless_overwrite(void **state)
{
	struct daxfs_branch *b = new_branch(&g, "b", "main");
	u64 ino = make_file(b, ROOT, "f");
	u32 last = 0;

	(void)state;
	for (u32 k = 0; k < 60000; k++) {
		u64 off = (k * 7919ull) % 60000;

		if (daxfs_write(b, ino, &k, sizeof(k), off, 0) != sizeof(k))
			fail_msg("write %u failed", k);
		last = k;
	}
	for (int round = 0; round < 2; round++) {
		u32 got = 0;

		assert_int_equal(daxfs_read(b, ino, &got, sizeof(got),
					    (last * 7919ull) % 60000),
				 sizeof(got));
		assert_int_equal(got, last);
		daxfs_branch_put(b);
		reg_reopen(&g);
		b = get_branch(&g, "b");
	}
	daxfs_branch_put(b);
}

/* Branches made, used and dropped for ever leave nothing behind. */
static void test_rewritten_name(void **state)
{
	struct daxfs_branch *b = new_branch(&g, "b", "main");

	(void)state;
	for (u32 k = 0; k < 20000; k++) {
		u64 ino;

		if (make_any(b, ROOT, "t", S_IFREG | 0644, &ino))
			fail_msg("make %u failed", k);
		assert_int_equal(daxfs_write(b, ino, block, 5000, 0, 0), 5000);
		assert_int_equal(do_rename(b, ROOT, "t", ROOT, "name", 0), 0);
	}
	daxfs_branch_put(b);
	reg_reopen(&g);
	b = get_branch(&g, "b");
	assert_int_equal(attr_of(b, find_name(b, ROOT, "name")).size, 5000);
	daxfs_branch_put(b);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_one_file),         T(test_small_files),
		T(test_larger_files),     T(test_empty_files),
		T(test_all_fail_cleanly), T(test_delete_branch_when_full),
		T(test_commit_when_full), T(test_endless_overwrite),
		T(test_rewritten_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
