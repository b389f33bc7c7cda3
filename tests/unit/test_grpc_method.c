/* SPDX-License-Identifier: Apache-2.0 */
/* Status codes, and the RPCs' messages between protobuf and JSON. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/common/util.h"
#include "driver/grpc/method.h"

#define S "/containerd.services.snapshots.v1.Snapshots/"
#define BYTES(s) (const uint8_t *)(s), sizeof(s) - 1

static const struct grpc_method *method(const char *path)
{
	const struct grpc_method *m = grpc_method_find(path);

	assert_non_null(m);
	return m;
}

static void to_json(const char *path, const uint8_t *body, size_t len,
		    const char *want)
{
	struct grpc_result r = { 0 };
	json_object *o = grpc_method_request(method(path), body, len, &r);

	assert_string_equal(r.text, "");
	assert_non_null(o);
	assert_string_equal(json_object_to_json_string_ext(
				    o, JSON_C_TO_STRING_PLAIN |
					       JSON_C_TO_STRING_NOSLASHESCAPE),
			    want);
	json_object_put(o);
}

static void to_json_fails(const char *path, const uint8_t *body, size_t len,
			  enum grpc_status status, const char *text)
{
	struct grpc_result r = { 0 };

	assert_null(grpc_method_request(method(path), body, len, &r));
	assert_int_equal(r.status, status);
	assert_non_null(strstr(r.text, text));
}

static void from_json(const char *path, const char *json, const uint8_t *want,
		      size_t len)
{
	struct grpc_result r = { 0 };
	json_object *o = json_tokener_parse(json);
	struct grpc_message *m;

	assert_non_null(o);
	m = grpc_method_response(method(path), o, &r);
	assert_string_equal(r.text, "");
	assert_non_null(m);
	assert_int_equal(m->len, GRPC_PREFIX + len);
	assert_int_equal(m->data[0], 0);
	assert_int_equal(m->data[4], len & 0xff);
	assert_memory_equal(m->data + GRPC_PREFIX, want, len);
	free(m);
	json_object_put(o);
}

static void from_json_fails(const char *path, const char *json)
{
	struct grpc_result r = { 0 };
	json_object *o = json_tokener_parse(json);

	assert_non_null(o);
	assert_null(grpc_method_response(method(path), o, &r));
	assert_int_equal(r.status, GRPC_INTERNAL);
	assert_non_null(strstr(r.text, "malformed"));
	json_object_put(o);
}

/* ---- Requests ------------------------------------------------------------ */

static void paths(void **state)
{
	(void)state;
	assert_null(grpc_method_find(""));
	assert_null(grpc_method_find(S));
	assert_null(grpc_method_find(S "prepare"));
	assert_null(grpc_method_find(S "Prepare/"));
	assert_true(method(S "List")->stream);
	assert_int_equal(method(S "View")->repeat, GRPC_REPEAT_CREATE);
	assert_int_equal(method(S "Remove")->repeat, GRPC_REPEAT_REMOVE);
	assert_int_equal(method(S "Update")->repeat, GRPC_REPEAT_FREELY);
}

static void prepare_request(void **state)
{
	(void)state;
	/* snapshotter 1, key 2, parent 3, labels 4 {key 1, value 2} */
	to_json(S "Prepare",
		BYTES("\x0a\x05"
		      "daxfs\x12\x01k\x1a\x02"
		      "pp\x22\x06\x0a\x01"
		      "a\x12\x01"
		      "b\x22\x03\x0a\x01"
		      "c"),
		"{\"key\":\"k\",\"parent\":\"pp\",\"labels\":{\"a\":\"b\","
		"\"c\":\"\"}}");
	to_json(S "View", BYTES("\x12\x01k"), "{\"key\":\"k\"}");
	to_json(S "View", NULL, 0, "{\"key\":\"\"}");
	/* The last of equal keys and fields counts. */
	to_json(S "View",
		BYTES("\x12\x01k\x12\x01l\x22\x06\x0a\x01"
		      "a\x12\x01"
		      "b\x22\x06\x0a\x01"
		      "a\x12\x01"
		      "c"),
		"{\"key\":\"l\",\"labels\":{\"a\":\"c\"}}");
}

static void other_requests(void **state)
{
	static const char *const keyed[] = { S "Mounts", S "Remove", S "Stat",
					     S "Usage" };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(keyed); i++)
		to_json(keyed[i], BYTES("\x12\x05k/1/x"),
			"{\"key\":\"k/1/x\"}");
	to_json(S "Commit",
		BYTES("\x12\x01n\x1a\x01k\x22\x06\x0a\x01"
		      "a\x12\x01"
		      "b\x2a\x06parent"), /* containerd 2.2's field 5 */
		"{\"name\":\"n\",\"key\":\"k\",\"labels\":{\"a\":\"b\"}}");
	to_json(S "List", NULL, 0, "{}");
	to_json(S "List", BYTES("\x12\x07name==a\x12\x00"),
		"{\"filters\":[\"name==a\",\"\"]}");
	to_json(S "Cleanup",
		BYTES("\x0a\x05"
		      "daxfs"),
		"{}");
	to_json("/grpc.health.v1.Health/Check", NULL, 0, "{\"service\":\"\"}");
	to_json("/grpc.health.v1.Health/Watch", BYTES("\x0a\x01x"),
		"{\"service\":\"x\"}");
}

static void update_request(void **state)
{
	(void)state;
	/* info 2 {name 1, parent 2, kind 3, created 4, updated 5, labels 6} */
	to_json(S "Update",
		BYTES("\x12\x23\x0a\x01n\x12\x01p\x18\x03\x22\x04\x08\x02\x10"
		      "\x05\x2a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
		      "\x32\x06\x0a\x01l\x12\x01v"
		      "\x1a\x0a\x0a\x08labels.l"),
		"{\"info\":{\"name\":\"n\",\"parent\":\"p\","
		"\"created_ns\":2000000005,\"updated_ns\":-1000000000,"
		"\"labels\":{\"l\":\"v\"},\"kind\":\"committed\"},"
		"\"fields\":[\"labels.l\"]}");
	/* An empty mask, an unknown kind, Go's zero time. */
	to_json(S "Update",
		BYTES("\x12\x12\x0a\x01n\x18\x07\x22\x0b\x08\x80\x92\xb8\xc3\x98\xfe\xff\xff\xff\x01\x1a\x00"),
		"{\"info\":{\"name\":\"n\"}}");
	to_json_fails(S "Update", BYTES("\x1a\x00"), GRPC_INVALID_ARGUMENT,
		      "info");
}

static void text_is_checked(void **state)
{
	static const char *const bad[] = {
		"\x12\x03"
		"a\xff"
		"b",                        /* no such byte */
		"\x12\x02\xc0\x80",         /* overlong NUL */
		"\x12\x03\xed\xa0\x80",     /* surrogate */
		"\x12\x04\xf4\x90\x80\x80", /* beyond U+10FFFF */
		"\x12\x04\xf0\x80\x80\xaf", /* overlong */
		"\x12\x02\xe2\x82",         /* cut */
		"\x12\x01\x80",             /* continuation alone */
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		to_json_fails(S "Stat", (const uint8_t *)bad[i], strlen(bad[i]),
			      GRPC_INVALID_ARGUMENT, "key: byte");
	to_json_fails(S "Stat", BYTES("\x12\x03k\0x"), GRPC_INVALID_ARGUMENT,
		      "key: byte 1");
	to_json_fails(S "Prepare", BYTES("\x22\x04\x0a\x02x\0"),
		      GRPC_INVALID_ARGUMENT, "label name");
	to_json_fails(S "Prepare", BYTES("\x22\x03\x12\x01\xff"),
		      GRPC_INVALID_ARGUMENT, "label value");
	to_json_fails(S "List", BYTES("\x12\x01\xff"), GRPC_INVALID_ARGUMENT,
		      "filters");
	to_json_fails(S "Update",
		      BYTES("\x12\x03\x0a\x01n\x1a\x03\x0a\x01\xff"),
		      GRPC_INVALID_ARGUMENT, "fields");
	to_json(S "Stat",
		BYTES("\x12\x0a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""),
		"{\"key\":\"\u00e9\u20ac\U0001f600\\\"\"}");
}

static void malformed_requests(void **state)
{
	(void)state;
	to_json_fails(S "Stat", BYTES("\x12\x05k"), GRPC_INTERNAL, "protobuf");
	to_json_fails(S "Stat", BYTES("\x12"), GRPC_INTERNAL, "protobuf");
	to_json_fails(S "Stat", BYTES("\xff\xff\xff\xff\xff\xff\xff"),
		      GRPC_INTERNAL, "protobuf");
	to_json_fails(S "Stat", BYTES("\x12\xff\xff\xff\xff\x0f"),
		      GRPC_INTERNAL, "protobuf");
	to_json_fails(S "Prepare", BYTES("\x22\x02\x0a\x05"), GRPC_INTERNAL,
		      "protobuf");
}

/* Many tiny fields must not take fifty times their bytes. */
static void greedy_requests(void **state)
{
	static const uint8_t fields[][2] = { { 0x22, 0 }, { 0x78, 0 } };
	size_t len = 4u << 20, i, j;
	uint8_t *body = malloc(len);

	(void)state;
	assert_non_null(body);
	for (j = 0; j < ARRAY_SIZE(fields); j++) {
		for (i = 0; i < len; i += 2)
			memcpy(body + i, fields[j], 2);
		to_json_fails(S "Prepare", body, len, GRPC_RESOURCE_EXHAUSTED,
			      "memory");
	}
	free(body);
}

static void random_requests(void **state)
{
	static const char *const all[] = {
		S "Prepare", S "Commit", S "Update",
		S "List",    S "Usage",  S "Cleanup"
	};
	unsigned seed = 20261120, round;
	uint8_t body[64];

	(void)state;
	srandom(seed);
	print_message("seed %u\n", seed);
	for (round = 0; round < 100000; round++) {
		size_t len = (size_t)random() % sizeof(body), i;
		struct grpc_result r = { 0 };
		json_object *o;

		for (i = 0; i < len;
		     i++) /* mostly small numbers: tags, sizes */
			body[i] = (uint8_t)(random() % 8 ? random() % 0x3b
							 : random());
		o = grpc_method_request(method(all[(size_t)random() %
						   ARRAY_SIZE(all)]),
					body, len, &r);
		assert_true(!o == (r.status != GRPC_OK));
		json_object_put(o);
	}
}

/* ---- Responses ----------------------------------------------------------- */

#define INFO(more)                                              \
	"{\"name\":\"n\",\"parent\":\"p\",\"kind\":\"active\"," \
	"\"created_ns\":2000000005,\"updated_ns\":-1,\"labels\":{" more "}}"
#define INFO_BYTES                                                           \
	"\x0a\x01n\x12\x01p\x18\x02\x22\x04\x08\x02\x10\x05\x2a\x11\x08\xff" \
	"\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\xff\x93\xeb\xdc\x03"

static void responses(void **state)
{
	(void)state;
	from_json(S "Prepare",
		  "{\"mounts\":[{\"type\":\"bind\",\"source\":\"/s\","
		  "\"target\":\"\",\"options\":[\"rw\",\"bind\"]}]}",
		  BYTES("\x0a\x14\x0a\x04"
			"bind\x12\x02/s\x22\x02rw\x22\x04"
			"bind"));
	from_json(S "Mounts", "{\"mounts\":[]}", NULL, 0);
	from_json(S "Stat", "{\"info\":" INFO("\"l\":\"v\"") "}",
		  BYTES("\x0a\x29" INFO_BYTES "\x32\x06\x0a\x01l\x12\x01v"));
	from_json(S "List", "{\"infos\":[" INFO("") "," INFO("") "]}",
		  BYTES("\x0a\x21" INFO_BYTES "\x0a\x21" INFO_BYTES));
	from_json(S "List", "{\"infos\":[]}", NULL, 0);
	from_json(S "Usage", "{\"size\":300,\"inodes\":1}",
		  BYTES("\x08\xac\x02\x10\x01"));
	from_json(S "Commit", "{}", NULL, 0);
	from_json("/grpc.health.v1.Health/Check", "{\"status\":2}",
		  BYTES("\x08\x02"));
}

static void bad_responses(void **state)
{
	(void)state;
	from_json_fails(S "Prepare", "{}");
	from_json_fails(S "Prepare", "{\"mounts\":{}}");
	from_json_fails(S "Prepare", "{\"mounts\":[1]}");
	from_json_fails(S "Prepare", "{\"mounts\":[{\"type\":\"bind\"}]}");
	from_json_fails(S "Prepare", "{\"mounts\":[{\"type\":\"b\",\"source\":"
				     "\"\",\"options\":[1]}]}");
	from_json_fails(S "Stat", "{\"info\":null}");
	from_json_fails(S "Stat", "{\"info\":{\"name\":7}}");
	from_json_fails(S "Stat", "{\"info\":" INFO("\"l\":1") "}");
	from_json_fails(S "Stat",
			"{\"info\":{\"name\":\"n\",\"kind\":\"odd\","
			"\"created_ns\":1,\"updated_ns\":1,\"labels\":{}}}");
	from_json_fails(S "List", "{\"infos\":[null]}");
	from_json_fails(S "Usage", "{\"size\":\"1\",\"inodes\":1}");
}

/* ---- Status -------------------------------------------------------------- */

static void error_names(void **state)
{
	static const struct {
		const char *name;
		enum grpc_status status;
	} t[] = {
		{ "io.daxfs.Snapshots.NotFound", GRPC_NOT_FOUND },
		{ "io.daxfs.Snapshots.AlreadyExists", GRPC_ALREADY_EXISTS },
		{ "FailedPrecondition", GRPC_FAILED_PRECONDITION },
		{ "org.varlink.service.InvalidParameter",
		  GRPC_INVALID_ARGUMENT },
		{ "org.varlink.service.MethodNotFound", GRPC_UNIMPLEMENTED },
		{ "io.daxfs.Snapshots.OK", GRPC_UNKNOWN },
		{ "io.daxfs.Snapshots.", GRPC_UNKNOWN },
		{ "", GRPC_UNKNOWN },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(grpc_status_of_error(t[i].name), t[i].status);
	assert_int_equal(grpc_status_of_errno(-ECONNREFUSED), GRPC_UNAVAILABLE);
	assert_int_equal(grpc_status_of_errno(ETIMEDOUT),
			 GRPC_DEADLINE_EXCEEDED);
	assert_string_equal(grpc_status_name(GRPC_NOT_FOUND), "NotFound");
	assert_string_equal(grpc_status_name((enum grpc_status)99), "Unknown");
}

static void timeouts(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} t[] = {
		{ "1H", 3600000 }, { "2M", 120000 },
		{ "3S", 3000 },    { "4m", 4 },
		{ "0m", 0 },       { "1u", 1 },
		{ "1001u", 2 },    { "1n", 1 },
		{ "1000000n", 1 }, { "99999999H", INT64_C(359999996400000) },
	};
	int64_t ms;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		assert_int_equal(grpc_timeout_parse(t[i].text,
						    strlen(t[i].text), &ms),
				 0);
		assert_int_equal(ms, t[i].ms);
	}
	assert_int_equal(grpc_timeout_parse("5", 1, &ms), -EINVAL);
	assert_int_equal(grpc_timeout_parse("123456789S", 10, &ms), -EINVAL);
	assert_int_equal(grpc_timeout_parse("5 S", 3, &ms), -EINVAL);
}

static void percent_encoding(void **state)
{
	char out[8], wide[32];

	(void)state;
	assert_int_equal(grpc_percent_encode("a~ !", out, sizeof(out)), 4);
	assert_string_equal(out, "a~ !");
	assert_int_equal(grpc_percent_encode("%\n\x7f", out, sizeof(out)), 6);
	assert_string_equal(out, "%25%0A"); /* whole escapes only */
	assert_int_equal(grpc_percent_encode("abcdefghij", out, sizeof(out)),
			 7);
	assert_int_equal(grpc_percent_encode("", out, sizeof(out)), 0);
	/* characters of several bytes, cut, and what is none */
	assert_int_equal(grpc_percent_encode("a\u00e9\u00e9", out, sizeof(out)),
			 7);
	assert_string_equal(out, "a%C3%A9");
	grpc_percent_encode("a\xe6\x97", wide, sizeof(wide));
	assert_string_equal(wide, "a%EF%BF%BD%EF%BF%BD");
	grpc_percent_encode("\xff\u65e5", wide, sizeof(wide));
	assert_string_equal(wide, "%EF%BF%BD%E6%97%A5");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths),
		cmocka_unit_test(prepare_request),
		cmocka_unit_test(other_requests),
		cmocka_unit_test(update_request),
		cmocka_unit_test(text_is_checked),
		cmocka_unit_test(malformed_requests),
		cmocka_unit_test(greedy_requests),
		cmocka_unit_test(random_requests),
		cmocka_unit_test(responses),
		cmocka_unit_test(bad_responses),
		cmocka_unit_test(error_names),
		cmocka_unit_test(timeouts),
		cmocka_unit_test(percent_encoding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
