/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

int cmd_branch_seal(int argc, char **argv)
{
	static const struct branch_act act = {
		.program = "daxfs-branch seal",
		.summary =
			"Make a branch immutable: it may then be a parent for ever.",
		.example = "  daxfs-branch seal layer1 rootfs.daxfs\n",
		.method = "Seal",
		.done = "sealed",
	};

	return branch_act(&act, argc, argv);
}
