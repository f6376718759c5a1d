/* SPDX-License-Identifier: MIT */
/* The sleeps. They report success when cancelled: libraries repeat a sleep that was interrupted. */
#define _GNU_SOURCE
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "core/wait.h"
#include "posix/coop.h"
#include "posix/next.h"

static bool valid(const struct timespec *t)
{
	return t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < 1000000000;
}

/* Parks for that long; without a length the others have a turn. */
static void park(double seconds)
{
	int rc;

	if (seconds <= 0)
		gr_yield();
	rc = seconds > 0 ? gr_coop_sleep(GR_CALL_SLEEP, gr_until(seconds)) : gr_check();
	if (rc < 0)
		gr_coop_refused(GR_CALL_SLEEP);
}

static int block(const struct timespec *wanted, struct timespec *left, const void *caller)
{
	double since = gr_coop_block();
	int r = gr_next.nanosleep(wanted, left);

	gr_coop_blocked(GR_CALL_SLEEP, since, caller);
	return r;
}

static int do_sleep(const struct timespec *wanted, struct timespec *left, const void *caller)
{
	if (!gr_coop_may_park())
		return block(wanted, left, caller);
	park((double)wanted->tv_sec + (double)wanted->tv_nsec * 1e-9);
	if (left)
		*left = (struct timespec){0, 0};
	return 0;
}

int nanosleep(const struct timespec *wanted, struct timespec *left)
{
	if (!gr_coop_here(GR_CALL_SLEEP) || wanted == NULL || !valid(wanted))
		return gr_next.nanosleep(wanted, left);
	return do_sleep(wanted, left, __builtin_return_address(0));
}

int usleep(useconds_t microseconds)
{
	struct timespec t = {microseconds / 1000000, (long)(microseconds % 1000000) * 1000};

	if (!gr_coop_here(GR_CALL_SLEEP))
		return gr_next.usleep(microseconds);
	return do_sleep(&t, NULL, __builtin_return_address(0));
}

unsigned sleep(unsigned seconds)
{
	struct timespec t = {seconds, 0}, left = {0, 0};

	if (!gr_coop_here(GR_CALL_SLEEP))
		return gr_next.sleep(seconds);
	if (do_sleep(&t, &left, __builtin_return_address(0)) == 0)
		return 0;
	return (unsigned)left.tv_sec + (left.tv_nsec >= 500000000);
}

/* Seconds until that time of the clock. */
static double until(clockid_t clock, const struct timespec *t)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)(t->tv_sec - now.tv_sec) + (double)(t->tv_nsec - now.tv_nsec) * 1e-9;
}

static int sleep_until(clockid_t clock, const struct timespec *t)
{
	uint16_t refused = gr_current->refused;
	double seconds;

	/* The clock may have been set back meanwhile. */
	while ((seconds = until(clock, t)) > 0 && gr_current->refused == refused)
		park(seconds);
	return 0;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wanted, struct timespec *left)
{
	double since;
	int r;

	if (!gr_coop_here(GR_CALL_SLEEP) || wanted == NULL || !valid(wanted) ||
	    (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC))
		return gr_next.clock_nanosleep(clock, flags, wanted, left);
	if (gr_coop_may_park())
		return flags & TIMER_ABSTIME ? sleep_until(clock, wanted) : do_sleep(wanted, left, NULL);
	since = gr_coop_block();
	r = gr_next.clock_nanosleep(clock, flags, wanted, left);
	gr_coop_blocked(GR_CALL_SLEEP, since, __builtin_return_address(0));
	return r;
}
