/* SPDX-License-Identifier: Apache-2.0 */
/* Counters, histograms and their text. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "driver/common/metrics.h"
#include "driver/common/util.h"

#define MS UINT64_C(1000000)

static void text_of_counters(void **state)
{
	struct metrics_family f = METRICS_FAMILY(METRICS_COUNTER, "x_total",
						 "Things.", "kind", "how");
	struct metrics_text t = { 0 };

	(void)state;
	metrics_render(&f, &t);
	assert_null(t.data); /* nothing counted, nothing to say */
	metrics_add(&f, "a", "b", 3);
	metrics_add(&f, "a", "b", 4);
	metrics_add(&f, "\\\"\n\xff\xc3\xa9", "", 1);
	metrics_render(&f, &t);
	assert_false(t.failed);
	assert_string_equal(t.data,
			    "# HELP x_total Things.\n"
			    "# TYPE x_total counter\n"
			    "x_total{kind=\"\\\\\\\"\\n\xef\xbf\xbd\xc3\xa9\","
			    "how=\"\"} 1\n"
			    "x_total{kind=\"a\",how=\"b\"} 7\n");
	assert_int_equal(t.length, strlen(t.data));
	free(t.data);
	metrics_clear(&f);
}

static void text_of_gauges(void **state)
{
	struct metrics_family f =
		METRICS_FAMILY(METRICS_GAUGE, "x", "Now.", NULL, NULL);
	struct metrics_text t = { 0 };

	(void)state;
	metrics_set(&f, NULL, NULL, 5);
	metrics_add(&f, NULL, NULL, -7);
	metrics_render(&f, &t);
	metrics_single(&t, METRICS_GAUGE, "y", "One.", 9);
	metrics_head(&t, METRICS_COUNTER, "z", "More.");
	metrics_value(&t, "z", "op", "read", 1);
	metrics_seconds(&t, "z", NULL, NULL, 1500 * MS);
	assert_string_equal(t.data, "# HELP x Now.\n# TYPE x gauge\nx -2\n"
				    "# HELP y One.\n# TYPE y gauge\ny 9\n"
				    "# HELP z More.\n# TYPE z counter\n"
				    "z{op=\"read\"} 1\nz 1.500000000\n");
	free(t.data);
	metrics_clear(&f);
}

/* A bucket counts what is at most its bound, and all that is below. */
static void text_of_histograms(void **state)
{
	struct metrics_family f =
		METRICS_FAMILY(METRICS_HISTOGRAM, "h", "H.", "m", NULL);
	struct metrics_text t = { 0 };

	(void)state;
	metrics_observe(&f, "a", NULL, 50000);
	metrics_observe(&f, "a", NULL, 50001);
	metrics_observe(&f, "a", NULL, 1000 * MS);
	metrics_observe(&f, "a", NULL, 3600 * 1000 * MS);
	metrics_render(&f, &t);
	assert_non_null(strstr(t.data, "# TYPE h histogram\n"));
	assert_non_null(strstr(t.data, "\nh_bucket{m=\"a\",le=\"5e-05\"} 1\n"));
	assert_non_null(
		strstr(t.data, "\nh_bucket{m=\"a\",le=\"0.0001\"} 2\n"));
	assert_non_null(strstr(t.data, "\nh_bucket{m=\"a\",le=\"0.5\"} 2\n"));
	assert_non_null(strstr(t.data, "\nh_bucket{m=\"a\",le=\"1\"} 3\n"));
	assert_non_null(strstr(t.data, "\nh_bucket{m=\"a\",le=\"10\"} 3\n"));
	assert_non_null(strstr(t.data, "\nh_bucket{m=\"a\",le=\"+Inf\"} 4\n"));
	assert_non_null(strstr(t.data, "\nh_sum{m=\"a\"} 3601.000100001\n"));
	assert_non_null(strstr(t.data, "\nh_count{m=\"a\"} 4\n"));
	free(t.data);
	metrics_clear(&f);
}

struct seen {
	unsigned n;
	char text[256];
};

static void note(void *arg, const char *a, const char *b, uint64_t value,
		 const uint64_t *buckets)
{
	struct seen *s = arg;
	size_t len = strlen(s->text);

	assert_null(buckets);
	if (s->n++ < 4)
		snprintf(s->text + len, sizeof(s->text) - len, "%s/%s=%llu ", a,
			 b, (unsigned long long)value);
}

static void walk_is_in_order(void **state)
{
	struct metrics_family f =
		METRICS_FAMILY(METRICS_COUNTER, "x", "X.", "a", "b");
	struct seen s = { 0 };

	(void)state;
	metrics_add(&f, "z", "1", 1);
	metrics_add(&f, "a", "2", 2);
	metrics_add(&f, "z", "1", 1);
	metrics_walk(&f, note, &s);
	assert_string_equal(s.text, "z/1=2 a/2=2 ");
	metrics_clear(&f);
}

/* A peer that makes up names gets no memory for all of them. */
static void series_are_bounded(void **state)
{
	struct metrics_family f =
		METRICS_FAMILY(METRICS_COUNTER, "x", "X.", "a", NULL);
	struct metrics_text t = { 0 };
	struct seen s = { 0 };
	char name[512];

	(void)state;
	memset(name, 'n', sizeof(name));
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, 16, "name%04u", i);
		name[8] = 'n';
		name[511] = '\0';
		metrics_add(&f, name, NULL, 1);
		metrics_add(&f, name, NULL, 1);
	}
	metrics_walk(&f, note, &s);
	assert_int_equal(s.n, METRICS_SERIES_MAX);
	metrics_render(&f, &t);
	snprintf(name, sizeof(name), "\nx{a=\"other\"} %d\n",
		 2 * (1000 - (METRICS_SERIES_MAX - 1)));
	assert_non_null(strstr(t.data, name));
	assert_true(t.length < METRICS_SERIES_MAX * (METRICS_VALUE_MAX + 32));
	free(t.data);
	metrics_clear(&f);
}

static void quantiles(void **state)
{
	uint64_t b[METRICS_BUCKETS] = { 0 };

	(void)state;
	assert_int_equal(metrics_quantile(b, 0.5), 0);
	b[0] = 90; /* up to 50 µs */
	b[4] = 10; /* 0.5 to 1 ms */
	assert_int_equal(metrics_count(b), 100);
	assert_int_equal(metrics_quantile(b, 0.45), 25000);
	assert_int_equal(metrics_quantile(b, 0.9), 50000);
	assert_int_equal(metrics_quantile(b, 0.95), 750000);
	assert_int_equal(metrics_quantile(b, 1), 1000000);
	b[METRICS_BUCKETS - 1] = 1; /* beyond what is measured: its lower end */
	assert_int_equal(metrics_quantile(b, 1), 10000 * MS);
}

static void *count_some(void *arg)
{
	static const char *const names[] = { "a", "b", "c", "d" };

	for (unsigned i = 0; i < 20000; i++)
		metrics_observe(arg, names[i % 4], NULL, i);
	return NULL;
}

static void sum_up(void *arg, const char *a, const char *b, uint64_t value,
		   const uint64_t *buckets)
{
	(void)a;
	(void)b;
	(void)value;
	*(uint64_t *)arg += metrics_count(buckets);
}

static void threads_lose_nothing(void **state)
{
	struct metrics_family f =
		METRICS_FAMILY(METRICS_HISTOGRAM, "h", "H.", "m", NULL);
	struct metrics_text t = { 0 };
	uint64_t n = 0;
	pthread_t th[4];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(th); i++)
		assert_int_equal(pthread_create(&th[i], NULL, count_some, &f),
				 0);
	metrics_render(&f, &t);
	for (unsigned i = 0; i < ARRAY_SIZE(th); i++)
		pthread_join(th[i], NULL);
	metrics_walk(&f, sum_up, &n);
	assert_int_equal(n, 80000);
	assert_int_equal(f.count, 4);
	free(t.data);
	metrics_clear(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_of_counters),
		cmocka_unit_test(text_of_gauges),
		cmocka_unit_test(text_of_histograms),
		cmocka_unit_test(walk_is_in_order),
		cmocka_unit_test(series_are_bounded),
		cmocka_unit_test(quantiles),
		cmocka_unit_test(threads_lose_nothing),
	};

	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
