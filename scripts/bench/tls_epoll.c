/* SPDX-License-Identifier: MIT */
/* Yardstick: a TLS echo server written straight on epoll and OpenSSL, with the settings that grun uses: read-ahead,
 * released buffers, tickets, no session cache, one read and one write per request.
 *
 * Alone: cc -O2 -o tls_epoll scripts/bench/tls_epoll.c -lssl -lcrypto && ./tls_epoll CERT KEY [PORT]
 * It prints its address and serves until SIGTERM. */
#include "bench.h"
#include <openssl/err.h>
#include <openssl/ssl.h>

enum { BUFFER = 16384 };

static int epfd, listener;
static SSL_CTX *ctx;

static void die_of_tls(const char *what)
{
	ERR_print_errors_fp(stderr);
	fail(what);
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
static void on_readable(void *data)
{
	static char buf[BUFFER];
	SSL *ssl = data;
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
	int fd;

	while ((fd = next_connection(listener)) >= 0) {
		SSL *ssl = SSL_new(ctx);

		if (!ssl || !SSL_set_fd(ssl, fd))
			die_of_tls("SSL_new");
		SSL_set_accept_state(ssl);
		watch(epfd, EPOLL_CTL_ADD, fd, ssl, EPOLLIN);
	}
}

static void make_context(const char *cert, const char *key)
{
	ctx = SSL_CTX_new(TLS_server_method());
	if (!ctx || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		die_of_tls("certificate");
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		fail("usage: tls_epoll CERT KEY [PORT]");
	signal(SIGPIPE, SIG_IGN);
	make_context(argv[1], argv[2]);
	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (epfd < 0)
		die("epoll_create1");
	listener = serve_on(SOCK_STREAM | SOCK_NONBLOCK, "tls", argc > 3 ? atoi(argv[3]) : 0);
	serve(epfd, listener, on_connections, on_readable);
}
