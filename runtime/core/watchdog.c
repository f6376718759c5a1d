/* SPDX-License-Identifier: MIT */
/* The watchdog. What it counts as a stall: the counters of switches and polls stand still, and meanwhile the loop's OS thread
 * used processor time or was blocked in the kernel. A process that is stopped or gets no processor does neither. */
#define _GNU_SOURCE
#include "core/watchdog.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/hub.h"
#include "core/log.h"
#include "core/stall.h"

/* Seconds. */
static const double REPORT_EVERY = 1.0, /* stalls in between are counted, not reported */
	HOOK_WAIT = 0.01,               /* until a thread that has reached no Lua is said to be elsewhere */
	HANDLER_WAIT = 0.05, START_AFTER = 0.03;

enum { SAMPLES = 4 }; /* within the time that counts as a stall */

static struct {
	_Atomic uint32_t ms;      /* a futex while it is 0 */
	_Atomic uint32_t asleep;  /* a futex: 1 while the OS thread waits for the loop to leave its poll */
	_Atomic uint32_t polling; /* the loop waits for events, or is at its end */
	_Atomic uint64_t polls;
	bool started;
	bool has_timer; /* that is to start it */
	timer_t timer;
	pid_t tid; /* the loop's OS thread */
	pthread_t loop;
	clockid_t clock;      /* of its processor time */
	pthread_mutex_t lock; /* the fields below */
	bool told;            /* the present stall was reported */
	double since;         /* when it was seen first */
	uint64_t untold;      /* stalls not reported since the last report */
	struct gr_watchdog_stats stats;
} dog = {.ms = 0, .lock = PTHREAD_MUTEX_INITIALIZER};

static void futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
	syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
}

/* ---- Reports ---- */

static void end_stall(double now)
{
	double seconds = now - dog.since;

	if (seconds > dog.stats.longest)
		dog.stats.longest = seconds;
	if (dog.told)
		gr_stall_report_end(seconds);
	else
		dog.untold++;
	dog.told = false;
}

static void wait_for(bool (*ready)(void), double seconds)
{
	struct timespec step = {.tv_nsec = 500000};

	for (double end = gr_now() + seconds; !ready() && gr_now() < end;)
		nanosleep(&step, NULL);
}

/* Asks the stalled thread where it is and reports it. Returns false if it went on meanwhile. */
static bool report(double stalled)
{
	bool blocked = gr_stall_ask(dog.loop, dog.tid);

	if (!blocked) {
		wait_for(gr_stall_answered, HANDLER_WAIT);
		wait_for(gr_stall_placed, HOOK_WAIT);
	}
	return gr_stall_report(stalled, dog.untold);
}

/* Too soon after another report, a stall that goes on is reported later. */
static void tell(double now, double stalled)
{
	static double reported = -1e9;

	if (now - reported >= REPORT_EVERY && report(stalled)) {
		reported = now;
		dog.told = true;
		dog.untold = 0;
	}
}

/* ---- Samples ---- */

struct sample {
	uint64_t switches, polls;
	bool polling;
	double time, processor;
};

static struct sample take_sample(void)
{
	struct timespec cpu = {0, 0};

	clock_gettime(dog.clock, &cpu);
	return (struct sample){
		.switches = __atomic_load_n(&gr_switches, __ATOMIC_RELAXED),
		.polls = atomic_load(&dog.polls),
		.polling = atomic_load(&dog.polling),
		.time = gr_now(),
		.processor = (double)cpu.tv_sec + (double)cpu.tv_nsec * 1e-9,
	};
}

static bool moved(const struct sample *a, const struct sample *b)
{
	return a->switches != b->switches || a->polls != b->polls;
}

/* How much of the time between two samples the loop was held up. We oversleep when the whole process stands still. */
static double held_up(const struct sample *a, const struct sample *b, double interval)
{
	double elapsed = b->time - a->time, processor = b->processor - a->processor;

	if (elapsed > 2 * interval + 0.005 || processor > 0.9 * elapsed)
		return processor;
	return gr_stall_is_blocked(dog.tid) ? elapsed : processor;
}

/* The loop waits for events: so do we for it. */
static void rest(const struct sample *last)
{
	struct sample now;

	atomic_store(&dog.asleep, 1);
	now = take_sample();
	if (now.polling && !moved(last, &now))
		futex(&dog.asleep, FUTEX_WAIT_PRIVATE, 1);
	atomic_store(&dog.asleep, 0);
}

static void pause_for(double seconds)
{
	struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

	nanosleep(&t, NULL);
}

/* Watches until it is switched off. */
static void watch(void)
{
	struct sample last = take_sample();
	double stalled = 0;
	int idle = 0;
	bool seen = false;
	uint32_t ms;

	while ((ms = atomic_load(&dog.ms)) > 0) {
		double interval = ms / 1000.0 / SAMPLES;
		struct sample now;

		pause_for(interval);
		now = take_sample();
		pthread_mutex_lock(&dog.lock);
		if (now.polling || moved(&last, &now)) {
			idle = now.polling && !moved(&last, &now) ? idle + 1 : 0;
			if (seen)
				end_stall(now.time);
			seen = false;
			stalled = 0;
			dog.since = now.time;
		} else {
			/* A long slice of one thread is no reason to count on many short ones until the next poll. */
			gr_green_end_turn();
			stalled += held_up(&last, &now, interval);
			if (stalled * 1000 > ms) {
				dog.stats.stalls += !seen;
				seen = true;
				if (!dog.told)
					tell(now.time, stalled);
			}
		}
		pthread_mutex_unlock(&dog.lock);
		last = now;
		if (idle >= 2) {
			rest(&last);
			last = take_sample();
			dog.since = last.time;
			idle = 0;
		}
	}
}

static void *serve(void *argument)
{
	(void)argument;
	gr_log_outside = true;
	pthread_setname_np(pthread_self(), "grun watchdog");
	dog.since = gr_now();
	for (;;) {
		watch();
		futex(&dog.ms, FUTEX_WAIT_PRIVATE, 0);
	}
	return NULL;
}

/* ---- On the loop's OS thread ---- */

static int start_thread(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 128 << 10);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	rc = pthread_create(&thread, &attr, serve, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return -rc;
}

static void before_fork(void)
{
	pthread_mutex_lock(&dog.lock);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&dog.lock);
}

static void find_loop(void)
{
	dog.tid = gettid();
	dog.loop = pthread_self();
	pthread_getcpuclockid(dog.loop, &dog.clock);
}

static void at_handover(void)
{
	gr_watchdog_tick(true);
}

/* The watchdog's OS thread is the parent's. Another one starts when this child's loop runs, if it ever does. */
static void in_child(void)
{
	find_loop();
	dog.has_timer = false; /* timers are not inherited */
	pthread_mutex_init(&dog.lock, NULL);
	dog.started = dog.told = false;
	gr_green_on_handover(at_handover);
	dog.untold = 0;
	dog.stats = (struct gr_watchdog_stats){0, 0};
	atomic_store(&dog.asleep, 0);
	atomic_store(&dog.polling, 0);
}

static void start(void)
{
	dog.started = true; /* also when it fails: trying again would not help */
	gr_green_on_handover(NULL);
	if (dog.has_timer)
		timer_delete(dog.timer);
	dog.has_timer = false;
	start_thread();
}

/* On the loop's OS thread. Scripts that neither wait nor compute for long do without the other one: it starts after the
 * first poll, or when a thread hands over to another without one, or when START_AFTER seconds of processor time were used
 * before that. Then a timer sends the signal of core/stall.h, whose handler asks here. */
static void watch_start(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGURG};
	struct itimerspec at = {.it_value.tv_nsec = (long)(START_AFTER * 1e9), .it_interval.tv_nsec = 5000000};

	event._sigev_un._tid = dog.tid;
	dog.has_timer = timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &dog.timer) == 0;
	if (dog.has_timer)
		timer_settime(dog.timer, 0, &at, NULL);
}

void gr_watchdog_tick(bool safe)
{
	if (safe && !dog.started && atomic_load(&dog.ms) > 0)
		start();
}

static void prepare(void)
{
	static bool prepared;

	if (prepared)
		return;
	prepared = true;
	gr_log_share();
	pthread_atfork(before_fork, after_fork, in_child);
	find_loop();
	gr_stall_init();
	gr_green_on_handover(at_handover);
	watch_start();
}

/* libev calls these right around the system call. */
static void enter_poll(struct ev_loop *loop)
{
	(void)loop;
	atomic_store_explicit(&dog.polling, 1, memory_order_release);
}

static void leave_poll(struct ev_loop *loop)
{
	(void)loop;
	atomic_store_explicit(&dog.polls, atomic_load_explicit(&dog.polls, memory_order_relaxed) + 1,
			      memory_order_relaxed);
	atomic_store(&dog.polling, 0);
	if (__builtin_expect(atomic_load(&dog.asleep) != 0, 0)) {
		atomic_store(&dog.asleep, 0);
		futex(&dog.asleep, FUTEX_WAKE_PRIVATE, 1);
	}
	if (__builtin_expect(!dog.started, 0))
		start();
}

uint32_t gr_watchdog_ms(void)
{
	return atomic_load(&dog.ms);
}

uint32_t gr_watchdog_set(uint32_t ms)
{
	uint32_t former = atomic_load(&dog.ms);

	if (ms > 0 && ms < GR_WATCHDOG_MIN_MS)
		ms = GR_WATCHDOG_MIN_MS;
	ev_set_loop_release_cb(gr_hub.loop, ms > 0 ? enter_poll : NULL, ms > 0 ? leave_poll : NULL);
	atomic_store(&dog.ms, ms);
	if (ms > 0)
		prepare();
	if (former == 0 && ms > 0)
		futex(&dog.ms, FUTEX_WAKE_PRIVATE, 1);
	return former;
}

void gr_watchdog_stop(void)
{
	atomic_store(&dog.polling, 1);
	if (atomic_exchange(&dog.ms, 0) == 0)
		return;
	pthread_mutex_lock(&dog.lock);
	if (dog.told)
		end_stall(gr_now());
	pthread_mutex_unlock(&dog.lock);
}

struct gr_watchdog_stats gr_watchdog_stats(void)
{
	struct gr_watchdog_stats stats;

	pthread_mutex_lock(&dog.lock);
	stats = dog.stats;
	pthread_mutex_unlock(&dog.lock);
	return stats;
}
