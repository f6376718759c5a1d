/* SPDX-License-Identifier: MIT */
/* Taking turns. */
#include "core/turn.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "core/wait.h"

struct gr_turn_waiter {
	struct gr_turn_waiter *next;
	struct gr_green *green;
};

static struct gr_turn_waiter *append(struct gr_turn *t)
{
	struct gr_turn_waiter *w = malloc(sizeof(*w));

	if (w == NULL)
		return NULL;
	*w = (struct gr_turn_waiter){.green = gr_current};
	if (t->first)
		t->last->next = w;
	else
		t->first = w;
	t->last = w;
	return w;
}

static void drop(struct gr_turn *t, struct gr_turn_waiter *w)
{
	struct gr_turn_waiter *previous = NULL, *at = t->first;

	while (at && at != w) {
		previous = at;
		at = at->next;
	}
	if (at == NULL)
		return;
	if (previous)
		previous->next = w->next;
	else
		t->first = w->next;
	if (t->last == w)
		t->last = previous;
}

int gr_turn_wait(struct gr_turn *t, const char *what)
{
	struct gr_turn_waiter *w = append(t);
	int rc;

	if (w == NULL)
		return -ENOMEM;
	rc = gr_wait(INFINITY, what);
	drop(t, w);
	free(w);
	return t->owner == gr_current ? 0 : rc;
}

void gr_turn_pass(struct gr_turn *t)
{
	while (t->owner == NULL && t->first) {
		struct gr_turn_waiter *w = t->first;

		t->first = w->next;
		/* One that was cancelled meanwhile is ready already, and gives its place up when it runs. */
		if (gr_wake(w->green, 0))
			t->owner = w->green;
	}
}
