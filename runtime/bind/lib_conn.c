/* SPDX-License-Identifier: MIT */
/* Connections for Lua: everything but reading and writing (lib_conn_read.c, lib_conn_write.c). */
#include "bind/lib_net.h"

#include <errno.h>
#include <limits.h>
#include <math.h>

#include "bind/luautil.h"

const char gr_conn_class[] = "grun.conn";

int gr_conn_bad_self(lua_State *L)
{
	return luaL_argerror(L, 1, lua_pushfstring(L, "conn expected, got %s", luaL_typename(L, 1)));
}

struct gr_stream *gr_conn_new(lua_State *L)
{
	struct gr_conn *c = lua_newuserdata(L, sizeof(*c));

	c->class = gr_conn_class;
	gr_stream_create(&c->stream);
	luaL_getmetatable(L, gr_conn_class);
	lua_setmetatable(L, -2);
	return &c->stream;
}

static int push_true(lua_State *L)
{
	lua_pushboolean(L, 1);
	return 1;
}

/* ---- State and options ---- */

static int l_conn_shutdown(lua_State *L)
{
	static const char *const names[] = {"r", "w", "rw", NULL};
	static const int how[] = {SHUT_RD, SHUT_WR, SHUT_RDWR};
	struct gr_stream *s = gr_conn_check(L);
	int rc = gr_stream_shutdown(s, how[luaL_checkoption(L, 2, NULL, names)]);

	return rc < 0 ? gr_lua_fail(L, rc) : push_true(L);
}

static int l_conn_close(lua_State *L)
{
	gr_stream_close(gr_conn_check(L));
	return push_true(L);
}

static int l_conn_gc(lua_State *L)
{
	gr_stream_destroy(gr_conn_check(L));
	return 0;
}

static int l_conn_closed(lua_State *L)
{
	lua_pushboolean(L, gr_conn_check(L)->fd < 0);
	return 1;
}

static int l_conn_settimeout(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	double seconds = luaL_optnumber(L, 2, INFINITY);

	luaL_argcheck(L, seconds >= 0, 2, "timeout must be a number of seconds, 0 or more");
	s->timeout = seconds;
	return push_true(L);
}

static int push_name(lua_State *L, int (*name)(int, struct gr_addr *))
{
	const struct gr_stream *s = gr_conn_check(L);
	struct gr_addr addr;
	int rc = s->fd < 0 ? GR_CLOSED : name(s->fd, &addr);

	if (rc < 0)
		return gr_lua_fail(L, rc);
	gr_net_push_addr(L, &addr);
	return 1;
}

static int l_conn_peername(lua_State *L)
{
	return push_name(L, gr_sock_peer);
}

static int l_conn_sockname(lua_State *L)
{
	return push_name(L, gr_sock_name);
}

static int l_conn_fd(lua_State *L)
{
	const struct gr_stream *s = gr_conn_check(L);

	if (s->fd < 0)
		return gr_lua_fail(L, GR_CLOSED);
	lua_pushinteger(L, s->fd);
	return 1;
}

static void set_number(lua_State *L, const char *key, double value)
{
	lua_pushnumber(L, value);
	lua_setfield(L, -2, key);
}

static void push_kernel_stats(lua_State *L, int fd)
{
	struct gr_sock_info info;

	gr_sock_info(fd, &info);
	if (info.unsent >= 0)
		set_number(L, "unsent", info.unsent);
	if (!info.tcp)
		return;
	set_number(L, "rtt", info.rtt);
	set_number(L, "received_ago", info.received_ago);
	set_number(L, "sent_ago", info.sent_ago);
	set_number(L, "retransmits", info.retransmits);
}

static int l_conn_stats(lua_State *L)
{
	const struct gr_stream *s = gr_conn_check(L);

	lua_createtable(L, 0, 9);
	set_number(L, "received", (double)s->received);
	set_number(L, "sent", (double)s->sent);
	set_number(L, "buffered", (double)s->len);
	set_number(L, "corked", (double)gr_stream_corked(s));
	if (s->fd >= 0)
		push_kernel_stats(L, s->fd);
	return 1;
}

/* _bytes() -> received, sent: as in stats(), without a table */
static int l_conn_bytes(lua_State *L)
{
	const struct gr_stream *s = gr_conn_check(L);

	lua_pushnumber(L, (double)s->received);
	lua_pushnumber(L, (double)s->sent);
	return 2;
}

static int l_conn_peercred(lua_State *L)
{
	const struct gr_stream *s = gr_conn_check(L);
	struct gr_sock_cred cred;
	int rc = s->fd < 0 ? GR_CLOSED : gr_sock_peercred(s->fd, &cred);

	if (rc < 0)
		return gr_lua_fail(L, rc);
	lua_createtable(L, 0, 3);
	set_number(L, "pid", cred.pid);
	set_number(L, "uid", cred.uid);
	set_number(L, "gid", cred.gid);
	return 1;
}

static const struct gr_sock_option *check_option(lua_State *L, int idx)
{
	const char *name = luaL_checkstring(L, idx);
	const struct gr_sock_option *o = gr_sock_option(name);

	if (o == NULL)
		luaL_argerror(L, idx, lua_pushfstring(L, "unknown option '%s'", name));
	return o;
}

int gr_net_getoption(lua_State *L, int fd)
{
	const struct gr_sock_option *o = check_option(L, 2);
	int value, rc = fd < 0 ? GR_CLOSED : gr_sock_get(fd, o, &value);

	if (rc < 0)
		return gr_lua_fail(L, rc);
	if (o->kind == GR_SOCK_WORD)
		lua_pushstring(L, gr_sock_word(o, value));
	else if (o->kind == GR_SOCK_MS)
		lua_pushnumber(L, value / 1e3);
	else if (o->kind == GR_SOCK_BOOL || value < 0)
		lua_pushboolean(L, value > 0);
	else
		lua_pushinteger(L, value);
	return 1;
}

static int l_conn_getoption(lua_State *L)
{
	return gr_net_getoption(L, gr_conn_check(L)->fd);
}

static int check_value(lua_State *L, int idx, const struct gr_sock_option *o)
{
	double n;

	if (o->fixed)
		luaL_argerror(L, 2, lua_pushfstring(L, "option '%s' can only be read", o->name));
	if (o->kind == GR_SOCK_BOOL) {
		luaL_checktype(L, idx, LUA_TBOOLEAN);
		return lua_toboolean(L, idx);
	}
	if (o->kind == GR_SOCK_LINGER && lua_isboolean(L, idx) && !lua_toboolean(L, idx))
		return -1;
	n = luaL_checknumber(L, idx) * (o->kind == GR_SOCK_MS ? 1000 : 1);
	luaL_argcheck(L, n >= 0, idx, "must be 0 or more");
	luaL_argcheck(L, n <= INT_MAX, idx, "too large");
	return (int)n;
}

int gr_net_setoption(lua_State *L, int fd)
{
	const struct gr_sock_option *o = check_option(L, 2);
	int value = check_value(L, 3, o), rc = fd < 0 ? GR_CLOSED : gr_sock_set(fd, o, value);

	return rc < 0 ? gr_lua_fail(L, rc) : push_true(L);
}

static int l_conn_setoption(lua_State *L)
{
	return gr_net_setoption(L, gr_conn_check(L)->fd);
}

/* ---- Descriptors over unix sockets ---- */

static int l_conn_send_fd(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	int fd = (int)luaL_checkinteger(L, 2), rc = gr_lua_enter_try(L);
	double until;

	if (rc)
		return rc;
	until = gr_stream_until(s);
	rc = gr_stream_begin_write(s, until);
	if (rc == 0) {
		rc = gr_stream_send_fd(s, fd, until);
		gr_stream_end_write(s);
	}
	return rc < 0 ? gr_lua_fail(L, rc) : push_true(L);
}

static int l_conn_recv_fd(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	double until = lua_isnoneornil(L, 2) ? gr_stream_until(s) : gr_lua_opt_until(L, 2);
	int rc = gr_lua_enter_try(L);

	if (rc)
		return rc;
	rc = gr_stream_recv_fd(s, until);
	if (rc == -EBADMSG)
		return gr_net_fail_text(L, rc, "data instead of a descriptor");
	if (rc < 0)
		return gr_lua_fail(L, rc);
	lua_pushinteger(L, rc);
	return 1;
}

/* An address without its scheme; unnamed ones are empty. */
static const char *bare_name(int fd, int (*name)(int, struct gr_addr *), char *text)
{
	struct gr_addr addr;

	if (name(fd, &addr) < 0)
		return "?";
	gr_addr_format(&addr, GR_SCHEME_TCP, text);
	return addr.u.sa.sa_family == AF_UNIX ? text + 5 : text + 6;
}

static int l_conn_tostring(lua_State *L)
{
	const struct gr_stream *s = gr_conn_check(L);
	char a[GR_ADDR_TEXT], b[GR_ADDR_TEXT];
	const char *here, *there;
	struct gr_addr addr;

	if (s->fd < 0) {
		lua_pushliteral(L, "conn closed");
		return 1;
	}
	if (gr_sock_name(s->fd, &addr) == -ENOTSOCK) {
		lua_pushfstring(L, "conn pipe (fd %d)", s->fd);
		return 1;
	}
	here = bare_name(s->fd, gr_sock_name, a);
	there = bare_name(s->fd, gr_sock_peer, b);
	if (gr_sock_name(s->fd, &addr) == 0 && addr.u.sa.sa_family != AF_UNIX)
		lua_pushfstring(L, "conn %s %s -> %s (fd %d)", s->layer ? "tls" : "tcp", here, there, s->fd);
	else if (*there)
		lua_pushfstring(L, "conn unix -> %s (fd %d)", there, s->fd);
	else
		lua_pushfstring(L, "conn unix %s%s(fd %d)", here, *here ? " " : "", s->fd);
	return 1;
}

/* ---- For grun.wait ---- */

int gr_net_check_direction(lua_State *L)
{
	static const char *const names[] = {"r", "w", NULL};

	return lua_type(L, 2) == LUA_TSTRING ? luaL_checkoption(L, 2, NULL, names) : 0;
}

static int l_conn_poll(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);

	lua_pushboolean(L, gr_net_check_direction(L) ? gr_stream_writable(s) : gr_stream_readable(s));
	return 1;
}

static int l_conn_subscribe(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);
	struct gr_io *io = gr_net_check_direction(L) ? &s->wr : &s->rd;
	int rc = s->fd < 0 ? GR_CLOSED : gr_io_subscribe(io);

	return rc < 0 ? gr_lua_fail(L, rc) : push_true(L);
}

static int l_conn_unsubscribe(lua_State *L)
{
	struct gr_stream *s = gr_conn_check(L);

	gr_io_unsubscribe(gr_net_check_direction(L) ? &s->wr : &s->rd);
	return 0;
}

static const luaL_Reg methods[] = {
	{"shutdown", l_conn_shutdown},
	{"close", l_conn_close},
	{"closed", l_conn_closed},
	{"settimeout", l_conn_settimeout},
	{"peername", l_conn_peername},
	{"sockname", l_conn_sockname},
	{"fd", l_conn_fd},
	{"stats", l_conn_stats},
	{"getoption", l_conn_getoption},
	{"setoption", l_conn_setoption},
	{"peercred", l_conn_peercred},
	{"send_fd", l_conn_send_fd},
	{"recv_fd", l_conn_recv_fd},
	{"_bytes", l_conn_bytes},
	{"_poll", l_conn_poll},
	{"_subscribe", l_conn_subscribe},
	{"_unsubscribe", l_conn_unsubscribe},
	{NULL, NULL},
};

static const luaL_Reg meta[] = {
	{"__gc", l_conn_gc},
	{"__tostring", l_conn_tostring},
	{NULL, NULL},
};

void gr_conn_init(lua_State *L)
{
	int mt;

	gr_net_new_class(L, gr_conn_class, "conn", methods, meta);
	mt = lua_gettop(L);
	lua_getfield(L, mt, "__index");
	gr_net_set_functions(L, gr_conn_read_methods, mt);
	gr_net_set_functions(L, gr_conn_write_methods, mt);
	lua_pushboolean(L, 1);
	lua_setfield(L, -2, "_polled");
	lua_pop(L, 2);
}
