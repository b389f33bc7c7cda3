// SPDX-License-Identifier: Apache-2.0
#include "cuts.h"

#include "tests/unit/core_util.h"

#include "record.h"

/* How many images a scenario's tests make, about. */
struct effort {
	u32 kills;   /* moments of a kill */
	u32 within;  /* of them, long stores that are cut as well, */
	u32 pieces;  /* in so many pieces */
	u32 powers;  /* moments of a loss of power, */
	u32 seeds;   /* times so many */
	u32 firsts;  /* first crashes of two, by kill and by loss of power, */
	u32 seconds; /* times so many moments of the second, */
	u32 second_seeds; /* times so many */
};
static const struct effort brief = { 300, 40, 2, 90, 6, 16, 4, 2 };
static const struct effort longer = { 3000, 3000, 16, 3000, 20, 80, 10, 4 };

struct asked asked;

static struct effort effort;
static struct mem work; /* where images are opened */

void cuts_begin(bool long_run)
{
	effort = long_run ? longer : brief;
	mem_new(&work, LARGEST_REGION);
}

void cuts_end(void)
{
	mem_free(&work);
}

/* ---- Choosing ------------------------------------------------------------------ */

static u64 hash(u64 a, u64 b)
{
	u64 s = a * 1000003 + b;

	return rnd(&s);
}

static bool cuts_here(const struct trace *t, u32 event)
{
	return event == t->count || t->events[event].type != EV_END;
}

/* Of `all` moments about `want` are taken, the same ones every time. */
static bool chosen(u32 event, u32 all, u32 want)
{
	return all <= want || hash(event, 1) % all < want;
}

/* Between a sync's start and its end most is at stake. */
static bool in_sync(const struct trace *t, u32 event)
{
	return event < t->count && t->events[event].type == EV_SYNC;
}

static u32 count_cuts(const struct trace *t)
{
	u32 n = 0;

	for (u32 i = 0; i <= t->count; i++)
		n += cuts_here(t, i);
	return n;
}

/* ---- One image -------------------------------------------------------------------- */

static void name_choice(const struct choice *c, char *cut, char *seed)
{
	snprintf(cut, 32, "%u.%llu", c->cut.event,
		 (unsigned long long)c->cut.part);
	snprintf(seed, 32, "%llu", (unsigned long long)c->seed);
	if (c->seed == KILLED)
		strcpy(seed, "kill");
}

static void complain(const struct run *run, const char *test,
		     const struct choice *a, const struct choice *b,
		     const struct reason *why)
{
	struct moment m = moment_of(run, a->cut, false);
	char cut[2][32] = { "", "" }, seed[2][32] = { "", "" };

	name_choice(a, cut[0], seed[0]);
	if (b)
		name_choice(b, cut[1], seed[1]);
	fail_msg("%s\n# after step %d, %s '%s'\n# again: build/crash %s %s %s%s%s %s%s%s",
		 why->text, (int)m.done - 1,
		 m.hi > m.done ? "within" : "before",
		 m.done < run->count ? run->steps[m.done].text : "the end",
		 run->name, test, cut[0], b ? "/" : "", cut[1], seed[0],
		 b ? "/" : "", seed[1]);
}

static void try_kill(struct run *run, const struct machine *at,
		     const struct choice *c, bool thorough)
{
	struct reason why = { "" };

	memcpy(work.base, at->now, at->size);
	if (!check_crash(run, moment_of(run, c->cut, false), work.base,
			 at->size, thorough, &why))
		complain(run, "kill", c, NULL, &why);
}

static void try_power(struct run *run, struct machine *at,
		      const struct choice *c, bool thorough)
{
	struct reason why = { "" };

	machine_lose_power(at, c->seed, work.base);
	if (!check_crash(run, moment_of(run, c->cut, true), work.base, at->size,
			 thorough, &why))
		complain(run, "power", c, NULL, &why);
}

/* ---- The tests kill and power ------------------------------------------------------- */

/* Go on to `event`; its part is not done. */
static void advance(struct machine *m, const struct trace *t, u32 *now,
		    u32 event)
{
	for (; *now < event; (*now)++)
		machine_apply(m, t, *now, WHOLE);
}

/* Within one long store; what is missing of it comes when it is applied. */
static void kill_within(struct run *run, struct machine *m, u32 event)
{
	const struct event *e = &run->trace.events[event];
	u64 step = e->len / effort.pieces;

	if (e->type != EV_STORE || e->len <= 8)
		return;
	for (u64 part = 8 - (e->off & 7); part < e->len;
	     part += (step + 8) & ~7ull) {
		struct choice c = { { event, part }, 0 };

		machine_apply(m, &run->trace, event, part);
		try_kill(run, m, &c, false);
	}
}

void test_kill(void **state)
{
	struct run *run = *state;
	const struct trace *t = &run->trace;
	u32 all = count_cuts(t), now = 0;
	struct machine m;

	machine_init(&m, t->start, t->size);
	for (u32 i = 0; i <= t->count; i++) {
		struct choice c = { { i, 0 }, 0 };

		if (!cuts_here(t, i) || !chosen(i, all, effort.kills))
			continue;
		advance(&m, t, &now, i);
		try_kill(run, &m, &c, hash(i, 2) % 8 == 0);
		if (i < t->count && chosen(i, all, effort.within))
			kill_within(run, &m, i);
	}
	machine_free(&m);
}

void test_power(void **state)
{
	struct run *run = *state;
	const struct trace *t = &run->trace;
	u32 all = count_cuts(t), now = 0;
	struct machine m;

	machine_init(&m, t->start, t->size);
	for (u32 i = 0; i <= t->count; i++) {
		if (!cuts_here(t, i) ||
		    !(in_sync(t, i) || chosen(i, all, effort.powers)))
			continue;
		advance(&m, t, &now, i);
		for (u64 seed = 0; seed < effort.seeds; seed++) {
			/* the first two are the extremes */
			struct choice c = { { i, 0 },
					    seed < 2 ? seed
						     : hash(i, seed) >> 32 };

			try_power(run, &m, &c, seed == 2);
		}
	}
	machine_free(&m);
}

/* ---- The test again ------------------------------------------------------------------ */

struct second {
	struct run *run;
	struct choice first;
	struct moment m;
	struct trace recovery;
	struct machine machine; /* before the recovery */
};

/* Recover from the first crash, and record that. */
static void recover(struct second *s, const struct machine *at)
{
	const struct run *run = s->run;
	struct daxfs_backing bk;
	struct daxfs_region *r;
	struct daxfs_message msg = { "" };
	struct reason why = { "" };

	machine_copy(&s->machine, at);
	if (s->first.seed == KILLED) {
		memcpy(work.base, at->now, at->size);
	} else {
		machine_lose_power(&s->machine, s->first.seed, work.base);
		machine_free(&s->machine);
		machine_init(&s->machine, work.base, at->size);
	}
	bk = record_backing(work.base, at->size, s->m.boot);
	record_start(&s->recovery, work.base, at->size);
	if (daxfs_region_open(&bk, 0, &r, &msg) && !may_be_bare(run, s->m)) {
		because(&why, "open: %s", msg.text);
		complain(run, s->m.power ? "power" : "kill", &s->first, NULL,
			 &why);
	}
	if (!record_stop())
		fail_msg("%s: stores that were not recorded", run->name);
	daxfs_region_close(r);
}

/* The second crash. */
static void try_again(struct second *s, const struct choice *c)
{
	struct moment m = s->m;
	struct reason why = { "" };

	if (c->seed == KILLED) {
		memcpy(work.base, s->machine.now, s->machine.size);
	} else {
		machine_lose_power(&s->machine, c->seed, work.base);
		m.adopted = !m.power;
		m.power = true;
		m.boot = NEXT_BOOT + 1;
	}
	if (!check_crash(s->run, m, work.base, s->machine.size, false, &why))
		complain(s->run, "again", &s->first, c, &why);
}

static void second_crashes(struct second *s)
{
	const struct trace *t = &s->recovery;
	u32 all = count_cuts(t), now = 0;
	u64 salt = hash(s->first.cut.event, s->first.seed);

	for (u32 i = 0; i <= t->count; i++) {
		if (asked.cut && asked.second.cut.event != i)
			continue;
		if (!asked.cut && hash(i, salt) % all >= effort.seconds)
			continue;
		advance(&s->machine, t, &now, i);
		for (u64 k = 0; k < effort.second_seeds; k++) {
			struct choice c = { { i, 0 }, hash(i ^ salt, k) >> 32 };

			if (k == 0)
				c.seed = KILLED;
			if (asked.seed)
				c.seed = asked.second.seed;
			try_again(s, &c);
		}
	}
}

static void crash_twice(struct run *run, const struct machine *m,
			struct cut cut, u64 seed)
{
	struct second s = { .run = run, .first = { cut, seed } };

	s.m = moment_of(run, cut, seed != KILLED);
	recover(&s, m);
	second_crashes(&s);
	machine_free(&s.machine);
	trace_free(&s.recovery);
}

void test_again(void **state)
{
	struct run *run = *state;
	const struct trace *t = &run->trace;
	u32 all = count_cuts(t), now = 0;
	struct machine m;

	if (!record_works())
		skip();
	machine_init(&m, t->start, t->size);
	for (u32 i = 0; i <= t->count; i++) {
		if (!cuts_here(t, i) || hash(i, 3) % all >= effort.firsts)
			continue;
		advance(&m, t, &now, i);
		crash_twice(run, &m, (struct cut){ i, 0 }, KILLED);
		crash_twice(run, &m, (struct cut){ i, 0 }, hash(i, 4) >> 32);
	}
	machine_free(&m);
}

/* ---- One image, by the command line --------------------------------------------------- */

void test_only(void **state)
{
	struct run *run = *state;
	u32 now = 0;
	struct machine m;
	struct cut cut = asked.first.cut;

	machine_init(&m, run->trace.start, run->trace.size);
	advance(&m, &run->trace, &now, cut.event);
	if (cut.part)
		machine_apply(&m, &run->trace, cut.event, cut.part);
	if (!strcmp(asked.test, "kill"))
		try_kill(run, &m, &asked.first, true);
	else if (!strcmp(asked.test, "power"))
		try_power(run, &m, &asked.first, true);
	else
		crash_twice(run, &m, cut, asked.first.seed);
	machine_free(&m);
}
