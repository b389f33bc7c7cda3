/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file (INI), read by one table: defaults, limits and help
 * stand in a row, and nothing else needs to know of a key.
 */
#ifndef DAXFS_CONF_H
#define DAXFS_CONF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum conf_kind {
	CONF_STR,  /* char ** : allocated, never NULL after conf_defaults() */
	CONF_SIZE, /* uint64_t *, with K/M/G/T suffix */
	CONF_SIZE_OR_0,  /* likewise; 0 is allowed also below min */
	CONF_UINT,       /* unsigned * */
	CONF_BOOL,       /* bool *: yes/no, true/false, on/off, 1/0 */
	CONF_LOG_LEVEL,  /* enum log_level * */
	CONF_LOG_FORMAT, /* enum log_format * */
};

struct conf_key {
	const char *section, *key;
	enum conf_kind kind;
	void *value;
	const char *def;   /* as it would stand in the file */
	uint64_t min, max; /* of sizes and numbers; max 0: no limit */
	const char *help;  /* one line */
};

#define CONF_DEFAULT_PATH "/etc/daxfs/daxfs.conf"

/* Which file, line and key, and what is wrong with it. */
struct conf_error {
	char text[512];
};

/* Give every key of the table (which ends with key == NULL) its default. */
int conf_defaults(const struct conf_key *keys);

/*
 * What a daemon does first: defaults, then the file `config`, or the default
 * path, which need not exist. A mistake in the file ends the program with a
 * message and DAXFS_EXIT_USAGE.
 */
void conf_read(const char *program, const char *config,
	       const struct conf_key *keys, const char *const *others);

/* For --print-config: print the keys as they are now, and end the program. */
__attribute__((noreturn)) void conf_show(const struct conf_key *keys);

/* As a file that conf_load() reads back; a section's keys stand together. */
void conf_print(const struct conf_key *keys, FILE *f);

/*
 * Read `path` over what the keys have. `others` lists, up to a NULL, sections
 * of the same file that belong to other programs. An unknown section or key, a
 * value that does not parse or is out of bounds: -EINVAL with the place in e.
 * -ENOENT and other errors of open(2) likewise.
 */
int conf_load(const char *path, const struct conf_key *keys,
	      const char *const *others, struct conf_error *e);

/* Free the strings of the table. */
void conf_free(const struct conf_key *keys);

#endif
