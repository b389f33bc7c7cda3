/* SPDX-License-Identifier: Apache-2.0 */
/* The database itself: opening, statements, transactions. */
#include "store_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "../common/fault.h"
#include "../common/util.h"

#define SCHEMA_VERSION 1
#define BUSY_MS 10000
#define APPLICATION_ID 0x64617866 /* "daxf": this file is ours */

static const char schema[] =
	"CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)"
	"  WITHOUT ROWID;"
	/* AUTOINCREMENT: branches are named by id, so none may come again */
	"CREATE TABLE snapshots ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  name TEXT UNIQUE,"
	"  kind INTEGER NOT NULL,"
	"  state INTEGER NOT NULL,"
	"  parent INTEGER REFERENCES snapshots(id),"
	"  branch TEXT NOT NULL,"
	"  chain TEXT,"
	"  labels TEXT NOT NULL,"
	"  created INTEGER NOT NULL,"
	"  updated INTEGER NOT NULL,"
	"  size INTEGER NOT NULL DEFAULT 0,"
	"  inodes INTEGER NOT NULL DEFAULT 0,"
	"  pending TEXT UNIQUE,"
	"  pending_labels TEXT);"
	"CREATE INDEX snapshots_parent ON snapshots(parent);"
	"CREATE INDEX snapshots_branch ON snapshots(branch);"
	"CREATE INDEX snapshots_chain ON snapshots(chain)"
	"  WHERE chain IS NOT NULL;"
	"CREATE INDEX snapshots_state ON snapshots(state) WHERE state <> 2;"
	"PRAGMA application_id = 1684109414;"
	"PRAGMA user_version = 1;";

_Static_assert(APPLICATION_ID == 1684109414, "as in the schema");

int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int db_failure(sqlite3 *db, const char *doing, struct failure *f)
{
	int code = sqlite3_errcode(db);
	bool full = code == SQLITE_FULL || code == SQLITE_NOMEM;
	bool damaged = code == SQLITE_CORRUPT || code == SQLITE_NOTADB;

	return failure_set(f,
			   full ? FAILURE_RESOURCE_EXHAUSTED : FAILURE_UNKNOWN,
			   code == SQLITE_FULL    ? ENOSPC
			   : code == SQLITE_NOMEM ? ENOMEM
			   : damaged              ? EUCLEAN
						  : EIO,
			   "metadata: cannot %s: %s", doing,
			   sqlite3_errmsg(db));
}

static int bind_all(sqlite3_stmt *st, const char *types, va_list ap)
{
	int rc = SQLITE_OK;

	for (int i = 0; types[i] && rc == SQLITE_OK; i++) {
		if (types[i] == 's')
			rc = sqlite3_bind_text(st, i + 1,
					       va_arg(ap, const char *), -1,
					       SQLITE_TRANSIENT);
		else
			rc = sqlite3_bind_int64(st, i + 1, va_arg(ap, int64_t));
	}
	return rc;
}

/* One that was prepared before and is not in use; NULL: there is none. */
static sqlite3_stmt *find_prepared(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st = NULL;

	while ((st = sqlite3_next_stmt(db, st)))
		if (!sqlite3_stmt_busy(st) && str_eq(sqlite3_sql(st), sql))
			break;
	return st;
}

static int prepare_va(sqlite3 *db, struct failure *f, sqlite3_stmt **out,
		      const char *sql, const char *types, va_list ap)
{
	*out = find_prepared(db, sql);
	if ((*out || sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT,
					out, NULL) == SQLITE_OK) &&
	    bind_all(*out, types, ap) == SQLITE_OK)
		return 0;
	db_failure(db, "prepare a statement", f);
	sqlite3_finalize(*out);
	*out = NULL;
	return -1;
}

void db_done(sqlite3_stmt *st)
{
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
}

void db_close(sqlite3 *db)
{
	sqlite3_stmt *st;

	while (db && (st = sqlite3_next_stmt(db, NULL)))
		sqlite3_finalize(st);
	sqlite3_close(db);
}

int db_prepare(sqlite3 *db, struct failure *f, sqlite3_stmt **out,
	       const char *sql, const char *types, ...)
{
	va_list ap;
	int rc;

	va_start(ap, types);
	rc = prepare_va(db, f, out, sql, types, ap);
	va_end(ap);
	return rc;
}

int db_run(sqlite3 *db, struct failure *f, const char *sql, const char *types,
	   ...)
{
	sqlite3_stmt *st;
	va_list ap;
	int rc;

	va_start(ap, types);
	rc = prepare_va(db, f, &st, sql, types, ap);
	va_end(ap);
	if (rc < 0)
		return rc;
	rc = sqlite3_step(st);
	if (rc != SQLITE_DONE && rc != SQLITE_ROW)
		rc = db_failure(db, "write", f);
	else
		rc = 0;
	db_done(st);
	return rc;
}

int db_number(sqlite3 *db, struct failure *f, int64_t *out, const char *sql,
	      const char *types, ...)
{
	sqlite3_stmt *st;
	va_list ap;
	int rc;

	va_start(ap, types);
	rc = prepare_va(db, f, &st, sql, types, ap);
	va_end(ap);
	if (rc < 0)
		return rc;
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW) {
		if (out)
			*out = sqlite3_column_int64(st, 0);
		rc = 1;
	} else {
		rc = rc == SQLITE_DONE ? 0 : db_failure(db, "read", f);
	}
	db_done(st);
	return rc;
}

/* ---- Rows ---------------------------------------------------------------- */

static char *column_dup(sqlite3_stmt *st, int i, const char *otherwise)
{
	const char *s = (const char *)sqlite3_column_text(st, i);

	if (!s)
		s = otherwise;
	return s ? strdup(s) : NULL;
}

int snapshot_read(sqlite3_stmt *st, struct snapshot *out, struct failure *f)
{
	const char *labels = (const char *)sqlite3_column_text(st, 7);

	*out = (struct snapshot){
		.id = sqlite3_column_int64(st, 0),
		.kind = (enum snapshot_kind)sqlite3_column_int(st, 1),
		.state = (enum snapshot_state)sqlite3_column_int(st, 2),
		.name = column_dup(st, 3, NULL),
		.parent = column_dup(st, 4, ""),
		.branch = column_dup(st, 5, ""),
		.parent_branch = column_dup(st, 6, NULL),
		.labels = labels ? json_tokener_parse(labels) : NULL,
		.created_ns = sqlite3_column_int64(st, 8),
		.updated_ns = sqlite3_column_int64(st, 9),
		.size = sqlite3_column_int64(st, 10),
		.inodes = sqlite3_column_int64(st, 11),
		.parent_id = sqlite3_column_int64(st, 12),
	};
	if (out->parent && out->branch &&
	    json_object_is_type(out->labels, json_type_object))
		return 0;
	failure_set(f, FAILURE_UNKNOWN, EIO,
		    "metadata: snapshot %lld cannot be read",
		    (long long)out->id);
	snapshot_clear(out);
	return -1;
}

void snapshot_clear(struct snapshot *s)
{
	free(s->name);
	free(s->parent);
	free(s->branch);
	free(s->parent_branch);
	json_object_put(s->labels);
	memset(s, 0, sizeof(*s));
}

int snapshot_find(sqlite3 *db, struct snapshot *out, struct failure *f,
		  const char *where, const char *types, ...)
{
	char sql[512];
	sqlite3_stmt *st;
	va_list ap;
	int rc;

	snprintf(sql, sizeof(sql),
		 "SELECT " SNAPSHOT_COLUMNS SNAPSHOT_FROM "WHERE %s", where);
	va_start(ap, types);
	rc = prepare_va(db, f, &st, sql, types, ap);
	va_end(ap);
	if (rc < 0)
		return rc;
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		rc = snapshot_read(st, out, f) < 0 ? -1 : 1;
	else
		rc = rc == SQLITE_DONE ? 0 : db_failure(db, "read", f);
	db_done(st);
	return rc;
}

/* ---- Transactions -------------------------------------------------------- */

int db_begin(struct store *s, bool durable, struct failure *f)
{
	pthread_mutex_lock(&s->lock);
	if (db_run(s->db, f, "BEGIN IMMEDIATE", "") == 0) {
		s->durable = durable;
		FAULT_POINT("store.begun");
		return 0;
	}
	pthread_mutex_unlock(&s->lock);
	return -1;
}

int db_begin_growing(struct store *s, bool durable, struct failure *f)
{
	return wal_check_room(&s->wal, f) < 0 ? -1 : db_begin(s, durable, f);
}

int db_end(struct store *s, int rc, struct failure *f)
{
	bool durable = s->durable;
	int err = rc >= 0 ? FAULT_ERRNO("store.commit") : 0;
	struct failure ignored;
	uint64_t commit = 0;

	if (err)
		rc = failure_set(f, FAILURE_RESOURCE_EXHAUSTED, err,
				 "metadata: cannot write: fault");
	if (rc >= 0 && db_run(s->db, f, "COMMIT", "") < 0)
		rc = -1;
	if (rc < 0 && !sqlite3_get_autocommit(s->db))
		db_run(s->db, &ignored, "ROLLBACK", "");
	if (rc >= 0)
		commit = wal_committed(&s->wal, s->db);
	pthread_mutex_unlock(&s->lock);
	if (rc >= 0 && durable && wal_wait(&s->wal, commit, f) < 0)
		rc = -1;
	FAULT_POINT("store.ended");
	return rc;
}

/* ---- Opening ------------------------------------------------------------- */

static int check_schema(sqlite3 *db, const char *path, struct failure *f)
{
	int64_t version, id, tables;

	if (db_number(db, f, &version, "PRAGMA user_version", "") < 0 ||
	    db_number(db, f, &id, "PRAGMA application_id", "") < 0 ||
	    db_number(db, f, &tables, "SELECT count(*) FROM sqlite_master",
		      "") < 0)
		return -1;
	if (tables && id != APPLICATION_ID)
		return failure_set(f, FAILURE_UNKNOWN, EINVAL,
				   "%s: a database, but not one of daxfs",
				   path);
	if (tables && version != SCHEMA_VERSION)
		return failure_set(f, FAILURE_UNKNOWN, EINVAL,
				   "%s: version %lld, but this program knows "
				   "version %d: use the program that wrote it",
				   path, (long long)version, SCHEMA_VERSION);
	if (tables)
		return 0;
	if (db_run(db, f, "BEGIN IMMEDIATE", "") < 0)
		return -1;
	if (sqlite3_exec(db, schema, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
		return db_failure(db, "create the tables", f);
	return 0;
}

/* All pages are read once: what is damaged is better known now than later. */
static int check_pages(sqlite3 *db, struct failure *f)
{
	sqlite3_stmt *st;
	int rc = db_prepare(db, f, &st, "PRAGMA quick_check(1)", "");
	int step;

	if (rc < 0)
		return rc;
	step = sqlite3_step(st);
	if (step != SQLITE_ROW)
		rc = db_failure(db, "check", f);
	else if (!str_eq((const char *)sqlite3_column_text(st, 0), "ok"))
		rc = failure_set(f, FAILURE_UNKNOWN, EUCLEAN,
				 "metadata: damaged: %.200s",
				 (const char *)sqlite3_column_text(st, 0));
	db_done(st);
	return rc;
}

static int configure(sqlite3 *db, bool writing, struct failure *f)
{
	sqlite3_busy_timeout(db, BUSY_MS);
	sqlite3_extended_result_codes(db, 0);
	if (!writing)
		return db_run(db, f, "PRAGMA query_only = 1", "");
	/* what has to be on disk at once wal.c takes there */
	if (db_run(db, f, "PRAGMA journal_mode = WAL", "") < 0 ||
	    db_run(db, f, "PRAGMA synchronous = NORMAL", "") < 0)
		return -1;
	if (db_run(db, f, "PRAGMA foreign_keys = 1", "") < 0)
		return -1;
	return check_pages(db, f);
}

/* SQLite would go by the umask, and gives its other files the mode of this one. */
static void make_private(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd >= 0) /* else SQLite says what is wrong */
		close(fd);
}

int db_open(const char *path, bool writing, sqlite3 **out, struct failure *f)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
		    (writing ? SQLITE_OPEN_CREATE : 0);
	sqlite3 *db = NULL;
	int rc;

	if (writing)
		make_private(path);
	rc = sqlite3_open_v2(path, &db, flags, NULL);
	if (rc != SQLITE_OK) {
		failure_set(f, FAILURE_UNKNOWN, EIO, "%s: cannot open: %s",
			    path, db ? sqlite3_errmsg(db) : "out of memory");
	} else if (configure(db, writing, f) < 0) {
		struct failure why = *f;

		rc = SQLITE_ERROR;
		failure_set(f, why.status, why.err, "%s: %.400s", path,
			    why.text);
	} else if (writing && check_schema(db, path, f) < 0) {
		rc = SQLITE_ERROR;
	} else {
		*out = db;
	}
	if (rc == SQLITE_OK)
		return 0;
	db_close(db);
	return -1;
}
