/* SPDX-License-Identifier: Apache-2.0 */
/* What the command line and the configuration file say. */
#ifndef DAXFS_SETTINGS_H
#define DAXFS_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "../common/log.h"

struct settings {
	const char *root, *state; /* absolute */
	const char *level_name, *format_name;
	enum log_level level;
	enum log_format format;
	uint64_t pool_size; /* 0: by the free space */
	unsigned pool_branches;
	bool sync_commit;
	char *user; /* who else may connect; "": nobody */
	unsigned workers, max_connections;
};

/* Exits with a message when there is something wrong. */
void settings_parse(struct settings *s, int argc, char **argv);
void settings_free(struct settings *s);

#endif
