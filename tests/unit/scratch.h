/* SPDX-License-Identifier: Apache-2.0 */
/* A folder of a test's own, below TMPDIR, where tests/run looks for leaks. */
#ifndef DAXFS_TEST_SCRATCH_H
#define DAXFS_TEST_SCRATCH_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* "<TMPDIR or /tmp>/<name>.XXXXXX" to `out`. */
static inline bool scratch_name(char *out, size_t size, const char *name)
{
	const char *tmp = getenv("TMPDIR");
	int n = snprintf(out, size, "%s/%s.XXXXXX", tmp ? tmp : "/tmp", name);

	return n > 0 && (size_t)n < size;
}

static inline bool scratch_dir(char *out, size_t size, const char *name)
{
	return scratch_name(out, size, name) && mkdtemp(out);
}

#endif
