/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving up what a daemon does not need once it has opened what it does:
 * another user, capabilities, new privileges by exec, system calls. None of it
 * can be had back, by the process, its threads or its children.
 */
#ifndef DAXFS_CONFINE_H
#define DAXFS_CONFINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/capability.h>
#include <sys/resource.h>
#include <sys/types.h>

/* For a system call where more is to be said than its name. */
struct confine_rule {
	const char *name; /* NULL ends the table */
	/* Allowed where (argument & mask) == value … */
	unsigned argument;
	uint64_t mask, value;
	/* … or, if this is not 0, never, and answered with it. */
	int error;
};

/* What becomes of other system calls. */
enum confine_denied {
	/* The process ends with SIGSYS, and a line in the log says by what. */
	CONFINE_KILL,
	/* ENOSYS: libraries try older ways, as on an older kernel. */
	CONFINE_ENOSYS,
};

struct confine {
	uid_t uid; /* to become; -1: stay who we are */
	gid_t gid;
	const cap_value_t *caps; /* that stay, where we have them */
	unsigned n_caps;
	/*
	 * System calls by name, up to a NULL, beside those that glibc needs for
	 * memory, threads, time, its own end, and for open descriptors. A name
	 * that this machine does not have is skipped.
	 */
	const char *const *calls;
	const struct confine_rule *rules;
	enum confine_denied denied;
	rlim_t files;   /* descriptors at most; 0: as it is */
	bool secretive; /* no core dumps, no tracing by our user */
};

/* Which step failed, and what to do. */
struct confine_error {
	char text[256];
};

/*
 * The user to become when we are root: 0 with *uid and *gid, -ENOENT. When we
 * are not, both are -1.
 */
int confine_find_user(const char *name, uid_t *uid, gid_t *gid);

/*
 * Apply all of it to all threads. -errno: the process may be half confined and
 * is not to go on.
 */
int confine_apply(const struct confine *c, struct confine_error *e);

#endif
