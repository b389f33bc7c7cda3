/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"

#include <errno.h>
#include <stdio.h>

#include "driver/common/log.h"
#include "driver/ipc/varlink.h"

int grpc_ask(const char *path, const char *method, json_object **reply,
	     struct grpc_ask_failure *f)
{
	struct varlink_client *c;
	struct varlink_error e;
	json_object *answer;
	int rc = varlink_connect(path, &c);

	if (rc < 0) {
		snprintf(f->text, sizeof(f->text),
			 "cannot reach the snapshotter at %s: %s", path,
			 log_err(rc));
		return rc;
	}
	rc = varlink_call(c, method, NULL, GRPC_ASK_MS, &answer, &e);
	varlink_close(c);
	if (rc == 0 && reply)
		*reply = answer;
	else if (rc == 0)
		json_object_put(answer);
	else
		snprintf(f->text, sizeof(f->text),
			 "the snapshotter at %s does not answer: %.300s", path,
			 e.message[0] ? e.message : e.name);
	return rc;
}

int grpc_ask_alive(const char *path, struct grpc_ask_failure *f)
{
	return grpc_ask(path, "org.varlink.service.GetInfo", NULL, f);
}
