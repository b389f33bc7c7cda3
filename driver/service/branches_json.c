/* SPDX-License-Identifier: Apache-2.0 */
#include "branches_json.h"

#include <stdio.h>
#include <unistd.h>

#include "../common/util.h"

bool branches_json_add(json_object *o, const char *key, json_object *value)
{
	if (value && !json_object_object_add(o, key, value))
		return true;
	json_object_put(value);
	return false;
}

static bool add_int(json_object *o, const char *key, u64 value)
{
	return branches_json_add(o, key, json_object_new_int64((int64_t)value));
}

static bool add_string(json_object *o, const char *key, const char *value)
{
	return branches_json_add(o, key, json_object_new_string(value));
}

static bool add_bool(json_object *o, const char *key, bool value)
{
	return branches_json_add(o, key, json_object_new_boolean(value));
}

static bool add_mountpoints(struct branches_service *s, json_object *o,
			    const char *branch)
{
	json_object *array = json_object_new_array();

	if (array && s->mounter.mountpoints)
		s->mounter.mountpoints(s->mounter.arg, branch, array);
	return branches_json_add(o, "mountpoints", array);
}

static bool fill_branch(struct branches_service *s, json_object *o,
			const struct daxfs_branch_info *i)
{
	const char *state =
		i->state == DAXFS_BRANCH_SEALED ? "sealed" : "active";

	/* Absent: main's parent, a quota that is none, damage that is none. */
	return add_string(o, "name", i->name) && add_int(o, "id", i->id) &&
	       (!i->parent_id || add_string(o, "parent", i->parent)) &&
	       add_string(o, "state", state) &&
	       add_bool(o, "persistent", i->persistent) &&
	       add_int(o, "children", i->children) &&
	       add_int(o, "bytes", i->bytes) &&
	       add_int(o, "inodes", i->inodes) &&
	       add_int(o, "created_ns", i->ctime_ns) &&
	       add_mountpoints(s, o, i->name) &&
	       (!i->damaged || add_bool(o, "damaged", true)) &&
	       (!i->meta_len || (add_int(o, "meta_bytes", i->meta_len) &&
				 add_int(o, "meta_crc", i->meta_crc))) &&
	       (!i->quota_bytes || add_int(o, "quota_bytes", i->quota_bytes)) &&
	       (!i->quota_inodes ||
		add_int(o, "quota_inodes", i->quota_inodes));
}

json_object *branches_json_branch(struct branches_service *s,
				  const struct daxfs_branch_info *info)
{
	json_object *o = json_object_new_object();

	if (o && !fill_branch(s, o, info)) {
		json_object_put(o);
		return NULL;
	}
	return o;
}

bool branches_json_add_meta(struct branches_service *s, json_object *o,
			    const struct daxfs_branch_info *info)
{
	cleanup_free char *text = NULL;
	ssize_t n;

	if (!info->meta_len)
		return true;
	text = malloc(DAXFS_BRANCH_META_MAX + 1);
	if (!text)
		return false;
	n = daxfs_branch_get_meta(s->region, info->name, text,
				  DAXFS_BRANCH_META_MAX);
	if (n < 0)
		return true;
	text[n] = '\0';
	if (strlen(text) != (size_t)n || !is_utf8(text, (size_t)n))
		return true;
	return add_string(o, "meta", text);
}

static void format_uuid(const u8 *u, char out[37])
{
	int n = 0, i;

	for (i = 0; i < 16; i++) {
		bool dash = i == 4 || i == 6 || i == 8 || i == 10;

		n += snprintf(out + n, 37 - (size_t)n, "%s%02x",
			      dash ? "-" : "", u[i]);
	}
}

json_object *branches_json_region(struct branches_service *s)
{
	json_object *o = json_object_new_object();
	struct daxfs_region_info r;
	char uuid[37];

	if (!o)
		return NULL;
	daxfs_region_info(s->region, &r);
	format_uuid(r.uuid, uuid);
	if (add_string(o, "path", s->path) && add_string(o, "uuid", uuid) &&
	    add_bool(o, "readonly", r.readonly) &&
	    add_int(o, "pid", (u64)getpid()) &&
	    add_int(o, "total_bytes", r.total_size) &&
	    add_int(o, "delta_bytes", r.delta_size) &&
	    add_int(o, "free_bytes", r.segments_free * r.segment_size) &&
	    add_int(o, "base_bytes", r.base_size) &&
	    add_int(o, "base_inodes", r.base_inodes) &&
	    add_int(o, "branches", r.branches) &&
	    add_int(o, "branch_slots", r.branch_slots))
		return o;
	json_object_put(o);
	return NULL;
}
