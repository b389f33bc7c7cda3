// SPDX-License-Identifier: Apache-2.0
/* Comparing what the engine shows with the model. */
#include "model.h"

#define PIECE (64 * KB)

static u8 got[PIECE], want[PIECE];

u32 model_chance(u32 n)
{
	return rnd_below(&model.chance, n);
}

static u64 model_now(void)
{
	return port_now_ns();
}

/* ---- Attributes ---------------------------------------------------------- */

static const char *who(const struct branch *b, const struct inode *i)
{
	static char text[64];

	snprintf(text, sizeof(text), "inode i%llu on %s",
		 (unsigned long long)i->label, b->name);
	return text;
}

#define SAME_IN(b, i, what, got, want)                                   \
	do {                                                             \
		s64 got_ = (s64)(got), want_ = (s64)(want);              \
		CHECK(got_ == want_, "%s of %s is %lld, not %lld", what, \
		      who(b, i), (long long)got_, (long long)want_);     \
	} while (0)

static struct daxfs_attr get_attr(const struct branch *b, const struct inode *i)
{
	struct daxfs_attr a;

	SAME_IN(b, i, "getattr", daxfs_getattr(b->h, i->ino, &a), 0);
	return a;
}

static void check_attr(const struct branch *b, const struct inode *i,
		       const struct daxfs_attr *a)
{
	static const char *const names[] = { "atime", "mtime", "ctime",
					     "btime" };
	const struct daxfs_time *t[] = { &a->atime, &a->mtime, &a->ctime,
					 &a->btime };

	SAME_IN(b, i, "ino", a->ino, i->ino);
	SAME_IN(b, i, "mode", a->mode, i->mode);
	SAME_IN(b, i, "uid", a->uid, i->uid);
	SAME_IN(b, i, "gid", a->gid, i->gid);
	SAME_IN(b, i, "nlink", a->nlink, i->nlink);
	SAME_IN(b, i, "rdev", a->rdev, i->rdev);
	SAME_IN(b, i, "size", a->size,
		S_ISDIR(i->mode) ? i->n * 271ull : i->size);
	SAME_IN(b, i, "blocks", a->blocks, 8ull * i->nblocks);
	for (u32 k = 0; k < 4; k++) {
		SAME_IN(b, i, names[k], t[k]->sec, i->t[k].sec);
		SAME_IN(b, i, names[k], t[k]->nsec, i->t[k].nsec);
	}
}

void model_check_attr(const struct branch *b, const struct inode *i)
{
	struct daxfs_attr a = get_attr(b, i);

	check_attr(b, i, &a);
}

void model_changed(const struct branch *b, struct inode *i, u32 now)
{
	struct daxfs_attr a = get_attr(b, i);
	const struct daxfs_time *t[] = { &a.atime, &a.mtime, &a.ctime,
					 &a.btime };
	u64 end = model_now();

	for (u32 k = 0; k < 4; k++) {
		u64 ns = (u64)t[k]->sec * 1000000000u + t[k]->nsec;

		if (!(now & (1u << k)))
			continue;
		CHECK(ns >= model.started && ns <= end,
		      "time %u of %s is not now", k, who(b, i));
		i->t[k] = *t[k];
	}
	check_attr(b, i, &a);
}

static int no_value(const struct inode *i, u32 k)
{
	return k < X_CAP && S_ISLNK(i->mode) ? -EOPNOTSUPP : -ENODATA;
}

static void check_values(const struct branch *b, const struct inode *i,
			 size_t *names)
{
	for (u32 k = 0; k < X_COUNT; k++) {
		const struct value *v = i->x[k];
		ssize_t n;

		/* an absent one costs as much as one that is there */
		if (!v && model_chance(4))
			continue;
		n = daxfs_getxattr(b->h, i->ino, model_xnames[k], got,
				   sizeof(got));
		SAME_IN(b, i, model_xnames[k], n,
			v ? (s64)v->len : no_value(i, k));
		if (!v)
			continue;
		*names += strlen(model_xnames[k]) + 1;
		CHECK(!memcmp(got, v->bytes, v->len), "%s of %s differs",
		      model_xnames[k], who(b, i));
	}
}

static void check_xattrs(const struct branch *b, const struct inode *i)
{
	size_t names = 0;
	ssize_t n;

	check_values(b, i, &names);
	n = daxfs_listxattr(b->h, i->ino, (char *)got, sizeof(got));
	SAME_IN(b, i, "list of attributes", n, names);
	SAME_IN(b, i, "length of the list",
		daxfs_listxattr(b->h, i->ino, NULL, 0), names);
	for (char *p = (char *)got; p < (char *)got + n; p += strlen(p) + 1) {
		u32 k = 0;

		while (k < X_COUNT && strcmp(p, model_xnames[k]) != 0)
			k++;
		CHECK(k < X_COUNT && i->x[k], "%s has no attribute '%s'",
		      who(b, i), p);
	}
}

/* ---- Bytes --------------------------------------------------------------- */

struct gather {
	u64 len;
};

static ssize_t on_pieces(void *ctx, const struct daxfs_piece *p, u32 count)
{
	struct gather *g = ctx;

	for (u32 k = 0; k < count; k++) {
		CHECK(p[k].len && p[k].len <= PIECE - g->len,
		      "a piece of %zu bytes", p[k].len);
		if (p[k].ptr)
			memcpy(got + g->len, p[k].ptr, p[k].len);
		else
			memset(got + g->len, 0, p[k].len);
		g->len += p[k].len;
	}
	return (ssize_t)g->len;
}

static ssize_t read_some(const struct branch *b, const struct inode *i, u64 off,
			 u64 len)
{
	struct daxfs_piece pieces[8];
	struct gather g = { 0 };

	if (model_chance(3))
		return daxfs_read(b->h, i->ino, got, len, off);
	return daxfs_read_pieces(b->h, i->ino, len, off, pieces,
				 1 + model_chance(8), on_pieces, &g);
}

static void differ(const struct branch *b, const struct inode *i, u64 off,
		   u64 len)
{
	u64 k = 0;

	while (k < len && got[k] == want[k])
		k++;
	CHECK(k == len, "byte %llu of %s is %u, not %u",
	      (unsigned long long)(off + k), who(b, i), got[k], want[k]);
}

void model_check_bytes(const struct branch *b, const struct inode *i, u64 off,
		       u64 len)
{
	while (len) {
		u64 n = len < PIECE ? len : PIECE;
		u64 here = off < i->size ? i->size - off : 0;
		ssize_t rc = read_some(b, i, off, n);

		here = here < n ? here : n;
		CHECK(rc >= 0 && (u64)rc <= here && (rc || !here),
		      "read at %llu of %s gives %zd", (unsigned long long)off,
		      who(b, i), rc);
		if (!rc)
			return;
		model_bytes(i, off, (u64)rc, want);
		if (memcmp(got, want, (size_t)rc) != 0)
			differ(b, i, off, (u64)rc);
		off += (u64)rc;
		len -= (u64)rc;
	}
}

/* Runs of blocks, each with some of the hole on both sides. */
static void check_blocks(const struct branch *b, const struct inode *i)
{
	for (u32 k = 0, end; k < i->nblocks; k = end) {
		u64 off = i->blocks[k].n * BLK, n;

		for (end = k + 1; end < i->nblocks &&
				  i->blocks[end].n == i->blocks[end - 1].n + 1;)
			end++;
		n = (end - k + 1) * BLK;
		if (off) {
			off -= 100;
			n += 100;
		}
		model_check_bytes(b, i, off, n);
	}
}

static void check_file(const struct branch *b, const struct inode *i)
{
	if (i->size <= MB)
		model_check_bytes(b, i, 0, i->size + 10);
	else
		check_blocks(b, i);
}

/* ---- Directories --------------------------------------------------------- */

struct listing {
	const struct branch *b;
	const struct inode *dir;
	u8 *seen;
	u64 cookie;
	u32 left, count;
};

static int on_entry(void *ctx, const struct daxfs_dirent *d)
{
	struct listing *l = ctx;
	const struct entry *e;
	const struct inode *i;
	u32 name;

	if (!l->left)
		return 1;
	l->left--;
	name = model_name_id(d->name, d->len);
	e = model_entry(l->dir, name);
	CHECK(e, "%s lists '%.*s', which is not there", who(l->b, l->dir),
	      (int)d->len, d->name);
	SAME_IN(l->b, l->dir, "ino of an entry", d->ino, e->ino);
	i = model_see(l->b, d->ino);
	CHECK(i, "%s lists an inode that is gone", who(l->b, l->dir));
	SAME_IN(l->b, l->dir, "type of an entry", d->type, i->mode & S_IFMT);
	CHECK(!l->seen[e - l->dir->ents], "%s lists a name twice",
	      who(l->b, l->dir));
	CHECK(d->cookie && d->cookie < 1ull << 63, "cookie %llu",
	      (unsigned long long)d->cookie);
	l->seen[e - l->dir->ents] = 1;
	l->cookie = d->cookie;
	l->count++;
	return 0;
}

static void check_dir(const struct branch *b, const struct inode *dir)
{
	struct listing l = { .b = b, .dir = dir };
	u32 before;
	u64 parent = 0;

	l.seen = calloc(1, dir->n + 1);
	do {
		before = l.count;
		l.left = 1 + model_chance(2 * dir->n + 1);
		SAME_IN(b, dir, "readdir",
			daxfs_readdir(b->h, dir->ino, l.cookie, on_entry, &l),
			0);
	} while (l.count != before);
	free(l.seen);
	SAME_IN(b, dir, "number of entries", l.count, dir->n);
	SAME_IN(b, dir, "parent's error", daxfs_parent(b->h, dir->ino, &parent),
		0);
	SAME_IN(b, dir, "parent", parent, dir->parent);
}

void model_check_name(const struct branch *b, const struct inode *dir, u32 name)
{
	const struct entry *e = model_entry(dir, name);
	struct daxfs_attr a;
	size_t len;
	const char *text = model_name(name, &len);
	int rc = daxfs_lookup(b->h, dir->ino, text, len, &a);

	SAME_IN(b, dir, "lookup in", rc, e ? 0 : -ENOENT);
	if (e) {
		const struct inode *i = model_see(b, e->ino);

		CHECK(i, "%s has an entry for nothing", who(b, dir));
		check_attr(b, i, &a);
	}
}

static void check_link(const struct branch *b, const struct inode *i)
{
	ssize_t n = daxfs_readlink(b->h, i->ino, (char *)got, sizeof(got));

	SAME_IN(b, i, "readlink", n, i->target);
	CHECK(!memcmp(got, model_target(i->target), i->target),
	      "the target of %s differs", who(b, i));
}

void model_check_inode(const struct branch *b, const struct inode *i)
{
	model_check_attr(b, i);
	check_xattrs(b, i);
	if (S_ISDIR(i->mode))
		check_dir(b, i);
	else if (S_ISREG(i->mode))
		check_file(b, i);
	else if (S_ISLNK(i->mode))
		check_link(b, i);
}

/* ---- Branches ------------------------------------------------------------ */

static u64 value_blocks(const struct value *v)
{
	return (v->len + BLK - 1) / BLK;
}

u64 model_owned(const struct branch *b, u64 *more)
{
	u64 n = 0, unsure = 0;

	for (u32 s = 0; s < b->n; s++) {
		const struct inode *i = b->tab[s];

		unsure += i->unsure;
		for (u32 k = 0; k < i->nblocks; k++)
			n += i->blocks[k].owner == b->id;
		for (u32 k = 0; k < X_COUNT; k++)
			if (i->x[k] && i->x[k]->owner == b->id)
				n += value_blocks(i->x[k]);
	}
	if (more)
		*more = unsure;
	return n;
}

/* Inodes that the branch has made and still has. */
u64 model_inodes(const struct branch *b)
{
	const struct branch *p = &model.br[b->parent];
	u64 n = 0;

	for (u32 s = 0; s < b->n; s++)
		n += b->tab[s]->label >= LABEL_MADE &&
		     (b == model.br || !model_see(p, b->tab[s]->ino));
	return n;
}

static void check_usage(const struct branch *b,
			const struct daxfs_branch_info *info)
{
	struct daxfs_region_info r;
	u64 bytes, inodes, more, owned = model_owned(b, &more) * BLK;

	daxfs_region_info(model.g.r, &r);
	SAME("usage's error", daxfs_usage(b->h, &bytes, &inodes), 0);
	SAME("bytes in usage", bytes, info->bytes);
	SAME("inodes in usage", inodes, info->inodes);
	SAME("inodes of a branch", info->inodes, model_inodes(b));
	/* the rest is its log's segments */
	CHECK(info->bytes >= owned &&
		      (info->bytes - owned) % r.segment_size <= more * BLK,
	      "%s has %llu bytes in use, and blocks for %llu", b->name,
	      (unsigned long long)info->bytes, (unsigned long long)owned);
}

static void check_gone(const struct branch *b)
{
	struct daxfs_attr a;

	for (u32 k = 0; k < GONE && k < b->gone_count; k++)
		SAME("getattr of what is gone",
		     daxfs_getattr(b->h, b->gone[k], &a), -ENOENT);
}

static void check_meta(const struct branch *b)
{
	static u8 bytes[DAXFS_BRANCH_META_MAX];
	ssize_t n =
		daxfs_branch_get_meta(model.g.r, b->name, bytes, sizeof(bytes));

	SAME("get_meta", n, b->meta_len ? (ssize_t)b->meta_len : -ENODATA);
	for (u32 i = 0; i < b->meta_len; i++)
		CHECK(bytes[i] == model_meta_byte(b->meta_seed, i),
		      "metadata of %s differs at %u", b->name, i);
}

static void check_info(const struct branch *b)
{
	struct daxfs_branch_info info;

	SAME("branch_info", daxfs_branch_info(b->h, &info), 0);
	CHECK(!strcmp(info.name, b->name), "%s is called %s", b->name,
	      info.name);
	SAME("children", info.children, b->kids);
	SAME("state", info.state,
	     b->sealed ? DAXFS_BRANCH_SEALED : DAXFS_BRANCH_ACTIVE);
	SAME("persistent", info.persistent, b->persistent);
	CHECK(!strcmp(info.parent,
		      b == model.br ? "" : model.br[b->parent].name),
	      "%s has the parent '%s'", b->name, info.parent);
	SAME("quota_bytes", info.quota_bytes, b->quota_bytes);
	SAME("quota_inodes", info.quota_inodes, b->quota_inodes);
	SAME("meta_len", info.meta_len, b->meta_len);
	check_meta(b);
	check_usage(b, &info);
	check_gone(b);
}

void model_check_branch(const struct branch *b)
{
	for (u32 k = 0; k < b->n; k++)
		model_check_inode(b, b->tab[k]);
	check_info(b);
}

static void check_list(void)
{
	struct daxfs_branch_info *list;
	u32 count;

	SAME("branch_list", daxfs_branch_list(model.g.r, &list, &count), 0);
	SAME("number of branches", count, model.live);
	for (u32 k = 1; k < count; k++)
		CHECK(list[k - 1].id < list[k].id, "branches out of order");
	daxfs_free(list);
}

/* Of an inode that a branch has like its parent one look is enough. */
static void check_own(const struct branch *b)
{
	const struct branch *p = &model.br[b->parent];

	for (u32 k = 0; k < b->n; k++)
		if (b == p || b->tab[k]->refs == 1 || !model_chance(16) ||
		    model_see(p, b->tab[k]->ino) != b->tab[k])
			model_check_inode(b, b->tab[k]);
	check_info(b);
}

void model_check_all(void)
{
	for (u32 k = 0; k < SLOTS_MAX; k++)
		if (model.br[k].live)
			check_own(&model.br[k]);
	check_list();
}

/* ---- Space --------------------------------------------------------------- */

static bool quota_reached(const struct branch *b)
{
	u64 bytes = 0, inodes;

	if (!b->quota_bytes)
		return false;
	SAME("usage", daxfs_usage(b->h, &bytes, &inodes), 0);
	return bytes + model.p->write_max + MB >= b->quota_bytes;
}

int model_quota_error(const struct branch *b)
{
	return b->quota_inodes && model_inodes(b) >= b->quota_inodes ? -EDQUOT
								     : 0;
}

void model_no_space(const struct branch *b, ssize_t rc)
{
	struct daxfs_region_info r;
	u64 bytes = 0, inodes, log, most;

	model.full++;
	if (rc != -ENOSPC && quota_reached(b))
		return;
	CHECK(rc != -EDQUOT, "%s is not beyond its quota", b->name);
	SAME("usage", daxfs_usage(b->h, &bytes, &inodes), 0);
	daxfs_region_info(model.g.r, &r);
	log = (bytes - model_owned(b, NULL) * BLK) / r.segment_size;
	/* a sixteenth, and as much as the log is long, is kept for freeing */
	most = r.segments / 16 + 1 + log;
	most += model.p->write_max / r.segment_size + 2;
	CHECK(r.segments_free <= most,
	      "no space on %s, with %llu of %llu segments free and %llu in its log",
	      b->name, (unsigned long long)r.segments_free,
	      (unsigned long long)r.segments, (unsigned long long)log);
}

bool model_done(const struct branch *b, ssize_t rc, ssize_t foretold)
{
	if (!foretold && (rc == -ENOSPC || rc == -EDQUOT)) {
		model_no_space(b, rc);
		return false;
	}
	SAME("the result", rc, foretold);
	return !rc;
}
