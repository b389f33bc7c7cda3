/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool: the region whose branches are snapshots. Another process, daxfs-
 * fuse, has it open and mounts its branches; this is the conversation with it
 * (io.daxfs.Branches). It is started when it does not run, also in the middle
 * of a call, and it outlives us.
 *
 * Any thread may call. Each call has a connection to itself; pool->lock (leaf)
 * guards the idle ones, start_lock (outside it) that one thread starts the
 * process.
 */
#ifndef DAXFS_POOL_H
#define DAXFS_POOL_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "../common/log.h"
#include "failure.h"

struct pool;

/* What daxfs-fuse is started with. */
struct pool_fuse {
	enum log_level level;
	enum log_format format;
	char *log_file; /* "", NULL: STATE/fuse/pool.log */
	uint64_t log_size;
	unsigned sync_interval; /* seconds */
	unsigned slow_call_ms;
};

struct pool_settings {
	const char *region;     /* path of the region file */
	const char *state;      /* absolute folder of sockets and mounts */
	uint64_t size;          /* of a new region */
	unsigned branches;      /* of a new region */
	unsigned start_timeout; /* seconds for mkdaxfs and for daxfs-fuse */
	struct pool_fuse fuse;
};

/*
 * `create`: make the region when there is none; otherwise that is a failure.
 * `settings` are copied, but for fuse.log_file, which is to stay.
 */
int pool_open(const struct pool_settings *settings, bool create,
	      struct pool **out, struct failure *f);
void pool_close(struct pool *p); /* leaves daxfs-fuse running */

/*
 * End daxfs-fuse when it has nothing mounted, and wait for that. 0: has ended;
 * 1: is needed.
 */
int pool_stop_idle(struct pool *p, struct failure *f);

/*
 * Where the installed daxfs-fuse is another file than the one that runs, have
 * that take over, under whatever is mounted. Trouble is logged only: the old
 * one goes on.
 */
void pool_renew(struct pool *p);

/* The region's identity, allocated. */
int pool_uuid(struct pool *p, char **uuid, struct failure *f);

/* Where snapshot `id` is mounted, allocated. */
char *pool_mountpoint(const struct pool *p, int64_t id);

/*
 * Make a persistent branch of `parent` (NULL: main), with metadata (NULL: none),
 * and mount it. A branch of that name is a leftover and replaced.
 * ResourceExhausted: no space.
 */
int pool_create(struct pool *p, const char *branch, const char *parent,
		const char *mountpoint, bool readonly, const char *meta,
		struct failure *f);

/* What the branch may own; 0: no limit. InvalidArgument: too much. */
int pool_set_quota(struct pool *p, const char *branch, uint64_t bytes,
		   uint64_t inodes, struct failure *f);

/*
 * All of it is on disk then, and *bytes and *inodes are what it has, for good.
 * Sealing a sealed branch is fine. meta: new metadata with it (NULL: as it was).
 */
int pool_seal(struct pool *p, const char *branch, const char *meta,
	      int64_t *bytes, int64_t *inodes, struct failure *f);

int pool_set_meta(struct pool *p, const char *branch, const char *meta,
		  struct failure *f);

/* 0, also when there is none; 1: has live children; its mounts are taken away. */
int pool_delete(struct pool *p, const char *branch, struct failure *f);

int pool_usage(struct pool *p, const char *branch, int64_t *bytes,
	       int64_t *inodes, struct failure *f);

/* Mount what is not mounted. 0: was; 1: is now. NotFound: no such branch. */
int pool_mount(struct pool *p, const char *branch, const char *mountpoint,
	       bool readonly, struct failure *f);

/* Take the mount away, from whoever uses it too, and remove the folder. */
int pool_unmount(struct pool *p, const char *mountpoint, struct failure *f);

struct pool_branch {
	const char *name;
	int64_t id; /* the region's */
	bool sealed;
	int64_t bytes, inodes;
	bool has_meta;
	uint32_t meta_crc; /* daxfs_branch_meta_crc() */
	const char *meta;  /* pool_walk_meta(); NULL also where it is no text */
};

/* All branches, parents before children. fn: nonzero ends it, is returned. */
int pool_walk(struct pool *p, int (*fn)(void *arg, const struct pool_branch *b),
	      void *arg, struct failure *f);
/* The same with their metadata. */
int pool_walk_meta(struct pool *p,
		   int (*fn)(void *arg, const struct pool_branch *b), void *arg,
		   struct failure *f);

/*
 * GetStats of daxfs-fuse, answered within `timeout_ms` or not at all; it is not
 * started for this. *reply is the caller's. Unavailable.
 */
int pool_stats(struct pool *p, bool mounts, int timeout_ms, json_object **reply,
	       struct failure *f);
/* The region's path. */
const char *pool_region(const struct pool *p);

/* All folders under the mount folder, by snapshot id (-1: not of ours). */
int pool_walk_mountpoints(struct pool *p,
			  int (*fn)(void *arg, const char *path, int64_t id),
			  void *arg, struct failure *f);

#endif
