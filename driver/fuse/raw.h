/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as bytes: what libfuse 3.14 does not know of them. */
#ifndef DAXFS_FUSE_RAW_H
#define DAXFS_FUSE_RAW_H

#include "server.h"

/*
 * Look at a request of *len bytes, at least a header, before libfuse does.
 * Returns where libfuse finds it, in the same buffer, and its length then.
 */
void *raw_look(struct mount *m, void *request, size_t *len);

/*
 * Flags of the request that this thread serves: of the open file for READ and
 * READDIR, FUSE_WRITE_*, FUSE_SETXATTR_*; 0 for others.
 */
uint32_t raw_flags(void);

/* Its number, without the mark of a repetition. */
u64 raw_unique(void);

/*
 * Was it sent before, to a server that died with it? It may have been carried
 * out. What it changes nobody else has changed since: the kernel holds the
 * locks of a directory or file until it is answered.
 */
bool raw_resent(void);

/*
 * Have the kernel send again what a server before us left unanswered. Before we
 * read any request, for it sends all again that were read.
 */
int raw_resend(struct mount *m);

/* Have the kernel look all names up anew. */
int raw_expire_names(struct mount *m);

/* Answer a request that libfuse does not know. False: it is none of these. */
bool raw_serve(struct mount *m, const void *request, size_t len);

#endif
