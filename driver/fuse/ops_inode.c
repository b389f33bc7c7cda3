/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "ops.h"

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct daxfs_attr a;
	struct stat st;
	int rc;

	(void)fi;
	rc = daxfs_getattr(ops_mount(req)->branch, ino, &a);
	if (rc) {
		ops_fail_inode(req, rc);
		return;
	}
	ops_stat(&a, &st);
	fuse_reply_attr(req, &st, OPS_FOREVER);
}

static struct daxfs_time time_of(const struct timespec *ts)
{
	return (struct daxfs_time){ ts->tv_sec, (u32)ts->tv_nsec };
}

static u32 set_bits(int to_set)
{
	static const struct {
		int fuse;
		u32 ours;
	} map[] = {
		{ FUSE_SET_ATTR_MODE, DAXFS_SET_MODE },
		{ FUSE_SET_ATTR_UID, DAXFS_SET_UID },
		{ FUSE_SET_ATTR_GID, DAXFS_SET_GID },
		{ FUSE_SET_ATTR_SIZE, DAXFS_SET_SIZE },
		{ FUSE_SET_ATTR_ATIME, DAXFS_SET_ATIME },
		{ FUSE_SET_ATTR_MTIME, DAXFS_SET_MTIME },
		{ FUSE_SET_ATTR_ATIME_NOW, DAXFS_SET_ATIME_NOW },
		{ FUSE_SET_ATTR_MTIME_NOW, DAXFS_SET_MTIME_NOW },
		{ FUSE_SET_ATTR_CTIME, DAXFS_SET_CTIME },
	};
	u32 set = 0;
	size_t i;

	for (i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		if (to_set & map[i].fuse)
			set |= map[i].ours;
	if (to_set & FUSE_SET_ATTR_ATIME_NOW)
		set &= ~DAXFS_SET_ATIME;
	if (to_set & FUSE_SET_ATTR_MTIME_NOW)
		set &= ~DAXFS_SET_MTIME;
	return set;
}

/*
 * Does this SETATTR take setuid & co. away? One that sets nothing is what the
 * kernel leaves of chown(-1, -1), which anybody may call on any file: the owner
 * means it. It also leaves that when it has removed file capabilities before a
 * write, of root's too, who writes without taking the rest away.
 */
static bool kills(fuse_req_t req, u64 ino, int to_set,
		  const struct daxfs_attr *a)
{
	struct mount *m = ops_mount(req);
	uid_t uid = fuse_req_ctx(req)->uid;

	/* The protocol's FATTR_KILL_SUIDGID has the bit of KILL_SUID. */
	if (to_set & FUSE_SET_ATTR_KILL_SUID)
		return true;
	if (to_set)
		return false;
	if (uid == 0)
		return __atomic_exchange_n(&m->uncapped, 0, __ATOMIC_RELAXED) !=
		       ino;
	return uid == a->uid;
}

static int add_kill(fuse_req_t req, u64 ino, int to_set, u32 *set,
		    struct daxfs_attr *in)
{
	struct daxfs_attr a;
	int rc;

	if (to_set && !(to_set & FUSE_SET_ATTR_KILL_SUID))
		return 0;
	rc = daxfs_getattr(ops_mount(req)->branch, ino, &a);
	if (rc || !kills(req, ino, to_set, &a))
		return rc;
	*set |= DAXFS_SET_KILLPRIV;
	if (!(*set & DAXFS_SET_MODE) && !priv_keeps_setgid(req, &a)) {
		*set |= DAXFS_SET_MODE;
		in->mode = a.mode & 05777;
	}
	return 0;
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
		struct fuse_file_info *fi)
{
	struct mount *m = ops_mount(req);
	struct daxfs_attr out, in = {
		.mode = st->st_mode & 07777,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.size = (u64)st->st_size,
		.atime = time_of(&st->st_atim),
		.mtime = time_of(&st->st_mtim),
		.ctime = time_of(&st->st_ctim),
	};
	u32 set = set_bits(to_set);
	int rc = 0;

	(void)fi;
	if (ops_kills(m))
		rc = add_kill(req, ino, to_set, &set, &in);
	if (!rc)
		rc = daxfs_setattr(m->branch, ino, set, &in, &out);
	if (rc) {
		ops_fail_inode(req, rc);
		return;
	}
	ops_stat(&out, st);
	fuse_reply_attr(req, st, OPS_FOREVER);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char buf[DAXFS_SYMLINK_MAX + 1];
	ssize_t n;

	n = daxfs_readlink(ops_mount(req)->branch, ino, buf, sizeof(buf) - 1);
	if (n < 0) {
		ops_fail_inode(req, (int)n);
		return;
	}
	buf[n] = '\0';
	ops_touch(req, ino);
	fuse_reply_readlink(req, buf);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	ops_unlearn(ops_mount(req), ino, nlookup);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count,
		     struct fuse_forget_data *forgets)
{
	size_t i;

	for (i = 0; i < count; i++)
		ops_unlearn(ops_mount(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct daxfs_statfs s;
	struct statvfs out;
	int rc;

	(void)ino;
	rc = daxfs_statfs(ops_mount(req)->branch, &s);
	if (rc) {
		ops_fail(req, rc);
		return;
	}
	out = (struct statvfs){
		.f_bsize = DAXFS_BLOCK_SIZE,
		.f_frsize = DAXFS_BLOCK_SIZE,
		.f_blocks = s.blocks,
		.f_bfree = s.bfree,
		.f_bavail = s.bfree,
		.f_files = s.files,
		.f_ffree = s.ffree,
		.f_favail = s.ffree,
		.f_namemax = DAXFS_NAME_MAX,
	};
	fuse_reply_statfs(req, &out);
}
