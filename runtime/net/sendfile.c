/* SPDX-License-Identifier: MIT */
/* Sending files: by the kernel where it can, else through a buffer of bounded size. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/stream.h"

enum {
	STEP = 512 << 10,  /* bytes per system call, so that others run in between */
	COPIED = 64 << 10, /* bytes in the buffer */
};

/* Where the file's next byte comes from. */
struct source {
	int fd;
	off_t offset; /* < 0: it cannot be chosen */
	size_t left;  /* SIZE_MAX: all there is */
};

static size_t part(const struct source *f, size_t most)
{
	return f->left < most ? f->left : most;
}

static void advance(struct source *f, size_t n)
{
	f->left -= f->left == SIZE_MAX ? 0 : n;
}

/* What reading no bytes means. */
static int ended(const struct source *f)
{
	return f->left == SIZE_MAX ? 0 : -ENODATA;
}

/* ---- By the kernel ---- */

/* -EINVAL: it does not know how to, from where it stopped. */
static int send_directly(struct gr_stream *s, struct source *f, double until, size_t *sent)
{
	int rc = 0;

	while (f->left > 0 && rc == 0) {
		size_t want = part(f, STEP);
		ssize_t n;

		gr_stream_share();
		if (s->fd < 0)
			return GR_CLOSED;
		n = s->ops->sendfile(s, f->fd, &f->offset, want);
		if (n == 0)
			return ended(f);
		rc = gr_stream_settle(s, n, want, until, sent);
		advance(f, n > 0 ? (size_t)n : 0);
	}
	return rc;
}

/* ---- Through a buffer ---- */

/* In the heap: the loop points to `io` and the stream to `writer` while the thread is parked. */
struct copy {
	struct gr_io io;
	struct gr_writer writer;
	char buf[COPIED];
};

/* A pipe may stay silent while the stream is closed. */
static int await_source(struct gr_stream *s, struct copy *c, double until)
{
	int rc = gr_io_wait(&c->io, 0, "conn.sendfile (source)");

	if (rc != GR_TIMEOUT)
		return rc;
	gr_stream_enqueue(s, &c->writer);
	rc = gr_io_wait(&c->io, until, "conn.sendfile (source)");
	gr_stream_dequeue(s, &c->writer);
	return rc;
}

static ssize_t read_some(struct gr_stream *s, struct copy *c, struct source *f, double until)
{
	ssize_t n;
	int rc = 0;

	do {
		if (f->offset < 0)
			rc = await_source(s, c, until);
		if (rc < 0)
			return rc;
		n = f->offset < 0 ? read(f->fd, c->buf, part(f, COPIED))
				  : pread(f->fd, c->buf, part(f, COPIED), f->offset);
	} while (n < 0 && (errno == EINTR || (errno == EAGAIN && f->offset < 0)));
	if (n > 0 && f->offset >= 0)
		f->offset += n;
	return n < 0 ? -errno : n;
}

static int copy_all(struct gr_stream *s, struct copy *c, struct source *f, double until, size_t *sent)
{
	int rc = 0;

	while (f->left > 0 && rc == 0) {
		ssize_t n = read_some(s, c, f, until);

		if (n <= 0)
			return n < 0 ? (int)n : ended(f);
		advance(f, (size_t)n);
		rc = gr_stream_send(s, c->buf, (size_t)n, until, sent);
	}
	return rc;
}

static int send_copied(struct gr_stream *s, struct source *f, double until, size_t *sent)
{
	struct copy *c = malloc(sizeof(*c));
	int rc;

	if (c == NULL)
		return -ENOMEM;
	gr_io_init(&c->io, f->fd, EV_READ);
	rc = copy_all(s, c, f, until, sent);
	gr_io_end(&c->io, GR_CLOSED);
	free(c);
	return rc;
}

int gr_stream_sendfile(struct gr_stream *s, int fd, off_t from, size_t len, double until, size_t *sent)
{
	struct source f = {.fd = fd, .offset = from, .left = len};
	int rc = gr_stream_flush(s, until);

	if (rc < 0)
		return rc;
	rc = from >= 0 && s->ops->sendfile ? send_directly(s, &f, until, sent) : -EINVAL;
	return rc == -EINVAL && f.left > 0 ? send_copied(s, &f, until, sent) : rc;
}
