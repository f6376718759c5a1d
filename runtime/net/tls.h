/* SPDX-License-Identifier: MIT */
/* TLS: contexts, and the second implementation of struct gr_stream_ops. No OpenSSL in this header. */
#ifndef GR_NET_TLS_H
#define GR_NET_TLS_H

#include "net/stream.h"

enum gr_tls_verify {
	GR_TLS_VERIFY_DEFAULT, /* clients: required; servers: required if there is a client_ca, else off */
	GR_TLS_VERIFY_OFF,
	GR_TLS_VERIFY_OPTIONAL, /* servers: a client need not have a certificate, but a bad one is refused */
	GR_TLS_VERIFY_REQUIRED,
};

/* What a context is made of. Texts may be NULL; files are given as paths or as PEM text. */
struct gr_tls_options {
	char *cert;         /* the certificate and those between it and the root, in this order */
	char *key;          /* NULL: in the same file as the certificate */
	char *password;     /* of the key */
	char *ca;           /* whom a client trusts: file or directory; NULL: the system's */
	char *client_ca;    /* whom a server trusts */
	char *ciphers;      /* TLS 1.2 list */
	char *ciphersuites; /* TLS 1.3 list */
	char *alpn;         /* in wire form: each name after a byte with its length */
	size_t alpn_len;
	int min_version, max_version; /* 12 or 13; 0: at least 1.2 */
	enum gr_tls_verify verify;
	bool tickets; /* sessions can be resumed */
};

struct gr_tls_context;

/* Makes a context with one reference. Takes over the texts of *o, on failure too. `user` is the binding's: 0, or what
 * gr_tls_select looks for. Reads files. Returns NULL with *rc = GR_TLS (and gr_error_explain) or -ENOMEM. */
struct gr_tls_context *gr_tls_context_new(struct gr_tls_options *o, int user, int *rc);

void gr_tls_context_ref(struct gr_tls_context *ctx);
void gr_tls_context_unref(struct gr_tls_context *ctx);

/* Reads all files again. New connections use what they hold now, present ones go on. Returns 0, or an error as above,
 * after which everything is as before. */
int gr_tls_context_reload(struct gr_tls_context *ctx);

/* True if it can be a server's: it has a certificate, or something that selects one. */
bool gr_tls_context_can_serve(const struct gr_tls_context *ctx);

int gr_tls_context_user(const struct gr_tls_context *ctx);

enum gr_tls_choice { GR_TLS_USE_DEFAULT, GR_TLS_USE_CHOSEN, GR_TLS_REFUSE };

/* The binding's. Asked in the handshake for the context that serves `name` (lower case), if ctx has a `user`: an enum
 * gr_tls_choice, in *chosen a reference that the caller gives back; or GR_TLS, explained. May park; `name` is valid
 * until then. */
extern int (*gr_tls_select)(struct gr_tls_context *ctx, const char *name, struct gr_tls_context **chosen);

/* The binding's: the context with this `user` is gone. */
extern void (*gr_tls_forget)(int user);

/* Turns an open stream into TLS; unread bytes are the beginning of what the peer says in it. Its handshake happens in
 * the first read or write, or in gr_tls_handshake. For clients `host` is the name or address that the certificate must
 * be for (NULL only if nothing is verified), and with `port` what sessions are kept by. Returns 0, GR_CLOSED, GR_BUSY
 * (somebody reads or writes), GR_TLS (it is TLS already; what else goes wrong) or -ENOMEM. */
int gr_tls_start(struct gr_stream *s, struct gr_tls_context *ctx, bool server, const char *host, uint16_t port);

/* Completes the handshake. Returns 0 when it is complete, GR_TLS, GR_TLS_VERIFY, GR_CLOSED, GR_BUSY, what a wait
 * returns, or a negative errno. After an end by timeout or cancel it may be called again. Parks. */
int gr_tls_handshake(struct gr_stream *s, double until);

bool gr_tls_is(const struct gr_stream *s);

/* What was agreed on. Texts live as long as the stream; NULL = none. */
struct gr_tls_info {
	const char *version, *cipher, *sni;
	const char *alpn; /* alpn_len bytes */
	unsigned alpn_len;
	bool verified; /* the peer's certificate was asked for and is good */
	bool reused;   /* an earlier session goes on */
};

/* False before the end of the handshake and when it is no TLS. */
bool gr_tls_info(const struct gr_stream *s, struct gr_tls_info *out);

/* A certificate in words. */
struct gr_tls_cert {
	char *subject, *issuer, *serial, *pem;
	char fingerprint[65];         /* SHA-256, hexadecimal */
	double not_before, not_after; /* seconds since 1970 */
	char **names;                 /* subject alternative names */
	size_t *lengths;
	int n_names;
};

/* The peer's certificate; false if it has none. gr_tls_cert_free afterwards, in any case. */
bool gr_tls_peer_cert(const struct gr_stream *s, struct gr_tls_cert *out);
void gr_tls_cert_free(struct gr_tls_cert *cert);

#endif
