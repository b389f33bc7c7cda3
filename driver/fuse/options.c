/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "../common/opts.h"
#include "../common/util.h"

#define SYNC_SECONDS 5

__attribute__((format(printf, 2, 3), noreturn)) static void
die(int code, const char *fmt, ...)
{
	va_list ap;

	fputs("daxfs-fuse: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	if (code == DAXFS_EXIT_USAGE)
		fputs("Try 'daxfs-fuse --help'.\n", stderr);
	exit(code);
}

/* What mount(8) and fstab say that is so anyway, or is not for us. */
static bool is_noise(const char *s)
{
	static const char *const words[] = {
		"rw",       "dev",     "suid",        "exec",
		"defaults", "_netdev", "noauto",      "auto",
		"nofail",   "nouser",  "allow_other", "default_permissions",
		"relatime",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(words); i++)
		if (str_eq(s, words[i]))
			return true;
	return !*s || !strncmp(s, "x-", 2);
}

/* "branch=a": the value, when `s` begins with `key`. */
static const char *value_of(const char *s, const char *key)
{
	size_t n = strlen(key);

	return strncmp(s, key, n) ? NULL : s + n;
}

static void parse_mount_option(struct options *o, char *s)
{
	struct mount_request *r = &o->request;
	const char *value;

	if ((value = value_of(s, "branch="))) {
		r->branch = value;
	} else if ((value = value_of(s, "parent="))) {
		r->parent = value;
	} else if (str_eq(s, "persist")) {
		r->persistent = true;
	} else if (str_eq(s, "ro")) {
		r->readonly = true;
	} else if (str_eq(s, "noatime")) {
		r->noatime = true;
	} else if (!is_noise(s)) {
		die(DAXFS_EXIT_USAGE,
		    "unknown mount option '%s'; there are branch=, parent=, persist, ro, noatime",
		    s);
	}
}

static void parse_mount_options(struct options *o, const char *list)
{
	char *s, *next;

	o->request.branch = "main";
	if (list) {
		/* The request points into it: it is never freed. */
		next = strdup(list);
		if (!next)
			die(DAXFS_EXIT_FAIL, "out of memory");
		while ((s = strsep(&next, ",")))
			parse_mount_option(o, s);
	}
	if (!*o->request.branch)
		die(DAXFS_EXIT_USAGE, "branch= names no branch");
	if (o->request.parent && !*o->request.parent)
		die(DAXFS_EXIT_USAGE, "parent= names no branch");
	if (o->request.parent && str_eq(o->request.branch, "main"))
		die(DAXFS_EXIT_USAGE,
		    "parent= makes a new branch: name it with branch=");
}

static const char *absolute(const char *path)
{
	cleanup_free char *cwd = NULL;
	char *abs = path_absolute(path);

	/* A mountpoint whose server died cannot be resolved, but unmounted. */
	if (!abs && errno == ENOTCONN) {
		cwd = path[0] == '/' ? strdup("") : getcwd(NULL, 0);
		if (cwd)
			abs = str_printf("%s%s%s", cwd, *cwd ? "/" : "", path);
	}
	if (!abs)
		die(DAXFS_EXIT_FAIL, "'%s': %s", path, log_err(errno));
	return abs;
}

/* A file that need not be there yet. */
static const char *absolute_new(const char *path)
{
	cleanup_free char *cwd = path[0] == '/' ? NULL : getcwd(NULL, 0);
	char *abs = cwd ? str_printf("%s/%s", cwd, path) : strdup(path);

	if (!abs || (path[0] != '/' && !cwd))
		die(DAXFS_EXIT_FAIL, "'%s': %s", path, log_err(errno));
	return abs;
}

void options_parse(struct options *o, int argc, char **argv)
{
	const char *list = NULL, *level = "info", *format = "text";
	const struct opt opts[] = {
		{ 'o', "options", OPT_STR, &list, "OPTIONS",
		  "branch=NAME, parent=NAME, persist, ro, noatime; by commas" },
		{ 'f', "foreground", OPT_FLAG, &o->foreground, NULL,
		  "stay in the foreground until the mount is gone" },
		{ 0, "control-only", OPT_FLAG, &o->control_only, NULL,
		  "mount nothing; serve the control socket until SIGTERM" },
		{ 0, "no-keeper", OPT_FLAG, &o->no_keeper, NULL,
		  "mounts end with this process, also when it is killed" },
		{ 0, "keeper", OPT_FLAG, &o->keeper, NULL,
		  "take over from another server; used by daxfs-keeper" },
		{ 0, "sync-interval", OPT_UINT, &o->sync_seconds, "SECONDS",
		  "make what was written durable so often; 0: never [5]" },
		{ 0, "state", OPT_STR, &o->request.state, "DIR",
		  "where control sockets are [$DAXFS_STATE or /run/daxfs]" },
		{ 0, "log-level", OPT_STR, &level, "LEVEL",
		  "error, warn, info or debug [info]" },
		{ 0, "log-format", OPT_STR, &format, "FORMAT",
		  "text or json [text]" },
		{ 0, "log-file", OPT_STR, &o->log_file, "FILE",
		  "where a server in the background writes its log [nowhere]" },
		{ 0, "log-size", OPT_SIZE, &o->log_size, "SIZE",
		  "begin the log anew, keeping one old file; 0: never [0]" },
		{ 0, "slow-call", OPT_UINT, &o->slow_call_ms, "MS",
		  "log control calls that take longer; 0: none [0]" },
		{ 0 },
	};
	const struct opt_usage usage = {
		.program = "daxfs-fuse",
		.synopsis =
			"REGION MOUNTPOINT [OPTIONS] | --control-only REGION",
		.summary =
			"Mount a branch of a region: main, read-only, unless branch= names another.\n"
			"One process serves a region; a second one has it mounted by the first.",
		.example =
			"  daxfs-fuse rootfs.daxfs /mnt -o branch=try1,parent=main\n"
			"  umount /mnt      # try1 is dropped; with -o persist it stays\n",
		.opts = opts,
		.min_args = 1,
		.max_args = 2,
	};
	int n;

	*o = (struct options){ .sync_seconds = SYNC_SECONDS };
	n = opts_parse(&usage, argc, argv);
	if (n != (o->control_only || o->keeper ? 1 : 2))
		die(DAXFS_EXIT_USAGE, "%s",
		    o->control_only ? "--control-only takes a region only"
		    : o->keeper     ? "--keeper takes a region only"
				    : "a region and a mountpoint are needed");
	o->level_name = level;
	o->format_name = format;
	if (!log_level_parse(level, &o->level))
		die(DAXFS_EXIT_USAGE, "'%s': no log level", level);
	if (!log_format_parse(format, &o->format))
		die(DAXFS_EXIT_USAGE, "'%s': no log format", format);
	if (o->log_file)
		o->log_file = absolute_new(o->log_file);
	parse_mount_options(o, list);
	o->request.region = absolute(argv[1]);
	if (!o->control_only && !o->keeper)
		o->request.mountpoint = absolute(argv[2]);
}
