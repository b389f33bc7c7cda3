/* SPDX-License-Identifier: Apache-2.0 */
/*
 * holder DIR: hold a branch in all ways there are (open files, mappings, the
 * working directory), print "holding", then answer each line of standard input
 * with "WAY RESULT" for each, on one line: ok, the error's name, or SIGBUS. DIR
 * has files a and b of at least four pages; b is written to.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096u
#define PAGES 4u

static int reader, writer, dir;
static volatile char *shared, *writable, *private;
static sigjmp_buf on_bus;

static void caught(int sig)
{
	(void)sig;
	siglongjmp(on_bus, 1);
}

static void say(const char *way, int failed)
{
	printf("%s %s ", way, failed ? strerrorname_np(errno) : "ok");
}

/* Read a byte of a page, and write it back where that is asked for. */
static void touch(const char *way, volatile char *p, int write)
{
	if (sigsetjmp(on_bus, 1)) {
		printf("%s SIGBUS ", way);
		return;
	}
	if (write)
		*p = (char)(*p + 1);
	else
		(void)*p;
	printf("%s ok ", way);
}

static void *map(int fd, int prot, int flags)
{
	void *p = mmap(NULL, PAGES * PAGE, prot, flags, fd, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

static int open_or_die(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0) {
		perror(path);
		exit(1);
	}
	return fd;
}

static void hold(const char *path)
{
	char byte;

	if (chdir(path) < 0) {
		perror(path);
		exit(1);
	}
	reader = open_or_die("a", O_RDONLY);
	writer = open_or_die("b", O_RDWR);
	dir = open_or_die(".", O_RDONLY | O_DIRECTORY);
	shared = map(reader, PROT_READ, MAP_SHARED);
	private = map(reader, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	writable = map(writer, PROT_READ | PROT_WRITE, MAP_SHARED);
	/* page 0 is read, page 1 written, the others are left alone */
	byte = shared[0];
	byte = (char)(byte + private[0] + writable[0]);
	writable[PAGE] = byte;
	private[PAGE] = byte;
	if (pread(reader, &byte, 1, 0) != 1 || pwrite(writer, "x", 1, 0) != 1) {
		perror("a, b");
		exit(1);
	}
}

static void check(void)
{
	static char names[4096];
	struct stat st;
	char byte;
	int fd;

	say("read", pread(reader, &byte, 1, 0) < 0);
	say("read-far", pread(reader, &byte, 1, 3 * PAGE) < 0);
	say("write", pwrite(writer, "x", 1, 0) < 0);
	say("fstat", fstat(reader, &st) < 0);
	say("stat", stat("a", &st) < 0);
	say("cwd", stat(".", &st) < 0);
	say("create", mknod("new", S_IFREG | 0600, 0) < 0 && errno != EEXIST);
	fd = open("a", O_RDONLY | O_CLOEXEC);
	say("open", fd < 0);
	if (fd >= 0)
		close(fd);
	say("list", lseek(dir, 0, SEEK_SET) < 0 ||
			    getdents64(dir, names, sizeof(names)) < 0);
	touch("shared-read", shared, 0);
	touch("shared-new", shared + 2 * PAGE, 0);
	touch("shared-written", writable + PAGE, 0);
	touch("shared-write", writable + PAGE, 1);
	touch("shared-write-new", writable + 2 * PAGE, 1);
	touch("private-read", private, 0);
	touch("private-new", private + 3 * PAGE, 0);
	/* a page of the process's own since it was written to */
	touch("private-written", private + PAGE, 0);
	putchar('\n');
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = caught };
	char line[64];

	if (argc != 2) {
		fprintf(stderr, "usage: holder DIR\n");
		return 2;
	}
	sigaction(SIGBUS, &sa, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	hold(argv[1]);
	puts("holding");
	while (fgets(line, sizeof(line), stdin))
		check();
	return 0;
}
