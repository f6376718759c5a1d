/* SPDX-License-Identifier: MIT */
/* Starting child processes from Lua. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bind/lib_net.h"
#include "bind/lib_process.h"
#include "bind/luautil.h"
#include "posix/process.h"

static const char *const std_names[] = {"stdin", "stdout", "stderr"};

/* ---- Arguments ---- */

enum { MAKE_PIPE = -2, SAME_AS_STDOUT = -3 };

/* What is to become of one of the child's standard files. */
struct std_file {
	int fd;                 /* ours for the child, GR_SPAWN_NULL, or one of the above until it is made */
	struct gr_stream *pipe; /* our end of that pipe */
	struct gr_stream *give; /* a connection that the child takes over */
	FILE *flush;            /* what we wrote there comes first */
};

struct request {
	struct gr_spawn how;
	struct std_file files[3];
	int more[GR_SPAWN_MORE];
	int level; /* of the caller, for errors */
};

__attribute__((noreturn, format(printf, 3, 4))) static void bad(lua_State *L, const struct request *r,
								const char *format, ...)
{
	va_list ap;

	luaL_where(L, r->level);
	lua_pushliteral(L, "process: ");
	va_start(ap, format);
	lua_pushvfstring(L, format, ap);
	va_end(ap);
	lua_concat(L, 3);
	lua_error(L);
	__builtin_unreachable();
}

/* Makes the value on top a text for a system call, and leaves it there. */
static const char *check_text(lua_State *L, const struct request *r, const char *what)
{
	size_t len;
	const char *text;

	if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
		bad(L, r, "%s: string expected, got %s", what, luaL_typename(L, -1));
	text = lua_tolstring(L, -1, &len);
	if (strlen(text) != len)
		bad(L, r, "%s contains a zero byte", what);
	return text;
}

/* An array of n pointers and NULL that lives as long as the call. */
static const char **new_list(lua_State *L, size_t n)
{
	const char **list = lua_newuserdata(L, (n + 1) * sizeof(*list));

	list[n] = NULL;
	return list;
}

/* Moves the text on top into the table `keep`, since one made of a number is nobody else's. */
static const char *keep_text(lua_State *L, const struct request *r, int keep, const char *what)
{
	const char *text = check_text(L, r, what);

	lua_rawseti(L, keep, (int)lua_objlen(L, keep) + 1);
	return text;
}

static void read_words(lua_State *L, struct request *r, int keep)
{
	size_t n = lua_objlen(L, 1);
	const char **argv;
	char what[32] = "command";

	if (n == 0)
		bad(L, r, "no command");
	argv = new_list(L, n);
	for (size_t i = 0; i < n; i++) {
		lua_rawgeti(L, 1, (int)i + 1);
		argv[i] = keep_text(L, r, keep, what);
		snprintf(what, sizeof(what), "argument %zu", i + 1);
	}
	r->how.argv = argv;
}

static size_t count_fields(lua_State *L, int idx)
{
	size_t n = 0;

	for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1))
		n++;
	return n;
}

/* The table on top. Leaves it and the list on the stack. */
static void read_env(lua_State *L, struct request *r, int keep)
{
	int idx = lua_gettop(L);
	size_t i = 0, n;
	const char **envp;

	if (!lua_istable(L, idx))
		bad(L, r, "env: table expected, got %s", luaL_typename(L, idx));
	n = count_fields(L, idx);
	envp = new_list(L, n);
	memset(envp, 0, n * sizeof(*envp));
	for (lua_pushnil(L); lua_next(L, idx); i++) {
		const char *value = check_text(L, r, "value in env"), *name;

		if (i == n)
			bad(L, r, "env changed while it was read"); /* by some finalizer */
		if (lua_type(L, -2) != LUA_TSTRING || lua_objlen(L, -2) == 0 || strchr(lua_tostring(L, -2), '='))
			bad(L, r, "env: names must be strings without '='");
		lua_pushvalue(L, -2);
		name = check_text(L, r, "name in env");
		lua_pushfstring(L, "%s=%s", name, value);
		envp[i] = keep_text(L, r, keep, "env");
		lua_pop(L, 2);
	}
	r->how.envp = envp;
}

static struct gr_stream *to_conn(lua_State *L, int idx)
{
	struct gr_conn *c = lua_touserdata(L, idx);

	return c && lua_objlen(L, idx) == sizeof(*c) && c->class == gr_conn_class ? &c->stream : NULL;
}

/* The connection's descriptor goes to the child, so nothing may be left on our side of it. */
static void read_conn(lua_State *L, const struct request *r, int i, struct std_file *f, struct gr_stream *s)
{
	if (s->fd < 0)
		bad(L, r, "%s: the connection is closed", std_names[i]);
	if (!gr_stream_is_raw(s))
		bad(L, r, "%s: a TLS connection cannot be handed over", std_names[i]);
	if (s->len > 0)
		bad(L, r, "%s: the connection has unread data", std_names[i]);
	if (s->reading || s->writing)
		bad(L, r, "%s: another thread uses the connection", std_names[i]);
	f->fd = s->fd;
	f->give = s;
}

static bool is_file(lua_State *L, int idx)
{
	bool same;

	if (lua_type(L, idx) != LUA_TUSERDATA || !lua_getmetatable(L, idx))
		return false;
	luaL_getmetatable(L, LUA_FILEHANDLE);
	same = lua_rawequal(L, -1, -2);
	lua_pop(L, 2);
	return same;
}

static void read_word(lua_State *L, const struct request *r, int i, struct std_file *f)
{
	const char *word = lua_tostring(L, -1);

	if (strcmp(word, "pipe") == 0)
		f->fd = MAKE_PIPE;
	else if (strcmp(word, "null") == 0)
		f->fd = GR_SPAWN_NULL;
	else if (i == STDERR_FILENO && strcmp(word, "stdout") == 0)
		f->fd = SAME_AS_STDOUT;
	else if (strcmp(word, "inherit") != 0)
		bad(L, r, "%s: unknown kind '%s'", std_names[i], word);
}

/* The value on top, for the child's descriptor i. */
static void read_std(lua_State *L, const struct request *r, int i, struct std_file *f)
{
	struct gr_stream *s = to_conn(L, -1);

	if (s) {
		read_conn(L, r, i, f, s);
	} else if (is_file(L, -1)) {
		f->flush = *(FILE **)lua_touserdata(L, -1);
		if (f->flush == NULL)
			bad(L, r, "%s: the file is closed", std_names[i]);
		f->fd = fileno(f->flush);
	} else if (lua_type(L, -1) == LUA_TNUMBER) {
		f->fd = (int)lua_tointeger(L, -1);
		if (f->fd < 0)
			bad(L, r, "%s: descriptor out of range", std_names[i]);
	} else if (lua_type(L, -1) == LUA_TSTRING) {
		read_word(L, r, i, f);
	} else {
		bad(L, r, "%s: \"pipe\", \"inherit\", \"null\", file, connection or descriptor expected, got %s",
		    std_names[i], luaL_typename(L, -1));
	}
}

static bool read_flag(lua_State *L, const struct request *r, const char *name)
{
	if (!lua_isboolean(L, -1))
		bad(L, r, "%s: boolean expected, got %s", name, luaL_typename(L, -1));
	return lua_toboolean(L, -1);
}

/* The list on top, of descriptors. */
static void read_more(lua_State *L, struct request *r)
{
	size_t n = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;

	if (!lua_istable(L, -1) || n > GR_SPAWN_MORE)
		bad(L, r, "fds: list of at most %d descriptors expected", GR_SPAWN_MORE);
	for (size_t i = 0; i < n; i++) {
		lua_rawgeti(L, -1, (int)i + 1);
		if (lua_type(L, -1) != LUA_TNUMBER || lua_tointeger(L, -1) < 0)
			bad(L, r, "fds: descriptor expected, got %s", luaL_typename(L, -1));
		r->more[i] = (int)lua_tointeger(L, -1);
		lua_pop(L, 1);
	}
	r->how.more_fds = r->more;
	r->how.nmore = (int)n;
}

/* The value on top of the stack. */
static void read_field(lua_State *L, struct request *r, const char *name, int keep)
{
	for (int i = 0; i < 3; i++)
		if (strcmp(name, std_names[i]) == 0) {
			read_std(L, r, i, &r->files[i]);
			return;
		}
	if (strcmp(name, "cwd") == 0) {
		lua_pushvalue(L, -1);
		r->how.cwd = keep_text(L, r, keep, "cwd");
	} else if (strcmp(name, "program") == 0) {
		lua_pushvalue(L, -1);
		r->how.program = keep_text(L, r, keep, "program");
	} else if (strcmp(name, "fds") == 0) {
		read_more(L, r);
	} else if (strcmp(name, "env") == 0) {
		read_env(L, r, keep);
	} else if (strcmp(name, "group") == 0) {
		r->how.new_group = read_flag(L, r, name);
	} else {
		r->how.new_session = read_flag(L, r, name);
	}
}

static const char *const option_names[] = {"stdin", "stdout", "stderr", "cwd", "env", "group", "session",
					   "program", "fds", NULL};

static void check_keys(lua_State *L, const struct request *r)
{
	double n = (double)lua_objlen(L, 1);

	for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
		int i = 0;

		if (lua_type(L, -2) == LUA_TNUMBER && lua_tonumber(L, -2) >= 1 && lua_tonumber(L, -2) <= n)
			continue;
		if (lua_type(L, -2) != LUA_TSTRING)
			bad(L, r, "the command's words must be a list without gaps");
		while (option_names[i] && strcmp(option_names[i], lua_tostring(L, -2)) != 0)
			i++;
		if (option_names[i] == NULL)
			bad(L, r, "unknown option '%s'", lua_tostring(L, -2));
	}
}

/* Leaves on the stack what the request points to, and more. */
static void read_request(lua_State *L, struct request *r)
{
	int keep;

	if (!lua_istable(L, 1))
		bad(L, r, "table expected, got %s", luaL_typename(L, 1));
	check_keys(L, r);
	luaL_checkstack(L, 32, NULL);
	for (int i = 0; i < 3; i++)
		r->files[i].fd = i;
	lua_newtable(L);
	keep = lua_gettop(L);
	read_words(L, r, keep);
	for (int i = 0; option_names[i]; i++) {
		lua_getfield(L, 1, option_names[i]);
		if (!lua_isnil(L, -1))
			read_field(L, r, option_names[i], keep);
	}
}

/* ---- spawn ---- */

/* Pushes the handle with its table, not running, with closed connections for the pipes. */
static struct gr_lua_process *new_handle(lua_State *L, struct request *r)
{
	struct gr_lua_process *h = lua_newuserdata(L, sizeof(*h));

	h->process = NULL;
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_setmetatable(L, -2);
	lua_createtable(L, 0, 5);
	lua_rawgeti(L, 1, 1);
	lua_setfield(L, -2, "command");
	for (int i = 0; i < 3; i++) {
		if (r->files[i].fd != MAKE_PIPE)
			continue;
		r->files[i].pipe = gr_conn_new(L);
		lua_setfield(L, -2, std_names[i]);
	}
	lua_setfenv(L, -2);
	return h;
}

/* Makes the pipe of descriptor i: our end becomes a stream; the child's is what is returned. */
static int make_pipe(struct std_file *f, int i)
{
	int ends[2], ours = i == STDIN_FILENO ? 1 : 0;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	fcntl(ends[ours], F_SETFL, O_NONBLOCK);
	gr_stream_open_pipe(f->pipe, ends[ours]);
	f->fd = ends[!ours];
	return 0;
}

static int open_files(struct request *r)
{
	int rc = 0;

	for (int i = 0; i < 3 && rc == 0; i++) {
		struct std_file *f = &r->files[i];

		if (f->flush)
			fflush(f->flush);
		if (f->fd == MAKE_PIPE)
			rc = make_pipe(f, i);
		r->how.fds[i] = f->fd == SAME_AS_STDOUT ? r->how.fds[STDOUT_FILENO] : f->fd;
	}
	return rc;
}

/* The child's descriptors are its alone. What was handed over is closed here, or its other end would never see the end. */
static void close_files(const struct request *r, bool started)
{
	for (int i = 0; i < 3; i++) {
		const struct std_file *f = &r->files[i];

		if (f->pipe && f->fd >= 0)
			close(f->fd);
		if (f->pipe && !started)
			gr_stream_close(f->pipe);
		if (f->give && started)
			gr_stream_close(f->give);
	}
}

/* Programs expect that their reads and writes wait. */
static void set_blocking(const struct request *r, bool blocking)
{
	for (int i = 0; i < 3; i++) {
		int fd = r->files[i].fd, flags;

		if (r->files[i].give == NULL)
			continue;
		flags = fcntl(fd, F_GETFL) & ~O_NONBLOCK;
		fcntl(fd, F_SETFL, blocking ? flags : flags | O_NONBLOCK);
	}
}

static int start(struct request *r, struct gr_lua_process *h)
{
	int rc = open_files(r);

	if (rc == 0) {
		set_blocking(r, true);
		rc = gr_process_spawn(&r->how, &h->process);
		if (rc < 0)
			set_blocking(r, false);
	}
	close_files(r, rc == 0);
	return rc;
}

static int fail_spawn(lua_State *L, const struct request *r, enum gr_spawn_step step, int rc)
{
	if (step == GR_SPAWN_CWD)
		return gr_lua_failf(L, rc, "cannot run %s: directory %s", r->how.argv[0], r->how.cwd);
	return gr_lua_failf(L, rc, "cannot run %s", r->how.argv[0]);
}

int gr_lua_spawn(lua_State *L)
{
	struct request r = {.level = (int)luaL_optinteger(L, 2, 1)};
	enum gr_spawn_step step = GR_SPAWN_PROCESS;
	struct gr_lua_process *h;
	int rc;

	lua_settop(L, 1);
	read_request(L, &r);
	h = new_handle(L, &r);
	r.how.failed = &step;
	rc = start(&r, h);
	if (rc < 0)
		return fail_spawn(L, &r, step, rc);
	lua_getfenv(L, -1);
	lua_pushinteger(L, gr_process_pid(h->process));
	lua_setfield(L, -2, "pid");
	lua_pop(L, 1);
	return 1;
}

int gr_lua_adopt(lua_State *L)
{
	pid_t pid = (pid_t)luaL_checkinteger(L, 1);
	struct gr_lua_process *h = lua_newuserdata(L, sizeof(*h));
	int rc;

	h->process = NULL;
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_setmetatable(L, -2);
	lua_createtable(L, 0, 1);
	lua_pushvalue(L, 1);
	lua_setfield(L, -2, "pid");
	lua_setfenv(L, -2);
	rc = gr_process_adopt(pid, &h->process);
	if (rc < 0)
		return gr_lua_failf(L, rc, "process %d", (int)pid);
	return 1;
}
