/* SPDX-License-Identifier: MIT */
/* Names to addresses. */
#include "net/resolve.h"

int gr_resolve(const struct gr_endpoint *e, bool passive, struct gr_addr *out, int max, double until)
{
	(void)until;
	return gr_addr_resolve(e, passive, out, max);
}
