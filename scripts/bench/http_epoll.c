/* SPDX-License-Identifier: MIT */
/* Yardstick: an HTTP server written straight on epoll, one read and one write per request. It looks for the empty line that
 * ends each head and answers with a fixed text: no HTTP server can do less.
 *
 * Alone: cc -O2 -o http_epoll scripts/bench/http_epoll.c && ./http_epoll [PORT]
 * It prints its address and serves until SIGTERM. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_EVENTS = 256, BUFFER = 16384 };

static const char ANSWER[] =
	"HTTP/1.1 200 OK\r\n"
	"Content-Type: text/plain; charset=utf-8\r\n"
	"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
	"Content-Length: 12\r\n"
	"\r\n"
	"hello world\n";
enum { LENGTH = sizeof(ANSWER) - 1, PIPELINED = 64 };

struct conn {
	int fd;
	int end; /* bytes of a head that is not complete */
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

/* Number of complete heads; they are dropped. */
static int take_heads(struct conn *c)
{
	char *from = c->buf, *mark;
	int n = 0;

	while (n < PIPELINED && (mark = memmem(from, c->buf + c->end - from, "\r\n\r\n", 4))) {
		from = mark + 4;
		n++;
	}
	c->end -= from - c->buf;
	memmove(c->buf, from, c->end);
	return n;
}

/* Clients that do not read their answers are dropped: this is a yardstick only. */
static void on_readable(struct conn *c)
{
	static char answers[PIPELINED * LENGTH];
	ssize_t got = recv(c->fd, c->buf + c->end, BUFFER - c->end, 0);
	int n;

	if (got <= 0) {
		if (got == 0 || (errno != EAGAIN && errno != EINTR))
			drop(c);
		return;
	}
	c->end += got;
	while ((n = take_heads(c)) > 0) {
		for (int i = 0; i < n; i++)
			memcpy(answers + i * LENGTH, ANSWER, LENGTH);
		if (send(c->fd, answers, n * LENGTH, MSG_NOSIGNAL) != n * LENGTH) {
			drop(c);
			return;
		}
	}
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
		c->end = 0;
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
			else
				on_readable(c);
		}
	}
}
