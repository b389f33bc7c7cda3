/* SPDX-License-Identifier: Apache-2.0 */
#include "repeat.h"

#include <errno.h>
#include <time.h>

#include "driver/common/util.h"
#include "status.h"

int64_t grpc_repeat_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static const char *text_of(json_object *o, const char *key)
{
	json_object *v;

	if (!json_object_object_get_ex(o, key, &v) ||
	    !json_object_is_type(v, json_type_string))
		return "";
	return json_object_get_string(v);
}

/* Call with {"key": key}. 0, -EREMOTEIO with its status in *s, -errno. */
static int ask(const struct grpc_repeat_query *q, const char *method,
	       const char *key, json_object **reply, enum grpc_status *s)
{
	json_object *params = json_object_new_object();
	struct varlink_error e;
	int rc = -ENOMEM;

	if (params && json_object_object_add(params, "key",
					     json_object_new_string(key)) == 0)
		rc = varlink_call(q->client, method, params, q->timeout_ms,
				  reply, &e);
	json_object_put(params);
	if (rc == -EREMOTEIO)
		*s = grpc_status_of_error(e.name);
	return rc;
}

/* Labels that were asked for are there; the snapshotter may have added some. */
static bool has_labels(json_object *info, json_object *params)
{
	json_object *have = NULL, *want = NULL, *v;

	json_object_object_get_ex(info, "labels", &have);
	if (!json_object_object_get_ex(params, "labels", &want))
		return true;
	json_object_object_foreach(want, key, val)
	{
		if (!*json_object_get_string(val)) /* as if not given */
			continue;
		if (!json_object_object_get_ex(have, key, &v) ||
		    !json_object_equal(v, val))
			return false;
	}
	return true;
}

static bool made_since(const struct grpc_repeat_query *q, json_object *info,
		       const char *kind)
{
	json_object *created;

	return json_object_object_get_ex(info, "created_ns", &created) &&
	       json_object_get_int64(created) >= q->since_ns &&
	       str_eq(text_of(info, "kind"), kind) &&
	       has_labels(info, q->params);
}

/* 1: `name` is of this kind and made for this call; 0: no; -errno. */
static int is_ours(const struct grpc_repeat_query *q, const char *name,
		   const char *kind, bool with_parent)
{
	json_object *reply, *info = NULL;
	enum grpc_status s;
	int rc = ask(q, "io.daxfs.Snapshots.Stat", name, &reply, &s);

	if (rc == -EREMOTEIO)
		return 0;
	if (rc < 0)
		return rc;
	json_object_object_get_ex(reply, "info", &info);
	rc = made_since(q, info, kind) &&
	     (!with_parent ||
	      str_eq(text_of(info, "parent"), text_of(q->params, "parent")));
	json_object_put(reply);
	return rc;
}

static int settle_create(const struct grpc_repeat_query *q, json_object **reply)
{
	const char *key = text_of(q->params, "key");
	enum grpc_status s;
	int rc = is_ours(q, key, q->view ? "view" : "active", true);

	if (rc <= 0)
		return rc < 0 ? rc : -EREMOTEIO;
	return ask(q, "io.daxfs.Snapshots.Mounts", key, reply, &s);
}

static int settle_commit(const struct grpc_repeat_query *q, json_object **reply)
{
	json_object *key_info;
	enum grpc_status s = GRPC_OK;
	int rc = is_ours(q, text_of(q->params, "name"), "committed", false);

	if (rc <= 0)
		return rc < 0 ? rc : -EREMOTEIO;
	rc = ask(q, "io.daxfs.Snapshots.Stat", text_of(q->params, "key"),
		 &key_info, &s);
	if (rc == 0)
		json_object_put(key_info);
	if (rc < 0 && rc != -EREMOTEIO)
		return rc;
	if (s != GRPC_NOT_FOUND)
		return -EREMOTEIO;
	*reply = json_object_new_object();
	return *reply ? 0 : -ENOMEM;
}

int grpc_repeat_settle(const struct grpc_repeat_query *q,
		       const struct varlink_error *e, json_object **reply)
{
	enum grpc_status s = grpc_status_of_error(e->name);

	switch (q->repeat) {
	case GRPC_REPEAT_CREATE:
		return s == GRPC_ALREADY_EXISTS ? settle_create(q, reply)
						: -EREMOTEIO;
	case GRPC_REPEAT_COMMIT:
		/* by the name that is taken or the key that is gone */
		return s == GRPC_ALREADY_EXISTS || s == GRPC_NOT_FOUND
			       ? settle_commit(q, reply)
			       : -EREMOTEIO;
	case GRPC_REPEAT_REMOVE:
		if (s != GRPC_NOT_FOUND)
			return -EREMOTEIO;
		*reply = json_object_new_object();
		return *reply ? 0 : -ENOMEM;
	case GRPC_REPEAT_FREELY:
		break;
	}
	return -EREMOTEIO;
}
