/* SPDX-License-Identifier: Apache-2.0 */
/* Reading snapshots, and changing their labels. */
#include <errno.h>
#include <stdio.h>

#include "../common/util.h"
#include "labels.h"
#include "store_db.h"

int store_get(struct store *s, const char *key, struct snapshot *out,
	      struct failure *f)
{
	int rc;

	pthread_mutex_lock(&s->lock);
	rc = snapshot_find(s->db, out, f, "s.name = ? AND " SNAPSHOT_VISIBLE,
			   "s", key);
	pthread_mutex_unlock(&s->lock);
	if (rc == 0)
		return failure_set(f, FAILURE_NOT_FOUND, ENOENT,
				   "snapshot '%.300s' does not exist", key);
	return rc < 0 ? -1 : 0;
}

int store_update(struct store *s, const char *name, json_object *labels,
		 const char *const *fields, unsigned n, struct snapshot *out,
		 struct failure *f)
{
	json_object *in;
	int rc;

	if (labels_copy(labels, &in, f) < 0)
		return -1;
	memset(out, 0, sizeof(*out));
	rc = db_begin_growing(s, false, f);
	if (rc == 0) {
		rc = snapshot_find(s->db, out, f,
				   "s.name = ? AND " SNAPSHOT_VISIBLE, "s",
				   name);
		if (rc == 0)
			rc = failure_set(f, FAILURE_NOT_FOUND, ENOENT,
					 "snapshot '%.300s' does not exist",
					 name);
		if (rc > 0)
			rc = labels_update(&out->labels, in, fields, n, f);
		if (rc == 0) {
			out->updated_ns = now_ns();
			rc = db_run(s->db, f,
				    "UPDATE snapshots SET labels = ?,"
				    " updated = ? WHERE id = ?",
				    "sii", labels_text(out->labels),
				    out->updated_ns, out->id);
		}
		rc = db_end(s, rc, f);
	}
	json_object_put(in);
	if (rc < 0)
		snapshot_clear(out);
	else
		out->commit = wal_start(&s->wal);
	return rc;
}

/* ---- Lists --------------------------------------------------------------- */

int store_reader_get(struct store *s, sqlite3 **out, struct failure *f)
{
	*out = NULL;
	pthread_mutex_lock(&s->readers_lock);
	if (s->n_readers)
		*out = s->readers[--s->n_readers];
	pthread_mutex_unlock(&s->readers_lock);
	return *out ? 0 : db_open(s->path, false, out, f);
}

void store_reader_put(struct store *s, sqlite3 *db)
{
	pthread_mutex_lock(&s->readers_lock);
	if (s->n_readers < READERS_KEPT) {
		s->readers[s->n_readers++] = db;
		db = NULL;
	}
	pthread_mutex_unlock(&s->readers_lock);
	db_close(db);
}

static const char *subject_label(const void *arg, const char *key)
{
	const struct snapshot *snap = arg;

	return labels_get(snap->labels, key);
}

static int list_match(struct filter *filter, const struct snapshot *snap,
		      struct failure *f)
{
	const struct filter_subject subject = {
		.name = snap->name,
		.parent = snap->parent,
		.kind = snapshot_kind_name(snap->kind),
		.label = subject_label,
		.arg = snap,
	};

	return filter_match(filter, &subject, f);
}

/* One statement is one read transaction: what is written meanwhile is not seen. */
int store_list(struct store *s, struct filter *filter, store_walk_fn fn,
	       void *arg, struct failure *f)
{
	sqlite3_stmt *st;
	sqlite3 *db;
	int step, rc;

	if (store_reader_get(s, &db, f) < 0)
		return -1;
	rc = db_prepare(db, f, &st,
			"SELECT " SNAPSHOT_COLUMNS SNAPSHOT_FROM
			"WHERE s.name IS NOT NULL AND " SNAPSHOT_VISIBLE
			" ORDER BY s.name",
			"");
	while (rc == 0) {
		struct snapshot snap;

		step = sqlite3_step(st);
		if (step != SQLITE_ROW) {
			if (step != SQLITE_DONE)
				rc = db_failure(db, "list", f);
			break;
		}
		rc = snapshot_read(st, &snap, f);
		if (rc == 0) {
			rc = list_match(filter, &snap, f);
			if (rc > 0)
				rc = fn(arg, &snap);
			snapshot_clear(&snap);
		}
	}
	db_done(st);
	store_reader_put(s, db);
	return rc;
}

int store_walk_branch(struct store *s, const char *branch, store_walk_fn fn,
		      void *arg, struct failure *f)
{
	sqlite3_stmt *st;
	int step, rc;

	pthread_mutex_lock(&s->lock);
	rc = db_prepare(s->db, f, &st,
			"SELECT " SNAPSHOT_COLUMNS SNAPSHOT_FROM
			"WHERE s.branch = ? AND " SNAPSHOT_VISIBLE
			" ORDER BY s.id",
			"s", branch);
	while (rc == 0 && (step = sqlite3_step(st)) != SQLITE_DONE) {
		struct snapshot snap;

		if (step != SQLITE_ROW) {
			rc = db_failure(s->db, "read", f);
			break;
		}
		rc = snapshot_read(st, &snap, f);
		if (rc == 0) {
			rc = fn(arg, &snap);
			snapshot_clear(&snap);
		}
	}
	db_done(st);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static int collect(sqlite3_stmt *st, sqlite3 *db, struct snapshot **rows,
		   size_t *n, struct failure *f)
{
	size_t cap = 0;
	int step;

	while ((step = sqlite3_step(st)) == SQLITE_ROW) {
		if (*n == cap) {
			struct snapshot *more;

			cap = cap ? 2 * cap : 16;
			more = reallocarray(*rows, cap, sizeof(**rows));
			if (!more)
				return failure_no_memory(f);
			*rows = more;
		}
		if (snapshot_read(st, &(*rows)[*n], f) < 0)
			return -1;
		(*n)++;
	}
	return step == SQLITE_DONE ? 0 : db_failure(db, "read", f);
}

/*
 * The index of states has no ready rows, which are nearly all; SQLite uses it
 * where the statement says that none is wanted.
 */
static const char *walk_sql(enum snapshot_state state, bool descending)
{
	if (state == 0 || state == STATE_READY)
		return descending
			       ? "SELECT " SNAPSHOT_COLUMNS SNAPSHOT_FROM
				 "WHERE ?1 IN (0, s.state) ORDER BY s.id DESC"
			       : "SELECT " SNAPSHOT_COLUMNS SNAPSHOT_FROM
				 "WHERE ?1 IN (0, s.state) ORDER BY s.id";
	return descending ? "SELECT " SNAPSHOT_COLUMNS SNAPSHOT_FROM
			    "WHERE s.state = ?1 AND s.state <> 2"
			    " ORDER BY s.id DESC"
			  : "SELECT " SNAPSHOT_COLUMNS SNAPSHOT_FROM
			    "WHERE s.state = ?1 AND s.state <> 2"
			    " ORDER BY s.id";
}

int store_walk(struct store *s, enum snapshot_state state, bool descending,
	       store_walk_fn fn, void *arg, struct failure *f)
{
	struct snapshot *rows = NULL;
	sqlite3_stmt *st;
	size_t n = 0;
	int rc;

	pthread_mutex_lock(&s->lock);
	rc = db_prepare(s->db, f, &st, walk_sql(state, descending), "i",
			(int64_t)state);
	if (rc == 0)
		rc = collect(st, s->db, &rows, &n, f);
	db_done(st);
	pthread_mutex_unlock(&s->lock);
	for (size_t i = 0; i < n; i++) {
		if (rc == 0)
			rc = fn(arg, &rows[i]);
		snapshot_clear(&rows[i]);
	}
	free(rows);
	return rc;
}
