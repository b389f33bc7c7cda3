/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the next server has to know of a mount, as JSON: an older or newer
 * version may read it. Members that are missing have their zero values.
 */
#include <stdio.h>

#include "../common/util.h"
#include "server.h"

static bool add(json_object *o, const char *key, json_object *value)
{
	if (value && json_object_object_add(o, key, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

static json_object *hex_json(const uint8_t *bytes, size_t len)
{
	char text[2 * sizeof(((struct session_init *)0)->request) + 1];
	size_t i;

	for (i = 0; i < len; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	text[2 * len] = '\0';
	return json_object_new_string(text);
}

static json_object *points_json(const struct mount *m)
{
	json_object *list = json_object_new_array();
	const struct mount_point *p;

	for (p = m->points; list && p; p = p->next) {
		json_object *o = json_object_new_object();

		if (!o || !add(o, "path", json_object_new_string(p->path)) ||
		    !add(o, "flags", json_object_new_int64(p->flags)) ||
		    json_object_array_add(list, o) < 0) {
			json_object_put(o);
			json_object_put(list);
			return NULL;
		}
	}
	return list;
}

char *record_write(const struct mount *m)
{
	json_object *o = json_object_new_object();
	char *text = NULL;

	if (o && add(o, "branch", json_object_new_string(m->name)) &&
	    add(o, "id", json_object_new_int64((int64_t)m->branch_id)) &&
	    add(o, "attached", json_object_new_boolean(m->attached)) &&
	    add(o, "readonly", json_object_new_boolean(m->readonly)) &&
	    add(o, "noatime", json_object_new_boolean(m->noatime)) &&
	    add(o, "keep", json_object_new_boolean(m->keep)) &&
	    add(o, "major", json_object_new_int64(m->dev_major)) &&
	    add(o, "minor", json_object_new_int64(m->dev_minor)) &&
	    add(o, "request", hex_json(m->init.request, m->init.request_len)) &&
	    add(o, "reply", hex_json(m->init.reply, m->init.reply_len)) &&
	    add(o, "points", points_json(m)))
		text = strdup(
			json_object_to_json_string_ext(o,
						       JSON_C_TO_STRING_PLAIN));
	json_object_put(o);
	return text;
}

/* ---- Reading ------------------------------------------------------------- */

static json_object *member(json_object *o, const char *key, enum json_type type)
{
	json_object *v;

	if (!json_object_object_get_ex(o, key, &v) ||
	    !json_object_is_type(v, type))
		return NULL;
	return v;
}

static int read_hex(json_object *o, const char *key, uint8_t *out, size_t size,
		    size_t *len)
{
	json_object *v = member(o, key, json_type_string);
	const char *s = v ? json_object_get_string(v) : "";

	for (*len = 0; s[0] && s[1]; s += 2) {
		int high = hex_digit(s[0]), low = hex_digit(s[1]);

		if (high < 0 || low < 0 || *len == size)
			return -EBADMSG;
		out[(*len)++] = (uint8_t)(high << 4 | low);
	}
	return *s ? -EBADMSG : 0;
}

static bool read_bool(json_object *o, const char *key)
{
	json_object *v = member(o, key, json_type_boolean);

	return v && json_object_get_boolean(v);
}

static u64 read_number(json_object *o, const char *key)
{
	json_object *v = member(o, key, json_type_int);

	return v ? (u64)json_object_get_int64(v) : 0;
}

int record_read(const char *text, size_t len, struct record *out)
{
	cleanup_free char *copy = strndup(text, len);
	json_object *name;

	*out = (struct record){ 0 };
	if (!copy)
		return -ENOMEM;
	out->json = json_tokener_parse(copy);
	if (!out->json)
		return -EBADMSG;
	name = member(out->json, "branch", json_type_string);
	out->points = member(out->json, "points", json_type_array);
	if (!name || !out->points ||
	    read_hex(out->json, "request", out->init.request,
		     sizeof(out->init.request), &out->init.request_len) ||
	    read_hex(out->json, "reply", out->init.reply,
		     sizeof(out->init.reply), &out->init.reply_len)) {
		record_free(out);
		return -EBADMSG;
	}
	out->branch = json_object_get_string(name);
	out->branch_id = read_number(out->json, "id");
	out->attached = read_bool(out->json, "attached");
	out->readonly = read_bool(out->json, "readonly");
	out->noatime = read_bool(out->json, "noatime");
	out->keep = read_bool(out->json, "keep");
	out->dev_major = (unsigned)read_number(out->json, "major");
	out->dev_minor = (unsigned)read_number(out->json, "minor");
	return 0;
}

void record_free(struct record *r)
{
	json_object_put(r->json);
	*r = (struct record){ 0 };
}
