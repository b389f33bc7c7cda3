// SPDX-License-Identifier: Apache-2.0
/* The model's state. What branches share is counted and copied when changed. */
#include "model.h"

struct model model;

const char *const model_xnames[X_COUNT] = {
	"system.posix_acl_access",
	"system.posix_acl_default",
	"security.capability",
	"user.base",
	"user.a",
	"user.b",
	"trusted.c",
	"security.selinux",
	"user.a-name-that-is-rather-long-but-not-longer-than-names-may-be",
};

static void *get_mem(size_t n)
{
	void *p = calloc(1, n ? n : 1);

	CHECK(p, "out of memory");
	return p;
}

static void *copy_mem(const void *old, size_t n)
{
	void *p;

	if (!n)
		return NULL;
	p = get_mem(n);
	memcpy(p, old, n);
	return p;
}

/* Room for one more in an array of n; it doubles at powers of two. */
static void *room_for(void *v, u32 n, size_t size)
{
	if (n & (n - 1))
		return v;
	v = realloc(v, (n ? 2 * n : 1) * size);
	CHECK(v, "out of memory");
	return v;
}

/* ---- Names --------------------------------------------------------------- */

#define BASE_NAMES ((u32)BASE_NODES + B_MANY_FILES)
#define NAME_BUCKETS 8192u

static struct {
	char text[256];
	u32 len;
} names[NAMES_MAX];
static u16 name_table[NAME_BUCKETS]; /* + 1 */

static u32 name_bucket(const char *name, size_t len)
{
	u32 h = 2166136261u;

	while (len--)
		h = (h ^ (u8)*name++) * 16777619u;
	return h % NAME_BUCKETS;
}

static void name_text(u32 id, char *out)
{
	int len = 0;

	if (id < BASE_NODES)
		snprintf(out, 256, "%s", base_nodes[id].name);
	else if (id < BASE_NAMES)
		snprintf(out, 256, "f%03u", id - (u32)BASE_NODES);
	else if (id % 16 == 15)
		len = snprintf(out, 256, "%u-", id);
	else
		snprintf(out, 256, "%s%u", id % 16 == 14 ? "\xff \n\x01" : "n",
			 id);
	if (len)
		memset(out + len, 'x', (size_t)(255 - len));
}

void model_names_init(void)
{
	for (u32 id = 0; id < NAMES_MAX; id++) {
		u32 at;

		name_text(id, names[id].text);
		names[id].len = (u32)strlen(names[id].text);
		at = name_bucket(names[id].text, names[id].len);
		while (name_table[at])
			at = (at + 1) % NAME_BUCKETS;
		name_table[at] = (u16)(id + 1);
	}
}

const char *model_name(u32 name, size_t *len)
{
	*len = names[name].len;
	return names[name].text;
}

u32 model_name_id(const char *name, size_t len)
{
	u32 at = name_bucket(name, len);

	for (; name_table[at]; at = (at + 1) % NAME_BUCKETS) {
		u32 id = name_table[at] - 1u;

		if (names[id].len == len && !memcmp(names[id].text, name, len))
			return id;
	}
	model_fail(__FILE__, __LINE__, "a name that nobody gave: '%.*s'",
		   (int)len, name);
}

u32 model_name_made(u32 n)
{
	return BASE_NAMES + n % (NAMES_MAX - BASE_NAMES);
}

const char *model_target(u32 len)
{
	static char text[DAXFS_SYMLINK_MAX + 1];

	if (len == sizeof(B_LINK_TARGET) - 1)
		return B_LINK_TARGET;
	for (u32 k = 0; k < len; k++)
		text[k] = (char)('a' + (k * 7 + len) % 26);
	text[len] = 0;
	return text;
}

/* ---- Inodes -------------------------------------------------------------- */

static void put_chunk(struct chunk *c)
{
	if (c && !--c->refs)
		free(c);
}

static void put_value(struct value *v)
{
	if (v && !--v->refs)
		free(v);
}

static void put_inode(struct inode *i)
{
	if (--i->refs)
		return;
	for (u32 k = 0; k < i->nblocks; k++)
		put_chunk(i->blocks[k].c);
	for (u32 k = 0; k < X_COUNT; k++)
		put_value(i->x[k]);
	free(i->blocks);
	free(i->ents);
	free(i);
}

static u32 round_up_2(u32 n)
{
	u32 cap = 1;

	while (cap < n)
		cap *= 2;
	return cap;
}

/* A copy of an array with room as room_for() gives. */
static void *copy_array(const void *old, u32 n, size_t size)
{
	void *p;

	if (!n)
		return NULL;
	p = get_mem(round_up_2(n) * size);
	memcpy(p, old, n * size);
	return p;
}

static struct inode *copy_inode(const struct inode *i)
{
	struct inode *c = copy_mem(i, sizeof(*i));

	c->refs = 1;
	c->blocks = copy_array(i->blocks, i->nblocks, sizeof(*i->blocks));
	c->ents = copy_array(i->ents, i->n, sizeof(*i->ents));
	for (u32 k = 0; k < c->nblocks; k++)
		if (c->blocks[k].c)
			c->blocks[k].c->refs++;
	for (u32 k = 0; k < X_COUNT; k++)
		if (c->x[k])
			c->x[k]->refs++;
	return c;
}

/* Index in tab of the first inode at or after it, by ino or by label. */
static u32 slot_of(const struct branch *b, u64 want, bool label)
{
	u32 lo = 0, hi = b->n;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;
		const struct inode *i = b->tab[mid];

		if ((label ? i->label : i->ino) < want)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct inode *model_see(const struct branch *b, u64 ino)
{
	u32 s = slot_of(b, ino, false);

	return s < b->n && b->tab[s]->ino == ino ? b->tab[s] : NULL;
}

struct inode *model_find(const struct branch *b, u64 label)
{
	u32 s = slot_of(b, label, true);

	return s < b->n && b->tab[s]->label == label ? b->tab[s] : NULL;
}

struct inode *model_own(struct branch *b, u64 ino)
{
	u32 s = slot_of(b, ino, false);
	struct inode *i;

	CHECK(s < b->n && b->tab[s]->ino == ino, "inode %llu is not there",
	      (unsigned long long)ino);
	i = b->tab[s];
	if (i->refs > 1) {
		b->tab[s] = copy_inode(i);
		i->refs--;
	}
	return b->tab[s];
}

struct inode *model_add(struct branch *b, u64 ino, u64 label, u32 mode)
{
	struct inode *i = get_mem(sizeof(*i));

	i->refs = 1;
	i->ino = ino;
	i->label = label;
	i->mode = mode;
	i->nlink = S_ISDIR(mode) ? 2 : 1;
	CHECK(!b->n || b->tab[b->n - 1]->ino < ino,
	      "inode number %llu was used before", (unsigned long long)ino);
	b->tab = room_for(b->tab, b->n, sizeof(b->tab[0]));
	b->tab[b->n++] = i;
	return i;
}

void model_remove(struct branch *b, u64 ino)
{
	u32 s = slot_of(b, ino, false);

	b->gone[b->gone_count++ % GONE] = ino;
	put_inode(b->tab[s]);
	b->n--;
	memmove(&b->tab[s], &b->tab[s + 1], (b->n - s) * sizeof(b->tab[0]));
	/* room_for() counts on it */
	b->tab = realloc(b->tab, round_up_2(b->n) * sizeof(b->tab[0]));
}

/* ---- Entries ------------------------------------------------------------- */

static u32 entry_at(const struct inode *dir, u32 name)
{
	u32 lo = 0, hi = dir->n;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (dir->ents[mid].name < name)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct entry *model_entry(const struct inode *dir, u32 name)
{
	u32 k = entry_at(dir, name);

	return k < dir->n && dir->ents[k].name == name ? &dir->ents[k] : NULL;
}

void model_entry_add(struct inode *dir, u32 name, u64 ino)
{
	u32 k = entry_at(dir, name);

	dir->ents = room_for(dir->ents, dir->n, sizeof(dir->ents[0]));
	memmove(&dir->ents[k + 1], &dir->ents[k],
		(dir->n - k) * sizeof(dir->ents[0]));
	dir->ents[k].name = name;
	dir->ents[k].ino = ino;
	dir->n++;
}

void model_entry_remove(struct inode *dir, u32 name)
{
	u32 k = entry_at(dir, name);

	dir->n--;
	memmove(&dir->ents[k], &dir->ents[k + 1],
		(dir->n - k) * sizeof(dir->ents[0]));
	dir->ents =
		realloc(dir->ents, round_up_2(dir->n) * sizeof(dir->ents[0]));
}

/* ---- Attributes ---------------------------------------------------------- */

struct value *model_value(const void *bytes, u32 len, u64 owner)
{
	struct value *v = get_mem(sizeof(*v) + len);

	v->refs = 1;
	v->len = len;
	v->owner = len > XATTR_INLINE_MAX ? owner : 0;
	memcpy(v->bytes, bytes, len);
	return v;
}

void model_set_x(struct inode *i, u32 k, struct value *v)
{
	put_value(i->x[k]);
	i->x[k] = v;
}

/* ---- Blocks -------------------------------------------------------------- */

u32 model_block_at(const struct inode *i, u64 n)
{
	u32 lo = 0, hi = i->nblocks;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (i->blocks[mid].n < n)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct block *model_block(const struct inode *i, u64 n)
{
	u32 k = model_block_at(i, n);

	return k < i->nblocks && i->blocks[k].n == n ? &i->blocks[k] : NULL;
}

static struct block *block_add(struct inode *i, u64 n)
{
	u32 k = model_block_at(i, n);

	if (k < i->nblocks && i->blocks[k].n == n)
		return &i->blocks[k];
	i->blocks = room_for(i->blocks, i->nblocks, sizeof(i->blocks[0]));
	memmove(&i->blocks[k + 1], &i->blocks[k],
		(i->nblocks - k) * sizeof(i->blocks[0]));
	i->blocks[k] = (struct block){ .n = n };
	i->nblocks++;
	return &i->blocks[k];
}

static u8 *own_bytes(struct block *k)
{
	struct chunk *c = k->c;

	if (!c || c->refs > 1) {
		k->c = get_mem(sizeof(*c));
		if (c) {
			memcpy(k->c->bytes, c->bytes, BLK);
			c->refs--;
		}
		k->c->refs = 1;
	}
	return k->c->bytes;
}

u8 *model_block_own(struct branch *b, struct inode *i, u64 n)
{
	struct block *k = block_add(i, n);

	k->owner = b->id;
	return own_bytes(k);
}

void model_block_zero(struct branch *b, struct inode *i, u64 n)
{
	struct block *k = block_add(i, n);

	k->owner = b->id;
	put_chunk(k->c);
	k->c = NULL;
}

void model_blocks_drop(struct inode *i, u64 from, u64 to)
{
	u32 k = model_block_at(i, from), end = model_block_at(i, to);

	if (k == end)
		return;
	for (u32 j = k; j < end; j++)
		put_chunk(i->blocks[j].c);
	memmove(&i->blocks[k], &i->blocks[end],
		(i->nblocks - end) * sizeof(i->blocks[0]));
	i->nblocks -= end - k;
	i->blocks = realloc(i->blocks,
			    round_up_2(i->nblocks) * sizeof(i->blocks[0]));
}

void model_blocks_move(struct inode *i, u64 from, s64 by)
{
	for (u32 k = model_block_at(i, from); k < i->nblocks; k++)
		i->blocks[k].n += (u64)by;
}

u64 model_data_end(const struct inode *i, u64 n)
{
	const struct block *k = model_block(i, n);
	u64 end = (n + 1) * BLK;

	return k && !k->owner && i->base_valid < end ? i->base_valid : end;
}

void model_bytes(const struct inode *i, u64 off, u64 len, u8 *out)
{
	u64 end = off + len;

	memset(out, 0, len);
	for (u32 k = model_block_at(i, off / BLK); k < i->nblocks; k++) {
		const struct block *v = &i->blocks[k];
		u64 from = v->n * BLK, to = from + BLK;

		if (from >= end)
			break;
		from = from > off ? from : off;
		to = to < end ? to : end;
		if (v->c)
			memcpy(out + (from - off), v->c->bytes + from % BLK,
			       to - from);
	}
}

void model_write(struct branch *b, struct inode *i, u64 off, const u8 *bytes,
		 u64 len)
{
	while (len) {
		u64 n = BLK - off % BLK;

		n = n < len ? n : len;
		memcpy(model_block_own(b, i, off / BLK) + off % BLK, bytes, n);
		off += n;
		bytes += n;
		len -= n;
	}
	if (off > i->size)
		i->size = off;
}

/* ---- Branches ------------------------------------------------------------ */

void model_branch_clear(struct branch *b)
{
	while (b->n)
		put_inode(b->tab[--b->n]);
	free(b->tab);
	b->tab = NULL;
}

void model_branch_clone(struct branch *b, const struct branch *from)
{
	model_branch_clear(b);
	b->tab = copy_array(from->tab, from->n, sizeof(from->tab[0]));
	b->n = from->n;
	memcpy(b->gone, from->gone, sizeof(b->gone));
	b->gone_count = from->gone_count;
	for (u32 k = 0; k < b->n; k++)
		b->tab[k]->refs++;
}

static void file_of_base(struct inode *i, const struct bnode *n)
{
	i->size = n->size;
	i->base_valid = S_ISREG(n->mode) ? n->size : 0;
	for (u64 k = 0; k * BLK < n->size; k++) {
		struct block *v = block_add(i, k);
		u8 *p = S_ISREG(n->mode) ? own_bytes(v) : NULL;

		for (u64 at = k * BLK; p && at < n->size && at < (k + 1) * BLK;
		     at++)
			p[at % BLK] = base_byte(n->ino, at);
	}
}

static void base_node(struct branch *b, u32 k)
{
	const struct bnode *n = &base_nodes[k];
	struct inode *i = model_see(b, n->ino), *dir = model_see(b, n->parent);

	if (i) {
		i->nlink++;
	} else {
		i = model_add(b, n->ino, n->ino, n->mode);
		i->parent = S_ISDIR(n->mode) ? n->parent : 0;
		if (!S_ISDIR(n->mode))
			file_of_base(i, n);
	}
	model_entry_add(dir, k, n->ino);
	dir->nlink += S_ISDIR(n->mode);
}

void model_base(struct branch *b, bool image)
{
	model_add(b, ROOT, ROOT, S_IFDIR | 0755)->parent = ROOT;
	if (!image)
		return;
	for (u32 k = 0; k < BASE_NODES; k++)
		base_node(b, k);
	for (u32 k = 0; k < B_MANY_FILES; k++) {
		model_add(b, B_FIRST + k, B_FIRST + k, S_IFREG | 0644);
		model_entry_add(model_see(b, B_MANY), (u32)BASE_NODES + k,
				B_FIRST + k);
	}
	model_see(b, B_FILE)->uid = 1000;
	model_see(b, B_DEV)->rdev = daxfs_makedev(5, 1);
	model_see(b, B_LINK)->target = sizeof(B_LINK_TARGET) - 1;
	model_set_x(model_see(b, B_FILE), X_BASE, model_value("value", 5, 0));
	model_set_x(model_see(b, B_FILE), X_CAP, model_value(B_CAP, 5, 0));
	for (u32 k = 0; k < b->n; k++)
		for (u32 t = 0; t < 4; t++)
			b->tab[k]->t[t].sec = B_MTIME;
}
