/* SPDX-License-Identifier: MIT */
/* The beginning of TLS on a stream: whom to expect, and the handshake. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_stream.h"

/* ---- Called by OpenSSL ---- */

int gr_tls_on_verify(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = ossl.X509_STORE_CTX_get_ex_data(store, ossl.SSL_get_ex_data_X509_STORE_CTX_idx());
	struct gr_tls *t = ossl.SSL_get_ex_data(ssl, GR_TLS_EX_DATA);
	char text[512];

	if (!ok) {
		gr_tls_verify_reason(store, t->host, text, sizeof(text));
		free(t->why);
		t->why = strdup(text);
		t->failed = GR_TLS_VERIFY;
	}
	return ok;
}

int gr_tls_on_session(SSL *ssl, SSL_SESSION *session)
{
	struct gr_tls *t = ossl.SSL_get_ex_data(ssl, GR_TLS_EX_DATA);

	if (t->peer == NULL)
		return 0; /* OpenSSL frees it */
	gr_tls_session_keep(t->ctx, t->peer, session);
	return 1;
}

/* The name in a server_name extension (RFC 6066 section 3): list length, type 0, length, name. */
static char *parse_sni(const unsigned char *p, size_t len)
{
	size_t n;
	char *name;

	if (len < 5 || p[2] != 0)
		return NULL;
	n = (size_t)p[3] << 8 | p[4];
	if (n == 0 || n > 255 || n > len - 5 || memchr(p + 5, 0, n))
		return NULL;
	name = strndup((const char *)p + 5, n);
	for (char *c = name; c && *c; c++)
		*c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
	return name;
}

/* Goes on with the context that was chosen. */
static int use_choice(const struct gr_tls *t, SSL *ssl, int *alert)
{
	const struct gr_tls_context *ctx = t->chosen;

	if (t->choice == GR_TLS_USE_DEFAULT && t->ctx->opts.cert)
		return SSL_CLIENT_HELLO_SUCCESS;
	if (t->choice != GR_TLS_USE_CHOSEN) {
		*alert = t->choice < 0 ? SSL_AD_INTERNAL_ERROR : SSL_AD_UNRECOGNIZED_NAME;
		return SSL_CLIENT_HELLO_ERROR;
	}
	ossl.SSL_set_SSL_CTX(ssl, ctx->ssl);
	ossl.SSL_ctrl(ssl, SSL_CTRL_SET_MIN_PROTO_VERSION,
		      ossl.SSL_CTX_ctrl(ctx->ssl, SSL_CTRL_GET_MIN_PROTO_VERSION, 0, NULL), NULL);
	ossl.SSL_ctrl(ssl, SSL_CTRL_SET_MAX_PROTO_VERSION,
		      ossl.SSL_CTX_ctrl(ctx->ssl, SSL_CTRL_GET_MAX_PROTO_VERSION, 0, NULL), NULL);
	gr_tls_context_serve(ctx, ssl);
	return SSL_CLIENT_HELLO_SUCCESS;
}

int gr_tls_on_client_hello(SSL *ssl, int *alert, void *unused)
{
	struct gr_tls *t = ossl.SSL_get_ex_data(ssl, GR_TLS_EX_DATA);
	const unsigned char *p;
	size_t len;

	(void)unused;
	if (t->sni == GR_SNI_ANSWERED)
		return use_choice(t, ssl, alert);
	if (!ossl.SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &len))
		return SSL_CLIENT_HELLO_SUCCESS;
	free(t->name);
	t->name = parse_sni(p, len);
	if (t->name == NULL)
		return SSL_CLIENT_HELLO_SUCCESS; /* OpenSSL refuses what is malformed */
	t->sni = GR_SNI_ASKED;
	return SSL_CLIENT_HELLO_RETRY;
}

/* ---- The handshake ---- */

static int flush(struct gr_stream *s, struct gr_tls *t, double until)
{
	int rc;

	while ((rc = gr_tls_send_out(t)) == -EAGAIN) {
		rc = gr_io_wait(&s->wr, until, "tls handshake");
		if (rc < 0)
			return rc;
	}
	return rc;
}

/* Between two calls of OpenSSL, since the answer may take its time and other threads then use OpenSSL. */
static int choose(struct gr_stream *s, struct gr_tls *t)
{
	struct gr_tls_context *chosen = NULL;
	int choice = gr_tls_select(t->ctx, t->name, &chosen), rc = gr_check();

	if (s->fd < 0 || rc < 0) {
		gr_tls_context_unref(chosen);
		return s->fd < 0 ? GR_CLOSED : rc;
	}
	if (choice < 0 && t->why == NULL)
		t->why = strdup(gr_strerror(choice));
	t->chosen = chosen;
	t->choice = choice;
	t->sni = GR_SNI_ANSWERED;
	return 0;
}

static int receive_more(struct gr_stream *s, struct gr_tls *t, double until)
{
	int rc = flush(s, t, until);

	if (s->fd < 0)
		return GR_CLOSED;
	/* With a broken direction there may still be an alert to read that says why. */
	if (rc < 0 && rc != t->send_error)
		return rc;
	rc = gr_io_wait(&s->rd, until, "tls handshake");
	if (rc == 0)
		t->drained = false;
	return rc;
}

static int lost_peer(struct gr_tls *t)
{
	if (t->recv_error)
		return t->recv_error;
	t->why = strdup("the peer closed the connection during the TLS handshake");
	t->failed = GR_TLS;
	return gr_tls_failed(t);
}

/* One step. Returns 0 to go on, 1 when complete, or the failure. Parks. */
static int step(struct gr_stream *s, struct gr_tls *t, double until)
{
	int rc;

	ossl.ERR_clear_error();
	rc = ossl.SSL_do_handshake(t->ssl);
	if (rc == 1)
		return 1;
	switch (ossl.SSL_get_error(t->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
		return receive_more(s, t, until);
	case SSL_ERROR_WANT_CLIENT_HELLO_CB:
		return choose(s, t);
	case SSL_ERROR_SYSCALL:
		return lost_peer(t);
	default:
		return gr_tls_fail(t);
	}
}

/* Sends what the last step left. A client that has said all it had to and left takes no tickets; what it said counts. */
static int finish(struct gr_stream *s, struct gr_tls *t, double until)
{
	int rc = flush(s, t, until);

	if (rc < 0 && (s->fd < 0 || !t->server || rc != t->send_error))
		return rc;
	t->done = true;
	s->unready = false;
	return 0;
}

static int shake(struct gr_stream *s, struct gr_tls *t, double until)
{
	int rc;

	do
		rc = step(s, t, until);
	while (rc == 0);
	return rc == 1 ? finish(s, t, until) : rc;
}

static int wait_for_other(const struct gr_stream *s, struct gr_tls *t, double until)
{
	int rc;

	if (t->other)
		return GR_BUSY;
	t->other = gr_current;
	rc = gr_wait(until, "tls handshake");
	if (s->fd < 0)
		return GR_CLOSED;
	t->other = NULL;
	return rc;
}

/* Reader and writer may both come first: one does it, the other waits, and goes on with it if the first gave up. Once
 * s->fd is closed *t is gone. */
int gr_tls_handshake(struct gr_stream *s, double until)
{
	struct gr_tls *t = s->layer;
	int rc = 0;

	if (s->fd < 0)
		return GR_CLOSED;
	while (rc == 0 && !t->done) {
		if (t->failed)
			return gr_tls_failed(t);
		if (t->busy) {
			rc = wait_for_other(s, t, until);
			continue;
		}
		t->busy = true;
		rc = shake(s, t, until);
		if (s->fd < 0)
			return GR_CLOSED;
		t->busy = false;
		if (t->other)
			gr_wake(t->other, 0);
	}
	return rc;
}

/* ---- The beginning ---- */

/* Who a client expects, and what it says about that. */
static int set_host(struct gr_tls *t, const char *host, uint16_t port)
{
	X509_VERIFY_PARAM *param = ossl.SSL_get0_param(t->ssl);
	struct gr_addr literal;
	size_t len = strlen(host);
	bool is_ip;

	t->host = strndup(host, len > 0 && host[len - 1] == '.' ? len - 1 : len);
	if (t->host == NULL || asprintf(&t->peer, "%s:%u", t->host, port) < 0) {
		t->peer = NULL;
		return -ENOMEM;
	}
	is_ip = gr_addr_literal(t->host, 0, &literal) == 0;
	if (is_ip && strchr(t->host, '%'))
		*strchr(t->host, '%') = '\0'; /* certificates know no zones */
	/* RFC 6066 section 3: no addresses. RFC 9525: alternative names only, and wildcards for one whole label. */
	if (!is_ip)
		ossl.SSL_ctrl(t->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, t->host);
	ossl.SSL_set_hostflags(t->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	/* OpenSSL takes ".example.org" for everything below, and "" for anything. */
	if (t->host[0] && t->host[0] != '.' &&
	    (is_ip ? ossl.X509_VERIFY_PARAM_set1_ip_asc(param, t->host) : ossl.SSL_set1_host(t->ssl, t->host)))
		return 0;
	gr_error_explain("bad host name \"%s\"", t->host);
	return GR_TLS;
}

static int set_client(struct gr_tls *t, const char *host, uint16_t port)
{
	int rc;

	ossl.SSL_set_connect_state(t->ssl);
	t->verifies = t->ctx->opts.verify != GR_TLS_VERIFY_OFF;
	ossl.SSL_set_verify(t->ssl, t->verifies ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
			    t->verifies ? gr_tls_on_verify : NULL);
	if (host == NULL && t->verifies) {
		gr_error_explain("no host name to verify");
		return GR_TLS;
	}
	rc = host ? set_host(t, host, port) : 0;
	if (rc == 0 && t->peer && t->ctx->opts.tickets)
		gr_tls_session_offer(t->ctx, t->peer, t->ssl);
	return rc;
}

static int set_server(struct gr_tls *t)
{
	ossl.SSL_set_accept_state(t->ssl);
	t->verifies = true; /* what it asks for */
	gr_tls_context_serve(t->ctx, t->ssl);
	return 0;
}

static int new_ssl(struct gr_tls *t, const char *host, uint16_t port)
{
	BIO *bio;
	int rc = t->server ? 0 : gr_tls_context_trust(t->ctx);

	if (rc < 0)
		return rc;
	t->ssl = ossl.SSL_new(t->ctx->ssl);
	bio = t->ssl ? gr_tls_new_bio(t) : NULL;
	if (bio == NULL)
		return -ENOMEM;
	ossl.SSL_set_bio(t->ssl, bio, bio);
	ossl.SSL_set_ex_data(t->ssl, GR_TLS_EX_DATA, t);
	return t->server ? set_server(t) : set_client(t, host, port);
}

static int take_unread(struct gr_tls *t, const struct gr_stream *s)
{
	if (s->len == 0)
		return 0;
	t->in = malloc(s->len);
	if (t->in == NULL)
		return -ENOMEM;
	memcpy(t->in, s->data, s->len);
	t->in_len = s->len;
	return 0;
}

static int check_start(const struct gr_stream *s)
{
	if (s->fd < 0)
		return GR_CLOSED;
	if (s->ops == &gr_tls_ops) {
		gr_error_explain("TLS has been started already");
		return GR_TLS;
	}
	return s->reading || s->writing || s->rd.waiter || s->wr.waiter ? GR_BUSY : 0;
}

int gr_tls_start(struct gr_stream *s, struct gr_tls_context *ctx, bool server, const char *host, uint16_t port)
{
	int rc = check_start(s);
	struct gr_tls *t = rc == 0 ? calloc(1, sizeof(*t)) : NULL;

	if (t == NULL)
		return rc < 0 ? rc : -ENOMEM;
	gr_tls_context_ref(ctx);
	t->stream = s;
	t->ctx = ctx;
	t->server = server;
	rc = take_unread(t, s);
	if (rc == 0)
		rc = new_ssl(t, host, port);
	if (rc < 0) {
		gr_tls_destroy(t);
		return rc;
	}
	gr_stream_done(s);
	gr_stream_drop(s);
	s->drained = false;
	s->layer = t;
	s->ops = &gr_tls_ops;
	s->unready = true;
	return 0;
}
