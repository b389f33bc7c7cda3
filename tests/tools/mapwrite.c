/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mapwrite FILE OFFSET TEXT: map FILE shared, write TEXT at OFFSET, print
 * "mapped", then answer each line of standard input: "read" prints the mapped
 * text; end of input ends. SIGBUS ends it as any program.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	size_t off, len;
	char line[64];
	struct stat st;
	char *p;
	int fd;

	if (argc != 4) {
		fprintf(stderr, "usage: mapwrite FILE OFFSET TEXT\n");
		return 2;
	}
	off = strtoul(argv[2], NULL, 0);
	len = strlen(argv[3]);
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		perror(argv[1]);
		return 1;
	}
	if (off + len > (size_t)st.st_size) {
		fprintf(stderr, "mapwrite: '%s' is too short\n", argv[1]);
		return 1;
	}
	p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		 fd, 0);
	if (p == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	memcpy(p + off, argv[3], len);
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("mapped");
	while (fgets(line, sizeof(line), stdin))
		if (!strcmp(line, "read\n"))
			printf("%.*s\n", (int)len, p + off);
	return 0;
}
