// SPDX-License-Identifier: Apache-2.0
/* Rules of branches, each checked again after the region was opened anew. */
#include "core_util.h"

#include <pthread.h>

static struct reg g;
static u32 ended;
static char ended_names[64][32];

static void on_end(void *arg, struct daxfs_branch *b)
{
	struct daxfs_branch_info i;

	assert_ptr_equal(arg, &g);
	assert_int_equal(daxfs_branch_status(b), -ESTALE);
	assert_int_equal(daxfs_branch_info(b, &i), -ESTALE);
	if (daxfs_branch_private(b) && ended < 64)
		snprintf(ended_names[ended], 32, "%s",
			 (char *)daxfs_branch_private(b));
	ended++;
}

static bool was_told(const char *name)
{
	for (u32 k = 0; k < ended && k < 64; k++)
		if (!strcmp(ended_names[k], name))
			return true;
	return false;
}

static int setup(void **state)
{
	struct shape s = { .size = 64 * MB, .branches = 200, .base = true };

	(void)state;
	reg_new(&g, &s);
	daxfs_region_on_end(g.r, on_end, &g);
	ended = 0;
	memset(ended_names, 0, sizeof(ended_names));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	reg_free(&g);
	return 0;
}

static int create(const char *name, const char *parent)
{
	return daxfs_branch_create(g.r, name, parent, 0);
}

static struct daxfs_branch_info info_of(const char *name)
{
	struct daxfs_branch *b = get_branch(&g, name);
	struct daxfs_branch_info i;

	assert_int_equal(daxfs_branch_info(b, &i), 0);
	daxfs_branch_put(b);
	return i;
}

static bool exists(const char *name)
{
	struct daxfs_branch *b;
	int rc = daxfs_branch_get(g.r, name, &b);

	if (rc) {
		assert_int_equal(rc, -ENOENT);
		assert_null(b);
		return false;
	}
	daxfs_branch_put(b);
	return true;
}

/* A handle whose private text is its name, for on_end. */
static struct daxfs_branch *named(const char *name, const char *parent)
{
	struct daxfs_branch *b = new_branch(&g, name, parent);

	daxfs_branch_set_private(b, (void *)(uintptr_t)name);
	return b;
}

static void write_text(struct daxfs_branch *b, const char *name,
		       const char *text)
{
	u64 ino = find_name(b, ROOT, name);

	if (!ino)
		ino = make_file(b, ROOT, name);
	assert_int_equal(daxfs_write(b, ino, text, strlen(text), 0, 0),
			 strlen(text));
}

static void check_text(struct daxfs_branch *b, const char *name,
		       const char *text)
{
	u64 ino = find_name(b, ROOT, name);
	char got[64] = "";

	if (!text) {
		assert_int_equal(ino, 0);
		return;
	}
	assert_int_not_equal(ino, 0);
	assert_int_equal(daxfs_read(b, ino, got, sizeof(got) - 1, 0),
			 strlen(text));
	assert_string_equal(got, text);
}

static void check_on(const char *branch, const char *name, const char *text)
{
	struct daxfs_branch *b = get_branch(&g, branch);

	check_text(b, name, text);
	daxfs_branch_put(b);
}

/* Every call on it, changing or not, answers the same. */
static void check_refuses(struct daxfs_branch *b, int reads, int writes)
{
	struct daxfs_new n = { .mode = S_IFREG | 0644 };
	struct daxfs_attr a = { 0 };
	struct daxfs_statfs st;
	u64 x, y;
	char buf[8];

	assert_int_equal(daxfs_branch_status(b), reads);
	assert_int_equal(daxfs_getattr(b, ROOT, &a), reads);
	assert_int_equal(daxfs_lookup(b, ROOT, "file", 4, &a), reads);
	assert_int_equal(daxfs_parent(b, ROOT, &x), reads);
	assert_int_equal(daxfs_read(b, B_FILE, buf, 8, 0), reads ? reads : 8);
	assert_int_equal(daxfs_readlink(b, B_LINK, buf, 8), reads ? reads : 5);
	assert_int_equal(daxfs_getxattr(b, B_FILE, "user.base", buf, 8),
			 reads ? reads : 5);
	assert_int_equal(daxfs_listxattr(b, B_EMPTY, buf, 8), reads);
	assert_int_equal(daxfs_statfs(b, &st), reads);
	assert_int_equal(daxfs_usage(b, &x, &y), reads);
	assert_int_equal(daxfs_fsync(b, B_FILE), reads);

	assert_int_equal(daxfs_make(b, ROOT, "n", 1, &n, NULL), writes);
	assert_int_equal(daxfs_write(b, B_FILE, "x", 1, 0, 0), writes);
	assert_int_equal(daxfs_setattr(b, B_FILE, DAXFS_SET_UID, &a, NULL),
			 writes);
	assert_int_equal(do_truncate(b, B_FILE, 0), writes);
	assert_int_equal(daxfs_link(b, B_FILE, ROOT, "n", 1, NULL), writes);
	assert_int_equal(daxfs_unlink(b, ROOT, "file", 4, NULL), writes);
	assert_int_equal(daxfs_rmdir(b, ROOT, "dir", 3, NULL), writes);
	assert_int_equal(do_rename(b, ROOT, "file", ROOT, "n", 0), writes);
	assert_int_equal(daxfs_setxattr(b, B_FILE, "user.n", "v", 1, 0),
			 writes);
	assert_int_equal(daxfs_removexattr(b, B_FILE, "user.base"), writes);
	assert_int_equal(daxfs_tmpfile(b, ROOT, &n, 0, &a), writes);
	assert_int_equal(daxfs_fallocate(b, B_FILE, 0, 0, 100000), writes);
	assert_int_equal(daxfs_copy_range(b, B_A, 0, B_FILE, 0, 5000, 0),
			 writes);
	assert_int_equal(daxfs_touch(b, B_FILE), reads);
	assert_int_equal(daxfs_evict_orphans(b), writes);
}

static void test_names(void **state)
{
	static const char *const bad[] = { "",     "a/b",  "/",
					   "a\tb", "a\nb", "\x7f" };
	char longest[40];

	(void)state;
	for (u32 k = 0; k < sizeof(bad) / sizeof(*bad); k++)
		assert_int_equal(create(bad[k], "main"), -EINVAL);
	memset(longest, 'n', sizeof(longest));
	longest[32] = 0;
	assert_int_equal(create(longest, "main"), -ENAMETOOLONG);
	longest[31] = 0;
	assert_int_equal(create(longest, "main"), 0);
	assert_int_equal(create("\xc3\xa4 b.c", "main"), 0);
	assert_int_equal(create("a", "nobody"), -ENOENT);
	assert_int_equal(create("a", "main"), 0);
	assert_int_equal(create("a", "main"), -EEXIST);
	assert_int_equal(create("main", "main"), -EEXIST);
	assert_int_equal(create("a", "a"), -EEXIST);
	reg_reopen(&g);
	assert_true(exists(longest) && exists("\xc3\xa4 b.c") && exists("a"));
	assert_int_equal(daxfs_branch_seal(g.r, "nobody"), -ENOENT);
	assert_int_equal(daxfs_branch_delete(g.r, "nobody"), -ENOENT);
	assert_int_equal(daxfs_branch_abort(g.r, "nobody"), -ENOENT);
	assert_int_equal(daxfs_branch_commit(g.r, "nobody", &g.msg), -ENOENT);
	assert_int_equal(daxfs_branch_set_persistent(g.r, "nobody", true),
			 -ENOENT);
	assert_false(exists("nobody"));
}

static void test_main(void **state)
{
	struct daxfs_branch *m = get_branch(&g, "main");
	struct daxfs_branch_info i = info_of("main");

	(void)state;
	assert_int_equal(i.id, DAXFS_MAIN_ID);
	assert_int_equal(i.parent_id, 0);
	assert_string_equal(i.parent, "");
	assert_int_equal(i.state, DAXFS_BRANCH_ACTIVE);
	check_refuses(m, 0, -EROFS);
	assert_int_equal(daxfs_branch_seal(g.r, "main"), -EPERM);
	assert_int_equal(daxfs_branch_delete(g.r, "main"), -EPERM);
	assert_int_equal(daxfs_branch_abort(g.r, "main"), -EPERM);
	assert_int_equal(daxfs_branch_commit(g.r, "main", &g.msg), -EPERM);
	daxfs_branch_put(m);
}

static void test_table_full(void **state)
{
	char name[16];
	u32 n = 0;

	(void)state;
	for (;; n++) {
		snprintf(name, sizeof(name), "b%u", n);
		if (create(name, "main"))
			break;
	}
	assert_int_equal(n, 199); /* 200 entries, main has one */
	assert_int_equal(create("one-more", "main"), -ENOSPC);
	reg_reopen(&g);
	assert_int_equal(create("one-more", "main"), -ENOSPC);
	assert_int_equal(daxfs_branch_delete(g.r, "b77"), 0);
	assert_int_equal(create("one-more", "main"), 0);
	assert_int_equal(create("and-more", "main"), -ENOSPC);
}

static void test_list(void **state)
{
	struct daxfs_branch_info *v;
	u64 last = 0;
	u32 n;

	(void)state;
	assert_int_equal(create("a", "main"), 0);
	assert_int_equal(daxfs_branch_create(g.r, "b", "a",
					     DAXFS_BRANCH_PERSISTENT),
			 0);
	assert_int_equal(create("c", "a"), 0);
	assert_int_equal(daxfs_branch_seal(g.r, "c"), 0);
	assert_int_equal(daxfs_branch_set_persistent(g.r, "a", true), 0);
	assert_int_equal(daxfs_branch_set_persistent(g.r, "a", false), 0);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(daxfs_branch_list(g.r, &v, &n), 0);
		assert_int_equal(n, 4);
		for (u32 k = 0; k < n; k++) {
			assert_true(v[k].id > last);
			last = v[k].id;
		}
		last = 0;
		assert_string_equal(v[0].name, "main");
		assert_int_equal(v[0].children, 1);
		assert_string_equal(v[1].name, "a");
		assert_string_equal(v[1].parent, "main");
		assert_int_equal(v[1].children, 2);
		assert_false(v[1].persistent);
		assert_true(v[1].ctime_ns > 1000000000ull * B_MTIME);
		assert_string_equal(v[2].name, "b");
		assert_int_equal(v[2].parent_id, v[1].id);
		assert_true(v[2].persistent);
		assert_int_equal(v[3].state, DAXFS_BRANCH_SEALED);
		assert_int_equal(v[2].state, DAXFS_BRANCH_ACTIVE);
		daxfs_free(v);
		reg_reopen(&g);
	}
}

static void test_frozen_parent(void **state)
{
	struct daxfs_branch *a = named("a", "main"), *b;

	(void)state;
	write_text(a, "f", "of a");
	b = named("b", "a");
	check_refuses(a, 0, -EROFS);
	check_text(b, "f", "of a");
	write_text(b, "f", "OF B");
	write_text(b, "only-b", "x");
	check_text(a, "f", "of a");
	check_text(a, "only-b", NULL);
	daxfs_branch_put(a);
	daxfs_branch_put(b);
	reg_reopen(&g);
	a = get_branch(&g, "a");
	check_refuses(a, 0, -EROFS);
	check_text(a, "f", "of a");
	check_on("b", "f", "OF B");
	assert_int_equal(daxfs_branch_delete(g.r, "a"), -EBUSY);
	assert_int_equal(daxfs_branch_abort(g.r, "a"), -EBUSY);
	assert_int_equal(daxfs_branch_commit(g.r, "a", &g.msg), -EBUSY);
	assert_non_null(strstr(g.msg.text, "'a'"));
	assert_int_equal(daxfs_branch_delete(g.r, "b"), 0);
	write_text(a, "f", "again");
	check_text(a, "f", "again");
	daxfs_branch_put(a);
	reg_reopen(&g);
	check_on("a", "f", "again");
}

static void test_seal(void **state)
{
	struct daxfs_branch *a = named("a", "main"), *s = named("s", "main");
	struct daxfs_branch *b;

	(void)state;
	write_text(a, "f", "layer");
	assert_int_equal(daxfs_branch_seal(g.r, "a"), 0);
	assert_int_equal(daxfs_branch_seal(g.r, "a"), 0);
	check_refuses(a, 0, -EROFS);
	write_text(s, "f", "sibling");
	b = named("b", "a");
	write_text(b, "f", "above");
	assert_int_equal(daxfs_branch_delete(g.r, "b"), 0);
	check_refuses(a, 0, -EROFS);
	daxfs_branch_put(a);
	daxfs_branch_put(b);
	daxfs_branch_put(s);
	reg_reopen(&g);
	a = get_branch(&g, "a");
	check_refuses(a, 0, -EROFS);
	check_text(a, "f", "layer");
	check_on("s", "f", "sibling");
	daxfs_branch_put(a);
	assert_int_equal(daxfs_branch_delete(g.r, "a"), 0);
	assert_false(exists("a"));
}

static void test_stale(void **state)
{
	struct daxfs_branch *b = named("b", "main");

	(void)state;
	write_text(b, "f", "text");
	assert_int_equal(daxfs_branch_delete(g.r, "b"), 0);
	check_refuses(b, -ESTALE, -ESTALE);
	assert_int_equal(ended, 1);
	assert_true(was_told("b"));
	/* the name is free; the old handle is not the new branch's */
	assert_int_equal(create("b", "main"), 0);
	check_refuses(b, -ESTALE, -ESTALE);
	check_on("b", "f", NULL);
	daxfs_branch_put(b);
}

static void test_ended_before(void **state)
{
	struct daxfs_branch *b = daxfs_branch_ended(g.r);

	(void)state;
	assert_non_null(b);
	check_refuses(b, -ESTALE, -ESTALE);
	assert_int_equal(daxfs_branch_status(b), -ESTALE);
	daxfs_branch_put(b);
	assert_int_equal(ended, 0);
}

static void test_isolation(void **state)
{
	struct daxfs_branch *a = named("a", "main"), *b = named("b", "main");
	struct daxfs_branch *m = get_branch(&g, "main");
	char got[4];

	(void)state;
	write_text(a, "f", "a's");
	write_text(b, "f", "b is longer");
	assert_int_equal(daxfs_write(a, B_FILE, "AAAA", 4, 5000, 0), 4);
	assert_int_equal(do_unlink(b, ROOT, "file"), 0);
	for (int round = 0; round < 2; round++) {
		check_text(a, "f", "a's");
		check_text(b, "f", "b is longer");
		check_text(m, "f", NULL);
		assert_int_equal(daxfs_read(a, B_FILE, got, 4, 5000), 4);
		assert_memory_equal(got, "AAAA", 4);
		assert_int_equal(daxfs_read(m, B_FILE, got, 4, 5000), 4);
		for (u32 k = 0; k < 4; k++)
			assert_int_equal((u8)got[k],
					 base_byte(B_FILE, 5000 + k));
		assert_int_equal(find_name(b, ROOT, "file"), 0);
		assert_int_equal(find_name(m, ROOT, "file"), B_FILE);
		daxfs_branch_put(a);
		daxfs_branch_put(b);
		daxfs_branch_put(m);
		reg_reopen(&g);
		a = get_branch(&g, "a");
		b = get_branch(&g, "b");
		m = get_branch(&g, "main");
	}
	daxfs_branch_put(a);
	daxfs_branch_put(b);
	daxfs_branch_put(m);
}

/*
 * main - a - b - leaf
 *    \     \   \ cousin's sister
 *     x     c - d
 */
static void test_commit_chain(void **state)
{
	static const char *const names[] = { "a", "x", "b", "c", "d", "leaf" };
	static const char *const parents[] = { "main", "main", "a",
					       "a",    "c",    "b" };
	struct daxfs_branch *h[6], *m = get_branch(&g, "main");
	struct daxfs_region_info info;

	(void)state;
	for (u32 k = 0; k < 6; k++) {
		h[k] = named(names[k], parents[k]);
		write_text(h[k], names[k], names[k]);
		if (k == 0)
			write_text(h[k], "f", "one");
		if (k == 2)
			assert_int_equal(do_unlink(h[k], ROOT, "f"), 0);
		if (k == 5) {
			write_text(h[k], "f", "three");
			assert_int_equal(do_unlink(h[k], ROOT, "a"), 0);
		}
	}
	assert_int_equal(do_unlink(h[5], ROOT, "hard1"), 0);
	assert_int_equal(daxfs_branch_commit(g.r, "leaf", &g.msg), 0);
	assert_int_equal(ended, 6);
	for (u32 k = 0; k < 6; k++) {
		check_refuses(h[k], -ESTALE, -ESTALE);
		assert_true(was_told(names[k]));
		assert_false(exists(names[k]));
		daxfs_branch_put(h[k]);
	}
	for (int round = 0; round < 2; round++) {
		check_text(m, "f", "three");
		check_text(m, "b", "b");
		check_text(m, "leaf", "leaf");
		check_text(m, "a", NULL);
		check_text(m, "x", NULL);
		check_text(m, "c", NULL);
		check_text(m, "d", NULL);
		check_text(m, "hard1", NULL);
		check_refuses(m, 0, -EROFS);
		daxfs_region_info(g.r, &info);
		assert_int_equal(info.branches, 1);
		assert_int_equal(info.commit_sequence, 1);
		assert_int_equal(info_of("main").inodes, 3);
		assert_int_equal(info_of("main").children, 0);
		daxfs_branch_put(m);
		reg_reopen(&g);
		m = get_branch(&g, "main");
	}
	daxfs_branch_put(m);
	/* the next generation grows on what was committed */
	m = named("next", "main");
	check_text(m, "f", "three");
	write_text(m, "f", "four!");
	daxfs_branch_put(m);
	assert_int_equal(daxfs_branch_commit(g.r, "next", &g.msg), 0);
	reg_reopen(&g);
	check_on("main", "f", "four!");
}

static void test_commit_sealed(void **state)
{
	struct daxfs_branch *b;

	(void)state;
	assert_int_equal(create("s", "main"), 0);
	assert_int_equal(daxfs_branch_seal(g.r, "s"), 0);
	b = named("b", "s");
	write_text(b, "f", "text");
	assert_int_equal(daxfs_branch_commit(g.r, "b", &g.msg), -EBUSY);
	assert_non_null(strstr(g.msg.text, "'s'"));
	assert_int_equal(daxfs_branch_commit(g.r, "s", &g.msg), -EBUSY);
	assert_int_equal(ended, 0);
	write_text(b, "f", "goes on");
	daxfs_branch_put(b);
	assert_true(exists("s") && exists("b"));
}

static void test_abort(void **state)
{
	struct daxfs_branch *b;

	(void)state;
	/* up to where another child, a sealed one or main is */
	b = named("x", "main");
	daxfs_branch_put(b);
	named("a", "main");
	named("b", "a");
	named("c", "b");
	named("d", "c");
	named("e", "b");
	for (u32 k = 0; k < 5; k++) {
		b = get_branch(&g, (char[]){ (char)('a' + k), 0 });
		daxfs_branch_put(b);
		daxfs_branch_put(b);
	}
	assert_int_equal(daxfs_branch_abort(g.r, "d"), 0);
	assert_false(exists("d") || exists("c"));
	assert_true(exists("b") && exists("a") && exists("e"));
	reg_reopen(&g);
	assert_false(exists("d") || exists("c"));
	assert_int_equal(daxfs_branch_abort(g.r, "e"), 0);
	assert_false(exists("e") || exists("b") || exists("a"));
	assert_true(exists("x"));

	assert_int_equal(create("s", "main"), 0);
	assert_int_equal(create("t", "s"), 0);
	assert_int_equal(daxfs_branch_seal(g.r, "s"), 0);
	assert_int_equal(daxfs_branch_abort(g.r, "t"), 0);
	assert_true(exists("s"));
	assert_false(exists("t"));
	reg_reopen(&g);
	assert_true(exists("s") && exists("x"));
	assert_false(exists("a") || exists("t"));
}

static void test_delete_one_level(void **state)
{
	(void)state;
	assert_int_equal(create("a", "main"), 0);
	assert_int_equal(create("b", "a"), 0);
	assert_int_equal(daxfs_branch_delete(g.r, "b"), 0);
	assert_true(exists("a"));
	reg_reopen(&g);
	assert_true(exists("a"));
	assert_false(exists("b"));
}

static void test_depth(void **state)
{
	char name[16], parent[16] = "main", file[16];
	struct daxfs_branch *b;

	(void)state;
	for (u32 d = 1; d <= 128; d++) {
		snprintf(name, sizeof(name), "d%u", d);
		snprintf(file, sizeof(file), "f%u", d);
		b = new_branch(&g, name, parent);
		write_text(b, file, name);
		write_text(b, "same", name);
		assert_int_equal(daxfs_write(b, B_FILE, name, 5, d * 100, 0),
				 5);
		daxfs_branch_put(b);
		memcpy(parent, name, sizeof(parent));
	}
	for (int round = 0; round < 2; round++) {
		b = get_branch(&g, "d128");
		for (u32 d = 1; d <= 128; d++) {
			char got[5];

			snprintf(name, sizeof(name), "d%u", d);
			snprintf(file, sizeof(file), "f%u", d);
			check_text(b, file, name);
			check_on(name, "same", name);
			assert_int_equal(daxfs_read(b, B_FILE, got, 5, d * 100),
					 5);
			assert_memory_equal(got, name, strlen(name) + 1);
		}
		daxfs_branch_put(b);
		reg_reopen(&g);
	}
	assert_int_equal(daxfs_branch_commit(g.r, "d128", &g.msg), 0);
	reg_reopen(&g);
	check_on("main", "f1", "d1");
	check_on("main", "same", "d128");
	assert_int_equal(info_of("main").inodes, 129);
}

static void test_too_deep(void **state)
{
	struct shape s = { .size = 16 * MB, .branches = 1100 };
	char name[16], parent[16] = "main";
	int rc = 0;
	u32 d = 0;

	(void)state;
	reg_free(&g);
	reg_new(&g, &s);
	while (!rc) {
		snprintf(name, sizeof(name), "d%u", ++d);
		rc = create(name, parent);
		memcpy(parent, name, sizeof(parent));
	}
	assert_int_equal(rc, -EMLINK);
	assert_int_equal(d, DAXFS_MAX_DEPTH + 1);
	reg_reopen(&g);
	assert_int_equal(daxfs_branch_abort(g.r, "d1024"), 0);
	assert_false(exists("d1"));
}

/* ---- Space -------------------------------------------------------------------- */

static u8 data[300000];

static void use(struct daxfs_branch *b)
{
	char name[8];

	for (u32 k = 0; k < 8; k++) {
		u64 ino;

		snprintf(name, sizeof(name), "u%u", k);
		ino = make_file(b, ROOT, name);
		assert_int_equal(daxfs_write(b, ino, data, sizeof(data), k, 0),
				 sizeof(data));
		assert_int_equal(daxfs_setxattr(b, ino, "user.x", data, 60000,
						0),
				 0);
	}
	assert_int_equal(daxfs_write(b, B_FILE, data, 9000, 4000, 0), 9000);
}

static void test_space_returns(void **state)
{
	u64 before = reg_free_segments(&g), i, n;
	struct daxfs_branch *b;
	struct daxfs_statfs st, st2;

	(void)state;
	for (int how = 0; how < 4; how++) {
		b = new_branch(&g, "b", "main");
		assert_int_equal(daxfs_statfs(b, &st), 0);
		use(b);
		assert_int_equal(daxfs_usage(b, &n, &i), 0);
		assert_int_equal(i, 8);
		assert_true(n > 8 * sizeof(data));
		assert_int_equal(info_of("b").bytes, n);
		assert_int_equal(info_of("b").inodes, 8);
		assert_int_equal(daxfs_statfs(b, &st2), 0);
		assert_true(st2.bfree * 4096 + 8 * sizeof(data) <
			    st.bfree * 4096);
		assert_true(reg_free_segments(&g) < before);
		daxfs_branch_put(b);
		if (how & 1) {
			reg_reopen(&g);
			assert_int_equal(info_of("b").bytes, n);
			assert_int_equal(info_of("b").inodes, 8);
		}
		if (how & 2)
			assert_int_equal(daxfs_branch_abort(g.r, "b"), 0);
		else
			assert_int_equal(daxfs_branch_delete(g.r, "b"), 0);
		assert_int_equal(reg_free_segments(&g), before);
	}
	reg_reopen(&g);
	assert_int_equal(reg_free_segments(&g), before);
}

static void test_space_of_files(void **state)
{
	struct daxfs_branch *b = new_branch(&g, "b", "main");
	u64 before, bytes, inodes;
	char name[8];

	(void)state;
	write_text(b, "keep", "x");
	before = reg_free_segments(&g);
	for (int round = 0; round < 3; round++) {
		use(b);
		for (u32 k = 0; k < 8; k++) {
			snprintf(name, sizeof(name), "u%u", k);
			assert_int_equal(do_unlink(b, ROOT, name), 0);
		}
		assert_int_equal(do_truncate(b, B_FILE, 0), 0);
	}
	assert_int_equal(reg_free_segments(&g), before);
	assert_int_equal(daxfs_usage(b, &bytes, &inodes), 0);
	assert_int_equal(inodes, 1);
	assert_true(bytes <= 65536 + 4096);
	daxfs_branch_put(b);
	reg_reopen(&g);
	assert_int_equal(reg_free_segments(&g), before);
}

/* Ended branches take their segments along; main keeps what it got. */
static void test_space_of_commit(void **state)
{
	u64 before = reg_free_segments(&g), after;
	struct daxfs_branch *b = new_branch(&g, "b", "main");
	struct daxfs_branch *x = new_branch(&g, "x", "main");

	(void)state;
	use(x);
	write_text(b, "f", "text");
	daxfs_branch_put(b);
	daxfs_branch_put(x);
	assert_int_equal(daxfs_branch_commit(g.r, "b", &g.msg), 0);
	after = reg_free_segments(&g);
	assert_true(before - after <= 2);
	reg_reopen(&g);
	assert_int_equal(reg_free_segments(&g), after);
}

/* What a child wrote over is the parent's no more once both are main's. */
static void test_space_overwritten(void **state)
{
	struct daxfs_branch *b;
	u64 ino, after;

	(void)state;
	b = new_branch(&g, "a", "main");
	ino = make_file(b, ROOT, "f");
	assert_int_equal(daxfs_write(b, ino, data, sizeof(data), 0, 0),
			 sizeof(data));
	daxfs_branch_put(b);
	b = new_branch(&g, "b", "a");
	assert_int_equal(daxfs_write(b, ino, data, sizeof(data), 0, 0),
			 sizeof(data));
	daxfs_branch_put(b);
	assert_int_equal(daxfs_branch_commit(g.r, "b", &g.msg), 0);
	after = reg_free_segments(&g);
	reg_reopen(&g);
	assert_true(reg_free_segments(&g) >= after);
	b = get_branch(&g, "main");
	assert_int_equal(attr_of(b, ino).size, sizeof(data));
	daxfs_branch_put(b);
}

/* ---- Compaction --------------------------------------------------------------- */

#define FILES 60u

/* What child did to its parent's file k: one thing each. */
static void alter(struct daxfs_branch *b, u32 k)
{
	char name[16];
	u64 ino;

	snprintf(name, sizeof(name), "file%u", k);
	ino = find_name(b, ROOT, name);
	assert_int_not_equal(ino, 0);
	switch (k % 6) {
	case 0:
		assert_int_equal(do_unlink(b, ROOT, name), 0);
		break;
	case 1:
		assert_int_equal(do_truncate(b, ino, 5000), 0);
		assert_int_equal(do_truncate(b, ino, 20000), 0);
		break;
	case 2:
		assert_int_equal(daxfs_removexattr(b, ino, "user.x"), 0);
		break;
	case 3:
		assert_int_equal(daxfs_write(b, ino, "new", 3, 9000, 0), 3);
		break;
	case 4:
		assert_int_equal(do_rename(b, ROOT, name, B_DIR, name, 0), 0);
		break;
	}
}

static void check_altered(struct daxfs_branch *b, u32 k)
{
	static u8 got[20000];
	char name[16];
	u64 ino, here;

	snprintf(name, sizeof(name), "file%u", k);
	here = find_name(b, ROOT, name);
	ino = k % 6 == 4 ? find_name(b, B_DIR, name) : here;
	assert_int_equal(here != 0, k % 6 != 0 && k % 6 != 4);
	if (k % 6 == 0)
		return;
	assert_int_equal(daxfs_getxattr(b, ino, "user.x", got, 9),
			 k % 6 == 2 ? -ENODATA : 1);
	assert_int_equal(daxfs_read(b, ino, got, sizeof(got), 0), 20000);
	for (u32 i = 0; i < 20000; i++) {
		u8 want = (u8)(k + 1);

		if (k % 6 == 1 && i >= 5000)
			want = 0;
		if (k % 6 == 3 && i >= 9000 && i < 9003)
			want = (u8) "new"[i - 9000];
		if (got[i] != want)
			fail_msg("file %u byte %u is %u", k, i, got[i]);
	}
}

/* Records without effect, until the log was written anew more than once. */
static void churn(struct daxfs_branch *b)
{
	struct daxfs_attr a = { 0 };

	for (u32 k = 0; k < 30000; k++) {
		a.uid = k;
		assert_int_equal(daxfs_setattr(b, B_EMPTY, DAXFS_SET_UID, &a,
					       NULL),
				 0);
	}
}

static void test_compaction(void **state)
{
	struct daxfs_branch *b = new_branch(&g, "p", "main");
	char name[16];
	u64 bytes, inodes, ino;

	(void)state;
	for (u32 k = 0; k < FILES; k++) {
		snprintf(name, sizeof(name), "file%u", k);
		ino = make_file(b, ROOT, name);
		memset(data, (int)k + 1, 20000);
		assert_int_equal(daxfs_write(b, ino, data, 20000, 0, 0), 20000);
		assert_int_equal(daxfs_setxattr(b, ino, "user.x", "v", 1, 0),
				 0);
	}
	churn(b);
	daxfs_branch_put(b);
	b = new_branch(&g, "c", "p");
	for (u32 k = 0; k < FILES; k++)
		alter(b, k);
	churn(b);
	assert_int_equal(daxfs_usage(b, &bytes, &inodes), 0);
	/* 30,000 records of 152 bytes are 70 segments */
	assert_true(bytes < 50 * 65536ull);
	/* as it is, read back, committed, and that read back */
	for (int round = 0; round < 4; round++) {
		for (u32 k = 0; k < FILES; k++)
			check_altered(b, k);
		assert_int_equal(attr_of(b, B_EMPTY).uid, 29999);
		daxfs_branch_put(b);
		if (round == 1)
			assert_int_equal(daxfs_branch_commit(g.r, "c", &g.msg),
					 0);
		else
			reg_reopen(&g);
		b = get_branch(&g, round < 1 ? "c" : "main");
	}
	daxfs_branch_put(b);
}

static void test_lifecycles(void **state)
{
	u64 n = env_number("DAXFS_LIFECYCLES", 100000);
	u64 before = reg_free_segments(&g);
	double start = seconds();

	(void)state;
	for (u64 k = 0; k < n; k++) {
		struct daxfs_branch *b;
		u64 ino;

		assert_int_equal(create("b", "main"), 0);
		assert_int_equal(daxfs_branch_get(g.r, "b", &b), 0);
		ino = make_file(b, ROOT, "f");
		assert_int_equal(daxfs_write(b, ino, data, 5000, 0, 0), 5000);
		if (k & 1)
			assert_int_equal(daxfs_branch_delete(g.r, "b"), 0);
		else
			assert_int_equal(daxfs_branch_abort(g.r, "b"), 0);
		daxfs_branch_put(b);
	}
	assert_int_equal(reg_free_segments(&g), before);
	assert_int_equal(ended, n);
	/* far more than it takes, far less than anything quadratic would */
	assert_true(seconds() - start < 60);
	reg_reopen(&g);
	assert_int_equal(reg_free_segments(&g), before);
}

/* What commits replace is freed: the region holds many more than fit. */
static void test_many_commits(void **state)
{
	struct daxfs_region_info before, after;
	struct daxfs_branch *b;
	char text[16];

	(void)state;
	daxfs_region_info(g.r, &before);
	for (u32 k = 0; k < 3000; k++) {
		snprintf(text, sizeof(text), "round %05u", k);
		b = new_branch(&g, "p", "main");
		write_text(b, "f", "parent text");
		daxfs_branch_put(b);
		b = new_branch(&g, "b", "p");
		write_text(b, "f", text);
		daxfs_branch_put(b);
		if (daxfs_branch_commit(g.r, "b", &g.msg))
			fail_msg("commit %u: %s", k, g.msg.text);
		check_on("main", "f", text);
	}
	daxfs_region_info(g.r, &after);
	assert_true(after.segments_free + 40 > before.segments_free);
	reg_reopen(&g);
	daxfs_region_info(g.r, &before);
	assert_int_equal(before.segments_free, after.segments_free);
	check_on("main", "f", text);
}

/* ---- Threads --------------------------------------------------------------------- */

/* Works on a branch until that ends; any other error is one. */
static void *work_until_stale(void *arg)
{
	struct daxfs_branch *b = arg;
	struct daxfs_new n = { .mode = S_IFREG | 0644 };
	struct daxfs_attr a;
	static u32 turn;
	char got[8], name[16];
	intptr_t rc = 0;

	/* a branch that is being committed is read-only first */
	while (!rc || rc == -EROFS) {
		snprintf(name, sizeof(name), "t%08u",
			 __atomic_fetch_add(&turn, 1, __ATOMIC_RELAXED));
		rc = daxfs_make(b, ROOT, name, 9, &n, &a);
		if (!rc)
			rc = daxfs_write(b, a.ino, "text", 4, 4000, 0);
		if (rc == 4)
			rc = daxfs_read(b, a.ino, got, 4, 4000);
		if (rc == 4)
			rc = daxfs_unlink(b, ROOT, name, 9, NULL);
		if (!rc)
			rc = daxfs_evict(b, a.ino);
		if (!rc)
			rc = daxfs_getattr(b, B_FILE, &a);
	}
	return (void *)rc;
}

static void test_end_under_use(void **state)
{
	static const char *const names[] = { "x", "y", "leaf" };

	(void)state;
	for (u32 round = 0; round < 60; round++) {
		struct daxfs_branch *b[3];
		pthread_t t[3];
		void *rc;

		for (u32 k = 0; k < 3; k++) {
			b[k] = new_branch(&g, names[k], "main");
			assert_int_equal(pthread_create(&t[k], NULL,
							work_until_stale, b[k]),
					 0);
		}
		for (u32 k = 0; k < round % 8; k++)
			sched_yield();
		if (round % 2) {
			assert_int_equal(daxfs_branch_abort(g.r, "x"), 0);
			assert_int_equal(daxfs_branch_delete(g.r, "y"), 0);
		}
		if (round % 4 < 3)
			assert_int_equal(daxfs_branch_delete(g.r, "leaf"), 0);
		if (round % 4 == 3)
			assert_int_equal(daxfs_branch_commit(g.r, "leaf",
							     &g.msg),
					 0);
		if (round % 2 == 0)
			assert_int_equal(daxfs_branch_commit(g.r, "x", &g.msg),
					 0);
		for (u32 k = 0; k < 3; k++) {
			assert_int_equal(pthread_join(t[k], &rc), 0);
			assert_int_equal((intptr_t)rc, -ESTALE);
			daxfs_branch_put(b[k]);
		}
		assert_int_equal(info_of("main").children, 0);
	}
	reg_reopen(&g);
}

#define UNLINKERS 4u
#define NAMES 800u

struct unlinker {
	pthread_t thread;
	struct daxfs_branch *b;
	u32 first;
};

static void number_name(char name[16], u32 k)
{
	snprintf(name, 16, "o%u", k);
}

/* Unlinks its share of names and leaves the inodes, as if files were open. */
static void *unlink_until_stale(void *arg)
{
	const struct unlinker *u = arg;
	char name[16];
	int rc = 0;

	for (u32 k = u->first; !rc && k < NAMES; k += UNLINKERS) {
		number_name(name, k);
		rc = daxfs_unlink(u->b, ROOT, name, strlen(name), NULL);
	}
	return (void *)(intptr_t)rc;
}

static int count_name(void *ctx, const struct daxfs_dirent *d)
{
	(void)d;
	++*(u64 *)ctx;
	return 0;
}

static void commit_while_unlinking(u32 pause)
{
	struct unlinker u[UNLINKERS];
	struct daxfs_branch *b = new_branch(&g, "b", "main");
	char name[16];
	void *rc;

	for (u32 k = 0; k < NAMES; k++) {
		number_name(name, k);
		make_file(b, ROOT, name);
	}
	for (u32 k = 0; k < UNLINKERS; k++) {
		u[k].b = b;
		u[k].first = k;
		assert_int_equal(pthread_create(&u[k].thread, NULL,
						unlink_until_stale, &u[k]),
				 0);
	}
	for (u32 k = 0; k < pause; k++)
		sched_yield();
	assert_int_equal(daxfs_branch_commit(g.r, "b", &g.msg), 0);
	for (u32 k = 0; k < UNLINKERS; k++) {
		assert_int_equal(pthread_join(u[k].thread, &rc), 0);
		assert_true(!rc || (intptr_t)rc == -ESTALE);
	}
	daxfs_branch_put(b);
}

/* What loses its name while a commit begins does not stay in main for ever. */
static void test_unlink_during_commit(void **state)
{
	struct shape s = { .size = 16 * MB, .branches = 8 };
	struct daxfs_branch *m;

	(void)state;
	for (u32 round = 0; round < 100; round++) {
		u64 names = 0;

		reg_free(&g);
		reg_new(&g, &s);
		commit_while_unlinking(round);
		m = get_branch(&g, "main");
		assert_int_equal(daxfs_readdir(m, ROOT, 0, count_name, &names),
				 0);
		daxfs_branch_put(m);
		assert_int_equal(info_of("main").inodes, names);
	}
}

/* A handle on a base image that version 4 tools made. */
static void test_plain_base(void **state)
{
	struct shape s = {
		.size = 8 * MB, .branches = 8, .base = true, .plain = true
	};
	struct daxfs_branch *b;
	char got[8];

	(void)state;
	reg_free(&g);
	reg_new(&g, &s);
	b = new_branch(&g, "b", "main");
	assert_int_equal(find_name(b, ROOT, "hard2"), B_HARD);
	assert_int_equal(find_name(b, B_MANY, "f199"), B_COUNT);
	assert_int_equal(daxfs_readlink(b, B_LINK, got, 8), 5);
	assert_memory_equal(got, B_LINK_TARGET, 5);
	assert_int_equal(attr_of(b, B_FILE).mtime.sec, 0);
	assert_int_equal(daxfs_listxattr(b, B_FILE, NULL, 0), 0);
	assert_int_equal(do_unlink(b, B_MANY, "f100"), 0);
	assert_int_equal(find_name(b, B_MANY, "f100"), 0);
	assert_int_equal(attr_of(b, B_MANY).size, (B_MANY_FILES - 1) * 271);
	daxfs_branch_put(b);
}

static void test_readonly_region(void **state)
{
	struct daxfs_backing bk;
	struct daxfs_branch *b;

	(void)state;
	b = new_branch(&g, "b", "main");
	write_text(b, "f", "text");
	daxfs_branch_put(b);
	daxfs_region_close(g.r);
	bk = (struct daxfs_backing){ .base = g.mem.base,
				     .size = g.mem.size,
				     .readonly = true };
	assert_int_equal(mprotect(g.mem.base, g.mem.size, PROT_READ), 0);
	assert_int_equal(daxfs_region_open(&bk, 0, &g.r, &g.msg), 0);
	b = get_branch(&g, "b");
	check_text(b, "f", "text");
	check_refuses(b, 0, -EROFS);
	assert_int_equal(create("n", "main"), -EROFS);
	assert_int_equal(daxfs_branch_seal(g.r, "b"), -EROFS);
	assert_int_equal(daxfs_branch_delete(g.r, "b"), -EROFS);
	assert_int_equal(daxfs_branch_abort(g.r, "b"), -EROFS);
	assert_int_equal(daxfs_branch_commit(g.r, "b", &g.msg), -EROFS);
	assert_int_equal(daxfs_branch_set_persistent(g.r, "b", true), -EROFS);
	daxfs_branch_put(b);
}

/*
 * A branch that was persistent when the last of its children ended stays: also
 * when it is not persistent any more, and the region is opened anew.
 */
static void test_drop_not_later(void **state)
{
	struct daxfs_branch *b;

	(void)state;
	assert_int_equal(daxfs_branch_create(g.r, "b", "main",
					     DAXFS_BRANCH_PERSISTENT),
			 0);
	assert_int_equal(daxfs_branch_create(g.r, "c", "b", 0), 0);
	assert_int_equal(daxfs_branch_drop(g.r, "b"), -EBUSY);
	assert_int_equal(daxfs_branch_delete(g.r, "c"), 0);
	assert_int_equal(daxfs_branch_set_persistent(g.r, "b", false), 0);
	reg_reopen(&g);
	assert_int_equal(daxfs_branch_get(g.r, "b", &b), 0);
	daxfs_branch_put(b);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_drop_not_later),
		T(test_names),
		T(test_main),
		T(test_table_full),
		T(test_list),
		T(test_frozen_parent),
		T(test_seal),
		T(test_stale),
		T(test_ended_before),
		T(test_isolation),
		T(test_commit_chain),
		T(test_commit_sealed),
		T(test_abort),
		T(test_delete_one_level),
		T(test_depth),
		T(test_too_deep),
		T(test_space_returns),
		T(test_space_of_files),
		T(test_space_of_commit),
		T(test_space_overwritten),
		T(test_compaction),
		T(test_lifecycles),
		T(test_many_commits),
		T(test_end_under_use),
		T(test_unlink_during_commit),
		T(test_plain_base),
		T(test_readonly_region),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
