// SPDX-License-Identifier: Apache-2.0
/*
 * Crash tests of the engine.
 *
 * A scenario is a row of operations. It is run once, and every store that it
 * makes to the region is recorded (record.h), with the syncs between them. Then
 * the run is cut: for a moment in it the memory that a crash would have left is
 * made, opened, compared with what the region showed before and after the
 * operation in flight, used, and looked through for leaks. Three tests each:
 *
 *   kill   the process is killed: all stores before the cut are there
 *   power  power is lost: what was stored since the last sync is there or not,
 *          as a seed says (trace.h); branches show what was last synced
 *   again  a second crash cuts the recovery from a first one
 *
 * Usage: crash [SCENARIO [TEST [CUT [SEED]]]]
 *   all tests, a scenario's, one, or one image of it; a failed test prints
 *   these words. CUT is EVENT or EVENT.BYTES, SEED a number or `kill`; `again`
 *   has two of each, as in CUT/CUT.
 *   The test `trace` prints what was recorded.
 *   crash --save FILE   record and do what only this can: the test `again`
 *   crash --load FILE   do the others with what was saved there, for a program
 *                       whose engine cannot be recorded (see tests/crash/run)
 * LONG=1 makes every cut and many seeds, otherwise a sample that stays the same.
 */
#include "tests/unit/core_util.h"

#include <malloc.h>

#include "cuts.h"
#include "record.h"

/* A scenario with one seed. */
struct part {
	const struct scenario *s;
	u64 seed;
	struct run run;
};

static struct part *parts;
static u32 part_count;
static bool long_run; /* LONG=1 */

/* For who looks for the cause of a failure. */
static void print_trace(void **state)
{
	static const char *const types[] = { "store", "discard", "sync",
					     "begin", "end" };
	const struct run *run = *state;
	const struct trace *t = &run->trace;

	for (u32 i = 0; i < t->count; i++) {
		const struct event *e = &t->events[i];
		const u8 *data = t->bytes + e->data;
		const struct sync_range *v = (const struct sync_range *)data;
		u64 word = 0;

		printf("# %u %s", i, types[e->type]);
		if (e->type == EV_BEGIN || e->type == EV_END) {
			printf(" %u %s\n", (u32)e->off,
			       run->steps[e->off].text);
			continue;
		}
		if (e->type != EV_SYNC)
			printf(" %llx+%llx", (unsigned long long)e->off,
			       (unsigned long long)e->len);
		for (u32 k = 0; e->type == EV_SYNC && k < e->len; k++)
			printf(" %llx+%llx", (unsigned long long)v[k].off,
			       (unsigned long long)v[k].len);
		if (e->type == EV_STORE) {
			memcpy(&word, data, e->len < 8 ? e->len : 8);
			printf(": %llx", (unsigned long long)word);
		}
		printf("\n");
	}
}

/* ---- Main ---------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*fn)(void **state);
	bool records; /* what --save does; --load does the others */
	bool hidden;  /* only when it is named */
} tests[] = {
	{ "kill", test_kill, false, false },
	{ "power", test_power, false, false },
	{ "again", test_again, true, false },
	{ "trace", print_trace, true, true },
};
#define TESTS (sizeof(tests) / sizeof(tests[0]))

static void add_part(const struct scenario *s, u64 seed)
{
	struct part *p;

	parts = realloc(parts, (part_count + 1) * sizeof(*parts));
	if (!parts)
		abort();
	p = &parts[part_count++];
	memset(p, 0, sizeof(*p));
	p->s = s;
	p->seed = seed;
	if (seed)
		snprintf(p->run.name, sizeof(p->run.name), "%s-%llu", s->name,
			 (unsigned long long)seed);
	else
		snprintf(p->run.name, sizeof(p->run.name), "%s", s->name);
}

/* All scenarios, or the one that is asked for, also with a seed beyond. */
static void choose_parts(void)
{
	for (u32 i = 0; i < scenario_count; i++) {
		const struct scenario *s = &scenarios[i];
		u32 n = long_run ? s->seeds_long : s->seeds;
		size_t len = strlen(s->name);

		if (!asked.scenario) {
			for (u32 k = n ? 1 : 0; k <= n; k++)
				add_part(s, k);
		} else if (!strncmp(asked.scenario, s->name, len)) {
			if (!n && !asked.scenario[len])
				add_part(s, 0);
			else if (n && asked.scenario[len] == '-')
				add_part(s, strtoull(asked.scenario + len + 1,
						     NULL, 10));
		}
	}
}

static int record_all(void **state)
{
	(void)state;
	for (u32 i = 0; i < part_count; i++)
		parts[i].s->play(&parts[i].run, parts[i].seed);
	return 0;
}

static FILE *file;

static int load_all(void **state)
{
	(void)state;
	for (u32 i = 0; i < part_count; i++)
		if (!run_load(&parts[i].run, file))
			fail_msg("what was saved cannot be read");
	return 0;
}

static int save_all(void **state)
{
	record_all(state);
	for (u32 i = 0; i < part_count; i++)
		if (!run_save(&parts[i].run, file))
			fail_msg("saving: %s", strerror(errno));
	return fflush(file);
}

static int free_all(void **state)
{
	(void)state;
	for (u32 i = 0; i < part_count; i++)
		if (parts[i].run.trace.start)
			run_free(&parts[i].run);
	return 0;
}

static struct choice parse_choice(const char **cut, const char **seed)
{
	struct choice c = { { 0, 0 }, 0 };
	char *end;

	if (*cut) {
		c.cut.event = (u32)strtoul(*cut, &end, 10);
		if (*end == '.')
			c.cut.part = strtoull(end + 1, &end, 10);
		*cut = *end == '/' ? end + 1 : NULL;
	}
	if (*seed) {
		c.seed = strtoull(*seed, &end, 10);
		if (!strncmp(*seed, "kill", 4)) {
			c.seed = KILLED;
			end = (char *)*seed + 4;
		}
		*seed = *end == '/' ? end + 1 : NULL;
	}
	return c;
}

static void parse_only(int argc, char **argv)
{
	const char *cut = argc > 3 ? argv[3] : NULL;
	const char *seed = argc > 4 ? argv[4] : NULL;

	asked.scenario = argc > 1 ? argv[1] : NULL;
	asked.test = argc > 2 ? argv[2] : NULL;
	asked.cut = cut;
	asked.seed = seed;
	asked.first = parse_choice(&cut, &seed);
	asked.second = parse_choice(&cut, &seed);
}

/* The tests that are wanted; returns how many. */
static u32 choose_tests(struct CMUnitTest **out, bool saving, bool loading)
{
	struct CMUnitTest *v = calloc(part_count * TESTS + 1, sizeof(*v));
	u32 n = 0;

	for (u32 i = 0; v && i < part_count; i++) {
		for (u32 k = 0; k < TESTS; k++) {
			char *name;

			if ((saving && !tests[k].records) ||
			    (loading && tests[k].records) ||
			    (tests[k].hidden && !asked.test) ||
			    (asked.test && strcmp(asked.test, tests[k].name)))
				continue;
			if (asprintf(&name, "%s %s", parts[i].run.name,
				     tests[k].name) < 0)
				abort();
			v[n].name = name;
			v[n].test_func = asked.cut ? test_only : tests[k].fn;
			v[n++].initial_state = &parts[i].run;
		}
	}
	*out = v;
	return n;
}

int main(int argc, char **argv)
{
	bool saving = argc == 3 && !strcmp(argv[1], "--save");
	bool loading = argc == 3 && !strcmp(argv[1], "--load");
	struct CMUnitTest *list;
	u32 n;
	int rc;

	long_run = env_number("LONG", 0) != 0;
	if (saving || loading) {
		file = fopen(argv[2], saving ? "wb" : "rb");
		if (!file) {
			perror(argv[2]);
			return 1;
		}
	} else {
		parse_only(argc, argv);
		if (!record_works()) {
			fprintf(stderr,
				"crash: this program's engine cannot be recorded: --load FILE\n");
			return 1;
		}
	}
	/* images come and go: their memory stays */
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	mallopt(M_MMAP_THRESHOLD, 256 << 20);
	choose_parts();
	if (!part_count) {
		fprintf(stderr, "crash: no scenario '%s'\n", asked.scenario);
		return 2;
	}
	n = choose_tests(&list, saving, loading);
	cuts_begin(long_run);
	rc = _cmocka_run_group_tests("crash", list, n,
				     saving    ? save_all
				     : loading ? load_all
					       : record_all,
				     free_all);
	if (file)
		fclose(file);
	cuts_end();
	for (u32 i = 0; i < n; i++)
		free((char *)list[i].name);
	free(list);
	free(parts);
	return rc;
}
