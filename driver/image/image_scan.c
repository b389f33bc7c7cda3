/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <search.h>
#include <sys/sysmacros.h>

#include "image_internal.h"

/* Where a file with several names was first met. */
struct link {
	dev_t dev;
	ino_t ino;
	u32 inode;
};

struct scan {
	void *links; /* tsearch() tree */
};

static int link_cmp(const void *a, const void *b)
{
	const struct link *x = a, *y = b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return 0;
}

static int entry_cmp(const void *a, const void *b)
{
	/* strcmp() is memcmp() with the shorter first: names hold no NUL. */
	return strcmp(((const struct image_entry *)a)->name,
		      ((const struct image_entry *)b)->name);
}

static int grow(void **array, u32 *max, size_t size)
{
	u32 n = *max ? *max * 2 : 256;
	void *p;

	if (*max > UINT32_MAX / 2)
		return -EOVERFLOW;
	p = reallocarray(*array, n, size);
	if (!p)
		return -ENOMEM;
	*array = p;
	*max = n;
	return 0;
}

static int add_entry(struct image *im, const char *name)
{
	char *copy;
	int rc;

	if (im->entry_count == im->entry_max) {
		rc = grow((void **)&im->entries, &im->entry_max,
			  sizeof(*im->entries));
		if (rc < 0)
			return rc;
	}
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	im->entries[im->entry_count].name = copy;
	im->entries[im->entry_count].inode = 0;
	im->entry_count++;
	return 0;
}

/* All names of the current directory, sorted, as entries of inode `dir`. */
static int list_names(struct image_walk *w, u32 dir, struct daxfs_message *msg)
{
	struct image *im = w->im;
	u32 first = im->entry_count;
	struct dirent *d;
	int fd, rc = 0;
	DIR *dp;

	fd = openat(w->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dp = fd < 0 ? NULL : fdopendir(fd);
	if (!dp) {
		rc = image_fail(w, errno, msg, NULL, "cannot list: %s",
				log_err(errno));
		if (fd >= 0)
			close(fd);
		return rc;
	}
	for (;;) {
		errno = 0;
		d = readdir(dp);
		if (!d)
			break;
		if (str_eq(d->d_name, ".") || str_eq(d->d_name, ".."))
			continue;
		if (strlen(d->d_name) > DAXFS_NAME_MAX) {
			errno = ENAMETOOLONG;
			break;
		}
		rc = add_entry(im, d->d_name);
		if (rc < 0) {
			errno = -rc;
			break;
		}
	}
	if (errno)
		rc = image_fail(w, errno, msg, NULL, "cannot list: %s",
				log_err(errno));
	closedir(dp);
	im->inodes[dir].first = first;
	im->inodes[dir].count = im->entry_count - first;
	if (im->entry_count > first)
		qsort(im->entries + first, im->entry_count - first,
		      sizeof(*im->entries), entry_cmp);
	return rc;
}

static int read_target(struct image_walk *w, const char *name,
		       struct image_inode *node, struct daxfs_message *msg)
{
	char buf[DAXFS_SYMLINK_MAX + 2];
	ssize_t n = readlinkat(w->fd, name, buf, sizeof(buf));

	if (n < 0)
		return image_fail(w, errno, msg, name, "cannot read link: %s",
				  log_err(errno));
	if (n > (ssize_t)DAXFS_SYMLINK_MAX)
		return image_fail(w, ENAMETOOLONG, msg, name,
				  "link target is longer than 4095 bytes");
	if (n == 0)
		return image_fail(w, EINVAL, msg, name, "empty link target");
	node->target = strndup(buf, (size_t)n);
	if (!node->target)
		return image_fail(w, ENOMEM, msg, name, "out of memory");
	node->size = (u64)n;
	return 0;
}

/* A new inode for what `st` describes; `name` NULL: the root. */
static int add_inode(struct image_walk *w, const char *name,
		     const struct stat *st, struct daxfs_message *msg)
{
	struct image *im = w->im;
	struct image_inode *node;
	int rc;

	if (im->inode_count == im->inode_max) {
		rc = grow((void **)&im->inodes, &im->inode_max,
			  sizeof(*im->inodes));
		if (rc < 0)
			return image_fail(w, -rc, msg, name,
					  "cannot record: %s", log_err(-rc));
	}
	node = &im->inodes[im->inode_count++];
	memset(node, 0, sizeof(*node));
	node->dev = st->st_dev;
	node->ino = st->st_ino;
	node->mtime = st->st_mtim;
	node->ctime = st->st_ctim;
	node->mode = st->st_mode;
	node->uid = st->st_uid;
	node->gid = st->st_gid;
	node->nlink = S_ISDIR(st->st_mode) ? 2 : 1;
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		node->rdev =
			daxfs_makedev(major(st->st_rdev), minor(st->st_rdev));
	if (S_ISDIR(st->st_mode))
		im->dirs++;
	if (S_ISREG(st->st_mode)) {
		im->files++;
		if (st->st_size < 0 || (u64)st->st_size >= DAXFS_MAX_FILE_SIZE)
			return image_fail(w, EFBIG, msg, name, "too large");
		node->size = (u64)st->st_size;
		im->data_bytes += node->size;
	}
	if (S_ISLNK(st->st_mode)) {
		rc = read_target(w, name, node, msg);
		if (rc < 0)
			return rc;
	}
	return image_read_xattrs(w, name, node, msg);
}

/* Another name of a file that is known already: 1, else 0 or -ENOMEM. */
static int find_link(struct scan *sc, struct image *im, const struct stat *st,
		     u32 *inode)
{
	struct link *key, **found;

	if (S_ISDIR(st->st_mode) || st->st_nlink < 2)
		return 0;
	key = calloc(1, sizeof(*key));
	if (!key)
		return -ENOMEM;
	key->dev = st->st_dev;
	key->ino = st->st_ino;
	key->inode = im->inode_count; /* the number it gets if it is new */
	found = tsearch(key, &sc->links, link_cmp);
	if (!found) {
		free(key);
		return -ENOMEM;
	}
	if (*found == key)
		return 0;
	free(key);
	*inode = (*found)->inode;
	return 1;
}

static int scan_entry(struct image_walk *w, struct scan *sc, u32 dir, u32 e,
		      struct daxfs_message *msg)
{
	struct image *im = w->im;
	const char *name = im->entries[e].name;
	struct stat st;
	u32 inode;
	int rc;

	if (fstatat(w->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno == ENOENT)
			return image_fail_changed(w, name, msg);
		return image_fail(w, errno, msg, name, "cannot stat: %s",
				  log_err(errno));
	}
	rc = find_link(sc, im, &st, &inode);
	if (rc < 0)
		return image_fail(w, ENOMEM, msg, name, "out of memory");
	if (rc == 1) {
		im->entries[e].inode = inode;
		im->inodes[inode].nlink++;
		return 0;
	}
	im->entries[e].inode = im->inode_count;
	if (S_ISDIR(st.st_mode))
		im->inodes[dir].nlink++;
	return add_inode(w, name, &st, msg);
}

static int scan_dir(struct image_walk *w, u32 dir, void *arg,
		    struct daxfs_message *msg)
{
	struct scan *sc = arg;
	u32 e, end;
	int rc;

	if (dir == 0) {
		struct stat st;

		if (fstat(w->fd, &st) < 0)
			return image_fail(w, errno, msg, NULL,
					  "cannot stat: %s", log_err(errno));
		rc = add_inode(w, NULL, &st, msg);
		if (rc < 0)
			return rc;
	}
	rc = list_names(w, dir, msg);
	if (rc < 0)
		return rc;
	end = w->im->inodes[dir].first + w->im->inodes[dir].count;
	for (e = w->im->inodes[dir].first; e < end && !rc; e++)
		rc = scan_entry(w, sc, dir, e, msg);
	return rc;
}

int image_scan(const char *dir, struct image **out, struct daxfs_message *msg)
{
	struct image *im = calloc(1, sizeof(*im));
	struct scan sc = { 0 };
	int rc;

	*out = NULL;
	if (!im || !(im->dir = strdup(dir))) {
		free(im);
		snprintf(msg->text, sizeof(msg->text), "out of memory");
		return -ENOMEM;
	}
	im->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (im->fd < 0) {
		rc = -errno;
		snprintf(msg->text, sizeof(msg->text),
			 "'%.150s': cannot open the source directory: %s", dir,
			 log_err(errno));
	} else {
		rc = image_walk(im, scan_dir, &sc, msg);
	}
	tdestroy(sc.links, free);
	if (!rc)
		rc = image_layout(im, msg);
	if (rc < 0)
		image_free(im);
	else
		*out = im;
	return rc;
}

void image_free(struct image *im)
{
	u32 i;

	if (!im)
		return;
	for (i = 0; i < im->inode_count; i++) {
		free(im->inodes[i].target);
		free(im->inodes[i].xattrs);
	}
	for (i = 0; i < im->entry_count; i++)
		free(im->entries[i].name);
	free(im->inodes);
	free(im->entries);
	if (im->fd >= 0)
		close(im->fd);
	free(im->dir);
	free(im);
}

void image_summary(const struct image *im, struct image_summary *out)
{
	memset(out, 0, sizeof(*out));
	out->size = im->size;
	out->data_bytes = im->data_bytes;
	out->inodes = im->inode_count;
	out->files = im->files;
	out->dirs = im->dirs;
	out->compat = DAXFS_COMPAT_BASE_ATTRS | DAXFS_COMPAT_SORTED_DIRS;
	memcpy(out->uuid, im->uuid, sizeof(out->uuid));
	memcpy(out->hash_seed, im->hash_seed, sizeof(out->hash_seed));
}
