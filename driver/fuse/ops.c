/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of operations, what the connection agrees on, and helpers.
 *
 * Opens are elided: open and opendir answer ENOSYS, after which the kernel
 * opens by itself. That is exact because a superblock is the only way to change
 * its branch: the kernel's size is the size (so appends land at the end), its
 * pages are the data, and O_TRUNC arrives as a SETATTR (ATOMIC_O_TRUNC is off
 * for that). CREATE is not answered either: the kernel then makes a file with
 * MKNOD, which takes no longer, and sends no RELEASE for it. There is no state
 * per open file, and an unlinked file lives until FORGET.
 *
 * flock and POSIX locks stay with the kernel. Permissions are the kernel's to
 * check, with the modes and ACLs that it gets from here.
 */
#include "ops.h"

#include <errno.h>
#include <fcntl.h>

#include "../common/log.h"
#include "raw.h"

#define WANT                                                      \
	(FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS |         \
	 FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_READDIRPLUS |         \
	 FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_CACHE_SYMLINKS |    \
	 FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_ASYNC_DIO |      \
	 FUSE_CAP_NO_OPEN_SUPPORT | FUSE_CAP_NO_OPENDIR_SUPPORT | \
	 FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK)

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	const struct mount *m = session_mount();

	(void)userdata;
	conn->want = conn->capable & WANT;
	/* No request waits outside the queue; flush_mount() counts on it. */
	conn->max_background = 65535;
	conn->congestion_threshold = 64;
	conn->time_gran = 1;
	log_event(LOG_DEBUG, "connection", "branch", m->name, "protocol",
		  log_fmt("%u.%u", conn->proto_major, conn->proto_minor),
		  "max_write", log_fmt("%u", conn->max_write), "killpriv",
		  ops_kills(m) ? "yes" : "no", NULL);
}

const struct fuse_lowlevel_ops mount_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.fsync = op_fsync,
	.fsyncdir = op_fsync,
	.fallocate = op_fallocate,
	.copy_file_range = op_copy_file_range,
	.lseek = op_lseek,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.statfs = op_statfs,
	.getxattr = op_getxattr,
	.setxattr = op_setxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
};

void ops_stat(const struct daxfs_attr *a, struct stat *st)
{
	*st = (struct stat){
		.st_ino = a->ino,
		.st_mode = a->mode,
		.st_nlink = a->nlink,
		.st_uid = a->uid,
		.st_gid = a->gid,
		.st_rdev = a->rdev,
		.st_size = (off_t)a->size,
		.st_blksize = DAXFS_BLOCK_SIZE,
		.st_blocks = (blkcnt_t)a->blocks,
		.st_atim = { a->atime.sec, a->atime.nsec },
		.st_mtim = { a->mtime.sec, a->mtime.nsec },
		.st_ctim = { a->ctime.sec, a->ctime.nsec },
	};
}

void ops_entry(const struct daxfs_attr *a, struct fuse_entry_param *e)
{
	*e = (struct fuse_entry_param){
		.ino = a->ino,
		.attr_timeout = OPS_FOREVER,
		.entry_timeout = OPS_FOREVER,
	};
	ops_stat(a, &e->attr);
}

void ops_touch(fuse_req_t req, u64 ino)
{
	struct mount *m = ops_mount(req);

	/* That reading succeeds is more than that its time is kept. */
	if (!m->readonly && !m->noatime && !(raw_flags() & O_NOATIME))
		(void)daxfs_touch(m->branch, ino);
}

void ops_fail(fuse_req_t req, int rc)
{
	if (rc == -EUCLEAN)
		log_event(LOG_ERROR, "the region is damaged", "branch",
			  ops_mount(req)->name, NULL);
	fuse_reply_err(req, -rc);
}

void ops_fail_inode(fuse_req_t req, int rc)
{
	ops_fail(req, rc == -ENOENT ? -ESTALE : rc);
}

void ops_done(fuse_req_t req, int rc)
{
	if (rc < 0)
		ops_fail(req, rc);
	else
		fuse_reply_err(req, 0);
}

double ops_name_timeout(struct mount *m, fuse_ino_t dir, const char *name,
			size_t len)
{
	/* Only main changes under its mount, by a commit. */
	if (m->is_main && !names_add(&m->names, dir, name, len))
		return 0;
	return OPS_FOREVER;
}

int ops_learn(struct mount *m, u64 ino)
{
	return ino == FUSE_ROOT_ID ? 0 : nodes_add(&m->nodes, ino);
}

void ops_unlearn(struct mount *m, u64 ino, u64 count)
{
	int rc;

	if (!nodes_forget(&m->nodes, ino, count) || m->readonly)
		return;
	rc = daxfs_evict(m->branch, ino);
	/* A branch that is frozen or full now frees the inode when it is next
	 * mounted; one that has ended has no inodes. */
	if (rc && rc != -ESTALE && rc != -EROFS && rc != -ENOSPC)
		log_event(LOG_WARN, "cannot free an inode", "branch", m->name,
			  "inode", log_fmt("%llu", (unsigned long long)ino),
			  "error", log_err(-rc), NULL);
}

void ops_reply_entry(fuse_req_t req, const struct daxfs_attr *a, double timeout)
{
	struct mount *m = ops_mount(req);
	struct fuse_entry_param e;
	int rc;

	rc = ops_learn(m, a->ino);
	if (rc) {
		ops_fail(req, rc);
		return;
	}
	ops_entry(a, &e);
	e.entry_timeout = timeout;
	if (fuse_reply_entry(req, &e))
		ops_unlearn(m, a->ino, 1);
}
