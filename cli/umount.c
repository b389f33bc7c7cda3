/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

#include "cli.h"

#define PROGRAM "daxfs umount"

/* Detach through the server, which alone can keep a speculative branch. */
static int unmount_by_server(const struct target *t, const char *mountpoint,
			     bool keep)
{
	cleanup_free char *abs = path_absolute(mountpoint);
	json_object *params, *reply;
	struct session s;
	int rc;

	if (!abs)
		return cli_error(PROGRAM, "'%s': %s", mountpoint,
				 log_err(errno));
	if (!session_open(PROGRAM, t->region, true, &s))
		return DAXFS_EXIT_FAIL;
	params = json_object_new_object();
	cli_json_add_string(params, "mountpoint", abs);
	cli_json_add(params, "keep", json_object_new_boolean(keep));
	reply = session_call(&s, "Unmount", params);
	rc = reply ? DAXFS_EXIT_OK : DAXFS_EXIT_FAIL;
	session_close(&s);
	json_object_put(reply);
	return rc;
}

/* Its server was killed: no other knows of it. */
static bool is_dead(const char *mountpoint)
{
	struct stat st;

	return stat(mountpoint, &st) < 0 && errno == ENOTCONN;
}

/* Is it still to be dropped? Not if persistent, mounted or kept for children. */
static bool dropping(const struct target *t)
{
	json_object *params, *reply = NULL, *branch;
	struct cli_mount *all = NULL;
	struct session s;
	size_t n = 0, i;
	bool more = true;

	if (cli_mounts(&all, &n) < 0)
		return false;
	for (i = 0; i < n; i++)
		if (str_eq(all[i].region, t->region) &&
		    str_eq(all[i].branch, t->branch))
			more = false;
	cli_mounts_free(all, n);
	if (!more || session_connect(PROGRAM, t->region, &s))
		return false;
	params = json_object_new_object();
	cli_json_add_string(params, "name", t->branch);
	more = varlink_call(s.client, "io.daxfs.Branches.Get", params, 1000,
			    &reply, NULL) == 0 &&
	       json_object_object_get_ex(reply, "branch", &branch) &&
	       !cli_json_bool(branch, "persistent") &&
	       !cli_json_u64(branch, "children");
	json_object_put(params);
	json_object_put(reply);
	session_close(&s);
	return more;
}

/*
 * The kernel tells the server, which then drops the branch: wait for it, a
 * little, so that the next command finds it done.
 */
static int unmounted(const struct target *t)
{
	struct timespec step = { 0, 10000000 };
	int i;

	for (i = 0; i < 200 && dropping(t); i++)
		nanosleep(&step, NULL);
	return DAXFS_EXIT_OK;
}

int cmd_umount(int argc, char **argv)
{
	bool keep = false, lazy = false;
	const struct opt opts[] = {
		{ 'k', "keep", OPT_FLAG, &keep, NULL,
		  "do not drop the branch, even if it is not persistent" },
		{ 'l', "lazy", OPT_FLAG, &lazy, NULL,
		  "take it away even while it is used" },
		{ 0 },
	};
	const struct opt_usage usage = {
		.program = PROGRAM,
		.synopsis = "MOUNTPOINT",
		.summary =
			"Unmount a branch. One that is not persistent is dropped with its last mount.",
		.example = "  daxfs umount /mnt/try1\n",
		.opts = opts,
		.min_args = 1,
		.max_args = 1,
	};
	struct target t;
	int rc;

	opts_parse(&usage, argc, argv);
	if (!target_find(PROGRAM, NULL, argv[1], &t))
		return DAXFS_EXIT_FAIL;
	if ((keep || lazy) && !is_dead(argv[1]))
		rc = unmount_by_server(&t, argv[1], keep);
	else if (umount2(argv[1], UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) ==
		 0)
		rc = unmounted(&t);
	else if (errno == EBUSY)
		rc = cli_error(PROGRAM,
			       "'%s': in use; end what uses it, or add --lazy",
			       argv[1]);
	else
		rc = cli_error(PROGRAM, "'%s': %s", argv[1], log_err(errno));
	target_free(&t);
	return rc;
}
