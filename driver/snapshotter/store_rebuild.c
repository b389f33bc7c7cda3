/* SPDX-License-Identifier: Apache-2.0 */
/* A store that is damaged is set aside; a new one is filled in one step. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "../common/log.h"
#include "../common/util.h"
#include "labels.h"
#include "store_db.h"

#define NAMES_TRIED 100

/* ---- Setting aside ------------------------------------------------------- */

static int move_away(const char *path, const char *aside, struct failure *f)
{
	if (renameat2(AT_FDCWD, path, AT_FDCWD, aside, RENAME_NOREPLACE) == 0 ||
	    errno == ENOENT)
		return 0;
	return failure_set(f, FAILURE_UNKNOWN, errno,
			   "cannot rename %s to %s: %s", path, aside,
			   log_err(errno));
}

/* "metadata.db.damaged-20260131T235959Z", or with a number behind it. */
static char *free_name(const char *path)
{
	time_t now = time(NULL);
	char when[32];
	struct tm tm;

	if (!gmtime_r(&now, &tm) ||
	    !strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &tm))
		return NULL;
	for (int i = 1; i <= NAMES_TRIED; i++) {
		char *name =
			i == 1 ? str_printf("%s.damaged-%s", path, when)
			       : str_printf("%s.damaged-%s-%d", path, when, i);
		cleanup_free char *wal =
			name ? str_printf("%s-wal", name) : NULL;

		if (wal && access(name, F_OK) < 0 && access(wal, F_OK) < 0)
			return name;
		free(name);
	}
	return NULL;
}

int store_set_aside(const char *path, char **aside, struct failure *f)
{
	cleanup_free char *name = free_name(path);
	cleanup_free char *wal = str_printf("%s-wal", path);
	cleanup_free char *shm = str_printf("%s-shm", path);
	cleanup_free char *to = name ? str_printf("%s-wal", name) : NULL;

	if (!to || !wal || !shm)
		return failure_set(f, FAILURE_UNKNOWN, ENOMEM,
				   "%s: no name to set it aside", path);
	/* the log first: without it the rest is found damaged again */
	if (move_away(wal, to, f) < 0 || move_away(path, name, f) < 0)
		return -1;
	if (unlink(shm) < 0 && errno != ENOENT)
		return failure_set(f, FAILURE_UNKNOWN, errno,
				   "cannot remove %s: %s", shm, log_err(errno));
	*aside = steal_ptr(&name);
	return 0;
}

bool store_left_log(const char *path)
{
	cleanup_free char *wal = str_printf("%s-wal", path);

	return wal && access(path, F_OK) < 0 && errno == ENOENT &&
	       access(wal, F_OK) == 0;
}

/* ---- Filling ------------------------------------------------------------- */

static int insert(struct store *s, const struct snapshot *snap,
		  struct failure *f)
{
	bool ready = snap->state == STATE_READY;
	const char *chain = ready && snap->kind == KIND_COMMITTED
				    ? chain_of(snap->name, snap->labels)
				    : NULL;

	return db_run(s->db, f,
		      "INSERT INTO snapshots (id, name, kind, state, parent,"
		      " branch, chain, labels, created, updated, size, inodes)"
		      " VALUES (?, ?, ?, ?, nullif(?, 0), ?, ?, ?, ?, ?, ?, ?)",
		      "isiiisssiiii", snap->id, ready ? snap->name : NULL,
		      (int64_t)snap->kind, (int64_t)snap->state,
		      snap->parent_id, snap->branch, chain,
		      labels_text(snap->labels), snap->created_ns,
		      snap->updated_ns, snap->size, snap->inodes);
}

static int set_last_id(struct store *s, int64_t id, struct failure *f)
{
	int rc = db_run(s->db, f,
			"DELETE FROM sqlite_sequence WHERE name = 'snapshots'",
			"");

	if (rc == 0)
		rc = db_run(s->db, f,
			    "INSERT INTO sqlite_sequence VALUES"
			    " ('snapshots', ?)",
			    "i", id);
	return rc;
}

static int put_meta(struct store *s, const char *key, const char *value,
		    struct failure *f)
{
	return db_run(s->db, f, "INSERT OR REPLACE INTO meta VALUES (?, ?)",
		      "ss", key, value);
}

int store_fill(struct store *s, const struct snapshot *rows, size_t n,
	       const char *pool, int64_t last_id, int64_t kept,
	       struct failure *f)
{
	char text[32];
	int rc = db_begin(s, true, f);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n && rc == 0; i++)
		if (rows[i].state != STATE_NONE)
			rc = insert(s, &rows[i], f);
	snprintf(text, sizeof(text), "%lld", (long long)kept);
	if (rc == 0)
		rc = set_last_id(s, last_id, f);
	if (rc == 0)
		rc = put_meta(s, STORE_KEPT, text, f);
	if (rc == 0)
		rc = put_meta(s, "pool", pool, f);
	return db_end(s, rc, f);
}
