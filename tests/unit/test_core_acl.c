// SPDX-License-Identifier: Apache-2.0
/* POSIX ACLs: which are valid, what they do to modes, who inherits them. */
#include "core_util.h"

#define ACCESS "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"
#define ANY 0xffffffffu

static struct reg g;
static struct daxfs_branch *b;

/* ---- ACLs as text: "u:7 u5:6 g:5 g9:4 m:7 o:0" --------------------------- */

struct acl {
	u8 v[400];
	u32 len;
};

static void put16(struct acl *a, u32 x)
{
	a->v[a->len++] = (u8)x;
	a->v[a->len++] = (u8)(x >> 8);
}

static void put32(struct acl *a, u32 x)
{
	put16(a, x & 0xffff);
	put16(a, x >> 16);
}

static struct acl acl(const char *s)
{
	struct acl a = { .len = 0 };

	put32(&a, 2);
	while (*s) {
		char kind = *s++;
		bool named = *s != ':';
		char *end = (char *)s;
		u32 id = named ? (u32)strtoul(s, &end, 10) : ANY, tag = 0;

		switch (kind) {
		case 'u':
			tag = named ? 2 : 1;
			break;
		case 'g':
			tag = named ? 8 : 4;
			break;
		case 'm':
			tag = 16;
			break;
		case 'o':
			tag = 32;
			break;
		default:
			tag = 64;
		}
		put16(&a, tag);
		put16(&a, (u32)strtoul(end + 1, &end, 8));
		put32(&a, id);
		s = *end ? end + 1 : end;
	}
	return a;
}

static int set_acl(u64 ino, const char *name, const char *text)
{
	struct acl a = acl(text);

	return daxfs_setxattr(b, ino, name, a.v, a.len, 0);
}

/* text NULL: there is none. */
static void expect(u64 ino, const char *name, const char *text)
{
	struct acl a = acl(text ? text : "");
	u8 got[400];
	ssize_t n = daxfs_getxattr(b, ino, name, got, sizeof(got));

	if (!text) {
		assert_int_equal(n, -ENODATA);
		return;
	}
	assert_int_equal(n, a.len);
	assert_memory_equal(got, a.v, a.len);
}

static u32 mode_of(u64 ino)
{
	return attr_of(b, ino).mode;
}

static int chmod_to(u64 ino, u32 mode)
{
	struct daxfs_attr a = { .mode = mode };

	return daxfs_setattr(b, ino, DAXFS_SET_MODE, &a, NULL);
}

static u64 make(u64 dir, const char *name, u32 mode, u32 umask)
{
	struct daxfs_new n = { .mode = mode, .umask = umask, .target = "t" };
	struct daxfs_attr a;

	assert_int_equal(daxfs_make(b, dir, name, strlen(name), &n, &a), 0);
	assert_int_equal(attr_of(b, a.ino).mode, a.mode);
	return a.ino;
}

static void reopen(void)
{
	daxfs_branch_put(b);
	reg_reopen(&g);
	b = get_branch(&g, "b");
}

static int setup(void **state)
{
	struct shape s = { .size = 16 * MB, .branches = 16, .base = true };

	(void)state;
	reg_new(&g, &s);
	b = new_branch(&g, "b", "main");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	daxfs_branch_put(b);
	reg_free(&g);
	return 0;
}

/* ---- Which are valid ----------------------------------------------------- */

static void test_valid(void **state)
{
	static const struct {
		const char *text;
		bool ok;
	} cases[] = {
		{ "u:7 g:5 o:5", true },
		{ "u:0 g:0 o:0", true },
		{ "u:7 g:5 m:7 o:5", true },
		{ "u:7 u5:6 g:5 m:7 o:5", true },
		{ "u:7 u0:6 g:5 g0:1 m:7 o:5", true },
		/* names need no order, and Linux lets one come twice */
		{ "u:7 u9:6 u5:6 u5:1 g:5 g3:1 g2:1 m:7 o:5", true },
		{ "u:7", false },
		{ "u:7 g:5", false },
		{ "g:5 o:5", false },
		{ "u:7 o:5", false },
		{ "u:7 o:5 g:5", false },
		{ "g:5 u:7 o:5", false },
		{ "u:7 u:7 g:5 o:5", false },
		{ "u:7 g:5 g:5 o:5", false },
		{ "u:7 g:5 o:5 o:5", false },
		{ "u:7 g:5 m:7 m:7 o:5", false },
		{ "u:7 g:5 o:5 m:7", false },
		{ "u:7 u5:6 g:5 o:5", false },
		{ "u:7 g:5 g5:6 o:5", false },
		{ "u5:6 u:7 g:5 m:7 o:5", false },
		{ "u:7 g:5 u5:6 m:7 o:5", false },
		{ "u:7 g5:6 g:5 m:7 o:5", false },
		{ "u:7 g:5 m:7 g5:6 o:5", false },
		{ "u:10 g:5 o:5", false },
		{ "u:7 g:5 o:100000", false },
		{ "u:7 x:7 g:5 o:5", false },
		{ "u:7 u4294967295:6 g:5 m:7 o:5", false },
		{ "u:7 g:5 g4294967295:6 m:7 o:5", false },
	};
	u64 dir = make_dir(b, ROOT, "d");

	(void)state;
	for (u32 k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		int want = cases[k].ok ? 0 : -EINVAL;

		if (set_acl(dir, ACCESS, cases[k].text) != want ||
		    set_acl(dir, DEFAULT, cases[k].text) != want)
			fail_msg("%s", cases[k].text);
	}
	reopen();
}

static void test_form(void **state)
{
	struct acl a = acl("u:7 u5:6 g:5 m:7 o:5");
	static u8 big[65536];
	u64 ino = make_file(b, ROOT, "f"), dir = make_dir(b, ROOT, "d");

	(void)state;
	for (u32 len = 1; len < a.len; len++)
		assert_int_equal(daxfs_setxattr(b, ino, ACCESS, a.v, len, 0),
				 len == 4 ? 0 : -EINVAL);
	for (u32 version = 0; version < 4; version++) {
		a.v[0] = (u8)version;
		assert_int_equal(daxfs_setxattr(b, ino, ACCESS, a.v, a.len, 0),
				 version == 2 ? 0 : -EINVAL);
	}
	/* ids of entries that have none are stored as such */
	a = acl("u:7 u5:6 g:5 m:7 o:5");
	memset(a.v + 8, 0, 4);
	memset(a.v + 24, 1, 4);
	memset(a.v + 40, 2, 4);
	assert_int_equal(daxfs_setxattr(b, ino, ACCESS, a.v, a.len, 0), 0);
	expect(ino, ACCESS, "u:7 u5:6 g:5 m:7 o:5");
	/* the largest there may be, also to inherit, and one more */
	memcpy(big, a.v, 12);
	for (u32 k = 0; k < 2043; k++)
		memcpy(big + 12 + 8 * k, a.v + 12, 8);
	memcpy(big + 12 + 8 * 2043, a.v + 20, 24);
	assert_int_equal(daxfs_setxattr(b, dir, DEFAULT, big, 4 + 8 * 2047, 0),
			 0);
	ino = make(dir, "d", S_IFDIR | 0777, 0);
	assert_int_equal(daxfs_getxattr(b, ino, DEFAULT, NULL, 0),
			 4 + 8 * 2047);
	assert_int_equal(daxfs_getxattr(b, ino, ACCESS, NULL, 0), 4 + 8 * 2047);
	assert_int_equal(daxfs_setxattr(b, dir, DEFAULT, big, 4 + 8 * 2048, 0),
			 -E2BIG);
	reopen();
	assert_int_equal(daxfs_getxattr(b, ino, DEFAULT, NULL, 0),
			 4 + 8 * 2047);
}

static void test_kinds(void **state)
{
	const char *text = "u:7 u5:6 g:5 m:7 o:5";
	u64 f = make_file(b, ROOT, "f");

	(void)state;
	assert_int_equal(set_acl(f, DEFAULT, text), -EACCES);
	assert_int_equal(set_acl(f, DEFAULT, ""), 0);
	assert_int_equal(daxfs_removexattr(b, f, DEFAULT), 0);
	assert_int_equal(daxfs_removexattr(b, f, ACCESS), 0);
	assert_int_equal(set_acl(B_LINK, ACCESS, text), -EOPNOTSUPP);
	assert_int_equal(set_acl(B_LINK, DEFAULT, text), -EOPNOTSUPP);
	assert_int_equal(daxfs_getxattr(b, B_LINK, ACCESS, NULL, 0),
			 -EOPNOTSUPP);
	assert_int_equal(daxfs_removexattr(b, B_LINK, ACCESS), -EOPNOTSUPP);
	assert_int_equal(set_acl(B_DEV, ACCESS, text), 0);
	assert_int_equal(set_acl(9999, ACCESS, text), -ENOENT);
	/* names that are not quite those are like any others */
	assert_int_equal(daxfs_setxattr(b, f, "system.posix_acl_acces", "x", 1,
					0),
			 0);
	assert_int_equal(daxfs_setxattr(b, f, "system.posix_acl_access2", "x",
					1, 0),
			 0);
}

/* ---- ACLs and modes ------------------------------------------------------ */

static void test_mode(void **state)
{
	u64 f = make(ROOT, "f", S_IFREG | 06644, 0);
	char list[100];

	(void)state;
	/* one that says no more than the mode is the mode */
	assert_int_equal(set_acl(f, ACCESS, "u:7 g:5 o:1"), 0);
	expect(f, ACCESS, NULL);
	assert_int_equal(mode_of(f), S_IFREG | 06751);
	assert_int_equal(set_acl(f, ACCESS, "u:6 u5:7 g:7 m:5 o:0"), 0);
	assert_int_equal(mode_of(f), S_IFREG | 06650);
	expect(f, ACCESS, "u:6 u5:7 g:7 m:5 o:0");
	assert_int_equal(daxfs_listxattr(b, f, list, sizeof(list)),
			 sizeof(ACCESS));
	/* chmod changes owner, mask, others */
	assert_int_equal(chmod_to(f, 04721), 0);
	reopen();
	expect(f, ACCESS, "u:7 u5:7 g:7 m:2 o:1");
	assert_int_equal(mode_of(f), S_IFREG | 04721);
	/* and others leave it alone */
	assert_int_equal(daxfs_write(b, f, "x", 1, 0, DAXFS_WRITE_KILLPRIV), 1);
	expect(f, ACCESS, "u:7 u5:7 g:7 m:2 o:1");
	assert_int_equal(mode_of(f), S_IFREG | 0721);
	/* a mask without names is kept */
	assert_int_equal(set_acl(f, ACCESS, "u:7 g:7 m:5 o:1"), 0);
	expect(f, ACCESS, "u:7 g:7 m:5 o:1");
	assert_int_equal(mode_of(f), S_IFREG | 0751);
	assert_int_equal(daxfs_removexattr(b, f, ACCESS), 0);
	expect(f, ACCESS, NULL);
	assert_int_equal(mode_of(f), S_IFREG | 0751);
	assert_int_equal(chmod_to(f, 0640), 0);
	expect(f, ACCESS, NULL);
	/* setgid */
	assert_int_equal(chmod_to(f, 02775), 0);
	assert_int_equal(set_acl(f, ACCESS, "u:7 u5:7 g:7 m:5 o:0"), 0);
	assert_int_equal(mode_of(f), S_IFREG | 02750);
	assert_int_equal(daxfs_setxattr(b, f, ACCESS, acl("u:7 g:7 o:0").v, 28,
					DAXFS_XATTR_KILL_SGID),
			 0);
	assert_int_equal(mode_of(f), S_IFREG | 0770);
	expect(f, ACCESS, NULL);
}

static void test_inherit(void **state)
{
	static const struct {
		const char *dfl; /* NULL: none */
		u32 mode, umask, want;
		const char *access;
	} cases[] = {
		{ NULL, 0666, 022, 0644, NULL },
		{ NULL, 07777, 07077, 07700, NULL },
		/* the umask does not count */
		{ "u:7 g:7 o:7", 0666, 077, 0666, NULL },
		{ "u:7 g:5 o:0", 0666, 0, 0640, NULL },
		{ "u:7 g:5 o:0", 04777, 0, 04750, NULL },
		{ "u:0 g:0 o:0", 0777, 0, 0, NULL },
		{ "u:7 u5:7 g:7 m:7 o:7", 0640, 0777, 0640,
		  "u:6 u5:7 g:7 m:4 o:0" },
		{ "u:7 u5:7 g:7 g6:7 m:5 o:4", 0666, 0, 0644,
		  "u:6 u5:7 g:7 g6:7 m:4 o:4" },
		{ "u:6 g:7 m:1 o:4", 0777, 0, 0614, "u:6 g:7 m:1 o:4" },
	};
	static const u32 kinds[] = { S_IFREG, S_IFDIR,  S_IFCHR,
				     S_IFIFO, S_IFSOCK, S_IFLNK };
	u64 dir = make_dir(b, ROOT, "d");
	char name[16];

	(void)state;
	for (u32 k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		assert_int_equal(set_acl(dir, DEFAULT,
					 cases[k].dfl ? cases[k].dfl : ""),
				 0);
		for (u32 t = 0; t < 6; t++) {
			u32 kind = kinds[t], want = cases[k].want;
			bool sl = kind == S_IFLNK;
			u64 ino;

			snprintf(name, sizeof(name), "%u.%u", k, t);
			ino = make(dir, name, kind | cases[k].mode,
				   cases[k].umask);
			assert_int_equal(mode_of(ino),
					 kind | (sl ? cases[k].mode : want));
			if (sl)
				continue;
			expect(ino, ACCESS, cases[k].access);
			expect(ino, DEFAULT,
			       kind == S_IFDIR ? cases[k].dfl : NULL);
		}
	}
	reopen();
	for (u32 k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		snprintf(name, sizeof(name), "%u.1", k);
		expect(find_name(b, dir, name), DEFAULT, cases[k].dfl);
		expect(find_name(b, dir, name), ACCESS, cases[k].access);
	}
}

/* With setgid, and for files without a name. */
static void test_inherit_more(void **state)
{
	struct daxfs_new n = { .mode = S_IFREG | 0666, .umask = 077, .gid = 7 };
	struct daxfs_attr at = { .gid = 50 };
	u64 dir = make(ROOT, "d", S_IFDIR | 02777, 0), sub;

	(void)state;
	assert_int_equal(daxfs_setattr(b, dir, DAXFS_SET_GID, &at, NULL), 0);
	assert_int_equal(set_acl(dir, DEFAULT, "u:7 u5:7 g:7 m:7 o:5"), 0);
	sub = make(dir, "sub", S_IFDIR | 0777, 077);
	assert_int_equal(mode_of(sub), S_IFDIR | 02775);
	assert_int_equal(attr_of(b, sub).gid, 50);
	assert_int_equal(daxfs_tmpfile(b, sub, &n, 0, &at), 0);
	assert_int_equal(at.mode, S_IFREG | 0664);
	assert_int_equal(at.gid, 50);
	expect(at.ino, ACCESS, "u:6 u5:7 g:7 m:6 o:4");
	assert_int_equal(daxfs_link(b, at.ino, ROOT, "t", 1, NULL), 0);
	reopen();
	expect(find_name(b, ROOT, "t"), ACCESS, "u:6 u5:7 g:7 m:6 o:4");
	/* a name that a directory keeps does not bring its ACL along */
	assert_int_equal(do_rename(b, dir, "sub", ROOT, "sub2", 0), 0);
	expect(sub, DEFAULT, "u:7 u5:7 g:7 m:7 o:5");
	assert_int_equal(daxfs_removexattr(b, sub, DEFAULT), 0);
	expect(sub, DEFAULT, NULL);
	assert_int_equal(mode_of(make(sub, "x", S_IFREG | 0666, 027)),
			 S_IFREG | 0640);
}

/* ---- In base images ------------------------------------------------------ */

static struct daxfs_base_inode *raw(u32 ino)
{
	return (struct daxfs_base_inode *)(g.mem.base + daxfs_base_start(16) +
					   4096) +
	       (ino - 1);
}

/* A list of one attribute for a base inode; returns what opening says. */
static int base_with(u32 ino, const char *name, const void *v, u32 len)
{
	struct shape s = { .size = 16 * MB, .branches = 16, .base = true };
	struct daxfs_base_super *sup;
	u64 used;
	u8 *p, *q;

	memset(&g, 0, sizeof(g));
	mem_new(&g.mem, s.size);
	reg_format(g.mem.base, &s);
	sup = (void *)(g.mem.base + daxfs_base_start(16));
	used = le64toh(sup->xattr_size);
	p = (u8 *)sup + le64toh(sup->xattr_offset) + used;
	q = base_xattr_put(p, name, v, len);
	sup->xattr_size = htole64(used + (u64)(q - p));
	raw(ino)->xattr_ref = htole32((u32)(used / 8 + 1));
	raw(ino)->xattr_len = htole32((u32)(q - p));
	return reg_open(&g, DAXFS_OPEN_VALIDATE);
}

static void test_base(void **state)
{
	struct acl a = acl("u:7 u5:7 g:5 m:5 o:0");
	u64 ino;

	(void)state;
	assert_int_equal(base_with(B_DIR, DEFAULT, a.v, a.len), 0);
	b = new_branch(&g, "b", "main");
	ino = make(B_DIR, "new", S_IFDIR | 0777, 077);
	assert_int_equal(mode_of(ino), S_IFDIR | 0750);
	expect(ino, DEFAULT, "u:7 u5:7 g:5 m:5 o:0");
	expect(ino, ACCESS, "u:7 u5:7 g:5 m:5 o:0");
	assert_int_equal(daxfs_removexattr(b, B_DIR, DEFAULT), 0);
	reopen();
	expect(B_DIR, DEFAULT, NULL);
	ino = make(B_DIR, "new2", S_IFDIR | 0777, 077);
	assert_int_equal(mode_of(ino), S_IFDIR | 0700);
	expect(ino, DEFAULT, NULL);
	teardown(state);
	assert_int_equal(base_with(B_DIR, ACCESS, a.v, a.len), 0);
	b = new_branch(&g, "b", "main");
	assert_int_equal(chmod_to(B_DIR, 0711), 0);
	reopen();
	expect(B_DIR, ACCESS, "u:7 u5:7 g:5 m:1 o:1");
	assert_int_equal(set_acl(B_DIR, ACCESS, "u:7 g:5 o:5"), 0);
	expect(B_DIR, ACCESS, NULL);
	teardown(state);
	/* one that says what the mode says goes with the next change */
	a = acl("u:7 g:5 o:5");
	assert_int_equal(base_with(B_DIR, ACCESS, a.v, a.len), 0);
	b = new_branch(&g, "b", "main");
	expect(B_DIR, ACCESS, "u:7 g:5 o:5");
	assert_int_equal(chmod_to(B_DIR, 0711), 0);
	expect(B_DIR, ACCESS, NULL);
	teardown(state);
}

/* What is no ACL is said to be damage where it would count, and can go. */
static void test_bad_base(void **state)
{
	struct daxfs_new n = { .mode = S_IFREG | 0666 };

	(void)state;
	assert_int_equal(base_with(B_DIR, DEFAULT, "\2\0\0\0xyz", 7), 0);
	b = new_branch(&g, "b", "main");
	assert_int_equal(daxfs_make(b, B_DIR, "x", 1, &n, NULL), -EUCLEAN);
	assert_int_equal(find_name(b, B_DIR, "x"), 0);
	assert_int_equal(daxfs_removexattr(b, B_DIR, DEFAULT), 0);
	assert_int_equal(daxfs_make(b, B_DIR, "x", 1, &n, NULL), 0);
	teardown(state);
	assert_int_equal(base_with(B_DIR, ACCESS, "\3\0\0\0", 4), 0);
	b = new_branch(&g, "b", "main");
	assert_int_equal(chmod_to(B_DIR, 0700), -EUCLEAN);
	assert_int_equal(set_acl(B_DIR, ACCESS, "u:7 g:5 o:5"), 0);
	assert_int_equal(chmod_to(B_DIR, 0700), 0);
	teardown(state);
}

/* Shared lists are fine; lists that overlap would cost time without bound. */
static void test_base_lists(void **state)
{
	struct acl a = acl("u:7 u5:7 g:5 m:5 o:0");

	(void)state;
	assert_int_equal(base_with(B_DIR, DEFAULT, a.v, a.len), 0);
	for (u32 ino = B_FIRST; ino <= B_COUNT; ino++) {
		raw(ino)->xattr_ref = raw(B_DIR)->xattr_ref;
		raw(ino)->xattr_len = raw(B_DIR)->xattr_len;
	}
	raw(B_MANY)->xattr_ref = raw(B_FILE)->xattr_ref;
	raw(B_MANY)->xattr_len = raw(B_FILE)->xattr_len;
	reg_reopen(&g);
	/* the second of two attributes alone, and a list longer than another */
	raw(B_MANY)->xattr_ref = htole32(1 + 3);
	raw(B_MANY)->xattr_len = htole32(le32toh(raw(B_FILE)->xattr_len) - 24);
	daxfs_region_close(g.r);
	assert_int_equal(reg_open(&g, 0), -EUCLEAN);
	assert_non_null(strstr(g.msg.text, "overlaps another"));
	raw(B_MANY)->xattr_ref = raw(B_FILE)->xattr_ref;
	raw(B_MANY)->xattr_len = htole32(24);
	assert_int_equal(reg_open(&g, 0), -EUCLEAN);
	raw(B_MANY)->xattr_ref = 0;
	assert_int_equal(reg_open(&g, 0), 0);
	reg_free(&g);
}

static void test_no_space(void **state)
{
	static u8 page[65536];
	u64 dir = make_dir(b, ROOT, "d"), hog = make_file(b, ROOT, "hog"), n;
	struct daxfs_new new = { .mode = S_IFDIR | 0777 };
	u64 off = 0, bytes, inodes, bytes2, inodes2;
	int rc = 0;

	(void)state;
	assert_int_equal(set_acl(dir, DEFAULT, "u:7 u5:7 g:5 m:5 o:0"), 0);
	for (size_t len = sizeof(page); len; len /= 2)
		while (daxfs_write(b, hog, page, len, off, 0) > 0)
			off += len;
	for (n = 0; !rc; n++) {
		char name[24];

		snprintf(name, sizeof(name), "%llu", (unsigned long long)n);
		assert_int_equal(daxfs_usage(b, &bytes, &inodes), 0);
		rc = daxfs_make(b, dir, name, strlen(name), &new, NULL);
	}
	assert_int_equal(rc, -ENOSPC);
	assert_int_equal(daxfs_usage(b, &bytes2, &inodes2), 0);
	assert_int_equal(bytes, bytes2);
	assert_int_equal(inodes, inodes2);
	assert_int_equal(attr_of(b, dir).nlink, 2 + n - 1);
	assert_int_equal(chmod_to(dir, 0700), -ENOSPC);
	assert_int_equal(set_acl(dir, ACCESS, "u:0 g:0 o:0"), -ENOSPC);
	assert_int_equal(mode_of(dir), S_IFDIR | 0755);
	assert_int_equal(daxfs_removexattr(b, dir, DEFAULT), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_valid),
		T(test_form),
		T(test_kinds),
		T(test_mode),
		T(test_inherit),
		T(test_inherit_more),
		cmocka_unit_test(test_base),
		cmocka_unit_test(test_bad_base),
		cmocka_unit_test(test_base_lists),
		T(test_no_space),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
