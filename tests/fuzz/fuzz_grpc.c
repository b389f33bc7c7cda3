/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a gRPC client, as they come from a socket, through HTTP/2, gRPC,
 * protobuf and the translation to JSON and back. The client's preface is put in
 * front. With clang: -fsanitize=fuzzer,address,undefined, driver/grpc without
 * main.c, driver/common, driver/ipc, build/gen/snapshots.pb-c.c and the libraries
 * of PKGS_daxfs-grpc; start it on tests/fuzz/grpc, which holds a session for each
 * RPC.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "driver/grpc/conn.h"
#include "driver/grpc/method.h"

#define HELD 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Calls that are answered later, so that resets and deadlines meet them. */
struct state {
	struct grpc_budget budget;
	struct grpc_call *held[HELD];
	unsigned started;
};

static const void *find(void *arg, const char *path)
{
	(void)arg;
	return grpc_method_find(path);
}

/* What the snapshotter might say, whatever was asked. */
static const char reply[] =
	"{\"mounts\":[{\"type\":\"bind\",\"source\":\"/s\",\"target\":\"\","
	"\"options\":[\"rw\"]}],\"info\":{\"name\":\"n\",\"parent\":\"\","
	"\"kind\":\"active\",\"created_ns\":1,\"updated_ns\":-1,\"labels\":"
	"{\"a\":\"b\"}},\"infos\":[],\"size\":1,\"inodes\":2,"
	"\"status\":1}";

static void answer(const struct grpc_method *m, struct grpc_call *call)
{
	struct grpc_result r = { 0 };
	json_object *o = json_tokener_parse(reply);
	struct grpc_message *msg = grpc_method_response(m, o, &r);

	if (msg)
		grpc_call_send(call, msg);
	grpc_call_finish(call, &r);
	json_object_put(o);
}

static void start(void *arg, struct grpc_call *call)
{
	const struct grpc_method *m = grpc_call_method(call);
	struct grpc_result r = { 0 };
	struct state *s = arg;
	size_t len, charge;
	uint8_t *body = grpc_call_take_body(call, &len, &charge);
	json_object *o = grpc_method_request(m, body, len, &r);

	grpc_budget_release(&s->budget, charge);
	free(body);
	if (!o)
		grpc_call_finish(call, &r);
	else if (s->started % 2 && !s->held[s->started / 2 % HELD])
		s->held[s->started / 2 % HELD] = call;
	else
		answer(m, call);
	s->started++;
	json_object_put(o);
}

static void gone(void *arg, struct grpc_call *call)
{
	struct state *s = arg;
	int i;

	for (i = 0; i < HELD; i++)
		if (s->held[i] == call)
			s->held[i] = NULL;
}

static void drained(void *arg, struct grpc_call *call, size_t n)
{
	(void)arg;
	(void)call;
	(void)n;
}

static void send_all(struct grpc_conn *c, int64_t now)
{
	uint8_t out[4096];

	while (grpc_conn_send(c, now, out, sizeof(out)) > 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	struct state s = { .budget.limit = 1u << 20 };
	const struct grpc_handler h = { .arg = &s,
					.find = find,
					.start = start,
					.gone = gone,
					.drained = drained };
	struct grpc_conn *c;
	size_t half = size / 2;
	int i, rc;

	if (grpc_conn_new(&h, &s.budget, 0, &c))
		return 0;
	rc = grpc_conn_recv(c, 1, preface, sizeof(preface) - 1);
	if (!rc)
		rc = grpc_conn_recv(c, 2, data, half);
	send_all(c, 3);
	grpc_conn_expire(c, 1000);
	if (!rc)
		grpc_conn_recv(c, 4, data + half, size - half);
	for (i = 0; i < HELD; i++)
		if (s.held[i])
			answer(grpc_call_method(s.held[i]), s.held[i]);
	memset(s.held, 0, sizeof(s.held));
	if (size % 2)
		grpc_conn_shutdown(c, 5);
	send_all(c, 5);
	grpc_conn_expire(c, 100000);
	send_all(c, 100000);
	grpc_conn_free(c);
	if (s.budget.used)
		abort();
	return 0;
}
