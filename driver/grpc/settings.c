/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include <stdio.h>

#include "confine_grpc.h"
#include "driver/common/conf.h"
#include "driver/common/opts.h"
#include "driver/common/util.h"

#define PROGRAM "daxfs-grpc"
#define SECTION "grpc"

#define KEYS_MAX 16

/* The one place for keys, defaults, limits and help. */
static void key_table(struct grpc_settings *s, struct conf_key out[KEYS_MAX])
{
	const struct conf_key keys[] = {
		{ SECTION, "address", CONF_STR, &s->address,
		  "/run/daxfs/grpc.sock", 0, 0, "the socket to serve on" },
		{ SECTION, "state", CONF_STR, &s->state, "/run/daxfs", 0, 0,
		  "the snapshotter's, where its socket is" },
		{ SECTION, "metrics_address", CONF_STR, &s->metrics_address, "",
		  0, 0, "where /metrics and /healthz are, as 127.0.0.1:9768" },
		{ SECTION, "user", CONF_STR, &s->user, GRPC_USER, 0, 0,
		  "who to become when started as root; empty: stay root" },
		{ SECTION, "wait_timeout", CONF_UINT, &s->wait_timeout, "15", 0,
		  3600, "seconds that calls wait for a snapshotter" },
		{ SECTION, "stop_timeout", CONF_UINT, &s->stop_timeout, "10", 1,
		  3600, "seconds that running calls have after SIGTERM" },
		{ SECTION, "slow_call_ms", CONF_UINT, &s->slow_call_ms, "1000",
		  0, 3600000, "calls that take longer are logged; 0: none" },
		{ SECTION, "log_level", CONF_LOG_LEVEL, &s->level, "info", 0, 0,
		  "error, warn, info or debug" },
		{ SECTION, "log_format", CONF_LOG_FORMAT, &s->format, "text", 0,
		  0, "text or json" },
		{ NULL, NULL, CONF_STR, NULL, NULL, 0, 0, NULL },
	};

	_Static_assert(ARRAY_SIZE(keys) <= KEYS_MAX, "room for all keys");
	memcpy(out, keys, sizeof(keys));
}

__attribute__((noreturn)) static void die(int status, const char *what,
					  const char *value)
{
	fprintf(stderr, PROGRAM ": %s%s%s\n", what, value ? ": " : "",
		value ? value : "");
	exit(status);
}

/* What the command line says counts more than the file. */
struct overrides {
	const char *address, *state, *level, *format;
};

static void check_overrides(const struct overrides *o)
{
	enum log_format format;
	enum log_level level;

	if (o->level && !log_level_parse(o->level, &level))
		die(DAXFS_EXIT_USAGE, "--log-level: no such level", o->level);
	if (o->format && !log_format_parse(o->format, &format))
		die(DAXFS_EXIT_USAGE, "--log-format: no such format",
		    o->format);
}

static void override_string(char **value, const char *by)
{
	if (!by)
		return;
	free(*value);
	*value = strdup(by);
	if (!*value)
		die(DAXFS_EXIT_FAIL, "out of memory", NULL);
}

static void override(struct grpc_settings *s, const struct overrides *o)
{
	override_string(&s->address, o->address);
	override_string(&s->state, o->state);
	if (o->level)
		log_level_parse(o->level, &s->level);
	if (o->format)
		log_format_parse(o->format, &s->format);
}

void grpc_settings_parse(struct grpc_settings *s, int argc, char **argv)
{
	static const char *const others[] = { "snapshotter", "fuse", NULL };
	struct overrides o = { NULL };
	struct conf_key keys[KEYS_MAX];
	const char *config = NULL;
	bool print = false;
	const struct opt opts[] = {
		{ 'a', "address", OPT_STR, &o.address, "SOCKET",
		  "serve on this unix socket [/run/daxfs/grpc.sock]" },
		{ 's', "state", OPT_STR, &o.state, "DIR",
		  "the snapshotter's --state, where its socket is [/run/daxfs]" },
		{ 0, "config", OPT_STR, &config, "FILE",
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
		.summary = "Serve containerd's snapshot API "
			   "(containerd.services.snapshots.v1) and pass its\n"
			   "calls on to daxfs-snapshotter.",
		.example =
			"  daxfs-grpc --address /run/daxfs/grpc.sock --state "
			"/run/daxfs\n",
		.opts = opts,
	};

	memset(s, 0, sizeof(*s));
	opts_parse(&usage, argc, argv);
	check_overrides(&o);
	key_table(s, keys);
	conf_read(PROGRAM, config, keys, others);
	override(s, &o);
	if (print)
		conf_show(keys);
}

void grpc_settings_free(struct grpc_settings *s)
{
	struct conf_key keys[KEYS_MAX];

	key_table(s, keys);
	conf_free(keys);
}
