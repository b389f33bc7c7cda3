/* SPDX-License-Identifier: Apache-2.0 */
/* Drawing what has parents: branches, snapshots. */
#include <stdio.h>

#include "cli.h"
#include "text.h"

struct node {
	json_object *object;
	size_t parent, first, last, next; /* indices; NONE: none */
	unsigned depth;
};

#define NONE ((size_t)-1)

struct picture {
	struct node *nodes;
	size_t count;
	const char *bar, *tee, *end; /* "|  ", "|- ", "`- " */
	void (*print)(json_object *o, unsigned indent);
};

/* By name, to its index. */
static json_object *index_nodes(struct picture *p)
{
	json_object *by_name = json_object_new_object();

	for (size_t i = 0; i < p->count; i++) {
		struct node *n = &p->nodes[i];

		n->parent = n->first = n->last = n->next = NONE;
		cli_json_add_u64(by_name, cli_json_string(n->object, "name"),
				 i);
	}
	return by_name;
}

/* In the order in which they are given. */
static void link_nodes(struct picture *p)
{
	json_object *by_name = index_nodes(p), *o;

	for (size_t i = 0; i < p->count; i++) {
		struct node *n = &p->nodes[i];
		size_t k;

		if (!json_object_object_get_ex(by_name,
					       cli_json_string(n->object,
							       "parent"),
					       &o))
			continue;
		k = json_object_get_uint64(o);
		if (k == i)
			continue;
		n->parent = k;
		if (p->nodes[k].last == NONE)
			p->nodes[k].first = i;
		else
			p->nodes[p->nodes[k].last].next = i;
		p->nodes[k].last = i;
	}
	json_object_put(by_name);
}

/* Bars of the ancestors that have more to come, outermost first. */
static unsigned print_stem(const struct picture *p, size_t i, size_t *path)
{
	unsigned depth = p->nodes[i].depth, d;
	size_t k = i;

	for (d = depth; d > 0; d--) {
		path[d] = k;
		k = p->nodes[k].parent;
	}
	for (d = 1; d <= depth; d++) {
		bool more = p->nodes[path[d]].next != NONE;

		if (d == depth)
			fputs(more ? p->tee : p->end, stdout);
		else
			fputs(more ? p->bar : "   ", stdout);
	}
	return 3 * depth;
}

/* Depth first, without a stack: the links lead back up. */
static void print_below(struct picture *p, size_t root, size_t *path)
{
	size_t i = root;

	while (i != NONE) {
		struct node *n = &p->nodes[i];

		if (n->parent != NONE && i != root)
			n->depth = p->nodes[n->parent].depth + 1;
		p->print(n->object, print_stem(p, i, path));
		if (n->first != NONE) {
			i = n->first;
			continue;
		}
		while (i != root && p->nodes[i].next == NONE)
			i = p->nodes[i].parent;
		i = i == root ? NONE : p->nodes[i].next;
	}
}

bool cli_draw_tree(json_object *all,
		   void (*print)(json_object *o, unsigned indent))
{
	struct picture p = {
		.bar = "|  ", .tee = "|- ", .end = "`- ", .print = print
	};
	cleanup_free struct node *nodes = NULL;
	cleanup_free size_t *path = NULL;

	if (text_utf8()) {
		p.bar = "│  ";
		p.tee = "├─ ";
		p.end = "└─ ";
	}
	p.count = json_object_array_length(all);
	p.nodes = nodes = calloc(p.count + 1, sizeof(*nodes));
	path = calloc(p.count + 1, sizeof(*path));
	if (!nodes || !path)
		return false;
	for (size_t i = 0; i < p.count; i++)
		nodes[i].object = json_object_array_get_idx(all, i);
	link_nodes(&p);
	for (size_t i = 0; i < p.count; i++)
		if (nodes[i].parent == NONE)
			print_below(&p, i, path);
	return true;
}
