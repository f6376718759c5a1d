/* SPDX-License-Identifier: MIT */
/* Byte streams over sockets: their life and writing. Reading is in read.c, connecting in connect.c,
 * corks in cork.c, sending files in sendfile.c. */
#define _GNU_SOURCE
#include "net/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "core/hub.h"
#include "net/cork.h"
#include "net/listener.h"

enum { CALLS_MAX = 32 }; /* system calls in a row without letting others run */

/* ---- Plain sockets ---- */

static ssize_t sock_read(struct gr_stream *s, void *buf, size_t len)
{
	ssize_t n = gr_sock_recv(s->fd, buf, len);

	s->drained = n == -EAGAIN || (n > 0 && (size_t)n < len);
	return n;
}

static ssize_t sock_write(struct gr_stream *s, const void *buf, size_t len)
{
	return gr_sock_send(s->fd, buf, len);
}

static ssize_t sock_writev(struct gr_stream *s, const struct iovec *iov, int count)
{
	return gr_sock_sendv(s->fd, iov, count);
}

static int sock_shutdown(struct gr_stream *s, int how)
{
	return shutdown(s->fd, how) < 0 ? -errno : 0;
}

static void sock_close(struct gr_stream *s)
{
	close(s->fd);
}

static ssize_t sock_sendfile(struct gr_stream *s, int fd, off_t *offset, size_t len)
{
	ssize_t n;

	do
		n = sendfile(s->fd, fd, offset, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

const struct gr_stream_ops gr_stream_sock_ops = {
	.read = sock_read,
	.write = sock_write,
	.writev = sock_writev,
	.sendfile = sock_sendfile,
	.shutdown = sock_shutdown,
	.close = sock_close,
};

bool gr_stream_is_plain(const struct gr_stream *s)
{
	return s->ops == &gr_stream_sock_ops;
}

/* ---- Opening and closing ---- */

void gr_stream_create(struct gr_stream *s)
{
	memset(s, 0, sizeof(*s));
	s->fd = -1;
	s->timeout = INFINITY;
}

void gr_stream_open(struct gr_stream *s, int fd)
{
	s->ops = &gr_stream_sock_ops;
	s->fd = fd;
	s->eof = s->drained = s->unready = s->unsent = s->broken = false;
	s->layer = NULL;
	gr_io_init(&s->rd, fd, EV_READ);
	gr_io_init(&s->wr, fd, EV_WRITE);
}

static uint32_t serving;
uint32_t *gr_stream_serving = &serving;

void gr_stream_accepted(struct gr_stream *s)
{
	s->accepted = true;
	++*gr_stream_serving;
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
	gr_cork_push(s);
	gr_io_end(&s->rd, GR_CLOSED);
	gr_io_end(&s->wr, GR_CLOSED);
	for (const struct gr_writer *w = s->writers; w; w = w->next)
		gr_wake(w->green, GR_CLOSED);
	s->ops->close(s);
	s->fd = -1;
	if (s->accepted)
		--*gr_stream_serving;
	gr_listener_resume();
	/* Else the reader drops them when it comes back. */
	if (!s->reading && !s->pinned)
		gr_stream_drop(s);
}

void gr_stream_break(struct gr_stream *s)
{
	if (s->fd < 0)
		return;
	s->broken = true;
	gr_sock_reset_on_close(s->fd);
}

void gr_stream_destroy(struct gr_stream *s)
{
	gr_stream_close(s);
	gr_stream_done(s);
	gr_stream_drop(s);
	gr_cork_delete(s);
}

int gr_stream_shutdown(struct gr_stream *s, int how)
{
	if (s->fd < 0)
		return GR_CLOSED;
	if (how != SHUT_RD)
		gr_cork_push(s);
	return s->ops->shutdown(s, how);
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

/* ---- Writing ---- */

void gr_stream_enqueue(struct gr_stream *s, struct gr_writer *w)
{
	struct gr_writer **link = &s->writers;

	w->green = gr_current;
	w->next = NULL;
	while (*link)
		link = &(*link)->next;
	*link = w;
}

void gr_stream_dequeue(struct gr_stream *s, const struct gr_writer *w)
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
	struct gr_writer *w = malloc(sizeof(*w));
	int rc;

	if (w == NULL)
		return -ENOMEM;
	gr_stream_enqueue(s, w);
	rc = gr_wait(until, "conn.write (its turn)");
	gr_stream_dequeue(s, w);
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

int gr_stream_settle(struct gr_stream *s, ssize_t n, size_t want, double until, size_t *sent)
{
	if (n < 0 && n != -EAGAIN)
		return (int)n;
	if (n > 0) {
		s->sent += (size_t)n;
		*sent += (size_t)n;
	}
	return n == (ssize_t)want && !s->unsent ? 0 : gr_io_wait(&s->wr, until, "conn.write");
}

int gr_stream_send(struct gr_stream *s, const char *p, size_t n, double until, size_t *sent)
{
	int rc = 0;

	while ((n > 0 || s->unsent) && rc == 0) {
		ssize_t k;

		gr_stream_share();
		if (s->fd < 0)
			break;
		k = s->ops->write(s, p, n);
		rc = gr_stream_settle(s, k, n, until, sent);
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

static int send_vector(struct gr_stream *s, struct iovec *iov, int n, size_t left, double until, size_t *sent)
{
	int rc = 0, used;

	while ((left > 0 || s->unsent) && rc == 0) {
		ssize_t k;

		gr_stream_share();
		if (s->fd < 0)
			break;
		k = s->ops->writev(s, iov, n);
		rc = gr_stream_settle(s, k, left, until, sent);
		if (k <= 0)
			continue;
		left -= (size_t)k;
		used = advance(iov, n, (size_t)k);
		iov += used;
		n -= used;
	}
	return rc < 0 || left == 0 ? rc : GR_CLOSED;
}

static int write_corked(struct gr_stream *s, struct iovec *iov, int n, double until, size_t *sent)
{
	size_t bytes = total(iov, n);
	int rc = gr_cork_take(s, iov, n, bytes, until);

	if (rc == 0)
		return send_vector(s, iov, n, bytes, until, sent);
	*sent += rc > 0 ? bytes : 0;
	return rc > 0 ? 0 : rc;
}

static int write_one_corked(struct gr_stream *s, const char *p, size_t n, double until, size_t *sent)
{
	struct iovec all = {.iov_base = (void *)p, .iov_len = n};

	return write_corked(s, &all, 1, until, sent);
}

int gr_stream_rest(const struct iovec *all, int n, size_t done, struct iovec *rest)
{
	int left = 0;

	for (int i = 0; i < n; i++) {
		size_t skip = done < all[i].iov_len ? done : all[i].iov_len;

		done -= skip;
		if (all[i].iov_len > skip)
			rest[left++] = (struct iovec){(char *)all[i].iov_base + skip, all[i].iov_len - skip};
	}
	return left;
}

int gr_stream_write_now(struct gr_stream *s, const struct iovec *iov, int n, size_t *sent)
{
	size_t want = total(iov, n);
	ssize_t k;

	gr_stream_share();
	if (s->fd < 0 || s->writing || s->wr.waiter || s->unready || s->cork)
		return 1;
	k = n == 1 ? s->ops->write(s, iov->iov_base, want) : s->ops->writev(s, iov, n);
	if (k < 0)
		return k == -EAGAIN ? 1 : (int)k;
	s->sent += (size_t)k;
	*sent += (size_t)k;
	return (size_t)k < want || s->unsent;
}

int gr_stream_write(struct gr_stream *s, const char *p, size_t n, double until, size_t *sent)
{
	return s->cork ? write_one_corked(s, p, n, until, sent) : gr_stream_send(s, p, n, until, sent);
}

int gr_stream_writev(struct gr_stream *s, struct iovec *iov, int n, double until, size_t *sent)
{
	return s->cork ? write_corked(s, iov, n, until, sent) : send_vector(s, iov, n, total(iov, n), until, sent);
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
