/* SPDX-License-Identifier: Apache-2.0 */
#include "branches_reply.h"

#include <stdarg.h>
#include <stdio.h>

#include "../common/log.h"
#include "../common/util.h"
#include "branches_json.h"

/* ---- Errors -------------------------------------------------------------- */

static const char *error_name(int err)
{
	switch (err) {
	case ENOENT:
		return "NotFound";
	case EEXIST:
		return "Exists";
	case EBUSY:
		return "Busy";
	case EINVAL:
	case ERANGE:
	case ENAMETOOLONG:
	case ENOTDIR:
	case EPERM:
		return "Invalid";
	case ENOSPC:
	case EDQUOT:
	case EMLINK:
		return "NoSpace";
	case EROFS:
		return "ReadOnly";
	default:
		return "Failed";
	}
}

void branches_fail(struct varlink_call_ctx *ctx, int rc, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	varlink_fail(ctx, error_name(-rc), -rc, "%s", text);
}

/* What is wrong with a branch that is named, and what to do. */
void branches_fail_branch(struct varlink_call_ctx *ctx, int rc,
			  const char *name)
{
	if (rc == -ENOENT)
		branches_fail(ctx, rc, "branch '%s': there is no such branch",
			      name);
	else if (rc == -EPERM)
		branches_fail(ctx, rc,
			      "branch '%s': main cannot be changed; create a branch of it",
			      name);
	else if (rc == -EROFS)
		branches_fail(ctx, rc, "branch '%s': the region is read-only",
			      name);
	else if (rc == -EUCLEAN)
		branches_fail(ctx, rc,
			      "branch '%s' is damaged: delete it, or have 'daxfs-inspect validate --repair' cut its log where the damage begins",
			      name);
	else if (rc == -ERANGE)
		branches_fail(ctx, rc, "branch '%s': a quota is at most %llu",
			      name, DAXFS_QUOTA_MAX);
	else
		branches_fail(ctx, rc, "branch '%s': %s", name, log_err(-rc));
}

void branches_reply_done(struct varlink_call_ctx *ctx, int rc, const char *name)
{
	if (rc)
		branches_fail_branch(ctx, rc, name);
	else
		varlink_reply(ctx, NULL);
}

int branches_get_info(struct branches_service *s, const char *name,
		      struct daxfs_branch_info *info)
{
	struct daxfs_branch *b;
	int rc;

	rc = daxfs_branch_get(s->region, name, &b);
	if (rc)
		return rc;
	rc = daxfs_branch_info(b, info);
	daxfs_branch_put(b);
	/* It has ended between the two. */
	return rc == -ESTALE ? -ENOENT : rc;
}

/* EBUSY of an operation that live children or a seal are in the way of. */
void branches_fail_children(struct branches_service *s,
			    struct varlink_call_ctx *ctx, const char *name)
{
	struct daxfs_branch_info info;

	if (branches_get_info(s, name, &info))
		branches_fail(ctx, -EBUSY, "branch '%s': busy; try again",
			      name);
	else if (!info.children && info.state == DAXFS_BRANCH_SEALED)
		branches_fail(ctx, -EBUSY,
			      "branch '%s' is sealed, and nothing but delete ends it",
			      name);
	else if (!info.children)
		branches_fail(ctx, -EBUSY, "branch '%s': busy; try again",
			      name);
	else
		branches_fail(ctx, -EBUSY,
			      "branch '%s' is the parent of %u live branch%s; end %s first",
			      name, info.children,
			      info.children == 1 ? "" : "es",
			      info.children == 1 ? "it" : "those");
}

void branches_fail_create(struct branches_service *s,
			  struct varlink_call_ctx *ctx, int rc,
			  const char *name, const char *parent)
{
	struct daxfs_region_info r;

	switch (-rc) {
	case EEXIST:
		branches_fail(ctx, rc,
			      "branch '%s': exists already; choose another name or delete it first",
			      name);
		break;
	case ENOENT:
		branches_fail(ctx, rc,
			      "branch '%s': there is no branch '%s' to be its parent",
			      name, parent);
		break;
	case EINVAL:
		branches_fail(ctx, rc,
			      "'%s': not a name for a branch; that is UTF-8, not empty, without '/', ',' and control characters",
			      name);
		break;
	case ENAMETOOLONG:
		branches_fail(ctx, rc,
			      "'%s': too long a name for a branch (%u bytes at most)",
			      name, DAXFS_BRANCH_NAME_MAX);
		break;
	case ENOSPC:
		daxfs_region_info(s->region, &r);
		branches_fail(ctx, rc,
			      "branch '%s': no room for it (%u of %u branches, %llu of %llu segments free); delete branches that are not needed",
			      name, r.branches, r.branch_slots,
			      (unsigned long long)r.segments_free,
			      (unsigned long long)r.segments);
		break;
	case EMLINK:
		branches_fail(ctx, rc,
			      "branch '%s': its parent '%s' is nested as deep as can be (%u)",
			      name, parent, DAXFS_MAX_DEPTH);
		break;
	default:
		branches_fail_branch(ctx, rc, name);
	}
}

/* ---- Replies ------------------------------------------------------------- */

void branches_reply_with(struct varlink_call_ctx *ctx, const char *key,
			 json_object *value)
{
	json_object *reply = json_object_new_object();

	if (!reply || !branches_json_add(reply, key, value)) {
		json_object_put(reply ? reply : value);
		branches_fail(ctx, -ENOMEM, "out of memory");
		return;
	}
	varlink_reply(ctx, reply);
}

int branches_reply_more_with(struct varlink_call_ctx *ctx, const char *key,
			     json_object *value)
{
	json_object *reply = json_object_new_object();

	if (!reply || !branches_json_add(reply, key, value)) {
		json_object_put(reply ? reply : value);
		return -ENOMEM;
	}
	return varlink_reply_more(ctx, reply);
}

static json_object *describe(struct branches_service *s,
			     const struct daxfs_branch_info *info)
{
	json_object *o = branches_json_branch(s, info);

	if (o && !branches_json_add_meta(s, o, info)) {
		json_object_put(o);
		return NULL;
	}
	return o;
}

void branches_reply_branch(struct branches_service *s,
			   struct varlink_call_ctx *ctx, const char *name)
{
	struct daxfs_branch_info info;
	int rc;

	rc = branches_get_info(s, name, &info);
	if (rc)
		branches_fail_branch(ctx, rc, name);
	else
		branches_reply_with(ctx, "branch", describe(s, &info));
}
