/* SPDX-License-Identifier: Apache-2.0 */
/* Answers and errors of io.daxfs.Branches. */
#ifndef DAXFS_BRANCHES_REPLY_H
#define DAXFS_BRANCHES_REPLY_H

#include "branches.h"

/* The error's name follows from the errno -rc. */
__attribute__((format(printf, 3, 4))) void
branches_fail(struct varlink_call_ctx *ctx, int rc, const char *fmt, ...);
/* What is wrong with the branch that is named, and what to do. */
void branches_fail_branch(struct varlink_call_ctx *ctx, int rc,
			  const char *name);
/* EBUSY of an operation that live children or a seal are in the way of. */
void branches_fail_children(struct branches_service *s,
			    struct varlink_call_ctx *ctx, const char *name);
void branches_fail_create(struct branches_service *s,
			  struct varlink_call_ctx *ctx, int rc,
			  const char *name, const char *parent);

/* An answer without parameters, or the error. */
void branches_reply_done(struct varlink_call_ctx *ctx, int rc,
			 const char *name);
/* An answer with one member; takes over `value` (NULL: no memory). */
void branches_reply_with(struct varlink_call_ctx *ctx, const char *key,
			 json_object *value);
/* The same for an answer that continues; 0 or -errno. */
int branches_reply_more_with(struct varlink_call_ctx *ctx, const char *key,
			     json_object *value);
void branches_reply_branch(struct branches_service *s,
			   struct varlink_call_ctx *ctx, const char *name);

/* -ENOENT also where it has just ended. */
int branches_get_info(struct branches_service *s, const char *name,
		      struct daxfs_branch_info *info);

#endif
