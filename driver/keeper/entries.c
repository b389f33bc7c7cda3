/* SPDX-License-Identifier: Apache-2.0 */
#include "entries.h"

#include "driver/common/util.h"

static struct entry **find(struct entries *e, uint64_t key)
{
	struct entry **p = &e->first;

	while (*p && (*p)->key != key)
		p = &(*p)->next;
	return p;
}

static void entry_free(struct entry *i)
{
	util_close_fd(&i->fd);
	free(i->data);
	free(i);
}

static struct entry *entry_new(struct entries *e, uint64_t key)
{
	struct entry *i = calloc(1, sizeof(*i));

	if (!i)
		return NULL;
	i->key = key;
	i->fd = -1;
	i->next = e->first;
	e->first = i;
	e->count++;
	return i;
}

int entries_put(struct entries *e, uint64_t key, uint32_t flags, int fd,
		const char *data, size_t len)
{
	cleanup_close int own = fd;
	struct entry *i = *find(e, key);
	char *copy;

	if (len > KEEPER_DATA_MAX || (!i && e->count >= KEEPER_ENTRIES_MAX))
		return -E2BIG;
	copy = malloc(len + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, data, len);
	if (!i)
		i = entry_new(e, key);
	if (!i) {
		free(copy);
		return -ENOMEM;
	}
	free(i->data);
	i->data = copy;
	i->len = len;
	i->flags = flags;
	if (own >= 0) {
		util_close_fd(&i->fd);
		i->fd = steal_fd(&own);
	}
	return 0;
}

void entries_drop(struct entries *e, uint64_t key)
{
	struct entry **p = find(e, key), *i = *p;

	if (!i)
		return;
	*p = i->next;
	e->count--;
	entry_free(i);
}

void entries_close_lost(struct entries *e)
{
	struct entry *i;

	for (i = e->first; i; i = i->next)
		if (!(i->flags & (KEEPER_RESUME | KEEPER_AUX))) {
			util_close_fd(&i->fd);
			i->fd = -1;
		}
}

int entries_wanted(const struct entries *e)
{
	const struct entry *i = e->first;

	while (i && (i->flags & KEEPER_AUX))
		i = i->next;
	return i != NULL;
}

void entries_free(struct entries *e)
{
	while (e->first)
		entries_drop(e, e->first->key);
}
