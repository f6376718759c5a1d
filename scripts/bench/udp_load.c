/* SPDX-License-Identifier: MIT */
/* Load for a UDP echo server: C sockets keep W datagrams each on their way; every echo is checked.
 *
 * Alone: cc -O2 -o udp_load scripts/bench/udp_load.c && ./udp_load [-c sockets] [-w datagrams each]
 *        [-d seconds at most] [-n echoes at most] [-s bytes each] [-p pid of the server] PORT
 * Prints one line of key=value: echoes per second and, with -p, the server's CPU time per echo in nanoseconds. One
 * thread; 10,000 echoes come before as a warm-up. What is on its way fits the server's socket buffer, so
 * nothing may get lost. */
#include "bench.h"

enum { MAX_SOCKETS = 256, MAX_WINDOW = 64, MAX_MESSAGE = 2048, GIVE_UP_MS = 5000, HEAD = sizeof(uint64_t) };

/* What the command line asked for. */
static int n_sockets = 16, window = 8, message_size = 64, port;
static long n_echoes = 10000000;
static double seconds = 2;
static pid_t server_pid;

static int epfd, fds[MAX_SOCKETS];
static char messages[MAX_WINDOW][MAX_MESSAGE], echoes[MAX_WINDOW][MAX_MESSAGE];
static struct iovec out_iov[MAX_WINDOW], in_iov[MAX_WINDOW];
static struct mmsghdr out[MAX_WINDOW], in[MAX_WINDOW];

/* No two are the same: each begins with a serial number. */
static void send_some(int fd, int n)
{
	static uint64_t serial;
	int done = 0, rc;

	for (int i = 0; i < n; i++, serial++)
		memcpy(messages[i], &serial, sizeof serial);

	while (done < n) {
		rc = sendmmsg(fd, out + done, n - done, 0);
		if (rc < 0 && errno != EINTR)
			die("sendmmsg");
		done += rc > 0 ? rc : 0;
	}
}

/* Takes the echoes that have come and returns how many. */
static int receive_some(int fd)
{
	int n = recvmmsg(fd, in, window, MSG_DONTWAIT, NULL);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		die("recvmmsg");
	for (int i = 0; i < n; i++)
		if ((int)in[i].msg_len != message_size ||
		    memcmp(echoes[i] + HEAD, messages[0] + HEAD, message_size - HEAD) != 0)
			fail("an echo differs from what was sent");
	return n > 0 ? n : 0;
}

/* Plays until n echoes have come, or until the end (of the monotonic clock), then takes those that are still on their
 * way. Returns how many came. */
static long play(long n, uint64_t end)
{
	struct epoll_event events[MAX_SOCKETS];
	long sent = 0, received = 0;

	for (int i = 0; i < n_sockets; i++, sent += window)
		send_some(fds[i], window);
	while (received < sent) {
		int n_events = epoll_wait(epfd, events, MAX_SOCKETS, GIVE_UP_MS);

		if (n_events == 0)
			fail("datagrams were lost");
		for (int i = 0; i < n_events; i++) {
			int got = receive_some(events[i].data.fd);

			received += got;
			if (sent < n && now_ns(CLOCK_MONOTONIC) < end) {
				send_some(events[i].data.fd, got);
				sent += got;
			}
		}
	}
	return received;
}

static void connect_all(void)
{
	struct sockaddr_in sa = loopback(port);

	for (int i = 0; i < n_sockets; i++) {
		struct epoll_event ev = {.events = EPOLLIN};

		fds[i] = ev.data.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (fds[i] < 0 || connect(fds[i], (struct sockaddr *)&sa, sizeof sa) < 0 ||
		    epoll_ctl(epfd, EPOLL_CTL_ADD, fds[i], &ev) < 0)
			die("connect");
	}
}

static void set_up(void)
{
	for (int i = 0; i < MAX_WINDOW; i++) {
		memset(messages[i], 'x', message_size);
		out_iov[i] = (struct iovec){messages[i], message_size};
		in_iov[i] = (struct iovec){echoes[i], MAX_MESSAGE};
		in[i].msg_hdr = (struct msghdr){.msg_iov = &in_iov[i], .msg_iovlen = 1};
		out[i].msg_hdr = (struct msghdr){.msg_iov = &out_iov[i], .msg_iovlen = 1};
	}
}

static void parse_arguments(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "c:w:d:n:s:p:")) != -1) {
		switch (option) {
		case 'c':
			n_sockets = atoi(optarg);
			break;
		case 'w':
			window = atoi(optarg);
			break;
		case 'd':
			seconds = atof(optarg);
			break;
		case 'n':
			n_echoes = atol(optarg);
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
	if (port <= 0 || n_echoes <= 0 || n_sockets <= 0 || n_sockets > MAX_SOCKETS || window <= 0 ||
	    window > MAX_WINDOW || message_size < HEAD || message_size >= MAX_MESSAGE)
		fail("usage: udp_load [-c sockets] [-w datagrams each] [-d seconds] [-n echoes] [-s bytes] [-p pid] PORT");
}

int main(int argc, char **argv)
{
	uint64_t wall, cpu;
	long n;

	parse_arguments(argc, argv);
	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (epfd < 0)
		die("epoll_create1");
	set_up();
	connect_all();
	play(10000, UINT64_MAX);
	cpu = cpu_ns(server_pid);
	wall = now_ns(CLOCK_MONOTONIC);
	n = play(n_echoes, wall + (uint64_t)(seconds * 1e9));
	wall = now_ns(CLOCK_MONOTONIC) - wall;
	cpu = cpu_ns(server_pid) - cpu;
	printf("echoes_per_s=%.0f", n * 1e9 / wall);
	if (server_pid)
		printf(" cpu_ns=%.1f busy=%.2f", (double)cpu / n, (double)cpu / wall);
	printf("\n");
	return 0;
}
