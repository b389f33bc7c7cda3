/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers in Prometheus' text format. */
#include <errno.h>

#include "../common/util.h"
#include "monitor.h"

#ifndef DAXFS_VERSION_STRING
#define DAXFS_VERSION_STRING "unknown"
#endif

static struct metrics_family calls =
	METRICS_FAMILY(METRICS_HISTOGRAM, "daxfs_snapshotter_call_seconds",
		       "Time that calls of the JSON interface took, by method and outcome.",
		       "method", "code");

void monitor_observe(void *arg, const char *method, const char *error,
		     uint64_t ns)
{
	(void)arg;
	metrics_observe(&calls, method, *error ? error : "OK", ns);
}

/* ---- As JSON --------------------------------------------------------------- */

static bool add(json_object *o, const char *key, json_object *value)
{
	if (value && json_object_object_add(o, key, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

static json_object *bucket_list(const uint64_t *buckets)
{
	json_object *a = json_object_new_array();

	for (unsigned i = 0; a && i < METRICS_BUCKETS; i++) {
		json_object *n = json_object_new_uint64(buckets[i]);

		if (n && json_object_array_add(a, n) == 0)
			continue;
		json_object_put(n);
		json_object_put(a);
		a = NULL;
	}
	return a;
}

static void add_call(void *arg, const char *method, const char *code,
		     uint64_t total, const uint64_t *buckets)
{
	json_object *o = json_object_new_object(), **list = arg;

	if (*list && o && add(o, "method", json_object_new_string(method)) &&
	    add(o, "code", json_object_new_string(code)) &&
	    add(o, "count", json_object_new_uint64(metrics_count(buckets))) &&
	    add(o, "total_ns", json_object_new_uint64(total)) &&
	    add(o, "buckets", bucket_list(buckets)) &&
	    json_object_array_add(*list, o) == 0)
		return;
	json_object_put(o);
	json_object_put(*list);
	*list = NULL;
}

json_object *monitor_calls(void)
{
	json_object *list = json_object_new_array();

	metrics_walk(&calls, add_call, &list);
	return list;
}

/* ---- As text --------------------------------------------------------------- */

struct row {
	const char *key; /* in the answer of daxfs-fuse */
	enum metrics_kind kind;
	const char *name, *help;
};

static const struct row region_rows[] = {
	{ "total_bytes", METRICS_GAUGE, "daxfs_region_size_bytes",
	  "Size of the pool's region." },
	{ "branch_slots", METRICS_GAUGE, "daxfs_region_branch_slots",
	  "Branches that the region can hold." },
	{ "data_bytes", METRICS_GAUGE, "daxfs_region_data_bytes",
	  "File data that branches own." },
	{ "log_bytes", METRICS_GAUGE, "daxfs_region_log_bytes",
	  "Space that the logs of branches have." },
	{ "log_used_bytes", METRICS_GAUGE, "daxfs_region_log_used_bytes",
	  "Space that the logs of branches have filled." },
	{ "log_written_bytes", METRICS_COUNTER,
	  "daxfs_region_log_written_bytes_total", "Log entries written." },
	{ "compactions", METRICS_COUNTER, "daxfs_region_compactions_total",
	  "Logs that were shortened." },
	{ "branches_created", METRICS_COUNTER,
	  "daxfs_region_branches_created_total", "Branches created." },
	{ "branches_ended", METRICS_COUNTER,
	  "daxfs_region_branches_ended_total", "Branches ended." },
	{ "seals", METRICS_COUNTER, "daxfs_region_seals_total",
	  "Branches sealed." },
	{ "commits", METRICS_COUNTER, "daxfs_region_commits_total",
	  "Branches merged into main." },
	{ "leases_broken", METRICS_COUNTER, "daxfs_region_leases_broken_total",
	  "Leases taken from processes that had died." },
	{ "syncs", METRICS_COUNTER, "daxfs_region_syncs_total",
	  "Times that something was made durable." },
	{ "sync_bytes", METRICS_COUNTER, "daxfs_region_sync_bytes_total",
	  "Bytes that were given to be made durable." },
};

static const struct row front_rows[] = {
	{ "mounts", METRICS_GAUGE, "daxfs_fuse_mounts", "Mounted branches." },
	{ "in_flight", METRICS_GAUGE, "daxfs_fuse_requests_in_flight",
	  "FUSE requests that are being served." },
	{ "read_bytes", METRICS_COUNTER, "daxfs_fuse_read_bytes_total",
	  "Bytes read through FUSE; what the kernel caches is read once." },
	{ "written_bytes", METRICS_COUNTER, "daxfs_fuse_written_bytes_total",
	  "Bytes written through FUSE." },
};

int64_t monitor_number(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_int64(v)
						     : 0;
}

static void put_rows(const struct row *rows, size_t n, json_object *o,
		     struct metrics_text *t)
{
	for (size_t i = 0; i < n; i++)
		metrics_single(t, rows[i].kind, rows[i].name, rows[i].help,
			       monitor_number(o, rows[i].key));
}

static void put_region(json_object *o, struct metrics_text *t)
{
	static const char branches[] = "daxfs_region_branches";
	int64_t segment = monitor_number(o, "segment_bytes");
	int64_t segments = monitor_number(o, "segments");
	int64_t left = monitor_number(o, "segments_free");

	put_rows(region_rows, ARRAY_SIZE(region_rows), o, t);
	metrics_single(t, METRICS_GAUGE, "daxfs_region_capacity_bytes",
		       "Space for the branches' logs and data.",
		       segments * segment);
	metrics_single(t, METRICS_GAUGE, "daxfs_region_used_bytes",
		       "Of the capacity, what branches have.",
		       (segments - left) * segment);
	metrics_single(t, METRICS_GAUGE, "daxfs_region_free_bytes",
		       "Of the capacity, what is free.", left * segment);
	metrics_head(t, METRICS_GAUGE, branches, "Branches by state.");
	metrics_value(t, branches, "state", "active",
		      monitor_number(o, "branches_active"));
	metrics_value(t, branches, "state", "sealed",
		      monitor_number(o, "branches_sealed"));
	metrics_value(t, branches, "state", "damaged",
		      monitor_number(o, "branches_damaged"));
	metrics_head(t, METRICS_COUNTER, "daxfs_region_sync_seconds_total",
		     "Time spent on making things durable.");
	metrics_seconds(t, "daxfs_region_sync_seconds_total", NULL, NULL,
			(uint64_t)monitor_number(o, "sync_ns"));
}

static void put_requests(json_object *front, struct metrics_text *t)
{
	static const char name[] = "daxfs_fuse_requests_total";
	json_object *requests;

	if (!json_object_object_get_ex(front, "requests", &requests) ||
	    !json_object_is_type(requests, json_type_object))
		return;
	metrics_head(t, METRICS_COUNTER, name, "FUSE requests by operation.");
	json_object_object_foreach(requests, op, n)
		metrics_value(t, name, "op", op, json_object_get_int64(n));
}

static void put_errors(json_object *front, struct metrics_text *t)
{
	struct metrics_family f =
		METRICS_FAMILY(METRICS_COUNTER, "daxfs_fuse_errors_total",
			       "FUSE requests answered with an error.", "op",
			       "error");
	json_object *list, *op, *error;

	if (!json_object_object_get_ex(front, "errors", &list) ||
	    !json_object_is_type(list, json_type_array))
		return;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		json_object *o = json_object_array_get_idx(list, i);

		if (json_object_object_get_ex(o, "op", &op) &&
		    json_object_object_get_ex(o, "error", &error))
			metrics_add(&f, json_object_get_string(op),
				    json_object_get_string(error),
				    monitor_number(o, "count"));
	}
	metrics_render(&f, t);
	metrics_clear(&f);
	pthread_mutex_destroy(&f.lock);
}

static void put_pool(const struct monitor_look *l, struct metrics_text *t)
{
	json_object *o;

	metrics_single(t, METRICS_GAUGE, "daxfs_region_up",
		       "Does daxfs-fuse answer? If not, what it counts is "
		       "left out.",
		       l->pool != NULL);
	if (l->pool && json_object_object_get_ex(l->pool, "stats", &o))
		put_region(o, t);
	if (!l->pool || !json_object_object_get_ex(l->pool, "front", &o))
		return;
	put_rows(front_rows, ARRAY_SIZE(front_rows), o, t);
	put_requests(o, t);
	put_errors(o, t);
}

static void put_snapshots(const struct monitor_look *l, struct metrics_text *t)
{
	static const char name[] = "daxfs_snapshotter_snapshots";
	static const char unfinished[] = "daxfs_snapshotter_unfinished";

	metrics_head(t, METRICS_GAUGE, name, "Snapshots by kind.");
	for (int k = KIND_VIEW; k <= KIND_COMMITTED; k++)
		metrics_value(t, name, "kind",
			      snapshot_kind_name((enum snapshot_kind)k),
			      l->counts.ready[k]);
	metrics_head(t, METRICS_GAUGE, unfinished,
		     "Snapshots that a call works on, or did not end.");
	metrics_value(t, unfinished, "state", "preparing", l->counts.preparing);
	metrics_value(t, unfinished, "state", "committing",
		      l->counts.committing);
	metrics_single(t, METRICS_GAUGE, "daxfs_snapshotter_removed_waiting",
		       "Removed snapshots that wait to be freed.",
		       l->counts.removing);
	metrics_single(t, METRICS_GAUGE, "daxfs_snapshotter_lost",
		       "Snapshots whose branch the pool does not have.",
		       l->lost);
}

void monitor_render(struct monitor *m, const struct monitor_look *l,
		    struct metrics_text *t)
{
	static const char start[] = "daxfs_snapshotter_start_time_seconds";
	static const char info[] = "daxfs_snapshotter_info";

	metrics_head(t, METRICS_GAUGE, info, "Version of the program.");
	metrics_value(t, info, "version", DAXFS_VERSION_STRING, 1);
	metrics_head(t, METRICS_GAUGE, start,
		     "When the process started, since the epoch.");
	metrics_seconds(t, start, NULL, NULL, (uint64_t)m->started_ns);
	put_snapshots(l, t);
	metrics_render(&calls, t);
	put_pool(l, t);
}
