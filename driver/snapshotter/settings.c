/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include <stdarg.h>
#include <stdio.h>

#include "../../core/daxfs.h"
#include "../common/conf.h"
#include "../common/opts.h"
#include "../common/util.h"

#define SECTION "snapshotter"
#define TIB (UINT64_C(1) << 40)

/* The one place for keys, defaults, limits and help. */
static void key_table(struct settings *s, struct conf_key out[8])
{
	const struct conf_key keys[] = {
		{ SECTION, "pool_size", CONF_SIZE, &s->pool_size, "0", 0,
		  64 * TIB,
		  "size of a new pool, a sparse file; 0: by the free space" },
		{ SECTION, "pool_branches", CONF_UINT, &s->pool_branches,
		  "65536", 16, DAXFS_MAX_BRANCHES,
		  "snapshots that a new pool can hold" },
		{ SECTION, "sync_commit", CONF_BOOL, &s->sync_commit, "yes", 0,
		  0, "write a layer to disk before its commit is answered" },
		{ SECTION, "user", CONF_STR, &s->user, "", 0, 0,
		  "user beside root that may use the socket" },
		{ SECTION, "workers", CONF_UINT, &s->workers, "8", 1, 64,
		  "calls that run at once" },
		{ SECTION, "max_connections", CONF_UINT, &s->max_connections,
		  "256", 1, 65536, "clients at once" },
		{ NULL, NULL, CONF_STR, NULL, NULL, 0, 0, NULL },
	};

	memcpy(out, keys, sizeof(keys));
}

__attribute__((format(printf, 2, 3), noreturn)) static void
die(int status, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "daxfs-snapshotter: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	exit(status);
}

static void load(struct settings *s, const char *config)
{
	static const char *const others[] = { "grpc", "fuse", NULL };
	struct conf_key keys[8];
	struct conf_error e;
	int rc;

	key_table(s, keys);
	if (conf_defaults(keys) < 0)
		die(DAXFS_EXIT_FAIL, "out of memory");
	rc = conf_load(config ? config : CONF_DEFAULT_PATH, keys, others, &e);
	if (rc == -ENOENT && !config)
		return; /* it need not be there */
	if (rc < 0)
		die(DAXFS_EXIT_FAIL, "%s", e.text);
}

/* The folder is made, and its path made absolute: mounts are named by it. */
static const char *make_folder(const char *option, const char *path,
			       unsigned mode)
{
	int rc = mkdir_parents(path, mode);
	char *absolute = rc == 0 ? path_absolute(path) : NULL;

	if (!absolute)
		die(DAXFS_EXIT_FAIL, "%s %s: cannot make the folder: %s",
		    option, path, log_err(rc < 0 ? rc : errno));
	return absolute;
}

void settings_parse(struct settings *s, int argc, char **argv)
{
	const char *root = "/var/lib/daxfs", *state = "/run/daxfs";
	const char *config = NULL, *level = "info", *format = "text";
	const struct opt opts[] = {
		{ 0, "root", OPT_STR, &root, "DIR",
		  "persistent data [/var/lib/daxfs]" },
		{ 0, "state", OPT_STR, &state, "DIR",
		  "sockets and mounts [/run/daxfs]" },
		{ 0, "config", OPT_STR, &config, "FILE",
		  "configuration [" CONF_DEFAULT_PATH "]" },
		{ 0, "log-level", OPT_STR, &level, "LEVEL",
		  "error, warn, info or debug [info]" },
		{ 0, "log-format", OPT_STR, &format, "FORMAT",
		  "text or json [text]" },
		{ 0 },
	};
	const struct opt_usage usage = {
		.program = "daxfs-snapshotter",
		.synopsis = "[OPTIONS]",
		.summary = "Keeps container snapshots as branches of a DAXFS "
			   "pool; serves io.daxfs.Snapshots\n"
			   "on STATE/daxfs.sock.",
		.example = "  daxfs-snapshotter --root /var/lib/daxfs "
			   "--state /run/daxfs",
		.opts = opts,
	};

	memset(s, 0, sizeof(*s));
	opts_parse(&usage, argc, argv);
	s->level_name = level;
	s->format_name = format;
	if (!log_level_parse(level, &s->level))
		die(DAXFS_EXIT_USAGE, "'%s': no log level", level);
	if (!log_format_parse(format, &s->format))
		die(DAXFS_EXIT_USAGE, "'%s': no log format", format);
	load(s, config);
	s->root = make_folder("--root", root, 0700);
	s->state = make_folder("--state", state, 0755);
}

void settings_free(struct settings *s)
{
	struct conf_key keys[8];

	key_table(s, keys);
	conf_free(keys);
	free((char *)s->root);
	free((char *)s->state);
}
