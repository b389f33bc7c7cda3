/* SPDX-License-Identifier: Apache-2.0 */
#include "branches_stats.h"

#include <errno.h>

#include "branches_json.h"
#include "branches_reply.h"

static bool fill(json_object *o, const struct daxfs_region_stats *s)
{
	const struct {
		const char *key;
		u64 value;
	} all[] = {
		{ "branches_created", s->created },
		{ "branches_ended", s->ended },
		{ "seals", s->seals },
		{ "commits", s->commits },
		{ "compactions", s->compactions },
		{ "leases_broken", s->leases_broken },
		{ "log_written_bytes", s->log_written },
		{ "syncs", s->syncs },
		{ "sync_bytes", s->sync_bytes },
		{ "sync_ns", s->sync_ns },
		{ "total_bytes", s->total_size },
		{ "segments", s->segments },
		{ "segments_free", s->segments_free },
		{ "segment_bytes", s->segment_size },
		{ "branch_slots", s->branch_slots },
		{ "branches_active", s->active },
		{ "branches_sealed", s->sealed },
		{ "branches_damaged", s->damaged },
		{ "data_bytes", s->data_bytes },
		{ "log_bytes", s->log_bytes },
		{ "log_used_bytes", s->log_used_bytes },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (!branches_json_add(o, all[i].key,
				       json_object_new_int64(
					       (int64_t)all[i].value)))
			return false;
	return true;
}

static bool add_region(struct branches_service *s, json_object *reply)
{
	json_object *o = json_object_new_object();
	struct daxfs_region_stats stats;

	daxfs_region_stats(s->region, &stats);
	if (o && fill(o, &stats))
		return branches_json_add(reply, "stats", o);
	json_object_put(o);
	return false;
}

static bool add_front(struct branches_service *s, json_object *reply,
		      bool with_mounts)
{
	json_object *front, *mounts = NULL;

	if (!s->mounter.stats)
		return true;
	front = json_object_new_object();
	if (!front || !s->mounter.stats(s->mounter.arg, front,
					with_mounts ? &mounts : NULL)) {
		json_object_put(front);
		return false;
	}
	if (branches_json_add(reply, "front", front) &&
	    (!mounts ||
	     branches_json_add(reply, "mounts", json_object_get(mounts)))) {
		json_object_put(mounts);
		return true;
	}
	json_object_put(mounts);
	return false;
}

void branches_get_stats(struct varlink_call_ctx *ctx, json_object *params,
			void *arg)
{
	json_object *reply;
	bool mounts = false;

	if (!varlink_get_bool(ctx, params, "mounts", false, &mounts))
		return;
	reply = json_object_new_object();
	if (reply && add_region(arg, reply) && add_front(arg, reply, mounts)) {
		varlink_reply(ctx, reply);
		return;
	}
	json_object_put(reply);
	branches_fail(ctx, -ENOMEM, "out of memory");
}
