/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

int cmd_inspect_branches(int argc, char **argv)
{
	return branch_show("daxfs-inspect branches",
			   "Draw the branches of a region, with states and sizes.",
			   "  daxfs-inspect branches rootfs.daxfs\n",
			   branch_print_tree, argc, argv);
}
