/* SPDX-License-Identifier: MIT */
/* The one way to wait. */
#include "core/wait.h"

#include <poll.h>
#include <stddef.h>
#include <time.h>

#include "core/hub.h"

double gr_until(double seconds)
{
	if (seconds <= 0)
		return 0;
	return seconds < 1e15 ? gr_now() + seconds : INFINITY;
}

/* The kernel's clock of the last tick, which is at most 10 ms ago. */
double gr_now_roughly(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9 + 0.01;
}

double gr_until_roughly(double seconds)
{
	return seconds > 0 && seconds < 1e15 ? gr_now_roughly() + seconds : gr_until(seconds);
}

/* ---- Cancel and deadline ---- */

static int attention(const struct gr_green *self)
{
	if ((self->attention & (GR_ATTN_CANCEL | GR_ATTN_SHIELD)) == GR_ATTN_CANCEL)
		return GR_CANCELED;
	if ((self->attention & GR_ATTN_DEADLINE) && self->deadline <= gr_now())
		return GR_DEADLINE;
	return 0;
}

int gr_check_slow(void)
{
	int rc = attention(gr_current);

	/* A loop that swallows this error and calls again must not starve the others. */
	if (rc < 0 && gr_on_green())
		gr_yield();
	return rc;
}

/* ---- Time ---- */

void gr_wait_arm(struct gr_green *g, double until)
{
	double now;

	g->until = until;
	if (ev_is_active(&g->timer)) {
		/* Firing early is cheaper than moving the timer at every wait. */
		if (g->timer_at <= until)
			return;
		ev_timer_stop(gr_hub.loop, &g->timer);
	}
	/* The loop's idea of now is as old as this turn; ours is read first, so that the sum is never early. */
	now = gr_now();
	ev_now_update(gr_hub.loop);
	g->timer_at = until;
	ev_timer_set(&g->timer, until > now ? until - now : 0, 0);
	ev_timer_start(gr_hub.loop, &g->timer);
}

static struct gr_green *green_of(ev_timer *timer)
{
	return (struct gr_green *)(void *)((char *)timer - offsetof(struct gr_green, timer));
}

void gr_wait_timer_cb(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct gr_green *g = green_of(timer);

	(void)loop;
	(void)revents;
	if (g->until == INFINITY || (g->state != GR_WAITING && !g->delayed))
		return; /* that wait is over */
	if (g->until > gr_now()) {
		gr_wait_arm(g, g->until);
	} else if (g->delayed) {
		gr_green_start_now(g);
	} else {
		gr_idle_leave(g);
		gr_wake(g, g->expiry);
	}
}

static int park_until(struct gr_green *self, double until, const char *what)
{
	int rc;

	if (until == INFINITY)
		return gr_park(what);
	if (until <= 0)
		return self->expiry;
	gr_wait_arm(self, until);
	gr_hub.sources++;
	rc = gr_park(what);
	gr_hub.sources--;
	self->until = INFINITY;
	return rc;
}

/* Parks until woken, with everything that may end it early. `expired` is what the end of `until` means. */
static int wait_for(double until, int expired, const char *what)
{
	struct gr_green *self = gr_current;

	if (gr_hub.may_wait && gr_hub.may_wait() < 0)
		return GR_MISUSE;
	self->expiry = expired;
	if (__builtin_expect(self->attention != 0, 0)) {
		int rc = gr_check_slow();

		if (rc < 0)
			return rc;
		if ((self->attention & GR_ATTN_DEADLINE) && self->deadline < until) {
			until = self->deadline;
			self->expiry = GR_DEADLINE;
		}
	}
	return park_until(self, until, what);
}

int gr_wait(double until, const char *what)
{
	return gr_on_green() ? wait_for(until, GR_TIMEOUT, what) : GR_MISUSE;
}

int gr_wait_stubborn(double until, const char *what)
{
	struct gr_green *self = gr_current;
	int rc;

	if (!gr_on_green() || (gr_hub.may_wait && gr_hub.may_wait() < 0))
		return GR_MISUSE;
	do {
		self->expiry = GR_TIMEOUT;
		rc = park_until(self, until, what);
	} while (rc == GR_CANCELED || rc == GR_DEADLINE);
	return rc;
}

int gr_sleep_until(double until)
{
	return gr_on_green() ? wait_for(until, 0, "sleep") : GR_MISUSE;
}

void gr_overlook(bool on)
{
	gr_hub.sources += on ? UINT32_MAX : 1;
}

int gr_nap_until(double until)
{
	int rc;

	gr_overlook(true);
	rc = gr_sleep_until(until);
	gr_overlook(false);
	return rc;
}

int gr_idle(void)
{
	struct gr_green *self = gr_current;
	int rc = gr_on_green() ? gr_check() : GR_MISUSE;

	if (rc < 0)
		return rc;
	self->expiry = GR_DEADLINE;
	gr_idle_enter();
	return park_until(self, self->attention & GR_ATTN_DEADLINE ? self->deadline : INFINITY, gr_idle_text);
}

/* ---- Descriptors ---- */

static void io_ready(struct ev_loop *loop, ev_io *ev, int revents)
{
	struct gr_io *io = (struct gr_io *)(void *)((char *)ev - offsetof(struct gr_io, ev));

	/* epoll_ctl failed and libev has stopped the watcher; without this it would take the next start for no change. */
	if (revents & EV_ERROR)
		ev_io_set(ev, ev->fd, ev->events & (EV_READ | EV_WRITE));
	if (io->waiter)
		gr_wake(io->waiter, 0);
	else if (io->watch)
		io->watch(io);
	else
		ev_io_stop(loop, ev);
}

void gr_io_init(struct gr_io *io, int fd, int events)
{
	ev_io_init(&io->ev, io_ready, fd, events);
	io->waiter = NULL;
	io->result = 0;
	io->forgiven = 0;
	io->watch = NULL;
}

void gr_io_watch(struct gr_io *io, void (*fn)(struct gr_io *io))
{
	gr_io_attend(io, fn);
	gr_hub.sources++;
}

void gr_io_unwatch(struct gr_io *io)
{
	gr_io_unattend(io);
	gr_hub.sources--;
}

void gr_io_attend(struct gr_io *io, void (*fn)(struct gr_io *io))
{
	io->watch = fn;
	ev_io_start(gr_hub.loop, &io->ev);
}

void gr_io_unattend(struct gr_io *io)
{
	io->watch = NULL;
	ev_io_stop(gr_hub.loop, &io->ev);
}

int gr_io_subscribe(struct gr_io *io)
{
	if (io->result < 0)
		return io->result;
	if (io->waiter)
		return GR_BUSY;
	if (!ev_is_active(&io->ev))
		ev_io_start(gr_hub.loop, &io->ev);
	io->waiter = gr_current;
	gr_hub.sources++;
	return 0;
}

void gr_io_unsubscribe(struct gr_io *io)
{
	if (io->waiter == gr_current) {
		io->waiter = NULL;
		gr_hub.sources--;
	}
}

static int poll_now(const struct gr_io *io)
{
	struct pollfd p = {.fd = io->ev.fd, .events = io->ev.events & EV_READ ? POLLIN : POLLOUT};

	return poll(&p, 1, 0) > 0 ? 0 : GR_TIMEOUT;
}

/* The time is up: perhaps only because others ran for too long. A peer that always has something to say must not put it off
 * again and again. */
static int look_again(struct gr_io *io, double until)
{
	if (until == io->forgiven || poll_now(io) < 0)
		return GR_TIMEOUT;
	io->forgiven = until;
	return 0;
}

int gr_io_wait(struct gr_io *io, double until, const char *what)
{
	int rc;

	if (!gr_on_green())
		return GR_MISUSE;
	if (until <= 0 && io->result >= 0 && io->waiter == NULL)
		return poll_now(io);
	rc = gr_io_subscribe(io);
	if (rc < 0)
		return rc;
	rc = wait_for(until, GR_TIMEOUT, what);
	gr_io_unsubscribe(io);
	if (io->result < 0)
		return io->result;
	return rc == GR_TIMEOUT ? look_again(io, until) : rc;
}

void gr_io_end(struct gr_io *io, int result)
{
	io->result = result;
	if (ev_is_active(&io->ev))
		ev_io_stop(gr_hub.loop, &io->ev);
	if (io->waiter)
		gr_wake(io->waiter, 0); /* a subscriber asks what is ready; gr_io_wait looks at the result */
}

void gr_io_disarm(struct gr_io *io)
{
	if (io->waiter == NULL && ev_is_active(&io->ev))
		ev_io_stop(gr_hub.loop, &io->ev);
}
