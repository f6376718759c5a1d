/* SPDX-License-Identifier: MIT */
/* Questions to DNS servers and what their answers say. Pure. */
#ifndef GR_NET_DNSANSWER_H
#define GR_NET_DNSANSWER_H

#include "net/dnsmsg.h"

enum {
	GR_DNS_QUERY_MAX = GR_DNS_HEADER + GR_DNS_NAME_MAX + 4 + 11, /* bytes of a question with EDNS */
	GR_DNS_UDP_MAX = 1232,     /* bytes of an answer by UDP that we announce: never fragmented */
	GR_DNS_CHAIN_MAX = 8,      /* aliases that are followed */
	GR_DNS_TTL_MAX = 3600,     /* seconds that an answer may be kept … */
	GR_DNS_NEGATIVE_MAX = 300, /* … and one that says no */
};

/* A question by its name as sent, in lower case. */
struct gr_dns_key {
	uint8_t name[GR_DNS_NAME_MAX];
	uint8_t len;
	uint16_t type;
};

/* Counted; what it holds never changes. */
struct gr_dns_answer {
	unsigned refs;
	uint32_t ttl; /* seconds to keep it, 0 = not at all */
	double born;  /* monotonic seconds */
	size_t len;
	uint8_t msg[]; /* passed gr_dns_check */
};

/* Returns 0 or GR_BAD_NAME. */
int gr_dns_key(struct gr_dns_key *out, const char *name, uint16_t type);
bool gr_dns_key_equal(const struct gr_dns_key *a, const struct gr_dns_key *b);
uint32_t gr_dns_key_hash(const struct gr_dns_key *key);

/* Writes the message that asks; returns its length. */
size_t gr_dns_query_write(uint8_t out[GR_DNS_QUERY_MAX], const struct gr_dns_key *key, uint16_t id, bool edns);

/* True if `msg` answers that very question: same id, and the question repeated. Looks at nothing behind that. */
bool gr_dns_query_matches(const struct gr_dns_key *key, uint16_t id, const uint8_t *msg, size_t len);

/* A copy of a message that has passed gr_dns_check, with one reference; NULL when out of memory. */
struct gr_dns_answer *gr_dns_answer_new(const struct gr_dns_key *key, const uint8_t *msg, size_t len, double now);
struct gr_dns_answer *gr_dns_answer_ref(struct gr_dns_answer *a);

/* Gives one reference back; NULL is fine. */
void gr_dns_answer_free(struct gr_dns_answer *a);

/* 0, or what the server's return code means: GR_NOT_FOUND, GR_SERVER_FAILURE, … */
int gr_dns_answer_status(const struct gr_dns_answer *a);

/* Follows the aliases from `name`, which becomes the one that has records of the type, or may have. Returns how many it
 * has (> 0), or
 *   0               the answer ends in an alias and does not say more: ask for `name`
 *   GR_NO_DATA      there are none
 *   GR_NOT_FOUND    the name does not exist
 *   GR_BAD_RESPONSE more than GR_DNS_CHAIN_MAX aliases */
int gr_dns_answer_follow(const struct gr_dns_answer *a, uint16_t type, char name[GR_DNS_NAME_TEXT]);

/* Starts to read the answer section; returns how many records follow. */
unsigned gr_dns_answer_read(const struct gr_dns_answer *a, struct gr_dns_reader *r);

/* Same name, whatever the case. */
bool gr_dns_same_name(const char *a, const char *b);

#endif
