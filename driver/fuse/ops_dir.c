/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directory listings. The kernel's offsets: 1 is after ".", 2 after "..", and
 * the engine's cookies come 2 higher.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../common/util.h"
#include "ops.h"

#define DOTS 2
/* More than the kernel asks for, less than what is worth a copy. */
#define REPLY_MAX 131072u

struct reply {
	fuse_req_t req;
	struct mount *m;
	u64 dir;
	char *buf;
	size_t used, size;
};

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, ENOSYS);
}

/* Nonzero: the reply is full. */
static int add_plain(struct reply *r, const char *name, u64 ino, u32 type,
		     u64 off)
{
	struct stat st = { .st_ino = ino, .st_mode = type };
	size_t room = r->size - r->used;
	size_t n;

	n = fuse_add_direntry(r->req, r->buf + r->used, room, name, &st,
			      (off_t)off);
	if (n > room)
		return 1;
	r->used += n;
	return 0;
}

/* An entry without an inode (e->ino 0) is listed but not looked up. */
static int add_plus(struct reply *r, const char *name,
		    const struct fuse_entry_param *e, u64 off)
{
	size_t room = r->size - r->used;
	size_t n;

	n = fuse_add_direntry_plus(r->req, r->buf + r->used, room, name, e,
				   (off_t)off);
	if (n > room)
		return 1;
	r->used += n;
	return 0;
}

static int add_dots(struct reply *r, u64 *off, bool plus)
{
	static const char *const names[DOTS] = { ".", ".." };

	for (; *off < DOTS; ++*off) {
		struct fuse_entry_param e = { 0 };
		u64 ino = r->dir;
		int rc = 0;

		if (*off)
			rc = daxfs_parent(r->m->branch, r->dir, &ino);
		if (rc)
			return rc;
		e.attr.st_ino = ino;
		e.attr.st_mode = S_IFDIR;
		rc = plus ? add_plus(r, names[*off], &e, *off + 1)
			  : add_plain(r, names[*off], ino, S_IFDIR, *off + 1);
		if (rc)
			return rc;
	}
	return 0;
}

static int fill_plain(void *ctx, const struct daxfs_dirent *d)
{
	char name[DAXFS_NAME_MAX + 1];

	memcpy(name, d->name, d->len);
	name[d->len] = '\0';
	return add_plain(ctx, name, d->ino, d->type, d->cookie + DOTS);
}

static int open_reply(struct reply *r, fuse_req_t req, fuse_ino_t ino,
		      size_t size)
{
	*r = (struct reply){
		.req = req,
		.m = ops_mount(req),
		.dir = ino,
		.size = size < REPLY_MAX ? size : REPLY_MAX,
	};
	r->buf = malloc(r->size ? r->size : 1);
	return r->buf ? 0 : -ENOMEM;
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		struct fuse_file_info *fi)
{
	u64 at = (u64)off;
	struct reply r;
	int rc;

	(void)fi;
	rc = open_reply(&r, req, ino, size);
	if (!rc)
		rc = add_dots(&r, &at, false);
	if (!rc)
		rc = daxfs_readdir(r.m->branch, ino, at - DOTS, fill_plain, &r);
	if (rc < 0) {
		ops_fail_inode(req, rc);
	} else {
		ops_touch(req, ino);
		fuse_reply_buf(req, r.buf, r.used);
	}
	free(r.buf);
}

/*
 * readdirplus gathers the names first, because their attributes cannot be asked
 * for while the engine enumerates.
 */
struct found {
	u64 ino, cookie;
	u32 type;
	u16 len;
	char name[];
};

struct gather {
	char *buf;
	size_t used, size;
	size_t reply; /* bytes these entries take in the reply */
	size_t reply_max;
};

static size_t found_size(size_t len)
{
	return (sizeof(struct found) + len + 1 + 7) & ~(size_t)7;
}

static int fill_gather(void *ctx, const struct daxfs_dirent *d)
{
	char name[DAXFS_NAME_MAX + 1];
	struct gather *g = ctx;
	size_t need = found_size(d->len), n;
	struct found *f;

	memcpy(name, d->name, d->len);
	name[d->len] = '\0';
	n = fuse_add_direntry_plus(NULL, NULL, 0, name, NULL, 0);
	if (g->reply + n > g->reply_max || g->used + need > g->size)
		return 1;
	f = (struct found *)(g->buf + g->used);
	f->ino = d->ino;
	f->cookie = d->cookie;
	f->type = d->type;
	f->len = (u16)d->len;
	memcpy(f->name, name, d->len + 1);
	g->used += need;
	g->reply += n;
	return 0;
}

/* Tell the kernel of one entry with its attributes, where they can be had. */
static void add_found(struct reply *r, const struct found *f)
{
	struct fuse_entry_param e = { 0 };
	struct daxfs_attr a;
	double timeout;

	timeout = ops_name_timeout(r->m, r->dir, f->name, f->len);
	if (!daxfs_getattr(r->m->branch, f->ino, &a) &&
	    !ops_learn(r->m, f->ino)) {
		ops_entry(&a, &e);
		e.entry_timeout = timeout;
	} else {
		e.attr.st_ino = f->ino;
		e.attr.st_mode = f->type;
	}
	if (add_plus(r, f->name, &e, f->cookie + DOTS) && e.ino)
		ops_unlearn(r->m, f->ino, 1);
}

static void unlearn_all(struct reply *r, const struct gather *g)
{
	size_t i = 0;

	while (i < g->used) {
		const struct found *f = (const void *)(g->buf + i);

		ops_unlearn(r->m, f->ino, 1);
		i += found_size(f->len);
	}
}

static void reply_plus(struct reply *r, const struct gather *g)
{
	size_t i = 0;

	while (i < g->used) {
		const struct found *f = (const void *)(g->buf + i);

		add_found(r, f);
		i += found_size(f->len);
	}
	if (fuse_reply_buf(r->req, r->buf, r->used))
		unlearn_all(r, g);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	cleanup_free char *names = NULL;
	struct gather g = { 0 };
	u64 at = (u64)off;
	struct reply r;
	int rc;

	(void)fi;
	rc = open_reply(&r, req, ino, size);
	if (!rc)
		rc = add_dots(&r, &at, true);
	g.size = r.size;
	g.buf = names = malloc(g.size ? g.size : 1);
	if (!names)
		rc = -ENOMEM;
	g.reply_max = r.size - r.used;
	if (!rc)
		rc = daxfs_readdir(r.m->branch, ino, at - DOTS, fill_gather,
				   &g);
	if (rc < 0) {
		ops_fail_inode(req, rc);
	} else {
		ops_touch(req, ino);
		reply_plus(&r, &g);
	}
	free(r.buf);
}
