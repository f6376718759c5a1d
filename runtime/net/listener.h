/* SPDX-License-Identifier: MIT */
/* A listening socket and the one place that accepts, with what to do when the process is out of descriptors. */
#ifndef GR_NET_LISTENER_H
#define GR_NET_LISTENER_H

#include "core/wait.h"
#include "net/sock.h"

struct gr_listener {
	int fd;        /* -1 = closed */
	bool stopping; /* takes what is in the backlog, then closes … */
	unsigned left; /* … at the latest after so many more attempts */
	struct gr_io io;
	struct gr_green *pausing; /* the accepting thread while it waits for descriptors */
	struct gr_listener *next_pausing;
	double pause;        /* seconds of the last pause; 0 after a success */
	bool tells;          /* accept returns once before each pause … */
	bool told;           /* … and has done so */
	struct gr_addr addr; /* with the real port */
	struct gr_sock_path path;
};

/* Makes a closed listener. */
void gr_listener_create(struct gr_listener *l);

/* Listens on the first of the addresses that this machine supports. Returns 0 or a negative errno. */
int gr_listener_open(struct gr_listener *l, const struct gr_addr *addrs, int n, const struct gr_sock_opts *opts);

/* Takes over a listening socket, such as one that a service manager opened: results as of gr_sock_adopt. Its unix path is
 * not ours to remove. */
int gr_listener_adopt(struct gr_listener *l, int fd, const struct gr_sock_opts *opts);

/* Waits for a connection; returns its descriptor, non-blocking. Connections that failed before they were accepted are
 * skipped. Without descriptors it resets one client, pauses (10 ms doubling to 1 s) and tries again until `until`; a
 * listener that `tells` returns -EMFILE or the like before each pause, for its owner to close something.
 * Else GR_CLOSED, GR_BUSY (another thread accepts here), what a wait returns, or a negative errno. Parks. */
int gr_listener_accept(struct gr_listener *l, double until);

/* Tells that a descriptor was closed, so that a listener that pauses for want of one can go on. */
void gr_listener_resume(void);

/* Asked before each attempt to accept; true: this process has more connections than others on the same sockets, and lets
 * them go first. NULL: there are no others. */
extern bool (*gr_listener_is_polite)(void);

/* From now on new connections to this TCP socket are not even begun: the client's kernel asks again after a second, and by
 * then finds another listener, or none. So nobody is lost between the last accept and close(2). Nothing for unix sockets.
 * Returns 0 or a negative errno. */
int gr_listener_refuse(int fd);

/* From now on accept returns connections that wait in the backlog already, but waits no more and closes at its end. */
void gr_listener_stop(struct gr_listener *l);

/* Closes, removes the unix path it created, wakes the accepting thread with GR_CLOSED. Idempotent; never parks. */
void gr_listener_close(struct gr_listener *l);

#endif
