/* SPDX-License-Identifier: MIT */
/* Heads to be sent, into the caller's buffer: validated, with exactly one framing, or nothing at all. */
#ifndef GR_HTTP_WRITE_H
#define GR_HTTP_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "http/http1.h"

struct gr_http_pair {
	struct gr_slice name, value;
};

/* What many heads begin with: status, Content-Type and Date. Kept by who sends them, all zero at first. */
struct gr_http_opening {
	int status;
	const char *type;
	size_t len; /* 0: nothing is kept */
	char text[192];
};

struct gr_http_response {
	/* what is known */
	int status;             /* 100-999 */
	struct gr_slice reason; /* p == NULL: the standard phrase */
	const struct gr_http_pair *fields;
	size_t nfields;
	struct gr_slice type; /* a Content-Type that is known to be valid, p == NULL: none; not among `fields` then */
	const char *date;     /* GR_HTTP_DATE bytes, NULL for none; not sent with 1xx or when `fields` have one */
	/* NULL, or a copy of the last one, to be used again with the same status and type.p (whose text may not change) if
	 * there are no fields and no other reason; the caller forgets it when there is another date */
	struct gr_http_opening *opening;
	enum gr_http_method method; /* of the request */
	uint8_t minor;              /* of the request */
	bool keep_alive;            /* the connection may go on; decided below */
	int64_t length;             /* bytes of the body, -1: not known */

	/* decided by gr_http_write_response */
	enum gr_http_body body; /* how it must be sent; NONE also for HEAD, 204, 304 and 1xx whatever `length` is */
};

/* Bytes that are always enough for gr_http_write_response. */
size_t gr_http_response_bound(const struct gr_http_response *r);

/* Writes the head up to and with its empty line. Of `fields`, Content-Length must be the body's, or is its length if
 * that is not known; "close" in Connection ends keep_alive; "keep-alive" there does not count; Transfer-Encoding is an
 * error. An unknown length is chunked to HTTP/1.1 and ends with the connection to HTTP/1.0.
 * Returns the length, sets `body` and `keep_alive` and maybe `length`; or nothing is written: GR_HTTP_BAD_STATUS,
 * GR_HTTP_BAD_NAME (no token), GR_HTTP_BAD_VALUE (CR, LF, NUL, other controls), GR_HTTP_BAD_FRAMING,
 * GR_HTTP_NO_SPACE. */
ssize_t gr_http_write_response(struct gr_http_response *r, char *buf, size_t size);

/* Writes the same for what most responses are: the status and the type of the opening, a body of that length, 1 or more, to
 * a request of HTTP/1.1 and not HEAD or CONNECT, on a connection that goes on. Returns the length, at most that of the
 * opening and GR_HTTP_USUAL. */
enum { GR_HTTP_USUAL = 48 };
size_t gr_http_write_usual(const struct gr_http_opening *o, int64_t length, char *buf);

struct gr_http_request {
	struct gr_slice method; /* a token */
	struct gr_slice target; /* in its form for the wire */
	struct gr_slice host;   /* for Host, unless `fields` have one */
	const struct gr_http_pair *fields;
	size_t nfields;
	bool keep_alive; /* false: "Connection: close" is sent */
	int64_t length;  /* of the body, -1: unknown, which is sent chunked; 0 is sent with methods that have a body */

	enum gr_http_body body; /* decided */
};

/* The same for a request by a client of HTTP/1.1. Also GR_HTTP_BAD_TARGET and GR_HTTP_BAD_HOST. */
size_t gr_http_request_bound(const struct gr_http_request *r);
ssize_t gr_http_write_request(struct gr_http_request *r, char *buf, size_t size);

#endif
