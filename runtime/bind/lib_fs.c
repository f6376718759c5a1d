/* SPDX-License-Identifier: MIT */
/* Files for Lua: grun.core.fs, whose functions let other threads run while the disk is waited for. */
#define _GNU_SOURCE
#include "bind/lib_fs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bind/luautil.h"
#include "core/error.h"
#include "posix/fs.h"

/* ---- Arguments ---- */

static const char *check_path(lua_State *L, int idx)
{
	size_t len;
	const char *path = luaL_checklstring(L, idx, &len);

	luaL_argcheck(L, strlen(path) == len, idx, "path contains a zero byte");
	return path;
}

/* Permissions: a number, or octal digits in a string, since Lua has no octal numbers. */
static int to_mode(lua_State *L, int idx, int arg)
{
	double mode = lua_tonumber(L, idx);
	const char *text;
	char *end;

	if (lua_type(L, idx) == LUA_TSTRING) {
		text = lua_tostring(L, idx);
		mode = (double)strtol(text, &end, 8);
		if (end == text || *end)
			mode = -1;
	} else if (lua_type(L, idx) != LUA_TNUMBER) {
		mode = -1;
	}
	luaL_argcheck(L, mode >= 0 && mode <= 07777, arg, "permissions such as \"0644\" expected");
	return (int)mode;
}

/* opts: a table with only these names. */
static void check_names(lua_State *L, int idx, const char *const names[])
{
	if (lua_isnoneornil(L, idx))
		return;
	luaL_checktype(L, idx, LUA_TTABLE);
	for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
		const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
		int i = 0;

		while (names[i] && strcmp(names[i], name) != 0)
			i++;
		if (names[i] == NULL)
			luaL_argerror(L, idx, lua_pushfstring(L, "unknown option '%s'", name));
	}
}

static bool has_flag(lua_State *L, int idx, const char *name)
{
	bool set;

	if (lua_isnoneornil(L, idx))
		return false;
	lua_getfield(L, idx, name);
	set = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return set;
}

static int opt_mode(lua_State *L, int idx)
{
	int mode = -1;

	if (lua_isnoneornil(L, idx))
		return -1;
	lua_getfield(L, idx, "mode");
	if (!lua_isnil(L, -1))
		mode = to_mode(L, -1, idx);
	lua_pop(L, 1);
	return mode;
}

/* ---- Running ---- */

static void free_op(struct gr_fs **f)
{
	if (*f)
		gr_fs_free(*f);
}

#define OWNED __attribute__((cleanup(free_op)))

static struct gr_fs *new_op(lua_State *L, int (*op)(struct gr_fs *), const char *path, const char *other)
{
	struct gr_fs *f = gr_fs_new(op, path, other);

	if (f == NULL)
		luaL_error(L, "not enough memory");
	return f;
}

/* Returns true when it was done without an error; else *n is the number of what was pushed. */
static bool perform(lua_State *L, struct gr_fs **f, int *n)
{
	int rc = gr_lua_enter_wait(L);

	if (rc) {
		*n = rc;
		return false;
	}
	rc = gr_fs_do(*f);
	if (rc < 0) {
		*f = NULL;
		*n = gr_lua_fail(L, rc);
		return false;
	}
	if ((*f)->rc == 0)
		return true;
	if ((*f)->other)
		*n = gr_lua_failf(L, (*f)->rc, "%s -> %s", (*f)->path, (*f)->other);
	else
		*n = gr_lua_failf(L, (*f)->rc, "%s", (*f)->path);
	return false;
}

static int true_after(lua_State *L, struct gr_fs *op)
{
	struct gr_fs *f OWNED = op;
	int n;

	if (!perform(L, &f, &n))
		return n;
	lua_pushboolean(L, 1);
	return 1;
}

static int data_after(lua_State *L, struct gr_fs *op)
{
	struct gr_fs *f OWNED = op;
	int n;

	if (!perform(L, &f, &n))
		return n;
	lua_pushlstring(L, f->data, f->len);
	return 1;
}

/* ---- Whole files ---- */

static int l_fs_read_file(lua_State *L)
{
	const char *path = check_path(L, 1);
	double max = luaL_optnumber(L, 2, 1e15);
	struct gr_fs *f;

	luaL_argcheck(L, max >= 0 && max <= 1e15, 2, "number of bytes, 0 or more, expected");
	f = new_op(L, gr_fs_read, path, NULL);
	f->max = (size_t)max;
	return data_after(L, f);
}

static int l_fs_write_file(lua_State *L)
{
	static const char *const names[] = {"append", "mode", "atomic", NULL};
	const char *path = check_path(L, 1), *data;
	struct gr_fs *f;
	size_t len;
	int mode;

	data = luaL_checklstring(L, 2, &len);
	check_names(L, 3, names);
	mode = opt_mode(L, 3);
	luaL_argcheck(L, !(has_flag(L, 3, "append") && has_flag(L, 3, "atomic")), 3,
		      "append and atomic exclude each other");
	f = new_op(L, gr_fs_write, path, NULL);
	f->mode = mode;
	f->append = has_flag(L, 3, "append");
	f->atomic = has_flag(L, 3, "atomic");
	f->data = malloc(len + 1);
	if (f->data == NULL) {
		gr_fs_free(f);
		return luaL_error(L, "not enough memory");
	}
	memcpy(f->data, data, len);
	f->len = len;
	return true_after(L, f);
}

static int l_fs_copy(lua_State *L)
{
	return true_after(L, new_op(L, gr_fs_copy, check_path(L, 1), check_path(L, 2)));
}

/* ---- Looking ---- */

static void set_number(lua_State *L, const char *key, double value)
{
	lua_pushnumber(L, value);
	lua_setfield(L, -2, key);
}

static double seconds(struct timespec t)
{
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void push_stat(lua_State *L, const struct stat *st)
{
	lua_createtable(L, 0, 12);
	lua_pushstring(L, gr_fs_type(st->st_mode));
	lua_setfield(L, -2, "type");
	set_number(L, "mode", st->st_mode & 07777);
	set_number(L, "size", (double)st->st_size);
	set_number(L, "mtime", seconds(st->st_mtim));
	set_number(L, "atime", seconds(st->st_atim));
	set_number(L, "ctime", seconds(st->st_ctim));
	set_number(L, "uid", st->st_uid);
	set_number(L, "gid", st->st_gid);
	set_number(L, "nlink", (double)st->st_nlink);
	set_number(L, "ino", (double)st->st_ino);
	set_number(L, "dev", (double)st->st_dev);
	set_number(L, "blocks", (double)st->st_blocks);
}

static int stat_with(lua_State *L, int (*op)(struct gr_fs *))
{
	struct gr_fs *f OWNED = new_op(L, op, check_path(L, 1), NULL);
	int n;

	if (!perform(L, &f, &n))
		return n;
	push_stat(L, &f->st);
	return 1;
}

static int l_fs_stat(lua_State *L)
{
	return stat_with(L, gr_fs_stat);
}

static int l_fs_lstat(lua_State *L)
{
	return stat_with(L, gr_fs_lstat);
}

static int l_fs_exists(lua_State *L)
{
	struct gr_fs *f OWNED = new_op(L, gr_fs_stat, check_path(L, 1), NULL);
	int n;
	bool there = perform(L, &f, &n);

	if (!there && !(f && (f->rc == -ENOENT || f->rc == -ENOTDIR)))
		return n;
	lua_pushboolean(L, there);
	return 1;
}

/* The entries, unsorted: a list of {name=, type=}. */
static int l_fs_list(lua_State *L)
{
	struct gr_fs *f OWNED = new_op(L, gr_fs_list, check_path(L, 1), NULL);
	int n, i = 0;

	if (!perform(L, &f, &n))
		return n;
	lua_newtable(L);
	for (const char *p = f->data; p < f->data + f->len; p += strlen(p) + 1) {
		lua_createtable(L, 0, 2);
		lua_pushstring(L, p + 1);
		lua_setfield(L, -2, "name");
		lua_pushstring(L, gr_fs_type_of_letter(*p));
		lua_setfield(L, -2, "type");
		lua_rawseti(L, -2, ++i);
	}
	return 1;
}

static int l_fs_realpath(lua_State *L)
{
	return data_after(L, new_op(L, gr_fs_realpath, check_path(L, 1), NULL));
}

static int l_fs_readlink(lua_State *L)
{
	return data_after(L, new_op(L, gr_fs_readlink, check_path(L, 1), NULL));
}

/* ---- Changing ---- */

static int l_fs_mkdir(lua_State *L)
{
	static const char *const names[] = {"parents", "mode", NULL};
	const char *path = check_path(L, 1);
	struct gr_fs *f;
	int mode;

	check_names(L, 2, names);
	mode = opt_mode(L, 2);
	f = new_op(L, gr_fs_mkdir, path, NULL);
	f->mode = mode;
	f->recursive = has_flag(L, 2, "parents");
	return true_after(L, f);
}

static int l_fs_remove(lua_State *L)
{
	static const char *const names[] = {"recursive", NULL};
	const char *path = check_path(L, 1);
	struct gr_fs *f;

	check_names(L, 2, names);
	f = new_op(L, gr_fs_remove, path, NULL);
	f->recursive = has_flag(L, 2, "recursive");
	return true_after(L, f);
}

static int l_fs_rename(lua_State *L)
{
	return true_after(L, new_op(L, gr_fs_rename, check_path(L, 1), check_path(L, 2)));
}

static int l_fs_symlink(lua_State *L)
{
	return true_after(L, new_op(L, gr_fs_symlink, check_path(L, 1), check_path(L, 2)));
}

static int l_fs_chmod(lua_State *L)
{
	const char *path = check_path(L, 1);
	int mode;
	struct gr_fs *f;

	luaL_checkany(L, 2);
	mode = to_mode(L, 2, 2);
	f = new_op(L, gr_fs_chmod, path, NULL);
	f->mode = mode;
	return true_after(L, f);
}

/* The new name: `prefix`, by default "grun-" in the directory for temporary files, and six random characters. */
static int make_temporary(lua_State *L, int (*op)(struct gr_fs *))
{
	const char *prefix = lua_isnoneornil(L, 1) ? NULL : check_path(L, 1), *dir = getenv("TMPDIR");
	struct gr_fs *f OWNED = NULL;
	int n;

	if (prefix)
		lua_pushfstring(L, "%sXXXXXX", prefix);
	else
		lua_pushfstring(L, "%s/grun-XXXXXX", dir && *dir ? dir : "/tmp");
	f = new_op(L, op, lua_tostring(L, -1), NULL);
	if (!perform(L, &f, &n))
		return n;
	lua_pushstring(L, f->path);
	return 1;
}

static int l_fs_tmpname(lua_State *L)
{
	return make_temporary(L, gr_fs_mkstemp);
}

static int l_fs_tempdir(lua_State *L)
{
	return make_temporary(L, gr_fs_mkdtemp);
}

static const luaL_Reg functions[] = {
	{"read_file", l_fs_read_file},
	{"write_file", l_fs_write_file},
	{"copy", l_fs_copy},
	{"stat", l_fs_stat},
	{"lstat", l_fs_lstat},
	{"exists", l_fs_exists},
	{"list", l_fs_list},
	{"realpath", l_fs_realpath},
	{"readlink", l_fs_readlink},
	{"mkdir", l_fs_mkdir},
	{"remove", l_fs_remove},
	{"rename", l_fs_rename},
	{"symlink", l_fs_symlink},
	{"chmod", l_fs_chmod},
	{"tmpname", l_fs_tmpname},
	{"tempdir", l_fs_tempdir},
	{NULL, NULL},
};

int luaopen_grun_core_fs(lua_State *L)
{
	lua_newtable(L);
	for (const luaL_Reg *f = functions; f->name; f++) {
		lua_pushcfunction(L, f->func);
		lua_setfield(L, -2, f->name);
	}
	return 1;
}
