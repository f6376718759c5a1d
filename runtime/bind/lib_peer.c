/* SPDX-License-Identifier: MIT */
/* Peers for Lua: the addresses that datagrams come from and go to, one object for each. */
#include <arpa/inet.h>
#include <string.h>

#include "bind/lib_dgram.h"

static const char PEER[] = "grun.peer";

struct peer {
	const char *class; /* PEER: tells it from other userdata */
	struct gr_addr addr; /* no longer than its len says */
};

/* Registry reference: key of an address -> its peer, held weakly. */
static int peers;

/* ---- One for each address ---- */

/* Pushes what is the same for equal addresses only: a number for IPv4, the cheapest to look up, else a string. */
static void push_key(lua_State *L, const struct gr_addr *addr)
{
	char text[sizeof(addr->u) + 1];

	if (addr->len == 0) {
		lua_pushliteral(L, "");
	} else if (addr->u.sa.sa_family == AF_INET) {
		lua_pushnumber(L, ntohl(addr->u.in.sin_addr.s_addr) * 65536.0 + ntohs(addr->u.in.sin_port));
	} else if (addr->u.sa.sa_family == AF_INET6) {
		text[0] = '6';
		memcpy(text + 1, &addr->u.in6.sin6_addr, 16);
		memcpy(text + 17, &addr->u.in6.sin6_port, 2);
		memcpy(text + 19, &addr->u.in6.sin6_scope_id, 4);
		lua_pushlstring(L, text, 23);
	} else {
		text[0] = 'u';
		memcpy(text + 1, addr->u.un.sun_path, addr->len - offsetof(struct sockaddr_un, sun_path));
		lua_pushlstring(L, text, 1 + addr->len - offsetof(struct sockaddr_un, sun_path));
	}
}

static void push_new(lua_State *L, const struct gr_addr *addr)
{
	size_t size = offsetof(struct gr_addr, u) + addr->len;
	struct peer *p = lua_newuserdata(L, offsetof(struct peer, addr) + size);

	p->class = PEER;
	memcpy(&p->addr, addr, size);
	luaL_getmetatable(L, PEER);
	lua_setmetatable(L, -2);
}

void gr_peer_push(lua_State *L, const struct gr_addr *addr)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, peers);
	push_key(L, addr);
	lua_rawget(L, -2);
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		push_new(L, addr);
		push_key(L, addr);
		lua_pushvalue(L, -2);
		lua_rawset(L, -4);
	}
	lua_replace(L, -2);
}

const struct gr_addr *gr_peer_test(lua_State *L, int idx)
{
	const struct peer *p = lua_touserdata(L, idx);

	if (p == NULL || lua_objlen(L, idx) < offsetof(struct peer, addr) + offsetof(struct gr_addr, u) || p->class != PEER)
		return NULL;
	return &p->addr;
}

/* ---- What scripts see ---- */

void gr_peer_push_text(lua_State *L, const struct gr_addr *addr)
{
	char text[GR_ADDR_TEXT];

	if (addr->len == 0)
		lua_pushliteral(L, "unixgram:");
	else
		lua_pushlstring(L, text, gr_addr_format(addr, addr->u.sa.sa_family == AF_UNIX ? GR_SCHEME_UNIXGRAM :
									    GR_SCHEME_UDP, text));
}

static const struct gr_addr *check_peer(lua_State *L)
{
	const struct gr_addr *addr = gr_peer_test(L, 1);

	if (addr == NULL)
		luaL_argerror(L, 1, lua_pushfstring(L, "peer expected, got %s", luaL_typename(L, 1)));
	return addr;
}

static int l_peer_tostring(lua_State *L)
{
	gr_peer_push_text(L, check_peer(L));
	return 1;
}

static bool is_inet(const struct gr_addr *addr)
{
	return addr->len > 0 && addr->u.sa.sa_family != AF_UNIX;
}

/* The text without scheme, brackets and port. */
static void push_host(lua_State *L, const struct gr_addr *addr)
{
	char text[GR_ADDR_TEXT];
	size_t len = gr_addr_format(addr, GR_SCHEME_UDP, text), skip = strlen("udp://");

	while (text[len - 1] != ':')
		len--;
	len--;
	if (text[skip] == '[')
		skip++, len--;
	lua_pushlstring(L, text + skip, len - skip);
}

static void push_path(lua_State *L, const struct gr_addr *addr)
{
	gr_peer_push_text(L, addr);
	lua_pushstring(L, lua_tostring(L, -1) + strlen("unixgram:"));
}

static int l_peer_index(lua_State *L)
{
	const struct gr_addr *addr = check_peer(L);
	const char *key = lua_tostring(L, 2);

	if (key == NULL)
		lua_pushnil(L);
	else if (strcmp(key, "host") == 0 && is_inet(addr))
		push_host(L, addr);
	else if (strcmp(key, "port") == 0 && is_inet(addr))
		lua_pushinteger(L, ntohs(addr->u.in.sin_port)); /* in the same place for both versions */
	else if (strcmp(key, "path") == 0 && !is_inet(addr) && addr->len > 0)
		push_path(L, addr);
	else
		lua_pushnil(L);
	return 1;
}

void gr_peer_init(lua_State *L)
{
	luaL_newmetatable(L, PEER);
	lua_pushcfunction(L, l_peer_index);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, l_peer_tostring);
	lua_setfield(L, -2, "__tostring");
	lua_pushliteral(L, "peer");
	lua_setfield(L, -2, "__name");
	lua_pop(L, 1);
	lua_newtable(L);
	lua_createtable(L, 0, 1);
	lua_pushliteral(L, "v");
	lua_setfield(L, -2, "__mode");
	lua_setmetatable(L, -2);
	peers = luaL_ref(L, LUA_REGISTRYINDEX);
}
