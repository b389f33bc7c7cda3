/* SPDX-License-Identifier: Apache-2.0 */
#include "resent.h"

#include <linux/fs.h>
#include <string.h>

#include "../common/util.h"
#include "raw.h"

static u64 inode_of(struct mount *m, u64 dir, const char *name,
		    struct daxfs_attr *a)
{
	return daxfs_lookup(m->branch, dir, name, strlen(name), a) ? 0 : a->ino;
}

/* Take the note that a server before us made of this request. */
static bool take_note(struct mount *m, struct keep_note *out)
{
	struct server *srv = m->srv;
	bool found = false;
	size_t i;

	pthread_mutex_lock(&srv->keep.lock);
	for (i = 0; i < srv->keep.n_notes && !found; i++) {
		struct keep_note *n = &srv->keep.notes[i];

		if (n->serial != m->serial || n->unique != raw_unique())
			continue;
		*out = *n;
		*n = srv->keep.notes[--srv->keep.n_notes];
		found = true;
	}
	pthread_mutex_unlock(&srv->keep.lock);
	return found;
}

static bool exchanged(struct mount *m, const struct resent_names *n,
		      struct keep_note *note)
{
	struct daxfs_attr a;

	if (!take_note(m, note))
		return false; /* it did not come so far */
	if (inode_of(m, n->dir, n->name, &a) == note->b &&
	    inode_of(m, n->newdir, n->newname, &a) == note->a)
		return true;
	keep_note_done(m->srv, note); /* the next try makes another */
	return false;
}

bool resent_rename(struct mount *m, const struct resent_names *n,
		   struct keep_note *note)
{
	struct daxfs_attr a;

	if (n->flags & RENAME_EXCHANGE)
		return exchanged(m, n, note);
	if (!inode_of(m, n->dir, n->name, &a))
		return true;
	/* moving a whiteout that leaves a whiteout changes nothing */
	return (n->flags & RENAME_WHITEOUT) && S_ISCHR(a.mode) && !a.rdev;
}

void resent_note_exchange(struct mount *m, const struct resent_names *n,
			  struct keep_note *note)
{
	struct daxfs_attr a;

	*note = (struct keep_note){
		.serial = m->serial,
		.unique = raw_unique(),
		.a = inode_of(m, n->dir, n->name, &a),
		.b = inode_of(m, n->newdir, n->newname, &a),
	};
	keep_note(m->srv, note);
}

int resent_setxattr(struct mount *m, u64 ino, const char *name,
		    const void *value, size_t size)
{
	cleanup_free char *there = malloc(size + 1);
	ssize_t n;

	if (!there)
		return -ENOMEM;
	n = daxfs_getxattr(m->branch, ino, name, there, size + 1);
	return n == (ssize_t)size && !memcmp(there, value, size) ? 0 : -EEXIST;
}
