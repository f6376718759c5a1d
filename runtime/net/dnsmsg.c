/* SPDX-License-Identifier: MIT */
/* DNS messages: record types, names and reading. Writing is in dnswrite.c. */
#include "net/dnsmsg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	JUMPS_MAX = GR_DNS_NAME_MAX / 2, /* a name has no more labels; chains of mere pointers would cost time only */
};

/* ---- Record types ---- */

static const struct gr_dns_type types[] = {
	{"A", 1, true, {{"address", GR_DNS_IP4}}},
	{"NS", 2, false, {{"target", GR_DNS_NAME}}},
	{"CNAME", 5, false, {{"target", GR_DNS_NAME}}},
	{"SOA",
	 6,
	 false,
	 {{"mname", GR_DNS_NAME},
	  {"rname", GR_DNS_NAME},
	  {"serial", GR_DNS_U32},
	  {"refresh", GR_DNS_U32},
	  {"retry", GR_DNS_U32},
	  {"expire", GR_DNS_U32},
	  {"minimum", GR_DNS_U32}}},
	{"MB", 7, false, {{"target", GR_DNS_NAME}}},
	{"MG", 8, false, {{"target", GR_DNS_NAME}}},
	{"MR", 9, false, {{"target", GR_DNS_NAME}}},
	{"PTR", 12, false, {{"target", GR_DNS_NAME}}},
	{"HINFO", 13, false, {{"cpu", GR_DNS_STRING}, {"os", GR_DNS_STRING}}},
	{"MINFO", 14, false, {{"rmailbx", GR_DNS_NAME}, {"emailbx", GR_DNS_NAME}}},
	{"MX", 15, false, {{"preference", GR_DNS_U16}, {"exchange", GR_DNS_NAME}}},
	{"TXT", 16, false, {{"strings", GR_DNS_STRINGS}}},
	{"RP", 17, false, {{"mbox", GR_DNS_WHOLE}, {"txt", GR_DNS_WHOLE}}},
	{"AFSDB", 18, false, {{"subtype", GR_DNS_U16}, {"hostname", GR_DNS_WHOLE}}},
	{"RT", 21, false, {{"preference", GR_DNS_U16}, {"host", GR_DNS_WHOLE}}},
	{"PX", 26, true, {{"preference", GR_DNS_U16}, {"map822", GR_DNS_WHOLE}, {"mapx400", GR_DNS_WHOLE}}},
	{"AAAA", 28, true, {{"address", GR_DNS_IP6}}},
	{"SRV",
	 33,
	 true,
	 {{"priority", GR_DNS_U16}, {"weight", GR_DNS_U16}, {"port", GR_DNS_U16}, {"target", GR_DNS_WHOLE}}},
	{"NAPTR",
	 35,
	 true,
	 {{"order", GR_DNS_U16},
	  {"preference", GR_DNS_U16},
	  {"flags", GR_DNS_STRING},
	  {"services", GR_DNS_STRING},
	  {"regexp", GR_DNS_STRING},
	  {"replacement", GR_DNS_WHOLE}}},
	{"KX", 36, true, {{"preference", GR_DNS_U16}, {"exchange", GR_DNS_WHOLE}}},
	{"DNAME", 39, false, {{"target", GR_DNS_WHOLE}}},
	{"OPT", 41, false, {{NULL, GR_DNS_END}}},
	{"DS", 43, false, {{NULL, GR_DNS_END}}},
	{"SSHFP", 44, false, {{NULL, GR_DNS_END}}},
	{"RRSIG", 46, false, {{NULL, GR_DNS_END}}},
	{"NSEC", 47, false, {{NULL, GR_DNS_END}}},
	{"DNSKEY", 48, false, {{NULL, GR_DNS_END}}},
	{"NSEC3", 50, false, {{NULL, GR_DNS_END}}},
	{"NSEC3PARAM", 51, false, {{NULL, GR_DNS_END}}},
	{"TLSA", 52, false, {{NULL, GR_DNS_END}}},
	{"SPF", 99, false, {{"strings", GR_DNS_STRINGS}}},
	{"TSIG", 250, false, {{NULL, GR_DNS_END}}},
	{"IXFR", 251, false, {{NULL, GR_DNS_END}}},
	{"AXFR", 252, false, {{NULL, GR_DNS_END}}},
	{"ANY", 255, false, {{NULL, GR_DNS_END}}},
	{"CAA", 257, false, {{"flags", GR_DNS_U8}, {"tag", GR_DNS_STRING}, {"value", GR_DNS_REST}}},
};
enum { TYPES = sizeof(types) / sizeof(types[0]) };

const struct gr_dns_type *gr_dns_type(uint16_t number)
{
	for (int i = 0; i < TYPES; i++)
		if (types[i].number == number)
			return &types[i];
	return NULL;
}

/* RFC 3597 section 5. */
static int unknown_type_number(const char *name)
{
	char *end;
	unsigned long n;

	if (strncasecmp(name, "TYPE", 4) != 0 || strspn(name + 4, "0123456789") == 0 || strlen(name) > 9)
		return -1;
	n = strtoul(name + 4, &end, 10);
	return *end == '\0' && n <= UINT16_MAX ? (int)n : -1;
}

int gr_dns_type_number(const char *name)
{
	for (int i = 0; i < TYPES; i++)
		if (strcasecmp(types[i].name, name) == 0)
			return types[i].number;
	return unknown_type_number(name);
}

const struct gr_dns_type *gr_dns_layout(uint16_t type, uint16_t class, size_t len)
{
	const struct gr_dns_type *t = len > 0 ? gr_dns_type(type) : NULL;

	if (t == NULL || t->fields[0].kind == GR_DNS_END || (t->in_only && class != GR_DNS_IN))
		return NULL;
	return t;
}

/* ---- Reading ---- */

static int take(struct gr_dns_reader *r, size_t n, const uint8_t **p)
{
	if (r->end - r->at < n)
		return GR_PROTOCOL;
	*p = r->msg + r->at;
	r->at += n;
	return 0;
}

static int read_number(struct gr_dns_reader *r, size_t bytes, uint32_t *out)
{
	const uint8_t *p;

	if (take(r, bytes, &p) < 0)
		return GR_PROTOCOL;
	for (*out = 0; bytes > 0; bytes--)
		*out = *out << 8 | *p++;
	return 0;
}

static int read_u16(struct gr_dns_reader *r, uint16_t *out)
{
	uint32_t n;

	if (read_number(r, 2, &n) < 0)
		return GR_PROTOCOL;
	*out = (uint16_t)n;
	return 0;
}

static char *put_label(char *text, const uint8_t *label, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (label[i] == '.' || label[i] == '\\')
			*text++ = '\\', *text++ = (char)label[i];
		else if (label[i] > 0x20 && label[i] < 0x7f)
			*text++ = (char)label[i];
		else
			text += sprintf(text, "\\%03u", label[i]);
	}
	return text;
}

/* Moves to where a pointer leads. That must lie before all of the name read so far, so that there is no loop. */
static int follow(struct gr_dns_reader *r, uint8_t high, size_t *start)
{
	const uint8_t *low;

	if (take(r, 1, &low) < 0)
		return GR_PROTOCOL;
	r->at = (size_t)(high & ~GR_DNS_POINTER) << 8 | *low;
	if (r->at >= *start)
		return GR_PROTOCOL;
	*start = r->at;
	return 0;
}

static int read_name(struct gr_dns_reader *r, char *text)
{
	struct gr_dns_reader here = *r;
	size_t start = r->at, total = 1;
	int jumps = 0;
	char *end = text;
	const uint8_t *p;

	for (;;) {
		uint8_t n;

		if (take(&here, 1, &p) < 0)
			return GR_PROTOCOL;
		n = *p;
		if ((n & GR_DNS_POINTER) == GR_DNS_POINTER) {
			if (jumps == 0)
				r->at = here.at + 1;
			if (++jumps > JUMPS_MAX || follow(&here, n, &start) < 0)
				return GR_PROTOCOL;
			continue;
		}
		if (n == 0)
			break;
		total += n + 1u;
		if (n > GR_DNS_LABEL_MAX || total > GR_DNS_NAME_MAX || take(&here, n, &p) < 0)
			return GR_PROTOCOL;
		if (end != text)
			*end++ = '.';
		end = put_label(end, p, n);
	}
	if (end == text)
		*end++ = '.';
	*end = '\0';
	if (jumps == 0)
		r->at = here.at;
	return r->at <= r->end ? 0 : GR_PROTOCOL;
}

int gr_dns_read_header(struct gr_dns_reader *r, const uint8_t *msg, size_t len, struct gr_dns_header *out)
{
	*r = (struct gr_dns_reader){msg, 0, len};
	if (len > GR_DNS_MAX || read_u16(r, &out->id) < 0 || read_u16(r, &out->flags) < 0)
		return GR_PROTOCOL;
	for (int i = 0; i < 4; i++)
		if (read_u16(r, &out->counts[i]) < 0)
			return GR_PROTOCOL;
	return 0;
}

int gr_dns_read_question(struct gr_dns_reader *r, struct gr_dns_question *out)
{
	if (read_name(r, out->name) < 0 || read_u16(r, &out->type) < 0)
		return GR_PROTOCOL;
	return read_u16(r, &out->class);
}

int gr_dns_read_record(struct gr_dns_reader *r, struct gr_dns_record *out)
{
	uint16_t len;
	const uint8_t *p;

	if (read_name(r, out->name) < 0 || read_u16(r, &out->type) < 0 || read_u16(r, &out->class) < 0 ||
	    read_number(r, 4, &out->ttl) < 0 || read_u16(r, &len) < 0)
		return GR_PROTOCOL;
	out->data = (struct gr_dns_reader){r->msg, r->at, r->at + len};
	return take(r, len, &p);
}

static int read_string(struct gr_dns_reader *r, struct gr_dns_value *out)
{
	const uint8_t *n;

	if (take(r, 1, &n) < 0)
		return GR_PROTOCOL;
	out->len = *n;
	return take(r, out->len, &out->data);
}

static int read_strings(struct gr_dns_reader *r, struct gr_dns_value *out)
{
	size_t begin = r->at;

	do {
		if (read_string(r, out) < 0)
			return GR_PROTOCOL;
	} while (r->at < r->end);
	out->data = r->msg + begin;
	out->len = r->end - begin;
	return 0;
}

static int read_bytes(struct gr_dns_reader *r, size_t n, struct gr_dns_value *out)
{
	out->len = n;
	return take(r, n, &out->data);
}

int gr_dns_read_field(struct gr_dns_reader *r, enum gr_dns_kind kind, struct gr_dns_value *out)
{
	switch (kind) {
	case GR_DNS_U8:
		return read_number(r, 1, &out->number);
	case GR_DNS_U16:
		return read_number(r, 2, &out->number);
	case GR_DNS_U32:
		return read_number(r, 4, &out->number);
	case GR_DNS_IP4:
		return read_bytes(r, 4, out);
	case GR_DNS_IP6:
		return read_bytes(r, 16, out);
	case GR_DNS_NAME:
	case GR_DNS_WHOLE:
		return read_name(r, out->name);
	case GR_DNS_STRING:
		return read_string(r, out);
	case GR_DNS_STRINGS:
		return read_strings(r, out);
	case GR_DNS_REST:
		return read_bytes(r, r->end - r->at, out);
	case GR_DNS_END:
		break;
	}
	return 0;
}

static int check_record(const struct gr_dns_record *record)
{
	struct gr_dns_reader r = record->data;
	const struct gr_dns_type *t = gr_dns_layout(record->type, record->class, r.end - r.at);
	struct gr_dns_value v;

	if (t == NULL)
		return 0;
	for (int i = 0; i < GR_DNS_FIELDS && t->fields[i].kind; i++)
		if (gr_dns_read_field(&r, t->fields[i].kind, &v) < 0)
			return GR_PROTOCOL;
	return r.at == r.end ? 0 : GR_PROTOCOL;
}

int gr_dns_check(const uint8_t *msg, size_t len)
{
	struct gr_dns_header h;
	struct gr_dns_reader r;
	struct gr_dns_question question;
	struct gr_dns_record record;

	if (gr_dns_read_header(&r, msg, len, &h) < 0)
		return GR_PROTOCOL;
	for (unsigned i = 0; i < h.counts[0]; i++)
		if (gr_dns_read_question(&r, &question) < 0)
			return GR_PROTOCOL;
	for (unsigned i = 0; i < (unsigned)h.counts[1] + h.counts[2] + h.counts[3]; i++)
		if (gr_dns_read_record(&r, &record) < 0 || check_record(&record) < 0)
			return GR_PROTOCOL;
	return r.at == r.end ? 0 : GR_PROTOCOL;
}

/* ---- Names ---- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Reads one byte of a label; returns how many bytes of text it took, 0 for a bad escape. */
static size_t decode_byte(const char *p, uint8_t *out)
{
	int n;

	*out = (uint8_t)*p;
	if (*p != '\\')
		return 1;
	*out = (uint8_t)p[1];
	if (!is_digit(p[1]))
		return p[1] ? 2 : 0;
	if (!is_digit(p[2]) || !is_digit(p[3]))
		return 0;
	n = (p[1] - '0') * 100 + (p[2] - '0') * 10 + (p[3] - '0');
	*out = (uint8_t)n;
	return n < 256 ? 4 : 0;
}

/* Reads a label, up to a dot or the end, after room for its length byte; returns where it ends, or NULL. */
static const char *encode_label(const char *p, uint8_t *out, size_t room)
{
	size_t n = 0, step;

	while (*p && *p != '.') {
		if (n == GR_DNS_LABEL_MAX || n + 1 >= room)
			return NULL;
		step = decode_byte(p, out + ++n);
		if (step == 0)
			return NULL;
		p += step;
	}
	out[0] = (uint8_t)n;
	return n > 0 ? p : NULL;
}

int gr_dns_name_encode(const char *text, uint8_t out[GR_DNS_NAME_MAX])
{
	size_t at = 0;
	const char *p = text;

	if (strcmp(text, ".") == 0) {
		out[0] = 0;
		return 1;
	}
	do {
		/* One byte is kept for the root. */
		p = at + 1 < GR_DNS_NAME_MAX ? encode_label(p, out + at, GR_DNS_NAME_MAX - 1 - at) : NULL;
		if (p == NULL)
			return GR_BAD_NAME;
		at += out[at] + 1u;
	} while (*p == '.' && *++p);
	out[at] = 0;
	return (int)at + 1;
}

void gr_dns_name_lower(uint8_t *name, size_t len)
{
	/* Length bytes are below 'A'. */
	for (size_t i = 0; i < len; i++)
		if (name[i] >= 'A' && name[i] <= 'Z')
			name[i] = (uint8_t)(name[i] + ('a' - 'A'));
}
