// SPDX-License-Identifier: Apache-2.0
/*
 * Two instances on one region, in one process: each has its own memory, and
 * all that they share is the region's. `alive` stands for what an operating
 * system knows of processes.
 */
#include "core_util.h"

#include <pthread.h>
#include <unistd.h>

#define SIZE (16 * MB)

struct side {
	struct daxfs_region *r;
	struct daxfs_message msg;
	pthread_t thread;
	int stop; /* atomic */
	bool polls;
	int slot;
};

static struct mem mem;
static bool alive[64];
static bool blind; /* nobody can tell who is alive but by his deadline */
static struct side a, b;

static int hold(void *priv, u32 slot)
{
	struct side *s = priv;

	if (__atomic_exchange_n(&alive[slot], true, __ATOMIC_ACQ_REL))
		return -EAGAIN;
	s->slot = (int)slot;
	return 0;
}

static bool held(void *priv, u32 slot)
{
	(void)priv;
	return __atomic_load_n(&alive[slot], __ATOMIC_ACQUIRE);
}

static void *poll_main(void *arg)
{
	struct side *s = arg;

	while (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE)) {
		assert_int_equal(daxfs_region_poll(s->r), 0);
		usleep(200);
	}
	return NULL;
}

static void poll_start(struct side *s)
{
	s->stop = 0;
	s->polls = true;
	assert_int_equal(pthread_create(&s->thread, NULL, poll_main, s), 0);
}

static void poll_stop(struct side *s)
{
	if (!s->polls)
		return;
	__atomic_store_n(&s->stop, 1, __ATOMIC_RELEASE);
	pthread_join(s->thread, NULL);
	s->polls = false;
}

static int side_open(struct side *s)
{
	struct daxfs_backing bk = { .base = mem.base,
				    .size = mem.size,
				    .priv = s,
				    .hold = blind ? NULL : hold,
				    .held = blind ? NULL : held };
	int rc = daxfs_region_open(&bk, DAXFS_OPEN_SHARED, &s->r, &s->msg);

	if (!rc)
		poll_start(s);
	return rc;
}

static void side_close(struct side *s)
{
	poll_stop(s);
	daxfs_region_close(s->r);
	s->r = NULL;
	__atomic_store_n(&alive[s->slot], false, __ATOMIC_RELEASE);
}

/*
 * The process is killed: nothing of it runs any more, nothing is put back. Its
 * memory is lost, which here means leaked until the test's end.
 */
static struct daxfs_region *corpses[8];
static u32 corpse_count;

static void side_kill(struct side *s)
{
	poll_stop(s);
	corpses[corpse_count++] = s->r;
	s->r = NULL;
	__atomic_store_n(&alive[s->slot], false, __ATOMIC_RELEASE);
}

static int setup(void **state)
{
	const struct shape shape = { .size = SIZE,
				     .branches = 64,
				     .base = true };

	(void)state;
	mem_new(&mem, SIZE);
	reg_format(mem.base, &shape);
	memset(alive, 0, sizeof(alive));
	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	assert_int_equal(side_open(&a), 0);
	assert_int_equal(side_open(&b), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (a.r)
		side_close(&a);
	if (b.r)
		side_close(&b);
	/* after the region was last used: closing would store into it */
	while (corpse_count)
		daxfs_region_close(corpses[--corpse_count]);
	mem_free(&mem);
	return 0;
}

static struct daxfs_branch *use(struct side *s, const char *name)
{
	struct daxfs_branch *br = NULL;
	int rc = daxfs_branch_get(s->r, name, &br);

	if (rc)
		fail_msg("get %s: %d", name, rc);
	return br;
}

static void put_file(struct daxfs_branch *br, const char *name, u8 fill,
		     size_t len)
{
	struct daxfs_new n = { .mode = S_IFREG | 0644 };
	static u8 buf[MB];
	struct daxfs_attr at;
	int rc;

	memset(buf, fill, len);
	rc = daxfs_make(br, ROOT, name, strlen(name), &n, &at);
	if (rc == -EEXIST)
		rc = daxfs_lookup(br, ROOT, name, strlen(name), &at);
	assert_int_equal(rc, 0);
	assert_int_equal(daxfs_write(br, at.ino, buf, len, 0, 0), len);
}

static bool has_file(struct daxfs_branch *br, const char *name, u8 fill,
		     size_t len)
{
	static u8 buf[MB];
	struct daxfs_attr at;

	if (daxfs_lookup(br, ROOT, name, strlen(name), &at) || at.size != len)
		return false;
	assert_int_equal(daxfs_read(br, at.ino, buf, len, 0), len);
	return buf[0] == fill && !memcmp(buf, buf + 1, len - 1);
}

static bool listed(struct side *s, const char *name)
{
	struct daxfs_branch_info *v;
	bool found = false;
	u32 n;

	assert_int_equal(daxfs_branch_list(s->r, &v, &n), 0);
	while (n--)
		found |= !strcmp(v[n].name, name);
	daxfs_free(v);
	return found;
}

/* What one has made the other can use, one after the other. */
static void test_take_turns(void **state)
{
	struct daxfs_branch *x, *y;

	(void)state;
	assert_int_equal(daxfs_branch_create(a.r, "t", "main", 0), 0);
	assert_true(listed(&b, "t"));
	assert_int_equal(daxfs_branch_create(b.r, "t", "main", 0), -EEXIST);
	x = use(&a, "t");
	put_file(x, "f", 1, 50000);
	assert_int_equal(daxfs_branch_get(b.r, "t", &y), -EBUSY);
	assert_int_equal(daxfs_branch_seal(b.r, "t"), -EBUSY);
	assert_int_equal(daxfs_branch_delete(b.r, "t"), -EBUSY);
	assert_int_equal(daxfs_branch_abort(b.r, "t"), -EBUSY);
	assert_int_equal(daxfs_branch_commit(b.r, "t", &b.msg), -EBUSY);
	assert_int_equal(daxfs_branch_create(b.r, "u", "t", 0), -EBUSY);
	daxfs_branch_put(x);
	y = use(&b, "t");
	assert_true(has_file(y, "f", 1, 50000));
	put_file(y, "f", 2, 60000);
	put_file(y, "g", 3, 10);
	assert_int_equal(daxfs_branch_get(a.r, "t", &x), -EBUSY);
	daxfs_branch_put(y);
	x = use(&a, "t");
	assert_true(has_file(x, "f", 2, 60000));
	assert_true(has_file(x, "g", 3, 10));
	daxfs_branch_put(x);
	assert_int_equal(daxfs_branch_delete(b.r, "t"), 0);
	assert_false(listed(&a, "t"));
	assert_int_equal(daxfs_branch_get(a.r, "t", &x), -ENOENT);
}

/* A frozen or sealed parent is everybody's; a child is its user's. */
static void test_children(void **state)
{
	struct daxfs_branch *p, *x, *y;

	(void)state;
	assert_int_equal(daxfs_branch_create(a.r, "p", "main", 0), 0);
	p = use(&a, "p");
	put_file(p, "f", 1, 5000);
	assert_int_equal(daxfs_branch_create(a.r, "x", "p", 0), 0);
	assert_int_equal(daxfs_branch_create(b.r, "y", "p", 0), 0);
	x = use(&a, "x");
	y = use(&b, "y");
	put_file(x, "g", 2, 5000);
	put_file(y, "g", 3, 5000);
	assert_true(has_file(y, "f", 1, 5000));
	assert_true(has_file(x, "g", 2, 5000));
	daxfs_branch_put(x);
	assert_int_equal(daxfs_branch_delete(a.r, "x"), 0);
	/* b's child is left: the parent stays frozen for a */
	assert_int_equal(daxfs_unlink(p, ROOT, "f", 1, NULL), -EROFS);
	daxfs_branch_put(y);
	assert_int_equal(daxfs_branch_delete(b.r, "y"), 0);
	assert_int_equal(daxfs_branch_delete(b.r, "p"), -EBUSY);
	assert_true(listed(&a, "p"));
	put_file(p, "f", 4, 6000);
	daxfs_branch_put(p);
	assert_int_equal(daxfs_branch_seal(b.r, "p"), 0);
	x = use(&a, "p");
	y = use(&b, "p");
	assert_true(has_file(x, "f", 4, 6000));
	assert_true(has_file(y, "f", 4, 6000));
	daxfs_branch_put(x);
	daxfs_branch_put(y);
}

static void check_meta(struct side *s, const char *name, const char *want)
{
	char got[64];
	ssize_t n = daxfs_branch_get_meta(s->r, name, got, sizeof(got));

	assert_int_equal(n, strlen(want));
	assert_memory_equal(got, want, strlen(want));
}

/* Metadata is read by all, and set by who may change the branch. */
static void test_meta(void **state)
{
	struct daxfs_branch *x;

	(void)state;
	assert_int_equal(daxfs_branch_create_meta(a.r, "t", "main", 0, "one",
						  3),
			 0);
	check_meta(&b, "t", "one");
	assert_int_equal(daxfs_branch_set_meta(b.r, "t", "two", 3), 0);
	check_meta(&a, "t", "two");
	x = use(&a, "t");
	assert_int_equal(daxfs_branch_set_meta(b.r, "t", "no", 2), -EBUSY);
	put_file(x, "f", 1, 50000);
	assert_int_equal(daxfs_branch_set_meta(a.r, "t", "three", 5), 0);
	check_meta(&b, "t", "three");
	daxfs_branch_put(x);
	x = use(&b, "t");
	assert_true(has_file(x, "f", 1, 50000));
	assert_int_equal(daxfs_branch_set_meta(b.r, "t", "four", 4), 0);
	put_file(x, "g", 2, 70000);
	daxfs_branch_put(x);
	assert_int_equal(daxfs_branch_create(b.r, "c", "t", 0), 0);
	assert_int_equal(daxfs_branch_set_meta(a.r, "t", "no", 2), -EOPNOTSUPP);
	assert_int_equal(daxfs_branch_delete(a.r, "c"), 0);
	assert_int_equal(daxfs_branch_seal_meta(a.r, "t", "five", 4), 0);
	check_meta(&b, "t", "five");
	assert_int_equal(daxfs_branch_set_meta(a.r, "t", "no", 2), -EOPNOTSUPP);
	x = use(&b, "t");
	assert_true(has_file(x, "f", 1, 50000));
	assert_true(has_file(x, "g", 2, 70000));
	daxfs_branch_put(x);
	/* who made it dies before anybody has used it */
	assert_int_equal(daxfs_branch_create_meta(a.r, "u", "main", 0, "six",
						  3),
			 0);
	side_kill(&a);
	check_meta(&b, "u", "six");
	x = use(&b, "u");
	put_file(x, "f", 3, 90000);
	daxfs_branch_put(x);
	check_meta(&b, "u", "six");
	assert_int_equal(daxfs_branch_delete(b.r, "u"), 0);
}

static u32 ends;

static void count_end(void *arg, struct daxfs_branch *br)
{
	(void)arg;
	(void)br;
	__atomic_fetch_add(&ends, 1, __ATOMIC_RELAXED);
}

/* The front hears of it from the thread that polls. */
static void wait_ends(u32 want)
{
	double end = seconds() + 10;

	while (__atomic_load_n(&ends, __ATOMIC_RELAXED) != want &&
	       seconds() < end)
		usleep(1000);
	assert_int_equal(ends, want);
}

/* A commit ends the branches of others, and their main is the new one. */
static void test_commit(void **state)
{
	struct daxfs_branch *x, *y, *m;
	struct daxfs_attr at;

	(void)state;
	ends = 0;
	daxfs_region_on_end(b.r, count_end, NULL);
	m = use(&b, "main");
	for (u32 i = 1; i <= 3; i++) {
		assert_int_equal(daxfs_branch_create(a.r, "x", "main", 0), 0);
		assert_int_equal(daxfs_branch_create(b.r, "y", "main", 0), 0);
		x = use(&a, "x");
		y = use(&b, "y");
		put_file(x, "f", (u8)i, 50000);
		put_file(y, "f", 99, 70000);
		assert_int_equal(daxfs_branch_commit(a.r, "x", &a.msg), 0);
		assert_int_equal(daxfs_getattr(x, ROOT, &at), -ESTALE);
		/* at once, not when b next looks at the table */
		assert_int_equal(daxfs_getattr(y, ROOT, &at), -ESTALE);
		assert_true(has_file(m, "f", (u8)i, 50000));
		daxfs_branch_put(x);
		daxfs_branch_put(y);
		assert_false(listed(&b, "y"));
		wait_ends(2 * i);
	}
	daxfs_branch_put(m);
}

struct reader {
	struct daxfs_branch *br;
	u64 ino;
	int stop; /* atomic */
	u32 reads, bad, ended;
};

/* Reads one file, which is all ones, until the branch has ended. */
static void *read_main(void *arg)
{
	struct reader *rd = arg;
	u8 buf[50000];

	while (!__atomic_load_n(&rd->stop, __ATOMIC_ACQUIRE)) {
		ssize_t n = daxfs_read(rd->br, rd->ino, buf, sizeof(buf), 0);

		if (n == -ESTALE) {
			rd->ended++;
			return NULL;
		}
		rd->bad += n != sizeof(buf) || buf[0] != 1 ||
			   memcmp(buf, buf + 1, sizeof(buf) - 1) != 0;
		rd->reads++;
	}
	return NULL;
}

/* One instance reads a sealed branch while the other deletes it. */
static void test_delete_sealed(void **state)
{
	struct reader rd = { 0 };
	struct daxfs_attr at;
	struct daxfs_branch *x;
	pthread_t t;

	(void)state;
	for (int i = 0; i < 20; i++) {
		assert_int_equal(daxfs_branch_create(a.r, "s", "main", 0), 0);
		x = use(&a, "s");
		put_file(x, "f", 1, 50000);
		daxfs_branch_put(x);
		assert_int_equal(daxfs_branch_seal(a.r, "s"), 0);
		rd.br = use(&b, "s");
		assert_int_equal(daxfs_lookup(rd.br, ROOT, "f", 1, &at), 0);
		rd.ino = at.ino;
		assert_int_equal(pthread_create(&t, NULL, read_main, &rd), 0);
		usleep(2000);
		assert_int_equal(daxfs_branch_delete(a.r, "s"), 0);
		/* its space is somebody else's at once */
		assert_int_equal(daxfs_branch_create(a.r, "n", "main", 0), 0);
		x = use(&a, "n");
		put_file(x, "f", 2, 900000);
		daxfs_branch_put(x);
		assert_int_equal(daxfs_branch_delete(a.r, "n"), 0);
		pthread_join(t, NULL);
		daxfs_branch_put(rd.br);
	}
	assert_true(rd.reads > 0);
	assert_int_equal(rd.bad, 0);
	assert_int_equal(rd.ended, 20);
}

/* Somebody takes the table's lease, asks all to stand still, and dies. */
static void die_in_commit(u64 id)
{
	struct daxfs_coord *c = (void *)(mem.base + DAXFS_COORD_OFFSET);
	const u32 slot = 9, who = 999;
	u64 old;

	__atomic_store_n(&c->instances[slot].id, who, __ATOMIC_RELEASE);
	__atomic_store_n(&alive[slot], true, __ATOMIC_RELEASE);
	do
		old = __atomic_load_n(&c->lease, __ATOMIC_ACQUIRE);
	while (DAXFS_LEASE_HOLDER(old) ||
	       !__atomic_compare_exchange_n(&c->lease, &old,
					    DAXFS_LEASE(who, old), false,
					    __ATOMIC_ACQ_REL,
					    __ATOMIC_ACQUIRE));
	__atomic_fetch_add(&c->generation, 1, __ATOMIC_ACQ_REL);
	__atomic_store_n(&c->intent, id, __ATOMIC_RELEASE);
	usleep(20000);
	__atomic_store_n(&alive[slot], false, __ATOMIC_RELEASE);
	usleep(20000);
}

/* A commit that comes to nothing ends nothing, not even for a moment. */
static void test_commit_fails(void **state)
{
	struct reader rd = { 0 };
	struct daxfs_branch *x, *y;
	struct daxfs_attr at;
	pthread_t t;

	(void)state;
	assert_int_equal(daxfs_branch_create(a.r, "x", "main", 0), 0);
	assert_int_equal(daxfs_branch_create(b.r, "y", "main", 0), 0);
	y = use(&b, "y");
	put_file(y, "f", 1, 50000);
	assert_int_equal(daxfs_lookup(y, ROOT, "f", 1, &at), 0);
	rd.br = y;
	rd.ino = at.ino;
	assert_int_equal(pthread_create(&t, NULL, read_main, &rd), 0);
	for (int i = 0; i < 5; i++)
		die_in_commit(77);
	__atomic_store_n(&rd.stop, 1, __ATOMIC_RELEASE);
	pthread_join(t, NULL);
	assert_true(rd.reads > 0);
	assert_int_equal(rd.bad + rd.ended, 0);
	assert_int_equal(daxfs_branch_status(y), 0);
	daxfs_branch_put(y);
	x = use(&a, "x");
	daxfs_branch_put(x);
}

/* Who has died holds nothing up, and what he did up to then is there. */
static void test_death(void **state)
{
	struct daxfs_region_info before, after;
	struct daxfs_region_stats stats;
	struct daxfs_branch *x, *y;

	(void)state;
	daxfs_region_info(b.r, &before);
	assert_int_equal(daxfs_branch_create(a.r, "x", "main", 0), 0);
	x = use(&a, "x");
	put_file(x, "f", 7, 300000);
	daxfs_region_stats(b.r, &stats);
	assert_int_equal(stats.leases_broken, 0);
	side_kill(&a);
	y = use(&b, "x");
	daxfs_region_stats(b.r, &stats);
	assert_int_equal(stats.leases_broken, 1);
	assert_true(has_file(y, "f", 7, 300000));
	put_file(y, "g", 8, 1000);
	assert_int_equal(daxfs_branch_create(b.r, "y", "main", 0), 0);
	daxfs_branch_put(y);
	/* and another comes in its place */
	assert_int_equal(side_open(&a), 0);
	x = use(&a, "x");
	assert_true(has_file(x, "g", 8, 1000));
	daxfs_branch_put(x);
	assert_int_equal(daxfs_branch_delete(a.r, "x"), 0);
	assert_int_equal(daxfs_branch_delete(b.r, "y"), 0);
	side_close(&a);
	side_close(&b);
	assert_int_equal(side_open(&b), 0);
	daxfs_region_info(b.r, &after);
	assert_int_equal(after.segments_free, before.segments_free);
}

/* Between kernels only the deadline tells. */
static void test_deadline(void **state)
{
	struct daxfs_branch *x, *y;
	double start;
	int rc;

	(void)state;
	side_close(&a);
	side_close(&b);
	blind = true;
	assert_int_equal(side_open(&a), 0);
	assert_int_equal(side_open(&b), 0);
	assert_int_equal(daxfs_branch_create(a.r, "x", "main", 0), 0);
	x = use(&a, "x");
	put_file(x, "f", 7, 1000);
	assert_int_equal(daxfs_branch_get(b.r, "x", &y), -EBUSY);
	side_kill(&a);
	start = seconds();
	do
		rc = daxfs_branch_get(b.r, "x", &y);
	while (rc == -EBUSY && seconds() < start + 20);
	assert_int_equal(rc, 0);
	assert_true(has_file(y, "f", 7, 1000));
	daxfs_branch_put(y);
	/* nor does one who dies with the table's lease hold up the next */
	side_kill(&b);
	assert_int_equal(side_open(&a), 0);
	x = use(&a, "x");
	assert_true(has_file(x, "f", 7, 1000));
	daxfs_branch_put(x);
	blind = false;
}

/* The region as a whole after all have gone: one alone opens it. */
static void test_alone_again(void **state)
{
	struct reg g = { .mem = mem };
	struct daxfs_branch *x;

	(void)state;
	assert_int_equal(daxfs_branch_create(a.r, "x", "main", 0), 0);
	x = use(&a, "x");
	put_file(x, "f", 7, 300000);
	side_kill(&a);
	side_close(&b);
	if (reg_open(&g, DAXFS_OPEN_VALIDATE))
		fail_msg("%s", g.msg.text);
	assert_int_equal(daxfs_branch_get(g.r, "x", &x), 0);
	assert_true(has_file(x, "f", 7, 300000));
	daxfs_branch_put(x);
	daxfs_region_close(g.r);
	assert_int_equal(side_open(&a), 0);
}

/* Both take segments until there are none: nobody gets another's. */
static void *fill(void *arg)
{
	struct side *s = arg;
	const char *name = s == &a ? "x" : "y";
	struct daxfs_new n = { .mode = S_IFREG | 0644 };
	struct daxfs_branch *br = use(s, name);
	struct daxfs_attr at;
	static __thread u8 buf[4096];
	u64 off = 0;

	memset(buf, s == &a ? 1 : 2, sizeof(buf));
	assert_int_equal(daxfs_make(br, ROOT, "f", 1, &n, &at), 0);
	while (daxfs_write(br, at.ino, buf, sizeof(buf), off, 0) == sizeof(buf))
		off += sizeof(buf);
	for (u64 i = 0; i < off; i += sizeof(buf)) {
		u8 back[4096];

		assert_int_equal(daxfs_read(br, at.ino, back, sizeof(back), i),
				 sizeof(back));
		assert_memory_equal(back, buf, sizeof(buf));
	}
	daxfs_branch_put(br);
	return NULL;
}

static void test_segments(void **state)
{
	struct daxfs_region_info before, after;
	pthread_t t;

	(void)state;
	daxfs_region_info(b.r, &before);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(daxfs_branch_create(a.r, "x", "main", 0), 0);
		assert_int_equal(daxfs_branch_create(a.r, "y", "main", 0), 0);
		assert_int_equal(pthread_create(&t, NULL, fill, &a), 0);
		fill(&b);
		pthread_join(t, NULL);
		/* each deletes what the other wrote */
		assert_int_equal(daxfs_branch_delete(a.r, "y"), 0);
		assert_int_equal(daxfs_branch_delete(b.r, "x"), 0);
	}
	side_close(&a);
	side_close(&b);
	assert_int_equal(side_open(&b), 0);
	daxfs_region_info(b.r, &after);
	assert_int_equal(after.segments_free, before.segments_free);
}

static struct daxfs_coord *coord_of(void)
{
	return (struct daxfs_coord *)(mem.base + DAXFS_COORD_OFFSET);
}

static struct daxfs_super *super_of(void)
{
	return (struct daxfs_super *)mem.base;
}

static u64 id_of(struct side *s, const char *name)
{
	struct daxfs_branch_info info;
	struct daxfs_branch *br = use(s, name);

	assert_int_equal(daxfs_branch_info(br, &info), 0);
	daxfs_branch_put(br);
	return info.id;
}

/*
 * a dies in the middle of a commit, and who comes next is somebody who has only
 * just come, or b: either ends it.
 */
static void dies_in_commit(bool joins)
{
	struct daxfs_coord *c = coord_of();
	struct daxfs_branch *x, *m;
	struct side *s = &b;
	u64 id, who;

	assert_int_equal(daxfs_branch_create(a.r, "x", "main", 0), 0);
	assert_int_equal(daxfs_branch_create(b.r, "y", "main", 0), 0);
	x = use(&a, "x");
	put_file(x, "f", 7, 50000);
	id = id_of(&a, "x");
	poll_stop(&b);
	poll_stop(&a);
	who = le64toh(c->instances[a.slot].id);
	c->lease = htole64(DAXFS_LEASE(who, 77));
	c->intent = htole64(id);
	c->generation = htole64(le64toh(c->generation) + 1);
	super_of()->commit_sequence =
		htole64(le64toh(super_of()->commit_sequence) + 1);
	super_of()->commit_branch = htole64(id);
	side_kill(&a);
	if (joins) {
		if (side_open(&a))
			fail_msg("join: %s", a.msg.text);
		s = &a;
	}
	m = use(s, "main");
	assert_true(has_file(m, "f", 7, 50000));
	daxfs_branch_put(m);
	assert_false(listed(s, "x"));
	assert_false(listed(s, "y"));
	assert_true(super_of()->commit_branch == 0);
	poll_start(&b);
	m = use(&b, "main");
	assert_true(has_file(m, "f", 7, 50000));
	daxfs_branch_put(m);
}

static void test_dies_in_commit(void **state)
{
	(void)state;
	dies_in_commit(true);
}

static void test_dies_in_commit_of_two(void **state)
{
	(void)state;
	dies_in_commit(false);
}

/* The counters on media are behind, as after a loss of power. */
static void test_counters(void **state)
{
	struct daxfs_branch *x;
	char name[16];

	(void)state;
	assert_int_equal(daxfs_branch_create(a.r, "x", "main", 0), 0);
	assert_int_equal(daxfs_branch_create(a.r, "y", "main", 0), 0);
	x = use(&a, "x");
	put_file(x, "f", 1, 50000);
	daxfs_branch_put(x);
	x = use(&a, "y");
	put_file(x, "f", 1, 50000);
	daxfs_branch_put(x);
	side_close(&a);
	side_close(&b);
	super_of()->next_branch_id = htole64(2);
	super_of()->next_segment_order = htole64(1);
	assert_int_equal(side_open(&a), 0);
	assert_int_equal(side_open(&b), 0);
	assert_int_equal(daxfs_branch_create(b.r, "z", "main", 0), 0);
	assert_true(listed(&a, "z"));
	assert_true(id_of(&b, "z") > id_of(&b, "y"));
	x = use(&b, "y");
	/* more than what is left of the log's last segment */
	for (u32 i = 0; i < 400; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		put_file(x, name, (u8)i, 100);
	}
	daxfs_branch_put(x);
	x = use(&a, "y");
	for (u32 i = 0; i < 400; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		assert_true(has_file(x, name, (u8)i, 100));
	}
	daxfs_branch_put(x);
}

/* A deadline that nobody can have set keeps nobody waiting. */
static void test_wild_deadline(void **state)
{
	struct daxfs_instance *i = coord_of()->instances;
	double start = seconds();

	(void)state;
	side_close(&a);
	side_close(&b);
	i[5].id = htole64(99);
	i[5].open = htole64(1);
	i[5].deadline_ns = htole64(~0ull);
	coord_of()->lease = htole64(DAXFS_LEASE(99, 1));
	blind = true;
	assert_int_equal(side_open(&a), 0);
	assert_int_equal(daxfs_branch_create(a.r, "x", "main", 0), 0);
	side_close(&a);
	blind = false;
	assert_true(seconds() < start + 10);
	assert_int_equal(side_open(&a), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_take_turns),     T(test_children),
		T(test_meta),           T(test_commit),
		T(test_delete_sealed),  T(test_commit_fails),
		T(test_death),          T(test_alone_again),
		T(test_segments),       T(test_deadline),
		T(test_dies_in_commit), T(test_dies_in_commit_of_two),
		T(test_counters),       T(test_wild_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
