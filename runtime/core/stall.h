/* SPDX-License-Identifier: MIT */
/* For the watchdog: where the loop's OS thread is while it stalls. A signal handler there notes what is certain, a debug hook
 * adds the Lua lines if Lua is interpreted; the watchdog's OS thread puts both into words. */
#ifndef GR_CORE_STALL_H
#define GR_CORE_STALL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* On the loop's OS thread, before anything else: takes the signal (SIGURG, which no one minds: its default is to be ignored,
 * and debuggers pass it on). Left alone if somebody has taken it. */
void gr_stall_init(void);

/* True if the OS thread waits in the kernel. */
bool gr_stall_is_blocked(pid_t tid);

/* Begins: sends the signal, unless the thread is in a system call that would end by it. Returns true then. */
bool gr_stall_ask(pthread_t loop, pid_t tid);

bool gr_stall_answered(void); /* the handler has run, or never will */
bool gr_stall_placed(void);   /* and the hook too, or it need not */

/* Writes the report to the log. Returns false if the thread has gone on since gr_stall_ask. */
bool gr_stall_report(double seconds, uint64_t untold);
void gr_stall_report_end(double seconds);

#endif
