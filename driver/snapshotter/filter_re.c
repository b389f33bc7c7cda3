/* SPDX-License-Identifier: Apache-2.0 */
#include "filter_re.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARENS_MAX 100
#define REPEAT_MAX 1000 /* RE2's */

/* Behind the escape at p, which begins with a backslash; NULL: RE2 has none. */
static const char *skip_escape(const char *p)
{
	const char *end;

	p++;
	if (!*p)
		return p; /* PCRE2 says what is missing */
	if (*p == 'Q') {
		end = strstr(p, "\\E");
		return end ? end + 2 : p + strlen(p);
	}
	if ((unsigned char)*p >= 0x80)
		return NULL;
	if (*p == 'x' && p[1] != '{' &&
	    !(isxdigit((unsigned char)p[1]) && isxdigit((unsigned char)p[2])))
		return NULL;
	if (*p >= '1' && *p <= '9' && !(*p < '8' && p[1] >= '0' && p[1] <= '7'))
		return NULL;
	if (isalpha((unsigned char)*p) && !strchr("AEBDPSWabdfnprstvwxz", *p))
		return NULL;
	return p + 1;
}

/* Behind the rest of [:name:] at p; NULL: there is none of that form. */
static const char *skip_name(const char *p)
{
	p += strspn(p, "^abcdefghijklmnopqrstuvwxyz");
	return strncmp(p, ":]", 2) == 0 ? p + 2 : NULL;
}

/* Behind the class at p; NULL: what is in it RE2 does not have. */
static const char *skip_class(const char *p)
{
	p++;
	if (*p == '^')
		p++;
	if (*p == ']')
		p++;
	while (p && *p && *p != ']') {
		if (p[0] == '[' && p[1] == ':' && strstr(p + 2, ":]"))
			p = skip_name(p + 2);
		else
			p = *p == '\\' ? skip_escape(p) : p + 1;
	}
	return p && *p ? p + 1 : p;
}

/* Behind a repetition at p with what makes it lazy; p: there is none. */
static const char *skip_repeat(const char *p, bool *big)
{
	char *end;
	unsigned long n = 0, m = 0;

	if (strchr("*+?", *p) && *p) {
		p++;
	} else if (*p == '{' && isdigit((unsigned char)p[1])) {
		n = strtoul(p + 1, &end, 10);
		if (*end == ',' && isdigit((unsigned char)end[1]))
			m = strtoul(end + 1, &end, 10);
		else if (*end == ',')
			end++;
		if (*end != '}')
			return p;
		*big |= n > REPEAT_MAX || m > REPEAT_MAX;
		p = end + 1;
	} else {
		return p;
	}
	return *p == '?' ? p + 1 : p;
}

/* Of the groups that begin with "(?": names, flags, and without a number. */
static bool is_group(const char *p)
{
	if (p[0] == 'P')
		return p[1] == '<';
	p += strspn(p, "imsU-");
	return *p == ':' || *p == ')';
}

/* Why RE2 would not take it; NULL: as far as we can tell it would. */
static const char *unlike_re2(const char *p)
{
	bool big = false;

	while (*p) {
		const char *at = p, *end;

		if (p[0] == '(' && p[1] == '*')
			return "'(*' is not supported";
		if (p[0] == '(' && p[1] == '?' && !is_group(p + 2))
			return "look-around and special groups are not supported";
		if (*p == '\\')
			p = skip_escape(p);
		else
			p = *p == '[' ? skip_class(p) : p + 1;
		if (!p)
			return "an escape or a class that is not supported";
		if (strchr("|(*+?", *at)) /* PCRE2's to refuse, or a flag's */
			continue;
		end = skip_repeat(p, &big);
		if (end > p && skip_repeat(end, &big) > end)
			return "a repetition is repeated";
		if (big)
			return "repeated more than 1000 times";
		p = end;
	}
	return NULL;
}

int re_compile(const char *text, pcre2_code **out, char *why, size_t size)
{
	pcre2_compile_context *ctx = pcre2_compile_context_create(NULL);
	const char *unlike = unlike_re2(text);
	PCRE2_UCHAR message[128];
	PCRE2_SIZE at;
	int err;

	if (!ctx || unlike) {
		pcre2_compile_context_free(ctx);
		snprintf(why, size, "%s", unlike ? unlike : "out of memory");
		return -1;
	}
	pcre2_set_parens_nest_limit(ctx, PARENS_MAX);
	*out = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
			     PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C |
				     PCRE2_DOLLAR_ENDONLY,
			     &err, &at, ctx);
	pcre2_compile_context_free(ctx);
	if (*out)
		return 0;
	pcre2_get_error_message(err, message, sizeof(message));
	snprintf(why, size, "%s at %zu", (const char *)message, at);
	return -1;
}
