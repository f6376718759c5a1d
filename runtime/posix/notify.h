/* SPDX-License-Identifier: MIT */
/* inotify(7): what happens to files. */
#ifndef GR_POSIX_NOTIFY_H
#define GR_POSIX_NOTIFY_H

#include <sys/inotify.h>

#include "core/wait.h"

enum { GR_NOTIFY_BUFFER = 4096 };

/* Lives in its owner's memory, which must not move while it is open. */
struct gr_notify {
	int fd; /* -1 = closed */
	struct gr_io io;
	size_t at, len; /* of what was read and not given out */
	char buf[GR_NOTIFY_BUFFER] __attribute__((aligned(__alignof__(struct inotify_event))));
};

/* Makes it closed. */
void gr_notify_create(struct gr_notify *n);

/* Returns 0 or a negative errno. */
int gr_notify_open(struct gr_notify *n);

/* Ends present and later waits with GR_CLOSED. Idempotent, never parks. */
void gr_notify_close(struct gr_notify *n);

/* The next event, valid until the next call. Returns 0, GR_CLOSED, GR_BUSY (another thread waits), a negative errno or what
 * a wait returns. Parks. */
int gr_notify_next(struct gr_notify *n, double until, const struct inotify_event **event);

#endif
