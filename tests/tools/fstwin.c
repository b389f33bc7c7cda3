/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fstwin A B SEED STEPS: do the same random file operations in two directories
 * and compare every answer: B is a file system under test, A one that is right
 * (tmpfs). Both begin empty. Prints what differs and exits 1.
 *
 * The steps depend on SEED and the answers of A alone, so a failure repeats.
 * Between runs the trees may be taken up again with another seed, e.g. after B
 * was mounted anew: then the first thing done is to compare them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SIDES 2
#define OPEN_MAX_FILES 6
#define FILE_SPAN 300000
#define LIST_MAX 65536

static int root[SIDES];
static uint64_t state;
static unsigned long step;
static char doing[512]; /* the operation, for the message */

static struct {
	int fd[SIDES];
	bool append;
} files[OPEN_MAX_FILES];

static bool tmpfile_works; /* FUSE has it from Linux 6.2 on */

static char data[SIDES][FILE_SPAN + 70000];

static uint64_t rnd(uint64_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % n;
}

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *fmt,
								...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "fstwin: step %lu: %s: ", step, doing);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

/* One answer a side: a value, or -errno. */
static void same(const char *what, const int64_t v[SIDES])
{
	if (v[0] != v[1])
		die("%s: %" PRId64 " (%s) should be, %" PRId64 " (%s) is", what,
		    v[0], v[0] < 0 ? strerror((int)-v[0]) : "", v[1],
		    v[1] < 0 ? strerror((int)-v[1]) : "");
}

static int64_t result(int64_t rc)
{
	return rc < 0 ? -errno : rc;
}

#define EACH(what, expr)                                 \
	({                                               \
		int64_t v_[SIDES];                       \
		for (int i = 0; i < SIDES; i++)          \
			v_[i] = result((int64_t)(expr)); \
		same(what, v_);                          \
		v_[0];                                   \
	})

/* A path of one to three components out of a few names. */
static const char *some_path(char *buf)
{
	static const char *const dirs[] = { "d0", "d1", "d2", "dir three" };
	static const char *const names[] = { "d0", "d1", "d2", "f0", "f1",
					     "f2", "f3", "f4", "s0", "n0" };
	unsigned depth = (unsigned)rnd(3);

	*buf = '\0';
	while (depth--) {
		strcat(buf, dirs[rnd(4)]);
		strcat(buf, "/");
	}
	return strcat(buf, names[rnd(10)]);
}

static void compare_stat(const char *path, int flags)
{
	struct stat st[SIDES];
	int64_t rc = EACH("stat", fstatat(root[i], path, &st[i], flags));
	bool dir;

	if (rc < 0)
		return;
	dir = S_ISDIR(st[0].st_mode);
#define FIELD(f)                                                              \
	if (st[0].f != st[1].f)                                               \
	die("%s: '%s' should be %lld, is %lld", #f, path, (long long)st[0].f, \
	    (long long)st[1].f)
	FIELD(st_mode);
	FIELD(st_nlink);
	FIELD(st_uid);
	FIELD(st_gid);
	FIELD(st_rdev);
	if (!dir)
		FIELD(st_size);
}

/* ---- Operations ---------------------------------------------------------- */

static void compare_open(int k, size_t off, size_t len)
{
	int64_t n =
		EACH("pread", pread(files[k].fd[i], data[i], len, (off_t)off));

	if (n > 0 && memcmp(data[0], data[1], (size_t)n))
		die("the data differ in [%zu, %zu)", off, off + (size_t)n);
}

static void do_open(const char *path)
{
	static const int modes[] = { O_CREAT,          O_CREAT,
				     O_CREAT | O_EXCL, O_CREAT | O_TRUNC,
				     O_TRUNC,          0,
				     O_APPEND,         O_CREAT | O_APPEND };
	int flags = modes[rnd(8)], k = (int)rnd(OPEN_MAX_FILES);
	mode_t mode = (mode_t)rnd(512) | 0600;

	snprintf(doing, sizeof(doing), "open '%s' 0%o", path, flags);
	if (files[k].fd[0] >= 0)
		EACH("close", close(files[k].fd[i]));
	files[k].append = flags & O_APPEND;
	for (int i = 0; i < SIDES; i++)
		files[k].fd[i] = -1;
	int64_t v[SIDES];
	for (int i = 0; i < SIDES; i++) {
		files[k].fd[i] = openat(root[i], path,
					flags | O_RDWR | O_NONBLOCK |
						O_CLOEXEC | O_NOCTTY,
					mode);
		v[i] = files[k].fd[i] < 0 ? -errno : 0;
	}
	same("open", v);
	/* Only plain files are worked on. */
	if (!v[0]) {
		struct stat st;

		if (fstat(files[k].fd[0], &st) || !S_ISREG(st.st_mode)) {
			EACH("close", close(files[k].fd[i]));
			files[k].fd[0] = files[k].fd[1] = -1;
		}
	}
}

static size_t some_length(void)
{
	return rnd(4) ? rnd(9000) : rnd(70000);
}

static void do_write(int k)
{
	size_t len = some_length(), off = rnd(FILE_SPAN), j;
	uint64_t fill = rnd(1ull << 50);

	snprintf(doing, sizeof(doing), "write %d at %zu, %zu bytes", k, off,
		 len);
	for (j = 0; j < len; j++)
		data[0][j] = (char)((fill + j * 7) >> (j % 5));
	if (files[k].append || !rnd(4))
		EACH("write", write(files[k].fd[i], data[0], len));
	else
		EACH("pwrite",
		     pwrite(files[k].fd[i], data[0], len, (off_t)off));
}

static void do_mmap(int k)
{
	struct stat st;
	size_t off, len;

	if (fstat(files[k].fd[0], &st) || !st.st_size)
		return;
	off = rnd((uint64_t)st.st_size);
	len = some_length();
	if (len > (size_t)st.st_size - off)
		len = (size_t)st.st_size - off;
	snprintf(doing, sizeof(doing), "write %d by a mapping at %zu, %zu", k,
		 off, len);
	for (int i = 0; i < SIDES; i++) {
		char *p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE,
			       MAP_SHARED, files[k].fd[i], 0);

		if (p == MAP_FAILED)
			die("mmap: %s", strerror(errno));
		memset(p + off, (int)(step & 0xff), len);
		if (munmap(p, (size_t)st.st_size))
			die("munmap: %s", strerror(errno));
	}
}

static void do_fallocate(int k)
{
	/* All that FUSE and tmpfs both know. */
	static const int modes[] = { 0, FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
				     FALLOC_FL_KEEP_SIZE |
					     FALLOC_FL_PUNCH_HOLE };
	off_t off = (off_t)rnd(FILE_SPAN), len = (off_t)some_length();
	int mode = modes[rnd(4)];

	snprintf(doing, sizeof(doing), "fallocate %d mode %d [%lld, +%lld)", k,
		 mode, (long long)off, (long long)len);
	EACH("fallocate", fallocate(files[k].fd[i], mode, off, len));
}

static void do_copy(int from)
{
	int to = (int)rnd(OPEN_MAX_FILES);
	off_t in = (off_t)rnd(FILE_SPAN), out = (off_t)rnd(FILE_SPAN);
	size_t len = some_length();

	if (files[to].fd[0] < 0)
		return;
	snprintf(doing, sizeof(doing), "copy %zu from %d at %lld to %d at %lld",
		 len, from, (long long)in, to, (long long)out);
	EACH("copy_file_range", ({
		     off_t a = in, b = out;
		     copy_file_range(files[from].fd[i], &a, files[to].fd[i], &b,
				     len, 0);
	     }));
}

static void do_with_file(void)
{
	int k = (int)rnd(OPEN_MAX_FILES);
	off_t size;

	if (files[k].fd[0] < 0)
		return;
	switch (rnd(10)) {
	case 0:
	case 1:
	case 2:
		do_write(k);
		break;
	case 6:
		do_fallocate(k);
		break;
	case 7:
		do_copy(k);
		break;
	case 3:
		do_mmap(k);
		break;
	case 4:
		size = (off_t)rnd(FILE_SPAN);
		snprintf(doing, sizeof(doing), "ftruncate %d to %lld", k,
			 (long long)size);
		EACH("ftruncate", ftruncate(files[k].fd[i], size));
		break;
	case 5:
		snprintf(doing, sizeof(doing), "fsync %d", k);
		EACH("fsync", fsync(files[k].fd[i]));
		break;
	default:
		snprintf(doing, sizeof(doing), "read %d", k);
		compare_open(k, rnd(FILE_SPAN), some_length());
	}
}

static void do_rename(const char *from, const char *to)
{
	static const unsigned flags[] = {
		0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT
	};
	unsigned f = flags[rnd(6)];

	snprintf(doing, sizeof(doing), "rename '%s' '%s' flags %u", from, to,
		 f);
	EACH("rename", renameat2(root[i], from, root[i], to, f));
}

static void do_xattr(const char *path)
{
	static const char *const names[] = { "trusted.a", "trusted.b",
					     "security.c" };
	const char *name = names[rnd(3)];
	char proc[SIDES][600], buf[SIDES][20000];
	size_t len = rnd(5) ? rnd(100) : rnd(20000);
	int op = (int)rnd(3), flags = (int)rnd(3);
	int64_t n;

	snprintf(doing, sizeof(doing), "xattr op %d '%s' of '%s', %zu", op,
		 name, path, len);
	for (int i = 0; i < SIDES; i++)
		snprintf(proc[i], sizeof(proc[i]), "/proc/self/fd/%d/%s",
			 root[i], path);
	memset(buf[0], (int)step, len);
	if (op == 0)
		EACH("setxattr", lsetxattr(proc[i], name, buf[0], len, flags));
	else if (op == 1)
		EACH("removexattr", lremovexattr(proc[i], name));
	n = EACH("getxattr", lgetxattr(proc[i], name, buf[i], sizeof(buf[i])));
	if (n > 0 && memcmp(buf[0], buf[1], (size_t)n))
		die("the value differs");
}

/* Set, or remove, an ACL with a user, and look at it. */
static void do_acl(const char *path)
{
	const char *name =
		rnd(2) ? "system.posix_acl_access" : "system.posix_acl_default";
	/* Owner, a user, the group, the mask, others. */
	static const uint16_t tags[] = { 1, 2, 4, 16, 32 };
	struct {
		uint32_t version;
		struct {
			uint16_t tag, perm;
			uint32_t id;
		} e[5];
	} acl = { .version = 2 };
	char proc[SIDES][600], buf[SIDES][100];
	bool remove = !rnd(4);
	int64_t n;

	snprintf(doing, sizeof(doing), "%s of '%s'%s", name, path,
		 remove ? ", removed" : "");
	for (int j = 0; j < 5; j++) {
		acl.e[j].tag = tags[j];
		acl.e[j].perm = (uint16_t)rnd(8);
		acl.e[j].id = tags[j] == 2 ? 1000 : UINT32_MAX;
	}
	for (int i = 0; i < SIDES; i++)
		snprintf(proc[i], sizeof(proc[i]), "/proc/self/fd/%d/%s",
			 root[i], path);
	if (remove)
		EACH("removexattr", lremovexattr(proc[i], name));
	else
		EACH("setxattr",
		     lsetxattr(proc[i], name, &acl, sizeof(acl), 0));
	n = EACH("getxattr", lgetxattr(proc[i], name, buf[i], sizeof(buf[i])));
	if (n > 0 && memcmp(buf[0], buf[1], (size_t)n))
		die("the ACL differs");
}

static void do_tmpfile(const char *dir, const char *path)
{
	int fd[SIDES];
	char proc[64];

	snprintf(doing, sizeof(doing), "O_TMPFILE in '%s', then '%s'", dir,
		 path);
	if (EACH("open",
		 (fd[i] = openat(root[i], dir, O_TMPFILE | O_WRONLY | O_CLOEXEC,
				 0666)) < 0
			 ? -1
			 : 0) < 0)
		return;
	EACH("write", write(fd[i], dir, strlen(dir)));
	EACH("linkat", ({
		     snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd[i]);
		     linkat(AT_FDCWD, proc, root[i], path, AT_SYMLINK_FOLLOW);
	     }));
	EACH("close", close(fd[i]));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names of a directory, sorted, in one string. */
static int64_t list_dir(int dirfd, const char *path, char *out)
{
	char *names[4096];
	size_t n = 0, j;
	struct dirent *e;
	DIR *d;
	int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	*out = '\0';
	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d)
		return -errno;
	while (errno = 0, (e = readdir(d))) {
		char line[300];

		/* Also the type; '.' and '..' are part of it. */
		snprintf(line, sizeof(line), "%s:%d", e->d_name, e->d_type);
		if (n == 4096)
			die("too many names in '%s'", path);
		names[n++] = strdup(line);
	}
	if (errno)
		die("readdir '%s': %s", path, strerror(errno));
	closedir(d);
	qsort(names, n, sizeof(names[0]), by_name);
	for (j = 0; j < n; j++) {
		if (strlen(out) + strlen(names[j]) + 2 > LIST_MAX)
			die("too long a list in '%s'", path);
		strcat(strcat(out, names[j]), "/");
		free(names[j]);
	}
	return (int64_t)n;
}

static void compare_list(const char *path)
{
	static char list[SIDES][LIST_MAX];

	EACH("readdir",
	     (errno = 0, list_dir(root[i], path, list[i]) < 0 ? -1 : 0));
	if (strcmp(list[0], list[1]))
		die("'%s' should list %s, lists %s", path, list[0], list[1]);
}

static void do_node(const char *path)
{
	static const mode_t types[] = { S_IFIFO, S_IFCHR, S_IFBLK, S_IFSOCK,
					S_IFREG };
	mode_t type = types[rnd(5)];
	/* Majors for experiments: opening one does nothing. */
	dev_t dev = makedev(60 + (unsigned)rnd(4), (unsigned)rnd(1 << 20));

	snprintf(doing, sizeof(doing), "mknod '%s' type 0%o", path, type);
	EACH("mknod", mknodat(root[i], path, type | 0640, dev));
}

static void do_times(const char *path)
{
	struct timespec ts[2] = {
		{ (time_t)rnd(1u << 31), (long)rnd(1000000000) },
		{ (time_t)rnd(1u << 31), (long)rnd(1000000000) },
	};
	struct stat st[SIDES];

	snprintf(doing, sizeof(doing), "utimens '%s'", path);
	if (EACH("utimensat",
		 utimensat(root[i], path, ts, AT_SYMLINK_NOFOLLOW)) < 0)
		return;
	EACH("stat", fstatat(root[i], path, &st[i], AT_SYMLINK_NOFOLLOW));
	if (st[0].st_mtim.tv_sec != st[1].st_mtim.tv_sec ||
	    st[0].st_mtim.tv_nsec != st[1].st_mtim.tv_nsec ||
	    st[0].st_atim.tv_sec != st[1].st_atim.tv_sec)
		die("the times of '%s' differ", path);
}

static void do_chown(const char *path)
{
	uid_t uid = (uid_t)(rnd(2) ? rnd(70000) : 0);
	gid_t gid = (gid_t)(rnd(2) ? rnd(70000) : 0);

	snprintf(doing, sizeof(doing), "chown '%s'", path);
	EACH("chown", fchownat(root[i], path, uid, gid, AT_SYMLINK_NOFOLLOW));
}

static void do_with_paths(void)
{
	char p[128], q[128], link[SIDES][4096];

	some_path(p);
	some_path(q);
	switch (rnd(22)) {
	case 0:
	case 1:
	case 2:
		do_open(p);
		break;
	case 3:
	case 4:
		snprintf(doing, sizeof(doing), "mkdir '%s'", p);
		EACH("mkdir", mkdirat(root[i], p, 0755));
		break;
	case 5:
		snprintf(doing, sizeof(doing), "rmdir '%s'", p);
		EACH("rmdir", unlinkat(root[i], p, AT_REMOVEDIR));
		break;
	case 6:
	case 7:
		snprintf(doing, sizeof(doing), "unlink '%s'", p);
		EACH("unlink", unlinkat(root[i], p, 0));
		break;
	case 8:
	case 9:
		do_rename(p, q);
		break;
	case 10:
		snprintf(doing, sizeof(doing), "link '%s' '%s'", p, q);
		EACH("link", linkat(root[i], p, root[i], q, 0));
		break;
	case 11:
		snprintf(doing, sizeof(doing), "symlink '%s' '%s'", q, p);
		EACH("symlink", symlinkat(q, root[i], p));
		break;
	case 12:
		snprintf(doing, sizeof(doing), "readlink '%s'", p);
		memset(link, 0, sizeof(link));
		EACH("readlink",
		     readlinkat(root[i], p, link[i], sizeof(link[i]) - 1));
		if (strcmp(link[0], link[1]))
			die("the target differs");
		break;
	case 13:
		snprintf(doing, sizeof(doing), "chmod '%s'", p);
		EACH("chmod", fchmodat(root[i], p, (mode_t)(step % 4096), 0));
		break;
	case 14:
		do_chown(p);
		break;
	case 15:
		do_xattr(p);
		break;
	case 16:
		do_node(p);
		break;
	case 17:
		do_times(p);
		break;
	case 18:
	case 19:
		do_acl(p);
		break;
	case 20:
		if (tmpfile_works)
			do_tmpfile(p, q);
		break;
	default:
		snprintf(doing, sizeof(doing), "list '%s'", p);
		compare_list(p);
	}
	compare_stat(p, AT_SYMLINK_NOFOLLOW);
	compare_stat(q, AT_SYMLINK_NOFOLLOW);
}

/* ---- The whole trees ----------------------------------------------------- */

static void compare_file(const char *path)
{
	int fd[SIDES];
	int64_t n = 1, off = 0;

	EACH("open to compare",
	     (fd[i] = openat(root[i], path, O_RDONLY | O_CLOEXEC)) < 0 ? -1
								       : 0);
	while (n > 0) {
		n = EACH("read to compare",
			 pread(fd[i], data[i], FILE_SPAN, off));
		if (n > 0 && memcmp(data[0], data[1], (size_t)n))
			die("'%s' differs after %" PRId64, path, off);
		off += n;
	}
	EACH("close", close(fd[i]));
}

static void compare_tree(const char *path, int depth)
{
	int fd = openat(root[0], path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d)
		die("'%s': %s", path, strerror(errno));
	compare_list(path);
	while ((e = readdir(d))) {
		char sub[1024];
		struct stat st;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		snprintf(sub, sizeof(sub), "%.700s/%s", path, e->d_name);
		compare_stat(sub, AT_SYMLINK_NOFOLLOW);
		if (fstatat(root[0], sub, &st, AT_SYMLINK_NOFOLLOW))
			die("'%s': %s", sub, strerror(errno));
		if (S_ISDIR(st.st_mode) && depth < 32)
			compare_tree(sub, depth + 1);
		else if (S_ISREG(st.st_mode))
			compare_file(sub);
	}
	closedir(d);
}

int main(int argc, char **argv)
{
	unsigned long steps;
	int k;

	if (argc != 5) {
		fprintf(stderr, "usage: fstwin A B SEED STEPS\n");
		return 2;
	}
	for (k = 0; k < SIDES; k++) {
		root[k] = open(argv[1 + k], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (root[k] < 0) {
			perror(argv[1 + k]);
			return 2;
		}
	}
	state = strtoull(argv[3], NULL, 0) * 0x9e3779b97f4a7c15ull + 1;
	steps = strtoul(argv[4], NULL, 0);
	for (k = 0; k < OPEN_MAX_FILES; k++)
		files[k].fd[0] = files[k].fd[1] = -1;
	k = openat(root[1], ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	tmpfile_works = k >= 0;
	if (k >= 0)
		close(k);
	umask(022);
	strcpy(doing, "compare what is there");
	compare_tree(".", 0);
	for (step = 1; step <= steps; step++) {
		if (rnd(3))
			do_with_file();
		else
			do_with_paths();
	}
	strcpy(doing, "compare at the end");
	for (k = 0; k < OPEN_MAX_FILES; k++)
		if (files[k].fd[0] >= 0)
			compare_open(k, 0, FILE_SPAN);
	compare_tree(".", 0);
	printf("fstwin: seed %s: %lu steps alike\n", argv[3], steps);
	return 0;
}
