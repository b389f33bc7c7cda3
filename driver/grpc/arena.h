/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for the messages of one call: taken piece by piece, bounded in all,
 * given back at once.
 */
#ifndef DAXFS_GRPC_ARENA_H
#define DAXFS_GRPC_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

struct arena_chunk;

struct grpc_arena {
	struct arena_chunk *chunks;
	size_t used, limit;
	bool full;                    /* an allocation was refused */
	ProtobufCAllocator allocator; /* for protobuf-c; freeing is a no-op */
};

void grpc_arena_init(struct grpc_arena *a, size_t limit);
void grpc_arena_release(struct grpc_arena *a);

/* Zeroed and aligned for any type; NULL when the limit or memory is reached. */
void *grpc_arena_alloc(struct grpc_arena *a, size_t size);
void *grpc_arena_array(struct grpc_arena *a, size_t n, size_t size);

#endif
