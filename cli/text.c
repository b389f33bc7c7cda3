/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>

#include "cli.h"

bool text_utf8(void)
{
	static int known = -1;

	if (known < 0)
		known = setlocale(LC_CTYPE, "") &&
			str_eq(nl_langinfo(CODESET), "UTF-8");
	return known;
}

unsigned text_terminal(void)
{
	struct winsize ws;

	if (!isatty(STDOUT_FILENO))
		return 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) < 0 || !ws.ws_col)
		return 80;
	return ws.ws_col;
}

static void *no_memory(void)
{
	cli_error("daxfs", "out of memory");
	exit(DAXFS_EXIT_FAIL);
}

/* C0, DEL and, as two bytes, C1; a backslash would look like one of ours. */
static bool is_control(const unsigned char *s, size_t n)
{
	return n == 1 ? *s < 0x20 || *s == 0x7f || *s == '\\'
		      : n == 2 && s[0] == 0xc2 && s[1] < 0xa0;
}

char *text_escape(const char *s, size_t len)
{
	char *out = malloc(4 * len + 1), *o = out;

	if (!out)
		return no_memory();
	while (len) {
		size_t n = utf8_length(s, len);
		bool plain = n && !is_control((const unsigned char *)s, n);

		if (!n)
			n = 1;
		for (size_t i = 0; i < n; i++, s++, len--) {
			if (plain)
				*o++ = *s;
			else
				o += sprintf(o, "\\%03o", (unsigned char)*s);
		}
	}
	*o = '\0';
	return out;
}

static bool begins_character(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

static size_t count_characters(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += begins_character(*s);
	return n;
}

/* Where the n-th character begins. */
static const char *skip_characters(const char *s, size_t n)
{
	for (; *s; s++)
		if (begins_character(*s) && !n--)
			break;
	return s;
}

char *text_fit(const char *s, unsigned width, bool cut)
{
	cleanup_free char *e = text_escape(s, strlen(s));
	const char *dots = text_utf8() ? "\xe2\x80\xa6" : "~";
	size_t n = count_characters(e);
	size_t head = width / 2;
	char *out;

	if (cut && n > width && width > 2) {
		const char *tail = skip_characters(e, n - (width - 1 - head));

		out = str_printf("%.*s%s%s",
				 (int)(skip_characters(e, head) - e), e, dots,
				 tail);
	} else {
		out = str_printf("%s%*s", e, n < width ? (int)(width - n) : 0,
				 "");
	}
	return out ? out : no_memory();
}

void text_column(const char *s, unsigned width, bool cut)
{
	cleanup_free char *t = text_fit(s, width, cut);

	fputs(t, stdout);
}

const char *text_age(uint64_t ns, char out[24])
{
	time_t now = time(NULL), then = (time_t)(ns / 1000000000u);
	long long s = now > then ? now - then : 0;

	if (s < 120)
		snprintf(out, 24, "%llds", s);
	else if (s < 120 * 60)
		snprintf(out, 24, "%lldm", s / 60);
	else if (s < 48 * 3600)
		snprintf(out, 24, "%lldh", s / 3600);
	else
		snprintf(out, 24, "%lldd", s / 86400);
	return out;
}

const char *text_duration(uint64_t ns, char out[48])
{
	unsigned long long s = ns / 1000000000u;

	if (s < 60)
		snprintf(out, 48, "%llu s", s);
	else if (s < 3600)
		snprintf(out, 48, "%llu min %llu s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(out, 48, "%llu h %llu min", s / 3600, s / 60 % 60);
	else
		snprintf(out, 48, "%llu day%s %llu h", s / 86400,
			 s / 86400 == 1 ? "" : "s", s / 3600 % 24);
	return out;
}
