/* SPDX-License-Identifier: Apache-2.0 */
#include "opts.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

#include "fault.h"
#include "util.h"

#ifndef DAXFS_VERSION_STRING
#define DAXFS_VERSION_STRING "unknown"
#endif

__attribute__((format(printf, 2, 3), noreturn)) static void
usage_error(const struct opt_usage *u, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", u->program);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nTry '%s --help'.\n", u->program);
	exit(DAXFS_EXIT_USAGE);
}

static bool is_end(const struct opt *o)
{
	return !o->long_name && !o->short_name;
}

static void print_option(char short_name, const char *long_name,
			 const char *arg, const char *help)
{
	char left[80];
	int n = 0;

	n += snprintf(left, sizeof(left), "  ");
	if (short_name)
		n += snprintf(left + n, sizeof(left) - (size_t)n, "-%c%s",
			      short_name, long_name ? ", " : "");
	else
		n += snprintf(left + n, sizeof(left) - (size_t)n, "    ");
	if (long_name)
		n += snprintf(left + n, sizeof(left) - (size_t)n, "--%s",
			      long_name);
	if (arg)
		snprintf(left + n, sizeof(left) - (size_t)n, " %s", arg);
	printf("%-28s %s\n", left, help);
}

__attribute__((noreturn)) static void finish_stdout(void)
{
	exit(fflush(stdout) == 0 ? DAXFS_EXIT_OK : DAXFS_EXIT_FAIL);
}

__attribute__((noreturn)) static void print_help(const struct opt_usage *u)
{
	printf("Usage: %s%s%s\n", u->program, str_empty(u->synopsis) ? "" : " ",
	       str_empty(u->synopsis) ? "" : u->synopsis);
	if (!str_empty(u->summary))
		printf("%s\n", u->summary);
	printf("\nOptions:\n");
	for (const struct opt *o = u->opts; o && !is_end(o); o++)
		print_option(o->short_name, o->long_name,
			     o->kind == OPT_FLAG ? NULL
			     : o->arg            ? o->arg
						 : "VALUE",
			     o->help);
	print_option(0, "help", NULL, "show this text");
	print_option(0, "version", NULL, "show the version");
	if (!str_empty(u->example))
		printf("\nExample:\n%s%s", u->example,
		       u->example[strlen(u->example) - 1] == '\n' ? "" : "\n");
	finish_stdout();
}

__attribute__((noreturn)) static void print_version(const struct opt_usage *u)
{
	printf("%.*s %s\n", (int)strcspn(u->program, " "), u->program,
	       DAXFS_VERSION_STRING);
	finish_stdout();
}

/* `shown` is the option as the user wrote it, for messages. */
static void set_value(const struct opt_usage *u, const struct opt *o,
		      const char *shown, const char *value)
{
	uint64_t n = 0;
	int rc = 0;

	switch (o->kind) {
	case OPT_FLAG:
		*(bool *)o->value = true;
		return;
	case OPT_STR:
		*(const char **)o->value = value;
		return;
	case OPT_SIZE:
		rc = parse_size(value, &n);
		if (rc == 0)
			*(uint64_t *)o->value = n;
		break;
	case OPT_UINT:
		rc = parse_size(value, &n);
		/* a suffix is for sizes only */
		if (rc == 0 &&
		    strspn(value, "0123456789xXabcdefABCDEF") != strlen(value))
			rc = -EINVAL;
		if (rc == 0 && n > UINT_MAX)
			rc = -ERANGE;
		if (rc == 0)
			*(unsigned *)o->value = (unsigned)n;
		break;
	}
	if (rc == -ERANGE)
		usage_error(u, "%s: '%s' is too large", shown, value);
	if (rc < 0)
		usage_error(u, "%s: '%s' is not a %s", shown, value,
			    o->kind == OPT_SIZE
				    ? "size (a number, or one with K, M, G or T)"
				    : "number");
}

struct args {
	int argc, next; /* the next one to look at */
	char **argv;
};

static const char *next_value(const struct opt_usage *u, struct args *a,
			      const char *shown)
{
	if (a->next >= a->argc)
		usage_error(u, "%s needs a value", shown);
	return a->argv[a->next++];
}

static void parse_long(const struct opt_usage *u, struct args *a,
		       const char *arg)
{
	size_t len = strcspn(arg + 2, "=");
	const char *value = arg[2 + len] == '=' ? arg + 3 + len : NULL;
	cleanup_free char *shown = strndup(arg, len + 2);

	if (!shown)
		usage_error(u, "out of memory");
	fault_option(arg);
	if (str_eq(shown, "--help") && !value)
		print_help(u);
	if (str_eq(shown, "--version") && !value)
		print_version(u);
	for (const struct opt *o = u->opts; o && !is_end(o); o++) {
		if (!o->long_name || !str_eq(o->long_name, shown + 2))
			continue;
		if (o->kind == OPT_FLAG && value)
			usage_error(u, "%s takes no value", shown);
		if (o->kind != OPT_FLAG && !value)
			value = next_value(u, a, shown);
		set_value(u, o, shown, value);
		return;
	}
	usage_error(u, "no such option: %s", shown);
}

static const struct opt *find_short(const struct opt_usage *u, char c)
{
	for (const struct opt *o = u->opts; o && !is_end(o); o++)
		if (o->short_name && o->short_name == c)
			return o;
	return NULL;
}

/* One argument of short options: "-w", "-wf", "-oFILE", "-wo FILE". */
static void parse_short(const struct opt_usage *u, struct args *a,
			const char *arg)
{
	for (const char *s = arg + 1; *s; s++) {
		char shown[3] = { '-', *s, '\0' };
		const struct opt *o = find_short(u, *s);

		if (!o && *s == 'h')
			print_help(u);
		if (!o)
			usage_error(u, "no such option: %s", shown);
		if (o->kind == OPT_FLAG) {
			set_value(u, o, shown, NULL);
			continue;
		}
		set_value(u, o, shown, s[1] ? s + 1 : next_value(u, a, shown));
		return;
	}
}

int opts_parse(const struct opt_usage *u, int argc, char **argv)
{
	struct args a = { argc, 1, argv };
	unsigned n = 0;
	bool only_args = false;

	while (a.next < argc) {
		char *arg = argv[a.next++];

		if (!only_args && str_eq(arg, "--"))
			only_args = true;
		else if (!only_args && strncmp(arg, "--", 2) == 0)
			parse_long(u, &a, arg);
		else if (!only_args && arg[0] == '-' && arg[1])
			parse_short(u, &a, arg);
		else
			argv[1 + n++] = arg;
	}
	if (n > u->max_args)
		usage_error(u, "unexpected argument '%s'",
			    argv[1 + u->max_args]);
	if (n < u->min_args)
		usage_error(u, "missing argument%s: expected %s",
			    u->min_args - n > 1 ? "s" : "",
			    str_empty(u->synopsis) ? "more" : u->synopsis);
	return (int)n;
}
