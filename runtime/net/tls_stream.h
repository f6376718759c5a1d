/* SPDX-License-Identifier: MIT */
/* One TLS connection, for the files of TLS. */
#ifndef GR_NET_TLS_STREAM_H
#define GR_NET_TLS_STREAM_H

#include "net/tls_context.h"

enum gr_tls_sni {
	GR_SNI_UNKNOWN,  /* the client has not said a name */
	GR_SNI_ASKED,    /* it has, and gr_tls_select must be asked */
	GR_SNI_ANSWERED, /* `choice` holds */
};

struct gr_tls {
	struct gr_stream *stream;
	SSL *ssl;
	struct gr_tls_context *ctx, *chosen; /* `chosen` for the name that the client said, or NULL */
	bool server;
	bool verifies;              /* the peer's certificate is checked */
	bool done;                  /* the handshake is complete */
	bool drained;               /* the last receive emptied the socket */
	bool ended;                 /* the socket is at its end */
	bool ended_ours;            /* we have said that we send no more */
	bool busy;                  /* a thread is in the handshake … */
	struct gr_green *other;     /* … and this one waits for it */
	int failed;                 /* what every call returns from now on; 0 = none */
	int recv_error, send_error; /* of the socket */
	char *why;                  /* the words for `failed` */
	char *host;                 /* a client's: whom the certificate must be for */
	char *peer;                 /* a client's: what sessions are kept by */
	char *name;                 /* a server's: whom the client asked for */
	enum gr_tls_sni sni;
	int choice; /* of gr_tls_select */
	char *in;   /* came before TLS began, not used yet: in_len bytes from in_off */
	size_t in_off, in_len;
	char *out; /* encrypted, not taken by the socket yet: out_len bytes from out_off */
	size_t out_off, out_len, out_cap;
};

extern const struct gr_stream_ops gr_tls_ops;

/* t->failed, explained. */
int gr_tls_failed(const struct gr_tls *t);

/* The last call of OpenSSL failed for good: takes its reason, returns as gr_tls_failed, now and later. */
int gr_tls_fail(struct gr_tls *t);

/* A BIO over the stream's socket that never makes OpenSSL wait to write. NULL without memory. */
BIO *gr_tls_new_bio(struct gr_tls *t);

/* Gives the socket what waits in t->out. Returns 0, -EAGAIN when some is left, or the socket's error. */
int gr_tls_send_out(struct gr_tls *t);

void gr_tls_destroy(struct gr_tls *t);

#endif
