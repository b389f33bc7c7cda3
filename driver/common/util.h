/* SPDX-License-Identifier: Apache-2.0 */
/* Small helpers for user space: clean-up attributes, strings, files. */
#ifndef DAXFS_UTIL_H
#define DAXFS_UTIL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* cleanup_free char *p = …; cleanup_close int fd = -1; both keep errno. */
#define cleanup_free __attribute__((cleanup(util_free_ptr)))
#define cleanup_close __attribute__((cleanup(util_close_fd)))

static inline void util_free_ptr(void *p)
{
	int saved = errno;

	free(*(void **)p);
	errno = saved;
}

static inline void util_close_fd(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

static inline int steal_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

#define steal_ptr(pp)                         \
	({                                    \
		__typeof__(*(pp)) v_ = *(pp); \
		*(pp) = NULL;                 \
		v_;                           \
	})

static inline bool str_eq(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

static inline bool str_empty(const char *s)
{
	return !s || !*s;
}

/* Allocated printf; NULL only when memory is out. */
__attribute__((format(printf, 1, 2))) char *str_printf(const char *fmt, ...);

/* Length of the UTF-8 sequence (RFC 3629) that `left` bytes begin with, 0: none. */
size_t utf8_length(const char *s, size_t left);
/* Are `len` bytes nothing but such sequences? */
bool is_utf8(const char *s, size_t len);

/*
 * "64K", "256M", "1G", "4096", "0x1000" to bytes. -EINVAL: not a size;
 * -ERANGE: beyond 2^63-1.
 */
int parse_size(const char *s, uint64_t *out);

/* Bytes for people: "1.5 MiB" into a per-thread buffer ring. */
const char *format_size(uint64_t bytes);

/* mkdir -p with `mode` for what is created. 0 or -errno. */
int mkdir_parents(const char *path, unsigned mode);

/* The absolute path of what exists (realpath), allocated; NULL with errno. */
char *path_absolute(const char *path);

/*
 * The executable `name` in the folder that this program runs from, allocated;
 * NULL: there is none, it may be in PATH.
 */
char *path_beside_us(const char *name);

/* Its value, -1 for what is none. */
int hex_digit(char c);

#endif
