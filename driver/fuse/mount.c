/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a mount. It starts with a /dev/fuse descriptor and a superblock
 * made for it; mounting the branch again makes another mount of the same
 * superblock, wherever the first one is by now. It ends when the kernel has
 * destroyed the superblock: reading the descriptor then says ENODEV, the worker
 * drops the loop's reference, and the main thread tidies up.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mount.h>
#include <time.h>

#include "../common/fault.h"
#include "../common/log.h"
#include "../common/util.h"
#include "mount.h"

#define START_SECONDS 10
#define END_SECONDS 5

static struct timespec deadline(int seconds)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += seconds;
	return ts;
}

/* ---- References ---------------------------------------------------------- */

void mount_get(struct mount *m)
{
	__atomic_fetch_add(&m->refs, 1, __ATOMIC_RELAXED);
}

void mount_put(struct mount *m)
{
	struct server *srv = m->srv;
	uint64_t one = 1;

	if (__atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL))
		return;
	pthread_mutex_lock(&srv->table_lock);
	m->next_dead = srv->dead;
	srv->dead = m;
	pthread_mutex_unlock(&srv->table_lock);
	/* Cannot block: that would take 2^64 ended mounts. */
	if (write(srv->wake_fd, &one, sizeof(one)) != sizeof(one))
		log_event(LOG_ERROR, "cannot wake the main thread", NULL);
}

struct mount *mount_of(struct server *srv, struct daxfs_branch *b)
{
	struct mount *m;
	unsigned refs;

	pthread_mutex_lock(&srv->table_lock);
	m = daxfs_branch_private(b);
	refs = m ? __atomic_load_n(&m->refs, __ATOMIC_RELAXED) : 0;
	while (refs &&
	       !__atomic_compare_exchange_n(&m->refs, &refs, refs + 1, false,
					    __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		;
	pthread_mutex_unlock(&srv->table_lock);
	return refs ? m : NULL;
}

static void set_mount_of(struct server *srv, struct daxfs_branch *b,
			 struct mount *m)
{
	pthread_mutex_lock(&srv->table_lock);
	daxfs_branch_set_private(b, m);
	pthread_mutex_unlock(&srv->table_lock);
}

/* ---- Begin --------------------------------------------------------------- */

void mount_free(struct mount *m)
{
	struct mount_point *p;

	while ((p = m->points)) {
		m->points = p->next;
		free(p);
	}
	util_close_fd(&m->fd);
	nodes_free(&m->nodes);
	names_free(&m->names);
	sem_destroy(&m->ready);
	pthread_mutex_destroy(&m->flush_lock);
	daxfs_branch_put(m->branch);
	free(m);
}

/* Consumes the reference to `b`. */
static struct mount *make_mount(struct server *srv, struct daxfs_branch *b,
				const struct daxfs_branch_info *info)
{
	struct daxfs_region_info region;
	struct mount *m = calloc(1, sizeof(*m));

	if (!m) {
		daxfs_branch_put(b);
		return NULL;
	}
	daxfs_region_info(srv->region, &region);
	m->srv = srv;
	m->serial = ++srv->next_serial;
	m->refs = 2;
	m->branch = b;
	m->branch_id = info->id;
	snprintf(m->name, sizeof(m->name), "%s", info->name);
	m->is_main = info->id && !info->parent_id;
	m->readonly = m->is_main || info->state == DAXFS_BRANCH_SEALED ||
		      region.readonly;
	m->fd = -1;
	nodes_init(&m->nodes);
	names_init(&m->names);
	sem_init(&m->ready, 0, 0);
	pthread_mutex_init(&m->flush_lock, NULL);
	return m;
}

struct mount *mount_new(struct server *srv, struct daxfs_branch *b)
{
	struct daxfs_branch_info info;

	if (!daxfs_branch_info(b, &info))
		return make_mount(srv, b, &info);
	daxfs_branch_put(b);
	return NULL;
}

struct mount *mount_new_ended(struct server *srv, const char *name)
{
	struct daxfs_branch *b = daxfs_branch_ended(srv->region);
	struct daxfs_branch_info info = { .id = 0 };

	snprintf(info.name, sizeof(info.name), "%s", name);
	return b ? make_mount(srv, b, &info) : NULL;
}

static int open_device(struct mount *m, struct daxfs_message *msg)
{
	m->fd = open("/dev/fuse", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (m->fd >= 0)
		return 0;
	return message_fail(msg, errno, "cannot open /dev/fuse: %s%s",
			    log_err(errno),
			    errno == ENOENT || errno == ENODEV
				    ? "; load the kernel module fuse"
			    : errno == EMFILE
				    ? "; raise the limit of open files (each mount takes one), or unmount some branches first"
				    : "");
}

/* Wait until the kernel has our answer to its first message. */
static int wait_ready(struct mount *m, struct daxfs_message *msg)
{
	struct timespec end = deadline(START_SECONDS);
	int err = 0;

	while (sem_timedwait(&m->ready, &end) < 0) {
		err = errno;
		if (err != EINTR)
			break;
		err = 0;
	}
	if (!err)
		err = m->init_error;
	if (err)
		return message_fail(msg, err,
				    "the kernel did not start FUSE: %s",
				    log_err(err));
	return 0;
}

static void forget_mount(struct mount *m)
{
	struct server *srv = m->srv;
	struct mount **p = &srv->mounts;

	while (*p && *p != m)
		p = &(*p)->next;
	if (*p)
		*p = m->next;
	set_mount_of(srv, m->branch, NULL);
}

struct mount_point *mount_add_point(struct mount *m, const char *path,
				    u64 mnt_id, unsigned flags)
{
	size_t len = strlen(path) + 1;
	struct mount_point *p = malloc(sizeof(*p) + len);

	if (!p)
		return NULL;
	memcpy(p->path, path, len);
	p->mnt_id = mnt_id;
	p->flags = flags;
	p->next = m->points;
	m->points = p;
	return p;
}

/* The keeper knows of the place before anybody can be there. */
static int place(struct mount *m, int mnt_fd, const char *path, unsigned flags,
		 struct daxfs_message *msg)
{
	struct mount_point *p = mount_add_point(m, path, 0, flags);
	int rc;

	if (!p)
		return message_fail(msg, ENOMEM, "out of memory");
	keep_mount(m);
	rc = attach_move(mnt_fd, path, &p->mnt_id, msg);
	FAULT_POINT("mount.placed");
	if (rc) {
		m->points = p->next;
		free(p);
		keep_mount(m);
		return rc;
	}
	m->srv->had_mount = true;
	if (!m->attached) {
		m->attached = true;
		keep_mount(m);
	}
	return 0;
}

char *mount_source(const struct mount *m)
{
	return str_printf("%s#%s", m->srv->file.path, m->name);
}

/* MOUNT_ATTR_* of a mount of the superblock. */
static unsigned attrs_of(const struct mount *m, unsigned flags)
{
	return (flags & BRANCHES_MOUNT_READONLY ? MOUNT_ATTR_RDONLY : 0) |
	       (m->noatime ? MOUNT_ATTR_NOATIME : 0);
}

int mount_go_on(struct mount *m)
{
	int rc = loop_add(m->srv->loop, m);

	if (rc)
		return rc;
	m->next = m->srv->mounts;
	m->srv->mounts = m;
	set_mount_of(m->srv, m->branch, m);
	return 0;
}

/* Make the superblock and hand the mount to the loop. The mount's fd or -errno. */
static int make_live(struct mount *m, unsigned flags, struct daxfs_message *msg)
{
	cleanup_free char *source = mount_source(m);
	cleanup_close int mnt_fd = -1;
	struct attach_info info;
	int rc;

	if (!source)
		return message_fail(msg, ENOMEM, "out of memory");
	rc = open_device(m, msg);
	if (rc)
		return rc;
	mnt_fd = attach_open(m->fd, source, m->readonly, attrs_of(m, flags),
			     msg);
	if (mnt_fd < 0)
		return mnt_fd;
	rc = attach_info(mnt_fd, "", &info);
	if (rc)
		return message_fail(msg, -rc,
				    "cannot look at the new mount: %s",
				    log_err(-rc));
	FAULT_POINT("mount.superblock");
	m->dev_major = info.dev_major;
	m->dev_minor = info.dev_minor;
	rc = mount_go_on(m);
	if (rc)
		return message_fail(msg, -rc, "cannot watch the new mount: %s",
				    log_err(-rc));
	return steal_fd(&mnt_fd);
}

/* Consumes the reference to `b`. */
static int start_mount(struct server *srv, struct daxfs_branch *b,
		       const char *path, unsigned flags,
		       struct daxfs_message *msg)
{
	cleanup_close int mnt_fd = -1;
	struct mount *m = mount_new(srv, b);
	int rc;

	if (!m)
		return message_fail(msg, ENOMEM,
				    "cannot mount: no memory, or the branch has ended");
	m->noatime = flags & BRANCHES_MOUNT_NOATIME;
	/* Its last mount may have left it for its children to end. */
	daxfs_branch_keep(srv->region, m->name);
	if (!m->readonly) {
		rc = daxfs_evict_orphans(b);
		if (rc && rc != -EROFS)
			log_event(LOG_WARN, "cannot free nameless inodes",
				  "branch", m->name, "error", log_err(-rc),
				  NULL);
	}
	mnt_fd = make_live(m, flags, msg);
	if (mnt_fd < 0) {
		mount_free(m);
		return mnt_fd;
	}
	/* From here on the mount ends by the end of its superblock. */
	rc = wait_ready(m, msg);
	FAULT_POINT("mount.ready");
	if (!rc)
		rc = place(m, mnt_fd, path, flags, msg);
	if (!rc)
		log_event(LOG_INFO, "mounted", "branch", m->name, "mountpoint",
			  path, NULL);
	mount_put(m);
	return rc;
}

bool mount_is_dead(const struct mount *m)
{
	struct pollfd p = { .fd = m->fd };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP));
}

static struct mount *find_serial(struct server *srv, u64 serial)
{
	struct mount *m = srv->mounts;

	while (m && m->serial != serial)
		m = m->next;
	return m;
}

int mount_wait_gone(struct server *srv, u64 serial)
{
	struct timespec end = deadline(END_SECONDS);
	int err = 0;

	while (!err && !srv->closing && find_serial(srv, serial))
		err = pthread_cond_timedwait(&srv->mount_gone, &srv->mount_lock,
					     &end);
	return find_serial(srv, serial) ? -EBUSY : 0;
}

/* One more mount of a superblock that is there. -ENOTCONN: it is no more. */
static int mount_again(struct mount *m, const char *path, unsigned flags,
		       struct daxfs_message *msg)
{
	cleanup_free char *source = mount_source(m);
	cleanup_close int mnt_fd = -1;

	if (mount_is_dead(m))
		return -ENOTCONN;
	if (!source)
		return message_fail(msg, ENOMEM, "out of memory");
	mnt_fd = attach_open(m->fd, source, m->readonly, attrs_of(m, flags),
			     msg);
	if (mnt_fd < 0)
		return mnt_fd;
	return place(m, mnt_fd, path, flags, msg);
}

static int mount_locked(struct server *srv, const char *branch,
			const char *path, unsigned flags,
			struct daxfs_message *msg)
{
	for (;;) {
		struct daxfs_branch *b;
		struct mount *m;
		u64 serial;
		int rc;

		if (srv->closing)
			return message_fail(msg, ESHUTDOWN,
					    "the server of this region is ending; try again");
		rc = daxfs_branch_get(srv->region, branch, &b);
		if (rc)
			return message_fail(msg, -rc, "branch '%s': %s", branch,
					    log_err(-rc));
		/* Cannot go away: ending a mount takes mount_lock. */
		m = daxfs_branch_private(b);
		if (!m)
			return start_mount(srv, b, path, flags, msg);
		serial = m->serial;
		rc = mount_again(m, path, flags, msg);
		daxfs_branch_put(b);
		if (rc != -ENOTCONN)
			return rc;
		if (mount_wait_gone(srv, serial))
			return message_fail(msg, EBUSY,
					    "branch '%s': its last mount is still ending; try again",
					    branch);
	}
}

static int check_mountpoint(const char *path, struct daxfs_message *msg)
{
	struct stat st;
	int rc;

	if (path[0] != '/')
		return message_fail(msg, EINVAL,
				    "mountpoint '%s': not an absolute path",
				    path);
	rc = attach_clear_dead(path);
	if (rc)
		return message_fail(msg, -rc, "mountpoint '%s': %s", path,
				    log_err(-rc));
	if (stat(path, &st) < 0)
		return message_fail(msg, errno, "mountpoint '%s': %s", path,
				    log_err(errno));
	if (!S_ISDIR(st.st_mode))
		return message_fail(msg, ENOTDIR,
				    "mountpoint '%s': not a directory", path);
	return 0;
}

int mount_branch(struct server *srv, const char *branch, const char *path,
		 unsigned flags, struct daxfs_message *msg)
{
	int rc;

	rc = check_mountpoint(path, msg);
	if (rc)
		return rc;
	pthread_mutex_lock(&srv->mount_lock);
	rc = mount_locked(srv, branch, path, flags, msg);
	pthread_mutex_unlock(&srv->mount_lock);
	return rc;
}

/* ---- End ----------------------------------------------------------------- */

/* A speculative branch goes with its last mount. */
static void drop_branch(struct mount *m)
{
	struct daxfs_branch_info info;
	int rc;

	if (!m->attached || m->keep || m->srv->stopping || m->is_main ||
	    daxfs_branch_status(m->branch) ||
	    daxfs_branch_info(m->branch, &info) || info.persistent ||
	    info.state != DAXFS_BRANCH_ACTIVE)
		return;
	rc = daxfs_branch_drop(m->srv->region, m->name);
	if (rc == -EBUSY)
		log_event(LOG_INFO, "unmounted, kept until its children end",
			  "branch", m->name, NULL);
	else if (rc)
		log_event(LOG_ERROR, "cannot drop an unmounted branch",
			  "branch", m->name, "error", log_err(-rc), NULL);
	else
		log_event(LOG_INFO, "unmounted and dropped", "branch", m->name,
			  NULL);
}

static void end_mount(struct mount *m)
{
	int rc;

	forget_mount(m);
	FAULT_POINT("mount.ended");
	if (!m->readonly && !daxfs_branch_status(m->branch)) {
		rc = daxfs_evict_orphans(m->branch);
		if (rc && rc != -ESTALE && rc != -EROFS)
			log_event(LOG_WARN, "cannot free nameless inodes",
				  "branch", m->name, "error", log_err(-rc),
				  NULL);
	}
	drop_branch(m);
	keep_forget(m->srv, m->serial);
	mount_free(m);
}

void mount_reap(struct server *srv)
{
	struct mount *dead;

	pthread_mutex_lock(&srv->mount_lock);
	pthread_mutex_lock(&srv->table_lock);
	dead = srv->dead;
	srv->dead = NULL;
	pthread_mutex_unlock(&srv->table_lock);
	while (dead) {
		struct mount *next = dead->next_dead;

		end_mount(dead);
		dead = next;
	}
	pthread_cond_broadcast(&srv->mount_gone);
	pthread_mutex_unlock(&srv->mount_lock);
}

void mount_end_all(struct server *srv)
{
	while (srv->mounts)
		end_mount(srv->mounts);
}
