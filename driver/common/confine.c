/* SPDX-License-Identifier: Apache-2.0 */
#include "confine.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>

#include "log.h"
#include "util.h"

/* No files, no sockets, no processes. */
static const char *const libc_calls[] = {
	/* descriptors */
	"read",
	"write",
	"readv",
	"writev",
	"close",
	"fcntl",
	"fcntl64",
	"fstat",
	"fstat64",
	"lseek",
	"_llseek",
	"poll",
	"ppoll",
	"ppoll_time64",
	"epoll_create1",
	"epoll_ctl",
	"epoll_wait",
	"epoll_pwait",
	"epoll_pwait2",
	"eventfd2",
	"recvfrom",
	"recvmsg",
	"recv",
	"sendto",
	"sendmsg",
	"send",
	"accept4",
	"shutdown",
	"getsockopt",
	"setsockopt",
	"getsockname",
	"getpeername",
	/* memory */
	"brk",
	"mmap",
	"mmap2",
	"mremap",
	"munmap",
	"mprotect",
	"madvise",
	/* threads */
	"futex",
	"futex_time64",
	"rseq",
	"set_robust_list",
	"sched_yield",
	"sched_getaffinity",
	"membarrier",
	"gettid",
	"exit",
	/* signals and the end */
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigreturn",
	"sigreturn",
	"sigaltstack",
	"tgkill",
	"restart_syscall",
	"exit_group",
	/* time and who we are */
	"clock_gettime",
	"clock_gettime64",
	"clock_getres",
	"clock_nanosleep",
	"clock_nanosleep_time64",
	"nanosleep",
	"gettimeofday",
	"time",
	"getrandom",
	"getpid",
	"getppid",
	"getuid",
	"geteuid",
	"getgid",
	"getegid",
	"uname",
	"sysinfo",
	"ugetrlimit",
	"getrlimit",
	NULL,
};

static const struct confine_rule libc_rules[] = {
	{ "prlimit64", 2, UINT64_MAX, 0, 0 },                 /* reading only */
	{ "newfstatat", 3, AT_EMPTY_PATH, AT_EMPTY_PATH, 0 }, /* fstat */
	{ NULL, 0, 0, 0, 0 },
};

__attribute__((format(printf, 3, 4))) static int
fail(struct confine_error *e, int rc, const char *fmt, ...)
{
	size_t n;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	n = strlen(e->text);
	snprintf(e->text + n, sizeof(e->text) - n, ": %s", log_err(rc));
	return rc < 0 ? rc : -EINVAL;
}

/* ---- User ---------------------------------------------------------------- */

int confine_find_user(const char *name, uid_t *uid, gid_t *gid)
{
	struct passwd *pw;

	*uid = (uid_t)-1;
	*gid = (gid_t)-1;
	if (geteuid() != 0)
		return 0;
	errno = 0;
	pw = getpwnam(name);
	if (!pw)
		return errno && errno != ENOENT && errno != ESRCH ? -errno
								  : -ENOENT;
	*uid = pw->pw_uid;
	*gid = pw->pw_gid;
	return 0;
}

static int become(const struct confine *c, struct confine_error *e)
{
	if (c->uid == (uid_t)-1)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(c->gid, c->gid, c->gid) < 0 ||
	    setresuid(c->uid, c->uid, c->uid) < 0)
		return fail(e, -errno, "cannot become user %u, group %u",
			    c->uid, c->gid);
	return 0;
}

/* ---- Capabilities -------------------------------------------------------- */

static bool is_kept(const struct confine *c, cap_value_t cap)
{
	unsigned i;

	for (i = 0; i < c->n_caps; i++)
		if (c->caps[i] == cap)
			return true;
	return false;
}

/*
 * So that no program that is started gets them back. Who may not change the
 * set has no capabilities to pass on.
 */
static int drop_bounds(const struct confine *c, struct confine_error *e)
{
	cap_value_t cap;

	if (cap_reset_ambient() < 0 && errno != EINVAL)
		return fail(e, -errno, "cannot clear ambient capabilities");
	for (cap = 0; cap < cap_max_bits(); cap++) {
		if (is_kept(c, cap) || cap_get_bound(cap) <= 0)
			continue;
		if (cap_drop_bound(cap) < 0 && errno != EPERM)
			return fail(e, -errno,
				    "cannot give up capability %d for good",
				    cap);
	}
	return 0;
}

static int keep_caps(const struct confine *c, struct confine_error *e)
{
	cap_t have = cap_get_proc(), want = cap_init();
	cap_flag_value_t on;
	int rc = have && want ? 0 : -errno;
	unsigned i;

	for (i = 0; i < c->n_caps && rc == 0; i++) {
		const cap_value_t *cap = &c->caps[i];

		if (cap_get_flag(have, *cap, CAP_PERMITTED, &on) < 0)
			rc = -errno;
		else if (on == CAP_SET && (cap_set_flag(want, CAP_PERMITTED, 1,
							cap, CAP_SET) < 0 ||
					   cap_set_flag(want, CAP_EFFECTIVE, 1,
							cap, CAP_SET) < 0))
			rc = -errno;
	}
	if (rc == 0 && cap_set_proc(want) < 0)
		rc = -errno;
	cap_free(have);
	cap_free(want);
	return rc < 0 ? fail(e, rc, "cannot give up capabilities") : 0;
}

/* ---- System calls -------------------------------------------------------- */

/* In the thread that made the call, so not within any lock of the log's. */
static void on_denied(int sig, siginfo_t *info, void *context)
{
	(void)context;
	log_event(LOG_ERROR, "forbidden system call, ending", "number",
		  log_fmt("%d", info->si_syscall), "architecture",
		  log_fmt("%#x", info->si_arch), NULL);
	signal(sig, SIG_DFL);
	raise(sig);
}

static int catch_denied(void)
{
	struct sigaction sa = { .sa_sigaction = on_denied,
				.sa_flags = SA_SIGINFO | SA_NODEFER };

	return sigaction(SIGSYS, &sa, NULL) < 0 ? -errno : 0;
}

static int add_calls(scmp_filter_ctx ctx, const char *const *name,
		     struct confine_error *e)
{
	for (; *name; name++) {
		int number = seccomp_syscall_resolve_name(*name);
		int rc = number == __NR_SCMP_ERROR
				 ? 0
				 : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, number,
						    0);

		if (rc < 0)
			return fail(e, rc, "cannot allow system call %s",
				    *name);
	}
	return 0;
}

static int add_rules(scmp_filter_ctx ctx, const struct confine_rule *r,
		     struct confine_error *e)
{
	for (; r->name; r++) {
		int number = seccomp_syscall_resolve_name(r->name);
		int rc = 0;

		if (number == __NR_SCMP_ERROR)
			continue;
		if (r->error)
			rc = seccomp_rule_add(ctx,
					      SCMP_ACT_ERRNO(
						      (unsigned)r->error),
					      number, 0);
		else
			rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, number, 1,
					      SCMP_CMP(r->argument,
						       SCMP_CMP_MASKED_EQ,
						       r->mask, r->value));
		if (rc < 0)
			return fail(e, rc, "cannot rule system call %s",
				    r->name);
	}
	return 0;
}

static int load_filter(const struct confine *c, struct confine_error *e)
{
	scmp_filter_ctx ctx = seccomp_init(c->denied == CONFINE_KILL
						   ? SCMP_ACT_TRAP
						   : SCMP_ACT_ERRNO(ENOSYS));
	int rc;

	if (!ctx)
		return fail(e, -ENOMEM, "cannot make a system call filter");
	rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	if (rc == 0) /* a tree, not a list: calls are compared less often */
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (rc < 0)
		fail(e, rc, "cannot make a system call filter");
	if (rc == 0)
		rc = add_calls(ctx, libc_calls, e);
	if (rc == 0)
		rc = add_rules(ctx, libc_rules, e);
	if (rc == 0)
		rc = add_calls(ctx, c->calls, e);
	if (rc == 0)
		rc = add_rules(ctx, c->rules, e);
	if (rc == 0) {
		rc = seccomp_load(ctx); /* and no_new_privs */
		if (rc < 0)
			fail(e, rc, "cannot filter system calls");
	}
	seccomp_release(ctx);
	return rc;
}

/* ---- All of it ----------------------------------------------------------- */

static int set_limits(const struct confine *c, struct confine_error *e)
{
	static const struct rlimit none = { 0, 0 };
	const struct rlimit files = { c->files, c->files };

	if (c->files && setrlimit(RLIMIT_NOFILE, &files) < 0)
		return fail(e, -errno, "cannot limit open files to %llu",
			    (unsigned long long)c->files);
	if (c->secretive && setrlimit(RLIMIT_CORE, &none) < 0)
		return fail(e, -errno, "cannot forbid core dumps");
	return 0;
}

/* What libraries open when they are first used. */
static void warm_up(void)
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm); /* the time zone's file */
}

int confine_apply(const struct confine *c, struct confine_error *e)
{
	int rc;

	warm_up();
	rc = set_limits(c, e);
	if (rc == 0)
		rc = drop_bounds(c, e);
	if (rc == 0)
		rc = become(c, e);
	if (rc == 0)
		rc = keep_caps(c, e);
	/* changing the user has set this anew */
	if (rc == 0 && c->secretive && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		rc = fail(e, -errno, "cannot forbid tracing");
	if (rc == 0 && c->denied == CONFINE_KILL) {
		rc = catch_denied();
		if (rc < 0)
			fail(e, rc, "cannot watch for denied system calls");
	}
	return rc < 0 ? rc : load_filter(c, e);
}
