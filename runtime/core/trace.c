/* SPDX-License-Identifier: MIT */
/* Tracing switches. */
#include "core/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/error.h"
#include "core/hub.h"
#include "core/sink.h"

enum { BATCH = 16 << 10, LINE = 320, YIELDED = 1 };

static struct gr_sink sink = GR_SINK_INIT(STDERR_FILENO);

static struct {
	double start;
	size_t n;
	char text[BATCH];
} trace;

static size_t notice(uint64_t n, char *text, size_t size)
{
	return (size_t)snprintf(text, size, "... %llu batches of lines were dropped: nothing took them\n",
				(unsigned long long)n);
}

static void flush(void)
{
	if (trace.n > 0)
		gr_sink_put(&sink, trace.text, trace.n);
	trace.n = 0;
}

static int put_name(const struct gr_green *g, char *text)
{
	if (g->id == 0)
		return sprintf(text, "hub");
	return sprintf(text, g->name ? "#%llu \"%.63s\"" : "#%llu", (unsigned long long)g->id, g->name);
}

/* Why `from` leaves. A thread that yields keeps no result of a wait, so a mark goes there for when it comes back. */
static int put_leaving(struct gr_green *from, char *text)
{
	if (from->id == 0)
		return 0;
	if (from->state == GR_FREE)
		return sprintf(text, " ends");
	if (from->state == GR_WAITING)
		return sprintf(text, " waits on %.63s", from->what ? from->what : "?");
	from->wake = YIELDED;
	return sprintf(text, " yields");
}

static int put_coming(const struct gr_green *to, char *text)
{
	if (to->id == 0)
		return sprintf(text, gr_have_ready() ? " polls\n" : " waits for events\n");
	if (to->switches == 0)
		return sprintf(text, " starts\n");
	if (to->wake == YIELDED)
		return sprintf(text, " goes on\n");
	return sprintf(text, " woken from %.63s: %.63s\n", to->what ? to->what : "?",
		       to->wake < 0 ? gr_strerror(to->wake) : "ok");
}

static void on_switch(struct gr_green *from, struct gr_green *to)
{
	char *at;

	if (trace.n + LINE > BATCH)
		flush();
	at = trace.text + trace.n;
	at += sprintf(at, "%.6f ", gr_now() - trace.start);
	at += put_name(from, at);
	at += put_leaving(from, at);
	at += sprintf(at, " -> ");
	at += put_name(to, at);
	at += put_coming(to, at);
	trace.n = (size_t)(at - trace.text);
}

int gr_trace_start(const char *path)
{
	int fd =
		path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_APPEND | O_NOCTTY, 0666) : STDERR_FILENO;

	if (fd < 0)
		return -errno;
	sink.fd = fd;
	sink.notice = notice;
	trace.start = gr_now();
	gr_hub.trace = on_switch;
	gr_hub.trace_flush = flush;
	atexit(flush);
	gr_green_trace();
	return 0;
}
