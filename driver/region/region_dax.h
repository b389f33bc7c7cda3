/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that survives a loss of power, mapped with MAP_SYNC: what was stored is
 * durable once its cache lines were written back.
 */
#ifndef DAXFS_REGION_DAX_H
#define DAXFS_REGION_DAX_H

#include <stdbool.h>
#include <stddef.h>

/* Are there instructions for that on this kind of machine? */
bool region_dax_supported(void);

/* Write the cache lines of [p, p+len) back, and wait until they are. */
void region_dax_flush(const void *p, size_t len);

#endif
