/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a snapshot's row: create, commit, remove. */
#include "store.h"

#include <errno.h>
#include <stdio.h>

#include "../common/util.h"
#include "labels.h"
#include "store_db.h"

int store_open(const char *path, struct store **out, struct failure *f)
{
	struct store *s = calloc(1, sizeof(*s));

	if (!s)
		return failure_no_memory(f);
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->readers_lock, NULL);
	s->path = strdup(path);
	if (!s->path)
		failure_no_memory(f);
	if (!s->path || db_open(path, true, &s->db, f) < 0 ||
	    wal_open(&s->wal, path, s->db, f) < 0) {
		store_close(s);
		return -1;
	}
	*out = s;
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	if (wal_failed(&s->wal)) /* it stays for the next process to check */
		sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1,
				  NULL);
	wal_close(&s->wal);
	while (s->n_readers)
		db_close(s->readers[--s->n_readers]);
	db_close(s->db);
	pthread_mutex_destroy(&s->readers_lock);
	pthread_mutex_destroy(&s->lock);
	free(s->path);
	free(s);
}

void store_on_failure(struct store *s, void (*fn)(void))
{
	wal_on_failure(&s->wal, fn);
}

const char *snapshot_kind_name(enum snapshot_kind kind)
{
	return kind == KIND_VIEW     ? "view"
	       : kind == KIND_ACTIVE ? "active"
				     : "committed";
}

/* ---- Checks -------------------------------------------------------------- */

static int check_name(const char *what, const char *name, struct failure *f)
{
	size_t len = strlen(name);

	if (!len)
		return failure_set(f, FAILURE_INVALID_ARGUMENT, EINVAL,
				   "the %s is empty", what);
	if (len > STORE_NAME_MAX)
		return failure_set(f, FAILURE_INVALID_ARGUMENT, ENAMETOOLONG,
				   "the %s is longer than %d bytes", what,
				   STORE_NAME_MAX);
	return 0;
}

/* Is a name taken, or about to be? 0: no. */
static int check_free(struct store *s, const char *name, struct failure *f)
{
	int rc = db_number(s->db, f, NULL,
			   "SELECT 1 FROM snapshots WHERE name = ?1 "
			   "UNION ALL "
			   "SELECT 1 FROM snapshots WHERE pending = ?1",
			   "s", name);

	if (rc > 0)
		return failure_set(f, FAILURE_ALREADY_EXISTS, EEXIST,
				   "snapshot '%.300s' already exists", name);
	return rc;
}

static int find_visible(struct store *s, const char *name, struct snapshot *out,
			struct failure *f)
{
	int rc = snapshot_find(s->db, out, f,
			       "s.name = ? AND " SNAPSHOT_VISIBLE, "s", name);

	if (rc == 0)
		return failure_set(f, FAILURE_NOT_FOUND, ENOENT,
				   "snapshot '%.300s' does not exist", name);
	return rc < 0 ? -1 : 0;
}

/* Fill *out (cleared by the caller) with the parent to create from. */
static int find_parent(struct store *s, const char *name, struct snapshot *out,
		       struct failure *f)
{
	int rc;

	if (str_empty(name))
		return 0;
	rc = snapshot_find(s->db, out, f, "s.name = ? AND " SNAPSHOT_VISIBLE,
			   "s", name);
	if (rc == 0)
		return failure_set(f, FAILURE_NOT_FOUND, ENOENT,
				   "parent snapshot '%.300s' does not exist",
				   name);
	if (rc > 0 && out->kind != KIND_COMMITTED)
		return failure_set(f, FAILURE_INVALID_ARGUMENT, EINVAL,
				   "parent snapshot '%.300s' is not committed",
				   name);
	return rc < 0 ? -1 : 0;
}

/* ---- Small facts --------------------------------------------------------- */

int store_get_meta(struct store *s, const char *key, char **value,
		   struct failure *f)
{
	sqlite3_stmt *st;
	int rc;

	*value = NULL;
	pthread_mutex_lock(&s->lock);
	rc = db_prepare(s->db, f, &st, "SELECT value FROM meta WHERE key = ?",
			"s", key);
	if (rc == 0) {
		int step = sqlite3_step(st);

		if (step == SQLITE_ROW)
			*value = strdup(
				(const char *)sqlite3_column_text(st, 0));
		else if (step != SQLITE_DONE)
			rc = db_failure(s->db, "read", f);
		db_done(st);
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int store_set_meta(struct store *s, const char *key, const char *value,
		   struct failure *f)
{
	int rc = db_begin(s, true, f);

	if (rc < 0)
		return rc;
	rc = db_run(s->db, f, "INSERT OR REPLACE INTO meta VALUES (?, ?)", "ss",
		    key, value);
	return db_end(s, rc, f);
}

/* ---- Create -------------------------------------------------------------- */

static int insert_preparing(struct store *s, enum snapshot_kind kind,
			    const char *key, int64_t parent,
			    json_object *labels, struct failure *f)
{
	int64_t t = now_ns();
	int rc;

	rc = db_run(s->db, f,
		    "INSERT INTO snapshots (name, kind, state, parent, branch,"
		    " labels, created, updated)"
		    " VALUES (?, ?, ?, nullif(?, 0), '', ?, ?, ?)",
		    "siiisii", key, (int64_t)kind, (int64_t)STATE_PREPARING,
		    parent, labels_text(labels), t, t);
	if (rc < 0)
		return rc;
	return db_run(s->db, f,
		      "UPDATE snapshots SET branch = 's-' || id WHERE id = ?",
		      "i", (int64_t)sqlite3_last_insert_rowid(s->db));
}

int store_begin_create(struct store *s, enum snapshot_kind kind,
		       const char *key, const char *parent, json_object *labels,
		       struct snapshot *out, struct failure *f)
{
	struct snapshot p = { 0 };
	json_object *clean;
	int rc;

	if (check_name("key", key, f) < 0 || labels_copy(labels, &clean, f) < 0)
		return -1;
	memset(out, 0, sizeof(*out));
	rc = db_begin_growing(s, false, f);
	if (rc == 0) {
		rc = find_parent(s, parent, &p, f);
		if (rc == 0)
			rc = check_free(s, key, f);
		if (rc == 0)
			rc = insert_preparing(s, kind, key, p.id, clean, f);
		if (rc == 0 &&
		    snapshot_find(s->db, out, f, "s.name = ?", "s", key) != 1)
			rc = -1;
		rc = db_end(s, rc, f);
	}
	snapshot_clear(&p);
	json_object_put(clean);
	if (rc == 0)
		out->commit = wal_start(&s->wal);
	else
		snapshot_clear(out);
	return rc;
}

int store_wait_durable(struct store *s, const struct snapshot *snap,
		       struct failure *f)
{
	return wal_wait(&s->wal, snap->commit, f);
}

static int set_state(struct store *s, bool durable, const char *sql, int64_t id,
		     struct failure *f)
{
	int rc = db_begin(s, durable, f);

	if (rc < 0)
		return rc;
	return db_end(s, db_run(s->db, f, sql, "i", id), f);
}

int store_end_create(struct store *s, int64_t id, struct failure *f)
{
	return set_state(s, false,
			 "UPDATE snapshots SET state = 2 WHERE id = ?", id, f);
}

/* ---- snapshot.ref -------------------------------------------------------- */

/*
 * The row that says already what the client looks for, or else one that holds
 * the chain under another name. The parents must hold one chain then: a label
 * could name any.
 */
static int find_chain(struct store *s, const char *chain, int64_t parent,
		      int64_t *id, bool *exact, struct failure *f)
{
	int rc = db_number(s->db, f, id,
			   "SELECT id FROM snapshots WHERE chain = ?1"
			   " AND kind = 3 AND state = 2"
			   " AND parent IS nullif(?2, 0)"
			   " AND labels ->> '$.\"" LABEL_REF "\"' = ?1",
			   "si", chain, parent);

	*exact = rc > 0;
	if (rc != 0)
		return rc;
	return db_number(s->db, f, id,
			 "SELECT s.id FROM snapshots s"
			 " LEFT JOIN snapshots p ON p.id = s.parent"
			 " LEFT JOIN snapshots q ON q.id = ?2"
			 " WHERE s.chain = ?1 AND s.kind = 3 AND s.state = 2"
			 " AND (s.parent IS nullif(?2, 0)"
			 "  OR p.chain = q.chain) LIMIT 1",
			 "si", chain, parent);
}

int store_drop_chain(struct store *s, int64_t id, struct failure *f)
{
	return set_state(s, false,
			 "UPDATE snapshots SET chain = NULL WHERE id = ?", id,
			 f);
}

static int insert_alias(struct store *s, const char *key, int64_t parent,
			int64_t source, json_object *labels, struct failure *f)
{
	int64_t t = now_ns();

	return db_run(s->db, f,
		      "INSERT INTO snapshots (name, kind, state, parent, branch,"
		      " chain, labels, created, updated, size, inodes)"
		      " SELECT ?1, 3, 2, nullif(?2, 0), branch, chain, ?3, ?4,"
		      " ?4, size, inodes FROM snapshots WHERE id = ?5",
		      "sisii", key, parent, labels_text(labels), t, source);
}

int store_adopt_chain(struct store *s, const char *chain, const char *key,
		      const char *parent, json_object *labels,
		      struct failure *f)
{
	struct snapshot p = { 0 };
	json_object *clean;
	int64_t source;
	bool exact = false;
	int rc, found = 0;

	if (check_name("key", key, f) < 0 || labels_copy(labels, &clean, f) < 0)
		return -1;
	rc = db_begin_growing(s, true, f);
	if (rc == 0) {
		rc = find_parent(s, parent, &p, f);
		if (rc == 0)
			rc = found =
				find_chain(s, chain, p.id, &source, &exact, f);
		if (rc > 0 && !exact) {
			rc = check_free(s, key, f);
			if (rc == 0)
				rc = insert_alias(s, key, p.id, source, clean,
						  f);
			found = 2;
		}
		rc = db_end(s, rc, f);
	}
	snapshot_clear(&p);
	json_object_put(clean);
	return rc < 0 ? rc : found;
}

/* ---- Commit -------------------------------------------------------------- */

int store_begin_commit(struct store *s, const char *key, const char *name,
		       json_object *labels, struct snapshot *out,
		       struct failure *f)
{
	json_object *clean;
	int rc;

	if (check_name("name", name, f) < 0 ||
	    labels_copy(labels, &clean, f) < 0)
		return -1;
	memset(out, 0, sizeof(*out));
	rc = db_begin_growing(s, false, f);
	if (rc == 0) {
		rc = check_free(s, name, f);
		if (rc == 0)
			rc = find_visible(s, key, out, f);
		if (rc == 0 &&
		    (out->kind != KIND_ACTIVE || out->state != STATE_READY))
			rc = failure_set(f, FAILURE_PRECONDITION, EINVAL,
					 "snapshot '%.300s' is not active: %s",
					 key,
					 out->state == STATE_COMMITTING
						 ? "it is being committed"
						 : snapshot_kind_name(
							   out->kind));
		if (rc == 0)
			rc = db_run(s->db, f,
				    "UPDATE snapshots SET state = 3,"
				    " pending = ?, pending_labels = ?"
				    " WHERE id = ?",
				    "ssi", name, labels_text(clean), out->id);
		rc = db_end(s, rc, f);
	}
	if (rc < 0) {
		snapshot_clear(out);
	} else {
		out->commit = wal_start(&s->wal);
		out->updated_ns = now_ns();
	}
	json_object_put(clean);
	return rc;
}

const char *chain_of(const char *name, json_object *labels)
{
	const char *slash = strrchr(name, '/');
	const char *s = slash ? slash + 1 : name;
	const char *ref = labels_get(labels, LABEL_REF);

	if (ref)
		return ref;
	if (strncmp(s, "sha256:", 7) == 0 && strlen(s) == 7 + 64 &&
	    strspn(s + 7, "0123456789abcdef") == 64)
		return s;
	return NULL;
}

static int pending_chain(struct store *s, int64_t id, char **chain,
			 struct failure *f)
{
	sqlite3_stmt *st;
	int rc = db_prepare(s->db, f, &st,
			    "SELECT pending, pending_labels FROM snapshots"
			    " WHERE id = ? AND state = 3",
			    "i", id);

	if (rc < 0)
		return rc;
	if (sqlite3_step(st) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(st, 0);
		const char *text = (const char *)sqlite3_column_text(st, 1);
		json_object *labels = text ? json_tokener_parse(text) : NULL;
		const char *c = name && labels ? chain_of(name, labels) : NULL;

		*chain = c ? strdup(c) : NULL;
		json_object_put(labels);
	} else {
		rc = failure_set(f, FAILURE_UNKNOWN, EIO,
				 "metadata: snapshot %lld is not being "
				 "committed",
				 (long long)id);
	}
	db_done(st);
	return rc;
}

int store_end_commit(struct store *s, int64_t id, int64_t time_ns, int64_t size,
		     int64_t inodes, struct failure *f)
{
	cleanup_free char *chain = NULL;
	int rc = db_begin(s, false, f);

	if (rc < 0)
		return rc;
	rc = pending_chain(s, id, &chain, f);
	if (rc == 0)
		rc = db_run(s->db, f,
			    "UPDATE snapshots SET name = pending, kind = 3,"
			    " state = 2, labels = pending_labels, chain = ?1,"
			    " created = ?2, updated = ?2, size = ?3,"
			    " inodes = ?4, pending = NULL,"
			    " pending_labels = NULL WHERE id = ?5",
			    "siiii", chain, time_ns, size, inodes, id);
	return db_end(s, rc, f);
}

int store_cancel_commit(struct store *s, int64_t id, struct failure *f)
{
	return set_state(s, true,
			 "UPDATE snapshots SET state = 2, pending = NULL,"
			 " pending_labels = NULL WHERE id = ? AND state = 3",
			 id, f);
}

/* ---- Remove -------------------------------------------------------------- */

int store_remove(struct store *s, const char *key, struct failure *f)
{
	struct snapshot snap = { 0 };
	int rc = db_begin(s, false, f);

	if (rc < 0)
		return rc;
	rc = find_visible(s, key, &snap, f);
	if (rc == 0 && snap.state == STATE_COMMITTING)
		rc = failure_set(f, FAILURE_PRECONDITION, EBUSY,
				 "cannot remove snapshot '%.300s': it is being "
				 "committed",
				 key);
	if (rc == 0)
		rc = db_number(s->db, f, NULL,
			       "SELECT 1 FROM snapshots WHERE parent = ?"
			       " AND state <> 4 LIMIT 1",
			       "i", snap.id);
	if (rc > 0)
		rc = failure_set(f, FAILURE_PRECONDITION, EBUSY,
				 "cannot remove snapshot '%.300s': it has "
				 "children",
				 key);
	if (rc == 0)
		rc = db_run(s->db, f,
			    "UPDATE snapshots SET state = 4, name = NULL"
			    " WHERE id = ?",
			    "i", snap.id);
	snapshot_clear(&snap);
	return db_end(s, rc, f);
}

int64_t store_last_id(struct store *s, struct failure *f)
{
	int64_t id = 0;
	int rc;

	pthread_mutex_lock(&s->lock);
	rc = db_number(s->db, f, &id,
		       "SELECT seq FROM sqlite_sequence"
		       " WHERE name = 'snapshots'",
		       "");
	pthread_mutex_unlock(&s->lock);
	return rc < 0 ? -1 : id;
}

int store_abandon(struct store *s, int64_t id, struct failure *f)
{
	return set_state(s, true,
			 "UPDATE snapshots SET state = 4, name = NULL,"
			 " pending = NULL WHERE id = ?",
			 id, f);
}

int store_forget(struct store *s, int64_t id, struct failure *f)
{
	int rc = db_begin(s, false, f);

	if (rc < 0)
		return rc;
	rc = db_number(s->db, f, NULL,
		       "SELECT 1 FROM snapshots WHERE parent = ? LIMIT 1", "i",
		       id);
	if (rc == 0)
		rc = db_run(s->db, f,
			    "DELETE FROM snapshots WHERE id = ? AND state = 4",
			    "i", id);
	return db_end(s, rc, f);
}

int store_branch_shared(struct store *s, const char *branch, int64_t id,
			struct failure *f)
{
	int rc;

	pthread_mutex_lock(&s->lock);
	rc = db_number(s->db, f, NULL,
		       "SELECT 1 FROM snapshots WHERE branch = ? AND id <> ?"
		       " LIMIT 1",
		       "si", branch, id);
	pthread_mutex_unlock(&s->lock);
	return rc;
}
