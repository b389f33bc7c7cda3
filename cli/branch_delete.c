/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

int cmd_branch_delete(int argc, char **argv)
{
	static const struct branch_act act = {
		.program = "daxfs-branch delete",
		.summary =
			"Drop one branch, sealed or not, that has no children.",
		.example = "  daxfs-branch delete layer1 rootfs.daxfs\n",
		.method = "Delete",
		.done = "deleted",
		.can_force = true,
	};

	return branch_act(&act, argc, argv);
}
