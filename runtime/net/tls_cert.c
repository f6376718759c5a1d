/* SPDX-License-Identifier: MIT */
/* What was agreed on and who the peer is, for people and programs. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/tls_stream.h"

bool gr_tls_info(const struct gr_stream *s, struct gr_tls_info *out)
{
	const struct gr_tls *t = gr_tls_is(s) ? s->layer : NULL;
	const unsigned char *alpn;

	memset(out, 0, sizeof(*out));
	if (t == NULL || !t->done)
		return false;
	out->version = ossl.SSL_get_version(t->ssl);
	out->cipher = ossl.SSL_CIPHER_get_name(ossl.SSL_get_current_cipher(t->ssl));
	out->sni = ossl.SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name);
	ossl.SSL_get0_alpn_selected(t->ssl, &alpn, &out->alpn_len);
	out->alpn = out->alpn_len ? (const char *)alpn : NULL;
	out->reused = ossl.SSL_session_reused(t->ssl);
	out->verified = t->verifies && ossl.SSL_get_verify_result(t->ssl) == X509_V_OK;
	if (out->verified) {
		X509 *cert = ossl.SSL_get1_peer_certificate(t->ssl);

		out->verified = cert != NULL;
		ossl.X509_free(cert);
	}
	return true;
}

/* Takes what was printed as a text of its own. */
static char *take_text(BIO *bio)
{
	char *data, *text = NULL;
	long n = ossl.BIO_ctrl(bio, BIO_CTRL_INFO, 0, (char *)&data);

	if (n >= 0)
		text = strndup(data, (size_t)n);
	ossl.BIO_free(bio);
	return text;
}

static char *name_text(X509_NAME *name)
{
	BIO *bio = ossl.BIO_new(ossl.BIO_s_mem());

	if (bio == NULL)
		return NULL;
	ossl.X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
	return take_text(bio);
}

static char *pem_text(X509 *cert)
{
	BIO *bio = ossl.BIO_new(ossl.BIO_s_mem());

	if (bio == NULL)
		return NULL;
	ossl.PEM_write_bio_X509(bio, cert);
	return take_text(bio);
}

static char *serial_text(X509 *cert)
{
	BIGNUM *number = ossl.ASN1_INTEGER_to_BN(ossl.X509_get0_serialNumber(cert), NULL);
	char *hex = number ? ossl.BN_bn2hex(number) : NULL, *text = hex ? strdup(hex) : NULL;

	ossl.CRYPTO_free(hex, __FILE__, __LINE__);
	ossl.BN_free(number);
	return text;
}

static double seconds_of(const ASN1_TIME *time)
{
	struct tm tm;

	return ossl.ASN1_TIME_to_tm(time, &tm) ? (double)timegm(&tm) : 0;
}

static void fingerprint(X509 *cert, char *text)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char hash[32];
	unsigned n = 0;

	text[0] = '\0';
	if (!ossl.X509_digest(cert, ossl.EVP_sha256(), hash, &n))
		return;
	for (unsigned i = 0; i < n; i++) {
		text[2 * i] = digits[hash[i] >> 4];
		text[2 * i + 1] = digits[hash[i] & 15];
	}
	text[2 * n] = '\0';
}

/* One alternative name, heap; NULL for kinds that are no text. */
static char *alternative_name(const GENERAL_NAME *name, size_t *len)
{
	const ASN1_STRING *value = name->d.ia5; /* of all kinds looked at here */
	char text[INET6_ADDRSTRLEN], *copy;
	const unsigned char *data;

	if (name->type != GEN_DNS && name->type != GEN_IPADD && name->type != GEN_URI && name->type != GEN_EMAIL)
		return NULL;
	data = ossl.ASN1_STRING_get0_data(value);
	*len = (size_t)ossl.ASN1_STRING_length(value);
	if (name->type == GEN_IPADD) {
		if ((*len != 4 && *len != 16) || !inet_ntop(*len == 4 ? AF_INET : AF_INET6, data, text, sizeof(text)))
			return NULL;
		data = (const unsigned char *)text;
		*len = strlen(text);
	}
	copy = malloc(*len + 1);
	if (copy)
		memcpy(copy, data, *len);
	return copy;
}

static void take_names(X509 *cert, struct gr_tls_cert *out)
{
	GENERAL_NAMES *names = ossl.X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	int count = names ? ossl.OPENSSL_sk_num((const OPENSSL_STACK *)names) : 0;

	out->names = calloc((size_t)count + 1, sizeof(*out->names));
	out->lengths = calloc((size_t)count + 1, sizeof(*out->lengths));
	for (int i = 0; i < count && out->names && out->lengths; i++) {
		const GENERAL_NAME *name = ossl.OPENSSL_sk_value((const OPENSSL_STACK *)names, i);
		char *text = alternative_name(name, &out->lengths[out->n_names]);

		if (text)
			out->names[out->n_names++] = text;
	}
	ossl.GENERAL_NAMES_free(names);
}

bool gr_tls_peer_cert(const struct gr_stream *s, struct gr_tls_cert *out)
{
	const struct gr_tls *t = gr_tls_is(s) ? s->layer : NULL;
	X509 *cert = t && t->done ? ossl.SSL_get1_peer_certificate(t->ssl) : NULL;

	memset(out, 0, sizeof(*out));
	if (cert == NULL)
		return false;
	out->subject = name_text(ossl.X509_get_subject_name(cert));
	out->issuer = name_text(ossl.X509_get_issuer_name(cert));
	out->serial = serial_text(cert);
	out->pem = pem_text(cert);
	out->not_before = seconds_of(ossl.X509_get0_notBefore(cert));
	out->not_after = seconds_of(ossl.X509_get0_notAfter(cert));
	fingerprint(cert, out->fingerprint);
	take_names(cert, out);
	ossl.X509_free(cert);
	ossl.ERR_clear_error();
	return true;
}

void gr_tls_cert_free(struct gr_tls_cert *cert)
{
	for (int i = 0; i < cert->n_names; i++)
		free(cert->names[i]);
	free(cert->names);
	free(cert->lengths);
	free(cert->subject);
	free(cert->issuer);
	free(cert->serial);
	free(cert->pem);
	memset(cert, 0, sizeof(*cert));
}
