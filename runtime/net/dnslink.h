/* SPDX-License-Identifier: MIT */
/* One attempt to get an answer from one DNS server, by UDP and if need be by TCP. c-ares does it. */
#ifndef GR_NET_DNSLINK_H
#define GR_NET_DNSLINK_H

#include <ev.h>

#include "net/addr.h"
#include "net/dnsanswer.h"

enum {
	GR_DNSLINK_MAX = 128, /* attempts at once: each has a socket, and a c-ares channel of 75 KB */
};

struct gr_dnslink_watch {
	ev_io io;
	int fd; /* -1 = closed */
};

/* Made and owned by dnslink.c; `user` and `next` are the taker's. */
struct gr_dnslink {
	struct gr_dnslink *next;
	void *user;
	const struct gr_dns_key *key; /* asked for; NULL: idle */
	uint16_t id;
	bool edns;
	bool done;      /* there is a result: … */
	int error;      /* 0 or a negative errno */
	uint8_t *reply; /* NULL after an error. It answers the question; nothing else of it is checked */
	size_t reply_len;
	bool used_up; /* not for another attempt */
	struct ares_channeldata *channel;
	struct gr_dnslink_watch udp, tcp;
	struct gr_addr server;
	void (*on_done)(struct gr_dnslink *l);
};

/* Sends the question (`key` must stay) and returns the attempt, which may have failed at once (l->done). Later results
 * are told by on_done, from the hub. NULL: out of memory, or GR_DNSLINK_MAX attempts are under way. Never parks. */
struct gr_dnslink *gr_dnslink_take(const struct gr_dns_key *key, const struct gr_addr *server, bool edns, void *user,
				   void (*on_done)(struct gr_dnslink *l));

/* Ends the attempt, with or without a result, and closes its sockets. */
void gr_dnslink_give(struct gr_dnslink *l);

bool gr_dnslink_full(void);

/* Questions sent, and packets dropped because they answer nothing we asked. */
extern uint64_t gr_dnslink_sent, gr_dnslink_forged;

#endif
