/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include <stdarg.h>
#include <stdio.h>

#include "../../core/daxfs.h"
#include "../common/conf.h"
#include "../common/opts.h"
#include "../common/util.h"

#define PROGRAM "daxfs-snapshotter"
#define SECTION "snapshotter"
#define FUSE "fuse"
#define TIB (UINT64_C(1) << 40)

#define KEYS_MAX 24

/* The one place for keys, defaults, limits and help. */
static void key_table(struct settings *s, struct conf_key out[KEYS_MAX])
{
	const struct conf_key keys[] = {
		{ SECTION, "root", CONF_STR, &s->root, "/var/lib/daxfs", 0, 0,
		  "persistent data" },
		{ SECTION, "state", CONF_STR, &s->state, "/run/daxfs", 0, 0,
		  "sockets and mounts" },
		{ SECTION, "user", CONF_STR, &s->user, SETTINGS_USER, 0, 0,
		  "user beside root that may use the socket" },
		{ SECTION, "pool_size", CONF_SIZE_OR_0, &s->pool_size, "0",
		  SETTINGS_POOL_MIN, 64 * TIB,
		  "size of a new pool, a sparse file; 0: by the free space" },
		{ SECTION, "pool_branches", CONF_UINT, &s->pool_branches,
		  "65536", 16, DAXFS_MAX_BRANCHES,
		  "snapshots that a new pool can hold" },
		{ SECTION, "replace_lost_pool", CONF_BOOL,
		  &s->replace_lost_pool, "yes", 0, 0,
		  "make a new pool when the one that is known is lost" },
		{ SECTION, "workers", CONF_UINT, &s->workers, "8", 1, 64,
		  "calls that run at once" },
		{ SECTION, "max_connections", CONF_UINT, &s->max_connections,
		  "256", 1, 65536, "clients at once" },
		{ SECTION, "start_timeout", CONF_UINT, &s->start_timeout, "60",
		  1, 3600, "seconds that daxfs-fuse and mkdaxfs may take" },
		{ SECTION, "stop_timeout", CONF_UINT, &s->stop_timeout, "10", 1,
		  3600, "seconds that running calls have after SIGTERM" },
		{ SECTION, "slow_call_ms", CONF_UINT, &s->slow_call_ms, "1000",
		  0, 3600000, "calls that take longer are logged; 0: none" },
		{ SECTION, "log_level", CONF_LOG_LEVEL, &s->level, "info", 0, 0,
		  "error, warn, info or debug" },
		{ SECTION, "log_format", CONF_LOG_FORMAT, &s->format, "text", 0,
		  0, "text or json" },
		{ FUSE, "sync_interval", CONF_UINT, &s->fuse.sync_interval, "5",
		  0, 86400, "seconds until what is written is durable" },
		{ FUSE, "slow_call_ms", CONF_UINT, &s->fuse.slow_call_ms,
		  "1000", 0, 3600000, "as above" },
		{ FUSE, "log_level", CONF_LOG_LEVEL, &s->fuse.level, "info", 0,
		  0, "as above" },
		{ FUSE, "log_format", CONF_LOG_FORMAT, &s->fuse.format, "text",
		  0, 0, "as above" },
		{ FUSE, "log_file", CONF_STR, &s->fuse.log_file, "", 0, 0,
		  "where its log goes; STATE/fuse/pool.log" },
		{ FUSE, "log_size", CONF_SIZE_OR_0, &s->fuse.log_size, "1M",
		  65536, TIB, "then the log begins anew; 0: never" },
		{ NULL, NULL, CONF_STR, NULL, NULL, 0, 0, NULL },
	};

	_Static_assert(ARRAY_SIZE(keys) <= KEYS_MAX, "room for all keys");
	memcpy(out, keys, sizeof(keys));
}

__attribute__((format(printf, 2, 3), noreturn)) static void
die(int status, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, PROGRAM ": ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	exit(status);
}

/* The folder is made, and its path made absolute: mounts are named by it. */
static void make_folder(const char *key, char **path, unsigned mode)
{
	int rc = mkdir_parents(*path, mode);
	char *absolute = rc == 0 ? path_absolute(*path) : NULL;

	if (!absolute)
		die(DAXFS_EXIT_FAIL, "%s %s: cannot make the folder: %s", key,
		    *path, log_err(rc < 0 ? rc : errno));
	free(*path);
	*path = absolute;
}

/* What the command line says counts more than the file. */
struct overrides {
	const char *root, *state, *level, *format;
};

static void override_string(char **value, const char *by)
{
	if (!by)
		return;
	free(*value);
	*value = strdup(by);
	if (!*value)
		die(DAXFS_EXIT_FAIL, "out of memory");
}

static void check_overrides(const struct overrides *o)
{
	enum log_format format;
	enum log_level level;

	if (o->level && !log_level_parse(o->level, &level))
		die(DAXFS_EXIT_USAGE, "'%s': no log level", o->level);
	if (o->format && !log_format_parse(o->format, &format))
		die(DAXFS_EXIT_USAGE, "'%s': no log format", o->format);
}

static void override(struct settings *s, const struct overrides *o)
{
	override_string(&s->root, o->root);
	override_string(&s->state, o->state);
	if (o->level && log_level_parse(o->level, &s->level))
		s->fuse.level = s->level;
	if (o->format && log_format_parse(o->format, &s->format))
		s->fuse.format = s->format;
}

static const char *const others[] = { "grpc", NULL };

void settings_parse(struct settings *s, int argc, char **argv)
{
	struct overrides o = { NULL };
	struct conf_key keys[KEYS_MAX];
	bool print = false;
	const struct opt opts[] = {
		{ 0, "root", OPT_STR, &o.root, "DIR",
		  "persistent data [/var/lib/daxfs]" },
		{ 0, "state", OPT_STR, &o.state, "DIR",
		  "sockets and mounts [/run/daxfs]" },
		{ 0, "config", OPT_STR, &s->config, "FILE",
		  "configuration [" CONF_DEFAULT_PATH "]" },
		{ 0, "print-config", OPT_FLAG, &print, NULL,
		  "print the configuration with its defaults and exit" },
		{ 0, "log-level", OPT_STR, &o.level, "LEVEL",
		  "error, warn, info or debug [info]" },
		{ 0, "log-format", OPT_STR, &o.format, "FORMAT",
		  "text or json [text]" },
		{ 0 },
	};
	const struct opt_usage usage = {
		.program = PROGRAM,
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
	check_overrides(&o);
	key_table(s, keys);
	conf_read(PROGRAM, s->config, keys, others);
	s->level_given = o.level != NULL;
	override(s, &o);
	if (print)
		conf_show(keys);
	make_folder("root", &s->root, 0700);
	make_folder("state", &s->state, 0755);
}

int settings_reload(struct settings *s, struct conf_error *e)
{
	struct settings fresh = { 0 };
	struct conf_key keys[KEYS_MAX];
	int rc;

	key_table(&fresh, keys);
	rc = conf_defaults(keys);
	if (rc < 0)
		snprintf(e->text, sizeof(e->text), "out of memory");
	else
		rc = conf_load(s->config ? s->config : CONF_DEFAULT_PATH, keys,
			       others, e);
	if (rc == -ENOENT && !s->config)
		rc = 0;
	if (rc == 0 && !s->level_given)
		s->level = fresh.level;
	if (rc == 0)
		s->slow_call_ms = fresh.slow_call_ms;
	conf_free(keys);
	return rc;
}

void settings_free(struct settings *s)
{
	struct conf_key keys[KEYS_MAX];

	key_table(s, keys);
	conf_free(keys);
}
