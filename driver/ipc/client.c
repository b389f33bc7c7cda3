/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../common/log.h"
#include "internal.h"

struct varlink_client {
	int fd;
	int broken; /* -errno of the transport failure, or 0 */
	struct vbuf in, out;
};

int varlink_connect(const char *path, struct varlink_client **out)
{
	struct varlink_client *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->fd = socket_connect(path);
	if (c->fd < 0) {
		int rc = c->fd;

		free(c);
		return rc;
	}
	*out = c;
	return 0;
}

void varlink_close(struct varlink_client *c)
{
	int saved = errno;

	if (!c)
		return;
	close(c->fd);
	vbuf_free(&c->in);
	vbuf_free(&c->out);
	free(c);
	errno = saved;
}

int varlink_client_fd(const struct varlink_client *c)
{
	return c->fd;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* deadline -1: none. */
static int wait_for(int fd, short events, int64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = events };

	for (;;) {
		int64_t left = deadline < 0 ? -1 : deadline - now_ms();
		int n;

		if (deadline >= 0 && left < 0)
			left = 0;
		n = poll(&p, 1, (int)left);
		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int send_call(struct varlink_client *c, const char *method,
		     json_object *params, bool more, int64_t deadline)
{
	json_object *msg = json_object_new_object();
	int rc;

	if (!msg)
		return -ENOMEM;
	json_object_object_add(msg, "method", json_object_new_string(method));
	if (params)
		json_object_object_add(msg, "parameters",
				       json_object_get(params));
	if (more)
		json_object_object_add(msg, "more",
				       json_object_new_boolean(true));
	if (log_request())
		json_object_object_add(msg, "request",
				       json_object_new_string(log_request()));
	rc = message_append(&c->out, msg, VARLINK_MESSAGE_MAX + 1);
	json_object_put(msg);
	while (rc == 0) {
		rc = vbuf_send(&c->out, c->fd);
		if (rc != -EAGAIN)
			break;
		rc = wait_for(c->fd, POLLOUT, deadline);
	}
	return rc;
}

/* One message; *reply is owned by the caller. */
static int receive(struct varlink_client *c, int64_t deadline,
		   json_object **reply)
{
	ssize_t len, n;
	int rc;

	while ((len = vbuf_message(&c->in)) < 0) {
		n = vbuf_recv(&c->in, c->fd);
		if (n == 0)
			return -ECONNRESET;
		if (n == -EAGAIN)
			n = wait_for(c->fd, POLLIN, deadline);
		if (n < 0)
			return (int)n;
	}
	rc = message_parse(c->in.data + c->in.start, (size_t)len, reply);
	vbuf_consume(&c->in, (size_t)len + 1);
	return rc;
}

static int transport_failed(struct varlink_client *c, int rc,
			    struct varlink_error *e)
{
	c->broken = rc;
	if (e) {
		memset(e, 0, sizeof(*e));
		e->err = -rc;
		snprintf(e->message, sizeof(e->message), "%s",
			 rc == -ECONNRESET ? "the connection was closed"
			 : rc == -EBADMSG  ? "the reply is malformed"
					   : strerror(-rc));
	}
	return rc;
}

static json_object *take_parameters(json_object *msg)
{
	json_object *params;

	if (json_object_object_get_ex(msg, "parameters", &params) && params)
		return json_object_get(params);
	return json_object_new_object();
}

static bool is_true(json_object *msg, const char *key)
{
	json_object *o;

	return json_object_object_get_ex(msg, key, &o) &&
	       json_object_is_type(o, json_type_boolean) &&
	       json_object_get_boolean(o);
}

static bool has_error(json_object *msg)
{
	json_object *o;

	return json_object_object_get_ex(msg, "error", &o) && o;
}

/* The next reply: 0 with *params and *continues, -EREMOTEIO, -errno. */
static int next_reply(struct varlink_client *c, int timeout_ms,
		      json_object **params, bool *continues,
		      struct varlink_error *e)
{
	int64_t deadline = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
	json_object *msg;
	int rc = receive(c, deadline, &msg);

	if (rc < 0)
		return transport_failed(c, rc, e);
	if (has_error(msg)) {
		if (e)
			message_error(msg, e);
		json_object_put(msg);
		return -EREMOTEIO;
	}
	*continues = is_true(msg, "continues");
	*params = take_parameters(msg);
	json_object_put(msg);
	if (!*params)
		return transport_failed(c, -ENOMEM, e);
	if (!json_object_is_type(*params, json_type_object)) {
		json_object_put(*params);
		return transport_failed(c, -EBADMSG, e);
	}
	return 0;
}

static int begin_call(struct varlink_client *c, const char *method,
		      json_object *params, bool more, int timeout_ms,
		      struct varlink_error *e)
{
	int64_t deadline = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
	int rc;

	if (c->broken)
		return transport_failed(c, c->broken, e);
	rc = send_call(c, method, params, more, deadline);
	return rc < 0 ? transport_failed(c, rc, e) : 0;
}

int varlink_call(struct varlink_client *c, const char *method,
		 json_object *params, int timeout_ms, json_object **reply,
		 struct varlink_error *e)
{
	bool continues;
	int rc = begin_call(c, method, params, false, timeout_ms, e);

	if (rc == 0)
		rc = next_reply(c, timeout_ms, reply, &continues, e);
	if (rc == 0 && continues) { /* nobody asked for more */
		json_object_put(*reply);
		return transport_failed(c, -EBADMSG, e);
	}
	return rc;
}

int varlink_call_more(struct varlink_client *c, const char *method,
		      json_object *params, int timeout_ms,
		      int (*fn)(void *arg, json_object *params), void *arg,
		      struct varlink_error *e)
{
	bool continues = true;
	int rc = begin_call(c, method, params, true, timeout_ms, e);

	while (rc == 0 && continues) {
		json_object *reply;

		rc = next_reply(c, timeout_ms, &reply, &continues, e);
		if (rc < 0)
			break;
		rc = fn(arg, reply);
		json_object_put(reply);
		if (rc < 0 && continues) /* the rest is still to come */
			transport_failed(c, rc, e);
	}
	return rc;
}
