/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon.h"

#include <stdarg.h>
#include <stdio.h>

#define CALL_TIMEOUT_MS 60000

__attribute__((format(printf, 2, 3))) static void complain(struct daemon *d,
							   const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(d->why, sizeof(d->why), fmt, ap);
	va_end(ap);
	if (!d->quiet)
		cli_error(d->program, "%s", d->why);
}

static void cannot_connect(struct daemon *d, int rc)
{
	if (rc == -ENOENT || rc == -ECONNREFUSED || rc == -ENOTDIR)
		complain(d,
			 "'%s': the snapshotter does not run; start daxfs-snapshotter, or name its folder with --state",
			 d->socket);
	else if (rc == -EACCES || rc == -EPERM)
		complain(d,
			 "'%s': %s; ask as root, or as the user that the snapshotter's configuration names",
			 d->socket, log_err(rc));
	else
		complain(d, "'%s': cannot connect: %s", d->socket, log_err(rc));
}

bool daemon_open(const char *program, const char *state, struct daemon *d)
{
	bool quiet = d->quiet;
	int rc;

	*d = (struct daemon){ .program = program, .quiet = quiet };
	if (str_empty(state))
		state = getenv("DAXFS_STATE");
	if (str_empty(state))
		state = "/run/daxfs";
	d->socket = str_printf("%s/daxfs.sock", state);
	if (!d->socket) {
		complain(d, "out of memory");
		return false;
	}
	rc = varlink_connect(d->socket, &d->client);
	if (rc < 0)
		cannot_connect(d, rc);
	return rc == 0;
}

void daemon_close(struct daemon *d)
{
	varlink_close(d->client);
	free(d->socket);
	d->client = NULL;
	d->socket = NULL;
}

static void call_failed(struct daemon *d, const char *method, int rc,
			const struct varlink_error *e)
{
	if (rc == -EREMOTEIO && e->message[0])
		complain(d, "%s", e->message);
	else if (rc == -EREMOTEIO)
		complain(d, "'%s': %s: %s", d->socket, method, e->name);
	else if ((rc == -ECONNRESET || rc == -EPIPE) && geteuid() != 0)
		complain(d,
			 "'%s': the snapshotter has closed the connection; ask as root, or as the user that its configuration names",
			 d->socket);
	else
		complain(d, "'%s': the snapshotter does not answer: %s",
			 d->socket, log_err(rc));
}

json_object *daemon_call(struct daemon *d, const char *method,
			 json_object *params)
{
	cleanup_free char *full = str_printf("io.daxfs.%s", method);
	struct varlink_error e = { 0 };
	json_object *reply = NULL;
	int rc = -ENOMEM;

	if (full)
		rc = varlink_call(d->client, full, params, CALL_TIMEOUT_MS,
				  &reply, &e);
	json_object_put(params);
	if (rc == 0)
		return reply;
	call_failed(d, method, rc, &e);
	return NULL;
}

struct shown {
	void (*fn)(void *arg, json_object *reply);
	void *arg;
};

static int show(void *arg, json_object *reply)
{
	const struct shown *s = arg;

	s->fn(s->arg, reply);
	return 0;
}

bool daemon_call_more(struct daemon *d, const char *method, json_object *params,
		      void (*fn)(void *arg, json_object *reply), void *arg)
{
	cleanup_free char *full = str_printf("io.daxfs.%s", method);
	struct varlink_error e = { 0 };
	struct shown s = { fn, arg };
	int rc = -ENOMEM;

	if (full)
		rc = varlink_call_more(d->client, full, params, CALL_TIMEOUT_MS,
				       show, &s, &e);
	json_object_put(params);
	if (rc < 0)
		call_failed(d, method, rc, &e);
	return rc == 0;
}

json_object *daemon_key(const char *program, const char *key)
{
	json_object *o = json_object_new_object();

	/* JSON could not say it */
	if (!is_utf8(key, strlen(key)))
		cli_usage(program, "a key is UTF-8, and '%s' is not", key);
	cli_json_add_string(o, "key", key);
	return o;
}

bool daemon_usage(struct daemon *d, json_object *info, uint64_t *bytes,
		  uint64_t *inodes)
{
	json_object *reply;

	if (json_object_object_get_ex(info, "size", NULL)) {
		*bytes = cli_json_u64(info, "size");
		*inodes = cli_json_u64(info, "inodes");
		return true;
	}
	reply = daemon_call(d, "Snapshots.Usage",
			    daemon_key(d->program,
				       cli_json_string(info, "name")));
	if (!reply)
		return false;
	*bytes = cli_json_u64(reply, "size");
	*inodes = cli_json_u64(reply, "inodes");
	json_object_put(reply);
	return true;
}
