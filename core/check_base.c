// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The base image as it comes from media: every inode, dirent and attribute is
 * checked here once, before anything else looks at it.
 */
#include "internal.h"

struct walk {
	struct base *b;
	struct daxfs_message *msg;
	u32 *refs;  /* by ino - 1: names found */
	u32 *queue; /* directories to visit */
	u32 head, tail;
	char which[32];
};

static int bad(struct walk *w, const char *thing, u32 ino, const char *why,
	       u64 value)
{
	port_snprintf(w->which, sizeof(w->which), "inode %u", ino);
	return corrupt(w->msg, thing, w->which, why, value);
}

static bool range_ok(const struct base *b, u64 off, u64 len)
{
	return off <= b->size && len <= b->size - off;
}

static int check_super_page(struct base *b, struct daxfs_message *msg)
{
	const struct daxfs_base_super *s = (const void *)b->mem;
	u64 table = le64_to_cpu(s->inode_offset);
	u64 count = le32_to_cpu(s->inode_count);

	if (le32_to_cpu(s->magic) != DAXFS_BASE_MAGIC)
		return corrupt(msg, "base image", "magic", "not a base image",
			       le32_to_cpu(s->magic));
	if (le32_to_cpu(s->block_size) != DAXFS_BLOCK_SIZE)
		return corrupt(msg, "base image", "block_size", "not 4096",
			       le32_to_cpu(s->block_size));
	if (!count || count > 0xfffffff0u || table % 8 || table < BLOCK ||
	    !range_ok(b, table, count * sizeof(struct daxfs_base_inode)))
		return corrupt(msg, "base image", "inode table",
			       "outside the image", count);
	if (le32_to_cpu(s->root_inode) != DAXFS_ROOT_INO)
		return corrupt(msg, "base image", "root_inode", "not 1",
			       le32_to_cpu(s->root_inode));
	b->inodes = (const void *)(b->mem + table);
	b->count = (u32)count;
	if (!b->attrs || !s->xattr_offset)
		return 0;
	if (le64_to_cpu(s->xattr_offset) % 8 ||
	    !range_ok(b, le64_to_cpu(s->xattr_offset),
		      le64_to_cpu(s->xattr_size)))
		return corrupt(msg, "base image", "xattr area",
			       "outside the image",
			       le64_to_cpu(s->xattr_offset));
	b->xattrs = b->mem + le64_to_cpu(s->xattr_offset);
	b->xattr_size = le64_to_cpu(s->xattr_size);
	return 0;
}

static int check_xattr_list(struct walk *w, u32 ino, u64 start, u64 len)
{
	u64 pos = 0;

	while (pos < len) {
		const struct daxfs_base_xattr *x =
			(const void *)(w->b->xattrs + start + pos);
		u32 name;

		if (len - pos < sizeof(*x))
			return bad(w, "inode", ino, "xattr list is cut off",
				   pos);
		name = le16_to_cpu(x->name_len);
		if (!name || name > DAXFS_XATTR_NAME_MAX ||
		    le32_to_cpu(x->value_len) > DAXFS_XATTR_SIZE_MAX ||
		    base_xattr_size(x) > len - pos)
			return bad(w, "inode", ino, "xattr has a bad length",
				   name);
		if (memchr(x + 1, 0, name))
			return bad(w, "inode", ino, "xattr name has a NUL",
				   pos);
		pos += base_xattr_size(x);
	}
	return 0;
}

static int xattr_order(const void *x, const void *y, port_sort_arg *arg)
{
	const struct base *b = arg;
	const struct daxfs_base_inode *i = &b->inodes[*(const u32 *)x - 1];
	const struct daxfs_base_inode *k = &b->inodes[*(const u32 *)y - 1];
	u32 a = le32_to_cpu(i->xattr_ref), c = le32_to_cpu(k->xattr_ref);

	return a < c ? -1 : a > c;
}

/*
 * Inodes may share a list, but lists do not overlap: each byte is looked at
 * once, however many inodes there are.
 */
static int check_xattrs(struct walk *w)
{
	u64 end = 0, last = ~0ull;
	u32 n = 0;

	if (!w->b->attrs)
		return 0;
	for (u32 ino = 1; ino <= w->b->count; ino++)
		if (w->b->inodes[ino - 1].xattr_ref)
			w->queue[n++] = ino;
	port_sort(w->queue, n, sizeof(*w->queue), xattr_order, w->b);
	for (u32 k = 0; k < n; k++) {
		u32 ino = w->queue[k];
		const struct daxfs_base_inode *i = &w->b->inodes[ino - 1];
		u64 start = (u64)(le32_to_cpu(i->xattr_ref) - 1) * 8;
		u64 len = le32_to_cpu(i->xattr_len);
		int rc;

		if (!w->b->xattrs || !len || start > w->b->xattr_size ||
		    len > w->b->xattr_size - start)
			return bad(w, "inode", ino,
				   "xattr list outside the xattr area", start);
		if (start == last && start + len == end)
			continue;
		if (start < end)
			return bad(w, "inode", ino,
				   "xattr list overlaps another", start);
		rc = check_xattr_list(w, ino, start, len);
		if (rc)
			return rc;
		last = start;
		end = start + len;
	}
	return 0;
}

static int check_symlink(struct walk *w, const struct daxfs_base_inode *i,
			 u32 ino)
{
	u64 size = le64_to_cpu(i->size), off = le64_to_cpu(i->data_offset);

	if (!size || size > DAXFS_SYMLINK_MAX)
		return bad(w, "inode", ino, "symlink has a bad length", size);
	if (!range_ok(w->b, off, size))
		return bad(w, "inode", ino, "symlink outside the image", off);
	if (memchr(w->b->mem + off, 0, size))
		return bad(w, "inode", ino, "symlink has a NUL in its target",
			   off);
	return 0;
}

static int check_directory(struct walk *w, const struct daxfs_base_inode *i,
			   u32 ino)
{
	u64 size = le64_to_cpu(i->size), off = le64_to_cpu(i->data_offset);
	u64 n = size / DAXFS_BASE_DIRENT_SIZE_UNIT;

	if (size % DAXFS_BASE_DIRENT_SIZE_UNIT || n > 0xfffffff0u)
		return bad(w, "inode", ino,
			   "directory size is not a multiple of 271", size);
	if (n && (off % 8 ||
		  !range_ok(w->b, off, n * sizeof(struct daxfs_base_dirent))))
		return bad(w, "inode", ino, "directory outside the image", off);
	return 0;
}

static int check_inode(struct walk *w, u32 ino)
{
	const struct daxfs_base_inode *i = &w->b->inodes[ino - 1];
	u64 size = le64_to_cpu(i->size), off = le64_to_cpu(i->data_offset);
	u32 mode = le32_to_cpu(i->mode);
	int rc = 0;

	if (le32_to_cpu(i->ino) != ino)
		return bad(w, "inode", ino, "has another number",
			   le32_to_cpu(i->ino));
	if (w->b->attrs && le32_to_cpu(i->mtime_nsec) >= 1000000000u)
		return bad(w, "inode", ino, "mtime_nsec is not below 1e9",
			   le32_to_cpu(i->mtime_nsec));
	switch (mode & S_IFMT) {
	case S_IFREG:
		if (size > DAXFS_MAX_FILE_SIZE || !range_ok(w->b, off, size))
			return bad(w, "inode", ino, "data outside the image",
				   off);
		if (size && off % BLOCK)
			return bad(w, "inode", ino, "data not aligned to 4096",
				   off);
		break;
	case S_IFDIR:
		rc = check_directory(w, i, ino);
		break;
	case S_IFLNK:
		rc = check_symlink(w, i, ino);
		break;
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		break;
	default:
		return bad(w, "inode", ino, "unknown file type", mode);
	}
	return rc;
}

static int check_dirent(struct walk *w, u32 dir,
			const struct daxfs_base_dirent *d,
			const struct daxfs_base_dirent *prev)
{
	u32 ino = le32_to_cpu(d->ino), len = le16_to_cpu(d->name_len), mode;

	if (!ino || ino > w->b->count || ino == DAXFS_ROOT_INO)
		return bad(w, "directory", dir, "entry names no inode", ino);
	if (!name_valid(d->name, len))
		return bad(w, "directory", dir, "entry has a bad name", len);
	if (prev && w->b->sorted &&
	    name_cmp(prev->name, le16_to_cpu(prev->name_len), d->name, len) >=
		    0)
		return bad(w, "directory", dir, "entries are not sorted", ino);
	mode = le32_to_cpu(w->b->inodes[ino - 1].mode);
	if ((le32_to_cpu(d->mode) ^ mode) & S_IFMT)
		return bad(w, "directory", dir,
			   "entry and inode differ in type", ino);
	w->refs[ino - 1]++;
	if (!S_ISDIR(mode))
		return 0;
	if (w->refs[ino - 1] > 1)
		return bad(w, "directory", dir,
			   "entry names a directory that has a name already",
			   ino);
	w->b->parent[ino - 1] = dir;
	w->queue[w->tail++] = ino;
	return 0;
}

/* Visit all directories from the root; each is met once, so this ends. */
static int check_tree(struct walk *w)
{
	/* directories that share entries would make this quadratic */
	u64 room = w->b->size / sizeof(struct daxfs_base_dirent);

	w->b->parent[0] = DAXFS_ROOT_INO;
	w->queue[w->tail++] = DAXFS_ROOT_INO;
	while (w->head < w->tail) {
		u32 dir = w->queue[w->head++];
		const struct daxfs_base_inode *i = &w->b->inodes[dir - 1];
		const struct daxfs_base_dirent *d =
			(const void *)(w->b->mem + le64_to_cpu(i->data_offset));
		u64 n = le64_to_cpu(i->size) / DAXFS_BASE_DIRENT_SIZE_UNIT;

		if (n > room)
			return bad(w, "directory", dir,
				   "shares its entries with others", n);
		room -= n;
		for (u64 k = 0; k < n; k++) {
			int rc = check_dirent(w, dir, d + k,
					      k ? d + k - 1 : NULL);

			if (rc)
				return rc;
		}
	}
	return 0;
}

/*
 * A directory that nothing names was not looked into above. Of other inodes
 * the names count, where the image has a smaller number of links: they would
 * go while they still have some.
 */
static int check_names(struct walk *w)
{
	for (u32 ino = DAXFS_ROOT_INO + 1; ino <= w->b->count; ino++) {
		const struct daxfs_base_inode *i = &w->b->inodes[ino - 1];

		if (!S_ISDIR(le32_to_cpu(i->mode)))
			w->b->parent[ino - 1] = w->refs[ino - 1];
		else if (!w->refs[ino - 1])
			return bad(w, "directory", ino, "has no name", 0);
	}
	return 0;
}

/* The slow part: link counts, reachability and data checksums. */
static int check_full(struct walk *w)
{
	for (u32 ino = 1; ino <= w->b->count; ino++) {
		const struct daxfs_base_inode *i = &w->b->inodes[ino - 1];
		u64 size = le64_to_cpu(i->size);
		u32 crc = le32_to_cpu(i->data_crc), sum;

		if (ino != DAXFS_ROOT_INO && !w->refs[ino - 1])
			return bad(w, "base image", ino, "has no name", 0);
		if (!S_ISDIR(le32_to_cpu(i->mode)) &&
		    le32_to_cpu(i->nlink) != w->refs[ino - 1])
			return bad(w, "inode", ino,
				   "link count differs from its names",
				   le32_to_cpu(i->nlink));
		if (!w->b->attrs || !S_ISREG(le32_to_cpu(i->mode)) || !crc)
			continue;
		sum = port_crc32c(0, w->b->mem + le64_to_cpu(i->data_offset),
				  size);
		if (sum != crc)
			return bad(w, "inode", ino,
				   "data checksum does not match", crc);
	}
	return 0;
}

int check_base(struct base *b, bool full, struct daxfs_message *msg)
{
	struct walk w = { .b = b, .msg = msg };
	int rc = check_super_page(b, msg);

	if (rc)
		return rc;
	b->parent = port_zalloc(b->count * sizeof(u32));
	w.refs = port_zalloc(b->count * sizeof(u32));
	w.queue = port_alloc(b->count * sizeof(u32));
	if (!b->parent || !w.refs || !w.queue)
		rc = -ENOMEM;
	for (u32 ino = 1; !rc && ino <= b->count; ino++)
		rc = check_inode(&w, ino);
	if (!rc)
		rc = check_xattrs(&w);
	if (!rc && !S_ISDIR(le32_to_cpu(b->inodes[0].mode)))
		rc = bad(&w, "inode", 1, "root is not a directory",
			 le32_to_cpu(b->inodes[0].mode));
	if (!rc)
		rc = check_tree(&w);
	if (!rc)
		rc = check_names(&w);
	if (!rc && full)
		rc = check_full(&w);
	port_free(w.refs);
	port_free(w.queue);
	return rc;
}
