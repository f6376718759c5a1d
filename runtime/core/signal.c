/* SPDX-License-Identifier: MIT */
/* Signals handled in the hub. */
#define _GNU_SOURCE
#include "core/signal.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cpu.h"
#include "core/hub.h"

static struct {
	void (*callback)(int signal);
	void (*override)(int signal);
	struct sigaction before; /* what was in force when `override` was set */
	volatile sig_atomic_t arrived;
	volatile sig_atomic_t armed; /* the next arrival exits */
	bool twice;
	int status;
} table[NSIG];

static ev_async wakeup;

void (*gr_signal_at_exit)(void);

/* Runs on whatever stack is current; ev_async_send is async-signal-safe. */
static void on_signal(int number)
{
	int saved = errno;

	if (table[number].armed && !table[number].override) {
		if (gr_signal_at_exit)
			gr_signal_at_exit();
		_exit(table[number].status);
	}
	if (table[number].twice && !table[number].override)
		table[number].armed = 1;
	table[number].arrived = 1;
	ev_async_send(gr_hub.loop, &wakeup);
	errno = saved;
}

static void deliver(struct ev_loop *loop, ev_async *async, int revents)
{
	(void)loop;
	(void)async;
	(void)revents;
	for (int i = 1; i < NSIG; i++) {
		if (!table[i].arrived)
			continue;
		table[i].arrived = 0;
		if (table[i].override)
			table[i].override(i);
		else if (table[i].callback)
			table[i].callback(i);
	}
}

static void start_wakeup(void)
{
	if (ev_is_active(&wakeup))
		return;
	ev_async_init(&wakeup, deliver);
	ev_async_start(gr_hub.loop, &wakeup);
	ev_unref(gr_hub.loop);
}

int gr_signal_watch(int number, void (*callback)(int))
{
	struct sigaction action = {.sa_handler = callback ? on_signal : SIG_DFL, .sa_flags = SA_RESTART | SA_ONSTACK};

	if (number <= 0 || number >= NSIG)
		return -EINVAL;
	start_wakeup();
	table[number].callback = callback;
	sigemptyset(&action.sa_mask);
	return sigaction(number, &action, NULL) < 0 ? -errno : 0;
}

/* SIGPIPE has a handler since gr_hub_init, which must stay. */
static bool is_ours(int number)
{
	static const int taken[] = {SIGSEGV, SIGBUS, SIGILL,  SIGFPE,  SIGABRT,
				    SIGTRAP, SIGSYS, SIGPIPE, SIGKILL, SIGSTOP};

	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		if (taken[i] == number)
			return true;
	return number == gr_cpu_signal();
}

int gr_signal_override(int number, void (*callback)(int))
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK};
	bool set;

	if (number <= 0 || number >= NSIG || is_ours(number))
		return -EINVAL;
	set = table[number].override != NULL;
	if (callback == NULL) {
		table[number].override = NULL;
		return set && sigaction(number, &table[number].before, NULL) < 0 ? -errno : 0;
	}
	start_wakeup();
	sigemptyset(&action.sa_mask);
	if (!set && sigaction(number, &action, &table[number].before) < 0)
		return -errno;
	table[number].override = callback;
	return 0;
}

void gr_signal_twice_exits(int number, int status)
{
	table[number].status = status;
	table[number].armed = 0;
	table[number].twice = status >= 0;
}

/* ---- Names ---- */

static int real_time_number(const char *name)
{
	bool from_end = strncmp(name, "RTMAX", 5) == 0;
	int base = from_end ? SIGRTMAX : SIGRTMIN;
	char *end;
	long n;

	if (!from_end && strncmp(name, "RTMIN", 5) != 0)
		return -1;
	if (name[5] == '\0')
		return base;
	n = strtol(name + 5, &end, 10);
	if (*end || name[5] != (from_end ? '-' : '+') || base + n < SIGRTMIN || base + n > SIGRTMAX)
		return -1;
	return base + (int)n;
}

int gr_signal_number(const char *name)
{
	if (strncmp(name, "SIG", 3) == 0)
		name += 3;
	for (int i = 1; i < NSIG; i++) {
		const char *other = sigabbrev_np(i);

		if (other && strcmp(name, other) == 0)
			return i;
	}
	return real_time_number(name);
}

const char *gr_signal_name(int number)
{
	static char text[24];
	const char *name = sigabbrev_np(number);

	if (name)
		snprintf(text, sizeof(text), "SIG%s", name);
	else if (number >= SIGRTMIN && number <= SIGRTMAX)
		snprintf(text, sizeof(text), "SIGRTMIN+%d", number - SIGRTMIN);
	else
		snprintf(text, sizeof(text), "SIG%d", number);
	return text;
}
