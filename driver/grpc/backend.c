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

int64_t grpc_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int grpc_backend_new(const char *socket_path, struct grpc_budget *budget,
		     struct grpc_backend **out)
{
	struct grpc_backend *b = calloc(1, sizeof(*b));
	int rc;

	if (!b)
		return -ENOMEM;
	b->path = socket_path;
	b->budget = budget;
	b->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->event < 0) {
		rc = -errno;
		free(b);
		return rc;
	}
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->work, NULL);
	pthread_cond_init(&b->space, NULL);
	*out = b;
	return 0;
}

int grpc_backend_fd(const struct grpc_backend *b)
{
	return b->event;
}

/* ---- Jobs ---------------------------------------------------------------- */

static void job_free(struct grpc_backend *b, struct grpc_job *job)
{
	while (job->first) {
		struct grpc_message *m = job->first;

		job->first = m->next;
		free(m);
	}
	grpc_budget_release(b->budget, job->charge);
	free(job->body);
	free(job);
}

static void queue_job(struct grpc_backend *b, struct grpc_job *job)
{
	if (b->tail)
		b->tail->next = job;
	else
		b->head = job;
	b->tail = job;
	b->queued++;
}

static void unqueue_job(struct grpc_backend *b, struct grpc_job *job,
			struct grpc_job *prev)
{
	if (prev)
		prev->next = job->next;
	else
		b->head = job->next;
	if (b->tail == job)
		b->tail = prev;
	job->next = NULL;
	b->queued--;
}

/* Streams may wait for slow clients: they never take all the workers. */
static struct grpc_job *next_job(struct grpc_backend *b)
{
	struct grpc_job *job, *prev = NULL;

	for (job = b->head; job; prev = job, job = job->next) {
		if (job->method->stream &&
		    b->streaming >= GRPC_STREAM_WORKERS_MAX)
			continue;
		unqueue_job(b, job, prev);
		if (job->method->stream)
			b->streaming++;
		job->running = true;
		return job;
	}
	return NULL;
}

struct grpc_job *grpc_job_take(struct grpc_backend *b)
{
	struct grpc_job *job = NULL;

	pthread_mutex_lock(&b->lock);
	while (!b->stopping && !(job = next_job(b))) {
		b->idle++;
		pthread_cond_wait(&b->work, &b->lock);
		b->idle--;
	}
	pthread_mutex_unlock(&b->lock);
	return job;
}

static void make_ready(struct grpc_backend *b, struct grpc_job *job)
{
	static const uint64_t one = 1;

	if (job->ready)
		return;
	job->ready = true;
	job->next_ready = NULL;
	if (b->ready_tail) {
		b->ready_tail->next_ready = job;
	} else {
		b->ready_head = job;
		/* cannot fail: the counter is far from its end */
		while (write(b->event, &one, sizeof(one)) < 0 && errno == EINTR)
			;
	}
	b->ready_tail = job;
}

int grpc_job_post(struct grpc_backend *b, struct grpc_job *job,
		  struct grpc_message *m)
{
	bool wanted;

	pthread_mutex_lock(&b->lock);
	while (!b->stopping && !job->cancelled && job->queued >= GRPC_QUEUE_MAX)
		pthread_cond_wait(&b->space, &b->lock);
	wanted = !b->stopping && !job->cancelled;
	if (wanted) {
		m->next = NULL;
		if (job->last)
			job->last->next = m;
		else
			job->first = m;
		job->last = m;
		job->queued += m->len;
		if (job->method->stream) /* else it goes with the result */
			make_ready(b, job);
	}
	pthread_mutex_unlock(&b->lock);
	if (wanted)
		return 0;
	free(m);
	return -ECANCELED;
}

void grpc_job_done(struct grpc_backend *b, struct grpc_job *job)
{
	pthread_mutex_lock(&b->lock);
	if (job->method->stream) {
		b->streaming--;
		pthread_cond_signal(&b->work); /* another stream may run */
	}
	job->done = true;
	make_ready(b, job);
	pthread_mutex_unlock(&b->lock);
}

bool grpc_job_cancelled(struct grpc_backend *b, struct grpc_job *job)
{
	bool yes;

	pthread_mutex_lock(&b->lock);
	yes = b->stopping || job->cancelled;
	pthread_mutex_unlock(&b->lock);
	return yes;
}

/* ---- The owner's side ---------------------------------------------------- */

/* Signals are for the main thread alone. */
static int start_worker(struct grpc_backend *b)
{
	struct grpc_worker *w = &b->workers[b->n_workers];
	pthread_attr_t attr;
	sigset_t all, old;
	int rc;

	w->backend = b;
	w->fd = -1;
	rc = pthread_attr_init(&attr);
	if (rc)
		return -rc;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_attr_setstacksize(&attr, STACK_SIZE);
	if (!rc)
		rc = pthread_create(&w->thread, &attr, grpc_worker_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (!rc)
		b->n_workers++;
	return -rc;
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
	bool more;
	int rc = 0;

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
	more = b->queued >= b->idle && b->n_workers < GRPC_WORKERS_MAX;
	if (more)
		rc = start_worker(b);
	if (rc == 0 || b->n_workers) {
		queue_job(b, job);
		pthread_cond_signal(&b->work);
	}
	more = b->n_workers > 0;
	pthread_mutex_unlock(&b->lock);
	if (!more) {
		job_free(b, job);
		refuse(call, log_err(-rc));
		return;
	}
	grpc_call_set_user(call, job);
}

void grpc_backend_gone(struct grpc_backend *b, struct grpc_call *call)
{
	struct grpc_job *job = grpc_call_user(call);
	struct grpc_job *i, *prev = NULL;
	bool waiting = false;

	if (!job)
		return;
	grpc_call_set_user(call, NULL);
	job->call = NULL;
	pthread_mutex_lock(&b->lock);
	job->cancelled = true;
	if (!job->running) {
		for (i = b->head; i && i != job; i = i->next)
			prev = i;
		unqueue_job(b, job, prev);
		waiting = true;
	}
	pthread_cond_broadcast(&b->space);
	pthread_mutex_unlock(&b->lock);
	if (waiting)
		job_free(b, job);
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
			job_free(b, job);
		if (owner)
			touched(owner);
	}
}

static void ignore_owner(void *owner)
{
	(void)owner;
}

void grpc_backend_free(struct grpc_backend *b)
{
	unsigned i;

	if (!b)
		return;
	pthread_mutex_lock(&b->lock);
	b->stopping = true;
	pthread_cond_broadcast(&b->work);
	pthread_cond_broadcast(&b->space);
	for (i = 0; i < b->n_workers; i++)
		if (b->workers[i].fd >= 0)
			shutdown(b->workers[i].fd, SHUT_RDWR);
	pthread_mutex_unlock(&b->lock);
	for (i = 0; i < b->n_workers; i++)
		pthread_join(b->workers[i].thread, NULL);
	grpc_backend_process(b, ignore_owner);
	while (b->head) {
		struct grpc_job *job = b->head;

		unqueue_job(b, job, NULL);
		job_free(b, job);
	}
	pthread_cond_destroy(&b->space);
	pthread_cond_destroy(&b->work);
	pthread_mutex_destroy(&b->lock);
	close(b->event);
	free(b);
}
