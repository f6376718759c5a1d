/* SPDX-License-Identifier: MIT */
/* Descriptors over unix sockets: SCM_RIGHTS, unix(7). */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "net/stream.h"

enum {
	FDS_MAX = 253, /* in one message: SCM_MAX_FD of the kernel */
	ROOM = CMSG_SPACE(FDS_MAX * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred)),
};

static bool is_unix(const struct gr_stream *s)
{
	struct gr_addr addr;

	return gr_stream_is_plain(s) && gr_sock_name(s->fd, &addr) == 0 && addr.u.sa.sa_family == AF_UNIX;
}

/* ---- Sending ---- */

static ssize_t send_one(int to, int fd)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(fd))] = {0};
	struct iovec iov = {.iov_base = (char[]){0}, .iov_len = 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	ssize_t n;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	do
		n = sendmsg(to, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int gr_stream_send_fd(struct gr_stream *s, int fd, double until)
{
	size_t sent = 0;
	int rc = gr_stream_flush(s, until);

	while (rc == 0 && sent == 0) {
		if (s->fd < 0)
			return GR_CLOSED;
		if (!is_unix(s))
			return -EOPNOTSUPP;
		rc = gr_stream_settle(s, send_one(s->fd, fd), 1, until, &sent);
	}
	return rc;
}

/* ---- Receiving ---- */

/* The first descriptor of a message, the others closed; or -1. */
static int keep_first(struct msghdr *m)
{
	int first = -1, fd;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; CMSG_LEN(at + sizeof(fd)) <= c->cmsg_len; at += sizeof(fd)) {
			memcpy(&fd, CMSG_DATA(c) + at, sizeof(fd));
			if (first < 0)
				first = fd;
			else
				close(fd);
		}
	}
	return first;
}

/* What a message of one byte brought: a descriptor, or a failure, the byte of which is unread again. */
static int take(struct gr_stream *s, struct msghdr *m, const char *byte)
{
	int fd = keep_first(m), rc;

	s->received++;
	if (fd >= 0)
		return fd;
	if (m->msg_flags & MSG_CTRUNC)
		return -EMFILE;
	rc = gr_stream_unread(s, byte, 1);
	return rc < 0 ? rc : -EBADMSG;
}

static int receive_one(struct gr_stream *s)
{
	_Alignas(struct cmsghdr) char control[ROOM];
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	ssize_t n;

	do
		n = recvmsg(s->fd, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n > 0)
		return take(s, &m, &byte);
	s->eof = true;
	return GR_CLOSED;
}

static int receive(struct gr_stream *s, double until)
{
	int rc;

	if (!is_unix(s))
		return -EOPNOTSUPP;
	if (s->len > 0)
		return -EBADMSG;
	if (s->eof)
		return GR_CLOSED;
	for (;;) {
		rc = receive_one(s);
		if (rc != -EAGAIN)
			return rc;
		rc = gr_io_wait(&s->rd, until, "conn.recv_fd");
		if (rc < 0)
			return rc;
		if (s->fd < 0)
			return GR_CLOSED;
	}
}

int gr_stream_recv_fd(struct gr_stream *s, double until)
{
	int rc = gr_stream_begin_read(s, until);

	if (rc < 0)
		return rc;
	return (int)gr_stream_end_read(s, receive(s, until));
}
