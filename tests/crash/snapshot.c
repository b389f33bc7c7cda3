// SPDX-License-Identifier: Apache-2.0
#include "snapshot.h"

bool because(struct reason *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, ap);
	va_end(ap);
	return false;
}

/* ---- Taking one ----------------------------------------------------------------- */

struct walk {
	struct daxfs_branch *b;
	const u8 *mem; /* the region's */
	struct tree *t;
	u32 node_cap, bytes_cap;
	struct reason *why;
};

static u32 put(struct walk *w, const void *p, size_t n)
{
	struct tree *t = w->t;
	u32 at = t->bytes_len;

	while (t->bytes_len + n + 8 > w->bytes_cap) {
		w->bytes_cap = w->bytes_cap ? 2 * w->bytes_cap : 16384;
		t->bytes = realloc(t->bytes, w->bytes_cap);
		if (!t->bytes)
			abort();
	}
	if (p)
		memcpy(t->bytes + at, p, n);
	t->bytes_len += (u32)n;
	return at;
}

/* Another name of an inode that has been walked already. */
static bool walked(const struct tree *t, const struct daxfs_attr *a)
{
	if (S_ISDIR(a->mode) || a->nlink < 2)
		return false;
	for (u32 i = 0; i < t->nodes; i++)
		if (t->node[i].attr.ino == a->ino)
			return true;
	return false;
}

/* The new node's place; nodes move when more come. */
static u32 add(struct walk *w, const struct daxfs_attr *a)
{
	struct tree *t = w->t;

	if (t->nodes == w->node_cap) {
		w->node_cap = w->node_cap ? 2 * w->node_cap : 64;
		t->node = realloc(t->node, w->node_cap * sizeof(*t->node));
		if (!t->node)
			abort();
	}
	memset(&t->node[t->nodes], 0, sizeof(*t->node));
	t->node[t->nodes].attr = *a;
	return t->nodes++;
}

struct entry {
	u64 ino;
	u32 type, len;
	char name[DAXFS_NAME_MAX + 1];
};

struct listing {
	struct entry *v;
	u32 n, cap;
};

static int list_one(void *ctx, const struct daxfs_dirent *d)
{
	struct listing *l = ctx;
	struct entry *e;

	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 32;
		l->v = realloc(l->v, l->cap * sizeof(*l->v));
		if (!l->v)
			abort();
	}
	e = &l->v[l->n++];
	memset(e, 0, sizeof(*e));
	e->ino = d->ino;
	e->type = d->type;
	e->len = (u32)d->len;
	memcpy(e->name, d->name, d->len);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name,
		      ((const struct entry *)b)->name);
}

static bool walk_inode(struct walk *w, const struct daxfs_attr *a);

static bool walk_entries(struct walk *w, u64 dir, const struct listing *l)
{
	struct daxfs_attr a;

	for (u32 i = 0; i < l->n; i++) {
		const struct entry *e = &l->v[i];
		int rc = daxfs_lookup(w->b, dir, e->name, e->len, &a);

		if (rc || a.ino != e->ino || (a.mode & S_IFMT) != e->type)
			return because(w->why,
				       "'%s' is listed as inode %llu, lookup: %d, %llu",
				       e->name, (unsigned long long)e->ino, rc,
				       (unsigned long long)(rc ? 0 : a.ino));
		if (!walked(w->t, &a) && !walk_inode(w, &a))
			return false;
	}
	return true;
}

static bool walk_dir(struct walk *w, u32 node, u64 dir)
{
	struct listing l = { NULL, 0, 0 };
	int rc = daxfs_readdir(w->b, dir, 0, list_one, &l);
	u64 parent = 0;
	bool ok;

	if (!rc)
		rc = daxfs_parent(w->b, dir, &parent);
	if (rc) {
		free(l.v);
		return because(w->why, "reading directory %llu: %d",
			       (unsigned long long)dir, rc);
	}
	if (l.n)
		qsort(l.v, l.n, sizeof(*l.v), by_name);
	for (u32 i = 0; i < l.n; i++) {
		put(w, &l.v[i].ino, sizeof(l.v[i].ino));
		put(w, l.v[i].name, l.v[i].len + 1);
	}
	w->t->node[node].parent = parent;
	w->t->node[node].meta_len = w->t->bytes_len - w->t->node[node].meta;
	ok = walk_entries(w, dir, &l);
	free(l.v);
	return ok;
}

static bool walk_xattrs(struct walk *w, u64 ino)
{
	char names[4096];
	ssize_t n = daxfs_listxattr(w->b, ino, names, sizeof(names)), len;

	if (n < 0)
		return because(w->why, "listing attributes of %llu: %zd",
			       (unsigned long long)ino, n);
	for (char *p = names; p < names + n; p += strlen(p) + 1) {
		u32 at;

		len = daxfs_getxattr(w->b, ino, p, NULL, 0);
		if (len < 0)
			return because(w->why, "attribute %s of %llu: %zd", p,
				       (unsigned long long)ino, len);
		put(w, p, strlen(p) + 1);
		at = put(w, NULL, (size_t)len);
		if (daxfs_getxattr(w->b, ino, p, w->t->bytes + at,
				   (size_t)len + 1) != len)
			return because(w->why, "reading attribute %s of %llu",
				       p, (unsigned long long)ino);
	}
	return true;
}

struct piece_ctx {
	struct walk *w;
	u64 off;
	u32 count;
};

static ssize_t put_pieces(void *ctx, const struct daxfs_piece *p, u32 count)
{
	struct piece_ctx *c = ctx;

	for (u32 i = 0; i < count; i++) {
		struct place q = { .off = c->off, .len = p[i].len };

		if (p[i].ptr)
			q.media = (u64)((const u8 *)p[i].ptr - c->w->mem);
		put(c->w, &q, sizeof(q));
		c->off += p[i].len;
		c->count++;
	}
	return 0;
}

static bool walk_file(struct walk *w, u32 node, u64 ino, u64 size)
{
	struct daxfs_piece pieces[64];
	struct piece_ctx c = { .w = w };
	u32 data = put(w, NULL, size), places;
	ssize_t n = daxfs_read(w->b, ino, w->t->bytes + data, size, 0);

	if (n != (ssize_t)size)
		return because(w->why, "reading inode %llu: %zd of %llu",
			       (unsigned long long)ino, n,
			       (unsigned long long)size);
	put(w, "\0\0\0\0\0\0\0", -w->t->bytes_len & 7);
	places = w->t->bytes_len;
	while (c.off < size) {
		u64 before = c.off;

		if (daxfs_read_pieces(w->b, ino, size - c.off, c.off, pieces,
				      64, put_pieces, &c) ||
		    c.off == before)
			return because(w->why, "pieces of inode %llu",
				       (unsigned long long)ino);
	}
	w->t->node[node].data = data;
	w->t->node[node].places = places;
	w->t->node[node].place_count = c.count;
	return true;
}

static bool walk_link(struct walk *w, u64 ino)
{
	char target[DAXFS_SYMLINK_MAX + 1];
	ssize_t n = daxfs_readlink(w->b, ino, target, sizeof(target));

	if (n < 0)
		return because(w->why, "symlink %llu: %zd",
			       (unsigned long long)ino, n);
	put(w, target, (size_t)n);
	return true;
}

static bool walk_inode(struct walk *w, const struct daxfs_attr *a)
{
	u32 node = add(w, a), meta = w->t->bytes_len;

	if (node > 10000)
		return because(w->why, "a loop of directories");
	if (!walk_xattrs(w, a->ino))
		return false;
	if (S_ISLNK(a->mode) && !walk_link(w, a->ino))
		return false;
	w->t->node[node].meta = meta;
	w->t->node[node].meta_len = w->t->bytes_len - meta;
	if (S_ISDIR(a->mode))
		return walk_dir(w, node, a->ino);
	return !S_ISREG(a->mode) || walk_file(w, node, a->ino, a->size);
}

static int by_ino(const void *a, const void *b)
{
	u64 x = ((const struct node *)a)->attr.ino;
	u64 y = ((const struct node *)b)->attr.ino;

	return x < y ? -1 : x > y;
}

static bool tree_take(struct daxfs_region *r, const u8 *mem, const char *name,
		      struct tree *t, struct reason *why)
{
	struct walk w = { .mem = mem, .t = t, .why = why };
	struct daxfs_attr a;
	bool ok;
	int rc = daxfs_branch_get(r, name, &w.b);

	if (rc)
		return because(why, "branch %s: %d", name, rc);
	put(&w, NULL, 0); /* memory, even if nothing comes */
	rc = daxfs_getattr(w.b, DAXFS_ROOT_INO, &a);
	ok = rc ? because(why, "root of %s: %d", name, rc) : walk_inode(&w, &a);
	daxfs_branch_put(w.b);
	if (ok)
		qsort(t->node, t->nodes, sizeof(*t->node), by_ino);
	return ok;
}

bool snapshot_take(struct daxfs_region *r, const void *mem,
		   struct snapshot *out, struct reason *why)
{
	struct daxfs_branch_info *list;
	u32 n;

	memset(out, 0, sizeof(*out));
	if (daxfs_branch_list(r, &list, &n))
		return because(why, "no memory");
	out->branch = calloc(n, sizeof(*out->branch));
	if (!out->branch)
		abort();
	for (u32 i = 0; i < n; i++) {
		struct branch_state *b = &out->branch[out->count++];

		b->info = list[i];
		if (!tree_take(r, mem, b->info.name, &b->tree, why)) {
			daxfs_free(list);
			return false;
		}
	}
	daxfs_free(list);
	return true;
}

void snapshot_free(struct snapshot *s)
{
	for (u32 i = 0; i < s->count; i++) {
		if (s->branch[i].borrowed)
			continue;
		free(s->branch[i].tree.node);
		free(s->branch[i].tree.bytes);
	}
	free(s->branch);
	memset(s, 0, sizeof(*s));
}

const struct branch_state *snapshot_branch(const struct snapshot *s, u64 id)
{
	for (u32 i = 0; i < s->count; i++)
		if (s->branch[i].info.id == id)
			return &s->branch[i];
	return NULL;
}

/* ---- Comparing -------------------------------------------------------------------- */

static const struct node *node_of(const struct tree *t, u64 ino)
{
	u32 lo = 0, hi = t->nodes;

	while (lo < hi) {
		u32 mid = lo + (hi - lo) / 2;

		if (t->node[mid].attr.ino < ino)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < t->nodes && t->node[lo].attr.ino == ino ? &t->node[lo]
							    : NULL;
}

u32 tree_own_inodes(const struct tree *t, const struct tree *parent)
{
	u32 n = 0;

	for (u32 i = 0; i < t->nodes; i++)
		n += !node_of(parent, t->node[i].attr.ino);
	return n;
}

static bool same_time(struct daxfs_time a, struct daxfs_time b)
{
	return a.sec == b.sec && a.nsec == b.nsec;
}

#define LLU(x) ((unsigned long long)(x))

static bool same_attr(const struct daxfs_attr *a, const struct daxfs_attr *b,
		      struct reason *why)
{
	if (a->mode == b->mode && a->uid == b->uid && a->gid == b->gid &&
	    a->nlink == b->nlink && a->rdev == b->rdev && a->size == b->size &&
	    a->blocks == b->blocks && same_time(a->atime, b->atime) &&
	    same_time(a->mtime, b->mtime) && same_time(a->ctime, b->ctime) &&
	    same_time(a->btime, b->btime))
		return true;
	return because(why,
		       "inode %llu: mode %o/%o, links %u/%u, size %llu/%llu, blocks %llu/%llu, mtime .%09u/.%09u, ctime .%09u/.%09u (expected/found)",
		       LLU(a->ino), a->mode, b->mode, a->nlink, b->nlink,
		       LLU(a->size), LLU(b->size), LLU(a->blocks),
		       LLU(b->blocks), a->mtime.nsec, b->mtime.nsec,
		       a->ctime.nsec, b->ctime.nsec);
}

/* Where in the region a file's byte is; 0: nowhere. */
static u64 media_of(const struct tree *t, const struct node *n, u64 off)
{
	const struct place *p = (const struct place *)(t->bytes + n->places);

	for (u32 i = 0; i < n->place_count; i++)
		if (off >= p[i].off && off < p[i].off + p[i].len)
			return p[i].media ? p[i].media + (off - p[i].off) : 0;
	return 0;
}

#define NOWHERE UINT64_MAX

/* The file's offset of what lies at `media`, in whole blocks; or NOWHERE. */
static u64 offset_of_media(const struct tree *t, const struct node *n,
			   u64 media)
{
	const struct place *p = (const struct place *)(t->bytes + n->places);

	for (u32 i = 0; i < n->place_count; i++) {
		/* blocks are the file's beyond its end too */
		u64 len = (p[i].len + (p[i].off & 4095) + 4095) & ~4095ull;

		if (p[i].media && media >= p[i].media &&
		    media < p[i].media + len)
			return p[i].off + (media - p[i].media);
	}
	return NOWHERE;
}

/* Up to 8 bytes of a file, zeros behind its end. */
static u64 word_at(const struct tree *t, const struct node *n, u64 off, u64 len)
{
	u64 v = 0;

	if (off >= n->attr.size)
		return 0;
	if (len > n->attr.size - off)
		len = n->attr.size - off;
	memcpy(&v, t->bytes + n->data + off, len);
	return v;
}

struct newer {
	const struct tree *const *trees;
	u32 count;
};

/* Was this word there in a later state of the same file? */
static bool word_is_newer(const struct newer *later, u64 ino, u64 media,
			  u64 len, u64 word)
{
	for (u32 i = 0; i < later->count; i++) {
		const struct tree *t = later->trees[i];
		const struct node *n = node_of(t, ino);
		u64 off;

		if (!n || !S_ISREG(n->attr.mode))
			continue;
		off = offset_of_media(t, n, media);
		if (off != NOWHERE && word_at(t, n, off, len) == word)
			return true;
	}
	return false;
}

static bool same_data(const struct tree *want, const struct node *a,
		      const struct tree *got, const struct node *b,
		      const struct newer *later, struct reason *why)
{
	u64 size = a->attr.size;

	if (!memcmp(want->bytes + a->data, got->bytes + b->data, size))
		return true;
	for (u64 off = 0; off < size; off += 8) {
		u64 len = size - off < 8 ? size - off : 8;
		u64 x = word_at(want, a, off, len);
		u64 y = word_at(got, b, off, len), media;

		if (x == y)
			continue;
		media = media_of(want, a, off);
		if (!media || !word_is_newer(later, a->attr.ino, media, len, y))
			return because(why,
				       "inode %llu: bytes %llu-%llu of %llu are %016llx, not %016llx (at %llx)",
				       LLU(a->attr.ino), LLU(off),
				       LLU(off + len - 1), LLU(size), LLU(y),
				       LLU(x), LLU(media));
	}
	return true;
}

static bool same_node(const struct tree *want, const struct node *a,
		      const struct tree *got, const struct node *b,
		      const struct newer *later, struct reason *why)
{
	if (!same_attr(&a->attr, &b->attr, why))
		return false;
	if (a->meta_len != b->meta_len || a->parent != b->parent ||
	    memcmp(want->bytes + a->meta, got->bytes + b->meta, a->meta_len) !=
		    0)
		return because(why,
			       "inode %llu (mode %o): names, target or attributes differ",
			       LLU(a->attr.ino), a->attr.mode);
	return !S_ISREG(a->attr.mode) || same_data(want, a, got, b, later, why);
}

static bool compare(const struct tree *want, const struct tree *got,
		    const struct newer *later, struct reason *why)
{
	for (u32 i = 0; i < want->nodes || i < got->nodes; i++) {
		u64 x = i < want->nodes ? want->node[i].attr.ino : UINT64_MAX;
		u64 y = i < got->nodes ? got->node[i].attr.ino : UINT64_MAX;

		if (x < y)
			return because(why, "inode %llu is missing", LLU(x));
		if (x > y)
			return because(why, "inode %llu is there", LLU(y));
		if (!same_node(want, &want->node[i], got, &got->node[i], later,
			       why))
			return false;
	}
	return true;
}

bool tree_same(const struct tree *want, const struct tree *got,
	       struct reason *why)
{
	struct newer none = { NULL, 0 };

	return compare(want, got, &none, why);
}

bool tree_same_but_newer(const struct tree *want, const struct tree *got,
			 const struct tree *const *later, u32 count,
			 struct reason *why)
{
	struct newer n = { later, count };

	return compare(want, got, &n, why);
}

/* ---- In part ------------------------------------------------------------------- */

/* The word at this offset of a file in any of the trees. */
static bool word_in_any(const struct newer *trees, u64 ino, u64 off, u64 word)
{
	for (u32 i = 0; i < trees->count; i++) {
		const struct node *n = node_of(trees->trees[i], ino);

		if (n && S_ISREG(n->attr.mode) &&
		    word_at(trees->trees[i], n, off, 8) == word)
			return true;
	}
	return false;
}

/* `got` may be a file of `old` that is on its way to `now`. */
static bool node_between(const struct node *old, const struct node *now,
			 const struct tree *got, const struct node *n,
			 const struct newer *trees, struct reason *why)
{
	u64 ino = n->attr.ino, size = n->attr.size;

	if (!S_ISREG(n->attr.mode) || n->attr.nlink != old->attr.nlink ||
	    (size > old->attr.size && size > now->attr.size))
		return because(why, "inode %llu: size %llu", LLU(ino),
			       LLU(size));
	/* the last word ends where the file does, in each state elsewhere */
	for (u64 off = 0; off + 8 <= size; off += 8)
		if (!word_in_any(trees, ino, off, word_at(got, n, off, 8)))
			return because(why,
				       "inode %llu: bytes at %llu were never there",
				       LLU(ino), LLU(off));
	return true;
}

bool tree_between(const struct tree *old, const struct tree *now,
		  const struct tree *got, const struct tree *const *later,
		  u32 count, struct reason *why)
{
	const struct newer trees = { later, count };

	if (old->nodes != got->nodes)
		return because(why, "%u inodes, not %u", got->nodes,
			       old->nodes);
	for (u32 i = 0; i < got->nodes; i++) {
		const struct node *n = &got->node[i], *a = &old->node[i];
		const struct node *b = node_of(now, n->attr.ino);

		if (a->attr.ino != n->attr.ino)
			return because(why, "other inodes");
		if (!same_node(old, a, got, n, &trees, why) &&
		    (!b || !node_between(a, b, got, n, &trees, why)))
			return false;
	}
	return true;
}

/* ---- Sharing --------------------------------------------------------------------- */

static bool same_places(const struct tree *a, const struct tree *b)
{
	for (u32 i = 0; i < a->nodes; i++) {
		const struct node *x = &a->node[i], *y = &b->node[i];

		if (x->place_count != y->place_count ||
		    memcmp(a->bytes + x->places, b->bytes + y->places,
			   x->place_count * sizeof(struct place)) != 0)
			return false;
	}
	return true;
}

void snapshot_share(struct snapshot *s, const struct snapshot *before)
{
	struct reason why;

	for (u32 i = 0; i < s->count; i++) {
		struct branch_state *b = &s->branch[i];
		const struct branch_state *was =
			snapshot_branch(before, b->info.id);

		if (!was || !tree_same(&was->tree, &b->tree, &why) ||
		    !same_places(&was->tree, &b->tree))
			continue;
		free(b->tree.node);
		free(b->tree.bytes);
		b->tree = was->tree;
		b->borrowed = 1;
	}
}
