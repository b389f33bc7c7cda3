/* SPDX-License-Identifier: Apache-2.0 */
/* How the pool does: asked beside the calls, on a connection of its own. */
#include "../common/log.h"
#include "../common/util.h"
#include "pool_client.h"

const char *pool_region(const struct pool *p)
{
	return p->region;
}

int pool_stats(struct pool *p, bool mounts, int timeout_ms, json_object **reply,
	       struct failure *f)
{
	json_object *params = json_object_new_object();
	struct varlink_error e = { 0 };
	struct varlink_client *c;
	int rc;

	if (!params)
		return failure_no_memory(f);
	json_object_object_add(params, "mounts",
			       json_object_new_boolean(mounts));
	rc = varlink_connect(p->control, &c);
	if (rc < 0) {
		json_object_put(params);
		return failure_set(f, FAILURE_UNAVAILABLE, -rc, "%s: %s",
				   p->control, log_err(rc));
	}
	rc = varlink_call(c, "io.daxfs.Branches.GetStats", params, timeout_ms,
			  reply, &e);
	varlink_close(c);
	json_object_put(params);
	if (rc == -ETIMEDOUT)
		return failure_set(f, FAILURE_UNAVAILABLE, ETIMEDOUT,
				   "%s: no answer within %d ms", p->control,
				   timeout_ms);
	if (rc < 0)
		return failure_set(f, FAILURE_UNAVAILABLE, -rc, "%s: %s",
				   p->control, e.message);
	return 0;
}
