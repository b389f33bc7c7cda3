/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file (INI), read by one table: defaults, limits and help
 * stand in a row, and nothing else needs to know of a key.
 */
#ifndef DAXFS_CONF_H
#define DAXFS_CONF_H

#include <stdint.h>

enum conf_kind {
	CONF_STR,  /* char ** : allocated, never NULL after conf_defaults() */
	CONF_SIZE, /* uint64_t *, with K/M/G/T suffix */
	CONF_UINT, /* unsigned * */
	CONF_BOOL, /* bool *: yes/no, true/false, on/off, 1/0 */
};

struct conf_key {
	const char *section, *key;
	enum conf_kind kind;
	void *value;
	const char *def;   /* as it would stand in the file */
	uint64_t min, max; /* CONF_SIZE, CONF_UINT; max 0: no limit */
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
