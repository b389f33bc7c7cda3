/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model of a whole region in plain memory, and random operations that are
 * done to it and to the engine alike. The parts:
 *
 *   model_state.c     inodes, names, blocks and branches as arrays
 *   model_check.c     comparing the engine with them
 *   model_names.c     operations on names: each foretells what comes, does
 *   model_inodes.c    it, and changes the model; those on attributes,
 *   model_acl.c       ACLs,
 *   model_data.c      files' bytes,
 *   model_region.c    branches and the region
 *   model_ops.c       the table of operations, choosing them at random
 *   model_profiles.c  how often which, in how large a region
 *   model_run.c       runs in child processes, shrinking what fails
 *
 * An operation is chosen with all its arguments before it is done, so that a
 * recorded one can be done again when others have been left out.
 */
#ifndef DAXFS_TEST_MODEL_H
#define DAXFS_TEST_MODEL_H

#include "core_util.h"

#define BLK 4096ull
#define SLOTS_MAX 160u /* branches, main included */
#define NAMES_MAX 2600u
#define OPS_MAX 60000u /* in one run */

/* ---- State --------------------------------------------------------------- */

struct chunk {
	u32 refs;
	u8 bytes[BLK];
};

/* A block of a file that is not a hole. */
struct block {
	u64 n;           /* offset in the file / BLK */
	struct chunk *c; /* NULL: zeros */
	u64 owner; /* the branch whose space it takes; 0: the base image's */
};

struct entry {
	u32 name; /* see model_name() */
	u64 ino;
};

/* An attribute's value; shared by the versions of its inode. */
struct value {
	u32 refs, len;
	u64 owner; /* as of a block, where it is long enough to have some */
	u8 bytes[];
};

enum {
	X_ACCESS, /* the two ACLs */
	X_DEFAULT,
	X_CAP,
	X_BASE,
	X_PLAIN, /* the first of those that mean nothing */
	X_COUNT = X_PLAIN + 5,
};
extern const char *const model_xnames[X_COUNT];
#define XATTR_INLINE_MAX 2048u /* longer ones take blocks */

enum { T_A = 1, T_M = 2, T_C = 4, T_B = 8, T_ALL = 15 };

struct inode {
	u32 refs; /* branches that share it */
	u64 ino, label;
	u32 mode, uid, gid, nlink, rdev;
	u32 target; /* symlinks: its length; its bytes follow from it */
	u64 size, base_valid;   /* bytes the base image has for it, still */
	struct daxfs_time t[4]; /* in order of the bits T_* */
	u64 parent;             /* directories */
	bool linkable;          /* has no name, may get one */
	bool unsure; /* a write failed: whose the last block is, is not known */
	struct block *blocks; /* by n */
	struct entry *ents;   /* by name */
	u32 nblocks, n;
	struct value *x[X_COUNT];
};

#define GONE 64u

struct branch {
	char name[16];
	bool live, sealed, persistent;
	bool drop; /* ends with the last of its children */
	u32 parent, kids, depth;
	u64 id; /* the model's own */
	u64 quota_bytes, quota_inodes;
	u32 meta_len, meta_seed; /* metadata, see model_meta_byte() */
	struct inode **tab;      /* by ino, and so by label */
	u32 n;
	u64 gone[GONE]; /* inodes that went last: a ring */
	u32 gone_count;
	struct daxfs_branch *h;
};

struct op;
struct profile;

struct model {
	const struct profile *p;
	u64 rng;    /* of the generator */
	u64 chance; /* of the operation under way: what to check */
	struct reg g;
	struct mem spare; /* the region moves there when its user is killed */
	u64 size;
	struct branch br[SLOTS_MAX]; /* 0: main */
	u64 next_id;
	u32 newest, live;
	u32 full;  /* how often space ran out lately */
	u32 ended; /* branches the engine said have ended */
	u64 free_at_start;
	u64 started; /* ns: when the operation under way began */
	bool committed;
	bool seals; /* branches get sealed, not committed */
	u8 boot;    /* 0: regions without sync have none */
	u64 marks;  /* shared: of instances that live */
	u32 slot;   /* the one that this is */
};
extern struct model model;

/* model_state.c */
void model_names_init(void);
const char *model_name(u32 name, size_t *len);
u32 model_name_id(const char *name, size_t len);
u32 model_name_made(u32 n); /* the n-th that is not in the base image */
const char *model_target(u32 len);

struct inode *model_see(const struct branch *b, u64 ino);
/* The same, to be changed on this branch alone. */
struct inode *model_own(struct branch *b, u64 ino);
/* By what operation made it; NULL: not there. */
struct inode *model_find(const struct branch *b, u64 label);
struct inode *model_add(struct branch *b, u64 ino, u64 label, u32 mode);
void model_remove(struct branch *b, u64 ino);
struct entry *model_entry(const struct inode *dir, u32 name);
void model_entry_add(struct inode *dir, u32 name, u64 ino);
void model_entry_remove(struct inode *dir, u32 name);
struct value *model_value(const void *bytes, u32 len, u64 owner);
void model_set_x(struct inode *i, u32 k, struct value *v); /* NULL: remove */

/* Index of the first block at or after n. */
u32 model_block_at(const struct inode *i, u64 n);
struct block *model_block(const struct inode *i, u64 n);
/* The block to be written: made where there is none, then the branch's own. */
u8 *model_block_own(struct branch *b, struct inode *i, u64 n);
/* Zeros that take space. */
void model_block_zero(struct branch *b, struct inode *i, u64 n);
void model_blocks_drop(struct inode *i, u64 from, u64 to);
void model_blocks_move(struct inode *i, u64 from, s64 by);
/* Where the data of block n ends: the base image's may end within it. */
u64 model_data_end(const struct inode *i, u64 n);
void model_bytes(const struct inode *i, u64 off, u64 len, u8 *out);
void model_write(struct branch *b, struct inode *i, u64 off, const u8 *bytes,
		 u64 len);

void model_base(struct branch *b, bool image);
void model_branch_clone(struct branch *b, const struct branch *from);
void model_branch_clear(struct branch *b);

/* ---- Comparing ----------------------------------------------------------- */

/* Report what is wrong and end the process. */
__attribute__((noreturn, format(printf, 3, 4))) void
model_fail(const char *file, int line, const char *fmt, ...);

#define CHECK(cond, ...)                                             \
	do {                                                         \
		if (!(cond))                                         \
			model_fail(__FILE__, __LINE__, __VA_ARGS__); \
	} while (0)
#define SAME(what, got, want)                                      \
	do {                                                       \
		s64 got_ = (s64)(got), want_ = (s64)(want);        \
		CHECK(got_ == want_, "%s is %lld, not %lld", what, \
		      (long long)got_, (long long)want_);          \
	} while (0)

/*
 * A random number below n, the operation's own: checks that follow from it are
 * the same when it is done again.
 */
u32 model_chance(u32 n);

void model_check_attr(const struct branch *b, const struct inode *i);
/* After a change: `now` are the times that it set to the present. */
void model_changed(const struct branch *b, struct inode *i, u32 now);
void model_check_bytes(const struct branch *b, const struct inode *i, u64 off,
		       u64 len);
void model_check_name(const struct branch *b, const struct inode *dir,
		      u32 name);
void model_check_inode(const struct branch *b, const struct inode *i);
void model_check_branch(const struct branch *b);
void model_check_all(void);
/*
 * Blocks that the branch's files and attributes take; *more, where not NULL: so
 * many more are right as well.
 */
u64 model_owned(const struct branch *b, u64 *more);
u64 model_inodes(const struct branch *b);

/*
 * True when an operation went as foretold and took effect. Where it could have,
 * it may also have found no space.
 */
bool model_done(const struct branch *b, ssize_t rc, ssize_t want);
/* -EDQUOT where it has no room for another inode. */
int model_quota_error(const struct branch *b);
/* It found no space: is that true? rc 0: for less than it was to do. */
void model_no_space(const struct branch *b, ssize_t rc);

/* A branch's metadata. */
static inline u8 model_meta_byte(u32 seed, u32 i)
{
	return (u8)(seed + i * 11 + i / 253);
}

/* ---- Operations ---------------------------------------------------------- */

enum op_kind {
	OP_MAKE,
	OP_TMPFILE,
	OP_LINK,
	OP_UNLINK,
	OP_RMDIR,
	OP_RENAME,
	OP_SETATTR,
	OP_TRUNCATE,
	OP_TOUCH,
	OP_SETXATTR,
	OP_REMOVEXATTR,
	OP_SETACL,
	OP_EVICT,
	OP_ORPHANS,
	OP_WRITE,
	OP_FALLOCATE,
	OP_COPY,
	OP_SEEK,
	OP_FSYNC,
	OP_CREATE,
	OP_SEAL,
	OP_PERSIST,
	OP_DELETE,
	OP_DROP,
	OP_KEEP,
	OP_ABORT,
	OP_COMMIT,
	OP_QUOTA,
	OP_META,
	OP_SYNC,
	OP_REOPEN,
	OP_KILL,
	OP_CHECK,
	OP_KINDS
};

#define NO_LABEL 0ull /* an inode that does not exist */

struct op {
	u32 id; /* its number when it was chosen: labels what it makes */
	u8 kind, b, parent;
	u16 name, to_name;
	u32 mode, flags;
	u64 ino, dir, to_dir; /* labels */
	u64 off, to_off, len;
	u64 salt;
};

#define LABEL_MADE 1000ull /* + id; below: inodes of the base image */

/* What kinds of operations a run has, and in how large a region. */
struct profile {
	const char *name, *about;
	u64 min_size, max_size;
	u32 slots, inodes, names;
	u64 file_max; /* bytes that files get written to */
	u64 sparse;   /* files are written to anywhere below it */
	u32 write_max;
	bool base, durable, shared;
	u32 nest;     /* percent of branches made below the newest */
	u32 patience; /* operations without space before a branch goes */
	u16 weight[OP_KINDS];
};

void model_op_choose(struct op *op);
void model_op_print(const struct op *op, u64 number);
/* Do it to both, compare what it touched. Returns what the engine said. */
ssize_t model_op_run(const struct op *op);

typedef ssize_t (*op_fn)(struct branch *b, const struct op *op);
ssize_t op_make(struct branch *b, const struct op *op);
ssize_t op_tmpfile(struct branch *b, const struct op *op);
ssize_t op_link(struct branch *b, const struct op *op);
ssize_t op_unlink(struct branch *b, const struct op *op);
ssize_t op_rmdir(struct branch *b, const struct op *op);
ssize_t op_rename(struct branch *b, const struct op *op);
ssize_t op_evict(struct branch *b, const struct op *op);
ssize_t op_orphans(struct branch *b, const struct op *op);

ssize_t op_setattr(struct branch *b, const struct op *op);
ssize_t op_touch(struct branch *b, const struct op *op);
ssize_t op_setxattr(struct branch *b, const struct op *op);
ssize_t op_removexattr(struct branch *b, const struct op *op);
ssize_t op_setacl(struct branch *b, const struct op *op);

ssize_t op_truncate(struct branch *b, const struct op *op);
ssize_t op_write(struct branch *b, const struct op *op);
ssize_t op_fallocate(struct branch *b, const struct op *op);
ssize_t op_copy(struct branch *b, const struct op *op);
ssize_t op_seek(struct branch *b, const struct op *op);
ssize_t op_fsync(struct branch *b, const struct op *op);

ssize_t op_create(struct branch *b, const struct op *op);
ssize_t op_seal(struct branch *b, const struct op *op);
ssize_t op_persist(struct branch *b, const struct op *op);
ssize_t op_delete(struct branch *b, const struct op *op);
ssize_t op_drop(struct branch *b, const struct op *op);
ssize_t op_keep(struct branch *b, const struct op *op);
ssize_t op_abort(struct branch *b, const struct op *op);
ssize_t op_commit(struct branch *b, const struct op *op);
ssize_t op_quota(struct branch *b, const struct op *op);
ssize_t op_meta(struct branch *b, const struct op *op);
ssize_t op_sync(struct branch *b, const struct op *op);
ssize_t op_reopen(struct branch *b, const struct op *op);
ssize_t op_kill(struct branch *b, const struct op *op);
ssize_t op_check(struct branch *b, const struct op *op);

/* What operations share. */
int model_writable(const struct branch *b); /* 0 or -EROFS */
u64 model_ino(const struct inode *i);       /* one that never was, for NULL */
int model_dir_error(const struct inode *dir);
int model_file_error(const struct inode *i);
void model_kill_priv(struct inode *i);
/* Shrinking ended early: the file has the size that the engine says. */
void model_settle_size(struct branch *b, u64 ino);
void model_resize(struct branch *b, struct inode *i, u64 size);
/* Inodes without names were to go: rc is what came of it. */
void model_drop_orphans(struct branch *b, int rc);
/* model_acl.c */
void model_acl_chmod(struct inode *i);
void model_acl_inherit(const struct inode *dir, struct inode *i, u32 umask);

/* ---- Running ------------------------------------------------------------- */

extern const struct profile model_profiles[];
extern const u32 model_profile_count;

void model_start(const struct profile *p, u64 seed);
/* Everything is compared, deleted, and all space must have come back. */
void model_stop(void);

/*
 * One run: `steps` operations that follow from the seed. 0: it went well.
 * Otherwise the failure has been printed, shrunk within `shrink` seconds.
 */
int model_run(const struct profile *p, u64 seed, u32 steps, u32 shrink);

#endif
