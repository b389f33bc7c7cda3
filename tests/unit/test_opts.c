/* SPDX-License-Identifier: Apache-2.0 */
/* Options, configuration file, log lines and the small helpers. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "driver/common/conf.h"
#include "driver/common/log.h"
#include "driver/common/opts.h"
#include "driver/common/util.h"
#include "scratch.h"

/* ---- What a child process prints and how it ends ------------------------- */

static char printed[1 << 20];

static int child(void (*fn)(void *), void *arg)
{
	FILE *f = tmpfile();
	size_t n;
	int status;
	pid_t pid;

	assert_non_null(f);
	pid = fork();
	if (pid == 0) {
		dup2(fileno(f), STDOUT_FILENO);
		dup2(fileno(f), STDERR_FILENO);
		fn(arg);
		fflush(stdout);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	rewind(f);
	n = fread(printed, 1, sizeof(printed) - 1, f);
	printed[n] = '\0';
	fclose(f);
	return WEXITSTATUS(status);
}

/* ---- The last error -------------------------------------------------------- */

static void log_some(void *arg)
{
	char text[LOG_LAST_MAX], big[3 * LOG_LAST_MAX];

	(void)arg;
	log_init("t", LOG_INFO, LOG_JSON);
	if (log_last_error(text) != 0)
		_exit(2);
	log_event(LOG_WARN, "a warning", NULL);
	if (log_last_error(text) != 0)
		_exit(3);
	log_event(LOG_ERROR, "it fails", "key", "a b", "error", NULL, NULL);
	log_event(LOG_INFO, "goes on", NULL);
	if (log_last_error(text) < INT64_C(1600000000000000000) ||
	    strcmp(text, "it fails key=a b error=") != 0)
		_exit(4);
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	log_event(LOG_ERROR, big, "more", big, NULL);
	if (!log_last_error(text) || strlen(text) != LOG_LAST_MAX - 1)
		_exit(5);
}

static void test_last_error(void **state)
{
	(void)state;
	assert_int_equal(child(log_some, NULL), 0);
}

/* ---- Options ------------------------------------------------------------- */

struct values {
	bool writable;
	const char *output;
	uint64_t size;
	unsigned count;
};

static int parse(struct values *v, char **argv)
{
	const struct opt opts[] = {
		{ 'w', "writable", OPT_FLAG, &v->writable, NULL, "writes" },
		{ 'o', "output", OPT_STR, &v->output, "FILE", "where to" },
		{ 's', NULL, OPT_SIZE, &v->size, "SIZE", "how much" },
		{ 0, "count", OPT_UINT, &v->count, "N", "how many" },
		{ 0 },
	};
	const struct opt_usage u = {
		.program = "prog verb",
		.synopsis = "[OPTIONS] REGION [X]",
		.summary = "Does things.",
		.example = "  prog verb -w r",
		.opts = opts,
		.min_args = 1,
		.max_args = 2,
	};
	int argc = 0;

	while (argv[argc])
		argc++;
	return opts_parse(&u, argc, argv);
}

#define ARGV(...) ((char *[]){ (char *)"prog", __VA_ARGS__, NULL })

static void test_parse(void **state)
{
	struct values v = { .count = 7 };
	char **a = ARGV("region", "-w", "--output=f", "-s4K", "--count", "9",
			"--", "-x");

	(void)state;
	assert_int_equal(parse(&v, a), 2);
	assert_string_equal(a[1], "region");
	assert_string_equal(a[2], "-x");
	assert_true(v.writable);
	assert_string_equal(v.output, "f");
	assert_int_equal(v.size, 4096);
	assert_int_equal(v.count, 9);

	v = (struct values){ .count = 7 };
	a = ARGV("-wo", "-", "-");
	assert_int_equal(parse(&v, a), 1);
	assert_string_equal(v.output, "-");
	assert_string_equal(a[1], "-");
	assert_int_equal(v.count, 7);
}

static void parse_child(void *argv)
{
	struct values v = { 0 };

	parse(&v, argv);
}

static void check_usage(char **argv, const char *text)
{
	assert_int_equal(child(parse_child, argv), DAXFS_EXIT_USAGE);
	if (!strstr(printed, text))
		fail_msg("'%s' not in: %s", text, printed);
	assert_non_null(strstr(printed, "Try 'prog verb --help'"));
}

static void test_usage_errors(void **state)
{
	(void)state;
	check_usage(ARGV("-z", "r"), "no such option: -z");
	check_usage(ARGV("--zz=1", "r"), "no such option: --zz");
	check_usage(ARGV("--writable=1", "r"), "--writable takes no value");
	check_usage(ARGV("r", "--output"), "--output needs a value");
	check_usage(ARGV("r", "-o"), "-o needs a value");
	check_usage(ARGV("r", "-s", "4X"), "-s: '4X' is not a size");
	check_usage(ARGV("r", "-s", "99999999999G"), "too large");
	check_usage(ARGV("r", "--count=1K"), "--count: '1K' is not a number");
	check_usage(ARGV("r", "--count=-1"), "is not a number");
	check_usage(ARGV("r", "--count=4294967296"), "too large");
	check_usage(ARGV("-w"), "missing argument");
	check_usage(ARGV("a", "b", "c"), "unexpected argument 'c'");
}

static void test_help(void **state)
{
	(void)state;
	assert_int_equal(child(parse_child, ARGV("--help")), DAXFS_EXIT_OK);
	assert_non_null(strstr(printed, "Usage: prog verb [OPTIONS] REGION"));
	assert_non_null(strstr(printed, "  -o, --output FILE"));
	assert_non_null(strstr(printed, "  -s SIZE"));
	assert_non_null(strstr(printed, "      --count N"));
	assert_non_null(strstr(printed, "Example:\n  prog verb -w r\n"));
	assert_int_equal(child(parse_child, ARGV("--version")), DAXFS_EXIT_OK);
	assert_string_equal(printed, "prog " DAXFS_VERSION_STRING "\n");
}

/* ---- Sizes, folders ------------------------------------------------------ */

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t value;
	} good[] = {
		{ "0", 0 },
		{ "4096", 4096 },
		{ "64K", 65536 },
		{ "64k", 65536 },
		{ "1MiB", 1 << 20 },
		{ "2GB", UINT64_C(2) << 30 },
		{ "3T", UINT64_C(3) << 40 },
		{ "0x1000", 4096 },
		{ "9223372036854775807", INT64_MAX },
	};
	static const char *const bad[] = { "",   "K",   "-1", "1.5G", " 1",
					   "1 ", "1KX", "0x", "+1",   "1iB" };
	uint64_t v;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(parse_size(good[i].text, &v), 0);
		assert_true(v == good[i].value);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		if (parse_size(bad[i], &v) != -EINVAL)
			fail_msg("accepted: '%s'", bad[i]);
	assert_int_equal(parse_size("9223372036854775808", &v), -ERANGE);
	assert_int_equal(parse_size("8E", &v), -ERANGE);
	assert_int_equal(parse_size("99999999999999999999", &v), -ERANGE);
	assert_string_equal(format_size(0), "0 B");
	assert_string_equal(format_size(1023), "1023 B");
	assert_string_equal(format_size(1536), "1.5 KiB");
	assert_string_equal(format_size((1 << 20) - 1), "1.0 MiB");
	assert_string_equal(format_size(UINT64_MAX), "16.0 EiB");
}

static void test_mkdir(void **state)
{
	char dir[128], path[160], file[160];
	struct stat st;

	(void)state;
	assert_true(scratch_dir(dir, sizeof(dir), "opts"));
	snprintf(path, sizeof(path), "%s/a//b/c/", dir);
	assert_int_equal(mkdir_parents(path, 0700), 0);
	assert_int_equal(mkdir_parents(path, 0700), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	snprintf(file, sizeof(file), "%s/f", dir);
	close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(mkdir_parents(file, 0700), -ENOTDIR);
	snprintf(path, sizeof(path), "%s/f/g", dir);
	assert_int_equal(mkdir_parents(path, 0700), -ENOTDIR);
	assert_int_equal(mkdir_parents("", 0700), -ENOENT);
	unlink(file);
	snprintf(path, sizeof(path), "rm -r %s", dir);
	assert_int_equal(system(path), 0);
}

/* ---- Configuration ------------------------------------------------------- */

static struct {
	char *name;
	uint64_t size, room;
	unsigned n;
	bool on;
	enum log_level level;
	enum log_format format;
} cf;

static const struct conf_key keys[] = {
	{ "pool", "name", CONF_STR, &cf.name, "x", 0, 0, "a name" },
	{ "pool", "size", CONF_SIZE, &cf.size, "1M", 4096, 1u << 30, "a size" },
	{ "pool", "n", CONF_UINT, &cf.n, "3", 1, 0, "a number" },
	{ "other", "on", CONF_BOOL, &cf.on, "no", 0, 0, "a switch" },
	{ "other", "room", CONF_SIZE_OR_0, &cf.room, "0", 4096, 0, "a size" },
	{ "other", "level", CONF_LOG_LEVEL, &cf.level, "info", 0, 0, "which" },
	{ "other", "format", CONF_LOG_FORMAT, &cf.format, "text", 0, 0, "how" },
	{ 0 },
};

static int load(const char *text, struct conf_error *e)
{
	static const char *const others[] = { "grpc", NULL };
	char path[128];
	int fd, rc;

	assert_true(scratch_name(path, sizeof(path), "opts"));
	fd = mkstemp(path);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	assert_int_equal(conf_defaults(keys), 0);
	rc = conf_load(path, keys, others, e);
	unlink(path);
	return rc;
}

static void test_conf(void **state)
{
	struct conf_error e;

	(void)state;
	assert_int_equal(load("", &e), 0);
	assert_string_equal(cf.name, "x");
	assert_int_equal(cf.size, 1 << 20);
	assert_int_equal(cf.n, 3);
	assert_false(cf.on);
	assert_int_equal(load("# c\n[pool]\nname = a b ; c\nsize=64K\n\nn: 5\n"
			      "[grpc]\nx = y\n[other]\non = Yes\n",
			      &e),
			 0);
	assert_string_equal(cf.name, "a b");
	assert_int_equal(cf.size, 65536);
	assert_int_equal(cf.n, 5);
	assert_true(cf.on);
	assert_int_equal(cf.room, 0);
	/* indented lines are lines, and what follows a key is no more of it */
	assert_int_equal(load("[pool]\n name = a\n\tn = 7\n  # c\n [other]\n"
			      "room = 0\nlevel = debug\nformat = json\n",
			      &e),
			 0);
	assert_string_equal(cf.name, "a");
	assert_int_equal(cf.n, 7);
	assert_int_equal(cf.level, LOG_DEBUG);
	assert_int_equal(cf.format, LOG_JSON);
	conf_free(keys);
}

/* What is printed is what a file would say, and reads back the same. */
static void test_conf_print(void **state)
{
	static const char *const sizes[] = { "0", "4K", "5000", "3M", "2049K" };
	struct conf_error e;
	char *text = NULL;
	size_t len;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		FILE *f = open_memstream(&text, &len);
		char want[300];

		snprintf(want, sizeof(want),
			 "[pool]\nname =\nsize = 1G\nn = 1024\n\n[other]\n"
			 "on = yes\nroom = %s\nlevel = warn\nformat = text\n",
			 sizes[i]);
		assert_int_equal(load(want, &e), 0);
		conf_print(keys, f);
		fclose(f);
		assert_string_equal(text, want);
		free(text);
	}
	conf_free(keys);
}

static void check_conf(const char *text, const char *where)
{
	struct conf_error e;

	assert_int_equal(load(text, &e), -EINVAL);
	if (!strstr(e.text, where))
		fail_msg("'%s' not in: %s", where, e.text);
}

static void test_conf_errors(void **state)
{
	struct conf_error e;
	char longer[512];

	(void)state;
	check_conf("[pool]\n\nnam = 1\n", ":3: unknown key 'nam' in [pool]");
	check_conf("[poll]\nname = 1\n", ":1: unknown section [poll]");
	check_conf("[pool]\nn = 1\n [poll]\n", ":3: unknown section [poll]");
	check_conf("name = 1\n", ":1: key 'name' before any [section]");
	check_conf("[pool]\nn = 1K\n", ":2: n = 1K: not a number");
	check_conf("[other]\nroom = 5\n", "room = 5: must be 0, or from 4K to");
	check_conf("[other]\nlevel = all\n",
		   ":2: level = all: not error, warn, info or debug");
	check_conf("[other]\nformat =\n", "not text or json");
	check_conf("[pool]\nsize = many\n", ":2: size = many: not a size");
	check_conf("[pool]\nsize = 1K\n", ":2: size = 1K: must be from 4K");
	check_conf("[pool]\nsize = 2G\n", "must be from 4K to 1G");
	check_conf("[pool]\nn = 0\n",
		   ":2: n = 0: must be from 1 to 4294967295");
	check_conf("[other]\non = maybe\n", ":2: on = maybe: not yes or no");
	check_conf("[pool]\nsize\n[poll]\na=1\n", ":2: neither");
	check_conf("[pool]\nsize = x\nn\n", ":2: size = x");
	snprintf(longer, sizeof(longer), "[pool]\nname = %0300d\nn = 1\n", 1);
	check_conf(longer, ":2: line is longer");
	assert_int_equal(conf_load("/nonexistent/f", keys, NULL, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/nonexistent/f: cannot open"));
	conf_free(keys);
}

/* ---- Log ----------------------------------------------------------------- */

static char long_value[8000];

static void log_child(void *format)
{
	log_init("p", LOG_INFO, *(enum log_format *)format);
	memset(long_value, '"', sizeof(long_value) - 1);
	errno = 7;
	log_event(LOG_DEBUG, "not shown", NULL);
	log_event(LOG_INFO, "a \"msg\"\n", "k", "v", "empty", NULL, "q", "a b",
		  "bad", "\xff\x01", "utf", "h\xc3\xa9", NULL);
	log_event(LOG_WARN, "long", "v", long_value, "after", "x", NULL);
	log_event(LOG_ERROR, log_err(-ENOENT), "n", log_fmt("%d", 5), NULL);
	/* a line that is full in each place of the second value's beginning */
	memset(long_value, 'x', sizeof(long_value) - 1);
	for (size_t i = 3900; i < 4096; i++) {
		const char *v = long_value + sizeof(long_value) - i;

		log_event(LOG_INFO, "m", "v", v, "k", "w", NULL);
	}
	if (errno != 7)
		_exit(1);
}

static void test_log_text(void **state)
{
	enum log_format f = LOG_TEXT;

	(void)state;
	assert_int_equal(child(log_child, &f), 0);
	assert_null(strstr(printed, "not shown"));
	assert_non_null(
		strstr(printed,
		       "level=info program=p msg=\"a \\\"msg\\\"\\n\" k=v "
		       "empty=\"\" q=\"a b\" bad=\"\xef\xbf\xbd\\u0001\" "
		       "utf=\"h\xc3\xa9\"\n"));
	assert_non_null(
		strstr(printed, "msg=\"No such file or directory\" n=5\n"));
}

static void test_log_json(void **state)
{
	enum log_format f = LOG_JSON;
	unsigned lines = 0;

	(void)state;
	assert_int_equal(child(log_child, &f), 0);
	for (char *s = strtok(printed, "\n"); s; s = strtok(NULL, "\n")) {
		json_object *o = json_tokener_parse(s);

		if (!o)
			fail_msg("not JSON: %s", s);
		assert_non_null(json_object_object_get(o, "time"));
		if (lines == 0)
			assert_string_equal(json_object_get_string(
						    json_object_object_get(o,
									   "msg")),
					    "a \"msg\"\n");
		json_object_put(o);
		lines++;
	}
	assert_int_equal(lines, 3 + 196);
}

/* stderr of the child is a file; say that it is the journal. */
static void journal_child(void *format)
{
	char stream[64];
	struct stat st;

	fstat(STDERR_FILENO, &st);
	snprintf(stream, sizeof(stream), "%llu:%llu",
		 (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_init("p", LOG_DEBUG, *(enum log_format *)format);
	log_event(LOG_ERROR, "a", NULL);
	log_event(LOG_WARN, "a", NULL);
	log_event(LOG_INFO, "a", NULL);
	log_event(LOG_DEBUG, "a", NULL);
	setenv("JOURNAL_STREAM", "1:1", 1);
	log_init("p", LOG_DEBUG, *(enum log_format *)format);
	log_event(LOG_INFO, "a", NULL);
}

static void test_log_journal(void **state)
{
	static const char *const text[] = { "<3>time=", "<4>time=", "<6>time=",
					    "<7>time=", "time=" };
	static const char *const json[] = { "<3>{\"time", "<4>{\"time",
					    "<6>{\"time", "<7>{\"time",
					    "{\"time" };

	(void)state;
	for (enum log_format f = LOG_TEXT; f <= LOG_JSON; f++) {
		const char *const *want = f == LOG_TEXT ? text : json;
		unsigned n = 0;

		assert_int_equal(child(journal_child, &f), 0);
		for (char *s = strtok(printed, "\n"); s;
		     s = strtok(NULL, "\n")) {
			assert_memory_equal(s, want[n], strlen(want[n]));
			n++;
		}
		assert_int_equal(n, ARRAY_SIZE(text));
	}
}

static void request_child(void *arg)
{
	char id[LOG_REQUEST_MAX + 1], other[LOG_REQUEST_MAX + 1];

	(void)arg;
	log_init("p", LOG_INFO, LOG_TEXT);
	log_request_new(id);
	log_request_new(other);
	if (strcmp(id, other) == 0 || !log_request_set(id))
		_exit(1);
	log_event(LOG_INFO, "one", "k", "v", NULL);
	if (!log_request_set("a-B_9.:"))
		_exit(1);
	log_event(LOG_INFO, "two", NULL);
	/* what is none changes nothing */
	if (log_request_set("") || log_request_set("a b") ||
	    log_request_set("a\n") || log_request_set("\xc3\xa9") ||
	    log_request_set("0123456789012345678901234567890123456789"
			    "0123456789012345678901234"))
		_exit(1);
	log_event(LOG_INFO, "three", NULL);
	log_request_set(NULL);
	log_event(LOG_INFO, "four", NULL);
}

static void test_log_request(void **state)
{
	(void)state;
	assert_int_equal(child(request_child, NULL), 0);
	assert_non_null(strstr(printed, "msg=one request="));
	assert_non_null(strstr(printed, "-1 k=v\n"));
	assert_non_null(strstr(printed, "msg=two request=a-B_9.:\n"));
	assert_non_null(strstr(printed, "msg=three request=a-B_9.:\n"));
	assert_non_null(strstr(printed, "msg=four\n"));
}

#define FILE_MAX 20000u
#define FILE_LINES 500

/* Two processes, two threads each, and one file. */
static void *write_lines(void *arg)
{
	(void)arg;
	for (int i = 0; i < FILE_LINES; i++)
		log_event(LOG_INFO, "line", "n", log_fmt("%d", i), NULL);
	return NULL;
}

static void file_child(void *arg)
{
	pthread_t thread;
	pid_t pid = fork();
	int status = 0;

	log_init("p", LOG_INFO, LOG_TEXT);
	if (log_to_file(arg, FILE_MAX) < 0 ||
	    pthread_create(&thread, NULL, write_lines, NULL))
		_exit(1);
	write_lines(NULL);
	pthread_join(thread, NULL);
	if (pid == 0)
		_exit(0);
	if (waitpid(pid, &status, 0) != pid || status)
		_exit(1);
}

/* Whole lines only; returns how many there are. */
static unsigned check_file(const char *path)
{
	char line[512];
	unsigned n = 0;
	struct stat st;
	FILE *f = fopen(path, "re");

	assert_non_null(f);
	assert_int_equal(fstat(fileno(f), &st), 0);
	/* others may add a line while one makes room */
	assert_in_range(st.st_size, 1, FILE_MAX + 4 * 128);
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "time=", 5) != 0 || !strchr(line, '\n'))
			fail_msg("not a line: %s", line);
		n++;
	}
	fclose(f);
	return n;
}

static void test_log_file(void **state)
{
	char dir[64], path[96], old[128];
	struct stat st;

	(void)state;
	assert_true(scratch_dir(dir, sizeof(dir), "opts"));
	snprintf(path, sizeof(path), "%s/log", dir);
	snprintf(old, sizeof(old), "%s.1", path);
	assert_int_equal(child(file_child, path), 0);
	assert_true(check_file(path) > 0);
	assert_true(check_file(old) > 100);
	/* half full at least: nobody moved away what another had just begun */
	assert_int_equal(stat(old, &st), 0);
	assert_true(st.st_size > FILE_MAX / 2);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0137, 0);
	unlink(path);
	unlink(old);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(log_to_file("/nonexistent/log", 0), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_last_error),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_usage_errors),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_mkdir),
		cmocka_unit_test(test_conf),
		cmocka_unit_test(test_conf_print),
		cmocka_unit_test(test_conf_errors),
		cmocka_unit_test(test_log_text),
		cmocka_unit_test(test_log_json),
		cmocka_unit_test(test_log_journal),
		cmocka_unit_test(test_log_request),
		cmocka_unit_test(test_log_file),
	};

	return cmocka_run_group_tests_name("opts", tests, NULL, NULL);
}
