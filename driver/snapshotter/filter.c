/* SPDX-License-Identifier: Apache-2.0 */
#include "filter.h"

#include <ctype.h>
#include <errno.h>
#include <time.h>

#include "../common/util.h"
#include "filter_re.h"

#define FILTERS_MAX 1024
#define TEXT_MAX (64u << 10)
#define MATCH_STEPS 100000
#define MATCH_DEPTH 1000
#define MATCH_HEAP_KIB 4096
#define MATCH_CPU_MS 5000 /* in all, in the one thread that uses a filter */
#define MATCHES_TIMED 32  /* of so many one is timed */

enum operator{ OP_PRESENT, OP_EQUAL, OP_DIFFERS, OP_MATCHES };

struct selector {
	struct selector *next;
	char *path; /* fields joined by dots */
	bool label; /* path is the part after "labels." */
	enum operator op;
	char *value;
	pcre2_code *re;
};

struct filter {
	struct selector **any; /* each a list that must match as a whole */
	unsigned n;
	pcre2_match_context *limits;
	pcre2_match_data *match;
	uint64_t matches; /* of regular expressions, so far */
	int64_t begin_ms; /* by the thread's own clock */
};

/* ---- Tokens -------------------------------------------------------------- */

struct parser {
	const char *text; /* of the whole expression, for messages */
	const char *p;
	struct failure *f;
};

static int bad(struct parser *ps, const char *what)
{
	return failure_set(ps->f, FAILURE_INVALID_ARGUMENT, EINVAL,
			   "filter '%.200s': %s at byte %zu", ps->text, what,
			   (size_t)(ps->p - ps->text));
}

/* Bytes of the white space at p, as Unicode has it; 0: there is none. */
static size_t space_at(const char *p)
{
	static const char *const wide[] = {
		"\xc2\x85", "\u00a0", "\u1680", "\u2000", "\u2001",
		"\u2002",   "\u2003", "\u2004", "\u2005", "\u2006",
		"\u2007",   "\u2008", "\u2009", "\u200a", "\u2028",
		"\u2029",   "\u202f", "\u205f", "\u3000",
	};

	if (*p && strchr(" \t\n\v\f\r", *p))
		return 1;
	for (size_t i = 0; (unsigned char)*p >= 0x80 && i < ARRAY_SIZE(wide);
	     i++)
		if (strncmp(p, wide[i], strlen(wide[i])) == 0)
			return strlen(wide[i]);
	return 0;
}

static void skip_space(struct parser *ps)
{
	size_t n;

	while ((n = space_at(ps->p)))
		ps->p += n;
}

static bool is_field_char(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c >= '0' && c <= '9') || c == '_';
}

/* `n` digits of a base that is 8 or 16; -1: not so many. */
static long read_digits(struct parser *ps, int n, int base)
{
	unsigned long v = 0;

	for (; n > 0; n--, ps->p++) {
		int d = hex_digit(*ps->p);

		if (d < 0 || d >= base)
			return -1;
		v = v * (unsigned)base + (unsigned)d;
	}
	return v > 0x7fffffff ? -1 : (long)v;
}

static char *put_utf8(char *o, long c)
{
	if (c < 0x80) {
		*o++ = (char)c;
	} else if (c < 0x800) {
		*o++ = (char)(0xc0 | c >> 6);
		*o++ = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*o++ = (char)(0xe0 | c >> 12);
		*o++ = (char)(0x80 | (c >> 6 & 0x3f));
		*o++ = (char)(0x80 | (c & 0x3f));
	} else {
		*o++ = (char)(0xf0 | c >> 18);
		*o++ = (char)(0x80 | (c >> 12 & 0x3f));
		*o++ = (char)(0x80 | (c >> 6 & 0x3f));
		*o++ = (char)(0x80 | (c & 0x3f));
	}
	return o;
}

/*
 * After a backslash, as in a Go string, in all quotes: /\\d/ is a digit.
 */
static int read_escape(struct parser *ps, char quote, char **out)
{
	static const char names[] = "abfnrtv\\";
	static const char values[] = "\a\b\f\n\r\t\v\\";
	char c = *ps->p;
	const char *at = c ? strchr(names, c) : NULL;
	long v;

	if (at || (c && c == quote)) {
		*(*out)++ = at ? values[at - names] : quote;
		ps->p++;
		return 0;
	}
	if (c >= '0' && c <= '7') {
		v = read_digits(ps, 3, 8);
		if (v <= 0 || v > 255)
			return bad(ps, "bad octal escape");
		*(*out)++ = (char)v;
		return 0;
	}
	if (c == 'x' || c == 'u' || c == 'U') {
		ps->p++;
		v = read_digits(ps, c == 'x' ? 2 : c == 'u' ? 4 : 8, 16);
		if (v <= 0 || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
			return bad(ps, "bad hexadecimal escape");
		if (c == 'x')
			*(*out)++ = (char)v;
		else
			*out = put_utf8(*out, v);
		return 0;
	}
	return bad(ps, "unknown escape");
}

/* A quoted text, unescaped. No escape grows, so the input bounds the output. */
static int read_quoted(struct parser *ps, char **out)
{
	char quote = *ps->p++;
	cleanup_free char *buf = malloc(strlen(ps->p) + 1);
	char *o = buf;

	if (!buf)
		return failure_no_memory(ps->f);
	while (*ps->p != quote) {
		if (!*ps->p || *ps->p == '\n')
			return bad(ps, "quote is not closed");
		if (*ps->p != '\\') {
			*o++ = *ps->p++;
			continue;
		}
		ps->p++;
		if (read_escape(ps, quote, &o) < 0)
			return -1;
	}
	ps->p++;
	*o = '\0';
	*out = steal_ptr(&buf);
	return 0;
}

static int read_plain(struct parser *ps, size_t len, char **out)
{
	*out = strndup(ps->p, len);
	ps->p += len;
	return *out ? 0 : failure_no_memory(ps->f);
}

/* ---- Grammar ------------------------------------------------------------- */

static int parse_field(struct parser *ps, char **out)
{
	size_t len = 0;

	skip_space(ps);
	if (*ps->p == '"')
		return read_quoted(ps, out);
	while (is_field_char(ps->p[len]))
		len++;
	if (!len)
		return bad(ps, "a field name is expected");
	return read_plain(ps, len, out);
}

/*
 * Joins the fields after the first to the label's key. Other fields have none:
 * containerd looks at the first only.
 */
static int parse_path(struct parser *ps, struct selector *s)
{
	if (parse_field(ps, &s->path) < 0)
		return -1;
	s->label = str_eq(s->path, "labels");
	if (s->label)
		*s->path = '\0';
	for (unsigned n = 1; *ps->p == '.'; n++) {
		cleanup_free char *field = NULL;
		char *joined;

		ps->p++;
		if (parse_field(ps, &field) < 0)
			return -1;
		if (!s->label)
			continue;
		joined =
			str_printf("%s%s%s", s->path, n == 1 ? "" : ".", field);
		if (!joined)
			return failure_no_memory(ps->f);
		free(s->path);
		s->path = joined;
	}
	return 0;
}

static int parse_operator(struct parser *ps, enum operator* op)
{
	size_t len = strspn(ps->p, "=!~");

	if (len == 2 && ps->p[1] == '=') {
		*op = *ps->p == '='   ? OP_EQUAL
		      : *ps->p == '!' ? OP_DIFFERS
				      : OP_MATCHES;
		ps->p += 2;
		return 0;
	}
	return bad(ps, "one of == != ~= is expected");
}

static int parse_value(struct parser *ps, struct selector *s)
{
	size_t len = 0;

	skip_space(ps);
	if (*ps->p == '"' ||
	    (s->op == OP_MATCHES && *ps->p && strchr("/|", *ps->p)))
		return read_quoted(ps, &s->value);
	while (ps->p[len] && ps->p[len] != ',' && !space_at(ps->p + len) &&
	       !iscntrl((unsigned char)ps->p[len]))
		len++;
	if (!len || strchr("/|.=!~", *ps->p))
		return bad(ps, "a value is expected");
	return read_plain(ps, len, &s->value);
}

static int compile(struct parser *ps, struct selector *s)
{
	char why[192];

	if (re_compile(s->value, &s->re, why, sizeof(why)) == 0)
		return 0;
	return failure_set(ps->f, FAILURE_INVALID_ARGUMENT, EINVAL,
			   "filter '%.200s': regular expression: %s", ps->text,
			   why);
}

static int parse_selector(struct parser *ps, struct selector *s)
{
	if (parse_path(ps, s) < 0)
		return -1;
	if (!*ps->p || *ps->p == ',')
		return 0;
	skip_space(ps);
	if (parse_operator(ps, &s->op) < 0 || parse_value(ps, s) < 0)
		return -1;
	if (*ps->p && *ps->p != ',')
		return bad(ps, "a comma or the end is expected");
	return s->op == OP_MATCHES ? compile(ps, s) : 0;
}

static int parse_expression(struct parser *ps, struct selector **list)
{
	if (strlen(ps->text) > TEXT_MAX)
		return failure_set(ps->f, FAILURE_INVALID_ARGUMENT, E2BIG,
				   "filter is longer than %u bytes", TEXT_MAX);
	if (!*ps->text)
		return 0;
	for (;;) {
		*list = calloc(1, sizeof(**list));
		if (!*list)
			return failure_no_memory(ps->f);
		if (parse_selector(ps, *list) < 0)
			return -1;
		if (!*ps->p)
			return 0;
		ps->p++;
		list = &(*list)->next;
	}
}

int filter_parse(const char *const *texts, unsigned n, struct filter **out,
		 struct failure *f)
{
	struct filter *filter;

	if (n > FILTERS_MAX)
		return failure_set(f, FAILURE_INVALID_ARGUMENT, E2BIG,
				   "more than %u filters", FILTERS_MAX);
	filter = calloc(1, sizeof(*filter));
	if (!filter)
		return failure_no_memory(f);
	filter->any = calloc(n + 1, sizeof(*filter->any));
	filter->match = pcre2_match_data_create(1, NULL);
	filter->limits = pcre2_match_context_create(NULL);
	if (!filter->any || !filter->match || !filter->limits) {
		filter_free(filter);
		return failure_no_memory(f);
	}
	pcre2_set_match_limit(filter->limits, MATCH_STEPS);
	pcre2_set_depth_limit(filter->limits, MATCH_DEPTH);
	pcre2_set_heap_limit(filter->limits, MATCH_HEAP_KIB);
	for (; filter->n < n; filter->n++) {
		struct parser ps = { texts[filter->n], texts[filter->n], f };

		if (parse_expression(&ps, &filter->any[filter->n]) < 0) {
			filter->n++; /* what there is of it is freed too */
			filter_free(filter);
			return -1;
		}
	}
	*out = filter;
	return 0;
}

void filter_free(struct filter *filter)
{
	if (!filter)
		return;
	for (unsigned i = 0; i < filter->n; i++) {
		struct selector *s = filter->any[i];

		while (s) {
			struct selector *next = s->next;

			free(s->path);
			free(s->value);
			pcre2_code_free(s->re);
			free(s);
			s = next;
		}
	}
	free(filter->any);
	pcre2_match_data_free(filter->match);
	pcre2_match_context_free(filter->limits);
	free(filter);
}

/* ---- Matching ------------------------------------------------------------ */

/* NULL: absent. */
static const char *field_value(const struct selector *s,
			       const struct filter_subject *subject)
{
	if (s->label)
		return subject->label(subject->arg, s->path);
	if (str_eq(s->path, "name"))
		return subject->name;
	if (str_eq(s->path, "parent"))
		return subject->parent;
	return str_eq(s->path, "kind") ? subject->kind : NULL;
}

static int64_t cpu_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int too_slow(const struct selector *s, const char *why,
		    struct failure *f)
{
	return failure_set(f, FAILURE_INVALID_ARGUMENT, E2BIG,
			   "filter: the regular expression '%.200s' takes too "
			   "long: %s; write it without nested repetitions",
			   s->value, why);
}

/* The clock is a system call, and most matches are short. */
static int check_time(struct filter *filter, const struct selector *s,
		      struct failure *f)
{
	if (filter->matches++ % MATCHES_TIMED)
		return 0;
	if (filter->matches == 1)
		filter->begin_ms = cpu_ms();
	return cpu_ms() - filter->begin_ms <= MATCH_CPU_MS
		       ? 0
		       : too_slow(s, "all snapshots together", f);
}

/* What cannot be told within the limits is no answer. */
static int matches(struct filter *filter, const struct selector *s,
		   const char *value, struct failure *f)
{
	int rc;

	if (check_time(filter, s, f) < 0)
		return -1;
	rc = pcre2_match(s->re, (PCRE2_SPTR)value, strlen(value), 0, 0,
			 filter->match, filter->limits);
	if (rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT ||
	    rc == PCRE2_ERROR_HEAPLIMIT)
		return too_slow(s, "one snapshot alone", f);
	return rc >= 0;
}

static int selector_match(struct filter *filter, const struct selector *s,
			  const struct filter_subject *subject,
			  struct failure *f)
{
	const char *value = field_value(s, subject);

	switch (s->op) {
	case OP_PRESENT:
		return value != NULL;
	case OP_EQUAL:
		return value && str_eq(value, s->value);
	case OP_DIFFERS:
		return !str_eq(value ? value : "", s->value);
	case OP_MATCHES:
		return matches(filter, s, value ? value : "", f);
	}
	return 0;
}

int filter_match(struct filter *filter, const struct filter_subject *s,
		 struct failure *f)
{
	for (unsigned i = 0; i < filter->n; i++) {
		const struct selector *sel = filter->any[i];
		int rc = 1;

		while (sel && (rc = selector_match(filter, sel, s, f)) > 0)
			sel = sel->next;
		if (rc)
			return rc;
	}
	return filter->n == 0;
}
