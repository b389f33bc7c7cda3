/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "snapshot.h"
#include "text.h"

#define PROGRAM "daxfs snapshot ls"
#define NAME_WIDTH 40 /* where nobody says how much room there is */
#define NAME_WIDTH_MIN 12
#define OTHER_COLUMNS 34 /* KIND, SIZE, AGE, and what is between */

struct listing {
	struct daemon sizes; /* asks what active ones hold, beside the list */
	struct snapshot_output out;
	unsigned name_width;
	bool cut;
	bool failed; /* sizes are not known */
};

/* A size, if it can be had: one may be removed while it is listed. */
static bool find_size(struct listing *l, json_object *info, uint64_t *bytes,
		      uint64_t *inodes)
{
	if (l->failed)
		return json_object_object_get_ex(info, "size", NULL) &&
		       daemon_usage(NULL, info, bytes, inodes);
	if (daemon_usage(&l->sizes, info, bytes, inodes))
		return true;
	/* its connection has ended: it would fail each time */
	l->failed = strstr(l->sizes.why, l->sizes.socket) != NULL;
	return false;
}

static void print_row(struct listing *l, json_object *info)
{
	const char *parent = cli_json_string(info, "parent");
	uint64_t bytes, inodes;
	char age[24];

	text_column(cli_json_string(info, "name"), l->name_width, l->cut);
	printf("  %-9s  ", cli_json_string(info, "kind"));
	text_column(*parent ? parent : "-", l->name_width, l->cut);
	printf("  %10s  %4s\n",
	       find_size(l, info, &bytes, &inodes) ? format_size(bytes) : "?",
	       text_age(cli_json_u64(info, "created_ns"), age));
}

static void print_json(struct listing *l, json_object *info)
{
	uint64_t bytes, inodes;

	json_object_get(info);
	if (find_size(l, info, &bytes, &inodes)) {
		cli_json_add_u64(info, "size", bytes);
		cli_json_add_u64(info, "inodes", inodes);
	}
	snapshot_json(&l->out, info);
}

static void show(void *arg, json_object *info)
{
	struct listing *l = arg;

	if (l->out.json)
		print_json(l, info);
	else
		print_row(l, info);
}

/* Names share what a terminal's line has left. */
static void choose_widths(struct listing *l)
{
	unsigned columns = text_terminal();

	l->name_width = NAME_WIDTH;
	l->cut = columns != 0;
	if (columns > OTHER_COLUMNS)
		l->name_width = (columns - OTHER_COLUMNS) / 2;
	if (l->name_width < NAME_WIDTH_MIN)
		l->name_width = NAME_WIDTH_MIN;
}

static void print_head(const struct listing *l)
{
	text_column("NAME", l->name_width, false);
	printf("  %-9s  ", "KIND");
	text_column("PARENT", l->name_width, false);
	printf("  %10s  %4s\n", "SIZE", "AGE");
}

int cmd_snapshot_ls(int argc, char **argv)
{
	struct listing l = { .sizes.quiet = true };
	const char *state = NULL;
	const struct opt opts[] = {
		DAEMON_STATE_OPTION(&state),
		{ 0, "json", OPT_FLAG, &l.out.json, NULL, "print JSON" },
		{ 0 },
	};
	const struct opt_usage usage = {
		.program = PROGRAM,
		.synopsis = "[FILTER...]",
		.summary = "List snapshots; those that one of the filters "
			   "selects, in containerd's syntax.",
		.example = "  daxfs snapshot ls kind==active 'name~=/^k8s/'\n",
		.opts = opts,
		.max_args = 1024,
	};
	struct daemon d = { 0 };
	int n = opts_parse(&usage, argc, argv);
	bool ok = daemon_open(PROGRAM, state, &d) &&
		  daemon_open(PROGRAM, state, &l.sizes);

	choose_widths(&l);
	if (ok && !l.out.json)
		print_head(&l);
	ok = ok && snapshot_each(&d, argv + 1, n, show, &l);
	if (ok)
		snapshot_json_end(&l.out);
	daemon_close(&d);
	daemon_close(&l.sizes);
	return ok ? DAXFS_EXIT_OK : DAXFS_EXIT_FAIL;
}
