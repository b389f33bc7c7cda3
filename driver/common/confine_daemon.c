/* SPDX-License-Identifier: Apache-2.0 */
#include "confine_daemon.h"

#include <stdio.h>
#include <sys/socket.h>

#include "confine.h"
#include "log.h"
#include "util.h"

/* The last one is left out where others' files are none of its business. */
static const cap_value_t caps[] = { CAP_CHOWN, CAP_DAC_READ_SEARCH,
				    CAP_SYS_ADMIN, CAP_SYS_RESOURCE,
				    CAP_DAC_OVERRIDE };

/*
 * A filter of ours is added to those of who started us. A keeper that is killed
 * is started by the server that it would have started: enough is enough.
 */
#define FILTERS_MAX 8

/* clang-format off */
static const char *const calls[] = {
	/* paths */
	"open", "openat", "openat2", "creat", "stat", "stat64", "lstat",
	"lstat64", "statx", "newfstatat", "fstatat64", "statfs", "statfs64",
	"fstatfs", "fstatfs64", "access", "faccessat", "faccessat2", "readlink",
	"readlinkat", "getdents", "getdents64", "getcwd", "chdir", "fchdir",
	"mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat",
	"renameat2", "link", "linkat", "symlink", "symlinkat", "chmod",
	"fchmod", "fchmodat", "chown", "chown32", "fchown", "fchown32",
	"lchown", "lchown32", "fchownat", "umask", "utimensat", "truncate",
	"truncate64", "getxattr", "lgetxattr", "fgetxattr", "listxattr",
	"llistxattr", "flistxattr", "setxattr", "lsetxattr", "fsetxattr",
	"removexattr", "lremovexattr", "fremovexattr",
	/* what is in files */
	"pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2",
	"ftruncate", "ftruncate64", "fallocate", "fadvise64", "fadvise64_64",
	"copy_file_range", "sendfile", "sendfile64", "splice", "tee",
	"vmsplice", "fsync", "fdatasync", "sync_file_range",
	"sync_file_range2", "syncfs", "msync", "mincore", "mlock", "mlock2",
	"munlock", "memfd_create", "flock", "ioctl", "dup", "dup2", "dup3",
	"close_range", "pipe", "pipe2", "inotify_init1", "inotify_add_watch",
	"inotify_rm_watch", "timerfd_create", "timerfd_settime",
	"timerfd_gettime", "signalfd4", "select", "_newselect", "pselect6",
	/* mounts */
	"mount", "umount2", "fsopen", "fsconfig", "fsmount", "fspick",
	"move_mount", "open_tree", "mount_setattr",
	/* processes and threads */
	"clone", "clone3", "fork", "vfork", "execve", "execveat", "wait4",
	"waitid", "waitpid", "kill", "tkill", "pidfd_open",
	"pidfd_send_signal", "setsid", "setpgid", "getpgid", "getpgrp",
	"getsid", "set_tid_address", "arch_prctl", "prctl", "capget", "capset",
	"seccomp", "prlimit64", "setrlimit", "getrusage", "times",
	"sched_setaffinity", "getcpu", "rt_sigtimedwait", "rt_sigsuspend",
	"rt_sigpending", "pause", "alarm", "setitimer", "getgroups",
	"getresuid", "getresgid",
	/* unix sockets */
	"connect", "bind", "listen", "accept",
	NULL,
};
/* clang-format on */

static const struct confine_rule rules[] = {
	{ "socket", 0, UINT64_MAX, AF_UNIX, 0 },
	{ "socketpair", 0, UINT64_MAX, AF_UNIX, 0 },
	{ NULL, 0, 0, 0, 0 },
};

static unsigned count_filters(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	unsigned n = 0;

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Seccomp_filters: %u", &n) == 1)
			break;
	fclose(f);
	return n;
}

int confine_daemon(bool others_files)
{
	const struct confine c = {
		.uid = (uid_t)-1,
		.caps = caps,
		.n_caps = ARRAY_SIZE(caps) - !others_files,
		.calls = calls,
		.rules = rules,
		.denied = CONFINE_ENOSYS,
	};
	struct confine_error e;

	if (count_filters() >= FILTERS_MAX)
		return 0;
	if (confine_apply(&c, &e) == 0)
		return 0;
	log_event(LOG_ERROR, "cannot confine the process", "error", e.text,
		  NULL);
	return -1;
}
