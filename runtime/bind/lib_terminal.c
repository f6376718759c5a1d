/* SPDX-License-Identifier: MIT */
/* Modes and size of the terminal on descriptors 0 and 1. */
#include "bind/lib_terminal.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "bind/luautil.h"
#include "core/signal.h"

static struct {
	bool taken;
	struct termios before;
} terminal;

/* Leaves the second screen and shows the cursor. Async-signal-safe. */
static void give_back(void)
{
	static const char text[] = "\033[?25h\033[?1049l";

	if (!terminal.taken)
		return;
	terminal.taken = false;
	tcsetattr(STDIN_FILENO, TCSANOW, &terminal.before);
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		return;
}

/* take() -> true | nil, message, code: keys come one by one and are not shown; the cursor is hidden, the screen another
 * one. Undone by give_back() and by the end of the process. */
static int l_terminal_take(lua_State *L)
{
	static const char text[] = "\033[?1049h\033[?25l";
	static bool at_exit;
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &terminal.before) < 0)
		return gr_lua_fail(L, -errno);
	raw = terminal.before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0)
		return gr_lua_fail(L, -errno);
	terminal.taken = true;
	if (!at_exit) {
		at_exit = true;
		atexit(give_back);
		gr_signal_at_exit = give_back;
	}
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		return gr_lua_fail(L, -errno);
	lua_pushboolean(L, 1);
	return 1;
}

static int l_terminal_give_back(lua_State *L)
{
	(void)L;
	give_back();
	return 0;
}

/* size() -> rows, columns; 24, 80 where they are unknown */
static int l_terminal_size(lua_State *L)
{
	struct winsize size = {0};

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 || size.ws_col == 0)
		size = (struct winsize){.ws_row = 24, .ws_col = 80};
	lua_pushinteger(L, size.ws_row);
	lua_pushinteger(L, size.ws_col);
	return 2;
}

/* is_terminal() -> are both its input and its output one */
static int l_terminal_is_terminal(lua_State *L)
{
	lua_pushboolean(L, isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
	return 1;
}

static const luaL_Reg functions[] = {
	{"take", l_terminal_take},
	{"give_back", l_terminal_give_back},
	{"size", l_terminal_size},
	{"is_terminal", l_terminal_is_terminal},
	{NULL, NULL},
};

int luaopen_grun_core_terminal(lua_State *L)
{
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
