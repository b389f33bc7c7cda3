// SPDX-License-Identifier: Apache-2.0
/*
 * Threads on one region at the same time. Of use mostly with SAN=thread;
 * without it what they see is checked all the same. DAXFS_SEED and
 * DAXFS_SECONDS (of each test) set what they do and how long.
 */
#include "core_util.h"

#include <stdatomic.h>
#include <unistd.h>

#define REGION (48 * MB)
#define FILES 12u
#define BLOCKS 24u /* of a file */
#define BLK 4096u
#define THREADS_MAX 12u
#if defined(__SANITIZE_THREAD__)
#define SECONDS 3
#else
#define SECONDS 1
#endif

static struct reg g;
static double deadline;
static u64 seed;
static atomic_uint faults, syncs, commits;
static atomic_ulong operations;

/* One thread: what it does until the time is over. */
struct worker {
	void (*round)(struct worker *w);
	u64 rng;
	u32 number;
	struct daxfs_branch *b; /* what the round works on */
	char name[16];
	u8 buf[8 * BLK];
	pthread_t thread;
};

static u32 below(struct worker *w, u32 n)
{
	return rnd_below(&w->rng, n);
}

/* Not cmocka's: only the main thread may use those. */
#define EXPECT(cond)                                                       \
	do {                                                               \
		if (!(cond) && atomic_fetch_add(&faults, 1) < 5)           \
			print_message("# line %d: %s\n", __LINE__, #cond); \
	} while (0)

#define MAY(call, ...) may(__LINE__, call, (const int[]){ __VA_ARGS__, 0 })

/* The result is no error, or one of these. True: it is none. */
static bool may(int line, s64 rc, const int *errors)
{
	while (rc < 0 && *errors && rc != -*errors)
		errors++;
	if (rc < 0 && !*errors && atomic_fetch_add(&faults, 1) < 5)
		print_message("# line %d: error %d\n", line, (int)-rc);
	return rc >= 0;
}

/* The region may be full, and the branch have ended. */
#define OK(call) MAY(call, ENOSPC, ESTALE, EROFS)
/* And another thread may have removed it meanwhile. */
#define OK_OR_GONE(call) MAY(call, ENOENT, ENOSPC, ESTALE, EROFS)

/* ---- Files with known bytes ---------------------------------------------- */

/*
 * Each byte of a block says which file and block it is of, but one in eight:
 * that changes with each write. Two writes may be seen mixed, byte by byte.
 */
static void fill_block(u8 *p, u32 file, u32 block, u8 turn)
{
	for (u32 k = 0; k < BLK; k += 8) {
		p[k] = turn;
		p[k + 1] = (u8)(0x80 + file);
		p[k + 2] = (u8)(1 + block);
		memset(p + k + 3, 0xa5, 5);
	}
}

/* Byte `off` of the file may be `c`; holes are zeros. */
static bool byte_ok(u32 file, u64 off, u8 c)
{
	switch (off % 8) {
	case 0:
		return true;
	case 1:
		return !c || c == 0x80 + file;
	case 2:
		return !c || c == 1 + off / BLK;
	default:
		return !c || c == 0xa5;
	}
}

static void check_bytes(u32 file, u64 off, const u8 *p, size_t n)
{
	for (size_t k = 0; k < n; k++)
		if (!byte_ok(file, off + k, p[k])) {
			EXPECT(!"a byte that nobody wrote there");
			return;
		}
}

static size_t file_name(char *out, u32 file)
{
	return (size_t)sprintf(out, "file-%u", file);
}

static u64 look_up(struct daxfs_branch *b, u32 file)
{
	struct daxfs_attr a;
	char name[16];
	int rc = daxfs_lookup(b, ROOT, name, file_name(name, file), &a);

	EXPECT(!rc || rc == -ENOENT || rc == -ESTALE);
	return rc ? 0 : a.ino;
}

/* Make the file anew when it is not there. */
static u64 get_file(struct daxfs_branch *b, u32 file)
{
	struct daxfs_new n = { .mode = S_IFREG | 0644 };
	struct daxfs_attr a;
	char name[16];
	u64 ino = look_up(b, file);
	int rc;

	if (ino)
		return ino;
	rc = daxfs_make(b, ROOT, name, file_name(name, file), &n, &a);
	if (rc == -EEXIST) /* another thread was faster */
		return look_up(b, file);
	return OK(rc) ? a.ino : 0;
}

static void write_file(struct worker *w, u32 file, u64 ino)
{
	u32 first = below(w, BLOCKS), n = 1 + below(w, 8);

	for (u32 k = 0; k < n; k++)
		fill_block(w->buf + k * BLK, file, first + k,
			   (u8)below(w, 256));
	OK_OR_GONE(daxfs_write(w->b, ino, w->buf, n * BLK, first * BLK, 0));
}

static ssize_t on_pieces(void *ctx, const struct daxfs_piece *p, u32 count)
{
	u64 n = 0;

	(void)ctx; /* the bytes may be written at this moment: not looked at */
	for (u32 k = 0; k < count; k++)
		n += p[k].len;
	return (ssize_t)n;
}

static void read_file(struct worker *w, u32 file, u64 ino)
{
	u64 off = below(w, (BLOCKS + 8) * BLK);
	struct daxfs_piece pieces[8];
	ssize_t n = daxfs_read(w->b, ino, w->buf, sizeof(w->buf), off);

	if (OK_OR_GONE(n) && n > 0)
		check_bytes(file, off, w->buf, (size_t)n);
	n = daxfs_read_pieces(w->b, ino, sizeof(w->buf), off, pieces, 8,
			      on_pieces, NULL);
	EXPECT(n <= (ssize_t)sizeof(w->buf));
}

/* Gives the name back as it was: a second one comes and goes. */
static void rename_file(struct worker *w, u32 file, u64 ino)
{
	char name[16], other[24];
	size_t len = file_name(name, file);
	size_t olen = (size_t)sprintf(other, "other-%u-%u", w->number, file);
	u64 victim = 0;
	int rc = daxfs_link(w->b, ino, ROOT, other, olen, NULL);

	if (!OK_OR_GONE(rc))
		return;
	rc = daxfs_rename(w->b, ROOT, other, olen, ROOT, name, len, 0, &victim);
	if (OK(rc) && victim && victim != ino)
		OK(daxfs_evict(w->b, victim));
	/* both names were its own: rename did nothing */
	rc = daxfs_unlink(w->b, ROOT, other, olen, NULL);
	OK_OR_GONE(rc);
}

static void remove_file(struct worker *w, u32 file)
{
	char name[16];
	u64 ino = 0;

	if (OK_OR_GONE(daxfs_unlink(w->b, ROOT, name, file_name(name, file),
				    &ino)) &&
	    ino)
		OK(daxfs_evict(w->b, ino));
}

static void resize_file(struct worker *w, u64 ino)
{
	struct daxfs_attr a = { .size = below(w, BLOCKS) * BLK };

	OK_OR_GONE(daxfs_setattr(w->b, ino, DAXFS_SET_SIZE, &a, &a));
}

static void hole_in_file(struct worker *w, u64 ino)
{
	static const u32 modes[] = { 0, DAXFS_FALLOC_ZERO,
				     DAXFS_FALLOC_PUNCH |
					     DAXFS_FALLOC_KEEP_SIZE };

	OK_OR_GONE(daxfs_fallocate(w->b, ino, modes[below(w, 3)],
				   below(w, BLOCKS) * BLK,
				   (1 + below(w, 8)) * BLK));
}

static void attributes(struct worker *w, u64 ino)
{
	size_t len = below(w, 3) ? below(w, 100) : below(w, 6000);
	u8 value[6000];
	ssize_t n;

	if (below(w, 2)) {
		memset(value, 'v', len);
		OK_OR_GONE(daxfs_setxattr(w->b, ino, "user.x", value, len, 0));
		return;
	}
	n = daxfs_getxattr(w->b, ino, "user.x", value, sizeof(value));
	for (ssize_t k = 0; k < n; k++)
		if (value[k] != 'v') {
			EXPECT(!"a byte of an attribute");
			break;
		}
	daxfs_listxattr(w->b, ino, (char *)value, sizeof(value));
}

/* A file without a name gets one, takes a copy of another and goes. */
static void copy_file(struct worker *w, u32 file, u64 ino)
{
	struct daxfs_new n = { .mode = S_IFREG | 0600 };
	u64 off = below(w, BLOCKS) * BLK, len = below(w, sizeof(w->buf));
	size_t name_len;
	struct daxfs_attr a;
	char name[24];
	ssize_t rc;

	if (!OK(daxfs_tmpfile(w->b, ROOT, &n, 0, &a)))
		return;
	name_len = (size_t)sprintf(name, "copy-%u", w->number);
	OK(daxfs_link(w->b, a.ino, ROOT, name, name_len, NULL));
	rc = daxfs_copy_range(w->b, ino, off, a.ino, off, len, 0);
	if (OK_OR_GONE(rc) && rc > 0) {
		rc = daxfs_read(w->b, a.ino, w->buf, len, off);
		if (OK(rc))
			check_bytes(file, off, w->buf, (size_t)rc);
	}
	OK_OR_GONE(daxfs_unlink(w->b, ROOT, name, name_len, NULL));
	OK(daxfs_evict(w->b, a.ino));
}

/* One operation on a branch that others may work on too. */
static void change(struct worker *w)
{
	u32 file = below(w, FILES), op = below(w, 100);
	u64 ino = get_file(w->b, file);

	atomic_fetch_add(&operations, 1);
	if (!ino)
		return;
	if (op < 40)
		write_file(w, file, ino);
	else if (op < 50)
		read_file(w, file, ino);
	else if (op < 60)
		resize_file(w, ino);
	else if (op < 70)
		rename_file(w, file, ino);
	else if (op < 80)
		attributes(w, ino);
	else if (op < 86)
		hole_in_file(w, ino);
	else if (op < 90)
		copy_file(w, file, ino);
	else if (op < 98)
		remove_file(w, file);
	else
		OK_OR_GONE(daxfs_fsync(w->b, ino));
}

/* ---- Readers ------------------------------------------------------------- */

static int on_entry(void *ctx, const struct daxfs_dirent *d)
{
	u32 *seen = ctx, file;
	char name[32];

	memcpy(name, d->name, d->len < 31 ? d->len : 31);
	name[d->len < 31 ? d->len : 31] = 0;
	if (sscanf(name, "file-%u", &file) == 1 && file < FILES)
		*seen |= 1u << file;
	return 0;
}

static void look(struct worker *w)
{
	u32 file = below(w, FILES), seen = 0;
	u64 ino = look_up(w->b, file);
	struct daxfs_attr a;
	int rc;

	atomic_fetch_add(&operations, 1);
	rc = daxfs_readdir(w->b, ROOT, 0, on_entry, &seen);
	EXPECT(!rc || rc == -ESTALE);
	if (!ino)
		return;
	read_file(w, file, ino);
	rc = daxfs_getattr(w->b, ino, &a);
	EXPECT(rc || (S_ISREG(a.mode) && a.size <= (BLOCKS + 8) * BLK));
	attributes(w, ino);
	daxfs_seek(w->b, ino, 0, below(w, 2));
	daxfs_touch(w->b, ino);
}

/* ---- Rounds -------------------------------------------------------------- */

/* On the branch that all share. */
static void round_write(struct worker *w)
{
	change(w);
}

static void round_read(struct worker *w)
{
	look(w);
}

/* Names in one directory of a branch of its own: its log grows and shrinks. */
static void round_names(struct worker *w)
{
	char from[16], to[16];
	u32 k = below(w, 200);
	size_t len = (size_t)sprintf(from, "n%u", k);
	size_t to_len = (size_t)sprintf(to, "n%u", below(w, 200));
	struct daxfs_new n = { .mode = S_IFREG | 0600 };
	struct daxfs_attr a;
	u64 victim = 0;
	int rc;

	atomic_fetch_add(&operations, 1);
	rc = daxfs_make(w->b, ROOT, from, len, &n, &a);
	EXPECT(!rc || rc == -EEXIST || rc == -ENOSPC);
	rc = daxfs_rename(w->b, ROOT, from, len, ROOT, to, to_len, 0, &victim);
	EXPECT(!rc || rc == -ENOENT || rc == -ENOSPC);
	if (!rc && victim)
		EXPECT(!daxfs_evict(w->b, victim));
	rc = daxfs_lookup(w->b, ROOT, to, to_len, &a);
	EXPECT(!rc || rc == -ENOENT);
}

static bool get_own(struct worker *w, const char *parent)
{
	int rc = daxfs_branch_create(g.r, w->name, parent, 0);

	if (!MAY(rc, ENOSPC, ENOENT))
		return false;
	/* a commit may have ended it already */
	return !daxfs_branch_get(g.r, w->name, &w->b);
}

/* Its end, one way or another; somebody's commit may have been faster. */
static void end_own(struct worker *w)
{
	u32 how = below(w, 3);
	int rc = how == 0   ? daxfs_branch_abort(g.r, w->name)
		 : how == 1 ? daxfs_branch_drop(g.r, w->name)
			    : daxfs_branch_delete(g.r, w->name);

	EXPECT(!rc || rc == -ENOENT);
	EXPECT(daxfs_branch_status(w->b) == -ESTALE);
	daxfs_branch_put(w->b);
	w->b = NULL;
}

/* A branch comes, is written to, sealed perhaps, and goes. */
static void round_branch(struct worker *w)
{
	if (!get_own(w, "base"))
		return;
	for (u32 k = below(w, 20); k; k--)
		change(w);
	look(w);
	if (below(w, 3) == 0) {
		EXPECT(!daxfs_branch_seal(g.r, w->name));
		EXPECT(get_file(w->b, 0) || !look_up(w->b, 0));
		EXPECT(!daxfs_branch_delete(g.r, w->name));
		EXPECT(daxfs_branch_status(w->b) == -ESTALE);
		daxfs_branch_put(w->b);
		w->b = NULL;
		return;
	}
	end_own(w);
}

/* Short chains: a child freezes its parent. */
static void round_chain(struct worker *w)
{
	struct daxfs_branch *child;
	char name[24];
	u64 ino;

	if (!get_own(w, "base"))
		return;
	change(w);
	snprintf(name, sizeof(name), "%s-child", w->name);
	if (!daxfs_branch_create(g.r, name, w->name, 0)) {
		ino = get_file(w->b, 1);
		EXPECT(!ino || daxfs_write(w->b, ino, "x", 1, 0, 0) == -EROFS);
		if (!daxfs_branch_get(g.r, name, &child)) {
			look(w);
			daxfs_branch_put(child);
		}
		EXPECT(!daxfs_branch_delete(g.r, name));
	}
	change(w);
	end_own(w);
}

/* Whosever branch it is, its metadata is what one thread has set. */
static void set_and_check_meta(struct worker *w, const char *name)
{
	u8 v[6000];
	ssize_t n = 1 + below(w, 5999);

	memset(v, 1 + (int)below(w, 255), (size_t)n);
	MAY(daxfs_branch_set_meta(g.r, name, v, (size_t)n), ENOENT, ESTALE,
	    ENOSPC, EPERM);
	n = daxfs_branch_get_meta(g.r, name, v, sizeof(v));
	if (MAY(n, ENOENT, ENODATA))
		EXPECT(n > 0 && !memcmp(v, v + 1, (size_t)n - 1));
}

static void round_ask(struct worker *w)
{
	struct daxfs_branch_info *list, info;
	struct daxfs_region_stats stats;
	struct daxfs_region_info r;
	struct daxfs_branch *b;
	struct daxfs_statfs s;
	u32 count = 0;
	u64 bytes, inodes;
	int rc = daxfs_branch_list(g.r, &list, &count);

	atomic_fetch_add(&operations, 1);
	EXPECT(!rc && count >= 1);
	daxfs_region_info(g.r, &r);
	EXPECT(r.segments_free <= r.segments);
	daxfs_region_stats(g.r, &stats);
	EXPECT(stats.segments_free <= stats.segments);
	EXPECT(stats.log_used_bytes <= stats.log_bytes);
	if (!below(w, 4))
		set_and_check_meta(w, list[below(w, count)].name);
	rc = daxfs_branch_get(g.r, list[below(w, count)].name, &b);
	daxfs_free(list);
	if (rc)
		return;
	rc = daxfs_branch_info(b, &info);
	EXPECT(!rc || rc == -ESTALE);
	rc = daxfs_statfs(b, &s);
	EXPECT(rc ? rc == -ESTALE : s.bfree <= s.blocks);
	rc = daxfs_usage(b, &bytes, &inodes);
	EXPECT(!rc || rc == -ESTALE);
	daxfs_branch_put(b);
	if (!below(w, 8))
		EXPECT(!daxfs_region_sync(g.r));
}

/* Takes a branch until a commit ends it. */
static void round_until_commit(struct worker *w)
{
	if (!w->b && !get_own(w, "main"))
		return;
	change(w);
	look(w);
	if (daxfs_branch_status(w->b)) {
		daxfs_branch_put(w->b);
		w->b = NULL;
	} else if (!below(w, 50)) {
		end_own(w);
	}
}

static void round_commit(struct worker *w)
{
	struct daxfs_branch *main;
	int rc;

	if (!get_own(w, "main"))
		return;
	for (u32 k = 0; k < 30; k++)
		change(w);
	rc = daxfs_branch_commit(g.r, w->name, NULL);
	if (!MAY(rc, ENOENT, ENOSPC, ESTALE)) {
		end_own(w);
		return;
	}
	atomic_fetch_add(&commits, 1);
	EXPECT(daxfs_branch_status(w->b) == -ESTALE);
	daxfs_branch_put(w->b);
	EXPECT(!daxfs_branch_get(g.r, "main", &main));
	w->b = main;
	look(w);
	daxfs_branch_put(main);
	w->b = NULL;
}

/* ---- Running ------------------------------------------------------------- */

static int on_sync(void *priv, const struct daxfs_range *v, u32 count)
{
	(void)priv;
	for (u32 k = 0; k < count; k++)
		EXPECT(v[k].off + v[k].len <= REGION);
	atomic_fetch_add(&syncs, 1);
	usleep(200); /* others go on meanwhile */
	return 0;
}

static void open_region(bool durable)
{
	struct daxfs_backing bk = { .base = g.mem.base, .size = g.mem.size };

	if (durable)
		bk.sync = on_sync;
	if (daxfs_region_open(&bk, DAXFS_OPEN_VALIDATE, &g.r, &g.msg))
		fail_msg("open: %s", g.msg.text);
}

static void start(bool durable, bool image)
{
	struct shape s = { .size = REGION, .branches = 32, .base = image };

	memset(&g, 0, sizeof(g));
	mem_new(&g.mem, s.size);
	reg_format(g.mem.base, &s);
	open_region(durable);
	atomic_store(&faults, 0);
	atomic_store(&operations, 0);
	atomic_store(&commits, 0);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	while (seconds() < deadline && atomic_load(&faults) < 5)
		w->round(w);
	return NULL;
}

/* `jobs` ends with NULL. On `shared`, where that is not NULL. */
static void run(void (*const *jobs)(struct worker *), const char *shared)
{
	struct worker *ws = calloc(THREADS_MAX, sizeof(*ws));
	u32 n = 0;

	assert_non_null(ws);
	deadline = seconds() + (double)env_number("DAXFS_SECONDS", SECONDS);
	for (; jobs[n]; n++) {
		struct worker *w = &ws[n];

		assert_true(n < THREADS_MAX);
		w->round = jobs[n];
		w->number = n;
		w->rng = seed + n;
		snprintf(w->name, sizeof(w->name), "own-%u", n);
		if (shared)
			w->b = get_branch(&g, shared);
	}
	for (u32 k = 0; k < n; k++)
		assert_int_equal(pthread_create(&ws[k].thread, NULL, work,
						&ws[k]),
				 0);
	for (u32 k = 0; k < n; k++)
		assert_int_equal(pthread_join(ws[k].thread, NULL), 0);
	for (u32 k = 0; k < n; k++)
		daxfs_branch_put(ws[k].b);
	free(ws);
	print_message("# %lu operations, %u commits\n",
		      (unsigned long)atomic_load(&operations),
		      atomic_load(&commits));
	assert_int_equal(atomic_load(&faults), 0);
}

/* Ends all branches, children first. */
static void drop_all(void)
{
	struct daxfs_branch_info *list;
	u32 count;

	assert_int_equal(daxfs_branch_list(g.r, &list, &count), 0);
	while (--count)
		assert_int_equal(daxfs_branch_delete(g.r, list[count].name), 0);
	daxfs_free(list);
	assert_int_equal(daxfs_region_sync(g.r), 0);
}

/* What the threads left opens and loses nothing. */
static void stop(bool durable, bool committed, u64 free_before)
{
	daxfs_region_close(g.r);
	open_region(durable);
	drop_all();
	if (!committed)
		assert_int_equal(reg_free_segments(&g), free_before);
	reg_free(&g);
}

/* Many on one branch, with one to read only and some with their own. */
static void on_one_branch(bool durable)
{
	static void (*const jobs[])(struct worker *) = {
		round_write, round_write, round_read, round_read,
		round_read,  round_ask,   NULL
	};
	u64 before;

	start(durable, false);
	before = reg_free_segments(&g);
	assert_int_equal(daxfs_branch_create(g.r, "shared", "main", 0), 0);
	run(jobs, "shared");
	stop(durable, false, before);
}

static void test_one_branch(void **state)
{
	(void)state;
	on_one_branch(false);
	on_one_branch(true);
}

static void make_base(void)
{
	struct worker *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->b = new_branch(&g, "base", "main");
	for (u32 file = 0; file < FILES; file += 2)
		write_file(w, file, get_file(w->b, file));
	daxfs_branch_put(w->b);
	free(w);
	assert_int_equal(daxfs_branch_seal(g.r, "base"), 0);
}

static void own_branches(bool durable)
{
	static void (*const jobs[])(struct worker *) = {
		round_branch, round_branch, round_branch, round_chain,
		round_chain,  round_ask,    NULL
	};
	u64 before;

	start(durable, true);
	before = reg_free_segments(&g);
	make_base();
	run(jobs, NULL);
	stop(durable, false, before);
}

static void test_own_branches(void **state)
{
	(void)state;
	own_branches(false);
	own_branches(true);
}

static void test_commits(void **state)
{
	static void (*const jobs[])(struct worker *) = {
		round_commit,       round_commit, round_until_commit,
		round_until_commit, round_ask,    NULL
	};

	(void)state;
	start(true, true);
	run(jobs, NULL);
	assert_true(atomic_load(&commits) > 0);
	stop(true, true, 0);
}

/* One branch's log is compacted again and again while others are read. */
static void test_compaction(void **state)
{
	static void (*const jobs[])(struct worker *) = {
		round_names, round_names, round_names, round_ask, NULL
	};
	u64 before;

	(void)state;
	start(false, false);
	before = reg_free_segments(&g);
	assert_int_equal(daxfs_branch_create(g.r, "shared", "main", 0), 0);
	run(jobs, "shared");
	stop(false, false, before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_branch),
		cmocka_unit_test(test_own_branches),
		cmocka_unit_test(test_commits),
		cmocka_unit_test(test_compaction),
	};

	seed = env_number("DAXFS_SEED", (u64)time(NULL));
	print_message("# DAXFS_SEED=%llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
