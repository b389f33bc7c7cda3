// SPDX-License-Identifier: Apache-2.0
/*
 * Eight processes on one region, killed at random and started again; in the
 * end every branch is compared with what its writer had noted down.
 * DAXFS_SEED replays the workers' choices (not the kills' timing), DAXFS_SECONDS
 * lengthens.
 */
#include "core_util.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver/region/region.h"
#include "scratch.h"

#define WORKERS 8u
#define SLOTS 7u /* files a branch */
#define SIZE (64 * MB)
#define NOTES 4096u /* branches that were sealed or committed */

/* The contents of a branch: what each file's bytes are made from; 0: none. */
struct contents {
	u64 stamp[SLOTS];
};

/* A worker's notes outlive it. */
struct worker {
	char branch[DAXFS_BRANCH_NAME_MAX + 1]; /* "": it uses none */
	struct contents now, next; /* before and after an operation */
	bool known;                /* what the branch had when it began */
	u32 round;
	u64 operations, ended, kills;
};

struct note {
	u32 used; /* atomic */
	char branch[DAXFS_BRANCH_NAME_MAX + 1];
	struct contents c;
};

struct shared {
	struct worker workers[WORKERS];
	struct note sealed[NOTES], committed[NOTES];
	u32 sealed_count, committed_count, commits; /* atomic */
	char failure[256];
};

static struct shared *sh;
static char path[300];
static bool with_commits;

static void failed(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (!sh->failure[0])
		vsnprintf(sh->failure, sizeof(sh->failure), fmt, ap);
	va_end(ap);
	_exit(1);
}

/* ---- Files ------------------------------------------------------------------------ */

static u8 buf[64 * KB], back[64 * KB];

static size_t bytes_of(u64 stamp, u8 *out)
{
	u64 s = stamp;
	size_t len = 1 + rnd_below(&s, 40000);

	for (size_t i = 0; i < len; i++)
		out[i] = (u8)(stamp >> (i % 8 * 8)) ^ (u8)(i / 8);
	return len;
}

static bool interrupted; /* by a commit */

static bool slot_is(struct daxfs_branch *b, u32 slot, u64 stamp)
{
	char name[8];
	struct daxfs_attr a;
	size_t len;
	ssize_t n;
	int rc;

	snprintf(name, sizeof(name), "s%u", slot);
	rc = daxfs_lookup(b, ROOT, name, strlen(name), &a);
	interrupted |= rc == -ESTALE;
	if (!stamp)
		return rc == -ENOENT;
	len = bytes_of(stamp, buf);
	if (rc || a.size != len)
		return false;
	n = daxfs_read(b, a.ino, back, sizeof(back), 0);
	interrupted |= n == -ESTALE;
	return n == (ssize_t)len && !memcmp(buf, back, len);
}

static bool shows(struct daxfs_branch *b, const struct contents *c)
{
	for (u32 i = 0; i < SLOTS; i++)
		if (!slot_is(b, i, c->stamp[i]))
			return false;
	return true;
}

/*
 * While another process commits all branches answer ESTALE; where it is killed
 * then, those that live on answer again.
 */
static bool branch_is(struct daxfs_branch *b, const struct contents *c)
{
	double end = seconds() + 1;

	interrupted = false;
	while (!shows(b, c)) {
		if (!interrupted)
			return false;
		while (daxfs_branch_status(b) && seconds() < end)
			usleep(1000);
		if (daxfs_branch_status(b))
			return false;
		interrupted = false;
	}
	return true;
}

/* The last of these steps is the one that shows. */
static int put_slot(struct daxfs_branch *b, u32 slot, u64 stamp)
{
	struct daxfs_new n = { .mode = S_IFREG | 0644 };
	size_t len = bytes_of(stamp, buf);
	struct daxfs_attr a;
	char name[8];
	u64 victim = 0;
	int rc;

	snprintf(name, sizeof(name), "s%u", slot);
	rc = daxfs_make(b, ROOT, "tmp", 3, &n, &a);
	if (rc == -EEXIST)
		rc = daxfs_lookup(b, ROOT, "tmp", 3, &a);
	if (!rc) {
		ssize_t done = daxfs_write(b, a.ino, buf, len, 0, 0);

		rc = done < 0 ? (int)done : done < (ssize_t)len ? -ENOSPC : 0;
	}
	if (!rc) {
		struct daxfs_attr to = { .size = len };

		rc = daxfs_setattr(b, a.ino, DAXFS_SET_SIZE, &to, NULL);
	}
	if (!rc)
		rc = daxfs_rename(b, ROOT, "tmp", 3, ROOT, name, strlen(name),
				  0, &victim);
	if (!rc && victim)
		(void)daxfs_evict(b, victim);
	return rc;
}

static int drop_slot(struct daxfs_branch *b, u32 slot)
{
	char name[8];
	u64 ino;
	int rc;

	snprintf(name, sizeof(name), "s%u", slot);
	rc = daxfs_unlink(b, ROOT, name, strlen(name), &ino);
	if (!rc)
		(void)daxfs_evict(b, ino);
	return rc;
}

/* ---- A worker ----------------------------------------------------------------------- */

struct self {
	u32 number;
	u64 seed;
	struct worker *w;
	struct daxfs_region *r;
};

static void *poll_main(void *arg)
{
	struct self *s = arg;

	for (;;) {
		int rc = daxfs_region_poll(s->r);

		if (rc)
			failed("worker %u: poll %d", s->number, rc);
		usleep(300);
	}
	return NULL;
}

/* What the region may answer at any time, for others do what they do. */
static bool gone(int rc)
{
	return rc == -ESTALE || rc == -ENOENT;
}

static bool expected(int rc)
{
	return gone(rc) || rc == -ENOSPC || rc == -EBUSY || rc == -EROFS;
}

static int operate(struct self *s, struct daxfs_branch *b)
{
	struct worker *w = s->w;
	u32 slot = rnd_below(&s->seed, SLOTS);
	u64 stamp = rnd(&s->seed) | 1;
	int rc;

	w->next = w->now;
	if (w->now.stamp[slot] && rnd_below(&s->seed, 4) == 0)
		stamp = 0;
	w->next.stamp[slot] = stamp;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	rc = stamp ? put_slot(b, slot, stamp) : drop_slot(b, slot);
	if (!rc) {
		w->now = w->next;
		w->operations++;
	} else {
		w->next = w->now;
	}
	if (rc && !expected(rc))
		failed("worker %u: operation: %d", s->number, rc);
	return rc;
}

/* A branch of main, or of one that somebody sealed; -errno. */
static int start_branch(struct self *s)
{
	struct worker *w = s->w;
	char name[DAXFS_BRANCH_NAME_MAX + 1];
	const char *parent = "main";
	struct contents c = { { 0 } };
	u32 n = __atomic_load_n(&sh->sealed_count, __ATOMIC_ACQUIRE);
	int rc;

	if (n > NOTES)
		n = NOTES;
	if (n && rnd_below(&s->seed, 3)) {
		const struct note *from =
			&sh->sealed[n - 1 - rnd_below(&s->seed, n < 8 ? n : 8)];

		if (__atomic_load_n(&from->used, __ATOMIC_ACQUIRE)) {
			parent = from->branch;
			c = from->c;
		}
	}
	snprintf(name, sizeof(name), "w%u-%u", s->number, ++w->round);
	w->branch[0] = 0;
	rc = daxfs_branch_create(s->r, name, parent, DAXFS_BRANCH_PERSISTENT);
	if (rc)
		return rc;
	/* a main that was committed has contents of its own: look */
	w->now = w->next = c;
	w->known = false;
	snprintf(w->branch, sizeof(w->branch), "%s", name);
	return 0;
}

/* Main may have any contents that were committed: read which. */
static void learn(struct self *s, struct daxfs_branch *b)
{
	u32 n = __atomic_load_n(&sh->committed_count, __ATOMIC_ACQUIRE);

	if (branch_is(b, &s->w->now))
		return;
	for (u32 i = n < NOTES ? n : NOTES; i--;) {
		if (!__atomic_load_n(&sh->committed[i].used, __ATOMIC_ACQUIRE))
			continue;
		s->w->now = s->w->next = sh->committed[i].c;
		if (branch_is(b, &s->w->now))
			return;
	}
	if (!daxfs_branch_status(b))
		failed("worker %u: branch %s shows what nobody wrote",
		       s->number, s->w->branch);
}

static void note(struct note *v, u32 *count, const struct worker *w)
{
	u32 i = __atomic_fetch_add(count, 1, __ATOMIC_ACQ_REL);

	if (i >= NOTES)
		return;
	memcpy(v[i].branch, w->branch, sizeof(w->branch));
	v[i].c = w->now;
	__atomic_store_n(&v[i].used, 1, __ATOMIC_RELEASE);
}

static void finish_branch(struct self *s)
{
	struct worker *w = s->w;
	struct daxfs_message msg;
	int rc = 0;

	switch (rnd_below(&s->seed, 4)) {
	case 0:
		if (with_commits) {
			/* before: others may see it before we hear of it */
			note(sh->committed, &sh->committed_count, w);
			rc = daxfs_branch_commit(s->r, w->branch, &msg);
			if (!rc)
				__atomic_fetch_add(&sh->commits, 1,
						   __ATOMIC_RELAXED);
		} else {
			rc = daxfs_branch_seal(s->r, w->branch);
			if (!rc)
				note(sh->sealed, &sh->sealed_count, w);
		}
		break;
	case 1:
		rc = daxfs_branch_abort(s->r, w->branch);
		break;
	case 2:
		rc = daxfs_branch_delete(s->r, w->branch);
		break;
	default:
		return; /* stays */
	}
	if (rc && !expected(rc))
		failed("worker %u: end of branch: %d", s->number, rc);
	w->branch[0] = 0;
}

/* What the worker before this one left, killed in the middle of something. */
static void look_back(struct self *s)
{
	struct worker *w = s->w;
	struct daxfs_branch *b;
	int rc;

	if (!w->branch[0])
		return;
	rc = daxfs_branch_get(s->r, w->branch, &b);
	if (gone(rc))
		return;
	if (rc)
		failed("worker %u: cannot use %s again: %d", s->number,
		       w->branch, rc);
	if (!w->known)
		learn(s, b);
	else if (branch_is(b, &w->next))
		w->now = w->next;
	else if (!branch_is(b, &w->now) && !daxfs_branch_status(b))
		failed("worker %u: branch %s is neither as before nor as after",
		       s->number, w->branch);
	daxfs_branch_put(b);
}

static void work_on(struct self *s)
{
	struct daxfs_branch *b;
	u32 n = 1 + rnd_below(&s->seed, 40);
	int rc = daxfs_branch_get(s->r, s->w->branch, &b);

	if (rc) {
		if (!expected(rc))
			failed("worker %u: use: %d", s->number, rc);
		return;
	}
	learn(s, b);
	s->w->known = true;
	while (n-- && !rc)
		rc = operate(s, b);
	if (gone(rc))
		s->w->ended++;
	daxfs_branch_put(b);
	finish_branch(s);
}

static void worker_main(u32 number, u64 seed)
{
	struct self s = { number, seed, &sh->workers[number], NULL };
	struct region_file f;
	struct daxfs_message msg;
	pthread_t t;
	int rc;

	rc = region_file_open(path, REGION_SHARED, &f, &msg);
	if (!rc)
		rc = daxfs_region_open(&f.backing, DAXFS_OPEN_SHARED, &s.r,
				       &msg);
	if (rc)
		failed("worker %u: open: %d %s", number, rc, msg.text);
	if (pthread_create(&t, NULL, poll_main, &s))
		failed("worker %u: no thread", number);
	look_back(&s);
	for (;;) {
		rc = start_branch(&s);
		if (!rc)
			work_on(&s);
		else if (!expected(rc))
			failed("worker %u: create: %d", number, rc);
		else
			usleep(1000);
		/* what stays is deleted by whoever comes by */
		if (rc == -ENOSPC || rnd_below(&s.seed, 10) == 0) {
			char name[DAXFS_BRANCH_NAME_MAX + 1];

			snprintf(name, sizeof(name), "w%u-%u",
				 rnd_below(&s.seed, WORKERS),
				 1 + rnd_below(&s.seed, s.w->round));
			rc = daxfs_branch_delete(s.r, name);
			if (rc && !expected(rc))
				failed("worker %u: delete %s: %d", number, name,
				       rc);
		}
	}
}

/* ---- The test ------------------------------------------------------------------------- */

static pid_t start_worker(u32 number, u64 seed)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		alarm(300); /* should the test itself be killed */
		worker_main(number, seed);
		_exit(0);
	}
	return pid;
}

static void make_region(void)
{
	struct daxfs_format_params p = { .total_size = SIZE,
					 .branches = 256,
					 .hash_seed = { 3, 4 } };
	struct daxfs_message msg;
	struct region_file f;

	assert_int_equal(region_file_create(path, SIZE, &f, &msg), 0);
	assert_int_equal(daxfs_region_format(f.backing.base, &p, &msg), 0);
	assert_int_equal(region_file_publish(&f, &msg), 0);
	region_file_close(&f);
}

/* Of the notes, those whose branch is there: it shows what was noted. */
static u32 check_notes(struct daxfs_region *r, const struct note *v, u32 n)
{
	u32 found = 0;

	for (u32 i = 0; i < n && i < NOTES; i++) {
		struct daxfs_branch *b;

		if (!v[i].used || daxfs_branch_get(r, v[i].branch, &b))
			continue;
		if (!branch_is(b, &v[i].c))
			fail_msg("sealed branch %s has changed", v[i].branch);
		daxfs_branch_put(b);
		found++;
	}
	return found;
}

static void check_main(struct daxfs_region *r)
{
	struct contents none = { { 0 } };
	struct daxfs_branch *b;
	bool ok;

	assert_int_equal(daxfs_branch_get(r, "main", &b), 0);
	ok = branch_is(b, &none);
	for (u32 i = 0; i < NOTES && !ok; i++)
		ok = sh->committed[i].used && branch_is(b, &sh->committed[i].c);
	assert_true(ok);
	daxfs_branch_put(b);
}

static void check_workers(struct daxfs_region *r)
{
	for (u32 i = 0; i < WORKERS; i++) {
		struct worker *w = &sh->workers[i];
		struct daxfs_branch *b;

		if (!w->branch[0] || daxfs_branch_get(r, w->branch, &b))
			continue;
		/* one made of main may not have been looked at yet */
		if (!branch_is(b, &w->now) && !branch_is(b, &w->next) &&
		    w->operations && !with_commits)
			fail_msg("branch %s is neither as before nor as after",
				 w->branch);
		daxfs_branch_put(b);
	}
}

static void check_region(void)
{
	struct daxfs_region_info info;
	struct daxfs_branch_info *v;
	struct daxfs_message msg;
	struct daxfs_region *r;
	struct region_file f;
	u32 n;

	assert_int_equal(region_file_open(path, 0, &f, &msg), 0);
	if (daxfs_region_open(&f.backing, DAXFS_OPEN_VALIDATE, &r, &msg))
		fail_msg("%s", msg.text);
	check_workers(r);
	check_main(r);
	n = check_notes(r, sh->sealed, sh->sealed_count);
	print_message("%u sealed branches compared, %u commits\n", n,
		      sh->commits);
	/* children before parents */
	assert_int_equal(daxfs_branch_list(r, &v, &n), 0);
	while (n-- > 1)
		assert_int_equal(daxfs_branch_delete(r, v[n].name), 0);
	assert_int_equal(daxfs_region_sync(r), 0);
	daxfs_region_info(r, &info);
	assert_in_range((info.segments - info.segments_free) *
				info.segment_size,
			0, v[0].bytes + 40 * info.segment_size);
	if (!sh->commits)
		assert_int_equal(info.segments, info.segments_free);
	daxfs_free(v);
	daxfs_region_close(r);
	region_file_close(&f);
}

static void run(u64 seed)
{
	double end = seconds() + (double)env_number("DAXFS_SECONDS", 4);
	pid_t pids[WORKERS];
	u64 kills = 0, operations = 0, ended = 0;

	memset(sh, 0, sizeof(*sh));
	make_region();
	for (u32 i = 0; i < WORKERS; i++)
		pids[i] = start_worker(i, rnd(&seed));
	while (seconds() < end && !sh->failure[0]) {
		u32 i = rnd_below(&seed, WORKERS);

		usleep(5000 + rnd_below(&seed, 60000));
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
		kills++;
		pids[i] = start_worker(i, rnd(&seed));
	}
	for (u32 i = 0; i < WORKERS; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
		operations += sh->workers[i].operations;
		ended += sh->workers[i].ended;
	}
	if (sh->failure[0])
		fail_msg("%s", sh->failure);
	print_message("%llu kills, %llu operations, %llu branches ended under their users\n",
		      (unsigned long long)kills, (unsigned long long)operations,
		      (unsigned long long)ended);
	assert_true(operations > 0);
	check_region();
	unlink(path);
}

static void test_seals(void **state)
{
	(void)state;
	with_commits = false;
	run(env_number("DAXFS_SEED", 1));
}

static void test_commits(void **state)
{
	(void)state;
	with_commits = true;
	run(env_number("DAXFS_SEED", 2));
	assert_true(sh->commits > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seals),
		cmocka_unit_test(test_commits),
	};
	char dir[256];
	int rc;

	if (!scratch_dir(dir, sizeof(dir), "processes"))
		return 1;
	snprintf(path, sizeof(path), "%s/r.daxfs", dir);
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED)
		return 1;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return rc;
}
