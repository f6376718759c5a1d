/* SPDX-License-Identifier: MIT */
/* Answers of DNS servers, positive and negative, kept until they are out of date. */
#ifndef GR_NET_DNSCACHE_H
#define GR_NET_DNSCACHE_H

#include "net/dnsanswer.h"

enum {
	GR_DNSCACHE_ENTRIES = 1024, /* at most; then the one unused for longest goes */
	GR_DNSCACHE_ANSWER = 4096,  /* bytes; longer answers are not kept */
};

/* The answer that is still good at the time `now`, with a reference for the caller; or NULL. */
struct gr_dns_answer *gr_dnscache_get(const struct gr_dns_key *key, double now);

/* Keeps the answer (and a reference of its own) if it may be kept. */
void gr_dnscache_put(const struct gr_dns_key *key, struct gr_dns_answer *answer);

/* Forgets everything. */
void gr_dnscache_flush(void);

/* Another number after each flush. */
unsigned gr_dnscache_generation(void);

unsigned gr_dnscache_count(void);

#endif
