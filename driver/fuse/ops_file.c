/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../common/util.h"
#include "ops.h"
#include "raw.h"

/* A 1 MiB read of single blocks, not aligned, and some of slack. */
#define PIECES_MAX 320
#define HOLE_BYTES 65536u
/* Of one copy_file_range: the caller comes back for more. */
#define COPY_MAX (1u << 30)

static const char zeros[HOLE_BYTES];

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, ENOSYS);
}

struct read_job {
	fuse_req_t req;
	size_t want;
};

#define NOT_WHOLE 1 /* not all pieces fitted: nothing was answered */

/* Answer straight from region memory, which is stable as long as we are here. */
static ssize_t reply_pieces(void *ctx, const struct daxfs_piece *p, u32 count)
{
	struct iovec iov[PIECES_MAX + (1u << 20) / HOLE_BYTES + 1];
	struct read_job *job = ctx;
	size_t total = 0;
	int n = 0;
	u32 i;

	for (i = 0; i < count; i++) {
		size_t left = p[i].len;

		while (left) {
			size_t len = left;

			if ((size_t)n == ARRAY_SIZE(iov))
				return NOT_WHOLE;
			if (!p[i].ptr && len > HOLE_BYTES)
				len = HOLE_BYTES;
			iov[n].iov_base =
				p[i].ptr ? (void *)p[i].ptr : (void *)zeros;
			iov[n++].iov_len = len;
			left -= len;
			total += len;
		}
	}
	if (total < job->want)
		return NOT_WHOLE;
	fuse_reply_iov(job->req, iov, n);
	return 0;
}

/* The kernel takes a short answer for the end of the file: read it all. */
static void read_copy(fuse_req_t req, struct daxfs_branch *b, u64 ino,
		      size_t want, u64 off)
{
	cleanup_free char *buf = malloc(want ? want : 1);
	size_t done = 0;
	ssize_t n = 1;

	if (!buf) {
		ops_fail(req, -ENOMEM);
		return;
	}
	while (done < want && n > 0) {
		n = daxfs_read(b, ino, buf + done, want - done, off + done);
		if (n > 0)
			done += (size_t)n;
	}
	if (n < 0)
		ops_fail_inode(req, (int)n);
	else
		fuse_reply_buf(req, buf, done);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	     struct fuse_file_info *fi)
{
	struct daxfs_branch *b = ops_mount(req)->branch;
	struct daxfs_piece pieces[PIECES_MAX];
	struct read_job job = { .req = req, .want = size };
	struct daxfs_attr a;
	ssize_t rc;

	(void)fi;
	rc = daxfs_getattr(b, ino, &a);
	if (rc) {
		ops_fail_inode(req, (int)rc);
		return;
	}
	if ((u64)off >= a.size) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	if (job.want > a.size - (u64)off)
		job.want = (size_t)(a.size - (u64)off);
	ops_touch(req, ino);
	rc = daxfs_read_pieces(b, ino, job.want, (u64)off, pieces, PIECES_MAX,
			       reply_pieces, &job);
	if (rc == NOT_WHOLE)
		read_copy(req, b, ino, job.want, (u64)off);
	else if (rc < 0)
		ops_fail_inode(req, (int)rc);
}

/* Only `done` bytes were written: the others, or the reason. */
static ssize_t write_rest(struct daxfs_branch *b, u64 ino, const char *buf,
			  size_t size, u64 off, ssize_t done)
{
	size_t at = (size_t)done;
	ssize_t n = daxfs_write(b, ino, buf + at, size - at, off + at, 0);

	if (n < 0)
		return n;
	return at + (size_t)n < size ? -ENOSPC : (ssize_t)size;
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size,
	      off_t off, struct fuse_file_info *fi)
{
	struct mount *m = ops_mount(req);
	struct priv p = { 0 };
	ssize_t n = 0;

	/* What was written through a mapping leaves them. */
	if (!fi->writepage)
		n = priv_begin(req, ino, raw_flags() & FUSE_WRITE_KILL_SUIDGID,
			       &p);
	if (!n)
		n = daxfs_write(m->branch, ino, buf, size, (u64)off,
				p.kill ? DAXFS_WRITE_KILLPRIV : 0);
	/*
	 * Of pages written back nobody looks at the count, and of a direct
	 * write the kernel makes EIO of a short one.
	 */
	if ((fi->writepage || (fi->flags & O_DIRECT)) && n >= 0 &&
	    (size_t)n < size)
		n = write_rest(m->branch, ino, buf, size, (u64)off, n);
	if (n < 0) {
		ops_fail_inode(req, (int)n);
		return;
	}
	priv_end(req, &p);
	fuse_reply_write(req, (size_t)n);
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
		  off_t len, struct fuse_file_info *fi)
{
	u32 how = 0;
	struct priv p;
	int rc = 0;

	(void)fi;
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE |
		     FALLOC_FL_ZERO_RANGE | FALLOC_FL_COLLAPSE_RANGE |
		     FALLOC_FL_INSERT_RANGE))
		rc = -EOPNOTSUPP;
	if (mode & FALLOC_FL_KEEP_SIZE)
		how |= DAXFS_FALLOC_KEEP_SIZE;
	if (mode & FALLOC_FL_PUNCH_HOLE)
		how |= DAXFS_FALLOC_PUNCH;
	if (mode & FALLOC_FL_ZERO_RANGE)
		how |= DAXFS_FALLOC_ZERO;
	if (mode & FALLOC_FL_COLLAPSE_RANGE)
		how |= DAXFS_FALLOC_COLLAPSE;
	if (mode & FALLOC_FL_INSERT_RANGE)
		how |= DAXFS_FALLOC_INSERT;
	if (!rc)
		rc = priv_begin(req, ino, priv_caller_loses(req), &p);
	if (!rc)
		rc = daxfs_fallocate(ops_mount(req)->branch, ino,
				     how | (p.kill ? DAXFS_FALLOC_KILLPRIV : 0),
				     (u64)off, (u64)len);
	if (rc) {
		ops_fail_inode(req, rc);
		return;
	}
	priv_end(req, &p);
	fuse_reply_err(req, 0);
}

void op_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_off,
			struct fuse_file_info *from_fi, fuse_ino_t to,
			off_t to_off, struct fuse_file_info *to_fi, size_t len,
			int flags)
{
	struct priv p;
	ssize_t n;

	(void)from_fi;
	(void)to_fi;
	if (flags) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	if (len > COPY_MAX)
		len = COPY_MAX;
	n = priv_begin(req, to, priv_caller_loses(req), &p);
	if (!n)
		n = daxfs_copy_range(ops_mount(req)->branch, from,
				     (u64)from_off, to, (u64)to_off, len,
				     p.kill ? DAXFS_WRITE_KILLPRIV : 0);
	if (n < 0) {
		ops_fail_inode(req, (int)n);
		return;
	}
	priv_end(req, &p);
	fuse_reply_write(req, (size_t)n);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
	      struct fuse_file_info *fi)
{
	int rc;

	(void)datasync;
	(void)fi;
	rc = daxfs_fsync(ops_mount(req)->branch, ino);
	if (rc)
		ops_fail_inode(req, rc);
	else
		fuse_reply_err(req, 0);
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
	      struct fuse_file_info *fi)
{
	s64 at = -EINVAL;

	(void)fi;
	if (off < 0)
		at = -ENXIO;
	else if (whence == SEEK_DATA || whence == SEEK_HOLE)
		at = daxfs_seek(ops_mount(req)->branch, ino, (u64)off,
				whence == SEEK_HOLE);
	if (at < 0)
		ops_fail_inode(req, (int)at);
	else
		fuse_reply_lseek(req, at);
}
