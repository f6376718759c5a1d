/* SPDX-License-Identifier: MIT */
/* read, write and close for any kind of descriptor. RWF_NOWAIT tries without waiting and without knowing what it is. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "posix/coop.h"
#include "posix/fdwait.h"
#include "posix/iov.h"
#include "posix/next.h"

enum { STREAMS_MAX = 65536 };

/* A bit for each descriptor that was seen to be no file. Only a hint: it may be out of date. */
static unsigned char streams[STREAMS_MAX / 8];

static bool known_stream(int fd)
{
	return fd >= 0 && fd < STREAMS_MAX && streams[fd / 8] & 1 << fd % 8;
}

static void note_stream(int fd, bool is)
{
	if (fd < 0 || fd >= STREAMS_MAX)
		return;
	if (is)
		streams[fd / 8] |= (unsigned char)(1 << fd % 8);
	else
		streams[fd / 8] &= (unsigned char)~(1 << fd % 8);
}

/* Files wait for the disk only, which is not waiting: their calls are done plainly. */
static bool is_file(int fd, mode_t *mode)
{
	struct stat st;

	*mode = 0;
	if (fstat(fd, &st) < 0)
		return false;
	*mode = st.st_mode;
	return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode);
}

static bool would_wait(void)
{
	return errno == EAGAIN;
}

/* Kinds of descriptors, kernels and sandboxes that do not know RWF_NOWAIT. */
static bool not_supported(void)
{
	return errno == EOPNOTSUPP || errno == ENOSYS;
}

/* 1 if a plain call need not wait, 0 if it must. */
static bool ready(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	return gr_next.poll(&p, 1, 0) != 0;
}

static ssize_t block_read(const struct gr_coop_op *op, const struct iovec *iov, int n)
{
	double since = gr_coop_block();
	ssize_t r = gr_next.readv(op->fd, iov, n);

	gr_coop_blocked(op->call, since, op->caller);
	return r;
}

static ssize_t read_when_ready(struct gr_coop_op *op, const struct iovec *iov, int n, bool supported)
{
	for (;;) {
		ssize_t r;

		switch (gr_coop_again(op)) {
		case GR_COOP_FAIL:
			return -1;
		case GR_COOP_BLOCK:
			return block_read(op, iov, n);
		case GR_COOP_AGAIN:
			break;
		}
		if (!supported && !ready(op->fd, op->events))
			continue;
		r = supported ? preadv2(op->fd, iov, n, -1, RWF_NOWAIT) : gr_next.readv(op->fd, iov, n);
		if (r >= 0 || !would_wait())
			return r;
	}
}

/* After a try that did not read everything asked for, and not because of the end or an error. */
static ssize_t finish_read(int fd, const struct iovec *iov, int n, ssize_t got, const void *caller)
{
	struct gr_coop_op op = {GR_CALL_READ, fd, POLLIN, SO_RCVTIMEO, caller, 0};
	bool supported = got >= 0 || would_wait();
	mode_t mode;

	if (is_file(fd, &mode)) {
		struct gr_iov v = {.next = iov, .n = n};
		const struct iovec *rest;
		ssize_t more;

		/* A file gives less than asked for only at its end; here the rest may not be in memory. */
		if (got > 0)
			gr_iov_advance(&v, (size_t)got);
		rest = gr_iov_rest(&v, &n);
		more = gr_next.readv(fd, rest, n);
		return more > 0 && got > 0 ? got + more : got > 0 ? got : more;
	}
	note_stream(fd, true);
	if (got >= 0)
		return got;
	if (!supported && ready(fd, POLLIN))
		return gr_next.readv(fd, iov, n);
	return read_when_ready(&op, iov, n, supported);
}

static ssize_t do_read(int fd, const struct iovec *iov, int n, size_t size, const void *caller)
{
	ssize_t r = preadv2(fd, iov, n, -1, RWF_NOWAIT);

	if (r == 0 || r == (ssize_t)size)
		return r;
	if (r > 0 ? known_stream(fd) : !would_wait() && !not_supported())
		return r;
	return finish_read(fd, iov, n, r, caller);
}

ssize_t read(int fd, void *buf, size_t n)
{
	struct iovec iov = {buf, n};

	if (!gr_coop_here(GR_CALL_READ))
		return gr_next.read(fd, buf, n);
	return do_read(fd, &iov, 1, n, __builtin_return_address(0));
}

ssize_t readv(int fd, const struct iovec *iov, int n)
{
	if (!gr_coop_here(GR_CALL_READ) || n < 1 || n > IOV_MAX)
		return gr_next.readv(fd, iov, n);
	return do_read(fd, iov, n, gr_iov_size(iov, n), __builtin_return_address(0));
}

/* ---- Writing: a blocking call transfers everything ---- */

static ssize_t block_write(const struct gr_coop_op *op, const struct gr_iov *v)
{
	int n;
	const struct iovec *iov = gr_iov_rest(v, &n);
	double since = gr_coop_block();
	ssize_t r = gr_next.writev(op->fd, iov, n);

	gr_coop_blocked(op->call, since, op->caller);
	return r;
}

/* A descriptor that cannot be tried, right after poll said that it takes some. Terminals say so for a single byte of room,
 * and whoever reads them may be a thread of this process: they must not block. Other kinds take PIPE_BUF then. */
static ssize_t write_some(int fd, const struct iovec *iov, mode_t mode)
{
	size_t n = iov->iov_len < PIPE_BUF ? iov->iov_len : PIPE_BUF;
	int flags = S_ISCHR(mode) ? fcntl(fd, F_GETFL) : -1, saved;
	ssize_t r;

	if (flags < 0 || (flags & O_NONBLOCK))
		return gr_next.write(fd, iov->iov_base, n);
	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	r = gr_next.write(fd, iov->iov_base, n);
	saved = errno;
	fcntl(fd, F_SETFL, flags);
	errno = saved;
	return r;
}

static ssize_t try_write(int fd, const struct gr_iov *v, bool supported, mode_t mode)
{
	int n;
	const struct iovec *iov = gr_iov_rest(v, &n);

	if (supported)
		return pwritev2(fd, iov, n, -1, RWF_NOWAIT);
	if (ready(fd, POLLOUT))
		return write_some(fd, iov, mode);
	errno = EAGAIN;
	return -1;
}

static ssize_t finish_write(struct gr_coop_op *op, struct gr_iov *v, bool supported)
{
	mode_t mode;
	ssize_t r;

	if (is_file(op->fd, &mode)) {
		int n;
		const struct iovec *iov = gr_iov_rest(v, &n);

		r = gr_next.writev(op->fd, iov, n);
		return r >= 0 ? (ssize_t)v->done + r : v->done ? (ssize_t)v->done : -1;
	}
	for (;;) {
		enum gr_coop_then then = GR_COOP_AGAIN;

		r = try_write(op->fd, v, supported, mode);
		if (r < 0 && would_wait())
			then = gr_coop_again(op);
		else if (r < 0)
			then = GR_COOP_FAIL;
		if (then == GR_COOP_BLOCK)
			r = block_write(op, v);
		if (then == GR_COOP_FAIL || (then == GR_COOP_BLOCK && r < 0))
			return v->done ? (ssize_t)v->done : -1;
		if (r > 0)
			gr_iov_advance(v, (size_t)r);
		if (!gr_iov_left(v))
			return (ssize_t)v->done;
	}
}

static ssize_t do_write(int fd, const struct iovec *iov, int n, size_t size, const void *caller)
{
	ssize_t r = pwritev2(fd, iov, n, -1, RWF_NOWAIT);
	struct gr_coop_op op = {GR_CALL_WRITE, fd, POLLOUT, SO_SNDTIMEO, caller, 0};
	struct gr_iov v = {.next = iov, .n = n};

	if (r == (ssize_t)size || (r < 0 && !would_wait() && !not_supported()))
		return r;
	if (r > 0)
		gr_iov_advance(&v, (size_t)r);
	return finish_write(&op, &v, r >= 0 || would_wait());
}

ssize_t write(int fd, const void *buf, size_t n)
{
	struct iovec iov = {(void *)buf, n};

	if (!gr_coop_here(GR_CALL_WRITE))
		return gr_next.write(fd, buf, n);
	return do_write(fd, &iov, 1, n, __builtin_return_address(0));
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
	if (!gr_coop_here(GR_CALL_WRITE) || n < 1 || n > IOV_MAX)
		return gr_next.writev(fd, iov, n);
	return do_write(fd, iov, n, gr_iov_size(iov, n), __builtin_return_address(0));
}

/* ---- Closing ---- */

/* Also from a place where nothing may park: it never waits for other threads. */
int close(int fd)
{
	if (gr_coop_on) {
		gr_fdwait_closing(fd);
		note_stream(fd, false);
	}
	return gr_next.close(fd);
}
