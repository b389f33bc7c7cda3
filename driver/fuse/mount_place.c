/* SPDX-License-Identifier: Apache-2.0 */
/* Where mounts are, taking them away, and writing back what they hold. */
#include <fcntl.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "../common/fault.h"
#include "../common/log.h"
#include "../common/util.h"
#include "mount.h"

static bool point_there(const struct mount *m, const struct mount_point *p)
{
	struct attach_info info;

	return !attach_info(AT_FDCWD, p->path, &info) && info.is_root &&
	       info.dev_major == m->dev_major &&
	       info.dev_minor == m->dev_minor && info.mnt_id == p->mnt_id;
}

/* Forget the points that others have unmounted, or all that are at `path`. */
static void prune_points(struct mount *m)
{
	struct mount_point **p = &m->points;
	bool changed = false;

	while (*p) {
		struct mount_point *q = *p;

		if (point_there(m, q)) {
			p = &q->next;
		} else {
			*p = q->next;
			free(q);
			changed = true;
		}
	}
	if (changed)
		keep_mount(m);
}

void mount_list_points(struct server *srv, const char *branch,
		       json_object *array)
{
	struct daxfs_branch *b;
	struct mount *m;

	if (daxfs_branch_get(srv->region, branch, &b))
		return;
	pthread_mutex_lock(&srv->mount_lock);
	m = daxfs_branch_private(b);
	if (m) {
		struct mount_point *p;

		prune_points(m);
		for (p = m->points; p; p = p->next)
			json_object_array_add(array,
					      json_object_new_string(p->path));
	}
	pthread_mutex_unlock(&srv->mount_lock);
	daxfs_branch_put(b);
}

bool mount_has(struct server *srv, const char *branch)
{
	struct daxfs_branch *b;
	struct mount *m;
	bool has;

	if (daxfs_branch_get(srv->region, branch, &b))
		return false;
	pthread_mutex_lock(&srv->mount_lock);
	m = daxfs_branch_private(b);
	if (m && mount_is_dead(m)) {
		mount_wait_gone(srv, m->serial);
		m = daxfs_branch_private(b);
	}
	has = m;
	pthread_mutex_unlock(&srv->mount_lock);
	daxfs_branch_put(b);
	return has;
}

/* That the branch is to stay the keeper knows before the mount can end. */
static int detach_one(struct mount *m, const char *path, bool keep)
{
	bool was = m->keep;
	int rc;

	if (keep && !was) {
		m->keep = true;
		keep_mount(m);
	}
	rc = attach_detach(path);
	FAULT_POINT("mount.detached");
	if (rc && m->keep != was) {
		m->keep = was;
		keep_mount(m);
	}
	return rc;
}

static int detach_locked(struct server *srv, const char *path, bool keep,
			 struct daxfs_message *msg)
{
	struct attach_info info;
	struct mount *m = srv->mounts;
	int rc;

	rc = attach_info(AT_FDCWD, path, &info);
	if (rc)
		return message_fail(msg, -rc, "mountpoint '%s': %s", path,
				    log_err(-rc));
	while (m && (m->dev_major != info.dev_major ||
		     m->dev_minor != info.dev_minor))
		m = m->next;
	if (!m || !info.is_root)
		return message_fail(msg, EINVAL,
				    "'%s': no branch of this region is mounted there",
				    path);
	rc = detach_one(m, path, keep);
	if (rc)
		return message_fail(msg, -rc, "cannot unmount '%s': %s", path,
				    log_err(-rc));
	prune_points(m);
	if (mount_is_dead(m))
		mount_wait_gone(srv, m->serial);
	return 0;
}

int mount_detach(struct server *srv, const char *path, bool keep,
		 struct daxfs_message *msg)
{
	int rc;

	pthread_mutex_lock(&srv->mount_lock);
	rc = detach_locked(srv, path, keep, msg);
	pthread_mutex_unlock(&srv->mount_lock);
	return rc;
}

static void detach_points(struct mount *m)
{
	struct mount_point *p;

	for (p = m->points; p; p = p->next) {
		int rc = point_there(m, p) ? attach_detach(p->path) : 0;

		if (rc)
			log_event(LOG_WARN, "cannot unmount", "mountpoint",
				  p->path, "error", log_err(-rc), NULL);
	}
	prune_points(m);
}

int mount_detach_branch(struct server *srv, const char *branch)
{
	struct daxfs_branch *b;
	struct mount *m;
	int rc;

	rc = daxfs_branch_get(srv->region, branch, &b);
	if (rc)
		return rc;
	pthread_mutex_lock(&srv->mount_lock);
	m = daxfs_branch_private(b);
	if (m) {
		detach_points(m);
		if (mount_is_dead(m))
			mount_wait_gone(srv, m->serial);
	}
	pthread_mutex_unlock(&srv->mount_lock);
	daxfs_branch_put(b);
	return 0;
}

/*
 * syncfs() sends all dirty pages but does not wait for our answers, as FUSE
 * has it. What it sent is in the queue before the request that fstatfs() makes.
 * A page that was written twice may be sent again on the first answer: hence
 * two rounds.
 */
static int flush_fd(struct mount *m, int fd)
{
	struct statfs st;
	int round, rc = 0;

	pthread_mutex_lock(&m->flush_lock);
	if (syncfs(fd) < 0)
		rc = -errno;
	for (round = 0; !rc && round < 2; round++) {
		if (fstatfs(fd, &st) < 0)
			rc = -errno;
		loop_settle(m);
	}
	pthread_mutex_unlock(&m->flush_lock);
	return rc;
}

static int flush_mount(struct mount *m)
{
	cleanup_free char *source = mount_source(m);
	cleanup_close int mnt_fd = -1;
	cleanup_close int fd = -1;
	struct daxfs_message msg;

	if (m->readonly || mount_is_dead(m))
		return 0;
	if (!source)
		return -ENOMEM;
	mnt_fd = attach_open(m->fd, source, false, 0, &msg);
	if (mnt_fd < 0)
		return mount_is_dead(m) ? 0 : mnt_fd;
	fd = openat(mnt_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : flush_fd(m, fd);
}

int mount_flush_branch(struct server *srv, const char *branch)
{
	struct daxfs_branch *b;
	struct mount *m;
	int rc;

	rc = daxfs_branch_get(srv->region, branch, &b);
	if (rc)
		return rc;
	m = mount_of(srv, b);
	if (m) {
		rc = flush_mount(m);
		mount_put(m);
	}
	daxfs_branch_put(b);
	return rc;
}

void mount_detach_all(struct server *srv)
{
	struct mount *m;

	pthread_mutex_lock(&srv->mount_lock);
	for (m = srv->mounts; m; m = m->next) {
		int rc = flush_mount(m);

		if (rc && rc != -ESTALE)
			log_event(LOG_WARN, "cannot write back mapped pages",
				  "branch", m->name, "error", log_err(-rc),
				  NULL);
		detach_points(m);
	}
	pthread_mutex_unlock(&srv->mount_lock);
}
