/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

int cmd_mount(int argc, char **argv)
{
	const char *options = NULL;
	const struct opt opts[] = {
		{ 'o', "options", OPT_STR, &options, "OPTIONS",
		  "branch=NAME, parent=NAME, persist, ro, noatime; by commas" },
		{ 0 },
	};
	const struct opt_usage usage = {
		.program = "daxfs mount",
		.synopsis = "REGION MOUNTPOINT [-o OPTIONS]",
		.summary =
			"Mount a branch of a region with daxfs-fuse; without options main, read-only.",
		.example = "  daxfs mount rootfs.daxfs /mnt -o branch=try1\n",
		.opts = opts,
		.min_args = 2,
		.max_args = 2,
	};
	char name[] = "daxfs-fuse", dash_o[] = "-o", dashes[] = "--";
	cleanup_free char *copy = NULL;
	char *v[7] = { name };
	int n = 1;

	opts_parse(&usage, argc, argv);
	if (options) {
		copy = strdup(options);
		if (!copy)
			return cli_error(usage.program, "out of memory");
		v[n++] = dash_o;
		v[n++] = copy;
	}
	v[n++] = dashes;
	v[n++] = argv[1];
	v[n++] = argv[2];
	return cli_run_fuse(usage.program, v);
}
