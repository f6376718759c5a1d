/* SPDX-License-Identifier: MIT */
/* A small text file of the system's configuration, read again whenever it changed. */
#ifndef GR_NET_TEXTFILE_H
#define GR_NET_TEXTFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

struct gr_textfile {
	const char *path;
	char *text; /* contents at the last look, heap; NULL = empty */
	size_t len;
	struct stat was; /* of the file then; compared by time, size and inode */
};

/* Looks at the file; returns whether it was read again. One that cannot be read counts as empty. Costs one stat(2) while
 * it does not change. */
bool gr_textfile_refresh(struct gr_textfile *f);

/* Forgets what was read: the next look reads again. */
void gr_textfile_forget(struct gr_textfile *f);

/* A piece of the text. */
struct gr_span {
	const char *p;
	size_t len;
};

/* Space, tab, or the CR of a line that another system has written. */
bool gr_is_blank(char c);

/* Cuts the next word off `line`; an empty word means that there is none. */
struct gr_span gr_span_word(struct gr_span *line);

#endif
