/* SPDX-License-Identifier: Apache-2.0 */
#include "confine_grpc.h"

#include <errno.h>
#include <json-c/json.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "driver/common/confine.h"
#include "driver/common/log.h"
#include "driver/common/util.h"
#include "server.h"

/* Connections, the snapshotter's, HTTP's, and what the loop has. */
#define FILES (2 * GRPC_CONNECTIONS_MAX + 128)

static const char *const calls[] = { "connect", NULL };

static const struct confine_rule rules[] = {
	/* to the snapshotter and the service manager */
	{ "socket", 0, UINT64_MAX, AF_UNIX, 0 },
	{ "prctl", 0, UINT64_MAX, PR_SET_NAME, 0 },
	/* threads; clone3 hides its flags, so glibc is to take clone */
	{ "clone", 0, CLONE_THREAD, CLONE_THREAD, 0 },
	{ "clone3", 0, 0, 0, ENOSYS },
	/*
	 * glibc's malloc looks into /proc before it gives memory back, and does
	 * without.
	 */
	{ "openat", 0, 0, 0, EACCES },
	{ "open", 0, 0, 0, EACCES },
	{ NULL, 0, 0, 0, 0 },
};

/* json-c takes a random seed, perhaps from a file, for its first object. */
static void warm_up(void)
{
	json_object *o = json_object_new_object();

	if (o)
		json_object_object_add(o, "a", NULL);
	json_object_put(o);
}

int grpc_confine(const char *user)
{
	struct confine c = {
		.uid = (uid_t)-1,
		.calls = calls,
		.rules = rules,
		.denied = CONFINE_KILL,
		.files = FILES,
		.secretive = true,
	};
	struct confine_error e;
	int rc = *user ? confine_find_user(user, &c.uid, &c.gid) : 0;

	if (rc == -ENOENT && str_eq(user, GRPC_USER)) {
		log_event(LOG_WARN,
			  "there is no such user: staying root, without "
			  "capabilities",
			  "user", user, NULL);
	} else if (rc < 0) {
		log_event(LOG_ERROR, "cannot look up the user to become",
			  "user", user, "error", log_err(rc), NULL);
		return -1;
	}
	warm_up();
	if (confine_apply(&c, &e) == 0)
		return 0;
	log_event(LOG_ERROR, "cannot confine the process", "error", e.text,
		  NULL);
	return -1;
}
