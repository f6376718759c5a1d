/* SPDX-License-Identifier: MIT */
/* The machine's part: swap C stacks. One .S file per architecture implements it. */
#ifndef GR_CORE_SWITCH_H
#define GR_CORE_SWITCH_H

/* Saves the callee-saved registers on the current stack and its pointer in *save, then continues on the stack at `load`
 * where that one was saved. The floating-point control words are not switched. Does not touch errno. */
void gr_switch(void **save, void *load);

/* Lays out the first frame of a stack that ends at `top` (16-byte aligned): the first gr_switch to the returned pointer
 * calls entry(), which must never return. The frame ends the unwind chain. */
void *gr_switch_prepare(void *top, void (*entry)(void));

/* Calls fn(arg) on the current stack, but so that an unwinder in it goes on with the stack that gr_switch left at `sp`:
 * that one is only read. fn must return. */
void gr_switch_look(void *sp, void (*fn)(void *), void *arg);

#endif
