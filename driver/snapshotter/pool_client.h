/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the pool: the process that serves it, and calls to it. */
#ifndef DAXFS_POOL_CLIENT_H
#define DAXFS_POOL_CLIENT_H

#include <json-c/json.h>
#include <pthread.h>

#include "../ipc/varlink.h"
#include "pool.h"

#define POOL_IDLE 16    /* connections kept */
#define POOL_ATTEMPTS 7 /* of a call whose process has gone */

struct pool {
	char *region, *state, *mounts;
	char *control; /* socket of daxfs-fuse */
	struct pool_fuse fuse;
	char *log_file; /* of daxfs-fuse */
	unsigned start_timeout;
	pthread_mutex_t start_lock, lock, mount_lock;
	struct varlink_client *idle[POOL_IDLE];
	unsigned n_idle;
};

/*
 * Call io.daxfs.Branches.<method>. `params` is consumed (NULL: out of memory).
 * *reply is the caller's, also to free when it stays NULL.
 */
int pool_call(struct pool *p, const char *method, json_object *params,
	      json_object **reply, struct failure *f);

/* The same, not repeated when the process goes: see pool_call_lost(). */
int pool_call_once(struct pool *p, const char *method, json_object *params,
		   json_object **reply, struct failure *f);

/* Has it failed because the process went, before or after doing it? */
bool pool_call_lost(const struct failure *f);
/*
 * With "more": `fn` gets each reply (borrowed); what is nonzero ends the call
 * and is returned.
 */
int pool_call_more(struct pool *p, const char *method, json_object *params,
		   int (*fn)(void *arg, json_object *reply), void *arg,
		   struct failure *f);

#endif
