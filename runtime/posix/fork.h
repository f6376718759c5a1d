/* SPDX-License-Identifier: MIT */
/* A copy of this process in which everything goes on; so workers are made that share what was loaded before. */
#ifndef GR_POSIX_FORK_H
#define GR_POSIX_FORK_H

#include <stdbool.h>
#include <sys/types.h>

/* Forks away: by the time this returns, the copy's parent is not this process but the nearest one above it that adopts
 * orphans, see gr_fork_adopt. Returns its process id, or a negative errno; and 0 in the copy, where the current thread,
 * the loop's watchers and timers, cooperation and signal handlers go on. Helper OS threads are started anew there as
 * they are needed. Descriptors are shared.
 *
 * To be called on a green thread when no other one exists, which is the caller's to see to: in the copy it would run a
 * second time. -EBUSY: helper OS threads still work. Does not park; the process stands still meanwhile. */
pid_t gr_fork(void);

/* From now on (until false) this process becomes the parent of processes below it whose parents end. Returns 0 or a
 * negative errno. */
int gr_fork_adopt(bool on);

#endif
