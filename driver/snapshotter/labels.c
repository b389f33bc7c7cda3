/* SPDX-License-Identifier: Apache-2.0 */
#include "labels.h"

#include <errno.h>

#include "../../core/daxfs.h"
#include "../common/util.h"

#define PREFIX "labels."

static int check_label(const char *key, json_object *v, struct failure *f)
{
	const char *s = json_object_get_string(v);
	size_t len;

	if (!json_object_is_type(v, json_type_string))
		return failure_set(f, FAILURE_INVALID_ARGUMENT, EINVAL,
				   "label '%.100s': not a string", key);
	len = strlen(s);
	if (!*key || len != (size_t)json_object_get_string_len(v))
		return failure_set(f, FAILURE_INVALID_ARGUMENT, EINVAL,
				   "label '%.100s': no name, or a NUL", key);
	if (len + strlen(key) > LABEL_BYTES)
		return failure_set(f, FAILURE_INVALID_ARGUMENT, E2BIG,
				   "label '%.100s': longer than %u bytes", key,
				   LABEL_BYTES);
	return 0;
}

static int put_label(json_object *labels, const char *key, const char *value,
		     struct failure *f)
{
	json_object *v;

	if (str_empty(value)) {
		json_object_object_del(labels, key);
		return 0;
	}
	v = json_object_new_string(value);
	if (v && json_object_object_add(labels, key, v) == 0)
		return 0;
	json_object_put(v);
	return failure_no_memory(f);
}

static int copy_into(json_object *out, json_object *in, struct failure *f)
{
	json_object_object_foreach(in, key, v)
	{
		if (check_label(key, v, f) < 0 ||
		    put_label(out, key, json_object_get_string(v), f) < 0)
			return -1;
	}
	return 0;
}

static int read_quota(json_object *labels, const char *key, uint64_t *out,
		      struct failure *f)
{
	const char *text = labels_get(labels, key);
	int rc;

	*out = 0;
	if (!text)
		return 0;
	rc = parse_size(text, out);
	if (rc == 0 && *out > DAXFS_QUOTA_MAX)
		rc = -ERANGE;
	if (rc == 0)
		return 0;
	return failure_set(f, FAILURE_INVALID_ARGUMENT, -rc,
			   "label '%s': '%.100s' is %s", key, text,
			   rc == -ERANGE
				   ? "too large"
				   : "not a number, or one with K, M, G or T");
}

int labels_quota(json_object *labels, struct quota *out, struct failure *f)
{
	if (read_quota(labels, LABEL_QUOTA_BYTES, &out->bytes, f) < 0)
		return -1;
	return read_quota(labels, LABEL_QUOTA_INODES, &out->inodes, f);
}

/*
 * So many, and so long, that a list of them fits into messages; and those with
 * a meaning have one.
 */
static int check_all(json_object *labels, struct failure *f)
{
	struct quota q;
	const char *text;

	if (json_object_object_length(labels) > LABELS_MAX)
		return failure_set(f, FAILURE_INVALID_ARGUMENT, E2BIG,
				   "more than %d labels", LABELS_MAX);
	text = labels_text(labels);
	if (!text)
		return failure_no_memory(f);
	if (strlen(text) > LABELS_BYTES)
		return failure_set(f, FAILURE_INVALID_ARGUMENT, E2BIG,
				   "the labels are longer than %u bytes",
				   LABELS_BYTES);
	return labels_quota(labels, &q, f);
}

int labels_copy(json_object *in, json_object **out, struct failure *f)
{
	json_object *o;

	if (in && json_object_object_length(in) > LABELS_MAX)
		return failure_set(f, FAILURE_INVALID_ARGUMENT, E2BIG,
				   "more than %d labels", LABELS_MAX);
	o = json_object_new_object();
	if (!o)
		return failure_no_memory(f);
	if (in && (copy_into(o, in, f) < 0 || check_all(o, f) < 0)) {
		json_object_put(o);
		return -1;
	}
	*out = o;
	return 0;
}

static int replace_all(json_object **labels, json_object *in, struct failure *f)
{
	json_object *copy;

	if (labels_copy(in, &copy, f) < 0)
		return -1;
	json_object_put(*labels);
	*labels = copy;
	return 0;
}

int labels_update(json_object **labels, json_object *in,
		  const char *const *paths, unsigned n, struct failure *f)
{
	int rc = 0;

	if (!n)
		return replace_all(labels, in, f);
	for (unsigned i = 0; i < n && rc == 0; i++) {
		const char *key = paths[i] + strlen(PREFIX);

		if (str_eq(paths[i], "labels"))
			rc = replace_all(labels, in, f);
		else if (strncmp(paths[i], PREFIX, strlen(PREFIX)) == 0 && *key)
			rc = put_label(*labels, key, labels_get(in, key), f);
		else
			rc = failure_set(f, FAILURE_INVALID_ARGUMENT, EINVAL,
					 "field '%.200s' cannot be changed",
					 paths[i]);
	}
	return rc < 0 ? rc : check_all(*labels, f);
}

const char *labels_get(json_object *labels, const char *key)
{
	json_object *v;

	if (!labels || !json_object_object_get_ex(labels, key, &v))
		return NULL;
	return json_object_get_string(v);
}

const char *labels_text(json_object *labels)
{
	return json_object_to_json_string_ext(labels,
					      JSON_C_TO_STRING_PLAIN |
						      JSON_C_TO_STRING_NOSLASHESCAPE);
}
