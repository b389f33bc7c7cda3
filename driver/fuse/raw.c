/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libfuse 3.14 does not know of the protocol: two kinds of requests are
 * answered here, and what it does not hand on of others is read from their
 * bytes. A request comes from the kernel alone, yet its length is checked.
 */
#include <errno.h>
#include <linux/fuse.h>
#include <sys/uio.h>

#include "../common/log.h"
#include "../common/util.h"
#include "ops.h"
#include "raw.h"
#include "stats.h"

/* Newer than Debian 12's header; numbers and layout are the protocol's. */
#define RAW_STATX 52
#define RAW_NOTIFY_RESEND 7
#define RAW_NOTIFY_INC_EPOCH 8
#define RAW_HAS_RESEND (UINT64_C(1) << 39)
#define RAW_MINOR_EPOCH 44
#define RAW_UNIQUE_RESENT (UINT64_C(1) << 63)

struct raw_statx_in {
	uint32_t getattr_flags;
	uint32_t reserved;
	uint64_t fh;
	uint32_t sx_flags;
	uint32_t sx_mask;
};

struct raw_statx_time {
	int64_t sec;
	uint32_t nsec;
	int32_t reserved;
};

struct raw_statx_out {
	uint64_t attr_valid; /* seconds */
	uint32_t attr_valid_nsec;
	uint32_t flags;
	uint64_t spare[2];
	uint32_t mask;
	uint32_t blksize;
	uint64_t attributes;
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint16_t mode;
	uint16_t spare0;
	uint64_t ino;
	uint64_t size;
	uint64_t blocks;
	uint64_t attributes_mask;
	struct raw_statx_time atime, btime, ctime, mtime;
	uint32_t rdev_major;
	uint32_t rdev_minor;
	uint32_t dev_major;
	uint32_t dev_minor;
	uint64_t spare2[14];
};

_Static_assert(sizeof(struct raw_statx_out) == 32 + 256, "statx layout");

/* Of the request that this thread serves. */
static __thread uint32_t flags_of_request;
static __thread u64 unique_of_request;

uint32_t raw_flags(void)
{
	return flags_of_request;
}

u64 raw_unique(void)
{
	return unique_of_request & ~RAW_UNIQUE_RESENT;
}

bool raw_resent(void)
{
	return unique_of_request & RAW_UNIQUE_RESENT;
}

static int notify(struct mount *m, int code)
{
	struct fuse_out_header h = { .len = sizeof(h), .error = code };

	return write(m->fd, &h, sizeof(h)) < 0 ? -errno : 0;
}

int raw_resend(struct mount *m)
{
	return notify(m, RAW_NOTIFY_RESEND);
}

int raw_expire_names(struct mount *m)
{
	return notify(m, RAW_NOTIFY_INC_EPOCH);
}

/* The fixed part of a request's arguments, NULL if it is shorter. */
static const void *arguments(const struct fuse_in_header *in, size_t len,
			     size_t need)
{
	return len >= sizeof(*in) + need ? in + 1 : NULL;
}

static uint32_t find_flags(const struct mount *m,
			   const struct fuse_in_header *in, size_t len)
{
	const struct fuse_setxattr_in *x;
	const struct fuse_write_in *w;
	const struct fuse_read_in *r;

	switch (in->opcode) {
	case FUSE_READ:
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
		r = arguments(in, len, sizeof(*r));
		return r ? r->flags : 0;
	case FUSE_WRITE:
		w = arguments(in, len, sizeof(*w));
		return w ? w->write_flags : 0;
	case FUSE_SETXATTR:
		x = arguments(in, len, sizeof(*x));
		return x && (m->init_flags & FUSE_SETXATTR_EXT)
			       ? x->setxattr_flags
			       : 0;
	default:
		return 0;
	}
}

/*
 * Can another server go on when this one is killed? Requests must come again;
 * and of main, what the kernel keeps of its names must end without a list.
 */
static bool resumable(const struct mount *m, const struct fuse_init_in *init,
		      bool whole)
{
	u64 flags = init->flags;

	if (!whole || !(flags & FUSE_INIT_EXT))
		return false;
	flags |= (u64)init->flags2 << 32;
	return (flags & RAW_HAS_RESEND) &&
	       (!m->is_main || init->minor >= RAW_MINOR_EPOCH);
}

static void look_at_init(struct mount *m, const struct fuse_in_header *in,
			 size_t len)
{
	/* Old kernels send no more than the flags. */
	const struct fuse_init_in *init =
		arguments(in, len, offsetof(struct fuse_init_in, flags2));

	if (!init)
		return;
	m->resumable =
		len <= sizeof(m->init.request) &&
		resumable(m, init, arguments(in, len, sizeof(*init)) != NULL);
	if (len <= sizeof(m->init.request)) {
		memcpy(m->init.request, in, len);
		m->init.request_len = len;
	}
	m->init_flags =
		init->flags & (FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT);
}

/*
 * A setxattr request has eight bytes more than libfuse expects, between what it
 * knows and the name. The request then begins eight bytes later.
 */
static void *without_extension(struct mount *m, struct fuse_in_header *in,
			       size_t *len)
{
	const size_t known = sizeof(*in) + FUSE_COMPAT_SETXATTR_IN_SIZE;
	const size_t more =
		sizeof(struct fuse_setxattr_in) - FUSE_COMPAT_SETXATTR_IN_SIZE;

	if (in->opcode != FUSE_SETXATTR ||
	    !(m->init_flags & FUSE_SETXATTR_EXT) || *len < known + more)
		return in;
	*len -= more;
	in->len = (uint32_t)*len;
	return memmove((char *)in + more, in, known);
}

void *raw_look(struct mount *m, void *request, size_t *len)
{
	struct fuse_in_header *in = request;

	flags_of_request = find_flags(m, in, *len);
	unique_of_request = in->unique;
	if (in->opcode == FUSE_INIT)
		look_at_init(m, in, *len);
	return without_extension(m, in, len);
}

/* ---- Answers ------------------------------------------------------------- */

static int reply(struct mount *m, const struct fuse_in_header *in, int rc,
		 const void *body, size_t len)
{
	struct fuse_out_header h = {
		.len = (uint32_t)(sizeof(h) + (rc ? 0 : len)),
		.error = rc,
		.unique = in->unique,
	};
	struct iovec v[] = {
		{ &h, sizeof(h) },
		{ (void *)body, len },
	};

	stats_answer(v);
	/* ENOENT: the request was interrupted, nobody waits for the answer. */
	return writev(m->fd, v, rc ? 1 : 2) < 0 ? -errno : 0;
}

static void fill_attr(const struct daxfs_attr *a, struct fuse_attr *out)
{
	*out = (struct fuse_attr){
		.ino = a->ino,
		.size = a->size,
		.blocks = a->blocks,
		.atime = (uint64_t)a->atime.sec,
		.mtime = (uint64_t)a->mtime.sec,
		.ctime = (uint64_t)a->ctime.sec,
		.atimensec = a->atime.nsec,
		.mtimensec = a->mtime.nsec,
		.ctimensec = a->ctime.nsec,
		.mode = a->mode,
		.nlink = a->nlink,
		.uid = a->uid,
		.gid = a->gid,
		.rdev = a->rdev,
		.blksize = DAXFS_BLOCK_SIZE,
	};
}

/* O_TMPFILE. Like a create, the answer has an entry and an open file. */
static void tmpfile_request(struct mount *m, const struct fuse_in_header *in,
			    size_t len)
{
	const struct fuse_create_in *arg = arguments(in, len, sizeof(*arg));
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out = { .entry = { .attr_valid = (uint64_t)OPS_FOREVER },
		  .open = { .open_flags = FOPEN_KEEP_CACHE } };
	struct daxfs_new new = { .uid = in->uid, .gid = in->gid };
	struct daxfs_attr a;
	int rc = -EINVAL;

	if (arg) {
		new.mode = S_IFREG | (arg->mode & 07777);
		new.umask = arg->umask;
		/* The kernel itself keeps O_EXCL files from being linked. */
		rc = daxfs_tmpfile(m->branch, in->nodeid, &new, 0, &a);
	}
	if (!rc)
		rc = ops_learn(m, a.ino);
	if (rc) {
		reply(m, in, rc, NULL, 0);
		return;
	}
	out.entry.nodeid = a.ino;
	fill_attr(&a, &out.entry.attr);
	if (reply(m, in, 0, &out, sizeof(out)))
		ops_unlearn(m, a.ino, 1);
}

static struct raw_statx_time time_out(struct daxfs_time t)
{
	return (struct raw_statx_time){ .sec = t.sec, .nsec = t.nsec };
}

/* stat with the time of birth. */
static void statx_request(struct mount *m, const struct fuse_in_header *in,
			  size_t len)
{
	const struct raw_statx_in *arg = arguments(in, len, sizeof(*arg));
	struct raw_statx_out out;
	struct daxfs_attr a;
	int rc = -EINVAL;

	if (arg)
		rc = daxfs_getattr(m->branch, in->nodeid, &a);
	if (rc) {
		reply(m, in, rc == -ENOENT ? -ESTALE : rc, NULL, 0);
		return;
	}
	out = (struct raw_statx_out){
		.attr_valid = (uint64_t)OPS_FOREVER,
		.mask = STATX_BASIC_STATS | STATX_BTIME,
		.blksize = DAXFS_BLOCK_SIZE,
		.nlink = a.nlink,
		.uid = a.uid,
		.gid = a.gid,
		.mode = (uint16_t)a.mode,
		.ino = a.ino,
		.size = a.size,
		.blocks = a.blocks,
		.atime = time_out(a.atime),
		.btime = time_out(a.btime),
		.ctime = time_out(a.ctime),
		.mtime = time_out(a.mtime),
		.rdev_major = daxfs_major(a.rdev),
		.rdev_minor = daxfs_minor(a.rdev),
	};
	reply(m, in, 0, &out, sizeof(out));
}

bool raw_serve(struct mount *m, const void *request, size_t len)
{
	const struct fuse_in_header *in = request;

	switch (in->opcode) {
	case FUSE_TMPFILE:
		tmpfile_request(m, in, len);
		return true;
	case RAW_STATX:
		statx_request(m, in, len);
		return true;
	default:
		return false;
	}
}
