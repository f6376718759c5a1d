/* SPDX-License-Identifier: MIT */
/* The hub: run ready threads, poll for events, again. And the report when a thread overflows its stack. */
#define _GNU_SOURCE
#include "core/hub.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/hibernate.h"
#include "core/log.h"

/* Seconds: that a free stack may be idle, and between two bounded steps of giving many back. */
static const double REAP_AFTER = 1.0, REAP_AGAIN = 0.002;

struct gr_hub gr_hub;

static struct {
	bool stop;
	ev_timer reap, later;
	void (*at_later)(void);
	struct sigaction old_segv, old_bus;
} hub;

double gr_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- Overflow reporter ---- */

static void write_text(const char *format, ...)
{
	char text[512];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (n > 0 && write(STDERR_FILENO, text, n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1) < 0)
		return;
}

/* Two steps: what is certain first, then what needs the binding's data. snprintf allocates nothing for these formats. */
void gr_hub_report(const char *what)
{
	const struct gr_green *g = gr_current;
	const char *quote = g->name ? "\"" : "", *source;
	int line = 0;

	if (!gr_on_green()) {
		write_text("grun: %s in the event loop\n", what);
		return;
	}
	write_text("grun: %s in thread #%llu%s%s%s%s", what, (unsigned long long)g->id, g->name ? " " : "", quote,
		   g->name ? g->name : "", quote);
	source = gr_hub.spawn_site ? gr_hub.spawn_site(g, &line) : NULL;
	if (source)
		write_text(", spawned at %s:%d", source, line);
	write_text("\n");
}

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)context;
	if (gr_hub.on_fault)
		siglongjmp(*(sigjmp_buf *)gr_hub.on_fault, 1);
	if (gr_on_green() && gr_stack_guards(&gr_current->stack, info->si_addr)) {
		gr_hub_report("C stack overflow");
		signal(SIGABRT, SIG_DFL);
		abort();
	}
	if (gr_on_green())
		gr_hub_report(number == SIGSEGV ? "segmentation fault" : "bus error");
	/* Returning repeats the faulting instruction under whatever was there before us. */
	sigaction(number, number == SIGSEGV ? &hub.old_segv : &hub.old_bus, NULL);
}

static int install_fault_handler(void)
{
	static char stack[64 << 10];
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	sigemptyset(&action.sa_mask);
	if (sigaltstack(&alternate, NULL) < 0 || sigaction(SIGSEGV, &action, &hub.old_segv) < 0 ||
	    sigaction(SIGBUS, &action, &hub.old_bus) < 0)
		return -errno;
	return 0;
}

/* ---- The loop ---- */

static void reap(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)revents;
	switch (gr_green_reap(gr_hub.on_release)) {
	case GR_REAPED_SOME:
		timer->repeat = REAP_AGAIN;
		break;
	case GR_REAPED_IDLE:
		timer->repeat = REAP_AFTER;
		break;
	case GR_REAPED_ALL:
		ev_ref(loop);
		ev_timer_stop(loop, timer);
		return;
	}
	/* ev_timer_again counts from now on, not from when the timer was due. */
	ev_timer_again(loop, timer);
}

/* The timer runs only while there are free stacks and never keeps the loop alive. */
static void watch_free_stacks(void)
{
	if (gr_green_nfree() == 0 || ev_is_active(&hub.reap))
		return;
	ev_timer_set(&hub.reap, REAP_AFTER, REAP_AFTER);
	ev_timer_start(gr_hub.loop, &hub.reap);
	ev_unref(gr_hub.loop);
}

/* A handler and not SIG_IGN, because programs we execute start with SIGPIPE at its default then. */
static void on_pipe(int number)
{
	(void)number;
}

int gr_hub_init(void)
{
	/* Not ev_default_loop: that one reaps other libraries' children. */
	gr_hub.loop = ev_loop_new(EVFLAG_NOENV | EVFLAG_NOSIGMASK | EVBACKEND_EPOLL);
	if (gr_hub.loop == NULL)
		return errno ? -errno : -ENOSYS;
	gr_hub.started = gr_now();
	ev_timer_init(&hub.reap, reap, REAP_AFTER, REAP_AFTER);
	gr_hub.pipe_ignored = signal(SIGPIPE, on_pipe) == SIG_IGN;
	return install_fault_handler();
}

static void before_poll(void)
{
	void (*f)(void) = gr_hub.on_poll;

	gr_hub.on_poll = NULL;
	if (f)
		f();
	if (gr_hub.trace_flush)
		gr_hub.trace_flush();
}

static void end_turn(void)
{
	double seconds = gr_now() - gr_turn_start();

	gr_hub.turns++;
	gr_hub.turn_seconds += seconds;
	if (seconds > gr_hub.turn_longest)
		gr_hub.turn_longest = seconds;
}

static void poll_events(void)
{
	bool wait;

	end_turn();
	before_poll();
	wait = !gr_have_ready() && !gr_have_idle();
	watch_free_stacks();
	gr_hibernate_watch();
	ev_run(gr_hub.loop, wait ? EVRUN_ONCE : EVRUN_NOWAIT);
	if (!gr_have_ready())
		gr_wake_idle();
}

enum gr_hub_end gr_hub_run(void)
{
	hub.stop = false;
	for (;;) {
		bool ready = gr_run_ready();

		if (hub.stop)
			return GR_HUB_STOPPED;
		if (!ready && gr_green_live() == 0)
			return GR_HUB_DONE;
		if (!ready && gr_hub.sources == 0 && !gr_have_idle() && !(gr_hub.on_deadlock && gr_hub.on_deadlock()))
			return GR_HUB_DEADLOCK;
		poll_events();
	}
}

static void run_later(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)timer;
	(void)revents;
	ev_ref(loop);
	hub.at_later();
}

void gr_hub_later(double seconds, void (*fn)(void))
{
	if (ev_is_active(&hub.later)) {
		ev_ref(gr_hub.loop);
		ev_timer_stop(gr_hub.loop, &hub.later);
	}
	if (fn == NULL)
		return;
	hub.at_later = fn;
	ev_timer_init(&hub.later, run_later, seconds, 0);
	ev_timer_start(gr_hub.loop, &hub.later);
	ev_unref(gr_hub.loop);
}

void gr_hub_stop(void)
{
	hub.stop = true;
	if (gr_on_green())
		gr_abandon();
	ev_break(gr_hub.loop, EVBREAK_ALL);
}

void gr_hub_forked(void)
{
	ev_loop_fork(gr_hub.loop);
	gr_hub.started = gr_now();
	gr_hub.turns = 0;
	gr_hub.turn_seconds = gr_hub.turn_longest = 0;
}

void gr_hub_free(void)
{
	ev_loop_destroy(gr_hub.loop);
	gr_hub.loop = NULL;
	gr_green_free_all();
}

void gr_hub_seed(uint64_t seed)
{
	gr_green_seed(seed);
}
