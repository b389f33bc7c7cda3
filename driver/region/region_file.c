/* SPDX-License-Identifier: Apache-2.0 */
#include "region.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include "../common/log.h"
#include "../common/util.h"
#include "region_dax.h"

#define PAGE 4096ull

/* Owns what a region_file shows; reached through backing.priv. */
struct region_priv {
	int fd;
	char *map; /* NULL: not mapped */
	u64 size;
	bool dax;    /* mapped with MAP_SYNC: caches are flushed, not pages */
	bool ranged; /* parts of the file can be synced: see write_ranges() */
	char *temp;  /* name on disk until published; NULL: nameless or done */
	bool unpublished;
};

__attribute__((format(printf, 3, 4))) static int
fail(int err, struct daxfs_message *msg, const char *fmt, ...)
{
	va_list ap;

	if (msg) {
		va_start(ap, fmt);
		vsnprintf(msg->text, sizeof(msg->text), fmt, ap);
		va_end(ap);
	}
	return -err;
}

static bool in_region(const struct region_priv *p, u64 off, u64 len)
{
	return off <= p->size && len <= p->size - off;
}

/*
 * Write the ranges only, not what others have made dirty, where the file system
 * is known to let the last step make that durable: its journal holds what the
 * file's other blocks need.
 */
static int write_ranges(struct region_priv *p, const struct daxfs_range *v,
			u32 count)
{
	const unsigned how = SYNC_FILE_RANGE_WAIT_BEFORE |
			     SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;

	/* all are begun before any is waited for */
	for (u32 i = 0; i < count; i++)
		if (sync_file_range(p->fd, (off_t)v[i].off, (off_t)v[i].len,
				    SYNC_FILE_RANGE_WRITE) < 0)
			return -errno;
	for (u32 i = 0; i < count; i++)
		if (sync_file_range(p->fd, (off_t)v[i].off, (off_t)v[i].len,
				    how) < 0)
			return -errno;
	return 0;
}

static int region_sync(void *priv, const struct daxfs_range *v, u32 count)
{
	struct region_priv *p = priv;
	int rc = 0;

	for (u32 i = 0; i < count; i++)
		if (!in_region(p, v[i].off, v[i].len))
			return -EINVAL;
	if (!count)
		return 0;
	if (p->dax) {
		for (u32 i = 0; i < count; i++)
			region_dax_flush(p->map + v[i].off, v[i].len);
		return 0;
	}
	if (p->ranged && count > 1)
		rc = write_ranges(p, v, count);
	if (rc)
		return rc;
	if (p->ranged) {
		u64 start = v[0].off & ~(PAGE - 1);
		u64 end = count > 1 ? start + PAGE : v[0].off + v[0].len;

		rc = msync(p->map + start, end - start, MS_SYNC);
	} else {
		rc = msync(p->map, p->size, MS_SYNC);
	}
	return rc < 0 ? -errno : 0;
}

/* A store to a page that a full file system cannot give would be SIGBUS. */
static int region_reserve(void *priv, u64 off, u64 len)
{
	struct region_priv *p = priv;

	if (!in_region(p, off, len))
		return -EINVAL;
	if (!len ||
	    !fallocate(p->fd, FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len))
		return 0;
	/* where it cannot be had, go on without */
	return errno == EOPNOTSUPP ? 0 : -errno;
}

static int region_discard(void *priv, u64 off, u64 len)
{
	struct region_priv *p = priv;

	if (!in_region(p, off, len))
		return -EINVAL;
	if (!len)
		return 0;
	if (fallocate(p->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)off, (off_t)len) < 0)
		return -errno;
	return 0;
}

/* Locks on bytes beyond any region, one for each instance that shares it. */
#define INSTANCE_BYTES (1ll << 60)

static struct flock instance_lock(u32 slot)
{
	return (struct flock){ .l_type = F_WRLCK,
			       .l_whence = SEEK_SET,
			       .l_start = INSTANCE_BYTES + slot,
			       .l_len = 1 };
}

static int region_hold(void *priv, u32 slot)
{
	const struct region_priv *p = priv;
	struct flock l = instance_lock(slot);

	return fcntl(p->fd, F_OFD_SETLK, &l) < 0 ? -errno : 0;
}

static bool region_held(void *priv, u32 slot)
{
	const struct region_priv *p = priv;
	struct flock l = instance_lock(slot);

	/* what cannot be asked is taken for alive: waiting harms nobody */
	return fcntl(p->fd, F_OFD_GETLK, &l) < 0 || l.l_type != F_UNLCK;
}

static void priv_free(struct region_priv *p)
{
	if (!p)
		return;
	if (p->map)
		munmap(p->map, p->size);
	if (p->temp)
		unlink(p->temp);
	if (p->fd >= 0) {
		/* others may have copies of it, which share the lock */
		flock(p->fd, LOCK_UN);
		close(p->fd);
	}
	free(p->temp);
	free(p);
}

static struct region_priv *priv_new(void)
{
	struct region_priv *p = calloc(1, sizeof(*p));

	if (p)
		p->fd = -1;
	return p;
}

/* Does the file lie where nothing survives the end of the machine's power? */
static int is_volatile(struct region_priv *p, bool *out)
{
	struct statfs st;

	if (fstatfs(p->fd, &st) < 0)
		return -errno;
	*out = st.f_type == TMPFS_MAGIC || st.f_type == RAMFS_MAGIC ||
	       st.f_type == HUGETLBFS_MAGIC;
	p->ranged =
		st.f_type == EXT4_SUPER_MAGIC || st.f_type == XFS_SUPER_MAGIC;
	return 0;
}

/* A UUID in text; zeros when it cannot be had. */
static void read_boot_id(u8 id[16])
{
	cleanup_close int fd =
		open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	char text[64] = "";
	unsigned n = 0;

	memset(id, 0, 16);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return;
	for (const char *c = text; *c && n < 32; c++) {
		int digit = hex_digit(*c);

		if (digit < 0)
			continue;
		id[n / 2] = (u8)(id[n / 2] << 4 | digit);
		n++;
	}
}

static int map_region(struct region_priv *p, bool readonly,
		      struct region_file *out)
{
	int prot = readonly ? PROT_READ : PROT_READ | PROT_WRITE;
	bool gone = false;
	void *map;
	int rc = is_volatile(p, &gone);

	if (rc)
		return rc;
	map = MAP_FAILED;
	if (!gone && region_dax_supported())
		map = mmap(NULL, p->size, prot, MAP_SHARED_VALIDATE | MAP_SYNC,
			   p->fd, 0);
	p->dax = map != MAP_FAILED;
	if (!p->dax)
		map = mmap(NULL, p->size, prot, MAP_SHARED, p->fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	p->map = map;
	out->fd = p->fd;
	out->backing = (struct daxfs_backing){
		.base = map,
		.size = p->size,
		.readonly = readonly,
		.priv = p,
		.reserve = readonly ? NULL : region_reserve,
		.sync = gone ? NULL : region_sync,
		.discard = readonly ? NULL : region_discard,
		.hold = region_hold,
		.held = region_held,
	};
	read_boot_id(out->backing.boot);
	return 0;
}

/*
 * Open and lock. A file that was replaced between the two is a file without a
 * name: the new one is opened instead.
 */
static int open_locked(const char *path, unsigned flags, struct stat *st)
{
	bool ro = flags & (REGION_READONLY | REGION_NOLOCK);
	bool shared = flags & (REGION_READONLY | REGION_SHARED);
	int mode = (ro ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	int tries;

	for (tries = 0; tries < 16; tries++) {
		cleanup_close int fd = open(path, mode);

		if (fd < 0)
			return -errno;
		if (!(flags & REGION_NOLOCK) &&
		    flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0)
			return -errno;
		if (fstat(fd, st) < 0)
			return -errno;
		if (st->st_nlink > 0 || (flags & REGION_NOLOCK))
			return steal_fd(&fd);
	}
	return -ESTALE;
}

static int check_file(const char *path, const struct stat *st,
		      struct daxfs_message *msg)
{
	if (S_ISDIR(st->st_mode))
		return fail(EISDIR, msg, "'%s': is a directory, not a region",
			    path);
	if (!S_ISREG(st->st_mode))
		return fail(EINVAL, msg,
			    "'%s': not a regular file; a region is one", path);
	if (st->st_size < (off_t)PAGE || st->st_size % PAGE)
		return fail(EINVAL, msg,
			    "'%s': not a daxfs region, or a truncated one: its size is %lld bytes, not a multiple of 4096",
			    path, (long long)st->st_size);
	return 0;
}

/* Check and map the open file that p has; consumes p. */
static int take_file(struct region_priv *p, const char *path, bool ro,
		     const struct stat *st, struct region_file *out,
		     struct daxfs_message *msg)
{
	int rc;

	p->size = (u64)st->st_size;
	rc = check_file(path, st, msg);
	if (rc < 0)
		goto err;
	rc = map_region(p, ro, out);
	if (rc < 0) {
		fail(-rc, msg, "'%s': cannot map: %s", path, log_err(-rc));
		goto err;
	}
	out->path = path_absolute(path);
	if (!out->path) {
		rc = fail(errno, msg, "'%s': cannot resolve the path: %s", path,
			  log_err(errno));
		goto err;
	}
	return 0;
err:
	region_file_close(out);
	return rc;
}

static int new_file(const char *path, struct region_priv **p,
		    struct region_file *out, struct daxfs_message *msg)
{
	memset(out, 0, sizeof(*out));
	out->fd = -1;
	*p = priv_new();
	if (!*p)
		return fail(ENOMEM, msg, "'%s': out of memory", path);
	out->backing.priv = *p;
	return 0;
}

int region_file_open(const char *path, unsigned flags, struct region_file *out,
		     struct daxfs_message *msg)
{
	bool ro = flags & (REGION_READONLY | REGION_NOLOCK);
	struct region_priv *p;
	struct stat st;
	int rc;

	rc = new_file(path, &p, out, msg);
	if (rc < 0)
		return rc;
	rc = open_locked(path, flags, &st);
	if (rc == -EWOULDBLOCK)
		fail(EWOULDBLOCK, msg,
		     "'%s': in use by another process (a mounted region is served by daxfs-fuse)",
		     path);
	else if (rc < 0)
		fail(-rc, msg, "'%s': cannot open: %s", path, log_err(-rc));
	if (rc < 0) {
		region_file_close(out);
		return rc;
	}
	p->fd = rc;
	return take_file(p, path, ro, &st, out, msg);
}

int region_file_inherit(const char *path, int fd, struct region_file *out,
			struct daxfs_message *msg)
{
	int mode = fcntl(fd, F_GETFL);
	struct region_priv *p;
	struct stat st;
	int rc;

	rc = new_file(path, &p, out, msg);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	p->fd = fd;
	if (mode < 0 || fstat(fd, &st) < 0) {
		rc = fail(errno, msg, "'%s': cannot look at it: %s", path,
			  log_err(errno));
		region_file_close(out);
		return rc;
	}
	return take_file(p, path, (mode & O_ACCMODE) == O_RDONLY, &st, out,
			 msg);
}

/* The absolute form of a path whose last component need not exist. */
static char *absolute_new(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	cleanup_free char *dir = NULL;
	cleanup_free char *abs = NULL;

	if (!*name || str_eq(name, ".") || str_eq(name, "..")) {
		errno = EISDIR;
		return NULL;
	}
	if (!slash)
		dir = strdup(".");
	else
		dir = strndup(path, slash == path ? 1 : (size_t)(slash - path));
	if (!dir)
		return NULL;
	abs = path_absolute(dir);
	if (!abs)
		return NULL;
	return str_printf("%s/%s", str_eq(abs, "/") ? "" : abs, name);
}

static char *dir_of(const char *abs)
{
	const char *slash = strrchr(abs, '/');

	return strndup(abs, slash == abs ? 1 : (size_t)(slash - abs));
}

/* A name beside `abs` that is ours for as long as the process lives. */
static char *temp_name(const char *abs, const char *suffix)
{
	const char *slash = strrchr(abs, '/');

	return str_printf("%.*s.%.200s.%s", (int)(slash - abs) + 1, abs,
			  slash + 1, suffix);
}

/*
 * A nameless file where the file system can make one, so that nothing stays
 * behind however the process ends; else a temporary name.
 */
static int create_file(struct region_priv *p, const char *abs)
{
	cleanup_free char *dir = dir_of(abs);
	char *temp;

	if (!dir)
		return -ENOMEM;
	p->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (p->fd >= 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
		return -errno;
	temp = temp_name(abs, "XXXXXX");
	if (!temp)
		return -ENOMEM;
	p->fd = mkostemp(temp, O_CLOEXEC);
	if (p->fd < 0) {
		int err = errno;

		free(temp);
		return -err;
	}
	p->temp = temp;
	return 0;
}

int region_file_create(const char *path, u64 size, struct region_file *out,
		       struct daxfs_message *msg)
{
	struct region_priv *p;
	int rc;

	memset(out, 0, sizeof(*out));
	out->fd = -1;
	if (size < PAGE || size % PAGE || size > INT64_MAX)
		return fail(EINVAL, msg,
			    "'%s': a region's size is a multiple of 4096, not %llu",
			    path, (unsigned long long)size);
	p = priv_new();
	if (!p)
		return fail(ENOMEM, msg, "'%s': out of memory", path);
	out->backing.priv = p;
	p->unpublished = true;
	p->size = size;
	out->path = absolute_new(path);
	rc = out->path ? create_file(p, out->path) : -errno;
	if (!rc && ftruncate(p->fd, (off_t)size) < 0)
		rc = -errno;
	if (!rc && flock(p->fd, LOCK_EX | LOCK_NB) < 0)
		rc = -errno;
	if (!rc)
		rc = map_region(p, false, out);
	if (rc < 0) {
		fail(-rc, msg, "'%s': cannot create a file of %llu bytes: %s",
		     path, (unsigned long long)size, log_err(-rc));
		region_file_close(out);
	}
	return rc;
}

/* Give a nameless file a temporary name, for rename() to move. */
static int name_file(struct region_priv *p, const char *abs)
{
	char proc[64];
	int i;

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", p->fd);
	for (i = 0; i < 100; i++) {
		char suffix[32];
		char *temp;
		int err;

		snprintf(suffix, sizeof(suffix), "%d-%d", getpid(), i);
		temp = temp_name(abs, suffix);
		if (!temp)
			return -ENOMEM;
		if (linkat(AT_FDCWD, proc, AT_FDCWD, temp, AT_SYMLINK_FOLLOW) ==
		    0) {
			p->temp = temp;
			return 0;
		}
		err = errno;
		free(temp);
		if (err != EEXIST)
			return -err;
	}
	return -EEXIST;
}

static int sync_dir(const char *abs)
{
	cleanup_free char *dir = dir_of(abs);
	cleanup_close int fd = -1;

	if (!dir)
		return -ENOMEM;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0 && errno != EINVAL && errno != EROFS)
		return -errno;
	return 0;
}

int region_file_publish(struct region_file *f, struct daxfs_message *msg)
{
	struct region_priv *p = f->backing.priv;
	int rc = 0;

	if (!p || !p->unpublished)
		return fail(EINVAL, msg, "'%s': published already",
			    f->path ? f->path : "");
	if (fsync(p->fd) < 0)
		rc = -errno;
	if (!rc && !p->temp)
		rc = name_file(p, f->path);
	if (!rc && rename(p->temp, f->path) < 0)
		rc = -errno;
	if (rc < 0)
		return fail(-rc, msg, "'%s': cannot put the file in place: %s",
			    f->path, log_err(-rc));
	free(p->temp);
	p->temp = NULL;
	p->unpublished = false;
	rc = sync_dir(f->path);
	if (rc < 0)
		return fail(-rc, msg, "'%s': cannot sync its directory: %s",
			    f->path, log_err(-rc));
	return 0;
}

void region_file_close(struct region_file *f)
{
	if (!f)
		return;
	priv_free(f->backing.priv);
	free(f->path);
	memset(f, 0, sizeof(*f));
	f->fd = -1;
}

char *region_control_path(const char *region_path, const char *state)
{
	struct stat st;

	if (stat(region_path, &st) < 0)
		return NULL;
	if (str_empty(state))
		state = getenv("DAXFS_STATE");
	if (str_empty(state))
		state = "/run/daxfs";
	return str_printf("%s/fuse/%llx-%llu.sock", state,
			  (unsigned long long)st.st_dev,
			  (unsigned long long)st.st_ino);
}
