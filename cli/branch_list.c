/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <time.h>

#include "cli.h"

static void print_mounts(json_object *b)
{
	json_object *m;
	size_t i;

	if (!json_object_object_get_ex(b, "mountpoints", &m) ||
	    !json_object_is_type(m, json_type_array))
		return;
	for (i = 0; i < json_object_array_length(m); i++) {
		const char *s =
			json_object_get_string(json_object_array_get_idx(m, i));

		printf(i ? "," : "  ");
		if (s)
			cli_print_name(s, strlen(s));
	}
}

static void format_time(uint64_t ns, char out[32])
{
	time_t t = (time_t)(ns / 1000000000u);
	struct tm tm;

	if (!ns || !localtime_r(&t, &tm) ||
	    !strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm))
		strcpy(out, "-");
}

/* "12", or "12/100" with a quota. */
static void format_inodes(json_object *b, char out[48])
{
	unsigned long long used = cli_json_u64(b, "inodes");
	unsigned long long quota = cli_json_u64(b, "quota_inodes");

	if (quota)
		snprintf(out, 48, "%llu/%llu", used, quota);
	else
		snprintf(out, 48, "%llu", used);
}

const char *cli_branch_state(json_object *branch)
{
	return cli_json_bool(branch, "damaged")
		       ? "damaged"
		       : cli_json_string(branch, "state");
}

static void print_branch(json_object *b)
{
	const char *parent = cli_json_string(b, "parent");
	uint64_t quota = cli_json_u64(b, "quota_bytes");
	char when[32], inodes[48];

	format_time(cli_json_u64(b, "created_ns"), when);
	format_inodes(b, inodes);
	printf("%-24s %-24s %-7s %-5s %10s %10s %9s  %-19s",
	       cli_json_string(b, "name"), *parent ? parent : "-",
	       cli_branch_state(b),
	       cli_json_bool(b, "persistent") ? "yes" : "no",
	       format_size(cli_json_u64(b, "bytes")),
	       quota ? format_size(quota) : "-", inodes, when);
	print_mounts(b);
	putchar('\n');
}

int branch_print_list(json_object *reply)
{
	json_object *all;
	size_t i;

	if (!json_object_object_get_ex(reply, "branches", &all))
		return DAXFS_EXIT_OK;
	printf("%-24s %-24s %-7s %-5s %10s %10s %9s  %-19s  %s\n", "NAME",
	       "PARENT", "STATE", "KEPT", "SIZE", "QUOTA", "INODES", "CREATED",
	       "MOUNTED ON");
	for (i = 0; i < json_object_array_length(all); i++)
		print_branch(json_object_array_get_idx(all, i));
	return DAXFS_EXIT_OK;
}

/* `list` and `tree`: the same question, two pictures. */
int branch_show(const char *program, const char *summary, const char *example,
		int (*print)(json_object *reply), int argc, char **argv)
{
	const char *region = NULL;
	bool json = false;
	const struct opt opts[] = {
		{ 'r', "region", OPT_STR, &region, "REGION",
		  "the region file (default: the mounted one)" },
		{ 0, "json", OPT_FLAG, &json, NULL, "print JSON" },
		{ 0 },
	};
	const struct opt_usage usage = {
		.program = program,
		.synopsis = "[REGION]",
		.summary = summary,
		.example = example,
		.opts = opts,
		.max_args = 1,
	};
	int rc = DAXFS_EXIT_FAIL;
	json_object *reply;
	struct session s;
	struct target t;

	if (opts_parse(&usage, argc, argv) == 1) {
		if (region)
			cli_usage(program, "unexpected argument '%s'", argv[1]);
		region = argv[1];
	}
	if (!target_find(program, region, NULL, &t))
		return rc;
	if (session_open(program, t.region, true, &s)) {
		reply = session_call(&s, "List", NULL);
		session_close(&s);
		if (reply)
			rc = json ? cli_print_json(json_object_get(reply))
				  : print(reply);
		json_object_put(reply);
	}
	target_free(&t);
	return rc;
}

int cmd_branch_list(int argc, char **argv)
{
	return branch_show("daxfs-branch list",
			   "List the branches of a region.",
			   "  daxfs-branch list rootfs.daxfs\n",
			   branch_print_list, argc, argv);
}
