/* SPDX-License-Identifier: MIT */
/* What can be wrong with an HTTP message: codes, the status that answers them, texts. */
#ifndef GR_HTTP_ERROR_H
#define GR_HTTP_ERROR_H

/* Below every GR_* and -errno, so that all share one int. */
enum gr_http_error {
	GR_HTTP_NOT_HTTP = -11000, /* the first byte cannot begin a message */
	GR_HTTP_TLS_HELLO,         /* a TLS handshake on a plain port */
	GR_HTTP_H2_PREFACE,        /* HTTP/2 without upgrade */
	GR_HTTP_EMPTY_LINES,       /* more than one empty line before the request */
	GR_HTTP_LINE_END,          /* CR or LF alone */
	GR_HTTP_BAD_LINE,          /* request line or status line */
	GR_HTTP_BAD_METHOD,
	GR_HTTP_BAD_TARGET,
	GR_HTTP_BAD_VERSION,
	GR_HTTP_BAD_STATUS,
	GR_HTTP_BAD_NAME,     /* empty or with a character that is none of a token */
	GR_HTTP_SPACE_COLON,  /* space between name and colon */
	GR_HTTP_FOLDED,       /* obs-fold, or a blank before the first field */
	GR_HTTP_BAD_VALUE,    /* control character in a value */
	GR_HTTP_NO_HOST,      /* HTTP/1.1 without Host */
	GR_HTTP_BAD_HOST,     /* junk in it, or two of them */
	GR_HTTP_BAD_LENGTH,   /* Content-Length that is no number, or two of them */
	GR_HTTP_BAD_CODING,   /* Transfer-Encoding other than one "chunked", or on HTTP/1.0 */
	GR_HTTP_TWO_FRAMINGS, /* Content-Length and Transfer-Encoding */
	GR_HTTP_BAD_EXPECT,
	GR_HTTP_LONG_LINE,   /* request line or status line above its limit */
	GR_HTTP_LONG_BLOCK,  /* fields above their limit in bytes */
	GR_HTTP_MANY_FIELDS, /* or in number */
	GR_HTTP_BAD_CHUNK,   /* chunk size or the end of a chunk */
	GR_HTTP_LONG_CHUNK_EXT,
	GR_HTTP_BAD_MULTIPART,
	GR_HTTP_MANY_PARTS,
	GR_HTTP_BAD_ESCAPE,  /* "%" without two hexadecimal digits */
	GR_HTTP_NUL,         /* a NUL byte, also as "%00" */
	GR_HTTP_OUTSIDE,     /* a path that leads out of its root, or that the file system reads differently */
	GR_HTTP_BAD_PROXY,   /* PROXY protocol header */
	GR_HTTP_BAD_FRAMING, /* to be sent: Transfer-Encoding, or a length that is not the body's */
	GR_HTTP_NO_SPACE,    /* the buffer for the result is too small */
	GR_HTTP_ERROR_END,
};

/* The status a server answers with, after which it closes: 400, 414, 417, 431, 501, 505, 413, or 500 for what is
 * wrong with a response to be sent. */
int gr_http_error_status(int error);

/* Static text without a full stop. */
const char *gr_http_error_text(int error);

/* "Not Found" for 404, "" for a status without a standard phrase. Static. */
const char *gr_http_reason(int status);

#endif
