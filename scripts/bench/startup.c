/* SPDX-License-Identifier: MIT */
/* How long a command takes from start to exit: runs it RUNS times, output discarded, and prints the median and the least in
 * microseconds.
 *
 * Alone: cc -O2 -o startup scripts/bench/startup.c && ./startup RUNS COMMAND [args...] */
#include "bench.h"
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

static posix_spawn_file_actions_t no_output;

static uint32_t time_run(char **command)
{
	uint64_t start = now_ns(CLOCK_MONOTONIC);
	int status;
	pid_t pid;

	errno = posix_spawnp(&pid, command[0], &no_output, NULL, command, environ);
	if (errno)
		die(command[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid");
	if (status != 0)
		fail("the command did not exit with status 0");
	return now_ns(CLOCK_MONOTONIC) - start;
}

int main(int argc, char **argv)
{
	int runs = argc > 1 ? atoi(argv[1]) : 0;
	uint32_t *times = runs > 0 ? calloc(runs, sizeof *times) : NULL;

	if (!times || argc < 3)
		fail("usage: startup RUNS COMMAND [args...]");
	posix_spawn_file_actions_init(&no_output);
	posix_spawn_file_actions_addopen(&no_output, 1, "/dev/null", O_WRONLY, 0);
	for (int i = 0; i < runs; i++)
		times[i] = time_run(argv + 2);
	qsort(times, runs, sizeof *times, ascending);
	printf("start_us=%.1f least_us=%.1f\n", times[runs / 2] / 1e3, times[0] / 1e3);
	return 0;
}
