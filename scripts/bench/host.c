/* SPDX-License-Identifier: MIT */
/* Runs a script with the shared libluajit and nothing else: ./host script.lua */
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	lua_State *L = luaL_newstate();

	if (argc != 2 || L == NULL)
		return 2;
	luaL_openlibs(L);
	if (luaL_dofile(L, argv[1])) {
		fprintf(stderr, "%s\n", lua_tostring(L, -1));
		return 1;
	}
	lua_close(L);
	return 0;
}
