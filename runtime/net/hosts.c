/* SPDX-License-Identifier: MIT */
/* The hosts file. */
#define _GNU_SOURCE
#include "net/hosts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* A piece of the text. */
struct span {
	const char *p;
	size_t len;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Cuts the next word off `line`; an empty word means that there is none. */
static struct span next_word(struct span *line)
{
	struct span word;

	while (line->len > 0 && is_blank(*line->p))
		line->p++, line->len--;
	word.p = line->p;
	while (line->len > 0 && !is_blank(*line->p))
		line->p++, line->len--;
	word.len = (size_t)(line->p - word.p);
	return word;
}

/* Cuts the next line off `text`, without its comment. */
static struct span next_line(struct span *text)
{
	const char *end = memchr(text->p, '\n', text->len);
	struct span line = {text->p, end ? (size_t)(end - text->p) : text->len};
	const char *comment = memchr(line.p, '#', line.len);
	size_t used = line.len + (end ? 1 : 0);

	text->p += used;
	text->len -= used;
	if (comment)
		line.len = (size_t)(comment - line.p);
	return line;
}

static bool same_name(struct span word, const char *name, size_t len)
{
	return word.len == len && strncasecmp(word.p, name, len) == 0;
}

static bool names(struct span line, const char *name, size_t len)
{
	struct span word = next_word(&line);

	while (word.len > 0 && !same_name(word, name, len))
		word = next_word(&line);
	return word.len > 0;
}

static bool store(struct span word, uint16_t port, struct gr_addr *out)
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
	struct span rest = {text, len};
	size_t name_len = strlen(name);
	int n = 0;

	if (name_len > 1 && name[name_len - 1] == '.')
		name_len--;
	while (rest.len > 0 && n < max) {
		struct span line = next_line(&rest);
		struct span first = next_word(&line);

		if (first.len > 0 && names(line, name, name_len) && store(first, port, &out[n]))
			n++;
	}
	return n;
}

static ssize_t read_all(int fd, char *p, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size && (n = read(fd, p + len, size - len)) != 0) {
		if (n < 0 && errno != EINTR)
			return -errno;
		len += n > 0 ? (size_t)n : 0;
	}
	return (ssize_t)len;
}

static void forget(struct gr_hosts *h)
{
	free(h->text);
	h->text = NULL;
	h->len = 0;
}

static void load(struct gr_hosts *h)
{
	int fd = open(h->path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	forget(h);
	if (fd < 0)
		return;
	if (fstat(fd, &h->was) == 0 && h->was.st_size > 0 && (h->text = malloc((size_t)h->was.st_size)) != NULL) {
		n = read_all(fd, h->text, (size_t)h->was.st_size);
		h->len = n > 0 ? (size_t)n : 0;
	}
	close(fd);
}

static bool changed(const struct stat *a, const struct stat *b)
{
	return a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec ||
	       a->st_size != b->st_size || a->st_ino != b->st_ino || a->st_dev != b->st_dev;
}

int gr_hosts_lookup(struct gr_hosts *h, const char *name, uint16_t port, struct gr_addr *out, int max)
{
	struct stat now;

	if (stat(h->path, &now) != 0)
		forget(h), memset(&h->was, 0, sizeof(h->was));
	else if (changed(&now, &h->was))
		load(h);
	return h->text ? gr_hosts_find(h->text, h->len, name, port, out, max) : 0;
}
