/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* POSIX ACLs, for the files that make inodes and change modes. */
#ifndef DAXFS_ACL_H
#define DAXFS_ACL_H

#include "internal.h"

enum acl_kind { NOT_ACL, ACCESS_ACL, DEFAULT_ACL };

/* Which ACL an attribute's name stands for. */
enum acl_kind acl_kind(const char *name, size_t len);

/*
 * One operation: set an ACL, or remove it where it has no entries (value NULL
 * or len 0 too). The caller holds b->change_lock. EINVAL, E2BIG, EACCES,
 * EOPNOTSUPP.
 */
int acl_set(struct daxfs_branch *b, u64 ino, enum acl_kind kind,
	    const void *value, size_t len, u32 flags);

/*
 * In a transaction that makes inode `ino` in `dir`: what in->mode permits
 * becomes less by the directory's default ACL, or by umask without one, and the
 * new inode gets its ACLs. EUCLEAN: the default ACL is none.
 */
int acl_inherit(struct daxfs_branch *b, u64 dir, u64 ino, u32 umask,
		struct dinode *in);

/*
 * In a transaction that has changed in->mode: the access ACL, where there is
 * one, says the same. EUCLEAN: it is none.
 */
int acl_chmod(struct daxfs_branch *b, u64 ino, const struct dinode *in);

#endif
