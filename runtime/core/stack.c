/* SPDX-License-Identifier: MIT */
/* C stacks: guarded pieces of large lazily filled mappings. */
#define _GNU_SOURCE
#include "core/stack.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef GR_VALGRIND
#include <valgrind/valgrind.h>
#endif

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13; the headers of Debian 12 are older */
#endif

enum {
	DEFAULT_SIZE = 256 << 10,
	/* A frame larger than the guard could step over it: Lua's luaL_Buffer makes frames of 8 KiB. */
	GUARD_SIZE = 16 << 10,
	SLAB_STACKS = 256,
	RANGES = 64, /* given back by one system call */
};

/* Far from where libraries live: LuaJIT must find room for machine code within 2 GiB of itself. The kernel takes it
 * as a wish only. */
static const uintptr_t SLAB_AREA = 0x200000000000;

static struct {
	size_t size;
	enum gr_guard best;
	unsigned mprotected, mprotect_max; /* each PROT_NONE guard costs two mappings of vm.max_map_count */
	char *slab, *slab_end;             /* not yet handed out */
	uintptr_t hint;
	struct gr_stack *free;
	size_t nfree, room;
} pool = {.size = DEFAULT_SIZE, .hint = SLAB_AREA};

static size_t page_size(void)
{
	static size_t size;

	if (size == 0)
		size = (size_t)sysconf(_SC_PAGESIZE);
	return size;
}

static size_t round_up(size_t n)
{
	return (n + page_size() - 1) & ~(page_size() - 1);
}

int gr_stack_set_size(size_t bytes)
{
	if (bytes < 64 << 10 || bytes > 1 << 30)
		return -EINVAL;
	pool.size = round_up(bytes);
	return 0;
}

size_t gr_stack_size(void)
{
	return pool.size;
}

void gr_stack_limit_guard(enum gr_guard best)
{
	pool.best = best;
}

/* Half of the mappings the kernel allows may go into guards; the rest is for everybody else. */
static unsigned read_mprotect_max(void)
{
	unsigned long limit = 65530;
	FILE *f = fopen("/proc/sys/vm/max_map_count", "re");

	if (f) {
		if (fscanf(f, "%lu", &limit) != 1)
			limit = 65530;
		fclose(f);
	}
	return (unsigned)(limit / 4);
}

static enum gr_guard install_guard(char *base)
{
	size_t size = round_up(GUARD_SIZE);

	if (pool.best == GR_GUARD_MADVISE) {
		if (madvise(base, size, MADV_GUARD_INSTALL) == 0)
			return GR_GUARD_MADVISE;
		pool.best = GR_GUARD_MPROTECT;
	}
	if (pool.mprotect_max == 0)
		pool.mprotect_max = read_mprotect_max();
	if (pool.best == GR_GUARD_MPROTECT && pool.mprotected < pool.mprotect_max &&
	    mprotect(base, size, PROT_NONE) == 0) {
		pool.mprotected++;
		return GR_GUARD_MPROTECT;
	}
	return GR_GUARD_CANARY;
}

static int grow(void)
{
	size_t size = pool.size * SLAB_STACKS;
	char *p = mmap((void *)pool.hint, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	/* A stack uses one page; a huge page under it would make it 2 MiB. */
	madvise(p, size, MADV_NOHUGEPAGE);
	pool.slab = p;
	pool.slab_end = p + size;
	pool.hint += size;
	return 0;
}

int gr_stack_take(struct gr_stack *stack)
{
	if (pool.nfree > 0 && pool.free[pool.nfree - 1].size == pool.size) {
		*stack = pool.free[--pool.nfree];
	} else {
		if ((size_t)(pool.slab_end - pool.slab) < pool.size && grow() < 0)
			return -ENOMEM;
		stack->base = pool.slab;
		stack->size = pool.size;
		pool.slab += pool.size;
		stack->guard = install_guard(stack->base);
	}
#ifdef GR_VALGRIND
	stack->valgrind_id = VALGRIND_STACK_REGISTER(stack->base, gr_stack_top(stack));
#endif
	return 0;
}

void gr_stack_give(struct gr_stack *stack)
{
#ifdef GR_VALGRIND
	VALGRIND_STACK_DEREGISTER(stack->valgrind_id);
#endif
	gr_stack_trim(stack, 0);
	if (pool.nfree == pool.room) {
		size_t room = pool.room ? pool.room * 2 : 256;
		struct gr_stack *grown = realloc(pool.free, room * sizeof(*grown));

		if (grown == NULL)
			return; /* its addresses are lost, its memory is not */
		pool.free = grown;
		pool.room = room;
	}
	pool.free[pool.nfree++] = *stack;
}

static size_t guarded(const struct gr_stack *stack)
{
	return stack->guard == GR_GUARD_CANARY ? 0 : round_up(GUARD_SIZE);
}

void gr_stack_trim(const struct gr_stack *stack, size_t keep)
{
	size_t guard = guarded(stack), used = round_up(keep);

	if (guard + used < stack->size)
		madvise(stack->base + guard, stack->size - guard - used, MADV_DONTNEED);
}

#ifdef GR_ASAN

/* Whoever follows a pointer into an emptied stack is caught. */
void gr_stack_empty(const struct gr_stack *const *stacks, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		gr_stack_trim(stacks[i], 0);
		mprotect(stacks[i]->base + guarded(stacks[i]), stacks[i]->size - guarded(stacks[i]), PROT_NONE);
	}
}

void gr_stack_refill(const struct gr_stack *stack)
{
	mprotect(stack->base + guarded(stack), stack->size - guarded(stack), PROT_READ | PROT_WRITE);
}

#else

/* One system call for all, which kernels before 6.13 refuse and those before 6.14 do not know by that name. */
static void drop_pages(const struct iovec *ranges, size_t n)
{
	enum { PIDFD_SELF = -10000 };

	if (n > 1 && syscall(SYS_process_madvise, PIDFD_SELF, ranges, n, MADV_DONTNEED, 0) >= 0)
		return;
	for (size_t i = 0; i < n; i++)
		madvise(ranges[i].iov_base, ranges[i].iov_len, MADV_DONTNEED);
}

void gr_stack_empty(const struct gr_stack *const *stacks, size_t n)
{
	struct iovec ranges[RANGES];
	size_t used = 0;
	char *end = NULL;

	for (size_t i = 0; i < n; i++) {
		const struct gr_stack *s = stacks[i];
		size_t guard = guarded(s);

		if (used > 0 && end == s->base) {
			ranges[used - 1].iov_len += s->size;
		} else {
			if (used == RANGES) {
				drop_pages(ranges, used);
				used = 0;
			}
			ranges[used++] = (struct iovec){s->base + guard, s->size - guard};
		}
		end = gr_stack_top(s);
	}
	drop_pages(ranges, used);
}

void gr_stack_refill(const struct gr_stack *stack)
{
	(void)stack;
}

#endif

bool gr_stack_intact(const struct gr_stack *stack)
{
	static const char zeros[1024];

	if (stack->guard != GR_GUARD_CANARY)
		return true;
	/* Nobody has a reason to write this deep, so the lowest page of a good stack was never touched. */
	for (size_t i = 0; i < page_size(); i += sizeof(zeros))
		if (memcmp(stack->base + i, zeros, sizeof(zeros)) != 0)
			return false;
	return true;
}

bool gr_stack_guards(const struct gr_stack *stack, const void *address)
{
	const char *p = address;

	return stack->base && p >= stack->base && p < stack->base + GUARD_SIZE;
}
