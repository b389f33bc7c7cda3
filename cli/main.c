/* SPDX-License-Identifier: Apache-2.0 */
/* One program under several names: daxfs, mkdaxfs, daxfs-branch, daxfs-inspect. */
#include <stdio.h>

#include "cli.h"

static int cmd_help(int argc, char **argv);

static const struct cli_verb verbs[] = {
	{ "mkfs", "make a region or an image (mkdaxfs)", cmd_mkfs },
	{ "branch", "create, list, seal, commit, abort branches (daxfs-branch)",
	  cmd_branch },
	{ "inspect", "look into an image, check it (daxfs-inspect)",
	  cmd_inspect },
	{ "mount", "mount a branch of a region", cmd_mount },
	{ "umount", "unmount a branch", cmd_umount },
	{ "status", "tell how the snapshotter and its pool do", cmd_status },
	{ "snapshot", "list snapshots, draw them, tell their sizes",
	  cmd_snapshot },
	{ "top", "watch calls, mounts and the pool", cmd_top },
	{ "help", "show the help of a verb", cmd_help },
	{ 0 },
};

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} names[] = {
	{ "mkdaxfs", cmd_mkfs },
	{ "daxfs-branch", cmd_branch },
	{ "daxfs-inspect", cmd_inspect },
};

static int run_daxfs(int argc, char **argv)
{
	return cli_dispatch("daxfs",
			    "Regions of memory with branches of a file system.",
			    verbs, argc, argv);
}

/* `daxfs help branch create` is `daxfs branch create --help`. */
static int cmd_help(int argc, char **argv)
{
	cleanup_free char **v = calloc((size_t)argc + 2, sizeof(*v));
	char help[] = "--help";
	int i;

	if (!v)
		return cli_error("daxfs", "out of memory");
	for (i = 1; i < argc; i++)
		if (argv[i][0] == '-')
			cli_usage("daxfs",
				  "help takes names of verbs, not '%s'",
				  argv[i]);
	for (i = 0; i < argc; i++)
		v[i] = argv[i];
	v[argc] = help;
	return run_daxfs(argc + 1, v);
}

static int run(int argc, char **argv)
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const char *name = slash ? slash + 1 : argc > 0 ? argv[0] : "";
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq(name, names[i].name))
			return names[i].run(argc, argv);
	return run_daxfs(argc, argv);
}

int main(int argc, char **argv)
{
	int rc;

	log_init("daxfs", LOG_WARN, LOG_TEXT);
	rc = run(argc, argv);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "daxfs: cannot write the output: %s\n",
			log_err(errno));
		return DAXFS_EXIT_FAIL;
	}
	return rc;
}
