// SPDX-License-Identifier: Apache-2.0
/* The rule of each file operation, on files of every origin. */
#include "core_util.h"

#include "core/internal.h"

static struct reg g;
static struct daxfs_branch *b;

static int setup(void **state)
{
	struct shape s = { .size = 24 * MB, .branches = 16, .base = true };

	(void)state;
	reg_new(&g, &s);
	b = new_branch(&g, "b", "main");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	daxfs_branch_put(b);
	reg_free(&g);
	return 0;
}

static void reopen(void)
{
	daxfs_branch_put(b);
	reg_reopen(&g);
	b = get_branch(&g, "b");
}

static u32 nlink_of(u64 ino)
{
	return attr_of(b, ino).nlink;
}

static u64 entries_of(u64 dir)
{
	u64 size = attr_of(b, dir).size;

	assert_int_equal(size % 271, 0);
	return size / 271;
}

/* ---- Making -------------------------------------------------------------------- */

static void test_make_kinds(void **state)
{
	static const u32 kinds[] = { S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR,
				     S_IFBLK, S_IFIFO, S_IFSOCK };
	char name[8];

	(void)state;
	for (u32 k = 0; k < 7; k++) {
		struct daxfs_new n = { .mode = kinds[k] | 0641,
				       .uid = 3,
				       .gid = 4,
				       .rdev = daxfs_makedev(259, 70000),
				       .target = "/x/y" };
		struct daxfs_attr a, a2;

		snprintf(name, sizeof(name), "n%u", k);
		assert_int_equal(daxfs_make(b, ROOT, name, 2, &n, &a), 0);
		a2 = attr_of(b, a.ino);
		assert_int_equal(a.ino, a2.ino);
		assert_int_equal(a.mode, kinds[k] | 0641);
		assert_int_equal(a2.mode, kinds[k] | 0641);
		assert_int_equal(a.uid, 3);
		assert_int_equal(a.gid, 4);
		assert_int_equal(a.nlink, kinds[k] == S_IFDIR ? 2 : 1);
		assert_int_equal(a.size, kinds[k] == S_IFLNK ? 4 : 0);
		assert_int_equal(a.rdev,
				 kinds[k] == S_IFCHR || kinds[k] == S_IFBLK
					 ? n.rdev
					 : 0);
		assert_true(a.btime.sec > B_MTIME);
		assert_int_equal(a.btime.sec, a.mtime.sec);
		assert_int_equal(find_name(b, ROOT, name), a.ino);
	}
	assert_int_equal(daxfs_major(daxfs_makedev(259, 70000)), 259);
	assert_int_equal(daxfs_minor(daxfs_makedev(259, 70000)), 70000);
	reopen();
	assert_int_equal(attr_of(b, find_name(b, ROOT, "n3")).rdev,
			 daxfs_makedev(259, 70000));
}

static int make_named(u64 dir, const char *name, size_t len)
{
	struct daxfs_new n = { .mode = S_IFREG | 0644 };

	return daxfs_make(b, dir, name, len, &n, NULL);
}

static void test_make_errors(void **state)
{
	struct daxfs_new n = { .mode = S_IFLNK | 0777 };
	char longest[300], target[4200];
	u64 dir;

	(void)state;
	memset(longest, 'x', sizeof(longest));
	assert_int_equal(make_named(ROOT, "file", 4), -EEXIST);
	assert_int_equal(make_named(ROOT, "dir", 3), -EEXIST);
	assert_int_equal(make_named(B_FILE, "a", 1), -ENOTDIR);
	assert_int_equal(make_named(999999, "a", 1), -ENOENT);
	assert_int_equal(make_named(0, "a", 1), -ENOENT);
	assert_int_equal(make_named(ROOT, "", 0), -ENOENT);
	assert_int_equal(make_named(ROOT, ".", 1), -EINVAL);
	assert_int_equal(make_named(ROOT, "..", 2), -EINVAL);
	assert_int_equal(make_named(ROOT, "a/b", 3), -EINVAL);
	assert_int_equal(make_named(ROOT, "a\0b", 3), -EINVAL);
	assert_int_equal(make_named(ROOT, longest, 256), -ENAMETOOLONG);
	assert_int_equal(make_named(ROOT, longest, 255), 0);
	assert_int_equal(make_named(ROOT, "...", 3), 0);
	assert_int_equal(make_named(ROOT, "\xff\x01 \n", 4), 0);
	n.target = "";
	assert_int_equal(daxfs_make(b, ROOT, "s", 1, &n, NULL), -ENOENT);
	memset(target, 't', sizeof(target));
	target[4096] = 0;
	n.target = target;
	assert_int_equal(daxfs_make(b, ROOT, "s", 1, &n, NULL), -ENAMETOOLONG);
	target[4095] = 0;
	assert_int_equal(daxfs_make(b, ROOT, "s", 1, &n, NULL), 0);
	assert_int_equal(make_any(b, ROOT, "z", 0644, NULL), -EINVAL);
	assert_int_equal(make_any(b, ROOT, "z", S_IFMT | 0644, NULL), -EINVAL);
	dir = make_dir(b, ROOT, "gone");
	assert_int_equal(daxfs_rmdir(b, ROOT, "gone", 4, NULL), 0);
	assert_int_equal(make_named(dir, "a", 1), -ENOENT);
	assert_int_equal(daxfs_evict(b, dir), 0);
	assert_int_equal(make_named(dir, "a", 1), -ENOENT);
	reopen();
	assert_int_equal(daxfs_readlink(b, find_name(b, ROOT, "s"), longest,
					10),
			 4095);
	assert_int_equal(make_named(ROOT, longest, 0), -ENOENT);
}

static void test_setgid_directory(void **state)
{
	struct daxfs_new d = { .mode = S_IFDIR | 02755, .gid = 50 };
	struct daxfs_new n = { .mode = S_IFREG | 0644, .gid = 7 };
	struct daxfs_attr a;
	u64 dir;

	(void)state;
	assert_int_equal(daxfs_make(b, ROOT, "sg", 2, &d, &a), 0);
	dir = a.ino;
	assert_int_equal(daxfs_make(b, dir, "f", 1, &n, &a), 0);
	assert_int_equal(a.gid, 50);
	assert_int_equal(a.mode, S_IFREG | 0644);
	d.mode = S_IFDIR | 0700;
	d.gid = 7;
	assert_int_equal(daxfs_make(b, dir, "d", 1, &d, &a), 0);
	assert_int_equal(a.gid, 50);
	assert_int_equal(a.mode, S_IFDIR | 02700);
	assert_int_equal(daxfs_make(b, ROOT, "plain", 5, &n, &a), 0);
	assert_int_equal(a.gid, 7);
}

/* setgid that was asked for stays; who may ask is the front's business. */
static void test_setgid_file(void **state)
{
	struct daxfs_new d = { .mode = S_IFDIR | 02777, .gid = 50 };
	struct daxfs_new n = { .mode = S_IFREG | 06775, .umask = 022 };
	struct daxfs_attr a;

	(void)state;
	assert_int_equal(daxfs_make(b, ROOT, "sg", 2, &d, &a), 0);
	assert_int_equal(daxfs_make(b, a.ino, "f", 1, &n, &a), 0);
	assert_int_equal(a.mode, S_IFREG | 06755);
	assert_int_equal(a.gid, 50);
}

static int make_tmp(u64 dir, u32 flags, u64 *ino)
{
	struct daxfs_new n = { .mode = S_IFREG | 0666, .umask = 022, .uid = 3 };
	struct daxfs_attr a = { 0 };
	int rc = daxfs_tmpfile(b, dir, &n, flags, &a);

	if (!rc) {
		assert_int_equal(a.mode, S_IFREG | 0644);
		assert_int_equal(a.nlink, 0);
		assert_int_equal(a.uid, 3);
	}
	*ino = a.ino;
	return rc;
}

static int link_to(u64 ino, u64 dir, const char *name);

static void test_tmpfile(void **state)
{
	struct daxfs_new n = { .mode = S_IFDIR | 0755 };
	u64 dir = make_dir(b, ROOT, "gone"), f, excl, left, entries, x;

	(void)state;
	entries = entries_of(ROOT);
	assert_int_equal(daxfs_tmpfile(b, ROOT, &n, 0, NULL), -EINVAL);
	assert_int_equal(make_tmp(ROOT, 2, &x), -EINVAL);
	assert_int_equal(make_tmp(B_FILE, 0, &x), -ENOTDIR);
	assert_int_equal(make_tmp(9999, 0, &x), -ENOENT);
	assert_int_equal(daxfs_rmdir(b, ROOT, "gone", 4, NULL), 0);
	assert_int_equal(make_tmp(dir, 0, &x), -ENOENT);
	assert_int_equal(make_tmp(ROOT, 0, &f), 0);
	assert_int_equal(make_tmp(ROOT, DAXFS_TMPFILE_EXCL, &excl), 0);
	assert_int_equal(make_tmp(B_DIR, 0, &left), 0);
	assert_int_equal(entries_of(ROOT), entries - 1);
	assert_int_equal(daxfs_write(b, f, "abc", 3, 0, 0), 3);
	reopen();
	assert_int_equal(nlink_of(f), 0);
	assert_int_equal(link_to(excl, ROOT, "excl"), -ENOENT);
	assert_int_equal(link_to(f, ROOT, "file"), -EEXIST);
	assert_int_equal(link_to(f, ROOT, "f"), 0);
	assert_int_equal(link_to(f, ROOT, "f2"), 0);
	assert_int_equal(nlink_of(f), 2);
	/* once it had a name it is like any other */
	assert_int_equal(daxfs_unlink(b, ROOT, "f", 1, NULL), 0);
	assert_int_equal(daxfs_unlink(b, ROOT, "f2", 2, NULL), 0);
	reopen();
	assert_int_equal(link_to(f, ROOT, "f"), -ENOENT);
	assert_int_equal(daxfs_evict(b, left), 0);
	assert_int_equal(link_to(left, ROOT, "left"), -ENOENT);
	assert_int_equal(daxfs_evict_orphans(b), 0);
	assert_int_equal(daxfs_getattr(b, excl, &(struct daxfs_attr){ 0 }),
			 -ENOENT);
}

/* Call fn with the inode records of the region's logs; true ends it. */
static bool each_inode_record(bool (*fn)(struct daxfs_txn *t,
					 struct daxfs_rec_inode *i))
{
	const struct daxfs_super *sb = (const void *)g.mem.base;

	for (u32 k = 0; k < le32toh(sb->segment_count); k++) {
		u8 *seg = g.mem.base + le64toh(sb->segment_data_offset) +
			  (u64)k * le32toh(sb->segment_size);
		const struct daxfs_log_header *h = (const void *)seg;
		u64 pos = sizeof(*h);

		if (le32toh(h->magic) != DAXFS_LOG_MAGIC)
			continue;
		while (pos < le64toh(h->tail)) {
			struct daxfs_txn *t = (void *)(seg + pos);
			const struct daxfs_rec *rec = NULL;

			while ((rec = rec_next(t, rec)))
				if (le16toh(rec->type) == DAXFS_REC_INODE &&
				    fn(t, (struct daxfs_rec_inode *)rec))
					return true;
			pos += le32toh(t->h.total_size);
		}
	}
	return false;
}

static bool set_unknown_flag(struct daxfs_txn *t, struct daxfs_rec_inode *i)
{
	if (!i->flags)
		return false;
	i->flags = htole32(3);
	t->crc = htole32(txn_crc(t));
	return true;
}

static void test_inode_flags(void **state)
{
	struct daxfs_attr a;
	bool repaired;
	u64 f;

	(void)state;
	assert_int_equal(make_tmp(ROOT, 0, &f), 0);
	daxfs_branch_put(b);
	daxfs_region_close(g.r);
	assert_true(each_inode_record(set_unknown_flag));
	assert_int_equal(reg_open(&g, 0), 0);
	assert_int_equal(daxfs_branch_problem(g.r, "b", &g.msg, &repaired), 0);
	assert_non_null(strstr(g.msg.text, "unknown flag"));
	b = get_branch(&g, "b");
	assert_int_equal(daxfs_getattr(b, ROOT, &a), -EUCLEAN);
}

/* ---- Links ------------------------------------------------------------------------- */

static int link_to(u64 ino, u64 dir, const char *name)
{
	return daxfs_link(b, ino, dir, name, strlen(name), NULL);
}

static void test_link(void **state)
{
	u64 f = make_file(b, ROOT, "f"), dir = make_dir(b, ROOT, "d");

	(void)state;
	assert_int_equal(link_to(f, dir, "g"), 0);
	assert_int_equal(nlink_of(f), 2);
	assert_int_equal(find_name(b, dir, "g"), f);
	assert_int_equal(link_to(dir, ROOT, "x"), -EPERM);
	assert_int_equal(link_to(ROOT, ROOT, "x"), -EPERM);
	assert_int_equal(link_to(f, dir, "g"), -EEXIST);
	assert_int_equal(link_to(f, B_FILE, "x"), -ENOTDIR);
	assert_int_equal(link_to(f, 77777, "x"), -ENOENT);
	assert_int_equal(link_to(77777, ROOT, "x"), -ENOENT);
	assert_int_equal(link_to(f, ROOT, ".."), -EINVAL);
	assert_int_equal(link_to(B_LINK, ROOT, "link2"), 0);
	assert_int_equal(link_to(B_DEV, ROOT, "dev2"), 0);
	/* base inode with two base names and a third of ours */
	assert_int_equal(nlink_of(B_HARD), 2);
	assert_int_equal(link_to(B_HARD, dir, "hard3"), 0);
	assert_int_equal(do_unlink(b, ROOT, "hard1"), 0);
	assert_int_equal(do_unlink(b, ROOT, "hard2"), 0);
	assert_int_equal(nlink_of(B_HARD), 1);
	reopen();
	assert_int_equal(nlink_of(B_HARD), 1);
	assert_int_equal(find_name(b, dir, "hard3"), B_HARD);
	assert_int_equal(do_unlink(b, dir, "hard3"), 0);
	assert_int_equal(daxfs_getattr(b, B_HARD, &(struct daxfs_attr){ 0 }),
			 -ENOENT);
	assert_int_equal(do_unlink(b, ROOT, "f"), 0);
	assert_int_equal(nlink_of(f), 1);
	assert_int_equal(daxfs_unlink(b, dir, "g", 1, NULL), 0);
	assert_int_equal(nlink_of(f), 0);
	assert_int_equal(link_to(f, ROOT, "back"), -ENOENT);
}

static void test_orphans(void **state)
{
	u64 f = make_file(b, ROOT, "f"), ino = 0, bytes, n, n0;
	struct daxfs_attr a;
	char got[4] = "";

	(void)state;
	assert_int_equal(daxfs_usage(b, &bytes, &n0), 0);
	assert_int_equal(daxfs_write(b, f, "abc", 3, 0, 0), 3);
	assert_int_equal(daxfs_unlink(b, ROOT, "f", 1, &ino), 0);
	assert_int_equal(ino, f);
	assert_int_equal(find_name(b, ROOT, "f"), 0);
	/* open files go on working */
	assert_int_equal(daxfs_write(b, f, "X", 1, 1, 0), 1);
	assert_int_equal(daxfs_read(b, f, got, 4, 0), 3);
	assert_string_equal(got, "aXc");
	reopen();
	assert_int_equal(nlink_of(f), 0);
	assert_int_equal(daxfs_evict(b, f), 0);
	assert_int_equal(daxfs_getattr(b, f, &a), -ENOENT);
	assert_int_equal(daxfs_evict(b, f), 0);
	assert_int_equal(daxfs_usage(b, &bytes, &n), 0);
	assert_int_equal(n, n0 - 1);
	/* with names left, or unknown: nothing happens */
	assert_int_equal(daxfs_evict(b, B_FILE), 0);
	assert_int_equal(daxfs_evict(b, 424242), 0);
	assert_int_equal(nlink_of(B_FILE), 1);
	assert_int_equal(daxfs_unlink(b, ROOT, "file", 4, NULL), 0);
	assert_int_equal(daxfs_unlink(b, ROOT, "empty", 5, NULL), 0);
	reopen();
	assert_int_equal(daxfs_evict_orphans(b), 0);
	assert_int_equal(daxfs_getattr(b, B_FILE, &a), -ENOENT);
	assert_int_equal(daxfs_getattr(b, B_EMPTY, &a), -ENOENT);
}

/* ---- Removing ------------------------------------------------------------------------ */

static int rm(u64 dir, const char *name)
{
	return daxfs_unlink(b, dir, name, strlen(name), NULL);
}

static int rmd(u64 dir, const char *name)
{
	return daxfs_rmdir(b, dir, name, strlen(name), NULL);
}

static void test_remove(void **state)
{
	char longest[256];

	(void)state;
	memset(longest, 'x', sizeof(longest));
	assert_int_equal(rm(ROOT, "none"), -ENOENT);
	assert_int_equal(rm(ROOT, "dir"), -EISDIR);
	assert_int_equal(rm(B_FILE, "a"), -ENOTDIR);
	assert_int_equal(rmd(ROOT, "file"), -ENOTDIR);
	assert_int_equal(rmd(ROOT, "none"), -ENOENT);
	assert_int_equal(rmd(ROOT, "dir"), -ENOTEMPTY);
	assert_int_equal(daxfs_unlink(b, ROOT, longest, 256, NULL),
			 -ENAMETOOLONG);
	/* a base directory emptied entry by entry */
	assert_int_equal(nlink_of(B_DIR), 3);
	assert_int_equal(rm(B_DIR, "a"), 0);
	assert_int_equal(rmd(B_DIR, "sub"), -ENOTEMPTY);
	assert_int_equal(rm(B_SUB, "deep"), 0);
	assert_int_equal(rmd(B_DIR, "sub"), 0);
	assert_int_equal(nlink_of(B_DIR), 2);
	assert_int_equal(nlink_of(B_SUB), 0);
	assert_int_equal(entries_of(B_DIR), 0);
	assert_int_equal(nlink_of(ROOT), 4);
	assert_int_equal(rmd(ROOT, "dir"), 0);
	assert_int_equal(nlink_of(ROOT), 3);
	assert_int_equal(rmd(ROOT, "dir"), -ENOENT);
	reopen();
	assert_int_equal(find_name(b, ROOT, "dir"), 0);
	/* the name comes back with another inode, and without the old names */
	assert_int_not_equal(make_dir(b, ROOT, "dir"), B_DIR);
	assert_int_equal(entries_of(find_name(b, ROOT, "dir")), 0);
	assert_int_equal(nlink_of(ROOT), 4);
}

/* ---- Rename ------------------------------------------------------------------------------ */

static int mv(u64 od, const char *on, u64 nd, const char *nn, u32 flags)
{
	return do_rename(b, od, on, nd, nn, flags);
}

static void test_rename_errors(void **state)
{
	u64 d = make_dir(b, ROOT, "d"), e = make_dir(b, d, "e");
	u64 f = make_file(b, e, "f");
	char longest[256];

	(void)state;
	memset(longest, 'x', sizeof(longest));
	assert_int_equal(mv(ROOT, "none", ROOT, "x", 0), -ENOENT);
	assert_int_equal(mv(ROOT, "file", 9999, "x", 0), -ENOENT);
	assert_int_equal(mv(9999, "file", ROOT, "x", 0), -ENOENT);
	assert_int_equal(mv(ROOT, "file", B_A, "x", 0), -ENOTDIR);
	assert_int_equal(mv(B_A, "file", ROOT, "x", 0), -ENOTDIR);
	assert_int_equal(mv(ROOT, "file", ROOT, "", 0), -ENOENT);
	assert_int_equal(mv(ROOT, "file", ROOT, "..", 0), -EINVAL);
	assert_int_equal(mv(ROOT, "file", ROOT, "a/b", 0), -EINVAL);
	assert_int_equal(daxfs_rename(b, ROOT, "file", 4, ROOT, longest, 256, 0,
				      NULL),
			 -ENAMETOOLONG);
	assert_int_equal(daxfs_rename(b, ROOT, longest, 256, ROOT, "x", 1, 0,
				      NULL),
			 -ENAMETOOLONG);
	/* into itself and below */
	assert_int_equal(mv(ROOT, "d", d, "x", 0), -EINVAL);
	assert_int_equal(mv(ROOT, "d", e, "x", 0), -EINVAL);
	assert_int_equal(mv(ROOT, "d", e, "f", DAXFS_RENAME_EXCHANGE), -EINVAL);
	assert_int_equal(mv(e, "f", ROOT, "d", DAXFS_RENAME_EXCHANGE), -EINVAL);
	assert_int_equal(mv(ROOT, "d", d, "e", 0), -EINVAL);
	/* kinds */
	assert_int_equal(mv(ROOT, "file", ROOT, "d", 0), -EISDIR);
	assert_int_equal(mv(ROOT, "d", ROOT, "file", 0), -ENOTDIR);
	assert_int_equal(mv(ROOT, "many", ROOT, "d", 0), -ENOTEMPTY);
	assert_int_equal(mv(d, "e", ROOT, "d", 0), -ENOTEMPTY);
	/* flags */
	assert_int_equal(mv(e, "f", ROOT, "file", DAXFS_RENAME_NOREPLACE),
			 -EEXIST);
	assert_int_equal(mv(e, "f", e, "f", DAXFS_RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(mv(e, "f", ROOT, "none", DAXFS_RENAME_EXCHANGE),
			 -ENOENT);
	assert_int_equal(mv(e, "f", ROOT, "x", 3), -EINVAL);
	assert_int_equal(mv(e, "f", ROOT, "x", 6), -EINVAL);
	assert_int_equal(mv(e, "f", ROOT, "x", 8), -EINVAL);
	/* a directory that is gone */
	assert_int_equal(daxfs_rmdir(b, ROOT, "none", 4, NULL), -ENOENT);
	make_dir(b, ROOT, "gone");
	d = find_name(b, ROOT, "gone");
	assert_int_equal(daxfs_rmdir(b, ROOT, "gone", 4, NULL), 0);
	assert_int_equal(mv(e, "f", d, "x", 0), -ENOENT);
	assert_int_equal(find_name(b, e, "f"), f);
}

static void test_rename(void **state)
{
	u64 d = make_dir(b, ROOT, "d"), e = make_dir(b, d, "e");
	u64 f = make_file(b, ROOT, "f"), root_links = nlink_of(ROOT), x, p;
	u64 root_entries = entries_of(ROOT), victim = 1;

	(void)state;
	/* in place, to itself, to a hard link of itself */
	assert_int_equal(mv(ROOT, "f", ROOT, "f2", 0), 0);
	assert_int_equal(find_name(b, ROOT, "f"), 0);
	assert_int_equal(find_name(b, ROOT, "f2"), f);
	assert_int_equal(mv(ROOT, "f2", ROOT, "f2", 0), 0);
	assert_int_equal(mv(ROOT, "d", ROOT, "d", 0), 0);
	assert_int_equal(mv(ROOT, "dir", ROOT, "dir", DAXFS_RENAME_EXCHANGE),
			 0);
	assert_int_equal(mv(ROOT, "hard1", ROOT, "hard2", 0), 0);
	assert_int_equal(find_name(b, ROOT, "hard1"), B_HARD);
	assert_int_equal(nlink_of(B_HARD), 2);
	assert_int_equal(entries_of(ROOT), root_entries);
	/* over a file */
	assert_int_equal(daxfs_rename(b, ROOT, "f2", 2, ROOT, "file", 4, 0,
				      &victim),
			 0);
	assert_int_equal(victim, B_FILE);
	assert_int_equal(nlink_of(B_FILE), 0);
	assert_int_equal(find_name(b, ROOT, "file"), f);
	assert_int_equal(entries_of(ROOT), root_entries - 1);
	/* over a name of two */
	assert_int_equal(daxfs_rename(b, ROOT, "file", 4, ROOT, "hard2", 5, 0,
				      &victim),
			 0);
	assert_int_equal(victim, B_HARD);
	assert_int_equal(nlink_of(B_HARD), 1);
	/* a directory elsewhere, with what is below it */
	assert_int_equal(mv(ROOT, "dir", e, "moved", 0), 0);
	assert_int_equal(nlink_of(ROOT), root_links - 1);
	assert_int_equal(nlink_of(e), 3);
	assert_int_equal(daxfs_parent(b, B_DIR, &p), 0);
	assert_int_equal(p, e);
	assert_int_equal(find_name(b, B_SUB, "deep"), B_DEEP);
	/* over an empty directory */
	x = make_dir(b, ROOT, "empty-dir");
	assert_int_equal(daxfs_rename(b, e, "moved", 5, ROOT, "empty-dir", 9, 0,
				      &victim),
			 0);
	assert_int_equal(victim, x);
	assert_int_equal(nlink_of(x), 0);
	assert_int_equal(nlink_of(e), 2);
	assert_int_equal(nlink_of(ROOT), root_links);
	reopen();
	assert_int_equal(find_name(b, ROOT, "empty-dir"), B_DIR);
	assert_int_equal(daxfs_parent(b, B_DIR, &p), 0);
	assert_int_equal(p, ROOT);
	assert_int_equal(nlink_of(ROOT), root_links);
	assert_int_equal(find_name(b, ROOT, "hard2"), f);
}

static void test_exchange(void **state)
{
	u64 d = make_dir(b, ROOT, "d"), f = make_file(b, d, "f"), p;
	u64 links = nlink_of(ROOT);

	(void)state;
	assert_int_equal(mv(d, "f", ROOT, "dir", DAXFS_RENAME_EXCHANGE), 0);
	assert_int_equal(find_name(b, ROOT, "dir"), f);
	assert_int_equal(find_name(b, d, "f"), B_DIR);
	assert_int_equal(nlink_of(ROOT), links - 1);
	assert_int_equal(nlink_of(d), 3);
	assert_int_equal(daxfs_parent(b, B_DIR, &p), 0);
	assert_int_equal(p, d);
	assert_int_equal(mv(ROOT, "file", ROOT, "link", DAXFS_RENAME_EXCHANGE),
			 0);
	assert_int_equal(find_name(b, ROOT, "file"), B_LINK);
	assert_int_equal(mv(d, "f", ROOT, "many", DAXFS_RENAME_EXCHANGE), 0);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(find_name(b, ROOT, "many"), B_DIR);
		assert_int_equal(find_name(b, d, "f"), B_MANY);
		assert_int_equal(find_name(b, B_MANY, "f100"), B_FIRST + 100);
		assert_int_equal(nlink_of(d), 3);
		assert_int_equal(nlink_of(f), 1);
		assert_int_equal(attr_of(b, B_LINK).nlink, 1);
		assert_int_equal(entries_of(d), 1);
		reopen();
	}
}

/* A directory has no more links than a number holds. */
static void test_rename_links(void **state)
{
	u64 d = make_dir(b, ROOT, "d"), f;
	struct daxfs_base_inode *many =
		(struct daxfs_base_inode *)(g.mem.base + daxfs_base_start(16) +
					    4096) +
		(B_MANY - 1);

	(void)state;
	make_dir(b, d, "sub");
	f = make_file(b, d, "f");
	many->nlink = htole32(0x7ffffffe);
	assert_int_equal(mv(d, "sub", B_MANY, "sub", 0), 0);
	assert_int_equal(nlink_of(B_MANY), 0x7fffffff);
	make_dir(b, d, "sub2");
	assert_int_equal(mv(d, "sub2", B_MANY, "sub2", 0), -EMLINK);
	assert_int_equal(mv(d, "sub2", B_MANY, "f001", DAXFS_RENAME_EXCHANGE),
			 -EMLINK);
	assert_int_equal(mv(B_MANY, "f001", d, "sub2", DAXFS_RENAME_EXCHANGE),
			 -EMLINK);
	assert_int_equal(make_any(b, B_MANY, "new", S_IFDIR | 0755, NULL),
			 -EMLINK);
	assert_int_equal(nlink_of(B_MANY), 0x7fffffff);
	/* what adds none is fine */
	assert_int_equal(mv(d, "f", B_MANY, "f", 0), 0);
	assert_int_equal(mv(B_MANY, "sub", B_MANY, "sub3", 0), 0);
	assert_int_equal(mv(d, "sub2", B_MANY, "sub3", DAXFS_RENAME_EXCHANGE),
			 0);
	assert_int_equal(mv(d, "sub2", B_MANY, "sub3", 0), 0);
	assert_int_equal(nlink_of(B_MANY), 0x7fffffff);
	assert_int_equal(find_name(b, B_MANY, "f"), f);
}

static void test_whiteout(void **state)
{
	u64 d = make_dir(b, ROOT, "d"), f = make_file(b, d, "f"), w;
	u32 links = nlink_of(ROOT);

	(void)state;
	assert_int_equal(mv(ROOT, "dir", d, "f",
			    DAXFS_RENAME_WHITEOUT | DAXFS_RENAME_NOREPLACE),
			 -EEXIST);
	assert_int_equal(mv(d, "f", ROOT, "f", DAXFS_RENAME_WHITEOUT), 0);
	assert_int_equal(mv(ROOT, "dir", d, "dir", DAXFS_RENAME_WHITEOUT), 0);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(find_name(b, ROOT, "f"), f);
		assert_int_equal(find_name(b, d, "dir"), B_DIR);
		w = find_name(b, d, "f");
		assert_int_not_equal(w, f);
		assert_int_equal(attr_of(b, w).mode, S_IFCHR);
		assert_int_equal(attr_of(b, w).rdev, 0);
		assert_int_equal(nlink_of(w), 1);
		assert_int_equal(attr_of(b, find_name(b, ROOT, "dir")).mode,
				 S_IFCHR);
		assert_int_equal(nlink_of(ROOT), links - 1);
		assert_int_equal(nlink_of(d), 3);
		assert_int_equal(entries_of(d), 2);
		reopen();
	}
}

/* ---- Listing ---------------------------------------------------------------------------- */

struct names {
	char seen[400][24];
	u64 cookie[400];
	u32 n, left;
};

static int on_name(void *ctx, const struct daxfs_dirent *d)
{
	struct names *l = ctx;

	if (!l->left)
		return 1;
	l->left--;
	assert_true(l->n < 400 && d->len < 24);
	memcpy(l->seen[l->n], d->name, d->len);
	l->seen[l->n][d->len] = 0;
	l->cookie[l->n++] = d->cookie;
	return 0;
}

static u32 times_seen(const struct names *l, const char *name)
{
	u32 n = 0;

	for (u32 k = 0; k < l->n; k++)
		n += !strcmp(l->seen[k], name);
	return n;
}

static void list(u64 dir, u64 cookie, u32 max, struct names *l)
{
	l->left = max;
	assert_int_equal(daxfs_readdir(b, dir, cookie, on_name, l), 0);
}

/*
 * rm -r lists a part, removes it, goes on: nothing may be missed, though half
 * of the names are the base's and half the branch's.
 */
static void test_list_while_removing(void **state)
{
	static struct names l;
	char name[24];

	(void)state;
	for (u32 part = 1; part < 60; part = part * 3 + 1) {
		u64 cookie = 0;
		u32 total = 0;

		if (part > 1)
			assert_int_equal(entries_of(B_MANY), 0);
		for (u32 k = 0; k < 150; k++) {
			snprintf(name, sizeof(name), "own%u", k);
			make_file(b, B_MANY, name);
		}
		for (;;) {
			l.n = 0;
			list(B_MANY, cookie, part, &l);
			if (!l.n)
				break;
			cookie = l.cookie[l.n - 1];
			total += l.n;
			for (u32 k = 0; k < l.n; k++)
				assert_int_equal(do_unlink(b, B_MANY,
							   l.seen[k]),
						 0);
		}
		assert_int_equal(total, part == 1 ? 350 : 150);
	}
	assert_int_equal(rmd(ROOT, "many"), 0);
}

static void test_list_while_changing(void **state)
{
	static struct names l;
	char name[24];

	(void)state;
	for (u32 k = 0; k < 100; k++) {
		snprintf(name, sizeof(name), "own%u", k);
		make_file(b, B_MANY, name);
	}
	list(B_MANY, 0, 130, &l);
	assert_int_equal(l.n, 130);
	/* others come and go; those that stay are seen exactly once */
	for (u32 k = 0; k < 100; k += 2) {
		snprintf(name, sizeof(name), "f%03u", k);
		assert_int_equal(do_unlink(b, B_MANY, name), 0);
		snprintf(name, sizeof(name), "new%u", k);
		make_file(b, B_MANY, name);
		snprintf(name, sizeof(name), "own%u", k);
		assert_int_equal(do_unlink(b, B_MANY, name), 0);
	}
	reopen();
	list(B_MANY, l.cookie[129], 400, &l);
	for (u32 k = 1; k < 100; k += 2) {
		snprintf(name, sizeof(name), "own%u", k);
		assert_int_equal(times_seen(&l, name), 1);
		snprintf(name, sizeof(name), "f%03u", k);
		assert_int_equal(times_seen(&l, name), 1);
	}
	for (u32 k = 100; k < 200; k++) {
		snprintf(name, sizeof(name), "f%03u", k);
		assert_int_equal(times_seen(&l, name), 1);
	}
}

static void test_list_errors(void **state)
{
	static struct names l;

	(void)state;
	l.n = 0;
	l.left = 400;
	assert_int_equal(daxfs_readdir(b, B_FILE, 0, on_name, &l), -ENOTDIR);
	assert_int_equal(daxfs_readdir(b, 88888, 0, on_name, &l), -ENOENT);
	list(ROOT, ~0ull >> 1, 400, &l);
	list(ROOT, 1ull << 60, 400, &l);
	assert_int_equal(l.n, 0);
	list(ROOT, 0, 400, &l);
	assert_int_equal(l.n, 8);
	list(B_SUB, 0, 400, &l);
	assert_int_equal(l.n, 9);
}

/* ---- Large directories ------------------------------------------------------------------ */

struct crowd {
	u8 *seen;
	u64 cookie;
	u32 left, count;
};

static int on_crowd(void *ctx, const struct daxfs_dirent *d)
{
	struct crowd *c = ctx;
	u32 n;

	if (!c->left)
		return 1;
	c->left--;
	assert_true(d->len < 24);
	if (d->name[0] == 'n') {
		n = (u32)strtoul(d->name + 1, NULL, 10);
		assert_int_equal(c->seen[n], 0);
		c->seen[n] = 1;
		c->count++;
	}
	c->cookie = d->cookie;
	return 0;
}

/* 200,000 names, listed in pieces while others come and go. */
static void test_crowd(void **state)
{
	const u32 all = (u32)env_number("DAXFS_NAMES", 200000);
	struct shape s = { .size = 384 * MB, .branches = 4 };
	struct crowd c = { .seen = calloc(1, all) };
	u32 before, turn = 0;
	char name[24];
	u64 dir;

	(void)state;
	assert_non_null(c.seen);
	reg_new(&g, &s);
	b = new_branch(&g, "b", "main");
	dir = make_dir(b, ROOT, "d");
	for (u32 k = 0; k < all; k++) {
		snprintf(name, sizeof(name), "n%u", k);
		make_file(b, dir, name);
	}
	assert_int_equal(entries_of(dir), all);
	do {
		before = c.count;
		c.left = 5000;
		assert_int_equal(daxfs_readdir(b, dir, c.cookie, on_crowd, &c),
				 0);
		for (u32 k = 0; k < 50; k++) {
			snprintf(name, sizeof(name), "x%u", turn + k);
			make_file(b, dir, name);
		}
		for (u32 k = 0; k < 25; k++) {
			snprintf(name, sizeof(name), "x%u", turn + 2 * k);
			assert_int_equal(do_unlink(b, dir, name), 0);
		}
		turn += 50;
	} while (c.count != before);
	assert_int_equal(c.count, all);
	reopen();
	assert_int_equal(entries_of(dir), all + turn / 2);
	for (u32 k = 0; k < all; k++) {
		snprintf(name, sizeof(name), "n%u", k);
		assert_int_equal(do_unlink(b, dir, name), 0);
	}
	assert_int_equal(entries_of(dir), turn / 2);
	free(c.seen);
	teardown(state);
}

/* ---- Data --------------------------------------------------------------------------------- */

#define SPACE 90000u
static u8 want[SPACE], got[SPACE + 100];

/* Origins of a file with 70,001 bytes. */
enum origin { FRESH, BASE, PARENT, ORIGINS };

static u64 make_origin(enum origin o)
{
	u64 ino = B_FILE;

	memset(want, 0, sizeof(want));
	for (u32 k = 0; k < 70001; k++)
		want[k] = base_byte(B_FILE, k);
	if (o == BASE)
		return ino;
	ino = make_file(b, ROOT, "f");
	assert_int_equal(daxfs_write(b, ino, want, 70001, 0, 0), 70001);
	if (o == PARENT) {
		daxfs_branch_put(b);
		b = new_branch(&g, "child", "b");
	}
	return ino;
}

static void drop_origin(enum origin o)
{
	daxfs_branch_put(b);
	if (o == PARENT)
		assert_int_equal(daxfs_branch_delete(g.r, "child"), 0);
	assert_int_equal(daxfs_branch_delete(g.r, "b"), 0);
	b = new_branch(&g, "b", "main");
}

static void check_file(u64 ino, u64 size)
{
	ssize_t n = daxfs_read(b, ino, got, sizeof(got), 0);

	assert_int_equal(attr_of(b, ino).size, size);
	assert_int_equal(n, size);
	for (u64 k = 0; k < size; k++)
		if (got[k] != want[k])
			fail_msg("byte %llu is %u, not %u",
				 (unsigned long long)k, got[k], want[k]);
}

static const u32 cuts[] = { 0,     1,     4095,  4096,  4097,
			    8191,  8192,  12000, 65535, 65536,
			    65537, 69632, 70000, 70001, 70002 };
#define CUTS (sizeof(cuts) / sizeof(*cuts))

/* Down, up again: what was cut off is zeros ever after. */
static void test_truncate(void **state)
{
	static const u32 ups[] = { 1, 90, 4000, 4096, 5000, 20000 };

	(void)state;
	for (enum origin o = FRESH; o < ORIGINS; o++)
		for (u32 c = 0; c < CUTS; c++) {
			u64 ino = make_origin(o);

			for (u32 u = 0; u < 6; u++) {
				u64 size = attr_of(b, ino).size;
				u64 down = cuts[c] < size ? cuts[c] : size;
				u64 up = down + ups[u] < SPACE ? down + ups[u]
							       : SPACE;

				assert_int_equal(do_truncate(b, ino, down), 0);
				memset(want + down, 0, SPACE - down);
				check_file(ino, down);
				assert_int_equal(do_truncate(b, ino, up), 0);
				check_file(ino, up);
			}
			drop_origin(o);
		}
}

static void test_write_anywhere(void **state)
{
	static const u32 lens[] = { 1, 2, 4095, 4096, 4097, 9000 };

	(void)state;
	for (enum origin o = FRESH; o < ORIGINS; o++) {
		u64 ino = make_origin(o), size = 70001;

		for (u32 c = 0; c < CUTS; c++)
			for (u32 l = 0; l < 6; l++) {
				u64 off = cuts[c] + 11 * l, end;

				for (u32 k = 0; k < lens[l]; k++)
					want[off + k] = (u8)(c * 16 + l + k);
				assert_int_equal(daxfs_write(b, ino, want + off,
							     lens[l], off, 0),
						 lens[l]);
				end = off + lens[l];
				if (end > size)
					size = end;
				check_file(ino, size);
			}
		drop_origin(o);
	}
}

/* A write beyond the end, or after a cut, leaves zeros between. */
static void test_sparse(void **state)
{
	(void)state;
	for (enum origin o = FRESH; o < ORIGINS; o++)
		for (u32 c = 0; c < CUTS; c++) {
			u64 ino = make_origin(o), at = cuts[c] + 9000;

			assert_int_equal(do_truncate(b, ino, cuts[c]), 0);
			memset(want + cuts[c], 0, SPACE - cuts[c]);
			memset(want + at, 0x77, 10);
			assert_int_equal(daxfs_write(b, ino, want + at, 10, at,
						     0),
					 10);
			check_file(ino, at + 10);
			if (o == FRESH) {
				reopen();
				check_file(ino, at + 10);
			}
			drop_origin(o);
		}
}

static void test_append(void **state)
{
	(void)state;
	for (enum origin o = FRESH; o < ORIGINS; o++) {
		u64 ino = make_origin(o);

		memset(want + 70001, 'A', 5000);
		assert_int_equal(daxfs_write(b, ino, want + 70001, 5000, 3,
					     DAXFS_WRITE_APPEND),
				 5000);
		check_file(ino, 75001);
		drop_origin(o);
	}
}

static void test_limits(void **state)
{
	u64 ino = make_file(b, ROOT, "f"), top = DAXFS_MAX_FILE_SIZE;
	struct daxfs_attr a;

	(void)state;
	assert_int_equal(daxfs_write(b, ino, "x", 1, top, 0), -EFBIG);
	assert_int_equal(daxfs_write(b, ino, "x", 1, ~0ull, 0), -EFBIG);
	assert_int_equal(do_truncate(b, ino, top + 1), -EFBIG);
	assert_int_equal(do_truncate(b, ino, ~0ull), -EFBIG);
	assert_int_equal(attr_of(b, ino).size, 0);
	assert_int_equal(daxfs_write(b, ino, "abc", 3, top - 2, 0), 2);
	assert_int_equal(daxfs_write(b, ino, "abc", 3, 0, DAXFS_WRITE_APPEND),
			 -EFBIG);
	assert_int_equal(do_truncate(b, ino, top), 0);
	reopen();
	a = attr_of(b, ino);
	assert_int_equal(a.size, top);
	assert_int_equal(a.blocks, 8);
	assert_int_equal(daxfs_read(b, ino, got, 10, top - 3), 3);
	assert_memory_equal(got, "\0ab", 3);
	assert_int_equal(daxfs_read(b, ino, got, 10, top), 0);
	assert_int_equal(daxfs_read(b, ino, got, 10, ~0ull), 0);
	memset(got, 1, 100);
	assert_int_equal(daxfs_read(b, ino, got, 100, top / 2), 100);
	for (u32 k = 0; k < 100; k++)
		assert_int_equal(got[k], 0);
	assert_int_equal(do_truncate(b, ino, 0), 0);
	assert_int_equal(attr_of(b, ino).blocks, 0);
	assert_int_equal(daxfs_write(b, ino, "", 0, 5, 0), 0);
	assert_int_equal(attr_of(b, ino).size, 0);
}

static void test_wrong_kinds(void **state)
{
	(void)state;
	assert_int_equal(daxfs_write(b, B_DIR, "x", 1, 0, 0), -EISDIR);
	assert_int_equal(daxfs_write(b, B_LINK, "x", 1, 0, 0), -EINVAL);
	assert_int_equal(daxfs_write(b, 99999, "x", 1, 0, 0), -ENOENT);
	assert_int_equal(daxfs_read(b, B_DIR, got, 1, 0), -EISDIR);
	assert_int_equal(daxfs_read(b, B_DEV, got, 1, 0), -EINVAL);
	assert_int_equal(daxfs_read(b, 99999, got, 1, 0), -ENOENT);
	assert_int_equal(do_truncate(b, B_DIR, 0), -EISDIR);
	assert_int_equal(do_truncate(b, B_LINK, 0), -EINVAL);
	assert_int_equal(do_truncate(b, B_DEV, 0), -EINVAL);
	assert_int_equal(do_truncate(b, 99999, 0), -ENOENT);
	assert_int_equal(daxfs_readlink(b, B_FILE, (char *)got, 9), -EINVAL);
	assert_int_equal(daxfs_readlink(b, 99999, (char *)got, 9), -ENOENT);
	assert_int_equal(daxfs_fsync(b, 99999), -ENOENT);
	assert_int_equal(daxfs_fsync(b, B_FILE), 0);
}

/* Many extents: every other block, then one write over all of them. */
static void test_fragments(void **state)
{
	u64 ino = make_file(b, ROOT, "f"), free_before;
	static u8 big[1200 * 4096];

	(void)state;
	free_before = reg_free_segments(&g);
	for (u32 k = 1; k < 1200; k += 2)
		assert_int_equal(daxfs_write(b, ino, &k, 4, k * 4096ull + 7, 0),
				 4);
	assert_int_equal(attr_of(b, ino).blocks, 600 * 8);
	reopen();
	for (u32 k = 0; k < 1200; k++) {
		u32 v = 99;

		assert_int_equal(daxfs_read(b, ino, &v, 4, k * 4096ull + 7), 4);
		assert_int_equal(v, k % 2 ? k : 0);
	}
	memset(big, 0x11, sizeof(big));
	assert_int_equal(daxfs_write(b, ino, big, sizeof(big), 0, 0),
			 sizeof(big));
	assert_int_equal(attr_of(b, ino).blocks, 1200 * 8);
	assert_int_equal(daxfs_read(b, ino, big, sizeof(big), 0), sizeof(big));
	for (u32 k = 0; k < sizeof(big); k++)
		assert_int_equal(big[k], 0x11);
	/* more extents than one transaction drops */
	assert_int_equal(do_truncate(b, ino, 0), 0);
	for (u32 k = 1; k < 1200; k += 2)
		assert_int_equal(daxfs_write(b, ino, &k, 4, k * 4096ull, 0), 4);
	assert_int_equal(do_truncate(b, ino, 5000), 0);
	assert_int_equal(attr_of(b, ino).blocks, 8);
	for (u32 k = 3; k < 1200; k += 2)
		assert_int_equal(daxfs_write(b, ino, &k, 4, k * 4096ull, 0), 4);
	assert_int_equal(do_unlink(b, ROOT, "f"), 0);
	/* log segments may stay */
	assert_true(reg_free_segments(&g) + 10 >= free_before);
	reopen();
	assert_int_equal(find_name(b, ROOT, "f"), 0);
}

/* A cut that finds no space for the last block leaves all that was there. */
static void test_truncate_full(void **state)
{
	u64 ino = make_file(b, ROOT, "f"), hog, off = 0;
	static u8 page[65536];
	struct daxfs_attr before, after;

	(void)state;
	memset(page, 1, sizeof(page));
	for (u32 k = 1; k < 1200; k += 2)
		assert_int_equal(daxfs_write(b, ino, page, 4096, k * 4096ull,
					     0),
				 4096);
	daxfs_branch_put(b);
	b = new_branch(&g, "child", "b");
	hog = make_file(b, ROOT, "hog");
	for (size_t len = sizeof(page); len; len /= 2)
		while (daxfs_write(b, hog, page, len, off, 0) > 0)
			off += len;
	before = attr_of(b, ino);
	assert_int_equal(do_truncate(b, ino, 5000), -ENOSPC);
	after = attr_of(b, ino);
	assert_int_equal(after.size, before.size);
	assert_int_equal(after.blocks, before.blocks);
	assert_int_equal(after.mtime.nsec, before.mtime.nsec);
	/* where the last block need not be changed it goes */
	assert_int_equal(do_truncate(b, ino, 8192), 0);
	assert_int_equal(attr_of(b, ino).blocks, 8);
	assert_int_equal(do_truncate(b, hog, 0), 0);
	assert_int_equal(do_truncate(b, ino, 5000), 0);
	assert_int_equal(do_truncate(b, ino, 8192), 0);
	assert_int_equal(daxfs_read(b, ino, page, 8192, 0), 8192);
	for (u32 k = 0; k < 8192; k++)
		assert_int_equal(page[k], k >= 4096 && k < 5000);
}

static ssize_t first_piece(void *ctx, const struct daxfs_piece *p, u32 n)
{
	assert_int_equal(n, 1);
	*(const u8 **)ctx = p[0].ptr;
	return 0;
}

static int no_sync(void *priv, const struct daxfs_range *ranges, u32 count)
{
	(void)priv;
	(void)ranges;
	(void)count;
	return 0;
}

/* On disks a file's old end must survive until its new one does. */
static void test_truncate_on_disk(void **state)
{
	struct daxfs_backing bk = { .base = g.mem.base,
				    .size = g.mem.size,
				    .sync = no_sync };
	u64 ino = make_file(b, ROOT, "f");
	struct daxfs_piece p[1];
	const u8 *old, *now;

	(void)state;
	memset(got, 'x', 8192);
	assert_int_equal(daxfs_write(b, ino, got, 8192, 0, 0), 8192);
	daxfs_branch_put(b);
	daxfs_region_close(g.r);
	assert_int_equal(daxfs_region_open(&bk, 0, &g.r, &g.msg), 0);
	b = get_branch(&g, "b");
	assert_int_equal(daxfs_read_pieces(b, ino, 4096, 4096, p, 1,
					   first_piece, &old),
			 0);
	assert_int_equal(do_truncate(b, ino, 5000), 0);
	assert_int_equal(do_truncate(b, ino, 8192), 0);
	assert_int_equal(daxfs_read_pieces(b, ino, 4096, 4096, p, 1,
					   first_piece, &now),
			 0);
	assert_ptr_not_equal(old, now);
	for (u32 k = 0; k < 4096; k++) {
		assert_int_equal(old[k], 'x');
		assert_int_equal(now[k], k < 904 ? 'x' : 0);
	}
	assert_int_equal(attr_of(b, ino).blocks, 16);
}

static ssize_t add_pieces(void *ctx, const struct daxfs_piece *p, u32 n)
{
	size_t at = 0;

	(void)ctx;
	for (u32 k = 0; k < n; k++) {
		if (p[k].ptr)
			memcpy(got + at, p[k].ptr, p[k].len);
		else
			memset(got + at, 0, p[k].len);
		at += p[k].len;
	}
	return (ssize_t)at;
}

static void test_pieces(void **state)
{
	struct daxfs_piece p[4];
	u64 ino = make_origin(BASE), at = 0;
	ssize_t n;

	(void)state;
	memset(want + 10000, 'w', 100);
	assert_int_equal(daxfs_write(b, ino, want + 10000, 100, 10000, 0), 100);
	assert_int_equal(do_truncate(b, ino, 80000), 0);
	while ((n = daxfs_read_pieces(b, ino, 50000, at, p, 2, add_pieces,
				      NULL)) > 0) {
		assert_memory_equal(got, want + at, n);
		at += (u64)n;
	}
	assert_int_equal(n, 0);
	assert_int_equal(at, 80000);
	assert_int_equal(daxfs_read_pieces(b, ino, 9, 80000, p, 4, add_pieces,
					   NULL),
			 0);
	assert_int_equal(daxfs_read_pieces(b, B_DIR, 9, 0, p, 4, add_pieces,
					   NULL),
			 -EISDIR);
}

/* ---- Attributes ------------------------------------------------------------------------------ */

static void test_base_attributes(void **state)
{
	struct daxfs_attr a = attr_of(b, B_FILE);

	(void)state;
	assert_int_equal(a.mode, S_IFREG | 04755);
	assert_int_equal(a.uid, 1000);
	assert_int_equal(a.size, 70001);
	assert_int_equal(a.blocks, 18 * 8);
	assert_int_equal(a.mtime.sec, B_MTIME);
	assert_int_equal(attr_of(b, B_DEV).rdev, daxfs_makedev(5, 1));
	assert_int_equal(daxfs_readlink(b, B_LINK, (char *)got, 3), 5);
	assert_memory_equal(got, B_LINK_TARGET, 3);
}

static void test_setattr(void **state)
{
	struct daxfs_attr a = { .mode = 07777 | S_IFDIR,
				.uid = 5,
				.gid = 6,
				.atime = { -5, 999999999 },
				.mtime = { 1ll << 33, 1 },
				.ctime = { 77, 78 } };
	struct daxfs_attr o, before = attr_of(b, B_FILE);

	(void)state;
	assert_int_equal(daxfs_setattr(b, B_FILE, DAXFS_SET_UID, &a, &o), 0);
	assert_int_equal(o.uid, 5);
	assert_int_equal(o.gid, before.gid);
	assert_int_equal(o.mode, before.mode);
	assert_int_equal(o.mtime.sec, before.mtime.sec);
	assert_true(o.ctime.sec > B_MTIME);
	assert_int_equal(daxfs_setattr(b, B_FILE,
				       DAXFS_SET_MODE | DAXFS_SET_GID |
					       DAXFS_SET_ATIME |
					       DAXFS_SET_MTIME |
					       DAXFS_SET_CTIME,
				       &a, NULL),
			 0);
	reopen();
	o = attr_of(b, B_FILE);
	assert_int_equal(o.mode, S_IFREG | 07777);
	assert_int_equal(o.gid, 6);
	assert_int_equal(o.atime.sec, -5);
	assert_int_equal(o.atime.nsec, 999999999);
	assert_int_equal(o.mtime.sec, 1ll << 33);
	assert_int_equal(o.ctime.sec, 77);
	assert_int_equal(daxfs_setattr(b, B_FILE,
				       DAXFS_SET_MTIME_NOW |
					       DAXFS_SET_ATIME_NOW,
				       &a, &o),
			 0);
	assert_true(o.mtime.sec > B_MTIME && o.mtime.sec < 1ll << 33);
	assert_true(o.atime.sec > B_MTIME);
	/* writing and truncating set mtime and ctime */
	assert_int_equal(daxfs_setattr(b, B_FILE, DAXFS_SET_MTIME, &a, NULL),
			 0);
	assert_int_equal(daxfs_write(b, B_FILE, "x", 1, 0, 0), 1);
	assert_true(attr_of(b, B_FILE).mtime.sec < 1ll << 33);
	assert_int_equal(daxfs_setattr(b, B_FILE, DAXFS_SET_MTIME, &a, NULL),
			 0);
	assert_int_equal(do_truncate(b, B_FILE, 70001), 0);
	assert_true(attr_of(b, B_FILE).mtime.sec < 1ll << 33);
	assert_int_equal(daxfs_setattr(b, 99999, DAXFS_SET_UID, &a, NULL),
			 -ENOENT);
	/* what the log could not be read back with */
	a.mtime.nsec = 1000000000;
	assert_int_equal(daxfs_setattr(b, B_FILE, DAXFS_SET_MTIME, &a, NULL),
			 -EINVAL);
	reopen();
}

static void test_kill_priv(void **state)
{
	struct daxfs_attr a = { .mode = 06775, .uid = 9 };

	(void)state;
	assert_int_equal(daxfs_write(b, B_FILE, "x", 1, 0,
				     DAXFS_WRITE_KILLPRIV),
			 1);
	assert_int_equal(attr_of(b, B_FILE).mode, S_IFREG | 0755);
	assert_int_equal(daxfs_getxattr(b, B_FILE, "security.capability", got,
					9),
			 -ENODATA);
	assert_int_equal(daxfs_getxattr(b, B_FILE, "user.base", got, 9), 5);
	assert_int_equal(daxfs_setattr(b, B_A, DAXFS_SET_MODE, &a, NULL), 0);
	assert_int_equal(daxfs_setattr(b, B_A,
				       DAXFS_SET_UID | DAXFS_SET_KILLPRIV, &a,
				       &a),
			 0);
	assert_int_equal(a.mode, S_IFREG | 0775);
	/* setgid without group execute is not a privilege */
	a.mode = 02644;
	assert_int_equal(daxfs_setattr(b, B_A, DAXFS_SET_MODE, &a, NULL), 0);
	assert_int_equal(daxfs_setattr(b, B_A, DAXFS_SET_KILLPRIV, &a, &a), 0);
	assert_int_equal(a.mode, S_IFREG | 02644);
	reopen();
	assert_int_equal(daxfs_getxattr(b, B_FILE, "security.capability", got,
					9),
			 -ENODATA);
}

/* As relatime has it, for inodes that are the branch's own. */
static void test_touch(void **state)
{
	static const struct {
		s64 atime, mtime, ctime; /* seconds before now */
		bool touched;
	} cases[] = {
		{ 50, 100, 100, false },       { 100, 100, 200, true },
		{ 100, 200, 100, true },       { 100, 50, 200, true },
		{ 100, 200, 50, true },        { 86300, 90000, 90000, false },
		{ 86401, 90000, 90000, true },
	};
	u64 f = make_file(b, ROOT, "f"), before, bytes, n;
	s64 now = (s64)time(NULL), at;
	struct daxfs_attr a;

	(void)state;
	for (u32 k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		struct daxfs_attr t = {
			.atime = { now - cases[k].atime, 7 },
			.mtime = { now - cases[k].mtime, 7 },
			.ctime = { now - cases[k].ctime, 7 },
		};

		assert_int_equal(daxfs_setattr(b, f,
					       DAXFS_SET_ATIME |
						       DAXFS_SET_MTIME |
						       DAXFS_SET_CTIME,
					       &t, NULL),
				 0);
		assert_int_equal(daxfs_touch(b, f), 0);
		a = attr_of(b, f);
		if ((a.atime.sec >= now) != cases[k].touched)
			fail_msg("case %u", k);
		assert_int_equal(a.mtime.sec, t.mtime.sec);
		assert_int_equal(a.ctime.sec, t.ctime.sec);
	}
	assert_int_equal(daxfs_touch(b, 99999), -ENOENT);
	/* what the branch has only inherited costs it nothing to read */
	assert_int_equal(daxfs_touch(b, B_FILE), 0);
	assert_int_equal(attr_of(b, B_FILE).atime.sec, B_MTIME);
	assert_int_equal(daxfs_write(b, B_FILE, "x", 1, 0, 0), 1);
	assert_int_equal(daxfs_touch(b, B_FILE), 0);
	assert_true(attr_of(b, B_FILE).atime.sec >= now);
	at = attr_of(b, f).atime.sec;
	a.mtime.sec = at + 1;
	assert_int_equal(daxfs_setattr(b, f, DAXFS_SET_MTIME, &a, NULL), 0);
	daxfs_branch_put(b);
	b = new_branch(&g, "child", "b");
	assert_int_equal(daxfs_usage(b, &before, &n), 0);
	assert_int_equal(daxfs_touch(b, f), 0);
	assert_int_equal(daxfs_usage(b, &bytes, &n), 0);
	assert_int_equal(bytes, before);
	assert_int_equal(attr_of(b, f).atime.sec, at);
	/* where nothing can be written */
	daxfs_branch_put(b);
	b = get_branch(&g, "b");
	assert_int_equal(daxfs_touch(b, f), 0);
	assert_int_equal(attr_of(b, f).atime.sec, at);
}

static void test_touch_full(void **state)
{
	struct daxfs_attr a = { .atime = { 5, 0 } };
	u64 f = make_file(b, ROOT, "f"), off = 0;
	int rc = 0;

	(void)state;
	for (size_t len = sizeof(got); len; len /= 2)
		while (daxfs_write(b, f, got, len, off, 0) > 0)
			off += len;
	for (u32 k = 0; !rc; k++) {
		char name[24];

		snprintf(name, sizeof(name), "%u", k);
		rc = make_any(b, ROOT, name, S_IFIFO, NULL);
	}
	/* smaller records may fit still, and be compacted for a while */
	rc = 0;
	for (u32 k = 0; k < 3000 && !rc; k++)
		rc = daxfs_setattr(b, f, DAXFS_SET_ATIME, &a, NULL);
	assert_int_equal(daxfs_touch(b, f), 0);
}

/* ---- Extended attributes ---------------------------------------------------------------------- */

static int set_x(u64 ino, const char *name, const void *v, size_t n, u32 flags)
{
	return daxfs_setxattr(b, ino, name, v, n, flags);
}

static void test_xattr_errors(void **state)
{
	static u8 big[65537];
	char name[300];

	(void)state;
	memset(name, 'n', sizeof(name));
	memcpy(name, "user.", 5);
	name[256] = 0;
	assert_int_equal(set_x(B_A, name, "v", 1, 0), -ERANGE);
	name[255] = 0;
	assert_int_equal(set_x(B_A, name, "v", 1, 0), 0);
	assert_int_equal(daxfs_getxattr(b, B_A, name, got, 5), 1);
	assert_int_equal(set_x(B_A, "user.a", big, 65537, 0), -E2BIG);
	assert_int_equal(set_x(B_A, "", big, 1, 0), -EINVAL);
	assert_int_equal(set_x(B_A, "user.a", "1", 1, DAXFS_XATTR_REPLACE),
			 -ENODATA);
	assert_int_equal(set_x(B_A, "user.a", "1", 1, DAXFS_XATTR_CREATE), 0);
	assert_int_equal(set_x(B_A, "user.a", "2", 1, DAXFS_XATTR_CREATE),
			 -EEXIST);
	assert_int_equal(set_x(B_A, "user.a", "33", 2, DAXFS_XATTR_REPLACE), 0);
	assert_int_equal(daxfs_getxattr(b, B_A, "user.a", NULL, 0), 2);
	assert_int_equal(daxfs_getxattr(b, B_A, "user.a", got, 1), -ERANGE);
	assert_int_equal(daxfs_getxattr(b, B_A, "user.none", got, 1), -ENODATA);
	assert_int_equal(daxfs_getxattr(b, 99999, "user.a", got, 1), -ENOENT);
	assert_int_equal(set_x(99999, "user.a", "", 0, 0), -ENOENT);
	assert_int_equal(daxfs_removexattr(b, B_A, "user.none"), -ENODATA);
	assert_int_equal(daxfs_removexattr(b, 99999, "user.a"), -ENOENT);
	assert_int_equal(daxfs_listxattr(b, B_A, (char *)got, 3), -ERANGE);
	assert_int_equal(daxfs_listxattr(b, 99999, NULL, 0), -ENOENT);
	assert_int_equal(daxfs_listxattr(b, B_A, NULL, 0), 256 + 7);
}

static void test_xattr_sizes(void **state)
{
	static const u32 sizes[] = { 0,    1,    2047,  2048,  2049, 4096,
				     4097, 8192, 60000, 65535, 65536 };
	static u8 v[65536], r[65536];
	char name[16];

	(void)state;
	for (u32 k = 0; k < sizeof(v); k++)
		v[k] = (u8)(k * 5 + 1);
	for (int round = 0; round < 2; round++) {
		for (u32 k = 0; k < 11; k++) {
			snprintf(name, sizeof(name), "user.%u", k);
			/* shrinking and growing in turn */
			assert_int_equal(set_x(B_A, name, v, sizes[10 - k], 0),
					 0);
			assert_int_equal(set_x(B_A, name, v, sizes[k], 0), 0);
		}
		reopen();
		for (u32 k = 0; k < 11; k++) {
			snprintf(name, sizeof(name), "user.%u", k);
			assert_int_equal(daxfs_getxattr(b, B_A, name, r,
							sizeof(r)),
					 sizes[k]);
			assert_memory_equal(r, v, sizes[k]);
			assert_int_equal(daxfs_removexattr(b, B_A, name), 0);
		}
		assert_int_equal(daxfs_listxattr(b, B_A, NULL, 0), 0);
	}
}

static void test_xattr_over_base(void **state)
{
	char buf[64];

	(void)state;
	assert_int_equal(daxfs_getxattr(b, B_FILE, "user.base", got, 9), 5);
	assert_memory_equal(got, "value", 5);
	assert_int_equal(set_x(B_FILE, "user.base", "mine", 4,
			       DAXFS_XATTR_CREATE),
			 -EEXIST);
	assert_int_equal(set_x(B_FILE, "user.base", "mine", 4, 0), 0);
	assert_int_equal(daxfs_listxattr(b, B_FILE, buf, sizeof(buf)), 30);
	assert_int_equal(daxfs_removexattr(b, B_FILE, "user.base"), 0);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(daxfs_getxattr(b, B_FILE, "user.base", got, 9),
				 -ENODATA);
		assert_int_equal(daxfs_listxattr(b, B_FILE, buf, sizeof(buf)),
				 20);
		assert_string_equal(buf, "security.capability");
		reopen();
	}
	assert_int_equal(daxfs_removexattr(b, B_FILE, "user.base"), -ENODATA);
	assert_int_equal(set_x(B_FILE, "user.base", "again", 5,
			       DAXFS_XATTR_REPLACE),
			 -ENODATA);
	assert_int_equal(set_x(B_FILE, "user.base", "back", 4, 0), 0);
	reopen();
	assert_int_equal(daxfs_getxattr(b, B_FILE, "user.base", got, 9), 4);
	/* symlinks, directories and devices have them too */
	assert_int_equal(set_x(B_LINK, "trusted.x", "1", 1, 0), 0);
	assert_int_equal(set_x(B_DIR, "user.x", "1", 1, 0), 0);
	assert_int_equal(set_x(B_DEV, "user.x", "1", 1, 0), 0);
	assert_int_equal(daxfs_listxattr(b, B_LINK, buf, sizeof(buf)), 10);
	assert_int_equal(daxfs_readlink(b, B_LINK, buf, sizeof(buf)), 5);
}

/* ---- Space ------------------------------------------------------------------------------------- */

static void test_statfs_and_usage(void **state)
{
	struct daxfs_statfs st;
	struct daxfs_region_info i;
	u64 bytes, inodes, ino;

	(void)state;
	daxfs_region_info(g.r, &i);
	assert_int_equal(i.total_size, 24 * MB);
	assert_int_equal(i.base_inodes, B_COUNT);
	assert_false(i.readonly);
	assert_int_equal(daxfs_statfs(b, &st), 0);
	assert_int_equal(st.blocks, i.segments * (i.segment_size / 4096));
	assert_true(st.bfree <= st.blocks && st.bfree > st.blocks / 2);
	assert_true(st.ffree <= st.files);
	assert_int_equal(daxfs_usage(b, &bytes, &inodes), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(inodes, 0);
	ino = make_file(b, ROOT, "f");
	assert_int_equal(daxfs_usage(b, &bytes, &inodes), 0);
	assert_int_equal(bytes, i.segment_size);
	assert_int_equal(inodes, 1);
	assert_int_equal(daxfs_write(b, ino, got, 4097, 0, 0), 4097);
	assert_int_equal(daxfs_usage(b, &bytes, &inodes), 0);
	assert_int_equal(bytes, i.segment_size + 8192);
	/* in place: no more */
	assert_int_equal(daxfs_write(b, ino, got, 4097, 0, 0), 4097);
	assert_int_equal(daxfs_usage(b, &bytes, &inodes), 0);
	assert_int_equal(bytes, i.segment_size + 8192);
	assert_int_equal(do_unlink(b, ROOT, "f"), 0);
	assert_int_equal(daxfs_usage(b, &bytes, &inodes), 0);
	assert_int_equal(bytes, i.segment_size);
	assert_int_equal(inodes, 0);
}

/* What finds no space takes none, and what gives some back finds it. */
static void test_full(void **state)
{
	static char longest[256], target[4096];
	static u8 value[8192];
	u64 f = make_file(b, ROOT, "f"), off = 0, segments, bytes, inodes;
	struct daxfs_new n = { .mode = S_IFLNK | 0777, .target = target };
	u64 now_bytes, now_inodes;
	char name[24];
	int rc = 0;

	(void)state;
	memset(longest, 'x', 255);
	memset(target, 't', 4095);
	for (size_t len = sizeof(got); len; len /= 2)
		while (daxfs_write(b, f, got, len, off, 0) > 0)
			off += len;
	for (u32 k = 0; !rc; k++) {
		snprintf(name, sizeof(name), "%u", k);
		rc = make_any(b, ROOT, name, S_IFIFO, NULL);
	}
	assert_int_equal(rc, -ENOSPC);
	segments = reg_free_segments(&g);
	assert_int_equal(daxfs_usage(b, &bytes, &inodes), 0);
	for (u32 k = 0; k < 12; k++) {
		switch (k) {
		case 0:
			rc = make_any(b, ROOT, longest, S_IFREG, NULL);
			break;
		case 1:
			rc = make_any(b, B_DIR, longest, S_IFDIR, NULL);
			break;
		case 2:
			rc = daxfs_make(b, ROOT, "s", 1, &n, NULL);
			break;
		case 3:
			rc = link_to(B_FILE, ROOT, longest);
			break;
		case 4:
			rc = mv(ROOT, "file", B_DIR, longest, 0);
			break;
		case 5:
			rc = mv(ROOT, "file", ROOT, longest,
				DAXFS_RENAME_WHITEOUT);
			break;
		case 6:
			rc = daxfs_setxattr(b, B_FILE, "user.x", value, 2048,
					    0);
			break;
		case 7:
			rc = daxfs_setxattr(b, B_FILE, "user.x", value, 8192,
					    0);
			break;
		case 8:
			rc = (int)daxfs_write(b, B_FILE, "x", 1, 5, 0);
			break;
		case 9:
			rc = (int)daxfs_write(b, B_FILE, "x", 1, 99999, 0);
			break;
		case 10:
			rc = (int)daxfs_copy_range(b, f, 0, B_FILE, 0, 9, 0);
			break;
		default:
			rc = daxfs_fallocate(b, B_EMPTY, 0, 0, 5000);
		}
		if (rc != -ENOSPC)
			fail_msg("case %u: %d", k, rc);
		assert_int_equal(daxfs_usage(b, &now_bytes, &now_inodes), 0);
		assert_int_equal(now_bytes, bytes);
		assert_int_equal(now_inodes, inodes);
		assert_int_equal(reg_free_segments(&g), segments);
	}
	assert_int_equal(find_name(b, ROOT, "file"), B_FILE);
	assert_int_equal(attr_of(b, B_FILE).size, 70001);
	assert_int_equal(daxfs_fallocate(b, f,
					 DAXFS_FALLOC_PUNCH |
						 DAXFS_FALLOC_KEEP_SIZE,
					 0, 100 * 4096),
			 0);
	assert_int_equal(do_truncate(b, f, 4096 * 200), 0);
	assert_int_equal(do_unlink(b, ROOT, "f"), 0);
	reopen();
	assert_int_equal(make_any(b, ROOT, longest, S_IFREG, NULL), 0);
}

/* Numbers are never given twice, whatever was removed or lost. */
static void test_inode_numbers(void **state)
{
	u64 last = B_COUNT;

	(void)state;
	for (u32 round = 0; round < 4; round++) {
		for (u32 k = 0; k < 5; k++) {
			u64 ino = make_file(b, ROOT, "f");

			assert_true(ino > last);
			last = ino;
			assert_int_equal(do_unlink(b, ROOT, "f"), 0);
		}
		if (round == 1) {
			daxfs_branch_put(b);
			assert_int_equal(daxfs_branch_delete(g.r, "b"), 0);
			b = new_branch(&g, "b", "main");
		}
		reopen();
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_make_kinds),
		T(test_make_errors),
		T(test_setgid_directory),
		T(test_setgid_file),
		T(test_tmpfile),
		T(test_inode_flags),
		T(test_link),
		T(test_orphans),
		T(test_remove),
		T(test_rename_errors),
		T(test_rename),
		T(test_exchange),
		T(test_rename_links),
		T(test_whiteout),
		T(test_list_while_removing),
		T(test_list_while_changing),
		T(test_list_errors),
		cmocka_unit_test(test_crowd),
		T(test_truncate),
		T(test_truncate_full),
		T(test_truncate_on_disk),
		T(test_write_anywhere),
		T(test_sparse),
		T(test_append),
		T(test_limits),
		T(test_wrong_kinds),
		T(test_fragments),
		T(test_pieces),
		T(test_base_attributes),
		T(test_setattr),
		T(test_kill_priv),
		T(test_touch),
		T(test_touch_full),
		T(test_xattr_errors),
		T(test_xattr_sizes),
		T(test_xattr_over_base),
		T(test_statfs_and_usage),
		T(test_full),
		T(test_inode_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
