/* SPDX-License-Identifier: MIT */
/* Yardstick: an HTTP server written straight on epoll, one read and one write per request. It looks for the empty line that
 * ends each head and answers with a fixed text: no HTTP server can do less.
 *
 * Alone: cc -O2 -o http_epoll scripts/bench/http_epoll.c && ./http_epoll [PORT]
 * It prints its address and serves until SIGTERM. */
#include "bench.h"

enum { BUFFER = 16384 };

#define ANSWER(field)                                 \
	"HTTP/1.1 200 OK\r\n"                         \
	"Content-Type: text/plain; charset=utf-8\r\n" \
	"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"     \
	"Content-Length: 12\r\n" field "\r\n"         \
	"hello world\n"

/* The second is for clients of HTTP/1.0, which are the only ones whose connections end after the answer: `ab` is one. */
static const char KEEP[] = ANSWER(""), KEEP_OLD[] = ANSWER("Connection: keep-alive\r\n"),
		  CLOSE[] = ANSWER("Connection: close\r\n");
enum { PIPELINED = 64 };

struct conn {
	int fd;
	int end; /* bytes of a head that is not complete */
	char buf[BUFFER];
};

static int epfd, listener;

static void drop(struct conn *c)
{
	close(c->fd);
	free(c);
}

/* The answer to the head between from and mark. */
static const char *answer_to(const char *from, const char *mark)
{
	const char *line_end = memchr(from, '\r', mark + 1 - from);

	if (line_end[-1] != '0')
		return KEEP;
	return memmem(line_end, mark - line_end, "eep-", 4) ? KEEP_OLD : CLOSE;
}

/* Takes complete heads off the connection and puts their answers together; returns the answers' length. The last answer
 * tells whether the connection ends. */
static size_t take_heads(struct conn *c, char *answers, const char **last)
{
	char *from = c->buf, *mark;
	size_t length = 0;

	for (int n = 0; n < PIPELINED && (mark = memmem(from, c->buf + c->end - from, "\r\n\r\n", 4)); n++) {
		*last = answer_to(from, mark);
		length += stpcpy(answers + length, *last) - (answers + length);
		from = mark + 4;
	}
	c->end -= from - c->buf;
	memmove(c->buf, from, c->end);
	return length;
}

/* Clients that do not read their answers are dropped: this is a yardstick only. */
static void on_readable(void *data)
{
	static char answers[PIPELINED * sizeof KEEP_OLD];
	struct conn *c = data;
	ssize_t got = recv(c->fd, c->buf + c->end, BUFFER - c->end, 0);
	const char *last = KEEP;
	size_t length;

	if (got <= 0) {
		if (got == 0 || (errno != EAGAIN && errno != EINTR))
			drop(c);
		return;
	}
	c->end += got;
	while ((length = take_heads(c, answers, &last)) > 0) {
		if (send(c->fd, answers, length, MSG_NOSIGNAL) != (ssize_t)length || last == CLOSE) {
			drop(c);
			return;
		}
	}
}

static void on_connections(void)
{
	int fd;

	while ((fd = next_connection(listener)) >= 0) {
		struct conn *c = malloc(sizeof *c);

		if (!c)
			die("malloc");
		c->fd = fd;
		c->end = 0;
		watch(epfd, EPOLL_CTL_ADD, fd, c, EPOLLIN);
	}
}

int main(int argc, char **argv)
{
	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (epfd < 0)
		die("epoll_create1");
	listener = serve_on(SOCK_STREAM | SOCK_NONBLOCK, "http", argc > 1 ? atoi(argv[1]) : 0);
	serve(epfd, listener, on_connections, on_readable);
}
