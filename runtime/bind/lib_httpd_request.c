/* SPDX-License-Identifier: MIT */
/* HTTP requests for Lua: the object and its fields. */
#include <stdlib.h>
#include <string.h>

#include "bind/lib_httpd.h"
#include "bind/lib_net.h"
#include "bind/luautil.h"
#include "core/hub.h"
#include "http/field.h"
#include "http/proxy.h"
#include "http/target.h"

static const char CLASS[] = "grun.http.request";
static int metatable; /* registry reference: a name costs more to look up */

enum {
	KNOWN_MAX = 2 << 10, /* bytes of a head that a connection keeps */
};

/* Slots of the environments that are not the connection's: of what is kept with one request, where names that are no
 * getters' are the other keys; and of requests that share a head. */
enum {
	KEPT_ENV = 1, /* what it had before */
	KEPT_HEAD,    /* the struct gr_httpd_known that is shared */
	KEPT_PARAMS,
	KEPT_QUERY,
	KEPT_HEADERS,
	KEPT_PEER,
	KEPT_SOCKNAME,
};

/* ---- Making one ---- */

/* Copies a head to *to, with its fields and its bytes to the room behind each other. Returns the bytes. */
static const char *copy_head(struct gr_http_head *to, struct gr_http_field *room, const struct gr_http_head *head,
			     const char *bytes, size_t len)
{
	*to = *head;
	to->fields = room;
	memcpy(room, head->fields, head->nfields * sizeof(*room));
	return memcpy(room + head->nfields, bytes, len);
}

/* A request with a head of its own; then come the bytes. */
struct whole {
	struct gr_httpd_request request;
	struct gr_http_head head;
	struct gr_http_field fields[];
};

/* Pushes a request that is to have a head. */
static struct gr_httpd_request *push_bare(lua_State *L, struct gr_httpd_conn *c, size_t size)
{
	struct gr_httpd_request *r = lua_newuserdata(L, size);

	r->class = CLASS;
	r->conn = c;
	r->turn = c->turn;
	r->keeps = r->shares = false;
	lua_rawgeti(L, LUA_REGISTRYINDEX, metatable);
	lua_setmetatable(L, -2);
	return r;
}

static void push_whole(lua_State *L, struct gr_httpd_conn *c, const struct gr_http_head *head, const char *bytes,
		       size_t len, int env)
{
	size_t fields = head->nfields * sizeof(head->fields[0]);
	struct whole *w = (struct whole *)push_bare(L, c, sizeof(*w) + fields + len);

	w->request.head = &w->head;
	w->request.bytes = copy_head(&w->head, w->fields, head, bytes, len);
	lua_pushvalue(L, env);
	lua_setfenv(L, -2);
}

static void push_sharing(lua_State *L, struct gr_httpd_conn *c, int env)
{
	struct gr_httpd_request *r = push_bare(L, c, sizeof(*r));

	c->known->shared = true;
	r->shares = true;
	r->head = &c->known->head;
	r->bytes = c->known->bytes;
	lua_rawgeti(L, env, GR_HTTPD_KNOWN);
	lua_setfenv(L, -2);
}

/* The fields are: is what precedes them, too? */
static bool is_known(const struct gr_httpd_known *known, const struct gr_http_head *head, const char *bytes)
{
	return known->head.block == head->block && memcmp(known->bytes, bytes, head->block) == 0;
}

/* The object on top is the present request's; pops it. */
static void set_present(lua_State *L, struct gr_httpd_conn *c, int env)
{
	lua_rawseti(L, env, GR_HTTPD_REQUEST);
	c->made = true;
}

void gr_httpd_take_request(lua_State *L, struct gr_httpd_conn *c, const struct gr_http_head *head, const char *bytes,
			   size_t len, int env)
{
	if (!head->all_known || !is_known(c->known, head, bytes)) {
		push_whole(L, c, head, bytes, len, env);
		set_present(L, c, env);
	}
	c->busy = true;
}

void gr_httpd_push_present(lua_State *L, struct gr_httpd_conn *c, int env)
{
	if (c->busy && !c->made) {
		push_sharing(L, c, env);
		lua_pushvalue(L, -1);
		set_present(L, c, env);
	} else {
		lua_rawgeti(L, env, GR_HTTPD_REQUEST);
	}
}

/* Pushes memory for a head, in the environment that requests get which share it. */
static struct gr_httpd_known *push_known(lua_State *L, int env, size_t room)
{
	struct gr_httpd_known *known;

	lua_createtable(L, KEPT_HEAD, 0);
	lua_pushvalue(L, env);
	lua_rawseti(L, -2, KEPT_ENV);
	known = lua_newuserdata(L, sizeof(*known) + room);
	known->room = room;
	known->shared = false;
	lua_rawseti(L, -2, KEPT_HEAD);
	return known;
}

void gr_httpd_remember(lua_State *L, struct gr_httpd_conn *c, const struct gr_http_head *head, const char *bytes,
		       size_t len, int env)
{
	size_t need = head->nfields * sizeof(head->fields[0]) + len;

	if (len > KNOWN_MAX)
		return;
	if (!c->known || c->known->shared || c->known->room < need) {
		c->known = push_known(L, env, need);
		lua_rawseti(L, env, GR_HTTPD_KNOWN);
	}
	c->known->bytes = copy_head(&c->known->head, c->known->fields, head, bytes, len);
}

void gr_httpd_push_env(lua_State *L, const struct gr_httpd_request *r)
{
	lua_getfenv(L, 1);
	for (int i = r->keeps + r->shares; i > 0; i--) {
		lua_rawgeti(L, -1, KEPT_ENV);
		lua_remove(L, -2);
	}
}

static struct gr_httpd_request *check_request(lua_State *L)
{
	struct gr_httpd_request *r = lua_touserdata(L, 1);

	if (r == NULL || lua_objlen(L, 1) < sizeof(*r) || r->class != CLASS)
		luaL_argerror(L, 1, lua_pushfstring(L, "request expected, got %s", luaL_typename(L, 1)));
	return r;
}

struct gr_httpd_request *gr_httpd_check_request(lua_State *L)
{
	return check_request(L);
}

struct gr_httpd_conn *gr_httpd_check_turn(lua_State *L)
{
	struct gr_httpd_request *r = check_request(L);

	if (r->turn != r->conn->turn || r->conn->taken)
		luaL_error(L, "the request is over");
	return r->conn;
}

/* ---- Fields ---- */

static void push_span(lua_State *L, const struct gr_httpd_request *r, struct gr_http_span span)
{
	lua_pushlstring(L, r->bytes + span.off, span.len);
}

static int l_request_header(lua_State *L)
{
	const struct gr_httpd_request *r = check_request(L);
	size_t len;
	const char *name = luaL_checklstring(L, 2, &len);
	int at = gr_http_find(r->head, r->bytes, name, len, 0);

	if (at < 0) {
		lua_pushnil(L);
		return 1;
	}
	gr_message_push_values(L, r->head, r->bytes, name, len, at);
	return 1;
}

static void get_headers(lua_State *L, const struct gr_httpd_request *r)
{
	gr_message_push_headers(L, r->head, r->bytes);
}

/* ---- The target ---- */

/* Pushes the text without escapes; as it is if they are wrong. */
static void push_decoded(lua_State *L, const char *p, size_t len, int flags)
{
	char *out;
	ssize_t n;

	if (memchr(p, '%', len) == NULL && !((flags & GR_DECODE_PLUS) && memchr(p, '+', len))) {
		lua_pushlstring(L, p, len);
		return;
	}
	out = lua_newuserdata(L, len);
	n = gr_percent_decode(out, p, len, flags);
	lua_pushlstring(L, n < 0 ? p : out, n < 0 ? len : (size_t)n);
	lua_remove(L, -2);
}

static void get_path(lua_State *L, const struct gr_httpd_request *r)
{
	struct gr_http_span path = r->head->path;

	if (path.len == 0)
		lua_pushstring(L, r->head->form == GR_FORM_ABSOLUTE ? "/" : "");
	else
		push_decoded(L, r->bytes + path.off, path.len, 0);
}

static void get_raw_path(lua_State *L, const struct gr_httpd_request *r)
{
	push_span(L, r, r->head->path);
}

/* Fills the table on top with the pairs; the first of several with one name counts. */
static void add_pairs(lua_State *L, struct gr_slice rest)
{
	struct gr_slice name, value;

	while (gr_query_next(&rest, &name, &value)) {
		push_decoded(L, name.p, name.len, GR_DECODE_PLUS);
		lua_pushvalue(L, -1);
		lua_rawget(L, -3);
		if (lua_isnil(L, -1)) {
			lua_pop(L, 1);
			push_decoded(L, value.p ? value.p : "", value.len, GR_DECODE_PLUS);
			lua_rawset(L, -3);
		} else {
			lua_pop(L, 2);
		}
	}
}

static void get_query(lua_State *L, const struct gr_httpd_request *r)
{
	lua_newtable(L);
	add_pairs(L, gr_http_slice(r->bytes, r->head->query));
}

static void get_query_string(lua_State *L, const struct gr_httpd_request *r)
{
	push_span(L, r, r->head->query);
}

/* parse_query(text): pairs of a query or a form, for lualib/grun/http. Returns the table and a list of all of them. */
int gr_httpd_l_parse_query(lua_State *L)
{
	struct gr_slice rest, name, value;
	int i = 0;

	rest.p = luaL_checklstring(L, 1, &rest.len);
	lua_newtable(L);
	add_pairs(L, rest);
	lua_newtable(L);
	while (gr_query_next(&rest, &name, &value)) {
		push_decoded(L, name.p, name.len, GR_DECODE_PLUS);
		lua_rawseti(L, -2, ++i);
		push_decoded(L, value.p ? value.p : "", value.len, GR_DECODE_PLUS);
		lua_rawseti(L, -2, ++i);
	}
	return 2;
}

/* ---- What req.name gives ---- */

static void get_method(lua_State *L, const struct gr_httpd_request *r)
{
	push_span(L, r, r->head->verb);
}

static void get_target(lua_State *L, const struct gr_httpd_request *r)
{
	push_span(L, r, r->head->target);
}

static void get_version(lua_State *L, const struct gr_httpd_request *r)
{
	lua_pushstring(L, r->head->minor ? "1.1" : "1.0");
}

static struct gr_slice field(const struct gr_httpd_request *r, const char *name)
{
	int at = gr_http_find(r->head, r->bytes, name, strlen(name), 0);

	return at < 0 ? (struct gr_slice){NULL, 0} : gr_http_value(r->head, r->bytes, (uint32_t)at);
}

/* What the outermost trusted proxy says in such a field; p == NULL: nothing that counts. */
static struct gr_slice forwarded(const struct gr_httpd_request *r, const char *name)
{
	struct gr_slice none = {NULL, 0}, rest, item;
	unsigned n = 0, wanted = r->conn->config->trusted;

	if (wanted == 0)
		return none;
	rest = field(r, name);
	while (rest.p && gr_list_next(&rest, &item))
		n++;
	if (n < wanted)
		return none;
	rest = field(r, name);
	for (wanted = n - wanted + 1; wanted > 0; wanted--)
		gr_list_next(&rest, &item);
	return item;
}

static void get_host(lua_State *L, const struct gr_httpd_request *r)
{
	struct gr_slice host = forwarded(r, "x-forwarded-host");

	if (host.p && gr_http_host_valid(host.p, host.len))
		lua_pushlstring(L, host.p, host.len);
	else
		push_span(L, r, r->head->host);
}

static void get_scheme(lua_State *L, const struct gr_httpd_request *r)
{
	struct gr_slice scheme = forwarded(r, "x-forwarded-proto");
	bool https = scheme.p ? gr_slice_is(scheme, "https") : r->conn->config->https;

	lua_pushstring(L, https ? "https" : "http");
}

static void get_peer(lua_State *L, const struct gr_httpd_request *r)
{
	struct gr_slice node = forwarded(r, "x-forwarded-for");
	struct gr_addr addr;

	if (node.p && gr_forwarded_node(node, &addr))
		gr_net_push_addr(L, &addr);
	else
		gr_httpd_push_peer(L, r->conn);
}

static void get_sockname(lua_State *L, const struct gr_httpd_request *r)
{
	struct gr_addr addr;

	if (r->conn->stream->fd < 0 || gr_sock_name(r->conn->stream->fd, &addr) < 0)
		lua_pushnil(L);
	else
		gr_net_push_addr(L, &addr);
}

static void get_content_length(lua_State *L, const struct gr_httpd_request *r)
{
	if (r->head->content_length < 0)
		lua_pushnil(L);
	else
		lua_pushnumber(L, (lua_Number)r->head->content_length);
}

static void get_conn(lua_State *L, const struct gr_httpd_request *r)
{
	gr_httpd_push_env(L, r);
	lua_rawgeti(L, -1, GR_HTTPD_CONN);
	lua_remove(L, -2);
}

/* What a router found in the path takes its place. */
static void get_params(lua_State *L, const struct gr_httpd_request *r)
{
	(void)r;
	lua_newtable(L);
}

static const struct getter {
	const char *name;
	void (*push)(lua_State *L, const struct gr_httpd_request *r);
	int slot; /* made once and kept there; 0: made each time */
} getters[] = {
	{"method", get_method, 0},
	{"path", get_path, 0},
	{"raw_path", get_raw_path, 0},
	{"params", get_params, KEPT_PARAMS},
	{"query", get_query, KEPT_QUERY},
	{"headers", get_headers, KEPT_HEADERS},
	{"query_string", get_query_string, 0},
	{"target", get_target, 0},
	{"version", get_version, 0},
	{"host", get_host, 0},
	{"scheme", get_scheme, 0},
	{"peer", get_peer, KEPT_PEER},
	{"sockname", get_sockname, KEPT_SOCKNAME},
	{"content_length", get_content_length, 0},
	{"conn", get_conn, 0},
};

enum { GETTERS = sizeof(getters) / sizeof(getters[0]) };

/* The getters' names as Lua has them: equal strings are the same string, so addresses are enough to compare. The metatable
 * keeps them. */
static const char *names[GETTERS];

static const struct getter *find_getter(const char *name)
{
	for (int i = 0; i < GETTERS; i++)
		if (names[i] == name)
			return &getters[i];
	return NULL;
}

/* Pushes the request's own environment, which is made when there is none. */
static void push_own(lua_State *L, struct gr_httpd_request *r)
{
	lua_getfenv(L, 1);
	if (r->keeps)
		return;
	lua_createtable(L, KEPT_PARAMS, 0);
	lua_insert(L, -2);
	lua_rawseti(L, -2, KEPT_ENV);
	lua_pushvalue(L, -1);
	lua_setfenv(L, 1);
	r->keeps = true;
}

/* What the getter gives, made or kept. */
static int get_kept(lua_State *L, struct gr_httpd_request *r, const struct getter *g)
{
	if (r->keeps) {
		lua_getfenv(L, 1);
		lua_rawgeti(L, -1, g->slot);
		if (!lua_isnil(L, -1))
			return 1;
	}
	g->push(L, r);
	push_own(L, r);
	lua_pushvalue(L, -2);
	lua_rawseti(L, -2, g->slot);
	lua_pop(L, 1);
	return 1;
}

/* Upvalue: the methods. */
static int l_request_index(lua_State *L)
{
	struct gr_httpd_request *r = check_request(L);
	const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : NULL;
	const struct getter *g = name ? find_getter(name) : NULL;

	if (g && g->slot)
		return get_kept(L, r, g);
	if (g) {
		g->push(L, r);
		return 1;
	}
	lua_settop(L, 2);
	lua_pushvalue(L, 2);
	lua_rawget(L, lua_upvalueindex(1));
	if (!lua_isnil(L, 3) || !name || !r->keeps)
		return 1;
	lua_getfenv(L, 1);
	lua_pushvalue(L, 2);
	lua_rawget(L, -2);
	return 1;
}

/* Whatever a script wants to remember with a request: a user's name, a route's parameters. */
static int l_request_newindex(lua_State *L)
{
	struct gr_httpd_request *r = check_request(L);
	const struct getter *g;

	luaL_checktype(L, 2, LUA_TSTRING);
	g = find_getter(lua_tostring(L, 2));
	push_own(L, r);
	if (g && g->slot) {
		lua_pushvalue(L, 3);
		lua_rawseti(L, -2, g->slot);
	} else {
		lua_pushvalue(L, 2);
		lua_pushvalue(L, 3);
		lua_rawset(L, -3);
	}
	return 0;
}

static int l_request_tostring(lua_State *L)
{
	const struct gr_httpd_request *r = check_request(L);

	lua_pushliteral(L, "request ");
	push_span(L, r, r->head->verb);
	lua_pushliteral(L, " ");
	push_span(L, r, r->head->target);
	lua_concat(L, 4);
	return 1;
}

/* _fail(status): the answer if the handler has none of its own. */
static int l_request_fail(lua_State *L)
{
	gr_httpd_check_turn(L)->fallback = (int)luaL_checkinteger(L, 2);
	return 0;
}

int gr_httpd_l_response(lua_State *L)
{
	struct gr_httpd_conn *c = gr_httpd_check_turn(L);

	gr_httpd_push_env(L, check_request(L));
	gr_httpd_push_response(L, c, lua_gettop(L));
	return 1;
}

/* ---- The class ---- */

static const luaL_Reg methods[] = {
	{"header", l_request_header},
	{"read", gr_httpd_l_request_read},
	{"body", gr_httpd_l_request_body},
	{"_fail", l_request_fail},
	{NULL, NULL},
};

void gr_httpd_request_init(lua_State *L)
{
	gr_message_init(L);
	luaL_newmetatable(L, CLASS);
	lua_newtable(L);
	for (const luaL_Reg *m = methods; m->name; m++) {
		lua_pushcfunction(L, m->func);
		lua_setfield(L, -2, m->name);
	}
	lua_pushvalue(L, -1);
	lua_setfield(L, -3, "methods");
	lua_pushcclosure(L, l_request_index, 1);
	lua_setfield(L, -2, "__index");
	for (int i = 0; i < GETTERS; i++) {
		lua_pushstring(L, getters[i].name);
		names[i] = lua_tostring(L, -1);
		lua_rawseti(L, -2, i + 1);
	}
	lua_pushcfunction(L, l_request_newindex);
	lua_setfield(L, -2, "__newindex");
	lua_pushcfunction(L, l_request_tostring);
	lua_setfield(L, -2, "__tostring");
	metatable = luaL_ref(L, LUA_REGISTRYINDEX);
}
