/* SPDX-License-Identifier: Apache-2.0 */
#include "names.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(uint64_t dir, const char *text, size_t len)
{
	uint64_t h = 0xcbf29ce484222325ull ^ (dir * 0x9e3779b97f4a7c15ull);
	size_t i;

	for (i = 0; i < len; i++)
		h = (h ^ (unsigned char)text[i]) * 0x100000001b3ull;
	return h ^ (h >> 32);
}

static struct name **bucket_of(struct names *n, const struct name *e)
{
	return &n->buckets[hash_of(e->dir, e->text, e->len) & (n->size - 1)];
}

void names_init(struct names *n)
{
	*n = (struct names){ 0 };
	pthread_mutex_init(&n->lock, NULL);
}

void names_free_list(struct name *list)
{
	while (list) {
		struct name *next = list->next;

		free(list);
		list = next;
	}
}

struct name *names_take(struct names *n)
{
	struct name *list = NULL;
	size_t i;

	pthread_mutex_lock(&n->lock);
	for (i = 0; i < n->size; i++) {
		while (n->buckets[i]) {
			struct name *e = n->buckets[i];

			n->buckets[i] = e->next;
			e->next = list;
			list = e;
		}
	}
	n->used = 0;
	pthread_mutex_unlock(&n->lock);
	return list;
}

void names_free(struct names *n)
{
	names_free_list(names_take(n));
	free(n->buckets);
	pthread_mutex_destroy(&n->lock);
}

static bool grow(struct names *n)
{
	struct names bigger = { .size = n->size ? n->size * 2 : 64 };
	size_t i;

	bigger.buckets = calloc(bigger.size, sizeof(*bigger.buckets));
	if (!bigger.buckets)
		return n->size > 0;
	for (i = 0; i < n->size; i++) {
		while (n->buckets[i]) {
			struct name *e = n->buckets[i];
			struct name **b;

			n->buckets[i] = e->next;
			b = bucket_of(&bigger, e);
			e->next = *b;
			*b = e;
		}
	}
	free(n->buckets);
	n->buckets = bigger.buckets;
	n->size = bigger.size;
	return true;
}

static bool add_locked(struct names *n, uint64_t dir, const char *text,
		       size_t len)
{
	struct name *e;

	if (n->used >= n->size && !grow(n))
		return false;
	e = n->buckets[hash_of(dir, text, len) & (n->size - 1)];
	for (; e; e = e->next)
		if (e->dir == dir && e->len == len &&
		    !memcmp(e->text, text, len))
			return true;
	if (n->used >= NAMES_MAX)
		return false;
	e = malloc(sizeof(*e) + len + 1);
	if (!e)
		return false;
	e->dir = dir;
	e->len = len;
	memcpy(e->text, text, len);
	e->text[len] = '\0';
	e->next = *bucket_of(n, e);
	*bucket_of(n, e) = e;
	n->used++;
	return true;
}

bool names_add(struct names *n, uint64_t dir, const char *text, size_t len)
{
	bool ok;

	pthread_mutex_lock(&n->lock);
	ok = add_locked(n, dir, text, len);
	pthread_mutex_unlock(&n->lock);
	return ok;
}
