/* SPDX-License-Identifier: Apache-2.0 */
#include "wal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "../common/log.h"
#include "../common/util.h"
#include "store_db.h"

#define PAGE 4096
#define FRAMES 1000     /* pages in the log that are worth a checkpoint */
#define FRAMES_MAX 6000 /* that the thread did not get rid of */
/* Room for the frames of commits that come while a checkpoint runs. */
#define FRAMES_ROOM 200
#define PREALLOC ((off_t)(FRAMES + FRAMES_ROOM) * (PAGE + 24))
/* And of removals while the disk is full, and no checkpoint possible. */
#define RESERVE ((off_t)2000 * (PAGE + 24))
#define FREE_MIN (16u << 20) /* bytes, with which a disk is not full */

/* ---- The log's file ------------------------------------------------------ */

/* Behind its end: SQLite takes zeros for the end of the log. */
static int write_zeros(int fd)
{
	static const char zeros[64 << 10];
	struct stat st;
	off_t at;

	if (fstat(fd, &st) < 0)
		return -errno;
	for (at = st.st_size; at < PREALLOC;) {
		ssize_t n = pwrite(fd, zeros, sizeof(zeros), at);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			at += n;
	}
	/* no file system has to; where it is full already, the rest must do */
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, PREALLOC, RESERVE) < 0 &&
	    errno != EOPNOTSUPP && errno != ENOSYS)
		log_event(LOG_WARN, "no room is kept for removals", "error",
			  log_err(errno), NULL);
	return fdatasync(fd) < 0 ? -errno : 0;
}

/* The log's name is on disk too, once its folder is. */
static int sync_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	cleanup_free char *dir =
		slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	cleanup_close int fd = -1;

	if (!dir)
		return -ENOMEM;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || (fsync(fd) < 0 && errno != EINVAL))
		return -errno;
	return 0;
}

/*
 * What a process before us wrote may be in the page cache alone, however often
 * the log is synced now. A full disk, or a reader, must not keep us from serving.
 */
static int empty_log(sqlite3 *db, struct failure *f)
{
	int rc = sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE,
					   NULL, NULL);

	if (rc == SQLITE_OK || rc == SQLITE_BUSY || rc == SQLITE_FULL)
		return 0;
	return db_failure(db, "take over the log", f);
}

static int open_log(struct wal *w, const char *path, sqlite3 *db,
		    struct failure *f)
{
	cleanup_free char *log = str_printf("%s-wal", path);
	int rc;

	if (!log)
		return failure_no_memory(f);
	if (empty_log(db, f) < 0)
		return -1;
	w->fd = open(log, O_RDWR | O_CLOEXEC);
	rc = w->fd < 0 ? -errno : write_zeros(w->fd);
	if (rc == 0)
		rc = sync_folder(log);
	if (rc == 0)
		return 0;
	return failure_set(f,
			   rc == -ENOSPC ? FAILURE_RESOURCE_EXHAUSTED
					 : FAILURE_UNKNOWN,
			   -rc, "%s: cannot write: %s", log, log_err(-rc));
}

/* ---- Syncing ------------------------------------------------------------- */

static int disk_failure(int err, struct failure *f)
{
	return failure_set(f, FAILURE_UNAVAILABLE, err,
			   "metadata: cannot write to disk: %s; "
			   "daxfs-snapshotter has to be started again",
			   log_err(err));
}

/* With the lock. */
static void set_failed(struct wal *w, int err)
{
	w->failed = err;
	log_event(LOG_ERROR, "metadata cannot be written to disk", "error",
		  log_err(err), NULL);
	if (w->on_failure)
		w->on_failure();
}

/* With the lock, which is free while the disk works. */
static int sync_now(struct wal *w)
{
	uint64_t target = w->committed;
	int rc;

	w->syncing = true;
	pthread_mutex_unlock(&w->lock);
	rc = fdatasync(w->fd) < 0 ? -errno : 0;
	pthread_mutex_lock(&w->lock);
	w->syncing = false;
	if (rc == 0)
		w->synced = target;
	else
		set_failed(w, -rc);
	pthread_cond_broadcast(&w->change);
	return rc;
}

int wal_wait(struct wal *w, uint64_t commit, struct failure *f)
{
	int rc = 0;

	pthread_mutex_lock(&w->lock);
	while (rc == 0 && w->synced < commit) {
		if (w->failed)
			rc = -w->failed;
		else if (w->syncing)
			pthread_cond_wait(&w->change, &w->lock);
		else
			rc = sync_now(w);
	}
	pthread_mutex_unlock(&w->lock);
	return rc == 0 ? 0 : disk_failure(-rc, f);
}

void wal_on_failure(struct wal *w, void (*fn)(void))
{
	pthread_mutex_lock(&w->lock);
	w->on_failure = fn;
	pthread_mutex_unlock(&w->lock);
}

bool wal_failed(struct wal *w)
{
	bool failed;

	if (!w->open)
		return false;
	pthread_mutex_lock(&w->lock);
	failed = w->failed;
	pthread_mutex_unlock(&w->lock);
	return failed;
}

uint64_t wal_start(struct wal *w)
{
	uint64_t commit;

	pthread_mutex_lock(&w->lock);
	commit = w->wanted = w->committed;
	pthread_cond_broadcast(&w->change);
	pthread_mutex_unlock(&w->lock);
	return commit;
}

uint64_t wal_committed(struct wal *w, sqlite3 *db)
{
	uint64_t commit;
	bool much;

	pthread_mutex_lock(&w->lock);
	commit = ++w->committed;
	much = w->frames > FRAMES_MAX && !w->failed;
	if (w->frames >= FRAMES)
		pthread_cond_broadcast(&w->change);
	pthread_mutex_unlock(&w->lock);
	/* commits came too fast for the thread: this one waits */
	if (much)
		sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE,
					  NULL, NULL);
	return commit;
}

int wal_check_room(struct wal *w, struct failure *f)
{
	struct statvfs st;
	bool much;
	int failed;

	pthread_mutex_lock(&w->lock);
	failed = w->failed;
	much = w->stuck > FRAMES + FRAMES_ROOM / 2;
	if (much) { /* there may be room for a checkpoint by now */
		w->frames = w->stuck;
		pthread_cond_broadcast(&w->change);
	}
	pthread_mutex_unlock(&w->lock);
	if (failed)
		return disk_failure(failed, f);
	if (!much || fstatvfs(w->fd, &st) < 0 ||
	    (uint64_t)st.f_bavail * st.f_frsize >= FREE_MIN)
		return 0;
	return failure_set(f, FAILURE_RESOURCE_EXHAUSTED, ENOSPC,
			   "metadata: the disk is full; remove snapshots, or "
			   "make room on it");
}

/* ---- The thread ---------------------------------------------------------- */

/* SQLite's word after each commit, with its connection's lock. */
static int count_frames(void *arg, sqlite3 *db, const char *name, int frames)
{
	struct wal *w = arg;

	(void)db;
	(void)name;
	pthread_mutex_lock(&w->lock);
	w->frames = w->stuck = frames;
	pthread_mutex_unlock(&w->lock);
	return SQLITE_OK;
}

/* With the lock, as sync_now(). A busy database is tried at the next commit. */
static void checkpoint(struct wal *w)
{
	int all = 0, done = 0, rc;

	w->frames = 0;
	pthread_mutex_unlock(&w->lock);
	rc = sqlite3_wal_checkpoint_v2(w->checkpointer, NULL,
				       SQLITE_CHECKPOINT_PASSIVE, &all, &done);
	pthread_mutex_lock(&w->lock);
	if (rc == SQLITE_OK && all >= 0 && all == done && !w->frames)
		w->stuck = 0;
}

static void *run(void *arg)
{
	struct wal *w = arg;

	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		if (w->failed)
			pthread_cond_wait(&w->change, &w->lock);
		else if (w->synced < w->wanted && !w->syncing)
			sync_now(w);
		else if (w->frames >= FRAMES)
			checkpoint(w);
		else
			pthread_cond_wait(&w->change, &w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static int start_thread(struct wal *w, struct failure *f)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&w->thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc == 0)
		return 0;
	return failure_set(f, FAILURE_UNKNOWN, rc, "cannot start a thread: %s",
			   log_err(rc));
}

static void release(struct wal *w)
{
	db_close(w->checkpointer);
	util_close_fd(&w->fd);
	pthread_cond_destroy(&w->change);
	pthread_mutex_destroy(&w->lock);
	*w = (struct wal){ 0 };
}

/* SQLite takes a connection that has read nothing yet for one without a log. */
static int open_checkpointer(struct wal *w, const char *path, struct failure *f)
{
	if (db_open(path, false, &w->checkpointer, f) < 0)
		return -1;
	return db_number(w->checkpointer, f, NULL,
			 "SELECT 1 FROM sqlite_master", "") < 0
		       ? -1
		       : 0;
}

int wal_open(struct wal *w, const char *path, sqlite3 *db, struct failure *f)
{
	w->fd = -1;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->change, NULL);
	if (open_log(w, path, db, f) == 0 &&
	    open_checkpointer(w, path, f) == 0 && start_thread(w, f) == 0) {
		sqlite3_wal_hook(db, count_frames, w);
		w->open = true;
		return 0;
	}
	release(w);
	return -1;
}

void wal_close(struct wal *w)
{
	if (!w->open)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_broadcast(&w->change);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	release(w);
}
