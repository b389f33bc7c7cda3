/* SPDX-License-Identifier: Apache-2.0 */
#include "top.h"

static json_object *member(json_object *o, const char *key)
{
	json_object *v = NULL;

	if (o)
		json_object_object_get_ex(o, key, &v);
	return v;
}

static uint64_t number(json_object *o, const char *key)
{
	return o ? cli_json_u64(o, key) : 0;
}

/* Since `before`; where it was more, the count has begun anew. */
static uint64_t grown(uint64_t before, uint64_t now)
{
	return now >= before ? now - before : now;
}

static void add_rate(json_object *o, const char *key, uint64_t n,
		     double seconds)
{
	double v = seconds > 0 ? (double)n / seconds : 0;

	/* what is shown is not exact to the last digit */
	cli_json_add(o, key,
		     json_object_new_double((double)(uint64_t)(v * 10 + 0.5) /
					    10));
}

/* ---- Calls ----------------------------------------------------------------- */

/* Of one method, with all outcomes. */
struct method {
	const char *name;
	uint64_t count, failed, total_ns;
	uint64_t buckets[METRICS_BUCKETS];
};

struct methods {
	struct method *v;
	size_t n, size;
};

static struct method *find_method(struct methods *m, const char *name)
{
	for (size_t i = 0; i < m->n; i++)
		if (str_eq(m->v[i].name, name))
			return &m->v[i];
	if (m->n == m->size) {
		m->size = m->size ? 2 * m->size : 32;
		m->v = reallocarray(m->v, m->size, sizeof(*m->v));
		if (!m->v)
			exit(cli_error("daxfs top", "out of memory"));
	}
	m->v[m->n] = (struct method){ .name = name };
	return &m->v[m->n++];
}

static json_object *find_call(json_object *calls, json_object *like)
{
	for (size_t i = 0; json_object_is_type(calls, json_type_array) &&
			   i < json_object_array_length(calls);
	     i++) {
		json_object *c = json_object_array_get_idx(calls, i);

		if (str_eq(cli_json_string(c, "method"),
			   cli_json_string(like, "method")) &&
		    str_eq(cli_json_string(c, "code"),
			   cli_json_string(like, "code")))
			return c;
	}
	return NULL;
}

static uint64_t bucket(json_object *call, unsigned i)
{
	json_object *list = member(call, "buckets");

	return json_object_is_type(list, json_type_array) &&
			       i < json_object_array_length(list)
		       ? json_object_get_uint64(
				 json_object_array_get_idx(list, i))
		       : 0;
}

static void count_call(struct methods *m, json_object *old, json_object *call)
{
	struct method *x = find_method(m, cli_json_string(call, "method"));
	uint64_t n = grown(number(old, "count"), number(call, "count"));

	x->count += n;
	if (!str_eq(cli_json_string(call, "code"), "OK"))
		x->failed += n;
	x->total_ns += grown(number(old, "total_ns"), number(call, "total_ns"));
	for (unsigned i = 0; i < METRICS_BUCKETS; i++)
		x->buckets[i] += grown(bucket(old, i), bucket(call, i));
}

static int by_count(const void *a, const void *b)
{
	const struct method *x = a, *y = b;

	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return strcmp(x->name, y->name);
}

static json_object *method_rates(const struct method *m, double seconds)
{
	json_object *o = json_object_new_object();

	cli_json_add_string(o, "method", m->name);
	add_rate(o, "per_second", m->count, seconds);
	add_rate(o, "failed_per_second", m->failed, seconds);
	cli_json_add_u64(o, "mean_ns", m->count ? m->total_ns / m->count : 0);
	cli_json_add_u64(o, "p50_ns", metrics_quantile(m->buckets, 0.5));
	cli_json_add_u64(o, "p99_ns", metrics_quantile(m->buckets, 0.99));
	return o;
}

/* Methods that were called in the meantime, most called first. */
static json_object *call_rates(json_object *before, json_object *now,
			       double seconds)
{
	json_object *out = json_object_new_array();
	struct methods m = { NULL, 0, 0 };

	for (size_t i = 0; json_object_is_type(now, json_type_array) &&
			   i < json_object_array_length(now);
	     i++) {
		json_object *c = json_object_array_get_idx(now, i);

		count_call(&m, find_call(before, c), c);
	}
	if (m.n)
		qsort(m.v, m.n, sizeof(*m.v), by_count);
	for (size_t i = 0; i < m.n && m.v[i].count; i++)
		json_object_array_add(out, method_rates(&m.v[i], seconds));
	free(m.v);
	return out;
}

/* ---- Mounts ---------------------------------------------------------------- */

struct busy {
	json_object *mount;
	uint64_t requests, read_bytes, written_bytes;
};

static int by_requests(const void *a, const void *b)
{
	const struct busy *x = a, *y = b;

	if (x->requests != y->requests)
		return x->requests < y->requests ? 1 : -1;
	return strcmp(cli_json_string(x->mount, "branch"),
		      cli_json_string(y->mount, "branch"));
}

/* Branch names, to the mounts of the answer before. */
static json_object *index_mounts(json_object *mounts)
{
	json_object *o = json_object_new_object();

	for (size_t i = 0; json_object_is_type(mounts, json_type_array) &&
			   i < json_object_array_length(mounts);
	     i++) {
		json_object *m = json_object_array_get_idx(mounts, i);

		cli_json_add(o, cli_json_string(m, "branch"),
			     json_object_get(m));
	}
	return o;
}

static json_object *busy_json(const struct busy *b, double seconds)
{
	json_object *o = json_object_new_object(), *key;

	cli_json_add_string(o, "branch", cli_json_string(b->mount, "branch"));
	if ((key = member(b->mount, "key")))
		cli_json_add(o, "key", json_object_get(key));
	add_rate(o, "requests_per_second", b->requests, seconds);
	add_rate(o, "read_bytes_per_second", b->read_bytes, seconds);
	add_rate(o, "written_bytes_per_second", b->written_bytes, seconds);
	return o;
}

/* Mounts that were used in the meantime, busiest first. */
static json_object *mount_rates(json_object *before, json_object *now,
				double seconds)
{
	size_t n = json_object_is_type(now, json_type_array)
			   ? json_object_array_length(now)
			   : 0;
	cleanup_free struct busy *v = calloc(n + 1, sizeof(*v));
	json_object *old = index_mounts(before);
	json_object *out = json_object_new_array();

	if (!v)
		exit(cli_error("daxfs top", "out of memory"));
	for (size_t i = 0; i < n; i++) {
		json_object *m = json_object_array_get_idx(now, i);
		json_object *o = member(old, cli_json_string(m, "branch"));

		v[i] = (struct busy){
			.mount = m,
			.requests = grown(number(o, "requests"),
					  number(m, "requests")),
			.read_bytes = grown(number(o, "read_bytes"),
					    number(m, "read_bytes")),
			.written_bytes = grown(number(o, "written_bytes"),
					       number(m, "written_bytes")),
		};
	}
	qsort(v, n, sizeof(*v), by_requests);
	for (size_t i = 0; i < n && v[i].requests; i++)
		json_object_array_add(out, busy_json(&v[i], seconds));
	json_object_put(old);
	return out;
}

/* ---- All ------------------------------------------------------------------- */

static uint64_t requests_of(json_object *front)
{
	json_object *requests = member(front, "requests");
	uint64_t n = 0;

	if (!json_object_is_type(requests, json_type_object))
		return 0;
	json_object_object_foreach(requests, op, count)
	{
		(void)op;
		n += json_object_get_uint64(count);
	}
	return n;
}

static json_object *front_rates(json_object *before, json_object *now,
				double seconds)
{
	json_object *o = json_object_new_object();

	cli_json_add_u64(o, "mounts", number(now, "mounts"));
	cli_json_add_u64(o, "in_flight", number(now, "in_flight"));
	add_rate(o, "requests_per_second",
		 grown(requests_of(before), requests_of(now)), seconds);
	add_rate(o, "read_bytes_per_second",
		 grown(number(before, "read_bytes"), number(now, "read_bytes")),
		 seconds);
	add_rate(o, "written_bytes_per_second",
		 grown(number(before, "written_bytes"),
		       number(now, "written_bytes")),
		 seconds);
	return o;
}

static json_object *pool_rates(json_object *before, json_object *now,
			       double seconds)
{
	uint64_t segment = number(now, "segment_bytes");
	json_object *o = json_object_new_object();

	cli_json_add_u64(o, "capacity_bytes",
			 number(now, "segments") * segment);
	cli_json_add_u64(o, "free_bytes",
			 number(now, "segments_free") * segment);
	cli_json_add_u64(o, "log_bytes", number(now, "log_bytes"));
	cli_json_add_u64(o, "log_used_bytes", number(now, "log_used_bytes"));
	cli_json_add_u64(o, "branches_active", number(now, "branches_active"));
	cli_json_add_u64(o, "branches_sealed", number(now, "branches_sealed"));
	cli_json_add_u64(o, "branches_damaged",
			 number(now, "branches_damaged"));
	cli_json_add_u64(o, "branch_slots", number(now, "branch_slots"));
	add_rate(o, "created_per_second",
		 grown(number(before, "branches_created"),
		       number(now, "branches_created")),
		 seconds);
	add_rate(o, "ended_per_second",
		 grown(number(before, "branches_ended"),
		       number(now, "branches_ended")),
		 seconds);
	add_rate(o, "syncs_per_second",
		 grown(number(before, "syncs"), number(now, "syncs")), seconds);
	add_rate(o, "log_written_bytes_per_second",
		 grown(number(before, "log_written_bytes"),
		       number(now, "log_written_bytes")),
		 seconds);
	return o;
}

json_object *top_rates(json_object *before, json_object *now)
{
	uint64_t ns = before ? grown(number(before, "time_ns"),
				     number(now, "time_ns"))
			     : 0;
	json_object *o = json_object_new_object(), *snapshots;
	double seconds = (double)ns / 1e9;

	cli_json_add_u64(o, "interval_ns", ns);
	cli_json_add(o, "calls",
		     call_rates(member(before, "calls"), member(now, "calls"),
				seconds));
	if ((snapshots = member(now, "snapshots")))
		cli_json_add(o, "snapshots", json_object_get(snapshots));
	if (member(now, "stats"))
		cli_json_add(o, "pool",
			     pool_rates(member(before, "stats"),
					member(now, "stats"), seconds));
	if (member(now, "front"))
		cli_json_add(o, "front",
			     front_rates(member(before, "front"),
					 member(now, "front"), seconds));
	if (member(now, "mounts"))
		cli_json_add(o, "mounts",
			     mount_rates(member(before, "mounts"),
					 member(now, "mounts"), seconds));
	return o;
}
