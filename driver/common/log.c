/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

/* One write(2) a line, so that lines of several processes do not mix. */
#define LINE_MAX_BYTES 4096

#define RING_SLOTS 8
#define RING_BYTES 512

static struct {
	const char *program;
	enum log_level level;
	enum log_format format;
} conf = { "daxfs", LOG_INFO, LOG_TEXT };

static const char *const level_names[] = { "error", "warn", "info", "debug" };
static const char *const format_names[] = { "text", "json" };

struct line {
	char text[LINE_MAX_BYTES];
	size_t len;
	bool full;
};

void log_init(const char *program, enum log_level level, enum log_format format)
{
	conf.program = program;
	conf.level = level;
	conf.format = format;
}

bool log_level_parse(const char *s, enum log_level *out)
{
	for (unsigned i = 0; i <= LOG_DEBUG; i++)
		if (strcmp(s, level_names[i]) == 0) {
			*out = (enum log_level)i;
			return true;
		}
	return false;
}

bool log_format_parse(const char *s, enum log_format *out)
{
	for (unsigned i = 0; i <= LOG_JSON; i++)
		if (strcmp(s, format_names[i]) == 0) {
			*out = (enum log_format)i;
			return true;
		}
	return false;
}

/* Room is kept for the end of a cut line: quote, brace, newline. */
static void put(struct line *l, const char *s, size_t n)
{
	if (l->full || n > sizeof(l->text) - 8 - l->len) {
		l->full = true;
		return;
	}
	memcpy(l->text + l->len, s, n);
	l->len += n;
}

static void puts_line(struct line *l, const char *s)
{
	put(l, s, strlen(s));
}

/* Also on a full line: put() kept the room. */
static void put_quote(struct line *l)
{
	put(l, "\"", 1);
	if (l->full)
		l->text[l->len++] = '"';
}

/* As a JSON string; a text line quotes in the same way. */
static void put_quoted(struct line *l, const char *s)
{
	put_quote(l);
	while (*s && !l->full) {
		unsigned char c = (unsigned char)*s;
		size_t n = utf8_length(s, strnlen(s, 4));
		char esc[8];

		if (n == 0) {
			puts_line(l, "\xef\xbf\xbd");
			n = 1;
		} else if (c == '"' || c == '\\') {
			esc[0] = '\\';
			esc[1] = *s;
			put(l, esc, 2);
		} else if (c == '\n') {
			puts_line(l, "\\n");
		} else if (c < 0x20 || c == 0x7f) {
			snprintf(esc, sizeof(esc), "\\u%04x", c);
			puts_line(l, esc);
		} else {
			put(l, s, n);
		}
		s += n;
	}
	put_quote(l);
}

static bool is_plain(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if (*s <= ' ' || *s >= 0x7f || *s == '"' || *s == '=' ||
		    *s == '\\')
			return false;
	return true;
}

/*
 * A key that does not fit is left out with its value; a value is cut and
 * closed, so that JSON stays JSON.
 */
static void put_pair(struct line *l, const char *key, const char *value)
{
	bool json = conf.format == LOG_JSON;
	size_t before = l->len;

	if (l->full)
		return;
	if (json) {
		put(l, l->len ? "," : "{", 1);
		put_quoted(l, key);
	} else {
		put(l, " ", l->len ? 1 : 0);
		puts_line(l, key);
	}
	put(l, json ? ":" : "=", 1);
	if (l->full) {
		l->len = before;
		return;
	}
	if (!value)
		value = "";
	if (!json && is_plain(value))
		put(l, value, strnlen(value, sizeof(l->text)));
	else
		put_quoted(l, value);
}

static void put_time(struct line *l)
{
	char day[32], text[64];
	struct timespec ts;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%06uZ", day,
		 (unsigned)(ts.tv_nsec / 1000));
	put_pair(l, "time", text);
}

static void write_line(const struct line *l)
{
	size_t done = 0;

	while (done < l->len) {
		ssize_t n = write(STDERR_FILENO, l->text + done, l->len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		done += (size_t)n;
	}
}

void log_event(enum log_level level, const char *msg, ...)
{
	int saved = errno;
	struct line l;
	const char *key;
	va_list ap;

	if (level > conf.level)
		return;
	l.len = 0;
	l.full = false;
	put_time(&l);
	put_pair(&l, "level", level_names[level]);
	put_pair(&l, "program", conf.program);
	put_pair(&l, "msg", msg);
	va_start(ap, msg);
	while ((key = va_arg(ap, const char *)) != NULL)
		put_pair(&l, key, va_arg(ap, const char *));
	va_end(ap);
	if (conf.format == LOG_JSON)
		l.text[l.len++] = '}';
	l.text[l.len++] = '\n';
	write_line(&l);
	errno = saved;
}

static char *ring_slot(void)
{
	static __thread char ring[RING_SLOTS][RING_BYTES];
	static __thread unsigned next;

	return ring[next++ % RING_SLOTS];
}

const char *log_fmt(const char *fmt, ...)
{
	int saved = errno;
	char *s = ring_slot();
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s, RING_BYTES, fmt, ap);
	va_end(ap);
	errno = saved;
	return s;
}

const char *log_err(int err)
{
	int saved = errno;
	char *s = ring_slot();
	const char *text = strerror_r(err < 0 ? -err : err, s, RING_BYTES);

	errno = saved;
	return text;
}
