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
 * A sync that fails is the last one. The kernel tells of a lost write once, and
 * a later sync says that all is well; but SQLite reads a log only up to a hole,
 * so nothing that is written behind it would be durable. Nor is the log moved to
 * the database any more: its pages may be read back as the disk has them. The
 * next process takes what is whole of it (wal_open).
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
	int failed; /* errno of the sync that did, or 0 */
	void (*on_failure)(void);
	int frames; /* pages in the log since a checkpoint was tried */
	int stuck;  /* that none has taken out of it */
};

/*
 * For the database `path` that `db` has open and writes. What the log holds is
 * checked, and moved to the database first.
 */
int wal_open(struct wal *w, const char *path, sqlite3 *db, struct failure *f);
void wal_close(struct wal *w); /* what is not open is fine */

/* Call fn once, in any thread and with locks held, when a sync has failed. */
void wal_on_failure(struct wal *w, void (*fn)(void));
bool wal_failed(struct wal *w);

/* The commit that `db` just made: its number. */
uint64_t wal_committed(struct wal *w, sqlite3 *db);

/* Have all that is committed on disk soon; the last one's number. */
uint64_t wal_start(struct wal *w);
/* Wait until it is. Unavailable: a sync has failed, this or an earlier one. */
int wal_wait(struct wal *w, uint64_t commit, struct failure *f);

/*
 * Before what makes the database grow. ResourceExhausted: the disk is full, and
 * what the log has left is for removals, which make room again. Unavailable: a
 * sync has failed.
 */
int wal_check_room(struct wal *w, struct failure *f);

#endif
