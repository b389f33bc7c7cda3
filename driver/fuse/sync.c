/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was written becomes durable a few seconds later, without an fsync. A
 * thread of its own, for a disk may take its time.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "../common/log.h"
#include "server.h"

struct syncer {
	struct daxfs_region *region;
	unsigned seconds;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
};

/* Sleep out the interval; false: it is time to end. */
static bool wait_interval(struct syncer *s)
{
	struct timespec end;
	bool go_on;
	int err = 0;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += s->seconds;
	pthread_mutex_lock(&s->lock);
	while (!s->stop && !err)
		err = pthread_cond_timedwait(&s->wake, &s->lock, &end);
	go_on = !s->stop;
	pthread_mutex_unlock(&s->lock);
	return go_on;
}

static void *syncer_main(void *arg)
{
	struct syncer *s = arg;
	int last = 0;

	while (wait_interval(s)) {
		int rc = daxfs_region_sync(s->region);

		if (rc && rc != last)
			log_event(LOG_ERROR, "cannot sync the region", "error",
				  log_err(-rc), NULL);
		last = rc;
	}
	return NULL;
}

static void free_syncer(struct syncer *s)
{
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int syncer_new(struct daxfs_region *region, unsigned seconds,
	       struct syncer **out)
{
	struct syncer *s = calloc(1, sizeof(*s));
	pthread_condattr_t attr;
	int err;

	if (!s)
		return -ENOMEM;
	s->region = region;
	s->seconds = seconds;
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &attr);
	pthread_condattr_destroy(&attr);
	err = pthread_create(&s->thread, NULL, syncer_main, s);
	if (err) {
		free_syncer(s);
		return -err;
	}
	*out = s;
	return 0;
}

void syncer_free(struct syncer *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	free_syncer(s);
}
