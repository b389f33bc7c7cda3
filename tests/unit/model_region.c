// SPDX-License-Identifier: Apache-2.0
/* Operations on branches and on the whole region. */
#include "model.h"

/* ---- Branches' beginning and end ----------------------------------------- */

static void end(struct branch *b)
{
	struct branch *p = &model.br[b->parent];
	struct daxfs_attr a;

	SAME("status of an ended branch", daxfs_branch_status(b->h), -ESTALE);
	SAME("getattr on an ended branch", daxfs_getattr(b->h, ROOT, &a),
	     -ESTALE);
	daxfs_branch_put(b->h);
	model_branch_clear(b);
	memset(b, 0, sizeof(*b));
	p->kids -= p->kids != 0;
	model.live--;
	if (!model.br[model.newest].live)
		model.newest = (u32)(p - model.br);
}

/* `n` branches have ended since: the engine has said so of each. */
static void check_told(u32 before, u32 n)
{
	SAME("branches told to have ended", model.ended - before, n);
}

static struct daxfs_branch *get_handle(const struct branch *b)
{
	struct daxfs_branch *h;

	SAME("branch_get", daxfs_branch_get(model.g.r, b->name, &h), 0);
	return h;
}

ssize_t op_create(struct branch *b, const struct op *op)
{
	struct branch *p = &model.br[op->parent];
	u32 flags = op->flags & DAXFS_BRANCH_PERSISTENT;
	char name[16];
	int want = 0, rc;

	snprintf(name, sizeof(name), "b%u", op->b);
	if (!p->live)
		want = -ENOENT;
	else if (b->live)
		want = -EEXIST;
	else if (model.live == model.p->slots)
		want = -ENOSPC;
	rc = daxfs_branch_create(model.g.r, name, p->live ? p->name : "none",
				 flags);
	SAME("branch_create", rc, want);
	if (rc)
		return rc;
	snprintf(b->name, sizeof(b->name), "%s", name);
	b->live = true;
	b->persistent = flags;
	b->parent = op->parent;
	b->depth = p->depth + 1;
	b->id = ++model.next_id;
	b->h = get_handle(b);
	model_branch_clone(b, p);
	p->kids++;
	model.live++;
	model.newest = op->b;
	return 0;
}

ssize_t op_seal(struct branch *b, const struct op *op)
{
	int rc = daxfs_branch_seal(model.g.r, b->name);

	SAME("branch_seal", rc, b == model.br ? -EPERM : 0);
	b->sealed = b != model.br;
	(void)op;
	return rc;
}

ssize_t op_persist(struct branch *b, const struct op *op)
{
	int rc;

	b->persistent = op->flags % 2;
	rc = daxfs_branch_set_persistent(model.g.r, b->name, b->persistent);
	SAME("set_persistent", rc, 0);
	b->drop &= !b->persistent && b->kids;
	return rc;
}

static int may_end(const struct branch *b)
{
	return b == model.br ? -EPERM : b->kids ? -EBUSY : 0;
}

/* It ends, and so do those above it that wait for that. Returns how many. */
static u32 end_and_dropped(struct branch *b)
{
	struct branch *p = &model.br[b->parent];
	u32 n = 1;

	end(b);
	while (p != model.br && p->drop && !p->kids && !p->sealed &&
	       !p->persistent) {
		b = p;
		p = &model.br[b->parent];
		end(b);
		n++;
	}
	return n;
}

ssize_t op_delete(struct branch *b, const struct op *op)
{
	u32 before = model.ended;
	int rc = daxfs_branch_delete(model.g.r, b->name);

	(void)op;
	SAME("branch_delete", rc, may_end(b));
	if (rc)
		return rc;
	check_told(before, end_and_dropped(b));
	model.full = 0;
	return 0;
}

ssize_t op_drop(struct branch *b, const struct op *op)
{
	u32 before = model.ended;
	int rc = daxfs_branch_drop(model.g.r, b->name);

	(void)op;
	SAME("branch_drop", rc, may_end(b));
	if (rc == -EBUSY)
		b->drop = true;
	check_told(before, rc ? 0 : end_and_dropped(b));
	return rc;
}

ssize_t op_keep(struct branch *b, const struct op *op)
{
	int rc = daxfs_branch_keep(model.g.r, b->name);

	(void)op;
	SAME("branch_keep", rc, 0);
	b->drop = false;
	return rc;
}

ssize_t op_abort(struct branch *b, const struct op *op)
{
	u32 before = model.ended, n = 0;
	int want = may_end(b), rc = daxfs_branch_abort(model.g.r, b->name);

	(void)op;
	if (!want && b->sealed)
		want = -EBUSY;
	SAME("branch_abort", rc, want);
	while (!want) {
		struct branch *p = &model.br[b->parent];

		end(b);
		n++;
		if (p == model.br || p->kids || p->sealed)
			break;
		b = p;
	}
	check_told(before, n);
	return rc;
}

/* ---- Commit -------------------------------------------------------------- */

static bool any_sealed(void)
{
	for (u32 k = 1; k < SLOTS_MAX; k++)
		if (model.br[k].live && model.br[k].sealed)
			return true;
	return false;
}

/* All blocks of the chain are main's from now on. */
static void own_all(struct branch *main)
{
	for (u32 s = 0; s < main->n; s++) {
		struct inode *i = model_own(main, main->tab[s]->ino);

		for (u32 k = 0; k < i->nblocks; k++)
			if (i->blocks[k].owner)
				i->blocks[k].owner = main->id;
		for (u32 k = 0; k < X_COUNT; k++)
			if (i->x[k] && i->x[k]->owner)
				i->x[k]->owner = main->id;
	}
}

static void commit_model(struct branch *b)
{
	struct branch *main = model.br;

	model_branch_clone(main, b);
	for (u32 k = 1; k < SLOTS_MAX; k++)
		if (model.br[k].live)
			end(&model.br[k]);
	SAME("live branches", model.live, 1);
	main->kids = 0;
	own_all(main);
	model.committed = true;
	model.newest = 0;
}

ssize_t op_commit(struct branch *b, const struct op *op)
{
	u32 before = model.ended, live = model.live;
	int want = may_end(b), rc;

	if (!want && any_sealed())
		want = -EBUSY;
	rc = daxfs_branch_commit(model.g.r, b->name, &model.g.msg);
	if (model_done(b, rc, want) || (!want && rc == -ENOSPC))
		/* they are evicted first, and that may fail half-way */
		model_drop_orphans(b, rc);
	if (rc)
		return rc;
	commit_model(b);
	check_told(before, live - 1);
	if (op->flags % 8 == 0)
		model_check_branch(model.br);
	return 0;
}

/* ---- Quotas -------------------------------------------------------------- */

ssize_t op_quota(struct branch *b, const struct op *op)
{
	u64 bytes = op->len, inodes = op->off;
	int rc = daxfs_branch_set_quota(model.g.r, b->name, bytes, inodes);

	SAME("set_quota", rc, b == model.br ? -EPERM : 0);
	if (!rc) {
		struct daxfs_region_info r;

		daxfs_region_info(model.g.r, &r);
		bytes += r.segment_size - 1;
		bytes -= bytes % r.segment_size;
		b->quota_bytes = bytes;
		b->quota_inodes = inodes;
	}
	return rc;
}

/* ---- Metadata ------------------------------------------------------------ */

static int meta_error(const struct branch *b)
{
	if (b == model.br)
		return -EPERM;
	return model.p->shared && (b->sealed || b->kids) ? -EOPNOTSUPP : 0;
}

/* It may take what is kept for freeing, but what was there it needs as well. */
static void meta_no_space(void)
{
	struct daxfs_region_info r;

	model.full++;
	daxfs_region_info(model.g.r, &r);
	CHECK(!r.segments_free, "there are %llu free segments",
	      (unsigned long long)r.segments_free);
}

ssize_t op_meta(struct branch *b, const struct op *op)
{
	static u8 bytes[DAXFS_BRANCH_META_MAX];
	u32 len = (u32)op->len;
	int rc;

	for (u32 i = 0; i < len; i++)
		bytes[i] = model_meta_byte((u32)op->off, i);
	rc = daxfs_branch_set_meta(model.g.r, b->name, bytes, len);
	if (rc == -ENOSPC && !meta_error(b)) {
		meta_no_space();
		return rc;
	}
	SAME("set_meta", rc, meta_error(b));
	if (!rc) {
		b->meta_len = len;
		b->meta_seed = (u32)op->off;
	}
	return rc;
}

/* ---- The region ---------------------------------------------------------- */

static void on_end(void *arg, struct daxfs_branch *h)
{
	(void)arg;
	SAME("status in on_end", daxfs_branch_status(h), -ESTALE);
	model.ended++;
}

static int on_sync(void *priv, const struct daxfs_range *v, u32 count)
{
	(void)priv;
	for (u32 k = 0; k < count; k++)
		CHECK(v[k].len <= model.size &&
			      v[k].off <= model.size - v[k].len,
		      "sync beyond the region");
	return 0;
}

static int on_hold(void *priv, u32 slot)
{
	(void)priv;
	if (model.marks >> slot & 1)
		return -EAGAIN;
	model.marks |= 1ull << slot;
	model.slot = slot;
	return 0;
}

static bool on_held(void *priv, u32 slot)
{
	(void)priv;
	return model.marks >> slot & 1;
}

static void get_handles(void)
{
	for (u32 k = 0; k < SLOTS_MAX; k++)
		if (model.br[k].live)
			model.br[k].h = get_handle(&model.br[k]);
}

static void put_handles(void)
{
	for (u32 k = 0; k < SLOTS_MAX; k++)
		if (model.br[k].live)
			daxfs_branch_put(model.br[k].h);
}

static void instance_open(void)
{
	struct daxfs_backing bk = { .base = model.g.mem.base,
				    .size = model.g.mem.size };
	u32 flags = DAXFS_OPEN_VALIDATE;
	int rc;

	if (model.p->durable) {
		bk.sync = on_sync;
		bk.boot[0] = model.boot;
	}
	if (model.p->shared) {
		flags |= DAXFS_OPEN_SHARED;
		bk.hold = on_hold;
		bk.held = on_held;
	}
	rc = daxfs_region_open(&bk, flags, &model.g.r, &model.g.msg);
	CHECK(!rc, "the region does not open: %s", model.g.msg.text);
	daxfs_region_on_end(model.g.r, on_end, NULL);
}

static void instance_close(struct daxfs_region *r, u32 slot)
{
	daxfs_region_close(r);
	model.marks &= ~(1ull << slot);
}

static void region_open(void)
{
	instance_open();
	get_handles();
}

static void region_close(void)
{
	put_handles();
	instance_close(model.g.r, model.slot);
}

/* The next instance is there before the last one goes. */
static void hand_over(void)
{
	struct daxfs_region *old = model.g.r;
	u32 slot = model.slot;

	put_handles();
	instance_open();
	instance_close(old, slot);
	SAME("poll", daxfs_region_poll(model.g.r), 0);
	get_handles();
}

/* After a sync all is there even when the machine was started anew. */
static void maybe_boot(const struct op *op)
{
	if (op->flags % 8 < 4)
		return;
	SAME("region_sync", daxfs_region_sync(model.g.r), 0);
	model.boot ^= 3;
}

static void check_reopened(const struct op *op, u64 free_before)
{
	u64 now = reg_free_segments(&model.g);

	/* what another instance frees is seen when it is needed */
	CHECK(now >= free_before || model.p->shared,
	      "%llu segments are free after opening, %llu before",
	      (unsigned long long)now, (unsigned long long)free_before);
	if (op->flags % 4 == 0)
		model_check_all();
}

ssize_t op_reopen(struct branch *b, const struct op *op)
{
	u64 before = reg_free_segments(&model.g);

	(void)b;
	if (model.p->shared && op->flags % 8 < 4) {
		hand_over();
	} else {
		maybe_boot(op);
		region_close();
		region_open();
	}
	check_reopened(op, before);
	return 0;
}

/* What was mapped stays as it is; whoever comes next finds that. */
ssize_t op_kill(struct branch *b, const struct op *op)
{
	struct mem old = model.g.mem;
	u64 before = reg_free_segments(&model.g);

	(void)b;
	maybe_boot(op);
	memcpy(model.spare.base, old.base, model.size);
	region_close();
	model.g.mem = model.spare;
	model.spare = old;
	region_open();
	check_reopened(op, before);
	return 0;
}

ssize_t op_sync(struct branch *b, const struct op *op)
{
	(void)op;
	SAME("region_sync", daxfs_region_sync(model.g.r), 0);
	if (model.p->shared)
		SAME("poll", daxfs_region_poll(model.g.r), 0);
	if (b->live)
		model_check_inode(b, b->tab[model_chance(b->n)]);
	return 0;
}

static void check_statfs(const struct branch *b)
{
	struct daxfs_statfs s;

	SAME("statfs", daxfs_statfs(b->h, &s), 0);
	CHECK(s.bfree <= s.blocks && s.ffree <= s.files,
	      "statfs: %llu of %llu blocks, %llu of %llu files are free",
	      (unsigned long long)s.bfree, (unsigned long long)s.blocks,
	      (unsigned long long)s.ffree, (unsigned long long)s.files);
}

ssize_t op_check(struct branch *b, const struct op *op)
{
	check_statfs(b);
	if (op->flags % 64 == 0)
		model_check_branch(b);
	else
		model_check_inode(b, b->tab[model_chance(b->n)]);
	return 0;
}

/* ---- A run's beginning and end ------------------------------------------- */

void model_start(const struct profile *p, u64 seed)
{
	struct shape s = { .branches = p->slots, .base = p->base };
	struct branch *main = model.br;

	memset(&model, 0, sizeof(model));
	model.p = p;
	model.rng = seed;
	s.size = p->min_size + rnd(&model.rng) % (p->max_size - p->min_size);
	s.size &= ~(BLK - 1);
	model.size = s.size;
	mem_new(&model.spare, s.size);
	mem_new(&model.g.mem, s.size);
	reg_format(model.g.mem.base, &s);
	snprintf(main->name, sizeof(main->name), "main");
	main->live = main->persistent = true;
	main->id = model.next_id = 1;
	model.live = 1;
	model.boot = 1;
	model.seals = seed % 2;
	model_base(main, p->base);
	region_open();
	model.free_at_start = reg_free_segments(&model.g);
	model_check_all();
}

static void drop_branches(void)
{
	const struct op none = { 0 };

	for (u32 k = SLOTS_MAX - 1; model.live > 1;
	     k = k > 1 ? k - 1 : SLOTS_MAX - 1)
		if (model.br[k].live && !model.br[k].kids)
			op_delete(&model.br[k], &none);
}

/* All segments that main's blocks and log do not take are free. */
static void check_leaks(void)
{
	struct daxfs_branch_info info;
	struct daxfs_region_info r;
	u64 more, blocks = model_owned(model.br, &more), segs, least;

	if (model.p->shared) {
		region_close();
		region_open();
	}
	SAME("region_sync", daxfs_region_sync(model.g.r), 0);
	SAME("branch_info", daxfs_branch_info(model.br->h, &info), 0);
	daxfs_region_info(model.g.r, &r);
	segs = (info.bytes - blocks * BLK) / r.segment_size;
	least = segs + (blocks * BLK + r.segment_size - 1) / r.segment_size;
	CHECK(r.segments_free + least <= r.segments &&
		      r.segments_free + segs + blocks + more >= r.segments,
	      "%llu of %llu segments are free; main has %llu of log, %llu blocks",
	      (unsigned long long)r.segments_free,
	      (unsigned long long)r.segments, (unsigned long long)segs,
	      (unsigned long long)blocks);
	if (!model.committed)
		SAME("free segments at the end", r.segments_free,
		     model.free_at_start);
}

/* False: no space even for that. */
static bool empty_dir(struct branch *b, u64 dir)
{
	const struct inode *d, *i;

	while ((d = model_see(b, dir))->n) {
		struct op op = { .dir = d->label };
		ssize_t rc;

		op.name = (u16)d->ents[d->n - 1].name;
		i = model_see(b, d->ents[d->n - 1].ino);
		if (S_ISDIR(i->mode) && !empty_dir(b, i->ino))
			return false;
		rc = S_ISDIR(i->mode) ? op_rmdir(b, &op) : op_unlink(b, &op);
		if (rc)
			return false;
	}
	return true;
}

/* Main itself becomes empty, by a commit: no block is in use after that. */
static void wipe(void)
{
	const struct op op = { .b = 1 };
	struct branch *b = &model.br[1];

	if (op_create(b, &op) || !empty_dir(b, ROOT) || op_orphans(b, &op) ||
	    op_commit(b, &op)) {
		drop_branches();
		return;
	}
	SAME("inodes of an empty main", model_inodes(model.br), 0);
	check_leaks();
}

void model_stop(void)
{
	const struct op none = { 0 };

	model.started = port_now_ns();
	model_check_all();
	drop_branches();
	check_leaks();
	op_kill(model.br, &none);
	check_leaks();
	wipe();
	model_check_all();
	region_close();
	model_branch_clear(model.br);
	mem_free(&model.g.mem);
	mem_free(&model.spare);
}
