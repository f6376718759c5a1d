/* SPDX-License-Identifier: MIT */
/* The hosts file. */
#include "net/hosts.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* Cuts the next line off `text`, without its comment. */
static struct gr_span next_line(struct gr_span *text)
{
	const char *end = memchr(text->p, '\n', text->len);
	struct gr_span line = {text->p, end ? (size_t)(end - text->p) : text->len};
	const char *comment = memchr(line.p, '#', line.len);
	size_t used = line.len + (end ? 1 : 0);

	text->p += used;
	text->len -= used;
	if (comment)
		line.len = (size_t)(comment - line.p);
	return line;
}

static bool same_name(struct gr_span word, const char *name, size_t len)
{
	return word.len == len && strncasecmp(word.p, name, len) == 0;
}

static bool names(struct gr_span line, const char *name, size_t len)
{
	struct gr_span word = gr_span_word(&line);

	while (word.len > 0 && !same_name(word, name, len))
		word = gr_span_word(&line);
	return word.len > 0;
}

static bool store(struct gr_span word, uint16_t port, struct gr_addr *out)
{
	char host[64];

	if (word.len >= sizeof(host))
		return false;
	memcpy(host, word.p, word.len);
	host[word.len] = '\0';
	return gr_addr_literal(host, port, out) == 0;
}

int gr_hosts_find(const char *text, size_t len, const char *name, uint16_t port, struct gr_addr *out, int max)
{
	struct gr_span rest = {text, len};
	size_t name_len = strlen(name);
	int n = 0;

	if (name_len > 1 && name[name_len - 1] == '.')
		name_len--;
	while (rest.len > 0 && n < max) {
		struct gr_span line = next_line(&rest);
		struct gr_span first = gr_span_word(&line);

		if (first.len > 0 && names(line, name, name_len) && store(first, port, &out[n]))
			n++;
	}
	return n;
}

int gr_hosts_lookup(struct gr_textfile *f, const char *name, uint16_t port, struct gr_addr *out, int max)
{
	gr_textfile_refresh(f);
	return f->text ? gr_hosts_find(f->text, f->len, name, port, out, max) : 0;
}

bool gr_hosts_reverse(struct gr_textfile *f, const struct gr_addr *addr, char *name)
{
	struct gr_addr there;
	struct gr_span rest;

	gr_textfile_refresh(f);
	rest = (struct gr_span){f->text, f->len};
	while (rest.len > 0) {
		struct gr_span line = next_line(&rest), first = gr_span_word(&line), word = gr_span_word(&line);

		if (word.len > 0 && word.len < 256 && store(first, 0, &there) && gr_addr_same_ip(&there, addr)) {
			memcpy(name, word.p, word.len);
			name[word.len] = '\0';
			return true;
		}
	}
	return false;
}
