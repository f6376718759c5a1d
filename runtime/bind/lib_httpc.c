/* SPDX-License-Identifier: MIT */
/* HTTP clients for Lua: heads of requests, heads of responses, bodies of responses. Sending: lib_httpc_send.c. */
#include "bind/lib_httpc.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bind/http_message.h"
#include "bind/lib_net.h"
#include "bind/luautil.h"
#include "http/write.h"

static const char CLASS[] = "grun.http.incoming";

enum {
	FIELDS_LIMIT = 1024, /* of a request */
};

/* What is left of a response whose head was read. A userdata; its environment keeps the connection. */
struct incoming {
	const char *class;
	struct gr_stream *stream;
	struct gr_body body;
	struct gr_body_time time;
};

/* ---- Heads of requests ---- */

static struct gr_slice check_slice(lua_State *L, int idx)
{
	struct gr_slice s;

	s.p = luaL_checklstring(L, idx, &s.len);
	return s;
}

/* The list of name, value, name, value … at idx, as a userdata that is pushed. The strings stay in the list. */
static const struct gr_http_pair *check_fields(lua_State *L, int idx, size_t *n)
{
	struct gr_http_pair *list;

	luaL_checktype(L, idx, LUA_TTABLE);
	*n = lua_objlen(L, idx) / 2;
	luaL_argcheck(L, *n <= FIELDS_LIMIT, idx, "too many header fields");
	list = lua_newuserdata(L, (*n + 1) * sizeof(*list));
	for (size_t i = 0; i < *n; i++) {
		lua_rawgeti(L, idx, (int)(2 * i + 1));
		lua_rawgeti(L, idx, (int)(2 * i + 2));
		luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING && lua_type(L, -2) == LUA_TSTRING, idx,
			      "strings expected");
		list[i].name.p = lua_tolstring(L, -2, &list[i].name.len);
		list[i].value.p = lua_tolstring(L, -1, &list[i].value.len);
		lua_pop(L, 2);
	}
	return list;
}

/* head(method, target, host, fields, length | nil, keep_alive) -> text, length | nil; or nil, message for what must not be
 * sent. Without a length the body is to be sent chunked. */
static int l_head(lua_State *L)
{
	struct gr_http_request r = {
		.method = check_slice(L, 1),
		.target = check_slice(L, 2),
		.host = check_slice(L, 3),
		.length = lua_isnil(L, 5) ? -1 : (int64_t)luaL_checknumber(L, 5),
		.keep_alive = lua_toboolean(L, 6),
	};
	size_t bound;
	char *text;
	ssize_t n;

	r.fields = check_fields(L, 4, &r.nfields);
	bound = gr_http_request_bound(&r);
	text = lua_newuserdata(L, bound);
	n = gr_http_write_request(&r, text, bound);
	if (n < 0) {
		lua_pushnil(L);
		lua_pushstring(L, gr_http_error_text((int)n));
		return 2;
	}
	lua_pushlstring(L, text, (size_t)n);
	if (r.body == GR_BODY_CHUNKED)
		return 1;
	lua_pushnumber(L, (lua_Number)r.length);
	return 2;
}

/* chunk(n) -> the line before a chunk of n bytes */
static int l_chunk(lua_State *L)
{
	lua_Number n = luaL_checknumber(L, 1);
	char text[GR_CHUNK_HEAD_MAX];

	luaL_argcheck(L, n >= 1 && n < 9e15, 1, "count out of range");
	lua_pushlstring(L, text, gr_chunk_head(text, (size_t)n));
	return 1;
}

/* ---- Heads of responses ---- */

struct head_scan {
	struct gr_http_head head;
	struct gr_http_limits limits;
	struct gr_http_field *fields;
	enum gr_http_method method;
	bool began;  /* a byte came */
	int interim; /* number of 1xx responses */
};

static void free_scan(struct head_scan *scan)
{
	free(scan->fields);
}

static ssize_t scan_head(void *user, const char *p, size_t n)
{
	struct head_scan *scan = user;

	scan->began = true;
	return gr_http_parse_response(&scan->head, p, n, scan->method);
}

/* The number in field `name` of the table at idx. */
static double number_field(lua_State *L, int idx, const char *name)
{
	double n;

	lua_getfield(L, idx, name);
	n = lua_isnil(L, -1) ? INFINITY : lua_tonumber(L, -1);
	lua_pop(L, 1);
	return n;
}

static void set_limits(lua_State *L, int idx, struct gr_http_limits *limits)
{
	double fields = number_field(L, idx, "max_headers"), block = number_field(L, idx, "max_header");

	limits->line = 8 << 10;
	limits->fields = fields <= FIELDS_LIMIT ? (uint32_t)fields : FIELDS_LIMIT;
	limits->block = block <= 1 << 20 ? (uint32_t)block : 1 << 20;
}

/* Reads heads up to that of the final response. Returns its length, with its bytes at *p until gr_stream_done, or an error:
 * GR_CLOSED also for the end of the stream. */
static ssize_t read_head(struct gr_stream *s, struct head_scan *scan, double until, const char **p)
{
	while (scan->interim <= GR_HTTPC_INTERIM) {
		ssize_t n;

		gr_http_head_init(&scan->head, scan->fields, &scan->limits);
		n = gr_stream_scan(s, scan_head, scan, &until, p);
		if (n <= 0)
			return n < 0 ? n : GR_CLOSED;
		if (scan->head.status >= 200 || scan->head.status == 101)
			return n;
		gr_stream_done(s);
		scan->interim++;
	}
	return GR_HTTP_BAD_STATUS;
}

static int fail_head(lua_State *L, int rc, const struct head_scan *scan)
{
	if (scan->interim > GR_HTTPC_INTERIM) {
		lua_pushnil(L);
		lua_pushliteral(L, "too many interim responses");
		lua_pushliteral(L, "protocol");
	} else {
		gr_message_fail(L, rc);
	}
	lua_pushboolean(L, scan->began);
	return 4;
}

/* Pushes the object that reads the body. */
static void push_incoming(lua_State *L, struct gr_stream *s, const struct gr_http_head *head, int options)
{
	struct incoming *in = lua_newuserdata(L, sizeof(*in));

	memset(in, 0, sizeof(*in));
	in->class = CLASS;
	in->stream = s;
	in->time.timeout = number_field(L, options, "read_timeout");
	in->time.until = number_field(L, options, "until");
	gr_body_begin(&in->body, head);
	luaL_getmetatable(L, CLASS);
	lua_setmetatable(L, -2);
	lua_createtable(L, 1, 0);
	lua_pushvalue(L, 1);
	lua_rawseti(L, -2, 1);
	lua_setfenv(L, -2);
}

/* receive(conn, method, options) -> status, reason, headers, whether the connection may go on, incoming | nil without a
 * body, minor version. Or nil, message, code and whether a byte came. Options: read_timeout (seconds), until (time of
 * grun.now() by which the whole response must be there), max_header, max_headers. Parks. */
static int l_receive(lua_State *L)
{
	struct head_scan scan __attribute__((cleanup(free_scan))) = {.interim = 0};
	struct gr_stream *s = gr_conn_check(L);
	struct gr_slice method = check_slice(L, 2);
	struct gr_http_head *h = &scan.head;
	double until, total;
	const char *p = NULL;
	ssize_t n;
	int rc;

	luaL_checktype(L, 3, LUA_TTABLE);
	scan.method = gr_http_method(method.p, method.len);
	set_limits(L, 3, &scan.limits);
	total = number_field(L, 3, "until");
	rc = gr_lua_enter_wait(L);
	if (rc)
		return rc;
	scan.fields = malloc(scan.limits.fields * sizeof(*scan.fields));
	if (scan.fields == NULL)
		return gr_lua_fail(L, -ENOMEM);
	until = gr_until(number_field(L, 3, "read_timeout"));
	n = read_head(s, &scan, until < total ? until : total, &p);
	if (n < 0) {
		gr_stream_done(s);
		return fail_head(L, (int)n, &scan);
	}
	lua_pushinteger(L, h->status);
	lua_pushlstring(L, p + h->reason.off, h->reason.len);
	gr_message_push_headers(L, h, p);
	gr_stream_done(s);
	lua_pushboolean(L, h->keep_alive && h->status != 101);
	if (h->body == GR_BODY_NONE)
		lua_pushnil(L);
	else
		push_incoming(L, s, h, 3);
	lua_pushinteger(L, h->minor);
	return 6;
}

/* is_idle(conn): it is open, and nothing came: no bytes, no end. */
static int l_is_idle(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);

	lua_pushboolean(L, s->fd >= 0 && !gr_stream_readable(s));
	return 1;
}

/* ---- Bodies of responses ---- */

static struct incoming *check_incoming(lua_State *L)
{
	struct incoming *in = lua_touserdata(L, 1);

	if (in == NULL || lua_objlen(L, 1) != sizeof(*in) || in->class != CLASS)
		luaL_argerror(L, 1, "body of a response expected");
	return in;
}

/* read([max]) -> the next piece, at most `max` bytes, and whether it is known to be the last one | nil at the end | nil,
 * message, code. Parks. */
static int l_incoming_read(lua_State *L)
{
	struct incoming *in = check_incoming(L);
	lua_Number max = luaL_optnumber(L, 2, GR_BODY_PIECE);
	double until;
	const char *p = NULL;
	ssize_t n;
	int rc;

	luaL_argcheck(L, max >= 1 && max <= GR_BODY_PIECE, 2, "count out of range");
	rc = gr_lua_enter_try(L);
	if (rc)
		return rc;
	until = gr_until(in->time.timeout);
	until = until < in->time.until ? until : in->time.until;
	n = gr_body_read(&in->body, in->stream, (size_t)max, until, &p);
	if (n <= 0)
		return n < 0 ? gr_message_fail(L, (int)n) : 0;
	lua_pushlstring(L, p, (size_t)n);
	gr_stream_done(in->stream);
	lua_pushboolean(L, in->body.kind == GR_BODY_NONE);
	return 2;
}

/* gather(max) -> the whole body | nil, message, code. Parks. */
static int l_incoming_gather(lua_State *L)
{
	struct incoming *in = check_incoming(L);
	lua_Number max = luaL_checknumber(L, 2);
	int rc = gr_lua_enter_try(L);

	if (rc)
		return rc;
	rc = gr_body_gather(L, &in->body, in->stream, max < 1e15 ? (int64_t)max : (int64_t)1e15, true, &in->time);
	return rc < 0 ? gr_message_fail(L, rc) : 1;
}

/* ---- The module ---- */

static const luaL_Reg functions[] = {
	{"head", l_head},
	{"chunk", l_chunk},
	{"receive", l_receive},
	{"is_idle", l_is_idle},
	{NULL, NULL},
};

static const luaL_Reg methods[] = {
	{"read", l_incoming_read},
	{"gather", l_incoming_gather},
	{NULL, NULL},
};

static void set_functions(lua_State *L, const luaL_Reg *f)
{
	for (; f->name; f++) {
		lua_pushcfunction(L, f->func);
		lua_setfield(L, -2, f->name);
	}
}

int luaopen_grun_core_httpc(lua_State *L)
{
	gr_message_init(L);
	luaL_newmetatable(L, CLASS);
	set_functions(L, methods);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
	lua_newtable(L);
	set_functions(L, functions);
	set_functions(L, gr_httpc_sending);
	return 1;
}
