/* SPDX-License-Identifier: Apache-2.0 */
/* Labels: a JSON object of strings. One without a value is not kept. */
#ifndef DAXFS_LABELS_H
#define DAXFS_LABELS_H

#include <json-c/json.h>
#include <stdint.h>

#include "failure.h"

#define LABELS_MAX 1024          /* of one snapshot */
#define LABEL_BYTES 4096u        /* of one label, key and value: containerd's */
#define LABELS_BYTES (96u << 10) /* of all labels of a snapshot, as JSON */

#define LABEL_REF "containerd.io/snapshot.ref"
#define LABEL_LOST "io.daxfs.lost" /* shown, not kept: the branch is gone */
/* containerd hands on what begins with "containerd.io/snapshot/". */
#define LABEL_QUOTA_BYTES "containerd.io/snapshot/io.daxfs.quota.bytes"
#define LABEL_QUOTA_INODES "containerd.io/snapshot/io.daxfs.quota.inodes"

/* What a snapshot's own files may take; 0: no limit. */
struct quota {
	uint64_t bytes, inodes;
};

/* A checked copy of what a client sent (NULL: none). InvalidArgument. */
int labels_copy(json_object *in, json_object **out, struct failure *f);

/*
 * Change `labels` to what the `n` field mask paths take from `in` (checked
 * already): "labels" all, "labels.KEY" one; no path means "labels".
 * InvalidArgument: any other path.
 */
int labels_update(json_object **labels, json_object *in,
		  const char *const *paths, unsigned n, struct failure *f);

/* NULL: absent. */
const char *labels_get(json_object *labels, const char *key);

/* The quota that labels ask for. InvalidArgument: one is no size. */
int labels_quota(json_object *labels, struct quota *out, struct failure *f);

/* As it is stored; borrowed from labels. */
const char *labels_text(json_object *labels);

#endif
