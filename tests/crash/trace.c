// SPDX-License-Identifier: Apache-2.0
#include "trace.h"

#include <stdlib.h>
#include <string.h>

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

/* ---- Traces ------------------------------------------------------------------ */

void trace_init(struct trace *t, const uint8_t *mem, size_t size)
{
	memset(t, 0, sizeof(*t));
	t->size = size;
	t->start = must(malloc(size));
	memcpy(t->start, mem, size);
}

void trace_free(struct trace *t)
{
	free(t->start);
	free(t->events);
	free(t->bytes);
	memset(t, 0, sizeof(*t));
}

void trace_add(struct trace *t, enum event_type type, uint64_t off,
	       uint64_t len, const void *data, size_t data_len)
{
	if (t->count == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 256;
		t->events =
			must(realloc(t->events, t->cap * sizeof(*t->events)));
	}
	/* ranges are read where they lie */
	while (t->bytes_len + data_len + 8 > t->bytes_cap) {
		t->bytes_cap = t->bytes_cap ? 2 * t->bytes_cap : 65536;
		t->bytes = must(realloc(t->bytes, t->bytes_cap));
	}
	t->events[t->count++] = (struct event){ .type = type,
						.data = (uint32_t)t->bytes_len,
						.off = off,
						.len = len };
	if (data_len)
		memcpy(t->bytes + t->bytes_len, data, data_len);
	t->bytes_len += (data_len + 7) & ~7ull;
}

/* ---- Machines ---------------------------------------------------------------- */

void machine_init(struct machine *m, const uint8_t *mem, size_t size)
{
	memset(m, 0, sizeof(*m));
	m->size = size;
	m->now = must(malloc(size));
	m->durable = must(malloc(size));
	/* two numbers a unit of the smallest size */
	m->units = must(calloc(size / 64, 2 * sizeof(*m->units)));
	memcpy(m->now, mem, size);
	memcpy(m->durable, mem, size);
}

void machine_copy(struct machine *to, const struct machine *from)
{
	machine_init(to, from->now, from->size);
	memcpy(to->durable, from->durable, from->size);
	to->count = to->cap = from->count;
	if (!to->cap)
		return;
	to->pending = must(malloc(to->cap * sizeof(*to->pending)));
	memcpy(to->pending, from->pending, to->cap * sizeof(*to->pending));
}

void machine_free(struct machine *m)
{
	free(m->now);
	free(m->durable);
	free(m->pending);
	free(m->units);
	memset(m, 0, sizeof(*m));
}

static void put_word(uint8_t *mem, const struct word *w)
{
	uint8_t *to = mem + w->index * 8ull;

	if (w->mask == 0xff) {
		memcpy(to, &w->value, 8);
		return;
	}
	for (uint32_t i = 0; i < 8; i++)
		if (w->mask >> i & 1)
			to[i] = (uint8_t)(w->value >> (8 * i));
}

/* The word that holds byte `off`, with its bytes from there up to `end`. */
static struct word word_of(const uint8_t *mem, uint64_t off, uint64_t end)
{
	uint64_t base = off & ~7ull;
	struct word w = { .index = (uint32_t)(base / 8) };

	memcpy(&w.value, mem + base, 8);
	for (uint64_t i = off; i < end && i < base + 8; i++)
		w.mask |= 1u << (i - base);
	return w;
}

/* [off, end) of `now` has been stored to. */
static void pend(struct machine *m, uint64_t off, uint64_t end)
{
	for (; off < end; off = (off & ~7ull) + 8) {
		if (m->count == m->cap) {
			m->cap = m->cap ? 2 * m->cap : 1024;
			m->pending =
				must(realloc(m->pending,
					     m->cap * sizeof(*m->pending)));
		}
		m->pending[m->count++] = word_of(m->now, off, end);
	}
}

static bool covered(const struct sync_range *v, uint64_t n, uint64_t off)
{
	for (uint64_t i = 0; i < n; i++)
		if (off + 8 > v[i].off && off < v[i].off + v[i].len)
			return true;
	return false;
}

static void sync_done(struct machine *m, const struct sync_range *v, uint64_t n)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < m->count; i++) {
		struct word w = m->pending[i];

		if (covered(v, n, w.index * 8ull))
			put_word(m->durable, &w);
		else
			m->pending[left++] = w;
	}
	m->count = left;
}

void machine_apply(struct machine *m, const struct trace *t, uint32_t event,
		   uint64_t part)
{
	const struct event *e = &t->events[event];
	const uint8_t *data = t->bytes + e->data;
	uint64_t len = e->len < part ? e->len : part;

	if (e->type == EV_STORE)
		memcpy(m->now + e->off, data, len);
	else if (e->type == EV_DISCARD)
		memset(m->now + e->off, 0, len);
	if (e->type == EV_STORE || e->type == EV_DISCARD)
		pend(m, e->off, e->off + len);
	else if (e->type == EV_SYNC)
		sync_done(m, (const struct sync_range *)data, e->len);
}

/* ---- Loss of power ------------------------------------------------------------ */

enum loss {
	LOSS_PREFIX, /* of each unit's stores the first few are there */
	LOSS_WHOLE,  /* all or none of them */
	LOSS_ONLY,   /* those of one unit are there */
	LOSS_BUT,    /* those of one unit are missing */
};

struct loss_plan {
	enum loss kind;
	uint32_t words; /* a unit */
	uint64_t seed;
	uint32_t chosen; /* ONLY, BUT: the unit */
};

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

/* Small units and torn ones say most, and so are the most likely. */
static struct loss_plan plan(const struct machine *m, uint64_t seed)
{
	static const uint8_t kinds[] = { LOSS_PREFIX, LOSS_PREFIX, LOSS_PREFIX,
					 LOSS_PREFIX, LOSS_PREFIX, LOSS_WHOLE,
					 LOSS_ONLY,   LOSS_BUT };
	static const uint32_t bytes[] = { 64, 64, 512, 4096 };
	struct loss_plan p = { .kind = kinds[seed % 8],
			       .words = bytes[seed / 8 % 4] / 8,
			       .seed = mix(seed) };

	if (m->count)
		p.chosen = m->pending[p.seed % m->count].index / p.words;
	return p;
}

/* How many of a unit's `n` stores are there. */
static uint32_t allowed(const struct loss_plan *p, uint32_t unit, uint32_t n)
{
	uint64_t x = mix(p->seed ^ mix(unit));

	switch (p->kind) {
	case LOSS_PREFIX:
		/* all and nothing are more likely than what lies between */
		if (x % 4 < 2)
			return x % 4 ? n : 0;
		return (uint32_t)(x / 4 % (n + 1));
	case LOSS_WHOLE:
		return x & 1 ? n : 0;
	case LOSS_ONLY:
		return unit == p->chosen ? n : 0;
	default:
		return unit == p->chosen ? 0 : n;
	}
}

/* Each unit has two numbers in m->units: stores there are, stores to take. */
static void lose_some(struct machine *m, const struct loss_plan *p,
		      uint8_t *out)
{
	for (uint32_t i = 0; i < m->count; i++)
		m->units[2 * (m->pending[i].index / p->words)]++;
	for (uint32_t i = 0; i < m->count; i++) {
		uint32_t unit = m->pending[i].index / p->words;
		uint32_t *u = &m->units[2 * unit];

		if (u[0]) {
			u[1] = allowed(p, unit, u[0]);
			u[0] = 0;
		}
		if (!u[1])
			continue;
		u[1]--;
		put_word(out, &m->pending[i]);
	}
}

void machine_lose_power(struct machine *m, uint64_t seed, uint8_t *out)
{
	struct loss_plan p = plan(m, seed);

	if (seed == SEED_ALL) {
		memcpy(out, m->now, m->size);
		return;
	}
	memcpy(out, m->durable, m->size);
	if (seed != SEED_NONE)
		lose_some(m, &p, out);
}
