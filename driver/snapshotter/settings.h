/* SPDX-License-Identifier: Apache-2.0 */
/* What the command line and the configuration file say. */
#ifndef DAXFS_SETTINGS_H
#define DAXFS_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "../common/conf.h"
#include "../common/log.h"
#include "pool.h"

#define SETTINGS_POOL_MIN (UINT64_C(64) << 20)
#define SETTINGS_USER "daxfs-grpc" /* need not exist */

struct settings {
	char *root, *state; /* absolute */
	enum log_level level;
	enum log_format format;
	uint64_t pool_size; /* 0: by the free space */
	unsigned pool_branches;
	bool replace_lost_pool;
	char *user; /* who else may connect; "": nobody */
	unsigned workers, max_connections;
	unsigned slow_call_ms;                /* 0: never */
	unsigned start_timeout, stop_timeout; /* seconds */
	struct pool_fuse fuse;
	const char *config; /* --config, or NULL */
	bool level_given;   /* on the command line */
};

/* Exits with a message when there is something wrong. */
void settings_parse(struct settings *s, int argc, char **argv);

/*
 * Read the file again and take over what can change in a running daemon: level
 * and slow_call_ms. Negative: nothing was taken over, and `e` says why.
 */
int settings_reload(struct settings *s, struct conf_error *e);

void settings_free(struct settings *s);

#endif
