/* SPDX-License-Identifier: MIT */
/* The control socket: a listener that is no reason to live and no hope in a deadlock, watched in the hub. */
#define _GNU_SOURCE
#include "bind/lib_control.h"

#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "bind/lib_net.h"
#include "bind/lib_thread.h"
#include "bind/luautil.h"
#include "core/cpu.h"
#include "core/error.h"
#include "core/hub.h"
#include "core/log.h"
#include "core/signal.h"

enum { BACKLOG = 16 };

/* Seconds from the start of a process to its socket, and of a pause when a client cannot be accepted. */
static const double START_AFTER = 0.5, PAUSE = 1;

static struct {
	int fd, client; /* -1: none */
	struct gr_io io;
	struct sockaddr_un addr;
	pid_t owner; /* the process that made the path */
	bool planned;
} control = {.fd = -1, .client = -1};

/* ---- In the hub ---- */

static void start(void)
{
	int rc = gr_cpu_start();

	control.planned = false;
	if (rc < 0)
		gr_log(GR_LOG_INFO, "processor time of threads is not counted: %s", gr_strerror(rc));
	gr_thread_call_hook("control", "start");
}

void gr_control_start_later(void)
{
	control.planned = true;
	gr_hub_later(START_AFTER, start);
}

void gr_control_remove(void)
{
	if (control.fd >= 0 && control.owner == getpid())
		unlink(control.addr.sun_path);
}

static void on_client(struct gr_io *io);

static void resume(void)
{
	if (control.fd >= 0 && control.io.watch == NULL)
		gr_io_attend(&control.io, on_client);
}

static bool is_welcome(int fd)
{
	struct gr_sock_cred cred;

	return gr_sock_peercred(fd, &cred) == 0 && (cred.uid == 0 || cred.uid == geteuid());
}

static void on_client(struct gr_io *io)
{
	int fd = accept4(control.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
		gr_io_unattend(io);
		gr_hub_later(PAUSE, resume);
	} else if (fd >= 0 && is_welcome(fd)) {
		control.client = fd;
		gr_thread_call_hook("control", "client");
		fd = control.client;
		control.client = -1;
	}
	if (fd >= 0)
		close(fd);
}

/* ---- For Lua ---- */

/* take() -> the connection of the client that the hook was called for */
static int l_control_take(lua_State *L)
{
	struct gr_stream *s = gr_conn_new(L);

	if (control.client < 0)
		return luaL_error(L, "no client");
	gr_stream_open(s, control.client);
	s->accepted = true;
	control.client = -1;
	return 1;
}

static void stop_listening(void)
{
	if (control.fd < 0)
		return;
	gr_io_unattend(&control.io);
	gr_control_remove();
	close(control.fd);
	control.fd = -1;
}

static int open_socket(const char *path)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return -errno;
	/* What is there under our own number is an earlier process's. Nobody else can use the directory. */
	unlink(path);
	control.addr.sun_family = AF_UNIX;
	if (bind(fd, (struct sockaddr *)&control.addr, sizeof(control.addr)) < 0 || chmod(path, 0600) < 0 ||
	    listen(fd, BACKLOG) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

/* listen(path) -> true | nil, message, code. In place of an earlier one. */
static int l_control_listen(lua_State *L)
{
	size_t len;
	const char *path = luaL_checklstring(L, 1, &len);
	int fd;

	luaL_argcheck(L, len < sizeof(control.addr.sun_path), 1, "path too long");
	stop_listening();
	snprintf(control.addr.sun_path, sizeof(control.addr.sun_path), "%s", path);
	fd = open_socket(path);
	if (fd < 0)
		return gr_lua_failf(L, fd, "%s", path);
	control.fd = fd;
	control.owner = getpid();
	gr_io_init(&control.io, fd, EV_READ);
	gr_io_attend(&control.io, on_client);
	lua_pushboolean(L, 1);
	return 1;
}

/* close(): in a forked child the parent's path stays. */
static int l_control_close(lua_State *L)
{
	(void)L;
	stop_listening();
	return 0;
}

/* later([on]) -> whether that was planned: calls the hook "control" with "start" in a while; false: does not. */
static int l_control_later(lua_State *L)
{
	bool planned = control.planned;

	if (lua_isnoneornil(L, 1) || lua_toboolean(L, 1)) {
		gr_control_start_later();
	} else if (planned) {
		gr_hub_later(0, NULL);
		control.planned = false;
	}
	lua_pushboolean(L, planned);
	return 1;
}

static int l_control_fd(lua_State *L)
{
	if (control.fd < 0)
		return 0;
	lua_pushinteger(L, control.fd);
	return 1;
}

/* directory(path [, create]) -> true | nil, message, code: ours alone, and made if need be. */
static int l_control_directory(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct stat st;

	if (lua_toboolean(L, 2) && mkdir(path, 0700) < 0 && errno != EEXIST)
		return gr_lua_failf(L, -errno, "%s", path);
	if (lstat(path, &st) < 0)
		return gr_lua_failf(L, -errno, "%s", path);
	if (!S_ISDIR(st.st_mode) || (st.st_uid != geteuid() && geteuid() != 0) || (st.st_mode & 077))
		return gr_net_fail_text(L, -EPERM,
					lua_pushfstring(L, "%s: not a directory that only its owner may use", path));
	lua_pushboolean(L, 1);
	return 1;
}

static int l_control_pid(lua_State *L)
{
	lua_pushinteger(L, getpid());
	return 1;
}

static int l_control_uid(lua_State *L)
{
	lua_pushinteger(L, geteuid());
	return 1;
}

/* kill(pid, signal) -> true | nil, message, code; signal "0" only asks whether the process is there. */
static int l_control_kill(lua_State *L)
{
	int pid = (int)luaL_checkinteger(L, 1);
	const char *name = luaL_checkstring(L, 2);
	int number = name[0] == '0' ? 0 : gr_signal_number(name);

	luaL_argcheck(L, pid > 0, 1, "pid expected");
	luaL_argcheck(L, number >= 0, 2, "unknown signal");
	if (kill(pid, number) < 0)
		return gr_lua_fail(L, -errno);
	lua_pushboolean(L, 1);
	return 1;
}

static const luaL_Reg functions[] = {
	{"listen", l_control_listen}, {"close", l_control_close},
	{"later", l_control_later},   {"take", l_control_take},
	{"fd", l_control_fd},         {"directory", l_control_directory},
	{"pid", l_control_pid},       {"uid", l_control_uid},
	{"kill", l_control_kill},     {NULL, NULL},
};

int luaopen_grun_core_control(lua_State *L)
{
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
