/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What dir.c and rename.c share. */
#ifndef DAXFS_NAMES_H
#define DAXFS_NAMES_H

#include "view.h"

#define LINKS_MAX 0x7fffffffu

/* A name that is to be made: ENAMETOOLONG, ENOENT (empty), EINVAL. */
int check_name(const char *name, size_t len);

/* The number of an inode that is to be made. */
u64 new_inode_number(struct daxfs_region *r);

/* A directory gains (loses) names and subdirectories; in a transaction. */
void dir_changed(const struct daxfs_branch *b, struct dinode *dir, int entries,
		 int subdirs);

#endif
