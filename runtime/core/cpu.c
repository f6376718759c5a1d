/* SPDX-License-Identifier: MIT */
/* A timer on the processor time of the hub's OS thread interrupts whoever runs, and that thread gets a tick. */
#define _GNU_SOURCE
#include "core/cpu.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/green.h"

/* Not a divisor of what scripts like to count in, so that periodic work is not always seen at the same place. */
static const long TICK_NS = 9700000;
const double gr_cpu_tick = 9.7e-3;

int gr_cpu_signal(void)
{
	return SIGRTMAX - 1;
}

static void on_tick(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	if (info->si_code == SI_TIMER)
		gr_current->ticks += 1 + (uint32_t)info->si_overrun;
}

int gr_cpu_start(void)
{
	struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
	struct itimerspec every = {{0, TICK_NS}, {0, TICK_NS}};
	static pid_t owner;
	struct sigevent event;
	timer_t timer;

	if (owner == getpid())
		return 0;
	memset(&event, 0, sizeof(event));
	event.sigev_notify = SIGEV_THREAD_ID;
	event.sigev_signo = gr_cpu_signal();
	event._sigev_un._tid = gettid();
	sigemptyset(&action.sa_mask);
	if (sigaction(gr_cpu_signal(), &action, NULL) < 0 ||
	    timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) < 0 || timer_settime(timer, 0, &every, NULL) < 0)
		return -errno;
	owner = getpid();
	return 0;
}
