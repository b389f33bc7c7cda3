/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli.h"

#define PROGRAM "daxfs-inspect info"

static const struct {
	uint64_t bit;
	const char *name;
} compat_names[] = {
	{ DAXFS_COMPAT_BASE_ATTRS, "base-attrs" },
	{ DAXFS_COMPAT_SORTED_DIRS, "sorted-dirs" },
}, ro_compat_names[] = {
	{ DAXFS_RO_COMPAT_BRANCH_META, "branch-meta" },
}, incompat_names[] = {
	{ DAXFS_INCOMPAT_SEGMENTS, "segments" },
};

static void add_features(json_object *array, const struct daxfs_region_info *i)
{
	size_t k;

	for (k = 0; k < ARRAY_SIZE(compat_names); k++)
		if (i->compat & compat_names[k].bit)
			json_object_array_add(array,
					      json_object_new_string(
						      compat_names[k].name));
	for (k = 0; k < ARRAY_SIZE(ro_compat_names); k++)
		if (i->ro_compat & ro_compat_names[k].bit)
			json_object_array_add(array,
					      json_object_new_string(
						      ro_compat_names[k].name));
	for (k = 0; k < ARRAY_SIZE(incompat_names); k++)
		if (i->incompat & incompat_names[k].bit)
			json_object_array_add(array,
					      json_object_new_string(
						      incompat_names[k].name));
}

static json_object *describe(const char *path, const struct inspected *in)
{
	json_object *o = json_object_new_object();
	json_object *features = json_object_new_array();
	struct daxfs_region_info i;
	char uuid[37];

	daxfs_region_info(in->r, &i);
	cli_format_uuid(i.uuid, uuid);
	add_features(features, &i);
	cli_json_add_bytes(o, "path", path);
	cli_json_add_u64(o, "version", DAXFS_VERSION);
	cli_json_add_string(o, "uuid", uuid);
	cli_json_add_string(o, "kind",
			    i.delta_size ? "writable region" : "static image");
	cli_json_add(o, "in_use", json_object_new_boolean(in->in_use));
	cli_json_add(o, "features", features);
	cli_json_add_u64(o, "compat", i.compat);
	cli_json_add_u64(o, "ro_compat", i.ro_compat);
	cli_json_add_u64(o, "incompat", i.incompat);
	cli_json_add_u64(o, "total_bytes", i.total_size);
	cli_json_add_u64(o, "base_offset", i.base_offset);
	cli_json_add_u64(o, "base_bytes", i.base_size);
	cli_json_add_u64(o, "base_inodes", i.base_inodes);
	cli_json_add_u64(o, "delta_offset", i.delta_offset);
	cli_json_add_u64(o, "delta_bytes", i.delta_size);
	cli_json_add_u64(o, "segment_bytes", i.segment_size);
	cli_json_add_u64(o, "segments", i.segments);
	cli_json_add_u64(o, "segments_free", i.segments_free);
	cli_json_add_u64(o, "branches", i.branches);
	cli_json_add_u64(o, "branch_slots", i.branch_slots);
	cli_json_add_u64(o, "commit_sequence", i.commit_sequence);
	cli_json_add_u64(o, "next_inode", i.next_inode);
	return o;
}

static void print_size(const char *label, json_object *o, const char *key)
{
	uint64_t v = cli_json_u64(o, key);

	printf("%-16s %llu (%s)\n", label, (unsigned long long)v,
	       format_size(v));
}

static void print_number(const char *label, json_object *o, const char *key)
{
	printf("%-16s %llu\n", label, (unsigned long long)cli_json_u64(o, key));
}

static void print_text(json_object *o)
{
	json_object *features;
	size_t k;

	printf("%-16s %s\n", "path", cli_json_string(o, "path"));
	printf("%-16s %s%s\n", "kind", cli_json_string(o, "kind"),
	       cli_json_bool(o, "in_use") ? ", in use" : "");
	print_number("version", o, "version");
	printf("%-16s %s\n", "uuid", cli_json_string(o, "uuid"));
	printf("%-16s", "features");
	json_object_object_get_ex(o, "features", &features);
	for (k = 0; k < json_object_array_length(features); k++)
		printf(" %s", json_object_get_string(
				      json_object_array_get_idx(features, k)));
	puts(k ? "" : " none");
	print_size("size", o, "total_bytes");
	if (cli_json_u64(o, "base_bytes")) {
		print_number("base offset", o, "base_offset");
		print_size("base size", o, "base_bytes");
		print_number("base inodes", o, "base_inodes");
	}
	if (!cli_json_u64(o, "delta_bytes"))
		return;
	print_number("delta offset", o, "delta_offset");
	print_size("delta size", o, "delta_bytes");
	printf("%-16s %llu of %s, %llu free\n", "segments",
	       (unsigned long long)cli_json_u64(o, "segments"),
	       format_size(cli_json_u64(o, "segment_bytes")),
	       (unsigned long long)cli_json_u64(o, "segments_free"));
	printf("%-16s %llu of %llu\n", "branches",
	       (unsigned long long)cli_json_u64(o, "branches"),
	       (unsigned long long)cli_json_u64(o, "branch_slots"));
	print_number("commits", o, "commit_sequence");
	print_number("next inode", o, "next_inode");
}

int cmd_inspect_info(int argc, char **argv)
{
	bool json = false;
	const struct opt opts[] = {
		{ 0, "json", OPT_FLAG, &json, NULL, "print JSON" },
		{ 0 },
	};
	const struct opt_usage usage = {
		.program = PROGRAM,
		.synopsis = "IMAGE",
		.summary = "Show superblock, layout and features of an image.",
		.example = "  daxfs-inspect info rootfs.daxfs\n",
		.opts = opts,
		.min_args = 1,
		.max_args = 1,
	};
	struct inspected in;
	json_object *o;

	opts_parse(&usage, argc, argv);
	if (!inspect_open(PROGRAM, argv[1], 0, &in))
		return DAXFS_EXIT_FAIL;
	o = describe(argv[1], &in);
	inspect_close(&in);
	if (json)
		return cli_print_json(o);
	print_text(o);
	json_object_put(o);
	return DAXFS_EXIT_OK;
}
