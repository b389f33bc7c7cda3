/* SPDX-License-Identifier: Apache-2.0 */
/* What the FUSE operations share. */
#ifndef DAXFS_FUSE_OPS_H
#define DAXFS_FUSE_OPS_H

#include <linux/fuse.h>

#include "server.h"

/* "For ever": the kernel hears of every change. In seconds. */
#define OPS_FOREVER 1e9

static inline struct mount *ops_mount(fuse_req_t req)
{
	(void)req;
	return session_mount();
}

void ops_stat(const struct daxfs_attr *a, struct stat *st);
void ops_entry(const struct daxfs_attr *a, struct fuse_entry_param *e);

/* Is clearing of setuid & co. ours? */
static inline bool ops_kills(const struct mount *m)
{
	return m->init_flags & FUSE_HANDLE_KILLPRIV_V2;
}

/* An inode is being read by this request: see to its atime. */
void ops_touch(fuse_req_t req, u64 ino);

/* Answer with -rc. */
void ops_fail(fuse_req_t req, int rc);
/* The same where the object is an inode number: one that is gone is ESTALE. */
void ops_fail_inode(fuse_req_t req, int rc);
/* The answer of an operation that returns nothing. */
void ops_done(fuse_req_t req, int rc);

/*
 * How long the kernel may keep this name (found or not) of this mount, in
 * seconds; called before the engine is asked.
 */
double ops_name_timeout(struct mount *m, fuse_ino_t dir, const char *name,
			size_t len);

/*
 * Count one lookup of an inode that the kernel is about to hear of; when it
 * does not, ops_unlearn(). -ENOMEM.
 */
int ops_learn(struct mount *m, u64 ino);
void ops_unlearn(struct mount *m, u64 ino, u64 count);

/* Answer with a new entry, which the kernel then knows. */
void ops_reply_entry(fuse_req_t req, const struct daxfs_attr *a,
		     double timeout);

/* privileges: around a change of a file's content that the kernel asks for */

struct priv {
	u64 ino;
	bool kill;       /* the engine's flag DAXFS_*_KILLPRIV is to be set */
	bool changes;    /* the mode will be another */
	bool setgid_too; /* though it is not executable by its group */
	u32 mode;        /* before */
};

/*
 * `kill`: the caller's change ends setuid and setgid. File capabilities end
 * with every change.
 */
int priv_begin(fuse_req_t req, u64 ino, bool kill, struct priv *p);
void priv_end(fuse_req_t req, const struct priv *p); /* after success */
/* For requests where the kernel does not say so. */
bool priv_caller_loses(fuse_req_t req);
/* Does a killing change by this caller leave setgid, if it was set? */
bool priv_keeps_setgid(fuse_req_t req, const struct daxfs_attr *a);

/* inode */
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
		struct fuse_file_info *fi);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup);
void op_forget_multi(fuse_req_t req, size_t count,
		     struct fuse_forget_data *forgets);
void op_statfs(fuse_req_t req, fuse_ino_t ino);

/* names */
void op_lookup(fuse_req_t req, fuse_ino_t dir, const char *name);
void op_mknod(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode,
	      dev_t rdev);
void op_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode);
void op_symlink(fuse_req_t req, const char *target, fuse_ino_t dir,
		const char *name);
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t dir, const char *name);
void op_unlink(fuse_req_t req, fuse_ino_t dir, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t dir, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t dir, const char *name,
	       fuse_ino_t newdir, const char *newname, unsigned flags);

/* directories */
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi);

/* files */
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	     struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size,
	      off_t off, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
	      struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
		  off_t len, struct fuse_file_info *fi);
void op_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_off,
			struct fuse_file_info *from_fi, fuse_ino_t to,
			off_t to_off, struct fuse_file_info *to_fi, size_t len,
			int flags);
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
	      struct fuse_file_info *fi);

/* extended attributes */
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
		 const char *value, size_t size, int flags);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

#endif
