/* SPDX-License-Identifier: MIT */
/* Byte streams over sockets: their life, connecting and writing. Reading is in read.c. */
#define _GNU_SOURCE
#include "net/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/hub.h"

enum { CALLS_MAX = 32 }; /* system calls in a row without letting others run */

static const double RETRY_MIN = 0.001, RETRY_MAX = 0.1; /* seconds between attempts at a full unix listener */

/* A thread that waits for its turn to write. */
struct gr_writer {
	struct gr_green *green;
	struct gr_writer *next;
};

/* ---- Plain sockets ---- */

static ssize_t sock_read(struct gr_stream *s, void *buf, size_t len)
{
	ssize_t n;

	do
		n = recv(s->fd, buf, len, 0);
	while (n < 0 && errno == EINTR);
	n = n < 0 ? -errno : n;
	s->drained = n == -EAGAIN || (n > 0 && (size_t)n < len);
	return n;
}

static ssize_t sock_write(struct gr_stream *s, const void *buf, size_t len)
{
	ssize_t n;

	do
		n = send(s->fd, buf, len, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t sock_writev(struct gr_stream *s, const struct iovec *iov, int count)
{
	struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
	ssize_t n;

	do
		n = sendmsg(s->fd, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int sock_shutdown(struct gr_stream *s, int how)
{
	return shutdown(s->fd, how) < 0 ? -errno : 0;
}

static void sock_close(struct gr_stream *s)
{
	close(s->fd);
}

static const struct gr_stream_ops sock_ops = {
	.read = sock_read,
	.write = sock_write,
	.writev = sock_writev,
	.shutdown = sock_shutdown,
	.close = sock_close,
};

/* ---- Opening and closing ---- */

void gr_stream_create(struct gr_stream *s)
{
	memset(s, 0, sizeof(*s));
	s->fd = -1;
	s->timeout = INFINITY;
}

void gr_stream_open(struct gr_stream *s, int fd)
{
	s->ops = &sock_ops;
	s->fd = fd;
	s->eof = s->drained = s->unready = s->unsent = false;
	s->layer = NULL;
	gr_io_init(&s->rd, fd, EV_READ);
	gr_io_init(&s->wr, fd, EV_WRITE);
}

void gr_stream_drop(struct gr_stream *s)
{
	free(s->buf);
	s->buf = s->data = NULL;
	s->len = s->cap = 0;
}

void gr_stream_close(struct gr_stream *s)
{
	if (s->fd < 0)
		return;
	gr_io_end(&s->rd, GR_CLOSED);
	gr_io_end(&s->wr, GR_CLOSED);
	for (const struct gr_writer *w = s->writers; w; w = w->next)
		gr_wake(w->green, GR_CLOSED);
	s->ops->close(s);
	s->fd = -1;
	/* Else the reader drops them when it comes back. */
	if (!s->reading && !s->pinned)
		gr_stream_drop(s);
}

void gr_stream_destroy(struct gr_stream *s)
{
	gr_stream_close(s);
	gr_stream_done(s);
	gr_stream_drop(s);
}

int gr_stream_shutdown(struct gr_stream *s, int how)
{
	return s->fd < 0 ? GR_CLOSED : s->ops->shutdown(s, how);
}

double gr_stream_until(const struct gr_stream *s)
{
	return s->timeout == INFINITY ? INFINITY : gr_until(s->timeout);
}

void gr_stream_share(void)
{
	static uint64_t switches;
	static int calls;

	if (gr_switches != switches || ++calls >= CALLS_MAX) {
		if (gr_switches == switches && !(gr_hub.may_wait && gr_hub.may_wait() < 0))
			gr_yield();
		switches = gr_switches;
		calls = 0;
	}
}

/* ---- Connecting ---- */

/* Unlike TCP, unix sockets do not queue who finds the backlog full, and nothing tells when there is room again. */
static int connect_patiently(const struct gr_addr *addr, const struct gr_addr *local, const struct gr_sock_opts *opts,
			     double until)
{
	double pause = RETRY_MIN, end;
	int fd = gr_sock_connect(addr, local, opts), rc;

	while (fd == -EAGAIN && addr->u.sa.sa_family == AF_UNIX) {
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

static bool ends_all(int rc)
{
	return rc == 0 || rc == GR_TIMEOUT || rc == GR_CANCELED || rc == GR_DEADLINE || rc == GR_MISUSE;
}

int gr_stream_connect(struct gr_stream *s, const struct gr_addr *addrs, int n, const struct gr_addr *local,
		      const struct gr_sock_opts *opts, double until)
{
	int first = -EINVAL;

	for (int i = 0; i < n; i++) {
		int rc = connect_one(s, &addrs[i], local, opts, until);

		if (ends_all(rc))
			return rc;
		if (i == 0)
			first = rc;
	}
	return first;
}

/* ---- Writing ---- */

static void leave_queue(struct gr_stream *s, const struct gr_writer *w)
{
	struct gr_writer **link = &s->writers;

	while (*link && *link != w)
		link = &(*link)->next;
	if (*link)
		*link = w->next;
}

/* First come, first served; gr_stream_end_write hands the turn over. */
static int await_turn(struct gr_stream *s, double until)
{
	struct gr_writer *w = malloc(sizeof(*w)), **link = &s->writers;
	int rc;

	if (w == NULL)
		return -ENOMEM;
	w->green = gr_current;
	w->next = NULL;
	while (*link)
		link = &(*link)->next;
	*link = w;
	rc = gr_wait(until, "conn.write (its turn)");
	leave_queue(s, w);
	free(w);
	if (rc == 0 && s->fd < 0) {
		gr_stream_end_write(s);
		return GR_CLOSED;
	}
	return rc;
}

static int take_turn(struct gr_stream *s, double until)
{
	if (s->fd < 0)
		return GR_CLOSED;
	if (s->writing)
		return await_turn(s, until);
	if (s->wr.waiter && !s->unready)
		return GR_BUSY;
	s->writing = true;
	return 0;
}

int gr_stream_begin_write(struct gr_stream *s, double until)
{
	int rc = take_turn(s, until);

	if (rc == 0 && __builtin_expect(s->unready, 0)) {
		rc = s->ops->prepare(s, until);
		if (rc < 0)
			gr_stream_end_write(s);
	}
	return rc;
}

void gr_stream_end_write(struct gr_stream *s)
{
	const struct gr_writer *w = s->writers;

	/* Who was woken otherwise takes itself out of the queue when it runs. */
	while (w && !gr_wake(w->green, 0))
		w = w->next;
	s->writing = w != NULL;
}

/* Looks at what one attempt wrote out of `want`: waits if it was not all. */
static int settle(struct gr_stream *s, ssize_t n, size_t want, double until, size_t *sent)
{
	if (n < 0 && n != -EAGAIN)
		return (int)n;
	if (n > 0) {
		s->sent += (size_t)n;
		*sent += (size_t)n;
	}
	return n == (ssize_t)want && !s->unsent ? 0 : gr_io_wait(&s->wr, until, "conn.write");
}

int gr_stream_write(struct gr_stream *s, const char *p, size_t n, double until, size_t *sent)
{
	int rc = 0;

	while ((n > 0 || s->unsent) && rc == 0) {
		ssize_t k;

		gr_stream_share();
		if (s->fd < 0)
			break;
		k = s->ops->write(s, p, n);
		rc = settle(s, k, n, until, sent);
		p += k > 0 ? k : 0;
		n -= k > 0 ? (size_t)k : 0;
	}
	return rc < 0 || n == 0 ? rc : GR_CLOSED;
}

static size_t total(const struct iovec *iov, int n)
{
	size_t sum = 0;

	for (int i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return sum;
}

/* Drops the first `done` bytes; returns how many entries are used up. */
static int advance(struct iovec *iov, int n, size_t done)
{
	int i = 0;

	while (i < n && done >= iov[i].iov_len)
		done -= iov[i++].iov_len;
	if (i < n) {
		iov[i].iov_base = (char *)iov[i].iov_base + done;
		iov[i].iov_len -= done;
	}
	return i;
}

int gr_stream_writev(struct gr_stream *s, struct iovec *iov, int n, double until, size_t *sent)
{
	size_t left = total(iov, n);
	int rc = 0, used;

	while ((left > 0 || s->unsent) && rc == 0) {
		ssize_t k;

		gr_stream_share();
		if (s->fd < 0)
			break;
		k = s->ops->writev(s, iov, n);
		rc = settle(s, k, left, until, sent);
		if (k <= 0)
			continue;
		left -= (size_t)k;
		used = advance(iov, n, (size_t)k);
		iov += used;
		n -= used;
	}
	return rc < 0 || left == 0 ? rc : GR_CLOSED;
}

/* ---- Readiness ---- */

static bool poll_for(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, 0) > 0;
}

bool gr_stream_readable(struct gr_stream *s)
{
	if (s->fd < 0 || s->len > 0 || s->eof)
		return true;
	if (s->ops->readable && !s->unready && !s->reading)
		return s->ops->readable(s);
	return poll_for(s->fd, POLLIN);
}

bool gr_stream_writable(const struct gr_stream *s)
{
	return s->fd < 0 || poll_for(s->fd, POLLOUT);
}
