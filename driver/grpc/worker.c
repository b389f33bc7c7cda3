/* SPDX-License-Identifier: Apache-2.0 */
/* One thread that takes calls to the snapshotter and brings answers back. */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "driver/common/log.h"
#include "driver/common/util.h"
#include "driver/ipc/varlink.h"
#include "job.h"

struct attempt {
	struct grpc_worker *w;
	struct grpc_job *job;
	unsigned replies;
};

/* The descriptor is known under the lock, so that stopping can shut it down. */
static void set_client(struct grpc_worker *w, struct varlink_client *c)
{
	struct varlink_client *old = w->client;

	pthread_mutex_lock(&w->backend->lock);
	w->client = c;
	w->fd = c ? varlink_client_fd(c) : -1;
	if (c && w->backend->stopping)
		shutdown(w->fd, SHUT_RDWR);
	pthread_mutex_unlock(&w->backend->lock);
	varlink_close(old);
}

/* Between calls a connection is silent; one that is readable has ended. */
static bool client_alive(const struct grpc_worker *w)
{
	struct pollfd p = { .fd = varlink_client_fd(w->client),
			    .events = POLLIN };

	return poll(&p, 1, 0) == 0;
}

static int ensure_client(struct grpc_worker *w)
{
	struct varlink_client *c;
	int rc;

	if (w->client && client_alive(w))
		return 0;
	set_client(w, NULL);
	rc = varlink_connect(w->backend->path, &c);
	if (rc == 0)
		set_client(w, c);
	return rc;
}

static int on_reply(void *arg, json_object *params)
{
	struct attempt *a = arg;
	struct grpc_job *job = a->job;
	struct grpc_message *m;

	a->replies++;
	if (grpc_job_cancelled(a->w->backend, job))
		return -ECANCELED;
	m = grpc_method_response(job->method, params, &job->result);
	if (!m)
		return -EBADMSG;
	return grpc_job_post(a->w->backend, job, m);
}

static int time_left(const struct grpc_job *job)
{
	int64_t left = job->deadline_ms - grpc_now_ms();

	if (job->deadline_ms == INT64_MAX || left > GRPC_CALL_TIMEOUT_MS)
		return GRPC_CALL_TIMEOUT_MS;
	return left > 0 ? (int)left : 0;
}

static int call_once(struct attempt *a, json_object *params,
		     struct varlink_error *e)
{
	const struct grpc_method *m = a->job->method;
	json_object *reply;
	int rc;

	if (m->stream)
		return varlink_call_more(a->w->client, m->call, params,
					 time_left(a->job), on_reply, a, e);
	rc = varlink_call(a->w->client, m->call, params, time_left(a->job),
			  &reply, e);
	if (rc < 0)
		return rc;
	rc = on_reply(a, reply);
	json_object_put(reply);
	return rc;
}

/*
 * A restarted snapshotter leaves dead connections behind. What could not be
 * sent (EPIPE) was not done; where only the answer is missing it may have been,
 * and the call is made again only if that does not matter.
 */
static bool may_repeat(const struct attempt *a, int rc)
{
	return rc == -EPIPE ||
	       (rc == -ECONNRESET && !a->replies && a->job->method->repeatable);
}

static void explain(const struct attempt *a, int rc,
		    const struct varlink_error *e, bool connected)
{
	const char *path = a->w->backend->path;
	struct grpc_result *r = &a->job->result;

	if (r->status != GRPC_OK) /* a bad reply, explained already */
		return;
	if (rc == -EREMOTEIO)
		grpc_fail(r, grpc_status_of_error(e->name), "%s",
			  e->message[0] ? e->message : e->name);
	else if (!connected)
		grpc_fail(r, GRPC_UNAVAILABLE,
			  "cannot reach the snapshotter at %s: %s; is "
			  "daxfs-snapshotter running?",
			  path, log_err(-rc));
	else if (rc == -ETIMEDOUT)
		grpc_fail(r, GRPC_DEADLINE_EXCEEDED,
			  "the snapshotter did not answer in time");
	else if (rc == -ECONNRESET)
		grpc_fail(r, GRPC_UNAVAILABLE,
			  "the snapshotter ended during the call, which may "
			  "or may not have been done");
	else
		grpc_fail(r, grpc_status_of_errno(rc),
			  "the call to the snapshotter at %s failed: %s", path,
			  log_err(-rc));
}

static void make_call(struct grpc_worker *w, struct grpc_job *job,
		      json_object *params)
{
	struct attempt a = { .w = w, .job = job };
	struct varlink_error e = { 0 };
	bool connected;
	int rc, i;

	for (i = 0; i < 2; i++) {
		rc = ensure_client(w);
		connected = rc == 0;
		if (!connected)
			break;
		rc = call_once(&a, params, &e);
		if (rc == 0)
			return;
		if (rc == -EREMOTEIO)
			break;
		set_client(w, NULL);
		if (!may_repeat(&a, rc))
			break;
	}
	explain(&a, rc, &e, connected);
}

static void log_call(struct grpc_backend *b, struct grpc_job *job)
{
	enum grpc_status s = job->result.status;
	bool bad = s == GRPC_UNKNOWN || s == GRPC_INTERNAL ||
		   s == GRPC_UNAVAILABLE || s == GRPC_DEADLINE_EXCEEDED ||
		   s == GRPC_RESOURCE_EXHAUSTED;

	if (grpc_job_cancelled(b, job)) /* nobody hears what it ended with */
		bad = false;
	log_event(bad ? LOG_WARN : LOG_DEBUG, "call", "method",
		  job->method->path, "status", grpc_status_name(s), "error",
		  job->result.text, "ms",
		  log_fmt("%lld", (long long)(grpc_now_ms() - job->started_ms)),
		  NULL);
}

static void run(struct grpc_worker *w, struct grpc_job *job)
{
	json_object *params = NULL;

	if (grpc_job_cancelled(w->backend, job))
		grpc_fail(&job->result, GRPC_CANCELLED, "cancelled");
	else
		params = grpc_method_request(job->method, job->body,
					     job->body_len, &job->result);
	if (params) {
		make_call(w, job, params);
		json_object_put(params);
	}
	log_call(w->backend, job);
	grpc_job_done(w->backend, job);
}

void *grpc_worker_main(void *arg)
{
	struct grpc_worker *w = arg;
	struct grpc_job *job;

	while ((job = grpc_job_take(w->backend)))
		run(w, job);
	set_client(w, NULL);
	return NULL;
}
