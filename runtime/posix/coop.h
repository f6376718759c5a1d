/* SPDX-License-Identifier: MIT */
/* libc's blocking calls as cooperative ones: shared libraries that call them make their green thread wait instead of the
 * process. This is what the interposed functions have in common: where they may park, what a failed wait becomes, figures.
 *
 * Each of them first does the call in a way that cannot block. Only when it would have blocked is anything looked at. */
#ifndef GR_POSIX_COOP_H
#define GR_POSIX_COOP_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/green.h"

enum gr_call {
	GR_CALL_READ,
	GR_CALL_WRITE,
	GR_CALL_RECV,
	GR_CALL_SEND,
	GR_CALL_SENDFILE,
	GR_CALL_CONNECT,
	GR_CALL_ACCEPT,
	GR_CALL_POLL,
	GR_CALL_SELECT,
	GR_CALL_EPOLL,
	GR_CALL_SLEEP,
	GR_CALL_WAITPID,
	GR_CALL_FLOCK,
	GR_CALL_LOCK,
	GR_CALL_RESOLVE,
	GR_CALLS
};

/* Figures of a family of calls. */
struct gr_coop_count {
	uint64_t parked;  /* waits of a green thread */
	uint64_t blocked; /* calls that made the whole process wait, because parking was not possible … */
	double seconds;   /* … and for how long */
	uint64_t refused; /* calls that failed because the thread was cancelled or past a deadline */
	uint64_t foreign; /* calls from other OS threads, not looked into; atomic */
};

/* A place that made the process wait. */
struct gr_coop_site {
	char where[120]; /* file:line of the Lua code, or the library */
	enum gr_call call;
	uint64_t count;
	double seconds;
};

enum { GR_COOP_SITES = 64 };

struct gr_coop {
	bool enabled;
	struct gr_coop_count count[GR_CALLS];
	struct gr_coop_site sites[GR_COOP_SITES]; /* the first `nsites`; what comes later shares the last one */
	int nsites;
	/* The binding's say: NULL, or why the current thread may not park at this place ("in a finalizer"). Static text. */
	const char *(*refuse)(void);
	/* The binding's: writes where in Lua the current thread is; false if that cannot be told here. */
	bool (*site)(char *text, size_t size);
	/* Set around a fork whose child goes on running threads, see fork.c; any other one ends cooperation there. */
	bool survives_fork;
	/* The binding's: the process was forked, this is the child. */
	void (*on_fork)(void);
};

extern struct gr_coop gr_coop;
extern const char *const gr_coop_names[GR_CALLS];

/* True on the OS thread of the loop, unless switched off or in a forked child. */
extern __thread bool gr_coop_on;

/* Switches cooperation on for the calling OS thread, the loop's. */
void gr_coop_start(void);

/* Switches it off for good and declares all other threads dead; what a forked child does. */
void gr_coop_forked(void);

/* Counts a call from another OS thread; returns false. */
bool gr_coop_foreign(enum gr_call call);

/* First question of every interposed function: is this a green thread whose calls are cooperative? */
static inline bool gr_coop_here(enum gr_call call)
{
	if (__builtin_expect(!gr_coop_on, 0))
		return gr_coop_foreign(call);
	return gr_on_green() && gr_current->plain == 0;
}

/* True if the current thread may park here. */
bool gr_coop_may_park(void);

/* Around a call that makes the whole process wait: counts it, with the place. `caller` is the interposed function's return
 * address. The second keeps errno. */
double gr_coop_block(void);
void gr_coop_blocked(enum gr_call call, double since, const void *caller);

/* True if cancel and deadline are ignored now: a library that was refused over and over without giving up has to wait for
 * real, or it would spin for ever. */
bool gr_coop_stubborn(void);

/* Notes that a cancel or a deadline ended a call; the wrapper around the C function raises it once that has returned. */
void gr_coop_refused(enum gr_call call);

/* Makes the result of a failed wait an errno, counts refusals; returns -1. */
int gr_coop_fail(enum gr_call call, int rc);

/* Parks for that long (`until` as in core/wait.h); 0 then, or as a wait. */
int gr_coop_sleep(enum gr_call call, double until);

/* For what has no readiness to wait for: parks a while, longer with every call (*pause starts at 0), but not past `until`. */
int gr_coop_pause(enum gr_call call, double *pause, double until);

/* Parks until the descriptors may have news, see gr_fdwait. *closed (NULL: not wanted) as there. */
int gr_coop_wait(enum gr_call call, const struct pollfd *fds, nfds_t n, double until, int *closed);

/* A call on one descriptor that would have to wait. */
struct gr_coop_op {
	enum gr_call call;
	int fd;
	short events;       /* to wait for: POLLIN or POLLOUT */
	int timeout_option; /* SO_RCVTIMEO, SO_SNDTIMEO, or 0 */
	const void *caller;
	double until;       /* 0: not asked for yet */
};

enum gr_coop_then {
	GR_COOP_AGAIN, /* try again */
	GR_COOP_FAIL,  /* errno says why */
	GR_COOP_BLOCK, /* do it plainly, blocking */
};

/* Waits after an EAGAIN, unless the descriptor is non-blocking: then that is the answer. */
enum gr_coop_then gr_coop_again(struct gr_coop_op *op);

/* poll(2) as libraries see it, for the binding. */
int gr_coop_poll(struct pollfd *fds, nfds_t n, int timeout);

#endif
