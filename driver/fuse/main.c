/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "../common/confine_daemon.h"
#include "../common/log.h"
#include "../common/opts.h"
#include "../common/util.h"
#include "../keeper/keeper.h"
#include "client.h"
#include "options.h"
#include "server.h"

/* A server that starts or ends, or a tool, keeps the region for so long. */
#define RETRY_MS 10000
#define RETRY_STEP_MS 10

/* Where errors go until the mount is there: the caller's stderr. */
static int caller = STDERR_FILENO;

static int refuse(const char *what, const char *why)
{
	dprintf(caller, "daxfs-fuse: %s%s%s\n", what ? what : "",
		what ? ": " : "", why);
	return DAXFS_EXIT_FAIL;
}

/* The branch that parent= asks for, then the mount. */
static int first_mount(struct server *srv, const struct options *o,
		       struct daxfs_message *msg)
{
	const struct mount_request *r = &o->request;
	json_object *params, *reply = NULL;
	struct varlink_error e = { .err = 0 };
	int rc;

	params = client_parameters(r);
	if (!params) {
		snprintf(msg->text, sizeof(msg->text), "out of memory");
		return -ENOMEM;
	}
	rc = varlink_call_local(&srv->interface, r->parent ? "Create" : "Mount",
				params, &reply, &e);
	json_object_put(params);
	json_object_put(reply);
	if (rc)
		snprintf(msg->text, sizeof(msg->text), "%.255s",
			 *e.message ? e.message : log_err(-rc));
	return rc;
}

/* Keep a terminal, or the pipes of whoever started us, no longer than needed. */
static int leave_caller(const struct options *o)
{
	cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int rc;

	if (null < 0)
		return refuse("/dev/null", log_err(errno));
	caller = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (caller < 0) {
		caller = STDERR_FILENO;
		return refuse("stderr", log_err(errno));
	}
	rc = o->log_file ? log_to_file(o->log_file, o->log_size)
	     : dup2(null, STDERR_FILENO) < 0 ? -errno
					     : 0;
	if (rc < 0)
		return refuse(o->log_file ? o->log_file : "stderr",
			      log_err(rc));
	if (setsid() < 0 || chdir("/") < 0 || dup2(null, 0) < 0 ||
	    dup2(null, 1) < 0)
		return refuse("cannot go to the background", log_err(errno));
	return 0;
}

/* What the keeper runs when we are gone, kept for the process's life. */
static char **next_server(const struct options *o)
{
	static char log_size[32];
	const struct {
		const char *option;
		const char *value; /* NULL: leave it out */
	} with[] = {
		{ "--sync-interval", log_fmt("%u", o->sync_seconds) },
		{ "--log-level", o->level_name },
		{ "--log-format", o->format_name },
		{ "--log-file", o->log_file },
		{ "--log-size", log_size },
		{ "--slow-call", log_fmt("%u", o->slow_call_ms) },
		{ "--state", o->request.state },
	};
	static char *argv[10 + 2 * ARRAY_SIZE(with)];
	size_t n = 0, i;

	snprintf(log_size, sizeof(log_size), "%llu",
		 (unsigned long long)o->log_size);
	argv[n++] = (char *)o->format_name;
	argv[n++] = (char *)(o->log_file ? o->log_file : "");
	argv[n++] = log_size;
	argv[n] = path_beside_us("daxfs-fuse");
	if (!argv[n++])
		return NULL;
	argv[n++] = (char *)"--keeper";
	if (o->control_only)
		argv[n++] = (char *)"--control-only";
	for (i = 0; i < ARRAY_SIZE(with); i++) {
		if (!with[i].value)
			continue;
		argv[n++] = (char *)with[i].option;
		argv[n] = strdup(with[i].value);
		if (!argv[n++])
			return NULL;
	}
	argv[n++] = (char *)"--";
	argv[n++] = (char *)o->request.region;
	argv[n] = NULL;
	return argv;
}

/* Without one everything works but going on after us. */
static void start_keeper(struct server *srv, const struct options *o)
{
	char **argv = next_server(o);
	int rc = argv ? keep_start(srv, argv) : -ENOENT;

	if (rc)
		log_event(LOG_ERROR,
			  "no keeper: mounts will end with this process",
			  "error", log_err(-rc), NULL);
}

/* 0, or the exit code. */
static int run(struct server *srv)
{
	int rc = server_run(srv);

	if (rc > 0) {
		server_leave(srv);
		_exit(DAXFS_EXIT_OK); /* mounts stay as they are */
	}
	if (rc)
		log_event(LOG_ERROR, "server failed", "error", log_err(-rc),
			  NULL);
	server_stop(srv);
	return rc ? DAXFS_EXIT_FAIL : DAXFS_EXIT_OK;
}

/* Serve; `ready` is the pipe of the waiting parent, or -1. */
static int serve(struct server *srv, const struct options *o, int ready)
{
	struct daxfs_message msg = { "" };
	int rc = 0;

	/* in the foreground who started us sees to our end */
	if (!o->foreground && !o->no_keeper)
		start_keeper(srv, o);
	if (!o->control_only)
		rc = first_mount(srv, o, &msg);
	if (rc) {
		refuse(NULL, msg.text);
		server_stop(srv);
		return DAXFS_EXIT_FAIL;
	}
	/* Who does not wait for it any more does not need it. */
	if (ready >= 0 && write(ready, "+", 1) != 1)
		log_event(LOG_WARN, "nobody waits for the mount", NULL);
	if (ready >= 0) {
		close(ready);
		close(caller);
		caller = STDERR_FILENO;
	}
	return run(srv);
}

/* Go on where a server before us was. */
static int take_over(const struct options *o)
{
	struct server_options how = {
		.region = o->request.region,
		.state = o->request.state,
		.sync_seconds = o->sync_seconds,
		.slow_call_ms = o->slow_call_ms,
		.control_only = o->control_only,
	};
	struct daxfs_message msg = { "" };
	char **argv = next_server(o);
	struct resume *kept = NULL;
	struct server srv;
	int rc = o->log_file ? log_to_file(o->log_file, o->log_size) : 0;

	if (rc < 0)
		return refuse(o->log_file, log_err(rc));
	rc = resume_receive(KEEPER_FD, &kept, &msg);
	if (!rc) {
		how.region_fd = resume_region(kept);
		rc = server_start(&srv, &how, &msg);
	}
	if (rc) {
		log_event(LOG_ERROR, "cannot take over", "error", msg.text,
			  NULL);
		resume_free(kept);
		return DAXFS_EXIT_FAIL;
	}
	keep_join(&srv, KEEPER_FD, argv);
	resume_mounts(&srv, kept);
	resume_free(kept);
	/* only now, for who calls relies on what is mounted */
	rc = control_start(&srv, &msg);
	if (rc) {
		log_event(LOG_ERROR, "cannot take over", "error", msg.text,
			  NULL);
		_exit(DAXFS_EXIT_FAIL); /* and leave the mounts to another */
	}
	return run(&srv);
}

/* Serve the region, or have it mounted by the process that serves it. */
static int serve_or_ask(const struct options *o, int ready)
{
	const struct server_options how = {
		.region = o->request.region,
		.state = o->request.state,
		.sync_seconds = o->sync_seconds,
		.slow_call_ms = o->slow_call_ms,
		.control_only = o->control_only,
		.region_fd = -1,
	};
	struct daxfs_message msg = { "" };
	struct server srv;
	char text[1024];
	int waited, rc;

	for (waited = 0;; waited += RETRY_STEP_MS) {
		struct timespec step = { 0, RETRY_STEP_MS * 1000000 };

		rc = server_start(&srv, &how, &msg);
		if (!rc) {
			rc = control_start(&srv, &msg);
			if (!rc)
				return serve(&srv, o, ready);
			server_stop(&srv);
		}
		if (rc != -EWOULDBLOCK || waited >= RETRY_MS)
			return refuse(NULL, msg.text);
		if (!o->control_only) {
			rc = client_mount(&o->request, text, sizeof(text));
			if (rc < 0)
				return refuse(NULL, text);
			if (!rc)
				break;
		} else if (client_alive(&o->request)) {
			return refuse(o->request.region,
				      "is served by another daxfs-fuse");
		}
		nanosleep(&step, NULL);
	}
	if (ready >= 0)
		return DAXFS_EXIT_OK;
	rc = client_wait_gone(o->request.mountpoint);
	return rc ? refuse(o->request.mountpoint, log_err(-rc)) : 0;
}

/* The parent stays until the child says that the mount answers, or ends. */
static int run_in_background(const struct options *o)
{
	int fds[2], status;
	char c = 0;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return refuse("cannot make a pipe", log_err(errno));
	pid = fork();
	if (pid < 0)
		return refuse("cannot fork", log_err(errno));
	if (!pid) {
		close(fds[0]);
		return leave_caller(o) ? DAXFS_EXIT_FAIL
				       : serve_or_ask(o, fds[1]);
	}
	close(fds[1]);
	while (read(fds[0], &c, 1) < 0 && errno == EINTR)
		;
	if (c == '+')
		return DAXFS_EXIT_OK;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return refuse("cannot wait for the server",
				      log_err(errno));
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	return refuse(NULL, "the server was killed while it started");
}

int main(int argc, char **argv)
{
	struct rlimit files;
	static struct options o; /* owns what it points to */
	sigset_t set;

	options_parse(&o, argc, argv);
	log_init("daxfs-fuse", o.level, o.format);
	if (confine_daemon(true) < 0)
		return DAXFS_EXIT_FAIL;
	signal(SIGPIPE, SIG_IGN);
	server_signals(&set);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL))
		return refuse(NULL, "cannot block signals");
	/* A descriptor a mount. */
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &files) < 0)
			log_event(LOG_WARN, "cannot raise the limit of files",
				  "error", log_err(errno), NULL);
	}
	if (o.keeper)
		return take_over(&o);
	return o.foreground ? serve_or_ask(&o, -1) : run_in_background(&o);
}
