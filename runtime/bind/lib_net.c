/* SPDX-License-Identifier: MIT */
/* Sockets for Lua: grun.core.net, that is connect, listen, pair, listeners and waiting for raw descriptors. */
#include "bind/lib_net.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bind/lib_tls.h"
#include "bind/luautil.h"
#include "net/listener.h"
#include "net/resolve.h"

static const double LOOK_AGAIN = 1; /* seconds */
static const char LISTENER[] = "grun.listener", WAIT[] = "grun.wait";

/* ---- Shared with lib_conn.c ---- */

void gr_net_set_functions(lua_State *L, const luaL_Reg *f, int metatable)
{
	for (; f->name; f++) {
		lua_pushvalue(L, metatable);
		lua_pushcclosure(L, f->func, 1);
		lua_setfield(L, -2, f->name);
	}
}

void gr_net_new_class(lua_State *L, const char *name, const char *label, const luaL_Reg *methods, const luaL_Reg *meta)
{
	int mt;

	luaL_newmetatable(L, name);
	mt = lua_gettop(L);
	gr_net_set_functions(L, meta, mt);
	lua_newtable(L);
	gr_net_set_functions(L, methods, mt);
	lua_setfield(L, mt, "__index");
	lua_pushstring(L, label);
	lua_setfield(L, mt, "__name");
}

void *gr_net_check_self(lua_State *L, const char *label)
{
	void *self = lua_touserdata(L, 1);
	int same;

	if (self && lua_getmetatable(L, 1)) {
		same = lua_rawequal(L, -1, lua_upvalueindex(1));
		lua_pop(L, 1);
		if (same)
			return self;
	}
	luaL_argerror(L, 1, lua_pushfstring(L, "%s expected, got %s", label, luaL_typename(L, 1)));
	return NULL;
}

int gr_net_fail_text(lua_State *L, int rc, const char *message)
{
	lua_pushnil(L);
	lua_pushstring(L, message);
	lua_pushstring(L, gr_errname(rc));
	return 3;
}

void gr_net_push_masked(lua_State *L, const char *text, size_t len)
{
	size_t n;
	const char *password = gr_addr_password(text, len, &n);

	if (password == NULL) {
		lua_pushlstring(L, text, len);
		return;
	}
	lua_pushlstring(L, text, (size_t)(password - text));
	lua_pushliteral(L, "***");
	lua_pushlstring(L, password + n, (size_t)(text + len - password) - n);
	lua_concat(L, 3);
}

int gr_net_fail_address(lua_State *L, const char *text, size_t len, const char *why)
{
	gr_net_push_masked(L, text, len);
	return gr_net_fail_text(L, GR_BAD_ADDRESS,
				lua_pushfstring(L, "bad address \"%s\": %s", lua_tostring(L, -1), why));
}

void gr_net_push_addr(lua_State *L, const struct gr_addr *addr)
{
	char text[GR_ADDR_TEXT];

	lua_pushlstring(L, text, gr_addr_format(addr, GR_SCHEME_TCP, text));
}

/* ---- Arguments ---- */

enum option_kind { OPT_BOOL, OPT_INT, OPT_MODE, OPT_OTHER };
enum option_use { FOR_CONNECT = 1, FOR_LISTEN = 2 };

/* OPT_OTHER is read where it is used. */
static const struct option {
	const char *name;
	enum option_kind kind;
	int use;
	size_t offset;
} options[] = {
	{"nodelay", OPT_BOOL, FOR_CONNECT | FOR_LISTEN, offsetof(struct gr_sock_opts, nodelay)},
	{"keepalive", OPT_BOOL, FOR_CONNECT | FOR_LISTEN, offsetof(struct gr_sock_opts, keepalive)},
	{"reuse_port", OPT_BOOL, FOR_LISTEN, offsetof(struct gr_sock_opts, reuse_port)},
	{"v6only", OPT_BOOL, FOR_LISTEN, offsetof(struct gr_sock_opts, v6only)},
	{"fastopen", OPT_BOOL, FOR_CONNECT, offsetof(struct gr_sock_opts, fastopen)},
	{"fastopen", OPT_INT, FOR_LISTEN, offsetof(struct gr_sock_opts, fastopen_queue)},
	{"max_unsent", OPT_INT, FOR_LISTEN, offsetof(struct gr_sock_opts, max_unsent)},
	{"backlog", OPT_INT, FOR_LISTEN, offsetof(struct gr_sock_opts, backlog)},
	{"mode", OPT_MODE, FOR_LISTEN, offsetof(struct gr_sock_opts, mode)},
	{"timeout", OPT_OTHER, FOR_CONNECT, 0},
	{"bind", OPT_OTHER, FOR_CONNECT, 0},
};

static const struct option *find_option(lua_State *L, int idx, const char *name, int use)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if ((options[i].use & use) && strcmp(options[i].name, name) == 0)
			return &options[i];
	luaL_argerror(L, idx, lua_pushfstring(L, "unknown option '%s'", name));
	return NULL;
}

void gr_net_bad_option(lua_State *L, int idx, const char *name, const char *wanted)
{
	const char *got = luaL_typename(L, -1);

	luaL_argerror(L, idx, lua_pushfstring(L, "option '%s': %s expected, got %s", name, wanted, got));
}

int gr_net_check_mode(lua_State *L, int idx, const char *name)
{
	int type = lua_type(L, -1);
	const char *text = type == LUA_TSTRING ? lua_tostring(L, -1) : "";
	char *end;
	long mode = type == LUA_TNUMBER ? (long)lua_tonumber(L, -1) : strtol(text, &end, 8);

	if (mode < 0 || mode > 07777 || (type != LUA_TNUMBER && (end == text || *end)))
		gr_net_bad_option(L, idx, name, "permissions such as \"0660\"");
	return (int)mode;
}

/* Stores the value on top of the stack. */
static void read_option(lua_State *L, int idx, const struct option *o, struct gr_sock_opts *out)
{
	char *field = (char *)out + o->offset;

	if (o->kind == OPT_BOOL) {
		if (!lua_isboolean(L, -1))
			gr_net_bad_option(L, idx, o->name, "boolean");
		*(bool *)field = lua_toboolean(L, -1);
	} else if (o->kind == OPT_INT) {
		if (lua_type(L, -1) != LUA_TNUMBER)
			gr_net_bad_option(L, idx, o->name, "number");
		*(int *)(void *)field = (int)lua_tointeger(L, -1);
	} else if (o->kind == OPT_MODE) {
		*(int *)(void *)field = gr_net_check_mode(L, idx, o->name);
	}
}

static struct gr_sock_opts check_opts(lua_State *L, int idx, int use)
{
	struct gr_sock_opts opts = gr_sock_defaults;

	if (lua_isnoneornil(L, idx))
		return opts;
	luaL_checktype(L, idx, LUA_TTABLE);
	lua_pushnil(L);
	while (lua_next(L, idx)) {
		if (lua_type(L, -2) != LUA_TSTRING)
			luaL_argerror(L, idx, "option names must be strings");
		read_option(L, idx, find_option(L, idx, lua_tostring(L, -2), use), &opts);
		lua_pop(L, 1);
	}
	return opts;
}

/* The end of a connect that starts now, from opts.timeout. */
static double check_timeout(lua_State *L, int idx)
{
	double seconds = INFINITY;

	if (lua_isnoneornil(L, idx))
		return INFINITY;
	lua_getfield(L, idx, "timeout");
	if (!lua_isnil(L, -1)) {
		if (lua_type(L, -1) != LUA_TNUMBER || !(lua_tonumber(L, -1) >= 0))
			gr_net_bad_option(L, idx, "timeout", "number of seconds");
		seconds = lua_tonumber(L, -1);
	}
	lua_pop(L, 1);
	return gr_until(seconds);
}

/* An address of a stream. Pushes the failure and returns 3, or returns 0. */
static int parse(lua_State *L, const char *text, size_t len, struct gr_endpoint *out)
{
	char reason[GR_ADDR_WHY];
	const char *why = reason;

	if (gr_addr_parse(text, len, out, reason) == 0) {
		if (out->scheme == GR_SCHEME_TCP || out->scheme == GR_SCHEME_TLS || out->scheme == GR_SCHEME_UNIX ||
		    out->scheme == GR_SCHEME_FD)
			return 0;
		why = "not an address of a stream";
	}
	return gr_net_fail_address(L, text, len, why);
}

/* The same for opts.bind; sets *given. */
static int parse_bind(lua_State *L, int idx, struct gr_addr *local, bool *given)
{
	struct gr_endpoint e;
	const char *text;
	size_t len;
	int rc;

	*given = false;
	if (lua_isnoneornil(L, idx))
		return 0;
	lua_getfield(L, idx, "bind");
	if (lua_isnil(L, -1))
		return 0;
	if (lua_type(L, -1) != LUA_TSTRING)
		gr_net_bad_option(L, idx, "bind", "address");
	text = lua_tolstring(L, -1, &len);
	rc = parse(L, text, len, &e);
	if (rc)
		return rc;
	if (e.scheme == GR_SCHEME_FD)
		gr_net_bad_option(L, idx, "bind", "address");
	rc = gr_resolve(&e, true, local, 1, 0);
	*given = true;
	return rc < 0 ? gr_lua_failf(L, rc, "cannot bind to %s", text) : 0;
}

/* Pushes why the descriptor in the address `text` was not taken. */
static int fail_adopt(lua_State *L, int rc, const char *doing, const char *text, const char *wanted)
{
	if (rc != -EINVAL && rc != -ENOTSOCK)
		return gr_lua_failf(L, rc, "%s %s", doing, text);
	return gr_net_fail_text(L, rc, lua_pushfstring(L, "%s %s: it is not %s", doing, text, wanted));
}

/* The context that lualib/grun/tls.lua passes for "tls:" addresses. */
static struct gr_tls_context *check_tls(lua_State *L, int idx)
{
	struct gr_tls_context *ctx = gr_tls_to_context(L, idx);

	if (ctx == NULL)
		luaL_argerror(L, idx, "TLS context expected");
	return ctx;
}

/* ---- Listeners ---- */

struct listener {
	struct gr_listener l;       /* first, so that a pointer to one is a pointer to the other */
	struct gr_tls_context *tls; /* what its connections speak, or NULL */
};

static struct gr_listener *check_listener(lua_State *L)
{
	return gr_net_check_self(L, "listener");
}

static enum gr_scheme scheme_of(const struct gr_listener *l)
{
	return ((const struct listener *)l)->tls ? GR_SCHEME_TLS : GR_SCHEME_TCP;
}

static int open_accepted(struct gr_stream *s, int fd, const struct gr_listener *l)
{
	struct gr_tls_context *tls = ((const struct listener *)l)->tls;
	int rc = 0;

	gr_stream_open(s, fd);
	gr_stream_accepted(s);
	if (tls)
		rc = gr_tls_start(s, tls, true, NULL, 0);
	if (rc < 0)
		gr_stream_close(s);
	return rc;
}

static int l_listener_accept(lua_State *L)
{
	struct gr_listener *l = check_listener(L);
	double until = gr_lua_opt_until(L, 2);
	int rc = gr_lua_enter_wait(L), fd;
	struct gr_stream *s;

	if (rc)
		return rc;
	s = gr_conn_new(L);
	fd = gr_listener_accept(l, until);
	rc = fd < 0 ? fd : open_accepted(s, fd, l);
	return rc < 0 ? gr_lua_fail(L, rc) : 1;
}

static int l_listener_address(lua_State *L)
{
	const struct gr_listener *l = check_listener(L);
	char text[GR_ADDR_TEXT];

	lua_pushlstring(L, text, gr_addr_format(&l->addr, scheme_of(l), text));
	return 1;
}

/* _tell(): see struct gr_listener. */
static int l_listener_tell(lua_State *L)
{
	check_listener(L)->tells = true;
	return 0;
}

static int l_listener_stop(lua_State *L)
{
	gr_listener_stop(check_listener(L));
	return 0;
}

static int l_listener_gc(lua_State *L)
{
	struct gr_listener *l = check_listener(L);

	gr_listener_close(l);
	gr_tls_context_unref(((struct listener *)l)->tls);
	((struct listener *)l)->tls = NULL;
	return 0;
}

static int l_listener_close(lua_State *L)
{
	gr_listener_close(check_listener(L));
	lua_pushboolean(L, 1);
	return 1;
}

static int l_listener_fd(lua_State *L)
{
	const struct gr_listener *l = check_listener(L);

	if (l->fd < 0)
		return gr_lua_fail(L, GR_CLOSED);
	lua_pushinteger(L, l->fd);
	return 1;
}

static int l_listener_tostring(lua_State *L)
{
	const struct gr_listener *l = check_listener(L);
	char text[GR_ADDR_TEXT];

	if (l->fd < 0) {
		lua_pushliteral(L, "listener closed");
		return 1;
	}
	gr_addr_format(&l->addr, scheme_of(l), text);
	lua_pushfstring(L, "listener %s (fd %d)", text, l->fd);
	return 1;
}

static int listen_on(lua_State *L, struct gr_listener *l, const char *text, const struct gr_endpoint *e,
		     const struct gr_sock_opts *opts)
{
	struct gr_addr addrs[GR_ADDR_MAX];
	int rc;

	if (e->scheme == GR_SCHEME_FD) {
		rc = gr_listener_adopt(l, e->fd, opts);
		return rc < 0 ? fail_adopt(L, rc, "cannot listen on", text, "a listening stream socket") : 1;
	}
	rc = gr_resolve(e, true, addrs, GR_ADDR_MAX, 0);
	if (rc > 0)
		rc = gr_listener_open(l, addrs, rc, opts);
	return rc < 0 ? gr_lua_failf(L, rc, "cannot listen on %s", text) : 1;
}

static int l_net_listen(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	struct gr_sock_opts opts = check_opts(L, 2, FOR_LISTEN);
	struct listener *l;
	struct gr_endpoint e;
	int rc = parse(L, text, len, &e);

	if (rc)
		return rc;
	lua_settop(L, 3);
	l = lua_newuserdata(L, sizeof(*l));
	gr_listener_create(&l->l);
	l->tls = NULL;
	luaL_getmetatable(L, LISTENER);
	lua_setmetatable(L, -2);
	if (e.scheme == GR_SCHEME_TLS || !lua_isnoneornil(L, 3))
		gr_tls_context_ref(l->tls = check_tls(L, 3));
	return listen_on(L, &l->l, text, &e, &opts);
}

/* ---- Connecting ---- */

static int adopt_conn(lua_State *L, const char *text, int fd, const struct gr_sock_opts *opts)
{
	struct gr_stream *s = gr_conn_new(L);
	int rc = gr_sock_adopt(fd, GR_SOCK_CONNECTED, opts);

	if (rc < 0)
		return fail_adopt(L, rc, "cannot connect to", text, "a connected stream socket");
	gr_stream_open(s, fd);
	return 1;
}

/* Arguments 3 and 4 are the context and, unless it is the address's, the name that the certificate must be for. */
static int connect_tls(lua_State *L, struct gr_stream *s, const struct gr_endpoint *e, double until)
{
	const char *host = luaL_optstring(L, 4, e->name[0] ? e->name : "localhost");
	int rc = gr_tls_start(s, check_tls(L, 3), false, host, e->port);

	if (rc == 0)
		rc = gr_tls_handshake(s, until);
	if (rc < 0)
		gr_stream_close(s);
	return rc;
}

static int l_net_connect(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	struct gr_sock_opts opts = check_opts(L, 2, FOR_CONNECT);
	double until = check_timeout(L, 2);
	struct gr_addr addrs[GR_ADDR_MAX], local;
	struct gr_stream *s;
	struct gr_endpoint e;
	bool bound;
	int rc;

	lua_settop(L, 4); /* the last two are for connect_tls */
	rc = gr_lua_enter_wait(L);
	if (rc || (rc = parse(L, text, len, &e)) || (rc = parse_bind(L, 2, &local, &bound)))
		return rc;
	if (e.scheme == GR_SCHEME_FD)
		return adopt_conn(L, text, e.fd, &opts);
	s = gr_conn_new(L);
	rc = gr_resolve(&e, false, addrs, GR_ADDR_MAX, until);
	if (rc > 0)
		rc = gr_stream_connect(s, addrs, rc, bound ? &local : NULL, &opts, until);
	if (rc == 0 && e.scheme == GR_SCHEME_TLS)
		rc = connect_tls(L, s, &e, until);
	return rc < 0 ? gr_lua_failf(L, rc, "cannot connect to %s", text) : 1;
}

static int l_net_pair(lua_State *L)
{
	struct gr_stream *a = gr_conn_new(L), *b = gr_conn_new(L);
	int fds[2], rc = gr_sock_pair(fds);

	if (rc < 0)
		return gr_lua_fail(L, rc);
	gr_stream_open(a, fds[0]);
	gr_stream_open(b, fds[1]);
	return 2;
}

/* ---- Raw descriptors ---- */

/* A wait goes through an epoll descriptor of its own: libev aborts when a descriptor that it watches was closed. */
struct raw_wait {
	struct gr_io io; /* of the epoll descriptor */
	int fd;          /* what is waited for */
	short events;    /* of poll(2), which are epoll's as well */
};

static void end_raw(struct raw_wait *w)
{
	if (w->io.ev.fd < 0)
		return;
	gr_io_end(&w->io, GR_CLOSED);
	close(w->io.ev.fd);
	w->io.ev.fd = -1;
}

static int l_wait_gc(lua_State *L)
{
	end_raw(lua_touserdata(L, 1));
	return 0;
}

static int poll_once(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	/* poll(2) ignores negative ones. */
	if (fd < 0)
		return -EBADF;
	if (poll(&p, 1, 0) <= 0)
		return GR_TIMEOUT;
	return p.revents & POLLNVAL ? -EBADF : 0;
}

/* Nothing tells when a descriptor that is not ours was closed, so one look at it in each second. */
static int wait_looking(struct raw_wait *w, double until, const char *what)
{
	double look;
	int rc, seen;

	do {
		look = gr_until(LOOK_AGAIN);
		rc = gr_io_wait(&w->io, look < until ? look : until, what);
		if (rc < 0 && rc != GR_TIMEOUT)
			return rc;
		seen = poll_once(w->fd, w->events);
		rc = seen == GR_TIMEOUT ? rc : seen;
	} while (rc == GR_TIMEOUT && look < until);
	return rc;
}

static int begin_raw(struct raw_wait *w)
{
	struct epoll_event event = {.events = (uint32_t)w->events};
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (epoll < 0)
		return -errno;
	gr_io_init(&w->io, epoll, EV_READ);
	return epoll_ctl(epoll, EPOLL_CTL_ADD, w->fd, &event) < 0 ? -errno : 0;
}

static int wait_raw(lua_State *L, int fd, short events, double until, const char *what)
{
	struct raw_wait *w = lua_newuserdata(L, sizeof(*w));
	int rc;

	gr_io_init(&w->io, -1, EV_READ);
	w->fd = fd;
	w->events = events;
	luaL_getmetatable(L, WAIT);
	lua_setmetatable(L, -2);
	rc = begin_raw(w);
	if (rc == 0)
		rc = wait_looking(w, until, what);
	end_raw(w);
	return rc;
}

static int wait_for(lua_State *L, short events, const char *what)
{
	int fd = (int)luaL_checkinteger(L, 1), rc;
	double until = gr_lua_opt_until(L, 2);

	rc = gr_lua_enter_wait(L);
	if (rc)
		return rc;
	rc = poll_once(fd, events);
	if (rc == GR_TIMEOUT && until > 0)
		rc = wait_raw(L, fd, events, until, what);
	if (rc < 0)
		return gr_lua_fail(L, rc);
	lua_pushboolean(L, 1);
	return 1;
}

static int l_net_wait_readable(lua_State *L)
{
	return wait_for(L, POLLIN, "wait_readable");
}

static int l_net_wait_writable(lua_State *L)
{
	return wait_for(L, POLLOUT, "wait_writable");
}

/* ---- The module ---- */

static const luaL_Reg listener_methods[] = {
	{"accept", l_listener_accept},
	{"address", l_listener_address},
	{"close", l_listener_close},
	{"fd", l_listener_fd},
	{"_stop", l_listener_stop},
	{"_tell", l_listener_tell},
	{NULL, NULL},
};

static const luaL_Reg listener_meta[] = {
	{"__gc", l_listener_gc},
	{"__tostring", l_listener_tostring},
	{NULL, NULL},
};

static const luaL_Reg no_methods[] = {
	{NULL, NULL},
};

static const luaL_Reg wait_meta[] = {
	{"__gc", l_wait_gc},
	{NULL, NULL},
};

static const luaL_Reg functions[] = {
	{"connect", l_net_connect},
	{"listen", l_net_listen},
	{"pair", l_net_pair},
	{"wait_readable", l_net_wait_readable},
	{"wait_writable", l_net_wait_writable},
	{NULL, NULL},
};

int luaopen_grun_core_net(lua_State *L)
{
	gr_conn_init(L);
	gr_net_new_class(L, LISTENER, "listener", listener_methods, listener_meta);
	gr_net_new_class(L, WAIT, "wait", no_methods, wait_meta);
	lua_pop(L, 2);
	lua_newtable(L);
	for (const luaL_Reg *f = functions; f->name; f++) {
		lua_pushcfunction(L, f->func);
		lua_setfield(L, -2, f->name);
	}
	return 1;
}
