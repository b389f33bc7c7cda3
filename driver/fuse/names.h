/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names (found or not) that the kernel may keep of main's mount: after a
 * commit each has to be taken back. Other branches change only through their
 * own mount and need none of this.
 */
#ifndef DAXFS_FUSE_NAMES_H
#define DAXFS_FUSE_NAMES_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What exceeds this is not remembered, and must not be cached for long. */
#define NAMES_MAX 65536

struct name {
	struct name *next;
	uint64_t dir;
	size_t len;
	char text[];
};

struct names {
	pthread_mutex_t lock;
	struct name **buckets;
	size_t size, used;
};

void names_init(struct names *n);
void names_free(struct names *n);

/* Remember; false: there is no room. */
bool names_add(struct names *n, uint64_t dir, const char *text, size_t len);

/* Forget all and hand them over as a list, freed with names_free_list(). */
struct name *names_take(struct names *n);
void names_free_list(struct name *list);

#endif
