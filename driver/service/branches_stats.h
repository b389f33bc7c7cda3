/* SPDX-License-Identifier: Apache-2.0 */
/* GetStats of io.daxfs.Branches. */
#ifndef DAXFS_BRANCHES_STATS_H
#define DAXFS_BRANCHES_STATS_H

#include "branches.h"

/* `arg`: the struct branches_service. */
void branches_get_stats(struct varlink_call_ctx *ctx, json_object *params,
			void *arg);

#endif
