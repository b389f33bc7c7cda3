/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs of `daxfs snapshot` share. */
#ifndef DAXFS_CLI_SNAPSHOT_H
#define DAXFS_CLI_SNAPSHOT_H

#include "daemon.h"

/* An array of JSON objects that is written as it comes. */
struct snapshot_output {
	bool json;
	uint64_t rows;
};

void snapshot_json(struct snapshot_output *o, json_object *row); /* consumed */
void snapshot_json_end(struct snapshot_output *o);

/*
 * Each snapshot (io.daxfs.Snapshots.Info, borrowed) that one of the filters
 * selects, by name, as they come. False: a message has been printed.
 */
bool snapshot_each(struct daemon *d, char *const *filters, int count,
		   void (*fn)(void *arg, json_object *info), void *arg);

int cmd_snapshot_ls(int argc, char **argv);
int cmd_snapshot_tree(int argc, char **argv);
int cmd_snapshot_usage(int argc, char **argv);

#endif
