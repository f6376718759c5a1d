/* SPDX-License-Identifier: MIT */
/* For dgram.c: what is set on a datagram socket before it is bound. */
#ifndef GR_NET_DGRAM_OPTS_H
#define GR_NET_DGRAM_OPTS_H

#include "net/dgram.h"

/* Returns 0 or a negative errno. */
int gr_dgram_apply(int fd, int family, const struct gr_dgram_opts *opts);

#endif
