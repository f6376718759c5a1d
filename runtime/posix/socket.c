/* SPDX-License-Identifier: MIT */
/* Receiving and sending: tried with MSG_DONTWAIT. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "posix/coop.h"
#include "posix/iov.h"
#include "posix/next.h"

static bool would_wait(ssize_t r)
{
	return r < 0 && errno == EAGAIN;
}

static bool is_stream(int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

/* ---- Both directions ---- */

static ssize_t transfer(const struct gr_coop_op *op, struct msghdr *msg, int flags)
{
	return op->call == GR_CALL_SEND ? gr_next.sendmsg(op->fd, msg, flags) : gr_next.recvmsg(op->fd, msg, flags);
}

static ssize_t block(const struct gr_coop_op *op, struct msghdr *msg, int flags)
{
	double since = gr_coop_block();
	ssize_t r = transfer(op, msg, flags);

	gr_coop_blocked(op->call, since, op->caller);
	return r;
}

static ssize_t when_ready(struct gr_coop_op *op, struct msghdr *msg, int flags)
{
	/* What recvmsg overwrites: a second try must find it as it was. */
	socklen_t name = msg->msg_namelen;
	size_t control = msg->msg_controllen;

	for (;;) {
		ssize_t r;

		switch (gr_coop_again(op)) {
		case GR_COOP_FAIL:
			return -1;
		case GR_COOP_BLOCK:
			return block(op, msg, flags);
		case GR_COOP_AGAIN:
			break;
		}
		msg->msg_namelen = name;
		msg->msg_controllen = control;
		r = transfer(op, msg, flags | MSG_DONTWAIT);
		if (!would_wait(r))
			return r;
	}
}

/* The rest of what goes through a stream whole, of which the first `done` bytes are through. */
static ssize_t rest(struct gr_coop_op *op, const struct msghdr *msg, size_t done, int flags)
{
	struct gr_iov v = {.next = msg->msg_iov, .n = (int)msg->msg_iovlen};

	gr_iov_advance(&v, done);
	while (gr_iov_left(&v)) {
		int n;
		struct msghdr part = {.msg_iov = (struct iovec *)gr_iov_rest(&v, &n)};
		ssize_t r;

		part.msg_iovlen = (size_t)n;
		r = transfer(op, &part, flags | MSG_DONTWAIT);
		if (would_wait(r))
			r = when_ready(op, &part, flags);
		if (r <= 0)
			break;
		gr_iov_advance(&v, (size_t)r);
	}
	return (ssize_t)v.done;
}

/* ---- Receiving ---- */

/* After a try with MSG_DONTWAIT gave r. */
static ssize_t finish_recv(int fd, struct msghdr *msg, int flags, ssize_t r, const void *caller)
{
	struct gr_coop_op op = {GR_CALL_RECV, fd, POLLIN, SO_RCVTIMEO, caller, 0};
	size_t size = gr_iov_size(msg->msg_iov, (int)msg->msg_iovlen);

	if ((flags & (MSG_WAITALL | MSG_PEEK)) == (MSG_WAITALL | MSG_PEEK) && r < (ssize_t)size && is_stream(fd)) {
		int mode = fcntl(fd, F_GETFL);

		/* Nothing tells when more than now has come. */
		return mode >= 0 && (mode & O_NONBLOCK) ? r : block(&op, msg, flags);
	}
	/* What comes from an error queue never waits. */
	if (would_wait(r) && !(flags & MSG_ERRQUEUE))
		r = when_ready(&op, msg, flags);
	if (r > 0 && (flags & MSG_WAITALL) && r < (ssize_t)size && is_stream(fd))
		r = rest(&op, msg, (size_t)r, flags);
	return r;
}

/* True if the result of a try stands. */
static bool received(ssize_t r, size_t size, int flags)
{
	if (flags & MSG_DONTWAIT)
		return true;
	if (r < 0)
		return errno != EAGAIN;
	return r == 0 || !(flags & MSG_WAITALL) || r >= (ssize_t)size;
}

ssize_t recv(int fd, void *buf, size_t n, int flags)
{
	struct iovec iov = {buf, n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t r;

	if (!gr_coop_here(GR_CALL_RECV))
		return gr_next.recv(fd, buf, n, flags);
	r = gr_next.recv(fd, buf, n, flags | MSG_DONTWAIT);
	return received(r, n, flags) ? r : finish_recv(fd, &msg, flags, r, __builtin_return_address(0));
}

ssize_t recvfrom(int fd, void *restrict buf, size_t n, int flags, struct sockaddr *restrict from,
		 socklen_t *restrict len)
{
	struct iovec iov = {buf, n};
	struct msghdr msg = {.msg_name = from, .msg_iov = &iov, .msg_iovlen = 1};
	socklen_t room;
	ssize_t r;

	if (!gr_coop_here(GR_CALL_RECV))
		return gr_next.recvfrom(fd, buf, n, flags, from, len);
	room = from && len ? *len : 0;
	r = gr_next.recvfrom(fd, buf, n, flags | MSG_DONTWAIT, from, len);
	if (received(r, n, flags))
		return r;
	msg.msg_namelen = room;
	r = finish_recv(fd, &msg, flags, r, __builtin_return_address(0));
	if (r >= 0 && from && len)
		*len = msg.msg_namelen;
	return r;
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	ssize_t r;

	if (!gr_coop_here(GR_CALL_RECV))
		return gr_next.recvmsg(fd, msg, flags);
	r = gr_next.recvmsg(fd, msg, flags | MSG_DONTWAIT);
	/* Only a blocking call is ever finished, and of a stream's length only MSG_WAITALL takes notice. */
	if (received(r, flags & MSG_WAITALL ? gr_iov_size(msg->msg_iov, (int)msg->msg_iovlen) : 0, flags))
		return r;
	return finish_recv(fd, msg, flags, r, __builtin_return_address(0));
}

/* The time-out is looked at after each message only, as the kernel does it; so a blocking call with one is done plainly. */
int recvmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags, struct timespec *timeout)
{
	const void *caller = __builtin_return_address(0);
	unsigned i;

	if (!gr_coop_here(GR_CALL_RECV) || (flags & MSG_DONTWAIT))
		return gr_next.recvmmsg(fd, msgs, n, flags, timeout);
	if (timeout) {
		double since = gr_coop_block();
		int r = gr_next.recvmmsg(fd, msgs, n, flags, timeout);

		gr_coop_blocked(GR_CALL_RECV, since, caller);
		return r;
	}
	for (i = 0; i < n; i++) {
		ssize_t r = recvmsg(fd, &msgs[i].msg_hdr, flags & ~MSG_WAITFORONE);

		if (r < 0)
			return i > 0 ? (int)i : -1;
		msgs[i].msg_len = (unsigned)r;
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
	}
	return (int)i;
}

/* ---- Sending: a blocking call transfers everything ---- */

/* After a try with MSG_DONTWAIT gave r. */
static ssize_t finish_send(int fd, const struct msghdr *msg, int flags, ssize_t r, const void *caller)
{
	struct gr_coop_op op = {GR_CALL_SEND, fd, POLLOUT, SO_SNDTIMEO, caller, 0};
	struct msghdr copy = *msg;

	if (r < 0)
		r = when_ready(&op, &copy, flags);
	if (r >= 0 && r < (ssize_t)gr_iov_size(msg->msg_iov, (int)msg->msg_iovlen))
		r = rest(&op, msg, (size_t)r, flags);
	return r;
}

/* True if the result of a try stands. */
static bool sent(ssize_t r, size_t size, int flags)
{
	return (flags & MSG_DONTWAIT) || (r < 0 ? errno != EAGAIN : r >= (ssize_t)size);
}

ssize_t send(int fd, const void *buf, size_t n, int flags)
{
	struct iovec iov = {(void *)buf, n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t r;

	if (!gr_coop_here(GR_CALL_SEND))
		return gr_next.send(fd, buf, n, flags);
	r = gr_next.send(fd, buf, n, flags | MSG_DONTWAIT);
	return sent(r, n, flags) ? r : finish_send(fd, &msg, flags, r, __builtin_return_address(0));
}

ssize_t sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *to, socklen_t len)
{
	struct iovec iov = {(void *)buf, n};
	struct msghdr msg = {.msg_name = (void *)to, .msg_namelen = len, .msg_iov = &iov, .msg_iovlen = 1};
	ssize_t r;

	if (!gr_coop_here(GR_CALL_SEND))
		return gr_next.sendto(fd, buf, n, flags, to, len);
	r = gr_next.sendto(fd, buf, n, flags | MSG_DONTWAIT, to, len);
	return sent(r, n, flags) ? r : finish_send(fd, &msg, flags, r, __builtin_return_address(0));
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	ssize_t r;

	if (!gr_coop_here(GR_CALL_SEND))
		return gr_next.sendmsg(fd, msg, flags);
	r = gr_next.sendmsg(fd, msg, flags | MSG_DONTWAIT);
	if ((flags & MSG_DONTWAIT) || (r < 0 && errno != EAGAIN))
		return r;
	if (sent(r, gr_iov_size(msg->msg_iov, (int)msg->msg_iovlen), flags))
		return r;
	return finish_send(fd, msg, flags, r, __builtin_return_address(0));
}

int sendmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags)
{
	unsigned i;

	if (!gr_coop_here(GR_CALL_SEND) || (flags & MSG_DONTWAIT))
		return gr_next.sendmmsg(fd, msgs, n, flags);
	for (i = 0; i < n; i++) {
		ssize_t r = sendmsg(fd, &msgs[i].msg_hdr, flags);

		if (r < 0)
			return i > 0 ? (int)i : -1;
		msgs[i].msg_len = (unsigned)r;
	}
	return (int)i;
}
