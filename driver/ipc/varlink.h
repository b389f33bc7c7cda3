/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Varlink framing over unix stream sockets: each message is one JSON object
 * followed by a NUL byte (varlink.org, "Wire format"). Client and server
 * halves; both bounded in message size and nesting.
 *
 * A call may have a member "request" beside "method": an id under which each
 * daemon that works for it logs (driver/common/log.h). A client sends that of
 * its thread; a server makes one where none came, or none that it takes.
 */
#ifndef DAXFS_VARLINK_H
#define DAXFS_VARLINK_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define VARLINK_MESSAGE_MAX (16u << 20)
#define VARLINK_DEPTH_MAX 32
/* Parsed, a value takes up to 100 bytes, an object or array up to 1000. */
#define VARLINK_VALUES_MAX (2u << 20)
#define VARLINK_CONTAINERS_MAX (256u << 10)

/* ---- Client -------------------------------------------------------------- */

struct varlink_client;

/* Connect to a unix socket. 0 or -errno. */
int varlink_connect(const char *path, struct varlink_client **out);
void varlink_close(struct varlink_client *c); /* NULL is fine */

/* The pollable descriptor, owned by the client. */
int varlink_client_fd(const struct varlink_client *c);

/* What a failed call says. `name` is the Varlink error ("" : transport). */
struct varlink_error {
	char name[128];
	char message[1024];
	int err; /* errno of the transport, or the "errno" parameter, or 0 */
};

/*
 * Call and wait, at most timeout_ms (-1: for ever) for each reply. `params` may
 * be NULL and stays the caller's. *reply is the "parameters" object (never NULL
 * on success), owned by the caller. Returns 0; -EREMOTEIO when the peer
 * answered with an error; other -errno for the transport (the client is then
 * unusable). `e` may be NULL.
 */
int varlink_call(struct varlink_client *c, const char *method,
		 json_object *params, int timeout_ms, json_object **reply,
		 struct varlink_error *e);

/*
 * As varlink_call with "more": `fn` gets each reply's parameters (borrowed).
 * Its negative answer ends the call and is returned; the client is then
 * unusable.
 */
int varlink_call_more(struct varlink_client *c, const char *method,
		      json_object *params, int timeout_ms,
		      int (*fn)(void *arg, json_object *params), void *arg,
		      struct varlink_error *e);

/* ---- Server -------------------------------------------------------------- */

struct varlink_server;
struct varlink_call_ctx; /* one call being answered */

typedef void (*varlink_method_fn)(struct varlink_call_ctx *ctx,
				  json_object *params, void *arg);

struct varlink_method {
	const char *name; /* "Create"; a NULL name ends the table */
	varlink_method_fn fn;
};

struct varlink_interface {
	const char *name;        /* "io.daxfs.Branches" */
	const char *description; /* the interface in Varlink's IDL */
	const struct varlink_method *methods;
	void *arg; /* for the methods */
};

struct varlink_server_options {
	const char *vendor, *product, *version, *url; /* GetInfo */
	unsigned max_connections;                     /* 0: 256 */
	unsigned workers; /* threads that run methods; 0: in the caller's loop */
	unsigned socket_mode; /* 0: 0600 */
	/*
	 * Not 0: the socket at the path, listening already (socket_adopt());
	 * the server's from then on, and the path stays when it ends.
	 */
	int listen_fd;
	unsigned slow_call_ms; /* as varlink_server_slow_calls() */
	/* Peers other than root and our own uid that may connect; -1: none. */
	uid_t allow_uid;
	/*
	 * Told of each call once it was answered, in the thread that ran it; or
	 * NULL. `method` is "Interface.Method" without what comes before, or
	 * "unknown"; `error` its name without the interface's, "" for none.
	 */
	void (*observe)(void *arg, const char *method, const char *error,
			uint64_t ns);
	void *observe_arg;
};

/*
 * Bind and listen on `path` (a stale socket there is replaced; one that is
 * answered gives -EADDRINUSE). `interfaces` is an array of `n` pointers, kept.
 */
int varlink_server_new(const char *path,
		       const struct varlink_interface *const *interfaces,
		       unsigned n, const struct varlink_server_options *o,
		       struct varlink_server **out);

/* Serve until varlink_server_stop(). 0 or -errno. */
int varlink_server_run(struct varlink_server *s);
/* From any thread or a signal handler: finish running calls, then return. */
void varlink_server_stop(struct varlink_server *s);
void varlink_server_free(struct varlink_server *s); /* removes the socket */

/* At any time: calls that take longer are logged as warnings; 0: none. */
void varlink_server_slow_calls(struct varlink_server *s, unsigned ms);

/*
 * Run a method of `i` ("Create", or with the interface's name before it) in
 * this process, without a socket: the same code answers
 * a tool that has a region to itself and one that asks a running server.
 * Returns and owns as varlink_call().
 */
int varlink_call_local(const struct varlink_interface *i, const char *method,
		       json_object *params, json_object **reply,
		       struct varlink_error *e);

/*
 * Answer. `params` is consumed (NULL: {}). Exactly one final reply or error a
 * call; varlink_reply_more() sends one that "continues" and is -EPIPE when the
 * client is gone or did not ask for more.
 */
void varlink_reply(struct varlink_call_ctx *ctx, json_object *params);
int varlink_reply_more(struct varlink_call_ctx *ctx, json_object *params);
/* `error` as "NotFound" is qualified with the interface's name. */
__attribute__((format(printf, 4, 5))) void
varlink_fail(struct varlink_call_ctx *ctx, const char *error, int err,
	     const char *fmt, ...);
bool varlink_wants_more(const struct varlink_call_ctx *ctx);

/*
 * Typed access to parameters. The _get_ functions answer InvalidParameter
 * themselves and return false when the member is missing (and `required`) or of
 * the wrong type; an absent optional member leaves *out as it was. A string
 * with an embedded NUL is refused. Strings are borrowed from params.
 */
bool varlink_get_string(struct varlink_call_ctx *ctx, json_object *params,
			const char *key, bool required, const char **out);
bool varlink_get_bool(struct varlink_call_ctx *ctx, json_object *params,
		      const char *key, bool required, bool *out);
bool varlink_get_u64(struct varlink_call_ctx *ctx, json_object *params,
		     const char *key, bool required, uint64_t *out);
bool varlink_get_object(struct varlink_call_ctx *ctx, json_object *params,
			const char *key, bool required, json_object **out);
bool varlink_get_array(struct varlink_call_ctx *ctx, json_object *params,
		       const char *key, bool required, json_object **out);

#endif
