/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/random.h>

#include "../region/region.h"
#include "image_internal.h"

/* Region size from the request; `p` gets everything but identity. */
static int choose_size(const struct image_request *req,
		       const struct image_summary *base,
		       struct daxfs_format_params *p, struct daxfs_message *msg)
{
	u64 min;

	memset(p, 0, sizeof(*p));
	p->base_size = base->size;
	p->base_inodes = base->inodes;
	p->branches = req->branches;
	p->segment_size = req->segment_size;
	p->compat = base->compat;
	/* Pages: a region is mapped. */
	p->total_size = image_align(req->size);
	min = image_align(daxfs_min_size(p));
	if (!req->size)
		p->total_size = min + (req->branches ? IMAGE_DEFAULT_ROOM : 0);
	if (p->total_size >= min)
		return 0;
	snprintf(msg->text, sizeof(msg->text),
		 "'%.100s': a size of %llu bytes (%s) is too small; at least %llu bytes (%s) are needed",
		 req->output, (unsigned long long)req->size,
		 format_size(req->size), (unsigned long long)min,
		 format_size(min));
	return -ENOSPC;
}

/* An empty region has no content to be named after. */
static int random_identity(struct image_summary *s)
{
	if (getrandom(s->uuid, sizeof(s->uuid), 0) != sizeof(s->uuid) ||
	    getrandom(s->hash_seed, sizeof(s->hash_seed), 0) !=
		    sizeof(s->hash_seed))
		return -EIO;
	/* RFC 9562: version 4 (random), variant 10 */
	s->uuid[6] = (s->uuid[6] & 0x0f) | 0x40;
	s->uuid[8] = (s->uuid[8] & 0x3f) | 0x80;
	return 0;
}

static int fill(const struct image_request *req, struct image *im,
		struct daxfs_format_params *p, struct region_file *f,
		struct image_summary *s, struct daxfs_message *msg)
{
	u64 start = daxfs_base_start(req->branches);
	int rc;

	if (im) {
		rc = image_write(im, f->fd, start, req->progress, req->arg,
				 msg);
		if (rc < 0)
			return rc;
		image_summary(im, s);
	} else if (random_identity(s) < 0) {
		snprintf(msg->text, sizeof(msg->text),
			 "'%.150s': no random numbers for its uuid",
			 req->output);
		return -EIO;
	}
	/* What is stored through the mapping must have its place on disk. */
	if (fallocate(f->fd, 0, 0, (off_t)start) < 0 && errno != EOPNOTSUPP) {
		rc = -errno;
		snprintf(msg->text, sizeof(msg->text),
			 "'%.150s': cannot allocate: %s", req->output,
			 log_err(-rc));
		return rc;
	}
	memcpy(p->uuid, s->uuid, sizeof(p->uuid));
	memcpy(p->hash_seed, s->hash_seed, sizeof(p->hash_seed));
	return daxfs_region_format(f->backing.base, p, msg);
}

int image_make(const struct image_request *req, struct image_result *out,
	       struct daxfs_message *msg)
{
	struct daxfs_format_params p;
	struct image_summary s = { 0 };
	struct image *im = NULL;
	struct region_file f;
	int rc = 0;

	memset(out, 0, sizeof(*out));
	if (req->source)
		rc = image_scan(req->source, &im, msg);
	if (rc < 0)
		return rc;
	if (im)
		image_summary(im, &s);
	rc = choose_size(req, &s, &p, msg);
	if (!rc)
		rc = region_file_create(req->output, p.total_size, &f, msg);
	if (rc < 0) {
		image_free(im);
		return rc;
	}
	rc = fill(req, im, &p, &f, &s, msg);
	if (!rc)
		rc = region_file_publish(&f, msg);
	region_file_close(&f);
	image_free(im);
	out->size = p.total_size;
	out->base = s;
	return rc;
}
