/* SPDX-License-Identifier: MIT */
/* Questions under way: which server is asked when, and who waits for the answer. */
#include "net/dnsquery.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/hub.h"
#include "net/dnscache.h"
#include "net/dnslink.h"

enum { BUCKETS = 256 };

/* A question under way. */
struct gr_dnsquery {
	struct gr_dnsquery *chain;       /* next in the hash bucket */
	struct gr_dnsquery *prev, *next; /* all of them, oldest first */
	struct gr_dns_key key;
	struct gr_resolv_how how;
	bool private, edns, queued;
	struct gr_dns_ask *asks;
	struct gr_dnslink *links; /* attempts that may still be answered, newest first */
	int first;                /* index of the server to begin with */
	int started, planned;     /* attempts */
	double next_at;           /* when the next attempt is due; without one left, the end */
	double end;
	unsigned generation; /* of the cache when it began: what was asked before a flush is not kept */
	int error;           /* of the attempts so far */
};

static struct {
	bool started;
	struct gr_dnsquery *buckets[BUCKETS];
	struct gr_dnsquery *oldest, *newest;
	unsigned active;
	int nqueued;
	unsigned turn; /* for `rotate` */
	ev_timer timer;
	double timer_at;
} dns;

static struct gr_dnsquery_stats counts;

/* ---- Attempts and their end ---- */

static void attempt_done(struct gr_dnslink *l);
static void start_queued(void);

static void arm(double at)
{
	double now;

	if (ev_is_active(&dns.timer) && dns.timer_at <= at)
		return;
	now = gr_now();
	ev_now_update(gr_hub.loop);
	ev_timer_stop(gr_hub.loop, &dns.timer);
	ev_timer_set(&dns.timer, at > now ? at - now : 0, 0);
	ev_timer_start(gr_hub.loop, &dns.timer);
	dns.timer_at = at;
}

static void unlink_query(struct gr_dnsquery *q)
{
	struct gr_dnsquery **p = &dns.buckets[gr_dns_key_hash(&q->key) % BUCKETS];

	while (*p && *p != q)
		p = &(*p)->chain;
	if (*p)
		*p = q->chain;
	*(q->prev ? &q->prev->next : &dns.oldest) = q->next;
	*(q->next ? &q->next->prev : &dns.newest) = q->prev;
}

static void end_attempt(struct gr_dnsquery *q, struct gr_dnslink *l)
{
	struct gr_dnslink **p = &q->links;

	while (*p != l)
		p = &(*p)->next;
	*p = l->next;
	gr_dnslink_give(l);
}

/* Nothing may use the query afterwards. */
static void end_query(struct gr_dnsquery *q)
{
	while (q->links)
		end_attempt(q, q->links);
	unlink_query(q);
	dns.nqueued -= q->queued;
	dns.active--;
	gr_hub.sources--;
	if (dns.active == 0)
		ev_timer_stop(gr_hub.loop, &dns.timer);
	free(q);
}

/* Gives everybody the result. */
static void finish(struct gr_dnsquery *q, struct gr_dns_answer *answer, int error)
{
	while (q->asks) {
		struct gr_dns_ask *ask = q->asks;

		q->asks = ask->next;
		ask->query = NULL;
		ask->answer = answer ? gr_dns_answer_ref(answer) : NULL;
		ask->error = error;
		if (ask->waiter)
			gr_wake(ask->waiter, 0);
	}
	end_query(q);
}

/* The attempt that has waited longest in vain. */
static struct gr_dnslink *oldest_attempt(const struct gr_dnsquery *q)
{
	struct gr_dnslink *l = q->links;

	while (l->next)
		l = l->next;
	return l;
}

/* Begins the next attempt; false: it failed at once. */
static bool attempt(struct gr_dnsquery *q)
{
	int n = q->how.nservers, k = q->started++;
	struct gr_dnslink *l;

	if (gr_dnslink_full() && q->links)
		end_attempt(q, oldest_attempt(q));
	/* The second try goes without EDNS, for servers and firewalls that silently drop it. */
	l = gr_dnslink_take(&q->key, &q->how.servers[(q->first + k) % n], q->edns && k < n, q, attempt_done);
	if (l && !l->done) {
		l->next = q->links;
		q->links = l;
		return true;
	}
	q->error = l && l->error ? l->error : -ENOMEM;
	if (l)
		gr_dnslink_give(l);
	return false;
}

/* Begins attempts until one is under way. With none left and none under way the query ends. */
static void advance(struct gr_dnsquery *q)
{
	while (q->started < q->planned) {
		if (attempt(q)) {
			q->next_at = q->started == q->planned ? q->end : gr_now() + q->how.timeout / q->how.nservers;
			q->next_at = q->next_at < q->end ? q->next_at : q->end;
			arm(q->next_at);
			return;
		}
	}
	if (q->links == NULL) {
		finish(q, NULL, q->error);
		return;
	}
	q->next_at = q->end;
	arm(q->end);
}

/* 0 = this is the answer; else why it is none. */
static int judge(const struct gr_dnslink *l, struct gr_dns_answer **out)
{
	const struct gr_dnsquery *q = l->user;
	int rc;

	if (l->reply == NULL)
		return l->error ? l->error : -ENOMEM;
	if (!gr_dns_query_matches(&q->key, l->id, l->reply, l->reply_len) || gr_dns_check(l->reply, l->reply_len) < 0)
		return GR_BAD_RESPONSE;
	*out = gr_dns_answer_new(&q->key, l->reply, l->reply_len, gr_now());
	if (*out == NULL)
		return -ENOMEM;
	rc = gr_dns_answer_status(*out);
	if (rc == 0 || rc == GR_NOT_FOUND)
		return 0;
	gr_dns_answer_free(*out);
	*out = NULL;
	return rc;
}

/* An attempt has a result. */
static void conclude(struct gr_dnslink *l)
{
	struct gr_dnsquery *q = l->user;
	struct gr_dns_answer *answer = NULL;
	int rc = judge(l, &answer);

	if (rc == 0) {
		if (!q->private && q->generation == gr_dnscache_generation())
			gr_dnscache_put(&q->key, answer);
		finish(q, answer, 0);
		gr_dns_answer_free(answer);
		return;
	}
	q->error = rc;
	/* The same server once more, without what it did not understand. */
	if (rc == GR_FORM_ERROR && l->edns && q->edns) {
		q->edns = false;
		q->started--;
	}
	end_attempt(q, l);
	advance(q);
}

static void attempt_done(struct gr_dnslink *l)
{
	conclude(l);
	start_queued();
}

static void expired(struct ev_loop *loop, ev_timer *timer, int revents)
{
	double now = gr_now(), next = INFINITY;
	struct gr_dnsquery *q, *after;

	(void)loop;
	(void)timer;
	(void)revents;
	for (q = dns.oldest; q; q = after) {
		after = q->next;
		if (q->next_at <= now && (q->end <= now || q->queued || q->started == q->planned))
			finish(q, NULL, q->error ? q->error : GR_TIMEOUT);
		else if (q->next_at <= now)
			advance(q);
		else if (q->next_at < next)
			next = q->next_at;
	}
	if (next < INFINITY)
		arm(next);
	start_queued();
}

static void init(void)
{
	if (dns.started)
		return;
	dns.started = true;
	ev_init(&dns.timer, expired);
}

/* ---- Questions ---- */

static bool same_how(const struct gr_resolv_how *a, const struct gr_resolv_how *b)
{
	bool same = a->timeout == b->timeout && a->tries == b->tries && a->nservers == b->nservers;

	/* The port is at the same place for both families. */
	for (int i = 0; same && i < a->nservers; i++)
		same = gr_addr_same_ip(&a->servers[i], &b->servers[i]) &&
		       a->servers[i].u.in.sin_port == b->servers[i].u.in.sin_port;
	return same;
}

static struct gr_dnsquery *find_query(const struct gr_dns_key *key, const struct gr_resolv_how *how)
{
	struct gr_dnsquery *q = dns.buckets[gr_dns_key_hash(key) % BUCKETS];

	while (q && !(gr_dns_key_equal(&q->key, key) && same_how(&q->how, how)))
		q = q->chain;
	return q;
}

static struct gr_dnsquery *new_query(const struct gr_dns_key *key, const struct gr_resolv_how *how, bool private)
{
	struct gr_dnsquery *q = calloc(1, sizeof(*q)), **bucket = &dns.buckets[gr_dns_key_hash(key) % BUCKETS];

	if (q == NULL)
		return NULL;
	q->key = *key;
	q->how = *how;
	q->private = private;
	q->edns = true;
	q->generation = gr_dnscache_generation();
	q->planned = how->nservers * how->tries;
	q->first = how->rotate ? (int)(dns.turn++ % (unsigned)how->nservers) : 0;
	q->end = q->next_at = gr_now() + how->timeout * how->tries;
	if (!private) {
		q->chain = *bucket;
		*bucket = q;
	}
	q->prev = dns.newest;
	*(q->prev ? &q->prev->next : &dns.oldest) = q;
	dns.newest = q;
	dns.active++;
	gr_hub.sources++;
	return q;
}

static void start_queued(void)
{
	struct gr_dnsquery *q = dns.oldest, *after;

	for (; q && dns.nqueued > 0 && !gr_dnslink_full(); q = after) {
		after = q->next;
		if (!q->queued)
			continue;
		q->queued = false;
		dns.nqueued--;
		advance(q);
	}
}

static void begin(struct gr_dnsquery *q)
{
	if (!gr_dnslink_full()) {
		advance(q);
		return;
	}
	q->queued = true;
	dns.nqueued++;
	arm(q->end);
}

static void join(struct gr_dns_ask *ask, struct gr_dnsquery *q)
{
	ask->query = q;
	ask->next = q->asks;
	q->asks = ask;
}

struct gr_dns_ask *gr_dnsquery_start(const struct gr_dns_key *key, const struct gr_resolv_how *how, bool private)
{
	struct gr_dns_ask *ask = calloc(1, sizeof(*ask));
	struct gr_dnsquery *q;

	if (ask == NULL)
		return NULL;
	init();
	counts.asked++;
	ask->answer = private ? NULL : gr_dnscache_get(key, gr_now());
	if (ask->answer) {
		counts.hits++;
		return ask;
	}
	q = private ? NULL : find_query(key, how);
	if (q) {
		counts.joined++;
		join(ask, q);
		return ask;
	}
	q = new_query(key, how, private);
	if (q == NULL) {
		free(ask);
		return NULL;
	}
	join(ask, q);
	begin(q);
	return ask;
}

static bool any_done(struct gr_dns_ask *const *asks, int n)
{
	for (int i = 0; i < n; i++)
		if (gr_dnsquery_done(asks[i]) && asks[i]->waiter)
			return true;
	return false;
}

int gr_dnsquery_wait(struct gr_dns_ask *const *asks, int n, double until)
{
	int rc = 0;

	for (int i = 0; i < n; i++)
		asks[i]->waiter = gr_dnsquery_done(asks[i]) ? NULL : gr_current;
	while (rc == 0 && !any_done(asks, n))
		rc = gr_wait(until, "DNS");
	rc = any_done(asks, n) && rc == GR_TIMEOUT ? 0 : rc;
	for (int i = 0; i < n; i++)
		asks[i]->waiter = NULL;
	return rc;
}

void gr_dnsquery_drop(struct gr_dns_ask *ask)
{
	struct gr_dnsquery *q = ask ? ask->query : NULL;

	if (ask == NULL)
		return;
	if (q) {
		struct gr_dns_ask **p = &q->asks;

		while (*p != ask)
			p = &(*p)->next;
		*p = ask->next;
		if (q->asks == NULL)
			end_query(q);
		start_queued();
	}
	gr_dns_answer_free(ask->answer);
	free(ask);
}

int gr_dnsquery_run(const struct gr_dns_key *key, const struct gr_resolv_how *how, bool private, double until,
		    struct gr_dns_answer **out)
{
	struct gr_dns_ask *ask = gr_dnsquery_start(key, how, private);
	int rc = ask ? 0 : -ENOMEM;

	*out = NULL;
	if (ask && !gr_dnsquery_done(ask))
		rc = gr_dnsquery_wait(&ask, 1, until);
	if (rc == 0) {
		rc = ask->error;
		*out = ask->answer ? gr_dns_answer_ref(ask->answer) : NULL;
	}
	gr_dnsquery_drop(ask);
	return rc;
}

struct gr_dnsquery_stats gr_dnsquery_stats(void)
{
	struct gr_dnsquery_stats s = counts;

	s.sent = gr_dnslink_sent;
	s.forged = gr_dnslink_forged;
	s.active = dns.active;
	s.cached = gr_dnscache_count();
	return s;
}
