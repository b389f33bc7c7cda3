/* SPDX-License-Identifier: Apache-2.0 */
/* The tests of one recorded run: cmocka tests whose state is a struct run. */
#ifndef CRASH_CUTS_H
#define CRASH_CUTS_H

#include "check.h"

/* What one image is made from. */
struct choice {
	struct cut cut;
	u64 seed;
};

/*
 * The seed of a crash that is a kill. The next process runs in the same boot,
 * with what was not synced still at risk.
 */
#define KILLED UINT64_MAX

/* What the command line asks for; else a sample of all. */
struct asked {
	const char *scenario, *test;
	bool cut, seed; /* given; then: */
	struct choice first, second;
};
extern struct asked asked;

/* Around the tests. `long_run`: every cut. */
void cuts_begin(bool long_run);
void cuts_end(void);

void test_kill(void **state);
void test_power(void **state);
/* Skips where nothing can be recorded. */
void test_again(void **state);
/* The image that was asked for. */
void test_only(void **state);

#endif
