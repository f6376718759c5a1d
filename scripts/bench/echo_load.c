/* SPDX-License-Identifier: MIT */
/* Load for an echo server: C connections play ping-pong with it; every echo is checked byte by byte.
 *
 * Alone: cc -O2 -o echo_load scripts/bench/echo_load.c && ./echo_load [-c conns] [-d seconds at most] [-n requests at most]
 *        [-w warm-up requests] [-s bytes per message] [-p pid of the server] PORT
 * Prints one line of key=value: requests per second, round trips in microseconds and, with -p, the server's CPU time
 * per request in nanoseconds. One thread; a turn reads every echo that has arrived, then sends the next messages, so
 * that the server finds them together, as it would from independent clients. */
#include "bench.h"

enum { MAX_EVENTS = 1024, MAX_MESSAGE = 65536, GIVE_UP_MS = 10000 };

struct conn {
	int fd;
	int got;          /* bytes of the current echo that have arrived */
	uint64_t serial;  /* of the message on its way; part of its content */
	uint64_t sent_at; /* nanoseconds */
};

/* What the command line asked for. */
static int n_conns = 64, message_size = 64, port;
static long n_requests = 2000000, n_warmup = 5000;
static double seconds = 2;
static pid_t server_pid;

static struct conn *conns;
static int epfd;
static char message[MAX_MESSAGE], echo[MAX_MESSAGE];

/* The message is a letter pattern headed by the serial number; only the head differs from one to the next. */
static void compose(uint64_t serial)
{
	size_t head = message_size < 8 ? message_size : 8;

	memcpy(message, &serial, head);
}

static void send_next(struct conn *c, uint64_t serial)
{
	c->serial = serial;
	c->got = 0;
	c->sent_at = now_ns(CLOCK_MONOTONIC);
	compose(serial);
	/* The socket blocks for writing only if the server stopped reading; messages fit the socket buffer. */
	if (send(c->fd, message, message_size, MSG_NOSIGNAL) != message_size)
		die("send");
}

/* Takes what has arrived; true when the echo is complete. */
static int receive(struct conn *c)
{
	ssize_t n = recv(c->fd, echo, message_size - c->got + 1, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		die("recv");
	if (n == 0)
		fail("the server closed a connection");
	if (n > message_size - c->got)
		fail("more came back than was sent");
	compose(c->serial);
	if (memcmp(echo, message + c->got, n) != 0)
		fail("an echo differs from what was sent");
	c->got += n;
	return c->got == message_size;
}

/* Plays until n round trips are complete, or until the end (of the monotonic clock) and what was on its way then. Returns
 * how many that were; writes each one's nanoseconds to times unless that is NULL. */
static long play(long n, uint64_t end, uint32_t *times)
{
	struct epoll_event events[MAX_EVENTS];
	struct conn *done[MAX_EVENTS];
	long sent = 0, finished = 0;

	while (sent < n_conns && sent < n) {
		send_next(&conns[sent], sent);
		sent++;
	}
	while (finished < sent) {
		int n_events = epoll_wait(epfd, events, MAX_EVENTS, GIVE_UP_MS), n_done = 0;

		if (n_events == 0)
			fail("no echo for 10 s");
		for (int i = 0; i < n_events; i++) {
			struct conn *c = events[i].data.ptr;

			if (!receive(c))
				continue;
			if (times)
				times[finished] = now_ns(CLOCK_MONOTONIC) - c->sent_at;
			finished++;
			done[n_done++] = c;
		}
		for (int i = 0; i < n_done && sent < n && conns[0].sent_at < end; i++)
			send_next(done[i], sent++);
	}
	return finished;
}

static void connect_all(void)
{
	for (int i = 0; i < n_conns; i++) {
		conns[i].fd = connect_to(port);
		watch(epfd, EPOLL_CTL_ADD, conns[i].fd, &conns[i], EPOLLIN);
	}
}

static void report(uint32_t *times, long n, uint64_t wall, uint64_t cpu)
{
	qsort(times, n, sizeof *times, ascending);
	printf("requests_per_s=%.0f p50_us=%.1f p99_us=%.1f max_us=%.1f", n * 1e9 / wall, times[n / 2] / 1e3,
	       times[n * 99 / 100] / 1e3, times[n - 1] / 1e3);
	if (server_pid)
		printf(" cpu_ns=%.1f busy=%.2f", (double)cpu / n, (double)cpu / wall);
	printf("\n");
}

static void parse_arguments(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "c:d:n:w:s:p:")) != -1) {
		switch (option) {
		case 'c':
			n_conns = atoi(optarg);
			break;
		case 'd':
			seconds = atof(optarg);
			break;
		case 'n':
			n_requests = atol(optarg);
			break;
		case 'w':
			n_warmup = atol(optarg);
			break;
		case 's':
			message_size = atoi(optarg);
			break;
		case 'p':
			server_pid = atoi(optarg);
			break;
		default:
			exit(2);
		}
	}
	port = optind < argc ? atoi(argv[optind]) : 0;
	if (port <= 0 || n_requests <= 0 || n_conns <= 0 || n_conns > MAX_EVENTS || message_size <= 0 ||
	    message_size >= MAX_MESSAGE)
		fail("usage: echo_load [-c conns] [-d seconds] [-n requests] [-w warm-up] [-s bytes] [-p pid] PORT");
}

int main(int argc, char **argv)
{
	uint64_t wall, cpu;
	uint32_t *times;
	long n;

	parse_arguments(argc, argv);
	for (int i = 0; i < message_size; i++)
		message[i] = 'a' + i % 26;
	times = calloc(n_requests, sizeof *times);
	conns = calloc(n_conns, sizeof *conns);
	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (!times || !conns || epfd < 0)
		die("start");
	connect_all();
	play(n_warmup, UINT64_MAX, NULL);
	cpu = cpu_ns(server_pid);
	wall = now_ns(CLOCK_MONOTONIC);
	n = play(n_requests, wall + (uint64_t)(seconds * 1e9), times);
	wall = now_ns(CLOCK_MONOTONIC) - wall;
	cpu = cpu_ns(server_pid) - cpu;
	report(times, n, wall, cpu);
	return 0;
}
