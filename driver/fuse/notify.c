/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invalidation. The kernel may make a notification wait for locks whose holder
 * waits for an answer of ours: so only this thread sends them, never a worker.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "../common/log.h"
#include "mount.h"
#include "raw.h"

#define DRAIN_SECONDS 5

struct job {
	struct job *next;
	struct mount *m;
};

struct notifier {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more, idle;
	struct job *head, **tail;
	bool busy, stop;
};

static void invalidate_inode(struct mount *m, u64 ino)
{
	int rc = session_inval_inode(m, ino, 0, 0);

	/* ENOENT: it has dropped out of the cache by itself. */
	if (rc && rc != -ENOENT && rc != -ENODEV && rc != -ENOTCONN)
		log_event(LOG_WARN, "cannot invalidate an inode", "branch",
			  m->name, "error", log_err(-rc), NULL);
}

static void invalidate_names(struct mount *m)
{
	struct name *list = names_take(&m->names), *n;

	for (n = list; n; n = n->next) {
		int rc = session_inval_entry(m, n->dir, n->text, n->len);

		if (rc && rc != -ENOENT && rc != -ENODEV && rc != -ENOTCONN &&
		    rc != -ENOTDIR)
			log_event(LOG_WARN, "cannot invalidate a name",
				  "branch", m->name, "error", log_err(-rc),
				  NULL);
	}
	names_free_list(list);
}

/*
 * What a server before us told the kernel. An inode that it does not have costs
 * a system call.
 */
static void invalidate_unknown(struct mount *m)
{
	struct daxfs_region_info info;
	u64 ino;

	if (m->is_main && raw_expire_names(m) < 0)
		log_event(LOG_WARN, "cannot expire names", "branch", m->name,
			  "error", log_err(errno), NULL);
	daxfs_region_info(m->srv->region, &info);
	for (ino = FUSE_ROOT_ID; ino < info.next_inode; ino++)
		invalidate_inode(m, ino);
}

/*
 * Names before inodes: invalidating a name waits for the lookups in its
 * directory that are under way, whose inodes then are in the list below.
 */
static void invalidate(struct mount *m)
{
	uint64_t *list;
	size_t n, i;

	if (mount_is_dead(m)) /* and each would cost a system call */
		return;
	/* At once, for all that comes by a path. */
	invalidate_inode(m, FUSE_ROOT_ID);
	if (m->is_main) {
		invalidate_names(m);
		invalidate_inode(m, FUSE_ROOT_ID);
	}
	if (nodes_list(&m->nodes, &list, &n)) {
		log_event(LOG_ERROR, "no memory to invalidate a mount",
			  "branch", m->name, NULL);
		return;
	}
	for (i = 0; i < n; i++)
		invalidate_inode(m, list[i]);
	free(list);
	if (m->nodes.partial)
		invalidate_unknown(m);
}

static void *notifier_main(void *arg)
{
	struct notifier *n = arg;

	pthread_mutex_lock(&n->lock);
	for (;;) {
		struct job *j = n->head;

		if (!j && n->stop)
			break;
		if (!j) {
			pthread_cond_wait(&n->more, &n->lock);
			continue;
		}
		n->head = j->next;
		if (!n->head)
			n->tail = &n->head;
		n->busy = true;
		pthread_mutex_unlock(&n->lock);
		invalidate(j->m);
		mount_put(j->m);
		free(j);
		pthread_mutex_lock(&n->lock);
		n->busy = false;
		pthread_cond_broadcast(&n->idle);
	}
	pthread_mutex_unlock(&n->lock);
	return NULL;
}

void notifier_invalidate(struct notifier *n, struct mount *m)
{
	struct job *j = malloc(sizeof(*j));

	if (!j) {
		log_event(LOG_ERROR, "no memory to invalidate a mount",
			  "branch", m->name, NULL);
		mount_put(m);
		return;
	}
	*j = (struct job){ .m = m };
	pthread_mutex_lock(&n->lock);
	*n->tail = j;
	n->tail = &j->next;
	pthread_cond_signal(&n->more);
	pthread_mutex_unlock(&n->lock);
}

void notifier_drain(struct notifier *n)
{
	struct timespec end;
	int err = 0;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += DRAIN_SECONDS;
	pthread_mutex_lock(&n->lock);
	while (!err && (n->head || n->busy))
		err = pthread_cond_timedwait(&n->idle, &n->lock, &end);
	pthread_mutex_unlock(&n->lock);
	if (err)
		log_event(LOG_WARN, "invalidation takes long and goes on",
			  NULL);
}

int notifier_new(struct notifier **out)
{
	struct notifier *n = calloc(1, sizeof(*n));
	int err;

	if (!n)
		return -ENOMEM;
	n->tail = &n->head;
	pthread_mutex_init(&n->lock, NULL);
	pthread_cond_init(&n->more, NULL);
	pthread_cond_init(&n->idle, NULL);
	err = pthread_create(&n->thread, NULL, notifier_main, n);
	if (err) {
		free(n);
		return -err;
	}
	*out = n;
	return 0;
}

void notifier_free(struct notifier *n)
{
	if (!n)
		return;
	pthread_mutex_lock(&n->lock);
	n->stop = true;
	pthread_cond_signal(&n->more);
	pthread_mutex_unlock(&n->lock);
	pthread_join(n->thread, NULL);
	pthread_mutex_destroy(&n->lock);
	pthread_cond_destroy(&n->more);
	pthread_cond_destroy(&n->idle);
	free(n);
}
