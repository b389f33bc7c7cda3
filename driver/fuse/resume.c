/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking over. What the kernel knows of a mount are inode numbers, which mean
 * the same to every server, so a session goes on by being told how it began
 * (FUSE_INIT) and by having the kernel repeat what the dead server had read and
 * not answered. Where the kernel cannot repeat, the keeper has closed the
 * descriptor, and the branch is mounted anew at the places where it was.
 */
#include <fcntl.h>
#include <stdio.h>

#include "../common/fdmsg.h"
#include "../common/log.h"
#include "../common/util.h"
#include "../keeper/keeper.h"
#include "mount.h"
#include "raw.h"

struct kept {
	struct kept *next;
	u64 key;
	int fd;              /* -1: none */
	struct mount *mount; /* with a reference; NULL: it does not go on */
	struct record record;
};

struct resume {
	struct kept *mounts;
	struct keep_note *notes;
	size_t n_notes;
	int region_fd;
	u64 last_note;
};

/* ---- What the keeper has ------------------------------------------------- */

static int add_note(struct resume *r, u64 key, const char *text)
{
	struct keep_note n = { .key = key }, *more;
	unsigned long long v[4];

	if (sscanf(text,
		   "{\"mount\":%llu,\"unique\":%llu,\"a\":%llu,\"b\":%llu}",
		   &v[0], &v[1], &v[2], &v[3]) != 4)
		return -EBADMSG;
	n.serial = v[0];
	n.unique = v[1];
	n.a = v[2];
	n.b = v[3];
	more = reallocarray(r->notes, r->n_notes + 1, sizeof(n));
	if (!more)
		return -ENOMEM;
	r->notes = more;
	r->notes[r->n_notes++] = n;
	if ((key & ~KEEP_NOTES) > r->last_note)
		r->last_note = key & ~KEEP_NOTES;
	return 0;
}

/* One that cannot be read is listed without a record: its mount is to end. */
static int add_mount(struct resume *r, u64 key, const char *text, size_t len,
		     int *fd)
{
	struct kept *k = calloc(1, sizeof(*k));
	int rc = k ? record_read(text, len, &k->record) : -ENOMEM;

	if (!k)
		return rc;
	k->key = key;
	k->fd = rc ? -1 : steal_fd(fd);
	k->next = r->mounts;
	r->mounts = k;
	return rc;
}

static int add_entry(struct resume *r, const struct keeper_message *m,
		     size_t len, int *fd)
{
	cleanup_free char *text = strndup(m->data, len);

	if (!text)
		return -ENOMEM;
	if (m->flags & KEEPER_AUX) {
		if (m->key & KEEP_NOTES)
			return add_note(r, m->key, text);
		if (r->region_fd < 0)
			r->region_fd = steal_fd(fd);
		return 0;
	}
	return add_mount(r, m->key, text, len, fd);
}

int resume_receive(int fd, struct resume **out, struct daxfs_message *msg)
{
	const size_t size = sizeof(struct keeper_message) + KEEPER_DATA_MAX;
	cleanup_free struct keeper_message *m = malloc(size);
	struct resume *r = calloc(1, sizeof(*r));

	*out = r;
	if (!m || !r)
		return message_fail(msg, ENOMEM, "out of memory");
	r->region_fd = -1;
	for (;;) {
		cleanup_close int got = -1;
		ssize_t n = fdmsg_recv(fd, m, size, &got);
		int rc;

		if (n < (ssize_t)sizeof(*m))
			return message_fail(msg, n < 0 ? (int)-n : EPROTO,
					    "no keeper on descriptor %d: %s",
					    fd,
					    log_err(n < 0 ? (int)-n : EPROTO));
		if (m->kind == KEEPER_END)
			return 0;
		rc = add_entry(r, m, (size_t)n - sizeof(*m), &got);
		if (rc)
			log_event(LOG_ERROR, "a mount cannot be taken over",
				  "error", log_err(-rc), NULL);
	}
}

int resume_region(struct resume *r)
{
	return steal_fd(&r->region_fd);
}

void resume_free(struct resume *r)
{
	if (!r)
		return;
	while (r->mounts) {
		struct kept *k = r->mounts;

		r->mounts = k->next;
		util_close_fd(&k->fd);
		record_free(&k->record);
		free(k);
	}
	util_close_fd(&r->region_fd);
	free(r->notes);
	free(r);
}

/* ---- Going on ------------------------------------------------------------ */

static void add_points(struct mount *m, const struct record *r)
{
	size_t i;

	for (i = 0; i < json_object_array_length(r->points); i++) {
		json_object *o = json_object_array_get_idx(r->points, i);
		struct attach_info info;
		json_object *path, *flags;

		if (!json_object_object_get_ex(o, "path", &path) ||
		    attach_info(AT_FDCWD, json_object_get_string(path),
				&info) ||
		    !info.is_root || info.dev_major != m->dev_major ||
		    info.dev_minor != m->dev_minor)
			continue;
		flags = json_object_object_get(o, "flags");
		mount_add_point(m, json_object_get_string(path), info.mnt_id,
				(unsigned)json_object_get_int64(flags));
		m->attached = true;
	}
}

/*
 * Its branch, or the handle of one that has ended: the name may be another's
 * by now. mount_lock.
 */
static int find_branch(struct server *srv, const struct record *r,
		       struct mount **out)
{
	struct mount *m = NULL;
	struct daxfs_branch *b;
	int rc;

	rc = daxfs_branch_get(srv->region, r->branch, &b);
	if (rc && rc != -ENOENT)
		return rc;
	if (!rc) {
		m = mount_new(srv, b);
		if (!m)
			return -ENOMEM;
		if (r->branch_id && m->branch_id != r->branch_id) {
			mount_free(m);
			m = NULL;
		}
	}
	*out = m ? m : mount_new_ended(srv, r->branch);
	return *out ? 0 : -ENOMEM;
}

/* What the server before us may not have told the kernel any more. */
static void tell_changes(struct mount *m)
{
	if (!m->is_main && m->branch_id)
		return;
	mount_get(m);
	notifier_invalidate(m->srv->notifier, m);
}

/* mount_lock. */
static int resume_mount(struct server *srv, struct kept *k)
{
	struct mount *m;
	int rc;

	rc = find_branch(srv, &k->record, &m);
	if (rc)
		return rc;
	m->serial = k->key;
	m->fd = steal_fd(&k->fd);
	m->init = k->record.init;
	m->readonly = k->record.readonly;
	m->noatime = k->record.noatime;
	m->keep = k->record.keep;
	m->attached = k->record.attached;
	m->dev_major = k->record.dev_major;
	m->dev_minor = k->record.dev_minor;
	m->nodes.partial = true;
	rc = session_resume(m);
	if (rc) {
		mount_free(m);
		return rc;
	}
	rc = raw_resend(m);
	/* ENODEV: it was unmounted meanwhile; the loop sees to that */
	if (rc && rc != -ENODEV && rc != -ENOTCONN)
		log_event(LOG_ERROR, "requests may have been lost", "branch",
			  m->name, "error", log_err(-rc), NULL);
	rc = mount_go_on(m);
	if (rc) {
		mount_free(m);
		return rc;
	}
	tell_changes(m);
	k->mount = m;
	return 0;
}

/*
 * All are served before any path is looked at: it may lead through one of them.
 * mount_lock.
 */
static unsigned resume_all(struct server *srv, struct resume *r)
{
	unsigned resumed = 0;
	struct kept *k;

	for (k = r->mounts; k; k = k->next) {
		int rc = k->fd < 0 ? -ENOTCONN : resume_mount(srv, k);

		resumed += !rc;
		if (rc && rc != -ENOTCONN)
			log_event(LOG_ERROR, "a mount cannot go on", "branch",
				  k->record.branch, "error", log_err(-rc),
				  NULL);
		if (rc)
			keep_forget(srv, k->key);
	}
	for (k = r->mounts; k; k = k->next) {
		if (!k->mount)
			continue;
		add_points(k->mount, &k->record);
		mount_put(k->mount);
	}
	return resumed;
}

/* Is it what has that name? */
static bool branch_is(struct server *srv, const struct record *r)
{
	struct daxfs_branch_info info;
	struct daxfs_branch *b;
	int rc = daxfs_branch_get(srv->region, r->branch, &b);

	if (rc)
		return false;
	rc = daxfs_branch_info(b, &info);
	daxfs_branch_put(b);
	return !rc && (!r->branch_id || info.id == r->branch_id);
}

/* Where the old superblock still is, the branch is mounted anew. */
static void mount_anew(struct server *srv, const struct kept *k)
{
	const struct record *r = &k->record;
	size_t i;

	if (!r->json || !branch_is(srv, r))
		return;
	for (i = 0; i < json_object_array_length(r->points); i++) {
		json_object *o = json_object_array_get_idx(r->points, i);
		struct daxfs_message msg = { "" };
		struct attach_info info;
		json_object *p;
		const char *path;
		unsigned flags;

		if (!json_object_object_get_ex(o, "path", &p))
			continue;
		path = json_object_get_string(p);
		if (attach_info(AT_FDCWD, path, &info) || !info.is_root ||
		    info.dev_major != r->dev_major ||
		    info.dev_minor != r->dev_minor || attach_detach(path))
			continue;
		flags = (unsigned)json_object_get_int64(
			json_object_object_get(o, "flags"));
		if (mount_branch(srv, r->branch, path, flags, &msg))
			log_event(LOG_ERROR, "cannot be mounted again",
				  "branch", r->branch, "mountpoint", path,
				  "error", msg.text, NULL);
		else
			log_event(LOG_WARN,
				  "mounted again: what was open is lost",
				  "branch", r->branch, "mountpoint", path,
				  NULL);
	}
}

static void set_serial(struct server *srv, const struct resume *r)
{
	const struct kept *k;

	for (k = r->mounts; k; k = k->next)
		if (k->key > srv->next_serial)
			srv->next_serial = k->key;
}

void resume_mounts(struct server *srv, struct resume *r)
{
	unsigned resumed, anew = 0;
	struct kept *k;

	pthread_mutex_lock(&srv->mount_lock);
	set_serial(srv, r);
	srv->had_mount = true;
	pthread_mutex_lock(&srv->keep.lock);
	srv->keep.next_note = r->last_note;
	srv->keep.notes = steal_ptr(&r->notes);
	srv->keep.n_notes = r->n_notes;
	pthread_mutex_unlock(&srv->keep.lock);
	resumed = resume_all(srv, r);
	pthread_mutex_unlock(&srv->mount_lock);
	for (k = r->mounts; k; k = k->next)
		if (!k->mount) {
			mount_anew(srv, k);
			anew++;
		}
	log_event(LOG_INFO, "took over", "mounts", log_fmt("%u", resumed),
		  "remounted", log_fmt("%u", anew), NULL);
}
