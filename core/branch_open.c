// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Building the in-memory branches of a region that is being opened. */
#include "coord.h"

struct opening {
	struct daxfs_region *r;
	struct daxfs_message *msg;
	struct daxfs_branch **by_id; /* ascending */
	u32 count;
};

static bool live(const struct daxfs_branch_entry *e)
{
	u32 state = le32_to_cpu(e->state);

	return state == DAXFS_BRANCH_ACTIVE || state == DAXFS_BRANCH_SEALED;
}

static struct daxfs_branch *by_id(const struct opening *o, u64 id)
{
	u32 lo = 0, hi = o->count;

	while (lo < hi) {
		u32 mid = lo + (hi - lo) / 2;

		if (o->by_id[mid]->id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < o->count && o->by_id[lo]->id == id ? o->by_id[lo] : NULL;
}

static int cmp_id(const void *a, const void *b, port_sort_arg *arg)
{
	u64 x = (*(struct daxfs_branch *const *)a)->id;
	u64 y = (*(struct daxfs_branch *const *)b)->id;

	(void)arg;
	return x < y ? -1 : x > y;
}

/*
 * After a loss of power an entry that was never synced may be there in part:
 * its checksum tells. It goes, and with it what is said about it elsewhere.
 */
static void drop_entry(const struct daxfs_region *r,
		       struct daxfs_branch_entry *e)
{
	if (!r->readonly)
		port_store(&e->state, cpu_to_le32(DAXFS_BRANCH_FREE));
}

static bool torn(const struct daxfs_region *r,
		 const struct daxfs_branch_entry *e)
{
	return r->recovery == RECOVER_POWER && r->segmented &&
	       le32_to_cpu(e->entry_crc) != entry_crc(e);
}

/* Handles for all live entries, and the stack of free slots. */
static int load_entries(struct opening *o)
{
	struct daxfs_region *r = o->r;
	struct daxfs_branch *b;

	for (u32 i = r->slots; i--;) {
		struct daxfs_branch_entry *e = &r->table[i];

		if (live(e) && torn(r, e))
			drop_entry(r, e);
		if (!live(e) || torn(r, e)) {
			r->free_slots[r->free_count++] = i;
			continue;
		}
		b = branch_new(r, le64_to_cpu(e->id), e->name);
		if (!b)
			return -ENOMEM;
		b->slot = i;
		b->state = le32_to_cpu(e->state);
		b->flags = le32_to_cpu(e->flags);
		b->ctime_ns = le64_to_cpu(e->ctime_ns);
		quota_load(b, e);
		meta_load(b, e);
		o->by_id[o->count++] = b;
	}
	port_sort(o->by_id, o->count, sizeof(*o->by_id), cmp_id, NULL);
	return 0;
}

/* The first writable open makes main; a static region's exists here only. */
static int make_main(struct opening *o)
{
	struct daxfs_region *r = o->r;
	struct daxfs_branch *b = branch_new(r, DAXFS_MAIN_ID, "main");
	int rc = 0;

	if (!b)
		return -ENOMEM;
	b->flags = DAXFS_BRANCH_PERSISTENT;
	b->state = DAXFS_BRANCH_ACTIVE;
	o->by_id[o->count++] = b;
	if (r->readonly)
		return 0;
	b->slot = r->free_slots[--r->free_count];
	b->ctime_ns = port_now_ns();
	if (r->durable)
		rc = sync_writer(r);
	if (rc)
		return rc;
	entry_write(b);
	return sync_entry(b);
}

/* Take a branch out again whose end had not reached the medium. */
static void lose(struct opening *o, u32 i)
{
	struct daxfs_region *r = o->r;
	struct daxfs_branch *b = o->by_id[i];

	drop_entry(r, branch_entry(b));
	r->free_slots[r->free_count++] = b->slot;
	branch_free(b);
	memmove(&o->by_id[i], &o->by_id[i + 1],
		(o->count - i - 1) * sizeof(*o->by_id));
	o->count--;
}

/*
 * After a loss of power the table may show a branch beside the one that got
 * its name later, and one whose parent has ended after it. Both have ended.
 */
static void lose_ended(struct opening *o)
{
	struct daxfs_region *r = o->r;

	for (u32 i = o->count; i--;) {
		if (branch_find(r, o->by_id[i]->name))
			lose(o, i);
		else
			branch_insert(o->by_id[i]);
	}
	while (r->first)
		branch_remove(r->first);
	for (u32 i = 1; i < o->count;) {
		const struct daxfs_branch *b = o->by_id[i];

		if (by_id(o, le64_to_cpu(branch_entry(b)->parent_id)))
			i++;
		else
			lose(o, i);
	}
}

/* What is written from now on is not what compaction left behind. */
static void note_log_start(const struct daxfs_branch *b)
{
	struct daxfs_region *r = b->r;
	u64 start = b->slot == NO_SLOT
			    ? 0
			    : le64_to_cpu(branch_entry(b)->log_start);

	if (start > r->next_order && start < COUNTER_MAX)
		r->next_order = start;
}

static int link_entries(struct opening *o)
{
	struct daxfs_region *r = o->r;
	char which[64];

	if (o->by_id[0]->id != DAXFS_MAIN_ID)
		return corrupt(o->msg, "branch table", "main", "is missing",
			       o->by_id[0]->id);
	if (r->recovery == RECOVER_POWER)
		lose_ended(o);
	for (u32 i = 0; i < o->count; i++) {
		struct daxfs_branch *b = o->by_id[i];

		port_snprintf(which, sizeof(which), "branch %s", b->name);
		if ((i && o->by_id[i - 1]->id == b->id) ||
		    branch_find(r, b->name))
			return corrupt(o->msg, "branch table", which,
				       "exists twice", b->id);
		branch_insert(b);
		if (b->id >= r->next_branch)
			r->next_branch = b->id + 1;
		note_log_start(b);
	}
	r->main = o->by_id[0];
	return 0;
}

/* ---- Segments ----------------------------------------------------------------------- */

struct log_seg {
	u64 order;
	u32 seg;
	struct daxfs_branch *b;
};

static int cmp_order(const void *a, const void *b, port_sort_arg *arg)
{
	u64 x = ((const struct log_seg *)a)->order;
	u64 y = ((const struct log_seg *)b)->order;

	(void)arg;
	return x < y ? -1 : x > y;
}

/* Whose a segment is; what belongs to nobody alive is made free on media too. */
static struct daxfs_branch *owner_of(const struct opening *o, u32 s)
{
	struct daxfs_region *r = o->r;
	struct daxfs_segment_entry *e = &r->segs[s];
	u32 kind = le32_to_cpu(e->kind);
	struct daxfs_branch *b;
	u64 start;

	if (!e->owner && !kind)
		return NULL;
	/* numbers are given once, also those that nothing came of */
	if (le64_to_cpu(e->owner) >= r->next_branch &&
	    le64_to_cpu(e->owner) < COUNTER_MAX)
		r->next_branch = le64_to_cpu(e->owner) + 1;
	if (le64_to_cpu(e->order) >= r->next_order &&
	    le64_to_cpu(e->order) < COUNTER_MAX)
		r->next_order = le64_to_cpu(e->order) + 1;
	b = by_id(o, le64_to_cpu(e->owner));
	if (b && kind == DAXFS_SEGMENT_LOG) {
		start = b->slot == NO_SLOT
				? 0
				: le64_to_cpu(branch_entry(b)->log_start);
		if (le64_to_cpu(e->order) < start)
			b = NULL;
	}
	if (b && (kind == DAXFS_SEGMENT_LOG || kind == DAXFS_SEGMENT_DATA))
		return b;
	if (!r->readonly) {
		e->kind = 0;
		e->order = 0;
		port_store(&e->owner, 0);
	}
	return NULL;
}

static int adopt_segments(struct opening *o)
{
	struct daxfs_region *r = o->r;
	struct log_seg *logs;
	u32 n = 0;

	logs = port_alloc((r->seg_count + 1ull) * sizeof(*logs));
	if (!logs)
		return -ENOMEM;
	for (u32 s = 0; s < r->seg_count; s++) {
		struct daxfs_branch *b = owner_of(o, s);

		if (!b)
			continue;
		if (le32_to_cpu(r->segs[s].kind) == DAXFS_SEGMENT_DATA) {
			space_adopt(b, s, DAXFS_SEGMENT_DATA);
			continue;
		}
		logs[n].order = le64_to_cpu(r->segs[s].order);
		logs[n].b = b;
		logs[n++].seg = s;
	}
	port_sort(logs, n, sizeof(*logs), cmp_order, NULL);
	for (u32 i = 0; i < n; i++) {
		space_adopt(logs[i].b, logs[i].seg, DAXFS_SEGMENT_LOG);
	}
	port_free(logs);
	return 0;
}

/* What compaction left, or somebody who died while claiming it. */
static bool is_waste(const struct daxfs_branch *b, u32 s)
{
	const struct daxfs_segment_entry *e = &b->r->segs[s];
	u32 kind = le32_to_cpu(e->kind);

	if (kind == DAXFS_SEGMENT_LOG)
		return le64_to_cpu(e->order) <
		       le64_to_cpu(branch_entry(b)->log_start);
	return kind != DAXFS_SEGMENT_DATA;
}

int branch_adopt(struct daxfs_branch *b)
{
	struct daxfs_region *r = b->r;
	struct log_seg *logs;
	u32 n = 0;

	logs = port_alloc((r->seg_count + 1ull) * sizeof(*logs));
	if (!logs)
		return -ENOMEM;
	for (u32 s = 0; s < r->seg_count; s++) {
		if (le64_to_cpu(port_load(&r->segs[s].owner)) != b->id)
			continue;
		if (is_waste(b, s)) {
			/* others that look at it leave it alone */
			if (b->users && b->state == DAXFS_BRANCH_ACTIVE)
				space_kill(r, s, b->id);
		} else if (r->segs[s].kind == cpu_to_le32(DAXFS_SEGMENT_DATA)) {
			space_adopt(b, s, DAXFS_SEGMENT_DATA);
		} else {
			logs[n].order = le64_to_cpu(r->segs[s].order);
			logs[n++].seg = s;
		}
	}
	port_sort(logs, n, sizeof(*logs), cmp_order, NULL);
	for (u32 i = 0; i < n; i++)
		space_adopt(b, logs[i].seg, DAXFS_SEGMENT_LOG);
	port_free(logs);
	space_bury(r);
	return 0;
}

static bool has_children(const struct opening *o, const struct daxfs_branch *b)
{
	for (u32 i = 0; i < o->count; i++)
		if (le64_to_cpu(branch_entry(o->by_id[i])->parent_id) == b->id)
			return true;
	return false;
}

static int note_problem(struct daxfs_branch *b, const struct daxfs_message *msg)
{
	if (b->problem)
		return 0;
	b->problem = port_alloc(sizeof(*b->problem));
	if (!b->problem)
		return -ENOMEM;
	*b->problem = *msg;
	return 0;
}

/* Nothing is known of it but its segments, which stay its own. */
static int put_aside(struct daxfs_branch *b, const struct daxfs_message *msg)
{
	view_drop(&b->view);
	view_init(&b->view);
	b->damaged = true;
	return note_problem(b, msg);
}

static int replay_log(struct opening *o, struct daxfs_branch *b)
{
	bool cut = o->r->repair && !has_children(o, b);
	int rc = log_replay(b, cut, o->msg);

	if (rc == 1)
		rc = note_problem(b, o->msg);
	if (!rc && o->r->segmented)
		rc = view_claim_blocks(b, o->msg);
	return rc;
}

/*
 * Damaged metadata is no metadata; whoever may write says so on media, where the
 * blocks will be another's. After a loss of power it was never synced.
 */
static int open_meta(struct opening *o, struct daxfs_branch *b)
{
	struct daxfs_region *r = o->r;
	struct daxfs_message msg = { "" };
	int rc = meta_claim(b, &msg);

	if (rc != -EUCLEAN)
		return rc;
	b->meta = 0;
	if (!r->readonly)
		port_store(&branch_entry(b)->meta, 0);
	if (r->recovery == RECOVER_POWER)
		return 0;
	b->meta_lost = r->readonly;
	return note_problem(b, &msg);
}

static int tie_branch(struct opening *o, struct daxfs_branch *b)
{
	u64 id = le64_to_cpu(branch_entry(b)->parent_id);
	struct daxfs_branch *parent = by_id(o, id);
	char which[64];

	port_snprintf(which, sizeof(which), "branch %s", b->name);
	if (!parent)
		return corrupt(o->msg, "branch table", which,
			       "parent is missing", id);
	branch_tie(b, parent);
	view_clone(&b->view, &parent->view);
	parent->loaded_children++;
	if (b->depth > DAXFS_MAX_DEPTH)
		return corrupt(o->msg, "branch table", which,
			       "is nested too deeply", b->depth);
	if (parent->damaged)
		message(o->msg, "its parent '%s' is damaged", parent->name);
	return 0;
}

/* Parents come first, so each branch starts from a finished view. */
static int replay_branch(struct opening *o, struct daxfs_branch *b)
{
	bool main = b->id == DAXFS_MAIN_ID;
	int rc = main ? 0 : tie_branch(o, b);

	if (rc)
		return rc;
	b->loaded = true;
	rc = !main && b->parent->damaged ? -EUCLEAN : replay_log(o, b);
	if (rc == -EUCLEAN && !main && o->r->segmented)
		return put_aside(b, o->msg);
	if (!rc)
		rc = open_meta(o, b);
	if (!rc)
		space_trim(b, !o->r->readonly);
	return rc;
}

static int open_all(struct opening *o)
{
	struct daxfs_region *r = o->r;
	int rc = load_entries(o);

	if (!rc && !o->count)
		rc = make_main(o);
	if (!rc)
		rc = link_entries(o);
	if (!rc && r->segmented)
		rc = adopt_segments(o);
	for (u32 i = 0; !rc && i < o->count; i++)
		rc = replay_branch(o, o->by_id[i]);
	return rc;
}

static int make_tables(struct daxfs_region *r)
{
	r->name_buckets = 64;
	while (r->name_buckets < r->slots)
		r->name_buckets *= 2;
	r->names = port_zalloc(r->name_buckets * sizeof(*r->names));
	r->free_slots = port_alloc((r->slots + 1ull) * sizeof(u32));
	return r->names && r->free_slots ? 0 : -ENOMEM;
}

int branch_open_all(struct daxfs_region *r, struct daxfs_message *msg)
{
	struct opening o = { .r = r, .msg = msg };
	int rc;

	rc = make_tables(r);
	o.by_id = port_alloc((r->slots + 1ull) * sizeof(*o.by_id));
	if (!rc && !o.by_id)
		rc = -ENOMEM;
	if (!rc)
		rc = open_all(&o);
	/* on failure some handles are in no list yet */
	for (u32 i = 0; rc && o.by_id && i < o.count; i++)
		if (branch_find(r, o.by_id[i]->name) != o.by_id[i])
			branch_free(o.by_id[i]);
	port_free(o.by_id);
	return rc;
}

/* Main's entry is there: whoever opened the region first made it. */
static struct daxfs_branch *find_main(struct daxfs_region *r)
{
	for (u32 i = 0; i < r->slots; i++) {
		struct daxfs_branch *b;

		if (!live(&r->table[i]) ||
		    le64_to_cpu(r->table[i].id) != DAXFS_MAIN_ID)
			continue;
		b = branch_new(r, DAXFS_MAIN_ID, r->table[i].name);
		if (b)
			b->slot = i;
		return b;
	}
	return NULL;
}

int branch_open_main(struct daxfs_region *r)
{
	struct daxfs_branch *b;
	int rc = make_tables(r);

	if (rc)
		return rc;
	b = find_main(r);
	if (!b)
		return -ENOMEM;
	b->ctime_ns = le64_to_cpu(branch_entry(b)->ctime_ns);
	branch_insert(b);
	r->main = b;
	r->seen = ~0ull;
	r->seen_commit = ~0ull; /* so that its view is made */
	return 0;
}

void branch_close_all(struct daxfs_region *r)
{
	struct daxfs_branch *b, *next;

	for (b = r->first; b; b = next) {
		next = b->next;
		branch_free(b);
	}
	r->first = r->last = NULL;
	port_free(r->names);
	port_free(r->free_slots);
}
