// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Building one operation's log entry and committing it. */
#include "internal.h"

#define TXN_KEEP 16384u /* a larger buffer is given back after use */
#define POOL_KEEP 512u  /* and so are more nodes than this */

int txn_begin(struct daxfs_branch *b)
{
	int rc = branch_writable(b);

	if (rc)
		return rc;
	if (!b->txn) {
		b->txn = port_zalloc(sizeof(*b->txn));
		if (!b->txn)
			return -ENOMEM;
	}
	b->txn->len = sizeof(struct daxfs_txn);
	b->txn->records = 0;
	b->txn->failed = 0;
	b->txn->fresh = 0;
	b->txn->frees = false;
	b->txn->now_ns = port_now_ns();
	return 0;
}

struct daxfs_time txn_time(const struct daxfs_branch *b)
{
	struct daxfs_time t;

	t.sec = (s64)(b->txn->now_ns / 1000000000u);
	t.nsec = (u32)(b->txn->now_ns % 1000000000u);
	return t;
}

/* Room for a record of `size` bytes, zeroed; NULL once memory ran out. */
static void *rec_add(struct daxfs_branch *b, u16 type, u64 ino, size_t size)
{
	struct txn *t = b->txn;
	struct daxfs_rec *rec;
	u32 cap = t->cap ? t->cap : 1024;
	u8 *buf;

	size = (size + 7) & ~(size_t)7;
	while (cap < t->len + size)
		cap *= 2;
	if (cap != t->cap) {
		buf = port_alloc(cap);
		if (!buf) {
			t->failed = -ENOMEM;
			return NULL;
		}
		if (t->buf)
			memcpy(buf, t->buf, t->len);
		port_free(t->buf);
		t->buf = buf;
		t->cap = cap;
	}
	rec = (struct daxfs_rec *)(t->buf + t->len);
	memset(rec, 0, size);
	rec->type = cpu_to_le16(type);
	rec->size = cpu_to_le32((u32)size);
	rec->ino = cpu_to_le64(ino);
	t->len += (u32)size;
	t->records++;
	return rec;
}

void txn_inode(struct daxfs_branch *b, u64 ino, const struct dinode *in)
{
	struct daxfs_rec_inode *r =
		rec_add(b, DAXFS_REC_INODE, ino, sizeof(*r));

	if (!r)
		return;
	r->mode = cpu_to_le32(in->mode);
	r->uid = cpu_to_le32(in->uid);
	r->gid = cpu_to_le32(in->gid);
	r->nlink = cpu_to_le32(in->nlink);
	r->rdev = cpu_to_le32(in->rdev);
	r->flags = cpu_to_le32(in->flags);
	r->size = cpu_to_le64(in->size);
	r->base_valid = cpu_to_le64(in->base_valid);
	r->blocks = cpu_to_le64(in->blocks);
	r->parent = cpu_to_le64(in->parent);
	r->atime_sec = cpu_to_le64((u64)in->atime.sec);
	r->mtime_sec = cpu_to_le64((u64)in->mtime.sec);
	r->ctime_sec = cpu_to_le64((u64)in->ctime.sec);
	r->btime_sec = cpu_to_le64((u64)in->btime.sec);
	r->atime_nsec = cpu_to_le32(in->atime.nsec);
	r->mtime_nsec = cpu_to_le32(in->mtime.nsec);
	r->ctime_nsec = cpu_to_le32(in->ctime.nsec);
	r->btime_nsec = cpu_to_le32(in->btime.nsec);
}

void txn_forget(struct daxfs_branch *b, u64 ino)
{
	rec_add(b, DAXFS_REC_FORGET, ino, sizeof(struct daxfs_rec));
}

void txn_dirent(struct daxfs_branch *b, u64 dir, const char *name, size_t len,
		u64 child, u32 mode)
{
	struct daxfs_rec_dirent *r =
		rec_add(b, DAXFS_REC_DIRENT, dir, sizeof(*r) + len);

	if (!r)
		return;
	r->child = cpu_to_le64(child);
	r->mode = cpu_to_le32(mode & S_IFMT);
	r->name_len = cpu_to_le16((u16)len);
	memcpy(r + 1, name, len);
}

static void extent_record(struct daxfs_branch *b, u16 type, u64 ino, u64 off,
			  u64 len, u64 media)
{
	struct daxfs_rec_extent *r = rec_add(b, type, ino, sizeof(*r));

	if (!r)
		return;
	r->offset = cpu_to_le64(off);
	r->len = cpu_to_le64(len);
	r->media = cpu_to_le64(media);
}

void txn_extent(struct daxfs_branch *b, u64 ino, u64 off, u64 len, u64 media)
{
	extent_record(b, DAXFS_REC_EXTENT, ino, off, len, media);
}

void txn_unmap(struct daxfs_branch *b, u64 ino, u64 off, u64 len)
{
	extent_record(b, DAXFS_REC_UNMAP, ino, off, len, 0);
}

void txn_xattr(struct daxfs_branch *b, u64 ino, const char *name, size_t len,
	       const void *value, u32 value_len, u64 media)
{
	size_t inlined = media ? 0 : value_len;
	struct daxfs_rec_xattr *r =
		rec_add(b, DAXFS_REC_XATTR, ino, sizeof(*r) + len + inlined);

	if (!r)
		return;
	r->media = cpu_to_le64(media);
	r->value_len = cpu_to_le32(value_len);
	r->name_len = cpu_to_le16((u16)len);
	memcpy(r + 1, name, len);
	if (inlined)
		memcpy((char *)(r + 1) + len, value, inlined);
}

void txn_noxattr(struct daxfs_branch *b, u64 ino, const char *name, size_t len)
{
	struct daxfs_rec_xattr *r =
		rec_add(b, DAXFS_REC_NOXATTR, ino, sizeof(*r) + len);

	if (!r)
		return;
	r->name_len = cpu_to_le16((u16)len);
	memcpy(r + 1, name, len);
}

static int commit(struct daxfs_branch *b, struct txn *t)
{
	struct daxfs_txn *head = (struct daxfs_txn *)t->buf, *stored;
	int rc;

	if (t->failed || !t->records)
		return t->failed;
	memset(head, 0, sizeof(*head));
	head->h.type = cpu_to_le32(DAXFS_DELTA_TXN);
	head->h.total_size = cpu_to_le32(t->len);
	head->h.timestamp = cpu_to_le64(t->now_ns);
	head->records = cpu_to_le32(t->records);
	head->crc = cpu_to_le32(txn_crc(head));
	rc = view_reserve(b, head);
	if (!rc)
		rc = log_append(b, head, t->frees, &stored);
	if (rc)
		return rc;
	port_write_lock(&b->lock);
	log_publish(b);
	view_apply(b, stored);
	port_write_unlock(&b->lock);
	port_store(&b->unsynced, SYNC_NEEDED);
	return 0;
}

int txn_append(struct daxfs_branch *b)
{
	struct txn *t = b->txn;
	int rc = commit(b, t);

	if (rc && t->fresh)
		block_free(b, t->fresh, BLOCK);
	if (b->pool.count > POOL_KEEP)
		ppool_drain(&b->pool);
	if (t->cap > TXN_KEEP) {
		port_free(t->buf);
		t->buf = NULL;
		t->cap = 0;
	}
	return rc;
}

int txn_commit(struct daxfs_branch *b)
{
	/* compaction is worth looking at when the log needs a segment */
	if (!log_has_room(b, b->txn->len))
		log_compact(b);
	return txn_append(b);
}

void txn_free(struct daxfs_branch *b)
{
	if (b->txn)
		port_free(b->txn->buf);
	port_free(b->txn);
	b->txn = NULL;
}
