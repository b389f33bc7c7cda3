/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli.h"

#define PROGRAM "daxfs-inspect validate"

struct report {
	const char *path;
	bool json;
	json_object *damaged, *repaired; /* NULL in text */
	int bad;
};

/* `why` NULL: valid. */
static int verdict(const struct report *rep, const char *why)
{
	json_object *o;

	if (!rep->json) {
		if (why || !rep->bad)
			printf("%s: %s\n", rep->path, why ? why : "valid");
		return why || rep->bad ? DAXFS_EXIT_FAIL : DAXFS_EXIT_OK;
	}
	o = json_object_new_object();
	cli_json_add_bytes(o, "path", rep->path);
	cli_json_add(o, "valid", json_object_new_boolean(!why && !rep->bad));
	if (why)
		cli_json_add_bytes(o, "message", why);
	cli_json_add(o, "damaged", json_object_get(rep->damaged));
	cli_json_add(o, "repaired", json_object_get(rep->repaired));
	return cli_print_json(o) == DAXFS_EXIT_OK && !why && !rep->bad
		       ? DAXFS_EXIT_OK
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

static void report_branch(struct report *rep, const char *name,
			  const char *what, bool repaired)
{
	json_object *o;

	if (!repaired)
		rep->bad++;
	if (!rep->json) {
		printf("%s: branch '%s': %s%s\n", rep->path, name, what,
		       repaired ? " (repaired)" : "");
		return;
	}
	o = json_object_new_object();
	cli_json_add_bytes(o, "branch", name);
	cli_json_add_bytes(o, "message", what);
	json_object_array_add(repaired ? rep->repaired : rep->damaged, o);
}

/* What opening found to be wrong with single branches. 0 or -errno. */
static int report_branches(struct report *rep, struct daxfs_region *r)
{
	struct daxfs_branch_info *v;
	struct daxfs_message msg;
	bool repaired;
	u32 i, n;
	int rc = daxfs_branch_list(r, &v, &n);

	for (i = 0; !rc && i < n; i++)
		if (!daxfs_branch_problem(r, v[i].name, &msg, &repaired))
			report_branch(rep, v[i].name, msg.text, repaired);
	daxfs_free(v);
	return rc;
}

static int open_file(const char *path, unsigned flags, struct region_file *file,
		     struct daxfs_message *msg)
{
	int waited = 0, rc;

	do
		rc = region_file_open(path, flags, file, msg);
	while (rc == -EWOULDBLOCK && session_wait(path, &waited));
	return rc;
}

static int validate(struct report *rep, bool repair)
{
	u32 flags = DAXFS_OPEN_VALIDATE | (repair ? DAXFS_OPEN_REPAIR : 0);
	struct daxfs_message msg = { { 0 } };
	struct region_file file;
	struct daxfs_region *r;
	int rc;

	rc = open_file(rep->path, repair ? 0 : REGION_READONLY, &file, &msg);
	if (rc == -EWOULDBLOCK)
		return cli_error(PROGRAM,
				 "'%s': in use; unmount its branches, then validate it",
				 rep->path);
	if (rc == -EINVAL) /* too short to be an image */
		return verdict(rep, without_path(msg.text, rep->path));
	if (rc < 0)
		return cli_error(PROGRAM, "%s", msg.text);
	rc = daxfs_region_open(&file.backing, flags, &r, &msg);
	if (!rc) {
		rc = report_branches(rep, r);
		daxfs_region_close(r);
	}
	region_file_close(&file);
	if (rc == -ENOMEM)
		return cli_error(PROGRAM, "'%s': out of memory", rep->path);
	if (rc < 0)
		return verdict(rep, msg.text[0] ? msg.text : log_err(-rc));
	return verdict(rep, NULL);
}

int cmd_inspect_validate(int argc, char **argv)
{
	struct report rep = { 0 };
	bool repair = false;
	const struct opt opts[] = {
		{ 0, "json", OPT_FLAG, &rep.json, NULL, "print JSON" },
		{ 0, "repair", OPT_FLAG, &repair, NULL,
		  "cut damaged logs where the damage begins" },
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
	int rc;

	opts_parse(&usage, argc, argv);
	rep.path = argv[1];
	if (rep.json) {
		rep.damaged = json_object_new_array();
		rep.repaired = json_object_new_array();
	}
	rc = validate(&rep, repair);
	json_object_put(rep.damaged);
	json_object_put(rep.repaired);
	return rc;
}
