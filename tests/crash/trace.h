/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happened to a region's memory, in program order, and what of it a crash
 * leaves behind.
 */
#ifndef CRASH_TRACE_H
#define CRASH_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum event_type {
	EV_STORE,   /* bytes at [off, off+len) */
	EV_DISCARD, /* zeros there */
	EV_SYNC,    /* a sync of `len` ranges has completed */
	EV_BEGIN,   /* step `off` begins */
	EV_END,     /* and has ended */
};

struct event {
	uint32_t type;
	uint32_t data; /* where its bytes or ranges lie in trace->bytes */
	uint64_t off, len;
};

struct sync_range {
	uint64_t off, len;
};

struct trace {
	size_t size;    /* of the region */
	uint8_t *start; /* its bytes before the first event */
	struct event *events;
	uint32_t count, cap;
	uint8_t *bytes;
	size_t bytes_len, bytes_cap;
};

/* `mem`: the region as it is now. */
void trace_init(struct trace *t, const uint8_t *mem, size_t size);
void trace_free(struct trace *t);
/* `data` may be NULL with data_len 0. */
void trace_add(struct trace *t, enum event_type type, uint64_t off,
	       uint64_t len, const void *data, size_t data_len);

/* ---- What is left after a crash -------------------------------------------- */

/* Part of an aligned 8-byte word that one store has changed. */
struct word {
	uint64_t value;
	uint32_t index; /* of the word in the region */
	uint32_t mask;  /* of its bytes, bit 0 is the first */
};

/* A region in the middle of its history. */
struct machine {
	size_t size;
	uint8_t *now;     /* as programs see it */
	uint8_t *durable; /* as it is for sure after a loss of power */
	struct word
		*pending; /* stores that may or may not be durable, in order */
	uint32_t count, cap;
	uint32_t *units; /* scratch space of machine_lose_power() */
};

/* All of `mem` is durable. */
void machine_init(struct machine *m, const uint8_t *mem, size_t size);
void machine_copy(struct machine *to, const struct machine *from);
void machine_free(struct machine *m);
/* Let an event happen; of a store the first `part` bytes. */
void machine_apply(struct machine *m, const struct trace *t, uint32_t event,
		   uint64_t part);
#define WHOLE UINT64_MAX

/*
 * What a loss of power may leave, to `out`. Stores that no completed sync
 * covers may be there or not: per unit of 64, 512 or 4096 bytes the first few
 * of them in program order. The seed decides; some seeds give extremes.
 */
void machine_lose_power(struct machine *m, uint64_t seed, uint8_t *out);
/* The seeds of the extremes: nothing and all of what was not synced. */
#define SEED_NONE 0u
#define SEED_ALL 1u

#endif
