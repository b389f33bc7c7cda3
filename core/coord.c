// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Instances, leases, and standing still: see coord.h. */
#include "coord.h"

#define LEASE_NS 3000000000ull /* an instance that is silent so long has died */
#define OPEN_NS 60000000000ull /* while it opens the region it cannot poll */
#define ANSWER_NS 10000000000ull /* how long to wait for one that lives */
#define STEP_US 100u

static struct daxfs_coord *coord(const struct daxfs_region *r)
{
	return at(r, DAXFS_COORD_OFFSET);
}

static struct daxfs_instance *myself(const struct daxfs_region *r)
{
	return &coord(r)->instances[r->instance];
}

/* ---- Who lives ----------------------------------------------------------------- */

static bool slot_lives(const struct daxfs_region *r, u32 slot)
{
	const struct daxfs_instance *i = &coord(r)->instances[slot];
	u64 deadline, now;

	if (!port_load(&i->id))
		return false;
	if (r->bk.held)
		return r->bk.held(r->bk.priv, slot);
	/* one that nobody can have set, as after a clock went back, is none */
	now = port_now_ns();
	deadline = le64_to_cpu(port_load(&i->deadline_ns));
	return deadline > now && deadline - now <= 2 * OPEN_NS;
}

bool coord_lives(const struct daxfs_region *r, u64 id)
{
	if (id == r->instance_id)
		return true;
	for (u32 i = 0; i < DAXFS_INSTANCES; i++)
		if (le64_to_cpu(port_load(&coord(r)->instances[i].id)) == id)
			return slot_lives(r, i);
	return false;
}

/* Others thought that this instance had died: it must touch nothing. */
bool coord_given_up(const struct daxfs_region *r)
{
	return r->shared &&
	       le64_to_cpu(port_load(&myself(r)->id)) != r->instance_id;
}

static void heartbeat(struct daxfs_region *r, u64 ns)
{
	port_store(&myself(r)->deadline_ns, cpu_to_le64(port_now_ns() + ns));
}

/* ---- Leases ---------------------------------------------------------------------- */

/* True when it is ours now; *broken: from somebody who has died. */
static bool lease_take(struct daxfs_region *r, __le64 *lease, bool *broken)
{
	__le64 raw = port_load(lease);
	u64 old = le64_to_cpu(raw);
	u32 holder = DAXFS_LEASE_HOLDER(old);

	*broken = holder != 0;
	if (holder == r->instance_id && r->instance_id) {
		*broken = false;
		return true;
	}
	if (holder && coord_lives(r, holder))
		return false;
	if (!port_cas64(lease, raw,
			cpu_to_le64(DAXFS_LEASE(r->instance_id,
						DAXFS_LEASE_EPOCH(old) + 1))))
		return false;
	if (holder)
		port_count(&r->counts.leases_broken, 1);
	return true;
}

static void lease_drop(const struct daxfs_region *r, __le64 *lease)
{
	__le64 raw = port_load(lease);
	u64 old = le64_to_cpu(raw);

	/* it may have been broken */
	if (DAXFS_LEASE_HOLDER(old) == r->instance_id)
		port_cas64(lease, raw,
			   cpu_to_le64(DAXFS_LEASE(0, DAXFS_LEASE_EPOCH(old))));
}

static bool lease_is_mine(const struct daxfs_region *r, const __le64 *lease)
{
	return DAXFS_LEASE_HOLDER(le64_to_cpu(port_load(lease))) ==
	       r->instance_id;
}

/* ---- The branch table -------------------------------------------------------------- */

void table_changed(struct daxfs_region *r)
{
	port_fetch_add(&r->table_changes, 1);
	r->table_changed = true;
}

/* Its last holder died: see what else it left behind. */
static void table_broken(struct daxfs_region *r)
{
	for (u32 i = 0; i < DAXFS_INSTANCES; i++)
		if (i != r->instance && port_load(&coord(r)->instances[i].id) &&
		    !slot_lives(r, i))
			port_store(&coord(r)->instances[i].id, 0);
	r->scavenge = true;
	table_changed(r);
}

/* Somebody asks us to: do so, and say so. */
static void answer_intent(struct daxfs_region *r)
{
	struct daxfs_coord *c = coord(r);
	__le64 generation = port_load(&c->generation);

	if (!port_load(&c->intent) ||
	    port_load(&myself(r)->still) == generation)
		return;
	branches_quiesce(r);
	port_store(&myself(r)->still, generation);
}

static int take_table(struct daxfs_region *r, bool *broken)
{
	u64 end = port_now_ns() + ANSWER_NS;

	for (;;) {
		if (coord_given_up(r))
			return -EIO;
		if (lease_take(r, &coord(r)->lease, broken))
			break;
		heartbeat(r, LEASE_NS);
		answer_intent(r);
		/* who stands still has given his word until it is over */
		if (!r->quiet && port_now_ns() > end)
			return -EBUSY;
		port_sleep_us(STEP_US);
	}
	heartbeat(r, LEASE_NS);
	return 0;
}

/* The lease is ours: end what others left half done, and see what is new. */
static int table_current(struct daxfs_region *r)
{
	int rc = 0;

	/* our own medium's failure has made us read-only */
	if (r->segmented && r->sb->commit_branch && !r->readonly) {
		table_changed(r);
		rc = commit_redo(r, NULL);
	}
	if (rc)
		return rc;
	/* an intent without its author is void */
	port_store(&coord(r)->intent, 0);
	return branches_refresh(r);
}

/* table_lock held; let go of with an error. */
static int enter_shared(struct daxfs_region *r)
{
	bool broken;
	int rc = take_table(r, &broken);

	if (!rc) {
		if (broken)
			table_broken(r);
		rc = table_current(r);
		if (rc)
			lease_drop(r, &coord(r)->lease);
	}
	/* with an error nothing more can be said about what has ended */
	branches_resume(r);
	if (rc)
		port_unlock(&r->table_lock);
	return rc;
}

int table_enter(struct daxfs_region *r)
{
	port_lock(&r->table_lock);
	return r->shared ? enter_shared(r) : 0;
}

void table_leave(struct daxfs_region *r)
{
	struct ended e = r->ended;

	r->ended.first = NULL;
	if (r->shared && r->table_changed) {
		port_store(&r->seen,
			   port_add_le64(&coord(r)->generation, 1) + 1);
		r->table_changed = false;
	}
	if (r->shared)
		lease_drop(r, &coord(r)->lease);
	port_unlock(&r->table_lock);
	ended_tell(r, &e);
}

int daxfs_region_poll(struct daxfs_region *r)
{
	struct daxfs_coord *c = coord(r);
	int rc;

	if (!r->shared)
		return 0;
	if (coord_given_up(r))
		return -EIO;
	heartbeat(r, LEASE_NS);
	if (!port_load(&c->intent) &&
	    le64_to_cpu(port_load(&c->generation)) == port_load(&r->seen))
		return 0;
	/* who has the lock does it, or is soon done; we must go on living */
	if (!port_trylock(&r->table_lock))
		return 0;
	rc = enter_shared(r);
	if (!rc)
		table_leave(r);
	return rc == -EBUSY ? 0 : rc;
}

/* ---- Instances ------------------------------------------------------------------------ */

static int take_slot(struct daxfs_region *r)
{
	struct daxfs_coord *c = coord(r);

	for (u32 i = 0; i < DAXFS_INSTANCES; i++) {
		__le64 old = port_load(&c->instances[i].id);

		if (r->bk.hold ? r->bk.hold(r->bk.priv, i) != 0
			       : slot_lives(r, i))
			continue;
		if (!port_cas64(&c->instances[i].id, old,
				cpu_to_le64(r->instance_id)))
			continue;
		port_store(&c->instances[i].open, 0);
		r->instance = i;
		heartbeat(r, OPEN_NS);
		port_store(&c->instances[i].still, 0);
		return 0;
	}
	return -EUSERS;
}

/*
 * Where there are deadlines only: has the instance moved its own? One that has
 * died a moment ago is found out when it passes.
 */
static bool slot_moves(const struct daxfs_region *r, u32 slot)
{
	const struct daxfs_instance *i = &coord(r)->instances[slot];
	__le64 deadline = port_load(&i->deadline_ns);

	if (r->bk.held)
		return slot_lives(r, slot);
	while (slot_lives(r, slot)) {
		if (port_load(&i->deadline_ns) != deadline)
			return true;
		port_sleep_us(STEP_US);
	}
	return false;
}

/* Has anybody else the region open? Who has only just come has not. */
static bool others_open(const struct daxfs_region *r)
{
	const struct daxfs_instance *v = coord(r)->instances;

	for (u32 i = 0; i < DAXFS_INSTANCES; i++)
		if (i != r->instance && port_load(&v[i].open) &&
		    slot_moves(r, i))
			return true;
	return false;
}

int coord_join(struct daxfs_region *r, bool *first)
{
	u64 end = port_now_ns() + OPEN_NS;
	bool broken;
	int rc;

	if (r->bk.readonly)
		return -EINVAL;
	do
		r->instance_id =
			(u32)(port_add_le64(&coord(r)->next_id, 1) + 1);
	while (!r->instance_id);
	rc = take_slot(r);
	if (rc)
		return rc;
	while (!lease_take(r, &coord(r)->lease, &broken)) {
		if (port_now_ns() > end) {
			port_store(&myself(r)->id, 0);
			return -EBUSY;
		}
		port_sleep_us(STEP_US);
	}
	r->shared = true;
	*first = !others_open(r);
	if (broken && !*first)
		table_broken(r);
	return coord_given_up(r) ? -EBUSY : 0;
}

void coord_opened(struct daxfs_region *r)
{
	heartbeat(r, LEASE_NS);
	port_store(&myself(r)->open, cpu_to_le64(1));
	table_changed(r);
	port_lock(&r->table_lock);
	table_leave(r);
}

bool coord_last(struct daxfs_region *r)
{
	struct ended e;

	if (table_enter(r))
		return false;
	e = r->ended;
	r->ended.first = NULL;
	port_unlock(&r->table_lock);
	/* the front has let go of them */
	r->on_end = NULL;
	ended_tell(r, &e);
	return !others_open(r);
}

void coord_leave(struct daxfs_region *r)
{
	if (r->table_changed)
		port_add_le64(&coord(r)->generation, 1);
	/* before the lease, so that the next finds nobody */
	if (!coord_given_up(r))
		port_store(&myself(r)->id, 0);
	lease_drop(r, &coord(r)->lease);
	r->shared = false;
}

void coord_reset(struct daxfs_region *r)
{
	struct daxfs_coord *c = coord(r);

	c->lease = c->intent = 0;
	memset(c->instances, 0, sizeof(c->instances));
}

/* ---- Standing still --------------------------------------------------------------------- */

/* An instance that has not answered, or DAXFS_INSTANCES. */
static u32 who_moves(const struct daxfs_region *r, __le64 generation)
{
	const struct daxfs_instance *v = coord(r)->instances;
	u32 i;

	for (i = 0; i < DAXFS_INSTANCES; i++)
		if (i != r->instance && port_load(&v[i].open) &&
		    port_load(&v[i].still) != generation && slot_lives(r, i))
			break;
	return i;
}

int coord_stand_still(struct daxfs_region *r, u64 id)
{
	struct daxfs_coord *c = coord(r);
	u64 end = port_now_ns() + ANSWER_NS;
	__le64 generation;

	if (!r->shared)
		return 0;
	port_store(&r->seen, port_add_le64(&c->generation, 1) + 1);
	generation = cpu_to_le64(r->seen);
	port_store(&c->intent, cpu_to_le64(id));
	while (who_moves(r, generation) < DAXFS_INSTANCES) {
		heartbeat(r, LEASE_NS);
		if (port_now_ns() > end) {
			coord_go_on(r);
			return -EBUSY;
		}
		port_sleep_us(STEP_US);
	}
	return 0;
}

void coord_go_on(struct daxfs_region *r)
{
	if (!r->shared)
		return;
	port_store(&coord(r)->intent, 0);
	r->table_changed = true;
}

/* ---- Branches ------------------------------------------------------------------------------ */

static __le64 *lease_of(const struct daxfs_branch *b)
{
	return &branch_entry(b)->log_offset;
}

/* Can nobody change it, so that everybody may look? */
static bool immutable(const struct daxfs_branch *b)
{
	return b->id == DAXFS_MAIN_ID || b->state == DAXFS_BRANCH_SEALED;
}

int branch_others(const struct daxfs_branch *b)
{
	u32 holder;

	if (!b->r->shared || immutable(b))
		return 0;
	holder = DAXFS_LEASE_HOLDER(le64_to_cpu(port_load(lease_of(b))));
	if (!holder || holder == b->r->instance_id)
		return 0;
	return coord_lives(b->r, holder) ? -EBUSY : 0;
}

int branch_use(struct daxfs_branch *b)
{
	bool broken;
	int rc = 0;

	if (!b->r->shared)
		return 0;
	if (b->users++)
		return 0;
	if (!immutable(b)) {
		if (!lease_take(b->r, lease_of(b), &broken)) {
			b->users--;
			return -EBUSY;
		}
		/* who had it may have died while freeing segments */
		b->r->scavenge |= broken;
	}
	rc = branch_load(b);
	if (rc)
		branch_unuse(b);
	return rc;
}

void branch_unuse(struct daxfs_branch *b)
{
	if (!b->r->shared || --b->users || port_load(&b->ended) ||
	    b->id == DAXFS_MAIN_ID || !lease_is_mine(b->r, lease_of(b)))
		return;
	/* the next who has it finds all of it synced */
	if (!immutable(b))
		(void)branch_sync(b);
	branch_unload(b);
	lease_drop(b->r, lease_of(b));
}
