/* SPDX-License-Identifier: MIT */
/* The watchdog: an OS thread that sees when no green thread switches and the loop is not polled for a while, and reports who
 * holds it up. It sleeps while the loop does. */
#ifndef GR_CORE_WATCHDOG_H
#define GR_CORE_WATCHDOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GR_WATCHDOG_MS = 100, GR_WATCHDOG_MIN_MS = 10 };

/* What the binding knows. All are called in a signal handler on the loop's OS thread, or are NULL. */
struct gr_watchdog_asks {
	/* Makes gr_watchdog_at be called as soon as Lua code is interpreted; async-signal-safe. */
	void (*arm)(void);
	/* Writes the Lua lines that led to the present C function; only asked where nothing in the VM is half done. */
	size_t (*lines)(char *text, size_t size);
	/* Functions of the VM's library, and the one around every C function that Lua calls. */
	const void *vm, *wrapper;
};
extern struct gr_watchdog_asks gr_watchdog_asks;

/* Reports stalls longer than `ms` from now on (at least GR_WATCHDOG_MIN_MS); 0: none. On the loop's OS thread. The other one
 * starts a little later. Returns the former value. Where no OS thread can be started nothing is watched. */
uint32_t gr_watchdog_set(uint32_t ms);
uint32_t gr_watchdog_ms(void);

/* The loop is at its end: reports the end of a stall that was reported, and watches no more. */
void gr_watchdog_stop(void);

/* For core/stall.c: its signal came without being asked for. `safe`: an OS thread may be started in the handler. */
void gr_watchdog_tick(bool safe);

/* For `arm`: the Lua lines of the running thread, told by the hook that was armed. Any thread's hook may call it. */
void gr_watchdog_at(const char *lines, size_t n);

struct gr_watchdog_stats {
	uint64_t stalls; /* seen, reported or not */
	double longest;  /* seconds */
};
struct gr_watchdog_stats gr_watchdog_stats(void);

#endif
