// SPDX-License-Identifier: Apache-2.0
/* check_crash(): open what a crash has left, compare it and work with it. */
#include "check.h"

#include "record.h"

struct recovered {
	struct daxfs_region *r;
	struct snapshot shows;
	u8 *mem;
	size_t size;
	u32 boot;
};

static bool open_again(struct recovered *x, struct reason *why)
{
	struct daxfs_backing bk = record_backing(x->mem, x->size, x->boot);
	struct daxfs_message msg = { "" };
	struct daxfs_region_info info;
	int rc = daxfs_region_open(&bk, DAXFS_OPEN_VALIDATE, &x->r, &msg);

	if (rc)
		return because(why, "open: %d, %s", rc, msg.text);
	if (msg.text[0])
		return because(why, "open: %s", msg.text);
	daxfs_region_info(x->r, &info);
	return !info.readonly || because(why, "opens read-only");
}

/* Orphans go; what is counted is what is seen. */
static bool use_counts(struct recovered *x, struct reason *why)
{
	for (u32 i = 0; i < x->shows.count; i++) {
		const struct branch_state *s = &x->shows.branch[i], *p;
		struct daxfs_branch *b;
		u64 bytes, inodes = 0;
		u32 want;
		int rc;

		if (s->info.id == DAXFS_MAIN_ID || s->info.children ||
		    s->info.state != DAXFS_BRANCH_ACTIVE)
			continue;
		p = snapshot_branch(&x->shows, s->info.parent_id);
		if (daxfs_branch_get(x->r, s->info.name, &b))
			return because(why, "branch %s", s->info.name);
		rc = daxfs_evict_orphans(b);
		if (!rc)
			rc = daxfs_usage(b, &bytes, &inodes);
		daxfs_branch_put(b);
		want = tree_own_inodes(&s->tree, &p->tree);
		if (rc || inodes != want)
			return because(why,
				       "branch %s: evicting orphans: %d; %llu inodes counted, %u seen",
				       s->info.name, rc,
				       (unsigned long long)inodes, want);
	}
	return true;
}

#define NEW_NAME "made after the crash"

/* Some branch that can be written to. */
static struct daxfs_branch *writable_branch(struct recovered *x)
{
	struct daxfs_branch *b = NULL;

	for (u32 i = x->shows.count; i--;) {
		const struct daxfs_branch_info *s = &x->shows.branch[i].info;

		if (s->id != DAXFS_MAIN_ID && !s->children &&
		    s->state == DAXFS_BRANCH_ACTIVE && !s->quota_bytes &&
		    !s->quota_inodes && !daxfs_branch_get(x->r, s->name, &b))
			return b;
	}
	if (!daxfs_branch_create(x->r, "after", "main", 0))
		daxfs_branch_get(x->r, "after", &b);
	return b;
}

static bool number_is_new(const struct recovered *x, u64 ino)
{
	for (u32 i = 0; i < x->shows.count; i++) {
		const struct tree *t = &x->shows.branch[i].tree;

		for (u32 k = 0; k < t->nodes; k++)
			if (t->node[k].attr.ino == ino)
				return false;
	}
	return true;
}

static bool new_file_reads(struct daxfs_branch *b, u64 ino, struct reason *why)
{
	u8 bytes[9000];
	ssize_t n = daxfs_read(b, ino, bytes, sizeof(bytes), 0);

	if (n != sizeof(bytes))
		return because(why, "reading a new file: %zd", n);
	for (u32 i = 0; i < sizeof(bytes); i++)
		if (bytes[i] != (u8)(i * 7))
			return because(why, "a new file's byte %u is wrong", i);
	return true;
}

static int write_new_file(struct daxfs_branch *b, u64 *ino)
{
	struct daxfs_new in = { .mode = S_IFREG | 0600 };
	struct daxfs_attr a;
	u8 bytes[9000];
	ssize_t n;
	int rc;

	for (u32 i = 0; i < sizeof(bytes); i++)
		bytes[i] = (u8)(i * 7);
	rc = daxfs_make(b, DAXFS_ROOT_INO, NEW_NAME, strlen(NEW_NAME), &in, &a);
	*ino = a.ino;
	if (!rc)
		rc = daxfs_setxattr(b, a.ino, "user.x", "y", 1, 0);
	for (u32 i = 0; !rc && i < sizeof(bytes); i += 3000) {
		n = daxfs_write(b, a.ino, bytes + i, 3000, i, 0);
		rc = n < 0 ? (int)n : n == 3000 ? 0 : -ENOSPC;
	}
	return rc;
}

/* The region can be written to, and keeps what it had. */
static bool use_file(struct recovered *x, bool thorough, struct reason *why)
{
	struct daxfs_branch *b = writable_branch(x);
	char name[DAXFS_BRANCH_NAME_MAX + 1];
	struct daxfs_branch_info info;
	struct snapshot again;
	u64 ino = 0;
	bool ok;
	int rc;

	if (!b)
		return because(why, "no branch can be written to");
	rc = write_new_file(b, &ino);
	if (!rc)
		rc = daxfs_fsync(b, ino);
	if (!rc)
		rc = daxfs_branch_info(b, &info);
	if (rc) {
		daxfs_branch_put(b);
		/* a full region stays full */
		return rc == -ENOSPC || because(why, "writing: %d", rc);
	}
	snprintf(name, sizeof(name), "%s", info.name);
	ok = number_is_new(x, ino)
		     ? new_file_reads(b, ino, why)
		     : because(why, "a new file has a used number");
	daxfs_branch_put(b);
	if (!ok || !thorough)
		return ok;
	daxfs_region_close(x->r);
	x->r = NULL;
	if (!open_again(x, why))
		return false;
	ok = snapshot_take(x->r, x->mem, &again, why);
	for (u32 i = 0; ok && i < again.count; i++) {
		const struct branch_state *s = &again.branch[i];
		const struct branch_state *was =
			snapshot_branch(&x->shows, s->info.id);

		if (strcmp(s->info.name, name) != 0)
			ok = was && tree_same(&was->tree, &s->tree, why);
	}
	snapshot_free(&again);
	if (!ok)
		return false;
	if (daxfs_branch_get(x->r, name, &b))
		return because(why, "branch %s is gone", name);
	ok = new_file_reads(b, ino, why);
	daxfs_branch_put(b);
	return ok;
}

/* Segments that are free once all branches have ended. */
static bool end_all(struct daxfs_region *r, u64 *free_segments, u64 *segments,
		    struct reason *why)
{
	struct daxfs_branch_info *list;
	struct daxfs_region_info info;
	bool ok = true;
	u32 n;

	if (daxfs_branch_list(r, &list, &n))
		return because(why, "no memory");
	for (u32 i = n; ok && i-- > 1;) {
		int rc = daxfs_branch_delete(r, list[i].name);

		/* its child's end may have been its own */
		if (rc && rc != -ENOENT)
			ok = because(why, "deleting %s: %d", list[i].name, rc);
	}
	daxfs_free(list);
	if (!ok)
		return false;
	if (daxfs_region_sync(r))
		return because(why, "region sync");
	daxfs_region_info(r, &info);
	*free_segments = info.segments_free;
	*segments = info.segments;
	return true;
}

/* The same for a state of the run that nothing was lost of. */
static bool spare_in(const struct run *run, u32 state, u64 *out,
		     struct reason *why)
{
	u32 end = state ? run->steps[state - 1].end : 0;
	size_t size = run->trace.size;
	struct recovered x = { .boot = boot_at(run, state), .size = size };
	struct machine m;
	u64 segments;
	bool ok;

	machine_init(&m, run->trace.start, size);
	for (u32 i = 0; i < end; i++)
		machine_apply(&m, &run->trace, i, WHOLE);
	x.mem = aligned_alloc(4096, size);
	if (!x.mem)
		abort();
	memcpy(x.mem, m.now, size);
	machine_free(&m);
	ok = open_again(&x, why) && end_all(x.r, out, &segments, why);
	daxfs_region_close(x.r);
	free(x.mem);
	return ok;
}

/* Main may keep some segments; which states say so is asked once each. */
static bool check_leaks(struct run *run, struct moment m, struct recovered *x,
			struct reason *why)
{
	u32 lo = oldest_main(run, m);
	u64 have, all, want = 0;

	if (!end_all(x->r, &have, &all, why))
		return false;
	if (have == all)
		return true;
	if (!run->spare)
		run->spare = calloc(run->count + 1u, sizeof(*run->spare));
	for (u32 s = lo; run->spare && s <= m.hi; s++) {
		if (!run->spare[s]) {
			if (!spare_in(run, s, &want, why))
				return false;
			run->spare[s] = want + 1;
		}
		want = run->spare[s] - 1;
		if (have >= want)
			return true;
	}
	return because(why, "%llu of %llu segments free in the end, not %llu",
		       (unsigned long long)have, (unsigned long long)all,
		       (unsigned long long)want);
}

bool may_be_bare(const struct run *run, struct moment m)
{
	return !run->states[oldest_main(run, m)].count;
}

bool check_crash(struct run *run, struct moment m, u8 *mem, size_t size,
		 bool thorough, struct reason *why)
{
	struct recovered x = { .mem = mem, .size = size, .boot = m.boot };
	bool ok = open_again(&x, why);

	if (may_be_bare(run, m))
		ok = true;
	else
		ok = ok && snapshot_take(x.r, mem, &x.shows, why) &&
		     check_states(run, m, &x.shows, why) &&
		     use_counts(&x, why) && use_file(&x, thorough, why) &&
		     check_leaks(run, m, &x, why);
	snapshot_free(&x.shows);
	daxfs_region_close(x.r);
	return ok;
}
