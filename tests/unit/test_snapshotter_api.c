/* SPDX-License-Identifier: Apache-2.0 */
/* io.daxfs.Snapshots as a client calls it, on a real store, without a pool. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "driver/common/util.h"
#include "driver/snapshotter/api.h"
#include "scratch.h"

struct fixture {
	char dir[64];
	struct snapshotter s;
	struct varlink_interface iface;
};

static struct failure f;

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));
	char path[96];

	if (!scratch_dir(x->dir, sizeof(x->dir), "api"))
		return -1;
	snprintf(path, sizeof(path), "%s/m.db", x->dir);
	if (store_open(path, &x->s.store, &f) < 0)
		return -1;
	snapshots_interface(&x->s, &x->iface);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;
	char cmd[96];

	store_close(x->s.store);
	snprintf(cmd, sizeof(cmd), "rm -r %s", x->dir);
	free(x);
	return system(cmd);
}

/* Returns as varlink_call_local(); *reply may be NULL. */
static int call(struct fixture *x, const char *method, const char *params,
		json_object **reply, struct varlink_error *e)
{
	json_object *in = json_tokener_parse(params), *out = NULL;
	int rc;

	assert_non_null(in);
	rc = varlink_call_local(&x->iface, method, in, &out, e);
	json_object_put(in);
	if (reply)
		*reply = out;
	else
		json_object_put(out);
	return rc;
}

static void refused(struct fixture *x, const char *method, const char *params,
		    const char *error, const char *text)
{
	struct varlink_error e;

	assert_int_equal(call(x, method, params, NULL, &e), -EREMOTEIO);
	assert_string_equal(e.name, error);
	assert_non_null(strstr(e.message, text));
}

static void test_bad_lists(void **state)
{
	struct fixture *x = *state;

	refused(x, "List", "{\"filters\":[\"name==a\",1]}",
		"io.daxfs.Snapshots.InvalidArgument", "filters[1]");
	refused(x, "List", "{\"filters\":[null]}",
		"io.daxfs.Snapshots.InvalidArgument", "filters[0]");
	refused(x, "List", "{\"filters\":[\"a\\u0000b\"]}",
		"io.daxfs.Snapshots.InvalidArgument", "filters[0]");
	refused(x, "Update", "{\"info\":{\"name\":\"a\"},\"fields\":[{}]}",
		"io.daxfs.Snapshots.InvalidArgument", "fields[0]");
	refused(x, "List", "{\"filters\":1}",
		"org.varlink.service.InvalidParameter", "filters");
}

static void make(struct fixture *x, const char *key, json_object *labels)
{
	struct snapshot snap;

	assert_int_equal(store_begin_create(x->s.store, KIND_ACTIVE, key, "",
					    labels, &snap, &f),
			 0);
	assert_int_equal(store_end_create(x->s.store, snap.id, &f), 0);
	snapshot_clear(&snap);
}

/* One reply has its limits; what fits after filtering is answered. */
static void test_long_list(void **state)
{
	struct fixture *x = *state;
	json_object *labels = json_object_new_object(), *reply, *infos;
	char key[16], value[4001];

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (int i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "l%d", i);
		json_object_object_add(labels, key,
				       json_object_new_string(value));
	}
	for (int i = 0; i < 70; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		make(x, key, labels);
	}
	json_object_put(labels);
	refused(x, "List", "{}", "io.daxfs.Snapshots.ResourceExhausted",
		"more");
	assert_int_equal(call(x, "List", "{\"filters\":[\"name~=^k.$\"]}",
			      &reply, NULL),
			 0);
	assert_true(json_object_object_get_ex(reply, "infos", &infos));
	assert_int_equal(json_object_array_length(infos), 10);
	json_object_put(reply);
}

static void test_list(void **state)
{
	struct fixture *x = *state;
	json_object *reply, *infos;

	make(x, "a", NULL);
	assert_int_equal(call(x, "List", "{\"filters\":[\"name==a\"]}", &reply,
			      NULL),
			 0);
	assert_true(json_object_object_get_ex(reply, "infos", &infos));
	assert_int_equal(json_object_array_length(infos), 1);
	json_object_put(reply);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { T(test_bad_lists), T(test_list),
					    T(test_long_list) };

	return cmocka_run_group_tests_name("api", tests, NULL, NULL);
}
