/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../common/util.h"
#include "ops.h"

/* A 1 MiB read of single blocks, not aligned, and some of slack. */
#define PIECES_MAX 320
#define HOLE_BYTES 65536u

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
	rc = daxfs_read_pieces(b, ino, job.want, (u64)off, pieces, PIECES_MAX,
			       reply_pieces, &job);
	if (rc == NOT_WHOLE)
		read_copy(req, b, ino, job.want, (u64)off);
	else if (rc < 0)
		ops_fail_inode(req, (int)rc);
}

/*
 * Where clearing is ours (HANDLE_KILLPRIV_V2), every write takes file
 * capabilities away, and one that says so setuid and setgid too.
 */
static int drop_capability(struct daxfs_branch *b, u64 ino)
{
	static const char name[] = "security.capability";
	int rc;

	if (daxfs_getxattr(b, ino, name, NULL, 0) < 0)
		return 0;
	rc = daxfs_removexattr(b, ino, name);
	return rc == -ENODATA ? 0 : rc;
}

static bool has_setid(struct daxfs_branch *b, u64 ino)
{
	struct daxfs_attr a;

	return !daxfs_getattr(b, ino, &a) && (a.mode & (S_ISUID | S_ISGID));
}

static ssize_t write_and_kill(struct mount *m, u64 ino, const char *buf,
			      size_t size, u64 off)
{
	bool had = has_setid(m->branch, ino);
	ssize_t n;

	n = daxfs_write(m->branch, ino, buf, size, off, DAXFS_WRITE_KILLPRIV);
	/*
	 * The kernel does not expect a write to change the mode, and would go
	 * by the old one in exec. Attributes alone: this waits for nothing.
	 */
	if (n >= 0 && had)
		fuse_lowlevel_notify_inval_inode(m->se, ino, -1, 0);
	return n;
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size,
	      off_t off, struct fuse_file_info *fi)
{
	struct mount *m = ops_mount(req);
	ssize_t n;

	if (m->killpriv && loop_write_kills()) {
		n = write_and_kill(m, ino, buf, size, (u64)off);
	} else {
		n = m->killpriv ? drop_capability(m->branch, ino) : 0;
		if (!n)
			n = daxfs_write(m->branch, ino, buf, size, (u64)off, 0);
	}
	/* Of pages written back nobody looks at the count. */
	if (fi->writepage && n >= 0 && (size_t)n < size)
		n = -ENOSPC;
	if (n < 0)
		ops_fail_inode(req, (int)n);
	else
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

/* ---- SEEK_DATA and SEEK_HOLE --------------------------------------------- */

struct seek_job {
	bool hole; /* looked for */
	bool found;
	size_t where; /* bytes passed */
};

static ssize_t seek_pieces(void *ctx, const struct daxfs_piece *p, u32 count)
{
	struct seek_job *job = ctx;
	u32 i;

	for (i = 0; i < count && !job->found; i++) {
		if (!p[i].ptr == job->hole)
			job->found = true;
		else
			job->where += p[i].len;
	}
	return 0;
}

/* The offset or -errno. */
static s64 seek(struct daxfs_branch *b, u64 ino, u64 off, bool hole)
{
	struct daxfs_piece pieces[64];
	struct daxfs_attr a;
	s64 rc;

	rc = daxfs_getattr(b, ino, &a);
	if (rc)
		return rc;
	while (off < a.size) {
		struct seek_job job = { .hole = hole };

		rc = daxfs_read_pieces(b, ino, (size_t)(a.size - off), off,
				       pieces, ARRAY_SIZE(pieces), seek_pieces,
				       &job);
		if (rc < 0)
			return rc;
		if (!job.found && !job.where)
			break;
		off += job.where;
		if (job.found)
			return (s64)off;
	}
	return hole ? (s64)a.size : -ENXIO;
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
	      struct fuse_file_info *fi)
{
	struct daxfs_branch *b = ops_mount(req)->branch;
	struct daxfs_attr a;
	s64 at;

	(void)fi;
	if (whence != SEEK_DATA && whence != SEEK_HOLE) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	at = daxfs_getattr(b, ino, &a);
	if (!at && (off < 0 || (u64)off >= a.size))
		at = -ENXIO;
	else if (!at)
		at = seek(b, ino, (u64)off, whence == SEEK_HOLE);
	if (at < 0)
		ops_fail_inode(req, (int)at);
	else
		fuse_reply_lseek(req, at);
}
