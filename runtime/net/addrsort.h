/* SPDX-License-Identifier: MIT */
/* In which order to try the addresses of a host: RFC 6724 in short. */
#ifndef GR_NET_ADDRSORT_H
#define GR_NET_ADDRSORT_H

#include "net/addr.h"

/* Sorts addresses of both IP families: those without a route last, then by the precedence of section 2.1. Addresses of one
 * family alone, and equals, keep their order, in which DNS servers distribute load. Costs three system calls a family
 * at most once a second. */
void gr_addr_sort(struct gr_addr *addrs, int n);

#endif
