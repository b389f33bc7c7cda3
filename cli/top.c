/* SPDX-License-Identifier: Apache-2.0 */
#include "top.h"

#include <stdio.h>

#include "daemon.h"
#include "text.h"

#define PROGRAM "daxfs top"
#define NS UINT64_C(1000000000)

struct top {
	struct daemon d;
	const char *state;
	struct top_screen screen;
	unsigned interval, count; /* seconds; 0: for ever */
	bool json;
	json_object *last, *rates;
};

/* False: nobody answers; t->d.why says why. */
static bool look(struct top *t)
{
	json_object *now;

	if (!t->d.client) {
		daemon_close(&t->d);
		if (!daemon_open(PROGRAM, t->state, &t->d))
			return false;
	}
	now = daemon_call(&t->d, "Monitor.GetActivity", NULL);
	if (!now) {
		/* the next time with another connection */
		varlink_close(t->d.client);
		t->d.client = NULL;
		return false;
	}
	json_object_put(t->rates);
	t->rates = top_rates(t->last, now);
	json_object_put(t->last);
	t->last = now;
	return true;
}

/* ---- On a terminal ---------------------------------------------------------- */

static void draw(struct top *t, bool answered)
{
	struct top_page p = { 0 };
	unsigned width, height;

	top_screen_size(&width, &height);
	if (answered) {
		top_draw(&p, t->rates, width, height);
	} else {
		char *why = text_fit(t->d.why, width, true);

		p.lines = calloc(1, sizeof(*p.lines));
		if (!p.lines)
			exit(cli_error(PROGRAM, "out of memory"));
		p.lines[p.count++] = why;
	}
	top_screen_show(&p);
	top_page_clear(&p);
}

/* Goes on when the snapshotter goes away: it may be starting anew. */
static int watch(struct top *t)
{
	bool answered = true;
	unsigned shown = 0;
	int sig = 0;

	for (;;) {
		/* the first view has no rates yet */
		uint64_t end = metrics_now() + (shown ? t->interval : 1) * NS;
		enum top_event e;

		draw(t, answered);
		if (t->count && shown == t->count)
			return 0;
		shown++;
		while ((e = top_wait(&t->screen, end, &sig)) == TOP_RESIZED)
			draw(t, answered);
		if (e == TOP_QUIT)
			return sig;
		answered = look(t);
	}
}

/* ---- To a file or a pipe ---------------------------------------------------- */

static void print(struct top *t)
{
	struct top_page p = { 0 };

	if (t->json) {
		puts(json_object_to_json_string_ext(t->rates,
						    JSON_C_TO_STRING_PLAIN |
							    JSON_C_TO_STRING_NOSLASHESCAPE));
	} else {
		top_draw(&p, t->rates, 0, 0);
		for (unsigned i = 0; i < p.count; i++)
			puts(p.lines[i]);
		putchar('\n');
		top_page_clear(&p);
	}
	fflush(stdout);
}

static int report(struct top *t)
{
	int sig = 0;

	for (unsigned n = 0; !t->count || n < t->count; n++) {
		uint64_t end = metrics_now() + t->interval * NS;
		enum top_event e;

		while ((e = top_wait(&t->screen, end, &sig)) == TOP_RESIZED)
			;
		if (e == TOP_QUIT)
			return sig;
		if (!look(t))
			return -1;
		print(t);
		if (ferror(stdout))
			return 0; /* main() says so */
	}
	return 0;
}

/* -1: nobody answered; else 0 or the signal that ended it. */
static int run(struct top *t)
{
	bool terminal = isatty(STDOUT_FILENO) && !t->json;
	int rc;

	t->d.quiet = true;
	/* before the screen is taken: the message is to be read */
	if (!look(t)) {
		cli_error(PROGRAM, "%s", t->d.why);
		return -1;
	}
	if (!top_screen_open(PROGRAM, &t->screen, terminal))
		return -1;
	rc = terminal ? watch(t) : report(t);
	top_screen_close(&t->screen);
	if (rc < 0)
		cli_error(PROGRAM, "%s", t->d.why);
	return rc;
}

int cmd_top(int argc, char **argv)
{
	struct top t = { .interval = 2, .screen.signals = -1 };
	const struct opt opts[] = {
		DAEMON_STATE_OPTION(&t.state),
		{ 'd', "interval", OPT_UINT, &t.interval, "SECONDS",
		  "between two looks [2]" },
		{ 'n', "count", OPT_UINT, &t.count, "COUNT",
		  "so many times, then end [0: for ever]" },
		{ 0, "json", OPT_FLAG, &t.json, NULL,
		  "print a JSON object a line for each look" },
		{ 0 },
	};
	const struct opt_usage usage = {
		.program = PROGRAM,
		.summary =
			"Watch the snapshotter's calls, the busiest mounts and the pool.\n"
			"On a terminal q ends it; otherwise it prints the numbers of each interval.",
		.example = "  daxfs top -d 5\n  daxfs top --json -n 1\n",
		.opts = opts,
	};
	int rc;

	opts_parse(&usage, argc, argv);
	if (!t.interval || t.interval > 86400)
		cli_usage(PROGRAM, "--interval: 1 to 86400 seconds");
	rc = run(&t);
	json_object_put(t.last);
	json_object_put(t.rates);
	daemon_close(&t.d);
	/* as if it had ended us, for who waits for us */
	if (rc > 0 && rc != SIGINT)
		raise(rc);
	return rc < 0 ? DAXFS_EXIT_FAIL : DAXFS_EXIT_OK;
}
