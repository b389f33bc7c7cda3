/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "daemon.h"
#include "text.h"

#define PROGRAM "daxfs status"

static json_object *member(json_object *o, const char *key)
{
	json_object *v = NULL;

	json_object_object_get_ex(o, key, &v);
	return v;
}

static unsigned long long number(json_object *o, const char *key)
{
	return cli_json_u64(o, key);
}

static void print_path(const char *label, const char *path)
{
	printf("%-11s", label);
	cli_print_name(path, strlen(path));
	putchar('\n');
}

static void print_region(json_object *s)
{
	unsigned long long all = number(s, "segments"),
			   left = number(s, "segments_free");
	unsigned long long segment = number(s, "segment_bytes");
	unsigned long long log = number(s, "log_bytes");
	double percent = all ? 100.0 * (double)(all - left) / (double)all : 0;

	printf("  space    %s of %s in use (%.0f%%): files %s, logs %s (%.0f%% written)\n",
	       format_size((all - left) * segment), format_size(all * segment),
	       percent, format_size(number(s, "data_bytes")), format_size(log),
	       log ? 100.0 * (double)number(s, "log_used_bytes") / (double)log
		   : 0);
	printf("  branches %llu of %llu: %llu active, %llu sealed, %llu damaged\n",
	       number(s, "branches_active") + number(s, "branches_sealed") +
		       number(s, "branches_damaged"),
	       number(s, "branch_slots"), number(s, "branches_active"),
	       number(s, "branches_sealed"), number(s, "branches_damaged"));
}

static void print_front(json_object *f)
{
	json_object *requests = member(f, "requests");
	unsigned long long n = 0;

	if (json_object_is_type(requests, json_type_object)) {
		json_object_object_foreach(requests, op, count)
		{
			(void)op;
			n += json_object_get_uint64(count);
		}
	}
	printf("  mounts   %llu: %llu requests served, %s read, %s written\n",
	       number(f, "mounts"), n, format_size(number(f, "read_bytes")),
	       format_size(number(f, "written_bytes")));
}

static void print_snapshots(json_object *s)
{
	printf("snapshots  %llu committed, %llu active, %llu views",
	       number(s, "committed"), number(s, "active"), number(s, "view"));
	if (number(s, "preparing") + number(s, "committing"))
		printf("; %llu being made or committed",
		       number(s, "preparing") + number(s, "committing"));
	if (number(s, "removing"))
		printf("; %llu removed, to be freed", number(s, "removing"));
	if (number(s, "lost"))
		printf("; %llu lost", number(s, "lost"));
	putchar('\n');
}

/* What the last start had to put right. */
static void print_start(json_object *s)
{
	static const struct {
		const char *key, *text;
	} rows[] = {
		{ "creations_undone", "creations undone" },
		{ "commits_undone", "commits undone" },
		{ "removals_to_finish", "removals to finish" },
		{ "branches_remade", "lost branches made anew" },
		{ "branches_dropped", "branches of nobody dropped" },
		{ "mountpoints_removed", "mount points removed" },
	};
	const char *before = "";

	printf("last start ");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (!number(s, rows[i].key))
			continue;
		printf("%s%s: %llu", before, rows[i].text,
		       number(s, rows[i].key));
		before = ", ";
	}
	printf("%s\n", *before ? "" : "nothing to put right");
}

static void print_error(json_object *e)
{
	const char *text = cli_json_string(e, "message");
	char age[24];

	printf("last error %s ago: ",
	       text_age(cli_json_u64(e, "time_ns"), age));
	cli_print_name(text, strlen(text));
	putchar('\n');
}

static void print_list(json_object *list, const char *what)
{
	for (size_t i = 0; json_object_is_type(list, json_type_array) &&
			   i < json_object_array_length(list);
	     i++) {
		const char *s = json_object_get_string(
			json_object_array_get_idx(list, i));

		printf("%-11s", what);
		if (s)
			cli_print_name(s, strlen(s));
		putchar('\n');
	}
}

static void print_page(json_object *s)
{
	json_object *o;
	char age[48];

	printf("%s\n", cli_json_bool(s, "healthy") ? "healthy" : "NOT HEALTHY");
	print_list(member(s, "problems"), "problem");
	print_list(member(s, "warnings"), "warning");
	printf("version    %s, process %llu, running for %s\n",
	       cli_json_string(s, "version"), number(s, "pid"),
	       text_duration(cli_json_u64(s, "uptime_ns"), age));
	print_path("root", cli_json_string(s, "root"));
	print_path("state", cli_json_string(s, "state"));
	print_path("pool", cli_json_string(s, "pool"));
	if ((o = member(s, "stats")))
		print_region(o);
	if ((o = member(s, "front")))
		print_front(o);
	print_snapshots(member(s, "snapshots"));
	print_start(member(s, "start"));
	if ((o = member(s, "last_error")))
		print_error(o);
}

/* On stdout too there is an object where nobody answers. */
static int no_answer(const struct daemon *d, bool json)
{
	json_object *o, *problems;

	if (!json)
		return DAXFS_EXIT_FAIL;
	o = json_object_new_object();
	problems = json_object_new_array();
	json_object_array_add(problems, json_object_new_string(d->why));
	cli_json_add(o, "healthy", json_object_new_boolean(false));
	cli_json_add(o, "problems", problems);
	cli_print_json(o);
	return DAXFS_EXIT_FAIL;
}

int cmd_status(int argc, char **argv)
{
	json_object *reply = NULL, *status;
	const char *state = NULL;
	bool json = false;
	int rc;
	const struct opt opts[] = {
		DAEMON_STATE_OPTION(&state),
		{ 0, "json", OPT_FLAG, &json, NULL, "print JSON" },
		{ 0 },
	};
	const struct opt_usage usage = {
		.program = PROGRAM,
		.summary =
			"Tell how the snapshotter and its pool do. Exit status 1: not healthy.",
		.example = "  daxfs status || alert\n",
		.opts = opts,
	};
	struct daemon d = { 0 };

	opts_parse(&usage, argc, argv);
	if (daemon_open(PROGRAM, state, &d))
		reply = daemon_call(&d, "Monitor.GetStatus", NULL);
	status = reply ? member(reply, "status") : NULL;
	if (status) {
		rc = cli_json_bool(status, "healthy") ? DAXFS_EXIT_OK
						      : DAXFS_EXIT_FAIL;
		if (!json)
			print_page(status);
		else if (cli_print_json(json_object_get(status)))
			rc = DAXFS_EXIT_FAIL;
	} else {
		rc = no_answer(&d, json);
	}
	json_object_put(reply);
	daemon_close(&d);
	return rc;
}
