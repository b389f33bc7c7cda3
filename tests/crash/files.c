// SPDX-License-Identifier: Apache-2.0
/* What is done to the files of a branch. */
#include "play.h"

/* ---- Names ------------------------------------------------------------------------ */

void play_make(struct run *run, u64 seed)
{
	struct daxfs_branch *b;
	struct daxfs_attr a;
	u64 dir, ino;

	(void)seed;
	begin(run, false);
	b = branch(run, "b", "main");
	STEP(run, make(b, ROOT, "file", S_IFREG | 0644));
	STEP(run, make(b, ROOT, "dir", S_IFDIR | 0755));
	dir = find_name(b, ROOT, "dir");
	STEP(run, make(b, dir, "link", S_IFLNK | 0777));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, make(b, dir, "device", S_IFCHR | 0600));
	STEP(run, make(b, dir, "fifo", S_IFIFO | 0600));
	STEP(run, make(b, dir, "socket", S_IFSOCK | 0600));
	ino = find_name(b, ROOT, "file");
	STEP(run, !daxfs_link(b, ino, dir, "hard", 4, &a));
	STEP(run, unname(b, "file"));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, !daxfs_unlink(b, dir, "hard", 4, NULL));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, !daxfs_evict(b, ino));
	STEP(run, !do_unlink(b, dir, "link"));
	STEP(run, !do_unlink(b, dir, "device"));
	STEP(run, !do_unlink(b, dir, "fifo"));
	STEP(run, !do_unlink(b, dir, "socket"));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, !daxfs_rmdir(b, ROOT, "dir", 3, NULL));
	STEP(run, !daxfs_evict(b, dir));
	STEP_FSYNC(run, "b", fsync_branch(b));
	daxfs_branch_put(b);
	end(run);
}

void play_rename(struct run *run, u64 seed)
{
	struct daxfs_branch *b;
	u64 d1, d2, victim = 0;

	(void)seed;
	begin(run, true);
	b = branch(run, "b", "main");
	STEP(run, make(b, ROOT, "d1", S_IFDIR | 0755));
	STEP(run, make(b, ROOT, "d2", S_IFDIR | 0755));
	STEP(run, make(b, ROOT, "x", S_IFREG | 0644));
	STEP(run, make(b, ROOT, "y", S_IFREG | 0644));
	STEP(run, put(b, "x", 0, 5000, 1));
	STEP(run, put(b, "y", 0, 5000, 101));
	STEP_FSYNC(run, "b", fsync_branch(b));
	d1 = find_name(b, ROOT, "d1");
	d2 = find_name(b, ROOT, "d2");
	STEP(run, rename_root(b, "x", "z", DAXFS_RENAME_NOREPLACE));
	STEP(run, rename_root(b, "z", "y", DAXFS_RENAME_EXCHANGE));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, !daxfs_rename(b, ROOT, "z", 1, ROOT, "y", 1, 0, &victim));
	STEP(run, !daxfs_evict(b, victim));
	STEP(run, rename_root(b, "y", "w", DAXFS_RENAME_WHITEOUT));
	STEP(run, !do_rename(b, ROOT, "w", d1, "w", 0));
	STEP(run, !do_rename(b, ROOT, "d1", d2, "inner", 0));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, !do_rename(b, ROOT, "dir", d2, "base", 0));
	STEP(run, !do_rename(b, d2, "inner", ROOT, "dir", 0));
	STEP(run, rename_root(b, "file", "hard1", DAXFS_RENAME_EXCHANGE));
	STEP(run, !do_rename(b, ROOT, "hard2", ROOT, "empty", 0));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, !do_unlink(b, ROOT, "empty"));
	STEP(run, !do_unlink(b, ROOT, "link"));
	STEP_FSYNC(run, "b", fsync_branch(b));
	daxfs_branch_put(b);
	end(run);
}

/* ---- Data ------------------------------------------------------------------------- */

void play_write(struct run *run, u64 seed)
{
	struct daxfs_branch *b;

	(void)seed;
	begin(run, false);
	b = branch(run, "b", "main");
	STEP(run, make(b, ROOT, "f", S_IFREG | 04755));
	STEP(run, put(b, "f", 0, 100, 1));
	STEP(run, append(b, "f", 8000, 9));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, put(b, "f", 0, 4096, 50));
	STEP(run, put(b, "f", 4090, 1000, 60));
	STEP(run, put(b, "f", 33, 7, 70));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, put(b, "f", 30000, 5000, 80));
	STEP(run, put(b, "f", 20000, 12000, 90));
	STEP(run, cut_file(b, "f", 20480));
	STEP(run, cut_file(b, "f", 9001));
	STEP(run, put(b, "f", 9100, 10, 3));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, cut_file(b, "f", 4097));
	STEP(run, cut_file(b, "f", 50000));
	STEP(run, put(b, "f", 4100, 8, 11));
	STEP(run, put(b, "f", 0, 140000, 20));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, put(b, "f", 1000, 137000, 40));
	STEP(run, cut_file(b, "f", 0));
	STEP(run, put(b, "f", 0, 9000, 99));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, unname(b, "f"));
	STEP(run, make(b, ROOT, "g", S_IFREG | 0644));
	STEP(run, put(b, "g", 0, 9000, 111));
	STEP(run, !daxfs_evict_orphans(b));
	STEP(run, make(b, ROOT, "h", S_IFREG | 0644));
	STEP(run, put(b, "h", 0, 100000, 122));
	STEP_FSYNC(run, "b", fsync_branch(b));
	daxfs_branch_put(b);
	end(run);
}

void play_base(struct run *run, u64 seed)
{
	struct daxfs_branch *b, *c;

	(void)seed;
	begin(run, true);
	b = branch(run, "b", "main");
	STEP(run, put(b, "file", 5000, 100, 1));
	STEP(run, append(b, "file", 500, 2));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, put(b, "file", 0, 70000, 3));
	STEP(run, cut_file(b, "file", 60000));
	STEP(run, put(b, "hard1", 3, 9, 4));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, cut_file(b, "file", 100));
	STEP(run, cut_file(b, "file", 8192));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, put(b, "file", 50, 10, 5));
	STEP_SYNC(run, !daxfs_branch_seal(run->r, "b"));
	c = branch(run, "c", "b");
	STEP(run, put(c, "file", 60, 20, 6));
	STEP(run, put(c, "hard2", 0, 2, 7));
	STEP_FSYNC(run, "c", fsync_branch(c));
	STEP(run, put(c, "file", 60, 20, 8));
	STEP(run, !do_unlink(c, ROOT, "file"));
	STEP(run, !do_unlink(c, ROOT, "hard1"));
	STEP_FSYNC(run, "c", fsync_branch(c));
	daxfs_branch_put(b);
	daxfs_branch_put(c);
	end(run);
}

/* ---- Attributes -------------------------------------------------------------------- */

static bool set_mode(struct daxfs_branch *b, u64 ino, u32 mode)
{
	struct daxfs_attr a = { .mode = mode, .uid = 5, .gid = 6 };

	return !daxfs_setattr(b, ino,
			      DAXFS_SET_MODE | DAXFS_SET_UID | DAXFS_SET_GID,
			      &a, NULL);
}

static bool set_times(struct daxfs_branch *b, u64 ino, s64 sec)
{
	struct daxfs_attr a = { .atime = { sec, 1 }, .mtime = { sec, 2 } };

	return !daxfs_setattr(b, ino, DAXFS_SET_ATIME | DAXFS_SET_MTIME, &a,
			      NULL);
}

static const u8 acl[] = {
	2, 0, 0,   0,   1,   0,   7,  0, 255, 255, 255, 255, 2,   0,  4,
	0, 7, 0,   0,   0,   4,   0,  5, 0,   255, 255, 255, 255, 16, 0,
	7, 0, 255, 255, 255, 255, 32, 0, 0,   0,   255, 255, 255, 255
};

void play_attributes(struct run *run, u64 seed)
{
	struct daxfs_branch *b;
	u64 f, dir;

	(void)seed;
	begin(run, true);
	b = branch(run, "b", "main");
	STEP(run, make(b, ROOT, "f", S_IFREG | 0644));
	f = find_name(b, ROOT, "f");
	dir = find_name(b, ROOT, "dir");
	STEP(run, set_mode(b, f, 0600));
	STEP(run, set_times(b, B_FILE, 1000));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, set_xattr(b, f, "user.short", 20, 1));
	STEP(run, set_xattr(b, f, "user.long", 5000, 2));
	STEP(run, set_xattr(b, f, "user.long", 9000, 3));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, set_xattr(b, f, "user.long", 11000, 4));
	STEP(run, set_xattr(b, f, "user.short", 2048, 5));
	STEP(run, !daxfs_removexattr(b, f, "user.short"));
	STEP(run, !daxfs_removexattr(b, B_FILE, "user.base"));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, set_xattr(b, f, "user.long", 10, 6));
	STEP(run, put(b, "f", 0, 30000, 7));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, !daxfs_setxattr(b, dir, "system.posix_acl_default", acl,
				  sizeof(acl), 0));
	STEP(run, make(b, dir, "heir", S_IFREG | 0666));
	STEP(run, make(b, dir, "heirs", S_IFDIR | 0777));
	STEP(run, !daxfs_setxattr(b, f, "system.posix_acl_access", acl,
				  sizeof(acl), 0));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, set_mode(b, f, 0644));
	STEP(run, !daxfs_touch(b, f));
	STEP_FSYNC(run, "b", fsync_branch(b));
	daxfs_branch_put(b);
	end(run);
}

/* ---- Holes, copies, files without a name -------------------------------------------- */

static bool falloc(struct daxfs_branch *b, u32 mode, u64 off, u64 len)
{
	return !daxfs_fallocate(b, find_name(b, ROOT, "f"), mode, off, len);
}

void play_holes(struct run *run, u64 seed)
{
	const u32 punch = DAXFS_FALLOC_PUNCH | DAXFS_FALLOC_KEEP_SIZE;
	struct daxfs_branch *b;

	(void)seed;
	begin(run, true);
	b = branch(run, "b", "main");
	STEP(run, make(b, ROOT, "f", S_IFREG | 0644));
	STEP(run, falloc(b, 0, 0, 20000));
	STEP(run, put(b, "f", 0, 20000, 1));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, falloc(b, DAXFS_FALLOC_KEEP_SIZE, 10000, 30000));
	STEP(run, falloc(b, punch, 4096, 4096));
	STEP(run, falloc(b, punch, 100, 5000));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, falloc(b, DAXFS_FALLOC_ZERO, 9000, 100));
	STEP(run, falloc(b, DAXFS_FALLOC_ZERO, 10000, 9000));
	STEP(run, put(b, "f", 0, 40960, 5));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, falloc(b, DAXFS_FALLOC_COLLAPSE, 4096, 8192));
	STEP(run, put(b, "f", 4096, 4096, 50));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, falloc(b, DAXFS_FALLOC_INSERT, 8192, 12288));
	STEP(run, put(b, "f", 8192, 40000, 90));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, falloc(b, punch, 0, 65536));
	STEP(run, put(b, "f", 0, 30000, 120));
	STEP_FSYNC(run, "b", fsync_branch(b));
	daxfs_branch_put(b);
	end(run);
}

void play_copies(struct run *run, u64 seed)
{
	struct daxfs_new in = { .mode = S_IFREG | 0640 };
	struct daxfs_branch *b;
	struct daxfs_attr a;
	u64 f;

	(void)seed;
	begin(run, true);
	b = branch(run, "b", "main");
	STEP(run, make(b, ROOT, "f", S_IFREG | 0644));
	f = find_name(b, ROOT, "f");
	STEP(run, daxfs_copy_range(b, B_FILE, 100, f, 0, 30000, 0) == 30000);
	STEP(run, daxfs_copy_range(b, B_FILE, 0, f, 8192, 16384, 0) == 16384);
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, daxfs_copy_range(b, f, 0, f, 40000, 20000, 0) == 20000);
	STEP(run, daxfs_copy_range(b, f, 8192, B_FILE, 0, 8192, 0) == 8192);
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, !daxfs_tmpfile(b, ROOT, &in, 0, &a));
	STEP(run, daxfs_copy_range(b, B_FILE, 0, a.ino, 0, 5000, 0) == 5000);
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, !daxfs_link(b, a.ino, ROOT, "named", 5, NULL));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, !daxfs_tmpfile(b, ROOT, &in, DAXFS_TMPFILE_EXCL, &a));
	STEP(run, daxfs_write(b, a.ino, "temporary", 9, 0, 0) == 9);
	STEP(run, !daxfs_evict(b, a.ino));
	STEP_FSYNC(run, "b", fsync_branch(b));
	daxfs_branch_put(b);
	end(run);
}

/* ---- A full region ------------------------------------------------------------------- */

static bool write_some(struct daxfs_branch *b, const char *name, u64 off,
		       u64 len, u8 byte)
{
	(void)put(b, name, off, len, byte);
	return true;
}

/* What is freed is wanted at once: that takes syncs in the middle of steps. */
void play_full(struct run *run, u64 seed)
{
	struct daxfs_branch *b;

	(void)seed;
	begin_sized(run, 640 * KB, false);
	b = branch(run, "b", "main");
	STEP(run, make(b, ROOT, "f", S_IFREG | 0644));
	STEP(run, make(b, ROOT, "g", S_IFREG | 0644));
	STEP_FSYNC(run, "b", fsync_branch(b));
	for (u32 i = 0; i < 5; i++) {
		STEP_WRITE(run, put(b, "f", 0, 250000, (u8)(1 + 40 * i)));
		STEP(run, cut_file(b, "f", 100));
		STEP_WRITE(run, put(b, "g", 0, 250000, (u8)(21 + 40 * i)));
		STEP(run, cut_file(b, "g", 0));
	}
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP_WRITE(run, write_some(b, "f", 0, 500000, 3));
	STEP_WRITE(run, write_some(b, "g", 0, 500000, 4));
	STEP_FSYNC(run, "b", fsync_branch(b));
	STEP(run, !do_unlink(b, ROOT, "f"));
	STEP_WRITE(run, write_some(b, "g", 0, 500000, 5));
	STEP_FSYNC(run, "b", fsync_branch(b));
	daxfs_branch_put(b);
	end(run);
}
