/* SPDX-License-Identifier: Apache-2.0 */
#include "pool_choose.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "../common/fault.h"
#include "../common/log.h"
#include "../common/util.h"
#include "../region/region.h"
#include "settings.h"

#define POOL_SIZE (UINT64_C(16) << 30) /* when nothing is configured */
#define POOL_UNIT (UINT64_C(1) << 20)

/* ---- A new pool ---------------------------------------------------------- */

/*
 * It is a sparse file that is written through a mapping; where the disk is full
 * before the pool is, calls fail with ResourceExhausted, and files with ENOSPC.
 */
static int new_size(const struct pool_choice *c, uint64_t *size,
		    struct failure *f)
{
	struct statvfs st;
	uint64_t room;

	if (statvfs(c->root, &st) < 0)
		return failure_set(f, FAILURE_UNKNOWN, errno,
				   "cannot look at %s: %s", c->root,
				   log_err(errno));
	room = (uint64_t)st.f_bavail * st.f_frsize / 10 * 9;
	*size = c->settings.size;
	if (!*size)
		*size = room < POOL_SIZE ? room : POOL_SIZE;
	else if (*size > room)
		log_event(LOG_WARN, "pool_size exceeds the free space", "size",
			  format_size(*size), "free", format_size(room), NULL);
	*size -= *size % POOL_UNIT;
	if (*size >= SETTINGS_POOL_MIN)
		return 0;
	return failure_set(f, FAILURE_RESOURCE_EXHAUSTED, ENOSPC,
			   "a pool of %s in %s is too small; it needs %s",
			   format_size(*size), c->root,
			   format_size(SETTINGS_POOL_MIN));
}

/*
 * Open it, made where it is not; then it is the pool. `first`: of this store;
 * what is there may hold snapshots whose metadata is lost.
 */
static int open_new(const struct pool_choice *c, struct store *store,
		    bool first, struct pool **out, struct failure *f)
{
	struct pool_settings set = c->settings;
	bool there = access(set.region, F_OK) == 0;
	cleanup_free char *uuid = NULL;

	if (!there && new_size(c, &set.size, f) < 0)
		return -1;
	if (pool_open(&set, true, out, f) < 0 ||
	    (first && there && c->rebuild(c->arg, f) < 0) ||
	    pool_uuid(*out, &uuid, f) < 0)
		return -1;
	return store_set_meta(store, "pool", uuid, f);
}

/* ---- A pool that is lost ------------------------------------------------- */

/* Nothing that trying again, or another program, could read. */
static bool is_damaged(const char *path, struct daxfs_message *why)
{
	struct region_file file;
	struct daxfs_region *r;
	int rc = region_file_open(path, REGION_READONLY, &file, why);

	if (rc == 0) {
		rc = daxfs_region_open(&file.backing, 0, &r, why);
		if (rc == 0)
			daxfs_region_close(r);
		region_file_close(&file);
	}
	return rc == -EINVAL || rc == -EUCLEAN;
}

/* The pool's file is not there. 1: nor is anything that names it. */
static int look_missing(const char *region, struct failure *f)
{
	struct stat st;

	if (stat(region, &st) == 0)
		return 0;
	if (errno == ENOENT && lstat(region, &st) < 0 && errno == ENOENT)
		return 1;
	return failure_set(f, FAILURE_UNKNOWN, errno,
			   "the pool %s cannot be found: %s; if it is a link, "
			   "mount what it leads to",
			   region, log_err(errno));
}

static int set_aside(const char *region, struct failure *f)
{
	cleanup_free char *to = NULL;
	char when[32];
	struct tm tm;
	time_t now = time(NULL);

	if (access(region, F_OK) < 0)
		return 0;
	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &tm);
	to = str_printf("%s.lost-%s", region, when);
	if (!to)
		return failure_no_memory(f);
	if (rename(region, to) < 0)
		return failure_set(f, FAILURE_UNKNOWN, errno,
				   "cannot rename %s: %s", region,
				   log_err(errno));
	log_event(LOG_WARN, "what is left of the pool is kept", "file", to,
		  NULL);
	return 0;
}

/* From here on what is in the place of pool `known` may be another one. */
static int leave_pool(struct store *store, const char *known, const char *next,
		      struct failure *f)
{
	cleanup_free char *key = str_printf("pool:%s", known);
	int64_t last = store_last_id(store, f);

	if (last < 0)
		return -1;
	if (!key)
		return failure_no_memory(f);
	if (store_set_meta(store, "pool_since",
			   log_fmt("%lld", (long long)last), f) < 0 ||
	    store_set_meta(store, key, "left", f) < 0)
		return -1;
	return store_set_meta(store, "pool", next, f);
}

static int replace(const struct pool_choice *c, struct store *store,
		   const char *known, const char *why, struct pool **out,
		   struct failure *f)
{
	const char *region = c->settings.region;

	if (!c->replace_lost)
		return failure_set(f, FAILURE_UNKNOWN, ENOENT,
				   "the pool %s is lost (%s), but metadata.db "
				   "beside it lists what it held: put it back, or "
				   "set replace_lost_pool = yes",
				   region, why);
	log_event(LOG_ERROR,
		  "the pool is lost: a new one takes its place; snapshots of "
		  "the old one can be removed, or it can be put back",
		  "region", region, "why", why, NULL);
	if (leave_pool(store, known, "", f) < 0)
		return -1;
	FAULT_POINT("pool.left");
	if (set_aside(region, f) < 0)
		return -1;
	FAULT_POINT("pool.set-aside");
	return open_new(c, store, false, out, f);
}

/* ---- A pool that is there ------------------------------------------------ */

/* It is the one that is known, or one that was once. */
static int check_uuid(const struct pool_choice *c, struct store *store,
		      const char *known, const char *uuid, struct failure *f)
{
	cleanup_free char *key = NULL, *once = NULL;

	if (str_eq(known, uuid))
		return 0;
	key = str_printf("pool:%s", uuid);
	if (!key)
		return failure_no_memory(f);
	if (store_get_meta(store, key, &once, f) < 0)
		return -1;
	if (!once)
		return failure_set(f, FAILURE_UNKNOWN, ESTALE,
				   "%s (uuid %s) is not the pool that metadata.db "
				   "beside it belongs to (uuid %s): put that one "
				   "back, or remove both to begin anew",
				   c->settings.region, uuid, known);
	log_event(LOG_WARN, "an earlier pool is back in its place", "uuid",
		  uuid, "instead_of", known, NULL);
	return leave_pool(store, known, uuid, f);
}

int pool_choose(const struct pool_choice *c, struct store *store,
		struct pool **out, struct failure *f)
{
	struct daxfs_message why = { "" };
	cleanup_free char *known = NULL, *uuid = NULL;
	int missing;

	if (store_get_meta(store, "pool", &known, f) < 0)
		return -1;
	if (str_empty(known))
		return open_new(c, store, !known, out, f);
	missing = look_missing(c->settings.region, f);
	if (missing < 0)
		return -1;
	if (missing)
		return replace(c, store, known, "it is missing", out, f);
	if (pool_open(&c->settings, false, out, f) == 0 &&
	    pool_uuid(*out, &uuid, f) == 0)
		return check_uuid(c, store, known, uuid, f);
	if (!is_damaged(c->settings.region, &why))
		return -1;
	pool_close(steal_ptr(out));
	return replace(c, store, known, why.text, out, f);
}
