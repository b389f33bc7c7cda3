/* SPDX-License-Identifier: Apache-2.0 */
/* daxfs-grpc: containerd's snapshot service in front of daxfs-snapshotter. */
#include <signal.h>
#include <stdio.h>

#include "driver/common/log.h"
#include "driver/common/opts.h"
#include "driver/common/util.h"
#include "server.h"

#define SOCKET_NAME "daxfs.sock" /* the snapshotter's, in the state folder */
#define SOCKET_MODE 0660
#define WAIT_MS 15000

struct settings {
	const char *address, *state, *level, *format;
};

static void parse(int argc, char **argv, struct settings *s)
{
	const struct opt opts[] = {
		{ 'a', "address", OPT_STR, &s->address, "SOCKET",
		  "serve on this unix socket" },
		{ 's', "state", OPT_STR, &s->state, "DIR",
		  "the snapshotter's --state, where its socket is" },
		{ 0, "log-level", OPT_STR, &s->level, "LEVEL",
		  "error, warn, info or debug" },
		{ 0, "log-format", OPT_STR, &s->format, "FORMAT",
		  "text or json" },
		{ 0 },
	};
	const struct opt_usage usage = {
		.program = "daxfs-grpc",
		.synopsis = "[OPTIONS]",
		.summary = "Serve containerd's snapshot API "
			   "(containerd.services.snapshots.v1) and pass its\n"
			   "calls on to daxfs-snapshotter.",
		.example =
			"  daxfs-grpc --address /run/daxfs/grpc.sock --state "
			"/run/daxfs\n",
		.opts = opts,
	};

	opts_parse(&usage, argc, argv);
}

static int init_log(const struct settings *s)
{
	enum log_level level;
	enum log_format format;

	if (!log_level_parse(s->level, &level)) {
		fprintf(stderr, "daxfs-grpc: --log-level: no level '%s'\n",
			s->level);
		return -1;
	}
	if (!log_format_parse(s->format, &format)) {
		fprintf(stderr, "daxfs-grpc: --log-format: no format '%s'\n",
			s->format);
		return -1;
	}
	log_init("daxfs-grpc", level, format);
	return 0;
}

static int block_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	return sigprocmask(SIG_BLOCK, &set, NULL);
}

int main(int argc, char **argv)
{
	struct settings s = {
		.address = "/run/daxfs/grpc.sock",
		.state = "/run/daxfs",
		.level = "info",
		.format = "text",
	};
	cleanup_free char *snapshotter = NULL;
	struct grpc_server_options o = { .mode = SOCKET_MODE,
					 .wait_ms = WAIT_MS };

	parse(argc, argv, &s);
	if (init_log(&s))
		return DAXFS_EXIT_USAGE;
	snapshotter = str_printf("%s/%s", s.state, SOCKET_NAME);
	if (!snapshotter || block_signals() < 0) {
		log_event(LOG_ERROR, "cannot start", "error", log_err(errno),
			  NULL);
		return DAXFS_EXIT_FAIL;
	}
	o.address = s.address;
	o.snapshotter = snapshotter;
	return grpc_server_run(&o) ? DAXFS_EXIT_FAIL : DAXFS_EXIT_OK;
}
