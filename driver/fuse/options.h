/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DAXFS_FUSE_OPTIONS_H
#define DAXFS_FUSE_OPTIONS_H

#include "../common/log.h"
#include "client.h"

struct options {
	struct mount_request request;
	bool control_only;
	bool foreground;
	bool keeper;    /* take over: KEEPER_FD is the keeper's */
	bool no_keeper; /* mounts end with this process */
	unsigned sync_seconds;
	const char *log_file;
	uint64_t log_size;
	unsigned slow_call_ms;
	enum log_level level;
	enum log_format format;
	const char *level_name, *format_name;
};

/* Exits on --help, --version and errors. */
void options_parse(struct options *o, int argc, char **argv);

#endif
