/* SPDX-License-Identifier: Apache-2.0 */
#include "image_internal.h"

/* Take `len` bytes, from a block boundary to a block boundary. */
static int take(u64 *at, u64 len, u64 *where)
{
	*where = *at;
	if (len > DAXFS_MAX_FILE_SIZE || *at > DAXFS_MAX_FILE_SIZE)
		return -EFBIG;
	*at += image_align(len);
	return 0;
}

static int place_xattrs(struct image *im)
{
	u64 at = 0;
	u32 i;

	for (i = 0; i < im->inode_count; i++) {
		im->inodes[i].xattr_offset = at;
		at += im->inodes[i].xattr_len;
		/* xattr_ref is a u32 that counts eights, plus one */
		if (at / 8 >= UINT32_MAX)
			return -EFBIG;
	}
	im->xattr_size = at;
	return 0;
}

static int place(struct image *im, u64 *at, bool dirs)
{
	u32 i;
	int rc = 0;

	for (i = 0; !rc && i < im->inode_count; i++) {
		struct image_inode *n = &im->inodes[i];
		u64 len = n->size;

		if (S_ISDIR(n->mode) != dirs)
			continue;
		if (dirs)
			len = (u64)n->count * sizeof(struct daxfs_base_dirent);
		else if (n->target)
			len = n->size + 1;
		if (len)
			rc = take(at, len, &n->data_offset);
	}
	return rc;
}

int image_layout(struct image *im, struct daxfs_message *msg)
{
	u64 table = (u64)im->inode_count * sizeof(struct daxfs_base_inode);
	u64 at = DAXFS_BLOCK_SIZE + image_align(table);
	u64 where;
	int rc;

	im->data_start = at;
	rc = place_xattrs(im);
	if (!rc)
		rc = take(&at, im->xattr_size, &where);
	/* Directories side by side: a walk touches few pages. */
	if (!rc)
		rc = place(im, &at, true);
	if (!rc)
		rc = place(im, &at, false);
	im->size = at;
	if (rc < 0)
		snprintf(msg->text, sizeof(msg->text),
			 "'%.150s': too large for one image", im->dir);
	return rc;
}

/*
 * Two lanes of multiply-and-fold over the image's metadata, in which the CRCs
 * stand for the data: names an image, proves nothing.
 */
static void mix(u64 h[2], u64 v)
{
	h[0] = (h[0] ^ v) * 0x9e3779b97f4a7c15ull;
	h[0] ^= h[0] >> 32;
	h[1] = (h[1] + v) * 0xbf58476d1ce4e5b9ull;
	h[1] ^= h[1] >> 29;
}

static void mix_bytes(u64 h[2], const void *p, size_t n)
{
	const unsigned char *b = p;

	mix(h, n);
	while (n) {
		size_t k = n < 8 ? n : 8;
		u64 v = 0;

		memcpy(&v, b, k);
		mix(h, le64_to_cpu(v));
		b += k;
		n -= k;
	}
}

static void mix_inode(u64 h[2], const struct image *im,
		      const struct image_inode *n)
{
	u32 i;

	mix(h, ((u64)n->mode << 32) | n->nlink);
	mix(h, ((u64)n->uid << 32) | n->gid);
	mix(h, ((u64)n->rdev << 32) | n->data_crc);
	mix(h, n->size);
	mix(h, (u64)n->mtime.tv_sec);
	mix(h, (u64)n->mtime.tv_nsec);
	mix_bytes(h, n->xattrs, n->xattr_len);
	if (n->target)
		mix_bytes(h, n->target, n->size);
	for (i = n->first; i < n->first + n->count; i++) {
		mix(h, im->entries[i].inode);
		mix_bytes(h, im->entries[i].name, strlen(im->entries[i].name));
	}
}

void image_identify(struct image *im)
{
	u64 h[2] = { 0x6461786673696d67ull, im->inode_count };
	__le64 le[2];
	u32 i;

	for (i = 0; i < im->inode_count; i++)
		mix_inode(h, im, &im->inodes[i]);
	le[0] = cpu_to_le64(h[0]);
	le[1] = cpu_to_le64(h[1]);
	memcpy(im->uuid, le, sizeof(im->uuid));
	/* RFC 9562: version 8 (free form), variant 10 */
	im->uuid[6] = (im->uuid[6] & 0x0f) | 0x80;
	im->uuid[8] = (im->uuid[8] & 0x3f) | 0x80;
	for (i = 0; i < 2; i++) {
		mix(h, i + 1);
		im->hash_seed[i] = h[0] ^ h[1];
	}
}
