/* SPDX-License-Identifier: MIT */
/* From another OS thread into the hub: a list without locks, and libev's way to wake a loop (an eventfd). */
#include "core/async.h"

#include <stdatomic.h>
#include <stddef.h>

#include "core/hub.h"

static _Atomic(struct gr_post *) posts; /* the latest first */
static ev_async wakeup;

static struct gr_post *reverse(struct gr_post *list)
{
	struct gr_post *reversed = NULL;

	while (list) {
		struct gr_post *next = list->next;

		list->next = reversed;
		reversed = list;
		list = next;
	}
	return reversed;
}

static void run_posts(struct ev_loop *loop, ev_async *async, int revents)
{
	struct gr_post *post = reverse(atomic_exchange(&posts, NULL));

	(void)loop;
	(void)async;
	(void)revents;
	while (post) {
		struct gr_post *next = post->next; /* run may free it */

		post->run(post);
		post = next;
	}
}

void gr_async_start(void)
{
	if (ev_is_active(&wakeup))
		return;
	ev_async_init(&wakeup, run_posts);
	ev_async_start(gr_hub.loop, &wakeup);
	ev_unref(gr_hub.loop);
}

void gr_async_post(struct gr_post *post)
{
	post->next = atomic_load(&posts);
	while (!atomic_compare_exchange_weak(&posts, &post->next, post))
		;
	ev_async_send(gr_hub.loop, &wakeup);
}

void gr_async_hold(void)
{
	gr_hub.sources++;
	ev_ref(gr_hub.loop);
}

void gr_async_release(void)
{
	ev_unref(gr_hub.loop);
	gr_hub.sources--;
}
