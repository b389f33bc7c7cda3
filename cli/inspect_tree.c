/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <time.h>

#include "cli.h"

#define PROGRAM "daxfs-inspect tree"

/* One name of one directory. */
struct entry {
	uint64_t ino;
	uint32_t type;
	char *name;
};

struct listing {
	struct entry *entries;
	size_t count, max, next;
	size_t path_len; /* of the directory, in tree.path */
	bool failed;
};

struct tree {
	struct daxfs_branch *branch;
	bool json, any;
	char *path;
	size_t path_max;
	struct listing *stack; /* open directories, the root first */
	size_t depth, max;
};

/* ---- One directory ---------------------------------------------------------- */

static int take_entry(void *ctx, const struct daxfs_dirent *d)
{
	struct listing *l = ctx;

	if (l->count == l->max) {
		size_t max = l->max ? l->max * 2 : 64;
		void *p = reallocarray(l->entries, max, sizeof(*l->entries));

		if (!p) {
			l->failed = true;
			return 1;
		}
		l->entries = p;
		l->max = max;
	}
	l->entries[l->count].name = strndup(d->name, d->len);
	if (!l->entries[l->count].name) {
		l->failed = true;
		return 1;
	}
	l->entries[l->count].ino = d->ino;
	l->entries[l->count].type = d->type;
	l->count++;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name,
		      ((const struct entry *)b)->name);
}

static void listing_free(struct listing *l)
{
	while (l->count--)
		free(l->entries[l->count].name);
	free(l->entries);
}

static int push_dir(struct tree *t, uint64_t ino, size_t path_len)
{
	struct listing l = { .path_len = path_len };
	int rc;

	if (t->depth == t->max) {
		size_t max = t->max ? t->max * 2 : 32;
		void *p = reallocarray(t->stack, max, sizeof(*t->stack));

		if (!p)
			return -ENOMEM;
		t->stack = p;
		t->max = max;
	}
	rc = daxfs_readdir(t->branch, ino, 0, take_entry, &l);
	if (rc >= 0 && l.failed)
		rc = -ENOMEM;
	if (rc < 0) {
		listing_free(&l);
		return rc;
	}
	if (l.count)
		qsort(l.entries, l.count, sizeof(*l.entries), by_name);
	t->stack[t->depth++] = l;
	return 0;
}

/* tree.path = the directory's path, '/', name; its length in *len. */
static int set_path(struct tree *t, size_t dir_len, const char *name,
		    size_t *len)
{
	size_t n = strlen(name);

	if (dir_len + n + 2 > t->path_max) {
		size_t max = 2 * (dir_len + n + 2);
		char *p = realloc(t->path, max);

		if (!p)
			return -ENOMEM;
		t->path = p;
		t->path_max = max;
	}
	t->path[dir_len] = '/';
	memcpy(t->path + dir_len + 1, name, n + 1);
	*len = dir_len + 1 + n;
	return 0;
}

/* ---- One line --------------------------------------------------------------- */

static void mode_text(uint32_t mode, char out[11])
{
	static const char rwx[] = "rwxrwxrwx";
	int i;

	out[0] = S_ISDIR(mode)    ? 'd'
		 : S_ISLNK(mode)  ? 'l'
		 : S_ISCHR(mode)  ? 'c'
		 : S_ISBLK(mode)  ? 'b'
		 : S_ISFIFO(mode) ? 'p'
		 : S_ISSOCK(mode) ? 's'
				  : '-';
	for (i = 0; i < 9; i++)
		out[1 + i] = mode & (0400u >> i) ? rwx[i] : '-';
	if (mode & S_ISUID)
		out[3] = mode & 0100 ? 's' : 'S';
	if (mode & S_ISGID)
		out[6] = mode & 0010 ? 's' : 'S';
	if (mode & S_ISVTX)
		out[9] = mode & 0001 ? 't' : 'T';
	out[10] = 0;
}

static void print_line(const struct tree *t, const struct daxfs_attr *a,
		       const char *target)
{
	char mode[11], size[32], when[32];
	time_t sec = (time_t)a->mtime.sec;
	struct tm tm;

	mode_text(a->mode, mode);
	if (S_ISCHR(a->mode) || S_ISBLK(a->mode))
		snprintf(size, sizeof(size), "%u, %u", daxfs_major(a->rdev),
			 daxfs_minor(a->rdev));
	else
		snprintf(size, sizeof(size), "%llu",
			 (unsigned long long)a->size);
	if (!gmtime_r(&sec, &tm) ||
	    !strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm))
		snprintf(when, sizeof(when), "@%lld", (long long)a->mtime.sec);
	printf("%s %3u %5u %5u %12s %s ", mode, a->nlink, a->uid, a->gid, size,
	       when);
	cli_print_name(t->path, strlen(t->path));
	if (target) {
		fputs(" -> ", stdout);
		cli_print_name(target, strlen(target));
	}
	putchar('\n');
}

/* As an element of one array that is never held in memory. */
static void print_json(struct tree *t, const struct daxfs_attr *a,
		       const char *target)
{
	json_object *o = json_object_new_object();
	char mode[11];

	mode_text(a->mode, mode);
	cli_json_add_bytes(o, "path", t->path);
	cli_json_add_u64(o, "ino", a->ino);
	cli_json_add_string(o, "mode", mode);
	cli_json_add_u64(o, "nlink", a->nlink);
	cli_json_add_u64(o, "uid", a->uid);
	cli_json_add_u64(o, "gid", a->gid);
	cli_json_add_u64(o, "size", a->size);
	if (S_ISCHR(a->mode) || S_ISBLK(a->mode)) {
		cli_json_add_u64(o, "major", daxfs_major(a->rdev));
		cli_json_add_u64(o, "minor", daxfs_minor(a->rdev));
	}
	cli_json_add(o, "mtime_sec", json_object_new_int64(a->mtime.sec));
	cli_json_add_u64(o, "mtime_nsec", a->mtime.nsec);
	if (target)
		cli_json_add_bytes(o, "target", target);
	printf("%s%s", t->any ? ",\n" : "[\n",
	       json_object_to_json_string_ext(o,
					      JSON_C_TO_STRING_SPACED |
						      JSON_C_TO_STRING_NOSLASHESCAPE));
	t->any = true;
	json_object_put(o);
}

static int print_inode(struct tree *t, uint64_t ino)
{
	char target[DAXFS_SYMLINK_MAX + 1];
	struct daxfs_attr a;
	ssize_t n = 0;
	int rc = daxfs_getattr(t->branch, ino, &a);

	if (rc < 0)
		return rc;
	if (S_ISLNK(a.mode)) {
		n = daxfs_readlink(t->branch, ino, target, sizeof(target) - 1);
		if (n < 0)
			return (int)n;
		if (n > (ssize_t)sizeof(target) - 1)
			n = sizeof(target) - 1;
		target[n] = 0;
	}
	if (t->json)
		print_json(t, &a, S_ISLNK(a.mode) ? target : NULL);
	else
		print_line(t, &a, S_ISLNK(a.mode) ? target : NULL);
	return 0;
}

/* ---- Walk ------------------------------------------------------------------- */

static int walk(struct tree *t)
{
	size_t len;
	int rc = set_path(t, 0, "", &len);

	if (!rc)
		rc = print_inode(t, DAXFS_ROOT_INO);
	if (!rc)
		rc = push_dir(t, DAXFS_ROOT_INO, 0);
	while (!rc && t->depth) {
		struct listing *l = &t->stack[t->depth - 1];
		struct entry *e;

		if (l->next == l->count) {
			listing_free(l);
			t->depth--;
			continue;
		}
		e = &l->entries[l->next++];
		rc = set_path(t, l->path_len, e->name, &len);
		if (!rc)
			rc = print_inode(t, e->ino);
		if (!rc && S_ISDIR(e->type))
			rc = push_dir(t, e->ino, len);
	}
	while (t->depth)
		listing_free(&t->stack[--t->depth]);
	if (t->json && !rc)
		puts(t->any ? "\n]" : "[]");
	return rc;
}

static int show(struct inspected *in, const char *path, const char *branch,
		bool json)
{
	struct tree t = { .json = json };
	int rc = daxfs_branch_get(in->r, branch, &t.branch);

	if (rc == -ENOENT)
		return cli_error(PROGRAM, "'%s': no such branch in '%s'",
				 branch, path);
	if (!rc)
		rc = walk(&t);
	free(t.path);
	free(t.stack);
	if (t.branch)
		daxfs_branch_put(t.branch);
	if (rc < 0)
		return cli_error(PROGRAM, "'%s': branch '%s': %s", path, branch,
				 log_err(-rc));
	return DAXFS_EXIT_OK;
}

int cmd_inspect_tree(int argc, char **argv)
{
	const char *branch = "main";
	bool json = false;
	const struct opt opts[] = {
		{ 'b', "branch", OPT_STR, &branch, "NAME",
		  "show this branch's view (default main)" },
		{ 0, "json", OPT_FLAG, &json, NULL, "print JSON" },
		{ 0 },
	};
	const struct opt_usage usage = {
		.program = PROGRAM,
		.synopsis = "IMAGE [--branch NAME]",
		.summary = "List all files; times are UTC.",
		.example = "  daxfs-inspect tree rootfs.daxfs --branch spec1\n",
		.opts = opts,
		.min_args = 1,
		.max_args = 1,
	};
	struct inspected in;
	int rc;

	opts_parse(&usage, argc, argv);
	if (!inspect_open(PROGRAM, argv[1], 0, &in))
		return DAXFS_EXIT_FAIL;
	rc = show(&in, argv[1], branch, json);
	inspect_close(&in);
	return rc;
}
