/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters and latency histograms, and their text as Prometheus reads it
 * (its "text-based format", version 0.0.4).
 *
 * A family has up to two labels. A series of it, one combination of their
 * values, comes into being when it is first counted and stays; counting takes
 * a lock only then. Any thread may count, also while another one renders.
 *
 *	static struct metrics_family calls = METRICS_FAMILY(
 *		METRICS_HISTOGRAM, "daxfs_x_call_seconds",
 *		"Time that calls took.", "method", "code");
 *
 *	metrics_observe(&calls, "Prepare", "OK", ns);
 *	metrics_render(&calls, &text);
 */
#ifndef DAXFS_METRICS_H
#define DAXFS_METRICS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define METRICS_LABELS 2
/* Series of a family; what comes later counts for one named "other". */
#define METRICS_SERIES_MAX 256
/* Longer values of labels are cut. */
#define METRICS_VALUE_MAX 127
/* Of a histogram, from 50 µs to 10 s; the last one is for all above. */
#define METRICS_BUCKETS 18

enum metrics_kind { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

struct metrics_series {
	struct metrics_series *next; /* set before the series is seen */
	char *values[METRICS_LABELS];
	/* All atomic. A histogram's value is the sum, in ns. */
	uint64_t value;
	uint64_t buckets[]; /* of a histogram only; not cumulative */
};

struct metrics_family {
	enum metrics_kind kind;
	const char *name, *help;
	const char *labels[METRICS_LABELS]; /* NULL: not so many */
	struct metrics_series *series;      /* atomic */
	unsigned count;                     /* lock */
	pthread_mutex_t lock;               /* for new series; leaf */
};

#define METRICS_FAMILY(kind_, name_, help_, label1_, label2_)      \
	{                                                          \
		.kind = (kind_), .name = (name_), .help = (help_), \
		.labels = { (label1_), (label2_) },                \
		.lock = PTHREAD_MUTEX_INITIALIZER,                 \
	}

/* ---- Counting ------------------------------------------------------------- */

/*
 * `a` and `b` are the labels' values, NULL where the family has no such label.
 * When memory is out for a new series nothing is counted.
 */
void metrics_add(struct metrics_family *f, const char *a, const char *b,
		 int64_t n);
/* Of a gauge. */
void metrics_set(struct metrics_family *f, const char *a, const char *b,
		 int64_t value);
/* Of a histogram. */
void metrics_observe(struct metrics_family *f, const char *a, const char *b,
		     uint64_t ns);

/* Nanoseconds of the monotonic clock. */
uint64_t metrics_now(void);

/* Free the series, when nobody counts any more. */
void metrics_clear(struct metrics_family *f);

/* ---- Looking -------------------------------------------------------------- */

/*
 * Every series, oldest first, with its labels' values ("" for none). `value`
 * and `buckets` are copies; buckets is NULL but for histograms.
 */
void metrics_walk(struct metrics_family *f,
		  void (*fn)(void *arg, const char *a, const char *b,
			     uint64_t value, const uint64_t *buckets),
		  void *arg);

/* How many, and the time in ns that the share `q` of them did not exceed. */
uint64_t metrics_count(const uint64_t buckets[METRICS_BUCKETS]);
uint64_t metrics_quantile(const uint64_t buckets[METRICS_BUCKETS], double q);

/* ---- Text ----------------------------------------------------------------- */

/*
 * Begins as all zeros. `data` ends with a NUL once something was added, and is
 * the owner's to free. After a failed allocation `failed` is set and nothing
 * more is added.
 */
struct metrics_text {
	char *data;
	size_t length, size;
	bool failed;
};

/* A family with all its series; nothing when it has none. */
void metrics_render(struct metrics_family *f, struct metrics_text *t);

/* For numbers that are kept elsewhere: the lines HELP and TYPE, then values. */
void metrics_head(struct metrics_text *t, enum metrics_kind kind,
		  const char *name, const char *help);
/* `label` NULL: without one. */
void metrics_value(struct metrics_text *t, const char *name, const char *label,
		   const char *value, int64_t n);
void metrics_seconds(struct metrics_text *t, const char *name,
		     const char *label, const char *value, uint64_t ns);
/* Head and value of a family that has one series. */
void metrics_single(struct metrics_text *t, enum metrics_kind kind,
		    const char *name, const char *help, int64_t n);

#endif
