/* SPDX-License-Identifier: MIT */
/* TLS for Lua: contexts, TLS on a connection, and what was agreed on. lualib/grun/tls.lua checks the options. */
#include "bind/lib_tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bind/lib_net.h"
#include "bind/luautil.h"
#include "bind/state.h"
#include "core/hub.h"
#include "core/log.h"

static const char CONTEXT[] = "grun.tls.context";

struct context {
	struct gr_tls_context *ctx; /* NULL until it is made, and when it is collected */
};

static struct context *check_context(lua_State *L)
{
	return gr_net_check_self(L, "TLS context");
}

struct gr_tls_context *gr_tls_to_context(lua_State *L, int idx)
{
	const struct context *c = lua_touserdata(L, idx);
	bool same = false;

	if (c && lua_getmetatable(L, idx)) {
		luaL_getmetatable(L, CONTEXT);
		same = lua_rawequal(L, -1, -2);
		lua_pop(L, 2);
	}
	return same ? c->ctx : NULL;
}

static struct gr_tls_context *arg_context(lua_State *L, int idx)
{
	struct gr_tls_context *ctx = gr_tls_to_context(L, idx);

	if (ctx == NULL)
		luaL_argerror(L, idx, lua_pushfstring(L, "TLS context expected, got %s", luaL_typename(L, idx)));
	return ctx;
}

/* ---- The function that chooses by name ---- */

/* Takes what it returned: a context, nil for the default certificate, or false. */
static int take_choice(lua_State *L, struct gr_tls_context **chosen)
{
	struct gr_tls_context *ctx = gr_tls_to_context(L, -1);

	if (ctx) {
		gr_tls_context_ref(ctx);
		*chosen = ctx;
		return GR_TLS_USE_CHOSEN;
	}
	if (lua_isnil(L, -1))
		return GR_TLS_USE_DEFAULT;
	if (lua_isboolean(L, -1) && !lua_toboolean(L, -1))
		return GR_TLS_REFUSE;
	gr_error_explain("sni returned a %s", luaL_typename(L, -1));
	return GR_TLS;
}

/* Runs on the thread that is in the handshake, on top of whatever it was doing. */
static int select_context(struct gr_tls_context *ctx, const char *name, struct gr_tls_context **chosen)
{
	lua_State *L = gr_current->wait_user;
	int top = lua_gettop(L), rc;

	if (!lua_checkstack(L, 8))
		return -ENOMEM;
	lua_rawgeti(L, LUA_REGISTRYINDEX, gr_tls_context_user(ctx));
	lua_pushstring(L, name);
	if (lua_pcall(L, 1, 1, 0) == 0) {
		rc = take_choice(L, chosen);
	} else {
		gr_error_explain("sni failed: %s",
				 lua_tostring(L, -1) ? lua_tostring(L, -1) : "error object is no text");
		rc = GR_TLS;
	}
	lua_settop(L, top);
	return rc;
}

static void forget_function(int user)
{
	luaL_unref(gr_lua.main, LUA_REGISTRYINDEX, user);
}

/* ---- Contexts ---- */

/* Copies of the texts in the table at `idx`; all NULL or owned by *o. */
static void read_texts(lua_State *L, int idx, struct gr_tls_options *o)
{
	const struct {
		const char *name;
		char **to;
	} texts[] = {
		{"cert", &o->cert},
		{"key", &o->key},
		{"password", &o->password},
		{"ca", &o->ca},
		{"client_ca", &o->client_ca},
		{"ciphers", &o->ciphers},
		{"ciphersuites", &o->ciphersuites},
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		lua_getfield(L, idx, texts[i].name);
		if (lua_isstring(L, -1))
			*texts[i].to = strdup(lua_tostring(L, -1));
		lua_pop(L, 1);
	}
	lua_getfield(L, idx, "alpn");
	if (lua_isstring(L, -1)) {
		o->alpn_len = lua_objlen(L, -1);
		o->alpn = malloc(o->alpn_len + 1);
		if (o->alpn)
			memcpy(o->alpn, lua_tostring(L, -1), o->alpn_len);
	}
	lua_pop(L, 1);
}

static int read_int(lua_State *L, int idx, const char *name)
{
	int n;

	lua_getfield(L, idx, name);
	n = (int)lua_tointeger(L, -1);
	lua_pop(L, 1);
	return n;
}

/* context(options, sni function or nil): the options as lualib/grun/tls.lua prepared them. */
static int l_tls_context(lua_State *L)
{
	struct gr_tls_options o = {.tickets = true};
	struct context *c;
	int rc, user = 0;

	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 2);
	c = lua_newuserdata(L, sizeof(*c));
	c->ctx = NULL;
	luaL_getmetatable(L, CONTEXT);
	lua_setmetatable(L, -2);
	o.min_version = read_int(L, 1, "min_version");
	o.max_version = read_int(L, 1, "max_version");
	o.verify = (enum gr_tls_verify)read_int(L, 1, "verify");
	lua_getfield(L, 1, "tickets");
	o.tickets = lua_isnil(L, -1) || lua_toboolean(L, -1);
	lua_pop(L, 1);
	if (!lua_isnil(L, 2)) {
		lua_pushvalue(L, 2);
		user = luaL_ref(L, LUA_REGISTRYINDEX);
	}
	read_texts(L, 1, &o);
	c->ctx = gr_tls_context_new(&o, user, &rc);
	return c->ctx ? 1 : gr_lua_fail(L, rc);
}

static int l_context_reload(lua_State *L)
{
	int rc = gr_tls_context_reload(check_context(L)->ctx);

	if (rc < 0)
		return gr_lua_fail(L, rc);
	lua_pushboolean(L, 1);
	return 1;
}

static int l_context_can_serve(lua_State *L)
{
	lua_pushboolean(L, gr_tls_context_can_serve(check_context(L)->ctx));
	return 1;
}

static int l_context_gc(lua_State *L)
{
	struct context *c = check_context(L);

	gr_tls_context_unref(c->ctx);
	c->ctx = NULL;
	return 0;
}

/* ---- Connections ---- */

/* A port that many unfit peers talk to must not fill the log. */
static void log_failure(const struct gr_stream *s, int rc)
{
	static double next;
	char peer[GR_ADDR_TEXT] = "?";
	struct gr_addr addr;
	double now = gr_now();

	if (now < next || gr_log_level < GR_LOG_INFO)
		return;
	next = now + 1;
	if (s->fd >= 0 && gr_sock_peer(s->fd, &addr) == 0)
		gr_addr_format(&addr, GR_SCHEME_TCP, peer);
	gr_log(GR_LOG_INFO, "TLS handshake with %s failed: %s", peer, gr_strerror(rc));
}

/* start(conn, context, server, host or nil, port): from now on it is TLS; does not wait. */
static int l_tls_start(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	struct gr_tls_context *ctx = arg_context(L, 2);
	bool server = lua_toboolean(L, 3);
	int rc = gr_tls_start(s, ctx, server, luaL_optstring(L, 4, NULL), (uint16_t)luaL_optinteger(L, 5, 0));

	if (rc < 0)
		return gr_lua_fail(L, rc);
	lua_pushboolean(L, 1);
	return 1;
}

/* handshake(conn [, seconds]) */
static int l_tls_handshake(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	double until = lua_isnoneornil(L, 2) ? gr_stream_until(s) : gr_lua_opt_until(L, 2);
	int rc = gr_lua_enter_wait(L);

	if (rc)
		return rc;
	rc = s->unready ? gr_tls_handshake(s, until) : s->fd < 0 ? GR_CLOSED : 0;
	if (rc < 0) {
		log_failure(s, rc);
		return gr_lua_fail(L, rc);
	}
	lua_pushboolean(L, 1);
	return 1;
}

static int l_tls_is_accepted(lua_State *L)
{
	lua_pushboolean(L, gr_conn_check(L)->accepted);
	return 1;
}

static void set_text(lua_State *L, const char *key, const char *text)
{
	if (text == NULL)
		return;
	lua_pushstring(L, text);
	lua_setfield(L, -2, key);
}

static void push_cert(lua_State *L, const struct gr_tls_cert *cert)
{
	lua_createtable(L, 0, 8);
	set_text(L, "subject", cert->subject);
	set_text(L, "issuer", cert->issuer);
	set_text(L, "serial", cert->serial);
	set_text(L, "fingerprint", cert->fingerprint);
	set_text(L, "pem", cert->pem);
	lua_pushnumber(L, cert->not_before);
	lua_setfield(L, -2, "not_before");
	lua_pushnumber(L, cert->not_after);
	lua_setfield(L, -2, "not_after");
	lua_createtable(L, cert->n_names, 0);
	for (int i = 0; i < cert->n_names; i++) {
		lua_pushlstring(L, cert->names[i], cert->lengths[i]);
		lua_rawseti(L, -2, i + 1);
	}
	lua_setfield(L, -2, "names");
}

/* info(conn) -> table, or nil if it is not TLS or the handshake is not complete */
static int l_tls_info(lua_State *L)
{
	const struct gr_stream *s = gr_conn_check(L);
	struct gr_tls_cert cert __attribute__((cleanup(gr_tls_cert_free))) = {0};
	struct gr_tls_info info;

	if (!gr_tls_info(s, &info)) {
		lua_pushnil(L);
		return 1;
	}
	lua_createtable(L, 0, 7);
	set_text(L, "version", info.version);
	set_text(L, "cipher", info.cipher);
	set_text(L, "sni", info.sni);
	if (info.alpn) {
		lua_pushlstring(L, info.alpn, info.alpn_len);
		lua_setfield(L, -2, "alpn");
	}
	lua_pushboolean(L, info.verified);
	lua_setfield(L, -2, "verified");
	lua_pushboolean(L, info.reused);
	lua_setfield(L, -2, "reused");
	if (gr_tls_peer_cert(s, &cert)) {
		push_cert(L, &cert);
		lua_setfield(L, -2, "peer");
	}
	return 1;
}

/* ---- The module ---- */

static const luaL_Reg context_methods[] = {
	{"reload", l_context_reload},
	{"can_serve", l_context_can_serve},
	{NULL, NULL},
};

static const luaL_Reg context_meta[] = {
	{"__gc", l_context_gc},
	{NULL, NULL},
};

static const luaL_Reg functions[] = {
	{"context", l_tls_context},         {"start", l_tls_start}, {"handshake", l_tls_handshake},
	{"is_accepted", l_tls_is_accepted}, {"info", l_tls_info},   {NULL, NULL},
};

int luaopen_grun_core_tls(lua_State *L)
{
	gr_tls_select = select_context;
	gr_tls_forget = forget_function;
	gr_net_new_class(L, CONTEXT, "TLS context", context_methods, context_meta);
	lua_newtable(L);
	for (const luaL_Reg *f = functions; f->name; f++) {
		lua_pushcfunction(L, f->func);
		lua_setfield(L, -2, f->name);
	}
	return 1;
}
