/* SPDX-License-Identifier: MIT */
/* Green threads: create, park, ready, cancel. One runs at a time; a switch happens only inside gr_park and what calls it. */
#ifndef GR_CORE_GREEN_H
#define GR_CORE_GREEN_H

#include <stdbool.h>
#include <stdint.h>

#include <ev.h>

#include "core/stack.h"

enum gr_state {
	GR_FREE,    /* no work; kept for reuse */
	GR_NEW,     /* spawned, body not entered yet; may sit in the run queue or wait for its start time */
	GR_READY,   /* in the run queue */
	GR_RUNNING, /* has the processor */
	GR_WAITING, /* parked */
};

/* What a thread must look at before it waits; 0 on the fast path. */
enum gr_attention {
	GR_ATTN_CANCEL = 1,   /* cancelled: every wait fails with GR_CANCELED */
	GR_ATTN_DEADLINE = 2, /* a scope's deadline is set */
	GR_ATTN_SHIELD = 4,   /* a cancel is held back (whoever sets this sees to the deadline) */
};

struct gr_green {
	void *sp;              /* saved stack pointer while not running; odd: see hibernate.h */
	struct gr_green *next; /* link in the run queue */
	void *user;            /* the binding's: this thread's lua_State, kept when the thread is reused */
	void *wait_user;       /* the binding's: the lua_State that parked (a coroutine of the thread, perhaps) */
	uint8_t state;         /* enum gr_state */
	uint8_t user_flags;    /* the binding's; 0 at spawn */
	uint8_t attention;     /* set of enum gr_attention */
	bool delayed;          /* GR_NEW and waiting for its start time, not in the run queue */
	bool daemon;           /* does not keep the process alive */
	bool exposed;          /* hibernate.h: hibernates, and others may look into it */
	uint16_t refused;      /* posix: interposed calls that failed for a cancel and were not told to Lua yet */
	uint16_t plain;        /* posix: > 0: interposed calls go straight to the kernel */
	bool unfit;            /* hibernate.h: its stack has to stay while it is parked as now */
	int wake;              /* result of the park that was ended */
	uint32_t index;        /* small number, fixed for the life of this struct */
	uint32_t switches;     /* how often it was given the processor since spawn; wraps */
	uint64_t id;           /* unique in the process, never reused; 1 is the first script */
	uint64_t parent;       /* id of the spawner */
	void (*run)(struct gr_green *self); /* the body */
	const void *wait_token; /* the binding's: what exactly it waits with, or NULL */
	const char *what;      /* what it waits for, a static text such as "sleep"; NULL before the first wait */
	volatile uint32_t ticks; /* processor time, see cpu.h; the signal handler counts */
	double born;           /* when it was spawned, at most a turn of the hub too early */
	double deadline;       /* of the innermost scope, monotonic seconds; valid with GR_ATTN_DEADLINE */
	double until;          /* end of the present wait, or INFINITY */
	int expiry;            /* GR_TIMEOUT or GR_DEADLINE: what `until` means */
	uint32_t seen;         /* hibernate.h: what the last sweep knew it by */
	char *name;            /* heap, or NULL */
	double timer_at;       /* when the armed timer fires */
	ev_timer timer;        /* may stay armed after a wait; re-armed or dropped when it fires */
	struct gr_stack stack;
#ifdef GR_ASAN
	void *fake_stack;
#endif
};

/* The thread that has the processor; the hub's own context when none. Never NULL after gr_hub_init. */
extern struct gr_green *gr_current;

/* Counts every switch between contexts; differs when a switch happened in between. */
extern uint64_t gr_switches;

/* True when the caller runs in a green thread, false in the hub. */
bool gr_on_green(void);

/* Takes a thread in state GR_NEW that is not scheduled yet, with all per-thread state reset except `user`.
 * Returns NULL with errno set (ENOMEM, EAGAIN at the limit of threads). */
struct gr_green *gr_green_take(void (*run)(struct gr_green *));

/* Undoes gr_green_take. */
void gr_green_drop(struct gr_green *g);

/* Puts a taken thread into the run queue. It never runs inline. */
void gr_green_start(struct gr_green *g);

/* Puts a taken thread into the run queue after `seconds`; a cancel starts it at once (its body is then told by
 * GR_ATTN_CANCEL before anything ran). */
void gr_green_start_later(struct gr_green *g, double seconds);

/* Starts a thread that waits for its start time at once; nothing for others. */
void gr_green_start_now(struct gr_green *g);

/* From now on this thread does not keep the process alive. */
void gr_green_set_daemon(struct gr_green *g);

/* Parks the current thread until gr_wake. Returns the result given there. Looks at no cancel or deadline: use wait.h.
 * Must not be called in the hub. */
int gr_park(const char *what);

/* Runs visit() in the hub's time on the stack of a thread that is in gr_park, below what it has there. Must not park. */
void gr_green_visit(struct gr_green *g, void (*visit)(void));

/* True for the function whose frame is the first one of every stack. */
bool gr_green_is_base(uintptr_t function);

/* Ends the park of a waiting thread with that result (not INT_MIN) and appends it to the run queue. Returns false, doing
 * nothing, when it is not parked (any more): the first wake-up wins. */
bool gr_wake(struct gr_green *g, int result);

/* The same, but puts it before everybody else in the run queue. */
bool gr_wake_next(struct gr_green *g, int result);

/* Lets every other ready thread run once. */
void gr_yield(void);

/* For gr_idle (wait.h): the current thread, about to park with gr_idle_text, is woken when nothing else is ready. Before
 * any other wake-up of a thread that may be parked there it has to leave. */
extern const char gr_idle_text[];
void gr_idle_enter(void);
void gr_idle_leave(struct gr_green *g);

/* Cancels: from now on every wait fails with GR_CANCELED, unless shielded; a present wait ends. Idempotent. */
void gr_cancel(struct gr_green *g);

/* Sets the deadline (monotonic seconds; INFINITY: none) that all waits of the thread obey. If it has passed already a
 * present wait ends with GR_DEADLINE. */
void gr_set_deadline(struct gr_green *g, double deadline);

/* The thread of that index, or NULL if it has no work. Indices are below gr_green_limit(). */
struct gr_green *gr_green_at(uint32_t index);
uint32_t gr_green_limit(void);

/* True if the thread has begun and does not run now: its stack can be looked at. */
bool gr_green_stands(const struct gr_green *g);

/* Threads with work, daemons not counted. */
uint32_t gr_green_live(void);

/* For the hub. Runs ready threads until none is left or the turn's time is up; returns whether some are left. */
bool gr_run_ready(void);
bool gr_have_ready(void);
/* When gr_run_ready was called last. */
double gr_turn_start(void);
/* Makes threads parked in gr_idle ready; returns whether there were any. */
bool gr_wake_idle(void);
bool gr_have_idle(void);
/* Gives stacks back that were not needed for a while, a bounded number. */
enum gr_reaped {
	GR_REAPED_SOME, /* more are to go: call again soon */
	GR_REAPED_IDLE, /* what is free now may go if it is not needed until the next call */
	GR_REAPED_ALL,  /* no thread is free */
};
enum gr_reaped gr_green_reap(void (*on_release)(struct gr_green *));
uint32_t gr_green_nfree(void);
/* Frees everything; nothing may run afterwards. */
void gr_green_free_all(void);
/* Leaves the current thread for the hub for ever. */
void gr_abandon(void);
/* The next thread that yields or parks lets the hub poll; from any OS thread. */
void gr_green_end_turn(void);
/* Calls fn once, before the next switch, for what must not wait as long as the current thread may. Must not switch. One at
 * a time. */
void gr_green_on_leave(void (*fn)(void));
/* From now on calls fn before every switch from one thread straight to another; NULL: no more. Must not switch. */
void gr_green_on_handover(void (*fn)(void));
/* From now on gr_hub.trace is called before every switch. */
void gr_green_trace(void);
/* See gr_hub_seed. */
void gr_green_seed(uint64_t seed);

/* In a forked child: every thread but the current one is dead, whatever wakes it. */
void gr_green_forked(void);

/* Threads spawned so far. */
uint64_t gr_green_spawned(void);

/* At most so many threads at once (default 4,000,000); the next gr_green_take fails with EAGAIN. */
void gr_green_set_max(uint32_t max);

/* Sets the name shown in reports; NULL removes it. Copies at most 63 bytes. Returns 0 or -ENOMEM. */
int gr_green_set_name(struct gr_green *g, const char *name);

#endif
