/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inodes that the kernel knows of one mount, with their lookup counts:
 * inode number -> count, in shards with a lock each.
 */
#ifndef DAXFS_FUSE_NODES_H
#define DAXFS_FUSE_NODES_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NODES_SHARDS 8

struct node {
	uint64_t ino; /* 0: free slot */
	uint64_t count;
};

struct nodes {
	/* A server before us handed out more, of which nothing is known. */
	bool partial;
	struct nodes_shard {
		pthread_mutex_t lock;
		struct node *slots; /* open addressing, power of two */
		size_t size, used;
	} shards[NODES_SHARDS];
};

void nodes_init(struct nodes *n);
void nodes_free(struct nodes *n);

/* Count one more lookup. -ENOMEM. */
int nodes_add(struct nodes *n, uint64_t ino);

/* Take `count` lookups back; true: those were the last. */
bool nodes_forget(struct nodes *n, uint64_t ino, uint64_t count);

/* All inode numbers, allocated; NULL with *count 0 when there are none. */
int nodes_list(struct nodes *n, uint64_t **out, size_t *count);

#endif
