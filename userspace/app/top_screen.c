/* SPDX-License-Identifier: GPL-2.0-only */
/* top_screen.c - readings of the guard's drops as a table, and the terminal on which it is drawn. */
#include "app/top_screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/check.h"

#define BOLD "\033[1m"
#define RED "\033[31m"
#define PLAIN "\033[0m"

/* ---- reading ---- */

static uint64_t number(struct span word)
{
	uint64_t n = 0;

	for (size_t i = 0; i < word.len && word.ptr[i] >= '0' && word.ptr[i] <= '9'; i++)
		n = n * 10 + (uint64_t)(word.ptr[i] - '0');
	return n;
}

/* Cut to what fits; what could move a cursor does not come from a daemon of ours, and is not let through. */
static void word_copy(char *to, size_t size, struct span word)
{
	size_t len = MIN(word.len, size - 1);

	for (size_t i = 0; i < len; i++)
		to[i] = word.ptr[i] > ' ' && word.ptr[i] < 127 ? word.ptr[i] : '?';
	to[len] = '\0';
}

static void row_add(struct top_row *rows, unsigned *count, const struct span words[5], bool is_country)
{
	struct top_row *r = &rows[*count];

	if (*count == TOP_ROWS_MAX)
		return;
	*r = (struct top_row){ .count = number(words[2]) };
	word_copy(r->name, sizeof(r->name), words[1]);
	if (is_country)
		r->monitored = number(words[3]);
	else
		word_copy(r->reason, sizeof(r->reason), words[3]);
	++*count;
}

static void drop_add(struct top_reading *r, const struct span words[5])
{
	struct top_drop *d = &r->drops[r->drop_count];

	if (r->drop_count == TOP_DROPS_MAX)
		return;
	*d = (struct top_drop){ .packets = number(words[2]), .bytes = number(words[3]), .monitored = number(words[4]) };
	word_copy(d->name, sizeof(d->name), words[1]);
	r->drop_count++;
}

static void line_parse(struct span line, struct top_reading *r)
{
	struct span words[5] = { { 0 } };

	for (size_t i = 0; i < ARRAY_LEN(words) && span_next(&line, '\t', &words[i]); i++)
		;
	if (span_eq(words[0], SPAN("time")))
		r->at_ns = number(words[1]);
	else if (span_eq(words[0], SPAN("drop")))
		drop_add(r, words);
	else if (span_eq(words[0], SPAN("country")))
		row_add(r->countries, &r->country_count, words, true);
	else if (span_eq(words[0], SPAN("network")))
		row_add(r->networks, &r->network_count, words, false);
	else if (span_eq(words[0], SPAN("source")))
		row_add(r->sources, &r->source_count, words, false);
}

void top_reading_parse(struct span text, struct top_reading *out)
{
	struct span line;

	*out = (struct top_reading){ 0 };
	while (span_next(&text, '\n', &line))
		line_parse(line, out);
}

/* ---- drawing ---- */

struct drawing {
	struct strbuf *out;
	unsigned lines_left, columns; /* 0 columns: no bound */
	bool has_colour;
};

static void draw(struct drawing *d, const char *colour, const char *text)
{
	size_t len = strlen(text);

	if (d->lines_left == 0)
		return;
	d->lines_left--;
	if (d->columns)
		len = MIN(len, (size_t)d->columns);
	if (d->has_colour)
		strbuf_add_str(d->out, colour);
	strbuf_add(d->out, text, len);
	if (d->has_colour && colour[0])
		strbuf_add_str(d->out, PLAIN);
	strbuf_add_char(d->out, '\n');
}

static const struct top_drop *drop_before(const struct top_reading *before, const char *name)
{
	for (unsigned i = 0; before && i < before->drop_count; i++)
		if (strcmp(before->drops[i].name, name) == 0)
			return &before->drops[i];
	return NULL;
}

/* A second; 0 if there is nothing to compare with, or the counters began anew. */
static double rate(uint64_t now, uint64_t then, uint64_t ns)
{
	return ns && now > then ? (double)(now - then) * 1e9 / (double)ns : 0;
}

static void draw_drops(struct drawing *d, const struct top_reading *r, const struct top_reading *before)
{
	char line[160];

	(void)snprintf(line, sizeof(line), "%-20s %12s %12s %14s %12s", "DROPPED BY", "PACKETS/S", "KBYTES/S",
		       "PACKETS", "MONITORED");
	draw(d, BOLD, line);
	for (unsigned i = 0; i < r->drop_count; i++) {
		const struct top_drop *n = &r->drops[i], *o = drop_before(before, n->name);
		uint64_t ns = o && r->at_ns > before->at_ns ? r->at_ns - before->at_ns : 0;
		double packets = o ? rate(n->packets, o->packets, ns) : 0;

		(void)snprintf(line, sizeof(line), "%-20s %12.0f %12.0f %14llu %12llu", n->name, packets,
			       (o ? rate(n->bytes, o->bytes, ns) : 0) / 1000, (unsigned long long)n->packets,
			       (unsigned long long)n->monitored);
		draw(d, packets > 0 ? RED : "", line);
	}
}

static void draw_rows(struct drawing *d, const char *title, const struct top_row *rows, unsigned count,
		      bool is_country)
{
	char line[160];

	if (count == 0)
		return;
	(void)snprintf(line, sizeof(line), "%-44s %12s  %s", title, is_country ? "PACKETS" : "SAMPLES",
		       is_country ? "MONITORED" : "BY");
	draw(d, "", "");
	draw(d, BOLD, line);
	for (unsigned i = 0; i < count; i++) {
		if (is_country)
			(void)snprintf(line, sizeof(line), "%-44s %12llu  %llu", rows[i].name,
				       (unsigned long long)rows[i].count, (unsigned long long)rows[i].monitored);
		else
			(void)snprintf(line, sizeof(line), "%-44s %12llu  %s", rows[i].name,
				       (unsigned long long)rows[i].count, rows[i].reason);
		draw(d, "", line);
	}
}

void top_reading_draw(const struct top_reading *r, const struct top_reading *before, unsigned lines, unsigned columns,
		      bool has_colour, struct strbuf *out)
{
	struct drawing d = { out, lines ? lines : ~0u, columns, has_colour };

	draw_drops(&d, r, before);
	draw_rows(&d, "SOURCES MOST REFUSED", r->sources, r->source_count, false);
	draw_rows(&d, "NETWORKS", r->networks, r->network_count, false);
	draw_rows(&d, "COUNTRIES", r->countries, r->country_count, true);
}

/* ---- the terminal ---- */

static struct termios cooked; /* as it was; one terminal a process */
static volatile sig_atomic_t has_ended;

static void on_end(int signo)
{
	(void)signo;
	has_ended = 1;
}

static void on_size(int signo)
{
	(void)signo; /* that poll() ends is enough */
}

bool screen_open(void)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction end = { .sa_handler = on_end }, size = { .sa_handler = on_size };
	struct termios raw;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &cooked) < 0)
		return false;
	raw = cooked;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		(void)sigaction(ends[i], &end, NULL);
	(void)sigaction(SIGWINCH, &size, NULL);
	(void)fputs("\033[?1049h\033[?25l\033[?7l", stdout); /* the other screen, no cursor, no wrapping */
	(void)fflush(stdout);
	return true;
}

void screen_close(void)
{
	(void)fputs("\033[?7h\033[?25h\033[?1049l", stdout);
	(void)fflush(stdout);
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &cooked);
}

void screen_show(struct span text)
{
	const char *begin = "\033[H";
	struct span line;

	/* No end of line behind the last one: on a full screen it would move the first one out. */
	for (; span_next(&text, '\n', &line); begin = "\n")
		(void)printf("%s%.*s\033[K", begin, SPAN_ARG(line)); /* and what was behind it */
	(void)fputs("\033[J", stdout);
	(void)fflush(stdout);
}

void screen_size(unsigned *out_lines, unsigned *out_columns)
{
	struct winsize size;
	bool is_known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0;

	*out_lines = is_known ? size.ws_row : 24;
	*out_columns = is_known ? size.ws_col : 80;
}

int screen_wait(int ms)
{
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	unsigned char key;
	int n = poll(&in, 1, ms);

	if (has_ended || (n < 0 && errno != EINTR) || (n > 0 && in.revents & (POLLHUP | POLLERR | POLLNVAL)))
		return -1;
	if (n > 0 && read(STDIN_FILENO, &key, 1) == 1)
		return key;
	return 0;
}
