// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Reading the base image. check_base() has vouched for every byte used here. */
#include "internal.h"

static const struct daxfs_base_inode *raw_inode(const struct base *b, u32 ino)
{
	return &b->inodes[ino - 1];
}

void base_inode(const struct base *b, u32 ino, struct dinode *out)
{
	const struct daxfs_base_inode *i;

	memset(out, 0, sizeof(*out));
	if (!b->mem) {
		out->mode = S_IFDIR | 0755;
		out->nlink = 2;
		out->parent = DAXFS_ROOT_INO;
		return;
	}
	i = raw_inode(b, ino);
	out->mode = le32_to_cpu(i->mode);
	out->uid = le32_to_cpu(i->uid);
	out->gid = le32_to_cpu(i->gid);
	out->nlink = le32_to_cpu(i->nlink);
	out->size = le64_to_cpu(i->size);
	if (S_ISDIR(out->mode))
		out->parent = b->parent[ino - 1];
	/* no fewer links than names; 0 would say that it was removed */
	if (S_ISDIR(out->mode) && out->nlink < 2)
		out->nlink = 2;
	else if (!S_ISDIR(out->mode) && out->nlink < b->parent[ino - 1])
		out->nlink = b->parent[ino - 1];
	if (S_ISREG(out->mode))
		out->base_valid = out->size;
	if (S_ISREG(out->mode) || S_ISLNK(out->mode))
		out->blocks = DIV_ROUND_UP(out->size, BLOCK);
	if (!b->attrs)
		return;
	out->rdev = le32_to_cpu(i->rdev);
	out->mtime.sec = (s64)le64_to_cpu(i->mtime_sec);
	out->mtime.nsec = le32_to_cpu(i->mtime_nsec);
	out->atime = out->ctime = out->btime = out->mtime;
}

u32 base_dir_count(const struct base *b, u32 dir)
{
	const struct daxfs_base_inode *i;

	if (!b->mem)
		return 0;
	i = raw_inode(b, dir);
	if (!S_ISDIR(le32_to_cpu(i->mode)))
		return 0;
	return (u32)(le64_to_cpu(i->size) / DAXFS_BASE_DIRENT_SIZE_UNIT);
}

/* The i-th entry as it lies on media. */
static const struct daxfs_base_dirent *raw_dirent(const struct base *b, u32 dir,
						  u32 i)
{
	const struct daxfs_base_dirent *d =
		(const void *)(b->mem +
			       le64_to_cpu(raw_inode(b, dir)->data_offset));

	return d + i;
}

const struct daxfs_base_dirent *base_dirent(const struct base *b, u32 dir,
					    u32 i)
{
	if (!b->sorted)
		i = b->order[b->order_at[dir - 1] + i];
	return raw_dirent(b, dir, i);
}

int name_cmp(const char *a, size_t alen, const char *b, size_t blen)
{
	int c = memcmp(a, b, alen < blen ? alen : blen);

	if (c)
		return c;
	return alen < blen ? -1 : alen > blen;
}

const struct daxfs_base_dirent *base_lookup(const struct base *b, u32 dir,
					    const char *name, size_t len)
{
	u32 lo = 0, hi = base_dir_count(b, dir);

	while (lo < hi) {
		u32 mid = lo + (hi - lo) / 2;
		const struct daxfs_base_dirent *d = base_dirent(b, dir, mid);
		int c = name_cmp(d->name, le16_to_cpu(d->name_len), name, len);

		if (!c)
			return d;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

u64 base_data(const struct base *b, u32 ino)
{
	return b->offset + le64_to_cpu(raw_inode(b, ino)->data_offset);
}

const struct daxfs_base_xattr *
base_xattr_next(const struct base *b, u32 ino,
		const struct daxfs_base_xattr *prev)
{
	const struct daxfs_base_inode *i;
	const u8 *start, *next;
	u32 ref;

	if (!b->mem || !b->attrs)
		return NULL;
	i = raw_inode(b, ino);
	ref = le32_to_cpu(i->xattr_ref);
	if (!ref)
		return NULL;
	start = b->xattrs + (u64)(ref - 1) * 8;
	next = prev ? (const u8 *)prev + base_xattr_size(prev) : start;
	if (next >= start + le32_to_cpu(i->xattr_len))
		return NULL;
	return (const void *)next;
}

const struct daxfs_base_xattr *base_xattr_find(const struct base *b, u32 ino,
					       const char *name, size_t len)
{
	const struct daxfs_base_xattr *x = NULL;

	while ((x = base_xattr_next(b, ino, x)))
		if (le16_to_cpu(x->name_len) == len &&
		    !memcmp(x + 1, name, len))
			break;
	return x;
}

/* ---- Index of images whose directories are not sorted ---------------------- */

struct order_ctx {
	const struct base *b;
	u32 dir;
};

static int order_cmp(const void *x, const void *y, port_sort_arg *arg)
{
	const struct order_ctx *c = arg;
	const struct daxfs_base_dirent *a =
		raw_dirent(c->b, c->dir, *(const u32 *)x);
	const struct daxfs_base_dirent *d =
		raw_dirent(c->b, c->dir, *(const u32 *)y);

	return name_cmp(a->name, le16_to_cpu(a->name_len), d->name,
			le16_to_cpu(d->name_len));
}

int base_index(struct base *b, struct daxfs_message *msg)
{
	u64 total = 0;

	if (!b->mem || b->sorted)
		return 0;
	for (u32 ino = 1; ino <= b->count; ino++)
		total += base_dir_count(b, ino);
	b->order = port_alloc((total + 1) * sizeof(*b->order));
	b->order_at = port_alloc(b->count * sizeof(*b->order_at));
	if (!b->order || !b->order_at)
		return -ENOMEM;
	total = 0;
	for (u32 ino = 1; ino <= b->count; ino++) {
		struct order_ctx c = { b, ino };
		u32 n = base_dir_count(b, ino), *v = b->order + total;

		b->order_at[ino - 1] = total;
		total += n;
		for (u32 i = 0; i < n; i++)
			v[i] = i;
		port_sort(v, n, sizeof(*v), order_cmp, &c);
		for (u32 i = 1; i < n; i++)
			if (!order_cmp(&v[i - 1], &v[i], &c)) {
				message(msg,
					"corrupt directory: inode %u, name listed twice [entry %u]",
					ino, v[i]);
				return -EUCLEAN;
			}
	}
	return 0;
}

void base_release(struct base *b)
{
	port_free(b->parent);
	port_free(b->order);
	port_free(b->order_at);
	memset(b, 0, sizeof(*b));
}
