/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which region is the pool at this start. ROOT/pool.daxfs, made when there is
 * none. metadata.db knows it by its uuid, so that no other region is taken for
 * it: all snapshots would look lost.
 *
 * A pool that is missing or that cannot be read as a region is lost. A new one
 * is made in its place, unless the configuration forbids that; what is left of
 * the old one is renamed, never deleted. Snapshots stay known and can be
 * removed. The old pool can be put back into its place later: it is known, and
 * then what was made in the meantime is what is lost. Whatever may be there
 * again soon (a link to nothing, a file that cannot be opened, a version that
 * this program does not know) is no loss, and ends the start with a message.
 *
 * In the store's small facts: "pool" the uuid, empty while a new pool is being
 * made; "pool_since" the highest id when the pool changed last; "pool:UUID" for
 * each that was the pool once.
 */
#ifndef DAXFS_POOL_CHOOSE_H
#define DAXFS_POOL_CHOOSE_H

#include "pool.h"
#include "store.h"

struct pool_choice {
	struct pool_settings settings; /* size 0: by the free space */
	const char *root;              /* the folder of settings.region */
	bool replace_lost;
	/* *out is open, and the store knows nothing of it: fill that again */
	int (*rebuild)(void *arg, struct failure *f);
	void *arg;
};

int pool_choose(const struct pool_choice *c, struct store *store,
		struct pool **out, struct failure *f);

#endif
