/* SPDX-License-Identifier: Apache-2.0 */
/* What driver/fuse/raw.c reads from requests, whole and cut short. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <linux/fuse.h>
#include <string.h>

#include "../../driver/fuse/raw.h"

/* A request in memory of exactly its size, for the sanitizer to watch. */
static struct fuse_in_header *request(uint32_t opcode, const void *args,
				      size_t len)
{
	struct fuse_in_header *in = malloc(sizeof(*in) + len);

	assert_non_null(in);
	*in = (struct fuse_in_header){
		.len = (uint32_t)(sizeof(*in) + len),
		.opcode = opcode,
		.unique = 6,
		.nodeid = 77,
	};
	if (len)
		memcpy(in + 1, args, len);
	return in;
}

/* The flags that are found in the first `len` bytes of a request's arguments. */
static uint32_t flags_in(struct mount *m, uint32_t opcode, const void *args,
			 size_t len)
{
	struct fuse_in_header *in = request(opcode, args, len);
	size_t n = in->len;

	raw_look(m, in, &n);
	free(in);
	return raw_flags();
}

static void test_init(void **state)
{
	struct fuse_init_in init = {
		.flags = FUSE_HANDLE_KILLPRIV_V2 | FUSE_ASYNC_READ,
	};
	struct mount m = { 0 };

	(void)state;
	flags_in(&m, FUSE_INIT, &init, sizeof(init));
	assert_int_equal(m.init_flags, FUSE_HANDLE_KILLPRIV_V2);
	assert_int_equal(m.init.request_len,
			 sizeof(struct fuse_in_header) + sizeof(init));
	assert_false(m.resumable);
	/* The short form of old kernels. */
	init.flags = FUSE_SETXATTR_EXT;
	flags_in(&m, FUSE_INIT, &init, 16);
	assert_int_equal(m.init_flags, FUSE_SETXATTR_EXT);
	m.init.request_len = 0;
	flags_in(&m, FUSE_INIT, &init, 15);
	assert_int_equal(m.init.request_len, 0);
}

/* Who repeats requests can have another server; main's names must end, too. */
static void test_resumable(void **state)
{
	struct fuse_init_in init = {
		.minor = 43,
		.flags = FUSE_INIT_EXT,
		.flags2 = 1u << 7, /* HAS_RESEND */
	};
	struct mount m = { 0 };

	(void)state;
	flags_in(&m, FUSE_INIT, &init, sizeof(init));
	assert_true(m.resumable);
	m.is_main = true;
	flags_in(&m, FUSE_INIT, &init, sizeof(init));
	assert_false(m.resumable);
	init.minor = 44;
	flags_in(&m, FUSE_INIT, &init, sizeof(init));
	assert_true(m.resumable);
	init.flags = 0;
	flags_in(&m, FUSE_INIT, &init, sizeof(init));
	assert_false(m.resumable);
	init.flags = FUSE_INIT_EXT;
	flags_in(&m, FUSE_INIT, &init, 20);
	assert_false(m.resumable);
}

/* The mark of a repetition is no part of the number. */
static void test_resent(void **state)
{
	struct fuse_in_header *in = request(FUSE_GETATTR, NULL, 0);
	struct mount m = { 0 };
	size_t n = in->len;

	(void)state;
	raw_look(&m, in, &n);
	assert_false(raw_resent());
	assert_int_equal(raw_unique(), 6);
	in->unique |= UINT64_C(1) << 63;
	raw_look(&m, in, &n);
	assert_true(raw_resent());
	assert_int_equal(raw_unique(), 6);
	free(in);
}

static void test_flags(void **state)
{
	struct fuse_write_in w = { .write_flags = FUSE_WRITE_KILL_SUIDGID };
	struct fuse_read_in r = { .flags = 01000000 };
	struct mount m = { 0 };

	(void)state;
	assert_int_equal(flags_in(&m, FUSE_WRITE, &w, sizeof(w)),
			 FUSE_WRITE_KILL_SUIDGID);
	assert_int_equal(flags_in(&m, FUSE_WRITE, &w, sizeof(w) - 1), 0);
	assert_int_equal(flags_in(&m, FUSE_READ, &r, sizeof(r)), 01000000);
	assert_int_equal(flags_in(&m, FUSE_READDIRPLUS, &r, sizeof(r)),
			 01000000);
	assert_int_equal(flags_in(&m, FUSE_READ, NULL, 0), 0);
	assert_int_equal(flags_in(&m, FUSE_GETATTR, &w, sizeof(w)), 0);
}

static void test_setxattr(void **state)
{
	struct {
		struct fuse_setxattr_in x;
		char name[8];
		char value[3];
	} args = {
		.x = { .size = 3,
		       .flags = 1,
		       .setxattr_flags = FUSE_SETXATTR_ACL_KILL_SGID },
		.name = "user.ab",
		.value = "xyz",
	};
	const size_t len = offsetof(typeof(args), value) + 3;
	struct mount m = { .init_flags = FUSE_SETXATTR_EXT };
	struct fuse_in_header *in = request(FUSE_SETXATTR, &args, len), *out;
	size_t n = in->len, cut;

	(void)state;
	out = raw_look(&m, in, &n);
	assert_int_equal(raw_flags(), FUSE_SETXATTR_ACL_KILL_SGID);
	assert_int_equal(n, sizeof(*in) + len - 8);
	assert_int_equal(out->len, n);
	assert_int_equal(out->nodeid, 77);
	assert_int_equal(((uint32_t *)(out + 1))[0], 3);
	assert_int_equal(((uint32_t *)(out + 1))[1], 1);
	assert_memory_equal((char *)(out + 1) + 8, "user.ab\0xyz", 11);
	free(in);

	for (cut = 0; cut < sizeof(args.x); cut++)
		assert_int_equal(flags_in(&m, FUSE_SETXATTR, &args, cut), 0);

	/* Not agreed on: the name begins where the flags would be. */
	m.init_flags = 0;
	in = request(FUSE_SETXATTR, &args, len);
	n = in->len;
	assert_ptr_equal(raw_look(&m, in, &n), in);
	assert_int_equal(n, sizeof(*in) + len);
	assert_int_equal(raw_flags(), 0);
	free(in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_init),
		cmocka_unit_test(test_resumable),
		cmocka_unit_test(test_resent),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_setxattr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
