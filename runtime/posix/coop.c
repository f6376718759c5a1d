/* SPDX-License-Identifier: MIT */
/* What the interposed functions have in common. */
#define _GNU_SOURCE
#include "posix/coop.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "core/hub.h"
#include "core/log.h"
#include "core/wait.h"
#include "posix/fdwait.h"

enum { REFUSED_MAX = 1000 };

struct gr_coop gr_coop;
__thread bool gr_coop_on;

const char *const gr_coop_names[GR_CALLS] = {
	[GR_CALL_READ] = "read",       [GR_CALL_WRITE] = "write",     [GR_CALL_RECV] = "recv",
	[GR_CALL_SEND] = "send",       [GR_CALL_SENDFILE] = "sendfile", [GR_CALL_CONNECT] = "connect",
	[GR_CALL_ACCEPT] = "accept",   [GR_CALL_POLL] = "poll",       [GR_CALL_SELECT] = "select",
	[GR_CALL_EPOLL] = "epoll_wait", [GR_CALL_SLEEP] = "sleep",     [GR_CALL_WAITPID] = "waitpid",
	[GR_CALL_FLOCK] = "flock",     [GR_CALL_LOCK] = "lock",       [GR_CALL_RESOLVE] = "getaddrinfo",
};

/* ---- On and off ---- */

void gr_coop_forked(void)
{
	if (!gr_coop_on || gr_coop.survives_fork)
		return;
	gr_coop_on = false;
	gr_coop.enabled = false;
	gr_green_forked();
	if (gr_coop.on_fork)
		gr_coop.on_fork();
}

void gr_coop_start(void)
{
	gr_coop_on = true;
	gr_coop.enabled = true;
	pthread_atfork(NULL, NULL, gr_coop_forked);
}

bool gr_coop_foreign(enum gr_call call)
{
	if (gr_coop.enabled)
		__atomic_fetch_add(&gr_coop.count[call].foreign, 1, __ATOMIC_RELAXED);
	return false;
}

bool gr_coop_may_park(void)
{
	return gr_coop.refuse == NULL || gr_coop.refuse() == NULL;
}

/* ---- Calls that block for real ---- */

static void describe(char *text, size_t size, const void *caller)
{
	Dl_info info;
	const char *name;

	if (gr_on_green() && gr_coop.site && gr_coop.site(text, size))
		return;
	if (!dladdr(caller, &info) || info.dli_fname == NULL)
		info.dli_fname = "libluajit"; /* code that it has compiled */
	name = strrchr(info.dli_fname, '/');
	name = name ? name + 1 : info.dli_fname;
	snprintf(text, size, "%s", strncmp(name, "libluajit", 9) == 0 ? "FFI call" : name);
}

static struct gr_coop_site *site_of(enum gr_call call, const void *caller)
{
	struct gr_coop_site *site;
	char where[sizeof(site->where)];

	describe(where, sizeof(where), caller);
	for (int i = 0; i < gr_coop.nsites; i++) {
		site = &gr_coop.sites[i];
		if (site->call == call && strcmp(site->where, where) == 0)
			return site;
	}
	if (gr_coop.nsites == GR_COOP_SITES) {
		site = &gr_coop.sites[GR_COOP_SITES - 1];
		snprintf(site->where, sizeof(site->where), "elsewhere");
		return site;
	}
	site = &gr_coop.sites[gr_coop.nsites++];
	site->call = call;
	memcpy(site->where, where, sizeof(where));
	return site;
}

double gr_coop_block(void)
{
	return gr_now();
}

void gr_coop_blocked(enum gr_call call, double since, const void *caller)
{
	int saved = errno;
	double seconds = gr_now() - since;
	struct gr_coop_site *site = site_of(call, caller);

	gr_coop.count[call].blocked++;
	gr_coop.count[call].seconds += seconds;
	site->count++;
	site->seconds += seconds;
	errno = saved;
}

/* ---- Cancel and deadline ---- */

static void report_retries(void)
{
	static bool reported;
	void *frames[32];

	if (reported)
		return;
	reported = true;
	gr_log(GR_LOG_WARN,
	       "thread #%llu is cancelled, but a C library has repeated its call %d times; it really waits from now on:",
	       (unsigned long long)gr_current->id, REFUSED_MAX);
	if (gr_log_level >= GR_LOG_WARN)
		backtrace_symbols_fd(frames, backtrace(frames, 32), STDERR_FILENO);
}

bool gr_coop_stubborn(void)
{
	return gr_current->refused >= REFUSED_MAX;
}

void gr_coop_refused(enum gr_call call)
{
	gr_coop.count[call].refused++;
	if (++gr_current->refused == REFUSED_MAX)
		report_retries();
}

int gr_coop_fail(enum gr_call call, int rc)
{
	if (rc == GR_CANCELED || rc == GR_DEADLINE) {
		gr_coop_refused(call);
		errno = ECANCELED;
	} else {
		errno = rc > -4096 ? -rc : EINVAL;
	}
	return -1;
}

/* ---- Waiting ---- */

int gr_coop_sleep(enum gr_call call, double until)
{
	int rc;

	gr_coop.count[call].parked++;
	if (gr_coop_stubborn())
		rc = gr_wait_stubborn(until, gr_coop_names[call]);
	else
		rc = gr_wait(until, gr_coop_names[call]);
	return rc == GR_TIMEOUT ? 0 : rc;
}

int gr_coop_pause(enum gr_call call, double *pause, double until)
{
	double end;

	*pause = *pause == 0 ? 0.0005 : fmin(*pause * 2, 0.01);
	end = gr_until(*pause);
	return gr_coop_sleep(call, end < until ? end : until);
}

int gr_coop_wait(enum gr_call call, const struct pollfd *fds, nfds_t n, double until, int *closed)
{
	struct gr_fdwait wait = {.until = until, .stubborn = gr_coop_stubborn(), .what = gr_coop_names[call]};
	int rc;

	gr_coop.count[call].parked++;
	rc = gr_fdwait(&wait, fds, n);
	if (closed)
		*closed = wait.closed;
	return rc;
}

/* When a call on that socket has to give up, from SO_RCVTIMEO or SO_SNDTIMEO. */
static double limit_of(const struct gr_coop_op *op)
{
	struct timeval t = {0};
	socklen_t len = sizeof(t);

	if (op->timeout_option == 0 || getsockopt(op->fd, SOL_SOCKET, op->timeout_option, &t, &len) < 0)
		return INFINITY;
	if (t.tv_sec == 0 && t.tv_usec == 0)
		return INFINITY;
	return gr_until((double)t.tv_sec + (double)t.tv_usec * 1e-6);
}

enum gr_coop_then gr_coop_again(struct gr_coop_op *op)
{
	struct pollfd p = {.fd = op->fd, .events = op->events};
	int flags = fcntl(op->fd, F_GETFL), rc;

	if (flags < 0)
		return GR_COOP_FAIL;
	if (flags & O_NONBLOCK) {
		errno = EAGAIN;
		return GR_COOP_FAIL;
	}
	if (!gr_coop_may_park())
		return GR_COOP_BLOCK;
	if (op->until == 0)
		op->until = limit_of(op);
	rc = gr_coop_wait(op->call, &p, 1, op->until, NULL);
	if (rc == 0)
		return GR_COOP_AGAIN;
	if (rc == GR_TIMEOUT)
		errno = EAGAIN;
	else
		gr_coop_fail(op->call, rc);
	return GR_COOP_FAIL;
}
