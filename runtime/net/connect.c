/* SPDX-License-Identifier: MIT */
/* Connecting streams: one address, or several in a race (RFC 8305, "Happy Eyeballs"). */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/hub.h"
#include "net/stream.h"

static const double RETRY_MIN = 0.001, RETRY_MAX = 0.1; /* seconds between attempts at a full unix listener */
static const double HEAD_START = 0.25; /* seconds of an attempt before the next begins: RFC 8305, section 5 */

/* ---- One address ---- */

static int family(const struct gr_addr *addr)
{
	return addr->u.sa.sa_family;
}

/* Unlike TCP, unix sockets do not queue who finds the backlog full, and nothing tells when there is room again. */
static int connect_patiently(const struct gr_addr *addr, const struct gr_addr *local, const struct gr_sock_opts *opts,
			     double until)
{
	double pause = RETRY_MIN, end;
	int fd = gr_sock_connect(addr, local, opts), rc;

	while (fd == -EAGAIN && family(addr) == AF_UNIX) {
		end = gr_until(pause);
		rc = gr_wait(end < until ? end : until, "connect");
		if (rc != GR_TIMEOUT || end >= until)
			return rc;
		pause = pause < RETRY_MAX / 2 ? pause * 2 : RETRY_MAX;
		fd = gr_sock_connect(addr, local, opts);
	}
	return fd;
}

static int await_connected(struct gr_stream *s, double until)
{
	/* Mostly done already on the loopback; looking is cheaper than arming a watcher. */
	int rc = gr_io_wait(&s->wr, 0, "connect");

	if (rc == GR_TIMEOUT)
		rc = gr_io_wait(&s->wr, until, "connect");
	gr_io_disarm(&s->wr);
	return rc < 0 ? rc : gr_sock_error(s->fd);
}

static int connect_one(struct gr_stream *s, const struct gr_addr *addr, const struct gr_addr *local,
		       const struct gr_sock_opts *opts, double until)
{
	int fd = connect_patiently(addr, local, opts, until), rc;

	if (fd < 0)
		return fd;
	gr_stream_open(s, fd);
	rc = await_connected(s, until);
	if (rc < 0)
		gr_stream_close(s);
	return rc;
}

/* ---- Several addresses ---- */

struct attempt {
	int fd; /* -1 = failed */
	struct gr_io io;
};

/* In the heap, since the loop points to the attempts while their thread is parked. */
struct race {
	const struct gr_addr *addrs[GR_ADDR_MAX]; /* in the order in which they are tried */
	int n, started, running;
	int first_error; /* of the first address; 0 = it has not failed yet */
	double next;     /* when the next attempt begins, unless the running ones fail before */
	struct attempt attempts[GR_ADDR_MAX];
};

/* Alternates between the families, the first address's first: section 4. */
static void interleave(struct race *r, const struct gr_addr *addrs, int n)
{
	int at[2] = {0, 0}, side = 0;

	while (r->n < n) {
		while (at[side] < n && (family(&addrs[at[side]]) == family(&addrs[0])) != (side == 0))
			at[side]++;
		if (at[side] < n)
			r->addrs[r->n++] = &addrs[at[side]++];
		side = !side;
	}
}

/* Only addresses of the family that we connect from. */
static void select_family(struct race *r, int wanted)
{
	int n = 0;

	for (int i = 0; i < r->n; i++)
		if (family(r->addrs[i]) == wanted)
			r->addrs[n++] = r->addrs[i];
	r->n = n;
}

static void note_failure(struct race *r, int i, int rc)
{
	r->attempts[i].fd = -1;
	if (i == 0)
		r->first_error = rc;
}

static void end_attempt(struct race *r, int i)
{
	gr_io_end(&r->attempts[i].io, GR_CLOSED);
	r->running--;
}

static void fail_attempt(struct race *r, int i, int rc)
{
	end_attempt(r, i);
	close(r->attempts[i].fd);
	note_failure(r, i, rc);
}

/* Begins with the next address that does not fail at once. */
static void start_next(struct race *r, const struct gr_addr *local, const struct gr_sock_opts *opts)
{
	int i, fd;

	do {
		i = r->started++;
		fd = gr_sock_connect(r->addrs[i], local, opts);
		if (fd < 0)
			note_failure(r, i, fd);
	} while (fd < 0 && r->started < r->n);
	if (fd < 0)
		return;
	r->attempts[i].fd = fd;
	gr_io_init(&r->attempts[i].io, fd, EV_WRITE);
	r->running++;
	r->next = gr_until(HEAD_START);
}

/* Sees to the attempts that have ended. Returns the descriptor of one that is connected, or -1. */
static int harvest(struct race *r)
{
	for (int i = 0; i < r->started; i++) {
		struct attempt *a = &r->attempts[i];
		struct pollfd p = {.fd = a->fd, .events = POLLOUT};
		int rc;

		if (a->fd < 0 || poll(&p, 1, 0) <= 0)
			continue;
		rc = gr_sock_error(a->fd);
		if (rc == 0) {
			end_attempt(r, i);
			rc = a->fd;
			a->fd = -1;
			return rc;
		}
		fail_attempt(r, i, rc);
	}
	return -1;
}

static int await_attempts(struct race *r, double until)
{
	int rc = 0;

	for (int i = 0; i < r->started && rc == 0; i++)
		if (r->attempts[i].fd >= 0)
			rc = gr_io_subscribe(&r->attempts[i].io);
	if (rc == 0)
		rc = gr_wait(until, "connect");
	for (int i = 0; i < r->started; i++)
		if (r->attempts[i].fd >= 0)
			gr_io_unsubscribe(&r->attempts[i].io);
	return rc;
}

/* Waits until an attempt ends or the next is due. */
static int wait_a_while(struct race *r, double until)
{
	bool more = r->started < r->n && r->next < until;
	int rc = await_attempts(r, more ? r->next : until);

	return rc == GR_TIMEOUT && more ? 0 : rc;
}

/* Returns the descriptor of the first attempt that connects, or why there is none. */
static int run(struct race *r, const struct gr_addr *local, const struct gr_sock_opts *opts, double until)
{
	int fd, rc = 0;

	while (rc == 0) {
		if (r->started < r->n && (r->running == 0 || gr_now() >= r->next))
			start_next(r, local, opts);
		fd = harvest(r);
		if (fd >= 0)
			return fd;
		if (r->running > 0)
			rc = wait_a_while(r, until);
		else if (r->started == r->n)
			rc = r->first_error;
	}
	return rc;
}

static int connect_any(struct gr_stream *s, const struct gr_addr *addrs, int n, const struct gr_addr *local,
		       const struct gr_sock_opts *opts, double until)
{
	struct race *r = calloc(1, sizeof(*r));
	int fd;

	if (r == NULL)
		return -ENOMEM;
	interleave(r, addrs, n < GR_ADDR_MAX ? n : GR_ADDR_MAX);
	if (local)
		select_family(r, family(local));
	fd = r->n == 0 ? -EAFNOSUPPORT : run(r, local, opts, until);
	for (int i = 0; i < r->started; i++)
		if (r->attempts[i].fd >= 0)
			fail_attempt(r, i, GR_CLOSED);
	free(r);
	if (fd < 0)
		return fd;
	gr_stream_open(s, fd);
	return 0;
}

int gr_stream_connect(struct gr_stream *s, const struct gr_addr *addrs, int n, const struct gr_addr *local,
		      const struct gr_sock_opts *opts, double until)
{
	if (n == 1)
		return connect_one(s, addrs, local, opts, until);
	return n > 1 ? connect_any(s, addrs, n, local, opts, until) : -EINVAL;
}
