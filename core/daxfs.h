/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The DAXFS engine: regions, branches and the file operations on them.
 *
 * One source for user space (libdaxfs.a) and kernel (daxfs.ko); everything
 * outside comes through port.h. Functions return 0 (or a count) on success and
 * -errno on failure; none prints. Nothing here follows pointers from media
 * that check.c has not checked.
 *
 * Locks, outermost first:
 *   branch->meta_lock    one change of a branch's metadata at a time (mutex)
 *   region->table_lock   branch table, branch tree, states (mutex)
 *   branch->change_lock  one change of a branch at a time: its log, its blocks
 *                        (mutex); parent before child
 *   branch->lock         one branch's view (rw): readers share it; a change
 *                        takes it for the moment in which it is applied, so
 *                        that nobody waits while bytes are copied
 *   region->space_lock   segments (mutex, leaf)
 * All functions take what they need; callers hold none. A read that runs beside
 * a write of the same bytes may see part of it, as on other file systems.
 *
 * Errors that any operation on a branch may return: ESTALE (the branch has
 * ended), EROFS (main, sealed, read-only region, or frozen by live children;
 * writes only), ENOSPC, ENOMEM, EUCLEAN (media found damaged).
 */
#ifndef DAXFS_H
#define DAXFS_H

#include "port.h"
#include "../include/daxfs_format.h"

struct daxfs_region;
struct daxfs_branch;

/* Text for a person: what was wrong, with which object. */
struct daxfs_message {
	char text[256];
};

/* ---- Backing ------------------------------------------------------------- */

/* Bytes [off, off+len) of a region. */
struct daxfs_range {
	u64 off, len;
};

/*
 * Where a region's bytes live. `base` maps `size` bytes, page-aligned, for as
 * long as the region is open; writable unless `readonly`.
 */
struct daxfs_backing {
	void *base;
	u64 size;
	bool readonly;
	void *priv; /* for the callbacks */
	/*
	 * Make sure that stores to [off, off+len) find memory: -ENOSPC where a
	 * sparse file's file system is full. Idempotent. NULL: they always do.
	 */
	int (*reserve)(void *priv, u64 off, u64 len);
	/*
	 * Make the ranges durable. Before that, stores reach what survives a
	 * loss of power in any order or not at all. NULL: nothing survives it
	 * (tmpfs), or everything that was stored.
	 */
	int (*sync)(void *priv, const struct daxfs_range *v, u32 count);
	/*
	 * Names this boot of this machine: what a process that was killed
	 * stored is still there when the next one has the same; with another
	 * one, only what was synced counts. Zeros: not known.
	 */
	u8 boot[16];
	/* Give the memory of [off, off+len) back; reads as zeros after. Or NULL. */
	int (*discard)(void *priv, u64 off, u64 len);
	/*
	 * Of a region that is shared: keep the mark of instance `slot` for as
	 * long as this process lives (-EAGAIN: somebody has it), and ask whether
	 * anybody keeps it. NULL: who is late for its deadline has died.
	 */
	int (*hold)(void *priv, u32 slot);
	bool (*held)(void *priv, u32 slot);
};

/* ---- Regions ------------------------------------------------------------- */

/* How daxfs_region_format() lays a region out. */
struct daxfs_format_params {
	u64 total_size;   /* of the region, multiple of 4096 */
	u64 base_size;    /* multiple of 4096; 0: no base image */
	u64 base_inodes;  /* inodes in the base image, 0 without one */
	u32 branches;     /* table entries; 0: static image without delta */
	u32 segment_size; /* 0: chosen from the size */
	u64 compat;       /* DAXFS_COMPAT_* that the base image has */
	u8 uuid[16];
	u64 hash_seed[2];
};

/*
 * Where the base image begins in a region formatted with `branches`.
 */
u64 daxfs_base_start(u32 branches);

/*
 * The smallest total size that daxfs_region_format() accepts for these
 * parameters (total_size is ignored).
 */
u64 daxfs_min_size(const struct daxfs_format_params *p);

/*
 * Write superblock, empty branch table and segment table. The caller has
 * written or writes the base image at daxfs_base_start(). `base` is the mapped
 * region, `p->total_size` long; its bytes outside the base image must be zero.
 * EINVAL: sizes that do not fit, with the reason in msg.
 */
int daxfs_region_format(void *base, const struct daxfs_format_params *p,
			struct daxfs_message *msg);

#define DAXFS_OPEN_VALIDATE \
	(1u << 0) /* verify data checksums, link counts too */
#define DAXFS_OPEN_SHARED (1u << 1)
#define DAXFS_OPEN_REPAIR (1u << 2)

/*
 * Check the media and build the index. On success the region keeps `backing`
 * (copied) until daxfs_region_close(). A region that was left in the middle of
 * a commit is finished here, unless it is read-only. On failure msg says what,
 * where and why: EINVAL (no DAXFS region), EUCLEAN (corrupt), EOPNOTSUPP
 * (unknown feature bit), ENOMEM.
 *
 * A branch other than main whose log is damaged does not keep the region from
 * opening: it and those below it answer EUCLEAN to everything but delete and
 * abort, see daxfs_branch_problem(). REPAIR (which wants a writable backing):
 * such a log is cut where the damage begins, and the branch is then as it was
 * at that moment. Main's log too; not that of a branch with live children,
 * which rest on what would be cut.
 *
 * SHARED: other processes or kernels may have the region open too, all with this
 * flag. Each active branch is then used by one of them at a time:
 * daxfs_branch_get() takes it (EBUSY while another has it) until the last
 * daxfs_branch_put(), and whatever would end or seal it elsewhere is refused
 * with EBUSY too, but for a commit, which ends it everywhere. The opener calls
 * daxfs_region_poll() several times a second, from a thread of its own. Any
 * call that uses the branch table may fail with EBUSY (another instance holds
 * the table and does not answer) or EIO (this one did not, and was given up).
 * A read-only backing, or a region without segments, cannot be shared (EINVAL); EUSERS: too many instances.
 */
int daxfs_region_open(const struct daxfs_backing *backing, u32 flags,
		      struct daxfs_region **out, struct daxfs_message *msg);

/* Sync, and free the in-memory state. No branch may be in use. */
void daxfs_region_close(struct daxfs_region *r);

/*
 * Make everything done so far durable: branches that were created or ended, and
 * what was written to any of them. EIO and others of the backing's.
 */
int daxfs_region_sync(struct daxfs_region *r);

/*
 * Of a shared region: say that this instance lives, and act upon what others
 * did. Cheap when there is nothing new. Returns 0, or EIO as above.
 */
int daxfs_region_poll(struct daxfs_region *r);

struct daxfs_region_info {
	u64 total_size;
	u64 base_offset, base_size, base_inodes;
	u64 delta_offset, delta_size;
	u64 segments, segments_free;
	u32 segment_size;
	u32 branch_slots, branches; /* slots include main */
	u64 compat, ro_compat, incompat;
	u64 commit_sequence;
	u64 next_inode;
	u8 uuid[16];
	bool readonly; /* no delta region, or opened so */
};

void daxfs_region_info(struct daxfs_region *r, struct daxfs_region_info *out);

/* Numbers for whoever watches a region. */
struct daxfs_region_stats {
	/* done by this instance since it opened the region */
	u64 created, ended; /* branches */
	u64 seals, commits, compactions;
	u64 leases_broken;              /* of instances that had died */
	u64 log_written;                /* bytes of log entries */
	u64 syncs, sync_bytes, sync_ns; /* of the backing */
	/* as it is */
	u64 total_size;
	u64 segments, segments_free;
	u32 segment_size;
	u32 branch_slots;
	/* of the last time that nobody else had the branch table in hand */
	u32 active, sealed, damaged;   /* branches; with main */
	u64 data_bytes;                /* blocks that branches own */
	u64 log_bytes, log_used_bytes; /* of their logs: segments, entries */
};

/* Waits for nobody: what others are changing is shown as it was before. */
void daxfs_region_stats(struct daxfs_region *r, struct daxfs_region_stats *out);

/* ---- Branches ------------------------------------------------------------ */

struct daxfs_branch_info {
	u64 id, parent_id; /* parent 0: none (main) */
	char name[DAXFS_BRANCH_NAME_MAX + 1];
	char parent[DAXFS_BRANCH_NAME_MAX + 1];
	enum daxfs_branch_state state;
	bool persistent;
	bool damaged; /* its log, or that of one above it, cannot be read */
	u32 children; /* live ones */
	u64 bytes;    /* space this branch owns: data blocks and log */
	u64 inodes;   /* inodes this branch created and still has */
	u64 quota_bytes, quota_inodes; /* 0: none */
	u64 ctime_ns;
	u32 meta_len, meta_crc; /* of its metadata; 0: none */
};

/*
 * Find a live branch and take a reference to it, given back with
 * daxfs_branch_put(). A reference keeps the handle valid, not the branch alive:
 * once the branch has ended every call answers ESTALE. ENOENT.
 */
int daxfs_branch_get(struct daxfs_region *r, const char *name,
		     struct daxfs_branch **out);
void daxfs_branch_put(struct daxfs_branch *b);
/*
 * The handle of a branch that ended before this open: what still refers to it
 * gets ESTALE from every call. NULL: no memory. Given back as others are.
 */
struct daxfs_branch *daxfs_branch_ended(struct daxfs_region *r);

/*
 * Create a branch of `parent`, which is frozen until its children end (a
 * sealed parent already is). O(1) at any depth. `flags`: DAXFS_BRANCH_*.
 * EEXIST: name taken; ENOENT: no such parent; EINVAL: empty name, a name with
 * '/', ',' or control characters; ENAMETOOLONG; ENOSPC: table full; EMLINK: deeper
 * than DAXFS_MAX_DEPTH.
 */
int daxfs_branch_create(struct daxfs_region *r, const char *name,
			const char *parent, u32 flags);

/* Make a branch immutable for ever. Siblings live on. EPERM: main. */
int daxfs_branch_seal(struct daxfs_region *r, const char *name);

/*
 * Merge the branch and its ancestors into main; all other branches end. Atomic.
 * EBUSY: the branch has live children, or a sealed branch would have to end;
 * EPERM: main.
 */
int daxfs_branch_commit(struct daxfs_region *r, const char *name,
			struct daxfs_message *msg);

/*
 * Drop the branch and those ancestors, short of main, that then have no other
 * child and are not sealed. EBUSY: live children, or sealed; EPERM: main.
 */
int daxfs_branch_abort(struct daxfs_region *r, const char *name);

/* Drop one branch, sealed or not. EBUSY: live children; EPERM: main. */
int daxfs_branch_delete(struct daxfs_region *r, const char *name);

/*
 * Drop one branch now or, where it has live children, when the last of them
 * ends: EBUSY says that this is to come. It does not come for a branch that is
 * sealed or persistent by then; daxfs_branch_keep() calls it off. Otherwise as
 * daxfs_branch_delete().
 */
int daxfs_branch_drop(struct daxfs_region *r, const char *name);
int daxfs_branch_keep(struct daxfs_region *r, const char *name);

/*
 * Set or clear DAXFS_BRANCH_PERSISTENT. Setting it calls daxfs_branch_drop()
 * off, and so does clearing it when there are no children any more.
 */
int daxfs_branch_set_persistent(struct daxfs_region *r, const char *name,
				bool persistent);

/*
 * Limit what a branch may own, counted like bytes and inodes of
 * daxfs_branch_info; 0: no limit. Operations that would go beyond it fail with
 * EDQUOT; a branch that is beyond it already may only shrink. What frees
 * (unlink, rmdir, truncation, evict, removexattr) always works: the log it needs
 * may go beyond. Children have quotas of their own and inherit none. Bytes are
 * rounded up to segments. EPERM: main; EINVAL: more than DAXFS_QUOTA_MAX.
 */
#define DAXFS_QUOTA_MAX (1ull << 62)
int daxfs_branch_set_quota(struct daxfs_region *r, const char *name, u64 bytes,
			   u64 inodes);

/*
 * Metadata: bytes that belong to a branch and mean nothing to the engine. They
 * are no content: no file shows them, children have none of their parent's, and
 * neither quotas nor daxfs_usage() count them. They can be set on sealed and
 * frozen branches too, and go with the branch, also where it is committed. A
 * change is seen wholly or not at all, after a loss of power as well, and is
 * durable as others are: by the next sync. len 0 removes them. EINVAL: more
 * than DAXFS_BRANCH_META_MAX; EPERM: main; EUCLEAN: a damaged branch;
 * EOPNOTSUPP: in a shared region sealed and frozen branches keep theirs.
 */
int daxfs_branch_set_meta(struct daxfs_region *r, const char *name,
			  const void *bytes, size_t len);
/* Returns their length; size 0 only asks. ENODATA, ERANGE, EUCLEAN. */
ssize_t daxfs_branch_get_meta(struct daxfs_region *r, const char *name,
			      void *buf, size_t size);
/* The meta_crc of branch `id` with such metadata. */
u32 daxfs_branch_meta_crc(u64 id, const void *bytes, size_t len);
/*
 * As daxfs_branch_create() and daxfs_branch_seal(), but the branch is there, or
 * sealed, together with its metadata. A power loss before the first sync of the
 * new branch may still leave it without. bytes NULL: none, as they were.
 */
int daxfs_branch_create_meta(struct daxfs_region *r, const char *name,
			     const char *parent, u32 flags, const void *bytes,
			     size_t len);
int daxfs_branch_seal_meta(struct daxfs_region *r, const char *name,
			   const void *bytes, size_t len);

int daxfs_branch_info(struct daxfs_branch *b, struct daxfs_branch_info *out);

/*
 * What opening the region found to be wrong with a live branch, and whether it
 * was repaired. ENOENT: nothing, or no such branch.
 */
int daxfs_branch_problem(struct daxfs_region *r, const char *name,
			 struct daxfs_message *out, bool *repaired);

/*
 * All live branches in order of id (parents before children). *out is an array
 * of *count, freed with daxfs_free().
 */
int daxfs_branch_list(struct daxfs_region *r, struct daxfs_branch_info **out,
		      u32 *count);
/*
 * The same in pieces: of those with an id above `after`, the first `max`; none
 * are left when *count is less. What lives all the time is listed once.
 */
int daxfs_branch_list_from(struct daxfs_region *r, u64 after, u32 max,
			   struct daxfs_branch_info **out, u32 *count);
void daxfs_free(void *p);

/* ESTALE once the branch has ended, else 0. Cheap: one atomic load. */
int daxfs_branch_status(struct daxfs_branch *b);

/*
 * Called, without locks, for every branch that has ended (by commit, abort,
 * delete): the front revokes what the branch's users hold. Set once, after open.
 */
typedef void (*daxfs_ended_fn)(void *arg, struct daxfs_branch *b);
void daxfs_region_on_end(struct daxfs_region *r, daxfs_ended_fn fn, void *arg);

/* Free what a front may hang on a branch: an opaque pointer, front-owned. */
void daxfs_branch_set_private(struct daxfs_branch *b, void *p);
void *daxfs_branch_private(struct daxfs_branch *b);

/* ---- Inodes -------------------------------------------------------------- */

struct daxfs_time {
	s64 sec;
	u32 nsec; /* < 1e9 */
};

struct daxfs_attr {
	u64 ino;
	u32 mode, uid, gid, nlink;
	u32 rdev; /* Linux new_encode_dev() form: see daxfs_makedev() */
	u64 size;
	u64 blocks; /* 512 B units */
	struct daxfs_time atime, mtime, ctime, btime;
};

#define daxfs_makedev(ma, mi) \
	(((u32)(mi)&0xff) | ((u32)(ma) << 8) | (((u32)(mi) & ~0xffu) << 12))
#define daxfs_major(d) (((d) >> 8) & 0xfff)
#define daxfs_minor(d) (((d)&0xff) | (((d) >> 12) & 0xfff00))

/* ENOENT: no such inode on this branch. */
int daxfs_getattr(struct daxfs_branch *b, u64 ino, struct daxfs_attr *out);

#define DAXFS_SET_MODE (1u << 0)
#define DAXFS_SET_UID (1u << 1)
#define DAXFS_SET_GID (1u << 2)
#define DAXFS_SET_SIZE (1u << 3)
#define DAXFS_SET_ATIME (1u << 4)
#define DAXFS_SET_MTIME (1u << 5)
#define DAXFS_SET_ATIME_NOW (1u << 6)
#define DAXFS_SET_MTIME_NOW (1u << 7)
#define DAXFS_SET_CTIME (1u << 8) /* else: now */
#define DAXFS_SET_KILLPRIV \
	(1u << 9) /* clear setuid, setgid, security.capability */

/*
 * Change the attributes named in `set`; ctime becomes now. Permission checks
 * are the front's, and so is to say that a change of owner, or of size, clears
 * privileges (KILLPRIV). A mode changes the access ACL with it. A size that is
 * not larger gives back space set aside behind the end. EISDIR/EINVAL: size of
 * a directory or of a special file; EINVAL: a time's nsec; EFBIG. ENOSPC comes
 * before anything has changed; only a file of many hundred extents, in a region
 * where even the log space kept for freeing is used up, may be left half-way,
 * its size then being what daxfs_getattr() says. `out` may be NULL.
 */
int daxfs_setattr(struct daxfs_branch *b, u64 ino, u32 set,
		  const struct daxfs_attr *in, struct daxfs_attr *out);

/*
 * The front holds no more references to an inode. Frees it if it has no names
 * left (nlink 0); otherwise, and for unknown inodes, does nothing.
 */
int daxfs_evict(struct daxfs_branch *b, u64 ino);

/* Evict all inodes without names; for a branch that nobody has open. */
int daxfs_evict_orphans(struct daxfs_branch *b);

/* ---- Names --------------------------------------------------------------- */

/* Names are any 1..255 bytes without '/' and NUL, and not "." or "..". */
int daxfs_lookup(struct daxfs_branch *b, u64 dir, const char *name, size_t len,
		 struct daxfs_attr *out);

/* The directory that holds directory `ino` (the root's is the root). */
int daxfs_parent(struct daxfs_branch *b, u64 ino, u64 *out);

struct daxfs_new {
	u32 mode;  /* type and permission bits */
	u32 umask; /* off mode unless `dir` has a default ACL; not symlinks */
	u32 uid, gid;
	u32 rdev;
	const char *target; /* symlinks, NUL-terminated, 1..4095 bytes */
};

/*
 * Make a regular file, directory, symlink, device, FIFO or socket. In a
 * setgid directory the group is the directory's, and a new directory is setgid
 * too. EEXIST, ENOENT (dir removed), ENOTDIR, ENAMETOOLONG, EMLINK.
 */
int daxfs_make(struct daxfs_branch *b, u64 dir, const char *name, size_t len,
	       const struct daxfs_new *in, struct daxfs_attr *out);

#define DAXFS_TMPFILE_EXCL (1u << 0) /* daxfs_link() must not name it */

/*
 * Make a regular file without a name, as O_TMPFILE: it inherits from `dir` like
 * any new file and lives until daxfs_evict() unless daxfs_link() names it.
 * EINVAL: not a regular file's mode; ENOTDIR; ENOENT (dir removed).
 */
int daxfs_tmpfile(struct daxfs_branch *b, u64 dir, const struct daxfs_new *in,
		  u32 flags, struct daxfs_attr *out);

/*
 * EPERM: a directory; ENOENT: the inode has no names left (and is no
 * daxfs_tmpfile() that may get one); EMLINK; EEXIST.
 */
int daxfs_link(struct daxfs_branch *b, u64 ino, u64 dir, const char *name,
	       size_t len, struct daxfs_attr *out);

/*
 * Remove a name. The inode stays until daxfs_evict(). *ino, where not NULL,
 * says which it was. unlink: EISDIR; rmdir: ENOTDIR, ENOTEMPTY.
 */
int daxfs_unlink(struct daxfs_branch *b, u64 dir, const char *name, size_t len,
		 u64 *ino);
int daxfs_rmdir(struct daxfs_branch *b, u64 dir, const char *name, size_t len,
		u64 *ino);

#define DAXFS_RENAME_NOREPLACE (1u << 0)
#define DAXFS_RENAME_EXCHANGE (1u << 1)
#define DAXFS_RENAME_WHITEOUT (1u << 2) /* leave device 0:0 behind */

/*
 * Rename as rename(2). *victim, where not NULL, is the inode that lost its
 * name, or 0. EINVAL: a directory into itself or below; ENOTEMPTY, EISDIR,
 * ENOTDIR, EEXIST, ENOENT.
 */
int daxfs_rename(struct daxfs_branch *b, u64 olddir, const char *oldname,
		 size_t oldlen, u64 newdir, const char *newname, size_t newlen,
		 u32 flags, u64 *victim);

/* One directory entry; name is not NUL-terminated and valid in the call only. */
struct daxfs_dirent {
	u64 ino;
	u32 type;   /* S_IFMT bits */
	u64 cookie; /* resume after this entry; < 2^63 */
	const char *name;
	size_t len;
};

/* Return nonzero to stop before this entry (it comes again next time). */
typedef int (*daxfs_filldir)(void *ctx, const struct daxfs_dirent *d);

/*
 * Enumerate from `cookie` (0: the start). "." and ".." are the front's. An
 * entry's cookie stays valid while other entries come and go. The branch is
 * locked shared during the callbacks: they must not call the engine.
 */
int daxfs_readdir(struct daxfs_branch *b, u64 dir, u64 cookie,
		  daxfs_filldir fill, void *ctx);

/* Copies at most `size` bytes without NUL; returns the target's length. */
ssize_t daxfs_readlink(struct daxfs_branch *b, u64 ino, char *buf, size_t size);

/* ---- Data ---------------------------------------------------------------- */

/* Bytes read, 0 at or after the end. EISDIR, EINVAL (not a regular file). */
ssize_t daxfs_read(struct daxfs_branch *b, u64 ino, void *buf, size_t len,
		   u64 off);

/* A piece of a file in region memory; a hole has ptr == NULL. */
struct daxfs_piece {
	const void *ptr;
	size_t len;
};

/*
 * Call `fn` once with the pieces of [off, off+len) that lie within the file, at
 * most `max` of them; fewer bytes than asked are normal, 0 pieces is the end.
 * The memory is stable during the call only (the branch is locked shared).
 * Returns what `fn` returns.
 */
ssize_t daxfs_read_pieces(struct daxfs_branch *b, u64 ino, size_t len, u64 off,
			  struct daxfs_piece *pieces, u32 max,
			  ssize_t (*fn)(void *ctx, const struct daxfs_piece *p,
					u32 count),
			  void *ctx);

#define DAXFS_WRITE_APPEND (1u << 0)   /* at the end, atomically */
#define DAXFS_WRITE_KILLPRIV (1u << 1) /* as DAXFS_SET_KILLPRIV */

/*
 * Write at `off`, growing the file as needed. Returns the bytes written, fewer
 * than `len` only when space ran out half-way. EFBIG beyond
 * DAXFS_MAX_FILE_SIZE.
 */
ssize_t daxfs_write(struct daxfs_branch *b, u64 ino, const void *buf,
		    size_t len, u64 off, u32 flags);

#define DAXFS_FALLOC_KEEP_SIZE (1u << 0)
#define DAXFS_FALLOC_PUNCH (1u << 1) /* with KEEP_SIZE */
#define DAXFS_FALLOC_ZERO (1u << 2)
#define DAXFS_FALLOC_COLLAPSE (1u << 3) /* alone */
#define DAXFS_FALLOC_INSERT (1u << 4)   /* alone */
#define DAXFS_FALLOC_KILLPRIV (1u << 5) /* as DAXFS_SET_KILLPRIV; with any */

/*
 * As fallocate(2). Without a mode blocks are allocated where the file has none
 * of the branch's own: zeros for holes, copies of the base's and of inherited
 * data, so that writing there needs no more data blocks. Space behind the end
 * (KEEP_SIZE) stays until a setattr of the size. A range that is zeroed is
 * allocated, too. Collapse and insert take multiples of 4096, work within the
 * file and are atomic; for that, what moves must be own blocks, so the base's
 * and inherited data are copied, in at most 512 extents (else EFBIG). Holes that
 * are punched in more than 256 extents come to be one after another. ENOSPC
 * leaves the file as it was. EINVAL, EFBIG, EISDIR, ENODEV (not a regular file),
 * EOPNOTSUPP (a combination of modes that nobody has).
 */
int daxfs_fallocate(struct daxfs_branch *b, u64 ino, u32 mode, u64 off,
		    u64 len);

/*
 * Copy at most `len` bytes between two files, or two ranges of one that do not
 * overlap (EINVAL). Holes are copied as such: the target's whole blocks there
 * become holes. Returns the bytes copied, fewer than `len` at the end of `from`
 * or when space ran out, 0 at or after the end. Others may write in between.
 * write_flags: DAXFS_WRITE_KILLPRIV. Errors as daxfs_write().
 */
ssize_t daxfs_copy_range(struct daxfs_branch *b, u64 from, u64 from_off, u64 to,
			 u64 to_off, u64 len, u32 write_flags);

/*
 * The next hole, or data, at or after `off`; the end of the file is a hole.
 * Allocated blocks are data. ENXIO as lseek(2); EISDIR, EINVAL.
 */
s64 daxfs_seek(struct daxfs_branch *b, u64 ino, u64 off, bool hole);

/*
 * The inode was read: its atime becomes now if it is not after mtime and ctime
 * or a day old (relatime). Not where the branch has the inode as the base image
 * or its parent has it: who only reads an image writes no log, as on overlayfs,
 * whose lower files keep their atime. Nor on branches that cannot be written or
 * have no space left: these answer 0, for a read does not fail for this. ESTALE,
 * ENOENT.
 */
int daxfs_touch(struct daxfs_branch *b, u64 ino);

/*
 * Make one file durable, and with it all that was done on the branch and on its
 * ancestors so far. After a loss of power a branch is as it was at such a
 * moment, but for bytes that were overwritten in place since.
 */
int daxfs_fsync(struct daxfs_branch *b, u64 ino);

/* ---- Extended attributes ------------------------------------------------- */

/*
 * "system.posix_acl_access" and "system.posix_acl_default" hold POSIX ACLs in
 * Linux' form (version 2). Setting an access ACL sets the mode's permission
 * bits, and is not stored where these say it all; changing the mode changes the
 * ACL; new inodes inherit the directory's default ACL. Who may do what is the
 * front's to check. An ACL without entries removes it, as removing does; either
 * succeeds where there is none, and CREATE and REPLACE mean nothing. EINVAL: not
 * a valid ACL; E2BIG: more than 2047 entries; EACCES: a default ACL for
 * something that is no directory; EOPNOTSUPP: symlinks. EUCLEAN from operations
 * that go by an ACL: what is stored, by a base image, is none.
 */

/* Returns the value's length; size 0 only asks. ENODATA, ERANGE. */
ssize_t daxfs_getxattr(struct daxfs_branch *b, u64 ino, const char *name,
		       void *buf, size_t size);

#define DAXFS_XATTR_CREATE 1u
#define DAXFS_XATTR_REPLACE 2u
#define DAXFS_XATTR_KILL_SGID 4u /* an access ACL: also clear setgid */

/* EEXIST, ENODATA per flags; E2BIG: value; ERANGE: name too long. */
int daxfs_setxattr(struct daxfs_branch *b, u64 ino, const char *name,
		   const void *value, size_t len, u32 flags);
int daxfs_removexattr(struct daxfs_branch *b, u64 ino, const char *name);

/* NUL-terminated names one after another; size 0 only asks. ERANGE. */
ssize_t daxfs_listxattr(struct daxfs_branch *b, u64 ino, char *buf,
			size_t size);

/* ---- Space --------------------------------------------------------------- */

struct daxfs_statfs {
	u64 blocks, bfree; /* of 4096 B */
	u64 files, ffree;
};

/* Of the branch: a quota makes it smaller than the region. */
int daxfs_statfs(struct daxfs_branch *b, struct daxfs_statfs *out);

/* O(1): what this branch owns. */
int daxfs_usage(struct daxfs_branch *b, u64 *bytes, u64 *inodes);

#endif
