/* SPDX-License-Identifier: MIT */
/* What the yardsticks and the loads have in common: failing, clocks, a process's CPU time and memory, loopback sockets. */
#ifndef BENCH_H
#define BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline void die(const char *what)
{
	perror(what);
	exit(1);
}

static inline void fail(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static inline uint64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) < 0)
		die("clock_gettime");
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

/* CPU time used so far by all threads of a process; 0 for pid 0. */
static inline uint64_t cpu_ns(pid_t pid)
{
	clockid_t clock;

	if (!pid)
		return 0;
	errno = clock_getcpuclockid(pid, &clock);
	if (errno)
		die("clock_getcpuclockid");
	return now_ns(clock);
}

/* A field of /proc/PID/FILE, such as "Pss" of "smaps_rollup", in KiB. */
static inline double memory_kib(const char *pid, const char *file, const char *field)
{
	char path[64], line[256], format[32];
	double kib = -1;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%s/%s", pid, file);
	snprintf(format, sizeof format, "%s: %%lf", field);
	f = fopen(path, "r");
	if (!f)
		die(path);
	while (kib < 0 && fgets(line, sizeof line, f))
		sscanf(line, format, &kib);
	fclose(f);
	return kib;
}

static inline int ascending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static inline struct sockaddr_in loopback(int port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return sa;
}

static inline void no_delay(int fd)
{
	const int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* A blocking connection. */
static inline int connect_to(int port)
{
	struct sockaddr_in sa = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0)
		die("connect");
	no_delay(fd);
	return fd;
}

static inline void stop_serving(int sig)
{
	(void)sig;
	_exit(0);
}

/* A bound socket; port 0 is any. Prints its address, as the suite expects of a server; SIGTERM ends the process.
 * type: SOCK_STREAM, which listens then, or SOCK_DGRAM, with SOCK_NONBLOCK or not. */
static inline int serve_on(int type, const char *scheme, int port)
{
	struct sockaddr_in sa = loopback(port);
	socklen_t len = sizeof sa;
	const int on = 1;
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&sa, len) < 0 || getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		die("bind");
	if ((type & SOCK_STREAM) && listen(fd, SOMAXCONN) < 0)
		die("listen");
	signal(SIGTERM, stop_serving);
	printf("listening on %s://127.0.0.1:%d\n", scheme, ntohs(sa.sin_port));
	fflush(stdout);
	return fd;
}

/* Adds or changes what epoll watches; data NULL is the listener. */
static inline void watch(int epfd, int op, int fd, void *data, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = data};

	if (epoll_ctl(epfd, op, fd, &ev) < 0)
		die("epoll_ctl");
}

/* Calls on_connections when the listener is readable and on_event with the data of what else is ready; for ever. */
static inline void serve(int epfd, int listener, void (*on_connections)(void), void (*on_event)(void *))
{
	enum { MAX_EVENTS = 256 };
	struct epoll_event events[MAX_EVENTS];

	watch(epfd, EPOLL_CTL_ADD, listener, NULL, EPOLLIN);
	for (;;) {
		int n = epoll_wait(epfd, events, MAX_EVENTS, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				on_event(events[i].data.ptr);
			else
				on_connections();
		}
	}
}

/* The next connection, which does not block and does not delay; -1 when there is none. */
static inline int next_connection(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0)
		no_delay(fd);
	return fd;
}

#endif
