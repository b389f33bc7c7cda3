/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "../common/util.h"
#include "ops.h"
#include "raw.h"
#include "resent.h"

static bool starts(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

/* Names are in one of these spaces, as on any file system of Linux. */
static int check_name(const char *name)
{
	static const char *const spaces[] = { "user.", "trusted.",
					      "security." };
	static const char *const names[] = { "system.posix_acl_access",
					     "system.posix_acl_default" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(spaces); i++)
		if (starts(name, spaces[i]))
			return name[strlen(spaces[i])] ? 0 : -EINVAL;
	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq(name, names[i]))
			return 0;
	return -EOPNOTSUPP;
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct daxfs_branch *b = ops_mount(req)->branch;
	cleanup_free char *buf = NULL;
	int rc = check_name(name);
	ssize_t n;

	if (rc) {
		ops_fail(req, rc);
		return;
	}
	if (size > DAXFS_XATTR_SIZE_MAX)
		size = DAXFS_XATTR_SIZE_MAX;
	if (size) {
		buf = malloc(size);
		if (!buf) {
			ops_fail(req, -ENOMEM);
			return;
		}
	}
	n = daxfs_getxattr(b, ino, name, buf, size);
	if (n < 0)
		ops_fail_inode(req, (int)n);
	else if (!size)
		fuse_reply_xattr(req, (size_t)n);
	else
		fuse_reply_buf(req, buf, (size_t)n);
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
		 const char *value, size_t size, int flags)
{
	int rc = check_name(name);
	u32 f = 0;

	if (rc) {
		ops_fail(req, rc);
		return;
	}
	if (flags & ~(XATTR_CREATE | XATTR_REPLACE)) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	if (flags & XATTR_CREATE)
		f |= DAXFS_XATTR_CREATE;
	if (flags & XATTR_REPLACE)
		f |= DAXFS_XATTR_REPLACE;
	if (raw_flags() & FUSE_SETXATTR_ACL_KILL_SGID)
		f |= DAXFS_XATTR_KILL_SGID;
	rc = daxfs_setxattr(ops_mount(req)->branch, ino, name, value, size, f);
	if (rc == -EEXIST && raw_resent())
		rc = resent_setxattr(ops_mount(req), ino, name, value, size);
	if (rc)
		ops_fail_inode(req, rc);
	else
		fuse_reply_err(req, 0);
}

/* Names in trusted.* are root's. Returns the length that is left. */
static size_t hide_trusted(char *list, size_t len)
{
	size_t in = 0, out = 0;

	while (in < len) {
		size_t n = strnlen(list + in, len - in) + 1;

		if (n > len - in)
			break;
		if (!starts(list + in, "trusted.")) {
			memmove(list + out, list + in, n);
			out += n;
		}
		in += n;
	}
	return out;
}

/* The whole list, allocated. */
static ssize_t get_list(struct daxfs_branch *b, u64 ino, char **out)
{
	for (;;) {
		ssize_t n = daxfs_listxattr(b, ino, NULL, 0);
		char *buf;

		*out = NULL;
		if (n <= 0)
			return n;
		buf = malloc((size_t)n);
		if (!buf)
			return -ENOMEM;
		n = daxfs_listxattr(b, ino, buf, (size_t)n);
		if (n >= 0) {
			*out = buf;
			return n;
		}
		free(buf);
		/* The list has grown meanwhile. */
		if (n != -ERANGE)
			return n;
	}
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	cleanup_free char *list = NULL;
	ssize_t n;

	n = get_list(ops_mount(req)->branch, ino, &list);
	if (n > 0 && fuse_req_ctx(req)->uid != 0)
		n = (ssize_t)hide_trusted(list, (size_t)n);
	if (n < 0)
		ops_fail_inode(req, (int)n);
	else if (!size)
		fuse_reply_xattr(req, (size_t)n);
	else if ((size_t)n > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, list, (size_t)n);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct mount *m = ops_mount(req);
	int rc = check_name(name);

	if (rc) {
		ops_fail(req, rc);
		return;
	}
	rc = daxfs_removexattr(m->branch, ino, name);
	/* was it there? It is not now, which is what the caller wants */
	if (rc == -ENODATA && raw_resent())
		rc = 0;
	if (!rc && str_eq(name, "security.capability"))
		__atomic_store_n(&m->uncapped, ino, __ATOMIC_RELAXED);
	if (rc)
		ops_fail_inode(req, rc);
	else
		fuse_reply_err(req, 0);
}
