/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata.db is lost or damaged, the pool is not: the real daemons, asked over
 * JSON, answer afterwards what they answered before. Needs root, /dev/fuse, and
 * the programs in PATH.
 */
#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
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

#include "driver/common/util.h"
#include "driver/ipc/varlink.h"
#include "scratch.h"

#define WAIT_MS 30000

struct fixture {
	char dir[64];
	pid_t pid;
	struct varlink_client *c, *pool;
};

static struct varlink_error error;

/* ---- The daemons --------------------------------------------------------- */

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

static void require_daemons(void)
{
	const char *why = geteuid()                          ? "needs root"
			  : access("/dev/fuse", R_OK | W_OK) ? "needs /dev/fuse"
			  : !in_path("daxfs-snapshotter") ||
					  !in_path("daxfs-fuse") ||
					  !in_path("mkdaxfs")
				  ? "needs the programs in PATH"
				  : NULL;

	if (why) {
		print_message("skipped: %s\n", why);
		skip();
	}
}

static char *in_dir(struct fixture *x, const char *name)
{
	static char path[4][192];
	static unsigned i;

	i = (i + 1) % 4;
	snprintf(path[i], sizeof(path[i]), "%s/%s", x->dir, name);
	return path[i];
}

static pid_t spawn(struct fixture *x)
{
	pid_t pid = fork();
	int log;

	if (pid)
		return pid;
	log = open(in_dir(x, "log"), O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(log, 2);
	execlp("daxfs-snapshotter", "daxfs-snapshotter", "--root",
	       in_dir(x, "root"), "--state", in_dir(x, "state"), "--config",
	       in_dir(x, "conf"), NULL);
	_exit(127);
}

static void wait_connect(struct fixture *x, const char *path,
			 struct varlink_client **out)
{
	int status;

	for (int i = 0; varlink_connect(path, out) < 0; i++) {
		if (i == WAIT_MS / 10 ||
		    waitpid(x->pid, &status, WNOHANG) == x->pid) {
			char cmd[128];

			snprintf(cmd, sizeof(cmd), "tail -n 20 %s >&2",
				 in_dir(x, "log"));
			assert_true(system(cmd) >= 0);
			fail_msg("nobody answers on %s", path);
		}
		usleep(10000);
	}
}

static void start(struct fixture *x)
{
	glob_t g;

	x->pid = spawn(x);
	assert_true(x->pid > 0);
	wait_connect(x, in_dir(x, "state/daxfs.sock"), &x->c);
	assert_int_equal(glob(in_dir(x, "state/fuse/*.sock"), 0, NULL, &g), 0);
	wait_connect(x, g.gl_pathv[0], &x->pool);
	globfree(&g);
}

static void end(struct fixture *x, int sig)
{
	int status;

	varlink_close(x->c);
	varlink_close(x->pool);
	x->c = x->pool = NULL;
	if (!x->pid)
		return;
	kill(x->pid, sig);
	assert_int_equal(waitpid(x->pid, &status, 0), x->pid);
	x->pid = 0;
}

static void remove_files(struct fixture *x, const char *pattern)
{
	glob_t g;

	if (glob(in_dir(x, pattern), 0, NULL, &g))
		return;
	for (size_t i = 0; i < g.gl_pathc; i++)
		assert_int_equal(unlink(g.gl_pathv[i]), 0);
	globfree(&g);
}

/* ---- Calls --------------------------------------------------------------- */

/* NULL: refused, see `error`. */
static json_object *ask(struct varlink_client *c, const char *method,
			json_object *params)
{
	json_object *reply = NULL;
	int rc = varlink_call(c, method, params, WAIT_MS, &reply, &error);

	json_object_put(params);
	if (rc == 0)
		return reply;
	json_object_put(reply);
	if (rc != -EREMOTEIO)
		fail_msg("%s: %s", method, error.message);
	return NULL;
}

static json_object *object_of(const char *const *pairs)
{
	json_object *o = json_object_new_object();

	for (; pairs[0]; pairs += 2)
		json_object_object_add(o, pairs[0],
				       json_object_new_string(pairs[1]));
	return o;
}
#define OBJECT(...) object_of((const char *const[]){ __VA_ARGS__, NULL })

static json_object *must(struct varlink_client *c, const char *method,
			 json_object *params)
{
	json_object *reply = ask(c, method, params);

	if (!reply)
		fail_msg("%s: %s", method, error.message);
	return reply;
}

static void done(struct varlink_client *c, const char *method,
		 json_object *params)
{
	json_object_put(must(c, method, params));
}

#define SNAPSHOTS "io.daxfs.Snapshots."
#define BRANCHES "io.daxfs.Branches."

/* Prepare or View; a file of the key's name's length in it. */
static char *make(struct fixture *x, const char *method, const char *key,
		  const char *parent, const char *labels)
{
	json_object *o = OBJECT("key", key, "parent", parent), *reply, *m;
	static char source[256];
	char path[300];
	int fd;

	if (labels)
		json_object_object_add(o, "labels", json_tokener_parse(labels));
	reply = must(x->c, method, o);
	assert_true(json_object_object_get_ex(reply, "mounts", &m));
	assert_true(json_object_object_get_ex(json_object_array_get_idx(m, 0),
					      "source", &m));
	snprintf(source, sizeof(source), "%s", json_object_get_string(m));
	json_object_put(reply);
	if (str_eq(method, SNAPSHOTS "View"))
		return source;
	snprintf(path, sizeof(path), "%s/f%zu", source, strlen(key));
	fd = open(path, O_WRONLY | O_CREAT, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, key, strlen(key)), strlen(key));
	close(fd);
	return source;
}

static void commit(struct fixture *x, const char *key, const char *name,
		   const char *labels)
{
	json_object *o = OBJECT("key", key, "name", name);

	if (labels)
		json_object_object_add(o, "labels", json_tokener_parse(labels));
	done(x->c, SNAPSHOTS "Commit", o);
}

static void layer(struct fixture *x, const char *name, const char *parent,
		  const char *labels)
{
	make(x, SNAPSHOTS "Prepare", "unpack", parent, "{\"tmp\":\"1\"}");
	commit(x, "unpack", name, labels);
}

/* snapshot.ref: the chain is here, and known as `key` now. */
static void adopt(struct fixture *x, const char *key, const char *parent,
		  const char *chain)
{
	json_object *o = OBJECT("key", key, "parent", parent);

	json_object_object_add(o, "labels",
			       OBJECT("containerd.io/snapshot.ref", chain, "ns",
				      key));
	assert_null(ask(x->c, SNAPSHOTS "Prepare", o));
	assert_string_equal(error.name, SNAPSHOTS "AlreadyExists");
}

static void relabel(struct fixture *x, const char *name, const char *labels)
{
	json_object *info = OBJECT("name", name);
	json_object *o = json_object_new_object();

	json_object_object_add(info, "labels", json_tokener_parse(labels));
	json_object_object_add(o, "info", info);
	done(x->c, SNAPSHOTS "Update", o);
}

/* ---- What is there ------------------------------------------------------- */

static int collect(void *arg, json_object *reply)
{
	json_object *infos;

	if (json_object_object_get_ex(reply, "infos", &infos))
		for (size_t i = 0; i < json_object_array_length(infos); i++)
			json_object_array_add(arg,
					      json_object_get(
						      json_object_array_get_idx(infos,
										i)));
	return 0;
}

static json_object *infos_of(struct fixture *x)
{
	json_object *all = json_object_new_array();

	assert_int_equal(varlink_call_more(x->c, SNAPSHOTS "List", NULL,
					   WAIT_MS, collect, all, &error),
			 0);
	return all;
}

static const char *name_of(json_object *info)
{
	json_object *name;

	assert_true(json_object_object_get_ex(info, "name", &name));
	return json_object_get_string(name);
}

/* Everything that can be listed, and what each one uses. */
static char *picture(struct fixture *x)
{
	json_object *all = infos_of(x);
	char *text;

	for (size_t i = 0; i < json_object_array_length(all); i++) {
		json_object *info = json_object_array_get_idx(all, i);

		json_object_object_add(info, "usage",
				       must(x->c, SNAPSHOTS "Usage",
					    OBJECT("key", name_of(info))));
	}
	text = strdup(json_object_to_json_string(all));
	json_object_put(all);
	return text;
}

static size_t count(struct fixture *x)
{
	json_object *all = infos_of(x);
	size_t n = json_object_array_length(all);

	json_object_put(all);
	return n;
}

static bool shows(struct fixture *x, const char *key, const char *file)
{
	json_object *reply = must(x->c, SNAPSHOTS "Mounts", OBJECT("key", key));
	json_object *m;
	char path[300];

	assert_true(json_object_object_get_ex(reply, "mounts", &m));
	assert_true(json_object_object_get_ex(json_object_array_get_idx(m, 0),
					      "source", &m));
	snprintf(path, sizeof(path), "%s/%s", json_object_get_string(m), file);
	json_object_put(reply);
	return access(path, F_OK) == 0;
}

/* Branches of the pool beside main. */
static size_t branches(struct fixture *x)
{
	json_object *reply = must(x->pool, BRANCHES "List", NULL), *all;
	size_t n;

	assert_true(json_object_object_get_ex(reply, "branches", &all));
	n = json_object_array_length(all) - 1;
	json_object_put(reply);
	return n;
}

static bool has_branch(struct fixture *x, const char *name)
{
	json_object *reply = ask(x->pool, BRANCHES "Get", OBJECT("name", name));

	json_object_put(reply);
	return reply;
}

/* In the log since the fixture began. */
static bool logged(struct fixture *x, const char *text)
{
	char cmd[400];

	snprintf(cmd, sizeof(cmd), "grep -qF -- '%s' '%s'", text,
		 in_dir(x, "log"));
	return system(cmd) == 0;
}

/* ---- Fixture ------------------------------------------------------------- */

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));
	FILE *conf;

	if (!scratch_dir(x->dir, sizeof(x->dir), "rebuild"))
		return -1;
	conf = fopen(in_dir(x, "conf"), "w");
	if (!conf ||
	    fputs("[snapshotter]\npool_size = 256M\n"
		  "pool_branches = 2048\n",
		  conf) < 0 ||
	    fclose(conf))
		return -1;
	*state = x;
	return 0;
}

/* Children come after their parents by time of creation or commit. */
static void remove_all(struct fixture *x)
{
	for (size_t left = 1, last = 0; left && left != last;) {
		json_object *all = infos_of(x);

		last = left;
		left = json_object_array_length(all);
		for (size_t i = left; i-- > 0;) {
			json_object *info = json_object_array_get_idx(all, i);

			json_object_put(ask(x->c, SNAPSHOTS "Remove",
					    OBJECT("key", name_of(info))));
		}
		json_object_put(all);
	}
	done(x->c, SNAPSHOTS "Cleanup", NULL);
}

static int teardown(void **state)
{
	struct fixture *x = *state;
	char cmd[128];

	if (x->pid) {
		remove_all(x);
		end(x, SIGTERM);
	}
	snprintf(cmd, sizeof(cmd), "rm -rf --one-file-system '%s'", x->dir);
	if (system(cmd))
		return -1;
	free(x);
	return 0;
}

/* ---- Lost ---------------------------------------------------------------- */

#define HEX "00112233445566778899aabbccddeeff"
#define CHAIN_A "sha256:aa" HEX "00112233445566778899aabbccddee"
#define CHAIN_B "sha256:bb" HEX "00112233445566778899aabbccddee"

static void populate(struct fixture *x)
{
	char name[32], parent[32] = "";

	for (int i = 0; i < 12; i++) {
		snprintf(name, sizeof(name), "layer-%d", i);
		layer(x, name, parent,
		      i % 2 ? "{\"a.b/c\":\"v\",\"gc.root\":\"2026\"}" : NULL);
		strcpy(parent, name);
	}
	layer(x, "odd \\u0001\x01 \"q\" ' / .. \xe2\x82\xac", "",
	      "{\"k\\u0001\\u007f\":\"\\\"\\n\\u20ac\\ud83d\\ude00\"}");
	layer(x, "one/1/" CHAIN_A, "", NULL);
	layer(x, "one/2/" CHAIN_B, "one/1/" CHAIN_A, NULL);
	adopt(x, "two/1/a", "", CHAIN_A);
	adopt(x, "two/2/b", "two/1/a", CHAIN_B);
	adopt(x, "gone/2/b", "one/1/" CHAIN_A, CHAIN_B);
	make(x, SNAPSHOTS "Prepare", "active", "layer-11",
	     "{\"containerd.io/gc.ref\":\"x\"}");
	make(x, SNAPSHOTS "Prepare", "of-alias", "two/2/b", NULL);
	make(x, SNAPSHOTS "View", "view", "layer-3", "{\"v\":\"1\"}");
	make(x, SNAPSHOTS "Prepare", "of-nothing", "", NULL);
	relabel(x, "layer-5", "{\"new\":\"label\",\"empty\":\"\"}");
	relabel(x, "active", "{\"other\":\"1\"}");
	relabel(x, "two/1/a",
		"{\"containerd.io/snapshot.ref\":\"" CHAIN_A "\",\"u\":\"1\"}");
	done(x->c, SNAPSHOTS "Remove", OBJECT("key", "gone/2/b"));
	make(x, SNAPSHOTS "Prepare", "removed", "layer-1", NULL);
	done(x->c, SNAPSHOTS "Remove", OBJECT("key", "removed"));
	done(x->c, SNAPSHOTS "Cleanup", NULL);
}

static void check_works(struct fixture *x)
{
	assert_true(shows(x, "active", "f6"));
	assert_true(shows(x, "of-alias", "f8"));
	assert_true(shows(x, "view", "f6"));
	assert_false(shows(x, "of-nothing", "f6"));
	/* containers go on: what is new stands on what came back */
	layer(x, "more", "layer-11", NULL);
	make(x, SNAPSHOTS "Prepare", "new", "more", NULL);
	assert_true(shows(x, "new", "f6"));
	adopt(x, "four/2/b", "one/1/" CHAIN_A, CHAIN_B);
	done(x->c, SNAPSHOTS "Remove", OBJECT("key", "new"));
	done(x->c, SNAPSHOTS "Remove", OBJECT("key", "more"));
	done(x->c, SNAPSHOTS "Remove", OBJECT("key", "four/2/b"));
	done(x->c, SNAPSHOTS "Cleanup", NULL);
}

static void check_same(struct fixture *x, const char *before)
{
	char *after = picture(x);

	assert_string_equal(after, before);
	free(after);
}

static void test_lost(void **state)
{
	struct fixture *x = *state;
	char *before;
	size_t n;

	require_daemons();
	start(x);
	populate(x);
	before = picture(x);
	n = branches(x);
	for (int round = 0; round < 3; round++) {
		end(x, round ? SIGTERM : SIGKILL);
		remove_files(x, "root/metadata.db*");
		start(x);
		check_same(x, before);
		assert_int_equal(branches(x), n);
		assert_true(logged(x, "metadata rebuilt from the pool"));
		assert_false(logged(x, "left_out=1"));
		check_works(x);
		check_same(x, before);
	}
	/* nothing is left to tell the pool after a start as all are */
	end(x, SIGTERM);
	assert_int_equal(truncate(in_dir(x, "log"), 0), 0);
	start(x);
	assert_true(logged(x, " described=0 "));
	check_same(x, before);
	free(before);
	remove_all(x);
	assert_int_equal(count(x), 0);
	assert_int_equal(branches(x), 0);
}

/* ---- Damaged ------------------------------------------------------------- */

enum damage { HEADER, PAGES, SHORT, EMPTY, LOG_ALONE, DAMAGES };

static void overwrite(const char *path, off_t from, off_t to)
{
	int fd = open(path, O_WRONLY);
	char junk[512];

	assert_true(fd >= 0);
	memset(junk, 0xa5, sizeof(junk));
	for (; from < to; from += (off_t)sizeof(junk))
		assert_int_equal(pwrite(fd, junk, sizeof(junk), from),
				 sizeof(junk));
	close(fd);
}

static void damage(struct fixture *x, enum damage d)
{
	const char *db = in_dir(x, "root/metadata.db");
	struct stat st;

	assert_int_equal(stat(db, &st), 0);
	assert_true(st.st_size > 8192);
	switch (d) {
	case HEADER:
		overwrite(db, 0, 512);
		break;
	case PAGES:
		overwrite(db, 4096, st.st_size);
		break;
	case SHORT:
		assert_int_equal(truncate(db, 700), 0);
		break;
	case EMPTY:
		assert_int_equal(truncate(db, 0), 0);
		break;
	default:
		assert_int_equal(unlink(db), 0);
	}
}

static size_t files(struct fixture *x, const char *pattern)
{
	size_t n = 0;
	glob_t g;

	if (glob(in_dir(x, pattern), 0, NULL, &g) == 0) {
		n = g.gl_pathc;
		globfree(&g);
	}
	return n;
}

static void test_damaged(void **state)
{
	struct fixture *x = *state;
	char *before;

	require_daemons();
	start(x);
	populate(x);
	before = picture(x);
	for (int d = 0; d < DAMAGES; d++) {
		/* a stop leaves all in the file, a kill some in its log */
		end(x, SIGTERM);
		if (d == LOG_ALONE) {
			start(x);
			relabel(x, "layer-5", "{\"new\":\"2\"}");
			free(before);
			before = picture(x);
			end(x, SIGKILL);
			assert_int_equal(files(x, "root/metadata.db-wal"), 1);
		}
		damage(x, (enum damage)d);
		remove_files(x, "root/*damaged*");
		start(x);
		check_same(x, before);
		/* it is kept, but for what had nothing in it */
		assert_int_equal(files(x, "root/metadata.db.damaged-*") > 0,
				 d != EMPTY);
	}
	check_works(x);
	free(before);
}

/*
 * metadata.db comes from a backup: what was made since is in the pool, and stays.
 * A stop leaves all of it in the one file.
 */
static void test_older(void **state)
{
	struct fixture *x = *state;
	char *before;
	size_t n;

	require_daemons();
	start(x);
	populate(x);
	end(x, SIGTERM);
	assert_int_equal(rename(in_dir(x, "root/metadata.db"),
				in_dir(x, "backup")),
			 0);
	start(x);
	layer(x, "young", "layer-11", NULL);
	make(x, SNAPSHOTS "Prepare", "container", "young", NULL);
	before = picture(x);
	n = branches(x);
	end(x, SIGKILL);
	remove_files(x, "root/metadata.db*");
	assert_int_equal(rename(in_dir(x, "backup"),
				in_dir(x, "root/metadata.db")),
			 0);
	start(x);
	assert_true(logged(x, "metadata.db is older than the pool"));
	check_same(x, before);
	assert_int_equal(branches(x), n);
	assert_true(shows(x, "container", "f6"));
	assert_int_equal(files(x, "root/metadata.db.damaged-*"), 1);
	/* ids go on where they were */
	layer(x, "younger", "young", NULL);
	end(x, SIGTERM);
	assert_int_equal(truncate(in_dir(x, "log"), 0), 0);
	start(x);
	assert_true(logged(x, " branches_dropped=0 "));
	assert_false(logged(x, "rebuilt"));
	assert_int_equal(branches(x), n + 1);
	free(before);
}

/* Not damaged, but not ours: that is for an operator. */
static void test_not_ours(void **state)
{
	struct fixture *x = *state;
	int status;

	require_daemons();
	start(x);
	end(x, SIGTERM);
	remove_files(x, "root/metadata.db*");
	assert_int_equal(mkdir(in_dir(x, "root/metadata.db"), 0755), 0);
	x->pid = spawn(x);
	assert_int_equal(waitpid(x->pid, &status, 0), x->pid);
	x->pid = 0;
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	assert_int_equal(files(x, "root/*damaged*"), 0);
	assert_int_equal(rmdir(in_dir(x, "root/metadata.db")), 0);
	start(x);
}

/* ---- Killed while it rebuilds -------------------------------------------- */

static void test_killed(void **state)
{
	int rounds = getenv("LONG") ? 60 : 8;
	unsigned seed = (unsigned)time(NULL);
	struct fixture *x = *state;
	char *before, key[32];

	require_daemons();
	print_message("seed %u\n", seed);
	srand(seed);
	start(x);
	populate(x);
	for (int i = 0; i < 150; i++) {
		snprintf(key, sizeof(key), "view-%d", i);
		make(x, SNAPSHOTS "View", key, "layer-2", NULL);
	}
	before = picture(x);
	for (int r = 0; r < rounds; r++) {
		int status;

		end(x, SIGKILL);
		if (r % 4 == 0)
			remove_files(x, "root/metadata.db*");
		x->pid = spawn(x);
		usleep((unsigned)rand() % 60000);
		kill(x->pid, SIGKILL);
		assert_int_equal(waitpid(x->pid, &status, 0), x->pid);
		x->pid = 0;
		if (r % 4 == 3) {
			start(x);
			check_same(x, before);
		}
	}
	if (!x->pid)
		start(x);
	check_same(x, before);
	free(before);
}

/* ---- What nobody can know ------------------------------------------------ */

static void set_meta(struct fixture *x, const char *branch, const char *meta)
{
	done(x->pool, BRANCHES "SetMeta", OBJECT("name", branch, "meta", meta));
}

/* Branches of older programs, and of others: left alone, now and later. */
static void test_unknown(void **state)
{
	static const char *const bad[] = {
		"",
		"no json",
		"{\"v\":2,\"snapshots\":[]}",
		"{\"v\":1,\"snapshots\":[]}",
		"{\"v\":1,\"snapshots\":[{\"id\":510,\"kind\":\"active\"}]}",
		"{\"v\":1,\"snapshots\":[{\"id\":0,\"kind\":\"active\","
		"\"name\":\"n\",\"created\":1,\"updated\":1}]}",
		"{\"v\":1,\"snapshots\":[{\"id\":510,\"kind\":\"other\","
		"\"name\":\"n\",\"created\":1,\"updated\":1}]}",
		"{\"v\":1,\"snapshots\":[{\"id\":510,\"kind\":\"active\","
		"\"name\":\"n\\u0000\",\"created\":1,\"updated\":1}]}",
		"{\"v\":1,\"snapshots\":[{\"id\":510,\"kind\":\"active\","
		"\"name\":\"n\",\"parent\":511,\"created\":1,\"updated\":1}]}",
		"{\"v\":1,\"snapshots\":[{\"id\":510,\"kind\":\"active\","
		"\"name\":\"n\",\"created\":1,\"updated\":1,"
		"\"labels\":{\"k\":1}}]}",
		"[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]",
	};
	struct fixture *x = *state;
	json_object *reply, *m;
	char *before;

	require_daemons();
	start(x);
	layer(x, "layer", "", NULL);
	make(x, SNAPSHOTS "Prepare", "active", "layer", NULL);
	done(x->pool, BRANCHES "Create", OBJECT("name", "s-500"));
	done(x->pool, BRANCHES "Create", OBJECT("name", "somebody"));
	before = picture(x);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		set_meta(x, "s-500", bad[i]);
		end(x, SIGKILL);
		remove_files(x, "root/metadata.db*");
		start(x);
		check_same(x, before);
		assert_true(has_branch(x, "s-500"));
		end(x, SIGTERM); /* the next start does not know it either */
		start(x);
		check_same(x, before);
		assert_true(has_branch(x, "s-500"));
		assert_true(has_branch(x, "somebody"));
	}
	free(before);
	assert_true(logged(x, "branch of an unknown snapshot stays"));
	/* its number is not given again */
	make(x, SNAPSHOTS "View", "v", "layer", NULL);
	reply = must(x->c, SNAPSHOTS "Mounts", OBJECT("key", "v"));
	assert_true(json_object_object_get_ex(reply, "mounts", &m));
	assert_true(json_object_object_get_ex(json_object_array_get_idx(m, 0),
					      "source", &m));
	assert_string_equal(strrchr(json_object_get_string(m), '/'), "/501");
	json_object_put(reply);
	done(x->pool, BRANCHES "Delete", OBJECT("name", "s-500"));
	done(x->pool, BRANCHES "Delete", OBJECT("name", "somebody"));
}

/* Two that claim a name or an id, and one whose parent nobody knows. */
static void test_conflicts(void **state)
{
	struct fixture *x = *state;
	json_object *all;

	require_daemons();
	start(x);
	make(x, SNAPSHOTS "Prepare", "elder", "", NULL);
	make(x, SNAPSHOTS "Prepare", "name", "", NULL);
	layer(x, "nameless", "", NULL);
	make(x, SNAPSHOTS "Prepare", "child", "nameless", NULL);
	make(x, SNAPSHOTS "Prepare", "same-id", "", NULL);
	end(x, SIGTERM);
	start(x);
	set_meta(x, "s-1",
		 "{\"v\":1,\"snapshots\":[{\"id\":1,\"kind\":\"active\","
		 "\"name\":\"name\",\"created\":1,\"updated\":1}]}");
	set_meta(x, "s-3", "");
	set_meta(x, "s-5",
		 "{\"v\":1,\"snapshots\":[{\"id\":2,\"kind\":\"active\","
		 "\"name\":\"same-id\",\"created\":1,\"updated\":1}]}");
	end(x, SIGKILL);
	remove_files(x, "root/metadata.db*");
	start(x);
	done(x->c, SNAPSHOTS "Cleanup", NULL);
	assert_true(
		logged(x, "left_out=2 without_parent=1 unknown_branches=1"));
	all = infos_of(x);
	assert_int_equal(json_object_array_length(all), 2);
	assert_string_equal(name_of(json_object_array_get_idx(all, 0)),
			    "child");
	json_object_put(all);
	/* what another one has replaced is freed, what is in doubt is not */
	assert_false(has_branch(x, "s-1"));
	assert_true(has_branch(x, "s-3"));
	assert_int_equal(has_branch(x, "s-2") + has_branch(x, "s-5"), 2);
	assert_true(shows(x, "child", "f6"));
	done(x->c, SNAPSHOTS "Remove", OBJECT("key", "child"));
	done(x->c, SNAPSHOTS "Cleanup", NULL);
	done(x->pool, BRANCHES "Delete", OBJECT("name", "s-3"));
}

/* A pool of older programs says what it has after the first start. */
static void test_told_later(void **state)
{
	struct fixture *x = *state;
	char *before;

	require_daemons();
	start(x);
	populate(x);
	before = picture(x);
	for (int i = 1; i <= 16; i++) {
		char branch[16];

		snprintf(branch, sizeof(branch), "s-%d", i);
		if (has_branch(x, branch))
			set_meta(x, branch, "");
	}
	end(x, SIGTERM);
	assert_int_equal(truncate(in_dir(x, "log"), 0), 0);
	start(x);
	assert_false(logged(x, " described=0 "));
	end(x, SIGKILL);
	remove_files(x, "root/metadata.db*");
	start(x);
	check_same(x, before);
	free(before);
}

/* More than fits: the names come back, the labels do not. */
static void test_too_long(void **state)
{
	static char labels[90000];
	struct fixture *x = *state;
	char *before, *after;
	size_t n;

	require_daemons();
	n = (size_t)sprintf(labels, "{\"short\":\"1\"");
	for (int i = 0; i < 20; i++)
		n += (size_t)sprintf(labels + n, ",\"key-%d\":\"%04000d\"", i,
				     i);
	strcpy(labels + n, "}");
	start(x);
	layer(x, "long", "", labels);
	layer(x, "other", "long", "{\"short\":\"1\"}");
	before = picture(x);
	end(x, SIGKILL);
	remove_files(x, "root/metadata.db*");
	start(x);
	after = picture(x);
	assert_int_equal(count(x), 2);
	assert_true(strlen(after) < strlen(before));
	assert_non_null(strstr(after, "\"long\""));
	assert_non_null(strstr(after, "\"short\""));
	free(before);
	free(after);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_lost),       T(test_damaged),  T(test_not_ours),
		T(test_killed),     T(test_unknown),  T(test_conflicts),
		T(test_told_later), T(test_too_long), T(test_older),
	};

	return cmocka_run_group_tests_name("rebuild", tests, NULL, NULL);
}
