/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fsendure DIR SECONDS [WORKERS]: workers change files in folders of their own,
 * each call checked, for some time. Whatever happens to the server meanwhile,
 * no call may fail and nothing may be lost. Prints the number of rounds.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define WORKERS_MAX 64
#define BYTES 20000

static unsigned rounds;

#define MUST(cond)                                                             \
	do {                                                                   \
		if (!(cond)) {                                                 \
			fprintf(stderr, "round %u, line %d: %s: %s\n", rounds, \
				__LINE__, #cond, strerror(errno));             \
			exit(1);                                               \
		}                                                              \
	} while (0)

static void fill(char *buf, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (char)(seed * 31 + i * 7);
}

static void check_file(const char *path, const char *want, size_t len)
{
	char got[2 * BYTES];
	int fd = open(path, O_RDONLY);

	MUST(fd >= 0);
	MUST(read(fd, got, sizeof(got)) == (ssize_t)len);
	MUST(!memcmp(got, want, len));
	close(fd);
}

static void data_round(void)
{
	char want[BYTES];
	int fd = open("f", O_RDWR | O_CREAT | O_EXCL, 0640);
	char *map;

	MUST(fd >= 0);
	fill(want, sizeof(want), rounds);
	MUST(write(fd, want, 12000) == 12000);
	MUST(pwrite(fd, want + 12000, 3000, 12000) == 3000);
	close(fd);
	fd = open("f", O_RDWR | O_APPEND);
	MUST(fd >= 0);
	MUST(write(fd, want + 15000, 5000) == 5000);
	check_file("f", want, sizeof(want));
	map = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(map != MAP_FAILED);
	fill(want, sizeof(want), rounds + 1);
	memcpy(map, want, sizeof(want));
	if (rounds % 7 == 0)
		MUST(!msync(map, BYTES, MS_SYNC));
	MUST(!munmap(map, BYTES));
	if (rounds % 5 == 0)
		MUST(!fsync(fd));
	check_file("f", want, sizeof(want));
	MUST(!ftruncate(fd, 100));
	check_file("f", want, 100);
	MUST(!fallocate(fd, 0, 0, 50000));
	MUST(!ftruncate(fd, 100));
	close(fd);
}

static ino_t ino_of(const char *path)
{
	struct stat st;

	MUST(!lstat(path, &st));
	return st.st_ino;
}

static void name_round(void)
{
	char target[32] = "";
	struct stat st;
	ino_t a, b;
	int fd;

	MUST(!mkdir("d", 0755));
	MUST(!link("f", "d/g"));
	MUST(!lstat("f", &st) && st.st_nlink == 2);
	MUST(!symlink("../f", "d/s"));
	MUST(readlink("d/s", target, sizeof(target)) == 4);
	MUST(!mknod("d/p", S_IFIFO | 0600, 0));
	MUST(!rename("d/p", "p"));
	MUST(lstat("d/p", &st) < 0 && errno == ENOENT);
	a = ino_of("p");
	b = ino_of("f");
	MUST(!renameat2(AT_FDCWD, "p", AT_FDCWD, "f", RENAME_EXCHANGE));
	MUST(ino_of("p") == b && ino_of("f") == a);
	MUST(!renameat2(AT_FDCWD, "p", AT_FDCWD, "f", RENAME_EXCHANGE));
	MUST(ino_of("p") == a && ino_of("f") == b);
	MUST(!renameat2(AT_FDCWD, "p", AT_FDCWD, "q", RENAME_NOREPLACE));
	MUST(!chmod("q", 0604) && !chown("q", 12, 34));
	MUST(!lstat("q", &st) && st.st_uid == 12 && st.st_mode % 01000 == 0604);
	MUST(!unlink("q"));
	fd = open("t", O_RDWR | O_CREAT | O_EXCL, 0600);
	MUST(fd >= 0 && !unlink("t"));
	MUST(write(fd, "nameless", 8) == 8);
	MUST(pread(fd, target, 8, 0) == 8 && !memcmp(target, "nameless", 8));
	close(fd);
}

static void attribute_round(void)
{
	char v[16];

	MUST(!setxattr("f", "user.a", "one", 3, XATTR_CREATE));
	MUST(setxattr("f", "user.a", "two", 3, XATTR_CREATE) < 0 &&
	     errno == EEXIST);
	MUST(!setxattr("f", "user.a", "three", 5, XATTR_REPLACE));
	MUST(getxattr("f", "user.a", v, sizeof(v)) == 5);
	MUST(!memcmp(v, "three", 5));
	MUST(!removexattr("f", "user.a"));
	MUST(getxattr("f", "user.a", v, sizeof(v)) < 0 && errno == ENODATA);
}

static void end_round(void)
{
	struct dirent *e;
	unsigned n = 0;
	DIR *d = opendir("d");

	MUST(d);
	while ((e = readdir(d)))
		n++;
	closedir(d);
	MUST(n == 4); /* ., .., g, s */
	MUST(!unlink("d/g") && !unlink("d/s") && !rmdir("d"));
	MUST(!unlink("f"));
}

static void work(const char *dir, unsigned id, time_t end)
{
	char path[64];

	MUST(!chdir(dir));
	snprintf(path, sizeof(path), "w%u", id);
	MUST(!mkdir(path, 0755) || errno == EEXIST);
	MUST(!chdir(path));
	for (; time(NULL) < end; rounds++) {
		data_round();
		name_round();
		attribute_round();
		end_round();
	}
	printf("%u\n", rounds);
	exit(fflush(stdout) ? 1 : 0);
}

int main(int argc, char **argv)
{
	unsigned workers = argc > 3 ? (unsigned)atoi(argv[3]) : 2, failed = 0;
	time_t end;

	if (argc < 3 || !workers || workers > WORKERS_MAX) {
		fprintf(stderr, "usage: fsendure DIR SECONDS [WORKERS]\n");
		return 2;
	}
	end = time(NULL) + atoi(argv[2]);
	for (unsigned i = 0; i < workers; i++) {
		pid_t pid = fork();

		if (pid < 0)
			return 1;
		if (!pid)
			work(argv[1], i, end);
	}
	for (unsigned i = 0; i < workers; i++) {
		int status;

		if (wait(&status) < 0 || status)
			failed++;
	}
	return failed ? 1 : 0;
}
