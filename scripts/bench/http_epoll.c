/* SPDX-License-Identifier: MIT */
/* Yardstick: an HTTP server written straight on epoll, one read and one write per request. It looks for the empty line that
 * ends each head and answers with a fixed text: no HTTP server can do less.
 *
 * Alone: cc -O2 -o http_epoll scripts/bench/http_epoll.c && ./http_epoll [PORT [BYTES]]
 * It prints its address and serves until SIGTERM. BYTES: length of a body other than "hello world". */
#include "bench.h"

enum { BUFFER = 16384, PIPELINED = 64, HEAD_MAX = 256, BODY_MAX = 8192 };

static const char HEAD[] = "HTTP/1.1 200 OK\r\n"
			   "Content-Type: text/plain; charset=utf-8\r\n"
			   "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
			   "Content-Length: %d\r\n"
			   "%s\r\n";

/* All but the first are for clients of HTTP/1.0, whose connections end after the answer unless they ask: `ab` is one. */
static struct answer {
	size_t length;
	char text[HEAD_MAX + BODY_MAX];
} keep, keep_old, close_old;

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
static const struct answer *answer_to(const char *from, const char *mark)
{
	const char *line_end = memchr(from, '\r', mark + 1 - from);

	if (line_end[-1] != '0')
		return &keep;
	return memmem(line_end, mark - line_end, "eep-", 4) ? &keep_old : &close_old;
}

/* Takes complete heads off the connection and puts their answers together; returns the answers' length. The last answer
 * tells whether the connection ends. */
static size_t take_heads(struct conn *c, char *answers, const struct answer **last)
{
	char *from = c->buf, *mark;
	size_t length = 0;

	for (int n = 0; n < PIPELINED && (mark = memmem(from, c->buf + c->end - from, "\r\n\r\n", 4)); n++) {
		*last = answer_to(from, mark);
		memcpy(answers + length, (*last)->text, (*last)->length);
		length += (*last)->length;
		from = mark + 4;
	}
	c->end -= from - c->buf;
	memmove(c->buf, from, c->end);
	return length;
}

/* Clients that do not read their answers are dropped: this is a yardstick only. */
static void on_readable(void *data)
{
	static char answers[PIPELINED * sizeof keep.text];
	struct conn *c = data;
	ssize_t got = recv(c->fd, c->buf + c->end, BUFFER - c->end, 0);
	const struct answer *last = &keep;
	size_t length;

	if (got <= 0) {
		if (got == 0 || (errno != EAGAIN && errno != EINTR))
			drop(c);
		return;
	}
	c->end += got;
	while ((length = take_heads(c, answers, &last)) > 0) {
		if (send(c->fd, answers, length, MSG_NOSIGNAL) != (ssize_t)length || last == &close_old) {
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

static void compose(struct answer *a, const char *field, int bytes)
{
	a->length = sprintf(a->text, HEAD, bytes ? bytes : 12, field);
	if (bytes)
		memset(a->text + a->length, 'x', bytes);
	a->length += bytes ? bytes : sprintf(a->text + a->length, "hello world\n");
}

int main(int argc, char **argv)
{
	int bytes = argc > 2 ? atoi(argv[2]) : 0;

	if (bytes < 0 || bytes > BODY_MAX)
		fail("usage: http_epoll [PORT [BYTES]]");
	compose(&keep, "", bytes);
	compose(&keep_old, "Connection: keep-alive\r\n", bytes);
	compose(&close_old, "Connection: close\r\n", bytes);
	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (epfd < 0)
		die("epoll_create1");
	listener = serve_on(SOCK_STREAM | SOCK_NONBLOCK, "http", argc > 1 ? atoi(argv[1]) : 0);
	serve(epfd, listener, on_connections, on_readable);
}
