/* SPDX-License-Identifier: MIT */
/* A plain Lua C module for the specs about waiting: every way from C into Lua, and C functions that raise or yield after
 * Lua below them waited. It knows nothing of grun. */
#define _DEFAULT_SOURCE
#include <lauxlib.h>
#include <lua.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int luaopen_parkmod(lua_State *L);

/* ---- Doors from C into Lua ---- */

/* call(f, …) -> results */
static int l_call(lua_State *L)
{
	lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
	return lua_gettop(L);
}

/* pcall(f, …) -> results; raises what f raised */
static int l_pcall(lua_State *L)
{
	if (lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0) != 0)
		return lua_error(L);
	return lua_gettop(L);
}

static int call_anchored(lua_State *L)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, *(int *)lua_touserdata(L, 1));
	lua_call(L, 0, 0);
	return 0;
}

/* cpcall(f): f's results are lost */
static int l_cpcall(lua_State *L)
{
	int ref, status;

	lua_settop(L, 1);
	ref = luaL_ref(L, LUA_REGISTRYINDEX);
	status = lua_cpcall(L, call_anchored, &ref);
	luaL_unref(L, LUA_REGISTRYINDEX, ref);
	return status == 0 ? 0 : lua_error(L);
}

/* get(t, k), getfield(t, k), set(t, k, v): through __index and __newindex */
static int l_get(lua_State *L)
{
	lua_settop(L, 2);
	lua_gettable(L, 1);
	return 1;
}

static int l_getfield(lua_State *L)
{
	lua_getfield(L, 1, luaL_checkstring(L, 2));
	return 1;
}

static int l_set(lua_State *L)
{
	lua_settop(L, 3);
	lua_settable(L, 1);
	return 0;
}

/* less(a, b), equal(a, b): through __lt and __eq */
static int l_less(lua_State *L)
{
	lua_pushboolean(L, lua_lessthan(L, 1, 2));
	return 1;
}

static int l_equal(lua_State *L)
{
	lua_pushboolean(L, lua_equal(L, 1, 2));
	return 1;
}

/* callmeta(object, "__event") -> its result */
static int l_callmeta(lua_State *L)
{
	return luaL_callmeta(L, 1, luaL_checkstring(L, 2)) ? 1 : 0;
}

/* resume(coroutine, …) -> what it yielded or returned; raises what it raised */
static int l_resume(lua_State *L)
{
	lua_State *co = lua_tothread(L, 1);
	int n = lua_gettop(L) - 1, status;

	luaL_checktype(L, 1, LUA_TTHREAD);
	lua_xmove(L, co, n);
	status = lua_resume(co, n);
	if (status != 0 && status != LUA_YIELD) {
		lua_xmove(co, L, 1);
		return lua_error(L);
	}
	n = lua_gettop(co);
	lua_xmove(co, L, n);
	return n;
}

/* The reader's pieces stay on the stack of load(), above its argument. */
static const char *read_piece(lua_State *L, void *data, size_t *size)
{
	(void)data;
	lua_pushvalue(L, 1);
	lua_call(L, 0, 1);
	return lua_tolstring(L, -1, size);
}

/* load(reader) -> function; the reader returns pieces, then nil */
static int l_load(lua_State *L)
{
	if (lua_load(L, read_piece, NULL, "=piece") != 0)
		return lua_error(L);
	return 1;
}

/* ---- C functions that leave in other ways than by returning ---- */

/* raise_after(f, message): an error of C's own, at a moment when Lua below has waited */
static int l_raise_after(lua_State *L)
{
	lua_pushvalue(L, 1);
	lua_call(L, 0, 0);
	return luaL_error(L, "%s", luaL_checkstring(L, 2));
}

/* argument_error_after(f) */
static int l_argument_error_after(lua_State *L)
{
	lua_pushvalue(L, 1);
	lua_call(L, 0, 0);
	return luaL_argerror(L, 1, "too late");
}

/* sleep_and_raise(microseconds, message): as a library does that waits in libc and then finds that it failed */
static int l_sleep_and_raise(lua_State *L)
{
	usleep((useconds_t)luaL_checkinteger(L, 1));
	return luaL_error(L, "%s", luaL_checkstring(L, 2));
}

/* resume_and_raise(coroutine, message) */
static int l_resume_and_raise(lua_State *L)
{
	lua_resume(lua_tothread(L, 1), 0);
	return luaL_error(L, "%s", luaL_checkstring(L, 2));
}

/* yield_after(f, …): yields its further arguments */
static int l_yield_after(lua_State *L)
{
	lua_pushvalue(L, 1);
	lua_call(L, 0, 0);
	return lua_yield(L, lua_gettop(L) - 1);
}

/* ---- Hooks ---- */

static int hook_ref = LUA_NOREF;

static void call_hook(lua_State *L, lua_Debug *ar)
{
	(void)ar;
	lua_rawgeti(L, LUA_REGISTRYINDEX, hook_ref);
	lua_call(L, 0, 0);
}

/* sethook(f, count): f() runs from a hook written in C every `count` instructions; sethook() ends that */
static int l_sethook(lua_State *L)
{
	luaL_unref(L, LUA_REGISTRYINDEX, hook_ref);
	hook_ref = LUA_NOREF;
	if (lua_isnoneornil(L, 1)) {
		lua_sethook(L, NULL, 0, 0);
		return 0;
	}
	lua_pushvalue(L, 1);
	hook_ref = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_sethook(L, call_hook, LUA_MASKCOUNT, (int)luaL_checkinteger(L, 2));
	return 0;
}

/* ---- The C stack ---- */

/* The blocks of C stack below which deep() called somebody who has not returned. */
struct block {
	struct block *next;
	unsigned char bytes[1000];
};

static struct block *blocks;

static void fill(struct block *block)
{
	memset(block->bytes, (int)((uintptr_t)block >> 4 & 0xff), sizeof(block->bytes));
	block->next = blocks;
	blocks = block;
}

static int is_intact(const struct block *block)
{
	for (size_t i = 0; i < sizeof(block->bytes); i++)
		if (block->bytes[i] != ((uintptr_t)block >> 4 & 0xff))
			return 0;
	return 1;
}

static void forget(struct block *block)
{
	struct block **link = &blocks;

	while (*link != block)
		link = &(*link)->next;
	*link = block->next;
}

static int use_stack(lua_State *L, int kib)
{
	struct block block;
	int good;

	fill(&block);
	if (kib > 1) {
		good = use_stack(L, kib - 1);
	} else {
		lua_pushvalue(L, 1);
		lua_call(L, 0, 1);
		good = 1;
	}
	good = good && is_intact(&block);
	forget(&block);
	return good;
}

/* deep(f, kib) -> f(), called below about so many KiB of C stack; raises if those bytes changed meanwhile. f must not
 * raise. */
static int l_deep(lua_State *L)
{
	if (!use_stack(L, (int)luaL_checkinteger(L, 2)))
		return luaL_error(L, "the C stack was written to");
	return 1;
}

static void say(const char *text)
{
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		_exit(1);
}

/* With this module in LD_PRELOAD: says before the process ends whether all blocks of all stacks are as they were. */
void abort(void)
{
	int good = 0, bad = 0;

	for (struct block *block = blocks; block; block = block->next)
		is_intact(block) ? good++ : bad++;
	say(bad    ? "parkmod: some blocks were written to\n"
	    : good ? "parkmod: all blocks are intact\n"
		   : "parkmod: no block\n");
	signal(SIGABRT, SIG_DFL);
	kill(getpid(), SIGABRT);
	_exit(1);
}

static const luaL_Reg functions[] = {
	{"call", l_call},
	{"pcall", l_pcall},
	{"cpcall", l_cpcall},
	{"get", l_get},
	{"getfield", l_getfield},
	{"set", l_set},
	{"less", l_less},
	{"equal", l_equal},
	{"callmeta", l_callmeta},
	{"resume", l_resume},
	{"load", l_load},
	{"raise_after", l_raise_after},
	{"argument_error_after", l_argument_error_after},
	{"sleep_and_raise", l_sleep_and_raise},
	{"resume_and_raise", l_resume_and_raise},
	{"yield_after", l_yield_after},
	{"sethook", l_sethook},
	{"deep", l_deep},
	{NULL, NULL},
};

int luaopen_parkmod(lua_State *L)
{
	lua_newtable(L);
	for (const luaL_Reg *f = functions; f->name; f++) {
		lua_pushcfunction(L, f->func);
		lua_setfield(L, -2, f->name);
	}
	return 1;
}
