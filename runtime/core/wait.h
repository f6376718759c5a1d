/* SPDX-License-Identifier: MIT */
/* The one way to wait: for a wake-up, a descriptor, a point in time or a cancel, whichever comes first. */
#ifndef GR_CORE_WAIT_H
#define GR_CORE_WAIT_H

#include <math.h>

#include "core/error.h"
#include "core/green.h"

/* Waits are ended by `until`: monotonic seconds as gr_now() counts them, INFINITY = never, 0 or less = do not wait. All waits below return 0 when what they wait for happened, or
 *   GR_TIMEOUT    `until` passed
 *   GR_CANCELED   the thread is cancelled (also at once, after one pass through the run queue)
 *   GR_DEADLINE   a surrounding scope's deadline passed (likewise)
 *   GR_MISUSE     not on a green thread
 * `what` is a static text for reports. */

/* The end of a wait that starts now and may take `seconds`; 0 or less: do not wait; NAN or INFINITY: never ends. */
double gr_until(double seconds);

/* Monotonic seconds, up to 10 ms more than gr_now() says, at a fifth of its price. */
double gr_now_roughly(void);

/* gr_until for time-outs of calls that rarely wait, by that clock. */
double gr_until_roughly(double seconds);

/* Fails as a wait would because of cancel or deadline, otherwise returns 0 without waiting. Every call that may park
 * starts with it, so that a cancelled thread cannot go on with calls that happen not to wait. */
int gr_check_slow(void);
static inline int gr_check(void)
{
	return gr_current->attention ? gr_check_slow() : 0;
}

/* Arms the thread's timer so that it fires at `until` or before; the callback then sees to the rest. For core only. */
void gr_wait_arm(struct gr_green *g, double until);
void gr_wait_timer_cb(struct ev_loop *loop, ev_timer *timer, int revents);

/* Waits for gr_wake; returns its result. */
int gr_wait(double until, const char *what);

/* The same, but neither a cancel nor a deadline ends it. */
int gr_wait_stubborn(double until, const char *what);

/* Waits until the time `until`; returns 0 then, never earlier. */
int gr_sleep_until(double until);

/* The same for threads that only tidy up: nothing that others wait for comes of it, so that it hides no deadlock. */
int gr_nap_until(double until);

/* For a daemon thread that parks only to wait for one thing at a time, such as one descriptor: from now on that is not
 * among what may still wake a thread, so that it hides no deadlock; off: it is again. */
void gr_overlook(bool on);

/* Waits until nothing is ready and one poll of the loop brought nothing; returns 0 then. */
int gr_idle(void);

/* Readiness of one descriptor in one direction. Lives in the heap, never on a thread's stack. */
struct gr_io {
	ev_io ev;
	struct gr_green *waiter; /* parked here, or woken and not run yet; NULL = nobody */
	int result;              /* < 0 once ended by gr_io_end */
	double forgiven;         /* `until` of the last wait that found the descriptor ready when its time was up */
	void (*watch)(struct gr_io *io); /* see gr_io_watch; NULL mostly */
};

/* events: EV_READ or EV_WRITE. */
void gr_io_init(struct gr_io *io, int fd, int events);

/* Waits until the descriptor is ready; also when it is so once `until` has passed, since nobody may have looked in time, but
 * only once for the same `until`. The watcher stays armed afterwards, so that the next wait costs no system call;
 * it is stopped by an event that nobody waits for. Also returns
 *   GR_BUSY    another thread waits here
 *   GR_CLOSED  (or the code given) gr_io_end was called, now or before */
int gr_io_wait(struct gr_io *io, double until, const char *what);

/* Makes the present and all later waits return `result` (< 0) and stops the watcher. Call before close(2). */
void gr_io_end(struct gr_io *io, int result);

/* Stops the watcher if nobody waits: the kernel no longer reports this descriptor. */
void gr_io_disarm(struct gr_io *io);

/* Calls fn in the hub whenever the descriptor is ready, for work that no thread waits for. It must not park and may end
 * with gr_io_unwatch, after which *io may be freed. */
void gr_io_watch(struct gr_io *io, void (*fn)(struct gr_io *io));
void gr_io_unwatch(struct gr_io *io);

/* The same, but it is not among what may still wake a thread: parked threads can be in a deadlock nevertheless. */
void gr_io_attend(struct gr_io *io, void (*fn)(struct gr_io *io));
void gr_io_unattend(struct gr_io *io);

/* Waiting for several things at once: subscribe the current thread to each, gr_wait, then unsubscribe from each. The
 * thread is woken with 0 by any of them; look which are ready with poll(2). Returns 0, GR_BUSY or the end's result. */
int gr_io_subscribe(struct gr_io *io);
void gr_io_unsubscribe(struct gr_io *io);

#endif
