/* SPDX-License-Identifier: MIT */
/* Load for an HTTP server: C keep-alive connections, each with P requests on their way; every answer is checked.
 *
 * Alone: cc -O2 -o http_load scripts/bench/http_load.c && ./http_load [-c conns] [-P pipelined] [-f header fields more]
 *        [-d seconds at most] [-n answers at most] [-w seconds to warm up] [-p pid of the server] PORT [PATH]
 * Prints one line of key=value: answers per second, latencies, the length of a body, errors (answers whose status is not
 * 200 or whose body is longer or shorter than the first one's, and lost connections) and, with -p, the server's CPU time
 * per answer and the part of a processor that it used.
 *
 * It is to be faster than the servers: two system calls per turn of a connection beside a share of epoll_wait's, one clock
 * reading per turn of the loop, and no parsing of an answer that is, byte by byte, the one parsed last. A turn takes every
 * answer that has arrived, then sends the next requests; latencies count from such an end of receiving to another. It
 * never sleeps: waking it would be work of the servers, the more the slower they are. */
#include "bench.h"
#include <strings.h>

enum {
	MAX_EVENTS = 1024,
	MAX_REQUESTS = 65536,
	BUFFER = 1 << 20,
	LONGEST_US = 1000000,
	TOO_MANY_ERRORS = 1000,
};

static const uint64_t GIVE_UP_NS = 10000000000;

struct conn {
	int fd;
	int awaited;      /* answers that have not arrived */
	uint64_t sent_at; /* nanoseconds */
	size_t kept;      /* bytes in rest: of an answer that is not complete */
	size_t room;
	char *rest;
};

/* What the command line asked for. */
static int n_conns = 64, depth = 1, n_fields, port;
static long n_answers = INT32_MAX;
static double seconds = 2, warm_up = 0.4;
static pid_t server_pid;
static const char *path = "/";

static struct conn *conns;
static int epfd;
static char requests[MAX_REQUESTS];
static size_t requests_length;

static char buffer[BUFFER + 1];
static char known[BUFFER]; /* the last answer that was parsed and is right */
static size_t known_length;
static long body_length = -1;

static long finished, errors;
static uint32_t histogram[LONGEST_US + 1]; /* answers by their microseconds; the last one: and more */

/* ---- Requests ---- */

static void compose(void)
{
	FILE *f = fmemopen(requests, sizeof requests, "w");

	if (!f)
		die("fmemopen");
	for (int i = 0; i < depth; i++) {
		fprintf(f, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n", path, port);
		for (int k = 1; k <= n_fields; k++)
			fprintf(f, "X-Field-%d: the value of field number %d\r\n", k, k);
		fputs("\r\n", f);
	}
	requests_length = ftell(f);
	if (fclose(f) != 0 || requests_length >= sizeof requests)
		fail("the requests are too long");
}

static void send_next(struct conn *c, uint64_t now)
{
	c->awaited = depth;
	c->sent_at = now;
	/* The socket blocks for writing only if the server stopped reading; the requests fit the socket buffer. What the
	 * server has closed is noticed in receiving. */
	if (send(c->fd, requests, requests_length, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
		die("send");
}

static void add_error(void)
{
	if (++errors > TOO_MANY_ERRORS)
		fail("too many errors");
}

static void join(struct conn *c)
{
	c->fd = connect_to(port);
	c->kept = 0;
	watch(epfd, EPOLL_CTL_ADD, c->fd, c, EPOLLIN);
}

/* A connection that the server closed is lost with all that it owes. */
static void rejoin(struct conn *c)
{
	add_error();
	close(c->fd);
	join(c);
}

/* ---- Answers ---- */

/* The value of a header field between from and end, which is where the empty line is; NULL without one. */
static const char *field(const char *from, const char *end, const char *name)
{
	size_t length = strlen(name);

	while ((from = memmem(from, end - from, "\r\n", 2))) {
		from += 2;
		if (strncasecmp(from, name, length) == 0 && from[length] == ':')
			return from + length + 1 + strspn(from + length + 1, " \t");
	}
	return NULL;
}

/* The end of a chunked body, or NULL when it has not arrived; adds up the length of its content. The text ends in NUL. */
static const char *chunked_end(const char *from, const char *end, long *content)
{
	for (;;) {
		char *line_end;
		unsigned long size = strtoul(from, &line_end, 16);
		const char *data = memmem(line_end, end - line_end, "\r\n", 2);

		if (!data)
			return NULL;
		if (line_end == from)
			fail("a chunk without a size");
		*content += size;
		if (size >= BUFFER)
			fail("a chunk is too long");
		if ((size_t)(end - data) < 2 + size + 2)
			return NULL;
		from = data + 2 + size;
		if (memcmp(from, "\r\n", 2) != 0)
			fail("a chunk does not end as it says, or there are trailers");
		from += 2;
		if (size == 0)
			return from;
	}
}

/* The end of the body whose head is between from and mark, its empty line; NULL when it has not arrived. */
static const char *body_end(const char *from, const char *mark, const char *end, long *content)
{
	const char *length = field(from, mark, "content-length"), *coding = field(from, mark, "transfer-encoding");
	const char *body = mark + 4;

	if (coding && strncasecmp(coding, "chunked", 7) == 0)
		return chunked_end(body, end, content);
	if (!length)
		fail("an answer has neither a Content-Length nor chunks");
	*content = atol(length);
	return *content <= end - body ? body + *content : NULL;
}

/* The length of the answer at from; 0 when it has not arrived. */
static size_t parse(const char *from, const char *end)
{
	const char *mark = memmem(from, end - from, "\r\n\r\n", 4), *past;
	long content = 0;

	if (!mark)
		return 0;
	if (strncmp(from, "HTTP/1.1 ", 9) != 0)
		fail("an answer does not begin with HTTP/1.1");
	past = body_end(from, mark, end, &content);
	if (!past)
		return 0;
	if (body_length < 0)
		body_length = content;
	if (strncmp(from + 9, "200 ", 4) != 0 || content != body_length) {
		add_error();
	} else {
		known_length = past - from;
		memcpy(known, from, known_length);
	}
	return past - from;
}

static void keep(struct conn *c, const char *from, size_t length)
{
	if (length > c->room) {
		c->room = 2 * length;
		c->rest = realloc(c->rest, c->room);
		if (!c->rest)
			die("realloc");
	}
	memcpy(c->rest, from, length);
	c->kept = length;
}

/* Takes the complete answers in the buffer; returns how many they are. */
static int take(struct conn *c, const char *end)
{
	const char *from = buffer;
	int taken = 0;

	while (from < end) {
		size_t length = known_length;

		if (taken == c->awaited)
			fail("more came back than was asked for");
		if (!length || (size_t)(end - from) < length || memcmp(from, known, length) != 0)
			length = parse(from, end);
		if (!length)
			break;
		from += length;
		taken++;
	}
	c->kept = 0;
	if (from < end)
		keep(c, from, end - from);
	c->awaited -= taken;
	return taken;
}

/* Takes what has arrived; returns the number of answers, or -1 when the connection is lost. */
static int receive(struct conn *c)
{
	ssize_t n;

	if (c->kept)
		memcpy(buffer, c->rest, c->kept);
	n = recv(c->fd, buffer + c->kept, BUFFER - c->kept, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0 && errno != ECONNRESET)
		die("recv");
	if (n <= 0)
		return -1;
	if (c->kept + n == BUFFER)
		fail("an answer is too long");
	buffer[c->kept + n] = '\0';
	return take(c, buffer + c->kept + n);
}

/* ---- The loop ---- */

/* One turn: takes what has arrived, then sends; returns the time between. */
static uint64_t turn(void)
{
	static uint64_t last;
	struct epoll_event events[MAX_EVENTS];
	int taken[MAX_EVENTS];
	int n = epoll_wait(epfd, events, MAX_EVENTS, 0);
	uint64_t now;

	for (int i = 0; i < n; i++)
		taken[i] = receive(events[i].data.ptr);
	now = now_ns(CLOCK_MONOTONIC);
	if (n > 0 || last == 0)
		last = now;
	else if (now - last > GIVE_UP_NS)
		fail("no answer for 10 s");
	for (int i = 0; i < n; i++) {
		struct conn *c = events[i].data.ptr;

		if (taken[i] > 0) {
			uint64_t us = (now - c->sent_at) / 1000;

			histogram[us < LONGEST_US ? us : LONGEST_US] += taken[i];
			finished += taken[i];
		} else if (taken[i] < 0) {
			rejoin(c);
		}
		if (c->awaited == 0 || taken[i] < 0)
			send_next(c, now);
	}
	return now;
}

/* Plays until that many more answers have come, or for so many seconds; returns the nanoseconds that it took. */
static uint64_t play(long n, double limit)
{
	uint64_t start = now_ns(CLOCK_MONOTONIC), now = start, end = start + (uint64_t)(limit * 1e9);

	finished = 0;
	while (finished < n && now < end)
		now = turn();
	return now - start;
}

/* The milliseconds that this part of the answers did not exceed. */
static double percentile(double part)
{
	long wanted = finished * part, seen = 0;
	int us = 0;

	while (us < LONGEST_US && (seen += histogram[us]) <= wanted)
		us++;
	return us / 1e3;
}

static void parse_arguments(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "c:P:f:d:n:w:p:")) != -1) {
		switch (option) {
		case 'c':
			n_conns = atoi(optarg);
			break;
		case 'P':
			depth = atoi(optarg);
			break;
		case 'f':
			n_fields = atoi(optarg);
			break;
		case 'd':
			seconds = atof(optarg);
			break;
		case 'n':
			n_answers = atol(optarg);
			break;
		case 'w':
			warm_up = atof(optarg);
			break;
		case 'p':
			server_pid = atoi(optarg);
			break;
		default:
			exit(2);
		}
	}
	port = optind < argc ? atoi(argv[optind]) : 0;
	path = optind + 1 < argc ? argv[optind + 1] : path;
	if (port <= 0 || n_answers <= 0 || n_conns <= 0 || n_conns > MAX_EVENTS || depth <= 0 || n_fields < 0)
		fail("usage: http_load [-c conns] [-P pipelined] [-f fields] [-d seconds] [-n answers] [-w seconds] [-p pid] "
		     "PORT [PATH]");
}

int main(int argc, char **argv)
{
	uint64_t wall, cpu;

	parse_arguments(argc, argv);
	compose();
	conns = calloc(n_conns, sizeof *conns);
	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (!conns || epfd < 0)
		die("start");
	for (int i = 0; i < n_conns; i++) {
		join(&conns[i]);
		send_next(&conns[i], now_ns(CLOCK_MONOTONIC));
	}
	play(INT32_MAX, warm_up);
	memset(histogram, 0, sizeof histogram);
	cpu = cpu_ns(server_pid);
	wall = play(n_answers, seconds);
	cpu = cpu_ns(server_pid) - cpu;
	printf("requests_per_s=%.0f p50_ms=%.3f p99_ms=%.3f body_bytes=%ld errors=%ld", finished * 1e9 / wall,
	       percentile(0.5), percentile(0.99), body_length, errors);
	if (server_pid)
		printf(" cpu_ns=%.1f busy=%.2f", (double)cpu / finished, (double)cpu / wall);
	printf("\n");
	return 0;
}
