/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of backend.h: calls on their way, shared with worker.c only. */
#ifndef DAXFS_GRPC_JOB_H
#define DAXFS_GRPC_JOB_H

#include <pthread.h>

#include "backend.h"
#include "method.h"

struct grpc_job {
	struct grpc_job *next;       /* in the queue */
	struct grpc_job *next_ready; /* in the list of what has news */

	/* fixed before a worker sees it */
	const struct grpc_method *method;
	uint8_t *body;
	size_t body_len, charge;
	int64_t started_ms, deadline_ms;

	/* the owner thread's; call is NULL once it is gone */
	struct grpc_call *call;
	void *owner;

	/* the worker's until done */
	struct grpc_result result;

	/* under the backend's lock */
	bool running, cancelled, ready, done;
	struct grpc_message *first, *last; /* not passed to the call yet */
	size_t queued; /* bytes passed on and not sent to the client yet */
};

struct grpc_worker {
	struct grpc_backend *backend;
	pthread_t thread;
	struct varlink_client *client; /* or NULL */
	int fd; /* the client's, -1: none; under the lock */
};

struct grpc_backend {
	const char *path;
	struct grpc_budget *budget;
	int event; /* eventfd */
	pthread_mutex_t lock;
	pthread_cond_t work;  /* a job is queued, or stopping */
	pthread_cond_t space; /* a queue shrank, a job was cancelled, stopping */
	struct grpc_job *head, *tail;
	struct grpc_job *ready_head, *ready_tail;
	unsigned queued, idle, streaming; /* jobs, workers, workers */
	bool stopping;
	unsigned n_workers;
	struct grpc_worker workers[GRPC_WORKERS_MAX];
};

int64_t grpc_now_ms(void);
void *grpc_worker_main(void *worker);

/* Take the next job that may run now, waiting for it; NULL: stopping. */
struct grpc_job *grpc_job_take(struct grpc_backend *b);
/*
 * Pass a message on, waiting while too much is queued; consumes it. -ECANCELED:
 * nobody wants it.
 */
int grpc_job_post(struct grpc_backend *b, struct grpc_job *job,
		  struct grpc_message *m);
/* The job's result stands; the worker must not touch it after. */
void grpc_job_done(struct grpc_backend *b, struct grpc_job *job);
bool grpc_job_cancelled(struct grpc_backend *b, struct grpc_job *job);

#endif
