/* SPDX-License-Identifier: MIT */
/* A Lua C module that measures libc's calls as modules see them under grun against the raw ones.
 * Prints <name>_ns=... and <name>_raw_ns=..., the best of several runs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <lua.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int luaopen_coop(lua_State *L);

enum { RUNS = 15, CALLS = 100000 };

static struct calls {
	ssize_t (*read)(int, void *, size_t);
	ssize_t (*recv)(int, void *, size_t, int);
	int (*poll)(struct pollfd *, nfds_t, int);
	int (*lock)(pthread_mutex_t *);
	int (*unlock)(pthread_mutex_t *);
} seen = {read, recv, poll, pthread_mutex_lock, pthread_mutex_unlock}, raw;

static int file, pair[2], nonblocking[2];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char buf[512];

static void do_poll(const struct calls *c)
{
	struct pollfd p = {.fd = pair[0], .events = POLLOUT};

	c->poll(&p, 1, 1000);
}

static void do_read(const struct calls *c)
{
	lseek(file, 0, SEEK_SET);
	c->read(file, buf, sizeof(buf));
}

static void do_socket(const struct calls *c)
{
	send(pair[1], buf, 1, MSG_DONTWAIT);
	c->read(pair[0], buf, 1);
}

static void do_eagain(const struct calls *c)
{
	c->recv(nonblocking[0], buf, 1, 0);
}

static void do_mutex(const struct calls *c)
{
	c->lock(&mutex);
	c->unlock(&mutex);
}

static double measure(void (*f)(const struct calls *), const struct calls *c)
{
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < CALLS; i++)
		f(c);
	clock_gettime(CLOCK_MONOTONIC, &b);
	return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / CALLS;
}

static void report(const char *name, void (*f)(const struct calls *))
{
	double best = 1e9, best_raw = 1e9;

	for (int i = 0; i < RUNS; i++) {
		double own = measure(f, &seen), theirs = measure(f, &raw);

		best = own < best ? own : best;
		best_raw = theirs < best_raw ? theirs : best_raw;
	}
	printf("%s_ns=%.1f %s_raw_ns=%.1f\n", name, best, name, best_raw);
}

int luaopen_coop(lua_State *L)
{
	void *libc = dlopen("libc.so.6", RTLD_NOW);

	(void)L;
	raw.read = (ssize_t(*)(int, void *, size_t))dlsym(libc, "read");
	raw.recv = (ssize_t(*)(int, void *, size_t, int))dlsym(libc, "recv");
	raw.poll = (int (*)(struct pollfd *, nfds_t, int))dlsym(libc, "poll");
	raw.lock = (int (*)(pthread_mutex_t *))dlsym(libc, "pthread_mutex_lock");
	raw.unlock = (int (*)(pthread_mutex_t *))dlsym(libc, "pthread_mutex_unlock");
	file = open("/proc/self/exe", O_RDONLY);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, nonblocking) < 0)
		return 0;
	report("poll", do_poll);
	report("read", do_read);
	report("socket", do_socket);
	report("eagain", do_eagain);
	report("mutex", do_mutex);
	return 0;
}
