/* SPDX-License-Identifier: Apache-2.0 */
/* What `daxfs top` knows, as lines. */
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "text.h"
#include "top.h"

/* Of a view without a limit: busiest mounts, and calls. */
#define ROWS_MAX 20

struct view {
	struct top_page *page;
	unsigned width, height; /* 0: any */
};

static bool full(const struct view *v)
{
	return v->height && v->page->count >= v->height;
}

/* The end of a line that is wider than the screen is cut off. */
static void cut(char *s, unsigned width)
{
	unsigned n = 0;

	for (; *s; s++) {
		if (((unsigned char)*s & 0xc0) == 0x80)
			continue;
		if (n++ == width)
			break;
	}
	*s = '\0';
}

__attribute__((format(printf, 2, 3))) static void line(struct view *v,
						       const char *fmt, ...)
{
	struct top_page *p = v->page;
	va_list ap;
	char *s;
	int n;

	if (full(v))
		return;
	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (p->count == p->size) {
		p->size = p->size ? 2 * p->size : 32;
		p->lines = reallocarray(p->lines, p->size, sizeof(*p->lines));
	}
	if (n < 0 || !p->lines)
		exit(cli_error("daxfs top", "out of memory"));
	if (v->width)
		cut(s, v->width);
	p->lines[p->count++] = s;
}

void top_page_clear(struct top_page *p)
{
	while (p->count)
		free(p->lines[--p->count]);
	free(p->lines);
	*p = (struct top_page){ 0 };
}

/* ---- Values ---------------------------------------------------------------- */

static json_object *member(json_object *o, const char *key)
{
	json_object *v = NULL;

	json_object_object_get_ex(o, key, &v);
	return v;
}

static unsigned long long number(json_object *o, const char *key)
{
	return cli_json_u64(o, key);
}

static double rate(json_object *o, const char *key)
{
	return json_object_get_double(member(o, key));
}

static const char *bytes(json_object *o, const char *key)
{
	double v = rate(o, key);

	return format_size(v > 0 ? (uint64_t)v : 0);
}

/* "37 us", "1.2 ms", "3.4 s". */
static const char *duration(json_object *o, const char *key, char out[24])
{
	double us = (double)number(o, key) / 1000;

	if (us < 1000)
		snprintf(out, 24, "%.0f us", us);
	else if (us < 1000000)
		snprintf(out, 24, "%.1f ms", us / 1000);
	else
		snprintf(out, 24, "%.1f s", us / 1000000);
	return out;
}

static double percent(unsigned long long part, unsigned long long all)
{
	return all ? 100.0 * (double)part / (double)all : 0;
}

/* ---- Parts ----------------------------------------------------------------- */

static void draw_head(struct view *v, json_object *rates)
{
	json_object *s = member(rates, "snapshots");
	time_t now = time(NULL);
	char clock[16] = "";
	struct tm tm;

	if (localtime_r(&now, &tm))
		strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	line(v,
	     "daxfs top  %s  snapshots: %llu active, %llu views, %llu committed, %llu to free",
	     clock, number(s, "active"), number(s, "view"),
	     number(s, "committed"), number(s, "removing"));
}

static void draw_pool(struct view *v, json_object *rates)
{
	json_object *p = member(rates, "pool"), *f = member(rates, "front");
	unsigned long long all, used;

	if (!p) {
		line(v, "pool: daxfs-fuse does not answer");
		return;
	}
	all = number(p, "capacity_bytes");
	used = all - number(p, "free_bytes");
	line(v,
	     "pool: %s of %s (%.0f%%), logs %s (%.0f%% written, %s/s)  syncs/s %.1f",
	     format_size(used), format_size(all), percent(used, all),
	     format_size(number(p, "log_bytes")),
	     percent(number(p, "log_used_bytes"), number(p, "log_bytes")),
	     bytes(p, "log_written_bytes_per_second"),
	     rate(p, "syncs_per_second"));
	line(v,
	     "branches: %llu active, %llu sealed, %llu damaged of %llu  created/s %.1f  ended/s %.1f",
	     number(p, "branches_active"), number(p, "branches_sealed"),
	     number(p, "branches_damaged"), number(p, "branch_slots"),
	     rate(p, "created_per_second"), rate(p, "ended_per_second"));
	if (f)
		line(v,
		     "fuse: %llu mounts  requests/s %.1f  in flight %llu  read %s/s  written %s/s",
		     number(f, "mounts"), rate(f, "requests_per_second"),
		     number(f, "in_flight"), bytes(f, "read_bytes_per_second"),
		     bytes(f, "written_bytes_per_second"));
}

static size_t length(json_object *list)
{
	return json_object_is_type(list, json_type_array)
		       ? json_object_array_length(list)
		       : 0;
}

static void draw_calls(struct view *v, json_object *calls, size_t rows)
{
	line(v, "%s", "");
	line(v, "%-24s %9s %9s %9s %9s %9s", "CALL", "PER SEC", "FAILED",
	     "MEAN", "P50", "P99");
	for (size_t i = 0; i < rows && i < length(calls); i++) {
		json_object *c = json_object_array_get_idx(calls, i);
		const char *name = cli_json_string(c, "method");
		cleanup_free char *shown = text_fit(name, 24, true);
		char mean[24], p50[24], p99[24];

		line(v, "%s %9.1f %9.1f %9s %9s %9s", shown,
		     rate(c, "per_second"), rate(c, "failed_per_second"),
		     duration(c, "mean_ns", mean), duration(c, "p50_ns", p50),
		     duration(c, "p99_ns", p99));
	}
}

/* The name gets what the numbers leave. */
static void draw_mounts(struct view *v, json_object *mounts, size_t rows)
{
	line(v, "%s", "");
	line(v, "%9s %12s %12s  %s", "REQ/S", "READ/S", "WRITTEN/S", "MOUNT");
	for (size_t i = 0; i < rows && i < length(mounts); i++) {
		json_object *m = json_object_array_get_idx(mounts, i);
		const char *key = cli_json_string(m, "key");
		const char *name = *key ? key : cli_json_string(m, "branch");
		unsigned width = v->width > 48 ? v->width - 37 : 12;
		cleanup_free char *shown = text_fit(name, width, v->width != 0);

		line(v, "%9.1f %12s %12s  %s", rate(m, "requests_per_second"),
		     bytes(m, "read_bytes_per_second"),
		     bytes(m, "written_bytes_per_second"), shown);
	}
}

/* Calls and mounts share the rows that are left, each with two of its own. */
void top_draw(struct top_page *p, json_object *rates, unsigned width,
	      unsigned height)
{
	json_object *calls = member(rates, "calls");
	json_object *mounts = member(rates, "mounts");
	struct view v = { p, width, height };
	size_t rows = 2 * ROWS_MAX, half, n_calls, n_mounts;

	draw_head(&v, rates);
	draw_pool(&v, rates);
	if (height)
		rows = height > p->count + 4 ? height - p->count - 4 : 0;
	half = rows / 2;
	n_calls = length(calls);
	n_mounts = length(mounts);
	if (n_calls > half)
		n_calls = n_mounts < rows - half ? rows - n_mounts : half;
	draw_calls(&v, calls, n_calls);
	draw_mounts(&v, mounts, rows - n_calls);
}
