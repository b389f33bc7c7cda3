/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli.h"

static const struct cli_verb verbs[] = {
	{ "create", "make a branch, and mount it", cmd_branch_create },
	{ "list", "list the branches", cmd_branch_list },
	{ "tree", "draw the branches with their sizes", cmd_branch_tree },
	{ "quota", "limit what a branch may own", cmd_branch_quota },
	{ "seal", "make a branch immutable", cmd_branch_seal },
	{ "commit", "merge a branch and its parents into main",
	  cmd_branch_commit },
	{ "abort", "drop a branch and its parents back to main",
	  cmd_branch_abort },
	{ "delete", "drop one branch", cmd_branch_delete },
	{ 0 },
};

int cmd_branch(int argc, char **argv)
{
	return cli_dispatch("daxfs-branch", "Branches of a daxfs region.",
			    verbs, argc, argv);
}

struct act_args {
	const char *region, *mountpoint, *name;
	bool json, force;
};

/* NAME [REGION], or [REGION] where a mountpoint names the branch. */
static void parse(const struct branch_act *act, int argc, char **argv,
		  struct act_args *a)
{
	struct opt opts[] = {
		{ 'r', "region", OPT_STR, &a->region, "REGION",
		  "the region file (default: the mounted one)" },
		{ 'm', "mountpoint", OPT_STR, &a->mountpoint, "MNT",
		  "the branch that is mounted here" },
		{ 0, "json", OPT_FLAG, &a->json, NULL,
		  "print the result as JSON" },
		{ 0, "force", OPT_FLAG, &a->force, NULL,
		  "even while it is mounted; its users get ESTALE" },
		{ 0 },
	};
	const struct opt_usage usage = {
		.program = act->program,
		.synopsis = "NAME [REGION] | -m MNT",
		.summary = act->summary,
		.example = act->example,
		.opts = opts,
		.max_args = 2,
	};
	int names, n;

	if (!act->can_force)
		memset(&opts[3], 0, sizeof(opts[3]));
	n = opts_parse(&usage, argc, argv);
	names = a->mountpoint ? 0 : 1;
	if (n < names)
		cli_usage(act->program,
			  "which branch? Give its NAME or -m MNT");
	if (n > names + (a->region ? 0 : 1))
		cli_usage(act->program, "unexpected argument '%s'", argv[n]);
	if (names)
		a->name = argv[1];
	if (n > names)
		a->region = argv[n];
}

static bool call(const struct branch_act *act, const struct act_args *a,
		 const char *region)
{
	json_object *params, *reply;
	struct session s;

	if (!session_open(act->program, region, false, &s))
		return false;
	params = json_object_new_object();
	cli_json_add_string(params, "name", a->name);
	if (a->force)
		cli_json_add(params, "force", json_object_new_boolean(true));
	reply = session_call(&s, act->method, params);
	session_close(&s);
	if (!reply)
		return false;
	json_object_put(reply);
	return true;
}

int branch_act(const struct branch_act *act, int argc, char **argv)
{
	struct act_args a = { 0 };
	int rc = DAXFS_EXIT_FAIL;
	struct target t;

	parse(act, argc, argv, &a);
	if (!target_find(act->program, a.region, a.mountpoint, &t))
		return DAXFS_EXIT_FAIL;
	if (a.mountpoint)
		a.name = t.branch;
	if (call(act, &a, t.region)) {
		rc = DAXFS_EXIT_OK;
		if (a.json) {
			json_object *o = json_object_new_object();

			cli_json_add_bytes(o, "branch", a.name);
			cli_json_add_string(o, "result", act->done);
			rc = cli_print_json(o);
		} else {
			printf("'%s': %s\n", a.name, act->done);
		}
	}
	target_free(&t);
	return rc;
}
