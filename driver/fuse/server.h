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

/* What was said when the connection to the kernel began. */
struct session_init {
	size_t request_len, reply_len;
	uint8_t request[256], reply[256];
};

/* A place where a mount was put; later binds by others are not known here. */
struct mount_point {
	struct mount_point *next;
	u64 mnt_id;
	unsigned flags; /* BRANCHES_MOUNT_* */
	char path[];
};

struct mount {
	struct mount *next; /* in server->mounts; mount_lock */
	struct mount *next_dead;
	u64 serial; /* never reused */
	struct server *srv;
	unsigned refs; /* atomic; at 0 the main thread ends the mount */
	struct daxfs_branch *branch;
	u64 branch_id; /* 0: one that ended under a server before us */
	char name[DAXFS_BRANCH_NAME_MAX + 1];
	bool is_main;
	bool readonly; /* the superblock */
	bool noatime;  /* reading changes no times */
	u64 uncapped;  /* atomic: inode whose capabilities went last, or 0 */
	bool attached; /* was visible once; mount_lock */
	bool keep;     /* do not drop the branch; mount_lock */
	bool armed;    /* atomic: hands the mount from worker to worker */
	int fd;        /* /dev/fuse */
	sem_t ready;   /* posted when FUSE_INIT was answered */
	int init_error;
	struct session_init init;
	bool resumable;      /* the kernel repeats what a dead server left */
	bool resumed;        /* the session began in a server before us */
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
	unsigned slow_call_ms;

	pthread_mutex_t mount_lock;
	pthread_cond_t mount_gone; /* with mount_lock */
	struct mount *mounts;
	u64 next_serial;
	struct {
		pthread_mutex_t lock; /* fd, notes; leaf */
		int fd;               /* -1: no keeper */
		char **argv;          /* NULL: none is wanted */
		int64_t born_ms;      /* our last keeper; main thread */
		unsigned n_early;     /* that died at once, in a row */
		u64 next_note;
		/* of exchanges that a server before us may have made */
		struct keep_note *notes;
		size_t n_notes;
	} keep;
	bool had_mount;
	bool closing;  /* no more mounts */
	bool stopping; /* drop no branches */

	pthread_mutex_t table_lock;
	struct mount *dead; /* refs are 0 */
	int wake_fd;        /* eventfd: dead is not empty */

	struct fuse_session *se;
	pthread_mutex_t init_lock; /* first_init; leaf */
	struct session_init first_init;
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
	unsigned slow_call_ms; /* control calls that are logged; 0: none */
	bool control_only;
	int region_fd; /* of a server before us, consumed; -1: none */
};

/*
 * Open the region and start all threads but the control socket's, which
 * control_start() does. On failure msg says why;
 * -EWOULDBLOCK: another process has the region.
 */
int server_start(struct server *srv, const struct server_options *o,
		 struct daxfs_message *msg);
/*
 * Serve until SIGTERM, or until the last mount is gone: 0, or -errno. 1: until
 * SIGUSR2, to be followed by server_leave().
 */
int server_run(struct server *srv);
/* Answer what has been asked and leave the rest, and the mounts, to another. */
void server_leave(struct server *srv);
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

int session_open(struct server *srv); /* after wake_fd. 0 or -errno */
void session_close(struct server *srv);
/* Serve a request that raw_look() has seen. */
void session_serve(struct mount *m, struct fuse_buf *fb);
/* The mount whose request this thread serves. */
struct mount *session_mount(void);
/* As libfuse's fuse_lowlevel_notify_*. */
int session_inval_inode(struct mount *m, u64 ino, off_t off, off_t len);
int session_inval_entry(struct mount *m, u64 dir, const char *name, size_t len);
/*
 * Go on with m->init where a server before us began. -EPROTO: it had agreed
 * with the kernel on something else than we would.
 */
int session_resume(struct mount *m);

/* ---- keep.c: the keeper, see driver/keeper/keeper.h ---- */

/*
 * Start a keeper. `argv` is what KEEPER_PROGRAM says, ends with NULL and is kept.
 * Of mounts that are there already it is told too.
 */
int keep_start(struct server *srv, char **argv);
/* The keeper that started us is on this descriptor. */
void keep_join(struct server *srv, int fd, char **argv);
/* What to poll for its end; -1: there is none. */
int keep_fd(struct server *srv);
/* The keeper is gone: another one, unless that dies at once too. */
void keep_restart(struct server *srv);
/* Have it hold a mount as it is now (not while stopping), or no longer; mount_lock. */
void keep_mount(struct mount *m);
void keep_forget(struct server *srv, u64 serial);
/* We end and another one goes on: 0 or -errno; or we end for good. */
int keep_leave(struct server *srv);
void keep_end(struct server *srv);

/*
 * Before two names are exchanged: whose inodes they were. An exchange that is
 * repeated undoes itself. Any thread.
 */
#define KEEP_NOTES (UINT64_C(1) << 63)
struct keep_note {
	u64 key; /* with KEEP_NOTES; 0: not kept */
	u64 serial, unique, a, b;
};
void keep_note(struct server *srv, struct keep_note *n);
void keep_note_done(struct server *srv, const struct keep_note *n);

/* ---- record.c: a mount as the keeper holds it ---- */

/* Allocated JSON text, NULL: no memory. mount_lock. */
char *record_write(const struct mount *m);
/* Fill what the record has of a mount made by mount_new(). -EBADMSG. */
struct record {
	json_object *json; /* owns the strings */
	const char *branch;
	u64 branch_id; /* names are used again; 0: not known */
	bool readonly, noatime, keep;
	bool attached; /* was visible, as far as the record knows */
	unsigned dev_major, dev_minor;
	struct session_init init;
	json_object *points; /* of {path, flags} */
};
int record_read(const char *text, size_t len, struct record *out);
void record_free(struct record *r);

/* ---- resume.c: taking over from a server that is gone ---- */

struct resume; /* what the keeper handed over */

int resume_receive(int fd, struct resume **out, struct daxfs_message *msg);
/* The region's open file, the caller's; -1: none. */
int resume_region(struct resume *r);
/* Go on with the mounts, or make them anew. */
void resume_mounts(struct server *srv, struct resume *r);
void resume_free(struct resume *r); /* NULL is fine */

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
