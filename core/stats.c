// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What a region does and holds, for whoever watches it. */
#include "internal.h"

static void add_branch(struct daxfs_branch *b, struct daxfs_region_stats *s)
{
	u64 log = port_load(&b->log_bytes), room = port_load(&b->log_room);

	if (b->damaged)
		s->damaged++;
	else if (b->state == DAXFS_BRANCH_SEALED)
		s->sealed++;
	else
		s->active++;
	s->data_bytes += port_load(&b->blocks) * BLOCK;
	s->log_bytes += log;
	/* the two are not read in one moment */
	s->log_used_bytes += room < log ? log - room : 0;
}

static void sum_up(struct daxfs_region *r)
{
	struct daxfs_region_stats s = { 0 };

	if (!port_trylock(&r->table_lock))
		return;
	for (struct daxfs_branch *b = r->first; b; b = b->next)
		add_branch(b, &s);
	port_unlock(&r->table_lock);
	r->seen_stats = s;
}

void daxfs_region_stats(struct daxfs_region *r, struct daxfs_region_stats *out)
{
	const struct counts *c = &r->counts;

	port_lock(&r->stats_lock);
	sum_up(r);
	*out = r->seen_stats;
	port_unlock(&r->stats_lock);
	out->created = port_counted(&c->created);
	out->ended = port_counted(&c->ended);
	out->seals = port_counted(&c->seals);
	out->commits = port_counted(&c->commits);
	out->compactions = port_counted(&c->compactions);
	out->leases_broken = port_counted(&c->leases_broken);
	out->log_written = port_counted(&c->log_written);
	out->syncs = port_counted(&c->syncs);
	out->sync_bytes = port_counted(&c->sync_bytes);
	out->sync_ns = port_counted(&c->sync_ns);
	out->total_size = le64_to_cpu(r->sb->total_size);
	out->segments = r->seg_count;
	out->segment_size = r->seg_size;
	out->branch_slots = r->slots;
	port_lock(&r->space_lock);
	out->segments_free = r->free_segs + r->dead_segs;
	port_unlock(&r->space_lock);
}
