/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * All that the engine takes from the outside: integer types, byte order,
 * memory, locks, time, CRC-32C, formatted text. Two versions of the same
 * interface: the kernel's and user space's.
 */
#ifndef DAXFS_PORT_H
#define DAXFS_PORT_H

#ifdef __KERNEL__

#include <linux/atomic.h>
#include <linux/crc32c.h>
#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/stat.h>
#include <linux/stdarg.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <linux/types.h>

typedef struct mutex port_mutex;
typedef struct rw_semaphore port_rwlock;

#define port_mutex_init(l) mutex_init(l)
#define port_mutex_destroy(l) mutex_destroy(l)
#define port_lock(l) mutex_lock(l)
#define port_trylock(l) mutex_trylock(l)
#define port_unlock(l) mutex_unlock(l)
#define port_rw_init(l) init_rwsem(l)
#define port_rw_destroy(l) ((void)(l))
#define port_read_lock(l) down_read(l)
#define port_read_unlock(l) up_read(l)
#define port_write_lock(l) down_write(l)
#define port_write_unlock(l) up_write(l)

typedef const void port_sort_arg;
#define port_sort(base, n, size, cmp, arg) sort_r(base, n, size, cmp, NULL, arg)

static inline void *port_alloc(size_t n)
{
	return kvmalloc(n, GFP_KERNEL);
}
static inline void *port_zalloc(size_t n)
{
	return kvzalloc(n, GFP_KERNEL);
}
static inline void port_free(void *p)
{
	kvfree(p);
}
static inline u64 port_now_ns(void)
{
	return ktime_get_real_ns();
}
static inline u32 port_crc32c(u32 crc, const void *p, size_t n)
{
	return ~crc32c(~crc, p, n);
}
static inline void port_sleep_us(u32 us)
{
	usleep_range(us, 2 * us);
}
#define port_snprintf snprintf
#define port_vsnprintf vsnprintf

#else /* user space */

#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <linux/types.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#define le16_to_cpu(x) le16toh(x)
#define le32_to_cpu(x) le32toh(x)
#define le64_to_cpu(x) le64toh(x)
#define cpu_to_le16(x) htole16(x)
#define cpu_to_le32(x) htole32(x)
#define cpu_to_le64(x) htole64(x)

#ifndef EUCLEAN
#define EUCLEAN 117
#endif

typedef pthread_mutex_t port_mutex;
typedef pthread_rwlock_t port_rwlock;

#define port_mutex_init(l) pthread_mutex_init(l, NULL)
#define port_mutex_destroy(l) pthread_mutex_destroy(l)
#define port_lock(l) pthread_mutex_lock(l)
#define port_trylock(l) (!pthread_mutex_trylock(l))
#define port_unlock(l) pthread_mutex_unlock(l)
#define port_rw_init(l) pthread_rwlock_init(l, NULL)
#define port_rw_destroy(l) pthread_rwlock_destroy(l)
#define port_read_lock(l) pthread_rwlock_rdlock(l)
#define port_read_unlock(l) pthread_rwlock_unlock(l)
#define port_write_lock(l) pthread_rwlock_wrlock(l)
#define port_write_unlock(l) pthread_rwlock_unlock(l)

typedef void port_sort_arg;
#define port_sort(base, n, size, cmp, arg) qsort_r(base, n, size, cmp, arg)

static inline void *port_alloc(size_t n)
{
	return malloc(n);
}
static inline void *port_zalloc(size_t n)
{
	return calloc(1, n);
}
static inline void port_free(void *p)
{
	free(p);
}
u64 port_now_ns(void);
void port_sleep_us(u32 us);
/* CRC-32C (Castagnoli), as crc of "" = 0, chainable. */
u32 port_crc32c(u32 crc, const void *p, size_t n);
#define port_snprintf snprintf
#define port_vsnprintf vsnprintf

#define DIV_ROUND_UP(n, d) (((n) + (d)-1) / (d))
#define container_of(ptr, type, member) \
	((type *)((char *)(ptr)-offsetof(type, member)))

#endif

/* Both: atomics on memory that other threads, processes or kernels see. */
#define port_load(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define port_store(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define port_fetch_add(p, v) __atomic_fetch_add((p), (v), __ATOMIC_ACQ_REL)
#define port_fetch_sub(p, v) __atomic_fetch_sub((p), (v), __ATOMIC_ACQ_REL)

/* For counters: nothing is ordered by them. */
#define port_count(p, n) ((void)__atomic_fetch_add((p), (n), __ATOMIC_RELAXED))
#define port_counted(p) __atomic_load_n((p), __ATOMIC_RELAXED)

/* *p becomes `to` if it is `from`. */
static inline bool port_cas64(__le64 *p, __le64 from, __le64 to)
{
	return __atomic_compare_exchange_n(p, &from, to, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* Add to a number on media; returns what it was. */
static inline u64 port_add_le64(__le64 *p, u64 n)
{
	__le64 old;

	do
		old = port_load(p);
	while (!port_cas64(p, old, cpu_to_le64(le64_to_cpu(old) + n)));
	return le64_to_cpu(old);
}

#endif
