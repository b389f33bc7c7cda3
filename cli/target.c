/* SPDX-License-Identifier: Apache-2.0 */
/* Which region a command is about. */
#include <stdio.h>
#include <sys/stat.h>

#include "cli.h"

/* ---- /proc/self/mountinfo --------------------------------------------------- */

/* The kernel writes blanks, backslashes and '#' as \ooo; in place. */
static void unescape(char *s)
{
	char *out = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' &&
		    s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
			*out++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 +
					(s[3] - '0'));
			s += 4;
		} else {
			*out++ = *s++;
		}
	}
	*out = 0;
}

static void mount_clear(struct cli_mount *m)
{
	free(m->region);
	free(m->branch);
	free(m->mountpoint);
}

static char *next_field(char **line)
{
	char *f;

	do
		f = strsep(line, " \n");
	while (f && !*f);
	return f;
}

/*
 * Both a path and a branch's name may hold '#': the region is the first that
 * is a file. Where none is (it was removed), the last '#' is taken.
 */
static char *split_source(char *source)
{
	char *hash = source;

	while ((hash = strchr(hash, '#'))) {
		struct stat st;
		int rc;

		*hash = 0;
		rc = stat(source, &st);
		*hash = '#';
		if (rc == 0 && S_ISREG(st.st_mode))
			return hash;
		hash++;
	}
	return strrchr(source, '#');
}

/*
 * proc_pid_mountinfo(5): the mountpoint is the fifth field; after a lone "-"
 * come the type and the source, here "<region>#<branch>". 1: one of ours.
 */
static int parse_line(char *line, struct cli_mount *m)
{
	char *mountpoint = NULL, *f, *type, *source, *hash;
	int i;

	for (i = 0; i < 5; i++)
		mountpoint = next_field(&line);
	do
		f = next_field(&line);
	while (f && !str_eq(f, "-"));
	type = next_field(&line);
	source = next_field(&line);
	if (!mountpoint || !source || !str_eq(type, "fuse.daxfs"))
		return 0;
	unescape(mountpoint);
	unescape(source);
	hash = split_source(source);
	if (!hash)
		return 0;
	*hash = 0;
	m->region = strdup(source);
	m->branch = strdup(hash + 1);
	m->mountpoint = strdup(mountpoint);
	if (m->region && m->branch && m->mountpoint)
		return 1;
	mount_clear(m);
	return -ENOMEM;
}

void cli_mounts_free(struct cli_mount *m, size_t count)
{
	while (count--)
		mount_clear(&m[count]);
	free(m);
}

int cli_mounts(struct cli_mount **out, size_t *count)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	struct cli_mount *all = NULL;
	cleanup_free char *line = NULL;
	size_t n = 0, cap = 0;
	int rc = 0;

	if (!f)
		return -errno;
	while (!rc && getline(&line, &cap, f) >= 0) {
		struct cli_mount m = { 0 };
		void *p;

		rc = parse_line(line, &m);
		if (rc <= 0)
			continue;
		rc = 0;
		p = reallocarray(all, n + 1, sizeof(*all));
		if (!p) {
			mount_clear(&m);
			rc = -ENOMEM;
			continue;
		}
		all = p;
		all[n++] = m;
	}
	if (!rc && ferror(f))
		rc = -EIO;
	fclose(f);
	if (rc < 0) {
		cli_mounts_free(all, n);
		return rc;
	}
	*out = all;
	*count = n;
	return 0;
}

/* ---- Choosing --------------------------------------------------------------- */

/* A mountpoint whose server is gone cannot be resolved, its parent can. */
static char *absolute_mountpoint(const char *path)
{
	cleanup_free char *copy = NULL, *dir = NULL;
	char *abs = path_absolute(path);
	char *slash;

	if (abs)
		return abs;
	copy = strdup(path);
	if (!copy)
		return NULL;
	while (strlen(copy) > 1 && copy[strlen(copy) - 1] == '/')
		copy[strlen(copy) - 1] = 0;
	slash = strrchr(copy, '/');
	if (!slash)
		dir = path_absolute(".");
	else
		*slash = 0;
	if (slash)
		dir = path_absolute(slash == copy ? "/" : copy);
	if (!dir)
		return NULL;
	return str_printf("%s/%s", str_eq(dir, "/") ? "" : dir,
			  slash ? slash + 1 : copy);
}

static bool same_file(const char *a, const char *b)
{
	struct stat x, y;

	if (stat(a, &x) < 0 || stat(b, &y) < 0)
		return str_eq(a, b);
	return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static bool by_mountpoint(const char *program, const char *mountpoint,
			  const struct cli_mount *all, size_t n,
			  struct target *out)
{
	cleanup_free char *abs = absolute_mountpoint(mountpoint);
	size_t i;

	/* the last one is on top */
	for (i = n; abs && i-- > 0;) {
		if (!str_eq(all[i].mountpoint, abs))
			continue;
		out->region = strdup(all[i].region);
		out->branch = strdup(all[i].branch);
		if (out->region && out->branch)
			return true;
		cli_error(program, "out of memory");
		return false;
	}
	cli_error(program, "'%s': no daxfs branch is mounted here", mountpoint);
	return false;
}

static bool the_only_one(const char *program, const struct cli_mount *all,
			 size_t n, struct target *out)
{
	bool several = false;
	size_t i, k;

	for (i = 1; i < n; i++)
		if (!str_eq(all[i].region, all[0].region))
			several = true;
	if (n && !several) {
		out->region = strdup(all[0].region);
		if (!out->region)
			cli_error(program, "out of memory");
		return out->region;
	}
	if (!n) {
		cli_error(program,
			  "no daxfs region is mounted; name the region file (-r REGION)");
		return false;
	}
	cli_error(program,
		  "several daxfs regions are mounted; name one with -r REGION:");
	for (i = 0; i < n; i++) {
		for (k = 0; k < i; k++)
			if (str_eq(all[k].region, all[i].region))
				break;
		if (k == i)
			fprintf(stderr, "  '%s'\n", all[i].region);
	}
	return false;
}

bool target_find(const char *program, const char *region,
		 const char *mountpoint, struct target *out)
{
	struct cli_mount *all = NULL;
	size_t n = 0;
	bool ok;
	int rc;

	memset(out, 0, sizeof(*out));
	if (region && !mountpoint) {
		out->region = strdup(region);
		if (!out->region)
			cli_error(program, "out of memory");
		return out->region;
	}
	rc = cli_mounts(&all, &n);
	if (rc < 0) {
		cli_error(program, "'/proc/self/mountinfo': %s", log_err(-rc));
		return false;
	}
	if (mountpoint)
		ok = by_mountpoint(program, mountpoint, all, n, out);
	else
		ok = the_only_one(program, all, n, out);
	cli_mounts_free(all, n);
	if (ok && region && !same_file(region, out->region)) {
		cli_error(program, "'%s': is a mount of '%s', not of '%s'",
			  mountpoint, out->region, region);
		ok = false;
	}
	if (!ok)
		target_free(out);
	return ok;
}

void target_free(struct target *t)
{
	free(t->region);
	free(t->branch);
	memset(t, 0, sizeof(*t));
}
