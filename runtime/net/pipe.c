/* SPDX-License-Identifier: MIT */
/* Streams over what read(2) and write(2) serve: pipes, terminals, character devices. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "net/stream.h"

static ssize_t pipe_read(struct gr_stream *s, void *buf, size_t len)
{
	ssize_t n;

	do
		n = read(s->fd, buf, len);
	while (n < 0 && errno == EINTR);
	n = n < 0 ? -errno : n;
	s->drained = n == -EAGAIN || (n > 0 && (size_t)n < len);
	return n;
}

static ssize_t pipe_write(struct gr_stream *s, const void *buf, size_t len)
{
	ssize_t n;

	do
		n = write(s->fd, buf, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t pipe_writev(struct gr_stream *s, const struct iovec *iov, int count)
{
	ssize_t n;

	do
		n = writev(s->fd, iov, count);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Ending the only direction is closing; a direction that is not there has ended. */
static int pipe_shutdown(struct gr_stream *s, int how)
{
	int mode = fcntl(s->fd, F_GETFL) & O_ACCMODE;
	bool reads = mode != O_WRONLY, writes = mode != O_RDONLY;

	if (how == SHUT_RDWR || (how == SHUT_RD && !writes) || (how == SHUT_WR && !reads))
		gr_stream_close(s);
	else if (reads && writes)
		return -ENOTSOCK;
	return 0;
}

static void pipe_close(struct gr_stream *s)
{
	close(s->fd);
}

static const struct gr_stream_ops pipe_ops = {
	.read = pipe_read,
	.write = pipe_write,
	.writev = pipe_writev,
	.shutdown = pipe_shutdown,
	.close = pipe_close,
};

void gr_stream_open_pipe(struct gr_stream *s, int fd)
{
	gr_stream_open(s, fd);
	s->ops = &pipe_ops;
}

bool gr_stream_is_raw(const struct gr_stream *s)
{
	return s->ops == &pipe_ops || s->ops == &gr_stream_sock_ops;
}
