// SPDX-License-Identifier: Apache-2.0
/*
 * A version 4 image with branches and logs, written byte by byte from the
 * published offsets (no structure of ours), opens and shows what its log says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/mman.h>

#include "core/daxfs.h"

#define REGION (4u << 20)
#define BASE 0x9000u
#define LOG 0x100000u

static uint8_t *mem;
static struct daxfs_message msg;
static uint32_t log_len;

static void p16(uint32_t off, uint16_t v)
{
	memcpy(mem + off, &v, 2);
}

static void p32(uint32_t off, uint32_t v)
{
	memcpy(mem + off, &v, 4);
}

static void p64(uint32_t off, uint64_t v)
{
	memcpy(mem + off, &v, 8);
}

static void base_inode(uint32_t ino, uint32_t mode, uint64_t size,
		       uint64_t data, uint32_t nlink)
{
	uint32_t o = BASE + 4096 + (ino - 1) * 64;

	p32(o, ino);
	p32(o + 4, mode);
	p64(o + 16, size);
	p64(o + 24, data);
	p32(o + 32, nlink);
}

static void base_dirent(uint32_t dir_data, uint32_t i, uint32_t ino,
			uint32_t mode, const char *name)
{
	uint32_t o = BASE + dir_data + i * 272;

	p32(o, ino);
	p32(o + 4, mode);
	p16(o + 8, (uint16_t)strlen(name));
	memcpy(mem + o + 16, name, strlen(name));
}

/* Base: /z (file "base data"), /a -> z (unsorted on purpose), /d/ empty. */
static void make_base(void)
{
	p32(BASE, 0x64646134);
	p32(BASE + 4, 1);
	p32(BASE + 12, 4096);
	p64(BASE + 16, 6 * 4096);
	p64(BASE + 24, 4096);
	p32(BASE + 32, 4);
	p32(BASE + 36, 1);
	p64(BASE + 40, 2 * 4096);
	base_inode(1, 040755, 3 * 271, 2 * 4096, 3);
	base_inode(2, 0100644, 9, 3 * 4096, 1);
	base_inode(3, 0120777, 1, 4 * 4096, 1);
	base_inode(4, 040700, 0, 0, 2);
	base_dirent(2 * 4096, 0, 2, 0100644, "z");
	base_dirent(2 * 4096, 1, 4, 040700, "d");
	base_dirent(2 * 4096, 2, 3, 0120777, "a");
	memcpy(mem + BASE + 3 * 4096, "base data", 9);
	memcpy(mem + BASE + 4 * 4096, "z", 2);
}

static void branch(uint32_t slot, uint64_t id, uint64_t parent,
		   const char *name, uint64_t log, uint64_t len)
{
	uint32_t o = 0x1000 + slot * 128;

	p64(o, id);
	p64(o + 8, parent);
	p64(o + 16, log);
	p64(o + 24, len);
	p64(o + 32, 1 << 20);
	p32(o + 40, 1);
	memcpy(mem + o + 56, name, strlen(name) + 1);
}

static uint32_t entry(uint32_t type, uint32_t body, uint64_t ino)
{
	uint32_t o = LOG + log_len;

	p32(o, type);
	p32(o + 4, 24 + body);
	p64(o + 8, ino);
	p64(o + 16, 1700000000123456789ull);
	log_len += 24 + body;
	return o + 24;
}

static void log_create(uint32_t type, uint64_t parent, uint64_t ino,
		       uint32_t mode, const char *name)
{
	uint32_t o = entry(type, 32 + (uint32_t)strlen(name), ino);

	p64(o, parent);
	p64(o + 8, ino);
	p32(o + 16, mode);
	p32(o + 20, 7);
	p32(o + 24, 8);
	p16(o + 28, (uint16_t)strlen(name));
	memcpy(mem + o + 32, name, strlen(name));
}

static void log_write(uint64_t ino, uint64_t off, const char *data)
{
	uint32_t o = entry(1, 16 + (uint32_t)strlen(data), ino);

	p64(o, off);
	p32(o + 8, (uint32_t)strlen(data));
	memcpy(mem + o + 16, data, strlen(data));
}

static void log_symlink(uint64_t parent, uint64_t ino, const char *name,
			const char *target)
{
	uint32_t n = (uint32_t)strlen(name), t = (uint32_t)strlen(target);
	uint32_t o = entry(8, 32 + n + t + 1, ino);

	p64(o, parent);
	p64(o + 8, ino);
	p16(o + 24, (uint16_t)n);
	p16(o + 26, (uint16_t)t);
	memcpy(mem + o + 32, name, n);
	memcpy(mem + o + 32 + n, target, t + 1);
}

static void log_rename(uint64_t from, uint64_t to, uint64_t ino,
		       const char *old, const char *new)
{
	uint32_t a = (uint32_t)strlen(old), b = (uint32_t)strlen(new);
	uint32_t o = entry(6, 32 + a + b, ino);

	p64(o, from);
	p64(o + 8, to);
	p64(o + 16, ino);
	p16(o + 24, (uint16_t)a);
	p16(o + 26, (uint16_t)b);
	memcpy(mem + o + 32, old, a);
	memcpy(mem + o + 32 + a, new, b);
}

static void log_delete(uint64_t parent, uint64_t ino, const char *name)
{
	uint32_t o = entry(3, 16 + (uint32_t)strlen(name), ino);

	p64(o, parent);
	p16(o + 8, (uint16_t)strlen(name));
	memcpy(mem + o + 16, name, strlen(name));
}

static void make_log(void)
{
	uint32_t o;

	log_create(2, 1, 100, 0100640, "new");
	log_write(100, 0, "0123456789");
	log_write(100, 4, "xy");   /* overlaps: the later write wins */
	log_write(2, 5, "BRANCH"); /* over base data, and longer */
	log_create(5, 1, 101, 040750, "dir");
	log_rename(1, 101, 100, "new", "moved");
	log_symlink(101, 102, "ln", "moved");
	log_delete(1, 3, "a");
	log_create(2, 4, 103, 0100600, "short");
	log_write(103, 0, "abcdef");
	o = entry(4, 8, 103);
	p64(o, 2); /* truncate to 2, then grow: zeros, not "cdef" */
	o = entry(7, 24, 103);
	p32(o, 0400);
	p32(o + 4, 55);
	p32(o + 12, 1 | 2 | 8);
	p64(o + 16, 5);
}

static int setup(void **state)
{
	(void)state;
	mem = mmap(NULL, REGION, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(mem, MAP_FAILED);
	log_len = 0;
	p32(0, 0x64617834);
	p32(4, 4);
	p32(12, 4096);
	p64(16, REGION);
	p64(24, BASE);
	p64(32, 6 * 4096);
	p64(40, 0x1000);
	p32(48, 256);
	p32(52, 2);
	p64(56, 3);
	p64(64, 200);
	p64(72, LOG);
	p64(80, REGION - LOG);
	p64(88, LOG + (2u << 20));
	make_base();
	make_log();
	branch(0, 1, 0, "main", 0, 0);
	branch(1, 2, 1, "work", LOG, log_len);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return munmap(mem, REGION);
}

static struct daxfs_region *open_region(void)
{
	struct daxfs_backing bk = { .base = mem, .size = REGION };
	struct daxfs_region *r = NULL;
	int rc = daxfs_region_open(&bk, DAXFS_OPEN_VALIDATE, &r, &msg);

	if (rc)
		fail_msg("open: %d %s", rc, msg.text);
	return r;
}

static uint64_t look(struct daxfs_branch *b, uint64_t dir, const char *name,
		     struct daxfs_attr *a)
{
	assert_int_equal(daxfs_lookup(b, dir, name, strlen(name), a), 0);
	return a->ino;
}

static void has(struct daxfs_branch *b, uint64_t ino, const char *want,
		size_t len)
{
	char got[64];

	assert_int_equal(daxfs_read(b, ino, got, sizeof(got), 0), len);
	assert_memory_equal(got, want, len);
}

static void test_main(void **state)
{
	struct daxfs_region *r = open_region();
	struct daxfs_branch *b;
	struct daxfs_attr a;
	char target[16];

	(void)state;
	assert_int_equal(daxfs_branch_get(r, "main", &b), 0);
	has(b, look(b, 1, "z", &a), "base data", 9);
	assert_int_equal(a.mtime.sec, 0);
	look(b, 1, "a", &a);
	assert_int_equal(daxfs_readlink(b, a.ino, target, sizeof(target)), 1);
	assert_int_equal(target[0], 'z');
	assert_int_equal(daxfs_lookup(b, 1, "new", 3, &a), -ENOENT);
	daxfs_branch_put(b);
	daxfs_region_close(r);
}

static void test_branch(void **state)
{
	struct daxfs_region *r = open_region();
	struct daxfs_branch *b;
	struct daxfs_attr a;
	struct daxfs_new n = { .mode = S_IFREG | 0600 };
	uint64_t dir, d;
	char target[16];

	(void)state;
	assert_int_equal(daxfs_branch_get(r, "work", &b), 0);
	has(b, look(b, 1, "z", &a), "base BRANCH", 11);
	dir = look(b, 1, "dir", &a);
	assert_int_equal(a.mode, S_IFDIR | 0750);
	assert_int_equal(a.uid, 7);
	assert_int_equal(a.mtime.sec, 1700000000);
	assert_int_equal(a.mtime.nsec, 123456789);
	has(b, look(b, dir, "moved", &a), "0123xy6789", 10);
	look(b, dir, "ln", &a);
	assert_int_equal(daxfs_readlink(b, a.ino, target, sizeof(target)), 5);
	assert_memory_equal(target, "moved", 5);
	assert_int_equal(daxfs_lookup(b, 1, "a", 1, &a), -ENOENT);
	assert_int_equal(daxfs_lookup(b, 1, "new", 3, &a), -ENOENT);
	d = look(b, 1, "d", &a);
	has(b, look(b, d, "short", &a), "ab\0\0\0", 5);
	assert_int_equal(a.mode, S_IFREG | 0400);
	assert_int_equal(a.uid, 55);
	/* a version 4 log is read, not written */
	assert_int_equal(daxfs_make(b, 1, "w", 1, &n, &a), -EROFS);
	daxfs_branch_put(b);
	daxfs_region_close(r);
}

/* As mkdaxfs of version 4 leaves it: no branch yet. Ours may then write. */
static void test_upgrade(void **state)
{
	struct daxfs_new n = { .mode = S_IFREG | 0600 };
	struct daxfs_region_info info;
	struct daxfs_region *r;
	struct daxfs_branch *b;
	struct daxfs_attr a;

	(void)state;
	memset(mem + 0x1000, 0, 0x8000);
	p32(52, 0);
	r = open_region();
	daxfs_region_info(r, &info);
	assert_false(info.readonly);
	/* looking at it changed nothing */
	assert_int_equal(info.incompat, 0);
	assert_int_equal(daxfs_branch_create(r, "w", "main", 1), 0);
	assert_int_equal(daxfs_branch_get(r, "w", &b), 0);
	assert_int_equal(daxfs_make(b, 1, "new", 3, &n, &a), 0);
	assert_int_equal(daxfs_write(b, a.ino, "mine", 4, 0, 0), 4);
	daxfs_branch_put(b);
	daxfs_region_close(r);
	r = open_region();
	daxfs_region_info(r, &info);
	assert_int_equal(info.incompat, DAXFS_INCOMPAT_SEGMENTS);
	assert_int_equal(daxfs_branch_get(r, "w", &b), 0);
	has(b, look(b, 1, "new", &a), "mine", 4);
	has(b, look(b, 1, "z", &a), "base data", 9);
	daxfs_branch_put(b);
	daxfs_region_close(r);
}

/* Where version 4 has a log's capacity, segmented regions have a quota. */
static void test_upgrade_main(void **state)
{
	struct daxfs_branch_info info;
	struct daxfs_region *r;
	struct daxfs_branch *b;

	(void)state;
	memset(mem + 0x1000 + 128, 0, 0x8000 - 128);
	p64(0x1000 + 24, 0);
	p64(0x1000 + 32, 12345); /* log_capacity */
	p32(52, 1);
	for (int round = 0; round < 2; round++) {
		r = open_region();
		assert_int_equal(daxfs_branch_get(r, "main", &b), 0);
		assert_int_equal(daxfs_branch_info(b, &info), 0);
		assert_int_equal(info.quota_bytes, 0);
		assert_int_equal(info.quota_inodes, 0);
		daxfs_branch_put(b);
		if (!round)
			assert_int_equal(daxfs_branch_create(r, "w", "main", 1),
					 0);
		daxfs_region_close(r);
	}
}

/* Cut or damage the log at every byte: an error or a view, never a crash. */
static void test_damage(void **state)
{
	struct daxfs_backing bk = { .base = mem, .size = REGION };
	struct daxfs_region *r;

	(void)state;
	for (uint32_t i = 0; i < log_len; i++) {
		uint8_t old = mem[LOG + i];

		mem[LOG + i] ^= 0xa5;
		if (!daxfs_region_open(&bk, 0, &r, &msg))
			daxfs_region_close(r);
		else
			assert_true(strlen(msg.text) > 0);
		mem[LOG + i] = old;
		p64(0x1000 + 128 + 24, i); /* log_size */
		if (!daxfs_region_open(&bk, 0, &r, &msg))
			daxfs_region_close(r);
		p64(0x1000 + 128 + 24, log_len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_main, setup, teardown),
		cmocka_unit_test_setup_teardown(test_branch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_upgrade, setup, teardown),
		cmocka_unit_test_setup_teardown(test_upgrade_main, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
