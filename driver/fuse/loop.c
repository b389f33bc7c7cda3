/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workers: one epoll set over the /dev/fuse descriptors of all mounts.
 *
 * A descriptor is armed for one event at a time (EPOLLONESHOT), so the worker
 * that gets the event has the mount's queue to itself until it arms it again.
 * Short requests are served one after another by that worker, which costs no
 * wake-ups; before a request that may take long the queue is handed on, so that
 * others of the same mount are served meanwhile.
 */
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>

#include "../common/log.h"
#include "../common/util.h"
#include "raw.h"
#include "stats.h"

/* Room for the largest write and what precedes it. */
#define BUFFER_SIZE ((1u << 20) + 4096)
/* Requests of one mount before others get their turn. */
#define BATCH 64
/* How long to look for the next request before sleeping. */
#define SPIN_NS 20000
/* Give up spinning after as many fruitless tries, and for as many requests. */
#define SPIN_MISSES 4
#define SPIN_PAUSE 256
/* Data requests up to this size count as short. */
#define SHORT_BYTES 65536

struct loop {
	int epoll_fd;
	int stop_fd;
	unsigned count;
	int spinning; /* atomic: one worker at a time spins */
	pthread_t threads[];
};

struct worker {
	struct loop *loop;
	char *buf;
	unsigned misses, pause;
};

static int arm(struct loop *l, struct mount *m, int op)
{
	struct epoll_event ev = {
		.events = EPOLLIN | EPOLLONESHOT,
		.data.ptr = m,
	};
	int fd = m->fd;

	/* Pairs with worker_main(): what we did is seen by who comes next. */
	__atomic_store_n(&m->armed, true, __ATOMIC_RELEASE);
	return epoll_ctl(l->epoll_fd, op, fd, &ev) < 0 ? -errno : 0;
}

int loop_add(struct loop *l, struct mount *m)
{
	return arm(l, m, EPOLL_CTL_ADD);
}

static u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
}

/* One try: bytes, -EAGAIN (none waiting), or the end of the mount. */
static ssize_t receive_once(struct worker *w, struct mount *m)
{
	for (;;) {
		ssize_t n = read(m->fd, w->buf, BUFFER_SIZE);

		if (n >= 0)
			return n;
		/* ENOENT: the request was interrupted before we had it. */
		if (errno != EINTR && errno != ENOENT)
			return -errno;
	}
}

static ssize_t spin(struct worker *w, struct mount *m)
{
	ssize_t n = -EAGAIN;
	u64 end = now_ns() + SPIN_NS;

	while (n == -EAGAIN && now_ns() < end)
		n = receive_once(w, m);
	if (n != -EAGAIN) {
		w->misses = 0;
	} else if (++w->misses >= SPIN_MISSES) {
		w->misses = 0;
		w->pause = SPIN_PAUSE;
	}
	return n;
}

static ssize_t receive(struct worker *w, struct mount *m, bool first)
{
	ssize_t n = receive_once(w, m);
	int idle = 0;

	if (n != -EAGAIN || first)
		return n;
	if (w->pause) {
		w->pause--;
		return n;
	}
	if (!__atomic_compare_exchange_n(&w->loop->spinning, &idle, 1, false,
					 __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return n;
	n = spin(w, m);
	__atomic_store_n(&w->loop->spinning, 0, __ATOMIC_RELEASE);
	return n;
}

/* May serving it take so long that others should not wait behind it? */
static bool is_long(const struct fuse_in_header *in, size_t len)
{
	switch (in->opcode) {
	case FUSE_READ:
		if (len < sizeof(*in) + sizeof(struct fuse_read_in))
			return false;
		return ((const struct fuse_read_in *)(in + 1))->size >
		       SHORT_BYTES;
	case FUSE_WRITE:
		return len > SHORT_BYTES;
	case FUSE_SETATTR:
		if (len < sizeof(*in) + sizeof(struct fuse_setattr_in))
			return false;
		return ((const struct fuse_setattr_in *)(in + 1))->valid &
		       FATTR_SIZE;
	case FUSE_FSYNC:
	case FUSE_FSYNCDIR:
	case FUSE_BATCH_FORGET:
	case FUSE_LSEEK:
	case FUSE_FALLOCATE:
	case FUSE_COPY_FILE_RANGE:
		return true;
	default:
		return false;
	}
}

/* `fb` is what libfuse gets of the request. */
static void process(struct mount *m, struct fuse_buf *fb)
{
	stats_begin(m, fb->mem, fb->size);
	session_serve(m, fb);
	stats_end();
}

static void rearm(struct loop *l, struct mount *m)
{
	/* once it is armed another worker may find that it has ended */
	mount_get(m);
	if (arm(l, m, EPOLL_CTL_MOD) < 0)
		log_event(LOG_ERROR, "cannot arm a mount", "branch", m->name,
			  "error", log_err(errno), NULL);
	mount_put(m);
}

/* Hand the queue on, then serve a request. */
static void serve_beside(struct loop *l, struct mount *m, struct fuse_buf *fb)
{
	unsigned epoch = __atomic_load_n(&m->epoch, __ATOMIC_ACQUIRE) & 1;

	mount_get(m);
	__atomic_fetch_add(&m->beside[epoch], 1, __ATOMIC_ACQ_REL);
	rearm(l, m);
	process(m, fb);
	__atomic_fetch_sub(&m->beside[epoch], 1, __ATOMIC_RELEASE);
	mount_put(m);
}

/*
 * Who serves beside the queue has been counted before the queue was handed on,
 * so once a later request has been answered only the counted ones can be under
 * way; those that begin from here on count for the other epoch.
 */
void loop_settle(struct mount *m)
{
	struct timespec step = { 0, 20000 };
	unsigned old = __atomic_fetch_add(&m->epoch, 1, __ATOMIC_ACQ_REL) & 1;

	while (__atomic_load_n(&m->beside[old], __ATOMIC_ACQUIRE))
		nanosleep(&step, NULL);
}

/*
 * Serve what waits in the mount's queue, which is ours. Returns when it is
 * empty, was handed on, or the mount has ended.
 */
static void serve(struct worker *w, struct mount *m)
{
	struct loop *l = w->loop;
	unsigned i;

	for (i = 0; i < BATCH; i++) {
		struct fuse_buf fb = { .mem = w->buf };
		ssize_t n = receive(w, m, i == 0);

		if (n == -EAGAIN)
			break;
		if (n < (ssize_t)sizeof(struct fuse_in_header)) {
			if (n != -ENODEV)
				log_event(LOG_WARN, "mount ended by an error",
					  "branch", m->name, "error",
					  log_err(n < 0 ? (int)-n : EIO), NULL);
			epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, m->fd, NULL);
			mount_put(m);
			return;
		}
		fb.size = (size_t)n;
		fb.mem = raw_look(m, w->buf, &fb.size);
		if (is_long(fb.mem, fb.size)) {
			serve_beside(l, m, &fb);
			return;
		}
		process(m, &fb);
	}
	rearm(l, m);
}

static void *worker_main(void *arg)
{
	struct worker w = { .loop = arg };
	struct epoll_event ev;
	struct mount *m;

	/* Memory that we need must not wait for write-back through us. */
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0)
		log_event(LOG_DEBUG, "no IO_FLUSHER state", "error",
			  log_err(errno), NULL);
	w.buf = malloc(BUFFER_SIZE);
	if (!w.buf) {
		log_event(LOG_ERROR, "no memory for a worker", NULL);
		return NULL;
	}
	for (;;) {
		int n = epoll_wait(w.loop->epoll_fd, &ev, 1, -1);

		if (n < 0 && errno != EINTR) {
			log_event(LOG_ERROR, "epoll_wait failed", "error",
				  log_err(errno), NULL);
			break;
		}
		if (n <= 0)
			continue;
		m = ev.data.ptr;
		if (!m)
			break;
		(void)__atomic_exchange_n(&m->armed, false, __ATOMIC_ACQUIRE);
		serve(&w, m);
	}
	free(w.buf);
	return NULL;
}

static void stop_workers(struct loop *l)
{
	uint64_t one = 1;
	unsigned i;

	/* Never read: it stays readable until all workers have seen it. */
	if (write(l->stop_fd, &one, sizeof(one)) != sizeof(one))
		abort();
	for (i = 0; i < l->count; i++)
		pthread_join(l->threads[i], NULL);
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	if (l->count)
		stop_workers(l);
	if (l->stop_fd >= 0)
		close(l->stop_fd);
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	free(l);
}

static int start_workers(struct loop *l, unsigned threads)
{
	for (; l->count < threads; l->count++) {
		int err = pthread_create(&l->threads[l->count], NULL,
					 worker_main, l);

		if (err)
			return -err;
	}
	return 0;
}

int loop_new(unsigned threads, struct loop **out)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };
	struct loop *l;
	int rc = 0;

	l = calloc(1, sizeof(*l) + threads * sizeof(l->threads[0]));
	if (!l)
		return -ENOMEM;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	l->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (l->epoll_fd < 0 || l->stop_fd < 0 ||
	    epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->stop_fd, &ev) < 0)
		rc = -errno;
	if (!rc)
		rc = start_workers(l, threads);
	if (rc < 0) {
		loop_free(l);
		return rc;
	}
	*out = l;
	return 0;
}
