/* SPDX-License-Identifier: MIT */
/* The log: messages of the runtime and of scripts, on stderr, in a file or to syslog, filtered by level. Writing never waits:
 * see core/sink.h. */
#ifndef GR_CORE_LOG_H
#define GR_CORE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/sink.h"

enum gr_log_level { GR_LOG_NONE, GR_LOG_ERROR, GR_LOG_WARN, GR_LOG_INFO, GR_LOG_DEBUG };

/* Messages above this level are dropped; GR_LOG_WARN at start. */
extern enum gr_log_level gr_log_level;

/* Set in OS threads that are not the loop's: their messages name no green thread. */
extern __thread bool gr_log_outside;

/* The level of that name ("none", "error", "warn", "info", "debug"), or -1. */
int gr_log_level_of(const char *name);
const char *gr_log_level_name(enum gr_log_level level);

/* Sets the level from its name. Returns 0, or -1 for an unknown name. */
int gr_log_set(const char *name);

/* Writes "grun: <text>\n", or in the log's own form once that was asked for. Never parks; keeps errno. */
void gr_log(enum gr_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same with a ready text, which may have several lines: they stay together. */
void gr_log_text(enum gr_log_level level, const char *text, size_t n);

/* From now on every message begins with time, level, process and thread. */
void gr_log_stamp(void);

/* Where messages go from now on, stamped; stderr at start. Return 0 or a negative errno, with nothing changed. A file is
 * appended to. facility is syslog's name of one ("daemon", "local0"), -EINVAL if there is none; path NULL is the system's
 * /dev/log; ident NULL is "grun". */
int gr_log_to_stderr(void);
int gr_log_to_file(const char *path);
int gr_log_to_syslog(const char *path, const char *facility, const char *ident);

/* Opens the file again (it was renamed), or connects to syslog again. Returns 0 or a negative errno. */
int gr_log_reopen(void);

struct gr_sink_stats gr_log_stats(void);

/* See gr_sink_share. */
void gr_log_share(void);

#endif
