/* SPDX-License-Identifier: MIT */
/* poll, select and epoll_wait. The kernel is asked first, without waiting, and again after every wait. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>

#include "core/error.h"
#include "core/hub.h"
#include "core/wait.h"
#include "posix/coop.h"
#include "posix/fdwait.h"
#include "posix/next.h"

/* Wake-ups after which the kernel had nothing to tell, until pauses are made: the loop and poll may disagree for ever about
 * a hang-up that nobody asked for. */
enum { IDLE_WAKEUPS = 3 };

struct waiting {
	enum gr_call call;
	double until;
	int idle;     /* wake-ups in vain */
	double pause;
	bool stubborn;
	int closed;   /* a descriptor that was closed meanwhile, or -1 */
};

/* Waits once. Returns as gr_fdwait. */
static int wait_once(struct waiting *w, const struct pollfd *fds, nfds_t n)
{
	int rc;

	if (w->idle++ >= IDLE_WAKEUPS) {
		rc = gr_coop_pause(w->call, &w->pause, w->until);
		if (rc < 0)
			return rc;
	}
	if (w->stubborn) {
		struct gr_fdwait wait = {.until = w->until, .stubborn = true, .what = gr_coop_names[w->call]};

		gr_coop.count[w->call].parked++;
		rc = gr_fdwait(&wait, fds, n);
		w->closed = wait.closed;
		return rc;
	}
	return gr_coop_wait(w->call, fds, n, w->until, &w->closed);
}

static double after(const struct timespec *t)
{
	return gr_until((double)t->tv_sec + (double)t->tv_nsec * 1e-9);
}

static bool valid(const struct timespec *t)
{
	return t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < 1000000000;
}

/* ---- poll ---- */

/* The answer when one of them was closed by another thread: its number may stand for something else by now. */
static int report_closed(struct pollfd *fds, nfds_t n, int closed)
{
	int count = 0;

	gr_next.poll(fds, n, 0);
	for (nfds_t i = 0; i < n; i++) {
		if (fds[i].fd == closed)
			fds[i].revents = POLLNVAL;
		count += fds[i].revents != 0;
	}
	return count;
}

static int poll_until(struct pollfd *fds, nfds_t n, double until)
{
	struct waiting w = {.call = GR_CALL_POLL, .until = until, .closed = -1};

	for (;;) {
		int rc = wait_once(&w, fds, n), count;

		if (rc == -EBADF)
			return report_closed(fds, n, w.closed);
		if (rc < 0 && rc != GR_TIMEOUT)
			return gr_coop_fail(w.call, rc);
		count = gr_next.poll(fds, n, 0);
		if (count != 0 || rc == GR_TIMEOUT)
			return count;
	}
}

static int block_poll(struct pollfd *fds, nfds_t n, int timeout, const void *caller)
{
	double since = gr_coop_block();
	int r = gr_next.poll(fds, n, timeout);

	gr_coop_blocked(GR_CALL_POLL, since, caller);
	return r;
}

static int do_poll(struct pollfd *fds, nfds_t n, int timeout, const void *caller)
{
	int r = gr_next.poll(fds, n, 0);

	if (r != 0 || timeout == 0)
		return r;
	if (!gr_coop_may_park())
		return block_poll(fds, n, timeout, caller);
	return poll_until(fds, n, timeout < 0 ? INFINITY : gr_until(timeout * 1e-3));
}

int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	if (!gr_coop_here(GR_CALL_POLL))
		return gr_next.poll(fds, n, timeout);
	return do_poll(fds, n, timeout, __builtin_return_address(0));
}

int gr_coop_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	return poll(fds, n, timeout);
}

static int block_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask,
		       const void *caller)
{
	double since = gr_coop_block();
	int r = gr_next.ppoll(fds, n, timeout, mask);

	gr_coop_blocked(GR_CALL_POLL, since, caller);
	return r;
}

/* A signal mask is the OS thread's and cannot be set for a green thread: such calls really block. */
int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	const void *caller = __builtin_return_address(0);
	int r;

	if (!gr_coop_here(GR_CALL_POLL) || (timeout && !valid(timeout)))
		return gr_next.ppoll(fds, n, timeout, mask);
	if (mask)
		return block_ppoll(fds, n, timeout, mask, caller);
	r = gr_next.poll(fds, n, 0);
	if (r != 0 || (timeout && timeout->tv_sec == 0 && timeout->tv_nsec == 0))
		return r;
	if (!gr_coop_may_park())
		return block_ppoll(fds, n, timeout, NULL, caller);
	return poll_until(fds, n, timeout ? after(timeout) : INFINITY);
}

/* ---- select ---- */

struct sets {
	int n;
	size_t size; /* bytes of each */
	fd_set *given[3];
	unsigned long *wanted[3]; /* copies of what was asked for; NULL where nothing is given */
};

static const short set_events[3] = {POLLIN, POLLOUT, POLLPRI};

static bool has(const struct sets *s, int set, int fd)
{
	const unsigned bits = 8 * sizeof(unsigned long);

	return s->wanted[set] && s->wanted[set][(unsigned)fd / bits] & 1UL << (unsigned)fd % bits;
}

static struct pollfd *to_poll(const struct sets *s, nfds_t *count)
{
	struct pollfd *fds = malloc((size_t)(s->n > 0 ? s->n : 1) * sizeof(*fds));

	*count = 0;
	for (int fd = 0; fds && fd < s->n; fd++) {
		short events = 0;

		for (int i = 0; i < 3; i++)
			if (has(s, i, fd))
				events |= set_events[i];
		if (events)
			fds[(*count)++] = (struct pollfd){.fd = fd, .events = events};
	}
	return fds;
}

/* Asks the kernel, without waiting, for what was wanted. */
static int select_now(const struct sets *s)
{
	struct timeval none = {0, 0};

	for (int i = 0; i < 3; i++)
		if (s->given[i])
			memcpy(s->given[i], s->wanted[i], s->size);
	return gr_next.select(s->n, s->given[0], s->given[1], s->given[2], &none);
}

static int select_wait(const struct sets *s, double until)
{
	struct waiting w = {.call = GR_CALL_SELECT, .until = until, .closed = -1};
	nfds_t n;
	struct pollfd *fds = to_poll(s, &n);
	int rc = 0, r = 0;

	if (fds == NULL) {
		errno = ENOMEM;
		return -1;
	}
	while (r == 0 && rc == 0) {
		rc = wait_once(&w, fds, n);
		if (rc == 0 || rc == GR_TIMEOUT)
			r = select_now(s);
		else
			r = gr_coop_fail(w.call, rc);
	}
	free(fds);
	return r;
}

/* What is left until then. */
static void store_left(struct timeval *t, double until)
{
	double left = until - gr_now();

	if (left < 0)
		left = 0;
	t->tv_sec = (time_t)left;
	t->tv_usec = (suseconds_t)((left - floor(left)) * 1e6);
}

static int block_select(const struct sets *s, double until, const void *caller)
{
	double since = gr_coop_block();
	struct timeval t = {0}, *timeout = until < INFINITY ? &t : NULL;
	int r;

	if (timeout)
		store_left(&t, until);
	for (int i = 0; i < 3; i++)
		if (s->given[i])
			memcpy(s->given[i], s->wanted[i], s->size);
	r = gr_next.select(s->n, s->given[0], s->given[1], s->given[2], timeout);
	gr_coop_blocked(GR_CALL_SELECT, since, caller);
	return r;
}

static int select_with_copies(struct sets *s, double until, const void *caller)
{
	int r;

	for (int i = 0; i < 3; i++)
		if (s->given[i])
			memcpy(s->wanted[i], s->given[i], s->size);
	r = select_now(s);
	if (r != 0 || until <= 0)
		return r;
	return gr_coop_may_park() ? select_wait(s, until) : block_select(s, until, caller);
}

/* Descriptors above FD_SETSIZE are fine, as long as the caller has room for them. */
static int do_select(int n, fd_set *r, fd_set *w, fd_set *e, double until, const void *caller)
{
	const size_t bits = 8 * sizeof(unsigned long);
	struct sets s = {.n = n, .given = {r, w, e}};
	unsigned long *copies, few[3 * 1024 / 64];
	int rc;

	s.size = ((size_t)n + bits - 1) / bits * sizeof(unsigned long);
	copies = 3 * s.size <= sizeof(few) ? few : malloc(3 * s.size);
	if (copies == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (size_t i = 0; i < 3; i++)
		s.wanted[i] = s.given[i] ? copies + i * s.size / sizeof(unsigned long) : NULL;
	rc = select_with_copies(&s, until, caller);
	if (copies != few)
		free(copies);
	return rc;
}

int select(int n, fd_set *restrict r, fd_set *restrict w, fd_set *restrict e, struct timeval *restrict t)
{
	double until;
	int rc;

	if (!gr_coop_here(GR_CALL_SELECT) || n < 0 || (t && (t->tv_sec < 0 || t->tv_usec < 0)))
		return gr_next.select(n, r, w, e, t);
	until = t ? gr_until((double)t->tv_sec + (double)t->tv_usec * 1e-6) : INFINITY;
	rc = do_select(n, r, w, e, until, __builtin_return_address(0));
	/* Linux leaves there what is left of the time. */
	if (t && until > 0) {
		int saved = errno;

		store_left(t, until);
		errno = saved;
	}
	return rc;
}

int pselect(int n, fd_set *restrict r, fd_set *restrict w, fd_set *restrict e, const struct timespec *restrict t,
	    const sigset_t *restrict mask)
{
	const void *caller = __builtin_return_address(0);
	double since;
	int rc;

	if (!gr_coop_here(GR_CALL_SELECT) || n < 0 || (t && !valid(t)))
		return gr_next.pselect(n, r, w, e, t, mask);
	if (mask == NULL)
		return do_select(n, r, w, e, t ? after(t) : INFINITY, caller);
	since = gr_coop_block();
	rc = gr_next.pselect(n, r, w, e, t, mask);
	gr_coop_blocked(GR_CALL_SELECT, since, caller);
	return rc;
}

/* ---- epoll ---- */

/* libuv and libev abort on any error but EINTR, and spin on that one: below them neither a cancel nor a deadline ends the
 * wait. Both come up when the C function has returned. */
static bool is_touchy(const void *caller)
{
	Dl_info info;
	const char *name;

	if (!dladdr(caller, &info) || info.dli_fname == NULL)
		return false;
	name = strrchr(info.dli_fname, '/');
	name = name ? name + 1 : info.dli_fname;
	return strncmp(name, "libuv.", 6) == 0 || strncmp(name, "libev.", 6) == 0;
}

static int epoll_until(int fd, struct epoll_event *events, int n, double until, const void *caller)
{
	struct waiting w = {.call = GR_CALL_EPOLL, .until = until, .closed = -1};
	struct pollfd p = {.fd = fd, .events = POLLIN};

	w.stubborn = is_touchy(caller);
	for (;;) {
		int rc = wait_once(&w, &p, 1), count;

		/* For the wrapper around the C function: this is none of the refusals that are counted. */
		if (w.stubborn && gr_current->refused == 0 && gr_check() < 0)
			gr_current->refused = 1;
		if (rc < 0 && rc != GR_TIMEOUT)
			return gr_coop_fail(w.call, rc);
		count = gr_next.epoll_wait(fd, events, n, 0);
		if (count != 0 || rc == GR_TIMEOUT)
			return count;
	}
}

static int do_epoll(int fd, struct epoll_event *events, int n, int timeout, const void *caller)
{
	int r = gr_next.epoll_wait(fd, events, n, 0);
	double since;

	if (r != 0 || timeout == 0)
		return r;
	if (gr_coop_may_park())
		return epoll_until(fd, events, n, timeout < 0 ? INFINITY : gr_until(timeout * 1e-3), caller);
	since = gr_coop_block();
	r = gr_next.epoll_wait(fd, events, n, timeout);
	gr_coop_blocked(GR_CALL_EPOLL, since, caller);
	return r;
}

int epoll_wait(int fd, struct epoll_event *events, int n, int timeout)
{
	if (!gr_coop_here(GR_CALL_EPOLL))
		return gr_next.epoll_wait(fd, events, n, timeout);
	return do_epoll(fd, events, n, timeout, __builtin_return_address(0));
}

int epoll_pwait(int fd, struct epoll_event *events, int n, int timeout, const sigset_t *mask)
{
	const void *caller = __builtin_return_address(0);
	double since;
	int r;

	if (!gr_coop_here(GR_CALL_EPOLL))
		return gr_next.epoll_pwait(fd, events, n, timeout, mask);
	if (mask == NULL)
		return do_epoll(fd, events, n, timeout, caller);
	since = gr_coop_block();
	r = gr_next.epoll_pwait(fd, events, n, timeout, mask);
	gr_coop_blocked(GR_CALL_EPOLL, since, caller);
	return r;
}
