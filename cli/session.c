/* SPDX-License-Identifier: Apache-2.0 */
/* The branches of a region: asked of its server, or done here without one. */
#include <stdio.h>
#include <time.h>

#include "cli.h"

#define CALL_TIMEOUT_MS 60000
/* A server that starts or ends, or another tool, holds a region this long. */
#define RETRY_MS 5000
#define RETRY_STEP_MS 20
/* One that listens has this long to notice that its last mount is gone. */
#define NOTICE_MS 500
#define RETRIES_MAX 50

static void pause_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

/* 0: connected; 1: nobody listens; -errno. */
static int connect_server(struct session *s)
{
	cleanup_free char *path = region_control_path(s->region, NULL);
	int rc;

	if (!path)
		return -errno; /* of the region */
	rc = varlink_connect(path, &s->client);
	if (rc == -ENOENT || rc == -ECONNREFUSED || rc == -ENOTDIR)
		return 1;
	return rc;
}

static int open_here(struct session *s, bool readonly,
		     struct daxfs_message *msg)
{
	int rc = region_file_open(s->region, readonly ? REGION_READONLY : 0,
				  &s->file, msg);

	if (rc < 0)
		return rc;
	rc = daxfs_region_open(&s->file.backing, 0, &s->r, msg);
	if (rc < 0) {
		char text[sizeof(msg->text)];

		memcpy(text, msg->text, sizeof(text));
		snprintf(msg->text, sizeof(msg->text), "'%.100s': %.150s",
			 s->region, text);
		region_file_close(&s->file);
		return rc;
	}
	s->service.region = s->r;
	s->service.path = s->file.path;
	branches_interface(&s->service, &s->iface);
	return 0;
}

int session_connect(const char *program, const char *region, struct session *s)
{
	int rc;

	memset(s, 0, sizeof(*s));
	s->program = program;
	s->region = region;
	rc = connect_server(s);
	if (rc == -ENOENT)
		cli_error(program, "'%s': %s", region, log_err(ENOENT));
	else if (rc < 0)
		cli_error(program, "'%s': cannot reach its server: %s", region,
			  log_err(-rc));
	return rc;
}

bool session_wait(const char *region, int *waited_ms)
{
	struct session s = { .region = region };
	int limit = RETRY_MS;

	if (connect_server(&s) <= 0)
		limit = NOTICE_MS;
	varlink_close(s.client);
	if (*waited_ms >= limit)
		return false;
	pause_ms(RETRY_STEP_MS);
	*waited_ms += RETRY_STEP_MS;
	return true;
}

bool session_open(const char *program, const char *region, bool readonly,
		  struct session *s)
{
	struct daxfs_message msg = { { 0 } };
	int waited = 0, rc;

	for (;;) {
		rc = session_connect(program, region, s);
		s->readonly = readonly;
		if (rc <= 0)
			return rc == 0;
		rc = open_here(s, readonly, &msg);
		if (rc != -EWOULDBLOCK || waited >= RETRY_MS)
			break;
		pause_ms(RETRY_STEP_MS);
		waited += RETRY_STEP_MS;
	}
	if (rc < 0)
		cli_error(program, "%s", msg.text);
	return rc == 0;
}

void session_close(struct session *s)
{
	varlink_close(s->client);
	if (s->r)
		daxfs_region_close(s->r);
	region_file_close(&s->file);
	s->client = NULL;
	s->r = NULL;
}

/* Replies that come in pieces: arrays are joined, the rest is the last one's. */
static int join_reply(void *arg, json_object *params)
{
	json_object **all = arg;

	if (!*all)
		*all = json_object_new_object();
	json_object_object_foreach(params, key, v)
	{
		json_object *have;

		if (!json_object_object_get_ex(*all, key, &have) ||
		    !json_object_is_type(have, json_type_array)) {
			cli_json_add(*all, key, json_object_get(v));
			continue;
		}
		for (size_t i = 0; i < json_object_array_length(v); i++)
			json_object_array_add(have,
					      json_object_get(
						      json_object_array_get_idx(v,
										i)));
	}
	return 0;
}

static int call_once(struct session *s, const char *method, json_object *params,
		     json_object **reply, struct varlink_error *e)
{
	cleanup_free char *full = str_printf("io.daxfs.Branches.%s", method);
	int rc;

	if (!full)
		return -ENOMEM;
	if (!s->client)
		return varlink_call_local(&s->iface, method, params, reply, e);
	rc = varlink_call_more(s->client, full, params, CALL_TIMEOUT_MS,
			       join_reply, reply, e);
	if (rc < 0) {
		json_object_put(*reply);
		*reply = NULL;
	}
	return rc;
}

/* The server was ending: what it has not answered it has not done. */
static bool was_ending(const struct session *s, int rc,
		       const struct varlink_error *e)
{
	return s->client && (rc == -ECONNRESET || rc == -EPIPE ||
			     (rc == -EREMOTEIO && e->err == ESHUTDOWN));
}

json_object *session_call(struct session *s, const char *method,
			  json_object *params)
{
	struct varlink_error e = { 0 };
	json_object *reply = NULL;
	int tries = 0, rc;

	for (;;) {
		rc = call_once(s, method, params, &reply, &e);
		if (!was_ending(s, rc, &e) || ++tries > RETRIES_MAX)
			break;
		session_close(s);
		if (!session_open(s->program, s->region, s->readonly, s)) {
			json_object_put(params);
			return NULL;
		}
		memset(&e, 0, sizeof(e));
	}
	json_object_put(params);
	if (rc == 0)
		return reply;
	if (rc == -EREMOTEIO && e.message[0])
		cli_error(s->program, "%s", e.message);
	else if (rc == -EREMOTEIO)
		cli_error(s->program, "'%s': %s: %s", s->region, method,
			  e.name);
	else
		cli_error(s->program, "'%s': its server does not answer: %s",
			  s->region, log_err(-rc));
	return NULL;
}
