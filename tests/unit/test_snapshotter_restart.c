/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots on a real pool: what a process that was killed at any step leaves
 * is put right by the next one. Needs root, /dev/fuse, and mkdaxfs and
 * daxfs-fuse in PATH.
 */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "driver/common/log.h"
#include "driver/common/util.h"
#include "driver/snapshotter/pool_client.h"
#include "driver/snapshotter/snapshotter.h"
#include "driver/snapshotter/store_db.h"
#include "scratch.h"

struct fixture {
	char dir[64], db[96], region[96], state[96];
	struct snapshotter s;
	bool open;
};

static struct failure f;

/* ---- Fixture ------------------------------------------------------------- */

static bool in_path(const char *program)
{
	char *dirs = strdup(getenv("PATH") ? getenv("PATH") : "");
	bool found = false;

	for (char *d = strtok(dirs, ":"); d && !found; d = strtok(NULL, ":")) {
		char path[512];

		snprintf(path, sizeof(path), "%s/%s", d, program);
		found = access(path, X_OK) == 0;
	}
	free(dirs);
	return found;
}

static void require_fuse(void)
{
	const char *why = geteuid()                          ? "needs root"
			  : access("/dev/fuse", R_OK | W_OK) ? "needs /dev/fuse"
			  : !in_path("daxfs-fuse") || !in_path("mkdaxfs")
				  ? "needs daxfs-fuse and mkdaxfs in PATH"
				  : NULL;

	if (why) {
		print_message("skipped: %s\n", why);
		skip();
	}
}

#define OK(call)                                \
	do {                                    \
		if ((call) < 0)                 \
			fail_msg("%s", f.text); \
	} while (0)

static int start_up(struct fixture *x)
{
	const struct pool_settings ps = {
		.region = x->region,
		.state = x->state,
		.size = 256u << 20,
		.branches = 1024,
		.start_timeout = 60,
		.fuse = { .level = LOG_INFO, .sync_interval = 5 },
	};

	memset(&x->s, 0, sizeof(x->s));
	if (store_open(x->db, &x->s.store, &f) < 0 ||
	    pool_open(&ps, true, &x->s.pool, &f) < 0 ||
	    snapshotter_reconcile(&x->s, &f) < 0 ||
	    reaper_start(x->s.store, x->s.pool, &x->s.reaper, &f) < 0)
		return -1;
	x->open = true;
	return 0;
}

static void shut_down(struct fixture *x)
{
	reaper_stop(x->s.reaper);
	snapshotter_free_lost(&x->s);
	pool_close(x->s.pool);
	store_close(x->s.store);
	x->open = false;
}

static void restart(struct fixture *x)
{
	if (x->open)
		shut_down(x);
	OK(start_up(x));
}

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	if (!scratch_dir(x->dir, sizeof(x->dir), "restart"))
		return -1;
	snprintf(x->db, sizeof(x->db), "%s/m.db", x->dir);
	snprintf(x->region, sizeof(x->region), "%s/pool.daxfs", x->dir);
	snprintf(x->state, sizeof(x->state), "%s/state", x->dir);
	*state = x;
	return 0;
}

static int remove_row(void *arg, const struct snapshot *snap)
{
	struct fixture *x = arg;

	return snap->name && snapshotter_remove(&x->s, snap->name, &f) < 0;
}

static int remove_all(struct fixture *x)
{
	return store_walk(x->s.store, 0, true, remove_row, x, &f) ||
	       snapshotter_cleanup(&x->s, &f);
}

static int teardown(void **state)
{
	struct fixture *x = *state;
	char cmd[96];
	int rc = 0;

	if (x->open) {
		rc = remove_all(x);
		if (rc == 0)
			rc = pool_stop_idle(x->s.pool, &f);
		if (rc)
			print_error("teardown: %d %s\n", rc, f.text);
		shut_down(x);
	}
	snprintf(cmd, sizeof(cmd), "rm -r --one-file-system %s", x->dir);
	if (system(cmd))
		rc = -1;
	free(x);
	return rc;
}

/* ---- Short forms --------------------------------------------------------- */

static void put_file(const char *dir, const char *name)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, name, strlen(name)), strlen(name));
	assert_int_equal(close(fd), 0);
}

static bool has_file(const char *dir, const char *name)
{
	char path[512], buf[64];
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, buf, sizeof(buf));
	close(fd);
	return n == (ssize_t)strlen(name) &&
	       memcmp(buf, name, strlen(name)) == 0;
}

/* Prepare (or View), with a file of the key's name; the source is a buffer. */
static const char *make(struct fixture *x, enum snapshot_kind kind,
			const char *key, const char *parent)
{
	static char source[512];
	struct snapshot_mount m;

	OK(snapshotter_create(&x->s, kind, key, parent, NULL, &m, &f));
	assert_int_equal(m.readonly, kind == KIND_VIEW);
	snprintf(source, sizeof(source), "%s", m.source);
	free(m.source);
	if (kind == KIND_ACTIVE)
		put_file(source, key);
	return source;
}

static void layer(struct fixture *x, const char *name, const char *parent)
{
	make(x, KIND_ACTIVE, "layer", parent);
	OK(snapshotter_commit(&x->s, "layer", name, NULL, &f));
}

/* Has it a mount with this file? */
static bool shows(struct fixture *x, const char *key, const char *file)
{
	struct snapshot_mount m;
	bool r;

	OK(snapshotter_mounts(&x->s, key, &m, &f));
	r = has_file(m.source, file);
	free(m.source);
	return r;
}

static bool known(struct fixture *x, const char *key, enum snapshot_kind kind)
{
	struct snapshot snap;
	bool r;

	if (store_get(x->s.store, key, &snap, &f) < 0)
		return false;
	r = snap.kind == kind && snap.state == STATE_READY;
	snapshot_clear(&snap);
	return r;
}

static int count_branch(void *arg, const struct pool_branch *b)
{
	*(int *)arg += b->name[0] == 's' && b->name[1] == '-';
	return 0;
}

static int count_folder(void *arg, const char *path, int64_t id)
{
	(void)path;
	(void)id;
	++*(int *)arg;
	return 0;
}

static void check_counts(struct fixture *x, int branches, int mountpoints)
{
	int n = 0;

	OK(snapshotter_cleanup(&x->s, &f));
	OK(pool_walk(x->s.pool, count_branch, &n, &f));
	assert_int_equal(n, branches);
	n = 0;
	OK(pool_walk_mountpoints(x->s.pool, count_folder, &n, &f));
	assert_int_equal(n, mountpoints);
}

static pid_t fuse_pid(struct fixture *x)
{
	json_object *reply = NULL, *o;
	pid_t pid;

	OK(pool_call(x->s.pool, "GetRegion", json_object_new_object(), &reply,
		     &f));
	assert_true(json_object_object_get_ex(reply, "region", &o) &&
		    json_object_object_get_ex(o, "pid", &o));
	pid = (pid_t)json_object_get_int(o);
	json_object_put(reply);
	return pid;
}

/* ---- Nothing goes wrong -------------------------------------------------- */

static void test_life(void **state)
{
	struct fixture *x = *state;
	const char *source;
	struct stat st;
	int64_t size, inodes;
	struct snapshot_mount m;
	dev_t dev;

	require_fuse();
	umask(077);
	restart(x);
	source = make(x, KIND_ACTIVE, "a", "");
	assert_int_equal(stat(source, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0755);
	OK(snapshotter_usage(&x->s, "a", &size, &inodes, &f));
	assert_true(size > 0);
	assert_int_equal(inodes, 1);
	OK(snapshotter_commit(&x->s, "a", "c", NULL, &f));
	check_counts(x, 1, 0);
	assert_int_equal(access(source, F_OK), -1);
	assert_int_equal(snapshotter_mounts(&x->s, "c", &m, &f), -1);
	assert_int_equal(f.status, FAILURE_PRECONDITION);

	source = make(x, KIND_VIEW, "v", "c");
	assert_true(has_file(source, "a"));
	assert_int_equal(mkdir(source, 0755), -1);
	assert_int_equal(stat(source, &st), 0);
	dev = st.st_dev;
	source = make(x, KIND_ACTIVE, "b", "c");
	assert_int_equal(stat(source, &st), 0);
	assert_true(st.st_dev != dev);
	assert_true(has_file(source, "a"));
	assert_false(shows(x, "v", "b"));
	check_counts(x, 3, 2);

	assert_int_equal(snapshotter_remove(&x->s, "c", &f), -1);
	OK(snapshotter_remove(&x->s, "b", &f));
	OK(snapshotter_remove(&x->s, "v", &f));
	OK(snapshotter_remove(&x->s, "c", &f));
	check_counts(x, 0, 0);
}

/* A stop leaves the mounts to those who use them; a start adopts them. */
static void test_clean_restart(void **state)
{
	struct fixture *x = *state;
	char source[512];
	int fd;

	require_fuse();
	restart(x);
	layer(x, "c", "");
	snprintf(source, sizeof(source), "%s", make(x, KIND_ACTIVE, "a", "c"));
	fd = open(source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pool_stop_idle(x->s.pool, &f), 1);
	shut_down(x);
	assert_true(has_file(source, "a"));
	restart(x);
	/* the same mount: what was open stays so */
	assert_int_equal(faccessat(fd, "a", R_OK, 0), 0);
	close(fd);
	assert_true(shows(x, "a", "layer"));
	check_counts(x, 2, 1);
}

/* ---- Each half-done step ------------------------------------------------- */

/* The row, then the branch with its mount, then the row again. */
static void test_killed_create(void **state)
{
	struct fixture *x = *state;
	struct snapshot snap;
	char *source;

	require_fuse();
	restart(x);
	OK(store_begin_create(x->s.store, KIND_ACTIVE, "a", "", NULL, &snap,
			      &f));
	snapshot_clear(&snap);
	OK(store_begin_create(x->s.store, KIND_ACTIVE, "b", "", NULL, &snap,
			      &f));
	source = pool_mountpoint(x->s.pool, snap.id);
	OK(pool_create(x->s.pool, snap.branch, NULL, source, false, NULL, &f));
	snapshot_clear(&snap);
	restart(x);
	check_counts(x, 0, 0);
	assert_int_equal(access(source, F_OK), -1);
	free(source);
	make(x, KIND_ACTIVE, "a", ""); /* the names are free */
	make(x, KIND_ACTIVE, "b", "");
}

static void test_killed_commit(void **state)
{
	struct fixture *x = *state;
	struct snapshot snap;
	int64_t n;

	require_fuse();
	restart(x);
	make(x, KIND_ACTIVE, "a", "");
	make(x, KIND_ACTIVE, "b", "");
	OK(store_begin_commit(x->s.store, "a", "ca", NULL, &snap, &f));
	snapshot_clear(&snap);
	OK(store_begin_commit(x->s.store, "b", "cb", NULL, &snap, &f));
	OK(pool_seal(x->s.pool, snap.branch, NULL, &n, &n, &f));
	snapshot_clear(&snap);
	make(x, KIND_ACTIVE, "d", "");
	restart(x);
	/* its client was not told that it is done */
	assert_true(known(x, "a", KIND_ACTIVE));
	assert_true(known(x, "b", KIND_ACTIVE));
	assert_true(shows(x, "a", "a"));
	assert_true(shows(x, "b", "b"));
	OK(snapshotter_commit(&x->s, "a", "ca", NULL, &f));
	OK(snapshotter_commit(&x->s, "b", "cb", NULL, &f));
	assert_true(has_file(make(x, KIND_VIEW, "va", "ca"), "a"));
	assert_true(has_file(make(x, KIND_ACTIVE, "ab", "cb"), "b"));
	check_counts(x, 5, 3);
}

/*
 * The power may have taken the end of what was answered: creations are finished,
 * and commits of branches that are sealed on disk.
 */
static void test_other_boot(void **state)
{
	struct fixture *x = *state;
	struct snapshot snap;
	char *source;
	int64_t n;

	require_fuse();
	restart(x);
	make(x, KIND_ACTIVE, "c", "");
	make(x, KIND_ACTIVE, "d", "");
	OK(store_begin_create(x->s.store, KIND_ACTIVE, "a", "", NULL, &snap,
			      &f));
	snapshot_clear(&snap);
	OK(store_begin_create(x->s.store, KIND_ACTIVE, "b", "", NULL, &snap,
			      &f));
	source = pool_mountpoint(x->s.pool, snap.id);
	OK(pool_create(x->s.pool, snap.branch, NULL, source, false, NULL, &f));
	put_file(source, "b");
	free(source);
	snapshot_clear(&snap);
	OK(store_begin_commit(x->s.store, "c", "cc", NULL, &snap, &f));
	snapshot_clear(&snap);
	OK(store_begin_commit(x->s.store, "d", "cd", NULL, &snap, &f));
	OK(pool_seal(x->s.pool, snap.branch, NULL, &n, &n, &f));
	snapshot_clear(&snap);
	OK(store_set_meta(x->s.store, "boot", "another", &f));
	restart(x);
	assert_true(known(x, "a", KIND_ACTIVE));
	assert_false(shows(x, "a", "a"));
	assert_true(shows(x, "b", "b"));
	assert_true(known(x, "c", KIND_ACTIVE));
	assert_true(shows(x, "c", "c"));
	assert_true(known(x, "cd", KIND_COMMITTED));
	assert_false(known(x, "d", KIND_ACTIVE));
	assert_true(has_file(make(x, KIND_VIEW, "vd", "cd"), "d"));
	/* once: the next start is of this boot */
	OK(store_begin_create(x->s.store, KIND_ACTIVE, "e", "", NULL, &snap,
			      &f));
	snapshot_clear(&snap);
	restart(x);
	assert_false(known(x, "e", KIND_ACTIVE));
	check_counts(x, 5, 4);
}

/* A commit that failed for good leaves the snapshot as it was. */
static void test_failed_commit(void **state)
{
	struct fixture *x = *state;
	struct snapshot snap;

	require_fuse();
	restart(x);
	make(x, KIND_ACTIVE, "a", "");
	OK(store_get(x->s.store, "a", &snap, &f));
	assert_int_equal(pool_delete(x->s.pool, snap.branch, &f), 0);
	assert_int_equal(snapshotter_commit(&x->s, "a", "c", NULL, &f), -1);
	assert_true(known(x, "a", KIND_ACTIVE));
	assert_false(known(x, "c", KIND_COMMITTED));
	snapshot_clear(&snap);
}

/*
 * Where even that cannot be written, it is when the metadata can be again: by
 * the reaper, and before the client's next call.
 */
static void test_unwritable(void **state)
{
	struct fixture *x = *state;
	struct snapshot_mount m;
	struct snapshot snap;
	sqlite3 *other;

	require_fuse();
	restart(x);
	make(x, KIND_ACTIVE, "a", "");
	OK(store_begin_commit(x->s.store, "a", "c", NULL, &snap, &f));
	assert_int_equal(sqlite3_open(x->db, &other), SQLITE_OK);
	sqlite3_busy_timeout(x->s.store->db, 50);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL,
				      NULL),
			 SQLITE_OK);
	reaper_undo(x->s.reaper, snap.id, true);
	assert_int_equal(snapshotter_commit(&x->s, "a", "c", NULL, &f), -1);
	assert_int_equal(snapshotter_create(&x->s, KIND_ACTIVE, "b", "", NULL,
					    &m, &f),
			 -1);
	assert_int_equal(sqlite3_close(other), SQLITE_OK);
	OK(snapshotter_commit(&x->s, "a", "c", NULL, &f));
	assert_true(known(x, "c", KIND_COMMITTED));
	snapshot_clear(&snap);
	check_counts(x, 1, 0);
}

static void test_killed_remove(void **state)
{
	struct fixture *x = *state;

	require_fuse();
	restart(x);
	layer(x, "c", "");
	make(x, KIND_ACTIVE, "a", "c");
	reaper_stop(steal_ptr(&x->s.reaper));
	OK(store_remove(x->s.store, "a", &f));
	OK(store_remove(x->s.store, "c", &f));
	restart(x);
	check_counts(x, 0, 0);
}

/* What is in the pool or among the mounts, but in no row. */
static void test_leftovers(void **state)
{
	struct fixture *x = *state;
	char path[160], path2[160];
	int64_t n;

	require_fuse();
	restart(x);
	layer(x, "c", "");
	snprintf(path, sizeof(path), "%s/mnt/998", x->state);
	snprintf(path2, sizeof(path2), "%s/mnt/999", x->state);
	OK(pool_create(x->s.pool, "s-998", "s-1", path, false, NULL, &f));
	OK(pool_seal(x->s.pool, "s-998", NULL, &n, &n, &f));
	OK(pool_create(x->s.pool, "s-999", "s-998", path2, false, NULL, &f));
	snprintf(path, sizeof(path), "%s/mnt/empty", x->state);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/mnt/997", x->state);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(mount("none", path, "tmpfs", 0, NULL), 0);
	restart(x);
	check_counts(x, 1, 0);
	make(x, KIND_ACTIVE, "a", "c");
}

/* ---- Mounts and branches that are lost ----------------------------------- */

static void test_lost_mount(void **state)
{
	struct fixture *x = *state;
	char source[512];

	require_fuse();
	restart(x);
	layer(x, "c", "");
	snprintf(source, sizeof(source), "%s", make(x, KIND_VIEW, "v", "c"));
	assert_int_equal(umount2(source, MNT_DETACH), 0);
	assert_true(shows(x, "v", "layer")); /* while we run */
	assert_int_equal(umount2(source, MNT_DETACH), 0);
	restart(x); /* and after a start, when it is asked for */
	assert_true(shows(x, "v", "layer"));
	assert_int_equal(mkdir(source, 0755), -1);
	assert_int_equal(errno, EEXIST);
}

static void test_killed_fuse(void **state)
{
	struct fixture *x = *state;
	char source[512];
	pid_t pid;

	require_fuse();
	restart(x);
	layer(x, "c", "");
	snprintf(source, sizeof(source), "%s", make(x, KIND_ACTIVE, "a", "c"));
	pid = fuse_pid(x);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_true(shows(x, "a", "a")); /* a call starts another */
	assert_true(shows(x, "a", "layer"));
	assert_true(fuse_pid(x) != pid);
	put_file(source, "more");

	/* as a reboot: no process, no mounts, no state */
	pid = fuse_pid(x);
	shut_down(x);
	assert_int_equal(kill(pid, SIGKILL), 0);
	while (kill(pid, 0) == 0)
		usleep(1000);
	assert_int_equal(umount2(source, MNT_DETACH), 0);
	restart(x);
	assert_true(shows(x, "a", "layer"));
	assert_true(shows(x, "a", "a"));
	check_counts(x, 2, 1);
}

/*
 * One that ends well refuses calls meanwhile: they go to the next. What it had
 * answered before goes with its mounts, until they are asked for again.
 */
static void test_ending_fuse(void **state)
{
	struct fixture *x = *state;
	struct snapshot_mount m;

	require_fuse();
	restart(x);
	for (int i = 0; i < 20; i++) {
		pid_t pid = fuse_pid(x);
		char key[16];

		snprintf(key, sizeof(key), "k%d", i);
		assert_int_equal(kill(pid, SIGTERM), 0);
		usleep((unsigned)i * 200);
		OK(snapshotter_create(&x->s, KIND_ACTIVE, key, "", NULL, &m,
				      &f));
		free(m.source);
		while (kill(pid, 0) == 0)
			usleep(1000);
		OK(snapshotter_mounts(&x->s, key, &m, &f));
		put_file(m.source, key);
		free(m.source);
		assert_true(shows(x, key, key));
		OK(snapshotter_remove(&x->s, key, &f));
	}
	check_counts(x, 0, 0);
}

/* Where daxfs-fuse cannot be started that is tried once, not for each row. */
static void test_away_fuse(void **state)
{
	struct fixture *x = *state;
	unsigned freed, left;
	char away[160];
	pid_t pid;

	require_fuse();
	restart(x);
	for (int i = 0; i < 5; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%d", i);
		make(x, KIND_ACTIVE, key, "");
	}
	pid = fuse_pid(x);
	reaper_stop(steal_ptr(&x->s.reaper));
	for (int i = 0; i < 5; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%d", i);
		OK(store_remove(x->s.store, key, &f));
	}
	snprintf(away, sizeof(away), "%s.away", x->region);
	assert_int_equal(rename(x->region, away), 0);
	assert_int_equal(kill(pid, SIGTERM), 0);
	while (kill(pid, 0) == 0)
		usleep(1000);
	OK(reaper_pass(x->s.store, x->s.pool, &freed, &left, &f));
	assert_int_equal(freed, 0);
	assert_int_equal(left, 1);
	assert_int_equal(rename(away, x->region), 0);
	restart(x);
	check_counts(x, 0, 0);
}

#define CHAIN                                     \
	"sha256:00112233445566778899aabbccddeeff" \
	"00112233445566778899aabbccddeeff"

static void test_lost_branch(void **state)
{
	json_object *ref = json_tokener_parse(
		"{\"containerd.io/snapshot.ref\":\"" CHAIN "\"}");
	struct fixture *x = *state;
	struct snapshot_mount m;
	struct snapshot snap;

	require_fuse();
	restart(x);
	layer(x, "c", "");
	layer(x, "one/1/" CHAIN, "");
	make(x, KIND_ACTIVE, "a", "c");
	OK(store_get(x->s.store, "a", &snap, &f));
	assert_int_equal(pool_delete(x->s.pool, snap.branch, &f), 0);
	snapshot_clear(&snap);
	assert_int_equal(snapshotter_mounts(&x->s, "a", &m, &f), -1);
	assert_int_equal(f.status, FAILURE_PRECONDITION);
	assert_string_equal(f.text, "snapshot 'a' is lost: the pool does not "
				    "have its branch; remove it");
	OK(store_get(x->s.store, "one/1/" CHAIN, &snap, &f));
	assert_int_equal(pool_delete(x->s.pool, snap.branch, &f), 0);
	snapshot_clear(&snap);

	restart(x);
	assert_true(shows(x, "a", "layer")); /* anew, from its parent */
	assert_false(shows(x, "a", "a"));
	/* a layer cannot be made up: it stays known, and can be removed */
	assert_true(known(x, "one/1/" CHAIN, KIND_COMMITTED));
	assert_int_equal(snapshotter_create(&x->s, KIND_VIEW, "v",
					    "one/1/" CHAIN, NULL, &m, &f),
			 -1);
	assert_int_equal(f.status, FAILURE_PRECONDITION);
	assert_non_null(
		strstr(f.text, "parent snapshot 'one/1/" CHAIN "' is lost"));
	assert_false(known(x, "v", KIND_VIEW));
	OK(store_get(x->s.store, "one/1/" CHAIN, &snap, &f));
	assert_true(snapshotter_is_lost(&x->s, snap.id));
	snapshot_clear(&snap);
	OK(store_get(x->s.store, "a", &snap, &f));
	assert_false(snapshotter_is_lost(&x->s, snap.id));
	snapshot_clear(&snap);
	/* nor does it answer for its chain: that is to be unpacked again */
	OK(snapshotter_create(&x->s, KIND_ACTIVE, "k", "", ref, &m, &f));
	free(m.source);
	OK(snapshotter_remove(&x->s, "k", &f));
	OK(snapshotter_remove(&x->s, "one/1/" CHAIN, &f));
	check_counts(x, 2, 1);
	json_object_put(ref);
}

/* snapshot.ref: two rows, one branch, which goes with the last of them. */
static void test_shared_branch(void **state)
{
	struct fixture *x = *state;
	json_object *ref = json_tokener_parse(
		"{\"containerd.io/snapshot.ref\":\"" CHAIN "\"}");
	struct snapshot_mount m;

	require_fuse();
	restart(x);
	layer(x, "one/1/" CHAIN, "");
	assert_int_equal(snapshotter_create(&x->s, KIND_ACTIVE, "two/1/k", "",
					    ref, &m, &f),
			 -1);
	assert_int_equal(f.status, FAILURE_ALREADY_EXISTS);
	assert_true(known(x, "two/1/k", KIND_COMMITTED));
	check_counts(x, 1, 0);
	make(x, KIND_ACTIVE, "a", "two/1/k");
	OK(snapshotter_remove(&x->s, "one/1/" CHAIN, &f));
	check_counts(x, 2, 1);
	restart(x);
	assert_true(shows(x, "a", "layer"));
	assert_true(has_file(make(x, KIND_VIEW, "v", "two/1/k"), "layer"));
	assert_int_equal(snapshotter_remove(&x->s, "two/1/k", &f), -1);
	OK(snapshotter_remove(&x->s, "a", &f));
	OK(snapshotter_remove(&x->s, "v", &f));
	OK(snapshotter_remove(&x->s, "two/1/k", &f));
	check_counts(x, 0, 0);
	json_object_put(ref);
}

/* ---- Killed at any moment ------------------------------------------------ */

/* Make, commit and remove until killed; layers are named n0, n1, … in order. */
__attribute__((noreturn)) static void busy_child(struct fixture *x, int round)
{
	struct snapshot_mount m;

	if (start_up(x) < 0)
		_exit(1);
	for (int i = 0;; i++) {
		char key[32], name[32], old[32];

		snprintf(key, sizeof(key), "k%d-%d", round, i);
		snprintf(name, sizeof(name), "n%d-%d", round, i);
		snprintf(old, sizeof(old), "n%d-%d", round, i - 3);
		if (snapshotter_create(&x->s, KIND_ACTIVE, key, "base", NULL,
				       &m, &f) < 0 ||
		    mkdirat(AT_FDCWD, m.source, 0) == 0 ||
		    snapshotter_commit(&x->s, key, name, NULL, &f) < 0 ||
		    (i >= 3 && snapshotter_remove(&x->s, old, &f) < 0)) {
			print_error("child: %s\n", f.text);
			_exit(1);
		}
		free(m.source);
	}
}

static int count_rows(void *arg, const struct snapshot *snap)
{
	int *n = arg;

	assert_int_equal(snap->state, STATE_READY);
	n[0]++;
	n[1] += snap->kind != KIND_COMMITTED;
	return 0;
}

static void test_killed_anywhere(void **state)
{
	int rounds = getenv("LONG") ? 200 : 20;
	struct fixture *x = *state;
	unsigned seed = (unsigned)time(NULL);

	require_fuse();
	print_message("seed %u\n", seed);
	srand(seed);
	restart(x);
	layer(x, "base", "");
	shut_down(x);
	for (int r = 0; r < rounds; r++) {
		int status, rows[2] = { 0, 0 };
		pid_t pid = fork();

		if (pid == 0)
			busy_child(x, r);
		usleep(20000 + (unsigned)rand() % 80000);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		restart(x);
		OK(snapshotter_cleanup(&x->s, &f));
		OK(store_walk(x->s.store, 0, false, count_rows, rows, &f));
		check_counts(x, rows[0], rows[1]);
		assert_true(has_file(make(x, KIND_VIEW, "v", "base"), "layer"));
		OK(snapshotter_remove(&x->s, "v", &f));
		shut_down(x);
	}
	restart(x);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_life),          T(test_clean_restart),
		T(test_killed_create), T(test_killed_commit),
		T(test_other_boot),    T(test_failed_commit),
		T(test_unwritable),    T(test_killed_remove),
		T(test_leftovers),     T(test_lost_mount),
		T(test_killed_fuse),   T(test_ending_fuse),
		T(test_away_fuse),     T(test_lost_branch),
		T(test_shared_branch), T(test_killed_anywhere),
	};

	log_init("test_snapshotter_restart", LOG_ERROR, LOG_TEXT);
	return cmocka_run_group_tests_name("restart", tests, NULL, NULL);
}
