/* SPDX-License-Identifier: MIT */
/* Which of this machine's addresses a peer talks to, for datagram sockets that are bound to all of them: an answer has to
 * come from that one (RFC 1123 section 2.3, RFC 2181 section 4.1), and the kernel would take the one of the route. */
#ifndef GR_NET_DGRAM_LOCAL_H
#define GR_NET_DGRAM_LOCAL_H

#include <sys/socket.h>

#include "net/addr.h"

enum {
	GR_LOCAL_PEERS = 1024, /* remembered for one socket; others displace them */
	GR_LOCAL_CONTROL = 64, /* bytes of ancillary data */
};

struct gr_dgram_local;

/* Makes the kernel tell, if the socket is of IP and bound to no address in particular. Returns NULL if it is not, or when
 * that is not to be had: then the kernel's choice stays. To be freed. */
struct gr_dgram_local *gr_dgram_local_new(int fd);

/* Takes note of a datagram; its msg_name and ancillary data are as the kernel filled them in. */
void gr_dgram_local_note(struct gr_dgram_local *t, struct msghdr *m);

/* Prepares a message to msg_name: gives it ancillary data, in GR_LOCAL_CONTROL aligned bytes at `control`, if its peer is
 * remembered; else none. */
void gr_dgram_local_use(const struct gr_dgram_local *t, struct msghdr *m, char *control);

#endif
