/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vcall [-n COUNT] SOCKET MESSAGE
 *
 * Send a Varlink message, COUNT times one after the other, and print each
 * reply, a line each. Exit status: 0; 2 the last reply is an error; 3 cannot
 * connect; 4 the connection ended.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TEXT_MAX (1u << 20)

static int connect_to(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(sa.sun_path))
		return -1;
	strcpy(sa.sun_path, path);
	return connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -1 : fd;
}

/* One reply, without its NUL. False: there is none. */
static bool receive(int fd, char *text)
{
	size_t len = 0;

	while (len < TEXT_MAX) {
		ssize_t n = recv(fd, text + len, 1, 0);

		if (n <= 0)
			return false;
		if (!text[len++])
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	static char text[TEXT_MAX];
	int count = 1, c, fd;

	while ((c = getopt(argc, argv, "n:")) != -1) {
		if (c != 'n')
			return 99;
		count = atoi(optarg);
	}
	if (argc - optind != 2)
		return 99;
	fd = connect_to(argv[optind]);
	if (fd < 0) {
		fprintf(stderr, "vcall: %s: %s\n", argv[optind],
			strerror(errno));
		return 3;
	}
	while (count-- > 0) {
		const char *msg = argv[optind + 1];

		if (send(fd, msg, strlen(msg) + 1, MSG_NOSIGNAL) < 0)
			return 4;
		do {
			if (!receive(fd, text))
				return 4;
			puts(text);
		} while (strstr(text, "\"continues\":true"));
	}
	return strstr(text, "\"error\":\"") ? 2 : 0;
}
