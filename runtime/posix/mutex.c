/* SPDX-License-Identifier: MIT */
/* POSIX locks held across a park. All green threads are one OS thread: a lock that a parked one holds would never come free,
 * and a recursive one would let the next thread in. So it is known which green thread holds which lock, and others wait
 * for it as green threads do. Foreign OS threads are not touched: among them and us the real locks decide. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/log.h"
#include "core/wait.h"
#include "posix/coop.h"
#include "posix/next.h"

/* One lock that one context (a green thread, or the hub) holds. */
struct hold {
	const void *lock; /* NULL: free slot */
	struct gr_green *owner;
	uint32_t depth;
	bool shared;      /* for reading */
};

enum { FIRST_ROOM = 64 };

/* Open addressing with linear probing, at most half full. Grown with mmap: malloc may itself take locks. */
static struct hold first[FIRST_ROOM];
static struct {
	struct hold *slots;
	size_t room, used; /* room: a power of two */
} holds = {first, FIRST_ROOM, 0};

/* The lock taken last, as long as it is held: mostly the only one. It is not in the table. */
static struct hold recent;

/* Who waits for a lock of another green thread. In the heap: a parked stack is private. */
struct waiter {
	struct waiter *next;
	const void *lock;
	struct gr_green *green;
};

static struct waiter *waiters;

/* ---- The table ---- */

static size_t slot_of(const void *lock)
{
	return (size_t)(((uintptr_t)lock >> 3) * 0x9E3779B97F4A7C15u >> 20) & (holds.room - 1);
}

static bool is_of(const struct hold *hold, const void *lock, const struct gr_green *owner)
{
	return hold->lock == lock && (owner == NULL || hold->owner == owner);
}

static struct hold *find(const void *lock, const struct gr_green *owner)
{
	size_t i = slot_of(lock);

	if (is_of(&recent, lock, owner))
		return &recent;
	for (; holds.slots[i].lock; i = (i + 1) & (holds.room - 1))
		if (is_of(&holds.slots[i], lock, owner))
			return &holds.slots[i];
	return NULL;
}

static void put(const struct hold *hold)
{
	size_t i = slot_of(hold->lock);

	while (holds.slots[i].lock)
		i = (i + 1) & (holds.room - 1);
	holds.slots[i] = *hold;
}

/* Without memory the table stays as it is: it still has room. */
static void grow(void)
{
	struct hold *old = holds.slots;
	size_t room = holds.room;
	void *p = mmap(NULL, room * 2 * sizeof(*old), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return;
	holds.slots = p;
	holds.room = room * 2;
	for (size_t i = 0; i < room; i++)
		if (old[i].lock)
			put(&old[i]);
	if (old != first)
		munmap(old, room * sizeof(*old));
}

static bool any_holds(void)
{
	return recent.lock || holds.used;
}

static void note_further_hold(const void *lock, bool shared)
{
	struct hold added = {lock, gr_current, 1, shared}, *hold = find(lock, gr_current);

	if (hold) {
		hold->depth++;
		return;
	}
	if (holds.used * 2 >= holds.room)
		grow();
	if (holds.used + 1 >= holds.room)
		return; /* out of memory: this one is not known */
	holds.used++;
	put(&added);
}

static inline void note_hold(const void *lock, bool shared)
{
	if (__builtin_expect(any_holds(), 0)) {
		note_further_hold(lock, shared);
		return;
	}
	recent.lock = lock;
	recent.owner = gr_current;
	recent.depth = 1;
	recent.shared = shared;
}

/* Closes the gap, so that probing still finds what stands behind it. */
static void remove_hold(struct hold *hold)
{
	size_t gap = (size_t)(hold - holds.slots), mask = holds.room - 1;

	if (hold == &recent) {
		recent.lock = NULL;
		return;
	}
	for (size_t i = (gap + 1) & mask; holds.slots[i].lock; i = (i + 1) & mask) {
		if (((i - slot_of(holds.slots[i].lock)) & mask) < ((i - gap) & mask))
			continue;
		holds.slots[gap] = holds.slots[i];
		gap = i;
	}
	holds.slots[gap].lock = NULL;
	holds.used--;
}

static void wake_waiters(const void *lock)
{
	for (struct waiter *w = waiters; w; w = w->next)
		if (w->lock == lock)
			gr_wake(w->green, 0);
}

/* A lock may be given back by another thread than took it, as far as pthreads can tell. */
static void note_other_release(const void *lock)
{
	struct hold *hold = find(lock, gr_current);

	if (hold == NULL)
		hold = find(lock, NULL);
	if (hold == NULL || --hold->depth > 0)
		return;
	remove_hold(hold);
	if (__builtin_expect(waiters != NULL, 0))
		wake_waiters(lock);
}

static inline void note_release(const void *lock)
{
	if (__builtin_expect(recent.lock == lock && recent.depth == 1 && recent.owner == gr_current && !waiters, 1))
		recent.lock = NULL;
	else
		note_other_release(lock);
}

/* ---- Waiting for another green thread ---- */

static bool keeps_out(const struct hold *h, const void *lock, bool reading)
{
	return h->lock == lock && h->owner != gr_current && !(reading && h->shared);
}

/* Another green thread's hold that keeps the current one out, or NULL. Readers keep out writers only. */
static struct hold *in_the_way(const void *lock, bool reading)
{
	size_t i = slot_of(lock);

	if (keeps_out(&recent, lock, reading))
		return &recent;
	for (; holds.slots[i].lock; i = (i + 1) & (holds.room - 1))
		if (keeps_out(&holds.slots[i], lock, reading))
			return &holds.slots[i];
	return NULL;
}

static void drop_waiter(struct waiter *w)
{
	struct waiter **link = &waiters;

	while (*link != w)
		link = &(*link)->next;
	*link = w->next;
	free(w);
}

/* Called when the lock cannot be had and waiting is not possible: nothing will ever free it. */
static void report_deadlock(const struct hold *h)
{
	gr_log(GR_LOG_ERROR, "thread #%llu blocks the process: it takes a lock that waiting thread #%llu holds",
	       (unsigned long long)gr_current->id, (unsigned long long)h->owner->id);
}

/* Parks until no other green thread holds the lock. A lock cannot be refused, so cancel and deadline do not matter. */
static void wait_for_holders(const void *lock, bool reading)
{
	struct hold *h;

	while ((h = in_the_way(lock, reading)) != NULL) {
		struct waiter *w = gr_on_green() && gr_coop_may_park() ? malloc(sizeof(*w)) : NULL;

		if (w == NULL) {
			report_deadlock(h);
			return;
		}
		*w = (struct waiter){waiters, lock, gr_current};
		waiters = w;
		gr_coop.count[GR_CALL_LOCK].parked++;
		gr_wait_stubborn(INFINITY, "lock");
		drop_waiter(w);
	}
}

static bool is_taken(const void *lock, bool reading)
{
	return any_holds() && in_the_way(lock, reading) != NULL;
}

/* ---- Mutexes ---- */

/* A mutex whose memory was given up while it was locked, and serves again: glibc has 0 there when nobody holds it. */
static void drop_stale(const pthread_mutex_t *m)
{
	struct hold *h;

	while ((h = in_the_way(m, false)) != NULL && m->__data.__lock == 0)
		remove_hold(h);
}

/* While some green thread holds a lock. An OS thread that holds this one may be waiting for that lock, so the loop must go
 * on until it is free. */
static int lock_among_holders(pthread_mutex_t *m)
{
	int rc;

	drop_stale(m);
	wait_for_holders(m, false);
	while ((rc = gr_next.mutex_trylock(m)) == EBUSY) {
		if (!gr_on_green() || find(m, gr_current) || !gr_coop_may_park())
			return gr_next.mutex_lock(m);
		gr_wait_stubborn(gr_until(0.0005), "lock");
	}
	return rc;
}

int pthread_mutex_lock(pthread_mutex_t *m)
{
	int rc;

	if (!gr_coop_on)
		return gr_next.mutex_lock(m);
	rc = __builtin_expect(any_holds(), 0) ? lock_among_holders(m) : gr_next.mutex_lock(m);
	if (rc == 0 || rc == EOWNERDEAD)
		note_hold(m, false);
	return rc;
}

int pthread_mutex_trylock(pthread_mutex_t *m)
{
	int rc;

	if (!gr_coop_on)
		return gr_next.mutex_trylock(m);
	drop_stale(m);
	if (is_taken(m, false))
		return EBUSY;
	rc = gr_next.mutex_trylock(m);
	if (rc == 0 || rc == EOWNERDEAD)
		note_hold(m, false);
	return rc;
}

int pthread_mutex_unlock(pthread_mutex_t *m)
{
	int rc = gr_next.mutex_unlock(m);

	if (gr_coop_on && rc == 0)
		note_release(m);
	return rc;
}

/* ---- Read-write locks ---- */

static int lock_rwlock(pthread_rwlock_t *lock, bool reading)
{
	int (*next)(pthread_rwlock_t *) = reading ? gr_next.rwlock_rdlock : gr_next.rwlock_wrlock;
	int rc;

	if (!gr_coop_on)
		return next(lock);
	wait_for_holders(lock, reading);
	rc = next(lock);
	if (rc == 0)
		note_hold(lock, reading);
	return rc;
}

static int try_rwlock(pthread_rwlock_t *lock, bool reading)
{
	int (*next)(pthread_rwlock_t *) = reading ? gr_next.rwlock_tryrdlock : gr_next.rwlock_trywrlock;
	int rc;

	if (!gr_coop_on)
		return next(lock);
	if (is_taken(lock, reading))
		return EBUSY;
	rc = next(lock);
	if (rc == 0)
		note_hold(lock, reading);
	return rc;
}

int pthread_rwlock_rdlock(pthread_rwlock_t *lock)
{
	return lock_rwlock(lock, true);
}

int pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
	return lock_rwlock(lock, false);
}

int pthread_rwlock_tryrdlock(pthread_rwlock_t *lock)
{
	return try_rwlock(lock, true);
}

int pthread_rwlock_trywrlock(pthread_rwlock_t *lock)
{
	return try_rwlock(lock, false);
}

int pthread_rwlock_unlock(pthread_rwlock_t *lock)
{
	int rc = gr_next.rwlock_unlock(lock);

	if (gr_coop_on && rc == 0)
		note_release(lock);
	return rc;
}

/* ---- pthread_once ---- */

static void end_once(pthread_once_t **once)
{
	note_release(*once);
}

/* While one green thread is in the initialiser, others wait for it. */
int pthread_once(pthread_once_t *once, void (*init)(void))
{
	if (!gr_coop_on)
		return gr_next.once(once, init);
	wait_for_holders(once, false);
	note_hold(once, false);
	{
		pthread_once_t *held __attribute__((cleanup(end_once))) = once;

		return gr_next.once(once, init);
	}
}
