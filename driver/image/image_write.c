/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

#include "image_internal.h"

struct writer {
	struct image *im;
	struct image_out out; /* metadata; its buffer also carries file data */
	u64 base;             /* of the image in the file */
	u64 done;
	image_progress_fn fn;
	void *arg;
};

/* ---- File data ------------------------------------------------------------ */

/* The CRC of what was hashed, followed by `n` zeros, in O(log n). */
static u32 crc_times(const u32 m[32], u32 v)
{
	u32 r = 0;
	int i;

	for (i = 0; v; i++, v >>= 1)
		if (v & 1)
			r ^= m[i];
	return r;
}

static u32 crc_zeros(u32 crc, u64 n)
{
	u32 m[32], sq[32], v = ~crc;
	int i;

	/* m: one zero bit, then squared three times: one zero byte */
	m[0] = 0x82f63b78u;
	for (i = 1; i < 32; i++)
		m[i] = 1u << (i - 1);
	for (n <<= 3; n; n >>= 1) {
		if (n & 1)
			v = crc_times(m, v);
		for (i = 0; i < 32; i++)
			sq[i] = crc_times(m, m[i]);
		memcpy(m, sq, sizeof(m));
	}
	return ~v;
}

/* Copy [from, to) of an open file. 0, -errno, or 1: the file is shorter. */
static int copy_range(struct writer *wr, int fd, u64 at, u64 from, u64 to,
		      u32 *crc)
{
	int rc;

	while (from < to) {
		size_t want =
			to - from < IMAGE_BUF ? (size_t)(to - from) : IMAGE_BUF;
		ssize_t n = pread(fd, wr->out.buf, want, (off_t)from);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 1;
		*crc = port_crc32c(*crc, wr->out.buf, (size_t)n);
		rc = image_pwrite(wr->out.fd, wr->out.buf, (size_t)n,
				  at + from);
		if (rc < 0)
			return rc;
		from += (u64)n;
		wr->done += (u64)n;
		if (wr->fn)
			wr->fn(wr->arg, wr->done, wr->im->data_bytes);
	}
	return 0;
}

static int copy_data(struct writer *wr, int fd, struct image_inode *n)
{
	u64 at = wr->base + n->data_offset;
	u64 pos = 0;
	u32 crc = 0;
	int rc = 0;

	while (!rc && pos < n->size) {
		off_t data = lseek(fd, (off_t)pos, SEEK_DATA);
		off_t hole = (off_t)n->size;

		if (data < 0 && errno == ENXIO)
			data = (off_t)n->size; /* only a hole is left */
		else if (data < 0)
			data = (off_t)pos; /* holes are not told */
		else
			hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0 || hole > (off_t)n->size)
			hole = (off_t)n->size;
		if (data > (off_t)n->size)
			data = (off_t)n->size;
		if (hole < data)
			hole = data;
		if (data > (off_t)pos)
			crc = crc_zeros(crc, (u64)data - pos);
		wr->done += (u64)data - pos;
		rc = copy_range(wr, fd, at, (u64)data, (u64)hole, &crc);
		pos = (u64)hole;
	}
	n->data_crc = crc;
	return rc;
}

static bool same(const struct image_inode *n, const struct stat *st)
{
	return n->dev == st->st_dev && n->ino == st->st_ino &&
	       n->mode == st->st_mode &&
	       n->mtime.tv_sec == st->st_mtim.tv_sec &&
	       n->mtime.tv_nsec == st->st_mtim.tv_nsec &&
	       n->ctime.tv_sec == st->st_ctim.tv_sec &&
	       n->ctime.tv_nsec == st->st_ctim.tv_nsec &&
	       (!S_ISREG(n->mode) || n->size == (u64)st->st_size);
}

static int copy_file(struct image_walk *w, struct writer *wr, const char *name,
		     struct image_inode *n, struct daxfs_message *msg)
{
	cleanup_close int fd = -1;
	struct stat st;
	int rc;

	fd = openat(w->fd, name,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ELOOP))
		return image_fail_changed(w, name, msg);
	if (fd < 0 || fstat(fd, &st) < 0)
		return image_fail(w, errno, msg, name, "cannot open: %s",
				  log_err(errno));
	if (!same(n, &st))
		return image_fail_changed(w, name, msg);
	rc = copy_data(wr, fd, n);
	if (rc < 0)
		return image_fail(w, -rc, msg, name,
				  "cannot copy into the image: %s",
				  log_err(-rc));
	if (rc > 0 || fstat(fd, &st) < 0 || !same(n, &st))
		return image_fail_changed(w, name, msg);
	n->written = true;
	return 0;
}

/* The regular files of one directory. */
static int write_dir(struct image_walk *w, u32 dir, void *arg,
		     struct daxfs_message *msg)
{
	struct image *im = w->im;
	const struct image_inode *d = &im->inodes[dir];
	struct stat st;
	u32 e;
	int rc = 0;

	if (fstat(w->fd, &st) < 0 || !same(d, &st))
		return image_fail_changed(w, NULL, msg);
	for (e = d->first; !rc && e < d->first + d->count; e++) {
		struct image_inode *n = &im->inodes[im->entries[e].inode];

		if (S_ISREG(n->mode) && n->size && !n->written)
			rc = copy_file(w, arg, im->entries[e].name, n, msg);
	}
	return rc;
}

/* ---- Metadata ------------------------------------------------------------- */

static int seek_out(struct writer *wr, u64 where)
{
	int rc = image_out_flush(&wr->out);

	wr->out.at = wr->base + where;
	return rc;
}

static int write_super(struct writer *wr)
{
	const struct image *im = wr->im;
	struct daxfs_base_super s = {
		.magic = cpu_to_le32(DAXFS_BASE_MAGIC),
		.version = cpu_to_le32(DAXFS_VERSION),
		.block_size = cpu_to_le32(DAXFS_BLOCK_SIZE),
		.total_size = cpu_to_le64(im->size),
		.inode_offset = cpu_to_le64(DAXFS_BLOCK_SIZE),
		.inode_count = cpu_to_le32(im->inode_count),
		.root_inode = cpu_to_le32(DAXFS_ROOT_INO),
		.data_offset = cpu_to_le64(im->data_start),
	};

	if (im->xattr_size) {
		s.xattr_offset = cpu_to_le64(im->data_start);
		s.xattr_size = cpu_to_le64(im->xattr_size);
	}
	return image_out_write(&wr->out, &s, sizeof(s));
}

static int write_inodes(struct writer *wr)
{
	u32 i;
	int rc = 0;

	for (i = 0; !rc && i < wr->im->inode_count; i++) {
		const struct image_inode *n = &wr->im->inodes[i];
		u64 size = S_ISDIR(n->mode)
				   ? (u64)n->count * DAXFS_BASE_DIRENT_SIZE_UNIT
				   : n->size;
		u32 ref = n->xattr_len ? (u32)(n->xattr_offset / 8) + 1 : 0;
		struct daxfs_base_inode bi = {
			.ino = cpu_to_le32(i + 1),
			.mode = cpu_to_le32(n->mode),
			.uid = cpu_to_le32(n->uid),
			.gid = cpu_to_le32(n->gid),
			.size = cpu_to_le64(size),
			.data_offset = cpu_to_le64(n->data_offset),
			.nlink = cpu_to_le32(n->nlink),
			.rdev = cpu_to_le32(n->rdev),
			.mtime_sec = cpu_to_le64((u64)n->mtime.tv_sec),
			.mtime_nsec = cpu_to_le32((u32)n->mtime.tv_nsec),
			.xattr_ref = cpu_to_le32(ref),
			.xattr_len = cpu_to_le32(n->xattr_len),
			.data_crc = cpu_to_le32(n->data_crc),
		};

		rc = image_out_write(&wr->out, &bi, sizeof(bi));
	}
	return rc;
}

static int write_xattrs(struct writer *wr)
{
	u32 i;
	int rc = 0;

	for (i = 0; !rc && i < wr->im->inode_count; i++)
		if (wr->im->inodes[i].xattr_len)
			rc = image_out_write(&wr->out, wr->im->inodes[i].xattrs,
					     wr->im->inodes[i].xattr_len);
	return rc;
}

static int write_dirents(struct writer *wr, const struct image_inode *d)
{
	const struct image *im = wr->im;
	u64 end = (u64)d->count * sizeof(struct daxfs_base_dirent);
	u32 e;
	int rc = 0;

	for (e = d->first; !rc && e < d->first + d->count; e++) {
		const char *name = im->entries[e].name;
		size_t len = strlen(name);
		u32 inode = im->entries[e].inode;
		struct daxfs_base_dirent de = {
			.ino = cpu_to_le32(inode + 1),
			.mode = cpu_to_le32(im->inodes[inode].mode),
			.name_len = cpu_to_le16((u16)len),
		};

		memcpy(de.name, name, len);
		rc = image_out_write(&wr->out, &de, sizeof(de));
	}
	return rc ? rc : image_out_zero(&wr->out, image_align(end) - end);
}

static int write_arrays(struct writer *wr)
{
	const struct image *im = wr->im;
	u32 i;
	int rc = seek_out(wr, im->data_start + image_align(im->xattr_size));

	for (i = 0; !rc && i < im->inode_count; i++)
		if (S_ISDIR(im->inodes[i].mode) && im->inodes[i].count)
			rc = write_dirents(wr, &im->inodes[i]);
	for (i = 0; !rc && i < im->inode_count; i++) {
		if (!im->inodes[i].target)
			continue;
		rc = seek_out(wr, im->inodes[i].data_offset);
		if (!rc)
			rc = image_out_write(&wr->out, im->inodes[i].target,
					     im->inodes[i].size + 1);
	}
	return rc ? rc : image_out_flush(&wr->out);
}

static int write_metadata(struct writer *wr)
{
	int rc = seek_out(wr, 0);

	if (!rc)
		rc = write_super(wr);
	if (!rc)
		rc = seek_out(wr, DAXFS_BLOCK_SIZE);
	if (!rc)
		rc = write_inodes(wr);
	if (!rc)
		rc = seek_out(wr, wr->im->data_start);
	if (!rc)
		rc = write_xattrs(wr);
	return rc ? rc : write_arrays(wr);
}

int image_write(struct image *im, int fd, u64 offset, image_progress_fn fn,
		void *arg, struct daxfs_message *msg)
{
	cleanup_free char *buf = malloc(IMAGE_BUF);
	struct writer wr = {
		.im = im,
		.out = { .fd = fd, .buf = buf },
		.base = offset,
		.fn = fn,
		.arg = arg,
	};
	u32 i;
	int rc;

	if (!buf) {
		snprintf(msg->text, sizeof(msg->text), "out of memory");
		return -ENOMEM;
	}
	for (i = 0; i < im->inode_count; i++)
		im->inodes[i].written = false;
	/* File data first: the inodes hold its checksums. */
	rc = image_walk(im, write_dir, &wr, msg);
	if (rc < 0)
		return rc;
	rc = write_metadata(&wr);
	if (rc < 0) {
		snprintf(msg->text, sizeof(msg->text),
			 "'%.150s': cannot write its image: %s", im->dir,
			 log_err(-rc));
		return rc;
	}
	image_identify(im);
	return 0;
}
