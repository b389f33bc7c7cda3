/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "snapshot.h"
#include "text.h"

#define PROGRAM "daxfs snapshot usage"

struct usage {
	struct daemon d;
	struct snapshot_output out;
	unsigned count;
	uint64_t bytes, inodes;
	bool failed;
};

static void print(struct usage *u, const char *name, uint64_t bytes,
		  uint64_t inodes)
{
	json_object *o;

	u->count++;
	u->bytes += bytes;
	u->inodes += inodes;
	if (!u->out.json) {
		cleanup_free char *shown = text_escape(name, strlen(name));

		printf("%10s %10llu  %s\n", format_size(bytes),
		       (unsigned long long)inodes, shown);
		return;
	}
	o = json_object_new_object();
	cli_json_add_bytes(o, "name", name);
	cli_json_add_u64(o, "size", bytes);
	cli_json_add_u64(o, "inodes", inodes);
	snapshot_json(&u->out, o);
}

static void usage_of(struct usage *u, const char *key)
{
	json_object *reply =
		daemon_call(&u->d, "Snapshots.Usage", daemon_key(PROGRAM, key));

	if (reply)
		print(u, key, cli_json_u64(reply, "size"),
		      cli_json_u64(reply, "inodes"));
	else
		u->failed = true;
	json_object_put(reply);
}

static void of_listed(void *arg, json_object *info)
{
	struct usage *u = arg;
	uint64_t bytes, inodes;

	/* one that was removed meanwhile has none */
	if (daemon_usage(&u->d, info, &bytes, &inodes))
		print(u, cli_json_string(info, "name"), bytes, inodes);
}

static void of_all(struct usage *u, const char *state)
{
	struct daemon list = { 0 };

	u->d.quiet = true;
	if (!daemon_open(PROGRAM, state, &list) ||
	    !snapshot_each(&list, NULL, 0, of_listed, u))
		u->failed = true;
	daemon_close(&list);
}

int cmd_snapshot_usage(int argc, char **argv)
{
	struct usage u = { .count = 0 };
	const char *state = NULL;
	const struct opt opts[] = {
		DAEMON_STATE_OPTION(&state),
		{ 0, "json", OPT_FLAG, &u.out.json, NULL, "print JSON" },
		{ 0 },
	};
	const struct opt_usage usage = {
		.program = PROGRAM,
		.synopsis = "[KEY...]",
		.summary = "Tell what snapshots hold by themselves: of all, or "
			   "of those that are named.",
		.example = "  daxfs snapshot usage default/5/web\n",
		.opts = opts,
		.max_args = 1024,
	};
	int n = opts_parse(&usage, argc, argv);

	if (!daemon_open(PROGRAM, state, &u.d)) {
		daemon_close(&u.d);
		return DAXFS_EXIT_FAIL;
	}
	if (!u.out.json)
		printf("%10s %10s  %s\n", "SIZE", "INODES", "NAME");
	for (int i = 1; i <= n; i++)
		usage_of(&u, argv[i]);
	if (!n)
		of_all(&u, state);
	if (!u.out.json && u.count > 1)
		printf("%10s %10llu  %u snapshots\n", format_size(u.bytes),
		       (unsigned long long)u.inodes, u.count);
	snapshot_json_end(&u.out);
	daemon_close(&u.d);
	return u.failed ? DAXFS_EXIT_FAIL : DAXFS_EXIT_OK;
}
