// SPDX-License-Identifier: Apache-2.0
/*
 * Damaged media: opening answers an error with a message, or a region that can
 * be used without touching memory outside it. Guard pages lie on both sides.
 */
#include "core_util.h"

#include "core/internal.h"

static u8 *good; /* a region in use, as it lies on media */
static struct mem m;
static struct shape shape = {
	.size = 2 * MB, .branches = 16, .base = true, .segment_size = 65536
};
static u64 seed;
static u8 data[70000];

static struct daxfs_super *super(u8 *at)
{
	return (struct daxfs_super *)at;
}

/* ---- A region with a bit of everything --------------------------------------- */

static void populate(struct reg *g)
{
	struct daxfs_branch *a = new_branch(g, "a", "main");
	struct daxfs_branch *b;
	u64 dir = make_dir(a, ROOT, "made"), f = make_file(a, dir, "f");

	for (u32 k = 0; k < sizeof(data); k++)
		data[k] = (u8)k;
	assert_int_equal(daxfs_write(a, f, data, 30000, 100, 0), 30000);
	assert_int_equal(daxfs_write(a, B_FILE, data, 5000, 3000, 0), 5000);
	assert_int_equal(make_any(a, dir, "sym", S_IFLNK | 0777, NULL), 0);
	assert_int_equal(make_any(a, dir, "fifo", S_IFIFO | 0644, NULL), 0);
	assert_int_equal(daxfs_link(a, f, ROOT, "again", 5, NULL), 0);
	assert_int_equal(daxfs_setxattr(a, f, "user.small", "v", 1, 0), 0);
	assert_int_equal(daxfs_setxattr(a, f, "user.big", data, 20000, 0), 0);
	assert_int_equal(daxfs_removexattr(a, B_FILE, "user.base"), 0);
	assert_int_equal(do_unlink(a, B_MANY, "f007"), 0);
	assert_int_equal(do_rename(a, ROOT, "hard1", dir, "moved", 0), 0);
	daxfs_branch_put(a);
	b = new_branch(g, "b", "a");
	assert_int_equal(daxfs_write(b, f, data, 9000, 20000, 0), 9000);
	assert_int_equal(do_truncate(b, B_A, 777), 0);
	assert_int_equal(do_unlink(b, dir, "sym"), 0);
	assert_int_equal(daxfs_unlink(b, B_DIR, "a", 1, NULL), 0); /* orphan */
	daxfs_branch_put(b);
	daxfs_branch_put(new_branch(g, "s", "main"));
	assert_int_equal(daxfs_branch_set_meta(g->r, "b", data, 6000), 0);
	assert_int_equal(daxfs_branch_seal_meta(g->r, "s", "small", 5), 0);
}

static int group_setup(void **state)
{
	struct reg g;

	(void)state;
	reg_new(&g, &shape);
	populate(&g);
	good = malloc(shape.size);
	if (!good)
		return -1;
	memcpy(good, g.mem.base, shape.size);
	reg_free(&g);
	mem_new(&m, shape.size);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	free(good);
	mem_free(&m);
	return 0;
}

/* ---- Using whatever was opened -------------------------------------------------- */

struct tour {
	struct daxfs_branch *b;
	u64 found[600];
	u32 n;
};

static int on_entry(void *ctx, const struct daxfs_dirent *d)
{
	struct tour *t = ctx;
	volatile u8 sum = 0;

	for (size_t k = 0; k < d->len; k++)
		sum = (u8)(sum + (u8)d->name[k]);
	assert_true(d->len >= 1 && d->len <= 255);
	if (t->n < 600)
		t->found[t->n++] = d->ino;
	return t->n == 600;
}

static ssize_t on_pieces(void *ctx, const struct daxfs_piece *p, u32 n)
{
	volatile u8 sum = 0;

	(void)ctx;
	for (u32 k = 0; k < n; k++)
		for (size_t i = 0; p[k].ptr && i < p[k].len; i++)
			sum = (u8)(sum + ((const u8 *)p[k].ptr)[i]);
	return 0;
}

static void visit(struct daxfs_branch *b, u64 ino)
{
	static char buf[70000];
	struct daxfs_piece p[8];
	struct daxfs_attr a;
	u64 off, parent;

	if (daxfs_getattr(b, ino, &a))
		return;
	off = a.size > 40000 ? a.size - 40000 : 0;
	daxfs_read(b, ino, buf, sizeof(buf), 0);
	daxfs_read(b, ino, buf, sizeof(buf), off);
	daxfs_read_pieces(b, ino, 100000, 0, p, 8, on_pieces, NULL);
	assert_true(daxfs_readlink(b, ino, buf, 4096) <= 4095);
	daxfs_getxattr(b, ino, "user.big", buf, sizeof(buf));
	daxfs_getxattr(b, ino, "user.base", buf, sizeof(buf));
	daxfs_listxattr(b, ino, buf, sizeof(buf));
	daxfs_lookup(b, ino, "f", 1, &a);
	daxfs_lookup(b, ino, "f100", 4, &a);
	daxfs_parent(b, ino, &parent);
}

/* Change a bit of everything; the answers do not matter. */
static void change(struct daxfs_branch *b)
{
	char name[32];
	u64 ino;

	for (u32 k = 0; k < 12; k++) {
		u64 dir = k < 6 ? ROOT : 1 + rnd_below(&seed, 220);

		snprintf(name, sizeof(name), "new%u", k);
		if (make_any(b, dir, name, S_IFREG | 0644, &ino))
			continue;
		daxfs_write(b, ino, data, 10000, k * 1000, 0);
		daxfs_setxattr(b, ino, "user.x", data, k * 1000, 0);
		do_rename(b, dir, name, B_DIR, name, 0);
	}
	for (ino = 1; ino < 230; ino += 1 + rnd_below(&seed, 5)) {
		daxfs_write(b, ino, data, 5000, 2000, 0);
		do_truncate(b, ino, 100 * ino);
		daxfs_link(b, ino, ROOT, name, 5, NULL);
		daxfs_setxattr(b, ino, "user.y", "v", 1, 0);
		daxfs_removexattr(b, ino, "user.base");
	}
	do_unlink(b, ROOT, "file");
	do_unlink(b, B_MANY, "f050");
	do_rename(b, ROOT, "dir", ROOT, "many", DAXFS_RENAME_EXCHANGE);
	do_rename(b, ROOT, "made", B_SUB, "x", 0);
	daxfs_rmdir(b, ROOT, "made", 4, NULL);
	daxfs_evict_orphans(b);
}

static void explore(struct daxfs_region *r)
{
	struct daxfs_branch_info *v, info;
	struct daxfs_branch *b;
	struct daxfs_statfs st;
	struct tour t;
	u32 n;

	assert_int_equal(daxfs_branch_list(r, &v, &n), 0);
	for (u32 k = 0; k < n; k++) {
		assert_int_equal(daxfs_branch_get(r, v[k].name, &b), 0);
		daxfs_branch_info(b, &info);
		daxfs_statfs(b, &st);
		daxfs_branch_get_meta(r, v[k].name, data, sizeof(data));
		daxfs_branch_set_meta(r, v[k].name, data, 5000);
		t.b = b;
		t.n = 0;
		for (u64 ino = 1; ino < B_COUNT + 30; ino++) {
			u32 from = t.n;

			daxfs_readdir(b, ino, 0, on_entry, &t);
			if (t.n > 590)
				t.n = from;
			/* the many are all alike */
			if (ino < B_FIRST || ino > B_COUNT || ino % 32 == 0)
				visit(b, ino);
		}
		for (u32 i = 0; i < t.n; i++)
			if (t.found[i] < B_FIRST || t.found[i] > B_COUNT)
				visit(b, t.found[i]);
		if (!v[k].children)
			change(b);
		daxfs_branch_put(b);
	}
	/* ends in either way */
	for (u32 k = n; k--;)
		if (daxfs_branch_commit(r, v[k].name, NULL))
			daxfs_branch_delete(r, v[k].name);
	daxfs_free(v);
}

/* Open `m`; true when that went well. */
static bool try_open(u32 flags)
{
	struct daxfs_backing bk = { .base = m.base, .size = m.size };
	struct daxfs_message msg = { "" };
	struct daxfs_region *r = (void *)&bk;
	int rc = daxfs_region_open(&bk, flags, &r, &msg);

	if (!rc) {
		explore(r);
		daxfs_region_close(r);
		return true;
	}
	assert_null(r);
	if (rc != -EUCLEAN && rc != -EINVAL && rc != -EOPNOTSUPP &&
	    rc != -EROFS && rc != -ENOMEM)
		fail_msg("open answers %d", rc);
	if (!msg.text[0])
		fail_msg("open answers %d without a message", rc);
	return false;
}

static void fresh(void)
{
	memcpy(m.base, good, shape.size);
}

static void fix_super(void)
{
	super(m.base)->super_crc = 0;
	super(m.base)->super_crc = htole32(super_crc(super(m.base)));
}

static void test_good(void **state)
{
	(void)state;
	fresh();
	assert_true(try_open(DAXFS_OPEN_VALIDATE));
	/* what was made of it is a region again */
	assert_true(try_open(DAXFS_OPEN_VALIDATE));
}

/* ---- Foreign and short -------------------------------------------------------------- */

static void expect(int want, const char *text)
{
	struct daxfs_backing bk = { .base = m.base, .size = m.size };
	struct daxfs_message msg = { "" };
	struct daxfs_region *r;

	assert_int_equal(daxfs_region_open(&bk, 0, &r, &msg), want);
	assert_null(r);
	if (!strstr(msg.text, text))
		fail_msg("'%s' is not in '%s'", text, msg.text);
}

static void test_foreign(void **state)
{
	(void)state;
	memset(m.base, 0, m.size);
	expect(-EINVAL, "not a DAXFS region");
	memset(m.base, 0x5a, m.size);
	expect(-EINVAL, "not a DAXFS region");
	fresh();
	super(m.base)->version = htole32(5);
	expect(-EOPNOTSUPP, "version 5");
	fresh();
	super(m.base)->feature_incompat |= htole64(1ull << 40);
	expect(-EOPNOTSUPP, "bit 40");
	fresh();
	super(m.base)->total_size = htole64(m.size - 4096);
	expect(-EUCLEAN, "super_crc");
}

static void test_truncated(void **state)
{
	static const size_t sizes[] = {
		0, 1, 160, 4095, 4096, 8192, 65536, 400000, MB, 2 * MB - 4096
	};

	(void)state;
	for (u32 k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		struct daxfs_message msg = { "" };
		struct daxfs_backing bk;
		struct daxfs_region *r;
		size_t pages = (sizes[k] + 4095) & ~4095ull;
		struct mem part;

		/* ends at the guard page */
		mem_new(&part, pages ? pages : 4096);
		memset(&bk, 0, sizeof(bk));
		bk.base = part.base;
		bk.size = sizes[k];
		memcpy(part.base, good, sizes[k]);
		assert_int_not_equal(daxfs_region_open(&bk, 0, &r, &msg), 0);
		assert_int_not_equal(msg.text[0], 0);
		if (sizes[k] >= 4096)
			assert_non_null(strstr(msg.text, "truncated"));
		mem_free(&part);
	}
}

/* ---- Fields --------------------------------------------------------------------------- */

static const u64 evil[] = { 0,
			    1,
			    7,
			    4095,
			    4096,
			    0x7fffffff,
			    0x80000000,
			    0xffffffff,
			    0xfffff000,
			    1ull << 40,
			    (1ull << 62) + 1,
			    1ull << 63,
			    ~0ull - 4095,
			    ~0ull };
#define EVIL (sizeof(evil) / sizeof(*evil))

/* Every aligned word of [off, off+len) becomes every evil value in turn. */
static void evil_words(u64 off, u64 len, u32 step, void (*fix)(u64 at))
{
	for (u64 at = off; at < off + len; at += step)
		for (u32 k = 0; k < EVIL; k++) {
			fresh();
			memcpy(m.base + at, &evil[k], step);
			if (fix)
				fix(at);
			try_open(k & 1 ? DAXFS_OPEN_VALIDATE : 0);
		}
}

static void fix_super_at(u64 at)
{
	if (at < 256)
		fix_super();
}

static void no_super_crc(u64 at)
{
	(void)at;
	super(m.base)->super_crc = 0;
}

static void test_super_fields(void **state)
{
	(void)state;
	evil_words(0, 264, 4, fix_super_at);
	evil_words(0, 264, 8, no_super_crc);
}

/* A checksum of zero is not checked: these say segments where none are. */
static void test_static_with_segments(void **state)
{
	(void)state;
	fresh();
	super(m.base)->branch_table_entries = 0;
	super(m.base)->segment_table_offset = htole64(1ull << 50);
	super(m.base)->segment_count = htole32(1000);
	fix_super();
	try_open(0);
	super(m.base)->segment_table_offset = htole64(m.size - 8);
	fix_super();
	try_open(0);
}

static u64 table_at(u64 slot)
{
	return DAXFS_BRANCH_TABLE_OFFSET + slot * 128;
}

static void fix_entry(u64 at)
{
	struct daxfs_branch_entry *e =
		(void *)(m.base + table_at((at - 4096) / 128));

	e->entry_crc = htole32(entry_crc(e));
}

static void test_branch_fields(void **state)
{
	(void)state;
	evil_words(table_at(0), 4 * 128, 8, fix_entry);
	evil_words(table_at(1), 128, 4, NULL);
}

static void test_segment_fields(void **state)
{
	u64 table = le64toh(super(good)->segment_table_offset);

	(void)state;
	evil_words(table, 8 * sizeof(struct daxfs_segment_entry), 8, NULL);
}

static void test_base_fields(void **state)
{
	u64 base = le64toh(super(good)->base_offset);

	(void)state;
	evil_words(base, 64, 4, NULL);
	for (u32 ino = 1; ino < 13; ino++)
		evil_words(base + 4096 + (ino - 1) * 64, 64, 8, NULL);
}

static void test_dirent_fields(void **state)
{
	u64 base = le64toh(super(good)->base_offset);
	const struct daxfs_base_inode *root = (void *)(good + base + 4096);

	(void)state;
	for (u32 k = 0; k < 4; k++)
		evil_words(base + le64toh(root->data_offset) + k * 272, 24, 4,
			   NULL);
}

/* An inode that no directory names is never checked as part of the tree. */
static void test_unreachable_directory(void **state)
{
	u64 base = le64toh(super(good)->base_offset);
	struct daxfs_base_inode *i;

	(void)state;
	fresh();
	/* the last of /many becomes a directory of garbage; its name goes */
	i = (void *)(m.base + base + 4096 + (B_COUNT - 1) * 64);
	i->mode = htole32(S_IFDIR | 0755);
	i->size = htole64(3 * 271);
	i->data_offset = htole64(le64toh(
		((struct daxfs_base_inode *)(m.base + base + 4096))[B_FILE - 1]
			.data_offset));
	i = (void *)(m.base + base + 4096 + (B_MANY - 1) * 64);
	i->size = htole64((B_MANY_FILES - 1) * 271);
	try_open(0);
}

/* ---- The log ------------------------------------------------------------------------------ */

/* Calls fn for each entry of each log segment in `m`. */
static void each_entry(void (*fn)(struct daxfs_txn *t))
{
	const struct daxfs_super *sb = super(m.base);
	u64 size = le32toh(sb->segment_size);

	for (u32 s = 0; s < le32toh(sb->segment_count); s++) {
		u8 *seg = m.base + le64toh(sb->segment_data_offset) + s * size;
		struct daxfs_log_header *h = (void *)seg;
		u64 pos = sizeof(*h);

		if (le32toh(h->magic) != DAXFS_LOG_MAGIC)
			continue;
		while (pos < le64toh(h->tail)) {
			struct daxfs_txn *t = (void *)(seg + pos);

			pos += le32toh(t->h.total_size);
			fn(t);
		}
	}
}

static u32 entries, target, entry_bytes;
static u64 target_word, target_value;

static void count_entry(struct daxfs_txn *t)
{
	entry_bytes = le32toh(t->h.total_size);
	entries++;
}

/* Put a value into one word of one entry and make the checksum match. */
static void damage_entry(struct daxfs_txn *t)
{
	u8 *p = (u8 *)t;

	if (entries++ != target)
		return;
	entry_bytes = le32toh(t->h.total_size);
	if (target_word * 8 + 32 >= entry_bytes)
		return;
	if (target_value & 1)
		memcpy(p + 32 + target_word * 8, &target_value, 8);
	else
		memcpy(p + 32 + target_word * 8 + 4 * (target_value >> 1 & 1),
		       &target_value, 4);
	t->crc = htole32(txn_crc(t));
}

static void test_record_fields(void **state)
{
	u32 all;

	(void)state;
	fresh();
	entries = 0;
	each_entry(count_entry);
	all = entries;
	assert_true(all > 10);
	for (target = 0; target < all; target++)
		for (target_word = 0; target_word < 60; target_word++) {
			for (u32 k = 0; k < 3; k++) {
				target_value = evil[rnd_below(&seed, EVIL)];
				fresh();
				entries = 0;
				each_entry(damage_entry);
				if (target_word * 8 + 32 >= entry_bytes)
					break;
				try_open(0);
			}
			if (target_word * 8 + 32 >= entry_bytes)
				break;
		}
}

/* Small numbers in place of small numbers: believable and wrong. */
static void tweak_entry(struct daxfs_txn *t)
{
	u32 words = (le32toh(t->h.total_size) - 32) / 4;
	u32 *p = (u32 *)(t + 1);

	if (rnd_below(&seed, 12))
		return;
	for (u32 n = 1 + rnd_below(&seed, 3); n--;)
		p[rnd_below(&seed, words)] =
			rnd_below(&seed, 3) ? rnd_below(&seed, 300)
					    : p[rnd_below(&seed, words)];
	t->crc = htole32(txn_crc(t));
}

static void test_record_tweaks(void **state)
{
	u64 rounds = env_number("DAXFS_STEPS", 800), opened = 0;

	(void)state;
	for (u64 k = 0; k < rounds; k++) {
		fresh();
		each_entry(tweak_entry);
		opened += try_open(0);
	}
	print_message("# %llu of %llu opened\n", (unsigned long long)opened,
		      (unsigned long long)rounds);
}

/* Wherever the last store was cut off, the log ends cleanly or is refused. */
static void test_log_tail(void **state)
{
	const struct daxfs_super *sb = super(good);

	(void)state;
	for (u32 s = 0; s < le32toh(sb->segment_count); s++) {
		u64 at = le64toh(sb->segment_data_offset) +
			 s * (u64)le32toh(sb->segment_size);
		const struct daxfs_log_header *h = (const void *)(good + at);

		if (le32toh(h->magic) != DAXFS_LOG_MAGIC)
			continue;
		evil_words(at, sizeof(*h), 8, NULL);
		for (u64 tail = 0; tail < le64toh(h->tail) + 200; tail += 8) {
			u64 le = htole64(tail);

			fresh();
			memcpy(m.base + at +
				       offsetof(struct daxfs_log_header, tail),
			       &le, 8);
			try_open(0);
		}
	}
}

/* ---- Anything --------------------------------------------------------------------------------- */

static void test_random_bytes(void **state)
{
	u64 rounds = env_number("DAXFS_STEPS", 1500);
	const struct daxfs_super *sb = super(good);
	u64 base = le64toh(sb->base_offset), table = base + 4096 + 64 * B_COUNT;
	u64 segs = le64toh(sb->segment_table_offset);
	struct {
		u64 off, len;
	} areas[] = { { 0, 264 },
		      { 4096, 16 * 128 },
		      { base, 64 },
		      { base + 4096, 64 * B_COUNT },
		      { table, 200000 },
		      { segs, 640 },
		      { le64toh(sb->segment_data_offset), 200000 } };

	(void)state;
	for (u64 k = 0; k < rounds; k++) {
		u32 n = 1 + rnd_below(&seed, 4);

		fresh();
		while (n--) {
			u32 a = rnd_below(&seed, 7);
			u64 at = areas[a].off + rnd(&seed) % areas[a].len;

			if (rnd_below(&seed, 2))
				m.base[at] ^= (u8)(1u << rnd_below(&seed, 8));
			else
				m.base[at] = (u8)rnd(&seed);
		}
		if (rnd_below(&seed, 2))
			super(m.base)->super_crc = 0;
		try_open(rnd_below(&seed, 2) ? DAXFS_OPEN_VALIDATE : 0);
	}
}

/* ---- An interrupted commit ----------------------------------------------------------------------- */

struct commit_state {
	u8 *before, *after;
	u64 cut, n; /* stores done of n */
};

static void check_committed(struct reg *g, bool done)
{
	struct daxfs_region_info info;
	struct daxfs_branch *b = get_branch(g, "main");
	char got[8] = "";
	u64 ino = find_name(b, ROOT, "leaf");

	daxfs_region_info(g->r, &info);
	assert_int_equal(info.branches, done ? 1 : 5);
	assert_int_equal(ino != 0, done);
	assert_int_equal(find_name(b, ROOT, "sibling"), 0);
	if (done) {
		assert_int_equal(info.commit_sequence, 1);
		assert_int_equal(daxfs_read(b, ino, got, 8, 0), 4);
		assert_string_equal(got, "text");
		ino = find_name(b, ROOT, "parent");
		assert_int_equal(daxfs_read(b, ino, data, 70000, 0), 70000);
		assert_int_equal(find_name(b, ROOT, "file"), 0);
	} else {
		assert_in_range(info.commit_sequence, 0, 1);
	}
	daxfs_branch_put(b);
}

static void commit_region(struct reg *g)
{
	struct daxfs_branch *p = new_branch(g, "p", "main"), *b;

	assert_int_equal(daxfs_write(p, make_file(p, ROOT, "parent"), data,
				     70000, 0, 0),
			 70000);
	daxfs_branch_put(p);
	b = new_branch(g, "x", "main");
	make_file(b, ROOT, "sibling");
	daxfs_branch_put(b);
	daxfs_branch_put(new_branch(g, "y", "x"));
	b = new_branch(g, "leaf", "p");
	assert_int_equal(daxfs_write(b, make_file(b, ROOT, "leaf"), "text", 4,
				     0, 0),
			 4);
	assert_int_equal(do_unlink(b, ROOT, "file"), 0);
	daxfs_branch_put(b);
}

/* Words that differ go over in [from, from+len), as many as the cut allows. */
static void copy_words(struct commit_state *c, u64 from, u64 len)
{
	for (u64 at = from; at < from + len; at += 4) {
		if (!memcmp(c->before + at, c->after + at, 4))
			continue;
		if (c->n++ < c->cut)
			memcpy(m.base + at, c->after + at, 4);
	}
}

/* The stores of a commit in program order, up to c->cut of them. */
static void replay_commit(struct commit_state *c, u64 leaf)
{
	const struct daxfs_super *sb = super(c->before);
	u64 word = htole64(leaf), zero = 0;
	u64 at = offsetof(struct daxfs_super, commit_branch);

	c->n = 0;
	memcpy(m.base, c->before, shape.size);
	copy_words(c, offsetof(struct daxfs_super, commit_sequence), 8);
	if (c->n++ < c->cut)
		memcpy(m.base + at, &word, 8);
	copy_words(c, le64toh(sb->segment_table_offset),
		   le32toh(sb->segment_count) * 32ull);
	copy_words(c, 4096, 16 * 128);
	copy_words(c, offsetof(struct daxfs_super, last_committed_id), 8);
	if (c->n++ < c->cut)
		memcpy(m.base + at, &zero, 8);
}

/*
 * The commit itself frees what ended siblings had, which recovery does by their
 * state: the segment table after it has more stores than the cut states need,
 * and any prefix of them must do.
 */
static void test_interrupted_commit(void **state)
{
	struct commit_state c = { 0 };
	struct reg g;
	u64 leaf, stores, before_free;

	(void)state;
	reg_new(&g, &shape);
	commit_region(&g);
	before_free = reg_free_segments(&g);
	c.before = malloc(shape.size);
	c.after = malloc(shape.size);
	assert_true(c.before && c.after);
	memcpy(c.before, g.mem.base, shape.size);
	leaf = le64toh(super(g.mem.base)->next_branch_id) - 1;
	assert_int_equal(daxfs_branch_commit(g.r, "leaf", &g.msg), 0);
	memcpy(c.after, g.mem.base, shape.size);
	reg_free(&g);
	c.cut = ~0ull;
	replay_commit(&c, leaf);
	stores = c.n;
	assert_true(stores > 8);
	for (c.cut = 0; c.cut <= stores; c.cut++) {
		replay_commit(&c, leaf);
		memset(&g, 0, sizeof(g));
		g.mem = m;
		if (reg_open(&g, DAXFS_OPEN_VALIDATE))
			fail_msg("cut %llu: %s", (unsigned long long)c.cut,
				 g.msg.text);
		check_committed(&g, c.cut > 1);
		if (c.cut > 1)
			assert_true(reg_free_segments(&g) > before_free);
		assert_int_equal(super(m.base)->commit_branch, 0);
		reg_reopen(&g);
		check_committed(&g, c.cut > 1);
		daxfs_region_close(g.r);
	}
	free(c.before);
	free(c.after);
}

static void test_interrupted_commit_readonly(void **state)
{
	struct daxfs_backing bk = { .base = m.base,
				    .size = m.size,
				    .readonly = true };
	struct daxfs_message msg = { "" };
	struct daxfs_region *r;

	(void)state;
	fresh();
	super(m.base)->commit_branch = htole64(3);
	assert_int_equal(daxfs_region_open(&bk, 0, &r, &msg), -EROFS);
	assert_non_null(strstr(msg.text, "commit"));
}

/* A commit record that names no branch would throw all of them away. */
static void test_commit_of_nothing(void **state)
{
	(void)state;
	fresh();
	super(m.base)->commit_branch = htole64(12345);
	expect(-EUCLEAN, "commit");
	fresh();
	super(m.base)->commit_branch = htole64(DAXFS_MAIN_ID);
	expect(-EUCLEAN, "commit");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_super_fields),
		cmocka_unit_test(test_static_with_segments),
		cmocka_unit_test(test_branch_fields),
		cmocka_unit_test(test_segment_fields),
		cmocka_unit_test(test_base_fields),
		cmocka_unit_test(test_dirent_fields),
		cmocka_unit_test(test_unreachable_directory),
		cmocka_unit_test(test_record_fields),
		cmocka_unit_test(test_record_tweaks),
		cmocka_unit_test(test_log_tail),
		cmocka_unit_test(test_random_bytes),
		cmocka_unit_test(test_interrupted_commit),
		cmocka_unit_test(test_interrupted_commit_readonly),
		cmocka_unit_test(test_commit_of_nothing),
	};

	seed = env_number("DAXFS_SEED", (u64)time(NULL));
	print_message("# replay with DAXFS_SEED=%llu\n",
		      (unsigned long long)seed);
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
