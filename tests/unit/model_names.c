// SPDX-License-Identifier: Apache-2.0
/* Operations on names. */
#include "model.h"

int model_writable(const struct branch *b)
{
	return b == model.br || b->sealed || b->kids ? -EROFS : 0;
}

u64 model_ino(const struct inode *i)
{
	return i ? i->ino : 1000000007;
}

int model_dir_error(const struct inode *dir)
{
	if (!dir)
		return -ENOENT;
	return S_ISDIR(dir->mode) ? 0 : -ENOTDIR;
}

static struct inode *target_of(const struct branch *b, const struct inode *dir,
			       u32 name)
{
	const struct entry *e = model_entry(dir, name);

	return e ? model_see(b, e->ino) : NULL;
}

/* The directory has got or lost an entry. */
static void dir_changed(struct branch *b, u64 dir, u32 name)
{
	struct inode *d = model_own(b, dir);

	model_changed(b, d, T_M | T_C);
	model_check_name(b, d, name);
}

/* ---- Making -------------------------------------------------------------- */

static struct daxfs_new new_of(const struct op *op)
{
	struct daxfs_new n = { .mode = op->mode,
			       .umask = op->flags & 07777,
			       .uid = (u32)(op->salt % 5),
			       .gid = (u32)(op->salt / 5 % 5),
			       .rdev = (u32)(op->salt >> 40),
			       .target = model_target((u32)op->len) };

	return n;
}

/* What a new inode in `dir` is like, ACLs and all. */
static struct inode *model_new(struct branch *b, const struct op *op,
			       const struct inode *dir, u64 ino)
{
	struct daxfs_new n = new_of(op);
	struct inode *i = model_add(b, ino, LABEL_MADE + op->id, n.mode);

	i->uid = n.uid;
	i->gid = dir->mode & S_ISGID ? dir->gid : n.gid;
	if (S_ISDIR(n.mode)) {
		i->mode |= dir->mode & S_ISGID;
		i->parent = dir->ino;
	}
	if (S_ISCHR(n.mode) || S_ISBLK(n.mode))
		i->rdev = n.rdev;
	if (S_ISLNK(n.mode))
		i->size = i->target = (u32)op->len;
	model_acl_inherit(dir, i, n.umask);
	return i;
}

static int make_error(const struct branch *b, const struct inode *dir,
		      const struct op *op)
{
	int want = model_writable(b);

	if (!want)
		want = model_dir_error(dir);
	if (!want && model_entry(dir, op->name))
		want = -EEXIST;
	if (!want && !dir->nlink)
		want = -ENOENT;
	return want;
}

ssize_t op_make(struct branch *b, const struct op *op)
{
	const struct inode *dir = model_find(b, op->dir);
	struct daxfs_new n = new_of(op);
	struct daxfs_attr a;
	struct inode *i;
	size_t len;
	const char *name = model_name(op->name, &len);
	int want = make_error(b, dir, op), rc;

	if (!want)
		want = model_quota_error(b);
	rc = daxfs_make(b->h, model_ino(dir), name, len, &n, &a);

	if (!model_done(b, rc, want))
		return rc;
	i = model_new(b, op, dir, a.ino);
	model_changed(b, i, T_ALL);
	SAME("mode returned", a.mode, i->mode);
	model_check_inode(b, i);
	model_entry_add(model_own(b, dir->ino), op->name, a.ino);
	model_own(b, dir->ino)->nlink += S_ISDIR(n.mode);
	dir_changed(b, dir->ino, op->name);
	return rc;
}

ssize_t op_tmpfile(struct branch *b, const struct op *op)
{
	const struct inode *dir = model_find(b, op->dir);
	u32 flags = op->to_name & DAXFS_TMPFILE_EXCL;
	struct daxfs_new n = new_of(op);
	struct daxfs_attr a;
	struct inode *i;
	int want = model_writable(b), rc;

	if (!want)
		want = model_dir_error(dir);
	if (!want && !dir->nlink)
		want = -ENOENT;
	if (!want)
		want = model_quota_error(b);
	rc = daxfs_tmpfile(b->h, model_ino(dir), &n, flags, &a);
	if (!model_done(b, rc, want))
		return rc;
	i = model_new(b, op, dir, a.ino);
	i->nlink = 0;
	i->linkable = !flags;
	model_changed(b, i, T_ALL);
	model_check_inode(b, i);
	model_check_attr(b, dir);
	return rc;
}

ssize_t op_link(struct branch *b, const struct op *op)
{
	const struct inode *i = model_find(b, op->ino);
	const struct inode *dir = model_find(b, op->dir);
	size_t len;
	const char *name = model_name(op->name, &len);
	struct inode *own;
	int want = model_writable(b), rc;

	if (!want && !i)
		want = -ENOENT;
	if (!want && S_ISDIR(i->mode))
		want = -EPERM;
	if (!want && !i->nlink && !i->linkable)
		want = -ENOENT;
	if (!want)
		want = make_error(b, dir, op);
	rc = daxfs_link(b->h, model_ino(i), model_ino(dir), name, len, NULL);
	if (!model_done(b, rc, want))
		return rc;
	own = model_own(b, i->ino);
	own->nlink++;
	own->linkable = false;
	model_changed(b, own, T_C);
	model_entry_add(model_own(b, dir->ino), op->name, own->ino);
	dir_changed(b, dir->ino, op->name);
	return rc;
}

/* ---- Removing ------------------------------------------------------------ */

static int evict(struct branch *b, u64 ino)
{
	struct inode *i = model_see(b, ino);
	bool gone = i && !i->nlink;
	int rc = daxfs_evict(b->h, ino);
	struct daxfs_attr a;

	if (model_done(b, rc, gone ? model_writable(b) : 0)) {
		if (!gone)
			return rc;
		SAME("getattr of the evicted", daxfs_getattr(b->h, ino, &a),
		     -ENOENT);
		model_remove(b, ino);
	} else if (gone && rc == -ENOSPC) {
		model_settle_size(b, ino);
	}
	return rc;
}

ssize_t op_evict(struct branch *b, const struct op *op)
{
	return evict(b, model_ino(model_find(b, op->ino)));
}

static void lose_name(struct branch *b, u64 ino)
{
	struct inode *i = model_own(b, ino);

	i->nlink = S_ISDIR(i->mode) ? 0 : i->nlink - 1;
	model_changed(b, i, T_C);
	if (model_chance(10) < 7)
		evict(b, ino);
}

static ssize_t remove_name(struct branch *b, const struct op *op, bool rmdir)
{
	const struct inode *dir = model_find(b, op->dir), *i = NULL;
	size_t len;
	const char *name = model_name(op->name, &len);
	int want = model_writable(b), rc;
	u64 ino = 0;

	if (!want)
		want = model_dir_error(dir);
	if (!want) {
		i = target_of(b, dir, op->name);
		if (!i)
			want = -ENOENT;
		else if (rmdir && !S_ISDIR(i->mode))
			want = -ENOTDIR;
		else if (!rmdir && S_ISDIR(i->mode))
			want = -EISDIR;
		else if (rmdir && i->n)
			want = -ENOTEMPTY;
	}
	rc = (rmdir ? daxfs_rmdir : daxfs_unlink)(b->h, model_ino(dir), name,
						  len, &ino);
	if (!model_done(b, rc, want))
		return rc;
	SAME("the inode that lost its name", ino, i->ino);
	model_entry_remove(model_own(b, dir->ino), op->name);
	model_own(b, dir->ino)->nlink -= rmdir;
	dir_changed(b, dir->ino, op->name);
	lose_name(b, ino);
	return rc;
}

ssize_t op_unlink(struct branch *b, const struct op *op)
{
	return remove_name(b, op, false);
}

ssize_t op_rmdir(struct branch *b, const struct op *op)
{
	return remove_name(b, op, true);
}

/* Inodes without names were to go: rc is what came of it. */
void model_drop_orphans(struct branch *b, int rc)
{
	struct daxfs_attr a;

	for (u32 k = b->n; k--;) {
		const struct inode *i = b->tab[k];

		if (i->nlink)
			continue;
		if (!rc || daxfs_getattr(b->h, i->ino, &a))
			model_remove(b, i->ino);
		else if (a.size != i->size)
			model_settle_size(b, i->ino);
	}
}

ssize_t op_orphans(struct branch *b, const struct op *op)
{
	int rc = daxfs_evict_orphans(b->h);

	(void)op;
	if (model_done(b, rc, model_writable(b)) || rc == -ENOSPC)
		model_drop_orphans(b, rc);
	return rc;
}

/* ---- Renaming ------------------------------------------------------------ */

struct move {
	const struct inode *d1, *d2; /* directories */
	const struct inode *x, *y;   /* what has the names */
	u32 flags;
};

/* Is `above` the directory `dir` or over it? */
static bool is_over(const struct branch *b, u64 above, u64 dir)
{
	while (dir != above && dir != ROOT)
		dir = model_see(b, dir)->parent;
	return dir == above;
}

/* What takes the place of what. */
static int kinds_error(const struct inode *x, const struct inode *y)
{
	if (S_ISDIR(x->mode) && !S_ISDIR(y->mode))
		return -ENOTDIR;
	if (!S_ISDIR(x->mode) && S_ISDIR(y->mode))
		return -EISDIR;
	return S_ISDIR(y->mode) && y->n ? -ENOTEMPTY : 0;
}

static int rename_error(const struct branch *b, const struct move *m)
{
	bool swap = m->flags & DAXFS_RENAME_EXCHANGE;

	if (!m->x)
		return -ENOENT;
	if (!m->y && (swap || !m->d2->nlink))
		return -ENOENT;
	if (m->y && (m->flags & DAXFS_RENAME_NOREPLACE))
		return -EEXIST;
	if (m->x == m->y)
		return 0;
	if (S_ISDIR(m->x->mode) && is_over(b, m->x->ino, m->d2->ino))
		return -EINVAL;
	if (!swap)
		return m->y ? kinds_error(m->x, m->y) : 0;
	if (S_ISDIR(m->y->mode) && is_over(b, m->y->ino, m->d1->ino))
		return -EINVAL;
	return 0;
}

static int foretell(const struct branch *b, const struct op *op, struct move *m)
{
	int want = model_writable(b);

	if (op->flags & DAXFS_RENAME_EXCHANGE &&
	    op->flags != DAXFS_RENAME_EXCHANGE)
		return -EINVAL;
	if (!want)
		want = model_dir_error(m->d1);
	if (!want)
		want = model_dir_error(m->d2);
	if (want)
		return want;
	m->x = target_of(b, m->d1, op->name);
	m->y = target_of(b, m->d2, op->to_name);
	want = rename_error(b, m);
	if (!want && m->x != m->y && (op->flags & DAXFS_RENAME_WHITEOUT))
		want = model_quota_error(b);
	return want;
}

static void set_name(struct branch *b, u64 dir, u32 name, const struct inode *i)
{
	bool is_dir = S_ISDIR(i->mode);

	model_entry_add(model_own(b, dir), name, i->ino);
	model_own(b, dir)->nlink += is_dir;
	if (is_dir)
		model_own(b, i->ino)->parent = dir;
}

static void clear_name(struct branch *b, u64 dir, u32 name,
		       const struct inode *i)
{
	model_entry_remove(model_own(b, dir), name);
	model_own(b, dir)->nlink -= S_ISDIR(i->mode);
}

/* The device 0:0 that a rename leaves; only the engine knows its number. */
static void add_whiteout(struct branch *b, const struct op *op, u64 dir)
{
	const struct inode *d = model_see(b, dir);
	struct daxfs_attr a = { 0 };
	struct inode *i;
	size_t len;
	const char *name = model_name(op->name, &len);

	SAME("lookup of the whiteout", daxfs_lookup(b->h, dir, name, len, &a),
	     0);
	i = model_add(b, a.ino, LABEL_MADE + op->id, S_IFCHR);
	i->gid = d->mode & S_ISGID ? d->gid : 0;
	set_name(b, dir, op->name, i);
	model_changed(b, i, T_ALL);
}

static void rename_model(struct branch *b, const struct op *op,
			 const struct move *m)
{
	u64 d1 = m->d1->ino, d2 = m->d2->ino, x = m->x->ino;
	u64 y = m->y ? m->y->ino : 0;
	bool swap = y && (op->flags & DAXFS_RENAME_EXCHANGE);

	clear_name(b, d1, op->name, m->x);
	if (y)
		clear_name(b, d2, op->to_name, model_see(b, y));
	set_name(b, d2, op->to_name, model_see(b, x));
	if (swap)
		set_name(b, d1, op->name, model_see(b, y));
	if (op->flags & DAXFS_RENAME_WHITEOUT)
		add_whiteout(b, op, d1);
	model_changed(b, model_own(b, x), T_C);
	if (swap)
		model_changed(b, model_own(b, y), T_C);
	dir_changed(b, d1, op->name);
	dir_changed(b, d2, op->to_name);
	if (y && !swap)
		lose_name(b, y);
}

ssize_t op_rename(struct branch *b, const struct op *op)
{
	struct move m = { .d1 = model_find(b, op->dir),
			  .d2 = model_find(b, op->to_dir),
			  .flags = op->flags };
	size_t len, to_len;
	const char *name = model_name(op->name, &len);
	const char *to = model_name(op->to_name, &to_len);
	int want = foretell(b, op, &m), rc;
	u64 victim = 77;

	rc = daxfs_rename(b->h, model_ino(m.d1), name, len, model_ino(m.d2), to,
			  to_len, op->flags, &victim);
	if (!model_done(b, rc, want))
		return rc;
	SAME("the victim", victim,
	     m.y && m.x != m.y && !(op->flags & DAXFS_RENAME_EXCHANGE)
		     ? m.y->ino
		     : 0);
	if (m.x != m.y)
		rename_model(b, op, &m);
	return rc;
}
