/* SPDX-License-Identifier: Apache-2.0 */
/* The one logging call. Lines go to stderr as key=value or JSON. */
#ifndef DAXFS_LOG_H
#define DAXFS_LOG_H

#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

/* `program` must outlive the process's logging. Thread-safe after this. */
void log_init(const char *program, enum log_level level,
	      enum log_format format);

/* "error", "warn", "info", "debug"; "text", "json". False: no such name. */
bool log_level_parse(const char *s, enum log_level *out);
bool log_format_parse(const char *s, enum log_format *out);

/*
 * One line: time, level, program, msg, then pairs of (const char *key, const
 * char *value) up to a NULL key. Values are quoted as needed; a NULL value is
 * shown as empty. Keeps errno.
 *   log_event(LOG_WARN, "branch ended", "branch", name, NULL);
 */
__attribute__((sentinel)) void log_event(enum log_level level, const char *msg,
					 ...);

/* For values that are not strings: a small ring of per-thread buffers. */
__attribute__((format(printf, 1, 2))) const char *log_fmt(const char *fmt, ...);

/* The text of an errno, thread-safe; log_err(-rc) and log_err(errno) alike. */
const char *log_err(int err);

#endif
