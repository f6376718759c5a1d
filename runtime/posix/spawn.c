/* SPDX-License-Identifier: MIT */
/* Starting a program: clone as vfork(2) does it, so that nothing of our memory is copied and no fork handler runs. */
#define _GNU_SOURCE
#include "posix/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <paths.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STACK = 32 << 10, STANDARD = 3 };

/* Shared by both sides: the child runs in our memory while we stand still, until it executes the program or ends. */
struct launch {
	const struct gr_spawn *how;
	const char *const *envp;
	char *paths; /* candidates for execve, one after the other, each with its 0; an empty one ends them */
	enum gr_spawn_step step;
	int error; /* 0 = the program runs */
};

/* ---- In the child: only system calls; nothing that allocates, locks or is told to the sanitizers ---- */

#define IN_CHILD __attribute__((no_sanitize("address", "undefined")))

/* A signal must not run our handlers here. Ignored ones stay so over execve, which is right for SIGHUP below nohup, but
 * libraries of ours that ignore SIGPIPE do not speak for the child. */
IN_CHILD static void reset_signals(void)
{
	struct sigaction action;
	sigset_t none;

	for (int i = 1; i < NSIG; i++) {
		if (sigaction(i, NULL, &action) < 0 || action.sa_handler == SIG_DFL ||
		    (action.sa_handler == SIG_IGN && i != SIGPIPE))
			continue;
		action.sa_handler = SIG_DFL;
		action.sa_flags = 0;
		sigaction(i, &action, NULL);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* A copy where it is not overwritten. */
IN_CHILD static int lift(int fd, int first_free)
{
	if (fd == GR_SPAWN_NULL)
		fd = open(_PATH_DEVNULL, O_RDWR | O_CLOEXEC);
	return fd < first_free ? fcntl(fd, F_DUPFD_CLOEXEC, first_free) : fd;
}

/* One of our standard files that is closed stays closed. */
IN_CHILD static int install_files(const struct gr_spawn *how)
{
	int from[STANDARD + GR_SPAWN_MORE], n = STANDARD + how->nmore;

	for (int i = 0; i < n; i++) {
		int fd = i < STANDARD ? how->fds[i] : how->more_fds[i - STANDARD];

		from[i] = lift(fd, n);
		if (from[i] < 0 && !(errno == EBADF && fd == i))
			return -1;
	}
	for (int i = 0; i < n; i++)
		if (from[i] >= 0 && dup2(from[i], i) < 0)
			return -1;
	return how->keep_fds ? 0 : close_range((unsigned)n, ~0U, 0);
}

IN_CHILD static int set_group(const struct gr_spawn *how)
{
	if (how->new_session)
		return setsid() < 0 ? -1 : 0;
	return how->new_group ? setpgid(0, 0) : 0;
}

/* The first candidate that is there decides, except that a file one may not execute does not hide a later one. */
IN_CHILD static int execute(const struct launch *l)
{
	int error = ENOENT;

	for (const char *path = l->paths; *path; path += strlen(path) + 1) {
		execve(path, (char *const *)l->how->argv, (char *const *)l->envp);
		if (errno == EACCES)
			error = EACCES;
		else if (errno != ENOENT && errno != ENOTDIR && errno != ESTALE && errno != ENODEV &&
			 errno != ETIMEDOUT)
			return errno;
	}
	return error;
}

IN_CHILD static int prepare(struct launch *l)
{
	l->step = GR_SPAWN_FILES;
	if (install_files(l->how) < 0)
		return errno;
	l->step = GR_SPAWN_GROUP;
	if (set_group(l->how) < 0)
		return errno;
	l->step = GR_SPAWN_CWD;
	return l->how->cwd && chdir(l->how->cwd) < 0 ? errno : 0;
}

IN_CHILD static int run_child(void *argument)
{
	struct launch *l = argument;

	reset_signals();
	l->error = prepare(l);
	if (l->error == 0) {
		l->step = GR_SPAWN_EXEC;
		l->error = execute(l);
	}
	_exit(127);
}

/* ---- In the parent ---- */

static const char *find_variable(const char *const *envp, const char *name)
{
	size_t n = strlen(name);

	for (; *envp; envp++)
		if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=')
			return *envp + n + 1;
	return NULL;
}

/* Every place to look for the program; empty elements of PATH are the current directory. */
static char *list_candidates(const char *program, const char *path)
{
	size_t len = strlen(program), n = 1;
	char *list, *out;

	for (const char *p = path; *p; p++)
		n += *p == ':';
	list = out = malloc(strlen(path) + n * (len + 3) + 1);
	while (list && n-- > 0) {
		size_t dir = strcspn(path, ":");

		out = stpcpy(mempcpy(out, dir ? path : ".", dir ? dir : 1), "/");
		out = stpcpy(out, program) + 1;
		path += dir + 1;
	}
	if (list)
		*out = '\0';
	return list;
}

static char *find_candidates(const struct launch *l)
{
	const char *program = l->how->program ? l->how->program : l->how->argv[0], *path;
	char *list;

	if (*program && strchr(program, '/') == NULL) {
		path = find_variable(l->envp, "PATH");
		if (path == NULL)
			path = getenv("PATH");
		return list_candidates(program, path ? path : _PATH_DEFPATH);
	}
	list = calloc(1, strlen(program) + 2);
	return list ? strcpy(list, program) : NULL;
}

/* With SIGCHLD ignored, as some parents leave it, the kernel throws every status away. */
static void keep_statuses(void)
{
	struct sigaction action;

	if (sigaction(SIGCHLD, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
		signal(SIGCHLD, SIG_DFL);
}

/* CLONE_VFORK: returns when the child has executed the program or ended. */
static int launch(struct launch *l, char *stack, pid_t *pid, int *pidfd)
{
	int flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD;
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	*pid = clone(run_child, stack + STACK, flags, l, pidfd);
	if (*pid < 0)
		l->error = errno;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (*pid > 0 && l->error) {
		siginfo_t info;

		waitid(P_PIDFD, (id_t)*pidfd, &info, WEXITED);
		close(*pidfd);
	}
	return -l->error;
}

int gr_spawn_start(const struct gr_spawn *how, pid_t *pid, int *pidfd)
{
	struct launch l = {.how = how, .envp = how->envp ? how->envp : (const char *const *)environ};
	char *stack = malloc(STACK);
	int rc = -ENOMEM;

	l.paths = find_candidates(&l);
	if (stack && l.paths) {
		keep_statuses();
		rc = launch(&l, stack, pid, pidfd);
	}
	if (rc < 0 && how->failed)
		*how->failed = l.step;
	free(l.paths);
	free(stack);
	return rc;
}
