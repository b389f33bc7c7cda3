/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli.h"

#define PROGRAM "daxfs-branch quota"

struct args {
	const char *name, *region, *mountpoint, *bytes, *inodes;
	bool json;
};

static bool parse_count(const char *s, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(s, &end, 10);
	return *s >= '0' && *s <= '9' && !*end && !errno;
}

void branch_add_quota(const char *program, json_object *params, const char *key,
		      const char *value, bool inodes)
{
	uint64_t n = 0;
	bool ok = true;

	if (!value)
		return;
	if (!str_eq(value, "none"))
		ok = inodes ? parse_count(value, &n) : !parse_size(value, &n);
	if (!ok || n > DAXFS_QUOTA_MAX || (!n && !str_eq(value, "none")))
		cli_usage(program,
			  inodes ? "'%s': not a number of inodes, nor 'none'"
				 : "'%s': not a size as 512M or 2G, nor 'none'",
			  value);
	cli_json_add_u64(params, key, n);
}

static void parse(int argc, char **argv, struct args *a)
{
	const struct opt opts[] = {
		{ 0, "bytes", OPT_STR, &a->bytes, "SIZE",
		  "what the branch may own at most, or 'none'" },
		{ 0, "inodes", OPT_STR, &a->inodes, "N",
		  "how many files it may make and keep, or 'none'" },
		{ 'm', "mountpoint", OPT_STR, &a->mountpoint, "MNT",
		  "the branch that is mounted here" },
		{ 'r', "region", OPT_STR, &a->region, "REGION",
		  "the region file (default: the mounted one)" },
		{ 0, "json", OPT_FLAG, &a->json, NULL,
		  "print the branch as JSON" },
		{ 0 },
	};
	const struct opt_usage usage = {
		.program = PROGRAM,
		.synopsis =
			"NAME [--bytes SIZE] [--inodes N] [REGION] | -m MNT ...",
		.summary =
			"Show or change what a branch may own. Its children have quotas of their own.",
		.example =
			"  daxfs-branch quota spec1 --bytes 512M --inodes none\n",
		.opts = opts,
		.max_args = 2,
	};
	int n = opts_parse(&usage, argc, argv);
	int names = a->mountpoint ? 0 : 1;

	if (n < names)
		cli_usage(PROGRAM, "which branch? Give its NAME or -m MNT");
	if (n > names + (a->region ? 0 : 1))
		cli_usage(PROGRAM, "unexpected argument '%s'", argv[n]);
	if (names)
		a->name = argv[1];
	if (n > names)
		a->region = argv[n];
}

static void print(json_object *b)
{
	unsigned long long inodes = cli_json_u64(b, "quota_inodes");
	uint64_t bytes = cli_json_u64(b, "quota_bytes");

	printf("'%s': %s of %s, %llu inodes of ", cli_json_string(b, "name"),
	       format_size(cli_json_u64(b, "bytes")),
	       bytes ? format_size(bytes) : "any",
	       (unsigned long long)cli_json_u64(b, "inodes"));
	if (inodes)
		printf("%llu\n", inodes);
	else
		puts("any");
}

static int run(const struct args *a, json_object *params, const char *region)
{
	bool change = a->bytes || a->inodes;
	int rc = DAXFS_EXIT_FAIL;
	json_object *reply, *b;
	struct session s;

	if (!session_open(PROGRAM, region, !change, &s)) {
		json_object_put(params);
		return rc;
	}
	cli_json_add_string(params, "name", a->name);
	reply = session_call(&s, change ? "SetQuota" : "Get", params);
	session_close(&s);
	if (reply && json_object_object_get_ex(reply, "branch", &b)) {
		rc = DAXFS_EXIT_OK;
		if (a->json)
			rc = cli_print_json(json_object_get(b));
		else
			print(b);
	}
	json_object_put(reply);
	return rc;
}

int cmd_branch_quota(int argc, char **argv)
{
	json_object *params = json_object_new_object();
	struct args a = { 0 };
	struct target t;
	int rc;

	parse(argc, argv, &a);
	branch_add_quota(PROGRAM, params, "bytes", a.bytes, false);
	branch_add_quota(PROGRAM, params, "inodes", a.inodes, true);
	if (!target_find(PROGRAM, a.region, a.mountpoint, &t)) {
		json_object_put(params);
		return DAXFS_EXIT_FAIL;
	}
	if (a.mountpoint)
		a.name = t.branch;
	rc = run(&a, params, t.region);
	target_free(&t);
	return rc;
}
