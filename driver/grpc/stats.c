/* SPDX-License-Identifier: Apache-2.0 */
#include "stats.h"

#include <string.h>

static struct metrics_family calls =
	METRICS_FAMILY(METRICS_HISTOGRAM, "daxfs_grpc_call_seconds",
		       "Time from a call's headers to its answer, by method and status.",
		       "method", "code");
static struct metrics_family open_calls =
	METRICS_FAMILY(METRICS_GAUGE, "daxfs_grpc_calls",
		       "Calls that are open.", NULL, NULL);
static struct metrics_family connections =
	METRICS_FAMILY(METRICS_GAUGE, "daxfs_grpc_connections",
		       "Connections that are open.", NULL, NULL);
static struct metrics_family accepted =
	METRICS_FAMILY(METRICS_COUNTER, "daxfs_grpc_connections_total",
		       "Connections that were served or refused.", "outcome",
		       NULL);
static struct metrics_family received =
	METRICS_FAMILY(METRICS_COUNTER, "daxfs_grpc_received_bytes_total",
		       "Bytes from clients.", NULL, NULL);
static struct metrics_family sent =
	METRICS_FAMILY(METRICS_COUNTER, "daxfs_grpc_sent_bytes_total",
		       "Bytes to clients.", NULL, NULL);

void grpc_stats_call_began(void)
{
	metrics_add(&open_calls, NULL, NULL, 1);
}

void grpc_stats_call_ended(const char *path, enum grpc_status status,
			   uint64_t ns)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	metrics_add(&open_calls, NULL, NULL, -1);
	metrics_observe(&calls, slash ? slash + 1 : "unknown",
			grpc_status_name(status), ns);
}

void grpc_stats_connected(void)
{
	metrics_add(&connections, NULL, NULL, 1);
	metrics_add(&accepted, "served", NULL, 1);
}

void grpc_stats_disconnected(void)
{
	metrics_add(&connections, NULL, NULL, -1);
}

void grpc_stats_refused(void)
{
	metrics_add(&accepted, "refused", NULL, 1);
}

void grpc_stats_received(size_t bytes)
{
	metrics_add(&received, NULL, NULL, (int64_t)bytes);
}

void grpc_stats_sent(size_t bytes)
{
	metrics_add(&sent, NULL, NULL, (int64_t)bytes);
}

void grpc_stats_render(struct metrics_text *t)
{
	metrics_render(&calls, t);
	metrics_render(&open_calls, t);
	metrics_render(&connections, t);
	metrics_render(&accepted, t);
	metrics_render(&received, t);
	metrics_render(&sent, t);
}
