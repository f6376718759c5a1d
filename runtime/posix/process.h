/* SPDX-License-Identifier: MIT */
/* Child processes: starting them without fork(2)'s copies, and their ends, learnt through pidfds and never by SIGCHLD. */
#ifndef GR_POSIX_PROCESS_H
#define GR_POSIX_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

/* What could not be done for a child that did not start. */
enum gr_spawn_step {
	GR_SPAWN_PROCESS, /* making a process */
	GR_SPAWN_FILES,   /* its standard files */
	GR_SPAWN_GROUP,   /* its session or process group */
	GR_SPAWN_CWD,     /* changing to its directory */
	GR_SPAWN_EXEC,    /* running the program */
};

enum {
	GR_SPAWN_NULL = -1, /* in place of a descriptor: /dev/null */
	GR_SPAWN_MORE = 64, /* descriptors besides the standard ones, at most */
};

struct gr_spawn {
	const char *const
		*argv; /* ends with NULL; argv[0] is looked for in PATH (the child's, else ours) if it has no slash */
	const char *const *envp; /* ends with NULL; NULL: our environment */
	const char *program;     /* what is executed in place of argv[0], a path; NULL: argv[0] */
	const char *cwd;         /* NULL: ours. A relative program with a slash starts from here */
	int fds[3];              /* what becomes the child's 0, 1 and 2: our descriptors, or GR_SPAWN_NULL */
	const int *more_fds;     /* what becomes its 3, 4, … */
	int nmore;
	bool keep_fds;    /* it also inherits what is not close-on-exec, as with system(3); else only those three */
	bool new_group;   /* its own process group … */
	bool new_session; /* … or session, which has no terminal */
	enum gr_spawn_step *failed; /* filled in on failure, unless NULL */
};

/* A child. It counts its owners, and is one itself until the child has ended and was reaped: children that nobody waits
 * for become no zombies. Other libraries' children are never touched. */
struct gr_process;

/* Starts a program, with every signal at its default (ignored ones stay ignored, except SIGPIPE) and none blocked. Returns
 * 0 and in *out what gr_process_free gives back, or a negative errno: also when the program cannot be executed or the
 * directory is not there. Does not park; the hub's thread stands still until the program is loaded. */
int gr_process_spawn(const struct gr_spawn *how, struct gr_process **out);

/* Takes on a child that was not started by us, see fork.h. Returns 0 and what gr_process_free gives back, or a negative
 * errno: -ECHILD when it is no child of ours. */
int gr_process_adopt(pid_t pid, struct gr_process **out);

/* What runs `command` in /bin/sh with our three standard files, as system(3) and popen(3) do: set argv to this. */
#define GR_SHELL(command) ((const char *const[]){"/bin/sh", "-c", (command), NULL})

/* Gives back the caller's share. The child runs on. */
void gr_process_free(struct gr_process *p);

pid_t gr_process_pid(const struct gr_process *p);

/* True if it has ended: its status as waitpid(2) gives it, or a negative errno in *status if somebody else has taken it
 * (-ECHILD). Never parks. */
bool gr_process_ended(struct gr_process *p, int *status);

/* Waits for the end; any number of threads may, and again afterwards. Returns 0 and the status as waitpid(2) gives it,
 * -ECHILD (see above), -ENOMEM or what a wait returns. Parks. */
int gr_process_wait(struct gr_process *p, double until, int *status);

/* The same where nothing can park: the whole OS thread stands still. Returns 0 or -ECHILD. */
int gr_process_wait_blocking(struct gr_process *p, int *status);

/* For waiting for several things at once, as gr_io_subscribe: the end wakes the current thread with 0. Never fails when
 * the child has ended. Returns 0 or -ENOMEM. */
int gr_process_subscribe(struct gr_process *p);
void gr_process_unsubscribe(struct gr_process *p);

/* Sends a signal: to its whole group if it has its own (even after its own end), else to it alone. Returns 0 or a negative
 * errno: -ESRCH when it has ended. */
int gr_process_kill(struct gr_process *p, int signal);

/* system(3): runs the command in /bin/sh and waits. A wait that ends early sends the shell SIGTERM and does not wait for
 * its end. Unlike libc's it does not make us ignore SIGINT and SIGQUIT meanwhile, since other threads go on. Returns 0 and
 * the status as waitpid(2) gives it, or what gr_process_spawn and gr_process_wait return. Parks. */
int gr_process_system(const char *command, double until, int *status);

#endif
