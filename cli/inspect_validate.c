/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli.h"

#define PROGRAM "daxfs-inspect validate"

/* `why` NULL: valid. */
static int verdict(const char *path, const char *why, bool json)
{
	json_object *o;

	if (!json) {
		printf("%s: %s\n", path, why ? why : "valid");
		return why ? DAXFS_EXIT_FAIL : DAXFS_EXIT_OK;
	}
	o = json_object_new_object();
	cli_json_add_bytes(o, "path", path);
	cli_json_add(o, "valid", json_object_new_boolean(!why));
	if (why)
		cli_json_add_bytes(o, "message", why);
	return cli_print_json(o) == DAXFS_EXIT_OK && !why ? DAXFS_EXIT_OK
							  : DAXFS_EXIT_FAIL;
}

/* Messages about files start with "'path': "; the verdict has the path. */
static const char *without_path(const char *text, const char *path)
{
	size_t n = strlen(path);

	if (text[0] == '\'' && !strncmp(text + 1, path, n) &&
	    !strncmp(text + 1 + n, "': ", 3))
		return text + n + 4;
	return text;
}

int cmd_inspect_validate(int argc, char **argv)
{
	bool json = false;
	const struct opt opts[] = {
		{ 0, "json", OPT_FLAG, &json, NULL, "print JSON" },
		{ 0 },
	};
	const struct opt_usage usage = {
		.program = PROGRAM,
		.synopsis = "IMAGE",
		.summary =
			"Check superblock, branch table, logs and base image, link counts and checksums.",
		.example = "  daxfs-inspect validate rootfs.daxfs\n",
		.opts = opts,
		.min_args = 1,
		.max_args = 1,
	};
	struct daxfs_message msg = { { 0 } };
	struct region_file file;
	struct daxfs_region *r;
	int waited = 0, rc;

	opts_parse(&usage, argc, argv);
	do
		rc = region_file_open(argv[1], REGION_READONLY, &file, &msg);
	while (rc == -EWOULDBLOCK && session_wait(argv[1], &waited));
	if (rc == -EWOULDBLOCK)
		return cli_error(PROGRAM,
				 "'%s': in use; unmount its branches, then validate it",
				 argv[1]);
	if (rc == -EINVAL) /* too short to be an image */
		return verdict(argv[1], without_path(msg.text, argv[1]), json);
	if (rc < 0)
		return cli_error(PROGRAM, "%s", msg.text);
	rc = daxfs_region_open(&file.backing, DAXFS_OPEN_VALIDATE, &r, &msg);
	if (rc == -ENOMEM)
		cli_error(PROGRAM, "'%s': out of memory", argv[1]);
	else if (rc < 0)
		verdict(argv[1], msg.text[0] ? msg.text : log_err(-rc), json);
	else
		daxfs_region_close(r);
	region_file_close(&file);
	return rc < 0 ? DAXFS_EXIT_FAIL : verdict(argv[1], NULL, json);
}
