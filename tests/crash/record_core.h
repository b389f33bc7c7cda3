/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Included before everything else when core/ is compiled to be recorded:
 * copies and fills are calls that the recorder sees as one store each.
 */
#ifndef CRASH_RECORD_CORE_H
#define CRASH_RECORD_CORE_H

#include <string.h>

void *record_memcpy(void *to, const void *from, size_t n);
void *record_memmove(void *to, const void *from, size_t n);
void *record_memset(void *to, int c, size_t n);

#define memcpy record_memcpy
#define memmove record_memmove
#define memset record_memset

#endif
