/* SPDX-License-Identifier: Apache-2.0 */
/* io.daxfs.Branches on the region's control socket. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/log.h"
#include "../common/util.h"
#include "server.h"
#include "stats.h"

/* A slow sync or commit must not keep mounts waiting. */
#define WORKERS 4

#ifndef DAXFS_VERSION_STRING
#define DAXFS_VERSION_STRING "unknown"
#endif

static int hook_mount(void *arg, const char *branch, const char *mountpoint,
		      unsigned flags, struct daxfs_message *msg)
{
	return mount_branch(arg, branch, mountpoint, flags, msg);
}

static int hook_unmount(void *arg, const char *mountpoint, bool keep,
			struct daxfs_message *msg)
{
	return mount_detach(arg, mountpoint, keep, msg);
}

static int hook_unmount_branch(void *arg, const char *branch)
{
	return mount_detach_branch(arg, branch);
}

static void hook_mountpoints(void *arg, const char *branch, json_object *array)
{
	mount_list_points(arg, branch, array);
}

static bool hook_mounted(void *arg, const char *branch)
{
	return mount_has(arg, branch);
}

static int hook_flush(void *arg, const char *branch)
{
	return mount_flush_branch(arg, branch);
}

/* What ended has been queued by on_end(); main is queued here. */
static void hook_ended(void *arg, bool main_changed)
{
	struct server *srv = arg;
	struct daxfs_branch *b;

	if (main_changed && !daxfs_branch_get(srv->region, "main", &b)) {
		struct mount *m = mount_of(srv, b);

		if (m)
			notifier_invalidate(srv->notifier, m);
		daxfs_branch_put(b);
	}
	notifier_drain(srv->notifier);
}

static bool hook_stats(void *arg, json_object *front, json_object **mounts)
{
	return stats_json(arg, front, mounts);
}

static void on_end(void *arg, struct daxfs_branch *b)
{
	struct server *srv = arg;
	struct mount *m = mount_of(srv, b);

	if (m)
		notifier_invalidate(srv->notifier, m);
}

static void *control_main(void *arg)
{
	struct server *srv = arg;
	int rc = varlink_server_run(srv->control);

	if (rc)
		log_event(LOG_ERROR, "the control socket failed", "error",
			  log_err(-rc), NULL);
	return NULL;
}

static int make_parent(const char *path)
{
	cleanup_free char *dir = strdup(path);

	if (!dir)
		return -ENOMEM;
	*strrchr(dir, '/') = '\0';
	return mkdir_parents(dir, 0755);
}

int control_start(struct server *srv, struct daxfs_message *msg)
{
	const struct varlink_server_options options = {
		.vendor = "daxfs",
		.product = "daxfs-fuse",
		.version = DAXFS_VERSION_STRING,
		.url = "",
		.workers = WORKERS,
		.allow_uid = (uid_t)-1,
		.slow_call_ms = srv->slow_call_ms,
	};
	int rc;

	srv->branches = (struct branches_service){
		.region = srv->region,
		.path = srv->file.path,
		.mounter = {
			.mount = hook_mount,
			.unmount = hook_unmount,
			.unmount_branch = hook_unmount_branch,
			.mountpoints = hook_mountpoints,
			.mounted = hook_mounted,
			.flush = hook_flush,
			.ended = hook_ended,
			.stats = hook_stats,
			.arg = srv,
		},
	};
	branches_interface(&srv->branches, &srv->interface);
	srv->interfaces[0] = &srv->interface;
	daxfs_region_on_end(srv->region, on_end, srv);
	rc = make_parent(srv->socket);
	if (!rc)
		rc = varlink_server_new(srv->socket, srv->interfaces, 1,
					&options, &srv->control);
	if (!rc) {
		rc = -pthread_create(&srv->control_thread, NULL, control_main,
				     srv);
		srv->control_running = !rc;
	}
	if (rc)
		snprintf(msg->text, sizeof(msg->text),
			 "control socket '%.160s': %s", srv->socket,
			 log_err(-rc));
	return rc;
}

void control_stop(struct server *srv)
{
	if (srv->control_running) {
		varlink_server_stop(srv->control);
		pthread_join(srv->control_thread, NULL);
		srv->control_running = false;
	}
	if (srv->control)
		varlink_server_free(srv->control);
	srv->control = NULL;
}
