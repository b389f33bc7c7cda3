/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the Varlink room share: bytes, messages, dispatch. */
#ifndef DAXFS_IPC_INTERNAL_H
#define DAXFS_IPC_INTERNAL_H

#include <stdatomic.h>
#include <stdint.h>

#include "varlink.h"

/* ---- stream.c: bytes and messages ---------------------------------------- */

/* A queue of bytes: data[start, start+len). */
struct vbuf {
	char *data;
	size_t start, len, cap;
	size_t scanned; /* of len: known to hold no NUL */
};

/* -ENOMEM, or -EMSGSIZE when it would hold more than `max`. */
int vbuf_append(struct vbuf *b, const void *p, size_t n, size_t max);
void vbuf_consume(struct vbuf *b, size_t n);
void vbuf_free(struct vbuf *b);

/* Length of the first complete message without its NUL, -1: none yet. */
ssize_t vbuf_message(struct vbuf *b);

/*
 * recv(2) once into b. Bytes read, 0 at the end of the stream, -EAGAIN,
 * -EMSGSIZE when b holds VARLINK_MESSAGE_MAX bytes without a message, -errno.
 */
ssize_t vbuf_recv(struct vbuf *b, int fd);

/* send(2) until b is empty or the socket full. 0, -EAGAIN, -errno. */
int vbuf_send(struct vbuf *b, int fd);

/* Exactly one JSON object, strict, valid UTF-8, within limits. -EBADMSG. */
int message_parse(const char *s, size_t len, json_object **out);

/*
 * Append message and NUL; what is no UTF-8 becomes U+FFFD. -EMSGSIZE: over
 * VARLINK_MESSAGE_MAX or over max.
 */
int message_append(struct vbuf *b, json_object *msg, size_t max);

/* The name and text of an error reply, for people. */
void message_error(json_object *msg, struct varlink_error *e);

/* ---- address.c: sockets by path ------------------------------------------ */

/* A bound, listening, non-blocking socket at path; see varlink_server_new(). */
int socket_listen(const char *path, unsigned mode, uid_t owner);
/*
 * Make a descriptor that we were given ours: non-blocking, close-on-exec.
 * -ENOTSOCK: it is no unix stream socket that listens at path.
 */
int socket_adopt(int fd, const char *path);
/* A connected non-blocking socket or -errno. */
int socket_connect(const char *path);

/* ---- service.c: calls ---------------------------------------------------- */

struct varlink_service {
	const struct varlink_interface *const *interfaces;
	unsigned n;
	struct varlink_server_options options;
	_Atomic unsigned slow_call_ms;
};

/* Takes a reply message (borrowed). 0 or -errno. */
typedef int (*varlink_send_fn)(void *arg, json_object *msg);

/*
 * Run the method that a message asks for; its replies go to `send`. -EBADMSG:
 * the message is no call, and nothing was sent.
 */
int service_dispatch(const struct varlink_service *s, json_object *msg,
		     varlink_send_fn send, void *arg);

#endif
