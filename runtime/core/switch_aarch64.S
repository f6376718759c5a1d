/* SPDX-License-Identifier: MIT */
/* Stack switching on AArch64 (AAPCS64): x19-x30, sp and the low halves d8-d15 belong to the callee. */
	.text

	.globl gr_switch
	.type gr_switch, %function
	.p2align 4
gr_switch:
	.cfi_startproc
	sub sp, sp, #160
	.cfi_def_cfa_offset 160
	stp x19, x20, [sp, #0]
	.cfi_offset x19, -160
	.cfi_offset x20, -152
	stp x21, x22, [sp, #16]
	.cfi_offset x21, -144
	.cfi_offset x22, -136
	stp x23, x24, [sp, #32]
	.cfi_offset x23, -128
	.cfi_offset x24, -120
	stp x25, x26, [sp, #48]
	.cfi_offset x25, -112
	.cfi_offset x26, -104
	stp x27, x28, [sp, #64]
	.cfi_offset x27, -96
	.cfi_offset x28, -88
	stp x29, x30, [sp, #80]
	.cfi_offset x29, -80
	.cfi_offset x30, -72
	stp d8, d9, [sp, #96]
	stp d10, d11, [sp, #112]
	stp d12, d13, [sp, #128]
	stp d14, d15, [sp, #144]
	mov x9, sp
	str x9, [x0]
	mov sp, x1
	/* The new stack has the same layout, so the unwind rules above stay true. */
	ldp x19, x20, [sp, #0]
	ldp x21, x22, [sp, #16]
	ldp x23, x24, [sp, #32]
	ldp x25, x26, [sp, #48]
	ldp x27, x28, [sp, #64]
	ldp x29, x30, [sp, #80]
	ldp d8, d9, [sp, #96]
	ldp d10, d11, [sp, #112]
	ldp d12, d13, [sp, #128]
	ldp d14, d15, [sp, #144]
	add sp, sp, #160
	.cfi_def_cfa_offset 0
	.cfi_restore x19
	.cfi_restore x20
	.cfi_restore x21
	.cfi_restore x22
	.cfi_restore x23
	.cfi_restore x24
	.cfi_restore x25
	.cfi_restore x26
	.cfi_restore x27
	.cfi_restore x28
	.cfi_restore x29
	.cfi_restore x30
	ret
	.cfi_endproc
	.size gr_switch, .-gr_switch

	/* First frame of every stack: x19 holds the entry function. Unwinders stop here. */
	.type first_frame, %function
	.p2align 4
first_frame:
	.cfi_startproc
	.cfi_undefined x30
	mov x29, xzr
	blr x19
	brk #1
	.cfi_endproc
	.size first_frame, .-first_frame

	/* void *gr_switch_prepare(void *top, void (*entry)(void)) */
	.globl gr_switch_prepare
	.type gr_switch_prepare, %function
	.p2align 4
gr_switch_prepare:
	.cfi_startproc
	sub x0, x0, #176
	stp x1, xzr, [x0, #0]
	stp xzr, xzr, [x0, #16]
	stp xzr, xzr, [x0, #32]
	stp xzr, xzr, [x0, #48]
	stp xzr, xzr, [x0, #64]
	adr x9, first_frame
	stp xzr, x9, [x0, #80]
	stp xzr, xzr, [x0, #96]
	stp xzr, xzr, [x0, #112]
	stp xzr, xzr, [x0, #128]
	stp xzr, xzr, [x0, #144]
	ret
	.cfi_endproc
	.size gr_switch_prepare, .-gr_switch_prepare

	/* void gr_switch_look(void *sp, void (*fn)(void *), void *arg) */
	.globl gr_switch_look
	.type gr_switch_look, %function
	.p2align 4
gr_switch_look:
	.cfi_startproc
	stp x29, x30, [sp, #-32]!
	.cfi_def_cfa_offset 32
	.cfi_offset x29, -32
	.cfi_offset x30, -24
	str x19, [sp, #16]
	.cfi_offset x19, -16
	mov x19, x0
	mov x0, x2
	.cfi_remember_state
	/* The caller is what gr_switch will return to on that stack, with the registers it saved there. */
	.cfi_def_cfa x19, 160
	.cfi_offset x19, -160
	.cfi_offset x20, -152
	.cfi_offset x21, -144
	.cfi_offset x22, -136
	.cfi_offset x23, -128
	.cfi_offset x24, -120
	.cfi_offset x25, -112
	.cfi_offset x26, -104
	.cfi_offset x27, -96
	.cfi_offset x28, -88
	.cfi_offset x29, -80
	.cfi_offset x30, -72
	blr x1
	.cfi_restore_state
	ldr x19, [sp, #16]
	ldp x29, x30, [sp], #32
	.cfi_def_cfa_offset 0
	.cfi_restore x19
	.cfi_restore x29
	.cfi_restore x30
	ret
	.cfi_endproc
	.size gr_switch_look, .-gr_switch_look

	.section .note.GNU-stack,"",%progbits
