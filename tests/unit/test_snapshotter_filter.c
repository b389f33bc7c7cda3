/* SPDX-License-Identifier: Apache-2.0 */
/* containerd's filter expressions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "driver/common/util.h"
#include "driver/snapshotter/filter.h"

static const char *label(const void *arg, const char *key)
{
	static const char *const labels[][2] = {
		{ "foo", "true" },
		{ "a.b", "dotted" },
		{ "containerd.io/snapshot.ref", "sha256:abc" },
		{ "very complex \"label\"", "x, y" },
		{ "h\xc3\xa9", "\xc3\xa9t\xc3\xa9" },
		{ "new\nline", "a\nb" },
	};

	(void)arg;
	for (unsigned i = 0; i < ARRAY_SIZE(labels); i++)
		if (str_eq(labels[i][0], key))
			return labels[i][1];
	return NULL;
}

static const struct filter_subject subject = {
	.name = "ns/12/extract-1 sha256:abc",
	.parent = "",
	.kind = "active",
	.label = label,
};

/* 1, 0, or -1 when it does not parse. */
static int match(const char *text, char *error, size_t size)
{
	struct filter *filter;
	struct failure f;
	int rc;

	if (filter_parse(&text, 1, &filter, &f) < 0) {
		assert_int_equal(f.status, FAILURE_INVALID_ARGUMENT);
		if (error)
			snprintf(error, size, "%s", f.text);
		return -1;
	}
	rc = filter_match(filter, &subject, &f);
	filter_free(filter);
	return rc;
}

static void check(const char *text, int expected)
{
	int got = match(text, NULL, 0);

	if (got != expected)
		fail_msg("%s: %d, not %d", text, got, expected);
}

static void test_fields(void **state)
{
	(void)state;
	check("", 1);
	check("name", 1);
	check("kind", 1);
	check("parent", 1);
	check("other", 0);
	check("labels", 0);
	check("labels.foo", 1);
	check("labels.bar", 0);
	check("labels.a.b", 1);
	check("labels.\"a.b\"", 1);
	check("labels.a.\"b\"", 1);
	check("\"labels\".foo", 1);
	check("labels.\"very complex \\\"label\\\"\"", 1);
	check("labels.h", 0);
	check("labels.\"h\xc3\xa9\"", 1);
	check("labels.\"h\\u00e9\"", 1);
	check("labels.\"new\\nline\"", 1);
	check("labels.\"new\\x0aline\"", 1);
	check("labels.\"new\\012line\"", 1);
}

static void test_operators(void **state)
{
	(void)state;
	check("kind==active", 1);
	check("kind==Active", 0);
	check("kind==committed", 0);
	check("kind!=active", 0);
	check("kind!=view", 1);
	check(" kind == active", 1);
	check(" kind\xc2\xa0==\xe3\x80\x80"
	      "active",
	      1);
	check("parent==\"\"", 1);
	check("parent!=\"\"", 0);
	check("name==\"ns/12/extract-1 sha256:abc\"", 1);
	check("labels.foo==true", 1);
	check("labels.foo!=true", 0);
	check("labels.bar==x", 0);
	check("labels.bar!=x", 1);
	check("labels.bar==\"\"", 0);
	check("labels.bar!=\"\"", 0);
	check("other!=x", 1);
	check("labels.\"containerd.io/snapshot.ref\"==sha256:abc,"
	      "parent==\"\"",
	      1);
	check("labels.\"very complex \\\"label\\\"\"==\"x, y\"", 1);
}

static void test_regex(void **state)
{
	(void)state;
	check("name~=extract", 1);
	check("name~=^extract", 0);
	check("name~=^ns/[0-9]+/", 1);
	check("name~=/^ns\\/\\\\d+/", 1);
	check("name~=|^ns/\\\\d+/|", 1);
	check("name~=^ns/\\d+/", 1);
	check("name~=/^\\\\Qns/12\\\\E/", -1);
	check("name~=|^\\\\Qns/12\\\\E|", 1);
	check("name~=\"^ns/\\\\d+/\"", 1);
	check("name~=/EXTRACT/", 0);
	check("name~=/(?i)EXTRACT/", 1);
	check("name~=/(?P<n>extract)-1 .*abc$/", 1);
	check("name~=/[a-z]{1\\x2c2}\\//", 1);
	check("name~=|[a-z]{1,2}/|", 1);
	check("name~=|[]a-z[:digit:]]+?/|", 1);
	check("name~=\\x6es", 1);
	check("name~=\\156s", 1);
	check("name~=(?:n|x)s{0}", 1);
	check("name~=|n{,2}|", 0);
	check("name~=(?i-s:NS)", 1);
	check("labels.bar~=^$", 1);
	check("labels.bar~=x", 0);
	check("labels.foo~=tr.e", 1);
	check("labels.\"h\xc3\xa9\"~=^\xc3\xa9.\xc3\xa9$", 1);
	check("labels.\"new\\nline\"~=a$", 0);
	check("labels.\"new\\nline\"~=/(?m)a$/", 1);
}

static void test_lists(void **state)
{
	static const char *const any[] = { "kind==view", "labels.foo==true" };
	static const char *const none[] = { "kind==view", "labels.bar" };
	struct filter *filter;
	struct failure f;

	(void)state;
	check("kind==active,labels.foo", 1);
	check("kind==active,labels.bar", 0);
	check("labels.foo,kind==active,name~=extract", 1);
	check("labels.foo, kind==active", 1);

	assert_int_equal(filter_parse(any, 2, &filter, &f), 0);
	assert_int_equal(filter_match(filter, &subject, &f), 1);
	filter_free(filter);
	assert_int_equal(filter_parse(none, 2, &filter, &f), 0);
	assert_int_equal(filter_match(filter, &subject, &f), 0);
	filter_free(filter);
	assert_int_equal(filter_parse(NULL, 0, &filter, &f), 0);
	assert_int_equal(filter_match(filter, &subject, &f), 1);
	filter_free(filter);
}

static void test_bad(void **state)
{
	static const char *const bad[] = {
		",",
		"name,",
		"name==",
		"name=",
		"name=x",
		"name===x",
		"name<x",
		"name==x y",
		"==x",
		"labels.",
		"labels..a",
		".a",
		"labels.|foo|==x",
		"labels./foo/",
		"name==/x/",
		"name==|x|",
		"name==\"x",
		"name==\"x\"y",
		"name==\"\\q\"",
		"name==\"\\x0\"",
		"name==\"\\x00\"",
		"name==\"\\400\"",
		"name==\"\\ud800\"",
		"name==\"\\U00110000\"",
		"name==\"a\nb\"",
		"name~=(",
		"name~=[a",
		"name~=/a/b",
		"name~=",
		"name~=/a",
		"name~=\xff",
		"labels.foo=\"true\"",
		"name==x,,kind",
		"'name'==x",
		"name~=/\\C/",
		"name ",
		"name ,kind",
		"name==x ",
		"name==\"x\" ,kind",
		"name==x\x01y",
		"name~=/\\d/",
		"name~=|\\.|",
		/* PCRE2's, not RE2's */
		"name~=(?=n)",
		"name~=(?<=n)",
		"name~=(?>n)",
		"name~=(?<x>n)",
		"name~=(?#n)",
		"name~=(*UTF)n",
		"name~=(n)\\1",
		"name~=n\\K",
		"name~=\\h",
		"name~=[\\R]",
		"name~=n*+",
		"name~=n++",
		"name~=n{2}{3}",
		"name~=n??*",
		"name~=n{1001}",
		"name~=|n{1,1001}|",
	};
	char text[800];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		check(bad[i], -1);
	match("name<x", text, sizeof(text));
	assert_string_equal(text,
			    "filter 'name<x': one of == != ~= is expected at byte 4");
	match("name~=(", text, sizeof(text));
	assert_non_null(strstr(text, "regular expression"));
}

/* What a peer may cost: length, count, nesting, steps. */
static void test_limits(void **state)
{
	static const char *many[1025];
	char *longer = malloc(70000);
	char parens[1100] = "name~=";
	struct filter *filter;
	struct failure f;
	struct filter_subject s = subject;
	char victim[64];
	const char *evil = "name~=^(a+)+$";
	clock_t begin;

	(void)state;
	memset(longer, 'a', 69999);
	longer[69999] = '\0';
	check(longer, -1);
	free(longer);
	for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = "name";
	assert_int_equal(filter_parse(many, ARRAY_SIZE(many), &filter, &f), -1);
	for (unsigned i = 0; i < 500; i++) {
		parens[6 + i] = '(';
		parens[506 + i] = ')';
	}
	check(parens, -1);

	memset(victim, 'a', sizeof(victim) - 2);
	victim[sizeof(victim) - 2] = '!';
	victim[sizeof(victim) - 1] = '\0';
	s.name = victim;
	assert_int_equal(filter_parse(&evil, 1, &filter, &f), 0);
	begin = clock();
	/* no snapshot is left out for that it is not known to match */
	assert_int_equal(filter_match(filter, &s, &f), -1);
	assert_int_equal(f.status, FAILURE_INVALID_ARGUMENT);
	assert_non_null(strstr(f.text, "'^(a+)+$' takes too long"));
	assert_true(clock() - begin < CLOCKS_PER_SEC);
	filter_free(filter);
}

/* A match that stays within its steps, for each of a million snapshots. */
static void test_time(void **state)
{
	const char *slow = "name~=^(a|aa)+$";
	struct filter_subject s = subject;
	struct filter *filter;
	struct failure f;
	int rc = 0, n;

	(void)state;
	s.name = "aaaaaaaaaaaaaaaaaaaa!";
	assert_int_equal(filter_parse(&slow, 1, &filter, &f), 0);
	for (n = 0; rc == 0 && n < 1000000; n++)
		rc = filter_match(filter, &s, &f);
	assert_int_equal(rc, -1);
	assert_non_null(strstr(f.text, "all snapshots together"));
	assert_true(n > 100);
	filter_free(filter);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields), cmocka_unit_test(test_operators),
		cmocka_unit_test(test_regex),  cmocka_unit_test(test_lists),
		cmocka_unit_test(test_bad),    cmocka_unit_test(test_limits),
		cmocka_unit_test(test_time),
	};

	return cmocka_run_group_tests_name("filter", tests, NULL, NULL);
}
