/* SPDX-License-Identifier: Apache-2.0 */
#include "server.h"

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

#include "../common/log.h"
#include "../common/util.h"

#define MIN_WORKERS 4

int message_fail(struct daxfs_message *msg, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg->text, sizeof(msg->text), fmt, ap);
	va_end(ap);
	return -err;
}

void server_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGUSR2);
}

static int open_file(struct server *srv, const struct server_options *o,
		     struct daxfs_message *msg)
{
	const char *path = o->region;
	int rc;

	if (o->region_fd >= 0)
		return region_file_inherit(path, o->region_fd, &srv->file, msg);
	rc = region_file_open(path, 0, &srv->file, msg);
	/* What cannot be written can still be read. */
	if (rc == -EACCES || rc == -EROFS || rc == -EPERM)
		rc = region_file_open(path, REGION_READONLY, &srv->file, msg);
	return rc;
}

/* Branches that cannot be read do not keep the others from being served. */
static void log_damaged(struct server *srv)
{
	struct daxfs_branch_info *v;
	struct daxfs_message why;
	bool repaired;
	u32 i, n;

	if (daxfs_branch_list(srv->region, &v, &n))
		return;
	for (i = 0; i < n; i++)
		if (v[i].damaged &&
		    !daxfs_branch_problem(srv->region, v[i].name, &why,
					  &repaired))
			log_event(LOG_ERROR, "branch is damaged", "branch",
				  v[i].name, "why", why.text, NULL);
	daxfs_free(v);
}

static int open_region(struct server *srv, const struct server_options *o,
		       struct daxfs_message *msg)
{
	struct daxfs_message why = { "" };
	const char *path = o->region;
	int rc;

	rc = open_file(srv, o, msg);
	if (rc)
		return rc;
	rc = daxfs_region_open(&srv->file.backing, 0, &srv->region, &why);
	if (rc) {
		snprintf(msg->text, sizeof(msg->text), "'%.100s': %.140s", path,
			 why.text);
		return rc;
	}
	log_damaged(srv);
	srv->socket = region_control_path(srv->file.path, o->state);
	if (!srv->socket) {
		rc = -errno;
		snprintf(msg->text, sizeof(msg->text), "'%.160s': %s", path,
			 log_err(-rc));
	}
	return rc;
}

static int start_threads(struct server *srv, unsigned sync_seconds)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned workers = cores > MIN_WORKERS ? (unsigned)cores : MIN_WORKERS;
	int rc;

	srv->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (srv->wake_fd < 0)
		return -errno;
	rc = session_open(srv);
	if (!rc)
		rc = loop_new(workers, &srv->loop);
	if (!rc)
		rc = notifier_new(&srv->notifier);
	if (!rc && sync_seconds)
		rc = syncer_new(srv->region, sync_seconds, &srv->syncer);
	return rc;
}

int server_start(struct server *srv, const struct server_options *o,
		 struct daxfs_message *msg)
{
	int rc;

	*srv = (struct server){ .control_only = o->control_only,
				.slow_call_ms = o->slow_call_ms };
	srv->file.fd = srv->wake_fd = -1;
	pthread_mutex_init(&srv->mount_lock, NULL);
	pthread_mutex_init(&srv->table_lock, NULL);
	pthread_mutex_init(&srv->keep.lock, NULL);
	pthread_mutex_init(&srv->init_lock, NULL);
	srv->keep.fd = -1;
	pthread_cond_init(&srv->mount_gone, NULL);
	rc = open_region(srv, o, msg);
	if (!rc) {
		rc = start_threads(srv, o->sync_seconds);
		if (rc)
			snprintf(msg->text, sizeof(msg->text),
				 "cannot start: %s", log_err(-rc));
	}
	if (rc)
		server_stop(srv);
	return rc;
}

/* Who is told to stop and killed meanwhile is to have no successor. */
static void begin_stop(struct server *srv)
{
	struct mount *m;

	srv->stopping = true;
	for (m = srv->mounts; m; m = m->next)
		keep_forget(srv, m->serial);
}

/* After this no mount begins. False: there are mounts, and they shall stay. */
static bool close_for_mounts(struct server *srv, bool even_mounted)
{
	pthread_mutex_lock(&srv->mount_lock);
	if (even_mounted)
		begin_stop(srv);
	else if (srv->mounts || !srv->had_mount || srv->control_only)
		goto out;
	srv->closing = true;
	pthread_cond_broadcast(&srv->mount_gone);
out:
	pthread_mutex_unlock(&srv->mount_lock);
	return srv->closing;
}

static void drain_fd(int fd)
{
	char buf[sizeof(uint64_t)];

	while (read(fd, buf, sizeof(buf)) > 0)
		;
}

/* 0: to end; 1: to leave it to another server; -EAGAIN: to go on. */
static int take_signal(struct server *srv, int fd)
{
	struct signalfd_siginfo info;

	if (read(fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return -EAGAIN;
	if (info.ssi_signo == SIGUSR2 && keep_fd(srv) < 0) {
		log_event(LOG_WARN,
			  "there is no keeper that could start another server",
			  NULL);
		return -EAGAIN;
	}
	if (info.ssi_signo == SIGUSR2)
		return 1;
	log_event(LOG_INFO, "stopping on a signal", NULL);
	close_for_mounts(srv, true);
	return 0;
}

int server_run(struct server *srv)
{
	cleanup_close int signals = -1;
	sigset_t set;

	server_signals(&set);
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		return -errno;
	for (;;) {
		struct pollfd p[] = {
			{ .fd = signals, .events = POLLIN },
			{ .fd = srv->wake_fd, .events = POLLIN },
			{ .fd = keep_fd(srv) }, /* its end alone */
		};
		int rc = -EAGAIN;

		if (poll(p, ARRAY_SIZE(p), -1) < 0 && errno != EINTR)
			return -errno;
		if (p[2].revents) /* before we may leave it the mounts */
			keep_restart(srv);
		if (p[0].revents)
			rc = take_signal(srv, signals);
		if (rc != -EAGAIN)
			return rc;
		if (p[1].revents) {
			drain_fd(srv->wake_fd);
			mount_reap(srv);
		}
		if (close_for_mounts(srv, false)) {
			log_event(LOG_INFO, "the last mount is gone", NULL);
			return 0;
		}
	}
}

void server_leave(struct server *srv)
{
	int rc;

	control_stop(srv);
	notifier_free(steal_ptr(&srv->notifier));
	/* what has been read is answered; the rest waits in the kernel */
	loop_free(steal_ptr(&srv->loop));
	syncer_free(steal_ptr(&srv->syncer));
	rc = daxfs_region_sync(srv->region);
	if (rc && rc != -EROFS)
		log_event(LOG_ERROR, "cannot sync the region", "error",
			  log_err(-rc), NULL);
	log_event(LOG_INFO, "leaving the mounts to another server", NULL);
	if (keep_leave(srv) < 0) {
		keep_restart(srv);
		keep_leave(srv);
	}
}

void server_stop(struct server *srv)
{
	int rc;

	close_for_mounts(srv, true);
	control_stop(srv);
	mount_detach_all(srv);
	/* what it waits for only workers can answer */
	notifier_free(srv->notifier);
	loop_free(srv->loop);
	mount_end_all(srv);
	session_close(srv);
	syncer_free(srv->syncer);
	if (srv->region) {
		rc = daxfs_region_sync(srv->region);
		if (rc && rc != -EROFS)
			log_event(LOG_ERROR, "cannot sync the region", "error",
				  log_err(-rc), NULL);
		daxfs_region_close(srv->region);
	}
	region_file_close(&srv->file);
	keep_end(srv);
	if (srv->wake_fd >= 0)
		close(srv->wake_fd);
	free(srv->socket);
	pthread_cond_destroy(&srv->mount_gone);
	pthread_mutex_destroy(&srv->init_lock);
	pthread_mutex_destroy(&srv->table_lock);
	pthread_mutex_destroy(&srv->mount_lock);
	*srv = (struct server){ 0 };
	srv->file.fd = srv->wake_fd = -1;
}
