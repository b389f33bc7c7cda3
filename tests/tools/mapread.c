/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mapread FILE OFFSET: map FILE shared and print the byte at OFFSET, now and for
 * each line of standard input.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	volatile const char *p;
	char line[64];
	size_t off;
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: mapread FILE OFFSET\n");
		return 2;
	}
	off = strtoul(argv[2], NULL, 0);
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		perror(argv[1]);
		return 1;
	}
	p = mmap(NULL, off + 1, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	do
		printf("%c\n", p[off]);
	while (fgets(line, sizeof(line), stdin));
	return 0;
}
