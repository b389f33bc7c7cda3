// SPDX-License-Identifier: Apache-2.0
/*
 * Random operations on several branches, against a model that keeps every
 * branch as plain arrays. DAXFS_SEED and DAXFS_STEPS replay a run.
 */
#include "core_util.h"

#define FILE_MAX (256 * KB) /* 64 blocks: one word of the model */
#define MAX_INODES 420u
#define MAX_ATTRS 6u
#define SLOTS 12u /* of the branch table */
#define NAMES 30u
#define NAME_LEN 28

struct entry {
	char name[NAME_LEN];
	u64 ino;
};

struct attribute {
	u8 *value; /* NULL: not there */
	u32 len;
};

struct inode {
	int refs; /* branches that share it */
	u64 ino;
	u32 mode, uid, gid, nlink, rdev;
	u64 size, mapped; /* a bit a block */
	u8 *data;         /* FILE_MAX bytes, files only */
	struct daxfs_time mtime;
	bool mtime_known;
	const char *target;
	u64 parent; /* directories */
	struct entry *ents;
	u32 n;
	struct attribute x[MAX_ATTRS];
};

static const char *const xnames[MAX_ATTRS] = {
	"user.a",   "user.b", "trusted.c", "user.base", "security.capability",
	"user.long"
};
#define X_CAP 4

struct branch {
	char name[16];
	bool live, sealed, persistent;
	int parent, kids;
	struct inode *tab[MAX_INODES + 8];
	u32 n;
	struct daxfs_branch *h;
};

static struct reg g;
static struct branch br[SLOTS]; /* 0: main */
static u64 seed, steps_done;
static u32 full; /* how often space ran out lately */
static bool committed, calm;
static bool sealing; /* sealed branches rule commits out */
static u64 free_at_start;
static u32 newest; /* the branch made last, so that some nest deeply */
static u8 scratch[FILE_MAX + 8192], bytes[FILE_MAX];

static u32 below(u32 n)
{
	return rnd_below(&seed, n);
}

static bool chance(u32 percent)
{
	return below(100) < percent;
}

/* ---- The model's inodes --------------------------------------------------------- */

static void *get_mem(size_t n)
{
	void *p = calloc(1, n ? n : 1);

	assert_non_null(p);
	return p;
}

static void *copy_mem(const void *old, size_t n)
{
	void *p = get_mem(n);

	memcpy(p, old, n);
	return p;
}

static void put_inode(struct inode *i)
{
	if (--i->refs)
		return;
	free(i->data);
	free(i->ents);
	for (u32 k = 0; k < MAX_ATTRS; k++)
		free(i->x[k].value);
	free(i);
}

/* Index in tab, which is in order of ino; n when absent. */
static u32 slot_of(const struct branch *b, u64 ino)
{
	u32 lo = 0, hi = b->n;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (b->tab[mid]->ino < ino)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < b->n && b->tab[lo]->ino == ino ? lo : b->n;
}

static struct inode *see(const struct branch *b, u64 ino)
{
	u32 s = slot_of(b, ino);

	return s < b->n ? b->tab[s] : NULL;
}

/* The same, to be changed on this branch alone. */
static struct inode *own(struct branch *b, u64 ino)
{
	u32 s = slot_of(b, ino);
	struct inode *i = b->tab[s], *c;

	assert_true(s < b->n);
	if (i->refs == 1)
		return i;
	c = copy_mem(i, sizeof(*i));
	c->refs = 1;
	if (i->data)
		c->data = copy_mem(i->data, FILE_MAX);
	if (i->ents)
		c->ents = copy_mem(i->ents, i->n * sizeof(*i->ents));
	for (u32 k = 0; k < MAX_ATTRS; k++)
		if (i->x[k].value)
			c->x[k].value = copy_mem(i->x[k].value, i->x[k].len);
	i->refs--;
	b->tab[s] = c;
	return c;
}

static struct inode *add_inode(struct branch *b, u64 ino, u32 mode)
{
	struct inode *i = get_mem(sizeof(*i));

	i->refs = 1;
	i->ino = ino;
	i->mode = mode;
	i->nlink = S_ISDIR(mode) ? 2 : 1;
	if (S_ISREG(mode))
		i->data = get_mem(FILE_MAX);
	assert_true(b->n < MAX_INODES + 8);
	if (b->n)
		assert_true(b->tab[b->n - 1]->ino < ino);
	b->tab[b->n++] = i;
	return i;
}

static void remove_inode(struct branch *b, u64 ino)
{
	u32 s = slot_of(b, ino);

	put_inode(b->tab[s]);
	b->n--;
	memmove(&b->tab[s], &b->tab[s + 1], (b->n - s) * sizeof(b->tab[0]));
}

static int entry_of(const struct inode *dir, const char *name)
{
	for (u32 k = 0; k < dir->n; k++)
		if (!strcmp(dir->ents[k].name, name))
			return (int)k;
	return -1;
}

static void add_entry(struct inode *dir, const char *name, u64 ino)
{
	dir->ents = realloc(dir->ents, (dir->n + 1) * sizeof(*dir->ents));
	assert_non_null(dir->ents);
	memset(&dir->ents[dir->n], 0, sizeof(*dir->ents));
	snprintf(dir->ents[dir->n].name, NAME_LEN, "%s", name);
	dir->ents[dir->n++].ino = ino;
	dir->mtime_known = false;
}

static void remove_entry(struct inode *dir, const char *name)
{
	int k = entry_of(dir, name);

	assert_true(k >= 0);
	dir->ents[k] = dir->ents[--dir->n];
	dir->mtime_known = false;
}

static void set_attribute(struct inode *i, u32 k, const void *v, u32 len)
{
	free(i->x[k].value);
	i->x[k].value = copy_mem(v, len);
	i->x[k].len = len;
}

static void drop_attribute(struct inode *i, u32 k)
{
	free(i->x[k].value);
	i->x[k].value = NULL;
}

static u64 block_bits(u64 from, u64 to)
{
	u64 m = 0;

	for (u64 k = from / 4096; k < (to + 4095) / 4096; k++)
		m |= 1ull << k;
	return m;
}

static void model_base(struct branch *b)
{
	char name[NAME_LEN];
	struct inode *i;

	add_inode(b, ROOT, S_IFDIR | 0755)->parent = ROOT;
	for (u32 k = 0; k < BASE_NODES; k++) {
		const struct bnode *n = &base_nodes[k];

		if (!see(b, n->ino)) {
			i = add_inode(b, n->ino, n->mode);
			i->parent = S_ISDIR(n->mode) ? n->parent : 0;
			i->mapped = S_ISREG(n->mode) || S_ISLNK(n->mode)
					    ? block_bits(0, n->size)
					    : 0;
			i->size = n->size;
			for (u32 at = 0; S_ISREG(n->mode) && at < n->size; at++)
				i->data[at] = base_byte(n->ino, at);
		} else {
			see(b, n->ino)->nlink++;
		}
		add_entry(see(b, n->parent), n->name, n->ino);
		see(b, n->parent)->nlink += S_ISDIR(n->mode);
	}
	for (u32 k = 0; k < B_MANY_FILES; k++) {
		snprintf(name, sizeof(name), "f%03u", k);
		add_inode(b, B_FIRST + k, S_IFREG | 0644);
		add_entry(see(b, B_MANY), name, B_FIRST + k);
	}
	see(b, B_FILE)->uid = 1000;
	see(b, B_DEV)->rdev = daxfs_makedev(5, 1);
	see(b, B_LINK)->target = B_LINK_TARGET;
	set_attribute(see(b, B_FILE), 3, "value", 5);
	set_attribute(see(b, B_FILE), X_CAP, B_CAP, 5);
}

/* ---- Comparing ------------------------------------------------------------------- */

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
	char name[NAME_LEN];
	int k;

	if (!l->left)
		return 1;
	l->left--;
	assert_true(d->len < NAME_LEN);
	memcpy(name, d->name, d->len);
	name[d->len] = 0;
	k = entry_of(l->dir, name);
	if (k < 0)
		fail_msg("readdir shows '%s', which is not there", name);
	assert_int_equal(d->ino, l->dir->ents[k].ino);
	assert_int_equal(d->type, see(l->b, d->ino)->mode & S_IFMT);
	assert_false(l->seen[k]);
	assert_true(d->cookie < 1ull << 63);
	l->seen[k] = 1;
	l->cookie = d->cookie;
	l->count++;
	return 0;
}

static void check_dir(const struct branch *b, const struct inode *dir)
{
	struct listing l = { .b = b, .dir = dir };
	u32 before;
	u64 parent;

	l.seen = get_mem(dir->n);
	do {
		before = l.count;
		l.left = 1 + below(90);
		assert_int_equal(daxfs_readdir(b->h, dir->ino, l.cookie,
					       on_entry, &l),
				 0);
	} while (l.count != before);
	assert_int_equal(l.count, dir->n);
	free(l.seen);
	assert_int_equal(daxfs_parent(b->h, dir->ino, &parent), 0);
	assert_int_equal(parent, dir->parent);
}

static void check_data(const struct branch *b, const struct inode *i)
{
	u64 off = chance(50) ? 0 : below((u32)i->size + 10);
	ssize_t n = daxfs_read(b->h, i->ino, scratch, sizeof(scratch), off);

	assert_int_equal(n, off < i->size ? (ssize_t)(i->size - off) : 0);
	for (ssize_t k = 0; k < n; k++)
		if (scratch[k] != i->data[off + (u64)k])
			fail_msg("inode %llu on %s: byte %llu is %u, not %u",
				 (unsigned long long)i->ino, b->name,
				 (unsigned long long)off +
					 (unsigned long long)k,
				 scratch[k], i->data[off + (u64)k]);
}

static void check_attributes(const struct branch *b, const struct inode *i)
{
	size_t want = 0;
	ssize_t n;

	for (u32 k = 0; k < MAX_ATTRS; k++) {
		n = daxfs_getxattr(b->h, i->ino, xnames[k], scratch,
				   sizeof(scratch));
		if (!i->x[k].value) {
			assert_int_equal(n, -ENODATA);
			continue;
		}
		want += strlen(xnames[k]) + 1;
		assert_int_equal(n, i->x[k].len);
		assert_memory_equal(scratch, i->x[k].value, n);
	}
	n = daxfs_listxattr(b->h, i->ino, (char *)scratch, sizeof(scratch));
	assert_int_equal(n, want);
	assert_int_equal(daxfs_listxattr(b->h, i->ino, NULL, 0), want);
	for (char *p = (char *)scratch; p < (char *)scratch + n;
	     p += strlen(p) + 1) {
		u32 k = 0;

		while (k < MAX_ATTRS && strcmp(p, xnames[k]) != 0)
			k++;
		assert_true(k < MAX_ATTRS && i->x[k].value);
	}
}

static void check_inode(const struct branch *b, const struct inode *i)
{
	struct daxfs_attr a = attr_of(b->h, i->ino);
	bool dir = S_ISDIR(i->mode);

	assert_int_equal(a.ino, i->ino);
	assert_int_equal(a.mode, i->mode);
	assert_int_equal(a.uid, i->uid);
	assert_int_equal(a.gid, i->gid);
	assert_int_equal(a.nlink, i->nlink);
	assert_int_equal(a.rdev, i->rdev);
	assert_int_equal(a.size, dir ? i->n * 271ull : i->size);
	assert_int_equal(a.blocks, 8 * __builtin_popcountll(i->mapped));
	if (i->mtime_known) {
		assert_int_equal(a.mtime.sec, i->mtime.sec);
		assert_int_equal(a.mtime.nsec, i->mtime.nsec);
	}
	check_attributes(b, i);
	if (dir) {
		check_dir(b, i);
	} else if (S_ISREG(i->mode)) {
		check_data(b, i);
	} else if (S_ISLNK(i->mode)) {
		ssize_t n = daxfs_readlink(b->h, i->ino, (char *)scratch, 4096);

		assert_int_equal(n, strlen(i->target));
		assert_memory_equal(scratch, i->target, n);
	}
}

static void check_branch(const struct branch *b)
{
	struct daxfs_branch_info info;
	u64 made = 0;

	for (u32 k = 0; k < b->n; k++) {
		check_inode(b, b->tab[k]);
		made += b->tab[k]->ino > B_COUNT &&
			(b == br || !see(&br[b->parent], b->tab[k]->ino));
	}
	assert_int_equal(daxfs_branch_info(b->h, &info), 0);
	assert_string_equal(info.name, b->name);
	assert_int_equal(info.children, b->kids);
	assert_int_equal(info.state,
			 b->sealed ? DAXFS_BRANCH_SEALED : DAXFS_BRANCH_ACTIVE);
	assert_int_equal(info.persistent, b->persistent);
	assert_string_equal(info.parent, b == br ? "" : br[b->parent].name);
	assert_int_equal(info.inodes, made);
}

static void check_everything(void)
{
	struct daxfs_branch_info *list;
	u32 n = 0, count;

	for (u32 k = 0; k < SLOTS; k++)
		if (br[k].live) {
			check_branch(&br[k]);
			n++;
		}
	assert_int_equal(daxfs_branch_list(g.r, &list, &count), 0);
	assert_int_equal(count, n);
	for (u32 k = 1; k < count; k++)
		assert_true(list[k - 1].id < list[k].id);
	daxfs_free(list);
}

/* ---- Choosing --------------------------------------------------------------------- */

static struct branch *live_branch(void)
{
	struct branch *b;

	do
		b = &br[below(SLOTS)];
	while (!b->live);
	return b;
}

static struct branch *some_branch(void)
{
	struct branch *b;

	/* mostly one that can be written */
	for (u32 tries = 0; tries < 40; tries++) {
		b = &br[below(SLOTS)];
		if (b->live && b != br && !b->kids && !b->sealed)
			break;
	}
	return b->live && !chance(2) ? b : live_branch();
}

static int writable(const struct branch *b)
{
	return b == br || b->sealed || b->kids ? -EROFS : 0;
}

/* An inode, NULL rarely; of the given type where there is a choice. */
static const struct inode *some_inode(const struct branch *b, u32 type)
{
	const struct inode *i = NULL;

	if (chance(1))
		return NULL;
	if (chance(2))
		type = 0;
	for (u32 tries = 0; tries < 80; tries++) {
		i = b->tab[below(b->n)];
		/* the many are for readdir; do not let them take over */
		if (i->ino >= B_FIRST && i->ino <= B_COUNT && !chance(10))
			continue;
		if (!type || (i->mode & S_IFMT) == type)
			return i;
	}
	return i;
}

static u64 ino_of(const struct inode *i)
{
	return i ? i->ino : 1000000007;
}

static const char *some_name(const struct inode *dir)
{
	static char name[4][NAME_LEN];
	static u32 turn;
	char *out = name[turn++ % 4];

	if (dir && dir->n && chance(50))
		snprintf(out, NAME_LEN, "%s", dir->ents[below(dir->n)].name);
	else
		snprintf(out, NAME_LEN, "name-%u", below(NAMES));
	return out;
}

/* What a directory argument leads to. */
static int dir_error(const struct inode *dir)
{
	if (!dir)
		return -ENOENT;
	return S_ISDIR(dir->mode) ? 0 : -ENOTDIR;
}

/* True when the operation went as foretold and took effect. */
static bool done(int rc, int want)
{
	if (rc == -ENOSPC && !want) {
		full++;
		return false;
	}
	assert_int_equal(rc, want);
	return !rc;
}

/* ---- Operations on names --------------------------------------------------------------- */

static void op_make(struct branch *b)
{
	static const u32 types[] = { S_IFREG,  S_IFREG, S_IFREG, S_IFDIR,
				     S_IFDIR,  S_IFLNK, S_IFCHR, S_IFIFO,
				     S_IFSOCK, S_IFBLK };
	const struct inode *dir = some_inode(b, S_IFDIR);
	const char *name = some_name(dir);
	struct daxfs_new n = { .mode = types[below(10)] | below(07777),
			       .uid = below(5),
			       .gid = below(5),
			       .rdev = below(0xffffff),
			       .target = "some/target" };
	struct daxfs_attr a;
	struct inode *i;
	int want = writable(b);

	if (b->n >= MAX_INODES)
		return;
	if (!want)
		want = dir_error(dir);
	if (!want && entry_of(dir, name) >= 0)
		want = -EEXIST;
	if (!want && !dir->nlink)
		want = -ENOENT;
	if (!done(daxfs_make(b->h, ino_of(dir), name, strlen(name), &n, &a),
		  want))
		return;
	i = add_inode(b, a.ino, n.mode);
	i->uid = n.uid;
	i->gid = dir->mode & S_ISGID ? dir->gid : n.gid;
	if (S_ISDIR(n.mode)) {
		i->mode |= dir->mode & S_ISGID;
		i->parent = dir->ino;
	}
	if (S_ISCHR(n.mode) || S_ISBLK(n.mode))
		i->rdev = n.rdev;
	if (S_ISLNK(n.mode)) {
		i->target = n.target;
		i->size = strlen(n.target);
	}
	add_entry(own(b, dir->ino), name, a.ino);
	own(b, dir->ino)->nlink += S_ISDIR(n.mode);
	check_inode(b, i);
}

static void op_evict(struct branch *b, u64 ino)
{
	struct inode *i = see(b, ino);
	int want = i && !i->nlink ? writable(b) : 0;
	int rc = daxfs_evict(b->h, ino);

	if (done(rc, want) || (!rc && !want)) {
		if (i && !i->nlink)
			remove_inode(b, ino);
	}
}

static void lose_name(struct branch *b, u64 ino)
{
	struct inode *i = own(b, ino);

	i->nlink = S_ISDIR(i->mode) ? 0 : i->nlink - 1;
	if (chance(70))
		op_evict(b, ino);
}

static void op_remove(struct branch *b)
{
	const struct inode *dir = some_inode(b, S_IFDIR), *i = NULL;
	const char *name = some_name(dir);
	bool rmdir = chance(35);
	int want = writable(b), k, rc;
	u64 ino = 0;

	if (!want)
		want = dir_error(dir);
	if (!want) {
		k = entry_of(dir, name);
		i = k < 0 ? NULL : see(b, dir->ents[k].ino);
		if (!i)
			want = -ENOENT;
		else if (rmdir && !S_ISDIR(i->mode))
			want = -ENOTDIR;
		else if (!rmdir && S_ISDIR(i->mode))
			want = -EISDIR;
		else if (rmdir && i->n)
			want = -ENOTEMPTY;
	}
	rc = (rmdir ? daxfs_rmdir : daxfs_unlink)(b->h, ino_of(dir), name,
						  strlen(name), &ino);
	if (!done(rc, want))
		return;
	assert_int_equal(ino, i->ino);
	remove_entry(own(b, dir->ino), name);
	own(b, dir->ino)->nlink -= rmdir;
	lose_name(b, ino);
}

static void op_link(struct branch *b)
{
	const struct inode *i = some_inode(b, 0);
	const struct inode *dir = some_inode(b, S_IFDIR);
	const char *name = some_name(dir);
	int want = writable(b);

	if (!want && !i)
		want = -ENOENT;
	if (!want && S_ISDIR(i->mode))
		want = -EPERM;
	if (!want && !i->nlink)
		want = -ENOENT;
	if (!want)
		want = dir_error(dir);
	if (!want && entry_of(dir, name) >= 0)
		want = -EEXIST;
	if (!want && !dir->nlink)
		want = -ENOENT;
	if (!done(daxfs_link(b->h, ino_of(i), ino_of(dir), name, strlen(name),
			     NULL),
		  want))
		return;
	own(b, i->ino)->nlink++;
	add_entry(own(b, dir->ino), name, i->ino);
}

/* Is `above` the directory `dir` or over it? */
static bool is_over(const struct branch *b, u64 above, u64 dir)
{
	while (dir != above && dir != ROOT)
		dir = see(b, dir)->parent;
	return dir == above;
}

/* What a rename of two names in two directories leads to. */
static int rename_error(const struct branch *b, const struct inode *d1,
			const struct inode *x, const struct inode *d2,
			const struct inode *y, u32 flags)
{
	bool swap = flags & DAXFS_RENAME_EXCHANGE;

	if (!x)
		return -ENOENT;
	if (!y && (swap || !d2->nlink))
		return -ENOENT;
	if (y && (flags & DAXFS_RENAME_NOREPLACE))
		return -EEXIST;
	if (x == y)
		return 0;
	if (S_ISDIR(x->mode) && is_over(b, x->ino, d2->ino))
		return -EINVAL;
	if (swap)
		return S_ISDIR(y->mode) && is_over(b, y->ino, d1->ino) ? -EINVAL
								       : 0;
	if (y && S_ISDIR(x->mode) && !S_ISDIR(y->mode))
		return -ENOTDIR;
	if (y && !S_ISDIR(x->mode) && S_ISDIR(y->mode))
		return -EISDIR;
	return y && S_ISDIR(y->mode) && y->n ? -ENOTEMPTY : 0;
}

static void model_rename(struct branch *b, u64 d1, const char *n1, u64 d2,
			 const char *n2, u64 x, u64 y, bool swap)
{
	bool xdir = S_ISDIR(see(b, x)->mode);
	bool ydir = y && S_ISDIR(see(b, y)->mode);

	remove_entry(own(b, d1), n1);
	own(b, d1)->nlink -= xdir;
	if (y) {
		remove_entry(own(b, d2), n2);
		own(b, d2)->nlink -= ydir;
	}
	add_entry(own(b, d2), n2, x);
	own(b, d2)->nlink += xdir;
	if (xdir)
		own(b, x)->parent = d2;
	if (y && swap) {
		add_entry(own(b, d1), n1, y);
		own(b, d1)->nlink += ydir;
		if (ydir)
			own(b, y)->parent = d1;
	} else if (y) {
		lose_name(b, y);
	}
}

static void op_rename(struct branch *b)
{
	const struct inode *d1 = some_inode(b, S_IFDIR), *x = NULL;
	const struct inode *d2 = chance(40) ? d1 : some_inode(b, S_IFDIR);
	const struct inode *y = NULL;
	const char *n1 = some_name(d1), *n2 = some_name(d2);
	u32 flags = chance(60) ? 0 : 1 + below(2);
	int want = writable(b), k, rc;
	u64 victim = 77;

	if (!want)
		want = dir_error(d1);
	if (!want)
		want = dir_error(d2);
	if (!want) {
		k = entry_of(d1, n1);
		x = k < 0 ? NULL : see(b, d1->ents[k].ino);
		k = entry_of(d2, n2);
		y = k < 0 ? NULL : see(b, d2->ents[k].ino);
		want = rename_error(b, d1, x, d2, y, flags);
	}
	rc = daxfs_rename(b->h, ino_of(d1), n1, strlen(n1), ino_of(d2), n2,
			  strlen(n2), flags, &victim);
	if (!done(rc, want))
		return;
	if (x == y || !y || flags)
		assert_int_equal(victim, 0);
	else
		assert_int_equal(victim, y->ino);
	if (x != y)
		model_rename(b, d1->ino, n1, d2->ino, n2, x->ino,
			     y ? y->ino : 0, flags == DAXFS_RENAME_EXCHANGE);
}

/* ---- Operations on inodes ------------------------------------------------------------------ */

static int file_error(const struct inode *i)
{
	if (!i)
		return -ENOENT;
	if (S_ISDIR(i->mode))
		return -EISDIR;
	return S_ISREG(i->mode) ? 0 : -EINVAL;
}

static void model_kill_priv(struct inode *i)
{
	if (S_ISDIR(i->mode))
		return;
	i->mode &= ~(u32)S_ISUID;
	if (i->mode & S_IXGRP)
		i->mode &= ~(u32)S_ISGID;
	drop_attribute(i, X_CAP);
}

/*
 * A write that ran out of space may have changed bytes of the range in place:
 * each is the old or the new one.
 */
static void settle(struct branch *b, u64 ino, u64 off, u64 len)
{
	struct inode *i = own(b, ino);
	ssize_t n = daxfs_read(b->h, ino, scratch, sizeof(scratch), 0);

	full++;
	assert_int_equal(n, i->size);
	for (u64 k = off; k < off + len && k < i->size; k++) {
		assert_true(scratch[k] == i->data[k] ||
			    scratch[k] == bytes[k - off]);
		i->data[k] = scratch[k];
	}
}

static void op_write(struct branch *b)
{
	const struct inode *f = some_inode(b, S_IFREG);
	u64 len = chance(85) ? 1 + below(9000) : 1 + below(120 * 1024), off;
	u32 flags = below(4);
	int want = writable(b);
	struct inode *i;
	ssize_t n;

	off = f && f->size && chance(70) ? below((u32)f->size + 1)
					 : below(FILE_MAX);
	if (chance(30))
		off &= ~4095ull;
	if (f && (flags & DAXFS_WRITE_APPEND) && S_ISREG(f->mode))
		off = f->size;
	if (off >= FILE_MAX)
		return;
	if (len > FILE_MAX - off)
		len = FILE_MAX - off;
	for (u64 k = 0; k < len; k++)
		bytes[k] = (u8)((k * 13) ^ (seed >> (k % 29)));
	if (!want)
		want = file_error(f);
	n = daxfs_write(b->h, ino_of(f), bytes, len, off, flags);
	if (want || n == -ENOSPC) {
		assert_int_equal(n, want ? want : -ENOSPC);
		if (!want)
			settle(b, f->ino, off, len);
		return;
	}
	assert_in_range(n, 1, len);
	i = own(b, f->ino);
	memcpy(i->data + off, bytes, (size_t)n);
	i->mapped |= block_bits(off, off + (u64)n);
	if (off + (u64)n > i->size)
		i->size = off + (u64)n;
	i->mtime_known = false;
	if (flags & DAXFS_WRITE_KILLPRIV)
		model_kill_priv(i);
	if ((u64)n < len)
		settle(b, f->ino, off, len);
	check_inode(b, i);
}

static void model_resize(struct inode *i, u64 size)
{
	if (size < i->size) {
		memset(i->data + size, 0, i->size - size);
		i->mapped &= block_bits(0, size);
	}
	i->size = size;
	i->mtime_known = false;
}

static void op_truncate(struct branch *b)
{
	const struct inode *f = some_inode(b, S_IFREG);
	u64 size = chance(40) && f ? f->size + below(9000) : below(FILE_MAX);
	struct daxfs_attr a = { 0 };
	int want = writable(b);

	if (chance(30) && f && f->size)
		size = below((u32)f->size);
	if (chance(20))
		size &= ~4095ull;
	if (size > FILE_MAX)
		size = FILE_MAX;
	a.size = size;
	if (!want)
		want = file_error(f);
	if (!done(daxfs_setattr(b->h, ino_of(f), DAXFS_SET_SIZE, &a, &a), want))
		return;
	assert_int_equal(a.size, size);
	model_resize(own(b, f->ino), size);
	check_inode(b, see(b, f->ino));
}

static void op_setattr(struct branch *b)
{
	const struct inode *f = some_inode(b, 0);
	u32 set = below(1u << 10) & ~DAXFS_SET_SIZE;
	struct daxfs_attr a = { .mode = below(07777),
				.uid = below(9),
				.gid = below(9),
				.mtime = { (s64)below(1u << 31) - 1000,
					   below(1000000000) },
				.atime = { 7, 8 },
				.ctime = { 9, 10 } };
	struct daxfs_attr out;
	struct inode *i;
	int want = writable(b);

	if (!want && !f)
		want = -ENOENT;
	if (!done(daxfs_setattr(b->h, ino_of(f), set, &a, &out), want))
		return;
	i = own(b, f->ino);
	if (set & DAXFS_SET_MODE)
		i->mode = (i->mode & S_IFMT) | a.mode;
	if (set & DAXFS_SET_UID)
		i->uid = a.uid;
	if (set & DAXFS_SET_GID)
		i->gid = a.gid;
	if (set & DAXFS_SET_KILLPRIV)
		model_kill_priv(i);
	if (set & DAXFS_SET_MTIME) {
		i->mtime = a.mtime;
		i->mtime_known = true;
	} else if (set & DAXFS_SET_MTIME_NOW) {
		i->mtime_known = false;
	}
	if ((set & DAXFS_SET_ATIME) && !(set & DAXFS_SET_ATIME_NOW))
		assert_int_equal(out.atime.sec, 7);
	if (set & DAXFS_SET_CTIME)
		assert_int_equal(out.ctime.nsec, 10);
	check_inode(b, i);
}

static void op_setxattr(struct branch *b)
{
	const struct inode *f = some_inode(b, 0);
	u32 k = below(MAX_ATTRS), flags = chance(70) ? 0 : 1 + below(2);
	u32 len = chance(80)   ? below(200)
		  : chance(80) ? below(9000)
			       : below(65537);
	int want = writable(b);

	for (u32 n = 0; n < len; n++)
		bytes[n] = (u8)(seed >> (n % 57));
	if (!want && !f)
		want = -ENOENT;
	if (!want && f->x[k].value && (flags & DAXFS_XATTR_CREATE))
		want = -EEXIST;
	if (!want && !f->x[k].value && (flags & DAXFS_XATTR_REPLACE))
		want = -ENODATA;
	if (!done(daxfs_setxattr(b->h, ino_of(f), xnames[k], bytes, len, flags),
		  want))
		return;
	set_attribute(own(b, f->ino), k, bytes, len);
	check_attributes(b, see(b, f->ino));
}

static void op_removexattr(struct branch *b)
{
	const struct inode *f = some_inode(b, 0);
	u32 k = below(MAX_ATTRS);
	int want = writable(b);

	if (!want && !f)
		want = -ENOENT;
	if (!want && !f->x[k].value)
		want = -ENODATA;
	if (done(daxfs_removexattr(b->h, ino_of(f), xnames[k]), want))
		drop_attribute(own(b, f->ino), k);
}

/* After all inodes without names were to go: rc is what came of it. */
static void drop_orphans(struct branch *b, int rc)
{
	struct daxfs_attr a;

	for (u32 k = b->n; k--;)
		if (!b->tab[k]->nlink &&
		    (!rc || daxfs_getattr(b->h, b->tab[k]->ino, &a)))
			remove_inode(b, b->tab[k]->ino);
	if (rc)
		full++; /* some went, some did not */
}

static void op_orphans(struct branch *b)
{
	int rc = daxfs_evict_orphans(b->h), want = writable(b);

	if (rc != -ENOSPC)
		assert_int_equal(rc, want);
	if (!rc || rc == -ENOSPC)
		drop_orphans(b, rc);
}

/* ---- Operations on branches -------------------------------------------------------------------- */

static void end(struct branch *b)
{
	struct daxfs_attr a;

	assert_int_equal(daxfs_branch_status(b->h), -ESTALE);
	assert_int_equal(daxfs_getattr(b->h, ROOT, &a), -ESTALE);
	daxfs_branch_put(b->h);
	while (b->n)
		put_inode(b->tab[--b->n]);
	memset(b, 0, sizeof(*b));
}

static void op_create(void)
{
	u32 slot = 1 + below(SLOTS),
	    parent = chance(50) ? newest : below(SLOTS);
	struct branch *b, *p = &br[parent];
	char name[16];
	bool taken = false, room = false;
	int want = 0;

	snprintf(name, sizeof(name), "branch-%u", slot);
	for (u32 k = 1; k < SLOTS; k++) {
		taken |= br[k].live && !strcmp(br[k].name, name);
		room |= !br[k].live;
	}
	if (!p->live)
		want = -ENOENT;
	else if (taken)
		want = -EEXIST;
	else if (!room)
		want = -ENOSPC;
	assert_int_equal(daxfs_branch_create(g.r, name,
					     p->live ? p->name : "none",
					     below(2)),
			 want);
	if (want)
		return;
	for (b = &br[1]; b->live; b++)
		;
	memset(b, 0, sizeof(*b));
	snprintf(b->name, sizeof(b->name), "%s", name);
	b->live = true;
	b->parent = (int)parent;
	b->h = get_branch(&g, name);
	b->n = p->n;
	for (u32 k = 0; k < p->n; k++) {
		b->tab[k] = p->tab[k];
		b->tab[k]->refs++;
	}
	p->kids++;
	b->persistent = chance(50);
	newest = (u32)(b - br);
	assert_int_equal(daxfs_branch_set_persistent(g.r, name, b->persistent),
			 0);
}

static void op_seal(struct branch *b)
{
	int rc = daxfs_branch_seal(g.r, b->name);

	assert_int_equal(rc, b == br ? -EPERM : 0);
	b->sealed = b != br;
}

static void op_delete(struct branch *b)
{
	int want = b == br ? -EPERM : b->kids ? -EBUSY : 0;
	struct branch *p = &br[b->parent];

	assert_int_equal(daxfs_branch_delete(g.r, b->name), want);
	if (want)
		return;
	p->kids--;
	end(b);
}

static void op_delete_any(void)
{
	op_delete(live_branch());
}

static void op_abort(struct branch *b)
{
	int want = b == br ? -EPERM : b->kids ? -EBUSY : 0;

	assert_int_equal(daxfs_branch_abort(g.r, b->name), want);
	while (!want) {
		struct branch *p = &br[b->parent];

		end(b);
		p->kids--;
		if (p == br || p->kids || p->sealed)
			break;
		b = p;
	}
}

static void op_commit(struct branch *b)
{
	int want = b == br ? -EPERM : b->kids ? -EBUSY : 0, rc;

	for (u32 k = 1; k < SLOTS && !want; k++)
		if (br[k].live && br[k].sealed)
			want = -EBUSY;
	rc = daxfs_branch_commit(g.r, b->name, &g.msg);
	if (want || rc != -ENOSPC)
		assert_int_equal(rc, want);
	if (want)
		return;
	drop_orphans(b, rc);
	if (rc)
		return;
	while (br->n)
		put_inode(br->tab[--br->n]);
	memcpy(br->tab, b->tab, sizeof(br->tab));
	br->n = b->n;
	b->n = 0;
	br->kids = 0;
	committed = true;
	for (u32 k = 1; k < SLOTS; k++)
		if (br[k].live)
			end(&br[k]);
	check_branch(br);
}

static void op_reopen(void)
{
	u64 free_before = reg_free_segments(&g);

	check_everything();
	for (u32 k = 0; k < SLOTS; k++)
		if (br[k].live)
			daxfs_branch_put(br[k].h);
	reg_reopen(&g);
	for (u32 k = 0; k < SLOTS; k++)
		if (br[k].live)
			br[k].h = get_branch(&g, br[k].name);
	assert_true(reg_free_segments(&g) >= free_before);
	check_everything();
}

/* ---- Running -------------------------------------------------------------------------------------- */

static void start(u64 size)
{
	struct shape s = { .size = size, .branches = SLOTS, .base = true };

	reg_new(&g, &s);
	memset(br, 0, sizeof(br));
	snprintf(br->name, sizeof(br->name), "main");
	br->live = br->persistent = true;
	br->h = get_branch(&g, "main");
	model_base(br);
	free_at_start = reg_free_segments(&g);
	committed = false;
	sealing = chance(50);
	calm = chance(40); /* branches live long, their logs are compacted */
	full = 0;
	check_everything();
}

static void drop_branches(void)
{
	for (u32 left = 1; left;) {
		left = 0;
		for (u32 k = 1; k < SLOTS; k++)
			if (br[k].live) {
				op_delete(&br[k]);
				left++;
			}
	}
	full = 0;
}

static void stop(void)
{
	drop_branches();
	op_reopen();
	if (!committed)
		assert_int_equal(reg_free_segments(&g), free_at_start);
	daxfs_branch_put(br->h);
	while (br->n)
		put_inode(br->tab[--br->n]);
	reg_free(&g);
}

static bool any_writable(void)
{
	for (u32 k = 1; k < SLOTS; k++)
		if (br[k].live && !writable(&br[k]))
			return true;
	return false;
}

static void step(void)
{
	struct branch *b = some_branch();
	u32 op = below(1000);

	if (calm && op >= 940 && chance(95))
		op = below(940);
	if (op < 200)
		op_make(b);
	else if (op < 320)
		op_remove(b);
	else if (op < 420)
		op_rename(b);
	else if (op < 470)
		op_link(b);
	else if (op < 680)
		op_write(b);
	else if (op < 750)
		op_truncate(b);
	else if (op < 810)
		op_setattr(b);
	else if (op < 870)
		op_setxattr(b);
	else if (op < 900)
		op_removexattr(b);
	else if (op < 930)
		op_evict(b, ino_of(some_inode(b, 0)));
	else if (op < 940)
		op_orphans(b);
	else if (op < 955)
		op_create();
	else if (op < 959)
		op_delete(live_branch());
	else if (op < 961)
		op_abort(live_branch());
	else if (op < 964)
		op_commit(b);
	else if (op < 966 && sealing)
		op_seal(b);
	else
		check_inode(b, b->tab[below(b->n)]);
}

static void test_model(void **state)
{
	u64 steps = env_number("DAXFS_STEPS", 60000);

	(void)state;
	start(4 * MB);
	for (steps_done = 0; steps_done < steps; steps_done++) {
		while (!any_writable())
			(chance(80) ? op_create : op_delete_any)();
		step();
		if (full > 40)
			drop_branches();
		if (steps_done % 1500 == 1499)
			op_reopen();
		if (steps_done % 10000 == 9999) {
			stop();
			start((2 + below(12)) * MB);
		}
	}
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_model) };
	int rc;

	seed = env_number("DAXFS_SEED", (u64)time(NULL));
	print_message("# replay with DAXFS_SEED=%llu\n",
		      (unsigned long long)seed);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	if (rc)
		print_message("# stopped at step %llu\n",
			      (unsigned long long)steps_done);
	return rc;
}
