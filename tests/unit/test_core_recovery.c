// SPDX-License-Identifier: Apache-2.0
/* What is cut off half-way, and what damaged or odd media must not lead to. */
#include "core_util.h"

#include "core/internal.h"

#define BLOCKS 3000u
#define SEG 65536u

static struct reg g;

static int teardown(void **state)
{
	(void)state;
	reg_free(&g);
	return 0;
}

static void region(u64 size, bool base)
{
	struct shape s = {
		.size = size, .branches = 16, .segment_size = SEG, .base = base
	};

	reg_new(&g, &s);
}

/* ---- Compaction that is cut off ------------------------------------------------- */

static int takes_left; /* segments that reserve() still grants */
static u8 *snapshot;   /* the region as it was when it refused */

static int refuse_reserve(void *priv, u64 off, u64 len)
{
	(void)priv;
	if (len != SEG || off < 4096 || takes_left-- > 0)
		return 0;
	if (snapshot)
		memcpy(snapshot, g.mem.base, g.mem.size);
	return -ENOSPC;
}

static void open_refusing(void)
{
	struct daxfs_backing bk = { .base = g.mem.base,
				    .size = g.mem.size,
				    .reserve = refuse_reserve };

	takes_left = 1 << 30;
	daxfs_region_close(g.r);
	assert_int_equal(daxfs_region_open(&bk, 0, &g.r, &g.msg), 0);
}

static void write_block(struct daxfs_branch *b, u64 ino, u32 i, u8 byte)
{
	u8 block[4096];

	memset(block, byte, sizeof(block));
	assert_int_equal(daxfs_write(b, ino, block, 4096, i * 4096ull, 0),
			 4096);
}

/* Every other block is the child's. */
static void check_blocks(struct daxfs_branch *b, u64 ino)
{
	u8 block[4096];

	for (u32 i = 0; i < BLOCKS; i++) {
		assert_int_equal(daxfs_read(b, ino, block, 4096, i * 4096ull),
				 4096);
		assert_int_equal(block[17], i % 2 ? 'p' : 'c');
	}
}

static void test_compaction_cut_off(void **state)
{
	struct daxfs_attr a = { .mode = 0600 };
	struct daxfs_branch *b;
	u64 ino, bytes, inodes;
	struct mem whole;

	(void)state;
	region(64 * MB, false);
	open_refusing();
	b = new_branch(&g, "p", "main");
	ino = make_file(b, ROOT, "f");
	for (u32 i = 0; i < BLOCKS; i++)
		write_block(b, ino, i, 'p');
	daxfs_branch_put(b);
	b = new_branch(&g, "c", "p");
	for (u32 i = 0; i < BLOCKS; i += 2)
		write_block(b, ino, i, 'c');
	whole = g.mem;
	snapshot = malloc(whole.size);
	assert_non_null(snapshot);
	while (takes_left > 0) {
		assert_int_equal(daxfs_setattr(b, ino, DAXFS_SET_MODE, &a,
					       NULL),
				 0);
		assert_int_equal(daxfs_usage(b, &bytes, &inodes), 0);
		/* the next segment is the compacted log's first, and its last */
		if (takes_left > 1 && bytes >= BLOCKS / 2 * 4096 + 16 * SEG)
			takes_left = 1;
	}
	assert_int_equal(daxfs_setattr(b, ino, DAXFS_SET_MODE, &a, NULL), 0);
	assert_true(takes_left < 0);
	check_blocks(b, ino);
	daxfs_branch_put(b);
	reg_reopen(&g);
	b = get_branch(&g, "c");
	check_blocks(b, ino);
	daxfs_branch_put(b);
	/* and a process that died there */
	daxfs_region_close(g.r);
	memcpy(whole.base, snapshot, whole.size);
	free(snapshot);
	snapshot = NULL;
	assert_int_equal(reg_open(&g, 0), 0);
	b = get_branch(&g, "c");
	check_blocks(b, ino);
	daxfs_branch_put(b);
}

/* ---- Commit ------------------------------------------------------------------------ */

/* What is open without a name when its branch is committed has no user after. */
static void test_commit_orphans(void **state)
{
	struct daxfs_branch *b;
	u64 ino, bytes, inodes;

	(void)state;
	region(16 * MB, false);
	b = new_branch(&g, "p", "main");
	ino = make_file(b, ROOT, "f");
	for (u32 i = 0; i < 256; i++)
		write_block(b, ino, i, 'p');
	daxfs_branch_put(b);
	b = new_branch(&g, "b", "p");
	for (u32 i = 0; i < 64; i++)
		write_block(b, ino, i, 'b');
	assert_int_equal(daxfs_unlink(b, ROOT, "f", 1, NULL), 0);
	daxfs_branch_put(b);
	assert_int_equal(daxfs_branch_commit(g.r, "b", &g.msg), 0);
	for (u32 round = 0; round < 2; round++) {
		b = get_branch(&g, "main");
		assert_int_equal(daxfs_usage(b, &bytes, &inodes), 0);
		assert_true(bytes <= 4 * SEG);
		assert_int_equal(inodes, 0);
		daxfs_branch_put(b);
		reg_reopen(&g);
	}
}

/* A commit that cannot be finished whole is not finished at all. */
static void test_redo_damaged_chain(void **state)
{
	struct daxfs_super *sb;
	struct daxfs_branch_entry *e;
	struct daxfs_branch *b;
	struct daxfs_backing bk;
	u8 *before;

	(void)state;
	region(8 * MB, false);
	b = new_branch(&g, "p", "main");
	make_file(b, ROOT, "f");
	daxfs_branch_put(b);
	b = new_branch(&g, "b", "p");
	make_file(b, ROOT, "h");
	daxfs_branch_put(b);
	daxfs_region_close(g.r);
	g.r = NULL;
	sb = (struct daxfs_super *)g.mem.base;
	e = (struct daxfs_branch_entry *)(g.mem.base +
					  DAXFS_BRANCH_TABLE_OFFSET);
	while (strcmp(e->name, "b"))
		e++;
	sb->commit_branch = e->id;
	e = (struct daxfs_branch_entry *)(g.mem.base +
					  DAXFS_BRANCH_TABLE_OFFSET);
	while (strcmp(e->name, "p"))
		e++;
	e->name[0] = 'q';
	before = malloc(g.mem.size);
	assert_non_null(before);
	memcpy(before, g.mem.base, g.mem.size);
	bk = (struct daxfs_backing){ .base = g.mem.base, .size = g.mem.size };
	assert_int_equal(daxfs_region_open(&bk, 0, &g.r, &g.msg), -EUCLEAN);
	assert_memory_equal(before, g.mem.base, g.mem.size);
	free(before);
}

/* ---- Damaged and odd media ------------------------------------------------------------ */

/* The entry whose records have a symlink's target of `len` bytes. */
static struct daxfs_rec_xattr *find_target(struct daxfs_txn **entry, u32 len)
{
	const struct daxfs_super *sb = (void *)g.mem.base;

	for (u64 s = le64_to_cpu(sb->segment_data_offset);
	     s + SEG <= g.mem.size; s += SEG) {
		const struct daxfs_log_header *h = (void *)(g.mem.base + s);
		u64 pos = sizeof(*h), tail = le64_to_cpu(h->tail);

		if (le32_to_cpu(h->magic) != DAXFS_LOG_MAGIC)
			continue;
		while (pos < tail) {
			struct daxfs_txn *t = (void *)(g.mem.base + s + pos);
			const struct daxfs_rec *r = NULL;

			while ((r = rec_next(t, r))) {
				struct daxfs_rec_xattr *x = (void *)r;

				*entry = t;
				if (le16_to_cpu(r->type) == DAXFS_REC_XATTR &&
				    !x->name_len &&
				    le32_to_cpu(x->value_len) == len)
					return x;
			}
			pos += le32_to_cpu(t->h.total_size);
		}
	}
	fail_msg("no target of %u bytes", len);
	return NULL;
}

static void test_symlink_target(void **state)
{
	static char target[DAXFS_SYMLINK_MAX + 1];
	struct daxfs_new n = { .mode = S_IFLNK | 0777, .target = target };
	struct daxfs_rec_xattr *x;
	struct daxfs_branch *b;
	struct daxfs_txn *t;

	(void)state;
	region(8 * MB, false);
	memset(target, 't', DAXFS_SYMLINK_MAX);
	b = new_branch(&g, "b", "main");
	assert_int_equal(daxfs_make(b, ROOT, "l", 1, &n, NULL), 0);
	daxfs_branch_put(b);
	daxfs_region_close(g.r);
	x = find_target(&t, DAXFS_SYMLINK_MAX);
	/* the padding has room for one byte more */
	x->value_len = cpu_to_le32(DAXFS_SYMLINK_MAX + 1);
	t->crc = cpu_to_le32(txn_crc(t));
	assert_int_equal(reg_open_whole(&g, 0), -EUCLEAN);
	x->value_len = cpu_to_le32(DAXFS_SYMLINK_MAX);
	((char *)(x + 1))[7] = 0;
	t->crc = cpu_to_le32(txn_crc(t));
	assert_int_equal(reg_open_whole(&g, 0), -EUCLEAN);
	((char *)(x + 1))[7] = 't';
	t->crc = cpu_to_le32(txn_crc(t));
	assert_int_equal(reg_open_whole(&g, 0), 0);
}

/* Images exist that count links wrongly: the file's data is there all the same. */
static void test_few_links(void **state)
{
	static const u32 inos[] = { B_A, B_HARD };
	struct daxfs_base_inode *inodes;
	struct daxfs_branch *b;
	u8 byte;

	(void)state;
	region(8 * MB, true);
	daxfs_region_close(g.r);
	inodes = (void *)(g.mem.base + daxfs_base_start(16) + 4096);
	inodes[B_A - 1].nlink = 0;
	inodes[B_HARD - 1].nlink = cpu_to_le32(1);
	assert_int_equal(reg_open(&g, 0), 0);
	b = get_branch(&g, "main");
	for (u32 k = 0; k < 2; k++) {
		assert_int_equal(daxfs_read(b, inos[k], &byte, 1, 3), 1);
		assert_int_equal(byte, base_byte(inos[k], 3));
		assert_int_equal(attr_of(b, inos[k]).nlink, k + 1);
	}
	daxfs_branch_put(b);
}

/* Directories that share their entries would make checking quadratic. */
static void test_shared_entries(void **state)
{
	enum { N = 50 };
	struct daxfs_format_params p = { .total_size = 4 * MB, .branches = 16 };
	struct daxfs_base_super *s;
	struct base_writer w = { .next = 4 * 4096 };
	u64 root, shared;
	char name[8];

	(void)state;
	memset(&g, 0, sizeof(g));
	mem_new(&g.mem, p.total_size);
	w.mem = g.mem.base + daxfs_base_start(16);
	root = base_room(&w, N * sizeof(struct daxfs_base_dirent));
	shared = base_room(&w, N * sizeof(struct daxfs_base_dirent));
	s = (void *)w.mem;
	s->magic = htole32(DAXFS_BASE_MAGIC);
	s->version = htole32(DAXFS_VERSION);
	s->block_size = htole32(4096);
	s->inode_offset = htole64(4096);
	s->inode_count = htole32(1 + 2 * N);
	s->root_inode = htole32(ROOT);
	s->total_size = htole64(w.next);
	base_put(&w, ROOT, S_IFDIR | 0755, 2 + N, N * 271)->data_offset =
		htole64(root);
	for (u32 i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "n%02u", i);
		base_put(&w, 2 + i, S_IFDIR | 0755, 2, N * 271)->data_offset =
			htole64(shared);
		base_put(&w, 2 + N + i, S_IFREG | 0644, N, 0);
		base_entry((struct daxfs_base_dirent *)(w.mem + root) + i,
			   2 + i, S_IFDIR | 0755, name);
		base_entry((struct daxfs_base_dirent *)(w.mem + shared) + i,
			   2 + N + i, S_IFREG | 0644, name);
	}
	p.base_size = w.next;
	p.base_inodes = 1 + 2 * N;
	p.compat = DAXFS_COMPAT_KNOWN;
	assert_int_equal(daxfs_region_format(g.mem.base, &p, &g.msg), 0);
	assert_int_equal(reg_open(&g, 0), -EUCLEAN);
	assert_non_null(strstr(g.msg.text, "share"));
}

/* ---- A damaged branch among others ---------------------------------------------------- */

static void assert_damaged(const char *name, int want)
{
	struct daxfs_branch *b;
	struct daxfs_attr a;

	assert_int_equal(daxfs_branch_get(g.r, name, &b), 0);
	assert_int_equal(daxfs_branch_status(b), want);
	assert_int_equal(daxfs_getattr(b, ROOT, &a), want);
	daxfs_branch_put(b);
}

static bool has(const char *branch, const char *name)
{
	struct daxfs_branch *b;
	struct daxfs_attr a;
	int rc;

	assert_int_equal(daxfs_branch_get(g.r, branch, &b), 0);
	rc = daxfs_lookup(b, ROOT, name, strlen(name), &a);
	assert_true(!rc || rc == -ENOENT);
	daxfs_branch_put(b);
	return !rc;
}

/* Branches "p", its child "c", and "other"; damages an entry of p's log. */
static void make_damage(bool child)
{
	struct daxfs_new n = { .mode = S_IFLNK | 0777, .target = "here" };
	struct daxfs_branch *b;
	struct daxfs_txn *t;

	region(8 * MB, false);
	b = new_branch(&g, "p", "main");
	make_file(b, ROOT, "before");
	assert_int_equal(daxfs_make(b, ROOT, "l", 1, &n, NULL), 0);
	make_file(b, ROOT, "after");
	daxfs_branch_put(b);
	if (child) {
		b = new_branch(&g, "c", "p");
		make_file(b, ROOT, "f");
		daxfs_branch_put(b);
	}
	b = new_branch(&g, "other", "main");
	make_file(b, ROOT, "f");
	daxfs_branch_put(b);
	daxfs_region_close(g.r);
	g.r = NULL;
	find_target(&t, 4);
	t->crc ^= 1;
}

static void test_put_aside(void **state)
{
	struct daxfs_message msg;
	bool repaired;

	(void)state;
	make_damage(true);
	assert_int_equal(reg_open(&g, 0), 0);
	assert_damaged("p", -EUCLEAN);
	assert_damaged("c", -EUCLEAN);
	assert_damaged("other", 0);
	assert_true(has("other", "f"));
	assert_int_equal(daxfs_branch_problem(g.r, "p", &msg, &repaired), 0);
	assert_non_null(strstr(msg.text, "checksum"));
	assert_false(repaired);
	assert_int_equal(daxfs_branch_problem(g.r, "c", &msg, &repaired), 0);
	assert_non_null(strstr(msg.text, "'p'"));
	assert_int_equal(daxfs_branch_problem(g.r, "other", &msg, &repaired),
			 -ENOENT);
	assert_int_equal(daxfs_branch_create(g.r, "n", "p", 0), -EUCLEAN);
	assert_int_equal(daxfs_branch_seal(g.r, "p"), -EUCLEAN);
	assert_int_equal(daxfs_branch_commit(g.r, "c", &msg), -EUCLEAN);
	/* its space is its own until it is deleted */
	assert_int_equal(daxfs_branch_delete(g.r, "p"), -EBUSY);
	assert_int_equal(daxfs_branch_delete(g.r, "c"), 0);
	assert_int_equal(daxfs_branch_delete(g.r, "p"), 0);
	assert_int_equal(daxfs_branch_commit(g.r, "other", &msg), 0);
	assert_true(has("main", "f"));
	daxfs_region_close(g.r);
	assert_int_equal(reg_open_whole(&g, 0), 0);
}

static void test_repair(void **state)
{
	struct daxfs_message msg;
	bool repaired;

	(void)state;
	make_damage(false);
	assert_int_equal(reg_open(&g, DAXFS_OPEN_REPAIR), 0);
	assert_damaged("p", 0);
	assert_int_equal(daxfs_branch_problem(g.r, "p", &msg, &repaired), 0);
	assert_true(repaired);
	assert_true(has("p", "before"));
	assert_false(has("p", "l"));
	assert_false(has("p", "after"));
	reg_reopen(&g);
	assert_int_equal(daxfs_branch_problem(g.r, "p", &msg, &repaired),
			 -ENOENT);
	assert_true(has("p", "before"));
	assert_false(has("p", "after"));
	daxfs_region_close(g.r);
	mem_free(&g.mem);
	/* what rests on it is not cut */
	make_damage(true);
	assert_int_equal(reg_open(&g, DAXFS_OPEN_REPAIR), 0);
	assert_damaged("p", -EUCLEAN);
	assert_damaged("c", -EUCLEAN);
}

#define T(f) cmocka_unit_test_teardown(f, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_compaction_cut_off), T(test_commit_orphans),
		T(test_redo_damaged_chain), T(test_symlink_target),
		T(test_few_links),          T(test_shared_entries),
		T(test_put_aside),          T(test_repair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
