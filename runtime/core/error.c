/* SPDX-License-Identifier: MIT */
/* The one table that turns result codes into words. */
#define _GNU_SOURCE
#include "core/error.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static char explanation[1024];

struct entry {
	int rc;
	const char *name, *message;
};

static const struct entry table[] = {
	{GR_TIMEOUT, "timeout", "timeout"},
	{GR_CLOSED, "closed", "closed"},
	{GR_BUSY, "busy", "busy: another thread is already waiting here"},
	{GR_CANCELED, "cancelled", "cancelled"},
	{GR_DEADLINE, "timeout", "deadline passed"},
	{GR_TOO_LARGE, "too_large", "too large"},
	{GR_BAD_ADDRESS, "bad_address", "bad address"},
	{GR_NOT_FOUND, "ENOTFOUND", "host not found"},
	{GR_LIMIT, "limit", "no further thread can be created"},
	{GR_MISUSE, "misuse", "cannot wait here"},
	{GR_PROTOCOL, "protocol", "malformed message"},
	{GR_BAD_NAME, "EBADNAME", "bad host name"},
	{GR_NO_DATA, "ENODATA", "no such record of that host"},
	{GR_NOT_LOCAL, "ENOTFOUND", "host not found (DNS is not asked here)"},
	{GR_FORM_ERROR, "EFORMERR", "DNS server did not understand the question"},
	{GR_SERVER_FAILURE, "ESERVFAIL", "DNS server failure"},
	{GR_NOT_IMPLEMENTED, "ENOTIMP", "DNS server does not answer such questions"},
	{GR_REFUSED, "EREFUSED", "DNS server refused to answer"},
	{GR_BAD_RESPONSE, "EBADRESP", "bad answer from the DNS server"},
	{GR_TLS, "tls", explanation},
	{GR_TLS_VERIFY, "tls_verify", explanation},
	{GR_TRUNCATED, "truncated", "connection truncated: the peer ended it without a TLS close"},
};

static const struct entry *find(int rc)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].rc == rc)
			return &table[i];
	return NULL;
}

const char *gr_strerror(int rc)
{
	const struct entry *e = find(rc);

	return e ? e->message : strerror(rc < 0 ? -rc : rc);
}

const char *gr_errname(int rc)
{
	const struct entry *e = find(rc);
	const char *name = e ? e->name : strerrorname_np(rc < 0 ? -rc : rc);

	return name ? name : "EUNKNOWN";
}

void gr_error_explain(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(explanation, sizeof(explanation), format, ap);
	va_end(ap);
}
