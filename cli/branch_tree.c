/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli.h"

#define NAME_WIDTH 36 /* with what is drawn before it */

static void print_node(json_object *b, unsigned indent)
{
	int width = indent < NAME_WIDTH ? (int)(NAME_WIDTH - indent) : 1;
	json_object *m;

	printf("%-*s %-7s %10s", width, cli_json_string(b, "name"),
	       cli_branch_state(b), format_size(cli_json_u64(b, "bytes")));
	if (cli_json_u64(b, "meta_bytes"))
		printf("  +%s metadata",
		       format_size(cli_json_u64(b, "meta_bytes")));
	if (json_object_object_get_ex(b, "mountpoints", &m) &&
	    json_object_is_type(m, json_type_array))
		for (size_t k = 0; k < json_object_array_length(m); k++) {
			const char *s = json_object_get_string(
				json_object_array_get_idx(m, k));

			printf(k ? ", " : "  ");
			if (s)
				cli_print_name(s, strlen(s));
		}
	putchar('\n');
}

int branch_print_tree(json_object *reply)
{
	json_object *all;

	if (json_object_object_get_ex(reply, "branches", &all) &&
	    !cli_draw_tree(all, print_node))
		return cli_error("daxfs-branch tree", "out of memory");
	return DAXFS_EXIT_OK;
}

int cmd_branch_tree(int argc, char **argv)
{
	return branch_show("daxfs-branch tree",
			   "Draw the branches of a region, with what each holds.",
			   "  daxfs-branch tree rootfs.daxfs\n",
			   branch_print_tree, argc, argv);
}
