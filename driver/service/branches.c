/* SPDX-License-Identifier: Apache-2.0 */
#include "branches.h"

#include <stdio.h>

#include "../common/fault.h"
#include "../common/log.h"
#include "../common/util.h"
#include "branches_json.h"
#include "branches_reply.h"
#include "branches_stats.h"
#include "io.daxfs.Branches.varlink.h"

/* ---- Looking ------------------------------------------------------------- */

static void get_region(struct varlink_call_ctx *ctx, json_object *params,
		       void *arg)
{
	(void)params;
	branches_reply_with(ctx, "region", branches_json_region(arg));
}

/* A client that asks for more gets them in messages of this many. */
#define LIST_BATCH 256u
#define LIST_BATCH_META 32u

/* Metadata's bytes may become \u00XX each. */
_Static_assert(LIST_BATCH_META *(6 * DAXFS_BRANCH_META_MAX + 8192ull) <
		       VARLINK_MESSAGE_MAX,
	       "a batch fits into a message");

/* At most `max` with ids above *after, which becomes the last one's. */
static int list_some(struct branches_service *s, bool meta, u64 *after, u32 max,
		     json_object **out, u32 *count)
{
	json_object *array = json_object_new_array();
	struct daxfs_branch_info *infos;
	bool ok = array;
	u32 i;
	int rc = daxfs_branch_list_from(s->region, *after, max, &infos, count);

	for (i = 0; !rc && ok && i < *count; i++) {
		json_object *o = branches_json_branch(s, &infos[i]);

		*after = infos[i].id;
		ok = o && (!meta || branches_json_add_meta(s, o, &infos[i])) &&
		     !json_object_array_add(array, o);
		if (!ok)
			json_object_put(o);
	}
	daxfs_free(infos);
	if (!rc && !ok)
		rc = -ENOMEM;
	if (rc)
		json_object_put(array);
	else
		*out = array;
	return rc;
}

static void list(struct varlink_call_ctx *ctx, json_object *params, void *arg)
{
	struct branches_service *s = arg;
	u32 max = ~0u, count;
	json_object *array;
	bool meta = false;
	u64 after = 0;
	int rc;

	if (!varlink_get_bool(ctx, params, "with_meta", false, &meta))
		return;
	if (varlink_wants_more(ctx))
		max = meta ? LIST_BATCH_META : LIST_BATCH;
	for (;;) {
		rc = list_some(s, meta, &after, max, &array, &count);
		if (rc || count < max)
			break;
		rc = branches_reply_more_with(ctx, "branches", array);
		if (rc)
			break;
	}
	if (rc)
		branches_fail(ctx, rc, "cannot list the branches: %s",
			      log_err(-rc));
	else
		branches_reply_with(ctx, "branches", array);
}

static void get(struct varlink_call_ctx *ctx, json_object *params, void *arg)
{
	const char *name;

	if (varlink_get_string(ctx, params, "name", true, &name))
		branches_reply_branch(arg, ctx, name);
}

static void reply_usage(struct branches_service *s,
			struct varlink_call_ctx *ctx, const char *name)
{
	struct daxfs_branch *b;
	u64 bytes, inodes;
	json_object *reply;
	int rc;

	rc = daxfs_branch_get(s->region, name, &b);
	if (!rc) {
		rc = daxfs_usage(b, &bytes, &inodes);
		daxfs_branch_put(b);
	}
	if (rc) {
		branches_fail_branch(ctx, rc == -ESTALE ? -ENOENT : rc, name);
		return;
	}
	reply = json_object_new_object();
	if (!reply ||
	    !branches_json_add(reply, "bytes",
			       json_object_new_int64((int64_t)bytes)) ||
	    !branches_json_add(reply, "inodes",
			       json_object_new_int64((int64_t)inodes))) {
		json_object_put(reply);
		branches_fail(ctx, -ENOMEM, "out of memory");
		return;
	}
	varlink_reply(ctx, reply);
}

static void usage(struct varlink_call_ctx *ctx, json_object *params, void *arg)
{
	const char *name;

	if (!varlink_get_string(ctx, params, "name", true, &name))
		return;
	FAULT_POINT("branches.usage.begun");
	reply_usage(arg, ctx, name);
}

/* ---- Changing ------------------------------------------------------------ */

static int flush(struct branches_service *s, const char *name)
{
	return s->mounter.flush ? s->mounter.flush(s->mounter.arg, name) : 0;
}

static void ended(struct branches_service *s, bool main_changed)
{
	if (s->mounter.ended)
		s->mounter.ended(s->mounter.arg, main_changed);
}

static int mount_branch(struct branches_service *s, const char *name,
			const char *mountpoint, unsigned flags,
			struct daxfs_message *msg)
{
	if (!s->mounter.mount) {
		snprintf(msg->text, sizeof(msg->text),
			 "nothing serves this region that could mount it; start daxfs-fuse");
		return -EOPNOTSUPP;
	}
	return s->mounter.mount(s->mounter.arg, name, mountpoint, flags, msg);
}

/* How to mount. False: answered with an error. */
static bool get_mount_flags(struct varlink_call_ctx *ctx, json_object *params,
			    unsigned *flags)
{
	bool readonly = false, noatime = false;

	if (!varlink_get_bool(ctx, params, "readonly", false, &readonly) ||
	    !varlink_get_bool(ctx, params, "noatime", false, &noatime))
		return false;
	*flags = (readonly ? BRANCHES_MOUNT_READONLY : 0) |
		 (noatime ? BRANCHES_MOUNT_NOATIME : 0);
	return true;
}

/* NULL: none is given. False: answered with an error. */
static bool get_meta(struct varlink_call_ctx *ctx, json_object *params,
		     const char **meta)
{
	*meta = NULL;
	if (!varlink_get_string(ctx, params, "meta", false, meta))
		return false;
	if (!*meta || (strlen(*meta) <= DAXFS_BRANCH_META_MAX &&
		       is_utf8(*meta, strlen(*meta))))
		return true;
	branches_fail(ctx, -EINVAL,
		      "metadata is UTF-8, and at most %u bytes of it",
		      DAXFS_BRANCH_META_MAX);
	return false;
}

/* A new branch with its quota, or none. */
static int make_branch(struct branches_service *s, const char *name,
		       const char *parent, u32 flags, u64 bytes, u64 inodes,
		       const char *meta)
{
	int rc;

	/* JSON could not say any other name again */
	if (!is_utf8(name, strlen(name)))
		return -EINVAL;
	if (bytes > DAXFS_QUOTA_MAX || inodes > DAXFS_QUOTA_MAX)
		return -ERANGE;
	rc = daxfs_branch_create_meta(s->region, name, parent, flags, meta,
				      meta ? strlen(meta) : 0);
	if (rc || (!bytes && !inodes))
		return rc;
	rc = daxfs_branch_set_quota(s->region, name, bytes, inodes);
	if (rc)
		daxfs_branch_delete(s->region, name);
	return rc;
}

static void create(struct varlink_call_ctx *ctx, json_object *params, void *arg)
{
	const char *name, *parent = "main", *mountpoint = NULL, *meta;
	struct branches_service *s = arg;
	struct daxfs_message msg = { "" };
	u64 bytes = 0, inodes = 0;
	bool persistent = false;
	unsigned flags;
	int rc;

	if (!varlink_get_string(ctx, params, "name", true, &name) ||
	    !varlink_get_string(ctx, params, "parent", false, &parent) ||
	    !varlink_get_bool(ctx, params, "persistent", false, &persistent) ||
	    !varlink_get_string(ctx, params, "mountpoint", false,
				&mountpoint) ||
	    !get_mount_flags(ctx, params, &flags) ||
	    !get_meta(ctx, params, &meta) ||
	    !varlink_get_u64(ctx, params, "quota_bytes", false, &bytes) ||
	    !varlink_get_u64(ctx, params, "quota_inodes", false, &inodes))
		return;
	/* The new branch sees what has been written through mappings too. */
	rc = flush(s, parent);
	if (rc && rc != -ENOENT && rc != -ESTALE) {
		branches_fail(ctx, rc,
			      "branch '%s': cannot write its data back: %s",
			      parent, log_err(-rc));
		return;
	}
	rc = make_branch(s, name, parent,
			 persistent ? DAXFS_BRANCH_PERSISTENT : 0, bytes,
			 inodes, meta);
	FAULT_POINT("branches.create.made");
	if (rc) {
		branches_fail_create(s, ctx, rc, name, parent);
		return;
	}
	if (mountpoint)
		rc = mount_branch(s, name, mountpoint, flags, &msg);
	FAULT_POINT("branches.create.mounted");
	if (rc) {
		int undo = daxfs_branch_delete(s->region, name);

		branches_fail(ctx, rc, "%s%s%s", msg.text,
			      undo ? "; the new branch could not be taken back: "
				   : "",
			      undo ? log_err(-undo) : "");
		return;
	}
	branches_reply_branch(s, ctx, name);
}

static void set_quota(struct varlink_call_ctx *ctx, json_object *params,
		      void *arg)
{
	struct branches_service *s = arg;
	struct daxfs_branch_info info;
	u64 bytes, inodes;
	const char *name;
	int rc;

	if (!varlink_get_string(ctx, params, "name", true, &name))
		return;
	rc = branches_get_info(s, name, &info);
	if (rc) {
		branches_fail_branch(ctx, rc, name);
		return;
	}
	bytes = info.quota_bytes;
	inodes = info.quota_inodes;
	if (!varlink_get_u64(ctx, params, "bytes", false, &bytes) ||
	    !varlink_get_u64(ctx, params, "inodes", false, &inodes))
		return;
	rc = daxfs_branch_set_quota(s->region, name, bytes, inodes);
	if (rc)
		branches_fail_branch(ctx, rc == -EINVAL ? -ERANGE : rc, name);
	else
		branches_reply_branch(s, ctx, name);
}

static void seal(struct varlink_call_ctx *ctx, json_object *params, void *arg)
{
	struct branches_service *s = arg;
	const char *name, *meta;
	int rc;

	if (!varlink_get_string(ctx, params, "name", true, &name) ||
	    !get_meta(ctx, params, &meta))
		return;
	FAULT_POINT("branches.seal.begun");
	rc = flush(s, name);
	FAULT_POINT("branches.seal.flushed");
	if (!rc)
		rc = daxfs_branch_seal_meta(s->region, name, meta,
					    meta ? strlen(meta) : 0);
	FAULT_POINT("branches.seal.sealed");
	if (rc)
		branches_reply_done(ctx, rc, name);
	else
		reply_usage(s, ctx, name);
}

static void set_meta(struct varlink_call_ctx *ctx, json_object *params,
		     void *arg)
{
	struct branches_service *s = arg;
	const char *name, *meta;

	if (!varlink_get_string(ctx, params, "name", true, &name) ||
	    !get_meta(ctx, params, &meta))
		return;
	branches_reply_done(ctx,
			    daxfs_branch_set_meta(s->region, name, meta,
						  meta ? strlen(meta) : 0),
			    name);
}

static void commit(struct varlink_call_ctx *ctx, json_object *params, void *arg)
{
	struct branches_service *s = arg;
	struct daxfs_message msg = { "" };
	const char *name;
	int rc;

	if (!varlink_get_string(ctx, params, "name", true, &name))
		return;
	rc = flush(s, name);
	if (!rc)
		rc = daxfs_branch_commit(s->region, name, &msg);
	if (!rc)
		ended(s, true);
	if (rc && *msg.text)
		branches_fail(ctx, rc, "%s", msg.text);
	else if (rc == -EBUSY)
		branches_fail_children(s, ctx, name);
	else
		branches_reply_done(ctx, rc, name);
}

static void abort_branch(struct varlink_call_ctx *ctx, json_object *params,
			 void *arg)
{
	struct branches_service *s = arg;
	const char *name;
	int rc;

	if (!varlink_get_string(ctx, params, "name", true, &name))
		return;
	rc = daxfs_branch_abort(s->region, name);
	if (!rc)
		ended(s, false);
	if (rc == -EBUSY)
		branches_fail_children(s, ctx, name);
	else
		branches_reply_done(ctx, rc, name);
}

/* May it be deleted; if not, the answer is given. */
static bool may_delete(struct branches_service *s, struct varlink_call_ctx *ctx,
		       const char *name, bool force)
{
	struct daxfs_branch_info info;
	int rc;

	rc = branches_get_info(s, name, &info);
	/* nobody can use it; the engine knows of its children */
	if (rc == -EUCLEAN)
		return true;
	if (!rc && !info.parent_id)
		rc = -EPERM;
	if (rc) {
		branches_fail_branch(ctx, rc, name);
		return false;
	}
	if (info.children) {
		branches_fail_children(s, ctx, name);
		return false;
	}
	if (!force && s->mounter.mounted &&
	    s->mounter.mounted(s->mounter.arg, name)) {
		branches_fail(ctx, -EBUSY,
			      "branch '%s' is mounted; unmount it first, or delete it with force",
			      name);
		return false;
	}
	return true;
}

static void delete (struct varlink_call_ctx *ctx, json_object *params,
		    void *arg)
{
	struct branches_service *s = arg;
	bool force = false;
	const char *name;
	int rc = 0;

	if (!varlink_get_string(ctx, params, "name", true, &name) ||
	    !varlink_get_bool(ctx, params, "force", false, &force) ||
	    !may_delete(s, ctx, name, force))
		return;
	if (force && s->mounter.unmount_branch)
		rc = s->mounter.unmount_branch(s->mounter.arg, name);
	FAULT_POINT("branches.delete.unmounted");
	if (!rc)
		rc = daxfs_branch_delete(s->region, name);
	FAULT_POINT("branches.delete.deleted");
	/* a speculative branch has gone with its mounts */
	if (force && rc == -ENOENT)
		rc = 0;
	if (!rc)
		ended(s, false);
	if (rc == -EBUSY)
		branches_fail_children(s, ctx, name);
	else
		branches_reply_done(ctx, rc, name);
}

/* ---- Mounts -------------------------------------------------------------- */

static void mount_method(struct varlink_call_ctx *ctx, json_object *params,
			 void *arg)
{
	struct branches_service *s = arg;
	const char *name, *mountpoint;
	struct daxfs_message msg = { "" };
	struct daxfs_branch_info info;
	bool persistent = false;
	unsigned flags;
	int rc;

	if (!varlink_get_string(ctx, params, "name", true, &name) ||
	    !varlink_get_string(ctx, params, "mountpoint", true, &mountpoint) ||
	    !get_mount_flags(ctx, params, &flags) ||
	    !varlink_get_bool(ctx, params, "persistent", false, &persistent))
		return;
	rc = branches_get_info(s, name, &info);
	if (rc) {
		branches_fail_branch(ctx, rc, name);
		return;
	}
	rc = mount_branch(s, name, mountpoint, flags, &msg);
	FAULT_POINT("branches.mount.mounted");
	if (rc) {
		branches_fail(ctx, rc, "%s", msg.text);
		return;
	}
	if (persistent && info.parent_id && !info.persistent)
		rc = daxfs_branch_set_persistent(s->region, name, true);
	branches_reply_done(ctx, rc, name);
}

static void unmount(struct varlink_call_ctx *ctx, json_object *params,
		    void *arg)
{
	struct branches_service *s = arg;
	struct daxfs_message msg = { "" };
	const char *mountpoint;
	bool keep = false;
	int rc;

	if (!varlink_get_string(ctx, params, "mountpoint", true, &mountpoint) ||
	    !varlink_get_bool(ctx, params, "keep", false, &keep))
		return;
	if (!s->mounter.unmount) {
		branches_fail(ctx, -EINVAL,
			      "'%s': nothing serves this region, so nothing of it is mounted",
			      mountpoint);
		return;
	}
	FAULT_POINT("branches.unmount.begun");
	rc = s->mounter.unmount(s->mounter.arg, mountpoint, keep, &msg);
	FAULT_POINT("branches.unmount.done");
	if (rc)
		branches_fail(ctx, rc, "%s", msg.text);
	else
		varlink_reply(ctx, NULL);
}

static void sync_region(struct varlink_call_ctx *ctx, json_object *params,
			void *arg)
{
	struct branches_service *s = arg;
	int rc;

	(void)params;
	rc = daxfs_region_sync(s->region);
	if (rc)
		branches_fail(ctx, rc, "'%s': cannot sync: %s", s->path,
			      log_err(-rc));
	else
		varlink_reply(ctx, NULL);
}

void branches_interface(struct branches_service *s,
			struct varlink_interface *out)
{
	static const struct varlink_method methods[] = {
		{ "GetRegion", get_region },
		{ "List", list },
		{ "Get", get },
		{ "Create", create },
		{ "Seal", seal },
		{ "Commit", commit },
		{ "Abort", abort_branch },
		{ "Delete", delete },
		{ "Usage", usage },
		{ "SetQuota", set_quota },
		{ "SetMeta", set_meta },
		{ "Mount", mount_method },
		{ "Unmount", unmount },
		{ "Sync", sync_region },
		{ "GetStats", branches_get_stats },
		{ NULL, NULL },
	};

	*out = (struct varlink_interface){
		.name = "io.daxfs.Branches",
		.description = io_daxfs_Branches_varlink,
		.methods = methods,
		.arg = s,
	};
}
