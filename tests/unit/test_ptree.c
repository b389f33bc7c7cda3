// SPDX-License-Identifier: Apache-2.0
/* The persistent tree against a sorted array. */
#include "core_util.h"

#include "core/ptree.h"

#define MAX_ITEMS 6000
#define VALUE 24

struct item {
	struct pkey k;
	u8 v[VALUE];
};

/* A tree and what it should hold. */
struct pair {
	struct ptree t;
	struct item *items;
	u32 count;
};

static u64 seed;
static struct ppool pool;

static void pair_init(struct pair *p, u32 node_bytes)
{
	ptree_init(&p->t, VALUE, node_bytes);
	p->items = malloc(MAX_ITEMS * sizeof(*p->items));
	assert_non_null(p->items);
	p->count = 0;
}

static void pair_clone(struct pair *dst, const struct pair *src)
{
	pair_init(dst, src->t.node_bytes);
	ptree_clone(&dst->t, &src->t);
	memcpy(dst->items, src->items, src->count * sizeof(*src->items));
	dst->count = src->count;
}

static void pair_drop(struct pair *p)
{
	ptree_drop(&p->t);
	assert_null(p->t.root);
	free(p->items);
}

/* First index with a key >= k. */
static u32 place(const struct pair *p, struct pkey k)
{
	u32 lo = 0, hi = p->count;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (pkey_cmp(p->items[mid].k, k) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool has(const struct pair *p, u32 i, struct pkey k)
{
	return i < p->count && !pkey_cmp(p->items[i].k, k);
}

/* The pool gets exactly what one change may cost, and must not run dry. */
static void exact_pool(const struct pair *p)
{
	ppool_drain(&pool);
	pool.node_bytes = p->t.node_bytes;
	assert_int_equal(ppool_fill(&pool, ptree_cost(&p->t, 1)), 0);
}

static void pair_set(struct pair *p, struct pkey k)
{
	u32 i = place(p, k), had;
	u8 v[VALUE];

	for (u32 n = 0; n < VALUE; n++)
		v[n] = (u8)rnd(&seed);
	exact_pool(p);
	had = pool.count;
	ptree_set(&p->t, &pool, k, v);
	assert_in_range(pool.count, 0, had);
	if (!has(p, i, k)) {
		assert_true(p->count < MAX_ITEMS);
		memmove(&p->items[i + 1], &p->items[i],
			(p->count - i) * sizeof(*p->items));
		p->count++;
		p->items[i].k = k;
	}
	memcpy(p->items[i].v, v, VALUE);
	assert_int_equal(p->t.items, p->count);
}

static void pair_del(struct pair *p, struct pkey k)
{
	u32 i = place(p, k), had;
	bool there = has(p, i, k);

	exact_pool(p);
	had = pool.count;
	assert_int_equal(ptree_del(&p->t, &pool, k), there);
	assert_in_range(pool.count, 0, had);
	if (there) {
		p->count--;
		memmove(&p->items[i], &p->items[i + 1],
			(p->count - i) * sizeof(*p->items));
	}
	assert_int_equal(p->t.items, p->count);
}

static void check_item(const void *got, struct pkey found,
		       const struct item *want)
{
	if (!want) {
		assert_null(got);
		return;
	}
	assert_non_null(got);
	assert_int_equal(pkey_cmp(found, want->k), 0);
	assert_memory_equal(got, want->v, VALUE);
}

static void check_key(const struct pair *p, struct pkey k)
{
	u32 i = place(p, k);
	struct pkey f = { 0, 0 };
	const void *v = ptree_ge(&p->t, k, &f);

	check_item(v, f, i < p->count ? &p->items[i] : NULL);
	if (has(p, i, k)) {
		assert_memory_equal(ptree_get(&p->t, k), p->items[i].v, VALUE);
		i++;
	} else {
		assert_null(ptree_get(&p->t, k));
	}
	v = ptree_le(&p->t, k, &f);
	check_item(v, f, i ? &p->items[i - 1] : NULL);
}

static void check_all(const struct pair *p)
{
	struct pkey k = { 0, 0 }, f;
	const void *v;
	u32 i = 0;

	for (; (v = ptree_ge(&p->t, k, &f)); k = f, k.lo++, i++) {
		assert_true(i < p->count);
		check_item(v, f, &p->items[i]);
	}
	assert_int_equal(i, p->count);
}

struct walked {
	const struct pair *now;
	u8 *seen;
	u32 visits;
	struct pkey last;
};

static int note(void *arg, struct pkey k, const void *v)
{
	struct walked *w = arg;
	u32 i = place(w->now, k);

	assert_true(has(w->now, i, k));
	assert_memory_equal(v, w->now->items[i].v, VALUE);
	if (w->visits)
		assert_true(pkey_cmp(w->last, k) < 0);
	w->last = k;
	w->visits++;
	w->seen[i] = 1;
	return 0;
}

/* Every item that differs is met; what was visited besides is bounded. */
static void check_walk(const struct pair *now, const struct pair *old,
		       u32 changes, u32 leaf_cap)
{
	struct walked w = { .now = now };

	w.seen = calloc(MAX_ITEMS, 1);
	assert_non_null(w.seen);
	assert_int_equal(ptree_walk_unshared(&now->t, &old->t, note, &w), 0);
	for (u32 i = 0; i < now->count; i++) {
		const struct item *it = &now->items[i];
		u32 j = place(old, it->k);

		if (!has(old, j, it->k) ||
		    memcmp(old->items[j].v, it->v, VALUE) != 0)
			assert_true(w.seen[i]);
	}
	/* a change touches its leaf and what was split from or merged to it */
	assert_in_range(w.visits, 0, 4ull * changes * leaf_cap);
	free(w.seen);
}

static struct pkey some_key(u32 spread)
{
	struct pkey k = { 1 + rnd_below(&seed, 3), rnd_below(&seed, spread) };

	return k;
}

static void random_steps(struct pair *p, u32 steps, u32 spread, u32 del_percent)
{
	while (steps--) {
		struct pkey k = some_key(spread);

		if (rnd_below(&seed, 100) < del_percent)
			pair_del(p, k);
		else
			pair_set(p, k);
		check_key(p, some_key(spread));
	}
}

static void test_random(void **state)
{
	static const u32 nodes[] = { 256, 1024, 2048 };

	(void)state;
	for (u32 n = 0; n < 3; n++) {
		struct pair p;

		pair_init(&p, nodes[n]);
		for (u32 round = 0; round < 6; round++) {
			random_steps(&p, 1500, 1600, round % 2 ? 80 : 20);
			check_all(&p);
		}
		while (p.count)
			pair_del(&p, p.items[rnd_below(&seed, p.count)].k);
		assert_null(p.t.root);
		pair_drop(&p);
	}
}

static void test_in_order(void **state)
{
	struct pair p;

	(void)state;
	for (int down = 0; down < 2; down++) {
		pair_init(&p, 256);
		for (u64 i = 0; i < 3000; i++)
			pair_set(&p, (struct pkey){ 1, down ? 3000 - i : i });
		check_all(&p);
		while (p.count)
			pair_del(&p, p.items[down ? 0 : p.count - 1].k);
		pair_drop(&p);
	}
}

static void test_clones(void **state)
{
	struct pair p[8];

	(void)state;
	pair_init(&p[0], 256);
	random_steps(&p[0], 2000, 1000, 30);
	for (u32 i = 1; i < 8; i++)
		pair_clone(&p[i], &p[rnd_below(&seed, i)]);
	for (u32 round = 0; round < 40; round++) {
		u32 i = rnd_below(&seed, 8), j = rnd_below(&seed, 8);

		random_steps(&p[i], 50, 1000, 50);
		if (i != j && round % 4 == 0) {
			pair_drop(&p[j]);
			pair_clone(&p[j], &p[i]);
		}
		check_all(&p[j]);
	}
	for (u32 i = 0; i < 8; i++) {
		check_all(&p[i]);
		pair_drop(&p[i]);
	}
}

static void test_walk(void **state)
{
	struct pair old, now;
	u32 leaf_cap = (1024 - 16) / (16 + VALUE);

	(void)state;
	for (u32 round = 0; round < 60; round++) {
		u32 changes = round % 12;

		pair_init(&old, 1024);
		random_steps(&old, round * 40, 4000, 10);
		pair_clone(&now, &old);
		random_steps(&now, changes, 4000, 50);
		check_walk(&now, &old, changes, leaf_cap);
		pair_drop(&now);
		pair_drop(&old);
	}
}

/* A tree that shrank to one of the old tree's nodes shares all it has. */
static void test_walk_shrunk(void **state)
{
	struct pair old, now;
	struct walked w = { .now = &now };

	(void)state;
	pair_init(&old, 1024);
	for (u64 i = 0; i < 26; i++)
		pair_set(&old, (struct pkey){ 1, i });
	pair_clone(&now, &old);
	pair_del(&now, (struct pkey){ 1, 25 });
	pair_del(&now, (struct pkey){ 1, 24 });
	if (now.t.root != old.t.root) {
		w.seen = calloc(MAX_ITEMS, 1);
		assert_int_equal(ptree_walk_unshared(&now.t, &old.t, note, &w),
				 0);
		assert_int_equal(w.visits, 0);
		free(w.seen);
	}
	pair_drop(&now);
	pair_drop(&old);
}

static int stop_third(void *arg, struct pkey k, const void *v)
{
	(void)k;
	(void)v;
	return ++*(int *)arg == 3 ? 42 : 0;
}

static void test_walk_stops(void **state)
{
	struct pair p;
	struct ptree none;
	int n = 0;

	(void)state;
	pair_init(&p, 256);
	ptree_init(&none, VALUE, 256);
	random_steps(&p, 300, 1000, 0);
	assert_int_equal(ptree_walk_unshared(&p.t, &none, stop_third, &n), 42);
	assert_int_equal(n, 3);
	assert_int_equal(ptree_walk_unshared(&none, &p.t, stop_third, &n), 0);
	pair_drop(&p);
}

/* Deletes in a row of a tree that shares all its nodes, on one filling. */
static void delete_run(struct pair *p, struct ptree *other)
{
	u32 first = p->count / 4, count = p->count / 2;

	ptree_drop(other);
	ptree_clone(other, &p->t);
	ppool_drain(&pool);
	pool.node_bytes = p->t.node_bytes;
	assert_int_equal(ppool_fill(&pool, ptree_delete_cost(&p->t, count)), 0);
	for (u32 k = 0; k < count; k++) {
		assert_true(ptree_del(&p->t, &pool, p->items[first].k));
		p->count--;
		memmove(&p->items[first], &p->items[first + 1],
			(p->count - first) * sizeof(*p->items));
	}
	check_all(p);
}

/*
 * Nodes that others share are not merged: clones taken between deletes make
 * the thinnest tree there can be. Changes must keep to their price there too.
 */
static void test_thin(void **state)
{
	enum { KEEP = 600 };
	struct pair p;
	struct ptree *held;
	u32 n = 0;

	(void)state;
	held = calloc(MAX_ITEMS, sizeof(*held));
	assert_non_null(held);
	pair_init(&p, 256);
	for (u64 i = 0; i < 3000; i++)
		pair_set(&p, (struct pkey){ 1, i });
	for (u64 i = 0; i < 3000; i++) {
		if (i % 5 == 0)
			continue;
		ptree_clone(&held[n++], &p.t);
		pair_del(&p, (struct pkey){ 1, i });
	}
	assert_int_equal(p.count, KEEP);
	check_all(&p);
	ptree_clone(&held[n++], &p.t);
	random_steps(&p, 1000, 3000, 60);
	check_all(&p);
	delete_run(&p, &held[n - 1]);
	while (n)
		ptree_drop(&held[--n]);
	check_all(&p);
	pair_drop(&p);
	free(held);
}

/*
 * A tree that has become one thin branch loses the levels above it only where
 * no other tree has them.
 */
static void test_thin_shared(void **state)
{
	struct pair p, c;

	(void)state;
	for (u32 cut = 2; cut < 150; cut++) {
		pair_init(&p, 256);
		for (u64 i = 0; i < 150; i++)
			pair_set(&p, (struct pkey){ 1, i });
		for (u64 i = 1; i < cut; i++)
			pair_del(&p, (struct pkey){ 1, i });
		pair_clone(&c, &p);
		for (u64 i = 150; i-- > cut;)
			pair_del(&c, (struct pkey){ 1, i });
		check_all(&c);
		check_all(&p);
		pair_drop(&c);
		check_all(&p);
		pair_drop(&p);
	}
}

static int setup(void **state)
{
	(void)state;
	ppool_init(&pool, 0);
	return 0;
}

/* Each test uses trees of several node sizes; the pool follows. */
static int teardown(void **state)
{
	(void)state;
	ppool_drain(&pool);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_random, setup, teardown),
		cmocka_unit_test_setup_teardown(test_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_clones, setup, teardown),
		cmocka_unit_test_setup_teardown(test_walk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_walk_shrunk, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_walk_stops, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_thin, setup, teardown),
		cmocka_unit_test_setup_teardown(test_thin_shared, setup,
						teardown),
	};

	seed = env_number("DAXFS_SEED", (u64)time(NULL));
	print_message("# seed %llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
