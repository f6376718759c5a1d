/* SPDX-License-Identifier: MIT */
/* connect, accept and sendfile: they have no flag that keeps them from waiting, so O_NONBLOCK is set meanwhile. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "posix/coop.h"
#include "posix/next.h"

static bool would_wait(ssize_t r)
{
	return r < 0 && errno == EAGAIN;
}

/* Sets O_NONBLOCK. Returns the flags as they were, or -1 if there is nothing to do: an invalid descriptor, or it is
 * non-blocking anyway. */
static int make_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || (flags & O_NONBLOCK))
		return -1;
	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	return flags;
}

static void restore_flags(int fd, int flags)
{
	int saved = errno;

	fcntl(fd, F_SETFL, flags);
	errno = saved;
}

static int plain_accept(int fd, struct sockaddr *from, socklen_t *len, int flags)
{
	return flags ? gr_next.accept4(fd, from, len, flags) : gr_next.accept(fd, from, len);
}

static int try_accept(int fd, struct sockaddr *from, socklen_t *len, int flags)
{
	int old = make_nonblocking(fd), r;

	r = plain_accept(fd, from, len, flags);
	if (old >= 0)
		restore_flags(fd, old);
	return r;
}

static int block_accept(const struct gr_coop_op *op, struct sockaddr *from, socklen_t *len, int flags)
{
	double since = gr_coop_block();
	int r = plain_accept(op->fd, from, len, flags);

	gr_coop_blocked(op->call, since, op->caller);
	return r;
}

static int do_accept(int fd, struct sockaddr *from, socklen_t *len, int flags, const void *caller)
{
	struct gr_coop_op op = {GR_CALL_ACCEPT, fd, POLLIN, SO_RCVTIMEO, caller, 0};
	socklen_t room = from && len ? *len : 0;

	for (;;) {
		int r = try_accept(fd, from, len, flags);

		if (!would_wait(r))
			return r;
		switch (gr_coop_again(&op)) {
		case GR_COOP_FAIL:
			return -1;
		case GR_COOP_BLOCK:
			return block_accept(&op, from, len, flags);
		case GR_COOP_AGAIN:
			break;
		}
		if (from && len)
			*len = room;
	}
}

int accept(int fd, struct sockaddr *restrict from, socklen_t *restrict len)
{
	if (!gr_coop_here(GR_CALL_ACCEPT))
		return gr_next.accept(fd, from, len);
	return do_accept(fd, from, len, 0, __builtin_return_address(0));
}

int accept4(int fd, struct sockaddr *restrict from, socklen_t *restrict len, int flags)
{
	if (!gr_coop_here(GR_CALL_ACCEPT))
		return gr_next.accept4(fd, from, len, flags);
	return do_accept(fd, from, len, flags, __builtin_return_address(0));
}

/* The outcome of a connection attempt that went on in the background. */
static int connected(struct gr_coop_op *op)
{
	int error = 0;
	socklen_t len = sizeof(error);

	op->until = 0;
	switch (gr_coop_again(op)) {
	case GR_COOP_FAIL:
		if (errno == EAGAIN)
			errno = EINPROGRESS; /* SO_SNDTIMEO passed */
		return -1;
	case GR_COOP_BLOCK:
	case GR_COOP_AGAIN:
		break;
	}
	if (getsockopt(op->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -1;
	errno = error;
	return error ? -1 : 0;
}

/* A local server whose backlog is full: nothing tells when it has room. */
static int connect_again(struct gr_coop_op *op, const struct sockaddr *to, socklen_t len)
{
	double pause = 0;
	int r, rc;

	do {
		rc = gr_coop_pause(op->call, &pause, INFINITY);
		if (rc < 0)
			return gr_coop_fail(op->call, rc);
		r = make_nonblocking(op->fd);
		rc = gr_next.connect(op->fd, to, len);
		restore_flags(op->fd, r);
	} while (rc < 0 && errno == EAGAIN);
	return rc;
}

static int block_connect(const struct gr_coop_op *op, const struct sockaddr *to, socklen_t len)
{
	double since = gr_coop_block();
	int r = gr_next.connect(op->fd, to, len);

	gr_coop_blocked(op->call, since, op->caller);
	return r;
}

/* Whether it will wait shows only when it has begun, so the place is looked at first. */
int connect(int fd, const struct sockaddr *to, socklen_t len)
{
	struct gr_coop_op op = {GR_CALL_CONNECT, fd, POLLOUT, SO_SNDTIMEO, __builtin_return_address(0), 0};
	int flags, r;

	if (!gr_coop_here(GR_CALL_CONNECT))
		return gr_next.connect(fd, to, len);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || (flags & O_NONBLOCK))
		return gr_next.connect(fd, to, len);
	if (!gr_coop_may_park())
		return block_connect(&op, to, len);
	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	r = gr_next.connect(fd, to, len);
	restore_flags(fd, flags);
	if (r < 0 && errno == EINPROGRESS)
		return connected(&op);
	return would_wait(r) ? connect_again(&op, to, len) : r;
}

static ssize_t try_sendfile(int out, int in, off_t *offset, size_t n)
{
	int old = make_nonblocking(out);
	ssize_t r = gr_next.sendfile(out, in, offset, n);

	if (old >= 0)
		restore_flags(out, old);
	return r;
}

static ssize_t block_sendfile(const struct gr_coop_op *op, int in, off_t *offset, size_t n)
{
	double since = gr_coop_block();
	ssize_t r = gr_next.sendfile(op->fd, in, offset, n);

	gr_coop_blocked(op->call, since, op->caller);
	return r;
}

static ssize_t do_sendfile(int out, int in, off_t *offset, size_t n, const void *caller)
{
	struct gr_coop_op op = {GR_CALL_SENDFILE, out, POLLOUT, SO_SNDTIMEO, caller, 0};
	size_t done = 0;

	while (done < n) {
		ssize_t r = try_sendfile(out, in, offset, n - done);

		if (would_wait(r)) {
			enum gr_coop_then then = gr_coop_again(&op);

			if (then == GR_COOP_AGAIN)
				continue;
			if (then == GR_COOP_BLOCK)
				r = block_sendfile(&op, in, offset, n - done);
		}
		if (r < 0)
			return done ? (ssize_t)done : -1;
		if (r == 0)
			break;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

/* Only a socket makes it wait. */
ssize_t sendfile(int out, int in, off_t *offset, size_t n)
{
	struct stat st;

	if (!gr_coop_here(GR_CALL_SENDFILE) || fstat(out, &st) < 0 || !S_ISSOCK(st.st_mode))
		return gr_next.sendfile(out, in, offset, n);
	return do_sendfile(out, in, offset, n, __builtin_return_address(0));
}

ssize_t sendfile64(int out, int in, off64_t *offset, size_t n)
{
	return sendfile(out, in, offset, n);
}
