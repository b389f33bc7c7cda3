// SPDX-License-Identifier: Apache-2.0
/* POSIX ACLs as Linux has them: a version, then entries by tag and id. */
#include "model.h"

struct acl_entry {
	__le16 tag, perm;
	__le32 id;
};

enum {
	ACL_USER_OBJ = 1,
	ACL_USER = 2,
	ACL_GROUP_OBJ = 4,
	ACL_GROUP = 8,
	ACL_MASK = 16,
	ACL_OTHER = 32,
};

#define ACL_MAX 12u

static u32 acl_count(const struct value *v)
{
	return (v->len - 4) / (u32)sizeof(struct acl_entry);
}

static struct acl_entry *acl_entries(struct value *v)
{
	return (struct acl_entry *)(v->bytes + 4);
}

static struct acl_entry *acl_find(struct value *v, u16 tag)
{
	struct acl_entry *e = acl_entries(v);

	for (u32 k = 0; k < acl_count(v); k++)
		if (le16toh(e[k].tag) == tag)
			return &e[k];
	return NULL;
}

/* What the group bits of the mode stand for. */
static struct acl_entry *acl_group(struct value *v)
{
	struct acl_entry *mask = acl_find(v, ACL_MASK);

	return mask ? mask : acl_find(v, ACL_GROUP_OBJ);
}

static u32 perm(const struct acl_entry *e)
{
	return le16toh(e->perm);
}

/* The permission bits that it says; true when they say it all. */
static bool acl_mode(struct value *v, u32 *mode)
{
	*mode = perm(acl_find(v, ACL_USER_OBJ)) << 6 | perm(acl_group(v)) << 3 |
		perm(acl_find(v, ACL_OTHER));
	return acl_count(v) == 3;
}

static struct value *copy_value(const struct value *v)
{
	struct value *c = model_value(v->bytes, v->len, 0);

	c->owner = v->owner;
	return c;
}

void model_acl_chmod(struct inode *i)
{
	struct value *v;

	if (!i->x[X_ACCESS])
		return;
	v = copy_value(i->x[X_ACCESS]);
	acl_find(v, ACL_USER_OBJ)->perm = htole16(i->mode >> 6 & 7);
	acl_group(v)->perm = htole16(i->mode >> 3 & 7);
	acl_find(v, ACL_OTHER)->perm = htole16(i->mode & 7);
	model_set_x(i, X_ACCESS, v);
}

/* A new inode has its directory's default ACL, less what its mode lacks. */
void model_acl_inherit(const struct inode *dir, struct inode *i, u32 umask)
{
	const struct value *def = dir->x[X_DEFAULT];
	struct value *v;
	u32 mode;

	if (S_ISLNK(i->mode))
		return;
	if (!def) {
		i->mode &= ~(umask & 0777);
		return;
	}
	v = copy_value(def);
	acl_find(v, ACL_USER_OBJ)->perm &= htole16(i->mode >> 6 & 7);
	acl_group(v)->perm &= htole16(i->mode >> 3 & 7);
	acl_find(v, ACL_OTHER)->perm &= htole16(i->mode & 7);
	if (acl_mode(v, &mode))
		free(v);
	else
		model_set_x(i, X_ACCESS, v);
	i->mode = (i->mode & ~0777u) | mode;
	if (S_ISDIR(i->mode))
		model_set_x(i, X_DEFAULT, copy_value(def));
}

/* ---- Setting ------------------------------------------------------------- */

static void add(struct value *v, u64 *s, u16 tag, u32 id)
{
	struct acl_entry *e = acl_entries(v) + acl_count(v);

	e->tag = htole16(tag);
	e->perm = htole16((u16)rnd_below(s, 8));
	e->id = htole32(id);
	v->len += sizeof(*e);
}

/* Users and groups of its own need a mask; others may have one. */
static struct value *make_acl(u64 salt)
{
	static const u8 zeros[4 + ACL_MAX * sizeof(struct acl_entry)];
	struct value *v = model_value(zeros, sizeof(zeros), 0);
	u32 users = rnd_below(&salt, 3), groups = rnd_below(&salt, 3);

	v->bytes[0] = 2;
	v->len = 4;
	add(v, &salt, ACL_USER_OBJ, ~0u);
	for (u32 k = 0; k < users; k++)
		add(v, &salt, ACL_USER, 100 + k);
	add(v, &salt, ACL_GROUP_OBJ, ~0u);
	for (u32 k = 0; k < groups; k++)
		add(v, &salt, ACL_GROUP, 200 + k);
	if (users + groups || rnd_below(&salt, 2))
		add(v, &salt, ACL_MASK, ~0u);
	add(v, &salt, ACL_OTHER, ~0u);
	return v;
}

/* Ways to be wrong: version, length, a tag, order, no mask, no owner. */
static void spoil(struct value *v, u64 salt)
{
	struct acl_entry *e = acl_entries(v);

	switch (salt % 5) {
	case 0:
		v->bytes[0] = 1;
		break;
	case 1:
		v->len -= 3;
		break;
	case 2:
		e[acl_count(v) - 1].tag = htole16(64);
		break;
	case 3:
		e[0].perm = htole16(8);
		break;
	default:
		e[0] = e[1];
	}
}

static int acl_error(const struct branch *b, const struct inode *f, bool def)
{
	int want = model_writable(b);

	if (!want && !f)
		want = -ENOENT;
	if (!want && S_ISLNK(f->mode))
		want = -EOPNOTSUPP;
	if (!want && def && !S_ISDIR(f->mode))
		want = -EACCES;
	return want;
}

static void set_access(struct inode *i, struct value *v, u32 flags)
{
	u32 mode;

	if (acl_mode(v, &mode))
		model_set_x(i, X_ACCESS, NULL);
	else
		model_set_x(i, X_ACCESS, copy_value(v));
	i->mode = (i->mode & ~0777u) | mode;
	if (flags & DAXFS_XATTR_KILL_SGID)
		i->mode &= ~(u32)S_ISGID;
}

ssize_t op_setacl(struct branch *b, const struct op *op)
{
	const struct inode *f = model_find(b, op->ino);
	u32 k = op->name % 2 ? X_DEFAULT : X_ACCESS;
	struct value *v = make_acl(op->salt);
	bool bad = op->mode % 16 == 0;
	int want = acl_error(b, f, k == X_DEFAULT), rc;
	struct inode *i;

	if (bad)
		spoil(v, op->salt);
	rc = daxfs_setxattr(b->h, model_ino(f), model_xnames[k], v->bytes,
			    v->len, op->flags);
	if (bad && rc == -EINVAL)
		want = rc;
	if (model_done(b, rc, want)) {
		CHECK(!bad, "an ACL that is none was taken");
		i = model_own(b, f->ino);
		if (k == X_ACCESS)
			set_access(i, v, op->flags);
		else
			model_set_x(i, X_DEFAULT, copy_value(v));
		model_changed(b, i, T_C);
		model_check_inode(b, i);
	}
	free(v);
	return rc;
}
