/* SPDX-License-Identifier: Apache-2.0 */
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>

#include "cli.h"

struct node {
	json_object *branch;
	size_t parent, first, last, next; /* indices; NONE: none */
	unsigned depth;
};

#define NONE ((size_t)-1)

struct picture {
	struct node *nodes;
	size_t count;
	const char *bar, *tee, *end; /* "|  ", "|- ", "`- " */
};

static bool utf8(void)
{
	return setlocale(LC_CTYPE, "") && str_eq(nl_langinfo(CODESET), "UTF-8");
}

/* Parents come before children: one pass links them. */
static void link_nodes(struct picture *p)
{
	json_object *by_name = json_object_new_object();
	size_t i, k;

	for (i = 0; i < p->count; i++) {
		struct node *n = &p->nodes[i];

		n->parent = n->first = n->last = n->next = NONE;
		cli_json_add_u64(by_name, cli_json_string(n->branch, "name"),
				 i);
		if (!json_object_object_get_ex(by_name,
					       cli_json_string(n->branch,
							       "parent"),
					       NULL))
			continue;
		k = cli_json_u64(by_name, cli_json_string(n->branch, "parent"));
		if (k == i)
			continue;
		n->parent = k;
		n->depth = p->nodes[k].depth + 1;
		if (p->nodes[k].last == NONE)
			p->nodes[k].first = i;
		else
			p->nodes[p->nodes[k].last].next = i;
		p->nodes[k].last = i;
	}
	json_object_put(by_name);
}

/* Bars of the ancestors that have more to come, outermost first. */
static int print_stem(const struct picture *p, size_t i, size_t *path)
{
	unsigned depth = p->nodes[i].depth, d;
	size_t k = i;
	int width = 0;

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
		width += 3;
	}
	return width;
}

static void print_node(const struct picture *p, size_t i, size_t *path)
{
	json_object *b = p->nodes[i].branch, *m;
	int width = print_stem(p, i, path);
	size_t k;

	width = width < 36 ? 36 - width : 1;
	printf("%-*s %-7s %10s", width, cli_json_string(b, "name"),
	       cli_branch_state(b), format_size(cli_json_u64(b, "bytes")));
	if (cli_json_u64(b, "meta_bytes"))
		printf("  +%s metadata",
		       format_size(cli_json_u64(b, "meta_bytes")));
	if (json_object_object_get_ex(b, "mountpoints", &m) &&
	    json_object_is_type(m, json_type_array))
		for (k = 0; k < json_object_array_length(m); k++) {
			const char *s = json_object_get_string(
				json_object_array_get_idx(m, k));

			printf(k ? ", " : "  ");
			if (s)
				cli_print_name(s, strlen(s));
		}
	putchar('\n');
}

/* Depth first, without a stack: the links lead back up. */
static void print_all(const struct picture *p, size_t *path)
{
	size_t root, i;

	for (root = 0; root < p->count; root++) {
		if (p->nodes[root].parent != NONE)
			continue;
		for (i = root; i != NONE;) {
			print_node(p, i, path);
			if (p->nodes[i].first != NONE) {
				i = p->nodes[i].first;
				continue;
			}
			while (i != NONE && i != root &&
			       p->nodes[i].next == NONE)
				i = p->nodes[i].parent;
			i = i == root || i == NONE ? NONE : p->nodes[i].next;
		}
	}
}

int branch_print_tree(json_object *reply)
{
	struct picture p = { .bar = "|  ", .tee = "|- ", .end = "`- " };
	cleanup_free struct node *nodes = NULL;
	cleanup_free size_t *path = NULL;
	json_object *all;
	size_t i;

	if (!json_object_object_get_ex(reply, "branches", &all))
		return DAXFS_EXIT_OK;
	if (utf8()) {
		p.bar = "│  ";
		p.tee = "├─ ";
		p.end = "└─ ";
	}
	p.count = json_object_array_length(all);
	p.nodes = nodes = calloc(p.count + 1, sizeof(*nodes));
	path = calloc(p.count + 1, sizeof(*path));
	if (!nodes || !path)
		return cli_error("daxfs-branch tree", "out of memory");
	for (i = 0; i < p.count; i++)
		nodes[i].branch = json_object_array_get_idx(all, i);
	link_nodes(&p);
	print_all(&p, path);
	return DAXFS_EXIT_OK;
}

int cmd_branch_tree(int argc, char **argv)
{
	return branch_show("daxfs-branch tree",
			   "Draw the branches of a region, with what each holds.",
			   "  daxfs-branch tree rootfs.daxfs\n",
			   branch_print_tree, argc, argv);
}
