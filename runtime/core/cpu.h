/* SPDX-License-Identifier: MIT */
/* Processor time of each green thread, by sampling: a switch costs nothing for it, nor does an idle process. */
#ifndef GR_CORE_CPU_H
#define GR_CORE_CPU_H

/* Seconds of processor time that one of gr_green.ticks stands for. */
extern const double gr_cpu_tick;

/* The signal that the kernel sends for each tick: nobody else may have it. */
int gr_cpu_signal(void);

/* Counts from now on, for the calling OS thread, which must be the hub's; the second call does nothing, except in a forked
 * child, where it has to be repeated. Returns 0 or a negative errno. */
int gr_cpu_start(void);

#endif
