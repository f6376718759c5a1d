/* SPDX-License-Identifier: MIT */
/* Programs that C libraries run: system, popen and pclose. And exit, which ends ours. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/wait.h"
#include "posix/coop.h"
#include "posix/next.h"
#include "posix/process.h"

/* ---- system ---- */

static int block_system(const char *command, const void *caller)
{
	double since = gr_coop_block();
	int r = gr_next.system(command);

	gr_coop_blocked(GR_CALL_WAITPID, since, caller);
	return r;
}

int system(const char *command)
{
	int status = 0, rc;

	if (!gr_coop_here(GR_CALL_WAITPID) || command == NULL)
		return gr_next.system(command);
	if (!gr_coop_may_park() || gr_coop_stubborn())
		return block_system(command, __builtin_return_address(0));
	rc = gr_check();
	if (rc == 0) {
		gr_coop.count[GR_CALL_WAITPID].parked++;
		rc = gr_process_system(command, INFINITY, &status);
	}
	return rc < 0 ? gr_coop_fail(GR_CALL_WAITPID, rc) : status;
}

/* ---- popen ---- */

/* A FILE and its program. Belongs to the loop's thread. */
struct program {
	struct program *next;
	FILE *fp;
	struct gr_process *process;
};

static struct program *programs;

static struct program *forget(FILE *fp)
{
	struct program **link = &programs, *p;

	while (*link && (*link)->fp != fp)
		link = &(*link)->next;
	p = *link;
	if (p)
		*link = p->next;
	return p;
}

static void free_program(struct program *p)
{
	if (p)
		gr_process_free(p->process);
	free(p);
}

/* Only r and w, one of them; e is what all of ours are: closed in other programs. */
static bool is_mode(const char *mode)
{
	return mode[strspn(mode, "rwe")] == '\0' && (strchr(mode, 'r') != NULL) != (strchr(mode, 'w') != NULL);
}

/* Starts the command with one end of a new pipe. Returns our end, a descriptor, or a negative errno. */
static int start(const char *command, bool reads, struct gr_process **process)
{
	struct gr_spawn how = {.argv = GR_SHELL(command), .fds = {0, 1, 2}, .keep_fds = true};
	int fds[2], rc;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	how.fds[reads] = fds[reads];
	rc = gr_process_spawn(&how, process);
	close(fds[reads]);
	if (rc < 0)
		close(fds[!reads]);
	return rc < 0 ? rc : fds[!reads];
}

static FILE *open_program(struct program *p, const char *command, const char *mode)
{
	bool reads = strchr(mode, 'r') != NULL;
	int fd = start(command, reads, &p->process);

	if (fd < 0) {
		errno = -fd;
		return NULL;
	}
	p->fp = fdopen(fd, reads ? "r" : "w");
	if (p->fp == NULL) {
		close(fd);
		gr_process_free(p->process);
		return NULL;
	}
	/* Somebody has closed that one with fclose. */
	free_program(forget(p->fp));
	p->next = programs;
	programs = p;
	return p->fp;
}

/* Never parks; reading and writing the FILE blocks, as stdio does. */
FILE *popen(const char *command, const char *mode)
{
	struct program *p;
	FILE *fp;

	if (!gr_coop_here(GR_CALL_WAITPID) || !is_mode(mode))
		return gr_next.popen(command, mode);
	p = calloc(1, sizeof(*p));
	fp = p ? open_program(p, command, mode) : NULL;
	if (fp == NULL)
		free(p);
	return fp;
}

static int await(struct gr_process *process, const void *caller)
{
	int status = 0, rc;
	double since;

	if (gr_process_ended(process, &status)) {
		rc = status < 0 ? status : 0;
	} else if (gr_coop_here(GR_CALL_WAITPID) && gr_coop_may_park() && !gr_coop_stubborn()) {
		gr_coop.count[GR_CALL_WAITPID].parked++;
		rc = gr_process_wait(process, INFINITY, &status);
	} else {
		since = gr_coop_block();
		rc = gr_process_wait_blocking(process, &status);
		gr_coop_blocked(GR_CALL_WAITPID, since, caller);
	}
	return rc < 0 ? gr_coop_fail(GR_CALL_WAITPID, rc) : status;
}

/* Another OS thread gets 0 for a program of ours, as libc gives it for any FILE. A cancelled thread does not wait for the
 * program, which has lost its pipe. */
int pclose(FILE *fp)
{
	struct program *p = gr_coop_on ? forget(fp) : NULL;
	int r;

	if (p == NULL)
		return gr_next.pclose(fp);
	fclose(fp);
	r = await(p->process, __builtin_return_address(0));
	free_program(p);
	return r;
}

/* ---- exit ---- */

/* Nothing parks any more: exit handlers of libraries would let other threads run in a process that ends. */
void exit(int status)
{
	gr_coop_on = false;
	gr_next.exit(status);
	__builtin_unreachable();
}
