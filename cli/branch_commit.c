/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

int cmd_branch_commit(int argc, char **argv)
{
	static const struct branch_act act = {
		.program = "daxfs-branch commit",
		.summary =
			"Merge a branch and its parents into main. All other branches end.",
		.example = "  daxfs-branch commit -m /mnt/spec1a\n",
		.method = "Commit",
		.done = "committed",
	};

	return branch_act(&act, argc, argv);
}
