/* SPDX-License-Identifier: Apache-2.0 */
/* io.daxfs.Snapshots over a snapshotter. */
#ifndef DAXFS_SNAPSHOTTER_API_H
#define DAXFS_SNAPSHOTTER_API_H

#include "../ipc/varlink.h"
#include "snapshotter.h"

/* The interface over `s`, which must outlive it. Filled in, not allocated. */
void snapshots_interface(struct snapshotter *s, struct varlink_interface *out);

#endif
