/* SPDX-License-Identifier: MIT */
/* Work for other OS threads: what blocks or computes for long. Green threads wait for it. */
#ifndef GR_POSIX_WORK_H
#define GR_POSIX_WORK_H

#include <pthread.h>
#include <stdbool.h>

#include "core/async.h"
#include "core/green.h"

/* Some OS threads (signals blocked, 8 MiB of stack), started as needed and ended after IDLE seconds without work. */
struct gr_workers {
	int max;             /* threads at once, at least 1; may be changed */
	void (*leave)(void); /* called by each thread as it ends, or NULL */
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct gr_work *first, **last; /* not begun yet */
	int threads, idle, queued;
	struct gr_workers *next; /* of all that have had a thread */
};

#define GR_WORKERS_INIT(n, on_leave)                                                                                 \
	{                                                                                                            \
		.max = (n), .leave = (on_leave), .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER \
	}

enum gr_work_state { GR_WORK_QUEUED, GR_WORK_RUNNING, GR_WORK_DONE };

/* One piece; the first member of the caller's record, which lives in the heap. */
struct gr_work {
	void (*run)(struct gr_work *w);  /* on some OS thread: may block, may not touch green threads or the hub */
	void (*drop)(struct gr_work *w); /* on the hub's thread: frees the record when nobody waits for it any more */
	struct gr_work *next;
	struct gr_post post;
	struct gr_workers *workers;
	struct gr_green *waiter; /* NULL: nobody */
	enum gr_work_state state;
};

/* Has it run and waits for its end. Returns 0: it has, and the record is the caller's again. Otherwise what a wait returns,
 * or -EAGAIN (no thread can be started), and the record is gone: taken out of the queue, or, when it had begun, left to
 * finish and dropped then. Parks. */
int gr_work_do(struct gr_workers *workers, struct gr_work *w, double until, const char *what);

/* True if no OS thread of any pool has work. A child that was forked then can go on using the pools. */
bool gr_work_is_quiet(void);

#endif
