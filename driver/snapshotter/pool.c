/* SPDX-License-Identifier: Apache-2.0 */
/* What the snapshotter asks of the pool. */
#include "pool.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "../common/fault.h"
#include "../common/log.h"
#include "../common/util.h"
#include "pool_client.h"

#define STOP_MS 10000

char *pool_mountpoint(const struct pool *p, int64_t id)
{
	return str_printf("%s/%lld", p->mounts, (long long)id);
}

static int invalid_reply(const char *method, struct failure *f)
{
	return failure_set(f, FAILURE_UNKNOWN, EPROTO,
			   "pool: %s: unexpected answer", method);
}

static json_object *named(const char *key, const char *value)
{
	json_object *o = json_object_new_object();

	if (o)
		json_object_object_add(o, key, json_object_new_string(value));
	return o;
}

/* A call that answers nothing of interest. */
static int simple_call(struct pool *p, const char *method, json_object *params,
		       struct failure *f)
{
	json_object *reply = NULL;
	int rc = pool_call(p, method, params, &reply, f);

	json_object_put(reply);
	return rc;
}

/* ---- The region ---------------------------------------------------------- */

int pool_uuid(struct pool *p, char **uuid, struct failure *f)
{
	json_object *reply = NULL, *region, *o;
	int rc = pool_call(p, "GetRegion", json_object_new_object(), &reply, f);

	if (rc < 0)
		return rc;
	if (json_object_object_get_ex(reply, "region", &region) &&
	    json_object_object_get_ex(region, "uuid", &o) &&
	    json_object_is_type(o, json_type_string)) {
		*uuid = strdup(json_object_get_string(o));
		rc = *uuid ? 0 : failure_no_memory(f);
	} else {
		rc = invalid_reply("GetRegion", f);
	}
	json_object_put(reply);
	return rc;
}

/* 1: some; a positive answer ends the listing. */
static int has_mounts(void *arg, json_object *reply)
{
	json_object *list, *points;

	if (!json_object_object_get_ex(reply, "branches", &list) ||
	    !json_object_is_type(list, json_type_array))
		return invalid_reply("List", arg);
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		json_object *branch = json_object_array_get_idx(list, i);

		if (json_object_object_get_ex(branch, "mountpoints", &points) &&
		    (!json_object_is_type(points, json_type_array) ||
		     json_object_array_length(points)))
			return 1;
	}
	return 0;
}

static int end_process(pid_t pid, struct failure *f)
{
	cleanup_close int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	if (fd < 0 || syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0) < 0)
		return failure_set(f, FAILURE_UNKNOWN, errno,
				   "cannot end daxfs-fuse (process %d): %s",
				   pid, log_err(errno));
	if (poll(&pfd, 1, STOP_MS) == 1)
		return 0;
	return failure_set(f, FAILURE_UNAVAILABLE, ETIMEDOUT,
			   "daxfs-fuse (process %d) does not end", pid);
}

int pool_stop_idle(struct pool *p, struct failure *f)
{
	json_object *region = NULL, *o;
	int rc =
		pool_call(p, "GetRegion", json_object_new_object(), &region, f);

	if (rc == 0)
		rc = pool_call_more(p, "List", json_object_new_object(),
				    has_mounts, f, f);
	if (rc == 0 && json_object_object_get_ex(region, "region", &o) &&
	    json_object_object_get_ex(o, "pid", &o))
		rc = end_process((pid_t)json_object_get_int(o), f);
	json_object_put(region);
	return rc;
}

/* ---- Branches ------------------------------------------------------------ */

/* NULL adds nothing. */
static bool add_meta(json_object *o, const char *meta)
{
	json_object *text = meta ? json_object_new_string(meta) : NULL;

	if (!meta || (text && json_object_object_add(o, "meta", text) == 0))
		return true;
	json_object_put(text);
	return false;
}

static int create_once(struct pool *p, const char *branch, const char *parent,
		       const char *mountpoint, bool readonly, const char *meta,
		       struct failure *f)
{
	json_object *o = named("name", branch);

	if (!o || !add_meta(o, meta)) {
		json_object_put(o);
		return failure_no_memory(f);
	}
	if (parent)
		json_object_object_add(o, "parent",
				       json_object_new_string(parent));
	json_object_object_add(o, "persistent", json_object_new_boolean(true));
	json_object_object_add(o, "readonly",
			       json_object_new_boolean(readonly));
	json_object_object_add(o, "mountpoint",
			       json_object_new_string(mountpoint));
	return simple_call(p, "Create", o, f);
}

/* Dead mounts of an earlier daxfs-fuse go; what lies below them is ours. */
static int make_mountpoint(const char *path, struct failure *f)
{
	while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		log_event(LOG_WARN, "dead mount taken away", "mountpoint", path,
			  NULL);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return failure_set(f, FAILURE_UNKNOWN, errno,
				   "cannot make the mount point %s: %s", path,
				   log_err(errno));
	FAULT_POINT("pool.folder-made");
	return 0;
}

int pool_create(struct pool *p, const char *branch, const char *parent,
		const char *mountpoint, bool readonly, const char *meta,
		struct failure *f)
{
	int rc = make_mountpoint(mountpoint, f);

	if (rc == 0)
		rc = create_once(p, branch, parent, mountpoint, readonly, meta,
				 f);
	if (rc < 0 && f->status == FAILURE_ALREADY_EXISTS) {
		log_event(LOG_WARN, "branch replaced that nobody knows",
			  "branch", branch, NULL);
		rc = pool_delete(p, branch, f);
		if (rc == 0)
			rc = create_once(p, branch, parent, mountpoint,
					 readonly, meta, f);
		else if (rc > 0)
			rc = failure_set(f, FAILURE_UNKNOWN, EBUSY,
					 "pool: branch %s is left over and has "
					 "children",
					 branch);
	}
	if (rc < 0)
		rmdir(mountpoint);
	return rc;
}

int pool_set_quota(struct pool *p, const char *branch, uint64_t bytes,
		   uint64_t inodes, struct failure *f)
{
	json_object *o = named("name", branch);

	if (!o)
		return failure_no_memory(f);
	json_object_object_add(o, "bytes", json_object_new_uint64(bytes));
	json_object_object_add(o, "inodes", json_object_new_uint64(inodes));
	return simple_call(p, "SetQuota", o, f);
}

/* *o is a member of reply, which the caller frees. */
static int get_branch(struct pool *p, const char *branch, json_object **reply,
		      json_object **o, struct failure *f)
{
	int rc = pool_call(p, "Get", named("name", branch), reply, f);

	if (rc == 0 && !json_object_object_get_ex(*reply, "branch", o))
		rc = invalid_reply("Get", f);
	return rc;
}

static bool is_sealed(json_object *branch)
{
	json_object *o;

	return json_object_object_get_ex(branch, "state", &o) &&
	       json_object_is_type(o, json_type_string) &&
	       str_eq(json_object_get_string(o), "sealed");
}

static json_object *named_with_meta(const char *branch, const char *meta)
{
	json_object *o = named("name", branch);

	if (o && add_meta(o, meta))
		return o;
	json_object_put(o);
	return NULL;
}

int pool_set_meta(struct pool *p, const char *branch, const char *meta,
		  struct failure *f)
{
	return simple_call(p, "SetMeta", named_with_meta(branch, meta), f);
}

static bool get_usage(json_object *reply, int64_t *bytes, int64_t *inodes)
{
	json_object *b, *i;

	if (!json_object_object_get_ex(reply, "bytes", &b) ||
	    !json_object_object_get_ex(reply, "inodes", &i))
		return false;
	*bytes = json_object_get_int64(b);
	*inodes = json_object_get_int64(i);
	return true;
}

int pool_seal(struct pool *p, const char *branch, const char *meta,
	      int64_t *bytes, int64_t *inodes, struct failure *f)
{
	json_object *reply = NULL, *state = NULL, *o;
	int rc = pool_call(p, "Seal", named_with_meta(branch, meta), &reply, f);
	bool known = rc == 0 && get_usage(reply, bytes, inodes);
	struct failure ignored;

	/* after a crash, or a repeated call, it may be so already */
	if (rc < 0 && get_branch(p, branch, &state, &o, &ignored) == 0 &&
	    is_sealed(o))
		rc = 0;
	json_object_put(reply);
	json_object_put(state);
	/* an older daxfs-fuse does not say */
	return rc == 0 && !known ? pool_usage(p, branch, bytes, inodes, f) : rc;
}

int pool_delete(struct pool *p, const char *branch, struct failure *f)
{
	json_object *o = named("name", branch);
	int rc;

	if (!o)
		return failure_no_memory(f);
	json_object_object_add(o, "force", json_object_new_boolean(true));
	rc = simple_call(p, "Delete", o, f);
	if (rc < 0 && f->status == FAILURE_NOT_FOUND)
		return 0;
	return rc < 0 && f->err == EBUSY ? 1 : rc;
}

int pool_usage(struct pool *p, const char *branch, int64_t *bytes,
	       int64_t *inodes, struct failure *f)
{
	json_object *reply = NULL;
	int rc = pool_call(p, "Usage", named("name", branch), &reply, f);

	if (rc == 0 && !get_usage(reply, bytes, inodes))
		rc = invalid_reply("Usage", f);
	json_object_put(reply);
	return rc;
}

struct walk {
	int (*fn)(void *arg, const struct pool_branch *b);
	void *arg;
	struct failure *f;
};

static const char *text_of(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) &&
			       json_object_is_type(v, json_type_string)
		       ? json_object_get_string(v)
		       : NULL;
}

static int64_t number_of(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_int64(v)
						     : 0;
}

static bool read_branch(json_object *o, struct pool_branch *b)
{
	*b = (struct pool_branch){
		.name = text_of(o, "name"),
		.id = number_of(o, "id"),
		.sealed = is_sealed(o),
		.bytes = number_of(o, "bytes"),
		.inodes = number_of(o, "inodes"),
		.has_meta = number_of(o, "meta_bytes") > 0,
		.meta_crc = (uint32_t)number_of(o, "meta_crc"),
		.meta = text_of(o, "meta"),
	};
	return b->name;
}

static int walk_some(void *arg, json_object *reply)
{
	const struct walk *w = arg;
	json_object *list;
	int rc = 0;

	if (!json_object_object_get_ex(reply, "branches", &list) ||
	    !json_object_is_type(list, json_type_array))
		return invalid_reply("List", w->f);
	for (size_t i = 0; rc == 0 && i < json_object_array_length(list); i++) {
		struct pool_branch b;

		if (!read_branch(json_object_array_get_idx(list, i), &b))
			return invalid_reply("List", w->f);
		rc = w->fn(w->arg, &b);
	}
	return rc;
}

int pool_walk(struct pool *p, int (*fn)(void *arg, const struct pool_branch *b),
	      void *arg, struct failure *f)
{
	struct walk w = { fn, arg, f };

	return pool_call_more(p, "List", json_object_new_object(), walk_some,
			      &w, f);
}

int pool_walk_meta(struct pool *p,
		   int (*fn)(void *arg, const struct pool_branch *b), void *arg,
		   struct failure *f)
{
	json_object *o = json_object_new_object();
	struct walk w = { fn, arg, f };

	if (o)
		json_object_object_add(o, "with_meta",
				       json_object_new_boolean(true));
	return pool_call_more(p, "List", o, walk_some, &w, f);
}

/* ---- Mounts -------------------------------------------------------------- */

/* Is there a mount? The kernel's word, without asking the file system. */
static bool is_mount(const char *path)
{
	struct statx st;

	return statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_SYMLINK_NOFOLLOW,
		     0, &st) == 0 &&
	       (st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

static bool lists_mountpoint(json_object *branch, const char *path)
{
	json_object *list;

	if (!json_object_object_get_ex(branch, "mountpoints", &list) ||
	    !json_object_is_type(list, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		json_object *o = json_object_array_get_idx(list, i);

		if (json_object_is_type(o, json_type_string) &&
		    str_eq(json_object_get_string(o), path))
			return true;
	}
	return false;
}

/* Mount what was found not to be there. */
static int mount_once(struct pool *p, const char *branch,
		      const char *mountpoint, bool readonly, struct failure *f)
{
	json_object *o = named("name", branch), *reply = NULL;
	int rc;

	if (!o)
		return failure_no_memory(f);
	json_object_object_add(o, "mountpoint",
			       json_object_new_string(mountpoint));
	json_object_object_add(o, "readonly",
			       json_object_new_boolean(readonly));
	json_object_object_add(o, "persistent", json_object_new_boolean(true));
	rc = pool_call_once(p, "Mount", o, &reply, f);
	json_object_put(reply);
	return rc;
}

/* 0: was mounted; 1: is now. */
static int look_and_mount(struct pool *p, const char *branch,
			  const char *mountpoint, bool readonly,
			  struct failure *f)
{
	json_object *reply = NULL, *o;
	struct failure ignored;
	bool known;
	int rc = get_branch(p, branch, &reply, &o, f);

	known = rc == 0 && lists_mountpoint(o, mountpoint);
	json_object_put(reply);
	if (rc < 0 || (known && is_mount(mountpoint)))
		return rc;
	if (known)
		simple_call(p, "Unmount", named("mountpoint", mountpoint),
			    &ignored);
	rc = make_mountpoint(mountpoint, f);
	if (rc == 0)
		rc = mount_once(p, branch, mountpoint, readonly, f);
	return rc < 0 ? -1 : 1;
}

/*
 * Repeated blindly, a call whose answer was lost would put a second mount on
 * top: the successor of a daxfs-fuse that was killed has the first one.
 */
int pool_mount(struct pool *p, const char *branch, const char *mountpoint,
	       bool readonly, struct failure *f)
{
	int rc = -1;

	pthread_mutex_lock(&p->mount_lock);
	for (int i = 0; i < POOL_ATTEMPTS; i++) {
		rc = look_and_mount(p, branch, mountpoint, readonly, f);
		if (rc >= 0 || !pool_call_lost(f))
			break;
	}
	pthread_mutex_unlock(&p->mount_lock);
	return rc;
}

int pool_unmount(struct pool *p, const char *mountpoint, struct failure *f)
{
	json_object *o = named("mountpoint", mountpoint);
	int rc = 0;

	if (!o)
		return failure_no_memory(f);
	json_object_object_add(o, "keep", json_object_new_boolean(true));
	if (is_mount(mountpoint))
		rc = simple_call(p, "Unmount", o, f);
	else
		json_object_put(o);
	/* one that daxfs-fuse does not know, or that died with it */
	if (rc == 0 || is_mount(mountpoint))
		while (umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
			rc = 0;
	FAULT_POINT("pool.unmounted");
	if (rmdir(mountpoint) < 0 && errno != ENOENT)
		return failure_set(f, FAILURE_UNKNOWN, errno,
				   "cannot remove the mount point %s: %s",
				   mountpoint, log_err(errno));
	FAULT_POINT("pool.folder-removed");
	return 0;
}

int pool_walk_mountpoints(struct pool *p,
			  int (*fn)(void *arg, const char *path, int64_t id),
			  void *arg, struct failure *f)
{
	DIR *d = opendir(p->mounts);
	struct dirent *e;
	int rc = 0;

	if (!d)
		return failure_set(f, FAILURE_UNKNOWN, errno,
				   "cannot read %s: %s", p->mounts,
				   log_err(errno));
	while (rc == 0 && (e = readdir(d)) != NULL) {
		cleanup_free char *path = NULL;
		char *end;
		long long id;

		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		id = strtoll(e->d_name, &end, 10);
		path = str_printf("%s/%s", p->mounts, e->d_name);
		if (!path)
			rc = failure_no_memory(f);
		else
			rc = fn(arg, path, *end || id <= 0 ? -1 : id);
	}
	closedir(d);
	return rc;
}
