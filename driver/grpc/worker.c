/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread that takes calls to the snapshotter and brings answers back.
 *
 * A snapshotter that is being restarted is waited for, and a call whose answer
 * it took along is made again: repeat.h tells what the second answer means.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "driver/common/log.h"
#include "driver/common/util.h"
#include "driver/ipc/varlink.h"
#include "job.h"
#include "repeat.h"

#define PAUSE_MIN_MS 5
#define PAUSE_MAX_MS 200

struct attempt {
	struct grpc_worker *w;
	struct grpc_job *job;
	json_object *params;
	int64_t since_ns; /* the first one, by the clock of snapshots' times */
	unsigned replies;
	bool connected;
	bool lost; /* an answer was, perhaps after the deed */
	struct varlink_error error;
};

/*
 * The descriptor is known under the lock, so that a cancelled call, or the end,
 * can shut it down.
 */
static void set_client(struct grpc_worker *w, struct varlink_client *c)
{
	struct varlink_client *old = w->client;
	struct grpc_backend *b = w->backend;

	pthread_mutex_lock(&b->lock);
	w->client = c;
	w->fd = c ? varlink_client_fd(c) : -1;
	if (c && (b->stopping || (w->job && w->job->cancelled)))
		shutdown(w->fd, SHUT_RDWR);
	pthread_mutex_unlock(&b->lock);
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
	rc = varlink_connect(w->backend->o.path, &c);
	if (rc == 0)
		set_client(w, c);
	return rc;
}

/* Nobody listens, as while it restarts; other errors do not go by themselves. */
static bool is_away(int rc)
{
	return rc == -ENOENT || rc == -ECONNREFUSED || rc == -ECONNRESET ||
	       rc == -ETIMEDOUT;
}

static int connect_patiently(struct attempt *a)
{
	struct grpc_backend *b = a->w->backend;
	int64_t until = grpc_now_ms() + b->o.wait_ms, left;
	int64_t pause = PAUSE_MIN_MS;
	int rc;

	for (;;) {
		if (grpc_job_cancelled(b, a->job))
			return -ECANCELED;
		rc = ensure_client(a->w);
		left = until - grpc_now_ms();
		if (rc == 0 || !is_away(rc) || left <= 0)
			return rc;
		grpc_job_sleep(b, a->job, pause < left ? pause : left);
		if (pause < PAUSE_MAX_MS)
			pause *= 2;
	}
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

/* The snapshotter said no. Did it say yes before, when nobody heard it? */
static int ask_again(struct attempt *a)
{
	const struct grpc_repeat_query q = {
		.repeat = a->job->method->repeat,
		.client = a->w->client,
		.params = a->params,
		.since_ns = a->since_ns,
		.timeout_ms = time_left(a->job),
		.view = str_eq(a->job->method->call, "io.daxfs.Snapshots.View"),
	};
	json_object *reply;
	int rc;

	if (!a->lost)
		return -EREMOTEIO;
	rc = grpc_repeat_settle(&q, &a->error, &reply);
	if (rc < 0)
		return rc;
	log_event(LOG_INFO, "call was done before its answer was lost",
		  "method", a->job->method->path, NULL);
	rc = on_reply(a, reply);
	json_object_put(reply);
	return rc;
}

static int call_once(struct attempt *a)
{
	const struct grpc_method *m = a->job->method;
	json_object *reply;
	int rc;

	if (m->stream)
		return varlink_call_more(a->w->client, m->call, a->params,
					 time_left(a->job), on_reply, a,
					 &a->error);
	rc = varlink_call(a->w->client, m->call, a->params, time_left(a->job),
			  &reply, &a->error);
	if (rc == -EREMOTEIO)
		return ask_again(a);
	if (rc < 0)
		return rc;
	rc = on_reply(a, reply);
	json_object_put(reply);
	return rc;
}

/* What could not be sent (EPIPE) was not done. */
static bool may_repeat(struct attempt *a, int rc)
{
	if (rc == -ECONNRESET && !a->replies)
		a->lost = true;
	else if (rc != -EPIPE)
		return false;
	return !grpc_job_cancelled(a->w->backend, a->job);
}

static void explain(const struct attempt *a, int rc)
{
	const char *path = a->w->backend->o.path;
	struct grpc_result *r = &a->job->result;
	const struct varlink_error *e = &a->error;

	if (r->status != GRPC_OK) /* a bad reply, explained already */
		return;
	if (rc == -EREMOTEIO)
		grpc_fail(r, grpc_status_of_error(e->name), "%s",
			  e->message[0] ? e->message : e->name);
	else if (!a->connected)
		grpc_fail(r, GRPC_UNAVAILABLE,
			  "cannot reach the snapshotter at %s: %s; is "
			  "daxfs-snapshotter running?%s",
			  path, log_err(-rc),
			  a->lost ? " The call may have been done." : "");
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
	struct attempt a = { .w = w,
			     .job = job,
			     .params = params,
			     .since_ns = grpc_repeat_clock() };
	int rc, i;

	for (i = 0; i < GRPC_ATTEMPTS_MAX; i++) {
		rc = connect_patiently(&a);
		a.connected = rc == 0;
		if (!a.connected)
			break;
		rc = call_once(&a);
		if (rc == 0)
			return;
		if (rc == -EREMOTEIO)
			break;
		set_client(w, NULL);
		if (!may_repeat(&a, rc))
			break;
	}
	explain(&a, rc);
}

static void run(struct grpc_worker *w, struct grpc_job *job)
{
	char request[LOG_REQUEST_MAX + 1];
	json_object *params = NULL;

	log_request_new(request);
	log_request_set(request);
	if (grpc_job_cancelled(w->backend, job))
		grpc_fail(&job->result, GRPC_CANCELLED, "cancelled");
	else
		params = grpc_method_request(job->method, job->body,
					     job->body_len, &job->result);
	if (params) {
		make_call(w, job, params);
		json_object_put(params);
	}
	grpc_job_log(w->backend, job);
	log_request_set(NULL);
	grpc_job_done(w->backend, job);
}

void *grpc_worker_main(void *arg)
{
	struct grpc_worker *w = arg;
	struct grpc_job *job;

	while ((job = grpc_job_take(w)))
		run(w, job);
	set_client(w, NULL);
	return NULL;
}
