/* SPDX-License-Identifier: Apache-2.0 */
#include "activation.h"

#include <errno.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

#include "../ipc/internal.h"
#include "log.h"

int activation_socket(const char *path, char *why, size_t size)
{
	/* the programs that we start have no use for the variables */
	static int passed = -1;
	int rc;

	if (passed < 0)
		passed = sd_listen_fds(1);
	if (passed < 0) {
		snprintf(why, size, "sockets of the service manager: %s",
			 log_err(passed));
		return passed;
	}
	for (int i = 0; i < passed; i++) {
		rc = socket_adopt(SD_LISTEN_FDS_START + i, path);
		if (rc == 0)
			return SD_LISTEN_FDS_START + i;
	}
	if (!passed)
		return 0;
	snprintf(why, size,
		 "the service manager passed %d socket%s, but none that "
		 "listens at %s: compare ListenStream= of the .socket unit",
		 passed, passed == 1 ? "" : "s", path);
	return -ENOTSOCK;
}

static void notify(const char *state)
{
	int rc = sd_notify(0, state);

	if (rc < 0)
		log_event(LOG_WARN, "cannot tell the service manager", "state",
			  state, "error", log_err(rc), NULL);
}

void activation_ready(const char *status)
{
	char state[512];

	snprintf(state, sizeof(state), "READY=1\nSTATUS=%s", status);
	notify(state);
}

void activation_reloading(void)
{
	notify("RELOADING=1\nSTATUS=reading the configuration again");
}

void activation_stopping(void)
{
	notify("STOPPING=1\nSTATUS=finishing the calls under way");
}

int64_t activation_watchdog_ms(void)
{
	uint64_t us = 0;

	return sd_watchdog_enabled(0, &us) > 0 ? (int64_t)(us / 1000) : 0;
}

void activation_alive(void)
{
	notify("WATCHDOG=1");
}
