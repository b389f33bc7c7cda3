// SPDX-License-Identifier: Apache-2.0
/* All sorts of things, as a seed says. */
#include "play.h"

static const char *const names[] = { "n0", "n1", "n2", "n3", "n4", "n5" };
#define NAMES (sizeof(names) / sizeof(names[0]))

/* One operation that may fail, for want of space or of its file. */
static bool any_file_step(struct daxfs_branch *b, u64 *s)
{
	const char *n = names[rnd_below(s, NAMES)];
	const char *m = names[rnd_below(s, NAMES)];
	u64 ino = find_name(b, ROOT, n), off = rnd_below(s, 40000);
	u32 len = rnd_below(s, 3) ? 1 + rnd_below(s, 9000)
				  : 1 + rnd_below(s, 150000);

	switch (rnd_below(s, ino ? 12 : 1)) {
	case 0:
		(void)make(b, ROOT, n, S_IFREG | 0644);
		break;
	case 1:
	case 2:
	case 3:
		(void)put(b, n, rnd_below(s, 2) ? off & ~4095ull : off, len,
			  (u8)rnd(s));
		break;
	case 4:
		(void)append(b, n, 1 + rnd_below(s, 16000), (u8)rnd(s));
		break;
	case 5:
		(void)cut_file(b, n, rnd_below(s, 2) ? off : off & ~4095ull);
		break;
	case 6:
		(void)do_unlink(b, ROOT, n);
		break;
	case 7:
		(void)do_rename(b, ROOT, n, ROOT, m,
				rnd_below(s, 3) ? 0 : DAXFS_RENAME_EXCHANGE);
		break;
	case 8:
		(void)set_xattr(b, ino, "user.x", 1 + rnd_below(s, 9000),
				(u8)rnd(s));
		break;
	case 9:
		(void)daxfs_fallocate(b, ino,
				      DAXFS_FALLOC_PUNCH |
					      DAXFS_FALLOC_KEEP_SIZE,
				      off, len);
		break;
	case 10:
		(void)daxfs_fallocate(b, ino,
				      rnd_below(s, 2) ? DAXFS_FALLOC_ZERO
						      : DAXFS_FALLOC_COLLAPSE,
				      off & ~4095ull, 4096);
		break;
	default:
		(void)daxfs_link(b, ino, ROOT, m, strlen(m), NULL);
	}
	return true;
}

/* Files of one branch; with an odd seed in a region that is nearly full. */
void play_random(struct run *run, u64 seed)
{
	struct daxfs_branch *b;
	u64 s = seed;

	begin_sized(run, seed % 2 ? 640 * KB : 1536 * KB, seed % 6 == 0);
	b = branch(run, "b", "main");
	for (u32 i = 0; i < 90; i++) {
		if (rnd_below(&s, seed % 2 ? 20 : 6))
			STEP_WRITE(run, any_file_step(b, &s));
		else if (rnd_below(&s, 4))
			STEP_FSYNC(run, "b", fsync_branch(b));
		else
			STEP_SYNC(run, !daxfs_region_sync(run->r));
	}
	daxfs_branch_put(b);
	end(run);
}

/* The branch that files change on; made where there is none. */
static bool leaf(struct run *run, u64 *s, struct daxfs_branch **out)
{
	struct daxfs_branch_info *v;
	u32 n, k;
	bool found = false;

	if (daxfs_branch_list(run->r, &v, &n))
		return false;
	k = rnd_below(s, n);
	for (u32 i = 0; i < n && !found; i++) {
		const struct daxfs_branch_info *x = &v[(i + k) % n];

		found = x->id != DAXFS_MAIN_ID && !x->children &&
			x->state == DAXFS_BRANCH_ACTIVE &&
			!daxfs_branch_get(run->r, x->name, out);
	}
	daxfs_free(v);
	return found;
}

static const char *any_branch(struct run *run, u64 *s)
{
	const struct snapshot *now = &run->states[run->count];

	return now->branch[rnd_below(s, now->count)].info.name;
}

/* One that is refused is a step, but no commit. */
static void any_commit(struct run *run, const char *name)
{
	struct step *s;
	int rc = 1;

	STEP(run, (rc = daxfs_branch_commit(run->r, name, NULL)) <= 0);
	s = &run->steps[run->count - 1];
	s->commits = !rc;
	s->scope = rc ? SYNCS_NOTHING : SYNCS_ALL;
}

static void any_branch_step(struct run *run, u64 *s)
{
	const char *name = names[rnd_below(s, NAMES)];
	const char *old = any_branch(run, s);
	struct daxfs_region *r = run->r;

	switch (rnd_below(s, 8)) {
	case 0:
	case 1:
	case 2:
		STEP(run, daxfs_branch_create(r, name, old, 0) <= 0);
		break;
	case 3:
		STEP(run, daxfs_branch_abort(r, old) <= 0);
		break;
	case 4:
		STEP(run, daxfs_branch_delete(r, old) <= 0);
		break;
	case 5:
		STEP(run, daxfs_branch_set_persistent(r, old, true) <= 0);
		break;
	case 6:
		if (strcmp(old, "main") != 0)
			STEP_FSYNC(run, old, !daxfs_branch_seal(r, old));
		break;
	default:
		any_commit(run, old);
	}
}

void play_random_branches(struct run *run, u64 seed)
{
	struct daxfs_branch *b;
	u64 s = seed;

	begin_sized(run, 1536 * KB, seed % 3 == 0);
	for (u32 i = 0; i < 90; i++) {
		u32 what = rnd_below(&s, 16);

		if (what < 4) {
			any_branch_step(run, &s);
		} else if (what < 5) {
			STEP_SYNC(run, !daxfs_region_sync(run->r));
		} else if (what < 6 && i % 5 == 0) {
			run_restart(run);
		} else if (leaf(run, &s, &b)) {
			struct daxfs_branch_info info;

			assert_int_equal(daxfs_branch_info(b, &info), 0);
			if (what < 8)
				STEP_FSYNC(run, info.name, fsync_branch(b));
			else
				STEP_WRITE(run, any_file_step(b, &s));
			daxfs_branch_put(b);
		}
	}
	end(run);
}
