/* SPDX-License-Identifier: MIT */
/* A line for every switch between threads: when, from whom and why it left, to whom and why it runs. */
#ifndef GR_CORE_TRACE_H
#define GR_CORE_TRACE_H

/* Starts to write these lines to a file (NULL: to stderr), for as long as the process runs. They are written in batches
 * before the loop waits, and dropped when nothing takes them (see core/sink.h). Returns 0 or a negative errno. */
int gr_trace_start(const char *path);

#endif
