// SPDX-License-Identifier: Apache-2.0
/*
 * The rules of branches as a table: a tree of branches, one operation, what it
 * answers, who is left. Before and after, and again after the region was opened
 * anew, everyone sees its own and its ancestors' files, and only an active
 * branch without children can be written.
 */
#include "core_util.h"

#include <errno.h>

#define MAX 16u

static struct reg g;

enum op { CREATE, SEAL, COMMIT, ABORT, DELETE, DROP, KEEP, PERSIST, UNPERSIST };

/*
 * `tree`: words "name:parent" in order of creation, with '!' behind a sealed
 * one, '*' behind a persistent one, '?' behind one to be dropped with its last
 * child. CREATE makes "new" of the branch it names.
 */
struct rule {
	const char *tree;
	enum op op;
	const char *name;
	int rc;
	const char *left; /* names but main */
	const char *text; /* in the message */
};

static const struct rule rules[] = {
	/* a parent is main, an active branch or a sealed one */
	{ "", CREATE, "main", 0, "new", NULL },
	{ "a:main", CREATE, "a", 0, "a new", NULL },
	{ "a:main b:a", CREATE, "a", 0, "a b new", NULL },
	{ "a:main!", CREATE, "a", 0, "a new", NULL },
	{ "a:main", CREATE, "b", -ENOENT, "a", NULL },
	{ "new:main", CREATE, "main", -EEXIST, "new", NULL },

	{ "a:main", SEAL, "a", 0, "a", NULL },
	{ "a:main!", SEAL, "a", 0, "a", NULL },
	{ "a:main b:a", SEAL, "a", 0, "a b", NULL },
	{ "a:main", SEAL, "main", -EPERM, "a", NULL },
	{ "a:main", SEAL, "b", -ENOENT, "a", NULL },

	/* commit ends siblings, uncles, cousins and nephews */
	{ "a:main", COMMIT, "a", 0, "", NULL },
	{ "a:main*", COMMIT, "a", 0, "", NULL },
	{ "a:main b:a c:b", COMMIT, "c", 0, "", NULL },
	{ "a:main x:main", COMMIT, "a", 0, "", NULL },
	{ "a:main x:main*", COMMIT, "a", 0, "", NULL },
	{ "a:main b:a x:a", COMMIT, "b", 0, "", NULL },
	{ "a:main b:a x:main y:x z:y", COMMIT, "b", 0, "", NULL },
	{ "a:main b:a c:b x:b y:x z:a", COMMIT, "c", 0, "", NULL },
	{ "a:main x:main y:x z:y", COMMIT, "z", 0, "", NULL },
	{ "a:main b:a", COMMIT, "a", -EBUSY, "a b", "'a'" },
	{ "a:main b:a!", COMMIT, "a", -EBUSY, "a b", "'a'" },
	{ "a:main!", COMMIT, "a", -EBUSY, "a", "'a'" },
	{ "a:main! b:a", COMMIT, "b", -EBUSY, "a b", "'a'" },
	{ "a:main b:a! c:b", COMMIT, "c", -EBUSY, "a b c", "'b'" },
	{ "a:main s:main!", COMMIT, "a", -EBUSY, "a s", "'s'" },
	{ "a:main b:a s:a!", COMMIT, "b", -EBUSY, "a b s", "'s'" },
	{ "a:main b:a x:main s:x!", COMMIT, "b", -EBUSY, "a b x s", "'s'" },
	{ "a:main b:a x:a s:x!", COMMIT, "b", -EBUSY, "a b x s", "'s'" },
	{ "a:main", COMMIT, "main", -EPERM, "a", NULL },
	{ "a:main", COMMIT, "b", -ENOENT, "a", NULL },

	/* abort goes up to main, or to where somebody else stands */
	{ "a:main", ABORT, "a", 0, "", NULL },
	{ "a:main x:main", ABORT, "a", 0, "x", NULL },
	{ "a:main b:a c:b", ABORT, "c", 0, "", NULL },
	{ "a:main* b:a* c:b*", ABORT, "c", 0, "", NULL },
	{ "a:main b:a c:b x:a", ABORT, "c", 0, "a x", NULL },
	{ "a:main b:a c:b x:b", ABORT, "c", 0, "a b x", NULL },
	{ "x:main y:x a:main b:a c:b", ABORT, "c", 0, "x y", NULL },
	{ "a:main! b:a", ABORT, "b", 0, "a", NULL },
	{ "a:main b:a! c:b d:c", ABORT, "d", 0, "a b", NULL },
	{ "a:main b:a", ABORT, "a", -EBUSY, "a b", NULL },
	{ "a:main!", ABORT, "a", -EBUSY, "a", NULL },
	{ "a:main", ABORT, "main", -EPERM, "a", NULL },
	{ "a:main", ABORT, "b", -ENOENT, "a", NULL },

	/* delete: one level, sealed or not */
	{ "a:main b:a", DELETE, "b", 0, "a", NULL },
	{ "a:main b:a!", DELETE, "b", 0, "a", NULL },
	{ "a:main* b:a*", DELETE, "b", 0, "a", NULL },
	{ "a:main! b:a x:a", DELETE, "b", 0, "a x", NULL },
	{ "a:main b:a", DELETE, "a", -EBUSY, "a b", NULL },
	{ "a:main! b:a", DELETE, "a", -EBUSY, "a b", NULL },
	{ "a:main", DELETE, "main", -EPERM, "a", NULL },
	{ "a:main", DELETE, "b", -ENOENT, "a", NULL },

	/* drop: now, or with the last child */
	{ "a:main b:a", DROP, "b", 0, "a", NULL },
	{ "a:main b:a", DROP, "a", -EBUSY, "a b", NULL },
	{ "a:main", DROP, "main", -EPERM, "a", NULL },
	{ "a:main", DROP, "b", -ENOENT, "a", NULL },
	{ "a:main b:a a?", DELETE, "b", 0, "", NULL },
	{ "a:main b:a a?", DROP, "b", 0, "", NULL },
	{ "a:main b:a a?", ABORT, "b", 0, "", NULL },
	{ "a:main b:a x:a a?", DELETE, "b", 0, "a x", NULL },
	{ "a:main b:a c:b a? b?", DELETE, "c", 0, "", NULL },
	{ "a:main b:a c:b b?", DELETE, "c", 0, "a", NULL },
	{ "a:main b:a c:b a?", DELETE, "c", 0, "a b", NULL },
	{ "a:main b:a a? a!", DELETE, "b", 0, "a", NULL },
	{ "a:main b:a a? a*", DELETE, "b", 0, "a", NULL },
	{ "a:main x:main b:a a?", DELETE, "b", 0, "x", NULL },
	{ "a:main b:a a?", COMMIT, "b", 0, "", NULL },
	{ "a:main b:a a?", KEEP, "a", 0, "a b", NULL },
	{ "a:main", KEEP, "b", -ENOENT, "a", NULL },
	{ "a:main", PERSIST, "a", 0, "a", NULL },
	{ "a:main", UNPERSIST, "a", 0, "a", NULL },
	{ "a:main", PERSIST, "b", -ENOENT, "a", NULL },
};

/* ---- The tree ------------------------------------------------------------------ */

struct node {
	char name[8], parent[8];
	bool sealed, persistent, drop;
	u32 told; /* how often it was said to have ended */
	struct daxfs_branch *b;
};

static struct node nodes[MAX];
static u32 count;
static bool committed[MAX]; /* the node's file is main's now */

static struct node *node_of(const char *name)
{
	for (u32 k = 0; k < count; k++)
		if (!strcmp(nodes[k].name, name))
			return &nodes[k];
	return NULL;
}

static void on_end(void *arg, struct daxfs_branch *b)
{
	struct node *n = daxfs_branch_private(b);

	(void)arg;
	if (n)
		n->told++;
}

static void add_node(const char *name, const char *parent)
{
	struct node *n = &nodes[count++];

	assert_true(count < MAX);
	snprintf(n->name, sizeof(n->name), "%s", name);
	snprintf(n->parent, sizeof(n->parent), "%s", parent);
	n->b = new_branch(&g, name, parent);
	daxfs_branch_set_private(n->b, n);
	make_file(n->b, ROOT, name);
}

/* "name:parent", or "name" of one there is, then marks. */
static void grow(const char *word)
{
	char name[8], parent[8] = "";
	size_t len = strcspn(word, ":!*?"), plen;
	struct node *n;

	snprintf(name, sizeof(name), "%.*s", (int)len, word);
	word += len;
	if (*word == ':') {
		plen = strcspn(++word, "!*?");
		snprintf(parent, sizeof(parent), "%.*s", (int)plen, word);
		word += plen;
		add_node(name, parent);
	}
	n = node_of(name);
	assert_non_null(n);
	for (; *word; word++) {
		n->sealed |= *word == '!';
		n->persistent |= *word == '*';
		n->drop |= *word == '?';
		if (*word == '!')
			assert_int_equal(daxfs_branch_seal(g.r, name), 0);
		if (*word == '*')
			assert_int_equal(daxfs_branch_set_persistent(g.r, name,
								     true),
					 0);
		if (*word == '?')
			assert_int_equal(daxfs_branch_drop(g.r, name), -EBUSY);
	}
}

static void plant(const char *tree)
{
	char words[128], *save, *w;

	snprintf(words, sizeof(words), "%s", tree);
	memset(nodes, 0, sizeof(nodes));
	memset(committed, 0, sizeof(committed));
	count = 0;
	for (w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
		grow(w);
}

static bool listed(const char *names, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = names; (p = strstr(p, name)); p += len)
		if ((p == names || p[-1] == ' ') && (!p[len] || p[len] == ' '))
			return true;
	return false;
}

/* ---- What must be true ------------------------------------------------------------ */

static bool in_chain(const struct node *n, const struct node *of)
{
	while (of && of != n)
		of = node_of(of->parent);
	return of;
}

static void check_files(const struct node *n, struct daxfs_branch *b)
{
	for (u32 k = 0; k < count; k++)
		assert_int_equal(find_name(b, ROOT, nodes[k].name) != 0,
				 committed[k] || (n && in_chain(&nodes[k], n)));
}

static void check_one(const struct daxfs_branch_info *i, const char *left)
{
	struct daxfs_branch *b = get_branch(&g, i->name);
	struct node *n = node_of(i->name);
	bool writable =
		i->parent_id && i->state == DAXFS_BRANCH_ACTIVE && !i->children;
	u32 children = 0;

	for (u32 k = 0; k < count; k++)
		if (listed(left, nodes[k].name) &&
		    !strcmp(nodes[k].parent, i->name))
			children++;
	assert_int_equal(i->children, children);
	if (n) {
		assert_string_equal(i->parent, n->parent);
		assert_int_equal(i->state, n->sealed ? DAXFS_BRANCH_SEALED
						     : DAXFS_BRANCH_ACTIVE);
		assert_int_equal(i->persistent, n->persistent);
	}
	check_files(n, b);
	assert_int_equal(make_any(b, ROOT, "w", S_IFREG | 0600, NULL),
			 writable ? 0 : -EROFS);
	if (writable)
		assert_int_equal(do_unlink(b, ROOT, "w"), 0);
	daxfs_branch_put(b);
}

static void check_all(const char *left)
{
	struct daxfs_branch_info *v;
	u32 n, want = 1;

	for (u32 k = 0; k < count; k++)
		want += listed(left, nodes[k].name);
	assert_int_equal(daxfs_branch_list(g.r, &v, &n), 0);
	assert_int_equal(n, want);
	for (u32 k = 0; k < n; k++) {
		if (k && !listed(left, v[k].name))
			fail_msg("'%s' is left", v[k].name);
		check_one(&v[k], left);
	}
	daxfs_free(v);
}

/* Handles: of those that are left as ever, of the others without use. */
static void check_handles(const char *left)
{
	struct daxfs_attr a;

	for (u32 k = 0; k < count; k++) {
		struct node *n = &nodes[k];
		bool lives = listed(left, n->name);

		assert_int_equal(daxfs_branch_status(n->b),
				 lives ? 0 : -ESTALE);
		assert_int_equal(daxfs_getattr(n->b, ROOT, &a),
				 lives ? 0 : -ESTALE);
		assert_int_equal(n->told, !lives);
	}
}

static int act(const struct rule *r)
{
	struct node *n = node_of(r->name);

	g.msg.text[0] = 0;
	switch (r->op) {
	case CREATE:
		if (r->rc)
			return daxfs_branch_create(g.r, "new", r->name, 0);
		add_node("new", r->name);
		return 0;
	case SEAL:
		if (n)
			n->sealed = true;
		return daxfs_branch_seal(g.r, r->name);
	case COMMIT:
		for (u32 k = 0; !r->rc && k < count; k++)
			committed[k] = in_chain(&nodes[k], n);
		return daxfs_branch_commit(g.r, r->name, &g.msg);
	case ABORT:
		return daxfs_branch_abort(g.r, r->name);
	case DELETE:
		return daxfs_branch_delete(g.r, r->name);
	case DROP:
		return daxfs_branch_drop(g.r, r->name);
	case KEEP:
		return daxfs_branch_keep(g.r, r->name);
	case PERSIST:
	case UNPERSIST:
		if (n)
			n->persistent = r->op == PERSIST;
		return daxfs_branch_set_persistent(g.r, r->name,
						   r->op == PERSIST);
	}
	return -EINVAL;
}

static void put_handles(void)
{
	for (u32 k = 0; k < count; k++)
		daxfs_branch_put(nodes[k].b);
}

static void try_rule(const struct rule *r, bool reopened)
{
	struct shape s = { .size = 8 * MB, .branches = MAX, .base = true };
	int rc;

	reg_new(&g, &s);
	plant(r->tree);
	if (reopened) {
		put_handles();
		reg_reopen(&g);
		for (u32 k = 0; k < count; k++) {
			nodes[k].b = get_branch(&g, nodes[k].name);
			daxfs_branch_set_private(nodes[k].b, &nodes[k]);
		}
	}
	daxfs_region_on_end(g.r, on_end, NULL);
	rc = act(r);
	if (rc != r->rc)
		fail_msg("answers %d, not %d", rc, r->rc);
	if (r->text && !strstr(g.msg.text, r->text))
		fail_msg("'%s' does not say %s", g.msg.text, r->text);
	check_handles(r->left);
	check_all(r->left);
	put_handles();
	reg_reopen(&g);
	check_all(r->left);
	reg_free(&g);
}

static void test_rules(void **state)
{
	(void)state;
	for (u32 k = 0; k < sizeof(rules) / sizeof(*rules); k++) {
		print_message("# '%s': %d '%s'\n", rules[k].tree, rules[k].op,
			      rules[k].name);
		try_rule(&rules[k], false);
		try_rule(&rules[k], true);
	}
}

/* What keep() calls off does not happen; a new drop() does. */
static void test_keep(void **state)
{
	struct shape s = { .size = 8 * MB, .branches = MAX };
	struct daxfs_branch *b;

	(void)state;
	reg_new(&g, &s);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(daxfs_branch_create(g.r, "b",
						     round ? "a" : "main", 0),
				 0);
		if (!round) {
			assert_int_equal(daxfs_branch_create(g.r, "a", "b", 0),
					 0);
			assert_int_equal(daxfs_branch_drop(g.r, "b"), -EBUSY);
			assert_int_equal(daxfs_branch_keep(g.r, "b"), 0);
			assert_int_equal(daxfs_branch_delete(g.r, "a"), 0);
			assert_int_equal(daxfs_branch_get(g.r, "b", &b), 0);
			daxfs_branch_put(b);
			assert_int_equal(daxfs_branch_drop(g.r, "b"), 0);
			assert_int_equal(daxfs_branch_create(g.r, "a", "main",
							     0),
					 0);
			continue;
		}
		/* kept, made persistent and not any more: it stays */
		assert_int_equal(daxfs_branch_drop(g.r, "a"), -EBUSY);
		assert_int_equal(daxfs_branch_set_persistent(g.r, "a", true),
				 0);
		assert_int_equal(daxfs_branch_set_persistent(g.r, "a", false),
				 0);
		assert_int_equal(daxfs_branch_delete(g.r, "b"), 0);
		assert_int_equal(daxfs_branch_get(g.r, "a", &b), 0);
		daxfs_branch_put(b);
	}
	reg_free(&g);
}

static struct daxfs_branch_entry *entry_of(const char *name)
{
	struct daxfs_super *sb = (struct daxfs_super *)g.mem.base;
	struct daxfs_branch_entry *e =
		(void *)(g.mem.base + le64toh(sb->branch_table_offset));

	while (strcmp(e->name, name) != 0)
		e++;
	return e;
}

/* Killed between the end of a child and that of those who waited for it. */
static void test_drop_cut_short(void **state)
{
	static const char *const words[] = { "a:main", "b:a", "c:b", "x:a" };
	struct shape s = { .size = 8 * MB, .branches = MAX };
	u64 free_before;

	(void)state;
	for (u32 round = 0; round < 2; round++) {
		reg_new(&g, &s);
		free_before = reg_free_segments(&g);
		count = 0;
		memset(nodes, 0, sizeof(nodes));
		for (u32 k = 0; k < 3 + round; k++)
			grow(words[k]);
		grow("a?");
		grow("b?");
		put_handles();
		daxfs_region_close(g.r);
		entry_of("c")->state = htole32(DAXFS_BRANCH_ABORTED);
		assert_int_equal(reg_open(&g, 0), 0);
		check_all(round ? "a x" : "");
		if (!round)
			assert_int_equal(reg_free_segments(&g), free_before);
		reg_free(&g);
	}
}

/* ---- Depth ----------------------------------------------------------------------- */

#define DEPTH 128u

static void name_level(char name[16], char kind, u32 level)
{
	if (level)
		snprintf(name, 16, "%c%u", kind, level);
	else
		snprintf(name, 16, "main");
}

/* Level d renames the directory from d(d-1) and puts one more file into it. */
static void dig(u32 d)
{
	char name[16], parent[16], dir[16], old[16], file[16];
	struct daxfs_branch *b;
	u64 ino;

	name_level(name, 'l', d);
	name_level(parent, 'l', d - 1);
	name_level(dir, 'd', d);
	name_level(old, 'd', d - 1);
	name_level(file, 'f', d);
	b = new_branch(&g, name, parent);
	if (d == 1)
		ino = make_dir(b, ROOT, dir);
	else
		ino = find_name(b, ROOT, old);
	if (d > 1)
		assert_int_equal(do_rename(b, ROOT, old, ROOT, dir, 0), 0);
	make_file(b, ino, file);
	/* and the file of the level before moves out and in again */
	name_level(file, 'f', d - 1);
	if (d > 1) {
		assert_int_equal(do_rename(b, ino, file, ROOT, "out", 0), 0);
		assert_int_equal(do_rename(b, ROOT, "out", ino, file, 0), 0);
	}
	daxfs_branch_put(b);
}

static void check_level(const char *name, u32 d)
{
	struct daxfs_branch *b = get_branch(&g, name);
	char dir[16], file[16];
	u64 ino;

	for (u32 k = 1; k <= DEPTH; k++) {
		name_level(dir, 'd', k);
		assert_int_equal(find_name(b, ROOT, dir) != 0, k == d);
	}
	name_level(dir, 'd', d);
	ino = find_name(b, ROOT, dir);
	assert_int_equal(attr_of(b, ino).size, d * 271);
	for (u32 k = 1; k <= DEPTH; k++) {
		name_level(file, 'f', k);
		assert_int_equal(find_name(b, ino, file) != 0, k <= d);
	}
	assert_int_equal(find_name(b, ROOT, "out"), 0);
	daxfs_branch_put(b);
}

static void dig_all(void)
{
	struct shape s = { .size = 32 * MB, .branches = 200, .base = true };
	struct daxfs_branch *b;

	reg_new(&g, &s);
	b = new_branch(&g, "x", "main");
	make_file(b, ROOT, "sibling");
	daxfs_branch_put(b);
	for (u32 d = 1; d <= DEPTH; d++)
		dig(d);
}

static void test_deep_renames(void **state)
{
	static const u32 levels[] = { 1, 2, 64, DEPTH - 1, DEPTH };
	char name[16];

	(void)state;
	dig_all();
	for (int round = 0; round < 2; round++) {
		for (u32 k = 0; k < 5; k++) {
			name_level(name, 'l', levels[k]);
			check_level(name, levels[k]);
		}
		reg_reopen(&g);
	}
	assert_int_equal(daxfs_branch_commit(g.r, "l128", &g.msg), 0);
	for (int round = 0; round < 2; round++) {
		check_level("main", DEPTH);
		reg_reopen(&g);
	}
	reg_free(&g);
}

/* The least of some rounds: others may use the processor. */
static double lookup_time(const char *branch, const char *dir)
{
	struct daxfs_branch *b = get_branch(&g, branch);
	u64 ino = find_name(b, ROOT, dir);
	double best = 1e9;

	for (u32 round = 0; round < 8; round++) {
		double start = seconds(), took;

		for (u32 k = 0; k < 2000; k++)
			assert_int_not_equal(find_name(b, ino, "f1"), 0);
		took = seconds() - start;
		best = took < best ? took : best;
	}
	daxfs_branch_put(b);
	return best;
}

/* Walking up the levels would take a hundred times as long at the bottom. */
static void test_deep_lookup(void **state)
{
	double top, bottom;

	(void)state;
	dig_all();
	top = lookup_time("l2", "d2");
	bottom = lookup_time("l128", "d128");
	if (bottom > 10 * top)
		fail_msg("%.0f us at the top, %.0f at the bottom", top * 1e6,
			 bottom * 1e6);
	reg_free(&g);
}

static u32 branches(void)
{
	struct daxfs_region_info i;

	daxfs_region_info(g.r, &i);
	return i.branches;
}

static void test_deep_abort(void **state)
{
	struct daxfs_branch *b;

	(void)state;
	dig_all();
	assert_int_equal(branches(), DEPTH + 2);
	/* a branch half-way down keeps what it stands on */
	assert_int_equal(daxfs_branch_create(g.r, "y", "l64", 0), 0);
	assert_int_equal(daxfs_branch_abort(g.r, "l128"), 0);
	assert_int_equal(branches(), 64 + 3);
	check_level("y", 64);
	check_level("l64", 64);
	assert_int_equal(daxfs_branch_abort(g.r, "y"), 0);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(branches(), 2);
		b = get_branch(&g, "x");
		assert_int_not_equal(find_name(b, ROOT, "sibling"), 0);
		assert_int_equal(find_name(b, ROOT, "d64"), 0);
		make_file(b, ROOT, round ? "again" : "new");
		daxfs_branch_put(b);
		reg_reopen(&g);
	}
	reg_free(&g);
}

/* ---- Limits ----------------------------------------------------------------------- */

#define OPEN_FILES 3000u

static void name_open(char name[16], u32 k)
{
	snprintf(name, 16, "o%u", k);
}

/* Until neither data nor names find room. */
static void fill_region(struct daxfs_branch *b)
{
	static u8 block[65536];
	u64 ino = make_file(b, ROOT, "big"), off = 0;
	char name[16];
	ssize_t n;
	int rc = 0;

	while ((n = daxfs_write(b, ino, block, sizeof(block), off, 0)) > 0)
		off += (u64)n;
	assert_int_equal(n, -ENOSPC);
	for (u32 k = 0; !rc; k++) {
		snprintf(name, sizeof(name), "n%u", k);
		rc = make_any(b, ROOT, name, S_IFREG | 0600, NULL);
	}
	assert_int_equal(rc, -ENOSPC);
}

/* As many as go, open files that the commit has to free first. */
static void unlink_open(struct daxfs_branch *b, u32 count_open)
{
	char name[16];
	int rc = 0;

	for (u32 k = 0; k < count_open && !rc; k++) {
		name_open(name, k);
		rc = daxfs_unlink(b, ROOT, name, strlen(name), NULL);
	}
	assert_true(!rc || rc == -ENOSPC);
}

/* Where the region lies is full too: no free segment can be used. */
static bool host_full;

static int reserve_on_host(void *priv, u64 off, u64 len)
{
	(void)priv;
	(void)off;
	(void)len;
	return host_full ? -ENOSPC : 0;
}

static void open_on_host(void)
{
	struct daxfs_backing bk = { .base = g.mem.base,
				    .size = g.mem.size,
				    .reserve = reserve_on_host };

	daxfs_region_close(g.r);
	if (daxfs_region_open(&bk, 0, &g.r, &g.msg))
		fail_msg("open: %s", g.msg.text);
}

/* It goes all the way or nobody is harmed, whatever else there is room for. */
static void commit_on_full_region(u32 open_files, bool host)
{
	struct shape s = { .size = 4 * MB, .branches = 8, .base = true };
	struct daxfs_branch *p, *b, *x;
	char name[16];
	int rc;

	reg_new(&g, &s);
	open_on_host();
	p = new_branch(&g, "p", "main");
	make_file(p, ROOT, "of-p");
	x = new_branch(&g, "x", "main");
	make_file(x, ROOT, "of-x");
	b = new_branch(&g, "b", "p");
	for (u32 k = 0; k < open_files; k++) {
		name_open(name, k);
		make_file(b, ROOT, name);
	}
	fill_region(b);
	unlink_open(b, open_files);
	host_full = host;
	rc = daxfs_branch_commit(g.r, "b", &g.msg);
	host_full = false;
	assert_int_equal(rc, host ? -ENOSPC : 0);
	assert_int_equal(daxfs_branch_status(b), rc ? 0 : -ESTALE);
	assert_int_equal(daxfs_branch_status(p), rc ? 0 : -ESTALE);
	assert_int_equal(daxfs_branch_status(x), rc ? 0 : -ESTALE);
	if (rc) {
		assert_int_equal(branches(), 4);
		/* with some room it goes */
		assert_int_equal(do_unlink(x, ROOT, "of-x"), 0);
		assert_int_equal(daxfs_branch_delete(g.r, "x"), 0);
		assert_int_equal(do_unlink(b, ROOT, "big"), 0);
		assert_int_equal(daxfs_branch_commit(g.r, "b", &g.msg), 0);
	}
	daxfs_branch_put(p);
	daxfs_branch_put(b);
	daxfs_branch_put(x);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(branches(), 1);
		b = get_branch(&g, "main");
		assert_int_not_equal(find_name(b, ROOT, "of-p"), 0);
		assert_int_equal(find_name(b, ROOT, "of-x"), 0);
		assert_int_equal(find_name(b, ROOT, "big") != 0, !rc);
		daxfs_branch_put(b);
		reg_reopen(&g);
	}
	reg_free(&g);
}

static void test_commit_on_full_region(void **state)
{
	(void)state;
	commit_on_full_region(0, false);
	commit_on_full_region(64, false);
	commit_on_full_region(OPEN_FILES, false);
	commit_on_full_region(OPEN_FILES, true);
}

/* The largest table: all of it is used, in bounded time, and given back. */
static void test_all_branches(void **state)
{
	struct shape s = { .size = 64 * MB, .branches = 65536 };
	struct daxfs_branch_info *v;
	double start = seconds();
	u64 free_before;
	char name[16];
	u32 n;

	(void)state;
	reg_new(&g, &s);
	free_before = reg_free_segments(&g);
	for (u32 k = 1; k < 65536; k++) {
		snprintf(name, sizeof(name), "b%u", k);
		if (daxfs_branch_create(g.r, name, "main", 0))
			fail_msg("cannot create branch %u", k);
	}
	assert_int_equal(daxfs_branch_create(g.r, "more", "main", 0), -ENOSPC);
	reg_reopen(&g);
	assert_int_equal(daxfs_branch_list(g.r, &v, &n), 0);
	assert_int_equal(n, 65536);
	for (u32 k = 1; k < n; k++) {
		snprintf(name, sizeof(name), "b%u", k);
		assert_string_equal(v[k].name, name);
	}
	daxfs_free(v);
	for (u32 k = 1; k < 65536; k++) {
		snprintf(name, sizeof(name), "b%u", k * 40503u % 65536u);
		if (daxfs_branch_delete(g.r, name))
			fail_msg("cannot delete '%s'", name);
	}
	assert_int_equal(branches(), 1);
	assert_int_equal(reg_free_segments(&g), free_before);
	/* far more than it takes, far less than anything quadratic would */
	assert_true(seconds() - start < 30);
	reg_free(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_drop_cut_short),
		cmocka_unit_test(test_deep_renames),
		cmocka_unit_test(test_deep_lookup),
		cmocka_unit_test(test_deep_abort),
		cmocka_unit_test(test_commit_on_full_region),
		cmocka_unit_test(test_all_branches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
