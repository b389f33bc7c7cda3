/* SPDX-License-Identifier: Apache-2.0 */
/* Region files: locks, creation, refusal of what is none. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/file.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cmocka.h>

#include "driver/common/util.h"
#include "driver/region/region.h"
#include "driver/region/region_dax.h"
#include "scratch.h"

static char dir[256], path[300];
static struct daxfs_message msg;

static int setup(void **state)
{
	(void)state;
	if (!scratch_dir(dir, sizeof(dir), "region"))
		return -1;
	snprintf(path, sizeof(path), "%s/r.daxfs", dir);
	memset(&msg, 0, sizeof(msg));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (unlink(path) < 0 && errno != ENOENT)
		return -1;
	/* fails where a test left something else */
	return rmdir(dir);
}

static void make_file(off_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

static void test_create_and_publish(void **state)
{
	struct region_file f;
	struct stat st;

	(void)state;
	assert_int_equal(region_file_create(path, 1 << 20, &f, &msg), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(f.backing.size, 1 << 20);
	assert_false(f.backing.readonly);
	memcpy(f.backing.base, "hello", 5);
	assert_int_equal(region_file_publish(&f, &msg), 0);
	assert_string_equal(f.path, path);
	region_file_close(&f);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 1 << 20);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_true(st.st_blocks * 512 < 64 << 10);

	assert_int_equal(region_file_open(path, REGION_READONLY, &f, &msg), 0);
	assert_memory_equal(f.backing.base, "hello", 5);
	assert_true(f.backing.readonly);
	region_file_close(&f);
	region_file_close(&f);
	region_file_close(NULL);
}

static void test_create_unpublished_leaves_nothing(void **state)
{
	struct region_file f;

	(void)state;
	assert_int_equal(region_file_create(path, 8192, &f, &msg), 0);
	region_file_close(&f);
	assert_int_equal(access(path, F_OK), -1);
	/* teardown's rmdir() finds anything else */
}

static void test_publish_replaces(void **state)
{
	struct region_file f;
	struct stat st;

	(void)state;
	make_file(4096);
	assert_int_equal(region_file_create(path, 8192, &f, &msg), 0);
	assert_int_equal(region_file_publish(&f, &msg), 0);
	assert_int_equal(region_file_publish(&f, &msg), -EINVAL);
	region_file_close(&f);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 8192);
}

static void test_create_bad(void **state)
{
	char bad[400];
	struct region_file f;

	(void)state;
	assert_int_equal(region_file_create(path, 0, &f, &msg), -EINVAL);
	assert_int_equal(region_file_create(path, 4097, &f, &msg), -EINVAL);
	assert_non_null(strstr(msg.text, "4097"));
	assert_int_equal(region_file_create(path, UINT64_MAX & ~4095ull, &f,
					    &msg),
			 -EINVAL);
	snprintf(bad, sizeof(bad), "%s/no/such", dir);
	assert_int_equal(region_file_create(bad, 4096, &f, &msg), -ENOENT);
	assert_non_null(strstr(msg.text, "no/such"));
	snprintf(bad, sizeof(bad), "%s/", dir);
	assert_int_equal(region_file_create(bad, 4096, &f, &msg), -EISDIR);
}

static void test_locks(void **state)
{
	struct region_file a, b, c;

	(void)state;
	make_file(8192);
	assert_int_equal(region_file_open(path, 0, &a, &msg), 0);
	assert_int_equal(region_file_open(path, 0, &b, &msg), -EWOULDBLOCK);
	assert_non_null(strstr(msg.text, path));
	assert_int_equal(region_file_open(path, REGION_READONLY, &b, &msg),
			 -EWOULDBLOCK);
	assert_int_equal(region_file_open(path, REGION_NOLOCK, &b, &msg), 0);
	assert_true(b.backing.readonly);
	region_file_close(&b);
	region_file_close(&a);

	assert_int_equal(region_file_open(path, REGION_READONLY, &a, &msg), 0);
	assert_int_equal(region_file_open(path, REGION_READONLY, &b, &msg), 0);
	assert_int_equal(region_file_open(path, 0, &c, &msg), -EWOULDBLOCK);
	region_file_close(&a);
	region_file_close(&b);
	assert_int_equal(region_file_open(path, 0, &c, &msg), 0);
	region_file_close(&c);
}

static void test_refused(void **state)
{
	struct region_file f;

	(void)state;
	assert_int_equal(region_file_open(path, 0, &f, &msg), -ENOENT);
	assert_non_null(strstr(msg.text, path));
	assert_int_equal(region_file_open(dir, REGION_READONLY, &f, &msg),
			 -EISDIR);
	make_file(0);
	assert_int_equal(region_file_open(path, 0, &f, &msg), -EINVAL);
	make_file(4095);
	assert_int_equal(region_file_open(path, 0, &f, &msg), -EINVAL);
	make_file(4097);
	assert_int_equal(region_file_open(path, 0, &f, &msg), -EINVAL);
	assert_non_null(strstr(msg.text, "4097"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(region_file_open(path, REGION_READONLY, &f, &msg),
			 -EINVAL);
	assert_non_null(strstr(msg.text, "not a regular file"));
}

static void test_discard(void **state)
{
	struct region_file f;
	struct daxfs_backing *bk = &f.backing;
	struct stat before, after;
	char *p;

	(void)state;
	make_file(1 << 20);
	assert_int_equal(region_file_open(path, 0, &f, &msg), 0);
	p = bk->base;
	memset(p, 7, 1 << 20);
	assert_int_equal(msync(p, 1 << 20, MS_SYNC), 0);
	assert_int_equal(fstat(f.fd, &before), 0);
	assert_int_equal(bk->discard(bk->priv, 65536, 1 << 19), 0);
	assert_int_equal(fstat(f.fd, &after), 0);
	assert_true(after.st_blocks < before.st_blocks);
	assert_int_equal(after.st_size, 1 << 20);
	assert_int_equal(p[65535], 7);
	assert_int_equal(p[65536], 0);
	assert_int_equal(p[65536 + (1 << 19) - 1], 0);
	assert_int_equal(p[65536 + (1 << 19)], 7);
	assert_int_equal(bk->discard(bk->priv, 0, 2 << 20), -EINVAL);
	region_file_close(&f);
}

static bool on_tmpfs(int fd)
{
	struct statfs st;

	assert_int_equal(fstatfs(fd, &st), 0);
	return st.f_type == TMPFS_MAGIC;
}

/* Whatever the scratch folder lies on; the other kind is below. */
static void test_sync(void **state)
{
	static const struct daxfs_range good[] = {
		{ 0, 5 }, { 4097, 10 }, { 65536, 1 << 19 }, { 0, 1 << 20 }
	};
	static const struct daxfs_range bad[] = { { 1 << 20, 1 },
						  { 1, UINT64_MAX } };
	struct region_file f;
	struct daxfs_backing *bk = &f.backing;

	(void)state;
	make_file(1 << 20);
	assert_int_equal(region_file_open(path, 0, &f, &msg), 0);
	if (on_tmpfs(f.fd)) {
		assert_null(bk->sync);
		region_file_close(&f);
		return;
	}
	memset(bk->base, 7, 1 << 20);
	assert_int_equal(bk->sync(bk->priv, good, 4), 0);
	assert_int_equal(bk->sync(bk->priv, good, 0), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(bk->sync(bk->priv, &good[i], 1), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(bk->sync(bk->priv, &bad[i], 1), -EINVAL);
	region_file_close(&f);
}

/* Nothing here survives a loss of power; that nothing else happens can be seen. */
static void test_flush(void **state)
{
	static u8 bytes[8192];

	(void)state;
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (u8)(i * 7);
	region_dax_flush(bytes, sizeof(bytes));
	region_dax_flush(bytes + 100, 1);
	region_dax_flush(bytes + 63, 2);
	region_dax_flush(bytes, 0);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], (u8)(i * 7));
}

/* Memory needs no syncs, and what is there after a boot is none of ours. */
static void test_volatile(void **state)
{
	static const u8 none[16];
	char name[] = "/dev/shm/daxfs-test.XXXXXX";
	struct region_file f;
	int fd = mkostemp(name, O_CLOEXEC);

	(void)state;
	assert_true(fd >= 0);
	assert_true(on_tmpfs(fd));
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(region_file_open(name, 0, &f, &msg), 0);
	assert_null(f.backing.sync);
	assert_memory_not_equal(f.backing.boot, none, sizeof(none));
	region_file_close(&f);
	assert_int_equal(unlink(name), 0);
	close(fd);
}

/* Several may have it open, and each sees who else is alive. */
static void test_shared(void **state)
{
	struct region_file f, g;

	(void)state;
	make_file(1 << 20);
	assert_int_equal(region_file_open(path, REGION_SHARED, &f, &msg), 0);
	assert_int_equal(region_file_open(path, REGION_SHARED, &g, &msg), 0);
	assert_false(g.backing.held(g.backing.priv, 3));
	assert_int_equal(f.backing.hold(f.backing.priv, 3), 0);
	assert_true(g.backing.held(g.backing.priv, 3));
	assert_int_equal(g.backing.hold(g.backing.priv, 3), -EAGAIN);
	assert_int_equal(g.backing.hold(g.backing.priv, 4), 0);
	region_file_close(&f);
	assert_false(g.backing.held(g.backing.priv, 3));
	assert_int_equal(region_file_open(path, 0, &f, &msg), -EWOULDBLOCK);
	region_file_close(&g);
	assert_int_equal(region_file_open(path, 0, &f, &msg), 0);
	assert_int_equal(region_file_open(path, REGION_SHARED, &g, &msg),
			 -EWOULDBLOCK);
	region_file_close(&f);
}

static void test_control_path(void **state)
{
	cleanup_free char *a = NULL, *b = NULL, *c = NULL;
	char link_path[320];
	struct stat st;
	char want[128];

	(void)state;
	make_file(4096);
	assert_int_equal(stat(path, &st), 0);
	snprintf(want, sizeof(want), "/s/fuse/%llx-%llu.sock",
		 (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	a = region_control_path(path, "/s");
	assert_string_equal(a, want);
	/* by any name it is the same region */
	snprintf(link_path, sizeof(link_path), "%s/link", dir);
	assert_int_equal(symlink(path, link_path), 0);
	b = region_control_path(link_path, "/s");
	assert_string_equal(b, want);
	assert_int_equal(unlink(link_path), 0);
	assert_null(region_control_path(link_path, "/s"));
	assert_int_equal(errno, ENOENT);
	assert_int_equal(setenv("DAXFS_STATE", "/env", 1), 0);
	c = region_control_path(path, NULL);
	assert_int_equal(unsetenv("DAXFS_STATE"), 0);
	assert_int_equal(strncmp(c, "/env/fuse/", 10), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_create_and_publish),
		T(test_create_unpublished_leaves_nothing),
		T(test_publish_replaces),
		T(test_create_bad),
		T(test_locks),
		T(test_refused),
		T(test_discard),
		T(test_sync),
		T(test_flush),
		T(test_volatile),
		T(test_shared),
		T(test_control_path),
	};

	return cmocka_run_group_tests_name("region", tests, NULL, NULL);
}
