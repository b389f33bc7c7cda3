/* SPDX-License-Identifier: Apache-2.0 */
#include "image_internal.h"

/*
 * The output is written with system calls and not through its mapping: a full
 * disk is then ENOSPC and not SIGBUS.
 */
int image_pwrite(int fd, const void *p, size_t n, u64 off)
{
	const char *b = p;

	while (n) {
		ssize_t k = pwrite(fd, b, n, (off_t)off);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		if (k == 0)
			return -EIO;
		b += k;
		n -= (size_t)k;
		off += (u64)k;
	}
	return 0;
}

int image_out_flush(struct image_out *o)
{
	int rc = image_pwrite(o->fd, o->buf, o->used, o->at);

	if (rc < 0)
		return rc;
	o->at += o->used;
	o->used = 0;
	return 0;
}

int image_out_write(struct image_out *o, const void *p, size_t n)
{
	const char *b = p;

	while (n) {
		size_t k = IMAGE_BUF - o->used;

		if (k > n)
			k = n;
		memcpy(o->buf + o->used, b, k);
		o->used += k;
		b += k;
		n -= k;
		if (o->used == IMAGE_BUF) {
			int rc = image_out_flush(o);

			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

int image_out_zero(struct image_out *o, u64 n)
{
	static const char zeros[DAXFS_BLOCK_SIZE];

	while (n) {
		size_t k = n < sizeof(zeros) ? (size_t)n : sizeof(zeros);
		int rc = image_out_write(o, zeros, k);

		if (rc < 0)
			return rc;
		n -= k;
	}
	return 0;
}
