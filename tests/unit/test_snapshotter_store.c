/* SPDX-License-Identifier: Apache-2.0 */
/* Metadata of snapshots: containerd's semantics, states, reopening. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/common/util.h"
#include "driver/snapshotter/store.h"
#include "scratch.h"

#define CHAIN                                     \
	"sha256:00112233445566778899aabbccddeeff" \
	"00112233445566778899aabbccddeeff"

struct fixture {
	char dir[64], path[96];
	struct store *s;
};

static struct failure f;

static void open_store(struct fixture *x)
{
	if (store_open(x->path, &x->s, &f) < 0)
		fail_msg("%s", f.text);
}

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	if (!scratch_dir(x->dir, sizeof(x->dir), "store"))
		return -1;
	snprintf(x->path, sizeof(x->path), "%s/m.db", x->dir);
	open_store(x);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;
	char cmd[96];

	store_close(x->s);
	snprintf(cmd, sizeof(cmd), "rm -r %s", x->dir);
	free(x);
	return system(cmd);
}

static void reopen(struct fixture *x)
{
	store_close(x->s);
	open_store(x);
}

static json_object *json(const char *text)
{
	json_object *o = json_tokener_parse(text);

	assert_non_null(o);
	return o;
}

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* ---- Short forms --------------------------------------------------------- */

static int64_t begin(struct fixture *x, enum snapshot_kind kind,
		     const char *key, const char *parent)
{
	struct snapshot snap;
	int64_t id;

	if (store_begin_create(x->s, kind, key, parent, NULL, &snap, &f) < 0)
		fail_msg("%s", f.text);
	id = snap.id;
	snapshot_clear(&snap);
	return id;
}

static int64_t make(struct fixture *x, enum snapshot_kind kind, const char *key,
		    const char *parent)
{
	int64_t id = begin(x, kind, key, parent);

	assert_int_equal(store_end_create(x->s, id, &f), 0);
	return id;
}

static int64_t commit(struct fixture *x, const char *key, const char *name,
		      const char *labels)
{
	json_object *o = labels ? json(labels) : NULL;
	struct snapshot snap;
	int64_t id;

	if (store_begin_commit(x->s, key, name, o, &snap, &f) < 0 ||
	    store_end_commit(x->s, snap.id, snap.updated_ns, 10, 2, &f) < 0)
		fail_msg("%s", f.text);
	id = snap.id;
	snapshot_clear(&snap);
	json_object_put(o);
	return id;
}

static int64_t layer(struct fixture *x, const char *name, const char *parent)
{
	make(x, KIND_ACTIVE, "layer-key", parent);
	return commit(x, "layer-key", name, NULL);
}

static void check_create(struct fixture *x, const char *key, const char *parent,
			 enum failure_status status)
{
	struct snapshot snap;

	assert_int_equal(store_begin_create(x->s, KIND_ACTIVE, key, parent,
					    NULL, &snap, &f),
			 -1);
	assert_int_equal(f.status, status);
}

static void check_commit(struct fixture *x, const char *key, const char *name,
			 enum failure_status status)
{
	struct snapshot snap;

	assert_int_equal(store_begin_commit(x->s, key, name, NULL, &snap, &f),
			 -1);
	assert_int_equal(f.status, status);
}

static bool exists(struct fixture *x, const char *key)
{
	struct snapshot snap;

	if (store_get(x->s, key, &snap, &f) == 0) {
		snapshot_clear(&snap);
		return true;
	}
	assert_int_equal(f.status, FAILURE_NOT_FOUND);
	return false;
}

/* ---- Life ---------------------------------------------------------------- */

static void test_create(void **state)
{
	struct fixture *x = *state;
	json_object *labels = json("{\"a\":\"b\",\"empty\":\"\"}");
	struct snapshot snap;
	int64_t t0 = now(), t1;

	assert_int_equal(store_begin_create(x->s, KIND_ACTIVE, "k\xc3\xa9y/1",
					    "", labels, &snap, &f),
			 0);
	t1 = now();
	json_object_put(labels);
	assert_int_equal(snap.state, STATE_PREPARING);
	assert_string_equal(snap.branch, "s-1");
	assert_null(snap.parent_branch);
	assert_in_range(snap.created_ns, t0, t1);
	assert_true(snap.created_ns == snap.updated_ns);
	assert_false(exists(x, "k\xc3\xa9y/1")); /* not yet */
	assert_int_equal(store_end_create(x->s, snap.id, &f), 0);
	snapshot_clear(&snap);

	reopen(x);
	assert_int_equal(store_get(x->s, "k\xc3\xa9y/1", &snap, &f), 0);
	assert_string_equal(json_object_to_json_string(snap.labels),
			    "{ \"a\": \"b\" }");
	assert_int_equal(snap.kind, KIND_ACTIVE);
	assert_string_equal(snap.parent, "");
	snapshot_clear(&snap);
}

static void test_create_errors(void **state)
{
	struct fixture *x = *state;
	char longer[STORE_NAME_MAX + 2];
	json_object *bad;
	struct snapshot snap;

	make(x, KIND_ACTIVE, "a", "");
	check_create(x, "", "", FAILURE_INVALID_ARGUMENT);
	check_create(x, "b", "none", FAILURE_NOT_FOUND);
	assert_non_null(strstr(f.text, "'none'"));
	check_create(x, "b", "a", FAILURE_INVALID_ARGUMENT);
	check_create(x, "a", "", FAILURE_ALREADY_EXISTS);
	check_create(x, "a", "none", FAILURE_NOT_FOUND);
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	check_create(x, longer, "", FAILURE_INVALID_ARGUMENT);
	bad = json("{\"a\":1}");
	assert_int_equal(store_begin_create(x->s, KIND_ACTIVE, "b", "", bad,
					    &snap, &f),
			 -1);
	assert_int_equal(f.status, FAILURE_INVALID_ARGUMENT);
	json_object_put(bad);
	assert_false(exists(x, "b"));
}

static void test_commit(void **state)
{
	struct fixture *x = *state;
	struct snapshot snap;
	int64_t t0, id;

	id = make(x, KIND_ACTIVE, "a", "");
	make(x, KIND_VIEW, "v", "");
	t0 = now();
	assert_int_equal(commit(x, "a", "c", "{\"l\":\"1\"}"), id);
	assert_false(exists(x, "a"));
	assert_int_equal(store_get(x->s, "c", &snap, &f), 0);
	assert_int_equal(snap.kind, KIND_COMMITTED);
	assert_in_range(snap.created_ns, t0, now());
	assert_true(snap.created_ns == snap.updated_ns);
	assert_string_equal(json_object_to_json_string(snap.labels),
			    "{ \"l\": \"1\" }");
	assert_int_equal(snap.size, 10);
	assert_int_equal(snap.inodes, 2);
	snapshot_clear(&snap);

	check_commit(x, "v", "n", FAILURE_PRECONDITION);
	check_commit(x, "c", "n", FAILURE_PRECONDITION);
	check_commit(x, "none", "n", FAILURE_NOT_FOUND);
	check_commit(x, "none", "c", FAILURE_ALREADY_EXISTS);
	make(x, KIND_ACTIVE, "a", "c"); /* the key is free again */
	check_commit(x, "a", "c", FAILURE_ALREADY_EXISTS);
	check_commit(x, "a", "a", FAILURE_ALREADY_EXISTS);
	check_commit(x, "a", "", FAILURE_INVALID_ARGUMENT);
	assert_int_equal(store_get(x->s, "a", &snap, &f), 0);
	assert_string_equal(snap.parent, "c");
	assert_string_equal(snap.parent_branch, "s-1");
	snapshot_clear(&snap);
}

/* Between the two halves of a commit, and when it is taken back. */
static void test_committing(void **state)
{
	struct fixture *x = *state;
	struct snapshot snap;

	make(x, KIND_ACTIVE, "a", "");
	make(x, KIND_ACTIVE, "b", "");
	assert_int_equal(store_begin_commit(x->s, "a", "c", NULL, &snap, &f),
			 0);
	assert_true(exists(x, "a"));
	assert_false(exists(x, "c"));
	check_commit(x, "b", "c", FAILURE_ALREADY_EXISTS);
	check_commit(x, "a", "d", FAILURE_PRECONDITION);
	check_create(x, "c", "", FAILURE_ALREADY_EXISTS);
	assert_int_equal(store_remove(x->s, "a", &f), -1);
	assert_int_equal(f.status, FAILURE_PRECONDITION);
	reopen(x);
	assert_int_equal(store_cancel_commit(x->s, snap.id, &f), 0);
	snapshot_clear(&snap);
	assert_int_equal(store_end_commit(x->s, 1, 1, 0, 0, &f), -1);
	commit(x, "b", "c", NULL);
	commit(x, "a", "d", NULL);
}

static void test_remove(void **state)
{
	struct fixture *x = *state;
	int64_t c, a, again;

	c = layer(x, "c", "");
	a = make(x, KIND_ACTIVE, "a", "c");
	assert_int_equal(store_remove(x->s, "none", &f), -1);
	assert_int_equal(f.status, FAILURE_NOT_FOUND);
	assert_int_equal(store_remove(x->s, "c", &f), -1);
	assert_int_equal(f.status, FAILURE_PRECONDITION);
	assert_non_null(strstr(f.text, "remove"));

	assert_int_equal(store_remove(x->s, "a", &f), 0);
	assert_false(exists(x, "a"));
	again = make(x, KIND_ACTIVE, "a", "c"); /* before the first is freed */
	assert_true(again > a);
	assert_int_equal(store_remove(x->s, "a", &f), 0);
	assert_int_equal(store_remove(x->s, "c", &f), 0);

	assert_int_equal(store_forget(x->s, c, &f), 1); /* children first */
	assert_int_equal(store_forget(x->s, a, &f), 0);
	assert_int_equal(store_forget(x->s, again, &f), 0);
	assert_int_equal(store_forget(x->s, c, &f), 0);
	assert_true(make(x, KIND_ACTIVE, "z", "") > again); /* no id again */
}

/* ---- Labels -------------------------------------------------------------- */

static void check_update(struct fixture *x, const char *labels,
			 const char *const *fields, unsigned n,
			 const char *result)
{
	json_object *o = labels ? json(labels) : NULL;
	struct snapshot snap, stored;

	if (store_update(x->s, "a", o, fields, n, &snap, &f) < 0)
		fail_msg("%s", f.text);
	assert_string_equal(json_object_to_json_string(snap.labels), result);
	assert_true(snap.updated_ns > snap.created_ns);
	assert_int_equal(store_get(x->s, "a", &stored, &f), 0);
	assert_true(json_object_equal(snap.labels, stored.labels));
	assert_true(snap.updated_ns == stored.updated_ns);
	snapshot_clear(&stored);
	snapshot_clear(&snap);
	json_object_put(o);
}

static void test_update(void **state)
{
	static const char *const all[] = { "labels" };
	static const char *const one[] = { "labels.x.y" };
	static const char *const bad[][1] = { { "kind" },   { "name" },
					      { "" },       { "labels." },
					      { "Labels" }, { "created" } };
	struct fixture *x = *state;
	struct snapshot snap;
	json_object *o;

	make(x, KIND_ACTIVE, "a", "");
	check_update(x, "{\"x.y\":\"1\",\"z\":\"2\"}", NULL, 0,
		     "{ \"x.y\": \"1\", \"z\": \"2\" }");
	check_update(x, "{\"x.y\":\"3\",\"z\":\"9\"}", one, 1,
		     "{ \"x.y\": \"3\", \"z\": \"2\" }");
	check_update(x, "{}", one, 1, "{ \"z\": \"2\" }");
	check_update(x, "{\"q\":\"1\"}", all, 1, "{ \"q\": \"1\" }");
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(store_update(x->s, "a", NULL, bad[i], 1, &snap,
					      &f),
				 -1);
		assert_int_equal(f.status, FAILURE_INVALID_ARGUMENT);
	}
	o = json("{\"x\":[]}");
	assert_int_equal(store_update(x->s, "a", o, NULL, 0, &snap, &f), -1);
	assert_int_equal(f.status, FAILURE_INVALID_ARGUMENT);
	json_object_put(o);
	o = json("{}"); /* lists of them are to fit into messages */
	for (int i = 0; i < 4; i++) {
		static char text[30 << 10];
		char key[8];

		memset(text, 'x', sizeof(text) - 1);
		snprintf(key, sizeof(key), "x%d", i);
		json_object_object_add(o, key, json_object_new_string(text));
	}
	assert_int_equal(store_update(x->s, "a", o, NULL, 0, &snap, &f), -1);
	assert_int_equal(f.status, FAILURE_INVALID_ARGUMENT);
	assert_non_null(strstr(f.text, "longer"));
	json_object_put(o);
	o = json("{\"x\":\"a\\u0000b\"}");
	assert_int_equal(store_update(x->s, "a", o, NULL, 0, &snap, &f), -1);
	assert_int_equal(f.status, FAILURE_INVALID_ARGUMENT);
	json_object_put(o);
	assert_int_equal(store_update(x->s, "b", NULL, NULL, 0, &snap, &f), -1);
	assert_int_equal(f.status, FAILURE_NOT_FOUND);
	check_update(x, NULL, one, 1, "{ \"q\": \"1\" }");
	check_update(x, NULL, NULL, 0, "{ }");
}

/* ---- snapshot.ref -------------------------------------------------------- */

static int adopt(struct fixture *x, const char *key, const char *parent)
{
	json_object *o = json("{\"containerd.io/snapshot.ref\":\"" CHAIN "\"}");
	int rc = store_adopt_chain(x->s, CHAIN, key, parent, o, &f);

	json_object_put(o);
	return rc;
}

static void test_adopt(void **state)
{
	struct fixture *x = *state;
	struct snapshot snap;
	int64_t source;

	assert_int_equal(adopt(x, "k1", ""), 0);
	make(x, KIND_ACTIVE, "a", "");
	source = commit(x, "a", "ns/7/" CHAIN, NULL);
	assert_int_equal(adopt(x, "k1", ""), 2); /* under another name */
	assert_int_equal(store_get(x->s, "k1", &snap, &f), 0);
	assert_int_equal(snap.kind, KIND_COMMITTED);
	assert_string_equal(snap.branch, "s-1");
	assert_int_equal(snap.size, 10);
	assert_int_equal(store_branch_shared(x->s, "s-1", snap.id, &f), 1);
	snapshot_clear(&snap);

	assert_int_equal(adopt(x, "k2", ""), 1); /* k1 answers for it now */
	assert_false(exists(x, "k2"));
	assert_int_equal(adopt(x, "k3", "none"), -1);
	assert_int_equal(f.status, FAILURE_NOT_FOUND);

	/* another parent is another content */
	layer(x, "p", "");
	assert_int_equal(adopt(x, "k4", "p"), 0);

	/* removed: gone at once, though its branch is still shared */
	assert_int_equal(store_remove(x->s, "k1", &f), 0);
	assert_int_equal(store_remove(x->s, "ns/7/" CHAIN, &f), 0);
	assert_int_equal(adopt(x, "k5", ""), 0);
	assert_int_equal(store_branch_shared(x->s, "s-1", source, &f), 1);
}

/* ---- Lists --------------------------------------------------------------- */

struct seen {
	char names[512];
	int n, stop_at;
	struct fixture *x; /* to write meanwhile */
};

static int see(void *arg, const struct snapshot *snap)
{
	struct seen *s = arg;

	if (s->x) {
		char name[32];

		snprintf(name, sizeof(name), "zz-%d", s->n);
		make(s->x, KIND_ACTIVE, name, "");
	}
	if (strlen(s->names) < 400) {
		strcat(s->names, snap->name ? snap->name : "-");
		strcat(s->names, " ");
	}
	s->n++;
	return s->stop_at == s->n;
}

static void check_list(struct fixture *x, const char *text, const char *names)
{
	struct seen seen = { .n = 0 };
	struct filter *filter;

	assert_int_equal(filter_parse(&text, text ? 1 : 0, &filter, &f), 0);
	assert_int_equal(store_list(x->s, filter, see, &seen, &f), 0);
	assert_string_equal(seen.names, names);
	filter_free(filter);
}

static void test_list(void **state)
{
	struct fixture *x = *state;
	struct snapshot snap;

	check_list(x, NULL, "");
	layer(x, "c", "");
	make(x, KIND_ACTIVE, "b", "c");
	make(x, KIND_VIEW, "a", "c");
	begin(x, KIND_ACTIVE, "unready", "");
	make(x, KIND_ACTIVE, "removed", "");
	assert_int_equal(store_remove(x->s, "removed", &f), 0);
	make(x, KIND_ACTIVE, "d", "");
	assert_int_equal(store_begin_commit(x->s, "d", "e", NULL, &snap, &f),
			 0);
	snapshot_clear(&snap);
	check_list(x, NULL, "a b c d ");
	check_list(x, "parent==c", "a b ");
	check_list(x, "kind!=committed,name~=^[ac]", "a ");
	check_list(x, "labels.x", "");
}

/* Writers go on while a list is read, and are not in it. */
static void test_list_consistent(void **state)
{
	struct fixture *x = *state;
	struct seen seen = { .x = x };
	struct filter *filter;
	char name[32];

	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "n%03d", i);
		make(x, KIND_ACTIVE, name, "");
	}
	assert_int_equal(filter_parse(NULL, 0, &filter, &f), 0);
	assert_int_equal(store_list(x->s, filter, see, &seen, &f), 0);
	assert_int_equal(seen.n, 50);
	seen = (struct seen){ .stop_at = 3 };
	assert_int_equal(store_list(x->s, filter, see, &seen, &f), 1);
	seen = (struct seen){ .n = 0 };
	assert_int_equal(store_list(x->s, filter, see, &seen, &f), 0);
	assert_int_equal(seen.n, 100);
	filter_free(filter);
}

static void test_walk(void **state)
{
	struct fixture *x = *state;
	struct seen seen = { .n = 0 };

	layer(x, "c", "");
	make(x, KIND_ACTIVE, "b", "c");
	begin(x, KIND_ACTIVE, "a", "");
	assert_int_equal(store_remove(x->s, "b", &f), 0);
	reopen(x);
	assert_int_equal(store_walk(x->s, 0, false, see, &seen, &f), 0);
	assert_string_equal(seen.names, "c - a ");
	seen = (struct seen){ .n = 0 };
	assert_int_equal(store_walk(x->s, 0, true, see, &seen, &f), 0);
	assert_string_equal(seen.names, "a - c ");
	seen = (struct seen){ .n = 0 };
	assert_int_equal(store_walk(x->s, STATE_PREPARING, true, see, &seen,
				    &f),
			 0);
	assert_string_equal(seen.names, "a ");
}

/* ---- Threads ------------------------------------------------------------- */

static void *contend(void *arg)
{
	struct fixture *x = arg;
	struct snapshot snap;
	struct failure mine;
	intptr_t won = 0;
	char key[32];

	for (int i = 0; i < 50; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		if (store_begin_create(x->s, KIND_ACTIVE, key, "", NULL, &snap,
				       &mine) == 0) {
			won++;
			if (store_end_create(x->s, snap.id, &mine) < 0)
				won += 1000;
			snapshot_clear(&snap);
		} else if (mine.status != FAILURE_ALREADY_EXISTS) {
			won += 1000;
		}
	}
	return (void *)won;
}

static void test_threads(void **state)
{
	struct fixture *x = *state;
	pthread_t t[4];
	intptr_t total = 0;
	void *won;

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, contend, x), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(t[i], &won), 0);
		total += (intptr_t)won;
	}
	assert_int_equal(total, 50); /* each key once */
}

/* ---- The file ------------------------------------------------------------ */

static void test_meta(void **state)
{
	struct fixture *x = *state;
	char *v;

	assert_int_equal(store_get_meta(x->s, "pool", &v, &f), 0);
	assert_null(v);
	assert_int_equal(store_set_meta(x->s, "pool", "a", &f), 0);
	assert_int_equal(store_set_meta(x->s, "pool", "b", &f), 0);
	reopen(x);
	assert_int_equal(store_get_meta(x->s, "pool", &v, &f), 0);
	assert_string_equal(v, "b");
	free(v);
}

static void write_file(const char *path, const char *text, int at)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(pwrite(fd, text, strlen(text), at), strlen(text));
	close(fd);
}

/* Whatever the umask, and SQLite's other files too. */
static void test_private(void **state)
{
	static const char *const names[] = { "m.db", "m.db-wal", "m.db-shm" };
	struct fixture *x = *state;
	struct stat st;

	make(x, KIND_ACTIVE, "a", "");
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		char path[128];

		snprintf(path, sizeof(path), "%s/%s", x->dir, names[i]);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
}

static void test_foreign(void **state)
{
	struct fixture *x = *state;
	char path[128], cmd[256];
	struct store *s;

	snprintf(path, sizeof(path), "%s/other", x->dir);
	write_file(path,
		   "this is no database, but a text that is long enough "
		   "to be one, is it not?",
		   0);
	assert_int_equal(store_open(path, &s, &f), -1);
	assert_non_null(strstr(f.text, "not a database"));
	assert_non_null(strstr(f.text, path));
	assert_int_equal(store_open("/nonexistent/m.db", &s, &f), -1);
	assert_non_null(strstr(f.text, "/nonexistent/m.db"));
	/* a later version of ours: user_version is at 60, big-endian */
	store_close(x->s);
	x->s = NULL;
	snprintf(cmd, sizeof(cmd), "cp %s %s", x->path, path);
	assert_int_equal(system(cmd), 0);
	write_file(path, "\x7f", 62);
	assert_int_equal(store_open(path, &s, &f), -1);
	assert_non_null(strstr(f.text, "version"));
	/* somebody else's: application_id is at 68 */
	assert_int_equal(system(cmd), 0);
	write_file(path, "xxxx", 68);
	assert_int_equal(store_open(path, &s, &f), -1);
	assert_non_null(strstr(f.text, "not one of daxfs"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_create),          T(test_create_errors),
		T(test_commit),          T(test_committing),
		T(test_remove),          T(test_update),
		T(test_adopt),           T(test_list),
		T(test_list_consistent), T(test_walk),
		T(test_threads),         T(test_meta),
		T(test_foreign),         T(test_private),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
