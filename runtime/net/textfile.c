/* SPDX-License-Identifier: MIT */
/* Configuration files that may change. */
#define _GNU_SOURCE
#include "net/textfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static void drop_text(struct gr_textfile *f)
{
	free(f->text);
	f->text = NULL;
	f->len = 0;
}

void gr_textfile_forget(struct gr_textfile *f)
{
	drop_text(f);
	memset(&f->was, 0, sizeof(f->was));
}

static void load(struct gr_textfile *f)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	drop_text(f);
	if (fd < 0)
		return;
	if (fstat(fd, &f->was) == 0 && f->was.st_size > 0 && (f->text = malloc((size_t)f->was.st_size)) != NULL) {
		n = read_all(fd, f->text, (size_t)f->was.st_size);
		f->len = n > 0 ? (size_t)n : 0;
	}
	close(fd);
}

static bool changed(const struct stat *a, const struct stat *b)
{
	return a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec ||
	       a->st_size != b->st_size || a->st_ino != b->st_ino || a->st_dev != b->st_dev;
}

bool gr_textfile_refresh(struct gr_textfile *f)
{
	bool known = f->was.st_ino != 0;
	struct stat now;

	if (stat(f->path, &now) != 0) {
		gr_textfile_forget(f);
		return known;
	}
	if (!changed(&now, &f->was))
		return false;
	load(f);
	return true;
}

bool gr_is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

struct gr_span gr_span_word(struct gr_span *line)
{
	struct gr_span word;

	while (line->len > 0 && gr_is_blank(*line->p))
		line->p++, line->len--;
	word.p = line->p;
	while (line->len > 0 && !gr_is_blank(*line->p))
		line->p++, line->len--;
	word.len = (size_t)(line->p - word.p);
	return word;
}
