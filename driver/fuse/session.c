/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libfuse's session of a mount. The descriptor is ours (loop.c reads it), so
 * replies come through here too: the answer to FUSE_INIT gets the flags that
 * libfuse 3.14 does not know.
 */
#include <linux/fuse.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/uio.h>

#include "../common/log.h"
#include "../common/util.h"
#include "raw.h"
#include "stats.h"

_Static_assert(sizeof(struct fuse_init_out) <=
		       sizeof(((struct session_init *)0)->reply),
	       "the answer can be kept");

/* The kernel has the answer of the server before us: is it ours too? */
static ssize_t compare_init(struct mount *m, const struct fuse_init_out *out,
			    size_t len)
{
	if (len == m->init.reply_len && !memcmp(m->init.reply, out, len))
		return (ssize_t)len;
	errno = EPROTO;
	return -1;
}

static ssize_t send_init(struct mount *m, int fd, struct iovec *iov, int count)
{
	const struct fuse_out_header *h = iov[0].iov_base;
	struct fuse_init_out out = { 0 };
	size_t len = count == 2 ? iov[1].iov_len : 0;
	struct iovec v[2] = { iov[0], { &out, len } };
	ssize_t n;

	m->init_unique = 0;
	if (h->error || !len || len > sizeof(out)) {
		m->init_error = h->error ? -h->error : EPROTO;
		n = m->resumed ? (ssize_t)h->len : writev(fd, iov, count);
		sem_post(&m->ready);
		return n;
	}
	memcpy(&out, iov[1].iov_base, len);
	out.flags |= m->init_flags;
	n = m->resumed ? compare_init(m, &out, len) : writev(fd, v, 2);
	m->init_error = n < 0 ? errno : 0;
	if (n >= 0) {
		memcpy(m->init.reply, &out, len);
		m->init.reply_len = len;
	}
	sem_post(&m->ready);
	return n;
}

static ssize_t send_reply(int fd, struct iovec *iov, int count, void *userdata)
{
	struct mount *m = userdata;
	const struct fuse_out_header *h = iov[0].iov_base;

	/* Unique numbers are not 0; notifications have 0. */
	if (h->unique && h->unique == m->init_unique)
		return send_init(m, fd, iov, count);
	stats_answer(iov);
	return writev(fd, iov, count);
}

/* libfuse wants one; loop.c does the reading. */
static ssize_t no_read(int fd, void *buf, size_t len, void *userdata)
{
	(void)fd;
	(void)buf;
	(void)len;
	(void)userdata;
	errno = EOPNOTSUPP;
	return -1;
}

static void log_libfuse(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char text[512];
	size_t n;

	vsnprintf(text, sizeof(text), fmt, ap);
	n = strlen(text);
	while (n && text[n - 1] == '\n')
		text[--n] = '\0';
	log_event(level <= FUSE_LOG_ERR       ? LOG_ERROR
		  : level == FUSE_LOG_WARNING ? LOG_WARN
		  : level == FUSE_LOG_DEBUG   ? LOG_DEBUG
					      : LOG_INFO,
		  text, "from", "libfuse", NULL);
}

int session_new(struct mount *m)
{
	static const struct fuse_custom_io io = {
		.writev = send_reply,
		.read = no_read,
	};
	char name[] = "daxfs-fuse";
	char *argv[] = { name, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	int rc;

	fuse_set_log_func(log_libfuse);
	m->se = fuse_session_new(&args, &mount_ops, sizeof(mount_ops), m);
	fuse_opt_free_args(&args);
	if (!m->se)
		return -EMFILE;
	rc = fuse_session_custom_io(m->se, &io, m->fd);
	if (rc) {
		fuse_session_destroy(m->se);
		m->se = NULL;
		return rc < 0 ? rc : -rc;
	}
	return 0;
}

int session_resume(struct mount *m)
{
	char request[sizeof(m->init.request)];
	struct fuse_buf fb = { .size = m->init.request_len };

	memcpy(request, m->init.request, sizeof(request));
	m->resumed = true;
	m->init_error = EPROTO; /* until it is answered */
	fb.mem = raw_look(m, request, &fb.size);
	fuse_session_process_buf(m->se, &fb);
	return -m->init_error;
}
