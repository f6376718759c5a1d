/* SPDX-License-Identifier: MIT */
/* The cache of answers: a hash table, and a list in the order of use. */
#include "net/dnscache.h"

#include <stdlib.h>

enum { BUCKETS = 512 };

struct entry {
	struct entry *chain; /* next in the bucket */
	struct entry *older, *newer;
	struct gr_dns_answer *answer;
	struct gr_dns_key key;
};

static struct {
	struct entry *buckets[BUCKETS];
	struct entry *newest, *oldest;
	unsigned count, generation;
} cache;

static struct entry **find(const struct gr_dns_key *key)
{
	struct entry **p = &cache.buckets[gr_dns_key_hash(key) % BUCKETS];

	while (*p && !gr_dns_key_equal(&(*p)->key, key))
		p = &(*p)->chain;
	return p;
}

static void unlink_use(struct entry *e)
{
	*(e->newer ? &e->newer->older : &cache.newest) = e->older;
	*(e->older ? &e->older->newer : &cache.oldest) = e->newer;
}

static void link_newest(struct entry *e)
{
	e->newer = NULL;
	e->older = cache.newest;
	*(e->older ? &e->older->newer : &cache.oldest) = e;
	cache.newest = e;
}

static void drop(struct entry **p)
{
	struct entry *e = *p;

	*p = e->chain;
	unlink_use(e);
	gr_dns_answer_free(e->answer);
	free(e);
	cache.count--;
}

struct gr_dns_answer *gr_dnscache_get(const struct gr_dns_key *key, double now)
{
	struct entry **p = find(key), *e = *p;

	if (e == NULL)
		return NULL;
	if (now >= e->answer->born + e->answer->ttl) {
		drop(p);
		return NULL;
	}
	unlink_use(e);
	link_newest(e);
	return gr_dns_answer_ref(e->answer);
}

static void evict_oldest(void)
{
	struct entry **p = find(&cache.oldest->key);

	if (*p)
		drop(p);
}

void gr_dnscache_put(const struct gr_dns_key *key, struct gr_dns_answer *answer)
{
	struct entry **p = find(key), *e;

	if (*p)
		drop(p);
	if (answer->ttl == 0 || answer->len > GR_DNSCACHE_ANSWER)
		return;
	if (cache.count == GR_DNSCACHE_ENTRIES)
		evict_oldest();
	e = malloc(sizeof(*e));
	if (e == NULL)
		return;
	e->key = *key;
	e->answer = gr_dns_answer_ref(answer);
	p = find(key);
	e->chain = *p;
	*p = e;
	link_newest(e);
	cache.count++;
}

void gr_dnscache_flush(void)
{
	cache.generation++;
	for (int i = 0; i < BUCKETS; i++)
		while (cache.buckets[i])
			drop(&cache.buckets[i]);
}

unsigned gr_dnscache_generation(void)
{
	return cache.generation;
}

unsigned gr_dnscache_count(void)
{
	return cache.count;
}
