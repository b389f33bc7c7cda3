/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "util.h"

/* Upper bounds, as numbers and as they are written. */
static const struct {
	uint64_t ns;
	const char *text;
} bounds[METRICS_BUCKETS] = {
	{ 50000, "5e-05" },   { 100000, "0.0001" },  { 250000, "0.00025" },
	{ 500000, "0.0005" }, { 1000000, "0.001" },  { 2500000, "0.0025" },
	{ 5000000, "0.005" }, { 10000000, "0.01" },  { 25000000, "0.025" },
	{ 50000000, "0.05" }, { 100000000, "0.1" },  { 250000000, "0.25" },
	{ 500000000, "0.5" }, { 1000000000, "1" },   { 2500000000, "2.5" },
	{ 5000000000, "5" },  { 10000000000, "10" }, { UINT64_MAX, "+Inf" },
};

/* ---- Series --------------------------------------------------------------- */

static bool same(const char *have, const char *want)
{
	return want ? have && strncmp(have, want, METRICS_VALUE_MAX) == 0
		    : !have;
}

static struct metrics_series *find(struct metrics_family *f, const char *a,
				   const char *b)
{
	struct metrics_series *s =
		__atomic_load_n(&f->series, __ATOMIC_ACQUIRE);

	while (s && !(same(s->values[0], a) && same(s->values[1], b)))
		s = s->next;
	return s;
}

static void free_series(struct metrics_series *s)
{
	for (unsigned i = 0; s && i < METRICS_LABELS; i++)
		free(s->values[i]);
	free(s);
}

static struct metrics_series *new_series(enum metrics_kind kind, const char *a,
					 const char *b)
{
	size_t buckets = kind == METRICS_HISTOGRAM ? METRICS_BUCKETS : 0;
	struct metrics_series *s =
		calloc(1, sizeof(*s) + buckets * sizeof(s->buckets[0]));

	if (!s)
		return NULL;
	s->values[0] = a ? strndup(a, METRICS_VALUE_MAX) : NULL;
	s->values[1] = b ? strndup(b, METRICS_VALUE_MAX) : NULL;
	if ((!a || s->values[0]) && (!b || s->values[1]))
		return s;
	free_series(s);
	return NULL;
}

static struct metrics_series *get(struct metrics_family *f, const char *a,
				  const char *b)
{
	struct metrics_series *s = find(f, a, b);

	if (s)
		return s;
	pthread_mutex_lock(&f->lock);
	if (f->count >= METRICS_SERIES_MAX - 1) {
		a = a ? "other" : NULL;
		b = b ? "other" : NULL;
	}
	s = find(f, a, b);
	if (!s)
		s = new_series(f->kind, a, b);
	if (s && !find(f, a, b)) {
		s->next = f->series;
		__atomic_store_n(&f->series, s, __ATOMIC_RELEASE);
		f->count++;
	}
	pthread_mutex_unlock(&f->lock);
	return s;
}

void metrics_add(struct metrics_family *f, const char *a, const char *b,
		 int64_t n)
{
	struct metrics_series *s = get(f, a, b);

	if (s)
		__atomic_fetch_add(&s->value, (uint64_t)n, __ATOMIC_RELAXED);
}

void metrics_set(struct metrics_family *f, const char *a, const char *b,
		 int64_t value)
{
	struct metrics_series *s = get(f, a, b);

	if (s)
		__atomic_store_n(&s->value, (uint64_t)value, __ATOMIC_RELAXED);
}

void metrics_observe(struct metrics_family *f, const char *a, const char *b,
		     uint64_t ns)
{
	struct metrics_series *s = get(f, a, b);
	unsigned i = 0;

	if (!s)
		return;
	while (ns > bounds[i].ns)
		i++;
	__atomic_fetch_add(&s->buckets[i], 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&s->value, ns, __ATOMIC_RELAXED);
}

uint64_t metrics_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void metrics_clear(struct metrics_family *f)
{
	while (f->series) {
		struct metrics_series *s = f->series;

		f->series = s->next;
		free_series(s);
	}
	f->count = 0;
}

/* ---- Looking -------------------------------------------------------------- */

static void show(const struct metrics_family *f, const struct metrics_series *s,
		 void (*fn)(void *arg, const char *a, const char *b,
			    uint64_t value, const uint64_t *buckets),
		 void *arg)
{
	bool histogram = f->kind == METRICS_HISTOGRAM;
	uint64_t buckets[METRICS_BUCKETS];

	for (unsigned i = 0; histogram && i < METRICS_BUCKETS; i++)
		buckets[i] = __atomic_load_n(&s->buckets[i], __ATOMIC_RELAXED);
	fn(arg, s->values[0] ? s->values[0] : "",
	   s->values[1] ? s->values[1] : "",
	   __atomic_load_n(&s->value, __ATOMIC_RELAXED),
	   histogram ? buckets : NULL);
}

void metrics_walk(struct metrics_family *f,
		  void (*fn)(void *arg, const char *a, const char *b,
			     uint64_t value, const uint64_t *buckets),
		  void *arg)
{
	const struct metrics_series *all[METRICS_SERIES_MAX];
	const struct metrics_series *s =
		__atomic_load_n(&f->series, __ATOMIC_ACQUIRE);
	unsigned n = 0;

	for (; s && n < METRICS_SERIES_MAX; s = s->next)
		all[n++] = s;
	while (n)
		show(f, all[--n], fn, arg);
}

uint64_t metrics_count(const uint64_t buckets[METRICS_BUCKETS])
{
	uint64_t n = 0;

	for (unsigned i = 0; i < METRICS_BUCKETS; i++)
		n += buckets[i];
	return n;
}

/* Within a bucket times are taken to be spread evenly. */
uint64_t metrics_quantile(const uint64_t buckets[METRICS_BUCKETS], double q)
{
	double want = q * (double)metrics_count(buckets), seen = 0;

	for (unsigned i = 0; i < METRICS_BUCKETS; i++) {
		double low = i ? (double)bounds[i - 1].ns : 0;
		double n = (double)buckets[i];

		if (n > 0 && seen + n >= want) {
			if (i == METRICS_BUCKETS - 1)
				return bounds[i - 1].ns;
			return (uint64_t)(low + ((double)bounds[i].ns - low) *
							(want - seen) / n);
		}
		seen += n;
	}
	return 0;
}

/* ---- Text ----------------------------------------------------------------- */

static bool reserve(struct metrics_text *t, size_t more)
{
	size_t size = t->size ? t->size : 4096;
	char *data;

	while (!t->failed && size - t->length <= more)
		t->failed = __builtin_mul_overflow(size, 2, &size);
	if (t->failed)
		return false;
	if (size == t->size)
		return true;
	data = realloc(t->data, size);
	if (!data) {
		t->failed = true;
		return false;
	}
	t->data = data;
	t->size = size;
	return true;
}

__attribute__((format(printf, 2, 3))) static void put(struct metrics_text *t,
						      const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n >= 0 && reserve(t, (size_t)n))
		t->length += (size_t)vsnprintf(t->data + t->length,
					       (size_t)n + 1, fmt, again);
	va_end(again);
}

/* In a label's value backslash, quote and newline are escaped. */
static void put_value(struct metrics_text *t, const char *s)
{
	size_t left = strlen(s);

	while (left) {
		size_t n = utf8_length(s, left);

		if (*s == '\\' || *s == '"')
			put(t, "\\%c", *s);
		else if (*s == '\n')
			put(t, "\\n");
		else if (n)
			put(t, "%.*s", (int)n, s);
		else
			put(t, "\xef\xbf\xbd"); /* the format is UTF-8 */
		s += n ? n : 1;
		left -= n ? n : 1;
	}
}

static void put_label(struct metrics_text *t, char *before, const char *label,
		      const char *value)
{
	if (!label)
		return;
	put(t, "%c%s=\"", *before, label);
	put_value(t, value ? value : "");
	put(t, "\"");
	*before = ',';
}

/* name{a="…",b="…",le="…"} and a space. */
static void put_name(struct metrics_text *t, const char *name,
		     const char *suffix,
		     const char *const labels[METRICS_LABELS],
		     char *const values[METRICS_LABELS], const char *le)
{
	char before = '{';

	put(t, "%s%s", name, suffix);
	for (unsigned i = 0; i < METRICS_LABELS; i++)
		put_label(t, &before, labels[i], values[i]);
	put_label(t, &before, le ? "le" : NULL, le);
	put(t, before == ',' ? "} " : " ");
}

static void put_seconds(struct metrics_text *t, uint64_t ns)
{
	put(t, "%llu.%09llu\n", (unsigned long long)(ns / 1000000000),
	    (unsigned long long)(ns % 1000000000));
}

static void put_histogram(const struct metrics_family *f,
			  const struct metrics_series *s,
			  struct metrics_text *t)
{
	unsigned long long n = 0;

	for (unsigned i = 0; i < METRICS_BUCKETS; i++) {
		n += __atomic_load_n(&s->buckets[i], __ATOMIC_RELAXED);
		put_name(t, f->name, "_bucket", f->labels, s->values,
			 bounds[i].text);
		put(t, "%llu\n", n);
	}
	put_name(t, f->name, "_sum", f->labels, s->values, NULL);
	put_seconds(t, __atomic_load_n(&s->value, __ATOMIC_RELAXED));
	put_name(t, f->name, "_count", f->labels, s->values, NULL);
	put(t, "%llu\n", n);
}

void metrics_render(struct metrics_family *f, struct metrics_text *t)
{
	const struct metrics_series *s =
		__atomic_load_n(&f->series, __ATOMIC_ACQUIRE);

	if (s)
		metrics_head(t, f->kind, f->name, f->help);
	for (; s; s = s->next) {
		if (f->kind == METRICS_HISTOGRAM) {
			put_histogram(f, s, t);
			continue;
		}
		put_name(t, f->name, "", f->labels, s->values, NULL);
		put(t, "%lld\n",
		    (long long)__atomic_load_n(&s->value, __ATOMIC_RELAXED));
	}
}

void metrics_head(struct metrics_text *t, enum metrics_kind kind,
		  const char *name, const char *help)
{
	static const char *const kinds[] = { "counter", "gauge", "histogram" };

	put(t, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kinds[kind]);
}

static void put_single(struct metrics_text *t, const char *name,
		       const char *label, const char *value)
{
	char before = '{';

	put(t, "%s", name);
	put_label(t, &before, label, value);
	put(t, before == ',' ? "} " : " ");
}

void metrics_value(struct metrics_text *t, const char *name, const char *label,
		   const char *value, int64_t n)
{
	put_single(t, name, label, value);
	put(t, "%lld\n", (long long)n);
}

void metrics_seconds(struct metrics_text *t, const char *name,
		     const char *label, const char *value, uint64_t ns)
{
	put_single(t, name, label, value);
	put_seconds(t, ns);
}

void metrics_single(struct metrics_text *t, enum metrics_kind kind,
		    const char *name, const char *help, int64_t n)
{
	metrics_head(t, kind, name, help);
	metrics_value(t, name, NULL, NULL, n);
}
