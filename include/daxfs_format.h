/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * DAXFS on-media format, version 4 with extensions.
 *
 * docs/daxfs-format.md is the normative text; this header is its C form.
 * All integers are little-endian. All offsets are in bytes; unless said
 * otherwise they count from the start of the region. Structures keep natural
 * alignment, so no packing attribute is needed; sizes and key offsets are
 * asserted below.
 */
#ifndef DAXFS_FORMAT_H
#define DAXFS_FORMAT_H

#include <linux/types.h>
#ifndef __KERNEL__
#include <assert.h>
#include <stddef.h>
#endif

#define DAXFS_SUPER_MAGIC 0x64617834u /* "dax4" */
#define DAXFS_BASE_MAGIC 0x64646134u  /* "dda4" */
#define DAXFS_LOG_MAGIC 0x676f6c64u   /* "dlog", ours */
#define DAXFS_META_MAGIC 0x74656d64u  /* "dmet", ours */
#define DAXFS_VERSION 4u
#define DAXFS_BLOCK_SIZE 4096u
#define DAXFS_BLOCK_SHIFT 12
#define DAXFS_NAME_MAX 255u
#define DAXFS_SYMLINK_MAX 4095u
#define DAXFS_XATTR_NAME_MAX 255u
#define DAXFS_XATTR_SIZE_MAX 65536u
#define DAXFS_BRANCH_META_MAX 65504u /* a smallest segment, less the header */
#define DAXFS_BRANCH_NAME_MAX 31u
#define DAXFS_ROOT_INO 1u
#define DAXFS_MAIN_ID 1u
#define DAXFS_MAX_INO (1ull << 62)
#define DAXFS_BRANCH_TABLE_OFFSET 0x1000u
#define DAXFS_DEFAULT_BRANCHES 256u
#define DAXFS_MAX_BRANCHES 65536u
#define DAXFS_MAX_DEPTH 1024u
/* Files end below this; it keeps offset arithmetic far from overflow. */
#define DAXFS_MAX_FILE_SIZE (1ull << 60)

/* ---- Superblock: one 4 KiB page at offset 0 ----------------------------- */

/*
 * Bytes 0..159 are version 4; bytes 160..1023 are ours and zero in a version 4
 * image. Bytes 1024..1151 stay free for an EROFS superblock.
 */
struct daxfs_super {
	__le32 magic;
	__le32 version;
	__le32 flags; /* written 0, ignored */
	__le32 block_size;
	__le64 total_size;
	__le64 base_offset; /* 0: no base image */
	__le64 base_size;
	__le64 branch_table_offset;
	__le32 branch_table_entries; /* 0: static image */
	__le32 active_branches;
	__le64 next_branch_id;
	__le64 next_inode_id;
	__le64 delta_region_offset;
	__le64 delta_region_size;
	__le64 delta_alloc_offset; /* v4 bump allocator; == end when segmented */
	__le64 commit_sequence;
	__le64 last_committed_id;
	__le32 coord_lock; /* v4 lock word; unused by segmented regions */
	__le32 coord_pad;
	__le64 v4_reserved[5];
	/* extensions, offset 160 */
	__le64 feature_compat;
	__le64 feature_ro_compat;
	__le64 feature_incompat;
	__u8 uuid[16];
	__le64 hash_seed[2];
	__le64 segment_table_offset;
	__le64 segment_data_offset;
	__le32 segment_count;
	__le32 segment_size;
	__le64 next_segment_order;
	__le64 commit_branch; /* redo record: id of the branch being committed */
	__le32 super_crc;     /* see docs: CRC-32C of the immutable fields */
	__le32 ext_pad;
	__u8 boot[16]; /* of who writes it; zeros: closed, and all is synced */
};

/* The base inodes carry times, rdev and xattrs in their reserved bytes. */
#define DAXFS_COMPAT_BASE_ATTRS (1ull << 0)
/* Base directories are sorted by name (bytewise, shorter first). */
#define DAXFS_COMPAT_SORTED_DIRS (1ull << 1)
/* The delta region holds a segment table and segments instead of v4 logs. */
#define DAXFS_INCOMPAT_SEGMENTS (1ull << 0)
/* Branches have metadata: who does not know of it would reuse its blocks. */
#define DAXFS_RO_COMPAT_BRANCH_META (1ull << 0)

#define DAXFS_COMPAT_KNOWN (DAXFS_COMPAT_BASE_ATTRS | DAXFS_COMPAT_SORTED_DIRS)
#define DAXFS_RO_COMPAT_KNOWN DAXFS_RO_COMPAT_BRANCH_META
#define DAXFS_INCOMPAT_KNOWN DAXFS_INCOMPAT_SEGMENTS

/* ---- Coordination of those who have a region open together ---------------- */

#define DAXFS_COORD_OFFSET 2048u /* in the superblock's page */
#define DAXFS_INSTANCES 30u

/* A lease: who holds it, and how often it was taken. Holder 0: nobody. */
#define DAXFS_LEASE(holder, epoch) ((__u64)(holder) << 32 | (__u32)(epoch))
#define DAXFS_LEASE_HOLDER(lease) ((__u32)((lease) >> 32))
#define DAXFS_LEASE_EPOCH(lease) ((__u32)(lease))

struct daxfs_instance {
	__le64 id;          /* 0: free; else unique in the region's life */
	__le64 deadline_ns; /* since the epoch; whoever is late has died */
	__le64 still;       /* the generation that it stands still for */
	__le64 open;        /* 0: has not got the table's lease yet */
	__le64 reserved[4];
};

struct daxfs_coord {
	__le64 lease;      /* of the branch table */
	__le64 generation; /* of the branch table: counts changes */
	__le64 intent;     /* branch whose commit all must stand still for; 0 */
	__le64 next_id;    /* last instance id given */
	__le64 reserved[4];
	struct daxfs_instance instances[DAXFS_INSTANCES];
};

/* ---- Branch table: 128 B entries ---------------------------------------- */

enum daxfs_branch_state {
	DAXFS_BRANCH_FREE = 0,
	DAXFS_BRANCH_ACTIVE = 1,
	DAXFS_BRANCH_COMMITTED = 2,
	DAXFS_BRANCH_ABORTED = 3,
	DAXFS_BRANCH_SEALED = 4, /* extension */
};

#define DAXFS_BRANCH_PERSISTENT (1u << 0) /* survives unmount */
#define DAXFS_BRANCH_DROP (1u << 1)       /* to end with its last child */

struct daxfs_branch_entry {
	__le64 id;
	__le64 parent_id;    /* 0: none (main) */
	__le64 log_offset;   /* v4; segmented: lease, see DAXFS_LEASE_* */
	__le64 log_size;     /* v4; segmented: quota in bytes, 0: none */
	__le64 log_capacity; /* v4; segmented: quota in inodes, 0: none */
	__le32 state;
	__le32 refcount; /* v4 only */
	__le64 next_local_ino;
	char name[32]; /* NUL-terminated */
	__le32 generation;
	__le32 flags; /* extension, DAXFS_BRANCH_* */
	__le64 log_start; /* extension: log segments with a smaller order are dead */
	__le64 ctime_ns;  /* extension: creation time, ns since the epoch */
	__le32 entry_crc; /* extension: CRC-32C of id, parent_id, name */
	__le32 pad;
	__le64 meta; /* extension: place of its metadata, 0: none */
};

/* At the start of a block of one of the branch's DATA segments; bytes follow. */
struct daxfs_branch_meta {
	__le32 magic;
	__le32 crc; /* CRC-32C of this header with crc = 0, and of the bytes */
	__le64 owner; /* the branch's id */
	__le32 len;   /* of the bytes, 1 to DAXFS_BRANCH_META_MAX */
	__le32 pad;
	__le64 reserved;
};

/* ---- Base image ---------------------------------------------------------- */

/* Offsets in the base superblock and in base inodes count from the base. */
struct daxfs_base_super {
	__le32 magic;
	__le32 version;
	__le32 flags;
	__le32 block_size;
	__le64 total_size;
	__le64 inode_offset; /* 4096 */
	__le32 inode_count;
	__le32 root_inode; /* 1 */
	__le64 data_offset;
	__le64 xattr_offset; /* extension, 0: none; inside the data area */
	__le64 xattr_size;   /* extension */
};

struct daxfs_base_inode {
	__le32 ino; /* 1-based: index + 1 */
	__le32 mode;
	__le32 uid;
	__le32 gid;
	__le64 size;
	__le64 data_offset;
	__le32 nlink;
	/* extensions (COMPAT_BASE_ATTRS) in v4's reserved bytes */
	__le32 rdev;       /* Linux new_encode_dev() form */
	__le64 mtime_sec;  /* signed */
	__le32 mtime_nsec; /* < 1e9 */
	__le32 xattr_ref;  /* offset in the xattr area / 8, plus 1; 0: none */
	__le32 xattr_len;  /* bytes of this inode's xattr list */
	__le32 data_crc;   /* CRC-32C of the file's bytes; 0 when empty */
};

/* The stride on media is 272, though a directory's size says 271 per entry. */
struct daxfs_base_dirent {
	__le32 ino;
	__le32 mode;
	__le16 name_len;
	__u8 reserved[6];
	char name[256]; /* 255 usable */
};
#define DAXFS_BASE_DIRENT_SIZE_UNIT 271u

/* One extended attribute in the base xattr area; entries are 8-aligned. */
struct daxfs_base_xattr {
	__le16 name_len; /* full name with its prefix, no NUL */
	__le16 pad;
	__le32 value_len;
	/* name, then value, then zeros to the next multiple of 8 */
};

/* ---- Version 4 delta log ------------------------------------------------- */

struct daxfs_delta_header {
	__le32 type;
	__le32 total_size;
	__le64 ino;
	__le64 timestamp; /* ns */
};

enum daxfs_delta_type {
	DAXFS_DELTA_WRITE = 1,
	DAXFS_DELTA_CREATE = 2,
	DAXFS_DELTA_DELETE = 3,
	DAXFS_DELTA_TRUNCATE = 4,
	DAXFS_DELTA_MKDIR = 5,
	DAXFS_DELTA_RENAME = 6,
	DAXFS_DELTA_SETATTR = 7,
	DAXFS_DELTA_SYMLINK = 8,
	DAXFS_DELTA_TXN = 32, /* extension: an atomic group of records */
};

struct daxfs_delta_write {
	__le64 offset;
	__le32 len;
	__le32 flags;
};

struct daxfs_delta_create { /* CREATE and MKDIR */
	__le64 parent;
	__le64 new_ino;
	__le32 mode;
	__le32 uid;
	__le32 gid;
	__le16 name_len;
	__le16 flags;
};

struct daxfs_delta_delete {
	__le64 parent;
	__le16 name_len;
	__le16 flags;
	__le32 reserved;
};

struct daxfs_delta_truncate {
	__le64 new_size;
};

struct daxfs_delta_rename {
	__le64 old_parent;
	__le64 new_parent;
	__le64 ino;
	__le16 old_len;
	__le16 new_len;
	__le32 reserved;
};

#define DAXFS_DELTA_SET_MODE 1u
#define DAXFS_DELTA_SET_UID 2u
#define DAXFS_DELTA_SET_GID 4u
#define DAXFS_DELTA_SET_SIZE 8u

struct daxfs_delta_setattr {
	__le32 mode;
	__le32 uid;
	__le32 gid;
	__le32 valid;
	__le64 size;
};

struct daxfs_delta_symlink {
	__le64 parent;
	__le64 new_ino;
	__le32 uid;
	__le32 gid;
	__le16 name_len;
	__le16 target_len;
};

/* ---- Segments (INCOMPAT_SEGMENTS) ---------------------------------------- */

#define DAXFS_SEGMENT_MIN 65536u
#define DAXFS_SEGMENT_MAX 262144u /* 64 blocks: one bitmap word */

enum daxfs_segment_kind {
	DAXFS_SEGMENT_NONE = 0, /* free, or claimed and not yet initialised */
	DAXFS_SEGMENT_LOG = 1,
	DAXFS_SEGMENT_DATA = 2,
};

struct daxfs_segment_entry {
	__le64 owner; /* branch id; 0 or the id of no live branch: free */
	__le64 order; /* LOG: place in the owner's log; unique in the region */
	__le32 kind;
	__le32 pad;
	__le64 reserved;
};

/* The first bytes of a LOG segment; entries follow, 8-aligned. */
struct daxfs_log_header {
	__le32 magic;
	__le32 crc;   /* CRC-32C of owner and order */
	__le64 owner; /* branch that wrote it; a commit does not change it */
	__le64 order;
	__le64 tail; /* published bytes, counted from the segment's start */
	__le64 synced; /* how much of it a sync has reached: see docs, section 9 */
	__le64 reserved[3];
};

/* A TXN entry: this header, then records; all of it applies or none. */
struct daxfs_txn {
	struct daxfs_delta_header h; /* type TXN, total_size a multiple of 8 */
	__le32 crc;                  /* CRC-32C of the entry with crc = 0 */
	__le32 records;
};

/* Inode flags: nlink is 0 from the beginning, and a link may change that. */
#define DAXFS_INODE_LINKABLE (1u << 0)
#define DAXFS_INODE_KNOWN DAXFS_INODE_LINKABLE

enum daxfs_record_type {
	DAXFS_REC_INODE = 1,   /* the whole state of an inode */
	DAXFS_REC_FORGET = 2,  /* an inode, its extents and xattrs are gone */
	DAXFS_REC_DIRENT = 3,  /* a name is (ino != 0) or is not (ino == 0) */
	DAXFS_REC_EXTENT = 4,  /* file bytes live at media (0: zeros) */
	DAXFS_REC_UNMAP = 5,   /* no extents in this file range */
	DAXFS_REC_XATTR = 6,   /* set; an empty name holds a symlink's target */
	DAXFS_REC_NOXATTR = 7, /* removed */
};

struct daxfs_rec {
	__le16 type;
	__le16 flags;
	__le32 size; /* of the record with this header, a multiple of 8 */
	__le64 ino;
};

struct daxfs_rec_inode {
	struct daxfs_rec r;
	__le32 mode;
	__le32 uid;
	__le32 gid;
	__le32 nlink; /* 0: an orphan, still open */
	__le32 rdev;
	__le32 atime_nsec;
	__le32 mtime_nsec;
	__le32 ctime_nsec;
	__le32 btime_nsec;
	__le32 flags;
	__le64 size;
	__le64 base_valid; /* bytes of the base file's data still visible */
	__le64 blocks;     /* 4 KiB blocks of the file that are not holes */
	__le64 parent;     /* directories: the directory that names it */
	__le64 atime_sec;
	__le64 mtime_sec;
	__le64 ctime_sec;
	__le64 btime_sec;
};

struct daxfs_rec_dirent {
	struct daxfs_rec r; /* ino: the directory */
	__le64 child;       /* 0: removed */
	__le32 mode;        /* the child's file type bits */
	__le16 name_len;
	__le16 pad;
	/* name, zeros to a multiple of 8 */
};

struct daxfs_rec_extent { /* EXTENT and UNMAP */
	struct daxfs_rec r;
	__le64 offset; /* in the file, multiple of 4096 */
	__le64 len;    /* multiple of 4096, > 0 */
	__le64 media;  /* multiple of 4096; 0: a hole that hides base data */
};

struct daxfs_rec_xattr { /* XATTR and NOXATTR */
	struct daxfs_rec r;
	__le64 media; /* value's place; 0: inline after the name */
	__le32 value_len;
	__le16 name_len;
	__le16 pad;
	/* name, inline value, zeros to a multiple of 8 */
};

/* ---- Layout is fixed ------------------------------------------------------ */

#define DAXFS_AT(type, field, off) \
	static_assert(offsetof(struct type, field) == (off), #type "." #field)
#define DAXFS_SIZE(type, size) \
	static_assert(sizeof(struct type) == (size), "sizeof " #type)

DAXFS_AT(daxfs_super, block_size, 12);
DAXFS_AT(daxfs_super, total_size, 16);
DAXFS_AT(daxfs_super, base_offset, 24);
DAXFS_AT(daxfs_super, branch_table_offset, 40);
DAXFS_AT(daxfs_super, branch_table_entries, 48);
DAXFS_AT(daxfs_super, active_branches, 52);
DAXFS_AT(daxfs_super, next_branch_id, 56);
DAXFS_AT(daxfs_super, next_inode_id, 64);
DAXFS_AT(daxfs_super, delta_region_offset, 72);
DAXFS_AT(daxfs_super, delta_alloc_offset, 88);
DAXFS_AT(daxfs_super, commit_sequence, 96);
DAXFS_AT(daxfs_super, last_committed_id, 104);
DAXFS_AT(daxfs_super, coord_lock, 112);
DAXFS_AT(daxfs_super, feature_compat, 160);
DAXFS_AT(daxfs_super, feature_incompat, 176);
DAXFS_AT(daxfs_super, uuid, 184);
DAXFS_AT(daxfs_super, segment_table_offset, 216);
DAXFS_AT(daxfs_super, next_segment_order, 240);
DAXFS_AT(daxfs_super, commit_branch, 248);
DAXFS_AT(daxfs_super, super_crc, 256);
DAXFS_AT(daxfs_super, boot, 264);
DAXFS_SIZE(daxfs_super, 280);
DAXFS_SIZE(daxfs_instance, 64);
DAXFS_AT(daxfs_coord, instances, 64);
DAXFS_SIZE(daxfs_coord, 1984);
DAXFS_SIZE(daxfs_branch_entry, 128);
DAXFS_AT(daxfs_branch_entry, state, 40);
DAXFS_AT(daxfs_branch_entry, next_local_ino, 48);
DAXFS_AT(daxfs_branch_entry, name, 56);
DAXFS_AT(daxfs_branch_entry, generation, 88);
DAXFS_AT(daxfs_branch_entry, log_start, 96);
DAXFS_AT(daxfs_branch_entry, meta, 120);
DAXFS_SIZE(daxfs_branch_meta, 32);
DAXFS_AT(daxfs_base_super, inode_offset, 24);
DAXFS_AT(daxfs_base_super, data_offset, 40);
DAXFS_SIZE(daxfs_base_super, 64);
DAXFS_SIZE(daxfs_base_inode, 64);
DAXFS_AT(daxfs_base_inode, nlink, 32);
DAXFS_AT(daxfs_base_inode, mtime_sec, 40);
DAXFS_SIZE(daxfs_base_dirent, 272);
DAXFS_AT(daxfs_base_dirent, name, 16);
DAXFS_SIZE(daxfs_base_xattr, 8);
DAXFS_SIZE(daxfs_delta_header, 24);
DAXFS_SIZE(daxfs_delta_write, 16);
DAXFS_SIZE(daxfs_delta_create, 32);
DAXFS_SIZE(daxfs_delta_delete, 16);
DAXFS_SIZE(daxfs_delta_truncate, 8);
DAXFS_SIZE(daxfs_delta_rename, 32);
DAXFS_SIZE(daxfs_delta_setattr, 24);
DAXFS_SIZE(daxfs_delta_symlink, 32);
DAXFS_AT(daxfs_delta_symlink, target_len, 26);
DAXFS_SIZE(daxfs_segment_entry, 32);
DAXFS_SIZE(daxfs_log_header, 64);
DAXFS_SIZE(daxfs_txn, 32);
DAXFS_SIZE(daxfs_rec, 16);
DAXFS_SIZE(daxfs_rec_inode, 120);
DAXFS_SIZE(daxfs_rec_dirent, 32);
DAXFS_SIZE(daxfs_rec_extent, 40);
DAXFS_SIZE(daxfs_rec_xattr, 32);

#endif
