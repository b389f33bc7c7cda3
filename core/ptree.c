// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "ptree.h"

/*
 * A node is a header, `cap` keys and then `cap` values (leaf) or children
 * (inner). An inner node's key i is a lower bound of all keys under child i;
 * key 0 is not consulted.
 */
struct pnode {
	union {
		u32 refs;
		struct pnode *next; /* while in a pool */
	};
	u16 level; /* 0: leaf */
	u16 count;
	struct pkey keys[];
};

#define NODE_HEADER sizeof(struct pnode)

static u32 inner_cap(const struct ptree *t)
{
	return (t->node_bytes - NODE_HEADER) /
	       (sizeof(struct pkey) + sizeof(struct pnode *));
}

static u32 node_cap(const struct ptree *t, const struct pnode *n)
{
	return n->level ? inner_cap(t) : t->leaf_cap;
}

static struct pnode **children(const struct ptree *t, const struct pnode *n)
{
	return (struct pnode **)((char *)n + NODE_HEADER +
				 inner_cap(t) * sizeof(struct pkey));
}

static char *values(const struct ptree *t, const struct pnode *n)
{
	return (char *)n + NODE_HEADER + t->leaf_cap * sizeof(struct pkey);
}

static char *value_at(const struct ptree *t, const struct pnode *n, u32 i)
{
	return values(t, n) + (size_t)i * t->value_size;
}

void ptree_init(struct ptree *t, u32 value_size, u32 node_bytes)
{
	memset(t, 0, sizeof(*t));
	t->value_size = (u16)value_size;
	t->node_bytes = node_bytes;
	t->leaf_cap = (u16)((node_bytes - NODE_HEADER) /
			    (sizeof(struct pkey) + value_size));
}

void ptree_clone(struct ptree *dst, const struct ptree *src)
{
	*dst = *src;
	if (dst->root)
		port_fetch_add(&dst->root->refs, 1);
}

/* ---- Pool ------------------------------------------------------------------ */

void ppool_init(struct ppool *p, u32 node_bytes)
{
	p->free = NULL;
	p->count = 0;
	p->node_bytes = node_bytes;
}

int ppool_fill(struct ppool *p, u32 nodes)
{
	while (p->count < nodes) {
		struct pnode *n = port_alloc(p->node_bytes);

		if (!n)
			return -ENOMEM;
		n->next = p->free;
		p->free = n;
		p->count++;
	}
	return 0;
}

void ppool_drain(struct ppool *p)
{
	while (p->free) {
		struct pnode *n = p->free;

		p->free = n->next;
		port_free(n);
	}
	p->count = 0;
}

static struct pnode *pool_take(struct ppool *p)
{
	struct pnode *n = p->free;

	p->free = n->next;
	p->count--;
	n->refs = 1;
	return n;
}

/* ---- References ------------------------------------------------------------ */

/*
 * Drop one reference; free what becomes unreferenced. The way down is kept in
 * a list threaded through the dead nodes' key 0 instead of on the stack.
 */
static void node_put(const struct ptree *t, struct pnode *n)
{
	struct pnode *dead = NULL;

	if (!n || port_fetch_sub(&n->refs, 1) != 1)
		return;
	n->keys[0].hi = (u64)(uintptr_t)dead;
	dead = n;
	while (dead) {
		n = dead;
		dead = (struct pnode *)(uintptr_t)n->keys[0].hi;
		for (u32 i = 0; n->level && i < n->count; i++) {
			struct pnode *c = children(t, n)[i];

			if (port_fetch_sub(&c->refs, 1) != 1)
				continue;
			c->keys[0].hi = (u64)(uintptr_t)dead;
			dead = c;
		}
		port_free(n);
	}
}

void ptree_drop(struct ptree *t)
{
	node_put(t, t->root);
	t->root = NULL;
	t->items = 0;
}

u32 ptree_cost(const struct ptree *t, u32 changes)
{
	u32 height = t->root ? t->root->level + 1u : 1u;

	/* a copy and a split on every level, and the tree may grow by one */
	return changes * (2 * (height + 1) + 1);
}

u32 ptree_delete_cost(const struct ptree *t, u32 deletes)
{
	/* where nothing is shared but the path, each may copy all of its own */
	return t->root ? deletes * (t->root->level + 1u) : 0;
}

/* Make *slot writable: copy it when others share it. */
static struct pnode *node_own(const struct ptree *t, struct ppool *p,
			      struct pnode **slot)
{
	struct pnode *n = *slot, *copy;

	if (port_load(&n->refs) == 1)
		return n;
	copy = pool_take(p);
	copy->level = n->level;
	copy->count = n->count;
	memcpy(copy->keys, n->keys, n->count * sizeof(n->keys[0]));
	if (n->level) {
		memcpy(children(t, copy), children(t, n),
		       n->count * sizeof(struct pnode *));
		for (u32 i = 0; i < n->count; i++)
			port_fetch_add(&children(t, n)[i]->refs, 1);
	} else {
		memcpy(values(t, copy), values(t, n),
		       (size_t)n->count * t->value_size);
	}
	*slot = copy;
	node_put(t, n);
	return copy;
}

/* ---- Search ---------------------------------------------------------------- */

/* Index of the first key >= k, up to count. */
static u32 lower_bound(const struct pnode *n, struct pkey k)
{
	u32 lo = 0, hi = n->count;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (pkey_cmp(n->keys[mid], k) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The child whose range holds k. */
static u32 child_index(const struct pnode *n, struct pkey k)
{
	u32 i = lower_bound(n, k);

	if (i < n->count && pkey_cmp(n->keys[i], k) == 0)
		return i;
	return i ? i - 1 : 0;
}

const void *ptree_get(const struct ptree *t, struct pkey k)
{
	const struct pnode *n = t->root;
	u32 i;

	while (n && n->level)
		n = children(t, n)[child_index(n, k)];
	if (!n)
		return NULL;
	i = lower_bound(n, k);
	if (i == n->count || pkey_cmp(n->keys[i], k) != 0)
		return NULL;
	return value_at(t, n, i);
}

static const void *edge(const struct ptree *t, const struct pnode *n, bool last,
			struct pkey *found)
{
	u32 i;

	while (n->level)
		n = children(t, n)[last ? n->count - 1u : 0];
	i = last ? n->count - 1u : 0;
	*found = n->keys[i];
	return value_at(t, n, i);
}

const void *ptree_ge(const struct ptree *t, struct pkey k, struct pkey *found)
{
	const struct pnode *n = t->root, *right = NULL;
	u32 i;

	if (!n)
		return NULL;
	while (n->level) {
		i = child_index(n, k);
		if (i + 1u < n->count)
			right = children(t, n)[i + 1];
		n = children(t, n)[i];
	}
	i = lower_bound(n, k);
	if (i < n->count) {
		*found = n->keys[i];
		return value_at(t, n, i);
	}
	return right ? edge(t, right, false, found) : NULL;
}

const void *ptree_le(const struct ptree *t, struct pkey k, struct pkey *found)
{
	const struct pnode *n = t->root, *left = NULL;
	u32 i;

	if (!n)
		return NULL;
	while (n->level) {
		i = child_index(n, k);
		if (i)
			left = children(t, n)[i - 1];
		n = children(t, n)[i];
	}
	i = lower_bound(n, k);
	if (i < n->count && pkey_cmp(n->keys[i], k) == 0)
		i++;
	if (i) {
		*found = n->keys[i - 1];
		return value_at(t, n, i - 1);
	}
	return left ? edge(t, left, true, found) : NULL;
}

/* ---- Change ---------------------------------------------------------------- */

/* Move the upper half of full child i of parent (both owned) to a new node. */
static void split_child(struct ptree *t, struct ppool *p, struct pnode *parent,
			u32 i)
{
	struct pnode *left = children(t, parent)[i], *right = pool_take(p);
	/* ascending inserts fill nodes: split at the end when it is the last */
	u32 keep = i + 1u == parent->count && !left->level ? left->count - 1u
							   : left->count / 2u;
	u32 moved = left->count - keep;

	right->level = left->level;
	right->count = (u16)moved;
	memcpy(right->keys, left->keys + keep, moved * sizeof(right->keys[0]));
	if (left->level)
		memcpy(children(t, right), children(t, left) + keep,
		       moved * sizeof(struct pnode *));
	else
		memcpy(values(t, right), value_at(t, left, keep),
		       (size_t)moved * t->value_size);
	left->count = (u16)keep;

	memmove(parent->keys + i + 2, parent->keys + i + 1,
		(parent->count - i - 1u) * sizeof(parent->keys[0]));
	memmove(children(t, parent) + i + 2, children(t, parent) + i + 1,
		(parent->count - i - 1u) * sizeof(struct pnode *));
	parent->keys[i + 1] = right->keys[0];
	children(t, parent)[i + 1] = right;
	parent->count++;
}

static void new_root(struct ptree *t, struct ppool *p, u16 level)
{
	struct pnode *n = pool_take(p);

	n->level = level;
	n->count = 0;
	if (level) {
		n->count = 1;
		n->keys[0] = t->root->keys[0];
		children(t, n)[0] = t->root;
	}
	t->root = n;
}

static void leaf_insert(struct ptree *t, struct pnode *n, u32 i, struct pkey k,
			const void *value)
{
	memmove(n->keys + i + 1, n->keys + i,
		(n->count - i) * sizeof(n->keys[0]));
	memmove(value_at(t, n, i + 1), value_at(t, n, i),
		(size_t)(n->count - i) * t->value_size);
	n->keys[i] = k;
	memcpy(value_at(t, n, i), value, t->value_size);
	n->count++;
	t->items++;
}

void ptree_set(struct ptree *t, struct ppool *p, struct pkey k,
	       const void *value)
{
	struct pnode *n;
	u32 i;

	if (!t->root)
		new_root(t, p, 0);
	n = node_own(t, p, &t->root);
	if (n->count == node_cap(t, n)) {
		new_root(t, p, (u16)(n->level + 1));
		split_child(t, p, t->root, 0);
		n = t->root;
	}
	while (n->level) {
		struct pnode *c;

		i = child_index(n, k);
		c = node_own(t, p, &children(t, n)[i]);
		if (c->count == node_cap(t, c)) {
			split_child(t, p, n, i);
			if (pkey_cmp(k, n->keys[i + 1]) >= 0)
				i++;
			c = children(t, n)[i];
		}
		/* keep key 0 a true lower bound for walks and splits */
		if (pkey_cmp(k, n->keys[i]) < 0)
			n->keys[i] = k;
		n = c;
	}
	i = lower_bound(n, k);
	if (i < n->count && pkey_cmp(n->keys[i], k) == 0)
		memcpy(value_at(t, n, i), value, t->value_size);
	else
		leaf_insert(t, n, i, k, value);
}

static void remove_at(const struct ptree *t, struct pnode *n, u32 i)
{
	u32 after = n->count - i - 1u;

	memmove(n->keys + i, n->keys + i + 1, after * sizeof(n->keys[0]));
	if (n->level)
		memmove(children(t, n) + i, children(t, n) + i + 1,
			after * sizeof(struct pnode *));
	else
		memmove(value_at(t, n, i), value_at(t, n, i + 1),
			(size_t)after * t->value_size);
	n->count--;
}

/* Append child i+1's items to child i when both fit into one node. */
static void merge_right(const struct ptree *t, struct pnode *parent, u32 i)
{
	struct pnode *a, *b;

	if (i + 1u >= parent->count)
		return;
	b = children(t, parent)[i + 1];
	a = children(t, parent)[i];
	/* hysteresis, and no copying of what others share */
	if (a->count + b->count > node_cap(t, a) / 2u ||
	    port_load(&b->refs) != 1 || port_load(&a->refs) != 1)
		return;
	memcpy(a->keys + a->count, b->keys, b->count * sizeof(a->keys[0]));
	if (a->level) {
		a->keys[a->count] = parent->keys[i + 1];
		memcpy(children(t, a) + a->count, children(t, b),
		       b->count * sizeof(struct pnode *));
	} else {
		memcpy(value_at(t, a, a->count), values(t, b),
		       (size_t)b->count * t->value_size);
	}
	a->count = (u16)(a->count + b->count);
	port_free(b);
	remove_at(t, parent, i + 1);
}

/* After an item left the leaf at the end of path: drop empty nodes, merge. */
static void shrink_path(struct ptree *t, struct pnode **path, const u32 *index,
			u32 depth)
{
	while (depth--) {
		struct pnode *parent = path[depth];
		u32 i = index[depth];

		if (children(t, parent)[i]->count == 0) {
			port_free(children(t, parent)[i]);
			remove_at(t, parent, i);
		} else {
			merge_right(t, parent, i);
			if (i)
				merge_right(t, parent, i - 1);
		}
	}
	/* a root that others share stays: its child is theirs too */
	while (t->root->level && t->root->count == 1 &&
	       port_load(&t->root->refs) == 1) {
		struct pnode *old = t->root;

		t->root = children(t, old)[0];
		port_free(old);
	}
	if (t->root->count == 0) {
		port_free(t->root);
		t->root = NULL;
	}
}

bool ptree_del(struct ptree *t, struct ppool *p, struct pkey k)
{
	struct pnode *path[PTREE_MAX_HEIGHT], *n;
	u32 index[PTREE_MAX_HEIGHT], depth = 0, i;

	if (!ptree_get(t, k))
		return false;
	n = node_own(t, p, &t->root);
	while (n->level) {
		i = child_index(n, k);
		path[depth] = n;
		index[depth++] = i;
		n = node_own(t, p, &children(t, n)[i]);
	}
	remove_at(t, n, lower_bound(n, k));
	t->items--;
	shrink_path(t, path, index, depth);
	return true;
}

/* ---- Walk ------------------------------------------------------------------ */

/*
 * Whether node n of the new tree is also in the old one. Nodes keep their
 * place in key order, so the old tree's node on the way to n's first key at
 * n's level is the only candidate.
 */
static bool shared_with(const struct ptree *old, const struct ptree *t,
			const struct pnode *n)
{
	const struct pnode *o = old->root, *first = n;

	if (port_load(&n->refs) == 1 && n != old->root)
		return false;
	while (first->level)
		first = children(t, first)[0];
	while (o && o->level > n->level)
		o = children(old, o)[child_index(o, first->keys[0])];
	return o == n;
}

int ptree_walk_unshared(const struct ptree *t, const struct ptree *old,
			int (*fn)(void *arg, struct pkey k, const void *v),
			void *arg)
{
	const struct pnode *path[PTREE_MAX_HEIGHT];
	u32 index[PTREE_MAX_HEIGHT], depth = 0;
	int rc;

	if (!t->root || shared_with(old, t, t->root))
		return 0;
	path[0] = t->root;
	index[0] = 0;
	for (;;) {
		const struct pnode *n = path[depth];

		if (index[depth] == n->count) {
			if (!depth)
				return 0;
			depth--;
			continue;
		}
		if (n->level) {
			const struct pnode *c = children(t, n)[index[depth]++];

			if (shared_with(old, t, c))
				continue;
			path[++depth] = c;
			index[depth] = 0;
			continue;
		}
		rc = fn(arg, n->keys[index[depth]],
			value_at(t, n, index[depth]));
		if (rc)
			return rc;
		index[depth]++;
	}
}
