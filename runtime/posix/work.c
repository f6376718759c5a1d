/* SPDX-License-Identifier: MIT */
/* Pools of OS threads. */
#define _GNU_SOURCE
#include "posix/work.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>

#include "core/wait.h"

static const size_t STACK = 8 << 20;

enum { IDLE = 10 }; /* seconds */

/* ---- On the pool's threads ---- */

/* Waits for work, with the lock held. NULL: there was none for a while. */
static struct gr_work *await_work(struct gr_workers *p)
{
	struct gr_work *w;
	struct timespec end;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += IDLE;
	p->idle++;
	while (p->first == NULL && rc != ETIMEDOUT && p->threads <= p->max)
		rc = pthread_cond_clockwait(&p->more, &p->lock, CLOCK_MONOTONIC, &end);
	p->idle--;
	w = p->threads <= p->max ? p->first : NULL;
	if (w) {
		p->first = w->next;
		p->queued--;
		w->state = GR_WORK_RUNNING;
	}
	return w;
}

static void *serve(void *argument)
{
	struct gr_workers *p = argument;
	struct gr_work *w;

	pthread_setname_np(pthread_self(), "grun worker");
	pthread_mutex_lock(&p->lock);
	while ((w = await_work(p)) != NULL) {
		pthread_mutex_unlock(&p->lock);
		w->run(w);
		gr_async_post(&w->post);
		pthread_mutex_lock(&p->lock);
	}
	p->threads--;
	if (p->first)
		pthread_cond_signal(&p->more); /* the signal for it may have reached us */
	pthread_mutex_unlock(&p->lock);
	if (p->leave)
		p->leave();
	return NULL;
}

/* ---- Forks ---- */

static struct gr_workers *pools;

static void before_fork(void)
{
	for (struct gr_workers *p = pools; p; p = p->next)
		pthread_mutex_lock(&p->lock);
}

static void after_fork(void)
{
	for (struct gr_workers *p = pools; p; p = p->next)
		pthread_mutex_unlock(&p->lock);
}

/* The threads are the parent's. */
static void in_child(void)
{
	for (struct gr_workers *p = pools; p; p = p->next) {
		p->threads = p->idle = 0;
		pthread_cond_init(&p->more, NULL);
		pthread_mutex_init(&p->lock, NULL);
	}
}

static void note_pool(struct gr_workers *p)
{
	struct gr_workers *other = pools;

	if (pools == NULL)
		pthread_atfork(before_fork, after_fork, in_child);
	while (other && other != p)
		other = other->next;
	if (other)
		return;
	p->next = pools;
	pools = p;
}

static bool is_quiet(struct gr_workers *p)
{
	bool quiet;

	pthread_mutex_lock(&p->lock);
	quiet = p->idle == p->threads && p->first == NULL;
	pthread_mutex_unlock(&p->lock);
	return quiet;
}

bool gr_work_is_quiet(void)
{
	for (struct gr_workers *p = pools; p; p = p->next)
		if (!is_quiet(p))
			return false;
	return true;
}

/* ---- On the hub's thread ---- */

/* Signals belong to the hub's thread. */
static int start_thread(struct gr_workers *p)
{
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	rc = pthread_create(&thread, &attr, serve, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (rc == 0)
		p->threads++;
	return -rc;
}

static void on_end(struct gr_post *post)
{
	struct gr_work *w = (struct gr_work *)(void *)((char *)post - offsetof(struct gr_work, post));

	gr_async_release();
	w->state = GR_WORK_DONE;
	if (w->waiter)
		gr_wake(w->waiter, 0);
	else
		w->drop(w);
}

static void unqueue(struct gr_workers *p, const struct gr_work *w)
{
	struct gr_work **link = &p->first;

	while (*link != w)
		link = &(*link)->next;
	*link = w->next;
	if (p->last == &w->next)
		p->last = link;
	p->queued--;
}

static int submit(struct gr_workers *p, struct gr_work *w)
{
	int rc = 0;

	w->workers = p;
	w->waiter = gr_current;
	w->post.run = on_end;
	w->state = GR_WORK_QUEUED;
	w->next = NULL;
	pthread_mutex_lock(&p->lock);
	if (p->queued >= p->idle && p->threads < p->max)
		rc = start_thread(p);
	if (p->threads > 0) {
		if (p->first == NULL)
			p->last = &p->first;
		*p->last = w;
		p->last = &w->next;
		p->queued++;
		pthread_cond_signal(&p->more);
		rc = 0;
	}
	pthread_mutex_unlock(&p->lock);
	return rc;
}

/* The waiter leaves early, or too late: the end and a cancel may come together. */
static void abandon(struct gr_work *w)
{
	struct gr_workers *p = w->workers;
	bool queued;

	pthread_mutex_lock(&p->lock);
	queued = w->state == GR_WORK_QUEUED;
	if (queued)
		unqueue(p, w);
	pthread_mutex_unlock(&p->lock);
	w->waiter = NULL;
	if (queued || w->state == GR_WORK_DONE)
		w->drop(w);
	if (queued)
		gr_async_release();
}

int gr_work_do(struct gr_workers *p, struct gr_work *w, double until, const char *what)
{
	int rc;

	gr_async_start();
	note_pool(p);
	rc = submit(p, w);
	if (rc < 0) {
		w->drop(w);
		return rc;
	}
	gr_async_hold();
	do
		rc = gr_wait(until, what);
	while (rc == 0 && w->state != GR_WORK_DONE);
	if (rc < 0)
		abandon(w);
	return rc;
}
