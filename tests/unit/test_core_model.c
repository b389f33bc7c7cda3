// SPDX-License-Identifier: Apache-2.0
/*
 * The engine against a model of it: random operations, of different kinds and
 * in different regions (profiles). Each run is a child process of its own; the
 * runs of all profiles keep all processors busy.
 *
 *   test_core_model                            all profiles, as a test
 *   test_core_model PROFILE SEED [STEPS [N]]   N runs: SEED, SEED + 1, ...
 *
 * DAXFS_SEED, DAXFS_STEPS (in all) set what the test does; LONG=1: ten times.
 * DAXFS_SHRINK: seconds to spend on shrinking a failure, 0: none.
 */
#include "model.h"

#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define STEPS 220000u
#else
#define STEPS 1500000u
#endif
#define RUN_STEPS 10000u   /* one region's */
#define SHRINK_SECONDS 40u /* DAXFS_SHRINK */

static u64 seed;
static u32 steps, runs; /* of each run; runs of each profile */

struct job {
	pid_t pid;
	int status;
	bool ended;
};
static struct job *jobs;
static u32 job_count, started, running;

/* ---- Jobs ---------------------------------------------------------------- */

static u32 processors(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : (u32)n;
}

/* Its own program anew: nothing of cmocka's is in the way there. */
static void job_start(u32 j)
{
	char seed_text[24], steps_text[16], runs_text[16];
	const char *name = model_profiles[j].name;

	snprintf(seed_text, sizeof(seed_text), "%llu",
		 (unsigned long long)(seed + 1000 * j));
	snprintf(steps_text, sizeof(steps_text), "%u", steps);
	snprintf(runs_text, sizeof(runs_text), "%u", runs);
	fflush(NULL);
	jobs[j].pid = fork();
	assert_true(jobs[j].pid >= 0);
	if (!jobs[j].pid) {
		execl("/proc/self/exe", "test_core_model", name, seed_text,
		      steps_text, runs_text, NULL);
		_exit(127);
	}
	started++;
	running++;
}

static void job_reap(void)
{
	int status;
	pid_t pid = wait(&status);

	assert_true(pid > 0);
	for (u32 j = 0; j < started; j++)
		if (jobs[j].pid == pid) {
			jobs[j].status = status;
			jobs[j].ended = true;
			running--;
		}
}

/* All go on in the background; wait for this one. */
static void test_profile(void **state)
{
	const struct profile *p = *state;
	u32 j = (u32)(p - model_profiles);

	while (!jobs[j].ended) {
		while (started < job_count && running < processors())
			job_start(started);
		job_reap();
	}
	if (jobs[j].status)
		fail_msg("profile %s failed, see above", p->name);
}

static int test_all(void)
{
	struct CMUnitTest *tests = calloc(model_profile_count, sizeof(*tests));
	char group[80];
	u32 total = (u32)env_number("DAXFS_STEPS", STEPS);
	int rc;

	if (getenv("LONG"))
		total *= 10;
	seed = env_number("DAXFS_SEED", (u64)time(NULL));
	job_count = model_profile_count;
	steps = total / job_count < RUN_STEPS ? total / job_count : RUN_STEPS;
	runs = (total + job_count * steps - 1) / (job_count * steps);
	jobs = calloc(job_count, sizeof(*jobs));
	for (u32 j = 0; j < job_count; j++) {
		tests[j].name = model_profiles[j].name;
		tests[j].test_func = test_profile;
		tests[j].initial_state = (void *)&model_profiles[j];
	}
	snprintf(group, sizeof(group), "seed %llu", (unsigned long long)seed);
	printf("# DAXFS_SEED=%llu: %u profiles, %u runs of each, %u steps a run\n",
	       (unsigned long long)seed, job_count, runs, steps);
	rc = _cmocka_run_group_tests(group, tests, job_count, NULL, NULL);
	free(tests);
	free(jobs);
	return rc;
}

/* ---- One profile --------------------------------------------------------- */

static int usage(void)
{
	fprintf(stderr,
		"usage: test_core_model [PROFILE SEED [STEPS [RUNS]]]\n");
	for (u32 k = 0; k < model_profile_count; k++)
		fprintf(stderr, "  %-10s %s\n", model_profiles[k].name,
			model_profiles[k].about);
	return 2;
}

static const struct profile *find_profile(const char *name)
{
	for (u32 k = 0; k < model_profile_count; k++)
		if (!strcmp(model_profiles[k].name, name))
			return &model_profiles[k];
	return NULL;
}

static int run_profile(int argc, char **argv)
{
	const struct profile *p = find_profile(argv[1]);
	u32 n = argc > 4 ? (u32)strtoul(argv[4], NULL, 0) : 1;
	u64 first = strtoull(argv[2], NULL, 0);
	u32 shrink = (u32)env_number("DAXFS_SHRINK", SHRINK_SECONDS);
	double begin = seconds();

	if (!p)
		return usage();
	steps = argc > 3 ? (u32)strtoul(argv[3], NULL, 0) : RUN_STEPS;
	for (u32 k = 0; k < n; k++)
		if (model_run(p, first + k, steps, shrink))
			return 1;
	printf("# profile %s: %u runs of %u steps in %.1f s\n", p->name, n,
	       steps, seconds() - begin);
	return 0;
}

int main(int argc, char **argv)
{
	model_names_init();
	if (argc == 1)
		return test_all();
	return argc < 3 ? usage() : run_profile(argc, argv);
}
