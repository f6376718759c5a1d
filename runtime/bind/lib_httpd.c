/* SPDX-License-Identifier: MIT */
/* HTTP servers for Lua: the life of a connection. */
#include "bind/lib_httpd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "bind/lib_net.h"
#include "bind/luautil.h"
#include "core/hub.h"
#include "http/proxy.h"

static const char CONN_CLASS[] = "grun.http.state", CONFIG_CLASS[] = "grun.http.config";

enum {
	FIELDS_LIMIT = 1024,   /* what max_headers may be set to */
	LINGER = 2,            /* seconds, and … */
	LINGER_MAX = 16 << 20, /* … bytes that are taken from a client which has not read our response */
	LINGER_PIECE = 64 << 10,
	LOGGED_LINE = 1000, /* bytes of what was no request */
	SEND_FIRST = -EINPROGRESS,
};

/* ---- Configuration ---- */

static double opt_seconds(lua_State *L, const char *name)
{
	double seconds;

	lua_getfield(L, 1, name);
	seconds = lua_isnil(L, -1) ? INFINITY : lua_tonumber(L, -1);
	lua_pop(L, 1);
	return seconds;
}

static double number_field(lua_State *L, const char *name)
{
	double n;

	lua_getfield(L, 1, name);
	n = lua_tonumber(L, -1);
	lua_pop(L, 1);
	return n;
}

static void copy_field(lua_State *L, const char *name, char *out, size_t size)
{
	const char *text;

	lua_getfield(L, 1, name);
	text = lua_tostring(L, -1);
	snprintf(out, size, "%s", text ? text : "");
	lua_pop(L, 1);
}

/* config(table): lualib/grun/http/server.lua has checked all values. */
static int l_config(lua_State *L)
{
	struct gr_httpd_config *c;

	luaL_checktype(L, 1, LUA_TTABLE);
	c = lua_newuserdata(L, sizeof(*c));
	memset(c, 0, sizeof(*c));
	c->class = CONFIG_CLASS;
	c->header_timeout = opt_seconds(L, "header_timeout");
	c->idle_timeout = opt_seconds(L, "idle_timeout");
	c->body_timeout = opt_seconds(L, "body_timeout");
	c->write_timeout = opt_seconds(L, "write_timeout");
	c->limits.line = (uint32_t)number_field(L, "max_line");
	c->limits.block = (uint32_t)number_field(L, "max_header");
	c->limits.fields = (uint32_t)number_field(L, "max_headers");
	c->limits.fields = c->limits.fields > FIELDS_LIMIT ? FIELDS_LIMIT : c->limits.fields;
	c->max_body = (int64_t)number_field(L, "max_body");
	c->max_requests = (uint32_t)number_field(L, "max_requests");
	c->trusted = (unsigned)number_field(L, "trust_proxy");
	c->min_rate = number_field(L, "min_rate");
	c->gzip = (int)number_field(L, "gzip");
	if (c->gzip)
		gr_httpd_gzip_load(L);
	c->gzip_min = (int64_t)number_field(L, "gzip_min");
	copy_field(L, "gzip_types", c->gzip_types, sizeof(c->gzip_types));
	copy_field(L, "server_header", c->server, sizeof(c->server));
	lua_getfield(L, 1, "https");
	c->https = lua_toboolean(L, -1);
	c->arguments = (int)number_field(L, "arguments");
	lua_getfield(L, 1, "proxy_protocol");
	c->proxy_protocol = lua_toboolean(L, -1);
	lua_settop(L, 2);
	return 1;
}

static struct gr_httpd_config *check_config(lua_State *L, int idx)
{
	struct gr_httpd_config *c = lua_touserdata(L, idx);

	if (c == NULL || lua_objlen(L, idx) != sizeof(*c) || c->class != CONFIG_CLASS)
		luaL_argerror(L, idx, "configuration expected");
	return c;
}

/* stop(config): from now on each response is the last on its connection. */
static int l_stop(lua_State *L)
{
	check_config(L, 1)->stopping = true;
	return 0;
}

/* ---- Connections ---- */

static struct gr_httpd_conn *check_conn(lua_State *L)
{
	struct gr_httpd_conn *c = lua_touserdata(L, 1);

	if (c == NULL || lua_objlen(L, 1) != sizeof(*c) || c->class != CONN_CLASS)
		luaL_argerror(L, 1, "state of a connection expected");
	return c;
}

static int l_conn_gc(lua_State *L)
{
	struct gr_httpd_conn *c = check_conn(L);

	gr_httpd_unhold(c);
	gr_httpd_gzip_free(c);
	free(c->out);
	c->out = NULL;
	return 0;
}

/* open(conn, config) -> state */
static int l_open(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	const struct gr_httpd_config *config = check_config(L, 2);
	struct gr_httpd_conn *c = lua_newuserdata(L, sizeof(*c));

	memset(c, 0, sizeof(*c));
	c->class = CONN_CLASS;
	c->stream = s;
	c->config = config;
	c->idle = true;
	c->idle_since = gr_now();
	c->keep = true;
	c->reply = GR_REPLY_DONE;
	if (s->fd < 0 || gr_sock_peer(s->fd, &c->peer) < 0)
		c->peer.len = 0;
	luaL_getmetatable(L, CONN_CLASS);
	lua_setmetatable(L, -2);
	lua_createtable(L, GR_HTTPD_KNOWN, 1);
	lua_pushvalue(L, 1);
	lua_rawseti(L, -2, GR_HTTPD_CONN);
	lua_pushvalue(L, 3);
	lua_rawseti(L, -2, GR_HTTPD_STATE);
	lua_pushboolean(L, 0);
	lua_rawseti(L, -2, GR_HTTPD_REQUEST);
	lua_pushboolean(L, 0);
	lua_rawseti(L, -2, GR_HTTPD_FIELDS);
	lua_pushvalue(L, 2);
	lua_setfield(L, -2, "config");
	lua_setfenv(L, 3);
	return 1;
}

/* ---- PROXY protocol ---- */

static ssize_t scan_proxy(void *user, const char *p, size_t n)
{
	return gr_proxy_parse(user, p, n);
}

/* Reads the header that the connection begins with. Returns 1, 0 at the end, or an error. */
static int read_proxy(struct gr_httpd_conn *c)
{
	double until = gr_until(c->config->header_timeout);
	struct gr_proxy proxy;
	const char *p;
	ssize_t n = gr_stream_scan(c->stream, scan_proxy, &proxy, &until, &p);

	gr_stream_done(c->stream);
	if (n > 0 && !proxy.local)
		c->peer = proxy.from;
	return n > 0 ? 1 : (int)n;
}

/* ---- One head ---- */

/* Fields of the head that is being parsed. Most heads come in one piece; one that does not gets a list of its own, since
 * other connections use this one meanwhile. */
static struct gr_http_field shared_fields[FIELDS_LIMIT];

struct head_scan {
	struct gr_httpd_conn *conn;
	struct gr_http_head head;
	struct gr_http_field *own;
	double until;
};

/* SEND_FIRST: the rest has to be waited for, and the client maybe waits for the answers that are collected. */
static ssize_t scan_head(void *user, const char *p, size_t n)
{
	struct head_scan *scan = user;
	struct gr_http_head *h = &scan->head;
	const struct gr_httpd_known *known = scan->conn->known;
	ssize_t len;

	scan->conn->idle = false;
	if (known)
		gr_http_head_knows(h, &known->head, known->bytes);
	len = gr_http_parse_request(h, p, n);
	h->known = NULL;
	if (len == 0 && scan->own == NULL) {
		scan->until = gr_until(scan->conn->config->header_timeout);
		scan->own = malloc(h->limits->fields * sizeof(*scan->own));
		if (scan->own == NULL)
			return -ENOMEM;
		memcpy(scan->own, shared_fields, h->nfields * sizeof(*scan->own));
		h->fields = scan->own;
	}
	return len == 0 && scan->conn->out_len > 0 ? SEND_FIRST : len;
}

static void free_scan(struct head_scan *scan)
{
	free(scan->own);
}

static void begin_request(struct gr_httpd_conn *c, const struct gr_http_head *h)
{
	c->turn++;
	c->keep = h->keep_alive && !(c->config->max_requests && c->turn >= c->config->max_requests);
	c->want_continue = h->want_continue;
	gr_body_begin(&c->body, h);
	c->body.min_rate = c->config->min_rate;
	c->fallback = 0;
	c->method = h->method;
	c->minor = h->minor;
	c->reply = GR_REPLY_OPEN;
	c->status = 0;
	c->nfields = 0;
	c->sent = 0;
	c->to_send = 0;
	c->compress = c->config->gzip;
	c->began = c->logged ? gr_now() : 0;
}

/* Answers what was no request. */
static void refuse(struct gr_httpd_conn *c, int rc)
{
	c->keep = false;
	c->refused = true;
	c->reply = GR_REPLY_OPEN;
	c->method = GR_METHOD_OTHER;
	c->minor = 1;
	c->nfields = 0;
	if (rc == GR_TIMEOUT)
		gr_httpd_send_status(c, 408, NULL);
	else if (rc < GR_HTTP_ERROR_END)
		gr_httpd_send_status(c, gr_http_error_status(rc), gr_http_error_text(rc));
}

/* Pushes the first line of what was received and could not be used, for the log. */
static void push_line(lua_State *L, const struct gr_stream *s)
{
	size_t n = s->len < LOGGED_LINE ? s->len : LOGGED_LINE;
	const char *end = n > 0 ? memchr(s->data, '\n', n) : NULL;

	n = end ? (size_t)(end - s->data) : n;
	lua_pushlstring(L, n > 0 ? s->data : "", n > 0 && s->data[n - 1] == '\r' ? n - 1 : n);
}

void gr_httpd_push_peer(lua_State *L, const struct gr_httpd_conn *c)
{
	if (c->peer.len > 0)
		gr_net_push_addr(L, &c->peer);
	else
		lua_pushnil(L);
}

/* The same, and tells the log. Stack: 1 state, 3 log or nil, on top the line. */
static void refuse_and_log(lua_State *L, struct gr_httpd_conn *c, int rc)
{
	int line = lua_gettop(L);

	c->status = 0;
	c->sent = 0;
	refuse(c, rc);
	if (c->logged && c->status) {
		lua_pushvalue(L, 3);
		lua_pushvalue(L, 1);
		lua_pushnil(L);
		lua_pushinteger(L, c->status);
		lua_pushnumber(L, (lua_Number)c->sent);
		lua_pushnumber(L, 0);
		gr_httpd_push_peer(L, c);
		lua_pushvalue(L, line);
		lua_call(L, 7, 0);
	}
}

/* Waits for the next request, which is in the environment then, or can be made. Returns 1, 0 when there is none any more, or
 * an error. */
static int next_request(lua_State *L, struct gr_httpd_conn *c, int env)
{
	struct head_scan scan __attribute__((cleanup(free_scan))) = {.conn = c};
	const char *p;
	ssize_t n;
	bool idle;

	c->idle = true;
	c->idle_since = gr_now_roughly();
	scan.until = c->idle_since + c->config->idle_timeout;
	gr_http_head_init(&scan.head, shared_fields, &c->config->limits);
	do
		n = gr_stream_scan(c->stream, scan_head, &scan, &scan.until, &p);
	while (n == SEND_FIRST && (n = gr_httpd_flush(c)) == 0);
	idle = c->idle;
	c->idle = false;
	if (n <= 0) {
		push_line(L, c->stream);
		gr_stream_done(c->stream);
		if (!idle && n < 0)
			refuse_and_log(L, c, (int)n);
		if (idle && n == GR_TIMEOUT && gr_sock_unacked(c->stream->fd) > 0)
			gr_stream_break(c->stream);
		return idle && (n == GR_TIMEOUT || n == GR_CLOSED) ? 0 : (int)n;
	}
	begin_request(c, &scan.head);
	if (c->turn > 1 && !scan.head.all_known)
		gr_httpd_remember(L, c, &scan.head, p, (size_t)n, env);
	gr_httpd_take_request(L, c, &scan.head, p, (size_t)n, env);
	gr_stream_done(c->stream);
	return 1;
}

/* ---- The loop ---- */

/* Errors that end a connection are no accidents, except those that must be raised. */
static bool is_raised(int rc)
{
	return rc == GR_CANCELED || rc == GR_DEADLINE || rc == GR_MISUSE;
}

static int end_of_connection(lua_State *L, int rc)
{
	return is_raised(rc) ? gr_lua_fail(L, rc) : 0;
}

/* Stack: 1 state, 3 log or nil, 4 environment. Calls the log. */
static void log_response(lua_State *L, struct gr_httpd_conn *c)
{
	lua_pushvalue(L, 3);
	lua_pushvalue(L, 1);
	gr_httpd_push_present(L, c, 4);
	lua_pushinteger(L, c->status);
	lua_pushnumber(L, (lua_Number)c->sent);
	lua_pushnumber(L, gr_now() - c->began);
	lua_call(L, 5, 0);
}

/* Ends a request whose response is complete. Returns whether another one may follow. */
static bool end_request(lua_State *L, struct gr_httpd_conn *c)
{
	if (c->logged)
		log_response(L, c);
	c->busy = false;
	if (c->made) {
		c->made = false;
		lua_pushboolean(L, 0);
		lua_rawseti(L, 4, GR_HTTPD_REQUEST);
	}
	if (c->taken || !c->keep)
		return false;
	return c->body.kind == GR_BODY_NONE || gr_httpd_skip_body(c);
}

/* Pushes what the handler takes; index 4 is the environment. Returns how many values that is. */
static int push_arguments(lua_State *L, struct gr_httpd_conn *c)
{
	int n = c->config->arguments;

	if (n > 0)
		gr_httpd_push_present(L, c, 4);
	if (n > 1)
		gr_httpd_push_response(L, c, 4);
	return n;
}

/* run(state, handler [, log]): serves requests until the connection is to be closed. Errors of the handler come out.
 * log(state, request, status, bytes, seconds), or, for what was no request, log(state, nil, status, bytes, 0, peer, line). */
static int l_run(lua_State *L)
{
	struct gr_httpd_conn *c = check_conn(L);
	int rc = gr_lua_enter_wait(L);

	if (rc)
		return rc;
	lua_settop(L, 3);
	lua_getfenv(L, 1);
	c->logged = !lua_isnil(L, 3);
	if (c->config->proxy_protocol && c->turn == 0) {
		rc = read_proxy(c);
		if (rc <= 0)
			return end_of_connection(L, rc);
	}
	do {
		rc = next_request(L, c, 4);
		if (rc <= 0)
			return end_of_connection(L, rc);
		lua_pushvalue(L, 2);
		lua_call(L, push_arguments(L, c), LUA_MULTRET);
		rc = gr_httpd_finish(L, c, 4, 5);
		lua_settop(L, 4);
		if (rc < 0) {
			if (c->logged && !is_raised(rc))
				log_response(L, c);
			return end_of_connection(L, rc);
		}
	} while (end_request(L, c));
	rc = gr_httpd_flush(c);
	return end_of_connection(L, rc);
}

/* fail(state, log, status): after an error of the handler. Answers with that status, or with what was wrong with the
 * request's body, if nothing was sent yet, breaks the connection off if a part was; a response that is complete stays what
 * it is. Returns true if run may go on. */
static int l_fail(lua_State *L)
{
	struct gr_httpd_conn *c = check_conn(L);
	int given = (int)luaL_checkinteger(L, 3), status = c->fallback ? c->fallback : given;

	gr_httpd_take_back(c);
	lua_settop(L, 3);
	lua_pushvalue(L, 2);
	lua_replace(L, 3);
	lua_getfenv(L, 1);
	if (c->reply == GR_REPLY_OPEN) {
		c->nfields = 0;
		if (gr_httpd_send_status(c, status, NULL) < 0)
			c->keep = false;
	} else if (c->reply == GR_REPLY_STARTED || !c->busy) {
		c->keep = false;
	}
	lua_pushboolean(L, end_request(L, c));
	return 1;
}

/* abandon(state): nothing more is sent of the present response. */
static int l_abandon(lua_State *L)
{
	gr_httpd_take_back(check_conn(L));
	return 0;
}

/* linger(state): before the connection is closed. The kernel answers bytes that nobody read with a reset, which may overtake
 * our response: so the client is told that nothing more comes, and what it still sends is dropped for a while. */
static int l_linger(lua_State *L)
{
	struct gr_httpd_conn *c = check_conn(L);
	double until = gr_until(LINGER);
	size_t budget = LINGER_MAX;
	const char *p;
	ssize_t n;
	int rc;

	if (c->taken || c->stream->broken || c->stream->fd < 0 ||
	    (!c->refused && c->body.kind == GR_BODY_NONE && c->stream->len == 0))
		return 0;
	rc = gr_lua_enter_wait(L);
	if (rc || gr_stream_shutdown(c->stream, SHUT_WR) < 0)
		return 0;
	do {
		n = gr_stream_recv(c->stream, LINGER_PIECE, until, &p);
		gr_stream_done(c->stream);
		budget -= n > 0 && (size_t)n < budget ? (size_t)n : 0;
	} while (n > 0 && budget > LINGER_PIECE);
	return n == GR_CANCELED || n == GR_DEADLINE ? gr_lua_fail(L, (int)n) : 0;
}

/* request(state) -> the present request, or false. */
static int l_request(lua_State *L)
{
	struct gr_httpd_conn *c = check_conn(L);

	lua_settop(L, 1);
	lua_getfenv(L, 1);
	gr_httpd_push_present(L, c, 2);
	return 1;
}

/* field(state, name) -> a field that the handler has set of the present response, or nil. */
static int l_field(lua_State *L)
{
	return gr_httpd_push_field(L, check_conn(L));
}

/* idle_since(state) -> when the connection began to wait for a request; nil when it does not. */
static int l_idle_since(lua_State *L)
{
	const struct gr_httpd_conn *c = check_conn(L);

	if (!c->idle || c->stream->len > 0)
		return 0;
	lua_pushnumber(L, c->idle_since);
	return 1;
}

/* is_idle(state): no byte of a next request has come. */
static int l_is_idle(lua_State *L)
{
	const struct gr_httpd_conn *c = check_conn(L);

	lua_pushboolean(L, c->idle && c->stream->len == 0 && !gr_stream_readable(c->stream));
	return 1;
}

static const luaL_Reg functions[] = {
	{"config", l_config},
	{"stop", l_stop},
	{"open", l_open},
	{"run", l_run},
	{"fail", l_fail},
	{"abandon", l_abandon},
	{"linger", l_linger},
	{"request", l_request},
	{"field", l_field},
	{"is_idle", l_is_idle},
	{"idle_since", l_idle_since},
	{"response", gr_httpd_l_response},
	{"parse_query", gr_httpd_l_parse_query},
	{NULL, NULL},
};

/* The methods of a class, for lualib/grun/http to add to. */
static void set_methods(lua_State *L, const char *name, const char *class)
{
	luaL_getmetatable(L, class);
	lua_getfield(L, -1, "methods");
	lua_setfield(L, -3, name);
	lua_pop(L, 1);
}

int luaopen_grun_core_httpd(lua_State *L)
{
	gr_httpd_request_init(L);
	gr_httpd_response_init(L);
	luaL_newmetatable(L, CONN_CLASS);
	lua_pushcfunction(L, l_conn_gc);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
	lua_newtable(L);
	for (const luaL_Reg *f = functions; f->name; f++) {
		lua_pushcfunction(L, f->func);
		lua_setfield(L, -2, f->name);
	}
	set_methods(L, "request_methods", "grun.http.request");
	set_methods(L, "response_methods", "grun.http.response");
	return 1;
}
