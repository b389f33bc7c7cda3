/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../common/util.h"
#include "internal.h"

#define READ_CHUNK (64u << 10)
#define KEEP_CAPACITY (256u << 10) /* a larger idle buffer is given back */

/* Room for n more bytes after the content. */
static int vbuf_reserve(struct vbuf *b, size_t n)
{
	size_t cap = b->cap ? b->cap : 4096;
	char *p;

	if (b->cap - b->start - b->len >= n)
		return 0;
	if (b->start) {
		memmove(b->data, b->data + b->start, b->len);
		b->start = 0;
		if (b->cap - b->len >= n)
			return 0;
	}
	while (cap - b->len < n)
		if (__builtin_mul_overflow(cap, 2, &cap))
			return -ENOMEM;
	p = realloc(b->data, cap);
	if (!p)
		return -ENOMEM;
	b->data = p;
	b->cap = cap;
	return 0;
}

int vbuf_append(struct vbuf *b, const void *p, size_t n, size_t max)
{
	int rc;

	if (n > max || b->len > max - n)
		return -EMSGSIZE;
	rc = vbuf_reserve(b, n);
	if (rc < 0)
		return rc;
	memcpy(b->data + b->start + b->len, p, n);
	b->len += n;
	return 0;
}

void vbuf_consume(struct vbuf *b, size_t n)
{
	b->start += n;
	b->len -= n;
	b->scanned = b->scanned > n ? b->scanned - n : 0;
	if (b->len == 0) {
		b->start = 0;
		if (b->cap > KEEP_CAPACITY)
			vbuf_free(b);
	}
}

void vbuf_free(struct vbuf *b)
{
	free(b->data);
	memset(b, 0, sizeof(*b));
}

ssize_t vbuf_message(struct vbuf *b)
{
	const char *p = b->data + b->start;
	const char *nul;

	if (b->len == b->scanned)
		return -1;
	nul = memchr(p + b->scanned, '\0', b->len - b->scanned);
	if (!nul) {
		b->scanned = b->len;
		return -1;
	}
	return nul - p;
}

ssize_t vbuf_recv(struct vbuf *b, int fd)
{
	size_t room = READ_CHUNK;
	ssize_t n;
	int rc;

	if (b->len > VARLINK_MESSAGE_MAX)
		return -EMSGSIZE;
	rc = vbuf_reserve(b, room);
	if (rc < 0)
		return rc;
	do
		n = recv(fd, b->data + b->start + b->len, room, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	b->len += (size_t)n;
	return n;
}

int vbuf_send(struct vbuf *b, int fd)
{
	while (b->len) {
		ssize_t n = send(fd, b->data + b->start, b->len,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EWOULDBLOCK ? -EAGAIN : -errno;
		vbuf_consume(b, (size_t)n);
	}
	return 0;
}

static bool too_many_values(const char *s, size_t len)
{
	size_t containers = 0, commas = 0;
	bool text = false;

	for (size_t i = 0; i < len; i++) {
		if (s[i] == '"')
			text = !text;
		else if (text && s[i] == '\\')
			i++;
		else if (!text && (s[i] == '{' || s[i] == '['))
			containers++;
		else if (!text && s[i] == ',')
			commas++;
	}
	return containers > VARLINK_CONTAINERS_MAX ||
	       commas > VARLINK_VALUES_MAX;
}

int message_parse(const char *s, size_t len, json_object **out)
{
	struct json_tokener *t;
	json_object *o;
	bool whole;

	if (len > VARLINK_MESSAGE_MAX || too_many_values(s, len))
		return -EBADMSG;
	t = json_tokener_new_ex(VARLINK_DEPTH_MAX);
	if (!t)
		return -ENOMEM;
	json_tokener_set_flags(t, JSON_TOKENER_STRICT |
					  JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(t, s, (int)len);
	whole = json_tokener_get_error(t) == json_tokener_success &&
		json_tokener_get_parse_end(t) == len;
	json_tokener_free(t);
	if (!whole || !json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		return -EBADMSG;
	}
	*out = o;
	return 0;
}

/* Names on media and paths may be anything, JSON may not: U+FFFD instead. */
static char *make_utf8(const char *s, size_t *len)
{
	static const char replacement[] = "\xef\xbf\xbd";
	size_t left = *len;
	char *clean = malloc(3 * left + 1), *p = clean;

	if (!clean)
		return NULL;
	while (left) {
		size_t n = utf8_length(s, left), step = n ? n : 1;

		p = mempcpy(p, n ? s : replacement, n ? n : 3);
		s += step;
		left -= step;
	}
	*p = '\0';
	*len = (size_t)(p - clean);
	return clean;
}

int message_append(struct vbuf *b, json_object *msg, size_t max)
{
	cleanup_free char *clean = NULL;
	size_t len;
	const char *s =
		json_object_to_json_string_length(msg,
						  JSON_C_TO_STRING_PLAIN |
							  JSON_C_TO_STRING_NOSLASHESCAPE,
						  &len);

	if (!s)
		return -ENOMEM;
	if (!is_utf8(s, len)) {
		s = clean = make_utf8(s, &len);
		if (!s)
			return -ENOMEM;
	}
	if (len > VARLINK_MESSAGE_MAX)
		return -EMSGSIZE;
	return vbuf_append(b, s, len + 1, max); /* json-c ends it with a NUL */
}

void message_error(json_object *msg, struct varlink_error *e)
{
	json_object *params = NULL, *o = NULL;
	const char *name;

	memset(e, 0, sizeof(*e));
	if (json_object_object_get_ex(msg, "error", &o) &&
	    json_object_is_type(o, json_type_string))
		snprintf(e->name, sizeof(e->name), "%s",
			 json_object_get_string(o));
	json_object_object_get_ex(msg, "parameters", &params);
	if (params && !json_object_is_type(params, json_type_object))
		params = NULL;
	if (params && json_object_object_get_ex(params, "errno", &o) &&
	    json_object_is_type(o, json_type_int))
		e->err = json_object_get_int(o);
	if (params && json_object_object_get_ex(params, "message", &o) &&
	    json_object_is_type(o, json_type_string)) {
		snprintf(e->message, sizeof(e->message), "%s",
			 json_object_get_string(o));
		return;
	}
	name = strrchr(e->name, '.');
	snprintf(e->message, sizeof(e->message), "%s %s",
		 name ? name + 1 : e->name,
		 params ? json_object_to_json_string_ext(params,
							 JSON_C_TO_STRING_PLAIN)
			: "");
}
