// SPDX-License-Identifier: Apache-2.0
/* The table of operations, and choosing them at random. */
#include "model.h"

/* ---- Choosing ------------------------------------------------------------ */

static u32 below(u32 n)
{
	return rnd_below(&model.rng, n);
}

static bool chance(u32 percent)
{
	return below(100) < percent;
}

static u8 slot(const struct branch *b)
{
	return (u8)(b - model.br);
}

static struct branch *live_branch(void)
{
	struct branch *b;

	do
		b = &model.br[below(model.p->slots)];
	while (!b->live);
	return b;
}

/* Mostly one that can be written to. */
static struct branch *some_branch(void)
{
	struct branch *b = &model.br[model.newest];

	if (chance(2))
		return live_branch();
	for (u32 tries = 0; tries < 40; tries++) {
		if (b->live && !model_writable(b))
			return b;
		b = &model.br[below(model.p->slots)];
	}
	return live_branch();
}

/* A label; rarely none. Of the given type where there is a choice. */
static u64 some_inode(const struct branch *b, u32 type)
{
	const struct inode *i = NULL;

	if (chance(1))
		return NO_LABEL;
	if (chance(2))
		type = 0;
	for (u32 tries = 0; tries < 80; tries++) {
		i = b->tab[below(b->n)];
		/* the base's many are for readdir: not to be all there is */
		if (i->label >= B_FIRST && i->label <= B_COUNT && !chance(10))
			continue;
		if (!type || (i->mode & S_IFMT) == type)
			break;
	}
	return i->label;
}

/* Without a name and waiting for one, or for its end. */
static u64 some_orphan(const struct branch *b)
{
	u32 at = below(b->n);

	for (u32 k = 0; k < 200 && k < b->n; k++) {
		const struct inode *i = b->tab[(at + k) % b->n];

		if (!i->nlink)
			return i->label;
	}
	return some_inode(b, 0);
}

static u16 some_name(const struct branch *b, u64 dir, u32 percent_there)
{
	const struct inode *d = model_find(b, dir);

	if (d && d->n && chance(percent_there))
		return (u16)d->ents[below(d->n)].name;
	return (u16)model_name_made(below(model.p->names));
}

static void choose_new(struct branch *b, struct op *op)
{
	static const u32 types[] = { S_IFREG,  S_IFREG, S_IFREG, S_IFDIR,
				     S_IFDIR,  S_IFLNK, S_IFCHR, S_IFIFO,
				     S_IFSOCK, S_IFBLK };

	op->dir = some_inode(b, S_IFDIR);
	op->name = some_name(b, op->dir, 5);
	op->mode = types[below(10)] | below(07777);
	op->flags = chance(50) ? 022 : below(01000);
	op->len = chance(90) ? 1 + below(40) : 1 + below(DAXFS_SYMLINK_MAX);
}

static void choose_tmpfile(struct branch *b, struct op *op)
{
	choose_new(b, op);
	op->mode = S_IFREG | below(07777);
	op->to_name = (u16)below(2);
}

static void choose_link(struct branch *b, struct op *op)
{
	op->ino = chance(30) ? some_orphan(b) : some_inode(b, 0);
	op->dir = some_inode(b, S_IFDIR);
	op->name = some_name(b, op->dir, 10);
}

static void choose_name(struct branch *b, struct op *op)
{
	op->dir = some_inode(b, S_IFDIR);
	op->name = some_name(b, op->dir, 90);
}

static void choose_rename(struct branch *b, struct op *op)
{
	static const u32 flags[] = {
		DAXFS_RENAME_NOREPLACE, DAXFS_RENAME_EXCHANGE,
		DAXFS_RENAME_WHITEOUT,
		DAXFS_RENAME_WHITEOUT | DAXFS_RENAME_NOREPLACE,
		DAXFS_RENAME_WHITEOUT | DAXFS_RENAME_EXCHANGE
	};

	op->dir = some_inode(b, S_IFDIR);
	op->to_dir = chance(40) ? op->dir : some_inode(b, S_IFDIR);
	op->name = some_name(b, op->dir, 90);
	op->to_name = some_name(b, op->to_dir, 50);
	op->flags = chance(50) ? 0 : flags[below(chance(5) ? 5 : 4)];
}

static void choose_inode(struct branch *b, struct op *op)
{
	op->ino = some_inode(b, 0);
}

static void choose_setattr(struct branch *b, struct op *op)
{
	op->ino = some_inode(b, 0);
	op->flags = below(1u << 10) & ~DAXFS_SET_SIZE;
	op->mode = below(07777);
}

static void choose_xattr(struct branch *b, struct op *op)
{
	op->ino = some_inode(b, 0);
	op->name = (u16)below(1000);
	op->flags = chance(70) ? 0 : 1 + below(2);
	op->len = chance(80)   ? below(200)
		  : chance(80) ? below(9000)
			       : below(65538);
}

static void choose_acl(struct branch *b, struct op *op)
{
	op->ino = some_inode(b, chance(50) ? S_IFDIR : S_IFREG);
	op->name = (u16)below(2);
	op->mode = below(1000);
	op->flags = op->name || chance(80) ? 0 : DAXFS_XATTR_KILL_SGID;
}

static void choose_evict(struct branch *b, struct op *op)
{
	op->ino = chance(80) ? some_orphan(b) : some_inode(b, 0);
}

/* An offset in the file or after it. */
static u64 some_offset(const struct branch *b, u64 label)
{
	const struct inode *f = model_find(b, label);
	u64 off = rnd(&model.rng) % model.p->file_max;

	if (model.p->sparse && chance(20))
		off = rnd(&model.rng) % model.p->sparse;
	else if (f && f->nblocks && chance(50))
		off = f->blocks[below(f->nblocks)].n * BLK + below(BLK);
	else if (f && S_ISREG(f->mode) && f->size && chance(60))
		off = rnd(&model.rng) % (f->size + 1);
	return chance(30) ? off & ~(BLK - 1) : off;
}

static u64 some_length(void)
{
	u64 len = 1 + below(chance(85) ? 9000 : model.p->write_max);

	if (len > model.p->write_max)
		len = model.p->write_max;
	return chance(30) ? (len + BLK - 1) & ~(BLK - 1) : len;
}

static void choose_range(struct branch *b, struct op *op)
{
	op->ino = some_inode(b, S_IFREG);
	op->off = some_offset(b, op->ino);
	op->len = some_length();
}

static void choose_write(struct branch *b, struct op *op)
{
	choose_range(b, op);
	op->flags = below(4);
	/* appending to what is large already */
	if (op->off + op->len > model.p->file_max && !model.p->sparse)
		op->off %= model.p->file_max / 2;
}

static void choose_fallocate(struct branch *b, struct op *op)
{
	static const u32 modes[] = {
		0,
		DAXFS_FALLOC_KEEP_SIZE,
		DAXFS_FALLOC_PUNCH | DAXFS_FALLOC_KEEP_SIZE,
		DAXFS_FALLOC_PUNCH | DAXFS_FALLOC_KEEP_SIZE,
		DAXFS_FALLOC_ZERO,
		DAXFS_FALLOC_ZERO | DAXFS_FALLOC_KEEP_SIZE,
		DAXFS_FALLOC_COLLAPSE,
		DAXFS_FALLOC_INSERT,
		DAXFS_FALLOC_PUNCH,
		DAXFS_FALLOC_COLLAPSE | DAXFS_FALLOC_KEEP_SIZE,
	};

	choose_range(b, op);
	op->flags = modes[below(chance(5) ? 10 : 8)];
	if (op->flags & (DAXFS_FALLOC_COLLAPSE | DAXFS_FALLOC_INSERT) &&
	    chance(90)) {
		op->off &= ~(BLK - 1);
		op->len = (op->len + BLK - 1) & ~(BLK - 1);
	}
	if (chance(20))
		op->flags |= DAXFS_FALLOC_KILLPRIV;
}

static void choose_copy(struct branch *b, struct op *op)
{
	choose_range(b, op);
	/* `dir` is the file that is copied to */
	op->dir = chance(20) ? op->ino : some_inode(b, S_IFREG);
	op->to_off = some_offset(b, op->dir);
	op->flags = chance(80) ? 0 : DAXFS_WRITE_KILLPRIV;
	if (!model.p->sparse)
		op->to_off %= model.p->file_max;
}

static void choose_truncate(struct branch *b, struct op *op)
{
	op->ino = some_inode(b, S_IFREG);
	op->off = chance(70) ? some_offset(b, op->ino)
			     : below(2) * model.p->file_max;
}

static void choose_create(struct branch *b, struct op *op)
{
	const struct branch *p;

	op->parent =
		chance(model.p->nest) ? (u8)model.newest : slot(live_branch());
	if (chance(2))
		op->parent = (u8)below(model.p->slots);
	/* a free slot, mostly */
	p = &model.br[1 + below(model.p->slots - 1)];
	for (u32 k = 0; p->live && k < 50; k++)
		p = &model.br[1 + below(model.p->slots - 1)];
	(void)b;
	op->b = slot(p);
	op->flags = below(2);
}

static void choose_live(struct branch *b, struct op *op)
{
	(void)b;
	op->b = slot(live_branch());
	op->flags = below(1024);
}

static void choose_flags(struct branch *b, struct op *op)
{
	(void)b;
	op->flags = below(1024);
}

static void choose_quota(struct branch *b, struct op *op)
{
	op->len = chance(60) ? 0 : below(4 * MB);
	op->off = chance(60) ? 0 : model_inodes(b) + below(20);
}

static void choose_meta(struct branch *b, struct op *op)
{
	(void)b;
	op->len = chance(70)   ? below(600)
		  : chance(50) ? below(9000)
			       : below(DAXFS_BRANCH_META_MAX + 1);
	op->off = below(256);
}

/* ---- The table ----------------------------------------------------------- */

/* Which of an operation's arguments it has. */
enum {
	HAS_INO = 1,
	HAS_DIR = 2,
	HAS_NAME = 4,
	HAS_TO = 8, /* to_dir, to_name */
	HAS_MODE = 16,
	HAS_FLAGS = 32,
	HAS_OFF = 64,
	HAS_LEN = 128,
	HAS_TO_OFF = 256,
	HAS_PARENT = 512,
};

static const struct {
	const char *name;
	op_fn run;
	void (*choose)(struct branch *b, struct op *op);
	u32 has;
	bool region; /* not of a branch that must live */
	bool frees;  /* or may: holes are freed space */
} table[OP_KINDS] = {
	[OP_MAKE] = { "make", op_make, choose_new,
		      HAS_DIR | HAS_NAME | HAS_MODE | HAS_FLAGS | HAS_LEN },
	[OP_TMPFILE] = { "tmpfile", op_tmpfile, choose_tmpfile,
			 HAS_DIR | HAS_MODE | HAS_FLAGS },
	[OP_LINK] = { "link", op_link, choose_link,
		      HAS_INO | HAS_DIR | HAS_NAME },
	[OP_UNLINK] = { "unlink", op_unlink, choose_name, HAS_DIR | HAS_NAME,
			.frees = true },
	[OP_RMDIR] = { "rmdir", op_rmdir, choose_name, HAS_DIR | HAS_NAME,
		       .frees = true },
	[OP_RENAME] = { "rename", op_rename, choose_rename,
			HAS_DIR | HAS_NAME | HAS_TO | HAS_FLAGS },
	[OP_SETATTR] = { "setattr", op_setattr, choose_setattr,
			 HAS_INO | HAS_MODE | HAS_FLAGS },
	[OP_TRUNCATE] = { "truncate", op_truncate, choose_truncate,
			  HAS_INO | HAS_OFF, .frees = true },
	[OP_TOUCH] = { "touch", op_touch, choose_inode, HAS_INO },
	[OP_SETXATTR] = { "setxattr", op_setxattr, choose_xattr,
			  HAS_INO | HAS_NAME | HAS_LEN | HAS_FLAGS },
	[OP_REMOVEXATTR] = { "removexattr", op_removexattr, choose_xattr,
			     HAS_INO | HAS_NAME, .frees = true },
	[OP_SETACL] = { "setacl", op_setacl, choose_acl,
			HAS_INO | HAS_NAME | HAS_FLAGS },
	[OP_EVICT] = { "evict", op_evict, choose_evict, HAS_INO,
		       .frees = true },
	[OP_ORPHANS] = { "evict_orphans", op_orphans, choose_flags, 0,
			 .frees = true },
	[OP_WRITE] = { "write", op_write, choose_write,
		       HAS_INO | HAS_OFF | HAS_LEN | HAS_FLAGS },
	[OP_FALLOCATE] = { "fallocate", op_fallocate, choose_fallocate,
			   HAS_INO | HAS_OFF | HAS_LEN | HAS_FLAGS,
			   .frees = true },
	[OP_COPY] = { "copy_range", op_copy, choose_copy,
		      HAS_INO | HAS_DIR | HAS_OFF | HAS_TO_OFF | HAS_LEN |
			      HAS_FLAGS,
		      .frees = true },
	[OP_SEEK] = { "seek", op_seek, choose_range, HAS_INO | HAS_OFF },
	[OP_FSYNC] = { "fsync", op_fsync, choose_inode, HAS_INO },
	[OP_CREATE] = { "branch_create", op_create, choose_create,
			HAS_PARENT | HAS_FLAGS, true },
	[OP_SEAL] = { "branch_seal", op_seal, choose_live, 0 },
	[OP_PERSIST] = { "set_persistent", op_persist, choose_live, HAS_FLAGS },
	[OP_DELETE] = { "branch_delete", op_delete, choose_live, 0 },
	[OP_DROP] = { "branch_drop", op_drop, choose_live, 0 },
	[OP_KEEP] = { "branch_keep", op_keep, choose_live, 0 },
	[OP_ABORT] = { "branch_abort", op_abort, choose_live, 0 },
	[OP_COMMIT] = { "branch_commit", op_commit, choose_flags, HAS_FLAGS },
	[OP_QUOTA] = { "set_quota", op_quota, choose_quota, HAS_LEN | HAS_OFF },
	[OP_META] = { "set_meta", op_meta, choose_meta, HAS_LEN | HAS_OFF },
	[OP_SYNC] = { "region_sync", op_sync, choose_flags, 0, true },
	[OP_REOPEN] = { "reopen", op_reopen, choose_flags, 0, true },
	[OP_KILL] = { "kill", op_kill, choose_flags, 0, true },
	[OP_CHECK] = { "check", op_check, choose_live, HAS_FLAGS },
};

static u32 weighted(void)
{
	u32 sum = 0, n, k;

	for (k = 0; k < OP_KINDS; k++)
		sum += model.p->weight[k];
	n = below(sum);
	for (k = 0; n >= model.p->weight[k]; k++)
		n -= model.p->weight[k];
	return k;
}

static bool any_writable(void)
{
	for (u32 k = 1; k < model.p->slots; k++)
		if (model.br[k].live && !model_writable(&model.br[k]))
			return true;
	return false;
}

/* What must be done before anything else is of use, else OP_KINDS. */
static u32 needed(struct branch *b)
{
	if (model.full > model.p->patience)
		return OP_DELETE;
	if (!any_writable())
		return model.live < model.p->slots && chance(80) ? OP_CREATE
								 : OP_DELETE;
	/* a branch that has grown large enough: things go again */
	if (b->n > model.p->inodes && chance(50))
		return chance(80) ? OP_UNLINK : OP_RMDIR;
	return OP_KINDS;
}

static bool may_choose(u32 kind)
{
	/* sealed branches rule commits out, so a run has one or the other */
	if (kind == OP_SEAL && !model.seals)
		return false;
	return kind != OP_COMMIT || !model.seals || chance(10);
}

void model_op_choose(struct op *op)
{
	struct branch *b = some_branch();
	u32 kind = needed(b);

	op->salt = rnd(&model.rng);
	op->b = slot(b);
	while (kind == OP_KINDS) {
		kind = weighted();
		if (!may_choose(kind))
			kind = OP_KINDS;
	}
	op->kind = (u8)kind;
	table[kind].choose(b, op);
}

/* ---- Doing --------------------------------------------------------------- */

/* Bytes that the branch owns. */
static u64 usage(const struct branch *b)
{
	u64 bytes = 0, inodes;

	if (b->live)
		SAME("usage", daxfs_usage(b->h, &bytes, &inodes), 0);
	return bytes;
}

/*
 * Only what frees may take log space beyond the quota; but a log written anew
 * may need a segment more than before.
 */
static void check_quota(const struct branch *b, u64 before)
{
	struct daxfs_region_info r;
	u64 most = before > b->quota_bytes ? before : b->quota_bytes;

	if (!b->live || !b->quota_bytes)
		return;
	daxfs_region_info(model.g.r, &r);
	CHECK(usage(b) <= most + r.segment_size,
	      "%s has grown beyond its quota", b->name);
}

ssize_t model_op_run(const struct op *op)
{
	struct branch *b = &model.br[op->b];
	u64 before;
	ssize_t rc;

	if (!b->live && !table[op->kind].region)
		return 0;
	model.chance = op->salt ^ 0x5bd1e995;
	model.started = port_now_ns();
	before = usage(b);
	rc = table[op->kind].run(b, op);
	if (!table[op->kind].frees)
		check_quota(b, before);
	return rc;
}

static void print_name(const char *what, u32 id)
{
	size_t len;

	if (id < BASE_NODES)
		printf(" %s=%s", what, model_name(id, &len));
	else
		printf(" %s=n%u", what, id);
}

static void print_label(const char *what, u64 label)
{
	printf(" %s=i%llu", what, (unsigned long long)label);
}

static void print_names(const struct op *op, u32 has)
{
	if (has & HAS_INO)
		print_label("ino", op->ino);
	if (has & HAS_DIR)
		print_label(op->kind == OP_COPY ? "to" : "dir", op->dir);
	if (has & HAS_NAME)
		print_name("name", op->name);
	if (has & HAS_TO) {
		print_label("to_dir", op->to_dir);
		print_name("to_name", op->to_name);
	}
}

void model_op_print(const struct op *op, u64 number)
{
	u32 has = table[op->kind].has;

	printf("# %5llu %-14s b%u", (unsigned long long)number,
	       table[op->kind].name, op->b);
	if (has & HAS_PARENT)
		printf(" parent=b%u", op->parent);
	print_names(op, has);
	if (has & HAS_MODE)
		printf(" mode=0%o", op->mode);
	if (has & HAS_OFF)
		printf(" off=%llu", (unsigned long long)op->off);
	if (has & HAS_TO_OFF)
		printf(" to_off=%llu", (unsigned long long)op->to_off);
	if (has & HAS_LEN)
		printf(" len=%llu", (unsigned long long)op->len);
	if (has & HAS_FLAGS)
		printf(" flags=0x%x", op->flags);
	if (op->kind == OP_MAKE || op->kind == OP_TMPFILE)
		printf(" (i%llu)", (unsigned long long)(LABEL_MADE + op->id));
}
