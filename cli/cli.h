/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs of the `daxfs` program share. */
#ifndef DAXFS_CLI_H
#define DAXFS_CLI_H

#include <json-c/json.h>
#include <stdbool.h>

#include "../driver/common/log.h"
#include "../driver/common/opts.h"
#include "../driver/common/util.h"
#include "../driver/region/region.h"
#include "../driver/service/branches.h"

struct cli_verb {
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv); /* returns DAXFS_EXIT_* */
};

/*
 * Run the verb that argv[1] names. The table ends with a NULL name; `program`
 * is what messages and help show.
 */
int cli_dispatch(const char *program, const char *summary,
		 const struct cli_verb *verbs, int argc, char **argv);

/* "program: text" on stderr; returns DAXFS_EXIT_FAIL. */
__attribute__((format(printf, 2, 3))) int cli_error(const char *program,
						    const char *fmt, ...);
/* The same for a wrong command line, with a hint; does not return. */
__attribute__((format(printf, 2, 3), noreturn)) void
cli_usage(const char *program, const char *fmt, ...);

/* One JSON document on stdout; consumes it. */
int cli_print_json(json_object *o);

/* Members of replies, with a default where they are missing. */
const char *cli_json_string(json_object *o, const char *key);
uint64_t cli_json_u64(json_object *o, const char *key);
bool cli_json_bool(json_object *o, const char *key);

/* Add a member, consuming value; ends the program when memory is out. */
void cli_json_add(json_object *o, const char *key, json_object *value);
void cli_json_add_string(json_object *o, const char *key, const char *s);
/* Names from media: what is not UTF-8 becomes U+FFFD. */
void cli_json_add_bytes(json_object *o, const char *key, const char *s);
void cli_json_add_u64(json_object *o, const char *key, uint64_t v);

/* Bytes from media may be anything: see text_escape(). */
void cli_print_name(const char *s, size_t len);

/*
 * Objects with "name" and "parent", which may be none of them, as trees: `print`
 * writes the rest of a line that has `indent` columns already. False: no memory.
 */
bool cli_draw_tree(json_object *all,
		   void (*print)(json_object *o, unsigned indent));

void cli_format_uuid(const uint8_t u[16], char out[37]);

/* Run `daxfs-fuse`, ours or the one in PATH, and wait until it has mounted. */
int cli_run_fuse(const char *program, char *const argv[]);

/* ---- Which region, which branch ------------------------------------------- */

/* A daxfs mount of this mount namespace. */
struct cli_mount {
	char *region; /* path of the region file */
	char *branch;
	char *mountpoint;
};

/* From /proc/self/mountinfo, in its order. 0 or -errno. */
int cli_mounts(struct cli_mount **out, size_t *count);
void cli_mounts_free(struct cli_mount *m, size_t count);

struct target {
	char *region;
	char *branch; /* of the mount, NULL without one */
};

/*
 * The region that a command is about: `region` if given, else that of the
 * mount at `mountpoint`, else the only one that is mounted. With a mountpoint
 * its branch is told too. False: a message has been printed.
 */
bool target_find(const char *program, const char *region,
		 const char *mountpoint, struct target *out);
void target_free(struct target *t);

/* ---- io.daxfs.Branches of a region ---------------------------------------- */

struct session {
	const char *program;
	const char *region;            /* the caller's */
	bool readonly;                 /* as asked of session_open() */
	struct varlink_client *client; /* a server has the region, or: */
	struct region_file file;
	struct daxfs_region *r;
	struct branches_service service;
	struct varlink_interface iface;
};

/*
 * Connect to the region's server or open the region here. `readonly` opens it
 * without taking it from others. False: a message has been printed.
 */
bool session_open(const char *program, const char *region, bool readonly,
		  struct session *out);
/* As far as its server: 0; 1: it has none; -errno: a message was printed. */
int session_connect(const char *program, const char *region,
		    struct session *out);
void session_close(struct session *s);
/*
 * A region is locked by another process: whether to try again, after a pause.
 * A server that ends, or has not yet noticed that it can, is waited for.
 * *waited_ms begins as 0.
 */
bool session_wait(const char *region, int *waited_ms);
/*
 * Call; consumes params. NULL: a message has been printed. The reply is the
 * caller's.
 */
json_object *session_call(struct session *s, const char *method,
			  json_object *params);

/* ---- Nouns and verbs, one file each ---------------------------------------- */

int cmd_mkfs(int argc, char **argv);
int cmd_branch(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_mount(int argc, char **argv);
int cmd_umount(int argc, char **argv);

int cmd_status(int argc, char **argv);
int cmd_snapshot(int argc, char **argv);
int cmd_top(int argc, char **argv);

int cmd_branch_create(int argc, char **argv);
int cmd_branch_list(int argc, char **argv);
int cmd_branch_tree(int argc, char **argv);
int cmd_branch_quota(int argc, char **argv);
/* "active", "sealed" or "damaged". */
const char *cli_branch_state(json_object *branch);
int cmd_branch_seal(int argc, char **argv);
int cmd_branch_commit(int argc, char **argv);
int cmd_branch_abort(int argc, char **argv);
int cmd_branch_delete(int argc, char **argv);

int cmd_inspect_info(int argc, char **argv);
int cmd_inspect_tree(int argc, char **argv);
int cmd_inspect_branches(int argc, char **argv);
int cmd_inspect_validate(int argc, char **argv);

/* What `daxfs-branch list` and `tree` and `daxfs-inspect branches` print. */
int branch_print_list(json_object *reply);
int branch_print_tree(json_object *reply);

/* A verb that shows all branches of [REGION], with --json or `print`. */
int branch_show(const char *program, const char *summary, const char *example,
		int (*print)(json_object *reply), int argc, char **argv);

/*
 * What the verbs that end or seal a branch share: `prog VERB NAME [REGION]` or
 * `prog VERB -m MNT`. `done` is the past participle that is printed.
 */
struct branch_act {
	const char *program, *summary, *example;
	const char *method, *done;
	bool can_force; /* has --force */
};
int branch_act(const struct branch_act *act, int argc, char **argv);

/*
 * The value of a quota's option, NULL: it was not given. `inodes` has no units.
 * Adds it to params as `key`; "none" is 0. A wrong one ends the program.
 */
void branch_add_quota(const char *program, json_object *params, const char *key,
		      const char *value, bool inodes);

/* An image for inspection: shared lock, or none where a server has it. */
struct inspected {
	struct region_file file;
	struct daxfs_region *r;
	bool in_use;
};

/* `flags`: DAXFS_OPEN_*. False: a message has been printed. */
bool inspect_open(const char *program, const char *path, uint32_t flags,
		  struct inspected *out);
void inspect_close(struct inspected *i);

#endif
