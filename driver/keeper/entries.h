/* SPDX-License-Identifier: Apache-2.0 */
/* What the keeper keeps. One thread. */
#ifndef DAXFS_KEEPER_ENTRIES_H
#define DAXFS_KEEPER_ENTRIES_H

#include <stddef.h>

#include "keeper.h"

struct entry {
	struct entry *next;
	uint64_t key;
	uint32_t flags;
	int fd; /* -1: none */
	size_t len;
	char *data;
};

struct entries {
	struct entry *first;
	unsigned count;
};

/*
 * Make or change an entry. `fd` is consumed; -1: the entry keeps the one that
 * it has. -ENOMEM, -E2BIG.
 */
int entries_put(struct entries *e, uint64_t key, uint32_t flags, int fd,
		const char *data, size_t len);
void entries_drop(struct entries *e, uint64_t key);
/* Close the descriptors that do not outlive a kill of their server. */
void entries_close_lost(struct entries *e);
/* Is there anything that a server is needed for? */
int entries_wanted(const struct entries *e);
void entries_free(struct entries *e);

#endif
