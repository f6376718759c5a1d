/* SPDX-License-Identifier: MIT */
/* A plain Lua C module that calls libc, for the specs of the cooperative one. It knows nothing of grun.
 * What fails returns nil, message, errno. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int luaopen_cooplibc(lua_State *L);

static int result(lua_State *L, long r)
{
	if (r < 0) {
		lua_pushnil(L);
		lua_pushstring(L, strerror(errno));
		lua_pushinteger(L, errno);
		return 3;
	}
	lua_pushinteger(L, r);
	return 1;
}

static int data(lua_State *L, const char *buf, long r)
{
	if (r < 0)
		return result(L, r);
	lua_pushlstring(L, buf, (size_t)r);
	return 1;
}

static int opt(lua_State *L, int idx)
{
	return (int)luaL_optinteger(L, idx, 0);
}

/* ---- Descriptors ---- */

static int two(lua_State *L, int rc, const int fds[2])
{
	if (rc < 0)
		return result(L, rc);
	lua_pushinteger(L, fds[0]);
	lua_pushinteger(L, fds[1]);
	return 2;
}

static int l_pipe(lua_State *L)
{
	int fds[2];

	return two(L, pipe2(fds, O_CLOEXEC), fds);
}

/* pair([type]) */
static int l_pair(lua_State *L)
{
	int fds[2];

	return two(L, socketpair(AF_UNIX, (int)luaL_optinteger(L, 1, SOCK_STREAM) | SOCK_CLOEXEC, 0, fds), fds);
}

static int l_close(lua_State *L)
{
	return result(L, close(opt(L, 1)));
}

/* fclose(fd): closes it without close(2) being called from here. */
static int l_fclose(lua_State *L)
{
	return result(L, fclose(fdopen(opt(L, 1), "r")));
}

static int l_dup(lua_State *L)
{
	return result(L, lua_isnoneornil(L, 2) ? dup(opt(L, 1)) : dup2(opt(L, 1), opt(L, 2)));
}

static int l_nonblock(lua_State *L)
{
	int flags = fcntl(opt(L, 1), F_GETFL);

	return result(L, fcntl(opt(L, 1), F_SETFL, lua_toboolean(L, 2) ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

/* timeouts(fd, seconds): SO_RCVTIMEO and SO_SNDTIMEO */
static int l_timeouts(lua_State *L)
{
	double s = luaL_checknumber(L, 2);
	struct timeval t = {(time_t)s, (suseconds_t)((s - (double)(time_t)s) * 1e6)};

	setsockopt(opt(L, 1), SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	return result(L, setsockopt(opt(L, 1), SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)));
}

/* ---- Transfer: a number of bytes to read, or what to write; then flags ---- */

static int l_read(lua_State *L)
{
	size_t n = (size_t)luaL_checkinteger(L, 2);
	char *buf = lua_newuserdata(L, n + 1);

	return data(L, buf, read(opt(L, 1), buf, n));
}

static int l_write(lua_State *L)
{
	size_t n;
	const char *s = luaL_checklstring(L, 2, &n);

	return result(L, write(opt(L, 1), s, n));
}

static int l_recv(lua_State *L)
{
	size_t n = (size_t)luaL_checkinteger(L, 2);
	int flags = opt(L, 3);
	char *buf = lua_newuserdata(L, n + 1);

	return data(L, buf, recv(opt(L, 1), buf, n, flags));
}

static int l_send(lua_State *L)
{
	size_t n;
	const char *s = luaL_checklstring(L, 2, &n);

	return result(L, send(opt(L, 1), s, n, opt(L, 3) | MSG_NOSIGNAL));
}

/* In three buffers, the middle one empty. */
static void split(struct iovec iov[3], char *buf, size_t n)
{
	iov[0] = (struct iovec){buf, n / 3};
	iov[1] = (struct iovec){buf, 0};
	iov[2] = (struct iovec){buf + n / 3, n - n / 3};
}

static int l_recvmsg(lua_State *L)
{
	size_t n = (size_t)luaL_checkinteger(L, 2);
	int flags = opt(L, 3);
	char *buf = lua_newuserdata(L, n + 1);
	struct iovec iov[3];
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 3};

	split(iov, buf, n);
	return data(L, buf, recvmsg(opt(L, 1), &msg, flags));
}

static int l_sendmsg(lua_State *L)
{
	size_t n;
	const char *s = luaL_checklstring(L, 2, &n);
	struct iovec iov[3];
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 3};

	split(iov, (char *)s, n);
	return result(L, sendmsg(opt(L, 1), &msg, opt(L, 3) | MSG_NOSIGNAL));
}

static int l_readv(lua_State *L)
{
	size_t n = (size_t)luaL_checkinteger(L, 2);
	char *buf = lua_newuserdata(L, n + 1);
	struct iovec iov[3];

	split(iov, buf, n);
	return data(L, buf, readv(opt(L, 1), iov, 3));
}

static int l_writev(lua_State *L)
{
	size_t n;
	const char *s = luaL_checklstring(L, 2, &n);
	struct iovec iov[3];

	split(iov, (char *)s, n);
	return result(L, writev(opt(L, 1), iov, 3));
}

static int l_sendfile(lua_State *L)
{
	return result(L, sendfile(opt(L, 1), opt(L, 2), NULL, (size_t)luaL_checkinteger(L, 3)));
}

/* recvmmsg(fd, n, flags) -> the messages, of at most 100 bytes */
static int l_recvmmsg(lua_State *L)
{
	struct mmsghdr msgs[8] = {0};
	struct iovec iov[8];
	char buf[8][100] = {{0}};
	int n;

	for (int i = 0; i < 8; i++) {
		iov[i] = (struct iovec){buf[i], sizeof(buf[i])};
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	n = recvmmsg(opt(L, 1), msgs, (unsigned)opt(L, 2), opt(L, 3), NULL);
	if (n < 0)
		return result(L, n);
	for (int i = 0; i < n; i++)
		lua_pushlstring(L, buf[i], msgs[i].msg_len);
	return n;
}

/* ---- Readiness ---- */

/* poll({fd, events, fd, events, …}, milliseconds [, "ppoll" | "mask"]) -> count, revents… */
static int l_poll(lua_State *L)
{
	struct pollfd fds[64];
	int n = (int)lua_objlen(L, 1) / 2, ms = (int)luaL_checkinteger(L, 2), r;
	struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
	const char *how = luaL_optstring(L, 3, "poll");
	sigset_t mask;

	sigemptyset(&mask);
	for (int i = 0; i < n; i++) {
		lua_rawgeti(L, 1, 2 * i + 1);
		lua_rawgeti(L, 1, 2 * i + 2);
		fds[i] = (struct pollfd){(int)lua_tointeger(L, -2), (short)lua_tointeger(L, -1), 0};
		lua_pop(L, 2);
	}
	if (strcmp(how, "poll") == 0)
		r = poll(fds, (nfds_t)n, ms);
	else
		r = ppoll(fds, (nfds_t)n, ms < 0 ? NULL : &t, strcmp(how, "mask") == 0 ? &mask : NULL);
	if (r < 0)
		return result(L, r);
	lua_pushinteger(L, r);
	for (int i = 0; i < n; i++)
		lua_pushinteger(L, fds[i].revents);
	return n + 1;
}

static fd_set *to_set(lua_State *L, int idx, fd_set *set)
{
	FD_ZERO(set);
	if (lua_isnoneornil(L, idx))
		return NULL;
	FD_SET((unsigned)opt(L, idx), set);
	return set;
}

/* select(r, w, e, seconds): one descriptor or nil each -> count, bits, seconds left */
static int l_select(lua_State *L)
{
	fd_set set[3];
	fd_set *r = to_set(L, 1, &set[0]), *w = to_set(L, 2, &set[1]), *e = to_set(L, 3, &set[2]);
	double s = luaL_optnumber(L, 4, 0);
	struct timeval t = {(time_t)s, (suseconds_t)((s - (double)(time_t)s) * 1e6)};
	int n = select(FD_SETSIZE, r, w, e, lua_isnoneornil(L, 4) ? NULL : &t);

	if (n < 0)
		return result(L, n);
	lua_pushinteger(L, n);
	lua_pushinteger(L, (r && FD_ISSET(opt(L, 1), r)) | (w && FD_ISSET(opt(L, 2), w)) << 1 |
				   (e && FD_ISSET(opt(L, 3), e)) << 2);
	lua_pushnumber(L, (double)t.tv_sec + (double)t.tv_usec * 1e-6);
	return 3;
}

/* epoll(fd, milliseconds): waits for input */
static int l_epoll(lua_State *L)
{
	struct epoll_event event = {.events = EPOLLIN};
	int ep = epoll_create1(EPOLL_CLOEXEC), r, saved;

	epoll_ctl(ep, EPOLL_CTL_ADD, opt(L, 1), &event);
	r = epoll_wait(ep, &event, 1, opt(L, 2));
	saved = errno;
	close(ep);
	errno = saved;
	return result(L, r);
}

/* ---- Sockets by address ---- */

static struct sockaddr_un local(lua_State *L, int idx)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	strncpy(un.sun_path, luaL_checkstring(L, idx), sizeof(un.sun_path) - 1);
	return un;
}

/* listen(path, backlog) */
static int l_listen(lua_State *L)
{
	struct sockaddr_un un = local(L, 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 || listen(fd, opt(L, 2)) < 0)
		return result(L, -1);
	return result(L, fd);
}

static int l_connect(lua_State *L)
{
	struct sockaddr_un un = local(L, 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), saved;

	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0)
		return result(L, fd);
	saved = errno;
	close(fd);
	errno = saved;
	return result(L, -1);
}

static int l_accept(lua_State *L)
{
	struct sockaddr_un un;
	socklen_t len = sizeof(un);

	return result(L, accept4(opt(L, 1), (struct sockaddr *)&un, &len, SOCK_CLOEXEC));
}

/* ---- Time ---- */

/* sleep(seconds, "nanosleep" | "usleep" | "sleep" | "relative" | "absolute") */
static int l_sleep(lua_State *L)
{
	double s = luaL_checknumber(L, 1);
	struct timespec t = {(time_t)s, (long)((s - (double)(time_t)s) * 1e9)}, left = {9, 9}, now;

	switch (luaL_checkstring(L, 2)[0]) {
	case 'n':
		return result(L, nanosleep(&t, &left));
	case 'u':
		return result(L, usleep((useconds_t)(s * 1e6)));
	case 's':
		return result(L, (long)sleep((unsigned)s));
	case 'r':
		return result(L, -clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &left));
	default:
		clock_gettime(CLOCK_REALTIME, &now);
		now.tv_nsec += t.tv_nsec;
		now.tv_sec += t.tv_sec + now.tv_nsec / 1000000000;
		now.tv_nsec %= 1000000000;
		return result(L, -clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &now, NULL));
	}
}

/* retry(seconds): polls again and again until the time is over, whatever it says -> how often it failed */
static int l_retry(lua_State *L)
{
	struct timespec t;
	double end = luaL_checknumber(L, 1);
	int failures = 0;

	clock_gettime(CLOCK_MONOTONIC, &t);
	end += (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
	while ((double)t.tv_sec + (double)t.tv_nsec * 1e-9 < end) {
		failures += poll(NULL, 0, 10) < 0;
		clock_gettime(CLOCK_MONOTONIC, &t);
	}
	lua_pushinteger(L, failures);
	return 1;
}

/* ---- Children ---- */

static int l_fork(lua_State *L)
{
	return result(L, fork());
}

static int l_exit(lua_State *L)
{
	_exit(opt(L, 1));
}

/* child(milliseconds, status): a child that sleeps and exits -> pid */
static int l_child(lua_State *L)
{
	pid_t pid = fork();

	if (pid == 0) {
		usleep((useconds_t)opt(L, 1) * 1000);
		_exit(opt(L, 2));
	}
	return result(L, pid);
}

/* waitpid(pid, options) -> pid, exit status */
static int l_waitpid(lua_State *L)
{
	int status = 0;
	pid_t pid = waitpid(opt(L, 1), &status, opt(L, 2));

	result(L, pid);
	if (pid < 0)
		return 3;
	lua_pushinteger(L, WEXITSTATUS(status));
	return 2;
}

/* waitid(pid or 0, options) -> 0, pid, exit status */
static int l_waitid(lua_State *L)
{
	siginfo_t info;
	int rc = waitid(opt(L, 1) ? P_PID : P_ALL, (id_t)opt(L, 1), &info, opt(L, 2) | WEXITED);

	if (rc < 0)
		return result(L, rc);
	lua_pushinteger(L, rc);
	lua_pushinteger(L, info.si_pid);
	lua_pushinteger(L, info.si_status);
	return 3;
}

/* ---- Locks ---- */

static int l_flock(lua_State *L)
{
	return result(L, flock(opt(L, 1), opt(L, 2)));
}

static int l_lockf(lua_State *L)
{
	return result(L, lockf(opt(L, 1), opt(L, 2), 0));
}

/* mutex([recursive]) -> userdata */
static int l_mutex(lua_State *L)
{
	bool recursive = lua_toboolean(L, 1);
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	if (recursive)
		pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(lua_newuserdata(L, sizeof(pthread_mutex_t)), &attr);
	return 1;
}

/* locked(mutex, seconds [, "try"]): sleeps while holding it; false if it is taken */
static int l_locked(lua_State *L)
{
	pthread_mutex_t *m = lua_touserdata(L, 1);
	int rc = lua_isnoneornil(L, 3) ? pthread_mutex_lock(m) : pthread_mutex_trylock(m);

	if (rc == 0) {
		usleep((useconds_t)(luaL_checknumber(L, 2) * 1e6));
		pthread_mutex_unlock(m);
	}
	lua_pushboolean(L, rc == 0);
	return 1;
}

/* many_locked(n, seconds): so many mutexes at once, each taken twice; sleeps meanwhile */
static int l_many_locked(lua_State *L)
{
	int n = opt(L, 1);
	pthread_mutex_t *m = malloc((size_t)n * sizeof(*m));
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	for (int i = 0; i < n; i++) {
		pthread_mutex_init(&m[i], &attr);
		pthread_mutex_lock(&m[i]);
		pthread_mutex_lock(&m[i]);
	}
	usleep((useconds_t)(luaL_checknumber(L, 2) * 1e6));
	for (int i = 0; i < n; i++) {
		pthread_mutex_unlock(&m[i * 11 % n]);
		pthread_mutex_unlock(&m[i * 11 % n]);
	}
	free(m);
	return 0;
}

static int l_rwlock(lua_State *L)
{
	pthread_rwlock_init(lua_newuserdata(L, sizeof(pthread_rwlock_t)), NULL);
	return 1;
}

/* rwlocked(lock, "r" | "w", seconds) */
static int l_rwlocked(lua_State *L)
{
	pthread_rwlock_t *lock = lua_touserdata(L, 1);

	if (luaL_checkstring(L, 2)[0] == 'r')
		pthread_rwlock_rdlock(lock);
	else
		pthread_rwlock_wrlock(lock);
	usleep((useconds_t)(luaL_checknumber(L, 3) * 1e6));
	pthread_rwlock_unlock(lock);
	return 0;
}

static int initialised;

static void initialise(void)
{
	usleep(50000);
	initialised++;
}

/* once() -> how often the initialiser, which sleeps, has run */
static int l_once(lua_State *L)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, initialise);
	lua_pushinteger(L, initialised);
	return 1;
}

/* ---- Another OS thread ---- */

struct job {
	pthread_t thread;
	int fd;
	pthread_mutex_t *mutex;
};

static void *work(void *data)
{
	struct job *job = data;
	char c;

	if (job->mutex)
		pthread_mutex_lock(job->mutex);
	if (read(job->fd, &c, 1) == 1) {
		usleep(20000);
		c++;
		if (write(job->fd, &c, 1) < 0)
			abort();
	}
	if (job->mutex)
		pthread_mutex_unlock(job->mutex);
	return NULL;
}

/* thread(fd [, mutex]): reads a byte, sleeps, writes the next one; holds the mutex meanwhile */
static int l_thread(lua_State *L)
{
	pthread_mutex_t *mutex = lua_touserdata(L, 2);
	struct job *job = lua_newuserdata(L, sizeof(*job));

	job->fd = opt(L, 1);
	job->mutex = mutex;
	pthread_create(&job->thread, NULL, work, job);
	return 1;
}

static int l_join(lua_State *L)
{
	struct job *job = lua_touserdata(L, 1);

	pthread_join(job->thread, NULL);
	return 0;
}

static pthread_mutex_t *crossed[2];

static void *cross(void *data)
{
	pthread_mutex_lock(crossed[1]);
	usleep(20000);
	pthread_mutex_lock(crossed[0]);
	pthread_mutex_unlock(crossed[0]);
	pthread_mutex_unlock(crossed[1]);
	return data;
}

/* crossed(first, second): holds the first, sleeps; an OS thread holds the second meanwhile and waits for the first */
static int l_crossed(lua_State *L)
{
	pthread_t thread;

	crossed[0] = lua_touserdata(L, 1);
	crossed[1] = lua_touserdata(L, 2);
	pthread_mutex_lock(crossed[0]);
	pthread_create(&thread, NULL, cross, NULL);
	usleep(60000);
	pthread_mutex_unlock(crossed[0]);
	pthread_join(thread, NULL);
	return 0;
}

/* ---- Lua from C ---- */

static lua_State *kept;

/* keep(): remembers the lua_State; back(f): calls f there */
static int l_keep(lua_State *L)
{
	kept = L;
	return 0;
}

static int l_back(lua_State *L)
{
	lua_settop(L, 1);
	lua_xmove(L, kept, 1);
	if (lua_pcall(kept, 0, 1, 0) != 0)
		lua_pushstring(kept, lua_tostring(kept, -1));
	lua_xmove(kept, L, 1);
	return 1;
}

/* get(t, key): lua_gettable, which is one of the doors into Lua */
static int l_get(lua_State *L)
{
	lua_settop(L, 2);
	lua_gettable(L, 1);
	return 1;
}

/* call(f, …): as pcall(f, …), but the error goes on from here */
static int l_call(lua_State *L)
{
	lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
	return lua_gettop(L);
}

/* system(command) */
static int l_system(lua_State *L)
{
	return result(L, system(luaL_optstring(L, 1, NULL)));
}

/* popen(command, mode [, text]): what it prints, or nothing after the text was written; then what pclose gives */
static int l_popen(lua_State *L)
{
	FILE *fp = popen(luaL_checkstring(L, 1), luaL_checkstring(L, 2));
	char line[100] = "";

	if (fp == NULL)
		return result(L, -1);
	if (lua_isstring(L, 3))
		fputs(lua_tostring(L, 3), fp);
	else if (fgets(line, sizeof(line), fp) == NULL)
		line[0] = '\0';
	lua_pushstring(L, line);
	return 1 + result(L, pclose(fp));
}

/* pclose(name): of a FILE that no program belongs to */
static int l_pclose(lua_State *L)
{
	int (*volatile end)(FILE *) = pclose; /* or the compiler knows better */

	return result(L, end(fopen(luaL_checkstring(L, 1), "r")));
}

static void sleep_a_while(void)
{
	usleep(50000);
}

/* exit_slowly(status): with an exit handler that sleeps */
static int l_exit_slowly(lua_State *L)
{
	atexit(sleep_a_while);
	exit(opt(L, 1));
}

/* waits(seconds): a userdata whose finalizer sleeps */
static int l_gc(lua_State *L)
{
	usleep((useconds_t)(*(double *)lua_touserdata(L, 1) * 1e6));
	return 0;
}

static int l_waits(lua_State *L)
{
	*(double *)lua_newuserdata(L, sizeof(double)) = luaL_checknumber(L, 1);
	lua_newtable(L);
	lua_pushcfunction(L, l_gc);
	lua_setfield(L, -2, "__gc");
	lua_setmetatable(L, -2);
	return 1;
}

static const luaL_Reg functions[] = {
	{"pipe", l_pipe},
	{"pair", l_pair},
	{"close", l_close},
	{"fclose", l_fclose},
	{"dup", l_dup},
	{"nonblock", l_nonblock},
	{"timeouts", l_timeouts},
	{"read", l_read},
	{"write", l_write},
	{"recv", l_recv},
	{"send", l_send},
	{"recvmsg", l_recvmsg},
	{"sendmsg", l_sendmsg},
	{"readv", l_readv},
	{"writev", l_writev},
	{"sendfile", l_sendfile},
	{"recvmmsg", l_recvmmsg},
	{"poll", l_poll},
	{"select", l_select},
	{"epoll", l_epoll},
	{"listen", l_listen},
	{"connect", l_connect},
	{"accept", l_accept},
	{"sleep", l_sleep},
	{"retry", l_retry},
	{"fork", l_fork},
	{"exit", l_exit},
	{"child", l_child},
	{"waitpid", l_waitpid},
	{"waitid", l_waitid},
	{"flock", l_flock},
	{"lockf", l_lockf},
	{"mutex", l_mutex},
	{"locked", l_locked},
	{"many_locked", l_many_locked},
	{"rwlock", l_rwlock},
	{"rwlocked", l_rwlocked},
	{"once", l_once},
	{"thread", l_thread},
	{"join", l_join},
	{"crossed", l_crossed},
	{"keep", l_keep},
	{"back", l_back},
	{"get", l_get},
	{"call", l_call},
	{"waits", l_waits},
	{"system", l_system},
	{"popen", l_popen},
	{"pclose", l_pclose},
	{"exit_slowly", l_exit_slowly},
	{NULL, NULL},
};

static const struct {
	const char *name;
	int value;
} numbers[] = {
	{"EAGAIN", EAGAIN},
	{"EBADF", EBADF},
	{"ECANCELED", ECANCELED},
	{"ECHILD", ECHILD},
	{"EINPROGRESS", EINPROGRESS},
	{"EPIPE", EPIPE},
	{"ENOENT", ENOENT},
	{"POLLIN", POLLIN},
	{"POLLOUT", POLLOUT},
	{"POLLPRI", POLLPRI},
	{"POLLHUP", POLLHUP},
	{"POLLNVAL", POLLNVAL},
	{"POLLRDHUP", POLLRDHUP},
	{"MSG_WAITALL", MSG_WAITALL},
	{"MSG_DONTWAIT", MSG_DONTWAIT},
	{"MSG_PEEK", MSG_PEEK},
	{"MSG_WAITFORONE", MSG_WAITFORONE},
	{"SOCK_DGRAM", SOCK_DGRAM},
	{"WNOHANG", WNOHANG},
	{"LOCK_EX", LOCK_EX},
	{"LOCK_UN", LOCK_UN},
	{"F_LOCK", F_LOCK},
	{"F_ULOCK", F_ULOCK},
	{NULL, 0},
};

int luaopen_cooplibc(lua_State *L)
{
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	for (int i = 0; numbers[i].name; i++) {
		lua_pushinteger(L, numbers[i].value);
		lua_setfield(L, -2, numbers[i].name);
	}
	return 1;
}
