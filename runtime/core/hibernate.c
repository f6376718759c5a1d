/* SPDX-License-Identifier: MIT */
/* Hibernation of threads that have been parked for long. */
#include "core/hibernate.h"

#include <errno.h>
#include <unwind.h>

#include "core/hub.h"
#include "core/image.h"
#include "core/stack.h"

enum {
	BATCH = 64, /* stacks whose pages go back together */
	LOOKS = 64, /* between two looks at the clock */
};

/* Seconds: what a step of a sweep may take, and the pause between two. */
static const double STEP = 0.0005, PAUSE = 0.002;

struct gr_hibernation gr_hibernation;

static struct {
	double after; /* 0: off */
	ev_timer timer;
	uint32_t at;      /* the thread to look at next */
	uint32_t unfit;   /* seen in this sweep */
	bool again;       /* this sweep has seen threads that the next one may put away */
	uint64_t began;   /* gr_switches when this sweep began */
	uint64_t settled; /* gr_switches when all that was parked had been seen to */
	const struct gr_stack *batch[BATCH];
	size_t nbatch;
} sweep = {
#ifndef GR_VALGRIND /* which takes the unused words of a stack for a mistake */
	.after = 10,
#endif
};

static void flush(void)
{
	gr_stack_empty(sweep.batch, sweep.nbatch);
	sweep.nbatch = 0;
}

/* ---- Which stacks may go ----
 *
 * Those with frames of trusted code only. Mostly the absence of other addresses tells; else the unwinder does, for ten times
 * the price. */

static bool walk_complete;

static _Unwind_Reason_Code look_at_frame(struct _Unwind_Context *context, void *data)
{
	const void *pc = (const void *)_Unwind_GetIP(context); // NOLINT(performance-no-int-to-ptr)

	(void)data;
	if (!gr_image_trusts(pc))
		return _URC_END_OF_STACK;
	walk_complete = gr_green_is_base(_Unwind_GetRegionStart(context));
	return walk_complete ? _URC_END_OF_STACK : _URC_NO_REASON;
}

static void walk(void)
{
	walk_complete = false;
	_Unwind_Backtrace(look_at_frame, NULL);
}

static bool may_go(struct gr_green *g)
{
	char *top = gr_stack_top(&g->stack);

	if (top - (char *)g->sp > GR_IMAGE_MAX || !gr_stack_intact(&g->stack))
		return false;
	if (g->delayed || !gr_image_suspects(g->sp, top))
		return true;
	gr_green_visit(g, walk);
	return walk_complete;
}

static bool put_away(struct gr_green *g)
{
	void *image = may_go(g) ? gr_image_pack(g->sp, gr_stack_top(&g->stack)) : NULL;

	if (image == NULL)
		return false;
	g->sp = (char *)image + 1;
	g->exposed = gr_hub.exposed && gr_hub.exposed(g);
	gr_hibernation.exposed += g->exposed;
	gr_hibernation.asleep++;
	gr_hibernation.put++;
	sweep.batch[sweep.nbatch++] = &g->stack;
	if (sweep.nbatch == BATCH)
		flush();
	return true;
}

void gr_hibernate_wake(struct gr_green *g)
{
	void *image = (char *)g->sp - 1;
	int saved = errno;

	if (!gr_hibernates(g))
		return;
	gr_stack_refill(&g->stack);
	g->sp = gr_image_unpack(image, gr_stack_top(&g->stack));
	gr_image_free(image);
	gr_hibernation.exposed -= g->exposed;
	gr_hibernation.asleep--;
	gr_hibernation.woken++;
	sweep.settled = 0;
	errno = saved;
}

void gr_hibernate_wake_exposed(void)
{
	for (uint32_t i = 0; i < gr_green_limit() && gr_hibernation.exposed > 0; i++) {
		struct gr_green *g = gr_green_at(i);

		if (g && gr_hibernates(g) && g->exposed)
			gr_hibernate_wake(g);
	}
}

/* ---- Sweeps ---- */

/* Differs when the thread has run, or is another one. */
static uint32_t stamp(const struct gr_green *g)
{
	return (uint32_t)g->id * 2654435761U + g->switches;
}

static void look_at(struct gr_green *g)
{
	uint32_t now;

	if (gr_hibernates(g) || (g->state != GR_WAITING && !g->delayed))
		return;
	now = stamp(g);
	if (g->seen != now) {
		g->seen = now;
		g->unfit = false;
		sweep.again = true;
		return;
	}
	if (!g->unfit)
		g->unfit = !put_away(g);
	sweep.unfit += g->unfit;
}

/* Returns whether the sweep is complete. */
static bool step(void)
{
	double end = gr_now() + STEP;
	uint32_t limit = gr_green_limit();

	for (int n = 0; sweep.at < limit; n++) {
		struct gr_green *g = gr_green_at(sweep.at++);

		if (g)
			look_at(g);
		if (n % LOOKS == LOOKS - 1 && gr_now() > end)
			break;
	}
	if (sweep.nbatch > 0)
		flush();
	return sweep.at >= limit;
}

static void begin(void)
{
	sweep.at = 0;
	sweep.unfit = 0;
	sweep.again = false;
	sweep.began = gr_switches;
}

static void stop_timer(void)
{
	if (!ev_is_active(&sweep.timer))
		return;
	ev_ref(gr_hub.loop);
	ev_timer_stop(gr_hub.loop, &sweep.timer);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)revents;
	if (sweep.at == 0)
		begin();
	if (!step()) {
		timer->repeat = PAUSE;
		ev_timer_again(loop, timer);
		return;
	}
	sweep.at = 0;
	gr_hibernation.unfit = sweep.unfit;
	if (!sweep.again) {
		sweep.settled = sweep.began;
		stop_timer();
		return;
	}
	timer->repeat = sweep.after;
	ev_timer_again(loop, timer);
}

void gr_hibernate_watch(void)
{
	if (gr_switches == sweep.settled || sweep.after <= 0 || ev_is_active(&sweep.timer))
		return;
	ev_timer_init(&sweep.timer, on_timer, sweep.after, sweep.after);
	ev_timer_start(gr_hub.loop, &sweep.timer);
	ev_unref(gr_hub.loop);
}

void gr_hibernate_set_after(double seconds)
{
	stop_timer();
	sweep.at = 0;
	sweep.settled = 0;
	sweep.after = seconds;
}

double gr_hibernate_after(void)
{
	return sweep.after;
}
