/* SPDX-License-Identifier: MIT */
/* Looking at threads and at the process: facts that only C knows. */
#define _GNU_SOURCE
#include "bind/lib_inspect.h"

#include <dirent.h>
#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bind/lib_net.h"
#include "bind/lib_thread.h"
#include "bind/luautil.h"
#include "bind/state.h"
#include "bind/thread_life.h"
#include "core/cpu.h"
#include "core/hibernate.h"
#include "core/hub.h"
#include "core/traceback.h"
#include "net/dnscache.h"
#include "posix/fdwait.h"

enum { MAX_FRAMES = 64, PAGES_AT_ONCE = 1024, LEVELS = 50, LOCALS = 8 };

static struct gr_green *check_green(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TLIGHTUSERDATA);
	return lua_touserdata(L, 1);
}

static void push_number_or_nil(lua_State *L, bool known, double value)
{
	if (known)
		lua_pushnumber(L, value);
	else
		lua_pushnil(L);
}

/* facts(green) -> id, parent, state, what, left, name, age, cpu, switches, stack, daemon, cancelled
 *   state: "new", "ready", "running", "waiting"; left: seconds of its wait or to its start, or nil
 *   age, cpu: seconds; stack: bytes of C stack in use */
static int l_inspect_facts(lua_State *L)
{
	static const char *const states[] = {"done", "new", "ready", "running", "waiting"};
	const struct gr_green *g = check_green(L);
	double now = gr_now(), born = g->born > 0 ? g->born : gr_hub.started;
	bool limited = g->until != INFINITY && (g->state == GR_WAITING || g->delayed);

	lua_pushnumber(L, (double)g->id);
	lua_pushnumber(L, (double)g->parent);
	lua_pushstring(L, states[g->state]);
	lua_pushstring(L, g->state == GR_WAITING ? g->what : NULL);
	push_number_or_nil(L, limited, g->until > now ? g->until - now : 0);
	lua_pushstring(L, g->name);
	lua_pushnumber(L, now > born ? now - born : 0);
	lua_pushnumber(L, g->ticks * gr_cpu_tick);
	lua_pushnumber(L, g->switches);
	push_number_or_nil(L, gr_green_stands(g) && !gr_hibernates(g),
			   (double)(gr_stack_top(&g->stack) - (char *)g->sp));
	lua_pushboolean(L, g->daemon);
	lua_pushboolean(L, g->attention & GR_ATTN_CANCEL);
	return 12;
}

/* ---- Where it stands in Lua ---- */

/* Functions of the library stand between a script and its waits. */
static bool is_ours(const char *source)
{
	return strncmp(source, "=grun/", 6) == 0 || (source[0] == '@' && strstr(source, "lualib/grun/"));
}

/* Pushes the first local variable, or argument, of a function of thread `from`. */
static void push_first_local(lua_State *L, lua_State *from, const lua_Debug *ar)
{
	if (lua_getlocal(from, ar, 1) && from != L)
		lua_xmove(from, L, 1);
}

/* Pushes up to LOCALS first arguments of the functions that the script called in `at`, innermost first, then "file:line" of
 * where it stands itself, or nil. */
static void push_place(lua_State *L, lua_State *at)
{
	bool inside = true;
	int last = lua_gettop(L) + LOCALS;
	lua_Debug ar;

	for (int level = 0; level < LEVELS && lua_getstack(at, level, &ar) && lua_getinfo(at, "Sl", &ar); level++) {
		bool ours = ar.what[0] == 'C' || is_ours(ar.source);

		if (!ours && ar.currentline > 0) {
			lua_pushfstring(L, "%s:%d", ar.short_src, ar.currentline);
			return;
		}
		inside = inside && ours;
		if (inside && lua_gettop(L) < last)
			push_first_local(L, at, &ar);
	}
	lua_pushnil(L);
}

static void push_site(lua_State *L, const struct gr_green *g)
{
	int line, top = lua_gettop(gr_lua.hub);
	const char *source = gr_thread_site(g, &line);

	lua_settop(gr_lua.hub, top);
	if (source)
		lua_pushfstring(L, "%s:%d", source, line);
	else
		lua_pushnil(L);
}

/* place(green) -> at, spawned_at, object…: where it stands in the script and where it was spawned, both "file:line" or nil;
 * then up to LOCALS values, among them what a parked thread waits for, innermost first. */
static int l_inspect_place(lua_State *L)
{
	struct gr_green *g = check_green(L);
	lua_State *at = g == gr_current ? L : gr_thread_look(g);

	lua_settop(L, 1);
	luaL_checkstack(L, LOCALS + 4, NULL);
	push_site(L, g);
	if (at && (at == L || lua_checkstack(at, 1)))
		push_place(L, at);
	else
		lua_pushnil(L);
	lua_replace(L, 1);
	return lua_gettop(L);
}

/* memory(green) -> bytes of its C stack that are in memory */
static int l_inspect_memory(lua_State *L)
{
	const struct gr_stack *stack = &check_green(L)->stack;
	size_t page = (size_t)getpagesize(), resident = 0;
	unsigned char in_core[PAGES_AT_ONCE];

	for (size_t at = 0; at < stack->size; at += sizeof(in_core) * page) {
		size_t left = stack->size - at, n = left < sizeof(in_core) * page ? left : sizeof(in_core) * page;

		if (mincore(stack->base + at, n, in_core) < 0)
			break;
		for (size_t i = 0; i < n / page; i++)
			resident += in_core[i] & 1;
	}
	lua_pushnumber(L, (double)(resident * page));
	return 1;
}

/* ---- C tracebacks ---- */

struct frames {
	int n;
	char *text[MAX_FRAMES];
};

/* Called below the unwinder: nothing of Lua may raise through it. */
static void add_frame(void *user, const char *text)
{
	struct frames *frames = user;

	frames->text[frames->n] = strdup(text);
	if (frames->text[frames->n])
		frames->n++;
}

static void free_frames(struct frames *frames)
{
	for (int i = 0; i < frames->n; i++)
		free(frames->text[i]);
}

/* backtrace(green) -> list of texts, innermost first; empty when it is not parked */
static int l_inspect_backtrace(lua_State *L)
{
	struct gr_green *g = check_green(L);
	struct frames frames __attribute__((cleanup(free_frames))) = {0};

	if (gr_thread_look(g))
		gr_traceback(g, MAX_FRAMES, add_frame, &frames);
	lua_createtable(L, frames.n, 0);
	for (int i = 0; i < frames.n; i++) {
		lua_pushstring(L, frames.text[i]);
		lua_rawseti(L, -2, i + 1);
	}
	return 1;
}

/* ---- Descriptors ---- */

struct library_wait {
	const struct gr_green *g;
	int fd;
	short events;
};

struct library_waits {
	struct library_wait *list;
	int n, room;
};

static void free_waits(struct library_waits *waits)
{
	free(waits->list);
}

static void add_wait(void *user, const struct gr_green *g, int fd, short events)
{
	struct library_waits *w = user;

	if (w->n == w->room) {
		int room = w->room ? w->room * 2 : 64;
		struct library_wait *list = realloc(w->list, (size_t)room * sizeof(*list));

		if (list == NULL)
			return;
		w->list = list;
		w->room = room;
	}
	w->list[w->n++] = (struct library_wait){g, fd, events};
}

/* library_waits() -> {[green] = {fd, …}}: who waits in an interposed libc call, and for which descriptors */
static int l_inspect_library_waits(lua_State *L)
{
	struct library_waits waits __attribute__((cleanup(free_waits))) = {0};

	gr_fdwait_each(add_wait, &waits);
	lua_createtable(L, 0, waits.n);
	for (int i = 0; i < waits.n; i++) {
		lua_pushlightuserdata(L, (void *)waits.list[i].g);
		lua_rawget(L, -2);
		if (lua_isnil(L, -1)) {
			lua_pop(L, 1);
			lua_newtable(L);
			lua_pushlightuserdata(L, (void *)waits.list[i].g);
			lua_pushvalue(L, -2);
			lua_rawset(L, -4);
		}
		lua_pushinteger(L, waits.list[i].fd);
		lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
		lua_pop(L, 1);
	}
	return 1;
}

/* An address without its scheme, or "" if it has none. */
static const char *bare(int fd, int (*name)(int, struct gr_addr *), char *text, bool *local)
{
	struct gr_addr addr;

	if (name(fd, &addr) < 0)
		return "";
	*local = addr.u.sa.sa_family == AF_UNIX;
	gr_addr_format(&addr, GR_SCHEME_TCP, text);
	return text + (*local ? 5 : 6);
}

/* descriptor(fd) -> "tcp 127.0.0.1:41234 -> 127.0.0.1:80 (fd 7)", "/a/file (fd 3)", "fd 9" */
static int l_inspect_descriptor(lua_State *L)
{
	int fd = (int)luaL_checkinteger(L, 1), type = 0;
	char a[GR_ADDR_TEXT], b[GR_ADDR_TEXT], link[64], target[256];
	socklen_t len = sizeof(type);
	bool local = false;
	ssize_t n;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0) {
		const char *here = bare(fd, gr_sock_name, a, &local), *there = bare(fd, gr_sock_peer, b, &local);

		lua_pushfstring(L, "%s %s%s%s (fd %d)",
				local                 ? "unix"
				: type == SOCK_STREAM ? "tcp"
						      : "udp",
				here, *there ? " -> " : "", there, fd);
		return 1;
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, target, sizeof(target));
	if (n > 0) {
		lua_pushlstring(L, target, (size_t)n);
		lua_pushfstring(L, " (fd %d)", fd);
		lua_concat(L, 2);
	} else {
		lua_pushfstring(L, "fd %d (closed)", fd);
	}
	return 1;
}

/* ---- The process ---- */

static void set_number(lua_State *L, const char *key, double value)
{
	lua_pushnumber(L, value);
	lua_setfield(L, -2, key);
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

static int count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	if (dir == NULL)
		return -1;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 3; /* ".", ".." and the directory itself */
}

static double resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;

	if (file == NULL)
		return 0;
	if (fscanf(file, "%*u %lu", &pages) != 1)
		pages = 0;
	fclose(file);
	return (double)pages * getpagesize();
}

/* Adds the number of threads in each state. */
static void set_threads(lua_State *L)
{
	static const char *const names[] = {NULL, "new", "ready", "running", "waiting"};
	uint32_t count[5] = {0}, daemons = 0, total = 0;

	for (uint32_t i = 0; i < gr_green_limit(); i++) {
		const struct gr_green *g = gr_green_at(i);

		if (g == NULL)
			continue;
		count[g->state]++;
		total++;
		daemons += g->daemon;
	}
	lua_createtable(L, 0, 7);
	for (int i = 1; i < 5; i++)
		set_number(L, names[i], count[i]);
	set_number(L, "total", total);
	set_number(L, "daemons", daemons);
	set_number(L, "spawned", (double)gr_green_spawned());
	lua_setfield(L, -2, "threads");
}

/* process() -> {uptime, cpu_user, cpu_system, resident, fds, threads = {…}, free_stacks, stack_size, switches, turns,
 * turn_seconds, turn_longest, dns_cache} */
static int l_inspect_process(lua_State *L)
{
	struct rusage usage = {0};

	getrusage(RUSAGE_SELF, &usage);
	lua_createtable(L, 0, 16);
	set_threads(L);
	set_number(L, "uptime", gr_now() - gr_hub.started);
	set_number(L, "cpu_user", seconds(usage.ru_utime));
	set_number(L, "cpu_system", seconds(usage.ru_stime));
	set_number(L, "resident", resident_bytes());
	set_number(L, "fds", count_descriptors());
	set_number(L, "free_stacks", gr_green_nfree());
	set_number(L, "hibernated", gr_hibernation.asleep);
	set_number(L, "stack_size", (double)gr_stack_size());
	set_number(L, "switches", (double)gr_switches);
	set_number(L, "turns", (double)gr_hub.turns);
	set_number(L, "turn_seconds", gr_hub.turn_seconds);
	set_number(L, "turn_longest", gr_hub.turn_longest);
	set_number(L, "dns_cache", gr_dnscache_count());
	return 1;
}

static const luaL_Reg functions[] = {
	{"facts", l_inspect_facts},
	{"place", l_inspect_place},
	{"memory", l_inspect_memory},
	{"backtrace", l_inspect_backtrace},
	{"library_waits", l_inspect_library_waits},
	{"descriptor", l_inspect_descriptor},
	{"process", l_inspect_process},
	{NULL, NULL},
};

int luaopen_grun_core_inspect(lua_State *L)
{
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
