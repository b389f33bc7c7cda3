/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daxfs-fuse: one process serves one region, one FUSE superblock a mounted
 * branch.
 *
 * Threads: the main thread (signals, the end of mounts), workers (loop.c: FUSE
 * requests of all mounts), one notifier (notify.c: invalidation), one that
 * syncs now and then (sync.c), and the control socket's (control.c). Workers never wait for another thread and never
 * look at a path, so a request on one of our own mounts is always answered.
 *
 * The region and branch of a mount can be read from /proc/self/mountinfo: the
 * type is "fuse.daxfs", the source "<region path>#<branch>". Where there are
 * several '#', the region is the shortest path before one that is a file.
 *
 * Locks, outermost first:
 *   server->mount_lock   starting and ending mounts; held over system calls
 *   server->table_lock   which mount a branch has (leaf)
 */
#ifndef DAXFS_FUSE_SERVER_H
#define DAXFS_FUSE_SERVER_H

#define FUSE_USE_VERSION 314

#include <fuse3/fuse_lowlevel.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

#include "../../core/daxfs.h"
#include "../region/region.h"
#include "../service/branches.h"
#include "names.h"
#include "nodes.h"

struct loop;
struct notifier;
struct syncer;
struct varlink_server;

/* A place where a mount was put; later binds by others are not known here. */
struct mount_point {
	struct mount_point *next;
	u64 mnt_id;
	char path[];
};

struct mount {
	struct mount *next; /* in server->mounts; mount_lock */
	struct mount *next_dead;
	u64 serial; /* never reused */
	struct server *srv;
	unsigned refs; /* atomic; at 0 the main thread ends the mount */
	struct daxfs_branch *branch;
	char name[DAXFS_BRANCH_NAME_MAX + 1];
	bool is_main;
	bool readonly; /* the superblock */
	bool noatime;  /* reading changes no times */
	u64 uncapped;  /* atomic: inode whose capabilities went last, or 0 */
	bool attached; /* was visible once; mount_lock */
	bool keep;     /* do not drop the branch; mount_lock */
	bool armed;    /* atomic: hands the mount from worker to worker */
	int fd;        /* /dev/fuse, owned by se */
	struct fuse_session *se;
	sem_t ready; /* posted when FUSE_INIT was answered */
	int init_error;
	u64 init_unique;
	uint32_t init_flags; /* FUSE_* that libfuse lacks, in use */
	unsigned dev_major, dev_minor;
	struct mount_point *points; /* mount_lock */
	/*
	 * Requests served beside the queue, counted by the epoch they began
	 * in; all atomic. See loop_settle().
	 */
	unsigned epoch, beside[2];
	u64 requests, read_bytes, written_bytes; /* atomic; stats.c */
	pthread_mutex_t flush_lock; /* one flush at a time; above no other */
	struct nodes nodes;
	struct names names; /* main only: what to forget after a commit */
};

struct server {
	struct region_file file;
	struct daxfs_region *region;
	char *socket; /* control socket's path */
	bool control_only;

	pthread_mutex_t mount_lock;
	pthread_cond_t mount_gone; /* with mount_lock */
	struct mount *mounts;
	u64 next_serial;
	bool had_mount;
	bool closing;  /* no more mounts */
	bool stopping; /* drop no branches */

	pthread_mutex_t table_lock;
	struct mount *dead; /* refs are 0 */
	int wake_fd;        /* eventfd: dead is not empty */

	struct loop *loop;
	struct notifier *notifier;
	struct syncer *syncer;
	struct varlink_server *control;
	pthread_t control_thread;
	bool control_running;
	struct branches_service branches;
	struct varlink_interface interface;
	const struct varlink_interface *interfaces[1];
};

/* ---- server.c ---- */

/* Write the message and return -err. */
__attribute__((format(printf, 3, 4))) int
message_fail(struct daxfs_message *msg, int err, const char *fmt, ...);

struct server_options {
	const char *region;
	const char *state;     /* where control sockets are, NULL: as usual */
	unsigned sync_seconds; /* 0: sync when told only */
	bool control_only;
};

/*
 * Open the region and start all threads. On failure msg says why;
 * -EWOULDBLOCK: another process has the region.
 */
int server_start(struct server *srv, const struct server_options *o,
		 struct daxfs_message *msg);
/* Serve until SIGTERM, or until the last mount is gone. 0 or -errno. */
int server_run(struct server *srv);
void server_stop(struct server *srv);
/* What signals the process ends on: to be blocked before threads start. */
void server_signals(sigset_t *set);

/* ---- mount.c: server->mount_lock is taken by these ---- */

/* BRANCHES_MOUNT_* */
int mount_branch(struct server *srv, const char *branch, const char *path,
		 unsigned flags, struct daxfs_message *msg);
int mount_detach(struct server *srv, const char *path, bool keep,
		 struct daxfs_message *msg);
int mount_detach_branch(struct server *srv, const char *branch);
void mount_list_points(struct server *srv, const char *branch,
		       json_object *array);
/* Have the kernel write back what a mounted branch's mappings made dirty. */
int mount_flush_branch(struct server *srv, const char *branch);
bool mount_has(struct server *srv, const char *branch);
/* Detach everything (at the end of the server). */
void mount_detach_all(struct server *srv);
/* End the mounts whose last reference is gone. Main thread. */
void mount_reap(struct server *srv);
/* End all mounts, when no thread uses any. */
void mount_end_all(struct server *srv);

/* A reference, unless the mount is ending. */
void mount_get(struct mount *m);
void mount_put(struct mount *m);
/* The mount of a branch with a reference, NULL when it has none. */
struct mount *mount_of(struct server *srv, struct daxfs_branch *b);

/* ---- attach.c: system calls of mounting ---- */

/*
 * A superblock for the /dev/fuse descriptor, or the one that it has already, as
 * a detached mount with MOUNT_ATTR_*: its descriptor or -errno.
 */
int attach_open(int fuse_fd, const char *source, bool sb_readonly,
		unsigned attrs, struct daxfs_message *msg);
/* Put a detached mount in place; *mnt_id tells it from others. */
int attach_move(int mnt_fd, const char *path, u64 *mnt_id,
		struct daxfs_message *msg);
/* What is mounted at `path`, without asking a file system. */
struct attach_info {
	unsigned dev_major, dev_minor;
	u64 mnt_id;
	bool is_root; /* of a mount */
};
int attach_info(int dirfd, const char *path, struct attach_info *out);
int attach_detach(const char *path);
/* Detach a mount of ours at `path` whose server has died. */
int attach_clear_dead(const char *path);

/* ---- loop.c ---- */

int loop_new(unsigned threads, struct loop **out);
/* The loop takes over one reference to the mount. 0 or -errno. */
int loop_add(struct loop *l, struct mount *m);
void loop_free(struct loop *l); /* waits for the workers; NULL is fine */
/* Wait until the requests that were taken from the queue so far are done. */
void loop_settle(struct mount *m);

/* ---- session.c ---- */

/* A libfuse session of the mount on its descriptor. 0 or -errno. */
int session_new(struct mount *m);

/* ---- notify.c ---- */

int notifier_new(struct notifier **out);
/* Forget all that the kernel keeps of a mount; takes over a reference. */
void notifier_invalidate(struct notifier *n, struct mount *m);
/* Wait, at most a few seconds, until all queued work is done. */
void notifier_drain(struct notifier *n);
void notifier_free(struct notifier *n);

/* ---- sync.c ---- */

/* Sync the region every so many seconds, where something has changed. */
int syncer_new(struct daxfs_region *region, unsigned seconds,
	       struct syncer **out);
void syncer_free(struct syncer *s); /* NULL is fine */

/* ---- control.c ---- */

int control_start(struct server *srv, struct daxfs_message *msg);
void control_stop(struct server *srv);

/* ---- ops*.c ---- */

extern const struct fuse_lowlevel_ops mount_ops;

#endif
