/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be seen of the metadata from outside of calls. */
#include "../common/util.h"
#include "store_db.h"

static void count(struct store_counts *c, int64_t kind, int64_t state,
		  int64_t n)
{
	switch (state) {
	case STATE_PREPARING:
		c->preparing += n;
		break;
	case STATE_COMMITTING:
		c->committing += n;
		break;
	case STATE_REMOVING:
		c->removing += n;
		break;
	default:
		if (kind >= KIND_VIEW && kind <= KIND_COMMITTED)
			c->ready[kind] += n;
	}
}

int store_counts(struct store *s, struct store_counts *out, struct failure *f)
{
	sqlite3_stmt *st;
	sqlite3 *db;
	int rc, step;

	*out = (struct store_counts){ 0 };
	if (store_reader_get(s, &db, f) < 0)
		return -1;
	rc = db_prepare(db, f, &st,
			"SELECT kind, state, count(*) FROM snapshots"
			" GROUP BY kind, state",
			"");
	while (rc == 0 && (step = sqlite3_step(st)) != SQLITE_DONE) {
		if (step != SQLITE_ROW)
			rc = db_failure(db, "count", f);
		else
			count(out, sqlite3_column_int64(st, 0),
			      sqlite3_column_int64(st, 1),
			      sqlite3_column_int64(st, 2));
	}
	db_done(st);
	store_reader_put(s, db);
	return rc;
}

int64_t store_count_named(struct store *s, const int64_t *ids, size_t n,
			  struct failure *f)
{
	int64_t found = 0;
	sqlite3 *db;
	int rc = 0;

	if (!n)
		return 0;
	if (store_reader_get(s, &db, f) < 0)
		return -1;
	for (size_t i = 0; i < n && rc >= 0; i++) {
		rc = db_number(db, f, NULL,
			       "SELECT 1 FROM snapshots WHERE id = ?"
			       " AND name IS NOT NULL",
			       "i", ids[i]);
		found += rc > 0;
	}
	store_reader_put(s, db);
	return rc < 0 ? -1 : found;
}

static int find_key(sqlite3 *db, const char *branch, char **key,
		    struct failure *f)
{
	sqlite3_stmt *st;
	const char *name;
	int rc = db_prepare(db, f, &st,
			    "SELECT name FROM snapshots WHERE branch = ?"
			    " AND name IS NOT NULL ORDER BY id LIMIT 1",
			    "s", branch);

	if (rc < 0)
		return rc;
	*key = NULL;
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW) {
		name = (const char *)sqlite3_column_text(st, 0);
		*key = name ? strdup(name) : NULL;
		rc = *key ? 0 : failure_no_memory(f);
	} else {
		rc = rc == SQLITE_DONE ? 0 : db_failure(db, "read", f);
	}
	db_done(st);
	return rc;
}

int store_find_keys(struct store *s, const char *const *branches, size_t n,
		    char **keys, struct failure *f)
{
	sqlite3 *db;
	int rc = 0;

	if (store_reader_get(s, &db, f) < 0)
		return -1;
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = find_key(db, branches[i], &keys[i], f);
	store_reader_put(s, db);
	return rc;
}
