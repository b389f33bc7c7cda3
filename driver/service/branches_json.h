/* SPDX-License-Identifier: Apache-2.0 */
/* Branches and regions as the JSON objects of io.daxfs.Branches. */
#ifndef DAXFS_BRANCHES_JSON_H
#define DAXFS_BRANCHES_JSON_H

#include "branches.h"

/* Both NULL when memory is out. */
json_object *branches_json_branch(struct branches_service *s,
				  const struct daxfs_branch_info *info);
json_object *branches_json_region(struct branches_service *s);

/*
 * Put a branch's metadata into its object, if it has any that is UTF-8. False: no
 * memory.
 */
bool branches_json_add_meta(struct branches_service *s, json_object *o,
			    const struct daxfs_branch_info *info);

/* Adds and takes over `value` (NULL: none could be made). False: no memory. */
bool branches_json_add(json_object *o, const char *key, json_object *value);

#endif
