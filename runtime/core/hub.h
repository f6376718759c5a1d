/* SPDX-License-Identifier: MIT */
/* The hub: one libev loop on the process's own stack. A turn runs ready threads (bounded), then polls for events. */
#ifndef GR_CORE_HUB_H
#define GR_CORE_HUB_H

#include <stdbool.h>
#include <stdint.h>

#include <ev.h>

#include "core/green.h"

struct gr_hub {
	struct ev_loop *loop;
	/* Things that may still wake a thread: waits with an end or on a descriptor, and what bindings add (servers,
	 * signal handlers). Nothing ready and no source left means deadlock. */
	uint32_t sources;
	/* Turns that ended in a poll; how long they took together and the longest one, while others and events waited. */
	uint64_t turns;
	double turn_seconds, turn_longest;
	double started;    /* when the hub was made, as gr_now() counts */
	bool pipe_ignored; /* SIGPIPE was ignored when the process was started */
	/* Called in the hub when threads are parked and nothing can wake them. Returns true if it changed that. */
	bool (*on_deadlock)(void);
	/* Called when a free thread's stack goes back to the kernel: drop or keep g->user. */
	void (*on_release)(struct gr_green *g);
	/* Asked before every wait: 0, or GR_MISUSE if the current thread is where it cannot wait. */
	int (*may_wait)(void);
	/* Called once, before the next switch, and NULL again from then on. Must not switch. See also gr_green_on_leave. */
	void (*on_switch)(void);
	/* Called before every switch, once gr_green_trace was called; and before every poll. Must not switch. */
	void (*trace)(struct gr_green *from, struct gr_green *to);
	void (*trace_flush)(void);
	/* As on_switch, before the loop is polled for events the next time. */
	void (*on_poll)(void);
	/* May others look into this thread's stack without asking the core first? */
	bool (*exposed)(const struct gr_green *g);
	/* Where a bad address that is used now leads to (a sigjmp_buf), or NULL. */
	void *on_fault;
	/* Where a thread was spawned: the source's name (NULL: unknown) and *line. Called by the overflow reporter on the
	 * signal stack, when the thread's own stack is full. */
	const char *(*spawn_site)(const struct gr_green *g, int *line);
};

extern struct gr_hub gr_hub;

enum gr_hub_end {
	GR_HUB_DONE,     /* no thread is left */
	GR_HUB_DEADLOCK, /* threads are left that nothing can wake */
	GR_HUB_STOPPED,  /* gr_hub_stop was called */
};

/* Creates the loop; makes SIGPIPE harmless; installs the overflow reporter (a SIGSEGV handler on its own stack). Returns 0 or
 * a negative errno. */
int gr_hub_init(void);

/* Runs until one of enum gr_hub_end. */
enum gr_hub_end gr_hub_run(void);

/* Makes gr_hub_run return; from a green thread this never returns (the hub takes over and the thread is dropped). */
void gr_hub_stop(void);

/* Writes "grun: <what> in thread …" to stderr, with where that thread was spawned. For signal handlers. */
void gr_hub_report(const char *what);

/* Frees the loop and every stack; no thread may run afterwards. */
void gr_hub_free(void);

/* In the child of a fork that is to go on: the loop gets descriptors of its own before it is polled again. */
void gr_hub_forked(void);

/* Calls fn in the hub in so many seconds, unless threads end before; a second call takes the place of the first, and NULL
 * only takes it back. It keeps nothing alive and is no source. */
void gr_hub_later(double seconds, void (*fn)(void));

/* Monotonic seconds, read now (not the loop's cached time). */
double gr_now(void);

/* Picks the next ready thread at random with this seed instead of first-in first-out; 0 switches that off. */
void gr_hub_seed(uint64_t seed);

#endif
