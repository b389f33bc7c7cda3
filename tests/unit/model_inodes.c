// SPDX-License-Identifier: Apache-2.0
/* Operations on attributes, ordinary and extended. */
#include "model.h"

static u8 value[DAXFS_XATTR_SIZE_MAX + 1];

void model_kill_priv(struct inode *i)
{
	if (S_ISDIR(i->mode))
		return;
	i->mode &= ~(u32)S_ISUID;
	if (i->mode & S_IXGRP)
		i->mode &= ~(u32)S_ISGID;
	model_set_x(i, X_CAP, NULL);
}

/* ---- Setattr ------------------------------------------------------------- */

static struct daxfs_attr attr_from(const struct op *op)
{
	struct daxfs_attr a = { .mode = op->mode,
				.uid = (u32)(op->salt % 9),
				.gid = (u32)(op->salt / 9 % 9) };
	u64 s = op->salt;

	a.atime.sec = (s64)(rnd(&s) >> 31) - 1000;
	a.atime.nsec = rnd_below(&s, 1000000000);
	a.mtime.sec = (s64)(rnd(&s) >> 32) - 1000;
	a.mtime.nsec = rnd_below(&s, 1000000000);
	a.ctime.sec = (s64)(rnd(&s) >> 33);
	a.ctime.nsec = rnd_below(&s, 1000000000);
	return a;
}

/* Sets the times that are given; returns those that are now. */
static u32 set_times(struct inode *i, u32 set, const struct daxfs_attr *a)
{
	u32 now = 0;

	if (set & DAXFS_SET_ATIME_NOW)
		now |= T_A;
	else if (set & DAXFS_SET_ATIME)
		i->t[0] = a->atime;
	if (set & DAXFS_SET_MTIME)
		i->t[1] = a->mtime;
	else if (set & DAXFS_SET_MTIME_NOW)
		now |= T_M;
	if (set & DAXFS_SET_CTIME)
		i->t[2] = a->ctime;
	else
		now |= T_C;
	return now;
}

ssize_t op_setattr(struct branch *b, const struct op *op)
{
	const struct inode *f = model_find(b, op->ino);
	struct daxfs_attr a = attr_from(op), out;
	struct inode *i;
	int want = model_writable(b), rc;

	if (!want && !f)
		want = -ENOENT;
	rc = daxfs_setattr(b->h, model_ino(f), op->flags, &a, &out);
	if (!model_done(b, rc, want))
		return rc;
	i = model_own(b, f->ino);
	if (op->flags & DAXFS_SET_MODE) {
		i->mode = (i->mode & S_IFMT) | a.mode;
		model_acl_chmod(i);
	}
	if (op->flags & DAXFS_SET_UID)
		i->uid = a.uid;
	if (op->flags & DAXFS_SET_GID)
		i->gid = a.gid;
	if (op->flags & DAXFS_SET_KILLPRIV)
		model_kill_priv(i);
	model_changed(b, i, set_times(i, op->flags, &a));
	SAME("mode returned", out.mode, i->mode);
	SAME("ctime returned", out.ctime.nsec, i->t[2].nsec);
	model_check_inode(b, i);
	return rc;
}

static bool is_after(const struct daxfs_time *a, const struct daxfs_time *b)
{
	return a->sec > b->sec || (a->sec == b->sec && a->nsec > b->nsec);
}

static bool same_time(const struct daxfs_time *a, const struct daxfs_time *b)
{
	return a->sec == b->sec && a->nsec == b->nsec;
}

/* Its parent has it too, and nothing has changed: reading leaves that so. */
static bool inherited(const struct branch *b, const struct inode *i)
{
	const struct inode *p = model_see(&model.br[b->parent], i->ino);

	return p && same_time(&p->t[0], &i->t[0]) &&
	       same_time(&p->t[2], &i->t[2]);
}

/* A full region or a quota may be why nothing was changed. */
static void check_stale(const struct branch *b)
{
	struct daxfs_region_info r;

	daxfs_region_info(model.g.r, &r);
	CHECK(b->quota_bytes || r.segments_free * 4 < r.segments + 64,
	      "touch left a stale atime");
}

ssize_t op_touch(struct branch *b, const struct op *op)
{
	struct inode *i = model_find(b, op->ino);
	s64 now = (s64)(model.started / 1000000000u);
	struct daxfs_attr a;
	bool set;
	int rc = daxfs_touch(b->h, model_ino(i));

	SAME("touch", rc, i ? 0 : -ENOENT);
	if (!i)
		return rc;
	set = !model_writable(b) &&
	      (!is_after(&i->t[0], &i->t[1]) || !is_after(&i->t[0], &i->t[2]) ||
	       now - i->t[0].sec >= 24 * 3600);
	SAME("getattr", daxfs_getattr(b->h, i->ino, &a), 0);
	if (same_time(&a.atime, &i->t[0])) {
		if (set && !inherited(b, i))
			check_stale(b);
		set = false;
	}
	if (set)
		model_changed(b, model_own(b, i->ino), T_A);
	else
		model_check_attr(b, i);
	return rc;
}

/* ---- Extended attributes ------------------------------------------------- */

ssize_t op_setxattr(struct branch *b, const struct op *op)
{
	const struct inode *f = model_find(b, op->ino);
	u32 k = X_CAP + op->name % (X_COUNT - X_CAP);
	u64 s = op->salt;
	int want = model_writable(b), rc;
	struct inode *i;

	for (u32 n = 0; n < op->len; n += 8) {
		u64 word = rnd(&s);

		memcpy(value + n, &word, op->len - n < 8 ? op->len - n : 8);
	}
	if (!want && !f)
		want = -ENOENT;
	if (!want && f->x[k] && (op->flags & DAXFS_XATTR_CREATE))
		want = -EEXIST;
	if (!want && !f->x[k] && (op->flags & DAXFS_XATTR_REPLACE))
		want = -ENODATA;
	if (op->len > DAXFS_XATTR_SIZE_MAX)
		want = -E2BIG;
	rc = daxfs_setxattr(b->h, model_ino(f), model_xnames[k], value, op->len,
			    op->flags);
	if (!model_done(b, rc, want))
		return rc;
	i = model_own(b, f->ino);
	model_set_x(i, k, model_value(value, (u32)op->len, b->id));
	model_changed(b, i, T_C);
	model_check_inode(b, i);
	return rc;
}

/* That there is none is no error. */
static ssize_t remove_acl(struct branch *b, const struct inode *f, u32 k)
{
	int rc = daxfs_removexattr(b->h, f->ino, model_xnames[k]);
	struct inode *i;

	if (!model_done(b, rc, S_ISLNK(f->mode) ? -EOPNOTSUPP : 0))
		return rc;
	if (k == X_ACCESS || S_ISDIR(f->mode)) {
		i = model_own(b, f->ino);
		model_set_x(i, k, NULL);
		model_changed(b, i, T_C);
	}
	model_check_inode(b, model_see(b, f->ino));
	return rc;
}

ssize_t op_removexattr(struct branch *b, const struct op *op)
{
	const struct inode *f = model_find(b, op->ino);
	u32 k = op->name % X_COUNT;
	int want = model_writable(b), rc;
	struct inode *i;

	if (!want && !f)
		want = -ENOENT;
	if (!want && k < X_CAP)
		return remove_acl(b, f, k);
	if (!want && !f->x[k])
		want = -ENODATA;
	rc = daxfs_removexattr(b->h, model_ino(f), model_xnames[k]);
	if (!model_done(b, rc, want))
		return rc;
	i = model_own(b, f->ino);
	model_set_x(i, k, NULL);
	model_changed(b, i, T_C);
	model_check_inode(b, i);
	return rc;
}
