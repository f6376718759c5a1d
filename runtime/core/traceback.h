/* SPDX-License-Identifier: MIT */
/* The C functions in which a parked thread stands. */
#ifndef GR_CORE_TRACEBACK_H
#define GR_CORE_TRACEBACK_H

#include "core/green.h"

/* Calls add(user, text) for each of the thread's C functions, innermost first, at most `max`; text is "object: function +
 * offset" or "object + offset". Nothing for the running thread and for one that has not begun. The unwind tables of what it
 * runs are needed; where they end, so does the list. */
void gr_traceback(struct gr_green *g, int max, void (*add)(void *user, const char *text), void *user);

#endif
