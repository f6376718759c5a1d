/* SPDX-License-Identifier: MIT */
/* Datagram sockets for Lua: making them, their state and options. Sending and receiving is in lib_dgram_io.c. */
#include "bind/lib_dgram.h"

#include <errno.h>
#include <string.h>

#include "bind/lib_net.h"
#include "bind/luautil.h"
#include "net/resolve.h"

static const char SOCK[] = "grun.sock";

struct gr_dgram *gr_dgram_check(lua_State *L)
{
	return gr_net_check_self(L, "sock");
}

static int push_true(lua_State *L)
{
	lua_pushboolean(L, 1);
	return 1;
}

static int finish(lua_State *L, int rc)
{
	return rc < 0 ? gr_lua_fail(L, rc) : push_true(L);
}

/* ---- Addresses ---- */

/* An address of datagrams; "host:port" alone is one of UDP. Pushes the failure and returns 3, or returns 0. */
static int parse(lua_State *L, const char *text, size_t len, struct gr_endpoint *out)
{
	char why[GR_ADDR_WHY];

	if (gr_addr_parse(text, len, out, why) < 0)
		return gr_net_fail_address(L, text, len, why);
	if (out->scheme == GR_SCHEME_TCP && strstr(text, "://") == NULL)
		out->scheme = GR_SCHEME_UDP;
	if (out->scheme == GR_SCHEME_UDP || out->scheme == GR_SCHEME_UNIXGRAM || out->scheme == GR_SCHEME_FD)
		return 0;
	return gr_net_fail_address(L, text, len, "not an address of datagrams");
}

/* Finds an address of the endpoint that the socket can send to. Parks. */
static int find_address(const struct gr_dgram *d, const struct gr_endpoint *e, double until, struct gr_addr *out)
{
	struct gr_addr found[GR_ADDR_MAX];
	int n = gr_resolve(e, false, found, GR_ADDR_MAX, until);

	if (n < 0)
		return n;
	for (int i = 0; i < n; i++) {
		if (gr_dgram_reaches(d, &found[i])) {
			*out = found[i];
			return 0;
		}
	}
	return -EAFNOSUPPORT;
}

/* The same for an address as text, which is pushed already. */
static int find_text(lua_State *L, const struct gr_dgram *d, double until, struct gr_addr *out)
{
	size_t len;
	const char *text = lua_tolstring(L, -1, &len);
	struct gr_endpoint e;
	int rc = parse(L, text, len, &e);

	if (rc)
		return rc;
	if (e.scheme == GR_SCHEME_FD)
		return gr_net_fail_address(L, text, len, "nothing can be sent to a descriptor");
	rc = find_address(d, &e, until, out);
	return rc < 0 ? gr_lua_failf(L, rc, "%s", text) : 0;
}

int gr_dgram_check_address(lua_State *L, int idx, struct gr_dgram *d, double until, struct gr_addr *out)
{
	const char *host = luaL_checkstring(L, idx);
	int port;

	if (d->family == AF_UNIX) {
		lua_pushfstring(L, "unixgram:%s", host);
		return find_text(L, d, until, out);
	}
	port = (int)luaL_checkinteger(L, idx + 1);
	luaL_argcheck(L, port > 0 && port <= 65535, idx + 1, "port out of range");
	if (gr_addr_literal(host, (uint16_t)port, out) == 0)
		return gr_dgram_reaches(d, out) ? 0 : gr_lua_failf(L, -EAFNOSUPPORT, "%s", host);
	lua_pushfstring(L, strchr(host, ':') ? "udp://[%s]:%d" : "udp://%s:%d", host, port);
	return find_text(L, d, until, out);
}

static int l_sock_peer(lua_State *L)
{
	struct gr_dgram *d = gr_dgram_check(L);
	struct gr_addr addr;
	int rc = gr_lua_enter_try(L);

	if (rc || (rc = gr_dgram_check_address(L, 2, d, gr_dgram_until(d), &addr)))
		return rc;
	gr_peer_push(L, &addr);
	return 1;
}

static int l_sock_connect(lua_State *L)
{
	struct gr_dgram *d = gr_dgram_check(L);
	const struct gr_addr *peer = gr_peer_test(L, 2);
	struct gr_addr addr;
	int rc;

	if (peer)
		return finish(L, gr_dgram_connect(d, peer));
	luaL_checkstring(L, 2);
	lua_settop(L, 2);
	rc = gr_lua_enter_try(L);
	if (rc || (rc = find_text(L, d, gr_dgram_until(d), &addr)))
		return rc;
	rc = gr_dgram_connect(d, &addr);
	return rc < 0 ? gr_lua_failf(L, rc, "cannot connect to %s", lua_tostring(L, 2)) : push_true(L);
}

static int l_sock_disconnect(lua_State *L)
{
	return finish(L, gr_dgram_disconnect(gr_dgram_check(L)));
}

/* ---- Multicast ---- */

static struct gr_interface check_interface(lua_State *L, int idx)
{
	struct gr_interface found = {0};

	if (!lua_isnoneornil(L, idx) && gr_interface_find(luaL_checkstring(L, idx), &found) < 0)
		luaL_argerror(L, idx, lua_pushfstring(L, "no interface '%s'", lua_tostring(L, idx)));
	return found;
}

static int change_group(lua_State *L,
			int (*change)(struct gr_dgram *, const struct gr_addr *, const struct gr_interface *))
{
	struct gr_dgram *d = gr_dgram_check(L);
	const char *group = luaL_checkstring(L, 2);
	struct gr_interface interface = check_interface(L, 3);
	struct gr_addr addr;
	int rc;

	if (gr_addr_literal(group, 0, &addr) < 0)
		luaL_argerror(L, 2, "IPv4 or IPv6 address of a group expected");
	rc = d->fd >= 0 && !gr_dgram_reaches(d, &addr) ? -EAFNOSUPPORT : change(d, &addr, &interface);
	return rc < 0 ? gr_lua_failf(L, rc, "%s", group) : push_true(L);
}

static int l_sock_join_group(lua_State *L)
{
	return change_group(L, gr_dgram_join);
}

static int l_sock_leave_group(lua_State *L)
{
	return change_group(L, gr_dgram_leave);
}

/* ---- State and options ---- */

static int l_sock_close(lua_State *L)
{
	gr_dgram_close(gr_dgram_check(L));
	return push_true(L);
}

static int l_sock_stop(lua_State *L)
{
	gr_dgram_stop(gr_dgram_check(L));
	return 0;
}

static int l_sock_closed(lua_State *L)
{
	lua_pushboolean(L, gr_dgram_check(L)->fd < 0);
	return 1;
}

static int l_sock_fd(lua_State *L)
{
	const struct gr_dgram *d = gr_dgram_check(L);

	if (d->fd < 0)
		return gr_lua_fail(L, GR_CLOSED);
	lua_pushinteger(L, d->fd);
	return 1;
}

static int l_sock_settimeout(lua_State *L)
{
	struct gr_dgram *d = gr_dgram_check(L);
	double seconds = luaL_optnumber(L, 2, INFINITY);

	luaL_argcheck(L, seconds >= 0, 2, "timeout must be a number of seconds, 0 or more");
	d->timeout = seconds;
	return push_true(L);
}

static int push_name(lua_State *L, const struct gr_dgram *d, int (*name)(int, struct gr_addr *))
{
	struct gr_addr addr;
	int rc = d->fd < 0 ? GR_CLOSED : name(d->fd, &addr);

	if (rc < 0)
		return gr_lua_fail(L, rc);
	gr_peer_push_text(L, &addr);
	return 1;
}

static int l_sock_sockname(lua_State *L)
{
	return push_name(L, gr_dgram_check(L), gr_sock_name);
}

static int l_sock_peername(lua_State *L)
{
	return push_name(L, gr_dgram_check(L), gr_sock_peer);
}

static int l_sock_getoption(lua_State *L)
{
	return gr_net_getoption(L, gr_dgram_check(L)->fd);
}

static int l_sock_setoption(lua_State *L)
{
	return gr_net_setoption(L, gr_dgram_check(L)->fd);
}

static void set_number(lua_State *L, const char *key, uint64_t value)
{
	lua_pushnumber(L, (double)value);
	lua_setfield(L, -2, key);
}

static int l_sock_stats(lua_State *L)
{
	const struct gr_dgram *d = gr_dgram_check(L);

	lua_createtable(L, 0, 6);
	set_number(L, "received", d->received);
	set_number(L, "received_bytes", d->received_bytes);
	set_number(L, "sent", d->sent);
	set_number(L, "sent_bytes", d->sent_bytes);
	set_number(L, "truncated", d->truncated);
	set_number(L, "dropped", gr_dgram_dropped(d));
	return 1;
}

/* "sock udp://127.0.0.1:7 -> 127.0.0.1:9 (fd 5)", without the parts that there are not. */
static int l_sock_tostring(lua_State *L)
{
	struct gr_dgram *d = gr_dgram_check(L);
	const char *there;

	if (d->fd < 0) {
		lua_pushliteral(L, "sock closed");
		return 1;
	}
	lua_pushliteral(L, "sock ");
	if (push_name(L, d, gr_sock_name) != 1)
		lua_pushliteral(L, "?");
	if (d->connected && push_name(L, d, gr_sock_peer) == 1) {
		there = lua_tostring(L, -1);
		lua_pushfstring(L, " -> %s", there + strcspn(there, ":") + (d->family == AF_UNIX ? 1 : 3));
		lua_remove(L, -2);
	}
	lua_pushfstring(L, " (fd %d)", d->fd);
	lua_concat(L, lua_gettop(L) - 1);
	return 1;
}

/* ---- For grun.wait and grun.select ---- */

static int l_sock_poll(lua_State *L)
{
	const struct gr_dgram *d = gr_dgram_check(L);

	lua_pushboolean(L, gr_net_check_direction(L) ? gr_dgram_writable(d) : gr_dgram_readable(d));
	return 1;
}

static int l_sock_subscribe(lua_State *L)
{
	struct gr_dgram *d = gr_dgram_check(L);
	struct gr_io *io = gr_net_check_direction(L) ? &d->wr : &d->rd;

	return finish(L, d->fd < 0 ? GR_CLOSED : gr_io_subscribe(io));
}

static int l_sock_unsubscribe(lua_State *L)
{
	struct gr_dgram *d = gr_dgram_check(L);

	gr_io_unsubscribe(gr_net_check_direction(L) ? &d->wr : &d->rd);
	return 0;
}

/* ---- Making one ---- */

enum option_kind { OPT_BOOL, OPT_INT, OPT_MODE, OPT_INTERFACE, OPT_MAX };

/* Numbers lie between the two limits. */
static const struct option {
	const char *name;
	enum option_kind kind;
	size_t offset;
	int least, most;
} options[] = {
	{"reuse_port", OPT_BOOL, offsetof(struct gr_dgram_opts, reuse_port), 0, 0},
	{"reuse_addr", OPT_BOOL, offsetof(struct gr_dgram_opts, reuse_addr), 0, 0},
	{"v6only", OPT_BOOL, offsetof(struct gr_dgram_opts, v6only), 0, 0},
	{"broadcast", OPT_BOOL, offsetof(struct gr_dgram_opts, broadcast), 0, 0},
	{"multicast_loop", OPT_INT, offsetof(struct gr_dgram_opts, multicast_loop), 0, 1},
	{"rcvbuf", OPT_INT, offsetof(struct gr_dgram_opts, rcvbuf), 1, INT32_MAX},
	{"sndbuf", OPT_INT, offsetof(struct gr_dgram_opts, sndbuf), 1, INT32_MAX},
	{"ttl", OPT_INT, offsetof(struct gr_dgram_opts, ttl), 1, 255},
	{"multicast_ttl", OPT_INT, offsetof(struct gr_dgram_opts, multicast_ttl), 0, 255},
	{"mode", OPT_MODE, offsetof(struct gr_dgram_opts, mode), 0, 0},
	{"multicast_interface", OPT_INTERFACE, offsetof(struct gr_dgram_opts, multicast_interface), 0, 0},
	{"max", OPT_MAX, 0, 1, GR_DGRAM_MAX},
};

static const struct option *find_option(lua_State *L, int idx)
{
	const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (strcmp(options[i].name, name) == 0)
			return &options[i];
	luaL_argerror(L, idx, lua_pushfstring(L, "unknown option '%s'", name));
	return NULL;
}

/* Of the value at the top; booleans count as 0 and 1 where these are all there is. */
static int read_int(lua_State *L, int idx, const struct option *o)
{
	double n = lua_isboolean(L, -1) && o->most == 1 ? lua_toboolean(L, -1) : lua_tonumber(L, -1);

	if (lua_type(L, -1) != LUA_TNUMBER && !(lua_isboolean(L, -1) && o->most == 1))
		gr_net_bad_option(L, idx, o->name, o->most == 1 ? "boolean" : "number");
	if (!(n >= o->least && n <= o->most))
		luaL_argerror(L, idx, lua_pushfstring(L, "option '%s' must be %d to %d", o->name, o->least, o->most));
	return (int)n;
}

static void read_interface(lua_State *L, int idx, struct gr_interface *out)
{
	const char *name = lua_tostring(L, -1);

	if (name == NULL)
		gr_net_bad_option(L, idx, "multicast_interface", "name, number or address");
	else if (gr_interface_find(name, out) < 0)
		luaL_argerror(L, idx, lua_pushfstring(L, "no interface '%s'", name));
}

static void read_option(lua_State *L, int idx, const struct option *o, struct gr_dgram_opts *out, size_t *max)
{
	void *field = (char *)out + o->offset;

	switch (o->kind) {
	case OPT_BOOL:
		if (!lua_isboolean(L, -1))
			gr_net_bad_option(L, idx, o->name, "boolean");
		*(bool *)field = lua_toboolean(L, -1);
		break;
	case OPT_INT:
		*(int *)field = read_int(L, idx, o);
		break;
	case OPT_MODE:
		*(int *)field = gr_net_check_mode(L, idx, o->name);
		break;
	case OPT_INTERFACE:
		read_interface(L, idx, field);
		break;
	case OPT_MAX:
		*max = (size_t)read_int(L, idx, o);
		break;
	}
}

static void check_opts(lua_State *L, int idx, struct gr_dgram_opts *out, size_t *max)
{
	if (lua_isnoneornil(L, idx))
		return;
	luaL_checktype(L, idx, LUA_TTABLE);
	lua_pushnil(L);
	while (lua_next(L, idx)) {
		read_option(L, idx, find_option(L, idx), out, max);
		lua_pop(L, 1);
	}
}

static const char UNNAMED[] = "unixgram:";

static int open_unbound(struct gr_dgram *d, bool is_unix, const struct gr_dgram_opts *opts)
{
	/* An IPv6 socket reaches IPv4 hosts too. */
	static const struct gr_addr inet[] = {{.u.sa.sa_family = AF_INET6}, {.u.sa.sa_family = AF_INET}},
				    local = {.u.sa.sa_family = AF_UNIX};

	return gr_dgram_open(d, is_unix ? &local : inet, is_unix ? 1 : 2, false, opts);
}

static int open_bound(struct gr_dgram *d, const struct gr_endpoint *e, const struct gr_dgram_opts *opts)
{
	struct gr_addr found[GR_ADDR_MAX];
	int n;

	if (e->scheme == GR_SCHEME_FD)
		return gr_dgram_adopt(d, e->fd);
	n = gr_resolve(e, true, found, GR_ADDR_MAX, 0);
	return n < 0 ? n : gr_dgram_open(d, found, n, true, opts);
}

static int l_dgram_udp(lua_State *L)
{
	size_t len = 0;
	const char *text = luaL_optlstring(L, 1, NULL, &len);
	struct gr_dgram_opts opts = gr_dgram_defaults;
	struct gr_endpoint e;
	struct gr_dgram *d;
	bool is_unnamed = text && strcmp(text, UNNAMED) == 0;
	int rc;

	lua_settop(L, 2);
	d = lua_newuserdata(L, sizeof(*d));
	gr_dgram_create(d);
	luaL_getmetatable(L, SOCK);
	lua_setmetatable(L, -2);
	check_opts(L, 2, &opts, &d->max);
	if (text && !is_unnamed && (rc = parse(L, text, len, &e)))
		return rc;
	rc = text && !is_unnamed ? open_bound(d, &e, &opts) : open_unbound(d, is_unnamed, &opts);
	return rc < 0 ? gr_lua_failf(L, rc, "cannot open %s", text ? text : "a socket") : 1;
}

static const luaL_Reg methods[] = {
	{"peer", l_sock_peer},
	{"connect", l_sock_connect},
	{"disconnect", l_sock_disconnect},
	{"join_group", l_sock_join_group},
	{"leave_group", l_sock_leave_group},
	{"close", l_sock_close},
	{"closed", l_sock_closed},
	{"fd", l_sock_fd},
	{"settimeout", l_sock_settimeout},
	{"sockname", l_sock_sockname},
	{"peername", l_sock_peername},
	{"getoption", l_sock_getoption},
	{"setoption", l_sock_setoption},
	{"stats", l_sock_stats},
	{"_stop", l_sock_stop},
	{"_poll", l_sock_poll},
	{"_subscribe", l_sock_subscribe},
	{"_unsubscribe", l_sock_unsubscribe},
	{NULL, NULL},
};

static const luaL_Reg meta[] = {
	{"__gc", l_sock_close},
	{"__tostring", l_sock_tostring},
	{NULL, NULL},
};

int luaopen_grun_core_dgram(lua_State *L)
{
	int mt;

	gr_peer_init(L);
	gr_net_new_class(L, SOCK, "sock", methods, meta);
	mt = lua_gettop(L);
	lua_getfield(L, mt, "__index");
	gr_net_set_functions(L, gr_dgram_io_methods, mt);
	lua_pushboolean(L, 1);
	lua_setfield(L, -2, "_polled");
	lua_createtable(L, 0, 2);
	lua_pushcfunction(L, l_dgram_udp);
	lua_setfield(L, -2, "udp");
	lua_pushvalue(L, -2);
	lua_setfield(L, -2, "methods");
	return 1;
}
