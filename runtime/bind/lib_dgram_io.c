/* SPDX-License-Identifier: MIT */
/* Datagram sockets for Lua: sending and receiving, one at a time or in batches. */
#include <errno.h>

#include "bind/lib_dgram.h"
#include "bind/lib_net.h"
#include "bind/luautil.h"
#include "net/stream.h"

static double check_until(lua_State *L, int idx, const struct gr_dgram *d)
{
	return lua_isnoneornil(L, idx) ? gr_dgram_until(d) : gr_lua_opt_until(L, idx);
}

/* ---- Receiving ----
 * All of it begins with gr_lua_enter_wait, so that nothing is received in a finalizer: one that runs while what has
 * come is pushed would overwrite it. */

static int l_sock_recv(lua_State *L)
{
	struct gr_dgram *d = gr_dgram_check(L);
	double until = check_until(L, 2, d);
	int rc = gr_lua_enter_wait(L);
	struct gr_datagram m;

	if (rc)
		return rc;
	rc = gr_dgram_recv(d, 1, until);
	if (rc < 0)
		return gr_lua_fail(L, rc);
	m = gr_dgram_received(0);
	lua_pushlstring(L, m.data, m.len);
	gr_peer_push(L, m.from);
	if (m.size == m.len)
		return 2;
	lua_pushinteger(L, (lua_Integer)m.size);
	return 3;
}

/* Pushes the i-th table of the list at idx, or a new one that becomes it. */
static void push_item(lua_State *L, int idx, int i)
{
	lua_rawgeti(L, idx, i);
	if (lua_istable(L, -1))
		return;
	lua_pop(L, 1);
	lua_createtable(L, 2, 0);
	lua_pushvalue(L, -1);
	lua_rawseti(L, idx, i);
}

/* Fills the i-th item: {data, peer}, and the size of a datagram that was cut. */
static void fill_item(lua_State *L, int idx, int i)
{
	struct gr_datagram m = gr_dgram_received(i - 1);

	push_item(L, idx, i);
	lua_pushlstring(L, m.data, m.len);
	lua_rawseti(L, -2, 1);
	gr_peer_push(L, m.from);
	lua_rawseti(L, -2, 2);
	lua_rawgeti(L, -1, 3);
	if (m.size > m.len || !lua_isnil(L, -1)) {
		if (m.size > m.len)
			lua_pushinteger(L, (lua_Integer)m.size);
		else
			lua_pushnil(L);
		lua_rawseti(L, -3, 3);
	}
	lua_pop(L, 2);
}

static void clear_rest(lua_State *L, int idx, int n)
{
	int length = (int)lua_objlen(L, idx);

	for (int i = n + 1; i <= length; i++) {
		lua_pushnil(L);
		lua_rawseti(L, idx, i);
	}
}

static int check_count(lua_State *L, int idx)
{
	double n;

	if (lua_isnoneornil(L, idx) || lua_istable(L, idx))
		return GR_DGRAM_BATCH;
	n = luaL_checknumber(L, idx);
	luaL_argcheck(L, n >= 1, idx, "must be 1 or more");
	return n < GR_DGRAM_BATCH ? (int)n : GR_DGRAM_BATCH;
}

static int l_sock_recv_many(lua_State *L)
{
	struct gr_dgram *d = gr_dgram_check(L);
	int count = check_count(L, 2), rc;
	double until = check_until(L, 3, d);

	rc = gr_lua_enter_wait(L);
	if (rc)
		return rc;
	if (!lua_istable(L, 2)) {
		lua_settop(L, 1);
		lua_newtable(L);
	}
	lua_settop(L, 2);
	rc = gr_dgram_recv(d, count, until);
	if (rc < 0)
		return gr_lua_fail(L, rc);
	for (int i = 1; i <= rc; i++)
		fill_item(L, 2, i);
	clear_rest(L, 2, rc);
	return 1;
}

/* For servers, which need no table for each datagram and no timeout: fills the lists datas and peers; returns the
 * count. */
static int l_sock_recv_lists(lua_State *L)
{
	struct gr_dgram *d = gr_dgram_check(L);
	int rc;

	luaL_checktype(L, 2, LUA_TTABLE);
	luaL_checktype(L, 3, LUA_TTABLE);
	rc = gr_lua_enter_wait(L);
	if (rc)
		return rc;
	rc = gr_dgram_recv(d, GR_DGRAM_BATCH, INFINITY);
	if (rc < 0)
		return gr_lua_fail(L, rc);
	for (int i = 0; i < rc; i++) {
		struct gr_datagram m = gr_dgram_received(i);

		lua_pushlstring(L, m.data, m.len);
		lua_rawseti(L, 2, i + 1);
		gr_peer_push(L, m.from);
		lua_rawseti(L, 3, i + 1);
	}
	lua_pushinteger(L, rc);
	return 1;
}

/* ---- Sending ---- */

static const struct gr_addr *check_peer(lua_State *L, int idx)
{
	const struct gr_addr *addr = gr_peer_test(L, idx);

	if (addr == NULL)
		luaL_argerror(L, idx, lua_pushfstring(L, "peer expected, got %s", luaL_typename(L, idx)));
	return addr;
}

/* To `to`, or to whom the socket is connected. */
static int finish_send(lua_State *L, struct gr_dgram *d, const struct gr_addr *to, double until)
{
	size_t len;
	const char *data = lua_tolstring(L, 2, &len);
	int rc = to && to->len == 0 ? -EDESTADDRREQ : gr_dgram_send(d, data, len, to, until);

	if (rc < 0)
		return gr_lua_failf(L, rc, "cannot send %d bytes", (int)len);
	lua_pushboolean(L, 1);
	return 1;
}

static int l_sock_send(lua_State *L)
{
	struct gr_dgram *d = gr_dgram_check(L);
	struct gr_addr to;
	double until;
	int rc;

	luaL_checkstring(L, 2);
	rc = gr_lua_enter_try(L);
	if (rc)
		return rc;
	until = gr_dgram_until(d);
	if (lua_isnoneornil(L, 3))
		return finish_send(L, d, NULL, until);
	if (d->fd < 0)
		return gr_lua_fail(L, GR_CLOSED);
	rc = gr_dgram_check_address(L, 3, d, until, &to);
	return rc ? rc : finish_send(L, d, &to, until);
}

static int l_sock_send_to(lua_State *L)
{
	struct gr_dgram *d = gr_dgram_check(L);
	const struct gr_addr *to;
	int rc;

	luaL_checkstring(L, 2);
	to = check_peer(L, 3);
	rc = gr_lua_enter_try(L);
	return rc ? rc : finish_send(L, d, to, gr_dgram_until(d));
}

static void bad_item(lua_State *L, int i, const char *wanted)
{
	luaL_argerror(L, 2, lua_pushfstring(L, "item %d: %s expected, got %s", i, wanted, luaL_typename(L, -1)));
}

/* What the strings and peers on the stack say; they stay alive in their tables. */
static void set_out(lua_State *L, int i, struct gr_datagram_out *out)
{
	if (lua_type(L, -2) != LUA_TSTRING) {
		lua_pop(L, 1);
		bad_item(L, i, "data as a string");
	}
	out->data = lua_tolstring(L, -2, &out->len);
	out->to = gr_peer_test(L, -1);
	if (out->to == NULL && !lua_isnil(L, -1))
		bad_item(L, i, "peer");
}

/* Reads the i-th item of the list at index 2: {data, peer}, {data} or data. */
static void read_item(lua_State *L, int i, struct gr_datagram_out *out)
{
	lua_rawgeti(L, 2, i);
	if (lua_istable(L, -1)) {
		lua_rawgeti(L, -1, 1);
		lua_rawgeti(L, -2, 2);
		lua_remove(L, -3);
	} else {
		lua_pushnil(L);
	}
	set_out(L, i, out);
	lua_pop(L, 2);
}

/* Reads the i-th entries of the lists at 2 and 3. */
static void read_lists(lua_State *L, int i, struct gr_datagram_out *out)
{
	lua_rawgeti(L, 2, i);
	lua_rawgeti(L, 3, i);
	set_out(L, i, out);
	lua_pop(L, 2);
}

typedef void (*reader)(lua_State *, int, struct gr_datagram_out *);

/* Reads items after `done` up to `last`; returns how many, ending before one whose peer has no name. */
static int read_batch(lua_State *L, reader read, int done, int last, struct gr_datagram_out *out)
{
	int n = 0;

	while (n < GR_DGRAM_BATCH && done + n < last) {
		read(L, done + n + 1, &out[n]);
		if (out[n].to && out[n].to->len == 0)
			break;
		n++;
	}
	return n;
}

/* Sends items up to `last`. *done is how many of them went out before. Nothing points to the items while it waits,
 * since another thread may change them then. */
static int send_items(lua_State *L, struct gr_dgram *d, reader read, int *done, int last, double until)
{
	struct gr_datagram_out out[GR_DGRAM_BATCH];
	int n, rc;

	while (*done < last) {
		gr_stream_share();
		n = read_batch(L, read, *done, last, out);
		rc = n == 0 ? -EDESTADDRREQ : gr_dgram_try_send(d, out, n);
		if (rc > 0)
			*done += rc;
		else if (rc == -EAGAIN)
			rc = gr_dgram_await_room(d, until);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int finish_many(lua_State *L, int rc, int done)
{
	int n = rc < 0 ? gr_lua_failf(L, rc, "cannot send item %d", done + 1) : 0;

	lua_pushinteger(L, done);
	return n + 1;
}

static int l_sock_send_many(lua_State *L)
{
	struct gr_dgram *d = gr_dgram_check(L);
	int last, done = 0, rc;

	luaL_checktype(L, 2, LUA_TTABLE);
	lua_settop(L, 2);
	last = (int)lua_objlen(L, 2);
	/* All before the first goes out. */
	for (int i = 1; last > GR_DGRAM_BATCH && i <= last; i++) {
		struct gr_datagram_out out;

		read_item(L, i, &out);
	}
	rc = gr_lua_enter_try(L);
	if (rc)
		return rc;
	rc = send_items(L, d, read_item, &done, last, gr_dgram_until(d));
	return finish_many(L, rc, done);
}

/* For servers: sends what lies in the lists datas and peers after the first `done` up to `last`, waiting at most so
 * many seconds. Returns how far it came, after nil, message, code if that is not to the end. */
static int l_sock_send_lists(lua_State *L)
{
	struct gr_dgram *d = gr_dgram_check(L);
	int done, last, rc;
	double until;

	luaL_checktype(L, 2, LUA_TTABLE);
	luaL_checktype(L, 3, LUA_TTABLE);
	done = (int)luaL_checkinteger(L, 4);
	last = (int)luaL_checkinteger(L, 5);
	until = gr_lua_opt_until(L, 6);
	rc = gr_lua_enter_try(L);
	if (rc)
		return rc;
	rc = send_items(L, d, read_lists, &done, last, until);
	return finish_many(L, rc, done);
}

const luaL_Reg gr_dgram_io_methods[] = {
	{"recv", l_sock_recv},
	{"recv_many", l_sock_recv_many},
	{"send", l_sock_send},
	{"send_to", l_sock_send_to},
	{"send_many", l_sock_send_many},
	{"_recv_lists", l_sock_recv_lists},
	{"_send_lists", l_sock_send_lists},
	{NULL, NULL},
};
