/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io.daxfs.Monitor: what operators look at. It holds up no call and waits for
 * none: metadata is read on a connection of its own, daxfs-fuse is asked with a
 * time limit and never started, and only ASKERS threads at once wait for it.
 */
#ifndef DAXFS_SNAPSHOTTER_MONITOR_H
#define DAXFS_SNAPSHOTTER_MONITOR_H

#include "../common/metrics.h"
#include "../ipc/varlink.h"
#include "snapshotter.h"

struct monitor {
	struct snapshotter *s;
	const char *root, *state; /* the caller's */
	int64_t started_ns;       /* since the epoch */
	uint64_t started;         /* metrics_now() */
	pthread_mutex_t lock;     /* the member below; leaf */
	pthread_cond_t turn;
	unsigned asking; /* threads that wait for daxfs-fuse */
};

/* Begins now. `s` and the paths must outlive it. */
void monitor_init(struct monitor *m, struct snapshotter *s, const char *root,
		  const char *state);
void monitor_destroy(struct monitor *m);

/* The interface over `m`, which must outlive it. Filled in, not allocated. */
void monitor_interface(struct monitor *m, struct varlink_interface *out);

/* A server's `observe`: count a call. */
void monitor_observe(void *arg, const char *method, const char *error,
		     uint64_t ns);

/* ---- Inside -------------------------------------------------------------- */

/* One look at everything. */
struct monitor_look {
	struct store_counts counts;
	int64_t lost;
	json_object *pool; /* the answer of GetStats; NULL: none came */
	struct failure why;
};

/* -1: the metadata cannot be read. `mounts`: ask for these too. */
int monitor_look(struct monitor *m, bool mounts, struct monitor_look *out,
		 struct failure *f);
void monitor_look_clear(struct monitor_look *l);

/* A number of an object in l->pool, 0: it is not there. */
int64_t monitor_number(json_object *o, const char *key);

/* monitor_metrics.c: all numbers as text. */
void monitor_render(struct monitor *m, const struct monitor_look *l,
		    struct metrics_text *t);
/* The calls as an array of Call, NULL: no memory. */
json_object *monitor_calls(void);

#endif
