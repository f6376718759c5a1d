/* SPDX-License-Identifier: MIT */
/* The command line: a superset of lua(1). Options are read here; lualib/grun/main.lua runs what they ask for. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bind/lib_thread.h"
#include "bind/state.h"
#include "core/error.h"
#include "core/hub.h"
#include "core/log.h"
#include "core/signal.h"
#include "core/stack.h"
#include "posix/coop.h"

#define VERSION "0.1.0"

/* Scripts' own threads get what a process has under lua(1); only address space, like every stack. */
static const size_t SCRIPT_STACK = 8 << 20;

enum { EXIT_DEADLOCK = 2, EXIT_INTERRUPTED = 128 + SIGINT, EXIT_TERMINATED = 128 + SIGTERM };

struct options {
	int argc;
	char **argv;
	int first;                /* index of the first operand */
	bool separated;           /* "--" came before it: only one script */
	bool interactive, version, check, quiet, environment;
	bool has_action;          /* -e, -l or -j came */
	bool coop;                /* libc's blocking calls let other threads run */
	double seed;
};

static const char usage[] =
	"usage: grun [options] script.lua [more.lua ...] [--] [args...]\n"
	"       grun [options] serve ... app.lua     an application over HTTP; see grun serve --help\n"
	"Each script runs in a green thread of its own; without a script: standard input, or a prompt on a terminal.\n"
	"  -e stat            run the string 'stat'\n"
	"  -l name            require library 'name'\n"
	"  -i                 prompt after running the script\n"
	"  -v, --version      show version information\n"
	"  -E                 ignore environment variables\n"
	"  -j cmd, -O[opt]    control LuaJIT's compiler, as luajit does\n"
	"  -                  run standard input as a script\n"
	"  --                 stop handling options\n"
	"  --check            only compile the scripts\n"
	"  --no-coop          leave libc's blocking calls alone\n"
	"  --stack-size KIB   C stack of a thread, in KiB of address space (default 256)\n"
	"  --seed N           pick ready threads in a pseudo-random order\n"
	"  --log LEVEL        none, error, warn (default), info or debug\n"
	"  -q, --quiet        no banner, no warnings\n"
	"  --help             show this text\n";

static int bad_option(const char *what, const char *option)
{
	fprintf(stderr, "grun: %s '%s'\n%s", what, option, usage);
	return -1;
}

static int parse_number(const char *option, const char *text, double low, double high, double *out)
{
	char *end;
	double n = text ? strtod(text, &end) : 0;

	if (text == NULL)
		return bad_option("missing value after", option);
	if (end == text || *end || !(n >= low && n <= high) || n != floor(n)) {
		fprintf(stderr, "grun: %s needs a whole number from %.0f to %.0f, not '%s'\n", option, low, high, text);
		return -1;
	}
	*out = n;
	return 0;
}

/* Long options that take a value: `--name value` and `--name=value`. Returns how many words it used, 0 if it is none of
 * them, -1 on error. */
static int parse_long_value(struct options *o, const char *word, const char *next)
{
	static const char *const names[] = {"--stack-size", "--seed", "--log"};
	size_t length = strcspn(word, "=");
	const char *value = word[length] ? word + length + 1 : next;
	int used = word[length] ? 1 : 2, which = 0;
	double n;

	while (which < 3 && (strlen(names[which]) != length || strncmp(names[which], word, length) != 0))
		which++;
	switch (which) {
	case 0:
		if (parse_number(names[0], value, 64, 1 << 20, &n) < 0)
			return -1;
		gr_stack_set_size((size_t)n << 10);
		return used;
	case 1:
		return parse_number(names[1], value, 1, 9007199254740991.0, &o->seed) < 0 ? -1 : used;
	case 2:
		if (value == NULL)
			return bad_option("missing value after", "--log");
		if (gr_log_set(value) < 0) {
			fprintf(stderr, "grun: unknown log level '%s' (none, error, warn, info, debug)\n", value);
			return -1;
		}
		return used;
	default:
		return 0;
	}
}

static int parse_long(struct options *o, const char *word, const char *next)
{
	if (strcmp(word, "--version") == 0) {
		printf("grun " VERSION " (%s)\n", LUAJIT_VERSION);
		exit(EXIT_SUCCESS);
	}
	if (strcmp(word, "--help") == 0) {
		fputs(usage, stdout);
		exit(EXIT_SUCCESS);
	}
	if (strcmp(word, "--check") == 0)
		o->check = true;
	else if (strcmp(word, "--no-coop") == 0)
		o->coop = false;
	else if (strcmp(word, "--quiet") == 0)
		o->quiet = true;
	else
		return parse_long_value(o, word, next);
	return 1;
}

/* One short option. Returns how many words it used, or -1. */
static int parse_short(struct options *o, const char *word, const char *next)
{
	switch (word[1]) {
	case 'e':
	case 'l':
	case 'j':
		o->has_action = true;
		if (word[2])
			return 1;
		return next ? 2 : bad_option("missing argument after", word);
	case 'O':
		return 1;
	case 'i':
	case 'v':
	case 'E':
	case 'q':
		if (word[2])
			return bad_option("unknown option", word);
		o->interactive |= word[1] == 'i';
		o->version |= word[1] == 'i' || word[1] == 'v';
		o->environment &= word[1] != 'E';
		o->quiet |= word[1] == 'q';
		return 1;
	default:
		return bad_option("unknown option", word);
	}
}

static int parse(struct options *o)
{
	int i = 1;

	while (i < o->argc && o->argv[i][0] == '-' && o->argv[i][1]) {
		const char *word = o->argv[i], *next = i + 1 < o->argc ? o->argv[i + 1] : NULL;
		int used;

		if (strcmp(word, "--") == 0) {
			o->separated = true;
			i++;
			break;
		}
		used = word[1] == '-' ? parse_long(o, word, next) : parse_short(o, word, next);
		if (used == 0)
			return bad_option("unknown option", word);
		if (used < 0)
			return -1;
		i += used;
	}
	o->first = i;
	return 0;
}

/* ---- What Lua is told ---- */

static void set_flag(lua_State *L, const char *name, bool value)
{
	lua_pushboolean(L, value);
	lua_setfield(L, -2, name);
}

static void push_words(lua_State *L, const struct options *o)
{
	lua_createtable(L, o->argc, 1);
	for (int i = 0; i < o->argc; i++) {
		lua_pushstring(L, o->argv[i]);
		lua_rawseti(L, -2, i);
	}
}

/* Leaves what gr_thread_spawn_main wants: main.lua's function with its one argument. */
static int l_prepare(lua_State *L)
{
	const struct options *o = lua_touserdata(L, 1);

	lua_settop(L, 0);
	gr_thread_push_base(L);
	lua_getglobal(L, "require");
	lua_pushliteral(L, "grun.main");
	lua_call(L, 1, 1);
	lua_newtable(L);
	push_words(L, o);
	lua_setfield(L, -2, "words");
	lua_pushinteger(L, o->first);
	lua_setfield(L, -2, "first");
	lua_pushliteral(L, VERSION);
	lua_setfield(L, -2, "version");
	set_flag(L, "show_version", o->version);
	set_flag(L, "interactive", o->interactive);
	set_flag(L, "separated", o->separated);
	set_flag(L, "environment", o->environment);
	set_flag(L, "check", o->check);
	set_flag(L, "quiet", o->quiet);
	set_flag(L, "has_action", o->has_action);
	set_flag(L, "terminal", isatty(STDIN_FILENO));
	return 4;
}

static int prepare(lua_State *L, struct options *o)
{
	lua_pushcfunction(L, l_prepare);
	lua_pushlightuserdata(L, o);
	if (lua_pcall(L, 1, LUA_MULTRET, 0) == 0)
		return 0;
	gr_log(GR_LOG_ERROR, "%s", lua_tostring(L, -1));
	return -1;
}

/* ---- Running ---- */

static bool on_deadlock(void)
{
	return gr_thread_call_hook("deadlock", NULL);
}

static void on_signal(int number)
{
	bool taken = gr_thread_call_hook("signal", number == SIGINT ? "INT" : number == SIGTERM ? "TERM" : "QUIT");

	/* The prompt's business: the next one is a first one again. */
	if (taken && number == SIGINT)
		gr_signal_twice_exits(SIGINT, EXIT_INTERRUPTED);
}

static void watch_signals(void)
{
	gr_signal_watch(SIGINT, on_signal);
	gr_signal_watch(SIGTERM, on_signal);
	gr_signal_watch(SIGQUIT, on_signal);
	gr_signal_twice_exits(SIGINT, EXIT_INTERRUPTED);
	gr_signal_twice_exits(SIGTERM, EXIT_TERMINATED);
}

static int spawn_script(void)
{
	size_t size = gr_stack_size();
	int rc;

	if (size < SCRIPT_STACK)
		gr_stack_set_size(SCRIPT_STACK);
	rc = gr_thread_spawn_main();
	gr_stack_set_size(size);
	return rc;
}

static int run(struct options *o)
{
	lua_State *L = gr_state_new(o->environment);
	enum gr_hub_end ended;

	if (L == NULL || prepare(L, o) < 0)
		return EXIT_FAILURE;
	watch_signals();
	if (o->coop)
		gr_coop_start();
	gr_hub.on_deadlock = on_deadlock;
	gr_hub_seed((uint64_t)o->seed);
	if (spawn_script() < 0) {
		gr_log(GR_LOG_ERROR, "cannot start the first thread: out of memory");
		return EXIT_FAILURE;
	}
	ended = gr_hub_run();
	if (ended == GR_HUB_DEADLOCK)
		gr_lua.exit_status = EXIT_DEADLOCK;
	/* As lua(1): os.exit leaves the state open unless told to close it. */
	if (!gr_lua.exited || gr_lua.exit_close)
		gr_state_close();
	return gr_lua.exit_status;
}

/* A closed descriptor 0, 1 or 2 would become one of ours, and print would write into a socket. */
static int open_standard_files(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	return fd < 0 ? -1 : close(fd);
}

int main(int argc, char **argv)
{
	struct options o = {.argc = argc, .argv = argv, .environment = true, .coop = true};
	int rc;

	if (open_standard_files() < 0 || parse(&o) < 0)
		return EXIT_FAILURE;
	if (o.quiet)
		gr_log_set("error");
	rc = gr_hub_init();
	if (rc < 0) {
		gr_log(GR_LOG_ERROR, "cannot start the event loop: %s", gr_strerror(rc));
		return EXIT_FAILURE;
	}
	return run(&o);
}
