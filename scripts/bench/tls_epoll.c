/* SPDX-License-Identifier: MIT */
/* Yardstick: a TLS echo server written straight on epoll and OpenSSL, with the settings that grun uses: read-ahead,
 * released buffers, tickets, no session cache, one read and one write per request.
 *
 * Alone: cc -O2 -o tls_epoll scripts/bench/tls_epoll.c -lssl -lcrypto && ./tls_epoll CERT KEY [PORT]
 * It prints its address and serves until SIGTERM. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_EVENTS = 256, BUFFER = 16384 };

static int epfd, listener;
static SSL_CTX *ctx;

static void die(const char *what)
{
	perror(what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

static void watch(int op, int fd, void *data, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = data};

	if (epoll_ctl(epfd, op, fd, &ev) < 0)
		die("epoll_ctl");
}

static void drop(SSL *ssl)
{
	int fd = SSL_get_fd(ssl);

	if (SSL_is_init_finished(ssl))
		SSL_shutdown(ssl);
	SSL_free(ssl);
	close(fd);
}

/* Messages are small and answers fit the socket buffer, so that a write that would have to wait counts as a failure. */
static void on_readable(SSL *ssl)
{
	static char buf[BUFFER];
	int n;

	do {
		ERR_clear_error();
		n = SSL_read(ssl, buf, BUFFER);
		if (n <= 0) {
			if (SSL_get_error(ssl, n) != SSL_ERROR_WANT_READ)
				drop(ssl);
			return;
		}
		ERR_clear_error();
		if (SSL_write(ssl, buf, n) != n) {
			drop(ssl);
			return;
		}
	} while (SSL_has_pending(ssl));
}

static void on_connections(void)
{
	const int on = 1;
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		SSL *ssl = SSL_new(ctx);

		if (!ssl || !SSL_set_fd(ssl, fd))
			die("SSL_new");
		SSL_set_accept_state(ssl);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		watch(EPOLL_CTL_ADD, fd, ssl, EPOLLIN);
	}
}

static void make_context(const char *cert, const char *key)
{
	ctx = SSL_CTX_new(TLS_server_method());
	if (!ctx || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		die("certificate");
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
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
	printf("listening on tls://127.0.0.1:%d\n", ntohs(sa.sin_port));
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

	if (argc < 3) {
		fprintf(stderr, "usage: tls_epoll CERT KEY [PORT]\n");
		return 2;
	}
	signal(SIGTERM, stop);
	signal(SIGPIPE, SIG_IGN);
	make_context(argv[1], argv[2]);
	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (epfd < 0)
		die("epoll_create1");
	listen_on(argc > 3 ? atoi(argv[3]) : 0);
	watch(EPOLL_CTL_ADD, listener, NULL, EPOLLIN);
	for (;;) {
		int n = epoll_wait(epfd, events, MAX_EVENTS, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				on_readable(events[i].data.ptr);
			else
				on_connections();
		}
	}
}
