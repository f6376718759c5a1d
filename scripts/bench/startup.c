/* SPDX-License-Identifier: MIT */
/* Compares how long two commands take from start to exit: runs them in turn (A B A B ...), output discarded.
 *
 * Alone: cc -O2 -o startup scripts/bench/startup.c && ./startup RUNS A [args...] -- B [args...]
 * Prints the two medians in microseconds and the median of the ratios of neighbouring runs. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static posix_spawn_file_actions_t no_output;

static void fail(const char *what, const char *detail)
{
	fprintf(stderr, "startup: %s: %s\n", what, detail);
	exit(1);
}

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

static double time_run(char **command)
{
	double start = now_us();
	int status, rc;
	pid_t pid;

	rc = posix_spawnp(&pid, command[0], &no_output, NULL, command, environ);
	if (rc != 0)
		fail(command[0], strerror(rc));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			fail("waitpid", strerror(errno));
	if (status != 0)
		fail(command[0], "did not exit with status 0");
	return now_us() - start;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int n)
{
	qsort(values, n, sizeof *values, ascending);
	return values[n / 2];
}

int main(int argc, char **argv)
{
	int runs = argc > 1 ? atoi(argv[1]) : 0, middle = 3;
	double *a, *b, *ratio;

	while (middle < argc && strcmp(argv[middle], "--") != 0)
		middle++;
	if (runs <= 0 || middle + 1 >= argc)
		fail("usage", "startup RUNS A [args...] -- B [args...]");
	argv[middle] = NULL;
	posix_spawn_file_actions_init(&no_output);
	posix_spawn_file_actions_addopen(&no_output, 1, "/dev/null", O_WRONLY, 0);
	a = calloc(3 * runs, sizeof *a);
	if (!a)
		fail("calloc", strerror(errno));
	b = a + runs;
	ratio = b + runs;
	for (int i = 0; i < runs; i++) {
		a[i] = time_run(argv + 2);
		b[i] = time_run(argv + middle + 1);
		ratio[i] = a[i] / b[i];
	}
	printf("a_us=%.1f b_us=%.1f ratio=%.3f\n", median(a, runs), median(b, runs), median(ratio, runs));
	free(a);
	return 0;
}
