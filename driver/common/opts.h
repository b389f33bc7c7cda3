/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command-line options from one table: parsing, --help and --version are all
 * made from it, so that they cannot disagree.
 */
#ifndef DAXFS_OPTS_H
#define DAXFS_OPTS_H

#include <stdbool.h>
#include <stdint.h>

enum opt_kind {
	OPT_FLAG, /* bool *  */
	OPT_STR,  /* const char ** */
	OPT_SIZE, /* uint64_t *, with K/M/G/T suffix */
	OPT_UINT, /* unsigned * */
};

struct opt {
	char short_name;       /* 0: none */
	const char *long_name; /* NULL: none */
	enum opt_kind kind;
	void *value;
	const char *arg;  /* placeholder in --help, e.g. "FILE" */
	const char *help; /* one line */
};

struct opt_usage {
	const char *program;    /* as shown, e.g. "daxfs-branch create" */
	const char *synopsis;   /* after the program: "[OPTIONS] REGION" */
	const char *summary;    /* what it does, one or two lines */
	const char *example;    /* lines of an example, or NULL */
	const struct opt *opts; /* ends with long_name == NULL, short_name == 0 */
	unsigned min_args, max_args; /* positional */
};

/*
 * Parse argv (argv[0] is skipped). Options may come before, between and after
 * positional arguments, "--" ends them. Returns the number of positional
 * arguments, moved to argv[1..n]. --help and --version print and exit 0; an
 * error prints what is wrong and how to get help, and exits 2.
 */
int opts_parse(const struct opt_usage *u, int argc, char **argv);

#define DAXFS_EXIT_OK 0
#define DAXFS_EXIT_FAIL 1  /* the operation failed; stderr says why */
#define DAXFS_EXIT_USAGE 2 /* the command line or a configuration is wrong */

#endif
