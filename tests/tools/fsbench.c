// SPDX-License-Identifier: Apache-2.0
/*
 * fsbench DIR BIGFILE: times file-system operations in an empty directory and
 * prints "name nanoseconds-per-operation" a line. BIGFILE is an existing large
 * file below another directory of the same file system (of the base image, where
 * there is one); its first byte is overwritten at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILES 10000
#define BLOCK 4096
#define READS 200000

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "fsbench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void report(const char *name, uint64_t start, uint64_t ops)
{
	printf("%s %llu\n", name,
	       (unsigned long long)((now_ns() - start) / ops));
}

static void name_of(char *out, size_t size, int i)
{
	snprintf(out, size, "d%02d/f%05d", i % 16, i);
}

static void make_dirs(void)
{
	char name[32];

	for (int i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "d%02d", i);
		if (mkdir(name, 0755))
			die(name);
	}
}

static void create_files(void)
{
	static char data[BLOCK];
	uint64_t start = now_ns();
	char name[32];

	memset(data, 'x', sizeof(data));
	for (int i = 0; i < FILES; i++) {
		int fd;

		name_of(name, sizeof(name), i);
		fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		if (fd < 0 || write(fd, data, BLOCK) != BLOCK || close(fd))
			die(name);
	}
	report("create+write-4k", start, FILES);
}

static void stat_files(void)
{
	uint64_t start = now_ns();
	struct stat st;
	char name[32];

	for (int i = 0; i < FILES; i++) {
		name_of(name, sizeof(name), i);
		if (stat(name, &st))
			die(name);
	}
	report("stat-warm", start, FILES);
}

static void open_files(void)
{
	uint64_t start = now_ns();
	char name[32];

	for (int i = 0; i < FILES; i++) {
		int fd;

		name_of(name, sizeof(name), i);
		fd = open(name, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || close(fd))
			die(name);
	}
	report("open+close", start, FILES);
}

static void rename_files(void)
{
	uint64_t start = now_ns();
	char name[32], to[40];

	for (int i = 0; i < FILES; i++) {
		name_of(name, sizeof(name), i);
		snprintf(to, sizeof(to), "%s.r", name);
		if (rename(name, to))
			die(name);
	}
	report("rename", start, FILES);
}

static void unlink_files(void)
{
	uint64_t start = now_ns();
	char name[32], to[40];

	for (int i = 0; i < FILES; i++) {
		name_of(name, sizeof(name), i);
		snprintf(to, sizeof(to), "%s.r", name);
		if (unlink(to))
			die(to);
	}
	report("unlink", start, FILES);
}

/* Sequential, the second time from the page cache; then random blocks. */
static void read_big(const char *path)
{
	static char buf[1 << 20];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t start, mb = 0, seed = 1;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st))
		die(path);
	for (int pass = 0; pass < 2; pass++) {
		if (lseek(fd, 0, SEEK_SET) < 0)
			die(path);
		start = now_ns();
		for (mb = 0; (n = read(fd, buf, sizeof(buf))) > 0; mb++)
			;
		if (n < 0 || !mb)
			die(path);
		report(pass ? "read-1M-warm" : "read-1M-cold", start, mb);
	}
	start = now_ns();
	for (int i = 0; i < READS; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		if (pread(fd, buf, BLOCK,
			  (off_t)((seed >> 33) %
				  (uint64_t)(st.st_size / BLOCK) * BLOCK)) !=
		    BLOCK)
			die(path);
	}
	report("read-4k-random", start, READS);
	close(fd);
}

/* What overlayfs copies the whole file for. */
static void first_byte(const char *path)
{
	uint64_t start = now_ns();
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || pwrite(fd, "y", 1, 0) != 1 || close(fd))
		die(path);
	report("first-byte-of-big-file", start, 1);
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: fsbench DIR BIGFILE\n");
		return 2;
	}
	if (chdir(argv[1]))
		die(argv[1]);
	make_dirs();
	create_files();
	stat_files();
	open_files();
	rename_files();
	unlink_files();
	read_big(argv[2]);
	first_byte(argv[2]);
	return 0;
}
