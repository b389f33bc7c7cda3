// SPDX-License-Identifier: Apache-2.0
#include "record.h"

#include "record_core.h"
#undef memcpy
#undef memmove
#undef memset

static struct {
	struct trace *trace; /* NULL: not recording */
	u8 *mem, *seen;      /* the region; what it was at the last event */
	size_t size;
	u64 off, len; /* the store that is about to happen; len 0: none */
} rec;

static bool instrumented;

bool record_works(void)
{
	return instrumented;
}

/* The hooks come before their store: it has happened when the next one comes. */
static void settle(void)
{
	u64 off = rec.off, len = rec.len;

	if (!len)
		return;
	rec.len = 0;
	/* storing what is there already leaves nothing to lose */
	if (!memcmp(rec.seen + off, rec.mem + off, len))
		return;
	trace_add(rec.trace, EV_STORE, off, len, rec.mem + off, len);
	memcpy(rec.seen + off, rec.mem + off, len);
}

static void will_store(const void *addr, size_t len)
{
	const u8 *p = addr;

	if (!rec.trace)
		return;
	settle();
	if (!len || p < rec.mem || p >= rec.mem + rec.size)
		return;
	rec.off = (u64)(p - rec.mem);
	rec.len = len;
}

static void other(void)
{
	if (rec.trace)
		settle();
}

void record_start(struct trace *t, void *mem, size_t size)
{
	trace_init(t, mem, size);
	rec.seen = malloc(size);
	if (!rec.seen)
		abort();
	memcpy(rec.seen, mem, size);
	rec.mem = mem;
	rec.size = size;
	rec.trace = t;
}

void record_mark(enum event_type type, uint64_t n)
{
	if (!rec.trace)
		return;
	settle();
	trace_add(rec.trace, type, n, 0, NULL, 0);
}

bool record_stop(void)
{
	bool same;

	settle();
	same = !memcmp(rec.seen, rec.mem, rec.size);
	rec.trace = NULL;
	free(rec.seen);
	rec.seen = NULL;
	return same;
}

/* ---- The backing -------------------------------------------------------------- */

static int back_reserve(void *priv, u64 off, u64 len)
{
	(void)priv;
	(void)off;
	(void)len;
	return 0;
}

static int back_sync(void *priv, const struct daxfs_range *v, u32 count)
{
	(void)priv;
	_Static_assert(sizeof(struct daxfs_range) == sizeof(struct sync_range),
		       "ranges are kept as they come");
	if (!rec.trace)
		return 0;
	settle();
	trace_add(rec.trace, EV_SYNC, 0, count, v, count * sizeof(*v));
	return 0;
}

static int back_discard(void *priv, u64 off, u64 len)
{
	other();
	memset((u8 *)priv + off, 0, len);
	if (!rec.trace)
		return 0;
	memset(rec.seen + off, 0, len);
	trace_add(rec.trace, EV_DISCARD, off, len, NULL, 0);
	return 0;
}

struct daxfs_backing record_backing(void *mem, size_t size, u32 boot)
{
	struct daxfs_backing b = { .base = mem,
				   .size = size,
				   .priv = mem,
				   .reserve = back_reserve,
				   .sync = back_sync,
				   .discard = back_discard };

	memset(b.boot, 0x40 + (int)boot, sizeof(b.boot));
	return b;
}

/* ---- What core/ calls ----------------------------------------------------------- */

void *record_memcpy(void *to, const void *from, size_t n)
{
	will_store(to, n);
	return memcpy(to, from, n);
}

void *record_memmove(void *to, const void *from, size_t n)
{
	will_store(to, n);
	return memmove(to, from, n);
}

void *record_memset(void *to, int c, size_t n)
{
	will_store(to, n);
	return memset(to, c, n);
}

/* gcc knows these by itself, with types of its own that are passed alike. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wbuiltin-declaration-mismatch"

void __tsan_init(void)
{
	instrumented = true;
}

void __tsan_func_entry(void *pc)
{
	(void)pc;
	other();
}

void __tsan_func_exit(void)
{
	other();
}

#define PLAIN(n)                               \
	void __tsan_read##n(void *p)           \
	{                                      \
		(void)p;                       \
		other();                       \
	}                                      \
	void __tsan_write##n(void *p)          \
	{                                      \
		will_store(p, n);              \
	}                                      \
	void __tsan_volatile_read##n(void *p)  \
	{                                      \
		(void)p;                       \
		other();                       \
	}                                      \
	void __tsan_volatile_write##n(void *p) \
	{                                      \
		will_store(p, n);              \
	}

PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

#define UNALIGNED(n)                            \
	void __tsan_unaligned_read##n(void *p)  \
	{                                       \
		(void)p;                        \
		other();                        \
	}                                       \
	void __tsan_unaligned_write##n(void *p) \
	{                                       \
		will_store(p, n);               \
	}

UNALIGNED(2)
UNALIGNED(4)
UNALIGNED(8)
UNALIGNED(16)

void __tsan_read_range(void *p, size_t n)
{
	(void)p;
	(void)n;
	other();
}

void __tsan_write_range(void *p, size_t n)
{
	will_store(p, n);
}

/* Atomics do the work themselves; one thread records. */
#define ATOMIC(bits, type)                                                     \
	type __tsan_atomic##bits##_load(const volatile type *p, int order)     \
	{                                                                      \
		(void)order;                                                   \
		other();                                                       \
		return __atomic_load_n(p, __ATOMIC_SEQ_CST);                   \
	}                                                                      \
	void __tsan_atomic##bits##_store(volatile type *p, type v, int order)  \
	{                                                                      \
		(void)order;                                                   \
		will_store((const void *)p, sizeof(v));                        \
		__atomic_store_n(p, v, __ATOMIC_SEQ_CST);                      \
	}                                                                      \
	type __tsan_atomic##bits##_exchange(volatile type *p, type v,          \
					    int order)                         \
	{                                                                      \
		(void)order;                                                   \
		will_store((const void *)p, sizeof(v));                        \
		return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);            \
	}                                                                      \
	type __tsan_atomic##bits##_fetch_add(volatile type *p, type v,         \
					     int order)                        \
	{                                                                      \
		(void)order;                                                   \
		will_store((const void *)p, sizeof(v));                        \
		return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);             \
	}                                                                      \
	type __tsan_atomic##bits##_fetch_sub(volatile type *p, type v,         \
					     int order)                        \
	{                                                                      \
		(void)order;                                                   \
		will_store((const void *)p, sizeof(v));                        \
		return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST);             \
	}                                                                      \
	type __tsan_atomic##bits##_fetch_or(volatile type *p, type v,          \
					    int order)                         \
	{                                                                      \
		(void)order;                                                   \
		will_store((const void *)p, sizeof(v));                        \
		return __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST);              \
	}                                                                      \
	type __tsan_atomic##bits##_fetch_and(volatile type *p, type v,         \
					     int order)                        \
	{                                                                      \
		(void)order;                                                   \
		will_store((const void *)p, sizeof(v));                        \
		return __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST);             \
	}                                                                      \
	int __tsan_atomic##bits##_compare_exchange_strong(volatile type *p,    \
							  type *was, type v,   \
							  int order, int fail) \
	{                                                                      \
		(void)order;                                                   \
		(void)fail;                                                    \
		will_store((const void *)p, sizeof(v));                        \
		return __atomic_compare_exchange_n(p, was, v, 0,               \
						   __ATOMIC_SEQ_CST,           \
						   __ATOMIC_SEQ_CST);          \
	}                                                                      \
	int __tsan_atomic##bits##_compare_exchange_weak(volatile type *p,      \
							type *was, type v,     \
							int order, int fail)   \
	{                                                                      \
		return __tsan_atomic##bits##_compare_exchange_strong(p, was,   \
								     v, order, \
								     fail);    \
	}

ATOMIC(8, u8)
ATOMIC(16, u16)
ATOMIC(32, u32)
ATOMIC(64, u64)

void __tsan_atomic_thread_fence(int order)
{
	(void)order;
	other();
}
