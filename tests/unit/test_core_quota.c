// SPDX-License-Identifier: Apache-2.0
/* Quotas: what a branch may own, in bytes and in inodes. */
#include "core_util.h"

#define QUOTA (2 * MB)

static struct reg g;
static u8 block[1 << 16];

static int setup(void **state)
{
	struct shape s = { .size = 64 * MB, .branches = 16, .base = true };

	(void)state;
	reg_new(&g, &s);
	memset(block, 0x5a, sizeof(block));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	reg_free(&g);
	return 0;
}

static struct daxfs_branch *limited(const char *name, u64 bytes, u64 inodes)
{
	struct daxfs_branch *b = new_branch(&g, name, "main");

	assert_int_equal(daxfs_branch_set_quota(g.r, name, bytes, inodes), 0);
	return b;
}

static struct daxfs_branch_info info_of(const char *name)
{
	struct daxfs_branch *b = get_branch(&g, name);
	struct daxfs_branch_info i;

	assert_int_equal(daxfs_branch_info(b, &i), 0);
	daxfs_branch_put(b);
	return i;
}

static u64 bytes_of(struct daxfs_branch *b)
{
	u64 bytes, inodes;

	assert_int_equal(daxfs_usage(b, &bytes, &inodes), 0);
	return bytes;
}

static struct daxfs_statfs statfs_of(struct daxfs_branch *b)
{
	struct daxfs_statfs st;

	assert_int_equal(daxfs_statfs(b, &st), 0);
	return st;
}

/* Append until it does not go on; returns the file's size. */
static u64 fill_file(struct daxfs_branch *b, u64 ino, size_t piece)
{
	u64 size = attr_of(b, ino).size;
	ssize_t n;

	while ((n = daxfs_write(b, ino, block, piece, size, 0)) > 0) {
		size += (u64)n;
		assert_true(size < g.mem.size);
	}
	assert_int_equal(n, -EDQUOT);
	assert_int_equal(attr_of(b, ino).size, size);
	return size;
}

static int make_numbered(struct daxfs_branch *b, u32 k)
{
	char name[16];

	snprintf(name, sizeof(name), "f%u", k);
	return make_any(b, ROOT, name, S_IFREG | 0644, NULL);
}

static int remove_numbered(struct daxfs_branch *b, u32 k)
{
	char name[16];

	snprintf(name, sizeof(name), "f%u", k);
	return do_unlink(b, ROOT, name);
}

static void test_setting(void **state)
{
	struct daxfs_branch_info i;

	(void)state;
	assert_int_equal(daxfs_branch_set_quota(g.r, "nobody", 1, 1), -ENOENT);
	assert_int_equal(daxfs_branch_set_quota(g.r, "main", 1, 1), -EPERM);
	assert_int_equal(daxfs_branch_create(g.r, "b", "main", 0), 0);
	assert_int_equal(daxfs_branch_set_quota(g.r, "b", DAXFS_QUOTA_MAX + 1,
						0),
			 -EINVAL);
	assert_int_equal(daxfs_branch_set_quota(g.r, "b", 0,
						DAXFS_QUOTA_MAX + 1),
			 -EINVAL);
	i = info_of("b");
	assert_int_equal(i.quota_bytes, 0);
	assert_int_equal(i.quota_inodes, 0);
	assert_int_equal(daxfs_branch_set_quota(g.r, "b", DAXFS_QUOTA_MAX,
						DAXFS_QUOTA_MAX),
			 0);
	assert_int_equal(info_of("b").quota_bytes, DAXFS_QUOTA_MAX);
	assert_int_equal(daxfs_branch_set_quota(g.r, "b", QUOTA + 1, 7), 0);
	assert_int_equal(daxfs_branch_create(g.r, "c", "b", 0), 0);
	for (int round = 0; round < 2; round++) {
		/* whole segments, of 64 KiB here */
		assert_int_equal(info_of("b").quota_bytes, QUOTA + 65536);
		assert_int_equal(info_of("b").quota_inodes, 7);
		/* children inherit nothing */
		assert_int_equal(info_of("c").quota_bytes, 0);
		assert_int_equal(info_of("c").quota_inodes, 0);
		reg_reopen(&g);
	}
	assert_int_equal(daxfs_branch_set_quota(g.r, "b", 0, 0), 0);
	reg_reopen(&g);
	assert_int_equal(info_of("b").quota_bytes, 0);
	assert_int_equal(info_of("b").quota_inodes, 0);
	/* a slot that is used again has no quota left in it */
	assert_int_equal(daxfs_branch_set_quota(g.r, "c", QUOTA, 5), 0);
	assert_int_equal(daxfs_branch_delete(g.r, "c"), 0);
	assert_int_equal(daxfs_branch_create(g.r, "d", "b", 0), 0);
	assert_int_equal(info_of("d").quota_bytes, 0);
	reg_reopen(&g);
	assert_int_equal(info_of("d").quota_bytes, 0);
	assert_int_equal(info_of("d").quota_inodes, 0);
}

static void test_one_file(void **state)
{
	static const size_t pieces[] = { 4096, 65536, 10000 };
	struct daxfs_branch *b = limited("b", QUOTA, 0);
	struct daxfs_branch *other = new_branch(&g, "other", "main");
	u64 ino = make_file(b, ROOT, "big"), size;

	(void)state;
	for (u32 k = 0; k < 3; k++) {
		size = fill_file(b, ino, pieces[k]);
		assert_true(size >= QUOTA - 5 * 65536 && size < QUOTA);
		assert_true(bytes_of(b) <= QUOTA);
		assert_int_equal(statfs_of(b).blocks, QUOTA / 4096);
		assert_int_equal(statfs_of(b).bfree, 0);
		assert_true(statfs_of(other).bfree > 48 * MB / 4096);
		assert_int_equal(make_any(other, ROOT, "o", S_IFREG, NULL), 0);
		assert_int_equal(do_unlink(other, ROOT, "o"), 0);
		assert_int_equal(do_truncate(b, ino, 5000), 0);
		/* two blocks and the log */
		assert_true(bytes_of(b) <= 4 * 65536);
		assert_true(statfs_of(b).bfree * 4096 >= QUOTA - 4 * 65536);
	}
	size = fill_file(b, ino, 65536);
	daxfs_branch_put(b);
	daxfs_branch_put(other);
	reg_reopen(&g);
	b = get_branch(&g, "b");
	assert_int_equal(statfs_of(b).bfree, 0);
	assert_int_equal(daxfs_write(b, ino, block, 1, size + 4096, 0),
			 -EDQUOT);
	assert_int_equal(do_unlink(b, ROOT, "big"), 0);
	assert_true(bytes_of(b) <= 4 * 65536);
	ino = make_file(b, ROOT, "again");
	assert_true(fill_file(b, ino, 65536) >= size - 4 * 65536);
	daxfs_branch_put(b);
}

/* What is there can be written over for ever: the log is compacted. */
static void test_overwrite_at_limit(void **state)
{
	struct daxfs_branch *b = limited("b", QUOTA, 0);
	u64 ino = make_file(b, ROOT, "big");
	u64 size = fill_file(b, ino, 65536);
	u32 got = 0;

	(void)state;
	for (u32 k = 0; k < 20000; k++) {
		u64 off = k * 4099ull % (size - 4);

		if (daxfs_write(b, ino, &k, sizeof(k), off, 0) != sizeof(k))
			fail_msg("write %u failed", k);
		assert_true(bytes_of(b) <= QUOTA);
	}
	assert_int_equal(daxfs_read(b, ino, &got, 4,
				    19999 * 4099ull % (size - 4)),
			 4);
	assert_int_equal(got, 19999);
	daxfs_branch_put(b);
}

/* A file of the base or the parent costs what is written over, no more. */
static void test_copied_blocks(void **state)
{
	struct daxfs_branch *p = new_branch(&g, "p", "main"), *b;
	u64 ino = make_file(p, ROOT, "f"), off = 4096, before;

	(void)state;
	for (u32 k = 0; k < 64; k++)
		assert_int_equal(daxfs_write(p, ino, block, 65536, k * 65536,
					     0),
				 65536);
	b = new_branch(&g, "b", "p");
	assert_int_equal(daxfs_branch_set_quota(g.r, "b", QUOTA, 0), 0);
	assert_int_equal(daxfs_write(b, ino, "x", 1, 5, 0), 1);
	assert_int_equal(bytes_of(b), 65536 + 4096);
	while (daxfs_write(b, ino, "x", 1, off, 0) == 1)
		off += 4096;
	before = bytes_of(b);
	assert_true(before <= QUOTA && before + 65536 + 4096 > QUOTA);
	assert_int_equal(daxfs_write(b, ino, "x", 1, off, 0), -EDQUOT);
	assert_int_equal(daxfs_write(b, ino, "y", 1, 4096, 0), 1);
	assert_int_equal(bytes_of(b), before);
	assert_int_equal(do_truncate(b, ino, 4096), 0);
	assert_int_equal(bytes_of(b) % 65536, 4096);
	daxfs_branch_put(b);
	daxfs_branch_put(p);
}

static void test_inodes(void **state)
{
	static const u32 kinds[] = { S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO,
				     S_IFCHR };
	struct daxfs_branch *b = limited("b", 0, 10);
	struct daxfs_statfs st;
	u64 ino;

	(void)state;
	for (u32 k = 0; k < 10; k++)
		assert_int_equal(make_numbered(b, k), 0);
	for (u32 k = 0; k < 5; k++)
		assert_int_equal(make_any(b, ROOT, "n", kinds[k] | 0700, NULL),
				 -EDQUOT);
	assert_int_equal(do_rename(b, ROOT, "f1", ROOT, "m",
				   DAXFS_RENAME_WHITEOUT),
			 -EDQUOT);
	assert_int_equal(find_name(b, ROOT, "n"), 0);
	assert_int_equal(find_name(b, ROOT, "m"), 0);
	/* these make none */
	ino = find_name(b, ROOT, "f0");
	assert_int_equal(daxfs_link(b, ino, ROOT, "link0", 5, NULL), 0);
	assert_int_equal(do_rename(b, ROOT, "f1", ROOT, "m", 0), 0);
	assert_int_equal(do_rename(b, ROOT, "m", ROOT, "f1", 0), 0);
	assert_int_equal(daxfs_write(b, ino, block, 65536, 0, 0), 65536);
	assert_int_equal(daxfs_write(b, B_FILE, block, 65536, 0, 0), 65536);
	assert_int_equal(do_unlink(b, ROOT, "link0"), 0);
	for (int round = 0; round < 2; round++) {
		st = statfs_of(b);
		assert_int_equal(st.files, 10);
		assert_int_equal(st.ffree, 0);
		assert_int_equal(make_numbered(b, 10), -EDQUOT);
		daxfs_branch_put(b);
		reg_reopen(&g);
		b = get_branch(&g, "b");
	}
	/* an inode counts until the last reference to it is gone */
	assert_int_equal(daxfs_unlink(b, ROOT, "f3", 2, &ino), 0);
	assert_int_equal(make_numbered(b, 10), -EDQUOT);
	assert_int_equal(daxfs_evict(b, ino), 0);
	assert_int_equal(statfs_of(b).ffree, 1);
	assert_int_equal(make_numbered(b, 10), 0);
	/* what is the base's was never the branch's */
	assert_int_equal(do_unlink(b, ROOT, "hard1"), 0);
	assert_int_equal(make_numbered(b, 11), -EDQUOT);
	daxfs_branch_put(b);
}

/* Names alone use the log, and that counts; removing them always works. */
static void test_log_counts(void **state)
{
	struct daxfs_branch *b = limited("b", 4 * 65536, 0);
	u64 root_size = attr_of(b, ROOT).size;
	u32 first = 0, n;
	int rc = 0;

	(void)state;
	for (u32 round = 0; round < 3; round++) {
		for (n = 0; !(rc = make_numbered(b, n)); n++)
			assert_true(n < 100000);
		assert_int_equal(rc, -EDQUOT);
		assert_true(bytes_of(b) <= 4 * 65536);
		if (!round)
			first = n;
		assert_true(n > 200 && n > first / 2);
		assert_int_equal(daxfs_setxattr(b, B_FILE, "user.y", block,
						60000, 0),
				 -EDQUOT);
		while (n--)
			assert_int_equal(remove_numbered(b, n), 0);
		assert_int_equal(attr_of(b, ROOT).size, root_size);
	}
	daxfs_branch_put(b);
}

/* A refused operation leaves nothing behind. */
static void test_refused(void **state)
{
	struct daxfs_branch *b = limited("b", 65536, 0);
	u64 ino = make_file(b, ROOT, "f"), free_before, before;

	(void)state;
	before = bytes_of(b);
	free_before = reg_free_segments(&g);
	assert_int_equal(before, 65536);
	for (u32 k = 0; k < 100; k++) {
		assert_int_equal(daxfs_write(b, ino, block, 1, 0, 0), -EDQUOT);
		assert_int_equal(daxfs_setxattr(b, ino, "user.x", block, 60000,
						0),
				 -EDQUOT);
	}
	assert_int_equal(attr_of(b, ino).size, 0);
	assert_int_equal(daxfs_getxattr(b, ino, "user.x", NULL, 0), -ENODATA);
	assert_int_equal(bytes_of(b), before);
	assert_int_equal(reg_free_segments(&g), free_before);
	/* a long value needs all its blocks */
	assert_int_equal(daxfs_branch_set_quota(g.r, "b", 2 * 65536, 0), 0);
	assert_int_equal(daxfs_write(b, ino, block, 8192, 0, 0), 8192);
	assert_int_equal(daxfs_setxattr(b, ino, "user.x", block, 60000, 0),
			 -EDQUOT);
	assert_int_equal(bytes_of(b), before + 8192);
	assert_int_equal(daxfs_setxattr(b, ino, "user.x", block, 50000, 0), 0);
	assert_int_equal(daxfs_removexattr(b, ino, "user.x"), 0);
	assert_int_equal(bytes_of(b), before + 8192);
	daxfs_branch_put(b);
}

/* Below what is used already: only shrinking goes, until there is room. */
static void test_lowered(void **state)
{
	struct daxfs_branch *b = new_branch(&g, "b", "main");
	u64 ino = make_file(b, ROOT, "f"), blocks = statfs_of(b).blocks;

	(void)state;
	for (u32 k = 0; k < 32; k++)
		assert_int_equal(daxfs_write(b, ino, block, 65536, k * 65536,
					     0),
				 65536);
	assert_int_equal(make_numbered(b, 1), 0);
	assert_int_equal(daxfs_branch_set_quota(g.r, "b", MB, 1), 0);
	assert_int_equal(statfs_of(b).bfree, 0);
	assert_int_equal(statfs_of(b).ffree, 0);
	assert_int_equal(daxfs_write(b, ino, block, 1, 2 * MB, 0), -EDQUOT);
	assert_int_equal(make_numbered(b, 2), -EDQUOT);
	assert_int_equal(do_truncate(b, ino, MB / 2), 0);
	assert_int_equal(remove_numbered(b, 1), 0);
	assert_int_equal(make_numbered(b, 2), -EDQUOT);
	assert_int_equal(daxfs_write(b, ino, block, 1, 2 * MB, 0), 1);
	assert_int_equal(daxfs_branch_set_quota(g.r, "b", 0, 0), 0);
	assert_int_equal(make_numbered(b, 2), 0);
	assert_int_equal(statfs_of(b).blocks, blocks);
	daxfs_branch_put(b);
}

/* What is committed is main's, which has no quota. */
static void test_commit(void **state)
{
	struct daxfs_branch *b = limited("b", QUOTA, 3);
	u64 ino = make_file(b, ROOT, "f");

	(void)state;
	fill_file(b, ino, 65536);
	daxfs_branch_put(b);
	assert_int_equal(daxfs_branch_commit(g.r, "b", &g.msg), 0);
	assert_int_equal(info_of("main").quota_bytes, 0);
	assert_true(info_of("main").bytes > QUOTA - 2 * 65536);
	b = limited("b", QUOTA, 3);
	assert_int_equal(daxfs_write(b, ino, block, 65536, 4 * MB, 0), 65536);
	daxfs_branch_put(b);
	reg_reopen(&g);
	assert_int_equal(info_of("main").quota_bytes, 0);
	assert_int_equal(info_of("b").quota_inodes, 3);
}

static void test_readonly_region(void **state)
{
	struct daxfs_backing bk;

	(void)state;
	daxfs_branch_put(limited("b", QUOTA, 3));
	daxfs_region_close(g.r);
	bk = (struct daxfs_backing){ .base = g.mem.base,
				     .size = g.mem.size,
				     .readonly = true };
	assert_int_equal(mprotect(g.mem.base, g.mem.size, PROT_READ), 0);
	assert_int_equal(daxfs_region_open(&bk, 0, &g.r, &g.msg), 0);
	assert_int_equal(daxfs_branch_set_quota(g.r, "b", 0, 0), -EROFS);
	assert_int_equal(info_of("b").quota_bytes, QUOTA);
	assert_int_equal(info_of("b").quota_inodes, 3);
}

/* Room that is taken in advance is room all the same. */
static void test_fallocate(void **state)
{
	struct daxfs_branch *b = limited("b", QUOTA, 2);
	struct daxfs_new n = { .mode = S_IFREG | 0600 };
	u64 ino = make_file(b, ROOT, "f"), before;
	struct daxfs_attr a;

	(void)state;
	assert_int_equal(daxfs_tmpfile(b, ROOT, &n, 0, &a), 0);
	assert_int_equal(daxfs_tmpfile(b, ROOT, &n, 0, &a), -EDQUOT);
	assert_int_equal(daxfs_write(b, ino, "text", 4, 0, 0), 4);
	before = bytes_of(b);
	assert_int_equal(daxfs_fallocate(b, ino, 0, 0, 2 * QUOTA), -EDQUOT);
	assert_int_equal(bytes_of(b), before);
	assert_int_equal(attr_of(b, ino).size, 4);
	assert_int_equal(daxfs_fallocate(b, ino, DAXFS_FALLOC_KEEP_SIZE, 0, MB),
			 0);
	assert_int_equal(bytes_of(b), before + MB - 4096);
	assert_int_equal(daxfs_fallocate(b, ino, 0, MB, MB), -EDQUOT);
	/* what has room can be written */
	fill_file(b, ino, 65536);
	assert_int_equal(daxfs_copy_range(b, ino, 0, ino, 4 * MB, 65536, 0),
			 -EDQUOT);
	assert_int_equal(daxfs_fallocate(b, ino,
					 DAXFS_FALLOC_PUNCH |
						 DAXFS_FALLOC_KEEP_SIZE,
					 0, MB),
			 0);
	assert_int_equal(daxfs_copy_range(b, ino, MB, ino, 4 * MB, 65536, 0),
			 65536);
	daxfs_branch_put(b);
}

/* ---- Anything at all ----------------------------------------------------------- */

#define FILES 40u

/* One random operation; what frees must not be refused. */
static void any_operation(struct daxfs_branch *b, u64 *seed, bool *frees)
{
	u32 k = rnd_below(seed, FILES), what = rnd_below(seed, 8);
	u64 off = rnd_below(seed, 100000), ino;
	char name[16];
	s64 rc = 0;

	snprintf(name, sizeof(name), "f%u", k);
	ino = find_name(b, ROOT, name);
	*frees = what < 3;
	if (!ino && what > 3)
		rc = make_any(b, ROOT, name, S_IFREG | 0600, &ino);
	if (!ino || rc < 0)
		what = 8;
	if (what == 0)
		rc = do_unlink(b, ROOT, name);
	if (what == 1)
		rc = do_truncate(b, ino, off % (attr_of(b, ino).size + 1));
	if (what == 2)
		rc = daxfs_removexattr(b, ino, "user.x");
	if (what == 3)
		rc = daxfs_setxattr(b, ino, "user.x", block, off % 60000, 0);
	if (what > 3 && what < 8)
		rc = daxfs_write(b, ino, block, 1 + off % 50000,
				 rnd_below(seed, 200000), 0);
	if (rc == -ENODATA)
		rc = 0;
	if (rc < 0 && (*frees || rc != -EDQUOT))
		fail_msg("operation %u answers %lld", what, (long long)rc);
}

static void any_operations(u64 seed)
{
	struct daxfs_branch *b = limited("b", QUOTA / 2, FILES / 2);
	u64 refused = 0, before, after, most = QUOTA / 2;
	bool frees;

	for (u32 k = 0; k < 4000; k++) {
		before = bytes_of(b);
		any_operation(b, &seed, &frees);
		after = bytes_of(b);
		refused += after == before;
		/* only what frees goes beyond, a segment of log at a time */
		if (after > most && after > before)
			assert_true(frees && after - before <= 65536);
		assert_true(after <= most + 4 * 65536);
	}
	assert_true(refused > 0);
	daxfs_branch_put(b);
	before = info_of("b").bytes;
	reg_reopen(&g);
	assert_int_equal(info_of("b").bytes, before);
	assert_int_equal(daxfs_branch_delete(g.r, "b"), 0);
}

static void test_any_operations(void **state)
{
	(void)state;
	for (u64 seed = 1; seed <= 5; seed++)
		any_operations(seed);
}

/* ---- After a loss of power --------------------------------------------------------- */

static u8 *medium;

static int copy_to_medium(void *priv, const struct daxfs_range *v, u32 count)
{
	(void)priv;
	for (u32 i = 0; i < count; i++)
		memcpy(medium + v[i].off, g.mem.base + v[i].off, v[i].len);
	return 0;
}

/* What was synced is all that is left. */
static void sync_and_lose_power(const struct daxfs_backing *bk)
{
	u8 *left = malloc(g.mem.size);

	assert_non_null(left);
	assert_int_equal(daxfs_region_sync(g.r), 0);
	memcpy(left, medium, g.mem.size);
	daxfs_region_close(g.r);
	memcpy(g.mem.base, left, g.mem.size);
	memcpy(medium, left, g.mem.size);
	free(left);
	if (daxfs_region_open(bk, 0, &g.r, &g.msg))
		fail_msg("open: %s", g.msg.text);
}

static void test_durable(void **state)
{
	struct daxfs_backing bk = { .base = g.mem.base,
				    .size = g.mem.size,
				    .sync = copy_to_medium };

	(void)state;
	medium = malloc(g.mem.size);
	assert_non_null(medium);
	daxfs_region_close(g.r);
	memcpy(medium, g.mem.base, g.mem.size);
	assert_int_equal(daxfs_region_open(&bk, 0, &g.r, &g.msg), 0);
	assert_int_equal(daxfs_branch_create(g.r, "b", "main", 0), 0);
	assert_int_equal(daxfs_branch_create(g.r, "c", "b", 0), 0);
	sync_and_lose_power(&bk);
	assert_int_equal(daxfs_branch_set_quota(g.r, "b", QUOTA, 7), 0);
	sync_and_lose_power(&bk);
	assert_int_equal(info_of("b").quota_bytes, QUOTA);
	assert_int_equal(info_of("b").quota_inodes, 7);
	assert_int_equal(daxfs_branch_drop(g.r, "b"), -EBUSY);
	sync_and_lose_power(&bk);
	assert_int_equal(daxfs_branch_delete(g.r, "c"), 0);
	sync_and_lose_power(&bk);
	/* the name is free: b has gone with c */
	assert_int_equal(daxfs_branch_create(g.r, "b", "main", 0), 0);
	daxfs_region_close(g.r);
	free(medium);
	if (reg_open(&g, 0))
		fail_msg("open: %s", g.msg.text);
}

/* At the limit what was freed counts as room at once, synced or not. */
static void test_unsynced_room(void **state)
{
	struct daxfs_backing bk = { .base = g.mem.base,
				    .size = g.mem.size,
				    .sync = copy_to_medium };
	struct daxfs_branch *b;
	u64 ino;

	(void)state;
	medium = malloc(g.mem.size);
	assert_non_null(medium);
	daxfs_region_close(g.r);
	assert_int_equal(daxfs_region_open(&bk, 0, &g.r, &g.msg), 0);
	b = limited("b", QUOTA, 0);
	for (u32 round = 0; round < 20; round++) {
		ino = make_file(b, ROOT, "f");
		assert_true(fill_file(b, ino, 65536) > QUOTA / 2);
		assert_int_equal(do_unlink(b, ROOT, "f"), 0);
	}
	daxfs_branch_put(b);
	daxfs_region_close(g.r);
	free(medium);
	if (reg_open(&g, 0))
		fail_msg("open: %s", g.msg.text);
}

/* ---- Two instances ----------------------------------------------------------------- */

/* One sets what the other has to keep to, and marks what the other ends. */
static void test_shared(void **state)
{
	struct daxfs_backing bk = { .base = g.mem.base, .size = g.mem.size };
	struct daxfs_branch_info *v;
	struct daxfs_region *other;
	struct daxfs_branch *b;
	u64 ino, size;
	u32 n;

	(void)state;
	daxfs_region_close(g.r);
	assert_int_equal(daxfs_region_open(&bk, DAXFS_OPEN_SHARED, &g.r,
					   &g.msg),
			 0);
	assert_int_equal(daxfs_region_open(&bk, DAXFS_OPEN_SHARED, &other,
					   &g.msg),
			 0);
	assert_int_equal(daxfs_branch_create(other, "b", "main", 0), 0);
	assert_int_equal(daxfs_branch_set_quota(other, "b", QUOTA, 1), 0);
	b = get_branch(&g, "b");
	assert_int_equal(info_of("b").quota_bytes, QUOTA);
	ino = make_file(b, ROOT, "f");
	assert_int_equal(make_numbered(b, 1), -EDQUOT);
	size = fill_file(b, ino, 65536);
	assert_int_equal(daxfs_branch_set_quota(other, "b", 2 * QUOTA, 0), 0);
	assert_int_equal(daxfs_region_poll(g.r), 0);
	assert_int_equal(make_numbered(b, 1), 0);
	assert_true(fill_file(b, ino, 65536) >= size + QUOTA / 2);
	assert_int_equal(daxfs_branch_create(g.r, "c", "b", 0), 0);
	daxfs_branch_put(b);
	assert_int_equal(daxfs_branch_drop(other, "b"), -EBUSY);
	assert_int_equal(daxfs_branch_delete(g.r, "c"), 0);
	assert_int_equal(daxfs_branch_list(other, &v, &n), 0);
	assert_int_equal(n, 1);
	daxfs_free(v);
	daxfs_region_close(other);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_setting),       T(test_one_file),
		T(test_copied_blocks), T(test_overwrite_at_limit),
		T(test_inodes),        T(test_log_counts),
		T(test_refused),       T(test_lowered),
		T(test_fallocate),     T(test_any_operations),
		T(test_durable),       T(test_unsynced_room),
		T(test_commit),        T(test_readonly_region),
		T(test_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
