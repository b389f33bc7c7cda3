/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular expressions. containerd's are RE2's. PCRE2 reads that syntax (POSIX
 * regcomp does not: no \d, (?i), lazy or named groups) and more; what RE2 does
 * not have is refused, so that it means here what it means there. What RE2 has
 * and PCRE2 has not: repeating an assertion, as in \b+, and [:name:] for a class
 * of these letters.
 */
#ifndef DAXFS_SNAPSHOTTER_FILTER_RE_H
#define DAXFS_SNAPSHOTTER_FILTER_RE_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stddef.h>

/* 0; -1: *why is the reason. */
int re_compile(const char *text, pcre2_code **out, char *why, size_t size);

#endif
