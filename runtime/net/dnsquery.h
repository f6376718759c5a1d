/* SPDX-License-Identifier: MIT */
/* Asking DNS servers: questions under way, shared by all threads that want the same, and the cache of answers. */
#ifndef GR_NET_DNSQUERY_H
#define GR_NET_DNSQUERY_H

#include "core/wait.h"
#include "net/dnsanswer.h"
#include "net/resolvconf.h"

/* A thread's interest in one question. Lives in the heap, so that the thread may park. */
struct gr_dns_ask {
	struct gr_dns_ask *next;
	struct gr_dnsquery *query; /* NULL once there is a result */
	struct gr_green *waiter;
	struct gr_dns_answer *answer; /* the result: this … */
	int error;                    /* … or this */
};

/* Asks, unless the answer is known. Beyond GR_DNSLINK_MAX attempts under way a question waits for its turn, its time
 * running. `private`: neither the cache nor others' questions have a part in it. Never parks;
 * returns NULL when out of memory. */
struct gr_dns_ask *gr_dnsquery_start(const struct gr_dns_key *key, const struct gr_resolv_how *how, bool private);

static inline bool gr_dnsquery_done(const struct gr_dns_ask *ask)
{
	return ask->query == NULL;
}

/* Waits until one more of n questions is done; at least one of them must not be. Returns 0 or what a wait returns. Parks. */
int gr_dnsquery_wait(struct gr_dns_ask *const *asks, int n, double until);

/* Ends the interest; a question that nobody wants any more is dropped. NULL is fine. */
void gr_dnsquery_drop(struct gr_dns_ask *ask);

/* Start, wait, drop. Returns 0 and in *out an answer of code NOERROR or NXDOMAIN, to be freed; or what a wait returns,
 * GR_TIMEOUT also when no server answered in time; GR_SERVER_FAILURE, GR_REFUSED and so on as the last server said;
 * GR_BAD_RESPONSE; or a negative errno, such as -ECONNREFUSED, -EMFILE. Parks. */
int gr_dnsquery_run(const struct gr_dns_key *key, const struct gr_resolv_how *how, bool private, double until,
		    struct gr_dns_answer **out);

struct gr_dnsquery_stats {
	uint64_t asked;  /* interests */
	uint64_t hits;   /* … met by the cache */
	uint64_t joined; /* … by a question under way */
	uint64_t sent;   /* messages to servers, by UDP or begun so */
	uint64_t forged; /* packets dropped because they answer nothing we asked */
	unsigned active; /* questions under way */
	unsigned cached; /* answers in the cache */
};

struct gr_dnsquery_stats gr_dnsquery_stats(void);

#endif
