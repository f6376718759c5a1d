/* SPDX-License-Identifier: MIT */
/* Child processes: their ends. */
#define _GNU_SOURCE
#include "posix/process.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/hub.h"
#include "core/wait.h"
#include "posix/spawn.h"

/* A thread that waits for the end. */
struct waiter {
	struct gr_green *green;
	struct waiter *next;
};

struct gr_process {
	ev_io ev; /* on the pidfd; active until the child is reaped */
	pid_t pid;
	bool ended, leads; /* leads: it has a group of its own */
	int status;        /* once ended; negative errno: unknown */
	int owners;
	struct waiter *waiters;
};

void gr_process_free(struct gr_process *p)
{
	if (--p->owners == 0)
		free(p);
}

pid_t gr_process_pid(const struct gr_process *p)
{
	return p->pid;
}

/* ---- The end ---- */

/* As waitpid(2) would have given it. */
static int make_status(const siginfo_t *info)
{
	if (info->si_code == CLD_EXITED)
		return W_EXITCODE(info->si_status, 0);
	return W_EXITCODE(0, info->si_status) | (info->si_code == CLD_DUMPED ? WCOREFLAG : 0);
}

static void settle(struct gr_process *p, int status)
{
	p->status = status;
	p->ended = true;
	ev_io_stop(gr_hub.loop, &p->ev);
	close(p->ev.fd);
	for (const struct waiter *w = p->waiters; w; w = w->next)
		gr_wake(w->green, 0);
	gr_process_free(p);
}

/* Takes the status if there is one. May give back the last share. */
static void reap(struct gr_process *p, int flags)
{
	siginfo_t info = {.si_pid = 0};
	int rc;

	do
		rc = waitid(P_PIDFD, (id_t)p->ev.fd, &info, WEXITED | flags);
	while (rc < 0 && errno == EINTR);
	if (rc < 0)
		settle(p, -errno);
	else if (info.si_pid)
		settle(p, make_status(&info));
}

static void on_end(struct ev_loop *loop, ev_io *ev, int revents)
{
	(void)loop;
	(void)revents;
	reap((struct gr_process *)(void *)((char *)ev - offsetof(struct gr_process, ev)), WNOHANG);
}

bool gr_process_ended(struct gr_process *p, int *status)
{
	if (!p->ended)
		reap(p, WNOHANG);
	*status = p->status;
	return p->ended;
}

/* ---- Starting ---- */

static void attend(struct gr_process *p, int pidfd)
{
	p->owners = 2; /* the caller, and the child until it is reaped */
	ev_io_init(&p->ev, on_end, pidfd, EV_READ);
	ev_io_start(gr_hub.loop, &p->ev);
}

int gr_process_spawn(const struct gr_spawn *how, struct gr_process **out)
{
	struct gr_process *p = calloc(1, sizeof(*p));
	int fd = -1, rc;

	if (how->failed)
		*how->failed = GR_SPAWN_PROCESS;
	if (p == NULL)
		return -ENOMEM;
	rc = gr_spawn_start(how, &p->pid, &fd);
	if (rc < 0) {
		free(p);
		return rc;
	}
	p->leads = how->new_group || how->new_session;
	attend(p, fd);
	*out = p;
	return 0;
}

static bool is_child(int pidfd)
{
	siginfo_t info;

	return waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

int gr_process_adopt(pid_t pid, struct gr_process **out)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0), rc = 0;
	struct gr_process *p = NULL;

	if (fd < 0)
		return -errno;
	if (!is_child(fd))
		rc = -ECHILD;
	else if ((p = calloc(1, sizeof(*p))) == NULL)
		rc = -ENOMEM;
	if (rc < 0) {
		close(fd);
		return rc;
	}
	p->pid = pid;
	attend(p, fd);
	*out = p;
	return 0;
}

/* ---- Waiting ---- */

int gr_process_subscribe(struct gr_process *p)
{
	struct waiter *w = malloc(sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	w->green = gr_current;
	w->next = p->waiters;
	p->waiters = w;
	gr_hub.sources++;
	return 0;
}

void gr_process_unsubscribe(struct gr_process *p)
{
	struct waiter **link = &p->waiters, *w;

	while (*link && (*link)->green != gr_current)
		link = &(*link)->next;
	w = *link;
	if (w == NULL)
		return;
	*link = w->next;
	free(w);
	gr_hub.sources--;
}

static int result(const struct gr_process *p, int *status)
{
	*status = p->status;
	return p->status < 0 ? p->status : 0;
}

static int await_end(struct gr_process *p, double until)
{
	int rc = 0;

	while (rc == 0 && !p->ended) {
		rc = gr_process_subscribe(p);
		if (rc < 0)
			return rc;
		rc = gr_wait(until, "process.wait");
		gr_process_unsubscribe(p);
	}
	return p->ended ? 0 : rc;
}

int gr_process_wait(struct gr_process *p, double until, int *status)
{
	int rc = 0;

	if (!gr_process_ended(p, status))
		rc = until > 0 ? await_end(p, until) : GR_TIMEOUT;
	return rc < 0 ? rc : result(p, status);
}

int gr_process_wait_blocking(struct gr_process *p, int *status)
{
	if (!p->ended)
		reap(p, 0);
	return result(p, status);
}

int gr_process_kill(struct gr_process *p, int number)
{
	int status;

	/* A reaped child's pid may be another process's by now; a group's is not while it has members. */
	if (!p->leads && gr_process_ended(p, &status))
		return -ESRCH;
	return kill(p->leads ? -p->pid : p->pid, number) < 0 ? -errno : 0;
}

/* ---- The shell ---- */

int gr_process_system(const char *command, double until, int *status)
{
	struct gr_spawn how = {.argv = GR_SHELL(command), .fds = {0, 1, 2}, .keep_fds = true};
	struct gr_process *p;
	int rc = gr_process_spawn(&how, &p);

	if (rc < 0)
		return rc;
	rc = gr_process_wait(p, until, status);
	if (rc < 0)
		gr_process_kill(p, SIGTERM);
	gr_process_free(p);
	return rc;
}
