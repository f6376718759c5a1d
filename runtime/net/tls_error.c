/* SPDX-License-Identifier: MIT */
/* TLS failures in words. */
#include <stdio.h>
#include <string.h>

#include "net/tls_context.h"

enum { NAMES_SHOWN = 3 };

static const struct {
	int reason;
	const char *text;
} clearer[] = {
	{SSL_R_HTTP_REQUEST, "plain HTTP was spoken to a TLS port"},
	{SSL_R_HTTPS_PROXY_REQUEST, "plain HTTP was spoken to a TLS port"},
	{SSL_R_WRONG_VERSION_NUMBER, "the peer does not speak TLS"},
	{SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "the client sent no certificate"},
	{SSL_R_NO_APPLICATION_PROTOCOL, "no application protocol (ALPN) in common"},
	{SSL_R_CALLBACK_FAILED, "the server name was refused"},
};

/* What an alert of the peer is called, without the version that each name begins with. */
static const char *alert_name(const char *text)
{
	const char *name = strstr(text, "alert ");

	if (name)
		return name + 6;
	name = strchr(text, ' ');
	return name ? name + 1 : text;
}

static const char *words(unsigned long error)
{
	static char alert[96];
	const char *text = ossl.ERR_reason_error_string(error);
	int reason = ERR_GET_REASON(error);

	if (text == NULL)
		return "unknown error";
	if (ERR_GET_LIB(error) != ERR_LIB_SSL)
		return text;
	for (size_t i = 0; i < sizeof(clearer) / sizeof(clearer[0]); i++)
		if (clearer[i].reason == reason)
			return clearer[i].text;
	if (reason < SSL_AD_REASON_OFFSET)
		return text;
	snprintf(alert, sizeof(alert), "the peer refused: %s", alert_name(text));
	return alert;
}

const char *gr_tls_reason(void)
{
	static char text[256];
	unsigned long error;
	size_t n = 0;

	text[0] = '\0';
	while ((error = ossl.ERR_get_error()) != 0) {
		const char *next = words(error);

		/* The queue tells the same from several floors of the library. */
		if (n < sizeof(text) - 1 && strstr(text, next) == NULL)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n ? "; " : "", next);
	}
	return n ? text : "unknown error";
}

/* ---- Certificates ---- */

static void common_name(X509_NAME *name, char *text, size_t size)
{
	BIO *bio = ossl.BIO_new(ossl.BIO_s_mem());
	char *data;
	long n;

	text[0] = '\0';
	if (bio == NULL)
		return;
	ossl.X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
	n = ossl.BIO_ctrl(bio, BIO_CTRL_INFO, 0, (char *)&data);
	if (n > 0)
		snprintf(text, size, "%.*s", (int)n, data);
	ossl.BIO_free(bio);
}

/* The names in the certificate, as "a, b, c, ...". */
static void list_names(X509 *cert, char *text, size_t size)
{
	GENERAL_NAMES *names = ossl.X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	int count = names ? ossl.OPENSSL_sk_num((const OPENSSL_STACK *)names) : 0, shown = 0;
	size_t n = 0;

	text[0] = '\0';
	for (int i = 0; i < count && n < size && shown <= NAMES_SHOWN; i++) {
		const GENERAL_NAME *name = ossl.OPENSSL_sk_value((const OPENSSL_STACK *)names, i);

		if (name->type != GEN_DNS)
			continue;
		n += (size_t)snprintf(text + n, size - n, "%s%.*s", n ? ", " : "",
				      shown < NAMES_SHOWN ? ossl.ASN1_STRING_length(name->d.dNSName) : 3,
				      shown < NAMES_SHOWN ? (const char *)ossl.ASN1_STRING_get0_data(name->d.dNSName)
							  : "...");
		shown++;
	}
	ossl.GENERAL_NAMES_free(names);
}

void gr_tls_verify_reason(X509_STORE_CTX *store, const char *host, char *text, size_t size)
{
	int error = ossl.X509_STORE_CTX_get_error(store), depth = ossl.X509_STORE_CTX_get_error_depth(store);
	X509 *cert = ossl.X509_STORE_CTX_get_current_cert(store);
	char names[256];

	if (error == X509_V_ERR_HOSTNAME_MISMATCH || error == X509_V_ERR_IP_ADDRESS_MISMATCH) {
		list_names(cert, names, sizeof(names));
		snprintf(text, size, "certificate is for %s, not %s", names[0] ? names : "no host name",
			 host ? host : "?");
		return;
	}
	if (cert)
		common_name(ossl.X509_get_subject_name(cert), names, sizeof(names));
	snprintf(text, size, "%s%s%s%s", ossl.X509_verify_cert_error_string(error), cert && depth > 0 ? " (of " : "",
		 cert && depth > 0 ? names : "", cert && depth > 0 ? ")" : "");
}
