/* SPDX-License-Identifier: MIT */
/* The Lua functions on a stack in words. */
#include "bind/luaframes.h"

#include <stdio.h>

static int put_frame(const lua_Debug *ar, char *text, size_t size)
{
	int n = ar->currentline > 0 ? snprintf(text, size, "\n\t%s:%d:", ar->short_src, ar->currentline)
				    : snprintf(text, size, "\n\t[C]:");

	if (n < 0 || (size_t)n >= size)
		return -1;
	text += n;
	size -= (size_t)n;
	if (ar->namewhat && *ar->namewhat)
		return n + snprintf(text, size, " in function '%s'", ar->name);
	if (*ar->what == 'm')
		return n + snprintf(text, size, " in main chunk");
	if (*ar->what == 'C')
		return n + snprintf(text, size, " in a C function");
	return n + snprintf(text, size, " in function <%s:%d>", ar->short_src, ar->linedefined);
}

size_t gr_lua_frames(lua_State *L, int levels, char *text, size_t size)
{
	size_t length = 0;
	lua_Debug ar;

	for (int i = 0; i < levels && lua_getstack(L, i, &ar) && lua_getinfo(L, "Snl", &ar); i++) {
		int n = put_frame(&ar, text + length, size - length);

		if (n < 0 || (size_t)n >= size - length)
			break;
		length += (size_t)n;
	}
	return length;
}
