// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * POSIX ACLs. They are extended attributes in the form that Linux' system calls
 * have, little-endian: a version, then entries of tag, permissions and id. The
 * rules are those of IEEE 1003.1e draft 17 as Linux has them.
 */
#include "acl.h"

#define ACL_VERSION 2u
#define ACL_MAX_ENTRIES 2047u /* two of them fit into one log entry */
#define NO_ID 0xffffffffu

enum {
	TAG_OWNER = 0x01,
	TAG_USER = 0x02,
	TAG_OWNING_GROUP = 0x04,
	TAG_GROUP = 0x08,
	TAG_MASK = 0x10,
	TAG_OTHER = 0x20,
};

struct acl_entry {
	__le16 tag, perm;
	__le32 id; /* of TAG_USER and TAG_GROUP */
};

struct acl_value {
	__le32 version;
	struct acl_entry e[];
};

/* A valid ACL. */
struct acl {
	struct acl_value *v; /* allocated */
	u32 n;               /* entries; 0: there is no ACL, v is NULL */
};

static const struct {
	const char *name;
	size_t len;
} names[] = {
	[ACCESS_ACL] = { "system.posix_acl_access", 23 },
	[DEFAULT_ACL] = { "system.posix_acl_default", 24 },
};

enum acl_kind acl_kind(const char *name, size_t len)
{
	for (u32 k = ACCESS_ACL; k <= DEFAULT_ACL; k++)
		if (len == names[k].len && !memcmp(name, names[k].name, len))
			return k;
	return NOT_ACL;
}

/* ---- Reading ------------------------------------------------------------- */

static u32 tag_of(const struct acl *a, u32 i)
{
	return i < a->n ? le16_to_cpu(a->v->e[i].tag) : 0;
}

static u32 count_tag(const struct acl *a, u32 *i, u32 tag)
{
	u32 n = 0;

	while (tag_of(a, *i) == tag) {
		++*i;
		n++;
	}
	return n;
}

/* Entries are in order of their tags; names need a mask. */
static bool order_ok(const struct acl *a)
{
	u32 i = 0, named, masks;

	if (count_tag(a, &i, TAG_OWNER) != 1)
		return false;
	named = count_tag(a, &i, TAG_USER);
	if (count_tag(a, &i, TAG_OWNING_GROUP) != 1)
		return false;
	named += count_tag(a, &i, TAG_GROUP);
	masks = count_tag(a, &i, TAG_MASK);
	return masks <= 1 && (masks || !named) &&
	       count_tag(a, &i, TAG_OTHER) == 1 && i == a->n;
}

/* Take an entry over; ids that mean nothing become the one that says so. */
static bool copy_entry(struct acl_entry *to, const struct acl_entry *from)
{
	u32 tag = le16_to_cpu(from->tag);
	bool named = tag == TAG_USER || tag == TAG_GROUP;

	*to = *from;
	if (!named)
		to->id = cpu_to_le32(NO_ID);
	else if (le32_to_cpu(from->id) == NO_ID)
		return false;
	return le16_to_cpu(from->perm) <= 7;
}

static void acl_free(struct acl *a)
{
	port_free(a->v);
	a->v = NULL;
	a->n = 0;
}

static size_t value_size(const struct acl *a)
{
	return sizeof(*a->v) + a->n * sizeof(a->v->e[0]);
}

/* On success *a is freed with acl_free(). EINVAL, E2BIG, ENOMEM. */
static int acl_parse(const void *value, size_t len, struct acl *a)
{
	struct acl_value head;
	bool ok = true;

	memset(a, 0, sizeof(*a));
	if (!len)
		return 0;
	if (len < sizeof(head) || (len - sizeof(head)) % sizeof(head.e[0]))
		return -EINVAL;
	memcpy(&head, value, sizeof(head));
	if (le32_to_cpu(head.version) != ACL_VERSION)
		return -EINVAL;
	if ((len - sizeof(head)) / sizeof(head.e[0]) > ACL_MAX_ENTRIES)
		return -E2BIG;
	if (len == sizeof(head))
		return 0;
	a->v = port_alloc(len);
	if (!a->v)
		return -ENOMEM;
	a->n = (u32)((len - sizeof(head)) / sizeof(head.e[0]));
	a->v->version = head.version;
	for (u32 i = 0; i < a->n && ok; i++) {
		struct acl_entry e; /* the value may lie anywhere */

		memcpy(&e, (const u8 *)value + sizeof(head) + i * sizeof(e),
		       sizeof(e));
		ok = copy_entry(&a->v->e[i], &e);
	}
	if (ok && order_ok(a))
		return 0;
	acl_free(a);
	return -EINVAL;
}

/* The ACL that an inode has; a->n is 0 without. */
static int acl_load(const struct daxfs_branch *b, u64 ino, enum acl_kind kind,
		    struct acl *a)
{
	struct xattr_ref ref;
	int rc;

	memset(a, 0, sizeof(*a));
	if (!view_xattr(b, ino, names[kind].name, names[kind].len, &ref))
		return 0;
	rc = acl_parse(ref.value, ref.value_len, a);
	return rc == -EINVAL || rc == -E2BIG ? -EUCLEAN : rc;
}

/* ---- ACLs and modes ------------------------------------------------------ */

/* NULL: there is none. */
static struct acl_entry *find_tag(const struct acl *a, u32 tag)
{
	for (u32 i = 0; i < a->n; i++)
		if (tag_of(a, i) == tag)
			return &a->v->e[i];
	return NULL;
}

/* The entries that are the mode's three digits, the owner's first. */
static void mode_entries(const struct acl *a, struct acl_entry *digit[3])
{
	digit[0] = find_tag(a, TAG_OWNER);
	digit[1] = find_tag(a, TAG_MASK);
	if (!digit[1])
		digit[1] = find_tag(a, TAG_OWNING_GROUP);
	digit[2] = find_tag(a, TAG_OTHER);
}

static u32 acl_mode(const struct acl *a)
{
	struct acl_entry *digit[3];
	u32 mode = 0;

	mode_entries(a, digit);
	for (u32 i = 0; i < 3; i++)
		mode = mode << 3 | le16_to_cpu(digit[i]->perm);
	return mode;
}

static void acl_set_mode(struct acl *a, u32 mode)
{
	struct acl_entry *digit[3];

	mode_entries(a, digit);
	for (u32 i = 0; i < 3; i++)
		digit[i]->perm = cpu_to_le16(mode >> (6 - 3 * i) & 7);
}

/* The mode says all that the ACL does. */
static bool is_mode(const struct acl *a)
{
	return a->n == 3;
}

/* ---- Writing ------------------------------------------------------------- */

static void acl_store(struct daxfs_branch *b, u64 ino, enum acl_kind kind,
		      const struct acl *a)
{
	txn_xattr(b, ino, names[kind].name, names[kind].len, a->v,
		  (u32)value_size(a), 0);
}

static void acl_remove(struct daxfs_branch *b, u64 ino, enum acl_kind kind)
{
	struct xattr_ref ref;

	if (view_xattr(b, ino, names[kind].name, names[kind].len, &ref))
		txn_noxattr(b, ino, names[kind].name, names[kind].len);
}

static int put(struct daxfs_branch *b, u64 ino, enum acl_kind kind,
	       const struct acl *a, u32 flags)
{
	struct dinode in;
	int rc = txn_begin(b);

	if (!rc)
		rc = get_dinode(b, ino, &in);
	if (rc)
		return rc;
	if (S_ISLNK(in.mode))
		return -EOPNOTSUPP;
	if (kind == DEFAULT_ACL && !S_ISDIR(in.mode))
		return a->n ? -EACCES : 0;
	if (kind == ACCESS_ACL && a->n)
		in.mode = (in.mode & ~0777u) | acl_mode(a);
	if (flags & DAXFS_XATTR_KILL_SGID)
		in.mode &= ~(u32)S_ISGID;
	if (!a->n || (kind == ACCESS_ACL && is_mode(a)))
		acl_remove(b, ino, kind);
	else
		acl_store(b, ino, kind, a);
	b->txn->frees = !a->n;
	in.ctime = txn_time(b);
	txn_inode(b, ino, &in);
	return txn_commit(b);
}

int acl_set(struct daxfs_branch *b, u64 ino, enum acl_kind kind,
	    const void *value, size_t len, u32 flags)
{
	struct acl a;
	int rc = acl_parse(value, len, &a);

	if (!rc)
		rc = put(b, ino, kind, &a, flags);
	acl_free(&a);
	return rc;
}

/* A new inode may what both its creator and the default ACL let it. */
int acl_inherit(struct daxfs_branch *b, u64 dir, u64 ino, u32 umask,
		struct dinode *in)
{
	struct acl a;
	int rc;

	if (S_ISLNK(in->mode))
		return 0;
	rc = acl_load(b, dir, DEFAULT_ACL, &a);
	if (rc)
		return rc;
	if (!a.n) {
		in->mode &= ~(umask & 0777u);
		return 0;
	}
	if (S_ISDIR(in->mode))
		acl_store(b, ino, DEFAULT_ACL, &a);
	in->mode &= acl_mode(&a) | ~0777u;
	acl_set_mode(&a, in->mode);
	if (!is_mode(&a))
		acl_store(b, ino, ACCESS_ACL, &a);
	acl_free(&a);
	return 0;
}

int acl_chmod(struct daxfs_branch *b, u64 ino, const struct dinode *in)
{
	struct acl a;
	int rc;

	if (S_ISLNK(in->mode))
		return 0;
	rc = acl_load(b, ino, ACCESS_ACL, &a);
	if (rc || !a.n)
		return rc;
	acl_set_mode(&a, in->mode);
	if (is_mode(&a))
		acl_remove(b, ino, ACCESS_ACL);
	else
		acl_store(b, ino, ACCESS_ACL, &a);
	acl_free(&a);
	return 0;
}
