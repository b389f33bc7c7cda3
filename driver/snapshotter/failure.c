/* SPDX-License-Identifier: Apache-2.0 */
#include "failure.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int failure_set(struct failure *f, enum failure_status status, int err,
		const char *fmt, ...)
{
	va_list ap;

	f->status = status;
	f->err = err;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
	return -1;
}

int failure_no_memory(struct failure *f)
{
	return failure_set(f, FAILURE_RESOURCE_EXHAUSTED, ENOMEM,
			   "out of memory");
}

const char *failure_name(enum failure_status status)
{
	switch (status) {
	case FAILURE_INVALID_ARGUMENT:
		return "InvalidArgument";
	case FAILURE_NOT_FOUND:
		return "NotFound";
	case FAILURE_ALREADY_EXISTS:
		return "AlreadyExists";
	case FAILURE_PRECONDITION:
		return "FailedPrecondition";
	case FAILURE_RESOURCE_EXHAUSTED:
		return "ResourceExhausted";
	case FAILURE_UNAVAILABLE:
		return "Unavailable";
	case FAILURE_UNKNOWN:
		break;
	}
	return "Unknown";
}
