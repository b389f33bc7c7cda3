/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

#define LOCK_MS 200

/* One write(2) a line, so that lines of several processes do not mix. */
#define LINE_MAX_BYTES 4096

#define RING_SLOTS 16
#define RING_BYTES 512

static struct {
	const char *program;
	_Atomic(enum log_level) level;
	enum log_format format;
	bool journal; /* reads the lines, and wants each one's level */
} conf = { "daxfs", LOG_INFO, LOG_TEXT, false };

/* Where stderr goes, when that is a file of ours. */
static struct {
	char *path; /* NULL: it is not */
	uint64_t max;
	pthread_mutex_t lock; /* one renames it; leaf */
} file = { .lock = PTHREAD_MUTEX_INITIALIZER };

static __thread const char *request;

static const char *const level_names[] = { "error", "warn", "info", "debug" };
/* As sd-daemon(3) has them. */
static const char *const journal_levels[] = { "<3>", "<4>", "<6>", "<7>" };
static const char *const format_names[] = { "text", "json" };

struct line {
	char text[LINE_MAX_BYTES];
	size_t start; /* of the line proper: the level for the journal comes before */
	size_t len;
	bool full;
};

/* Is stderr the stream that systemd says it has given us? */
static bool stderr_is_journal(void)
{
	const char *given = getenv("JOURNAL_STREAM");
	char ours[64];
	struct stat st;

	if (!given || fstat(STDERR_FILENO, &st) < 0)
		return false;
	snprintf(ours, sizeof(ours), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	return str_eq(given, ours);
}

void log_init(const char *program, enum log_level level, enum log_format format)
{
	conf.program = program;
	atomic_store(&conf.level, level);
	conf.format = format;
	conf.journal = stderr_is_journal();
}

void log_set_level(enum log_level level)
{
	atomic_store(&conf.level, level);
}

bool log_level_parse(const char *s, enum log_level *out)
{
	for (unsigned i = 0; i <= LOG_DEBUG; i++)
		if (strcmp(s, level_names[i]) == 0) {
			*out = (enum log_level)i;
			return true;
		}
	return false;
}

bool log_format_parse(const char *s, enum log_format *out)
{
	for (unsigned i = 0; i <= LOG_JSON; i++)
		if (strcmp(s, format_names[i]) == 0) {
			*out = (enum log_format)i;
			return true;
		}
	return false;
}

const char *log_level_name(enum log_level level)
{
	return level_names[level];
}

const char *log_format_name(enum log_format format)
{
	return format_names[format];
}

/* Room is kept for the end of a cut line: quote, brace, newline. */
static void put(struct line *l, const char *s, size_t n)
{
	if (l->full || n > sizeof(l->text) - 8 - l->len) {
		l->full = true;
		return;
	}
	memcpy(l->text + l->len, s, n);
	l->len += n;
}

static void puts_line(struct line *l, const char *s)
{
	put(l, s, strlen(s));
}

/* Also on a full line: put() kept the room. */
static void put_quote(struct line *l)
{
	put(l, "\"", 1);
	if (l->full)
		l->text[l->len++] = '"';
}

/* As a JSON string; a text line quotes in the same way. */
static void put_quoted(struct line *l, const char *s)
{
	put_quote(l);
	while (*s && !l->full) {
		unsigned char c = (unsigned char)*s;
		size_t n = utf8_length(s, strnlen(s, 4));
		char esc[8];

		if (n == 0) {
			puts_line(l, "\xef\xbf\xbd");
			n = 1;
		} else if (c == '"' || c == '\\') {
			esc[0] = '\\';
			esc[1] = *s;
			put(l, esc, 2);
		} else if (c == '\n') {
			puts_line(l, "\\n");
		} else if (c < 0x20 || c == 0x7f) {
			snprintf(esc, sizeof(esc), "\\u%04x", c);
			puts_line(l, esc);
		} else {
			put(l, s, n);
		}
		s += n;
	}
	put_quote(l);
}

static bool is_plain(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if (*s <= ' ' || *s >= 0x7f || *s == '"' || *s == '=' ||
		    *s == '\\')
			return false;
	return true;
}

/*
 * A key that does not fit is left out with its value; a value is cut and
 * closed, so that JSON stays JSON.
 */
static void put_pair(struct line *l, const char *key, const char *value)
{
	bool json = conf.format == LOG_JSON;
	size_t before = l->len;

	if (l->full)
		return;
	if (json) {
		put(l, l->len > l->start ? "," : "{", 1);
		put_quoted(l, key);
	} else {
		put(l, " ", l->len > l->start ? 1 : 0);
		puts_line(l, key);
	}
	put(l, json ? ":" : "=", 1);
	if (l->full) {
		l->len = before;
		return;
	}
	if (!value)
		value = "";
	if (!json && is_plain(value))
		put(l, value, strnlen(value, sizeof(l->text)));
	else
		put_quoted(l, value);
}

static void put_time(struct line *l)
{
	char day[32], text[64];
	struct timespec ts;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%06uZ", day,
		 (unsigned)(ts.tv_nsec / 1000));
	put_pair(l, "time", text);
}

/* ---- The file ------------------------------------------------------------ */

/* Is it where lines shall go: at its path, and with room? */
enum place { HERE, FULL, ELSEWHERE };

static enum place look(size_t more)
{
	struct stat ours, st;

	if (fstat(STDERR_FILENO, &ours) < 0)
		return HERE;
	if (stat(file.path, &st) < 0 || st.st_ino != ours.st_ino ||
	    st.st_dev != ours.st_dev)
		return ELSEWHERE;
	return file.max && st.st_size > 0 &&
			       (uint64_t)st.st_size + more > file.max
		       ? FULL
		       : HERE;
}

static int open_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	int rc = 0;

	if (fd < 0)
		return -errno;
	if (dup2(fd, STDERR_FILENO) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

static void begin_anew(void)
{
	cleanup_free char *old = str_printf("%s.1", file.path);

	if (old && rename(file.path, old) == 0)
		open_file(file.path);
}

/*
 * For as long as somebody needs to make room who is interrupted in it; for
 * somebody who has stopped nobody's line waits longer.
 */
static bool lock_file(int fd)
{
	const struct timespec step = { .tv_nsec = 1000000 };

	for (int ms = 0; ms < LOCK_MS; ms++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return true;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return false;
		nanosleep(&step, NULL);
	}
	return false;
}

/*
 * Another thread, or process, may have been quicker: each locks the file that
 * it found full, and looks again. Where nothing can be done lines go on into
 * the old one.
 */
static void find_place(size_t more)
{
	int was = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

	pthread_mutex_lock(&file.lock);
	if (was >= 0 && lock_file(was)) {
		enum place p = look(more);

		if (p == FULL)
			begin_anew();
		else if (p == ELSEWHERE)
			open_file(file.path);
		flock(was, LOCK_UN);
	}
	pthread_mutex_unlock(&file.lock);
	util_close_fd(&was);
}

int log_to_file(const char *path, uint64_t max)
{
	cleanup_free char *cwd = *path == '/' ? NULL : getcwd(NULL, 0);
	int rc = open_file(path);
	char *absolute;

	if (rc < 0)
		return rc;
	if (*path != '/' && !cwd)
		return -errno;
	/* not by looking: another process may be about to move the file */
	absolute = cwd ? str_printf("%s/%s", cwd, path) : strdup(path);
	if (!absolute)
		return -ENOMEM;
	free(file.path);
	conf.journal = false;
	file.path = absolute;
	file.max = max;
	return 0;
}

static void write_line(const struct line *l)
{
	size_t done = 0;

	if (file.path && look(l->len) != HERE)
		find_place(l->len);
	while (done < l->len) {
		ssize_t n = write(STDERR_FILENO, l->text + done, l->len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		done += (size_t)n;
	}
}

static struct {
	pthread_mutex_t lock; /* leaf */
	int64_t time_ns;
	char text[LOG_LAST_MAX];
} last = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void keep_error(const char *msg, va_list ap)
{
	struct timespec ts;
	const char *key;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &ts);
	pthread_mutex_lock(&last.lock);
	last.time_ns = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
	snprintf(last.text, sizeof(last.text), "%s", msg);
	while ((key = va_arg(ap, const char *)) != NULL) {
		const char *value = va_arg(ap, const char *);

		n = strlen(last.text);
		snprintf(last.text + n, sizeof(last.text) - n, " %s=%s", key,
			 value ? value : "");
	}
	pthread_mutex_unlock(&last.lock);
}

int64_t log_last_error(char text[LOG_LAST_MAX])
{
	int64_t when;

	pthread_mutex_lock(&last.lock);
	when = last.time_ns;
	memcpy(text, last.text, sizeof(last.text));
	pthread_mutex_unlock(&last.lock);
	return when;
}

void log_event(enum log_level level, const char *msg, ...)
{
	int saved = errno;
	struct line l;
	const char *key;
	va_list ap;

	if (level > atomic_load(&conf.level))
		return;
	l.len = 0;
	l.full = false;
	if (conf.journal)
		puts_line(&l, journal_levels[level]);
	l.start = l.len;
	put_time(&l);
	put_pair(&l, "level", level_names[level]);
	put_pair(&l, "program", conf.program);
	put_pair(&l, "msg", msg);
	if (request)
		put_pair(&l, "request", request);
	va_start(ap, msg);
	while ((key = va_arg(ap, const char *)) != NULL)
		put_pair(&l, key, va_arg(ap, const char *));
	va_end(ap);
	if (level == LOG_ERROR) {
		va_start(ap, msg);
		keep_error(msg, ap);
		va_end(ap);
	}
	if (conf.format == LOG_JSON)
		l.text[l.len++] = '}';
	l.text[l.len++] = '\n';
	write_line(&l);
	errno = saved;
}

/* ---- Requests ------------------------------------------------------------ */

const char *log_request(void)
{
	return request;
}

bool log_request_set(const char *id)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_.:";
	size_t n = id ? strspn(id, allowed) : 0;

	if (id && (n == 0 || n > LOG_REQUEST_MAX || id[n]))
		return false;
	request = id;
	return true;
}

/* The process's part is random, for daemons are restarted. */
void log_request_new(char id[LOG_REQUEST_MAX + 1])
{
	static _Atomic uint32_t process;
	static _Atomic uint64_t count;
	uint32_t none = 0, mine = atomic_load(&process);

	if (!mine) {
		if (getrandom(&mine, sizeof(mine), 0) != sizeof(mine) || !mine)
			mine = (uint32_t)getpid();
		if (!atomic_compare_exchange_strong(&process, &none, mine))
			mine = none;
	}
	snprintf(id, LOG_REQUEST_MAX + 1, "%08x-%llu", mine,
		 (unsigned long long)atomic_fetch_add(&count, 1) + 1);
}

/* ---- Values -------------------------------------------------------------- */

static char *ring_slot(void)
{
	static __thread char ring[RING_SLOTS][RING_BYTES];
	static __thread unsigned next;

	return ring[next++ % RING_SLOTS];
}

const char *log_fmt(const char *fmt, ...)
{
	int saved = errno;
	char *s = ring_slot();
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s, RING_BYTES, fmt, ap);
	va_end(ap);
	errno = saved;
	return s;
}

const char *log_err(int err)
{
	int saved = errno;
	char *s = ring_slot();
	const char *text = strerror_r(err < 0 ? -err : err, s, RING_BYTES);

	errno = saved;
	return text;
}
