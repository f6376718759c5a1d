/* SPDX-License-Identifier: MIT */
/* What the files of TLS share. */
#ifndef GR_NET_TLS_CONTEXT_H
#define GR_NET_TLS_CONTEXT_H

#include "net/tls.h"
#include "net/tls_openssl.h"

struct gr_tls_sessions;

struct gr_tls_context {
	unsigned refs;
	int user;
	struct gr_tls_options opts;
	SSL_CTX *ssl;                     /* replaced by a reload; connections hold theirs */
	X509_STORE *client_ca;            /* whom a server trusts; empty without client_ca */
	bool system_ca;                   /* ssl trusts the system's authorities: set by the first client */
	struct gr_tls_sessions *sessions; /* of clients; NULL: none yet */
};

/* Makes SSL_CTX trust whom the system trusts, unless the options say whom. Returns 0 or GR_TLS. */
int gr_tls_context_trust(struct gr_tls_context *ctx);

/* An SSL's server side takes the context's rules for clients' certificates and sessions. */
void gr_tls_context_serve(const struct gr_tls_context *ctx, SSL *ssl);

/* Sessions to resume, by peer ("host:port"), a bounded number for each context. */
void gr_tls_session_offer(struct gr_tls_context *ctx, const char *peer, SSL *ssl);
/* Takes over the session. */
void gr_tls_session_keep(struct gr_tls_context *ctx, const char *peer, SSL_SESSION *session);
void gr_tls_sessions_free(struct gr_tls_context *ctx);

/* In words why the last call of OpenSSL failed, from its whole error queue, which is empty afterwards. Static text. */
const char *gr_tls_reason(void);

/* The peer's certificate was refused: why, in words, and for whom it is. */
void gr_tls_verify_reason(X509_STORE_CTX *store, const char *host, char *text, size_t size);

/* The connection of an SSL (struct gr_tls) is its extra data of this index. */
enum { GR_TLS_EX_DATA = 0 };

/* For SSL_set_verify, defined by the connections. */
int gr_tls_on_verify(int ok, X509_STORE_CTX *store);
/* For SSL_CTX_set_client_hello_cb and SSL_CTX_sess_set_new_cb. */
int gr_tls_on_client_hello(SSL *ssl, int *alert, void *unused);
int gr_tls_on_session(SSL *ssl, SSL_SESSION *session);

#endif
