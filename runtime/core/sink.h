/* SPDX-License-Identifier: MIT */
/* A place for text that may be slow to take it. What it does not take at once is queued and written by an OS thread, so that
 * no caller ever waits for it; what does not fit into the queue is dropped and counted. */
#ifndef GR_CORE_SINK_H
#define GR_CORE_SINK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GR_SINK_ROOM = 1 << 20 }; /* bytes that may be queued */

struct gr_sink_block;

struct gr_sink {
	int fd;
	bool queued_only; /* never tried in the caller's thread: a disk may be slow without ever saying EAGAIN */
	bool datagrams;   /* every block is sent as one */
	/* Connects the socket of a sink of datagrams anew. Returns 0 or a negative errno. */
	int (*reconnect)(struct gr_sink *s);
	/* Writes into text what is to tell that n blocks were dropped; returns its length. NULL: nothing tells. */
	size_t (*notice)(uint64_t n, char *text, size_t size);
	/* Below: private. */
	pthread_mutex_t lock;
	pthread_cond_t more, done;
	struct gr_sink_block *first, *last;
	size_t room_used;
	bool started, writing;
	uint64_t written, dropped, untold; /* blocks */
	struct gr_sink *next;
};

#define GR_SINK_INIT(number)                                                                         \
	{                                                                                            \
		.fd = (number), .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER, \
		.done = PTHREAD_COND_INITIALIZER                                                     \
	}

/* Makes forks safe that happen while another OS thread uses the sink. Before that thread starts; idempotent. */
void gr_sink_share(struct gr_sink *s);

/* Writes a block as a whole, in order, at once or later. Never waits; any thread; not in signal handlers. Returns false if
 * it was dropped. */
bool gr_sink_put(struct gr_sink *s, const char *data, size_t n);

/* Waits at most so many seconds, blocking the OS thread, until all is written. */
void gr_sink_flush(struct gr_sink *s, double seconds);

/* Makes the sink's number another open file; takes fd over. What is still queued goes there. */
void gr_sink_replace(struct gr_sink *s, int fd);

struct gr_sink_stats {
	uint64_t written, dropped; /* blocks */
	size_t queued;             /* bytes */
};
struct gr_sink_stats gr_sink_stats(struct gr_sink *s);

#endif
