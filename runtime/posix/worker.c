/* SPDX-License-Identifier: MIT */
/* What a master and its workers share. */
#define _GNU_SOURCE
#include "posix/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "core/hub.h"
#include "net/listener.h"
#include "net/stream.h"

/* ---- The board ---- */

/* Connections that a worker may have more than the mean: so many, and one more for each of `SHARE` of the mean. */
enum { SLACK = 2, SHARE = 32 };

static const size_t SIZE = GR_BOARD_ENTRIES * sizeof(struct gr_board_entry);

static struct gr_board_entry *board, *mine;
static unsigned used; /* entries up to here are looked at */

int gr_board_open(int fd)
{
	void *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	board = p;
	return 0;
}

int gr_board_create(void)
{
	int fd = memfd_create("grun workers", MFD_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	rc = ftruncate(fd, (off_t)SIZE) < 0 ? -errno : gr_board_open(fd);
	if (rc < 0)
		close(fd);
	return rc < 0 ? rc : fd;
}

struct gr_board_entry *gr_board_at(unsigned index)
{
	return board && index < GR_BOARD_ENTRIES ? &board[index] : NULL;
}

/* Entries are given out from the first on, so those in use are together, but for gaps. */
static void sum_up(uint64_t *serving, unsigned *workers)
{
	unsigned last = 0;

	*serving = *workers = 0;
	for (unsigned i = 0; i < used; i++) {
		if (!__atomic_load_n(&board[i].accepting, __ATOMIC_RELAXED))
			continue;
		*serving += __atomic_load_n(&board[i].serving, __ATOMIC_RELAXED);
		++*workers;
		last = i;
	}
	/* Workers that come later may have the entries after it. */
	used = 2 * last + 16 < GR_BOARD_ENTRIES ? 2 * last + 16 : GR_BOARD_ENTRIES;
}

static bool has_most(void)
{
	uint64_t serving;
	unsigned workers;

	/* The others' figures matter only to who has several. */
	if (mine->serving <= SLACK)
		return false;
	sum_up(&serving, &workers);
	return workers > 1 && (uint64_t)mine->serving * workers > serving + serving / SHARE + SLACK * workers;
}

void gr_board_join(unsigned index)
{
	mine = gr_board_at(index);
	used = GR_BOARD_ENTRIES;
	mine->serving = *gr_stream_serving;
	gr_stream_serving = &mine->serving;
	gr_listener_is_polite = has_most;
}

void gr_board_accept(bool on)
{
	if (mine)
		__atomic_store_n(&mine->accepting, on, __ATOMIC_RELAXED);
}

/* ---- The switch ---- */

static struct {
	timer_t abort, kill;
	bool set;
} timers;

/* On the alternate stack. Raised again, it ends the process. */
static void on_abort(int number, siginfo_t *info, void *context)
{
	(void)context;
	if (info->si_code == SI_TIMER)
		gr_hub_report("stuck");
	signal(number, SIG_DFL);
	raise(number);
}

static int make_timers(void)
{
	struct sigaction action = {.sa_sigaction = on_abort, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGABRT};

	sigemptyset(&action.sa_mask);
	if (sigaction(SIGABRT, &action, NULL) < 0 || timer_create(CLOCK_MONOTONIC, &event, &timers.abort) < 0)
		return -errno;
	event.sigev_signo = SIGKILL;
	if (timer_create(CLOCK_MONOTONIC, &event, &timers.kill) < 0)
		return -errno;
	timers.set = true;
	return 0;
}

static int arm(timer_t timer, double seconds)
{
	struct itimerspec spec = {.it_value = {.tv_sec = (time_t)seconds}};

	spec.it_value.tv_nsec = (long)((seconds - floor(seconds)) * 1e9);
	return timer_settime(timer, 0, &spec, NULL) < 0 ? -errno : 0;
}

int gr_worker_beat(double seconds)
{
	int rc = timers.set || seconds == 0 ? 0 : make_timers();

	if (mine)
		mine->beat = gr_now();
	if (rc == 0 && timers.set)
		rc = arm(timers.abort, seconds);
	if (rc == 0 && timers.set)
		rc = arm(timers.kill, seconds > 0 ? seconds + 1 : 0);
	return rc;
}
