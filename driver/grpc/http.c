/* SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "ask.h"
#include "driver/common/log.h"
#include "driver/common/util.h"
#include "stats.h"

#define BACKLOG 64
#define REQUEST_BYTES_MAX 8192 /* what a connection may hold of it */

struct grpc_http {
	struct MHD_Daemon *daemon;
	const char *snapshotter;
};

/* ---- The socket ---------------------------------------------------------- */

static int fail(const char *what, const char *address, const char *why)
{
	log_event(LOG_ERROR, what, "metrics_address", address, "error", why,
		  NULL);
	return -1;
}

/* getaddrinfo(3) takes 65537 for 1. */
static bool is_port(const char *s)
{
	size_t n = strspn(s, "0123456789");

	return n && n <= 5 && !s[n] && atoi(s) <= 65535;
}

/* "HOST:PORT", "[HOST]:PORT" into two strings. */
static bool split(const char *address, char *host, size_t size,
		  const char **port)
{
	const char *colon = strrchr(address, ':');
	size_t n = colon ? (size_t)(colon - address) : 0;

	if (!n)
		return false;
	if (address[0] == '[' && address[n - 1] == ']') {
		address++;
		n -= 2;
	} else if (memchr(address, ':', n)) {
		return false;
	}
	if (!n || n >= size)
		return false;
	memcpy(host, address, n);
	host[n] = '\0';
	*port = colon + 1;
	return is_port(*port);
}

static bool is_loopback(const struct addrinfo *ai)
{
	if (ai->ai_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(
			&((struct sockaddr_in6 *)ai->ai_addr)->sin6_addr);
	return ntohl(((struct sockaddr_in *)ai->ai_addr)->sin_addr.s_addr) >>
		       24 ==
	       IN_LOOPBACKNET;
}

static int bind_to(const struct addrinfo *ai)
{
	cleanup_close int fd =
		socket(ai->ai_family,
		       SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const int on = 1;

	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (ai->ai_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		return -errno;
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return -errno;
	return steal_fd(&fd);
}

/* With the port that was chosen where port 0 was asked for. */
static void log_address(int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	char host[64], port[8];

	if (getsockname(fd, (struct sockaddr *)&sa, &len) == 0 &&
	    getnameinfo((struct sockaddr *)&sa, len, host, sizeof(host), port,
			sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		log_event(LOG_INFO, "serving metrics", "host", host, "port",
			  port, NULL);
}

int grpc_http_listen(const char *address)
{
	const struct addrinfo hints = {
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
		.ai_socktype = SOCK_STREAM,
	};
	char host[64];
	struct addrinfo *ai;
	const char *port;
	int rc;

	if (!split(address, host, sizeof(host), &port) ||
	    getaddrinfo(host, port, &hints, &ai))
		return fail("cannot serve metrics", address,
			    "not an address and a port, such as "
			    "127.0.0.1:9768 or [::1]:9768");
	if (!is_loopback(ai))
		log_event(LOG_WARN,
			  "metrics are served to other hosts, to anybody who "
			  "asks",
			  "metrics_address", address, NULL);
	rc = bind_to(ai);
	freeaddrinfo(ai);
	if (rc < 0)
		return fail("cannot serve metrics", address, log_err(rc));
	log_address(rc);
	return rc;
}

/* ---- Pages --------------------------------------------------------------- */

static void add_text(struct metrics_text *t, const char *text)
{
	size_t n = strlen(text);
	char *p = realloc(t->data, t->length + n + 1);

	if (!p) {
		t->failed = true;
		return;
	}
	memcpy(p + t->length, text, n + 1);
	t->data = p;
	t->length += n;
	t->size = t->length + 1;
}

/* What the snapshotter says of itself, and whether it does. */
static void add_snapshotter(struct metrics_text *t, const char *path)
{
	json_object *reply = NULL, *text = NULL;
	struct grpc_ask_failure f;
	bool up = grpc_ask(path, "io.daxfs.Monitor.GetMetrics", &reply, &f) ==
			  0 &&
		  json_object_object_get_ex(reply, "text", &text) &&
		  json_object_is_type(text, json_type_string);

	metrics_single(t, METRICS_GAUGE, "daxfs_up",
		       "Whether the snapshotter answers (1) or not (0).", up);
	if (up && t->data)
		add_text(t, json_object_get_string(text));
	if (t->length && t->data[t->length - 1] != '\n')
		add_text(t, "\n");
	json_object_put(reply);
}

static enum MHD_Result answer(struct MHD_Connection *c, unsigned status,
			      const char *type, char *text, size_t len,
			      enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *r =
		MHD_create_response_from_buffer(len, text, mode);
	enum MHD_Result rc;

	if (!r) {
		if (mode == MHD_RESPMEM_MUST_FREE)
			free(text);
		return MHD_NO;
	}
	MHD_add_response_header(r, "Content-Type", type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, "Allow", "GET");
	rc = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return rc;
}

/* A line of plain text. */
static enum MHD_Result say(struct MHD_Connection *c, unsigned status,
			   const char *text)
{
	char line[1024];
	int n = snprintf(line, sizeof(line), "%s\n", text);

	if (n >= (int)sizeof(line))
		n = sizeof(line) - 1;
	return answer(c, status, "text/plain; charset=utf-8", line, (size_t)n,
		      MHD_RESPMEM_MUST_COPY);
}

static enum MHD_Result metrics_page(struct grpc_http *h,
				    struct MHD_Connection *c)
{
	struct metrics_text t = { 0 };

	grpc_stats_render(&t);
	add_snapshotter(&t, h->snapshotter);
	if (t.failed || !t.data) {
		free(t.data);
		return say(c, MHD_HTTP_SERVICE_UNAVAILABLE, "no memory");
	}
	return answer(c, MHD_HTTP_OK,
		      "text/plain; version=0.0.4; charset=utf-8", t.data,
		      t.length, MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result health_page(struct grpc_http *h,
				   struct MHD_Connection *c)
{
	struct grpc_ask_failure f;

	if (grpc_ask_alive(h->snapshotter, &f) == 0)
		return say(c, MHD_HTTP_OK, "ok");
	return say(c, MHD_HTTP_SERVICE_UNAVAILABLE, f.text);
}

/* Once for a request's headers, then again for what follows: answered then. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *c,
				  const char *url, const char *method,
				  const char *version, const char *body,
				  size_t *len, void **state)
{
	static int seen;

	(void)version;
	(void)body;
	if (!str_eq(method, MHD_HTTP_METHOD_GET))
		return say(c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET");
	if (!*state) {
		*state = &seen;
		return MHD_YES;
	}
	if (*len)
		return MHD_NO; /* a GET has no body */
	if (str_eq(url, "/metrics"))
		return metrics_page(arg, c);
	if (str_eq(url, "/healthz"))
		return health_page(arg, c);
	return say(c, MHD_HTTP_NOT_FOUND, "there are /metrics and /healthz");
}

/* ---- Start and end ------------------------------------------------------- */

static struct MHD_Daemon *start_daemon(struct grpc_http *h, int fd)
{
	struct MHD_Daemon *d;
	sigset_t all, old;

	sigfillset(&all);
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	d = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL,
			     on_request, h, MHD_OPTION_LISTEN_SOCKET, fd,
			     MHD_OPTION_CONNECTION_LIMIT,
			     GRPC_HTTP_CONNECTIONS_MAX,
			     MHD_OPTION_CONNECTION_TIMEOUT, GRPC_HTTP_TIMEOUT_S,
			     MHD_OPTION_CONNECTION_MEMORY_LIMIT,
			     (size_t)REQUEST_BYTES_MAX, MHD_OPTION_END);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return d;
}

struct grpc_http *grpc_http_start(int fd, const char *snapshotter)
{
	struct grpc_http *h = calloc(1, sizeof(*h));

	if (h) {
		h->snapshotter = snapshotter;
		errno = 0;
		h->daemon = start_daemon(h, fd);
	}
	if (!h || !h->daemon) {
		log_event(LOG_ERROR, "cannot serve metrics", "error",
			  log_err(h && errno ? errno : ENOMEM), NULL);
		close(fd);
		free(h);
		return NULL;
	}
	return h;
}

void grpc_http_stop(struct grpc_http *h)
{
	if (!h)
		return;
	MHD_stop_daemon(h->daemon); /* closes the socket */
	free(h);
}
