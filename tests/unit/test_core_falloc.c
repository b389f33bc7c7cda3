// SPDX-License-Identifier: Apache-2.0
/* fallocate, copying ranges, holes: against files kept as plain arrays. */
#include "core_util.h"

static struct reg g;
static struct daxfs_branch *b;

#define KEEP DAXFS_FALLOC_KEEP_SIZE
#define PUNCH (DAXFS_FALLOC_PUNCH | DAXFS_FALLOC_KEEP_SIZE)
#define ZERO DAXFS_FALLOC_ZERO
#define COLLAPSE DAXFS_FALLOC_COLLAPSE
#define INSERT DAXFS_FALLOC_INSERT

static void start(u64 size, u32 segment)
{
	struct shape s = { .size = size,
			   .branches = 16,
			   .segment_size = segment,
			   .base = true };

	reg_new(&g, &s);
	b = new_branch(&g, "b", "main");
}

static int setup(void **state)
{
	(void)state;
	start(24 * MB, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	daxfs_branch_put(b);
	reg_free(&g);
	return 0;
}

static void reopen(const char *name)
{
	daxfs_branch_put(b);
	reg_reopen(&g);
	b = get_branch(&g, name);
}

static int falloc(u64 ino, u32 mode, u64 off, u64 len)
{
	return daxfs_fallocate(b, ino, mode, off, len);
}

static u64 blocks_of(u64 ino)
{
	u64 n = attr_of(b, ino).blocks;

	assert_int_equal(n % 8, 0);
	return n / 8;
}

/* ---- A model ------------------------------------------------------------- */

#define MODEL_MAX (160 * KB)
#define MODEL_BLOCKS (MODEL_MAX / 4096)

struct file {
	u64 ino, size;
	u8 data[MODEL_MAX];       /* zeros from size on */
	bool block[MODEL_BLOCKS]; /* not a hole */
};

static struct file file[2];
static u8 buf[MODEL_MAX + 4096];
static u64 seed;

static u32 below(u32 n)
{
	return rnd_below(&seed, n);
}

static void set_blocks(struct file *f, u64 off, u64 end, bool on)
{
	for (u64 k = off / 4096; k < (end + 4095) / 4096; k++)
		f->block[k] = on;
}

/* Zeros; blocks that lie in the range as a whole are holes. */
static void model_punch(struct file *f, u64 off, u64 end)
{
	u64 from = (off + 4095) / 4096, to = end / 4096;

	memset(f->data + off, 0, end - off);
	for (u64 k = from; k < to; k++)
		f->block[k] = false;
}

/* What is not a hole, as seek says it, is what the model says. */
static void check_holes(const struct file *f)
{
	u64 off = 0, blocks = 0, last = ~0ull;

	while (off < f->size) {
		s64 data = daxfs_seek(b, f->ino, off, false), hole;
		u64 stop = data < 0 ? f->size : (u64)data;

		for (u64 k = off; k < stop; k++)
			assert_int_equal(f->data[k], 0);
		if (data < 0) {
			assert_int_equal(data, -ENXIO);
			break;
		}
		hole = daxfs_seek(b, f->ino, stop, true);
		assert_true(hole > data && (u64)hole <= f->size);
		for (u64 k = stop / 4096; k <= ((u64)hole - 1) / 4096; k++) {
			assert_true(f->block[k]);
			blocks += k != last;
			last = k;
		}
		off = (u64)hole;
	}
	for (u64 k = 0; k < (f->size + 4095) / 4096; k++)
		blocks -= f->block[k];
	assert_int_equal(blocks, 0);
}

static void check(const struct file *f)
{
	struct daxfs_attr a = attr_of(b, f->ino);
	u64 blocks = 0;

	assert_int_equal(a.size, f->size);
	assert_int_equal(daxfs_read(b, f->ino, buf, sizeof(buf), 0), f->size);
	for (u64 k = 0; k < f->size; k++)
		if (buf[k] != f->data[k])
			fail_msg("byte %llu is %u, not %u",
				 (unsigned long long)k, buf[k], f->data[k]);
	for (u64 k = 0; k < MODEL_BLOCKS; k++)
		blocks += f->block[k];
	assert_int_equal(a.blocks / 8, blocks);
	check_holes(f);
}

static void model_new(struct file *f, u64 ino, u64 size)
{
	memset(f, 0, sizeof(*f));
	f->ino = ino;
	f->size = size;
	set_blocks(f, 0, size, true);
	for (u64 k = 0; k < size; k++)
		f->data[k] = base_byte(B_FILE, k);
}

static void some_range(u64 top, u64 *off, u64 *len)
{
	*off = below((u32)top);
	*len = 1 + below(below(3) ? 9000 : (u32)(top - *off));
	if (below(3)) {
		*off &= ~4095ull;
		*len = (*len + 4095) & ~4095ull;
	}
	if (*len > top - *off)
		*len = top - *off;
}

static void op_write(struct file *f)
{
	u64 off, len;

	some_range(MODEL_MAX, &off, &len);
	for (u64 k = 0; k < len; k++)
		f->data[off + k] = (u8)(1 + below(255));
	assert_int_equal(daxfs_write(b, f->ino, f->data + off, len, off, 0),
			 len);
	set_blocks(f, off, off + len, true);
	if (off + len > f->size)
		f->size = off + len;
}

static void op_truncate(struct file *f)
{
	u64 size = below(4) ? below(MODEL_MAX + 1) : f->size;

	assert_int_equal(do_truncate(b, f->ino, size), 0);
	if (size <= f->size) {
		memset(f->data + size, 0, MODEL_MAX - size);
		for (u64 k = (size + 4095) / 4096; k < MODEL_BLOCKS; k++)
			f->block[k] = false;
	}
	f->size = size;
}

static void op_allocate(struct file *f)
{
	static const u32 modes[] = { 0, KEEP, ZERO, ZERO | KEEP };
	u32 mode = modes[below(4)];
	u64 off, len;

	some_range(MODEL_MAX, &off, &len);
	assert_int_equal(falloc(f->ino, mode, off, len), 0);
	if (mode & ZERO)
		memset(f->data + off, 0, len);
	set_blocks(f, off, off + len, true);
	if (!(mode & KEEP) && off + len > f->size)
		f->size = off + len;
}

static void op_punch(struct file *f)
{
	u64 off, len;

	some_range(MODEL_MAX, &off, &len);
	assert_int_equal(falloc(f->ino, PUNCH, off, len), 0);
	model_punch(f, off, off + len);
}

static void op_collapse(struct file *f)
{
	u64 off = below(20) * 4096, len = (1 + below(5)) * 4096;
	int want = off + len >= f->size ? -EINVAL : 0;

	assert_int_equal(falloc(f->ino, COLLAPSE, off, len), want);
	if (want)
		return;
	memmove(f->data + off, f->data + off + len, MODEL_MAX - off - len);
	memset(f->data + MODEL_MAX - len, 0, len);
	memmove(f->block + off / 4096, f->block + (off + len) / 4096,
		(MODEL_MAX - off - len) / 4096);
	memset(f->block + (MODEL_MAX - len) / 4096, 0, len / 4096);
	f->size -= len;
}

static void op_insert(struct file *f)
{
	u64 off = below(20) * 4096, len = (1 + below(5)) * 4096;
	int want = off >= f->size ? -EINVAL : 0;

	/* what lies behind the model's end would be lost to it */
	for (u64 k = (MODEL_MAX - len) / 4096; k < MODEL_BLOCKS; k++)
		if (f->block[k] || f->size > MODEL_MAX - len)
			return;
	assert_int_equal(falloc(f->ino, INSERT, off, len), want);
	if (want)
		return;
	memmove(f->data + off + len, f->data + off, MODEL_MAX - off - len);
	memset(f->data + off, 0, len);
	memmove(f->block + (off + len) / 4096, f->block + off / 4096,
		(MODEL_MAX - off - len) / 4096);
	memset(f->block + off / 4096, 0, len / 4096);
	f->size += len;
}

/* Of holes the place is copied; the source's are where seek says. */
static void model_copy(struct file *to, u64 to_off, const struct file *from,
		       u64 off, u64 len)
{
	u64 end = off + len;

	while (off < end) {
		s64 data = daxfs_seek(b, from->ino, off, false);
		bool hole = data < 0 || (u64)data > off;
		s64 next = hole ? data : daxfs_seek(b, from->ino, off, true);
		u64 stop = next < 0 || (u64)next > end ? end : (u64)next;

		if (hole) {
			model_punch(to, to_off, to_off + (stop - off));
		} else {
			memmove(to->data + to_off, from->data + off,
				stop - off);
			set_blocks(to, to_off, to_off + (stop - off), true);
		}
		to_off += stop - off;
		off = stop;
	}
	if (to_off > to->size)
		to->size = to_off;
}

static void op_copy(void)
{
	const struct file *from = &file[below(2)];
	struct file *to = &file[below(2)];
	static struct file after;
	u64 off, len, to_off = below(MODEL_MAX), n;
	s64 want;

	some_range(MODEL_MAX, &off, &len);
	if (below(2))
		to_off &= ~4095ull;
	if (len > MODEL_MAX - to_off)
		len = MODEL_MAX - to_off;
	n = off >= from->size ? 0 : from->size - off;
	want = (s64)(len < n ? len : n);
	if (want && from == to && off < to_off + (u64)want &&
	    to_off < off + (u64)want)
		want = -EINVAL;
	/* a hole that the copy itself fills half-way is data by then */
	if (want > 0 && from == to &&
	    (off + (u64)want - 1) / 4096 >= to_off / 4096 &&
	    (to_off + (u64)want - 1) / 4096 >= off / 4096)
		return;
	after = *to;
	if (want > 0)
		model_copy(&after, to_off, from, off, (u64)want);
	assert_int_equal(daxfs_copy_range(b, from->ino, off, to->ino, to_off,
					  len, 0),
			 want);
	*to = after;
}

static void random_ops(u32 steps, const char *branch)
{
	for (u32 n = 0; n < steps; n++) {
		struct file *f = &file[below(2)];

		switch (below(9)) {
		case 0:
		case 1:
			op_write(f);
			break;
		case 2:
			op_truncate(f);
			break;
		case 3:
			op_allocate(f);
			break;
		case 4:
			op_punch(f);
			break;
		case 5:
			op_collapse(f);
			break;
		case 6:
			op_insert(f);
			break;
		default:
			op_copy();
		}
		check(&file[0]);
		check(&file[1]);
		if (n % 50 == 49)
			reopen(branch);
	}
	check(&file[0]);
	check(&file[1]);
}

/* Two files, new ones, the base's, or a parent branch's. */
static void run_model(u32 round)
{
	static const u64 sizes[] = { 70001, 10000 };
	const char *branch = "b";

	model_new(&file[0], B_FILE, sizes[0]);
	model_new(&file[1], B_A, sizes[1]);
	for (u64 k = 0; k < sizes[1]; k++)
		file[1].data[k] = base_byte(B_A, k);
	for (u32 k = 0; k < 2 && round % 3; k++) {
		file[k].ino = make_file(b, ROOT, k ? "y" : "x");
		assert_int_equal(daxfs_write(b, file[k].ino, file[k].data,
					     sizes[k], 0, 0),
				 sizes[k]);
	}
	if (round % 3 == 2) {
		random_ops(20, branch);
		daxfs_branch_put(b);
		branch = "child";
		b = new_branch(&g, branch, "b");
	}
	random_ops(150, branch);
	if (round % 2) {
		daxfs_branch_put(b);
		assert_int_equal(daxfs_branch_commit(g.r, branch, &g.msg), 0);
		b = new_branch(&g, "b", "main");
		check(&file[0]);
		check(&file[1]);
	}
}

static void test_model(void **state)
{
	u32 rounds = (u32)env_number("DAXFS_ROUNDS", 12);

	(void)state;
	seed = env_number("DAXFS_SEED", (u64)time(NULL));
	print_message("# replay with DAXFS_SEED=%llu\n",
		      (unsigned long long)seed);
	for (u32 k = 0; k < rounds; k++) {
		start(12 * MB, 0);
		run_model(k);
		daxfs_branch_put(b);
		reg_free(&g);
	}
}

/* ---- Errors -------------------------------------------------------------- */

static void test_errors(void **state)
{
	static const struct {
		u32 mode;
		u64 off, len;
		int rc;
	} cases[] = {
		{ 0, 0, 0, -EINVAL },
		{ PUNCH, 0, 0, -EINVAL },
		{ DAXFS_FALLOC_PUNCH, 0, 1, -EOPNOTSUPP },
		{ PUNCH | ZERO, 0, 1, -EOPNOTSUPP },
		{ COLLAPSE | KEEP, 0, 4096, -EOPNOTSUPP },
		{ COLLAPSE | INSERT, 0, 4096, -EOPNOTSUPP },
		{ 1u << 9, 0, 4096, -EOPNOTSUPP },
		{ 0, DAXFS_MAX_FILE_SIZE, 1, -EFBIG },
		{ 0, 1, DAXFS_MAX_FILE_SIZE, -EFBIG },
		{ 0, ~0ull, ~0ull, -EFBIG },
		{ PUNCH, DAXFS_MAX_FILE_SIZE - 1, 2, -EFBIG },
		{ PUNCH, DAXFS_MAX_FILE_SIZE - 1, 1, 0 },
		{ COLLAPSE, 1, 4096, -EINVAL },
		{ COLLAPSE, 4096, 1, -EINVAL },
		{ COLLAPSE, 0, 69632, 0 },
		{ COLLAPSE, 0, 4096, -EINVAL },
		{ INSERT, 4096, 4096, -EINVAL },
		{ INSERT, 1, 4096, -EINVAL },
		{ INSERT, 0, DAXFS_MAX_FILE_SIZE, -EFBIG },
		{ INSERT, 0, 4096, 0 },
	};

	(void)state;
	for (u32 k = 0; k < sizeof(cases) / sizeof(*cases); k++)
		if (falloc(B_FILE, cases[k].mode, cases[k].off, cases[k].len) !=
		    cases[k].rc)
			fail_msg("case %u", k);
	assert_int_equal(attr_of(b, B_FILE).size, 70001 - 69632 + 4096);
	assert_int_equal(falloc(B_DIR, 0, 0, 1), -EISDIR);
	assert_int_equal(falloc(B_LINK, 0, 0, 1), -ENODEV);
	assert_int_equal(falloc(B_DEV, 0, 0, 1), -ENODEV);
	assert_int_equal(falloc(9999, 0, 0, 1), -ENOENT);
	assert_int_equal(daxfs_copy_range(b, B_DIR, 0, B_A, 0, 1, 0), -EISDIR);
	assert_int_equal(daxfs_copy_range(b, B_A, 0, B_DIR, 0, 1, 0), -EISDIR);
	assert_int_equal(daxfs_copy_range(b, B_A, 0, B_DEV, 0, 1, 0), -EINVAL);
	assert_int_equal(daxfs_copy_range(b, 9999, 0, B_A, 0, 1, 0), -ENOENT);
	assert_int_equal(daxfs_copy_range(b, B_A, 0, 9999, 0, 1, 0), -ENOENT);
	assert_int_equal(daxfs_copy_range(b, B_A, 0, B_FILE,
					  DAXFS_MAX_FILE_SIZE, 1, 0),
			 -EFBIG);
	assert_int_equal(daxfs_copy_range(b, B_A, 10000, B_FILE, 0, 1, 0), 0);
	assert_int_equal(daxfs_copy_range(b, B_A, ~0ull, B_FILE, 0, ~0ull, 0),
			 0);
	assert_int_equal(daxfs_copy_range(b, B_A, 0, B_A, 9999, 10000, 0),
			 -EINVAL);
	assert_int_equal(daxfs_copy_range(b, B_A, 0, B_A, 10000, ~0ull, 0),
			 10000);
	assert_int_equal(daxfs_copy_range(b, B_A, 0, B_FILE, 0, 1,
					  DAXFS_WRITE_APPEND),
			 -EINVAL);
	assert_int_equal(daxfs_seek(b, B_A, 20000, false), -ENXIO);
	assert_int_equal(daxfs_seek(b, B_A, 20000, true), -ENXIO);
	assert_int_equal(daxfs_seek(b, B_A, 19999, true), 20000);
	assert_int_equal(daxfs_seek(b, B_EMPTY, 0, false), -ENXIO);
	assert_int_equal(daxfs_seek(b, B_DIR, 0, false), -EISDIR);
	assert_int_equal(daxfs_seek(b, 9999, 0, true), -ENOENT);
	/* what cannot be written */
	daxfs_branch_put(b);
	b = get_branch(&g, "main");
	assert_int_equal(falloc(B_A, PUNCH, 0, 1), -EROFS);
	assert_int_equal(daxfs_copy_range(b, B_A, 0, B_FILE, 0, 1, 0), -EROFS);
}

/* As ext4 and tmpfs: space that is only set aside is a change too. */
static void test_times_and_privileges(void **state)
{
	static const struct {
		u32 mode;
		u64 off, len;
	} cases[] = {
		{ 0, 0, 4096 },        { KEEP, 90000, 1 },
		{ 0, 70000, 10000 },   { PUNCH, 0, 4096 },
		{ ZERO, 8192, 100 },   { ZERO | KEEP, 90000, 1 },
		{ COLLAPSE, 0, 4096 }, { INSERT, 0, 4096 },
	};
	struct daxfs_attr old = { .mtime = { 5, 6 }, .ctime = { 7, 8 } }, a;

	(void)state;
	for (u32 k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		assert_int_equal(daxfs_setattr(b, B_FILE,
					       DAXFS_SET_MTIME |
						       DAXFS_SET_CTIME,
					       &old, NULL),
				 0);
		assert_int_equal(falloc(B_FILE, cases[k].mode, cases[k].off,
					cases[k].len),
				 0);
		a = attr_of(b, B_FILE);
		assert_true(a.mtime.sec > 5);
		assert_true(a.ctime.sec > B_MTIME);
		assert_int_equal(a.mode, S_IFREG | 04755);
	}
	for (u32 k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		old.mode = 06777;
		assert_int_equal(daxfs_setattr(b, B_FILE, DAXFS_SET_MODE, &old,
					       NULL),
				 0);
		assert_int_equal(falloc(B_FILE,
					cases[k].mode | DAXFS_FALLOC_KILLPRIV,
					cases[k].off, cases[k].len),
				 0);
		assert_int_equal(attr_of(b, B_FILE).mode, S_IFREG | 0777);
	}
	old.mode = 04755;
	assert_int_equal(daxfs_setattr(b, B_FILE, DAXFS_SET_MODE, &old, NULL),
			 0);
	assert_int_equal(daxfs_copy_range(b, B_A, 0, B_FILE, 0, 10,
					  DAXFS_WRITE_KILLPRIV),
			 10);
	assert_int_equal(attr_of(b, B_FILE).mode, S_IFREG | 0755);
}

/* ---- Space --------------------------------------------------------------- */

/* A value that takes a block gives it back, while the file's blocks move. */
static void test_long_capability(void **state)
{
	static const u8 value[4096];
	u64 ino = make_file(b, ROOT, "f"), before, after, inodes;

	(void)state;
	assert_int_equal(daxfs_write(b, ino, value, 4096, 0, 0), 4096);
	assert_int_equal(daxfs_setxattr(b, ino, "security.capability", value,
					sizeof(value), 0),
			 0);
	assert_int_equal(daxfs_usage(b, &before, &inodes), 0);
	assert_int_equal(falloc(ino, INSERT | DAXFS_FALLOC_KILLPRIV, 0, 4096),
			 0);
	assert_int_equal(daxfs_getxattr(b, ino, "security.capability", NULL, 0),
			 -ENODATA);
	assert_int_equal(daxfs_usage(b, &after, &inodes), 0);
	assert_int_equal(after, before - 4096);
}

static void set_content(u64 ino, u64 off, u64 len, u8 with)
{
	static u8 page[65536];

	memset(page, with, sizeof(page));
	for (u64 end = off + len, n; off < end; off += n) {
		n = end - off < sizeof(page) ? end - off : sizeof(page);
		assert_int_equal(daxfs_write(b, ino, page, n, off, 0), n);
	}
}

static void fill_up(u64 ino)
{
	static u8 page[65536];
	u64 off = 0;
	ssize_t n;

	for (size_t len = sizeof(page); len; len /= 2)
		while ((n = daxfs_write(b, ino, page, len, off, 0)) > 0)
			off += (u64)n;
}

/* What was set aside can be written when nothing else can. */
static void test_promise(void **state)
{
	u64 ino = make_file(b, ROOT, "f"), hog = make_file(b, ROOT, "hog");

	(void)state;
	assert_int_equal(falloc(ino, KEEP, 3000, 2 * MB), 0);
	assert_int_equal(attr_of(b, ino).size, 0);
	assert_int_equal(blocks_of(ino), 513);
	assert_int_equal(falloc(B_FILE, 0, 0, 70001), 0);
	fill_up(hog);
	assert_int_equal(daxfs_write(b, hog, "x", 1, MB << 10, 0), -ENOSPC);
	set_content(ino, 3000, 2 * MB, 7);
	set_content(B_FILE, 0, 70001, 7);
	assert_int_equal(blocks_of(ino), 513);
	assert_int_equal(do_truncate(b, ino, 0), 0);
	assert_int_equal(blocks_of(ino), 0);
}

static void test_behind_the_end(void **state)
{
	u64 ino = make_file(b, ROOT, "f"), bytes, before, n;
	u8 byte = 1;

	(void)state;
	assert_int_equal(daxfs_usage(b, &before, &n), 0);
	assert_int_equal(daxfs_write(b, ino, "abc", 3, 0, 0), 3);
	assert_int_equal(falloc(ino, KEEP, 0, MB), 0);
	assert_int_equal(blocks_of(ino), 256);
	reopen("b");
	assert_int_equal(blocks_of(ino), 256);
	/* growing keeps it, and shows zeros */
	assert_int_equal(do_truncate(b, ino, 10000), 0);
	assert_int_equal(blocks_of(ino), 256);
	assert_int_equal(daxfs_read(b, ino, &byte, 1, 9999), 1);
	assert_int_equal(byte, 0);
	/* the same size again gives it back, and so does a smaller one */
	assert_int_equal(do_truncate(b, ino, 10000), 0);
	assert_int_equal(blocks_of(ino), 3);
	assert_int_equal(falloc(ino, KEEP, 100 * MB, 1), 0);
	assert_int_equal(falloc(ino, KEEP, 8000, MB), 0);
	assert_int_equal(do_truncate(b, ino, 9000), 0);
	assert_int_equal(blocks_of(ino), 3);
	assert_int_equal(attr_of(b, ino).size, 9000);
	assert_int_equal(falloc(ino, KEEP, 0, MB), 0);
	assert_int_equal(falloc(ino, PUNCH, 0, 2 * MB), 0);
	assert_int_equal(blocks_of(ino), 0);
	assert_int_equal(falloc(ino, KEEP, 0, MB), 0);
	assert_int_equal(do_unlink(b, ROOT, "f"), 0);
	assert_int_equal(daxfs_usage(b, &bytes, &n), 0);
	assert_int_equal(bytes, before);
}

struct state {
	u64 segments, bytes, inodes;
	struct daxfs_attr a;
};

static struct state state_of(u64 ino)
{
	struct state s;

	s.segments = reg_free_segments(&g);
	assert_int_equal(daxfs_usage(b, &s.bytes, &s.inodes), 0);
	s.a = attr_of(b, ino);
	return s;
}

static void expect_file(u64 ino, const struct state *want)
{
	struct daxfs_attr a = attr_of(b, ino);

	assert_int_equal(a.size, want->a.size);
	assert_int_equal(a.blocks, want->a.blocks);
	assert_int_equal(a.mtime.sec, want->a.mtime.sec);
	assert_int_equal(a.mtime.nsec, want->a.mtime.nsec);
	assert_int_equal(a.ctime.nsec, want->a.ctime.nsec);
}

static void expect_state(u64 ino, const struct state *want)
{
	struct state now = state_of(ino);

	expect_file(ino, want);
	assert_int_equal(now.segments, want->segments);
	assert_int_equal(now.bytes, want->bytes);
	assert_int_equal(now.inodes, want->inodes);
}

/* Operations that find no space leave everything as it was. */
static void test_no_space(void **state)
{
	static const struct {
		u32 mode;
		u64 off, len;
		int rc;
	} cases[] = {
		{ 0, 100000, 20 * MB, -ENOSPC }, { 0, 0, 20 * MB, -ENOSPC },
		{ 0, 0, 70001, -ENOSPC },        { KEEP, 1, 20 * MB, -ENOSPC },
		{ ZERO, 0, 20 * MB, -ENOSPC },   { ZERO, 5000, 10000, -ENOSPC },
		{ PUNCH, 1, 100, -ENOSPC },      { PUNCH, 4096, 4097, -ENOSPC },
		{ PUNCH, 1, 60000, -ENOSPC },    { COLLAPSE, 0, 4096, -ENOSPC },
		{ INSERT, 4096, 4096, -ENOSPC }, { PUNCH, 4096, 8192, 0 },
	};
	u64 hog = make_file(b, ROOT, "hog");
	struct state before;

	(void)state;
	for (u32 inherits = 0; inherits < 2; inherits++) {
		u64 ino = B_FILE;

		if (inherits) {
			ino = make_file(b, ROOT, "f");
			set_content(ino, 0, 70001, 3);
			daxfs_branch_put(b);
			b = new_branch(&g, "c", "b");
			hog = make_file(b, ROOT, "hog2");
		}
		fill_up(hog);
		for (u32 k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
			before = state_of(ino);
			assert_int_equal(falloc(ino, cases[k].mode,
						cases[k].off, cases[k].len),
					 cases[k].rc);
			if (cases[k].rc)
				expect_state(ino, &before);
		}
		before = state_of(B_A);
		assert_int_equal(daxfs_copy_range(b, B_FILE, 0, B_A, 0, 5000,
						  0),
				 -ENOSPC);
		expect_state(B_A, &before);
		assert_int_equal(do_truncate(b, hog, 0), 0);
	}
	reopen("c");
}

/* A file of single blocks in free space of single blocks. */
static void test_fragments(void **state)
{
	u64 hog, ino;
	struct state before;
	u8 byte;

	(void)state;
	start(24 * MB, 65536);
	hog = make_file(b, ROOT, "hog");
	fill_up(hog);
	/* more runs than one transaction takes, then too few */
	for (u64 k = 0; k < 1500; k++)
		assert_int_equal(falloc(hog, PUNCH, k * 8192, 4096), 0);
	ino = make_file(b, ROOT, "f");
	set_content(ino, 0, 4096, 1);
	set_content(ino, 100 * 4096, 4096, 2);
	before = state_of(ino);
	assert_int_equal(falloc(ino, 0, 0, 3000 * 4096), -ENOSPC);
	assert_int_equal(falloc(ino, ZERO, 0, 3000 * 4096), -ENOSPC);
	/* the log may have grown */
	expect_file(ino, &before);
	reopen("b");
	assert_int_equal(daxfs_read(b, ino, &byte, 1, 100 * 4096), 1);
	assert_int_equal(byte, 2);
	assert_int_equal(daxfs_seek(b, ino, 4096, false), 100 * 4096);
	assert_int_equal(falloc(ino, 0, 0, 1000 * 4096), 0);
	assert_int_equal(blocks_of(ino), 1000);
	assert_int_equal(daxfs_read(b, ino, &byte, 1, 100 * 4096), 1);
	assert_int_equal(byte, 2);
	/* so many extents do not fit into one log entry */
	before = state_of(ino);
	assert_int_equal(falloc(ino, INSERT, 4096, 4096), -EFBIG);
	expect_state(ino, &before);
	assert_int_equal(falloc(ino, COLLAPSE, 700 * 4096, 4096), 0);
	assert_int_equal(blocks_of(ino), 999);
	assert_int_equal(falloc(ino, PUNCH, 4096, 900 * 4096), 0);
	assert_int_equal(blocks_of(ino), 99);
	reopen("b");
	assert_int_equal(blocks_of(ino), 99);
	teardown(state);
}

/* ---- Large files --------------------------------------------------------- */

#define TB (1ull << 40)

static void test_sparse(void **state)
{
	u64 ino = make_file(b, ROOT, "f"), to = make_file(b, ROOT, "to");
	u8 byte = 1;

	(void)state;
	assert_int_equal(do_truncate(b, ino, 16 * TB), 0);
	for (u64 k = 0; k < 16; k++)
		assert_int_equal(daxfs_write(b, ino, "end", 3, (k + 1) * TB - 3,
					     0),
				 3);
	assert_int_equal(blocks_of(ino), 16);
	assert_int_equal(falloc(ino, PUNCH, 4 * TB - 1, 8 * TB), 0);
	assert_int_equal(blocks_of(ino), 9);
	assert_int_equal(daxfs_read(b, ino, &byte, 1, 4 * TB - 1), 1);
	assert_int_equal(byte, 0);
	assert_int_equal(daxfs_read(b, ino, &byte, 1, 12 * TB - 1), 1);
	assert_int_equal(byte, 'd');
	assert_int_equal(daxfs_seek(b, ino, 4 * TB, false), 12 * TB - 4096);
	assert_int_equal(daxfs_copy_range(b, ino, 0, to, 5, 16 * TB, 0),
			 16 * TB);
	assert_int_equal(attr_of(b, to).size, 16 * TB + 5);
	assert_int_equal(daxfs_seek(b, to, 4 * TB + 4096, false),
			 12 * TB - 4096);
	assert_int_equal(daxfs_read(b, to, &byte, 1, 12 * TB + 4), 1);
	assert_int_equal(byte, 'd');
	assert_int_equal(falloc(ino, COLLAPSE, 5 * TB, TB), 0);
	assert_int_equal(falloc(ino, INSERT, 0, 2 * TB), 0);
	reopen("b");
	assert_int_equal(attr_of(b, ino).size, 17 * TB);
	assert_int_equal(daxfs_seek(b, ino, 6 * TB, false), 13 * TB - 4096);
	/* to the last byte there may be */
	assert_int_equal(falloc(to, 0, DAXFS_MAX_FILE_SIZE - 1, 1), 0);
	assert_int_equal(attr_of(b, to).size, DAXFS_MAX_FILE_SIZE);
	assert_int_equal(falloc(to, INSERT, 0, 4096), -EFBIG);
	assert_int_equal(daxfs_write(b, to, "xy", 2, DAXFS_MAX_FILE_SIZE - 1,
				     0),
			 1);
	assert_int_equal(daxfs_copy_range(b, ino, 0, to,
					  DAXFS_MAX_FILE_SIZE - 1, 9, 0),
			 1);
	assert_int_equal(falloc(to, PUNCH, 0, DAXFS_MAX_FILE_SIZE), 0);
	assert_int_equal(blocks_of(to), 0);
	assert_int_equal(do_truncate(b, to, 0), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),
		T(test_errors),
		T(test_long_capability),
		T(test_times_and_privileges),
		T(test_promise),
		T(test_behind_the_end),
		T(test_no_space),
		cmocka_unit_test(test_fragments),
		T(test_sparse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
