/* SPDX-License-Identifier: MIT */
/* Starts everything: options.c reads the command line, lualib/grun/main.lua runs what it asks for. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bind/lib_control.h"
#include "bind/lib_loop.h"
#include "bind/lib_profile.h"
#include "bind/lib_thread.h"
#include "bind/state.h"
#include "bind/thread_life.h"
#include "core/error.h"
#include "core/hub.h"
#include "core/log.h"
#include "core/signal.h"
#include "core/stack.h"
#include "core/trace.h"
#include "core/watchdog.h"
#include "options.h"
#include "posix/coop.h"

/* Scripts' own threads get what a process has under lua(1); only address space, like every stack. */
static const size_t SCRIPT_STACK = 8 << 20;

enum { EXIT_DEADLOCK = 2, EXIT_INTERRUPTED = 128 + SIGINT, EXIT_TERMINATED = 128 + SIGTERM };

const char gr_version[] = "grun " GR_VERSION " (" LUAJIT_VERSION ")";

/* ---- What Lua is told ---- */

static void set_flag(lua_State *L, const char *name, bool value)
{
	lua_pushboolean(L, value);
	lua_setfield(L, -2, name);
}

static void push_words(lua_State *L, const struct gr_options *o)
{
	lua_createtable(L, o->argc, 1);
	for (int i = 0; i < o->argc; i++) {
		lua_pushstring(L, o->argv[i]);
		lua_rawseti(L, -2, i);
	}
}

/* A list of {name, value}; value is a text, a number, or true for a flag. */
static void push_settings(lua_State *L, const struct gr_options *o)
{
	lua_createtable(L, o->nsettings, 0);
	for (int i = 0; i < o->nsettings; i++) {
		const struct gr_setting *s = &o->settings[i];

		lua_createtable(L, 2, 0);
		lua_pushstring(L, s->name);
		lua_rawseti(L, -2, 1);
		if (s->is_number)
			lua_pushnumber(L, s->number);
		else if (s->value)
			lua_pushstring(L, s->value);
		else
			lua_pushboolean(L, true);
		lua_rawseti(L, -2, 2);
		lua_rawseti(L, -2, i + 1);
	}
}

/* Leaves what gr_thread_spawn_main wants: main.lua's function with its one argument. */
static int l_prepare(lua_State *L)
{
	const struct gr_options *o = lua_touserdata(L, 1);

	lua_settop(L, 0);
	gr_thread_push_base(L);
	lua_getglobal(L, "require");
	lua_pushliteral(L, "grun.main");
	lua_call(L, 1, 1);
	lua_newtable(L);
	push_words(L, o);
	lua_setfield(L, -2, "words");
	push_settings(L, o);
	lua_setfield(L, -2, "settings");
	lua_pushinteger(L, o->first);
	lua_setfield(L, -2, "first");
	lua_pushliteral(L, GR_VERSION);
	lua_setfield(L, -2, "version");
	set_flag(L, "show_version", o->version);
	set_flag(L, "interactive", o->interactive);
	set_flag(L, "separated", o->separated);
	set_flag(L, "environment", o->environment);
	set_flag(L, "check", o->check);
	set_flag(L, "log_file", o->log_file != NULL);
	set_flag(L, "quiet", o->quiet);
	set_flag(L, "has_action", o->has_action);
	set_flag(L, "terminal", isatty(STDIN_FILENO));
	return 4;
}

static int prepare(lua_State *L, struct gr_options *o)
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

/* ---- Looking inside ---- */

static bool wants_control(const struct gr_options *o)
{
	const char *word = o->environment ? getenv("GRUN_CONTROL") : NULL;

	return o->control && !(word && strcmp(word, "off") == 0);
}

static int open_log(const struct gr_options *o)
{
	const char *facility = o->log_syslog && *o->log_syslog ? o->log_syslog : "daemon";
	int rc = 0;

	if (o->log_syslog)
		rc = gr_log_to_syslog(NULL, facility, NULL);
	else if (o->log_file)
		rc = gr_log_to_file(o->log_file);
	if (rc == -EINVAL && o->log_syslog)
		gr_log(GR_LOG_ERROR, "--log-syslog: there is no facility '%s'", facility);
	else if (rc < 0)
		gr_log(GR_LOG_ERROR, "cannot open the log %s: %s", o->log_syslog ? facility : o->log_file,
		       gr_strerror(rc));
	return rc;
}

static int open_trace(const struct gr_options *o)
{
	int rc = o->trace ? gr_trace_start(*o->trace ? o->trace : NULL) : 0;

	if (rc < 0)
		gr_log(GR_LOG_ERROR, "cannot write the trace %s: %s", o->trace, gr_strerror(rc));
	return rc;
}

static int start_profile(const struct gr_options *o)
{
	int rc = o->profile ? gr_profile_start((int)o->profile_interval, o->profile) : 0;

	if (rc < 0)
		gr_log(GR_LOG_ERROR, "cannot write the profile %s: %s", o->profile, gr_strerror(rc));
	return rc;
}

static void start_watchdog(const struct gr_options *o)
{
	const char *value = o->environment ? getenv("GRUN_BLOCK_WARN_MS") : NULL;
	char *end = NULL;
	double ms = value ? strtod(value, &end) : GR_WATCHDOG_MS;

	if (value && (end == value || *end || !(ms >= 0 && ms <= 1e6))) {
		gr_log(GR_LOG_WARN, "GRUN_BLOCK_WARN_MS needs milliseconds from 0 to 1000000, not '%s'", value);
		ms = GR_WATCHDOG_MS;
	}
	gr_loop_watch((uint32_t)ms);
}

static int run(struct gr_options *o)
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
	if (start_profile(o) < 0)
		return EXIT_FAILURE;
	if (wants_control(o))
		gr_control_start_later();
	start_watchdog(o);
	ended = gr_hub_run();
	gr_watchdog_stop();
	gr_profile_finish();
	gr_control_remove();
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
	struct gr_options o;
	int rc;

	if (open_standard_files() < 0 || gr_options_parse(&o, argc, argv) < 0)
		return EXIT_FAILURE;
	if (o.quiet)
		gr_log_set("error");
	rc = gr_hub_init();
	if (rc < 0) {
		gr_log(GR_LOG_ERROR, "cannot start the event loop: %s", gr_strerror(rc));
		return EXIT_FAILURE;
	}
	if (open_log(&o) < 0 || open_trace(&o) < 0)
		return EXIT_FAILURE;
	return run(&o);
}
