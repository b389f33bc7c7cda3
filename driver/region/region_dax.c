/* SPDX-License-Identifier: Apache-2.0 */
#include "region_dax.h"

#include <stdint.h>

#if defined(__x86_64__)

#include <cpuid.h>

#define LINE 64u

enum how { UNKNOWN, CLFLUSH, CLFLUSHOPT, CLWB };

static enum how find_how(void)
{
	unsigned a, b = 0, c, d;

	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
		return CLFLUSH;
	if (b & bit_CLWB)
		return CLWB;
	return b & bit_CLFLUSHOPT ? CLFLUSHOPT : CLFLUSH;
}

static enum how how(void)
{
	static enum how known;
	enum how h = __atomic_load_n(&known, __ATOMIC_RELAXED);

	if (h == UNKNOWN) {
		h = find_how();
		__atomic_store_n(&known, h, __ATOMIC_RELAXED);
	}
	return h;
}

bool region_dax_supported(void)
{
	return true;
}

void region_dax_flush(const void *p, size_t len)
{
	const char *at = (const char *)((uintptr_t)p & ~(uintptr_t)(LINE - 1));
	const char *end = (const char *)p + len;
	enum how h = how();

	/* stores so far are in the caches when their lines are written back */
	__asm__ volatile("mfence" ::: "memory");
	for (; at < end; at += LINE) {
		if (h == CLWB)
			__asm__ volatile("clwb %0" ::"m"(*at) : "memory");
		else if (h == CLFLUSHOPT)
			__asm__ volatile("clflushopt %0" ::"m"(*at) : "memory");
		else
			__asm__ volatile("clflush %0" ::"m"(*at) : "memory");
	}
	__asm__ volatile("sfence" ::: "memory");
}

#else /* msync does it, as on any file */

bool region_dax_supported(void)
{
	return false;
}

void region_dax_flush(const void *p, size_t len)
{
	(void)p;
	(void)len;
}

#endif
