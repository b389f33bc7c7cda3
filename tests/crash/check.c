// SPDX-License-Identifier: Apache-2.0
#include "check.h"

u32 boot_at(const struct run *run, u32 s)
{
	return s ? run->steps[s - 1].boot : FIRST_BOOT;
}

struct moment moment_of(const struct run *run, struct cut cut, bool power)
{
	struct moment m = { .power = power };

	while (m.done < run->count && run->steps[m.done].end < cut.event)
		m.done++;
	m.hi = m.done;
	if (m.done < run->count && run->steps[m.done].begin < cut.event)
		m.hi++;
	m.boot = power ? NEXT_BOOT : boot_at(run, m.hi);
	return m;
}

/* ---- Which states a branch may show ------------------------------------------- */

/* One branch after a crash. */
struct view_of {
	const struct run *run;
	struct moment m;
	u64 id;
	u32 lo; /* no state before this one may be seen */
};

static const struct branch_state *at_state(const struct view_of *v, u32 s)
{
	return snapshot_branch(&v->run->states[s], v->id);
}

static bool is_ancestor(const struct snapshot *s, u64 id, u64 of)
{
	while (of && of != id) {
		const struct branch_state *b = snapshot_branch(s, of);

		of = b ? b->info.parent_id : 0;
	}
	return of == id;
}

static struct view_of view_of(const struct run *run, struct moment m, u64 id)
{
	struct view_of v = { .run = run, .m = m, .id = id, .lo = m.done };

	for (u32 k = m.done; m.power && k; k--) {
		const struct step *s = &run->steps[k - 1];

		if (s->scope == SYNCS_ALL ||
		    (s->scope == SYNCS_BRANCH &&
		     is_ancestor(&run->states[k], id, s->branch)))
			break;
		v.lo = k - 1;
	}
	return v;
}

/* Whether state `s` may be what was last synced. */
static bool may_show(const struct view_of *v, u32 s)
{
	const struct step *steps = v->run->steps;

	if (s == v->lo || !v->m.power || (v->m.adopted && s >= v->m.done))
		return true;
	/* a sync within a step may come before what it does, or after */
	return steps[s - 1].has_sync || (s < v->m.hi && steps[s].has_sync);
}

static bool may_be(const struct view_of *v, bool there, u32 hi)
{
	for (u32 s = v->lo; s <= hi; s++)
		if (!at_state(v, s) == !there)
			return true;
	return false;
}

/* The fields of a branch's entry that two states have in common. */
static u32 equal_fields(const struct daxfs_branch_info *a,
			const struct daxfs_branch_info *b)
{
	bool main = a->id == DAXFS_MAIN_ID; /* its entry may be made anew */

	return (u32)(a->parent_id == b->parent_id) |
	       (u32)(a->state == b->state) << 1 |
	       (u32)(a->quota_bytes == b->quota_bytes) << 2 |
	       (u32)(a->quota_inodes == b->quota_inodes) << 3 |
	       (u32)(main || a->persistent == b->persistent) << 4 |
	       (u32)(main || a->ctime_ns == b->ctime_ns) << 5 |
	       (u32)(a->meta_len == b->meta_len && a->meta_crc == b->meta_crc)
		       << 6;
}
#define META_FIELD 0x40u
#define ALL_FIELDS 0x7fu

/* What the table says of it; each field is stored by itself. */
static bool check_info(const struct view_of *v, const struct branch_state *got,
		       struct reason *why)
{
	u32 known = 0;

	for (u32 s = v->lo; s <= v->m.hi; s++)
		if (at_state(v, s))
			known |=
				equal_fields(&at_state(v, s)->info, &got->info);
	/* the bytes of a branch that was never synced may be missing */
	if (v->m.power && !at_state(v, v->lo) && !got->info.meta_len)
		known |= META_FIELD;
	if (known == ALL_FIELDS)
		return true;
	return because(why,
		       "table entry: state %u, parent %llu, persistent %u, made %llu, quota %llu/%llu, metadata %u",
		       (unsigned)got->info.state,
		       (unsigned long long)got->info.parent_id,
		       got->info.persistent,
		       (unsigned long long)got->info.ctime_ns,
		       (unsigned long long)got->info.quota_bytes,
		       (unsigned long long)got->info.quota_inodes,
		       got->info.meta_len);
}

/* The trees of all states that may have left their bytes on `s`. */
static const struct tree **trees_since(const struct view_of *v, u32 s, u32 *n)
{
	const struct tree **t = calloc(v->m.hi + 2u, sizeof(struct tree *));

	if (!t)
		abort();
	/* a step in flight may clear bytes once it is in the log */
	*n = 0;
	if (s > v->m.done && at_state(v, s - 1))
		t[(*n)++] = &at_state(v, s - 1)->tree;
	for (u32 k = s; k <= v->m.hi; k++)
		if (at_state(v, k))
			t[(*n)++] = &at_state(v, k)->tree;
	return t;
}

/* A write after state `s` that may have been done, or kept, in part. */
static bool in_part(const struct view_of *v, u32 s)
{
	return s < v->m.hi && v->run->steps[s].writes &&
	       v->run->steps[s].has_sync && at_state(v, s + 1);
}

/* Does it show state `s`, but for what was overwritten in place? */
static bool shows(const struct view_of *v, u32 s,
		  const struct branch_state *got, struct reason *why)
{
	const struct branch_state *b = at_state(v, s);
	const struct tree **trees;
	struct reason r;
	bool ok;
	u32 n;

	if (!b)
		return because(why, "it was not there");
	/* most often nothing else is needed */
	if (tree_same(&b->tree, &got->tree, why))
		return true;
	trees = trees_since(v, s, &n);
	ok = tree_same_but_newer(&b->tree, &got->tree, trees, n, why);
	if (!ok && in_part(v, s))
		ok = tree_between(&b->tree, &at_state(v, s + 1)->tree,
				  &got->tree, trees, n, &r);
	free(trees);
	return ok;
}

/* The states that a branch shows, from the first to the last. */
struct shown {
	u32 first, last;
};

/* One more thing that is not so. */
static void also(struct reason *why, u32 state, const struct reason *more)
{
	size_t n = strlen(why->text);

	snprintf(why->text + n, sizeof(why->text) - n,
		 "\n# not as after step %d: %.250s", (int)state - 1,
		 more->text);
}

static bool shows_any(const struct view_of *v, const struct branch_state *got,
		      struct shown *shown, struct reason *why)
{
	struct reason r;
	bool found = false;

	for (u32 s = v->m.hi + 1; s-- > v->lo;) {
		if (!may_show(v, s) || !at_state(v, s))
			continue;
		if (!shows(v, s, got, &r)) {
			also(why, s, &r);
			continue;
		}
		if (!found)
			shown->last = s;
		shown->first = s;
		found = true;
	}
	return found;
}

static bool check_tree(const struct view_of *v, const struct snapshot *all,
		       const struct branch_state *got, struct shown *shown,
		       struct reason *why)
{
	const struct branch_state *parent;
	struct reason r = { "" };

	why->text[0] = '\0';
	if (shows_any(v, got, shown, why))
		return true;
	/* created and never synced: what its parent has */
	parent = snapshot_branch(all, got->info.parent_id);
	if (v->m.power && !at_state(v, v->lo) && parent) {
		*shown = (struct shown){ v->lo, v->m.hi };
		if (tree_same(&parent->tree, &got->tree, &r))
			return true;
		also(why, 0, &r);
	}
	for (u32 s = v->m.hi + 1; s--;) {
		if (!shows(v, s, got, &r))
			continue;
		snprintf(r.text, sizeof(r.text), "it is");
		also(why, s, &r);
		break;
	}
	return false;
}

static bool check_branch(const struct view_of *v, const struct snapshot *all,
			 struct shown *shown, struct reason *why)
{
	const struct branch_state *got = snapshot_branch(all, v->id);
	struct reason r;

	if (!may_be(v, got, v->m.hi))
		return because(why, "branch %llu is %s",
			       (unsigned long long)v->id,
			       got ? "there" : "missing");
	if (!got)
		return true;
	if (!check_info(v, got, &r) || !check_tree(v, all, got, shown, &r))
		return because(why, "branch %s: %.1900s", got->info.name,
			       r.text);
	return true;
}

/* ---- All branches ---------------------------------------------------------------- */

/* Step k is a commit of which main shows only the one side. */
static bool check_commit(const struct run *run, struct moment m, u32 k,
			 const struct shown *main_shows,
			 const struct snapshot *got, struct reason *why)
{
	const struct snapshot *before = &run->states[k];

	for (u32 i = 0; i < before->count; i++) {
		struct view_of v = view_of(run, m, before->branch[i].info.id);
		bool there = snapshot_branch(got, v.id);

		if (at_state(&v, k + 1))
			continue;
		if (main_shows->first > k && there)
			return because(why,
				       "main has the commit, branch %s is still there",
				       before->branch[i].info.name);
		if (main_shows->last <= k && !there && !may_be(&v, false, k))
			return because(why,
				       "main does not have the commit, branch %s is gone",
				       before->branch[i].info.name);
	}
	return true;
}

bool check_states(const struct run *run, struct moment m,
		  const struct snapshot *got, struct reason *why)
{
	struct view_of v = view_of(run, m, DAXFS_MAIN_ID);
	struct shown main_shows = { 0, 0 }, shown;

	if (!check_branch(&v, got, &main_shows, why))
		return false;
	for (u32 k = v.lo; k < m.hi; k++)
		if (run->steps[k].commits &&
		    !check_commit(run, m, k, &main_shows, got, why))
			return false;
	for (u32 s = 0; s <= m.hi; s++) {
		const struct snapshot *x = &run->states[s];

		/* each id once: where it appears first */
		for (u32 i = 0; i < x->count; i++) {
			u64 id = x->branch[i].info.id;

			if (id == DAXFS_MAIN_ID ||
			    (s && snapshot_branch(x - 1, id)))
				continue;
			v = view_of(run, m, id);
			if (!check_branch(&v, got, &shown, why))
				return false;
		}
	}
	for (u32 i = 0; i < got->count; i++) {
		u64 id = got->branch[i].info.id;
		bool known = false;

		for (u32 s = 0; s <= m.hi && !known; s++)
			known = snapshot_branch(&run->states[s], id);
		if (!known)
			return because(why, "branch %s never was",
				       got->branch[i].info.name);
	}
	return true;
}

u32 oldest_main(const struct run *run, struct moment m)
{
	return view_of(run, m, DAXFS_MAIN_ID).lo;
}
