/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/fs.h>
#include <string.h>

#include "ops.h"
#include "raw.h"
#include "resent.h"

/* "." and "..": asked for by file handles (name_to_handle_at and NFS). */
static int lookup_dots(struct daxfs_branch *b, u64 dir, const char *name,
		       struct daxfs_attr *out)
{
	int rc = 0;

	if (name[1])
		rc = daxfs_parent(b, dir, &dir);
	return rc ? rc : daxfs_getattr(b, dir, out);
}

static bool is_dots(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

void op_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct mount *m = ops_mount(req);
	struct fuse_entry_param none = { 0 };
	size_t len = strlen(name);
	struct daxfs_attr a;
	double timeout;
	int rc;

	if (is_dots(name)) {
		rc = lookup_dots(m->branch, dir, name, &a);
		if (rc)
			ops_fail_inode(req, rc);
		else
			ops_reply_entry(req, &a, 0);
		return;
	}
	timeout = ops_name_timeout(m, dir, name, len);
	rc = daxfs_lookup(m->branch, dir, name, len, &a);
	if (!rc) {
		ops_reply_entry(req, &a, timeout);
	} else if (rc == -ENOENT) {
		none.entry_timeout = timeout;
		fuse_reply_entry(req, &none);
	} else {
		ops_fail(req, rc);
	}
}

static int make(fuse_req_t req, fuse_ino_t dir, const char *name,
		struct daxfs_new *in, struct daxfs_attr *out)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	in->uid = ctx->uid;
	in->gid = ctx->gid;
	in->umask = ctx->umask;
	return daxfs_make(ops_mount(req)->branch, dir, name, strlen(name), in,
			  out);
}

static void make_and_reply(fuse_req_t req, fuse_ino_t dir, const char *name,
			   struct daxfs_new *in)
{
	struct daxfs_attr a;
	int rc;

	rc = make(req, dir, name, in, &a);
	if (rc == -EEXIST && raw_resent())
		rc = daxfs_lookup(ops_mount(req)->branch, dir, name,
				  strlen(name), &a);
	if (rc)
		ops_fail(req, rc);
	else
		ops_reply_entry(req, &a, OPS_FOREVER);
}

void op_mknod(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode,
	      dev_t rdev)
{
	struct daxfs_new in = { .mode = mode, .rdev = (u32)rdev };

	make_and_reply(req, dir, name, &in);
}

void op_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode)
{
	struct daxfs_new in = { .mode = S_IFDIR | (mode & 07777) };

	make_and_reply(req, dir, name, &in);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t dir,
		const char *name)
{
	struct daxfs_new in = { .mode = S_IFLNK | 0777, .target = target };

	make_and_reply(req, dir, name, &in);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t dir, const char *name)
{
	struct daxfs_attr a;
	int rc;

	rc = daxfs_link(ops_mount(req)->branch, ino, dir, name, strlen(name),
			&a);
	if (rc == -EEXIST && raw_resent())
		rc = daxfs_lookup(ops_mount(req)->branch, dir, name,
				  strlen(name), &a);
	if (rc)
		ops_fail(req, rc);
	else
		ops_reply_entry(req, &a, OPS_FOREVER);
}

/* That a name is gone, which the kernel found there, was our doing. */
static int unless_done(int rc)
{
	return rc == -ENOENT && raw_resent() ? 0 : rc;
}

void op_unlink(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	ops_done(req, unless_done(daxfs_unlink(ops_mount(req)->branch, dir,
					       name, strlen(name), NULL)));
}

void op_rmdir(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	ops_done(req, unless_done(daxfs_rmdir(ops_mount(req)->branch, dir, name,
					      strlen(name), NULL)));
}

void op_rename(fuse_req_t req, fuse_ino_t dir, const char *name,
	       fuse_ino_t newdir, const char *newname, unsigned flags)
{
	const struct resent_names n = { dir, name, newdir, newname, flags };
	struct mount *m = ops_mount(req);
	struct keep_note note = { .key = 0 };
	u32 f = 0;
	int rc;

	if (flags &
	    ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	if (flags & RENAME_NOREPLACE)
		f |= DAXFS_RENAME_NOREPLACE;
	if (flags & RENAME_EXCHANGE)
		f |= DAXFS_RENAME_EXCHANGE;
	if (flags & RENAME_WHITEOUT)
		f |= DAXFS_RENAME_WHITEOUT;
	if (raw_resent() && resent_rename(m, &n, &note)) {
		fuse_reply_err(req, 0);
		keep_note_done(m->srv, &note);
		return;
	}
	if (flags & RENAME_EXCHANGE)
		resent_note_exchange(m, &n, &note);
	rc = daxfs_rename(m->branch, dir, name, strlen(name), newdir, newname,
			  strlen(newname), f, NULL);
	ops_done(req, rc);
	keep_note_done(m->srv, &note);
}
