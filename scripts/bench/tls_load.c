/* SPDX-License-Identifier: MIT */
/* Load for a TLS echo server: connections that play ping-pong, full handshakes one after the other with -f, or idle
 * connections with -i. Prints key=value with the server's CPU time in nanoseconds, or its memory in KiB, for each.
 *
 * Alone: cc -O2 -o tls_load scripts/bench/tls_load.c -lssl -lcrypto
 *        ./tls_load -p PID [-c conns] [-d seconds] [-f | -i] PORT
 * The requests of a turn are sent together and their echoes awaited one by one, all with blocking sockets. */
#include "bench.h"
#include <openssl/ssl.h>
#include <sys/resource.h>

enum { MESSAGE = 64, WARM_UP = 50, GIVE_UP = 10, MAX_TIMES = 1 << 20 };

static int port, n_conns = 64;
static pid_t pid;
static const char *pid_text;
static SSL_CTX *ctx;

static SSL *dial(int i)
{
	struct sockaddr_in sa = loopback(port), from = loopback(0);
	struct timeval patience = {.tv_sec = GIVE_UP};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	SSL *ssl = SSL_new(ctx);

	/* Several source addresses, since one has too few ports for many runs. */
	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)i % 64);
	no_delay(fd);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (fd < 0 || !ssl || bind(fd, (void *)&from, sizeof from) < 0 || connect(fd, (void *)&sa, sizeof sa) < 0)
		fail("connect");
	SSL_set_fd(ssl, fd);
	if (SSL_connect(ssl) != 1)
		fail("handshake");
	return ssl;
}

static void hang_up(SSL *ssl)
{
	int fd = SSL_get_fd(ssl);

	SSL_shutdown(ssl);
	SSL_free(ssl);
	close(fd);
}

static void send_one(SSL *ssl, long serial)
{
	char message[MESSAGE];

	memset(message, 'a' + serial % 26, MESSAGE);
	if (SSL_write(ssl, message, MESSAGE) != MESSAGE)
		fail("write");
}

static void await_one(SSL *ssl, long serial)
{
	char echo[MESSAGE];
	int got = 0, n;

	while (got < MESSAGE) {
		n = SSL_read(ssl, echo + got, MESSAGE - got);
		if (n <= 0)
			fail("read");
		got += n;
	}
	if (echo[0] != 'a' + serial % 26 || echo[MESSAGE - 1] != echo[0])
		fail("an echo differs from what was sent");
}

/* Turns until the time is over; returns how many. */
static long turns(SSL **conns, uint64_t end)
{
	long turn = 0;

	do {
		for (int i = 0; i < n_conns; i++)
			send_one(conns[i], turn + i);
		for (int i = 0; i < n_conns; i++)
			await_one(conns[i], turn + i);
		turn++;
	} while (now_ns(CLOCK_MONOTONIC) < end);
	return turn;
}

static uint64_t after(double seconds)
{
	return now_ns(CLOCK_MONOTONIC) + (uint64_t)(seconds * 1e9);
}

static void requests(double seconds)
{
	SSL **conns = calloc(n_conns, sizeof *conns);
	uint64_t cpu, wall;
	long n;

	for (int i = 0; i < n_conns; i++)
		conns[i] = dial(i);
	turns(conns, after(seconds / 10));
	cpu = cpu_ns(pid);
	wall = now_ns(CLOCK_MONOTONIC);
	n = turns(conns, after(seconds)) * n_conns;
	wall = now_ns(CLOCK_MONOTONIC) - wall;
	cpu = cpu_ns(pid) - cpu;
	printf("cpu_ns=%.1f requests_per_s=%.0f busy=%.2f\n", (double)cpu / n, n * 1e9 / wall, (double)cpu / wall);
}

static void handshake(long serial)
{
	SSL *ssl = dial(serial);

	send_one(ssl, serial);
	await_one(ssl, serial);
	hang_up(ssl);
}

static void handshakes(double seconds)
{
	static uint32_t times[MAX_TIMES];
	uint64_t cpu, wall, start, end;
	long n = 0;

	for (int i = 0; i < WARM_UP; i++)
		handshake(i);
	cpu = cpu_ns(pid);
	wall = now_ns(CLOCK_MONOTONIC);
	end = after(seconds);
	while (n < MAX_TIMES && (start = now_ns(CLOCK_MONOTONIC)) < end) {
		handshake(n);
		times[n++] = now_ns(CLOCK_MONOTONIC) - start;
	}
	wall = now_ns(CLOCK_MONOTONIC) - wall;
	qsort(times, n, sizeof *times, ascending);
	printf("cpu_ns=%.1f handshakes_per_s=%.1f p50_us=%.1f p99_us=%.1f\n", (double)(cpu_ns(pid) - cpu) / n,
	       n * 1e9 / wall, times[n / 2] / 1e3, times[n * 99 / 100] / 1e3);
}

static void idle(void)
{
	struct rlimit limit;
	double before;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	hang_up(dial(0));
	before = memory_kib(pid_text, "smaps_rollup", "Pss");
	for (int i = 0; i < n_conns; i++) {
		SSL *ssl = dial(i);

		send_one(ssl, i);
		await_one(ssl, i);
		SSL_set_quiet_shutdown(ssl, 1);
		SSL_free(ssl); /* the socket stays */
	}
	printf("pss_kib=%.2f\n", (memory_kib(pid_text, "smaps_rollup", "Pss") - before) / n_conns);
}

int main(int argc, char **argv)
{
	double seconds = 2;
	int option, mode = 0;

	signal(SIGPIPE, SIG_IGN);
	while ((option = getopt(argc, argv, "c:d:p:fi")) != -1) {
		if (option == 'c')
			n_conns = atoi(optarg);
		else if (option == 'd')
			seconds = atof(optarg);
		else if (option == 'p')
			pid = atoi(pid_text = optarg);
		else
			mode = option;
	}
	port = optind < argc ? atoi(argv[optind]) : 0;
	if (mode == '?' || port <= 0 || n_conns <= 0 || pid <= 0)
		fail("usage: tls_load -p pid [-c conns] [-d seconds] [-f | -i] PORT");
	ctx = SSL_CTX_new(TLS_client_method());
	if (!ctx)
		fail("SSL_CTX_new");
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_read_ahead(ctx, 1);
	if (mode == 'i')
		idle();
	else if (mode == 'f')
		handshakes(seconds);
	else
		requests(seconds);
	return 0;
}
