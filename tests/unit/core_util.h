/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of core/ share: a region in memory that ends at a guard page,
 * and a base image written byte by byte from the format's definition.
 * Include it first: it brings cmocka and what that needs.
 */
#ifndef CORE_UTIL_H
#define CORE_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <cmocka.h>

#include "core/daxfs.h"

#define KB 1024ull
#define MB (1024ull * 1024)
#define ROOT DAXFS_ROOT_INO

/* ---- Numbers --------------------------------------------------------------- */

static inline u64 rnd(u64 *s)
{
	u64 z = (*s += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* 0 .. n-1 */
static inline u32 rnd_below(u64 *s, u32 n)
{
	return (u32)(rnd(s) % n);
}

static inline u64 env_number(const char *name, u64 otherwise)
{
	const char *v = getenv(name);

	return v && *v ? strtoull(v, NULL, 0) : otherwise;
}

static inline double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- Memory ------------------------------------------------------------------ */

struct mem {
	u8 *base;
	size_t size;
};

static inline void mem_new(struct mem *m, size_t size)
{
	size_t whole = size + 2 * 4096;
	u8 *p = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		     0);

	assert_true(p != MAP_FAILED);
	assert_int_equal(mprotect(p + 4096, size, PROT_READ | PROT_WRITE), 0);
	m->base = p + 4096;
	m->size = size;
}

static inline void mem_free(struct mem *m)
{
	if (m->base)
		munmap(m->base - 4096, m->size + 2 * 4096);
	m->base = NULL;
}

/* ---- A base image -------------------------------------------------------------- */

enum {
	B_ROOT = 1,
	B_DIR,   /* /dir */
	B_A,     /* /dir/a: 10,000 bytes */
	B_SUB,   /* /dir/sub */
	B_DEEP,  /* /dir/sub/deep: 4096 bytes */
	B_EMPTY, /* /empty */
	B_FILE,  /* /file: 70,001 bytes, xattrs, setuid */
	B_HARD,  /* /hard1 and /hard2: 5 bytes */
	B_LINK,  /* /link -> dir/a */
	B_DEV,   /* /dev: character device 5:1 */
	B_MANY,  /* /many: B_MANY_FILES empty files f000 … */
	B_FIRST,
};
#define B_MANY_FILES 200u
#define B_COUNT (B_FIRST - 1 + B_MANY_FILES)
#define B_MTIME 1600000000
#define B_LINK_TARGET "dir/a"
#define B_CAP "\x01\x00\x00\x02\xff"

struct bnode {
	u32 ino, parent;
	const char *name;
	u32 mode, size;
};

static const struct bnode base_nodes[] = {
	{ B_DIR, ROOT, "dir", S_IFDIR | 0755, 0 },
	{ B_A, B_DIR, "a", S_IFREG | 0644, 10000 },
	{ B_SUB, B_DIR, "sub", S_IFDIR | 0700, 0 },
	{ B_DEEP, B_SUB, "deep", S_IFREG | 0600, 4096 },
	{ B_EMPTY, ROOT, "empty", S_IFREG | 0644, 0 },
	{ B_FILE, ROOT, "file", S_IFREG | 04755, 70001 },
	{ B_HARD, ROOT, "hard1", S_IFREG | 0640, 5 },
	{ B_HARD, ROOT, "hard2", S_IFREG | 0640, 5 },
	{ B_LINK, ROOT, "link", S_IFLNK | 0777, sizeof(B_LINK_TARGET) - 1 },
	{ B_DEV, ROOT, "dev", S_IFCHR | 0600, 0 },
	{ B_MANY, ROOT, "many", S_IFDIR | 0755, 0 },
};
#define BASE_NODES (sizeof(base_nodes) / sizeof(base_nodes[0]))

static inline u8 base_byte(u32 ino, u64 off)
{
	return (u8)(1 + (ino * 31 + off * 7 + off / 4096) % 255);
}

struct base_writer {
	u8 *mem;
	u64 next; /* free space */
	bool attrs, sorted;
};

static inline struct daxfs_base_inode *base_put(struct base_writer *w, u32 ino,
						u32 mode, u32 nlink, u64 size)
{
	struct daxfs_base_inode *i =
		(struct daxfs_base_inode *)(w->mem + 4096) + (ino - 1);

	i->ino = htole32(ino);
	i->mode = htole32(mode);
	i->uid = htole32(ino == B_FILE ? 1000 : 0);
	i->nlink = htole32(nlink);
	i->size = htole64(size);
	if (w->attrs)
		i->mtime_sec = htole64(B_MTIME);
	return i;
}

static inline u64 base_room(struct base_writer *w, u64 n)
{
	u64 at = w->next;

	w->next += (n + 4095) & ~4095ull;
	return at;
}

static inline int base_cmp(const void *a, const void *b)
{
	const struct daxfs_base_dirent *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static inline void base_entry(struct daxfs_base_dirent *d, u32 ino, u32 mode,
			      const char *name)
{
	d->ino = htole32(ino);
	d->mode = htole32(mode);
	d->name_len = htole16((u16)strlen(name));
	memcpy(d->name, name, strlen(name));
}

static inline void base_dir(struct base_writer *w, u32 dir, u32 mode)
{
	struct daxfs_base_dirent *d =
		(struct daxfs_base_dirent *)(w->mem + w->next);
	struct daxfs_base_inode *i;
	u32 n = 0, subs = 0;
	char name[16];

	for (u32 k = 0; k < BASE_NODES; k++) {
		const struct bnode *b = &base_nodes[BASE_NODES - 1 - k];

		if (b->parent != dir)
			continue;
		subs += S_ISDIR(b->mode);
		base_entry(&d[n++], b->ino, b->mode, b->name);
	}
	for (u32 k = 0; dir == B_MANY && k < B_MANY_FILES; k++) {
		snprintf(name, sizeof(name), "f%03u", B_MANY_FILES - 1 - k);
		base_entry(&d[n++], B_COUNT - k, S_IFREG | 0644, name);
	}
	if (w->sorted)
		qsort(d, n, sizeof(*d), base_cmp);
	i = base_put(w, dir, mode, 2 + subs, n * DAXFS_BASE_DIRENT_SIZE_UNIT);
	i->data_offset = htole64(base_room(w, n * sizeof(*d)));
}

static inline void base_file(struct base_writer *w, const struct bnode *b)
{
	struct daxfs_base_inode *i =
		base_put(w, b->ino, b->mode, b->ino == B_HARD ? 2 : 1, b->size);
	u64 at = base_room(w, b->size + S_ISLNK(b->mode));

	i->data_offset = htole64(at);
	if (S_ISLNK(b->mode))
		memcpy(w->mem + at, B_LINK_TARGET, b->size);
	else
		for (u32 k = 0; k < b->size; k++)
			w->mem[at + k] = base_byte(b->ino, k);
	if (w->attrs && S_ISCHR(b->mode))
		i->rdev = htole32(daxfs_makedev(5, 1));
	if (w->attrs && S_ISREG(b->mode) && b->size)
		i->data_crc = htole32(port_crc32c(0, w->mem + at, b->size));
}

static inline u8 *base_xattr_put(u8 *p, const char *name, const void *value,
				 u32 len)
{
	struct daxfs_base_xattr *x = (struct daxfs_base_xattr *)p;
	u32 n = (u32)strlen(name);

	x->name_len = htole16((u16)n);
	x->value_len = htole32(len);
	memcpy(x + 1, name, n);
	memcpy((u8 *)(x + 1) + n, value, len);
	return p + ((sizeof(*x) + n + len + 7) & ~7ull);
}

/* Writes the image to zeroed memory; returns its size. */
static inline u64 base_build(u8 *mem, bool attrs, bool sorted)
{
	struct daxfs_base_super *s = (struct daxfs_base_super *)mem;
	struct base_writer w = { .mem = mem, .attrs = attrs, .sorted = sorted };
	struct daxfs_base_inode *f;
	u8 *p, *q;

	w.next = (4096 + B_COUNT * 64 + 4095) & ~4095ull;
	s->magic = htole32(DAXFS_BASE_MAGIC);
	s->version = htole32(DAXFS_VERSION);
	s->block_size = htole32(4096);
	s->inode_offset = htole64(4096);
	s->inode_count = htole32(B_COUNT);
	s->root_inode = htole32(ROOT);
	s->data_offset = htole64(w.next);
	base_dir(&w, B_ROOT, S_IFDIR | 0755);
	for (u32 k = 0; k < BASE_NODES; k++)
		if (S_ISDIR(base_nodes[k].mode))
			base_dir(&w, base_nodes[k].ino, base_nodes[k].mode);
		else
			base_file(&w, &base_nodes[k]);
	for (u32 k = 0; k < B_MANY_FILES; k++)
		base_put(&w, B_FIRST + k, S_IFREG | 0644, 1, 0)->data_offset =
			htole64(w.next);
	if (attrs) {
		s->xattr_offset = htole64(w.next);
		p = mem + w.next;
		q = base_xattr_put(p, "user.base", "value", 5);
		q = base_xattr_put(q, "security.capability", B_CAP, 5);
		s->xattr_size = htole64((u64)(q - p));
		f = (struct daxfs_base_inode *)(mem + 4096) + (B_FILE - 1);
		f->xattr_ref = htole32(1);
		f->xattr_len = htole32((u32)(q - p));
		base_room(&w, (u64)(q - p));
	}
	s->total_size = htole64(w.next);
	return w.next;
}

/* ---- A region -------------------------------------------------------------------- */

struct reg {
	struct mem mem;
	struct daxfs_region *r;
	struct daxfs_message msg;
};

struct shape {
	u64 size;
	u32 branches, segment_size;
	bool base, plain; /* plain: a base as version 4 wrote it */
};

static inline int reg_open(struct reg *g, u32 flags)
{
	struct daxfs_backing bk = { .base = g->mem.base, .size = g->mem.size };

	memset(&g->msg, 0, sizeof(g->msg));
	return daxfs_region_open(&bk, flags, &g->r, &g->msg);
}

/* As reg_open(), but a damaged branch is an error too: -EUCLEAN. */
static inline int reg_open_whole(struct reg *g, u32 flags)
{
	struct daxfs_branch_info *v = NULL;
	int rc = reg_open(g, flags);
	bool repaired;
	u32 n = 0;

	if (!rc)
		rc = daxfs_branch_list(g->r, &v, &n);
	while (n-- && !rc)
		if (v[n].damaged)
			rc = -EUCLEAN;
	if (rc == -EUCLEAN && v) {
		daxfs_branch_problem(g->r, v[n + 1].name, &g->msg, &repaired);
		daxfs_region_close(g->r);
		g->r = NULL;
	}
	daxfs_free(v);
	return rc;
}

/* Lay a region out in zeroed memory of s->size bytes. */
static inline void reg_format(u8 *mem, const struct shape *s)
{
	struct daxfs_format_params p = { .total_size = s->size,
					 .branches = s->branches,
					 .segment_size = s->segment_size,
					 .hash_seed = { 11, 22 } };
	struct daxfs_message msg = { "" };

	if (s->base) {
		p.base_size = base_build(mem + daxfs_base_start(s->branches),
					 !s->plain, !s->plain);
		p.base_inodes = B_COUNT;
		if (!s->plain)
			p.compat = DAXFS_COMPAT_KNOWN;
	}
	if (daxfs_region_format(mem, &p, &msg))
		fail_msg("format: %s", msg.text);
}

static inline void reg_new(struct reg *g, const struct shape *s)
{
	memset(g, 0, sizeof(*g));
	mem_new(&g->mem, s->size);
	reg_format(g->mem.base, s);
	if (reg_open(g, DAXFS_OPEN_VALIDATE))
		fail_msg("open: %s", g->msg.text);
}

static inline void reg_free(struct reg *g)
{
	daxfs_region_close(g->r);
	mem_free(&g->mem);
}

static inline void reg_reopen(struct reg *g)
{
	daxfs_region_close(g->r);
	if (reg_open(g, DAXFS_OPEN_VALIDATE))
		fail_msg("reopen: %s", g->msg.text);
}

static inline u64 reg_free_segments(struct reg *g)
{
	struct daxfs_region_info i;

	daxfs_region_info(g->r, &i);
	return i.segments_free;
}

static inline struct daxfs_branch *get_branch(struct reg *g, const char *name)
{
	struct daxfs_branch *b;

	assert_int_equal(daxfs_branch_get(g->r, name, &b), 0);
	return b;
}

static inline struct daxfs_branch *new_branch(struct reg *g, const char *name,
					      const char *parent)
{
	assert_int_equal(daxfs_branch_create(g->r, name, parent, 0), 0);
	return get_branch(g, name);
}

/* ---- Files by name ------------------------------------------------------------------ */

static inline int make_any(struct daxfs_branch *b, u64 dir, const char *name,
			   u32 mode, u64 *ino)
{
	struct daxfs_new n = { .mode = mode,
			       .target = "target",
			       .rdev = 0x103 };
	struct daxfs_attr a;
	int rc = daxfs_make(b, dir, name, strlen(name), &n, &a);

	if (!rc && ino)
		*ino = a.ino;
	return rc;
}

static inline u64 make_file(struct daxfs_branch *b, u64 dir, const char *name)
{
	u64 ino = 0;

	assert_int_equal(make_any(b, dir, name, S_IFREG | 0644, &ino), 0);
	return ino;
}

static inline u64 make_dir(struct daxfs_branch *b, u64 dir, const char *name)
{
	u64 ino = 0;

	assert_int_equal(make_any(b, dir, name, S_IFDIR | 0755, &ino), 0);
	return ino;
}

/* 0: there is none. */
static inline u64 find_name(struct daxfs_branch *b, u64 dir, const char *name)
{
	struct daxfs_attr a;
	int rc = daxfs_lookup(b, dir, name, strlen(name), &a);

	if (rc)
		assert_int_equal(rc, -ENOENT);
	return rc ? 0 : a.ino;
}

static inline int do_unlink(struct daxfs_branch *b, u64 dir, const char *name)
{
	u64 ino = 0;
	int rc = daxfs_unlink(b, dir, name, strlen(name), &ino);

	return rc ? rc : daxfs_evict(b, ino);
}

static inline int do_rename(struct daxfs_branch *b, u64 od, const char *on,
			    u64 nd, const char *nn, u32 flags)
{
	u64 victim = 0;
	int rc = daxfs_rename(b, od, on, strlen(on), nd, nn, strlen(nn), flags,
			      &victim);

	return rc || !victim ? rc : daxfs_evict(b, victim);
}

static inline int do_truncate(struct daxfs_branch *b, u64 ino, u64 size)
{
	struct daxfs_attr a = { .size = size };

	return daxfs_setattr(b, ino, DAXFS_SET_SIZE, &a, NULL);
}

static inline struct daxfs_attr attr_of(struct daxfs_branch *b, u64 ino)
{
	struct daxfs_attr a;

	assert_int_equal(daxfs_getattr(b, ino, &a), 0);
	return a;
}

#endif
