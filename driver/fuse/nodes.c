/* SPDX-License-Identifier: Apache-2.0 */
#include "nodes.h"

#include <errno.h>
#include <stdlib.h>

static uint64_t mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0x9e3779b97f4a7c15ull;
	return x ^ (x >> 29);
}

/* The low bits choose the shard, the higher ones the slot. */
static struct nodes_shard *shard_of(struct nodes *n, uint64_t hash)
{
	return &n->shards[hash % NODES_SHARDS];
}

static size_t home_of(const struct nodes_shard *s, uint64_t hash)
{
	return (size_t)(hash / NODES_SHARDS) & (s->size - 1);
}

/* The slot of `ino`, or the free one where it would go. */
static size_t find(const struct nodes_shard *s, uint64_t ino)
{
	size_t i = home_of(s, mix(ino));

	while (s->slots[i].ino && s->slots[i].ino != ino)
		i = (i + 1) & (s->size - 1);
	return i;
}

static int resize(struct nodes_shard *s, size_t size)
{
	struct nodes_shard bigger = { .size = size };
	size_t i;

	bigger.slots = calloc(size, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (i = 0; i < s->size; i++)
		if (s->slots[i].ino)
			bigger.slots[find(&bigger, s->slots[i].ino)] =
				s->slots[i];
	free(s->slots);
	s->slots = bigger.slots;
	s->size = size;
	return 0;
}

/* Close the gap that removing slot i leaves in its run. */
static void erase(struct nodes_shard *s, size_t i)
{
	size_t mask = s->size - 1, j = i;

	for (;;) {
		size_t home;

		j = (j + 1) & mask;
		if (!s->slots[j].ino)
			break;
		home = home_of(s, mix(s->slots[j].ino));
		if (((j - home) & mask) < ((j - i) & mask))
			continue;
		s->slots[i] = s->slots[j];
		i = j;
	}
	s->slots[i] = (struct node){ 0 };
	s->used--;
}

void nodes_init(struct nodes *n)
{
	size_t i;

	n->partial = false;
	for (i = 0; i < NODES_SHARDS; i++) {
		n->shards[i] = (struct nodes_shard){ 0 };
		pthread_mutex_init(&n->shards[i].lock, NULL);
	}
}

void nodes_free(struct nodes *n)
{
	size_t i;

	for (i = 0; i < NODES_SHARDS; i++) {
		free(n->shards[i].slots);
		pthread_mutex_destroy(&n->shards[i].lock);
	}
}

int nodes_add(struct nodes *n, uint64_t ino)
{
	struct nodes_shard *s = shard_of(n, mix(ino));
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	if (s->used * 4 >= s->size * 3)
		rc = resize(s, s->size ? s->size * 2 : 16);
	if (!rc) {
		struct node *slot = &s->slots[find(s, ino)];

		if (!slot->ino) {
			slot->ino = ino;
			s->used++;
		}
		slot->count++;
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

/* A table that has become nearly empty gives its memory back. */
static void shrink(struct nodes_shard *s)
{
	if (!s->used) {
		free(s->slots);
		s->slots = NULL;
		s->size = 0;
	} else if (s->size > 64 && s->used * 8 < s->size) {
		/* Staying big is no error. */
		(void)resize(s, s->size / 4);
	}
}

bool nodes_forget(struct nodes *n, uint64_t ino, uint64_t count)
{
	struct nodes_shard *s = shard_of(n, mix(ino));
	bool last = n->partial;

	pthread_mutex_lock(&s->lock);
	if (s->size) {
		size_t i = find(s, ino);
		struct node *slot = &s->slots[i];

		if (slot->ino && slot->count > count) {
			slot->count -= count;
			last = false;
		} else if (slot->ino) {
			erase(s, i);
			shrink(s);
			last = true;
		}
	}
	pthread_mutex_unlock(&s->lock);
	return last;
}

int nodes_list(struct nodes *n, uint64_t **out, size_t *count)
{
	size_t total = 0, i, j;
	uint64_t *list = NULL;

	*out = NULL;
	*count = 0;
	for (i = 0; i < NODES_SHARDS; i++) {
		struct nodes_shard *s = &n->shards[i];
		uint64_t *bigger;

		pthread_mutex_lock(&s->lock);
		bigger = realloc(list, (total + s->used + 1) * sizeof(*list));
		if (!bigger) {
			pthread_mutex_unlock(&s->lock);
			free(list);
			return -ENOMEM;
		}
		list = bigger;
		for (j = 0; j < s->size; j++)
			if (s->slots[j].ino)
				list[total++] = s->slots[j].ino;
		pthread_mutex_unlock(&s->lock);
	}
	*out = list;
	*count = total;
	return 0;
}
