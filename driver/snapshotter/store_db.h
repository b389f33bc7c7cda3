/* SPDX-License-Identifier: Apache-2.0 */
/* What the store's files share: the connection and its statements. */
#ifndef DAXFS_STORE_DB_H
#define DAXFS_STORE_DB_H

#include <pthread.h>
#include <sqlite3.h>

#include "store.h"
#include "wal.h"

#define READERS_KEPT 4

struct store {
	char *path;
	pthread_mutex_t lock;
	sqlite3 *db;
	bool durable; /* the transaction that is open */
	struct wal wal;
	pthread_mutex_t readers_lock;
	sqlite3 *readers[READERS_KEPT];
	unsigned n_readers;
};

/* Ready or committing: what clients see. */
#define SNAPSHOT_VISIBLE "s.state IN (2, 3)"

/* The columns that snapshot_read() expects. */
#define SNAPSHOT_COLUMNS                                              \
	"s.id, s.kind, s.state, s.name, p.name, s.branch, p.branch, " \
	"s.labels, s.created, s.updated, s.size, s.inodes, s.parent"
#define SNAPSHOT_FROM \
	" FROM snapshots s LEFT JOIN snapshots p ON p.id = s.parent "

int db_open(const char *path, bool writing, sqlite3 **out, struct failure *f);
void db_close(sqlite3 *db); /* and its statements; NULL is fine */

/* A connection for reading, which delays no writer and is delayed by none. */
int store_reader_get(struct store *s, sqlite3 **out, struct failure *f);
void store_reader_put(struct store *s, sqlite3 *db);

/* What SQLite says of `db`, as a failure. */
int db_failure(sqlite3 *db, const char *doing, struct failure *f);

/*
 * Prepare `sql` and bind what `types` lists: 's' const char * (NULL: NULL),
 * 'i' int64_t. Statements are kept, to be used again after db_done().
 */
int db_prepare(sqlite3 *db, struct failure *f, sqlite3_stmt **out,
	       const char *sql, const char *types, ...);

void db_done(sqlite3_stmt *st); /* NULL is fine */

/* Run a statement without rows. */
int db_run(sqlite3 *db, struct failure *f, const char *sql, const char *types,
	   ...);

/* 1: a row, its first column in *out (may be NULL); 0: none; -1. */
int db_number(sqlite3 *db, struct failure *f, int64_t *out, const char *sql,
	      const char *types, ...);

/* Fill a snapshot from the current row. */
int snapshot_read(sqlite3_stmt *st, struct snapshot *out, struct failure *f);

/* The one row of "SELECT … WHERE <where>". 1, 0 or -1. */
int snapshot_find(sqlite3 *db, struct snapshot *out, struct failure *f,
		  const char *where, const char *types, ...);

/*
 * Begin a transaction of the writing connection, which is locked until
 * db_end(), which commits when rc is 0 (or positive) and rolls back otherwise.
 * Returns rc, or -1 when the commit failed. A durable one is on disk then; that
 * it waits for without the lock.
 */
int db_begin(struct store *s, bool durable, struct failure *f);
int db_end(struct store *s, int rc, struct failure *f);
/* db_begin() of what writes more than it takes away: see wal_check_room(). */
int db_begin_growing(struct store *s, bool durable, struct failure *f);

/*
 * The chain that a committed snapshot holds: what its snapshot.ref label says,
 * else the last part of its name (containerd's are NAMESPACE/NUMBER/CHAIN) when
 * that is a digest. Borrowed; NULL: none.
 */
const char *chain_of(const char *name, json_object *labels);

#endif
