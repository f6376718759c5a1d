/* SPDX-License-Identifier: MIT */
/* Hibernation, without Lua: images of stacks, threads that are put away and come back, and what must not be put away. Prints
 * one "ok" or "not ok" line a test. */
#define _GNU_SOURCE
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/hibernate.h"
#include "core/hub.h"
#include "core/image.h"
#include "core/log.h"
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

/* ---- Images ---- */

static uint64_t random_word(void)
{
	uint64_t r = ((uint64_t)(unsigned)rand() << 32) ^ (uint64_t)(unsigned)rand() << 12;

	switch (rand() % 6) {
	case 5:
		return (r & 0x00ff000000000000) | 1ULL << 40; /* half of it zero */
	case 0:
	case 1:
		return 0;
	case 2:
		return (uintptr_t)&failures + (uint64_t)(int64_t)(int32_t)r;
	case 3:
		return 0x3fff12340000 + (r & 0xffff8);
	default:
		return r | 1ULL << 62;
	}
}

/* The words of one image, and room for them when they come back. */
static uint64_t words[GR_IMAGE_MAX / 8 + 1], back[GR_IMAGE_MAX / 8 + 1];

static bool same_after_packing(size_t n)
{
	void *image = gr_image_pack(words, words + n);
	bool same;

	if (image == NULL)
		return false;
	memset(back, 0xa5, sizeof(back));
	same = gr_image_unpack(image, back + n) == back && memcmp(words, back, n * 8) == 0;
	gr_image_free(image);
	return same;
}

static void test_images(void)
{
	bool same = true;

	for (int i = 0; i < 2000; i++) {
		size_t n = (size_t)rand() % (i < 1900 ? 200 : GR_IMAGE_MAX / 8 + 1);

		for (size_t k = 0; k < n; k++)
			words[k] = random_word();
		same = same && same_after_packing(n);
	}
	check(same, "what was packed comes back");
	memset(words, 0, sizeof(words));
	check(same_after_packing(GR_IMAGE_MAX / 8), "as much as is allowed");
	words[3] = (uintptr_t)strtod;
	check(gr_image_suspects(words, words + 8) && !gr_image_trusts(strtod), "an address in a library is suspect");
	words[3] = (uintptr_t)&same_after_packing;
	check(!gr_image_suspects(words, words + 8), "one in this program is not");
	memset(words, 0, sizeof(words));
}

static void test_arena(void)
{
	enum { N = 5000 };
	static void *images[N];
	size_t most;
	bool good = true;

	for (size_t i = 0; i < sizeof(words) / 8; i++)
		words[i] = i << 50 | 1;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < N; i++) {
			words[0] = (uint64_t)i;
			images[i] = gr_image_pack(words, words + 2 + i % 3 * 8);
			good = good && images[i];
		}
		most = gr_image_bytes();
		for (int i = 0; i < N; i += 2) {
			words[0] = (uint64_t)i;
			gr_image_free(images[i]);
			images[i] = gr_image_pack(words, words + 2 + i % 3 * 8);
		}
		for (int i = 0; i < N; i += 2)
			gr_image_free(images[i]);
		for (int i = 0; i < N; i += 2) {
			words[0] = (uint64_t)i;
			images[i] = gr_image_pack(words, words + 2 + i % 3 * 8);
		}
		good = good && gr_image_bytes() <= most;
		for (int i = 0; i < N; i++) {
			int at = i * 7 % N;

			gr_image_unpack(images[at], back + 2 + at % 3 * 8);
			good = good && back[0] == (uint64_t)at && back[1] == words[1];
			gr_image_free(images[at]);
		}
	}
	check(good, "thousands of images at once");
	check(most < 1 << 20 && gr_image_bytes() <= 64 << 10, "need little memory, and give it back");
	memset(words, 0, sizeof(words));
}

/* ---- Threads ---- */

static double now_and(double seconds)
{
	return gr_now() + seconds;
}

static bool resident(const struct gr_green *g)
{
	unsigned char there = 1;
	char *page = gr_stack_top(&g->stack) - sysconf(_SC_PAGESIZE);

	return mincore(page, 1, &there) < 0 || (there & 1);
}

static uint32_t wait_for_asleep(uint32_t n)
{
	double end = now_and(5);

	while (gr_hibernation.asleep < n && gr_now() < end)
		gr_sleep_until(now_and(0.01));
	return gr_hibernation.asleep;
}

enum { MANY = 500 };
static struct gr_green *many[MANY];
static int right, ended;

static void keeper(struct gr_green *self)
{
	uint64_t mine[8];
	int n = (int)(intptr_t)self->user, rc;

	for (int i = 0; i < 8; i++)
		mine[i] = (uint64_t)n * 1000003 + (uint64_t)i;
	for (int round = 0; round < 2; round++) {
		rc = gr_wait(INFINITY, "test");
		right += rc == n;
		for (int i = 0; i < 8; i++)
			right += mine[i] == (uint64_t)n * 1000003 + (uint64_t)i;
	}
}

static void script(struct gr_green *self)
{
	size_t gone = 0;

	(void)self;
	for (int round = 1; round <= 2; round++) {
		uint32_t asleep = wait_for_asleep(MANY);

		check(asleep >= MANY, round == 1 ? "parked threads hibernate" : "and again");
		gone = 0;
		for (int i = 0; i < MANY; i++)
			gone += !resident(many[i]);
		check(gone == MANY, "their memory is given back");
		for (int i = MANY - 1; i >= 0; i--)
			ended += gr_wake(many[i], i);
		while (gr_have_ready())
			gr_yield();
		check(right == round * MANY * 9, "everything is as it was");
	}
	check(ended == 2 * MANY && gr_hibernation.asleep == 0, "and nobody is left asleep");
}

static void test_threads(void)
{
	gr_hibernate_set_after(0.01);
	for (int i = 0; i < MANY; i++)
		many[i] = spawn(keeper, (void *)(intptr_t)i);
	spawn(script, NULL);
	check(gr_hub_run() == GR_HUB_DONE, "threads end after hibernation");
}

/* ---- Ends of waits ---- */

static int ends[4];

static void sleeper(struct gr_green *self)
{
	double until = now_and(0.3);

	(void)self;
	ends[0] = gr_sleep_until(until) == 0 && gr_now() >= until;
}

static void timed(struct gr_green *self)
{
	(void)self;
	ends[1] = gr_wait(now_and(0.3), "test");
}

static void canceled(struct gr_green *self)
{
	(void)self;
	ends[2] = gr_wait(INFINITY, "test");
}

static void late(struct gr_green *self)
{
	(void)self;
	ends[3] = 1;
}

static void ender(struct gr_green *self)
{
	gr_green_start_later(gr_green_take(late), 0.3);
	check(wait_for_asleep(4) >= 4, "sleepers, and who is to start later, hibernate");
	gr_cancel(self->user);
}

static void test_ends(void)
{
	spawn(sleeper, NULL);
	spawn(timed, NULL);
	spawn(ender, spawn(canceled, NULL));
	check(gr_hub_run() == GR_HUB_DONE && ends[0] && ends[1] == GR_TIMEOUT && ends[2] == GR_CANCELED && ends[3],
	      "they wake in time, with the reason why");
}

/* ---- What must stay ---- */

static int compare(const void *a, const void *b)
{
	gr_sleep_until(now_and(0.1));
	return *(const int *)a - *(const int *)b;
}

/* Parks below a library's function. */
static void sorter(struct gr_green *self)
{
	int numbers[] = {2, 1};

	qsort(numbers, 2, sizeof(numbers[0]), compare);
	*(int *)self->user = numbers[0] == 1;
}

static void test_foreign(void)
{
	int sorted = 0;
	uint64_t put = gr_hibernation.put;

	spawn(sorter, &sorted);
	check(gr_hub_run() == GR_HUB_DONE && sorted && gr_hibernation.put == put,
	      "a stack with a library's frames is left alone");
}

/* An address that is left over, and no frame. */
static void leftover(struct gr_green *self)
{
	volatile uintptr_t old = (uintptr_t)strtod;

	gr_sleep_until(now_and(0.1));
	*(int *)self->user = old == (uintptr_t)strtod;
}

static void test_leftover(void)
{
	int kept = 0;
	uint64_t put = gr_hibernation.put;

	spawn(leftover, &kept);
	check(gr_hub_run() == GR_HUB_DONE && kept && gr_hibernation.put == put + 1, "one with an old address is not");
}

static void big(struct gr_green *self)
{
	volatile unsigned char frame[GR_IMAGE_MAX];

	frame[5] = 7;
	gr_sleep_until(now_and(0.1));
	*(int *)self->user = frame[5];
}

static void test_big(void)
{
	int kept = 0;
	uint64_t put = gr_hibernation.put;

	spawn(big, &kept);
	check(gr_hub_run() == GR_HUB_DONE && kept == 7 && gr_hibernation.put == put, "so is one with very much on it");
}

/* ---- Sweeps ---- */

static void long_sleeper(struct gr_green *self)
{
	unsigned before = ev_iteration(gr_hub.loop);

	(void)self;
	gr_sleep_until(now_and(0.5));
	check(ev_iteration(gr_hub.loop) - before < 20, "with everyone asleep the loop rests");
}

static void nobody_wakes(struct gr_green *self)
{
	(void)self;
	gr_wait(INFINITY, "test");
}

static void test_sweeps(void)
{
	uint64_t put;

	spawn(long_sleeper, NULL);
	gr_hub_run();
	gr_hibernate_set_after(0);
	put = gr_hibernation.put;
	spawn(sleeper, NULL);
	check(gr_hub_run() == GR_HUB_DONE && gr_hibernation.put == put, "0 switches it off");
	gr_hibernate_set_after(0.01);
}

static void test_deadlock(void)
{
	struct gr_green *stuck = spawn(nobody_wakes, NULL);

	spawn(sleeper, NULL);
	check(gr_hub_run() == GR_HUB_DEADLOCK && gr_hibernates(stuck),
	      "a deadlock is seen with a thread that hibernates");
	gr_cancel(stuck);
	check(gr_hub_run() == GR_HUB_DONE, "which still can be ended");
}

/* Only what others may look into is woken for them. */
static bool is_exposed(const struct gr_green *g)
{
	return g->user != NULL;
}

static void exposing(struct gr_green *self)
{
	struct gr_green **pair = self->user;

	check(wait_for_asleep(2) == 2 && gr_hibernation.exposed == 1, "it is known who may be looked into");
	gr_hibernate_wake_exposed();
	check(gr_hibernation.exposed == 0 && !gr_hibernates(pair[0]) && gr_hibernates(pair[1]),
	      "and only they are woken for it");
	check(pair[0]->state == GR_WAITING, "without going on");
	check(wait_for_asleep(2) == 2, "they go back to sleep");
	gr_cancel(pair[0]);
	gr_cancel(pair[1]);
}

static void test_exposed(void)
{
	struct gr_green *pair[2] = {spawn(nobody_wakes, ""), spawn(nobody_wakes, NULL)};

	gr_hub.exposed = is_exposed;
	spawn(exposing, pair);
	gr_hub_run();
	gr_hub.exposed = NULL;
}

/* ---- Guards ---- */

static int deep(int n)
{
	volatile char frame[1024];

	frame[0] = (char)n;
	return n == 0 ? frame[0] : deep(n - 1) + frame[0];
}

/* Too deep, but only after the stack and its neighbours were given back together. */
static void late_overflow(struct gr_green *self)
{
	gr_sleep_until(now_and(0.3));
	if (self->index == *(uint32_t *)self->user)
		right = deep(1 << 20);
}

static int run_child(void (*body)(enum gr_guard), enum gr_guard guard, char *output, size_t size)
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
		body(guard);
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

static void start_child(enum gr_guard guard)
{
	gr_stack_limit_guard(guard);
	while (gr_green_nfree() > 0)
		gr_green_reap(NULL);
	gr_stack_set_size(96 << 10);
	ev_loop_fork(gr_hub.loop);
}

static void child_overflow(enum gr_guard guard)
{
	uint32_t which = 0;

	start_child(guard);
	for (int i = 0; i < 20; i++) {
		struct gr_green *g = spawn(late_overflow, &which);

		gr_green_set_name(g, "deep one");
		if (i == 10)
			which = g->index;
	}
	gr_hub_run();
}

static void dig(struct gr_green *self)
{
	self->stack.base[100] = 1;
	gr_sleep_until(now_and(0.1));
}

static void child_canary(enum gr_guard guard)
{
	start_child(guard);
	spawn(dig, NULL);
	gr_hub_run();
}

static void test_guards(void)
{
	static const char *const names[] = {"MADV_GUARD_INSTALL", "mprotect"};
	char output[1024], name[80];
	int status;

	for (int i = 0; i < 2; i++) {
		status = run_child(child_overflow, (enum gr_guard)i, output, sizeof(output));
		snprintf(name, sizeof(name), "an overflow after hibernation is reported (%s)", names[i]);
		check(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strstr(output, "C stack overflow") &&
			      strstr(output, "\"deep one\""),
		      name);
	}
	status = run_child(child_canary, GR_GUARD_CANARY, output, sizeof(output));
	check(WIFSIGNALED(status) && strstr(output, "noticed at its end"),
	      "and hibernation hides no overflow without a guard");
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (gr_hub_init() < 0)
		return 1;
	gr_log_set("error");
	test_images();
	test_arena();
#ifdef GR_VALGRIND
	printf("ok the rest # SKIP valgrind takes the unused words of a stack for a mistake\n");
	return failures > 0;
#endif
	test_threads();
	test_ends();
	test_foreign();
	test_leftover();
	test_big();
	test_sweeps();
	test_deadlock();
	test_exposed();
	test_guards();
	gr_hub_free();
	return failures > 0;
}
