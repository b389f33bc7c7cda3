// SPDX-License-Identifier: Apache-2.0
/* io.daxfs.Branches: metadata in Create, Seal, SetMeta, Get and List. */
#include "core_util.h"

#include "driver/service/branches.h"

static struct reg g;
static struct branches_service service;
static struct varlink_interface iface;
static struct varlink_error error;

static int setup(void **state)
{
	struct shape s = { .size = 16 * MB, .branches = 16, .base = true };

	(void)state;
	reg_new(&g, &s);
	service = (struct branches_service){ .region = g.r, .path = "/r" };
	branches_interface(&service, &iface);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	reg_free(&g);
	return 0;
}

/* The answer, or NULL and `error`. */
static json_object *call(const char *method, json_object *params)
{
	json_object *reply = NULL;
	int rc;

	assert_non_null(params);
	memset(&error, 0, sizeof(error));
	rc = varlink_call_local(&iface, method, params, &reply, &error);
	json_object_put(params);
	if (rc) {
		json_object_put(reply);
		return NULL;
	}
	return reply;
}

static json_object *params_of(const char *name, const char *meta)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "name", json_object_new_string(name));
	if (meta)
		json_object_object_add(o, "meta", json_object_new_string(meta));
	return o;
}

static void must(const char *method, const char *name, const char *meta)
{
	json_object *reply = call(method, params_of(name, meta));

	if (!reply)
		fail_msg("%s: %s", method, error.message);
	json_object_put(reply);
}

static void refused(const char *method, const char *name, const char *meta,
		    const char *kind)
{
	char full[64];

	snprintf(full, sizeof(full), "io.daxfs.Branches.%s", kind);
	assert_null(call(method, params_of(name, meta)));
	assert_string_equal(error.name, full);
}

static void check_object(json_object *branch, const char *want)
{
	json_object *meta = NULL, *bytes = NULL;

	json_object_object_get_ex(branch, "meta", &meta);
	json_object_object_get_ex(branch, "meta_bytes", &bytes);
	if (!want) {
		assert_null(meta);
		assert_null(bytes);
		return;
	}
	assert_string_equal(json_object_get_string(meta), want);
	assert_int_equal(json_object_get_int(bytes), strlen(want));
}

static void check(const char *name, const char *want)
{
	json_object *reply = call("Get", params_of(name, NULL)), *branch;

	assert_non_null(reply);
	assert_true(json_object_object_get_ex(reply, "branch", &branch));
	check_object(branch, want);
	json_object_put(reply);
}

static void test_set_and_get(void **state)
{
	static char longest[DAXFS_BRANCH_META_MAX + 2];

	(void)state;
	must("Create", "plain", NULL);
	check("plain", NULL);
	must("Create", "b", "{\"a\":\"\\u0001 \xe2\x82\xac\"}");
	check("b", "{\"a\":\"\\u0001 \xe2\x82\xac\"}");
	must("SetMeta", "b", "two");
	check("b", "two");
	must("Seal", "b", NULL);
	check("b", "two");
	must("Seal", "b", "three");
	check("b", "three");
	must("SetMeta", "b", "");
	check("b", NULL);
	must("SetMeta", "b", "four");
	must("SetMeta", "b", NULL);
	check("b", NULL);
	memset(longest, 'x', DAXFS_BRANCH_META_MAX);
	must("SetMeta", "b", longest);
	check("b", longest);
	longest[DAXFS_BRANCH_META_MAX] = 'x';
	refused("SetMeta", "b", longest, "Invalid");
	refused("Seal", "plain", longest, "Invalid");
	refused("Create", "long", longest, "Invalid");
	refused("Get", "long", NULL, "NotFound");
	refused("SetMeta", "plain", "\xff", "Invalid");
	refused("SetMeta", "nobody", "x", "NotFound");
	refused("SetMeta", "main", "x", "Invalid");
}

/* Others may hang on a branch what no JSON can say: its length is told. */
static void test_not_text(void **state)
{
	json_object *reply, *branch, *o;

	(void)state;
	must("Create", "b", NULL);
	assert_int_equal(daxfs_branch_set_meta(g.r, "b", "a\0b", 3), 0);
	reply = call("Get", params_of("b", NULL));
	assert_true(json_object_object_get_ex(reply, "branch", &branch));
	assert_false(json_object_object_get_ex(branch, "meta", &o));
	assert_true(json_object_object_get_ex(branch, "meta_bytes", &o));
	assert_int_equal(json_object_get_int(o), 3);
	json_object_put(reply);
}

static void test_list(void **state)
{
	json_object *params, *reply, *all, *branch, *o;

	(void)state;
	must("Create", "a", "of a");
	must("Create", "b", "of b");
	for (int with = 0; with < 2; with++) {
		params = json_object_new_object();
		json_object_object_add(params, "with_meta",
				       json_object_new_boolean(with));
		reply = call("List", params);
		assert_true(json_object_object_get_ex(reply, "branches", &all));
		assert_int_equal(json_object_array_length(all), 3);
		branch = json_object_array_get_idx(all, 2);
		assert_true(json_object_object_get_ex(branch, "meta_crc", &o));
		if (with)
			check_object(branch, "of b");
		else
			assert_false(
				json_object_object_get_ex(branch, "meta", &o));
		json_object_put(reply);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_set_and_get),
		T(test_not_text),
		T(test_list),
	};

	return cmocka_run_group_tests_name("meta of branches", tests, NULL,
					   NULL);
}
