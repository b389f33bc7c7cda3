/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the metadata is on disk, and when. fdatasync() is ours here: it keeps
 * a copy of the database's files, which is what a loss of power would leave.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include <cmocka.h>

#include "driver/common/util.h"
#include "driver/snapshotter/store_db.h"
#include "scratch.h"

#define THREADS 16

struct fixture {
	char dir[64], path[96];
	struct store *store;
};

static struct failure f;
static char copy_from[64]; /* empty: nothing is copied */
static char copy_to[64];
static atomic_uint syncs;
static atomic_int slow_ms, fail_with;
static atomic_bool no_disk; /* where it is not what is tested */

static bool is_log(int fd)
{
	char link[64], name[256];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, name, sizeof(name) - 1);
	if (n < 4)
		return false;
	name[n] = '\0';
	return str_eq(name + n - 4, "-wal");
}

/* As the disk has it: what was written before the sync began. */
static void copy_disk(void)
{
	char cmd[256];

	if (!*copy_from)
		return;
	snprintf(cmd, sizeof(cmd), "cp %s/m.db %s/m.db-wal %s", copy_from,
		 copy_from, copy_to);
	assert_int_equal(system(cmd), 0);
}

int fdatasync(int fd)
{
	struct timespec t = { .tv_nsec = atomic_load(&slow_ms) * 1000000l };
	int err = atomic_load(&fail_with);

	if (is_log(fd)) {
		copy_disk();
		atomic_fetch_add(&syncs, 1);
		nanosleep(&t, NULL);
		if (err) {
			errno = err;
			return -1;
		}
	}
	return atomic_load(&no_disk) ? 0 : (int)syscall(SYS_fdatasync, fd);
}

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	if (!scratch_dir(x->dir, sizeof(x->dir), "wal"))
		return -1;
	snprintf(x->path, sizeof(x->path), "%s/m.db", x->dir);
	if (store_open(x->path, &x->store, &f) < 0)
		return -1;
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;
	char cmd[96];

	*copy_from = '\0';
	atomic_store(&slow_ms, 0);
	atomic_store(&fail_with, 0);
	atomic_store(&no_disk, false);
	store_close(x->store);
	snprintf(cmd, sizeof(cmd), "rm -r %s", x->dir);
	free(x);
	return system(cmd);
}

static void keep_copies(struct fixture *x)
{
	assert_true(scratch_dir(copy_to, sizeof(copy_to), "disk"));
	snprintf(copy_from, sizeof(copy_from), "%s", x->dir);
}

/* The store as it comes back after a loss of power; ends copying. */
static struct store *open_copy(void)
{
	struct store *s;
	char path[96];

	*copy_from = '\0';
	snprintf(path, sizeof(path), "%s/m.db", copy_to);
	assert_int_equal(store_open(path, &s, &f), 0);
	return s;
}

static void close_copy(struct store *s)
{
	char cmd[96];

	store_close(s);
	snprintf(cmd, sizeof(cmd), "rm -r %s", copy_to);
	assert_int_equal(system(cmd), 0);
}

/* ---- What is on disk ----------------------------------------------------- */

static void make(struct store *s, const char *key, struct snapshot *snap)
{
	assert_int_equal(store_begin_create(s, KIND_ACTIVE, key, "", NULL, snap,
					    &f),
			 0);
	assert_int_equal(store_end_create(s, snap->id, &f), 0);
	assert_int_equal(store_wait_durable(s, snap, &f), 0);
}

static int count_one(void *arg, const struct snapshot *snap)
{
	(void)snap;
	++*(unsigned *)arg;
	return 0;
}

/* Rows in either state. */
static unsigned rows(struct store *s, enum snapshot_state a,
		     enum snapshot_state b)
{
	unsigned n = 0;

	assert_int_equal(store_walk(s, a, false, count_one, &n, &f), 0);
	assert_int_equal(store_walk(s, b, false, count_one, &n, &f), 0);
	return n;
}

static void test_answered_is_on_disk(void **state)
{
	struct fixture *x = *state;
	static const char *const fields[] = { "labels" };
	json_object *labels = json_tokener_parse("{\"a\":\"b\"}");
	struct snapshot snap;
	struct store *s;

	keep_copies(x);
	make(x->store, "one", &snap);
	snapshot_clear(&snap);
	make(x->store, "two", &snap);
	snapshot_clear(&snap);
	assert_int_equal(store_update(x->store, "two", labels, fields, 1, &snap,
				      &f),
			 0);
	assert_int_equal(store_wait_durable(x->store, &snap, &f), 0);
	snapshot_clear(&snap);
	s = open_copy();
	assert_int_equal(rows(s, STATE_PREPARING, STATE_READY), 2);
	/* what came before a synced one is on disk with it */
	assert_int_equal(store_get(s, "one", &snap, &f), 0);
	snapshot_clear(&snap);
	assert_int_equal(store_get(s, "two", &snap, &f), 0);
	assert_int_equal(json_object_object_length(snap.labels), 1);
	snapshot_clear(&snap);
	close_copy(s);
	json_object_put(labels);
}

static void test_commit_is_on_disk(void **state)
{
	struct fixture *x = *state;
	struct snapshot snap;
	struct store *s;

	keep_copies(x);
	make(x->store, "key", &snap);
	snapshot_clear(&snap);
	assert_int_equal(store_begin_commit(x->store, "key", "name", NULL,
					    &snap, &f),
			 0);
	assert_int_equal(store_wait_durable(x->store, &snap, &f), 0);
	s = open_copy();
	assert_int_equal(rows(s, STATE_COMMITTING, STATE_REMOVING), 1);
	/* the next start finishes it */
	assert_int_equal(store_end_commit(s, snap.id, 1, 5, 6, &f), 0);
	snapshot_clear(&snap);
	assert_int_equal(store_get(s, "name", &snap, &f), 0);
	assert_int_equal(snap.kind, KIND_COMMITTED);
	assert_int_equal(snap.size, 5);
	snapshot_clear(&snap);
	close_copy(s);
}

/* A failed call is not finished by the next start either. */
static void test_undone_is_on_disk(void **state)
{
	struct fixture *x = *state;
	struct snapshot snap;
	struct store *s;

	keep_copies(x);
	assert_int_equal(store_begin_create(x->store, KIND_ACTIVE, "key", "",
					    NULL, &snap, &f),
			 0);
	assert_int_equal(store_abandon(x->store, snap.id, &f), 0);
	snapshot_clear(&snap);
	s = open_copy();
	assert_int_equal(rows(s, STATE_PREPARING, STATE_READY), 0);
	close_copy(s);
}

/* ---- How often ----------------------------------------------------------- */

static void *set_one(void *arg)
{
	struct store *s = arg;
	struct failure mine;

	return store_set_meta(s, "key", "value", &mine) == 0 ? NULL : arg;
}

/* While one sync runs the others' commits gather, and share the next. */
static void test_syncs_are_shared(void **state)
{
	struct fixture *x = *state;
	pthread_t t[THREADS];
	void *bad = NULL;
	unsigned before;

	atomic_store(&slow_ms, 50);
	before = atomic_load(&syncs);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, set_one, x->store),
				 0);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(t[i], &bad), 0);
		assert_null(bad);
	}
	assert_true(atomic_load(&syncs) > before);
	assert_true(atomic_load(&syncs) < before + THREADS);
}

static void test_removal_waits_for_no_disk(void **state)
{
	struct fixture *x = *state;
	struct snapshot snap;
	unsigned before;

	make(x->store, "key", &snap);
	snapshot_clear(&snap);
	before = atomic_load(&syncs);
	assert_int_equal(store_remove(x->store, "key", &f), 0);
	assert_int_equal(atomic_load(&syncs), before);
}

/* ---- Errors, size -------------------------------------------------------- */

static void reopen(struct fixture *x)
{
	store_close(x->store);
	x->store = NULL;
	assert_int_equal(store_open(x->path, &x->store, &f), 0);
}

static atomic_uint told;

static void on_failure(void)
{
	atomic_fetch_add(&told, 1);
}

/*
 * The kernel tells of a lost write once. What comes behind it in the log is not
 * durable, whatever later syncs say: nobody may be told that it is.
 */
static void test_disk_error(void **state)
{
	struct fixture *x = *state;
	struct snapshot snap;
	char *value;

	atomic_store(&told, 0);
	store_on_failure(x->store, on_failure);
	assert_int_equal(store_set_meta(x->store, "k", "before", &f), 0);
	atomic_store(&fail_with, EIO);
	assert_int_equal(store_set_meta(x->store, "k", "v", &f), -1);
	assert_non_null(strstr(f.text, "cannot write to disk"));
	atomic_store(&fail_with, 0);
	assert_int_equal(store_set_meta(x->store, "k", "v", &f), -1);
	assert_int_equal(f.err, EIO);
	assert_int_equal(store_begin_create(x->store, KIND_ACTIVE, "key", "",
					    NULL, &snap, &f),
			 -1);
	assert_int_equal(f.status, FAILURE_UNAVAILABLE);
	assert_int_equal(atomic_load(&told), 1);

	reopen(x);
	assert_int_equal(store_get_meta(x->store, "k", &value, &f), 0);
	assert_string_equal(value, "v"); /* the log had it after all */
	free(value);
	make(x->store, "key", &snap);
	snapshot_clear(&snap);
}

/* The thread that syncs ahead hears of it, and who waits does too. */
static void test_disk_error_ahead(void **state)
{
	struct fixture *x = *state;
	struct snapshot snap;

	make(x->store, "first", &snap); /* SQLite syncs the log's head itself */
	snapshot_clear(&snap);
	atomic_store(&fail_with, EIO);
	assert_int_equal(store_begin_create(x->store, KIND_ACTIVE, "key", "",
					    NULL, &snap, &f),
			 0);
	while (!wal_failed(&x->store->wal))
		sched_yield();
	atomic_store(&fail_with, 0);
	assert_int_equal(store_wait_durable(x->store, &snap, &f), -1);
	snapshot_clear(&snap);
}

/* A frame that did not get to the disk ends the log, and nothing is mixed up. */
static void test_log_with_a_hole(void **state)
{
	struct fixture *x = *state;
	struct snapshot snap;
	char path[112], *value;
	off_t end;
	int fd;

	make(x->store, "key", &snap);
	snapshot_clear(&snap);
	end = x->store->wal.stuck * (off_t)(4096 + 24) + 32;
	atomic_store(&fail_with, EIO);
	assert_int_equal(store_set_meta(x->store, "k", "lost", &f), -1);
	atomic_store(&fail_with, 0);
	snprintf(path, sizeof(path), "%s-wal", x->path);
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "hole", 4, end + 100), 4);
	close(fd);

	reopen(x);
	assert_int_equal(store_get_meta(x->store, "k", &value, &f), 0);
	assert_null(value);
	assert_int_equal(store_get(x->store, "key", &snap, &f), 0);
	snapshot_clear(&snap);
	assert_int_equal(store_set_meta(x->store, "k", "v", &f), 0);
}

/* What an earlier process left in the log is on disk as soon as we serve. */
static void test_log_is_taken_over(void **state)
{
	struct fixture *x = *state;
	struct snapshot snap;
	char cmd[256], copy[128];
	struct store *s;

	make(x->store, "key", &snap);
	snapshot_clear(&snap);
	assert_true(scratch_dir(copy_to, sizeof(copy_to), "disk"));
	/* as it is left by one that is killed */
	snprintf(cmd, sizeof(cmd), "cp %s/m.db %s/m.db-wal %s", x->dir, x->dir,
		 copy_to);
	assert_int_equal(system(cmd), 0);
	snprintf(copy, sizeof(copy), "%s/m.db", copy_to);
	assert_int_equal(store_open(copy, &s, &f), 0);
	snprintf(cmd, sizeof(cmd), "cp %s %s/only.db", copy, copy_to);
	assert_int_equal(system(cmd), 0);
	store_close(s);
	snprintf(copy, sizeof(copy), "%s/only.db", copy_to);
	assert_int_equal(store_open(copy, &s, &f), 0);
	assert_int_equal(store_get(s, "key", &snap, &f), 0);
	snapshot_clear(&snap);
	close_copy(s);
}

static off_t log_size(const struct fixture *x)
{
	char path[112];
	struct stat st;

	snprintf(path, sizeof(path), "%s-wal", x->path);
	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

/* The log does not grow with what is written: not while it is being read. */
static void test_log_is_bounded(void **state)
{
	struct fixture *x = *state;
	off_t begin = log_size(x);
	struct snapshot snap;

	atomic_store(&no_disk, true);
	for (int i = 0; i < 4000; i++) {
		make(x->store, "key", &snap);
		snapshot_clear(&snap);
		assert_int_equal(store_remove(x->store, "key", &f), 0);
	}
	/* 12,000 commits of two pages and more */
	assert_true(begin > 0);
	assert_in_range(log_size(x), begin, 6 * begin);
}

/* Statements are kept: their number must not grow with their use. */
static void test_statements_are_reused(void **state)
{
	struct fixture *x = *state;
	sqlite3_stmt *st = NULL;
	struct snapshot snap;
	unsigned n = 0;

	for (int i = 0; i < 100; i++) {
		make(x->store, "key", &snap);
		snapshot_clear(&snap);
		assert_int_equal(store_get(x->store, "none", &snap, &f), -1);
		assert_int_equal(store_remove(x->store, "key", &f), 0);
	}
	while ((st = sqlite3_next_stmt(x->store->db, st))) {
		assert_false(sqlite3_stmt_busy(st));
		n++;
	}
	assert_in_range(n, 1, 60);
}

/* However many snapshots there are: no call but a list looks at all of them. */
static void test_no_call_reads_all(void **state)
{
	struct fixture *x = *state;
	struct store *s = x->store;
	struct snapshot snap;
	sqlite3_stmt *st = NULL;
	unsigned n = 0;

	for (int i = 0; i < 20; i++) {
		char key[16];

		snprintf(key, sizeof(key), "other%d", i);
		make(s, key, &snap);
		snapshot_clear(&snap);
	}
	for (int i = 0; i < 3; i++) {
		char key[16], name[16];

		snprintf(key, sizeof(key), "k%d", i);
		snprintf(name, sizeof(name), "n%d", i);
		make(s, key, &snap);
		snapshot_clear(&snap);
		assert_int_equal(store_begin_commit(s, key, name, NULL, &snap,
						    &f),
				 0);
		assert_int_equal(store_cancel_commit(s, snap.id, &f), 0);
		snapshot_clear(&snap);
		assert_int_equal(store_update(s, key, NULL, NULL, 0, &snap, &f),
				 0);
		assert_int_equal(store_branch_shared(s, snap.branch, snap.id,
						     &f),
				 0);
		assert_int_equal(store_adopt_chain(s, "c", "x", "", NULL, &f),
				 0);
		assert_int_equal(store_remove(s, key, &f), 0);
		assert_int_equal(store_walk(s, STATE_REMOVING, true, count_one,
					    &n, &f),
				 0);
		assert_int_equal(store_forget(s, snap.id, &f), 0);
		snapshot_clear(&snap);
	}
	assert_int_equal(n, 3);
	while ((st = sqlite3_next_stmt(s->db, st)))
		if (sqlite3_stmt_status(st, SQLITE_STMTSTATUS_FULLSCAN_STEP, 0))
			fail_msg("reads all rows: %s", sqlite3_sql(st));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_answered_is_on_disk),       T(test_commit_is_on_disk),
		T(test_undone_is_on_disk),         T(test_syncs_are_shared),
		T(test_removal_waits_for_no_disk), T(test_disk_error),
		T(test_disk_error_ahead),          T(test_log_with_a_hole),
		T(test_log_is_taken_over),         T(test_log_is_bounded),
		T(test_statements_are_reused),     T(test_no_call_reads_all),
	};

	return cmocka_run_group_tests_name("wal", tests, NULL, NULL);
}
