/* SPDX-License-Identifier: MIT */
/* The core alone, without Lua: switching, waking, waiting, cancelling, stacks. Prints one "ok" or "not ok" line a test. */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/hub.h"
#include "core/log.h"
#include "core/signal.h"
#include "core/wait.h"

static int failures;

static void check(bool good, const char *name)
{
	printf("%s %s\n", good ? "ok" : "not ok", name);
	failures += !good;
}

static struct gr_green *spawn(void (*body)(struct gr_green *), void *user)
{
	struct gr_green *g = gr_green_take(body);

	if (g == NULL)
		abort();
	g->user = user;
	gr_green_start(g);
	return g;
}

/* ---- Order ---- */

static char trace[64];

static void letter(struct gr_green *self)
{
	const char *c = self->user;

	for (int i = 0; i < 3; i++) {
		strncat(trace, c, 1);
		gr_yield();
	}
}

static void test_order(void)
{
	trace[0] = 0;
	spawn(letter, "a");
	spawn(letter, "b");
	spawn(letter, "c");
	check(trace[0] == 0, "spawn never runs inline");
	check(gr_hub_run() == GR_HUB_DONE && strcmp(trace, "abcabcabc") == 0, "yield passes the processor round in order");
}

static void random_letter(struct gr_green *self)
{
	strncat(trace, self->user, 1);
}

static void test_seed(void)
{
	char first[64];

	for (int round = 0; round < 2; round++) {
		gr_hub_seed(42);
		trace[0] = 0;
		for (int i = 0; i < 20; i++)
			spawn(random_letter, &"abcdefghijklmnopqrst"[i]);
		gr_hub_run();
		if (round == 0)
			strcpy(first, trace);
	}
	check(strlen(first) == 20 && strcmp(first, "abcdefghijklmnopqrst") != 0, "a seed changes the order and loses nobody");
	check(strcmp(first, trace) == 0, "the same seed gives the same order");
	gr_hub_seed(0);
}

/* ---- Waking ---- */

static int results[4];

static void parker(struct gr_green *self)
{
	*(int *)self->user = gr_park("a test");
}

static void waker(struct gr_green *self)
{
	struct gr_green *g = self->user;

	results[1] = gr_wake(g, 7);
	results[2] = gr_wake(g, 8);
}

static void test_wake(void)
{
	spawn(waker, spawn(parker, &results[0]));
	gr_hub_run();
	check(results[0] == 7, "park returns what wake gave");
	check(results[1] == 1 && results[2] == 0, "the first wake wins, the second is told so");
}

static void test_deadlock(void)
{
	struct gr_green *g = spawn(parker, &results[0]);

	check(gr_hub_run() == GR_HUB_DEADLOCK, "a thread that nothing can wake is a deadlock");
	check(strcmp(g->what, "a test") == 0 && gr_green_at(g->index) == g, "and says what it waits for");
	gr_cancel(g);
	check(gr_hub_run() == GR_HUB_DONE && results[0] == GR_CANCELED, "a cancel ends the wait");
}

/* ---- Time ---- */

static double late;

static void sleeper(struct gr_green *self)
{
	double want = *(double *)self->user, start = gr_now();

	results[0] = gr_sleep_until(gr_until(want));
	late = gr_now() - start - want;
}

static void hog(struct gr_green *self)
{
	double end = gr_now() + 0.2;

	(void)self;
	while (gr_now() < end)
		continue;
}

static void test_time(void)
{
	double want = 0.05;
	bool early = false, much = false;

	spawn(sleeper, &want);
	gr_hub_run();
	check(results[0] == 0 && late >= 0, "sleep is never early");
	spawn(hog, NULL);
	spawn(sleeper, &want);
	gr_hub_run();
	check(late >= 0, "nor after 0.2 s of computing");
	for (int i = 0; i < 1000; i++) {
		double before = gr_until(1), roughly = gr_until_roughly(1), after = gr_until(1);

		early = early || roughly < before;
		much = much || roughly > after + 0.02;
	}
	check(!early && !much, "a rough end is up to 10 ms late");
	check(gr_until_roughly(0) == 0 && gr_until_roughly(INFINITY) == INFINITY, "none and no end");
}

static void spinner(struct gr_green *self)
{
	bool *stop = self->user;

	while (!*stop)
		gr_yield();
}

static void stopper(struct gr_green *self)
{
	double start = gr_now();

	gr_sleep_until(gr_until(0.02));
	late = gr_now() - start - 0.02;
	*(bool *)self->user = true;
}

static void test_starvation(void)
{
	bool stop = false;

	spawn(spinner, &stop);
	spawn(stopper, &stop);
	check(gr_hub_run() == GR_HUB_DONE, "a thread that only yields does not starve timers");
}

static void with_deadline(struct gr_green *self)
{
	(void)self;
	gr_current->deadline = gr_now() + 0.02;
	gr_current->attention |= GR_ATTN_DEADLINE;
	results[0] = gr_wait(gr_until(5), "a test");
	results[1] = gr_sleep_until(gr_until(5));
	gr_current->attention = GR_ATTN_SHIELD;
	gr_cancel(gr_current);
	results[2] = gr_wait(gr_until(0.001), "a test");
	gr_current->attention = 0;
	results[3] = gr_wait(0, "a test");
}

static void test_deadline(void)
{
	spawn(with_deadline, NULL);
	gr_hub_run();
	check(results[0] == GR_DEADLINE && results[1] == GR_DEADLINE, "past a deadline every wait fails");
	check(results[2] == GR_TIMEOUT && results[3] == GR_TIMEOUT, "a shield holds a cancel back; 0 does not wait");
}

static void canceled_loop(struct gr_green *self)
{
	(void)self;
	results[0] = 0;
	gr_cancel(gr_current);
	for (int i = 0; i < 100; i++)
		results[0] += gr_sleep_until(gr_until(1)) == GR_CANCELED;
}

static void counter(struct gr_green *self)
{
	int *n = self->user;

	while (gr_green_live() > 1) {
		++*n;
		gr_yield();
	}
}

static void test_cancel_loop(void)
{
	int n = 0;

	spawn(canceled_loop, NULL);
	spawn(counter, &n);
	gr_hub_run();
	check(results[0] == 100 && n >= 100, "a cancelled thread that goes on is refused each time and starves nobody");
}

static void note_attention(struct gr_green *self)
{
	results[0] = self->attention;
}

static void test_start_later(void)
{
	struct gr_green *g = gr_green_take(note_attention);
	double start = gr_now();

	gr_green_start_later(g, 0.02);
	gr_hub_run();
	check(gr_now() - start >= 0.02 && results[0] == 0, "a delayed thread starts when it is time");
	g = gr_green_take(note_attention);
	gr_green_start_later(g, 100);
	gr_cancel(g);
	check(gr_hub_run() == GR_HUB_DONE && results[0] == GR_ATTN_CANCEL, "a cancelled one at once, and it is told");
}

/* ---- Descriptors ---- */

static struct gr_io io;

static void reader(struct gr_green *self)
{
	*(int *)self->user = gr_io_wait(&io, gr_until(5), "io.read");
}

static void io_script(struct gr_green *self)
{
	int fd = *(int *)self->user;

	gr_yield();
	results[1] = gr_io_wait(&io, gr_until(5), "io.read");
	if (write(fd, "x", 1) != 1)
		abort();
}

static void io_closer(struct gr_green *self)
{
	(void)self;
	gr_io_end(&io, GR_CLOSED);
	results[1] = gr_io_wait(&io, gr_until(5), "io.read");
}

static void test_io(void)
{
	int pair[2];
	char c;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0)
		abort();
	gr_io_init(&io, pair[0], EV_READ);
	spawn(reader, &results[0]);
	spawn(io_script, &pair[1]);
	gr_hub_run();
	check(results[0] == 0 && read(pair[0], &c, 1) == 1, "a wait for a descriptor ends when it is ready");
	check(results[1] == GR_BUSY, "a second waiter is refused");
	spawn(reader, &results[0]);
	spawn(io_closer, NULL);
	gr_hub_run();
	check(results[0] == GR_CLOSED && results[1] == GR_CLOSED, "the end of a descriptor wakes its waiter and refuses later ones");
	check(gr_hub.sources == 0, "no source is left");
	close(pair[0]);
	close(pair[1]);
}

/* ---- Stacks ---- */

static void nothing(struct gr_green *self)
{
	(void)self;
}

static int deep(int n)
{
	volatile char frame[1024];

	frame[0] = (char)n;
	return n == 0 ? frame[0] : deep(n - 1) + frame[0];
}

static void overflow(struct gr_green *self)
{
	(void)self;
	results[0] = deep(1 << 20);
}

/* In a child: it is expected to die. */
static int run_child(void (*body)(void), char *output, size_t size)
{
	int fds[2], status;
	ssize_t n, all = 0;
	pid_t pid;

	fflush(stdout);
	if (pipe(fds) < 0 || (pid = fork()) < 0)
		abort();
	if (pid == 0) {
		struct rlimit none = {0, 0};

		setrlimit(RLIMIT_CORE, &none);
		dup2(fds[1], STDERR_FILENO);
		body();
		_exit(0);
	}
	close(fds[1]);
	while ((n = read(fds[0], output + all, size - 1 - (size_t)all)) > 0)
		all += n;
	output[all] = 0;
	close(fds[0]);
	waitpid(pid, &status, 0);
	return status;
}

static void child_overflow(void)
{
	struct gr_green *g = spawn(overflow, NULL);

	ev_loop_fork(gr_hub.loop);
	gr_green_set_name(g, "deep one");
	gr_hub_run();
}

static void dig(struct gr_green *self)
{
	self->stack.base[100] = 1;
}

static void child_canary(void)
{
	gr_stack_limit_guard(GR_GUARD_CANARY);
	while (gr_green_nfree() > 0)
		gr_green_reap(NULL);
	gr_stack_set_size(96 << 10);
	ev_loop_fork(gr_hub.loop);
	spawn(dig, NULL);
	gr_hub_run();
}

static void child_many(void)
{
	gr_stack_limit_guard(GR_GUARD_MPROTECT);
	for (int i = 0; i < 40000; i++) {
		struct gr_green *g = gr_green_take(nothing);

		if (g == NULL)
			_exit(1);
		gr_green_start(g);
	}
	ev_loop_fork(gr_hub.loop);
	_exit(gr_hub_run() == GR_HUB_DONE ? 42 : 1);
}

static void test_stacks(void)
{
	char output[1024];
	int status = run_child(child_overflow, output, sizeof(output));

	check(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strstr(output, "C stack overflow") &&
		      strstr(output, "\"deep one\""),
	      "an overflow is reported with the thread's name, then the process aborts");
	status = run_child(child_canary, output, sizeof(output));
	check(WIFSIGNALED(status) && strstr(output, "noticed at its end"), "without a guard it is noticed at the thread's end");
#ifdef GR_VALGRIND
	printf("ok 40,000 threads # SKIP valgrind cannot keep track of so many mappings\n");
	return;
#endif
	status = run_child(child_many, output, sizeof(output));
	check(WIFEXITED(status) && WEXITSTATUS(status) == 42, "40,000 threads at once without MADV_GUARD_INSTALL");
}

static void test_limit(void)
{
	struct gr_green *g;
	uint32_t limit = gr_green_limit();

	gr_green_set_max(limit);
	for (uint32_t i = gr_green_nfree(); i > 0; i--)
		spawn(nothing, NULL);
	while ((g = gr_green_take(nothing)) != NULL)
		gr_green_start(g);
	check(errno == EAGAIN, "at the limit of threads take fails with EAGAIN");
	gr_green_set_max(4000000);
	check(gr_hub_run() == GR_HUB_DONE, "and nothing else is hurt");
}

static void test_reuse(void)
{
	struct gr_green *g = gr_green_take(nothing);
	uint64_t id = g->id;

	gr_green_set_name(g, "first");
	g->attention = GR_ATTN_CANCEL | GR_ATTN_DEADLINE;
	gr_green_start(g);
	gr_hub_run();
	g = gr_green_take(nothing);
	check(g->attention == 0 && g->name == NULL && g->id > id && g->what == NULL && g->switches == 0,
	      "a reused thread carries nothing over");
	gr_green_start(g);
	gr_hub_run();
	while (gr_green_reap(NULL) != GR_REAPED_ALL)
		continue;
	spawn(nothing, NULL);
	check(gr_hub_run() == GR_HUB_DONE, "stacks that were given back are taken again");
}

/* ---- Signals ---- */

static int seen;

static void on_signal(int number)
{
	seen = number;
}

static void raiser(struct gr_green *self)
{
	(void)self;
	raise(SIGUSR1);
	while (!seen)
		gr_sleep_until(gr_until(0.001));
}

static void test_signal(void)
{
	gr_signal_watch(SIGUSR1, on_signal);
	spawn(raiser, NULL);
	gr_hub_run();
	check(seen == SIGUSR1, "a signal is delivered in the hub");
	check(gr_signal_watch(-1, on_signal) == -EINVAL, "an impossible signal is refused");
}

static void idler(struct gr_green *self)
{
	int *n = self->user;

	gr_idle();
	results[0] = *n;
}

static void hundred(struct gr_green *self)
{
	for (int i = 0; i < 100; i++) {
		++*(int *)self->user;
		gr_yield();
	}
}

static void canceller(struct gr_green *self)
{
	gr_cancel(self->user);
}

static void test_idle(void)
{
	int n = 0;

	spawn(idler, &n);
	spawn(hundred, &n);
	gr_hub_run();
	check(results[0] == 100, "idle waits until nothing else is ready");
	n = 0;
	spawn(canceller, spawn(idler, &n));
	spawn(hundred, &n);
	gr_hub_run();
	check(results[0] < 100, "a cancel ends idle");
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (gr_hub_init() < 0)
		return 1;
	gr_log_set("error");
	test_order();
	test_seed();
	test_wake();
	test_deadlock();
	test_time();
	test_starvation();
	test_deadline();
	test_cancel_loop();
	test_start_later();
	test_io();
	test_reuse();
	test_signal();
	test_idle();
	test_stacks();
	test_limit();
	gr_hub_free();
	return failures > 0;
}
