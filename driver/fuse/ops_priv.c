/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a change takes from a file: setuid, setgid and file capabilities. The
 * rules are Linux'; the kernel leaves applying them to the server
 * (HANDLE_KILLPRIV_V2) and says for most requests whether they apply. For
 * fallocate and copy_file_range it does not: there all but root lose them.
 */
#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>

#include "../common/util.h"
#include "ops.h"

#define GROUPS_FIRST 64

static bool setgid_alone(const struct daxfs_attr *a)
{
	return S_ISREG(a->mode) && (a->mode & (S_ISGID | S_IXGRP)) == S_ISGID;
}

static bool has_group(const gid_t *list, int n, gid_t gid)
{
	while (n-- > 0)
		if (list[n] == gid)
			return true;
	return false;
}

/* May the caller have files of this group setgid? */
static bool in_group(fuse_req_t req, gid_t gid)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	cleanup_free gid_t *more = NULL;
	gid_t list[GROUPS_FIRST];
	int n, all;

	if (ctx->uid == 0 || ctx->gid == gid)
		return true;
	n = fuse_req_getgroups(req, GROUPS_FIRST, list);
	if (n <= GROUPS_FIRST)
		return has_group(list, n, gid);
	more = calloc((size_t)n, sizeof(*more));
	if (!more)
		return false;
	all = fuse_req_getgroups(req, n, more);
	return has_group(more, all < n ? all : n, gid);
}

bool priv_keeps_setgid(fuse_req_t req, const struct daxfs_attr *a)
{
	return !setgid_alone(a) || in_group(req, a->gid);
}

static int drop_capability(struct daxfs_branch *b, u64 ino)
{
	static const char name[] = "security.capability";
	int rc;

	if (daxfs_getxattr(b, ino, name, NULL, 0) < 0)
		return 0;
	rc = daxfs_removexattr(b, ino, name);
	return rc == -ENODATA ? 0 : rc;
}

int priv_begin(fuse_req_t req, u64 ino, bool kill, struct priv *p)
{
	struct mount *m = ops_mount(req);
	struct daxfs_attr a;
	int rc;

	*p = (struct priv){ .ino = ino };
	if (!ops_kills(m))
		return 0;
	if (!kill)
		return drop_capability(m->branch, ino);
	rc = daxfs_getattr(m->branch, ino, &a);
	if (rc)
		return rc;
	p->kill = true;
	p->changes = a.mode & (S_ISUID | S_ISGID);
	p->mode = a.mode & 07777;
	p->setgid_too = !priv_keeps_setgid(req, &a);
	return 0;
}

void priv_end(fuse_req_t req, const struct priv *p)
{
	struct daxfs_attr in = { .mode = p->mode & 01777 };
	struct mount *m = ops_mount(req);

	/* The kernel holds the inode's lock: nobody else changes its mode. */
	if (p->setgid_too)
		daxfs_setattr(m->branch, p->ino, DAXFS_SET_MODE, &in, NULL);
	/*
	 * It does not expect the mode to change, and would go by the old one in
	 * exec. Attributes alone: this waits for nothing.
	 */
	if (p->changes)
		session_inval_inode(m, p->ino, -1, 0);
}

bool priv_caller_loses(fuse_req_t req)
{
	return fuse_req_ctx(req)->uid != 0;
}
