/* SPDX-License-Identifier: MIT */
/* Text for slow places. */
#define _GNU_SOURCE
#include "core/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static const double FLUSH_AT_EXIT = 1.0; /* seconds */

struct gr_sink_block {
	struct gr_sink_block *next;
	size_t size;
	char data[];
};

static struct gr_sink *shared; /* the sinks that OS threads share */

/* ---- Writing ---- */

/* As write(2), but fails with EAGAIN where that would wait. A terminal is asked before: it knows no other way. */
static ssize_t write_now(int fd, const char *data, size_t n)
{
	struct iovec part = {(void *)data, n};
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	ssize_t done = pwritev2(fd, &part, 1, -1, RWF_NOWAIT);

	if (done >= 0 || (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS))
		return done;
	if (poll(&p, 1, 0) == 0) {
		errno = EAGAIN;
		return -1;
	}
	return write(fd, data, n < PIPE_BUF ? n : PIPE_BUF);
}

static ssize_t send_once(struct gr_sink *s, const char *data, size_t n, int flags)
{
	ssize_t done = send(s->fd, data, n, flags | MSG_NOSIGNAL);

	/* The logger was restarted: its socket is another one now. */
	if (done < 0 && (errno == ECONNREFUSED || errno == ENOTCONN || errno == ECONNRESET || errno == ENOENT) &&
	    s->reconnect && s->reconnect(s) == 0)
		done = send(s->fd, data, n, flags | MSG_NOSIGNAL);
	return done;
}

/* What can be written without waiting. Returns how much that was; all of it too when the rest cannot be helped. */
static size_t write_at_once(struct gr_sink *s, const char *data, size_t n)
{
	size_t done = 0;

	if (s->datagrams)
		return send_once(s, data, n, MSG_DONTWAIT) < 0 && errno == EAGAIN ? 0 : n;
	while (done < n) {
		ssize_t k = write_now(s->fd, data + done, n - done);

		if (k < 0 && errno == EAGAIN)
			return done;
		if (k < 0 && errno != EINTR)
			return n;
		done += k > 0 ? (size_t)k : 0;
	}
	return n;
}

static void write_waiting(struct gr_sink *s, const char *data, size_t n)
{
	while (n > 0) {
		struct pollfd p = {.fd = s->fd, .events = POLLOUT};
		ssize_t k = s->datagrams ? send_once(s, data, n, 0) : write(s->fd, data, n);

		if (s->datagrams && k >= 0)
			return;
		if (k < 0 && errno == EAGAIN)
			poll(&p, 1, -1);
		else if (k < 0 && errno != EINTR)
			return;
		data += k > 0 ? k : 0;
		n -= k > 0 ? (size_t)k : 0;
	}
}

/* ---- The writer's OS thread ---- */

/* With the lock held: the next block, or NULL when all is written; then says what was dropped. */
static struct gr_sink_block *take(struct gr_sink *s)
{
	struct gr_sink_block *block = s->first;

	if (block) {
		s->first = block->next;
		s->room_used -= block->size;
	}
	return block;
}

static void tell_dropped(struct gr_sink *s, uint64_t n)
{
	char text[256];

	if (s->notice)
		write_waiting(s, text, s->notice(n, text, sizeof(text)));
}

static void write_queue(struct gr_sink *s)
{
	struct gr_sink_block *block;

	while ((block = take(s)) != NULL || s->untold > 0) {
		uint64_t untold = block ? 0 : s->untold;

		s->untold -= untold;
		s->writing = true;
		pthread_mutex_unlock(&s->lock);
		if (block)
			write_waiting(s, block->data, block->size);
		else
			tell_dropped(s, untold);
		free(block);
		pthread_mutex_lock(&s->lock);
		s->writing = false;
	}
	pthread_cond_broadcast(&s->done);
}

static void *serve(void *argument)
{
	struct gr_sink *s = argument;

	pthread_setname_np(pthread_self(), "grun log");
	pthread_mutex_lock(&s->lock);
	for (;;) {
		write_queue(s);
		pthread_cond_wait(&s->more, &s->lock);
	}
	return NULL;
}

static void flush_all(void)
{
	for (struct gr_sink *s = shared; s; s = s->next)
		gr_sink_flush(s, FLUSH_AT_EXIT);
}

static bool start(struct gr_sink *s)
{
	static bool registered;
	pthread_t thread;
	sigset_t all, old;

	if (!registered)
		registered = atexit(flush_all) == 0;
	gr_sink_share(s);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	s->started = pthread_create(&thread, NULL, serve, s) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (s->started)
		pthread_detach(thread);
	return s->started;
}

/* ---- Forks ---- */

static void before_fork(void)
{
	for (struct gr_sink *s = shared; s; s = s->next)
		pthread_mutex_lock(&s->lock);
}

static void after_fork(void)
{
	for (struct gr_sink *s = shared; s; s = s->next)
		pthread_mutex_unlock(&s->lock);
}

/* What was queued is the parent's to write. */
static void in_child(void)
{
	struct gr_sink_block *block;

	for (struct gr_sink *s = shared; s; s = s->next) {
		s->started = s->writing = false;
		s->untold = 0;
		while ((block = take(s)) != NULL)
			free(block);
		pthread_cond_init(&s->more, NULL);
		pthread_cond_init(&s->done, NULL);
		pthread_mutex_init(&s->lock, NULL);
	}
}

void gr_sink_share(struct gr_sink *s)
{
	static bool registered;

	for (struct gr_sink *other = shared; other; other = other->next)
		if (other == s)
			return;
	s->next = shared;
	shared = s;
	if (!registered)
		registered = pthread_atfork(before_fork, after_fork, in_child) == 0;
}

/* ---- For callers ---- */

/* With the lock held. `data` may be the rest of a block that was begun: that one is never dropped. */
static bool queue(struct gr_sink *s, const char *data, size_t n, bool begun)
{
	struct gr_sink_block *block = NULL;

	if ((begun || s->room_used + n <= GR_SINK_ROOM) && (s->started || start(s)))
		block = malloc(sizeof(*block) + n);
	if (block == NULL) {
		s->dropped++;
		s->untold++;
		return false;
	}
	block->next = NULL;
	block->size = n;
	memcpy(block->data, data, n);
	if (s->first)
		s->last->next = block;
	else
		s->first = block;
	s->last = block;
	s->room_used += n;
	pthread_cond_signal(&s->more);
	return true;
}

bool gr_sink_put(struct gr_sink *s, const char *data, size_t n)
{
	size_t done = 0;
	bool taken = true;

	pthread_mutex_lock(&s->lock);
	if (!s->queued_only && s->first == NULL && !s->writing)
		done = write_at_once(s, data, n);
	if (done < n)
		taken = queue(s, data + done, n - done, done > 0);
	if (taken)
		s->written++;
	pthread_mutex_unlock(&s->lock);
	return taken;
}

void gr_sink_flush(struct gr_sink *s, double seconds)
{
	struct timespec end;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
	end.tv_sec += (time_t)seconds + end.tv_nsec / 1000000000;
	end.tv_nsec %= 1000000000;
	pthread_mutex_lock(&s->lock);
	while (s->started && rc == 0 && (s->first || s->writing || s->untold > 0))
		rc = pthread_cond_clockwait(&s->done, &s->lock, CLOCK_MONOTONIC, &end);
	pthread_mutex_unlock(&s->lock);
}

void gr_sink_replace(struct gr_sink *s, int fd)
{
	dup3(fd, s->fd, O_CLOEXEC);
	close(fd);
}

struct gr_sink_stats gr_sink_stats(struct gr_sink *s)
{
	struct gr_sink_stats stats;

	pthread_mutex_lock(&s->lock);
	stats = (struct gr_sink_stats){s->written, s->dropped, s->room_used};
	pthread_mutex_unlock(&s->lock);
	return stats;
}
