/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grpc.health.v1: we serve when the snapshotter answers. One thread asks it,
 * for all who check at once and, while somebody watches, now and then.
 */
#include <errno.h>

#include "ask.h"
#include "driver/common/log.h"
#include "driver/common/util.h"
#include "job.h"

#define WATCH_MS 1000 /* from one look to the next */
#define SERVED "containerd.services.snapshots.v1.Snapshots"

/* As on the wire. */
enum { SERVING = 1, NOT_SERVING = 2, SERVICE_UNKNOWN = 3 };

struct health {
	struct grpc_backend *b;
	struct grpc_job *jobs; /* checks to answer, and watchers */
	bool leaving;          /* nobody watches any more */
	int64_t look_at;       /* for the watchers */
};

/* Something to do, with new jobs in h->jobs; false: stopping. */
static bool wait_for_work(struct health *h)
{
	struct grpc_backend *b = h->b;
	bool go_on;

	pthread_mutex_lock(&b->lock);
	while (!b->stopping && !b->watcher_left && !b->health.head &&
	       !(h->jobs && h->look_at <= grpc_now_ms())) {
		if (h->jobs)
			grpc_wait_until(b, &b->health_work, h->look_at);
		else
			pthread_cond_wait(&b->health_work, &b->lock);
	}
	while (b->health.head) {
		struct grpc_job *job = b->health.head;

		grpc_queue_drop(&b->health, job, NULL);
		job->next = h->jobs;
		h->jobs = job;
	}
	b->watcher_left = false;
	h->leaving = b->leaving;
	go_on = !b->stopping;
	pthread_mutex_unlock(&b->lock);
	return go_on;
}

static bool is_known(json_object *params)
{
	json_object *o;
	const char *s;

	if (!json_object_object_get_ex(params, "service", &o))
		return false;
	s = json_object_get_string(o);
	return !*s || str_eq(s, SERVED);
}

/* 0, or -1: the job has ended with what its result says. */
static int tell(struct health *h, struct grpc_job *job, int status)
{
	json_object *reply = json_object_new_object();
	struct grpc_message *m = NULL;

	job->told = status;
	if (reply && json_object_object_add(reply, "status",
					    json_object_new_int(status)) == 0)
		m = grpc_method_response(job->method, reply, &job->result);
	else
		grpc_fail(&job->result, GRPC_RESOURCE_EXHAUSTED, "no memory");
	json_object_put(reply);
	return m ? grpc_job_post(h->b, job, m) : -1;
}

/* True: the job is done. */
static bool answer(struct health *h, struct grpc_job *job, int status)
{
	json_object *params;
	bool known;

	if (grpc_job_cancelled(h->b, job))
		return true;
	if (h->leaving && job->method->stream) {
		grpc_fail(&job->result, GRPC_UNAVAILABLE,
			  "the server is stopping");
		return true;
	}
	if (job->told == SERVICE_UNKNOWN || job->told == status)
		return false;
	params = grpc_method_request(job->method, job->body, job->body_len,
				     &job->result);
	if (!params)
		return true;
	known = is_known(params);
	json_object_put(params);
	if (known)
		return tell(h, job, status) < 0 || !job->method->stream;
	if (job->method->stream)
		return tell(h, job, SERVICE_UNKNOWN) < 0;
	grpc_fail(&job->result, GRPC_NOT_FOUND, "unknown service");
	return true;
}

static void answer_all(struct health *h, int status)
{
	struct grpc_job **p = &h->jobs;

	while (*p) {
		struct grpc_job *job = *p;

		if (!answer(h, job, status)) {
			p = &job->next;
			continue;
		}
		*p = job->next;
		grpc_job_log(h->b, job);
		grpc_job_done(h->b, job);
	}
}

void *grpc_health_main(void *backend)
{
	struct health h = { .b = backend };

	while (wait_for_work(&h)) {
		struct grpc_ask_failure f;
		int rc = grpc_ask_alive(h.b->o.path, &f);

		answer_all(&h, rc == 0 ? SERVING : NOT_SERVING);
		h.look_at = grpc_now_ms() + WATCH_MS;
	}
	answer_all(&h, NOT_SERVING); /* all are cancelled */
	return NULL;
}
