/* SPDX-License-Identifier: Apache-2.0 */
/* What the command line and the configuration file say. */
#ifndef DAXFS_GRPC_SETTINGS_H
#define DAXFS_GRPC_SETTINGS_H

#include "driver/common/log.h"

struct grpc_settings {
	char *address;         /* the socket to serve on */
	char *state;           /* of the snapshotter: where its socket is */
	char *metrics_address; /* "": none are served */
	char *user;            /* to become; "": stay who we are */
	unsigned wait_timeout, stop_timeout; /* seconds */
	unsigned slow_call_ms;               /* 0: never */
	enum log_level level;
	enum log_format format;
};

/* Exits with a message when there is something wrong. */
void grpc_settings_parse(struct grpc_settings *s, int argc, char **argv);
void grpc_settings_free(struct grpc_settings *s);

#endif
