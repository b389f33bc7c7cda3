/* SPDX-License-Identifier: Apache-2.0 */
/* Why an operation failed, as the client is to be told. */
#ifndef DAXFS_FAILURE_H
#define DAXFS_FAILURE_H

enum failure_status {
	FAILURE_UNKNOWN,
	FAILURE_INVALID_ARGUMENT,
	FAILURE_NOT_FOUND,
	FAILURE_ALREADY_EXISTS,
	FAILURE_PRECONDITION,
	FAILURE_RESOURCE_EXHAUSTED,
	FAILURE_UNAVAILABLE,
};

struct failure {
	enum failure_status status;
	int err; /* a positive errno */
	char text[768];
};

/* Fills *f and returns -1, so that callers can "return failure_set(…)". */
__attribute__((format(printf, 4, 5))) int
failure_set(struct failure *f, enum failure_status status, int err,
	    const char *fmt, ...);

int failure_no_memory(struct failure *f);

/* The error's name in io.daxfs.Snapshots. */
const char *failure_name(enum failure_status status);

#endif
