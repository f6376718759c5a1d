/* SPDX-License-Identifier: MIT */
/* waitpid and its kin: asked with WNOHANG, between waits for the child's pidfd. Nobody else's children are ever reaped. */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "posix/coop.h"
#include "posix/next.h"

/* Waits until the process ends, or a while when nothing tells what is waited for: any child, a stop. */
static int wait_for(pid_t pid, int options, double *pause)
{
	struct pollfd p = {.fd = -1, .events = POLLIN};
	int rc;

	if (pid > 0 && !(options & (WUNTRACED | WCONTINUED)))
		p.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (p.fd < 0)
		return gr_coop_pause(GR_CALL_WAITPID, pause, INFINITY);
	rc = gr_coop_wait(GR_CALL_WAITPID, &p, 1, INFINITY, NULL);
	gr_next.close(p.fd);
	return rc;
}

static pid_t block_wait4(pid_t pid, int *status, int options, struct rusage *usage, const void *caller)
{
	double since = gr_coop_block();
	pid_t r = gr_next.wait4(pid, status, options, usage);

	gr_coop_blocked(GR_CALL_WAITPID, since, caller);
	return r;
}

static pid_t do_wait4(pid_t pid, int *status, int options, struct rusage *usage, const void *caller)
{
	double pause = 0;
	pid_t r;
	int rc;

	if (!gr_coop_here(GR_CALL_WAITPID) || (options & WNOHANG))
		return gr_next.wait4(pid, status, options, usage);
	while ((r = gr_next.wait4(pid, status, options | WNOHANG, usage)) == 0) {
		if (!gr_coop_may_park())
			return block_wait4(pid, status, options, usage, caller);
		rc = wait_for(pid, options, &pause);
		if (rc < 0)
			return gr_coop_fail(GR_CALL_WAITPID, rc);
	}
	return r;
}

pid_t waitpid(pid_t pid, int *status, int options)
{
	return do_wait4(pid, status, options, NULL, __builtin_return_address(0));
}

pid_t wait(int *status)
{
	return do_wait4(-1, status, 0, NULL, __builtin_return_address(0));
}

pid_t wait3(int *status, int options, struct rusage *usage)
{
	return do_wait4(-1, status, options, usage, __builtin_return_address(0));
}

pid_t wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
	return do_wait4(pid, status, options, usage, __builtin_return_address(0));
}

static int block_waitid(idtype_t type, id_t id, siginfo_t *info, int options, const void *caller)
{
	double since = gr_coop_block();
	int r = gr_next.waitid(type, id, info, options);

	gr_coop_blocked(GR_CALL_WAITPID, since, caller);
	return r;
}

int waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
	const void *caller = __builtin_return_address(0);
	pid_t pid = type == P_PID && !(options & (WSTOPPED | WCONTINUED)) ? (pid_t)id : -1;
	siginfo_t own = {0}, *out = info ? info : &own;
	double pause = 0;
	int rc;

	if (!gr_coop_here(GR_CALL_WAITPID) || (options & WNOHANG))
		return gr_next.waitid(type, id, info, options);
	for (;;) {
		memset(out, 0, sizeof(*out));
		rc = gr_next.waitid(type, id, out, options | WNOHANG);
		if (rc != 0 || out->si_pid != 0)
			return rc;
		if (!gr_coop_may_park())
			return block_waitid(type, id, info, options, caller);
		rc = wait_for(pid, 0, &pause);
		if (rc < 0)
			return gr_coop_fail(GR_CALL_WAITPID, rc);
	}
}
