/* SPDX-License-Identifier: Apache-2.0 */
/* `daxfs top`: what happens between two looks, and a screen for it. */
#ifndef DAXFS_CLI_TOP_H
#define DAXFS_CLI_TOP_H

#include <signal.h>

#include "../driver/common/metrics.h"
#include "cli.h"

/* ---- top_rates.c ---------------------------------------------------------- */

/*
 * From two answers of GetActivity, of which the first may be NULL, what was
 * done a second in between, as one JSON object; see daxfs-top(1). Counters that
 * have begun anew, with their process, count from 0.
 */
json_object *top_rates(json_object *before, json_object *now);

/* ---- top_text.c ------------------------------------------------------------ */

/* Lines of a view, in memory. */
struct top_page {
	char **lines;
	unsigned count, size;
};

/* `width` 0: lines are not cut. Not more than `height` lines, 0: any number. */
void top_draw(struct top_page *p, json_object *rates, unsigned width,
	      unsigned height);
void top_page_clear(struct top_page *p);

/* ---- top_screen.c ---------------------------------------------------------- */

/*
 * The terminal: entered, and left again on every way out. Signals that end or
 * stop the program, and those that say that the size has changed, are blocked
 * and come through top_wait().
 */
struct top_screen {
	bool on;     /* stdout is a terminal, and ours */
	bool keys;   /* stdin is one */
	int signals; /* signalfd */
};

enum top_event { TOP_TIME, TOP_QUIT, TOP_RESIZED };

/*
 * `terminal`: take the terminal that stdout is; otherwise for the signals only.
 * False: a message has been printed.
 */
bool top_screen_open(const char *program, struct top_screen *s, bool terminal);
void top_screen_close(struct top_screen *s);
void top_screen_size(unsigned *width, unsigned *height);
void top_screen_show(const struct top_page *p);
/* Until the monotonic time `end`, in ns; *sig: the signal that ends us, or 0. */
enum top_event top_wait(struct top_screen *s, uint64_t end, int *sig);

#endif
