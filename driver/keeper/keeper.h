/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What daxfs-fuse and its keeper say to each other, over a SOCK_SEQPACKET pair.
 *
 * daxfs-keeper holds a copy of each /dev/fuse descriptor of a daxfs-fuse, so
 * that mounts outlive their server. When the server is gone it starts the next
 * one and hands over all it holds. It understands nothing of what it keeps, so
 * that one keeper serves servers of any later version: these structures and
 * numbers do not change.
 *
 * Server to keeper: PROGRAM once, then PUT, DROP, LEAVE. Keeper to a new server:
 * a PUT for each entry, then END; after that the new server speaks as the first
 * one did.
 *
 * Descriptor 3 of a new server is its end of the pair.
 */
#ifndef DAXFS_KEEPER_H
#define DAXFS_KEEPER_H

#include <stdint.h>

#define KEEPER_FD 3
#define KEEPER_DATA_MAX 60000u
#define KEEPER_ENTRIES_MAX 65536u
#define KEEPER_ARGS_MAX 64u

enum keeper_kind {
	KEEPER_PUT = 1,   /* new or changed; a descriptor comes with it once */
	KEEPER_DROP = 2,  /* forget, close */
	KEEPER_LEAVE = 3, /* the server ends, all requests are answered */
	KEEPER_END = 4,   /* no more entries */
	/*
	 * What to run next, as strings that end with NUL. Of the keeper's own
	 * log: "text" or "json", its path ("": stderr as it is), the size at
	 * which it begins anew; then the program's path and its arguments.
	 */
	KEEPER_PROGRAM = 5,
};

/* The descriptor stays open though the server was killed. */
#define KEEPER_RESUME 1u
/* Kept for the others' sake: where nothing else is, there is nothing to do. */
#define KEEPER_AUX 2u

struct keeper_message {
	uint32_t kind;  /* enum keeper_kind */
	uint32_t flags; /* KEEPER_*, of PUT */
	uint64_t key;   /* of PUT and DROP; the server's choice */
	char data[];    /* of PUT and PROGRAM, up to KEEPER_DATA_MAX bytes */
};

_Static_assert(sizeof(struct keeper_message) == 16, "fixed for ever");

#endif
