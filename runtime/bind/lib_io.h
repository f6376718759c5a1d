/* SPDX-License-Identifier: MIT */
/* Lua's own io library, os.execute and print, which park on pipes, terminals and sockets: lib_io.c (files),
 * lib_io_read.c, lib_io_write.c and lib_io_program.c. Files are the userdata that LuaJIT makes; everything else of them is ours. */
#ifndef GR_BIND_LIB_IO_H
#define GR_BIND_LIB_IO_H

#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>

#include "core/error.h"
#include "posix/file.h"

/* Replaces LuaJIT's functions; its libraries must be open. */
void gr_io_open(lua_State *L);

/* A file's userdata as LuaJIT lays it out. Other modules' may end after `fp`. */
struct gr_luafile {
	FILE *fp;      /* NULL once closed */
	uint32_t type; /* LuaJIT's, in the low bits; the others are free for our GR_IO_* */
};

enum {
	GR_IO_PLAIN = 0x100, /* has a position: never waits */
	GR_IO_STATE = 0x200, /* has a struct gr_file */
};

enum gr_io_default { GR_IO_INPUT, GR_IO_OUTPUT };

/* The open file at idx; raises if it is none. */
struct gr_luafile *gr_io_check(lua_State *L, int idx);

/* Pushes io.input() or io.output() and returns it. */
struct gr_luafile *gr_io_push_default(lua_State *L, enum gr_io_default which);

/* The same; raises if it is closed. */
struct gr_luafile *gr_io_push_open_default(lua_State *L, enum gr_io_default which);

/* Pushes the file on C's stdout and returns it. */
struct gr_luafile *gr_io_push_stdout(lua_State *L);

/* What the file at idx needs for waiting: made when first asked for, NULL if it is plain. */
struct gr_file *gr_io_file(lua_State *L, int idx, struct gr_luafile *u);

/* The same if it has been made already, else NULL. */
struct gr_file *gr_io_known_file(lua_State *L, int idx, const struct gr_luafile *u);

/* True if it is known never to wait. */
bool gr_io_is_plain(lua_State *L, int idx, const struct gr_luafile *u);

/* Takes the turn at an open file. Returns 1; 0 where the thread may not park, or has it already: then go on without; or
 * what a wait returns. May park. */
int gr_io_take_turn(lua_State *L, struct gr_file *f, struct gr_turn *t, const char *what);

/* For __attribute__((cleanup)): gives the turn back unless NULL. */
void gr_io_give_turn(struct gr_turn **t);

/* Ends a call: pushes true, or nil, message, errno as LuaJIT does, or what gr_lua_fail does; returns how many. */
int gr_io_result(lua_State *L, int rc);

/* read: nargs formats from index `first` on, of the file at idx. Pushes and returns results as file:read. May park. */
int gr_io_read(lua_State *L, int idx, struct gr_luafile *u, int first, int nargs);

/* Writes what is buffered. Returns 0, -errno or what a wait returns. May park. */
int gr_io_flush(lua_State *L, int idx, struct gr_luafile *u);

/* A process whose standard output or error was a pipe that nobody reads ends as others do, by SIGPIPE; unless that was
 * ignored when it was started. Otherwise it would write for ever. rc is what a write returned. */
void gr_io_check_pipe(const FILE *fp, int rc);

/* True for what raises: cancel and deadline. */
static inline bool gr_io_is_raised(int rc)
{
	return rc == GR_CANCELED || rc == GR_DEADLINE;
}

/* As pclose: waits for the end of a program and gives it back. `written` is what the last write to it returned: it is the
 * result if the program ended well; if it raises, nobody waits. Returns 0, -errno or what a wait returns. May park. */
int gr_io_wait_program(struct gr_process *p, int written);

/* Pushes a new file that is closed; or returns NULL, with nil, message, errno pushed. */
struct gr_luafile *gr_io_push_closed(lua_State *L);

/* Pushes the weak table of what files need for waiting: file -> userdata that is its struct gr_file. */
void gr_io_push_states(lua_State *L);

int gr_io_l_read(lua_State *L);       /* io.read */
int gr_io_l_file_read(lua_State *L);  /* file:read */
int gr_io_l_lines(lua_State *L);      /* io.lines */
int gr_io_l_file_lines(lua_State *L); /* file:lines */
int gr_io_l_write(lua_State *L);      /* io.write */
int gr_io_l_file_write(lua_State *L); /* file:write */
int gr_io_l_flush(lua_State *L);      /* io.flush */
int gr_io_l_file_flush(lua_State *L); /* file:flush */
int gr_io_l_popen(lua_State *L);      /* io.popen */
int gr_io_l_execute(lua_State *L);    /* os.execute */
int gr_io_l_print(lua_State *L);      /* print; upvalue: LuaJIT's tostring */

/* file:close of the file at idx. May park. */
int gr_io_close(lua_State *L, int idx, struct gr_luafile *u);

/* Pushes the file that LuaJIT's io.open opens; or nil, message, errno. Returns how many. */
int gr_io_push_open(lua_State *L, const char *name, const char *mode);

#endif
