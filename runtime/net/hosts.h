/* SPDX-License-Identifier: MIT */
/* The hosts file: names of addresses, read again whenever the file changed. */
#ifndef GR_NET_HOSTS_H
#define GR_NET_HOSTS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "net/addr.h"

struct gr_hosts {
	const char *path;
	char *text;      /* contents at the last look, heap; NULL = empty */
	size_t len;
	struct stat was; /* of the file then; compared by time, size and inode */
};

/* Looks for a name, ignoring case and a final dot, in the text of a hosts file. Returns how many addresses were stored
 * in `out`, with that port, in the file's order. Lines that make no sense are skipped. Pure; linear in the text. */
int gr_hosts_find(const char *text, size_t len, const char *name, uint16_t port, struct gr_addr *out, int max);

/* The same in the file h->path; one that cannot be read counts as empty. Costs one stat(2) while it does not change. */
int gr_hosts_lookup(struct gr_hosts *h, const char *name, uint16_t port, struct gr_addr *out, int max);

#endif
