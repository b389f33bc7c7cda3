/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io.daxfs.Branches over an open region: the one implementation that daxfs-fuse
 * serves on its control socket and that tools call in their own process
 * (varlink_call_local) when no server has the region.
 */
#ifndef DAXFS_BRANCHES_H
#define DAXFS_BRANCHES_H

#include "../../core/daxfs.h"
#include "../ipc/varlink.h"

#define BRANCHES_MOUNT_READONLY (1u << 0)
#define BRANCHES_MOUNT_NOATIME (1u << 1) /* reading changes no times */

/* What only a mounting process can do. All NULL in a tool: then Mount fails. */
struct branches_mounter {
	/* 0 or -errno with msg; the branch exists. BRANCHES_MOUNT_* */
	int (*mount)(void *arg, const char *branch, const char *mountpoint,
		     unsigned flags, struct daxfs_message *msg);
	/* Detach a mount; keep: do not drop a speculative branch. */
	int (*unmount)(void *arg, const char *mountpoint, bool keep,
		       struct daxfs_message *msg);
	/* Detach all mounts of a branch. */
	int (*unmount_branch)(void *arg, const char *branch);
	/* Append the branch's mountpoints to a JSON array. */
	void (*mountpoints)(void *arg, const char *branch, json_object *array);
	/* Is it mounted, be it only where others have bound it to? */
	bool (*mounted)(void *arg, const char *branch);
	/* Hand the engine what the kernel still holds of a branch's data. */
	int (*flush)(void *arg, const char *branch);
	/*
	 * Branches have ended, and main has changed or not: returns when no
	 * mount shows what was.
	 */
	void (*ended)(void *arg, bool main_changed);
	/*
	 * The front's numbers: an object for "front", and with `mounts` an array
	 * of those of its mounts (NULL: busy). Waits for nobody. False: no memory.
	 */
	bool (*stats)(void *arg, json_object *front, json_object **mounts);
	void *arg;
};

struct branches_service {
	struct daxfs_region *region;
	const char *path; /* of the region, for GetRegion */
	struct branches_mounter mounter;
};

/* The interface over `s`, which must outlive it. Filled in, not allocated. */
void branches_interface(struct branches_service *s,
			struct varlink_interface *out);

#endif
