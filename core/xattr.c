// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Extended attributes. */
#include "acl.h"

#define INLINE_MAX 2048u /* longer values get blocks of their own */

static int check_xattr_name(const char *name, size_t *len)
{
	*len = strnlen(name, DAXFS_XATTR_NAME_MAX + 1);
	if (!*len)
		return -EINVAL;
	return *len > DAXFS_XATTR_NAME_MAX ? -ERANGE : 0;
}

ssize_t daxfs_getxattr(struct daxfs_branch *b, u64 ino, const char *name,
		       void *buf, size_t size)
{
	struct xattr_ref ref;
	struct dinode in;
	size_t len;
	ssize_t rc = check_xattr_name(name, &len);

	if (rc)
		return rc;
	rc = begin_read(b, ino, &in);
	if (!rc && S_ISLNK(in.mode) && acl_kind(name, len))
		rc = -EOPNOTSUPP;
	if (!rc && !view_xattr(b, ino, name, len, &ref))
		rc = -ENODATA;
	if (!rc && size && ref.value_len > size)
		rc = -ERANGE;
	if (!rc) {
		if (size)
			memcpy(buf, ref.value, ref.value_len);
		rc = (ssize_t)ref.value_len;
	}
	port_read_unlock(&b->lock);
	return rc;
}

/* A long value goes to blocks; *media is 0 when it fits into the record. */
static int store_value(struct daxfs_branch *b, const void *value, size_t len,
		       u64 *media)
{
	u32 want = (u32)DIV_ROUND_UP(len, BLOCK), got;

	*media = 0;
	if (len <= INLINE_MAX)
		return 0;
	got = block_alloc(b, want, 0, media);
	if (got && got < want) {
		/* not in one run: a segment of its own has room for any */
		block_free(b, *media, got * BLOCK);
		got = block_alloc_run(b, want, media);
	}
	if (!got)
		return space_error(b, want);
	memcpy(at(b->r, *media), value, len);
	return 0;
}

static int set(struct daxfs_branch *b, u64 ino, const char *name, size_t nlen,
	       const void *value, size_t len, u32 flags)
{
	struct xattr_ref ref;
	struct dinode in;
	u64 media;
	bool there;
	int rc = txn_begin(b);

	if (!rc)
		rc = get_dinode(b, ino, &in);
	if (rc)
		return rc;
	there = view_xattr(b, ino, name, nlen, &ref);
	if (there && (flags & DAXFS_XATTR_CREATE))
		return -EEXIST;
	if (!there && (flags & DAXFS_XATTR_REPLACE))
		return -ENODATA;
	rc = store_value(b, value, len, &media);
	if (rc)
		return rc;
	in.ctime = txn_time(b);
	txn_xattr(b, ino, name, nlen, value, (u32)len, media);
	txn_inode(b, ino, &in);
	rc = txn_commit(b);
	if (rc && media)
		block_free(b, media, block_ceil(len));
	return rc;
}

int daxfs_setxattr(struct daxfs_branch *b, u64 ino, const char *name,
		   const void *value, size_t len, u32 flags)
{
	enum acl_kind kind;
	bool tried = false;
	size_t nlen;
	int rc = check_xattr_name(name, &nlen);

	if (rc)
		return rc;
	if (len > DAXFS_XATTR_SIZE_MAX)
		return -E2BIG;
	kind = acl_kind(name, nlen);
	do {
		change_begin(b);
		rc = kind ? acl_set(b, ino, kind, value, len, flags)
			  : set(b, ino, name, nlen, value, len, flags);
		change_end(b);
	} while (space_retry(b, rc, &tried));
	return rc;
}

static int remove_one(struct daxfs_branch *b, u64 ino, const char *name,
		      size_t len)
{
	struct xattr_ref ref;
	struct dinode in;
	int rc = txn_begin(b);

	if (!rc)
		rc = get_dinode(b, ino, &in);
	if (!rc && !view_xattr(b, ino, name, len, &ref))
		rc = -ENODATA;
	if (rc)
		return rc;
	in.ctime = txn_time(b);
	b->txn->frees = true;
	txn_noxattr(b, ino, name, len);
	txn_inode(b, ino, &in);
	return txn_commit(b);
}

int daxfs_removexattr(struct daxfs_branch *b, u64 ino, const char *name)
{
	enum acl_kind kind;
	bool tried = false;
	size_t len;
	int rc = check_xattr_name(name, &len);

	if (rc)
		return rc;
	kind = acl_kind(name, len);
	do {
		change_begin(b);
		rc = kind ? acl_set(b, ino, kind, NULL, 0, 0)
			  : remove_one(b, ino, name, len);
		change_end(b);
	} while (space_retry(b, rc, &tried));
	return rc;
}

struct list_ctx {
	char *buf;
	size_t size, used;
};

static int list_one(void *arg, const struct xattr_ref *x)
{
	struct list_ctx *c = arg;

	if (c->size && c->size - c->used < x->name_len + 1u)
		return -ERANGE;
	if (c->size) {
		memcpy(c->buf + c->used, x->name, x->name_len);
		c->buf[c->used + x->name_len] = 0;
	}
	c->used += x->name_len + 1u;
	return 0;
}

ssize_t daxfs_listxattr(struct daxfs_branch *b, u64 ino, char *buf, size_t size)
{
	struct list_ctx c = { buf, size, 0 };
	struct dinode in;
	int rc;

	rc = begin_read(b, ino, &in);
	if (!rc)
		rc = view_xattrs(b, ino, list_one, &c);
	port_read_unlock(&b->lock);
	return rc ? rc : (ssize_t)c.used;
}
