/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli.h"

static const struct cli_verb verbs[] = {
	{ "info", "superblock, layout and features", cmd_inspect_info },
	{ "tree", "files of the base image or of a branch", cmd_inspect_tree },
	{ "branches", "branches with states and sizes", cmd_inspect_branches },
	{ "validate", "check everything, checksums too", cmd_inspect_validate },
	{ 0 },
};

int cmd_inspect(int argc, char **argv)
{
	return cli_dispatch("daxfs-inspect",
			    "Look into a daxfs image or region; never changes it.",
			    verbs, argc, argv);
}

bool inspect_open(const char *program, const char *path, uint32_t flags,
		  struct inspected *i)
{
	struct daxfs_message msg = { { 0 } };
	int rc;

	memset(i, 0, sizeof(*i));
	rc = region_file_open(path, REGION_READONLY, &i->file, &msg);
	if (rc == -EWOULDBLOCK) {
		i->in_use = true;
		rc = region_file_open(path, REGION_NOLOCK, &i->file, &msg);
	}
	if (rc < 0) {
		cli_error(program, "%s", msg.text);
		return false;
	}
	rc = daxfs_region_open(&i->file.backing, flags, &i->r, &msg);
	if (rc == 0)
		return true;
	cli_error(program, "'%s': %s%s", path,
		  msg.text[0] ? msg.text : log_err(-rc),
		  i->in_use
			  ? " (the region is in use and may have changed meanwhile)"
			  : "");
	region_file_close(&i->file);
	return false;
}

void inspect_close(struct inspected *i)
{
	if (i->r)
		daxfs_region_close(i->r);
	region_file_close(&i->file);
	memset(i, 0, sizeof(*i));
}
