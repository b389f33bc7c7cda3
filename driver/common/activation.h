/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the service manager gives us and wants to hear (sd_listen_fds(3),
 * sd_notify(3)). Without one there is nothing to give, and nobody hears.
 */
#ifndef DAXFS_ACTIVATION_H
#define DAXFS_ACTIVATION_H

#include <stddef.h>
#include <stdint.h>

/*
 * The listening socket at `path` that we were started with: its descriptor,
 * non-blocking and close-on-exec, ours. 0: none was passed at all. -errno, with
 * `why`: what was passed is something else.
 */
int activation_socket(const char *path, char *why, size_t size);

/* We serve; `status` is what people are shown. */
void activation_ready(const char *status);
/* The configuration is read again; activation_ready() ends it. */
void activation_reloading(void);
void activation_stopping(void);

/* Within how many ms activation_alive() is to be called again; 0: never. */
int64_t activation_watchdog_ms(void);
void activation_alive(void);

#endif
