/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets by path. A path that sockaddr_un has no room for is reached
 * through its folder's descriptor.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include "../common/util.h"
#include "internal.h"

#define BACKLOG 128
#define CONNECT_SECONDS 10 /* a peer that does not accept */

struct address {
	struct sockaddr_un sa;
	int dir; /* open while the address is in use, or -1 */
};

static void address_release(struct address *a)
{
	util_close_fd(&a->dir);
}

static int address_long(struct address *a, const char *path)
{
	const char *slash = strrchr(path, '/');
	cleanup_free char *dir = NULL;
	int n;

	if (!slash)
		return -ENAMETOOLONG;
	dir = strndup(path, (size_t)(slash - path) + 1);
	if (!dir)
		return -ENOMEM;
	a->dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (a->dir < 0)
		return -errno;
	n = snprintf(a->sa.sun_path, sizeof(a->sa.sun_path),
		     "/proc/self/fd/%d/%s", a->dir, slash + 1);
	return (size_t)n < sizeof(a->sa.sun_path) ? 0 : -ENAMETOOLONG;
}

static int address_init(struct address *a, const char *path)
{
	size_t len = strlen(path);

	memset(a, 0, sizeof(*a));
	a->dir = -1;
	a->sa.sun_family = AF_UNIX;
	if (!len)
		return -ENOENT;
	if (len >= sizeof(a->sa.sun_path))
		return address_long(a, path);
	memcpy(a->sa.sun_path, path, len);
	return 0;
}

#define cleanup_address __attribute__((cleanup(address_release)))

static int new_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

int socket_connect(const char *path)
{
	struct timeval limit = { .tv_sec = CONNECT_SECONDS };
	cleanup_address struct address a;
	cleanup_close int fd = -1;
	int rc = address_init(&a, path);

	if (rc < 0)
		return rc;
	fd = new_socket();
	if (fd < 0)
		return fd;
	/* connect(2) waits for room in the backlog for as long as a send */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		return -errno;
	while (connect(fd, (struct sockaddr *)&a.sa, sizeof(a.sa)) < 0)
		if (errno != EINTR)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return steal_fd(&fd);
}

/* 0: nobody listens there. */
static int check_unused(const char *path)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket_connect(path);
	if (fd >= 0)
		close(fd);
	return fd == -ECONNREFUSED || fd == -ENOENT ? 0 : -EADDRINUSE;
}

/*
 * The socket is made under another name and renamed, so that it has its mode
 * and owner, and answers, from the moment that it can be seen.
 */
int socket_listen(const char *path, unsigned mode, uid_t owner)
{
	cleanup_free char *tmp = str_printf("%s.new", path);
	cleanup_address struct address a = { .dir = -1 };
	cleanup_close int fd = -1;
	int rc;

	if (!tmp)
		return -ENOMEM;
	rc = check_unused(path);
	if (rc == 0)
		rc = address_init(&a, tmp);
	if (rc < 0)
		return rc;
	fd = new_socket();
	if (fd < 0)
		return fd;
	if (unlink(tmp) < 0 && errno != ENOENT)
		return -errno;
	if (bind(fd, (struct sockaddr *)&a.sa, sizeof(a.sa)) < 0)
		return -errno;
	if (chmod(tmp, mode) < 0 ||
	    (owner != (uid_t)-1 && owner != 0 &&
	     chown(tmp, owner, (gid_t)-1) < 0) ||
	    fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || listen(fd, BACKLOG) < 0 ||
	    rename(tmp, path) < 0) {
		rc = -errno;
		unlink(tmp);
		return rc;
	}
	return steal_fd(&fd);
}

static bool has_option(int fd, int option, int value)
{
	socklen_t len = sizeof(int);
	int got;

	return getsockopt(fd, SOL_SOCKET, option, &got, &len) == 0 &&
	       got == value;
}

/* Paths may differ in symlinks, e.g. /var/run. */
static bool is_bound_to(int fd, const char *path)
{
	struct sockaddr_un sa;
	socklen_t len = sizeof(sa);
	struct stat bound, wanted;

	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0 ||
	    len <= offsetof(struct sockaddr_un, sun_path) || !sa.sun_path[0])
		return false;
	return stat(sa.sun_path, &bound) == 0 && stat(path, &wanted) == 0 &&
	       bound.st_ino == wanted.st_ino && bound.st_dev == wanted.st_dev;
}

int socket_adopt(int fd, const char *path)
{
	if (!has_option(fd, SO_DOMAIN, AF_UNIX) ||
	    !has_option(fd, SO_TYPE, SOCK_STREAM) ||
	    !has_option(fd, SO_ACCEPTCONN, 1) || !is_bound_to(fd, path))
		return -ENOTSOCK;
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return 0;
}
