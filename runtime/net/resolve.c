/* SPDX-License-Identifier: MIT */
/* Names to addresses. */
#define _GNU_SOURCE
#include "net/resolve.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "core/hub.h"
#include "net/addrsort.h"
#include "net/dnscache.h"
#include "net/dnsquery.h"
#include "net/hosts.h"

/* Seconds that the second family gets after the first: RFC 8305 section 3. */
static const double RESOLUTION_DELAY = 0.05;

static struct {
	struct gr_textfile resolv_conf, hosts;
	struct gr_resolv_conf conf;
	struct gr_resolve_overrides over;
	bool loaded;
} config = {.resolv_conf = {.path = "/etc/resolv.conf"}, .hosts = {.path = "/etc/hosts"}};

/* ---- Configuration ---- */

/* Without a search list: what follows the first dot of the machine's name, as in resolv.conf(5). */
static void search_own_domain(struct gr_resolv_conf *c)
{
	char host[256] = "";
	const char *dot;

	gethostname(host, sizeof(host) - 1);
	dot = strchr(host, '.');
	if (dot && dot[1])
		gr_resolv_conf_search(c, dot + 1, strlen(dot + 1));
}

static void apply_environment(struct gr_resolv_conf *c)
{
	const char *search = getenv("LOCALDOMAIN"), *options = getenv("RES_OPTIONS");
	char line[1024];
	int n;

	if (search)
		gr_resolv_conf_search(c, search, strlen(search));
	if (options) {
		n = snprintf(line, sizeof(line), "options %s", options);
		gr_resolv_conf_parse(c, line, n < (int)sizeof(line) ? (size_t)n : sizeof(line) - 1);
	}
}

static void apply_overrides(struct gr_resolv_conf *c, const struct gr_resolve_overrides *o)
{
	if (o->servers) {
		c->how.nservers = o->conf.how.nservers;
		memcpy(c->how.servers, o->conf.how.servers, sizeof(c->how.servers));
	}
	if (o->search) {
		c->nsearch = o->conf.nsearch;
		memcpy(c->search, o->conf.search, sizeof(c->search));
	}
	c->ndots = o->ndots ? o->conf.ndots : c->ndots;
	c->how.timeout = o->timeout ? o->conf.how.timeout : c->how.timeout;
	c->how.tries = o->tries ? o->conf.how.tries : c->how.tries;
	c->how.rotate = o->rotate ? o->conf.how.rotate : c->how.rotate;
}

static void load_conf(void)
{
	struct gr_resolv_conf *c = &config.conf;

	gr_resolv_conf_init(c);
	search_own_domain(c);
	if (config.resolv_conf.text)
		gr_resolv_conf_parse(c, config.resolv_conf.text, config.resolv_conf.len);
	apply_environment(c);
	apply_overrides(c, &config.over);
	if (c->how.nservers == 0)
		c->how.nservers = gr_resolv_server("127.0.0.1", &c->how.servers[0]) == 0;
	config.loaded = true;
	gr_dnscache_flush();
}

const struct gr_resolv_conf *gr_resolve_conf(void)
{
	if (gr_textfile_refresh(&config.resolv_conf) || !config.loaded)
		load_conf();
	return &config.conf;
}

static void set_path(struct gr_textfile *f, const char *path)
{
	gr_textfile_forget(f);
	f->path = path;
}

void gr_resolve_configure(const struct gr_resolve_overrides *o)
{
	free(config.over.resolv_conf);
	free(config.over.hosts);
	config.over = *o;
	set_path(&config.resolv_conf, o->resolv_conf ? o->resolv_conf : "/etc/resolv.conf");
	set_path(&config.hosts, o->hosts ? o->hosts : "/etc/hosts");
	config.loaded = false;
}

/* ---- Local names ---- */

/* True if the name is `domain` or ends in it, whatever the case; a final dot does not count. */
static bool within(const char *name, const char *domain)
{
	size_t n = strlen(name), d = strlen(domain);

	if (n > 0 && name[n - 1] == '.')
		n--;
	return n >= d && strncasecmp(name + n - d, domain, d) == 0 && (n == d || name[n - d - 1] == '.');
}

static bool wanted(int family, const struct gr_addr *addr)
{
	return family == AF_UNSPEC || addr->u.sa.sa_family == family;
}

static void add(struct gr_host *out, const struct gr_addr *addr)
{
	for (int i = 0; i < out->n; i++)
		if (gr_addr_same_ip(&out->addrs[i], addr))
			return;
	if (out->n < GR_ADDR_MAX)
		out->addrs[out->n++] = *addr;
}

/* Keeps those of the family, which `name` has. */
static int known(const char *name, const struct gr_addr *addrs, int n, int family, struct gr_host *out)
{
	snprintf(out->canon, sizeof(out->canon), "%s", name);
	for (int i = 0; i < n; i++)
		if (wanted(family, &addrs[i]))
			add(out, &addrs[i]);
	return out->n > 0 ? out->n : GR_NO_DATA;
}

int gr_resolve_local(const char *name, int family, struct gr_host *out)
{
	static const struct gr_endpoint self = {.name = "localhost"};
	struct gr_addr addrs[GR_ADDR_MAX];
	int n;

	out->n = 0;
	out->ttl = 0;
	n = gr_addr_literal(name, 0, &addrs[0]);
	if (n != GR_BAD_ADDRESS)
		return n < 0 ? n : known(name, addrs, 1, family, out);
	if (within(name, "localhost"))
		return known(name, addrs, gr_addr_resolve(&self, false, addrs, GR_ADDR_MAX), family, out);
	n = gr_hosts_lookup(&config.hosts, name, 0, addrs, GR_ADDR_MAX);
	if (n > 0)
		return known(name, addrs, n, family, out);
	/* RFC 7686 and RFC 6761: not names of the DNS. */
	return within(name, "onion") || within(name, "invalid") ? GR_NOT_FOUND : 0;
}

/* ---- Records ---- */

/* As gr_resolve_records of `owner`, after so many aliases; without `how` with the configuration as it is. */
static int follow_aliases(uint16_t type, const struct gr_resolv_how *how, double until, int aliases,
			  struct gr_dns_answer **out, char owner[GR_DNS_NAME_TEXT])
{
	const struct gr_resolv_how *whom = how ? how : &config.conf.how;
	struct gr_dns_key key;
	int rc;

	for (; aliases <= GR_DNS_CHAIN_MAX; aliases++) {
		rc = gr_dns_key(&key, owner, type);
		if (rc == 0)
			rc = gr_dnsquery_run(&key, whom, how != NULL, until, out);
		if (rc == 0)
			rc = gr_dns_answer_follow(*out, type, owner);
		if (rc > 0)
			return rc;
		gr_dns_answer_free(*out);
		*out = NULL;
		if (rc < 0)
			return rc;
	}
	return GR_BAD_RESPONSE;
}

/* Names in answers have no final dot. */
static void copy_name(char *out, const char *name)
{
	size_t n = strlen(name);

	memcpy(out, name, n + 1);
	if (n > 1 && out[n - 1] == '.')
		out[n - 1] = '\0';
}

int gr_resolve_records(const char *name, uint16_t type, const struct gr_resolv_how *how, double until,
		       struct gr_dns_answer **out, char owner[GR_DNS_NAME_TEXT])
{
	uint8_t wire[GR_DNS_NAME_MAX];

	*out = NULL;
	if (gr_dns_name_encode(name, wire) < 0)
		return GR_BAD_NAME;
	gr_resolve_conf();
	copy_name(owner, name);
	return follow_aliases(type, how, until, 0, out, owner);
}

/* RFC 1035 section 3.5 and RFC 3596 section 2.5. */
static void reverse_name(const struct gr_addr *addr, char *p)
{
	bool v6 = addr->u.sa.sa_family == AF_INET6;
	const uint8_t *ip = v6 ? addr->u.in6.sin6_addr.s6_addr : (const uint8_t *)&addr->u.in.sin_addr;

	for (int i = v6 ? 15 : 3; i >= 0; i--)
		p += v6 ? sprintf(p, "%x.%x.", ip[i] & 15, ip[i] >> 4) : sprintf(p, "%d.", ip[i]);
	strcpy(p, v6 ? "ip6.arpa" : "in-addr.arpa");
}

int gr_resolve_reverse(const struct gr_addr *addr, double until, struct gr_dns_answer **out,
		       char owner[GR_DNS_NAME_TEXT])
{
	char name[80];

	*out = NULL;
	if (gr_hosts_reverse(&config.hosts, addr, owner))
		return 1;
	reverse_name(addr, name);
	return gr_resolve_records(name, GR_DNS_PTR, NULL, until, out, owner);
}

/* ---- Addresses of one name ---- */

static void set_addr(struct gr_addr *addr, uint16_t type, const uint8_t *data)
{
	memset(addr, 0, sizeof(*addr));
	if (type == GR_DNS_A) {
		addr->len = sizeof(addr->u.in);
		addr->u.in.sin_family = AF_INET;
		memcpy(&addr->u.in.sin_addr, data, 4);
	} else {
		addr->len = sizeof(addr->u.in6);
		addr->u.in6.sin6_family = AF_INET6;
		memcpy(&addr->u.in6.sin6_addr, data, 16);
	}
}

static uint32_t ttl_left(const struct gr_dns_answer *a)
{
	double left = a->born + a->ttl - gr_now();

	return left > 0 ? (uint32_t)left : 0;
}

/* Adds the addresses that `owner` has in the answer. */
static void collect(const struct gr_dns_answer *a, uint16_t type, const char *owner, struct gr_host *out)
{
	enum gr_dns_kind kind = type == GR_DNS_A ? GR_DNS_IP4 : GR_DNS_IP6;
	uint32_t ttl = ttl_left(a);
	struct gr_dns_record record;
	struct gr_dns_value v;
	struct gr_dns_reader r;
	struct gr_addr addr;

	for (unsigned n = gr_dns_answer_read(a, &r); n > 0 && gr_dns_read_record(&r, &record) == 0; n--) {
		if (record.type != type || record.class != GR_DNS_IN || !gr_dns_same_name(record.name, owner) ||
		    gr_dns_read_field(&record.data, kind, &v) < 0)
			continue;
		set_addr(&addr, type, v.data);
		add(out, &addr);
	}
	out->ttl = out->ttl == 0 || ttl < out->ttl ? ttl : out->ttl;
	strcpy(out->canon, owner);
}

enum { PENDING = INT_MIN };

/* One family's part of a lookup. */
struct part {
	uint16_t type;
	struct gr_dns_ask *ask;
	int rc; /* PENDING; how many addresses (> 0); 0 = follow the alias in `owner`; or why none */
	char owner[GR_DNS_NAME_TEXT];
};

static void judge(struct part *p)
{
	p->rc = p->ask->error;
	if (p->rc == 0)
		p->rc = gr_dns_answer_follow(p->ask->answer, p->type, p->owner);
}

static int start(struct part *p, uint16_t type, const struct gr_dns_key *key)
{
	struct gr_dns_key mine = *key;

	p->type = mine.type = type;
	p->ask = gr_dnsquery_start(&mine, &config.conf.how, false);
	return p->ask ? 0 : -ENOMEM;
}

/* Judges the parts that are done; returns whether one has addresses. */
static bool judge_done(struct part *parts, int n)
{
	bool good = false;

	for (int i = 0; i < n; i++) {
		if (parts[i].rc == PENDING && gr_dnsquery_done(parts[i].ask))
			judge(&parts[i]);
		good = good || parts[i].rc > 0;
	}
	return good;
}

/* Waits for the parts: once one has addresses, 50 ms more for the other, whose failure then does not count. */
static int await(struct part *parts, int n, double until)
{
	struct gr_dns_ask *pending[2];
	bool good = false;
	int rc = 0, left;

	for (;;) {
		if (judge_done(parts, n) && !good) {
			good = true;
			until = fmin(until, gr_until(RESOLUTION_DELAY));
		}
		left = 0;
		for (int i = 0; i < n; i++)
			if (parts[i].rc == PENDING)
				pending[left++] = parts[i].ask;
		if (left == 0 || rc < 0)
			return rc == GR_TIMEOUT && good ? 0 : rc;
		rc = gr_dnsquery_wait(pending, left, until);
	}
}

/* The worse of two reasons for having no address: what leaves the question open beats what answers it. */
static int worse(int a, int b)
{
	static const int order[] = {GR_NO_DATA, GR_NOT_FOUND};

	for (int i = 0; i < 2; i++)
		if (a == order[i] || b == order[i])
			return a == order[i] ? b : a;
	return a;
}

static int finish_part(struct part *p, double until, struct gr_host *out)
{
	struct gr_dns_answer *answer = NULL;

	if (p->rc > 0)
		collect(p->ask->answer, p->type, p->owner, out);
	if (p->rc != 0)
		return p->rc;
	p->rc = follow_aliases(p->type, NULL, until, 1, &answer, p->owner);
	if (answer)
		collect(answer, p->type, p->owner, out);
	gr_dns_answer_free(answer);
	return p->rc;
}

static int finish_parts(struct part *parts, int n, double until, struct gr_host *out)
{
	int rc = 0;

	for (int i = 0; i < n; i++) {
		int one = finish_part(&parts[i], until, out);

		if (one == GR_CANCELED || one == GR_DEADLINE || one == GR_MISUSE)
			return one;
		if (one < 0 && one != PENDING)
			rc = rc < 0 ? worse(rc, one) : one;
	}
	if (out->n == 0)
		return rc < 0 ? rc : GR_NO_DATA;
	gr_addr_sort(out->addrs, out->n);
	return out->n;
}

/* Of one complete name, by DNS alone, with the configuration as it is. */
static int lookup(const char *name, int family, double until, struct gr_host *out)
{
	struct part parts[2];
	struct gr_dns_key key;
	int n = 0, rc = gr_dns_key(&key, name, 0);

	if (rc < 0)
		return rc;
	out->n = 0;
	out->ttl = 0;
	for (int i = 0; i < 2; i++) {
		parts[i].rc = PENDING;
		copy_name(parts[i].owner, name);
	}
	if (family != AF_INET6)
		rc = start(&parts[n++], GR_DNS_A, &key);
	if (rc == 0 && family != AF_INET)
		rc = start(&parts[n++], GR_DNS_AAAA, &key);
	if (rc == 0)
		rc = await(parts, n, until);
	if (rc == 0)
		rc = finish_parts(parts, n, until, out);
	while (n > 0)
		gr_dnsquery_drop(parts[--n].ask);
	return rc;
}

/* ---- The search list ---- */

/* What has been learned from the names tried so far. */
struct search {
	const char *name;
	int family;
	double until;
	struct gr_host *out;
	bool no_data, server_failure;
};

/* Results after which no other name is tried: success, and what ends the whole call. A silent server would be as silent
 * about the next name. */
static bool is_final(int rc)
{
	switch (rc) {
	case GR_NO_DATA:
	case GR_NOT_FOUND:
	case GR_BAD_NAME:
	case GR_SERVER_FAILURE:
	case GR_REFUSED:
	case GR_NOT_IMPLEMENTED:
	case GR_FORM_ERROR:
	case GR_BAD_RESPONSE:
		return false;
	default:
		return true;
	}
}

/* Results after which no further domain is tried, but still the name as it is. */
static bool ends_domains(int rc)
{
	return rc != GR_NO_DATA && rc != GR_NOT_FOUND && rc != GR_BAD_NAME && rc != GR_SERVER_FAILURE;
}

static int try_domain(struct search *s, const char *domain)
{
	char full[GR_DNS_NAME_TEXT + 257];
	int rc;

	snprintf(full, sizeof(full), "%.*s.%.255s", GR_DNS_NAME_TEXT - 1, s->name, domain);
	rc = lookup(full, s->family, s->until, s->out);
	s->no_data = s->no_data || rc == GR_NO_DATA;
	s->server_failure = s->server_failure || rc == GR_SERVER_FAILURE;
	return rc;
}

/* As glibc's res_search: also after an answer without addresses the next name is tried. Its result then is that of the
 * name as it is, if that came first; else the best reason there was. */
static int search_list(struct search *s, const struct gr_resolv_conf *c, bool tried)
{
	int rc = GR_NOT_FOUND;
	/* The configuration may change while this thread waits. */
	char domains[GR_RESOLV_SEARCH][256];
	int n = c->nsearch;

	memcpy(domains, c->search, sizeof(domains));
	for (int i = 0; i < n && (i == 0 || !ends_domains(rc)); i++) {
		rc = try_domain(s, domains[i]);
		tried = tried || domains[i][0] == '\0';
		if (is_final(rc))
			return rc;
	}
	return tried ? rc : lookup(s->name, s->family, s->until, s->out);
}

static int search(struct search *s)
{
	const struct gr_resolv_conf *c = gr_resolve_conf();
	size_t len = strlen(s->name);
	int dots = 0, first = 0, rc;

	for (size_t i = 0; i < len; i++)
		dots += s->name[i] == '.';
	if (dots >= c->ndots || s->name[len - 1] == '.') {
		first = lookup(s->name, s->family, s->until, s->out);
		if (is_final(first) || s->name[len - 1] == '.')
			return first;
	}
	rc = search_list(s, c, first != 0);
	if (is_final(rc))
		return rc;
	if (first != 0)
		return first;
	return s->no_data ? GR_NO_DATA : s->server_failure ? GR_SERVER_FAILURE : rc == GR_BAD_NAME ? GR_NOT_FOUND : rc;
}

int gr_resolve_host(const char *name, int family, double until, struct gr_host *out)
{
	int rc = gr_resolve_local(name, family, out);
	struct search s = {.name = name, .family = family, .until = until, .out = out};
	uint8_t wire[GR_DNS_NAME_MAX];

	if (rc != 0)
		return rc;
	if (gr_dns_name_encode(name, wire) < 0)
		return GR_BAD_NAME;
	return search(&s);
}

/* ---- Endpoints ---- */

int gr_resolve(const struct gr_endpoint *e, bool passive, struct gr_addr *out, int max, double until)
{
	struct gr_host host;
	int rc;

	if (e->scheme == GR_SCHEME_UNIX || e->scheme == GR_SCHEME_UNIXGRAM || *e->name == '\0')
		return gr_addr_resolve(e, passive, out, max);
	rc = passive ? gr_resolve_local(e->name, AF_UNSPEC, &host) : gr_resolve_host(e->name, AF_UNSPEC, until, &host);
	if (rc <= 0)
		return rc < 0 ? rc : GR_NOT_LOCAL;
	for (int i = 0; i < rc && i < max; i++) {
		out[i] = host.addrs[i];
		/* The port is at the same place for both families. */
		out[i].u.in.sin_port = htons(e->port);
	}
	return rc < max ? rc : max;
}
