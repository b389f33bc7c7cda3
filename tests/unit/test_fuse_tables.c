/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of daxfs-fuse: lookup counts, and the names of main's mount. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../driver/fuse/names.h"
#include "../../driver/fuse/nodes.h"

#define INODES 5000

static uint64_t rnd_state = 88172645463325252ull;

static uint64_t rnd(uint64_t n)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state % n;
}

/* What nodes_list() says must be what the model has. */
static void check_list(struct nodes *n, const uint64_t *model)
{
	uint64_t *list;
	size_t count, i, want = 0;
	char *seen = calloc(INODES + 1, 1);

	assert_non_null(seen);
	for (i = 1; i <= INODES; i++)
		want += model[i] > 0;
	assert_int_equal(nodes_list(n, &list, &count), 0);
	assert_int_equal(count, want);
	for (i = 0; i < count; i++) {
		assert_in_range(list[i], 1, INODES);
		assert_true(model[list[i]] > 0);
		assert_false(seen[list[i]]);
		seen[list[i]] = 1;
	}
	free(list);
	free(seen);
}

static void nodes_like_a_model(void **state)
{
	static uint64_t model[INODES + 1];
	struct nodes n;
	int step;

	(void)state;
	nodes_init(&n);
	for (step = 0; step < 400000; step++) {
		/* Grow for a while, then shrink to nothing. */
		bool grow = rnd(100) < (step < 200000 ? 70 : 20);
		uint64_t ino = 1 + rnd(INODES);

		if (grow) {
			assert_int_equal(nodes_add(&n, ino), 0);
			model[ino]++;
		} else {
			uint64_t take = 1 + rnd(3);
			bool last = model[ino] > 0 && model[ino] <= take;

			assert_int_equal(nodes_forget(&n, ino, take), last);
			model[ino] -= model[ino] < take ? model[ino] : take;
		}
		if (step % 50000 == 0)
			check_list(&n, model);
	}
	check_list(&n, model);
	nodes_free(&n);
}

static void nodes_unknown_and_huge(void **state)
{
	struct nodes n;
	uint64_t *list;
	size_t count;

	(void)state;
	nodes_init(&n);
	assert_false(nodes_forget(&n, 7, 1));
	assert_int_equal(nodes_add(&n, UINT64_MAX), 0);
	assert_int_equal(nodes_add(&n, UINT64_MAX), 0);
	assert_false(nodes_forget(&n, UINT64_MAX, 1));
	assert_true(nodes_forget(&n, UINT64_MAX, UINT64_MAX));
	assert_false(nodes_forget(&n, UINT64_MAX, 1));
	assert_int_equal(nodes_list(&n, &list, &count), 0);
	assert_int_equal(count, 0);
	free(list);
	nodes_free(&n);
}

static void names_are_kept_once(void **state)
{
	struct name *list, *e;
	struct names n;
	int round, found = 0;

	(void)state;
	names_init(&n);
	for (round = 0; round < 3; round++) {
		assert_true(names_add(&n, 1, "a", 1));
		assert_true(names_add(&n, 1, "ab", 2));
		assert_true(names_add(&n, 2, "a", 1));
		assert_true(names_add(&n, 1, "odd\xff\n", 5));
	}
	list = names_take(&n);
	for (e = list; e; e = e->next) {
		assert_int_equal(strlen(e->text), e->len);
		found++;
	}
	assert_int_equal(found, 4);
	names_free_list(list);
	assert_null(names_take(&n));
	names_free(&n);
}

static void names_have_a_limit(void **state)
{
	struct names n;
	char text[32];
	size_t i, kept = 0;
	struct name *list, *e;

	(void)state;
	names_init(&n);
	for (i = 0; i < NAMES_MAX + 100; i++) {
		int len = snprintf(text, sizeof(text), "%zu", i);
		bool ok = names_add(&n, i % 7, text, (size_t)len);

		assert_int_equal(ok, i < NAMES_MAX);
	}
	/* What is known stays known. */
	assert_true(names_add(&n, 0, "0", 1));
	list = names_take(&n);
	for (e = list; e; e = e->next)
		kept++;
	assert_int_equal(kept, NAMES_MAX);
	names_free_list(list);
	assert_true(names_add(&n, 0, "again", 5));
	names_free(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nodes_like_a_model),
		cmocka_unit_test(nodes_unknown_and_huge),
		cmocka_unit_test(names_are_kept_once),
		cmocka_unit_test(names_have_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
