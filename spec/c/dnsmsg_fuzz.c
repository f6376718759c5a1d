/* SPDX-License-Identifier: MIT */
/* libFuzzer target for DNS messages: what parses can be packed, and then parses to the same; aliases are
 * followed. `make fuzz` runs it. */
#include <stdlib.h>
#include <string.h>

#include "net/dnsanswer.h"
#include "net/dnsmsg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool good)
{
	if (!good)
		abort();
}

static void copy_record(struct gr_dns_writer *w, struct gr_dns_reader *r)
{
	static struct gr_dns_record record;
	static struct gr_dns_value v;
	const struct gr_dns_type *t;
	size_t begin;

	expect(gr_dns_read_record(r, &record) == 0);
	begin = gr_dns_begin_record(w, record.name, record.type, record.class, record.ttl);
	t = gr_dns_layout(record.type, record.class, record.data.end - record.data.at);
	if (t == NULL) {
		expect(gr_dns_read_field(&record.data, GR_DNS_REST, &v) == 0);
		gr_dns_write_field(w, GR_DNS_REST, &v);
	}
	for (int i = 0; t && i < GR_DNS_FIELDS && t->fields[i].kind; i++) {
		expect(gr_dns_read_field(&record.data, t->fields[i].kind, &v) == 0);
		gr_dns_write_field(w, t->fields[i].kind, &v);
	}
	gr_dns_end_record(w, begin);
}

static void copy(struct gr_dns_writer *w, const uint8_t *data, size_t size)
{
	static struct gr_dns_question question;
	struct gr_dns_header h;
	struct gr_dns_reader r;

	expect(gr_dns_read_header(&r, data, size, &h) == 0);
	gr_dns_write_header(w, &h);
	for (unsigned i = 0; i < h.counts[0]; i++) {
		expect(gr_dns_read_question(&r, &question) == 0);
		gr_dns_write_question(w, question.name, question.type, question.class);
	}
	for (unsigned i = 0; i < (unsigned)h.counts[1] + h.counts[2] + h.counts[3]; i++)
		copy_record(w, &r);
}

static void same_field(struct gr_dns_reader *a, struct gr_dns_reader *b, enum gr_dns_kind kind)
{
	static struct gr_dns_value v, u;

	memset(&v, 0, sizeof(v));
	memset(&u, 0, sizeof(u));
	expect(gr_dns_read_field(a, kind, &v) == 0 && gr_dns_read_field(b, kind, &u) == 0);
	expect(v.number == u.number && strcmp(v.name, u.name) == 0 && v.len == u.len);
	expect(v.len == 0 || memcmp(v.data, u.data, v.len) == 0);
}

static void same_record(struct gr_dns_reader *a, struct gr_dns_reader *b)
{
	static struct gr_dns_record x, y;
	const struct gr_dns_type *t;

	expect(gr_dns_read_record(a, &x) == 0 && gr_dns_read_record(b, &y) == 0);
	expect(strcmp(x.name, y.name) == 0 && x.type == y.type && x.class == y.class && x.ttl == y.ttl);
	t = gr_dns_layout(x.type, x.class, x.data.end - x.data.at);
	expect(t == gr_dns_layout(y.type, y.class, y.data.end - y.data.at));
	if (t == NULL)
		same_field(&x.data, &y.data, GR_DNS_REST);
	for (int i = 0; t && i < GR_DNS_FIELDS && t->fields[i].kind; i++)
		same_field(&x.data, &y.data, t->fields[i].kind);
}

static void compare(const uint8_t *data, size_t size, const struct gr_dns_writer *w)
{
	static struct gr_dns_question x, y;
	struct gr_dns_header h, g;
	struct gr_dns_reader a, b;

	expect(gr_dns_check(w->data, w->len) == 0);
	expect(gr_dns_read_header(&a, data, size, &h) == 0 && gr_dns_read_header(&b, w->data, w->len, &g) == 0);
	expect(memcmp(&h, &g, sizeof(h)) == 0);
	for (unsigned i = 0; i < h.counts[0]; i++) {
		expect(gr_dns_read_question(&a, &x) == 0 && gr_dns_read_question(&b, &y) == 0);
		expect(strcmp(x.name, y.name) == 0 && x.type == y.type && x.class == y.class);
	}
	for (unsigned i = 0; i < (unsigned)h.counts[1] + h.counts[2] + h.counts[3]; i++)
		same_record(&a, &b);
}

/* Any text as a name: what is taken comes back as an equal name. */
static void fuzz_name(const uint8_t *data, size_t size)
{
	static struct gr_dns_value v;
	uint8_t name[GR_DNS_NAME_MAX], again[GR_DNS_NAME_MAX];
	char text[4096];
	struct gr_dns_reader r;
	int n;

	size = size < sizeof(text) ? size : sizeof(text) - 1;
	memcpy(text, data, size);
	text[size] = '\0';
	n = gr_dns_name_encode(text, name);
	if (n < 0)
		return;
	r = (struct gr_dns_reader){name, 0, (size_t)n};
	expect(gr_dns_read_field(&r, GR_DNS_NAME, &v) == 0 && r.at == (size_t)n);
	expect(gr_dns_name_encode(v.name, again) == n && memcmp(name, again, (size_t)n) == 0);
}

/* As the answer to a question: its records are there if it repeats one question, which callers have made sure of. */
static void fuzz_answer(const uint8_t *data, size_t size)
{
	static struct gr_dns_record record;
	struct gr_dns_key key;
	struct gr_dns_answer *a;
	struct gr_dns_reader r;
	char name[GR_DNS_NAME_TEXT] = "a.b";

	expect(gr_dns_key(&key, name, 1) == 0);
	gr_dns_query_matches(&key, 0, data, size);
	a = gr_dns_answer_new(&key, data, size, 0);
	expect(a != NULL && a->ttl <= GR_DNS_TTL_MAX);
	expect(gr_dns_answer_status(a) <= 0);
	gr_dns_answer_follow(a, 1, name);
	for (unsigned n = gr_dns_answer_read(a, &r); n > 0; n--)
		expect(gr_dns_read_record(&r, &record) == 0 || data[4] != 0 || data[5] != 1);
	gr_dns_answer_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gr_dns_writer w;

	fuzz_name(data, size);
	if (gr_dns_check(data, size) < 0)
		return 0;
	fuzz_answer(data, size);
	gr_dns_writer_init(&w, GR_DNS_MAX);
	copy(&w, data, size);
	/* Names that may not be written compressed can make it longer. */
	expect(w.error == 0 || w.error == GR_TOO_LARGE);
	if (w.error == 0)
		compare(data, size, &w);
	gr_dns_writer_free(&w);
	return 0;
}
