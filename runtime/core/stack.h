/* SPDX-License-Identifier: MIT */
/* C stacks: guarded pieces of large lazily filled mappings. */
#ifndef GR_CORE_STACK_H
#define GR_CORE_STACK_H

#include <stdbool.h>
#include <stddef.h>

/* How overflow of a stack is noticed. */
enum gr_guard {
	GR_GUARD_MADVISE,  /* MADV_GUARD_INSTALL, Linux >= 6.13: costs no mapping */
	GR_GUARD_MPROTECT, /* PROT_NONE page: costs a mapping of its own */
	GR_GUARD_CANARY,   /* the lowest page, checked at the thread's end: when the kernel has no mapping left */
};

struct gr_stack {
	char *base;    /* lowest address; the guard pages are here */
	size_t size;   /* guard pages included */
	enum gr_guard guard;
#ifdef GR_VALGRIND
	unsigned valgrind_id;
#endif
};

/* Sets the size of stacks taken later, in bytes; rounded up to pages. 64 KiB to 1 GiB, else returns -EINVAL. */
int gr_stack_set_size(size_t bytes);
size_t gr_stack_size(void);

/* Forbids guards better than `best`, for tests and for old kernels that misreport. */
void gr_stack_limit_guard(enum gr_guard best);

/* Takes a stack whose pages are untouched or were given back. Returns 0 or -ENOMEM. */
int gr_stack_take(struct gr_stack *stack);

/* Returns a stack. Its pages go back to the kernel, its addresses are used again. */
void gr_stack_give(struct gr_stack *stack);

/* Gives the pages of a stack back to the kernel except the topmost `keep` bytes (rounded up to pages). */
void gr_stack_trim(const struct gr_stack *stack, size_t keep);

/* Gives all pages of several stacks back to the kernel, those of neighbours together. The guards stay. */
void gr_stack_empty(const struct gr_stack *const *stacks, size_t n);

/* Before an emptied stack is written to again. */
void gr_stack_refill(const struct gr_stack *stack);

/* False if the lowest page of a GR_GUARD_CANARY stack was written to. */
bool gr_stack_intact(const struct gr_stack *stack);

/* True if the address lies in the stack's guard pages. Async-signal-safe. */
bool gr_stack_guards(const struct gr_stack *stack, const void *address);

static inline char *gr_stack_top(const struct gr_stack *stack)
{
	return stack->base + stack->size;
}

#endif
