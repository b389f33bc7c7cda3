/* SPDX-License-Identifier: Apache-2.0 */
#include "arena.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK 4096u
#define ALIGN 16u

struct arena_chunk {
	struct arena_chunk *next;
	size_t used, size;
	_Alignas(ALIGN) unsigned char data[];
};

static void *pb_alloc(void *data, size_t size)
{
	return grpc_arena_alloc(data, size);
}

static void pb_free(void *data, void *p)
{
	(void)data;
	(void)p;
}

void grpc_arena_init(struct grpc_arena *a, size_t limit)
{
	memset(a, 0, sizeof(*a));
	a->limit = limit;
	a->allocator.alloc = pb_alloc;
	a->allocator.free = pb_free;
	a->allocator.allocator_data = a;
}

void grpc_arena_release(struct grpc_arena *a)
{
	while (a->chunks) {
		struct arena_chunk *c = a->chunks;

		a->chunks = c->next;
		free(c);
	}
}

/* A chunk with room for `size`; large ones get one of their own. */
static struct arena_chunk *chunk_with(struct grpc_arena *a, size_t size)
{
	struct arena_chunk *c = a->chunks;
	size_t n = size > CHUNK ? size : CHUNK;

	if (c && c->size - c->used >= size)
		return c;
	c = calloc(1, sizeof(*c) + n);
	if (!c)
		return NULL;
	c->size = n;
	c->next = a->chunks;
	a->chunks = c;
	return c;
}

void *grpc_arena_alloc(struct grpc_arena *a, size_t size)
{
	struct arena_chunk *c = NULL;
	void *p;

	if (size < a->limit && a->limit - size >= a->used + ALIGN) {
		size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
		c = chunk_with(a, size);
	}
	if (!c) {
		a->full = true;
		return NULL;
	}
	p = c->data + c->used;
	c->used += size;
	a->used += size;
	return p;
}

void *grpc_arena_array(struct grpc_arena *a, size_t n, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total)) {
		a->full = true;
		return NULL;
	}
	return grpc_arena_alloc(a, total);
}
