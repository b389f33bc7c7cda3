/* SPDX-License-Identifier: Apache-2.0 */
/* daxfs-grpc: containerd's snapshot service in front of daxfs-snapshotter. */
#include <signal.h>

#include "confine_grpc.h"
#include "driver/common/log.h"
#include "driver/common/opts.h"
#include "driver/common/util.h"
#include "server.h"
#include "settings.h"

#define SOCKET_NAME "daxfs.sock" /* the snapshotter's, in the state folder */
#define SOCKET_MODE 0660

static int block_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	return sigprocmask(SIG_BLOCK, &set, NULL);
}

int main(int argc, char **argv)
{
	cleanup_free char *snapshotter = NULL;
	struct grpc_server_options o = { .mode = SOCKET_MODE };
	struct grpc_settings s;
	int rc;

	grpc_settings_parse(&s, argc, argv);
	log_init("daxfs-grpc", s.level, s.format);
	snapshotter = str_printf("%s/%s", s.state, SOCKET_NAME);
	if (!snapshotter || block_signals() < 0) {
		log_event(LOG_ERROR, "cannot start", "error", log_err(errno),
			  NULL);
		return DAXFS_EXIT_FAIL;
	}
	o.address = s.address;
	o.snapshotter = snapshotter;
	o.wait_ms = (int64_t)s.wait_timeout * 1000;
	o.stop_ms = (int64_t)s.stop_timeout * 1000;
	o.slow_call_ms = s.slow_call_ms;
	o.metrics = s.metrics_address;
	o.confine = grpc_confine;
	o.arg = s.user;
	rc = grpc_server_run(&o);
	grpc_settings_free(&s);
	return rc ? DAXFS_EXIT_FAIL : DAXFS_EXIT_OK;
}
