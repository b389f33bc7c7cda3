/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "../driver/image/image.h"
#include "cli.h"

#define PROGRAM "mkdaxfs"

#define SIZE_AS_NEEDED UINT64_MAX

struct args {
	const char *source, *output;
	uint64_t size, segment_size;
	unsigned branches;
	bool writable, force, json;
};

/* ---- Progress --------------------------------------------------------------- */

struct progress {
	bool tty, shown;
	struct timespec start, last;
};

static double seconds(const struct timespec *from, const struct timespec *to)
{
	return (double)(to->tv_sec - from->tv_sec) +
	       (double)(to->tv_nsec - from->tv_nsec) / 1e9;
}

static void progress_start(struct progress *p)
{
	memset(p, 0, sizeof(*p));
	p->tty = isatty(STDERR_FILENO);
	clock_gettime(CLOCK_MONOTONIC, &p->start);
	p->last = p->start;
}

/* Quick work shows nothing; long work a line five times a second. */
static void progress_show(void *arg, u64 done, u64 total)
{
	struct progress *p = arg;
	struct timespec now;

	if (!p->tty)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (seconds(&p->start, &now) < 1 || seconds(&p->last, &now) < 0.2)
		return;
	p->last = now;
	p->shown = true;
	fprintf(stderr, "\r" PROGRAM ": %u%% (%s of %s)   ",
		total ? (unsigned)(100.0 * (double)done / (double)total) : 100,
		format_size(done), format_size(total));
}

static void progress_end(const struct progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
}

/* ---- Output file ------------------------------------------------------------ */

/*
 * What is there already: nothing (0, *lock -1), or a file that may be replaced
 * and that is locked until the descriptor is closed. -1: refused.
 */
static int check_output(const struct args *a, char **path, int *lock)
{
	cleanup_close int fd = -1;
	struct stat st;
	int waited = 0, rc;

	*lock = -1;
	if (stat(a->output, &st) < 0) {
		if (errno == ENOENT)
			return 0;
		cli_error(PROGRAM, "'%s': %s", a->output, log_err(errno));
		return -1;
	}
	if (!S_ISREG(st.st_mode)) {
		cli_error(PROGRAM,
			  "'%s': exists and is not a regular file; choose another name",
			  a->output);
		return -1;
	}
	if (!a->force) {
		cli_error(PROGRAM,
			  "'%s': exists; --force replaces it with all its branches",
			  a->output);
		return -1;
	}
	/* Through a link, what it names is replaced and not the link. */
	*path = path_absolute(a->output);
	fd = *path ? open(*path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1;
	if (fd < 0) {
		cli_error(PROGRAM, "'%s': %s", a->output, log_err(errno));
		return -1;
	}
	do
		rc = flock(fd, LOCK_EX | LOCK_NB) < 0 ? errno : 0;
	while (rc == EWOULDBLOCK && session_wait(*path, &waited));
	if (rc) {
		if (rc == EWOULDBLOCK)
			cli_error(PROGRAM,
				  "'%s': in use; unmount its branches first",
				  a->output);
		else
			cli_error(PROGRAM, "'%s': cannot lock: %s", a->output,
				  log_err(rc));
		return -1;
	}
	*lock = steal_fd(&fd);
	return 0;
}

/* ---- Verb ------------------------------------------------------------------- */

static int report(const struct args *a, const struct image_result *r)
{
	char uuid[37];
	json_object *o;

	cli_format_uuid(r->base.uuid, uuid);
	if (!a->json) {
		printf("'%s': %s, %s", a->output,
		       a->writable ? "writable region" : "static image",
		       format_size(r->size));
		if (a->source)
			printf("; base image %s: %u inodes, %u files, %u directories, %s of data",
			       format_size(r->base.size), r->base.inodes,
			       r->base.files, r->base.dirs,
			       format_size(r->base.data_bytes));
		putchar('\n');
		return DAXFS_EXIT_OK;
	}
	o = json_object_new_object();
	cli_json_add_bytes(o, "path", a->output);
	cli_json_add_string(o, "uuid", uuid);
	cli_json_add(o, "writable", json_object_new_boolean(a->writable));
	cli_json_add_u64(o, "total_bytes", r->size);
	cli_json_add_u64(o, "base_bytes", r->base.size);
	cli_json_add_u64(o, "base_inodes", r->base.inodes);
	cli_json_add_u64(o, "files", r->base.files);
	cli_json_add_u64(o, "directories", r->base.dirs);
	cli_json_add_u64(o, "data_bytes", r->base.data_bytes);
	return cli_print_json(o);
}

static int make(const struct args *a)
{
	struct daxfs_message msg = { { 0 } };
	cleanup_free char *path = NULL;
	cleanup_close int lock = -1;
	struct image_result result;
	struct progress progress;
	struct image_request req = {
		.source = a->source,
		.size = a->size == SIZE_AS_NEEDED ? 0 : a->size,
		.branches = a->writable ? a->branches : 0,
		.segment_size = (u32)a->segment_size,
		.progress = progress_show,
		.arg = &progress,
	};
	int rc;

	if (check_output(a, &path, &lock) < 0)
		return DAXFS_EXIT_FAIL;
	req.output = path ? path : a->output;
	progress_start(&progress);
	rc = image_make(&req, &result, &msg);
	progress_end(&progress);
	if (rc < 0)
		return cli_error(PROGRAM, "%s", msg.text);
	return report(a, &result);
}

static void check_args(const struct args *a)
{
	if (!a->output)
		cli_usage(PROGRAM, "-o FILE is missing");
	if (!a->source && !a->writable)
		cli_usage(PROGRAM,
			  "nothing to do: give -d DIR for an image of it, or -w for an empty region");
	if (a->writable &&
	    (a->branches < 2 || a->branches > DAXFS_MAX_BRANCHES))
		cli_usage(PROGRAM, "--branches: %u is not 2 to %u", a->branches,
			  DAXFS_MAX_BRANCHES);
	if (a->segment_size && (a->segment_size < DAXFS_SEGMENT_MIN ||
				a->segment_size > DAXFS_SEGMENT_MAX ||
				(a->segment_size & (a->segment_size - 1))))
		cli_usage(PROGRAM,
			  "--segment-size: %llu is not 64K, 128K or 256K",
			  (unsigned long long)a->segment_size);
	if (!a->size)
		cli_usage(PROGRAM,
			  "-s 0: no region is that small; without -s it is as large as it needs to be");
	if (a->size != SIZE_AS_NEEDED && a->size > INT64_MAX - DAXFS_BLOCK_SIZE)
		cli_usage(PROGRAM, "-s: too large");
}

int cmd_mkfs(int argc, char **argv)
{
	struct args a = { .branches = DAXFS_DEFAULT_BRANCHES,
			  .size = SIZE_AS_NEEDED };
	const struct opt opts[] = {
		{ 'd', "directory", OPT_STR, &a.source, "DIR",
		  "tree that becomes the base image" },
		{ 'o', "output", OPT_STR, &a.output, "FILE", "file to make" },
		{ 's', "size", OPT_SIZE, &a.size, "SIZE",
		  "size of the region (default: the base image, with -w 256M more)" },
		{ 'w', "writable", OPT_FLAG, &a.writable, NULL,
		  "with room for branches; else a static image" },
		{ 0, "branches", OPT_UINT, &a.branches, "N",
		  "most branches at a time, main included (default 256)" },
		{ 0, "segment-size", OPT_SIZE, &a.segment_size, "SIZE",
		  "unit in which branches take space: 64K, 128K or 256K" },
		{ 0, "force", OPT_FLAG, &a.force, NULL,
		  "replace an existing FILE" },
		{ 0, "json", OPT_FLAG, &a.json, NULL,
		  "print the result as JSON" },
		{ 0 },
	};
	const struct opt_usage usage = {
		.program = PROGRAM,
		.synopsis = "[-d DIR] -o FILE [-s SIZE] [-w]",
		.summary =
			"Make a daxfs region file: an image of a directory tree, room for branches, or both.",
		.example =
			"  mkdaxfs -d /srv/rootfs -o rootfs.daxfs -s 1G -w\n",
		.opts = opts,
	};

	opts_parse(&usage, argc, argv);
	check_args(&a);
	return make(&a);
}
