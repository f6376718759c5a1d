/* SPDX-License-Identifier: MIT */
/* Yardstick: a TCP echo server written straight on epoll, one read and one write per request.
 *
 * Alone: cc -O2 -o echo_epoll scripts/bench/echo_epoll.c && ./echo_epoll [PORT]
 * It prints its address and serves until SIGTERM. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_EVENTS = 256, BUFFER = 16384 };

/* buf[off..end) was read but not written yet. While it is not empty only EPOLLOUT is watched, so that a client that
 * does not read is not read from either. */
struct conn {
	int fd;
	int off, end;
	char buf[BUFFER];
};

static int epfd, listener;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void watch(int op, int fd, void *data, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = data};

	if (epoll_ctl(epfd, op, fd, &ev) < 0)
		die("epoll_ctl");
}

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
		watch(EPOLL_CTL_MOD, c->fd, c, EPOLLIN);
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
	watch(EPOLL_CTL_MOD, c->fd, c, EPOLLOUT);
}

static void on_connections(void)
{
	const int on = 1;
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct conn *c = malloc(sizeof *c);

		if (!c)
			die("malloc");
		c->fd = fd;
		c->off = c->end = 0;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		watch(EPOLL_CTL_ADD, fd, c, EPOLLIN);
	}
}

static void listen_on(int port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
	socklen_t len = sizeof sa;
	const int on = 1;

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener < 0)
		die("socket");
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(listener, (struct sockaddr *)&sa, len) < 0 || listen(listener, SOMAXCONN) < 0)
		die("listen");
	getsockname(listener, (struct sockaddr *)&sa, &len);
	printf("listening on tcp://127.0.0.1:%d\n", ntohs(sa.sin_port));
	fflush(stdout);
}

static void stop(int sig)
{
	(void)sig;
	_exit(0);
}

int main(int argc, char **argv)
{
	struct epoll_event events[MAX_EVENTS];

	signal(SIGTERM, stop);
	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (epfd < 0)
		die("epoll_create1");
	listen_on(argc > 1 ? atoi(argv[1]) : 0);
	watch(EPOLL_CTL_ADD, listener, NULL, EPOLLIN);
	for (;;) {
		int n = epoll_wait(epfd, events, MAX_EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;

			if (!c)
				on_connections();
			else if (c->off < c->end)
				on_writable(c);
			else
				on_readable(c);
		}
	}
}
