// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Looking up, listing and making names. Removing and renaming: rename.c. */
#include "acl.h"
#include "names.h"

#define INODE_BATCH 1024u

int check_name(const char *name, size_t len)
{
	if (len > DAXFS_NAME_MAX)
		return -ENAMETOOLONG;
	if (!len)
		return -ENOENT;
	return name_valid(name, len) ? 0 : -EINVAL;
}

int daxfs_lookup(struct daxfs_branch *b, u64 dir, const char *name, size_t len,
		 struct daxfs_attr *out)
{
	struct found f;
	struct dinode in;
	int rc;

	if (len > DAXFS_NAME_MAX)
		return -ENAMETOOLONG;
	rc = begin_read_dir(b, dir, &in);
	if (!rc && !view_lookup(b, dir, name, len, &f))
		rc = -ENOENT;
	if (!rc && !view_inode(b, f.ino, &in))
		rc = -EUCLEAN;
	if (!rc)
		fill_attr(f.ino, &in, out);
	port_read_unlock(&b->lock);
	return rc;
}

int daxfs_parent(struct daxfs_branch *b, u64 ino, u64 *out)
{
	struct dinode in;
	int rc;

	rc = begin_read_dir(b, ino, &in);
	if (!rc)
		*out = in.parent;
	port_read_unlock(&b->lock);
	return rc;
}

/* ---- Listing -------------------------------------------------------------------- */

/*
 * Base entries have their place in the directory, plus one, as cookie; entries
 * of the branch follow, by hash. An entry's cookie thus depends on it alone.
 */
#define COOKIE_BRANCH (1ull << 61)

static int list_base(struct daxfs_branch *b, u64 dir, u64 cookie,
		     daxfs_filldir fill, void *ctx)
{
	u32 n = base_dir_count(&b->r->base, (u32)dir);

	for (u64 i = cookie; i < n; i++) {
		const struct daxfs_base_dirent *raw =
			base_dirent(&b->r->base, (u32)dir, (u32)i);
		struct daxfs_dirent d;
		struct dirent_val v;
		struct pkey k;

		d.name = raw->name;
		d.len = le16_to_cpu(raw->name_len);
		if (dirent_find(b, dir, d.name, d.len, &k, &v))
			continue; /* replaced or removed on the branch */
		d.ino = le32_to_cpu(raw->ino);
		d.type = le32_to_cpu(raw->mode) & S_IFMT;
		d.cookie = i + 1;
		if (fill(ctx, &d))
			return 1;
	}
	return 0;
}

static void list_branch(struct daxfs_branch *b, u64 dir, u64 lo,
			daxfs_filldir fill, void *ctx)
{
	struct pkey want = { dir, lo }, k;
	const struct dirent_val *v;

	while ((v = ptree_ge(&b->view.dirents, want, &k)) && k.hi == dir) {
		struct daxfs_dirent d;

		d.ino = v->child;
		d.type = v->mode;
		d.cookie = COOKIE_BRANCH + k.lo + 1;
		d.name = at(b->r, v->name);
		d.len = v->name_len;
		if (d.ino && fill(ctx, &d))
			return;
		want.lo = k.lo + 1;
	}
}

int daxfs_readdir(struct daxfs_branch *b, u64 dir, u64 cookie,
		  daxfs_filldir fill, void *ctx)
{
	struct dinode in;
	int rc;

	rc = begin_read_dir(b, dir, &in);
	if (!rc) {
		u64 lo = cookie < COOKIE_BRANCH ? 0 : cookie - COOKIE_BRANCH;
		bool full = false;

		if (cookie < COOKIE_BRANCH && in_base(&b->r->base, dir))
			full = list_base(b, dir, cookie, fill, ctx);
		if (!full)
			list_branch(b, dir, lo, fill, ctx);
	}
	port_read_unlock(&b->lock);
	return rc;
}

/* ---- Making ----------------------------------------------------------------------- */

/* Each instance takes numbers in batches of its own. */
static u64 shared_inode_number(struct daxfs_region *r)
{
	u64 ino;

	port_lock(&r->space_lock);
	if (r->next_inode >= r->inode_limit) {
		r->next_inode =
			port_add_le64(&r->sb->next_inode_id, INODE_BATCH);
		r->inode_limit = r->next_inode + INODE_BATCH;
	}
	ino = r->next_inode++;
	port_unlock(&r->space_lock);
	return ino;
}

/* Numbers are never used twice, so media learns of them before they are. */
u64 new_inode_number(struct daxfs_region *r)
{
	u64 ino;

	if (r->shared)
		return shared_inode_number(r);
	ino = port_fetch_add(&r->next_inode, 1);
	if (ino >= port_load(&r->inode_limit)) {
		port_lock(&r->space_lock);
		if (ino >= r->inode_limit) {
			port_store(&r->inode_limit, ino + INODE_BATCH);
			port_store(&r->sb->next_inode_id,
				   cpu_to_le64(ino + INODE_BATCH));
		}
		port_unlock(&r->space_lock);
	}
	return ino;
}

void dir_changed(const struct daxfs_branch *b, struct dinode *dir, int entries,
		 int subdirs)
{
	u64 unit = DAXFS_BASE_DIRENT_SIZE_UNIT;

	dir->size += (u64)(s64)entries * unit;
	dir->nlink += (u32)subdirs;
	/* images exist that count subdirectories wrongly; 0 says removed */
	if (dir->nlink < 2 || dir->nlink > LINKS_MAX)
		dir->nlink = 2;
	dir->mtime = dir->ctime = txn_time(b);
}

static int check_make(const struct daxfs_branch *b, u64 dir, const char *name,
		      size_t len, struct dinode *parent)
{
	struct found f;
	int rc = get_dir(b, dir, parent);

	if (rc)
		return rc;
	if (view_lookup(b, dir, name, len, &f))
		return -EEXIST;
	return parent->nlink ? 0 : -ENOENT;
}

/* The inode of what is made in `dir`, with the ACLs that it inherits. */
static int init_new(struct daxfs_branch *b, u64 dir,
		    const struct dinode *parent, const struct daxfs_new *n,
		    u64 *ino, struct dinode *in)
{
	int rc = quota_inode(b);

	if (rc)
		return rc;
	*ino = new_inode_number(b->r);
	if (*ino > DAXFS_MAX_INO)
		return -ENOSPC;
	memset(in, 0, sizeof(*in));
	in->mode = n->mode;
	in->uid = n->uid;
	in->gid = n->gid;
	in->nlink = 1;
	if (S_ISCHR(n->mode) || S_ISBLK(n->mode))
		in->rdev = n->rdev;
	if (parent->mode & S_ISGID) {
		in->gid = parent->gid;
		if (S_ISDIR(n->mode))
			in->mode |= S_ISGID;
	}
	if (S_ISDIR(n->mode)) {
		in->nlink = 2;
		in->parent = dir;
	}
	in->atime = in->mtime = in->ctime = in->btime = txn_time(b);
	return acl_inherit(b, dir, *ino, n->umask, in);
}

static int check_new(const struct daxfs_new *n)
{
	size_t len;

	switch (n->mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return 0;
	case S_IFLNK:
		len = strnlen(n->target, DAXFS_SYMLINK_MAX + 1);
		if (!len)
			return -ENOENT;
		return len > DAXFS_SYMLINK_MAX ? -ENAMETOOLONG : 0;
	default:
		return -EINVAL;
	}
}

static int make(struct daxfs_branch *b, u64 dir, const char *name, size_t len,
		const struct daxfs_new *n, struct daxfs_attr *out)
{
	struct dinode parent, in;
	bool is_dir = S_ISDIR(n->mode);
	u64 ino;
	int rc = txn_begin(b);

	if (!rc)
		rc = check_make(b, dir, name, len, &parent);
	if (!rc && is_dir && parent.nlink >= LINKS_MAX)
		rc = -EMLINK;
	if (rc)
		return rc;
	rc = init_new(b, dir, &parent, n, &ino, &in);
	if (rc)
		return rc;
	if (S_ISLNK(n->mode)) {
		in.size = strlen(n->target);
		txn_xattr(b, ino, "", 0, n->target, (u32)in.size, 0);
	}
	dir_changed(b, &parent, 1, is_dir);
	txn_inode(b, ino, &in);
	txn_dirent(b, dir, name, len, ino, in.mode);
	txn_inode(b, dir, &parent);
	rc = txn_commit(b);
	if (!rc && out)
		fill_attr(ino, &in, out);
	return rc;
}

int daxfs_make(struct daxfs_branch *b, u64 dir, const char *name, size_t len,
	       const struct daxfs_new *n, struct daxfs_attr *out)
{
	bool tried = false;
	int rc = check_name(name, len);

	if (!rc)
		rc = check_new(n);
	if (rc)
		return rc;
	do {
		change_begin(b);
		rc = make(b, dir, name, len, n, out);
		change_end(b);
	} while (space_retry(b, rc, &tried));
	return rc;
}

static int make_tmpfile(struct daxfs_branch *b, u64 dir,
			const struct daxfs_new *n, u32 flags,
			struct daxfs_attr *out)
{
	struct dinode parent, in;
	u64 ino;
	int rc = txn_begin(b);

	if (!rc)
		rc = get_dir(b, dir, &parent);
	if (!rc && !parent.nlink)
		rc = -ENOENT;
	if (!rc)
		rc = init_new(b, dir, &parent, n, &ino, &in);
	if (rc)
		return rc;
	in.nlink = 0;
	if (!(flags & DAXFS_TMPFILE_EXCL))
		in.flags = DAXFS_INODE_LINKABLE;
	txn_inode(b, ino, &in);
	rc = txn_commit(b);
	if (!rc && out)
		fill_attr(ino, &in, out);
	return rc;
}

int daxfs_tmpfile(struct daxfs_branch *b, u64 dir, const struct daxfs_new *n,
		  u32 flags, struct daxfs_attr *out)
{
	bool tried = false;
	int rc;

	if (!S_ISREG(n->mode) || (flags & ~DAXFS_TMPFILE_EXCL))
		return -EINVAL;
	do {
		change_begin(b);
		rc = make_tmpfile(b, dir, n, flags, out);
		change_end(b);
	} while (space_retry(b, rc, &tried));
	return rc;
}

/* ---- Linking ---------------------------------------------------------------------- */

static int link_name(struct daxfs_branch *b, u64 ino, u64 dir, const char *name,
		     size_t len, struct daxfs_attr *out)
{
	struct dinode parent, in;
	int rc = txn_begin(b);

	if (!rc)
		rc = get_dinode(b, ino, &in);
	if (!rc && S_ISDIR(in.mode))
		rc = -EPERM;
	if (!rc && !in.nlink && !(in.flags & DAXFS_INODE_LINKABLE))
		rc = -ENOENT;
	if (!rc && in.nlink >= LINKS_MAX)
		rc = -EMLINK;
	if (!rc)
		rc = check_make(b, dir, name, len, &parent);
	if (rc)
		return rc;
	in.nlink++;
	in.flags &= ~DAXFS_INODE_LINKABLE;
	in.ctime = txn_time(b);
	dir_changed(b, &parent, 1, 0);
	txn_inode(b, ino, &in);
	txn_dirent(b, dir, name, len, ino, in.mode);
	txn_inode(b, dir, &parent);
	rc = txn_commit(b);
	if (!rc && out)
		fill_attr(ino, &in, out);
	return rc;
}

int daxfs_link(struct daxfs_branch *b, u64 ino, u64 dir, const char *name,
	       size_t len, struct daxfs_attr *out)
{
	bool tried = false;
	int rc = check_name(name, len);

	if (rc)
		return rc;
	do {
		change_begin(b);
		rc = link_name(b, ino, dir, name, len, out);
		change_end(b);
	} while (space_retry(b, rc, &tried));
	return rc;
}

/* The target of a symlink that is the base's still. */
static bool base_target(const struct base *base, u64 ino, struct xattr_ref *ref)
{
	struct dinode in;

	if (!in_base(base, ino))
		return false;
	base_inode(base, (u32)ino, &in);
	if (!S_ISLNK(in.mode))
		return false;
	ref->value = (const char *)base->mem +
		     (base_data(base, (u32)ino) - base->offset);
	ref->value_len = (u32)in.size;
	return true;
}

ssize_t daxfs_readlink(struct daxfs_branch *b, u64 ino, char *buf, size_t size)
{
	struct xattr_ref ref = { 0 };
	struct dinode in;
	ssize_t rc;

	rc = begin_read(b, ino, &in);
	if (!rc && !S_ISLNK(in.mode))
		rc = -EINVAL;
	if (!rc && !view_xattr(b, ino, "", 0, &ref) &&
	    !base_target(&b->r->base, ino, &ref))
		rc = -EUCLEAN;
	if (!rc) {
		memcpy(buf, ref.value,
		       ref.value_len < size ? ref.value_len : size);
		rc = (ssize_t)ref.value_len;
	}
	port_read_unlock(&b->lock);
	return rc;
}
