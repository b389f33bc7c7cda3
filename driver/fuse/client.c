/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>

#include "../common/log.h"
#include "../common/util.h"
#include "server.h"

#define CALL_MS 60000

static int add(json_object *o, const char *key, json_object *value)
{
	if (value && !json_object_object_add(o, key, value))
		return 0;
	json_object_put(value);
	return -ENOMEM;
}

json_object *client_parameters(const struct mount_request *r)
{
	json_object *o = json_object_new_object();
	int rc;

	if (!o)
		return NULL;
	rc = add(o, "name", json_object_new_string(r->branch));
	rc = rc ? rc
		: add(o, "mountpoint", json_object_new_string(r->mountpoint));
	rc = rc ? rc : add(o, "readonly", json_object_new_boolean(r->readonly));
	rc = rc ? rc : add(o, "noatime", json_object_new_boolean(r->noatime));
	if (!rc && r->parent)
		rc = add(o, "parent", json_object_new_string(r->parent));
	if (!rc && r->persistent)
		rc = add(o, "persistent", json_object_new_boolean(true));
	if (rc) {
		json_object_put(o);
		return NULL;
	}
	return o;
}

static int call(struct varlink_client *c, const struct mount_request *r,
		struct varlink_error *e)
{
	json_object *params = client_parameters(r), *reply = NULL;
	int rc;

	if (!params)
		return -ENOMEM;
	rc = varlink_call(c,
			  r->parent ? "io.daxfs.Branches.Create"
				    : "io.daxfs.Branches.Mount",
			  params, CALL_MS, &reply, e);
	json_object_put(params);
	json_object_put(reply);
	return rc;
}

int client_mount(const struct mount_request *r, char *message, size_t size)
{
	cleanup_free char *path = region_control_path(r->region, r->state);
	struct varlink_client *c = NULL;
	struct varlink_error e = { .err = 0 };
	int rc;

	if (!path) {
		rc = -errno;
		snprintf(message, size, "'%s': %s", r->region, log_err(-rc));
		return rc;
	}
	rc = varlink_connect(path, &c);
	if (rc == -ENOENT || rc == -ECONNREFUSED)
		return 1;
	if (!rc)
		rc = call(c, r, &e);
	varlink_close(c);
	if (!rc)
		return 0;
	/* It is ending: what it has not answered it has not done. */
	if (rc == -ECONNRESET || rc == -EPIPE ||
	    (rc == -EREMOTEIO && e.err == ESHUTDOWN))
		return 1;
	snprintf(message, size, "%s",
		 rc == -EREMOTEIO ? e.message : log_err(-rc));
	return rc == -EREMOTEIO && e.err ? -e.err : rc;
}

bool client_alive(const struct mount_request *r)
{
	cleanup_free char *path = region_control_path(r->region, r->state);
	struct varlink_client *c = NULL;
	bool alive = path && !varlink_connect(path, &c);

	varlink_close(c);
	return alive;
}

int client_wait_gone(const char *mountpoint)
{
	cleanup_close int fd =
		open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	struct attach_info was, now;
	int rc;

	if (fd < 0)
		return -errno;
	rc = attach_info(AT_FDCWD, mountpoint, &was);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	for (;;) {
		/* Readable in this way whenever a mount comes or goes. */
		struct pollfd p = { .fd = fd, .events = POLLPRI };

		rc = attach_info(AT_FDCWD, mountpoint, &now);
		if (rc == -ENOENT || (!rc && now.mnt_id != was.mnt_id))
			return 0;
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return -errno;
	}
}
