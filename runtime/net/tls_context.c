/* SPDX-License-Identifier: MIT */
/* TLS contexts: certificates, keys, authorities and rules, loaded once for many connections. */
#define _GNU_SOURCE
#include "net/tls_context.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int (*gr_tls_select)(struct gr_tls_context *ctx, const char *name, struct gr_tls_context **chosen);
void (*gr_tls_forget)(int user);

/* ---- Reading ---- */

static bool is_pem(const char *source)
{
	return strstr(source, "-----BEGIN ") != NULL;
}

static int cannot_load(const char *what, const char *source, const char *why)
{
	gr_error_explain("cannot load %s %s: %s", what, is_pem(source) ? "(PEM text)" : source, why);
	return GR_TLS;
}

/* The file's text, heap; NULL with errno set. */
static char *read_file(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t cap = 0;
	ssize_t n;

	if (file == NULL)
		return NULL;
	n = getdelim(&text, &cap, '\0', file);
	if (n < 0 && ferror(file)) { /* a directory, for one */
		free(text);
		text = NULL;
	} else if (n < 0) {
		*text = '\0';
	}
	fclose(file);
	return text;
}

static void free_text(char **text)
{
	free(*text);
}

static void free_bio(BIO **bio)
{
	ossl.BIO_free(*bio);
}

/* ---- Certificates and keys ---- */

/* All certificates of the source, each given to add() with `arg`. Returns 0 or GR_TLS. */
static int each_cert(const char *what, const char *source, int (*add)(X509 *cert, int index, void *arg), void *arg)
{
	char *text __attribute__((cleanup(free_text))) = is_pem(source) ? strdup(source) : read_file(source);
	BIO *bio __attribute__((cleanup(free_bio))) = NULL;
	X509 *cert;
	int n = 0, rc = 0;

	if (text == NULL)
		return cannot_load(what, source, strerror(errno));
	ossl.ERR_clear_error();
	bio = ossl.BIO_new_mem_buf(text, -1);
	while (bio && rc == 0 && (cert = ossl.PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		rc = add(cert, n++, arg) ? 0 : cannot_load(what, source, gr_tls_reason());
		ossl.X509_free(cert);
	}
	if (rc == 0 && n == 0)
		return cannot_load(what, source, "there is no PEM certificate in it");
	if (rc == 0 && ERR_GET_REASON(ossl.ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return cannot_load(what, source, gr_tls_reason());
	ossl.ERR_clear_error();
	return rc;
}

static int add_own(X509 *cert, int index, void *arg)
{
	SSL_CTX *ssl = arg;

	if (index == 0)
		return ossl.SSL_CTX_use_certificate(ssl, cert);
	return (int)ossl.SSL_CTX_ctrl(ssl, SSL_CTRL_CHAIN_CERT, 1, cert); /* SSL_CTX_add1_chain_cert */
}

struct password {
	const char *text;
	bool asked;
};

/* Always given to OpenSSL, which else asks on the terminal. */
static int on_password(char *buf, int size, int writing, void *arg)
{
	struct password *p = arg;
	size_t len = p->text ? strlen(p->text) : 0;

	(void)writing;
	p->asked = true;
	if (p->text == NULL || len > (size_t)size)
		return -1;
	memcpy(buf, p->text, len);
	return (int)len;
}

static bool has_no_key(int reason)
{
	return reason == PEM_R_NO_START_LINE || reason == ERR_R_UNSUPPORTED;
}

static int load_key(SSL_CTX *ssl, const struct gr_tls_options *o)
{
	const char *source = o->key ? o->key : o->cert;
	char *text __attribute__((cleanup(free_text))) = is_pem(source) ? strdup(source) : read_file(source);
	BIO *bio __attribute__((cleanup(free_bio))) = NULL;
	struct password password = {.text = o->password};
	EVP_PKEY *key;
	int ok;

	if (text == NULL)
		return cannot_load("key", source, strerror(errno));
	ossl.ERR_clear_error();
	bio = ossl.BIO_new_mem_buf(text, -1);
	key = bio ? ossl.PEM_read_bio_PrivateKey(bio, NULL, on_password, &password) : NULL;
	if (key == NULL && password.asked)
		return cannot_load("key", source,
				   o->password ? "wrong password" : "it is encrypted, and there is no password");
	if (key == NULL && has_no_key(ERR_GET_REASON(ossl.ERR_peek_last_error())))
		return cannot_load("key", source, "there is no PEM key in it");
	if (key == NULL)
		return cannot_load("key", source, gr_tls_reason());
	ok = ossl.SSL_CTX_use_PrivateKey(ssl, key);
	ossl.EVP_PKEY_free(key);
	if (!ok || !ossl.SSL_CTX_check_private_key(ssl))
		return cannot_load("key", source, "key does not match the certificate");
	return 0;
}

static int load_own(SSL_CTX *ssl, const struct gr_tls_options *o)
{
	int rc = o->cert ? each_cert("certificate", o->cert, add_own, ssl) : 0;

	return rc == 0 && o->cert ? load_key(ssl, o) : rc;
}

/* ---- Authorities ---- */

static int add_trusted(X509 *cert, int index, void *arg)
{
	(void)index;
	return ossl.X509_STORE_add_cert(arg, cert);
}

static int load_authorities(X509_STORE *store, const char *source)
{
	struct stat st;

	if (!is_pem(source) && stat(source, &st) == 0 && S_ISDIR(st.st_mode))
		return ossl.X509_STORE_load_path(store, source) ? 0 : cannot_load("CA", source, gr_tls_reason());
	return each_cert("CA", source, add_trusted, store);
}

static int add_name(X509 *cert, int index, void *arg)
{
	X509_NAME *name = ossl.X509_NAME_dup(ossl.X509_get_subject_name(cert));

	(void)index;
	return name && ossl.OPENSSL_sk_push(arg, name) > 0;
}

static void free_name(void *name)
{
	ossl.X509_NAME_free(name);
}

/* Servers tell clients whose certificates they take. */
static int set_names(SSL_CTX *ssl, const char *source)
{
	OPENSSL_STACK *names = ossl.OPENSSL_sk_new_null();
	int rc = each_cert("CA", source, add_name, names);

	if (rc < 0)
		ossl.OPENSSL_sk_pop_free(names, free_name);
	else
		ossl.SSL_CTX_set_client_CA_list(ssl, (STACK_OF(X509_NAME) *)names);
	return rc;
}

static int load_trusted(SSL_CTX *ssl, X509_STORE *client_ca, const struct gr_tls_options *o)
{
	struct stat st;
	int rc = o->ca ? load_authorities(ossl.SSL_CTX_get_cert_store(ssl), o->ca) : 0;

	if (rc < 0 || o->client_ca == NULL)
		return rc;
	rc = load_authorities(client_ca, o->client_ca);
	if (rc == 0 && !(stat(o->client_ca, &st) == 0 && S_ISDIR(st.st_mode)))
		rc = set_names(ssl, o->client_ca);
	return rc;
}

int gr_tls_context_trust(struct gr_tls_context *ctx)
{
	static X509_STORE *system; /* one for the process */

	if (ctx->opts.ca || ctx->system_ca)
		return 0;
	if (system == NULL) {
		system = ossl.X509_STORE_new();
		if (system == NULL || !ossl.X509_STORE_set_default_paths(system))
			return cannot_load("CA", "of the system", gr_tls_reason());
	}
	ossl.SSL_CTX_set1_cert_store(ctx->ssl, system);
	ctx->system_ca = true;
	return 0;
}

/* ---- Rules ---- */

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *theirs,
		   unsigned int len, void *arg)
{
	const struct gr_tls_options *o = arg;
	int rc = ossl.SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_len, (const unsigned char *)o->alpn,
					    (unsigned)o->alpn_len, theirs, len);

	(void)ssl;
	/* RFC 7301 section 3.2: nothing in common ends the handshake. */
	return rc == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static long version_number(int version)
{
	return version == 13 ? TLS1_3_VERSION : version == 12 ? TLS1_2_VERSION : 0;
}

static int set_ciphers(SSL_CTX *ssl, const struct gr_tls_options *o)
{
	ossl.ERR_clear_error();
	if (o->ciphers && !ossl.SSL_CTX_set_cipher_list(ssl, o->ciphers))
		gr_error_explain("bad list of ciphers \"%s\": %s", o->ciphers, gr_tls_reason());
	else if (o->ciphersuites && !ossl.SSL_CTX_set_ciphersuites(ssl, o->ciphersuites))
		gr_error_explain("bad list of TLS 1.3 ciphers \"%s\": %s", o->ciphersuites, gr_tls_reason());
	else
		return 0;
	return GR_TLS;
}

static void set_sessions(SSL_CTX *ssl, const struct gr_tls_options *o, const void *id)
{
	/* Clients' sessions are kept by us; servers keep none but hand out tickets. */
	ossl.SSL_CTX_ctrl(ssl, SSL_CTRL_SET_SESS_CACHE_MODE,
			  o->tickets ? SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL : SSL_SESS_CACHE_OFF, NULL);
	ossl.SSL_CTX_sess_set_new_cb(ssl, gr_tls_on_session);
	ossl.SSL_CTX_set_session_id_context(ssl, (const unsigned char *)&id, sizeof(id));
	if (o->tickets)
		return;
	ossl.SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
	ossl.SSL_CTX_set_num_tickets(ssl, 0);
}

static int configure(struct gr_tls_context *ctx, SSL_CTX *ssl)
{
	const struct gr_tls_options *o = &ctx->opts;
	long min = version_number(o->min_version);

	ossl.SSL_CTX_set_options(ssl,
				 SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	ossl.SSL_CTX_ctrl(ssl, SSL_CTRL_MODE, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN, NULL);
	ossl.SSL_CTX_ctrl(ssl, SSL_CTRL_SET_READ_AHEAD, 1, NULL);
	ossl.SSL_CTX_ctrl(ssl, SSL_CTRL_SET_MIN_PROTO_VERSION, min ? min : TLS1_2_VERSION, NULL);
	ossl.SSL_CTX_ctrl(ssl, SSL_CTRL_SET_MAX_PROTO_VERSION, version_number(o->max_version), NULL);
	set_sessions(ssl, o, ctx);
	if (o->alpn) {
		ossl.SSL_CTX_set_alpn_protos(ssl, (const unsigned char *)o->alpn, (unsigned)o->alpn_len);
		ossl.SSL_CTX_set_alpn_select_cb(ssl, on_alpn, (void *)(uintptr_t)o);
	}
	if (ctx->user)
		ossl.SSL_CTX_set_client_hello_cb(ssl, gr_tls_on_client_hello, NULL);
	return set_ciphers(ssl, o);
}

void gr_tls_context_serve(const struct gr_tls_context *ctx, SSL *ssl)
{
	enum gr_tls_verify verify = ctx->opts.verify;
	int mode = SSL_VERIFY_PEER;

	if (verify == GR_TLS_VERIFY_DEFAULT)
		verify = ctx->opts.client_ca ? GR_TLS_VERIFY_REQUIRED : GR_TLS_VERIFY_OFF;
	if (verify == GR_TLS_VERIFY_OFF)
		mode = SSL_VERIFY_NONE;
	else if (verify == GR_TLS_VERIFY_REQUIRED)
		mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	ossl.SSL_set_verify(ssl, mode, gr_tls_on_verify);
	ossl.SSL_ctrl(ssl, SSL_CTRL_SET_VERIFY_CERT_STORE, 1, ctx->client_ca);
	/* A session of one context means nothing to another. */
	ossl.SSL_set_session_id_context(ssl, (const unsigned char *)&ctx, sizeof(ctx));
}

/* ---- Life ---- */

/* Makes what the options say. Changes nothing of ctx on failure. */
static int build(struct gr_tls_context *ctx)
{
	SSL_CTX *ssl = ossl.SSL_CTX_new(ossl.TLS_method());
	X509_STORE *client_ca = ossl.X509_STORE_new();
	int rc = ssl && client_ca ? configure(ctx, ssl) : -ENOMEM;

	if (rc == 0)
		rc = load_own(ssl, &ctx->opts);
	if (rc == 0)
		rc = load_trusted(ssl, client_ca, &ctx->opts);
	if (rc < 0) {
		ossl.SSL_CTX_free(ssl);
		ossl.X509_STORE_free(client_ca);
		return rc;
	}
	ossl.SSL_CTX_free(ctx->ssl);
	ossl.X509_STORE_free(ctx->client_ca);
	ctx->ssl = ssl;
	ctx->client_ca = client_ca;
	ctx->system_ca = false;
	return 0;
}

static void free_options(struct gr_tls_options *o)
{
	if (o->password)
		explicit_bzero(o->password, strlen(o->password));
	free(o->cert);
	free(o->key);
	free(o->password);
	free(o->ca);
	free(o->client_ca);
	free(o->ciphers);
	free(o->ciphersuites);
	free(o->alpn);
}

static void destroy(struct gr_tls_context *ctx)
{
	gr_tls_sessions_free(ctx);
	if (ctx->ssl) {
		ossl.SSL_CTX_free(ctx->ssl);
		ossl.X509_STORE_free(ctx->client_ca);
	}
	free_options(&ctx->opts);
	if (ctx->user && gr_tls_forget)
		gr_tls_forget(ctx->user);
	free(ctx);
}

struct gr_tls_context *gr_tls_context_new(struct gr_tls_options *o, int user, int *rc)
{
	struct gr_tls_context *ctx = calloc(1, sizeof(*ctx));

	if (ctx == NULL) {
		free_options(o);
		*rc = -ENOMEM;
		return NULL;
	}
	ctx->refs = 1;
	ctx->opts = *o;
	ctx->user = user;
	*rc = gr_ossl_load();
	if (*rc == 0)
		*rc = build(ctx);
	if (*rc == 0)
		return ctx;
	destroy(ctx);
	return NULL;
}

void gr_tls_context_ref(struct gr_tls_context *ctx)
{
	ctx->refs++;
}

void gr_tls_context_unref(struct gr_tls_context *ctx)
{
	if (ctx && --ctx->refs == 0)
		destroy(ctx);
}

int gr_tls_context_reload(struct gr_tls_context *ctx)
{
	int rc = build(ctx);

	if (rc == 0)
		gr_tls_sessions_free(ctx);
	return rc;
}

bool gr_tls_context_can_serve(const struct gr_tls_context *ctx)
{
	return ctx->opts.cert || ctx->user;
}

int gr_tls_context_user(const struct gr_tls_context *ctx)
{
	return ctx->user;
}
