/* SPDX-License-Identifier: MIT */
/* Stack switching on x86-64 (System V ABI): rbx rbp r12-r15 and rsp belong to the callee, mxcsr and x87 are left alone. */
	.text

	.globl gr_switch
	.type gr_switch, @function
	.p2align 4
gr_switch:
	.cfi_startproc
	pushq %rbp
	.cfi_adjust_cfa_offset 8
	pushq %rbx
	.cfi_adjust_cfa_offset 8
	pushq %r12
	.cfi_adjust_cfa_offset 8
	pushq %r13
	.cfi_adjust_cfa_offset 8
	pushq %r14
	.cfi_adjust_cfa_offset 8
	pushq %r15
	.cfi_adjust_cfa_offset 8
	movq %rsp, (%rdi)
	movq %rsi, %rsp
	/* The new stack has the same layout, so the unwind rules above stay true. */
	popq %r15
	.cfi_adjust_cfa_offset -8
	popq %r14
	.cfi_adjust_cfa_offset -8
	popq %r13
	.cfi_adjust_cfa_offset -8
	popq %r12
	.cfi_adjust_cfa_offset -8
	popq %rbx
	.cfi_adjust_cfa_offset -8
	popq %rbp
	.cfi_adjust_cfa_offset -8
	/* A plain return: threads mostly park below the same calls, so the processor's guess of the address is right, and
	 * so are its guesses for the returns that follow. An indirect jump would put all of those out of step. */
	retq
	.cfi_endproc
	.size gr_switch, .-gr_switch

	/* First frame of every stack: rbx holds the entry function. Unwinders stop here. */
	.type first_frame, @function
	.p2align 4
first_frame:
	.cfi_startproc
	.cfi_undefined %rip
	xorl %ebp, %ebp
	callq *%rbx
	ud2
	.cfi_endproc
	.size first_frame, .-first_frame

	/* void *gr_switch_prepare(void *top, void (*entry)(void)) */
	.globl gr_switch_prepare
	.type gr_switch_prepare, @function
	.p2align 4
gr_switch_prepare:
	.cfi_startproc
	/* After gr_switch has popped seven words rsp is top-16: aligned as before a call. */
	leaq -72(%rdi), %rax
	movq $0, (%rax)
	movq $0, 8(%rax)
	movq $0, 16(%rax)
	movq $0, 24(%rax)
	movq %rsi, 32(%rax)
	movq $0, 40(%rax)
	leaq first_frame(%rip), %rcx
	movq %rcx, 48(%rax)
	movq $0, 56(%rax)
	movq $0, 64(%rax)
	retq
	.cfi_endproc
	.size gr_switch_prepare, .-gr_switch_prepare

	/* void gr_switch_look(void *sp, void (*fn)(void *), void *arg) */
	.globl gr_switch_look
	.type gr_switch_look, @function
	.p2align 4
gr_switch_look:
	.cfi_startproc
	pushq %rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %rbx, 0
	movq %rdi, %rbx
	movq %rdx, %rdi
	.cfi_remember_state
	/* The caller is what gr_switch will return to on that stack, with the registers it saved there. */
	.cfi_def_cfa %rbx, 56
	.cfi_offset %rip, -8
	.cfi_offset %rbp, -16
	.cfi_offset %rbx, -24
	.cfi_offset %r12, -32
	.cfi_offset %r13, -40
	.cfi_offset %r14, -48
	.cfi_offset %r15, -56
	callq *%rsi
	.cfi_restore_state
	popq %rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore %rbx
	retq
	.cfi_endproc
	.size gr_switch_look, .-gr_switch_look

	.section .note.GNU-stack,"",@progbits
