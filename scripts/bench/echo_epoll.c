/* SPDX-License-Identifier: MIT */
/* Yardstick: a TCP echo server written straight on epoll, one read and one write per request.
 *
 * Alone: cc -O2 -o echo_epoll scripts/bench/echo_epoll.c && ./echo_epoll [PORT]
 * It prints its address and serves until SIGTERM. */
#include "bench.h"

enum { BUFFER = 16384 };

/* buf[off..end) was read but not written yet. While it is not empty only EPOLLOUT is watched, so that a client that
 * does not read is not read from either. */
struct conn {
	int fd;
	int off, end;
	char buf[BUFFER];
};

static int epfd, listener;

static void drop(struct conn *c)
{
	close(c->fd);
	free(c);
}

static void on_writable(struct conn *c)
{
	ssize_t n = send(c->fd, c->buf + c->off, c->end - c->off, MSG_NOSIGNAL);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			drop(c);
		return;
	}
	c->off += n;
	if (c->off == c->end)
		watch(epfd, EPOLL_CTL_MOD, c->fd, c, EPOLLIN);
}

static void on_readable(struct conn *c)
{
	ssize_t got = recv(c->fd, c->buf, BUFFER, 0), sent;

	if (got <= 0) {
		if (got == 0 || (errno != EAGAIN && errno != EINTR))
			drop(c);
		return;
	}
	sent = send(c->fd, c->buf, got, MSG_NOSIGNAL);
	if (sent == got)
		return;
	if (sent < 0 && errno != EAGAIN && errno != EINTR) {
		drop(c);
		return;
	}
	c->off = sent < 0 ? 0 : sent;
	c->end = got;
	watch(epfd, EPOLL_CTL_MOD, c->fd, c, EPOLLOUT);
}

static void on_event(void *data)
{
	struct conn *c = data;

	if (c->off < c->end)
		on_writable(c);
	else
		on_readable(c);
}

static void on_connections(void)
{
	int fd;

	while ((fd = next_connection(listener)) >= 0) {
		struct conn *c = malloc(sizeof *c);

		if (!c)
			die("malloc");
		c->fd = fd;
		c->off = c->end = 0;
		watch(epfd, EPOLL_CTL_ADD, fd, c, EPOLLIN);
	}
}

int main(int argc, char **argv)
{
	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (epfd < 0)
		die("epoll_create1");
	listener = serve_on(SOCK_STREAM | SOCK_NONBLOCK, "tcp", argc > 1 ? atoi(argv[1]) : 0);
	serve(epfd, listener, on_connections, on_event);
}
