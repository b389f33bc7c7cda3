/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>

#include "cli.h"
#include "text.h"

/* ---- Verbs and messages ----------------------------------------------------- */

static void print_verbs(FILE *f, const char *program, const char *summary,
			const struct cli_verb *verbs)
{
	fprintf(f, "Usage: %s VERB [OPTIONS] ...\n%s\n\nVerbs:\n", program,
		summary);
	for (; verbs->name; verbs++)
		fprintf(f, "  %-10s %s\n", verbs->name, verbs->summary);
	fprintf(f, "\n'%s VERB --help' tells more.\n", program);
}

int cli_dispatch(const char *program, const char *summary,
		 const struct cli_verb *verbs, int argc, char **argv)
{
	const struct cli_verb *v;

	if (argc < 2) {
		print_verbs(stderr, program, summary, verbs);
		return DAXFS_EXIT_USAGE;
	}
	if (str_eq(argv[1], "--help") || str_eq(argv[1], "-h")) {
		print_verbs(stdout, program, summary, verbs);
		return DAXFS_EXIT_OK;
	}
	if (str_eq(argv[1], "--version")) {
		printf("%s %s\n", program, DAXFS_VERSION_STRING);
		return DAXFS_EXIT_OK;
	}
	for (v = verbs; v->name; v++)
		if (str_eq(argv[1], v->name))
			return v->run(argc - 1, argv + 1);
	cli_usage(program, "no such verb: '%s'", argv[1]);
}

int cli_error(const char *program, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", program);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return DAXFS_EXIT_FAIL;
}

void cli_usage(const char *program, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", program);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nTry '%s --help'.\n", program);
	exit(DAXFS_EXIT_USAGE);
}

void cli_print_name(const char *s, size_t len)
{
	cleanup_free char *shown = text_escape(s, len);

	fputs(shown, stdout);
}

void cli_format_uuid(const uint8_t u[16], char out[37])
{
	snprintf(out, 37,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9],
		 u[10], u[11], u[12], u[13], u[14], u[15]);
}

/* ---- JSON ------------------------------------------------------------------- */

int cli_print_json(json_object *o)
{
	const char *s =
		json_object_to_json_string_ext(o,
					       JSON_C_TO_STRING_PRETTY |
						       JSON_C_TO_STRING_NOSLASHESCAPE);
	int rc = s && puts(s) >= 0 ? DAXFS_EXIT_OK : DAXFS_EXIT_FAIL;

	json_object_put(o);
	return rc;
}

const char *cli_json_string(json_object *o, const char *key)
{
	json_object *v;

	if (!json_object_object_get_ex(o, key, &v) ||
	    !json_object_is_type(v, json_type_string))
		return "";
	return json_object_get_string(v);
}

uint64_t cli_json_u64(json_object *o, const char *key)
{
	json_object *v;

	if (!json_object_object_get_ex(o, key, &v))
		return 0;
	return json_object_get_uint64(v);
}

bool cli_json_bool(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) &&
	       json_object_get_boolean(v);
}

void cli_json_add(json_object *o, const char *key, json_object *value)
{
	if (!value || json_object_object_add(o, key, value) != 0) {
		cli_error("daxfs", "out of memory");
		exit(DAXFS_EXIT_FAIL);
	}
}

void cli_json_add_string(json_object *o, const char *key, const char *s)
{
	cli_json_add(o, key, json_object_new_string(s));
}

void cli_json_add_bytes(json_object *o, const char *key, const char *s)
{
	static const char replacement[] = "\xef\xbf\xbd";
	size_t left = strlen(s), at = 0;
	cleanup_free char *clean = malloc(3 * left + 1);

	if (!clean) {
		cli_json_add(o, key, NULL);
		return;
	}
	while (left) {
		size_t n = utf8_length(s, left);

		memcpy(clean + at, n ? s : replacement, n ? n : 3);
		at += n ? n : 3;
		s += n ? n : 1;
		left -= n ? n : 1;
	}
	clean[at] = 0;
	cli_json_add_string(o, key, clean);
}

void cli_json_add_u64(json_object *o, const char *key, uint64_t v)
{
	cli_json_add(o, key, json_object_new_uint64(v));
}

/* ---- daxfs-fuse ------------------------------------------------------------- */

int cli_run_fuse(const char *program, char *const argv[])
{
	cleanup_free char *path = path_beside_us("daxfs-fuse");
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return cli_error(program, "cannot start 'daxfs-fuse': %s",
				 log_err(errno));
	if (pid == 0) {
		if (path)
			execv(path, argv);
		else
			execvp("daxfs-fuse", argv);
		cli_error(program,
			  "cannot start 'daxfs-fuse': %s; it belongs beside this program or in PATH",
			  log_err(errno));
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return cli_error(program, "'daxfs-fuse': %s",
					 log_err(errno));
	if (WIFSIGNALED(status))
		return cli_error(program, "'daxfs-fuse' was ended by signal %d",
				 WTERMSIG(status));
	if (WEXITSTATUS(status) == DAXFS_EXIT_USAGE)
		return DAXFS_EXIT_USAGE;
	return WEXITSTATUS(status) ? DAXFS_EXIT_FAIL : DAXFS_EXIT_OK;
}
