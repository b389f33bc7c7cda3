/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call was made, the snapshotter ended before its answer came, and the call
 * was made again to its successor, which says no. Was it done the first time?
 *
 * Remove: NotFound is what was wanted. Prepare and View: AlreadyExists is our
 * own work when the snapshot is younger than the call and is what the call asks
 * for. Commit: the same, and the key has to be gone. All other calls change
 * nothing when they are done twice.
 */
#ifndef DAXFS_GRPC_REPEAT_H
#define DAXFS_GRPC_REPEAT_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver/ipc/varlink.h"
#include "method.h"

struct grpc_repeat_query {
	enum grpc_repeat repeat;
	struct varlink_client *client;
	json_object *params; /* of the call */
	int64_t since_ns;    /* grpc_repeat_clock() before it was first made */
	int timeout_ms;
	bool view; /* it was View, not Prepare */
};

/* The clock that snapshots' times come from, in ns. */
int64_t grpc_repeat_clock(void);

/*
 * `e` is the second answer. 0: it was done, *reply is the answer that was lost
 * (the caller's to put). -EREMOTEIO: it was not, `e` stands. Other -errno: the
 * connection broke again.
 */
int grpc_repeat_settle(const struct grpc_repeat_query *q,
		       const struct varlink_error *e, json_object **reply);

#endif
