// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Logs of version 4: one contiguous range a branch, entries packed back to back
 * (so nothing in them is aligned), each saying what was done rather than what
 * then is. They are read, never written.
 */
#include "view.h"

struct v4 {
	struct daxfs_branch *b;
	struct daxfs_delta_header h;
	const u8 *body; /* after the header */
	u32 len;        /* of the body */
	struct daxfs_time time;
};

/* Copy the fixed part of the body; false when the entry is shorter. */
static bool fixed(const struct v4 *e, void *out, u32 size)
{
	if (e->len < size)
		return false;
	memcpy(out, e->body, size);
	return true;
}

/* A name of n bytes at `off` in the body, or NULL. */
static const char *name_at(const struct v4 *e, u32 off, u32 n)
{
	const char *name = (const char *)e->body + off;

	if (off > e->len || n > e->len - off || !name_valid(name, n))
		return NULL;
	return name;
}

static void touch_dir(const struct v4 *e, u64 dir, int entries, int subdirs)
{
	struct dinode in;

	if (!view_inode(e->b, dir, &in))
		return;
	in.size += (u64)(s64)entries * DAXFS_BASE_DIRENT_SIZE_UNIT;
	in.nlink += (u32)subdirs;
	in.mtime = in.ctime = e->time;
	view_set_inode(e->b, dir, &in);
}

static const char *add_inode(const struct v4 *e, u64 parent, const char *name,
			     u32 len, u64 ino, struct dinode *in)
{
	struct dinode dir;
	struct found f;

	if (!view_inode(e->b, parent, &dir) || !S_ISDIR(dir.mode))
		return "entry names a parent that is no directory";
	if (!ino || ino > DAXFS_MAX_INO || in_base(&e->b->r->base, ino))
		return "entry names an inode out of range";
	if (view_lookup(e->b, parent, name, len, &f))
		return "entry creates a name that exists";
	in->nlink = S_ISDIR(in->mode) ? 2 : 1;
	in->parent = S_ISDIR(in->mode) ? parent : 0;
	in->atime = in->mtime = in->ctime = in->btime = e->time;
	view_set_inode(e->b, ino, in);
	view_set_dirent(e->b, parent, name, len, ino, in->mode);
	touch_dir(e, parent, 1, S_ISDIR(in->mode));
	return NULL;
}

static const char *do_create(const struct v4 *e)
{
	struct dinode in = { 0 };
	struct daxfs_delta_create c;
	const char *name;

	if (!fixed(e, &c, sizeof(c)))
		return "entry is too short";
	name = name_at(e, sizeof(c), le16_to_cpu(c.name_len));
	if (!name)
		return "entry has a bad name";
	in.mode = le32_to_cpu(c.mode) & 07777;
	in.mode |=
		le32_to_cpu(e->h.type) == DAXFS_DELTA_MKDIR ? S_IFDIR : S_IFREG;
	in.uid = le32_to_cpu(c.uid);
	in.gid = le32_to_cpu(c.gid);
	return add_inode(e, le64_to_cpu(c.parent), name,
			 le16_to_cpu(c.name_len), le64_to_cpu(c.new_ino), &in);
}

/* The names follow the structure with or without its padding. */
static const char *symlink_names(const struct v4 *e, u32 name, u32 target)
{
	static const u32 at[] = { 28, sizeof(struct daxfs_delta_symlink) };

	for (u32 i = 0; i < 2; i++) {
		const char *p = name_at(e, at[i], name);

		if (p && e->len - at[i] > name + target &&
		    !memchr(p, 0, name + target) && !p[name + target])
			return p;
	}
	return NULL;
}

static const char *do_symlink(const struct v4 *e)
{
	struct dinode in = { .mode = S_IFLNK | 0777 };
	struct daxfs_delta_symlink s;
	const char *name, *why;
	u32 len, target;

	memset(&s, 0, sizeof(s));
	if (!fixed(e, &s, 28))
		return "entry is too short";
	len = le16_to_cpu(s.name_len);
	target = le16_to_cpu(s.target_len);
	name = symlink_names(e, len, target);
	if (!name || !target || target > DAXFS_SYMLINK_MAX)
		return "entry has a bad name or target";
	in.uid = le32_to_cpu(s.uid);
	in.gid = le32_to_cpu(s.gid);
	in.size = target;
	why = add_inode(e, le64_to_cpu(s.parent), name, len,
			le64_to_cpu(s.new_ino), &in);
	if (!why)
		view_set_target(e->b, le64_to_cpu(s.new_ino), name + len,
				target);
	return why;
}

static void drop_name(const struct v4 *e, u64 dir, const char *name, u32 len)
{
	struct dinode in;
	struct found f;
	bool is_dir;

	if (!view_lookup(e->b, dir, name, len, &f) ||
	    !view_inode(e->b, f.ino, &in))
		return;
	is_dir = S_ISDIR(in.mode);
	in.nlink = is_dir || !in.nlink ? 0 : in.nlink - 1;
	in.ctime = e->time;
	view_set_inode(e->b, f.ino, &in);
	view_set_dirent(e->b, dir, name, len, 0, 0);
	touch_dir(e, dir, -1, is_dir ? -1 : 0);
}

static const char *do_delete(const struct v4 *e)
{
	struct daxfs_delta_delete d;
	const char *name;

	if (!fixed(e, &d, sizeof(d)))
		return "entry is too short";
	name = name_at(e, sizeof(d), le16_to_cpu(d.name_len));
	if (!name)
		return "entry has a bad name";
	drop_name(e, le64_to_cpu(d.parent), name, le16_to_cpu(d.name_len));
	return NULL;
}

static const char *do_rename(const struct v4 *e)
{
	struct daxfs_delta_rename r;
	const char *from, *to;
	u32 flen, tlen;
	u64 olddir, newdir;
	struct dinode in, dir;
	struct found f;

	if (!fixed(e, &r, sizeof(r)))
		return "entry is too short";
	flen = le16_to_cpu(r.old_len);
	tlen = le16_to_cpu(r.new_len);
	olddir = le64_to_cpu(r.old_parent);
	newdir = le64_to_cpu(r.new_parent);
	from = name_at(e, sizeof(r), flen);
	to = name_at(e, sizeof(r) + flen, tlen);
	if (!from || !to)
		return "entry has a bad name";
	if (!view_inode(e->b, newdir, &dir) || !S_ISDIR(dir.mode))
		return "entry names a parent that is no directory";
	if (!view_lookup(e->b, olddir, from, flen, &f) ||
	    !view_inode(e->b, f.ino, &in))
		return "entry renames a name that does not exist";
	if (olddir == newdir && !name_cmp(from, flen, to, tlen))
		return NULL;
	drop_name(e, newdir, to, tlen);
	view_set_dirent(e->b, olddir, from, flen, 0, 0);
	touch_dir(e, olddir, -1, S_ISDIR(in.mode) ? -1 : 0);
	view_set_dirent(e->b, newdir, to, tlen, f.ino, in.mode);
	touch_dir(e, newdir, 1, S_ISDIR(in.mode));
	in.ctime = e->time;
	if (S_ISDIR(in.mode))
		in.parent = newdir;
	view_set_inode(e->b, f.ino, &in);
	return NULL;
}

static void set_size(const struct v4 *e, u64 ino, struct dinode *in, u64 size)
{
	if (size < in->size)
		view_cut(e->b, ino, size, ~0ull);
	if (in->base_valid > size)
		in->base_valid = size;
	in->size = size;
	in->blocks = DIV_ROUND_UP(size, BLOCK);
}

static const char *do_write(const struct v4 *e)
{
	u64 ino = le64_to_cpu(e->h.ino), off, len;
	struct daxfs_delta_write w;
	struct dinode in;

	if (!fixed(e, &w, sizeof(w)))
		return "entry is too short";
	off = le64_to_cpu(w.offset);
	len = le32_to_cpu(w.len);
	if (len > e->len - sizeof(w) || off > DAXFS_MAX_FILE_SIZE - len)
		return "entry has a bad range";
	if (!view_inode(e->b, ino, &in) || !S_ISREG(in.mode))
		return "entry writes to what is no file";
	if (len)
		view_set_extent(e->b, ino, off, len,
				offset_of(e->b->r, e->body + sizeof(w)));
	if (off + len > in.size)
		set_size(e, ino, &in, off + len);
	in.mtime = in.ctime = e->time;
	view_set_inode(e->b, ino, &in);
	return NULL;
}

static const char *do_setattr(const struct v4 *e)
{
	u64 ino = le64_to_cpu(e->h.ino);
	struct daxfs_delta_setattr s = { 0 };
	struct daxfs_delta_truncate t;
	struct dinode in;
	u32 valid;

	if (le32_to_cpu(e->h.type) == DAXFS_DELTA_TRUNCATE) {
		if (!fixed(e, &t, sizeof(t)))
			return "entry is too short";
		s.size = t.new_size;
		s.valid = cpu_to_le32(DAXFS_DELTA_SET_SIZE);
	} else if (!fixed(e, &s, sizeof(s))) {
		return "entry is too short";
	}
	valid = le32_to_cpu(s.valid);
	if (!view_inode(e->b, ino, &in))
		return "entry changes an inode that does not exist";
	if ((valid & DAXFS_DELTA_SET_SIZE) &&
	    (!S_ISREG(in.mode) || le64_to_cpu(s.size) > DAXFS_MAX_FILE_SIZE))
		return "entry has a bad size";
	if (valid & DAXFS_DELTA_SET_MODE)
		in.mode = (in.mode & S_IFMT) | (le32_to_cpu(s.mode) & 07777);
	if (valid & DAXFS_DELTA_SET_UID)
		in.uid = le32_to_cpu(s.uid);
	if (valid & DAXFS_DELTA_SET_GID)
		in.gid = le32_to_cpu(s.gid);
	if (valid & DAXFS_DELTA_SET_SIZE) {
		set_size(e, ino, &in, le64_to_cpu(s.size));
		in.mtime = e->time;
	}
	in.ctime = e->time;
	view_set_inode(e->b, ino, &in);
	return NULL;
}

static const char *apply_entry(const struct v4 *e)
{
	switch (le32_to_cpu(e->h.type)) {
	case DAXFS_DELTA_WRITE:
		return do_write(e);
	case DAXFS_DELTA_CREATE:
	case DAXFS_DELTA_MKDIR:
		return do_create(e);
	case DAXFS_DELTA_DELETE:
		return do_delete(e);
	case DAXFS_DELTA_TRUNCATE:
	case DAXFS_DELTA_SETATTR:
		return do_setattr(e);
	case DAXFS_DELTA_RENAME:
		return do_rename(e);
	case DAXFS_DELTA_SYMLINK:
		return do_symlink(e);
	default:
		return "unknown entry type";
	}
}

/* Memory for one entry; a write or a truncate may drop many extents. */
static int reserve(struct v4 *e)
{
	u64 ts = le64_to_cpu(e->h.timestamp), from = 0, to = ~0ull;
	struct daxfs_delta_write w;

	e->time.sec = (s64)(ts / 1000000000u);
	e->time.nsec = (u32)(ts % 1000000000u);
	if (le32_to_cpu(e->h.type) == DAXFS_DELTA_WRITE &&
	    fixed(e, &w, sizeof(w))) {
		from = le64_to_cpu(w.offset);
		to = from + le32_to_cpu(w.len);
	}
	return view_reserve_sets(e->b, le64_to_cpu(e->h.ino), from, to);
}

static int replay(struct v4 *e, u64 off, u64 len, struct daxfs_message *msg)
{
	char which[64];
	u64 pos = 0;

	port_snprintf(which, sizeof(which), "branch %s", e->b->name);
	while (len - pos >= sizeof(e->h)) {
		const u8 *p = at(e->b->r, off + pos);
		const char *why = "entry size out of range";
		u32 size;
		int rc;

		memcpy(&e->h, p, sizeof(e->h));
		size = le32_to_cpu(e->h.total_size);
		/* version 4 publishes the size first: what was not written ends it */
		if (!e->h.type && !size)
			return 0;
		e->body = p + sizeof(e->h);
		e->len = size - (u32)sizeof(e->h);
		if (size >= sizeof(e->h) && size <= len - pos) {
			rc = reserve(e);
			if (rc)
				return rc;
			why = apply_entry(e);
		}
		if (why)
			return corrupt(msg, "log", which, why, off + pos);
		pos += size;
	}
	return 0;
}

int v4_replay(struct daxfs_branch *b, struct daxfs_message *msg)
{
	struct v4 e = { .b = b };
	struct daxfs_region *r = b->r;
	u64 total = le64_to_cpu(r->sb->total_size), off, len;
	const struct daxfs_branch_entry *entry;
	char which[64];
	int rc;

	/* main of a static image, or of one that was never mounted */
	if (b->slot == NO_SLOT)
		return 0;
	entry = &r->table[b->slot];
	off = le64_to_cpu(entry->log_offset);
	len = le64_to_cpu(entry->log_size);
	port_snprintf(which, sizeof(which), "branch %s", b->name);
	if (len && (off < BLOCK || off > total || len > total - off))
		return corrupt(msg, "branch table", which,
			       "log outside the region", off);
	rc = len ? replay(&e, off, len, msg) : 0;
	ppool_drain(&b->pool);
	ppool_drain(&b->ipool);
	return rc;
}
