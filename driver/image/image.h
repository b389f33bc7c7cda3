/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Base images: a directory tree written as include/daxfs_format.h says. The
 * same tree gives the same bytes.
 *
 * Functions return 0 or -errno with the reason in msg, which names the path.
 */
#ifndef DAXFS_IMAGE_H
#define DAXFS_IMAGE_H

#include "../../core/daxfs.h"

struct image; /* a scanned tree */

/*
 * Read names, attributes and extended attributes of everything below `dir`.
 * Symbolic links are recorded, never followed (but for `dir` itself); other
 * file systems mounted below are entered.
 */
int image_scan(const char *dir, struct image **out, struct daxfs_message *msg);
void image_free(struct image *im); /* NULL is fine */

struct image_summary {
	u64 size;       /* of the base image, multiple of 4096 */
	u64 data_bytes; /* in regular files */
	u32 inodes, files, dirs;
	u64 compat; /* DAXFS_COMPAT_* of what is written */
	/* Made from the content; known after image_write(). */
	u8 uuid[16];
	u64 hash_seed[2];
};

void image_summary(const struct image *im, struct image_summary *out);

/* Called now and then with the file bytes read so far. */
typedef void (*image_progress_fn)(void *arg, u64 done, u64 total);

/*
 * Write the image at `offset` (multiple of 4096) of `fd`, where the file must
 * be all zeros. Memory use does not depend on file sizes; holes stay holes.
 * -EAGAIN: the tree changed since it was scanned.
 */
int image_write(struct image *im, int fd, u64 offset, image_progress_fn fn,
		void *arg, struct daxfs_message *msg);

/* ---- A whole region ------------------------------------------------------- */

struct image_request {
	const char *source; /* directory, NULL: a region without a base image */
	const char *output;
	u64 size;         /* 0: as needed, plus room to write if `branches` */
	u32 branches;     /* 0: a static image, which cannot be written to */
	u32 segment_size; /* 0: chosen from the size */
	image_progress_fn progress;
	void *arg;
};

struct image_result {
	u64 size; /* of the region */
	struct image_summary base;
};

/* What image_make() adds to the smallest size when the request has none. */
#define IMAGE_DEFAULT_ROOM (256ull << 20)

/*
 * Make a region file, complete or not at all; an existing one is replaced.
 * -ENOSPC: `size` is too small.
 */
int image_make(const struct image_request *req, struct image_result *out,
	       struct daxfs_message *msg);

#endif
