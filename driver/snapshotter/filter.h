/* SPDX-License-Identifier: Apache-2.0 */
/*
 * containerd's filter expressions: selectors joined by commas must all match,
 * of several filters one must. A selector is a field path alone (present?) or
 * with == != ~= and a value. Fields: name, parent, kind, labels.KEY; any other
 * is absent. An absent field equals nothing and differs from everything.
 *
 * What parses, and what it finds, is as with containerd's own package, but that
 * a wrong regular expression is refused, where containerd would find nothing.
 * They are of filter_re.h; match, depth and heap limits bound what RE2 bounds by
 * construction.
 */
#ifndef DAXFS_FILTER_H
#define DAXFS_FILTER_H

#include <stdbool.h>

#include "failure.h"

struct filter; /* one or more expressions; not for two threads at once */

/* What a filter looks at; label() answers NULL for an absent one. */
struct filter_subject {
	const char *name, *parent, *kind;
	const char *(*label)(const void *arg, const char *key);
	const void *arg;
};

/* Parse `n` expressions; none matches everything. InvalidArgument. */
int filter_parse(const char *const *texts, unsigned n, struct filter **out,
		 struct failure *f);
void filter_free(struct filter *filter); /* NULL is fine */

/*
 * 1, 0, or -1: a regular expression exceeds its limits (InvalidArgument), of
 * this match or of all with this filter, which are to be in one thread.
 */
int filter_match(struct filter *filter, const struct filter_subject *s,
		 struct failure *f);

#endif
