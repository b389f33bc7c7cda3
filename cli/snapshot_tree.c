/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "snapshot.h"
#include "text.h"

#define PROGRAM "daxfs snapshot tree"
#define NAME_WIDTH 56 /* with what is drawn before it */
#define OTHER_COLUMNS 22

static unsigned name_width;
static bool cut_names;

static void keep(void *arg, json_object *info)
{
	json_object *o = json_object_new_object(), *v;

	/* labels, which may be long, are not drawn */
	for (size_t i = 0; i < 6; i++) {
		static const char *const keys[] = { "name",   "parent",
						    "kind",   "size",
						    "inodes", "created_ns" };

		if (json_object_object_get_ex(info, keys[i], &v))
			cli_json_add(o, keys[i], json_object_get(v));
	}
	json_object_array_add(arg, o);
}

/* What the list does not say; one that is gone by now has no size. */
static void add_sizes(struct daemon *d, json_object *all)
{
	d->quiet = true;
	for (size_t i = 0; i < json_object_array_length(all); i++) {
		json_object *o = json_object_array_get_idx(all, i);
		uint64_t bytes, inodes;

		if (!daemon_usage(d, o, &bytes, &inodes))
			continue;
		cli_json_add_u64(o, "size", bytes);
		cli_json_add_u64(o, "inodes", inodes);
	}
}

static void print_node(json_object *o, unsigned indent)
{
	unsigned width = indent + 12 < name_width ? name_width - indent : 12;

	text_column(cli_json_string(o, "name"), width, cut_names);
	printf("  %-9s %10s\n", cli_json_string(o, "kind"),
	       json_object_object_get_ex(o, "size", NULL)
		       ? format_size(cli_json_u64(o, "size"))
		       : "?");
}

static bool print(json_object *all, bool json)
{
	struct snapshot_output out = { .json = true };
	unsigned columns = text_terminal();

	name_width =
		columns > OTHER_COLUMNS ? columns - OTHER_COLUMNS : NAME_WIDTH;
	cut_names = columns != 0;
	if (!json)
		return cli_draw_tree(all, print_node);
	for (size_t i = 0; i < json_object_array_length(all); i++)
		snapshot_json(&out, json_object_get(
					    json_object_array_get_idx(all, i)));
	snapshot_json_end(&out);
	return true;
}

int cmd_snapshot_tree(int argc, char **argv)
{
	json_object *all = json_object_new_array();
	const char *state = NULL;
	bool json = false, ok;
	const struct opt opts[] = {
		DAEMON_STATE_OPTION(&state),
		{ 0, "json", OPT_FLAG, &json, NULL,
		  "print JSON: a flat array; parent is the name of another" },
		{ 0 },
	};
	const struct opt_usage usage = {
		.program = PROGRAM,
		.summary =
			"Draw the snapshots, with what each holds by itself.",
		.example = "  daxfs snapshot tree\n",
		.opts = opts,
	};
	struct daemon d = { 0 };

	opts_parse(&usage, argc, argv);
	ok = daemon_open(PROGRAM, state, &d) &&
	     snapshot_each(&d, NULL, 0, keep, all);
	if (ok) {
		add_sizes(&d, all);
		ok = print(all, json);
		if (!ok)
			cli_error(PROGRAM, "out of memory");
	}
	daemon_close(&d);
	json_object_put(all);
	return ok ? DAXFS_EXIT_OK : DAXFS_EXIT_FAIL;
}
