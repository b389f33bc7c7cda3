// SPDX-License-Identifier: Apache-2.0
/*
 * Runs in child processes, so that a crash is a failure like any other, and
 * shrinking: operations are left out as long as what remains still fails.
 */
#include "model.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUN_SECONDS 120u
#define EXIT_MISMATCH 9

/* What a child tells its parent, in memory that both see. */
struct report {
	u32 count;   /* operations recorded */
	u32 done;    /* of those tried, before it failed */
	bool ending; /* all have been done */
	char text[256], site[80];
	struct op ops[OPS_MAX];
};

static struct report *report;
static struct op *list; /* what is tried when shrinking */

__attribute__((format(printf, 3, 4))) void
model_fail(const char *file, int line, const char *fmt, ...)
{
	const char *slash = strrchr(file, '/');
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(report->text, sizeof(report->text), fmt, ap);
	va_end(ap);
	snprintf(report->site, sizeof(report->site), "%s:%d%s",
		 slash ? slash + 1 : file, line,
		 report->ending ? ", at the end" : "");
	fflush(stdout);
	_exit(EXIT_MISMATCH);
}

/* ---- One attempt --------------------------------------------------------- */

struct attempt {
	const struct profile *p;
	u64 seed;
	u32 steps;  /* operations to choose; 0: those of the list */
	u32 listed; /* operations in the list */
	bool quiet, verbose;
};

static void one_op(const struct attempt *a, const struct op *op)
{
	ssize_t rc;

	if (a->verbose)
		model_op_print(op, report->done);
	fflush(stdout);
	rc = model_op_run(op);
	if (a->verbose)
		printf(" -> %zd\n", rc);
	report->done++;
}

static void child(const struct attempt *a)
{
	alarm(RUN_SECONDS);
	model_start(a->p, a->seed);
	for (u32 k = 0; k < a->steps; k++) {
		struct op *op = &report->ops[k];

		memset(op, 0, sizeof(*op));
		op->id = k;
		model_op_choose(op);
		report->count = k + 1;
		one_op(a, op);
	}
	for (u32 k = 0; k < a->listed; k++)
		one_op(a, &list[k]);
	report->ending = true;
	model_stop();
	fflush(stdout);
	exit(0);
}

/* 0, or how it failed: the exit status, or 128 and a signal. */
static int attempt(const struct attempt *a)
{
	int status = 0;
	pid_t pid;

	fflush(NULL);
	report->site[0] = 0;
	report->done = 0;
	report->ending = false;
	pid = fork();
	if (!pid) {
		if (a->quiet && (!freopen("/dev/null", "w", stdout) ||
				 !freopen("/dev/null", "w", stderr)))
			_exit(1);
		child(a);
	}
	while (pid < 0 || waitpid(pid, &status, 0) != pid)
		if (pid < 0 || errno != EINTR) {
			perror("model: a child");
			exit(2);
		}
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	return 128 + WTERMSIG(status);
}

static void print_failure(int how)
{
	if (how == EXIT_MISMATCH)
		printf("# %s (%s)\n", report->text, report->site);
	else if (how > 128)
		printf("# ended by signal %d%s\n", how - 128,
		       how - 128 == SIGALRM ? ": it took too long" : "");
	else
		printf("# ended with status %d\n", how);
}

/* ---- Shrinking ----------------------------------------------------------- */

struct shrink {
	struct attempt a;
	struct op *ops; /* the shortest list that fails */
	u32 count;
	int how;
	char site[80]; /* where, when a comparison failed */
	double until;
	u32 tries;
};

static bool out_of_time(const struct shrink *s)
{
	return seconds() > s->until;
}

/* Does the list, `n` long, fail in the same way? Then it is the shortest. */
static bool try_list(struct shrink *s, u32 n)
{
	s->a.listed = n;
	s->tries++;
	if (attempt(&s->a) != s->how || strcmp(report->site, s->site) != 0)
		return false;
	/* what came after the failure is not needed for it */
	if (report->done < n)
		n = report->done + 1;
	memcpy(s->ops, list, n * sizeof(*list));
	s->count = n;
	return true;
}

static bool try_without(struct shrink *s, u32 from, u32 n)
{
	memcpy(list, s->ops, from * sizeof(*list));
	memcpy(list + from, s->ops + from + n,
	       (s->count - from - n) * sizeof(*list));
	return try_list(s, s->count - n);
}

/* Leave chunks out, from the end, as what is late depends on what is early. */
static bool drop_chunks(struct shrink *s, u32 size)
{
	bool any = false;
	u32 at = s->count;

	while (at && !out_of_time(s)) {
		u32 n = at < size ? at : size;

		at -= n;
		any |= try_without(s, at, n);
		if (at > s->count)
			at = s->count;
	}
	return any;
}

/* Without the branch that operation k makes: its parent is used instead. */
static bool try_parent(struct shrink *s, u32 k)
{
	const struct op made = s->ops[k];

	memcpy(list, s->ops, k * sizeof(*list));
	for (u32 j = k; j + 1 < s->count; j++) {
		struct op *op = &list[j];

		*op = s->ops[j + 1];
		if (op->b == made.b)
			op->b = made.parent;
		if (op->parent == made.b)
			op->parent = made.parent;
	}
	return try_list(s, s->count - 1);
}

static void drop_levels(struct shrink *s)
{
	for (u32 k = s->count; k-- && !out_of_time(s);)
		if (k < s->count && s->ops[k].kind == OP_CREATE)
			try_parent(s, k);
}

/* Simpler arguments, one operation after another. */
static void simplify(struct shrink *s)
{
	for (u32 k = 0; k < s->count && !out_of_time(s); k++) {
		for (u32 what = 0; what < 4; what++) {
			struct op *op = &list[k];

			memcpy(list, s->ops, s->count * sizeof(*list));
			if (what == 0)
				op->flags = 0;
			else if (what == 1)
				op->len = op->len > BLK ? BLK : 1;
			else if (what == 2)
				op->off = 0;
			else
				op->off &= ~(BLK - 1);
			if (memcmp(op, &s->ops[k], sizeof(*op)) != 0)
				try_list(s, s->count);
		}
	}
}

static void shrink_list(struct shrink *s)
{
	u32 size = s->count;
	bool any;

	memcpy(list, s->ops, s->count * sizeof(*list));
	if (!try_list(s, s->count)) {
		printf("# it does not fail when its operations are repeated\n");
		return;
	}
	while (size > 1 && !out_of_time(s)) {
		size = (size + 1) / 2;
		drop_chunks(s, size);
	}
	drop_levels(s);
	do
		any = drop_chunks(s, 1);
	while (any && !out_of_time(s));
	simplify(s);
}

static void shrink(const struct attempt *failed, int how, u32 limit)
{
	struct shrink s = { .a = *failed, .how = how };

	memcpy(s.site, report->site, sizeof(s.site));
	s.count = report->count;
	s.until = seconds() + limit;
	s.ops = calloc(OPS_MAX, sizeof(*s.ops));
	list = calloc(OPS_MAX, sizeof(*list));
	if (!s.ops || !list) {
		perror("model: shrinking");
		exit(2);
	}
	memcpy(s.ops, report->ops, s.count * sizeof(*s.ops));
	s.a.steps = 0;
	s.a.quiet = true;
	shrink_list(&s);
	printf("# shrunk to %u operations in %u attempts%s:\n", s.count,
	       s.tries, out_of_time(&s) ? ", then time ran out" : "");
	memcpy(list, s.ops, s.count * sizeof(*list));
	s.a.quiet = false;
	s.a.verbose = true;
	s.a.listed = s.count;
	how = attempt(&s.a);
	printf("\n");
	print_failure(how);
	free(s.ops);
	free(list);
}

int model_run(const struct profile *p, u64 seed, u32 steps, u32 limit)
{
	struct attempt a = { .p = p, .seed = seed };
	int how;

	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED) {
		perror("model");
		exit(2);
	}
	a.steps = steps < OPS_MAX ? steps : OPS_MAX;
	how = attempt(&a);
	if (how) {
		printf("# profile %s, seed %llu fails at step %u\n", p->name,
		       (unsigned long long)seed, report->done);
		print_failure(how);
		printf("# replay: test_core_model %s %llu %u\n", p->name,
		       (unsigned long long)seed, steps);
		fflush(stdout);
		if (limit)
			shrink(&a, how, limit);
	}
	munmap(report, sizeof(*report));
	return how ? -1 : 0;
}
