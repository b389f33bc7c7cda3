/* SPDX-License-Identifier: Apache-2.0 */
/* Mounting through the daxfs-fuse that serves the region already. */
#ifndef DAXFS_FUSE_CLIENT_H
#define DAXFS_FUSE_CLIENT_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

struct mount_request {
	const char *region, *mountpoint; /* absolute */
	const char *state;
	const char *branch;
	const char *parent; /* not NULL: create the branch */
	bool persistent, readonly, noatime;
};

/*
 * 0; 1: nobody listens, or the server is ending; -errno with text in `message`
 * (of `size` bytes).
 */
int client_mount(const struct mount_request *r, char *message, size_t size);

/* Does a server listen? */
bool client_alive(const struct mount_request *r);

/* The parameters of Mount or Create; NULL: no memory. */
json_object *client_parameters(const struct mount_request *r);

/* Wait until what is mounted at `mountpoint` now is there no more. */
int client_wait_gone(const char *mountpoint);

#endif
