/* SPDX-License-Identifier: MIT */
/* WebSockets for Lua: the object. */
#include "bind/lib_websocket.h"

#include <math.h>
#include <string.h>

#include "bind/lib_net.h"
#include "bind/luautil.h"
#include "bind/websocket.h"

static const char CLASS[] = "grun.http.websocket";

enum { REASON_MAX = GR_WS_CONTROL_MAX - 2 };

/* A userdata. Its environment keeps the connection, and holds the subprotocol and what was agreed on compression. */
struct websocket {
	const char *class;
	struct gr_ws ws;
};

static struct gr_ws *check_websocket(lua_State *L)
{
	struct websocket *w = lua_touserdata(L, 1);

	if (w == NULL || lua_objlen(L, 1) != sizeof(*w) || w->class != CLASS)
		luaL_argerror(L, 1, lua_pushfstring(L, "websocket expected, got %s", luaL_typename(L, 1)));
	return &w->ws;
}

static int push_result(lua_State *L, int rc)
{
	if (rc < 0)
		return gr_lua_fail(L, rc);
	lua_pushboolean(L, 1);
	return 1;
}

/* ---- Making one ---- */

static double number_field(lua_State *L, const char *name)
{
	double n;

	lua_getfield(L, 3, name);
	n = lua_isnil(L, -1) ? INFINITY : lua_tonumber(L, -1);
	lua_pop(L, 1);
	return n;
}

/* Compression was agreed on. */
static void set_deflate(lua_State *L, struct gr_ws *ws)
{
	ws->deflate.bits = (uint8_t)number_field(L, "deflate_bits");
	ws->deflate.takeover = number_field(L, "deflate_takeover") != 0;
	ws->deflate.level = (uint8_t)number_field(L, "deflate_level");
	ws->deflate.threshold = (size_t)number_field(L, "deflate_threshold");
	ws->in.inflate.bits = (uint8_t)number_field(L, "inflate_bits");
	ws->in.inflate.takeover = number_field(L, "inflate_takeover") != 0;
}

/* open(conn, client, options [, protocol [, deflate]]): of a connection whose handshake is done.
 * lualib/grun/http/websocket.lua has checked all values, and `options` says what `deflate` means for this side. */
static int l_open(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	struct websocket *w;

	luaL_checktype(L, 3, LUA_TTABLE);
	lua_settop(L, 5);
	w = lua_newuserdata(L, sizeof(*w));
	w->class = CLASS;
	gr_ws_open(&w->ws, s, lua_toboolean(L, 2));
	w->ws.timeout = number_field(L, "write_timeout");
	w->ws.close_timeout = number_field(L, "close_timeout");
	w->ws.ping_interval = number_field(L, "ping_interval");
	w->ws.ping_timeout = number_field(L, "ping_timeout");
	w->ws.in.max_message = (size_t)number_field(L, "max_message");
	if (lua_istable(L, 5))
		set_deflate(L, &w->ws);
	luaL_getmetatable(L, CLASS);
	lua_setmetatable(L, -2);
	lua_createtable(L, 0, 3);
	lua_pushvalue(L, 1);
	lua_setfield(L, -2, "conn");
	lua_pushvalue(L, 4);
	lua_setfield(L, -2, "protocol");
	lua_pushvalue(L, 5);
	lua_setfield(L, -2, "deflate");
	lua_setfenv(L, -2);
	return 1;
}

static int l_ws_gc(lua_State *L)
{
	gr_ws_free(check_websocket(L));
	return 0;
}

/* ---- Messages ---- */

static int check_kind(lua_State *L, int idx)
{
	static const char *const names[] = {"text", "binary", NULL};

	return luaL_checkoption(L, idx, "text", names) ? GR_WS_BINARY : GR_WS_TEXT;
}

static bool is_utf8(const char *p, size_t len)
{
	struct gr_utf8 u = {0};

	return gr_utf8_add(&u, p, len) && gr_utf8_complete(&u);
}

static int l_ws_send(lua_State *L)
{
	struct gr_ws *ws = check_websocket(L);
	size_t len;
	const char *p = luaL_checklstring(L, 2, &len);
	int kind = check_kind(L, 3), rc;

	luaL_argcheck(L, kind == GR_WS_BINARY || is_utf8(p, len), 2, "text must be UTF-8; other data is \"binary\"");
	rc = gr_lua_enter_try(L);
	return rc ? rc : push_result(L, gr_ws_send(ws, (uint8_t)kind, p, len));
}

static int fail_recv(lua_State *L, const struct gr_ws *ws, int rc)
{
	if (rc == GR_PROTOCOL || rc == GR_TOO_LARGE)
		return gr_net_fail_text(L, rc, ws->in.problem);
	return gr_lua_fail(L, rc);
}

static int receive(lua_State *L, struct gr_ws *ws, double until)
{
	int kind = gr_ws_recv(ws, until);

	if (kind < 0)
		return fail_recv(L, ws, kind);
	lua_pushlstring(L, ws->in.message ? ws->in.message : "", ws->in.len);
	gr_ws_in_drop(&ws->in);
	lua_pushstring(L, kind == GR_WS_TEXT ? "text" : "binary");
	return 2;
}

static int l_ws_recv(lua_State *L)
{
	struct gr_ws *ws = check_websocket(L);
	double until = gr_lua_opt_until(L, 2);
	int rc = gr_lua_enter_try(L);

	return rc ? rc : receive(L, ws, until);
}

/* As an iterator: its arguments are the loop's. */
static int l_ws_call(lua_State *L)
{
	struct gr_ws *ws = check_websocket(L);
	int rc = gr_lua_enter_try(L);

	return rc ? rc : receive(L, ws, INFINITY);
}

static int l_ws_ping(lua_State *L)
{
	struct gr_ws *ws = check_websocket(L);
	size_t len;
	const char *p = luaL_optlstring(L, 2, "", &len);
	int rc;

	luaL_argcheck(L, len <= GR_WS_CONTROL_MAX, 2, "at most 125 bytes");
	rc = gr_lua_enter_try(L);
	return rc ? rc : push_result(L, gr_ws_send(ws, GR_WS_PING, p, len));
}

/* ---- The end ---- */

/* The connection ends also when the thread is cancelled. */
static int l_ws_close(lua_State *L)
{
	struct gr_ws *ws = check_websocket(L);
	double code = luaL_optnumber(L, 2, 1000);
	size_t len;
	const char *reason = luaL_optlstring(L, 3, "", &len);

	luaL_argcheck(L, code == (int)code && gr_ws_code_valid((int)code), 2, "no code for a close frame");
	luaL_argcheck(L, len <= REASON_MAX, 3, "at most 123 bytes");
	luaL_argcheck(L, is_utf8(reason, len), 3, "must be UTF-8");
	gr_lua_enter_always(L);
	return push_result(L, gr_ws_close(ws, (int)code, reason, len));
}

static int l_ws_closed(lua_State *L)
{
	lua_pushboolean(L, check_websocket(L)->ended);
	return 1;
}

/* ---- Fields ---- */

static int push_reason(lua_State *L, const struct gr_ws *ws)
{
	if (!ws->ended)
		return 0;
	if (ws->in.problem)
		lua_pushstring(L, ws->in.problem);
	else
		lua_pushlstring(L, ws->in.note, ws->in.reason_len);
	return 1;
}

/* Upvalue: the methods. */
static int l_ws_index(lua_State *L)
{
	const struct gr_ws *ws = check_websocket(L);
	const char *name;

	lua_settop(L, 2);
	lua_pushvalue(L, 2);
	lua_rawget(L, lua_upvalueindex(1));
	if (!lua_isnil(L, -1) || lua_type(L, 2) != LUA_TSTRING)
		return 1;
	name = lua_tostring(L, 2);
	if (strcmp(name, "close_reason") == 0)
		return push_reason(L, ws);
	if (strcmp(name, "close_code") == 0 && ws->ended) {
		lua_pushinteger(L, ws->in.close_code);
		return 1;
	}
	if (strcmp(name, "protocol") != 0 && strcmp(name, "deflate") != 0)
		return 0;
	lua_getfenv(L, 1);
	lua_getfield(L, -1, name);
	return 1;
}

static int l_ws_tostring(lua_State *L)
{
	const struct gr_ws *ws = check_websocket(L);

	if (ws->ended)
		lua_pushfstring(L, "websocket closed (%d)", ws->in.close_code);
	else
		lua_pushfstring(L, "websocket %s (fd %d)", ws->in.client ? "client" : "server", ws->stream->fd);
	return 1;
}

static const luaL_Reg methods[] = {
	{"send", l_ws_send},   {"recv", l_ws_recv},     {"ping", l_ws_ping},
	{"close", l_ws_close}, {"closed", l_ws_closed}, {NULL, NULL},
};

static const luaL_Reg functions[] = {
	{"open", l_open},
	{"request", gr_ws_l_request},
	{"connect", gr_ws_l_connect},
	{NULL, NULL},
};

static void new_class(lua_State *L)
{
	luaL_newmetatable(L, CLASS);
	lua_pushcfunction(L, l_ws_gc);
	lua_setfield(L, -2, "__gc");
	lua_pushcfunction(L, l_ws_tostring);
	lua_setfield(L, -2, "__tostring");
	lua_pushcfunction(L, l_ws_call);
	lua_setfield(L, -2, "__call");
	lua_newtable(L);
	gr_net_set_functions(L, methods, lua_gettop(L) - 1);
	lua_pushvalue(L, -1);
	lua_setfield(L, -3, "methods");
	lua_pushcclosure(L, l_ws_index, 1);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}

int luaopen_grun_core_websocket(lua_State *L)
{
	const char *problem = gr_ws_load();

	if (problem)
		return luaL_error(L, "WebSockets need libwslay: %s", problem);
	new_class(L);
	lua_newtable(L);
	for (const luaL_Reg *f = functions; f->name; f++) {
		lua_pushcfunction(L, f->func);
		lua_setfield(L, -2, f->name);
	}
	luaL_getmetatable(L, CLASS);
	lua_getfield(L, -1, "methods");
	lua_setfield(L, -3, "methods");
	lua_pop(L, 1);
	return 1;
}
