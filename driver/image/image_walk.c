/* SPDX-License-Identifier: Apache-2.0 */
#include "image_internal.h"

#include <fcntl.h>
#include <stdarg.h>

/* Messages are short: of a long path the end is the telling part. */
#define PATH_SHOWN 150

static void prepend(char *buf, size_t *at, const char *s)
{
	size_t n = strlen(s);

	while (n && *at) {
		buf[--*at] = s[--n];
		if (*at == 0)
			memcpy(buf, "...", 3);
	}
}

static const char *shown_path(struct image_walk *w, const char *name,
			      char buf[PATH_SHOWN + 1])
{
	size_t at = PATH_SHOWN;
	u32 i;

	buf[at] = 0;
	if (name) {
		prepend(buf, &at, name);
		prepend(buf, &at, "/");
	}
	for (i = w->depth; i-- > 1;) {
		prepend(buf, &at, w->im->entries[w->stack[i].entry].name);
		prepend(buf, &at, "/");
	}
	prepend(buf, &at, w->im->dir);
	return buf + at;
}

int image_fail(struct image_walk *w, int err, struct daxfs_message *msg,
	       const char *name, const char *fmt, ...)
{
	char path[PATH_SHOWN + 1];
	char what[80];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	snprintf(msg->text, sizeof(msg->text), "'%s': %s",
		 shown_path(w, name, path), what);
	return -err;
}

int image_fail_changed(struct image_walk *w, const char *name,
		       struct daxfs_message *msg)
{
	return image_fail(w, EAGAIN, msg, name,
			  "changed while it was read; stop its writers and try again");
}

static int push(struct image_walk *w, u32 dir, u32 entry)
{
	if (w->depth == w->max) {
		u32 max = w->max ? w->max * 2 : 64;
		void *p = reallocarray(w->stack, max, sizeof(*w->stack));

		if (!p)
			return -ENOMEM;
		w->stack = p;
		w->max = max;
	}
	w->stack[w->depth].dir = dir;
	w->stack[w->depth].entry = entry;
	w->stack[w->depth].next = 0;
	w->depth++;
	return 0;
}

/* Step to `name` from the current directory; it must be inode `dir`. */
static int step(struct image_walk *w, const char *name, u32 dir,
		struct daxfs_message *msg)
{
	const struct image_inode *node = &w->im->inodes[dir];
	const char *shown = str_eq(name, "..") ? NULL : name;
	cleanup_close int fd = -1;
	struct stat st;

	fd = openat(w->fd, name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		int err = errno;

		if (err == ENOENT || err == ENOTDIR || err == ELOOP)
			return image_fail_changed(w, shown, msg);
		return image_fail(w, err, msg, shown, "cannot open: %s",
				  log_err(err));
	}
	if (st.st_dev != node->dev || st.st_ino != node->ino)
		return image_fail_changed(w, shown, msg);
	close(w->fd);
	w->fd = steal_fd(&fd);
	return 0;
}

static int walk_on(struct image_walk *w,
		   int (*enter)(struct image_walk *w, u32 dir, void *arg,
				struct daxfs_message *msg),
		   void *arg, struct daxfs_message *msg)
{
	int rc = enter(w, 0, arg, msg);

	while (!rc && w->depth) {
		u32 top = w->depth - 1;
		const struct image_inode *dir =
			&w->im->inodes[w->stack[top].dir];
		u32 e, child;

		if (w->stack[top].next == dir->count) {
			w->depth--;
			if (w->depth)
				rc = step(w, "..", w->stack[top - 1].dir, msg);
			continue;
		}
		e = dir->first + w->stack[top].next++;
		child = w->im->entries[e].inode;
		if (!S_ISDIR(w->im->inodes[child].mode))
			continue;
		rc = step(w, w->im->entries[e].name, child, msg);
		if (!rc && push(w, child, e) < 0)
			rc = image_fail(w, ENOMEM, msg, NULL, "out of memory");
		if (!rc)
			rc = enter(w, child, arg, msg);
	}
	return rc;
}

int image_walk(struct image *im,
	       int (*enter)(struct image_walk *w, u32 dir, void *arg,
			    struct daxfs_message *msg),
	       void *arg, struct daxfs_message *msg)
{
	struct image_walk w = { .im = im, .fd = -1 };
	int rc;

	w.fd = fcntl(im->fd, F_DUPFD_CLOEXEC, 3);
	if (w.fd < 0)
		return image_fail(&w, errno, msg, NULL, "cannot open: %s",
				  log_err(errno));
	rc = push(&w, 0, 0);
	if (rc < 0)
		image_fail(&w, ENOMEM, msg, NULL, "out of memory");
	else
		rc = walk_on(&w, enter, arg, msg);
	close(w.fd);
	free(w.stack);
	return rc;
}
