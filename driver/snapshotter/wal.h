/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database's write-ahead log on its way to the disk.
 *
 * SQLite writes commits to the log and leaves them in the page cache
 * (synchronous = NORMAL). Whoever needs his on disk waits here: one fdatasync
 * serves all that were committed before it began. A thread does the same ahead
 * of time, while the committer does other things, and moves the log's pages to
 * the database (a checkpoint) so that no commit has to.
 *
 * The log is written with zeros once, so that it does not grow: syncing a file
 * that did costs a file system's own log one more write.
 *
 * Locks: wal->lock guards the members; leaf. wal_committed() needs that of the
 * writing connection.
 */
#ifndef DAXFS_SNAPSHOTTER_WAL_H
#define DAXFS_SNAPSHOTTER_WAL_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "failure.h"

struct wal {
	bool open;
	int fd; /* of the log */
	sqlite3 *checkpointer;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t change;
	uint64_t committed, wanted, synced; /* commits, by number */
	bool syncing, stop;
	int frames; /* pages in the log since a checkpoint was tried */
	int stuck;  /* that none has taken out of it */
};

/* For the database `path` that `db` has open and writes. */
int wal_open(struct wal *w, const char *path, sqlite3 *db, struct failure *f);
void wal_close(struct wal *w); /* what is not open is fine */

/* The commit that `db` just made: its number. */
uint64_t wal_committed(struct wal *w, sqlite3 *db);

/* Have all that is committed on disk soon; the last one's number. */
uint64_t wal_start(struct wal *w);
/* Wait until it is. */
int wal_wait(struct wal *w, uint64_t commit, struct failure *f);

/*
 * Before what makes the database grow. ResourceExhausted: the disk is full, and
 * what the log has left is for removals, which make room again.
 */
int wal_check_room(struct wal *w, struct failure *f);

#endif
