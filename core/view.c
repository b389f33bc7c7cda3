// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Looking things up on a branch: its trees over the base image. */
#include "internal.h"
#include "view.h"

#define SMALL_NODE 1024u

void view_init(struct view *v)
{
	ptree_init(&v->inodes, sizeof(struct dinode), INODE_NODE);
	ptree_init(&v->dirents, sizeof(struct dirent_val), SMALL_NODE);
	ptree_init(&v->extents, sizeof(struct extent_val), SMALL_NODE);
	ptree_init(&v->xattrs, sizeof(struct xattr_val), SMALL_NODE);
	ptree_init(&v->orphans, sizeof(u64), SMALL_NODE);
}

void view_clone(struct view *dst, const struct view *src)
{
	ptree_clone(&dst->inodes, &src->inodes);
	ptree_clone(&dst->dirents, &src->dirents);
	ptree_clone(&dst->extents, &src->extents);
	ptree_clone(&dst->xattrs, &src->xattrs);
	ptree_clone(&dst->orphans, &src->orphans);
}

void view_drop(struct view *v)
{
	ptree_drop(&v->inodes);
	ptree_drop(&v->dirents);
	ptree_drop(&v->extents);
	ptree_drop(&v->xattrs);
	ptree_drop(&v->orphans);
}

bool view_inode(const struct daxfs_branch *b, u64 ino, struct dinode *out)
{
	struct pkey k = { ino, 0 };
	const struct dinode *i = ptree_get(&b->view.inodes, k);

	if (i)
		*out = *i;
	else if (ino && in_base(&b->r->base, ino))
		base_inode(&b->r->base, (u32)ino, out);
	else
		return false;
	return out->mode != 0;
}

/* ---- Names ------------------------------------------------------------------- */

bool dirent_find(const struct daxfs_branch *b, u64 dir, const char *name,
		 size_t len, struct pkey *key, struct dirent_val *out)
{
	u64 h = name_hash(b->r, name, len);
	struct pkey want = { dir, h }, k;
	const struct dirent_val *v;

	*key = want;
	while ((v = ptree_ge(&b->view.dirents, want, &k)) && k.hi == dir &&
	       k.lo >> 8 == h >> 8) {
		if (v->name_len == len &&
		    !memcmp(at(b->r, v->name), name, len)) {
			*key = k;
			*out = *v;
			return true;
		}
		if (k.lo == key->lo)
			key->lo++; /* taken; the next may be free */
		want.lo = k.lo + 1;
	}
	return false;
}

bool view_lookup(const struct daxfs_branch *b, u64 dir, const char *name,
		 size_t len, struct found *out)
{
	const struct daxfs_base_dirent *d;
	struct dirent_val v;
	struct pkey k;

	if (dirent_find(b, dir, name, len, &k, &v)) {
		out->ino = v.child;
		out->mode = v.mode;
		return v.child != 0;
	}
	if (!in_base(&b->r->base, dir))
		return false;
	d = base_lookup(&b->r->base, (u32)dir, name, len);
	if (!d)
		return false;
	out->ino = le32_to_cpu(d->ino);
	out->mode = le32_to_cpu(d->mode) & S_IFMT;
	return true;
}

/* ---- File data ----------------------------------------------------------------- */

void view_map(const struct daxfs_branch *b, u64 ino, const struct dinode *in,
	      u64 off, u64 end, struct map *out)
{
	struct pkey want = { ino, off }, k;
	const struct extent_val *e = ptree_le(&b->view.extents, want, &k);

	out->off = off;
	out->extent = false;
	if (e && k.hi == ino && off - k.lo < e->len) {
		out->extent = true;
		out->media = e->media ? e->media + (off - k.lo) : 0;
		if (k.lo + e->len < end)
			end = k.lo + e->len;
		out->len = end - off;
		return;
	}
	e = ptree_ge(&b->view.extents, want, &k);
	if (e && k.hi == ino && k.lo < end)
		end = k.lo;
	out->media = 0;
	if (off < in->base_valid && in_base(&b->r->base, ino)) {
		out->media = base_data(&b->r->base, (u32)ino) + off;
		if (in->base_valid < end)
			end = in->base_valid;
	}
	out->len = end - off;
}

u64 view_mapped_blocks(const struct daxfs_branch *b, u64 ino,
		       const struct dinode *in, u64 off, u64 end)
{
	u64 blocks = 0;
	struct map m;

	for (; off < end; off = block_ceil(m.off + m.len)) {
		view_map(b, ino, in, off, end, &m);
		if (m.media)
			blocks += DIV_ROUND_UP(m.len, BLOCK);
	}
	return blocks;
}

u64 view_unmap_floor(const struct daxfs_branch *b, u64 ino, u64 off, u32 max)
{
	struct pkey want = { ino, ~0ull }, k;
	u64 floor = off;

	while (max-- && ptree_le(&b->view.extents, want, &k) && k.hi == ino) {
		floor = k.lo;
		if (floor <= off)
			return off;
		want.lo = k.lo - 1;
	}
	if (!ptree_le(&b->view.extents, want, &k) || k.hi != ino || k.lo <= off)
		return off;
	return floor;
}

/* ---- Extended attributes --------------------------------------------------------- */

bool xattr_find(const struct daxfs_branch *b, u64 ino, const char *name,
		size_t len, struct pkey *key, struct xattr_val *out)
{
	u64 h = name_hash(b->r, name, len);
	struct pkey want = { ino, h }, k;
	const struct xattr_val *v;

	*key = want;
	while ((v = ptree_ge(&b->view.xattrs, want, &k)) && k.hi == ino &&
	       k.lo >> 8 == h >> 8) {
		if (v->name_len == len &&
		    !memcmp(at(b->r, v->name), name, len)) {
			*key = k;
			*out = *v;
			return true;
		}
		if (k.lo == key->lo)
			key->lo++;
		want.lo = k.lo + 1;
	}
	return false;
}

static void ref_from_val(const struct daxfs_region *r,
			 const struct xattr_val *v, struct xattr_ref *out)
{
	out->name = at(r, v->name);
	out->name_len = v->name_len;
	out->value = at(r, v->value);
	out->value_len = v->value_len;
}

static void ref_from_base(const struct daxfs_base_xattr *x,
			  struct xattr_ref *out)
{
	out->name = (const char *)(x + 1);
	out->name_len = le16_to_cpu(x->name_len);
	out->value = out->name + out->name_len;
	out->value_len = le32_to_cpu(x->value_len);
}

bool view_xattr(const struct daxfs_branch *b, u64 ino, const char *name,
		size_t len, struct xattr_ref *out)
{
	const struct daxfs_base_xattr *x;
	struct xattr_val v;
	struct pkey k;

	if (xattr_find(b, ino, name, len, &k, &v)) {
		ref_from_val(b->r, &v, out);
		return !(v.flags & XATTR_GONE);
	}
	if (!in_base(&b->r->base, ino))
		return false;
	x = base_xattr_find(&b->r->base, (u32)ino, name, len);
	if (x)
		ref_from_base(x, out);
	return x != NULL;
}

int view_xattrs(const struct daxfs_branch *b, u64 ino,
		int (*fn)(void *arg, const struct xattr_ref *x), void *arg)
{
	const struct daxfs_base_xattr *x = NULL;
	struct pkey want = { ino, 0 }, k;
	const struct xattr_val *v;
	struct xattr_ref ref;
	struct xattr_val own;
	int rc = 0;

	while (in_base(&b->r->base, ino) && !rc &&
	       (x = base_xattr_next(&b->r->base, (u32)ino, x))) {
		ref_from_base(x, &ref);
		if (!xattr_find(b, ino, ref.name, ref.name_len, &k, &own))
			rc = fn(arg, &ref);
	}
	while (!rc && (v = ptree_ge(&b->view.xattrs, want, &k)) &&
	       k.hi == ino) {
		ref_from_val(b->r, v, &ref);
		if (ref.name_len && !(v->flags & XATTR_GONE))
			rc = fn(arg, &ref);
		if (k.lo == ~0ull)
			break;
		want.lo = k.lo + 1;
	}
	return rc;
}

/* ---- Hash -------------------------------------------------------------------------- */

#define ROTL(x, n) ((x) << (n) | (x) >> (64 - (n)))

static void sip_round(u64 v[4])
{
	v[0] += v[1];
	v[1] = ROTL(v[1], 13) ^ v[0];
	v[0] = ROTL(v[0], 32);
	v[2] += v[3];
	v[3] = ROTL(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = ROTL(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = ROTL(v[1], 17) ^ v[2];
	v[2] = ROTL(v[2], 32);
}

/* 52 bits, so that a readdir cookie made of it stays below 2^61. */
u64 name_hash(const struct daxfs_region *r, const char *name, size_t len)
{
	u64 v[4] = { r->seed[0] ^ 0x736f6d6570736575ull,
		     r->seed[1] ^ 0x646f72616e646f6dull,
		     r->seed[0] ^ 0x6c7967656e657261ull,
		     r->seed[1] ^ 0x7465646279746573ull };
	u64 last = (u64)len << 56, w;

	for (; len >= 8; len -= 8, name += 8) {
		memcpy(&w, name, 8);
		v[3] ^= w;
		sip_round(v);
		v[0] ^= w;
	}
	for (size_t i = 0; i < len; i++)
		last |= (u64)(u8)name[i] << (8 * i);
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return (v[0] ^ v[1] ^ v[2] ^ v[3]) >> 12 << 8;
}

bool name_valid(const char *name, size_t len)
{
	if (!len || len > DAXFS_NAME_MAX)
		return false;
	if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
		return false;
	return !memchr(name, '/', len) && !memchr(name, 0, len);
}
