/* SPDX-License-Identifier: MIT */
/* The runtime's own messages on stderr: one line each, filtered by level. */
#ifndef GR_CORE_LOG_H
#define GR_CORE_LOG_H

enum gr_log_level { GR_LOG_NONE, GR_LOG_ERROR, GR_LOG_WARN, GR_LOG_INFO, GR_LOG_DEBUG };

/* Messages above this level are dropped; GR_LOG_WARN at start. */
extern enum gr_log_level gr_log_level;

/* Sets the level from its name ("none", "error", "warn", "info", "debug"). Returns 0, or -1 for an unknown name. */
int gr_log_set(const char *name);

/* Writes "grun: <text>\n" in one write(2). Never parks; keeps errno. */
void gr_log(enum gr_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
