/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot.h"

#include <stdio.h>

static const struct cli_verb verbs[] = {
	{ "ls", "list snapshots, all or those that filters select",
	  cmd_snapshot_ls },
	{ "tree", "draw the snapshots with their sizes", cmd_snapshot_tree },
	{ "usage", "tell what snapshots hold by themselves",
	  cmd_snapshot_usage },
	{ 0 },
};

int cmd_snapshot(int argc, char **argv)
{
	return cli_dispatch("daxfs snapshot",
			    "Snapshots of the running daxfs-snapshotter.",
			    verbs, argc, argv);
}

static void begin_json(struct snapshot_output *o)
{
	if (o->json)
		fputs(o->rows++ ? ",\n" : "[\n", stdout);
}

void snapshot_json(struct snapshot_output *o, json_object *row)
{
	begin_json(o);
	fputs(json_object_to_json_string_ext(row,
					     JSON_C_TO_STRING_PLAIN |
						     JSON_C_TO_STRING_NOSLASHESCAPE),
	      stdout);
	json_object_put(row);
}

void snapshot_json_end(struct snapshot_output *o)
{
	if (o->json)
		puts(o->rows ? "\n]" : "[]");
}

struct each {
	void (*fn)(void *arg, json_object *info);
	void *arg;
};

static void show_batch(void *arg, json_object *reply)
{
	const struct each *e = arg;
	json_object *infos;

	if (!json_object_object_get_ex(reply, "infos", &infos) ||
	    !json_object_is_type(infos, json_type_array))
		return;
	for (size_t i = 0; i < json_object_array_length(infos); i++)
		e->fn(e->arg, json_object_array_get_idx(infos, i));
}

bool snapshot_each(struct daemon *d, char *const *filters, int count,
		   void (*fn)(void *arg, json_object *info), void *arg)
{
	json_object *params = json_object_new_object();
	json_object *list = json_object_new_array();
	struct each e = { fn, arg };

	for (int i = 0; i < count; i++) {
		if (!is_utf8(filters[i], strlen(filters[i])))
			cli_usage(d->program,
				  "a filter is UTF-8, and '%s' is not",
				  filters[i]);
		json_object_array_add(list, json_object_new_string(filters[i]));
	}
	cli_json_add(params, "filters", list);
	return daemon_call_more(d, "Snapshots.List", params, show_batch, &e);
}
