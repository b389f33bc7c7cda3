/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mapfill FILE: map FILE shared, write to each of its pages, and wait until
 * they are written back. 1 with the reason when they cannot be.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct stat st;
	char *p;
	int fd;

	if (argc != 2) {
		fprintf(stderr, "usage: mapfill FILE\n");
		return 2;
	}
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		perror(argv[1]);
		return 1;
	}
	p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		 fd, 0);
	if (p == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	for (off_t i = 0; i < st.st_size; i += 4096)
		p[i] = 'x';
	if (msync(p, (size_t)st.st_size, MS_SYNC) < 0) {
		perror("msync");
		return 1;
	}
	return 0;
}
