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

/* A file that is replaced for ever leaves nothing behind. */
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

/* ---- For ever ------------------------------------------------------------------- */

static u64 times(u64 quick, u64 all)
{
	return env_number("LONG", 0) ? all : quick;
}

static u64 bytes_of(struct daxfs_branch *b)
{
	u64 bytes, inodes;

	assert_int_equal(daxfs_usage(b, &bytes, &inodes), 0);
	return bytes;
}

/* A log file that is appended to and rotated. */
static void test_endless_append(void **state)
{
	struct daxfs_branch *b = new_branch(&g, "b", "main");
	u64 ino = make_file(b, ROOT, "log"), n = times(200000, 1000000);
	u64 most = 0;

	(void)state;
	for (u64 k = 1; k <= n; k++) {
		u64 bytes;

		if (daxfs_write(b, ino, block, 100, 0, DAXFS_WRITE_APPEND) !=
		    100)
			fail_msg("append %llu failed", (unsigned long long)k);
		bytes = bytes_of(b);
		most = bytes > most ? bytes : most;
		if (k % 1000 == 0)
			assert_int_equal(do_truncate(b, ino, 0), 0);
	}
	/* 1,000 appends of 100 bytes, and a log that is compacted */
	assert_true(most <= 128 * KB + 20 * 64 * KB);
	daxfs_branch_put(b);
	reg_reopen(&g);
}

/* Own blocks are written to in place: the data stays where it is. */
static void test_overwrite_takes_nothing(void **state)
{
	struct daxfs_branch *b = new_branch(&g, "b", "main");
	u64 ino = make_file(b, ROOT, "f"), bytes, blocks;

	(void)state;
	for (u32 k = 0; k < 16; k++)
		assert_int_equal(daxfs_write(b, ino, block, 65536, k * 65536,
					     0),
				 65536);
	bytes = bytes_of(b);
	blocks = attr_of(b, ino).blocks;
	for (u32 k = 0; k < 5000; k++) {
		u64 off = k * 7919ull % (MB - 10000);

		assert_int_equal(daxfs_write(b, ino, block, 10000, off, 0),
				 10000);
		assert_int_equal(attr_of(b, ino).blocks, blocks);
		/* whole segments of log may come and go */
		assert_int_equal(bytes_of(b) % (64 * KB), bytes % (64 * KB));
		assert_true(bytes_of(b) <= bytes + 17 * 64 * KB);
	}
	daxfs_branch_put(b);
}

/* ---- A backing that wants to be synced, and that memory goes back to -------------- */

static u32 taken[MB]; /* by segment: reserved and not discarded since */
static u32 in_use;

static void mark_segments(u64 off, u64 len, u32 on)
{
	struct daxfs_super *sb = (struct daxfs_super *)g.mem.base;
	u64 data = le64toh(sb->segment_data_offset);
	u64 size = le32toh(sb->segment_size);

	if (off < data)
		return;
	for (u64 s = (off - data) / size; s < (off + len - data) / size; s++) {
		in_use += on - taken[s];
		taken[s] = on;
	}
}

static int note_reserve(void *priv, u64 off, u64 len)
{
	(void)priv;
	mark_segments(off, len, 1);
	return 0;
}

static int note_discard(void *priv, u64 off, u64 len)
{
	(void)priv;
	mark_segments(off, len, 0);
	memset(g.mem.base + off, 0, len);
	return 0;
}

static int note_sync(void *priv, const struct daxfs_range *v, u32 count)
{
	(void)priv;
	for (u32 i = 0; i < count; i++)
		assert_true(v[i].off + v[i].len <= g.mem.size);
	return 0;
}

static void open_noted(bool durable)
{
	struct daxfs_backing bk = { .base = g.mem.base,
				    .size = g.mem.size,
				    .reserve = note_reserve,
				    .sync = durable ? note_sync : NULL,
				    .discard = note_discard };

	daxfs_region_close(g.r);
	memset(taken, 0, sizeof(taken));
	in_use = 0;
	if (daxfs_region_open(&bk, 0, &g.r, &g.msg))
		fail_msg("open: %s", g.msg.text);
}

static void lifecycle(u64 k)
{
	struct daxfs_branch *b = new_branch(&g, "b", "main");
	u64 ino = make_file(b, ROOT, "f");

	assert_int_equal(daxfs_write(b, ino, block, 9000, 0, 0), 9000);
	if (k % 3 == 0)
		assert_int_equal(do_unlink(b, ROOT, "f"), 0);
	if (k % 5 == 0)
		assert_int_equal(daxfs_branch_seal(g.r, "b"), 0);
	assert_int_equal(daxfs_branch_delete(g.r, "b"), 0);
	daxfs_branch_put(b);
}

/* Branches made, used and dropped for ever leave nothing, on any backing. */
static void lifecycles(bool durable)
{
	u64 before = reg_free_segments(&g), n = times(5000, 100000);

	open_noted(durable);
	assert_int_equal(reg_free_segments(&g), before);
	for (u64 k = 0; k < n; k++)
		lifecycle(k);
	assert_int_equal(daxfs_region_sync(g.r), 0);
	assert_int_equal(reg_free_segments(&g), before);
	assert_int_equal(in_use, 0);
	reg_reopen(&g);
	assert_int_equal(reg_free_segments(&g), before);
}

static void test_lifecycles(void **state)
{
	(void)state;
	lifecycles(false);
}

static void test_durable_lifecycles(void **state)
{
	(void)state;
	lifecycles(true);
}

static u64 log_bytes_on_media(const char *branch)
{
	const struct daxfs_super *sb = (struct daxfs_super *)g.mem.base;
	const struct daxfs_segment_entry *e =
		(void *)(g.mem.base + le64toh(sb->segment_table_offset));
	struct daxfs_branch *b = get_branch(&g, branch);
	struct daxfs_branch_info i;
	u64 n = 0;

	assert_int_equal(daxfs_branch_info(b, &i), 0);
	daxfs_branch_put(b);
	for (u32 s = 0; s < le32toh(sb->segment_count); s++)
		n += le64toh(e[s].owner) == i.id &&
		     le32toh(e[s].kind) == DAXFS_SEGMENT_LOG;
	return n * le32toh(sb->segment_size);
}

/* What is free has gone back to the host, at once or with the next sync. */
static void memory_returns(bool durable)
{
	struct daxfs_branch *b;
	u64 before, logs;

	open_noted(durable);
	before = reg_free_segments(&g);
	b = new_branch(&g, "b", "main");
	make_file(b, ROOT, "keep");
	for (u32 round = 0; round < 20; round++) {
		u64 ino = make_file(b, ROOT, "big");

		for (u32 k = 0; k < 32; k++)
			assert_int_equal(daxfs_write(b, ino, block, 65536,
						     k * 65536, 0),
					 65536);
		assert_true(in_use >= 32);
		if (round % 2)
			assert_int_equal(do_unlink(b, ROOT, "big"), 0);
		else
			assert_int_equal(do_truncate(b, ino, 0), 0);
		assert_int_equal(daxfs_region_sync(g.r), 0);
		/* all but the log */
		logs = log_bytes_on_media("b") / 65536;
		assert_int_equal(reg_free_segments(&g), before - logs);
		assert_int_equal(in_use, logs);
		if (!(round % 2))
			assert_int_equal(do_unlink(b, ROOT, "big"), 0);
	}
	daxfs_branch_put(b);
}

static void test_memory_returns(void **state)
{
	(void)state;
	memory_returns(false);
	assert_int_equal(daxfs_branch_delete(g.r, "b"), 0);
	memory_returns(true);
}

/* ---- Usage ----------------------------------------------------------------------- */

#define FILES 24u

/* What a file's long attribute takes, beside its data. */
static u64 value_len[FILES];

static void check_usage(struct daxfs_branch *b)
{
	u64 bytes, inodes, want = log_bytes_on_media("b"), files = 0;
	char name[16];

	for (u32 k = 0; k < FILES; k++) {
		u64 ino;

		name_of(name, k);
		ino = find_name(b, ROOT, name);
		if (!ino)
			continue;
		files++;
		want += attr_of(b, ino).blocks * 512;
		want += (value_len[k] + 4095) / 4096 * 4096;
	}
	assert_int_equal(daxfs_usage(b, &bytes, &inodes), 0);
	assert_int_equal(inodes, files);
	assert_int_equal(bytes, want);
}

/* One random change of file k. */
static void change(struct daxfs_branch *b, u32 k, u64 *seed)
{
	u32 len = 1 + rnd_below(seed, 60000);
	u64 off = rnd_below(seed, 200000), ino;
	char name[16];
	int rc = 0;

	name_of(name, k);
	ino = find_name(b, ROOT, name);
	if (!ino)
		ino = make_file(b, ROOT, name);
	switch (rnd_below(seed, 8)) {
	case 0:
		assert_int_equal(do_unlink(b, ROOT, name), 0);
		value_len[k] = 0;
		break;
	case 1:
		rc = do_truncate(b, ino, off);
		break;
	case 2:
		rc = daxfs_setxattr(b, ino, "user.x", block, len, 0);
		if (!rc)
			value_len[k] = len > 2048 ? len : 0;
		break;
	case 3:
		if (!daxfs_removexattr(b, ino, "user.x"))
			value_len[k] = 0;
		break;
	default:
		rc = daxfs_write(b, ino, block, len, off, 0) < 0;
	}
	assert_int_equal(rc, 0);
}

static void test_usage_is_exact(void **state)
{
	struct shape s = { .size = 32 * MB, .branches = 8 };
	struct daxfs_branch *b;
	u64 seed = 5;

	(void)state;
	reg_free(&g);
	reg_new(&g, &s);
	memset(value_len, 0, sizeof(value_len));
	b = new_branch(&g, "b", "main");
	for (u32 k = 0; k < 20000; k++) {
		change(b, rnd_below(&seed, FILES), &seed);
		if (k % 100 == 0)
			check_usage(b);
		if (k % 5000 == 0) {
			daxfs_branch_put(b);
			reg_reopen(&g);
			b = get_branch(&g, "b");
			check_usage(b);
		}
	}
	daxfs_branch_put(b);
}

/* ---- Memory of the host, page by page --------------------------------------- */

#define PAGES (4 * MB / 4096)

static bool has_memory[PAGES];
static u32 pages_had, pages_left; /* of segments; that the host can give */

static u64 first_page(void)
{
	const struct daxfs_super *sb = (struct daxfs_super *)g.mem.base;

	return le64toh(sb->segment_data_offset) / 4096;
}

static int take_pages(void *priv, u64 off, u64 len)
{
	u32 want = 0;

	(void)priv;
	if (off / 4096 < first_page())
		return 0;
	assert_int_equal(off % 4096 + len % 4096, 0);
	for (u64 p = off / 4096; p < (off + len) / 4096; p++)
		want += !has_memory[p];
	if (want > pages_left)
		return -ENOSPC;
	pages_left -= want;
	pages_had += want;
	memset(has_memory + off / 4096, true, len / 4096);
	return 0;
}

static int give_pages(void *priv, u64 off, u64 len)
{
	(void)priv;
	for (u64 p = off / 4096; p < (off + len) / 4096; p++) {
		pages_left += has_memory[p];
		pages_had -= has_memory[p];
		has_memory[p] = false;
	}
	memset(g.mem.base + off, 0, len);
	return 0;
}

static void open_on_pages(u32 left)
{
	struct daxfs_backing bk = { .base = g.mem.base,
				    .size = g.mem.size,
				    .reserve = take_pages,
				    .discard = give_pages };

	daxfs_region_close(g.r);
	memset(has_memory, 0, sizeof(has_memory));
	pages_had = 0;
	pages_left = left;
	if (daxfs_region_open(&bk, 0, &g.r, &g.msg))
		fail_msg("open: %s", g.msg.text);
}

static ssize_t check_pieces(void *ctx, const struct daxfs_piece *p, u32 count)
{
	u64 *off = ctx;

	for (u32 i = 0; i < count; i++) {
		u64 at =
			p[i].ptr ? (u64)((const u8 *)p[i].ptr - g.mem.base) : 0;

		for (u64 k = at / 4096; at && k <= (at + p[i].len - 1) / 4096;
		     k++)
			assert_true(has_memory[k]);
		*off += p[i].len;
	}
	return 0;
}

/* No byte of the file lies where the host has no memory for it. */
static void check_memory(struct daxfs_branch *b, u64 ino)
{
	u64 size = attr_of(b, ino).size, off = 0;
	struct daxfs_piece v[16];

	while (off < size) {
		u64 before = off;

		assert_int_equal(daxfs_read_pieces(b, ino, size - off, off, v,
						   16, check_pieces, &off),
				 0);
		assert_true(off > before);
	}
}

/* A branch with a small file costs its log and a quarter of a segment. */
static void test_small_use(void **state)
{
	struct daxfs_branch *b;
	u64 f;

	(void)state;
	open_on_pages(PAGES);
	b = new_branch(&g, "b", "main");
	f = make_file(b, ROOT, "f");
	assert_int_equal(daxfs_write(b, f, block, 5000, 0, 0), 5000);
	check_memory(b, f);
	assert_int_equal(pages_had, 16 + 4);
	assert_int_equal(daxfs_write(b, f, block, 20000, 5000, 0), 20000);
	check_memory(b, f);
	assert_int_equal(pages_had, 16 + 8);
	/* what only has metadata has no log */
	assert_int_equal(daxfs_branch_create_meta(g.r, "v", "b", 0, "x", 1), 0);
	assert_int_equal(pages_had, 16 + 8 + 4);
	assert_int_equal(daxfs_branch_delete(g.r, "v"), 0);
	assert_int_equal(pages_had, 16 + 8);
	daxfs_branch_put(b);
	assert_int_equal(daxfs_branch_delete(g.r, "b"), 0);
	assert_int_equal(pages_had, 0);
}

/*
 * The host gives out less than the region promises: writes say so in time,
 * removing goes on, and with more memory so does writing. Also in segments that
 * were begun before the region was opened.
 */
static void test_host_runs_out(void **state)
{
	struct daxfs_branch *b;
	u64 f, seed = 5;
	u32 most = 0;

	(void)state;
	for (u32 left = 17; left < 80; left++) {
		ssize_t n = 0;
		char name[16];
		u32 k;

		open_on_pages(left);
		b = new_branch(&g, "b", "main");
		f = make_file(b, ROOT, "f");
		for (k = 0; k < 300 && n >= 0; k++)
			n = daxfs_write(b, f, block,
					1 + rnd_below(&seed, 30000),
					rnd_below(&seed, 500000), 0);
		assert_int_equal(n, -ENOSPC);
		check_memory(b, f);
		most = k > most ? k : most;
		assert_int_equal(do_unlink(b, ROOT, "f"), 0);
		for (k = 0; k < 6; k++) {
			snprintf(name, sizeof(name), "g%u", k);
			pages_left += 8;
			f = make_file(b, ROOT, name);
			assert_int_equal(daxfs_write(b, f, block, 8000, 0, 0),
					 8000);
			check_memory(b, f);
		}
		daxfs_branch_put(b);
		/* another process knows nothing of what was had */
		open_on_pages(PAGES);
		b = get_branch(&g, "b");
		f = make_file(b, ROOT, "after");
		assert_int_equal(daxfs_write(b, f, block, 60000, 0, 0), 60000);
		check_memory(b, f);
		daxfs_branch_put(b);
		assert_int_equal(daxfs_branch_delete(g.r, "b"), 0);
		assert_int_equal(pages_had, 0);
	}
	assert_true(most > 3);
}

/* What it wrote behind the end of the file is not there when that grows. */
static void test_failed_write_set_aside(void **state)
{
	struct daxfs_attr a = { .mode = 0600 };
	static const u8 zeros[20000];
	struct daxfs_branch *b;
	u8 got[20000];
	int rc = 0;
	u64 f;

	(void)state;
	open_on_pages(PAGES);
	b = new_branch(&g, "b", "main");
	f = make_file(b, ROOT, "f");
	assert_int_equal(daxfs_fallocate(b, f, DAXFS_FALLOC_KEEP_SIZE, 4096,
					 16384),
			 0);
	pages_left = 0;
	while (!rc) /* until the log is full */
		rc = daxfs_setattr(b, f, DAXFS_SET_MODE, &a, NULL);
	assert_int_equal(rc, -ENOSPC);
	memset(block, 0x5a, sizeof(block));
	assert_int_equal(daxfs_write(b, f, block, 9000, 6000, 0), -ENOSPC);
	assert_int_equal(attr_of(b, f).size, 0);
	pages_left = PAGES;
	assert_int_equal(do_truncate(b, f, sizeof(got)), 0);
	assert_int_equal(daxfs_read(b, f, got, sizeof(got), 0), sizeof(got));
	assert_memory_equal(got, zeros, sizeof(got));
	daxfs_branch_put(b);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_one_file),
		T(test_small_files),
		T(test_larger_files),
		T(test_empty_files),
		T(test_all_fail_cleanly),
		T(test_delete_branch_when_full),
		T(test_commit_when_full),
		T(test_endless_overwrite),
		T(test_rewritten_name),
		T(test_endless_append),
		T(test_overwrite_takes_nothing),
		T(test_lifecycles),
		T(test_durable_lifecycles),
		T(test_memory_returns),
		T(test_usage_is_exact),
		T(test_small_use),
		T(test_host_runs_out),
		T(test_failed_write_set_aside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
