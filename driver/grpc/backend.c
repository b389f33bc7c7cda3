/* SPDX-License-Identifier: Apache-2.0 */
#include "backend.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

#include "driver/common/log.h"
#include "driver/common/util.h"
#include "driver/ipc/varlink.h"
#include "job.h"

#define STACK_SIZE (256u << 10)

int grpc_backend_new(const struct grpc_backend_options *o,
		     struct grpc_backend **out)
{
	struct grpc_backend *b = calloc(1, sizeof(*b));
	pthread_condattr_t monotonic;
	int rc;

	if (!b)
		return -ENOMEM;
	b->o = *o;
	b->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->event < 0) {
		rc = -errno;
		free(b);
		return rc;
	}
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->work, NULL);
	pthread_cond_init(&b->space, &monotonic);
	pthread_cond_init(&b->health_work, &monotonic);
	pthread_condattr_destroy(&monotonic);
	*out = b;
	return 0;
}

int grpc_backend_fd(const struct grpc_backend *b)
{
	return b->event;
}

/* ---- Beginning and ending a call ----------------------------------------- */

/* Signals are for the main thread alone, but for a denied system call's. */
static int start_thread(pthread_t *thread, void *(*main)(void *), void *arg)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int rc;

	rc = pthread_attr_init(&attr);
	if (rc)
		return -rc;
	sigfillset(&all);
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_attr_setstacksize(&attr, STACK_SIZE);
	if (!rc)
		rc = pthread_create(thread, &attr, main, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return -rc;
}

static int start_worker(struct grpc_backend *b)
{
	struct grpc_worker *w = &b->workers[b->n_workers];
	int rc;

	w->backend = b;
	w->fd = -1;
	rc = start_thread(&w->thread, grpc_worker_main, w);
	if (!rc)
		b->n_workers++;
	return rc;
}

/* As many workers as there is work for; one is enough to go on. */
static int queue_call(struct grpc_backend *b, struct grpc_job *job)
{
	int rc = 0;

	if (b->calls.n >= b->idle && b->n_workers < GRPC_WORKERS_MAX)
		rc = start_worker(b);
	if (rc && !b->n_workers)
		return rc;
	grpc_queue_push(&b->calls, job);
	pthread_cond_signal(&b->work);
	return 0;
}

/* Never behind calls, which may wait for a snapshotter that is away. */
static int queue_health(struct grpc_backend *b, struct grpc_job *job)
{
	int rc = 0;

	if (!b->health_runs)
		rc = start_thread(&b->health_thread, grpc_health_main, b);
	if (rc)
		return rc;
	b->health_runs = true;
	job->running = true;
	grpc_queue_push(&b->health, job);
	pthread_cond_signal(&b->health_work);
	return 0;
}

static void refuse(struct grpc_call *call, const char *why)
{
	struct grpc_result r;

	grpc_fail(&r, GRPC_RESOURCE_EXHAUSTED, "cannot start the call: %s",
		  why);
	grpc_call_finish(call, &r);
}

void grpc_backend_start(struct grpc_backend *b, struct grpc_call *call,
			void *owner)
{
	struct grpc_job *job = calloc(1, sizeof(*job));
	int rc;

	if (!job) {
		refuse(call, "no memory");
		return;
	}
	job->method = grpc_call_method(call);
	job->call = call;
	job->owner = owner;
	job->started_ms = grpc_now_ms();
	job->deadline_ms = grpc_call_deadline(call);
	job->body = grpc_call_take_body(call, &job->body_len, &job->charge);

	pthread_mutex_lock(&b->lock);
	rc = job->method->health ? queue_health(b, job) : queue_call(b, job);
	pthread_mutex_unlock(&b->lock);
	if (rc) {
		grpc_job_free(b, job);
		refuse(call, log_err(-rc));
		return;
	}
	grpc_call_set_user(call, job);
}

/* Under the lock. Nobody has begun with the job: it goes at once. */
static bool unqueue(struct grpc_backend *b, struct grpc_job *job)
{
	struct grpc_job *i, *prev = NULL;

	if (job->running)
		return false;
	for (i = b->calls.head; i && i != job; i = i->next)
		prev = i;
	grpc_queue_drop(&b->calls, job, prev);
	return true;
}

void grpc_backend_gone(struct grpc_backend *b, struct grpc_call *call)
{
	struct grpc_job *job = grpc_call_user(call);
	bool waiting;

	if (!job)
		return;
	grpc_call_set_user(call, NULL);
	job->call = NULL;
	pthread_mutex_lock(&b->lock);
	job->cancelled = true;
	waiting = unqueue(b, job);
	if (job->worker && job->worker->fd >= 0)
		shutdown(job->worker->fd, SHUT_RDWR);
	pthread_cond_broadcast(&b->space);
	if (job->method->health) {
		b->watcher_left = true;
		pthread_cond_signal(&b->health_work);
	}
	pthread_mutex_unlock(&b->lock);
	if (waiting)
		grpc_job_free(b, job);
}

void grpc_backend_leave(struct grpc_backend *b)
{
	pthread_mutex_lock(&b->lock);
	b->leaving = true;
	b->watcher_left = true;
	pthread_cond_signal(&b->health_work);
	pthread_mutex_unlock(&b->lock);
}

void grpc_backend_drained(struct grpc_backend *b, struct grpc_call *call,
			  size_t n)
{
	struct grpc_job *job = grpc_call_user(call);

	if (!job)
		return;
	pthread_mutex_lock(&b->lock);
	if (job->queued >= GRPC_QUEUE_MAX && job->queued - n < GRPC_QUEUE_MAX)
		pthread_cond_broadcast(&b->space);
	job->queued -= n;
	pthread_mutex_unlock(&b->lock);
}

/* ---- Answers ------------------------------------------------------------- */

static struct grpc_job *take_ready(struct grpc_backend *b,
				   struct grpc_message **messages, bool *done)
{
	struct grpc_job *job;

	pthread_mutex_lock(&b->lock);
	job = b->ready_head;
	if (job) {
		b->ready_head = job->next_ready;
		if (!b->ready_head)
			b->ready_tail = NULL;
		*messages = job->first;
		*done = job->done;
		job->first = job->last = NULL;
		job->ready = false;
	}
	pthread_mutex_unlock(&b->lock);
	return job;
}

static void deliver(struct grpc_job *job, struct grpc_message *m, bool done)
{
	while (m) {
		struct grpc_message *next = m->next;

		m->next = NULL;
		if (job->call)
			grpc_call_send(job->call, m);
		else
			free(m);
		m = next;
	}
	if (job->call && done) {
		grpc_call_finish(job->call, &job->result);
		job->call = NULL;
	}
}

void grpc_backend_process(struct grpc_backend *b, void (*touched)(void *owner))
{
	struct grpc_message *messages;
	struct grpc_job *job;
	uint64_t n;
	bool done;

	while (read(b->event, &n, sizeof(n)) < 0 && errno == EINTR)
		;
	while ((job = take_ready(b, &messages, &done))) {
		void *owner = job->call ? job->owner : NULL;

		deliver(job, messages, done);
		if (done)
			grpc_job_free(b, job);
		if (owner)
			touched(owner);
	}
}

static void ignore_owner(void *owner)
{
	(void)owner;
}

/* Nobody waits any longer, for work or for the snapshotter. */
static void stop_threads(struct grpc_backend *b)
{
	unsigned i;

	pthread_mutex_lock(&b->lock);
	b->stopping = true;
	pthread_cond_broadcast(&b->work);
	pthread_cond_broadcast(&b->space);
	pthread_cond_broadcast(&b->health_work);
	for (i = 0; i < b->n_workers; i++)
		if (b->workers[i].fd >= 0)
			shutdown(b->workers[i].fd, SHUT_RDWR);
	pthread_mutex_unlock(&b->lock);
	for (i = 0; i < b->n_workers; i++)
		pthread_join(b->workers[i].thread, NULL);
	if (b->health_runs)
		pthread_join(b->health_thread, NULL);
}

void grpc_backend_free(struct grpc_backend *b)
{
	if (!b)
		return;
	stop_threads(b);
	grpc_backend_process(b, ignore_owner);
	while (b->calls.head) {
		struct grpc_job *job = b->calls.head;

		grpc_queue_drop(&b->calls, job, NULL);
		grpc_job_free(b, job);
	}
	pthread_cond_destroy(&b->health_work);
	pthread_cond_destroy(&b->space);
	pthread_cond_destroy(&b->work);
	pthread_mutex_destroy(&b->lock);
	close(b->event);
	free(b);
}
