/* SPDX-License-Identifier: MIT */
/* DNS messages, answers, the cache and resolv.conf, without Lua and sockets. Prints one "ok" or "not ok" line a test. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/dnscache.h"
#include "net/dnsmsg.h"
#include "net/resolvconf.h"

static int failures;

static void check(bool good, const char *name)
{
	printf("%s %s\n", good ? "ok" : "not ok", name);
	failures += !good;
}

/* ---- Names ---- */

static bool round_trip(const char *text, const char *expected)
{
	uint8_t wire[GR_DNS_NAME_MAX];
	struct gr_dns_value v;
	int n = gr_dns_name_encode(text, wire);
	struct gr_dns_reader r = {wire, 0, n > 0 ? (size_t)n : 0};

	return n > 0 && gr_dns_read_field(&r, GR_DNS_NAME, &v) == 0 && r.at == r.end && strcmp(v.name, expected) == 0;
}

static void test_names(void)
{
	uint8_t wire[GR_DNS_NAME_MAX];
	char text[400];

	check(round_trip("www.example.org", "www.example.org"), "a name stays the same");
	check(round_trip("www.example.org.", "www.example.org"), "a final dot is dropped");
	check(round_trip(".", "."), "the root is a dot");
	check(round_trip("a\\.b.c\\\\d", "a\\.b.c\\\\d"), "dots and backslashes in labels are escaped");
	check(round_trip("\\001\\255\\065 x", "\\001\\255A\\032x"), "bytes that do not print are numbers");
	memset(text, 'x', sizeof(text));
	text[63] = '\0';
	check(gr_dns_name_encode(text, wire) == 65, "a label of 63 bytes is fine");
	text[63] = 'x', text[64] = '\0';
	check(gr_dns_name_encode(text, wire) == GR_BAD_NAME, "one of 64 is not");
	for (int i = 0; i < 127; i++)
		memcpy(text + 2 * i, "x.", 3);
	check(gr_dns_name_encode(text, wire) == 255, "a name of 255 bytes is fine");
	strcat(text, "y");
	check(gr_dns_name_encode(text, wire) == GR_BAD_NAME, "one of 257 is not");
	for (const char *const *p = (const char *const[]){"", "..", ".a", "a..b", "a\\", "a\\25", "a\\256", NULL}; *p;
	     p++)
		check(gr_dns_name_encode(*p, wire) == GR_BAD_NAME, *p);
}

/* ---- Reading ---- */

static const uint8_t question[] = "\x12\x34\x81\x80\0\1\0\1\0\0\0\0\1a\4test\0\0\1\0\1";
enum { QUESTION = sizeof(question) - 1 };

/* A message with one answer that begins with these bytes. */
static int with_answer(const void *tail, size_t len)
{
	uint8_t *msg = malloc(QUESTION + len);
	int rc;

	if (msg == NULL)
		abort();
	memcpy(msg, question, QUESTION);
	memcpy(msg + QUESTION, tail, len);
	rc = gr_dns_check(msg, QUESTION + len);
	free(msg);
	return rc;
}

static void test_malformed(void)
{
	static const struct {
		const char *what, *tail;
		size_t len;
		int rc;
	} cases[] = {
		{"a record with a pointer", "\xc0\x0c\0\1\0\1\0\0\0\5\0\4\1\2\3\4", 16, 0},
		{"data of an unknown type", "\xc0\x0c\1\0\0\1\0\0\0\5\0\1x", 13, 0},
		{"no data", "\xc0\x0c\0\1\0\xff\0\0\0\0\0\0", 12, 0},
		{"no record", "", 0, GR_PROTOCOL},
		{"a record cut off", "\xc0\x0c\0\1\0\1\0\0\0\5\0\4\1\2\3", 15, GR_PROTOCOL},
		{"bytes after the end", "\xc0\x0c\0\1\0\1\0\0\0\5\0\4\1\2\3\4x", 17, GR_PROTOCOL},
		{"a pointer to itself", "\xc0\x18\0\1\0\1\0\0\0\5\0\4\1\2\3\4", 16, GR_PROTOCOL},
		{"a pointer forward", "\xc0\x20\0\1\0\1\0\0\0\5\0\4\1\2\3\4", 16, GR_PROTOCOL},
		{"a loop through a label", "\1x\xc0\x18\0\1\0\1\0\0\0\5\0\4\1\2\3\4", 18, GR_PROTOCOL},
		{"a label of an unknown kind", "\x40\0\1\0\1\0\0\0\5\0\4\1\2\3\4", 15, GR_PROTOCOL},
		{"half a pointer", "\xc0", 1, GR_PROTOCOL},
		{"an address of 5 bytes", "\xc0\x0c\0\1\0\1\0\0\0\5\0\5\1\2\3\4\5", 17, GR_PROTOCOL},
		{"an MX that ends in its name", "\xc0\x0c\0\x0f\0\1\0\0\0\5\0\4\0\1\1x", 16, GR_PROTOCOL},
		{"an empty TXT string", "\xc0\x0c\0\x10\0\1\0\0\0\5\0\1\0", 13, 0},
		{"a TXT string cut off", "\xc0\x0c\0\x10\0\1\0\0\0\5\0\2\5x", 14, GR_PROTOCOL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check(with_answer(cases[i].tail, cases[i].len) == cases[i].rc, cases[i].what);
	for (size_t n = 0; n < QUESTION; n++)
		if (gr_dns_check(question, n) != GR_PROTOCOL)
			check(false, "a message cut off");
}

/* Pointers that lead to pointers only: linear work is not enough when many names use them. */
static void test_pointer_chain(void)
{
	static uint8_t msg[512];
	static struct gr_dns_value v;
	struct gr_dns_reader r = {msg, 0, sizeof(msg)};
	size_t at = GR_DNS_HEADER + 1, to = GR_DNS_HEADER; /* there: the root */

	for (int n = 1; n <= 128; n++, to = at, at += 2) {
		msg[at] = (uint8_t)(0xc0 | to >> 8);
		msg[at + 1] = (uint8_t)to;
		r.at = at;
		if (n == 127)
			check(gr_dns_read_field(&r, GR_DNS_NAME, &v) == 0, "127 pointers in a row are followed");
		else if (n == 128)
			check(gr_dns_read_field(&r, GR_DNS_NAME, &v) == GR_PROTOCOL, "but no more");
	}
}

/* ---- Writing ---- */

static void test_compression(void)
{
	struct gr_dns_writer w;
	struct gr_dns_value mail = {.number = 10, .name = "mail.example.org"};
	size_t begin;

	gr_dns_writer_init(&w, GR_DNS_MAX);
	gr_dns_write_question(&w, "www.example.org", 15, 1);
	begin = gr_dns_begin_record(&w, "www.example.org", 15, 1, 60);
	gr_dns_write_field(&w, GR_DNS_U16, &mail);
	gr_dns_write_field(&w, GR_DNS_NAME, &mail);
	gr_dns_end_record(&w, begin);
	/* Header 12, question 17 + 4, pointer 2, fixed part 10, preference 2, "mail" and a pointer 7. */
	check(w.error == 0 && w.len == 54 && memcmp(w.data + 47, "\4mail\xc0\x10", 7) == 0, "names are compressed");
	begin = w.len;
	gr_dns_write_question(&w, "WWW.example.org", 1, 1);
	check(w.len - begin == 10, "but never with another case");
	begin = w.len;
	gr_dns_write_field(&w, GR_DNS_WHOLE, &mail);
	check(w.len - begin == 18, "nor where a record type forbids it");
	gr_dns_writer_free(&w);
}

static void test_limit(void)
{
	struct gr_dns_writer w;
	struct gr_dns_mark mark;

	gr_dns_writer_init(&w, 40);
	gr_dns_write_question(&w, "a.test", 1, 1);
	mark = gr_dns_mark(&w);
	gr_dns_begin_record(&w, "b.other.long.name.test", 1, 1, 60);
	check(w.error == GR_TOO_LARGE && w.len <= 40, "the limit is kept");
	gr_dns_rollback(&w, mark);
	check(w.error == 0 && w.len == mark.len, "what is beyond can be dropped");
	gr_dns_write_question(&w, "b.test", 1, 1);
	check(w.error == 0 && w.len == mark.len + 8, "and what is left used");
	gr_dns_rollback(&w, mark);
	gr_dns_write_question(&w, "b.test", 1, 1);
	check(w.error == 0 && w.len == mark.len + 8, "nothing points to what was dropped");
	gr_dns_writer_free(&w);
}

/* ---- Answers and the cache ---- */

static struct gr_dns_answer *answer(const char *name, const char *tail, size_t len, struct gr_dns_key *key)
{
	static struct gr_dns_header h = {1, 0x8180, {1, 1, 0, 0}};
	struct gr_dns_writer w;
	struct gr_dns_answer *a;
	struct gr_dns_value v = {.data = (const uint8_t *)tail, .len = len};

	gr_dns_writer_init(&w, GR_DNS_MAX);
	gr_dns_write_question(&w, name, 1, 1);
	gr_dns_write_field(&w, GR_DNS_REST, &v);
	gr_dns_write_header(&w, &h);
	gr_dns_key(key, name, 1);
	a = gr_dns_answer_new(key, w.data, w.len, 100);
	gr_dns_writer_free(&w);
	return a;
}

static void test_cache(void)
{
	static const char fixed[] = "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\1\2\3\4";
	struct gr_dns_answer *a, *got;
	struct gr_dns_key key;
	char name[32];

	a = answer("A.Test", fixed, 16, &key);
	check(a->ttl == 60, "an answer lives as long as its record");
	gr_dnscache_put(&key, a);
	got = gr_dnscache_get(&key, 159.9);
	check(got == a && a->refs == 3, "and is found until then");
	gr_dns_answer_free(got);
	check(gr_dnscache_get(&key, 160) == NULL && a->refs == 1 && gr_dnscache_count() == 0, "but not after");
	gr_dns_answer_free(a);
	for (int i = 0; i < 1500; i++) {
		snprintf(name, sizeof(name), "n%d.test", i);
		a = answer(name, fixed, 16, &key);
		gr_dnscache_put(&key, a);
		gr_dns_answer_free(a);
		gr_dns_key(&key, "n0.test", 1);
		gr_dns_answer_free(gr_dnscache_get(&key, 101));
	}
	check(gr_dnscache_count() == GR_DNSCACHE_ENTRIES, "the cache is bounded");
	got = gr_dnscache_get(&key, 101);
	check(got != NULL, "what is used stays");
	gr_dns_answer_free(got);
	gr_dns_key(&key, "n1.test", 1);
	check(gr_dnscache_get(&key, 101) == NULL, "what is not goes first");
	gr_dnscache_flush();
	check(gr_dnscache_count() == 0, "it can be emptied");
	a = answer("a.test", "\xc0\x0c\0\1\0\1\xff\0\0\x3c\0\4\1\2\3\4", 16, &key);
	check(a->ttl == 0, "a negative TTL counts as 0");
	gr_dns_answer_free(a);
	a = answer("a.test", "\xc0\x0c\0\1\0\1\0\1\xff\xff\0\4\1\2\3\4", 16, &key);
	check(a->ttl == GR_DNS_TTL_MAX, "a long one is cut");
	gr_dns_answer_free(a);
}

static void test_matching(void)
{
	uint8_t packet[GR_DNS_QUERY_MAX];
	struct gr_dns_key key;
	size_t n;

	gr_dns_key(&key, "Example.ORG", 28);
	n = gr_dns_query_write(packet, &key, 0x1234, true);
	check(n == 40 && gr_dns_check(packet, n) == 0, "a question is well-formed");
	check(!gr_dns_query_matches(&key, 0x1234, packet, n), "a question is no answer");
	packet[2] |= 0x80;
	packet[13] = 'E';
	check(gr_dns_query_matches(&key, 0x1234, packet, n), "the case of the question does not count");
	check(!gr_dns_query_matches(&key, 0x1235, packet, n), "the id does");
	packet[13] = 'F';
	check(!gr_dns_query_matches(&key, 0x1234, packet, n), "the name does");
	check(!gr_dns_query_matches(&key, 0x1234, packet, 0), "nothing is no answer");
}

/* ---- resolv.conf ---- */

static void test_resolv_conf(void)
{
	static const char text[] = "# nameserver 1.1.1.1\n"
				   "; search x\n"
				   "nameserver 192.0.2.1 # first\n"
				   "nameserver\t2001:db8::1\r\n"
				   "nameserver nonsense\n"
				   " nameserver 192.0.2.9\n"
				   "nameserver [::1]:5353\n"
				   "domain gone.test\n"
				   "search a.test. .b.test  .\n"
				   "options ndots:99 timeout:0 attempts:3 rotate nonsense edns0\n"
				   "sortlist 1.2.3.4";
	struct gr_resolv_conf c;
	char s[GR_ADDR_TEXT];

	gr_resolv_conf_init(&c);
	check(c.how.timeout == 2 && c.how.tries == 2 && c.ndots == 1 && !c.how.rotate, "there are defaults");
	gr_resolv_conf_parse(&c, text, sizeof(text) - 1);
	check(c.how.nservers == 3, "bad servers are skipped");
	gr_addr_format(&c.how.servers[2], GR_SCHEME_UDP, s);
	check(strcmp(s, "udp://[::1]:5353") == 0, "a server may have a port");
	gr_addr_format(&c.how.servers[1], GR_SCHEME_UDP, s);
	check(strcmp(s, "udp://[2001:db8::1]:53") == 0, "else it is 53");
	check(c.nsearch == 3 && !strcmp(c.search[0], "a.test") && !strcmp(c.search[1], "b.test") && !*c.search[2],
	      "the last search list counts, dots at the ends do not");
	check(c.ndots == 15 && c.how.timeout == 1 && c.how.tries == 3 && c.how.rotate, "options have limits");
	for (size_t n = 0; n < sizeof(text); n++) {
		char *part = strndup(text, n);

		gr_resolv_conf_parse(&c, part, n);
		free(part);
	}
	check(c.nsearch <= GR_RESOLV_SEARCH && c.how.nservers == GR_RESOLV_SERVERS, "so has their number");
}

int main(void)
{
	test_names();
	test_malformed();
	test_pointer_chain();
	test_compression();
	test_limit();
	test_matching();
	test_cache();
	test_resolv_conf();
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
