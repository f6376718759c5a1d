/* SPDX-License-Identifier: MIT */
/* What a master and its worker processes share: a page of figures, and the switch that ends a worker whose loop is stuck. */
#ifndef GR_POSIX_WORKER_H
#define GR_POSIX_WORKER_H

#include <stdbool.h>
#include <stdint.h>

enum { GR_BOARD_ENTRIES = 1024 };

/* Of one worker; a cache line, since only that worker writes it while it runs. */
struct gr_board_entry {
	uint32_t serving;   /* connections that it has accepted and that are open */
	uint32_t accepting; /* it takes connections */
	double beat;        /* monotonic seconds: when its loop has last turned, as far as it said */
	char room[48];
};

/* Makes the board, all zeros. Returns its descriptor (closing on exec), or a negative errno. */
int gr_board_create(void);

/* The same from a descriptor that the master has made. Returns 0 or a negative errno. */
int gr_board_open(int fd);

/* One of GR_BOARD_ENTRIES; NULL before one of the two above. */
struct gr_board_entry *gr_board_at(unsigned index);

/* This process is the worker of that entry: its connections count there, and while it has clearly more of them than the
 * others have on average, it lets those go first (see net/listener.h). */
void gr_board_join(unsigned index);

/* It takes connections, or no longer does. */
void gr_board_accept(bool on);

/* Unless called again within `seconds`, the process is stuck: it gets SIGABRT, which is reported on stderr with the
 * thread that ran, and SIGKILL a second later, even while it is stopped. 0 switches that off. Returns 0 or a negative
 * errno. */
int gr_worker_beat(double seconds);

#endif
