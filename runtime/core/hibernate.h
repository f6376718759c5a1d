/* SPDX-License-Identifier: MIT */
/* Hibernation: the stack of a thread that has been parked for long is packed into a small image (image.h) and its pages go
 * back to the kernel; before the thread runs again, or is looked into, the stack is put back at the same addresses.
 *
 * That is right for every stack that nothing points into (see wait.h). Stacks with frames of code that is not known to
 * keep to that rule are left alone. A thread is found by sweeps in the hub, each one in short steps; when every parked thread has
 * been seen to, there is none until something runs again. */
#ifndef GR_CORE_HIBERNATE_H
#define GR_CORE_HIBERNATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/green.h"

struct gr_hibernation {
	uint32_t asleep;  /* threads whose stack is packed */
	uint32_t exposed; /* of them those that gr_hub.exposed said may be looked into by others */
	uint32_t unfit;   /* threads that the last complete sweep had to leave alone */
	uint64_t put;     /* how often one was put away … */
	uint64_t woken;   /* … and put back */
};

extern struct gr_hibernation gr_hibernation;

/* A thread hibernates once it was parked for `seconds`, at the latest after twice that time. 0: none does any more. */
void gr_hibernate_set_after(double seconds);
double gr_hibernate_after(void);

/* True if the thread's stack is packed: `sp` is its image then. */
static inline bool gr_hibernates(const struct gr_green *g)
{
	return (uintptr_t)g->sp & 1;
}

/* Puts the stack of a hibernating thread back; nothing for others. Keeps errno. */
void gr_hibernate_wake(struct gr_green *g);

/* The same for all that are exposed. */
void gr_hibernate_wake_exposed(void);

/* For the hub, before it polls: sees to it that a sweep is due if anything ran since the last one. */
void gr_hibernate_watch(void);

#endif
