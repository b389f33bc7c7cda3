// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Superblock, branch table and logs as they come from media. Every field that
 * is used later is checked here once; no other file does. The base image has
 * check_base.c.
 */
#include "internal.h"

void message(struct daxfs_message *m, const char *fmt, ...)
{
	va_list ap;

	if (!m)
		return;
	va_start(ap, fmt);
	port_vsnprintf(m->text, sizeof(m->text), fmt, ap);
	va_end(ap);
}

int corrupt(struct daxfs_message *msg, const char *thing, const char *which,
	    const char *why, u64 value)
{
	message(msg, "corrupt %s: %s, %s [%llu]", thing, which, why,
		(unsigned long long)value);
	return -EUCLEAN;
}

/* [off, off+len) lies in [0, total) and is not empty. */
static bool inside(u64 off, u64 len, u64 total)
{
	return len && off < total && len <= total - off;
}

/* ---- Checksums --------------------------------------------------------------- */

/* What changes in use is not covered, nor even read: others may be storing it. */
u32 super_crc(const struct daxfs_super *sb)
{
	static const struct {
		size_t from, to;
	} changing[] = {
		{ offsetof(struct daxfs_super, active_branches),
		  offsetof(struct daxfs_super, delta_region_offset) },
		{ offsetof(struct daxfs_super, delta_alloc_offset),
		  offsetof(struct daxfs_super, coord_pad) },
		{ offsetof(struct daxfs_super, next_segment_order),
		  offsetof(struct daxfs_super, ext_pad) },
	};
	u8 s[offsetof(struct daxfs_super, boot)] = { 0 };
	size_t pos = 0;
	u32 crc;

	for (u32 i = 0; i < 3; i++) {
		memcpy(s + pos, (const u8 *)sb + pos, changing[i].from - pos);
		pos = changing[i].to;
	}
	memcpy(s + pos, (const u8 *)sb + pos, sizeof(s) - pos);
	crc = port_crc32c(0, s, sizeof(s));
	return crc ? crc : ~0u;
}

u32 entry_crc(const struct daxfs_branch_entry *e)
{
	u32 crc = port_crc32c(0, &e->id, 16);

	return port_crc32c(crc, e->name, sizeof(e->name));
}

u32 log_header_crc(const struct daxfs_log_header *h)
{
	return port_crc32c(0, &h->owner, 16);
}

u32 txn_crc(const struct daxfs_txn *t)
{
	struct daxfs_txn head = *t;
	u32 crc;

	head.crc = 0;
	crc = port_crc32c(0, &head, sizeof(head));
	return port_crc32c(crc, t + 1,
			   le32_to_cpu(t->h.total_size) - sizeof(*t));
}

/* ---- Superblock --------------------------------------------------------------- */

static int check_features(const struct daxfs_super *sb,
			  struct daxfs_message *msg)
{
	u64 unknown = le64_to_cpu(sb->feature_incompat) & ~DAXFS_INCOMPAT_KNOWN;

	if (!unknown)
		return 0;
	for (u32 bit = 0; bit < 64; bit++)
		if (unknown & (1ull << bit)) {
			message(msg,
				"unsupported image: incompatible feature bit %u is not known to this version",
				bit);
			break;
		}
	return -EOPNOTSUPP;
}

static int check_segments(const struct daxfs_super *sb, u64 total,
			  struct daxfs_message *msg)
{
	u64 delta = le64_to_cpu(sb->delta_region_offset);
	u64 delta_len = le64_to_cpu(sb->delta_region_size);
	u64 table = le64_to_cpu(sb->segment_table_offset);
	u64 data = le64_to_cpu(sb->segment_data_offset);
	u64 count = le32_to_cpu(sb->segment_count);
	u64 size = le32_to_cpu(sb->segment_size);

	if (size < DAXFS_SEGMENT_MIN || size > DAXFS_SEGMENT_MAX ||
	    (size & (size - 1)))
		return corrupt(msg, "superblock", "segment_size",
			       "not a power of two from 64K to 256K", size);
	if (!count || count >= NO_SEGMENT)
		return corrupt(msg, "superblock", "segment_count",
			       "out of range", count);
	if (table % 8 || table < delta ||
	    !inside(table, count * sizeof(struct daxfs_segment_entry), total))
		return corrupt(msg, "superblock", "segment_table_offset",
			       "outside the delta region", table);
	if (data % BLOCK ||
	    data < table + count * sizeof(struct daxfs_segment_entry) ||
	    data > total || count * size > total - data ||
	    data + count * size > delta + delta_len)
		return corrupt(msg, "superblock", "segment_data_offset",
			       "segments outside the delta region", data);
	return 0;
}

/* Numbers that only grow, and have room to. */
static int check_counters(const struct daxfs_super *sb,
			  struct daxfs_message *msg)
{
	u64 branch = le64_to_cpu(sb->next_branch_id);
	u64 inode = le64_to_cpu(sb->next_inode_id);
	u64 order = le64_to_cpu(sb->next_segment_order);

	if (branch > COUNTER_MAX)
		return corrupt(msg, "superblock", "next_branch_id",
			       "out of range", branch);
	if (inode > DAXFS_MAX_INO / 2)
		return corrupt(msg, "superblock", "next_inode_id",
			       "out of range", inode);
	if (order > COUNTER_MAX)
		return corrupt(msg, "superblock", "next_segment_order",
			       "out of range", order);
	return 0;
}

static int check_delta(const struct daxfs_super *sb, u64 total,
		       struct daxfs_message *msg)
{
	u64 table = le64_to_cpu(sb->branch_table_offset);
	u64 slots = le32_to_cpu(sb->branch_table_entries);
	u64 delta = le64_to_cpu(sb->delta_region_offset);
	u64 len = le64_to_cpu(sb->delta_region_size);
	u64 base = le64_to_cpu(sb->base_offset);
	u64 table_end = table + slots * sizeof(struct daxfs_branch_entry);

	if (slots > DAXFS_MAX_BRANCHES)
		return corrupt(msg, "superblock", "branch_table_entries",
			       "more than 65536", slots);
	if (table < BLOCK || table % 8 ||
	    !inside(table, slots * sizeof(struct daxfs_branch_entry), total))
		return corrupt(msg, "superblock", "branch_table_offset",
			       "outside the region", table);
	if (delta % BLOCK || delta < table_end || !inside(delta, len, total))
		return corrupt(msg, "superblock", "delta_region_offset",
			       "outside the region or over the branch table",
			       delta);
	if (base &&
	    (base < table_end || base + le64_to_cpu(sb->base_size) > delta))
		return corrupt(msg, "superblock", "base_offset",
			       "base image overlaps the branch table or the delta region",
			       base);
	if (le64_to_cpu(sb->feature_incompat) & DAXFS_INCOMPAT_SEGMENTS)
		return check_segments(sb, total, msg);
	return 0;
}

int check_super(const struct daxfs_backing *bk, struct daxfs_message *msg)
{
	const struct daxfs_super *sb = bk->base;
	u64 total, base, base_size;
	int rc;

	if (bk->size < BLOCK) {
		message(msg, "not a DAXFS region: only %llu bytes",
			(unsigned long long)bk->size);
		return -EINVAL;
	}
	if (le32_to_cpu(sb->magic) != DAXFS_SUPER_MAGIC) {
		message(msg, "not a DAXFS region: magic is 0x%08x, not 0x%08x",
			le32_to_cpu(sb->magic), DAXFS_SUPER_MAGIC);
		return -EINVAL;
	}
	if (le32_to_cpu(sb->version) != DAXFS_VERSION) {
		message(msg,
			"unsupported image: version %u, this program reads version %u",
			le32_to_cpu(sb->version), DAXFS_VERSION);
		return -EOPNOTSUPP;
	}
	rc = check_features(sb, msg);
	if (rc)
		return rc;
	if (sb->super_crc && le32_to_cpu(sb->super_crc) != super_crc(sb))
		return corrupt(msg, "superblock", "super_crc",
			       "checksum does not match",
			       le32_to_cpu(sb->super_crc));
	if (le32_to_cpu(sb->block_size) != DAXFS_BLOCK_SIZE)
		return corrupt(msg, "superblock", "block_size", "not 4096",
			       le32_to_cpu(sb->block_size));
	total = le64_to_cpu(sb->total_size);
	if (total % BLOCK || total < BLOCK)
		return corrupt(msg, "superblock", "total_size",
			       "not a multiple of 4096", total);
	if (total > bk->size) {
		message(msg,
			"corrupt superblock: total_size, region is truncated to %llu bytes [%llu]",
			(unsigned long long)bk->size,
			(unsigned long long)total);
		return -EUCLEAN;
	}
	rc = check_counters(sb, msg);
	if (rc)
		return rc;
	base = le64_to_cpu(sb->base_offset);
	base_size = le64_to_cpu(sb->base_size);
	if (base && (base % BLOCK || base < BLOCK || base_size < 2 * BLOCK ||
		     !inside(base, base_size, total)))
		return corrupt(msg, "superblock", "base_offset",
			       "base image outside the region", base);
	if (!sb->branch_table_entries) {
		if (!base)
			return corrupt(msg, "superblock", "base_offset",
				       "static image without base image", 0);
		if (le64_to_cpu(sb->feature_incompat) & DAXFS_INCOMPAT_SEGMENTS)
			return corrupt(msg, "superblock",
				       "branch_table_entries",
				       "segments without a branch table", 0);
		return 0;
	}
	return check_delta(sb, total, msg);
}

/* ---- Branch table -------------------------------------------------------------- */

bool branch_name_ok(const char *name)
{
	size_t n = strnlen(name, DAXFS_BRANCH_NAME_MAX + 1);

	if (!n || n > DAXFS_BRANCH_NAME_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if ((u8)name[i] < 0x20 || name[i] == 0x7f || name[i] == '/')
			return false;
	return true;
}

static bool entry_live(const struct daxfs_branch_entry *e)
{
	u32 state = le32_to_cpu(e->state);

	return state == DAXFS_BRANCH_ACTIVE || state == DAXFS_BRANCH_SEALED;
}

static int check_entry(const struct daxfs_region *r,
		       const struct daxfs_branch_entry *e, char *which,
		       struct daxfs_message *msg)
{
	u64 id = le64_to_cpu(e->id), parent = le64_to_cpu(e->parent_id);

	if (r->segmented && le32_to_cpu(e->entry_crc) != entry_crc(e)) {
		/* never synced: branch_open.c drops it */
		if (r->recovery == RECOVER_POWER)
			return 0;
		return corrupt(msg, "branch table", which,
			       "checksum does not match",
			       le32_to_cpu(e->entry_crc));
	}
	if (!id)
		return corrupt(msg, "branch table", which, "id is zero", id);
	if ((id == DAXFS_MAIN_ID) != (parent == 0) || parent >= id)
		return corrupt(msg, "branch table", which,
			       "parent is not an older branch", parent);
	if (!branch_name_ok(e->name))
		return corrupt(msg, "branch table", which,
			       "name is not a branch name", (u8)e->name[0]);
	if (r->segmented && le64_to_cpu(e->log_start) >= COUNTER_MAX)
		return corrupt(msg, "branch table", which,
			       "log_start out of range",
			       le64_to_cpu(e->log_start));
	return 0;
}

int check_branch_table(const struct daxfs_region *r, struct daxfs_message *msg)
{
	char which[32];
	int rc;

	for (u32 i = 0; i < r->slots; i++) {
		const struct daxfs_branch_entry *e = &r->table[i];
		u32 state = le32_to_cpu(e->state);

		port_snprintf(which, sizeof(which), "entry %u", i);
		if (state > DAXFS_BRANCH_SEALED)
			return corrupt(msg, "branch table", which,
				       "unknown state", state);
		if (!entry_live(e))
			continue;
		rc = check_entry(r, e, which, msg);
		if (rc)
			return rc;
	}
	return 0;
}

static const char *bad_meta(const struct daxfs_region *r,
			    const struct daxfs_branch_meta *h, u64 id, u64 off,
			    bool full)
{
	u64 in_segment = (off - r->seg_data) % r->seg_size;
	u64 len = le32_to_cpu(h->len);

	if (le32_to_cpu(h->magic) != DAXFS_META_MAGIC)
		return "metadata has a bad magic";
	if (le64_to_cpu(h->owner) != id)
		return "metadata is another branch's";
	if (!len || len > DAXFS_BRANCH_META_MAX ||
	    in_segment + sizeof(*h) + len > r->seg_size)
		return "metadata has a length out of range";
	if (full && le32_to_cpu(h->crc) != meta_crc(h, h + 1))
		return "metadata's checksum does not match";
	return NULL;
}

int check_meta(const struct daxfs_region *r, u64 id, u64 owner, u64 off,
	       bool full, struct daxfs_message *msg)
{
	const char *why = "metadata lies outside the segments";
	const struct daxfs_segment_entry *e;
	char which[48];

	if (off % BLOCK == 0 && off >= r->seg_data &&
	    inside(off - r->seg_data, BLOCK, (u64)r->seg_count * r->seg_size)) {
		e = &r->segs[(off - r->seg_data) / r->seg_size];
		why = le64_to_cpu(e->owner) == owner &&
				      e->kind == cpu_to_le32(DAXFS_SEGMENT_DATA)
			      ? bad_meta(r, at(r, off), id, off, full)
			      : "metadata lies in a segment that is not its own";
	}
	if (!why)
		return 0;
	port_snprintf(which, sizeof(which), "branch id %llu",
		      (unsigned long long)id);
	return corrupt(msg, "branch table", which, why, off);
}

/* ---- Log ------------------------------------------------------------------------ */

int check_log_header(const struct daxfs_region *r, u32 seg,
		     struct daxfs_message *msg)
{
	const struct daxfs_log_header *h = at(r, seg_offset(r, seg));
	u64 tail = le64_to_cpu(h->tail), synced = le64_to_cpu(h->synced);
	char which[32];

	port_snprintf(which, sizeof(which), "segment %u", seg);
	if (le32_to_cpu(h->magic) != DAXFS_LOG_MAGIC)
		return corrupt(msg, "log", which, "bad magic",
			       le32_to_cpu(h->magic));
	if (le32_to_cpu(h->crc) != log_header_crc(h))
		return corrupt(msg, "log", which,
			       "header checksum does not match",
			       le32_to_cpu(h->crc));
	if (h->order != r->segs[seg].order)
		return corrupt(msg, "log", which,
			       "order differs from the segment table",
			       le64_to_cpu(h->order));
	if (tail < sizeof(*h) || tail > r->seg_size || tail % 8)
		return corrupt(msg, "log", which, "tail out of range", tail);
	if (synced > tail || synced % 8)
		return corrupt(msg, "log", which, "synced out of range",
			       synced);
	return 0;
}

static u64 padded(u64 n)
{
	return (n + 7) & ~7ull;
}

static const char *check_rec_inode(const struct daxfs_rec_inode *i, u32 size)
{
	u32 type;

	if (size != sizeof(*i))
		return "inode record has a wrong size";
	type = le32_to_cpu(i->mode) & S_IFMT;
	if (type != S_IFREG && type != S_IFDIR && type != S_IFLNK &&
	    type != S_IFCHR && type != S_IFBLK && type != S_IFIFO &&
	    type != S_IFSOCK)
		return "inode record has an unknown file type";
	if (le64_to_cpu(i->size) > DAXFS_MAX_FILE_SIZE)
		return "inode record has a size over the limit";
	if (le32_to_cpu(i->flags) & ~DAXFS_INODE_KNOWN)
		return "inode record has an unknown flag";
	if (le32_to_cpu(i->atime_nsec) >= 1000000000u ||
	    le32_to_cpu(i->mtime_nsec) >= 1000000000u ||
	    le32_to_cpu(i->ctime_nsec) >= 1000000000u ||
	    le32_to_cpu(i->btime_nsec) >= 1000000000u)
		return "inode record has a time beyond one second";
	return NULL;
}

static const char *check_rec_dirent(const struct daxfs_rec_dirent *d, u32 size)
{
	u32 len;

	if (size < sizeof(*d))
		return "dirent record is too short";
	len = le16_to_cpu(d->name_len);
	if (size != padded(sizeof(*d) + len) ||
	    !name_valid((const char *)(d + 1), len))
		return "dirent record has a bad name";
	if (le64_to_cpu(d->child) > DAXFS_MAX_INO)
		return "dirent record names an inode out of range";
	return NULL;
}

/*
 * [media, media+len) lies in the segments. Whether its blocks are the branch's
 * own is known only when all of the log was seen: block_claim().
 */
static bool media_ok(const struct daxfs_region *r, u64 media, u64 len)
{
	return media % BLOCK == 0 && media >= r->seg_data &&
	       inside(media - r->seg_data, len,
		      (u64)r->seg_count * r->seg_size);
}

static const char *check_rec_extent(const struct daxfs_region *r,
				    const struct daxfs_rec_extent *e, u32 size,
				    bool map)
{
	u64 off, len, media;

	if (size != sizeof(*e))
		return "extent record has a wrong size";
	off = le64_to_cpu(e->offset);
	len = le64_to_cpu(e->len);
	media = le64_to_cpu(e->media);
	/* a file's last block may end just above the size limit */
	if (off % BLOCK || len % BLOCK || !len ||
	    off > DAXFS_MAX_FILE_SIZE + BLOCK ||
	    len > DAXFS_MAX_FILE_SIZE + BLOCK - off)
		return "extent record has a bad range";
	if (map && media && !media_ok(r, media, len))
		return "extent record points outside the segments";
	return NULL;
}

static const char *check_rec_xattr(const struct daxfs_region *r,
				   const struct daxfs_rec_xattr *x, u32 size,
				   bool set)
{
	u64 name, value, media;

	if (size < sizeof(*x))
		return "xattr record is too short";
	name = le16_to_cpu(x->name_len);
	value = le32_to_cpu(x->value_len);
	media = le64_to_cpu(x->media);
	if (name > DAXFS_XATTR_NAME_MAX || value > DAXFS_XATTR_SIZE_MAX ||
	    (!set && value))
		return "xattr record has a length over the limit";
	if (size != padded(sizeof(*x) + name + (media ? 0 : value)))
		return "xattr record has a wrong size";
	if (media && !media_ok(r, media, value))
		return "xattr record points outside the segments";
	if (memchr(x + 1, 0, name))
		return "xattr record has a NUL in its name";
	if (!name && set &&
	    (media || !value || value > DAXFS_SYMLINK_MAX ||
	     memchr(x + 1, 0, value)))
		return "xattr record has a bad symlink target";
	return NULL;
}

static const char *check_rec(const struct daxfs_region *r,
			     const struct daxfs_rec *rec, u32 size)
{
	u64 ino = le64_to_cpu(rec->ino);

	if (!ino || ino > DAXFS_MAX_INO)
		return "record names an inode out of range";
	switch (le16_to_cpu(rec->type)) {
	case DAXFS_REC_INODE:
		return check_rec_inode((const void *)rec, size);
	case DAXFS_REC_FORGET:
		return size == sizeof(*rec) ? NULL
					    : "forget record has a wrong size";
	case DAXFS_REC_DIRENT:
		return check_rec_dirent((const void *)rec, size);
	case DAXFS_REC_EXTENT:
		return check_rec_extent(r, (const void *)rec, size, true);
	case DAXFS_REC_UNMAP:
		return check_rec_extent(r, (const void *)rec, size, false);
	case DAXFS_REC_XATTR:
		return check_rec_xattr(r, (const void *)rec, size, true);
	case DAXFS_REC_NOXATTR:
		return check_rec_xattr(r, (const void *)rec, size, false);
	default:
		return "unknown record type";
	}
}

static const char *check_records(const struct daxfs_region *r,
				 const struct daxfs_txn *t)
{
	const u8 *p = (const u8 *)(t + 1);
	const u8 *end = (const u8 *)t + le32_to_cpu(t->h.total_size);
	u32 n = le32_to_cpu(t->records);

	while (n--) {
		const struct daxfs_rec *rec = (const void *)p;
		const char *why;
		u32 size;

		if ((size_t)(end - p) < sizeof(*rec))
			return "records run past the entry";
		size = le32_to_cpu(rec->size);
		if (size < sizeof(*rec) || size % 8 || size > (size_t)(end - p))
			return "record size out of range";
		why = check_rec(r, rec, size);
		if (why)
			return why;
		p += size;
	}
	return p == end ? NULL : "bytes after the last record";
}

int check_txn(const struct daxfs_region *r, const struct daxfs_txn *t, u64 room,
	      struct daxfs_message *msg)
{
	u64 where = offset_of(r, t);
	u32 size = le32_to_cpu(t->h.total_size);
	const char *why;

	if (room < sizeof(*t) || size < sizeof(*t) || size % 8 || size > room)
		why = "entry size out of range";
	else if (le32_to_cpu(t->h.type) != DAXFS_DELTA_TXN)
		why = "unknown entry type";
	else if (le32_to_cpu(t->crc) != txn_crc(t))
		why = "entry checksum does not match";
	else
		why = check_records(r, t);
	return why ? corrupt(msg, "log", "entry", why, where) : 0;
}
