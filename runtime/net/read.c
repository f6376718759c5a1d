/* SPDX-License-Identifier: MIT */
/* Buffered reading from a stream. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/hub.h"
#include "net/stream.h"

enum {
	SCRATCH = 64 << 10, /* what one read asks for */
	NUMBER_MAX = 200,   /* longest numeral, as in Lua */
};

/* Every read goes here first and only what is not consumed at once is copied: an idle stream owns no buffer. Never in
 * use across a wait. While its owner still looks at bytes there (building a string can run finalizers, and those can
 * read as long as they need not wait), other streams read into memory of their own. */
static char scratch[SCRATCH];
static const struct gr_stream *scratch_owner;

/* ---- The buffer ---- */

/* Makes room for `room` bytes behind the unread ones. Returns 0 or -ENOMEM. */
static int reserve(struct gr_stream *s, size_t room)
{
	size_t cap = s->len + room;
	char *buf;

	if (s->buf && s->data != s->buf)
		memmove(s->buf, s->data, s->len);
	if (s->buf && cap <= s->cap) {
		s->data = s->buf;
		return 0;
	}
	/* In steps, so that a long line that comes byte by byte is not copied for each. */
	if (cap < s->cap + s->cap / 2)
		cap = s->cap + s->cap / 2;
	buf = realloc(s->buf, cap);
	if (buf == NULL)
		return -ENOMEM;
	if (s->buf == NULL && s->len > 0)
		memcpy(buf, s->data, s->len);
	s->buf = s->data = buf;
	s->cap = cap;
	return 0;
}

/* After this the stream could only deliver bytes with a gap. */
static int lost(struct gr_stream *s)
{
	gr_stream_drop(s);
	s->eof = true;
	return -ENOMEM;
}

/* Brings unread bytes out of the scratch. */
static int keep(struct gr_stream *s)
{
	if (s->len == 0 || s->buf)
		return 0;
	return reserve(s, 0) < 0 ? lost(s) : 0;
}

static ssize_t receive(struct gr_stream *s, char *p, size_t len, double until)
{
	ssize_t n;
	int rc;

	do {
		if (!s->drained)
			gr_stream_share();
		rc = s->drained ? gr_io_wait(&s->rd, until, "conn.read") : 0;
		if (rc < 0)
			return rc;
		if (s->fd < 0)
			return GR_CLOSED;
		n = s->ops->read(s, p, len);
	} while (n == -EAGAIN);
	s->eof = n == 0;
	s->received += n > 0 ? (size_t)n : 0;
	return n;
}

/* For much that is probably there already: straight to its place. */
static ssize_t fill_directly(struct gr_stream *s, size_t want, double until)
{
	size_t most = s->len > SCRATCH ? s->len : SCRATCH, room = want < most ? want : most;
	ssize_t n;

	if (reserve(s, room) < 0)
		return -ENOMEM;
	n = receive(s, s->buf + s->len, room, until);
	s->len += n > 0 ? (size_t)n : 0;
	return n;
}

/* Gets more unread bytes, some of about `want` that the caller needs. Returns their number, 0 at the end, or < 0. */
static ssize_t fill(struct gr_stream *s, size_t want, double until)
{
	int rc = keep(s);
	ssize_t n;

	if (rc < 0 || s->eof)
		return rc;
	if (want > SCRATCH && s->len > 0 && !s->drained)
		return fill_directly(s, want, until);
	if (scratch_owner)
		return fill_directly(s, SCRATCH, until);
	if (s->len == 0)
		gr_stream_drop(s);
	n = receive(s, scratch, SCRATCH, until);
	if (n <= 0)
		return n;
	if (s->len == 0) {
		s->data = scratch;
	} else {
		if (reserve(s, (size_t)n) < 0)
			return lost(s);
		memcpy(s->buf + s->len, scratch, (size_t)n);
	}
	s->len += (size_t)n;
	return n;
}

/* ---- Reading ---- */

/* Pinned at the start of a call: a finalizer reads while its own stream is read, or the end of an earlier call was lost
 * in an error (out of memory). Only the former cannot wait. */
static bool is_inside(const struct gr_stream *s)
{
	return s->pinned && gr_hub.may_wait && gr_hub.may_wait() < 0;
}

static int prepare(struct gr_stream *s, double until)
{
	int rc = s->ops->prepare(s, until);

	if (rc < 0)
		s->reading = false;
	return rc;
}

static int begin(struct gr_stream *s, double until)
{
	if (s->fd < 0)
		return GR_CLOSED;
	if (s->reading || (s->rd.waiter && !s->unready) || is_inside(s))
		return GR_BUSY;
	gr_stream_done(s);
	s->reading = true;
	return __builtin_expect(s->unready, 0) ? prepare(s, until) : 0;
}

void gr_stream_done(struct gr_stream *s)
{
	s->pinned = false;
	if (scratch_owner == s)
		scratch_owner = NULL;
	if (s->buf && (s->len == 0 || s->fd < 0))
		gr_stream_drop(s);
}

/* Ends a call that consumes nothing. */
static ssize_t end(struct gr_stream *s, ssize_t rc)
{
	int kept = keep(s);

	s->reading = false;
	if (s->fd < 0)
		gr_stream_drop(s);
	return kept < 0 ? kept : rc;
}

int gr_stream_begin_read(struct gr_stream *s, double until)
{
	return begin(s, until);
}

ssize_t gr_stream_end_read(struct gr_stream *s, ssize_t rc)
{
	return end(s, rc);
}

int gr_stream_unread(struct gr_stream *s, const char *p, size_t n)
{
	int rc = reserve(s, n);

	if (rc < 0)
		return rc;
	memcpy(s->buf + s->len, p, n);
	s->len += n;
	return 0;
}

/* Ends a call that consumes the first n unread bytes. */
static ssize_t take(struct gr_stream *s, size_t n, const char **p)
{
	ssize_t got;

	if (s->buf == NULL && n > 0)
		scratch_owner = s;
	*p = s->data;
	s->data += n;
	s->len -= n;
	s->pinned = true;
	got = end(s, (ssize_t)n);
	if (got <= 0)
		gr_stream_done(s);
	return got;
}

/* Buffers n bytes, or all up to the end. Returns how many of the n are there. */
static ssize_t need(struct gr_stream *s, size_t n, double until)
{
	ssize_t got = 1;

	while (s->len < n && got > 0)
		got = fill(s, n - s->len, until);
	if (got < 0)
		return got;
	return (ssize_t)(s->len < n ? s->len : n);
}

ssize_t gr_stream_read(struct gr_stream *s, size_t n, double until, const char **p)
{
	ssize_t got = begin(s, until);

	if (got < 0)
		return got;
	got = need(s, n, until);
	return got < 0 ? end(s, got) : take(s, (size_t)got, p);
}

ssize_t gr_stream_recv(struct gr_stream *s, size_t n, double until, const char **p)
{
	ssize_t got = begin(s, until);

	if (got < 0)
		return got;
	got = need(s, 1, until);
	return got < 0 ? end(s, got) : take(s, s->len < n ? s->len : n, p);
}

ssize_t gr_stream_peek(struct gr_stream *s, size_t n, double until, const char **p)
{
	ssize_t got = begin(s, until);

	if (got < 0)
		return got;
	got = end(s, need(s, n, until));
	*p = s->data;
	s->pinned = got > 0;
	return got;
}

ssize_t gr_stream_read_all(struct gr_stream *s, double until, const char **p)
{
	ssize_t got = begin(s, until);

	if (got < 0)
		return got;
	do
		got = fill(s, SIZE_MAX / 2, until);
	while (got > 0);
	return got < 0 ? end(s, got) : take(s, s->len, p);
}

/* Length of the unread bytes up to and with the separator, 0 if it is not there. *from is where to look next time. */
static size_t find(const struct gr_stream *s, const char *sep, size_t sep_len, size_t *from)
{
	const char *hit = s->len >= sep_len ? memmem(s->data + *from, s->len - *from, sep, sep_len) : NULL;

	if (hit)
		return (size_t)(hit - s->data) + sep_len;
	if (s->len >= sep_len)
		*from = s->len - sep_len + 1;
	return 0;
}

ssize_t gr_stream_read_until(struct gr_stream *s, const char *sep, size_t sep_len, size_t max, double until,
			     const char **p)
{
	ssize_t got = begin(s, until);
	size_t n, from = 0;

	if (got < 0)
		return got;
	while ((n = find(s, sep, sep_len, &from)) == 0 && s->len < max + sep_len) {
		got = fill(s, 1, until);
		if (got < 0)
			return end(s, got);
		if (got == 0)
			return s->len > max ? end(s, GR_TOO_LARGE) : take(s, s->len, p);
	}
	return n == 0 || n > max + sep_len ? end(s, GR_TOO_LARGE) : take(s, n, p);
}

ssize_t gr_stream_scan(struct gr_stream *s, gr_stream_scan_fn *scan, void *user, const double *until,
		       const char **p)
{
	ssize_t got = begin(s, *until), n;

	if (got < 0)
		return got;
	for (;;) {
		n = s->len > 0 ? scan(user, s->data, s->len) : 0;
		if (n != 0)
			return n < 0 ? end(s, n) : take(s, (size_t)n, p);
		got = fill(s, 1, *until);
		if (got <= 0)
			return end(s, got);
	}
}

/* ---- Numbers ---- */

static size_t skip_digits(const char *p, size_t i, size_t n, bool hex)
{
	while (i < n && (hex ? isxdigit((unsigned char)p[i]) : isdigit((unsigned char)p[i])))
		i++;
	return i;
}

static size_t skip_one(const char *p, size_t i, size_t n, const char *set)
{
	return i < n && p[i] && strchr(set, p[i]) ? i + 1 : i;
}

/* Length of the longest prefix that looks like a numeral of Lua; n = more bytes may belong to it. */
static size_t scan_number(const char *p, size_t n)
{
	size_t i = skip_one(p, 0, n, "+-"), mark = skip_one(p, i, n, "0"), digits;
	bool hex = mark > i && skip_one(p, mark, n, "xX") > mark;

	i = skip_digits(p, hex ? mark + 1 : i, n, hex);
	digits = skip_one(p, i, n, ".");
	i = digits > i ? skip_digits(p, digits, n, hex) : i;
	mark = skip_one(p, i, n, hex ? "pP" : "eE");
	return mark > i ? skip_digits(p, skip_one(p, mark, n, "+-"), n, false) : i;
}

static size_t count_blanks(const char *p, size_t n)
{
	size_t i = 0;

	while (i < n && isspace((unsigned char)p[i]))
		i++;
	return i;
}

ssize_t gr_stream_read_number(struct gr_stream *s, double until, const char **p)
{
	ssize_t got = begin(s, until);
	size_t n, blanks;

	if (got < 0)
		return got;
	for (;;) {
		blanks = count_blanks(s->data, s->len);
		s->data += blanks;
		s->len -= blanks;
		n = scan_number(s->data, s->len < NUMBER_MAX ? s->len : NUMBER_MAX);
		if (n < s->len || n == NUMBER_MAX)
			return take(s, n, p);
		got = fill(s, 1, until);
		if (got <= 0)
			return got < 0 ? end(s, got) : take(s, n, p);
	}
}
