/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recording what the engine stores to a region's memory.
 *
 * core/ is compiled with -fsanitize=thread, but the calls that gcc then puts
 * before every store and in place of every atomic come to record.c. A program
 * whose core/ is compiled otherwise can link record.c too; it records nothing.
 */
#ifndef CRASH_RECORD_H
#define CRASH_RECORD_H

#include "core/daxfs.h"
#include "trace.h"

/* Whether this program's engine can be recorded. */
bool record_works(void);

/* From now on stores to [mem, mem+size) go to `t`, which is initialised here. */
void record_start(struct trace *t, void *mem, size_t size);
/* A mark: step `n` begins or ends. */
void record_mark(enum event_type type, uint64_t n);
/*
 * Stop. False: memory has changed in ways that nobody saw, which would make
 * the trace worthless.
 */
bool record_stop(void);

/*
 * A backing over memory, its callbacks seen by the recorder. `boot` tells
 * boots of the machine apart, 1 and up.
 */
struct daxfs_backing record_backing(void *mem, size_t size, u32 boot);

#endif
