// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Removing and renaming names. */
#include "internal.h"
#include "names.h"

#define DEPTH_MAX (1u << 20) /* only damaged media nest deeper */

/* An inode loses a name; a directory loses its only one. */
static void drop_link(const struct daxfs_branch *b, struct dinode *in)
{
	in->nlink = S_ISDIR(in->mode) || !in->nlink ? 0 : in->nlink - 1;
	in->ctime = txn_time(b);
}

static int find(const struct daxfs_branch *b, u64 dir, const char *name,
		size_t len, struct found *f, struct dinode *in)
{
	if (len > DAXFS_NAME_MAX)
		return -ENAMETOOLONG;
	if (!view_lookup(b, dir, name, len, f))
		return -ENOENT;
	return view_inode(b, f->ino, in) ? 0 : -EUCLEAN;
}

static int remove_name(struct daxfs_branch *b, u64 dir, const char *name,
		       size_t len, bool rmdir, u64 *ino)
{
	struct dinode parent, in;
	struct found f;
	int rc = txn_begin(b);

	if (!rc)
		rc = get_dir(b, dir, &parent);
	if (!rc)
		rc = find(b, dir, name, len, &f, &in);
	if (!rc && rmdir && !S_ISDIR(in.mode))
		rc = -ENOTDIR;
	if (!rc && !rmdir && S_ISDIR(in.mode))
		rc = -EISDIR;
	if (!rc && rmdir && in.size)
		rc = -ENOTEMPTY;
	if (rc)
		return rc;
	b->txn->frees = true;
	drop_link(b, &in);
	dir_changed(b, &parent, -1, rmdir ? -1 : 0);
	txn_dirent(b, dir, name, len, 0, 0);
	txn_inode(b, f.ino, &in);
	txn_inode(b, dir, &parent);
	rc = txn_commit(b);
	if (!rc && ino)
		*ino = f.ino;
	return rc;
}

int daxfs_unlink(struct daxfs_branch *b, u64 dir, const char *name, size_t len,
		 u64 *ino)
{
	bool tried = false;
	int rc;

	do {
		change_begin(b);
		rc = remove_name(b, dir, name, len, false, ino);
		change_end(b);
	} while (space_retry(b, rc, &tried));
	return rc;
}

int daxfs_rmdir(struct daxfs_branch *b, u64 dir, const char *name, size_t len,
		u64 *ino)
{
	bool tried = false;
	int rc;

	do {
		change_begin(b);
		rc = remove_name(b, dir, name, len, true, ino);
		change_end(b);
	} while (space_retry(b, rc, &tried));
	return rc;
}

/* ---- Rename ------------------------------------------------------------------------ */

struct side {
	u64 dir;
	const char *name;
	size_t len;
	struct dinode parent; /* the directory */
	struct found f;
	struct dinode in; /* what the name names */
	bool there;
};

/* Is `ino` the directory `dir` or above it? */
static int is_above(const struct daxfs_branch *b, u64 ino, u64 dir)
{
	struct dinode in;

	for (u32 depth = 0; depth < DEPTH_MAX; depth++) {
		if (dir == ino)
			return -EINVAL;
		if (dir == DAXFS_ROOT_INO)
			return 0;
		if (get_dir(b, dir, &in))
			return -EUCLEAN;
		dir = in.parent;
	}
	return -EUCLEAN;
}

/* A directory that moves elsewhere is a link more to its new parent. */
static bool too_many_links(const struct side *from, const struct side *to,
			   bool swap)
{
	bool from_dir = S_ISDIR(from->in.mode);
	bool to_dir = to->there && S_ISDIR(to->in.mode);

	if (from->dir == to->dir || from_dir == to_dir)
		return false;
	if (from_dir)
		return to->parent.nlink >= LINKS_MAX;
	return swap && from->parent.nlink >= LINKS_MAX;
}

/* Which kinds may take each other's place. */
static int check_kinds(const struct side *from, const struct side *to)
{
	if (S_ISDIR(from->in.mode)) {
		if (!S_ISDIR(to->in.mode))
			return -ENOTDIR;
		return to->in.size ? -ENOTEMPTY : 0;
	}
	return S_ISDIR(to->in.mode) ? -EISDIR : 0;
}

static int check_rename(const struct daxfs_branch *b, const struct side *from,
			const struct side *to, u32 flags)
{
	bool swap = flags & DAXFS_RENAME_EXCHANGE;
	int rc = 0;

	if (!to->there && (swap || !to->parent.nlink))
		return -ENOENT;
	if (to->there && (flags & DAXFS_RENAME_NOREPLACE))
		return -EEXIST;
	/* two names of one inode, or one name: nothing will be done */
	if (to->there && to->f.ino == from->f.ino)
		return 0;
	if (S_ISDIR(from->in.mode))
		rc = is_above(b, from->f.ino, to->dir);
	if (!rc && swap && S_ISDIR(to->in.mode))
		rc = is_above(b, to->f.ino, from->dir);
	if (!rc && !swap && to->there)
		rc = check_kinds(from, to);
	if (!rc && too_many_links(from, to, swap))
		rc = -EMLINK;
	return rc;
}

static int load(const struct daxfs_branch *b, struct side *from,
		struct side *to, u32 flags)
{
	int rc = get_dir(b, from->dir, &from->parent);

	if (!rc)
		rc = get_dir(b, to->dir, &to->parent);
	if (!rc)
		rc = find(b, from->dir, from->name, from->len, &from->f,
			  &from->in);
	if (rc)
		return rc;
	rc = find(b, to->dir, to->name, to->len, &to->f, &to->in);
	if (rc && rc != -ENOENT)
		return rc;
	to->there = !rc;
	return check_rename(b, from, to, flags);
}

/* The inode now lives in `dir`. */
static void moved(struct daxfs_branch *b, struct side *s, u64 dir)
{
	s->in.ctime = txn_time(b);
	if (S_ISDIR(s->in.mode))
		s->in.parent = dir;
	txn_inode(b, s->f.ino, &s->in);
}

/* Entries and subdirectories that each directory gains; one may be both. */
static void put_parents(struct daxfs_branch *b, struct side *from,
			struct side *to, int entries[2], int subdirs[2])
{
	if (from->dir == to->dir) {
		dir_changed(b, &from->parent, entries[0] + entries[1],
			    subdirs[0] + subdirs[1]);
	} else {
		dir_changed(b, &from->parent, entries[0], subdirs[0]);
		dir_changed(b, &to->parent, entries[1], subdirs[1]);
		txn_inode(b, to->dir, &to->parent);
	}
	txn_inode(b, from->dir, &from->parent);
}

static void exchange(struct daxfs_branch *b, struct side *from, struct side *to)
{
	int a = S_ISDIR(from->in.mode), c = S_ISDIR(to->in.mode);

	txn_dirent(b, from->dir, from->name, from->len, to->f.ino, to->in.mode);
	txn_dirent(b, to->dir, to->name, to->len, from->f.ino, from->in.mode);
	moved(b, from, to->dir);
	moved(b, to, from->dir);
	put_parents(b, from, to, (int[]){ 0, 0 }, (int[]){ c - a, a - c });
}

/* What overlayfs leaves where a name was: it hides the lower layer's. */
static void leave_whiteout(struct daxfs_branch *b, const struct side *s)
{
	u64 ino = new_inode_number(b->r);
	struct dinode in = { .mode = S_IFCHR, .nlink = 1 };

	if (s->parent.mode & S_ISGID)
		in.gid = s->parent.gid;
	in.atime = in.mtime = in.ctime = in.btime = txn_time(b);
	txn_inode(b, ino, &in);
	txn_dirent(b, s->dir, s->name, s->len, ino, in.mode);
}

static void replace(struct daxfs_branch *b, struct side *from, struct side *to,
		    bool whiteout)
{
	int dir = S_ISDIR(from->in.mode);
	int gone = to->there && S_ISDIR(to->in.mode);

	if (whiteout)
		leave_whiteout(b, from);
	else
		txn_dirent(b, from->dir, from->name, from->len, 0, 0);
	txn_dirent(b, to->dir, to->name, to->len, from->f.ino, from->in.mode);
	moved(b, from, to->dir);
	if (to->there) {
		drop_link(b, &to->in);
		txn_inode(b, to->f.ino, &to->in);
	}
	put_parents(b, from, to, (int[]){ whiteout - 1, !to->there },
		    (int[]){ -dir, dir - gone });
}

static bool flags_ok(u32 flags)
{
	const u32 known = DAXFS_RENAME_NOREPLACE | DAXFS_RENAME_EXCHANGE |
			  DAXFS_RENAME_WHITEOUT;

	return !(flags & ~known) && (!(flags & DAXFS_RENAME_EXCHANGE) ||
				     flags == DAXFS_RENAME_EXCHANGE);
}

static int rename_locked(struct daxfs_branch *b, struct side *from,
			 struct side *to, u32 flags, u64 *victim)
{
	bool swap = flags & DAXFS_RENAME_EXCHANGE;
	int rc = txn_begin(b);

	if (!rc)
		rc = load(b, from, to, flags);
	if (rc)
		return rc;
	if (to->there && to->f.ino == from->f.ino)
		return 0;
	if (flags & DAXFS_RENAME_WHITEOUT)
		rc = quota_inode(b);
	if (rc)
		return rc;
	if (swap)
		exchange(b, from, to);
	else
		replace(b, from, to, flags & DAXFS_RENAME_WHITEOUT);
	rc = txn_commit(b);
	if (!rc && victim && to->there && !swap)
		*victim = to->f.ino;
	return rc;
}

int daxfs_rename(struct daxfs_branch *b, u64 olddir, const char *oldname,
		 size_t oldlen, u64 newdir, const char *newname, size_t newlen,
		 u32 flags, u64 *victim)
{
	struct side from = { .dir = olddir, .name = oldname, .len = oldlen };
	struct side to = { .dir = newdir, .name = newname, .len = newlen };
	int rc = check_name(newname, newlen);
	bool tried = false;

	if (victim)
		*victim = 0;
	if (!rc && !flags_ok(flags))
		rc = -EINVAL;
	if (rc)
		return rc;
	do {
		change_begin(b);
		rc = rename_locked(b, &from, &to, flags, victim);
		change_end(b);
	} while (space_retry(b, rc, &tried));
	return rc;
}
