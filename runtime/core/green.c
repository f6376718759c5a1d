/* SPDX-License-Identifier: MIT */
/* Green threads and the run queue. A parking thread switches straight to the next ready one. */
#define _GNU_SOURCE
#include "core/green.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/hibernate.h"
#include "core/hub.h"
#include "core/log.h"
#include "core/switch.h"
#include "core/wait.h"

#ifdef GR_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

enum {
	SLAB_GREENS = 256,
	NAME_MAX_BYTES = 63,
	BATCH_MAX = 64, /* switches between two looks at the clock */
	REAP_MAX = 256, /* stacks given back at once: a system call each */
};

/* A turn of the hub ends after TURN seconds at the latest, so that a thread that only yields cannot starve I/O.
 * Batches shrink when one takes longer than SLOW_BATCH. */
static const double TURN = 0.0002, SLOW_BATCH = 0.0001;

const char gr_idle_text[] = "idle";

static struct gr_green hub_context = {.state = GR_RUNNING, .name = NULL};
struct gr_green *gr_current = &hub_context;
uint64_t gr_switches;
static void (*visitor)(void);
static const int VISITED = INT_MIN; /* instead of the result of a park, see gr_green_visit */

static struct {
	struct gr_green *head, *tail;
	int budget, batch;
	double turn_start, batch_start;
	uint64_t seed;
	struct gr_green *idle;
} runq = {.batch = BATCH_MAX};

static struct {
	struct gr_green **slabs;
	uint32_t nslabs, slab_room, used, max;
	struct gr_green **free; /* last in, first out; [0, low) were not needed since the last reap */
	uint32_t nfree, free_room, low;
	struct gr_green **bare; /* without a stack */
	uint32_t nbare, bare_room;
	uint32_t live;
	uint64_t next_id;
} all = {.max = 4000000, .next_id = 1};

bool gr_on_green(void)
{
	return gr_current != &hub_context;
}

/* ---- The run queue ---- */

static void push(struct gr_green *g)
{
	g->next = NULL;
	if (runq.head)
		runq.tail->next = g;
	else
		runq.head = g;
	runq.tail = g;
}

/* Moves a random member of the queue to its head (xorshift64). */
static void shuffle(void)
{
	struct gr_green *before = NULL, *g = runq.head;
	uint64_t n = 0;

	for (struct gr_green *i = runq.head; i; i = i->next)
		n++;
	runq.seed ^= runq.seed << 13;
	runq.seed ^= runq.seed >> 7;
	runq.seed ^= runq.seed << 17;
	assert(n > 0);
	for (n = runq.seed % n; n > 0; n--) {
		before = g;
		g = g->next;
	}
	if (before == NULL)
		return;
	before->next = g->next;
	if (runq.tail == g)
		runq.tail = before;
	g->next = runq.head;
	runq.head = g;
}

/* The clock's say in whether the turn goes on; sets the budget of the next batch if it does. */
static bool turn_over(void)
{
	double now = gr_now();

	if (now - runq.batch_start > SLOW_BATCH)
		runq.batch = runq.batch > 4 ? runq.batch / 4 : 1;
	else if (runq.batch < BATCH_MAX)
		runq.batch *= 2;
	runq.batch_start = now;
	runq.budget = runq.batch;
	return now - runq.turn_start > TURN;
}

static inline struct gr_green *pop(void)
{
	struct gr_green *g = runq.head;

	if (__builtin_expect(g == NULL || (--runq.budget < 0 && turn_over()), 0))
		return &hub_context;
	if (__builtin_expect(runq.seed != 0, 0)) {
		shuffle();
		g = runq.head;
	}
	runq.head = g->next;
	return g;
}

static void do_nothing(void)
{
}

static void (*on_leave)(void) = do_nothing, (*on_handover)(void);

/* All that is to be done rides on the one test that every switch makes: on_switch is never NULL then. */
static void before_switch(struct gr_green *self, struct gr_green *next)
{
	void (*f)(void) = gr_hub.on_switch, (*leave)(void) = on_leave, (*handover)(void) = on_handover;

	gr_hub.on_switch = gr_hub.trace || handover ? do_nothing : NULL;
	on_leave = do_nothing;
	f();
	leave();
	if (handover && self != &hub_context && next != &hub_context)
		handover();
	if (gr_hub.trace)
		gr_hub.trace(self, next);
}

/* Should this be lost to a write of the loop's at the same time, another one follows. */
void gr_green_end_turn(void)
{
	__atomic_store_n(&runq.budget, 0, __ATOMIC_RELAXED);
}

void gr_green_on_leave(void (*fn)(void))
{
	on_leave = fn;
	gr_green_trace();
}

void gr_green_on_handover(void (*fn)(void))
{
	on_handover = fn;
	if (fn)
		gr_green_trace();
}

void gr_green_trace(void)
{
	if (gr_hub.on_switch == NULL)
		gr_hub.on_switch = do_nothing;
}

static inline void switch_to(struct gr_green *next)
{
	struct gr_green *self = gr_current;

	if (__builtin_expect(gr_hub.on_switch != NULL, 0))
		before_switch(self, next);
	if (__builtin_expect(gr_hibernates(next), 0))
		gr_hibernate_wake(next);
	gr_current = next;
	gr_switches++;
	next->switches++;
	next->state = GR_RUNNING;
#ifdef GR_ASAN
	__sanitizer_start_switch_fiber(&self->fake_stack, next->stack.base, next->stack.size);
#endif
	gr_switch(&self->sp, next->sp);
#ifdef GR_ASAN
	__sanitizer_finish_switch_fiber(self->fake_stack, NULL, NULL);
#endif
}

bool gr_run_ready(void)
{
	runq.turn_start = runq.batch_start = gr_now();
	runq.budget = runq.batch;
	if (runq.head)
		switch_to(pop());
	return runq.head != NULL;
}

bool gr_have_ready(void)
{
	return runq.head != NULL;
}

double gr_turn_start(void)
{
	return runq.turn_start;
}

void gr_green_seed(uint64_t seed)
{
	/* Spread (the multiplier of splitmix64), so that small neighbours differ from the first pick on. */
	runq.seed = seed * 0x9E3779B97F4A7C15u;
}

/* On the parked thread's stack, which goes on being parked. */
static void receive_visit(struct gr_green *self)
{
	visitor();
	self->wake = 0;
	self->state = GR_WAITING;
	switch_to(&hub_context);
}

void gr_green_visit(struct gr_green *g, void (*visit)(void))
{
	uint32_t switches = g->switches;

	visitor = visit;
	g->wake = VISITED;
	switch_to(g);
	g->switches = switches;
}

int gr_park(const char *what)
{
	struct gr_green *self = gr_current;

	self->state = GR_WAITING;
	self->what = what;
	switch_to(pop());
	while (__builtin_expect(self->wake == VISITED, 0))
		receive_visit(self);
	return self->wake;
}

bool gr_wake(struct gr_green *g, int result)
{
	if (g->state != GR_WAITING)
		return false;
	g->state = GR_READY;
	g->wake = result;
	push(g);
	return true;
}

bool gr_wake_next(struct gr_green *g, int result)
{
	if (g->state != GR_WAITING)
		return false;
	g->state = GR_READY;
	g->wake = result;
	g->next = runq.head;
	if (runq.head == NULL)
		runq.tail = g;
	runq.head = g;
	return true;
}

void gr_yield(void)
{
	struct gr_green *self = gr_current, *next;

	self->state = GR_READY;
	push(self);
	next = pop();
	if (next == self)
		self->state = GR_RUNNING;
	else
		switch_to(next);
}

void gr_idle_enter(void)
{
	struct gr_green **link = &runq.idle;

	while (*link)
		link = &(*link)->next;
	*link = gr_current;
	gr_current->next = NULL;
}

void gr_idle_leave(struct gr_green *g)
{
	struct gr_green **link = &runq.idle;

	if (g->what != gr_idle_text)
		return;
	while (*link && *link != g)
		link = &(*link)->next;
	if (*link)
		*link = g->next;
}

bool gr_have_idle(void)
{
	return runq.idle != NULL;
}

bool gr_wake_idle(void)
{
	struct gr_green *g = runq.idle;
	bool any = g != NULL;

	runq.idle = NULL;
	while (g) {
		struct gr_green *next = g->next;

		gr_wake(g, 0);
		g = next;
	}
	return any;
}

void gr_abandon(void)
{
	gr_current->state = GR_READY; /* so that nobody wakes or visits it */
	switch_to(&hub_context);
	abort();
}

/* ---- Life of a thread ---- */

/* Makes room for n pointers. Returns 0 or -ENOMEM. */
static int reserve(struct gr_green ***vector, uint32_t *room, uint32_t n)
{
	uint32_t grown = *room ? *room * 2 : SLAB_GREENS;
	struct gr_green **p;

	if (n <= *room)
		return 0;
	p = realloc(*vector, grown * sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	*vector = p;
	*room = grown;
	return 0;
}

static void end(struct gr_green *self)
{
	if (ev_is_active(&self->timer))
		ev_timer_stop(gr_hub.loop, &self->timer);
	if (self->name) {
		free(self->name);
		self->name = NULL;
	}
	if (!self->daemon)
		all.live--;
	self->state = GR_FREE;
	if (!gr_stack_intact(&self->stack)) {
		gr_log(GR_LOG_ERROR, "C stack overflow in thread #%llu, noticed at its end", (unsigned long long)self->id);
		abort();
	}
	/* take_bare made room. */
	all.free[all.nfree++] = self;
}

/* Where every stack begins. The stack of a finished thread waits here for the next body. */
static void main_loop(void)
{
	struct gr_green *self = gr_current;

#ifdef GR_ASAN
	{
		const void *bottom;
		size_t size;

		__sanitizer_finish_switch_fiber(NULL, &bottom, &size);
		/* The first switch comes from the process's own stack: remember where that is. */
		if (hub_context.stack.base == NULL) {
			hub_context.stack.base = (char *)bottom;
			hub_context.stack.size = size;
		}
	}
#endif
	for (;;) {
		self->run(self);
		end(self);
		switch_to(pop());
	}
}

bool gr_green_is_base(uintptr_t function)
{
	return function == (uintptr_t)main_loop;
}

static struct gr_green *new_slab(void)
{
	struct gr_green *slab;

	if (reserve(&all.slabs, &all.slab_room, all.nslabs + 1) < 0)
		return NULL;
	slab = calloc(SLAB_GREENS, sizeof(*slab));
	if (slab == NULL)
		return NULL;
	for (uint32_t i = 0; i < SLAB_GREENS; i++) {
		slab[i].index = all.nslabs * SLAB_GREENS + i;
		ev_init(&slab[i].timer, gr_wait_timer_cb);
	}
	return all.slabs[all.nslabs++] = slab;
}

static struct gr_green *at(uint32_t index)
{
	return &all.slabs[index / SLAB_GREENS][index % SLAB_GREENS];
}

/* A struct without a stack: one that was reaped, or a new one. */
static struct gr_green *take_bare(void)
{
	struct gr_green *g;

	if (all.nbare > 0)
		return all.bare[--all.nbare];
	if (all.used >= all.max) {
		errno = EAGAIN;
		return NULL;
	}
	errno = ENOMEM;
	/* Room for every struct in both vectors, so that ending a thread and reaping cannot fail. */
	if (reserve(&all.free, &all.free_room, all.used + 1) < 0 || reserve(&all.bare, &all.bare_room, all.used + 1) < 0)
		return NULL;
	if (all.used == all.nslabs * SLAB_GREENS && new_slab() == NULL)
		return NULL;
	g = at(all.used++);
	return g;
}

static struct gr_green *take_free(void)
{
	struct gr_green *g;

	if (all.nfree > 0) {
		g = all.free[--all.nfree];
		if (all.nfree < all.low)
			all.low = all.nfree;
		return g;
	}
	g = take_bare();
	if (g == NULL)
		return NULL;
	if (gr_stack_take(&g->stack) < 0) {
		all.bare[all.nbare++] = g;
		errno = ENOMEM;
		return NULL;
	}
	g->sp = gr_switch_prepare(gr_stack_top(&g->stack), main_loop);
	return g;
}

struct gr_green *gr_green_take(void (*run)(struct gr_green *))
{
	struct gr_green *g = take_free();

	if (g == NULL)
		return NULL;
	g->run = run;
	g->state = GR_NEW;
	g->user_flags = 0;
	g->attention = 0;
	g->delayed = false;
	g->daemon = false;
	g->refused = 0;
	g->plain = 0;
	g->what = NULL;
	g->wait_token = NULL;
	g->switches = 0;
	g->ticks = 0;
	g->born = runq.batch_start;
	g->until = INFINITY;
	g->id = all.next_id++;
	g->parent = gr_current->id;
	all.live++;
	return g;
}

void gr_green_drop(struct gr_green *g)
{
	end(g);
}

void gr_green_start(struct gr_green *g)
{
	push(g);
}

void gr_green_start_later(struct gr_green *g, double seconds)
{
	g->delayed = true;
	gr_hub.sources++;
	gr_wait_arm(g, gr_until(seconds));
}

void gr_green_start_now(struct gr_green *g)
{
	if (!g->delayed)
		return;
	g->delayed = false;
	g->until = INFINITY;
	gr_hub.sources--;
	ev_timer_stop(gr_hub.loop, &g->timer);
	push(g);
}

void gr_cancel(struct gr_green *g)
{
	if (g->state == GR_FREE)
		return;
	g->attention |= GR_ATTN_CANCEL;
	gr_green_start_now(g);
	if (g->state != GR_WAITING || (g->attention & GR_ATTN_SHIELD))
		return;
	gr_idle_leave(g);
	gr_wake(g, GR_CANCELED);
}

void gr_set_deadline(struct gr_green *g, double deadline)
{
	g->deadline = deadline;
	if (deadline == INFINITY) {
		g->attention &= (uint8_t)~GR_ATTN_DEADLINE;
		return;
	}
	g->attention |= GR_ATTN_DEADLINE;
	if (g->state != GR_WAITING || deadline > gr_now())
		return;
	gr_idle_leave(g);
	gr_wake(g, GR_DEADLINE);
}

void gr_green_set_daemon(struct gr_green *g)
{
	if (!g->daemon) {
		g->daemon = true;
		all.live--;
	}
}

struct gr_green *gr_green_at(uint32_t index)
{
	struct gr_green *g = index < all.used ? at(index) : NULL;

	return g && g->state != GR_FREE ? g : NULL;
}

uint32_t gr_green_limit(void)
{
	return all.used;
}

bool gr_green_stands(const struct gr_green *g)
{
	return g != gr_current && (g->state == GR_WAITING || (g->state == GR_READY && g->switches > 0));
}

uint32_t gr_green_live(void)
{
	return all.live;
}

void gr_green_forked(void)
{
	for (uint32_t i = 0; i < all.used; i++)
		if (at(i) != gr_current)
			at(i)->state = GR_FREE;
	runq.head = runq.idle = NULL;
	all.live = gr_on_green();
}

uint64_t gr_green_spawned(void)
{
	return all.next_id - 1;
}

void gr_green_set_max(uint32_t max)
{
	all.max = max;
}

int gr_green_set_name(struct gr_green *g, const char *name)
{
	char *copy = name ? strndup(name, NAME_MAX_BYTES) : NULL;

	if (name && copy == NULL)
		return -ENOMEM;
	free(g->name);
	g->name = copy;
	return 0;
}

enum gr_reaped gr_green_reap(void (*on_release)(struct gr_green *))
{
	uint32_t n = all.low < REAP_MAX ? all.low : REAP_MAX;

	for (uint32_t i = 0; i < n; i++) {
		struct gr_green *g = all.free[i];

		if (on_release)
			on_release(g);
		gr_stack_give(&g->stack);
		all.bare[all.nbare++] = g;
	}
	memmove(all.free, all.free + n, (all.nfree - n) * sizeof(all.free[0]));
	all.nfree -= n;
	all.low -= n;
	if (all.low > 0)
		return GR_REAPED_SOME;
	all.low = all.nfree;
	return all.nfree > 0 ? GR_REAPED_IDLE : GR_REAPED_ALL;
}

uint32_t gr_green_nfree(void)
{
	return all.nfree;
}

void gr_green_free_all(void)
{
	for (uint32_t i = 0; i < all.nslabs; i++)
		free(all.slabs[i]);
	free(all.slabs);
	free(all.free);
	free(all.bare);
	memset(&all, 0, sizeof(all));
	memset(&runq, 0, sizeof(runq));
}
