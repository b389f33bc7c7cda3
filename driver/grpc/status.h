/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC status codes and how failures become them. */
#ifndef DAXFS_GRPC_STATUS_H
#define DAXFS_GRPC_STATUS_H

#include <stddef.h>
#include <stdint.h>

/* Numbers as on the wire (grpc/doc/statuscodes.md). */
enum grpc_status {
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_NOT_FOUND = 5,
	GRPC_ALREADY_EXISTS = 6,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_ABORTED = 10,
	GRPC_OUT_OF_RANGE = 11,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_DATA_LOSS = 15,
	GRPC_UNAUTHENTICATED = 16,
};

/* What a call ends with. `text` is for a person, empty on GRPC_OK. */
struct grpc_result {
	enum grpc_status status;
	char text[1024];
};

/* Set both; returns -1 so that a caller can "return grpc_fail(…)". */
__attribute__((format(printf, 3, 4))) int
grpc_fail(struct grpc_result *r, enum grpc_status status, const char *fmt, ...);

/* "NotFound"; never NULL. */
const char *grpc_status_name(enum grpc_status status);

/*
 * The status for a Varlink error: by the last part of its name, whether ours
 * ("io.daxfs.Snapshots.NotFound") or Varlink's own. Unknown names: GRPC_UNKNOWN.
 */
enum grpc_status grpc_status_of_error(const char *name);

/* The status for a failed transport to the snapshotter; takes errno or -errno. */
enum grpc_status grpc_status_of_errno(int err);

/*
 * grpc-message: bytes outside 0x20..0x7e and '%' become %XX, what is not UTF-8
 * (a text that was cut) U+FFFD. Writes at most size - 1 characters, whole
 * characters of the text only, and a NUL; returns the length.
 */
size_t grpc_percent_encode(const char *in, char *out, size_t size);

/*
 * grpc-timeout: one to eight digits and a unit (H M S m u n), to milliseconds,
 * rounded up. 0, or -EINVAL.
 */
int grpc_timeout_parse(const char *value, size_t len, int64_t *ms);

#endif
