/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

int cmd_branch_abort(int argc, char **argv)
{
	static const struct branch_act act = {
		.program = "daxfs-branch abort",
		.summary =
			"Drop a branch and its parents back to main. Siblings live on.",
		.example = "  daxfs-branch abort -m /mnt/spec1a\n",
		.method = "Abort",
		.done = "aborted",
	};

	return branch_act(&act, argc, argv);
}
