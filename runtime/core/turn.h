/* SPDX-License-Identifier: MIT */
/* Taking turns: one green thread at a time, first come, first served. */
#ifndef GR_CORE_TURN_H
#define GR_CORE_TURN_H

#include "core/green.h"

struct gr_turn_waiter;

/* Zeroed: nobody's turn. Lives in the heap, never on a thread's stack. */
struct gr_turn {
	struct gr_green *owner;              /* whose turn it is, or NULL */
	struct gr_turn_waiter *first, *last; /* who comes next */
};

/* The slow halves of the two below. */
int gr_turn_wait(struct gr_turn *t, const char *what);
void gr_turn_pass(struct gr_turn *t);

/* Waits for the current thread's turn. Returns 0, -ENOMEM or what a wait returns: it is not its turn then. A thread whose
 * turn it is already must not ask again. Parks if it is another's. */
static inline int gr_turn_take(struct gr_turn *t, const char *what)
{
	if (t->owner)
		return gr_turn_wait(t, what);
	t->owner = gr_current;
	return 0;
}

/* Ends the current thread's turn; the next one is made ready. */
static inline void gr_turn_give(struct gr_turn *t)
{
	t->owner = NULL;
	if (t->first)
		gr_turn_pass(t);
}

#endif
