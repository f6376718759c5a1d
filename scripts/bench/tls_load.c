/* SPDX-License-Identifier: MIT */
/* Load for a TLS echo server: connections that play ping-pong (-r), full handshakes one after the other (-f), or idle
 * connections (-i). Prints key=value with the server's CPU time in nanoseconds, or its memory in KiB, for each.
 *
 * Alone: cc -O2 -o tls_load scripts/bench/tls_load.c -lssl -lcrypto
 *        ./tls_load -p PID [-c conns] [-r requests | -f handshakes | -i] PORT
 * The requests of a turn are sent together and their echoes awaited one by one, all with blocking sockets. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 64, WARM_UP = 5, GIVE_UP = 10 };

static int port, n_conns = 64;
static pid_t pid;
static SSL_CTX *ctx;

static void fail(const char *what)
{
	fprintf(stderr, "tls_load: %s (%s)\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static uint64_t server_cpu(void)
{
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0)
		fail("pid of the server");
	return now_ns(clock);
}

/* Private and shared pages of the server that are its own, in KiB. */
static long server_kib(void)
{
	char name[64], line[256];
	long kib = 0, n;
	FILE *file;

	snprintf(name, sizeof name, "/proc/%d/smaps_rollup", pid);
	file = fopen(name, "r");
	if (!file)
		fail(name);
	while (fgets(line, sizeof line, file))
		if (sscanf(line, "Pss: %ld", &n) == 1)
			kib = n;
	fclose(file);
	return kib;
}

static SSL *dial(int i)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)}, from = {.sin_family = AF_INET};
	struct timeval patience = {.tv_sec = GIVE_UP};
	const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	SSL *ssl = SSL_new(ctx);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	/* Several source addresses, since one has too few ports for many runs. */
	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)i % 64);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
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

static void turns(SSL **conns, long n)
{
	for (long turn = 0; turn < n; turn++) {
		for (int i = 0; i < n_conns; i++)
			send_one(conns[i], turn + i);
		for (int i = 0; i < n_conns; i++)
			await_one(conns[i], turn + i);
	}
}

static void requests(long n)
{
	SSL **conns = calloc(n_conns, sizeof *conns);
	long n_turns = n / n_conns;
	uint64_t cpu;

	for (int i = 0; i < n_conns; i++)
		conns[i] = dial(i);
	turns(conns, WARM_UP);
	cpu = server_cpu();
	turns(conns, n_turns);
	printf("cpu_ns=%.1f cipher=%s\n", (double)(server_cpu() - cpu) / (n_turns * n_conns), SSL_get_cipher(conns[0]));
}

static void handshakes(long n)
{
	uint64_t cpu = 0, wall = 0;

	for (long i = -n / 10; i < n; i++) {
		if (i == 0) {
			cpu = server_cpu();
			wall = now_ns(CLOCK_MONOTONIC);
		}
		SSL *ssl = dial(i < 0 ? 0 : i);

		send_one(ssl, i < 0 ? 0 : i);
		await_one(ssl, i < 0 ? 0 : i);
		hang_up(ssl);
	}
	printf("cpu_ns=%.1f per_s=%.1f\n", (double)(server_cpu() - cpu) / n,
	       n * 1e9 / (now_ns(CLOCK_MONOTONIC) - wall));
}

static void idle(void)
{
	struct rlimit limit;
	long before;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	hang_up(dial(0));
	before = server_kib();
	for (int i = 0; i < n_conns; i++) {
		SSL *ssl = dial(i);

		send_one(ssl, i);
		await_one(ssl, i);
		SSL_set_quiet_shutdown(ssl, 1);
		SSL_free(ssl); /* the socket stays */
	}
	printf("kib_each=%.2f\n", (double)(server_kib() - before) / n_conns);
}

int main(int argc, char **argv)
{
	long n_requests = 0, n_handshakes = 0;
	int option, is_idle = 0;

	signal(SIGPIPE, SIG_IGN);
	while ((option = getopt(argc, argv, "c:r:f:p:i")) != -1) {
		if (option == 'c')
			n_conns = atoi(optarg);
		else if (option == 'r')
			n_requests = atol(optarg);
		else if (option == 'f')
			n_handshakes = atol(optarg);
		else if (option == 'p')
			pid = atoi(optarg);
		else if (option == 'i')
			is_idle = 1;
		else
			return 2;
	}
	port = optind < argc ? atoi(argv[optind]) : 0;
	if (port <= 0 || n_conns <= 0 || pid <= 0)
		fail("usage: tls_load -p pid [-c conns] [-r requests | -f handshakes | -i] PORT");
	ctx = SSL_CTX_new(TLS_client_method());
	if (!ctx)
		fail("SSL_CTX_new");
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_read_ahead(ctx, 1);
	if (is_idle)
		idle();
	else if (n_handshakes)
		handshakes(n_handshakes);
	else
		requests(n_requests ? n_requests : 100000);
	return 0;
}
