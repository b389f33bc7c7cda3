/* SPDX-License-Identifier: Apache-2.0 */
/* Upgrading daxfs-fuse in place. */
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "../common/log.h"
#include "../common/util.h"
#include "pool_client.h"

#define WAIT_MS 5000
#define STEP_MS 20

/* The process that serves the pool, 0: it cannot be asked. */
static pid_t server_pid(struct pool *p)
{
	json_object *reply = NULL, *o;
	struct failure f;
	pid_t pid = 0;

	if (pool_call(p, "GetRegion", json_object_new_object(), &reply, &f) < 0)
		return 0;
	if (json_object_object_get_ex(reply, "region", &o) &&
	    json_object_object_get_ex(o, "pid", &o))
		pid = (pid_t)json_object_get_int(o);
	json_object_put(reply);
	return pid;
}

/* Does it run what once was, and is no more, the file at `path`? */
static bool is_replaced(pid_t pid, const char *path)
{
	static const char gone[] = " (deleted)";
	char link[64], target[4096];
	struct stat installed;
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/exe", pid);
	n = readlink(link, target, sizeof(target) - 1);
	if (n < (ssize_t)sizeof(gone))
		return false;
	target[n] = '\0';
	n -= (ssize_t)strlen(gone);
	return str_eq(target + n, gone) && strlen(path) == (size_t)n &&
	       !strncmp(target, path, (size_t)n) && stat(path, &installed) == 0;
}

void pool_renew(struct pool *p)
{
	const struct timespec step = { .tv_nsec = STEP_MS * 1000000l };
	cleanup_free char *path = path_beside_us("daxfs-fuse");
	pid_t old = server_pid(p), now = old;

	if (!path || old <= 0 || !is_replaced(old, path))
		return;
	if (kill(old, SIGUSR2) < 0) {
		log_event(LOG_WARN, "daxfs-fuse cannot be told to leave",
			  "error", log_err(errno), NULL);
		return;
	}
	for (int ms = 0; ms < WAIT_MS && (now == old || !now); ms += STEP_MS) {
		nanosleep(&step, NULL);
		now = server_pid(p);
	}
	if (now == old || !now)
		log_event(LOG_WARN,
			  "daxfs-fuse goes on as it was installed before",
			  "pid", log_fmt("%d", old), NULL);
	else
		log_event(LOG_INFO, "daxfs-fuse upgraded", "pid",
			  log_fmt("%d", now), NULL);
}
