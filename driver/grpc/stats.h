/* SPDX-License-Identifier: Apache-2.0 */
/* What daxfs-grpc counts. Any thread may count and render. */
#ifndef DAXFS_GRPC_STATS_H
#define DAXFS_GRPC_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "driver/common/metrics.h"
#include "status.h"

/* A call came; `path` is NULL for one that does not exist. */
void grpc_stats_call_began(void);
void grpc_stats_call_ended(const char *path, enum grpc_status status,
			   uint64_t ns);

void grpc_stats_connected(void);
void grpc_stats_disconnected(void);
void grpc_stats_refused(void);
void grpc_stats_received(size_t bytes);
void grpc_stats_sent(size_t bytes);

/* All of it, as Prometheus reads it. */
void grpc_stats_render(struct metrics_text *t);

#endif
