/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the engine's files share among themselves. Contract: daxfs.h. */
#ifndef DAXFS_INTERNAL_H
#define DAXFS_INTERNAL_H

#include "daxfs.h"
#include "ptree.h"

#define COUNTER_MAX (1ull << 62) /* ids, orders, inode numbers stay below */
#define NO_SEGMENT 0xffffffffu
#define NO_SLOT 0xffffffffu /* main of a region without a branch table */

/* ---- In-memory forms ------------------------------------------------------- */

/* The value of the inode tree, key (ino, 0). */
struct dinode {
	u32 mode; /* 0: a base inode that is gone */
	u32 uid, gid, nlink;
	u32 rdev, flags;
	u64 size; /* directories: 271 x entries, as in base images */
	u64 base_valid;
	u64 blocks; /* 4 KiB */
	u64 parent;
	struct daxfs_time atime, mtime, ctime, btime;
};

/* The value of the dirent tree, key (dir, name hash << 8 | n). */
struct dirent_val {
	u64 child; /* 0: hides a name of the base */
	u64 name;  /* offset of its bytes in the region */
	u32 mode;
	u16 name_len;
	u16 pad;
};

/* The value of the extent tree, key (ino, file offset). */
struct extent_val {
	u64 len;
	u64 media; /* 0: zeros that hide base data */
};

/* The value of the xattr tree, key (ino, name hash << 8 | n). */
struct xattr_val {
	u64 name, value; /* offsets in the region */
	u32 value_len;
	u16 name_len;
	u16 flags; /* XATTR_* */
};
#define XATTR_GONE 1u  /* hides an attribute of the base */
#define XATTR_BLOCK 2u /* the value has blocks of its own */

/* Everything one can see on a branch, above the base image. */
struct view {
	struct ptree inodes, dirents, extents, xattrs;
	struct ptree orphans; /* (ino, 0) -> u64 0: inodes with nlink 0 */
};

/* ---- Base image (base.c) --------------------------------------------------- */

struct base {
	const u8 *mem; /* NULL: no base; the root is made up */
	u64 offset;    /* of mem in the region */
	u64 size;
	const struct daxfs_base_inode *inodes;
	u32 count; /* inodes; 1 without an image */
	bool attrs;
	bool sorted;
	const u8 *xattrs;
	u64 xattr_size;
	u32 *parent;   /* by ino - 1: directories' parents, others' names */
	u32 *order;    /* unsorted images: entry numbers by name, */
	u64 *order_at; /* by ino - 1: where a directory's begin in order */
};

void base_inode(const struct base *b, u32 ino, struct dinode *out);
u32 base_dir_count(const struct base *b, u32 dir);
/* The i-th entry of a directory in name order. */
const struct daxfs_base_dirent *base_dirent(const struct base *b, u32 dir,
					    u32 i);
/* NULL when there is none. */
const struct daxfs_base_dirent *base_lookup(const struct base *b, u32 dir,
					    const char *name, size_t len);
/* Region offset of a regular file's or symlink's bytes. */
u64 base_data(const struct base *b, u32 ino);
const struct daxfs_base_xattr *base_xattr_find(const struct base *b, u32 ino,
					       const char *name, size_t len);
/* NULL starts; NULL ends. */
const struct daxfs_base_xattr *
base_xattr_next(const struct base *b, u32 ino,
		const struct daxfs_base_xattr *prev);
int base_index(struct base *b, struct daxfs_message *msg);
void base_release(struct base *b);

static inline bool in_base(const struct base *b, u64 ino)
{
	return ino <= b->count;
}

static inline size_t base_xattr_size(const struct daxfs_base_xattr *x)
{
	return (sizeof(*x) + le16_to_cpu(x->name_len) +
		le32_to_cpu(x->value_len) + 7) &
	       ~(size_t)7;
}

int name_cmp(const char *a, size_t alen, const char *b, size_t blen);

/* ---- Region ----------------------------------------------------------------- */

/* In-memory state of a segment: the owner's change_lock guards it. */
struct seg {
	struct daxfs_branch *owner; /* atomic; NULL: free, or dead */
	u64 used;                   /* DATA: a bit a block */
	u64 freed[2];      /* used, but free after a sync: see sync.c */
	u32 freed_next[2]; /* in the owner's lists of such */
	u32 next, prev;    /* in the owner's list */
	u32 dirty_next;
	u16 reserved; /* DATA: a bit for RESERVE_BLOCKS that have memory */
	u8 listed;    /* which: enum seg_list + 1 */
	bool dirty;
};

/* Has a sync something to do? BEGUN until what it had is durable. */
enum sync_state { SYNC_DONE, SYNC_NEEDED, SYNC_BEGUN };

/* An owner that is no branch: this instance is about to free the segment. */
#define SEG_FREEING (1ull << 63)

enum seg_list { SEG_PARTIAL, SEG_FULL, SEG_LOG, SEG_LISTS };

/* What a region was opened after. */
enum recovery {
	RECOVER_NOTHING, /* a close */
	RECOVER_KILLED,  /* the end of a process: all its stores are there */
	RECOVER_POWER,   /* what was not synced may be there in part */
};

/*
 * Branches that ended while table_lock was held. `hash_next` links them; their
 * region's reference is dropped once the front was told.
 */
struct ended {
	struct daxfs_branch *first;
};

/* What daxfs_region_stats() tells: counted with port_count(). */
struct counts {
	u64 created, ended, seals, commits, compactions, leases_broken;
	u64 log_written, syncs, sync_bytes, sync_ns;
};

struct daxfs_region {
	struct daxfs_backing bk;
	u8 *mem;
	struct daxfs_super *sb;
	struct base base;
	bool readonly;
	bool segmented;
	bool durable; /* writable, and the backing needs syncs */
	bool opening;
	bool repair; /* cut damaged logs */
	enum recovery recovery;

	port_mutex table_lock;
	struct daxfs_branch_entry *table;
	u32 slots, branches;
	u32 *free_slots; /* a stack */
	u32 free_count;
	/* of its top: entries whose end may not be durable; space_lock */
	u32 ended_slots;
	struct daxfs_branch *first, *last; /* live, by id */
	struct daxfs_branch **names;       /* hash table, chained */
	u32 name_buckets;                  /* power of two */
	struct daxfs_branch *main;
	u64 next_branch;
	daxfs_ended_fn on_end;
	void *on_end_arg;

	u64 next_inode;  /* atomic */
	u64 inode_limit; /* atomic; numbers below it are spoken for on media */
	u64 seed[2];

	port_mutex settle_lock; /* one settle() at a time; above space_lock */
	port_mutex space_lock;
	struct daxfs_segment_entry *segs;
	struct seg *seg;
	u64 *seg_free; /* bitmap */
	u32 seg_count, seg_size, seg_blocks;
	u32 seg_hint, free_segs, reserve;
	u64 seg_data; /* offset of segment 0 */
	u64 next_order;
	u32 dead, dead_segs; /* list of segments that settle() will free */
	bool gave;           /* segments have become free; space_lock */
	/* Branches came, changed or went: how often, and up to which it is synced. */
	u64 table_changes, table_synced; /* atomic */

	struct counts counts;
	port_mutex stats_lock; /* one who looks at a time; above table_lock */
	struct daxfs_region_stats seen_stats; /* sums over the branches */

	/* Shared regions, coord.h; table_lock. */
	bool shared;
	bool table_changed; /* others have to hear of it */
	bool quiet;         /* atomic; see branches_quiesce() */
	port_mutex gate;    /* held while it is; below table_lock */
	bool scavenge;      /* somebody died, and may have left segments */
	u32 instance, instance_id; /* the slot, and what is in it */
	u64 seen;                  /* atomic: generation of the table */
	u64 seen_commit;           /* commit_sequence of main's view */
	struct ended ended;        /* by others; the front has to be told */
};

struct log {
	u32 seg; /* the one appended to, or NO_SEGMENT */
	u32 tail;
};

struct daxfs_branch {
	struct daxfs_region *r;
	u32 refs;     /* atomic; one is the region's while the branch lives */
	u32 ended;    /* atomic */
	u32 children; /* atomic; table_lock to change, own lock too to grow */
	u32 slot, depth;
	u32 users, loaded_children;    /* shared regions; table_lock */
	bool loaded;                   /* the same: there is a view */
	bool damaged;                  /* no view could be made */
	struct daxfs_message *problem; /* what was found, also when repaired */
	enum daxfs_branch_state state;
	u32 flags;
	u64 id, ctime_ns;
	u64 quota_bytes, quota_inodes; /* atomic; 0: none */
	u64 meta;       /* table_lock, atomic: where on media (meta.c); 0 */
	bool meta_lost; /* there was something, but it is damaged */
	char name[DAXFS_BRANCH_NAME_MAX + 1];
	struct daxfs_branch *parent; /* table_lock */
	struct daxfs_branch *next, *prev, *hash_next;
	void *priv;

	/*
	 * change_lock guards all below; the view and what is counted are written
	 * with `lock` held too, so that either will do for reading them.
	 */
	port_mutex meta_lock; /* one change of metadata; above table_lock */
	port_mutex sync_lock; /* one sync at a time; above change_lock */
	port_mutex change_lock;
	port_rwlock lock;
	struct view view;
	struct log log;
	u32 lists[SEG_LISTS];   /* heads */
	u32 freed[2];           /* heads: segments with such blocks; by phase */
	u64 freed_blocks;       /* atomic: in these lists */
	u32 phase;              /* 0 or 1: where blocks that are freed now go */
	u32 dirty, dirty_count; /* segments written to since the last sync */
	u32 unsynced;           /* atomic: enum sync_state */
	u64 meta_next;          /* written, but not named by the entry yet; 0 */
	bool gone;              /* ended for good: it has no segments */
	bool exempt; /* changed by the engine itself, though it has ended */
	u64 blocks, log_bytes; /* atomic */
	u32 log_room;          /* atomic: of log_bytes, what log.seg has left */
	u64 inodes;
	u64 forgotten;      /* inodes of the parent that are gone here */
	struct ppool pool;  /* small nodes */
	struct ppool ipool; /* inode nodes */
	struct txn *txn;
	u32 compact_at; /* log segments that start the next compaction */
	u32 compacted;  /* log segments that the last one left */
	bool replaying; /* records repeat what is: they free no blocks */
	bool moving;    /* extents change places: theirs are not free */
};

/* space.c: what was freed in a phase can be used again. */
void space_reclaim(struct daxfs_branch *b, u32 phase);

/* Around what the engine itself changes on a branch. */
static inline void change_hold(struct daxfs_branch *b)
{
	port_lock(&b->change_lock);
}

static inline void change_release(struct daxfs_branch *b)
{
	if (!b->r->durable)
		space_reclaim(b, b->phase);
	port_unlock(&b->change_lock);
}

/* While a commit has all operations stand still: wait for its end. */
static inline void wait_quiet(struct daxfs_region *r)
{
	port_lock(&r->gate);
	port_unlock(&r->gate);
}

/* Around every operation that changes a branch. */
static inline void change_begin(struct daxfs_branch *b)
{
	change_hold(b);
	while (port_load(&b->r->quiet)) {
		change_release(b);
		wait_quiet(b->r);
		change_hold(b);
	}
}

static inline void change_end(struct daxfs_branch *b)
{
	change_release(b);
}

/*
 * File bytes from or to region memory, where a reader may run beside a writer.
 * The sanitizer is told so: it takes every memcpy() for an access that counts.
 */
#if defined(__SANITIZE_THREAD__)
void copy_data(void *to, const void *from, size_t n);
void zero_data(void *to, size_t n);
#else
#define copy_data(to, from, n) memcpy(to, from, n)
#define zero_data(to, n) memset(to, 0, n)
#endif

static inline void *at(const struct daxfs_region *r, u64 off)
{
	return r->mem + off;
}

static inline u32 log_segments(const struct daxfs_branch *b)
{
	return (u32)(port_load(&b->log_bytes) / b->r->seg_size);
}

/* What the branch owns: data blocks and log. */
static inline u64 branch_bytes(const struct daxfs_branch *b)
{
	return port_load(&b->blocks) * DAXFS_BLOCK_SIZE +
	       port_load(&b->log_bytes);
}

static inline u64 offset_of(const struct daxfs_region *r, const void *p)
{
	return (u64)((const u8 *)p - r->mem);
}

#define BLOCK ((u64)DAXFS_BLOCK_SIZE)
#define BLOCK_MASK (BLOCK - 1)
#define block_floor(x) ((x) & ~BLOCK_MASK)
#define block_ceil(x) (((x) + BLOCK_MASK) & ~BLOCK_MASK)

__attribute__((format(printf, 2, 3))) void message(struct daxfs_message *m,
						   const char *fmt, ...);

/* SipHash-1-3 of a name; bits of the key's `lo` above the collision byte. */
u64 name_hash(const struct daxfs_region *r, const char *name, size_t len);
bool name_valid(const char *name, size_t len);

/* ---- check.c: everything read from media ------------------------------------ */

int check_super(const struct daxfs_backing *bk, struct daxfs_message *msg);
/* Fills in b->parent. full: data checksums and link counts too. */
int check_base(struct base *b, bool full, struct daxfs_message *msg);
/* The one form of corruption messages; -EUCLEAN. */
int corrupt(struct daxfs_message *msg, const char *thing, const char *which,
	    const char *why, u64 value);
int check_branch_table(const struct daxfs_region *r, struct daxfs_message *msg);
int check_log_header(const struct daxfs_region *r, u32 seg,
		     struct daxfs_message *msg);
/* One TXN entry of at most `room` bytes. */
int check_txn(const struct daxfs_region *r, const struct daxfs_txn *t, u64 room,
	      struct daxfs_message *msg);
bool branch_name_ok(const char *name);
/*
 * Metadata of branch `id` at `off`, in a segment of branch `owner`. full: its
 * checksum too, which is that of all bytes.
 */
int check_meta(const struct daxfs_region *r, u64 id, u64 owner, u64 off,
	       bool full, struct daxfs_message *msg);
u32 super_crc(const struct daxfs_super *sb);
u32 entry_crc(const struct daxfs_branch_entry *e);
u32 log_header_crc(const struct daxfs_log_header *h);
u32 txn_crc(const struct daxfs_txn *t);
/* meta_crc.c; `bytes`: h->len of them. */
u32 meta_crc(const struct daxfs_branch_meta *h, const void *bytes);
/* Of metadata of branch `id`. */
struct daxfs_branch_meta meta_header(u64 id, const void *bytes, u32 len);

/* ---- space.c ------------------------------------------------------------------ */

int space_open(struct daxfs_region *r);
void space_close(struct daxfs_region *r);
/*
 * Segment `s` belongs to `b` on media: note it (at open). Log segments come in
 * ascending order of `order`, so that the list is newest first.
 */
void space_adopt(struct daxfs_branch *b, u32 s, u32 kind);
/* The end of a list; NO_SEGMENT when it is empty. */
u32 seg_list_last(const struct daxfs_branch *b, enum seg_list l);
/*
 * Up to `want` blocks in a row, near `after` (a region offset or 0). Returns how
 * many, *off where; 0: none, and space_error() says why. Caller holds
 * b->change_lock.
 */
u32 block_alloc(struct daxfs_branch *b, u32 want, u64 after, u64 *off);
/* All of `want` (at most a segment's) in one run from a new segment, or 0. */
u32 block_alloc_run(struct daxfs_branch *b, u32 want, u64 *off);
/* A sync has to write the segment, which is the branch's. */
void seg_dirty(struct daxfs_branch *b, u32 s);
/* No log entry names them any more: free after the next sync. */
void block_free(struct daxfs_branch *b, u64 off, u64 len);
/* Own blocks are about to be written to in place. */
void block_dirty(struct daxfs_branch *b, u64 off, u64 len);
/*
 * Blocks that no quota and no size counts: `want` in a row, at any price but not
 * across segments; -ENOSPC. To give up, and to mark at open, whole runs.
 */
int block_alloc_meta(struct daxfs_branch *b, u32 want, u64 *off);
void block_free_meta(struct daxfs_branch *b, u64 off, u64 len);
int block_claim_meta(struct daxfs_branch *b, u64 off, u64 len);
/* Mark as used at open. -EUCLEAN when a block is not b's or used already. */
int block_claim(struct daxfs_branch *b, u64 off, u64 len);
/* Bytes from off (at most len) that have the same owner; *own: is it b. */
u64 block_owned(const struct daxfs_branch *b, u64 off, u64 len, bool *own);
/*
 * Segments that only freeing may use: for its own log, and so that the branch's
 * log can be written anew beside the old one.
 */
u32 space_kept(const struct daxfs_branch *b);
/*
 * A fresh log segment with its header written; may dip into the reserve and
 * beyond the quota. -ENOSPC, -EDQUOT.
 */
int segment_alloc_log(struct daxfs_branch *b, bool reserve, u32 *out);
/* Segments [s, s+n) are nobody's: free them. */
void segment_give(struct daxfs_region *r, u32 s, u32 n);
/* Forget a log segment that a loss of power made void. */
void segment_drop_log(struct daxfs_branch *b, u32 s);
/* The segments of ended branches: take the list; put it back, or free them. */
u32 space_take_dead(struct daxfs_region *r);
void space_put_dead(struct daxfs_region *r, u32 list);
void space_free_dead(struct daxfs_region *r, u32 list);
/* Log segments whose order is below `start` become free. */
void segment_free_logs(struct daxfs_branch *b, u64 start);
/* All segments of an ended branch become free. */
void space_release(struct daxfs_branch *b);
/* All segments of `from` become `to`'s, in memory (media: commit.c). */
void space_move(struct daxfs_branch *to, struct daxfs_branch *from);
/* After block_claim(): lists put right, segments without used blocks free. */
void space_trim(struct daxfs_branch *b, bool give);
/* A segment of `owner`, who needs it no more, is free after settle(). */
void space_kill(struct daxfs_region *r, u32 s, u64 owner);
/* At the close of a region that is nobody else's: their memory goes back. */
void space_discard_free(struct daxfs_region *r);
/* In a region that needs no syncs: now. */
void space_bury(struct daxfs_region *r);
/* Which segments are free, from the table: others take and free them too. */
void space_rescan(struct daxfs_region *r);
/* The next number for a log segment. */
u64 space_order(struct daxfs_region *r);

static inline u64 seg_offset(const struct daxfs_region *r, u32 s)
{
	return r->seg_data + (u64)s * r->seg_size;
}

/* ---- quota.c ------------------------------------------------------------------ */

/* How many of `want` blocks the branch may still have. */
u32 quota_blocks(const struct daxfs_branch *b, u32 want);
/* -EDQUOT: not another log segment; not another inode. */
int quota_log(const struct daxfs_branch *b);
int quota_inode(const struct daxfs_branch *b);
/* Why `want` blocks were not to be had: -EDQUOT or -ENOSPC. */
int space_error(const struct daxfs_branch *b, u32 want);
/* From and to the branch's entry, which is segmented then. */
void quota_load(struct daxfs_branch *b, const struct daxfs_branch_entry *e);
void quota_store(const struct daxfs_branch *b, struct daxfs_branch_entry *e);
/* Make the region's numbers the branch's. */
void quota_statfs_blocks(const struct daxfs_branch *b, struct daxfs_statfs *st);
void quota_statfs_files(struct daxfs_branch *b, struct daxfs_statfs *st);

/* ---- super.c, upgrade.c ------------------------------------------------------ */

/* Small segments waste little; large regions need fewer of them. */
u32 pick_segment_size(u64 total);
/*
 * How many segments of `size`, with their table, fit into [delta, end); 0: too
 * few to be of use. *data: where segment 0 begins.
 */
u32 segments_fit(u64 delta, u64 end, u32 size, u64 *data);
/* Take over the region's segment fields from the superblock. */
int region_use_segments(struct daxfs_region *r);
/*
 * A version 4 region without logs, about to get its first branch: give it
 * segments. table_lock held. -EROFS: it has logs, or no room.
 */
int region_upgrade(struct daxfs_region *r);
bool region_can_upgrade(const struct daxfs_region *r);

/* ---- view.c: what records mean ------------------------------------------------ */

void view_init(struct view *v);
void view_clone(struct view *dst, const struct view *src);
void view_drop(struct view *v);

/* False: no such inode here. */
bool view_inode(const struct daxfs_branch *b, u64 ino, struct dinode *out);

/* A name in a directory; name points into the region. */
struct found {
	u64 ino;
	u32 mode;
};
bool view_lookup(const struct daxfs_branch *b, u64 dir, const char *name,
		 size_t len, struct found *out);

/* A run of bytes of a file with one source. */
struct map {
	u64 off, len;
	u64 media; /* 0: hole */
	bool extent;
};
/* The run that begins at `off` and ends at `end` at the latest; off < end. */
void view_map(const struct daxfs_branch *b, u64 ino, const struct dinode *in,
	      u64 off, u64 end, struct map *out);
/* Blocks of the file in [off, end) that are not holes; off, end aligned. */
u64 view_mapped_blocks(const struct daxfs_branch *b, u64 ino,
		       const struct dinode *in, u64 off, u64 end);
/* Where the extents at and above `off` must be cut so that at most max go. */
u64 view_unmap_floor(const struct daxfs_branch *b, u64 ino, u64 off, u32 max);

struct xattr_ref {
	const char *name, *value;
	u32 name_len, value_len;
};
bool view_xattr(const struct daxfs_branch *b, u64 ino, const char *name,
		size_t len, struct xattr_ref *out);
/* Calls fn for each attribute (not symlink targets); stops at nonzero. */
int view_xattrs(const struct daxfs_branch *b, u64 ino,
		int (*fn)(void *arg, const struct xattr_ref *x), void *arg);

/* Make sure that applying `t` cannot fail for memory. */
int view_reserve(struct daxfs_branch *b, const struct daxfs_txn *t);
/* Apply a checked entry that lies in the region. */
void view_apply(struct daxfs_branch *b, const struct daxfs_txn *t);
/* After replay: find the blocks in use. -EUCLEAN: not b's, or used twice. */
int view_claim_blocks(struct daxfs_branch *b, struct daxfs_message *msg);

/* Records of an entry, one after another: NULL starts, NULL ends. */
static inline const struct daxfs_rec *rec_next(const struct daxfs_txn *t,
					       const struct daxfs_rec *rec)
{
	const u8 *end = (const u8 *)t + le32_to_cpu(t->h.total_size);
	const u8 *p = rec ? (const u8 *)rec + le32_to_cpu(rec->size)
			  : (const u8 *)(t + 1);

	return p < end ? (const struct daxfs_rec *)p : NULL;
}

/* ---- txn.c: one operation's records ------------------------------------------ */

struct txn {
	u32 len, cap, records;
	u8 *buf; /* struct daxfs_txn and records */
	u64 now_ns;
	int failed;
	u64 fresh;  /* a block to free again when the commit fails */
	bool frees; /* may use the log space kept for freeing */
};

/*
 * Start the branch's transaction: checks that it can be written. The caller
 * holds b->change_lock until txn_commit; to give up, just do not commit.
 */
int txn_begin(struct daxfs_branch *b);
struct daxfs_time txn_time(const struct daxfs_branch *b);
/* Adding records; a failure is remembered and reported by txn_commit. */
void txn_inode(struct daxfs_branch *b, u64 ino, const struct dinode *in);
void txn_forget(struct daxfs_branch *b, u64 ino);
void txn_dirent(struct daxfs_branch *b, u64 dir, const char *name, size_t len,
		u64 child, u32 mode);
void txn_extent(struct daxfs_branch *b, u64 ino, u64 off, u64 len, u64 media);
void txn_unmap(struct daxfs_branch *b, u64 ino, u64 off, u64 len);
void txn_xattr(struct daxfs_branch *b, u64 ino, const char *name, size_t len,
	       const void *value, u32 value_len, u64 media);
void txn_noxattr(struct daxfs_branch *b, u64 ino, const char *name, size_t len);
/* Log and apply all records or none; takes b->lock for a moment. */
int txn_commit(struct daxfs_branch *b);
/* The same without ever compacting first: for compaction itself. */
int txn_append(struct daxfs_branch *b);
void txn_free(struct daxfs_branch *b);

/* ---- log.c ---------------------------------------------------------------------- */

/* Append t (header filled in here); *stored is its place in the region. */
int log_append(struct daxfs_branch *b, struct daxfs_txn *t, bool frees,
	       struct daxfs_txn **stored);
void log_publish(struct daxfs_branch *b);
/* An entry of `size` fits without a new segment. */
bool log_has_room(const struct daxfs_branch *b, u32 size);
/* v4log.c: the same for the log of a version 4 image, which is read-only. */
int v4_replay(struct daxfs_branch *b, struct daxfs_message *msg);
/*
 * Check and apply all entries of b's log segments, which space.c has listed.
 * `cut`: end the log where the first bad entry is, and return 1 then.
 */
int log_replay(struct daxfs_branch *b, bool cut, struct daxfs_message *msg);

/*
 * The newest segment that holds entries, or NO_SEGMENT. Where its header says it
 * is synced all older ones are to their ends: a sync takes one store.
 */
u32 log_newest(const struct daxfs_branch *b);

/* ---- sync.c ---------------------------------------------------------------------- */

/* Make the branch and its ancestors durable. ESTALE, EIO, ENOMEM. */
int branch_sync(struct daxfs_branch *b);
/*
 * The same for the branch alone, with sync_lock and change_lock held: for the
 * engine's own steps, on an ended branch too.
 */
int branch_sync_held(struct daxfs_branch *b);
/* Nothing is known of what a sync has reached: the next does all. */
void branch_unsynced(struct daxfs_branch *b);
/* Make the branch table and the superblock, or parts of these, durable. */
int sync_tables(struct daxfs_region *r);
int sync_super(struct daxfs_region *r);
int sync_entry(const struct daxfs_branch *b);
/* sync_tables(), and the segments of ended branches become free. */
int settle(struct daxfs_region *r);
/*
 * After an operation on `b` failed with rc, without locks: true when a sync
 * has made space, so that it may be tried again; *tried is false at first.
 */
bool space_retry(struct daxfs_branch *b, s64 rc, bool *tried);
/*
 * Before a region that a killed process left is changed: what is changed next
 * may rest on what that one stored last.
 */
int sync_killed(struct daxfs_region *r);
/* Say in the superblock who writes, before anything is in need of recovery. */
int sync_writer(struct daxfs_region *r);
/* The end of opening a region writable, and of closing it. */
int sync_opened(struct daxfs_region *r);
int sync_closed(struct daxfs_region *r);

/* Make parts of the region durable, now. */
int sync_ranges(struct daxfs_region *r, const struct daxfs_range *v, u32 count);

/* compact.c: shorten the log where that has become worth it. */
void log_compact(struct daxfs_branch *b);

/* ---- branch.c ------------------------------------------------------------------- */

int branch_open_all(struct daxfs_region *r, struct daxfs_message *msg);
/* The first branch of a region that others have opened: main alone. */
int branch_open_main(struct daxfs_region *r);
void branch_close_all(struct daxfs_region *r);
/* commit.c: finish the commit that the redo record names. */
int commit_redo(struct daxfs_region *r, struct daxfs_message *msg);

/* ESTALE, EROFS or 0; the caller holds b->lock. */
int branch_readable(const struct daxfs_branch *b);
int branch_writable(const struct daxfs_branch *b);

/* Inode helpers shared by the operations (inode.c). */
int get_dinode(const struct daxfs_branch *b, u64 ino, struct dinode *out);
int get_dir(const struct daxfs_branch *b, u64 ino, struct dinode *out);
/*
 * The start of a reading operation: takes b->lock shared, also when it fails,
 * and loads the inode. ESTALE, ENOENT; _dir: ENOTDIR.
 */
int begin_read(struct daxfs_branch *b, u64 ino, struct dinode *out);
int begin_read_dir(struct daxfs_branch *b, u64 ino, struct dinode *out);
void fill_attr(u64 ino, const struct dinode *in, struct daxfs_attr *out);
void kill_priv(struct daxfs_branch *b, u64 ino, struct dinode *in);
/* Before in->size grows, in a transaction: see inode.c. */
int grow_prepare(struct daxfs_branch *b, u64 ino, const struct dinode *in);
/* daxfs_evict_orphans(); the caller holds b->change_lock. */
int evict_orphans(struct daxfs_branch *b);
/* Whether bytes behind the end of a file may be cleared in its own block. */
bool in_place_zero_ok(const struct daxfs_branch *b);
/*
 * Lower a file's size to `size` and drop all blocks behind it, in the transaction
 * that has begun and, of a file in many pieces, in further ones, from the end on.
 * It fails for space before anything has changed; after that, only where even
 * the log space that is kept for freeing was used up, and in->size says how far
 * it got.
 */
int shrink_file(struct daxfs_branch *b, u64 ino, struct dinode *in, u64 size);

#endif
