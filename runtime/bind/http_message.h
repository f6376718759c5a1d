/* SPDX-License-Identifier: MIT */
/* What HTTP servers and clients share of messages for Lua: tables of header fields, bodies, errors. */
#ifndef GR_BIND_HTTP_MESSAGE_H
#define GR_BIND_HTTP_MESSAGE_H

#include <lua.h>

#include "http/chunked.h"
#include "http/http1.h"
#include "net/stream.h"

enum {
	GR_BODY_PIECE = 64 << 10, /* bytes that a read of a body gives at most, unless it says otherwise */
};

/* ---- Fields ---- */

/* Pushes all values of a field whose first one is at index `at`, in one string: with ", " between as RFC 9110 section 5.3
 * allows; with "; " for Cookie (RFC 6265 section 5.4); with a newline for Set-Cookie, whose values hold commas. */
void gr_message_push_values(lua_State *L, const struct gr_http_head *h, const char *bytes, const char *name, size_t len,
			    int at);

/* Pushes a table of all fields: names in lower case, which are found in any case. */
void gr_message_push_headers(lua_State *L, const struct gr_http_head *h, const char *bytes);

/* ---- Bodies ---- */

/* A body that is being read. All zero: there is none. */
struct gr_body {
	uint8_t kind; /* enum gr_http_body of what is left to read; NONE at its end */
	int error;    /* < 0: why it could not be read, which is for good */
	int64_t left; /* bytes to come, of a body with a length */
	struct gr_chunked chunked;
	double min_rate;  /* bytes per second; one that comes slower is a GR_TIMEOUT. 0 = any rate */
	int64_t received; /* with a rate: bytes so far … */
	double waited;    /* … and seconds spent waiting for them */
};

/* Makes it ready for the body of the message with that head. */
void gr_body_begin(struct gr_body *b, const struct gr_http_head *h);

/* The next piece, 1 to `max` bytes at *p until gr_stream_done; 0 at the end; or an error, after which the connection is of
 * no use. Trailers are checked and dropped. Parks. */
ssize_t gr_body_read(struct gr_body *b, struct gr_stream *s, size_t max, double until, const char **p);

/* When reads of a body must end: each of them within `timeout` seconds, all of them by `until`. */
struct gr_body_time {
	double timeout, until;
};

/* Gathers what comes up to `max` bytes, and fails with GR_TOO_LARGE beyond that if it is to be the `whole` body. Pushes it.
 * Returns 0 or an error. Parks. */
int gr_body_gather(lua_State *L, struct gr_body *b, struct gr_stream *s, int64_t max, bool whole,
		   const struct gr_body_time *time);

/* ---- Errors ---- */

/* As gr_lua_fail, also for enum gr_http_error, whose code is "protocol". */
int gr_message_fail(lua_State *L, int rc);

/* Makes the metatable of tables of header fields. May be called again. */
void gr_message_init(lua_State *L);

#endif
