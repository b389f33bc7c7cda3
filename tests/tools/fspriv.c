// SPDX-License-Identifier: Apache-2.0
/*
 * fspriv DIR: who may do what to files with setuid, setgid and capabilities,
 * and what is left of these then. Prints a line a case; two file systems that
 * behave alike print the same. Root only; DIR must be one that all can search.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/falloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define OWNER 1000
#define GROUP 100
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct actor {
	const char *name;
	uid_t uid;
	gid_t gid;
	gid_t more; /* a supplementary group, or 0 */
};

static const struct actor actors[] = {
	{ "root", 0, 0, 0 },
	{ "owner", OWNER, OWNER, 0 },
	{ "owner-in-group", OWNER, OWNER, GROUP },
	{ "member", 2000, GROUP, 0 },
	{ "member-too", 2000, 2000, GROUP },
	{ "other", 2000, 2000, 0 },
};

static const mode_t modes[] = { 06777, 04777, 02777, 02767, 06767, 0777 };

static void die(const char *what)
{
	fprintf(stderr, "fspriv: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int with_fd(const char *path, int flags, int (*fn)(int fd))
{
	int fd = open(path, flags, 0600);
	int rc, err;

	if (fd < 0)
		return -1;
	rc = fn(fd);
	err = errno;
	close(fd);
	errno = err;
	return rc;
}

static int write_one(int fd)
{
	return write(fd, "x", 1) == 1 ? 0 : -1;
}

static int write_none(int fd)
{
	return write(fd, "x", 0) == 0 ? 0 : -1;
}

static int cut(int fd)
{
	return ftruncate(fd, 5);
}

static int allocate(int fd)
{
	return fallocate(fd, 0, 0, 20000);
}

static int punch(int fd)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			 4096);
}

static int copy_in(int fd)
{
	off_t in = 0, out = 4;

	return copy_file_range(fd, &in, fd, &out, 4, 0) == 4 ? 0 : -1;
}

static int map_write(int fd)
{
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int rc;

	if (p == MAP_FAILED)
		return -1;
	*p = 'm';
	rc = msync(p, 4096, MS_SYNC);
	munmap(p, 4096);
	return rc;
}

static int nothing(int fd)
{
	(void)fd;
	return 0;
}

#define FD_OP(name, flags, fn)                       \
	static int name(const char *path)            \
	{                                            \
		return with_fd(path, (flags), (fn)); \
	}

FD_OP(op_write, O_WRONLY, write_one)
FD_OP(op_write_none, O_WRONLY, write_none)
FD_OP(op_append, O_WRONLY | O_APPEND, write_one)
FD_OP(op_ftruncate, O_WRONLY, cut)
FD_OP(op_open_trunc, O_WRONLY | O_TRUNC, nothing)
FD_OP(op_creat, O_WRONLY | O_CREAT | O_TRUNC, nothing)
FD_OP(op_fallocate, O_WRONLY, allocate)
FD_OP(op_punch, O_WRONLY, punch)
FD_OP(op_copy_range, O_RDWR, copy_in)
FD_OP(op_map, O_RDWR, map_write)

static int op_truncate(const char *path)
{
	return truncate(path, 5);
}

static int op_truncate_same(const char *path)
{
	return truncate(path, 8);
}

static int op_chown_nothing(const char *path)
{
	return chown(path, (uid_t)-1, (gid_t)-1);
}

static int op_chown_same(const char *path)
{
	return chown(path, OWNER, (gid_t)-1);
}

static int op_chown(const char *path)
{
	return chown(path, 2000, (gid_t)-1);
}

static int op_chgrp_same(const char *path)
{
	return chown(path, (uid_t)-1, GROUP);
}

static int op_chgrp(const char *path)
{
	return chown(path, (uid_t)-1, OWNER);
}

static int op_chmod_setgid(const char *path)
{
	return chmod(path, 02755);
}

static int op_chmod_setgid_no_x(const char *path)
{
	return chmod(path, 06745);
}

static int op_utimes(const char *path)
{
	return utimensat(AT_FDCWD, path, NULL, 0);
}

static int op_setxattr(const char *path)
{
	return setxattr(path, "trusted.a", "1", 1, 0);
}

static int op_link(const char *path)
{
	char to[4096];

	snprintf(to, sizeof(to), "%s.link", path);
	return link(path, to) ? -1 : unlink(to);
}

struct op {
	const char *name;
	int (*fn)(const char *path);
};

static const struct op ops[] = {
	{ "write", op_write },
	{ "write-none", op_write_none },
	{ "append", op_append },
	{ "truncate", op_truncate },
	{ "truncate-same", op_truncate_same },
	{ "ftruncate", op_ftruncate },
	{ "open-trunc", op_open_trunc },
	{ "creat", op_creat },
	{ "fallocate", op_fallocate },
	{ "punch", op_punch },
	{ "copy-range", op_copy_range },
	{ "map", op_map },
	{ "chown-nothing", op_chown_nothing },
	{ "chown-same", op_chown_same },
	{ "chown", op_chown },
	{ "chgrp-same", op_chgrp_same },
	{ "chgrp", op_chgrp },
	{ "chmod-setgid", op_chmod_setgid },
	{ "chmod-setgid-no-x", op_chmod_setgid_no_x },
	{ "utimes", op_utimes },
	{ "setxattr", op_setxattr },
	{ "link", op_link },
};

static void make_file(const char *path, mode_t mode, bool capable)
{
	/* cap_net_raw+ep */
	static const unsigned char cap[20] = { 1, 0, 0, 2, 0, 0x20 };
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);

	if (fd < 0 || write(fd, "12345678", 8) != 8 ||
	    fchown(fd, OWNER, GROUP) || fchmod(fd, mode) ||
	    (capable &&
	     fsetxattr(fd, "security.capability", cap, sizeof(cap), 0)))
		die(path);
	close(fd);
}

static int as(const struct actor *a, const struct op *op, const char *path)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		if (setgroups(a->more ? 1 : 0, &a->more) ||
		    setresgid(a->gid, a->gid, a->gid) ||
		    setresuid(a->uid, a->uid, a->uid))
			_exit(255);
		_exit(op->fn(path) ? errno : 0);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
	    WEXITSTATUS(status) == 255)
		die("child");
	return WEXITSTATUS(status);
}

static void try(const char *dir, const struct op *op, const struct actor *a,
		mode_t mode, bool capable)
{
	char path[4096];
	struct stat st;
	int err;

	snprintf(path, sizeof(path), "%s/f", dir);
	make_file(path, mode, capable);
	err = as(a, op, path);
	if (stat(path, &st))
		die(path);
	printf("%-18s %-15s %04o%s -> %04o%s %s\n", op->name, a->name, mode,
	       capable ? " cap" : "", st.st_mode & 07777,
	       getxattr(path, "security.capability", NULL, 0) > 0 ? " cap" : "",
	       err ? strerror(err) : "");
	unlink(path);
}

int main(int argc, char **argv)
{
	size_t o, a, m;
	int capable;

	if (argc != 2) {
		fputs("usage: fspriv DIR\n", stderr);
		return 2;
	}
	for (o = 0; o < ARRAY_SIZE(ops); o++)
		for (a = 0; a < ARRAY_SIZE(actors); a++)
			for (m = 0; m < ARRAY_SIZE(modes); m++)
				for (capable = 0; capable < 2; capable++)
					try(argv[1], &ops[o], &actors[a],
					    modes[m], capable);
	return 0;
}
