/* SPDX-License-Identifier: Apache-2.0 */
#include "fault.h"

#ifdef DAXFS_FAULTS

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <time.h>

#include "util.h"

/* The linker's names for the ends of the section, which may not be there. */
extern const char *const __start_fault_points[] __attribute__((weak));
extern const char *const __stop_fault_points[] __attribute__((weak));

void fault_option(const char *option)
{
	if (!str_eq(option, "--fault-points"))
		return;
	for (const char *const *p = __start_fault_points;
	     p < __stop_fault_points; p++)
		puts(*p);
	exit(fflush(stdout) ? 1 : 0);
}

static int open_in(const char *dir, const char *name, int flags)
{
	cleanup_free char *path = str_printf("%s/%s", dir, name);

	return path ? open(path, flags | O_CLOEXEC) : -1;
}

static void trace(const char *dir, const char *name)
{
	cleanup_close int fd = open_in(dir, "trace", O_WRONLY | O_APPEND);

	if (fd >= 0)
		dprintf(fd, "%s %s\n", program_invocation_short_name, name);
}

static int strike(const char *dir, const char *action, unsigned arg)
{
	cleanup_free char *plan = str_printf("%s/plan", dir);
	const struct timespec step = { .tv_nsec = 5000000 };

	if (str_eq(action, "error"))
		return (int)arg;
	if (str_eq(action, "kill"))
		kill(getpid(), SIGKILL);
	while (plan && access(plan, F_OK) == 0)
		nanosleep(&step, NULL);
	return 0;
}

/* Several threads and processes may be here: the file's lock orders them. */
int fault_hit(const char *name)
{
	const char *dir = getenv("DAXFS_FAULTS");
	cleanup_close int fd = -1;
	char line[128] = "", point[64], action[16];
	unsigned count, arg = 0;
	int saved = errno, n;

	if (!dir)
		return 0;
	trace(dir, name);
	fd = open_in(dir, "plan", O_RDWR);
	if (fd < 0 || flock(fd, LOCK_EX) < 0 ||
	    pread(fd, line, sizeof(line) - 1, 0) <= 0 ||
	    sscanf(line, "%63s %u %15s %u", point, &count, action, &arg) < 3 ||
	    !str_eq(point, name) || !count) {
		errno = saved;
		return 0;
	}
	n = snprintf(line, sizeof(line), "%s %u %s %u\n", point, count - 1,
		     action, arg);
	if (ftruncate(fd, 0) < 0 || pwrite(fd, line, (size_t)n, 0) != n)
		abort();
	errno = saved;
	if (count > 1)
		return 0;
	/* count 0: struck */
	util_close_fd(&fd);
	fd = -1;
	n = strike(dir, action, arg);
	errno = saved;
	return n;
}

#endif
