/* SPDX-License-Identifier: MIT */
/* HTTP responses for Lua: what handlers return, and the response object. */
#include <errno.h>
#include <string.h>

#include "bind/lib_httpd.h"
#include "bind/lib_httpfile.h"
#include "bind/lib_net.h"
#include "bind/luautil.h"
#include "http/field.h"

static const char CLASS[] = "grun.http.response";
static int metatable; /* registry reference */

/* One response. A userdata. */
struct response {
	const char *class;
	struct gr_httpd_conn *conn;
	uint32_t turn;
};

/* ---- What a handler returns ---- */

/* `headers` is the index of the table of fields that was returned, 0 for none. */

/* Sends a response whose body is the string at idx. */
static int reply_string(lua_State *L, struct gr_httpd_conn *c, int env, int headers, int idx)
{
	struct gr_slice body = gr_httpd_slice_at(L, idx);
	int rc = headers ? 1 : gr_httpd_send_usual(c, body);

	if (rc <= 0)
		return rc;
	gr_httpd_start(L, c, env, headers, (int64_t)body.len);
	return gr_httpd_complete_with(c, body.p, body.len);
}

/* Status alone: errors say what they are. */
static int reply_empty(lua_State *L, struct gr_httpd_conn *c, int env, int headers)
{
	if (c->status >= 400) {
		lua_pushfstring(L, "%d %s\n", c->status, gr_http_reason(c->status));
		return reply_string(L, c, env, headers, lua_gettop(L));
	}
	gr_httpd_start(L, c, env, headers, 0);
	return gr_httpd_complete(c, 0);
}

/* Headers in the place of the body must not be lost without a word. */
static void check_empty(lua_State *L, int idx)
{
	lua_pushnil(L);
	if (lua_next(L, idx))
		luaL_error(L, "bad response: the body is a table, but no list");
}

static int64_t table_length(lua_State *L, int idx)
{
	int64_t length = 0;
	size_t n = lua_objlen(L, idx);

	if (n == 0)
		check_empty(L, idx);
	for (size_t i = 1; i <= n; i++) {
		lua_rawgeti(L, idx, (int)i);
		if (!lua_isstring(L, -1))
			luaL_error(L, "bad response: element %d of the body is a %s", (int)i, luaL_typename(L, -1));
		length += (int64_t)gr_httpd_slice_at(L, -1).len;
		lua_pop(L, 1);
	}
	return length;
}

static int reply_table(lua_State *L, struct gr_httpd_conn *c, int env, int headers, int idx)
{
	size_t n = lua_objlen(L, idx);
	int rc = 0;

	gr_httpd_start(L, c, env, headers, table_length(L, idx));
	for (size_t i = 1; i <= n && rc == 0; i++) {
		struct gr_slice piece;

		lua_rawgeti(L, idx, (int)i);
		piece = gr_httpd_slice_at(L, -1);
		rc = piece.p ? gr_httpd_add_body(c, piece.p, piece.len) : -EINVAL;
		lua_pop(L, 1);
	}
	return gr_httpd_complete(c, rc);
}

static int reply_iterator(lua_State *L, struct gr_httpd_conn *c, int env, int headers, int idx)
{
	int rc = 0;

	gr_httpd_start(L, c, env, headers, -1);
	while (rc == 0) {
		lua_pushvalue(L, idx);
		lua_call(L, 0, 1);
		if (lua_isnil(L, -1))
			break;
		if (!lua_isstring(L, -1))
			luaL_error(L, "bad response: the iterator gave a %s", luaL_typename(L, -1));
		rc = gr_httpd_send_piece(c, gr_httpd_slice_at(L, -1).p, gr_httpd_slice_at(L, -1).len);
		lua_pop(L, 1);
	}
	return gr_httpd_complete(c, rc);
}

static int reply_body(lua_State *L, struct gr_httpd_conn *c, int env, int headers, int idx)
{
	switch (lua_type(L, idx)) {
	case LUA_TNIL:
	case LUA_TNONE:
		return reply_empty(L, c, env, headers);
	case LUA_TSTRING:
	case LUA_TNUMBER:
		return reply_string(L, c, env, headers, idx);
	case LUA_TTABLE:
		return reply_table(L, c, env, headers, idx);
	case LUA_TFUNCTION:
		return reply_iterator(L, c, env, headers, idx);
	default:
		return luaL_error(L, "bad response: a body cannot be a %s", luaL_typename(L, idx));
	}
}

static void set_status(lua_State *L, struct gr_httpd_conn *c, int idx)
{
	lua_Number status = lua_tonumber(L, idx);

	if (!(status >= 200 && status <= 599) || status != (int)status)
		luaL_error(L, "bad response: status %s", lua_tostring(L, idx));
	c->status = (int)status;
}

/* The status when the handler chose none and gives no body. */
static int default_status(const struct gr_httpd_conn *c)
{
	if (c->fallback)
		return c->fallback;
	if (c->body.error == GR_TOO_LARGE)
		return 413;
	if (c->body.error == GR_TIMEOUT)
		return 408;
	return c->body.error ? 400 : 204;
}

/* Ends a response that was begun; another thread may be about to do the same. */
static int complete_shared(struct gr_httpd_conn *c)
{
	int rc = gr_httpd_complete(c, 0);

	return rc == -EALREADY ? 0 : rc;
}

/* The handler gave no body. With a message it failed; if the client did, its status says so. */
static int reply_nothing(lua_State *L, struct gr_httpd_conn *c, int env, const char *message)
{
	c->status = c->status ? c->status : default_status(c);
	if (message && c->status < 400)
		return luaL_error(L, "%s", message);
	return reply_empty(L, c, env, 0);
}

/* nil and a message, such as `return req:body()` may be. */
static bool is_failure(lua_State *L, int first, int n)
{
	return n > 1 && lua_isnil(L, first) && lua_type(L, first + 1) == LUA_TSTRING;
}

/* A handler that does not look at the method cannot have meant these. */
static bool is_special(const struct gr_httpd_conn *c)
{
	return c->method == GR_METHOD_TRACE || c->method == GR_METHOD_CONNECT;
}

int gr_httpd_finish(lua_State *L, struct gr_httpd_conn *c, int env, int first)
{
	int n = lua_gettop(L) - first + 1, headers = 0;
	bool alone;

	/* Mostly a body and nothing else. */
	if (n == 1 && lua_type(L, first) == LUA_TSTRING && c->reply == GR_REPLY_OPEN && !c->taken &&
	    !is_special(c))
		return reply_string(L, c, env, 0, first);
	/* The connection is no longer HTTP's, so that `return ws:close()` means nothing either. */
	if (c->taken)
		return 0;
	while (n > 0 && lua_isnil(L, -1)) {
		lua_pop(L, 1);
		n--;
	}
	if (c->reply != GR_REPLY_OPEN) {
		/* What res:finish and the like returned may be returned: true, or nil and why. */
		bool result = n > 0 && (lua_isnil(L, first) || lua_isboolean(L, first));

		if (n > 0 && !result)
			return luaL_error(L, "bad response: returned after it was begun in another way");
		return c->reply == GR_REPLY_STARTED ? complete_shared(c) : 0;
	}
	alone = n == 0 || lua_type(L, first) != LUA_TNUMBER;
	if (alone && c->status == 0 && is_special(c)) {
		c->keep = false;
		return gr_httpd_send_status(c, 501, NULL);
	}
	if (n == 0 || is_failure(L, first, n))
		return reply_nothing(L, c, env, n == 0 ? NULL : lua_tostring(L, first + 1));
	if (alone) {
		if (n > 1)
			return luaL_error(L, "bad response: a body and %d more values", n - 1);
		return reply_body(L, c, env, 0, first);
	}
	set_status(L, c, first);
	if (n > 3)
		return luaL_error(L, "bad response: %d values", n);
	if (n == 3 && !lua_isnil(L, first + 1)) {
		if (!lua_istable(L, first + 1))
			return luaL_error(L, "bad response: headers cannot be a %s", luaL_typename(L, first + 1));
		headers = first + 1;
	}
	return n == 1 ? reply_empty(L, c, env, 0) : reply_body(L, c, env, headers, first + n - 1);
}

/* ---- The response object ---- */

void gr_httpd_push_response(lua_State *L, struct gr_httpd_conn *c, int env)
{
	struct response *r = lua_newuserdata(L, sizeof(*r));

	r->class = CLASS;
	r->conn = c;
	r->turn = c->turn;
	lua_rawgeti(L, LUA_REGISTRYINDEX, metatable);
	lua_setmetatable(L, -2);
	lua_pushvalue(L, env);
	lua_setfenv(L, -2);
}

static struct gr_httpd_conn *check_response(lua_State *L)
{
	const struct response *r = lua_touserdata(L, 1);

	if (r == NULL || lua_objlen(L, 1) != sizeof(*r) || r->class != CLASS) {
		luaL_argerror(L, 1, lua_pushfstring(L, "response expected, got %s", luaL_typename(L, 1)));
		return NULL;
	}
	if (r->turn != r->conn->turn || r->conn->taken)
		luaL_error(L, "the response is over");
	return r->conn;
}

static struct gr_httpd_conn *check_open(lua_State *L)
{
	struct gr_httpd_conn *c = check_response(L);

	if (c->reply != GR_REPLY_OPEN)
		luaL_error(L, "the head of the response has been sent");
	return c;
}

static int push_env(lua_State *L)
{
	lua_getfenv(L, 1);
	return lua_gettop(L);
}

/* status([code]) sets it and returns the response, or returns it. */
static int l_response_status(lua_State *L)
{
	struct gr_httpd_conn *c;

	if (lua_isnoneornil(L, 2)) {
		c = check_response(L);
		lua_pushinteger(L, c->status ? c->status : 200);
		return 1;
	}
	c = check_open(L);
	luaL_checknumber(L, 2);
	set_status(L, c, 2);
	lua_settop(L, 1);
	return 1;
}

int gr_httpd_push_field(lua_State *L, const struct gr_httpd_conn *c)
{
	const char *name = luaL_checkstring(L, 2);

	lua_rawgeti(L, push_env(L), GR_HTTPD_FIELDS);
	for (int i = 1; i < c->nfields; i += 2) {
		lua_rawgeti(L, -1, i);
		if (gr_slice_is(gr_httpd_slice_at(L, -1), name)) {
			lua_rawgeti(L, -2, i + 1);
			return 1;
		}
		lua_pop(L, 1);
	}
	return 0;
}

/* header(name, value) adds a field and returns the response. header(name) returns what was set. */
static int l_response_header(lua_State *L)
{
	struct gr_httpd_conn *c = lua_isnoneornil(L, 3) ? check_response(L) : check_open(L);

	if (lua_isnoneornil(L, 3))
		return gr_httpd_push_field(L, c);
	luaL_checkstring(L, 2);
	luaL_checkstring(L, 3);
	lua_settop(L, 3);
	gr_httpd_set_field(L, c, push_env(L), 2, 3);
	lua_settop(L, 1);
	return 1;
}

static int fail_write(lua_State *L, struct gr_httpd_conn *c, int rc)
{
	if (rc == -EALREADY) {
		check_response(L);
		return luaL_error(L, "the response has been finished");
	}
	gr_httpd_checked(c, rc);
	if (rc == -EMSGSIZE)
		return luaL_error(L, "body is longer than its Content-Length");
	return gr_lua_fail(L, rc);
}

/* write(data): a piece of the body, sent at once. */
static int l_response_write(lua_State *L)
{
	struct gr_httpd_conn *c = check_response(L);
	struct gr_slice piece;
	int rc;

	piece.p = luaL_checklstring(L, 2, &piece.len);
	if (c->reply == GR_REPLY_DONE)
		return luaL_error(L, "the response has been finished");
	rc = gr_lua_enter_try(L);
	if (rc)
		return rc;
	if (c->reply == GR_REPLY_OPEN)
		gr_httpd_start(L, c, push_env(L), 0, -1);
	rc = gr_httpd_send_piece(c, piece.p, piece.len);
	if (rc < 0)
		return fail_write(L, c, rc);
	lua_pushboolean(L, 1);
	return 1;
}

/* finish([data]): the last piece; without a write before it the whole body. */
static int l_response_finish(lua_State *L)
{
	struct gr_httpd_conn *c = check_response(L);
	int rc = gr_lua_enter_try(L);

	if (rc)
		return rc;
	if (c->reply == GR_REPLY_DONE)
		return luaL_error(L, "the response has been finished");
	lua_settop(L, 2);
	if (c->reply == GR_REPLY_OPEN) {
		rc = reply_body(L, c, push_env(L), 0, 2);
	} else if (lua_isnil(L, 2)) {
		rc = gr_httpd_complete(c, 0);
	} else {
		struct gr_slice piece;

		piece.p = luaL_checklstring(L, 2, &piece.len);
		rc = gr_httpd_complete_with(c, piece.p, piece.len);
	}
	if (rc < 0)
		return fail_write(L, c, rc);
	lua_pushboolean(L, 1);
	return 1;
}

/* _start(length) sends the head of a body of that many bytes, which _send and write then send. Returns false when no body
 * is to follow. */
static int l_response_start(lua_State *L)
{
	struct gr_httpd_conn *c = check_open(L);
	int64_t length = (int64_t)luaL_checknumber(L, 2);
	int rc = gr_lua_enter_try(L);

	if (rc)
		return rc;
	c->compress = 0;
	gr_httpd_start(L, c, push_env(L), 0, length);
	lua_pushboolean(L, c->framing != GR_BODY_NONE);
	return 1;
}

/* _send(file, from, length): bytes of an open grun.core.httpfile. */
static int l_response_send(lua_State *L)
{
	struct gr_httpd_conn *c = check_response(L);
	int fd = gr_httpfile_check(L, 2);
	double from = luaL_checknumber(L, 3), len = luaL_checknumber(L, 4);
	size_t sent = 0;
	int rc = gr_lua_enter_try(L);

	if (rc)
		return rc;
	if (c->reply != GR_REPLY_STARTED || c->framing != GR_BODY_LENGTH)
		return luaL_error(L, "no body of that length was begun");
	rc = gr_httpd_send_file(c, fd, (off_t)from, (size_t)len, &sent);
	if (rc == -ENODATA) {
		gr_httpd_checked(c, rc);
		return gr_net_fail_text(L, rc, "the file ended early");
	}
	if (rc < 0)
		return fail_write(L, c, rc);
	lua_pushboolean(L, 1);
	return 1;
}

/* _compress(level): the body, of whatever size and type, if the client likes it. */
static int l_response_compress(lua_State *L)
{
	struct gr_httpd_conn *c = check_open(L);

	gr_httpd_gzip_load(L);
	c->compress = (int)luaL_checkinteger(L, 2);
	return 0;
}

/* _request() -> what it answers. */
static int l_response_request(lua_State *L)
{
	check_response(L);
	lua_rawgeti(L, push_env(L), GR_HTTPD_REQUEST);
	return 1;
}

/* begun(): whether the head has been sent. */
static int l_response_begun(lua_State *L)
{
	lua_pushboolean(L, check_response(L)->reply != GR_REPLY_OPEN);
	return 1;
}

/* The status that refuses the switch to a protocol which the client does not offer (RFC 9110 section 7.8); 0: it offers what
 * the handler has set as Upgrade, or anything if that is nothing. */
static int upgrade_refusal(lua_State *L, const struct gr_httpd_conn *c, int env)
{
	const struct gr_httpd_request *r;
	struct gr_slice rest = {"", 0}, item = {"", 0};
	int status;

	lua_rawgeti(L, env, GR_HTTPD_REQUEST);
	r = lua_touserdata(L, -1);
	if (r == NULL)
		return luaL_error(L, "the response is over");
	status = gr_http_offers(r->head, r->bytes, item) ? 0 : 400;
	lua_rawgeti(L, env, GR_HTTPD_FIELDS);
	for (int i = 1; i < c->nfields; i += 2) {
		lua_rawgeti(L, -1, i);
		lua_rawgeti(L, -2, i + 1);
		if (gr_slice_is(gr_httpd_slice_at(L, -2), "upgrade"))
			rest = gr_httpd_slice_at(L, -1);
		while (gr_list_next(&rest, &item))
			if (!gr_http_offers(r->head, r->bytes, item))
				status = 426;
		lua_pop(L, 2);
	}
	lua_pop(L, 2);
	return status;
}

/* upgrade(): sends 101, or 200 for CONNECT, with the fields that were set, and gives the connection away: returns it. A
 * client that does not ask for that is told so. */
static int l_response_upgrade(lua_State *L)
{
	struct gr_httpd_conn *c = check_open(L);
	int rc = gr_lua_enter_try(L), env, refusal;

	if (rc)
		return rc;
	env = push_env(L);
	refusal = c->method == GR_METHOD_CONNECT ? 0 : upgrade_refusal(L, c, env);
	if (refusal) {
		c->status = refusal;
		rc = reply_empty(L, c, env, 0);
		return rc < 0 ? fail_write(L, c, rc)
			      : gr_net_fail_text(L, GR_PROTOCOL, "the client does not offer this protocol");
	}
	if (c->body.kind != GR_BODY_NONE)
		return luaL_error(L, "cannot upgrade: the request has a body");
	c->status = c->method == GR_METHOD_CONNECT ? 200 : 101;
	c->keep = true;
	gr_httpd_start(L, c, env, 0, 0);
	rc = gr_httpd_flush(c);
	if (rc < 0)
		return fail_write(L, c, rc);
	c->reply = GR_REPLY_DONE;
	c->taken = true;
	c->keep = false;
	lua_rawgeti(L, env, GR_HTTPD_CONN);
	return 1;
}

static const luaL_Reg response_methods[] = {
	{"status", l_response_status},
	{"header", l_response_header},
	{"write", l_response_write},
	{"finish", l_response_finish},
	{"begun", l_response_begun},
	{"upgrade", l_response_upgrade},
	{"_start", l_response_start},
	{"_send", l_response_send},
	{"_compress", l_response_compress},
	{"_request", l_response_request},
	{NULL, NULL},
};

void gr_httpd_response_init(lua_State *L)
{
	luaL_newmetatable(L, CLASS);
	lua_newtable(L);
	for (const luaL_Reg *m = response_methods; m->name; m++) {
		lua_pushcfunction(L, m->func);
		lua_setfield(L, -2, m->name);
	}
	lua_pushvalue(L, -1);
	lua_setfield(L, -3, "methods");
	lua_setfield(L, -2, "__index");
	metatable = luaL_ref(L, LUA_REGISTRYINDEX);
}
