// SPDX-License-Identifier: Apache-2.0
/*
 * fsprobe PROBE DIR: do what a probe does in the empty directory DIR and print
 * what was seen. Two file systems that behave alike print the same; numbers
 * that may differ (inode numbers, the time) are not printed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static void die(const char *what)
{
	fprintf(stderr, "fsprobe: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Say what a call answered: its value, or its error. */
static long long say(const char *what, long long rc)
{
	if (rc < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %lld\n", what, rc);
	return rc;
}

static int open_new(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0644);

	if (fd < 0)
		die(name);
	return fd;
}

static void fill(int fd, char c, size_t len, off_t off)
{
	char buf[65536];

	memset(buf, c, sizeof(buf));
	while (len) {
		size_t n = len < sizeof(buf) ? len : sizeof(buf);

		if (pwrite(fd, buf, n, off) != (ssize_t)n)
			die("pwrite");
		len -= n;
		off += (off_t)n;
	}
}

/* The content in runs: "a*4096 .*100", '.' for zeros. */
static void show(const char *what, int fd)
{
	char buf[65536], last = 0;
	unsigned long run = 0;
	off_t off = 0;
	ssize_t n, i;

	printf("%s:", what);
	while ((n = pread(fd, buf, sizeof(buf), off)) > 0) {
		for (i = 0; i < n; i++) {
			if (run && buf[i] != last) {
				printf(" %c*%lu", last ? last : '.', run);
				run = 0;
			}
			last = buf[i];
			run++;
		}
		off += n;
	}
	if (n < 0)
		die("pread");
	if (run)
		printf(" %c*%lu", last ? last : '.', run);
	putchar('\n');
}

static void show_size(const char *what, int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		die("fstat");
	printf("%s: size %lld, %lld KiB\n", what, (long long)st.st_size,
	       (long long)st.st_blocks / 2);
}

/* ---- fallocate ----------------------------------------------------------- */

static void probe_fallocate(void)
{
	static const struct {
		const char *name;
		int mode;
		off_t off, len;
	} steps[] = {
		{ "allocate", 0, 0, 10 * PAGE },
		{ "within", 0, PAGE, PAGE },
		{ "keep size", FALLOC_FL_KEEP_SIZE, 10 * PAGE, 4 * PAGE },
		{ "punch", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * PAGE,
		  2 * PAGE },
		{ "punch odd", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		  5 * PAGE + 100, PAGE + 7 },
		{ "punch end", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		  9 * PAGE + 1, 100 * PAGE },
		{ "punch alone", FALLOC_FL_PUNCH_HOLE, 0, PAGE },
		{ "no length", 0, 0, 0 },
		{ "negative", 0, -1, 10 },
		{ "unknown", 0x8000, 0, PAGE },
		{ "grow odd", 0, 10 * PAGE, 77 },
		{ "over", 0, INT64_MAX - 5, PAGE },
	};
	int fd = open_new("f"), ro;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		if (i == 3)
			fill(fd, 'a', 10 * PAGE, 0);
		say(steps[i].name,
		    fallocate(fd, steps[i].mode, steps[i].off, steps[i].len));
		show("is", fd);
	}
	show_size("size", fd);
	ro = open("f", O_RDONLY);
	say("read-only", fallocate(ro, 0, 0, PAGE));
	close(ro);
	ro = open(".", O_RDONLY);
	say("directory", fallocate(ro, 0, 0, PAGE));
	close(ro);
	close(fd);
}

/* tmpfs has no ZERO_RANGE: what must be is said here. */
static void probe_zero_range(void)
{
	char *map;
	int fd = open_new("f");

	fill(fd, 'a', 8 * PAGE, 0);
	map = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		die("mmap");
	map[3 * PAGE] = 'm';
	say("zero",
	    fallocate(fd, FALLOC_FL_ZERO_RANGE, 2 * PAGE + 5, 2 * PAGE));
	show("is", fd);
	say("mapped", map[3 * PAGE]);
	say("zero beyond",
	    fallocate(fd, FALLOC_FL_ZERO_RANGE, 7 * PAGE + 1, 2 * PAGE));
	show("is", fd);
	say("zero keep",
	    fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0,
		      100 * PAGE));
	show("is", fd);
	munmap(map, 8 * PAGE);
	close(fd);
}

/* ---- copy_file_range ----------------------------------------------------- */

static void copy(const char *what, int in, off_t from, int out, off_t to,
		 size_t len)
{
	say(what, copy_file_range(in, &from, out, &to, len, 0));
	show("is", out);
}

static void probe_copy(void)
{
	int a = open_new("a"), b = open_new("b"), append;

	fill(a, 'a', 3 * PAGE, 0);
	fill(a, 'b', 3 * PAGE, 5 * PAGE);
	copy("all", a, 0, b, 0, 8 * PAGE);
	copy("odd", a, 2 * PAGE + 1, b, 10, PAGE);
	copy("beyond the end", a, 7 * PAGE, b, 20 * PAGE + 3, 10 * PAGE);
	copy("at the end", a, 8 * PAGE, b, 0, PAGE);
	copy("within", b, 0, b, 40 * PAGE, 3 * PAGE);
	copy("overlapping", b, 0, b, PAGE, 2 * PAGE);
	copy("nothing", a, 0, b, 0, 0);
	append = open("b", O_RDWR | O_APPEND);
	say("append", copy_file_range(a, NULL, append, NULL, 5, 0));
	close(append);
	say("bad flags", copy_file_range(a, NULL, b, NULL, 5, 8));
	close(a);
	close(b);
}

/* ---- SEEK_DATA, SEEK_HOLE ------------------------------------------------ */

static void probe_seek(void)
{
	static const off_t at[] = { 0,           5,
				    64 * PAGE,   64 * PAGE + 1,
				    65 * PAGE,   128 * PAGE,
				    1000 * PAGE, 2000 * PAGE };
	int fd = open_new("f");
	char what[64];
	size_t i;

	say("empty data", lseek(fd, 0, SEEK_DATA));
	say("empty hole", lseek(fd, 0, SEEK_HOLE));
	fill(fd, 'a', PAGE, 64 * PAGE);
	fill(fd, 'b', 3 * PAGE, 128 * PAGE);
	if (ftruncate(fd, 1000 * PAGE))
		die("ftruncate");
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		snprintf(what, sizeof(what), "data %lld", (long long)at[i]);
		say(what, lseek(fd, at[i], SEEK_DATA));
		snprintf(what, sizeof(what), "hole %lld", (long long)at[i]);
		say(what, lseek(fd, at[i], SEEK_HOLE));
	}
	say("data -1", lseek(fd, -1, SEEK_DATA));
	say("set -1", lseek(fd, -1, SEEK_SET));
	say("end", lseek(fd, -5, SEEK_END));
	close(fd);
}

/* ---- O_TMPFILE ----------------------------------------------------------- */

static void name_tmpfile(const char *what, int fd, const char *to)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	say(what, linkat(AT_FDCWD, path, AT_FDCWD, to, AT_SYMLINK_FOLLOW));
}

static void show_stat(const char *what, int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		die("fstat");
	printf("%s: %06o links %lu group %u size %lld\n", what, st.st_mode,
	       (unsigned long)st.st_nlink, st.st_gid, (long long)st.st_size);
}

static void probe_tmpfile(void)
{
	int fd;

	umask(027);
	fd = open(".", O_TMPFILE | O_RDWR, 0666);
	if (say("open", fd < 0 ? -1 : 0))
		return;
	fill(fd, 'a', 5000, 0);
	show_stat("new", fd);
	say("name", access("f", F_OK));
	name_tmpfile("link", fd, "f");
	show_stat("linked", fd);
	name_tmpfile("link again", fd, "f");
	close(fd);
	fd = open("f", O_RDONLY);
	show("named", fd);
	say("unlink", unlink("f"));
	name_tmpfile("after unlink", fd, "g");
	close(fd);
	fd = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600);
	name_tmpfile("exclusive", fd, "g");
	close(fd);
	say("read-only", open(".", O_TMPFILE | O_RDONLY, 0600));
	if (mkdir("team", 0777) || chown("team", (uid_t)-1, 50) ||
	    chmod("team", 02777))
		die("team");
	fd = open("team", O_TMPFILE | O_WRONLY, 02775);
	show_stat("setgid directory", fd);
	close(fd);
	say("in a file", open("nothing", O_TMPFILE | O_RDWR, 0600));
	say("left", rmdir("team"));
}

/* ---- Mappings ------------------------------------------------------------ */

static sigjmp_buf on_bus;

static void bus(int sig)
{
	(void)sig;
	siglongjmp(on_bus, 1);
}

static void touch_page(const char *what, volatile char *p)
{
	if (sigsetjmp(on_bus, 1))
		printf("%s: SIGBUS\n", what);
	else
		printf("%s: %c\n", what, *p ? *p : '.');
}

static void probe_mmap(void)
{
	int fd = open_new("f");
	char *shared, *private;
	char c = 0;

	signal(SIGBUS, bus);
	fill(fd, 'a', 3 * PAGE, 0);
	shared =
		mmap(NULL, 6 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	private = mmap(NULL, 6 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd,
		       0);
	if (shared == MAP_FAILED || private == MAP_FAILED)
		die("mmap");
	shared[PAGE] = 's';
	if (pread(fd, &c, 1, PAGE) != 1)
		die("pread");
	printf("read sees the map: %c\n", c);
	fill(fd, 'w', 1, PAGE + 1);
	touch_page("the map sees a write", &shared[PAGE + 1]);
	touch_page("so does a private one", &private[PAGE + 1]);
	private[PAGE] = 'p';
	touch_page("private stays private", &shared[PAGE]);
	touch_page("beyond the end", &shared[3 * PAGE]);
	say("truncate", ftruncate(fd, PAGE + 1));
	touch_page("before the cut", &shared[PAGE]);
	touch_page("in the cut page", &shared[PAGE + 1]);
	touch_page("behind the cut", &shared[2 * PAGE]);
	touch_page("a private copy goes by its page", &private[PAGE]);
	say("grow", ftruncate(fd, 5 * PAGE));
	touch_page("grown", &shared[2 * PAGE]);
	shared[4 * PAGE] = 'g';
	say("punch",
	    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE));
	touch_page("punched", &shared[0]);
	say("unlink", unlink("f"));
	shared[3 * PAGE] = 'u';
	close(fd);
	touch_page("unlinked and closed", &shared[3 * PAGE]);
	say("msync", msync(shared, 5 * PAGE, MS_SYNC));
	munmap(shared, 6 * PAGE);
	munmap(private, 6 * PAGE);
}

/* ---- Errors -------------------------------------------------------------- */

static void probe_errors(void)
{
	char name[300], path[5000];
	struct stat st;
	int fd;

	memset(name, 'n', sizeof(name));
	name[255] = '\0';
	say("255 bytes", mkdir(name, 0700));
	name[255] = 'n';
	name[256] = '\0';
	say("256 bytes", mkdir(name, 0700));
	say("256 bytes, lookup", stat(name, &st));
	memset(path, '/', sizeof(path));
	path[0] = '.';
	path[4999] = '\0';
	say("5000 bytes", stat(path, &st));
	say("loop", symlink("loop", "loop"));
	say("through it", stat("loop", &st));
	say("not followed", lstat("loop", &st));
	say("mkdir", mkdir("d", 0700));
	say("mkdir again", mkdir("d", 0700));
	say("mkdir below", mkdir("d/e", 0700));
	say("not empty", rmdir("d"));
	say("rename over it", rename("loop", "d"));
	say("into itself", rename("d", "d/e/f"));
	say("unlink a directory", unlink("d"));
	say("rmdir .", rmdir("d/."));
	say("link a directory", link("d", "l"));
	say("other device", rename("d", "/proc/self"));
	say("link to it", link("/proc/self/stat", "l"));
	fd = open_new("f");
	say("rmdir a file", rmdir("f"));
	say("below a file", stat("f/x", &st));
	say("file/", open("f/", O_RDONLY));
	say("write a directory", open("d", O_WRONLY));
	say("exclusive", open("f", O_CREAT | O_EXCL, 0600));
	say("directory wanted", open("f", O_DIRECTORY));
	say("no symlink", open("loop", O_RDONLY | O_NOFOLLOW));
	say("negative", pwrite(fd, "x", 1, -1));
	say("too far", pwrite(fd, "x", 1, INT64_MAX));
	say("truncate too far", ftruncate(fd, -1));
	say("readlink of a file", readlink("f", path, sizeof(path)));
	say("long target", symlink(memset(path, 't', 4096), "long"));
	say("empty target", symlink("", "empty"));
	say("xattr", getxattr("f", "trusted.none", path, 10));
	say("xattr space", setxattr("f", "nospace.a", "1", 1, 0));
	say("xattr name", setxattr("f", "trusted.", "1", 1, 0));
	say("xattr of a symlink", lsetxattr("loop", "user.a", "1", 1, 0));
	say("xattr replace", setxattr("f", "trusted.a", "1", 1, XATTR_REPLACE));
	say("xattr create", setxattr("f", "trusted.a", "1", 1, XATTR_CREATE));
	say("xattr create again",
	    setxattr("f", "trusted.a", "1", 1, XATTR_CREATE));
	say("xattr room", getxattr("f", "trusted.a", path, 0));
	say("remove", removexattr("f", "trusted.b"));
	say("fchmod by path only",
	    fchmodat(AT_FDCWD, "loop", 0600, AT_SYMLINK_NOFOLLOW));
	close(fd);
}

/* ---- Times --------------------------------------------------------------- */

static struct stat before;

static int later(struct timespec a, struct timespec b)
{
	return a.tv_sec > b.tv_sec ||
	       (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

/* Which times of `name` are later than when this was called last. */
static void changes(const char *what, const char *name)
{
	struct timespec wait = { 0, 5000000 };
	struct stat st;

	if (lstat(name, &st))
		die(name);
	if (what)
		printf("%s:%s%s%s\n", what,
		       later(st.st_atim, before.st_atim) ? " atime" : "",
		       later(st.st_mtim, before.st_mtim) ? " mtime" : "",
		       later(st.st_ctim, before.st_ctim) ? " ctime" : "");
	before = st;
	nanosleep(&wait, NULL);
}

#define CHANGES(name, what)                \
	do {                               \
		changes(NULL, (name));     \
		if ((long long)(what) < 0) \
			die(#what);        \
		changes(#what, (name));    \
	} while (0)

static int open_close(const char *name, int flags)
{
	int fd = open(name, flags | O_WRONLY | O_NONBLOCK, 0600);

	return fd < 0 ? -1 : close(fd);
}

static void probe_times(void)
{
	struct timespec set[2] = { { 1000000000, 123456789 },
				   { -7, 999999999 } };
	int fd = open_new("f");
	struct stat st;
	char buf[10];

	if (mkdir("d", 0755))
		die("d");
	CHANGES("f", write(fd, "1", 1));
	CHANGES("f", write(fd, "1", 0));
	CHANGES("f", ftruncate(fd, 1));
	CHANGES("f", ftruncate(fd, 100));
	CHANGES("f", truncate("f", 100));
	CHANGES("f", truncate("f", 50));
	CHANGES("f", chmod("f", 0600));
	CHANGES("f", chown("f", (uid_t)-1, (gid_t)-1));
	CHANGES("f", chown("f", 0, 0));
	CHANGES("f", link("f", "l"));
	CHANGES("f", rename("l", "m"));
	CHANGES("f", unlink("m"));
	CHANGES("f", setxattr("f", "trusted.a", "1", 1, 0));
	CHANGES("f", removexattr("f", "trusted.a"));
	CHANGES("f", fallocate(fd, 0, 0, 10));
	CHANGES("f", fallocate(fd, 0, 0, 5000));
	CHANGES("f", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       0, 10));
	CHANGES("f", open_close("f", O_TRUNC));
	CHANGES("f", open_close("f", O_TRUNC));
	CHANGES("d", open_close("d/f", O_CREAT));
	CHANGES("d", open_close("d/f", O_CREAT));
	CHANGES("d", link("f", "d/l"));
	CHANGES("d", rename("d/l", "d/m"));
	CHANGES("d", unlink("d/m"));
	CHANGES("d", mkdir("d/d", 0700));
	CHANGES("d", rename("d/d", "e"));
	CHANGES("d", rename("e", "d/e"));
	CHANGES("d", rmdir("d/e"));
	CHANGES("d", symlink("x", "d/s"));
	CHANGES("d", mknod("d/p", S_IFIFO | 0600, 0));
	CHANGES(".", rename("d", "e"));
	if (utimensat(AT_FDCWD, "f", set, 0) || stat("f", &st))
		die("utimensat");
	printf("set: %lld.%09ld %lld.%09ld\n", (long long)st.st_atim.tv_sec,
	       st.st_atim.tv_nsec, (long long)st.st_mtim.tv_sec,
	       st.st_mtim.tv_nsec);
	/* relatime: after a change, and not again */
	CHANGES("f", pwrite(fd, "12345", 5, 0));
	CHANGES("f", read(fd, buf, 5));
	CHANGES("f", read(fd, buf, 5));
	close(fd);
}

/* What a first read, listing and readlink do to atime. */
static void probe_atime(void)
{
	char buf[10];
	int fd = open("f", O_RDONLY);
	DIR *d;

	if (fd < 0)
		die("f");
	CHANGES("f", read(fd, buf, 5));
	CHANGES("f", pread(fd, buf, 5, 0));
	CHANGES("s", readlink("s", buf, sizeof(buf)));
	CHANGES("s", readlink("s", buf, sizeof(buf)));
	d = opendir("d");
	if (!d)
		die("d");
	CHANGES("d", readdir(d) ? 0 : -1);
	closedir(d);
	close(fd);
	fd = open("g", O_RDONLY | O_NOATIME);
	if (fd < 0)
		die("g");
	CHANGES("g", read(fd, buf, 5));
	close(fd);
}

/* The time of birth is a file's own and stays. */
static void probe_birth(void)
{
	struct statx x, y;
	struct timespec wait = { 0, 5000000 };
	int fd = open_new("f");

	if (statx(AT_FDCWD, "f", 0, STATX_BTIME | STATX_BASIC_STATS, &x))
		die("statx");
	nanosleep(&wait, NULL);
	fill(fd, 'a', 10, 0);
	if (link("f", "l") || chmod("f", 0600) ||
	    statx(AT_FDCWD, "l", 0, STATX_BTIME | STATX_BASIC_STATS, &y))
		die("statx");
	printf("has it: %d, stays: %d, before mtime: %d, size %llu\n",
	       !!(y.stx_mask & STATX_BTIME),
	       x.stx_btime.tv_sec == y.stx_btime.tv_sec &&
		       x.stx_btime.tv_nsec == y.stx_btime.tv_nsec,
	       y.stx_btime.tv_sec < y.stx_mtime.tv_sec ||
		       y.stx_btime.tv_nsec < y.stx_mtime.tv_nsec,
	       (unsigned long long)y.stx_size);
	close(fd);
}

/* ---- Appends ------------------------------------------------------------- */

#define WRITERS 4
#define LINES 1000

static void append_lines(int writer)
{
	int fd = open("log", O_WRONLY | O_APPEND | O_CREAT, 0644);
	char line[200];
	int i, n;

	for (i = 0; i < LINES; i++) {
		n = snprintf(line, sizeof(line), "%d %d ", writer, i);
		memset(line + n, 'a' + writer, 20 + (size_t)i % 100);
		n += 20 + i % 100;
		line[n++] = '\n';
		if (write(fd, line, (size_t)n) != n)
			_exit(1);
	}
	_exit(0);
}

static bool line_ok(const char *line, int next[WRITERS])
{
	int writer, i, at;
	size_t len;

	if (sscanf(line, "%d %d %n", &writer, &i, &at) != 2 || writer < 0 ||
	    writer >= WRITERS || i != next[writer])
		return false;
	next[writer]++;
	line += at;
	len = strlen(line);
	return len == 21 + (size_t)i % 100 && line[len - 1] == '\n' &&
	       strspn(line, (char[]){ (char)('a' + writer), 0 }) == len - 1;
}

static void probe_append(void)
{
	int next[WRITERS] = { 0 }, i, status, failed = 0, torn = 0;
	char line[300];
	FILE *f;

	for (i = 0; i < WRITERS; i++)
		if (!fork())
			append_lines(i);
	while (wait(&status) > 0)
		failed += status != 0;
	f = fopen("log", "r");
	if (!f)
		die("log");
	while (fgets(line, sizeof(line), f))
		torn += !line_ok(line, next);
	fclose(f);
	printf("failed %d, torn %d, lines", failed, torn);
	for (i = 0; i < WRITERS; i++)
		printf(" %d", next[i]);
	putchar('\n');
}

/* ---- Locks --------------------------------------------------------------- */

/* What another process gets: of flock, of fcntl on [0, 10), on [10, 20). */
static void others_locks(const char *what)
{
	struct flock low = { .l_type = F_WRLCK, .l_len = 10 };
	struct flock high = { .l_type = F_WRLCK, .l_start = 10, .l_len = 10 };
	int fd;

	fflush(stdout);
	if (fork()) {
		wait(NULL);
		return;
	}
	fd = open("f", O_RDWR);
	printf("%s: flock %d", what, flock(fd, LOCK_EX | LOCK_NB));
	printf(" low %d", fcntl(fd, F_SETLK, &low));
	printf(" high %d\n", fcntl(fd, F_SETLK, &high));
	fflush(stdout);
	_exit(0);
}

static volatile sig_atomic_t broken;

static void lease_break(int sig)
{
	(void)sig;
	broken = 1;
}

static void probe_locks(void)
{
	struct flock low = { .l_type = F_WRLCK, .l_len = 10 };
	struct flock ofd = { .l_type = F_RDLCK, .l_start = 10, .l_len = 10 };
	int fd = open_new("f"), other = open("f", O_RDWR);

	say("flock", flock(fd, LOCK_EX));
	say("flock of another open", flock(other, LOCK_EX | LOCK_NB));
	others_locks("held");
	say("unlock", flock(fd, LOCK_UN));
	say("fcntl", fcntl(fd, F_SETLK, &low));
	others_locks("low held");
	say("open file lock", fcntl(other, F_OFD_SETLK, &ofd));
	others_locks("both held");
	close(other);
	others_locks("closing any gives fcntl locks up");
	close(fd);
	fd = open("f", O_RDONLY);
	signal(SIGIO, lease_break);
	say("lease", fcntl(fd, F_SETLEASE, F_RDLCK));
	if (!fork())
		_exit(open_close("f", 0) ? 0 : 1);
	wait(NULL);
	say("broken", broken);
	say("give up", fcntl(fd, F_SETLEASE, F_UNLCK));
	close(fd);
}

/* ---- Directories --------------------------------------------------------- */

/*
 * Positions of entries: going back to each finds what came there, also after
 * others came and went.
 */
static void probe_positions(void)
{
	enum { FILES = 2000 };
	static long at[FILES + 2];
	static char name[FILES + 2][NAME_MAX + 1];
	int n = 0, bad = 0, i;
	struct dirent *e;
	char path[32];
	DIR *d;

	for (i = 0; i < FILES; i++) {
		snprintf(path, sizeof(path), "file-%d", i);
		close(open_new(path));
	}
	d = opendir(".");
	if (!d)
		die(".");
	for (at[0] = telldir(d); n < FILES + 2 && (e = readdir(d)); n++) {
		snprintf(name[n], sizeof(name[n]), "%s", e->d_name);
		if (n + 1 < FILES + 2)
			at[n + 1] = telldir(d);
	}
	printf("entries %d, more: %d\n", n, readdir(d) != NULL);
	for (i = 0; i < FILES; i += 3) {
		snprintf(path, sizeof(path), "file-%d", i);
		unlink(path);
		snprintf(path, sizeof(path), "more-%d", i);
		close(open_new(path));
	}
	for (i = n - 1; i >= 0; i -= 7) {
		if (access(name[i], F_OK))
			continue;
		seekdir(d, at[i]);
		e = readdir(d);
		bad += !e || strcmp(e->d_name, name[i]) != 0;
	}
	rewinddir(d);
	for (n = 0; readdir(d); n++)
		;
	printf("not found again: %d, entries now %d\n", bad, n);
	closedir(d);
}

/* How many entries, and a sum over names that their order does not change. */
static void show_entries(const char *what, DIR *d)
{
	unsigned long n = 0, sum = 0;
	struct dirent *e;

	rewinddir(d);
	while ((e = readdir(d))) {
		unsigned long h = 5381;

		for (const char *c = e->d_name; *c; c++)
			h = h * 33 + (unsigned char)*c;
		sum += h;
		n++;
	}
	printf("%s: %lu entries, sum %lx\n", what, n, sum);
}

static void probe_many(void)
{
	unsigned long count = getenv("LONG") ? 1000000 : 40000, i;
	struct stat st;
	char name[32];
	DIR *d = opendir(".");

	if (!d)
		die(".");
	for (i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "entry-%lu", i);
		if (mknod(name, S_IFREG | 0644, 0))
			die(name);
	}
	show_entries("all", d);
	for (i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "entry-%lu", i);
		if (i % 4 ? unlink(name) : stat(name, &st))
			die(name);
	}
	show_entries("a quarter", d);
	for (i = 0; i < count; i += 4) {
		snprintf(name, sizeof(name), "entry-%lu", i);
		if (unlink(name))
			die(name);
	}
	show_entries("none", d);
	closedir(d);
}

/* ---- Large and sparse ---------------------------------------------------- */

static void probe_sparse(void)
{
	const off_t size = (off_t)16 << 40;
	int fd = open_new("f");
	char c = 'x';

	say("grow", ftruncate(fd, size));
	show_size("is", fd);
	fill(fd, 'e', 100, size - 100);
	fill(fd, 'm', 1, size / 2);
	show_size("is", fd);
	say("read a hole", pread(fd, &c, 1, size / 3));
	say("it", c);
	say("read at the end", pread(fd, &c, 1, size - 1));
	say("it", c);
	say("data", lseek(fd, 0, SEEK_DATA));
	say("data", lseek(fd, size / 2 + PAGE, SEEK_DATA));
	say("cut", ftruncate(fd, size / 2));
	show_size("is", fd);
	say("data", lseek(fd, 0, SEEK_DATA));
	say("unlink", unlink("f"));
	close(fd);
}

/* ---- Open files without names -------------------------------------------- */

static void probe_unlinked(void)
{
	int fd = open_new("f"), dir;
	struct stat st;

	fill(fd, 'a', 10000, 0);
	say("unlink", unlink("f"));
	show_stat("gone", fd);
	fill(fd, 'b', 10, 20000);
	show("still", fd);
	say("chmod", fchmod(fd, 0600));
	say("truncate", ftruncate(fd, 5));
	say("xattr", fsetxattr(fd, "trusted.a", "1", 1, 0));
	show_stat("changed", fd);
	name_tmpfile("link", fd, "g");
	fill(open_new("f"), 'n', 10, 0);
	show("the old one", fd);
	close(fd);
	if (mkdir("d", 0700))
		die("d");
	dir = open("d", O_RDONLY | O_DIRECTORY);
	say("rmdir", rmdir("d"));
	say("create in it", openat(dir, "x", O_CREAT | O_WRONLY, 0600));
	say("stat it", fstat(dir, &st));
	say("links", (long long)st.st_nlink);
	say(".. of it", fstatat(dir, "..", &st, 0));
	close(dir);
}

static const struct {
	const char *name;
	void (*fn)(void);
} probes[] = {
	{ "append", probe_append },     { "atime", probe_atime },
	{ "birth", probe_birth },       { "copy", probe_copy },
	{ "errors", probe_errors },     { "fallocate", probe_fallocate },
	{ "locks", probe_locks },       { "many", probe_many },
	{ "mmap", probe_mmap },         { "positions", probe_positions },
	{ "seek", probe_seek },         { "sparse", probe_sparse },
	{ "times", probe_times },       { "tmpfile", probe_tmpfile },
	{ "unlinked", probe_unlinked }, { "zero-range", probe_zero_range },
};

int main(int argc, char **argv)
{
	size_t i;

	if (argc == 3 && !chdir(argv[2])) {
		for (i = 0; i < ARRAY_SIZE(probes); i++) {
			if (strcmp(argv[1], probes[i].name))
				continue;
			probes[i].fn();
			return 0;
		}
	}
	fputs("usage: fsprobe PROBE DIR\n", stderr);
	return 2;
}
