/* SPDX-License-Identifier: Apache-2.0 */
/*
 * At the start: the store says what should be, the pool and the mounts are made
 * to agree. What was under way when the last process ended is undone; after
 * another boot, when the end of it may have been lost with the power, it is
 * finished. What was removed is left to the reaper. Rows and branches are read once each and
 * compared here, so that ten thousand of them take no longer than that.
 *
 * Mounts are not made: after a reboot most are never asked for again, and who
 * needs one asks (Mounts).
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "../common/log.h"
#include "../common/util.h"
#include "../../core/daxfs.h"
#include "describe.h"
#include "snapshotter.h"

#define LOST_LINES 100 /* named in the log, of the lost ones */
#define UNDESCRIBED_MAX 10

/* Our branches as the pool has them: the id that is their name, in order. */
struct branch_list {
	struct branch {
		int64_t id;
		bool sealed;
		bool known; /* a row has it */
		bool has_meta;
		int64_t pool_id; /* the region's number for it */
		uint32_t meta_crc;
		json_object *rows; /* what it is to say of itself */
	} * e;
	size_t n, cap;
};

/* Rows whose mount point is not ours to take away, in order. */
struct id_list {
	int64_t *id;
	size_t n, cap;
};

struct work {
	struct snapshotter *s;
	struct branch_list branches;
	struct id_list placed, lost;
	/* up to this row what is not in the pool went with an earlier pool */
	int64_t pool_since;
	int64_t kept; /* STORE_KEPT */
	struct failure *f;
	bool other_boot; /* than the last one's */
	unsigned rows, finished, undone, uncommitted, removed, remade, orphans,
		folders, described, undescribed, unknown;
};

int64_t snapshotter_branch_id(const char *name)
{
	char *end;
	long long id;

	if (strncmp(name, "s-", 2) != 0 || !isdigit((unsigned char)name[2]))
		return -1;
	errno = 0;
	id = strtoll(name + 2, &end, 10);
	return *end || errno || id <= 0 ? -1 : id;
}

static int by_id(const void *a, const void *b)
{
	const struct branch *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static int by_value(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Room for one more. */
static int grow(void *list, size_t n, size_t *cap, size_t size,
		struct failure *f)
{
	void **array = list, *more;
	size_t want = *cap ? 2 * *cap : 64;

	if (n < *cap)
		return 0;
	more = reallocarray(*array, want, size);
	if (!more)
		return failure_no_memory(f);
	*array = more;
	*cap = want;
	return 0;
}

static int add_id(struct id_list *l, int64_t id, struct failure *f)
{
	if (grow(&l->id, l->n, &l->cap, sizeof(*l->id), f) < 0)
		return -1;
	l->id[l->n++] = id;
	return 0;
}

static int add_branch(void *arg, const struct pool_branch *b)
{
	struct work *w = arg;
	struct branch_list *l = &w->branches;
	int64_t id = snapshotter_branch_id(b->name);

	if (id < 0)
		return 0;
	if (grow(&l->e, l->n, &l->cap, sizeof(*l->e), w->f) < 0)
		return -1;
	l->e[l->n++] = (struct branch){
		.id = id,
		.sealed = b->sealed,
		.has_meta = b->has_meta,
		.pool_id = b->id,
		.meta_crc = b->meta_crc,
	};
	return 0;
}

static struct branch *find_branch(struct work *w, const char *name)
{
	struct branch key = { .id = snapshotter_branch_id(name) };

	if (!w->branches.n)
		return NULL;
	return bsearch(&key, w->branches.e, w->branches.n, sizeof(key), by_id);
}

/*
 * A branch that describes itself was made after its row. One that is younger
 * than all rows was forgotten by them: metadata.db is a copy from earlier, and
 * to go by it would be to delete all that came since.
 */
static int check_age(struct work *w)
{
	int64_t last = store_last_id(w->s->store, w->f);

	if (last < 0)
		return -1;
	for (size_t i = w->branches.n; i-- > 0;) {
		const struct branch *e = &w->branches.e[i];

		if (e->id <= last)
			return 0;
		if (e->has_meta)
			return failure_set(w->f, FAILURE_UNKNOWN, ESTALE,
					   "metadata.db is older than the pool:"
					   " it has never had snapshot %lld",
					   (long long)e->id);
	}
	return 0;
}

/* ---- Rows ---------------------------------------------------------------- */

/*
 * A branch that was made just before a power cut may not have reached the
 * region's file, nor what was written to it: that is as if nothing had been
 * written yet.
 */
static bool remake(struct work *w, const struct snapshot *snap)
{
	cleanup_free char *mountpoint = pool_mountpoint(w->s->pool, snap->id);
	cleanup_free char *meta = describe_snapshot(snap);

	if (!mountpoint || !meta || snap->kind == KIND_COMMITTED ||
	    snap->id <= w->pool_since ||
	    pool_create(w->s->pool, snap->branch, snap->parent_branch,
			mountpoint, snap->kind == KIND_VIEW, meta, w->f) < 0 ||
	    quota_begin(w->s, snap, w->f) < 0)
		return false;
	log_event(LOG_WARN, "branch was lost: made anew from its parent", "key",
		  snap->name, "branch", snap->branch, NULL);
	w->remade++;
	return true;
}

static int lost_branch(struct work *w, const struct snapshot *snap)
{
	if (remake(w, snap))
		return 0;
	if (w->lost.n < LOST_LINES)
		log_event(LOG_ERROR,
			  "snapshot is lost, the pool does not have its branch: "
			  "remove it",
			  "key", snap->name, "kind",
			  snapshot_kind_name(snap->kind), "branch",
			  snap->branch, NULL);
	if (add_id(&w->lost, snap->id, w->f) < 0)
		return -1;
	return store_drop_chain(w->s->store, snap->id, w->f);
}

/* Committed, but the pool forgot that: a power cut before the pool's sync. */
static int seal_again(struct work *w, const struct snapshot *snap)
{
	int64_t size, inodes;

	if (pool_seal(w->s->pool, snap->branch, NULL, &size, &inodes, w->f) < 0)
		log_event(LOG_ERROR, "committed snapshot cannot be sealed",
			  "name", snap->name, "error", w->f->text, NULL);
	return 0;
}

/* Sealed on disk, so all of it is there, and that may have been answered. */
static int finish_commit(struct work *w, const struct snapshot *snap)
{
	int64_t size = 0, inodes = 0;

	/* a damaged branch must not keep the others from being served */
	if (pool_usage(w->s->pool, snap->branch, &size, &inodes, w->f) < 0)
		log_event(LOG_ERROR, "size of a finished commit is not known",
			  "key", snap->name, "error", w->f->text, NULL);
	w->finished++;
	w->rows++;
	if (store_end_commit(w->s->store, snap->id, now_ns(), size, inodes,
			     w->f) < 0)
		return -1;
	describe_branch(w->s->store, w->s->pool, snap->branch);
	return 0;
}

/* Collect what the branch is to say of itself. */
static int note_row(struct work *w, struct branch *e,
		    const struct snapshot *snap)
{
	if (!e->rows)
		e->rows = describe_begin();
	return describe_add(e->rows, snap) ? 0 : failure_no_memory(w->f);
}

static int fix_row(void *arg, const struct snapshot *snap)
{
	struct work *w = arg;
	struct branch *e = find_branch(w, snap->branch);

	if (e)
		e->known = true;
	if (snap->kind != KIND_COMMITTED &&
	    add_id(&w->placed, snap->id, w->f) < 0)
		return -1;
	switch (snap->state) {
	case STATE_REMOVING:
		w->removed++;
		return 0;
	case STATE_PREPARING:
		if (!w->other_boot) {
			w->undone++;
			return store_abandon(w->s->store, snap->id, w->f);
		}
		w->finished++;
		if (store_end_create(w->s->store, snap->id, w->f) < 0)
			return -1;
		break;
	case STATE_COMMITTING:
		if (w->other_boot && e && e->sealed)
			return finish_commit(w, snap);
		w->uncommitted++;
		if (store_cancel_commit(w->s->store, snap->id, w->f) < 0)
			return -1;
		break;
	case STATE_NONE:
	case STATE_READY:
		break;
	}
	w->rows++;
	if (!e)
		return lost_branch(w, snap);
	if (note_row(w, e, snap) < 0)
		return -1;
	return snap->kind == KIND_COMMITTED && !e->sealed ? seal_again(w, snap)
							  : 0;
}

/* ---- Descriptions -------------------------------------------------------- */

/* What was not told in time, and pools that had no descriptions yet. */
static int describe_again(struct work *w, struct branch *e)
{
	cleanup_free char *text = describe_end(steal_ptr(&e->rows));
	char name[32];

	if (!text)
		return failure_no_memory(w->f);
	if (e->has_meta &&
	    e->meta_crc ==
		    daxfs_branch_meta_crc((u64)e->pool_id, text, strlen(text)))
		return 0;
	snprintf(name, sizeof(name), "s-%lld", (long long)e->id);
	if (pool_set_meta(w->s->pool, name, text, w->f) == 0) {
		w->described++;
	} else {
		w->undescribed++;
		log_event(LOG_WARN, "branch cannot be described", "branch",
			  name, "error", w->f->text, NULL);
	}
	return 0;
}

static int describe_all(struct work *w)
{
	int rc = 0;

	/* what fails so often fails for all: the next start tries again */
	for (size_t i = 0;
	     i < w->branches.n && rc == 0 && w->undescribed < UNDESCRIBED_MAX;
	     i++)
		if (w->branches.e[i].rows)
			rc = describe_again(w, &w->branches.e[i]);
	return rc;
}

/* ---- What no row knows --------------------------------------------------- */

static int drop_orphans(struct work *w)
{
	for (size_t i = w->branches.n; i-- > 0;) { /* children first */
		struct branch *e = &w->branches.e[i];
		cleanup_free char *name = NULL;
		int rc;

		if (e->known)
			continue;
		if (e->id <= w->kept) {
			w->unknown++;
			continue;
		}
		name = str_printf("s-%lld", (long long)e->id);
		if (!name)
			return failure_no_memory(w->f);
		rc = pool_delete(w->s->pool, name, w->f);
		if (rc == 0)
			w->orphans++;
		log_event(LOG_WARN,
			  rc == 0 ? "branch that no snapshot has dropped"
				  : "branch that no snapshot has stays",
			  "branch", name, "error",
			  rc == 0  ? NULL
			  : rc > 0 ? "it has children"
				   : w->f->text,
			  NULL);
	}
	return 0;
}

static int drop_folder(void *arg, const char *path, int64_t id)
{
	struct work *w = arg;

	if (w->placed.n &&
	    bsearch(&id, w->placed.id, w->placed.n, sizeof(id), by_value))
		return 0;
	if (pool_unmount(w->s->pool, path, w->f) == 0)
		w->folders++;
	else
		log_event(LOG_WARN, "mount point of no snapshot stays", "error",
			  w->f->text, NULL);
	return 0;
}

/* ---- All of it ----------------------------------------------------------- */

static void report(const struct work *w)
{
	if (w->lost.n > LOST_LINES)
		log_event(LOG_ERROR, "more snapshots are lost", "count",
			  log_fmt("%zu", w->lost.n - LOST_LINES), NULL);
	log_event(LOG_INFO, "state reconciled", "snapshots",
		  log_fmt("%u", w->rows), "calls_finished",
		  log_fmt("%u", w->finished), "commits_undone",
		  log_fmt("%u", w->uncommitted), "creations_undone",
		  log_fmt("%u", w->undone), "removals_to_finish",
		  log_fmt("%u", w->removed), "branches_remade",
		  log_fmt("%u", w->remade), "snapshots_lost",
		  log_fmt("%zu", w->lost.n), "branches_dropped",
		  log_fmt("%u", w->orphans), "unknown_branches",
		  log_fmt("%u", w->unknown), "described",
		  log_fmt("%u", w->described), "mountpoints_removed",
		  log_fmt("%u", w->folders), NULL);
}

static int read_facts(struct work *w)
{
	cleanup_free char *text = NULL;

	if (store_get_meta(w->s->store, "pool_since", &text, w->f) < 0)
		return -1;
	w->pool_since = text ? strtoll(text, NULL, 10) : 0;
	free(steal_ptr(&text));
	if (store_get_meta(w->s->store, STORE_KEPT, &text, w->f) < 0)
		return -1;
	w->kept = text ? strtoll(text, NULL, 10) : 0;
	return 0;
}

/* What the system calls this boot; "": it does not say. */
static void read_boot(char *out, size_t size)
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!file || !fgets(out, (int)size, file))
		*out = '\0';
	if (file)
		fclose(file);
}

/*
 * In the same boot nothing that was written is lost, and a call whose end the
 * row does not have was not answered.
 */
static int read_last_boot(struct work *w, const char *boot)
{
	cleanup_free char *last = NULL;

	if (store_get_meta(w->s->store, "boot", &last, w->f) < 0)
		return -1;
	w->other_boot = !*boot || !last || !str_eq(last, boot);
	return 0;
}

int snapshotter_reconcile(struct snapshotter *s, struct failure *f)
{
	struct work w = { .s = s, .f = f };
	char boot[64];
	int rc = read_facts(&w);

	read_boot(boot, sizeof(boot));
	if (rc == 0)
		rc = read_last_boot(&w, boot);

	if (rc == 0)
		rc = pool_walk(s->pool, add_branch, &w, f);
	if (rc == 0 && w.branches.n)
		qsort(w.branches.e, w.branches.n, sizeof(*w.branches.e), by_id);
	if (rc == 0)
		rc = check_age(&w);
	if (rc == 0)
		rc = store_walk(s->store, 0, false, fix_row, &w, f);
	if (rc == 0)
		rc = describe_all(&w);
	if (rc == 0)
		rc = drop_orphans(&w);
	if (rc == 0)
		rc = pool_walk_mountpoints(s->pool, drop_folder, &w, f);
	if (rc == 0) /* and all that was done before it is on disk */
		rc = store_set_meta(s->store, "boot", boot, f);
	if (rc == 0) {
		report(&w);
		s->reconciled = (struct reconciled){
			.snapshots = w.rows,
			.commits_undone = w.uncommitted,
			.creations_undone = w.undone,
			.removals_to_finish = w.removed,
			.branches_remade = w.remade,
			.branches_dropped = w.orphans,
			.mountpoints_removed = w.folders,
		};
		s->n_lost = w.lost.n;
		s->lost = steal_ptr(&w.lost.id);
	}
	free(w.lost.id);
	free(w.placed.id);
	for (size_t i = 0; i < w.branches.n; i++)
		json_object_put(w.branches.e[i].rows);
	free(w.branches.e);
	return rc;
}

void snapshotter_free_lost(struct snapshotter *s)
{
	free(s->lost);
	s->lost = NULL;
	s->n_lost = 0;
}
