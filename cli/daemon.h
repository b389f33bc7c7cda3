/* SPDX-License-Identifier: Apache-2.0 */
/* Asking daxfs-snapshotter: what status, snapshot and top share. */
#ifndef DAXFS_CLI_DAEMON_H
#define DAXFS_CLI_DAEMON_H

#include "cli.h"

struct daemon {
	const char *program;
	char *socket;
	struct varlink_client *client;
	bool quiet; /* print no messages; `why` has them too */
	char why[1280];
};

/* The row of --state in a table of options. */
#define DAEMON_STATE_OPTION(var)                             \
	{                                                    \
		0, "state", OPT_STR, (var), "DIR",           \
			"where the snapshotter's socket is " \
			"[$DAXFS_STATE or /run/daxfs]"       \
	}

/*
 * Connect to the snapshotter in folder `state` (NULL: as usual). False: a
 * message has been printed. daemon_close() is fine either way.
 */
bool daemon_open(const char *program, const char *state, struct daemon *out);
void daemon_close(struct daemon *d);

/*
 * Call "Snapshots.List" and the like; consumes params. NULL: a message has been
 * printed. The reply is the caller's.
 */
json_object *daemon_call(struct daemon *d, const char *method,
			 json_object *params);
/* Each reply goes to fn (borrowed), which ends the program if it has to. */
bool daemon_call_more(struct daemon *d, const char *method, json_object *params,
		      void (*fn)(void *arg, json_object *reply), void *arg);

/* Parameters with one member, a name as the user gave it. */
json_object *daemon_key(const char *program, const char *key);

/*
 * What a snapshot has by itself: of a committed one `info` says so, of others
 * `d` is asked. False: it does not say, and there was a message.
 */
bool daemon_usage(struct daemon *d, json_object *info, uint64_t *bytes,
		  uint64_t *inodes);

#endif
