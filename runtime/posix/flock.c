/* SPDX-License-Identifier: MIT */
/* Locks of files: nothing tells when one comes free, so they are tried again and again. */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <sys/file.h>
#include <unistd.h>

#include "posix/coop.h"
#include "posix/next.h"

/* The next try is due: 0; 1: block instead; -1 with errno. */
static int before_retry(double *pause)
{
	int rc;

	if (!gr_coop_may_park())
		return 1;
	rc = gr_coop_pause(GR_CALL_FLOCK, pause, INFINITY);
	return rc < 0 ? gr_coop_fail(GR_CALL_FLOCK, rc) : 0;
}

int flock(int fd, int operation)
{
	const void *caller = __builtin_return_address(0);
	double pause = 0, since;
	int r, then;

	if (!gr_coop_here(GR_CALL_FLOCK) || (operation & LOCK_NB))
		return gr_next.flock(fd, operation);
	while ((r = gr_next.flock(fd, operation | LOCK_NB)) < 0 && errno == EWOULDBLOCK) {
		then = before_retry(&pause);
		if (then < 0)
			return -1;
		if (then == 0)
			continue;
		since = gr_coop_block();
		r = gr_next.flock(fd, operation);
		gr_coop_blocked(GR_CALL_FLOCK, since, caller);
		return r;
	}
	return r;
}

static int do_lockf(int fd, int operation, off_t size, const void *caller)
{
	double pause = 0, since;
	int r, then;

	if (!gr_coop_here(GR_CALL_FLOCK) || operation != F_LOCK)
		return gr_next.lockf(fd, operation, size);
	while ((r = gr_next.lockf(fd, F_TLOCK, size)) < 0 && (errno == EACCES || errno == EAGAIN)) {
		then = before_retry(&pause);
		if (then < 0)
			return -1;
		if (then == 0)
			continue;
		since = gr_coop_block();
		r = gr_next.lockf(fd, operation, size);
		gr_coop_blocked(GR_CALL_FLOCK, since, caller);
		return r;
	}
	return r;
}

int lockf(int fd, int operation, off_t size)
{
	return do_lockf(fd, operation, size, __builtin_return_address(0));
}

int lockf64(int fd, int operation, off64_t size)
{
	return do_lockf(fd, operation, size, __builtin_return_address(0));
}
