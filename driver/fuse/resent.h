/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that a server before us may have carried out without answering. Most
 * give the same result twice; these are the others.
 */
#ifndef DAXFS_FUSE_RESENT_H
#define DAXFS_FUSE_RESENT_H

#include "server.h"

struct resent_names {
	u64 dir;
	const char *name;
	u64 newdir;
	const char *newname;
	unsigned flags; /* RENAME_* */
};

/* Has this rename been done? *note is for keep_note_done(), after the answer. */
bool resent_rename(struct mount *m, const struct resent_names *n,
		   struct keep_note *note);
/* An exchange begins: for the server after us. */
void resent_note_exchange(struct mount *m, const struct resent_names *n,
			  struct keep_note *note);
/* One with XATTR_CREATE found the attribute there: 0 if it was this one. */
int resent_setxattr(struct mount *m, u64 ino, const char *name,
		    const void *value, size_t size);

#endif
