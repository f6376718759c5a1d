/* SPDX-License-Identifier: MIT */
/* Questions and answers. */
#include "net/dnsanswer.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- Questions ---- */

int gr_dns_key(struct gr_dns_key *out, const char *name, uint16_t type)
{
	int n = gr_dns_name_encode(name, out->name);

	if (n < 0)
		return n;
	out->len = (uint8_t)n;
	out->type = type;
	gr_dns_name_lower(out->name, out->len);
	return 0;
}

bool gr_dns_key_equal(const struct gr_dns_key *a, const struct gr_dns_key *b)
{
	return a->type == b->type && a->len == b->len && memcmp(a->name, b->name, a->len) == 0;
}

/* FNV-1a. */
uint32_t gr_dns_key_hash(const struct gr_dns_key *key)
{
	uint32_t h = 2166136261u ^ key->type;

	for (int i = 0; i < key->len; i++)
		h = (h ^ key->name[i]) * 16777619u;
	return h;
}

static uint8_t *put_u16(uint8_t *p, unsigned n)
{
	p[0] = (uint8_t)(n >> 8);
	p[1] = (uint8_t)n;
	return p + 2;
}

size_t gr_dns_query_write(uint8_t out[GR_DNS_QUERY_MAX], const struct gr_dns_key *key, uint16_t id, bool edns)
{
	const unsigned words[] = {id, GR_DNS_RD, 1, 0, 0, edns ? 1 : 0};
	uint8_t *p = out;

	for (int i = 0; i < 6; i++)
		p = put_u16(p, words[i]);
	memcpy(p, key->name, key->len);
	p = put_u16(p + key->len, key->type);
	p = put_u16(p, GR_DNS_IN);
	if (edns) {
		*p++ = 0; /* the root */
		p = put_u16(p, GR_DNS_OPT);
		p = put_u16(p, GR_DNS_UDP_MAX);
		memset(p, 0, 6);
		p += 6;
	}
	return (size_t)(p - out);
}

bool gr_dns_query_matches(const struct gr_dns_key *key, uint16_t id, const uint8_t *msg, size_t len)
{
	struct gr_dns_question question;
	struct gr_dns_header h;
	struct gr_dns_reader r;
	struct gr_dns_key asked;

	if (gr_dns_read_header(&r, msg, len, &h) < 0 || h.id != id || !(h.flags & GR_DNS_QR) ||
	    (h.flags >> 11 & 15) != 0 || h.counts[0] != 1 || gr_dns_read_question(&r, &question) < 0)
		return false;
	return question.class == GR_DNS_IN && gr_dns_key(&asked, question.name, question.type) == 0 &&
	       gr_dns_key_equal(&asked, key);
}

/* ---- How long an answer may be kept ---- */

static uint32_t min_ttl(uint32_t a, uint32_t b)
{
	/* RFC 2181 section 8: with the top bit set it counts as 0. */
	b = b > INT32_MAX ? 0 : b;
	return a < b ? a : b;
}

/* RFC 2308 section 5: of a negative answer, from the SOA record beside it. */
static uint32_t negative_ttl(struct gr_dns_record *soa)
{
	static const enum gr_dns_kind kinds[] = {GR_DNS_NAME, GR_DNS_NAME, GR_DNS_U32, GR_DNS_U32,
						 GR_DNS_U32,  GR_DNS_U32,  GR_DNS_U32};
	struct gr_dns_value v = {0};

	for (int i = 0; i < 7; i++)
		if (gr_dns_read_field(&soa->data, kinds[i], &v) < 0)
			return 0;
	return min_ttl(min_ttl(GR_DNS_NEGATIVE_MAX, soa->ttl), v.number);
}

static uint32_t answer_ttl(const struct gr_dns_key *key, const uint8_t *msg, size_t len)
{
	uint32_t ttl = GR_DNS_TTL_MAX, negative = 0;
	bool found = false;
	struct gr_dns_question question;
	struct gr_dns_record record;
	struct gr_dns_header h;
	struct gr_dns_reader r;

	if (gr_dns_read_header(&r, msg, len, &h) < 0 || gr_dns_read_question(&r, &question) < 0)
		return 0;
	for (unsigned i = 0; i < h.counts[1] && gr_dns_read_record(&r, &record) == 0; i++) {
		ttl = min_ttl(ttl, record.ttl);
		found = found || record.type == key->type || key->type == GR_DNS_ANY;
	}
	for (unsigned i = 0; i < h.counts[2] && gr_dns_read_record(&r, &record) == 0; i++)
		if (record.type == GR_DNS_SOA)
			negative = negative_ttl(&record);
	if ((h.flags & 15) == GR_DNS_NOERROR && found)
		return ttl;
	return min_ttl(ttl, negative);
}

/* ---- Answers ---- */

struct gr_dns_answer *gr_dns_answer_new(const struct gr_dns_key *key, const uint8_t *msg, size_t len, double now)
{
	struct gr_dns_answer *a = malloc(sizeof(*a) + len);

	if (a == NULL)
		return NULL;
	a->refs = 1;
	a->born = now;
	a->ttl = answer_ttl(key, msg, len);
	a->len = len;
	memcpy(a->msg, msg, len);
	return a;
}

struct gr_dns_answer *gr_dns_answer_ref(struct gr_dns_answer *a)
{
	a->refs++;
	return a;
}

void gr_dns_answer_free(struct gr_dns_answer *a)
{
	if (a && --a->refs == 0)
		free(a);
}

int gr_dns_answer_status(const struct gr_dns_answer *a)
{
	static const int meanings[] = {
		[GR_DNS_NOERROR] = 0,
		[GR_DNS_FORMERR] = GR_FORM_ERROR,
		[GR_DNS_SERVFAIL] = GR_SERVER_FAILURE,
		[GR_DNS_NXDOMAIN] = GR_NOT_FOUND,
		[GR_DNS_NOTIMP] = GR_NOT_IMPLEMENTED,
		[GR_DNS_REFUSED] = GR_REFUSED,
	};
	unsigned code = a->msg[3] & 15;

	return code < sizeof(meanings) / sizeof(meanings[0]) ? meanings[code] : GR_BAD_RESPONSE;
}

unsigned gr_dns_answer_read(const struct gr_dns_answer *a, struct gr_dns_reader *r)
{
	struct gr_dns_question question;
	struct gr_dns_header h;

	if (gr_dns_read_header(r, a->msg, a->len, &h) < 0 || gr_dns_read_question(r, &question) < 0)
		return 0;
	return h.counts[1];
}

bool gr_dns_same_name(const char *a, const char *b)
{
	return strcasecmp(a, b) == 0;
}

/* Counts the records of the type that `name` has; if there are none, an alias of it replaces `name`. */
static int step(const struct gr_dns_answer *a, uint16_t type, char *name, bool *alias)
{
	struct gr_dns_record record;
	struct gr_dns_value target;
	struct gr_dns_reader r;
	unsigned n = gr_dns_answer_read(a, &r);
	int found = 0;

	*alias = false;
	while (n-- > 0 && gr_dns_read_record(&r, &record) == 0) {
		if (record.class != GR_DNS_IN || !gr_dns_same_name(record.name, name))
			continue;
		if (record.type == type || type == GR_DNS_ANY)
			found++;
		else if (record.type == GR_DNS_CNAME && gr_dns_read_field(&record.data, GR_DNS_NAME, &target) == 0)
			*alias = true;
	}
	*alias = *alias && found == 0;
	if (*alias)
		strcpy(name, target.name);
	return found;
}

static bool has_soa(const struct gr_dns_answer *a)
{
	struct gr_dns_record record;
	struct gr_dns_header h;
	struct gr_dns_reader r;
	unsigned n = gr_dns_answer_read(a, &r), total = n;
	bool found = false;

	if (gr_dns_read_header(&(struct gr_dns_reader){0}, a->msg, a->len, &h) == 0)
		total += h.counts[2];
	for (unsigned i = 0; i < total && gr_dns_read_record(&r, &record) == 0; i++)
		found = found || (i >= n && record.type == GR_DNS_SOA);
	return found;
}

int gr_dns_answer_follow(const struct gr_dns_answer *a, uint16_t type, char name[GR_DNS_NAME_TEXT])
{
	bool alias = true;
	int hops, found = 0;

	for (hops = 0; alias && hops <= GR_DNS_CHAIN_MAX; hops++)
		found = step(a, type, name, &alias);
	if (alias)
		return GR_BAD_RESPONSE;
	if (found > 0)
		return found;
	if (gr_dns_answer_status(a) < 0)
		return gr_dns_answer_status(a);
	return hops > 1 && !has_soa(a) ? 0 : GR_NO_DATA;
}
