/* SPDX-License-Identifier: MIT */
/* Corks: what a thread writes to a stream is collected, to leave in few system calls. */
#include "net/cork.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	CORK_MAX = 64 << 10, /* bytes collected at most */
	CORK_MIN = 1 << 10,  /* bytes of the first allocation */
};

struct gr_cork {
	uint64_t owner; /* id of the thread whose writes are collected */
	unsigned depth; /* how often it corked */
	bool sending;   /* some thread, whose turn it is, sends from buf */
	bool orphan;    /* the cork is gone; that thread frees it */
	char *buf;      /* heap; NULL while nothing is collected */
	size_t len, cap;
};

static void drop(struct gr_cork *c)
{
	free(c->buf);
	c->buf = NULL;
	c->len = c->cap = 0;
}

void gr_cork_delete(struct gr_stream *s)
{
	struct gr_cork *c = s->cork;

	s->cork = NULL;
	if (c == NULL)
		return;
	if (c->sending) {
		c->orphan = true;
		return;
	}
	drop(c);
	free(c);
}

int gr_stream_cork(struct gr_stream *s)
{
	if (s->fd < 0)
		return GR_CLOSED;
	if (s->cork == NULL) {
		s->cork = calloc(1, sizeof(*s->cork));
		if (s->cork == NULL)
			return -ENOMEM;
		s->cork->owner = gr_current->id;
	}
	if (s->cork->owner != gr_current->id)
		return 1;
	s->cork->depth++;
	return 0;
}

static void consume(struct gr_cork *c, size_t n)
{
	c->len -= n;
	if (c->len == 0)
		drop(c);
	else
		memmove(c->buf, c->buf + n, c->len);
}

int gr_stream_flush(struct gr_stream *s, double until)
{
	struct gr_cork *c = s->cork;
	size_t sent = 0;
	int rc;

	if (c == NULL || c->len == 0)
		return 0;
	c->sending = true;
	rc = gr_stream_send(s, c->buf, c->len, until, &sent);
	c->sending = false;
	consume(c, sent);
	if (c->orphan) {
		drop(c);
		free(c);
	}
	return rc;
}

/* Room for n bytes more, which CORK_MAX allows. */
static int reserve(struct gr_cork *c, size_t n)
{
	size_t cap = c->cap ? c->cap : CORK_MIN;
	char *buf;

	while (cap < c->len + n)
		cap *= 2;
	if (cap == c->cap)
		return 0;
	buf = realloc(c->buf, cap);
	if (buf == NULL)
		return -ENOMEM;
	c->buf = buf;
	c->cap = cap;
	return 0;
}

static int collect(struct gr_cork *c, const char *p, size_t n)
{
	int rc = n > 0 ? reserve(c, n) : 0;

	if (rc < 0 || n == 0)
		return rc;
	memcpy(c->buf + c->len, p, n);
	c->len += n;
	return 0;
}

int gr_cork_take(struct gr_stream *s, const struct iovec *iov, int n, size_t total, double until)
{
	struct gr_cork *c = s->cork;
	bool own = c->owner == gr_current->id && total <= CORK_MAX;
	int rc = own && c->len + total <= CORK_MAX ? 0 : gr_stream_flush(s, until);

	if (rc < 0 || !own)
		return rc;
	for (int i = 0; i < n && rc == 0; i++)
		rc = collect(s->cork, iov[i].iov_base, iov[i].iov_len);
	return rc < 0 ? rc : 1;
}

void gr_cork_push(struct gr_stream *s)
{
	struct gr_cork *c = s->cork;
	ssize_t n;

	if (c == NULL || c->len == 0 || s->writing)
		return;
	n = s->ops->write(s, c->buf, c->len);
	if (n <= 0)
		return;
	s->sent += (size_t)n;
	consume(c, (size_t)n);
}

static int flush_in_turn(struct gr_stream *s, double until, size_t *sent)
{
	size_t before;
	int rc = gr_stream_begin_write(s, until);

	if (rc < 0)
		return rc;
	before = s->cork->len;
	rc = gr_stream_flush(s, until);
	*sent = before - s->cork->len;
	gr_stream_end_write(s);
	return rc;
}

int gr_stream_uncork(struct gr_stream *s, double until, size_t *sent)
{
	int rc = 0;

	*sent = 0;
	if (s->cork == NULL || --s->cork->depth > 0)
		return 0;
	if (s->cork->len > 0)
		rc = flush_in_turn(s, until, sent);
	gr_cork_delete(s);
	return rc;
}

size_t gr_stream_corked(const struct gr_stream *s)
{
	return s->cork ? s->cork->len : 0;
}
