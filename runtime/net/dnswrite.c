/* SPDX-License-Identifier: MIT */
/* Writing DNS messages. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/dnsmsg.h"

enum { TARGET_MAX = 0x3fff }; /* a pointer has 14 bits */

static uint8_t *extend(struct gr_dns_writer *w, size_t n)
{
	size_t cap = w->cap ? w->cap : 512;
	uint8_t *data;

	if (w->error == 0 && n > w->limit - w->len)
		w->error = GR_TOO_LARGE;
	if (w->error < 0)
		return NULL;
	while (cap < w->len + n)
		cap *= 2;
	if (cap > w->cap) {
		data = realloc(w->data, cap);
		if (data == NULL) {
			w->error = -ENOMEM;
			return NULL;
		}
		w->data = data;
		w->cap = cap;
	}
	w->len += n;
	return w->data + w->len - n;
}

static void put_number(uint8_t *p, size_t bytes, uint32_t n)
{
	while (bytes-- > 0)
		*p++ = (uint8_t)(n >> 8 * bytes);
}

static void write_number(struct gr_dns_writer *w, size_t bytes, uint32_t n)
{
	uint8_t *p = extend(w, bytes);

	if (p)
		put_number(p, bytes, n);
}

static void write_bytes(struct gr_dns_writer *w, const void *data, size_t n)
{
	uint8_t *p = extend(w, n);

	if (p && n > 0)
		memcpy(p, data, n);
}

void gr_dns_writer_init(struct gr_dns_writer *w, size_t limit)
{
	*w = (struct gr_dns_writer){.limit = limit};
	if (extend(w, GR_DNS_HEADER))
		memset(w->data, 0, GR_DNS_HEADER);
}

void gr_dns_writer_free(struct gr_dns_writer *w)
{
	free(w->data);
	w->data = NULL;
}

/* True if what stands at `at` in the message is this name. Case counts, so that nothing changes by being compressed. */
static bool same_name(const struct gr_dns_writer *w, size_t at, const uint8_t *name)
{
	for (;;) {
		const uint8_t *p = w->data + at;

		if ((*p & GR_DNS_POINTER) == GR_DNS_POINTER) {
			at = (size_t)(p[0] & ~GR_DNS_POINTER) << 8 | p[1];
			continue;
		}
		if (*p != *name || memcmp(p, name, *name + 1u) != 0)
			return false;
		if (*name == 0)
			return true;
		at += *p + 1u;
		name += *name + 1u;
	}
}

/* Where this name stands in the message, or -1. Only the first n targets are complete names. */
static int find_target(const struct gr_dns_writer *w, int n, const uint8_t *name)
{
	for (int i = 0; i < n; i++)
		if (same_name(w, w->target[i], name))
			return w->target[i];
	return -1;
}

static void add_target(struct gr_dns_writer *w, size_t at)
{
	if (at <= TARGET_MAX && w->targets < GR_DNS_TARGETS)
		w->target[w->targets++] = (uint16_t)at;
}

static void write_name(struct gr_dns_writer *w, const char *text, bool compress)
{
	uint8_t name[GR_DNS_NAME_MAX];
	int rc = gr_dns_name_encode(text, name), target = -1, first = w->targets;
	const uint8_t *label;

	if (rc < 0 && w->error == 0)
		w->error = rc;
	for (label = name; w->error == 0 && *label; label += *label + 1) {
		size_t at = w->len;

		target = compress ? find_target(w, first, label) : -1;
		if (target >= 0)
			break;
		write_bytes(w, label, *label + 1u);
		add_target(w, at);
	}
	if (target >= 0)
		write_number(w, 2, (uint32_t)(GR_DNS_POINTER << 8 | target));
	else
		write_number(w, 1, 0);
	/* A name cut off by the limit is nothing to point to. */
	if (w->error < 0)
		w->targets = first;
}

void gr_dns_write_header(struct gr_dns_writer *w, const struct gr_dns_header *h)
{
	if (w->len < GR_DNS_HEADER)
		return;
	put_number(w->data, 2, h->id);
	put_number(w->data + 2, 2, h->flags);
	for (int i = 0; i < 4; i++)
		put_number(w->data + 4 + 2 * i, 2, h->counts[i]);
}

void gr_dns_write_question(struct gr_dns_writer *w, const char *name, uint16_t type, uint16_t class)
{
	write_name(w, name, true);
	write_number(w, 2, type);
	write_number(w, 2, class);
}

size_t gr_dns_begin_record(struct gr_dns_writer *w, const char *name, uint16_t type, uint16_t class, uint32_t ttl)
{
	gr_dns_write_question(w, name, type, class);
	write_number(w, 4, ttl);
	write_number(w, 2, 0);
	return w->len;
}

void gr_dns_write_field(struct gr_dns_writer *w, enum gr_dns_kind kind, const struct gr_dns_value *v)
{
	switch (kind) {
	case GR_DNS_U8:
		write_number(w, 1, v->number);
		break;
	case GR_DNS_U16:
		write_number(w, 2, v->number);
		break;
	case GR_DNS_U32:
		write_number(w, 4, v->number);
		break;
	case GR_DNS_NAME:
	case GR_DNS_WHOLE:
		write_name(w, v->name, kind == GR_DNS_NAME);
		break;
	case GR_DNS_STRING:
		write_number(w, 1, (uint32_t)v->len);
		write_bytes(w, v->data, v->len);
		break;
	case GR_DNS_IP4:
	case GR_DNS_IP6:
	case GR_DNS_STRINGS:
	case GR_DNS_REST:
		write_bytes(w, v->data, v->len);
		break;
	case GR_DNS_END:
		break;
	}
}

void gr_dns_end_record(struct gr_dns_writer *w, size_t begin)
{
	if (w->error == 0 && w->len - begin > UINT16_MAX)
		w->error = GR_TOO_LARGE;
	if (w->error == 0)
		put_number(w->data + begin - 2, 2, (uint32_t)(w->len - begin));
}

struct gr_dns_mark gr_dns_mark(const struct gr_dns_writer *w)
{
	return (struct gr_dns_mark){w->len, w->targets};
}

void gr_dns_rollback(struct gr_dns_writer *w, struct gr_dns_mark mark)
{
	w->len = mark.len;
	w->targets = mark.targets;
	if (w->error != -ENOMEM)
		w->error = 0;
}
