// SPDX-License-Identifier: Apache-2.0
/* Branches that come, are sealed, committed and go. */
#include "play.h"

void play_branches(struct run *run, u64 seed)
{
	struct daxfs_branch *b, *c;
	u64 f;

	(void)seed;
	begin(run, true);
	STEP(run, !daxfs_branch_create(run->r, "a", "main", 0));
	STEP(run, !daxfs_branch_create(run->r, "b", "main", 0));
	assert_int_equal(daxfs_branch_get(run->r, "b", &b), 0);
	STEP(run, make(b, ROOT, "f", S_IFREG | 0644));
	STEP(run, put(b, "f", 0, 10000, 1));
	STEP(run, !daxfs_branch_create(run->r, "c", "b", 0));
	assert_int_equal(daxfs_branch_get(run->r, "c", &c), 0);
	STEP(run, put(c, "f", 5000, 10, 2));
	STEP_FSYNC(run, "c", fsync_branch(c));
	STEP(run, !daxfs_branch_set_persistent(run->r, "c", true));
	STEP_FSYNC(run, "c", fsync_branch(c));
	STEP(run, put(c, "f", 0, 9000, 3));
	STEP(run, !daxfs_branch_delete(run->r, "a"));
	STEP(run, !daxfs_branch_create(run->r, "a", "main", 0));
	STEP_AS(run, SYNCS_BRANCH, "c", !daxfs_branch_seal(run->r, "c"));
	daxfs_branch_put(c);
	STEP(run, !daxfs_branch_create(run->r, "d", "c", 0));
	assert_int_equal(daxfs_branch_get(run->r, "d", &c), 0);
	STEP(run, !daxfs_branch_set_quota(run->r, "d", 10 * SEGMENT, 100));
	STEP(run, put(c, "file", 0, 70000, 4));
	STEP(run, !daxfs_branch_set_quota(run->r, "d", 0, 0));
	STEP_SYNC(run, !daxfs_region_sync(run->r));
	daxfs_branch_put(c);
	STEP(run, !daxfs_branch_abort(run->r, "d"));
	STEP_SYNC(run, !daxfs_region_sync(run->r));
	STEP(run, !daxfs_branch_create(run->r, "e", "c", 0));
	assert_int_equal(daxfs_branch_get(run->r, "e", &c), 0);
	STEP(run, put(c, "file", 0, 70000, 5));
	STEP(run, !daxfs_branch_delete(run->r, "e"));
	daxfs_branch_put(c);
	STEP(run, !daxfs_branch_delete(run->r, "c"));
	STEP(run, !daxfs_branch_create(run->r, "f", "b", 0));
	STEP(run, !daxfs_branch_create(run->r, "g", "f", 0));
	assert_int_equal(daxfs_branch_get(run->r, "g", &c), 0);
	f = find_name(c, ROOT, "f");
	STEP(run, daxfs_write(c, f, "new", 3, 0, 0) == 3);
	STEP_FSYNC(run, "g", fsync_branch(c));
	daxfs_branch_put(c);
	daxfs_branch_put(b);
	STEP(run, !daxfs_branch_abort(run->r, "g"));
	STEP_SYNC(run, !daxfs_region_sync(run->r));
	STEP(run, !daxfs_branch_delete(run->r, "a"));
	end(run);
}

void play_commit(struct run *run, u64 seed)
{
	struct daxfs_branch *b, *c, *s;

	(void)seed;
	begin(run, true);
	STEP(run, !daxfs_branch_create(run->r, "sibling", "main", 0));
	assert_int_equal(daxfs_branch_get(run->r, "sibling", &s), 0);
	STEP(run, put(s, "file", 0, 8192, 1));
	b = branch(run, "b", "main");
	STEP(run, put(b, "file", 0, 20000, 2));
	STEP(run, make(b, ROOT, "new", S_IFREG | 0644));
	STEP(run, put(b, "new", 0, 20000, 3));
	STEP(run, set_xattr(b, B_FILE, "user.long", 5000, 4));
	STEP(run, !daxfs_branch_create(run->r, "c", "b", 0));
	assert_int_equal(daxfs_branch_get(run->r, "c", &c), 0);
	STEP(run, put(c, "new", 4096, 4096, 5));
	STEP(run, set_xattr(c, B_FILE, "user.long", 6000, 6));
	STEP(run, make(c, ROOT, "orphan", S_IFREG | 0644));
	STEP(run, put(c, "orphan", 0, 9000, 7));
	STEP(run, unname(c, "orphan"));
	STEP(run, !daxfs_branch_create(run->r, "young", "main", 0));
	STEP_COMMIT(run, !daxfs_branch_commit(run->r, "c", NULL));
	daxfs_branch_put(b);
	daxfs_branch_put(c);
	daxfs_branch_put(s);
	b = branch(run, "b", "main");
	STEP(run, put(b, "new", 0, 16384, 8));
	STEP(run, !do_unlink(b, ROOT, "file"));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, put(b, "new", 0, 4096, 9));
	STEP_COMMIT(run, !daxfs_branch_commit(run->r, "b", NULL));
	daxfs_branch_put(b);
	b = branch(run, "b", "main");
	STEP(run, !do_unlink(b, ROOT, "new"));
	STEP(run, make(b, ROOT, "third", S_IFREG | 0644));
	STEP(run, put(b, "third", 0, 50000, 10));
	STEP_COMMIT(run, !daxfs_branch_commit(run->r, "b", NULL));
	daxfs_branch_put(b);
	end(run);
}

/* Branches that go when the last of their children does. */
void play_drop(struct run *run, u64 seed)
{
	struct daxfs_branch *c;

	(void)seed;
	begin(run, false);
	STEP(run, !daxfs_branch_create(run->r, "a", "main", 0));
	STEP(run, !daxfs_branch_create(run->r, "b", "a", 0));
	STEP(run, !daxfs_branch_create(run->r, "c", "b", 0));
	assert_int_equal(daxfs_branch_get(run->r, "c", &c), 0);
	STEP(run, make(c, ROOT, "f", S_IFREG | 0644));
	STEP_FSYNC(run, "c", fsync_branch(c));
	daxfs_branch_put(c);
	STEP(run, daxfs_branch_drop(run->r, "a") == -EBUSY);
	STEP(run, daxfs_branch_drop(run->r, "b") == -EBUSY);
	STEP(run, !daxfs_branch_keep(run->r, "b"));
	STEP_SYNC(run, !daxfs_region_sync(run->r));
	STEP(run, !daxfs_branch_drop(run->r, "c"));
	STEP_SYNC(run, !daxfs_region_sync(run->r));
	STEP(run, !daxfs_branch_drop(run->r, "b"));
	STEP_SYNC(run, !daxfs_region_sync(run->r));
	end(run);
}

/* As one of several that may have the region open. */
void play_shared(struct run *run, u64 seed)
{
	struct daxfs_branch *b;

	(void)seed;
	run->flags = DAXFS_OPEN_SHARED;
	begin(run, true);
	b = branch(run, "b", "main");
	STEP(run, put(b, "file", 0, 9000, 1));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, put(b, "file", 0, 5000, 2));
	STEP(run, !daxfs_region_poll(run->r));
	STEP_FSYNC(run, "b", !daxfs_branch_seal(run->r, "b"));
	daxfs_branch_put(b);
	STEP(run, !daxfs_branch_create(run->r, "c", "b", 0));
	assert_int_equal(daxfs_branch_get(run->r, "c", &b), 0);
	STEP(run, put(b, "file", 0, 9000, 3));
	daxfs_branch_put(b);
	STEP(run, !daxfs_branch_delete(run->r, "c"));
	STEP(run, !daxfs_branch_delete(run->r, "b"));
	b = branch(run, "d", "main");
	STEP(run, put(b, "hard1", 0, 9000, 3));
	daxfs_branch_put(b);
	STEP_COMMIT(run, !daxfs_branch_commit(run->r, "d", NULL));
	end(run);
}

/* Three generations that have never been synced are, at once. */
void play_family(struct run *run, u64 seed)
{
	struct daxfs_branch *b[3];
	static const char *const name[] = { "a", "b", "c" };
	static const char *const parent[] = { "main", "a", "b" };

	(void)seed;
	begin(run, false);
	for (u32 k = 0; k < 3; k++) {
		for (u32 i = 0; i < 3; i++) {
			STEP(run, !daxfs_branch_create(run->r, name[i],
						       parent[i], 0));
			assert_int_equal(daxfs_branch_get(run->r, name[i],
							  &b[i]),
					 0);
			STEP(run, make(b[i], ROOT, name[i], S_IFREG | 0644));
			STEP(run, put(b[i], name[i], 0, 5000, (u8)(9 * k)));
		}
		STEP(run, put(b[2], "a", 0, 5000, (u8)(50 + k)));
		STEP_SYNC(run, !daxfs_region_sync(run->r));
		for (u32 i = 0; i < 3; i++)
			daxfs_branch_put(b[i]);
		STEP(run, !daxfs_branch_abort(run->r, "c"));
	}
	end(run);
}

/* A branch changes once its child has ended: that must not come back on it. */
void play_parent(struct run *run, u64 seed)
{
	struct daxfs_branch *b, *c;

	(void)seed;
	begin(run, false);
	b = branch(run, "b", "main");
	STEP(run, make(b, ROOT, "f", S_IFREG | 0644));
	for (u32 i = 0; i < 3; i++) {
		c = branch(run, "c", "b");
		STEP(run, put(c, "f", 0, 5000, (u8)(9 + i)));
		STEP_FSYNC(run, "c", fsync_branch(c));
		daxfs_branch_put(c);
		STEP(run, !daxfs_branch_delete(run->r, "c"));
		STEP(run, !do_unlink(b, ROOT, "f"));
		STEP(run, make(b, ROOT, "f", S_IFREG | 0644));
		STEP(run, put(b, "f", 0, 5000, (u8)(90 + i)));
		STEP_FSYNC(run, "b", fsync_branch(b));
	}
	daxfs_branch_put(b);
	end(run);
}

/* A table entry is written over while its branch's end may still be lost. */
void play_slots(struct run *run, u64 seed)
{
	struct daxfs_branch *b;

	(void)seed;
	begin(run, false);
	for (u32 i = 0; i < 8; i++) {
		STEP(run, !daxfs_branch_create(run->r, "old", "main",
					       DAXFS_BRANCH_PERSISTENT));
		assert_int_equal(daxfs_branch_get(run->r, "old", &b), 0);
		STEP(run, make(b, ROOT, "f", S_IFREG | 0644));
		STEP_SYNC(run, !daxfs_region_sync(run->r));
		daxfs_branch_put(b);
		STEP(run, !daxfs_branch_delete(run->r, "old"));
		STEP(run, !daxfs_branch_create(run->r, "new", "main", 0));
		STEP(run, !daxfs_branch_delete(run->r, "new"));
	}
	end(run);
}
