/* SPDX-License-Identifier: MIT */
/* Names to addresses. */
#ifndef GR_NET_RESOLVE_H
#define GR_NET_RESOLVE_H

#include "core/wait.h"
#include "net/addr.h"

/* Fills in at most `max` addresses of the endpoint, which is no fd, best first, as gr_addr_resolve does. Returns their
 * number (>= 1), GR_NOT_FOUND, -ENODEV for an unknown IPv6 zone, or what a wait returns. Parks. */
int gr_resolve(const struct gr_endpoint *e, bool passive, struct gr_addr *out, int max, double until);

#endif
