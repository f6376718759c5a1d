/* SPDX-License-Identifier: MIT */
/* Files that an HTTP server sends: opened below a root that the kernel does not let them leave (openat2), and only regular
 * ones. */
#define _GNU_SOURCE
#include "bind/lib_httpfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lualib.h>

#include "bind/luautil.h"

static const char ROOT_CLASS[] = "grun.http.root", FILE_CLASS[] = "grun.http.file";

enum {
	RETRIES = 8,         /* of openat2, which gives up when somebody renames on the way */
	READ_MAX = 64 << 20, /* bytes read into one string */
};

/* A userdata: a root or a file. */
struct handle {
	const char *class;
	int fd; /* -1 = closed */
};

static struct handle *check_handle(lua_State *L, int idx, const char *class, const char *label)
{
	struct handle *h = lua_touserdata(L, idx);

	if (h == NULL || lua_objlen(L, idx) != sizeof(*h) || h->class != class)
		luaL_argerror(L, idx, lua_pushfstring(L, "%s expected, got %s", label, luaL_typename(L, idx)));
	return h;
}

static struct handle *check_root(lua_State *L)
{
	struct handle *h = check_handle(L, 1, ROOT_CLASS, "root");

	luaL_argcheck(L, h->fd >= 0, 1, "root is closed");
	return h;
}

int gr_httpfile_check(lua_State *L, int idx)
{
	struct handle *h = check_handle(L, idx, FILE_CLASS, "file");

	luaL_argcheck(L, h->fd >= 0, idx, "file is closed");
	return h->fd;
}

/* Pushes a closed one. */
static struct handle *new_handle(lua_State *L, const char *class)
{
	struct handle *h = lua_newuserdata(L, sizeof(*h));

	h->class = class;
	h->fd = -1;
	luaL_getmetatable(L, class);
	lua_setmetatable(L, -2);
	return h;
}

static int l_close(lua_State *L)
{
	struct handle *h = lua_touserdata(L, 1);

	if (h == NULL || lua_objlen(L, 1) != sizeof(*h) || (h->class != FILE_CLASS && h->class != ROOT_CLASS))
		return luaL_argerror(L, 1, "file expected");
	if (h->fd >= 0)
		close(h->fd);
	h->fd = -1;
	return 0;
}

/* ---- Opening ---- */

static const char *check_path(lua_State *L, int idx)
{
	size_t len;
	const char *path = luaL_checklstring(L, idx, &len);

	luaL_argcheck(L, strlen(path) == len, idx, "path with a zero byte");
	return path;
}

/* Links are followed as long as they stay below the root. */
static int open_beneath(int root, const char *path, int flags)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	long fd;
	int tries = 0;

	do
		fd = syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || (errno == EAGAIN && ++tries < RETRIES)));
	return fd < 0 ? -errno : (int)fd;
}

/* What tells one content of a file from another: changes with every write, as fine as the file system's clock is. */
static void push_etag(lua_State *L, const struct stat *st)
{
	char text[64];

	snprintf(text, sizeof(text), "\"%" PRIx64 "-%" PRIx64 "-%" PRIx64 "\"", (uint64_t)st->st_ino,
		 (uint64_t)st->st_size, (uint64_t)st->st_mtim.tv_sec * 1000000000U + (uint64_t)st->st_mtim.tv_nsec);
	lua_pushstring(L, text);
}

/* Pushes what the functions that open return for the handle at the top: itself, size, mtime, etag. */
static int push_opened(lua_State *L, struct handle *h, const char *path)
{
	struct stat st;
	int rc = fstat(h->fd, &st) < 0 ? -errno : S_ISDIR(st.st_mode) ? -EISDIR : S_ISREG(st.st_mode) ? 0 : -EACCES;

	if (rc < 0) {
		close(h->fd);
		h->fd = -1;
		return gr_lua_failf(L, rc, "cannot send %s", path);
	}
	lua_pushnumber(L, (lua_Number)st.st_size);
	lua_pushnumber(L, (lua_Number)st.st_mtim.tv_sec);
	push_etag(L, &st);
	return 4;
}

/* root(path) -> root */
static int l_root(lua_State *L)
{
	const char *path = check_path(L, 1);
	struct handle *h = new_handle(L, ROOT_CLASS);

	h->fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return h->fd < 0 ? gr_lua_failf(L, -errno, "cannot open %s", path) : 1;
}

/* root:open(path) -> file, size, mtime, etag. "EISDIR" for a directory, "EACCES" for what is no regular file. */
static int l_root_open(lua_State *L)
{
	const struct handle *root = check_root(L);
	const char *path = check_path(L, 2);
	struct handle *h = new_handle(L, FILE_CLASS);
	int fd = open_beneath(root->fd, path, O_RDONLY);

	if (fd < 0)
		return gr_lua_failf(L, fd, "cannot send %s", path);
	h->fd = fd;
	return push_opened(L, h, path);
}

/* open(path | file) -> the same, wherever it is; of one of Lua's files a descriptor of its own. */
static int l_open(lua_State *L)
{
	const char *path = lua_type(L, 1) == LUA_TSTRING ? check_path(L, 1) : "the file";
	struct handle *h;

	if (lua_type(L, 1) == LUA_TSTRING) {
		h = new_handle(L, FILE_CLASS);
		h->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	} else {
		FILE *file = *(FILE **)luaL_checkudata(L, 1, LUA_FILEHANDLE);

		luaL_argcheck(L, file, 1, "closed file");
		h = new_handle(L, FILE_CLASS);
		if (fflush(file) == 0)
			h->fd = fcntl(fileno(file), F_DUPFD_CLOEXEC, 0);
	}
	return h->fd < 0 ? gr_lua_failf(L, -errno, "cannot send %s", path) : push_opened(L, h, path);
}

/* ---- Reading ---- */

/* file:read(from, len) -> that many bytes, fewer if it is shorter by now. */
static int l_file_read(lua_State *L)
{
	int fd = gr_httpfile_check(L, 1);
	double from = luaL_checknumber(L, 2), len = luaL_checknumber(L, 3);
	size_t got = 0;
	char *buf;
	ssize_t n = 1;

	luaL_argcheck(L, from >= 0 && from <= 9e15, 2, "out of range");
	luaL_argcheck(L, len >= 0 && len <= READ_MAX, 3, "out of range");
	buf = lua_newuserdata(L, (size_t)len + 1);
	while (got < (size_t)len && (n > 0 || errno == EINTR)) {
		n = pread(fd, buf + got, (size_t)len - got, (off_t)from + (off_t)got);
		if (n == 0)
			break;
		got += n > 0 ? (size_t)n : 0;
	}
	if (n < 0)
		return gr_lua_fail(L, -errno);
	lua_pushlstring(L, buf, got);
	return 1;
}

static void close_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static void push_entry(lua_State *L, DIR *dir, const struct dirent *e)
{
	struct stat st;

	lua_createtable(L, 0, 4);
	lua_pushstring(L, e->d_name);
	lua_setfield(L, -2, "name");
	if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	lua_pushboolean(L, S_ISDIR(st.st_mode));
	lua_setfield(L, -2, "directory");
	lua_pushnumber(L, (lua_Number)st.st_size);
	lua_setfield(L, -2, "size");
	lua_pushnumber(L, (lua_Number)st.st_mtim.tv_sec);
	lua_setfield(L, -2, "mtime");
}

/* root:list(path, max) -> { { name =, directory =, size =, mtime = } ... } in no order, at most so many. */
static int l_root_list(lua_State *L)
{
	const struct handle *root = check_root(L);
	const char *path = check_path(L, 2);
	int max = (int)luaL_checkinteger(L, 3), n = 0;
	int fd = open_beneath(root->fd, path, O_RDONLY | O_DIRECTORY);
	DIR *dir __attribute__((cleanup(close_dir))) = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (dir == NULL) {
		int rc = fd < 0 ? fd : -errno;

		if (fd >= 0)
			close(fd);
		return gr_lua_failf(L, rc, "cannot list %s", path);
	}
	lua_newtable(L);
	while (n < max && (e = readdir(dir)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		push_entry(L, dir, e);
		lua_rawseti(L, -2, ++n);
	}
	return 1;
}

static void new_class(lua_State *L, const char *class, const luaL_Reg *methods)
{
	luaL_newmetatable(L, class);
	lua_pushcfunction(L, l_close);
	lua_setfield(L, -2, "__gc");
	lua_newtable(L);
	for (; methods->name; methods++) {
		lua_pushcfunction(L, methods->func);
		lua_setfield(L, -2, methods->name);
	}
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}

static const luaL_Reg root_methods[] = {
	{"open", l_root_open},
	{"list", l_root_list},
	{"close", l_close},
	{NULL, NULL},
};
static const luaL_Reg file_methods[] = {
	{"read", l_file_read},
	{"close", l_close},
	{NULL, NULL},
};

int luaopen_grun_core_httpfile(lua_State *L)
{
	new_class(L, ROOT_CLASS, root_methods);
	new_class(L, FILE_CLASS, file_methods);
	lua_createtable(L, 0, 2);
	lua_pushcfunction(L, l_root);
	lua_setfield(L, -2, "root");
	lua_pushcfunction(L, l_open);
	lua_setfield(L, -2, "open");
	return 1;
}
