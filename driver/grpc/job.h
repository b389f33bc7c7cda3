/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of backend.h: calls on their way, between the owner's thread
 * (backend.c), the workers (worker.c) and the health thread (health.c).
 *
 * One lock, of the backend; a leaf. A job is the owner's until it is queued,
 * its thread's until grpc_job_done(), then the owner's again.
 */
#ifndef DAXFS_GRPC_JOB_H
#define DAXFS_GRPC_JOB_H

#include <pthread.h>

#include "backend.h"
#include "method.h"

struct grpc_worker;

struct grpc_job {
	struct grpc_job *next;       /* in the queue, or of its thread */
	struct grpc_job *next_ready; /* in the list of what has news */

	/* fixed before a thread sees it */
	const struct grpc_method *method;
	uint8_t *body;
	size_t body_len, charge;
	int64_t started_ms, deadline_ms;
	void *owner;

	/* the owner thread's; NULL once the call is gone */
	struct grpc_call *call;

	/* the job's thread's until done */
	struct grpc_result result;
	int told; /* what a health watcher heard last */

	/* under the lock */
	bool running, cancelled, ready, done;
	struct grpc_worker *worker;        /* that runs it, or NULL */
	struct grpc_message *first, *last; /* not passed to the call yet */
	size_t queued; /* bytes passed on and not sent to the client yet */
};

struct grpc_worker {
	struct grpc_backend *backend;
	pthread_t thread;
	struct varlink_client *client; /* or NULL */
	int fd;               /* the client's, -1: none; under the lock */
	struct grpc_job *job; /* under the lock */
};

struct grpc_queue {
	struct grpc_job *head, *tail;
	unsigned n;
};

struct grpc_backend {
	struct grpc_backend_options o;
	int event; /* eventfd */
	pthread_mutex_t lock;
	pthread_cond_t work;  /* a job is queued, or stopping */
	pthread_cond_t space; /* a queue shrank, a job was cancelled, stopping */
	pthread_cond_t health_work; /* as work, or a watcher went */
	struct grpc_queue calls, health;
	struct grpc_job *ready_head, *ready_tail;
	unsigned idle, streaming; /* workers */
	bool stopping, leaving, watcher_left, health_runs;
	unsigned n_workers;
	struct grpc_worker workers[GRPC_WORKERS_MAX];
	pthread_t health_thread;
};

int64_t grpc_now_ms(void);
void *grpc_worker_main(void *worker);
void *grpc_health_main(void *backend);

/* Queues are used under the lock; freeing is the owner thread's. */
void grpc_job_free(struct grpc_backend *b, struct grpc_job *job);
void grpc_queue_push(struct grpc_queue *q, struct grpc_job *job);
/* `prev` is before `job` in the queue, NULL: none. */
void grpc_queue_drop(struct grpc_queue *q, struct grpc_job *job,
		     struct grpc_job *prev);

/* Take the next job that may run now, waiting for it; NULL: stopping. */
struct grpc_job *grpc_job_take(struct grpc_worker *w);
/*
 * Pass a message on, waiting while too much is queued; consumes it. -ECANCELED:
 * nobody wants it.
 */
int grpc_job_post(struct grpc_backend *b, struct grpc_job *job,
		  struct grpc_message *m);
/* The job's result stands; its thread must not touch it after. */
void grpc_job_done(struct grpc_backend *b, struct grpc_job *job);
bool grpc_job_cancelled(struct grpc_backend *b, struct grpc_job *job);
/* False: it was cancelled meanwhile. */
bool grpc_job_sleep(struct grpc_backend *b, struct grpc_job *job, int64_t ms);

/* pthread_cond_timedwait() until grpc_now_ms() is `when`. */
void grpc_wait_until(struct grpc_backend *b, pthread_cond_t *cond,
		     int64_t when);

void grpc_job_log(struct grpc_backend *b, struct grpc_job *job);

#endif
