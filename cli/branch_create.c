/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli.h"

#define PROGRAM "daxfs-branch create"

struct args {
	const char *name, *parent, *region, *mountpoint;
	const char *quota, *quota_inodes;
	bool persist, json;
};

static int report(const struct args *a, json_object *branch)
{
	if (a->json)
		return cli_print_json(json_object_get(branch));
	printf("'%s': created from '%s'", a->name, a->parent);
	if (a->mountpoint)
		printf(", mounted on '%s'", a->mountpoint);
	putchar('\n');
	return DAXFS_EXIT_OK;
}

static json_object *params_of(const struct args *a)
{
	json_object *p = json_object_new_object();

	cli_json_add_string(p, "name", a->name);
	cli_json_add_string(p, "parent", a->parent);
	cli_json_add(p, "persistent", json_object_new_boolean(a->persist));
	if (a->mountpoint)
		cli_json_add_string(p, "mountpoint", a->mountpoint);
	branch_add_quota(PROGRAM, p, "quota_bytes", a->quota, false);
	branch_add_quota(PROGRAM, p, "quota_inodes", a->quota_inodes, true);
	return p;
}

/* daxfs-fuse makes the branch (parent=) and mounts it, or does neither. */
static int start_server(const struct args *a, const char *region)
{
	char name[] = "daxfs-fuse", dash_o[] = "-o", dashes[] = "--";
	cleanup_free char *path = strdup(region);
	cleanup_free char *mnt = strdup(a->mountpoint);
	cleanup_free char *options = NULL;

	/* main is always there, and parent= is for new branches */
	if (str_eq(a->name, "main"))
		return cli_error(PROGRAM, "branch 'main': exists already");
	/* commas separate mount options, and no branch has one in its name */
	if (strchr(a->name, ','))
		return cli_error(PROGRAM,
				 "'%s': not a name for a branch; it has a ','",
				 a->name);
	if (strchr(a->parent, ','))
		return cli_error(PROGRAM,
				 "branch '%s': there is no such branch",
				 a->parent);
	options = str_printf("branch=%s,parent=%s%s", a->name, a->parent,
			     a->persist ? ",persist" : "");
	if (!options || !path || !mnt)
		return cli_error(PROGRAM, "out of memory");
	return cli_run_fuse(PROGRAM, (char *[]){ name, dash_o, options, dashes,
						 path, mnt, NULL });
}

/* What daxfs-fuse has made gets its quota and is reported. */
static int report_new(const struct args *a, const char *region)
{
	bool quota = a->quota || a->quota_inodes;
	json_object *params, *reply, *branch;
	struct session s;
	int rc = DAXFS_EXIT_FAIL;

	if (!a->json && !quota)
		return report(a, NULL);
	if (!session_open(PROGRAM, region, !quota, &s))
		return rc;
	params = json_object_new_object();
	cli_json_add_string(params, "name", a->name);
	branch_add_quota(PROGRAM, params, "bytes", a->quota, false);
	branch_add_quota(PROGRAM, params, "inodes", a->quota_inodes, true);
	reply = session_call(&s, quota ? "SetQuota" : "Get", params);
	if (reply && json_object_object_get_ex(reply, "branch", &branch))
		rc = report(a, branch);
	json_object_put(reply);
	session_close(&s);
	return rc;
}

static int create(const struct args *a, const char *region)
{
	json_object *params = params_of(a), *reply, *branch = NULL;
	struct session s;
	int rc;

	if (a->mountpoint) {
		rc = session_connect(PROGRAM, region, &s);
		if (rc)
			json_object_put(params);
		if (rc == 1) {
			rc = start_server(a, region);
			return rc ? rc : report_new(a, region);
		}
		if (rc < 0)
			return DAXFS_EXIT_FAIL;
	} else if (!session_open(PROGRAM, region, false, &s)) {
		json_object_put(params);
		return DAXFS_EXIT_FAIL;
	}
	reply = session_call(&s, "Create", params);
	session_close(&s);
	if (!reply)
		return DAXFS_EXIT_FAIL;
	json_object_object_get_ex(reply, "branch", &branch);
	rc = report(a, branch);
	json_object_put(reply);
	return rc;
}

static void parse(int argc, char **argv, struct args *a)
{
	const struct opt opts[] = {
		{ 'p', "parent", OPT_STR, &a->parent, "PARENT",
		  "branch to start from (default main)" },
		{ 'm', "mountpoint", OPT_STR, &a->mountpoint, "MNT",
		  "mount the new branch here" },
		{ 'r', "region", OPT_STR, &a->region, "REGION",
		  "the region file (default: the mounted one)" },
		{ 0, "persist", OPT_FLAG, &a->persist, NULL,
		  "keep the branch when it is unmounted" },
		{ 0, "quota", OPT_STR, &a->quota, "SIZE",
		  "what it may own at most, with its log" },
		{ 0, "quota-inodes", OPT_STR, &a->quota_inodes, "N",
		  "how many files it may make" },
		{ 0, "json", OPT_FLAG, &a->json, NULL,
		  "print the branch as JSON" },
		{ 0 },
	};
	const struct opt_usage usage = {
		.program = PROGRAM,
		.synopsis = "NAME [-p PARENT] [-m MNT] [REGION]",
		.summary =
			"Make a branch. One that is not persistent is dropped when it is unmounted.",
		.example =
			"  daxfs-branch create spec1 -m /mnt/spec1 -p main\n",
		.opts = opts,
		.min_args = 1,
		.max_args = 2,
	};
	int n = opts_parse(&usage, argc, argv);

	a->name = argv[1];
	if (n == 2 && a->region)
		cli_usage(PROGRAM, "unexpected argument '%s'", argv[2]);
	if (n == 2)
		a->region = argv[2];
}

int cmd_branch_create(int argc, char **argv)
{
	struct args a = { .parent = "main" };
	cleanup_free char *abs = NULL;
	struct target t;
	int rc;

	parse(argc, argv, &a);
	/* The server has a working directory of its own. */
	if (a.mountpoint) {
		abs = path_absolute(a.mountpoint);
		if (!abs)
			return cli_error(PROGRAM, "'%s': %s", a.mountpoint,
					 log_err(errno));
		a.mountpoint = abs;
	}
	if (!target_find(PROGRAM, a.region, NULL, &t))
		return DAXFS_EXIT_FAIL;
	rc = create(&a, t.region);
	target_free(&t);
	return rc;
}
