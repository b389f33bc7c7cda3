// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/core_util.h"

#include "record.h"
#include "run.h"

static void open_region(struct run *run)
{
	struct daxfs_backing bk =
		record_backing(run->mem, run->size, run->boot);
	struct daxfs_message msg = { "" };

	if (daxfs_region_open(&bk, DAXFS_OPEN_VALIDATE | run->flags, &run->r,
			      &msg))
		fail_msg("%s: open: %s", run->name, msg.text);
}

/* What a closed region would show. */
static bool take_closed(struct run *run, struct snapshot *out,
			struct reason *why)
{
	struct daxfs_backing bk = { .size = run->size, .readonly = true };
	struct daxfs_message msg = { "" };
	struct daxfs_region *r;
	struct mem copy;
	bool ok;

	mem_new(&copy, run->size);
	memcpy(copy.base, run->mem, run->size);
	bk.base = copy.base;
	ok = !daxfs_region_open(&bk, 0, &r, &msg);
	if (ok) {
		ok = snapshot_take(r, copy.base, out, why);
		daxfs_region_close(r);
	} else {
		because(why, "open: %s", msg.text);
	}
	mem_free(&copy);
	return ok;
}

static void take_state(struct run *run)
{
	struct snapshot *s;
	struct reason why = { "" };
	bool ok;

	run->states =
		realloc(run->states, (run->count + 1) * sizeof(*run->states));
	assert_non_null(run->states);
	s = &run->states[run->count];
	ok = run->r ? snapshot_take(run->r, run->mem, s, &why)
		    : take_closed(run, s, &why);
	if (!ok)
		fail_msg("%s: %s", run->name, why.text);
	if (run->count)
		snapshot_share(s, s - 1);
}

void run_start(struct run *run, u8 *mem, size_t size)
{
	run->mem = mem;
	run->size = size;
	run->boot = FIRST_BOOT;
	open_region(run);
	assert_int_equal(daxfs_region_sync(run->r), 0);
	take_state(run);
	record_start(&run->trace, mem, size);
}

void run_start_bare(struct run *run, u8 *mem, size_t size)
{
	run->mem = mem;
	run->size = size;
	run->boot = FIRST_BOOT;
	run->states = calloc(1, sizeof(*run->states));
	assert_non_null(run->states);
	record_start(&run->trace, mem, size);
}

void run_open(struct run *run)
{
	step_begin(run, "opened");
	open_region(run);
	step_end(run, true, SYNCS_ALL, NULL);
}

void run_stop(struct run *run)
{
	if (!record_stop())
		fail_msg("%s: stores that were not recorded", run->name);
	daxfs_region_close(run->r);
	run->r = NULL;
	run->mem = NULL;
}

void run_free(struct run *run)
{
	for (u32 i = 0; run->states && i <= run->count; i++)
		snapshot_free(&run->states[i]);
	free(run->states);
	free(run->steps);
	free(run->spare);
	trace_free(&run->trace);
	memset(run, 0, sizeof(*run));
}

/* ---- Steps ---------------------------------------------------------------------- */

static bool has_sync(const struct trace *t, u32 from)
{
	for (; from < t->count; from++)
		if (t->events[from].type == EV_SYNC)
			return true;
	return false;
}

void step_begin(struct run *run, const char *text)
{
	struct step *s;

	run->steps =
		realloc(run->steps, (run->count + 1) * sizeof(*run->steps));
	assert_non_null(run->steps);
	s = &run->steps[run->count];
	memset(s, 0, sizeof(*s));
	/* looking at a shared region takes branches, and giving them back syncs */
	if (run->count)
		s[-1].has_sync |= has_sync(&run->trace, s[-1].end);
	snprintf(s->text, sizeof(s->text), "%s", text);
	s->boot = run->boot;
	s->begin = run->trace.count;
	record_mark(EV_BEGIN, run->count);
}

void step_end(struct run *run, bool ok, enum scope scope, const char *branch)
{
	struct step *s = &run->steps[run->count];
	const struct snapshot *before = &run->states[run->count];

	if (!ok)
		fail_msg("%s: step %u failed: %s", run->name, run->count,
			 s->text);
	s->end = run->trace.count;
	record_mark(EV_END, run->count);
	s->scope = scope;
	s->has_sync = has_sync(&run->trace, s->begin);
	for (u32 i = 0; branch && i < before->count; i++)
		if (!strcmp(before->branch[i].info.name, branch))
			s->branch = before->branch[i].info.id;
	run->count++;
	take_state(run);
}

void run_restart(struct run *run)
{
	step_begin(run, "killed and started again");
	/* what the process had in memory is gone, not given back */
	open_region(run);
	step_end(run, true, SYNCS_ALL, NULL);
}

void run_reboot(struct run *run)
{
	step_begin(run, "closed");
	daxfs_region_close(run->r);
	run->r = NULL;
	step_end(run, true, SYNCS_ALL, NULL);
	run->boot++;
	step_begin(run, "opened by the next boot");
	open_region(run);
	step_end(run, true, SYNCS_ALL, NULL);
}

/* ---- Files ---------------------------------------------------------------------- */

/* Writes or reads, so that the order of things is said once. */
struct stream {
	FILE *f;
	bool reads, ok;
	bool (*move)(FILE *f, void *p, size_t n);
};

static bool move_in(FILE *f, void *p, size_t n)
{
	return fread(p, n, 1, f) == 1;
}

static bool move_out(FILE *f, void *p, size_t n)
{
	return fwrite(p, n, 1, f) == 1;
}

static void pass(struct stream *s, void *p, size_t n)
{
	if (s->ok && n)
		s->ok = s->move(s->f, p, n);
}

/* An array of `n` whose memory is made when it is read. */
static void pass_array(struct stream *s, void *array, size_t n, size_t size)
{
	void **p = array;

	if (s->reads) {
		*p = s->ok ? calloc(n + 1, size) : NULL;
		s->ok = s->ok && *p;
	}
	pass(s, *p, n * size);
}

/* `before`: what its trees may be borrowed from. */
static void pass_snapshot(struct stream *s, struct snapshot *x,
			  const struct snapshot *before)
{
	pass(s, &x->count, sizeof(x->count));
	pass_array(s, &x->branch, x->count, sizeof(*x->branch));
	for (u32 i = 0; s->ok && i < x->count; i++) {
		struct tree *t = &x->branch[i].tree;
		u64 id = x->branch[i].info.id;

		if (x->branch[i].borrowed) {
			*t = snapshot_branch(before, id)->tree;
			continue;
		}
		pass_array(s, &t->node, t->nodes, sizeof(*t->node));
		pass_array(s, &t->bytes, t->bytes_len, 1);
	}
}

static bool pass_run(struct stream *s, struct run *run)
{
	struct trace *t = &run->trace;

	s->ok = true;
	pass(s, run->name, sizeof(run->name));
	pass(s, &t->size, sizeof(t->size));
	pass(s, &t->count, sizeof(t->count));
	pass(s, &t->bytes_len, sizeof(t->bytes_len));
	pass(s, &run->count, sizeof(run->count));
	pass_array(s, &t->start, t->size, 1);
	pass_array(s, &t->events, t->count, sizeof(*t->events));
	pass_array(s, &t->bytes, t->bytes_len, 1);
	pass_array(s, &run->steps, run->count, sizeof(*run->steps));
	if (s->reads && s->ok)
		run->states = calloc(run->count + 1, sizeof(*run->states));
	for (u32 i = 0; s->ok && i <= run->count; i++)
		pass_snapshot(s, &run->states[i], &run->states[i] - 1);
	return s->ok;
}

bool run_save(const struct run *run, FILE *f)
{
	struct stream s = { .f = f, .move = move_out };
	struct run copy = *run;

	return pass_run(&s, &copy);
}

bool run_load(struct run *run, FILE *f)
{
	struct stream s = { .f = f, .reads = true, .move = move_in };

	memset(run, 0, sizeof(*run));
	return pass_run(&s, run);
}
