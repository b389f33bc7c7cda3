/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/limits.h>
#include <sys/xattr.h>

#include "image_internal.h"

struct xattr_list {
	char path[NAME_MAX + 64];
	char names[XATTR_LIST_MAX];
	char value[DAXFS_XATTR_SIZE_MAX];
	const char **sorted;
	u32 count;
	char *out; /* as on media */
	size_t used;
};

static int name_cmp(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int sort_names(struct xattr_list *l, size_t len)
{
	const char *p = l->names, *end = l->names + len;
	u32 n = 0;

	for (; p < end; p += strlen(p) + 1)
		n++;
	l->sorted = calloc(n, sizeof(*l->sorted));
	if (!l->sorted)
		return -ENOMEM;
	for (p = l->names; p < end; p += strlen(p) + 1)
		l->sorted[l->count++] = p;
	qsort(l->sorted, n, sizeof(*l->sorted), name_cmp);
	return 0;
}

/* Append one attribute; one that is gone by now is not one. */
static int append(struct xattr_list *l, const char *name)
{
	ssize_t len = lgetxattr(l->path, name, l->value, sizeof(l->value));
	size_t name_len = strlen(name);
	struct daxfs_base_xattr h = { 0 };
	size_t size;
	char *p;

	if (len < 0)
		return errno == ENODATA ? 0 : -errno;
	if (name_len > DAXFS_XATTR_NAME_MAX)
		return -ERANGE;
	size = (sizeof(h) + name_len + (size_t)len + 7) & ~(size_t)7;
	p = realloc(l->out, l->used + size);
	if (!p)
		return -ENOMEM;
	l->out = p;
	p += l->used;
	l->used += size;
	memset(p, 0, size);
	h.name_len = cpu_to_le16((u16)name_len);
	h.value_len = cpu_to_le32((u32)len);
	memcpy(p, &h, sizeof(h));
	memcpy(p + sizeof(h), name, name_len);
	memcpy(p + sizeof(h) + name_len, l->value, (size_t)len);
	return 0;
}

static int read_all(struct image_walk *w, struct xattr_list *l,
		    const char *name, struct daxfs_message *msg)
{
	ssize_t len = llistxattr(l->path, l->names, sizeof(l->names));
	u32 i;
	int rc;

	if (len < 0 && errno == ENOENT)
		return image_fail_changed(w, name, msg);
	if (len < 0 && errno != EOPNOTSUPP)
		return image_fail(w, errno, msg, name,
				  "cannot list extended attributes: %s",
				  log_err(errno));
	if (len <= 0)
		return 0;
	rc = sort_names(l, (size_t)len);
	for (i = 0; !rc && i < l->count; i++) {
		rc = append(l, l->sorted[i]);
		if (rc < 0)
			return image_fail(w, -rc, msg, name,
					  "extended attribute '%.30s': %s",
					  l->sorted[i], log_err(-rc));
	}
	if (rc < 0)
		image_fail(w, -rc, msg, name, "out of memory");
	return rc;
}

int image_read_xattrs(struct image_walk *w, const char *name,
		      struct image_inode *node, struct daxfs_message *msg)
{
	struct xattr_list *l = malloc(sizeof(*l));
	int rc;

	if (!l)
		return image_fail(w, ENOMEM, msg, name, "out of memory");
	l->sorted = NULL;
	l->count = 0;
	l->out = NULL;
	l->used = 0;
	/*
	 * There is no listxattrat(): this path is the open directory and one
	 * more step, which does not follow links.
	 */
	snprintf(l->path, sizeof(l->path), "/proc/self/fd/%d/%s", w->fd,
		 name ? name : ".");
	rc = read_all(w, l, name, msg);
	if (!rc) {
		node->xattrs = steal_ptr(&l->out);
		node->xattr_len = (u32)l->used;
	}
	free(l->out);
	free(l->sorted);
	free(l);
	return rc;
}
