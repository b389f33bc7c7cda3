/* SPDX-License-Identifier: Apache-2.0 */
#include "status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "driver/common/util.h"

int grpc_fail(struct grpc_result *r, enum grpc_status status, const char *fmt,
	      ...)
{
	va_list ap;

	r->status = status;
	va_start(ap, fmt);
	vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
	return -1;
}

static const char *const names[] = {
	[GRPC_OK] = "OK",
	[GRPC_CANCELLED] = "Canceled",
	[GRPC_UNKNOWN] = "Unknown",
	[GRPC_INVALID_ARGUMENT] = "InvalidArgument",
	[GRPC_DEADLINE_EXCEEDED] = "DeadlineExceeded",
	[GRPC_NOT_FOUND] = "NotFound",
	[GRPC_ALREADY_EXISTS] = "AlreadyExists",
	[GRPC_PERMISSION_DENIED] = "PermissionDenied",
	[GRPC_RESOURCE_EXHAUSTED] = "ResourceExhausted",
	[GRPC_FAILED_PRECONDITION] = "FailedPrecondition",
	[GRPC_ABORTED] = "Aborted",
	[GRPC_OUT_OF_RANGE] = "OutOfRange",
	[GRPC_UNIMPLEMENTED] = "Unimplemented",
	[GRPC_INTERNAL] = "Internal",
	[GRPC_UNAVAILABLE] = "Unavailable",
	[GRPC_DATA_LOSS] = "DataLoss",
	[GRPC_UNAUTHENTICATED] = "Unauthenticated",
};

const char *grpc_status_name(enum grpc_status status)
{
	return (unsigned)status < ARRAY_SIZE(names) ? names[status] : "Unknown";
}

enum grpc_status grpc_status_of_error(const char *name)
{
	static const struct {
		const char *name;
		enum grpc_status status;
	} varlink[] = {
		{ "InvalidParameter", GRPC_INVALID_ARGUMENT },
		{ "InterfaceNotFound", GRPC_UNIMPLEMENTED },
		{ "MethodNotFound", GRPC_UNIMPLEMENTED },
		{ "MethodNotImplemented", GRPC_UNIMPLEMENTED },
		{ "PermissionDenied", GRPC_PERMISSION_DENIED },
	};
	const char *dot = strrchr(name, '.');
	const char *last = dot ? dot + 1 : name;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(varlink); i++)
		if (str_eq(last, varlink[i].name))
			return varlink[i].status;
	/* An error named "OK" would be a success without an answer. */
	for (i = GRPC_OK + 1; i < ARRAY_SIZE(names); i++)
		if (str_eq(last, names[i]))
			return i;
	return GRPC_UNKNOWN;
}

enum grpc_status grpc_status_of_errno(int err)
{
	switch (err < 0 ? -err : err) {
	case ETIMEDOUT:
		return GRPC_DEADLINE_EXCEEDED;
	case EMSGSIZE:
	case ENOMEM:
	case ENOBUFS:
		return GRPC_RESOURCE_EXHAUSTED;
	case EPROTO:
	case EBADMSG:
	case EINVAL:
		return GRPC_INTERNAL;
	case ECANCELED:
		return GRPC_CANCELLED;
	default: /* refused, absent, reset, not permitted, out of descriptors */
		return GRPC_UNAVAILABLE;
	}
}

size_t grpc_percent_encode(const char *in, char *out, size_t size)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n = 0, left = strlen(in);

	while (*in) {
		size_t len = utf8_length(in, left), i;
		const char *from = len ? in : "\xef\xbf\xbd";
		size_t bytes = len ? len : 3;
		bool plain =
			bytes == 1 && *in >= 0x20 && *in <= 0x7e && *in != '%';

		if (n + (plain ? 1 : 3 * bytes) >= size)
			break;
		for (i = 0; i < bytes && !plain; i++) {
			out[n++] = '%';
			out[n++] = hex[(unsigned char)from[i] >> 4];
			out[n++] = hex[from[i] & 15];
		}
		if (plain)
			out[n++] = *in;
		in += len ? len : 1;
		left -= len ? len : 1;
	}
	out[n] = '\0';
	return n;
}

int grpc_timeout_parse(const char *value, size_t len, int64_t *ms)
{
	int64_t v = 0;
	size_t i;

	if (len < 2 || len > 9)
		return -EINVAL;
	for (i = 0; i + 1 < len; i++) {
		if (value[i] < '0' || value[i] > '9')
			return -EINVAL;
		v = v * 10 + (value[i] - '0');
	}
	switch (value[len - 1]) {
	case 'H':
		*ms = v * 3600 * 1000;
		return 0;
	case 'M':
		*ms = v * 60 * 1000;
		return 0;
	case 'S':
		*ms = v * 1000;
		return 0;
	case 'm':
		*ms = v;
		return 0;
	case 'u':
		*ms = (v + 999) / 1000;
		return 0;
	case 'n':
		*ms = (v + 999999) / 1000000;
		return 0;
	default:
		return -EINVAL;
	}
}
