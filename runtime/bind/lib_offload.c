/* SPDX-License-Identifier: MIT */
/* Lua code on other OS threads: grun.core.offload. Each such thread has a Lua state of its own, kept from job to job. */
#define _GNU_SOURCE
#include "bind/lib_offload.h"

#include <lauxlib.h>
#include <lualib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bind/luautil.h"
#include "bind/plain.h"
#include "bind/state.h"
#include "core/error.h"
#include "posix/work.h"

struct job {
	struct gr_work work;
	struct gr_plain code;      /* bytecode */
	struct gr_plain arguments; /* package.path, package.cpath, then the function's */
	struct gr_plain results;   /* or: error, message, traceback */
	bool failed;
};

/* ---- On the other OS threads ---- */

static __thread lua_State *state;

static void close_state(void)
{
	if (state)
		lua_close(state);
	state = NULL;
}

static struct gr_workers workers = GR_WORKERS_INIT(1, close_state);

static int l_refuse(lua_State *L)
{
	return luaL_error(L, "%s is not available in offloaded code", lua_tostring(L, lua_upvalueindex(1)));
}

static int l_refuse_field(lua_State *L)
{
	return luaL_error(L, "grun.%s is not available in offloaded code", lua_tostring(L, 2));
}

static void set_refusal(lua_State *L, const char *field, const char *text)
{
	lua_pushstring(L, text);
	lua_pushcclosure(L, l_refuse, 1);
	lua_setfield(L, -2, field);
}

/* No threads to park here: the words of grun say so. */
static int l_open(lua_State *L)
{
	luaL_openlibs(L);
	lua_newtable(L);
	lua_newtable(L);
	lua_pushcfunction(L, l_refuse_field);
	lua_setfield(L, -2, "__index");
	lua_setmetatable(L, -2);
	lua_setglobal(L, "grun");
	lua_getglobal(L, "os");
	set_refusal(L, "exit", "os.exit");
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "preload");
	set_refusal(L, "grun", "grun");
	return 0;
}

static lua_State *open_state(void)
{
	lua_State *L = luaL_newstate();

	if (L && lua_cpcall(L, l_open, NULL) != 0) {
		lua_close(L);
		return NULL;
	}
	return L;
}

/* Replaces an error by (error, message, traceback). */
static int l_describe(lua_State *L)
{
	lua_settop(L, 1);
	if (!luaL_callmeta(L, 1, "__tostring")) {
		if (lua_isstring(L, 1))
			lua_pushvalue(L, 1);
		else
			lua_pushfstring(L, "(error object is a %s)", luaL_typename(L, 1));
	}
	lua_newtable(L);
	lua_pushvalue(L, 1);
	lua_setfield(L, -2, "error");
	lua_pushvalue(L, 2);
	lua_setfield(L, -2, "message");
	luaL_traceback(L, L, NULL, 1);
	lua_setfield(L, -2, "traceback");
	return 1;
}

/* Globals that the function makes are gone with it; those of the libraries stay. */
static void isolate(lua_State *L, int function)
{
	lua_newtable(L);
	lua_newtable(L);
	lua_pushvalue(L, LUA_GLOBALSINDEX);
	lua_setfield(L, -2, "__index");
	lua_setmetatable(L, -2);
	lua_setfenv(L, function);
}

static void set_paths(lua_State *L, int path, int cpath)
{
	lua_getglobal(L, "package");
	lua_pushvalue(L, path);
	lua_setfield(L, -2, "path");
	lua_pushvalue(L, cpath);
	lua_setfield(L, -2, "cpath");
	lua_pop(L, 1);
}

/* Leaves what it returns. Stack: l_describe. */
static int l_run(lua_State *L)
{
	struct job *job = lua_touserdata(L, 1);
	char why[GR_PLAIN_WHY];
	int n, which;

	if (luaL_loadbuffer(L, job->code.data, job->code.len, "offload") != 0)
		return lua_error(L);
	isolate(L, 2);
	n = gr_plain_push(L, &job->arguments);
	set_paths(L, 3, 4);
	lua_remove(L, 3);
	lua_remove(L, 3);
	lua_call(L, n - 2, LUA_MULTRET);
	if (gr_plain_put(L, &job->results, 2, lua_gettop(L) - 1, why, &which) < 0)
		return luaL_error(L, "result %d: %s", which, why);
	return 0;
}

/* Writes the table of l_describe, its `error` only if that is plain data; or the bare text of an error for want of memory,
 * for which l_describe is not called. */
static int l_write_error(lua_State *L)
{
	static const char *const names[] = {"error", "message", "traceback"};
	struct job *job = lua_touserdata(L, 2);
	char why[GR_PLAIN_WHY];
	int which;

	for (int i = 0; i < 3; i++) {
		if (lua_istable(L, 1))
			lua_getfield(L, 1, names[i]);
		else
			lua_pushvalue(L, 1);
	}
	job->results.len = 0;
	if (gr_plain_put(L, &job->results, 3, 3, why, &which) < 0) {
		job->results.len = 0;
		lua_pushvalue(L, 4);
		lua_replace(L, 3);
		gr_plain_put(L, &job->results, 3, 3, why, &which);
	}
	return 0;
}

/* Whatever goes wrong here, memory included, becomes the job's failure; without any text if need be. */
static void run(struct gr_work *w)
{
	struct job *job = (struct job *)(void *)w;
	lua_State *L;

	gr_lua_elsewhere = true;
	job->failed = true;
	if (state == NULL)
		state = open_state();
	L = state;
	if (L == NULL)
		return;
	lua_pushcfunction(L, l_describe);
	lua_pushcfunction(L, l_run);
	lua_pushlightuserdata(L, job);
	job->failed = lua_pcall(L, 1, 0, 1) != 0;
	if (job->failed) {
		lua_pushcfunction(L, l_write_error);
		lua_insert(L, -2);
		lua_pushlightuserdata(L, job);
		if (lua_pcall(L, 2, 0, 0) != 0)
			job->results.len = 0;
	}
	lua_settop(L, 0);
}

/* ---- On the hub's thread ---- */

static void free_job(struct job *job)
{
	gr_plain_free(&job->code);
	gr_plain_free(&job->arguments);
	gr_plain_free(&job->results);
	free(job);
}

static void drop(struct gr_work *w)
{
	free_job((struct job *)(void *)w);
}

static void free_owned(struct job **job)
{
	if (*job)
		free_job(*job);
}

static int append(lua_State *L, const void *p, size_t n, void *out)
{
	struct gr_plain *code = out;
	char *data = realloc(code->data, code->len + n);

	(void)L;
	if (data == NULL)
		return -1;
	memcpy(data + code->len, p, n);
	code->data = data;
	code->len += n;
	return 0;
}

/* Blames the caller of grun.offload, who is one level above the one of this function. */
static int bad_argument(lua_State *L, int arg, const char *why)
{
	luaL_where(L, 2);
	lua_pushfstring(L, "bad argument #%d to 'offload' (%s)", arg, why);
	lua_concat(L, 2);
	return lua_error(L);
}

/* A chunk is compiled here, so that its errors come at once. The function is at index 1 then. */
static void check_function(lua_State *L)
{
	size_t len;

	if (lua_type(L, 1) == LUA_TSTRING) {
		const char *chunk = lua_tolstring(L, 1, &len);

		if (luaL_loadbuffer(L, chunk, len, chunk) != 0)
			bad_argument(L, 1, lua_tostring(L, -1));
		lua_replace(L, 1);
	} else if (lua_type(L, 1) != LUA_TFUNCTION) {
		bad_argument(L, 1, lua_pushfstring(L, "function or chunk expected, got %s", luaL_typename(L, 1)));
	}
	if (lua_iscfunction(L, 1))
		bad_argument(L, 1, "a C function cannot be passed to another Lua state");
}

static void check_upvalues(lua_State *L)
{
	const char *name = lua_getupvalue(L, 1, 1);

	if (name)
		bad_argument(L, 1,
			      lua_pushfstring(L,
					      "the function uses the local variable '%s' of its surroundings; "
					      "pass it as an argument",
					      name));
}

static void put_paths(lua_State *L, struct job *job)
{
	int top = lua_gettop(L), which;
	char why[GR_PLAIN_WHY];

	lua_getglobal(L, "package");
	lua_getfield(L, top + 1, "path");
	lua_getfield(L, top + 1, "cpath");
	for (int i = top + 2; i <= top + 3; i++) {
		if (lua_isstring(L, i))
			continue;
		lua_pushliteral(L, "");
		lua_replace(L, i);
	}
	gr_plain_put(L, &job->arguments, top + 2, 2, why, &which);
	lua_settop(L, top);
}

static void put_arguments(lua_State *L, struct job *job)
{
	char why[GR_PLAIN_WHY];
	int which;

	put_paths(L, job);
	if (gr_plain_put(L, &job->arguments, 2, lua_gettop(L) - 1, why, &which) < 0)
		bad_argument(L, which + 1, why);
}

static struct job *new_job(lua_State *L)
{
	struct job *job __attribute__((cleanup(free_owned))) = calloc(1, sizeof(*job)), *made;

	if (job == NULL)
		luaL_error(L, "not enough memory");
	job->work.run = run;
	job->work.drop = drop;
	put_arguments(L, job);
	lua_pushvalue(L, 1);
	if (lua_dump(L, append, &job->code) != 0)
		luaL_error(L, "not enough memory");
	lua_pop(L, 1);
	made = job;
	job = NULL;
	return made;
}

/* run(function or chunk, …) -> true, results… | false, error, message, traceback | nil, message, code */
static int l_offload_run(lua_State *L)
{
	struct job *job __attribute__((cleanup(free_owned))) = NULL;
	int rc;

	check_function(L);
	check_upvalues(L);
	rc = gr_lua_enter_wait(L);
	if (rc)
		return rc;
	job = new_job(L);
	rc = gr_work_do(&workers, &job->work, INFINITY, "offload");
	if (rc < 0) {
		job = NULL;
		return gr_lua_fail(L, rc);
	}
	lua_settop(L, 0);
	lua_pushboolean(L, !job->failed);
	return 1 + gr_plain_push(L, &job->results);
}

/* threads([max]) -> how many there may be at most */
static int l_offload_threads(lua_State *L)
{
	if (!lua_isnoneornil(L, 1)) {
		double max = luaL_checknumber(L, 1);

		luaL_argcheck(L, max >= 1 && max <= 1024, 1, "number of threads from 1 to 1024 expected");
		workers.max = (int)max;
	}
	lua_pushinteger(L, workers.max);
	return 1;
}

int luaopen_grun_core_offload(lua_State *L)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	workers.max = cores > 0 ? (int)cores : 1;
	lua_createtable(L, 0, 2);
	lua_pushcfunction(L, l_offload_run);
	lua_setfield(L, -2, "run");
	lua_pushcfunction(L, l_offload_threads);
	lua_setfield(L, -2, "threads");
	return 1;
}
