/* SPDX-License-Identifier: MIT */
/* Forking. The child is made by libc's fork(), in two steps, rather than by clone(2) with CLONE_PARENT: libc's and
 * other libraries' locks and thread ids are right then even when other OS threads run, and the handlers of
 * pthread_atfork are called. The process in between ends at once, which gives the child to the next process above that
 * adopts orphans. */
#define _GNU_SOURCE
#include "posix/fork.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/hub.h"
#include "posix/coop.h"
#include "posix/work.h"

/* What is buffered would be written by both. */
static void flush(void)
{
	fflush(NULL);
	if (gr_hub.trace_flush)
		gr_hub.trace_flush();
}

/* Interposed, waitpid would wait cooperatively. */
static void await(pid_t pid)
{
	int status;

	while (syscall(SYS_wait4, pid, &status, 0, NULL) < 0 && errno == EINTR)
		;
}

/* Returns 0 in the copy. `copy` is memory that all of them share. */
static pid_t fork_twice(pid_t *copy)
{
	pid_t between = fork();

	if (between < 0)
		return -errno;
	if (between > 0) {
		await(between);
		return *copy;
	}
	between = fork();
	if (between == 0)
		return 0;
	*copy = between < 0 ? -errno : between;
	_exit(0);
}

pid_t gr_fork(void)
{
	pid_t *copy = mmap(NULL, sizeof(*copy), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), pid = -EBUSY;
	sigset_t all, old;

	if (copy == MAP_FAILED)
		return -errno;
	*copy = -ECHILD; /* unless the process in between says otherwise, it was killed */
	flush();
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	gr_coop.survives_fork = true;
	if (gr_work_is_quiet())
		pid = fork_twice(copy);
	gr_coop.survives_fork = false;
	if (pid == 0)
		gr_hub_forked();
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	munmap(copy, sizeof(*copy));
	return pid;
}

int gr_fork_adopt(bool on)
{
	return prctl(PR_SET_CHILD_SUBREAPER, on ? 1 : 0) < 0 ? -errno : 0;
}
