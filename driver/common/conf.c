/* SPDX-License-Identifier: Apache-2.0 */
#include "conf.h"

#include <ini.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

#include "log.h"
#include "opts.h"
#include "util.h"

struct load {
	const struct conf_key *keys;
	const char *const *others;
	FILE *file;
	int line;
	int bad_line; /* where the first error was, 0: none */
	bool cut;     /* the line read last has no end yet */
	char reason[256];
};

__attribute__((format(printf, 2, 3))) static void reject(struct load *l,
							 const char *fmt, ...)
{
	va_list ap;

	if (l->bad_line)
		return;
	l->bad_line = l->line;
	va_start(ap, fmt);
	vsnprintf(l->reason, sizeof(l->reason), fmt, ap);
	va_end(ap);
}

static bool other_section(const struct load *l, const char *section)
{
	for (unsigned i = 0; l->others && l->others[i]; i++)
		if (str_eq(l->others[i], section))
			return true;
	return false;
}

static bool known_section(const struct load *l, const char *section)
{
	for (const struct conf_key *k = l->keys; k->key; k++)
		if (str_eq(k->section, section))
			return true;
	return other_section(l, section);
}

/* libinih says nothing of a section that has no keys. */
static void check_section(struct load *l, const char *line)
{
	cleanup_free char *name = NULL;
	const char *end = strchr(line, ']');

	if (line[0] != '[' || !end)
		return;
	name = strndup(line + 1, (size_t)(end - line - 1));
	if (!name)
		reject(l, "out of memory");
	else if (!known_section(l, name))
		reject(l, "unknown section [%.50s]", name);
}

/*
 * libinih's reader: counts lines, and sees those that its buffer cuts. It would
 * take an indented line for more of the value before.
 */
static char *read_line(char *buf, int size, void *arg)
{
	struct load *l = arg;
	size_t len;

	bool starts = !l->cut;

	if (starts)
		l->line++;
	if (!fgets(buf, size, l->file))
		return NULL;
	len = strlen(buf);
	l->cut = len + 1 == (size_t)size && buf[len - 1] != '\n';
	if (l->cut)
		reject(l, "line is longer than %d bytes", size - 1);
	if (starts) {
		size_t blank = strspn(buf, " \t");

		memmove(buf, buf + blank, len - blank + 1);
		check_section(l, buf);
	}
	return buf;
}

static bool parse_bool(const char *s, bool *out)
{
	static const char *const yes[] = { "yes", "true", "on", "1" };
	static const char *const no[] = { "no", "false", "off", "0" };

	for (unsigned i = 0; i < ARRAY_SIZE(yes); i++) {
		if (strcasecmp(s, yes[i]) == 0 || strcasecmp(s, no[i]) == 0) {
			*out = strcasecmp(s, yes[i]) == 0;
			return true;
		}
	}
	return false;
}

static const char *kind_name(enum conf_kind kind)
{
	switch (kind) {
	case CONF_SIZE:
	case CONF_SIZE_OR_0:
		return "a size (a number, or one with K, M, G or T)";
	case CONF_UINT:
		return "a number";
	case CONF_BOOL:
		return "yes or no";
	case CONF_LOG_LEVEL:
		return "error, warn, info or debug";
	case CONF_LOG_FORMAT:
		return "text or json";
	case CONF_STR:
		break;
	}
	return "text";
}

static int set_string(const struct conf_key *k, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*(char **)k->value);
	*(char **)k->value = copy;
	return 0;
}

static int set_number(const struct conf_key *k, const char *value)
{
	uint64_t n;
	int rc = parse_size(value, &n);

	if (rc < 0)
		return rc;
	if (k->kind == CONF_UINT &&
	    strspn(value, "0123456789") != strlen(value))
		return -EINVAL; /* a suffix is for sizes */
	if ((n < k->min && (n || k->kind != CONF_SIZE_OR_0)) ||
	    (k->max && n > k->max))
		return -ERANGE;
	if (k->kind != CONF_UINT)
		*(uint64_t *)k->value = n;
	else if (n > UINT_MAX)
		return -ERANGE;
	else
		*(unsigned *)k->value = (unsigned)n;
	return 0;
}

static int set_key(const struct conf_key *k, const char *value)
{
	switch (k->kind) {
	case CONF_STR:
		return set_string(k, value);
	case CONF_SIZE:
	case CONF_SIZE_OR_0:
	case CONF_UINT:
		return set_number(k, value);
	case CONF_BOOL:
		return parse_bool(value, k->value) ? 0 : -EINVAL;
	case CONF_LOG_LEVEL:
		return log_level_parse(value, k->value) ? 0 : -EINVAL;
	case CONF_LOG_FORMAT:
		return log_format_parse(value, k->value) ? 0 : -EINVAL;
	}
	return -EINVAL;
}

int conf_defaults(const struct conf_key *keys)
{
	for (const struct conf_key *k = keys; k->key; k++) {
		int rc = set_key(k, k->def);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static const struct conf_key *find_key(const struct load *l,
				       const char *section, const char *key)
{
	for (const struct conf_key *k = l->keys; k->key; k++)
		if (str_eq(k->section, section) && str_eq(k->key, key))
			return k;
	return NULL;
}

/* As it would stand in a file: exact, with a suffix where one fits. */
static const char *number_text(const struct conf_key *k, uint64_t n)
{
	static const char units[] = "KMGT";
	const char *unit = NULL;

	if (k->kind != CONF_UINT)
		for (const char *u = units; *u && n && n % 1024 == 0; u++) {
			n /= 1024;
			unit = u;
		}
	return log_fmt("%llu%.1s", (unsigned long long)n, unit ? unit : "");
}

static void explain(struct load *l, const struct conf_key *k, const char *value,
		    int rc)
{
	const char *or_0 = k->kind == CONF_SIZE_OR_0 ? "0, or " : "";
	/* what the type can hold is a limit too */
	uint64_t max = k->max                 ? k->max
		       : k->kind == CONF_UINT ? UINT_MAX
					      : INT64_MAX;

	if (rc == -ENOMEM)
		reject(l, "out of memory");
	else if (rc == -ERANGE)
		reject(l, "%s = %.100s: must be %sfrom %s to %s", k->key, value,
		       or_0, number_text(k, k->min), number_text(k, max));
	else
		reject(l, "%s = %.100s: not %s", k->key, value,
		       kind_name(k->kind));
}

/* libinih's contract: nonzero is success. */
static int on_key(void *arg, const char *section, const char *key,
		  const char *value)
{
	struct load *l = arg;
	const struct conf_key *k = find_key(l, section, key);
	int rc;

	if (other_section(l, section))
		return 1;
	if (!k) {
		if (*section)
			reject(l, "unknown key '%.100s' in [%.50s]", key,
			       section);
		else
			reject(l, "key '%.100s' before any [section]", key);
		return 0;
	}
	rc = set_key(k, value);
	if (rc < 0)
		explain(l, k, value, rc);
	return rc == 0;
}

int conf_load(const char *path, const struct conf_key *keys,
	      const char *const *others, struct conf_error *e)
{
	struct load l = { .keys = keys, .others = others };
	int line, err;

	l.file = fopen(path, "re");
	if (!l.file) {
		err = errno;
		snprintf(e->text, sizeof(e->text), "%.200s: cannot open: %s",
			 path, strerror(err));
		return -err;
	}
	line = ini_parse_stream(read_line, &l, on_key, &l);
	err = ferror(l.file) ? EIO : 0;
	fclose(l.file);
	if (err)
		snprintf(e->text, sizeof(e->text), "%.200s: cannot read", path);
	else if (line < 0)
		snprintf(e->text, sizeof(e->text), "%.200s: out of memory",
			 path);
	else if (l.bad_line && (line == 0 || l.bad_line <= line))
		snprintf(e->text, sizeof(e->text), "%.200s:%d: %s", path,
			 l.bad_line, l.reason);
	else if (line > 0)
		snprintf(e->text, sizeof(e->text),
			 "%.200s:%d: neither [section] nor key = value", path,
			 line);
	else
		return 0;
	return err ? -err : line < 0 ? -ENOMEM : -EINVAL;
}

void conf_free(const struct conf_key *keys)
{
	for (const struct conf_key *k = keys; k->key; k++)
		if (k->kind == CONF_STR) {
			free(*(char **)k->value);
			*(char **)k->value = NULL;
		}
}

static const char *value_text(const struct conf_key *k)
{
	switch (k->kind) {
	case CONF_STR:
		return *(char **)k->value;
	case CONF_SIZE:
	case CONF_SIZE_OR_0:
		return number_text(k, *(uint64_t *)k->value);
	case CONF_UINT:
		return number_text(k, *(unsigned *)k->value);
	case CONF_BOOL:
		return *(bool *)k->value ? "yes" : "no";
	case CONF_LOG_LEVEL:
		return log_level_name(*(enum log_level *)k->value);
	case CONF_LOG_FORMAT:
		return log_format_name(*(enum log_format *)k->value);
	}
	return "";
}

void conf_print(const struct conf_key *keys, FILE *f)
{
	const char *section = "";

	for (const struct conf_key *k = keys; k->key; k++) {
		const char *text = value_text(k);

		if (!str_eq(section, k->section))
			fprintf(f, "%s[%s]\n", *section ? "\n" : "",
				k->section);
		section = k->section;
		fprintf(f, "%s =%s%s\n", k->key, *text ? " " : "", text);
	}
}

void conf_read(const char *program, const char *config,
	       const struct conf_key *keys, const char *const *others)
{
	struct conf_error e;
	int rc;

	if (conf_defaults(keys) < 0) {
		fprintf(stderr, "%s: out of memory\n", program);
		exit(DAXFS_EXIT_FAIL);
	}
	rc = conf_load(config ? config : CONF_DEFAULT_PATH, keys, others, &e);
	if (rc < 0 && (rc != -ENOENT || config)) {
		fprintf(stderr, "%s: %s\n", program, e.text);
		exit(DAXFS_EXIT_USAGE);
	}
}

void conf_show(const struct conf_key *keys)
{
	conf_print(keys, stdout);
	exit(fflush(stdout) == 0 ? DAXFS_EXIT_OK : DAXFS_EXIT_FAIL);
}
