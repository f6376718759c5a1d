/* SPDX-License-Identifier: MIT */
/* resolv.conf(5). */
#include "net/resolvconf.h"

#include <stdlib.h>
#include <string.h>

#include "net/textfile.h"

enum { PORT = 53, NDOTS_MAX = 15, TIMEOUT_MAX = 30, TRIES_MAX = 5 };

void gr_resolv_conf_init(struct gr_resolv_conf *c)
{
	memset(c, 0, sizeof(*c));
	c->how.timeout = 2;
	c->how.tries = 2;
	c->ndots = 1;
}

/* ---- Servers ---- */

static int parse_with_port(const char *text, struct gr_addr *out)
{
	char why[GR_ADDR_WHY];
	struct gr_endpoint e;

	if (gr_addr_parse(text, strlen(text), &e, why) < 0 || e.scheme != GR_SCHEME_TCP || e.port == 0)
		return GR_BAD_ADDRESS;
	return gr_addr_literal(e.name, e.port, out);
}

int gr_resolv_server(const char *text, struct gr_addr *out)
{
	int rc = gr_addr_literal(text, PORT, out);

	return rc == GR_BAD_ADDRESS ? parse_with_port(text, out) : rc;
}

/* ---- Lines ---- */

static bool word_is(struct gr_span word, const char *text)
{
	return word.len == strlen(text) && memcmp(word.p, text, word.len) == 0;
}

static void copy_word(struct gr_span word, char *out, size_t size)
{
	size_t n = word.len < size ? word.len : 0;

	memcpy(out, word.p, n);
	out[n] = '\0';
}

static void add_server(struct gr_resolv_how *how, struct gr_span line)
{
	char text[80];

	copy_word(gr_span_word(&line), text, sizeof(text));
	if (how->nservers < GR_RESOLV_SERVERS && gr_resolv_server(text, &how->servers[how->nservers]) == 0)
		how->nservers++;
}

static void add_search(struct gr_resolv_conf *c, struct gr_span word)
{
	/* "." is the root: an empty domain. */
	while (word.len > 0 && word.p[word.len - 1] == '.')
		word.len--;
	if (word.len > 0 && *word.p == '.')
		word.p++, word.len--;
	if (c->nsearch < GR_RESOLV_SEARCH && word.len < sizeof(c->search[0]))
		copy_word(word, c->search[c->nsearch++], sizeof(c->search[0]));
}

void gr_resolv_conf_add_search(struct gr_resolv_conf *c, const char *domain)
{
	add_search(c, (struct gr_span){domain, strlen(domain)});
}

void gr_resolv_conf_search(struct gr_resolv_conf *c, const char *text, size_t len)
{
	struct gr_span line = {text, len}, word;

	c->nsearch = 0;
	while ((word = gr_span_word(&line)).len > 0)
		add_search(c, word);
}

static void set_domain(struct gr_resolv_conf *c, struct gr_span line)
{
	c->nsearch = 0;
	add_search(c, gr_span_word(&line));
}

/* True if the word is "<name>:<number>"; the number is at least `min` and at most `max` then. */
static bool option(struct gr_span word, const char *name, int min, int max, int *out)
{
	char text[24];
	size_t n = strlen(name);
	long value;

	if (word.len <= n || memcmp(word.p, name, n) != 0 || word.p[n] != ':')
		return false;
	copy_word((struct gr_span){word.p + n + 1, word.len - n - 1}, text, sizeof(text));
	value = strtol(text, NULL, 10);
	*out = value < min ? min : value > max ? max : (int)value;
	return true;
}

static void set_options(struct gr_resolv_conf *c, struct gr_span line)
{
	struct gr_span word;
	int n;

	while ((word = gr_span_word(&line)).len > 0) {
		if (option(word, "ndots", 0, NDOTS_MAX, &n))
			c->ndots = n;
		else if (option(word, "timeout", 1, TIMEOUT_MAX, &n))
			c->how.timeout = n;
		else if (option(word, "attempts", 1, TRIES_MAX, &n))
			c->how.tries = n;
		else if (word_is(word, "rotate"))
			c->how.rotate = true;
	}
}

static void parse_line(struct gr_resolv_conf *c, struct gr_span line)
{
	struct gr_span keyword;

	/* A keyword begins its line; so comments, which begin with # or ;, are none. */
	if (line.len == 0 || gr_is_blank(*line.p))
		return;
	keyword = gr_span_word(&line);
	if (word_is(keyword, "nameserver"))
		add_server(&c->how, line);
	else if (word_is(keyword, "search"))
		gr_resolv_conf_search(c, line.p, line.len);
	else if (word_is(keyword, "domain"))
		set_domain(c, line);
	else if (word_is(keyword, "options"))
		set_options(c, line);
}

void gr_resolv_conf_parse(struct gr_resolv_conf *c, const char *text, size_t len)
{
	while (len > 0) {
		const char *end = memchr(text, '\n', len);
		size_t n = end ? (size_t)(end - text) : len;
		size_t used = n + (end ? 1 : 0);

		parse_line(c, (struct gr_span){text, n});
		text += used;
		len -= used;
	}
}
