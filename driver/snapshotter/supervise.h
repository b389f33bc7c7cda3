/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals and the service manager's watchdog, in threads of their own: they
 * are heard whatever the others wait for.
 *
 *   SIGTERM, SIGINT  the server ends; what is not done after stop_timeout, or
 *                    when the signal comes again, is left to the next start, as
 *                    all is before there is a server
 *   SIGHUP           the configuration is read again (settings_reload)
 *
 * The watchdog is told that we live after a call over our own socket: the loop
 * took it and a worker answered.
 */
#ifndef DAXFS_SUPERVISE_H
#define DAXFS_SUPERVISE_H

#include "../ipc/varlink.h"
#include "failure.h"
#include "settings.h"

struct supervisor;

/* First of all, before there are threads. `set` stays until supervise_stop(). */
int supervise_start(struct settings *set, struct supervisor **out,
		    struct failure *f);

/*
 * From now on there is a server, which listens on `socket`; both are borrowed
 * until supervise_stop().
 */
int supervise_serve(struct supervisor *s, struct varlink_server *server,
		    const char *socket, struct failure *f);

/* NULL is fine. */
void supervise_stop(struct supervisor *s);

#endif
