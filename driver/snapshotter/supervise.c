/* SPDX-License-Identifier: Apache-2.0 */
#include "supervise.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>

#include "../common/activation.h"
#include "../common/log.h"
#include "../common/opts.h"
#include "../common/util.h"

struct supervisor {
	struct settings *set;
	_Atomic(struct varlink_server *) server; /* NULL: not yet */
	const char *socket;
	int signal_fd, stop_fd;
	pthread_t signals, watchdog;
	bool has_watchdog;
	int64_t watchdog_ms;
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void signal_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

static int block_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	signal_set(&set);
	return -pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* ---- Signals ------------------------------------------------------------- */

static void reload(struct supervisor *s, struct varlink_server *server)
{
	struct conf_error e;

	activation_reloading();
	if (settings_reload(s->set, &e) < 0) {
		log_event(LOG_ERROR, "configuration not taken over", "error",
			  e.text, NULL);
	} else {
		log_set_level(s->set->level);
		varlink_server_slow_calls(server, s->set->slow_call_ms);
		log_event(LOG_INFO, "configuration read again", "level",
			  log_level_name(s->set->level), "slow_call_ms",
			  log_fmt("%u", s->set->slow_call_ms), NULL);
	}
	activation_ready("serving");
}

/*
 * Whatever is under way has a row that says what to finish or to undo: the next
 * start does it.
 */
__attribute__((noreturn)) static void leave_at_once(const char *why)
{
	log_event(LOG_WARN,
		  "stopped at once; the next start finishes or undoes what was "
		  "under way",
		  "reason", why, NULL);
	_exit(DAXFS_EXIT_OK);
}

/* *deadline becomes the time by which all has to be done. */
static void on_signal(struct supervisor *s, int64_t *deadline)
{
	struct varlink_server *server = atomic_load(&s->server);
	struct signalfd_siginfo info;

	if (read(s->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP) {
		if (server && !*deadline)
			reload(s, server);
		return;
	}
	if (!server || *deadline)
		leave_at_once(server ? "asked twice" : "not serving yet");
	log_event(LOG_INFO, "stopping", "signal",
		  info.ssi_signo == SIGTERM ? "TERM" : "INT", NULL);
	activation_stopping();
	*deadline = now_ms() + (int64_t)s->set->stop_timeout * 1000;
	varlink_server_stop(server);
}

static void *signals_main(void *arg)
{
	struct supervisor *s = arg;
	int64_t deadline = 0;

	for (;;) {
		struct pollfd p[] = {
			{ .fd = s->signal_fd, .events = POLLIN },
			{ .fd = s->stop_fd, .events = POLLIN },
		};
		int64_t left = deadline ? deadline - now_ms() : -1;

		if (deadline && left <= 0)
			leave_at_once("stop_timeout");
		if (poll(p, ARRAY_SIZE(p), (int)left) < 0)
			continue;
		if (p[1].revents)
			return NULL;
		if (p[0].revents)
			on_signal(s, &deadline);
	}
}

/* ---- Watchdog ------------------------------------------------------------ */

/* The connection is kept, so that others cannot take the last one. */
static int probe(struct supervisor *s, struct varlink_client **c)
{
	json_object *reply = NULL;
	int rc = *c ? 0 : varlink_connect(s->socket, c);

	if (rc == 0)
		rc = varlink_call(*c, "org.varlink.service.GetInfo", NULL,
				  (int)s->watchdog_ms, &reply, NULL);
	json_object_put(reply);
	if (rc < 0) {
		varlink_close(*c);
		*c = NULL;
	}
	return rc;
}

static void *watchdog_main(void *arg)
{
	struct supervisor *s = arg;
	struct pollfd p = { .fd = s->stop_fd, .events = POLLIN };
	struct varlink_client *c = NULL;
	int rc;

	do {
		rc = probe(s, &c);
		if (rc == 0)
			activation_alive();
		else
			log_event(LOG_WARN, "our own socket does not answer",
				  "socket", s->socket, "error", log_err(rc),
				  NULL);
	} while (poll(&p, 1, (int)(s->watchdog_ms / 3)) <= 0);
	varlink_close(c);
	return NULL;
}

/* ---- Start and end ------------------------------------------------------- */

static int open_descriptors(struct supervisor *s)
{
	sigset_t set;

	signal_set(&set);
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return s->signal_fd < 0 || s->stop_fd < 0 ? -errno : 0;
}

static void close_descriptors(struct supervisor *s)
{
	util_close_fd(&s->signal_fd);
	util_close_fd(&s->stop_fd);
	free(s);
}

int supervise_start(struct settings *set, struct supervisor **out,
		    struct failure *f)
{
	struct supervisor *s = calloc(1, sizeof(*s));
	int rc = block_signals();

	if (!s)
		return failure_no_memory(f);
	s->set = set;
	s->signal_fd = s->stop_fd = -1;
	if (rc == 0)
		rc = open_descriptors(s);
	if (rc == 0)
		rc = -pthread_create(&s->signals, NULL, signals_main, s);
	if (rc < 0) {
		close_descriptors(s);
		return failure_set(f, FAILURE_RESOURCE_EXHAUSTED, -rc,
				   "cannot wait for signals: %s", log_err(rc));
	}
	*out = s;
	return 0;
}

int supervise_serve(struct supervisor *s, struct varlink_server *server,
		    const char *socket, struct failure *f)
{
	int rc;

	s->socket = socket;
	s->watchdog_ms = activation_watchdog_ms();
	atomic_store(&s->server, server);
	if (!s->watchdog_ms)
		return 0;
	rc = -pthread_create(&s->watchdog, NULL, watchdog_main, s);
	s->has_watchdog = rc == 0;
	return rc == 0 ? 0
		       : failure_set(f, FAILURE_RESOURCE_EXHAUSTED, -rc,
				     "cannot start the watchdog: %s",
				     log_err(rc));
}

void supervise_stop(struct supervisor *s)
{
	uint64_t one = 1;

	if (!s)
		return;
	while (write(s->stop_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_join(s->signals, NULL);
	if (s->has_watchdog)
		pthread_join(s->watchdog, NULL);
	close_descriptors(s);
}
