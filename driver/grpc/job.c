/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs between threads: queues, cancelling, passing on what was answered. */
#include "job.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "driver/common/log.h"
#include "driver/common/util.h"

int64_t grpc_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void grpc_wait_until(struct grpc_backend *b, pthread_cond_t *cond, int64_t when)
{
	const struct timespec ts = { .tv_sec = when / 1000,
				     .tv_nsec = when % 1000 * 1000000 };

	pthread_cond_timedwait(cond, &b->lock, &ts);
}

/* ---- Queues -------------------------------------------------------------- */

void grpc_job_free(struct grpc_backend *b, struct grpc_job *job)
{
	while (job->first) {
		struct grpc_message *m = job->first;

		job->first = m->next;
		free(m);
	}
	grpc_budget_release(b->o.budget, job->charge);
	free(job->body);
	free(job);
}

void grpc_queue_push(struct grpc_queue *q, struct grpc_job *job)
{
	job->next = NULL;
	if (q->tail)
		q->tail->next = job;
	else
		q->head = job;
	q->tail = job;
	q->n++;
}

void grpc_queue_drop(struct grpc_queue *q, struct grpc_job *job,
		     struct grpc_job *prev)
{
	if (prev)
		prev->next = job->next;
	else
		q->head = job->next;
	if (q->tail == job)
		q->tail = prev;
	job->next = NULL;
	q->n--;
}

/*
 * Streams may wait for slow clients: they never take all the workers, nor one
 * client's streams all of the streams' workers.
 */
static bool stream_may_run(const struct grpc_backend *b,
			   const struct grpc_job *job)
{
	unsigned i, same = 0;

	if (b->streaming >= GRPC_STREAM_WORKERS_MAX)
		return false;
	for (i = 0; i < b->n_workers; i++) {
		const struct grpc_job *other = b->workers[i].job;

		if (other && other->method->stream &&
		    other->owner == job->owner)
			same++;
	}
	return same < GRPC_STREAM_WORKERS_EACH;
}

static struct grpc_job *next_job(struct grpc_worker *w)
{
	struct grpc_backend *b = w->backend;
	struct grpc_job *job, *prev = NULL;

	for (job = b->calls.head; job; prev = job, job = job->next) {
		if (job->method->stream && !stream_may_run(b, job))
			continue;
		grpc_queue_drop(&b->calls, job, prev);
		if (job->method->stream)
			b->streaming++;
		job->running = true;
		job->worker = w;
		w->job = job;
		return job;
	}
	return NULL;
}

struct grpc_job *grpc_job_take(struct grpc_worker *w)
{
	struct grpc_backend *b = w->backend;
	struct grpc_job *job = NULL;

	pthread_mutex_lock(&b->lock);
	while (!b->stopping && !(job = next_job(w))) {
		b->idle++;
		pthread_cond_wait(&b->work, &b->lock);
		b->idle--;
	}
	pthread_mutex_unlock(&b->lock);
	return job;
}

/* ---- News ---------------------------------------------------------------- */

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
	if (job->worker) {
		job->worker->job = NULL;
		job->worker = NULL;
		if (job->method->stream) {
			b->streaming--;
			pthread_cond_signal(&b->work); /* another may run */
		}
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

bool grpc_job_sleep(struct grpc_backend *b, struct grpc_job *job, int64_t ms)
{
	int64_t until = grpc_now_ms() + ms;
	bool wanted;

	pthread_mutex_lock(&b->lock);
	while ((wanted = !b->stopping && !job->cancelled) &&
	       grpc_now_ms() < until)
		grpc_wait_until(b, &b->space, until);
	pthread_mutex_unlock(&b->lock);
	return wanted;
}

void grpc_job_log(struct grpc_backend *b, struct grpc_job *job)
{
	enum grpc_status s = job->result.status;
	int64_t ms = grpc_now_ms() - job->started_ms;
	/* a stream lasts as long as its client likes */
	bool slow = b->o.slow_call_ms && ms >= b->o.slow_call_ms &&
		    !job->method->stream;
	bool bad = s == GRPC_UNKNOWN || s == GRPC_INTERNAL ||
		   s == GRPC_UNAVAILABLE || s == GRPC_DEADLINE_EXCEEDED ||
		   s == GRPC_RESOURCE_EXHAUSTED;

	if (grpc_job_cancelled(b, job)) /* nobody hears what it ended with */
		bad = false;
	log_event(bad || slow ? LOG_WARN : LOG_DEBUG,
		  slow ? "slow call" : "call", "method", job->method->path,
		  "status", grpc_status_name(s), "error", job->result.text,
		  "ms", log_fmt("%lld", (long long)ms), NULL);
}
