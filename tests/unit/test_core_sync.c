// SPDX-License-Identifier: Apache-2.0
/*
 * Durability, on a backing that keeps what was synced apart from what was only
 * stored. A loss of power leaves of each 64-byte line that differs the one or
 * the other; DAXFS_SEED and DAXFS_RUNS replay and lengthen. tests/crash looks
 * at single stores; this looks at the rules.
 */
#include "core_util.h"

#include <pthread.h>
#include <unistd.h>

#define SIZE (8 * MB)
#define LINE 64u

static const u8 boots[2][16] = { "first boot", "second boot" };

struct disk {
	struct mem mem;              /* what the engine sees */
	u8 *synced;                  /* what is durable */
	bool fails;                  /* syncs do */
	u64 syncs, bytes;            /* counted */
	int (*hook)(struct disk *d); /* in each sync, first */
	struct daxfs_region *r;
	struct daxfs_message msg;
};

static u64 seed;
static pthread_mutex_t disk_lock = PTHREAD_MUTEX_INITIALIZER;

static int disk_sync(void *priv, const struct daxfs_range *v, u32 count)
{
	struct disk *d = priv;

	if (d->fails || (d->hook && d->hook(d)))
		return -EIO;
	pthread_mutex_lock(&disk_lock);
	d->syncs++;
	for (u32 i = 0; i < count; i++) {
		assert_true(v[i].off + v[i].len <= SIZE);
		memcpy(d->synced + v[i].off, d->mem.base + v[i].off, v[i].len);
		d->bytes += v[i].len;
	}
	pthread_mutex_unlock(&disk_lock);
	return 0;
}

/* What a hole punch removes is gone at once. */
static int disk_discard(void *priv, u64 off, u64 len)
{
	struct disk *d = priv;

	memset(d->mem.base + off, 0, len);
	memset(d->synced + off, 0, len);
	return 0;
}

static int disk_open(struct disk *d, int boot)
{
	struct daxfs_backing bk = { .base = d->mem.base,
				    .size = SIZE,
				    .priv = d,
				    .sync = disk_sync,
				    .discard = disk_discard };

	memcpy(bk.boot, boots[boot], sizeof(bk.boot));
	return daxfs_region_open(&bk, DAXFS_OPEN_VALIDATE, &d->r, &d->msg);
}

static void disk_new(struct disk *d)
{
	const struct shape s = { .size = SIZE, .branches = 64, .base = true };

	memset(d, 0, sizeof(*d));
	mem_new(&d->mem, SIZE);
	reg_format(d->mem.base, &s);
	d->synced = malloc(SIZE);
	assert_non_null(d->synced);
	memcpy(d->synced, d->mem.base, SIZE);
	assert_int_equal(disk_open(d, 0), 0);
}

/* The end of the process: its memory is forgotten, the region's is not. */
static void forget(struct disk *d)
{
	u8 *copy = malloc(SIZE), *sync = malloc(SIZE);

	assert_non_null(copy);
	assert_non_null(sync);
	memcpy(copy, d->mem.base, SIZE);
	memcpy(sync, d->synced, SIZE);
	daxfs_region_close(d->r);
	d->r = NULL;
	memcpy(d->mem.base, copy, SIZE);
	memcpy(d->synced, sync, SIZE);
	free(copy);
	free(sync);
}

/* Of what was not synced, `percent` of the lines are there. */
static void lose_power(struct disk *d, u32 percent)
{
	forget(d);
	for (u64 at = 0; at < SIZE; at += LINE)
		if (memcmp(d->mem.base + at, d->synced + at, LINE) != 0 &&
		    rnd_below(&seed, 100) >= percent)
			memcpy(d->mem.base + at, d->synced + at, LINE);
	memcpy(d->synced, d->mem.base, SIZE);
}

static void disk_free(struct disk *d)
{
	daxfs_region_close(d->r);
	mem_free(&d->mem);
	free(d->synced);
}

/* ---- What a branch shows ------------------------------------------------------- */

static u64 mix(u64 h, const void *p, size_t n)
{
	const u8 *c = p;

	while (n--)
		h = (h ^ *c++) * 0x100000001b3ull;
	return h;
}

struct listed {
	char name[64][32];
	u64 ino[64];
	u32 n;
};

static int list_one(void *ctx, const struct daxfs_dirent *d)
{
	struct listed *l = ctx;

	if (d->len >= 32 || l->n == 64)
		return 1;
	memcpy(l->name[l->n], d->name, d->len);
	l->name[l->n][d->len] = 0;
	l->ino[l->n++] = d->ino;
	return 0;
}

static u64 file_sum(struct daxfs_branch *b, const struct daxfs_attr *a)
{
	static u8 buf[256 * KB];
	ssize_t n = daxfs_read(b, a->ino, buf, sizeof(buf), 0);

	assert_true(n >= 0);
	return mix(a->size, buf, (size_t)n);
}

/* Of the root's entries, in any order; contents, sizes, modes, names. */
static u64 digest(struct daxfs_branch *b)
{
	static struct listed l;
	u64 sum = 0;

	memset(&l, 0, sizeof(l));
	assert_int_equal(daxfs_readdir(b, ROOT, 0, list_one, &l), 0);
	for (u32 i = 0; i < l.n; i++) {
		struct daxfs_attr a;
		u64 h = mix(1, l.name[i], strlen(l.name[i]));

		assert_int_equal(daxfs_getattr(b, l.ino[i], &a), 0);
		h = mix(h, &a.mode, sizeof(a.mode));
		h = mix(h, &a.nlink, sizeof(a.nlink));
		h = mix(h, &a.mtime.sec, sizeof(a.mtime.sec));
		h = mix(h, &a.mtime.nsec, sizeof(a.mtime.nsec));
		if (S_ISREG(a.mode))
			h ^= file_sum(b, &a);
		sum += h;
	}
	return sum;
}

static struct daxfs_branch *get(struct disk *d, const char *name)
{
	struct daxfs_branch *b = NULL;

	if (daxfs_branch_get(d->r, name, &b))
		return NULL;
	return b;
}

static u64 digest_of(struct disk *d, const char *name)
{
	struct daxfs_branch *b = get(d, name);
	u64 sum;

	assert_non_null(b);
	sum = digest(b);
	daxfs_branch_put(b);
	return sum;
}

/* One change that rewrites nothing in place: a file of its own each time. */
static void change(struct daxfs_branch *b)
{
	static u8 buf[40000];
	struct daxfs_new n = { .mode = S_IFREG | 0644 };
	struct daxfs_attr a, cut = { 0 };
	char name[32], other[32];
	size_t len = 1 + rnd_below(&seed, sizeof(buf) - 1);
	u64 ino;

	snprintf(name, sizeof(name), "n%u", rnd_below(&seed, 30));
	snprintf(other, sizeof(other), "n%u", rnd_below(&seed, 30));
	memset(buf, (int)rnd_below(&seed, 256), len);
	switch (rnd_below(&seed, 5)) {
	case 0:
		if (!daxfs_unlink(b, ROOT, name, strlen(name), &ino))
			assert_int_equal(daxfs_evict(b, ino), 0);
		break;
	case 1:
		(void)daxfs_rename(b, ROOT, name, strlen(name), ROOT, other,
				   strlen(other), 0, &ino);
		if (ino)
			assert_int_equal(daxfs_evict(b, ino), 0);
		break;
	case 2:
		cut.size = len / 2;
		if (!daxfs_lookup(b, ROOT, name, strlen(name), &a))
			assert_int_equal(daxfs_setattr(b, a.ino, DAXFS_SET_SIZE,
						       &cut, NULL),
					 0);
		break;
	default:
		if (!daxfs_unlink(b, ROOT, name, strlen(name), &ino))
			assert_int_equal(daxfs_evict(b, ino), 0);
		assert_int_equal(daxfs_make(b, ROOT, name, strlen(name), &n,
					    &a),
				 0);
		assert_int_equal(daxfs_write(b, a.ino, buf, len, 0, 0), len);
	}
}

static void changes(struct disk *d, const char *name, u32 n)
{
	struct daxfs_branch *b = get(d, name);

	assert_non_null(b);
	while (n--)
		change(b);
	daxfs_branch_put(b);
}

static void fsync_branch(struct disk *d, const char *name)
{
	struct daxfs_branch *b = get(d, name);

	assert_non_null(b);
	assert_int_equal(daxfs_fsync(b, ROOT), 0);
	daxfs_branch_put(b);
}

static void reopen_after_power(struct disk *d, u32 percent)
{
	int rc;

	lose_power(d, percent);
	rc = disk_open(d, 1);
	if (rc)
		fail_msg("open: %d %s (seed %llu)", rc, d->msg.text,
			 (unsigned long long)seed);
}

/* After everything has ended, everything is free. */
static void check_no_leak(struct disk *d)
{
	struct daxfs_region_info before, after;
	struct daxfs_branch_info *v;
	u32 n;

	assert_int_equal(daxfs_branch_list(d->r, &v, &n), 0);
	while (n-- > 1)
		assert_int_equal(daxfs_branch_delete(d->r, v[n].name), 0);
	daxfs_free(v);
	assert_int_equal(daxfs_region_sync(d->r), 0);
	daxfs_region_info(d->r, &before);
	/* what an open derives from the media is what there is */
	forget(d);
	assert_int_equal(disk_open(d, 1), 0);
	daxfs_region_info(d->r, &after);
	assert_int_equal(after.segments_free, before.segments_free);
}

/* ---- Rules ---------------------------------------------------------------------- */

/* A branch is as at its last fsync; what was never synced may be missing. */
static void test_fsync(void **state)
{
	u64 runs = env_number("DAXFS_RUNS", 40);

	(void)state;
	for (u64 i = 0; i < runs; i++) {
		struct disk d;
		u64 want;

		disk_new(&d);
		assert_int_equal(daxfs_branch_create(d.r, "b", "main", 0), 0);
		changes(&d, "b", 1 + rnd_below(&seed, 200));
		fsync_branch(&d, "b");
		want = digest_of(&d, "b");
		changes(&d, "b", rnd_below(&seed, 100));
		reopen_after_power(&d, (u32)(i % 5) * 25);
		assert_true(digest_of(&d, "b") == want);
		changes(&d, "b", 50);
		check_no_leak(&d);
		disk_free(&d);
	}
}

/* A child's fsync is its parents' too; siblings that nobody synced may go. */
static void test_fsync_child(void **state)
{
	(void)state;
	for (u32 i = 0; i < 20; i++) {
		struct disk d;
		u64 want;

		disk_new(&d);
		assert_int_equal(daxfs_branch_create(d.r, "p", "main", 0), 0);
		changes(&d, "p", 60);
		assert_int_equal(daxfs_branch_create(d.r, "c", "p", 0), 0);
		assert_int_equal(daxfs_branch_create(d.r, "s", "p", 0), 0);
		changes(&d, "c", 30);
		changes(&d, "s", 30);
		fsync_branch(&d, "c");
		want = digest_of(&d, "c");
		reopen_after_power(&d, i * 5);
		assert_true(digest_of(&d, "c") == want);
		check_no_leak(&d);
		disk_free(&d);
	}
}

/* A kill loses nothing: neither what was not synced nor the reverse. */
static void test_kill(void **state)
{
	(void)state;
	for (u32 i = 0; i < 20; i++) {
		struct disk d;
		u64 want;

		disk_new(&d);
		assert_int_equal(daxfs_branch_create(d.r, "b", "main", 0), 0);
		changes(&d, "b", 60);
		want = digest_of(&d, "b");
		forget(&d);
		assert_int_equal(disk_open(&d, 0), 0);
		assert_true(digest_of(&d, "b") == want);
		/* and now it is synced */
		changes(&d, "b", 20);
		reopen_after_power(&d, i * 5);
		assert_true(digest_of(&d, "b") == want);
		check_no_leak(&d);
		disk_free(&d);
	}
}

/* A seal that has returned is durable with all that it seals. */
static void test_seal(void **state)
{
	(void)state;
	for (u32 i = 0; i < 20; i++) {
		struct daxfs_branch_info info;
		struct daxfs_branch *b;
		struct disk d;
		u64 want;

		disk_new(&d);
		assert_int_equal(daxfs_branch_create(d.r, "b", "main", 0), 0);
		changes(&d, "b", 60);
		assert_int_equal(daxfs_branch_seal(d.r, "b"), 0);
		want = digest_of(&d, "b");
		reopen_after_power(&d, i * 5);
		assert_true(digest_of(&d, "b") == want);
		b = get(&d, "b");
		assert_int_equal(daxfs_branch_info(b, &info), 0);
		assert_int_equal(info.state, DAXFS_BRANCH_SEALED);
		daxfs_branch_put(b);
		check_no_leak(&d);
		disk_free(&d);
	}
}

/* So is a commit; and of what came before it nothing is left. */
static void test_commit(void **state)
{
	(void)state;
	for (u32 i = 0; i < 20; i++) {
		struct disk d;
		u64 want;

		disk_new(&d);
		for (int k = 0; k < 3; k++) {
			assert_int_equal(daxfs_branch_create(d.r, "p", "main",
							     0),
					 0);
			changes(&d, "p", 60);
			assert_int_equal(daxfs_branch_create(d.r, "c", "p", 0),
					 0);
			assert_int_equal(daxfs_branch_create(d.r, "s", "main",
							     0),
					 0);
			changes(&d, "c", 60);
			changes(&d, "s", 10);
			assert_int_equal(daxfs_branch_commit(d.r, "c", &d.msg),
					 0);
		}
		want = digest_of(&d, "main");
		assert_int_equal(daxfs_branch_create(d.r, "n", "main", 0), 0);
		changes(&d, "n", 40);
		reopen_after_power(&d, i * 5);
		assert_true(digest_of(&d, "main") == want);
		assert_null(get(&d, "s"));
		check_no_leak(&d);
		disk_free(&d);
	}
}

/* A full region finds what was freed; nothing waits for a sync for ever. */
static void test_full(void **state)
{
	struct daxfs_new n = { .mode = S_IFREG | 0644 };
	struct daxfs_branch *b;
	struct daxfs_attr a, zero = { 0 };
	static u8 buf[MB];
	struct disk d;

	(void)state;
	disk_new(&d);
	assert_int_equal(daxfs_branch_create(d.r, "b", "main", 0), 0);
	b = get(&d, "b");
	assert_int_equal(daxfs_make(b, ROOT, "f", 1, &n, &a), 0);
	for (int i = 0; i < 100; i++) {
		for (u64 off = 0; off < 4 * MB; off += MB)
			assert_int_equal(daxfs_write(b, a.ino, buf, MB, off, 0),
					 MB);
		assert_int_equal(daxfs_setattr(b, a.ino, DAXFS_SET_SIZE, &zero,
					       NULL),
				 0);
	}
	daxfs_branch_put(b);
	for (int i = 0; i < 20; i++) {
		char name[8];

		snprintf(name, sizeof(name), "b%d", i);
		assert_int_equal(daxfs_branch_create(d.r, name, "main", 0), 0);
		b = get(&d, name);
		assert_int_equal(daxfs_make(b, ROOT, "f", 1, &n, &a), 0);
		for (u64 off = 0; off < 3 * MB; off += MB)
			assert_int_equal(daxfs_write(b, a.ino, buf, MB, off, 0),
					 MB);
		daxfs_branch_put(b);
		assert_int_equal(daxfs_branch_delete(d.r, name), 0);
	}
	check_no_leak(&d);
	disk_free(&d);
}

/* When the medium fails the caller hears of it, and nothing is lost of it. */
static void test_sync_fails(void **state)
{
	struct daxfs_branch *b;
	struct disk d;
	u64 want;

	(void)state;
	disk_new(&d);
	assert_int_equal(daxfs_branch_create(d.r, "b", "main", 0), 0);
	changes(&d, "b", 50);
	d.fails = true;
	b = get(&d, "b");
	assert_int_equal(daxfs_fsync(b, ROOT), -EIO);
	assert_int_equal(daxfs_region_sync(d.r), -EIO);
	assert_int_equal(daxfs_branch_seal(d.r, "b"), -EIO);
	assert_int_equal(daxfs_branch_commit(d.r, "b", &d.msg), -EIO);
	assert_int_equal(daxfs_branch_status(b), 0);
	daxfs_branch_put(b);
	changes(&d, "b", 10);
	want = digest_of(&d, "b");
	d.fails = false;
	assert_int_equal(daxfs_region_sync(d.r), 0);
	reopen_after_power(&d, 0);
	assert_true(digest_of(&d, "b") == want);
	check_no_leak(&d);
	disk_free(&d);
}

/* A sync writes what changed, and an idle region nothing. */
static void test_sync_cost(void **state)
{
	struct disk d;
	u64 syncs;

	(void)state;
	disk_new(&d);
	assert_int_equal(daxfs_branch_create(d.r, "b", "main", 0), 0);
	changes(&d, "b", 100);
	assert_int_equal(daxfs_region_sync(d.r), 0);
	syncs = d.syncs;
	assert_int_equal(daxfs_region_sync(d.r), 0);
	fsync_branch(&d, "b");
	assert_int_equal(d.syncs, syncs);
	changes(&d, "b", 20);
	d.bytes = 0;
	fsync_branch(&d, "b");
	assert_in_range(d.syncs - syncs, 1, 2);
	assert_in_range(d.bytes, 1, MB);
	disk_free(&d);
}

/* ---- Several threads ------------------------------------------------------------ */

/* Who runs, and how many syncs it has begun. */
static __thread char role;
static __thread u32 nth;

static struct {
	struct disk d;
	pthread_t thread[3];
	struct daxfs_branch *b, *x;
	int rc[3];
	int step; /* atomic */
} race;

static void step_to(int step)
{
	__atomic_store_n(&race.step, step, __ATOMIC_RELEASE);
}

/* Or until it is clear that it does not come. */
static bool wait_step(int step, double most)
{
	double end = seconds() + most;

	while (__atomic_load_n(&race.step, __ATOMIC_ACQUIRE) < step &&
	       seconds() < end)
		usleep(100);
	return __atomic_load_n(&race.step, __ATOMIC_ACQUIRE) >= step;
}

static void wait_stale(struct daxfs_branch *b)
{
	double end = seconds() + 5;

	while (!daxfs_branch_status(b) && seconds() < end)
		usleep(100);
}

static void *child_sync_main(void *arg)
{
	(void)arg;
	race.rc[1] = daxfs_fsync(race.x, ROOT);
	step_to(2);
	return NULL;
}

/* In the parent's sync: the child's must wait for it. */
static int child_sync_hook(struct disk *d)
{
	(void)d;
	if (role != 'p' || nth++)
		return 0;
	pthread_create(&race.thread[1], NULL, child_sync_main, NULL);
	assert_false(wait_step(2, 0.2));
	return 0;
}

static void test_child_waits(void **state)
{
	struct disk *d = &race.d;

	(void)state;
	memset(&race, 0, sizeof(race));
	disk_new(d);
	assert_int_equal(daxfs_branch_create(d->r, "p", "main", 0), 0);
	changes(d, "p", 30);
	assert_int_equal(daxfs_branch_create(d->r, "x", "p", 0), 0);
	changes(d, "x", 30);
	race.b = get(d, "p");
	race.x = get(d, "x");
	d->hook = child_sync_hook;
	role = 'p';
	nth = 0;
	assert_int_equal(daxfs_fsync(race.b, ROOT), 0);
	role = 0;
	pthread_join(race.thread[1], NULL);
	assert_int_equal(race.rc[1], 0);
	daxfs_branch_put(race.b);
	daxfs_branch_put(race.x);
	d->hook = NULL;
	disk_free(d);
}

/*
 * A commit that finds the branch in the middle of an fsync: c commits b, f syncs
 * b, and t holds the branch table until f is in the middle.
 */
static void *commit_main(void *arg)
{
	(void)arg;
	role = 'c';
	race.rc[0] = daxfs_branch_commit(race.d.r, "b", &race.d.msg);
	return NULL;
}

static void *fsync_main(void *arg)
{
	(void)arg;
	role = 'f';
	race.rc[1] = daxfs_fsync(race.b, ROOT);
	return NULL;
}

static void *table_main(void *arg)
{
	(void)arg;
	role = 't';
	race.rc[2] = daxfs_branch_seal(race.d.r, "x");
	return NULL;
}

static bool commit_fails;

static int commit_hook(struct disk *d)
{
	(void)d;
	nth++;
	if (role == 'c' && nth == 2) {
		for (int i = 0; i < 10; i++)
			change(race.b);
		pthread_create(&race.thread[1], NULL, fsync_main, NULL);
		pthread_create(&race.thread[2], NULL, table_main, NULL);
		wait_step(1, 5);
	} else if (role == 'c' && nth > 2 && commit_fails) {
		return -EIO;
	} else if (role == 't' && nth == 2) {
		for (int i = 0; i < 10; i++)
			change(race.x);
	} else if (role == 't' && nth == 3) {
		step_to(1);
		wait_step(2, 5);
		return -EIO;
	} else if (role == 'f' && nth == 1) {
		step_to(2);
		wait_stale(race.b);
	}
	return 0;
}

static void commit_in_fsync(bool fails)
{
	struct disk *d = &race.d;
	u64 want;

	memset(&race, 0, sizeof(race));
	commit_fails = fails;
	disk_new(d);
	assert_int_equal(daxfs_branch_create(d->r, "b", "main", 0), 0);
	assert_int_equal(daxfs_branch_create(d->r, "x", "main", 0), 0);
	changes(d, "b", 30);
	changes(d, "x", 30);
	race.b = get(d, "b");
	race.x = get(d, "x");
	d->hook = commit_hook;
	pthread_create(&race.thread[0], NULL, commit_main, NULL);
	for (int i = 0; i < 3; i++) {
		wait_step(1, 5);
		pthread_join(race.thread[i], NULL);
	}
	d->hook = NULL;
	assert_int_equal(race.rc[0], fails ? -EIO : 0);
	assert_int_equal(race.rc[2], -EIO);
	if (fails)
		assert_int_equal(daxfs_fsync(race.b, ROOT), 0);
	want = digest_of(d, fails ? "b" : "main");
	daxfs_branch_put(race.b);
	daxfs_branch_put(race.x);
	reopen_after_power(d, 0);
	assert_true(digest_of(d, fails ? "b" : "main") == want);
	check_no_leak(d);
	disk_free(d);
}

static void test_commit_in_fsync(void **state)
{
	(void)state;
	commit_in_fsync(false);
	commit_in_fsync(true);
}

/* ---- What the superblock says is not needed ------------------------------------- */

/* An order below log_start would make the next log one that compaction left. */
static void test_orders(void **state)
{
	struct daxfs_branch_entry *e;
	struct disk d;
	u64 want;

	(void)state;
	disk_new(&d);
	assert_int_equal(daxfs_branch_create(d.r, "b", "main", 0), 0);
	assert_int_equal(daxfs_region_sync(d.r), 0);
	/* a log that compaction has emptied, its number not in the superblock */
	e = (struct daxfs_branch_entry *)(d.mem.base + 0x1000);
	while (strcmp(e->name, "b") != 0)
		e++;
	e->log_start = htole64(1000);
	memcpy(d.synced, d.mem.base, SIZE);
	reopen_after_power(&d, 0);
	changes(&d, "b", 20);
	fsync_branch(&d, "b");
	want = digest_of(&d, "b");
	reopen_after_power(&d, 0);
	assert_true(digest_of(&d, "b") == want);
	disk_free(&d);
}

/* A region that gets its segments while open is in use from then on. */
static void test_upgrade(void **state)
{
	struct daxfs_super *sb;
	struct disk d;
	u64 want;

	(void)state;
	for (u32 i = 0; i < 10; i++) {
		disk_new(&d);
		daxfs_region_close(d.r);
		sb = (struct daxfs_super *)d.mem.base;
		sb->feature_incompat = 0;
		sb->super_crc = 0;
		sb->active_branches = 0;
		memset(d.mem.base + 0x1000, 0, 64 * 128);
		memcpy(d.synced, d.mem.base, SIZE);
		assert_int_equal(disk_open(&d, 0), 0);
		assert_int_equal(daxfs_branch_create(d.r, "b", "main", 0), 0);
		changes(&d, "b", 20);
		fsync_branch(&d, "b");
		want = digest_of(&d, "b");
		changes(&d, "b", 60);
		reopen_after_power(&d, i * 10);
		assert_true(digest_of(&d, "b") == want);
		disk_free(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fsync),
		cmocka_unit_test(test_fsync_child),
		cmocka_unit_test(test_kill),
		cmocka_unit_test(test_seal),
		cmocka_unit_test(test_commit),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_sync_fails),
		cmocka_unit_test(test_sync_cost),
		cmocka_unit_test(test_child_waits),
		cmocka_unit_test(test_commit_in_fsync),
		cmocka_unit_test(test_orders),
		cmocka_unit_test(test_upgrade),
	};

	seed = env_number("DAXFS_SEED", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
