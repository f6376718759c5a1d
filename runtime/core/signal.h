/* SPDX-License-Identifier: MIT */
/* Signals handled in the hub, between two threads' slices, instead of wherever the process happens to be. */
#ifndef GR_CORE_SIGNAL_H
#define GR_CORE_SIGNAL_H

#include <stdbool.h>

/* From now on `callback(signal)` runs in the hub after that signal arrived; several arrivals may count as one. It must not
 * park. NULL restores the default action. Returns 0 or a negative errno. Does not keep the process alive. */
int gr_signal_watch(int signal, void (*callback)(int signal));

/* The same, but in front of what gr_signal_watch says: while it is set neither that nor gr_signal_twice_exits counts. NULL
 * makes everything as it was before the first one, the signal's action included. Returns 0 or a negative errno (-EINVAL
 * also for signals that cannot be caught, and for those that tell of a fault). */
int gr_signal_override(int signal, void (*callback)(int signal));

/* A second arrival of this signal ends the process at once with that exit status, even when the hub is stuck. Calling it
 * again makes the next arrival a first one; a negative status ends that. */
void gr_signal_twice_exits(int signal, int status);

/* The number of "TERM", "SIGTERM", "RTMIN+3"; -1 = unknown. */
int gr_signal_number(const char *name);

/* "SIGTERM", "SIGRTMIN+3"; "SIG99" for a number without a name. Static text that the next call overwrites. */
const char *gr_signal_name(int number);

/* Called right before a second arrival ends the process, in the signal handler: async-signal-safe, or NULL. */
extern void (*gr_signal_at_exit)(void);

#endif
