/* SPDX-License-Identifier: Apache-2.0 */
#include "stats.h"

#include <errno.h>
#include <linux/fuse.h>

#include "../common/metrics.h"
#include "../common/util.h"
#include "../service/branches_json.h"

#define OPS 64 /* codes of the protocol; CUSE's are beyond */

/* The protocol's names, without its prefix. */
static const char *const op_names[OPS] = {
	[FUSE_LOOKUP] = "lookup",
	[FUSE_FORGET] = "forget",
	[FUSE_GETATTR] = "getattr",
	[FUSE_SETATTR] = "setattr",
	[FUSE_READLINK] = "readlink",
	[FUSE_SYMLINK] = "symlink",
	[FUSE_MKNOD] = "mknod",
	[FUSE_MKDIR] = "mkdir",
	[FUSE_UNLINK] = "unlink",
	[FUSE_RMDIR] = "rmdir",
	[FUSE_RENAME] = "rename",
	[FUSE_LINK] = "link",
	[FUSE_OPEN] = "open",
	[FUSE_READ] = "read",
	[FUSE_WRITE] = "write",
	[FUSE_STATFS] = "statfs",
	[FUSE_RELEASE] = "release",
	[FUSE_FSYNC] = "fsync",
	[FUSE_SETXATTR] = "setxattr",
	[FUSE_GETXATTR] = "getxattr",
	[FUSE_LISTXATTR] = "listxattr",
	[FUSE_REMOVEXATTR] = "removexattr",
	[FUSE_FLUSH] = "flush",
	[FUSE_INIT] = "init",
	[FUSE_OPENDIR] = "opendir",
	[FUSE_READDIR] = "readdir",
	[FUSE_RELEASEDIR] = "releasedir",
	[FUSE_FSYNCDIR] = "fsyncdir",
	[FUSE_CREATE] = "create",
	[FUSE_INTERRUPT] = "interrupt",
	[FUSE_DESTROY] = "destroy",
	[FUSE_BATCH_FORGET] = "batch_forget",
	[FUSE_FALLOCATE] = "fallocate",
	[FUSE_READDIRPLUS] = "readdirplus",
	[FUSE_RENAME2] = "rename2",
	[FUSE_LSEEK] = "lseek",
	[FUSE_COPY_FILE_RANGE] = "copy_file_range",
	[FUSE_SYNCFS] = "syncfs",
	[FUSE_TMPFILE] = "tmpfile",
	[52] = "statx",
};

struct thread_stats {
	struct thread_stats *next; /* set before it is seen */
	/* Written by one thread, read by others. */
	u64 requests[OPS], begun, done;
	u64 read_bytes, written_bytes;
	struct mount *mount; /* of the request in hand */
	unsigned op;
};

static struct thread_stats *threads; /* atomic; they stay */
static __thread struct thread_stats *mine;

static struct metrics_family errors =
	METRICS_FAMILY(METRICS_COUNTER, "", "", "op", "error");

static void add(u64 *counter, u64 n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static u64 get(const u64 *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* Some workers at once may serve a mount. */
static void add_shared(u64 *counter, u64 n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

/* NULL: no memory, and this thread's requests go uncounted. */
static struct thread_stats *own_stats(void)
{
	if (mine)
		return mine;
	mine = calloc(1, sizeof(*mine));
	if (!mine)
		return NULL;
	mine->next = __atomic_load_n(&threads, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&threads, &mine->next, mine, false,
					    __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	return mine;
}

void stats_begin(struct mount *m, const void *request, size_t len)
{
	const struct fuse_in_header *in = request;
	struct thread_stats *t = own_stats();

	if (!t)
		return;
	t->mount = m;
	t->op = in->opcode < OPS ? in->opcode : 0;
	add(&t->requests[t->op], 1);
	add(&t->begun, 1);
	add_shared(&m->requests, 1);
	if (t->op == FUSE_WRITE &&
	    len > sizeof(*in) + sizeof(struct fuse_write_in)) {
		u64 n = len - sizeof(*in) - sizeof(struct fuse_write_in);

		add(&t->written_bytes, n);
		add_shared(&m->written_bytes, n);
	}
}

void stats_end(void)
{
	if (!mine)
		return;
	mine->mount = NULL;
	add(&mine->done, 1);
}

static const char *op_name(unsigned op)
{
	return op_names[op] ? op_names[op] : "other";
}

void stats_answer(const struct iovec *iov)
{
	const struct fuse_out_header *h = iov->iov_base;
	struct thread_stats *t = mine;
	const char *name;

	if (!t || !t->mount || !h->unique)
		return;
	if (h->error) {
		name = strerrorname_np(-h->error);
		metrics_add(&errors, op_name(t->op), name ? name : "other", 1);
	} else if (t->op == FUSE_READ) {
		add(&t->read_bytes, h->len - sizeof(*h));
		add_shared(&t->mount->read_bytes, h->len - sizeof(*h));
	}
}

/* ---- Looking --------------------------------------------------------------- */

static bool add_int(json_object *o, const char *key, u64 value)
{
	return branches_json_add(o, key, json_object_new_int64((int64_t)value));
}

static void sum_up(struct thread_stats *sum)
{
	const struct thread_stats *t =
		__atomic_load_n(&threads, __ATOMIC_ACQUIRE);

	for (; t; t = t->next) {
		/* in this order, so that no more is done than was begun */
		sum->done += get(&t->done);
		sum->begun += get(&t->begun);
		sum->read_bytes += get(&t->read_bytes);
		sum->written_bytes += get(&t->written_bytes);
		for (unsigned i = 0; i < OPS; i++)
			sum->requests[i] += get(&t->requests[i]);
	}
}

static bool add_requests(json_object *front, const struct thread_stats *sum)
{
	json_object *o = json_object_new_object();
	u64 other = 0;
	bool ok = o;

	for (unsigned i = 0; ok && i < OPS; i++) {
		if (!op_names[i])
			other += sum->requests[i];
		else if (sum->requests[i])
			ok = add_int(o, op_names[i], sum->requests[i]);
	}
	if (ok && other)
		ok = add_int(o, "other", other);
	if (ok)
		return branches_json_add(front, "requests", o);
	json_object_put(o);
	return false;
}

struct error_list {
	json_object *array;
	bool ok;
};

static void add_error(void *arg, const char *op, const char *error, u64 n,
		      const u64 *buckets)
{
	json_object *o = json_object_new_object();
	struct error_list *l = arg;

	(void)buckets;
	l->ok = l->ok && o &&
		branches_json_add(o, "op", json_object_new_string(op)) &&
		branches_json_add(o, "error", json_object_new_string(error)) &&
		add_int(o, "count", n) &&
		!json_object_array_add(l->array, json_object_get(o));
	json_object_put(o);
}

static bool add_errors(json_object *front)
{
	struct error_list l = { json_object_new_array(), true };

	if (!l.array)
		return false;
	metrics_walk(&errors, add_error, &l);
	if (l.ok)
		return branches_json_add(front, "errors", l.array);
	json_object_put(l.array);
	return false;
}

static bool add_mount(json_object *array, const struct mount *m)
{
	json_object *o = json_object_new_object();
	bool ok = o &&
		  branches_json_add(o, "branch",
				    json_object_new_string(m->name)) &&
		  add_int(o, "requests", get(&m->requests)) &&
		  add_int(o, "read_bytes", get(&m->read_bytes)) &&
		  add_int(o, "written_bytes", get(&m->written_bytes)) &&
		  !json_object_array_add(array, json_object_get(o));

	json_object_put(o);
	return ok;
}

/* While somebody mounts, the number that was seen last. */
static bool look_at_mounts(struct server *srv, unsigned *count,
			   json_object **mounts)
{
	static unsigned seen;
	unsigned n = 0;
	bool ok = true;

	if (pthread_mutex_trylock(&srv->mount_lock)) {
		*count = __atomic_load_n(&seen, __ATOMIC_RELAXED);
		return true;
	}
	if (mounts)
		*mounts = json_object_new_array();
	for (struct mount *m = srv->mounts; m && ok; m = m->next) {
		n++;
		ok = !mounts || (*mounts && add_mount(*mounts, m));
	}
	pthread_mutex_unlock(&srv->mount_lock);
	__atomic_store_n(&seen, n, __ATOMIC_RELAXED);
	*count = n;
	if (mounts && !ok) {
		json_object_put(*mounts);
		*mounts = NULL;
	}
	return ok;
}

bool stats_json(struct server *srv, json_object *front, json_object **mounts)
{
	struct thread_stats sum = { 0 };
	unsigned count;

	sum_up(&sum);
	return look_at_mounts(srv, &count, mounts) &&
	       add_int(front, "mounts", count) &&
	       add_int(front, "in_flight",
		       sum.begun > sum.done ? sum.begun - sum.done : 0) &&
	       add_int(front, "read_bytes", sum.read_bytes) &&
	       add_int(front, "written_bytes", sum.written_bytes) &&
	       add_requests(front, &sum) && add_errors(front);
}
