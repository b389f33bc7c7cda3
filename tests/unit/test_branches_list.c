// SPDX-License-Identifier: Apache-2.0
/* io.daxfs.Branches: a list that no single message holds, and GetStats. */
#include "core_util.h"

#include <pthread.h>
#include <unistd.h>

#include "driver/ipc/varlink.h"
#include "driver/service/branches.h"
#include "scratch.h"

#define BRANCHES 65000u

struct fixture {
	struct reg g;
	struct branches_service service;
	struct varlink_interface iface;
	const struct varlink_interface *ifaces[1];
	struct varlink_server *server;
	pthread_t thread;
	char dir[64], path[96];
};

static void *serve(void *arg)
{
	struct fixture *x = arg;

	assert_int_equal(varlink_server_run(x->server), 0);
	return NULL;
}

static void start(struct fixture *x, u32 slots)
{
	const struct shape s = { .size = 64 * MB, .branches = slots };
	const struct varlink_server_options o = { .vendor = "daxfs",
						  .product = "test",
						  .version = "0",
						  .url = "",
						  .workers = 1,
						  .allow_uid = (uid_t)-1 };

	memset(x, 0, sizeof(*x));
	reg_new(&x->g, &s);
	assert_true(scratch_dir(x->dir, sizeof(x->dir), "list"));
	snprintf(x->path, sizeof(x->path), "%s/s", x->dir);
	x->service =
		(struct branches_service){ .region = x->g.r, .path = "region" };
	branches_interface(&x->service, &x->iface);
	x->ifaces[0] = &x->iface;
	assert_int_equal(varlink_server_new(x->path, x->ifaces, 1, &o,
					    &x->server),
			 0);
	assert_int_equal(pthread_create(&x->thread, NULL, serve, x), 0);
}

static void stop(struct fixture *x)
{
	varlink_server_stop(x->server);
	pthread_join(x->thread, NULL);
	varlink_server_free(x->server);
	assert_int_equal(rmdir(x->dir), 0);
	reg_free(&x->g);
}

/* Names that grow to twice their length in JSON. */
static void make_many(struct fixture *x, u32 count)
{
	char name[32], parent[32] = "main";

	for (u32 i = 0; i < count; i++) {
		snprintf(name, sizeof(name),
			 "\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"%06u",
			 i);
		assert_int_equal(strlen(name), 31);
		assert_int_equal(daxfs_branch_create(x->g.r, name, parent,
						     DAXFS_BRANCH_PERSISTENT),
				 0);
		/* chains of ten, so that parents have long names too */
		memcpy(parent, i % 10 == 9 ? "main" : name,
		       i % 10 == 9 ? 5 : sizeof(parent));
	}
}

struct seen {
	u32 batches, branches;
	size_t largest;
	int64_t last;
	u32 stop_after;
};

static int look(void *arg, json_object *reply)
{
	struct seen *s = arg;
	json_object *list, *o;
	size_t n;

	assert_true(json_object_object_get_ex(reply, "branches", &list));
	n = json_object_array_length(list);
	for (size_t i = 0; i < n; i++) {
		assert_true(
			json_object_object_get_ex(json_object_array_get_idx(list,
									    i),
						  "id", &o));
		assert_true(json_object_get_int64(o) > s->last);
		s->last = json_object_get_int64(o);
	}
	s->batches++;
	s->branches += (u32)n;
	s->largest = n > s->largest ? n : s->largest;
	return s->stop_after && s->batches >= s->stop_after ? -ECANCELED : 0;
}

static void test_more_than_a_message(void **state)
{
	struct varlink_client *c;
	struct varlink_error e;
	struct seen s = { 0 };
	json_object *reply;
	struct fixture x;

	(void)state;
	start(&x, 65536);
	make_many(&x, BRANCHES);
	assert_int_equal(varlink_connect(x.path, &c), 0);
	/* in one message: refused, not cut, and the connection goes on */
	assert_int_equal(varlink_call(c, "io.daxfs.Branches.List", NULL, 60000,
				      &reply, &e),
			 -EREMOTEIO);
	assert_int_equal(e.err, EMSGSIZE);
	assert_int_equal(varlink_call_more(c, "io.daxfs.Branches.List", NULL,
					   60000, look, &s, &e),
			 0);
	assert_int_equal(s.branches, BRANCHES + 1); /* and main */
	assert_true(s.batches > 100 && s.largest <= 1000);
	varlink_close(c);

	/* a client that goes away in the middle hurts nobody */
	assert_int_equal(varlink_connect(x.path, &c), 0);
	memset(&s, 0, sizeof(s));
	s.stop_after = 3;
	assert_int_equal(varlink_call_more(c, "io.daxfs.Branches.List", NULL,
					   60000, look, &s, &e),
			 -ECANCELED);
	varlink_close(c);
	assert_int_equal(varlink_connect(x.path, &c), 0);
	assert_int_equal(varlink_call(c, "io.daxfs.Branches.GetRegion", NULL,
				      60000, &reply, &e),
			 0);
	json_object_put(reply);
	varlink_close(c);
	stop(&x);
}

/* A batch that is exactly full is followed by one that ends the list. */
static void test_sizes(void **state)
{
	static const u32 counts[] = { 0, 1, 254, 255, 256, 511, 512 };
	struct varlink_client *c;
	struct varlink_error e;
	struct fixture x;
	u32 have = 0;

	(void)state;
	start(&x, 1024);
	assert_int_equal(varlink_connect(x.path, &c), 0);
	for (u32 i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		struct seen s = { 0 };
		char name[32];

		for (; have < counts[i]; have++) {
			snprintf(name, sizeof(name), "b%u", have);
			assert_int_equal(daxfs_branch_create(x.g.r, name,
							     "main", 0),
					 0);
		}
		assert_int_equal(varlink_call_more(c, "io.daxfs.Branches.List",
						   NULL, 60000, look, &s, &e),
				 0);
		assert_int_equal(s.branches, have + 1);
	}
	varlink_close(c);
	stop(&x);
}

static int64_t number(json_object *o, const char *key)
{
	json_object *v;

	assert_true(json_object_object_get_ex(o, key, &v));
	assert_true(json_object_is_type(v, json_type_int));
	return json_object_get_int64(v);
}

static void test_stats(void **state)
{
	json_object *reply, *o;
	struct varlink_client *c;
	struct varlink_error e;
	struct fixture x;

	(void)state;
	start(&x, 16);
	assert_int_equal(daxfs_branch_create(x.g.r, "b", "main", 0), 0);
	assert_int_equal(varlink_connect(x.path, &c), 0);
	assert_int_equal(varlink_call(c, "io.daxfs.Branches.GetStats", NULL,
				      60000, &reply, &e),
			 0);
	assert_true(json_object_object_get_ex(reply, "stats", &o));
	assert_int_equal(number(o, "branches_created"), 1);
	assert_int_equal(number(o, "branches_active"), 2);
	assert_int_equal(number(o, "branch_slots"), 16);
	assert_int_equal(number(o, "total_bytes"), 64 * MB);
	/* nobody mounts here */
	assert_false(json_object_object_get_ex(reply, "front", NULL));
	assert_false(json_object_object_get_ex(reply, "mounts", NULL));
	json_object_put(reply);
	varlink_close(c);
	stop(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_more_than_a_message),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_stats),
	};

	return cmocka_run_group_tests_name("branches_list", tests, NULL, NULL);
}
