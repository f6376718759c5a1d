/* SPDX-License-Identifier: MIT */
/* Writing with Lua's own io library, and print. */
#include "bind/lib_io.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "bind/luautil.h"
#include "core/error.h"
#include "core/hub.h"

void gr_io_check_pipe(const FILE *fp, int rc)
{
	int fd = rc == -EPIPE && fp && !gr_hub.pipe_ignored ? fileno((FILE *)fp) : -1;

	if (fd != STDOUT_FILENO && fd != STDERR_FILENO)
		return;
	signal(SIGPIPE, SIG_DFL);
	raise(SIGPIPE);
}

/* One call's writes to one file, which nobody else's come between. */
struct writer {
	struct gr_luafile *u;
	int idx;              /* of the userdata */
	struct gr_turn *turn; /* ours, or NULL */
	bool asked;           /* for the turn */
	int rc;               /* of the first write that failed */
};

static void writer_free(struct writer *w)
{
	gr_io_give_turn(&w->turn);
}

static int take_turn(lua_State *L, struct writer *w, struct gr_file *f)
{
	int rc = w->asked ? 0 : gr_io_take_turn(L, f, &f->writing, "io.write");

	w->asked = true;
	if (rc > 0)
		w->turn = &f->writing;
	return rc < 0 ? rc : 0;
}

static int write_waiting(lua_State *L, struct writer *w, const char *p, size_t n)
{
	struct gr_file *f = gr_io_file(L, w->idx, w->u);
	int rc;

	if (f == NULL)
		return fwrite(p, 1, n, w->u->fp) == n ? 0 : -errno;
	rc = take_turn(L, w, f);
	if (rc == 0)
		rc = gr_file_write(f, p, n);
	if (rc == -EPIPE)
		gr_io_check_pipe(w->u->fp, rc);
	return rc;
}

static bool is_free(lua_State *L, const struct writer *w)
{
	const struct gr_file *f = w->asked ? NULL : gr_io_known_file(L, w->idx, w->u);

	return f == NULL || f->writing.owner == NULL;
}

/* Bytes that only go into a buffer need nothing else, unless somebody waits in the middle of a write. */
static void write_bytes(lua_State *L, struct writer *w, const char *p, size_t n)
{
	FILE *fp = w->u->fp;

	if (w->rc < 0)
		return;
	if (gr_io_is_plain(L, w->idx, w->u) || (gr_file_fits(fp, p, n) && is_free(L, w)))
		w->rc = fwrite(p, 1, n, fp) == n ? 0 : -errno;
	else
		w->rc = write_waiting(L, w, p, n);
}

/* Room for the longest whole number below. */
enum { DIGITS = 16 };

/* The text of the string or number at idx. Whole numbers become no Lua strings: that is faster, and allocates nothing. */
static const char *text_at(lua_State *L, int idx, char digits[DIGITS], size_t *n)
{
	static const double LIMIT = 1e14; /* from here on Lua's %.14g has an exponent */
	char *p = digits + DIGITS;
	lua_Number d;
	uint64_t rest;

	if (lua_type(L, idx) != LUA_TNUMBER)
		return luaL_checklstring(L, idx, n);
	d = lua_tonumber(L, idx);
	if (!(d > -LIMIT && d < LIMIT) || d != trunc(d) || (d == 0 && signbit(d)))
		return lua_tolstring(L, idx, n);
	for (rest = (uint64_t)fabs(d); rest > 9; rest /= 10)
		*--p = (char)('0' + rest % 10);
	*--p = (char)('0' + rest);
	if (d < 0)
		*--p = '-';
	*n = (size_t)(digits + DIGITS - p);
	return p;
}

static int write_values(lua_State *L, struct gr_luafile *u, int idx, int first, int last)
{
	struct writer w __attribute__((cleanup(writer_free))) = {.u = u, .idx = idx};

	for (int i = first; i <= last; i++) {
		char digits[DIGITS];
		size_t n;
		const char *p = text_at(L, i, digits, &n);

		write_bytes(L, &w, p, n);
	}
	return gr_io_result(L, w.rc);
}

int gr_io_l_write(lua_State *L)
{
	int nargs = lua_gettop(L);
	struct gr_luafile *u = gr_io_push_open_default(L, GR_IO_OUTPUT);

	return write_values(L, u, nargs + 1, 1, nargs);
}

int gr_io_l_file_write(lua_State *L)
{
	return write_values(L, gr_io_check(L, 1), 1, 2, lua_gettop(L));
}

/* ---- flush ---- */

int gr_io_flush(lua_State *L, int idx, struct gr_luafile *u)
{
	struct writer w __attribute__((cleanup(writer_free))) = {.u = u, .idx = idx};
	struct gr_file *f = gr_io_file(L, idx, u);
	int rc;

	if (f == NULL)
		return fflush(u->fp) == 0 ? 0 : -errno;
	rc = take_turn(L, &w, f);
	if (rc == 0)
		rc = gr_file_flush(f);
	if (rc == -EPIPE)
		gr_io_check_pipe(u->fp, rc);
	return rc;
}

int gr_io_l_flush(lua_State *L)
{
	struct gr_luafile *u = gr_io_push_open_default(L, GR_IO_OUTPUT);

	return gr_io_result(L, gr_io_flush(L, lua_gettop(L), u));
}

int gr_io_l_file_flush(lua_State *L)
{
	return gr_io_result(L, gr_io_flush(L, 1, gr_io_check(L, 1)));
}

/* ---- print ---- */

static bool has_metatable(lua_State *L, int idx)
{
	if (!lua_getmetatable(L, idx))
		return false;
	lua_pop(L, 1);
	return true;
}

/* Makes the arguments strings with the global tostring, as LuaJIT's print does. Upvalue 1: LuaJIT's tostring. */
static void make_strings(lua_State *L, int nargs)
{
	bool usual;

	lua_getfield(L, LUA_GLOBALSINDEX, "tostring");
	usual = lua_rawequal(L, -1, lua_upvalueindex(1));
	for (int i = 1; i <= nargs; i++) {
		int type = lua_type(L, i);

		if (usual && (type == LUA_TSTRING || (type == LUA_TNUMBER && !has_metatable(L, i))))
			continue;
		lua_pushvalue(L, -1);
		lua_pushvalue(L, i);
		lua_call(L, 1, 1);
		if (lua_tostring(L, -1) == NULL)
			luaL_error(L, "'tostring' must return a string to 'print'");
		lua_replace(L, i);
	}
	lua_pop(L, 1);
}

/* The pieces of a line, put together: one write is cheaper than many. */
struct text {
	char bytes[512];
	size_t n;
};

static void add(lua_State *L, struct writer *w, struct text *t, const char *p, size_t n)
{
	if (n > sizeof(t->bytes) - t->n) {
		write_bytes(L, w, t->bytes, t->n);
		t->n = 0;
	}
	if (n > sizeof(t->bytes)) {
		write_bytes(L, w, p, n);
		return;
	}
	memcpy(t->bytes + t->n, p, n);
	t->n += n;
}

/* Nothing is written before all arguments are strings, since __tostring may wait. */
int gr_io_l_print(lua_State *L)
{
	int nargs = lua_gettop(L);
	struct writer w __attribute__((cleanup(writer_free))) = {.idx = nargs + 1};
	struct text t;

	make_strings(L, nargs);
	w.u = gr_io_push_stdout(L);
	t.n = 0;
	for (int i = 1; i <= nargs; i++) {
		char digits[DIGITS];
		size_t n;
		const char *p = text_at(L, i, digits, &n);

		if (i > 1)
			add(L, &w, &t, "\t", 1);
		add(L, &w, &t, p, n);
	}
	add(L, &w, &t, "\n", 1);
	write_bytes(L, &w, t.bytes, t.n);
	return w.rc == GR_CANCELED || w.rc == GR_DEADLINE ? gr_lua_fail(L, w.rc) : 0;
}
