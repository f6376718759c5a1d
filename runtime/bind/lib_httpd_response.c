/* SPDX-License-Identifier: MIT */
/* HTTP responses for Lua: what handlers return, and the response object. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bind/lib_httpd.h"
#include "bind/lib_net.h"
#include "bind/luautil.h"
#include "http/date.h"
#include "http/write.h"

static const char CLASS[] = "grun.http.response";
static int metatable; /* registry reference */

enum {
	COPY_MAX = 16 << 10,    /* larger pieces of a body are sent from where they are */
	COLLECT_MAX = 64 << 10, /* bytes of pipelined responses that go out together */
	FIELDS_MAX = 128,       /* of a response, ours included */
};

/* One response. A userdata. */
struct response {
	const char *class;
	struct gr_httpd_conn *conn;
	uint32_t turn;
};

/* ---- Sending ---- */

/* Makes room for n more bytes. */
static int reserve(struct gr_httpd_conn *c, size_t n)
{
	size_t cap = c->out_len + n;
	char *out;

	if (cap <= c->out_cap)
		return 0;
	out = realloc(c->out, cap);
	if (out == NULL)
		return -ENOMEM;
	c->out = out;
	c->out_cap = cap;
	return 0;
}

static void put(struct gr_httpd_conn *c, const char *p, size_t n)
{
	memcpy(c->out + c->out_len, p, n);
	c->out_len += n;
}

/* Sends what is collected and then these bytes, which stay where they are. */
static int send_with(struct gr_httpd_conn *c, const char *p, size_t n)
{
	struct iovec iov[2] = {{c->out, c->out_len}, {(void *)p, n}};
	double until = gr_until(c->config->write_timeout);
	size_t sent = 0;
	int rc = gr_stream_begin_write(c->stream, until);

	if (rc < 0)
		return rc;
	rc = n > 0 ? gr_stream_writev(c->stream, iov, 2, until, &sent) :
		     gr_stream_write(c->stream, c->out, c->out_len, until, &sent);
	gr_stream_end_write(c->stream);
	free(c->out);
	c->out = NULL;
	c->out_len = c->out_cap = 0;
	return rc;
}

/* What was sent in part cannot be followed by another response. */
static int checked(struct gr_httpd_conn *c, int rc)
{
	c->keep = c->keep && rc == 0;
	return rc;
}

int gr_httpd_flush(struct gr_httpd_conn *c)
{
	return c->out_len > 0 ? checked(c, send_with(c, NULL, 0)) : 0;
}

/* Adds bytes, by copy unless they are many. */
static int add(struct gr_httpd_conn *c, const char *p, size_t n)
{
	int rc;

	if (n > COPY_MAX)
		return send_with(c, p, n);
	rc = reserve(c, n);
	if (rc == 0)
		put(c, p, n);
	return rc;
}

/* ---- The head ---- */

static const char *date_now(void)
{
	static char text[GR_HTTP_DATE];
	static time_t at;
	time_t now = time(NULL);

	if (now != at)
		gr_http_date_format(now, text);
	at = now;
	return text;
}

static struct gr_slice slice(const char *text)
{
	return (struct gr_slice){text, strlen(text)};
}

static struct gr_slice slice_at(lua_State *L, int idx)
{
	struct gr_slice s;

	s.p = lua_tolstring(L, idx, &s.len);
	return s;
}

/* Writes the head of a response whose body has that length (-1: unknown). Returns 0 or an enum gr_http_error. */
static int add_head(struct gr_httpd_conn *c, const struct gr_http_pair *fields, int n, int64_t length)
{
	struct gr_http_response r = {
		.status = c->status ? c->status : 200,
		.fields = fields,
		.nfields = (size_t)n,
		.date = date_now(),
		.method = c->method,
		.minor = c->minor,
		.keep_alive = c->keep && !c->config->stopping && !c->taken,
		.length = length,
	};
	size_t bound = gr_http_response_bound(&r);
	ssize_t len;

	if (reserve(c, bound + (length > 0 && length <= COPY_MAX ? (size_t)length : 0)) < 0)
		return -ENOMEM;
	len = gr_http_write_response(&r, c->out + c->out_len, bound);
	if (len < 0)
		return (int)len;
	c->out_len += (size_t)len;
	c->keep = r.keep_alive;
	c->framing = r.body;
	c->to_send = r.body == GR_BODY_LENGTH ? r.length : 0;
	c->status = r.status;
	c->reply = GR_REPLY_STARTED;
	return 0;
}

/* Fields for add_head: those that the handler set, and ours. The strings stay in the environment's list. */
struct fields {
	int n;
	bool typed, named;
	struct gr_http_pair list[FIELDS_MAX];
};

static void add_field(lua_State *L, struct fields *f, struct gr_slice name, struct gr_slice value)
{
	if (f->n == FIELDS_MAX - 2)
		luaL_error(L, "more than %d header fields in a response", FIELDS_MAX - 2);
	f->typed |= gr_slice_is(name, "content-type");
	f->named |= gr_slice_is(name, "server");
	f->list[f->n++] = (struct gr_http_pair){name, value};
}

static void add_own_fields(const struct gr_httpd_conn *c, struct fields *f, bool body)
{
	if (c->config->server[0] && !f->named)
		f->list[f->n++] = (struct gr_http_pair){slice("Server"), slice(c->config->server)};
	if (body && !f->typed)
		f->list[f->n++] = (struct gr_http_pair){slice("Content-Type"), slice("text/plain; charset=utf-8")};
}

static int fail_head(lua_State *L, int rc)
{
	return luaL_error(L, "bad response: %s", rc > GR_HTTP_ERROR_END ? gr_strerror(rc) : gr_http_error_text(rc));
}

/* In a function of its own, since the list is large: the stack of an idle connection must not have held it. */
static __attribute__((noinline)) void start_with_fields(lua_State *L, struct gr_httpd_conn *c, int env, int64_t length)
{
	struct fields f;
	int rc, list;

	f.n = 0;
	f.typed = f.named = false;
	lua_rawgeti(L, env, GR_HTTPD_FIELDS);
	list = lua_gettop(L);
	luaL_checkstack(L, c->nfields + LUA_MINSTACK, "too many header fields");
	for (int i = 1; i + 1 <= c->nfields; i += 2) {
		lua_rawgeti(L, list, i);
		lua_rawgeti(L, list, i + 1);
		add_field(L, &f, slice_at(L, -2), slice_at(L, -1));
	}
	add_own_fields(c, &f, length != 0);
	rc = add_head(c, f.list, f.n, length);
	lua_settop(L, list - 1);
	if (rc < 0)
		fail_head(L, rc);
}

/* Writes the head, with what the handler has set. Raises if that is no valid head; nothing is sent then. */
static void start(lua_State *L, struct gr_httpd_conn *c, int env, int64_t length)
{
	struct fields_of_two {
		struct gr_http_pair list[2];
	} two;
	int n = 0, rc;

	if (c->nfields > 0) {
		start_with_fields(L, c, env, length);
		return;
	}
	if (c->config->server[0])
		two.list[n++] = (struct gr_http_pair){slice("Server"), slice(c->config->server)};
	if (length != 0)
		two.list[n++] = (struct gr_http_pair){slice("Content-Type"), slice("text/plain; charset=utf-8")};
	rc = add_head(c, two.list, n, length);
	if (rc < 0)
		fail_head(L, rc);
}

/* ---- The body ---- */

static int add_chunk(struct gr_httpd_conn *c, const char *p, size_t n)
{
	int rc = reserve(c, GR_CHUNK_HEAD_MAX + (n <= COPY_MAX ? n : 0) + 2);

	if (rc < 0)
		return rc;
	c->out_len += gr_chunk_head(c->out + c->out_len, n);
	rc = add(c, p, n);
	return rc < 0 ? rc : add(c, "\r\n", 2);
}

/* Adds a piece of the body in the response's framing. -EMSGSIZE: more than the head promised. */
static int add_body(struct gr_httpd_conn *c, const char *p, size_t n)
{
	c->sent += c->framing == GR_BODY_NONE ? 0 : n;
	if (n == 0 || c->framing == GR_BODY_NONE)
		return 0;
	if (c->framing == GR_BODY_CHUNKED)
		return add_chunk(c, p, n);
	if (c->framing == GR_BODY_LENGTH) {
		if ((int64_t)n > c->to_send)
			return -EMSGSIZE;
		c->to_send -= (int64_t)n;
	}
	return add(c, p, n);
}

/* Ends the body. A body shorter than promised can only be told by closing. */
static int end_body(struct gr_httpd_conn *c)
{
	int rc = c->framing == GR_BODY_CHUNKED ? add(c, "0\r\n\r\n", 5) : 0;

	c->reply = GR_REPLY_DONE;
	if (c->to_send > 0)
		c->keep = false;
	return rc;
}

/* More requests are here already, and can be answered before this answer goes out. */
static bool may_collect(const struct gr_httpd_conn *c)
{
	return c->keep && c->stream->len > 0 && c->body == GR_BODY_NONE && c->out_len < COLLECT_MAX;
}

static int complete(struct gr_httpd_conn *c, int rc)
{
	if (rc == 0)
		rc = end_body(c);
	if (rc == 0 && !may_collect(c))
		rc = gr_httpd_flush(c);
	return checked(c, rc);
}

int gr_httpd_send_status(struct gr_httpd_conn *c, int status, const char *text)
{
	static const struct gr_http_pair type = {{"Content-Type", 12}, {"text/plain; charset=utf-8", 25}};
	char body[160];
	int rc;

	if (c->reply != GR_REPLY_OPEN)
		return 0;
	c->status = status;
	snprintf(body, sizeof(body), "%d %s\n", status, text ? text : gr_http_reason(status));
	rc = add_head(c, &type, 1, (int64_t)strlen(body));
	if (rc == 0)
		rc = add_body(c, body, strlen(body));
	return complete(c, rc);
}

/* ---- What a handler returns ---- */

/* Sends a response whose body is the string at idx. */
static int reply_string(lua_State *L, struct gr_httpd_conn *c, int env, int idx)
{
	struct gr_slice body = slice_at(L, idx);

	start(L, c, env, (int64_t)body.len);
	return complete(c, add_body(c, body.p, body.len));
}

/* Status alone: errors say what they are. */
static int reply_empty(lua_State *L, struct gr_httpd_conn *c, int env)
{
	if (c->status >= 400) {
		lua_pushfstring(L, "%d %s\n", c->status, gr_http_reason(c->status));
		return reply_string(L, c, env, lua_gettop(L));
	}
	start(L, c, env, 0);
	return complete(c, 0);
}

static int64_t table_length(lua_State *L, int idx)
{
	int64_t length = 0;
	size_t n = lua_objlen(L, idx);

	for (size_t i = 1; i <= n; i++) {
		lua_rawgeti(L, idx, (int)i);
		if (!lua_isstring(L, -1))
			luaL_error(L, "bad response: element %d of the body is a %s", (int)i, luaL_typename(L, -1));
		length += (int64_t)slice_at(L, -1).len;
		lua_pop(L, 1);
	}
	return length;
}

static int reply_table(lua_State *L, struct gr_httpd_conn *c, int env, int idx)
{
	size_t n = lua_objlen(L, idx);
	int rc = 0;

	start(L, c, env, table_length(L, idx));
	for (size_t i = 1; i <= n && rc == 0; i++) {
		struct gr_slice piece;

		lua_rawgeti(L, idx, (int)i);
		piece = slice_at(L, -1);
		rc = piece.p ? add_body(c, piece.p, piece.len) : -EINVAL;
		lua_pop(L, 1);
	}
	return complete(c, rc);
}

static int reply_iterator(lua_State *L, struct gr_httpd_conn *c, int env, int idx)
{
	int rc = 0;

	start(L, c, env, -1);
	while (rc == 0) {
		lua_pushvalue(L, idx);
		lua_call(L, 0, 1);
		if (lua_isnil(L, -1))
			break;
		if (!lua_isstring(L, -1))
			luaL_error(L, "bad response: the iterator gave a %s", luaL_typename(L, -1));
		rc = add_body(c, slice_at(L, -1).p, slice_at(L, -1).len);
		if (rc == 0)
			rc = gr_httpd_flush(c);
		lua_pop(L, 1);
	}
	return complete(c, rc);
}

static int reply_body(lua_State *L, struct gr_httpd_conn *c, int env, int idx)
{
	switch (lua_type(L, idx)) {
	case LUA_TNIL:
	case LUA_TNONE:
		return reply_empty(L, c, env);
	case LUA_TSTRING:
	case LUA_TNUMBER:
		return reply_string(L, c, env, idx);
	case LUA_TTABLE:
		return reply_table(L, c, env, idx);
	case LUA_TFUNCTION:
		return reply_iterator(L, c, env, idx);
	default:
		return luaL_error(L, "bad response: a body cannot be a %s", luaL_typename(L, idx));
	}
}

/* Appends a field to the list at GR_HTTPD_FIELDS; name and value are strings or numbers at these indices. */
static void set_field(lua_State *L, struct gr_httpd_conn *c, int env, int name, int value)
{
	if (!lua_isstring(L, value))
		luaL_error(L, "bad response: header '%s' is a %s", lua_tostring(L, name), luaL_typename(L, value));
	lua_rawgeti(L, env, GR_HTTPD_FIELDS);
	if (!lua_istable(L, -1)) {
		lua_pop(L, 1);
		lua_newtable(L);
		lua_pushvalue(L, -1);
		lua_rawseti(L, env, GR_HTTPD_FIELDS);
	}
	lua_pushvalue(L, name);
	lua_tostring(L, -1);
	lua_rawseti(L, -2, ++c->nfields);
	lua_pushvalue(L, value);
	lua_tostring(L, -1);
	lua_rawseti(L, -2, ++c->nfields);
	lua_pop(L, 1);
}

/* The table of headers at idx: name = value, or name = list of values. */
static void set_fields(lua_State *L, struct gr_httpd_conn *c, int env, int idx)
{
	int top = lua_gettop(L);

	lua_pushnil(L);
	while (lua_next(L, idx)) {
		if (lua_type(L, top + 1) != LUA_TSTRING)
			luaL_error(L, "bad response: the name of a header is a %s", luaL_typename(L, top + 1));
		if (lua_istable(L, top + 2)) {
			for (size_t i = 1; i <= lua_objlen(L, top + 2); i++) {
				lua_rawgeti(L, top + 2, (int)i);
				set_field(L, c, env, top + 1, top + 3);
				lua_settop(L, top + 2);
			}
		} else {
			set_field(L, c, env, top + 1, top + 2);
		}
		lua_settop(L, top + 1);
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
	if (c->body_error == GR_TOO_LARGE)
		return 413;
	if (c->body_error == GR_TIMEOUT)
		return 408;
	return c->body_error ? 400 : 204;
}

int gr_httpd_finish(lua_State *L, struct gr_httpd_conn *c, int first)
{
	int n = lua_gettop(L) - first + 1, env;

	/* The connection is no longer HTTP's, so that `return ws:close()` means nothing either. */
	if (c->taken)
		return 0;
	while (n > 0 && lua_isnil(L, first + n - 1))
		n--;
	if (c->reply != GR_REPLY_OPEN) {
		if (n > 0)
			return luaL_error(L, "bad response: returned after it was begun in another way");
		return c->reply == GR_REPLY_STARTED ? complete(c, 0) : 0;
	}
	lua_settop(L, first + n - 1);
	lua_getfenv(L, 1);
	env = lua_gettop(L);
	if (n == 0) {
		c->status = c->status ? c->status : default_status(c);
		return reply_empty(L, c, env);
	}
	if (lua_type(L, first) != LUA_TNUMBER) {
		if (n > 1)
			return luaL_error(L, "bad response: a body and %d more values", n - 1);
		return reply_body(L, c, env, first);
	}
	set_status(L, c, first);
	if (n > 3)
		return luaL_error(L, "bad response: %d values", n);
	if (n == 3 && !lua_isnil(L, first + 1)) {
		if (!lua_istable(L, first + 1))
			return luaL_error(L, "bad response: headers cannot be a %s", luaL_typename(L, first + 1));
		set_fields(L, c, env, first + 1);
	}
	return n == 1 ? reply_empty(L, c, env) : reply_body(L, c, env, first + n - 1);
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

/* header(name, value) adds a field and returns the response. */
static int l_response_header(lua_State *L)
{
	struct gr_httpd_conn *c = check_open(L);

	luaL_checkstring(L, 2);
	luaL_checkstring(L, 3);
	lua_settop(L, 3);
	set_field(L, c, push_env(L), 2, 3);
	lua_settop(L, 1);
	return 1;
}

static int fail_write(lua_State *L, struct gr_httpd_conn *c, int rc)
{
	checked(c, rc);
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
		start(L, c, push_env(L), -1);
	rc = add_body(c, piece.p, piece.len);
	if (rc == 0)
		rc = gr_httpd_flush(c);
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
		rc = reply_body(L, c, push_env(L), 2);
	} else if (lua_isnil(L, 2)) {
		rc = complete(c, 0);
	} else {
		struct gr_slice piece;

		piece.p = luaL_checklstring(L, 2, &piece.len);
		rc = complete(c, add_body(c, piece.p, piece.len));
	}
	if (rc < 0)
		return fail_write(L, c, rc);
	lua_pushboolean(L, 1);
	return 1;
}

/* Sends the head of a body of that many bytes, which the caller then sends on the connection itself: _start(length)
 * returns the connection, or nothing when no body is to follow; _sent(n) tells how many bytes went out. */
static int l_response_start(lua_State *L)
{
	struct gr_httpd_conn *c = check_open(L);
	int64_t length = (int64_t)luaL_checknumber(L, 2);
	int rc = gr_lua_enter_try(L);

	if (rc)
		return rc;
	start(L, c, push_env(L), length);
	rc = gr_httpd_flush(c);
	if (rc < 0)
		return fail_write(L, c, rc);
	if (c->framing == GR_BODY_NONE)
		return 0;
	lua_rawgeti(L, push_env(L), GR_HTTPD_CONN);
	return 1;
}

static int l_response_sent(lua_State *L)
{
	struct gr_httpd_conn *c = check_response(L);
	int64_t n = (int64_t)luaL_checknumber(L, 2);

	c->sent += (uint64_t)n;
	c->to_send -= n;
	return 0;
}

/* begun(): whether the head has been sent. */
static int l_response_begun(lua_State *L)
{
	lua_pushboolean(L, check_response(L)->reply != GR_REPLY_OPEN);
	return 1;
}

/* upgrade(): sends 101, or 200 for CONNECT, with the fields that were set, and gives the connection away: returns it. */
static int l_response_upgrade(lua_State *L)
{
	struct gr_httpd_conn *c = check_open(L);
	int rc = gr_lua_enter_try(L);

	if (rc)
		return rc;
	if (c->body != GR_BODY_NONE)
		return luaL_error(L, "cannot upgrade: the request has a body");
	c->status = c->method == GR_METHOD_CONNECT ? 200 : 101;
	c->keep = true;
	start(L, c, push_env(L), 0);
	rc = gr_httpd_flush(c);
	if (rc < 0)
		return fail_write(L, c, rc);
	c->reply = GR_REPLY_DONE;
	c->taken = true;
	c->keep = false;
	lua_rawgeti(L, push_env(L), GR_HTTPD_CONN);
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
	{"_sent", l_response_sent},
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
	lua_setfield(L, -2, "__index");
	metatable = luaL_ref(L, LUA_REGISTRYINDEX);
}
