/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>

#include "../common/activation.h"
#include "../common/confine_daemon.h"
#include "../common/log.h"
#include "../common/opts.h"
#include "../common/util.h"
#include "api.h"
#include "monitor.h"
#include "pool_choose.h"
#include "settings.h"
#include "supervise.h"

#ifndef DAXFS_VERSION_STRING
#define DAXFS_VERSION_STRING "unknown"
#endif

struct daemon {
	struct settings set;
	/* two of us on one root or state would undo each other's work */
	int root_lock, state_lock;
	uid_t user; /* beside root; -1: none */
	struct snapshotter snap;
	struct monitor monitor;
	struct varlink_interface snapshots, monitoring;
	struct varlink_server *server;
	char *socket;
	struct supervisor *supervisor;
};

/* *fd keeps the lock. */
static int lock_folder(const char *folder, int *fd, struct failure *f)
{
	cleanup_free char *path = str_printf("%s/lock", folder);

	if (!path)
		return failure_no_memory(f);
	*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (*fd < 0)
		return failure_set(f, FAILURE_UNKNOWN, errno,
				   "cannot write to %s: %s", folder,
				   log_err(errno));
	if (flock(*fd, LOCK_EX | LOCK_NB) < 0)
		return failure_set(f, FAILURE_UNKNOWN, errno, "%s: %s", folder,
				   errno == EWOULDBLOCK
					   ? "in use by another daxfs-snapshotter"
					   : log_err(errno));
	return 0;
}

/* It stays to be looked into; what it said is rebuilt from the pool. */
static int set_aside(const char *path, const char *why, struct failure *f)
{
	cleanup_free char *reason = strdup(why);
	cleanup_free char *aside = NULL;

	if (!reason)
		return failure_no_memory(f);
	if (store_set_aside(path, &aside, f) < 0)
		return -1;
	log_event(LOG_ERROR, "metadata is damaged: set aside", "file", path,
		  "now", aside, "error", reason, NULL);
	return 0;
}

static int open_store(struct daemon *d, struct failure *f)
{
	cleanup_free char *path = str_printf("%s/metadata.db", d->set.root);

	if (!path)
		return failure_no_memory(f);
	if (store_left_log(path) && set_aside(path, "only its log is left", f))
		return -1;
	if (store_open(path, &d->snap.store, f) == 0)
		return 0;
	if (f->err != EUCLEAN || set_aside(path, f->text, f) < 0)
		return -1;
	return store_open(path, &d->snap.store, f);
}

static int rebuild(void *arg, struct failure *f)
{
	return snapshotter_rebuild(arg, f);
}

static int open_pool(struct daemon *d, struct failure *f)
{
	cleanup_free char *region = str_printf("%s/pool.daxfs", d->set.root);
	const struct pool_choice choice = {
		.settings = {
			.region = region,
			.state = d->set.state,
			.size = d->set.pool_size,
			.branches = d->set.pool_branches,
			.start_timeout = d->set.start_timeout,
			.fuse = d->set.fuse,
		},
		.root = d->set.root,
		.replace_lost = d->set.replace_lost_pool,
		.rebuild = rebuild,
		.arg = &d->snap,
	};

	if (!region)
		return failure_no_memory(f);
	if (pool_choose(&choice, d->snap.store, &d->snap.pool, f) < 0)
		return -1;
	pool_renew(d->snap.pool);
	return 0;
}

static int find_user(const char *name, uid_t *out, struct failure *f)
{
	struct passwd *pw;

	*out = (uid_t)-1;
	if (!*name)
		return 0;
	errno = 0;
	pw = getpwnam(name);
	if (!pw && str_eq(name, SETTINGS_USER))
		return 0; /* daxfs-grpc runs as root then */
	if (!pw)
		return failure_set(f, FAILURE_INVALID_ARGUMENT, ENOENT,
				   "configuration: user = %s: there is no such "
				   "user",
				   name);
	*out = pw->pw_uid;
	return 0;
}

static int open_server(struct daemon *d, struct failure *f)
{
	static const struct varlink_interface *interfaces[2];
	const char *path = d->socket =
		str_printf("%s/daxfs.sock", d->set.state);
	struct varlink_server_options o = {
		.vendor = "daxfs",
		.product = "daxfs-snapshotter",
		.version = DAXFS_VERSION_STRING,
		.url = "",
		.max_connections = d->set.max_connections,
		.workers = d->set.workers,
		.socket_mode = 0660,
		.allow_uid = d->user,
		.slow_call_ms = d->set.slow_call_ms,
		.observe = monitor_observe,
	};
	char why[512];
	int rc;

	if (!path)
		return failure_no_memory(f);
	snapshots_interface(&d->snap, &d->snapshots);
	monitor_interface(&d->monitor, &d->monitoring);
	interfaces[0] = &d->snapshots;
	interfaces[1] = &d->monitoring;
	o.listen_fd = activation_socket(path, why, sizeof(why));
	if (o.listen_fd < 0)
		return failure_set(f, FAILURE_INVALID_ARGUMENT, -o.listen_fd,
				   "%s", why);
	rc = varlink_server_new(path, interfaces, 2, &o, &d->server);
	if (rc == -EADDRINUSE)
		return failure_set(f, FAILURE_UNKNOWN, -rc,
				   "another process answers on %s", path);
	if (rc < 0)
		return failure_set(f, FAILURE_UNKNOWN, -rc,
				   "cannot listen on %s: %s", path,
				   log_err(rc));
	return 0;
}

/* The pool knows better than metadata that comes from a backup. */
static int reconcile(struct daemon *d, struct failure *f)
{
	cleanup_free char *path = str_printf("%s/metadata.db", d->set.root);

	if (!path)
		return failure_no_memory(f);
	if (snapshotter_reconcile(&d->snap, f) == 0)
		return 0;
	if (f->err != ESTALE)
		return -1;
	store_close(steal_ptr(&d->snap.store));
	if (set_aside(path, f->text, f) < 0 ||
	    store_open(path, &d->snap.store, f) < 0 ||
	    snapshotter_rebuild(&d->snap, f) < 0)
		return -1;
	return snapshotter_reconcile(&d->snap, f);
}

/* The service manager starts another, which can tell what is on disk. */
static void leave(void)
{
	kill(getpid(), SIGTERM);
}

static int start(struct daemon *d, struct failure *f)
{
	monitor_init(&d->monitor, &d->snap, d->set.root, d->set.state);
	if (supervise_start(&d->set, &d->supervisor, f) < 0 ||
	    lock_folder(d->set.root, &d->root_lock, f) < 0 ||
	    lock_folder(d->set.state, &d->state_lock, f) < 0 ||
	    find_user(d->set.user, &d->user, f) < 0 || open_store(d, f) < 0 ||
	    open_pool(d, f) < 0)
		return -1;
	if (reconcile(d, f) < 0 ||
	    reaper_start(d->snap.store, d->snap.pool, &d->snap.reaper, f) < 0)
		return -1;
	if (open_server(d, f) < 0 ||
	    supervise_serve(d->supervisor, d->server, d->socket, f) < 0)
		return -1;
	store_on_failure(d->snap.store, leave);
	return 0;
}

static void stop(struct daemon *d)
{
	supervise_stop(d->supervisor);
	varlink_server_free(d->server);
	monitor_destroy(&d->monitor);
	reaper_stop(d->snap.reaper);
	snapshotter_free_lost(&d->snap);
	pool_close(d->snap.pool);
	store_close(d->snap.store);
	util_close_fd(&d->state_lock);
	util_close_fd(&d->root_lock);
	free(d->socket);
	settings_free(&d->set);
}

/* Without snapshots in use nobody needs the pool's process either. */
static void leave_pool(struct daemon *d)
{
	struct failure f;
	int rc = pool_stop_idle(d->snap.pool, &f);

	if (rc < 0)
		log_event(LOG_WARN, "daxfs-fuse stays", "reason", f.text, NULL);
	log_event(LOG_INFO, "stopped", "mounts", rc == 0 ? "none" : "stay",
		  NULL);
}

static int serve(struct daemon *d)
{
	int rc;

	log_event(LOG_INFO, "serving", "root", d->set.root, "state",
		  d->set.state, "version", DAXFS_VERSION_STRING, NULL);
	activation_ready("serving");
	rc = varlink_server_run(d->server);
	if (rc < 0)
		log_event(LOG_ERROR, "serving failed", "error", log_err(rc),
			  NULL);
	return rc;
}

int main(int argc, char **argv)
{
	struct daemon d = { .root_lock = -1, .state_lock = -1 };
	struct failure f;
	int rc;

	settings_parse(&d.set, argc, argv);
	log_init("daxfs-snapshotter", d.set.level, d.set.format);
	if (confine_daemon(false) < 0)
		return DAXFS_EXIT_FAIL;
	rc = start(&d, &f);
	if (rc < 0)
		log_event(LOG_ERROR, "cannot start", "error", f.text, NULL);
	else
		rc = serve(&d);
	reaper_stop(steal_ptr(&d.snap.reaper));
	if (d.snap.pool)
		leave_pool(&d);
	stop(&d);
	return rc < 0 ? DAXFS_EXIT_FAIL : DAXFS_EXIT_OK;
}
