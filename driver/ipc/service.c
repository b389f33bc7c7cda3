/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/log.h"
#include "../common/metrics.h"
#include "internal.h"

#define SERVICE "org.varlink.service"

struct varlink_call_ctx {
	const struct varlink_interface *iface;
	bool more, oneway, answered;
	const char *method; /* that was found; NULL: none */
	char error[48];     /* that was answered, without its interface */
	varlink_send_fn send;
	void *arg;
};

static const char service_description[] =
	"# The interface that every Varlink service has.\n"
	"interface " SERVICE "\n"
	"\n"
	"method GetInfo() -> (vendor: string, product: string,\n"
	"  version: string, url: string, interfaces: []string)\n"
	"method GetInterfaceDescription(interface: string)\n"
	"  -> (description: string)\n"
	"\n"
	"error InterfaceNotFound (interface: string)\n"
	"error MethodNotFound (method: string)\n"
	"error MethodNotImplemented (method: string)\n"
	"error InvalidParameter (parameter: string)\n";

/* ---- Answers ------------------------------------------------------------- */

/* Consumes params. */
static int send_message(struct varlink_call_ctx *ctx, const char *error,
			json_object *params, bool continues)
{
	json_object *msg;
	int rc;

	if (ctx->oneway) {
		json_object_put(params);
		return 0;
	}
	msg = json_object_new_object();
	if (!params)
		params = json_object_new_object();
	if (!msg || !params) {
		json_object_put(msg);
		json_object_put(params);
		return -ENOMEM;
	}
	if (error)
		json_object_object_add(msg, "error",
				       json_object_new_string(error));
	json_object_object_add(msg, "parameters", params);
	if (continues)
		json_object_object_add(msg, "continues",
				       json_object_new_boolean(true));
	rc = ctx->send(ctx->arg, msg);
	json_object_put(msg);
	return rc;
}

void varlink_reply(struct varlink_call_ctx *ctx, json_object *params)
{
	int rc;

	if (ctx->answered) {
		log_event(LOG_ERROR, "second answer to one call dropped",
			  "interface", ctx->iface->name, NULL);
		json_object_put(params);
		return;
	}
	ctx->answered = true;
	rc = send_message(ctx, NULL, params, false);
	if (rc == -EMSGSIZE) {
		ctx->answered = false;
		varlink_fail(ctx, "Failed", EMSGSIZE,
			     "the reply is larger than %u bytes",
			     VARLINK_MESSAGE_MAX);
	}
}

int varlink_reply_more(struct varlink_call_ctx *ctx, json_object *params)
{
	if (!ctx->more || ctx->oneway || ctx->answered) {
		json_object_put(params);
		return -EPIPE;
	}
	return send_message(ctx, NULL, params, true);
}

static void fail_with(struct varlink_call_ctx *ctx, const char *error,
		      json_object *params)
{
	const char *dot = strrchr(error, '.');

	if (ctx->answered) {
		json_object_put(params);
		return;
	}
	ctx->answered = true;
	snprintf(ctx->error, sizeof(ctx->error), "%s", dot ? dot + 1 : error);
	send_message(ctx, error, params, false);
}

void varlink_fail(struct varlink_call_ctx *ctx, const char *error, int err,
		  const char *fmt, ...)
{
	json_object *params = json_object_new_object();
	char text[1024], name[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (strchr(error, '.'))
		snprintf(name, sizeof(name), "%s", error);
	else
		snprintf(name, sizeof(name), "%s.%s", ctx->iface->name, error);
	if (params) {
		json_object_object_add(params, "errno",
				       json_object_new_int(abs(err)));
		json_object_object_add(params, "message",
				       json_object_new_string(text));
	}
	fail_with(ctx, name, params);
}

/* The errors of org.varlink.service have one string each. */
static void fail_service(struct varlink_call_ctx *ctx, const char *error,
			 const char *key, const char *value)
{
	json_object *params = json_object_new_object();

	if (params)
		json_object_object_add(params, key,
				       json_object_new_string(value));
	fail_with(ctx, error, params);
}

bool varlink_wants_more(const struct varlink_call_ctx *ctx)
{
	return ctx->more && !ctx->oneway;
}

/* ---- Parameters ---------------------------------------------------------- */

/* A JSON null counts as absent, as Varlink's optional types have it. */
static bool get_member(struct varlink_call_ctx *ctx, json_object *params,
		       const char *key, bool required, enum json_type type,
		       json_object **out)
{
	json_object *o = NULL;

	json_object_object_get_ex(params, key, &o);
	*out = NULL;
	if (!o && !required)
		return true;
	if (o && json_object_is_type(o, type)) {
		*out = o;
		return true;
	}
	fail_service(ctx, SERVICE ".InvalidParameter", "parameter", key);
	return false;
}

bool varlink_get_string(struct varlink_call_ctx *ctx, json_object *params,
			const char *key, bool required, const char **out)
{
	json_object *o;
	const char *s;

	if (!get_member(ctx, params, key, required, json_type_string, &o))
		return false;
	if (!o)
		return true;
	s = json_object_get_string(o);
	if (strlen(s) != (size_t)json_object_get_string_len(o)) {
		fail_service(ctx, SERVICE ".InvalidParameter", "parameter",
			     key);
		return false;
	}
	*out = s;
	return true;
}

bool varlink_get_bool(struct varlink_call_ctx *ctx, json_object *params,
		      const char *key, bool required, bool *out)
{
	json_object *o;

	if (!get_member(ctx, params, key, required, json_type_boolean, &o))
		return false;
	if (o)
		*out = json_object_get_boolean(o);
	return true;
}

bool varlink_get_u64(struct varlink_call_ctx *ctx, json_object *params,
		     const char *key, bool required, uint64_t *out)
{
	json_object *o;

	if (!get_member(ctx, params, key, required, json_type_int, &o))
		return false;
	if (o && json_object_get_int64(o) < 0) {
		fail_service(ctx, SERVICE ".InvalidParameter", "parameter",
			     key);
		return false;
	}
	if (o)
		*out = json_object_get_uint64(o);
	return true;
}

bool varlink_get_object(struct varlink_call_ctx *ctx, json_object *params,
			const char *key, bool required, json_object **out)
{
	json_object *o;

	if (!get_member(ctx, params, key, required, json_type_object, &o))
		return false;
	if (o)
		*out = o;
	return true;
}

bool varlink_get_array(struct varlink_call_ctx *ctx, json_object *params,
		       const char *key, bool required, json_object **out)
{
	json_object *o;

	if (!get_member(ctx, params, key, required, json_type_array, &o))
		return false;
	if (o)
		*out = o;
	return true;
}

/* ---- org.varlink.service ------------------------------------------------- */

static void add_string(json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key,
			       json_object_new_string(value ? value : ""));
}

static void get_info(struct varlink_call_ctx *ctx, json_object *params,
		     void *arg)
{
	const struct varlink_service *s = arg;
	json_object *reply = json_object_new_object();
	json_object *names = json_object_new_array();

	(void)params;
	if (!reply || !names) {
		json_object_put(reply);
		json_object_put(names);
		varlink_fail(ctx, "Failed", ENOMEM, "out of memory");
		return;
	}
	add_string(reply, "vendor", s->options.vendor);
	add_string(reply, "product", s->options.product);
	add_string(reply, "version", s->options.version);
	add_string(reply, "url", s->options.url);
	json_object_array_add(names, json_object_new_string(SERVICE));
	for (unsigned i = 0; i < s->n; i++)
		json_object_array_add(names, json_object_new_string(
						     s->interfaces[i]->name));
	json_object_object_add(reply, "interfaces", names);
	varlink_reply(ctx, reply);
}

static const struct varlink_interface *
find_interface(const struct varlink_service *s, const char *name, size_t len)
{
	for (unsigned i = 0; i < s->n; i++)
		if (strlen(s->interfaces[i]->name) == len &&
		    memcmp(s->interfaces[i]->name, name, len) == 0)
			return s->interfaces[i];
	return NULL;
}

static void get_description(struct varlink_call_ctx *ctx, json_object *params,
			    void *arg)
{
	const struct varlink_service *s = arg;
	const struct varlink_interface *i;
	const char *name, *text = NULL;
	json_object *reply;

	if (!varlink_get_string(ctx, params, "interface", true, &name))
		return;
	i = find_interface(s, name, strlen(name));
	if (i)
		text = i->description;
	else if (strcmp(name, SERVICE) == 0)
		text = service_description;
	if (!text) {
		fail_service(ctx, SERVICE ".InterfaceNotFound", "interface",
			     name);
		return;
	}
	reply = json_object_new_object();
	if (reply)
		add_string(reply, "description", text);
	varlink_reply(ctx, reply);
}

static const struct varlink_method service_methods[] = {
	{ "GetInfo", get_info },
	{ "GetInterfaceDescription", get_description },
	{ NULL, NULL },
};

/* ---- Dispatch ------------------------------------------------------------ */

static void run_method(struct varlink_call_ctx *ctx, const char *method,
		       const char *full, json_object *params)
{
	const struct varlink_method *m = ctx->iface->methods;

	while (m->name && strcmp(m->name, method) != 0)
		m++;
	if (!m->name) {
		fail_service(ctx, SERVICE ".MethodNotFound", "method", full);
		return;
	}
	ctx->method = m->name;
	m->fn(ctx, params, ctx->iface->arg);
	if (!ctx->answered) {
		log_event(LOG_ERROR, "method gave no answer", "method", full,
			  NULL);
		varlink_fail(ctx, "Failed", EIO, "%s gave no answer", full);
	}
}

/* The caller's id, else a new one; neither outlives the call. */
static void set_request(json_object *msg, char own[LOG_REQUEST_MAX + 1])
{
	json_object *o = NULL;

	json_object_object_get_ex(msg, "request", &o);
	if (json_object_is_type(o, json_type_string) &&
	    strlen(json_object_get_string(o)) ==
		    (size_t)json_object_get_string_len(o) &&
	    log_request_set(json_object_get_string(o)))
		return;
	log_request_new(own);
	log_request_set(own);
}

/* What the call was about, where that is a name. */
static const char *object_of(json_object *params)
{
	static const char *const keys[] = { "key", "name", "mountpoint" };
	json_object *o;

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (json_object_object_get_ex(params, keys[i], &o) &&
		    json_object_is_type(o, json_type_string))
			return json_object_get_string(o);
	return "";
}

/* run_method() under a request id, and with a word on how long it took. */
static void run_call(const struct varlink_service *s,
		     struct varlink_call_ctx *ctx, const char *method,
		     const char *full, json_object *msg, json_object *params)
{
	uint64_t ms, start = metrics_now();
	unsigned limit = atomic_load(&s->slow_call_ms);
	char own[LOG_REQUEST_MAX + 1];
	bool slow;

	set_request(msg, own);
	run_method(ctx, method, full, params);
	ms = (metrics_now() - start) / 1000000;
	slow = limit && ms >= limit;
	log_event(slow ? LOG_WARN : LOG_DEBUG, slow ? "slow call" : "call",
		  "method", full, "object", object_of(params), "ms",
		  log_fmt("%llu", (unsigned long long)ms), NULL);
	log_request_set(NULL);
}

static bool get_flag(json_object *msg, const char *key, bool *out)
{
	json_object *o = NULL;

	json_object_object_get_ex(msg, key, &o);
	if (!o)
		return true;
	if (!json_object_is_type(o, json_type_boolean))
		return false;
	*out = json_object_get_boolean(o);
	return true;
}

/* A peer may ask for any name: those that are none of ours are one. */
static void observe(const struct varlink_service *s,
		    const struct varlink_call_ctx *ctx, uint64_t begin)
{
	const char *dot = ctx->iface ? strrchr(ctx->iface->name, '.') : NULL;
	char name[96] = "unknown";

	if (ctx->method && dot)
		snprintf(name, sizeof(name), "%s.%s", dot + 1, ctx->method);
	s->options.observe(s->options.observe_arg, name, ctx->error,
			   metrics_now() - begin);
}

int service_dispatch(const struct varlink_service *s, json_object *msg,
		     varlink_send_fn send, void *arg)
{
	const struct varlink_interface own = { SERVICE, service_description,
					       service_methods, (void *)s };
	struct varlink_call_ctx ctx = { .iface = &own,
					.send = send,
					.arg = arg };
	json_object *params = NULL, *name = NULL;
	uint64_t begin = metrics_now();
	const char *full, *dot;

	if (!json_object_object_get_ex(msg, "method", &name) ||
	    !json_object_is_type(name, json_type_string) ||
	    !get_flag(msg, "more", &ctx.more) ||
	    !get_flag(msg, "oneway", &ctx.oneway))
		return -EBADMSG;
	json_object_object_get_ex(msg, "parameters", &params);
	if (params && !json_object_is_type(params, json_type_object))
		return -EBADMSG;
	full = json_object_get_string(name);
	dot = strrchr(full, '.');
	if (!dot)
		return -EBADMSG;
	params = params ? json_object_get(params) : json_object_new_object();
	if (!params)
		return -ENOMEM;
	if ((size_t)(dot - full) != strlen(SERVICE) ||
	    strncmp(full, SERVICE, strlen(SERVICE)) != 0)
		ctx.iface = find_interface(s, full, (size_t)(dot - full));
	if (ctx.iface) {
		run_call(s, &ctx, dot + 1, full, msg, params);
	} else {
		char interface[256];

		snprintf(interface, sizeof(interface), "%.*s",
			 (int)(dot - full), full);
		fail_service(&ctx, SERVICE ".InterfaceNotFound", "interface",
			     interface);
	}
	if (s->options.observe)
		observe(s, &ctx, begin);
	json_object_put(params);
	return 0;
}

/* ---- Calls within the process -------------------------------------------- */

static int keep_message(void *arg, json_object *msg)
{
	json_object **slot = arg;

	json_object_put(*slot);
	*slot = json_object_get(msg);
	return 0;
}

int varlink_call_local(const struct varlink_interface *i, const char *method,
		       json_object *params, json_object **reply,
		       struct varlink_error *e)
{
	json_object *answer = NULL, *o = NULL, *own = NULL;
	size_t prefix = strlen(i->name);
	struct varlink_call_ctx ctx = { .iface = i,
					.send = keep_message,
					.arg = &answer };

	if (strncmp(method, i->name, prefix) == 0 && method[prefix] == '.')
		method += prefix + 1;
	if (!params)
		params = own = json_object_new_object();
	if (params)
		run_method(&ctx, method, method, params);
	json_object_put(own);
	if (!answer) {
		if (e)
			*e = (struct varlink_error){ .message = "out of memory",
						     .err = ENOMEM };
		return -ENOMEM;
	}
	if (json_object_object_get_ex(answer, "error", &o)) {
		if (e)
			message_error(answer, e);
		json_object_put(answer);
		return -EREMOTEIO;
	}
	json_object_object_get_ex(answer, "parameters", &o);
	*reply = json_object_get(o);
	json_object_put(answer);
	return 0;
}
