/* SPDX-License-Identifier: MIT */
/* Waiting for descriptors that belong to libraries: they may be closed, duplicated and used again at any time. */
#ifndef GR_POSIX_FDWAIT_H
#define GR_POSIX_FDWAIT_H

#include <poll.h>
#include <stdbool.h>

struct gr_green;

struct gr_fdwait {
	double until;     /* as in core/wait.h */
	bool stubborn;    /* neither a cancel nor a deadline ends it */
	const char *what; /* for reports */
	int closed;       /* out: the descriptor that was closed meanwhile, or -1 */
};

/* Parks until one of the descriptors may have one of its events (poll(2)'s, any of them; negative descriptors are left out):
 * ask the kernel then. Returns 0, -EBADF when one of them was closed by another thread, -errno when such a wait cannot be
 * set up, or what a wait returns. */
int gr_fdwait(struct gr_fdwait *wait, const struct pollfd *fds, nfds_t n);

/* Ends all waits for that descriptor; before it is closed. Cheap when nobody waits. */
void gr_fdwait_closing(int fd);

/* Calls fn for each descriptor that a thread waits for here, with poll(2)'s events: for reports. */
void gr_fdwait_each(void (*fn)(void *user, const struct gr_green *g, int fd, short events), void *user);

#endif
