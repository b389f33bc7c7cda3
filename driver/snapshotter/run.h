/* SPDX-License-Identifier: Apache-2.0 */
/* Running the programs beside our own. */
#ifndef DAXFS_RUN_H
#define DAXFS_RUN_H

#include <stddef.h>

/*
 * Run argv[0], found beside our own executable or else in PATH, in a session of
 * its own, and wait for it to exit 0, for so many seconds: then it is killed.
 * Otherwise -1, and `text` says why: what the program wrote to stderr last, or
 * what went wrong here.
 */
int run_program(char *const argv[], unsigned seconds, char *text, size_t size);

#endif
