/* SPDX-License-Identifier: MIT */
/* The step from our process to a running program; process.h is what others use. */
#ifndef GR_POSIX_SPAWN_H
#define GR_POSIX_SPAWN_H

#include "posix/process.h"

/* Starts the program. Returns 0, the pid and a pidfd, which is the caller's; or a negative errno. */
int gr_spawn_start(const struct gr_spawn *how, pid_t *pid, int *pidfd);

#endif
