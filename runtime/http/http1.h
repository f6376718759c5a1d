/* SPDX-License-Identifier: MIT */
/* Heads of HTTP/1 requests and responses (RFC 9112), parsed strictly and in one place: what frames the body and
 * what happens to the connection is decided here and nowhere else. */
#ifndef GR_HTTP_HTTP1_H
#define GR_HTTP_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "http/error.h"
#include "http/text.h"

/* A piece of the head: it stays right when the buffer moves. */
struct gr_http_span {
	uint32_t off, len;
};

/* A field's line: its parts are had by gr_http_name and gr_http_value. Small, since many of them are kept. */
struct gr_http_field {
	uint32_t line, colon; /* where it begins, and its ":" */
};

struct gr_http_limits {
	uint32_t line;   /* bytes of the first line with its end */
	uint32_t block;  /* bytes of all fields with their ends and the empty line */
	uint32_t fields; /* and their number */
};

/* 8 KiB, 16 KiB, 100. */
extern const struct gr_http_limits gr_http_limits;

enum gr_http_method {
	GR_METHOD_OTHER, /* a token that is none of these; "get" is one */
	GR_METHOD_GET,
	GR_METHOD_HEAD,
	GR_METHOD_POST,
	GR_METHOD_PUT,
	GR_METHOD_DELETE,
	GR_METHOD_PATCH,
	GR_METHOD_OPTIONS,
	GR_METHOD_TRACE,
	GR_METHOD_CONNECT,
};

enum gr_http_form {
	GR_FORM_ORIGIN,    /* "/path?query" */
	GR_FORM_ABSOLUTE,  /* "http://host/path?query", http or https: its host counts, not the field's */
	GR_FORM_AUTHORITY, /* "host:port", CONNECT only */
	GR_FORM_ASTERISK,  /* "*", OPTIONS only */
};

enum gr_http_body {
	GR_BODY_NONE,   /* also Content-Length: 0 of a request */
	GR_BODY_LENGTH, /* content_length bytes */
	GR_BODY_CHUNKED,
	GR_BODY_CLOSE, /* a response that ends with the connection */
};

/* One head while it is parsed, and what was found. Spans count from the first byte given to the parser. */
struct gr_http_head {
	/* where the parser goes on: its own */
	uint32_t line;  /* start of the line that is not parsed yet; after all: the end of the head */
	uint32_t seen;  /* no LF stands between `line` and here; 0: nothing was looked at yet */
	uint32_t block; /* start of the fields */
	bool in_block;  /* the first line is parsed */
	uint8_t noted;  /* bits of framing.c */
	const struct gr_http_limits *limits;
	const struct gr_http_head *known; /* gr_http_head_knows; NULL: none */
	const char *known_buf;

	/* result, valid once the parser returned > 0 */
	struct gr_http_field *fields; /* the caller's array */
	uint32_t nfields;
	int status;                   /* responses: 100-999 */
	uint8_t minor;                /* 0 or 1: higher ones are treated as 1 */
	uint8_t method;               /* requests: enum gr_http_method */
	uint8_t form;                 /* requests: enum gr_http_form */
	uint8_t body;                 /* enum gr_http_body */
	bool keep_alive;              /* by version and Connection; false when the body ends with the connection */
	bool want_continue;           /* Expect: 100-continue on 1.1 with a body */
	bool upgrade;                 /* Connection: upgrade and an Upgrade field on 1.1; a response: status 101 too */
	bool https;                   /* absolute form with https */
	bool all_known;               /* the fields are, all and byte by byte, those of gr_http_head_knows */
	int64_t content_length;       /* -1 without the field; kept where it does not frame (HEAD, 304) */
	struct gr_http_span verb;     /* requests: the method as written */
	struct gr_http_span target;   /* requests: as written */
	struct gr_http_span path;     /* without scheme, host and query; empty for authority form and "http://host" */
	struct gr_http_span query;    /* without "?" */
	struct gr_http_span host;     /* with port; empty if none was sent. Letters, digits, "-._~", or [IPv6] */
	struct gr_http_span protocol; /* value of Upgrade, if `upgrade` */
	struct gr_http_span reason;   /* responses: may be empty */
};

/* Makes the head ready for a message. `fields` has room for limits->fields entries; both stay the caller's and must
 * outlive the head. */
void gr_http_head_init(struct gr_http_head *h, struct gr_http_field *fields, const struct gr_http_limits *limits);

/* Tells of an earlier head of the same limits, parsed from `buf`: lines of fields that stood there as well need not be
 * looked at byte by byte. Most clients send the same fields with each request. The result is the same without. Both must
 * stay as they are until h->known is NULL again. */
void gr_http_head_knows(struct gr_http_head *h, const struct gr_http_head *earlier, const char *buf);

/* Parses a request's head. `buf` holds every byte of the message so far, `len` grows from call to call (the buffer may
 * move); bytes after the head are not looked at. Calls that add a byte each cost no more in total than one with all.
 * Returns the length of the head with its empty line, 0 for incomplete, or an enum gr_http_error, after which the
 * head is of no use. The result does not depend on where the input was split. One empty line before the request is
 * skipped (RFC 9112 section 2.2). */
ssize_t gr_http_parse_request(struct gr_http_head *h, const char *buf, size_t len);

/* The same for the response to a request with that method. A 1xx other than 101 is a head of its own: init again and
 * go on behind it; the caller bounds their number. After a 2xx to CONNECT and after 101 the body is none and the
 * connection is no longer HTTP. */
ssize_t gr_http_parse_response(struct gr_http_head *h, const char *buf, size_t len, enum gr_http_method method);

/* The same for the trailers behind a chunked body: fields up to and with the empty line. Only `fields` and `nfields`
 * count then; they are never merged into the head's. */
ssize_t gr_http_parse_trailers(struct gr_http_head *h, const char *buf, size_t len);

/* Index of the first field at or after `from` with that name, in any case, or -1. `buf` is the parser's. */
int gr_http_find(const struct gr_http_head *h, const char *buf, const char *name, size_t len, uint32_t from);

/* The name of the field with that index, and its value without blanks around it, possibly empty. */
struct gr_slice gr_http_name(const struct gr_http_head *h, const char *buf, uint32_t i);
struct gr_slice gr_http_value(const struct gr_http_head *h, const char *buf, uint32_t i);

static inline struct gr_slice gr_http_slice(const char *buf, struct gr_http_span span)
{
	return (struct gr_slice){buf + span.off, span.len};
}

/* True if a request offers to go on in that protocol, an empty one: in any. Names count, in any case, and not what follows in
 * "name/version". HTTP/1.0 offers none, nor does a request without Connection: upgrade (RFC 9110 section 7.8). */
bool gr_http_offers(const struct gr_http_head *h, const char *buf, struct gr_slice protocol);

/* The method of that name; OTHER for those without a number. */
enum gr_http_method gr_http_method(const char *p, size_t len);

/* True for "name", "name:port", "[v6]", "[v6]:port", as in Host and in authority-form; a port is at most 65535 and
 * may be empty. False for an empty text. */
bool gr_http_host_valid(const char *p, size_t len);

#endif
