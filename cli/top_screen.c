/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal. Only sequences that every one of them has known since the
 * VT100 are used, and the second screen of xterm and its kin.
 */
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>

#include "top.h"

#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[?25h\033[?1049l"
#define HOME "\033[H"
#define CLEAR_LINE "\033[K"
#define CLEAR_BELOW "\033[J"

static struct termios saved;

static void signal_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGWINCH);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGQUIT);
	sigaddset(set, SIGTSTP);
}

static void write_all(const char *s, size_t n)
{
	while (n) {
		ssize_t k = write(STDOUT_FILENO, s, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return; /* the terminal is gone: a signal follows */
		s += k;
		n -= (size_t)k;
	}
}

static void enter(struct top_screen *s)
{
	struct termios raw;

	if (s->keys && tcgetattr(STDIN_FILENO, &saved) == 0) {
		raw = saved;
		/* keys at once and unseen; signals as before */
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		raw.c_cc[VMIN] = 0;
		raw.c_cc[VTIME] = 0;
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
	}
	write_all(ENTER, sizeof(ENTER) - 1);
}

static void leave(struct top_screen *s)
{
	write_all(LEAVE, sizeof(LEAVE) - 1);
	if (s->keys)
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved);
}

bool top_screen_open(const char *program, struct top_screen *s, bool terminal)
{
	sigset_t set;

	signal_set(&set);
	*s = (struct top_screen){ .signals = -1 };
	if (sigprocmask(SIG_BLOCK, &set, NULL) == 0)
		s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->signals < 0) {
		cli_error(program, "cannot wait for signals: %s",
			  log_err(errno));
		return false;
	}
	if (!terminal)
		return true;
	s->keys = isatty(STDIN_FILENO);
	enter(s);
	s->on = true;
	return true;
}

void top_screen_close(struct top_screen *s)
{
	sigset_t set;

	if (s->on)
		leave(s);
	s->on = false;
	if (s->signals < 0)
		return;
	close(s->signals);
	s->signals = -1;
	signal_set(&set);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void top_screen_size(unsigned *width, unsigned *height)
{
	struct winsize ws = { 0 };

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws);
	*width = ws.ws_col ? ws.ws_col : 80;
	*height = ws.ws_row ? ws.ws_row : 24;
}

/* One write, so that nothing flickers. The last line has no newline: it scrolls. */
void top_screen_show(const struct top_page *p)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return;
	fputs(HOME, f);
	for (unsigned i = 0; i < p->count; i++)
		fprintf(f, "%s" CLEAR_LINE "%s", p->lines[i],
			i + 1 < p->count ? "\r\n" : "");
	fputs(CLEAR_BELOW, f);
	if (fclose(f) == 0)
		write_all(text, size);
	free(text);
}

/* Ctrl-Z: the shell gets its terminal as it was. */
static void stop_ourselves(struct top_screen *s)
{
	if (s->on)
		leave(s);
	raise(SIGSTOP);
	if (s->on)
		enter(s);
}

/* -1: nothing that matters. */
static int look_at_signal(struct top_screen *s, int *sig)
{
	struct signalfd_siginfo info;

	if (read(s->signals, &info, sizeof(info)) != sizeof(info))
		return -1;
	switch (info.ssi_signo) {
	case SIGWINCH:
		return TOP_RESIZED;
	case SIGTSTP:
		stop_ourselves(s);
		return TOP_RESIZED;
	default:
		*sig = (int)info.ssi_signo;
		return TOP_QUIT;
	}
}

static int look_at_key(struct top_screen *s)
{
	ssize_t n;
	char c;

	n = read(STDIN_FILENO, &c, 1);
	if (n == 1)
		return c == 'q' || c == 'Q' ? TOP_QUIT : -1;
	/* the other end is gone */
	if (n == 0 || errno != EINTR)
		s->keys = false;
	return -1;
}

enum top_event top_wait(struct top_screen *s, uint64_t end, int *sig)
{
	for (;;) {
		struct pollfd p[] = {
			{ .fd = s->signals, .events = POLLIN },
			{ .fd = s->keys ? STDIN_FILENO : -1, .events = POLLIN },
		};
		uint64_t now = metrics_now();
		int event = -1, n;

		if (now >= end)
			return TOP_TIME;
		n = poll(p, ARRAY_SIZE(p), (int)((end - now) / 1000000 + 1));
		if (n > 0 && p[0].revents)
			event = look_at_signal(s, sig);
		else if (n > 0 && p[1].revents)
			event = look_at_key(s);
		if (event >= 0)
			return (enum top_event)event;
	}
}
