// SPDX-License-Identifier: Apache-2.0
/* What runs are like: sizes, and how often which operation. */
#include "model.h"

/* clang-format off */
#define NAMES_OFTEN(x) \
	[OP_MAKE] = 180 * (x), [OP_TMPFILE] = 10 * (x), [OP_LINK] = 50 * (x), \
	[OP_UNLINK] = 80 * (x), [OP_RMDIR] = 40 * (x), [OP_RENAME] = 110 * (x), \
	[OP_EVICT] = 30 * (x), [OP_ORPHANS] = 5 * (x)
#define INODES_OFTEN(x) \
	[OP_SETATTR] = 50 * (x), [OP_TOUCH] = 20 * (x), \
	[OP_SETXATTR] = 60 * (x), [OP_REMOVEXATTR] = 30 * (x), \
	[OP_SETACL] = 30 * (x)
#define DATA_OFTEN(x) \
	[OP_TRUNCATE] = 60 * (x), [OP_WRITE] = 190 * (x), \
	[OP_FALLOCATE] = 60 * (x), [OP_COPY] = 30 * (x), [OP_SEEK] = 15 * (x)
#define BRANCHES_OFTEN(x) \
	[OP_CREATE] = 15 * (x), [OP_SEAL] = 2 * (x), [OP_PERSIST] = 2 * (x), \
	[OP_DELETE] = 5 * (x), [OP_DROP] = 2 * (x), [OP_KEEP] = 1 * (x), \
	[OP_ABORT] = 2 * (x), [OP_COMMIT] = 3 * (x), \
	[OP_QUOTA] = 3 * (x), [OP_META] = 6 * (x)
#define REGION_OFTEN(x) \
	[OP_FSYNC] = 5 * (x), [OP_SYNC] = 3 * (x), [OP_REOPEN] = 1 * (x), \
	[OP_KILL] = 1 * (x), [OP_CHECK] = 30 * (x)

const struct profile model_profiles[] = {
	{ .name = "mixed", .about = "something of all",
	  .min_size = 4 * MB, .max_size = 16 * MB, .base = true,
	  .slots = 12, .inodes = 400, .names = 30, .file_max = 256 * KB,
	  .write_max = 120 * KB, .nest = 50, .patience = 40,
	  .weight = { NAMES_OFTEN(1), INODES_OFTEN(1), DATA_OFTEN(1),
		      BRANCHES_OFTEN(1), REGION_OFTEN(1) } },
	{ .name = "durable", .about = "something of all, with a sync callback",
	  .min_size = 4 * MB, .max_size = 16 * MB, .base = true,
	  .slots = 12, .inodes = 400, .names = 30, .file_max = 256 * KB,
	  .write_max = 120 * KB, .nest = 50, .patience = 40, .durable = true,
	  .weight = { NAMES_OFTEN(1), INODES_OFTEN(1), DATA_OFTEN(1),
		      BRANCHES_OFTEN(1), REGION_OFTEN(2) } },
	{ .name = "full", .about = "a small region without free space",
	  .min_size = 2 * MB, .max_size = 4 * MB, .base = true,
	  .slots = 8, .inodes = 400, .names = 30, .file_max = 512 * KB,
	  .write_max = 256 * KB, .nest = 50, .patience = 1500,
	  .weight = { NAMES_OFTEN(1), INODES_OFTEN(1), DATA_OFTEN(2),
		      BRANCHES_OFTEN(1), REGION_OFTEN(1) } },
	{ .name = "full-dur", .about = "the same with a sync callback",
	  .min_size = 2 * MB, .max_size = 4 * MB, .base = false,
	  .slots = 8, .inodes = 300, .names = 30, .file_max = 512 * KB,
	  .write_max = 256 * KB, .nest = 50, .patience = 1500, .durable = true,
	  .weight = { NAMES_OFTEN(1), INODES_OFTEN(1), DATA_OFTEN(2),
		      BRANCHES_OFTEN(1), REGION_OFTEN(3) } },
	{ .name = "deep", .about = "chains of up to 128 branches",
	  .min_size = 48 * MB, .max_size = 64 * MB, .base = true,
	  .slots = 132, .inodes = 300, .names = 24, .file_max = 64 * KB,
	  .write_max = 16 * KB, .nest = 97, .patience = 40,
	  .weight = { NAMES_OFTEN(1), INODES_OFTEN(1), DATA_OFTEN(1),
		      [OP_CREATE] = 240, [OP_SEAL] = 10, [OP_DELETE] = 8,
		      [OP_ABORT] = 1, [OP_COMMIT] = 1, REGION_OFTEN(1) } },
	{ .name = "many", .about = "thousands of small files",
	  .min_size = 24 * MB, .max_size = 48 * MB, .base = true,
	  .slots = 6, .inodes = 4000, .names = 2300, .file_max = 8 * KB,
	  .write_max = 6 * KB, .nest = 50, .patience = 40,
	  .weight = { NAMES_OFTEN(3), INODES_OFTEN(1), DATA_OFTEN(1),
		      [OP_CREATE] = 2, [OP_DELETE] = 1, [OP_COMMIT] = 1,
		      [OP_FSYNC] = 5, [OP_CHECK] = 30, [OP_KILL] = 1 } },
	{ .name = "sparse", .about = "few files, large and with holes",
	  .min_size = 12 * MB, .max_size = 32 * MB, .base = true,
	  .slots = 6, .inodes = 230, .names = 8, .file_max = 4 * MB,
	  .sparse = 1ull << 40, .write_max = 64 * KB, .nest = 50,
	  .patience = 40,
	  .weight = { NAMES_OFTEN(1), DATA_OFTEN(6), BRANCHES_OFTEN(1),
		      REGION_OFTEN(1) } },
	{ .name = "metadata", .about = "names and attributes only",
	  .min_size = 4 * MB, .max_size = 12 * MB, .base = true,
	  .slots = 8, .inodes = 500, .names = 60, .file_max = 4 * KB,
	  .write_max = 4 * KB, .nest = 50, .patience = 40,
	  .weight = { NAMES_OFTEN(3), INODES_OFTEN(3), BRANCHES_OFTEN(1),
		      REGION_OFTEN(1) } },
	{ .name = "branches", .about = "commits, aborts and deletes all the time",
	  .min_size = 4 * MB, .max_size = 16 * MB, .base = true,
	  .slots = 24, .inodes = 300, .names = 24, .file_max = 64 * KB,
	  .write_max = 32 * KB, .nest = 60, .patience = 40,
	  .weight = { NAMES_OFTEN(1), INODES_OFTEN(1), DATA_OFTEN(1),
		      BRANCHES_OFTEN(12), REGION_OFTEN(1) } },
	{ .name = "reopen", .about = "closed or killed and opened all the time",
	  .min_size = 3 * MB, .max_size = 6 * MB, .base = true,
	  .slots = 12, .inodes = 300, .names = 24, .file_max = 128 * KB,
	  .write_max = 32 * KB, .nest = 60, .patience = 40,
	  .weight = { NAMES_OFTEN(1), INODES_OFTEN(1), DATA_OFTEN(1),
		      BRANCHES_OFTEN(3), REGION_OFTEN(12) } },
	{ .name = "shared", .about = "as others may share it, handed over",
	  .min_size = 4 * MB, .max_size = 16 * MB, .base = true,
	  .slots = 12, .inodes = 300, .names = 24, .file_max = 128 * KB,
	  .write_max = 32 * KB, .nest = 60, .patience = 40, .durable = true,
	  .shared = true,
	  .weight = { NAMES_OFTEN(1), INODES_OFTEN(1), DATA_OFTEN(1),
		      BRANCHES_OFTEN(2), REGION_OFTEN(4) } },
	{ .name = "compact", .about = "few long-lived branches, long logs",
	  .min_size = 4 * MB, .max_size = 12 * MB, .base = true,
	  .slots = 4, .inodes = 400, .names = 40, .file_max = 128 * KB,
	  .write_max = 32 * KB, .nest = 90, .patience = 4000,
	  .weight = { NAMES_OFTEN(10), INODES_OFTEN(10), DATA_OFTEN(5),
		      [OP_CREATE] = 3, [OP_COMMIT] = 2, [OP_DELETE] = 1,
		      [OP_KILL] = 4, [OP_SYNC] = 1, [OP_CHECK] = 30 } },
};
/* clang-format on */

const u32 model_profile_count =
	sizeof(model_profiles) / sizeof(model_profiles[0]);
