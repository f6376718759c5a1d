/* SPDX-License-Identifier: MIT */
/* WebSockets for Lua: both sides of the handshake. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "bind/http_message.h"
#include "bind/lib_httpd.h"
#include "bind/lib_net.h"
#include "bind/lib_websocket.h"
#include "bind/luautil.h"
#include "http/field.h"
#include "http/websocket.h"
#include "http/write.h"

enum {
	FIELDS = 64,    /* of a request, ours included */
	OWN_FIELDS = 4, /* of these */
	INTERIM = 8,    /* responses before the one that counts */
};

static struct gr_slice slice(const char *text)
{
	return (struct gr_slice){text, strlen(text)};
}

static struct gr_slice check_slice(lua_State *L, int idx)
{
	struct gr_slice s;

	s.p = luaL_checklstring(L, idx, &s.len);
	return s;
}

/* ---- Servers ---- */

static bool wants_websocket(const struct gr_http_head *h, const char *buf)
{
	struct gr_slice list = gr_http_slice(buf, h->protocol), item;

	while (h->upgrade && gr_list_next(&list, &item))
		if (gr_slice_is(item, "websocket"))
			return true;
	return false;
}

static int has_version_13(const struct gr_http_head *h, const char *buf)
{
	int at = gr_http_find(h, buf, "Sec-WebSocket-Version", 21, 0);

	return at >= 0 && gr_slice_is(gr_http_value(h, buf, (uint32_t)at), "13");
}

/* request(req) -> response, value of Sec-WebSocket-Accept; or the status that answers it when it asks for no WebSocket of
 * this version: response, nil, status. */
int gr_ws_l_request(lua_State *L)
{
	const struct gr_httpd_request *r = gr_httpd_check_request(L);
	const struct gr_http_head *h = r->head;
	char accept[GR_WEBSOCKET_ACCEPT];
	struct gr_slice key;

	if (r->turn != r->conn->turn || r->conn->reply != GR_REPLY_OPEN)
		return luaL_error(L, "the request has been answered");
	gr_httpd_push_env(L, r);
	gr_httpd_push_response(L, r->conn, lua_gettop(L));
	if (gr_websocket_request(h, r->bytes, &key)) {
		gr_websocket_accept(key.p, accept);
		lua_pushlstring(L, accept, sizeof(accept));
		return 2;
	}
	lua_pushnil(L);
	lua_pushinteger(L, wants_websocket(h, r->bytes) && has_version_13(h, r->bytes) ? 400 : 426);
	return 3;
}

/* ---- Clients ---- */

static void free_bytes(char **p)
{
	free(*p);
}

/* The fields from the list at idx: name, value, name, value …, and ours. Returns their number. */
static size_t collect_fields(lua_State *L, int idx, struct gr_http_pair *fields, const char *key)
{
	size_t n = lua_objlen(L, idx) / 2;

	luaL_argcheck(L, n <= FIELDS - OWN_FIELDS, idx, "too many headers");
	luaL_checkstack(L, (int)(2 * n), "too many headers");
	for (size_t i = 0; i < n; i++) {
		lua_rawgeti(L, idx, (int)(2 * i + 1));
		lua_rawgeti(L, idx, (int)(2 * i + 2));
		fields[i] = (struct gr_http_pair){check_slice(L, -2), check_slice(L, -1)};
	}
	fields[n++] = (struct gr_http_pair){slice("Upgrade"), slice("websocket")};
	fields[n++] = (struct gr_http_pair){slice("Connection"), slice("Upgrade")};
	fields[n++] = (struct gr_http_pair){slice("Sec-WebSocket-Version"), slice("13")};
	fields[n++] = (struct gr_http_pair){slice("Sec-WebSocket-Key"), {key, GR_WEBSOCKET_KEY}};
	return n;
}

/* Arguments as of connect(). Makes the request's head, *text on the heap. Returns its length or an error. */
static __attribute__((noinline)) ssize_t make_request(lua_State *L, const char *key, char **text)
{
	struct gr_http_pair fields[FIELDS];
	struct gr_http_request r = {
		.method = slice("GET"),
		.target = check_slice(L, 3),
		.host = check_slice(L, 2),
		.fields = fields,
		.nfields = collect_fields(L, 4, fields, key),
		.keep_alive = true,
	};
	size_t bound = gr_http_request_bound(&r);

	*text = malloc(bound);
	return *text ? gr_http_write_request(&r, *text, bound) : -ENOMEM;
}

static int send_request(lua_State *L, struct gr_stream *s, const char *key, double until)
{
	char *text __attribute__((cleanup(free_bytes))) = NULL;
	ssize_t n = make_request(L, key, &text);
	size_t sent = 0;
	int rc = n < 0 ? (int)n : gr_stream_begin_write(s, until);

	if (rc < 0)
		return rc;
	rc = gr_stream_write(s, text, (size_t)n, until, &sent);
	gr_stream_end_write(s);
	return rc;
}

static ssize_t scan_head(void *user, const char *p, size_t n)
{
	return gr_http_parse_response(user, p, n, GR_METHOD_GET);
}

/* Pushes the values of a field, or nil. */
static void push_field(lua_State *L, const struct gr_http_head *h, const char *buf, const char *name)
{
	int at = gr_http_find(h, buf, name, strlen(name), 0);

	if (at < 0)
		lua_pushnil(L);
	else
		gr_message_push_values(L, h, buf, name, strlen(name), at);
}

static int fail_http(lua_State *L, int rc)
{
	if (rc >= GR_HTTP_ERROR_END || rc < GR_HTTP_NOT_HTTP)
		return gr_lua_fail(L, rc == 0 ? GR_CLOSED : rc);
	lua_pushnil(L);
	lua_pushstring(L, gr_http_error_text(rc));
	lua_pushliteral(L, "protocol");
	return 3;
}

/* Reads the head that answers the request. Returns its length, 0 at the end of the stream, or an error; gr_stream_done
 * has to follow then. */
static ssize_t read_head(struct gr_stream *s, struct gr_http_head *h, struct gr_http_field *list, double until,
			 const char **p)
{
	ssize_t n = 0;

	for (int i = 0; i < INTERIM; i++) {
		gr_http_head_init(h, list, &gr_http_limits);
		n = gr_stream_scan(s, scan_head, h, &until, p);
		if (n <= 0 || h->status == 101 || h->status >= 200)
			return n;
		gr_stream_done(s);
	}
	return GR_PROTOCOL;
}

/* Pushes what connect() returns. */
static int push_response(lua_State *L, const struct gr_http_head *h, const char *p, const char *key)
{
	if (h->status != 101) {
		lua_pushnil(L);
		lua_pushfstring(L, "the server answered %d", h->status);
		lua_pushliteral(L, "protocol");
		lua_pushinteger(L, h->status);
		return 4;
	}
	if (!gr_websocket_response(h, p, key)) {
		lua_pushnil(L);
		lua_pushliteral(L, "the server's handshake is wrong");
		lua_pushliteral(L, "protocol");
		return 3;
	}
	lua_pushboolean(L, 1);
	push_field(L, h, p, "Sec-WebSocket-Protocol");
	push_field(L, h, p, "Sec-WebSocket-Extensions");
	return 3;
}

/* connect(conn, host, target, fields, seconds) -> true, subprotocol or nil, extensions or nil; or nil, message, code and
 * perhaps the response's status. `fields` is a list name, value, name, value … Parks. */
int gr_ws_l_connect(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	struct gr_http_field list[100];
	char random[16], key[GR_WEBSOCKET_KEY];
	struct gr_http_head h;
	double until;
	const char *p;
	ssize_t n;
	int rc;

	luaL_checktype(L, 4, LUA_TTABLE);
	until = gr_lua_opt_until(L, 5);
	rc = gr_lua_enter_try(L);
	if (rc)
		return rc;
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return gr_lua_fail(L, -errno);
	gr_websocket_key(random, key);
	rc = send_request(L, s, key, until);
	if (rc < 0)
		return fail_http(L, rc);
	n = read_head(s, &h, list, until, &p);
	rc = n > 0 ? push_response(L, &h, p, key) : fail_http(L, (int)n);
	gr_stream_done(s);
	return rc;
}
