// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Metadata of branches. It lies in blocks of the branch's own, behind a header
 * with a checksum, and never changes there: new bytes go to new blocks, and one
 * store to the branch's entry names these instead. Where a loss of power could
 * show that store but not the bytes, the bytes are synced before it.
 */
#include "coord.h"

static struct daxfs_branch_meta *meta_at(const struct daxfs_region *r, u64 off)
{
	return at(r, off);
}

/* Bytes of the blocks, header and all. */
static u64 meta_room(u64 len)
{
	return block_ceil(sizeof(struct daxfs_branch_meta) + len);
}

static u64 room_at(const struct daxfs_region *r, u64 off)
{
	return meta_room(le32_to_cpu(meta_at(r, off)->len));
}

void meta_load(struct daxfs_branch *b, const struct daxfs_branch_entry *e)
{
	u64 known = le64_to_cpu(port_load(&b->r->sb->feature_ro_compat));

	/* version 4 has something else there, older writers nothing */
	if (b->r->segmented && (known & DAXFS_RO_COMPAT_BRANCH_META))
		port_store(&b->meta, le64_to_cpu(port_load(&e->meta)));
}

int meta_claim(struct daxfs_branch *b, struct daxfs_message *msg)
{
	struct daxfs_region *r = b->r;
	int rc;

	if (!b->meta)
		return 0;
	rc = check_meta(r, b->id, b->id, b->meta, true, msg);
	if (!rc && block_claim_meta(b, b->meta, room_at(r, b->meta)))
		rc = corrupt(msg, "branch table", b->name,
			     "metadata's blocks are a file's", b->meta);
	return rc;
}

void meta_info(const struct daxfs_branch *b, u32 *len, u32 *crc)
{
	const struct daxfs_branch_meta *h;

	*len = *crc = 0;
	if (!b->meta || check_meta(b->r, b->id, b->id, b->meta, false, NULL))
		return;
	h = meta_at(b->r, b->meta);
	*len = le32_to_cpu(h->len);
	*crc = le32_to_cpu(h->crc);
}

/* ---- Changing ---------------------------------------------------------------- */

/*
 * The feature word and the checksum over it are two stores, so the checksum
 * goes first and comes back last.
 */
int meta_feature(struct daxfs_region *r)
{
	struct daxfs_super *sb = r->sb;
	u64 known = le64_to_cpu(sb->feature_ro_compat);
	bool crc = sb->super_crc;
	int rc = 0;

	if (known & DAXFS_RO_COMPAT_BRANCH_META)
		return 0;
	if (crc) {
		port_store(&sb->super_crc, 0);
		rc = sync_super(r);
	}
	if (rc)
		return rc;
	port_store(&sb->feature_ro_compat,
		   cpu_to_le64(known | DAXFS_RO_COMPAT_BRANCH_META));
	rc = sync_super(r);
	if (!rc && crc) {
		port_store(&sb->super_crc, cpu_to_le32(super_crc(sb)));
		rc = sync_super(r);
	}
	return rc;
}

static int may_place(const struct daxfs_branch *b)
{
	int rc = branch_readable(b);

	if (!rc && b->id == DAXFS_MAIN_ID)
		rc = -EPERM;
	if (!rc && b->r->readonly)
		rc = -EROFS;
	/* others know whose their blocks are from when they first read them */
	if (!rc && b->r->shared &&
	    (b->state != DAXFS_BRANCH_ACTIVE || port_load(&b->children)))
		rc = -EOPNOTSUPP;
	return rc;
}

static void write_meta(struct daxfs_branch *b, u64 off, const void *bytes,
		       u32 len)
{
	struct daxfs_branch_meta h = meta_header(b->id, bytes, len);
	u8 *p = at(b->r, off);
	u64 end = sizeof(h) + len;

	memcpy(p, &h, sizeof(h));
	memcpy(p + sizeof(h), bytes, len);
	memset(p + end, 0, meta_room(len) - end);
}

static int place_once(struct daxfs_branch *b, const void *bytes, size_t len)
{
	u64 off = 0;
	int rc;

	change_begin(b);
	rc = may_place(b);
	if (!rc && len)
		rc = block_alloc_meta(b, (u32)(meta_room(len) / BLOCK), &off);
	if (!rc && len)
		write_meta(b, off, bytes, (u32)len);
	b->meta_next = rc ? 0 : off;
	if (!rc)
		port_store(&b->unsynced, SYNC_NEEDED);
	change_end(b);
	return rc;
}

int meta_place(struct daxfs_branch *b, const void *bytes, size_t len)
{
	if (len > DAXFS_BRANCH_META_MAX)
		return -EINVAL;
	return place_once(b, bytes, len);
}

static void free_meta(struct daxfs_branch *b, u64 off)
{
	if (off)
		block_free_meta(b, off, room_at(b->r, off));
}

void meta_name(struct daxfs_branch *b)
{
	u64 old = b->meta;

	port_store(&b->meta, b->meta_next);
	b->meta_next = 0;
	port_store(&branch_entry(b)->meta, cpu_to_le64(b->meta));
	free_meta(b, old);
	table_changed(b->r);
	port_store(&b->unsynced, SYNC_NEEDED);
}

void meta_cancel(struct daxfs_branch *b)
{
	/* not beside a commit, which frees it too */
	change_begin(b);
	if (!b->gone)
		free_meta(b, b->meta_next);
	b->meta_next = 0;
	change_end(b);
}

void meta_commit(struct daxfs_branch *main, struct daxfs_branch *b)
{
	if (b->meta && !check_meta(b->r, b->id, main->id, b->meta, false, NULL))
		free_meta(main, b->meta);
	free_meta(main, b->meta_next);
}

/* With the segment's entry, which may be new. */
int meta_sync(const struct daxfs_branch *b, u64 off, size_t len)
{
	struct daxfs_region *r = b->r;
	u64 s = (off - r->seg_data) / r->seg_size;
	struct daxfs_range v[2] = {
		{ offset_of(r, &r->segs[s]), sizeof(*r->segs) },
		{ off, meta_room(len) },
	};

	return sync_ranges(r, v, 2);
}

/* meta_lock held. */
static int set_meta(struct daxfs_region *r, struct daxfs_branch *b,
		    const void *bytes, size_t len)
{
	int rc = meta_place(b, bytes, len);

	/* what was synced must not be lost to bytes that were not */
	if (!rc && port_load(&b->meta) && b->meta_next)
		rc = meta_sync(b, b->meta_next, len);
	if (!rc)
		rc = table_enter(r);
	if (rc)
		return rc;
	rc = branch_readable(b);
	if (!rc)
		rc = meta_feature(r);
	if (!rc) {
		change_hold(b);
		meta_name(b);
		change_release(b);
	}
	table_leave(r);
	return rc;
}

int daxfs_branch_set_meta(struct daxfs_region *r, const char *name,
			  const void *bytes, size_t len)
{
	struct daxfs_branch *b;
	bool tried = false;
	int rc = daxfs_branch_get(r, name, &b);

	if (rc)
		return rc;
	do {
		port_lock(&b->meta_lock);
		rc = set_meta(r, b, bytes, len);
		meta_cancel(b);
		port_unlock(&b->meta_lock);
	} while (space_retry(b, rc, &tried));
	daxfs_branch_put(b);
	return rc;
}

/* ---- Reading ----------------------------------------------------------------- */

static ssize_t copy_meta(const struct daxfs_branch *b, void *buf, size_t size)
{
	const struct daxfs_branch_meta *h;
	size_t len;
	int rc;

	if (b->meta_lost)
		return -EUCLEAN;
	if (!b->meta)
		return -ENODATA;
	rc = check_meta(b->r, b->id, b->id, b->meta, true, NULL);
	if (rc)
		return rc;
	h = meta_at(b->r, b->meta);
	len = le32_to_cpu(h->len);
	if (size && size < len)
		return -ERANGE;
	if (size)
		memcpy(buf, h + 1, len);
	return (ssize_t)len;
}

ssize_t daxfs_branch_get_meta(struct daxfs_region *r, const char *name,
			      void *buf, size_t size)
{
	struct daxfs_branch *b;
	ssize_t rc = table_enter(r);

	if (rc)
		return rc;
	b = branch_find(r, name);
	rc = b ? copy_meta(b, buf, size) : -ENOENT;
	table_leave(r);
	return rc;
}
