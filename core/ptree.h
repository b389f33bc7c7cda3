/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A persistent (path-copying) B+tree with fixed-size values.
 *
 * Cloning is O(1): both trees share all nodes, which are reference-counted and
 * copied only when one side changes them. A node with more than one reference
 * is never written. Locks are the caller's: changes to one tree need exclusive
 * access to that tree; reads need that nobody changes it. Trees that share
 * nodes need no common lock.
 *
 * Changes take their nodes from a pool that the caller filled before, so that
 * they cannot fail: ptree_cost() says how many nodes a change may take.
 */
#ifndef DAXFS_PTREE_H
#define DAXFS_PTREE_H

#include "port.h"

struct pnode;

struct pkey {
	u64 hi; /* inode number or directory */
	u64 lo; /* offset, name hash, … */
};

struct ptree {
	struct pnode *root;
	u16 value_size; /* bytes, multiple of 8 */
	u16 leaf_cap;   /* items in a leaf */
	u32 node_bytes;
	u64 items;
};

/* Nodes in reserve, of one size each list. */
struct ppool {
	struct pnode *free;
	u32 count;
	u32 node_bytes;
};

#define PTREE_MAX_HEIGHT 16

void ptree_init(struct ptree *t, u32 value_size, u32 node_bytes);
/* dst becomes a clone of src; dst must be empty or uninitialised. */
void ptree_clone(struct ptree *dst, const struct ptree *src);
/* Give up all references; the tree is empty after. Not recursive. */
void ptree_drop(struct ptree *t);

void ppool_init(struct ppool *p, u32 node_bytes);
int ppool_fill(struct ppool *p, u32 nodes); /* 0 or -ENOMEM */
void ppool_drain(struct ppool *p);

/* The most nodes that `changes` sets and deletes can take. */
u32 ptree_cost(const struct ptree *t, u32 changes);
/* As ptree_cost() for deletes only, which never split a node. */
u32 ptree_delete_cost(const struct ptree *t, u32 deletes);

/* NULL when absent. Valid until the tree changes. */
const void *ptree_get(const struct ptree *t, struct pkey k);
/* First item at or after k; last item at or before k. NULL when there is none. */
const void *ptree_ge(const struct ptree *t, struct pkey k, struct pkey *found);
const void *ptree_le(const struct ptree *t, struct pkey k, struct pkey *found);

void ptree_set(struct ptree *t, struct ppool *p, struct pkey k,
	       const void *value);
/* True when the item was there. */
bool ptree_del(struct ptree *t, struct ppool *p, struct pkey k);

static inline int pkey_cmp(struct pkey a, struct pkey b)
{
	if (a.hi != b.hi)
		return a.hi < b.hi ? -1 : 1;
	if (a.lo != b.lo)
		return a.lo < b.lo ? -1 : 1;
	return 0;
}

/*
 * Call fn for every item that lies in nodes of `t` not shared with `old`, in
 * key order. Items of unshared nodes may be equal in both; fn compares. Stops
 * at the first nonzero result and returns it. O(unshared nodes).
 */
int ptree_walk_unshared(const struct ptree *t, const struct ptree *old,
			int (*fn)(void *arg, struct pkey k, const void *v),
			void *arg);

#endif
