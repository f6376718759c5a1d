/* SPDX-License-Identifier: MIT */
/* What HTTP servers and clients share of messages for Lua. */
#include "bind/http_message.h"

#include <ctype.h>
#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "bind/lib_net.h"
#include "bind/luautil.h"
#include "core/hub.h"

static const char HEADERS[] = "grun.http.headers";

enum {
	TRAILERS = 32,
	SLOW_FIRST = 10, /* seconds of waiting for a body before its rate counts */
};

/* ---- Fields ---- */

static void push_value(lua_State *L, const struct gr_http_head *h, const char *bytes, int at)
{
	struct gr_slice value = gr_http_value(h, bytes, (uint32_t)at);

	lua_pushlstring(L, value.p, value.len);
}

static const char *separator(const char *name, size_t len)
{
	if (len == 6 && gr_text_same(name, "cookie", len))
		return "; ";
	return len == 10 && gr_text_same(name, "set-cookie", len) ? "\n" : ", ";
}

void gr_message_push_values(lua_State *L, const struct gr_http_head *h, const char *bytes, const char *name, size_t len,
			    int at)
{
	const char *between = separator(name, len);

	push_value(L, h, bytes, at);
	while ((at = gr_http_find(h, bytes, name, len, (uint32_t)at + 1)) >= 0) {
		lua_pushstring(L, between);
		push_value(L, h, bytes, at);
		lua_concat(L, 3);
	}
}

static void push_lower(lua_State *L, const char *p, size_t len)
{
	luaL_Buffer b;

	luaL_buffinit(L, &b);
	for (size_t i = 0; i < len; i++)
		luaL_addchar(&b, (char)tolower((unsigned char)p[i]));
	luaL_pushresult(&b);
}

/* __index of a table of headers: the name in another case. */
static int l_headers_index(lua_State *L)
{
	size_t len;
	const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tolstring(L, 2, &len) : NULL;

	if (name == NULL)
		return 0;
	push_lower(L, name, len);
	lua_rawget(L, 1);
	return 1;
}

void gr_message_push_headers(lua_State *L, const struct gr_http_head *h, const char *bytes)
{
	lua_createtable(L, 0, (int)h->nfields);
	luaL_getmetatable(L, HEADERS);
	lua_setmetatable(L, -2);
	for (uint32_t i = 0; i < h->nfields; i++) {
		struct gr_slice name = gr_http_name(h, bytes, i);

		/* Only the first of several adds them all. */
		if (gr_http_find(h, bytes, name.p, name.len, 0) != (int)i)
			continue;
		push_lower(L, name.p, name.len);
		gr_message_push_values(L, h, bytes, name.p, name.len, (int)i);
		lua_rawset(L, -3);
	}
}

/* ---- Bodies ---- */

void gr_body_begin(struct gr_body *b, const struct gr_http_head *h)
{
	memset(b, 0, sizeof(*b));
	b->kind = h->body;
	b->left = h->body == GR_BODY_LENGTH ? h->content_length : 0;
}

struct chunk_scan {
	struct gr_chunked *state;
	size_t max, data;
	bool last;
};

static ssize_t scan_chunk(void *user, const char *p, size_t n)
{
	struct chunk_scan *scan = user;
	size_t used;
	int rc = gr_chunked_next(scan->state, p, n < scan->max ? n : scan->max, &used, &scan->data);

	if (rc < 0)
		return rc;
	scan->last = rc > 0;
	return (ssize_t)used;
}

static ssize_t scan_trailers(void *user, const char *p, size_t n)
{
	return gr_http_parse_trailers(user, p, n);
}

static int read_trailers(struct gr_stream *s, double until)
{
	static const struct gr_http_limits limits = {.line = 8 << 10, .block = 8 << 10, .fields = TRAILERS};
	struct gr_http_field *fields = malloc(TRAILERS * sizeof(*fields));
	struct gr_http_head head;
	const char *p = NULL;
	ssize_t n;

	if (fields == NULL)
		return -ENOMEM;
	gr_http_head_init(&head, fields, &limits);
	n = gr_stream_scan(s, scan_trailers, &head, &until, &p);
	gr_stream_done(s);
	free(fields);
	return n > 0 ? 0 : n < 0 ? (int)n : GR_CLOSED;
}

static ssize_t read_chunk(struct gr_body *b, struct gr_stream *s, size_t max, double until, const char **p)
{
	struct chunk_scan scan = {.state = &b->chunked, .max = max};
	ssize_t n;
	int rc;

	do {
		n = gr_stream_scan(s, scan_chunk, &scan, &until, p);
		if (n <= 0)
			return n < 0 ? n : GR_CLOSED;
		if (scan.data == 0)
			gr_stream_done(s);
	} while (scan.data == 0 && !scan.last);
	*p += (size_t)n - scan.data;
	if (!scan.last)
		return (ssize_t)scan.data;
	rc = read_trailers(s, until);
	b->kind = rc == 0 ? GR_BODY_NONE : b->kind;
	return rc;
}

static ssize_t read_length(struct gr_body *b, struct gr_stream *s, size_t max, double until, const char **p)
{
	ssize_t n = gr_stream_recv(s, (int64_t)max < b->left ? max : (size_t)b->left, until, p);

	b->left -= n > 0 ? n : 0;
	b->kind = b->left == 0 ? GR_BODY_NONE : b->kind;
	return n == 0 ? GR_CLOSED : n;
}

static ssize_t read_to_close(struct gr_body *b, struct gr_stream *s, size_t max, double until, const char **p)
{
	ssize_t n = gr_stream_recv(s, max, until, p);

	b->kind = n == 0 ? GR_BODY_NONE : b->kind;
	return n;
}

static ssize_t read_kind(struct gr_body *b, struct gr_stream *s, size_t max, double until, const char **p)
{
	switch (b->kind) {
	case GR_BODY_CHUNKED:
		return read_chunk(b, s, max, until, p);
	case GR_BODY_LENGTH:
		return read_length(b, s, max, until, p);
	case GR_BODY_CLOSE:
		return read_to_close(b, s, max, until, p);
	default:
		return 0;
	}
}

/* The time between reads is the reader's own and does not count. */
static ssize_t read_at_rate(struct gr_body *b, struct gr_stream *s, size_t max, double until, const char **p)
{
	double now = gr_now(), slow = now + SLOW_FIRST + (double)b->received / b->min_rate - b->waited;
	ssize_t n = read_kind(b, s, max, slow < until ? slow : until, p);

	b->waited += gr_now() - now;
	b->received += n > 0 ? n : 0;
	return n;
}

ssize_t gr_body_read(struct gr_body *b, struct gr_stream *s, size_t max, double until, const char **p)
{
	ssize_t n;

	if (b->error < 0)
		return b->error;
	n = b->min_rate > 0 ? read_at_rate(b, s, max, until, p) : read_kind(b, s, max, until, p);
	/* Another thread reads, or this is no place to wait: that says nothing about the body. */
	if (n < 0 && n != GR_BUSY && n != GR_MISUSE)
		b->error = (int)n;
	return n;
}

static double until_of(const struct gr_body_time *time)
{
	double until = gr_until(time->timeout);

	return until < time->until ? until : time->until;
}

int gr_body_gather(lua_State *L, struct gr_body *b, struct gr_stream *s, int64_t max, bool whole,
		   const struct gr_body_time *time)
{
	int64_t got = 0;
	luaL_Buffer buffer;
	const char *p = NULL;
	ssize_t n = 0;

	if (whole && b->error == 0 && b->kind == GR_BODY_LENGTH && b->left > max)
		b->error = GR_TOO_LARGE;
	luaL_buffinit(L, &buffer);
	while (got < max || whole) {
		size_t want = whole || max - got > GR_BODY_PIECE ? GR_BODY_PIECE : (size_t)(max - got);

		n = gr_body_read(b, s, want, until_of(time), &p);
		if (n <= 0)
			break;
		got += n;
		if (got > max) {
			gr_stream_done(s);
			n = b->error = GR_TOO_LARGE;
			break;
		}
		luaL_addlstring(&buffer, p, (size_t)n);
		gr_stream_done(s);
	}
	luaL_pushresult(&buffer);
	return n < 0 ? (int)n : 0;
}

/* ---- Errors ---- */

int gr_message_fail(lua_State *L, int rc)
{
	if (rc == GR_TOO_LARGE)
		return gr_net_fail_text(L, rc, "body too large");
	if (rc >= GR_HTTP_ERROR_END || rc < GR_HTTP_NOT_HTTP)
		return gr_lua_fail(L, rc);
	lua_pushnil(L);
	lua_pushstring(L, gr_http_error_text(rc));
	lua_pushliteral(L, "protocol");
	return 3;
}

void gr_message_init(lua_State *L)
{
	luaL_newmetatable(L, HEADERS);
	lua_pushcfunction(L, l_headers_index);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}
