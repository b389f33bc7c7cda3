/* SPDX-License-Identifier: Apache-2.0 */
/* Replays tests/fuzz/grpc, the recorded sessions and what fuzzing found. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/common/util.h"
#include "tests/fuzz/fuzz_grpc.c"

#define FILE_MAX (64u << 10)

static size_t load(const char *dir, const char *name, uint8_t *buf)
{
	cleanup_free char *path = str_printf("%s/%s", dir, name);
	FILE *f = fopen(path, "rb");
	size_t n;

	assert_non_null(f);
	n = fread(buf, 1, FILE_MAX, f);
	assert_true(n < FILE_MAX);
	fclose(f);
	return n;
}

static void replay(void **state)
{
	const char *tests = getenv("TESTS");
	cleanup_free char *dir = NULL;
	uint8_t *buf = malloc(FILE_MAX);
	struct dirent *e;
	unsigned files = 0;
	size_t n, i;
	DIR *d;

	(void)state;
	if (!tests) {
		print_message("TESTS is not set: run this with tests/run\n");
		free(buf);
		skip();
	}
	dir = str_printf("%s/fuzz/grpc", tests);
	assert_non_null(buf);
	d = opendir(dir);
	assert_non_null(d);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		n = load(dir, e->d_name, buf);
		for (i = 0; i <= n; i++) /* whole, and cut anywhere */
			LLVMFuzzerTestOneInput(buf, i);
		files++;
	}
	closedir(d);
	free(buf);
	assert_true(files > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
