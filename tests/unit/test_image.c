/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Base images: read back through the engine, and byte by byte at the offsets
 * that the format's text gives. Those offsets stand here as numbers, so that
 * this is a second reading of the text and not of the header.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <cmocka.h>

#include "driver/common/util.h"
#include "driver/image/image.h"
#include "driver/region/region.h"
#include "scratch.h"

static char dir[256], tree[300], image[300];
static struct daxfs_message msg;

/* ---- A tree to build from --------------------------------------------------- */

static void put_file(const char *name, const char *data, size_t len,
		     mode_t mode)
{
	char path[600];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", tree, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void put_dir(const char *name, mode_t mode)
{
	char path[600];

	snprintf(path, sizeof(path), "%s/%s", tree, name);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static void put_link(const char *target, const char *name)
{
	char path[600];

	snprintf(path, sizeof(path), "%s/%s", tree, name);
	assert_int_equal(symlink(target, path), 0);
}

static void put_hard_link(const char *old, const char *new)
{
	char a[600], b[600];

	snprintf(a, sizeof(a), "%s/%s", tree, old);
	snprintf(b, sizeof(b), "%s/%s", tree, new);
	assert_int_equal(link(a, b), 0);
}

static void put_node(const char *name, mode_t mode, dev_t dev)
{
	char path[600];

	snprintf(path, sizeof(path), "%s/%s", tree, name);
	assert_int_equal(mknod(path, mode, dev), 0);
	assert_int_equal(chmod(path, mode & 07777), 0);
}

static void set_time(const char *name, time_t sec, long nsec)
{
	struct timespec t[2] = { { sec, nsec }, { sec, nsec } };
	char path[600];

	snprintf(path, sizeof(path), "%s/%s", tree, name);
	assert_int_equal(utimensat(AT_FDCWD, path, t, AT_SYMLINK_NOFOLLOW), 0);
}

static int remove_tree(void)
{
	char cmd[400];

	/* the tests' own folder; rm copes with any depth */
	snprintf(cmd, sizeof(cmd), "rm -rf --one-file-system '%s'", dir);
	return system(cmd);
}

static int setup(void **state)
{
	(void)state;
	umask(022);
	if (!scratch_dir(dir, sizeof(dir), "image"))
		return -1;
	snprintf(tree, sizeof(tree), "%s/tree", dir);
	snprintf(image, sizeof(image), "%s/image.daxfs", dir);
	memset(&msg, 0, sizeof(msg));
	return mkdir(tree, 0755);
}

static int teardown(void **state)
{
	(void)state;
	return remove_tree();
}

static char pattern[10000];

/* In `order` 1 the names are created the other way round. */
static void make_tree(int order)
{
	static const char *const names[] = {
		"a", "b.txt", "bin/sh", "bin/sh2", "empty", "b", "zz/deep/file",
	};
	static const char *const all[] = {
		"a",   "b.txt",   "bin/sh", "empty", "b",    "zz/deep/file",
		"bin", "zz/deep", "zz",     "link",  "void", ".",
	};
	size_t i, n = ARRAY_SIZE(names);

	for (i = 0; i < sizeof(pattern); i++)
		pattern[i] = (char)(i * 7 + i / 251);
	put_dir(order ? "zz" : "bin", 0755);
	put_dir(order ? "bin" : "zz", 0755);
	put_dir("zz/deep", 01777);
	put_dir("void", 0700);
	for (i = 0; i < n; i++) {
		const char *name = names[order ? n - 1 - i : i];

		if (str_eq(name, "empty"))
			put_file(name, "", 0, 0644);
		else if (str_eq(name, "bin/sh"))
			put_file(name, pattern, sizeof(pattern), 04755);
		else if (!str_eq(name, "bin/sh2"))
			put_file(name, name, strlen(name), 0640);
	}
	put_hard_link("bin/sh", "bin/sh2");
	put_hard_link("bin/sh", "zz/deep/sh3");
	put_link("bin/sh", "link");
	for (i = 0; i < ARRAY_SIZE(all); i++)
		set_time(all[i], 1000000000 + (time_t)i, 123456789);
	set_time("a", -5, 999999999);
}

/* ---- Building and reading --------------------------------------------------- */

static void build(const char *output, u64 size, u32 branches,
		  struct image_result *r)
{
	struct image_request req = {
		.source = tree,
		.output = output,
		.size = size,
		.branches = branches,
	};
	int rc = image_make(&req, r, &msg);

	if (rc)
		print_error("%s\n", msg.text);
	assert_int_equal(rc, 0);
}

static u8 *load(const char *path, size_t *size)
{
	struct stat st;
	u8 *p;
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	p = malloc((size_t)st.st_size);
	assert_non_null(p);
	assert_int_equal(read(fd, p, (size_t)st.st_size), st.st_size);
	close(fd);
	*size = (size_t)st.st_size;
	return p;
}

static u32 get16(const u8 *p)
{
	return p[0] | (u32)p[1] << 8;
}

static u32 get32(const u8 *p)
{
	return get16(p) | get16(p + 2) << 16;
}

static u64 get64(const u8 *p)
{
	return get32(p) | (u64)get32(p + 4) << 32;
}

struct opened {
	struct region_file file;
	struct daxfs_region *r;
	struct daxfs_branch *main;
};

static void open_image(const char *path, struct opened *o)
{
	int rc;

	memset(o, 0, sizeof(*o));
	assert_int_equal(region_file_open(path, REGION_READONLY, &o->file,
					  &msg),
			 0);
	rc = daxfs_region_open(&o->file.backing, DAXFS_OPEN_VALIDATE, &o->r,
			       &msg);
	if (rc)
		print_error("%s\n", msg.text);
	assert_int_equal(rc, 0);
	assert_int_equal(daxfs_branch_get(o->r, "main", &o->main), 0);
}

static void close_image(struct opened *o)
{
	daxfs_branch_put(o->main);
	daxfs_region_close(o->r);
	region_file_close(&o->file);
}

/* By path, without following links. */
static int find(struct opened *o, const char *path, struct daxfs_attr *a)
{
	u64 ino = 1;
	int rc = daxfs_getattr(o->main, ino, a);

	while (!rc && *path) {
		size_t n = strcspn(path, "/");

		rc = daxfs_lookup(o->main, ino, path, n, a);
		ino = a->ino;
		path += n + (path[n] == '/');
	}
	return rc;
}

/* ---- Through the engine ----------------------------------------------------- */

static void check_attrs(struct opened *o)
{
	struct daxfs_attr a;

	assert_int_equal(find(o, "", &a), 0);
	assert_int_equal(a.mode, S_IFDIR | 0755);
	assert_int_equal(a.nlink, 5);
	assert_int_equal(a.mtime.sec, 1000000011);
	assert_int_equal(find(o, "a", &a), 0);
	assert_int_equal(a.mode, S_IFREG | 0640);
	assert_int_equal(a.size, 1);
	assert_int_equal(a.mtime.sec, -5);
	assert_int_equal(a.mtime.nsec, 999999999);
	assert_int_equal(a.uid, geteuid());
	assert_int_equal(find(o, "zz/deep", &a), 0);
	assert_int_equal(a.mode, S_IFDIR | 01777);
	assert_int_equal(a.nlink, 2);
	assert_int_equal(find(o, "zz", &a), 0);
	assert_int_equal(a.nlink, 3);
	assert_int_equal(find(o, "empty", &a), 0);
	assert_int_equal(a.size, 0);
	assert_int_equal(find(o, "nothing", &a), -ENOENT);
}

static void test_engine_reads_it(void **state)
{
	struct daxfs_attr a, b, c;
	struct image_result r;
	struct opened o;
	char buf[sizeof(pattern) + 1];

	(void)state;
	make_tree(0);
	build(image, 16 << 20, 256, &r);
	assert_int_equal(r.size, 16 << 20);
	assert_int_equal(r.base.dirs, 5);
	assert_int_equal(r.base.files, 6);
	assert_int_equal(r.base.inodes, 12);
	open_image(image, &o);
	check_attrs(&o);
	assert_int_equal(find(&o, "bin/sh", &a), 0);
	assert_int_equal(find(&o, "bin/sh2", &b), 0);
	assert_int_equal(find(&o, "zz/deep/sh3", &c), 0);
	assert_int_equal(a.mode, S_IFREG | 04755);
	assert_int_equal(a.nlink, 3);
	assert_int_equal(a.ino, b.ino);
	assert_int_equal(a.ino, c.ino);
	assert_int_equal(daxfs_read(o.main, a.ino, buf, sizeof(buf), 0),
			 sizeof(pattern));
	assert_memory_equal(buf, pattern, sizeof(pattern));
	assert_int_equal(find(&o, "link", &a), 0);
	assert_int_equal(a.size, 6);
	assert_int_equal(daxfs_readlink(o.main, a.ino, buf, sizeof(buf)), 6);
	assert_memory_equal(buf, "bin/sh", 6);
	close_image(&o);
}

static int count_entry(void *ctx, const struct daxfs_dirent *d)
{
	(void)d;
	++*(int *)ctx;
	return 0;
}

static void test_large_directory(void **state)
{
	struct image_result r;
	struct daxfs_attr a;
	struct opened o;
	char name[32];
	int i, n = 0;

	(void)state;
	for (i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		put_file(name, name, strlen(name), 0644);
	}
	build(image, 0, 0, &r);
	open_image(image, &o);
	assert_int_equal(daxfs_readdir(o.main, 1, 0, count_entry, &n), 0);
	assert_int_equal(n, 3000);
	for (i = 0; i < 3000; i++) {
		char buf[32] = "";

		snprintf(name, sizeof(name), "f%d", i);
		assert_int_equal(find(&o, name, &a), 0);
		assert_int_equal(daxfs_read(o.main, a.ino, buf, sizeof(buf), 0),
				 strlen(name));
		assert_string_equal(buf, name);
	}
	close_image(&o);
}

static void test_special_files(void **state)
{
	struct image_result r;
	struct daxfs_attr a;
	struct opened o;

	(void)state;
	if (geteuid() != 0)
		skip();
	put_node("fifo", S_IFIFO | 0600, 0);
	put_node("sock", S_IFSOCK | 0755, 0);
	put_node("null", S_IFCHR | 0666, makedev(1, 3));
	put_node("big", S_IFBLK | 0660, makedev(259, 70000));
	build(image, 0, 0, &r);
	open_image(image, &o);
	assert_int_equal(find(&o, "fifo", &a), 0);
	assert_int_equal(a.mode, S_IFIFO | 0600);
	assert_int_equal(find(&o, "sock", &a), 0);
	assert_int_equal(a.mode, S_IFSOCK | 0755);
	assert_int_equal(find(&o, "null", &a), 0);
	assert_int_equal(a.mode, S_IFCHR | 0666);
	assert_int_equal(a.rdev, 0x103);
	assert_int_equal(find(&o, "big", &a), 0);
	assert_int_equal(daxfs_major(a.rdev), 259);
	assert_int_equal(daxfs_minor(a.rdev), 70000);
	close_image(&o);
}

static void test_xattrs(void **state)
{
	/* version 2 capability set: cap_net_raw=ep */
	static const u8 caps[20] = { 1, 0, 0, 2, 0, 0x20 };
	char path[400], big[3000], buf[4096];
	struct image_result r;
	struct daxfs_attr a;
	struct opened o;
	ssize_t n;

	(void)state;
	if (geteuid() != 0)
		skip();
	memset(big, 'x', sizeof(big));
	put_file("ping", "ping", 4, 0755);
	put_dir("d", 0755);
	put_link("ping", "l");
	snprintf(path, sizeof(path), "%s/ping", tree);
	assert_int_equal(lsetxattr(path, "trusted.z", "1", 1, 0), 0);
	assert_int_equal(lsetxattr(path, "trusted.empty", "", 0, 0), 0);
	assert_int_equal(lsetxattr(path, "trusted.big", big, sizeof(big), 0),
			 0);
	assert_int_equal(lsetxattr(path, "security.capability", caps, 20, 0),
			 0);
	snprintf(path, sizeof(path), "%s/d", tree);
	assert_int_equal(lsetxattr(path, "trusted.dir", "yes", 3, 0), 0);
	snprintf(path, sizeof(path), "%s/l", tree);
	assert_int_equal(lsetxattr(path, "trusted.link", "too", 3, 0), 0);
	build(image, 0, 0, &r);
	open_image(image, &o);
	assert_int_equal(find(&o, "ping", &a), 0);
	n = daxfs_getxattr(o.main, a.ino, "security.capability", buf, 4096);
	assert_int_equal(n, 20);
	assert_memory_equal(buf, caps, 20);
	n = daxfs_getxattr(o.main, a.ino, "trusted.big", buf, 4096);
	assert_int_equal(n, sizeof(big));
	assert_memory_equal(buf, big, sizeof(big));
	assert_int_equal(daxfs_getxattr(o.main, a.ino, "trusted.empty", buf, 9),
			 0);
	assert_int_equal(daxfs_getxattr(o.main, a.ino, "trusted.no", buf, 9),
			 -ENODATA);
	n = daxfs_listxattr(o.main, a.ino, buf, sizeof(buf));
	/* a host's security module may add its own */
	assert_true(n >= 20 + 12 + 14 + 10);
	assert_int_equal(find(&o, "d", &a), 0);
	assert_int_equal(daxfs_getxattr(o.main, a.ino, "trusted.dir", buf, 9),
			 3);
	assert_int_equal(find(&o, "l", &a), 0);
	assert_int_equal(daxfs_getxattr(o.main, a.ino, "trusted.link", buf, 9),
			 3);
	close_image(&o);
}

static void test_sparse(void **state)
{
	const off_t size = 96 << 20, at = 64 << 20;
	struct image_result r;
	struct daxfs_attr a;
	struct opened o;
	struct stat st;
	char path[400], buf[8];
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/sparse", tree);
	fd = open(path, O_RDWR | O_CREAT, 0644);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	assert_int_equal(pwrite(fd, "data", 4, at), 4);
	close(fd);
	put_file("after", "after", 5, 0644);
	build(image, 0, 0, &r);
	assert_int_equal(stat(image, &st), 0);
	assert_true(st.st_size > size);
	assert_true(st.st_blocks * 512 < 4 << 20);
	/* validation checks the checksum that skipped the holes */
	open_image(image, &o);
	assert_int_equal(find(&o, "sparse", &a), 0);
	assert_int_equal(a.size, size);
	assert_int_equal(daxfs_read(o.main, a.ino, buf, 8, (u64)at), 8);
	assert_memory_equal(buf, "data\0\0\0\0", 8);
	close_image(&o);
}

static void test_deep(void **state)
{
	enum { DEPTH = 1500 };
	struct image_result r;
	struct daxfs_attr a;
	struct opened o;
	u64 ino = 1;
	int fd = open(tree, O_RDONLY | O_DIRECTORY), i;

	(void)state;
	for (i = 0; i < DEPTH; i++) {
		int next;

		assert_int_equal(mkdirat(fd, "a-longer-name", 0755), 0);
		next = openat(fd, "a-longer-name", O_RDONLY | O_DIRECTORY);
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	close(fd);
	build(image, 0, 0, &r);
	assert_int_equal(r.base.dirs, DEPTH + 1);
	open_image(image, &o);
	for (i = 0; i < DEPTH; i++) {
		assert_int_equal(daxfs_lookup(o.main, ino, "a-longer-name", 13,
					      &a),
				 0);
		ino = a.ino;
	}
	close_image(&o);
}

/* ---- Bytes ------------------------------------------------------------------ */

static void check_super_bytes(const u8 *p, u64 size, bool writable)
{
	u64 base = writable ? 0x9000 : 0x1000;

	assert_int_equal(get32(p + 0), 0x64617834);
	assert_int_equal(get32(p + 4), 4);
	assert_int_equal(get32(p + 8), 0);
	assert_int_equal(get32(p + 12), 4096);
	assert_int_equal(get64(p + 16), size);
	assert_int_equal(get64(p + 24), base);
	assert_int_equal(get32(p + 48), writable ? 256 : 0);
	assert_int_equal(get32(p + 112), 0);
	if (!writable)
		return;
	assert_int_equal(get64(p + 40), 0x1000);
	assert_int_equal(get64(p + 72) % 4096, 0);
	assert_true(get64(p + 72) >= base + get64(p + 32));
	assert_true(get64(p + 72) + get64(p + 80) <= size);
}

/* The inode of a path, from the bytes alone; NULL: none. */
static const u8 *raw_find(const u8 *base, const char *path)
{
	const u8 *inodes = base + get64(base + 24);
	const u8 *inode = inodes;

	while (*path) {
		size_t len = strcspn(path, "/");
		const u8 *d = base + get64(inode + 24), *found = NULL;
		u64 i, n = get64(inode + 16) / 271;

		assert_int_equal(get64(inode + 16) % 271, 0);
		assert_int_equal(get64(inode + 24) % 4096, 0);
		for (i = 0; i < n; i++, d += 272)
			if (get16(d + 8) == len && !memcmp(d + 16, path, len))
				found = d;
		if (!found)
			return NULL;
		inode = inodes + 64 * (get32(found) - 1);
		assert_int_equal(get32(inode), get32(found));
		assert_int_equal(get32(inode + 4), get32(found + 4));
		path += len + (path[len] == '/');
	}
	return inode;
}

static void check_inode_bytes(const u8 *base)
{
	const u8 *i = raw_find(base, "bin/sh");
	u64 at;

	assert_non_null(i);
	assert_ptr_equal(i, raw_find(base, "zz/deep/sh3"));
	assert_int_equal(get32(i + 4), 0104755);
	assert_int_equal(get32(i + 8), geteuid());
	assert_int_equal(get32(i + 12), getegid());
	assert_int_equal(get64(i + 16), sizeof(pattern));
	at = get64(i + 24);
	assert_int_equal(at % 4096, 0);
	assert_memory_equal(base + at, pattern, sizeof(pattern));
	/* padded with zeros to the next block */
	for (u64 k = at + sizeof(pattern); k % 4096; k++)
		assert_int_equal(base[k], 0);
	assert_int_equal(get32(i + 32), 3);
	assert_int_equal(get64(i + 40), 1000000002);
	assert_int_equal(get32(i + 48), 123456789);

	i = raw_find(base, "link");
	assert_int_equal(get32(i + 4) & 0170000, 0120000);
	assert_int_equal(get64(i + 16), 6);
	assert_int_equal(get64(i + 24) % 4096, 0);
	assert_string_equal((const char *)base + get64(i + 24), "bin/sh");

	i = raw_find(base, "");
	assert_int_equal(get64(i + 16), 271 * 8);
	assert_int_equal(get32(i + 32), 5);
	assert_int_equal(get64(raw_find(base, "void") + 16), 0);
	/* CRC-32C of "a" */
	assert_int_equal(get32(raw_find(base, "a") + 60), 0xc1d04330);
	assert_int_equal(get64(raw_find(base, "a") + 40), -5);
}

static void check_base_bytes(const u8 *base, u64 size)
{
	static const char *const sorted[] = { "a",     "b",    "b.txt", "bin",
					      "empty", "link", "void",  "zz" };
	const u8 *d;

	assert_int_equal(get32(base + 0), 0x64646134);
	assert_int_equal(get32(base + 4), 4);
	assert_int_equal(get32(base + 12), 4096);
	assert_int_equal(get64(base + 16), size);
	assert_int_equal(get64(base + 24), 4096);
	assert_int_equal(get32(base + 32), 12);
	assert_int_equal(get32(base + 36), 1);
	assert_int_equal(get64(base + 40) % 4096, 0);
	for (u32 n = 0; n < 12; n++)
		assert_int_equal(get32(base + 4096 + 64 * n), n + 1);
	d = base + get64(base + 4096 + 24);
	for (u32 n = 0; n < 8; n++, d += 272) {
		assert_int_equal(get16(d + 8), strlen(sorted[n]));
		assert_string_equal((const char *)d + 16, sorted[n]);
		/* the root's entries are numbered in their order */
		assert_int_equal(get32(d), n + 2);
	}
	check_inode_bytes(base);
}

static void test_bytes(void **state)
{
	struct image_result r;
	size_t size;
	u8 *p;

	(void)state;
	make_tree(0);
	build(image, 8 << 20, 256, &r);
	p = load(image, &size);
	assert_int_equal(size, 8 << 20);
	check_super_bytes(p, size, true);
	assert_int_equal(get64(p + 32), r.base.size);
	/* mkdaxfs leaves the branch table empty */
	for (size_t i = 0x1000; i < 0x9000; i++)
		assert_int_equal(p[i], 0);
	check_base_bytes(p + 0x9000, r.base.size);
	free(p);

	build(image, 0, 0, &r);
	p = load(image, &size);
	assert_int_equal(size, 0x1000 + r.base.size);
	check_super_bytes(p, size, false);
	check_base_bytes(p + 0x1000, r.base.size);
	free(p);
}

/* Without its extensions, and with unsorted directories, it is version 4's. */
static void test_as_version_4(void **state)
{
	struct image_result r;
	struct daxfs_attr a;
	struct opened o;
	u8 *p, *root, swap[272];
	char buf[16];
	size_t size;
	int fd;

	(void)state;
	make_tree(0);
	build(image, 0, 0, &r);
	p = load(image, &size);
	memset(p + 160, 0, 864);
	for (u32 n = 0; n < 12; n++)
		memset(p + 0x2000 + 64 * n + 36, 0, 28);
	memset(p + 0x1000 + 48, 0, 16);
	root = p + 0x1000 + get64(p + 0x2000 + 24);
	memcpy(swap, root, 272);
	memcpy(root, root + 5 * 272, 272);
	memcpy(root + 5 * 272, swap, 272);
	fd = open(image, O_WRONLY);
	assert_int_equal(write(fd, p, size), size);
	close(fd);
	free(p);
	open_image(image, &o);
	assert_int_equal(find(&o, "a", &a), 0);
	assert_int_equal(a.mode, S_IFREG | 0640);
	assert_int_equal(a.mtime.sec, 0);
	assert_int_equal(find(&o, "zz/deep/file", &a), 0);
	assert_int_equal(daxfs_read(o.main, a.ino, buf, 16, 0), 12);
	assert_memory_equal(buf, "zz/deep/file", 12);
	assert_int_equal(find(&o, "link", &a), 0);
	assert_int_equal(daxfs_readlink(o.main, a.ino, buf, 16), 6);
	close_image(&o);
}

static void test_xattr_bytes(void **state)
{
	struct image_result r;
	const u8 *base, *i, *x;
	char path[400];
	size_t size;
	u8 *p;

	(void)state;
	if (geteuid() != 0)
		skip();
	put_file("plain", "1", 1, 0644);
	put_file("with", "1", 1, 0644);
	snprintf(path, sizeof(path), "%s/with", tree);
	assert_int_equal(lsetxattr(path, "trusted.b", "22", 2, 0), 0);
	assert_int_equal(lsetxattr(path, "trusted.a", "1", 1, 0), 0);
	build(image, 0, 0, &r);
	p = load(image, &size);
	base = p + 0x1000;
	i = raw_find(base, "with");
	/* feature bits: attributes, sorted directories */
	assert_int_equal(get64(p + 160) & 3, 3);
	if (get32(i + 56) == 48) { /* no others, by a security module */
		assert_int_equal(get32(raw_find(base, "plain") + 52), 0);
		assert_int_equal(get64(base + 56), 48);
		x = base + get64(base + 48) + 8 * (get32(i + 52) - 1);
		assert_int_equal(get16(x), 9);
		assert_int_equal(get32(x + 4), 1);
		assert_memory_equal(x + 8, "trusted.a1\0\0\0\0\0\0", 16);
		x += 24;
		assert_int_equal(get16(x), 9);
		assert_int_equal(get32(x + 4), 2);
		assert_memory_equal(x + 8, "trusted.b22\0\0\0\0\0", 16);
	} else {
		assert_true(get32(i + 56) > 48);
	}
	free(p);
}

static void test_same_tree_same_bytes(void **state)
{
	struct image_result r1, r2;
	char second[320];
	u8 *a, *b;
	size_t n, m;

	(void)state;
	make_tree(0);
	build(image, 8 << 20, 256, &r1);
	snprintf(second, sizeof(second), "%s/second", dir);
	assert_int_equal(rename(tree, second), 0);
	assert_int_equal(mkdir(tree, 0755), 0);
	make_tree(1);
	snprintf(second, sizeof(second), "%s/second.daxfs", dir);
	build(second, 8 << 20, 256, &r2);
	a = load(image, &n);
	b = load(second, &m);
	assert_int_equal(n, m);
	assert_memory_equal(a, b, n);
	free(b);

	/* and another tree another identity */
	put_file("a", "b", 1, 0640);
	set_time("a", -5, 999999999);
	set_time(".", 1000000011, 123456789);
	build(second, 8 << 20, 256, &r2);
	b = load(second, &m);
	assert_int_equal(n, m);
	assert_memory_not_equal(a + 184, b + 184, 16);
	assert_memory_not_equal(a + 200, b + 200, 16);
	free(a);
	free(b);
}

/* ---- What can go wrong ------------------------------------------------------ */

static int scan_and_write(void (*change)(void))
{
	struct image *im;
	int fd = open(image, O_RDWR | O_CREAT, 0600);
	int rc;

	assert_true(fd >= 0);
	assert_int_equal(image_scan(tree, &im, &msg), 0);
	change();
	rc = image_write(im, fd, 0, NULL, NULL, &msg);
	image_free(im);
	close(fd);
	return rc;
}

static void change_nothing(void)
{
}

static void change_size(void)
{
	put_file("a", "longer", 6, 0640);
}

static void change_removed(void)
{
	char path[400];

	snprintf(path, sizeof(path), "%s/a", tree);
	assert_int_equal(unlink(path), 0);
}

static void change_to_link(void)
{
	change_removed();
	put_link("/etc/passwd", "a");
}

static void change_dir(void)
{
	put_file("zz/deep/more", "1", 1, 0600);
}

static void change_dir_to_link(void)
{
	char a[400], b[400];

	snprintf(a, sizeof(a), "%s/zz/deep", tree);
	snprintf(b, sizeof(b), "%s/elsewhere", dir);
	assert_int_equal(rename(a, b), 0);
	put_link("../../elsewhere", "zz/deep");
}

static void test_changes(void **state)
{
	(void)state;
	make_tree(0);
	assert_int_equal(scan_and_write(change_nothing), 0);
	assert_int_equal(scan_and_write(change_size), -EAGAIN);
	assert_non_null(strstr(msg.text, "/a'"));
	assert_non_null(strstr(msg.text, "changed"));
	assert_int_equal(scan_and_write(change_removed), -EAGAIN);
	put_file("a", "a", 1, 0640);
	assert_int_equal(scan_and_write(change_to_link), -EAGAIN);
	assert_int_equal(scan_and_write(change_dir), -EAGAIN);
	assert_non_null(strstr(msg.text, "/zz/deep'"));
	assert_int_equal(scan_and_write(change_dir_to_link), -EAGAIN);
	assert_int_equal(unlink(image), 0);
}

static void test_too_small(void **state)
{
	struct image_request req = {
		.source = tree, .output = image, .size = 65536, .branches = 256
	};
	struct image_result r;
	unsigned long long need;
	const char *s;

	(void)state;
	make_tree(0);
	assert_int_equal(image_make(&req, &r, &msg), -ENOSPC);
	assert_non_null(strstr(msg.text, image));
	assert_non_null(strstr(msg.text, "65536"));
	s = strstr(msg.text, "at least ");
	assert_non_null(s);
	assert_int_equal(sscanf(s, "at least %llu bytes", &need), 1);
	assert_int_equal(access(image, F_OK), -1);
	/* and what it asks for is enough, one page less is not */
	req.size = need - 4096;
	assert_int_equal(image_make(&req, &r, &msg), -ENOSPC);
	req.size = need;
	assert_int_equal(image_make(&req, &r, &msg), 0);
	assert_int_equal(r.size, need);
}

static void test_bad_source(void **state)
{
	struct image_request req = { .source = tree, .output = image };
	struct image_result r;
	char path[400];

	(void)state;
	put_file("a", "a", 1, 0640);
	snprintf(path, sizeof(path), "%s/a", tree);
	req.source = path;
	assert_int_equal(image_make(&req, &r, &msg), -ENOTDIR);
	assert_non_null(strstr(msg.text, path));
	snprintf(path, sizeof(path), "%s/none", tree);
	assert_int_equal(image_make(&req, &r, &msg), -ENOENT);
	assert_non_null(strstr(msg.text, path));
	assert_int_equal(access(image, F_OK), -1);
}

static void test_without_base(void **state)
{
	struct image_request req = { .output = image, .branches = 256 };
	struct image_result a, b;
	struct daxfs_attr attr;
	struct opened o;
	int n = 0;

	(void)state;
	assert_int_equal(image_make(&req, &a, &msg), 0);
	assert_true(a.size >= IMAGE_DEFAULT_ROOM);
	open_image(image, &o);
	assert_int_equal(daxfs_getattr(o.main, 1, &attr), 0);
	assert_int_equal(attr.mode, S_IFDIR | 0755);
	assert_int_equal(daxfs_readdir(o.main, 1, 0, count_entry, &n), 0);
	assert_int_equal(n, 0);
	close_image(&o);
	assert_int_equal(image_make(&req, &b, &msg), 0);
	assert_memory_not_equal(a.base.uuid, b.base.uuid, 16);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_engine_reads_it), T(test_large_directory),
		T(test_special_files),   T(test_xattrs),
		T(test_sparse),          T(test_deep),
		T(test_bytes),           T(test_as_version_4),
		T(test_xattr_bytes),     T(test_same_tree_same_bytes),
		T(test_changes),         T(test_too_small),
		T(test_bad_source),      T(test_without_base),
	};

	return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
