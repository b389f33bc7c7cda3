/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one logging call. Lines go to stderr as key=value or JSON; the journal,
 * where it is that, is told their levels.
 */
#ifndef DAXFS_LOG_H
#define DAXFS_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

/* `program` must outlive the process's logging. Thread-safe after this. */
void log_init(const char *program, enum log_level level,
	      enum log_format format);

/* At any time, from any thread. */
void log_set_level(enum log_level level);

/*
 * Lines, and whatever else goes to stderr, are appended to `path` from now on.
 * Before it is larger than `max` bytes (0: no limit) it becomes PATH.1, in place
 * of an earlier one, and a new file begins, as it does when somebody else has
 * moved or removed it; processes can share it. 0 or -errno.
 */
int log_to_file(const char *path, uint64_t max);

/* "error", "warn", "info", "debug"; "text", "json". False: no such name. */
bool log_level_parse(const char *s, enum log_level *out);
bool log_format_parse(const char *s, enum log_format *out);
const char *log_level_name(enum log_level level);
const char *log_format_name(enum log_format format);

/*
 * One line: time, level, program, msg, then pairs of (const char *key, const
 * char *value) up to a NULL key. Values are quoted as needed; a NULL value is
 * shown as empty. Keeps errno.
 *   log_event(LOG_WARN, "branch ended", "branch", name, NULL);
 */
__attribute__((sentinel)) void log_event(enum log_level level, const char *msg,
					 ...);

/*
 * The last error that was logged, cut to fit: when, in ns since the epoch, and
 * what. 0: there was none.
 */
#define LOG_LAST_MAX 1024
int64_t log_last_error(char text[LOG_LAST_MAX]);

/*
 * ---- Requests ---------------------------------------------------------------
 * The call that this thread works for, in all its lines as request=ID, and in
 * the calls that it makes to other daemons (driver/ipc).
 */

#define LOG_REQUEST_MAX 64 /* bytes of an id */

/* NULL: none. */
const char *log_request(void);
/* An id of a peer, borrowed for as long as it is set; NULL: none. False: it is
 * not one, 1 to LOG_REQUEST_MAX letters, digits, '-', '_', '.', ':'. */
bool log_request_set(const char *id);
/* One that no other call of this machine has, in the caller's buffer. */
void log_request_new(char id[LOG_REQUEST_MAX + 1]);

/* For values that are not strings: a small ring of per-thread buffers. */
__attribute__((format(printf, 1, 2))) const char *log_fmt(const char *fmt, ...);

/* The text of an errno, thread-safe; log_err(-rc) and log_err(errno) alike. */
const char *log_err(int err);

#endif
