/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libfuse's session. There is one for all mounts, because a process cannot have
 * more than a thousand (each takes a pthread key), and it is only used to take
 * requests apart and to put answers together: which mount they are of is what
 * the serving thread knows, so that nothing here is shared.
 *
 * FUSE_INIT is the exception: libfuse answers it once; further mounts get the
 * same answer, since the kernel says the same. It gets the flags that libfuse
 * 3.14 does not know.
 */
#include <fcntl.h>
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

static __thread struct mount *current;
static __thread struct session_init *capture; /* of libfuse's FUSE_INIT */

struct mount *session_mount(void)
{
	return current;
}

/* ---- FUSE_INIT ----------------------------------------------------------- */

static ssize_t capture_init(const struct iovec *iov, int count)
{
	const struct fuse_out_header *h = iov[0].iov_base;
	size_t len = count == 2 ? iov[1].iov_len : 0;

	if (!h->error && len && len <= sizeof(capture->reply)) {
		memcpy(capture->reply, iov[1].iov_base, len);
		capture->reply_len = len;
	}
	return (ssize_t)h->len;
}

/* Has the kernel asked for the same? How much it reads ahead may differ. */
static bool same_request(const struct session_init *a,
			 const struct session_init *b)
{
	const size_t args = sizeof(struct fuse_in_header);
	const size_t ahead =
		args + offsetof(struct fuse_init_in, max_readahead);
	const size_t after = ahead + sizeof(uint32_t);

	return a->request_len == b->request_len && a->request_len >= after &&
	       !memcmp(a->request + args, b->request + args, ahead - args) &&
	       !memcmp(a->request + after, b->request + after,
		       a->request_len - after);
}

/* libfuse's answer to this request, or the one it gave to the first. 0, -errno. */
static int agree(struct mount *m, struct fuse_buf *fb,
		 struct fuse_init_out *out, size_t *len)
{
	const struct fuse_init_in *in =
		(const void *)((char *)fb->mem + sizeof(struct fuse_in_header));
	struct server *srv = m->srv;
	struct session_init *first = &srv->first_init;
	int rc = 0;

	pthread_mutex_lock(&srv->init_lock);
	if (!first->reply_len) {
		*first = m->init;
		first->reply_len = 0;
		capture = first;
		fuse_session_process_buf(srv->se, fb);
		capture = NULL;
	}
	if (!first->reply_len || !same_request(first, &m->init))
		rc = -EPROTO;
	memcpy(out, first->reply, first->reply_len);
	*len = first->reply_len;
	pthread_mutex_unlock(&srv->init_lock);
	if (out->max_readahead > in->max_readahead)
		out->max_readahead = in->max_readahead;
	out->flags |= m->init_flags;
	return rc;
}

/* The kernel has the answer of the server before us: is it ours too? */
static int compare_init(const struct mount *m, const struct fuse_init_out *out,
			size_t len)
{
	return len == m->init.reply_len && !memcmp(m->init.reply, out, len)
		       ? 0
		       : -EPROTO;
}

static int send_init(struct mount *m, u64 unique, struct fuse_init_out *out,
		     size_t len, int error)
{
	struct fuse_out_header h = { .unique = unique, .error = error };
	struct iovec v[2] = { { &h, sizeof(h) }, { out, len } };

	h.len = (uint32_t)(sizeof(h) + (error ? 0 : len));
	if (writev(m->fd, v, error ? 1 : 2) < 0)
		return -errno;
	return error;
}

static void answer_init(struct mount *m, struct fuse_buf *fb)
{
	const struct fuse_in_header *in = fb->mem;
	struct fuse_init_out out = { 0 };
	u64 unique = in->unique;
	size_t len = 0;
	int rc = m->init.request_len ? agree(m, fb, &out, &len) : -EPROTO;

	if (m->resumed)
		rc = rc ? rc : compare_init(m, &out, len);
	else
		rc = send_init(m, unique, &out, len, rc);
	if (!rc) {
		memcpy(m->init.reply, &out, len);
		m->init.reply_len = len;
	}
	m->init_error = -rc;
	sem_post(&m->ready);
}

int session_resume(struct mount *m)
{
	char request[sizeof(m->init.request)];
	struct fuse_buf fb = { .size = m->init.request_len };

	if (m->init.request_len < sizeof(struct fuse_in_header))
		return -EPROTO;
	memcpy(request, m->init.request, sizeof(request));
	m->resumed = true;
	fb.mem = raw_look(m, request, &fb.size);
	session_serve(m, &fb);
	return -m->init_error;
}

/* ---- Requests, answers, notifications ------------------------------------ */

void session_serve(struct mount *m, struct fuse_buf *fb)
{
	const struct fuse_in_header *in = fb->mem;

	current = m;
	if (in->opcode == FUSE_INIT)
		answer_init(m, fb);
	else if (!raw_serve(m, fb->mem, fb->size))
		fuse_session_process_buf(m->srv->se, fb);
	current = NULL;
}

static ssize_t send_reply(int fd, struct iovec *iov, int count, void *userdata)
{
	(void)fd;
	(void)userdata;
	if (capture)
		return capture_init(iov, count);
	stats_answer(iov);
	return writev(current->fd, iov, count);
}

/* A request may be in hand, of the same mount. */
int session_inval_inode(struct mount *m, u64 ino, off_t off, off_t len)
{
	struct mount *was = current;
	int rc;

	current = m;
	rc = fuse_lowlevel_notify_inval_inode(m->srv->se, ino, off, len);
	current = was;
	return rc;
}

int session_inval_entry(struct mount *m, u64 dir, const char *name, size_t len)
{
	struct mount *was = current;
	int rc;

	current = m;
	rc = fuse_lowlevel_notify_inval_entry(m->srv->se, dir, name, len);
	current = was;
	return rc;
}

/* ---- The session --------------------------------------------------------- */

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

int session_open(struct server *srv)
{
	static const struct fuse_custom_io io = {
		.writev = send_reply,
		.read = no_read,
	};
	char name[] = "daxfs-fuse";
	char *argv[] = { name, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	int rc, fd;

	fuse_set_log_func(log_libfuse);
	srv->se = fuse_session_new(&args, &mount_ops, sizeof(mount_ops), srv);
	fuse_opt_free_args(&args);
	if (!srv->se)
		return -ENOMEM;
	/* one that it can close; answers go to the mounts' own */
	fd = fcntl(srv->wake_fd, F_DUPFD_CLOEXEC, 0);
	rc = fd < 0 ? -errno : fuse_session_custom_io(srv->se, &io, fd);
	if (rc) {
		util_close_fd(&fd);
		fuse_session_destroy(steal_ptr(&srv->se));
		return rc < 0 ? rc : -rc;
	}
	return 0;
}

void session_close(struct server *srv)
{
	if (srv->se)
		fuse_session_destroy(steal_ptr(&srv->se));
}
