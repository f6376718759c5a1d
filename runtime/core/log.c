/* SPDX-License-Identifier: MIT */
/* The runtime's own messages on stderr. */
#include "core/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum gr_log_level gr_log_level = GR_LOG_WARN;

int gr_log_set(const char *name)
{
	static const char *const names[] = {"none", "error", "warn", "info", "debug"};

	for (int i = 0; i < 5; i++) {
		if (strcmp(name, names[i]) == 0) {
			gr_log_level = (enum gr_log_level)i;
			return 0;
		}
	}
	return -1;
}

void gr_log(enum gr_log_level level, const char *format, ...)
{
	char line[1024] = "grun: ";
	int saved = errno, n;
	va_list ap;

	if (level > gr_log_level)
		return;
	va_start(ap, format);
	n = vsnprintf(line + 6, sizeof(line) - 7, format, ap);
	va_end(ap);
	n = n < 0 ? 6 : n > (int)sizeof(line) - 8 ? (int)sizeof(line) - 2 : n + 6;
	line[n] = '\n';
	/* A full or closed stderr loses the line; there is nowhere else to say so. */
	if (write(STDERR_FILENO, line, (size_t)n + 1) < 0)
		errno = saved;
	errno = saved;
}
