/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The parts of port.h that user space needs code for. */
#include "port.h"

#include <time.h>

u64 port_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
}

void port_sleep_us(u32 us)
{
	struct timespec ts = { us / 1000000, us % 1000000 * 1000 };

	nanosleep(&ts, NULL);
}

static u32 crc_table[256];

__attribute__((constructor)) static void crc_init(void)
{
	for (u32 i = 0; i < 256; i++) {
		u32 c = i;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? 0x82f63b78u ^ (c >> 1) : c >> 1;
		crc_table[i] = c;
	}
}

static u32 crc_bytes(u32 c, const u8 *p, size_t n)
{
	while (n--)
		c = crc_table[(c ^ *p++) & 0xff] ^ (c >> 8);
	return c;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static u32 crc_sse42(u32 crc, const u8 *p,
						       size_t n)
{
	u64 c = crc;

	for (; n >= 8; n -= 8, p += 8) {
		u64 w;

		memcpy(&w, p, 8);
		c = __builtin_ia32_crc32di(c, w);
	}
	return crc_bytes((u32)c, p, n);
}
#endif

u32 port_crc32c(u32 crc, const void *p, size_t n)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc_sse42(~crc, p, n);
#endif
	return ~crc_bytes(~crc, p, n);
}
