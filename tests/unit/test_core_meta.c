// SPDX-License-Identifier: Apache-2.0
/* Metadata of branches: what is set is there, wherever the branch goes. */
#include "core_util.h"

#define LIMIT DAXFS_BRANCH_META_MAX

static struct reg g;
static u8 blob[65536], got[65536];

static int setup(void **state)
{
	struct shape s = { .size = 16 * MB, .branches = 16, .base = true };

	(void)state;
	reg_new(&g, &s);
	for (u32 i = 0; i < sizeof(blob); i++)
		blob[i] = (u8)(i * 7 + i / 256);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	reg_free(&g);
	return 0;
}

static int set_meta(const char *name, const char *text)
{
	return daxfs_branch_set_meta(g.r, name, text, strlen(text));
}

static void check_meta(const char *name, const void *want, size_t len)
{
	ssize_t n = daxfs_branch_get_meta(g.r, name, got, sizeof(got));

	assert_int_equal(n, len ? (ssize_t)len : -ENODATA);
	if (len)
		assert_memory_equal(got, want, len);
}

static void check_text(const char *name, const char *want)
{
	check_meta(name, want, strlen(want));
}

static struct daxfs_branch_info info_of(const char *name)
{
	struct daxfs_branch *b = get_branch(&g, name);
	struct daxfs_branch_info i;

	assert_int_equal(daxfs_branch_info(b, &i), 0);
	daxfs_branch_put(b);
	return i;
}

static struct daxfs_branch_entry *entry_of(const char *name)
{
	const struct daxfs_super *sb = (void *)g.mem.base;
	struct daxfs_branch_entry *e =
		(void *)(g.mem.base + le64toh(sb->branch_table_offset));

	for (u32 i = 0; i < le32toh(sb->branch_table_entries); i++)
		if (le32toh(e[i].state) && !strcmp(e[i].name, name))
			return &e[i];
	fail_msg("no entry of %s", name);
	return NULL;
}

static struct daxfs_branch_meta *header_of(const char *name)
{
	return (void *)(g.mem.base + le64toh(entry_of(name)->meta));
}

/* ---- Setting and asking -------------------------------------------------- */

static void test_rules(void **state)
{
	(void)state;
	assert_int_equal(set_meta("nobody", "x"), -ENOENT);
	assert_int_equal(daxfs_branch_get_meta(g.r, "nobody", NULL, 0),
			 -ENOENT);
	assert_int_equal(set_meta("main", "x"), -EPERM);
	assert_int_equal(daxfs_branch_get_meta(g.r, "main", NULL, 0), -ENODATA);
	assert_int_equal(daxfs_branch_create(g.r, "b", "main", 0), 0);
	check_meta("b", NULL, 0);
	assert_int_equal(daxfs_branch_set_meta(g.r, "b", blob, LIMIT + 1),
			 -EINVAL);
	check_meta("b", NULL, 0);
	assert_int_equal(info_of("b").meta_len, 0);
	assert_int_equal(daxfs_branch_set_meta(g.r, "b", blob, 5000), 0);
	assert_int_equal(daxfs_branch_get_meta(g.r, "b", NULL, 0), 5000);
	assert_int_equal(daxfs_branch_get_meta(g.r, "b", got, 4999), -ERANGE);
	assert_int_equal(info_of("b").meta_len, 5000);
	assert_int_equal(info_of("b").meta_crc,
			 daxfs_branch_meta_crc(info_of("b").id, blob, 5000));
	assert_int_equal(daxfs_branch_create_meta(g.r, "c", "b", 0, blob,
						  LIMIT + 1),
			 -EINVAL);
	assert_int_equal(daxfs_branch_seal_meta(g.r, "b", blob, LIMIT + 1),
			 -EINVAL);
	assert_int_equal(info_of("b").state, DAXFS_BRANCH_ACTIVE);
	check_meta("b", blob, 5000);
	assert_int_equal(daxfs_branch_set_meta(g.r, "b", NULL, 0), 0);
	check_meta("b", NULL, 0);
}

/* All lengths around a block's and the limit's, one after another. */
static void test_lengths(void **state)
{
	static const u32 lens[] = { 1,    2,    4063,  4064,      4065, 4096,
				    8160, 8161, 40000, LIMIT - 1, LIMIT };
	u64 before = reg_free_segments(&g), held;

	(void)state;
	assert_int_equal(daxfs_branch_create(g.r, "b", "main", 0), 0);
	for (u32 i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		assert_int_equal(daxfs_branch_set_meta(g.r, "b", blob, lens[i]),
				 0);
		check_meta("b", blob, lens[i]);
		/* what it replaces goes */
		assert_true(before - reg_free_segments(&g) <= 2);
		reg_reopen(&g);
		check_meta("b", blob, lens[i]);
	}
	held = reg_free_segments(&g);
	for (u32 i = 0; i < 500; i++)
		assert_int_equal(daxfs_branch_set_meta(g.r, "b", blob + i, 100),
				 0);
	assert_true(reg_free_segments(&g) >= held);
	check_meta("b", blob + 499, 100);
	assert_int_equal(daxfs_branch_delete(g.r, "b"), 0);
	assert_int_equal(reg_free_segments(&g), before);
}

/* Neither a size nor a quota counts it; nor is it a child's. */
static void test_not_content(void **state)
{
	struct daxfs_branch *b;
	u64 bytes, inodes, empty;
	u64 f;

	(void)state;
	assert_int_equal(daxfs_branch_create_meta(g.r, "b", "main", 0, blob,
						  LIMIT),
			 0);
	b = get_branch(&g, "b");
	assert_int_equal(daxfs_usage(b, &bytes, &inodes), 0);
	assert_int_equal(bytes + inodes, 0);
	/* a log segment and one of blocks */
	assert_int_equal(daxfs_branch_set_quota(g.r, "b", 3 * 65536, 2), 0);
	f = make_file(b, ROOT, "f");
	assert_int_equal(daxfs_usage(b, &empty, &inodes), 0);
	assert_int_equal(daxfs_write(b, f, blob, 65536, 0, 0), 65536);
	assert_int_equal(daxfs_usage(b, &bytes, &inodes), 0);
	assert_int_equal(bytes, empty + 65536);
	assert_int_equal(daxfs_branch_set_meta(g.r, "b", blob, 40000), 0);
	assert_int_equal(daxfs_usage(b, &bytes, &inodes), 0);
	assert_int_equal(bytes, empty + 65536);
	daxfs_branch_put(b);
	assert_int_equal(daxfs_branch_create(g.r, "c", "b", 0), 0);
	check_meta("c", NULL, 0);
	reg_reopen(&g);
	check_meta("c", NULL, 0);
	check_meta("b", blob, 40000);
	assert_int_equal(info_of("b").bytes, empty + 65536);
}

/* ---- Where the branch goes ------------------------------------------------ */

static void test_sealed_and_frozen(void **state)
{
	struct daxfs_branch *b;

	(void)state;
	assert_int_equal(daxfs_branch_create_meta(g.r, "b", "main", 0, "new",
						  3),
			 0);
	b = get_branch(&g, "b");
	make_file(b, ROOT, "f");
	daxfs_branch_put(b);
	check_text("b", "new");
	assert_int_equal(daxfs_branch_create(g.r, "c", "b", 0), 0);
	assert_int_equal(set_meta("b", "frozen"), 0);
	check_text("b", "frozen");
	assert_int_equal(daxfs_branch_seal_meta(g.r, "b", "sealed", 6), 0);
	check_text("b", "sealed");
	assert_int_equal(info_of("b").state, DAXFS_BRANCH_SEALED);
	assert_int_equal(daxfs_branch_seal_meta(g.r, "b", "again", 5), 0);
	check_text("b", "again");
	assert_int_equal(daxfs_branch_seal(g.r, "b"), 0);
	check_text("b", "again");
	assert_int_equal(set_meta("b", "later"), 0);
	reg_reopen(&g);
	check_text("b", "later");
	b = get_branch(&g, "c");
	assert_true(find_name(b, ROOT, "f"));
	daxfs_branch_put(b);
}

/* It goes with the branch: by delete, abort, and by a commit of its chain. */
static void test_ends(void **state)
{
	u64 before;
	struct daxfs_branch *b;

	(void)state;
	assert_int_equal(daxfs_branch_create(g.r, "b", "main", 0), 0);
	assert_int_equal(daxfs_branch_delete(g.r, "b"), 0);
	before = reg_free_segments(&g);
	for (int way = 0; way < 3; way++) {
		assert_int_equal(daxfs_branch_create_meta(g.r, "b", "main", 0,
							  blob, LIMIT),
				 0);
		assert_int_equal(daxfs_branch_create_meta(g.r, "c", "b", 0,
							  blob, 9),
				 0);
		if (way == 0) {
			assert_int_equal(daxfs_branch_delete(g.r, "c"), 0);
			assert_int_equal(daxfs_branch_delete(g.r, "b"), 0);
		} else if (way == 1) {
			assert_int_equal(daxfs_branch_abort(g.r, "c"), 0);
		} else {
			b = get_branch(&g, "c");
			make_file(b, ROOT, "f");
			daxfs_branch_put(b);
			assert_int_equal(daxfs_branch_commit(g.r, "c", NULL),
					 0);
			/* main's log */
			before--;
		}
		assert_int_equal(reg_free_segments(&g), before);
		check_meta("main", NULL, 0);
		reg_reopen(&g);
		assert_int_equal(reg_free_segments(&g), before);
	}
	/* the entry is another's now */
	assert_int_equal(daxfs_branch_create(g.r, "d", "main", 0), 0);
	check_meta("d", NULL, 0);
}

/* A log that is written anew leaves it where it is. */
static void test_compaction(void **state)
{
	struct daxfs_branch *b;
	struct daxfs_attr a;
	u64 f, bytes, inodes;

	(void)state;
	assert_int_equal(daxfs_branch_create_meta(g.r, "b", "main", 0, blob,
						  7000),
			 0);
	b = get_branch(&g, "b");
	f = make_file(b, ROOT, "f");
	for (u32 i = 0; i < 20000; i++) {
		a.mode = 0600 + i % 8;
		assert_int_equal(daxfs_setattr(b, f, DAXFS_SET_MODE, &a, NULL),
				 0);
	}
	assert_int_equal(daxfs_usage(b, &bytes, &inodes), 0);
	assert_true(bytes < 20000 * 120); /* so it was compacted */
	check_meta("b", blob, 7000);
	daxfs_branch_put(b);
	reg_reopen(&g);
	check_meta("b", blob, 7000);
}

/* Where a user has left nothing it still finds room, up to the last segment. */
static void test_full(void **state)
{
	struct daxfs_branch *b = new_branch(&g, "b", "main");
	u64 f = make_file(b, ROOT, "f"), off = 0;
	char name[16];
	u32 n = 0;
	ssize_t w;
	int rc;

	(void)state;
	while ((w = daxfs_write(b, f, blob, 65536, off, 0)) > 0)
		off += (u64)w;
	assert_int_equal(w, -ENOSPC);
	assert_int_equal(daxfs_branch_set_meta(g.r, "b", blob, 100), 0);
	assert_int_equal(daxfs_branch_seal_meta(g.r, "b", blob, 200), 0);
	do {
		snprintf(name, sizeof(name), "c%u", n++);
		rc = daxfs_branch_create_meta(g.r, name, "b", 0, blob, LIMIT);
	} while (!rc && n < 14);
	daxfs_branch_put(b);
	check_meta("b", blob, 200);
	if (rc) {
		assert_int_equal(rc, -ENOSPC);
		/* none of it is there, and its place can be taken */
		assert_int_equal(daxfs_branch_get_meta(g.r, name, NULL, 0),
				 -ENOENT);
		assert_int_equal(daxfs_branch_create(g.r, name, "b", 0), 0);
	}
	reg_reopen(&g);
	check_meta("b", blob, 200);
	check_meta("c0", blob, LIMIT);
}

/* ---- Media ------------------------------------------------------------------ */

static void test_feature(void **state)
{
	struct daxfs_super *sb = (void *)g.mem.base;

	(void)state;
	assert_int_equal(daxfs_branch_create(g.r, "b", "main", 0), 0);
	assert_int_equal(sb->feature_ro_compat, 0);
	assert_int_equal(set_meta("b", "x"), 0);
	assert_int_equal(le64toh(sb->feature_ro_compat),
			 DAXFS_RO_COMPAT_BRANCH_META);
	assert_true(sb->super_crc);
	reg_reopen(&g);
	check_text("b", "x");
	/* without the bit an entry's last word means nothing */
	daxfs_region_close(g.r);
	sb->feature_ro_compat = 0;
	sb->super_crc = 0;
	assert_int_equal(reg_open(&g, 0), 0);
	check_meta("b", NULL, 0);
}

enum damage { MAGIC, OWNER, LENGTH, BYTES, WHERE, ODD, OUTSIDE, KINDS };

static void damage(enum damage d)
{
	struct daxfs_branch_meta *h = header_of("b");
	struct daxfs_branch_entry *e = entry_of("b");

	switch (d) {
	case MAGIC:
		h->magic ^= 1;
		break;
	case OWNER:
		h->owner = htole64(le64toh(h->owner) + 1);
		break;
	case LENGTH:
		h->len = htole32(LIMIT + 1);
		break;
	case BYTES:
		((u8 *)(h + 1))[50] ^= 0x10;
		break;
	case WHERE: /* another branch's segment, with all it needs */
		e->meta = entry_of("c")->meta;
		*header_of("b") = *h;
		memcpy(header_of("b") + 1, h + 1, 100);
		break;
	case ODD:
		e->meta = htole64(le64toh(e->meta) + 8);
		break;
	default:
		e->meta = htole64(g.mem.size - 4096 + 65536);
	}
}

/* Refused, told, and the branch's files are there all the same. */
static void test_damaged(void **state)
{
	struct daxfs_backing bk = { .readonly = true };
	struct daxfs_message msg;
	struct daxfs_branch *b;
	struct daxfs_region *r;
	bool repaired;

	(void)state;
	for (int d = 0; d < KINDS; d++) {
		b = new_branch(&g, "b", "main");
		make_file(b, ROOT, "f");
		daxfs_branch_put(b);
		assert_int_equal(daxfs_branch_set_meta(g.r, "b", blob, 100), 0);
		assert_int_equal(daxfs_branch_create_meta(g.r, "c", "main", 0,
							  blob, 100),
				 0);
		daxfs_region_close(g.r);
		damage((enum damage)d);
		bk.base = g.mem.base;
		bk.size = g.mem.size;
		assert_int_equal(daxfs_region_open(&bk, 0, &r, &msg), 0);
		assert_int_equal(daxfs_branch_get_meta(r, "b", got, 100),
				 -EUCLEAN);
		assert_int_equal(daxfs_branch_problem(r, "b", &msg, &repaired),
				 0);
		assert_false(repaired);
		assert_non_null(strstr(msg.text, "corrupt branch table: "));
		daxfs_region_close(r);
		/* whoever may write takes it away */
		assert_int_equal(reg_open(&g, 0), 0);
		assert_int_equal(daxfs_branch_problem(g.r, "b", &msg,
						      &repaired),
				 0);
		assert_true(repaired);
		check_meta("b", NULL, 0);
		b = get_branch(&g, "b");
		assert_true(find_name(b, ROOT, "f"));
		daxfs_branch_put(b);
		reg_reopen(&g);
		assert_int_equal(daxfs_branch_problem(g.r, "b", &msg,
						      &repaired),
				 -ENOENT);
		assert_int_equal(set_meta("b", "good"), 0);
		check_text("b", "good");
		assert_int_equal(daxfs_branch_delete(g.r, "b"), 0);
		assert_int_equal(daxfs_branch_delete(g.r, "c"), 0);
	}
}

/* A file that claims the same blocks wins: its bytes are content. */
static void test_blocks_used_twice(void **state)
{
	struct daxfs_branch_meta *h;
	struct daxfs_branch *b = new_branch(&g, "b", "main");
	u64 f = make_file(b, ROOT, "f"), at;
	u8 *mem = g.mem.base;
	bool repaired;

	(void)state;
	assert_int_equal(set_meta("b", "text"), 0);
	h = header_of("b");
	assert_int_equal(daxfs_write(b, f, h, 4096, 0, 0), 4096);
	daxfs_branch_put(b);
	daxfs_region_close(g.r);
	/* the file's copy of the header, found in the same segment */
	at = le64toh(entry_of("b")->meta);
	at = memcmp(mem + at + 4096, h, 64) ? at - 4096 : at + 4096;
	assert_memory_equal(mem + at, h, 64);
	entry_of("b")->meta = htole64(at);
	assert_int_equal(reg_open(&g, 0), 0);
	assert_int_equal(daxfs_branch_problem(g.r, "b", &g.msg, &repaired), 0);
	check_meta("b", NULL, 0);
	b = get_branch(&g, "b");
	assert_int_equal(daxfs_read(b, f, got, 4096, 0), 4096);
	assert_memory_equal(got, mem + at, 4096);
	daxfs_branch_put(b);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_rules),       T(test_lengths),
		T(test_not_content), T(test_sealed_and_frozen),
		T(test_ends),        T(test_compaction),
		T(test_full),        T(test_feature),
		T(test_damaged),     T(test_blocks_used_twice),
	};

	return cmocka_run_group_tests_name("meta", tests, NULL, NULL);
}
